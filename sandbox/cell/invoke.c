#include "cell/invoke.h"

#include "base/clock.h"
#include "base/fd.h"
#include "cell/outcome.h"
#include "cell/publish.h"

#include <stdio.h>
#include <sys/random.h>

const char *call_status_name(enum call_status s)
{
	switch (s) {
	case CALL_SUCCESS:
		return "success";
	case CALL_FAILURE:
		return "failure";
	case CALL_TIMEOUT:
		return "timeout";
	case CALL_ERROR:
		return "error";
	}
	abort(); /* every value is above */
}

void call_result_done(struct call_result *r)
{
	buf_done(&r->response);
	buf_done(&r->error_message);
	buf_done(&r->error_document);
}

/* A version 4 UUID (RFC 9562, section 5.4) as text. */
static int make_request_id(char *to, struct err *e)
{
	unsigned char u[16];

	if (getrandom(u, sizeof u, 0) != (ssize_t)sizeof u)
		return err_sys(e, errno, "drawing a request id");
	u[6] = (unsigned char)((u[6] & 0x0f) | 0x40);
	u[8] = (unsigned char)((u[8] & 0x3f) | 0x80);
	(void)snprintf(to, REQUEST_ID_LEN + 1, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
		       u[0], u[1], u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13], u[14],
		       u[15]);
	return 0;
}

/* Ends the cell and tells of what could not be removed. */
static void drop_cell(struct invoker *inv)
{
	struct err e = {0};

	if (!inv->alive)
		return;
	inv->alive = false;
	int mark = trace_begin(inv->host->trace, "release", false);
	cell_kill(&inv->cell);
	(void)cell_has_exited(&inv->cell, true);
	session_drain_rest(&inv->session);
	session_done(&inv->session);
	if (cell_release(&inv->cell, &e) < 0)
		inv->observer->host_error(inv->observer->arg, &e);
	trace_end(inv->host->trace, mark);
}

static int start_cell(struct invoker *inv, struct err *e)
{
	cell_init(&inv->cell, inv->host, inv->spec, &inv->base);

	int r = cell_build(&inv->cell, e);
	if (r < 0)
		return r;
	session_init(&inv->session, &inv->cell, inv->sink, inv->signal_fd);
	inv->alive = true;
	inv->n_calls = 0;
	return 0;
}

/* After init: the share instead of the boost, and the filter that only starts here. */
static int settle(struct invoker *inv, struct err *e)
{
	if (inv->cell.has_cg && !inv->spec->no_init_boost) {
		int r = cg_end_boost(&inv->cell.cg, e);

		if (r < 0)
			return r;
	}
	return inv->runtime.len > 0 ? session_add_filter(&inv->session, &inv->runtime, e) : 0;
}

/* Builds a cell and waits until its runtime is ready: until @deadline_ns, or for init's own 10 s when that is 0.
 * 0: *out says how it went (out->status CALL_SUCCESS: ready).
 * Negative: fsbox failed or was interrupted. */
static int init_phase(struct invoker *inv, uint64_t deadline_ns, struct outcome *out, struct err *e)
{
	int r = start_cell(inv, e);

	if (r < 0)
		return r;

	if (deadline_ns == 0)
		deadline_ns = inv->cell.exec_ns + INVOKE_INIT_MS * NS_PER_MS;

	int mark = trace_begin(inv->host->trace, "init", true);
	enum session_event ev = session_wait(&inv->session, deadline_ns);

	inv->init_ns = clock_mono_ns() - inv->cell.exec_ns;
	trace_end(inv->host->trace, mark);
	if (ev == SESSION_SIGNAL) {
		inv->cancelled = true;
		drop_cell(inv);
		return err_set(e, ERR_CANCELLED, ECANCELED, "interrupted during init");
	}
	outcome_of_init(out, ev, &inv->session, inv->policy);
	if (out->status == CALL_SUCCESS) {
		r = settle(inv, e);
		if (r < 0)
			drop_cell(inv);
		return r;
	}
	return 0;
}

