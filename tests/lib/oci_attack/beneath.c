/* What a container finds of the host's mounts in its own mount namespace. Static; one line for each attempt.
 *
 *     beneath fresh     mounts a proc in a user namespace of its own, which takes one without masks to be there already
 *     beneath under     with CAP_SYS_ADMIN and CAP_SYS_CHROOT: takes its root away and enters the namespace anew */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
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

static int look_under(void)
{
	int self = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (self < 0 || umount2("/", MNT_DETACH) < 0 || setns(self, CLONE_NEWNS) < 0) {
		perror("getting beneath");
		return 2;
	}
	puts(stat("/proc/version", &st) == 0 ? "proc of the host: THERE" : "proc of the host: gone");
	puts(stat("/sys/kernel", &st) == 0 ? "sys of the host: THERE" : "sys of the host: gone");
	puts(stat("/proc/sys/kernel", &st) == 0 ? "sysctls: THERE" : "sysctls: gone");
	return 0;
}

int main(int argc, char **argv)
{
	(void)setvbuf(stdout, NULL, _IONBF, 0);
	return argc == 2 && strcmp(argv[1], "under") == 0 ? look_under() : mount_fresh();
}
