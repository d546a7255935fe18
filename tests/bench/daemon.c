/* Warm calls of fsboxd beside their floor (tests/lib/load.h). Prints JSON, one object to a line; tests/bench/daemon.py
 * starts the daemons and makes tables of it.
 *
 *     daemon latency ROUNDS CALLS CONTESTANT...   in turns, CALLS each in every round: µs
 *     daemon rate MS ROUNDS CONTESTANT...         in turns, for MS each in every round: calls/s, and calls for each
 *                                                 second of CPU time of all who take part
 *
 * A contestant is NAME=floor,CONNS,OUT,BACK or NAME=invoke,CONNS,SOCKET,FUNCTION,BYTES or NAME=memfd,CONNS,...; behind the
 * last two ,PID+PID... whose CPU time counts. floor+4000, invoke+4000: with a pause of 4000 us before each call, in which
 * the cell is frozen (latency only). The floor is a ping over two Unix sockets: this process, a broker, a worker that
 * answers, with OUT bytes there and BACK bytes back. With one connection the broker reads and writes in turn; with more it
 * sleeps in epoll_wait(2), and each has a worker. */
#include "tests/lib/load.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_CONTESTANTS = 24, MAX_CONNS = 256, MAX_SAMPLES = 4000000, MAX_CLOCKS = 1024 };

struct contestant {
	const char *name, *kind;
	char *text; /* the message */
	size_t len, back;
	int memfd;
	useconds_t pause_us;
	size_t n_conns;
	struct load_conn *conns;
	clockid_t clocks[MAX_CLOCKS]; /* of its processes */
	size_t n_clocks;
	uint64_t calls, ns, cpu_ns;
	double *us;
	size_t n_us;
};

static struct contestant cs[MAX_CONTESTANTS];
static size_t n_cs;

/* ---- The floor's two processes ---- */

static void write_all(int fd, const char *data, size_t n)
{
	while (n > 0) {
		ssize_t w = write(fd, data, n);

		if (w < 0)
			_exit(0);
		data += w;
		n -= (size_t)w;
	}
}

/* Hands on @n bytes as they come. */
static void hand_on(int from, int to, size_t n)
{
	while (n > 0) {
		ssize_t r = read(from, load_chunk, n < LOAD_CHUNK ? n : LOAD_CHUNK);

		if (r <= 0)
			_exit(0);
		write_all(to, load_chunk, (size_t)r);
		n -= (size_t)r;
	}
}

static void worker(int fd, size_t out, size_t back)
{
	for (;;) {
		for (size_t n = out; n > 0;) {
			ssize_t r = read(fd, load_chunk, n < LOAD_CHUNK ? n : LOAD_CHUNK);

			if (r <= 0)
				_exit(0);
			n -= (size_t)r;
		}
		for (size_t n = back; n > 0;) {
			const size_t now = n < LOAD_CHUNK ? n : LOAD_CHUNK;

			write_all(fd, load_chunk, now);
			n -= now;
		}
	}
}

static void broker(const int *clients, const int *workers, size_t n, size_t out, size_t back)
{
	const int epoll = epoll_create1(0);
	struct epoll_event ev, some[64];

	while (n == 1) {
		hand_on(clients[0], workers[0], out);
		hand_on(workers[0], clients[0], back);
	}
	for (size_t i = 0; i < 2 * n; i++) {
		ev = (struct epoll_event){.events = EPOLLIN, .data.u64 = i};
		if (epoll_ctl(epoll, EPOLL_CTL_ADD, i < n ? clients[i] : workers[i - n], &ev) < 0)
			_exit(1);
	}
	for (;;) {
		const int got = epoll_wait(epoll, some, 64, -1);

		for (int k = 0; k < got; k++) {
			const size_t i = some[k].data.u64;

			if (i < n)
				hand_on(clients[i], workers[i], out);
			else
				hand_on(workers[i - n], clients[i - n], back);
		}
	}
}

static void count_cpu_of(struct contestant *c, pid_t pid)
{
	if (c->n_clocks == MAX_CLOCKS || clock_getcpuclockid(pid, &c->clocks[c->n_clocks]) != 0)
		load_die("the clock of a process");
	c->n_clocks++;
}

