/* Says in the log that its shutdown ran; FSBOX_TEST_SHUTDOWN=hang never ends it. */
#include "out.h"

#include <unistd.h>

void fsbox_shutdown(void)
{
	const char *how = secure_getenv("FSBOX_TEST_SHUTDOWN");

	printf("shutdown ran\n");
	while (how && strcmp(how, "hang") == 0)
		(void)pause();
}

int fsbox_handler(fsbox_call *call)
{
	return fsbox_respond(call, "\"up\"", 4) < 0;
}
