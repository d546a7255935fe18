#include "daemon/deployment.h"

#include "base/fd.h"
#include "daemon/calls.h"
#include "daemon/snapshots.h"

#include <stdio.h>

enum { AT_ONCE = 16, AT_ONCE_PER_UID = 4 };

struct deployment *deployments;

/* ---- Its end ---- */

void deployment_free(struct deployment *p)
{
	struct daemon *d = p->d;
	const bool reload = p->reload;
	struct deployment **at = &deployments;

	while (*at && *at != p)
		at = &(*at)->next;
	if (*at)
		*at = p->next;
	for (size_t i = 0; i < p->job.n_files; i++)
		fd_closep(&p->job.files[i].fd);
	loop_remove(&p->d->loop, &p->done);
	fd_closep(&p->sock);
	fd_closep(&p->pidfd);
	if (p->datagram)
		spawn_drop(p->datagram);
	free(p->datagram);
	free(p->prepared);
	if (p->f)
		function_free(p->f);
	free(p);
	if (reload)
		deploy_next_stored(d);
}

void deployment_fail(struct deployment *p, const struct err *e)
{
	if (p->call) {
		p->call->user = NULL;
		if (e->kind == ERR_DENIED && e->code == 0) /* by us, not by the kernel */
			answer_denied(p->call, e->msg, call_rights(p->d, p->call)->rule);
		else
			answer_err(p->call, e);
	} else if (p->reload) { /* of a client's that left nothing has gone */
		deploy_lost(p, e);
	}
	deployment_free(p);
}

static void answer_deployed(struct call *c, const char *digest, bool created)
{
	struct buf b = {0};
	struct wire_obj o;

	wire_obj_begin(&o, &b);
	wire_obj_string(&o, "digest", digest);
	wire_obj_bool(&o, "created", created);
	wire_obj_end(&o);
	call_reply(c, &b, NULL, 0);
	buf_done(&b);
}

static void answer_exists(struct call *c, const char *name, bool same)
{
	struct buf b = {0};
	struct wire_obj o;

	wire_obj_begin(&o, &b);
	wire_obj_string(&o, "id", name);
	wire_obj_bool(&o, "sameSpec", same);
	wire_obj_end(&o);
	call_error(c, "org.fsbox.Sandbox.AlreadyExists", &b);
	buf_done(&b);
}

static int copy_groups(struct function *f, const struct peer *peer, struct err *e)
{
	f->gid = peer->gid;
	if (peer->n_groups == 0)
		return 0;
	f->groups = malloc(peer->n_groups * sizeof f->groups[0]);
	if (!f->groups)
		return err_oom(e);
	memcpy(f->groups, peer->groups, peer->n_groups * sizeof f->groups[0]);
	f->n_groups = peer->n_groups;
	return 0;
}

struct deployment *deployment_new(struct daemon *d, struct function *f)
{
	struct deployment *p = f ? calloc(1, sizeof *p) : NULL;

	if (!p) {
		function_free(f);
		return NULL;
	}
	*p = (struct deployment){.d = d, .f = f, .sock = FD_NONE, .pidfd = FD_NONE, .next = deployments};
	p->job.spec = &f->spec;
	p->job.name = f->name;
	p->job.runtime_dir = d->runtime_dir;
	p->job.no_limits = !d->limits;
	deployments = p;
	return p;
}

static bool too_many(uid_t uid)
{
	size_t all = 0, own = 0;

	for (const struct deployment *p = deployments; p; p = p->next) {
		all++;
		own += p->f && p->f->owner == uid;
	}
	return all >= AT_ONCE || own >= AT_ONCE_PER_UID;
}

static void set_numbers(struct function *f, const struct json *params)
{
	const char *snapshot = wire_get_string(params, "snapshot");

	f->provisioned = (uint32_t)wire_get_int(params, "provisioned", 0);
	f->reserved = (uint32_t)wire_get_int(params, "reserved", 0);
	f->max_cells = (uint32_t)wire_get_int(params, "maxCells", 0);
	f->snapshot.wish = !snapshot || strcmp(snapshot, "no") == 0 ? WISH_NO
			   : strcmp(snapshot, "unseeded") == 0      ? WISH_UNSEEDED
								    : WISH_YES;
}

