/* Calls: what the runtime asks for, and how they end. */
#include "runtime/api/api.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/wait.h>
#include <unistd.h>

static const char ok[] = "{\"status\":\"OK\"}";

/* False, and answered, when the request is not allowed now. */
static bool advance(struct api *a, struct conn *c, enum rt_event event)
{
	const int after = rt_after(a->state, event);

	if (after < 0) {
		conn_error(a, c, 403, "InvalidStateTransition",
			   "State transition from %s to %s failed for runtime. Error: State transition is not allowed",
			   rt_state_name(a->state), rt_event_name(event));
		return false;
	}
	a->state = (enum rt_state)after;
	return true;
}

/* ---- Events ---- */

void runtime_give_event(struct api *a)
{
	struct conn *c = a->next;
	const struct call *call = &a->call;
	struct bytes fields = {0};

	if (!c || call->number == 0 || call->outcome != OUTCOME_NONE)
		return;
	a->next = NULL;
	a->state = RT_RUNNING;
	bytes_printf(&fields, "Lambda-Runtime-Aws-Request-Id: %s\r\nLambda-Runtime-Deadline-Ms: %lld\r\n", call->id,
		     (long long)call->deadline_ms);
	bytes_printf(&fields, "Lambda-Runtime-Invoked-Function-Arn: %s\r\n", a->arn);
	if (call->trace[0])
		bytes_printf(&fields, "Lambda-Runtime-Trace-Id: %s\r\n", call->trace);
	conn_answer(a, c, 200, fields.failed ? "" : fields.data, "application/json", call->event.data, call->event.len);
	bytes_free(&fields);
}

void route_next(struct api *a, struct conn *c)
{
	if (!advance(a, c, RT_NEXT))
		return;
	if (a->next && a->next != c)
		conn_close(a, a->next); /* an older request of a client that has lost it */
	a->next = c;
	conn_wait(c);
	runtime_check(a);
	runtime_give_event(a); /* one that came while nobody asked, or that was lost with its connection */
}

/* Is this the call that runs? */
static bool is_current(struct api *a, struct conn *c)
{
	if (a->call.number && strcmp(c->part[0], a->call.id) == 0)
		return true;
	conn_error(a, c, 400, "InvalidRequestID", "Invalid request ID");
	return false;
}

/* ---- Answers ---- */

static void set_error(struct call *call, const char *type, const char *message)
{
	call->outcome = OUTCOME_ERROR;
	(void)snprintf(call->type, sizeof call->type, "%s", type);
	call->message.len = call->document.len = 0;
	bytes_puts(&call->message, message);
}

void route_response_begin(struct api *a, struct conn *c)
{
	const char *mode = http_field(&c->request, "Lambda-Runtime-Function-Response-Mode");

	if (!is_current(a, c) || !advance(a, c, RT_RESPONSE))
		return;
	if (!mode)
		return;
	if (strcasecmp(mode, "streaming") == 0) {
		c->streams = true;
		return;
	}
	a->state = RT_ANSWERED;
	set_error(&a->call, "Runtime.InvalidResponseModeHeader", "the response mode is neither absent nor 'streaming'");
	conn_error(a, c, 400, "InvalidFunctionResponseMode", "Invalid function response mode");
}

void runtime_part(struct api *a, struct conn *c, const char *data, size_t len)
{
	(void)c;
	a->call.produced += len;
	if (len > 0 && a->call.produced <= CHAN_MAX_PAYLOAD)
		link_send(CHAN_DATA, a->call.number, data, len);
}

/* Between what the host takes and what Lambda takes lie 100 bytes. */
static void too_large(struct api *a, struct conn *c, uint64_t size)
{
	const int limit = size > MAX_RESPONSE ? MAX_RESPONSE : CHAN_MAX_PAYLOAD;
	char text[160];

	(void)snprintf(text, sizeof text,
		       "Response payload size (%llu bytes) exceeded maximum allowed payload size (%d bytes).",
		       (unsigned long long)size, limit);
	set_error(&a->call, "Function.ResponseSizeTooLarge", text);
	conn_error(a, c, 413, "RequestEntityTooLarge", "Exceeded maximum allowed payload size (%d bytes).", limit);
}

/* A function's error type as AWS takes it: "(Runtime|Function).Word". */
static bool is_error_type(const char *type)
{
	const char *p = strncmp(type, "Runtime.", 8) == 0    ? type + 8
			: strncmp(type, "Function.", 9) == 0 ? type + 9
							     : "";

	if (*p < 'A' || *p > 'Z' || !p[1] || strlen(type) > CHAN_MAX_TYPE)
		return false;
	for (p++; *p; p++)
		if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z')))
			return false;
	return true;
}

static const char *error_type(const char *type, const char *otherwise)
{
	return type && is_error_type(type) ? type : otherwise;
}

