/* LIMITS: other limits for a cell that runs. A smaller limit for memory has the kernel reclaim within the write that sets
 * it (cgroup-v2.rst, memory.high; cgroup-v1/memory.rst, 2.5), which takes as long as it takes: a child writes then, one for
 * a cell at a time, and the answer comes when it has ended. One that takes too long is ended, which stops the reclaim, and
 * what it may have left half-way is set back. Everything else is a few writes that wait for nothing. */
#include "spawn/spawn.h"

#include "base/clock.h"
#include "sys/sys.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/prctl.h>
#include <sys/socket.h>

enum { CHILD_FD = 3, ABOVE_ALL = 16, GROUP_FDS = 1 + CG_V1_COUNT };

struct limiting {
	struct spawn *s;
	struct limiting *next;
	uint64_t cell;
	int socket, pidfd; /* of the child; FD_NONE: it waits until one may begin, or its time is over */
	uint64_t memory_bytes;
	uint32_t pids;
	bool answered; /* or nobody is there who asked: what the child does is undone */
	struct watch exit;
	struct timer timer; /* from when it was asked for */
};

static void start_next(struct spawn *s);

/* The child's word. */
struct changed {
	struct err err;
	struct cg_limits limits;
};

/* ---- The child: it only makes system calls ---- */

/* Copies of the cells' pipes must not live on in one that hangs: it keeps the group's directories and the socket. */
static void keep_only(struct cgroup *cg, int socket)
{
	int *const dirs[GROUP_FDS] = {&cg->v2, &cg->v1[CG_V1_MEMORY], &cg->v1[CG_V1_CPU], &cg->v1[CG_V1_PIDS]};

	socket = fcntl(socket, F_DUPFD_CLOEXEC, ABOVE_ALL);
	for (int i = 0; i < GROUP_FDS; i++)
		if (fd_valid(*dirs[i]))
			*dirs[i] = fcntl(*dirs[i], F_DUPFD_CLOEXEC, ABOVE_ALL);
	for (int i = 0; i < GROUP_FDS; i++)
		if (fd_valid(*dirs[i]))
			*dirs[i] = dup2(*dirs[i], CHILD_FD + 1 + i);
	if (dup2(socket, CHILD_FD) < 0)
		_exit(1);
	(void)close_range(CHILD_FD + 1 + GROUP_FDS, ~0U, 0);
}

static _Noreturn void limiting_child(struct limiting *l, struct cgroup cg, int socket)
{
	struct changed m = {0};
	struct err fault = {0};

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	keep_only(&cg, socket);
	if (ct_fault("reclaim", &fault) < 0)
		(void)raise(SIGSTOP); /* as one whose write does not return */
	(void)!cg_update(&cg, l->memory_bytes, l->pids, &m.err);
	m.limits = cg.limits;
	_exit(send(CHILD_FD, &m, sizeof m, MSG_NOSIGNAL) != (ssize_t)sizeof m);
}

/* ---- Its end ---- */

static void answer(struct limiting *l, const struct err *why)
{
	if (!l->answered)
		tell_done(l->s, SPAWN_DONE, SPAWN_LIMITS, l->cell, why);
	l->answered = true;
}

static void gone(struct limiting *l)
{
	struct spawn *s = l->s;
	struct limiting **at = &s->limiting;

	while (*at != l)
		at = &(*at)->next;
	*at = l->next;
	s->n_limiting--;
	loop_remove(&s->loop, &l->exit);
	loop_disarm(&s->loop, &l->timer);
	fd_closep(&l->socket);
	fd_closep(&l->pidfd);
	free(l);
}

/* What the child has said; false: nothing whole. */
static bool take_word(const struct limiting *l, struct changed *ret, struct err *why)
{
	if (recv(l->socket, ret, sizeof *ret, MSG_DONTWAIT) != (ssize_t)sizeof *ret)
		return false;
	if (ret->err.kind != ERR_NONE)
		(void)err_adopt(why, &ret->err);
	return true;
}

static void child_gone(void *arg, uint32_t events)
{
	struct limiting *l = arg;
	struct err why = {0}, ignored = {0};
	struct changed word;
	siginfo_t how;
	struct spawn *s;
	struct kept *k;

	(void)events;
	if (sys_wait_exit(l->pidfd, false, &how) < 0)
		return;
	k = cells_running(l->s, l->cell, &why);
	if (!take_word(l, &word, &why))
		(void)err_set(&why, ERR_SYSTEM, ECHILD, "the process that changed the limits was ended");
	if (k && k->cell.has_cg && why.kind == ERR_NONE && !l->answered)
		(void)!cg_update_take(&k->cell.cg, &word.limits, &why);
	else if (k && k->cell.has_cg)
		(void)!cg_update_undo(&k->cell.cg, &ignored);
	answer(l, &why);
	s = l->s;
	gone(l);
	start_next(s);
}

static void too_late(void *arg)
{
	struct limiting *l = arg;
	struct err why = {0};

	if (!fd_valid(l->pidfd)) {
		(void)err_set(&why, ERR_BUSY, EBUSY, "the limits of %d other cells are being changed", LIMITS_AT_ONCE);
		answer(l, &why);
		gone(l);
		return;
	}
	/* One that hangs in the kernel all the same keeps its place until it is gone. */
	(void)!sys_pidfd_kill(l->pidfd, SIGKILL);
	(void)err_set(&why, ERR_BUSY, ETIMEDOUT, "the kernel has not reclaimed so much memory within %d s",
		      LIMITS_MS / 1000);
	answer(l, &why);
}

