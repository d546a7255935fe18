/* What a container finds of the host's mounts in its own mount namespace. Static; one line for each attempt.
 *
 *     beneath fresh     mounts a proc in a user namespace of its own, which takes one without masks to be there already
 *     beneath under     with CAP_SYS_ADMIN and CAP_SYS_CHROOT: takes its root away and enters the namespace anew */
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

static int mount_fresh(void)
{
	pid_t pid;
	int status;

	if (unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID) < 0) {
		perror("unshare");
		return 2;
	}
	pid = fork();
	if (pid == 0) {
		puts(mount("proc", "/tmp", "proc", 0, NULL) < 0 ? "fresh proc: refused" : "fresh proc: MOUNTED");
		return 0;
	}
	return waitpid(pid, &status, 0) == pid ? 0 : 2;
}

/* By what the kernel says of it: under a root that shares files with another machine lie copies of that one's. */
static void tell(const char *what, const char *path, long magic)
{
	struct statfs fs;

	printf("%s: %s\n", what, statfs(path, &fs) == 0 && fs.f_type == magic ? "THERE" : "gone");
}

static int look_under(void)
{
	int self = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);

	if (self < 0 || umount2("/", MNT_DETACH) < 0 || setns(self, CLONE_NEWNS) < 0) {
		perror("getting beneath");
		return 2;
	}
	tell("proc of the host", "/proc", PROC_SUPER_MAGIC);
	tell("sys of the host", "/sys", SYSFS_MAGIC);
	tell("sysctls", "/proc/sys", PROC_SUPER_MAGIC);
	return 0;
}

int main(int argc, char **argv)
{
	(void)setvbuf(stdout, NULL, _IONBF, 0);
	return argc == 2 && strcmp(argv[1], "under") == 0 ? look_under() : mount_fresh();
}
