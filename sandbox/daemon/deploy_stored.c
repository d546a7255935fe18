#include "daemon/deployment.h"
#include "daemon/snapshots.h"

#include "base/fd.h"

#include <stdio.h>

enum { AT_ONCE = 2, ROWS_PER_TURN = 64 };

/* Rows to be read again, by number, the one to be read next first: damaged ones, and those for which memory, descriptors or
 * the like were lacking. More than fsbox-spawn has room for could not come back together; those stay in the file. */
static struct {
	uint32_t numbers[SPAWN_MAX_FUNCTIONS];
	size_t n;
	size_t due; /* so many of them now */
	bool more;  /* there are others, which only another file can bring back */
	bool pause; /* reading has failed, and goes on after a while */
} rows;

/* While the store is being read nothing else may be done with it: what is found is gone on with afterwards. */
struct search {
	struct daemon *d;
	const char *digest; /* that of the note, or NULL */
	uint32_t only;      /* the row with this number, again; 0: whichever comes */
	struct function *found;
	uint32_t row;
	struct err why; /* it was found and cannot be used */
};

/* *e when its spec cannot be read, or, with NULL, when memory is out. */
static struct function *from_row(struct daemon *d, const struct stored *row, struct err *e)
{
	struct function *f = function_new(d, row->owner, row->name);

	if (!f) {
		(void)err_oom(e);
		return NULL;
	}
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
		(void)err_oom(e);
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

	if (r < 0 && note->kept == 0 && !d->store.db) { /* it never stood in the store */
		*e = (struct err){0};
		return 0;
	}
	if (r >= 0 && s.why.kind != ERR_NONE) {
		function_free(s.found);
		return err_adopt(e, &s.why);
	}
	*ret = s.found;
	return r < 0 ? r : 0;
}

void deploy_tell_lost(struct daemon *d, uid_t owner, const char *name, const struct err *why)
{
	struct function *f = function_find(d, owner, name) ? NULL : function_new(d, owner, name);

	if (f)
		daemon_event(d, EV_UNDEPLOYED, f, NULL, NULL, err_kind_name(why->kind), why->msg);
	function_free(f);
}

/* What stands in a file was compiled when it was deployed, and came along: the file may be anything by now. */
static int take_filter(struct function *f, const struct spawn_function *m, int filter, struct err *e)
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
	return fd_valid(filter) ? cell_filter_take(filter, &f->filter, e)
				: err_set(e, ERR_SYSTEM, EMFILE, "no descriptor was left for its filter");
}

struct function *deploy_take_known(struct daemon *d, const struct deploy_note *note, const struct spawn_function *m,
				   int filter, struct err *e)
{
	struct function *f = NULL;

	if (find_kept(d, note, &f, e) < 0 || !f)
		return NULL;
	if (take_filter(f, m, filter, e) < 0) {
		function_free(f);
		return NULL;
	}
	f->number = m->function;
	f->runtime = (enum spec_runtime)m->runtime;
	f->bytes = m->head.size;
	f->n_fds = (uint32_t)spawn_function_fds(m);
	f->defined = true;
	f->note_kept = note->kept != 0;
	function_add(f);
	return f;
}

/* ---- Functions that fsbox-spawn has ---- */

int deploy_known(struct daemon *d, const struct spawn_function *m, const int *fds, size_t n_fds, struct err *e)
{
	const bool has_filter = m->flags & SPAWN_HAS_AFTER && n_fds > 0 && n_fds == spawn_function_fds(m);
	const int filter = has_filter ? fds[n_fds - 1] : FD_NONE;
	struct deploy_note note = {0};
	struct err why = {0};

	if (m->note_len == sizeof note)
		memcpy(&note, m->note, sizeof note);
	note.name[sizeof note.name - 1] = note.digest[sizeof note.digest - 1] = '\0';
	if (m->function > d->last_function)
		d->last_function = m->function;
	if (!(m->flags & SPAWN_FORGOTTEN) && note.magic == DEPLOY_NOTE_MAGIC &&
	    deploy_take_known(d, &note, m, filter, &why))
		return 0;
	if (why.kind == ERR_NONE) {
		(void)!link_number(d->link, SPAWN_FORGET, m->function);
		return 0;
	}
	/* What passes is for the next fsboxd, to whom all is handed over once more, descriptors that found no room too. */
	return d->store.db && !deploy_is_passing(&why) ? deploy_keep_broken(d, &note, m, filter, &why, e)
						       : err_adopt(e, &why);
}

/* ---- Functions that only the store has ---- */

/* At the end of those that wait. */
static void read_later(struct daemon *d, uint32_t number)
{
	for (size_t i = 0; i < rows.n; i++)
		if (rows.numbers[i] == number)
			return;
	if (number != 0 && rows.n < ARRAY_LEN(rows.numbers))
		rows.numbers[rows.n++] = number;
	else
		rows.more = true;
	deploy_try_later(d);
}

static uint32_t first_row(void)
{
	const uint32_t number = rows.numbers[0];

	rows.due--;
	memmove(rows.numbers, rows.numbers + 1, --rows.n * sizeof rows.numbers[0]);
	return number;
}

static bool waits(uint32_t number)
{
	for (size_t i = 0; i < rows.n; i++)
		if (rows.numbers[i] == number)
			return true;
	return false;
}

