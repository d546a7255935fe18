/* A stream cut into messages. The buffer begins small, because most messages are and connections are many; it doubles while
 * one message needs it, and what is large is given back with the message. Each byte is looked at once. */
#include "wire/message.h"

#include "base/fd.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>

enum {
	FIRST_CAP = 4096,
	KEPT_CAP = 65536, /* what stays of the buffer when it is empty */
	/* Descriptors of a message that waits and of the one behind it, which a read may reach. */
	HELD_FDS = 2 * WIRE_MAX_FDS,
};

static size_t max_bytes(const struct wire_rx *rx)
{
	return rx->max_bytes ? rx->max_bytes : WIRE_DEFAULT_BYTES;
}

static int breaks(struct wire_rx *rx, int code)
{
	rx->broken = true;
	return -code;
}

bool wire_rx_ready(struct wire_rx *rx)
{
	const char *end;

	if (rx->scanned == rx->len)
		return false;
	end = memchr(rx->data + rx->scanned, '\0', rx->len - rx->scanned);
	rx->scanned = end ? (size_t)(end - rx->data) : rx->len;
	return end != NULL;
}

size_t wire_rx_partial(struct wire_rx *rx)
{
	return wire_rx_ready(rx) ? 0 : rx->len - rx->from;
}

/* What was taken makes room for what comes: moved when it is no more than what moves it. */
void wire_rx_trim(struct wire_rx *rx)
{
	const size_t left = rx->len - rx->from;

	if (rx->from == 0 || left > rx->from)
		return;
	if (left > 0)
		memcpy(rx->data, rx->data + rx->from, left); /* left <= from: they do not overlap */
	rx->base += rx->from;
	rx->scanned -= rx->from;
	rx->len = left;
	rx->from = 0;
	if (left == 0 && rx->cap > KEPT_CAP) {
		free(rx->data);
		rx->data = NULL;
		rx->cap = 0;
	}
}

static int resize(struct wire_rx *rx, size_t cap)
{
	char *grown = realloc(rx->data, cap);

	if (!grown)
		return breaks(rx, ENOMEM);
	rx->data = grown;
	rx->cap = cap;
	return 0;
}

/* Makes room for at least one byte more. A message and its NUL need max_bytes + 1. */
static int make_room(struct wire_rx *rx)
{
	const size_t most = rx->from + max_bytes(rx) + 1;
	size_t cap;

	wire_rx_trim(rx);
	if (rx->len < rx->cap)
		return 0;
	cap = rx->cap ? rx->cap * 2 : FIRST_CAP;
	if (cap > most && most > rx->len)
		cap = most;
	return resize(rx, cap);
}

/* What is there of a message that is not kept goes. */
static void skip(struct wire_rx *rx)
{
	rx->skipped += rx->len - rx->from;
	rx->base += rx->len;
	rx->from = rx->len = rx->scanned = 0;
}

/* A message without end must not be longer than one may be. */
static int check_length(struct wire_rx *rx)
{
	if (wire_rx_ready(rx) || rx->skipped + (rx->len - rx->from) <= max_bytes(rx))
		return 0;
	if (rx->skipped + (rx->len - rx->from) > rx->skip_bytes)
		return breaks(rx, EMSGSIZE);
	skip(rx);
	return 0;
}

static void close_fds(const int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (fd_valid(fds[i]))
			(void)close(fds[i]);
}

static int hold_fds(struct wire_rx *rx, const int *fds, size_t n)
{
	const size_t want = rx->n_fds + n;
	int r = 0;

	if (n == 0)
		return 0;
	if (want > HELD_FDS || (rx->len == 0 && rx->skipped == 0))
		r = breaks(rx, EMFILE);
	if (r == 0 && want > rx->fds_cap) {
		size_t cap = want > 8 ? HELD_FDS : 8;
		struct wire_rx_fd *grown = reallocarray(rx->fds, cap, sizeof *grown);

		if (!grown)
			r = breaks(rx, ENOMEM);
		rx->fds = grown ? grown : rx->fds;
		rx->fds_cap = grown ? cap : rx->fds_cap;
	}
	if (r < 0)
		close_fds(fds, n);
	for (size_t i = 0; i < n && r == 0; i++)
		rx->fds[rx->n_fds++] = (struct wire_rx_fd){.at = rx->base + rx->len - 1, .fd = fds[i]};
	return r;
}

