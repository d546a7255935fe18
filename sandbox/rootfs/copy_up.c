/* tmpcopyup: a new tmpfs begins with what lies below it. Descriptors only, links as links, bounded depth. */
#include "rootfs/rootfs.h"

#include "base/fd.h"
#include "sys/sys.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

enum { MAX_DEPTH = 64, LINK_ROOM = 4096 };

static int copy_tree(int from, int to, int depth);

static int copy_file(int from, const char *name, int to, const struct stat *st)
{
	AUTO_FD int in = openat(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	AUTO_FD int out = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, st->st_mode & 07777);

	if (in < 0 || out < 0)
		return -errno;
	for (off_t left = st->st_size; left > 0;) {
		ssize_t n = sendfile(out, in, NULL, (size_t)left);

		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		left -= n;
	}
	return 0;
}

static int copy_link(int from, const char *name, int to)
{
	char target[LINK_ROOM];
	ssize_t n = readlinkat(from, name, target, sizeof target - 1);

	if (n < 0)
		return -errno;
	target[n] = '\0';
	return symlinkat(target, to, name) < 0 ? -errno : 0;
}

static int copy_dir(int from, const char *name, int to, const struct stat *st, int depth)
{
	AUTO_FD int in = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	AUTO_FD int out = FD_NONE;

	if (in < 0 || mkdirat(to, name, st->st_mode & 07777) < 0)
		return -errno;
	out = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (out < 0)
		return -errno;
	return depth == 0 ? -ELOOP : copy_tree(in, out, depth - 1);
}

static int copy_entry(int from, const char *name, int to, int depth)
{
	struct stat st;
	int r;

	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		r = copy_dir(from, name, to, &st, depth);
	else if (S_ISREG(st.st_mode))
		r = copy_file(from, name, to, &st);
	else if (S_ISLNK(st.st_mode))
		r = copy_link(from, name, to);
	else
		r = mknodat(to, name, st.st_mode, st.st_rdev) < 0 ? -errno : 0;
	if (r == 0 && fchownat(to, name, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) < 0)
		r = -errno;
	/* The umask, and a change of the owner, take bits away. */
	if (r == 0 && !S_ISLNK(st.st_mode) && fchmodat(to, name, st.st_mode & 07777, 0) < 0)
		r = -errno;
	return r;
}

static int copy_tree(int from, int to, int depth)
{
	union {
		struct dirent64 first;
		char bytes[4096];
	} buf;

	for (;;) {
		ssize_t n = getdents64(from, buf.bytes, sizeof buf);

		if (n <= 0)
			return n < 0 ? -errno : 0;
		for (ssize_t at = 0; at < n;) {
			const struct dirent64 *d = (const struct dirent64 *)(const void *)(buf.bytes + at);
			int r = 0;

			at += d->d_reclen;
			if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0)
				r = copy_entry(from, d->d_name, to, depth);
			if (r < 0)
				return r;
		}
	}
}

int inside_copy_up(int root, const char *target, int mount_fd)
{
	AUTO_FD int from = inside_open_for(root, target, O_RDONLY | O_DIRECTORY);
	AUTO_FD int to = openat(mount_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;

	if (from == -ENOENT)
		return 0;
	if (from < 0 || to < 0)
		return from < 0 ? from : -errno;
	if (fstat(from, &st) < 0 || fchmod(to, st.st_mode & 07777) < 0)
		return -errno;
	return copy_tree(from, to, MAX_DEPTH);
}
