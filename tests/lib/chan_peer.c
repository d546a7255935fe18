#include "tests/lib/chan_peer.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { FIRST_FREE_FD = 100, NOBODY = 65534, FAILED_BEFORE_EXEC = 199 };

static int64_t now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * INT64_C(1000) + ts.tv_nsec / 1000000;
}

const char *chan_peer_built(const char *name)
{
	static char paths[4][4096 + 256];
	static unsigned next;
	char *path = paths[next++ % 4];
	ssize_t len = readlink("/proc/self/exe", path, 4096);

	for (int up = 0; up < 3; up++) {
		while (len > 0 && path[--len] != '/')
			;
	}
	(void)snprintf(path + (len > 0 ? len : 0), 256, "/%s", name);
	return path;
}

/* Runs in the child. @ends: what becomes 0 to 4. */
static void become(unsigned flags, const int ends[5], const char *const *argv, const char *const *envp)
{
	static char *none[] = {NULL};
	struct rlimit no_core = {0, 0};
	char **a, **e;
	sigset_t set;
	int high[5];

	for (int i = 0; i < 5; i++) {
		high[i] = fcntl(ends[i], F_DUPFD_CLOEXEC, FIRST_FREE_FD);
		if (high[i] < 0)
			_exit(FAILED_BEFORE_EXEC);
	}
	for (int i = 0; i < 5; i++) {
		if (dup2(high[i], i) < 0)
			_exit(FAILED_BEFORE_EXEC);
	}
	(void)close_range(5, ~0U, 0); /* what this test itself was started with */
	(void)setrlimit(RLIMIT_CORE, &no_core);
	(void)sigemptyset(&set);
	(void)sigprocmask(SIG_SETMASK, &set, NULL);
	if (flags & CHAN_PEER_PROC) {
		if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0 ||
		    setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
		    setresuid(NOBODY, NOBODY, NOBODY) < 0)
			_exit(FAILED_BEFORE_EXEC);
	}
	memcpy(&a, &argv, sizeof a); /* execve(2) does not write to them */
	memcpy(&e, &envp, sizeof e);
	(void)execve(argv[0], a, e ? e : none);
	_exit(FAILED_BEFORE_EXEC);
}

static unsigned long clone_flags(unsigned flags)
{
	unsigned long f = SIGCHLD;

	if (flags & CHAN_PEER_PID_NS)
		f |= CLONE_NEWPID | (geteuid() == 0 ? 0 : CLONE_NEWUSER);
	if (flags & CHAN_PEER_PROC)
		f |= CLONE_NEWNS;
	return f;
}

int chan_peer_start(struct chan_peer *p, unsigned flags, const char *const *argv, const char *const *envp)
{
	int in[2] = {-1, -1}, out[2] = {-1, -1}, log[2] = {-1, -1}, null;
	int r = 0;

	*p = (struct chan_peer){.pid = -1, .in = -1, .out = -1, .log = -1};
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0 || pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0 || pipe2(log, O_CLOEXEC) < 0) {
		r = -errno;
	} else {
		p->pid = (pid_t)syscall(SYS_clone, clone_flags(flags), NULL, NULL, NULL, NULL);
		if (p->pid == 0)
			become(flags, (int[5]){null, log[1], log[1], in[0], out[1]}, argv, envp);
		r = p->pid < 0 ? -errno : 0;
	}
	(void)close(null);
	(void)close(in[0]);
	(void)close(out[1]);
	(void)close(log[1]);
	p->in = in[1];
	p->out = out[0];
	p->log = log[0];
	(void)fcntl(p->log, F_SETFL, O_NONBLOCK);
	if (r < 0)
		chan_peer_done(p);
	return r;
}

int chan_peer_send(struct chan_peer *p, const void *data, size_t len)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN}, before;
	const uint8_t *b = data;
	int r = 0;

	(void)sigaction(SIGPIPE, &ignore, &before);
	while (len > 0 && r == 0) {
		ssize_t n = write(p->in, b, len);

		if (n < 0 && errno != EINTR)
			r = -errno;
		if (n > 0) {
			b += n;
			len -= (size_t)n;
		}
	}
	(void)sigaction(SIGPIPE, &before, NULL);
	return r;
}

uint8_t *chan_peer_make_call(uint64_t number, const char *id, const char *trace, int64_t remaining_ms,
			     const void *event, size_t len, size_t *ret_len)
{
	struct chan_call c = {
		.deadline_ms = (int64_t)time(NULL) * 1000 + remaining_ms,
		.remaining_ns = (uint64_t)remaining_ms * 1000000,
		.id_len = (uint16_t)strlen(id),
		.trace_len = (uint16_t)strlen(trace),
		.event_len = (uint32_t)len,
	};
	struct chan_head h = {.len = (uint32_t)(sizeof c + c.id_len + c.trace_len + len),
			      .type = CHAN_CALL,
			      .call = number};
	uint8_t *frame = malloc(sizeof h + h.len), *w = frame;

	if (!frame)
		abort();
	w = (uint8_t *)mempcpy(w, &h, sizeof h);
	w = (uint8_t *)mempcpy(w, &c, sizeof c);
	w = (uint8_t *)mempcpy(w, id, c.id_len);
	w = (uint8_t *)mempcpy(w, trace, c.trace_len);
	if (len)
		memcpy(w, event, len);
	*ret_len = sizeof h + h.len;
	return frame;
}

