/* Answers the event. */
#include "out.h"

int fsbox_handler(fsbox_call *call)
{
	size_t len;
	const void *event = fsbox_event(call, &len);

	return fsbox_respond(call, event, len) < 0;
}
