/* The device nodes that every cell of a privileged host shares: one directory, bound as /dev. */
#include "rootfs/rootfs.h"

#include "base/fd.h"
#include "base/removal.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static int make_nodes(int dir)
{
	static const struct {
		const char *name;
		unsigned minor, major;
	} nodes[] = {
		{"null", 3, 1}, {"zero", 5, 1}, {"full", 7, 1}, {"random", 8, 1}, {"urandom", 9, 1}, {"tty", 0, 5},
	};
	static const struct {
		const char *name, *to;
	} links[] = {
		{"fd", "/proc/self/fd"},
		{"stdin", "/proc/self/fd/0"},
		{"stdout", "/proc/self/fd/1"},
		{"stderr", "/proc/self/fd/2"},
		{"shm", "/tmp"},
	};

	for (size_t i = 0; i < ARRAY_LEN(nodes); i++)
		if (mknodat(dir, nodes[i].name, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)) < 0)
			return -errno;
	for (size_t i = 0; i < ARRAY_LEN(links); i++)
		if (symlinkat(links[i].to, dir, links[i].name) < 0)
			return -errno;
	return 0;
}

int root_dev_dir(const char *state_dir)
{
	AUTO_FD int state = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO_FD int dir = FD_NONE;
	char tmp[64];
	int r;

	if (state < 0)
		return -errno;
	if (faccessat(state, "dev", F_OK, 0) == 0)
		return 0;
	(void)snprintf(tmp, sizeof tmp, "making-dev-%d", getpid());
	mode_t old = umask(0);
	r = mkdirat(state, tmp, 0755) < 0 ? -errno : 0;
	if (r == 0)
		dir = openat(state, tmp, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r == 0)
		r = dir < 0 ? -errno : make_nodes(dir);
	(void)umask(old);
	if (r == 0 && renameat(state, tmp, state, "dev") < 0 && errno != EEXIST && errno != ENOTEMPTY)
		r = -errno;
	else if (r == 0 && faccessat(state, tmp, F_OK, 0) < 0)
		return 0;
	(void)!tree_remove(state, tmp);
	return r;
}
