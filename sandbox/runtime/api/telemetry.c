/* The Telemetry API and the older Logs API: what happens becomes records, and the output of the programs too. */
#include "runtime/api/telemetry.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum {
	LINE_MAX_LEN = 262144,
	MAX_EARLY = 32768,
	QUEUE_BATCHES = 4, /* of its bytes, that may wait for a slow reader */
};

struct telemetry *telemetry_get(struct api *a)
{
	if (!a->telemetry) {
		a->telemetry = calloc(1, sizeof *a->telemetry);
		if (!a->telemetry)
			_exit(1);
		for (size_t i = 0; i < MAX_EXTENSIONS; i++)
			a->telemetry->subs[i].fd = -1;
	}
	return a->telemetry;
}

bool telemetry_wanted(const struct api *a)
{
	for (size_t i = 0; a->telemetry && i < MAX_EXTENSIONS; i++)
		if (a->telemetry->subs[i].used)
			return true;
	return false;
}

/* ---- Records ---- */

static void put_time(struct bytes *b)
{
	struct timespec ts;
	struct tm tm;
	char text[40];

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	(void)gmtime_r(&ts.tv_sec, &tm);
	(void)strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
	bytes_printf(b, "%s.%03ldZ", text, ts.tv_nsec / 1000000);
}

static void put_line(struct bytes *b, const char *kind, const char *record)
{
	bytes_puts(b, "{\"time\":\"");
	put_time(b);
	bytes_printf(b, "\",\"type\":\"%s\",\"record\":", kind);
	bytes_puts(b, record);
	bytes_puts(b, "}\n");
}

static void put_record(struct subscription *s, const char *kind, const char *record)
{
	if (s->items++ == 0)
		s->since_ns = now_ns();
	put_line(&s->queue, kind, record);
}

static void add(struct subscription *s, const char *kind, const char *record)
{
	char lost[160];

	if (s->queue.failed || (int64_t)(s->queue.len + strlen(record)) > QUEUE_BATCHES * s->max_bytes) {
		s->dropped++;
		s->dropped_bytes += strlen(record);
		return;
	}
	if (s->dropped) {
		(void)snprintf(
			lost, sizeof lost,
			"{\"reason\":\"the subscriber is too slow\",\"droppedRecords\":%llu,\"droppedBytes\":%llu}",
			(unsigned long long)s->dropped, (unsigned long long)s->dropped_bytes);
		s->dropped = s->dropped_bytes = 0;
		put_record(s, "platform.logsDropped", lost);
	}
	put_record(s, kind, record);
}

void telemetry_record(struct api *a, enum telemetry_type type, const char *kind, const char *record)
{
	struct telemetry *t = telemetry_get(a);

	for (size_t i = 0; i < MAX_EXTENSIONS; i++)
		if (t->subs[i].used && (t->subs[i].types & type))
			add(&t->subs[i], kind, record);
	if (a->ready) {
		bytes_free(&t->early);
		t->early_items = 0;
	} else if (type == TELEMETRY_PLATFORM && t->early.len < MAX_EARLY) {
		put_line(&t->early, kind, record);
		t->early_items++;
	}
}

void telemetry_platform(struct api *a, const char *kind, const char *fmt, ...)
{
	char record[4096], name[64];
	va_list ap;

	if (a->ready && !telemetry_wanted(a))
		return;
	va_start(ap, fmt);
	(void)vsnprintf(record, sizeof record, fmt, ap);
	va_end(ap);
	(void)snprintf(name, sizeof name, "platform.%s", kind);
	telemetry_record(a, TELEMETRY_PLATFORM, name, record);
}

/* ---- Output of the children ---- */

bool telemetry_pipes(struct api *a, const char *extension, int ret[2])
{
	struct telemetry *t;
	struct source *s;
	int one[2], two[2];

	if (a->n_extensions == 0 && !extension)
		return false; /* nobody could subscribe: the host reads it without us */
	t = telemetry_get(a);
	if (t->n_sources == MAX_SOURCES || pipe2(one, O_CLOEXEC) < 0)
		return false;
	if (pipe2(two, O_CLOEXEC) < 0) {
		(void)close(one[0]);
		(void)close(one[1]);
		return false;
	}
	s = &t->sources[t->n_sources++];
	*s = (struct source){.fd = {one[0], two[0]}};
	(void)snprintf(s->extension, sizeof s->extension, "%s", extension ? extension : "");
	(void)fcntl(one[0], F_SETFL, O_NONBLOCK);
	(void)fcntl(two[0], F_SETFL, O_NONBLOCK);
	ret[0] = one[1];
	ret[1] = two[1];
	return true;
}

