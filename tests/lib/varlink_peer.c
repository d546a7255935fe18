#include "tests/lib/varlink_peer.h"

#define TAP_NO_MAIN
#include "tests/lib/tap.h"

#include "base/fd.h"
#include "base/mem.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

enum { ECHO, WAIT, STREAM, ONLY_MORE, TAKE, GIVE, FAIL_NAMED, UPGRADE };

static const struct wire_field number[] = {{.name = "n", .type = WIRE_INT}, {.name = NULL}};
static const struct wire_struct body = {
	.name = "Body",
	.doc = "What is passed.",
	.fields = WIRE_FIELDS({.name = "fd", .type = WIRE_FD, .doc = "a file"}),
};
static const struct wire_method methods[] = {
	{.name = "Echo",
	 .doc = "Answers with what it got.",
	 .in = WIRE_FIELDS({.name = "text", .type = WIRE_STRING}),
	 .out = WIRE_FIELDS({.name = "text", .type = WIRE_STRING}),
	 .id = ECHO},
	{.name = "Wait", .doc = "Answers later.", .in = number, .out = number, .id = WAIT},
	{.name = "Stream", .doc = "Answers often.", .out = number, .flags = WIRE_MORE, .id = STREAM},
	{.name = "OnlyMore", .out = number, .flags = WIRE_NEEDS_MORE, .id = ONLY_MORE},
	{.name = "Take",
	 .in = WIRE_FIELDS({.name = "body", .type = WIRE_STRUCT, .of_struct = &body},
			   {.name = "other", .type = WIRE_FD, .flags = WIRE_OPTIONAL}),
	 .out = number,
	 .max_fds = 2,
	 .id = TAKE},
	{.name = "Give", .out = WIRE_FIELDS({.name = "fd", .type = WIRE_FD}), .id = GIVE},
	{.name = "Fail", .id = FAIL_NAMED},
	{.name = "Upgrade", .flags = WIRE_UPGRADE, .id = UPGRADE},
	{.name = NULL},
};
const struct wire_interface peer_interface = {
	.name = "org.example.peer",
	.doc = "An interface for tests.",
	.structs = (const struct wire_struct *const[]){&body, NULL},
	.methods = methods,
	.errors = (const struct wire_error[]){{.name = "Broken", .fields = number}, {.name = NULL}},
};

/* ---- Handlers ---- */

static void put_number(struct buf *b, int64_t n)
{
	struct wire_obj o;

	wire_obj_begin(&o, b);
	wire_obj_int(&o, "n", n);
	wire_obj_end(&o);
}

static void answer_number(struct call *c, int64_t n)
{
	AUTO(buf_done) struct buf b = {0};

	put_number(&b, n);
	call_reply(c, &b, NULL, 0);
}

static void echo(struct call *c)
{
	AUTO(buf_done) struct buf b = {0};
	struct wire_obj o;

	wire_obj_begin(&o, &b);
	wire_obj_string(&o, "text", wire_get_string(c->params, "text"));
	wire_obj_end(&o);
	call_reply(c, &b, NULL, 0);
}

/* A descriptor from which one byte can be read. */
static int marked(unsigned char mark)
{
	int fd[2];

	if (!CHECK(pipe2(fd, O_CLOEXEC) == 0))
		return FD_NONE;
	CHECK_EQ(write(fd[1], &mark, 1), 1);
	(void)close(fd[1]);
	return fd[0];
}

static void stream(struct peer_server *s, struct call *c)
{
	AUTO(buf_done) struct buf b = {0};
	AUTO_FREE char *filler = malloc(s->stream_bytes + 1);
	struct wire_obj o;

	memset(filler, 'x', s->stream_bytes);
	for (; c->more && s->streamed < s->stream; s->streamed++) {
		b.len = 0;
		wire_obj_begin(&o, &b);
		wire_obj_int(&o, "n", s->streamed);
		wire_obj_bytes(&o, "filler", filler, s->stream_bytes);
		wire_obj_end(&o);
		const bool has = s->stream_fds && s->streamed % s->stream_fds == s->stream_fds - 1;
		int fd = has ? marked((unsigned char)s->streamed) : FD_NONE;

		if (!call_continue(c, &b, &fd, has))
			return; /* stays open: drained() goes on */
	}
	answer_number(c, s->streamed);
}

