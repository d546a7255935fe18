/* Skeletons: small read-only trees of mount points, links and /etc files, made once and bound as every cell's root.
 * Their name comes from their content, so a finished one never changes and needs no lock. */
#include "rootfs/rootfs.h"

#include "base/fd.h"
#include "rootfs/tree.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

enum { COPY_MAX = 8 << 20 };

static int write_file(int dir, const char *path, const char *data, size_t len)
{
	AUTO_FD int fd = openat(dir, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	return fd < 0 ? -errno : fd_write_all(fd, data, len);
}

/* A host file that is absent or unreadable stays absent. */
static int copy_file(int dir, const char *path, const char *from)
{
	AUTO_FD int in = open(from, O_RDONLY | O_CLOEXEC);
	AUTO_FREE char *data = NULL;
	size_t len;
	int r;

	if (in < 0)
		return 0;
	r = fd_read_all(in, COPY_MAX, &data, &len);
	return r < 0 ? r : write_file(dir, path, data, len);
}

static int make_entry(int dir, const struct skel_entry *s)
{
	switch (s->kind) {
	case SKEL_DIR:
		return mkdirat(dir, s->path, 0755) < 0 ? -errno : 0;
	case SKEL_LINK:
		return symlinkat(s->text, dir, s->path) < 0 ? -errno : 0;
	case SKEL_TEXT:
		return write_file(dir, s->path, s->text, strlen(s->text));
	case SKEL_COPY:
		return copy_file(dir, s->path, s->text);
	}
	abort(); /* every kind is above */
}

/* umask must not narrow what uid 993 has to read. */
static mode_t open_umask(void)
{
	return umask(022);
}

static int make_in(int state, const char *tmp, const struct cell_plan *plan, struct err *e)
{
	AUTO_FD int dir = FD_NONE;

	if (mkdirat(state, tmp, 0755) < 0)
		return err_sys(e, errno, "making skeleton '%s'", tmp);
	dir = openat(state, tmp, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return err_sys(e, errno, "opening skeleton '%s'", tmp);
	for (size_t i = 0; i < plan->n_skel; i++) {
		int r = make_entry(dir, &plan->skel[i]);

		if (r < 0)
			return err_sys(e, r, "making '/%s' of the skeleton", plan->skel[i].path);
	}
	return 0;
}

int root_skeleton(const char *state_dir, const struct cell_plan *plan, struct err *e)
{
	AUTO_FD int state = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char tmp[64];
	int r;

	if (state < 0)
		return err_sys(e, errno, "opening '%s'", state_dir);
	if (faccessat(state, plan->skel_name, F_OK, 0) == 0)
		return 0;

	(void)snprintf(tmp, sizeof tmp, "making-%s", plan->id);
	mode_t old = open_umask();
	r = make_in(state, tmp, plan, e);
	(void)umask(old);
	if (r == 0 && renameat(state, tmp, state, plan->skel_name) < 0) {
		if (errno != EEXIST && errno != ENOTEMPTY) /* somebody else was first: theirs is equal */
			r = err_sys(e, errno, "finishing skeleton '%s/%s'", state_dir, plan->skel_name);
	} else if (r == 0) {
		return 0;
	}
	(void)!root_tree_remove(state, tmp);
	return r;
}

static int make_nodes(int dir)
{
	static const struct {
		const char *name;
		unsigned minor, major;
	} nodes[] = {
		{"null", 3, 1}, {"zero", 5, 1}, {"full", 7, 1}, {"random", 8, 1}, {"urandom", 9, 1}, {"tty", 0, 5},
	};
	static const struct skel_entry links[] = {
		{SKEL_LINK, "fd", "/proc/self/fd"},
		{SKEL_LINK, "stdin", "/proc/self/fd/0"},
		{SKEL_LINK, "stdout", "/proc/self/fd/1"},
		{SKEL_LINK, "stderr", "/proc/self/fd/2"},
		{SKEL_LINK, "shm", "/tmp"},
	};

	for (size_t i = 0; i < ARRAY_LEN(nodes); i++)
		if (mknodat(dir, nodes[i].name, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)) < 0)
			return -errno;
	for (size_t i = 0; i < ARRAY_LEN(links); i++) {
		int r = make_entry(dir, &links[i]);

		if (r < 0)
			return r;
	}
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
	(void)!root_tree_remove(state, tmp);
	return r;
}
