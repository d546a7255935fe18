/* What units tell of the invocations that they are made for or run (struct unit_ops). */
#include "daemon/invocation_parts.h"
#include "daemon/snapshots.h"

enum { INIT_TRIES = 2 };

static void unit_ready(struct unit *u)
{
	u->f->init_failures = 0;
	if (u->restored)
		snapshot_proved(u->f);
	if (u->fork)
		fork_ready(u);
	u->d->on_room(u->d, u->f);
}

/* ---- Leases, from one fsboxd to the next ---- */

static const char *const starts[] = {
	[GRANT_WARM] = "warm",
	[GRANT_COLD] = "cold",
	[GRANT_RESTORED] = "restored",
};

void invocation_note_grant(const struct invocation *v, struct unit *u)
{
	struct unit_grant *g = &u->grant;

	*g = (struct unit_grant){0};
	if (!v->chosen)
		return;
	str_copy(g->token, INVOCATION_BYTES, v->id);
	g->arrived_ns = v->arrived_ns;
	g->granted_ns = v->begin_ns;
	g->build_ns = v->build_ns;
	g->init_ns = v->init_ns;
	g->restore_ns = v->restore_ns;
	while (g->start_kind + 1 < ARRAY_LEN(starts) && strcmp(starts[g->start_kind], v->start_kind) != 0)
		g->start_kind++;
}

/* Whoever has not heard the answer asks with the same token again, of this fsboxd: he is to get the same lease, and not
 * another cell beside one that nobody knows of. */
static void unit_adopted(struct unit *u)
{
	const struct unit_grant *g = &u->grant;
	struct invocation *v;

	if (!u->leased || g->token[0] == '\0' || clock_mono_ns() - g->granted_ns >= RESULT_KEPT_S * NS_PER_S ||
	    invocation_find(u->d, u->f->owner, g->token))
		return;
	v = invocation_new(u->d, u->f, u->f->owner, g->token);
	if (!v)
		return;
	v->lease = true;
	str_copy(v->request_id, sizeof v->request_id, u->lease);
	str_copy(v->unit, sizeof v->unit, u->id);
	v->arrived_ns = g->arrived_ns;
	v->begin_ns = v->end_ns = g->granted_ns;
	v->build_ns = g->build_ns;
	v->init_ns = g->init_ns;
	v->restore_ns = g->restore_ns;
	v->start_kind = starts[g->start_kind < ARRAY_LEN(starts) ? g->start_kind : GRANT_WARM];
	invocation_be_over(v);
}

/* ---- What becomes of cells ---- */

static void unit_could_not(struct unit *u, const struct err *why)
{
	struct function *f = u->f;

	if (u->fork) {
		fork_failed(u, why);
		return;
	}
	if (u->restored && why->kind != ERR_CAPACITY) { /* a cold start serves what waits */
		snapshot_give_up(f, u->hurried && why->kind == ERR_DEADLINE, why);
		return;
	}
	f->init_failures++;
	/* Each cell that fails takes one call with it, so that none waits for what does not come. */
	if (f->queue && f->n_queued > f->n_starting + f->n_free)
		invocation_refuse(f->queue, why->kind == ERR_CAPACITY ? "CapacityExhausted" : "SystemFailure", why);
}

/* Lambda runs an init that failed again, and the call that waits for it then has its error. */
static void unit_init_failed(struct unit *u, struct outcome *out)
{
	struct function *f = u->f;
	struct invocation *v = f->queue;

	if (u->fork) {
		struct err e = {0};

		(void)err_set(&e, ERR_SYSTEM, 0, "%s: %s", out->type, out->message.data ? out->message.data : "");
		fork_failed(u, &e);
		return;
	}
	f->init_failures++;
	/* Hooks that fail in one clone fail in the next. */
	if (!v || (!u->restored && ++v->init_tries < INIT_TRIES))
		return;
	invocation_leave_queue(v);
	invocation_note_start(v, u);
	if (v->lease) {
		struct err e = {0};

		(void)err_set(&e, ERR_FUNCTION, 0, "%s: %s", out->type, out->message.data ? out->message.data : "");
		invocation_refuse(v, "SystemFailure", &e);
		return;
	}
	invocation_finish(v, NULL, out);
}

static void unit_answered(struct unit *u, struct outcome *out)
{
	struct invocation *v = u->invocation;

	u->invocation = NULL;
	if (v)
		invocation_finish(v, u, out);
}

static void keep_tail(struct invocation *v, const char *data, size_t len)
{
	if (!v->log)
		v->log = malloc(LOG_TAIL);
	if (!v->log)
		return;
	for (size_t i = len > LOG_TAIL ? len - LOG_TAIL : 0; i < len; i++)
		v->log[(v->log_len + i) % LOG_TAIL] = data[i];
	v->log_len += len;
}

static void tell_output(struct invocation *v, int stream, const char *data, size_t len)
{
	keep_tail(v, data, len);
	for (struct waiter *w = v->waiters; w; w = w->next)
		if (w->logs && w->call->sink)
			w->call->sink->log(w->call, stream, data, len);
}

static void unit_output(struct unit *u, int stream, const char *data, size_t len)
{
	const struct entry entry = {
		.time_ms = wall_ms(),
		.owner = u->f->owner,
		.function = u->f->name,
		.cell = u->id,
		.invocation = u->invocation ? u->invocation->id : NULL,
		.text = data,
		.len = len,
		.stream = stream,
	};

	if (u->invocation)
		tell_output(u->invocation, stream, data, len);
	(void)journal_add(&u->d->logs, &entry);
	if (u->d->on_log)
		u->d->on_log(u->d);
}

static void unit_wrote(struct unit *u)
{
	struct invocation *v = u->invocation;
	struct waiter **at = v ? &v->waiters : NULL;

	while (at && *at) {
		struct waiter *w = *at;

		if (!w->stream || w->streamed == u->session.answer.len ||
		    invocation_ops->part(v, w, u->session.answer.data + w->streamed,
					 u->session.answer.len - w->streamed)) {
			at = &w->next;
			continue;
		}
		*at = w->next;
		free(w);
	}
}

void invocation_flow(struct invocation *v)
{
	if (v->state == INVOCATION_RUNNING && v->u)
		unit_wrote(v->u);
}

static void unit_dropped(struct unit *u)
{
	struct invocation *v = u->invocation;
	struct err e = {0};

	u->invocation = NULL;
	(void)err_set(&e, ERR_SYSTEM, 0, "the cell was ended");
	invocation_refuse(v, "SystemFailure", &e);
}

static void unit_gone(struct unit *u)
{
	struct err e = {0};

	(void)err_set(&e, ERR_SYSTEM, 0, "the cell was ended");
	if (u->fork)
		fork_failed(u, &e);
	if (u->invocation)
		unit_dropped(u);
}

const struct unit_ops invocation_unit_ops = {
	.ready = unit_ready,
	.adopted = unit_adopted,
	.failed = unit_could_not,
	.init_failed = unit_init_failed,
	.answered = unit_answered,
	.output = unit_output,
	.wrote = unit_wrote,
	.dropped = unit_dropped,
	.ended = unit_gone,
};
