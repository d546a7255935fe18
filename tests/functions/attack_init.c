/* Tries to get a hold of PID 1 with the rights of the same user. Answers {"attempt":errno,…}; 0 would be a success
 * of the attack, except for the signals, which are taken and must have no effect. */
#include "out.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static int try_open(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC);

	if (fd < 0)
		return errno;
	(void)close(fd);
	return 0;
}

static int try_peek(void)
{
	char byte;
	struct iovec here = {&byte, 1}, there = {(void *)0x400000, 1};

	return process_vm_readv(1, &here, 1, &there, 1, 0) < 0 ? errno : 0;
}

static int try_descriptor(void)
{
	int pidfd = (int)syscall(SYS_pidfd_open, 1, 0), fd, code;

	if (pidfd < 0)
		return errno;
	fd = (int)syscall(SYS_pidfd_getfd, pidfd, 4, 0);
	code = fd < 0 ? errno : 0;
	(void)close(pidfd);
	return code;
}

int fsbox_handler(fsbox_call *call)
{
	struct out o = {0};

	out_text(&o, "{");
	out_number(&o, "ptrace", ptrace(PTRACE_SEIZE, 1, NULL, NULL) < 0 ? errno : 0);
	out_number(&o, "mem", try_open("/proc/1/mem", O_RDWR));
	out_number(&o, "maps", try_open("/proc/1/maps", O_RDONLY));
	out_number(&o, "environ", try_open("/proc/1/environ", O_RDONLY));
	out_number(&o, "fd", try_open("/proc/1/fd/4", O_WRONLY));
	out_number(&o, "peek", try_peek());
	out_number(&o, "getfd", try_descriptor());
	for (int sig = 1; sig < 65; sig++) {
		if (sig != SIGHUP && sig != SIGINT && sig != SIGQUIT && sig != SIGUSR1 && sig != SIGUSR2 &&
		    sig != SIGTERM)
			(void)kill(1, sig);
	}
	out_number(&o, "init_alive", kill(1, 0) == 0);
	out_text(&o, "}");
	return out_answer(call, &o);
}
