#include "oci/store.h"

#include "base/fd.h"
#include "base/removal.h"
#include "oci/config.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>

/* Rootless engines call us as root of a user namespace of theirs: user_namespaces(7), "/proc/PID/uid_map". */
static bool has_all_ids(void)
{
	char text[256];
	unsigned inside, outside, count;

	return fd_read_file_at(AT_FDCWD, "/proc/self/uid_map", text, sizeof text) < 0 ||
	       sscanf(text, "%u %u %u", &inside, &outside, &count) != 3 || /* NOLINT(cert-err34-c) */
	       (inside == 0 && outside == 0 && count == UINT32_MAX);
}

/* Which we are does not change as long as we live. */
bool oci_is_root(void)
{
	static enum { NOT_KNOWN, NO, YES } known;

	if (known == NOT_KNOWN)
		known = geteuid() == 0 && has_all_ids() ? YES : NO;
	return known == YES;
}

static int make_path(const char *path)
{
	char copy[512];
	size_t n = strlen(path);

	if (n >= sizeof copy)
		return -ENAMETOOLONG;
	memcpy(copy, path, n + 1);
	for (char *p = copy + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		if (mkdir(copy, 0711) < 0 && errno != EEXIST)
			return -errno;
		*p = '/';
	}
	return mkdir(copy, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

/* What lies here is believed: which processes are killed, which hooks are executed. So it has to be ours or root's, and
 * nobody else may put in what he likes. */
static int check_owner(int fd, const char *path, const char *id, struct err *e)
{
	const char *slash = id[0] ? "/" : "";
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(e, errno, "looking at '%s%s%s'", path, slash, id);
	if (st.st_uid != geteuid() && st.st_uid != 0)
		return err_set(e, ERR_DENIED, EPERM, "'%s%s%s' belongs to user %u: its state is not to be trusted",
			       path, slash, id, st.st_uid);
	if ((st.st_mode & S_IWOTH) && !(st.st_mode & S_ISVTX))
		return err_set(e, ERR_DENIED, EPERM, "everybody may write to '%s%s%s': its state is not to be trusted",
			       path, slash, id);
	return 0;
}

int store_open(const struct oci_args *a, bool make, struct oci_store *ret, struct err *e)
{
	const char *run = secure_getenv("XDG_RUNTIME_DIR");
	int r = 0;

	*ret = (struct oci_store){.dir = FD_NONE, .args = a};
	if (a->root)
		r = snprintf(ret->path, sizeof ret->path, "%s", a->root);
	else if (!oci_is_root() && run && run[0])
		r = snprintf(ret->path, sizeof ret->path, "%s/fsbox-oci", run);
	else
		r = snprintf(ret->path, sizeof ret->path, "/run/fsbox-oci");
	if (r < 0 || (size_t)r >= sizeof ret->path)
		return err_set(e, ERR_SPEC, ENAMETOOLONG, "--root '%.100s...' is too long", a->root);
	ret->dir = open(ret->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (ret->dir < 0 && errno == ENOENT && make) {
		r = make_path(ret->path);
		if (r < 0)
			return err_sys(e, r, "making '%s'", ret->path);
		ret->dir = open(ret->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	if (ret->dir < 0 && errno != ENOENT)
		return err_sys(e, errno, "opening '%s'", ret->path);
	if (fd_valid(ret->dir) && (r = check_owner(ret->dir, ret->path, "", e)) < 0) {
		fd_closep(&ret->dir);
		return r;
	}
	return 0; /* without @make an absent one is empty */
}

int store_check_id(const char *id, struct err *e)
{
	const size_t n = strlen(id);

	if (n == 0 || n > 255 || id[0] == '.' ||
	    strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.") != n)
		return err_set(e, ERR_SPEC, EINVAL, "invalid container ID '%.80s': letters, digits and _+-. are taken",
			       id);
	return 0;
}

int store_hold(int dir)
{
	struct stat st;

	while (flock(dir, LOCK_EX) < 0)
		if (errno != EINTR)
			return -errno;
	/* While we waited it may have been removed, and another one of that name made. */
	return fstat(dir, &st) < 0 || st.st_nlink == 0 ? -ENOENT : 0;
}

static int exists(const char *id, struct err *e)
{
	return err_set(e, ERR_EXISTS, EEXIST, "container with given ID already exists: %s", id);
}

int store_add(const struct oci_store *s, const char *id, int *ret_dir, struct err *e)
{
	AUTO_FD int dir = FD_NONE;
	int r;

	do {
		fd_closep(&dir);
		if (mkdirat(s->dir, id, 0711) < 0) {
			if (errno == EEXIST)
				return exists(id, e);
			return err_sys(e, errno, "making '%s/%s'", s->path, id);
		}
		dir = openat(s->dir, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		r = dir < 0 ? -errno : store_hold(dir);
	} while (r == -ENOENT); /* "delete --force" came before the lock */
	if (r < 0)
		return err_sys(e, r, "locking '%s/%s'", s->path, id);
	/* It was removed and made again by somebody else, who had the lock before us. */
	if (faccessat(dir, "state.json", F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return exists(id, e);
	*ret_dir = take_fd(&dir);
	return 0;
}

static int gone(const char *id, struct err *e)
{
	return err_set(e, ERR_NOT_FOUND, ENOENT, "container \"%s\" does not exist", id);
}

int store_find(const struct oci_store *s, const char *id, bool lock, int *ret_dir, struct err *e)
{
	AUTO_FD int dir = FD_NONE;
	int r = store_check_id(id, e);

	if (r < 0)
		return r;
	dir = fd_valid(s->dir) ? openat(s->dir, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : FD_NONE;
	if (dir < 0)
		return !fd_valid(s->dir) || errno == ENOENT ? gone(id, e)
							    : err_sys(e, errno, "opening '%s/%s'", s->path, id);
	r = check_owner(dir, s->path, id, e);
	if (r < 0)
		return r;
	r = lock ? store_hold(dir) : 0;
	if (r < 0)
		return r == -ENOENT ? gone(id, e) : err_sys(e, r, "locking '%s/%s'", s->path, id);
	*ret_dir = take_fd(&dir);
	return 0;
}

int store_remove(const struct oci_store *s, const char *id, struct err *e)
{
	int r, tries = 8;

	/* Another one who deletes it may leave its word there meanwhile (life_forget_hooks()). */
	do
		r = tree_remove(s->dir, id);
	while (r == -ENOTEMPTY && --tries > 0);
	return r < 0 ? err_sys(e, r, "removing '%s/%s'", s->path, id) : 0;
}

int store_each(const struct oci_store *s, int (*fn)(const char *id, void *arg, struct err *e), void *arg, struct err *e)
{
	int fd = fd_valid(s->dir) ? openat(s->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : FD_NONE;
	DIR *d = fd_valid(fd) ? fdopendir(fd) : NULL;
	const struct dirent *entry;
	int r = 0;

	if (!d)
		return fd_valid(s->dir) ? err_sys(e, errno, "reading '%s'", s->path) : 0;
	while (r == 0 && (entry = readdir(d)))
		if (entry->d_name[0] != '.')
			r = fn(entry->d_name, arg, e);
	(void)closedir(d);
	return r;
}

int file_replace(int dir, const char *name, const char *text, size_t len, mode_t mode, struct err *e)
{
	char tmp[300];
	AUTO_FD int fd = FD_NONE;
	int r;

	(void)snprintf(tmp, sizeof tmp, ".%.250s.%d", name, getpid());
	/* A new file: what lies there under a name that is easy to guess may be somebody's, who would go on writing. */
	(void)unlinkat(dir, tmp, 0);
	fd = openat(dir, tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	if (fd < 0)
		return err_sys(e, errno, "making '%s'", name);
	r = fd_write_all(fd, text, len);
	if (r == 0 && renameat(dir, tmp, dir, name) < 0)
		r = -errno;
	if (r < 0) {
		(void)unlinkat(dir, tmp, 0);
		return err_sys(e, r, "writing '%s'", name);
	}
	return 0;
}

int config_copy_write(int dir, const char *text, size_t len, struct err *e)
{
	return file_replace(dir, "config.json", text, len, 0600, e);
}

int config_copy_read(int dir, const struct oci_state *st, struct ct_spec **ret, struct err *e)
{
	AUTO_FD int fd = openat(dir, "config.json", O_RDONLY | O_CLOEXEC);
	AUTO_FREE char *text = NULL;
	size_t len;
	int r = fd < 0 ? -errno : fd_read_all(fd, CONFIG_MAX_BYTES, &text, &len);

	if (r < 0)
		return err_sys(e, r, "reading the config.json of container %s", st->id);
	return config_read("config.json", text, len, st->bundle, ret, e);
}

int store_group(const struct oci_args *a, bool lock, struct oci_state *st, int *ret_dir, struct cg_group *g,
		struct err *e)
{
	struct oci_store store;
	int r = store_open(a, false, &store, e);

	if (r == 0)
		r = store_find(&store, a->operands[0], lock, ret_dir, e);
	fd_closep(&store.dir);
	if (r == 0)
		r = state_read(*ret_dir, a->operands[0], st, e);
	if (r == 0 && (st->status == OCI_STOPPED || st->status == OCI_CREATING))
		r = err_set(e, ERR_LOST, ESRCH, "container not running");
	if (r == 0 && !st->cgroup[0])
		r = err_set(e, ERR_UNSUPPORTED, EOPNOTSUPP, "container %s has no cgroup of its own", st->id);
	return r == 0 ? cg_group_find(st->cgroup, g, e) : r;
}
