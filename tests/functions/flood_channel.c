/* Writes bytes that are no frames to the channel: for ever, or as many KiB as the event says. */
#include "out.h"

#include <unistd.h>

int fsbox_handler(fsbox_call *call)
{
	unsigned long kib = event_number(call, 0), n = 0;
	char junk[1024];

	memset(junk, 0xee, sizeof junk);
	while (kib == 0 || n++ < kib) {
		if (write(4, junk, sizeof junk) < 0)
			break;
	}
	return 0;
}
