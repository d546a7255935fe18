#include "runtime/api/api.h"

/* clang-format off */
#define NO (-1)
static const signed char after[RT_STATES][RT_EVENTS] = {
	/*                    next       response      error         init/error restore/next      restore/error */
	[RT_STARTED]       = {RT_READY,   NO,           NO,           RT_FAILED, RT_RESTORE_READY, NO},
	/* The same request again, from a client that lost its connection: the later one is answered. */
	[RT_READY]         = {RT_READY,   NO,           NO,           NO,        NO,               NO},
	/* The same event again, as Lambda's own emulator has it. */
	[RT_RUNNING]       = {RT_RUNNING, RT_ANSWERING, RT_ANSWERED,  NO,        NO,               NO},
	[RT_ANSWERING]     = {NO,         NO,           NO,           NO,        NO,               NO},
	[RT_ANSWERED]      = {RT_READY,   NO,           NO,           NO,        NO,               NO},
	[RT_RESTORE_READY] = {NO,         NO,           NO,           NO,        RT_RESTORE_READY, NO},
	[RT_RESTORING]     = {RT_READY,   NO,           NO,           RT_FAILED, NO,               RT_FAILED},
	[RT_FAILED]        = {NO,         NO,           NO,           NO,        NO,               NO},
};
/* clang-format on */

int rt_after(enum rt_state state, enum rt_event event)
{
	return after[state][event];
}

const char *rt_state_name(enum rt_state s)
{
	static const char *const names[RT_STATES] = {"Started",      "Ready",        "Running",   "InvocationResponse",
						     "ResponseSent", "RestoreReady", "Restoring", "InitError"};

	return names[s];
}

const char *rt_event_name(enum rt_event e)
{
	static const char *const names[RT_EVENTS] = {"Ready",     "InvocationResponse", "InvocationErrorResponse",
						     "InitError", "RestoreReady",       "RestoreError"};

	return names[e];
}
