/* The Telemetry API and the older Logs API: subscriptions, and records brought to them in batches, by HTTP or TCP. A reader
 * that is slow costs its own records, which are counted, and nobody's time. */
#include "runtime/api/api.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	MAX_SOURCES = MAX_EXTENSIONS + 1, /* programs whose output runs through here */
	LINE_MAX_LEN = 262144,
	QUEUE_BATCHES = 4, /* of its bytes, that may wait for a slow reader */
};

struct subscription {
	bool used, logs_api, tcp, post;
	unsigned types; /* enum telemetry_type */
	char name[MAX_NAME + 1], path[256];
	unsigned port;
	int64_t max_items, max_bytes, timeout_ms;
	struct bytes queue; /* elements of an array, with commas */
	int64_t items;
	uint64_t since_ns; /* of the oldest in the queue */
	uint64_t dropped, dropped_bytes;
	int fd; /* a delivery under way, or the open connection of TCP; -1 */
	bool connecting;
	struct bytes out, in;
};

struct source {
	int fd[2];                    /* what a child writes to 1 and 2; -1 */
	char extension[MAX_NAME + 1]; /* "" for the runtime */
	struct bytes line[2];
};

struct telemetry {
	struct subscription subs[MAX_EXTENSIONS];
	struct source sources[MAX_SOURCES];
	size_t n_sources;
};

static struct telemetry *get(struct api *a)
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

/* ---- Subscribing ---- */

static unsigned type_of(const char *word)
{
	return strcmp(word, "platform") == 0    ? TELEMETRY_PLATFORM
	       : strcmp(word, "function") == 0  ? TELEMETRY_FUNCTION
	       : strcmp(word, "extension") == 0 ? TELEMETRY_EXTENSION
						: 0;
}

static const char *take_types(struct json_view whole, struct subscription *s)
{
	struct json_view list, v;
	char word[32];

	if (!json_get(whole, "types", &list) || *list.at != '[')
		return "types: an array is expected";
	for (size_t i = 0; json_element(list, i, &v); i++) {
		const unsigned type = json_text(v, word, sizeof word) ? type_of(word) : 0;

		if (!type)
			return "types: platform, function and extension are known";
		s->types |= type;
	}
	return s->types ? NULL : "types: at least one is expected";
}

static const char *take_range(struct json_view buffering, const char *key, int64_t min, int64_t max, int64_t *ret)
{
	struct json_view v;

	if (!json_get(buffering, key, &v))
		return NULL;
	return json_integer(v, ret) && *ret >= min && *ret <= max ? NULL : "buffering: a number is out of its range";
}

static const char *take_buffering(struct json_view whole, struct subscription *s)
{
	struct json_view b;
	const char *why;

	s->max_items = 10000;
	s->max_bytes = 262144;
	s->timeout_ms = 1000;
	if (!json_get(whole, "buffering", &b))
		return NULL;
	why = take_range(b, "maxItems", 1000, 10000, &s->max_items);
	if (!why)
		why = take_range(b, "maxBytes", 262144, 1048576, &s->max_bytes);
	return why ? why : take_range(b, "timeoutMs", 25, 30000, &s->timeout_ms);
}

/* "http://sandbox.localdomain:8080/path" */
static const char *take_uri(const char *uri, struct subscription *s)
{
	static const char *const hosts[] = {"http://sandbox.localdomain:", "http://sandbox:"};
	const char *p = NULL, *end;
	uint64_t port = 0;

	for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++)
		if (strncmp(uri, hosts[i], strlen(hosts[i])) == 0)
			p = uri + strlen(hosts[i]);
	if (!p)
		return "destination: http://sandbox.localdomain:PORT is expected";
	end = p + parse_digits(p, 10, 65535, &port);
	s->port = (unsigned)port;
	if (port == 0 || (*end && *end != '/') || strlen(end) >= sizeof s->path || strpbrk(end, " \r\n"))
		return "destination: the URI has no port, or a path that cannot be used";
	(void)snprintf(s->path, sizeof s->path, "%s", *end ? end : "/");
	return NULL;
}

static const char *take_destination(struct json_view whole, struct subscription *s)
{
	struct json_view d, v;
	char word[512] = "";
	int64_t port;

	if (!json_get(whole, "destination", &d) || !json_get(d, "protocol", &v) || !json_text(v, word, sizeof word))
		return "destination: a protocol is expected";
	if (strcasecmp(word, "TCP") == 0) {
		s->tcp = true;
		if (!json_get(d, "port", &v) || !json_integer(v, &port) || port < 1 || port > 65535)
			return "destination: a port is expected";
		s->port = (unsigned)port;
		return NULL;
	}
	if (strcasecmp(word, "HTTP") != 0)
		return "destination: the protocol is HTTP or TCP";
	s->post = true;
	if (json_get(d, "method", &v) && json_text(v, word, sizeof word))
		s->post = strcasecmp(word, "PUT") != 0;
	if (!json_get(d, "URI", &v) || !json_text(v, word, sizeof word))
		return "destination: a URI is expected";
	return take_uri(word, s);
}

