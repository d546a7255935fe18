#include "daemon/invocation_parts.h"
#include "daemon/snapshots.h"

#include "base/fd.h"

#include <math.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/random.h>

const struct invocation_ops *invocation_ops;

enum { MAX_SPARE = 64, TABLE = 4096, UNKNOWN_SERVICE_MS = 100, MOST_RETRY_MS = 60000 };

/* ---- Those that are known ---- */

static struct invocation **place_of(struct daemon *d, uid_t owner, const char *id)
{
	uint32_t h = owner * 2654435761U;

	if (!d->by_id)
		d->by_id = calloc(TABLE, sizeof(struct invocation *));
	for (; *id; id++)
		h = (h ^ (unsigned char)*id) * 16777619U;
	return d->by_id ? &d->by_id[h % TABLE] : NULL;
}

struct invocation *invocation_find(struct daemon *d, uid_t owner, const char *id)
{
	struct invocation **at = place_of(d, owner, id);
	struct invocation *v = at ? *at : NULL;

	while (v && (v->owner != owner || strcmp(v->id, id) != 0))
		v = v->same;
	return v;
}

static char *put_hex(char *to, const unsigned char *from, size_t n)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		*to++ = digits[from[i] >> 4];
		*to++ = digits[from[i] & 15];
	}
	*to = '\0';
	return to;
}

/* Request ids need not be secret, only different, also from those of another fsboxd: numbers under a key that nobody knows.
 * To draw each of them would be a system call for each call; many at a time make every so many calls slow. */
static void draw_uuid(char *to)
{
	static const size_t ends[] = {4, 6, 8, 10, 16};
	static unsigned char key[16];
	static uint64_t n;
	unsigned char u[16];

	if (n++ == 0)
		(void)!getrandom(key, sizeof key, 0);
	once_siphash(key, &n, sizeof n, u);
	u[6] = (unsigned char)((u[6] & 0x0f) | 0x40); /* version 4: RFC 9562, section 5.4 */
	u[8] = (unsigned char)((u[8] & 0x3f) | 0x80);
	for (size_t i = 0, at = 0; i < ARRAY_LEN(ends); at = ends[i++]) {
		to = put_hex(to, u + at, ends[i] - at);
		*to++ = '-';
	}
	to[-1] = '\0';
}

/* Used ones wait here for the next call: for their size malloc(3) takes its long way. */
static struct invocation *spare;
static unsigned n_spare;

static struct invocation *take_spare(void)
{
	struct invocation *v = spare;

	if (!v)
		return calloc(1, sizeof *v);
	spare = v->next;
	n_spare--;
	memset(v, 0, sizeof *v);
	return v;
}

static void give_spare(struct invocation *v)
{
	if (n_spare == MAX_SPARE) {
		free(v);
		return;
	}
	v->next = spare;
	spare = v;
	n_spare++;
}

struct invocation *invocation_new(struct daemon *d, struct function *f, uid_t owner, const char *id)
{
	struct invocation **same = id ? place_of(d, owner, id) : NULL;
	struct invocation *v = id && !same ? NULL : take_spare();

	if (!v)
		return NULL;
	v->d = d;
	v->f = f;
	v->owner = owner;
	v->chosen = id != NULL;
	v->arrived_ns = clock_mono_ns();
	v->refusal = "";
	draw_uuid(v->request_id);
	str_copy(v->id, sizeof v->id, id ? id : v->request_id);
	str_copy(v->function, sizeof v->function, f->name);
	v->next = d->invocations;
	v->at = &d->invocations;
	if (v->next)
		v->next->at = &v->next;
	d->invocations = v;
	if (same) {
		v->same = *same;
		*same = v;
	}
	return v;
}

/* The event is of no use once the call is over, and may be a thousand times as large as the result. */
static void drop_event(struct invocation *v)
{
	buf_done(&v->event_text);
	if (v->event_map)
		(void)munmap(v->event_map, v->event_len);
	v->event_map = NULL;
}

