/* Hooks: programs that an engine has run at points of a container's life (config.md, "POSIX-platform Hooks"). */
#include "cell/container.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "sys/sys.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/uio.h>

static const char *decimal(pid_t pid, char buf[static 16])
{
	char *p = buf + 15;

	*p = '\0';
	do
		*--p = (char)('0' + pid % 10);
	while (pid /= 10);
	return p;
}

/* A state of more than 64 KiB would fill the pipe before anybody reads: it is written by a process of its own then; so
 * far no engine has annotations of that size, and the write is refused. */
static int write_state(int fd, const struct ct_state_text *state, pid_t pid)
{
	char number[16];
	const char *parts[3] = {state->head, decimal(pid, number), state->tail};

	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		size_t len = strlen(parts[i]);

		if (len > 0 && write(fd, parts[i], len) != (ssize_t)len)
			return errno == EAGAIN ? -E2BIG : -errno;
	}
	return 0;
}

/* In the hook's process. Everything but the standard streams closes at exec. */
static _Noreturn void execute(const struct ct_hook *h, const int *streams, int in)
{
	static const char *const none[] = {NULL};
	const char *const self[] = {h->path, NULL};
	const char *const *args = h->args && h->args[0] ? (const char *const *)h->args : self;
	const char *const *env = h->env ? (const char *const *)h->env : none;
	char *const *argv, *const *envp;
	sigset_t empty;

	memcpy(&argv, &args, sizeof argv);
	memcpy(&envp, &env, sizeof envp);
	(void)sigemptyset(&empty);
	(void)sigprocmask(SIG_SETMASK, &empty, NULL);
	(void)signal(SIGPIPE, SIG_DFL);
	for (int i = 0; streams && i < 2; i++)
		if (fd_valid(streams[i]) && dup3(streams[i], 1 + i, 0) < 0)
			_exit(126);
	if (dup3(in, 0, 0) >= 0 && close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) == 0)
		(void)execve(h->path, argv, envp);
	_exit(errno == ENOENT ? 127 : 126);
}

/* 0: it ended; -ETIMEDOUT; -ESRCH: @until, or FD_NONE, became readable. */
static int wait_for(int pidfd, int until, const struct ct_hook *h, siginfo_t *ret)
{
	const uint64_t end = h->timeout_s.set ? clock_mono_ns() + (uint64_t)h->timeout_s.v * NS_PER_S : UINT64_MAX;
	struct pollfd p[] = {{.fd = pidfd, .events = POLLIN}, {.fd = until, .events = POLLIN}};

	for (;;) {
		const uint64_t now = clock_mono_ns();
		uint64_t left_ms = end > now ? (end - now) / NS_PER_MS + 1 : 0;

		p[0].revents = p[1].revents = 0;
		(void)poll(p, ARRAY_LEN(p), end == UINT64_MAX || left_ms > INT32_MAX ? -1 : (int)left_ms);
		if (p[0].revents)
			return sys_wait_exit(pidfd, true, ret);
		if (!p[1].revents && clock_mono_ns() < end)
			continue;
		(void)!sys_pidfd_kill(pidfd, SIGKILL);
		(void)!sys_wait_exit(pidfd, true, ret);
		return p[1].revents ? -ESRCH : -ETIMEDOUT;
	}
}

int ct_hook_run(const struct ct_hook *h, const struct ct_state_text *state, pid_t pid, struct err *e)
{
	int in[2], pidfd = FD_NONE, r;
	siginfo_t end = {0};

	if (pipe2(in, O_CLOEXEC | O_NONBLOCK) < 0)
		return err_sys(e, errno, "making a pipe for hook '%s'", h->path);
	(void)fcntl(in[0], F_SETFL, 0);
	r = write_state(in[1], state, pid);
	fd_closep(&in[1]);
	if (r == 0) {
		const struct clone_args args = {.flags = CLONE_PIDFD,
						.pidfd = (uintptr_t)&pidfd,
						.exit_signal = SIGCHLD};

		r = sys_clone3(&args);
		if (r == 0)
			execute(h, state->streams, in[0]);
	}
	fd_closep(&in[0]);
	if (r < 0)
		return err_sys(e, r, "starting hook '%s'", h->path);
	r = wait_for(pidfd, state->until ? *state->until : FD_NONE, h, &end);
	fd_closep(&pidfd);
	if (r == -ESRCH)
		return err_set(e, ERR_LOST, ESRCH, "hook '%s' was ended, for the container is", h->path);
	if (r == -ETIMEDOUT)
		return err_set(e, ERR_DEADLINE, ETIMEDOUT, "hook '%s' took longer than %lld s", h->path,
			       (long long)h->timeout_s.v);
	if (r < 0)
		return err_sys(e, r, "waiting for hook '%s'", h->path);
	if (end.si_code != CLD_EXITED)
		return err_set(e, ERR_FUNCTION, ECANCELED, "hook '%s' was ended by signal %d", h->path, end.si_status);
	return end.si_status == 0 ? 0
				  : err_set(e, ERR_FUNCTION, ECANCELED, "hook '%s' failed: exit status %d", h->path,
					    end.si_status);
}
