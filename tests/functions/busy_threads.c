/* Computes in two threads for as many milliseconds of wall time as the event says; tells how much CPU time both got. */
#include "out.h"

#include <pthread.h>

static void *compute(void *arg)
{
	const uint64_t *end = arg;
	volatile unsigned sink = 0;

	while (time_ns(CLOCK_MONOTONIC) < *end) {
		for (int i = 0; i < 1000; i++)
			sink = sink * 31 + 7;
	}
	return NULL;
}

int fsbox_handler(fsbox_call *call)
{
	uint64_t wall = time_ns(CLOCK_MONOTONIC), cpu = time_ns(CLOCK_PROCESS_CPUTIME_ID);
	uint64_t end = wall + event_number(call, 1000) * 1000000;
	struct out o = {0};
	pthread_t other;

	if (pthread_create(&other, NULL, compute, &end) != 0)
		return fsbox_fail(call, "Test.NoThread", "pthread_create");
	(void)compute(&end);
	(void)pthread_join(other, NULL);
	out_text(&o, "{\"cpu_ns\":%llu,\"wall_ns\":%llu}",
		 (unsigned long long)(time_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu),
		 (unsigned long long)(time_ns(CLOCK_MONOTONIC) - wall));
	return out_answer(call, &o);
}
