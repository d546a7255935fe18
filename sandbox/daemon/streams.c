#include "daemon/streams.h"

#include "daemon/deploy.h"
#include "daemon/usage.h"

#include <stdio.h>

enum {
	STATS_MS = 1000,
	PER_TURN = 256,
	FUNCTIONS_WAIT_MS = 10000,
	STATS_PER_UID = 8, /* streams: each is all that its user has, made as often as every 100 ms */
};

/* A call that goes on. */
struct stream {
	struct stream *next;
	struct daemon *d;
	struct call *call;
	const struct journal *journal; /* NULL: Stats */
	struct journal_filter filter;
	char function[NAME_BYTES], cell[INVOCATION_BYTES];
	uint64_t cursor, last_sent;
	bool follow, full;
	bool coming; /* Functions, which waits for those that are brought back */
	uint64_t every_ns;
	struct timer timer;
	struct usage_wait usage; /* of List and Stats */
};

static struct stream *streams;
static struct later waking;

static void end_stream(struct stream *s)
{
	struct stream **at = &streams;

	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	loop_disarm(&s->d->loop, &s->timer);
	usage_forget(&s->usage);
	s->call->user = NULL;
	free(s);
}

static struct stream *begin_stream(struct daemon *d, struct call *c)
{
	struct stream *s = calloc(1, sizeof *s);
	const char *function = wire_get_string(c->params, "function"), *cell = wire_get_string(c->params, "cell");
	struct err e = {0};

	if (!s) {
		(void)err_oom(&e);
		answer_err(c, &e);
		return NULL;
	}
	*s = (struct stream){.d = d, .call = c, .next = streams};
	(void)snprintf(s->function, sizeof s->function, "%s", function ? function : "");
	(void)snprintf(s->cell, sizeof s->cell, "%s", cell ? cell : "");
	s->filter = (struct journal_filter){
		.one_owner = !call_rights(d, c)->admin,
		.owner = call_peer(c)->uid,
		.function = function ? s->function : NULL,
		.cell = cell ? s->cell : NULL,
	};
	streams = s;
	c->user = s;
	return s;
}

/* ---- Lists ---- */

/* Each answer but the last continues, so each waits for the next. */
struct list {
	struct call *call;
	const char *key;
	struct buf waiting;
	bool any, broken;
};

static void list_begin(struct list *l, struct wire_obj *o, struct wire_obj *inner)
{
	if (l->any && !call_continue(l->call, &l->waiting, NULL, 0))
		l->broken = true;
	l->any = true;
	l->waiting.len = 0;
	wire_obj_begin(o, &l->waiting);
	wire_obj_key(o, l->key);
	wire_obj_begin(inner, &l->waiting);
}

static void list_end(struct list *l)
{
	struct buf b = {0};

	if (!l->broken) {
		call_reply(l->call, l->any ? &l->waiting : NULL, NULL, 0);
	} else {
		buf_puts(&b, "{\"cursor\":0}");
		call_error(l->call, "org.fsbox.Sandbox.SlowConsumer", &b);
		buf_done(&b);
	}
	buf_done(&l->waiting);
}

static void list_functions(struct daemon *d, struct call *c)
{
	const char *name = wire_get_string(c->params, "name");
	struct list l = {.call = c, .key = "function"};

	for (const struct function *f = d->functions; f && !l.broken; f = f->next) {
		struct wire_obj o, inner;

		if (f->forgotten || !may_see(d, c, f->owner) || (name && strcmp(f->name, name) != 0))
			continue;
		list_begin(&l, &o, &inner);
		add_function(&inner, f);
		wire_obj_end(&inner);
		wire_obj_end(&o);
	}
	list_end(&l);
}

static void functions_late(void *arg)
{
	struct stream *s = arg;
	struct call *c = s->call;
	struct err e = {0};

	end_stream(s);
	(void)err_set(&e, ERR_BUSY, EBUSY, "functions are being brought back");
	answer_err(c, &e);
}

/* A list in which those are missing that have not been looked at yet would have a scheduler deploy them anew. */
static void functions(struct daemon *d, struct call *c)
{
	struct stream *s;

	if (!deploy_is_coming(d)) {
		list_functions(d, c);
		return;
	}
	s = begin_stream(d, c);
	if (!s)
		return;
	s->coming = true;
	s->timer.due = functions_late;
	s->timer.arg = s;
	if (loop_arm(&d->loop, &s->timer, clock_mono_ns() + FUNCTIONS_WAIT_MS * NS_PER_MS) < 0)
		functions_late(s);
}

static void functions_wake(struct stream *s)
{
	struct daemon *d = s->d;
	struct call *c = s->call;

	if (deploy_is_coming(d))
		return;
	end_stream(s);
	list_functions(d, c);
}

