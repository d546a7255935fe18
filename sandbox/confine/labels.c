/* Labels of security modules for the next execve(2): proc_pid_attr(5). */
#include "confine/confine.h"

#include "base/fd.h"
#include "sys/sys.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>

bool label_apparmor_is_on(void)
{
	char text[8] = "";

	return fd_read_file_at(AT_FDCWD, "/sys/module/apparmor/parameters/enabled", text, sizeof text) > 0 &&
	       text[0] == 'Y';
}

bool label_selinux_is_on(void)
{
	struct statfs fs;

	return statfs("/sys/fs/selinux", &fs) == 0 && (uint32_t)fs.f_type == SELINUX_MAGIC;
}

/* By the container's /proc, which has to be one, and nothing may be mounted over the way to our own file: a label that
 * went elsewhere would leave the process without any. */
static int open_attribute(const char *file)
{
	AUTO_FD int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct statfs fs;

	if (proc < 0 || fstatfs(proc, &fs) < 0)
		return -errno;
	if (fs.f_type != PROC_SUPER_MAGIC)
		return -EXDEV;
	return sys_openat2(proc, file, O_WRONLY | O_CLOEXEC, 0,
			   RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS);
}

static int write_attribute(int fd, const char *text)
{
	const size_t len = strlen(text);
	ssize_t n = fd < 0 ? fd : write(fd, text, len);

	if (fd < 0)
		return fd;
	return n < 0 ? -errno : (size_t)n == len ? 0 : -EIO;
}

int label_next_exec_apparmor(const char *profile)
{
	AUTO_FD int own = open_attribute("thread-self/attr/apparmor/exec");
	AUTO_FD int shared = own == -ENOENT ? open_attribute("thread-self/attr/exec") : FD_NONE; /* before Linux 5.8 */
	char text[LABEL_MAX + 8];

	if (snprintf(text, sizeof text, "exec %s", profile) >= (int)sizeof text)
		return -ENAMETOOLONG;
	return write_attribute(own == -ENOENT ? shared : own, text);
}

int label_next_exec_selinux(const char *label)
{
	AUTO_FD int fd = open_attribute("thread-self/attr/exec");

	return write_attribute(fd, label);
}
