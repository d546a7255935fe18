/* Takes and touches memory until it is killed; "fork" in the event: in a child, so that the runtime itself survives
 * where only the largest process is killed. Only for cells with a limit on memory. */
#include "out.h"

#include <sys/wait.h>
#include <unistd.h>

enum { STEP = 1 << 20 };

static unsigned long eat(void)
{
	unsigned long mib = 0;

	for (;; mib++) {
		char *p = malloc(STEP);

		if (!p)
			return mib;
		memset(p, 0xa5, STEP);
	}
}

int fsbox_handler(fsbox_call *call)
{
	struct out o = {0};
	int status = 0;

	if (!in_cell())
		return not_in_cell(call);
	if (event_has(call, "fork")) {
		pid_t pid = fork();

		if (pid == 0)
			_exit(eat() ? 0 : 1);
		(void)waitpid(pid, &status, 0);
		out_text(&o, "{\"status\":%d}", status);
	} else {
		out_text(&o, "{\"mib\":%lu}", eat());
	}
	return out_answer(call, &o);
}
