/* The channel: read without ever waiting (ppoll(2) says when there is something), written with waiting, which ends when the
 * host does. */
#include "runtime/api/api.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

int link_setup(void)
{
	/* Not for the programs that are started here. */
	return fcntl(CHAN_FD_IN, F_SETFD, FD_CLOEXEC) < 0 || fcntl(CHAN_FD_OUT, F_SETFD, FD_CLOEXEC) < 0 ? -errno : 0;
}

int link_read(struct api *a)
{
	char data[65536];
	ssize_t n = read(CHAN_FD_IN, data, sizeof data);

	if (n < 0)
		return errno == EINTR || errno == EAGAIN ? 1 : -errno;
	bytes_add(&a->rx, data, (size_t)n);
	return a->rx.failed ? -ENOMEM : n > 0;
}

int link_next(struct api *a, struct chan_head *ret_head, const char **ret_body)
{
	if (a->rx.len < sizeof *ret_head)
		return 0;
	if (chan_head_parse(a->rx.data, CHAN_CELL, ret_head) < 0)
		return -EPROTO;
	if (a->rx.len - sizeof *ret_head < ret_head->len)
		return 0;
	*ret_body = a->rx.data + sizeof *ret_head;
	return 1;
}

void link_drop(struct api *a, const struct chan_head *head)
{
	bytes_drop(&a->rx, sizeof *head + head->len);
	if (a->rx.len == 0 && a->rx.cap > 1 << 17) /* what one large event needed */
		bytes_free(&a->rx);
}

static void write_all(struct iovec *iov, int n)
{
	while (n > 0) {
		ssize_t w = writev(CHAN_FD_OUT, iov, n);

		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			_exit(1); /* nobody is there to be told */
		while (n > 0 && (size_t)w >= iov->iov_len) {
			w -= (ssize_t)iov->iov_len;
			iov++;
			n--;
		}
		if (n > 0) {
			iov->iov_base = (char *)iov->iov_base + w;
			iov->iov_len -= (size_t)w;
		}
	}
}

static struct iovec part(const void *data, size_t len)
{
	struct iovec v = {.iov_len = len};

	memcpy(&v.iov_base, &data, sizeof data); /* writev(2) changes nothing */
	return v;
}

void link_send(uint16_t type, uint64_t call, const void *body, size_t len)
{
	const struct chan_head head = {.len = (uint32_t)len, .type = type, .call = call};
	struct iovec iov[2] = {part(&head, sizeof head), part(body, len)};

	write_all(iov, 2);
}

void link_error(uint16_t type, uint64_t call, const char *kind, const char *message, const void *document, size_t len)
{
	size_t kind_len = strlen(kind), message_len = strlen(message);
	struct chan_error fixed;
	struct chan_head head = {.type = type, .call = call};

	kind_len = kind_len < CHAN_MAX_TYPE ? kind_len : CHAN_MAX_TYPE;
	message_len = message_len < CHAN_MAX_MESSAGE ? message_len : CHAN_MAX_MESSAGE;
	len = len <= CHAN_MAX_DOCUMENT ? len : 0; /* then the host makes one */
	fixed = (struct chan_error){.type_len = (uint16_t)kind_len, .message_len = (uint32_t)message_len};
	head.len = (uint32_t)(sizeof fixed + kind_len + message_len + len);
	struct iovec iov[5] = {part(&head, sizeof head), part(&fixed, sizeof fixed), part(kind, kind_len),
			       part(message, message_len), part(document, len)};
	write_all(iov, 5);
}
