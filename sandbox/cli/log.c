/* What goes to stderr, in Lambda's two log formats. The platform's lines and the function's output share one buffer, so
 * their order is the order in which things happened. Writing never blocks while a cell runs: a pipe that poll(2) calls
 * writable takes PIPE_BUF bytes (pipe(7)), so no more is offered at once. What a call writes is only collected here; the
 * session's poll loop writes it when it has nothing more urgent, beside the function's own work. */
#include "cli/cli.h"

#include "base/clock.h"
#include "base/fd.h"
#include "json/json.h"

#include <limits.h>
#include <poll.h>
#include <stdio.h>

enum { LOG_PENDING_MAX = 262144, LOG_LINE_MAX = 262144 };

int cli_write(int fd, const void *data, size_t len, int signal_fd)
{
	const char *at = data;

	while (len > 0) {
		struct pollfd p[2] = {{.fd = fd, .events = POLLOUT}, {.fd = signal_fd, .events = POLLIN}};
		size_t n = len < PIPE_BUF ? len : PIPE_BUF;

		if (poll(p, 2, -1) < 0) {
			if (errno != EINTR)
				return -errno;
			continue;
		}
		if (p[1].revents)
			return -ECANCELED;

		ssize_t w = write(fd, at, n);
		if (w < 0 && errno != EINTR && errno != EAGAIN)
			return -errno;
		if (w > 0) {
			at += w;
			len -= (size_t)w;
		}
	}
	return 0;
}

static bool writable_now(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};

	return poll(&p, 1, 0) == 1 && (p.revents & (POLLOUT | POLLERR | POLLHUP));
}

static void flush(struct run_log *log)
{
	size_t at = 0;

	while (at < log->pending.len && writable_now(log->fd)) {
		size_t n = log->pending.len - at < PIPE_BUF ? log->pending.len - at : PIPE_BUF;
		ssize_t w = write(log->fd, log->pending.data + at, n);

		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0) { /* nobody reads any more: the call goes on, its log is lost */
			log->lost += log->pending.len - at;
			at = log->pending.len;
			break;
		}
		at += (size_t)w;
	}
	buf_drop(&log->pending, at);
}

static size_t room(void *arg)
{
	const struct run_log *log = arg;
	size_t left = log->pending.len < LOG_PENDING_MAX ? LOG_PENDING_MAX - log->pending.len : 0;

	/* A line of one byte becomes a record of 140: little at a time keeps a turn of the loop short. */
	return log->json && left > PIPE_BUF ? PIPE_BUF : left;
}

static int wants(void *arg)
{
	const struct run_log *log = arg;

	return log->pending.len > 0 ? log->fd : FD_NONE;
}

static void writable(void *arg)
{
	flush(arg);
}

static void iso_time(char *buf, size_t size)
{
	uint64_t now = clock_wall_ns();
	time_t s = (time_t)(now / NS_PER_S);
	struct tm tm;
	char date[32];

	(void)gmtime_r(&s, &tm);
	(void)strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &tm);
	(void)snprintf(buf, size, "%s.%03uZ", date, (unsigned)(now % NS_PER_S / NS_PER_MS));
}

/* A line that is a JSON object already is the function's own record and stays as it is. */
static void put_json_line(struct run_log *log, const char *line, size_t len)
{
	char now[48];

	if (len > 0 && line[0] == '{' && json_is_value(line, len)) {
		buf_add(&log->pending, line, len);
		buf_puts(&log->pending, "\n");
		return;
	}
	iso_time(now, sizeof now);
	buf_printf(&log->pending, "{\"timestamp\":\"%s\",\"level\":\"INFO\",\"message\":", now);
	json_add_string(&log->pending, line, len);
	if (log->request_id[0])
		buf_printf(&log->pending, ",\"requestId\":\"%s\"", log->request_id);
	buf_puts(&log->pending, "}\n");
}

static void put_json(struct run_log *log, struct buf *line, const char *data, size_t len)
{
	while (len > 0) {
		const char *nl = memchr(data, '\n', len);
		size_t n = nl ? (size_t)(nl - data) : len;

		if (n > LOG_LINE_MAX - line->len)
			n = LOG_LINE_MAX - line->len;
		buf_add(line, data, n);
		data += n;
		len -= n;
		if (nl == data) {
			data++;
			len--;
		} else if (line->len < LOG_LINE_MAX) {
			return; /* unfinished */
		}
		put_json_line(log, line->data, line->len);
		line->len = 0;
	}
}

