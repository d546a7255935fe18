/* Computes in its init for FSBOX_TEST_MS (default 300) milliseconds of wall time; the handler answers how much CPU time
 * that got. For the boost of the init phase. */
#include "out.h"

static uint64_t cpu_ns, wall_ns;

int fsbox_init(void)
{
	const char *ms = secure_getenv("FSBOX_TEST_MS");
	uint64_t wall = time_ns(CLOCK_MONOTONIC), cpu = time_ns(CLOCK_PROCESS_CPUTIME_ID);
	uint64_t length = 0;
	volatile unsigned sink = 0;

	for (ms = ms ? ms : "300"; *ms >= '0' && *ms <= '9'; ms++)
		length = length * 10 + (uint64_t)(*ms - '0');
	while (time_ns(CLOCK_MONOTONIC) < wall + length * 1000000) {
		for (int i = 0; i < 1000; i++)
			sink = sink * 31 + 7;
	}
	cpu_ns = time_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	wall_ns = time_ns(CLOCK_MONOTONIC) - wall;
	return 0;
}

int fsbox_handler(fsbox_call *call)
{
	struct out o = {0};

	out_text(&o, "{\"cpu_ns\":%llu,\"wall_ns\":%llu}", (unsigned long long)cpu_ns, (unsigned long long)wall_ns);
	return out_answer(call, &o);
}
