/* The same calls of fsboxd in varlink's messages, with memfds, and over frames. Prints JSON, one object to a line.
 *
 *     daemon_frames SOCKET FUNCTION BYTES AT_ONCE MS ROUNDS
 *
 * In turns, for MS each in every round, AT_ONCE calls at a time, with a body of BYTES there and back: "messages", "memfd"
 * and "frames" on as many connections, "streams" all on one. The event is text, so that messages can hold it. */
#include "tests/lib/load.h"
#include "wire/frame.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_AT_ONCE = 128, MAX_SAMPLES = 1000000 };

struct conn {
	struct load_conn varlink;
	struct frame_rx rx;
	uint32_t last; /* stream */
	size_t to_send[MAX_AT_ONCE];
	uint64_t began[MAX_AT_ONCE];
	uint32_t streams[MAX_AT_ONCE]; /* by lane; 0: none */
};

struct contestant {
	const char *name;
	bool frames;
	size_t n_conns, lanes; /* calls at a time on each */
	struct conn *conns;
	char *text; /* the call: a message, or CALL's body */
	size_t len;
	int memfd;
	uint64_t calls, ns;
	double *us;
	size_t n_us;
};

static size_t bytes;
static char *event;

static void send_all(int fd, const void *data, size_t n)
{
	for (const char *p = data; n > 0;) {
		ssize_t w = send(fd, p, n, MSG_NOSIGNAL);

		if (w < 0)
			load_die("sending");
		p += w;
		n -= (size_t)w;
	}
}

/* ---- Frames ---- */

static size_t put(char *to, enum frame_type type, uint32_t stream, const void *body, size_t len)
{
	frame_put_head((unsigned char *)to, type, stream, len);
	if (len > 0)
		memcpy(to + FRAME_HEAD, body, len);
	return FRAME_HEAD + len;
}

static void send_event(struct conn *c, size_t lane, size_t credit)
{
	const size_t n = c->to_send[lane] < credit ? c->to_send[lane] : credit;
	char head[FRAME_HEAD];

	if (n > 0) {
		(void)put(head, FRAME_DATA, c->streams[lane], NULL, 0);
		frame_put_u32((unsigned char *)head, (uint32_t)n);
		send_all(c->varlink.fd, head, sizeof head);
		send_all(c->varlink.fd, event + bytes - c->to_send[lane], n);
		c->to_send[lane] -= n;
	}
	if (c->to_send[lane] == 0)
		send_all(c->varlink.fd, head, put(head, FRAME_END, c->streams[lane], NULL, 0));
}

static void begin_stream(const struct contestant *k, struct conn *c, size_t lane)
{
	char small[4096];
	size_t n;

	c->streams[lane] = ++c->last;
	c->to_send[lane] = bytes;
	n = put(small, FRAME_CALL, c->last, k->text, k->len);
	if (bytes <= 2048) { /* with one system call */
		n += put(small + n, FRAME_DATA, c->last, event, bytes);
		n += put(small + n, FRAME_END, c->last, NULL, 0);
		send_all(c->varlink.fd, small, n);
		return;
	}
	send_all(c->varlink.fd, small, n);
	send_event(c, lane, FRAME_WINDOW);
}

static size_t lane_of(const struct contestant *k, const struct conn *c, uint32_t stream)
{
	for (size_t i = 0; i < k->lanes; i++)
		if (c->streams[i] == stream)
			return i;
	errno = EPROTO;
	load_die("a stream that was not opened");
}

/* The lane whose call has ended, or -1. */
static int on_frame(const struct contestant *k, struct conn *c, const struct frame *f)
{
	const size_t lane = f->stream ? lane_of(k, c, f->stream) : 0;
	char credit[FRAME_HEAD + 4];
	unsigned char n[4];

	if (f->type == FRAME_CREDIT && c->to_send[lane] > 0)
		send_event(c, lane, frame_get_u32(f->body));
	if (f->type == FRAME_DATA && f->begins && bytes > FRAME_WINDOW) {
		frame_put_u32(n, (uint32_t)(f->len + f->left));
		send_all(c->varlink.fd, credit, put(credit, FRAME_CREDIT, f->stream, n, sizeof n));
	}
	if (f->type == FRAME_ERROR || (f->type == FRAME_RESULT && !memmem(f->body, f->len, "\"success\"", 9))) {
		(void)fprintf(stderr, "bench: %s: %.*s\n", k->name, (int)f->len, f->body);
		exit(1);
	}
	return f->type == FRAME_RESULT ? (int)lane : -1;
}

/* ---- Both ---- */

static void begin(const struct contestant *k, struct conn *c, size_t lane)
{
	c->began[lane] = load_now_ns();
	if (k->frames)
		begin_stream(k, c, lane);
	else
		load_send(&c->varlink, k->text, k->len, k->memfd);
}

/* One of its calls has ended. True when another one has begun. */
static bool ended(struct contestant *k, struct conn *c, size_t lane, uint64_t end)
{
	const uint64_t now = load_now_ns();

	k->calls++;
	if (k->n_us < MAX_SAMPLES)
		k->us[k->n_us++] = (double)(now - c->began[lane]) / 1e3;
	if (now >= end)
		return false;
	begin(k, c, lane);
	return true;
}

