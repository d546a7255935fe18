/* Drafts: written aside, synced, renamed. Until the rename nobody finds anything; after it everything is on the disk. */
#include "base/removal.h"
#include "snapshot/store.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>

/* ---- Beginning ---- */

/* A sweep by somebody else may take a directory between its birth and its lock: then it is made again. */
static int make_locked(const struct snap_store *st, char name[static 64], struct err *e)
{
	for (int tries = 0; tries < 8; tries++) {
		int dir;

		store_fresh_name(".new", name);
		if (mkdirat(st->dir, name, 0700) < 0) {
			if (errno == EEXIST)
				continue;
			return err_sys(e, errno, "making '%s/%s'", st->path, name);
		}
		dir = store_lock(st->dir, name, LOCK_SH);
		if (dir >= 0)
			return dir;
		(void)unlinkat(st->dir, name, AT_REMOVEDIR);
		if (dir != -ENOENT)
			return err_sys(e, dir, "opening '%s/%s'", st->path, name);
	}
	return err_set(e, ERR_BUSY, EBUSY, "making a draft in '%s': it is taken away again and again", st->path);
}

int snap_draft_begin(const struct snap_store *st, struct snap_draft *ret, struct err *e)
{
	struct snap_draft d = {.store = st, .dir = FD_NONE, .images = FD_NONE};
	int r;

	gc_sweep(st);
	d.dir = make_locked(st, d.name, e);
	if (d.dir < 0)
		return d.dir;
	(void)snprintf(d.images_path, sizeof d.images_path, "%s/%s/img", st->path, d.name);
	if (mkdirat(d.dir, "img", 0755) == 0)
		d.images = openat(d.dir, "img", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (d.images < 0 || fchmod(d.images, 0755) < 0) { /* whatever the umask: cells look into it */
		r = err_sys(e, errno, "making '%s'", d.images_path);
		snap_draft_abort(&d);
		return r;
	}
	*ret = d;
	return 0;
}

void snap_draft_abort(struct snap_draft *d)
{
	if (d->name[0])
		(void)!tree_remove(d->store->dir, d->name); /* what stays is swept when we are gone */
	d->name[0] = '\0';
	fd_closep(&d->images);
	fd_closep(&d->dir);
	snap_manifest_done(&d->m);
}

int snap_draft_peek(struct snap_draft *d, struct snap *ret, struct err *e)
{
	AUTO(snap_close) struct snap s;

	snap_init(&s);
	s.dir = fcntl(d->dir, F_DUPFD_CLOEXEC, 3);
	s.images = fcntl(d->images, F_DUPFD_CLOEXEC, 3);
	if (s.dir < 0 || s.images < 0)
		return err_sys(e, errno, "opening '%s'", d->images_path);
	s.m = d->m;
	s.m.arena = (struct arena){0}; /* the texts stay the draft's */
	memcpy(s.images_path, d->images_path, sizeof s.images_path);
	*ret = s;
	snap_init(&s);
	return 0;
}

/* ---- What is in it ---- */

struct commit {
	struct snap_draft *d;
	struct snap_key *k;
	struct buf stamp;
	struct snap_manifest read_back; /* what the written manifest says */
	struct err *e;
};

static int add_file(struct snap_draft *d, const char *name, struct err *e)
{
	struct snap_manifest *m = &d->m;
	struct snap_file *f;

	if (m->n_files == SNAP_MAX_FILES)
		return err_set(e, ERR_LIMIT, E2BIG, "the image in '%s' has more than %d files", d->images_path,
			       SNAP_MAX_FILES);
	f = &m->files[m->n_files];
	f->name = arena_strdup(&m->arena, name);
	if (!f->name)
		return err_oom(e);
	m->n_files++;
	return 0;
}

/* Has its mode, which is a change of the inode, before its identity is taken; and its writing to the disk begins, so that
 * it goes on while digests are made. */
static int settle_file(const struct snap_draft *d, const char *name, struct err *e)
{
	AUTO_FD int fd = openat(d->dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, errno, "reading '%s/%s'", d->name, name);
	if (check_kind(&st))
		return err_set(e, ERR_SYSTEM, EINVAL, "the image's '%s' %s", name, check_kind(&st));
	if (fchmod(fd, strcmp(name, "tmp.tree") == 0 ? 0400 : 0444) < 0)
		return err_sys(e, errno, "closing '%s/%s' to writers", d->name, name);
	(void)sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
	return 0;
}

static int take_image(const char *name, void *arg)
{
	struct commit *c = arg;
	char path[300];
	int r;

	(void)snprintf(path, sizeof path, "img/%s", name);
	r = add_file(c->d, path, c->e);
	return r < 0 ? r : settle_file(c->d, path, c->e);
}

static int by_name(const void *a, const void *b)
{
	const struct snap_file *x = a, *y = b;

	return strcmp(x->name, y->name);
}

static int list_images(struct commit *c)
{
	struct snap_draft *d = c->d;
	struct snap_manifest *m = &d->m;
	int r;

	m->files = arena_alloc(&m->arena, SNAP_MAX_FILES * sizeof *m->files);
	m->n_files = 0;
	if (!m->files)
		return err_oom(c->e);
	r = store_names(d->images, take_image, c);
	if (r < 0 && c->e->kind == ERR_NONE)
		return err_sys(c->e, r, "reading '%s'", d->images_path);
	if (r < 0)
		return r;
	if (m->n_files == 0)
		return err_set(c->e, ERR_BUG, ENOENT, "there is no image in '%s'", d->images_path);
	m->features &= ~(uint32_t)SNAP_HAS_TMP;
	if (faccessat(d->dir, "tmp.tree", F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
		m->features |= SNAP_HAS_TMP;
		r = add_file(d, "tmp.tree", c->e);
		if (r == 0)
			r = settle_file(d, "tmp.tree", c->e);
	}
	qsort(m->files, m->n_files, sizeof *m->files, by_name);
	return r;
}

static int measure(struct commit *c, int dir, struct snap_file *f, bool ours)
{
	struct measured m;
	int r = check_measure(dir, f->name, &m, c->e);

	if (r < 0)
		return err_ctx(c->e, r, ours ? "making the digests of '%s'" : "making the digest of a library for '%s'",
			       c->d->name);
	f->size = m.size;
	memcpy(f->sha256, m.sha256, sizeof f->sha256);
	m.settled = m.settled || ours; /* nobody writes to them any more */
	stamp_add(&c->stamp, &m);
	return 0;
}

static int measure_all(struct commit *c)
{
	struct snap_manifest *m = &c->d->m;
	int r = stamp_begin(&c->stamp, c->e);

	if (m->n_deps > 0)
		qsort(m->deps, m->n_deps, sizeof *m->deps, by_name);
	for (size_t i = 0; r == 0 && i < m->n_deps; i++)
		r = measure(c, AT_FDCWD, &m->deps[i], false);
	for (size_t i = 0; r == 0 && i < m->n_files; i++)
		r = measure(c, c->d->dir, &m->files[i], true);
	return r == 0 && c->stamp.failed ? err_oom(c->e) : r;
}

/* ---- What is known of it ---- */

static int describe(struct commit *c)
{
	struct snap_manifest *m = &c->d->m;
	char reason[REASON_SIZE];

	memcpy(m->id, c->k->id, sizeof m->id);
	for (size_t i = 0; i < c->k->n; i++)
		m->parts[i] = (struct snap_value){c->k->parts[i].name, c->k->fixed[i].value};
	m->n_parts = c->k->n;
	if (!m->reason) {
		store_explain(c->d->store, c->k, m, reason, sizeof reason);
		m->reason = arena_strdup(&m->arena, reason);
	}
	return m->reason ? 0 : err_oom(c->e);
}

static int write_record(const struct snap_draft *d, const char *name, const char *data, size_t len, struct err *e)
{
	AUTO_FD int fd = openat(d->dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int r = fd < 0 ? -errno : fd_write_all(fd, data, len);

	return r < 0 ? err_sys(e, r, "writing '%s/%s/%s'", d->store->path, d->name, name) : 0;
}

static int write_records(struct commit *c)
{
	const struct snap_draft *d = c->d;
	AUTO(buf_done) struct buf manifest = {0};
	char hex[SNAP_ID_LEN + 1], line[SNAP_ID_LEN + 32];
	struct snap_digest digest;
	int r = manifest_write(&d->m, &manifest, c->e);

	if (r < 0)
		return r;
	digest_begin(&digest);
	digest_add(&digest, manifest.data, manifest.len);
	digest_end(&digest, hex);
	(void)snprintf(line, sizeof line, "%s  manifest.json\n", hex);
	r = write_record(d, "manifest.json", manifest.data, manifest.len, c->e);
	if (r == 0)
		r = write_record(d, "manifest.sha256", line, strlen(line), c->e);
	if (r == 0)
		r = write_record(d, "stamp", c->stamp.data, c->stamp.len, c->e);
	if (r == 0)
		r = manifest_read("manifest.json", manifest.data, manifest.len, &c->read_back, c->e);
	return r;
}

/* ---- On the disk, and in its place ---- */

static int sync_file(const struct snap_draft *d, const char *name, struct err *e)
{
	AUTO_FD int fd = openat(d->dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 || fsync(fd) < 0 ? err_sys(e, errno, "syncing '%s/%s/%s'", d->store->path, d->name, name) : 0;
}

/* All at the end: the first one makes the file system commit, and the others find little left. */
static int sync_all(const struct commit *c)
{
	static const char *const records[] = {"manifest.json", "manifest.sha256", "stamp", "img", "."};
	const struct snap_draft *d = c->d;
	int r = 0;

	for (size_t i = 0; r == 0 && i < d->m.n_files; i++)
		r = sync_file(d, d->m.files[i].name, c->e);
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(records); i++)
		r = sync_file(d, records[i], c->e);
	return r;
}

/* The exchange has no moment in which there is none; after it the older one bears the draft's name. Where a file system
 * has no exchange, the older one is moved away first: whoever looks in between makes another. */
static int put_in_place(int store, const char *draft, const char *id)
{
	char old[64];

	if (renameat(store, draft, store, id) == 0)
		return 0;
	if (errno != EEXIST && errno != ENOTEMPTY)
		return -errno;
	if (renameat2(store, draft, store, id, RENAME_EXCHANGE) == 0)
		return 0;
	if (errno != EINVAL)
		return -errno;
	store_fresh_name(".old", old);
	return renameat(store, id, store, old) < 0 || renameat(store, draft, store, id) < 0 ? -errno : 0;
}

static int take_name(struct snap_draft *d, struct err *e)
{
	AUTO_FD int turn = store_turn(d->store, e);
	int r = turn < 0 ? turn : put_in_place(d->store->dir, d->name, d->m.id);

	if (r < 0)
		return err_sys(e, r, "publishing '%s/%s'", d->store->path, d->m.id);
	d->name[0] = '\0'; /* what bears it now may be the older one, in use */
	return 0;
}

/* When the last sync fails, what is in place is whole all the same; only that it stays there cannot be promised. */
static int publish(struct snap_draft *d, struct err *e)
{
	int r = take_name(d, e);

	if (r == 0 && fsync(d->store->dir) < 0)
		r = err_sys(e, errno, "syncing '%s'", d->store->path);
	return r;
}

static void leave_links(const struct commit *c)
{
	const struct snap_store *st = c->d->store;
	char name[SNAP_ID_LEN + 1];
	struct err ignored = {0};

	store_last_name(c->k, name);
	store_link_put(st->dir, "last", name, c->d->m.id);
	if (c->k->settled && key_index(c->k, name, &ignored) == 0)
		store_link_put(st->dir, "index", name, c->d->m.id);
}

/* The draft's descriptors, with the lock, and the manifest as it was read become the snapshot's. */
static void hand_over(struct commit *c, struct snap *ret)
{
	struct snap_draft *d = c->d;

	snap_init(ret);
	(void)snprintf(ret->images_path, sizeof ret->images_path, "%s/%s/img", d->store->path, d->m.id);
	ret->dir = take_fd(&d->dir);
	ret->images = take_fd(&d->images);
	ret->m = c->read_back;
	c->read_back = (struct snap_manifest){.n_parts = 0};
}

int snap_draft_commit(struct snap_draft *d, struct snap_key *k, struct snap *ret, struct err *e)
{
	struct commit c = {.d = d, .k = k, .e = e};
	int r = snap_key_fix(k, e);

	if (r == 0)
		r = key_unchanged(k, e);
	if (r == 0)
		r = list_images(&c);
	if (r == 0)
		r = measure_all(&c);
	if (r == 0)
		r = describe(&c);
	if (r == 0)
		r = write_records(&c);
	if (r == 0)
		r = sync_all(&c);
	if (r == 0)
		r = publish(d, e);
	if (r == 0) {
		leave_links(&c);
		hand_over(&c, ret);
		gc_sweep(d->store); /* the one that was replaced */
	}
	buf_done(&c.stamp);
	snap_manifest_done(&c.read_back);
	return r;
}