/* As init_phase(), for a cell that comes out of the snapshot. */
static int restore_phase(struct invoker *inv, struct outcome *out, struct err *e)
{
	const struct invoke_observer *o = inv->observer;
	const uint64_t begin = clock_mono_ns();
	enum session_event ev;
	int mark, r;

	cell_init(&inv->cell, inv->host, inv->spec, &inv->base);
	cell_restore_from(&inv->cell, inv->snap, inv->signal_fd);
	r = cell_build(&inv->cell, e);
	if (r < 0)
		return r;
	session_init_restored(&inv->session, &inv->cell, inv->sink, inv->signal_fd,
			      (inv->snap->m.features & SNAP_HAS_SHUTDOWN ? CHAN_HAS_SHUTDOWN : 0U) |
				      (inv->snap->m.features & SNAP_WANTS_REPORTS ? CHAN_WANTS_REPORTS : 0U));
	inv->alive = true;
	inv->n_calls = 0;
	o->restore_start(o->arg, inv->snap->m.engine);
	mark = trace_begin(inv->host->trace, "hooks", true);
	r = clone_tell(&inv->session, inv->snap, e);
	if (r < 0) {
		drop_cell(inv);
		return r;
	}
	ev = session_wait(&inv->session, clock_mono_ns() + INVOKE_HOOKS_MS * NS_PER_MS);
	trace_end(inv->host->trace, mark);
	inv->restore_ns = clock_mono_ns() - begin;
	if (ev == SESSION_SIGNAL) {
		inv->cancelled = true;
		drop_cell(inv);
		return err_set(e, ERR_CANCELLED, ECANCELED, "interrupted during a restore");
	}
	outcome_of_restore(out, ev, &inv->session, inv->policy);
	session_drain_output(&inv->session);
	o->restore_report(o->arg,
			  out->status == CALL_SUCCESS   ? "success"
			  : out->status == CALL_TIMEOUT ? "timeout"
							: "error",
			  out->type, inv->restore_ns);
	r = out->status == CALL_SUCCESS ? settle(inv, e) : 0;
	if (r < 0)
		drop_cell(inv);
	return r;
}

static void report_init(struct invoker *inv, const char *phase, const struct outcome *out)
{
	const struct invoke_observer *o = inv->observer;

	session_drain_output(&inv->session);
	o->init_report(o->arg, phase, out->status == CALL_TIMEOUT ? "timeout" : "error", out->type, inv->init_ns);
}

/* The measured part of a result; must run while the group still exists. */
static void measure(struct invoker *inv, struct call_result *ret, uint64_t begin_ns)
{
	uint64_t peak;
	struct err ignored = {0};

	ret->duration_ns = clock_mono_ns() - begin_ns;
	ret->billed_ms = (ret->duration_ns + ret->billed_restore_ms * NS_PER_MS + NS_PER_MS - 1) / NS_PER_MS;
	ret->memory_mb = inv->spec->memory_bytes >> 20;
	if (inv->alive && inv->cell.has_cg && cg_peak(&inv->cell.cg, &peak, &ignored) == 0) {
		ret->has_memory = true;
		ret->max_memory_mb = (peak + (1 << 20) - 1) >> 20;
	}
}

static void fill(struct invoker *inv, struct call_result *ret, struct outcome *out)
{
	ret->status = out->status;
	ret->exit_status = out->exit_status;
	ret->reported = out->plain;
	ret->ended_cell = out->fatal;
	(void)snprintf(ret->error_type, sizeof ret->error_type, "%s", out->type);
	ret->error_message.len = 0;
	if (out->status == CALL_SUCCESS) {
		ret->response = inv->session.answer;
		inv->session.answer = (struct buf){0};
	} else if (out->plain) { /* the function's own words, unchanged */
		buf_add(&ret->error_message, out->message.data ? out->message.data : "", out->message.len);
		ret->error_document = out->document;
		out->document = (struct buf){0};
	} else {
		buf_printf(&ret->error_message, "RequestId: %s Error: %s", ret->request_id,
			   out->message.data ? out->message.data : "");
	}
}

/* Sends the event and waits for the outcome. */
static int call_phase(struct invoker *inv, const struct call_result *ret, const void *event, size_t len,
		      const char *trace_id, uint64_t deadline_ns, struct outcome *out, struct err *e)
{
	uint64_t now = clock_mono_ns();
	uint64_t remaining = deadline_ns > now ? deadline_ns - now : 0;
	int64_t wall_ms = (int64_t)((clock_wall_ns() + remaining) / NS_PER_MS);
	int mark = trace_begin(inv->host->trace, "call", true);
	int r = session_call(&inv->session, ++inv->n_calls, ret->request_id, trace_id, wall_ms, remaining, event, len,
			     e);

	if (r < 0)
		return r;

	enum session_event ev = session_wait(&inv->session, deadline_ns);
	trace_end(inv->host->trace, mark);
	if (ev == SESSION_SIGNAL) {
		inv->cancelled = true;
		return err_set(e, ERR_CANCELLED, ECANCELED, "interrupted");
	}
	outcome_of_call(out, ev, &inv->session, inv->spec, deadline_ns, inv->policy);
	return 0;
}

/* The runtime has asked for it, to tell those who listen inside. */
static int report_call(struct invoker *inv, const struct call_result *ret, struct err *e)
{
	const struct chan_report report = {
		.duration_ns = ret->duration_ns,
		.billed_ms = ret->billed_ms,
		.max_memory_bytes = ret->has_memory ? ret->max_memory_mb << 20 : 0,
		.init_ns = ret->has_init ? ret->init_ns : 0,
		.restore_ns = ret->has_restore ? ret->restore_ns : 0,
		.status = ret->status == CALL_SUCCESS ? CHAN_REPORT_SUCCESS : CHAN_REPORT_FAILURE,
	};

	return inv->session.wants_reports ? session_report(&inv->session, inv->n_calls, &report, e) : 0;
}

