/* Uses the answering functions in the order that the event spells: r respond "R", w write "W", e empty write, f fail,
 * b a respond that is too large, l a write that is too large, L a respond of 100,000 bytes. Prints each result;
 * returns 0, or 1 for "!" at the end. */
#include "out.h"

static int step(fsbox_call *call, char c, const void *large)
{
	switch (c) {
	case 'r':
		return fsbox_respond(call, "R", 1);
	case 'w':
		return fsbox_write(call, "W", 1);
	case 'e':
		return fsbox_write(call, NULL, 0);
	case 'n':
		return fsbox_respond(call, NULL, 1);
	case 'f':
		return fsbox_fail(call, "Test.F", "f");
	case 'b':
		return fsbox_respond(call, large, FSBOX_MAX_PAYLOAD + 1);
	case 'l':
		return fsbox_write(call, large, FSBOX_MAX_PAYLOAD + 1);
	case 'L':
		return fsbox_respond(call, large, 100000);
	}
	return 0;
}

int fsbox_handler(fsbox_call *call)
{
	char *large = calloc(1, FSBOX_MAX_PAYLOAD + 1);
	const char *event = fsbox_event(call, NULL);

	for (const char *p = event; *p; p++)
		printf("%d ", step(call, *p, large));
	printf("\n");
	free(large);
	return strchr(event, '!') != NULL;
}
