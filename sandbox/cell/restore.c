/* The host's side of a restore. By now the cell is complete but for its runtime, and a CRIU waits in it. It is told to
 * restore; when the runtime is there, whole but stopped, the cell's PID 1 takes away what the restore needed, becomes
 * what it is in any cell and executes init; then the runtime is let go. So no instruction of the function runs in a cell
 * that is not finished. */
#include "base/clock.h"
#include "base/fd.h"
#include "cell/host.h"
#include "cell/internal.h"
#include "sys/sys.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

enum {
	RESTORE_WAIT_MS = 60000, /* some 0.6 ms for each MiB; more only where the machine is far too busy */
	WORKER_END_MS = 2000,
	REAP_TRIES = 200,
	REQUEST_MAX = 4096,
	WORDS_MAX = 64, /* CRIU has some six notices */
	ANSWER_MAX = 8192,
};

/* What CRIU talks over. Its words on stderr are for the case that it fails: a pipe that is full takes no more of them. */
static int make_worker_ends(struct cell *c, struct err *e)
{
	int sv[2], p[2], r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
		return err_sys(e, errno, "making the worker's socket");
	c->worker = sv[0];
	c->worker_child = sv[1];
	if (pipe2(p, O_CLOEXEC | O_NONBLOCK) < 0)
		return err_sys(e, errno, "making a pipe");
	c->worker_log = p[0];
	c->worker_log_child = p[1];
	r = fd_move_above(&c->worker_child, FD_FLOOR);
	if (r == 0)
		r = fd_move_above(&c->worker_log_child, FD_FLOOR);
	return r < 0 ? err_sys(e, r, "moving a descriptor of the worker") : 0;
}

