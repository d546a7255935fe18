#include "rootfs/rootfs.h"

#include "base/fd.h"
#include "sys/sys.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

enum { PATH_ROOM = 4096, MAX_LINKS = 16, PATIENCE = 1000 };

/* EAGAIN: the path had a "..", and somewhere on this machine something was renamed or mounted meanwhile (openat2(2)). */
static int open_inside(int root, const char *path, uint64_t flags, uint64_t resolve)
{
	int fd, tries = 0;

	do
		fd = sys_openat2(root, path[0] ? path : ".", flags, 0,
				 RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | resolve);
	while (fd == -EAGAIN && tries++ < PATIENCE);
	return fd;
}

/* A relative target is from the root: "" and "." are the root itself. */
int inside_open(int root, const char *path)
{
	return open_inside(root, path, O_PATH, 0);
}

int inside_open_for(int root, const char *path, int flags)
{
	return open_inside(root, path, (uint64_t)flags, 0);
}

static int copy_path(char to[static PATH_ROOM], const char *s)
{
	size_t n = strlen(s);

	if (n >= PATH_ROOM)
		return -ENAMETOOLONG;
	memcpy(to, s, n + 1);
	return 0;
}

/* Takes the last component off @path. *ret_name points to it. */
static void split(char *path, char **ret_name)
{
	size_t n = strlen(path);

	while (n > 0 && path[n - 1] == '/')
		path[--n] = '\0';
	while (n > 0 && path[n - 1] != '/')
		n--;
	*ret_name = path + n;
}

static int make_at(int root, const char *path, bool directory, mode_t mode, int links);

/* Something is there and leads nowhere: a link, whose target is made. */
static int follow(int root, int parent, const char *parent_path, const char *name, bool directory, mode_t mode,
		  int links)
{
	char target[PATH_ROOM], full[PATH_ROOM];
	ssize_t n = readlinkat(parent, name, target, sizeof target - 1);
	size_t at = 0;

	if (n < 0)
		return errno == EINVAL ? -ENOENT : -errno;
	if (links == 0)
		return -ELOOP;
	target[n] = '\0';
	if (target[0] == '/')
		return make_at(root, target, directory, mode, links - 1);
	at = strlen(parent_path);
	if (at + 1 + (size_t)n >= sizeof full)
		return -ENAMETOOLONG;
	memcpy(full, parent_path, at);
	full[at++] = '/';
	memcpy(full + at, target, (size_t)n + 1);
	return make_at(root, full, directory, mode, links - 1);
}

