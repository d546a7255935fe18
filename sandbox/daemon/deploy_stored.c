#include "daemon/deployment.h"
#include "daemon/snapshots.h"

#include "base/fd.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

enum { AT_ONCE = 2, ROWS_PER_TURN = 64, PAUSE_MIN_S = 1, PAUSE_MAX_S = 60 };

/* A function that fsbox-spawn has, with descriptors that nobody may be able to open again, and whose row is damaged. It
 * stays there, and is tried again: by this fsboxd and by the next one. */
struct broken {
	struct broken *next;
	struct deploy_note note;
	struct spawn_function m; /* without its texts */
	int filter;              /* the one for after init, or FD_NONE */
};
static struct broken *broken;

/* The store's file, when there is something to be hoped for from another try. */
static struct {
	char path[560];
	bool failed;    /* it could not be opened, or not be read to its end */
	ino_t inode;    /* that was opened */
	struct err why; /* of failed */
	struct timer again;
	uint64_t pause_s;
} file;

static void try_again_later(struct daemon *d);

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

	if (r < 0 && note->kept == 0) { /* it never stood in the store */
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

/* Into the list, as it was; NULL, and nothing in *e, when there is no such one. */
static struct function *take_known(struct daemon *d, const struct deploy_note *note, const struct spawn_function *m,
				   int filter, struct err *e)
{
	struct function *f = NULL;
	struct err why = {0};

	if (find_kept(d, note, &f, e) < 0 || !f)
		return NULL;
	if (take_filter(f, m, filter, &why) < 0) {
		daemon_complain(&why);
		function_free(f);
		return NULL;
	}
	f->number = m->function;
	f->runtime = (enum spec_runtime)m->runtime;
	f->bytes = m->head.size;
	f->n_fds = (uint32_t)spawn_function_fds(m);
	f->defined = true;
	function_add(f);
	return f;
}

/* ---- What cannot be read ---- */

/* As one that could not be brought back. */
static void tell_lost(struct daemon *d, uid_t owner, const char *name, const struct err *why)
{
	struct function *f = function_find(d, owner, name) ? NULL : function_new(d, owner, name);

	if (f)
		daemon_event(d, EV_UNDEPLOYED, f, NULL, NULL, err_kind_name(why->kind), why->msg);
	function_free(f);
}

static void free_broken(struct broken **at)
{
	struct broken *b = *at;

	*at = b->next;
	fd_closep(&b->filter);
	free(b);
}

static void keep_broken(struct daemon *d, const struct deploy_note *note, const struct spawn_function *m, int filter,
			const struct err *why)
{
	struct broken *b = malloc(sizeof *b);

	daemon_complain(why);
	tell_lost(d, note->owner, note->name, why);
	if (!b)
		return; /* for the next fsboxd, then */
	*b = (struct broken){.next = broken, .note = *note, .filter = FD_NONE};
	memcpy(&b->m, m, sizeof b->m);
	if (fd_valid(filter))
		b->filter = fcntl(filter, F_DUPFD_CLOEXEC, 3);
	broken = b;
	try_again_later(d);
}

void deploy_drop_broken(struct daemon *d, uid_t owner, const char *name)
{
	for (struct broken **at = &broken; *at;) {
		if ((*at)->note.owner != owner || strcmp((*at)->note.name, name) != 0) {
			at = &(*at)->next;
			continue;
		}
		(void)!link_number(d->link, SPAWN_FORGET, (*at)->m.function);
		free_broken(at);
	}
}

/* Its row can be read again, or is gone: whoever took it away wanted the function to be gone. */
static void mend_broken(struct daemon *d)
{
	for (struct broken **at = &broken; *at;) {
		struct broken *b = *at;
		struct err e = {0};
		struct function *f = take_known(d, &b->note, &b->m, b->filter, &e);

		if (e.kind != ERR_NONE) {
			at = &b->next;
			continue;
		}
		if (f) {
			daemon_event(d, EV_DEPLOYED, f, NULL, NULL, NULL, f->digest);
			if (f->snapshot.wish != WISH_NO)
				snapshot_want(f);
			d->on_room(d, f);
		} else {
			(void)!link_number(d->link, SPAWN_FORGET, b->m.function);
		}
		free_broken(at);
	}
}

static void row_damaged(void *arg, uint32_t number, uid_t owner, const char *name, const struct err *why)
{
	(void)number;
	daemon_complain(why);
	if (name)
		tell_lost(arg, owner, name, why);
}

static void note_inode(void)
{
	struct stat st;

	file.inode = stat(file.path, &st) == 0 ? st.st_ino : 0;
}

/* Somebody has put another file there; as long as ours is open nobody else changes that one. */
static bool is_replaced(void)
{
	struct stat st;

	return stat(file.path, &st) == 0 && st.st_ino != file.inode;
}

static void fail_store(struct daemon *d, const struct err *why)
{
	daemon_complain(why);
	file.failed = true;
	file.why = *why;
	try_again_later(d);
}

/* What is deployed now counts, whatever the file has. */
static void reopen(struct daemon *d)
{
	struct err e = {0};

	store_close(&d->store);
	if (store_open(&d->store, file.path, &e) < 0) {
		fail_store(d, &e);
		return;
	}
	file.failed = false;
	note_inode();
	for (const struct function *f = d->functions; f; f = f->next)
		if (!f->forgotten)
			deploy_keep(f);
	d->reloaded = 0; /* it may be another file; what is there already is passed over */
	d->reloading = true;
	deploy_next_stored(d);
}

static void try_again(void *arg)
{
	struct daemon *d = arg;

	if (file.failed || is_replaced())
		reopen(d);
	mend_broken(d);
	if (broken || file.failed)
		try_again_later(d);
	else
		file.pause_s = 0;
}

static void try_again_later(struct daemon *d)
{
	if (timer_armed(&file.again))
		return;
	file.pause_s = file.pause_s == 0 ? PAUSE_MIN_S : least(file.pause_s * 2, PAUSE_MAX_S);
	file.again.due = try_again;
	file.again.arg = d;
	(void)!loop_arm(&d->loop, &file.again, clock_mono_ns() + file.pause_s * NS_PER_S);
}

void deploy_open_store(struct daemon *d, const char *path)
{
	struct err e = {0};

	(void)snprintf(file.path, sizeof file.path, "%s", path);
	if (store_open(&d->store, path, &e) == 0)
		note_inode();
	else if (e.kind == ERR_SYSTEM)
		fail_store(d, &e);
	else /* another program's, a newer one's, one that cannot be written */
		daemon_complain(&e);
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
	if (!(m->flags & SPAWN_FORGOTTEN) && note.magic == DEPLOY_NOTE_MAGIC && take_known(d, &note, m, filter, &why))
		return 0;
	if (why.kind == ERR_NONE)
		(void)!link_number(d->link, SPAWN_FORGET, m->function);
	else if (why.code == EBADMSG && d->store.db)
		keep_broken(d, &note, m, filter, &why);
	else
		return err_adopt(e, &why);
	return 0;
}

/* ---- Functions that only the store has ---- */

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
		int r;

		d->store.damaged = row_damaged;
		d->store.damaged_arg = d;
		r = store_from(&d->store, d->reloaded, next_stored, &s, &e);
		d->store.damaged = NULL;
		d->reloading = r > 0;
		if (r < 0 && d->store.db)
			fail_store(d, &e); /* what stands behind it is not known, and not forgotten */
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

	if (is_under_way(owner, name))
		return 1;
	if (file.failed)
		return err_adopt(e, &file.why);
	if (!d->store.db)
		return 0;
	r = store_find(&d->store, owner, name, take_number, &number, e);
	return r < 0 ? r : d->reloading && number > d->reloaded;
}

void deploy_answer_unknown(struct daemon *d, struct call *c, const char *name)
{
	struct err e = {0};
	const int r = comes_back(d, call_peer(c)->uid, name, &e);

	if (r == 0) {
		answer_not_found(c, "function", name);
		return;
	}
	if (r < 0)
		(void)snprintf(e.stage, sizeof e.stage, "store");
	else
		(void)err_set(&e, ERR_BUSY, EBUSY, "the function is being brought back");
	answer_err(c, &e);
}
