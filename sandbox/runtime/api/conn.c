/* Connections, without waiting for anyone: a request is read as it comes, served when it is whole, answered as the client
 * takes it. One that comes before the last is answered stays in the kernel's buffer. */
#include "runtime/api/api.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_SIZE = 65536 };

static const struct route routes[] = {
	{"GET", "/2018-06-01/runtime/invocation/next", NULL, route_next, 0},
	{"POST", "/2018-06-01/runtime/invocation/*/response", route_response_begin, route_response, MAX_RESPONSE},
	{"POST", "/2018-06-01/runtime/invocation/*/error", NULL, route_error, MAX_DOCUMENT},
	{"POST", "/2018-06-01/runtime/init/error", NULL, route_init_error, MAX_DOCUMENT},
	{"GET", "/2018-06-01/runtime/restore/next", NULL, route_restore_next, 0},
	{"POST", "/2018-06-01/runtime/restore/error", NULL, route_restore_error, MAX_DOCUMENT},
	{"GET", "/2018-06-01/ping", NULL, route_ping, 0},
	{"POST", "/2020-01-01/extension/register", NULL, route_register, 65536},
	{"GET", "/2020-01-01/extension/event/next", NULL, route_event_next, 0},
	{"POST", "/2020-01-01/extension/init/error", NULL, route_extension_error, MAX_DOCUMENT},
	{"POST", "/2020-01-01/extension/exit/error", NULL, route_extension_error, MAX_DOCUMENT},
	{"PUT", "/2022-07-01/telemetry", NULL, route_telemetry, 65536},
	{"PUT", "/2020-08-15/logs", NULL, route_telemetry, 65536},
	{"GET", "/2021-04-23/credentials", NULL, route_credentials, 0},
};

/* Does @path fit, and what do the '*' stand for? */
static bool matches(const char *pattern, const char *path, char part[2][MAX_NAME + 1])
{
	size_t n = 0;

	for (; *pattern; pattern++) {
		if (*pattern != '*') {
			if (*pattern != *path++)
				return false;
			continue;
		}

		const size_t len = strcspn(path, "/");
		if (len == 0 || len > MAX_NAME || n == 2)
			return false;
		memcpy(part[n], path, len);
		part[n++][len] = '\0';
		path += len;
	}
	return *path == '\0';
}

void conn_accept(struct api *a)
{
	struct conn *c = a->conns;
	int fd;

	while (c < a->conns + MAX_CONNS && c->fd >= 0)
		c++;
	if (c == a->conns + MAX_CONNS)
		return; /* they wait in the backlog */
	fd = accept4(a->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0)
		return;
	*c = (struct conn){.fd = fd};
}

static void end_request(struct conn *c)
{
	free(c->head);
	c->head = NULL;
	http_body_end(&c->decoder);
	bytes_free(&c->body);
	c->too_large = c->streams = c->refused = false;
	c->body_seen = 0;
	c->route = NULL;
	c->at = CONN_HEAD;
}

void conn_close(struct api *a, struct conn *c)
{
	const int fd = c->fd;

	if (fd < 0)
		return;
	c->fd = -1;
	runtime_lost(a, c);
	extension_lost(a, c);
	end_request(c);
	bytes_free(&c->in);
	bytes_free(&c->out);
	(void)close(fd);
}

void conn_answer(struct conn *c, unsigned status, const char *fields, const char *type, const void *body, size_t len)
{
	const bool complete = c->decoder.at == BODY_DONE || c->at == CONN_WAITING;

	/* An answer before the body has come: the rest of it is still taken, and then the connection goes on. */
	http_answer(&c->out, status, fields, type, body, len, c->request.keep_alive);
	if (complete || c->at == CONN_HEAD)
		c->at = CONN_WRITING;
	else
		c->refused = true;
}

void conn_flush(struct api *a)
{
	for (size_t i = 0; i < MAX_CONNS; i++)
		if (a->conns[i].fd >= 0 && a->conns[i].out.len > 0)
			conn_writable(a, &a->conns[i]);
}

void conn_json(struct conn *c, unsigned status, const char *text)
{
	conn_answer(c, status, "", "application/json", text, strlen(text));
}

void conn_error(struct conn *c, unsigned status, const char *type, const char *fmt, ...)
{
	struct bytes b = {0};
	char message[1024];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(message, sizeof message, fmt, ap);
	va_end(ap);
	bytes_puts(&b, "{\"errorMessage\":");
	json_quote(&b, message, strlen(message));
	bytes_puts(&b, ",\"errorType\":");
	json_quote(&b, type, strlen(type));
	bytes_puts(&b, "}");
	conn_json(c, status, b.failed ? "{}" : b.data);
	bytes_free(&b);
}

void conn_wait(struct conn *c)
{
	c->at = CONN_WAITING;
}

