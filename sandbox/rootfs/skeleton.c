/* Skeletons: small read-only trees of mount points, links and /etc files, made once and bound as every cell's root.
 *
 * A skeleton's name comes from its content, so a finished one never changes. Who uses one holds a shared lock
 * (flock(2)) on its directory; whoever makes a new one removes those that nobody uses when there are too many, so
 * that neither the names of functions nor updates of the host's files let them pile up. */
#include "rootfs/rootfs.h"

#include "base/fd.h"
#include "base/removal.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>

enum { COPY_MAX = 8 << 20, KEEP_MAX = 32 };

static int write_file(int dir, const char *path, const char *data, size_t len)
{
	AUTO_FD int fd = openat(dir, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	return fd < 0 ? -errno : fd_write_all(fd, data, len);
}

/* A host file that is absent stays absent; so does one that not everybody may read there, since everybody may here, and
 * one of a size that no such file has. */
static int copy_file(int dir, const char *path, const char *from)
{
	AUTO_FD int in = open(from, O_RDONLY | O_CLOEXEC);
	AUTO_FREE char *data = NULL;
	struct stat st;
	size_t len;
	int r;

	if (in < 0 || fstat(in, &st) < 0 || !S_ISREG(st.st_mode) || !(st.st_mode & S_IROTH) || st.st_size > COPY_MAX)
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

/* Opens and locks @name. -ENOENT when it is not there, also when it went away before the lock was ours. */
static int open_locked(int state, const char *name, int how)
{
	AUTO_FD int dir = openat(state, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat opened, named;

	if (dir < 0)
		return -errno;
	if (flock(dir, how) < 0 || fstat(dir, &opened) < 0)
		return -errno;
	if (fstatat(state, name, &named, AT_SYMLINK_NOFOLLOW) < 0 || named.st_ino != opened.st_ino)
		return -ENOENT;
	return take_fd(&dir);
}

/* Fills a fresh directory; @ret_fd holds its lock. -ENOENT without a word when somebody collected it before it was locked:
 * of a hundred cells that all start first, each sees more of them than are kept. */
static int make_in(int state, const char *tmp, const struct cell_plan *plan, int *ret_fd, struct err *e)
{
	AUTO_FD int dir = FD_NONE;

	if (mkdirat(state, tmp, 0755) < 0)
		return err_sys(e, errno, "making skeleton '%s'", tmp);
	dir = open_locked(state, tmp, LOCK_SH);
	if (dir < 0)
		return dir == -ENOENT ? dir : err_sys(e, dir, "opening skeleton '%s'", tmp);
	for (size_t i = 0; i < plan->n_skel; i++) {
		int r = make_entry(dir, &plan->skel[i]);

		if (r < 0)
			return err_sys(e, r, "making '/%s' of the skeleton", plan->skel[i].path);
	}
	*ret_fd = take_fd(&dir);
	return 0;
}

/* Removes one that nobody holds: out of its name first, so that nobody finds it half gone. */
static void collect(int state, const char *name)
{
	AUTO_FD int dir = open_locked(state, name, LOCK_EX | LOCK_NB);
	char gone[64];

	if (dir < 0)
		return;
	(void)snprintf(gone, sizeof gone, "making-%d-gone", getpid());
	if (renameat(state, name, state, gone) == 0)
		(void)!tree_remove(state, gone);
}

/* Best effort: a skeleton that stays is only a few files. */
static void collect_unused(int state)
{
	int copy = openat(state, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* closedir() closes it */
	unsigned n = 0;
	DIR *d = copy < 0 ? NULL : fdopendir(copy);

	if (!d) {
		fd_closep(&copy);
		return;
	}
	for (const struct dirent *ent; (ent = readdir(d));)
		n += strncmp(ent->d_name, "root-", 5) == 0 || strncmp(ent->d_name, "making-", 7) == 0;
	rewinddir(d);
	for (const struct dirent *ent; n > KEEP_MAX && (ent = readdir(d));)
		if (strncmp(ent->d_name, "root-", 5) == 0 || strncmp(ent->d_name, "making-", 7) == 0)
			collect(state, ent->d_name);
	(void)closedir(d);
}

static int make(int state, const struct cell_plan *plan, int *ret_fd, struct err *e)
{
	AUTO_FD int dir = FD_NONE;
	char tmp[64];
	mode_t old;
	int r;

	(void)snprintf(tmp, sizeof tmp, "making-%s", plan->id);
	old = umask(022); /* a narrower one would hide files from uid 993 */
	r = make_in(state, tmp, plan, &dir, e);
	(void)umask(old);
	if (r == 0 && renameat(state, tmp, state, plan->skel_name) == 0) {
		*ret_fd = take_fd(&dir);
		return 0;
	}
	if (r == 0) {
		r = -errno;
		if (r != -EEXIST && r != -ENOTEMPTY)
			(void)err_sys(e, r, "finishing skeleton '%s'", plan->skel_name);
	}
	(void)!tree_remove(state, tmp);
	return r;
}

int root_skeleton(const char *state_dir, const struct cell_plan *plan, int *ret_fd, struct err *e)
{
	AUTO_FD int state = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (state < 0)
		return err_sys(e, errno, "opening '%s'", state_dir);
	/* Twice is enough but for bad luck: somebody else may make or collect the same one in between. */
	for (int tries = 0; tries < 8; tries++) {
		int r = open_locked(state, plan->skel_name, LOCK_SH);

		if (r >= 0) {
			*ret_fd = r;
			return 0;
		}
		if (r != -ENOENT)
			return err_sys(e, r, "opening skeleton '%s/%s'", state_dir, plan->skel_name);
		collect_unused(state);
		r = make(state, plan, ret_fd, e);
		if (r == 0 || e->kind != ERR_NONE)
			return r;
	}
	return err_set(e, ERR_BUSY, EBUSY, "skeleton '%s/%s' is made and removed again and again", state_dir,
		       plan->skel_name);
}

void root_skeleton_sweep(const char *state_dir, const char *id)
{
	AUTO_FD int state = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char tmp[64];

	(void)snprintf(tmp, sizeof tmp, "making-%s", id);
	if (state >= 0)
		(void)!tree_remove(state, tmp);
}
