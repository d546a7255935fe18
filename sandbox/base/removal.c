#include "base/removal.h"

#include "base/fd.h"
#include "base/mem.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>

/* Levels that are walked with a descriptor each. What lies deeper is moved up to the top and walked from there: a
 * chain of a million directories takes some 30,000 passes over a top that holds one entry. */
enum { LEVELS = 32 };

struct removal {
	int top;
	uint64_t n_moved; /* also the next name to try */
};

static int open_dir(int at, const char *name)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static int move_to_top(struct removal *rm, int dir, const char *name)
{
	char fresh[32];

	do {
		(void)snprintf(fresh, sizeof fresh, "fsbox-%llx", (unsigned long long)rm->n_moved++);
		if (renameat2(dir, name, rm->top, fresh, RENAME_NOREPLACE) == 0)
			return 0;
	} while (errno == EEXIST); /* the tree's owner knew our names */
	return -errno;
}

static int empty_take(struct removal *rm, int fd, unsigned levels);

/* The order matters: rmdir(2) refuses a mount point before it asks whether the directory is empty, and so does
 * rename(2), so no other file system is ever entered. */
static int remove_entry(struct removal *rm, int dir, const char *name, unsigned levels)
{
	int fd, r;

	if (unlinkat(dir, name, 0) == 0)
		return 0;
	if (errno != EISDIR)
		return errno == ENOENT ? 0 : -errno;
	if (unlinkat(dir, name, AT_REMOVEDIR) == 0)
		return 0;
	if (errno != ENOTEMPTY && errno != EEXIST)
		return errno == ENOENT ? 0 : -errno;
	if (levels == 0)
		return move_to_top(rm, dir, name);
	fd = open_dir(dir, name);
	if (fd < 0)
		return fd;
	r = empty_take(rm, fd, levels - 1);
	if (r == 0 && unlinkat(dir, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		r = -errno;
	return r;
}

static bool is_dot(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* One pass. Returns the number of entries met, or -errno. */
static int empty_once(struct removal *rm, DIR *d, int fd, unsigned levels)
{
	int met = 0;

	rewinddir(d);
	for (;;) {
		errno = 0;

		const struct dirent *ent = readdir(d);
		if (!ent)
			return errno ? -errno : met;
		if (is_dot(ent->d_name))
			continue;
		met = 1;

		int r = remove_entry(rm, fd, ent->d_name, levels);
		if (r < 0)
			return r;
	}
}

/* Until a pass meets nothing: a directory that changes while it is read may skip entries (readdir(3)), and the top
 * gets new ones. */
static int empty_take(struct removal *rm, int fd, unsigned levels)
{
	AUTO_FD int own = fd;
	DIR *d = fdopendir(own);
	int r;

	if (!d)
		return -errno;
	fd = take_fd(&own); /* closedir() closes it */
	do
		r = empty_once(rm, d, fd, levels);
	while (r > 0);
	(void)closedir(d);
	return r;
}

int tree_empty(int dirfd)
{
	struct removal rm = {.top = open_dir(dirfd, ".")};

	return rm.top < 0 ? rm.top : empty_take(&rm, rm.top, LEVELS);
}

int tree_remove(int dirfd, const char *name)
{
	AUTO_FD int fd = open_dir(dirfd, name);
	int r;

	if (fd < 0)
		return fd == -ENOENT ? 0 : fd == -ELOOP ? -ENOTDIR : fd; /* ELOOP: a link; open(2), O_NOFOLLOW */
	r = tree_empty(fd);
	if (r == 0 && unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		r = -errno;
	return r;
}
