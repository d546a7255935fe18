/* org.fsbox.Sandbox as a table: what is dispatched, checked, described to clients and written to docs/protocol.md. */
#pragma once

#include "wire/varlink.h"

/* Of a message. JSON is read by the one thread that serves everybody, at some 100 MB a second. */
enum { MESSAGE_BYTES = 131072 };

/* Describe's apiLevel: one more with each release that adds something to the table; see docs/protocol.md, Compatibility. */
enum { METHODS_API_LEVEL = 1 };

enum method {
	M_DESCRIBE,
	M_CAPACITY,
	M_DEPLOY,
	M_UNDEPLOY,
	M_SCALE,
	M_FUNCTIONS,
	M_ACQUIRE,
	M_RELEASE,
	M_INVOKE,
	M_CANCEL,
	M_PAUSE,
	M_RESUME,
	M_UPDATE,
	M_KILL,
	M_REMOVE,
	M_INSPECT,
	M_LIST,
	M_STATS,
	M_LOGS,
	M_SUBSCRIBE,
	M_SNAPSHOT,
	M_FORK,
	M_EXEC,
};

extern const struct wire_interface sandbox_interface;
bool methods_has(const char *name); /* "Invoke" */
