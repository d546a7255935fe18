/* What is in the store, and what goes. Everything leaves its name before it is taken apart, so nobody finds half of one. */
#include "base/clock.h"
#include "base/removal.h"
#include "snapshot/store.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>

/* ---- Rubbish ---- */

static int sweep_one(const char *name, void *arg)
{
	const struct snap_store *st = arg;

	if (!str_starts(name, ".new-") && !str_starts(name, ".old-") && !str_starts(name, ".gone-"))
		return 0;

	AUTO_FD int dir = store_lock(st->dir, name, LOCK_EX | LOCK_NB);
	if (dir >= 0)
		(void)!tree_remove(st->dir, name);
	return 0;
}

void gc_sweep(const struct snap_store *st)
{
	(void)!store_names(st->dir, sweep_one, (void *)(uintptr_t)st);
}

struct links {
	int store, folder;
	const char *name;
};

static int sweep_link(const char *name, void *arg)
{
	const struct links *l = arg;
	char id[SNAP_ID_LEN + 1];

	/* One in the making lives for two system calls. Taking it away costs its maker an entry that he can do without. */
	if (name[0] == '.' || !store_link_get(l->store, l->name, name, id) ||
	    faccessat(l->store, id, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		(void)unlinkat(l->folder, name, 0);
	return 0;
}

static void sweep_links(const struct snap_store *st, const char *folder)
{
	AUTO_FD int dir = openat(st->dir, folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (dir >= 0)
		(void)!store_names(dir, sweep_link, &(struct links){st->dir, dir, folder});
}

/* ---- Removing ---- */

/* Takes the name of one that nobody uses. -EBUSY and -ENOENT leave *e alone. */
static int take_name(const struct snap_store *st, const char *id, const char *gone, int *ret_locked, struct err *e)
{
	AUTO_FD int turn = store_turn(st, e);

	if (turn < 0)
		return turn;

	AUTO_FD int dir = store_lock(st->dir, id, LOCK_EX | LOCK_NB);
	if (dir == -ENOENT)
		return -ENOENT;
	if (dir == -EWOULDBLOCK)
		return -EBUSY;
	if (dir < 0)
		return err_sys(e, dir, "removing snapshot '%s/%s'", st->path, id);
	if (renameat(st->dir, id, st->dir, gone) < 0)
		return err_sys(e, errno, "removing snapshot '%s/%s'", st->path, id);
	*ret_locked = take_fd(&dir);
	return 0;
}

static int remove_one(const struct snap_store *st, const char *id, struct err *e)
{
	AUTO_FD int locked = FD_NONE;
	char gone[64];
	int r;

	store_fresh_name(".gone", gone);
	r = take_name(st, id, gone, &locked, e);
	if (r < 0)
		return r;
	r = tree_remove(st->dir, gone);
	return r < 0 ? err_sys(e, r, "removing snapshot %.12s: '%s/%s'", id, st->path, gone) : 0;
}

int snap_remove(const struct snap_store *st, const char *id, struct err *e)
{
	char whole[SNAP_ID_LEN + 1];
	int r = store_resolve(st, id, whole, e);

	if (r < 0)
		return r;
	r = remove_one(st, whole, e);
	if (r == -EBUSY && e->kind == ERR_NONE)
		return err_set(e, ERR_BUSY, EBUSY, "snapshot %.12s is in use", whole);
	if (r == -ENOENT && e->kind == ERR_NONE)
		return err_set(e, ERR_NOT_FOUND, ENOENT, "there is no snapshot '%s' in '%s'", id, st->path);
	return r;
}

/* ---- Looking ---- */

struct sizes {
	int dir;
	uint64_t bytes;
};

static int add_size(const char *name, void *arg)
{
	struct sizes *s = arg;
	struct stat st;

	if (fstatat(s->dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		s->bytes += (uint64_t)st.st_blocks * 512;
	return 0;
}

static uint64_t bytes_on_disk(int dir)
{
	struct sizes s = {.dir = dir};

	(void)!store_names(dir, add_size, &s);
	AUTO_FD int images = openat(dir, "img", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	s.dir = images;
	if (images >= 0)
		(void)!store_names(images, add_size, &s);
	return s.bytes;
}

/* The lock of one who uses it is in the way of ours, which lasts for a moment. */
static bool is_used(int store, const char *id)
{
	AUTO_FD int dir = store_lock(store, id, LOCK_EX | LOCK_NB);

	return dir == -EWOULDBLOCK;
}

static uint64_t used_ns(int dir)
{
	struct stat st;

	if (fstatat(dir, "stamp", &st, AT_SYMLINK_NOFOLLOW) < 0 && fstat(dir, &st) < 0)
		return 0;
	return (uint64_t)st.st_mtim.tv_sec * NS_PER_S + (uint64_t)st.st_mtim.tv_nsec;
}

/* 0 when it has gone meanwhile. */
static bool look(const struct snap_store *st, const char *id, struct snap_info *ret)
{
	AUTO_FD int dir = openat(st->dir, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct snap_info i = {.damaged = false};
	struct err why = {0};

	if (dir < 0)
		return false;
	memcpy(i.id, id, sizeof i.id);
	i.bytes = bytes_on_disk(dir);
	i.used_wall_ns = used_ns(dir);
	i.created_wall_ns = i.used_wall_ns;
	i.in_use = is_used(st->dir, id);
	i.damaged = check_manifest(dir, id, &i.m, &why) < 0;
	if (!i.damaged)
		i.created_wall_ns = i.m.taken.wall_ns;
	*ret = i;
	return true;
}

int snap_info_get(const struct snap_store *st, const char *id, struct snap_info *ret, struct err *e)
{
	char whole[SNAP_ID_LEN + 1];
	int r = store_resolve(st, id, whole, e);

	if (r < 0)
		return r;
	return look(st, whole, ret)
		       ? 0
		       : err_set(e, ERR_NOT_FOUND, ENOENT, "there is no snapshot '%s' in '%s'", id, st->path);
}

/* ---- All of them ---- */

struct entry {
	char id[SNAP_ID_LEN + 1];
	uint64_t used_ns, bytes;
};

struct list {
	int store;
	struct entry *entries;
	size_t n, cap;
};

static void list_done(struct list *l)
{
	free(l->entries);
}

static int add_entry(const char *name, void *arg)
{
	struct list *l = arg;
	AUTO_FD int dir = store_is_id(name) ? openat(l->store, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
					    : FD_NONE;

	if (dir < 0)
		return 0;
	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 64;
		struct entry *grown = reallocarray(l->entries, cap, sizeof *grown);

		if (!grown)
			return -ENOMEM;
		l->entries = grown;
		l->cap = cap;
	}

	struct entry *en = &l->entries[l->n++];
	*en = (struct entry){.used_ns = used_ns(dir), .bytes = bytes_on_disk(dir)};
	memcpy(en->id, name, sizeof en->id);
	return 0;
}

static int by_use(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	return x->used_ns != y->used_ns ? (x->used_ns > y->used_ns) - (x->used_ns < y->used_ns) : strcmp(x->id, y->id);
}

static int list_all(const struct snap_store *st, struct list *l, struct err *e)
{
	int r;

	l->store = st->dir;
	r = store_names(st->dir, add_entry, l);
	if (r < 0)
		return r == -ENOMEM ? err_oom(e) : err_sys(e, r, "reading the store '%s'", st->path);
	if (l->n > 0)
		qsort(l->entries, l->n, sizeof *l->entries, by_use);
	return 0;
}

int snap_each(const struct snap_store *st, int (*fn)(const struct snap_info *info, void *arg, struct err *e), void *arg,
	      struct err *e)
{
	AUTO(list_done) struct list l = {.n = 0};
	int r = list_all(st, &l, e);

	for (size_t i = 0; r == 0 && i < l.n; i++) {
		struct snap_info info;

		if (!look(st, l.entries[i].id, &info))
			continue;
		r = fn(&info, arg, e);
		snap_manifest_done(&info.m);
	}
	return r;
}

/* One that cannot be removed does not keep the others: the first error is told at the end. */
int snap_gc(const struct snap_store *st, uint64_t max_age_ns, uint64_t max_bytes,
	    void (*fn)(const char *id, uint64_t bytes, void *arg), void *arg, struct err *e)
{
	AUTO(list_done) struct list l = {.n = 0};
	uint64_t now = clock_wall_ns(), total = 0;
	int r, first = 0;

	gc_sweep(st);
	r = list_all(st, &l, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < l.n; i++)
		total += l.entries[i].bytes;
	for (size_t i = 0; i < l.n; i++) {
		const struct entry *en = &l.entries[i];
		uint64_t age = en->used_ns < now ? now - en->used_ns : 0;

		if (total <= max_bytes && (max_age_ns == 0 || age <= max_age_ns))
			continue;
		r = remove_one(st, en->id, e);
		if (r < 0) {
			if (e->kind != ERR_NONE && first == 0)
				first = r;
			continue;
		}
		total -= en->bytes;
		if (fn)
			fn(en->id, en->bytes, arg);
	}
	sweep_links(st, "index");
	sweep_links(st, "last");
	return first;
}
