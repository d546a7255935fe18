/* Project quotas: an upper bound on the blocks and inodes of one directory tree (quotactl(2), PRJQUOTA; xfs_quota(8)
 * tells what they are for). quotactl_fd(2), Linux 5.14, names the file system by a descriptor, so that no device
 * node has to be found; the commands of XFS's family (Q_X…) serve ext4, f2fs and XFS alike.
 *
 * What keeps the function inside its bound: only a process of the initial user namespace may change a file's project
 * or the inheriting of it (fileattr_set_prepare() in the kernel's fs/ioctl.c), and only CAP_SYS_RESOURCE of the
 * initial user namespace may go over a hard limit. A cell has neither. */
#include "rootfs/rootfs.h"

#include "base/fd.h"
#include "base/removal.h"

#include <fcntl.h>
#include <linux/dqblk_xfs.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/quota.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>

enum {
	BLOCK = 512,             /* the unit of fs_disk_quota */
	BYTES_PER_INODE = 16384, /* as for the tmpfs of a cell */
	MIN_INODES = 1024,
	/* An outside id gives the first project to try, and each cell has ids of its own; others may use projects,
	 * too. */
	PROJECT_TRIES = 64,
};

#define NAME_PREFIX "fsbox-"

static int quota_call(int fd, unsigned cmd, uint32_t project, void *arg)
{
	return syscall(SYS_quotactl_fd, fd, (cmd << SUBCMDSHIFT) | PRJQUOTA, project, arg) < 0 ? -errno : 0;
}

/* ---- Is there a quota to be had? ---- */

static const char *fs_name(int fd, char *buf, size_t size)
{
	static const struct {
		unsigned long magic;
		const char *name;
	} known[] = {
		{EXT4_SUPER_MAGIC, "ext4"},
		{XFS_SUPER_MAGIC, "xfs"},
		{BTRFS_SUPER_MAGIC, "btrfs"},
		{TMPFS_MAGIC, "tmpfs"},
		{F2FS_SUPER_MAGIC, "f2fs"},
		{NFS_SUPER_MAGIC, "nfs"},
		{OVERLAYFS_SUPER_MAGIC, "overlay"},
		{FUSE_SUPER_MAGIC, "fuse"},
		{0x2fc12fc1, "zfs"},
		{V9FS_MAGIC, "9p"},
	};
	struct statfs st;

	if (fstatfs(fd, &st) < 0)
		return "an unknown file system";
	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (known[i].magic == (unsigned long)st.f_type)
			return known[i].name;
	(void)snprintf(buf, size, "type 0x%lx", (unsigned long)st.f_type);
	return buf;
}

static int refuse(int fd, const char *dir, unsigned flags, struct err *e)
{
	char buf[32];
	const char *fs = fs_name(fd, buf, sizeof buf);
	const bool counted = flags & FS_QUOTA_PDQ_ACCT;
	int r = err_set(e, ERR_UNSUPPORTED, EOPNOTSUPP, "--tmp-dir '%s': its file system (%s) %s", dir, fs,
			counted ? "counts by project but enforces no limits" : "has no project quotas in force");

	if (counted || strcmp(fs, "xfs") == 0)
		return err_hint(e, r,
				"mount it with -o prjquota (a root file system: rootflags=prjquota on the kernel's "
				"command line)");
	if (strcmp(fs, "ext4") == 0)
		return err_hint(e, r,
				"unmounted: tune2fs -O project,quota -Q prjquota DEVICE; then mount it with -o "
				"prjquota; the kernel needs CONFIG_QFMT_V2");
	return err_hint(e, r,
			"name a directory on ext4 or xfs mounted with -o prjquota, or leave --tmp-dir out: /tmp is "
			"then memory, within --mem");
}

static int check_in_force(int fd, const char *dir, struct err *e)
{
	struct fs_quota_statv st = {.qs_version = FS_QSTATV_VERSION1};
	int r = quota_call(fd, Q_XGETQSTATV, 0, &st);

	/* Whatever it answers instead (ENOSYS mostly: a kernel, a file system or a mount without quotas), there is
	 * none. */
	if (r < 0)
		return refuse(fd, dir, 0, e);
	return st.qs_flags & FS_QUOTA_PDQ_ENFD ? 0 : refuse(fd, dir, st.qs_flags, e);
}

/* We shall make and remove trees there as root, later by name again: nobody else may exchange the directories. */
static int check_trusted(int fd, const char *dir, struct err *e)
{
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return err_sys(e, errno, "--tmp-dir '%s'", dir);
	if ((st.st_uid == 0 || st.st_uid == geteuid()) && ((st.st_mode & 022) == 0 || (st.st_mode & S_ISVTX)))
		return 0;
	r = err_set(e, ERR_DENIED, EACCES,
		    "--tmp-dir '%s': others than root can rename what is in it (owner %u, mode %04o)", dir, st.st_uid,
		    st.st_mode & 07777U);
	return err_hint(e, r, "chown root %s; chmod go-w %s", dir, dir);
}