/* The path without its last component is made first; then that component in the directory that came of it. */
static int make_at(int root, const char *path, bool directory, mode_t mode, int links)
{
	char parent_path[PATH_ROOM], name[256];
	char *last;
	int r, fd = inside_open(root, path);

	if (fd != -ENOENT)
		return fd;
	r = copy_path(parent_path, path);
	if (r < 0)
		return r;
	split(parent_path, &last);
	if (strlen(last) >= sizeof name)
		return -ENAMETOOLONG;
	memcpy(name, last, strlen(last) + 1);
	*last = '\0';
	if (name[0] == '\0' || strcmp(name, "..") == 0)
		return -ENOENT;
	if (strcmp(name, ".") == 0)
		return make_at(root, parent_path, true, 0755, links);

	AUTO_FD int parent = make_at(root, parent_path, true, 0755, links);
	if (parent < 0)
		return parent;
	if (directory)
		r = mkdirat(parent, name, mode) < 0 ? -errno : 0;
	else
		r = mknodat(parent, name, S_IFREG | mode, 0) < 0 ? -errno : 0;
	if (r == -EEXIST)
		return follow(root, parent, parent_path, name, directory, mode, links);
	if (r < 0)
		return r;
	fd = openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int inside_make(int root, const char *path, bool directory, mode_t mode)
{
	return make_at(root, path, directory, mode, MAX_LINKS);
}

/* ---- Mounts ---- */

int inside_bind(const struct ct_mount *m)
{
	const unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (m->recursive ? AT_RECURSIVE : 0U) |
			       (m->source_nofollow ? AT_SYMLINK_NOFOLLOW : 0U);
	struct stat st;

	/* Better none than the link's target in its place. */
	if (m->copy_symlink && lstat(m->source, &st) == 0 && S_ISLNK(st.st_mode))
		return -EOPNOTSUPP;
	AUTO_FD int fd = sys_open_tree(AT_FDCWD, m->source, flags);
	int r = fd < 0 ? fd : 0;

	if (r == 0 && (m->set || m->clear))
		r = sys_mount_setattr(fd, m->set, m->clear, 0, false);
	if (r == 0 && (m->set_recursive || m->clear_recursive))
		r = sys_mount_setattr(fd, m->set_recursive, m->clear_recursive, 0, true);
	return r < 0 ? r : take_fd(&fd);
}

static int set_option(int fs, const char *option)
{
	const char *eq = strchr(option, '=');
	char key[256];

	if (!eq)
		return sys_fsconfig_flag(fs, option);
	if ((size_t)(eq - option) >= sizeof key)
		return -ENAMETOOLONG;
	memcpy(key, option, (size_t)(eq - option));
	key[eq - option] = '\0';
	return sys_fsconfig_string(fs, key, eq + 1);
}

int inside_new(const struct ct_mount *m, const char **ret_option)
{
	AUTO_FD int fs = sys_fsopen(m->type);
	int r = fs < 0 ? fs : 0;

	*ret_option = NULL;
	if (r == 0 && m->source && m->source[0])
		r = sys_fsconfig_string(fs, "source", m->source);
	for (size_t i = 0; r == 0 && m->data && m->data[i]; i++) {
		r = set_option(fs, m->data[i]);
		if (r < 0)
			*ret_option = m->data[i];
	}
	if (r == 0)
		r = sys_fsconfig_create(fs);
	if (r < 0)
		return r;

	AUTO_FD int fd = sys_fsmount(fs, (unsigned)m->set);
	if (fd < 0)
		return fd;
	if (m->set_recursive || m->clear_recursive)
		r = sys_mount_setattr(fd, m->set_recursive, m->clear_recursive, 0, true);
	return r < 0 ? r : take_fd(&fd);
}

/* Files of /proc that a container may be given in another form (lxcfs does): what they say binds nobody. */
static bool is_harmless(const char *target)
{
	static const char *const names[] = {
		"/proc/cpuinfo",
		"/proc/diskstats",
		"/proc/meminfo",
		"/proc/stat",
		"/proc/swaps",
		"/proc/uptime",
		"/proc/loadavg",
		"/proc/slabinfo",
		"/proc/net/dev",
		"/proc/sys/kernel/ns_last_pid",
		"/proc/sys/crypto/fips_enabled",
	};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strcmp(target, names[i]) == 0)
			return true;
	return false;
}

static bool is_directory(const char *target, const char *name)
{
	const size_t n = strlen(name);

	target += strspn(target, "/");
	return strncmp(target, name, n) == 0 && target[n + strspn(target + n, "/")] == '\0';
}

static int is_proc(int fd)
{
	struct statfs fs;

	if (fstatfs(fd, &fs) < 0)
		return -errno;
	return fs.f_type == PROC_SUPER_MAGIC;
}

/* What is mounted over parts of /proc could make a later write of ours, or of a tool, go elsewhere; so could a /proc that
 * is none. */
static int check_proc(int to, const struct ct_mount *m, int mount_fd)
{
	int r = is_proc(to);

	if (r > 0 && !is_harmless(m->target))
		return m->type && strcmp(m->type, "proc") == 0 ? 0 : -EXDEV;
	if (r >= 0 && is_directory(m->target, "proc"))
		return is_proc(mount_fd) ? 0 : -EXDEV;
	return r < 0 ? r : 0;
}