static void take_line(struct api *a, const struct source *s, const char *line, size_t len)
{
	const char *format = secure_getenv("AWS_LAMBDA_LOG_FORMAT");
	struct bytes b = {0};
	struct json_view whole;

	if (!telemetry_wanted(a))
		return;
	/* With the JSON format an object is brought as one, and the rest as text. */
	if (format && strcasecmp(format, "JSON") == 0 && json_whole(line, len, &whole) && *whole.at == '{')
		bytes_add(&b, whole.at, whole.len);
	else
		json_quote(&b, line, len);
	if (!b.failed)
		telemetry_record(a, s->extension[0] ? TELEMETRY_EXTENSION : TELEMETRY_FUNCTION,
				 s->extension[0] ? "extension" : "function", b.data);
	bytes_free(&b);
}

/* All of it: the host reads, or is gone. Programs share the pipe and may have made it non-blocking. */
static void write_through(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EAGAIN)
			(void)poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, -1);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n <= 0)
			return;
		data += n;
		len -= (size_t)n;
	}
}

/* Takes what a child has written: to the host as it is, to subscribers by lines. The bytes taken, 0 for none. */
static size_t take_output(struct api *a, struct source *s, int which)
{
	struct bytes *line = &s->line[which];
	char data[16384], *nl;
	ssize_t n = read(s->fd[which], data, sizeof data);

	if (n < 0)
		return 0;
	if (n == 0) {
		if (line->len > 0)
			take_line(a, s, line->data, line->len);
		bytes_free(line);
		(void)close(s->fd[which]);
		s->fd[which] = -1;
		return 0;
	}
	write_through(which ? STDERR_FILENO : STDOUT_FILENO, data, (size_t)n);
	bytes_add(line, data, (size_t)n);
	while ((nl = memchr(line->data ? line->data : "", '\n', line->len))) {
		take_line(a, s, line->data, (size_t)(nl - line->data) + 1);
		bytes_drop(line, (size_t)(nl - line->data) + 1);
	}
	if (line->len > LINE_MAX_LEN || line->failed) {
		take_line(a, s, line->data ? line->data : "", line->len);
		bytes_free(line);
	}
	return (size_t)n;
}

void telemetry_drain(struct api *a)
{
	for (size_t i = 0; a->telemetry && i < a->telemetry->n_sources; i++)
		for (int k = 0; k < 2; k++) {
			struct source *s = &a->telemetry->sources[i];
			int left = 0; /* what lies there now: a program that goes on writing is not waited for */

			if (s->fd[k] >= 0 && ioctl(s->fd[k], FIONREAD, &left) < 0)
				left = 0;
			while (left > 0) {
				const size_t n = take_output(a, s, k);

				left = n > 0 ? left - (int)n : 0;
			}
		}
}

/* ---- For the loop ---- */

size_t telemetry_poll(struct api *a, struct pollfd *fds, size_t max, int *timeout_ms)
{
	struct telemetry *t = a->telemetry;
	uint64_t next = UINT64_MAX, now;
	size_t n = 0;

	for (size_t i = 0; t && i < t->n_sources; i++)
		for (int k = 0; k < 2; k++)
			if (t->sources[i].fd[k] >= 0 && n < max)
				fds[n++] = (struct pollfd){.fd = t->sources[i].fd[k], .events = POLLIN};
	for (size_t i = 0; t && i < MAX_EXTENSIONS; i++) {
		struct subscription *s = &t->subs[i];

		if (s->used && !a->parked) { /* no deadline is to be in a dump */
			const uint64_t due = deliver_begin(s, a->ending);

			next = due < next ? due : next;
		}
		if (s->used && s->fd >= 0 && n < max)
			fds[n++] = (struct pollfd){.fd = s->fd,
						   .events = (short)(POLLIN | (s->out_at < s->out.len ? POLLOUT : 0))};
	}
	if (next == UINT64_MAX)
		return n;
	now = now_ns();
	next = next > now ? (next - now) / 1000000 + 1 : 0;
	if (*timeout_ms < 0 || next < (uint64_t)*timeout_ms)
		*timeout_ms = (int)next;
	return n;
}

void telemetry_events(struct api *a, const struct pollfd *fds, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!fds[i].revents)
			continue;
		for (size_t k = 0; k < a->telemetry->n_sources; k++)
			for (int which = 0; which < 2; which++)
				if (a->telemetry->sources[k].fd[which] == fds[i].fd)
					(void)take_output(a, &a->telemetry->sources[k], which);
		for (size_t k = 0; k < MAX_EXTENSIONS; k++)
			if (a->telemetry->subs[k].used && a->telemetry->subs[k].fd == fds[i].fd)
				deliver_events(&a->telemetry->subs[k], fds[i].revents);
	}
}

/* Everything that has been written, now, as far as it goes without waiting. */
void telemetry_flush(struct api *a)
{
	telemetry_drain(a);
	for (size_t i = 0; a->telemetry && i < MAX_EXTENSIONS; i++)
		if (a->telemetry->subs[i].used)
			(void)deliver_begin(&a->telemetry->subs[i], true);
}
