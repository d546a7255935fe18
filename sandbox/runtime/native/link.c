/* The cell's end of the channel. One buffer takes whatever is in the pipe with one read(2), so that a whole small CALL
 * costs one system call; a large event goes past it, straight into the event's own memory. */
#include "runtime/native/native.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static struct {
	size_t at, end;       /* what has been read and not yet taken */
	uint8_t bytes[65536]; /* the capacity of a pipe (pipe(7)); pages that no frame reached stay untouched */
} in;

_Static_assert(LINK_PEEK_MAX + sizeof(struct chan_head) <= sizeof in.bytes, "what is peeked at fits");

int link_open(void)
{
	/* The function's children after exec have no business with the channel. */
	if (fcntl(CHAN_FD_IN, F_SETFD, FD_CLOEXEC) < 0 || fcntl(CHAN_FD_OUT, F_SETFD, FD_CLOEXEC) < 0)
		return -errno;
	return 0;
}

/* read(2) that outlasts the signals of the function. 0 at end of file. */
static ssize_t read_some(void *dst, size_t len)
{
	ssize_t n;

	do
		n = read(CHAN_FD_IN, dst, len);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/* Has at least @need bytes in the buffer. 1, 0 when the file ended and the buffer is empty, -EPROTO when it ended
 * before @need bytes, -errno. */
static int fill(size_t need)
{
	if (in.at == in.end)
		in.at = in.end = 0;
	if (sizeof in.bytes - in.at < need) {
		memmove(in.bytes, in.bytes + in.at, in.end - in.at);
		in.end -= in.at;
		in.at = 0;
	}
	while (in.end - in.at < need) {
		ssize_t n = read_some(in.bytes + in.end, sizeof in.bytes - in.end);

		if (n < 0)
			return (int)n;
		if (n == 0)
			return in.at == in.end ? 0 : -EPROTO;
		in.end += (size_t)n;
	}
	return 1;
}

int link_next(struct chan_head *ret_head)
{
	int r = fill(sizeof *ret_head);

	if (r <= 0)
		return r;
	r = chan_head_parse(in.bytes + in.at, CHAN_CELL, ret_head);
	if (r < 0)
		return r;
	in.at += sizeof *ret_head;
	return 1;
}

int link_peek(size_t len, const uint8_t **ret_bytes)
{
	int r = fill(len);

	if (r < 0 || (r == 0 && len > 0))
		return r < 0 ? r : -EPROTO;
	*ret_bytes = in.bytes + in.at;
	return 0;
}

int link_read(void *dst, size_t len)
{
	size_t have = in.end - in.at;
	uint8_t *p = dst;

	if (have > len)
		have = len;
	if (p && have) {
		memcpy(p, in.bytes + in.at, have);
		p += have;
	}
	in.at += have;
	for (len -= have; len > 0;) {
		ssize_t n = p ? read_some(p, len) : -EPROTO;

		if (n <= 0)
			return n < 0 ? (int)n : -EPROTO;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int link_write(struct iovec *iov, int n)
{
	while (n > 0) {
		ssize_t w;

		if (iov->iov_len == 0) {
			iov++;
			n--;
			continue;
		}
		w = n == 1 ? write(CHAN_FD_OUT, iov->iov_base, iov->iov_len) : writev(CHAN_FD_OUT, iov, n);
		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return -errno;
		while (n > 0 && (size_t)w >= iov->iov_len) {
			w -= (ssize_t)iov->iov_len;
			iov++;
			n--;
		}
		if (n > 0) {
			iov->iov_base = (uint8_t *)iov->iov_base + w;
			iov->iov_len -= (size_t)w;
		}
	}
	return 0;
}

int link_send(uint16_t type, uint64_t call, const void *body, size_t len)
{
	struct chan_head head = {.len = (uint32_t)len, .type = type, .call = call};
	void *bytes;
	struct iovec iov[2];

	memcpy(&bytes, &body, sizeof bytes); /* an iovec has no const; writev(2) does not write there */
	iov[0] = (struct iovec){&head, sizeof head};
	iov[1] = (struct iovec){bytes, len};
	return link_write(iov, 2);
}
