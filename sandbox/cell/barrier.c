#include "cell/internal.h"

#include "base/clock.h"
#include "base/fd.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>

/* A child that has not executed by then hangs in the kernel (a dead network file system under a bind, say). */
enum { EXEC_WAIT_MS = 10000 };

int barrier_make(int *ret_host, int *ret_child, struct err *e)
{
	int sv[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
		return err_sys(e, errno, "making the barrier socket");
	*ret_host = sv[0];
	*ret_child = sv[1];
	return 0;
}

int barrier_release(int fd, const int *fds, int n, struct err *e)
{
	uint32_t go = 1;
	struct iovec iov = {&go, sizeof go};
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(BARRIER_MAX_FDS * sizeof(int))];
	} control = {0};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	const size_t bytes = (size_t)n * sizeof(int);

	if (n > 0) {
		struct cmsghdr *cmsg = &control.align;

		msg.msg_control = control.space;
		msg.msg_controllen = CMSG_SPACE(bytes);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(bytes);
		memcpy(CMSG_DATA(cmsg), fds, bytes);
	}

	ssize_t sent = sendmsg(fd, &msg, MSG_NOSIGNAL);
	return sent == (ssize_t)sizeof go ? 0 : err_sys(e, sent < 0 ? errno : EIO, "releasing the child");
}

int barrier_wait(int fd, int *fds)
{
	uint32_t go = 0;
	struct iovec iov = {&go, sizeof go};
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(BARRIER_MAX_FDS * sizeof(int))];
	} control = {0};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.space,
			     .msg_controllen = sizeof control.space};
	const struct cmsghdr *cmsg;
	ssize_t got;

	do
		got = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return -errno;
	if (got != (ssize_t)sizeof go || go != 1)
		return -EPIPE;
	cmsg = CMSG_FIRSTHDR(&msg);
	if (!cmsg)
		return 0;

	size_t bytes = cmsg->cmsg_len - CMSG_LEN(0);
	memcpy(fds, CMSG_DATA(cmsg), bytes); /* from our own parent: at most BARRIER_MAX_FDS, which the space bounds */
	return (int)(bytes / sizeof(int));
}

void barrier_fail(int fd, const struct err *e)
{
	const struct barrier_msg m = {.err = *e};

	(void)send(fd, &m, sizeof m, MSG_NOSIGNAL); /* the host sees the end of the child in any case */
}

int barrier_announce_exec(int fd)
{
	const struct barrier_msg m = {.exec_ns = clock_mono_ns()};

	return send(fd, &m, sizeof m, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* One message of the child into @from; 0 at end of file, 1 when there was one. */
static int receive(int fd, struct barrier_msg *from, struct err *e)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	ssize_t n;

	do
		n = poll(&p, 1, EXEC_WAIT_MS);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return err_set(e, ERR_SYSTEM, n < 0 ? errno : ETIMEDOUT, "the child did not execute within %d s",
			       EXEC_WAIT_MS / 1000);
	n = recv(fd, from, sizeof *from, 0);
	if (n < 0 && errno == ECONNRESET) /* it closed without reading our word; what it said lies behind this error */
		n = recv(fd, from, sizeof *from, 0);
	if (n < 0)
		return err_sys(e, errno, "reading the child's barrier");
	if (n != 0 && (size_t)n != sizeof *from)
		return err_set(e, ERR_BUG, EPROTO, "a barrier message of %zd bytes", n);
	return n != 0;
}

int barrier_expect_exec(int fd, uint64_t *ret_exec_ns, struct err *e)
{
	uint64_t announced = 0;

	for (;;) {
		struct barrier_msg from;
		int r = receive(fd, &from, e);

		if (r < 0)
			return r;
		if (r == 0)
			break;
		if (from.err.kind != ERR_NONE)
			return err_adopt(e, &from.err);
		announced = from.exec_ns;
	}
	/* End of file: exec closed the child's end, or the child is gone. Only the first comes after its word. */
	if (announced == 0)
		return err_set(e, ERR_SYSTEM, ECHILD, "the child died before it could execute");
	*ret_exec_ns = announced;
	return 0;
}
