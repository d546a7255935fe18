/* --tmp-dir: project quotas on a loop-mounted ext4, in a mount namespace of this process, so that whatever happens
 * the kernel takes everything back: image, loop device (LO_FLAGS_AUTOCLEAR) and mounts. Needs root; those tests that
 * need a kernel with ext4 project quotas (CONFIG_QFMT_V2) and loop devices skip without. */
#include "rootfs/rootfs.h"

#include "base/fd.h"
#include "base/mem.h"
#include "base/removal.h"
#include "tests/lib/tap.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/dqblk_xfs.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <linux/quota.h>
#include <sched.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB (UINT64_C(1) << 20)

/* Below a tmpfs that only this process sees. */
#define TOP    "/mnt"
#define QUOTED TOP "/quoted"

enum { UID = 1879049185, GID = UID }; /* 0x70000000 + 993: an outside id as cells have it */

static const char *why_no_quota = "not set up";

static int run_program(char *const *argv)
{
	char *env[] = {NULL};
	pid_t pid;
	int status;

	if (posix_spawnp(&pid, argv[0], NULL, NULL, argv, env) != 0 || waitpid(pid, &status, 0) != pid)
		return -1;
	return status;
}

/* "/dev/loopN" for @image; the device is released with its last user. */
static int attach(const char *image, char *ret, size_t size)
{
	AUTO_FD int ctl = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	AUTO_FD int file = open(image, O_RDWR | O_CLOEXEC);

	for (int try = 0; try < 16 && ctl >= 0 && file >= 0; try++) {
		const struct loop_config config = {.fd = (uint32_t)file, .info.lo_flags = LO_FLAGS_AUTOCLEAR};
		int n = ioctl(ctl, LOOP_CTL_GET_FREE);
		AUTO_FD int dev = FD_NONE;

		if (n < 0)
			return -errno;
		(void)snprintf(ret, size, "/dev/loop%d", n);
		dev = open(ret, O_RDWR | O_CLOEXEC);
		if (dev < 0)
			return -errno;
		if (ioctl(dev, LOOP_CONFIGURE, &config) == 0)
			return take_fd(&dev); /* kept open until it is mounted */
		if (errno != EBUSY)           /* somebody else took it in between */
			return -errno;
	}
	return ctl < 0 || file < 0 ? -ENODEV : -EBUSY;
}

static const char *make_quoted(void)
{
	char image[] = TOP "/image", loop[32];
	char *mkfs[] = {(char[]){"mkfs.ext4"},
			(char[]){"-q"},
			(char[]){"-F"},
			(char[]){"-O"},
			(char[]){"quota,project"},
			(char[]){"-E"},
			(char[]){"quotatype=prjquota"},
			(char[]){"-N"},
			(char[]){"16384"},
			image,
			NULL};
	AUTO_FD int fd = open(image, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0 || ftruncate(fd, 96 * (off_t)MIB) < 0)
		return "no image file";
	if (run_program(mkfs) != 0)
		return "no mkfs.ext4 that knows project quotas (Debian package e2fsprogs)";

	AUTO_FD int dev = attach(image, loop, sizeof loop);
	if (dev < 0)
		return "no loop device";
	if (mount(loop, QUOTED, "ext4", MS_NOSUID | MS_NODEV, "prjquota") < 0)
		return "this kernel mounts no ext4 with project quotas (CONFIG_QFMT_V2)";
	return NULL;
}

