/* Writes as many MiB of lines to the log as the event says (64), half of them to stderr. */
#include "out.h"

#include <unistd.h>

int fsbox_handler(fsbox_call *call)
{
	unsigned long left = event_number(call, 64) << 20, written = 0;
	char line[128];
	struct out o = {0};

	memset(line, 'l', sizeof line);
	line[sizeof line - 1] = '\n';
	for (; written < left; written += sizeof line) {
		if (write(written / sizeof line % 2 ? STDERR_FILENO : STDOUT_FILENO, line, sizeof line) < 0)
			break;
	}
	out_text(&o, "{\"bytes\":%lu}", written);
	return out_answer(call, &o);
}