int restore_inputs(struct cell *c, struct err *e)
{
	const size_t size = c->filter->len * sizeof *c->filter->insns + 64;
	int r = make_worker_ends(c, e);

	if (r < 0)
		return r;
	if (c->from->m.features & SNAP_HAS_TMP) {
		c->tmp_tree = openat(c->from->dir, "tmp.tree", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		if (c->tmp_tree < 0)
			return err_sys(e, errno, "opening the snapshot's archive of /tmp");
	}
	if (c->filter->len == 0)
		return 0;
	c->filter_image.data = malloc(size);
	if (!c->filter_image.data)
		return err_oom(e);
	c->filter_image.cap = size;
	c->filter_image.len = snap_seccomp_image(c->filter->insns, c->filter->len, c->filter_image.data, size);
	return c->filter_image.len > 0 ? 0 : err_set(e, ERR_BUG, EMSGSIZE, "the filter's image does not fit");
}

/* Why CRIU failed, in the words of its log: those of its answer are the first that it said, which need not be the
 * reason. */
static int explain_worker(struct cell *c, int code, struct err *e)
{
	char text[4096], why[200];
	ssize_t n = read(c->worker_log, text, sizeof text - 1);

	text[n > 0 ? n : 0] = '\0';
	snap_engine_complaint(text, why, sizeof why);
	return err_set(e, ERR_SYSTEM, code, "CRIU cannot restore the snapshot: %s", why);
}

/* The worker lives in the cell: it may not make us wait by not reading. */
static int send_to_worker(struct cell *c, const void *bytes, size_t len, struct err *e)
{
	if (len == 0)
		return err_set(e, ERR_BUG, EMSGSIZE, "a request to CRIU does not fit");
	return send(c->worker, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)len
		       ? 0
		       : err_sys(e, errno, "writing to CRIU");
}

static void limit_time(struct cell *c, uint64_t ms)
{
	c->deadline_ns = clock_mono_ns() + ms * NS_PER_MS;
}

static int ask(struct cell *c, struct err *e)
{
	unsigned char request[REQUEST_MAX];

	limit_time(c, RESTORE_WAIT_MS);
	c->restore_until_ns = c->deadline_ns;
	c->restore = RESTORE_TALK;
	return send_to_worker(c, request, snap_worker_request(&c->from->m, request, sizeof request), e);
}

/* Both die with the cell's PID 1; what CRIU has forked may hold its socket when it is dead. */
static bool worker_is_gone(const struct cell *c)
{
	struct pollfd p[] = {{.fd = c->worker_pidfd, .events = POLLIN}, {.fd = c->pidfd, .events = POLLIN}};

	return poll(p, ARRAY_LEN(p), 0) > 0;
}

/* The next answer, or 1. A worker that ends without one has been killed, by the memory limit perhaps. */
static int receive(struct cell *c, struct snap_answer *a, struct err *e)
{
	unsigned char bytes[ANSWER_MAX];
	ssize_t got = recv(c->worker, bytes, sizeof bytes, MSG_DONTWAIT);

	if (got < 0 && (errno == EINTR || errno == EAGAIN)) {
		if (!worker_is_gone(c))
			return 1;
		got = recv(c->worker, bytes, sizeof bytes, MSG_DONTWAIT); /* its last words may have come in between */
	}
	if (got <= 0)
		return explain_worker(c, 0, e);
	snap_worker_parse(bytes, (size_t)got, a);
	if (a->word == SNAP_WORD_FAILED)
		return explain_worker(c, a->cr_errno, e);
	return a->word == SNAP_WORD_NONSENSE ? err_set(e, ERR_SYSTEM, EPROTO, "CRIU's answer is none") : 0;
}

static int go_on(struct cell *c, struct err *e)
{
	unsigned char request[REQUEST_MAX];

	c->deadline_ns = c->restore_until_ns;
	c->restore = RESTORE_TALK;
	return send_to_worker(c, request, snap_worker_go_on(request, sizeof request), e);
}

/* Once, and then nothing but the end: the cell has closed its side of the barrier. */
static bool asks_whether_to_resume(const struct cell *c, const struct snap_answer *a)
{
	return fd_valid(c->barrier) && strcmp(a->script, "pre-resume") == 0;
}

static int talk(struct cell *c, struct err *e)
{
	struct snap_answer a = {.word = SNAP_WORD_NONE};
	int r = receive(c, &a, e);

	if (r != 0)
		return r;
	if (++c->restore_words > WORDS_MAX)
		return err_set(e, ERR_SYSTEM, EPROTO, "CRIU talks without end");
	if (a.word == SNAP_WORD_RESTORED && fd_valid(c->barrier))
		return err_set(e, ERR_SYSTEM, EPROTO, "CRIU restored without asking whether it may go on");
	if (a.word == SNAP_WORD_RESTORED) {
		limit_time(c, WORKER_END_MS);
		c->restore = RESTORE_END;
	} else if (a.word == SNAP_WORD_NOTIFY && asks_whether_to_resume(c, &a)) {
		limit_time(c, CELL_ARRIVAL_MS);
		c->restore = RESTORE_EXEC;
		return barrier_release(c->barrier, NULL, 0, e);
	} else if (a.word == SNAP_WORD_NOTIFY) {
		return go_on(c, e);
	}
	return 0;
}

/* The runtime is there, stopped: PID 1's turn. What CRIU found out about this kernel comes back for the next worker. */
static int take_exec(struct cell *c, struct err *e)
{
	struct buf *kdat = c->host->kdat.len == 0 ? &c->host->kdat : NULL;
	int r = barrier_take_exec(c->barrier, &c->exec_ns, kdat, e);

	if (r < 0)
		return explain_child(c, r, e);
	if (r == 1)
		return r;
	fd_closep(&c->barrier);
	return go_on(c, e);
}

/* It has answered; until it is gone its memory counts, and it is the runtime's parent. */
static int see_end(struct cell *c, struct err *e)
{
	struct pollfd p = {.fd = c->worker_pidfd, .events = POLLIN};

	(void)e;
	if (poll(&p, 1, 0) != 1)
		return 1;
	c->restore_words = 0;
	c->restore = RESTORE_REAP;
	return 0;
}

static void close_worker(struct cell *c)
{
	fd_closep(&c->worker);
	fd_closep(&c->worker_pidfd);
	fd_closep(&c->worker_log);
}

/* Until PID 1 has reaped it the function could still see it. */
static int see_reaped(struct cell *c, struct err *e)
{
	if (c->restore_words++ < REAP_TRIES && sys_pidfd_kill(c->worker_pidfd, 0) == 0)
		return 1;
	close_worker(c);
	c->restore = RESTORE_OVER;
	return c->has_cg ? cg_end_extra(&c->cg, e) : 0;
}

int enter_restore(struct cell *c, struct err *e)
{
	static int (*const steps[])(struct cell * c, struct err * e) = {
		[RESTORE_ASK] = ask,     [RESTORE_TALK] = talk,       [RESTORE_EXEC] = take_exec,
		[RESTORE_END] = see_end, [RESTORE_REAP] = see_reaped,
	};
	int r = 0;

	if (c->role != PLAN_RESTORED)
		return 0;
	while (r == 0 && c->restore != RESTORE_OVER)
		r = steps[c->restore](c, e);
	/* PID 1 may have failed first, and taken CRIU with it. */
	return r < 0 && fd_valid(c->barrier) ? explain_child(c, r, e) : r;
}

size_t restore_waits_for(const struct cell *c, int fds[CELL_WAITS])
{
	switch (c->restore) {
	case RESTORE_TALK:
		fds[0] = c->worker;
		fds[1] = c->worker_pidfd;
		return 2;
	case RESTORE_EXEC:
		fds[0] = c->barrier;
		return 1;
	case RESTORE_END:
		fds[0] = c->worker_pidfd;
		return 1;
	default:
		return 0;
	}
}

int restore_late(const struct cell *c, struct err *e)
{
	switch (c->restore) {
	case RESTORE_EXEC:
		return barrier_late(e);
	case RESTORE_END:
		return err_set(e, ERR_SYSTEM, ETIMEDOUT, "CRIU has restored and does not end");
	default:
		return err_set(e, ERR_DEADLINE, ETIMEDOUT, "CRIU did not restore within %d s", RESTORE_WAIT_MS / 1000);
	}
}

int undo_restore(struct cell *c, struct err *e)
{
	(void)e;
	close_worker(c);
	return 0;
}
