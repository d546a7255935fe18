/* Streams its answer: a table of sines as CSV, one part after the other, of which the caller sees the first before
 * the last is made. The event says how many rows (100). */
#include <fsbox.h>

#include <stdio.h>
#include <string.h>

enum { ROWS_MAX = 100000, STEPS = 360 };

static unsigned rows_wanted(const fsbox_call *call)
{
	const char *p = fsbox_event(call, NULL);
	unsigned n = 0;

	p += strcspn(p, "0123456789");
	if (!*p)
		return 100;
	for (; *p >= '0' && *p <= '9' && n <= ROWS_MAX; p++)
		n = n * 10 + (unsigned)(*p - '0');
	return n;
}

int fsbox_handler(fsbox_call *call)
{
	static const char head[] = "degrees,sine\n";
	const double radian = 0.017453292519943295;
	double sine = 0, cosine = 1, step_sine, step_cosine, next;
	unsigned rows = rows_wanted(call);
	char part[4096];
	size_t len = 0;

	if (rows > ROWS_MAX)
		return fsbox_fail(call, "Streaming.TooMany", "at most 100,000 rows");
	/* sin and cos of one degree by their series; then each row is one rotation further. No libm needed. */
	step_sine = radian - radian * radian * radian / 6;
	step_cosine = 1 - radian * radian / 2 + radian * radian * radian * radian / 24;
	if (fsbox_write(call, head, sizeof head - 1) < 0)
		return 1;
	for (unsigned i = 0; i < rows; i++) {
		if (i % STEPS == 0) { /* back to the start, so that errors do not add up */
			sine = 0;
			cosine = 1;
		}
		len += (size_t)snprintf(part + len, sizeof part - len, "%u,%.6f\n", i % STEPS, sine);
		next = sine * step_cosine + cosine * step_sine;
		cosine = cosine * step_cosine - sine * step_sine;
		sine = next;
		if (len > sizeof part - 64 || i + 1 == rows) {
			if (fsbox_write(call, part, len) < 0)
				return 1; /* nobody reads any more */
			len = 0;
		}
	}
	return 0;
}
