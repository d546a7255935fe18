/* Whose call runs where, and which cells are started or end for it: docs/daemon.md, "What a call goes through". */
#include "daemon/invocation.h"

#include <stdio.h>

enum {
	PROVISION_RETRY_S = 5,
	/* Cells of a function that are being provisioned at once. More are not ready any sooner, and one that is
	 * being built takes fsbox-spawn many more descriptors than one that runs: 1000 at once had none left for
	 * half of them. */
	PROVISION_AT_ONCE = 64
};

/* An idle cell that makes room: of the same owner first, then, unless it is @own room that lacks, of one who has more than
 * the asker. @also_its: one of @f, too. */
static bool evict_for(const struct function *f, bool own, bool also_its)
{
	struct unit *worst = NULL;

	for (struct unit *u = f->d->units; u; u = u->next) {
		const uint32_t ready = u->f->n_idle + u->f->n_busy; /* those that start or end serve nobody */

		if (!unit_is_free(u) || (u->f == f && !also_its) || ready <= u->f->provisioned ||
		    ready <= u->f->reserved)
			continue;
		if (u->f->owner != f->owner && (own || u->f->account->memory_bytes <= f->account->memory_bytes))
			continue;
		if (!worst || u->idle_ns < worst->idle_ns)
			worst = u;
	}
	if (worst)
		unit_leave(worst, "its room was needed");
	return worst != NULL;
}

bool schedule_evict(const struct function *f)
{
	return f->account->n_ending > 0 || evict_for(f, true, true);
}

enum prospect { NO_CELL, CELL_LATER, CELL_STARTS };

/* Of what @f has replaced: its cells end with the calls that run in them. */
static bool old_one_runs(const struct function *f)
{
	for (const struct function *o = f->d->functions; o; o = o->next)
		if (o->forgotten && o->n_busy > 0 && o->owner == f->owner && strcmp(o->name, f->name) == 0)
			return true;
	return false;
}

/* Is what is lacking about to be given back? What makes room takes a moment to end. */
static bool room_comes(const struct function *f, enum shortage s)
{
	switch (s) {
	case SHORT_OF_OWN_CELLS:
	case SHORT_OF_OWN_MEMORY:
		if (function_is_full(f))
			return f->n_ending > 0;
		return f->account->n_ending > 0 || evict_for(f, true, false) || old_one_runs(f);
	case SHORT_OF_CELLS:
	case SHORT_OF_MEMORY:
		return f->d->n_ending > 0 || evict_for(f, false, false) || old_one_runs(f);
	case SHORT_OF_NOTHING:
	case SHORT_OF_CPU:
		break;
	}
	return false;
}

/* One more cell for what waits, which has to be answered by @deadline_ns (0: nothing waits). NO_CELL: *e says why. */
static enum prospect start_one(struct function *f, uint64_t deadline_ns, struct err *e)
{
	const enum shortage s = function_may_start(f);
	struct unit *u;

	if (s != SHORT_OF_NOTHING && room_comes(f, s))
		return CELL_LATER;
	if (s != SHORT_OF_NOTHING)
		(void)err_set(e, ERR_CAPACITY, 0, "%s", shortage_name(s));
	return s == SHORT_OF_NOTHING && unit_start(f, deadline_ns, &u, e) == 0 ? CELL_STARTS : NO_CELL;
}

static void on_deadline(void *arg)
{
	struct invocation *v = arg;
	struct err e = {0};

	(void)err_set(&e, ERR_DEADLINE, ETIMEDOUT, "no cell became free in time");
	v->phase = v->f && v->f->n_starting > 0 ? "start" : "queue";
	invocation_refuse(v, "DeadlineExceeded", &e);
}

static void enqueue(struct invocation *v)
{
	struct function *f = v->f;

	v->state = INVOCATION_QUEUED;
	v->behind = NULL;
	*f->queue_end = v;
	f->queue_end = &v->behind;
	f->n_queued++;
	f->account->queued++;
	v->d->n_queued++;
	v->timer.due = on_deadline;
	v->timer.arg = v;
	if (loop_arm(&v->d->loop, &v->timer, v->deadline_ns) < 0) {
		struct err e = {0};

		(void)err_oom(&e);
		invocation_refuse(v, "SystemFailure", &e);
	}
}

/* How long a call may have to wait for one that runs. As long as one takes, unless more come than can be run: then a place
 * is taken again soon after it became free, and who takes it early waits for nothing but to be slow. So long that one and a
 * half calls come for each cell meanwhile: hardly any cell stays without work for it. */
static uint64_t longest_wait(const struct function *f, uint32_t cells)
{
	const uint64_t enough = f->gap_ns * cells * 3 / 2;

	return f->gap_ns > 0 && enough < f->service_ns ? enough : f->service_ns;
}

/* Is the call that runs longest of those behind which nobody waits expected to end in time? */
static bool ends_soon(const struct function *f, uint32_t waiting, uint32_t cells)
{
	const struct unit *u = f->busy;

	if (f->service_ns == 0)
		return waiting < f->n_busy;
	while (u && waiting-- > 0)
		u = u->busy_next;
	return u && u->call_begin_ns + f->service_ns <= clock_mono_ns() + longest_wait(f, cells);
}

