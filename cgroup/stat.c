/* Reading the kernel's accounts: parsers without side effects, and what is built on them. */
#include "cgroup/internal.h"

#include "base/clock.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>

/* Digits up to a line feed or the end. */
static bool digits(const char *s, uint64_t *ret)
{
	uint64_t v = 0;

	if (*s < '0' || *s > '9')
		return false;
	for (; *s >= '0' && *s <= '9'; s++)
		if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, (uint64_t)(*s - '0'), &v))
			return false;
	if (*s != '\n' && *s != '\0')
		return false;
	*ret = v;
	return true;
}

bool cg_parse_flat(const char *text, const char *key, uint64_t *ret)
{
	size_t len = strlen(key);

	for (const char *line = text; line;) {
		if (strncmp(line, key, len) == 0 && line[len] == ' ')
			return digits(line + len + 1, ret);
		line = strchr(line, '\n');
		if (line)
			line++;
	}
	return false;
}

bool cg_parse_value(const char *text, uint64_t *ret)
{
	if (strcmp(text, "max") == 0 || strcmp(text, "max\n") == 0) {
		*ret = UINT64_MAX;
		return true;
	}

	size_t len = strcspn(text, "\n");

	if (text[len] == '\n' && text[len + 1] != '\0')
		return false;
	return digits(text, ret);
}

/* One number of one file. @key NULL: the file is the number. A file that the kernel does not have leaves *ret alone when
 * @optional. */
struct number {
	unsigned h;
	const char *file, *key;
	bool optional;
};

static int read_number(const struct cgroup *cg, const struct number *n, uint64_t *ret, struct err *e)
{
	char text[4096]; /* the largest of these files, cpu.stat, has a few hundred bytes */
	ssize_t len = cg_read_at(cg_dirfd(cg, n->h), n->file, text, sizeof text);

	if (len == -ENOENT && n->optional)
		return 0;
	if (len < 0)
		return cg_fail(cg, n->h, n->file, (int)-len, "reading", e);
	if (n->key ? cg_parse_flat(text, n->key, ret) : cg_parse_value(text, ret))
		return 0;
	if (n->optional)
		return 0;
	return cg_fail(cg, n->h, n->file, EPROTO, n->key ? n->key : "number", e);
}

static int usage_v2(const struct cgroup *cg, struct cg_usage *u, uint64_t *pids, struct err *e)
{
	static const struct number current = {CG_H_V2, "memory.current", NULL, false};
	static const struct number peak = {CG_H_V2, "memory.peak", NULL, true};
	static const struct number oom = {CG_H_V2, "memory.events", "oom_kill", false};
	static const struct number cpu = {CG_H_V2, "cpu.stat", "usage_usec", false};
	static const struct number tasks = {CG_H_V2, "pids.current", NULL, false};
	static const struct number denied = {CG_H_V2, "pids.events", "max", false};
	int r = read_number(cg, &current, &u->memory_bytes, e);

	u->memory_peak_bytes = u->memory_bytes;
	r = r < 0 ? r : read_number(cg, &peak, &u->memory_peak_bytes, e);
	r = r < 0 ? r : read_number(cg, &oom, &u->oom_kills, e);
	r = r < 0 ? r : read_number(cg, &cpu, &u->cpu_us, e);
	r = r < 0 ? r : read_number(cg, &tasks, pids, e);
	return r < 0 ? r : read_number(cg, &denied, &u->pids_denied, e);
}

static int usage_v1(const struct cgroup *cg, struct cg_usage *u, uint64_t *pids, struct err *e)
{
	static const struct number current = {CG_V1_MEMORY, "memory.usage_in_bytes", NULL, false};
	static const struct number peak = {CG_V1_MEMORY, "memory.max_usage_in_bytes", NULL, false};
	static const struct number oom = {CG_V1_MEMORY, "memory.oom_control", "oom_kill", true}; /* since 4.13 */
	static const struct number cpu = {CG_H_V2, "cpu.stat", "usage_usec", true};
	static const struct number cpuacct = {CG_V1_CPU, "cpuacct.usage", NULL, true};
	static const struct number tasks = {CG_V1_PIDS, "pids.current", NULL, false};
	static const struct number denied = {CG_V1_PIDS, "pids.events", "max", true}; /* since 4.8 */
	uint64_t ns = 0;
	int r = read_number(cg, &current, &u->memory_bytes, e);

	r = r < 0 ? r : read_number(cg, &peak, &u->memory_peak_bytes, e);
	r = r < 0 ? r : read_number(cg, &oom, &u->oom_kills, e);
	if (r == 0 && fd_valid(cg->v2)) {
		r = read_number(cg, &cpu, &u->cpu_us, e);
	} else if (r == 0) {
		r = read_number(cg, &cpuacct, &ns, e);
		u->cpu_us = ns / 1000;
	}
	r = r < 0 ? r : read_number(cg, &tasks, pids, e);
	return r < 0 ? r : read_number(cg, &denied, &u->pids_denied, e);
}