static const char *take_schema(struct json_view whole, const struct subscription *s)
{
	static const char *const known[] = {"2021-03-18", "2022-07-01", "2022-12-13", "2025-01-29"};
	struct json_view v;
	char word[32] = "";

	if (!json_get(whole, "schemaVersion", &v))
		return s->logs_api ? NULL : "schemaVersion is missing";
	for (size_t i = 0; json_text(v, word, sizeof word) && i < sizeof known / sizeof known[0]; i++)
		if (strcmp(word, known[i]) == 0)
			return NULL;
	return "schemaVersion: not a known one";
}

void route_telemetry(struct api *a, struct conn *c)
{
	struct extension *x = extension_of(a, c);
	struct subscription s = {.used = true, .logs_api = strstr(c->request.path, "/logs") != NULL, .fd = -1};
	struct subscription *slot;
	struct json_view whole;
	const char *why;

	if (!x)
		return;
	if (a->ready) {
		conn_error(c, 403, s.logs_api ? "Logs.SubscriptionClosed" : "Telemetry.SubscriptionClosed",
			   "subscriptions are taken until init is over");
		return;
	}
	if (c->too_large || !json_whole(c->body.data ? c->body.data : "", c->body.len, &whole) || *whole.at != '{')
		why = "the body is not a JSON object";
	else if (!(why = take_schema(whole, &s)) && !(why = take_types(whole, &s)) &&
		 !(why = take_buffering(whole, &s)))
		why = take_destination(whole, &s);
	if (why) {
		conn_error(c, 400, "ValidationError", "%s", why);
		return;
	}
	slot = &get(a)->subs[x - a->extensions]; /* a later one takes the place of an earlier one */
	bytes_free(&slot->queue);
	(void)snprintf(s.name, sizeof s.name, "%s", x->name);
	*slot = s;
	conn_answer(c, 200, "", "text/plain", "OK", 2);
	telemetry_platform(a, s.logs_api ? "logsSubscription" : "telemetrySubscription",
			   "{\"name\":\"%s\",\"state\":\"Subscribed\",\"types\":[\"%s%s%s\"]}", s.name,
			   s.types & TELEMETRY_PLATFORM ? "platform" : "",
			   s.types & TELEMETRY_FUNCTION ? (s.types & TELEMETRY_PLATFORM ? "\",\"function" : "function")
							: "",
			   s.types & TELEMETRY_EXTENSION
				   ? (s.types & (TELEMETRY_PLATFORM | TELEMETRY_FUNCTION) ? "\",\"extension"
											  : "extension")
				   : "");
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

static void put_element(struct subscription *s, const char *kind, const char *record)
{
	if (s->items > 0)
		bytes_puts(&s->queue, s->tcp ? "\n" : ",");
	else
		s->since_ns = now_ns();
	bytes_puts(&s->queue, "{\"time\":\"");
	put_time(&s->queue);
	bytes_printf(&s->queue, "\",\"type\":\"%s\",\"record\":", kind);
	bytes_puts(&s->queue, record);
	bytes_puts(&s->queue, "}");
	s->items++;
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
		put_element(s, "platform.logsDropped", lost);
	}
	put_element(s, kind, record);
}

void telemetry_record(struct api *a, enum telemetry_type type, const char *kind, const char *record)
{
	for (size_t i = 0; a->telemetry && i < MAX_EXTENSIONS; i++)
		if (a->telemetry->subs[i].used && (a->telemetry->subs[i].types & type))
			add(&a->telemetry->subs[i], kind, record);
}

void telemetry_platform(struct api *a, const char *kind, const char *fmt, ...)
{
	char record[4096], name[64];
	va_list ap;

	if (!telemetry_wanted(a))
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
	t = get(a);
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

static void put_line(struct api *a, const struct source *s, const char *line, size_t len)
{
	struct bytes b = {0};

	json_quote(&b, line, len);
	if (!b.failed)
		telemetry_record(a, s->extension[0] ? TELEMETRY_EXTENSION : TELEMETRY_FUNCTION,
				 s->extension[0] ? "extension" : "function", b.data);
	bytes_free(&b);
}

static void write_through(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		data += n;
		len -= (size_t)n;
	}
}

/* Takes what a child has written: to the host as it is, to subscribers by lines. False when there is nothing (more). */
static bool take_output(struct api *a, struct source *s, int which)
{
	struct bytes *line = &s->line[which];
	char data[16384], *nl;
	ssize_t n = read(s->fd[which], data, sizeof data);

	if (n < 0)
		return errno == EINTR;
	if (n == 0) {
		if (line->len > 0)
			put_line(a, s, line->data, line->len);
		line->len = 0;
		(void)close(s->fd[which]);
		s->fd[which] = -1;
		return false;
	}
	write_through(which ? STDERR_FILENO : STDOUT_FILENO, data, (size_t)n);
	bytes_add(line, data, (size_t)n);
	while (!line->failed && (nl = memchr(line->data ? line->data : "", '\n', line->len))) {
		put_line(a, s, line->data, (size_t)(nl - line->data) + 1);
		bytes_drop(line, (size_t)(nl - line->data) + 1);
	}
	if (line->len > LINE_MAX_LEN) {
		put_line(a, s, line->data, line->len);
		line->len = 0;
	}
	return true;
}