/* Is this cell one of those that the stream tells of? One that came while others were read has been read by nobody. */
static bool is_told(void *arg, const struct unit *u)
{
	const struct stream *s = arg;

	return u->id[0] && may_see(s->d, s->call, u->f->owner) &&
	       (!s->function[0] || strcmp(u->f->name, s->function) == 0);
}

static void list_ready(void *arg)
{
	struct stream *s = arg;
	struct list l = {.call = s->call, .key = "cell"};

	for (struct unit *u = s->d->units; u && !l.broken; u = u->next) {
		struct wire_obj o, inner;

		if (!is_told(s, u))
			continue;
		if (u->usage_ns == 0)
			usage_read(u);
		list_begin(&l, &o, &inner);
		add_cell(&inner, u);
		wire_obj_end(&inner);
		wire_obj_end(&o);
	}
	end_stream(s);
	list_end(&l);
}

static void await_usage(struct stream *s, void (*ready)(void *arg))
{
	s->usage.wanted = is_told;
	s->usage.ready = ready;
	s->usage.arg = s;
	usage_await(s->d, &s->usage);
}

static void list(struct daemon *d, struct call *c)
{
	struct stream *s = begin_stream(d, c);

	if (s)
		await_usage(s, list_ready);
}

/* ---- Events and logs ---- */

static void lost(struct stream *s)
{
	struct call *c = s->call;
	struct buf b = {0};
	struct wire_obj o;

	wire_obj_begin(&o, &b);
	wire_obj_int(&o, "firstAvailable", (int64_t)journal_since(s->journal, &s->filter));
	wire_obj_end(&o);
	end_stream(s);
	call_error(c, "org.fsbox.Sandbox.Lost", &b);
	buf_done(&b);
}

static void slow(struct stream *s)
{
	struct call *c = s->call;
	struct buf b = {0};
	struct wire_obj o;

	wire_obj_begin(&o, &b);
	wire_obj_int(&o, "cursor", (int64_t)s->last_sent);
	wire_obj_end(&o);
	end_stream(s);
	call_error(c, "org.fsbox.Sandbox.SlowConsumer", &b);
	buf_done(&b);
}

static bool send_entry(struct stream *s, const struct entry *e, uint64_t dropped)
{
	const bool logs = s->journal == &s->d->logs;
	struct buf b = {0};
	struct wire_obj o, inner;
	bool sent;

	wire_obj_begin(&o, &b);
	wire_obj_key(&o, logs ? "chunk" : "event");
	wire_obj_begin(&inner, &b);
	if (logs)
		add_chunk(&inner, e, dropped);
	else
		add_event(&inner, e);
	wire_obj_end(&inner);
	wire_obj_end(&o);
	sent = call_continue(s->call, &b, NULL, 0);
	buf_done(&b);
	return sent;
}

/* Sends what has come. False: the stream is over. An event that a client does not take ends its subscription; a log goes on
 * where it stopped, with the number of what is gone meanwhile. */
static bool pump(struct stream *s)
{
	for (int i = 0; i < PER_TURN && !s->full; i++) {
		const struct entry *e = journal_next(s->journal, s->cursor, &s->filter);
		const uint64_t gone = journal_lost(s->journal, s->cursor, &s->filter);

		if (!e) {
			s->cursor = journal_last(s->journal);
			return true;
		}
		if (send_entry(s, e, s->cursor == 0 ? 0 : gone - journal_lost(s->journal, e->cursor, &s->filter))) {
			s->cursor = s->last_sent = e->cursor;
			continue;
		}
		if (s->journal == &s->d->events) {
			slow(s);
			return false;
		}
		s->full = true;
	}
	if (!s->full)
		streams_wake(s->d); /* others have their turn first */
	return true;
}

static void wake(void *arg)
{
	(void)arg;
	for (struct stream *s = streams, *next; s; s = next) {
		next = s->next;
		if (s->coming) {
			functions_wake(s);
			continue;
		}
		if (!s->journal || !pump(s))
			continue;
		if (!s->follow && !s->full && !journal_next(s->journal, s->cursor, &s->filter)) {
			struct call *c = s->call;

			end_stream(s);
			call_reply(c, NULL, NULL, 0);
		}
	}
}

void streams_wake(struct daemon *d)
{
	if (streams)
		loop_later(&d->loop, &waking, wake, NULL);
}

void stream_drained(struct daemon *d, struct call *c)
{
	struct stream *s = c->user;

	if (!s)
		return;
	s->full = false;
	streams_wake(d);
}

/* The cells that are there, as if they had just been told of. */
static bool tell_present(struct stream *s)
{
	for (const struct unit *u = s->d->units; u; u = u->next) {
		const struct entry e = {
			.time_ms = wall_ms(),
			.owner = u->f->owner,
			.kind = EV_STARTED,
			.function = u->f->name,
			.cell = u->id,
			.status = unit_state_name(u),
		};

		if (!u->id[0] || (s->filter.one_owner && u->f->owner != s->filter.owner))
			continue;
		if (!send_entry(s, &e, 0))
			return false;
	}
	return true;
}