/* The message of a document, for the log. */
static void message_of(struct bytes *message, const struct bytes *document)
{
	char text[CHAN_MAX_MESSAGE];
	struct json_view whole, v;

	message->len = 0;
	if (document->len > 0 && json_whole(document->data, document->len, &whole) &&
	    json_get(whole, "errorMessage", &v) && json_text(v, text, sizeof text))
		bytes_puts(message, text);
	else
		bytes_add(message, document->data ? document->data : "",
			  document->len < CHAN_MAX_MESSAGE ? document->len : CHAN_MAX_MESSAGE);
}

/* How a stream ended, by its trailers. */
static void end_stream(struct api *a, struct conn *c)
{
	static char value[HTTP_MAX_TRAILER];
	struct call *call = &a->call;
	const char *type = http_trailer(&c->decoder, "Lambda-Runtime-Function-Error-Type", value, sizeof value);

	if (!type)
		return;
	call->outcome = OUTCOME_ERROR;
	(void)snprintf(call->type, sizeof call->type, "%s", error_type(type, "Function.Unknown"));
	call->document.len = 0;
	if (http_trailer(&c->decoder, "Lambda-Runtime-Function-Error-Body", value, sizeof value) &&
	    !http_base64_decode(&call->document, value))
		call->document.len = 0;
	message_of(&call->message, &call->document);
}

void route_response(struct api *a, struct conn *c)
{
	struct call *call = &a->call;
	const uint64_t size = c->body_seen;

	a->state = RT_ANSWERED;
	if (c->too_large || size > CHAN_MAX_PAYLOAD) {
		too_large(a, c, size);
		return;
	}
	call->outcome = OUTCOME_DONE;
	call->produced = size;
	if (c->streams)
		end_stream(a, c);
	else if (c->body.len > 0)
		link_send(CHAN_DATA, call->number, c->body.data, c->body.len);
	conn_json(a, c, 202, ok);
}

/* Copies what a report of an error holds into the call. */
static void take_error(struct call *call, const struct conn *c, const char *otherwise)
{
	const char *type = http_field(&c->request, "Lambda-Runtime-Function-Error-Type");

	(void)snprintf(call->type, sizeof call->type, "%s", error_type(type, otherwise));
	call->document.len = 0;
	bytes_add(&call->document, c->body.data ? c->body.data : "", c->body.len);
	message_of(&call->message, &call->document);
	if (c->too_large) {
		call->message.len = 0;
		bytes_printf(&call->message, "the error document is larger than %d bytes and was dropped",
			     MAX_DOCUMENT);
	}
}

void route_error(struct api *a, struct conn *c)
{
	if (!is_current(a, c) || !advance(a, c, RT_ERROR))
		return;
	take_error(&a->call, c, "Function.Unknown");
	a->call.outcome = OUTCOME_ERROR;
	conn_json(a, c, 202, ok);
}

/* ---- Init and restore ---- */

void runtime_init_failed(struct api *a, const char *type, const char *message)
{
	telemetry_drain(a);
	link_error(CHAN_INIT_ERROR, 0, type, message, NULL, 0);
	telemetry_platform(a, "initRuntimeDone",
			   "{\"initializationType\":\"%s\",\"phase\":\"init\",\"status\":\"error\"}",
			   a->snap_start ? "snap-start" : "on-demand");
	api_exit(a, 1);
}

static void fail_init(struct api *a, struct conn *c, const char *otherwise)
{
	take_error(&a->call, c, otherwise);
	conn_json(a, c, 202, ok);
	telemetry_drain(a);
	link_error(CHAN_INIT_ERROR, 0, a->call.type, a->call.message.data ? a->call.message.data : "",
		   a->call.document.data, a->call.document.len);
	api_exit(a, 1);
}

void route_init_error(struct api *a, struct conn *c)
{
	const bool restoring = a->state == RT_RESTORING;

	if (advance(a, c, RT_INIT_ERROR))
		fail_init(a, c, restoring ? "Runtime.AfterRestoreError" : "Runtime.Unknown");
}

void route_restore_next(struct api *a, struct conn *c)
{
	if (!a->snap_start) { /* AWS has it only where there will be a restore */
		conn_error(a, c, 404, "NotFound", "restore/next is for cells that are snapshotted");
		return;
	}
	if (a->state == RT_RESTORING && a->restoring) { /* told already, on a connection that it has lost */
		conn_answer(a, c, 200, "", NULL, NULL, 0);
		return;
	}
	if (!advance(a, c, RT_RESTORE_NEXT))
		return;
	if (a->restore && a->restore != c)
		conn_close(a, a->restore);
	a->restore = c;
	a->used_restore = true;
	conn_wait(c);
	runtime_check(a);
}

void route_restore_error(struct api *a, struct conn *c)
{
	if (advance(a, c, RT_RESTORE_ERROR))
		fail_init(a, c, "Runtime.AfterRestoreError");
}

void route_ping(struct api *a, struct conn *c)
{
	conn_answer(a, c, 200, "", "text/plain", "pong", 4);
}

/* ---- Init and calls come to their ends ---- */

static double ms_since(uint64_t begin_ns)
{
	return (double)(now_ns() - begin_ns) / 1e6;
}

