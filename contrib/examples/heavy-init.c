/* An init that is worth a snapshot: it makes a table of the smallest prime factors up to 8 million (32 MiB), which takes
 * some tenths of a second. With the table the handler answers in microseconds. Event: the number to be factored. */
#include <fsbox.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LIMIT = 8000000 };

static uint32_t *factor; /* of each number the smallest prime that divides it */

int fsbox_init(void)
{
	factor = calloc(LIMIT + 1, sizeof *factor);
	if (!factor)
		return 1;
	for (uint32_t i = 2; i <= LIMIT; i++) {
		if (factor[i])
			continue;
		for (uint32_t k = i; k <= LIMIT; k += i)
			if (!factor[k])
				factor[k] = i;
	}
	printf("the table is made\n");
	return 0;
}

int fsbox_handler(fsbox_call *call)
{
	const char *p = fsbox_event(call, NULL);
	char text[512];
	unsigned n = 0;
	int len;

	p += strcspn(p, "0123456789");
	for (; *p >= '0' && *p <= '9' && n <= LIMIT; p++)
		n = n * 10 + (unsigned)(*p - '0');
	if (n < 2 || n > LIMIT)
		return fsbox_fail(call, "Factors.OutOfRange", "a number from 2 to 8,000,000 is expected");
	len = snprintf(text, sizeof text, "{\"number\":%u,\"factors\":[", n);
	for (const char *comma = ""; n > 1; comma = ",") {
		len += snprintf(text + len, sizeof text - (size_t)len, "%s%u", comma, factor[n]);
		n /= factor[n];
	}
	len += snprintf(text + len, sizeof text - (size_t)len, "]}");
	return fsbox_respond(call, text, (size_t)len);
}