static int read_call(struct deployment *p, const struct peer *peer, struct err *e)
{
	const struct json *params = p->call->params;
	struct buf text = {0};
	int r = copy_groups(p->f, peer, e);

	json_dump_to(&text, wire_get(params, "spec"));
	if (text.failed)
		return err_oom(e);
	p->f->spec_text = text.data;
	set_numbers(p->f, params);
	p->replace = wire_get_bool(params, "replace");
	p->job.spec_text = p->f->spec_text;
	if (r == 0)
		r = deploy_read_spec(p->f, e);
	if (r == 0)
		r = deploy_check_spec(p->d, p->f, function_rights(p->f), e);
	if (r == 0)
		r = function_may_reserve(p->f, p->f->reserved, function_find(p->d, p->f->owner, p->f->name), e);
	return r == 0 ? deploy_list_files(p, params, e) : r;
}

void method_deploy(struct daemon *d, struct call *c)
{
	const struct peer *peer = call_peer(c);
	struct deployment *p;
	struct err e = {0};

	if (too_many(peer->uid)) {
		(void)err_set(&e, ERR_BUSY, EBUSY, "too many deployments are under way");
		answer_err(c, &e);
		return;
	}
	p = deployment_new(d, function_new(d, peer->uid, wire_get_string(c->params, "name")));
	if (!p) {
		(void)err_oom(&e);
		answer_err(c, &e);
		return;
	}
	p->call = c;
	c->user = p;
	if (read_call(p, peer, &e) < 0) {
		deployment_fail(p, &e);
		return;
	}
	call_drop_params(c);
	deployment_go_on(p);
}

/* ---- Known to fsbox-spawn ---- */

enum { FDS_OF_ONE = 8, BYTES_OF_ONE = SPAWN_MAX_FUNCTION_BYTES / SPAWN_MAX_FUNCTIONS };

struct holding {
	uint64_t functions, bytes, fds;
};

static void hold(struct holding *h, const struct function *f)
{
	h->functions++;
	h->bytes += f->bytes;
	h->fds += f->n_fds;
}

/* What fsbox-spawn keeps for an owner has a bound, so that no one of them takes all that there is: also of functions that
 * were replaced and still have cells, and of what is on its way. What this one replaces is not counted: it goes. */
static int check_room(const struct deployment *p, struct err *e)
{
	const struct function *f = p->f;
	const uint32_t most = function_rights(f)->max_functions;
	struct holding h = {0};
	uint32_t rows = 0;

	hold(&h, f);
	for (const struct function *o = p->d->functions; o; o = o->next)
		if (o->owner == f->owner && (o->forgotten || strcmp(o->name, f->name) != 0))
			hold(&h, o);
	for (const struct deployment *q = deployments; q; q = q->next)
		if (q != p && q->f && q->f->owner == f->owner && q->f->number != 0)
			hold(&h, q->f);
	if (h.functions > most || h.bytes > (uint64_t)most * BYTES_OF_ONE || h.fds > (uint64_t)most * FDS_OF_ONE)
		return err_set(e, ERR_CAPACITY, 0, "functions of this user");
	/* Those that could not come back have rows all the same, and undeploying them removes these. */
	if (!p->reload && p->d->store.db && store_count(&p->d->store, f->owner, f->name, &rows, e) < 0) {
		daemon_complain(e);
		*e = (struct err){0};
	}
	return rows >= most ? err_set(e, ERR_CAPACITY, 0, "functions of this user") : 0;
}

static struct deploy_note note_of(const struct function *f)
{
	struct deploy_note note = {.magic = DEPLOY_NOTE_MAGIC, .owner = f->owner, .kept = f->note_kept};

	(void)snprintf(note.name, sizeof note.name, "%s", f->name);
	(void)snprintf(note.digest, sizeof note.digest, "%s", f->digest);
	return note;
}

void deploy_note_kept(struct function *f)
{
	struct spawn_function_note m;
	struct deploy_note note;

	if (f->note_kept)
		return;
	f->note_kept = true;
	note = note_of(f);
	spawn_begin(&m, SPAWN_FUNCTION_NOTE, sizeof m);
	m.function = f->number;
	m.note_len = sizeof note;
	memcpy(m.note, &note, sizeof note);
	f->note_kept = link_send(f->d->link, &m, NULL, 0);
}

