/* Whether a snapshot is the one that was written.
 *
 * Digests of hundreds of megabytes would cost more than the restore. So a digest that was found right is remembered in the
 * stamp together with the file's identity: writing to a file changes its ctime, which no call sets, and putting another one
 * in its place changes the inode. After a boot, when somebody may have written to the disk without this kernel's knowledge,
 * digests are made again. What this does not see is who can change the stamp as well: root. */
#include "base/clock.h"
#include "snapshot/store.h"

#include <fcntl.h>
#include <stdio.h>

enum { MANIFEST_MAX = 4 << 20, STAMP_MAX = 256 << 10 };

/* ---- Identity ---- */

void identity_put(const struct stat *st, char out[static IDENTITY_SIZE])
{
	(void)snprintf(out, IDENTITY_SIZE, "%llx:%llx:%llx:%llx.%lx:%llx.%lx", (unsigned long long)st->st_dev,
		       (unsigned long long)st->st_ino, (unsigned long long)st->st_size,
		       (unsigned long long)st->st_mtim.tv_sec, (unsigned long)st->st_mtim.tv_nsec,
		       (unsigned long long)st->st_ctim.tv_sec, (unsigned long)st->st_ctim.tv_nsec);
}

uint64_t identity_changed_ns(const struct stat *st)
{
	return (uint64_t)st->st_ctim.tv_sec * NS_PER_S + (uint64_t)st->st_ctim.tv_nsec;
}

bool identity_settled(uint64_t changed_ns, uint64_t now_ns)
{
	return changed_ns + STORE_RACY_S * NS_PER_S < now_ns; /* git's "racy" entries, gitformat-index(5) */
}

/* ---- One file ---- */

static int PRINTF(4, 5) mismatch(struct err *e, const char *id, const char *name, const char *fmt, ...)
{
	char what[256];
	va_list ap;
	int r;

	va_start(ap, fmt);
	if (vsnprintf(what, sizeof what, fmt, ap) < 0)
		what[0] = '\0';
	va_end(ap);
	r = err_set(e, ERR_SNAPSHOT_MISMATCH, EBADMSG, "snapshot %.12s: '%s' %s", id, name, what);
	(void)err_where(e, r, "%s", name);
	return err_hint(e, r, "'fsbox snapshot rm %.12s' removes it; the next run makes another", id);
}

const char *check_kind(const struct stat *st)
{
	if (!S_ISREG(st->st_mode))
		return "is not a regular file";
	if (st->st_uid != geteuid())
		return "belongs to somebody else";
	return st->st_mode & (S_IWGRP | S_IWOTH) ? "may be written by others" : NULL;
}

int check_measure(int dir, const char *name, struct measured *ret, struct err *e)
{
	AUTO_FD int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct measured m = {.size = 0};
	uint64_t now = clock_wall_ns();
	struct stat st;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, errno, "reading '%s'", name);
	if (!S_ISREG(st.st_mode))
		return err_set(e, ERR_SYSTEM, EINVAL, "reading '%s': not a regular file", name);
	identity_put(&st, m.identity);
	m.settled = identity_settled(identity_changed_ns(&st), now);
	r = digest_fd(fd, name, NULL, m.sha256, &m.size, e);
	if (r == 0)
		*ret = m;
	return r;
}

/* ---- Manifest ---- */

static int read_manifest(int dir, const char *id, char **ret_text, size_t *ret_len, struct err *e)
{
	static const char name[] = "manifest.json";
	AUTO_FD int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;
	int r;

	if (fd < 0 && errno == ENOENT)
		return mismatch(e, id, name, "is missing");
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, errno, "snapshot %.12s: opening '%s'", id, name);
	if (check_kind(&st))
		return mismatch(e, id, name, "%s", check_kind(&st));
	r = fd_read_all(fd, MANIFEST_MAX, ret_text, ret_len);
	if (r == -EFBIG)
		return mismatch(e, id, name, "has over %d bytes", MANIFEST_MAX);
	return r < 0 ? err_sys(e, r, "snapshot %.12s: reading '%s'", id, name) : 0;
}