/* Where masks and read-only paths are going to be looked for. A link on the way to it could be changed, or be led through a
 * volume that another container changes, so that they are not found there, and what is not found is not masked
 * (CVE-2019-19921, CVE-2023-27561). */
static bool is_masked(const struct ct_mount *m)
{
	const char *type = m->type && !m->bind ? m->type : "";

	return strcmp(type, "proc") == 0 || strcmp(type, "sysfs") == 0 || is_directory(m->target, "proc") ||
	       is_directory(m->target, "sys");
}

static int make_without_links(int root, const char *path)
{
	int fd = open_inside(root, path, O_PATH, RESOLVE_NO_SYMLINKS);

	if (fd != -ENOENT)
		return fd;
	fd = inside_make(root, path, true, 0755);
	if (fd < 0)
		return fd;
	(void)close(fd);
	return open_inside(root, path, O_PATH, RESOLVE_NO_SYMLINKS);
}

int inside_check_proc(int root)
{
	AUTO_FD int fd = inside_open(root, "/proc");
	int r = fd < 0 ? fd : is_proc(fd);

	return r == 0 ? -EXDEV : r < 0 ? r : 0;
}

/* "dest-nofollow" of what is a link: a mount on the link itself is not done. */
static bool is_link(int root, const char *path)
{
	struct stat st;
	AUTO_FD int fd = open_inside(root, path, O_PATH | O_NOFOLLOW, 0);

	return fd >= 0 && fstat(fd, &st) == 0 && S_ISLNK(st.st_mode);
}

int inside_attach(int root, const struct ct_mount *m, int mount_fd)
{
	struct stat st;
	int r = fstat(mount_fd, &st) < 0 ? -errno : m->target_nofollow && is_link(root, m->target) ? -EOPNOTSUPP : 0;
	AUTO_FD int to = r < 0          ? r
			 : is_masked(m) ? make_without_links(root, m->target)
					: inside_make(root, m->target, S_ISDIR(st.st_mode), 0755);

	if (to < 0)
		return to;
	r = check_proc(to, m, mount_fd);
	if (r == 0)
		r = sys_move_mount_onto(mount_fd, to);
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(m->propagation) && m->propagation[i]; i++)
		r = sys_mount_setattr(mount_fd, 0, 0, m->propagation[i] & ~(unsigned long)MS_REC,
				      m->propagation[i] & MS_REC);
	return r;
}

int inside_remount(int root, const struct ct_mount *m)
{
	AUTO_FD int fd = inside_open(root, m->target);

	return fd < 0 ? fd : sys_mount_setattr(fd, m->set, m->clear, 0, false);
}

/* ---- Devices ---- */

static mode_t device_type(const struct ct_device *d)
{
	return d->type[0] == 'b' ? S_IFBLK : d->type[0] == 'p' ? S_IFIFO : S_IFCHR;
}

static int bind_device(int root, const struct ct_device *d)
{
	const struct ct_mount m = {.target = d->path, .source = d->path, .bind = true};
	AUTO_FD int fd = inside_bind(&m);
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	/* The host may have something else at that name. */
	if ((st.st_mode & S_IFMT) != device_type(d) || st.st_rdev != makedev((unsigned)d->major, (unsigned)d->minor))
		return -ENODEV;
	return inside_attach(root, &m, fd);
}

/* fchmodat2(2) is of Linux 6.6; before it what a descriptor of O_PATH is has a name in /proc only, which is still the
 * host's here. */
static int change_mode(int node, mode_t mode)
{
	char path[32] = "/proc/self/fd/", digits[12], *p = digits + sizeof digits - 1;

	if (syscall(452 /* SYS_fchmodat2 */, node, "", mode, AT_EMPTY_PATH) == 0)
		return 0;
	*p = '\0';
	do
		*--p = (char)('0' + node % 10);
	while (node /= 10);
	(void)stpcpy(path + strlen(path), p);
	return chmod(path, mode) < 0 ? -errno : 0;
}

