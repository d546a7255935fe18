/* Returns the number in the event. */
#include "out.h"

int fsbox_handler(fsbox_call *call)
{
	return (int)event_number(call, 0);
}