static void start_call(struct invoker *inv, const struct call_result *ret, uint64_t *begin, uint64_t *deadline)
{
	inv->observer->start(inv->observer->arg, ret->request_id);
	*begin = clock_mono_ns();
	*deadline = *begin + inv->spec->timeout_ns;
}

/* By the snapshot. *ret_restored is false when a cold start has to do. A function whose hooks fail has been restored all
 * the same: the call is over with what they said. */
static int make_restored(struct invoker *inv, struct call_result *ret, uint64_t *begin, uint64_t *deadline,
			 bool *ret_ready, bool *ret_restored, struct outcome *out, struct err *e)
{
	struct err failed = {0};
	int r = restore_phase(inv, out, &failed);

	inv->cancelled |= r < 0 && failed.kind == ERR_CANCELLED;
	if (r < 0 && !inv->cancelled && !inv->snap_required) {
		inv->observer->fallback(inv->observer->arg, &failed);
		inv->snap = NULL; /* it will not be better for the next one */
		return 0;
	}
	if (r < 0)
		return err_adopt(e, &failed);
	*ret_restored = true;
	*ret_ready = out->status == CALL_SUCCESS;
	start_call(inv, ret, begin, deadline);
	if (*ret_ready) {
		ret->has_restore = true;
		ret->restore_ns = inv->restore_ns;
		ret->billed_restore_ms = (inv->session.reseed_ns + inv->session.hooks_ns + NS_PER_MS - 1) / NS_PER_MS;
	}
	return 0;
}

/* Makes a ready cell. Failing that, runs init again inside the call, as Lambda does. *ret_ready is false when the call
 * is over already, with *out as its outcome. */
static int make_ready(struct invoker *inv, struct call_result *ret, uint64_t *begin, uint64_t *deadline,
		      bool *ret_ready, struct outcome *out, struct err *e)
{
	bool restored = false;
	int r = inv->snap ? make_restored(inv, ret, begin, deadline, ret_ready, &restored, out, e) : 0;

	if (r < 0 || restored)
		return r;
	r = init_phase(inv, 0, out, e);

	*ret_ready = r == 0 && out->status == CALL_SUCCESS;
	if (r < 0)
		return r;
	if (!*ret_ready) {
		report_init(inv, "init", out);
		drop_cell(inv);
	}
	start_call(inv, ret, begin, deadline);
	if (*ret_ready) {
		ret->has_init = true;
		ret->init_ns = inv->init_ns;
		return 0;
	}
	outcome_done(out);
	r = init_phase(inv, *deadline, out, e);
	*ret_ready = r == 0 && out->status == CALL_SUCCESS;
	if (r == 0 && !*ret_ready) {
		report_init(inv, "invoke", out);
		if (out->status == CALL_TIMEOUT)
			outcome_timed_out(out, inv->spec);
	}
	return r;
}

int invoke_call(struct invoker *inv, const void *event, size_t len, const char *trace_id, struct call_result *ret,
		struct err *e)
{
	const struct invoke_observer *o = inv->observer;
	AUTO(outcome_done) struct outcome out = {0};
	uint64_t begin = 0, deadline = 0;
	bool ready = true;
	int r = make_request_id(ret->request_id, e);

	if (r < 0)
		return r;
	if (inv->alive && cell_has_exited(&inv->cell, false))
		drop_cell(inv); /* it ended between two calls: the next one gets a new cell */
	if (!inv->alive) {
		r = make_ready(inv, ret, &begin, &deadline, &ready, &out, e);
	} else {
		start_call(inv, ret, &begin, &deadline);
	}
	if (r == 0 && ready) {
		outcome_done(&out);
		r = call_phase(inv, ret, event, len, trace_id, deadline, &out, e);
	}
	if (r < 0) {
		drop_cell(inv);
		return r;
	}
	measure(inv, ret, begin);
	if (inv->alive)
		session_drain_output(&inv->session);
	fill(inv, ret, &out);
	if (out.fatal)
		drop_cell(inv);
	else
		r = report_call(inv, ret, e);
	if (out.log && !out.plain)
		o->message(o->arg, ret->request_id, out.message.data ? out.message.data : "");
	o->end(o->arg, ret);
	return r;
}

void invoke_done(struct invoker *inv)
{
	struct err ignored = {0};

	if (!inv->alive)
		return;
	if (inv->session.has_shutdown && inv->session.ready && !inv->cancelled &&
	    session_shutdown(&inv->session, &ignored) == 0) {
		const uint64_t ms = inv->host->facts.code.runtime == SPEC_RUNTIME_CUSTOM ? INVOKE_SHUTDOWN_CUSTOM_MS
											 : INVOKE_SHUTDOWN_MS;
		const uint64_t deadline = clock_mono_ns() + ms * NS_PER_MS;

		enum session_event ev;

		/* Whatever comes, the end follows: only its good order is at stake. */
		do
			ev = session_wait(&inv->session, deadline);
		while (ev != SESSION_ENDED && ev != SESSION_SIGNAL && clock_mono_ns() < deadline);
		inv->cancelled = ev == SESSION_SIGNAL;
	}
	drop_cell(inv);
}