/* ---- Projects ---- */

/* -ENOENT is XFS's "never seen". */
static int usage(int fd, uint32_t project, struct fs_disk_quota *ret)
{
	int r = quota_call(fd, Q_XGETQUOTA, project, ret);

	if (r == -ENOENT)
		*ret = (struct fs_disk_quota){.d_id = project};
	return r == -ENOENT ? 0 : r;
}

/* A project is free when no file belongs to it; a limit that is left of it says nothing. */
static int find_project(int fd, const char *dir, uint32_t first, uint32_t *ret, struct err *e)
{
	for (uint32_t p = first; p != 0 && p < first + PROJECT_TRIES; p++) {
		struct fs_disk_quota q = {0};
		int r = usage(fd, p, &q);

		if (r < 0)
			return err_sys(e, r, "--tmp-dir '%s': reading the quota of project %u", dir, p);
		if (q.d_bcount == 0 && q.d_icount == 0) {
			*ret = p;
			return 0;
		}
	}
	return err_set(e, ERR_BUSY, EUSERS, "--tmp-dir '%s': the projects %u to %u are all in use there", dir, first,
		       first + PROJECT_TRIES - 1);
}

static int set_limits(int fd, uint32_t project, uint64_t bytes)
{
	const uint64_t inodes = bytes / BYTES_PER_INODE;
	struct fs_disk_quota q = {
		.d_version = FS_DQUOT_VERSION,
		.d_flags = FS_PROJ_QUOTA,
		.d_id = project,
		.d_fieldmask = FS_DQ_BHARD | FS_DQ_BSOFT | FS_DQ_IHARD | FS_DQ_ISOFT,
		.d_blk_hardlimit = bytes / BLOCK,
		.d_ino_hardlimit = bytes == 0            ? 0
				   : inodes < MIN_INODES ? MIN_INODES
							 : inodes,
	};
	struct fs_disk_quota now = {0};
	int r = quota_call(fd, Q_XSETQLIM, project, &q);

	if (r == 0)
		r = usage(fd, project, &now);
	if (r == 0 && (now.d_blk_hardlimit != q.d_blk_hardlimit || now.d_ino_hardlimit != q.d_ino_hardlimit))
		r = -EIO;
	return r;
}

static int get_project(int fd, uint32_t *ret)
{
	struct fsxattr x = {0};

	if (ioctl(fd, FS_IOC_FSGETXATTR, &x) < 0)
		return -errno;
	*ret = x.fsx_projid;
	return 0;
}

/* ioctl_xfs_fsgetxattr(2). What is made below inherits the project, directories the inheriting as well. */
static int set_project(int fd, uint32_t project)
{
	struct fsxattr x = {0};

	if (ioctl(fd, FS_IOC_FSGETXATTR, &x) < 0)
		return -errno;
	x.fsx_projid = project;
	x.fsx_xflags |= FS_XFLAG_PROJINHERIT;
	if (ioctl(fd, FS_IOC_FSSETXATTR, &x) < 0 || ioctl(fd, FS_IOC_FSGETXATTR, &x) < 0)
		return -errno;
	return x.fsx_projid == project && (x.fsx_xflags & FS_XFLAG_PROJINHERIT) ? 0 : -EIO;
}

/* ---- Making ---- */

/* Sticky and the cell's own alone: inside it looks like any /tmp, and on the host no other user can look into it. */
enum { TMP_MODE = S_ISVTX | 0700 };

/* The project first, then the limit: at every moment the directory itself tells whose limit has to be taken back. */
static int make_at(int parent, const char *name, const struct root_quota *q, uint64_t bytes, uint32_t uid, uint32_t gid,
		   struct err *e)
{
	AUTO_FD int fd = FD_NONE;
	int r;

	if (mkdirat(parent, name, 0700) < 0)
		return err_sys(e, errno, "making '%s'", q->path);
	fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, errno, "opening '%s'", q->path);
	r = set_project(fd, q->project);
	if (r < 0)
		return err_sys(e, r, "giving '%s' to project %u", q->path, q->project);
	r = set_limits(fd, q->project, bytes);
	if (r < 0)
		return err_sys(e, r, "limiting project %u, which is '%s', to %llu bytes", q->project, q->path,
			       (unsigned long long)bytes);
	if (fchown(fd, uid, gid) < 0 || fchmod(fd, TMP_MODE) < 0)
		return err_sys(e, errno, "giving '%s' to uid %u", q->path, uid);
	return 0;
}

