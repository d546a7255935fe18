#define TAP_NO_MAIN
#include "tests/lib/api_peer.h"

#include "tests/lib/tap.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SILENT_MS = 50, CONNECT_TRIES = 2000, SERVER_PORT = 9001 };

static bool make_world(void)
{
	struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	int fd;

	if (geteuid() != 0 || unshare(CLONE_NEWNET | CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || mount("tmpfs", "/opt", "tmpfs", 0, NULL) < 0)
		return false;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &lo) < 0)
		return false;
	(void)close(fd);
	(void)signal(SIGPIPE, SIG_IGN);
	return true;
}

bool api_peer_world(void)
{
	static int made = -1;

	if (made < 0)
		made = make_world();
	return made == 1;
}

int api_peer_start(struct chan_peer *p, const char *const *program, const char *const *envp)
{
	const char *argv[16] = {chan_peer_built("runtime/init"), chan_peer_built("runtime/api"), "/bin/sleep", "1000"};

	for (size_t i = 0; program && i < 13; i++) {
		argv[2 + i] = program[i];
		if (!program[i])
			break;
	}
	return chan_peer_start(p, CHAN_PEER_PID_NS, argv, envp);
}

bool api_peer_ready(struct chan_peer *p, int *ret_next)
{
	struct chan_peer_frame f;

	if (!CHECK_EQ(api_peer_start(p, NULL, NULL), 0))
		return false;
	*ret_next = api_peer_connect(SERVER_PORT);
	return CHECK(api_peer_send(*ret_next, "GET", API_NEXT, "", NULL)) && CHECK_EQ(chan_peer_next(p, &f), 1) &&
	       CHECK_EQ(f.head.type, CHAN_READY);
}

