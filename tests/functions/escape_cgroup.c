/* The bug class of CVE-2022-0492: a release_agent of the host's, by mounting a cgroup hierarchy or by finding one. Also:
 * leaving the own group, raising its limits, making a group. Answers {"way":errno,…}; 0 would be success. */
#include "out.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int try_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), code;

	if (fd < 0)
		return errno;
	code = write(fd, text, strlen(text)) < 0 ? errno : 0;
	(void)close(fd);
	return code;
}

static int try_mount(const char *type, const char *options)
{
	(void)mkdir("/tmp/cg", 0700);
	return mount("none", "/tmp/cg", type, 0, options) < 0 ? errno : 0;
}

static int try_fsopen(const char *type)
{
	int fd = (int)syscall(SYS_fsopen, type, 0), code = fd < 0 ? errno : 0;

	if (fd >= 0)
		(void)close(fd);
	return code;
}

/* Entries of a directory, -errno when it cannot be read. */
static long entries(const char *path)
{
	DIR *d = opendir(path);
	long n = -2;

	if (!d)
		return -errno;
	while (readdir(d))
		n++;
	(void)closedir(d);
	return n;
}

int fsbox_handler(fsbox_call *call)
{
	struct out o = {0};

	out_bytes(&o, "{", 1);
	out_number(&o, "mount cgroup", try_mount("cgroup", "memory"));
	out_number(&o, "mount cgroup named", try_mount("cgroup", "none,name=escape"));
	out_number(&o, "mount cgroup2", try_mount("cgroup2", NULL));
	out_number(&o, "mount sysfs", try_mount("sysfs", NULL));
	out_number(&o, "mount tmpfs", try_mount("tmpfs", NULL));
	out_number(&o, "mount proc", try_mount("proc", NULL));
	out_number(&o, "mount overlay", try_mount("overlay", "lowerdir=/etc:/usr"));
	out_number(&o, "mount devpts", try_mount("devpts", NULL));
	out_number(&o, "mount bpf", try_mount("bpf", NULL));
	out_number(&o, "fsopen cgroup2", try_fsopen("cgroup2"));
	out_number(&o, "fsopen cgroup", try_fsopen("cgroup"));
	out_number(&o, "unshare cgroup", unshare(CLONE_NEWCGROUP) < 0 ? errno : 0);
	out_number(&o, "unshare user and cgroup",
		   unshare(CLONE_NEWUSER | CLONE_NEWCGROUP | CLONE_NEWNS) < 0 ? errno : 0);
	out_number(&o, "remount root", mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND, NULL) < 0 ? errno : 0);
	out_number(&o, "remount proc", mount(NULL, "/proc", NULL, MS_REMOUNT | MS_BIND, NULL) < 0 ? errno : 0);
	out_number(&o, "umount mask", umount2("/proc/keys", MNT_DETACH) < 0 ? errno : 0);
	out_number(&o, "release_agent", try_write("/sys/fs/cgroup/release_agent", "/tmp/x"));
	out_number(&o, "notify_on_release", try_write("/sys/fs/cgroup/notify_on_release", "1"));
	out_number(&o, "cgroup.procs", try_write("/sys/fs/cgroup/cgroup.procs", "0"));
	out_number(&o, "sys is empty", entries("/sys"));
	out_bytes(&o, "}", 1);
	return out_answer(call, &o);
}