int cg_usage(const struct cgroup *cg, struct cg_usage *ret, struct err *e)
{
	struct cg_usage u = {0};
	uint64_t pids = 0;
	int r;

	if (cg->mode == CG_NONE)
		return err_set(e, ERR_BUG, EBADF, "reading the usage of a cell without a cgroup");
	r = cg->mode == CG_V2 ? usage_v2(cg, &u, &pids, e) : usage_v1(cg, &u, &pids, e);
	if (r < 0)
		return r;
	u.pids = pids > UINT32_MAX ? UINT32_MAX : (uint32_t)pids;
	*ret = u;
	return 0;
}

/* The file that holds the peak; before Linux 5.19 v2 has none, and the present usage has to stand for it. Opened for
 * writing where that is possible: v2's peak can be set back from 6.12 on, for the descriptor that wrote. */
static int open_peak(const struct cgroup *cg)
{
	const bool v2 = cg->mode == CG_V2;
	const int dir = v2 ? cg->v2 : cg->v1[CG_V1_MEMORY];
	const char *file = v2 ? "memory.peak" : "memory.max_usage_in_bytes";
	int fd = openat(dir, file, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		fd = openat(dir, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 && errno == ENOENT && v2)
		fd = openat(dir, "memory.current", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? -errno : fd;
}

static int hold_peak(struct cgroup *cg, struct err *e)
{
	int r = fd_valid(cg->peak) ? 0 : open_peak(cg);

	if (r < 0)
		return err_sys(e, r, "opening the memory peak of cgroup '%s'", cg->name);
	if (!fd_valid(cg->peak))
		cg->peak = r;
	return 0;
}

static int read_peak(const struct cgroup *cg, uint64_t *ret_bytes, struct err *e)
{
	char text[32];
	ssize_t n = pread(cg->peak, text, sizeof text - 1, 0);

	if (n <= 0)
		return err_sys(e, n < 0 ? errno : EIO, "reading the memory peak of cgroup '%s'", cg->name);
	text[n] = '\0';
	return cg_parse_value(text, ret_bytes)
		       ? 0
		       : err_set(e, ERR_SYSTEM, EPROTO, "memory peak of cgroup '%s': '%s'", cg->name, text);
}

/* For a peak that cannot be set back: what is in use when somebody asks. */
static void sample(struct cgroup *cg)
{
	static const char file[] = "memory.current";
	char text[32];
	uint64_t now;

	if (cg_read_at(cg->v2, file, text, sizeof text) >= 0 && cg_parse_value(text, &now) && now > cg->peak_seen)
		cg->peak_seen = now;
}

int cg_restart_peak(struct cgroup *cg, struct err *e)
{
	int r = hold_peak(cg, e);

	if (r < 0)
		return r;
	cg->peak_base = cg->peak_seen = 0;
	if (pwrite(cg->peak, "0", 1, 0) == 1)
		return 0;
	r = read_peak(cg, &cg->peak_base, e);
	if (r == 0)
		sample(cg);
	return r;
}

int cg_peak(struct cgroup *cg, uint64_t *ret_bytes, struct err *e)
{
	uint64_t peak = 0;
	int r;

	if (cg->mode == CG_NONE)
		return err_set(e, ERR_BUG, EBADF, "reading the memory peak of a cell without a cgroup");
	r = hold_peak(cg, e);
	if (r == 0)
		r = read_peak(cg, &peak, e);
	if (r < 0)
		return r;
	if (cg->peak_base > 0 && peak <= cg->peak_base) {
		sample(cg);
		peak = cg->peak_seen;
	}
	*ret_bytes = peak;
	return 0;
}

void cg_pause_until(uint64_t ns_monotonic)
{
	struct timespec ts = {.tv_sec = (time_t)(ns_monotonic / NS_PER_S), .tv_nsec = (long)(ns_monotonic % NS_PER_S)};

	/* A signal may cut it short: every caller looks again and pauses again. */
	(void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
}

/* The kernel reports a change of cgroup.events as POLLPRI, relative to the last read through the same descriptor
 * (cgroup-v2.rst, "Basic Operations"), so reading before polling misses nothing. */
int cg_wait_event(int v2, const char *key, uint64_t want, uint64_t deadline_ns)
{
	AUTO_FD int fd = openat(v2, "cgroup.events", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	char text[256];

	if (fd < 0)
		return -errno;
	for (;;) {
		uint64_t value = 0, now;
		ssize_t n = pread(fd, text, sizeof text - 1, 0);

		if (n < 0)
			return -errno; /* ENODEV: the group is gone */
		text[n] = '\0';
		if (!cg_parse_flat(text, key, &value))
			return -EPROTO;
		if (value == want)
			return 0;

		now = clock_mono_ns();
		if (now >= deadline_ns)
			return -ETIMEDOUT;

		struct timespec left = {.tv_sec = (time_t)((deadline_ns - now) / NS_PER_S),
					.tv_nsec = (long)((deadline_ns - now) % NS_PER_S)};
		struct pollfd pfd = {.fd = fd, .events = POLLPRI};

		if (ppoll(&pfd, 1, &left, NULL) < 0 && errno != EINTR)
			return -errno;
	}
}
