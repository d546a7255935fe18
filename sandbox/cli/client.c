#include "cli/client.h"

#include "base/fd.h"

#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

static const char system_socket[] = "/run/fsbox/fsbox.sock";
static const char interface[] = "org.fsbox.Sandbox";

enum { CHUNK = 65536 };

/* ---- Connecting ---- */

static int user_socket(char *buf, size_t size, struct err *e)
{
	const char *dir = secure_getenv("XDG_RUNTIME_DIR");
	int n;

	if (!dir || dir[0] != '/')
		return err_hint(e, err_set(e, ERR_SPEC, 0, "no place for a socket: XDG_RUNTIME_DIR is not set"),
				"--socket PATH");
	n = snprintf(buf, size, "%s/fsbox/fsbox.sock", dir);
	return n < 0 || (size_t)n >= size ? err_set(e, ERR_SPEC, ENAMETOOLONG, "XDG_RUNTIME_DIR '%s' is too long", dir)
					  : 0;
}

int client_default_path(char *buf, size_t size, struct err *e)
{
	if (geteuid() != 0)
		return user_socket(buf, size, e);
	(void)snprintf(buf, size, "%s", system_socket);
	return 0;
}

/* 0, or -errno. */
static int connect_to(struct client *c, const char *path)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	AUTO_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (strlen(path) > CLIENT_MAX_PATH)
		return -ENAMETOOLONG;
	(void)snprintf(to.sun_path, sizeof to.sun_path, "%s", path);
	(void)snprintf(c->path, sizeof c->path, "%s", path);
	if (connect(fd, (const struct sockaddr *)&to, sizeof to) < 0)
		return -errno;
	c->fd = take_fd(&fd);
	return 0;
}

/* A socket's file may outlive who listened on it. */
static bool nobody_listens(int r)
{
	return r == -ENOENT || r == -ECONNREFUSED || r == -ENOTDIR;
}

static int not_connected(const char *path, int r, struct err *e)
{
	if (nobody_listens(r))
		return err_hint(e, err_set(e, ERR_NOT_FOUND, -r, "fsboxd is not running: nobody listens at '%s'", path),
				"fsbox serve");
	(void)err_sys(e, r, "connecting to fsboxd at '%s'", path);
	return r == -EACCES || r == -EPERM
		       ? err_hint(e, r, "be a member of the socket's group, or start a daemon of your own: fsbox serve")
		       : r;
}

/* The machine's daemon first, for those who may use it: the socket's own permissions know who is in its group. */
static int connect_somewhere(struct client *c, struct err *e)
{
	char own[CLIENT_MAX_PATH + 1];
	struct err no_place = {0};
	int r = connect_to(c, system_socket), second;

	if (r == 0)
		return 0;
	if (geteuid() == 0 || user_socket(own, sizeof own, &no_place) < 0)
		return not_connected(system_socket, r, e);
	second = connect_to(c, own);
	if (second == 0)
		return 0;
	if (!nobody_listens(second))
		return not_connected(own, second, e);
	if (!nobody_listens(r))
		return not_connected(system_socket, r, e);
	r = err_set(e, ERR_NOT_FOUND, -second, "fsboxd is not running: nobody listens at '%s' nor at '%s'",
		    system_socket, own);
	return err_hint(e, r, "fsbox serve");
}

int client_open(struct client *c, const char *path, struct err *e)
{
	int r;

	*c = (struct client){.fd = FD_NONE, .signal_fd = FD_NONE};
	if (!path)
		path = secure_getenv("FSBOX_SOCKET");
	if (!path || !*path)
		return connect_somewhere(c, e);
	r = connect_to(c, path);
	return r < 0 ? not_connected(path, r, e) : 0;
}

void client_close(struct client *c)
{
	fd_closep(&c->fd);
	while (c->n_got > 0)
		fd_closep(&c->got[--c->n_got].fd);
	buf_done(&c->in);
}

/* ---- Sending ---- */

static int closed(struct err *e)
{
	return err_set(e, ERR_SYSTEM, ECONNRESET, "fsboxd closed the connection before it answered");
}

static int broken(struct client *c, int code, struct err *e)
{
	if (code == EPIPE || code == ECONNRESET)
		return closed(e);
	return err_sys(e, code, "talking to fsboxd at '%s'", c->path);
}

