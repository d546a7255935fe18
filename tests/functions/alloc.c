/* Touches as many MiB as the event says and keeps them until the answer. "tmp" in the event: as a file in /tmp. */
#include "out.h"

#include <fcntl.h>
#include <unistd.h>

static unsigned long in_tmp(unsigned long mib)
{
	int fd = open("/tmp/pages", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	static char block[1 << 20];
	unsigned long n = 0;

	memset(block, 1, sizeof block);
	while (fd >= 0 && n < mib && write(fd, block, sizeof block) == (ssize_t)sizeof block)
		n++;
	if (fd >= 0)
		(void)close(fd);
	return n;
}

int fsbox_handler(fsbox_call *call)
{
	unsigned long mib = event_number(call, 1);
	struct out o = {0};

	if (event_has(call, "tmp")) {
		out_text(&o, "{\"mib\":%lu}", in_tmp(mib));
		return out_answer(call, &o);
	}

	volatile char *p = malloc(mib << 20);
	if (!p)
		return fsbox_fail(call, "Test.NoMemory", "malloc");
	for (unsigned long i = 0; i < mib << 20; i += 4096)
		p[i] = 1;
	out_text(&o, "{\"mib\":%lu}", mib);
	return out_answer(call, &o);
}
