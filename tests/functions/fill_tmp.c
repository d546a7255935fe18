/* Writes /tmp full. Answers how many bytes went in and what stopped it. "keep" in the event leaves the file. */
#include "out.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

int fsbox_handler(fsbox_call *call)
{
	static char block[65536];
	struct out o = {0};
	unsigned long long bytes = 0;
	int code = 0;
	int fd;

	if (!in_cell())
		return not_in_cell(call);
	fd = open("/tmp/full", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	memset(block, 'x', sizeof block);
	while (fd >= 0 && code == 0) {
		ssize_t n = write(fd, block, sizeof block);

		if (n < 0)
			code = errno;
		else
			bytes += (unsigned long long)n;
	}
	if (fd < 0)
		code = errno;
	else
		(void)close(fd);
	if (!event_has(call, "keep"))
		(void)unlink("/tmp/full");
	out_text(&o, "{\"bytes\":%llu,\"errno\":%d}", bytes, code);
	return out_answer(call, &o);
}