/* Until the connection is ready for @events. -ECANCELED when a signal comes first. */
static int wait_for(struct client *c, short events, struct err *e)
{
	struct pollfd p[2] = {{.fd = c->fd, .events = events}, {.fd = c->signal_fd, .events = POLLIN}};

	for (;;) {
		int r = poll(p, 2, -1);

		if (r < 0 && errno != EINTR)
			return err_sys(e, errno, "waiting for fsboxd");
		if (r > 0 && p[1].revents)
			return err_set(e, ERR_CANCELLED, ECANCELED, "interrupted");
		if (r > 0)
			return 0;
	}
}

/* The descriptors go with the first part, however the rest is divided. */
static int send_all(struct client *c, const char *data, size_t len, const int *fds, size_t n_fds, struct err *e)
{
	union {
		char room[CMSG_SPACE(sizeof(int) * CLIENT_MAX_FDS)];
		struct cmsghdr align;
	} control = {.room = {0}};

	while (len > 0) {
		struct iovec part = {(void *)(uintptr_t)data, len};
		struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1};
		ssize_t n;

		if (n_fds > 0) {
			m.msg_control = control.room;
			m.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
			*CMSG_FIRSTHDR(&m) = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int) * n_fds),
							      .cmsg_level = SOL_SOCKET,
							      .cmsg_type = SCM_RIGHTS};
			memcpy(CMSG_DATA(CMSG_FIRSTHDR(&m)), fds, sizeof(int) * n_fds);
		}
		n = sendmsg(c->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return broken(c, errno, e);
		if (n < 0) {
			int r = wait_for(c, POLLOUT, e);

			if (r < 0)
				return r;
			continue;
		}
		n_fds = 0;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

int client_send(struct client *c, const char *method, const struct buf *params, bool more, const int *fds, size_t n_fds,
		struct err *e)
{
	AUTO(buf_done) struct buf b = {0};

	if (n_fds > CLIENT_MAX_FDS)
		return err_set(e, ERR_BUG, E2BIG, "%zu descriptors with one message", n_fds);
	buf_printf(&b, "{\"method\":\"%s.%s\"", interface, method);
	if (params) {
		buf_puts(&b, ",\"parameters\":");
		buf_add(&b, params->data, params->len);
	}
	buf_puts(&b, more ? ",\"more\":true}" : "}");
	buf_add(&b, "", 1);
	if (b.failed || (params && params->failed))
		return err_oom(e);
	return send_all(c, b.data, b.len, fds, n_fds, e);
}

/* ---- Receiving ---- */

/* The kernel ends a read of a stream behind the part that descriptors came with, so they belong to the message that has the
 * last byte of that read. */
static int keep_fds(struct client *c, struct msghdr *m, struct err *e)
{
	for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
		size_t n = h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS
				   ? (h->cmsg_len - CMSG_LEN(0)) / sizeof(int)
				   : 0;

		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(h) + i * sizeof fd, sizeof fd);
			if (c->n_got == ARRAY_LEN(c->got)) {
				(void)close(fd);
				m->msg_flags |= MSG_CTRUNC;
				continue;
			}
			c->got[c->n_got].fd = fd;
			c->got[c->n_got++].at = c->in.len - 1;
		}
	}
	return m->msg_flags & MSG_CTRUNC ? client_malformed(e, "too many descriptors") : 0;
}

