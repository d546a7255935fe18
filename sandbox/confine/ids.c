/* User namespaces: who a cell's uids are outside (user_namespaces(7), "Defining user and group ID mappings"). */
#include "confine/confine.h"

#include "base/fd.h"
#include "base/mem.h"
#include "sys/sys.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>

/* The kernel takes a map by one write(2), of less than a page. */
static int write_map(int proc, const char *file, const struct id_map *map, size_t n_lines, pid_t pid, struct err *e)
{
	char text[4096] = "";
	size_t n = 0;
	int r;

	for (size_t i = 0; i < n_lines; i++) {
		int more = snprintf(text + n, sizeof text - n, "%u %u %u\n", map[i].inside, map[i].outside,
				    map[i].count);

		if (more < 0 || (size_t)more >= sizeof text - n)
			return err_set(e, ERR_LIMIT, E2BIG, "%zu lines of a map of ids", n_lines);
		n += (size_t)more;
	}
	r = fd_write_file_at(proc, file, text, n);
	if (r < 0 && n_lines > 0)
		return err_sys(e, r, "writing /proc/%d/%s '%u %u %u'", pid, file, map->inside, map->outside,
			       map->count);
	return r < 0 ? err_sys(e, r, "writing /proc/%d/%s", pid, file) : 0;
}

int ids_write_maps(pid_t pid, const struct id_map *uids, size_t n_uids, const struct id_map *gids, size_t n_gids,
		   bool deny_setgroups, struct err *e)
{
	char path[32];

	(void)snprintf(path, sizeof path, "/proc/%d", pid);

	AUTO_FD int proc = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (proc < 0)
		return err_sys(e, errno, "opening %s", path);
	if (deny_setgroups) {
		int r = fd_write_file_at(proc, "setgroups", "deny", 4);

		if (r < 0)
			return err_sys(e, r, "writing %s/setgroups", path);
	}

	int r = write_map(proc, "gid_map", gids, n_gids, pid, e);
	return r < 0 ? r : write_map(proc, "uid_map", uids, n_uids, pid, e);
}

/* A namespace begins with a process; this one only waits for its end. */
int ids_namespace(const struct id_map *uids, size_t n_uids, const struct id_map *gids, size_t n_gids, struct err *e)
{
	AUTO_FD int pidfd = FD_NONE;
	const struct clone_args args = {.flags = CLONE_NEWUSER | CLONE_PIDFD,
					.pidfd = (uintptr_t)&pidfd,
					.exit_signal = SIGCHLD};
	char path[48];
	siginfo_t ignored;
	int r, fd = FD_NONE;
	pid_t pid = sys_clone3(&args);

	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		for (;;)
			(void)pause();
	}
	if (pid < 0)
		return err_sys(e, pid, "making a user namespace");
	r = ids_write_maps(pid, uids, n_uids, gids, n_gids, false, e);
	if (r == 0) {
		(void)snprintf(path, sizeof path, "/proc/%d/ns/user", pid);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		r = fd < 0 ? err_sys(e, errno, "opening '%s'", path) : 0;
	}
	(void)!sys_pidfd_kill(pidfd, SIGKILL);
	(void)!sys_wait_exit(pidfd, true, &ignored);
	return r < 0 ? r : fd;
}

int ids_write(pid_t pid, const struct id_map *uid, const struct id_map *gid, bool deny_setgroups, struct err *e)
{
	return ids_write_maps(pid, uid, 1, gid, 1, deny_setgroups, e);
}

/* ---- By the set-user-id programs ---- */

enum { HELPER_MAX_LINES = 64 };

static int run_helper(const char *program, pid_t pid, const struct id_map *map, size_t n, struct err *e)
{
	static char words[3 * HELPER_MAX_LINES + 1][16];
	char path[64];
	char *argv[3 * HELPER_MAX_LINES + 3] = {path, words[0]};
	AUTO_FD int pidfd = FD_NONE;
	const struct clone_args args = {.flags = CLONE_PIDFD, .pidfd = (uintptr_t)&pidfd, .exit_signal = SIGCHLD};
	siginfo_t end = {0};
	int r;

	if (n > HELPER_MAX_LINES)
		return err_set(e, ERR_LIMIT, E2BIG, "%zu lines of a map of ids: %s gets at most %d", n, program,
			       HELPER_MAX_LINES);
	(void)snprintf(path, sizeof path, "/usr/bin/%s", program);
	(void)snprintf(words[0], sizeof words[0], "%d", pid);
	for (size_t i = 0; i < n; i++) {
		const uint32_t values[3] = {map[i].inside, map[i].outside, map[i].count};

		for (size_t j = 0; j < 3; j++) {
			(void)snprintf(words[1 + 3 * i + j], sizeof words[0], "%u", values[j]);
			argv[2 + 3 * i + j] = words[1 + 3 * i + j];
		}
	}
	r = sys_clone3(&args);
	if (r == 0) {
		(void)execve(path, argv, environ);
		_exit(127);
	}
	if (r < 0)
		return err_sys(e, r, "starting %s", program);
	r = sys_wait_exit(pidfd, true, &end);
	if (r < 0)
		return err_sys(e, r, "waiting for %s", program);
	if (end.si_code == CLD_EXITED && end.si_status == 0)
		return 0;
	r = err_set(e, ERR_DENIED, EPERM, "%s refused the map '%u %u %u'", path, map->inside, map->outside, map->count);
	return err_hint(e, r,
			end.si_status == 127 ? "install the Debian package uidmap" : "see /etc/subuid and /etc/subgid");
}

static bool is_single(const struct id_map *map, size_t n, uint32_t own)
{
	return n == 1 && map->count == 1 && map->outside == own;
}

int ids_write_helped(pid_t pid, const struct id_map *uids, size_t n_uids, const struct id_map *gids, size_t n_gids,
		     struct err *e)
{
	int r;

	if (is_single(uids, n_uids, geteuid()) && is_single(gids, n_gids, getegid()))
		return ids_write_maps(pid, uids, n_uids, gids, n_gids, true, e);
	r = run_helper("newuidmap", pid, uids, n_uids, e);
	return r == 0 ? run_helper("newgidmap", pid, gids, n_gids, e) : r;
}
