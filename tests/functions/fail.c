/* Fails with a type and a message of its own. "long": both longer than what is kept. "plain": just a status. "null":
 * no type and no message. "answered": after an answer. */
#include "out.h"

int fsbox_handler(fsbox_call *call)
{
	static char type[300], message[40000];

	if (event_has(call, "plain"))
		return 17;
	if (event_has(call, "null"))
		return fsbox_fail(call, NULL, NULL);
	if (event_has(call, "long")) {
		memset(type, 'T', sizeof type - 1);
		for (size_t i = 1; i + 2 < sizeof message; i += 2) /* the limit falls into the middle of a character */
			memcpy(message + i, "\xc3\xa4", 2);
		message[0] = 'm';
		return fsbox_fail(call, type, message);
	}
	if (event_has(call, "answered"))
		(void)fsbox_respond(call, "not this", 8);
	(void)fsbox_fail(call, "Test.Failed", "it was asked to: \"fail\"\n\xc3\xa4");
	return event_has(call, "zero") ? 0 : fsbox_fail(call, "Test.Second", "not this");
}
