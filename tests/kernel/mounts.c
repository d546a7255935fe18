/* Mounts: the root of a cell, made with the calls of the new mount API inside of its own namespaces. */
#include "tests/kernel/feature.h"

#include <sys/quota.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>

#define AS_CELL(fn) (geteuid() == 0 ? in_user_namespace(CLONE_NEWNS | CLONE_NEWPID, fn) : NO_ROOT)

static bool own_mounts(void)
{
	return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

static int new_fs(const char *type, const char *key, const char *value)
{
	AUTO_FD int fs = sys_fsopen(type);

	if (fs < 0 || (key && sys_fsconfig_string(fs, key, value) < 0) || sys_fsconfig_create(fs) < 0)
		return -1;
	return sys_fsmount(fs, 0);
}

static bool read_only_tree(void)
{
	AUTO_FD int tree = FD_NONE;
	struct statvfs vfs;

	if (!own_mounts())
		return false;
	tree = sys_open_tree(AT_FDCWD, "/usr", OPEN_TREE_CLONE | O_CLOEXEC | AT_RECURSIVE);
	if (tree < 0 || sys_mount_attr(tree, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, 0, true) < 0)
		return false;
	return fstatvfs(tree, &vfs) == 0 && vfs.f_flag & ST_RDONLY && vfs.f_flag & ST_NOSUID;
}

FEATURE(recursive_read_only_bind, "open_tree(2), mount_setattr(2) with AT_RECURSIVE",
	"sources are bound read-only with all that is mounted below", NULL)
{
	return AS_CELL(read_only_tree);
}

static bool sized_tmpfs(void)
{
	AUTO_FD int mnt = FD_NONE, fd = FD_NONE;
	struct statfs sb;

	if (!own_mounts())
		return false;
	mnt = new_fs("tmpfs", "size", "1048576");
	if (mnt < 0 || fstatfs(mnt, &sb) < 0 || (uint64_t)sb.f_blocks * (uint64_t)sb.f_bsize != 1048576)
		return false;
	fd = openat(mnt, "x", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	return fd >= 0 && fallocate(fd, 0, 0, 2097152) < 0 && errno == ENOSPC;
}

FEATURE(tmpfs_of_a_size, "tmpfs with size= in a user namespace", "/tmp", NULL)
{
	return AS_CELL(sized_tmpfs);
}

static bool swaps_roots(void)
{
	AUTO_FD int mnt = FD_NONE;

	if (!own_mounts())
		return false;
	mnt = new_fs("tmpfs", NULL, NULL);
	if (mnt < 0 || sys_move_mount(mnt, AT_FDCWD, "/proc") < 0 || fchdir(mnt) < 0)
		return false;
	if (sys_pivot_root(".", ".") < 0 || umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return false;
	return access("/usr", F_OK) < 0 && errno == ENOENT;
}

FEATURE(pivot_root_in_place, "pivot_root(\".\", \".\")", "the host's root is gone, with no directory to put it into",
	NULL)
{
	return AS_CELL(swaps_roots);
}

static bool own_proc(void)
{
	AUTO_FD int mnt = FD_NONE;
	char target[16] = {0};

	if (!own_mounts())
		return false;
	mnt = new_fs("proc", NULL, NULL);
	return mnt >= 0 && readlinkat(mnt, "self", target, sizeof target - 1) > 0 && strcmp(target, "1") == 0;
}

FEATURE(proc_of_a_pid_namespace, "a new proc in a user and pid namespace", "/proc shows the cell's processes", NULL)
{
	return AS_CELL(own_proc);
}

static bool merges_layers(void)
{
	AUTO_FD int mnt = FD_NONE;

	if (!own_mounts())
		return false;
	mnt = new_fs("overlay", "lowerdir", "/usr:/etc");
	return mnt >= 0 && faccessat(mnt, "passwd", F_OK, 0) == 0 && faccessat(mnt, "bin", F_OK, 0) == 0;
}

FEATURE(overlay_in_a_user_namespace, "overlay in a user namespace", "several --layer at once", "one --layer only")
{
	return AS_CELL(merges_layers);
}

FEATURE(openat2_beneath, "openat2(2), RESOLVE_BENEATH", "paths of others cannot lead elsewhere", NULL)
{
	AUTO_FD int root = open("/usr", O_PATH | O_DIRECTORY | O_CLOEXEC), fd = FD_NONE;

	fd = sys_open_beneath(root, "../etc/passwd", O_RDONLY | O_CLOEXEC, 0);
	if (fd != -EXDEV)
		return HAS_NOT;
	fd = sys_open_beneath(root, "bin", O_PATH | O_CLOEXEC, 0);
	return fd >= 0 ? HAS : HAS_NOT;
}

static bool stays_locked(void)
{
	AUTO_FD int tree = FD_NONE;

	if (!own_mounts())
		return false;
	tree = sys_open_tree(AT_FDCWD, "/usr", OPEN_TREE_CLONE | O_CLOEXEC | AT_RECURSIVE);
	if (tree < 0 || sys_mount_attr(tree, MOUNT_ATTR_RDONLY, 0, true) < 0 ||
	    sys_move_mount(tree, AT_FDCWD, "/tmp") < 0)
		return false;
	/* One user namespace further in, where all capabilities are there again. */
	if (unshare(CLONE_NEWUSER) < 0 || unshare(CLONE_NEWNS) < 0)
		return false;
	return mount(NULL, "/tmp", NULL, MS_REMOUNT | MS_BIND, NULL) < 0 && errno == EPERM &&
	       umount2("/tmp", MNT_DETACH) < 0 && errno == EINVAL;
}

FEATURE(locked_mounts, "mounts from a more privileged namespace are locked", "masks cannot be removed from inside",
	NULL)
{
	return AS_CELL(stays_locked);
}

FEATURE(quotactl_by_descriptor, "quotactl_fd(2)", "--tmp-dir, where the file system has project quotas",
	"/tmp is memory only")
{
	/* A file system without quotas answers ENOSYS too, so: a descriptor that is none. */
	return syscall(SYS_quotactl_fd, -1, QCMD(Q_SYNC, USRQUOTA), 0, NULL) < 0 && errno == EBADF ? HAS : HAS_NOT;
}
