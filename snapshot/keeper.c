/* A CRIU on the host, with whatever it starts. It forks helpers, some of which wait for it for ever: one that is killed
 * leaves them behind. So it runs under a keeper, a process of ours that its orphans fall to (prctl(2),
 * PR_SET_CHILD_SUBREAPER). When CRIU has ended, or fsbox has, or it took too long, the keeper ends all that is left
 * below it, and then itself. */
#include "snapshot/internal.h"

#include "base/clock.h"
#include "sys/sys.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum { ENTER_FAILED = 200, ENTER_ERRNO_MAX = 54, END_MS = 10000 };
#define GIVE_UP_AGAIN_NS (NS_PER_S / 5)

enum waited { ENDED, LATE, INTERRUPTED };

static enum waited wait_for(int pidfd, int signal_fd, int ms)
{
	const uint64_t deadline = clock_mono_ns() + (uint64_t)ms * NS_PER_MS;
	struct pollfd p[] = {{.fd = pidfd, .events = POLLIN}, {.fd = signal_fd, .events = POLLIN}};
	int n;

	do {
		const uint64_t now = clock_mono_ns();

		n = poll(p, ARRAY_LEN(p), now < deadline ? (int)((deadline - now) / NS_PER_MS) + 1 : 0);
	} while (n < 0 && errno == EINTR);
	return n == 0 ? LATE : p[0].revents ? ENDED : INTERRUPTED;
}

/* Nothing of ours: CRIU has no business with them, and what it injects code into even less. */
static int place_stdio(int out)
{
	AUTO_FD int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	const int to = fd_valid(out) ? out : null;

	return null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(to, STDOUT_FILENO) < 0 || dup2(to, STDERR_FILENO) < 0
		       ? -errno
		       : 0;
}

_Noreturn static void execute(const struct keeper *k)
{
	char *const *argv, *const *envp;
	sigset_t none;
	int r;

	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	r = k->enter ? k->enter(k->arg) : 0;
	/* A change of ids forgets it, hence here; the keeper cannot be gone already, or we would be its successor's. */
	if (r == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		r = -errno;
	if (r == 0)
		r = place_stdio(k->out);
	if (r == 0) {
		memcpy(&argv, &(const char *const *){k->argv}, sizeof argv); /* execve(2) does not write to them */
		memcpy(&envp, &(const char *const *){k->envp}, sizeof envp);
		(void)execve(argv[0], argv, envp);
		r = -errno;
	}
	_exit(ENTER_FAILED + (-r < ENTER_ERRNO_MAX ? -r : ENTER_ERRNO_MAX));
}

/* SIGTERM: our master is dead, or wants it. */
static int next_signal(const struct keeper *k, const sigset_t *wanted, bool orphaned)
{
	const struct timespec again = {.tv_nsec = GIVE_UP_AGAIN_NS};
	siginfo_t si;

	if (orphaned)
		k->give_up(k->arg);
	return sigtimedwait(wanted, &si, orphaned ? &again : NULL);
}

_Noreturn static void keep(const struct keeper *k, pid_t master)
{
	bool orphaned = false;
	sigset_t wanted;
	int status = 0;
	pid_t criu;

	/* Blocked, so none of them is lost: SIGTERM is our master's death or wish, SIGCHLD perhaps CRIU's end. */
	(void)sigfillset(&wanted);
	(void)sigprocmask(SIG_SETMASK, &wanted, NULL);
	if (k->finish) /* nor do signals of our terminal */
		(void)setsid();
	(void)sigemptyset(&wanted);
	(void)sigaddset(&wanted, SIGTERM);
	(void)sigaddset(&wanted, SIGCHLD);
	if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0 ||
	    ((!k->finish || k->give_up) && prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0) < 0) || getppid() != master)
		_exit(ENTER_FAILED + ECHILD);
	criu = fork();
	if (criu == 0)
		execute(k);
	if (criu < 0)
		_exit(ENTER_FAILED + errno);
	for (;;) {
		pid_t ended;
		int how;

		while ((ended = waitpid(-1, &how, WNOHANG | __WALL)) > 0)
			if (ended == criu) {
				status = WIFEXITED(how) ? WEXITSTATUS(how) : 128 + WTERMSIG(how);
				sys_end_children();
				_exit(status);
			}
		if (next_signal(k, &wanted, orphaned) != SIGTERM)
			continue;
		if (!k->give_up) {
			sys_end_children();
			_exit(128 + SIGTERM);
		}
		orphaned = true;
	}
}

int keeper_start(struct keeper *k, struct err *e)
{
	const pid_t master = getpid();
	pid_t pid = fork();

	if (pid < 0)
		return err_sys(e, errno, "fork");
	if (pid == 0)
		keep(k, master);
	k->pid = pid;
	k->pidfd = sys_pidfd_open(pid);
	return k->pidfd < 0 ? err_sys(e, k->pidfd, "pidfd_open") : 0;
}

int keeper_wait(struct keeper *k, int timeout_ms, int signal_fd, int *ret_status, struct err *e)
{
	const enum waited how = wait_for(k->pidfd, signal_fd, timeout_ms);
	int status = 0;

	if (how != ENDED) {
		(void)!sys_pidfd_kill(k->pidfd, SIGTERM);
		if (wait_for(k->pidfd, FD_NONE, END_MS) != ENDED) {
			fd_closep(&k->pidfd);
			return err_set(e, ERR_BUSY, ETIMEDOUT,
				       "CRIU below process %d does not end: it hangs in the kernel", k->pid);
		}
	}
	while (waitpid(k->pid, &status, 0) < 0 && errno == EINTR)
		;
	fd_closep(&k->pidfd);
	if (how == INTERRUPTED)
		return err_set(e, ERR_CANCELLED, ECANCELED, "interrupted while CRIU worked");
	if (how == LATE)
		return err_set(e, ERR_DEADLINE, ETIMEDOUT, "CRIU took longer than %d s", timeout_ms / 1000);
	*ret_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	/* 255 is CRIU's. */
	if (*ret_status > ENTER_FAILED && *ret_status <= ENTER_FAILED + ENTER_ERRNO_MAX)
		return err_sys(e, *ret_status - ENTER_FAILED, "starting CRIU");
	return 0;
}
