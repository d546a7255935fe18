#include "runtime/api/api.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	MAX_FDS = 3 + MAX_CONNS + 3 * (MAX_EXTENSIONS + 1),
	MAX_ARGS = 256,
	BACKLOG = 128,
	ACCEPT_AGAIN_MS = 100,
	MAX_ROUNDS = 256, /* of READ_SIZE bytes each: more than the largest request */
};

static sigset_t while_waiting; /* the mask of ppoll(2): a child's end interrupts it, and nothing else */

uint64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec;
}

void make_uuid(char ret[UUID_LEN + 1])
{
	unsigned char b[16];
	size_t n = 0;

	if (getrandom(b, sizeof b, 0) != (ssize_t)sizeof b)
		_exit(1);
	b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
	b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
	for (size_t i = 0; i < sizeof b; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			ret[n++] = '-';
		ret[n++] = "0123456789abcdef"[b[i] >> 4];
		ret[n++] = "0123456789abcdef"[b[i] & 15];
	}
	ret[n] = '\0';
}

void api_exit(struct api *a, int status)
{
	for (size_t i = 0; i < MAX_CONNS; i++)
		if (a->conns[i].fd >= 0 && a->conns[i].out.len > 0)
			conn_writable(&a->conns[i]);
	telemetry_flush(a);
	_exit(status); /* PID 1 ends the rest */
}

/* ---- The loop ---- */

static void take_frames(struct api *a)
{
	struct chan_head head;
	const char *body;
	int r = link_read(a);

	if (r < 0)
		_exit(1);
	if (r == 0) { /* the host is gone, and with it the sense of going on */
		if (a->rx.len > 0)
			(void)dprintf(STDERR_FILENO, "fsbox: the channel: it ended in the middle of a frame\n");
		extension_shutdown(a, "spindown");
		api_exit(a, a->rx.len > 0);
	}
	while ((r = link_next(a, &head, &body)) == 1) {
		runtime_frame(a, &head, body);
		link_drop(a, &head);
	}
	if (r < 0) {
		(void)dprintf(STDERR_FILENO, "fsbox: the channel: a malformed frame\n");
		_exit(1);
	}
}

/* One that waits, or is written to, is not read: the kernel keeps what comes. One that waits is over when its client has
 * ended its side, for nobody can tell that from having gone; one that is written to is not. */
static size_t watch_conns(struct api *a, struct pollfd *fds, struct conn **whose)
{
	size_t n = 0;

	for (size_t i = 0; i < MAX_CONNS; i++) {
		struct conn *c = &a->conns[i];
		int events = c->at == CONN_WAITING ? POLLRDHUP : c->at == CONN_WRITING ? 0 : POLLIN;

		if (c->fd < 0)
			continue;
		if (c->out.len > 0)
			events |= POLLOUT;
		fds[n] = (struct pollfd){.fd = c->fd, .events = (short)events};
		whose[n++] = c;
	}
	return n;
}

static void serve_conn(struct api *a, struct conn *c, short events)
{
	if (c->fd >= 0 && (events & POLLOUT))
		conn_writable(c);
	if (c->fd >= 0 && (events & POLLIN))
		conn_readable(a, c);
	else if (c->fd >= 0 && (events & (POLLRDHUP | POLLHUP | POLLERR)))
		conn_close(a, c);
}

static void serve_conns(struct api *a, const struct pollfd *fds, struct conn **whose, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (fds[i].revents && whose[i]->fd == fds[i].fd)
			serve_conn(a, whose[i], fds[i].revents);
}

void api_turn(struct api *a, int timeout_ms)
{
	struct pollfd fds[MAX_FDS];
	struct conn *whose[MAX_CONNS];
	size_t n_conns, n_more;
	struct timespec ts;
	int r;

	conn_settle(a);
	n_conns = watch_conns(a, fds + 2, whose);
	n_more = telemetry_poll(a, fds + 2 + n_conns, MAX_FDS - 3 - n_conns, &timeout_ms);
	/* While the end is near, no more frames: the host waits for it. */
	fds[0] = (struct pollfd){.fd = a->ending ? -1 : CHAN_FD_IN, .events = POLLIN};
	fds[1] = (struct pollfd){.fd = a->listener, .events = !a->accept_failed && conn_has_room(a) ? POLLIN : 0};
	if (a->accept_failed && (timeout_ms < 0 || timeout_ms > ACCEPT_AGAIN_MS))
		timeout_ms = ACCEPT_AGAIN_MS;
	a->accept_failed = false;
	ts = (struct timespec){timeout_ms / 1000, timeout_ms % 1000 * 1000000L};
	fds[2 + n_conns + n_more] = (struct pollfd){.fd = a->log_fd, .events = POLLIN};
	r = ppoll(fds, 3 + n_conns + n_more, timeout_ms < 0 ? NULL : &ts, &while_waiting);
	if (r > 0) {
		serve_conns(a, fds + 2, whose, n_conns);
		if (n_more > 0)
			telemetry_events(a, fds + 2 + n_conns, n_more);
		if (fds[2 + n_conns + n_more].revents && a->log_fd >= 0)
			logfd_readable(a);
		if (fds[0].revents)
			take_frames(a);
		if (fds[1].revents)
			(void)conn_accept(a);
	}
	child_reap(a);
}

