/* Seeds what libc has in a way that it wants to keep; answers the next values of each. */
#include "out.h"

int fsbox_init(void)
{
	srandom(1);
	srand48(1);
	return 0;
}

int fsbox_handler(fsbox_call *call)
{
	struct out o = {0};
	int r;

	out_text(&o, "%ld ", random());
	out_text(&o, "%ld ", random());
	out_text(&o, "%ld ", random());
	out_text(&o, "%ld", mrand48());
	r = fsbox_respond(call, o.data, o.len);
	free(o.data);
	return r;
}
