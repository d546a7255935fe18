#include "out.h"

#include <unistd.h>

int fsbox_handler(fsbox_call *call)
{
	(void)call;
	for (;;)
		(void)pause();
}