/* Once. NULL, or why nothing can be tested. */
static const char *setup(void)
{
	static bool done;

	if (geteuid() != 0)
		return "needs root";
	if (done)
		return NULL;
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return "cannot make a mount namespace";
	if (mount("tmpfs", TOP, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755") < 0 || mkdir(QUOTED, 0755) < 0)
		return "cannot mount a tmpfs";
	why_no_quota = make_quoted();
	done = true;
	return NULL;
}

#define SETUP()                             \
	do {                                \
		const char *why_ = setup(); \
		if (why_)                   \
			SKIP_HOST(why_);    \
	} while (0)
#define SETUP_QUOTED()                           \
	do {                                     \
		SETUP();                         \
		if (why_no_quota)                \
			SKIP_HOST(why_no_quota); \
	} while (0)

static unsigned count_entries(const char *dir)
{
	DIR *d = opendir(dir);
	unsigned n = 0;

	for (const struct dirent *ent; d && (ent = readdir(d));)
		n += strcmp(ent->d_name, ".") != 0 && strcmp(ent->d_name, "..") != 0 &&
		     strcmp(ent->d_name, "lost+found") != 0;
	if (d)
		(void)closedir(d);
	return n;
}

static struct fs_disk_quota quota_of(uint32_t project)
{
	AUTO_FD int fd = open(QUOTED, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct fs_disk_quota q = {0};

	CHECK_EQ(syscall(SYS_quotactl_fd, fd, (unsigned)Q_XGETQUOTA << SUBCMDSHIFT | PRJQUOTA, project, &q), 0);
	return q;
}

/* Everything of @project is gone: files and limits. */
static void check_gone(uint32_t project)
{
	struct fs_disk_quota q = quota_of(project);

	CHECK_EQ(q.d_bcount, 0);
	CHECK_EQ(q.d_icount, 0);
	CHECK_EQ(q.d_blk_hardlimit, 0);
	CHECK_EQ(q.d_ino_hardlimit, 0);
	CHECK_EQ(count_entries(QUOTED), 0);
}

/* Runs @fn in a child that is the cell's user, inside @dir. True when it ended with 0. */
static bool as_cell(const char *dir, int (*fn)(void))
{
	int status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		if (chdir(dir) < 0 || setresgid(GID, GID, GID) < 0 || setresuid(UID, UID, UID) < 0)
			_exit(100);
		_exit(fn());
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	if (status != 0)
		tap_note("the child ended with status 0x%x", (unsigned)status);
	return status == 0;
}

TEST(a_file_system_without_project_quotas_is_refused_by_name_and_nothing_is_made)
{
	struct root_quota q = {0};
	struct err e = {0};

	SETUP();
	CHECK_EQ(mkdir(TOP "/plain", 0755), 0);
	CHECK_EQ(root_quota_make(TOP "/plain", "0123456789ab", MIB, UID, GID, &q, &e), -EOPNOTSUPP);
	CHECK_EQ(e.kind, ERR_UNSUPPORTED);
	CHECK_CONTAINS(e.msg, "'" TOP "/plain'");
	CHECK_CONTAINS(e.msg, "tmpfs");
	CHECK_CONTAINS(e.hint, "prjquota");
	CHECK_STREQ(q.path, "");
	CHECK_EQ(count_entries(TOP "/plain"), 0);
	CHECK_EQ(rmdir(TOP "/plain"), 0);
}

TEST(a_directory_that_is_absent_relative_or_too_long_is_refused)
{
	char dir[400] = "/";
	struct root_quota q = {0};
	struct err absent = {0}, relative = {0}, length = {0}, file = {0};

	SETUP();
	CHECK_EQ(root_quota_make(TOP "/absent", "0123456789ab", MIB, UID, GID, &q, &absent), -ENOENT);
	CHECK_CONTAINS(absent.msg, TOP "/absent");
	CHECK_EQ(root_quota_make("mnt", "0123456789ab", MIB, UID, GID, &q, &relative), -EINVAL);
	CHECK_EQ(relative.kind, ERR_SPEC);
	memset(dir + 1, 'a', 250);
	CHECK_EQ(root_quota_make(dir, "0123456789ab", MIB, UID, GID, &q, &length), -ENAMETOOLONG);
	CHECK_EQ(length.kind, ERR_SPEC);
	CHECK_EQ(root_quota_make("/proc/self/status", "0123456789ab", MIB, UID, GID, &q, &file), -ENOTDIR);
	CHECK_STREQ(q.path, "");
}

TEST(a_mount_point_inside_a_tree_is_not_entered)
{
	AUTO_FD int top = FD_NONE;

	SETUP();
	top = open(TOP, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK_EQ(mkdir(TOP "/tree", 0755) | mkdir(TOP "/tree/a", 0755) | mkdir(TOP "/tree/a/mount", 0755), 0);
	CHECK_EQ(mkdir(TOP "/other", 0755) | mkdir(TOP "/other/precious", 0755), 0);
	CHECK_EQ(mount(TOP "/other", TOP "/tree/a/mount", NULL, MS_BIND, NULL), 0);
	CHECK_EQ(tree_remove(top, "tree"), -EBUSY);
	CHECK_EQ(umount2(TOP "/tree/a/mount", MNT_DETACH), 0);
	CHECK_EQ(tree_remove(top, "tree"), 0);
	CHECK_EQ(rmdir(TOP "/other/precious") | rmdir(TOP "/other"), 0); /* still there */
}

static int write_full(void)
{
	static char block[65536];
	AUTO_FD int fd = open("full", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	uint64_t n = 0;

	memset(block, 'x', sizeof block);
	for (ssize_t w; (w = write(fd, block, sizeof block)) > 0;)
		n += (uint64_t)w;
	if (errno != EDQUOT && errno != ENOSPC)
		return 1;
	return n > 7 * MIB && n <= 8 * MIB ? 0 : 2;
}

static int make_many(void)
{
	char name[32];
	int n = 0;

	for (;; n++) {
		(void)snprintf(name, sizeof name, "f%d", n);

		AUTO_FD int fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		if (fd < 0)
			break;
	}
	if (errno != EDQUOT && errno != ENOSPC)
		return 1;
	return n == 1024 - 1 ? 0 : 2; /* the directory itself is one */
}

/* The mode that was promised, and no way out of the project by names. */
static int look_around(void)
{
	struct stat st;

	if (stat(".", &st) < 0 || st.st_uid != UID || st.st_gid != GID || (st.st_mode & 07777) != 01700)
		return 1;
	if (rename("full", "../full") == 0 || link("full", "../full") == 0)
		return 2;
	return access("../lost+found", R_OK) == 0 ? 3 : 0;
}

/* As a cell has it: all capabilities, but in a user namespace of its own. */
static int change_project(void)
{
	struct fsxattr x = {0};
	AUTO_FD int dir = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO_FD int file = open("full", O_RDONLY | O_CLOEXEC);

	if (unshare(CLONE_NEWUSER) < 0 || dir < 0 || file < 0)
		return 1;
	for (int i = 0; i < 2; i++) {
		int fd = i == 0 ? dir : file, flags = 0;

		if (ioctl(fd, FS_IOC_FSGETXATTR, &x) < 0 || x.fsx_projid == 0)
			return 2;
		x.fsx_projid = 0;
		if (ioctl(fd, FS_IOC_FSSETXATTR, &x) == 0)
			return 3;
		if (ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0)
			return 4;
		flags ^= FS_PROJINHERIT_FL;
		if (ioctl(fd, FS_IOC_SETFLAGS, &flags) == 0)
			return 5;
	}
	return 0;
}

TEST(the_limit_of_bytes_holds_and_everything_is_removed)
{
	struct root_quota q = {0};
	struct err e = {0};
	uint32_t project;

	SETUP_QUOTED();
	REQUIRE_OK(root_quota_make(QUOTED, "0123456789ab", 8 * MIB, UID, GID, &q, &e), &e);
	CHECK_STREQ(q.path, QUOTED "/fsbox-0123456789ab");
	project = q.project;
	CHECK_EQ(project, UID);
	CHECK_EQ(quota_of(project).d_blk_hardlimit, 8 * MIB / 512);
	CHECK(as_cell(q.path, write_full));
	CHECK(as_cell(q.path, look_around));
	CHECK(as_cell(q.path, change_project));
	CHECK_OK(root_quota_remove(&q, &e), &e);
	CHECK_STREQ(q.path, "");
	CHECK_OK(root_quota_remove(&q, &e), &e);
	check_gone(project);
}

TEST(the_limit_of_inodes_holds)
{
	struct root_quota q = {0};
	struct err e = {0};

	SETUP_QUOTED();
	REQUIRE_OK(root_quota_make(QUOTED, "0123456789ab", 8 * MIB, UID, GID, &q, &e), &e);
	CHECK(as_cell(q.path, make_many));
	CHECK_OK(root_quota_remove(&q, &e), &e);
	check_gone(UID);
}

TEST(a_project_in_use_is_left_alone)
{
	struct root_quota a = {0}, b = {0};
	struct err e = {0};

	SETUP_QUOTED();
	REQUIRE_OK(root_quota_make(QUOTED, "aaaaaaaaaaaa", 4 * MIB, UID, GID, &a, &e), &e);
	REQUIRE_OK(root_quota_make(QUOTED, "bbbbbbbbbbbb", 2 * MIB, UID, GID, &b, &e), &e);
	CHECK_EQ(b.project, a.project + 1);
	CHECK_EQ(quota_of(a.project).d_blk_hardlimit, 4 * MIB / 512);
	CHECK_EQ(quota_of(b.project).d_blk_hardlimit, 2 * MIB / 512);
	CHECK_OK(root_quota_remove(&a, &e), &e);
	CHECK_EQ(quota_of(b.project).d_blk_hardlimit, 2 * MIB / 512);
	CHECK_OK(root_quota_remove(&b, &e), &e);
	check_gone(UID);
	check_gone(UID + 1);
}

TEST(an_id_that_exists_is_an_error_and_stays)
{
	struct root_quota q = {0};
	struct err e = {0};

	SETUP_QUOTED();
	CHECK_EQ(mkdir(QUOTED "/fsbox-cccccccccccc", 0700), 0);
	CHECK_EQ(root_quota_make(QUOTED, "cccccccccccc", MIB, UID, GID, &q, &e), -EEXIST);
	CHECK_EQ(e.kind, ERR_EXISTS);
	CHECK_EQ(rmdir(QUOTED "/fsbox-cccccccccccc"), 0);
	check_gone(UID);
}

TEST(a_directory_that_others_may_write_is_refused)
{
	struct root_quota q = {0};
	struct err e = {0}, owned = {0}, sticky = {0};

	SETUP_QUOTED();
	CHECK_EQ(mkdir(QUOTED "/open", 0755) | chmod(QUOTED "/open", 0777), 0);
	CHECK_EQ(root_quota_make(QUOTED "/open", "0123456789ab", MIB, UID, GID, &q, &e), -EACCES);
	CHECK_EQ(e.kind, ERR_DENIED);
	CHECK_CONTAINS(e.hint, "chmod");
	CHECK_EQ(chmod(QUOTED "/open", 0755) | chown(QUOTED "/open", 1000, 0), 0);
	CHECK_EQ(root_quota_make(QUOTED "/open", "0123456789ab", MIB, UID, GID, &q, &owned), -EACCES);
	CHECK_EQ(chown(QUOTED "/open", 0, 0) | chmod(QUOTED "/open", 01777), 0);
	if (CHECK_OK(root_quota_make(QUOTED "/open", "0123456789ab", MIB, UID, GID, &q, &sticky), &sticky))
		CHECK_OK(root_quota_remove(&q, &sticky), &sticky);
	CHECK_EQ(rmdir(QUOTED "/open"), 0);
}

/* Full to the last block and inode, deep beyond any path. */
static int build_deep(void)
{
	for (;;) {
		if (mkdir("fsbox-0", 0) < 0 || chmod("fsbox-0", 0700) < 0 || chdir("fsbox-0") < 0)
			break;
	}
	if (errno != EDQUOT && errno != ENOSPC)
		return 1;
	for (int i = 0; i < 64; i++) { /* the way back has no permissions: only root gets in */
		if (chdir("..") < 0)
			return 2;
		(void)chmod("fsbox-0", 0);
	}
	return 0;
}

TEST(a_hostile_tree_at_its_limit_is_removed)
{
	struct root_quota q = {0};
	struct err e = {0};

	SETUP_QUOTED();
	REQUIRE_OK(root_quota_make(QUOTED, "0123456789ab", 16 * MIB, UID, GID, &q, &e), &e);
	CHECK(as_cell(q.path, build_deep));
	CHECK_GT(quota_of(q.project).d_icount, 1000);
	CHECK_OK(root_quota_remove(&q, &e), &e);
	check_gone(UID);
}

TEST(what_a_dead_owner_left_is_swept)
{
	struct root_quota q = {0};
	struct err e = {0}, alien = {0}, outside = {0};

	SETUP_QUOTED();
	REQUIRE_OK(root_quota_make(QUOTED, "0123456789ab", 8 * MIB, UID, GID, &q, &e), &e);
	CHECK(as_cell(q.path, write_full));
	CHECK_OK(root_quota_sweep(q.path, &e), &e);
	check_gone(q.project);
	CHECK_OK(root_quota_sweep(q.path, &e), &e);
	CHECK_OK(root_quota_sweep(TOP "/absent/fsbox-0123456789ab", &e), &e);
	/* It died between its first two steps. */
	CHECK_EQ(mkdir(QUOTED "/fsbox-0123456789ab", 0700), 0);
	CHECK_OK(root_quota_sweep(QUOTED "/fsbox-0123456789ab", &e), &e);
	CHECK_EQ(count_entries(QUOTED), 0);
	/* A record that does not name one of ours removes nothing. */
	CHECK_EQ(mkdir(QUOTED "/keep", 0700) | symlink("keep", QUOTED "/fsbox-abc"), 0);
	CHECK_LT(root_quota_sweep(QUOTED "/keep", &alien), 0);
	CHECK_EQ(alien.kind, ERR_BUG);
	CHECK_LT(root_quota_sweep(QUOTED "/fsbox-abc", &outside), 0);
	CHECK_EQ(unlink(QUOTED "/fsbox-abc") | rmdir(QUOTED "/keep"), 0);
}

/* The administrator's own project on the directory above is inherited by a half-made one; its limit must survive. */
TEST(an_inherited_project_keeps_its_limit)
{
	AUTO_FD int top = FD_NONE, above = FD_NONE;
	const uint32_t theirs = 4242;
	struct fs_disk_quota limit = {.d_version = FS_DQUOT_VERSION,
				      .d_id = theirs,
				      .d_fieldmask = FS_DQ_BHARD,
				      .d_blk_hardlimit = 9000};
	struct fsxattr x = {.fsx_projid = theirs, .fsx_xflags = FS_XFLAG_PROJINHERIT};
	struct root_quota q = {0};
	struct err e = {0};

	SETUP_QUOTED();
	CHECK_EQ(mkdir(QUOTED "/theirs", 0755), 0);
	top = open(QUOTED, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	above = open(QUOTED "/theirs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK_EQ(ioctl(above, FS_IOC_FSSETXATTR, &x), 0);
	CHECK_EQ(syscall(SYS_quotactl_fd, top, (unsigned)Q_XSETQLIM << SUBCMDSHIFT | PRJQUOTA, theirs, &limit), 0);
	CHECK_EQ(mkdir(QUOTED "/theirs/fsbox-0123456789ab", 0700), 0);
	CHECK_OK(root_quota_sweep(QUOTED "/theirs/fsbox-0123456789ab", &e), &e);
	CHECK_EQ(quota_of(theirs).d_blk_hardlimit, 9000);
	/* And a whole one below it works as anywhere. */
	if (CHECK_OK(root_quota_make(QUOTED "/theirs", "0123456789ab", MIB, UID, GID, &q, &e), &e))
		CHECK_OK(root_quota_remove(&q, &e), &e);
	CHECK_EQ(quota_of(theirs).d_blk_hardlimit, 9000);
	CHECK_EQ(rmdir(QUOTED "/theirs"), 0);
	limit.d_blk_hardlimit = 0;
	CHECK_EQ(syscall(SYS_quotactl_fd, top, (unsigned)Q_XSETQLIM << SUBCMDSHIFT | PRJQUOTA, theirs, &limit), 0);
	check_gone(UID);
}

TEST(counted_but_not_enforced_is_refused)
{
	char image[] = TOP "/image2", loop[32];
	struct root_quota q = {0};
	struct err e = {0};
	AUTO_FD int dev = FD_NONE;

	SETUP_QUOTED();

	char *copy[] = {(char[]){"mkfs.ext4"},
			(char[]){"-q"},
			(char[]){"-F"},
			(char[]){"-O"},
			(char[]){"quota,project"},
			(char[]){"-E"},
			(char[]){"quotatype=prjquota"},
			image,
			NULL};
	AUTO_FD int fd = open(image, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	CHECK_EQ(ftruncate(fd, 16 * (off_t)MIB), 0);
	CHECK_EQ(run_program(copy), 0);
	dev = attach(image, loop, sizeof loop);
	CHECK_GE(dev, 0);
	CHECK_EQ(mkdir(TOP "/lax", 0755), 0);
	REQUIRE(mount(loop, TOP "/lax", "ext4", 0, NULL) == 0);
	CHECK_EQ(root_quota_make(TOP "/lax", "0123456789ab", MIB, UID, GID, &q, &e), -EOPNOTSUPP);
	CHECK_CONTAINS(e.msg, "enforces no limits");
	CHECK_CONTAINS(e.msg, "ext4");
	CHECK_CONTAINS(e.hint, "-o prjquota");
	CHECK_EQ(umount2(TOP "/lax", 0), 0);
	CHECK_EQ(unlink(image), 0);
}

/* The whole of it: a function fills /tmp up to --tmp. The image lies in memory, and the kernel's loop driver charges its
 * pages to whoever writes, so that here, unlike with a disk, the cell pays for them after all: hence --mem. */
TEST(fsbox_run_gives_the_function_its_disk_space)
{
	const char *fsbox = secure_getenv("FSBOX"), *build = secure_getenv("FSBOX_BUILD");
	char target[512], out[128] = "";
	int p[2], status = -1;
	pid_t pid;

	SETUP_QUOTED();
	if (!fsbox || !build)
		SKIP_HOST("FSBOX and FSBOX_BUILD are not set; tests/run.sh sets them");
	(void)snprintf(target, sizeof target, "%s/tests/functions/fill_tmp.so", build);
	REQUIRE(pipe2(p, O_CLOEXEC) == 0);
	pid = fork();
	if (pid == 0) {
		/* Descriptor 1 only; the mount namespace is inherited. */
		(void)dup2(p[1], STDOUT_FILENO);
		(void)execl(fsbox, fsbox, "run", "--mem", "128", "--tmp", "48", "--tmp-dir", QUOTED, "--timeout", "60",
			    target, (char *)NULL);
		_exit(127);
	}
	(void)close(p[1]);
	(void)!read(p[0], out, sizeof out - 1);
	(void)close(p[0]);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);

	unsigned long long bytes = 0;
	int code = 0;
	CHECK_EQ(sscanf(out, "{\"bytes\":%llu,\"errno\":%d}", &bytes, &code), 2);
	CHECK(code == EDQUOT || code == ENOSPC);
	CHECK(bytes > 47 * MIB && bytes <= 48 * MIB);
	CHECK_EQ(count_entries(QUOTED), 0);
}
