/* Datagrams with descriptors beside them. */
#include "wire/spawn.h"

#include "base/fd.h"

#include <string.h>
#include <sys/socket.h>

void spawn_drop(struct spawn_datagram *d)
{
	while (d->n_fds > 0)
		fd_closep(&d->fds[--d->n_fds]);
}

_Static_assert((int)FD_PASS_MAX >= 2 * (int)SPAWN_MAX_FDS,
	       "more than there may be is seen, not left out by the kernel");

int spawn_receive(int fd, struct spawn_datagram *d, enum spawn_side side, struct err *e)
{
	struct fd_passed passed;
	ssize_t got;
	int r;

	spawn_drop(d);
	got = fd_receive(fd, d->bytes, SPAWN_MAX_BYTES + 1, d->fds, SPAWN_MAX_FDS, MSG_DONTWAIT, &passed);
	if (got == -EAGAIN)
		return -EAGAIN;
	if (got == -ECONNRESET)
		return 0;
	if (got < 0)
		return err_sys(e, (int)got, "receiving a datagram");
	/* A datagram of no bytes looks like the end, but may bring descriptors; both are the end of it. */
	d->n_fds = passed.n;
	/* fsbox-spawn sends no more than there may be. fsboxd's descriptors are used up then, which is no reason to end. */
	d->lacking = side == SPAWN_TO_DAEMON && passed.lost;
	if (d->lacking) {
		spawn_drop(d);
		passed.lost = passed.too_many = false;
	}
	if (got == 0) {
		spawn_drop(d);
		return 0;
	}
	if (passed.lost)
		r = err_set(e, ERR_SYSTEM, EPROTO, "a datagram with more descriptors than there is room for");
	else if (passed.too_many)
		r = err_set(e, ERR_BUG, EPROTO, "a datagram with more descriptors than there may be");
	else if ((size_t)got < sizeof d->head || passed.cut)
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
	ssize_t sent;

	memcpy(&head, data, sizeof head);
	if (n_fds > SPAWN_MAX_FDS)
		return -EINVAL;
	sent = fd_send(fd, data, head.size, fds, n_fds, MSG_DONTWAIT);
	return sent < 0 ? (int)sent : sent == (ssize_t)head.size ? 0 : -EIO;
}
