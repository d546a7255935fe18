/* Datagrams with descriptors beside them. */
#include "wire/spawn.h"

#include "base/fd.h"

#include <string.h>
#include <sys/socket.h>

/* Room for the most that one datagram takes, with as much again: what the kernel would have to leave out is an
 * error here. */
union rights {
	struct cmsghdr align;
	char space[CMSG_SPACE(sizeof(int) * 2 * SPAWN_MAX_FDS)];
};

void spawn_drop(struct spawn_datagram *d)
{
	while (d->n_fds > 0)
		fd_closep(&d->fds[--d->n_fds]);
}

/* Every descriptor that came is in @d or closed. False when there were too many. */
static bool take_fds(struct msghdr *msg, struct spawn_datagram *d)
{
	bool all = !(msg->msg_flags & MSG_CTRUNC);

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		const size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
			if (d->n_fds < SPAWN_MAX_FDS) {
				d->fds[d->n_fds++] = fd;
			} else {
				fd_closep(&fd);
				all = false;
			}
		}
	}
	return all;
}

int spawn_receive(int fd, struct spawn_datagram *d, enum spawn_side side, struct err *e)
{
	struct iovec iov = {d->bytes, SPAWN_MAX_BYTES + 1};
	union rights control;
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.space};
	ssize_t got;
	int r;

	spawn_drop(d);
	do {
		msg.msg_controllen = sizeof control.space;
		got = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	} while (got < 0 && errno == EINTR);
	if (got < 0 && errno == EAGAIN)
		return -EAGAIN;
	if (got < 0 && errno == ECONNRESET)
		return 0;
	if (got < 0)
		return err_sys(e, errno, "receiving a datagram");
	/* A datagram of no bytes looks like the end, but may bring descriptors; both are the end of it. */
	bool all = take_fds(&msg, d);

	/* fsbox-spawn sends no more than there may be. fsboxd's descriptors are used up then, which is no reason to end. */
	d->lacking = side == SPAWN_TO_DAEMON && (msg.msg_flags & MSG_CTRUNC);
	if (d->lacking) {
		spawn_drop(d);
		all = true;
	}
	if (got == 0) {
		spawn_drop(d);
		return 0;
	}
	if (!all && (msg.msg_flags & MSG_CTRUNC))
		r = err_set(e, ERR_SYSTEM, EPROTO, "a datagram with more descriptors than there is room for");
	else if (!all)
		r = err_set(e, ERR_BUG, EPROTO, "a datagram with more descriptors than there may be");
	else if ((size_t)got < sizeof d->head || (msg.msg_flags & MSG_TRUNC))
		r = err_set(e, ERR_BUG, EPROTO, "a datagram of %zd bytes", got);
	else
		r = spawn_check(d, (size_t)got, side, e);
	if (r < 0) {
		spawn_drop(d);
		return r;
	}
	return 1;
}

int spawn_send(int fd, const void *data, const int *fds, size_t n_fds)
{
	struct spawn_head head;
	struct iovec iov;
	union rights control = {0};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	const size_t bytes = n_fds * sizeof(int);
	ssize_t sent;

	memcpy(&head, data, sizeof head);
	iov.iov_len = head.size;
	memcpy(&iov.iov_base, &data, sizeof data); /* sendmsg(2) only reads it */
	if (n_fds > SPAWN_MAX_FDS)
		return -EINVAL;
	if (n_fds > 0) {
		struct cmsghdr *c = &control.align;

		msg.msg_control = control.space;
		msg.msg_controllen = CMSG_SPACE(bytes);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(bytes);
		memcpy(CMSG_DATA(c), fds, bytes);
	}
	do
		sent = sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (sent < 0 && errno == EINTR);
	if (sent < 0)
		return -errno;
	return sent == (ssize_t)head.size ? 0 : -EIO;
}
