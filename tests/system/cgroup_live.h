/* What the live tests of cgroup/ share: groups below "/fsbox-live-PID" on the hierarchies of this host, pure v2 or hybrid,
 * and children that do things in them. Needs root. Each program includes it once and ends with
 * the_parent_of_these_tests_is_empty_and_removed (which may be left out by a filter: then it goes at exit). */
#pragma once

#include "cgroup/internal.h"

#include "base/clock.h"
#include "base/mem.h"
#include "tests/lib/tap.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define MIB UINT64_C(1048576)

static struct cg_host host;
static char parent_path[64];
static struct cg_parent parent;
static pid_t owner; /* children that exit() clean up nothing */

/* The hierarchies' mount points, so that one loop looks at all of them. */
static inline size_t roots(const char **ret)
{
	size_t n = 0;

	if (host.v2_root[0])
		ret[n++] = host.v2_root;
	for (unsigned h = 0; host.mode == CG_HYBRID && h < CG_V1_COUNT; h++)
		ret[n++] = host.v1_root[h];
	return n;
}

/* In how many hierarchies the parent of these tests could not be removed. */
static inline unsigned remove_parent(void)
{
	const char *at[4];
	char path[600];
	unsigned left = 0;

	for (size_t i = roots(at); i-- > 0;) {
		(void)snprintf(path, sizeof path, "%s%s", at[i], parent_path);
		left += rmdir(path) < 0 && errno != ENOENT;
	}
	return left;
}

static void at_exit(void)
{
	if (getpid() == owner)
		(void)remove_parent();
}

/* False with a skip when there is no root; every test begins with it. */
static inline const char *setup(void)
{
	struct err e = {0};

	if (geteuid() != 0)
		return "needs root";
	if (parent.path[0] != '\0')
		return NULL;
	if (!CHECK_OK(cg_host_probe(&host, &e), &e))
		return "no host";
	(void)snprintf(parent_path, sizeof parent_path, "/fsbox-live-%d", (int)getpid());
	(void)CHECK_OK(cg_parent_find(&host, parent_path, &parent, &e), &e);
	owner = getpid();
	CHECK(atexit(at_exit) == 0);
	(void)signal(SIGPIPE, SIG_IGN);               /* a child that dies early is a failed check */
	CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0); /* pids.current counts zombies: their orphans are ours */
	tap_note("mode %s, %u CPUs, memsw %d", host.mode == CG_V2 ? "v2" : "hybrid", host.n_cpus, host.v1_memsw);
	return NULL;
}

#define SETUP()                             \
	do {                                \
		const char *why_ = setup(); \
		if (why_)                   \
			SKIP(why_);         \
	} while (0)

static inline const char *root_of(enum cg_v1 h)
{
	return host.mode == CG_V2 ? host.v2_root : host.v1_root[h];
}

/* In how many hierarchies the group exists. */
static inline unsigned count_groups(const char *name)
{
	const char *at[4];
	unsigned found = 0;
	char path[600];

	for (size_t i = roots(at); i-- > 0;) {
		(void)snprintf(path, sizeof path, "%s%s/%s", at[i], parent.path, name);
		found += access(path, F_OK) == 0;
	}
	return found;
}

static inline const char *read_in(enum cg_v1 h, const char *name, const char *file)
{
	static char text[4096];
	char path[600];

	(void)snprintf(path, sizeof path, "%s%s/%s/%s", root_of(h), parent.path, name, file);
	return fd_read_file_at(AT_FDCWD, path, text, sizeof text) < 0 ? "(unreadable)" : text;
}

static inline int write_path(const char *dir, const char *file, const char *text)
{
	AUTO_FD int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : fd_write_file_at(fd, file, text, strlen(text));
}

static inline struct cg_limits limits_of(uint64_t mib, uint32_t pids)
{
	return (struct cg_limits){mib * MIB, pids, cg_cpu_of_memory(mib * MIB, host.n_cpus), false};
}