static int define(struct deployment *p, struct err *e)
{
	struct function *f = p->f;
	struct spawn_function *m = &p->datagram->function;
	struct deploy_note note;

	f->note_kept = p->d->store.db != NULL;
	note = note_of(f);
	f->bytes = m->head.size;
	f->n_fds = (uint32_t)p->datagram->n_fds;
	if (check_room(p, e) < 0)
		return -ENOSPC;
	f->number = m->function = ++p->d->last_function;
	f->share = function_share(p->d, f->spec.memory_bytes);
	m->note_len = sizeof note;
	memcpy(m->note, &note, sizeof note);
	if (!link_send(p->d->link, m, p->datagram->fds, p->datagram->n_fds))
		return err_oom(e);
	return 0; /* deploy_done() */
}

static bool same_numbers(const struct function *a, const struct function *b)
{
	return a->provisioned == b->provisioned && a->reserved == b->reserved && a->max_cells == b->max_cells &&
	       a->snapshot.wish == b->snapshot.wish;
}

/* The same function with other numbers: its cells are as good as before. */
static void renumber(struct function *there, uint32_t provisioned, uint32_t reserved, uint32_t max_cells)
{
	there->provisioned = provisioned;
	there->reserved = reserved;
	there->max_cells = max_cells;
	deploy_keep(there);
	deploy_tell(there);
	loop_disarm(&there->d->loop, &there->again);
	there->d->on_room(there->d, there);
}

/* Clones, or none any more; the cells that are there stay what they are. */
static void rewish(struct function *there, enum snapshot_wish wish)
{
	there->snapshot.wish = wish;
	if (wish != WISH_NO)
		snapshot_want(there);
	else if (there->snapshot.state != SNAPSHOT_MAKING)
		there->snapshot.state = SNAPSHOT_NONE;
}

/* There is one of this name, and it stays: then the deployment is over. */
static bool keep_there(struct deployment *p)
{
	struct function *there = function_find(p->d, p->f->owner, p->f->name);
	const bool same_spec = there && strcmp(there->digest, p->f->digest) == 0;

	if (!there || (p->replace && !same_spec))
		return false;
	if (p->replace && same_spec && !same_numbers(there, p->f)) {
		if (there->snapshot.wish != p->f->snapshot.wish)
			rewish(there, p->f->snapshot.wish);
		renumber(there, p->f->provisioned, p->f->reserved, p->f->max_cells);
	}
	if (p->call) {
		p->call->user = NULL;
		if (same_spec && same_numbers(there, p->f))
			answer_deployed(p->call, there->digest, false);
		else
			answer_exists(p->call, there->name, same_spec);
	}
	deployment_free(p);
	return true;
}

/* Its name was undeployed since it began: whoever did that was told that it is gone. */
static int check_wanted(const struct deployment *p, struct err *e)
{
	return p->undeployed ? err_set(e, ERR_CANCELLED, ECANCELED, "the function was undeployed meanwhile") : 0;
}

void deployment_seen(struct deployment *p, int r, struct err *e)
{
	if (r == 0)
		r = check_wanted(p, e);
	if (r == 0 && keep_there(p))
		return;
	if (r == 0)
		r = define(p, e);
	if (r < 0)
		deployment_fail(p, e);
}

/* What waited for the old one is for the new one. */
static void replace_old(struct function *old, struct function *f)
{
	while (old->queue) {
		struct invocation *v = old->queue;

		invocation_move(v, f);
	}
	deploy_forget(old, "replaced");
}

void deploy_done(struct daemon *d, const struct spawn_done *m)
{
	struct deployment *p = deployments;
	struct function *old, *f;
	struct err e = {0};

	while (p && (!p->f || p->f->number != m->number))
		p = p->next;
	if (!p)
		return;
	if (m->err.kind != ERR_NONE) {
		(void)err_adopt(&e, &m->err);
		deployment_fail(p, &e);
		return;
	}
	if (check_wanted(p, &e) < 0) {
		(void)!link_number(d->link, SPAWN_FORGET, m->number);
		deployment_fail(p, &e);
		return;
	}
	/* Of two that were under way at the same time the first one counts. */
	if (keep_there(p)) {
		(void)!link_number(d->link, SPAWN_FORGET, m->number);
		return;
	}
	f = p->f;
	p->f = NULL;
	old = function_find(d, f->owner, f->name);
	f->defined = true;
	function_add(f);
	/* Before the old one goes: whoever is killed between the two leaves one of them to the next fsboxd. */
	if (!p->reload || p->row == 0)
		deploy_keep(f);
	if (old)
		replace_old(old, f);
	(void)deploy_drop_broken(d, f->owner, f->name);
	deploy_tell(f);
	if (p->call) {
		p->call->user = NULL;
		answer_deployed(p->call, f->digest, true);
	}
	deployment_free(p);
	if (f->snapshot.wish != WISH_NO)
		snapshot_want(f);
	d->on_room(d, f); /* for the calls that have moved, and those cells that it is to have */
}

