/* A container could reach this program by /proc/PID/exe of a process that has not executed its own yet, and write to
 * it: then the host would run what the container wrote. So what runs is the program as a detached read-only mount shows
 * it, or, without the right to make one, a sealed copy in memory (memfd_create(2)). early.c does the first before the C
 * library starts, so that mostly there is nothing left to do. */
#include "oci/oci.h"

#include "base/fd.h"
#include "sys/sys.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

enum { OUT_OF_THE_WAY = 100 };
enum { SEALS = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE };

static bool is_protected(int exe)
{
	struct statvfs fs;
	int seals;

	if (fstatvfs(exe, &fs) == 0 && (fs.f_flag & ST_RDONLY))
		return true;
	seals = fcntl(exe, F_GET_SEALS); /* -1, all bits set, of a file that knows no seals */
	return seals >= 0 && (seals & SEALS) == SEALS;
}

static int read_only_mount(void)
{
	AUTO_FD int fd = sys_open_tree(AT_FDCWD, "/proc/self/exe", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	int r = fd < 0 ? fd : sys_mount_attr(fd, MOUNT_ATTR_RDONLY, 0, false);

	return r < 0 ? r : take_fd(&fd);
}

static int sealed_copy(int exe)
{
	AUTO_FD int fd = memfd_create("fsbox-oci", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct stat st;

	if (fd < 0 || fstat(exe, &st) < 0)
		return -errno;
	for (off_t left = st.st_size; left > 0;) {
		ssize_t n = sendfile(fd, exe, NULL, (size_t)left);

		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		left -= n;
	}
	return fcntl(fd, F_ADD_SEALS, SEALS) < 0 ? -errno : take_fd(&fd);
}

/* The descriptor that early.c has executed us by. Its last close takes the mount off, for which the kernel waits for an RCU
 * grace period (50 to 130 us): whoever has it closes it when there is nothing else to do. */
static int own_mount = FD_NONE;

/* Its number is in the name that the kernel gives to a program without one: /dev/fd/N (execveat(2), AT_EMPTY_PATH). It goes
 * out of the way of those that are passed on by number. */
static void take_own_mount(int exe)
{
	static const char prefix[] = "/dev/fd/";
	const char *name = (const char *)getauxval(AT_EXECFN);
	struct stat program, named;
	uint64_t fd;

	if (!name || strncmp(name, prefix, sizeof prefix - 1) != 0 ||
	    !parse_u64(name + sizeof prefix - 1, STDERR_FILENO + 1, INT_MAX, &fd) || fstat((int)fd, &named) < 0 ||
	    fstat(exe, &program) < 0 || named.st_dev != program.st_dev || named.st_ino != program.st_ino ||
	    !(fcntl((int)fd, F_GETFL) & O_PATH))
		return;
	own_mount = fcntl((int)fd, F_DUPFD_CLOEXEC, OUT_OF_THE_WAY);
	if (own_mount < 0)
		own_mount = FD_NONE;
	(void)close((int)fd);
}

int oci_take_own_mount(void)
{
	return take_fd(&own_mount);
}

void oci_forget_own_mount(void)
{
	AUTO_FD int exe = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	if (fd_valid(exe))
		take_own_mount(exe);
	fd_closep(&own_mount);
}

/* What has been protected has no name but the one that was handed on as its first argument. */
static char *own_name;

int oci_own_dir(char *buf, size_t size, struct err *e)
{
	char exe[4096];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
	const char *name = exe, *slash;

	if (n < 0)
		return err_sys(e, errno, "reading /proc/self/exe");
	exe[n] = '\0';
	if (own_name && own_name[0] == '/' && strrchr(exe, '/') == exe) /* "/", "/memfd:..." */
		name = own_name;
	slash = strrchr(name, '/');
	if (!slash || (size_t)(slash - name) >= size)
		return err_sys(e, ENAMETOOLONG, "our program '%.200s'", name);
	str_copy(buf, (size_t)(slash - name) + 1, name);
	return 0;
}

int oci_protect(char **argv, struct err *e)
{
	static char path[4096];
	AUTO_FD int exe = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	AUTO_FD int safe = FD_NONE;

	if (exe < 0)
		return err_sys(e, errno, "opening our own program");
	own_name = argv[0];
	if (is_protected(exe)) {
		/* Executed by descriptor it would be called by that one's number (execveat(2), before Linux 6.14). */
		(void)prctl(PR_SET_NAME, "fsbox-oci");
		take_own_mount(exe);
		return 0;
	}
	if (readlink("/proc/self/exe", path, sizeof path - 1) > 0)
		argv[0] = path;
	safe = read_only_mount();
	if (safe < 0)
		safe = sealed_copy(exe);
	if (safe < 0)
		return err_sys(e, safe, "protecting our own program");
	(void)execveat(safe, "", argv, environ, AT_EMPTY_PATH);
	return err_sys(e, errno, "executing our own program again");
}
