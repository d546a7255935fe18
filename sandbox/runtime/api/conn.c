/* Connections, without waiting for anyone: a request is read as it comes, served when it is whole, answered as the client
 * takes it. One that comes before the last is answered waits. A request lives until conn_settle(), which the loop calls
 * between its rounds: whoever answers may go on using it. */
#include "runtime/api/api.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_SIZE = 65536, MAX_DRAINED = 1 << 24 };

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

/* The connection that can be spared when all are in use: one that is over but for its client's end, else the one that has
 * been idle for longest. A server may close an idle connection at any time (RFC 9112, 9.6). */
static struct conn *find_idle(struct api *a)
{
	struct conn *best = NULL;

	for (struct conn *c = a->conns; c < a->conns + MAX_CONNS; c++) {
		if (c->at == CONN_DRAINING)
			return c;
		if (c->at == CONN_HEAD && c->in.len == 0 && c->served > 0 && (!best || c->served < best->served))
			best = c;
	}
	return best;
}

static struct conn *find_free(struct api *a)
{
	for (struct conn *c = a->conns; c < a->conns + MAX_CONNS; c++)
		if (c->fd < 0)
			return c;
	return NULL;
}

bool conn_has_room(struct api *a)
{
	return find_free(a) || find_idle(a);
}

/* In the host's network anybody can connect. /proc/net/tcp tells whose the other end is, as a uid of our own namespace;
 * those of others all show as one that is not ours. */
static bool is_ours(int fd)
{
	struct sockaddr_in peer, local;
	socklen_t len = sizeof peer, local_len = sizeof local;
	char line[512], want[40];
	bool found = false;
	FILE *f;

	if (getpeername(fd, (struct sockaddr *)&peer, &len) < 0 ||
	    getsockname(fd, (struct sockaddr *)&local, &local_len) < 0)
		return false;
	(void)snprintf(want, sizeof want, "%08X:%04X %08X:%04X", peer.sin_addr.s_addr, ntohs(peer.sin_port),
		       local.sin_addr.s_addr, ntohs(local.sin_port));
	f = fopen("/proc/self/net/tcp", "re");
	while (f && !found && fgets(line, sizeof line, f)) {
		unsigned uid;
		const char *at = strstr(line, want);

		found = at && sscanf(at + strlen(want), " %*x %*x:%*x %*x:%*x %*x %u", &uid) == 1 && uid == getuid();
	}
	if (f)
		(void)fclose(f);
	return found;
}

bool conn_accept(struct api *a)
{
	struct conn *c = find_free(a);
	int fd;

	if (!c && !find_idle(a))
		return false; /* they wait in the backlog */
	fd = accept4(a->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0) {
		a->accept_failed = errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS;
		return false;
	}
	if (a->host_net && !is_ours(fd)) {
		(void)close(fd);
		return true;
	}
	if (!c) {
		c = find_idle(a);
		conn_close(a, c);
	}
	*c = (struct conn){.fd = fd};
	return true;
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

/* Sends what the socket takes. Nothing is freed or closed here: callers hold pointers into the request. */
static void flush(struct conn *c)
{
	while (!c->dead && c->out_at < c->out.len) {
		ssize_t n = send(c->fd, c->out.data + c->out_at, c->out.len - c->out_at, MSG_NOSIGNAL);

		if (n >= 0)
			c->out_at += (size_t)n;
		else if (errno == EAGAIN)
			return;
		else if (errno != EINTR)
			c->dead = true;
	}
	c->out.len = c->out_at = 0;
	if (c->out.cap > 1 << 17)
		bytes_free(&c->out);
}

void conn_answer(struct api *a, struct conn *c, unsigned status, const char *fields, const char *type, const void *body,
		 size_t len)
{
	const bool early = c->at == CONN_BODY && c->decoder.at != BODY_DONE;
	/* Who asks first whether to send a body, and is refused, need not send it: the next head could be anywhere. */
	const bool unsent = early && c->request.expects_continue && c->body_seen == 0;

	(void)a;
	/* The body of an answer to HEAD would be taken for the next answer. */
	if (unsent || (c->request.method && strcmp(c->request.method, "HEAD") == 0))
		c->request.keep_alive = false;
	http_answer(&c->out, status, fields, type, body, len, c->request.keep_alive);
	if (early && !unsent)
		c->refused = true; /* the rest of the body is still taken, and then the connection goes on */
	else
		c->at = CONN_WRITING;
	c->dead |= c->out.failed;
	flush(c);
}

void conn_json(struct api *a, struct conn *c, unsigned status, const char *text)
{
	conn_answer(a, c, status, "", "application/json", text, strlen(text));
}

void conn_error(struct api *a, struct conn *c, unsigned status, const char *type, const char *fmt, ...)
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
	conn_json(a, c, status, b.failed ? "{}" : b.data);
	bytes_free(&b);
}

