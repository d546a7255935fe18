#include "cell/internal.h"

#include "base/clock.h"
#include "base/fd.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>

int barrier_make(int *ret_host, int *ret_child, struct err *e)
{
	int sv[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
		return err_sys(e, errno, "making the barrier socket");
	*ret_host = sv[0];
	*ret_child = sv[1];
	return 0;
}

int barrier_tell_with(int fd, uint32_t value, const int *fds, int n, struct err *e)
{
	ssize_t sent = fd_send(fd, &value, sizeof value, fds, (size_t)n, 0);

	return sent == (ssize_t)sizeof value ? 0 : err_sys(e, sent < 0 ? (int)sent : EIO, "telling the child to go on");
}

int barrier_hear_with(int fd, uint32_t *ret_value, int *fds)
{
	struct fd_passed passed;
	ssize_t got = fd_receive(fd, ret_value, sizeof *ret_value, fds, BARRIER_MAX_FDS, 0, &passed);

	if (got < 0)
		return (int)got;
	return got == (ssize_t)sizeof *ret_value && *ret_value != 0 ? (int)passed.n : -EPIPE;
}

int barrier_release(int fd, const int *fds, int n, struct err *e)
{
	return barrier_tell_with(fd, 1, fds, n, e);
}

int barrier_wait(int fd, int *fds)
{
	uint32_t go = 0;

	return barrier_hear_with(fd, &go, fds);
}

void barrier_fail(int fd, const struct err *e)
{
	const struct barrier_msg m = {.word = BARRIER_FAILED, .err = *e};

	(void)send(fd, &m, BARRIER_MSG_SIZE(0), MSG_NOSIGNAL); /* the host sees the end of the child in any case */
}

int barrier_announce_exec(int fd)
{
	const struct barrier_msg m = {.word = BARRIER_EXEC, .exec_ns = clock_mono_ns()};

	return send(fd, &m, BARRIER_MSG_SIZE(0), MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int announce_with(int fd, enum barrier_word word, int beside)
{
	const struct barrier_msg m = {.word = word};
	const ssize_t sent = fd_send(fd, &m, BARRIER_MSG_SIZE(0), &beside, 1, 0);

	return sent < 0 ? (int)sent : 0;
}

int barrier_announce_parked(int fd, int worker)
{
	return announce_with(fd, BARRIER_PARKED, worker);
}

int barrier_announce_listener(int fd, int listener)
{
	return announce_with(fd, BARRIER_LISTENER, listener);
}

int barrier_send_bytes(int fd, struct barrier_msg *m)
{
	m->word = BARRIER_BYTES_OF_WORKER;
	return send(fd, m, BARRIER_MSG_SIZE(m->len), MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* One message of the child into @from: 1; 0 at end of file; -EAGAIN, and *e untouched, when there is none. A descriptor
 * that came beside it is *ret_fd. */
static int take(int fd, struct barrier_msg *from, int *ret_fd, struct err *e)
{
	struct fd_passed passed;
	int fds[BARRIER_MAX_FDS];
	ssize_t n = fd_receive(fd, from, sizeof *from, fds, BARRIER_MAX_FDS, MSG_DONTWAIT, &passed);

	if (n == -ECONNRESET) /* it closed without reading our word; what it said lies behind this error */
		n = fd_receive(fd, from, sizeof *from, fds, BARRIER_MAX_FDS, MSG_DONTWAIT, &passed);
	if (passed.n == 1 && ret_fd && !fd_valid(*ret_fd))
		*ret_fd = fds[--passed.n];
	while (passed.n > 0)
		fd_closep(&fds[--passed.n]);
	if (n < 0)
		return n == -EAGAIN ? -EAGAIN : err_sys(e, (int)n, "reading the child's barrier");
	if (n == 0)
		return 0;
	if ((size_t)n < BARRIER_MSG_SIZE(0) || from->len > BARRIER_BYTES || (size_t)n != BARRIER_MSG_SIZE(from->len))
		return err_set(e, ERR_BUG, EPROTO, "a barrier message of %zd bytes", n);
	if (from->word == BARRIER_FAILED)
		return err_adopt(e, &from->err);
	return 1;
}

int barrier_take_parked(int fd, int *ret_worker, struct err *e)
{
	struct barrier_msg from = {0};
	int r = take(fd, &from, ret_worker, e);

	if (r == -EAGAIN && e->kind == ERR_NONE)
		return 1;
	if (r == 0)
		return err_set(e, ERR_SYSTEM, ECHILD, "the child died before it was prepared");
	if (r > 0 && from.word != BARRIER_PARKED)
		return err_set(e, ERR_BUG, EPROTO, "a barrier message out of place");
	return r < 0 ? r : 0;
}

static int take_exec(int fd, uint64_t *ret_exec_ns, struct buf *ret_bytes, int *ret_listener, struct err *e)
{
	for (;;) {
		struct barrier_msg from = {0};
		int r = take(fd, &from, ret_listener, e);

		if (r == -EAGAIN && e->kind == ERR_NONE)
			return 1;
		if (r < 0)
			return r;
		if (r == 0)
			break;
		if (from.word == BARRIER_LISTENER && ret_listener && fd_valid(*ret_listener))
			return 2;
		if (from.word == BARRIER_EXEC)
			*ret_exec_ns = from.exec_ns;
		else if (from.word == BARRIER_BYTES_OF_WORKER && ret_bytes)
			buf_add(ret_bytes, from.bytes, from.len);
	}
	/* End of file: exec (in a clone init, a moment later) closed the child's end, or the child is gone. Only the first
	 * comes after its word. */
	return *ret_exec_ns ? 0 : err_set(e, ERR_SYSTEM, ECHILD, "the child died before it could execute");
}

int barrier_take_exec(int fd, uint64_t *ret_exec_ns, struct buf *ret_bytes, struct err *e)
{
	return take_exec(fd, ret_exec_ns, ret_bytes, NULL, e);
}

int barrier_take_start(int fd, uint64_t *ret_exec_ns, int *ret_listener, struct err *e)
{
	return take_exec(fd, ret_exec_ns, NULL, ret_listener, e);
}

int barrier_late(struct err *e)
{
	return err_set(e, ERR_SYSTEM, ETIMEDOUT, "the child did not execute within %d s", CELL_ARRIVAL_MS / 1000);
}

int barrier_announce(int fd, enum barrier_word word)
{
	const struct barrier_msg m = {.word = word};

	return send(fd, &m, BARRIER_MSG_SIZE(0), MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int barrier_expect(int fd, enum barrier_word want, struct err *e)
{
	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		struct barrier_msg from = {0};
		int r = take(fd, &from, NULL, e);

		if (r == -EAGAIN && e->kind == ERR_NONE) {
			if (poll(&p, 1, -1) < 0 && errno != EINTR)
				return err_sys(e, errno, "waiting for the child");
			continue;
		}
		if (r == 0)
			return err_set(e, ERR_SYSTEM, ECHILD, "the child died before it was ready");
		if (r > 0 && from.word != want)
			return err_set(e, ERR_BUG, EPROTO, "a barrier message out of place");
		return r < 0 ? r : 0;
	}
}

int barrier_tell(int fd, uint32_t value, struct err *e)
{
	return send(fd, &value, sizeof value, MSG_NOSIGNAL) == (ssize_t)sizeof value
		       ? 0
		       : err_sys(e, errno, "telling the child to go on");
}

int barrier_hear(int fd, uint32_t *ret_value)
{
	ssize_t n;

	do
		n = recv(fd, ret_value, sizeof *ret_value, 0);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n == (ssize_t)sizeof *ret_value && *ret_value != 0 ? 0 : -EPIPE;
}
