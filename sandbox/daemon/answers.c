#include "daemon/answers.h"

#include "base/base64.h"
#include "base/fd.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>

enum { BUSY_RETRY_MS = 100, KEPT_BYTES = 65536 };

#define OURS(name) "org.fsbox.Sandbox." name

/* ---- Errors ---- */

static void send_error(struct call *c, const char *name, struct wire_obj *o, struct buf *b)
{
	wire_obj_end(o);
	call_error(c, name, b);
	buf_done(b);
}

void answer_not_found(struct call *c, const char *what, const char *id)
{
	struct buf b = {0};
	struct wire_obj o;

	wire_obj_begin(&o, &b);
	wire_obj_string(&o, "what", what);
	wire_obj_string(&o, "id", id);
	send_error(c, OURS("NotFound"), &o, &b);
}

void answer_denied(struct call *c, const char *reason, const char *rule)
{
	struct buf b = {0};
	struct wire_obj o;

	wire_obj_begin(&o, &b);
	wire_obj_string(&o, "reason", reason);
	wire_obj_string(&o, "rule", rule);
	send_error(c, OURS("Denied"), &o, &b);
}

static void answer_spec(struct call *c, const struct err *e)
{
	struct buf b = {0};
	struct wire_obj o;

	wire_obj_begin(&o, &b);
	wire_obj_string(&o, "field", e->where);
	wire_obj_string(&o, "reason", e->msg);
	wire_obj_string(&o, "hint", e->hint);
	send_error(c, OURS("InvalidSpec"), &o, &b);
}

static void answer_unsupported(struct call *c, const struct err *e)
{
	struct buf b = {0};
	struct wire_obj o;

	wire_obj_begin(&o, &b);
	wire_obj_string(&o, "feature", e->where);
	wire_obj_string(&o, "reason", e->msg);
	send_error(c, OURS("Unsupported"), &o, &b);
}

/* What is in the way is a call or deployments, of which nobody knows how long they take. */
static void answer_busy(struct call *c)
{
	struct buf b = {0};
	struct wire_obj o;

	wire_obj_begin(&o, &b);
	wire_obj_int(&o, "retryAfterMs", BUSY_RETRY_MS);
	wire_obj_int(&o, "queueDepth", 0);
	send_error(c, OURS("Busy"), &o, &b);
}

/* A word of the interface. fsbox-spawn's reports are sentences; their codes say what was lacking. */
static const char *resource_of(const struct err *e)
{
	switch (e->code) {
	case EMFILE:
	case ENFILE:
		return "descriptors";
	case ENOSPC:
		return "functions";
	case ENOMEM:
		return "cells";
	default:
		return e->msg;
	}
}

static void answer_capacity(struct call *c, const struct err *e)
{
	struct buf b = {0};
	struct wire_obj o;

	wire_obj_begin(&o, &b);
	wire_obj_string(&o, "resource", resource_of(e));
	wire_obj_int(&o, "wanted", 1);
	wire_obj_int(&o, "free", 0);
	send_error(c, OURS("CapacityExhausted"), &o, &b);
}

/* The host's, which may be another one tomorrow; all others are of what was asked for. */
static bool is_hosts_limit(const struct err *e)
{
	return e->code == EMFILE || e->code == ENFILE || e->code == ENOSPC || e->code == EDQUOT || e->code == EAGAIN ||
	       e->code == EUSERS;
}

void answer_err(struct call *c, const struct err *e)
{
	struct buf b = {0};
	struct wire_obj o;

	switch (e->kind) {
	case ERR_LIMIT:
		if (is_hosts_limit(e))
			break;
		answer_spec(c, e);
		return;
	case ERR_SPEC:
		answer_spec(c, e);
		return;
	case ERR_DENIED:
		answer_denied(c, e->msg, "");
		return;
	case ERR_UNSUPPORTED:
		answer_unsupported(c, e);
		return;
	case ERR_NOT_FOUND:
		answer_not_found(c, "file", e->where[0] ? e->where : e->msg);
		return;
	case ERR_BUSY:
		answer_busy(c);
		return;
	case ERR_CAPACITY:
		answer_capacity(c, e);
		return;
	case ERR_CANCELLED:
		call_error(c, OURS("Cancelled"), NULL);
		return;
	default:
		break;
	}
	wire_obj_begin(&o, &b);
	if (e->kind == ERR_BUG) {
		wire_obj_string(&o, "incident", e->msg);
		send_error(c, OURS("InternalError"), &o, &b);
		return;
	}
	wire_obj_string(&o, "stage", e->stage);
	wire_obj_string(&o, "reason", e->msg);
	wire_obj_string(&o, "hint", e->hint);
	send_error(c, OURS("SystemFailure"), &o, &b);
}