/* ---- Delivery ---- */

static void hang_up(struct subscription *s)
{
	if (s->fd >= 0)
		(void)close(s->fd);
	s->fd = -1;
	s->connecting = false;
	bytes_free(&s->out);
	bytes_free(&s->in);
}

static bool is_due(const struct subscription *s)
{
	return s->items > 0 && (s->items >= s->max_items || (int64_t)s->queue.len >= s->max_bytes ||
				now_ns() - s->since_ns >= (uint64_t)s->timeout_ms * 1000000);
}

static void call_up(struct subscription *s)
{
	const struct sockaddr_in to = {.sin_family = AF_INET,
				       .sin_port = htons((uint16_t)s->port),
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (s->fd < 0)
		return;
	if (connect(s->fd, (const struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS)
		hang_up(s);
	else
		s->connecting = true;
}

/* Turns the queue into what is to be sent. */
static void begin(struct subscription *s)
{
	if (s->fd < 0)
		call_up(s);
	if (s->fd < 0) { /* nobody listens (yet): later again */
		s->since_ns = now_ns();
		return;
	}
	if (s->tcp) {
		bytes_add(&s->out, s->queue.data, s->queue.len);
		bytes_puts(&s->out, "\n");
	} else {
		bytes_printf(&s->out,
			     "%s %s HTTP/1.1\r\nHost: sandbox.localdomain:%u\r\nContent-Type: application/json\r\n"
			     "Content-Length: %zu\r\nConnection: close\r\n\r\n[",
			     s->post ? "POST" : "PUT", s->path, s->port, s->queue.len + 2);
		bytes_add(&s->out, s->queue.data, s->queue.len);
		bytes_puts(&s->out, "]");
	}
	bytes_free(&s->queue);
	s->items = 0;
}

static void push(struct subscription *s)
{
	while (s->out.len > 0) {
		ssize_t n = send(s->fd, s->out.data, s->out.len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			if (errno != EAGAIN && errno != ENOTCONN)
				hang_up(s);
			return;
		}
		bytes_drop(&s->out, (size_t)n);
	}
	if (s->out.len == 0)
		bytes_free(&s->out);
}

/* Its answer is of no interest, but the end of it is. */
static void pull(struct subscription *s)
{
	char data[4096];
	ssize_t n = read(s->fd, data, sizeof data);

	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		hang_up(s);
}

size_t telemetry_poll(struct api *a, struct pollfd *fds, size_t max, int *timeout_ms)
{
	size_t n = 0;

	for (size_t i = 0; a->telemetry && i < a->telemetry->n_sources; i++)
		for (int k = 0; k < 2; k++)
			if (a->telemetry->sources[i].fd[k] >= 0 && n < max)
				fds[n++] = (struct pollfd){.fd = a->telemetry->sources[i].fd[k], .events = POLLIN};
	for (size_t i = 0; a->telemetry && i < MAX_EXTENSIONS; i++) {
		struct subscription *s = &a->telemetry->subs[i];

		if (!s->used)
			continue;
		if ((s->fd < 0 || (s->tcp && s->out.len == 0)) && is_due(s))
			begin(s);
		if (s->fd >= 0 && n < max)
			fds[n++] = (struct pollfd){.fd = s->fd,
						   .events = (short)(POLLIN | (s->out.len > 0 ? POLLOUT : 0))};
		if (s->items > 0) {
			const uint64_t age = (now_ns() - s->since_ns) / 1000000;
			const int left = age < (uint64_t)s->timeout_ms ? (int)((uint64_t)s->timeout_ms - age) : 1;

			if (*timeout_ms < 0 || left < *timeout_ms)
				*timeout_ms = left;
		}
	}
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
		for (size_t k = 0; k < MAX_EXTENSIONS; k++) {
			struct subscription *s = &a->telemetry->subs[k];

			if (!s->used || s->fd != fds[i].fd)
				continue;
			if (fds[i].revents & (POLLOUT | POLLERR | POLLHUP))
				push(s);
			if (s->fd >= 0 && (fds[i].revents & (POLLIN | POLLHUP | POLLERR)))
				pull(s);
		}
	}
}

void telemetry_drain(struct api *a)
{
	for (size_t i = 0; a->telemetry && i < a->telemetry->n_sources; i++)
		for (int k = 0; k < 2; k++)
			while (a->telemetry->sources[i].fd[k] >= 0 && take_output(a, &a->telemetry->sources[i], k))
				;
}

void telemetry_flush(struct api *a)
{
	telemetry_drain(a);
	if (!a->telemetry)
		return;
	for (size_t i = 0; i < MAX_EXTENSIONS; i++) {
		struct subscription *s = &a->telemetry->subs[i];

		if (s->used && s->items > 0 && s->fd < 0)
			begin(s);
		if (s->used && s->fd >= 0)
			push(s);
	}
}
