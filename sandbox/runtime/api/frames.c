/* Frames of the host (docs/channel.md). One that is out of place, or that the host would not make, ends the server: the two
 * sides no longer agree on where they are. */
#include "runtime/api/api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static _Noreturn void broken(const char *why)
{
	(void)dprintf(STDERR_FILENO, "fsbox: the channel: %s\n", why);
	_exit(1);
}

/* Fit for a field's value, and without any of @others. */
static bool is_plain(const char *s, const char *others)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f || strchr(others, *s))
			return false;
	return true;
}

static void begin_call(struct api *a, const struct chan_head *head, const char *body)
{
	struct chan_call_view v;
	struct call *call = &a->call;

	if (!a->ready || a->parked || a->restoring || a->state == RT_RESTORE_READY || call->number ||
	    chan_call_parse(body, head->len, head->len, &v) <= 0)
		broken("a call out of place, or malformed");
	*call = (struct call){.number = head->call,
			      .deadline_ms = v.fixed.deadline_ms,
			      .begin_ns = now_ns(),
			      .message = call->message,
			      .document = call->document};
	memcpy(call->id, v.id, v.fixed.id_len);
	memcpy(call->trace, v.trace, v.fixed.trace_len);
	if (!is_plain(call->id, "\"\\/") || !is_plain(call->trace, ""))
		broken("an id that cannot stand in a head");
	bytes_add(&call->event, body + v.event_at, v.fixed.event_len);
	if (call->event.failed)
		broken("an event larger than memory");
	telemetry_platform(a, "start", "{\"requestId\":\"%s\",\"version\":\"$LATEST\"}", call->id);
	extension_invoke(a);
	runtime_give_event(a);
}

static void park(struct api *a)
{
	const struct chan_parked parked = {.flags = a->used_restore ? 0 : CHAN_NOT_RESEEDED};

	a->parked = a->snapshotted = true;
	telemetry_flush(a);
	conn_close_drained(a); /* nothing is to be dumped that is of no use */
	link_send(CHAN_PARKED, 0, &parked, sizeof parked);
}

static void restore(struct api *a, const struct chan_head *head, const char *body)
{
	struct chan_restore_view v;
	const char *pair;
	size_t at = 0;

	if (!a->parked || chan_restore_parse(body, head->len, &v) < 0)
		broken("a restore out of place, or malformed");
	while ((pair = chan_restore_env(&v, &at)))
		child_set_environment(pair);
	a->parked = false;
	a->restoring = true;
	a->restore_begin_ns = now_ns();
	telemetry_platform(a, "restoreStart", "{}");
	if (a->state == RT_RESTORE_READY) {
		struct conn *c = a->restore;

		a->restore = NULL;
		a->state = RT_RESTORING;
		if (c)
			conn_answer(a, c, 200, "", NULL, NULL, 0);
	}
	runtime_check(a); /* one that never asked for it goes on in its `next` */
}

static void report(struct api *a, const struct chan_head *head, const char *body)
{
	static const char *const words[] = {"success", "failure", "timeout"};
	struct chan_report r;
	struct bytes b = {0};

	if (a->call.number || head->call != a->reported)
		broken("a report out of place");
	memcpy(&r, body, sizeof r);
	bytes_printf(
		&b,
		"{\"requestId\":\"%s\",\"status\":\"%s\",\"metrics\":{\"durationMs\":%.3f,\"billedDurationMs\":%llu,",
		a->call.id, words[r.status <= 2 ? r.status : 1], (double)r.duration_ns / 1e6,
		(unsigned long long)r.billed_ms);
	bytes_printf(&b, "\"memorySizeMB\":%s", secure_getenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE") ?: "0");
	if (r.max_memory_bytes)
		bytes_printf(&b, ",\"maxMemoryUsedMB\":%llu", (unsigned long long)(r.max_memory_bytes >> 20));
	if (r.init_ns)
		bytes_printf(&b, ",\"initDurationMs\":%.3f", (double)r.init_ns / 1e6);
	if (r.restore_ns)
		bytes_printf(&b, ",\"restoreDurationMs\":%.3f", (double)r.restore_ns / 1e6);
	bytes_puts(&b, "}}");
	if (!b.failed)
		telemetry_record(a, TELEMETRY_PLATFORM, "platform.report", b.data);
	bytes_free(&b);
}

/* A value that says what this is: the server draws none, and of the function's it knows nothing. */
static void drawn(void)
{
	unsigned char body[2 + 7 + 16] = {7, 16, 'a', 'p', 'i', '-', 'i', 'd', '4'};
	char uuid[UUID_LEN + 1];

	make_uuid(uuid);
	memcpy(body + 9, uuid, 16);
	link_send(CHAN_DRAWN, 0, body, sizeof body);
}

void runtime_frame(struct api *a, const struct chan_head *head, const char *body)
{
	switch (head->type) {
	case CHAN_CALL:
		begin_call(a, head, body);
		break;
	case CHAN_SHUTDOWN:
		extension_shutdown(a, "spindown");
		api_exit(a, 0);
	case CHAN_SNAPSHOT:
		if (!a->ready || a->snapshotted || a->reported || a->call.number)
			broken("a snapshot out of place");
		park(a);
		break;
	case CHAN_RESTORE:
		restore(a, head, body);
		break;
	case CHAN_DRAW:
		if (!a->ready || a->parked || a->restoring || a->reported || a->call.number)
			broken("a draw out of place");
		drawn();
		break;
	case CHAN_REPORT:
		report(a, head, body);
		break;
	case CHAN_FILTER: /* the program runs already, and a filter is for those who take it */
		runtime_init_failed(
			a, "Runtime.InitError",
			"a policy that begins after init cannot be imposed on a custom runtime: its programs "
			"run already; use --policy default, or a policy with \"stage\": \"spawn\"");
		break;
	default:
		broken("a frame that is not for the cell");
	}
}
