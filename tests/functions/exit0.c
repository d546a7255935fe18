/* Ends the process as if all were well: no answer was given. */
#include "out.h"

int fsbox_handler(fsbox_call *call)
{
	(void)call;
	exit(0);
}
