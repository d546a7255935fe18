/* canfilter: can this kernel install a seccomp filter, now?
 *
 * Not every failure is a refusal. The compiled form of filters is memory that the whole machine shares, and on a kernel
 * whose allocator for it hangs every process that installs one hangs for good, unkillable (docs/decisions/012). A child
 * tries; who is not back within five seconds will not be. Exit 0: yes; 1: it hangs; 2: it is refused. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PATIENCE_MS = 5000 };

static int install(void)
{
	struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog prog = {.len = 1, .filter = &allow};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return errno;
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) < 0 ? errno : 0;
}

int main(void)
{
	pid_t pid = fork();
	struct pollfd p = {.events = POLLIN};
	int status = 0;

	if (pid < 0)
		return 2;
	if (pid == 0)
		_exit(install());
	p.fd = pidfd_open(pid, 0);
	if (poll(&p, 1, PATIENCE_MS) == 0) {
		(void)kill(pid, SIGKILL);
		puts("seccomp(2) does not return on this kernel");
		return 1;
	}
	if (waitpid(pid, &status, 0) < 0 || !WIFEXITED(status))
		return 2;
	if (WEXITSTATUS(status) != 0)
		(void)printf("seccomp(2): %s\n", strerror(WEXITSTATUS(status)));
	return WEXITSTATUS(status) == 0 ? 0 : 2;
}