void answer_done(struct call *c)
{
	call_reply(c, NULL, NULL, 0);
}

void answer_existed(struct call *c, bool existed)
{
	struct buf b = {0};
	struct wire_obj o;

	wire_obj_begin(&o, &b);
	wire_obj_bool(&o, "existed", existed);
	wire_obj_end(&o);
	call_reply(c, &b, NULL, 0);
	buf_done(&b);
}

/* ---- Objects ---- */

void add_function(struct wire_obj *o, const struct function *f)
{
	wire_obj_string(o, "name", f->name);
	wire_obj_int(o, "owner", f->owner);
	wire_obj_string(o, "digest", f->digest);
	wire_obj_raw(o, "spec", f->spec_text, strlen(f->spec_text));
	wire_obj_string(o, "runtime", spec_runtime_name(f->runtime));
	wire_obj_int(o, "provisioned", f->provisioned);
	wire_obj_int(o, "reserved", f->reserved);
	wire_obj_int(o, "maxCells", f->max_cells);
	wire_obj_int(o, "cells", f->n_units);
	wire_obj_int(o, "idle", f->n_idle);
	wire_obj_int(o, "busy", f->n_busy);
	wire_obj_int(o, "queued", f->n_queued);
	wire_obj_int(o, "maxQueued", function_most_queued(f));
	wire_obj_int(o, "calls", (int64_t)f->calls);
	wire_obj_int(o, "failures", (int64_t)f->failures);
	wire_obj_int(o, "rejected", (int64_t)f->rejected);
	wire_obj_int(o, "coldStarts", (int64_t)f->cold_starts);
	wire_obj_int(o, "p50Us", function_percentile(f, 0.5));
	wire_obj_int(o, "p99Us", function_percentile(f, 0.99));
	if (f->snapshot.state == SNAPSHOT_READY)
		wire_obj_string(o, "snapshot", f->snapshot.id);
}

void add_cell(struct wire_obj *o, const struct unit *u)
{
	const struct cg_usage *usage = &u->usage;

	wire_obj_string(o, "id", u->id);
	wire_obj_string(o, "function", u->f->name);
	wire_obj_int(o, "owner", u->f->owner);
	wire_obj_string(o, "state", unit_state_name(u));
	wire_obj_string(o, "startKind", u->restored ? "restored" : "cold");
	wire_obj_int(o, "createdMs", u->created_ms);
	if (u->cell.pid > 0)
		wire_obj_int(o, "pid", u->cell.pid);
	wire_obj_bool(o, "leased", u->leased);
	wire_obj_int(o, "calls", (int64_t)u->calls);
	wire_obj_int(o, "execs", u->execs);
	wire_obj_int(o, "memoryMb", (int64_t)(u->memory_bytes >> 20));
	if (!u->cell.has_cg)
		return;
	wire_obj_key(o, "cgroup");
	buf_puts(o->b, "\"");
	buf_printf(o->b, "%s/%s\"", u->cell.cg.parent, u->cell.cg.name);
	if (!u->has_usage)
		return;
	wire_obj_int(o, "usedMb", (int64_t)(usage->memory_bytes >> 20));
	wire_obj_int(o, "maxMemoryMb", (int64_t)(usage->memory_peak_bytes >> 20));
	wire_obj_int(o, "cpuUs", (int64_t)usage->cpu_us);
	wire_obj_int(o, "processes", usage->pids);
}

void add_event(struct wire_obj *o, const struct entry *e)
{
	static const char *const kinds[] = {"deployed", "undeployed", "started", "ready",    "ended",
					    "called",   "paused",     "resumed", "snapshot", "exec"};

	wire_obj_int(o, "cursor", (int64_t)e->cursor);
	wire_obj_int(o, "timeMs", e->time_ms);
	wire_obj_string(o, "kind", kinds[e->kind]);
	wire_obj_string(o, "function", e->function);
	wire_obj_int(o, "owner", e->owner);
	wire_obj_string(o, "cell", e->cell);
	wire_obj_string(o, "invocation", e->invocation);
	wire_obj_string(o, "status", e->status);
	wire_obj_string(o, "detail", e->detail);
}

void add_chunk(struct wire_obj *o, const struct entry *e, uint64_t dropped)
{
	static const char *const streams[] = {"stdout", "stderr", "platform"};

	wire_obj_int(o, "cursor", (int64_t)e->cursor);
	wire_obj_int(o, "timeMs", e->time_ms);
	wire_obj_string(o, "function", e->function);
	wire_obj_string(o, "cell", e->cell);
	wire_obj_string(o, "invocation", e->invocation);
	wire_obj_string(o, "stream", streams[e->stream]);
	wire_obj_bytes(o, "text", e->text ? e->text : "", e->len);
	wire_obj_int(o, "dropped", (int64_t)(dropped + e->dropped));
}

