#include "daemon/deployment.h"
#include "daemon/snapshots.h"

#include <stdio.h>

enum { AT_ONCE = 2, ROWS_PER_TURN = 64 };

/* While the store is being read nothing else may be done with it: what is found is gone on with afterwards. */
struct search {
	struct daemon *d;
	const char *digest; /* that of the note, or NULL */
	struct function *found;
	uint32_t row;
	struct err why; /* it was found and cannot be used */
};

/* NULL when memory is out. *e when its spec cannot be read. */
static struct function *from_row(struct daemon *d, const struct stored *row, struct err *e)
{
	struct function *f = function_new(d, row->owner, row->name);

	if (!f)
		return NULL;
	f->gid = row->gid;
	f->n_groups = row->n_groups;
	f->groups = row->n_groups > 0 ? malloc(row->n_groups * sizeof f->groups[0]) : NULL;
	if (f->groups)
		memcpy(f->groups, row->groups, row->n_groups * sizeof f->groups[0]);
	f->spec_text = strdup(row->spec);
	(void)snprintf(f->digest, sizeof f->digest, "%s", row->digest);
	f->provisioned = (uint32_t)row->provisioned;
	f->reserved = (uint32_t)row->reserved;
	f->max_cells = (uint32_t)row->max_cells;
	f->snapshot.wish = d->can_snapshot ? (enum snapshot_wish)row->snapshot : WISH_NO;
	f->created_ms = row->created_ms;
	if ((row->n_groups > 0 && !f->groups) || !f->spec_text) {
		function_free(f);
		return NULL;
	}
	if (deploy_read_spec(f, e) == 0)
		f->share = function_share(d, f->spec.memory_bytes);
	return f;
}

static int match(const struct stored *row, void *arg)
{
	struct search *s = arg;

	if (strcmp(row->digest, s->digest) == 0)
		s->found = from_row(s->d, row, &s->why);
	return 1;
}

/* 0 without one in the store; *ret is what there is. */
static int find_kept(struct daemon *d, const struct deploy_note *note, struct function **ret, struct err *e)
{
	struct search s = {.d = d, .digest = note->digest};
	int r = store_find(&d->store, note->owner, note->name, match, &s, e);

	/* It never stood in the store, or its row is nonsense by now. */
	if (r < 0 && (note->kept == 0 || e->code == EBADMSG)) {
		*e = (struct err){0};
		return 0;
	}
	if (s.found && s.why.kind != ERR_NONE) {
		function_free(s.found);
		s.found = NULL;
	}
	*ret = s.found;
	return r < 0 ? r : 0;
}

/* What stands in a file was compiled when it was deployed, and came along: the file may be anything by now. */
static int take_filter(struct function *f, const struct spawn_function *m, const int *fds, size_t n_fds, struct err *e)
{
	struct filter base = {0};
	int r;

	if (filter_builtin(f->spec.policy, &base)) {
		r = policy_load(f->spec.policy, &base, &f->filter, e);
		policy_unload(&base, &(struct filter){0});
		return r;
	}
	if (!(m->flags & SPAWN_HAS_AFTER))
		return 0;
	return n_fds == spawn_function_fds(m) ? cell_filter_take(fds[n_fds - 1], &f->filter, e)
					      : err_set(e, ERR_SYSTEM, EMFILE, "no descriptor was left for its filter");
}

int deploy_known(struct daemon *d, const struct spawn_function *m, const int *fds, size_t n_fds, struct err *e)
{
	struct deploy_note note = {0};
	struct function *f = NULL;
	struct err why = {0};

	if (m->note_len == sizeof note)
		memcpy(&note, m->note, sizeof note);
	note.name[sizeof note.name - 1] = note.digest[sizeof note.digest - 1] = '\0';
	if (m->function > d->last_function)
		d->last_function = m->function;
	if (!(m->flags & SPAWN_FORGOTTEN) && note.magic == DEPLOY_NOTE_MAGIC && find_kept(d, &note, &f, e) < 0)
		return -EIO;
	if (f && take_filter(f, m, fds, n_fds, &why) < 0) {
		daemon_complain(&why);
		function_free(f);
		f = NULL;
	}
	if (!f) {
		(void)!link_number(d->link, SPAWN_FORGET, m->function);
		return 0;
	}
	f->number = m->function;
	f->runtime = (enum spec_runtime)m->runtime;
	f->bytes = m->head.size;
	f->n_fds = (uint32_t)spawn_function_fds(m);
	f->defined = true;
	function_add(f);
	return 0;
}

static int next_stored(const struct stored *row, void *arg)
{
	struct search *s = arg;

	s->d->reloaded = row->number;
	if (function_find(s->d, row->owner, row->name))
		return 0;
	s->row = row->number;
	s->found = from_row(s->d, row, &s->why);
	return 1;
}

static void reload(struct daemon *d, const struct search *s)
{
	struct function *f = s->found;
	struct deployment *p = f ? deployment_new(d, f) : NULL;
	struct err e = s->why;

	if (!p)
		return;
	p->reload = true;
	p->row = s->row;
	p->job.spec_text = f->spec_text;
	p->job.expected_digest = f->digest;
	if (e.kind != ERR_NONE || deploy_check_spec(d, f, function_rights(f), &e) < 0 ||
	    deploy_list_files(p, NULL, &e) < 0)
		deployment_fail(p, &e);
	else
		deployment_go_on(p);
}

static size_t under_way(void)
{
	size_t n = 0;

	for (const struct deployment *p = deployments; p; p = p->next)
		n += p->reload;
	return n;
}

/* Some at a time: there may be thousands, of which each may fail at once. */
static void read_on(void *arg)
{
	struct daemon *d = arg;

	for (int i = 0; i < ROWS_PER_TURN && d->reloading && under_way() < AT_ONCE; i++) {
		struct search s = {.d = d};
		struct err e = {0};
		const int r = store_from(&d->store, d->reloaded, next_stored, &s, &e);

		if (r < 0)
			daemon_complain(&e);
		d->reloading = r > 0;
		reload(d, &s);
	}
	if (under_way() < AT_ONCE)
		deploy_next_stored(d);
}

void deploy_next_stored(struct daemon *d)
{
	if (d->reloading)
		loop_later(&d->loop, &d->read_on, read_on, d);
}

void deploy_stored(struct daemon *d)
{
	d->reloading = true;
	read_on(d);
	for (struct function *f = d->functions; f; f = f->next) {
		if (f->snapshot.wish != WISH_NO)
			snapshot_want(f);
		invocation_provision(f);
	}
}

static int is_later(const struct stored *row, void *arg)
{
	const struct daemon *d = arg;

	return row->number > d->reloaded;
}

static bool comes_back(struct daemon *d, uid_t owner, const char *name)
{
	struct err ignored = {0};

	for (const struct deployment *p = deployments; p; p = p->next)
		if (p->reload && !p->undeployed && p->f && p->f->owner == owner && strcmp(p->f->name, name) == 0)
			return true;
	return d->reloading && store_find(&d->store, owner, name, is_later, d, &ignored) > 0;
}

void deploy_answer_unknown(struct daemon *d, struct call *c, const char *name)
{
	struct err e = {0};

	if (!comes_back(d, call_peer(c)->uid, name)) {
		answer_not_found(c, "function", name);
		return;
	}
	(void)err_set(&e, ERR_BUSY, EBUSY, "the function is being brought back");
	answer_err(c, &e);
}