void invocation_free(void *arg)
{
	struct invocation *v = arg;

	loop_disarm(&v->d->loop, &v->timer);
	loop_forget(&v->d->loop, &v->dispatch);
	*v->at = v->next;
	if (v->next)
		v->next->at = v->at;
	if (v->chosen) {
		struct invocation **at = place_of(v->d, v->owner, v->id);

		while (*at != v)
			at = &(*at)->same;
		*at = v->same;
	}
	invocation_unkeep(v);
	drop_event(v);
	buf_done(&v->error_message);
	buf_done(&v->error_document);
	buf_done(&v->answer);
	free(v->log);
	give_spare(v);
}

bool invocation_attach(struct invocation *v, struct call *c, bool answer_fd, bool logs, bool stream)
{
	struct waiter *w = calloc(1, sizeof *w), **at = &v->waiters;

	if (!w)
		return false;
	*w = (struct waiter){.call = c, .answer_fd = answer_fd, .logs = logs, .stream = stream};
	while (*at)
		at = &(*at)->next;
	*at = w;
	c->user = v;
	if (v->state == INVOCATION_OVER) {
		*at = NULL;
		invocation_ops->over(v, w);
		free(w);
	}
	return true;
}

/* ---- The end ---- */

void invocation_be_over(struct invocation *v)
{
	struct daemon *d = v->d;

	v->state = INVOCATION_OVER;
	if (v->end_ns == 0)
		v->end_ns = clock_mono_ns();
	v->u = NULL;
	v->f = NULL;
	loop_disarm(&d->loop, &v->timer);
	while (v->waiters) {
		struct waiter *w = v->waiters;

		v->waiters = w->next;
		invocation_ops->over(v, w);
		free(w);
	}
	drop_event(v);
	if (!v->chosen) {
		invocation_free(v);
		return;
	}
	if (v->refusal[0] && v->begin_ns == 0) { /* it never ran: the same id may be tried again */
		invocation_free(v);
		return;
	}
	once_done(&d->once, v->owner, v->id);
	invocation_keep(v);
}

void invocation_leave_queue(struct invocation *v)
{
	struct function *f = v->f;
	struct invocation **at = &f->queue;

	while (*at && *at != v)
		at = &(*at)->behind;
	if (!*at)
		return;
	*at = v->behind;
	if (f->queue_end == &v->behind)
		f->queue_end = at;
	v->behind = NULL;
	f->n_queued--;
	f->account->queued--;
	v->d->n_queued--;
	loop_disarm(&v->d->loop, &v->timer);
}

/* When a place may be free again: after what the calls before this one take, shared by the cells, those among them that
 * start. As long as none has ended nobody knows how long one takes: as much again as the oldest has run is a guess that
 * is never off by more than twice. */
static void hint_retry(struct invocation *v)
{
	const struct function *f = v->f;
	const uint64_t now = clock_mono_ns(), cells = f->n_busy + f->n_starting + f->n_free;
	uint64_t ns = UNKNOWN_SERVICE_MS * NS_PER_MS, ms;

	if (f->service_ns > 0)
		ns = f->service_ns * (f->n_queued + 1) / (cells > 0 ? cells : 1);
	else if (f->busy && now > f->busy->call_begin_ns + ns)
		ns = least(now - f->busy->call_begin_ns, f->spec.timeout_ns);
	ms = (ns + NS_PER_MS - 1) / NS_PER_MS;
	v->queue_depth = f->n_queued;
	v->retry_ms = ms < 1 ? 1 : ms > MOST_RETRY_MS ? MOST_RETRY_MS : (int64_t)ms;
}

void invocation_refuse(struct invocation *v, const char *refusal, const struct err *why)
{
	if (v->f)
		hint_retry(v);
	if (v->state == INVOCATION_QUEUED && v->f)
		invocation_leave_queue(v);
	v->refusal = refusal;
	v->why = *why;
	invocation_be_over(v);
}