static void tell_ready(struct api *a)
{
	struct chan_ready ready = {.version = CHAN_VERSION, .flags = CHAN_CAN_SNAPSHOT};
	const char *kind = a->snap_start ? "snap-start" : "on-demand";

	if (a->n_extensions > 0)
		ready.flags |= CHAN_HAS_SHUTDOWN;
	if (telemetry_wanted(a))
		ready.flags |= CHAN_WANTS_REPORTS;
	telemetry_platform(a, "initRuntimeDone",
			   "{\"initializationType\":\"%s\",\"phase\":\"init\",\"status\":\"success\"}", kind);
	extension_tell_states(a);
	telemetry_platform(a, "initReport",
			   "{\"initializationType\":\"%s\",\"phase\":\"init\",\"status\":\"success\","
			   "\"metrics\":{\"durationMs\":%.3f}}",
			   kind, ms_since(a->init_begin_ns));
	telemetry_drain(a);
	a->ready = true;
	link_send(CHAN_READY, 0, &ready, sizeof ready);
}

static void tell_restored(struct api *a)
{
	const struct chan_restored times = {.hooks_ns = now_ns() - a->restore_begin_ns};

	a->restoring = false;
	telemetry_platform(a, "restoreRuntimeDone", "{\"status\":\"success\"}");
	telemetry_platform(a, "restoreReport", "{\"status\":\"success\",\"metrics\":{\"durationMs\":%.3f}}",
			   ms_since(a->restore_begin_ns));
	telemetry_drain(a);
	link_send(CHAN_RESTORED, 0, &times, sizeof times);
}

static void tell_done_record(struct api *a)
{
	const struct call *call = &a->call;
	const bool good = call->outcome == OUTCOME_DONE;
	struct bytes more = {0};

	if (!good) {
		bytes_puts(&more, "\"errorType\":");
		json_quote(&more, call->type, strlen(call->type));
		bytes_puts(&more, ",");
	}
	telemetry_platform(a, "runtimeDone",
			   "{\"requestId\":\"%s\",\"status\":\"%s\",%s\"metrics\":{\"durationMs\":%.3f,"
			   "\"producedBytes\":%llu}}",
			   call->id, good ? "success" : "error", more.len > 0 ? more.data : "",
			   ms_since(call->begin_ns), (unsigned long long)call->produced);
	bytes_free(&more);
}

bool runtime_tell_outcome(struct api *a)
{
	struct call *call = &a->call;
	const uint64_t number = call->number;

	if (number == 0 || call->outcome == OUTCOME_NONE)
		return false;
	if (telemetry_wanted(a))
		tell_done_record(a);
	telemetry_drain(a); /* what was printed before comes before the end of the call: docs/channel.md */
	if (call->outcome == OUTCOME_DONE)
		link_send(CHAN_DONE, number, NULL, 0);
	else
		link_error(CHAN_ERROR, number, call->type, call->message.data ? call->message.data : "",
			   call->document.data, call->document.len);
	a->reported = number;
	call->number = 0;
	call->outcome = OUTCOME_NONE;
	bytes_free(&call->event);
	call->message.len = call->document.len = 0;
	return true;
}

void runtime_check(struct api *a)
{
	const bool waits = a->state == RT_READY || a->state == RT_RESTORE_READY;

	if (!waits || !extension_all_idle(a) || a->ending)
		return;
	if (!a->ready)
		tell_ready(a);
	else if (a->restoring && a->state == RT_READY)
		tell_restored(a);
	else
		(void)runtime_tell_outcome(a);
}

void runtime_lost(struct api *a, struct conn *c)
{
	if (a->next == c)
		a->next = NULL; /* it may ask again: the state is the same */
	if (a->restore == c)
		a->restore = NULL;
	if (a->state == RT_ANSWERING && c->at == CONN_BODY && c->route && c->route->serve == route_response &&
	    !c->refused) {
		/* Half an answer. When nothing of it has gone on, the runtime may try again; what a stream has sent
		 * cannot be taken back. */
		a->state = RT_RUNNING;
		if (a->call.produced > 0) {
			a->state = RT_ANSWERED;
			a->call.truncated = true;
			set_error(&a->call, "Runtime.TruncatedResponse", "the answer ended before it was complete");
		}
	}
}

/* ---- The runtime has ended: so do we, in the same way, for the host to see ---- */

void runtime_ended(struct api *a, int wait_status)
{
	if (a->ending)
		return;
	a->ending = true;
	if (!a->call.truncated) /* the caller's answer stands; half of one is for the end to explain */
		(void)runtime_tell_outcome(a);
	telemetry_flush(a);
	if (WIFSIGNALED(wait_status)) {
		sigset_t set;

		(void)signal(WTERMSIG(wait_status), SIG_DFL);
		(void)sigemptyset(&set);
		(void)sigaddset(&set, WTERMSIG(wait_status));
		(void)sigprocmask(SIG_UNBLOCK, &set, NULL);
		(void)raise(WTERMSIG(wait_status));
	}
	_exit(WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 1);
}
