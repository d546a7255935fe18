/* Writes an EXIT record as if it were PID 1, then hangs; "exit" in the event: then ends with status 7. A host that
 * believes anything but the last bytes reports status 0. */
#include "out.h"

#include <channel.h>
#include <unistd.h>

int fsbox_handler(fsbox_call *call)
{
	struct {
		struct chan_head head;
		struct chan_exit exit;
	} forged = {
		.head = {.len = sizeof(struct chan_exit), .type = CHAN_EXIT},
		.exit = {.magic = CHAN_EXIT_MAGIC, .code = 1 /* CLD_EXITED */, .status = 0},
	};

	(void)!write(4, &forged, sizeof forged);
	if (event_has(call, "exit"))
		_exit(7);
	for (;;)
		(void)pause();
}