static inline bool create(const char *name, uint64_t mib, uint32_t pids, struct cgroup *cg)
{
	struct cg_limits limits = limits_of(mib, pids);
	struct err e = {0};

	return CHECK_OK(cg_create(&host, &parent, name, &limits, cg, &e), &e);
}

/* A child born in the cgroup2 group, attached to the rest, that runs @work once all is in place. */
static inline pid_t spawn(const struct cgroup *cg, void (*work)(void))
{
	struct clone_args args = {.exit_signal = SIGCHLD};
	struct err e = {0};
	int go[2];
	char c;

	if (fd_valid(cg->v2)) {
		args.flags = CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)cg->v2;
	}
	CHECK(pipe2(go, O_CLOEXEC) == 0);

	pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
	if (pid == 0) {
		(void)close(go[1]);
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that dies leaves nobody */
		if (read(go[0], &c, 1) == 1)
			work();
		_exit(0);
	}
	(void)close(go[0]);
	CHECK(pid > 0);
	CHECK_OK(cg_attach_v1(cg, pid, &e), &e);
	CHECK(write(go[1], "x", 1) == 1);
	(void)close(go[1]);
	return pid;
}

static inline int reap(pid_t pid)
{
	int status = -1;

	while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
	}
	return status;
}

static inline void nap_ms(uint64_t ms)
{
	cg_pause_until(clock_mono_ns() + ms * NS_PER_MS);
}

static inline void work_sleep(void)
{
	for (;;)
		nap_ms(1000);
}

static inline void work_stubborn(void)
{
	sigset_t all;

	(void)sigfillset(&all);
	(void)sigprocmask(SIG_BLOCK, &all, NULL);
	if (fork() == 0 && setsid() > 0 && fork() != 0)
		_exit(0);
	work_sleep();
}

static inline void work_busy(void)
{
	for (volatile unsigned i = 0;; i++) {
	}
}

static inline void work_fork_bomb(void)
{
	(void)signal(SIGCHLD, SIG_IGN);
	for (;;)
		(void)!fork();
}

static inline void touch_mib(size_t mib)
{
	char *p = mmap(NULL, mib * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	for (size_t i = 0; p != MAP_FAILED && i < mib * MIB; i += 4096)
		p[i] = 1;
}

static inline void work_touch_64(void)
{
	touch_mib(64);
}

static inline void work_hold_64(void)
{
	touch_mib(64);
	work_sleep();
}

/* Waits for the orphans of a killed group, until nobody is left in it. */
static inline void reap_orphans(const struct cgroup *cg)
{
	struct cg_usage u = {0};
	struct err e = {0};

	for (int i = 0; i < slow(400); i++) {
		while (waitpid(-1, NULL, WNOHANG) > 0) {
		}
		if (cg_usage(cg, &u, &e) < 0 || u.pids == 0)
			break;
		nap_ms(5);
	}
	CHECK_EQ(u.pids, 0);
}

static inline struct cg_usage usage_of(const struct cgroup *cg)
{
	struct cg_usage u = {0};
	struct err e = {0};

	CHECK_OK(cg_usage(cg, &u, &e), &e);
	return u;
}

/* Kills, reaps what is ours, removes: the end of most tests. */
static inline void end_group(struct cgroup *cg, pid_t pid)
{
	struct err e = {0};
	char name[sizeof cg->name];

	memcpy(name, cg->name, sizeof name);
	CHECK_OK(cg_kill(cg, &e), &e);
	if (pid > 0)
		(void)reap(pid);

	int r = cg_remove(cg, &e);
	for (int i = 1; i < slow(1) && r == -EBUSY;
	     i++) { /* it waits two seconds, in which a slow machine does little */
		e = (struct err){0};
		r = cg_remove(cg, &e);
	}
	CHECK_OK(r, &e);
	CHECK_EQ(count_groups(name), 0);
}

static inline unsigned count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		(void)closedir(d);
	return n;
}