static void take(struct peer_server *s, struct call *c)
{
	const int64_t index = wire_get_int(wire_get(c->params, "body"), "fd", -1);

	fd_closep(&s->taken);
	s->taken = call_take_fd(c, index);
	CHECK(!fd_valid(call_take_fd(c, index))); /* once */
	CHECK(!fd_valid(call_take_fd(c, 99)));
	answer_number(c, (int64_t)c->n_fds);
}

static void give(struct call *c)
{
	AUTO(buf_done) struct buf b = {0};
	int fd[2];

	if (!CHECK(pipe2(fd, O_CLOEXEC) == 0))
		return;
	CHECK_EQ(write(fd[1], "given", 5), 5);
	(void)close(fd[1]);
	buf_puts(&b, "{\"fd\":0}");
	call_reply(c, &b, fd, 1);
	CHECK(!fd_valid(fd[0]));
}

static void fail(struct call *c)
{
	AUTO(buf_done) struct buf b = {0};

	put_number(&b, 7);
	call_error(c, "org.example.peer.Broken", &b);
}

static void upgrade(struct peer_server *s, struct call *c)
{
	if (!c->upgrade) {
		fail(c);
		return;
	}
	s->upgraded = c->conn;
	call_upgrade(c, NULL, s->conn_ops, s);
}

static void on_call(void *arg, struct call *c)
{
	struct peer_server *s = arg;

	s->called++;
	s->last_uid = call_peer(c)->uid;
	switch (c->method->id) {
	case ECHO:
		echo(c);
		break;
	case STREAM:
	case ONLY_MORE:
		stream(s, c);
		break;
	case TAKE:
		take(s, c);
		break;
	case GIVE:
		give(c);
		break;
	case FAIL_NAMED:
		fail(c);
		break;
	case UPGRADE:
		upgrade(s, c);
		break;
	default:
		if (CHECK(s->n_open < PEER_MAX_OPEN))
			s->open[s->n_open++] = c;
		break;
	}
}

static void forget_open(struct peer_server *s, const struct call *c)
{
	for (size_t i = 0; i < s->n_open; i++)
		if (s->open[i] == c) {
			memmove(s->open + i, s->open + i + 1, (--s->n_open - i) * sizeof s->open[0]);
			return;
		}
}

static void on_gone(void *arg, struct call *c)
{
	struct peer_server *s = arg;

	CHECK(c->gone);
	s->gone++;
	if (c->method->id == STREAM)
		answer_number(c, 0);
	else if (s->answer_when_gone) {
		forget_open(s, c);
		answer_number(c, 0);
	}
}

static bool on_allowed(void *arg, const struct peer *p, const struct wire_method *m)
{
	const struct peer_server *s = arg;

	CHECK(m->name && p->pid > 0);
	return !s->deny;
}

static void on_closed(void *arg, struct conn *c)
{
	struct peer_server *s = arg;

	CHECK(conn_peer(c)->pid > 0);
	s->closed++;
}

static void on_drained(void *arg, struct call *c)
{
	struct peer_server *s = arg;

	s->drained++;
	stream(s, c);
}

const struct server_ops peer_ops = {
	.call = on_call, .gone = on_gone, .allowed = on_allowed, .closed = on_closed, .drained = on_drained};

void peer_answer(struct peer_server *s, int n)
{
	struct call *c = s->open[0];

	if (!CHECK(s->n_open > 0))
		return;
	forget_open(s, c);
	answer_number(c, n);
}

/* ---- The server ---- */