/* CPU time of all its processes and of this one. A process that is gone has used none. */
static uint64_t cpu_ns(const struct contestant *c)
{
	struct timespec t;
	uint64_t ns = 0;

	for (size_t i = 0; i <= c->n_clocks; i++)
		if (clock_gettime(i < c->n_clocks ? c->clocks[i] : CLOCK_PROCESS_CPUTIME_ID, &t) == 0)
			ns += (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
	return ns;
}

static pid_t child(struct contestant *c)
{
	pid_t pid = fork();

	if (pid < 0)
		load_die("fork");
	if (pid == 0) /* ends with this process in any case */
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	else
		count_cpu_of(c, pid);
	return pid;
}

static void start_floor(struct contestant *c)
{
	int clients[MAX_CONNS], workers[MAX_CONNS], mine[MAX_CONNS], pair[2];

	for (size_t i = 0; i < c->n_conns; i++) {
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
			load_die("socketpair");
		c->conns[i].fd = pair[0];
		clients[i] = pair[1];
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
			load_die("socketpair");
		workers[i] = pair[0];
		mine[i] = pair[1];
	}
	for (size_t i = 0; i < c->n_conns; i++)
		if (child(c) == 0)
			worker(mine[i], c->len, c->back);
	if (child(c) == 0)
		broker(clients, workers, c->n_conns, c->len, c->back);
	for (size_t i = 0; i < c->n_conns; i++) {
		(void)close(clients[i]);
		(void)close(workers[i]);
		(void)close(mine[i]);
	}
}

/* ---- Contestants ---- */

/* The event is a JSON text: "aaa…" with its quotes, BYTES in all. */
static void make_invoke(struct contestant *c, const char *function, size_t bytes, bool memfd)
{
	const int body = bytes > 2 ? (int)bytes - 2 : 0;
	char *as = load_get((size_t)body + 1);

	memset(as, 'a', (size_t)body);
	c->memfd = -1;
	if (!memfd) {
		c->text = load_message(&c->len, "Invoke", "\"function\":\"%s\",\"event\":{\"text\":\"\\\"%s\\\"\"}",
				       function, as);
	} else {
		c->text = load_message(&c->len, "Invoke", "\"function\":\"%s\",\"event\":{\"fd\":0},\"answerFd\":true",
				       function);
		c->memfd = memfd_create("event", MFD_CLOEXEC | MFD_ALLOW_SEALING);
		if (c->memfd < 0 || dprintf(c->memfd, "\"%s\"", as) < 0 ||
		    fcntl(c->memfd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK) < 0)
			load_die("memfd");
	}
	free(as);
}

static void begin(const struct contestant *c, struct load_conn *to)
{
	load_send(to, c->text, c->len, c->memfd);
}

/* A call of which we need the result: what else comes ends the benchmark. */
static void must_be_success(const struct contestant *c, const struct load_conn *from)
{
	if (c->kind[0] == 'f' || (!load_is_error(from) && strstr(from->head, "\"status\":\"success\"")))
		return;
	(void)fprintf(stderr, "bench: %s: %.300s\n", c->name, from->head);
	exit(1);
}

static void open_contestant(char *text)
{
	struct contestant *c = &cs[n_cs];
	char *word[6] = {0};
	size_t n = 0;

	if (n_cs++ == MAX_CONTESTANTS)
		load_die("too many contestants");
	c->name = strsep(&text, "=");
	while (n < 6 && text)
		word[n++] = strsep(&text, ",");
	if (n < 4) {
		errno = EINVAL;
		load_die(c->name);
	}
	c->kind = word[0];
	c->pause_us = strchr(c->kind, '+') ? (useconds_t)load_number(strchr(c->kind, '+') + 1) : 0;
	c->n_conns = load_number(word[1]);
	if (c->n_conns < 1 || c->n_conns > MAX_CONNS)
		load_die("connections");
	c->conns = load_get(c->n_conns * sizeof *c->conns);
	c->us = load_get(MAX_SAMPLES / MAX_CONTESTANTS * sizeof *c->us);
	if (c->kind[0] == 'f') {
		c->memfd = -1;
		c->len = load_number(word[2]);
		c->back = load_number(word[3]);
		c->text = load_get(c->len);
		start_floor(c);
		return;
	}
	make_invoke(c, word[3], word[4] ? load_number(word[4]) : 2, c->kind[0] == 'm');
	for (size_t i = 0; i < c->n_conns; i++)
		c->conns[i].fd = load_knock(word[2]);
	for (char *pid; word[5] && (pid = strsep(&word[5], "+"));)
		count_cpu_of(c, (pid_t)load_number(pid));
}

/* So that each has its cell, and every page its place. */
static void warm_up(struct contestant *c)
{
	for (int k = 0; k < 20; k++) {
		for (size_t i = 0; i < c->n_conns; i++)
			begin(c, &c->conns[i]);
		for (size_t i = 0; i < c->n_conns; i++) {
			load_wait(&c->conns[i], c->back);
			must_be_success(c, &c->conns[i]);
		}
	}
}

static void shuffle(size_t *order, size_t n)
{
	for (size_t i = n; i > 1; i--) {
		size_t k = 0;
		const size_t was = order[i - 1];

		if (getrandom(&k, sizeof k, 0) != sizeof k)
			load_die("getrandom");
		k %= i;

		order[i - 1] = order[k];
		order[k] = was;
	}
}

static void in_turns(size_t rounds, void (*turn)(struct contestant *c, size_t amount), size_t amount)
{
	size_t order[MAX_CONTESTANTS];

	for (size_t i = 0; i < n_cs; i++) {
		order[i] = i;
		warm_up(&cs[i]);
	}
	for (size_t r = 0; r < rounds; r++) {
		shuffle(order, n_cs);
		for (size_t i = 0; i < n_cs; i++)
			turn(&cs[order[i]], amount);
	}
}

static void latency_turn(struct contestant *c, size_t calls)
{
	for (size_t i = 0; i < calls && c->n_us < MAX_SAMPLES / MAX_CONTESTANTS; i++) {
		uint64_t start;

		if (c->pause_us > 0)
			(void)usleep(c->pause_us);
		start = load_now_ns();
		begin(c, &c->conns[0]);
		load_wait(&c->conns[0], c->back);
		c->us[c->n_us++] = (double)(load_now_ns() - start) / 1e3;
		must_be_success(c, &c->conns[0]);
	}
}

static int latency(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	for (int i = 2; i < argc; i++)
		open_contestant(argv[i]);
	in_turns(load_number(argv[0]), latency_turn, load_number(argv[1]));
	for (struct contestant *c = cs; c < cs + n_cs; c++) {
		load_sort(c->us, c->n_us);
		(void)printf(
			"{\"name\":\"%s\",\"calls\":%zu,\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,\"out\":%zu,\"back\":%zu}\n",
			c->name, c->n_us, load_part(c->us, c->n_us, 0.5), load_part(c->us, c->n_us, 0.9),
			load_part(c->us, c->n_us, 0.99), c->len, c->conns[0].got);
	}
	return 0;
}

static void rate_turn(struct contestant *c, size_t ms)
{
	const int epoll = epoll_create1(EPOLL_CLOEXEC);
	const uint64_t start = load_now_ns(), end = start + ms * 1000000U, cpu = cpu_ns(c);
	struct epoll_event some[64];
	size_t running = c->n_conns;

	for (size_t i = 0; i < c->n_conns; i++) {
		struct epoll_event ev = {.events = EPOLLIN, .data.ptr = &c->conns[i]};

		if (epoll_ctl(epoll, EPOLL_CTL_ADD, c->conns[i].fd, &ev) < 0)
			load_die("epoll");
		begin(c, &c->conns[i]);
	}
	while (running > 0) {
		const int n = epoll_wait(epoll, some, 64, 10000);

		if (n <= 0)
			load_die("no answer in 10 s");
		for (int k = 0; k < n; k++) {
			struct load_conn *from = some[k].data.ptr;

			load_take(from, c->back);
			if (!from->ended)
				continue;
			must_be_success(c, from);
			c->calls++;
			if (load_now_ns() < end)
				begin(c, from);
			else
				running--;
		}
	}
	c->ns += load_now_ns() - start;
	c->cpu_ns += cpu_ns(c) - cpu;
	(void)close(epoll);
}

static int rate(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	for (int i = 2; i < argc; i++)
		open_contestant(argv[i]);
	in_turns(load_number(argv[1]), rate_turn, load_number(argv[0]));
	for (struct contestant *c = cs; c < cs + n_cs; c++)
		(void)printf("{\"name\":\"%s\",\"calls\":%llu,\"perSecond\":%.0f,\"perCpuSecond\":%.0f}\n", c->name,
			     (unsigned long long)c->calls, (double)c->calls * 1e9 / (double)c->ns,
			     (double)c->calls * 1e9 / (double)c->cpu_ns);
	return 0;
}

int main(int argc, char **argv)
{
	int r = 2;

	if (argc > 1 && strcmp(argv[1], "latency") == 0)
		r = latency(argc - 2, argv + 2);
	else if (argc > 1 && strcmp(argv[1], "rate") == 0)
		r = rate(argc - 2, argv + 2);
	if (r == 2)
		(void)fputs("daemon latency|rate ...: see the top of its source\n", stderr);
	return r;
}