/* Who waits must have a cell to wait for: one that starts, or one whose call will end, each for one. So nobody waits longer
 * than about one call of the function takes. */
static bool may_wait(const struct function *f, enum prospect p)
{
	const struct rights *r = function_rights(f);
	const uint32_t idle = f->n_starting + f->n_free + (p == CELL_LATER ? 1 : 0);

	if (f->account->queued >= r->max_queued || f->d->n_queued >= f->d->config.max_queued)
		return false;
	return f->n_queued < idle || ends_soon(f, f->n_queued - idle, idle + f->n_busy);
}

static bool try_now(struct invocation *v)
{
	struct function *f = v->f;
	struct unit *u;

	if (f->queue || function_may_run(f) != SHORT_OF_NOTHING)
		return false;
	u = f->free;
	if (u)
		invocation_run(v, u);
	return u != NULL;
}

/* It has been let in before, at the function whose place @to takes: it waits on, whatever room there is. */
void invocation_move(struct invocation *v, struct function *to)
{
	invocation_leave_queue(v);
	v->f = to;
	v->init_tries = 0; /* of another code */
	enqueue(v);
}

void invocation_submit(struct invocation *v)
{
	struct function *f = v->f;
	enum prospect p = NO_CELL;
	struct err e = {0};

	if (v->wanted) { /* a leased cell: one call at a time, and nobody else's */
		if (v->u->state != UNIT_IDLE || v->u->paused || v->u->n_execs > 0) {
			(void)err_set(&e, ERR_BUSY, EBUSY, "the leased cell is %s", unit_state_name(v->u));
			invocation_refuse(v, "Busy", &e);
			return;
		}
		invocation_run(v, v->u);
		return;
	}
	function_asked(f, v->arrived_ns);
	if (try_now(v))
		return;
	if (f->n_queued >= f->n_starting && function_wants_cell(f))
		p = start_one(f, v->deadline_ns, &e);
	if (!may_wait(f, p)) {
		f->rejected++;
		v->d->n_rejected++;
		if (e.kind == ERR_NONE)
			(void)err_set(&e, ERR_BUSY, EBUSY, "as many calls wait as there are cells");
		invocation_refuse(v, e.kind == ERR_CAPACITY && f->n_units == 0 ? "CapacityExhausted" : "Busy", &e);
		return;
	}
	enqueue(v);
}

/* Whose turn it is: of those that could go on, the call of who has least at work, and of these the one that waits
 * longest. */
static struct function *next_to_run(struct daemon *d)
{
	struct function *best = NULL;

	for (struct function *f = d->functions; f; f = f->next) {
		if (!f->queue || !f->free || function_may_run(f) != SHORT_OF_NOTHING)
			continue;
		if (!best || f->account->busy_cpus < best->account->busy_cpus ||
		    (f->account == best->account && f->queue->arrived_ns < best->queue->arrived_ns))
			best = f;
	}
	return best;
}

/* That for which the next cell is started: of those that wait the first for which none starts yet. */
static uint64_t next_deadline(const struct function *f)
{
	const struct invocation *v = f->queue;

	for (uint32_t n = f->n_starting + f->n_free; v && n > 0; n--)
		v = v->behind;
	return v ? v->deadline_ns : 0;
}

static void start_what_lacks(struct function *f)
{
	struct err e = {0};

	enum prospect p = CELL_STARTS;

	while (p == CELL_STARTS && !f->forgotten && f->n_queued > f->n_starting + f->n_free && function_wants_cell(f))
		p = start_one(f, next_deadline(f), &e);
	/* The room that was to come was not enough, or others were faster: nothing is left that could be waited for. */
	while (p == NO_CELL && f->queue && e.kind == ERR_CAPACITY && f->n_units == 0)
		invocation_refuse(f->queue, "CapacityExhausted", &e);
	invocation_provision(f);
}

void invocation_dispatch(struct daemon *d, struct function *f)
{
	while (d->n_queued > 0) {
		struct function *next = next_to_run(d);
		struct invocation *v;

		if (!next)
			break;
		v = next->queue;
		invocation_leave_queue(v);
		invocation_run(v, next->free);
	}
	if (f && d->n_queued == 0)
		invocation_provision(f);
	else
		for (struct function *o = d->functions; o; o = o->next)
			start_what_lacks(o);
}

static void provision_again(void *arg)
{
	invocation_provision(arg);
}

void invocation_provision(struct function *f)
{
	struct err e = {0};

	if (f->forgotten || !f->defined || timer_armed(&f->again))
		return;
	while (f->n_starting < PROVISION_AT_ONCE && f->n_starting + f->n_idle + f->n_busy < f->provisioned) {
		if (f->init_failures == 0 && start_one(f, 0, &e) == CELL_STARTS)
			continue;
		/* No room, or inits that fail: later, and not without pause. */
		f->again.due = provision_again;
		f->again.arg = f;
		f->init_failures = 0;
		(void)!loop_arm(&f->d->loop, &f->again, clock_mono_ns() + PROVISION_RETRY_S * NS_PER_S);
		return;
	}
}
