/* Cold starts of fsboxd's cells, and calls beyond what it can take (tests/lib/load.h). Prints JSON;
 * tests/bench/daemon.py starts the daemons and makes tables of it.
 *
 *     daemon_starts cold SOCKET FUNCTION CONNS MS   each connection: Acquire, Release without reuse, again and again
 *     daemon_starts burst SOCKET FUNCTION N         N connections that Acquire at once
 *     daemon_starts offer SOCKET FUNCTION CONNS MS PER_S EVENT
 *                                                   so many calls a second, whatever becomes of those before; PER_S 0: one
 *                                                   after the other */
#include "tests/lib/load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum { MAX_SAMPLES = 1000000 };

static double us[MAX_SAMPLES];
static size_t n_us;

static void keep(double x)
{
	if (n_us < MAX_SAMPLES)
		us[n_us++] = x;
}

static double since_us(uint64_t ns)
{
	return (double)(load_now_ns() - ns) / 1e3;
}

static struct load_conn *open_conns(const char *path, size_t n, int epoll)
{
	struct load_conn *conns = load_get(n * sizeof *conns);

	for (size_t i = 0; i < n; i++) {
		struct epoll_event ev = {.events = EPOLLIN, .data.ptr = &conns[i]};

		conns[i].fd = load_knock(path);
		if (epoll_ctl(epoll, EPOLL_CTL_ADD, conns[i].fd, &ev) < 0)
			load_die("epoll");
	}
	return conns;
}

/* Those whose answers have come: reads what is there, waits at most @ns for the first. */
static size_t wait_some(int epoll, struct load_conn **ret, size_t max, uint64_t ns)
{
	struct epoll_event some[64];
	const struct timespec ts = {(time_t)(ns / 1000000000U), (long)(ns % 1000000000U)};
	const int n = epoll_pwait2(epoll, some, (int)(max < 64 ? max : 64), &ts, NULL);
	size_t ended = 0;

	for (int i = 0; i < n; i++) {
		struct load_conn *c = some[i].data.ptr;

		load_take(c, 0);
		if (c->ended)
			ret[ended++] = c;
	}
	return ended;
}

static void print_times(const char *name, double seconds)
{
	load_sort(us, n_us);
	(void)printf("{\"name\":\"%s\",\"n\":%zu,\"perSecond\":%.1f,\"p50\":%.1f,\"p99\":%.1f,\"max\":%.1f", name, n_us,
		     (double)n_us / seconds, load_part(us, n_us, 0.5), load_part(us, n_us, 0.99),
		     load_part(us, n_us, 1));
}

/* ---- Leases ---- */

static void release(struct load_conn *c)
{
	char lease[64], text[256];
	int n;

	load_member(c, "\"lease\":\"", lease, sizeof lease);
	n = snprintf(text, sizeof text,
		     "{\"method\":\"org.fsbox.Sandbox.Release\",\"parameters\":{\"lease\":\"%s\",\"reuse\":false}}",
		     lease);
	c->open = false;
	load_send(c, text, (size_t)n + 1, -1);
}

static int cold(char **argv)
{
	const size_t n_conns = load_number(argv[2]);
	const uint64_t start = load_now_ns(), end = start + load_number(argv[3]) * 1000000U;
	const int epoll = epoll_create1(EPOLL_CLOEXEC);
	struct load_conn *conns = open_conns(argv[0], n_conns, epoll), *ended[64];
	size_t len, running = n_conns, busy = 0;
	char *text = load_message(&len, "Acquire", "\"function\":\"%s\"", argv[1]);

	for (size_t i = 0; i < n_conns; i++) {
		conns[i].open = true;
		conns[i].due_ns = load_now_ns();
		load_send(&conns[i], text, len, -1);
	}
	while (running > 0) {
		const size_t n = wait_some(epoll, ended, 64, 10000000000U);

		if (n == 0)
			load_die("no cell in 10 s");
		for (size_t i = 0; i < n; i++) {
			struct load_conn *c = ended[i];

			if (c->open && !load_is_error(c)) {
				keep(since_us(c->due_ns));
				release(c);
				continue;
			}
			busy += c->open; /* the daemon's room is full for the moment: once more */
			if (load_now_ns() >= end) {
				running--;
				continue;
			}
			c->open = true;
			c->due_ns = load_now_ns();
			load_send(c, text, len, -1);
		}
	}
	print_times("cold", since_us(start) / 1e6);
	(void)printf(",\"refused\":%zu}\n", busy);
	return 0;
}

