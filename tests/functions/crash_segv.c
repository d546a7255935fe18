/* Writes to an address that is never mapped. */
#include "out.h"

int fsbox_handler(fsbox_call *call)
{
	volatile uintptr_t nowhere = 8;

	(void)call;
	*(volatile int *)nowhere = 1;
	return 0;
}
