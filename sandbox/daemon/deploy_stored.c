#include "daemon/deployment.h"
#include "daemon/snapshots.h"

#include <stdio.h>

enum { AT_ONCE = 2 };

/* While the store is being read nothing else may be done with it: what is found is gone on with afterwards. */
struct search {
	struct daemon *d;
	const char *digest; /* that of the note, or NULL */
	struct function *found;
};

static struct function *from_row(struct daemon *d, const struct stored *row)
{
	struct function *f = function_new(d, row->owner, row->name);
	struct err e = {0};

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
	if ((row->n_groups > 0 && !f->groups) || !f->spec_text || deploy_read_spec(f, &e) < 0) {
		function_free(f);
		return NULL;
	}
	f->share = function_share(d, f->spec.memory_bytes);
	return f;
}

static int match(const struct stored *row, void *arg)
{
	struct search *s = arg;

	if (strcmp(row->digest, s->digest) == 0)
		s->found = from_row(s->d, row);
	return 1;
}

void deploy_known(struct daemon *d, const struct spawn_function *m)
{
	struct deploy_note note = {0};
	struct search s = {.d = d, .digest = note.digest};
	struct filter base = {0};
	struct err e = {0};

	if (m->note_len == sizeof note)
		memcpy(&note, m->note, sizeof note);
	note.name[sizeof note.name - 1] = note.digest[sizeof note.digest - 1] = '\0';
	if (m->function > d->last_function)
		d->last_function = m->function;
	if (!(m->flags & SPAWN_FORGOTTEN) && note.magic == DEPLOY_NOTE_MAGIC)
		(void)!store_find(&d->store, note.owner, note.name, match, &s, &e);
	/* A policy from a file cannot be opened again by us. */
	if (s.found && policy_load(s.found->spec.policy, &base, &s.found->filter, &e) < 0) {
		function_free(s.found);
		s.found = NULL;
	}
	policy_unload(&base, &(struct filter){0});
	if (!s.found) {
		(void)!link_number(d->link, SPAWN_FORGET, m->function);
		return;
	}
	s.found->number = m->function;
	s.found->runtime = (enum spec_runtime)m->runtime;
	s.found->defined = true;
	function_add(s.found);
}

static int next_stored(const struct stored *row, void *arg)
{
	struct search *s = arg;

	s->d->reloaded = row->number;
	if (!function_find(s->d, row->owner, row->name))
		s->found = from_row(s->d, row);
	return s->found != NULL;
}

static void reload(struct daemon *d, struct function *f)
{
	struct deployment *p = deployment_new(d, f);
	struct err e = {0};

	if (!p)
		return;
	p->reload = true;
	p->job.spec_text = f->spec_text;
	p->job.expected_digest = f->digest;
	if (deploy_check_spec(d, f, function_rights(f), &e) < 0 || deploy_list_files(p, NULL, &e) < 0)
		deployment_fail(p, &e);
	else
		deployment_go_on(p);
}

/* Some at a time: there may be hundreds. */
void deploy_next_stored(struct daemon *d)
{
	struct search s = {.d = d};
	struct err e = {0};

	if (store_from(&d->store, d->reloaded, next_stored, &s, &e) < 0)
		daemon_complain(&e);
	if (s.found)
		reload(d, s.found);
}

void deploy_stored(struct daemon *d)
{
	for (int i = 0; i < AT_ONCE; i++)
		deploy_next_stored(d);
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
	bool reloading = false;
	struct err ignored = {0};

	for (const struct deployment *p = deployments; p; p = p->next) {
		if (!p->reload || !p->f)
			continue;
		if (p->f->owner == owner && strcmp(p->f->name, name) == 0)
			return true;
		reloading = true;
	}
	return reloading && store_find(&d->store, owner, name, is_later, d, &ignored) > 0;
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
