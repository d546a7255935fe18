/* Streams well-formed parts of an answer without end, past every limit, by writing frames itself. */
#include "out.h"

#include <channel.h>
#include <unistd.h>

int fsbox_handler(fsbox_call *call)
{
	static struct {
		struct chan_head head;
		char body[65536 - sizeof(struct chan_head)];
	} frame = {.head = {.len = sizeof frame.body, .type = CHAN_DATA, .call = 1}};

	(void)call;
	while (write(4, &frame, sizeof frame) > 0)
		;
	return 0;
}
