/* User namespaces: who a cell's uids are outside (user_namespaces(7), "Defining user and group ID mappings"). */
#include "confine/confine.h"

#include "base/fd.h"
#include "base/mem.h"

#include <fcntl.h>
#include <stdio.h>

static int write_map(int proc, const char *file, const struct id_map *map, pid_t pid, struct err *e)
{
	char line[48];
	int n = snprintf(line, sizeof line, "%u %u %u\n", map->inside, map->outside, map->count);
	int r = fd_write_file_at(proc, file, line, (size_t)n);

	if (r < 0)
		return err_sys(e, r, "writing /proc/%d/%s '%u %u %u'", pid, file, map->inside, map->outside,
			       map->count);
	return 0;
}

int ids_write(pid_t pid, const struct id_map *uid, const struct id_map *gid, bool deny_setgroups, struct err *e)
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

	int r = write_map(proc, "gid_map", gid, pid, e);
	return r < 0 ? r : write_map(proc, "uid_map", uid, pid, e);
}