static bool is_our_name(const char *name)
{
	const size_t prefix = strlen(NAME_PREFIX);
	size_t len = strlen(name);

	return len > prefix && strncmp(name, NAME_PREFIX, prefix) == 0 &&
	       strspn(name + prefix, "0123456789abcdef") == len - prefix;
}

static int name_it(const char *dir, const char *id, struct root_quota *q, struct err *e)
{
	int n;

	if (dir[0] != '/') {
		n = err_set(e, ERR_SPEC, EINVAL, "--tmp-dir '%s': not an absolute path", dir);
		return err_hint(e, n, "whoever cleans up after a crash may stand in another directory");
	}
	n = snprintf(q->path, sizeof q->path, "%s/" NAME_PREFIX "%s", dir, id);
	if (n < 0 || (size_t)n >= sizeof q->path || strlen(dir) > ROOT_QUOTA_DIR_MAX)
		return err_set(e, ERR_SPEC, ENAMETOOLONG, "--tmp-dir '%.40s': a path over %d bytes", dir,
			       ROOT_QUOTA_DIR_MAX);
	if (!is_our_name(strrchr(q->path, '/') + 1))
		return err_set(e, ERR_BUG, EINVAL, "'%s' is no cell's id", id);
	(void)snprintf(q->parent, sizeof q->parent, "%s", dir);
	return 0;
}

int root_quota_make(const char *dir, const char *id, uint64_t bytes, uint32_t uid, uint32_t gid, struct root_quota *ret,
		    struct err *e)
{
	struct root_quota q = {0};
	AUTO_FD int fd = FD_NONE;
	int r = name_it(dir, id, &q, e);

	if (r < 0)
		return r;
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, errno, "--tmp-dir '%s'", dir);
	r = check_in_force(fd, dir, e);
	if (r == 0)
		r = check_trusted(fd, dir, e);
	if (r == 0)
		r = find_project(fd, dir, uid, &q.project, e);
	if (r < 0)
		return r;
	r = make_at(fd, strrchr(q.path, '/') + 1, &q, bytes, uid, gid, e);
	if (r < 0) {
		struct err cleanup = {0}; /* must not hide why it failed */

		if (r != -EEXIST)
			(void)!root_quota_remove(&q, &cleanup);
		return r;
	}
	*ret = q;
	return 0;
}

/* ---- Removing ---- */

/* @project 0: whatever the directory says. */
static int remove_at(int parent, const char *path, uint32_t project, struct err *e)
{
	const char *name = strrchr(path, '/') + 1;
	AUTO_FD int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	uint32_t own = project, above = 0;
	int r = fd < 0 ? -errno : 0;

	if (r == -ENOENT)
		r = 0;
	if (r == 0 && fd_valid(fd) && project == 0)
		r = get_project(fd, &own);
	/* One that died between mkdir and its project: what it inherited is the administrator's. */
	if (r == 0 && project == 0 && get_project(parent, &above) == 0 && own == above)
		own = 0;
	if (r == 0 && fd_valid(fd))
		r = tree_empty(fd);
	if ((r == -EDQUOT || r == -ENOSPC) && own != 0) {
		/* Moving directories up can need a block. Nobody is left who could use the freedom. */
		(void)!set_limits(parent, own, 0);
		r = tree_empty(fd);
	}
	if (r == 0 && own != 0)
		r = set_limits(parent, own, 0);
	if (r == 0 && unlinkat(parent, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		r = -errno;
	return r < 0 ? err_sys(e, r, "removing '%s'", path) : 0;
}

int root_quota_remove(struct root_quota *q, struct err *e)
{
	AUTO_FD int parent = FD_NONE;
	int r;

	if (q->path[0] == '\0')
		return 0;
	parent = open(q->parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (parent < 0)
		return err_sys(e, errno, "removing '%s'", q->path);
	r = remove_at(parent, q->path, q->project, e);
	if (r == 0)
		*q = (struct root_quota){0};
	return r;
}

int root_quota_sweep(const char *path, struct err *e)
{
	const char *slash = strrchr(path, '/');
	char dir[sizeof((struct root_quota *)0)->parent];
	AUTO_FD int parent = FD_NONE;
	int r;

	if (path[0] != '/' || !is_our_name(slash + 1) || (size_t)(slash - path) >= sizeof dir)
		return err_set(e, ERR_BUG, EINVAL, "'%s' was not made by fsbox", path);
	(void)snprintf(dir, sizeof dir, "%.*s", slash == path ? 1 : (int)(slash - path), path);
	parent = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (parent < 0)
		return errno == ENOENT ? 0 : err_sys(e, errno, "removing '%s'", path);
	if (faccessat(parent, slash + 1, F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
		return 0;
	r = check_trusted(parent, dir, e);
	return r < 0 ? r : remove_at(parent, path, 0, e);
}
