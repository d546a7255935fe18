/* Answers the content of the file that the event names, or why there is none. */
#include "out.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

int fsbox_handler(fsbox_call *call)
{
	char path[256], text[4096];
	size_t len;
	const char *event = fsbox_event(call, &len);
	ssize_t n;
	int fd;

	if (len >= sizeof path)
		return 1;
	memcpy(path, event, len);
	path[len] = '\0';
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof text);
	if (n < 0) {
		const char *why = strerrorname_np(errno);

		return fsbox_respond(call, why, strlen(why)) < 0;
	}
	(void)close(fd);
	return fsbox_respond(call, text, (size_t)n) < 0;
}
