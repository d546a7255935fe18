/* Touches MB mebibytes in its init, each page with a content of its own, and sleeps SLEEP_MS: the function that the
 * benchmark snapshots. Answers with how long its init took, in microseconds. */
#include "out.h"

enum { PAGE = 4096 };

static unsigned char *memory;
static size_t n_pages;
static uint64_t init_ns;

static unsigned long number(const char *name)
{
	const char *p = secure_getenv(name);
	unsigned long n = 0;

	for (; p && *p >= '0' && *p <= '9'; p++)
		n = n * 10 + (unsigned long)(*p - '0');
	return n;
}

int fsbox_init(void)
{
	const uint64_t begin = time_ns(CLOCK_MONOTONIC);
	const unsigned long ms = number("SLEEP_MS");

	n_pages = number("MB") * ((1 << 20) / PAGE);
	memory = malloc(n_pages * PAGE + 1);
	if (!memory)
		return 1;
	for (size_t i = 0; i < n_pages; i++)
		memset(memory + i * PAGE, (int)(i % 251) + 1, PAGE);
	(void)nanosleep(&(struct timespec){.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000},
			NULL);
	init_ns = time_ns(CLOCK_MONOTONIC) - begin;
	return 0;
}

int fsbox_handler(fsbox_call *call)
{
	struct out o = {0};

	for (size_t i = 0; i < n_pages; i += 256) /* one page of each MiB: it is really there */
		if (memory[i * PAGE] != (unsigned char)(i % 251 + 1))
			return fsbox_fail(call, "Test.Lost", "a page of init is not what it was");
	out_text(&o, "%llu", (unsigned long long)(init_ns / 1000));
	return out_answer(call, &o);
}