/* By a descriptor that is looked at: under the name there may be a link by now, to a file of the host. */
static int settle_device(int parent, const char *name, const struct ct_device *d, mode_t mode)
{
	AUTO_FD int node = openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (node < 0 || fstat(node, &st) < 0)
		return -errno;
	if ((st.st_mode & S_IFMT) != device_type(d) || st.st_rdev != makedev((unsigned)d->major, (unsigned)d->minor))
		return -EEXIST;
	/* mknod(2) heeds the umask, and lists of access rights that are inherited. */
	if ((st.st_mode & 07777) != mode) {
		int r = change_mode(node, mode);

		if (r < 0)
			return r;
	}
	return fchownat(node, "", d->uid.set ? (uid_t)d->uid.v : 0, d->gid.set ? (gid_t)d->gid.v : 0, AT_EMPTY_PATH) < 0
		       ? -errno
		       : 0;
}

/* The directory of @path, made, and the last component, which points into @buf. */
static int parent_of(int root, const char *path, char buf[static PATH_ROOM], char **ret_name)
{
	int fd, r = copy_path(buf, path);
	char *name;

	if (r < 0)
		return r;
	split(buf, &name);
	if (name == buf || name[0] == '\0')
		return -EINVAL;
	name[-1] = '\0';
	fd = inside_make(root, buf, true, 0755);
	*ret_name = name;
	return fd;
}

int inside_device(int root, const struct ct_device *d, bool bind)
{
	const mode_t mode = d->mode.set ? (mode_t)d->mode.v & 0777 : 0666;
	char path[PATH_ROOM], *name = NULL;
	int r;

	if (bind && d->type[0] != 'p')
		return bind_device(root, d);

	AUTO_FD int parent = parent_of(root, d->path, path, &name);
	if (parent < 0)
		return parent;
	r = mknodat(parent, name, device_type(d) | mode, makedev((unsigned)d->major, (unsigned)d->minor)) < 0 ? -errno
													      : 0;
	if (r == -EPERM)
		return bind_device(root, d);
	return r == 0 || r == -EEXIST ? settle_device(parent, name, d, mode) : r;
}

int inside_link(int root, const char *path, const char *to)
{
	char buf[PATH_ROOM], *name = NULL;
	AUTO_FD int parent = parent_of(root, path, buf, &name);

	if (parent < 0)
		return parent;
	return symlinkat(to, parent, name) < 0 && errno != EEXIST ? -errno : 0;
}

/* ---- Masks ---- */

int inside_mask(int root, const char *path, int null)
{
	AUTO_FD int to = inside_open(root, path);
	AUTO_FD int mask = FD_NONE;
	struct stat st;

	if (to == -ENOENT || to == -ENOTDIR)
		return 0;
	if (to < 0)
		return to;
	if (fstat(to, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode)) {
		AUTO_FD int fs = sys_fsopen("tmpfs");
		int r = fs < 0 ? fs : sys_fsconfig_string(fs, "source", "tmpfs");

		if (r == 0)
			r = sys_fsconfig_create(fs);
		if (r < 0)
			return r;
		mask = sys_fsmount(fs, MOUNT_ATTR_RDONLY);
	} else {
		mask = sys_open_tree(null, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
	}
	return mask < 0 ? mask : sys_move_mount_onto(mask, to);
}

int inside_readonly(int root, const char *path)
{
	AUTO_FD int to = inside_open(root, path);
	AUTO_FD int fd = FD_NONE;
	int r;

	if (to == -ENOENT || to == -ENOTDIR)
		return 0;
	if (to < 0)
		return to;
	fd = sys_open_tree(to, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE);
	if (fd < 0)
		return fd;
	r = sys_mount_setattr(fd, MOUNT_ATTR_RDONLY, 0, 0, false);
	return r < 0 ? r : sys_move_mount_onto(fd, to);
}