static void count_call(struct invocation *v)
{
	struct function *f = v->f;

	f->calls++;
	f->failures += v->status != CALL_SUCCESS;
	v->d->n_calls++;
	function_latency(f, v->end_ns - v->begin_ns);
}

static void take_outcome(struct invocation *v, struct unit *u, struct outcome *out)
{
	v->status = out->status;
	v->reported = out->plain;
	str_copy(v->error_type, sizeof v->error_type, out->type);
	if (out->status == CALL_SUCCESS && u) {
		v->answer = u->session.answer;
		u->session.answer = (struct buf){0};
	} else if (out->plain) {
		v->error_message = out->message;
		v->error_document = out->document;
		out->message = out->document = (struct buf){0};
	} else if (out->status != CALL_SUCCESS) {
		buf_printf(&v->error_message, "RequestId: %s Error: %s", v->request_id,
			   out->message.data ? out->message.data : "");
	}
}

/* What Lambda's REPORT line has. */
static void measure(struct invocation *v, struct unit *u)
{
	const uint64_t ns = v->end_ns - v->begin_ns;
	struct err ignored = {0};
	uint64_t peak;

	v->memory_mb = (u ? u->memory_bytes : v->f->spec.memory_bytes) >> 20;
	/* As Lambda does: reseeding and hooks of a restore are billed, its making is not; what the cell says of that is
	 * believed up to what it can have been. */
	v->billed_ms = (ns + least(v->hooks_ns, v->restore_ns) + NS_PER_MS - 1) / NS_PER_MS;
	if (!u || !u->cell.has_cg || cg_peak(&u->cell.cg, &peak, &ignored) < 0)
		return;
	v->has_memory = true;
	v->max_memory_mb = (peak + (1 << 20) - 1) >> 20;
}

static void report(struct invocation *v, struct unit *u)
{
	const struct chan_report figures = {
		.duration_ns = v->end_ns - v->begin_ns,
		.billed_ms = v->billed_ms,
		.max_memory_bytes = v->has_memory ? v->max_memory_mb << 20 : 0,
		.init_ns = v->init_ns,
		.restore_ns = v->restore_ns,
		.status = v->status == CALL_SUCCESS ? CHAN_REPORT_SUCCESS : CHAN_REPORT_FAILURE,
	};

	unit_report(u, &figures);
}

/* The client's own deadline was earlier than the function's timeout. */
static bool was_clients_deadline(const struct invocation *v, const struct outcome *out)
{
	return out->status == CALL_TIMEOUT && v->deadline_ns < v->begin_ns + v->f->spec.timeout_ns;
}

void invocation_finish(struct invocation *v, struct unit *u, struct outcome *out)
{
	v->end_ns = clock_mono_ns();
	if (v->begin_ns == 0)
		v->begin_ns = v->end_ns;
	measure(v, u);
	if (was_clients_deadline(v, out)) {
		(void)err_set(&v->why, ERR_DEADLINE, ETIMEDOUT,
			      "the call did not end in the time that its client gave it");
		v->refusal = "DeadlineExceeded";
		v->phase = "run";
	}
	take_outcome(v, u, out);
	count_call(v);
	if (u && !out->fatal)
		report(v, u);
	daemon_event(v->d, EV_CALLED, v->f, u, v->id, call_status_name(v->status), v->error_type);
	invocation_be_over(v);
}

/* ---- Running ---- */

static uint64_t call_deadline(const struct invocation *v, uint64_t now)
{
	const uint64_t own = now + v->f->spec.timeout_ns;

	return v->deadline_ns < own ? v->deadline_ns : own;
}

