/* Fork: so many clones of a function's snapshot at once, each leased to who asks. All of them or none. */
#include "daemon/snapshots.h"

#include "daemon/calls.h"
#include "daemon/deploy.h"

#include <stdio.h>
#include <sys/random.h>

enum { LEASE_MS = 60000 };
#define UNTIL_ANSWERED (3600 * NS_PER_S) /* a lease begins with the answer */

struct fork {
	struct call *call;
	struct function *f;
	uint64_t began_ns, lease_ns;
	uint32_t n, n_ready;
	bool failed;
	struct unit *units[];
};

static void forget(struct fork *k)
{
	for (uint32_t i = 0; i < k->n; i++)
		if (k->units[i])
			k->units[i]->fork = NULL;
	free(k);
}

static void answer(const struct fork *k)
{
	struct buf b = {0};
	struct wire_obj o;

	wire_obj_begin(&o, &b);
	wire_obj_key(&o, "clones");
	buf_puts(&b, "[");
	for (uint32_t i = 0; i < k->n; i++) {
		struct wire_obj clone;

		char token[LEASE_BYTES];

		str_copy(token, sizeof token, k->units[i]->lease);
		unit_lease(k->units[i], token, k->lease_ns);
		buf_puts(&b, i > 0 ? "," : "");
		wire_obj_begin(&clone, &b);
		wire_obj_string(&clone, "cell", k->units[i]->id);
		wire_obj_string(&clone, "lease", k->units[i]->lease);
		wire_obj_end(&clone);
	}
	buf_puts(&b, "]");
	wire_obj_int(&o, "tookUs", (int64_t)((clock_mono_ns() - k->began_ns) / 1000));
	wire_obj_end(&o);
	k->call->user = NULL;
	call_reply(k->call, &b, NULL, 0);
	buf_done(&b);
}

/* @but is ending already. */
static void give_up(struct fork *k, const struct unit *but, const struct err *why)
{
	if (k->failed) /* it comes from the ending of its own */
		return;
	k->failed = true;
	for (uint32_t i = 0; i < k->n; i++) {
		struct unit *u = k->units[i];

		if (!u)
			continue;
		u->fork = NULL;
		k->units[i] = NULL;
		if (u != but)
			unit_end(u, "its fork failed");
	}
	if (k->call) {
		k->call->user = NULL;
		answer_err(k->call, why);
	}
	forget(k);
}

void fork_ready(struct unit *u)
{
	struct fork *k = u->fork;

	struct err e = {0};

	if (++k->n_ready < k->n)
		return;
	for (uint32_t i = 0; i < k->n; i++)
		if (k->units[i]->state != UNIT_IDLE) { /* it was ready, and has ended since */
			(void)err_set(&e, ERR_SYSTEM, 0, "a clone has ended before all were ready");
			give_up(k, k->units[i], &e);
			return;
		}
	answer(k);
	forget(k);
}

void fork_failed(struct unit *u, const struct err *why)
{
	give_up(u->fork, u, why);
}

void fork_refuse_all(struct function *f, const struct err *why)
{
	for (struct unit *u = f->d->units; u; u = u->next) {
		struct fork *k = u->f == f ? u->fork : NULL;

		if (!k)
			continue;
		if (k->call) {
			k->call->user = NULL;
			answer_not_found(k->call, "function", f->name);
			k->call = NULL;
		}
		give_up(k, NULL, why);
	}
}

/* Is there room for all of them? */
static int check_room(const struct function *f, uint32_t n, struct err *e)
{
	const bool full = (f->max_cells > 0 && f->n_units + n > f->max_cells) ||
			  (f->reserved > 0 && f->n_units + n > f->reserved);
	const enum shortage s = full ? SHORT_OF_OWN_CELLS : function_may_take(f, n, n * f->spec.memory_bytes);

	return s == SHORT_OF_NOTHING ? 0 : err_set(e, ERR_CAPACITY, 0, "%s", shortage_name(s));
}

static int start_all(struct fork *k, struct err *e)
{
	for (uint32_t i = 0; i < k->n; i++) {
		unsigned char raw[16];
		char token[LEASE_BYTES];

		if (getrandom(raw, sizeof raw, 0) != (ssize_t)sizeof raw)
			return err_sys(e, errno, "drawing a lease");
		for (size_t b = 0; b < sizeof raw; b++)
			(void)snprintf(token + 2 * b, 3, "%02x", raw[b]);
		if (unit_start(k->f, 0, &k->units[i], e) < 0)
			return -1;
		unit_lease(k->units[i], token, UNTIL_ANSWERED);
		k->units[i]->fork = k;
	}
	return 0;
}

void method_fork(struct daemon *d, struct call *c)
{
	const char *name = wire_get_string(c->params, "function");
	const uint32_t n = (uint32_t)wire_get_int(c->params, "cells", 1);
	struct function *f = function_find(d, call_peer(c)->uid, name);
	struct err e = {0};
	struct fork *k;
	int r;

	if (!f) {
		deploy_answer_unknown(d, c, name);
		return;
	}
	if (f->snapshot.state != SNAPSHOT_READY) {
		answer_not_found(c, "snapshot", name);
		return;
	}
	r = check_room(f, n, &e);
	k = r == 0 ? calloc(1, sizeof *k + n * sizeof(struct unit *)) : NULL;
	if (!k) {
		if (r == 0)
			(void)err_oom(&e);
		answer_err(c, &e);
		return;
	}
	*k = (struct fork){.call = c, .f = f, .n = n, .began_ns = clock_mono_ns()};
	k->lease_ns = (uint64_t)wire_get_int(c->params, "leaseMs", LEASE_MS) * NS_PER_MS;
	c->user = k;
	if (start_all(k, &e) < 0)
		give_up(k, NULL, &e);
}

void fork_client_gone(struct daemon *d, struct call *c)
{
	struct fork *k = c->user;
	struct err e = {0};

	(void)d;
	(void)err_set(&e, ERR_CANCELLED, ECANCELED, "its client is gone");
	if (k) {
		k->call = NULL;
		give_up(k, NULL, &e);
	}
	c->user = NULL;
	answer_done(c);
}