static void put(void *arg, int stream, const char *data, size_t len)
{
	struct run_log *log = arg;

	if (log->json) {
		put_json(log, &log->line[stream - 1], data, len);
	} else {
		buf_add(&log->pending, data, len);
		log->mid_line = len > 0 ? data[len - 1] != '\n' : log->mid_line;
	}
}

/* The platform's lines begin on a line of their own. */
static void begin_line(struct run_log *log)
{
	for (int i = 0; i < 2; i++)
		if (log->line[i].len > 0) {
			put_json_line(log, log->line[i].data, log->line[i].len);
			log->line[i].len = 0;
		}
	if (log->mid_line)
		buf_puts(&log->pending, "\n");
	log->mid_line = false;
}

static void json_head(struct run_log *log, const char *type)
{
	char now[48];

	iso_time(now, sizeof now);
	buf_printf(&log->pending, "{\"time\":\"%s\",\"type\":\"platform.%s\",\"record\":{", now, type);
}

static double ms(uint64_t ns)
{
	return (double)ns / 1e6;
}

static void on_init_report(void *arg, const char *phase, const char *status, const char *error_type, uint64_t ns)
{
	struct run_log *log = arg;

	begin_line(log);
	if (log->json) {
		json_head(log, "initReport");
		buf_printf(&log->pending,
			   "\"initializationType\":\"on-demand\",\"phase\":\"%s\",\"status\":\"%s\",\"errorType\":",
			   phase, status);
		json_add_string(&log->pending, error_type, strlen(error_type));
		buf_printf(&log->pending, ",\"metrics\":{\"durationMs\":%.3f}}}\n", ms(ns));
	} else {
		buf_printf(&log->pending, "INIT_REPORT Init Duration: %.2f ms\tPhase: %s\tStatus: %s", ms(ns), phase,
			   status);
		if (strcmp(status, "error") == 0)
			buf_printf(&log->pending, "\tError Type: %s", error_type);
		buf_puts(&log->pending, "\n");
	}
	flush(log);
}

static void on_restore_start(void *arg, const char *engine)
{
	struct run_log *log = arg;

	begin_line(log);
	if (log->json) {
		json_head(log, "restoreStart");
		buf_puts(&log->pending, "\"initializationType\":\"snap-start\",\"runtimeVersion\":");
		json_add_string(&log->pending, engine, strlen(engine));
		buf_puts(&log->pending, "}}\n");
	} else {
		buf_printf(&log->pending, "RESTORE_START Runtime Version: fsbox:%s %s\n", FSBOX_VERSION, engine);
	}
}

static void on_restore_report(void *arg, const char *status, const char *error_type, uint64_t ns)
{
	struct run_log *log = arg;
	const bool failed = strcmp(status, "error") == 0;

	begin_line(log);
	if (log->json) {
		json_head(log, "restoreReport");
		buf_printf(&log->pending, "\"initializationType\":\"snap-start\",\"status\":\"%s\"", status);
		if (failed) {
			buf_puts(&log->pending, ",\"errorType\":");
			json_add_string(&log->pending, error_type, strlen(error_type));
		}
		buf_printf(&log->pending, ",\"metrics\":{\"durationMs\":%.3f}}}\n", ms(ns));
	} else {
		buf_printf(&log->pending, "RESTORE_REPORT Restore Duration: %.2f ms", ms(ns));
		if (strcmp(status, "success") != 0)
			buf_printf(&log->pending, "\tStatus: %s", status);
		if (failed)
			buf_printf(&log->pending, "\tError Type: %s", error_type);
		buf_puts(&log->pending, "\n");
	}
	flush(log);
}

static void on_start(void *arg, const char *request_id)
{
	struct run_log *log = arg;

	begin_line(log);
	(void)snprintf(log->request_id, sizeof log->request_id, "%s", request_id);
	if (log->json) {
		json_head(log, "start");
		buf_printf(&log->pending, "\"requestId\":\"%s\",\"version\":\"$LATEST\"}}\n", request_id);
	} else {
		buf_printf(&log->pending, "START RequestId: %s Version: $LATEST\n", request_id);
	}
}

static void on_message(void *arg, const char *request_id, const char *text)
{
	struct run_log *log = arg;
	char now[48];

	if (log->json)
		return; /* the report has it */
	begin_line(log);
	iso_time(now, sizeof now);
	buf_printf(&log->pending, "%s %s %s\n", now, request_id, text);
	flush(log);
}

