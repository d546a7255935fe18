/* Executes the words of the event and answers what came out: {"status":wait status,"out":"…"}. */
#include "out.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

int fsbox_handler(fsbox_call *call)
{
	char *event = strdup(fsbox_event(call, NULL)), *save = NULL, *argv[32] = {NULL}, text[4096];
	struct out o = {0}, said = {0};
	int ends[2], n = 0, status = 0;
	ssize_t got;
	pid_t pid;

	if (!event || pipe2(ends, O_CLOEXEC) < 0)
		return 1;
	for (char *w = strtok_r(event, " \"", &save); w && n < 31; w = strtok_r(NULL, " \"", &save))
		argv[n++] = w;
	pid = fork();
	if (pid == 0) {
		(void)dup2(ends[1], STDOUT_FILENO);
		(void)dup2(ends[1], STDERR_FILENO);
		(void)execv(argv[0] ? argv[0] : "", argv);
		_exit(127);
	}
	(void)close(ends[1]);
	out_bytes(&said, "", 0);
	while ((got = read(ends[0], text, sizeof text)) > 0)
		out_bytes(&said, text, (size_t)got);
	(void)close(ends[0]);
	(void)waitpid(pid, &status, 0);
	out_bytes(&o, "{", 1);
	out_number(&o, "status", status);
	out_key(&o, "out");
	out_string(&o, said.data, said.len);
	out_bytes(&o, "}", 1);
	free(said.data);
	free(event);
	return out_answer(call, &o);
}