static int compare_manifest(int dir, const char *id, const char *text, size_t len, struct err *e)
{
	char want[SNAP_ID_LEN + 32], have[sizeof want], hex[SNAP_ID_LEN + 1];
	ssize_t n = fd_read_file_at(dir, "manifest.sha256", have, sizeof have);
	struct snap_digest d;

	if (n < 0 && n != -ENOENT && n != -EFBIG)
		return err_sys(e, (int)n, "snapshot %.12s: reading 'manifest.sha256'", id);
	if (n < 0)
		return mismatch(e, id, "manifest.sha256", n == -ENOENT ? "is missing" : "is too long");
	digest_begin(&d);
	digest_add(&d, text, len);
	digest_end(&d, hex);
	(void)snprintf(want, sizeof want, "%s  manifest.json", hex);
	return strcmp(want, have) == 0 ? 0 : mismatch(e, id, "manifest.json", "is not what was written");
}

int check_manifest(int dir, const char *id, struct snap_manifest *ret, struct err *e)
{
	static const char name[] = "manifest.json";
	AUTO_FREE char *text = NULL;
	struct err inner = {0};
	struct snap_manifest m;
	char key[SNAP_ID_LEN + 1];
	size_t len;
	int r = read_manifest(dir, id, &text, &len, e);

	if (r == 0)
		r = compare_manifest(dir, id, text, len, e);
	if (r < 0)
		return r;
	r = manifest_read(name, text, len, &m, &inner);
	if (r < 0 && (inner.kind == ERR_SPEC || inner.kind == ERR_LIMIT))
		return mismatch(e, id, name, "is of another version: %s: %.100s", inner.where, inner.msg);
	if (r < 0)
		return err_adopt(e, &inner);
	key_id_of(&m, key);
	if (strcmp(m.id, id) != 0 || strcmp(key, id) != 0) {
		snap_manifest_done(&m);
		return mismatch(e, id, name, "is that of another snapshot");
	}
	*ret = m;
	return 0;
}

/* ---- Stamp ---- */

int stamp_begin(struct buf *b, struct err *e)
{
	struct snap_clock now;
	int r = snap_clock_now(&now, e);

	if (r == 0)
		buf_printf(b, "fsbox stamp 1\nboot %s\n", now.boot_id);
	return r;
}

void stamp_add(struct buf *b, const struct measured *m)
{
	buf_printf(b, "%s\n", m->settled ? m->identity : "-");
}

struct check {
	const struct snap *s;
	bool full, changed;
	char *old, *next; /* the stamp that is there, and its line for the file that is looked at */
	struct buf stamp; /* the new one */
};

