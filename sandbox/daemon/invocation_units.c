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
	.failed = unit_could_not,
	.init_failed = unit_init_failed,
	.answered = unit_answered,
	.output = unit_output,
	.wrote = unit_wrote,
	.dropped = unit_dropped,
	.ended = unit_gone,
};