void peer_start(struct peer_server *s)
{
	static const struct wire_interface *const interfaces[] = {&peer_interface, NULL};
	const struct sockaddr_un any = {
		.sun_family = AF_UNIX}; /* without a name: the kernel finds one (unix(7), autobind) */
	struct err e = {0};

	s->taken = FD_NONE;
	s->config.ops = &peer_ops;
	s->config.arg = s;
	s->config.interfaces = interfaces;
	s->config.vendor = "fsbox";
	s->config.product = "peer";
	s->config.version = "1";
	s->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(bind(s->listener, (const struct sockaddr *)&any, sizeof any.sun_family) == 0);
	CHECK(listen(s->listener, 4096) == 0);
	CHECK_OK(loop_open(&s->loop, &e), &e);
	CHECK_OK(server_open(&s->server, &s->loop, s->listener, &s->config, &e), &e);
}

void peer_stop(struct peer_server *s)
{
	if (s->server)
		server_close(s->server);
	loop_close(&s->loop);
	fd_closep(&s->listener);
	fd_closep(&s->taken);
}

void peer_pump(struct peer_server *s)
{
	struct epoll_event some;
	struct err e = {0};

	for (int quiet = 0; quiet < 2;) { /* a later that is queued leaves epoll itself silent */
		quiet = epoll_wait(s->loop.epoll, &some, 1, 0) > 0 || s->loop.first ? 0 : quiet + 1;
		if (!CHECK_OK(loop_once(&s->loop, 0, &e), &e))
			return;
	}
}

int peer_connect(const struct peer_server *s)
{
	struct sockaddr_un a;
	socklen_t len = sizeof a;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	CHECK(getsockname(s->listener, (struct sockaddr *)&a, &len) == 0);
	CHECK(connect(fd, (const struct sockaddr *)&a, len) == 0);
	return fd;
}

/* ---- Clients ---- */

void peer_send(struct peer_server *s, int fd, const void *data, size_t len)
{
	const char *p = data;

	for (int idle = 0; len > 0 && idle < 100;) {
		ssize_t n = send(fd, p, len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno != EAGAIN)
			return; /* the server has closed: the test hears that */
		idle = n > 0 ? 0 : idle + 1;
		if (n > 0) {
			p += n;
			len -= (size_t)n;
		}
		peer_pump(s);
	}
}

void peer_say(struct peer_server *s, int fd, const char *text)
{
	peer_send(s, fd, text, strlen(text) + 1);
}

void peer_say_fds(int fd, const char *text, const int *fds, size_t n)
{
	char control[CMSG_SPACE(253 * sizeof(int))] = {0};
	struct iovec iov = {.iov_base = (void *)(uintptr_t)text, .iov_len = strlen(text) + 1};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = CMSG_SPACE(n * sizeof(int))};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	if (!CHECK(c))
		return;
	*c = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
	c->cmsg_len = CMSG_LEN(n * sizeof(int));
	memcpy(CMSG_DATA(c), fds, n * sizeof(int));
	CHECK_EQ(sendmsg(fd, &m, MSG_NOSIGNAL), (ssize_t)iov.iov_len);
}

const char *peer_hear_fd(struct peer_server *s, int fd, int *ret_fd)
{
	static char text[4 << 20];
	size_t len = 0;

	*ret_fd = FD_NONE;
	for (int idle = 0; len < sizeof text;) {
		char control[CMSG_SPACE(sizeof(int))];
		struct iovec iov = {text + len, 1};
		struct msghdr m = {.msg_iov = &iov,
				   .msg_iovlen = 1,
				   .msg_control = control,
				   .msg_controllen = sizeof control};
		ssize_t n = recvmsg(fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

		if (n == 0)
			return len ? "cut" : "closed";
		if (n < 0 && errno != EAGAIN)
			return "reset";
		if (n < 0) {
			if (idle++)
				return len ? "unfinished" : "";
			peer_pump(s);
			continue;
		}
		idle = 0;
		if (CMSG_FIRSTHDR(&m))
			memcpy(ret_fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(int));
		if (text[len++] == '\0')
			return text;
	}
	return "endless";
}

const char *peer_hear(struct peer_server *s, int fd)
{
	int got;
	const char *text = peer_hear_fd(s, fd, &got);

	CHECK(!fd_valid(got));
	return text;
}

const char *peer_ask(struct peer_server *s, int fd, const char *text)
{
	peer_say(s, fd, text);
	return peer_hear(s, fd);
}
