#include "daemon/deployment.h"

#include "daemon/store_place.h"

#include <stdio.h>

enum { PAUSE_MIN_S = 1, PAUSE_MAX_S = 60 };
#define NEVER_NS UINT64_MAX

/* The store's file, when there is something to be hoped for from another try. */
static struct {
	char path[560];
	bool failed;    /* it could not be opened, or not be read to its end */
	struct err why; /* of failed */
	struct store_place place;
	struct timer again; /* always armed, if need be for never: arming it then needs no memory */
	bool due;
	uint64_t pause_s;
} file;

/* A function that was ended while its row could not be taken away. It must not come back from there. */
struct removal {
	struct removal *next;
	uid_t owner;
	char name[NAME_BYTES];
};
static struct removal *removals;
static size_t n_removals;

/* ---- When ---- */

void deploy_try_later(struct daemon *d)
{
	if (file.due)
		return;
	file.due = true;
	file.pause_s = file.pause_s == 0 ? PAUSE_MIN_S : least(file.pause_s * 2, PAUSE_MAX_S);
	(void)!loop_arm(&d->loop, &file.again, clock_mono_ns() + file.pause_s * NS_PER_S);
}

static void fail_store(struct daemon *d, const struct err *why)
{
	daemon_complain(why);
	file.failed = true;
	file.why = *why;
	(void)store_place_settled(&file.place, file.path, clock_mono_ns());
	deploy_try_later(d);
}

bool deploy_is_passing(const struct err *why)
{
	switch (why->code) {
	case ENOMEM:
	case EMFILE:
	case ENFILE:
	case EAGAIN:
	case EBUSY:
		return true;
	default:
		return false;
	}
}

int deploy_check_store(struct err *e)
{
	return file.failed ? err_adopt(e, &file.why) : 0;
}

void deploy_reading_failed(struct daemon *d, const struct err *why)
{
	if (why->code == ENOMEM) { /* of ours: nothing is wrong with the file */
		daemon_complain(why);
		deploy_try_later(d);
	} else {
		fail_store(d, why);
	}
}

/* ---- Changes ---- */

static struct removal **find_removal(uid_t owner, const char *name)
{
	struct removal **at = &removals;

	while (*at && ((*at)->owner != owner || strcmp((*at)->name, name) != 0))
		at = &(*at)->next;
	return at;
}

bool deploy_is_removed(uid_t owner, const char *name)
{
	return *find_removal(owner, name) != NULL;
}

static void drop_removal(uid_t owner, const char *name)
{
	struct removal **at = find_removal(owner, name), *x = *at;

	if (!x)
		return;
	*at = x->next;
	n_removals--;
	free(x);
}

void deploy_remove_later(struct daemon *d, uid_t owner, const char *name)
{
	/* No more than functions can have rows. Without it its client has to, who was told. */
	const bool room = n_removals < SPAWN_MAX_FUNCTIONS && !deploy_is_removed(owner, name);
	struct removal *x = room ? malloc(sizeof *x) : NULL;

	if (x) {
		n_removals++;
		*x = (struct removal){.next = removals, .owner = owner};
		(void)snprintf(x->name, sizeof x->name, "%s", name);
		removals = x;
	}
	deploy_try_later(d);
}

/* One look at each change: what is written to a file that somebody has put away is not kept. */
static int check_place(struct daemon *d, struct err *e)
{
	if (!d->store.db || !store_is_moved(&d->store))
		return 0;
	return err_set(e, ERR_SYSTEM, ESTALE, "kept functions: the file is not in its place any more");
}

static int put(struct function *f, struct err *e)
{
	const struct stored row = {
		.owner = f->owner,
		.gid = f->gid,
		.groups = f->groups,
		.n_groups = f->n_groups,
		.name = f->name,
		.digest = f->digest,
		.spec = f->spec_text,
		.path = f->spec.target && f->spec.target[0] == '/' ? f->spec.target : "",
		.provisioned = f->provisioned,
		.reserved = f->reserved,
		.max_cells = f->max_cells,
		.snapshot = f->snapshot.wish,
		.created_ms = f->created_ms,
	};
	uint32_t number;
	int r = check_place(f->d, e);

	if (r == 0)
		r = store_put(&f->d->store, &row, &number, e);

	f->unkept = r < 0;
	if (r == 0)
		deploy_note_kept(f);
	return r;
}

void deploy_tell(const struct function *f)
{
	daemon_event(f->d, EV_DEPLOYED, f, NULL, NULL, f->unkept ? "unkept" : NULL, f->digest);
}