/* Takes the old stamp if it is of this boot. */
static void take_old(struct check *c)
{
	AUTO_FD int fd = openat(c->s->dir, "stamp", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	size_t len;

	c->changed = true;
	if (c->full || fd < 0 || fd_read_all(fd, STAMP_MAX, &c->old, &len) < 0)
		return;
	if (strncmp(c->old, c->stamp.data, c->stamp.len) != 0)
		return;
	c->next = c->old + c->stamp.len;
	c->changed = false;
}

/* The old stamp's word for the file that is looked at next; "" when there is none. */
static const char *next_word(struct check *c)
{
	char *word = c->next, *end = word ? strchr(word, '\n') : NULL;

	if (!end)
		return "";
	*end = '\0';
	c->next = end + 1;
	return word;
}

static void put_word(struct check *c, const char *old, const struct measured *m)
{
	size_t at = c->stamp.len;

	stamp_add(&c->stamp, m);
	c->changed = c->changed || c->stamp.failed || strncmp(c->stamp.data + at, old, strlen(old)) != 0 ||
		     c->stamp.len != at + strlen(old) + 1;
}

/* Best effort: without it the next one looks for longer. */
static void renew(const struct check *c)
{
	char fresh[32];
	bool ok;

	(void)snprintf(fresh, sizeof fresh, ".stamp-%d", getpid());
	AUTO_FD int fd = openat(c->s->dir, fresh, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	ok = fd >= 0 && fd_write_all(fd, c->stamp.data, c->stamp.len) == 0 && fsync(fd) == 0 &&
	     renameat(c->s->dir, fresh, c->s->dir, "stamp") == 0;
	if (!ok)
		(void)unlinkat(c->s->dir, fresh, 0);
}

/* ---- All files ---- */

static bool lacks(const char *name, const char *what, char *reason, size_t size)
{
	(void)snprintf(reason, size, "library %s %s", name, what);
	return false;
}

/* 1, 0 with a reason, or negative. */
static int check_dep(struct check *c, const struct snap_file *f, char *reason, size_t size, struct err *e)
{
	const char *old = next_word(c);
	struct err inner = {0};
	struct measured m;
	struct stat st;

	if (stat(f->name, &st) < 0) {
		if (errno != ENOENT && errno != ENOTDIR && errno != EACCES)
			return err_sys(e, errno, "looking at library '%s'", f->name);
		return lacks(f->name, "is gone", reason, size);
	}
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != f->size)
		return lacks(f->name, "has changed", reason, size);
	identity_put(&st, m.identity);
	m.settled = true; /* or there would be no such line */
	if (strcmp(m.identity, old) != 0) {
		if (check_measure(AT_FDCWD, f->name, &m, &inner) < 0) {
			if (inner.code == ENOENT || inner.code == EACCES || inner.code == ELOOP)
				return lacks(f->name, "has changed", reason, size);
			return err_adopt(e, &inner);
		}
		if (m.size != f->size || strcmp(m.sha256, f->sha256) != 0)
			return lacks(f->name, "has changed", reason, size);
	}
	put_word(c, old, &m);
	return 1;
}

static int check_image(struct check *c, const struct snap_file *f, struct err *e)
{
	const char *id = c->s->m.id, *old = next_word(c);
	struct measured m;
	struct stat st;

	if (fstatat(c->s->dir, f->name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		if (errno == ENOENT)
			return mismatch(e, id, f->name, "is missing");
		return err_sys(e, errno, "snapshot %.12s: looking at '%s'", id, f->name);
	}
	if (check_kind(&st))
		return mismatch(e, id, f->name, "%s", check_kind(&st));
	if ((uint64_t)st.st_size != f->size)
		return mismatch(e, id, f->name, "has %lld bytes instead of %llu", (long long)st.st_size,
				(unsigned long long)f->size);
	identity_put(&st, m.identity);
	if (strcmp(m.identity, old) != 0) {
		int r = check_measure(c->s->dir, f->name, &m, e);

		if (r < 0)
			return err_ctx(e, r, "snapshot %.12s", id);
		if (strcmp(m.sha256, f->sha256) != 0)
			return mismatch(e, id, f->name, "is not what was written: its digest differs");
	}
	m.settled = true; /* nobody but us may write to it, and we don't */
	put_word(c, old, &m);
	return 0;
}

struct listing {
	const struct snap *s;
	struct err *e;
};

static int by_base(const void *name, const void *file)
{
	const struct snap_file *f = file;

	return strcmp(name, f->name + strlen("img/"));
}

/* The files of img/ are sorted, and tmp.tree is the last of all. */
static int is_listed(const char *name, void *arg)
{
	const struct listing *l = arg;
	const struct snap_manifest *m = &l->s->m;
	size_t n = m->n_files - !!(m->features & SNAP_HAS_TMP);
	char path[300];

	if (n > 0 && bsearch(name, m->files, n, sizeof *m->files, by_base))
		return 0;
	(void)snprintf(path, sizeof path, "img/%s", name);
	return mismatch(l->e, m->id, path, "was not written by us");
}

int check_files(const struct snap *s, bool full, char *reason, size_t reason_size, struct err *e)
{
	struct check c = {.s = s, .full = full};
	int r = stamp_begin(&c.stamp, e);

	if (r == 0 && c.stamp.failed)
		r = err_oom(e);
	if (r < 0)
		goto out;
	take_old(&c);
	for (size_t i = 0; i < s->m.n_deps; i++) {
		r = check_dep(&c, &s->m.deps[i], reason, reason_size, e);
		if (r <= 0)
			goto out;
	}
	r = store_names(s->images, is_listed, &(struct listing){s, e});
	if (r < 0 && e->kind == ERR_NONE)
		(void)err_sys(e, r, "snapshot %.12s: reading 'img'", s->m.id);
	for (size_t i = 0; r == 0 && i < s->m.n_files; i++)
		r = check_image(&c, &s->m.files[i], e);
	if (r == 0 && c.changed && !c.stamp.failed)
		renew(&c);
	r = r < 0 ? r : 1;
out:
	buf_done(&c.stamp);
	free(c.old);
	return r;
}
