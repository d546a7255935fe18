/* Answers the value of the variable that the event names (quotes around it are dropped); fails when it is not set. */
#include "out.h"

int fsbox_handler(fsbox_call *call)
{
	char name[256];
	const char *value;
	int n = snprintf(name, sizeof name, "%s", (const char *)fsbox_event(call, NULL));
	char *p = name;

	if (n >= 2 && p[0] == '"' && p[n - 1] == '"') {
		p[n - 1] = '\0';
		p++;
	}
	value = secure_getenv(p);
	return value ? fsbox_respond(call, value, strlen(value)) < 0 : fsbox_fail(call, "Test.NotSet", p);
}
