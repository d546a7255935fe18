/* Ends the process with the status in the event, after a line that is not flushed by hand. */
#include "out.h"

int fsbox_handler(fsbox_call *call)
{
	printf("leaving");
	exit((int)event_number(call, 1));
}