void deploy_keep(struct function *f)
{
	struct err e = {0};

	drop_removal(f->owner, f->name);
	if (put(f, &e) == 0)
		return;
	daemon_complain(&e);
	if (f->d->store.db || file.failed)
		deploy_try_later(f->d);
}

int deploy_remove(struct daemon *d, uid_t owner, const char *name, bool *ret_existed, struct err *e)
{
	int r;

	if (!d->store.db && !file.failed)
		return 0; /* then nothing is kept */
	r = check_place(d, e);
	if (r == 0)
		r = d->store.db ? store_remove(&d->store, owner, name, ret_existed, e) : err_adopt(e, &file.why);
	if (r == 0)
		drop_removal(owner, name);
	else
		daemon_complain(e);
	return r;
}

static bool is_unkept(const struct daemon *d)
{
	for (const struct function *f = d->functions; f; f = f->next)
		if (f->unkept && !f->forgotten)
			return true;
	return false;
}

/* What could not be written when it was to be. One that fails fails for the rest, too. */
static int write_again(struct daemon *d, struct err *e)
{
	bool existed;
	int r = 0;

	while (r == 0 && removals) {
		r = store_remove(&d->store, removals->owner, removals->name, &existed, e);
		if (r == 0)
			drop_removal(removals->owner, removals->name);
	}
	for (struct function *f = d->functions; r == 0 && f; f = f->next)
		if (f->unkept && !f->forgotten) {
			r = put(f, e);
			if (r == 0)
				daemon_event(d, EV_DEPLOYED, f, NULL, NULL, "kept", f->digest);
		}
	return r;
}

static void write_what_waits(struct daemon *d)
{
	struct err e = {0};

	if (!d->store.db || write_again(d, &e) == 0)
		return;
	/* A full disk gets room, a lack passes; a file in which nothing can be changed any more is looked at anew. */
	if (e.kind == ERR_SYSTEM && e.code != ENOMEM)
		fail_store(d, &e);
	else
		daemon_complain(&e);
}

/* ---- The file ---- */

/* What is deployed now counts, whatever another file has; numbers of rows are those of one file. */
static void begin_anew(struct daemon *d)
{
	for (struct function *f = d->functions; f; f = f->next)
		f->unkept = true;
	for (struct deployment *p = deployments; p; p = p->next)
		p->row = 0;
	deploy_forget_rows();
	d->reloaded = 0; /* what is there already is passed over */
}

static void reopen(struct daemon *d)
{
	const bool other = !d->store.db || store_is_moved(&d->store);
	struct err e = {0};

	store_close(&d->store);
	if (store_open_now(&d->store, file.path, &e) < 0) {
		fail_store(d, &e);
		return;
	}
	file.failed = false;
	if (other)
		begin_anew(d);
	d->reloading = true;
}

static bool anything_waits(const struct daemon *d)
{
	return file.failed || store_is_moved(&d->store) || (d->store.db && (removals || is_unkept(d))) ||
	       deploy_rows_wait() || deploy_any_broken();
}

void deploy_all_read(struct daemon *d)
{
	if (!file.due && !anything_waits(d))
		file.pause_s = 0;
}

static void try_again(void *arg)
{
	struct daemon *d = arg;

	file.due = false;
	(void)!loop_arm(&d->loop, &file.again, NEVER_NS);
	if (file.failed || store_is_moved(&d->store)) {
		if (store_place_settled(&file.place, file.path, clock_mono_ns()))
			reopen(d);
		else
			file.pause_s = 0; /* somebody has begun to repair it */
	}
	write_what_waits(d);
	deploy_mend_broken(d);
	deploy_read_rows_again();
	if (anything_waits(d))
		deploy_try_later(d);
	deploy_next_stored(d);
}

int deploy_open_store(struct daemon *d, const char *path, struct err *e)
{
	struct err why = {0};

	(void)snprintf(file.path, sizeof file.path, "%s", path);
	file.again.due = try_again;
	file.again.arg = d;
	if (loop_arm(&d->loop, &file.again, NEVER_NS) < 0)
		return err_oom(e);
	if (store_open(&d->store, path, &why) == 0)
		return 0;
	if (why.kind == ERR_EXISTS || why.kind == ERR_UNSUPPORTED || why.kind == ERR_DENIED)
		daemon_complain(&why); /* another program's, a newer one's, one that cannot be written */
	else
		fail_store(d, &why);
	return 0;
}