int chan_peer_call(struct chan_peer *p, uint64_t number, const void *event, size_t len)
{
	size_t n;
	uint8_t *frame = chan_peer_make_call(number, "11111111-2222-4333-8444-555555555555", "", 3000, event, len, &n);
	int r = chan_peer_send(p, frame, n);

	free(frame);
	return r;
}

void chan_peer_hang_up(struct chan_peer *p)
{
	if (p->in >= 0)
		(void)close(p->in);
	p->in = -1;
}

/* Reads what there is, at least one byte. 1, 0 at end of file, -errno. */
static int more(struct chan_peer *p)
{
	struct pollfd ready = {.fd = p->out, .events = POLLIN};
	ssize_t n;

	if (p->cap - p->len < 65536) {
		p->cap = p->cap * 2 + 131072;
		p->buf = realloc(p->buf, p->cap);
		if (!p->buf)
			abort();
	}
	if (poll(&ready, 1, CHAN_PEER_WAIT_MS) <= 0)
		return -ETIMEDOUT;
	n = read(p->out, p->buf + p->len, p->cap - p->len);
	if (n < 0)
		return -errno;
	p->last_read = (size_t)n;
	p->len += (size_t)n;
	return n > 0;
}

int chan_peer_next(struct chan_peer *p, struct chan_peer_frame *ret_frame)
{
	struct chan_head h = {0};
	int r;

	if (p->at)
		memmove(p->buf, p->buf + p->at, p->len - p->at);
	p->len -= p->at;
	p->at = 0;
	while (p->len < sizeof h) {
		r = more(p);
		if (r <= 0)
			return r == 0 && p->len > 0 ? -EPROTO : r;
	}
	r = chan_head_parse(p->buf, CHAN_HOST, &h);
	if (r < 0)
		return r;
	while (p->len < sizeof h + h.len) {
		r = more(p);
		if (r <= 0)
			return r == 0 ? -EPROTO : r;
	}
	p->at = sizeof h + h.len;
	*ret_frame = (struct chan_peer_frame){.head = h, .body = p->buf + sizeof h};
	return 1;
}

bool chan_peer_exit(struct chan_peer *p, struct chan_exit *ret_exit, size_t *ret_rest)
{
	int r;

	while ((r = more(p)) > 0)
		;
	*ret_rest = p->len - p->at;
	if (r < 0 || *ret_rest < CHAN_EXIT_BYTES)
		return false;
	if (!chan_exit_parse(p->buf + p->len - CHAN_EXIT_BYTES, ret_exit))
		return false;
	*ret_rest -= CHAN_EXIT_BYTES;
	return true;
}

const char *chan_peer_log(struct chan_peer *p, const char *until)
{
	int64_t end = now_ms() + (until ? CHAN_PEER_WAIT_MS : 0);

	for (;;) {
		struct pollfd ready = {.fd = p->log, .events = POLLIN};
		char chunk[4096];
		ssize_t n = read(p->log, chunk, sizeof chunk);

		if (n > 0) {
			p->text = realloc(p->text, p->text_len + (size_t)n + 1);
			if (!p->text)
				abort();
			memcpy(p->text + p->text_len, chunk, (size_t)n);
			p->text_len += (size_t)n;
			p->text[p->text_len] = '\0';
			continue;
		}
		if (n == 0 || !until || (p->text && strstr(p->text, until)) || now_ms() >= end)
			return p->text ? p->text : "";
		(void)poll(&ready, 1, 100);
	}
}

int chan_peer_wait(struct chan_peer *p)
{
	int64_t end = now_ms() + CHAN_PEER_WAIT_MS;
	int status = -1;

	while (p->pid > 0) {
		pid_t r = waitpid(p->pid, &status, WNOHANG);

		if (r == p->pid || r < 0) {
			p->pid = -1;
			return r < 0 ? -1 : status;
		}
		if (now_ms() >= end) {
			(void)kill(p->pid, SIGKILL);
			(void)waitpid(p->pid, NULL, 0);
			p->pid = -1;
			return -1;
		}
		(void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
	return status;
}

void chan_peer_done(struct chan_peer *p)
{
	if (p->pid > 0) {
		(void)kill(p->pid, SIGKILL);
		(void)waitpid(p->pid, NULL, 0);
	}
	chan_peer_hang_up(p);
	if (p->out >= 0)
		(void)close(p->out);
	if (p->log >= 0)
		(void)close(p->log);
	free(p->buf);
	free(p->text);
	*p = (struct chan_peer){.pid = -1, .in = -1, .out = -1, .log = -1};
}
