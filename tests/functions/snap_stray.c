/* Tries to keep a process out of a snapshot: a thread forks twice, sharing memory, DELAY microseconds after init began. The
 * stray one looks whether the runtime is stopped by a tracer while it runs itself: then it could write to what CRIU has put
 * into the memory that they share. Answers "STRAYS SEEN": how many there were, and how often one saw that. */
#include "out.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STACK = 65536, LOOKS = 20000 };
static volatile int strays, seen;
static char stacks[2][STACK] __attribute__((aligned(16)));

static int runtime_is_traced(void)
{
	char text[512];
	int fd = open("/proc/2/status", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);

	if (fd >= 0)
		(void)close(fd);
	text[n > 0 ? n : 0] = '\0';
	return strstr(text, "\nState:\tt") != NULL;
}

static int stray(void *arg)
{
	(void)arg;
	strays++;
	for (int i = 0; i < LOOKS; i++)
		seen += runtime_is_traced();
	_exit(0);
}

static int between(void *arg)
{
	(void)clone(stray, stacks[1] + STACK, CLONE_VM | SIGCHLD, arg);
	_exit(0);
}

static void *later(void *arg)
{
	const char *p = getenv("DELAY");
	useconds_t us = 0;

	for (p = p ? p : "0"; *p >= '0' && *p <= '9'; p++)
		us = us * 10 + (useconds_t)(*p - '0');
	(void)usleep(us);

	int pid = clone(between, stacks[0] + STACK, CLONE_VM | SIGCHLD, arg);

	(void)waitpid(pid, NULL, 0);
	return NULL;
}

int fsbox_init(void)
{
	pthread_t t;

	return pthread_create(&t, NULL, later, NULL);
}

int fsbox_handler(fsbox_call *call)
{
	struct out o = {0};

	out_text(&o, "%d %d", strays, seen);
	return out_answer(call, &o);
}