void deploy_client_gone(struct daemon *d, struct call *c)
{
	struct deployment *p = c->user;

	(void)d;
	if (p)
		p->call = NULL;
	c->user = NULL;
	answer_done(c);
}

void deploy_forget(struct function *f, const char *why)
{
	struct daemon *d = f->d;
	struct err e = {0};

	(void)err_set(&e, ERR_NOT_FOUND, 0, "the function was %s", why);
	daemon_event(d, EV_UNDEPLOYED, f, NULL, NULL, NULL, why);
	function_forget(f);
	invocation_refuse_all(f, "Undeployed", &e);
	snapshot_forget(f, &e);
	fork_refuse_all(f, &e);
	/* Leased ones as well: who holds a lease would else keep an old function running for as long as he calls it. */
	for (struct unit *u = d->units; u; u = u->next)
		if (u->f == f)
			unit_retire(u, why);
	function_release(f);
}

static bool undeploy_coming(uid_t owner, const char *name)
{
	bool any = false;

	for (struct deployment *p = deployments; p; p = p->next) {
		if (!p->f || p->f->owner != owner || strcmp(p->f->name, name) != 0)
			continue;
		any = any || !p->undeployed;
		p->undeployed = true;
	}
	return any;
}

void method_undeploy(struct daemon *d, struct call *c)
{
	const uid_t owner = call_peer(c)->uid;
	const char *name = wire_get_string(c->params, "name");
	struct function *f = function_find(d, owner, name);
	struct err e = {0};
	bool existed = false, ended = f != NULL;
	int r = deploy_remove(d, owner, name, &existed, &e);

	if (f)
		deploy_forget(f, "undeployed");
	ended = deploy_drop_broken(d, owner, name) || ended;
	ended = undeploy_coming(owner, name) || ended;
	if (r == 0) {
		answer_existed(c, ended || existed);
		return;
	}
	/* It ends, as was asked for, but nobody is told yes before it is sure that it does not come back. */
	if (ended) {
		deploy_remove_later(d, owner, name);
		(void)snprintf(
			e.hint, sizeof e.hint,
			"the function has ended, but may come back when the daemon is started again: undeploy it again");
	}
	deploy_answer_store(c, &e);
}

void method_scale(struct daemon *d, struct call *c)
{
	const char *name = wire_get_string(c->params, "name");
	struct function *f = function_find(d, call_peer(c)->uid, name);
	struct buf b = {0};
	struct wire_obj o;
	struct err e = {0};

	if (!f) {
		deploy_answer_unknown(d, c, name);
		return;
	}
	const uint32_t provisioned = (uint32_t)wire_get_int(c->params, "provisioned", f->provisioned);
	const uint32_t reserved = (uint32_t)wire_get_int(c->params, "reserved", f->reserved);
	const uint32_t max_cells = (uint32_t)wire_get_int(c->params, "maxCells", f->max_cells);
	if (reserved > f->reserved && function_may_reserve(f, reserved, NULL, &e) < 0) {
		if (e.kind == ERR_DENIED)
			answer_denied(c, e.msg, call_rights(d, c)->rule);
		else
			answer_err(c, &e);
		return;
	}
	if (provisioned != f->provisioned || reserved != f->reserved || max_cells != f->max_cells)
		renumber(f, provisioned, reserved, max_cells);
	wire_obj_begin(&o, &b);
	wire_obj_int(&o, "provisioned", f->provisioned);
	wire_obj_int(&o, "reserved", f->reserved);
	wire_obj_int(&o, "maxCells", f->max_cells);
	wire_obj_end(&o);
	call_reply(c, &b, NULL, 0);
	buf_done(&b);
}
