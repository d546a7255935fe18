/* Streams as many numbered parts as the event says (3). "slow": 50 ms between them. "fail": fails after them. "hang":
 * never ends. */
#include "out.h"

#include <unistd.h>

int fsbox_handler(fsbox_call *call)
{
	unsigned long parts = event_number(call, 3);

	for (unsigned long i = 0; i < parts; i++) {
		char text[64];
		int n = snprintf(text, sizeof text, "part %lu\n", i);

		if (fsbox_write(call, text, (size_t)n) < 0)
			return 1;
		if (event_has(call, "slow"))
			(void)nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
	}
	while (event_has(call, "hang"))
		(void)pause();
	return event_has(call, "fail") ? fsbox_fail(call, "Test.Late", "after the parts") : 0;
}
