/* Frames that are well formed and out of place: which one, the event says. Then hangs. */
#include "out.h"

#include <channel.h>
#include <unistd.h>

static void send_frame(uint16_t type, uint64_t number, uint32_t len)
{
	static char body[64];
	struct chan_head head = {.len = len, .type = type, .call = number};

	(void)!write(4, &head, sizeof head);
	(void)!write(4, body, len < sizeof body ? len : sizeof body);
}

int fsbox_handler(fsbox_call *call)
{
	if (event_has(call, "ready"))
		send_frame(CHAN_READY, 0, sizeof(struct chan_ready));
	else if (event_has(call, "other-call"))
		send_frame(CHAN_DONE, 999, 0);
	else if (event_has(call, "double-done"))
		send_frame(CHAN_DONE, 1, 0), send_frame(CHAN_DONE, 1, 0);
	else if (event_has(call, "huge"))
		send_frame(CHAN_DATA, 1, UINT32_MAX);
	else if (event_has(call, "half"))
		send_frame(CHAN_DATA, 1, 1000);
	else if (event_has(call, "host-type"))
		send_frame(CHAN_CALL, 1, 32);
	for (;;)
		(void)pause();
}
