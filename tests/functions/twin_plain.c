/* Twins without any library. */
#include "twin.h"

int fsbox_init(void)
{
	srandom(1);
	srand48(1);
	return twin_start();
}

int fsbox_handler(fsbox_call *call)
{
	return fsbox_respond(call, "", 0);
}