static void follow(struct daemon *d, struct call *c, const struct journal *j)
{
	const bool events = j == &d->events;
	const uint64_t since = (uint64_t)wire_get_int(c->params, "since", 0);
	struct stream *s = begin_stream(d, c);

	if (!s)
		return;
	s->journal = j;
	s->follow = events || wire_get_bool(c->params, "follow");
	s->cursor = since;
	if (events && since == 0) {
		s->cursor = journal_last(j);
		s->last_sent = s->cursor;
		if (!tell_present(s)) {
			slow(s);
			return;
		}
	} else if (events ? journal_lost(j, since, &s->filter) > 0 : !journal_knows(j, since)) {
		/* Output that is gone is told of as a number, in the chunk behind it; what another daemon had,
		 * nobody knows. */
		lost(s);
		return;
	}
	streams_wake(d);
}

/* ---- Stats ---- */

static void add_stats_of(struct wire_obj *o, const struct function *f)
{
	struct wire_obj in;

	wire_obj_begin(&in, o->b);
	wire_obj_string(&in, "name", f->name);
	wire_obj_int(&in, "owner", f->owner);
	wire_obj_int(&in, "memoryMb", (int64_t)(f->spec.memory_bytes >> 20));
	wire_obj_int(&in, "cells", f->n_units);
	wire_obj_int(&in, "idle", f->n_idle);
	wire_obj_int(&in, "busy", f->n_busy);
	wire_obj_int(&in, "queued", f->n_queued);
	wire_obj_int(&in, "calls", (int64_t)f->calls);
	wire_obj_int(&in, "failures", (int64_t)f->failures);
	wire_obj_int(&in, "rejected", (int64_t)f->rejected);
	wire_obj_int(&in, "coldStarts", (int64_t)f->cold_starts);
	wire_obj_int(&in, "p50Us", function_percentile(f, 0.5));
	wire_obj_int(&in, "p99Us", function_percentile(f, 0.99));
	wire_obj_end(&in);
}

static void make_stats(struct stream *st, struct buf *b)
{
	struct daemon *d = st->d;
	struct wire_obj o, s;
	bool any = false;

	wire_obj_begin(&o, b);
	wire_obj_key(&o, "stats");
	wire_obj_begin(&s, b);
	wire_obj_int(&s, "timeMs", wall_ms());
	wire_obj_int(&s, "uptimeMs", (int64_t)((clock_mono_ns() - d->started_ns) / NS_PER_MS));
	wire_obj_key(&s, "functions");
	buf_puts(b, "[");
	for (const struct function *f = d->functions; f; f = f->next) {
		if (f->forgotten || !may_see(d, st->call, f->owner) ||
		    (st->function[0] && strcmp(f->name, st->function) != 0))
			continue;
		buf_puts(b, any ? "," : "");
		add_stats_of(&s, f);
		any = true;
	}
	buf_puts(b, "],\"cells\":[");
	any = false;
	for (struct unit *u = d->units; u; u = u->next) {
		struct wire_obj in;

		if (!is_told(st, u))
			continue;
		if (u->usage_ns == 0)
			usage_read(u);
		buf_puts(b, any ? "," : "");
		wire_obj_begin(&in, b);
		add_cell(&in, u);
		wire_obj_end(&in);
		any = true;
	}
	buf_puts(b, "]");
	wire_obj_end(&s);
	wire_obj_end(&o);
}

static void on_stats_time(void *arg);

static void stats_ready(void *arg)
{
	struct stream *s = arg;
	struct call *c = s->call;
	const uint64_t every_ns = s->every_ns;
	struct buf b = {0};

	make_stats(s, &b);
	if (every_ns > 0) {
		s->timer.due = on_stats_time;
		s->timer.arg = s;
		(void)!call_continue(c, &b, NULL, 0); /* one that is not taken is left out: the next is newer */
		(void)!loop_arm(&s->d->loop, &s->timer, clock_mono_ns() + every_ns);
	} else {
		end_stream(s);
		call_reply(c, &b, NULL, 0);
	}
	buf_done(&b);
}

static void on_stats_time(void *arg)
{
	await_usage(arg, stats_ready);
}

static bool has_many_stats(uid_t uid)
{
	int n = 0;

	for (const struct stream *s = streams; s; s = s->next)
		n += s->every_ns > 0 && s->filter.owner == uid;
	return n >= STATS_PER_UID;
}