bool deploy_rows_wait(void)
{
	return rows.n > 0 || rows.more;
}

void deploy_forget_rows(void)
{
	rows.n = rows.due = 0;
	rows.more = false;
}

void deploy_read_rows_again(void)
{
	rows.due = rows.n;
}

void deploy_lost(const struct deployment *p, const struct err *why)
{
	struct daemon *d = p->d;
	struct err e = {0};

	if (p->row != 0 && why->code == ESTALE) {
		/* Back as it was it will never come, so its row is no one's use. */
		if (store_drop(&d->store, p->row, &e) < 0)
			daemon_complain(&e);
	} else if (p->row != 0 && deploy_is_passing(why)) {
		read_later(d, p->row);
	}
	if (!p->again)
		deploy_tell_lost(d, p->f->owner, p->f->name, why);
}

static void row_damaged(void *arg, uint32_t number, uid_t owner, const char *name, const struct err *why)
{
	const struct search *s = arg;

	read_later(s->d, number);
	if (s->only != 0)
		return; /* it has been told */
	s->d->reloaded = number > s->d->reloaded ? number : s->d->reloaded;
	daemon_complain(why);
	if (name)
		deploy_tell_lost(s->d, owner, name, why);
}

static int next_stored(const struct stored *row, void *arg)
{
	struct search *s = arg;

	if (s->only == 0)
		s->d->reloaded = row->number;
	if (function_find(s->d, row->owner, row->name) || deploy_is_removed(row->owner, row->name))
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

	if (!p) {
		read_later(d, s->row);
		return;
	}
	p->reload = true;
	p->row = s->row;
	p->again = s->only != 0;
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

/* The next row, or the next of those that are read again. False when there is to be a pause. */
static bool read_one(struct daemon *d)
{
	struct search s = {.d = d, .only = d->reloading ? 0 : first_row()};
	struct err e = {0};
	int r;

	d->store.damaged = row_damaged;
	d->store.damaged_arg = &s;
	r = s.only ? store_at(&d->store, s.only, next_stored, &s, &e)
		   : store_from(&d->store, d->reloaded, next_stored, &s, &e);
	d->store.damaged = NULL;
	if (s.row != 0)
		reload(d, &s);
	if (r < 0 && s.only != 0)
		read_later(d, s.only);
	else if (s.only == 0) /* what stands behind a fault is not known, and not forgotten */
		d->reloading = r > 0 || (r < 0 && d->store.db);
	if (r < 0 && d->store.db)
		deploy_reading_failed(d, &e);
	return r >= 0;
}

bool deploy_is_coming(const struct daemon *d)
{
	return (d->reloading && !rows.pause) || under_way() > 0;
}

/* Some at a time: there may be thousands, of which each may fail at once. */
static void read_on(void *arg)
{
	struct daemon *d = arg;
	bool go_on = true;

	for (int i = 0; go_on && i < ROWS_PER_TURN && under_way() < AT_ONCE && (d->reloading || rows.due > 0); i++)
		go_on = read_one(d);
	rows.pause = !go_on;
	if (go_on && (d->reloading || rows.due > 0) && under_way() < AT_ONCE)
		deploy_next_stored(d);
	else if (go_on && !d->reloading && rows.due == 0 && under_way() == 0)
		deploy_all_read(d);
	if (!deploy_is_coming(d))
		d->on_event(d);
}

void deploy_next_stored(struct daemon *d)
{
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

static bool is_under_way(uid_t owner, const char *name)
{
	for (const struct deployment *p = deployments; p; p = p->next)
		if (p->reload && !p->undeployed && p->f && p->f->owner == owner && strcmp(p->f->name, name) == 0)
			return true;
	return false;
}

static int take_number(const struct stored *row, void *arg)
{
	*(uint32_t *)arg = row->number;
	return 1;
}

/* Is it to come yet? Negative: what stands there cannot be read. */
static int comes_back(struct daemon *d, uid_t owner, const char *name, struct err *e)
{
	uint32_t number = 0;
	int r;

	if (deploy_is_removed(owner, name))
		return 0;
	if (is_under_way(owner, name))
		return 1;
	r = deploy_check_broken(owner, name, e);
	if (r == 0)
		r = deploy_check_store(e);
	if (r == 0 && d->store.db)
		r = store_find(&d->store, owner, name, take_number, &number, e);
	return r < 0 ? r : number != 0 && ((d->reloading && number > d->reloaded) || waits(number));
}

void deploy_answer_store(struct call *c, struct err *e)
{
	e->kind = ERR_SYSTEM; /* whatever it is to the file: to the client it is something of the daemon's */
	(void)snprintf(e->stage, sizeof e->stage, "store");
	answer_err(c, e);
}

void deploy_answer_unknown(struct daemon *d, struct call *c, const char *name)
{
	struct err e = {0};
	const int r = comes_back(d, call_peer(c)->uid, name, &e);

	if (r == 0) {
		answer_not_found(c, "function", name);
	} else if (r < 0) {
		deploy_answer_store(c, &e);
	} else {
		(void)err_set(&e, ERR_BUSY, EBUSY, "the function is being brought back");
		answer_err(c, &e);
	}
}
