#include "rootfs/rootfs.h"

#include "base/fd.h"
#include "sys/sys.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>

static int make_tree(const struct plan_mount *m, int *ret_fd)
{
	AUTO_FD int fd = sys_open_tree(AT_FDCWD, m->source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
	int r;

	if (fd < 0)
		return fd;
	r = sys_mount_attr(fd, m->set, m->clear, true);
	if (r < 0)
		return r;
	*ret_fd = take_fd(&fd);
	return 0;
}

/* A number as text without stdio: this also runs after clone3. @buf has room for 21 bytes. */
static const char *decimal(uint64_t v, char *buf)
{
	char *p = buf + 20;

	*p = '\0';
	do
		*--p = (char)('0' + v % 10);
	while (v /= 10);
	return p;
}

static int set_number(int fs, const char *key, uint64_t v)
{
	char buf[21];

	return sys_fsconfig_string(fs, key, decimal(v, buf));
}

/* One inode for each 16 KiB, so that the memory of inodes and names, which no size= bounds, stays in proportion. */
static int configure_tmpfs(int fs, uint64_t size)
{
	uint64_t inodes = size / 16384;
	int r = set_number(fs, "size", size);

	if (r == 0)
		r = set_number(fs, "nr_inodes", inodes < 1024 ? 1024 : inodes);
	return r == 0 ? sys_fsconfig_string(fs, "mode", "1777") : r;
}

/* Each layer by a descriptor: the option takes 255 bytes (fsconfig(2)), and names may hold what it takes for itself. Linux
 * 6.1 opens the names when the file system is created, newer kernels when they are given: the descriptors live for both. */
static int create_overlay(int fs, const struct plan_mount *m)
{
	char option[SPEC_MAX_LAYERS * 32] = "", digits[21], *end = option;
	int fds[SPEC_MAX_LAYERS], n = 0, r = 0;

	for (; n < SPEC_MAX_LAYERS && m->lower[n]; n++) {
		fds[n] = sys_openat(AT_FDCWD, m->lower[n], O_PATH | O_DIRECTORY, 0);
		if (fds[n] < 0) {
			r = fds[n];
			break;
		}
		if (n > 0)
			*end++ = ':';
		end = stpcpy(stpcpy(end, "/proc/self/fd/"), decimal((uint64_t)fds[n], digits));
	}
	if (r == 0)
		r = sys_fsconfig_string(fs, "lowerdir", option);
	if (r == 0)
		r = sys_fsconfig_create(fs);
	while (n > 0)
		fd_closep(&fds[--n]);
	return r;
}

/* Of the cell's root, which the function is not; where only one id is mapped it is the function's own, and only what the
 * mount forbids keeps it from writing. */
static int configure_own(int fs, const struct plan_mount *m)
{
	int r = set_number(fs, "size", m->size);

	if (r == 0)
		r = set_number(fs, "nr_inodes", 128);
	return r == 0 ? sys_fsconfig_string(fs, "mode", "0755") : r;
}

static int fill_own(int mount_fd, const struct plan_mount *m)
{
	for (size_t i = 0; i < ARRAY_LEN(m->dirs) && m->dirs[i]; i++)
		if (mkdirat(mount_fd, m->dirs[i], 0755) < 0)
			return -errno;
	return 0;
}

static int make_new(const char *type, const struct plan_mount *m, int *ret_fd)
{
	AUTO_FD int fs = sys_fsopen(type);
	int r = 0;

	if (fs < 0)
		return fs;
	if (m->kind == MOUNT_TMPFS)
		r = configure_tmpfs(fs, m->size);
	if (m->kind == MOUNT_OWN)
		r = configure_own(fs, m);
	if (r == 0)
		r = m->kind == MOUNT_OVERLAY ? create_overlay(fs, m) : sys_fsconfig_create(fs);
	if (r == 0)
		r = sys_fsmount(fs, m->set);
	if (r < 0)
		return r;

	AUTO_FD int fd = r;
	r = m->kind == MOUNT_OWN ? fill_own(fd, m) : 0;
	if (r < 0)
		return r;
	*ret_fd = take_fd(&fd);
	return 0;
}

int root_mount_make(const struct plan_mount *m, int *ret_fd)
{
	switch (m->kind) {
	case MOUNT_TREE:
		return make_tree(m, ret_fd);
	case MOUNT_TMPFS:
	case MOUNT_OWN:
		return make_new("tmpfs", m, ret_fd);
	case MOUNT_PROC:
		return make_new("proc", m, ret_fd);
	case MOUNT_OVERLAY:
		return make_new("overlay", m, ret_fd);
	}
	abort(); /* every kind is above */
}

int root_attach_root(int root_fd)
{
	/* Any directory does: nothing below it is looked up by name again. */
	return sys_move_mount(root_fd, AT_FDCWD, "/proc");
}

int root_attach(int root_fd, int mount_fd, const char *target)
{
	return sys_move_mount(mount_fd, root_fd, target);
}

int root_pivot(int root_fd)
{
	int r;

	if (fchdir(root_fd) < 0)
		return -errno;
	/* pivot_root(2), NOTES: with both names ".", the old root ends up on top of the new one and is detached. */
	r = sys_pivot_root(".", ".");
	if (r < 0)
		return r;
	if (umount2(".", MNT_DETACH) < 0)
		return -errno;
	return chdir("/") < 0 ? -errno : 0;
}