/* ---- Bodies ---- */

static bool is_object(const char *data, size_t len)
{
	size_t i = 0;

	while (i < len && strchr(" \t\r\n", data[i]))
		i++;
	return i < len && data[i] == '{' && json_is_value(data, len);
}

/* The form that costs the reader least: JSON as it is when it is @whole, then text, then base64. */
static void add_payload(struct wire_obj *o, const char *data, size_t len, bool whole)
{
	struct wire_obj p;

	wire_obj_key(o, "payload");
	wire_obj_begin(&p, o->b);
	if (whole && is_object(data, len)) {
		wire_obj_raw(&p, "json", data, len);
	} else if (!memchr(data, '\0', len) && str_is_utf8(data, len)) {
		wire_obj_bytes(&p, "text", data, len);
	} else {
		wire_obj_key(&p, "base64");
		buf_puts(p.b, "\"");
		base64_add(p.b, data, len);
		buf_puts(p.b, "\"");
	}
	wire_obj_end(&p);
}

/* A memfd that nobody can change any more. FD_NONE when there is none to be had. */
static int sealed_copy(const char *data, size_t len)
{
	AUTO_FD int fd = memfd_create("fsbox-answer", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || fd_write_all(fd, data, len) < 0 || lseek(fd, 0, SEEK_SET) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
		return FD_NONE;
	return take_fd(&fd);
}

static void add_body(struct wire_obj *o, const struct waiter *w, const char *data, size_t len, int *ret_fd)
{
	struct wire_obj p;

	*ret_fd = w->answer_fd ? sealed_copy(data, len) : FD_NONE;
	if (!fd_valid(*ret_fd)) {
		add_payload(o, data, len, true);
		return;
	}
	wire_obj_key(o, "payload");
	wire_obj_begin(&p, o->b);
	wire_obj_int(&p, "fd", 0);
	wire_obj_end(&p);
}

/* ---- Invocations ---- */

static void add_phases(struct wire_obj *o, const struct invocation *v)
{
	struct wire_obj p;

	wire_obj_key(o, "phases");
	wire_obj_begin(&p, o->b);
	wire_obj_int(&p, "queueUs", (int64_t)((v->begin_ns - v->arrived_ns) / 1000));
	if (v->start_kind && v->start_kind[0] == 'c') {
		wire_obj_int(&p, "buildUs", (int64_t)(v->build_ns / 1000));
		wire_obj_int(&p, "initUs", (int64_t)(v->init_ns / 1000));
	}
	if (v->start_kind && v->start_kind[0] == 'r')
		wire_obj_int(&p, "restoreUs", (int64_t)(v->restore_ns / 1000));
	if (!v->lease) {
		wire_obj_int(&p, "thawUs", (int64_t)(v->thaw_ns / 1000));
		wire_obj_int(&p, "callUs", (int64_t)((v->end_ns - v->begin_ns) / 1000));
	}
	wire_obj_end(&p);
}

static void add_usage(struct wire_obj *o, const struct invocation *v)
{
	struct wire_obj p;

	wire_obj_key(o, "usage");
	wire_obj_begin(&p, o->b);
	wire_obj_int(&p, "durationUs", (int64_t)((v->end_ns - v->begin_ns) / 1000));
	wire_obj_int(&p, "billedMs", (int64_t)v->billed_ms);
	wire_obj_int(&p, "memoryMb", (int64_t)v->memory_mb);
	if (v->has_memory)
		wire_obj_int(&p, "maxMemoryMb", (int64_t)v->max_memory_mb);
	wire_obj_end(&p);
}

static void add_log(struct wire_obj *o, const struct invocation *v)
{
	const size_t n = v->log_len < LOG_TAIL ? v->log_len : LOG_TAIL;
	char tail[LOG_TAIL];

	for (size_t i = 0; i < n; i++)
		tail[i] = v->log[(v->log_len - n + i) % LOG_TAIL];
	wire_obj_bytes(o, "log", tail, n);
}

static void add_failure(struct wire_obj *o, const struct invocation *v)
{
	const struct buf *message = &v->error_message;

	wire_obj_string(o, "errorType", v->error_type);
	wire_obj_bytes(o, "errorMessage", message->data ? message->data : "", message->len);
	if (v->error_document.len > 0)
		add_payload(o, v->error_document.data, v->error_document.len, true);
}

/* Kept from one result to the next, unless it has become large. */
static struct buf *result_buf(void)
{
	static struct buf b;

	if (b.failed || b.cap > KEPT_BYTES)
		buf_done(&b);
	b.len = 0;
	return &b;
}

static void answer_result(const struct invocation *v, const struct waiter *w)
{
	struct buf *b = result_buf();
	struct wire_obj o;
	int fd = FD_NONE;

	wire_obj_begin(&o, b);
	wire_obj_string(&o, "kind", "result");
	wire_obj_string(&o, "invocation", v->id);
	wire_obj_string(&o, "cell", v->unit);
	wire_obj_string(&o, "status", call_status_name(v->status));
	wire_obj_string(&o, "startKind", v->start_kind);
	if (v->status != CALL_SUCCESS)
		add_failure(&o, v);
	else if (!w->stream)
		add_body(&o, w, v->answer.data ? v->answer.data : "", v->answer.len, &fd);
	else if (w->streamed < v->answer.len)
		add_payload(&o, v->answer.data + w->streamed, v->answer.len - w->streamed, false);
	add_phases(&o, v);
	add_usage(&o, v);
	if (w->logs)
		add_log(&o, v);
	wire_obj_end(&o);
	call_reply(w->call, b, fd_valid(fd) ? &fd : NULL, fd_valid(fd) ? 1 : 0);
}

static void answer_lease(const struct invocation *v, const struct waiter *w)
{
	struct buf b = {0};
	struct wire_obj o;

	wire_obj_begin(&o, &b);
	wire_obj_string(&o, "cell", v->unit);
	wire_obj_string(&o, "lease", v->request_id);
	wire_obj_string(&o, "startKind", v->start_kind);
	add_phases(&o, v);
	wire_obj_end(&o);
	call_reply(w->call, &b, NULL, 0);
	buf_done(&b);
}

static bool is(const struct invocation *v, const char *name)
{
	return strcmp(v->refusal, name) == 0;
}

static void answer_refusal(const struct invocation *v, const struct waiter *w)
{
	struct buf b = {0};
	struct wire_obj o;
	char name[64];

	if (is(v, "NotFound")) {
		answer_not_found(w->call, "invocation", v->id);
		return;
	}
	if (is(v, "Undeployed")) { /* before it ran: "invocation" would say that it has */
		answer_not_found(w->call, "function", v->function);
		return;
	}
	if (is(v, "SystemFailure")) {
		answer_err(w->call, &v->why);
		return;
	}
	if (is(v, "CapacityExhausted")) {
		answer_capacity(w->call, &v->why);
		return;
	}
	(void)snprintf(name, sizeof name, OURS("%s"), v->refusal);
	wire_obj_begin(&o, &b);
	if (is(v, "Busy")) {
		wire_obj_int(&o, "retryAfterMs", v->retry_ms);
		wire_obj_int(&o, "queueDepth", v->queue_depth);
	} else if (is(v, "DeadlineExceeded")) {
		wire_obj_string(&o, "phase", v->phase);
		wire_obj_int(&o, "ranMs", v->begin_ns ? (int64_t)((v->end_ns - v->begin_ns) / NS_PER_MS) : 0);
	}
	send_error(w->call, name, &o, &b);
}

static void over(struct invocation *v, struct waiter *w)
{
	const struct call_sink *sink = w->call->sink;

	w->call->user = NULL;
	if (sink && !v->refusal[0] && v->status == CALL_SUCCESS) {
		sink->rest(w->call, &v->answer, w->streamed, !v->chosen && !v->waiters);
		w->streamed = v->answer.len;
	}
	if (v->refusal[0])
		answer_refusal(v, w);
	else if (v->lease)
		answer_lease(v, w);
	else
		answer_result(v, w);
}

static bool part(struct invocation *v, struct waiter *w, const char *data, size_t len)
{
	struct buf b = {0};
	struct wire_obj o;
	bool sent;

	if (w->call->sink) {
		w->streamed += w->call->sink->data(w->call, data, len);
		return true;
	}
	/* What is cut in the middle of a character waits for the rest of it, if that is all that is wrong. */
	size_t whole = len;
	for (size_t cut = 0; cut < 4 && cut < len && !str_is_utf8(data, whole); cut++)
		whole = len - cut - 1;
	if (whole == 0 || !str_is_utf8(data, whole))
		whole = len;
	wire_obj_begin(&o, &b);
	wire_obj_string(&o, "kind", "data");
	wire_obj_string(&o, "invocation", v->id);
	add_payload(&o, data, whole, false);
	wire_obj_end(&o);
	sent = call_continue(w->call, &b, NULL, 0);
	buf_done(&b);
	if (sent) {
		w->streamed += whole;
		return true;
	}
	w->call->user = NULL;
	b = (struct buf){0};
	wire_obj_begin(&o, &b);
	wire_obj_int(&o, "cursor", (int64_t)w->streamed);
	send_error(w->call, OURS("SlowConsumer"), &o, &b);
	return false;
}

const struct invocation_ops answers_invocation_ops = {.over = over, .part = part};