/* Takes what has come; how many calls ended for good. */
static size_t take(struct contestant *k, struct conn *c, uint64_t end)
{
	size_t over = 0;
	struct frame f;
	ssize_t got, n;

	if (!k->frames) {
		load_take(&c->varlink, 0);
		if (c->varlink.ended && (load_is_error(&c->varlink) || !strstr(c->varlink.head, "\"success\""))) {
			(void)fprintf(stderr, "bench: %s: %.300s\n", k->name, c->varlink.head);
			exit(1);
		}
		return c->varlink.ended && !ended(k, c, 0, end);
	}
	got = recv(c->varlink.fd, load_chunk, sizeof load_chunk, 0);
	if (got <= 0)
		load_die("the answer did not come");
	for (ssize_t at = 0; at < got; at += n) {
		int lane;

		n = frame_take(&c->rx, load_chunk + at, (size_t)(got - at), &f);
		if (n < 0)
			load_die("no frame");
		lane = f.type == FRAME_NONE ? -1 : on_frame(k, c, &f);
		over += lane >= 0 && !ended(k, c, (size_t)lane, end);
	}
	return over;
}

static void turn(struct contestant *k, size_t ms)
{
	const int epoll = epoll_create1(EPOLL_CLOEXEC);
	const uint64_t start = load_now_ns(), end = start + ms * 1000000U;
	struct epoll_event some[64];
	size_t running = k->n_conns * k->lanes;

	for (size_t i = 0; i < k->n_conns; i++) {
		struct epoll_event ev = {.events = EPOLLIN, .data.ptr = &k->conns[i]};

		if (epoll_ctl(epoll, EPOLL_CTL_ADD, k->conns[i].varlink.fd, &ev) < 0)
			load_die("epoll");
		for (size_t lane = 0; lane < k->lanes; lane++)
			begin(k, &k->conns[i], lane);
	}
	while (running > 0) {
		const int n = epoll_wait(epoll, some, 64, 10000);

		if (n <= 0)
			load_die("no answer in 10 s");
		for (int i = 0; i < n; i++)
			running -= take(k, some[i].data.ptr, end);
	}
	k->ns += load_now_ns() - start;
	(void)close(epoll);
}

static void open_contestant(struct contestant *k, const char *name, const char *path, const char *function,
			    size_t at_once)
{
	static const char upgrade[] = "{\"method\":\"org.fsbox.Sandbox.Invoke\",\"upgrade\":true}";

	k->name = name;
	k->frames = strcmp(name, "frames") == 0 || strcmp(name, "streams") == 0;
	k->n_conns = strcmp(name, "streams") == 0 ? 1 : at_once;
	k->lanes = at_once / k->n_conns;
	k->conns = load_get(k->n_conns * sizeof *k->conns);
	k->us = load_get(MAX_SAMPLES * sizeof *k->us);
	k->memfd = -1;
	if (k->frames) {
		k->text = load_get(200);
		k->len = (size_t)snprintf(k->text, 200, "{\"function\":\"%s\"}", function);
	} else if (strcmp(name, "memfd") == 0) {
		k->memfd = memfd_create("event", MFD_CLOEXEC | MFD_ALLOW_SEALING);
		if (k->memfd < 0 || write(k->memfd, event, bytes) != (ssize_t)bytes ||
		    fcntl(k->memfd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK) < 0)
			load_die("memfd");
		k->text = load_message(&k->len, "Invoke", "\"function\":\"%s\",\"event\":{\"fd\":0},\"answerFd\":true",
				       function);
	} else {
		k->text = load_message(&k->len, "Invoke", "\"function\":\"%s\",\"event\":{\"text\":\"%s\"}", function,
				       event);
	}
	for (size_t i = 0; i < k->n_conns; i++) {
		struct conn *c = &k->conns[i];
		char byte = 'x';

		c->rx.from_daemon = true;
		c->varlink.fd = load_knock(path);
		if (k->frames)
			send_all(c->varlink.fd, upgrade, sizeof upgrade);
		while (k->frames && byte) /* the answer; HELLO comes with the first frames */
			if (recv(c->varlink.fd, &byte, 1, 0) != 1)
				load_die("upgrade");
	}
}

int main(int argc, char **argv)
{
	static const char *const names[] = {"messages", "memfd", "frames", "streams"};
	enum { N = 4 };
	struct contestant ks[N] = {0};
	size_t at_once;

	if (argc != 7) {
		(void)fputs("daemon_frames SOCKET FUNCTION BYTES AT_ONCE MS ROUNDS\n", stderr);
		return 2;
	}
	bytes = load_number(argv[3]);
	at_once = load_number(argv[4]);
	if (at_once < 1 || at_once > MAX_AT_ONCE)
		return 2;
	event = load_get(bytes + 1);
	memset(event, 'a', bytes);
	for (size_t i = 0; i < N; i++) {
		open_contestant(&ks[i], names[i], argv[1], argv[2], at_once);
		turn(&ks[i], 200); /* so that each has its cell, and every page its place */
		ks[i].calls = ks[i].ns = ks[i].n_us = 0;
	}
	for (size_t r = 0; r < load_number(argv[6]); r++)
		for (size_t i = 0; i < N; i++)
			turn(&ks[(i + r) % N], load_number(argv[5]));
	for (struct contestant *k = ks; k < ks + N; k++) {
		load_sort(k->us, k->n_us);
		(void)printf(
			"{\"name\":\"%s\",\"bytes\":%zu,\"atOnce\":%zu,\"perSecond\":%.0f,\"p50\":%.1f,\"p99\":%.1f}\n",
			k->name, bytes, at_once, (double)k->calls * 1e9 / (double)k->ns, load_part(k->us, k->n_us, 0.5),
			load_part(k->us, k->n_us, 0.99));
	}
	return 0;
}