static void stats(struct daemon *d, struct call *c)
{
	struct stream *s;
	struct err e = {0};

	if (c->more && has_many_stats(call_peer(c)->uid)) {
		(void)err_set(&e, ERR_CAPACITY, EUSERS, "streams of figures of this user");
		answer_err(c, &e);
		return;
	}
	s = begin_stream(d, c);
	if (!s)
		return;
	if (c->more)
		s->every_ns = (uint64_t)wire_get_int(c->params, "everyMs", STATS_MS) * NS_PER_MS;
	on_stats_time(s);
}

void method_with_more(struct daemon *d, struct call *c)
{
	switch (c->method->id) {
	case M_FUNCTIONS:
		functions(d, c);
		break;
	case M_LIST:
		list(d, c);
		break;
	case M_STATS:
		stats(d, c);
		break;
	case M_LOGS:
		follow(d, c, &d->logs);
		break;
	default:
		follow(d, c, &d->events);
		break;
	}
}

void stream_client_gone(struct daemon *d, struct call *c)
{
	(void)d;
	if (c->user)
		end_stream(c->user);
	answer_done(c);
}

/* ---- About the daemon ---- */

void method_describe(struct daemon *d, struct call *c)
{
	const struct rights *r = call_rights(d, c);
	struct buf b = {0};
	struct wire_obj o, limits;

	wire_obj_begin(&o, &b);
	wire_obj_string(&o, "vendor", "fsbox");
	wire_obj_string(&o, "version", FSBOX_VERSION);
	wire_obj_int(&o, "apiLevel", METHODS_API_LEVEL);
	wire_obj_string(&o, "bootId", d->boot_id);
	wire_obj_key(&o, "features");
	buf_printf(&b, "[\"lease\",\"stream\",\"memfd\",\"exec\",\"frames\"%s%s%s]", d->limits ? ",\"limits\"" : "",
		   d->config.no_freeze ? "" : ",\"freeze\"", d->can_snapshot ? ",\"snapshot\"" : "");
	wire_obj_int(&o, "uid", call_peer(c)->uid);
	wire_obj_string(&o, "rule", r->rule);
	wire_obj_key(&o, "limits");
	wire_obj_begin(&limits, &b);
	wire_obj_int(&limits, "maxCells", r->max_cells);
	wire_obj_int(&limits, "maxQueued", r->max_queued);
	wire_obj_int(&limits, "maxFunctions", r->max_functions);
	wire_obj_int(&limits, "maxExecs", r->exec ? r->max_execs : 0);
	wire_obj_int(&limits, "messageBytes", MESSAGE_BYTES);
	wire_obj_int(&limits, "eventBytes", SPEC_MAX_PAYLOAD);
	wire_obj_int(&limits, "keptBytes", RESULT_BYTES_OF_ONE);
	wire_obj_int(&limits, "memoryMb", (int64_t)(r->memory_bytes >> 20));
	wire_obj_bool(&limits, "admin", r->admin);
	wire_obj_bool(&limits, "exec", r->exec);
	wire_obj_end(&limits);
	wire_obj_end(&o);
	call_reply(c, &b, NULL, 0);
	buf_done(&b);
}

void method_capacity(struct daemon *d, struct call *c)
{
	const struct rights *r = call_rights(d, c);
	const struct account *a = account_of(d, call_peer(c)->uid);
	const uint64_t own = a && a->memory_bytes < r->memory_bytes ? r->memory_bytes - a->memory_bytes : 0;
	const uint64_t all = d->memory_bytes < d->config.memory_bytes ? d->config.memory_bytes - d->memory_bytes : 0;
	const bool admin = r->admin;
	struct buf b = {0};
	struct wire_obj o, warm;

	wire_obj_begin(&o, &b);
	wire_obj_int(&o, "memoryFreeMb", (int64_t)(least(own, all) >> 20));
	wire_obj_int(&o, "memoryBudgetMb", (int64_t)(least(r->memory_bytes, d->config.memory_bytes) >> 20));
	wire_obj_int(&o, "cells", admin ? d->n_units : a ? a->cells : 0);
	wire_obj_int(&o, "maxCells", (int64_t)least(r->max_cells, d->config.max_cells));
	wire_obj_int(&o, "queued", admin ? d->n_queued : a ? a->queued : 0);
	wire_obj_int(&o, "maxQueued", (int64_t)least(r->max_queued, d->config.max_queued));
	wire_obj_key(&o, "cpusBusy");
	buf_printf(&b, "%.3f", admin ? d->busy_cpus : a ? a->busy_cpus : 0);
	wire_obj_int(&o, "cpus", d->n_cpus);
	wire_obj_key(&o, "warm");
	wire_obj_begin(&warm, &b);
	for (const struct function *f = d->functions; f; f = f->next)
		if (!f->forgotten && f->owner == call_peer(c)->uid)
			wire_obj_int(&warm, f->name, f->n_free);
	wire_obj_end(&warm);
	wire_obj_end(&o);
	call_reply(c, &b, NULL, 0);
	buf_done(&b);
}
