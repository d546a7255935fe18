/* Answers how often it was called in this cell. */
#include "out.h"

static unsigned calls;

int fsbox_handler(fsbox_call *call)
{
	struct out o = {0};

	out_text(&o, "%u", ++calls);
	return out_answer(call, &o);
}