void conn_wait(struct conn *c)
{
	c->at = CONN_WAITING;
}

/* A head that cannot be read: after it nobody knows where the next one begins. */
static void refuse(struct api *a, struct conn *c, int status)
{
	c->request = (struct http_request){0};
	conn_error(a, c, (unsigned)status, "InvalidRequest", "the request cannot be read (status %d)", status);
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
		refuse(a, c, len == SIZE_MAX ? 431 : 503);
		return 0;
	}
	memcpy(c->head, c->in.data, len);
	bytes_drop(&c->in, len);
	r = http_parse_head(c->head, len, &c->request);
	if (r != 0) {
		refuse(a, c, r);
		return 0;
	}
	http_body_begin(&c->decoder, &c->request);
	c->at = CONN_BODY;
	find_route(c, &status);
	if (!c->route)
		conn_error(a, c, status, status == 404 ? "NotFound" : "MethodNotAllowed", "%s %s", c->request.method,
			   c->request.path);
	else if (c->route->begin)
		c->route->begin(a, c);
	if (c->request.expects_continue && !c->refused && c->at == CONN_BODY && c->decoder.at != BODY_DONE) {
		bytes_puts(&c->out, "HTTP/1.1 100 Continue\r\n\r\n");
		flush(c);
	}
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
		c->at = CONN_WRITING;
	else if (c->body.failed || r == -ENOMEM)
		conn_error(a, c, 500, "InternalServerError", "there is no memory for the body");
	else
		conn_error(a, c, r == -EMSGSIZE ? 413 : 400, "InvalidRequest", "the body cannot be read");
	return 0;
}

/* One request, as far as it has come. */
static void go_on(struct api *a, struct conn *c)
{
	if (c->at == CONN_HEAD && take_head(a, c) == 0)
		return;
	if (c->at != CONN_BODY || take_body(a, c) == 0)
		return;
	if (c->refused)
		c->at = CONN_WRITING; /* the answer stands already */
	else
		c->route->serve(a, c);
}

/* The client has no more to say, though it may still read. */
static void take_end(struct api *a, struct conn *c)
{
	c->request.keep_alive = false;
	if (c->at == CONN_BODY && c->refused) {
		c->at = CONN_WRITING;
	} else if (c->at == CONN_BODY) {
		c->decoder.at = BODY_DONE;
		runtime_lost(a, c);
		conn_error(a, c, 400, "TruncatedHTTPRequest", "The request ended before its body was complete");
	} else {
		conn_close(a, c);
	}
}

void conn_readable(struct api *a, struct conn *c)
{
	char data[READ_SIZE];
	ssize_t n = read(c->fd, data, sizeof data);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		conn_close(a, c);
	} else if (c->at == CONN_DRAINING) {
		c->drained += (uint64_t)n;
		if (n == 0 || c->drained > MAX_DRAINED)
			conn_close(a, c);
	} else if (n == 0) {
		take_end(a, c);
	} else {
		bytes_add(&c->in, data, (size_t)n);
		c->dead |= c->in.failed;
		/* A head ends with a line: there is nothing to look for in a piece of one. */
		if (!c->dead && (c->at != CONN_HEAD || c->in.len > HTTP_MAX_HEAD || memchr(data, '\n', (size_t)n)))
			go_on(a, c);
	}
}

void conn_writable(struct conn *c)
{
	flush(c);
}

/* Says that no more will come, and reads on to the client's end: a close with bytes unread would have the kernel send a
 * reset, which can overtake the answer (RFC 9112, 9.6). */
static void begin_drain(struct api *a, struct conn *c)
{
	end_request(c);
	bytes_free(&c->in);
	c->at = CONN_DRAINING;
	if (shutdown(c->fd, SHUT_WR) < 0)
		conn_close(a, c);
}

/* True when a further request was there. */
static bool settle(struct api *a, struct conn *c)
{
	if (c->dead) {
		conn_close(a, c);
	} else if (c->at == CONN_WRITING && c->out.len == 0 && !c->request.keep_alive) {
		begin_drain(a, c);
	} else if (c->at == CONN_WRITING && c->out.len == 0) {
		end_request(c);
		c->served = ++a->served;
		if (c->in.len > 0)
			go_on(a, c);
		return c->in.len > 0;
	}
	return false;
}

void conn_settle(struct api *a)
{
	for (struct conn *c = a->conns; c < a->conns + MAX_CONNS; c++)
		while (c->fd >= 0 && (c->dead || c->at == CONN_WRITING) && settle(a, c))
			;
}

void conn_close_drained(struct api *a)
{
	for (struct conn *c = a->conns; c < a->conns + MAX_CONNS; c++)
		if (c->fd >= 0 && c->at == CONN_DRAINING)
			conn_close(a, c);
}
