/* Counts the primes up to the number in the event (1000000, or {"limit":1000000}): work for the CPU, of which a cell
 * gets a share in proportion to its memory. Gives up in time rather than being cut off. */
#include <fsbox.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LIMIT_MAX = 200000000, MARGIN_MS = 100 };

/* The first number in the event, 1,000,000 when there is none; -1 when it is too large. */
static long read_limit(const fsbox_call *call)
{
	const char *p = fsbox_event(call, NULL);
	long n = 0;

	p += strcspn(p, "0123456789");
	if (!*p)
		return 1000000;
	for (; *p >= '0' && *p <= '9'; p++) {
		n = n * 10 + (*p - '0');
		if (n > LIMIT_MAX)
			return -1;
	}
	return n;
}

int fsbox_handler(fsbox_call *call)
{
	long limit = read_limit(call), count = 0, largest = 0;
	unsigned char *composite; /* one byte for each odd number: index i stands for 2 i + 1 */
	char text[96];
	int n;

	if (limit < 0)
		return fsbox_fail(call, "Primes.LimitTooLarge", "at most 200,000,000");
	composite = calloc((size_t)limit / 2 + 1, 1);
	if (!composite)
		return fsbox_fail(call, "Primes.NoMemory", "the sieve needs half a byte for each number");
	if (limit >= 2) {
		count = 1;
		largest = 2;
	}
	for (long i = 3; i <= limit; i += 2) {
		if (composite[i / 2])
			continue;
		count++;
		largest = i;
		if (i > limit / i)
			continue;
		for (long k = i * i; k <= limit; k += 2 * i)
			composite[k / 2] = 1;
		if (fsbox_remaining_ms(call) < MARGIN_MS) {
			free(composite);
			return fsbox_fail(call, "Primes.OutOfTime", "not finished within the function's timeout");
		}
	}
	free(composite);
	n = snprintf(text, sizeof text, "{\"limit\":%ld,\"count\":%ld,\"largest\":%ld}", limit, count, largest);
	return fsbox_respond(call, text, (size_t)n);
}