int wire_rx_feed(struct wire_rx *rx, const void *data, size_t len, const int *fds, size_t n_fds)
{
	int r = rx->broken ? -EPIPE : 0;

	for (size_t done = 0; done < len && r == 0;) {
		size_t n;

		r = make_room(rx);
		if (r < 0)
			break;
		n = len - done < rx->cap - rx->len ? len - done : rx->cap - rx->len;
		memcpy(rx->data + rx->len, (const char *)data + done, n);
		rx->len += n;
		done += n;
		r = check_length(rx);
	}
	if (r < 0) {
		close_fds(fds, n_fds);
		return r;
	}
	return hold_fds(rx, fds, n_fds);
}

/* The descriptors in a message's control data: only SCM_RIGHTS comes here, as nothing else was asked for. */
static size_t collect_fds(struct msghdr *m, int fds[static WIRE_MAX_FDS])
{
	size_t n = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;

		size_t here = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < here && n < WIRE_MAX_FDS; i++)
			memcpy(&fds[n++], CMSG_DATA(c) + i * sizeof(int), sizeof(int));
	}
	return n;
}

/* A client's own end of the connection, held here for a message that never ends, would keep that connection from ever
 * ending; what else can hold a socket has no place in a message either. */
static bool may_hold_socket(int fd)
{
	struct stat st;

	return fstat(fd, &st) < 0 || S_ISSOCK(st.st_mode) || (st.st_mode & S_IFMT) == 0; /* anonymous: io_uring, … */
}

static void drop_sockets(int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (may_hold_socket(fds[i]))
			fd_closep(&fds[i]);
}

ssize_t wire_rx_recv(struct wire_rx *rx, int sock)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(WIRE_MAX_FDS * sizeof(int))];
	} control UNINITIALIZED;
	struct iovec iov;
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	UNINITIALIZED int fds[WIRE_MAX_FDS];
	size_t n_fds;
	ssize_t n;
	int r;

	if (rx->broken)
		return -EPIPE;
	if ((r = make_room(rx)) < 0)
		return r;
	iov = (struct iovec){.iov_base = rx->data + rx->len, .iov_len = rx->cap - rx->len};
	do
		n = recvmsg(sock, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? -EAGAIN : breaks(rx, errno);

	n_fds = collect_fds(&m, fds);
	drop_sockets(fds, n_fds);
	rx->len += (size_t)n;
	r = n > 0 ? check_length(rx) : 0;
	if (r == 0 && (m.msg_flags & MSG_CTRUNC))
		r = breaks(rx, EMFILE);
	if (r < 0) {
		close_fds(fds, n_fds);
		return r;
	}
	if ((r = hold_fds(rx, fds, n_fds)) < 0)
		return r;
	return n;
}

int wire_rx_next(struct wire_rx *rx, struct wire_message *m, int *fds, size_t *ret_n_fds)
{
	size_t n = 0, len;
	bool kept;

	if (rx->broken)
		return 0;
	if (!wire_rx_ready(rx))
		return check_length(rx);
	len = rx->skipped + (rx->scanned - rx->from);
	kept = len <= max_bytes(rx);
	if (!kept && len > rx->skip_bytes)
		return breaks(rx, EMSGSIZE);
	while (n < rx->n_fds && rx->fds[n].at <= rx->base + rx->scanned)
		n++;
	if (n > WIRE_MAX_FDS)
		return breaks(rx, EMFILE);
	for (size_t i = 0; i < n; i++)
		fds[i] = rx->fds[i].fd;
	rx->n_fds -= n;
	if (rx->n_fds > 0)
		memmove(rx->fds, rx->fds + n, rx->n_fds * sizeof *rx->fds);
	if (!kept)
		close_fds(fds, n);
	*ret_n_fds = kept ? n : 0;
	*m = (struct wire_message){.text = kept ? rx->data + rx->from : NULL, .len = len};
	rx->skipped = 0;
	rx->from = ++rx->scanned;
	return 1;
}

void wire_rx_done(struct wire_rx *rx)
{
	for (size_t i = 0; i < rx->n_fds; i++)
		fd_closep(&rx->fds[i].fd);
	free(rx->fds);
	free(rx->data);
	*rx = (struct wire_rx){.max_bytes = rx->max_bytes, .skip_bytes = rx->skip_bytes};
}
