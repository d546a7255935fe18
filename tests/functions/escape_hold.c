/* Holds something that no cell may be dumped with, as the event says ("socket", "memfd", "eventfd", "file", "deleted",
 * "nothing"), then waits for ever: the test that looks for such things has to find it. */
#include "out.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

int fsbox_handler(fsbox_call *call)
{
	int pair[2];
	void *p;
	int fd;

	if (event_has(call, "socket"))
		(void)socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	if (event_has(call, "memfd"))
		(void)memfd_create("held", MFD_CLOEXEC);
	if (event_has(call, "eventfd"))
		(void)eventfd(0, EFD_CLOEXEC);
	if (event_has(call, "file"))
		(void)open("/etc/passwd", O_RDONLY | O_CLOEXEC);
	if (event_has(call, "deleted")) {
		fd = open("/tmp/held", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		if (ftruncate(fd, 4096) == 0) {
			p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
			(void)p;
		}
		(void)unlink("/tmp/held");
		(void)close(fd);
	}
	printf("holding\n");
	(void)fflush(stdout);
	for (;;)
		(void)pause();
}
