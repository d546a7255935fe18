/* What CRIU does to a process, in small: at the end of init it is there twice, with the same memory and the same pid,
 * and nobody tells either. The second has its channel in the FIFOs $TWIN/in and $TWIN/out, and of the threads only the
 * main one. It must be PID 1 of a namespace, so that the second can be PID 1 of another. Included by functions only. */
#pragma once

#include "out.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

OUT_UNUSED static int twin_open(const char *name, int flags, int fd)
{
	char path[256];
	int r;

	(void)snprintf(path, sizeof path, "%s/%s", getenv("TWIN"), name);
	r = open(path, flags | O_CLOEXEC);
	return r >= 0 && dup3(r, fd, O_CLOEXEC) == fd && close(r) == 0 ? 0 : -1;
}

OUT_UNUSED static int twin_start(void)
{
	if (!getenv("TWIN"))
		return 0;
	if (getpid() != 1)
		return 2;
	/* Not fork(3), which would tell the libraries (pthread_atfork(3)). */
	long pid = syscall(SYS_clone, CLONE_NEWPID | SIGCHLD, NULL, NULL, NULL, NULL);
	if (pid != 0)
		return pid > 0 ? 0 : 3;
	return getpid() != 1 || twin_open("in", O_RDONLY, 3) < 0 || twin_open("out", O_WRONLY, 4) < 0 ? 4 : 0;
}
