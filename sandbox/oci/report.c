#include "oci/oci.h"

#include "base/clock.h"
#include "base/fd.h"
#include "json/json.h"

#include <fcntl.h>
#include <stdio.h>

void oci_time(char *to, size_t size)
{
	struct timespec now;
	struct tm tm;
	size_t n;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	(void)gmtime_r(&now.tv_sec, &tm);
	n = strftime(to, size, "%Y-%m-%dT%H:%M:%S", &tm);
	(void)snprintf(to + n, size - n, ".%09ldZ", now.tv_nsec);
}

static void put_message(struct buf *b, const struct err *e)
{
	if (e->where[0])
		buf_printf(b, "%s: ", e->where);
	buf_puts(b, e->msg[0] ? e->msg : err_kind_name(e->kind));
	if (e->stage[0])
		buf_printf(b, " (stage %s)", e->stage);
	if (e->hint[0])
		buf_printf(b, " (%s)", e->hint);
	for (size_t i = 0; i < b->len; i++)
		if ((unsigned char)b->data[i] < 0x20 || b->data[i] == 0x7f)
			b->data[i] = ' ';
}

/* The members in the order of the callers' own logs. */
static void put_line(struct buf *line, const struct buf *msg, bool json)
{
	char time[48];

	oci_time(time, sizeof time);
	if (json) {
		buf_puts(line, "{\"level\":\"error\",\"msg\":");
		json_add_string(line, msg->data, msg->len);
		buf_printf(line, ",\"time\":\"%s\"}\n", time);
		return;
	}
	buf_printf(line, "time=\"%s\" level=error msg=", time);
	json_add_string(line, msg->data, msg->len);
	buf_puts(line, "\n");
}

void oci_report(const struct oci_args *a, const struct err *e)
{
	AUTO(buf_done) struct buf msg = {0}, line = {0};
	const bool json = a->log_format && strcmp(a->log_format, "json") == 0;
	const bool log = a->log && a->log[0];
	AUTO_FD int fd = log ? open(a->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644) : FD_NONE;

	put_message(&msg, e);
	put_line(&line, &msg, json);
	if (msg.failed || line.failed)
		return;
	if (fd_valid(fd) && fd_write_all(fd, line.data, line.len) < 0)
		(void)fputs("fsbox-oci: the log cannot be written\n", stderr);
	if (log || !json)
		(void)fprintf(stderr, "fsbox-oci: %s\n", msg.data);
	else
		(void)fputs(line.data, stderr);
}
