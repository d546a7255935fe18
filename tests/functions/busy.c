/* Computes for as many milliseconds of wall time as the event says; tells how much CPU time it got. */
#include "out.h"

int fsbox_handler(fsbox_call *call)
{
	uint64_t wall = time_ns(CLOCK_MONOTONIC), cpu = time_ns(CLOCK_PROCESS_CPUTIME_ID);
	uint64_t end = wall + event_number(call, 1000) * 1000000;
	volatile unsigned sink = 0;
	struct out o = {0};

	while (time_ns(CLOCK_MONOTONIC) < end) {
		for (int i = 0; i < 1000; i++)
			sink = sink * 31 + 7;
	}
	out_text(&o, "{\"cpu_ns\":%llu,\"wall_ns\":%llu}",
		 (unsigned long long)(time_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu),
		 (unsigned long long)(time_ns(CLOCK_MONOTONIC) - wall));
	return out_answer(call, &o);
}
