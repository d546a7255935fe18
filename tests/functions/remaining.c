/* Answers how many milliseconds the call has left; with a number in the event, after as many milliseconds of sleep. */
#include "out.h"

int fsbox_handler(fsbox_call *call)
{
	unsigned long ms = event_number(call, 0);
	struct timespec ts = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
	struct out o = {0};

	if (ms)
		(void)nanosleep(&ts, NULL);
	out_text(&o, "%lld", (long long)fsbox_remaining_ms(call));
	return out_answer(call, &o);
}
