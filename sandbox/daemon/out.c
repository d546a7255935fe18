/* Sending. A message goes to the socket at once; what that does not take waits in a queue, in its order. Descriptors go
 * with the first byte of their message, and no other message is sent together with them, so that whoever reads can tell
 * whose they are. */
#include "daemon/conn.h"

#include "base/fd.h"

#include <sys/socket.h>
#include <sys/uio.h>

enum { FLUSH_IOV = 64 };

void close_fds(int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++)
		fd_closep(&fds[i]);
}

/* sendmsg(2) without waiting and without SIGPIPE: bytes or -errno. */
static ssize_t send_parts(int sock, struct iovec *iov, size_t n, const int *fds, size_t n_fds)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(WIRE_MAX_FDS * sizeof(int))];
	} control UNINITIALIZED;
	struct msghdr m = {.msg_iov = iov, .msg_iovlen = n};
	ssize_t r;

	if (n_fds > WIRE_MAX_FDS)
		return -EINVAL;
	if (n_fds > 0) {
		m.msg_control = &control;
		m.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		memset(&control, 0, m.msg_controllen);
		struct cmsghdr *c = CMSG_FIRSTHDR(&m);
		*c = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
		c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
	}
	do
		r = sendmsg(sock, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}

static char *writable(const char *s) /* sendmsg(2) only reads it */
{
	return (char *)(uintptr_t)s;
}

static struct out_item *new_item(size_t len, size_t n_fds)
{
	struct out_item *x;
	const size_t head = sizeof *x + n_fds * sizeof(int);

	if (len > SIZE_MAX - head)
		return NULL;
	x = malloc(head + len);
	if (!x)
		return NULL;
	*x = (struct out_item){.len = len, .n_fds = n_fds, .fds = (int *)(x + 1)};
	x->text = (char *)(x->fds + n_fds);
	return x;
}

/* Queues what is behind the first @done bytes. */
static bool enqueue(struct conn *c, const struct out_text *parts, size_t done, const int *fds, size_t n_fds)
{
	size_t total = 0, at = 0;
	struct out_item *x;

	for (size_t i = 0; i < OUT_TEXTS; i++)
		total += parts[i].len;
	x = new_item(total - done, n_fds);
	if (!x)
		return false;
	if (n_fds > 0)
		memcpy(x->fds, fds, n_fds * sizeof(int));
	for (size_t i = 0; i < OUT_TEXTS; i++) { /* parts that are not there have no length */
		const size_t skip = done < parts[i].len ? done : parts[i].len;

		if (parts[i].len > skip)
			memcpy(x->text + at, parts[i].text + skip, parts[i].len - skip);
		at += parts[i].len - skip;
		done -= skip;
	}
	*c->last = x;
	c->last = &x->next;
	c->queued++;
	c->queued_bytes += x->len;
	return true;
}

void out_message(struct conn *c, const struct out_text parts[static OUT_TEXTS], int *fds, size_t n_fds)
{
	struct iovec iov[OUT_TEXTS];
	size_t total = 0;
	ssize_t n = -EAGAIN;

	if (c->dead || c->closing) {
		close_fds(fds, n_fds);
		return;
	}
	for (size_t i = 0; i < OUT_TEXTS; i++) {
		iov[i] = (struct iovec){.iov_base = writable(parts[i].text), .iov_len = parts[i].len};
		total += parts[i].len;
	}
	if (!c->first)
		n = send_parts(c->fd, iov, OUT_TEXTS, fds, n_fds);
	if (n >= 0) /* they went with the first byte */
		close_fds(fds, n_fds);
	if (n >= 0 && (size_t)n == total)
		return;
	if ((n < 0 && n != -EAGAIN) || !enqueue(c, parts, n > 0 ? (size_t)n : 0, fds, n < 0 ? n_fds : 0)) {
		close_fds(fds, n < 0 ? n_fds : 0);
		conn_break(c);
		return;
	}
	if (!server_count(c)) { /* a result that is lost with its connection can be asked for again */
		conn_break(c);
		return;
	}
	(void)loop_set(c->s->loop, &c->watch, c->watch.events | EPOLLOUT);
}

static void drop_first(struct conn *c)
{
	struct out_item *x = c->first;

	close_fds(x->fds, x->n_fds);
	c->first = x->next;
	if (!c->first)
		c->last = &c->first;
	c->queued--;
	c->queued_bytes -= x->len - x->done;
	free(x);
}

void out_drop(struct conn *c)
{
	while (c->first)
		drop_first(c);
	(void)server_count(c); /* less than before; below as well */
}

/* Messages without descriptors go together. */
static size_t gather(const struct conn *c, struct iovec iov[static FLUSH_IOV])
{
	size_t n = 0;

	for (struct out_item *x = c->first; x && n < FLUSH_IOV && (n == 0 || x->n_fds == 0); x = x->next) {
		iov[n++] = (struct iovec){.iov_base = x->text + x->done, .iov_len = x->len - x->done};
		if (x->n_fds > 0)
			break;
	}
	return n;
}

static void forget_sent(struct conn *c, size_t n)
{
	while (n > 0) {
		struct out_item *x = c->first;
		const size_t here = n < x->len - x->done ? n : x->len - x->done;

		close_fds(x->fds, x->n_fds);
		x->n_fds = 0;
		x->done += here;
		c->queued_bytes -= here;
		n -= here;
		if (x->done == x->len)
			drop_first(c);
	}
}

void out_flush(struct conn *c)
{
	while (c->first) {
		UNINITIALIZED struct iovec iov[FLUSH_IOV];
		size_t n_iov = gather(c, iov);
		ssize_t n = send_parts(c->fd, iov, n_iov, c->first->fds, c->first->n_fds);

		if (n == -EAGAIN)
			return;
		if (n < 0) {
			conn_break(c);
			return;
		}
		forget_sent(c, (size_t)n);
		(void)server_count(c);
	}
	(void)loop_set(c->s->loop, &c->watch, c->watch.events & ~(uint32_t)EPOLLOUT);
}
