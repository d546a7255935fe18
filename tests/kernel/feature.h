/* What fsbox relies on in the kernel, one FEATURE each: tried by itself, away from the product, so that a tier on which the
 * product fails tells whether the kernel is the reason.
 *
 *     FEATURE(clone_into_cgroup, "CLONE_INTO_CGROUP", "a cell begins in its group", "is moved there before it runs")
 *     {
 *             return worked ? HAS : HAS_NOT;
 *     }
 *
 * Without a fallback (NULL) the feature is required, and not to have it is a failure. Each prints a row
 *
 *     # row<TAB>FEATURE<TAB>USED FOR<TAB>FALLBACK<TAB>yes|no|elsewhere<TAB>RELEASE
 *
 * from which tests/guest/kernel-table.sh makes docs/kernel-requirements.md. ELSEWHERE: what it is needed for goes
 * another way on this kind of host (cgroup2's files where the controllers are on v1, and the reverse). A feature is not
 * looked for by version or configuration but used, and its effect looked at. */
#pragma once

#include "tests/lib/tap.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "cgroup/cgroup.h"
#include "sys/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

enum has { HAS_NOT, HAS, ELSEWHERE, NO_ROOT };

static void feature_report(enum has has, const char *name, const char *used_for, const char *fallback)
{
	static const char *const words[] = {"no", "yes", "elsewhere"};
	struct utsname u = {0};

	if (has == NO_ROOT)
		SKIP("needs root");
	(void)uname(&u);
	printf("# row\t%s\t%s\t%s\t%s\t%s\n", name, used_for, fallback ? fallback : "required", words[has], u.release);
	if (!fallback && has == HAS_NOT)
		FAIL("this kernel lacks what fsbox cannot do without: %s", name);
}

#define FEATURE(id, name, used_for, fallback)                             \
	static enum has feature_##id(void);                               \
	TEST(id)                                                          \
	{                                                                 \
		feature_report(feature_##id(), name, used_for, fallback); \
	}                                                                 \
	static enum has feature_##id(void)

/* Runs @fn in a child: HAS when it ends with true. What it changes about the process ends with it. */
TAP_MAY_UNUSED static enum has in_child(bool (*fn)(void))
{
	int status = 0;

	(void)fflush(NULL);
	pid_t pid = fork();
	if (pid < 0)
		return HAS_NOT;
	if (pid == 0) {
		(void)alarm(20);
		_exit(fn() ? 0 : 1);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? HAS : HAS_NOT;
}

/* Writes @text to the file; true when all of it was taken. */
TAP_MAY_UNUSED static bool put_file(const char *path, const char *text)
{
	AUTO_FD int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
}

/* The file's text in a static buffer, "" when it cannot be read. */
TAP_MAY_UNUSED static const char *get_file(const char *path)
{
	static char text[8192];
	AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);

	text[n < 0 ? 0 : n] = '\0';
	return text;
}

TAP_MAY_UNUSED static void nap_ms(unsigned ms)
{
	struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * NS_PER_MS};

	while (nanosleep(&ts, &ts) < 0 && errno == EINTR)
		;
}

/* A child in the new namespaces @flags whose ids @inside are mapped to ours by us, as a cell's first process is made; it
 * runs @fn once the maps are there. */
TAP_MAY_UNUSED static enum has in_user_namespace(uint64_t flags, bool (*fn)(void))
{
	struct clone_args args = {.flags = CLONE_NEWUSER | flags, .exit_signal = SIGCHLD};
	int go[2], status = 0;
	char path[64], map[64];

	if (pipe2(go, O_CLOEXEC) < 0)
		return HAS_NOT;
	(void)fflush(NULL);
	pid_t pid = sys_clone3(&args);
	if (pid == 0) {
		char c;

		(void)close(go[1]);
		(void)alarm(20);
		_exit(read(go[0], &c, 1) == 1 && fn() ? 0 : 1);
	}
	(void)close(go[0]);
	if (pid > 0) {
		(void)snprintf(path, sizeof path, "/proc/%d/setgroups", pid);
		(void)put_file(path, "deny");
		(void)snprintf(path, sizeof path, "/proc/%d/gid_map", pid);
		(void)snprintf(map, sizeof map, "990 %u 1", getegid());
		bool mapped = put_file(path, map);
		(void)snprintf(path, sizeof path, "/proc/%d/uid_map", pid);
		(void)snprintf(map, sizeof map, "993 %u 1", geteuid());
		if (mapped && put_file(path, map))
			(void)!write(go[1], "", 1);
	}
	(void)close(go[1]);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return HAS_NOT;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? HAS : HAS_NOT;
}
