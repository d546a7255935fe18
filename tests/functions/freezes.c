/* Tries to freeze its own group, then answers what came of it: the number of files that took the word. */
#include "out.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

int fsbox_handler(fsbox_call *call)
{
	static const char *const files[] = {"/sys/fs/cgroup/cgroup.freeze", "/proc/1/root/sys/fs/cgroup/cgroup.freeze"};
	struct out o = {0};
	unsigned taken = 0;

	for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
		int fd = open(files[i], O_WRONLY | O_CLOEXEC);

		taken += fd >= 0 && write(fd, "1", 1) == 1;
		if (fd >= 0)
			(void)close(fd);
	}
	if (event_has(call, "stop")) /* what is left to it: its own process */
		(void)raise(SIGSTOP);
	out_text(&o, "%u", taken);
	return out_answer(call, &o);
}
