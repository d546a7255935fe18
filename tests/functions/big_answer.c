/* Answers as many bytes as the event says: byte i is i mod 251. */
#include "out.h"

int fsbox_handler(fsbox_call *call)
{
	size_t len = event_number(call, 0);
	unsigned char *p = malloc(len + 1);
	int r;

	if (!p)
		return 1;
	for (size_t i = 0; i < len; i++)
		p[i] = (unsigned char)(i % 251);
	r = fsbox_respond(call, p, len);
	free(p);
	return r < 0 && !event_has(call, "ignore");
}
