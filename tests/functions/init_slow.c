/* The init takes FSBOX_TEST_MS milliseconds of wall time. */
#include "out.h"

int fsbox_init(void)
{
	const char *p = secure_getenv("FSBOX_TEST_MS");
	long ms = 0;

	for (p = p ? p : "0"; *p >= '0' && *p <= '9'; p++)
		ms = ms * 10 + (*p - '0');
	return nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL) < 0;
}

int fsbox_handler(fsbox_call *call)
{
	return fsbox_respond(call, "\"ready\"", 7) < 0;
}
