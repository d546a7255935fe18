/* Forks, and the child forgets to end: it returns from the handler as well. */
#include "out.h"

#include <sys/wait.h>
#include <unistd.h>

int fsbox_handler(fsbox_call *call)
{
	int status = 0;
	pid_t pid = fork();
	struct out o = {0};

	if (pid > 0)
		(void)waitpid(pid, &status, 0);
	out_text(&o, "%d", WIFEXITED(status) ? WEXITSTATUS(status) : -1);
	return out_answer(call, &o);
}