/* ---- Its beginning ---- */

static int start_child(struct limiting *l, const struct cgroup *cg, struct err *e)
{
	int sv[2], pidfd = FD_NONE;
	const struct clone_args args = {.flags = CLONE_PIDFD, .pidfd = (uintptr_t)&pidfd, .exit_signal = SIGCHLD};
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
		return err_sys(e, errno, "making a socket");
	pid = sys_clone3(&args);
	if (pid == 0)
		limiting_child(l, *cg, sv[1]);
	(void)close(sv[1]);
	l->socket = sv[0];
	if (pid < 0)
		return err_sys(e, pid, "clone3");
	l->pidfd = pidfd;
	return loop_add(&l->s->loop, &l->exit, pidfd, EPOLLIN, child_gone, l, e);
}

/* Is there a child now? */
static bool start(struct limiting *l)
{
	struct err why = {0};
	struct kept *k = cells_running(l->s, l->cell, &why);
	siginfo_t how;

	if (k && start_child(l, &k->cell.cg, &why) == 0)
		return true;
	if (fd_valid(l->pidfd)) { /* nobody would reap it, or end it when it is late */
		(void)!sys_pidfd_kill(l->pidfd, SIGKILL);
		(void)!sys_wait_exit(l->pidfd, true, &how);
	}
	answer(l, &why);
	gone(l);
	return false;
}

/* One that cannot begin is over at once, and takes no place: nobody else would ever begin with those that wait. */
static void start_next(struct spawn *s)
{
	size_t running = 0;

	for (const struct limiting *l = s->limiting; l; l = l->next)
		running += fd_valid(l->pidfd);
	for (struct limiting *l = s->limiting, *next; l && running < LIMITS_AT_ONCE; l = next) {
		next = l->next;
		if (fd_valid(l->pidfd))
			continue;
		running += start(l);
	}
}

static int put_off(struct spawn *s, const struct spawn_limits *m, struct err *e)
{
	struct limiting *l, **at = &s->limiting;

	if (!fds_left(s, FDS_OF_LIMITING))
		return err_set(e, ERR_CAPACITY, EMFILE, "no descriptors are left (%zu may be open)", s->fd_limit);
	l = calloc(1, sizeof *l);
	if (!l)
		return err_oom(e);
	*l = (struct limiting){.s = s,
			       .cell = m->cell,
			       .memory_bytes = m->memory_bytes,
			       .pids = m->pids,
			       .socket = FD_NONE,
			       .pidfd = FD_NONE};
	l->timer = (struct timer){.due = too_late, .arg = l};
	if (loop_arm(&s->loop, &l->timer, clock_mono_ns() + LIMITS_MS * NS_PER_MS) < 0) {
		free(l);
		return err_oom(e);
	}
	while (*at)
		at = &(*at)->next;
	*at = l;
	s->n_limiting++;
	start_next(s);
	return 0;
}

/* ---- From fsboxd ---- */

static int check(const struct spawn *s, const struct kept *k, const struct spawn_limits *m, struct err *e)
{
	if (!k->cell.has_cg)
		return err_set(e, ERR_UNSUPPORTED, EOPNOTSUPP, "this cell has no limits");
	if (m->memory_bytes != 0 &&
	    (m->memory_bytes < (uint64_t)SPEC_MIN_MEMORY_MB << 20 || m->memory_bytes > s->memory_bytes))
		return err_set(e, ERR_SPEC, ERANGE, "a limit of %llu MB, where %d to %llu are possible",
			       (unsigned long long)(m->memory_bytes >> 20), SPEC_MIN_MEMORY_MB,
			       (unsigned long long)(s->memory_bytes >> 20));
	if (m->pids != 0 && (m->pids < SPEC_MIN_PIDS || m->pids > SPEC_MAX_PIDS))
		return err_set(e, ERR_SPEC, ERANGE, "a limit of %u processes, where %d to %d are possible", m->pids,
			       SPEC_MIN_PIDS, SPEC_MAX_PIDS);
	for (const struct limiting *l = s->limiting; l; l = l->next)
		if (l->cell == m->cell)
			return err_set(e, ERR_BUSY, EBUSY, "the cell's limits are being changed already");
	return 0;
}

void limits_change(struct spawn *s, const struct spawn_limits *m)
{
	struct err why = {0};
	struct kept *k = cells_running(s, m->cell, &why);
	int r = k ? check(s, k, m, &why) : -ENOENT;

	if (r == 0 && m->memory_bytes != 0 && m->memory_bytes < k->cell.cg.limits.memory_bytes) {
		r = put_off(s, m, &why);
		if (r == 0)
			return;
	} else if (r == 0) {
		(void)!cg_update(&k->cell.cg, m->memory_bytes, m->pids, &why);
	}
	tell_done(s, SPAWN_DONE, SPAWN_LIMITS, m->cell, &why);
}

void limits_stop(struct spawn *s, uint64_t cell)
{
	for (const struct limiting *l = s->limiting; l; l = l->next)
		if (l->cell == cell && fd_valid(l->pidfd))
			(void)!sys_pidfd_kill(l->pidfd, SIGKILL);
}

/* The next one hears of the limits as they were. */
void limits_lose_daemon(struct spawn *s)
{
	for (struct limiting *l = s->limiting, *next; l; l = next) {
		next = l->next;
		l->answered = true;
		if (fd_valid(l->pidfd))
			(void)!sys_pidfd_kill(l->pidfd, SIGKILL);
		else
			gone(l);
	}
}
