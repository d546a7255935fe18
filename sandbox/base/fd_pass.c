/* Descriptors beside a message: unix(7), SCM_RIGHTS. */
#include "base/fd.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

union rights {
	struct cmsghdr align;
	char space[CMSG_SPACE(sizeof(int) * FD_PASS_MAX)];
};

ssize_t fd_send(int sock, const void *data, size_t len, const int *fds, size_t n, int flags)
{
	struct iovec iov = {.iov_len = len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	union rights control = {0};
	ssize_t sent;

	memcpy(&iov.iov_base, &data, sizeof data); /* sendmsg(2) only reads it */
	if (n > FD_PASS_MAX)
		return -EINVAL;
	if (n > 0) {
		msg.msg_control = control.space;
		msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(n * sizeof(int));
		memcpy(CMSG_DATA(&control.align), fds, n * sizeof(int));
	}
	do
		sent = sendmsg(sock, &msg, flags | MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : sent;
}

/* Every descriptor that came is in @to or closed. */
static void take(const struct msghdr *msg, struct fd_passed *to, int *fds, size_t max)
{
	for (const struct cmsghdr *c = CMSG_FIRSTHDR(msg); c;
	     c = CMSG_NXTHDR((struct msghdr *)(uintptr_t)msg, (struct cmsghdr *)(uintptr_t)c)) {
		const size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
			if (to->n < max) {
				fds[to->n++] = fd;
			} else {
				fd_closep(&fd);
				to->too_many = true;
			}
		}
	}
}

ssize_t fd_receive(int sock, void *data, size_t len, int *fds, size_t max, int flags, struct fd_passed *ret)
{
	struct iovec iov = {data, len};
	union rights control;
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t got;

	*ret = (struct fd_passed){0};
	do {
		msg.msg_control = max > 0 ? control.space : NULL;
		msg.msg_controllen = max > 0 ? sizeof control.space : 0;
		got = recvmsg(sock, &msg, flags | MSG_CMSG_CLOEXEC);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		return -errno;
	ret->cut = msg.msg_flags & MSG_TRUNC;
	ret->lost = msg.msg_flags & MSG_CTRUNC;
	if (max > 0)
		take(&msg, ret, fds, max);
	return got;
}
