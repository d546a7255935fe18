/* Makes daemons the classic way: own session, orphaned, every signal ignored. "hang" in the event: and never returns.
 */
#include "out.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DAEMONS = 3 };

static void ignore_everything(void)
{
	for (int sig = 1; sig < 65; sig++) {
		struct sigaction sa = {.sa_handler = SIG_IGN};

		(void)sigaction(sig, &sa, NULL);
	}
}

static pid_t daemonise(void)
{
	int report[2];
	pid_t child, pid = -1;

	if (pipe(report) < 0)
		return -1;
	child = fork();
	if (child == 0) {
		(void)setsid();
		pid = fork();
		if (pid != 0)
			_exit(0);
		ignore_everything();
		pid = getpid();
		(void)!write(report[1], &pid, sizeof pid);
		for (;;)
			(void)pause();
	}
	(void)waitpid(child, NULL, 0);
	if (read(report[0], &pid, sizeof pid) != (ssize_t)sizeof pid)
		pid = -1;
	(void)close(report[0]);
	(void)close(report[1]);
	return pid;
}

int fsbox_handler(fsbox_call *call)
{
	struct out o = {0};

	out_text(&o, "{\"pids\":[");
	for (int i = 0; i < DAEMONS; i++)
		out_number(&o, NULL, daemonise());
	out_text(&o, "]}");
	if (event_has(call, "hang")) {
		ignore_everything();
		for (;;)
			(void)pause();
	}
	return out_answer(call, &o);
}
