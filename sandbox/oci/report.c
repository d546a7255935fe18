#include "oci/oci.h"

#include "base/clock.h"
#include "base/fd.h"
#include "json/json.h"

#include <fcntl.h>
#include <stdarg.h>
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
static void put_line(struct buf *line, const char *level, const char *msg, size_t len, bool json)
{
	char time[48];

	oci_time(time, sizeof time);
	buf_printf(line, json ? "{\"level\":\"%s\",\"msg\":" : "level=%s msg=", level);
	json_add_string(line, msg, len);
	buf_printf(line, json ? ",\"time\":\"%s\"}\n" : " time=\"%s\"\n", time);
}

static void tell(const struct oci_args *a, const char *level, const char *prefix, const char *msg, size_t len)
{
	AUTO(buf_done) struct buf line = {0};
	const bool json = a->log_format && strcmp(a->log_format, "json") == 0;
	const bool log = a->log && a->log[0];
	AUTO_FD int fd = log ? open(a->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644) : FD_NONE;
	const bool error = strcmp(level, "error") == 0;

	put_line(&line, level, msg, len, json);
	if (line.failed)
		return;
	if (fd_valid(fd) && fd_write_all(fd, line.data, line.len) < 0)
		(void)fputs("fsbox-oci: the log cannot be written\n", stderr);
	if (log && !error)
		return; /* standard error is often the container's */
	if (log || !json)
		(void)fprintf(stderr, "fsbox-oci: %s%.*s\n", prefix, (int)len, msg);
	else
		(void)fputs(line.data, stderr);
}

void oci_report(const struct oci_args *a, const struct err *e)
{
	AUTO(buf_done) struct buf msg = {0};

	put_message(&msg, e);
	if (!msg.failed)
		tell(a, "error", "", msg.data, msg.len);
}

void oci_warn(const struct oci_args *a, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	for (char *p = text; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = ' ';
	if (a->warnings)
		buf_printf(a->warnings, "%s\n", text);
}

void oci_flush_warnings(const struct oci_args *a)
{
	struct buf *w = a->warnings;

	for (const char *p = w && !w->failed ? w->data : NULL; p && *p;) {
		const size_t len = strcspn(p, "\n");

		tell(a, "warning", "warning: ", p, len);
		p += len + (p[len] == '\n');
	}
	if (w)
		buf_done(w);
}
