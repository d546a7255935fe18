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