/* A head that cannot be read: after it nobody knows where the next one begins. */
static void refuse(struct conn *c, int status)
{
	c->request = (struct http_request){0};
	conn_error(c, (unsigned)status, "InvalidRequest", "the request cannot be read (status %d)", status);
}

static void find_route(struct conn *c, unsigned *ret_status)
{
	*ret_status = 404;
	for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
		if (!matches(routes[i].path, c->request.path, c->part))
			continue;
		*ret_status = 405;
		if (strcmp(routes[i].method, c->request.method) == 0) {
			c->route = &routes[i];
			return;
		}
	}
}

/* 1 when a whole head was there. */
static int take_head(struct api *a, struct conn *c)
{
	const size_t len = http_head_length(c->in.data ? c->in.data : "", c->in.len);
	unsigned status;
	int r;

	if (len == 0)
		return 0;
	c->head = len == SIZE_MAX ? NULL : malloc(len);
	if (!c->head) {
		refuse(c, len == SIZE_MAX ? 431 : 503);
		return 0;
	}
	memcpy(c->head, c->in.data, len);
	bytes_drop(&c->in, len);
	r = http_parse_head(c->head, len, &c->request);
	if (r != 0) {
		refuse(c, r);
		return 0;
	}
	http_body_begin(&c->decoder, &c->request);
	c->at = CONN_BODY;
	find_route(c, &status);
	if (!c->route)
		conn_error(c, status, status == 404 ? "NotFound" : "MethodNotAllowed", "%s %s", c->request.method,
			   c->request.path);
	else if (c->route->begin)
		c->route->begin(a, c);
	if (c->fd >= 0 && c->request.expects_continue && !c->refused && c->at == CONN_BODY)
		bytes_puts(&c->out, "HTTP/1.1 100 Continue\r\n\r\n");
	return 1;
}

static void take_part(struct api *a, struct conn *c, const char *part, size_t len)
{
	c->body_seen += len;
	if (c->refused || c->too_large)
		return;
	if (c->body_seen > c->route->max_body) {
		c->too_large = true;
		bytes_free(&c->body);
	} else if (c->streams) {
		runtime_part(a, c, part, len);
	} else {
		bytes_add(&c->body, part, len);
	}
}

/* 1 when the body is whole. */
static int take_body(struct api *a, struct conn *c)
{
	size_t used, len, at = 0;
	const char *part;
	int r;

	do {
		r = http_body_feed(&c->decoder, c->in.data + at, c->in.len - at, &used, &part, &len);
		if (len > 0)
			take_part(a, c, part, len);
		at += used;
	} while (r == 0 && used > 0);
	bytes_drop(&c->in, at);
	if (r >= 0 && !c->body.failed)
		return r;
	c->request.keep_alive = false;
	c->decoder.at = BODY_DONE;
	runtime_lost(a, c);
	if (c->refused)
		conn_close(a, c);
	else
		conn_error(c, r == -EMSGSIZE ? 413 : 400, "InvalidRequest", "the body cannot be read");
	return 0;
}

static void go_on(struct api *a, struct conn *c)
{
	while (c->fd >= 0) {
		if (c->at == CONN_HEAD && take_head(a, c) == 0)
			return;
		if (c->fd < 0 || c->at != CONN_BODY || take_body(a, c) == 0)
			return;
		if (c->refused) /* the answer stands already */
			c->at = CONN_WRITING;
		else
			c->route->serve(a, c);
		if (c->fd >= 0 && c->at != CONN_HEAD)
			return;
	}
}

void conn_readable(struct api *a, struct conn *c)
{
	char data[READ_SIZE];
	ssize_t n = read(c->fd, data, sizeof data);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		if (c->at == CONN_BODY && !c->refused && n == 0) { /* it may still read the answer */
			c->decoder.at = BODY_DONE;
			c->request.keep_alive = false;
			runtime_lost(a, c);
			conn_error(c, 400, "TruncatedHTTPRequest", "The request ended before its body was complete");
		} else {
			conn_close(a, c);
		}
		return;
	}
	bytes_add(&c->in, data, (size_t)n);
	if (c->in.failed)
		conn_close(a, c);
	else
		go_on(a, c);
}

void conn_writable(struct api *a, struct conn *c)
{
	while (c->out.len > 0) {
		ssize_t n = send(c->fd, c->out.data, c->out.len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			conn_close(a, c);
			return;
		}
		if ((size_t)n == c->out.len) {
			c->out.len = 0;
			if (c->out.cap > 1 << 17)
				bytes_free(&c->out);
		} else {
			bytes_drop(&c->out, (size_t)n);
		}
	}
	if (c->out.failed || (c->at == CONN_WRITING && !c->request.keep_alive)) {
		conn_close(a, c);
		return;
	}
	if (c->at != CONN_WRITING)
		return;
	end_request(c);
	if (c->in.len > 0)
		go_on(a, c);
}