bool api_peer_program(const char *name, const char *text)
{
	char path[300];
	size_t len = strlen(text);
	bool ok;
	int fd;

	(void)mkdir("/opt/extensions", 0755);
	(void)snprintf(path, sizeof path, "/opt/%s", name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
	if (fd < 0)
		return false;
	ok = write(fd, text, len) == (ssize_t)len;
	(void)close(fd);
	return ok;
}

void api_peer_remove_extensions(void)
{
	(void)umount2("/opt", MNT_DETACH);
	(void)mount("tmpfs", "/opt", "tmpfs", 0, NULL);
}

int api_peer_connect(unsigned port)
{
	const struct sockaddr_in in = {.sin_family = AF_INET,
				       .sin_port = htons((uint16_t)port),
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	for (int i = 0; i < CONNECT_TRIES; i++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
		if (fd < 0 || connect(fd, (const struct sockaddr *)&in, sizeof in) == 0)
			return fd;
		(void)close(fd);
		(void)nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
	}
	return -1;
}

bool api_peer_put(int fd, const void *data, size_t len)
{
	const char *p = data;

	while (len > 0) {
		ssize_t n = send(fd, p, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		p += n;
		len -= (size_t)n;
	}
	return true;
}

bool api_peer_puts(int fd, const char *text)
{
	return api_peer_put(fd, text, strlen(text));
}

void api_peer_forget(struct api_answer *r)
{
	free(r->head);
	free(r->body);
	*r = (struct api_answer){0};
}

/* Reads @len bytes; false at the end, or when none come in time. */
static bool read_exactly(int fd, char *to, size_t len)
{
	while (len > 0) {
		struct pollfd ready = {.fd = fd, .events = POLLIN};
		ssize_t n = poll(&ready, 1, API_PEER_WAIT_MS) > 0 ? read(fd, to, len) : -1;

		if (n <= 0)
			return false;
		to += n;
		len -= (size_t)n;
	}
	return true;
}

const char *api_peer_field(const struct api_answer *r, const char *name)
{
	static char value[4096];
	const size_t n = strlen(name);

	for (const char *line = r->head; line && (line = strstr(line, "\r\n")); line += 2) {
		if (strncasecmp(line + 2, name, n) != 0 || line[2 + n] != ':')
			continue;
		line += 2 + n + 1;
		line += strspn(line, " ");
		(void)snprintf(value, sizeof value, "%.*s", (int)strcspn(line, "\r\n"), line);
		return value;
	}
	return "";
}

bool api_peer_read(int fd, struct api_answer *r)
{
	enum { MAX_HEAD = 65536 };
	size_t n = 0;
	long length = 0;

	api_peer_forget(r);
	r->head = calloc(1, MAX_HEAD);
	if (!r->head)
		abort();
	/* Byte for byte, so that what follows stays in the socket. */
	while (n < MAX_HEAD - 1 && !(n >= 4 && memcmp(r->head + n - 4, "\r\n\r\n", 4) == 0))
		if (!read_exactly(fd, r->head + n++, 1))
			return false;
	if (sscanf(r->head, "HTTP/1.1 %u ", &r->status) != 1)
		return false;
	(void)sscanf(api_peer_field(r, "Content-Length"), "%ld", &length);
	r->len = (size_t)length;
	r->body = calloc(1, r->len + 1);
	if (!r->body)
		abort();
	return read_exactly(fd, r->body, r->len);
}

bool api_peer_send(int fd, const char *method, const char *path, const char *fields, const char *body)
{
	char head[8192], length[64] = "";

	if (body)
		(void)snprintf(length, sizeof length, "Content-Length: %zu\r\n", strlen(body));
	(void)snprintf(head, sizeof head, "%s %s HTTP/1.1\r\nHost: x\r\n%s%s\r\n", method, path, length, fields);
	return api_peer_puts(fd, head) && (!body || api_peer_puts(fd, body));
}

bool api_peer_ask(int fd, const char *method, const char *path, const char *fields, const char *body,
		  struct api_answer *r)
{
	return api_peer_send(fd, method, path, fields, body) && api_peer_read(fd, r);
}

bool api_peer_once(const char *method, const char *path, const char *fields, const char *body, struct api_answer *r)
{
	int fd = api_peer_connect(SERVER_PORT);
	bool ok = fd >= 0 && api_peer_ask(fd, method, path, fields, body, r);

	(void)close(fd);
	return ok;
}

bool api_peer_silent(int fd)
{
	struct pollfd ready = {.fd = fd, .events = POLLIN};

	return poll(&ready, 1, SILENT_MS) == 0;
}

bool api_peer_closed(int fd)
{
	struct pollfd ready = {.fd = fd, .events = POLLIN};
	char byte;

	return poll(&ready, 1, API_PEER_WAIT_MS) > 0 && read(fd, &byte, 1) <= 0;
}

bool api_peer_listen_at(int fd, unsigned port)
{
	const struct sockaddr_in in = {.sin_family = AF_INET,
				       .sin_port = htons((uint16_t)port),
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
	return fd >= 0 && bind(fd, (const struct sockaddr *)&in, sizeof in) == 0 && listen(fd, 16) == 0;
}

int api_peer_listen(unsigned *port)
{
	struct sockaddr_in in;
	socklen_t len = sizeof in;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (!api_peer_listen_at(fd, 0) || getsockname(fd, (struct sockaddr *)&in, &len) < 0) {
		(void)close(fd);
		return -1;
	}
	*port = ntohs(in.sin_port);
	return fd;
}

int api_peer_accept(int fd)
{
	struct pollfd ready = {.fd = fd, .events = POLLIN};

	return poll(&ready, 1, API_PEER_WAIT_MS) > 0 ? accept4(fd, NULL, NULL, SOCK_CLOEXEC) : -1;
}

/* ---- What the channel and the API are expected to say ---- */

bool api_expect(struct chan_peer *p, unsigned type, uint64_t call, struct chan_peer_frame *f)
{
	return CHECK_EQ(chan_peer_next(p, f), 1) && CHECK_EQ(f->head.type, type) && CHECK_EQ(f->head.call, call);
}

/* An ERROR or INIT_ERROR with these. NULL: not looked at. */
bool api_expect_error(struct chan_peer *p, unsigned type, uint64_t call, const char *kind, const char *message,
		      const char *document)
{
	struct chan_peer_frame f;
	struct chan_error e;
	char got_kind[300], got_message[4000], got_document[4000];

	if (!api_expect(p, type, call, &f))
		return false;
	memcpy(&e, f.body, sizeof e);
	(void)snprintf(got_kind, sizeof got_kind, "%.*s", (int)e.type_len, (const char *)f.body + sizeof e);
	(void)snprintf(got_message, sizeof got_message, "%.*s", (int)e.message_len,
		       (const char *)f.body + sizeof e + e.type_len);
	(void)snprintf(got_document, sizeof got_document, "%.*s",
		       (int)(f.head.len - sizeof e - e.type_len - e.message_len),
		       (const char *)f.body + sizeof e + e.type_len + e.message_len);
	return CHECK_STREQ(got_kind, kind) && (!message || CHECK_STREQ(got_message, message)) &&
	       (!document || CHECK_STREQ(got_document, document));
}

bool api_expect_data(struct chan_peer *p, uint64_t call, const char *text)
{
	struct chan_peer_frame f;

	return api_expect(p, CHAN_DATA, call, &f) && CHECK_EQ(f.head.len, strlen(text)) &&
	       CHECK_MEMEQ(f.body, text, strlen(text));
}

/* Sends a call and takes its event. */
bool api_give_event(struct chan_peer *p, uint64_t number, int next, const char *event)
{
	API_ANSWER(r);

	return CHECK_EQ(chan_peer_call(p, number, event, strlen(event)), 0) && CHECK(api_peer_read(next, &r)) &&
	       CHECK_EQ(r.status, 200) && CHECK_STREQ(r.body, event) &&
	       CHECK_STREQ(api_peer_field(&r, "Lambda-Runtime-Aws-Request-Id"), API_ID);
}

bool api_send_next(int fd)
{
	return CHECK(api_peer_send(fd, "GET", API_NEXT, "", NULL));
}

/* A whole call, to see that the server still works. */
bool api_call_works(struct chan_peer *p, uint64_t number, int next)
{
	struct chan_peer_frame f;
	API_ANSWER(r);

	return api_give_event(p, number, next, "\"ping\"") &&
	       CHECK(api_peer_ask(next, "POST", API_CALL "/response", "", "\"pong\"", &r)) && CHECK_EQ(r.status, 202) &&
	       CHECK_STREQ(r.body, "{\"status\":\"OK\"}") && api_send_next(next) &&
	       api_expect_data(p, number, "\"pong\"") && api_expect(p, CHAN_DONE, number, &f);
}

bool api_ends_with(struct chan_peer *p, int code, int status)
{
	struct chan_exit e = {0};
	size_t rest;

	return CHECK(chan_peer_exit(p, &e, &rest)) && CHECK_EQ(e.code, code) && CHECK_EQ(e.status, status);
}

bool api_send_frame(struct chan_peer *p, uint16_t type, uint64_t call, const void *body, size_t len)
{
	const struct chan_head h = {.len = (uint32_t)len, .type = type, .call = call};
	char frame[4096];

	if (len > sizeof frame - sizeof h)
		return false;
	/* In one piece: a head that is refused ends the server before it has the body. */
	memcpy(frame, &h, sizeof h);
	if (len > 0)
		memcpy(frame + sizeof h, body, len);
	return chan_peer_send(p, frame, sizeof h + len) == 0;
}
