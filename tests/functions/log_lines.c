/* A line on each stream, one without an end, then the answer: all of it belongs before END. */
#include "out.h"

int fsbox_handler(fsbox_call *call)
{
	printf("to stdout\n");
	fprintf(stderr, "to stderr\n");
	printf("no newline");
	return fsbox_respond(call, "logged", 6) < 0;
}
