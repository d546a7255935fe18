/* Records on their way, in batches, by HTTP or TCP. A reader that is slow or absent costs its own records, which are
 * counted, and nobody's time. A batch that found no listener, or whose connection broke, is tried again: it comes at
 * least once. */
#include "runtime/api/telemetry.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_ANSWER = 16384, RETRY_MIN_MS = 100 };
#define GIVE_UP_NS UINT64_C(10000000000)

static void hang_up(struct subscription *s)
{
	if (s->fd >= 0)
		(void)close(s->fd);
	s->fd = -1;
	s->out_at = 0;
	bytes_free(&s->in);
}

static void forget_batch(struct subscription *s)
{
	bytes_free(&s->out);
	s->out_at = 0;
	s->out_items = 0;
}

void deliver_cancel(struct subscription *s)
{
	hang_up(s);
	forget_batch(s);
}

static void try_later(struct subscription *s)
{
	const int64_t ms = s->timeout_ms > RETRY_MIN_MS ? s->timeout_ms : RETRY_MIN_MS;

	hang_up(s);
	s->retry_ns = now_ns() + (uint64_t)ms * 1000000;
}

static bool call_up(struct subscription *s)
{
	const struct sockaddr_in to = {.sin_family = AF_INET,
				       .sin_port = htons((uint16_t)s->port),
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	return s->fd >= 0 && (connect(s->fd, (const struct sockaddr *)&to, sizeof to) == 0 || errno == EINPROGRESS);
}

/* How much of the queue the next batch takes: whole lines, one at least. */
static size_t batch_length(const struct subscription *s, int64_t *ret_items)
{
	size_t len = 0;

	*ret_items = 0;
	while (len < s->queue.len && *ret_items < s->max_items) {
		const char *nl = memchr(s->queue.data + len, '\n', s->queue.len - len);
		const size_t more = (size_t)(nl - (s->queue.data + len)) + 1;

		if (*ret_items > 0 && (int64_t)(len + more) > s->max_bytes)
			break;
		len += more;
		(*ret_items)++;
	}
	return len;
}

static void make_batch(struct subscription *s)
{
	const size_t len = batch_length(s, &s->out_items);
	size_t begin;

	if (s->tcp) {
		bytes_add(&s->out, s->queue.data, len);
	} else {
		bytes_printf(&s->out,
			     "%s %s HTTP/1.1\r\nHost: sandbox.localdomain:%u\r\nContent-Type: application/json\r\n"
			     "Content-Length: %zu\r\nConnection: close\r\n\r\n[",
			     s->post ? "POST" : "PUT", s->path, s->port, len + 1);
		begin = s->out.len;
		bytes_add(&s->out, s->queue.data, len);
		for (size_t i = begin; i + 1 < s->out.len; i++)
			if (s->out.data[i] == '\n')
				s->out.data[i] = ',';
		if (!s->out.failed)
			s->out.data[s->out.len - 1] = ']';
	}
	if (s->out.failed) {
		s->dropped += (uint64_t)s->out_items;
		s->dropped_bytes += len;
		forget_batch(s);
	}
	bytes_drop(&s->queue, len);
	s->items = s->items > s->out_items ? s->items - s->out_items : 0;
	if (s->queue.len == 0) {
		bytes_free(&s->queue);
		s->items = 0;
	}
}

static void push(struct subscription *s)
{
	while (s->out_at < s->out.len) {
		ssize_t n = send(s->fd, s->out.data + s->out_at, s->out.len - s->out_at, MSG_NOSIGNAL);

		if (n >= 0)
			s->out_at += (size_t)n;
		else if (errno == EAGAIN || errno == ENOTCONN)
			return;
		else if (errno != EINTR) {
			try_later(s);
			return;
		}
	}
	if (s->tcp)
		forget_batch(s);
}

/* Has the listener answered in full? When it does not say how long its answer is, its end tells. */
static bool is_answered(const struct subscription *s)
{
	const char *head = s->in.data, *end = head ? strstr(head, "\r\n\r\n") : NULL, *field;
	uint64_t length = 0;

	if (!end)
		return false;
	field = strcasestr(head, "\r\ncontent-length:");
	if (!field || field > end)
		return false;
	field += strlen("\r\ncontent-length:");
	field += strspn(field, " \t");
	return parse_digits(field, 10, INT64_MAX, &length) > 0 && s->in.len - (size_t)(end + 4 - head) >= length;
}

static void pull(struct subscription *s)
{
	char data[4096];
	ssize_t n = read(s->fd, data, sizeof data);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0 && !s->tcp)
		bytes_add(&s->in, data, (size_t)n);
	if (n > 0 && (s->tcp || (!is_answered(s) && s->in.len < MAX_ANSWER && !s->in.failed)))
		return;
	if (s->tcp && s->out.len == 0) {
		hang_up(s);
	} else if (s->tcp || s->out_at < s->out.len) {
		try_later(s);
	} else { /* all of it was sent, and the end is the answer */
		hang_up(s);
		forget_batch(s);
	}
}

void deliver_events(struct subscription *s, short events)
{
	if (events & (POLLOUT | POLLERR | POLLHUP))
		push(s);
	if (s->fd >= 0 && (events & (POLLIN | POLLHUP | POLLERR)))
		pull(s);
}

static bool is_full(const struct subscription *s)
{
	return s->items >= s->max_items || (int64_t)s->queue.len >= s->max_bytes;
}

/* When something is to be done; UINT64_MAX: not before something happens. */
static uint64_t due_ns(const struct subscription *s, bool now)
{
	uint64_t due = s->retry_ns;

	if (s->fd >= 0 && s->out.len > 0)
		return s->tcp ? UINT64_MAX : s->give_up_ns;
	if (s->out.len == 0 && s->items == 0)
		return UINT64_MAX;
	if (s->out.len == 0 && !now && !is_full(s) && s->since_ns + (uint64_t)s->timeout_ms * 1000000 > due)
		due = s->since_ns + (uint64_t)s->timeout_ms * 1000000;
	return due;
}

static void begin(struct subscription *s)
{
	if (s->fd >= 0 && s->out.len > 0) { /* it was taken, and never answered */
		if (s->in.len == 0) {
			s->dropped += (uint64_t)s->out_items;
			s->dropped_bytes += s->out.len;
		}
		deliver_cancel(s);
		return;
	}
	if (s->out.len == 0)
		make_batch(s);
	if (s->out.len == 0)
		return;
	if (s->fd < 0 && !call_up(s)) {
		try_later(s);
		return;
	}
	s->out_at = 0;
	s->give_up_ns = now_ns() + GIVE_UP_NS;
	push(s);
}

uint64_t deliver_begin(struct subscription *s, bool now)
{
	uint64_t due = due_ns(s, now);

	if (due <= now_ns()) {
		begin(s);
		due = due_ns(s, now);
	}
	return due;
}