void api_take_rest(struct api *a)
{
	struct pollfd fds[MAX_CONNS];
	struct conn *whose[MAX_CONNS];
	size_t n;

	for (int round = 0; round < MAX_ROUNDS; round++) { /* others may go on sending */
		conn_settle(a);
		while (conn_accept(a))
			;
		n = watch_conns(a, fds, whose);
		if (poll(fds, n, 0) <= 0)
			return;
		serve_conns(a, fds, whose, n);
	}
}

/* ---- Set-up ---- */

static int listen_at(struct api *a, unsigned port)
{
	struct sockaddr_in in = {.sin_family = AF_INET,
				 .sin_port = htons((uint16_t)port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof in;
	const int one = 1;

	a->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (a->listener < 0)
		return -errno;
	(void)setsockopt(a->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	(void)setsockopt(a->listener, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* connections take it over */
	if (bind(a->listener, (struct sockaddr *)&in, sizeof in) < 0 || listen(a->listener, BACKLOG) < 0 ||
	    getsockname(a->listener, (struct sockaddr *)&in, &len) < 0) {
		const int code = errno;

		(void)close(a->listener);
		return -code;
	}
	a->port = ntohs(in.sin_port);
	return 0;
}

static void open_listener(struct api *a)
{
	const char *wanted = secure_getenv("AWS_LAMBDA_RUNTIME_API_PORT");
	const bool any = wanted && strcmp(wanted, "0") == 0;
	char text[64];
	int r = listen_at(a, any ? 0 : API_PORT);

	a->host_net = any;

	if (r < 0) {
		(void)snprintf(text, sizeof text, "listening on 127.0.0.1:%d: %s", API_PORT, strerror(-r));
		runtime_init_failed(a, "Runtime.InitError", text);
	}
	(void)unsetenv("AWS_LAMBDA_RUNTIME_API_PORT");
	(void)snprintf(text, sizeof text, "127.0.0.1:%u", a->port);
	(void)setenv("AWS_LAMBDA_RUNTIME_API", text, 1);
}

static void set_signals(void)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	sigset_t all;

	(void)sigaction(SIGPIPE, &ignore, NULL);
	(void)sigemptyset(&while_waiting);
	(void)sigemptyset(&all);
	(void)sigaddset(&all, SIGCHLD);
	(void)sigprocmask(SIG_BLOCK, &all, NULL);
}

static void on_child(int sig)
{
	(void)sig; /* it has interrupted ppoll(2), and that was all */
}

static void set_arn(struct api *a)
{
	const char *region = secure_getenv("AWS_REGION"), *name = secure_getenv("AWS_LAMBDA_FUNCTION_NAME");

	if (!region || !*region)
		region = secure_getenv("AWS_DEFAULT_REGION");
	(void)snprintf(a->arn, sizeof a->arn, "arn:aws:lambda:%.64s:012345678912:function:%.200s",
		       region && *region ? region : "us-east-1", name ? name : "");
}

static void start_runtime(struct api *a, char **args)
{
	const char *argv[MAX_ARGS + 2];
	char found[4200], text[4600];
	int r = child_find_runtime(args, argv, MAX_ARGS, found, sizeof found);

	if (r < 0)
		runtime_init_failed(a, "Runtime.InvalidEntrypoint",
				    "no 'bootstrap' in /var/task, /opt or /var/runtime");
	r = child_start(a, argv, false, NULL, &a->runtime);
	if (r < 0) {
		(void)snprintf(text, sizeof text, "'%s' cannot be executed: %s", argv[0], strerror(-r));
		runtime_init_failed(a, "Runtime.InvalidEntrypoint", text);
	}
}

int main(int argc, char **argv)
{
	static struct api a;
	struct sigaction child = {.sa_handler = on_child};
	const char *type = secure_getenv("AWS_LAMBDA_INITIALIZATION_TYPE");

	(void)argc;
	if (link_setup() < 0) {
		(void)dprintf(STDERR_FILENO, "api: no channel on descriptors 3 and 4; fsbox starts this program\n");
		return 2;
	}
	for (size_t i = 0; i < MAX_CONNS; i++)
		a.conns[i].fd = -1;
	a.log_fd = -1;
	a.init_begin_ns = now_ns();
	a.snap_start = type && strcmp(type, "snap-start") == 0;
	set_signals();
	(void)sigaction(SIGCHLD, &child, NULL);
	set_arn(&a);
	open_listener(&a);
	credentials_offer(&a);
	extension_start_all(&a);
	while (!extension_all_registered(&a)) /* the host bounds the time of an init */
		api_turn(&a, -1);
	telemetry_platform(&a, "initStart", "{\"initializationType\":\"%s\",\"phase\":\"init\"}",
			   a.snap_start ? "snap-start" : "on-demand");
	start_runtime(&a, argv + 1);
	for (;;)
		api_turn(&a, -1);
}
