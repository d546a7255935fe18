#include "cli/cli.h"

#include "base/fd.h"

#include <stdio.h>

int snapshot_wish_parse(struct snapshot_wish *w, const char *option, const char *value, struct err *e)
{
	*w = (struct snapshot_wish){.wanted = true};
	if (!value)
		return 0;
	if (strcmp(value, "require") == 0) {
		w->require = true;
	} else if (strcmp(value, "unseeded") == 0) {
		w->unseeded = true;
	} else if (strlen(value) >= 6 && strspn(value, "0123456789abcdef") == strlen(value)) {
		w->id = value;
		w->require = true; /* this one was asked for, and no other will do */
	} else {
		return err_set(e, ERR_SPEC, 0,
			       "--%s: expected an id (6 or more of its hex digits), require or unseeded, got '%s'",
			       option, value);
	}
	return 0;
}

void snapshot_use_init(struct snapshot_use *u)
{
	*u = (struct snapshot_use){.store = {.dir = FD_NONE}};
	snap_init(&u->snap);
}

int snapshot_open(struct snapshot_use *u, const struct invoker *inv, struct err *e)
{
	int r = publish_check(inv->host, inv->spec, e);

	if (r == 0)
		r = snap_engine_find(inv->host->facts.runtime_dir, &u->engine, e);
	if (r == 0)
		r = snap_store_open(NULL, true, &u->store, e);
	if (r < 0)
		return r;
	publish_use_engine(inv->host, &u->engine);
	return publish_key(&u->key, &u->engine, inv->host, inv->spec, &inv->base, &inv->runtime, e);
}

int snapshot_publish(struct snapshot_use *u, const struct invoker *inv, struct err *e)
{
	struct publisher p = {
		.host = inv->host,
		.spec = inv->spec,
		.base = &inv->base,
		.policy = inv->policy,
		.sink = inv->sink,
		.store = &u->store,
		.key = &u->key,
		.signal_fd = inv->signal_fd,
	};
	const struct invoke_observer *o = inv->observer;
	int r = publish(&p, &u->snap, e);

	/* Always printed when a snapshot is made, as Lambda does. */
	if (p.init_ns > 0)
		o->init_report(o->arg, "snapshot", p.error_type[0] ? "error" : "success", p.error_type, p.init_ns);
	u->open = r == 0;
	return r;
}

/* ---- for a run ---- */

static int find_wanted(struct snapshot_use *u, const struct snapshot_wish *w, const struct invoker *inv, struct err *e)
{
	char reason[256] = "";
	bool same = false;
	int r;

	if (w->id) {
		r = snap_open(&u->store, w->id, &u->snap, e);
		u->open = r == 0;
		if (r == 0)
			r = snap_matches(&u->snap, &u->key, &same, reason, sizeof reason, e);
		return r < 0 || same
			       ? r
			       : err_set(e, ERR_SNAPSHOT_MISMATCH, 0,
					 "snapshot %.12s does not belong to this function: %s", u->snap.m.id, reason);
	}
	r = snap_find(&u->store, &u->key, &u->snap, reason, sizeof reason, e);
	u->open = r == 1;
	return r == 0 ? snapshot_publish(u, inv, e) : r;
}

/* What the image needs beside CRIU must fit into the call's memory. */
static int check_fit(const struct snap *s, const struct cell_spec *spec, const struct snapshot_wish *w, struct err *e)
{
	if (s->m.page_bytes > spec->memory_bytes)
		return err_set(e, ERR_LIMIT, ENOMEM, "snapshot %.12s holds %llu MiB of memory, --mem is %llu", s->m.id,
			       (unsigned long long)(s->m.page_bytes >> 20),
			       (unsigned long long)(spec->memory_bytes >> 20));
	if (s->m.features & SNAP_NOT_RESEEDED && !w->unseeded)
		return err_hint(e,
				err_set(e, ERR_UNSUPPORTED, 0,
					"snapshot %.12s is not reseeded: its clones would draw the same values",
					s->m.id),
				"--snapshot=unseeded, when that does no harm");
	return 0;
}

int snapshot_use(struct snapshot_use *u, const struct snapshot_wish *w, struct invoker *inv, struct err *e)
{
	struct err why = {0};
	int r;

	if (!w->wanted)
		return 0;
	r = snapshot_open(u, inv, &why);
	if (r == 0)
		r = find_wanted(u, w, inv, &why);
	if (r >= 0)
		r = check_fit(&u->snap, inv->spec, w, &why);
	if (r == 0) {
		inv->snap = &u->snap;
		inv->snap_required = w->require;
		return 0;
	}
	if (why.kind == ERR_CANCELLED || w->require) {
		*e = why; /* with its place and remedy */
		return r;
	}
	inv->observer->fallback(inv->observer->arg, &why);
	return 0;
}

void snapshot_use_done(struct snapshot_use *u, struct invoker *inv)
{
	if (inv->host->engine)
		publish_keep_kdat(inv->host);
	inv->host->engine = NULL;
	if (u->open)
		snap_close(&u->snap);
	snap_key_done(&u->key);
	snap_store_close(&u->store);
}