static int burst(char **argv)
{
	const size_t n_conns = load_number(argv[2]);
	const int epoll = epoll_create1(EPOLL_CLOEXEC);
	struct load_conn *conns = open_conns(argv[0], n_conns, epoll), *ended[64];
	size_t len, left = n_conns, refused = 0;
	char *text = load_message(&len, "Acquire", "\"function\":\"%s\"", argv[1]);
	const uint64_t start = load_now_ns();
	double seconds;

	for (size_t i = 0; i < n_conns; i++)
		load_send(&conns[i], text, len, -1);
	while (left > 0) {
		const size_t n = wait_some(epoll, ended, 64, 10000000000U);

		if (n == 0)
			load_die("no cell in 10 s");
		for (size_t i = 0; i < n; i++)
			if (load_is_error(ended[i]))
				refused++;
			else
				keep(since_us(start));
		left -= n;
	}
	seconds = since_us(start) / 1e6;
	for (size_t i = 0; i < n_conns; i++) {
		if (load_is_error(&conns[i]))
			continue;
		release(&conns[i]);
		load_wait(&conns[i], 0);
	}
	print_times("burst", seconds);
	(void)printf(",\"refused\":%zu}\n", refused);
	return 0;
}

/* ---- More than it can take ---- */

struct offer {
	size_t refused, unsent, failed;
};

static void take_end(struct offer *o, struct load_conn *c)
{
	c->open = false;
	if (load_is_error(c) && strstr(c->head, ".Busy\""))
		o->refused++;
	else if (load_is_error(c) || !strstr(c->head, "\"status\":\"success\""))
		o->failed++;
	else
		keep(since_us(c->due_ns));
}

static struct load_conn *idle_one(struct load_conn *conns, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!conns[i].open)
			return &conns[i];
	return NULL;
}

static int offer(char **argv)
{
	const size_t n_conns = load_number(argv[2]);
	const uint64_t start = load_now_ns(), end = start + load_number(argv[3]) * 1000000U;
	const double per_s = strtod(argv[4], NULL);
	const int epoll = epoll_create1(EPOLL_CLOEXEC);
	struct load_conn *conns = open_conns(argv[0], n_conns, epoll), *ended[64];
	struct offer o = {0};
	size_t len, sent = 0, open = 0;
	char *text = load_message(&len, "Invoke", "\"function\":\"%s\",\"event\":{\"text\":\"%s\"}", argv[1], argv[5]);

	for (uint64_t now = start; now < end || open > 0; now = load_now_ns()) {
		/* Due are those of a clock, not those that follow an answer: who waits for the daemon would spare it. */
		uint64_t next = start + (uint64_t)((double)sent * 1e9 / (per_s > 0 ? per_s : 1));
		struct load_conn *c = idle_one(conns, n_conns);

		if (per_s <= 0)
			next = now;
		if (now < end && next <= now && (c || per_s > 0)) {
			sent++;
			if (!c) {
				o.unsent++;
				continue;
			}
			c->open = true;
			c->due_ns = next;
			open++;
			load_send(c, text, len, -1);
			continue;
		}
		const size_t n = wait_some(epoll, ended, 64, now < end && next > now ? next - now : 100000000U);

		for (size_t i = 0; i < n; i++)
			take_end(&o, ended[i]);
		open -= n;
	}
	print_times("offer", since_us(start) / 1e6);
	(void)printf(",\"offered\":%zu,\"refused\":%zu,\"unsent\":%zu,\"failed\":%zu}\n", sent, o.refused, o.unsent,
		     o.failed);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 6 && strcmp(argv[1], "cold") == 0)
		return cold(argv + 2);
	if (argc == 5 && strcmp(argv[1], "burst") == 0)
		return burst(argv + 2);
	if (argc == 8 && strcmp(argv[1], "offer") == 0)
		return offer(argv + 2);
	(void)fputs("daemon_starts cold|burst|offer ...: see the top of its source\n", stderr);
	return 2;
}