static void report_json(struct run_log *log, const struct call_result *r)
{
	json_head(log, "report");
	buf_printf(&log->pending, "\"requestId\":\"%s\",\"status\":\"%s\"", r->request_id, call_status_name(r->status));
	if (r->status != CALL_SUCCESS) {
		buf_puts(&log->pending, ",\"errorType\":");
		json_add_string(&log->pending, r->error_type, strlen(r->error_type));
	}
	buf_printf(&log->pending, ",\"metrics\":{\"durationMs\":%.3f,\"billedDurationMs\":%llu,\"memorySizeMB\":%llu",
		   ms(r->duration_ns), (unsigned long long)r->billed_ms, (unsigned long long)r->memory_mb);
	if (r->has_memory)
		buf_printf(&log->pending, ",\"maxMemoryUsedMB\":%llu", (unsigned long long)r->max_memory_mb);
	if (r->has_init)
		buf_printf(&log->pending, ",\"initDurationMs\":%.3f", ms(r->init_ns));
	if (r->has_restore)
		buf_printf(&log->pending, ",\"restoreDurationMs\":%.3f,\"billedRestoreDurationMs\":%llu",
			   ms(r->restore_ns), (unsigned long long)r->billed_restore_ms);
	buf_puts(&log->pending, "}}}\n");
}

void log_report_fields(struct buf *b, const char *id, const struct call_result *r)
{
	buf_printf(b, "REPORT RequestId: %s\tDuration: %.2f ms\tBilled Duration: %llu ms\tMemory Size: %llu MB\t", id,
		   ms(r->duration_ns), (unsigned long long)r->billed_ms, (unsigned long long)r->memory_mb);
	if (r->has_memory)
		buf_printf(b, "Max Memory Used: %llu MB\t", (unsigned long long)r->max_memory_mb);
	if (r->has_init)
		buf_printf(b, "Init Duration: %.2f ms\t", ms(r->init_ns));
	if (r->has_restore)
		buf_printf(b, "Restore Duration: %.2f ms\tBilled Restore Duration: %llu ms\t", ms(r->restore_ns),
			   (unsigned long long)r->billed_restore_ms);
	if (r->status == CALL_TIMEOUT)
		buf_puts(b, "Status: timeout\t");
	else if (r->status != CALL_SUCCESS && r->ended_cell)
		buf_printf(b, "Status: error\tError Type: %s\t", r->error_type);
}

static void report_text(struct run_log *log, const struct call_result *r)
{
	buf_printf(&log->pending, "END RequestId: %s\n", r->request_id);
	log_report_fields(&log->pending, r->request_id, r);
	buf_puts(&log->pending, "\n");
}

static void on_end(void *arg, const struct call_result *r)
{
	struct run_log *log = arg;

	begin_line(log);
	if (log->json)
		report_json(log, r);
	else
		report_text(log, r);
	flush(log);
	log->request_id[0] = '\0';
}

/* fsbox's own words between the function's. */
static void say(struct run_log *log, const char *level, const char *doing, const struct err *e)
{
	struct buf text = {0};
	char now[48];

	buf_printf(&text, "%s: %s%s%s", doing, e->msg, e->hint[0] ? "; " : "", e->hint);
	begin_line(log);
	if (log->json) {
		iso_time(now, sizeof now);
		buf_printf(&log->pending, "{\"timestamp\":\"%s\",\"level\":\"%s\",\"message\":", now, level);
		json_add_string(&log->pending, text.data ? text.data : "", text.len);
		buf_puts(&log->pending, "}\n");
	} else {
		buf_printf(&log->pending, "fsbox: %s\n", text.data ? text.data : "");
	}
	buf_done(&text);
	flush(log);
}

static void on_host_error(void *arg, const struct err *e)
{
	say(arg, "ERROR", "cleaning up", e);
}

static void on_fallback(void *arg, const struct err *e)
{
	say(arg, "WARN", "no snapshot is used", e);
}

void log_init(struct run_log *log, bool json)
{
	*log = (struct run_log){
		.json = json,
		.fd = STDERR_FILENO,
		.sink = {.room = room, .put = put, .wants = wants, .writable = writable, .arg = log},
		.observer = {.init_report = on_init_report,
			     .restore_start = on_restore_start,
			     .restore_report = on_restore_report,
			     .fallback = on_fallback,
			     .start = on_start,
			     .message = on_message,
			     .end = on_end,
			     .host_error = on_host_error,
			     .arg = log},
	};
}

void log_finish(struct run_log *log, int signal_fd)
{
	begin_line(log);
	(void)!cli_write(log->fd, log->pending.data ? log->pending.data : "", log->pending.len, signal_fd);
	buf_done(&log->pending);
	buf_done(&log->line[0]);
	buf_done(&log->line[1]);
}
