/* Leaves the channel non-blocking and full, and ends with status 9: the EXIT record must come through whole all the
 * same. */
#include "out.h"

#include <fcntl.h>
#include <unistd.h>

int fsbox_handler(fsbox_call *call)
{
	char junk[4096] = {0};

	(void)call;
	(void)fcntl(4, F_SETFL, O_WRONLY | O_NONBLOCK);
	while (write(4, junk, sizeof junk) > 0)
		;
	while (write(4, junk, 1) > 0)
		;
	_exit(9);
}