static void grant(struct invocation *v, struct unit *u)
{
	unsigned char raw[16] = {0};

	(void)!getrandom(raw, sizeof raw, 0);
	put_hex(v->request_id, raw, sizeof raw); /* REQUEST_ID_LEN + 1 > 33 */
	(void)snprintf(v->unit, sizeof v->unit, "%s", u->id);
	v->begin_ns = clock_mono_ns();
	invocation_note_grant(v, u);
	unit_lease(u, v->request_id, v->lease_ns);
	invocation_be_over(v);
}

void invocation_note_start(struct invocation *v, struct unit *u)
{
	str_copy(v->unit, sizeof v->unit, u->id);
	if (u->used || u->adopted || u->ready_ns < v->arrived_ns) {
		v->start_kind = "warm";
	} else if (u->restored) {
		v->start_kind = "restored";
		v->restore_ns = u->ready_ns > u->asked_ns ? u->ready_ns - u->asked_ns : 0;
		v->hooks_ns = u->session.reseed_ns + u->session.hooks_ns;
	} else {
		v->start_kind = "cold";
		v->build_ns = u->cell.exec_ns > u->asked_ns ? u->cell.exec_ns - u->asked_ns : 0;
		v->init_ns = u->ready_ns > u->cell.exec_ns ? u->ready_ns - u->cell.exec_ns : 0;
	}
}

void invocation_run(struct invocation *v, struct unit *u)
{
	const uint64_t now = clock_mono_ns();
	struct err e = {0};

	invocation_note_start(v, u);
	if (v->lease) {
		u->used = true;
		grant(v, u);
		return;
	}
	/* Said before the cell hears of it: whatever happens then, it is not run a second time. */
	if (v->chosen && once_begin(&v->d->once, v->owner, v->id, clock_ns(CLOCK_BOOTTIME) / NS_PER_S) != ONCE_NEW) {
		(void)err_set(&e, ERR_NOT_FOUND, 0, "it has begun before, and its result is not kept");
		invocation_refuse(v, "NotFound", &e);
		return;
	}
	v->state = INVOCATION_RUNNING;
	v->begin_ns = now;
	v->u = u;
	loop_disarm(&v->d->loop, &v->timer);
	if (unit_call(u, v, v->request_id, v->trace_id, call_deadline(v, now),
		      v->event_map         ? v->event_map
		      : v->event_text.data ? v->event_text.data
					   : "",
		      v->event_len, &e) < 0) {
		unit_end(u, "the call could not be sent");
		invocation_refuse(v, "SystemFailure", &e);
		return;
	}
	v->thaw_ns = u->thaw_ns;
}

/* ---- Cancelling ---- */

void invocation_cancel(struct invocation *v)
{
	struct err e = {0};
	struct unit *u = v->u;

	if (v->state == INVOCATION_OVER || v->cancelled)
		return;
	v->cancelled = true;
	(void)err_set(&e, ERR_CANCELLED, ECANCELED, "cancelled");
	if (v->state == INVOCATION_RUNNING && u) {
		u->invocation = NULL; /* it has its outcome here */
		unit_end(u, "its call was cancelled");
		daemon_event(v->d, EV_CALLED, v->f, u, v->id, "cancelled", NULL);
	}
	invocation_refuse(v, "Cancelled", &e);
}

void invocation_client_gone(struct daemon *d, struct call *c)
{
	struct invocation *v = c->user;
	struct waiter **at;

	(void)d;
	if (!v)
		return;
	for (at = &v->waiters; *at && (*at)->call != c;)
		at = &(*at)->next;
	if (*at) {
		struct waiter *w = *at;

		*at = w->next;
		free(w);
	}
	c->user = NULL;
	call_reply(c, NULL, NULL, 0);
	/* A lease that nobody will hear of is none. */
	if (!v->waiters && (v->cancel_on_close || v->lease))
		invocation_cancel(v);
}

void invocation_refuse_all(struct function *f, const char *refusal, const struct err *why)
{
	while (f->queue)
		invocation_refuse(f->queue, refusal, why);
}
