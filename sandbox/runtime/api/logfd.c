/* The pipe behind _LAMBDA_TELEMETRY_LOG_FD: what runtime clients frame is written to descriptor 1 as lines, one for each
 * message, and goes to subscribers with its line feeds. */
#include "runtime/api/api.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

int logfd_open(struct api *a)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -1; /* clients then write lines */
	(void)fcntl(ends[0], F_SETFL, O_NONBLOCK);
	a->log_fd = ends[0];
	return ends[1];
}

/* A line of the host's log is one record, so line feeds inside become carriage returns, as clients do where they have no
 * such descriptor. */
static void take_record(void *arg, const char *text, size_t len, bool raw)
{
	struct api *a = arg;
	struct bytes line = {0};

	telemetry_line(a, TELEMETRY_FUNCTION, text, len);
	if (raw) {
		telemetry_write_through(STDOUT_FILENO, text, len);
		return;
	}
	bytes_add(&line, text, len);
	bytes_puts(&line, "\n");
	if (line.failed)
		return;
	for (size_t i = 0; i < len; i++)
		if (line.data[i] == '\n')
			line.data[i] = '\r';
	telemetry_write_through(STDOUT_FILENO, line.data, line.len);
	bytes_free(&line);
}

/* The bytes taken; 0 when there are none. */
static size_t take(struct api *a)
{
	char data[16384];
	ssize_t n = read(a->log_fd, data, sizeof data);

	if (n < 0)
		return 0;
	if (n == 0) {
		log_frames_end(&a->log, take_record, a);
		(void)close(a->log_fd);
		a->log_fd = -1;
	}
	log_frames_feed(&a->log, data, (size_t)n, take_record, a);
	return (size_t)n;
}

void logfd_readable(struct api *a)
{
	(void)take(a);
}

void logfd_drain(struct api *a)
{
	int left = 0; /* what lies there now: a program that goes on writing is not waited for */

	if (a->log_fd < 0 || ioctl(a->log_fd, FIONREAD, &left) < 0)
		return;
	while (left > 0 && a->log_fd >= 0) {
		const size_t n = take(a);

		left = n > 0 ? left - (int)n : 0;
	}
}