static int read_some(struct client *c, struct err *e)
{
	char chunk[CHUNK];
	union {
		char room[CMSG_SPACE(sizeof(int) * CLIENT_MAX_FDS)];
		struct cmsghdr align;
	} control;
	struct iovec part = {chunk, sizeof chunk};
	struct msghdr m = {.msg_iov = &part,
			   .msg_iovlen = 1,
			   .msg_control = control.room,
			   .msg_controllen = sizeof control.room};
	ssize_t n;
	int r;

	r = wait_for(c, POLLIN, e);
	if (r < 0)
		return r;
	n = recvmsg(c->fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : broken(c, errno, e);
	if (n == 0)
		return closed(e);
	buf_add(&c->in, chunk, (size_t)n);
	return c->in.failed ? err_oom(e) : keep_fds(c, &m, e);
}

bool client_has_answer(struct client *c)
{
	return c->in.len > 0 && memchr(c->in.data, 0, c->in.len) != NULL;
}

/* The length of the first message in @in, once it is whole. */
static int wait_message(struct client *c, size_t *ret_len, struct err *e)
{
	for (;;) {
		const char *end = c->in.len > c->seen ? memchr(c->in.data + c->seen, 0, c->in.len - c->seen) : NULL;
		int r;

		if (end) {
			*ret_len = (size_t)(end - c->in.data);
			return 0;
		}
		c->seen = c->in.len;
		if (c->in.len > CLIENT_MAX_MESSAGE)
			return err_set(e, ERR_LIMIT, EMSGSIZE, "fsboxd's answer is over %d bytes", CLIENT_MAX_MESSAGE);
		r = read_some(c, e);
		if (r < 0)
			return r;
	}
}

int client_malformed(struct err *e, const char *what)
{
	return err_hint(e, err_set(e, ERR_SYSTEM, EPROTO, "fsboxd's answer is not understood: %s", what),
			"is it fsboxd that listens there, and of this version?");
}

static int take_parts(const struct json *root, struct client_reply *r, struct err *e)
{
	const struct json *error, *params;

	if (json_type_of(root) != JSON_OBJECT)
		return client_malformed(e, "it is not an object");
	error = json_member(root, "error");
	params = json_member(root, "parameters");
	if (params && json_type_of(params) == JSON_NULL)
		params = NULL;
	if (params && json_type_of(params) != JSON_OBJECT)
		return client_malformed(e, "its parameters are not an object");
	if (error && json_type_of(error) != JSON_NULL) {
		if (json_type_of(error) != JSON_STRING)
			return client_malformed(e, "its error is not a text");
		return client_error(json_string_get(error, NULL), params, e);
	}
	r->continues = client_bool(root, "continues");
	r->params = params;
	return 0;
}

/* What functions print may hold 0 bytes, and json_parse() takes none. They become U+FFFD, as all that is no text does.
 * Bodies of calls are not touched by it: as text they hold no such byte. */
static void replace_nul(char *text, size_t len)
{
	for (size_t i = 0; i + 5 < len; i++) {
		if (text[i] != '\\')
			continue;
		if (memcmp(text + i + 1, "u0000", 5) == 0)
			memcpy(text + i + 2, "fffd", 4);
		i++; /* an escaped backslash begins no escape */
	}
}

int client_receive(struct client *c, struct client_reply *ret, struct err *e)
{
	struct err inner = {0};
	size_t len, left = 0;
	int r = wait_message(c, &len, e);

	*ret = (struct client_reply){0};
	if (r < 0)
		return r;
	replace_nul(c->in.data, len);
	r = json_parse("answer", c->in.data, len, CLIENT_MAX_MESSAGE, &ret->doc, &inner);
	for (size_t i = 0; i < c->n_got; i++) {
		if (c->got[i].at > len) {
			c->got[left] = c->got[i];
			c->got[left++].at -= len + 1;
		} else if (ret->n_fds < CLIENT_MAX_FDS) {
			ret->fds[ret->n_fds++] = c->got[i].fd;
		} else {
			(void)close(c->got[i].fd);
			r = r < 0 ? r : client_malformed(&inner, "too many descriptors");
		}
	}
	c->n_got = left;
	buf_drop(&c->in, len + 1);
	c->seen = 0;
	if (r < 0 && inner.kind == ERR_SPEC)
		r = client_malformed(e, inner.msg);
	else if (r < 0)
		r = err_adopt(e, &inner);
	else
		r = take_parts(json_doc_root(ret->doc), ret, e);
	if (r < 0)
		client_reply_done(ret);
	return r;
}

void client_reply_done(struct client_reply *r)
{
	json_doc_free(r->doc);
	while (r->n_fds > 0)
		fd_closep(&r->fds[--r->n_fds]);
	*r = (struct client_reply){0};
}

int client_call(struct client *c, const char *method, const struct buf *params, struct client_reply *ret, struct err *e)
{
	int r = client_send(c, method, params, false, NULL, 0, e);

	*ret = (struct client_reply){0};
	if (r == 0)
		r = client_receive(c, ret, e);
	if (r == 0 && ret->continues) {
		client_reply_done(ret);
		r = client_malformed(e, "more answers than asked for");
	}
	return r;
}

/* ---- Members ---- */

static const struct json *member_of(const struct json *object, const char *key, enum json_type type)
{
	const struct json *v = object && json_type_of(object) == JSON_OBJECT ? json_member(object, key) : NULL;

	return v && json_type_of(v) == type ? v : NULL;
}

const char *client_text(const struct json *object, const char *key)
{
	const struct json *v = member_of(object, key, JSON_STRING);

	return v ? json_string_get(v, NULL) : NULL;
}

bool client_int(const struct json *object, const char *key, int64_t *ret)
{
	const struct json *v = member_of(object, key, JSON_INTEGER);

	if (v)
		*ret = json_integer_get(v);
	return v != NULL;
}

bool client_bool(const struct json *object, const char *key)
{
	const struct json *v = member_of(object, key, JSON_BOOL);

	return v && json_bool_get(v);
}

const struct json *client_object(const struct json *object, const char *key)
{
	return member_of(object, key, JSON_OBJECT);
}
