#include "base/clock.h"
#include "snapshot/store.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/random.h>

enum { PREFIX_MIN = 6, TOUCH_S = 60 };

/* ---- The directory ---- */

int store_default_path(uid_t uid, char *ret, size_t size, struct err *e)
{
	const char *state = secure_getenv("XDG_STATE_HOME"), *home = secure_getenv("HOME");
	int n;

	if (state && state[0] != '/')
		state = NULL; /* the XDG base directory specification: a relative path is to be ignored */
	if (state) {
		n = snprintf(ret, size, "%s/fsbox/snapshots", state);
	} else if (uid == 0) {
		n = snprintf(ret, size, "/var/lib/fsbox/snapshots");
	} else if (home && home[0] == '/') {
		n = snprintf(ret, size, "%s/.local/state/fsbox/snapshots", home);
	} else {
		int r = err_set(e, ERR_NOT_FOUND, ENOENT, "there is no place for snapshots: HOME is not set");

		return err_hint(e, r, "set XDG_STATE_HOME or HOME to an absolute path");
	}
	return n < 0 || (size_t)n >= size ? err_set(e, ERR_LIMIT, ENAMETOOLONG, "the store's path is too long") : 0;
}

/* The store for us alone; what is above it, if it is not there yet, with @parents. */
static int make_path(const char *path, mode_t parents, struct err *e)
{
	char part[sizeof((struct snap_store *)NULL)->path];

	(void)snprintf(part, sizeof part, "%s", path);
	for (char *p = part + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		if (mkdir(part, parents) < 0 && errno != EEXIST)
			return err_sys(e, errno, "making '%s'", part);
		*p = '/';
	}
	return mkdir(path, 0700) < 0 && errno != EEXIST ? err_sys(e, errno, "making the store '%s'", path) : 0;
}

static int check_owner(int dir, const char *path, struct err *e)
{
	struct stat st;
	int r = 0;

	if (fstat(dir, &st) < 0)
		return err_sys(e, errno, "looking at the store '%s'", path);
	if (st.st_uid != geteuid())
		r = err_set(e, ERR_DENIED, EACCES, "the store '%s' belongs to uid %u", path, st.st_uid);
	else if (st.st_mode & (S_IWGRP | S_IWOTH))
		r = err_set(e, ERR_DENIED, EACCES, "others may write to the store '%s' (mode %03o)", path,
			    st.st_mode & 0777);
	return r < 0 ? err_hint(e, r, "it must be yours alone: chown and chmod 700, or another XDG_STATE_HOME") : 0;
}

int snap_store_open(const char *path, bool make, struct snap_store *ret, struct err *e)
{
	bool private = !path && (geteuid() != 0 || secure_getenv("XDG_STATE_HOME"));
	struct snap_store st = {.dir = FD_NONE};
	int r = 0;

	if (!path)
		r = store_default_path(geteuid(), st.path, sizeof st.path, e);
	else if ((size_t)snprintf(st.path, sizeof st.path, "%s", path) >= sizeof st.path)
		r = err_set(e, ERR_LIMIT, ENAMETOOLONG, "the store's path '%s' is too long", path);
	if (r == 0 && make)
		r = make_path(st.path, private ? 0700 : 0755, e);
	if (r < 0)
		return r;

	AUTO_FD int dir = open(st.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return err_sys(e, errno, "opening the store '%s'", st.path);
	r = check_owner(dir, st.path, e);
	if (r < 0)
		return r;
	st.dir = take_fd(&dir);
	*ret = st;
	return 0;
}

void snap_store_close(struct snap_store *s)
{
	fd_closep(&s->dir);
}

/* ---- Names ---- */

static bool is_hex(const char *s, size_t min)
{
	size_t n = strspn(s, "0123456789abcdef");

	return s[n] == '\0' && n >= min && n <= SNAP_ID_LEN;
}

bool store_is_id(const char *name)
{
	return is_hex(name, SNAP_ID_LEN);
}

void store_fresh_name(const char *prefix, char ret[static 64])
{
	uint64_t random = 0;

	if (getrandom(&random, sizeof random, GRND_NONBLOCK) < 0)
		random = clock_mono_ns(); /* a name that is taken is refused, and tried again */
	(void)snprintf(ret, 64, "%s-%d-%016llx", prefix, getpid(), (unsigned long long)random);
}

int store_names(int dir, int (*fn)(const char *name, void *arg), void *arg)
{
	int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* closedir() closes it */
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	int r = 0;

	if (!d) {
		r = -errno;
		fd_closep(&copy);
		return r;
	}
	while (r == 0) {
		errno = 0;

		const struct dirent *ent = readdir(d);
		if (!ent) {
			r = -errno;
			break;
		}
		if (strcmp(ent->d_name, ".") != 0 && strcmp(ent->d_name, "..") != 0)
			r = fn(ent->d_name, arg);
	}
	(void)closedir(d);
	return r;
}

struct search {
	const char *prefix;
	char found[SNAP_ID_LEN + 1];
	unsigned n;
};

static int match(const char *name, void *arg)
{
	struct search *s = arg;

	if (store_is_id(name) && str_starts(name, s->prefix)) {
		memcpy(s->found, name, sizeof s->found);
		s->n++;
	}
	return 0;
}

int store_resolve(const struct snap_store *st, const char *text, char ret[static SNAP_ID_LEN + 1], struct err *e)
{
	struct search s = {.prefix = text};
	int r;

	if (!is_hex(text, PREFIX_MIN))
		return err_set(e, ERR_SPEC, EINVAL, "'%.80s' is no id of a snapshot: %d to %d hexadecimal digits", text,
			       PREFIX_MIN, SNAP_ID_LEN);
	r = store_names(st->dir, match, &s);
	if (r < 0)
		return err_sys(e, r, "reading the store '%s'", st->path);
	if (s.n == 0)
		return err_set(e, ERR_NOT_FOUND, ENOENT, "there is no snapshot '%s' in '%s'", text, st->path);
	if (s.n > 1)
		return err_set(e, ERR_SPEC, EINVAL, "%u snapshots begin with '%s': give more digits", s.n, text);
	memcpy(ret, s.found, sizeof s.found);
	return 0;
}

/* ---- Links to ids ---- */

bool store_link_get(int store, const char *folder, const char *name, char ret_id[static SNAP_ID_LEN + 1])
{
	char path[SNAP_ID_LEN + 16], id[SNAP_ID_LEN + 2];

	(void)snprintf(path, sizeof path, "%s/%s", folder, name);

	ssize_t n = readlinkat(store, path, id, sizeof id - 1);
	if (n < 0)
		return false;
	id[n] = '\0';
	if (!store_is_id(id))
		return false;
	memcpy(ret_id, id, SNAP_ID_LEN + 1);
	return true;
}

void store_link_put(int store, const char *folder, const char *name, const char *id)
{
	char fresh[64], path[96], to[SNAP_ID_LEN + 16], old[SNAP_ID_LEN + 1];

	if (store_link_get(store, folder, name, old) && strcmp(old, id) == 0)
		return;
	store_fresh_name("/.link", fresh);
	(void)snprintf(path, sizeof path, "%s%s", folder, fresh);
	(void)snprintf(to, sizeof to, "%s/%s", folder, name);
	if (mkdirat(store, folder, 0700) < 0 && errno != EEXIST)
		return;
	if (symlinkat(id, store, path) == 0 && renameat(store, path, store, to) < 0)
		(void)unlinkat(store, path, 0);
}

void store_last_name(const struct snap_key *k, char hex[static SNAP_ID_LEN + 1])
{
	const char *target = k->target ? k->target : "", *function = k->function ? k->function : "";
	struct snap_digest d;

	digest_begin(&d);
	digest_add_text(&d, target, strlen(target));
	digest_add_text(&d, function, strlen(function));
	digest_end(&d, hex);
}

/* ---- Locks ---- */

/* -ESTALE when the name became another directory's before the lock was ours. */
static int lock_once(int store, const char *name, int how)
{
	AUTO_FD int dir = openat(store, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat opened, named;
	int r;

	if (dir < 0)
		return -errno;
	do
		r = flock(dir, how);
	while (r < 0 && errno == EINTR);
	if (r < 0 || fstat(dir, &opened) < 0 || fstatat(store, name, &named, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return named.st_ino == opened.st_ino && named.st_dev == opened.st_dev ? take_fd(&dir) : -ESTALE;
}

int store_lock(int store, const char *name, int how)
{
	int r = -ESTALE;

	for (int tries = 0; tries < 64 && r == -ESTALE; tries++) /* somebody replaces it again and again */
		r = lock_once(store, name, how);
	return r;
}

int store_turn(const struct snap_store *st, struct err *e)
{
	AUTO_FD int dir = openat(st->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* a lock of its own: flock(2) */
	int r;

	if (dir < 0)
		return err_sys(e, errno, "opening the store '%s'", st->path);
	do
		r = flock(dir, LOCK_EX);
	while (r < 0 && errno == EINTR);
	return r < 0 ? err_sys(e, errno, "locking the store '%s'", st->path) : take_fd(&dir);
}

/* ---- One snapshot ---- */

void snap_init(struct snap *s)
{
	*s = (struct snap){.dir = FD_NONE, .images = FD_NONE};
}

void snap_close(struct snap *s)
{
	fd_closep(&s->images);
	fd_closep(&s->dir);
	snap_manifest_done(&s->m);
	snap_init(s);
}

static int check_directories(const struct snap *s, const char *id, struct err *e)
{
	struct stat dir, images;
	const char *wrong = NULL, *name = "";
	int r;

	if (fstat(s->dir, &dir) < 0 || fstat(s->images, &images) < 0)
		return err_sys(e, errno, "snapshot %.12s: looking at its directory", id);
	if (dir.st_uid != geteuid() || images.st_uid != geteuid()) {
		wrong = "belongs to somebody else";
		name = dir.st_uid != geteuid() ? "." : "img";
	} else if (dir.st_mode & 077) {
		wrong = "is open to others";
		name = ".";
	} else if (images.st_mode & (S_IWGRP | S_IWOTH)) {
		wrong = "may be written by others";
		name = "img";
	}
	if (!wrong)
		return 0;
	r = err_set(e, ERR_SNAPSHOT_MISMATCH, EBADMSG, "snapshot %.12s: '%s' %s", id, name, wrong);
	(void)err_where(e, r, "%s", name);
	return err_hint(e, r, "'fsbox snapshot rm %.12s' removes it; the next run makes another", id);
}

enum opened {
	OPENED_DEPENDENCY = 0, /* has changed: as check_files() */
	OPENED = 1,
	OPENED_NOTHING = 2, /* there is none of this id */
};

/* Opens @id, which is whole, and checks it. enum opened, or negative with *e. */
static int open_checked(const struct snap_store *st, const char *id, bool full, struct snap *ret, char *reason,
			size_t size, struct err *e)
{
	AUTO(snap_close) struct snap s;
	int r;

	snap_init(&s);
	s.dir = store_lock(st->dir, id, LOCK_SH);
	if (s.dir == -ENOENT)
		return OPENED_NOTHING;
	if (s.dir < 0)
		return err_sys(e, s.dir, "opening snapshot '%s/%s'", st->path, id);
	s.images = openat(s.dir, "img", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (s.images < 0 && errno != ENOENT && errno != ENOTDIR && errno != ELOOP)
		return err_sys(e, errno, "opening '%s/%s/img'", st->path, id);
	if (s.images < 0) {
		r = err_set(e, ERR_SNAPSHOT_MISMATCH, EBADMSG, "snapshot %.12s: 'img' is missing", id);
		return err_where(e, r, "img");
	}
	(void)snprintf(s.images_path, sizeof s.images_path, "%s/%s/img", st->path, id);
	r = check_directories(&s, id, e);
	if (r == 0)
		r = check_manifest(s.dir, id, &s.m, e);
	if (r == 0)
		r = check_files(&s, full, reason, size, e);
	if (r <= 0)
		return r;
	*ret = s;
	snap_init(&s);
	return OPENED;
}

/* The time of the stamp is that of the last use; more often than once a minute would only wear the disk. */
static void touch(const struct snap *s)
{
	struct stat st;
	uint64_t now = clock_wall_ns() / NS_PER_S;

	if (fstatat(s->dir, "stamp", &st, AT_SYMLINK_NOFOLLOW) == 0 && (uint64_t)st.st_mtim.tv_sec + TOUCH_S >= now &&
	    (uint64_t)st.st_mtim.tv_sec <= now)
		return;
	(void)utimensat(s->dir, "stamp", NULL, AT_SYMLINK_NOFOLLOW);
}

/* Whoever makes one after a miss or damage has a key that was fixed before his cell loads anything. */
int snap_find(const struct snap_store *st, struct snap_key *k, struct snap *ret, char *reason, size_t reason_size,
	      struct err *e)
{
	char index[SNAP_ID_LEN + 1], id[SNAP_ID_LEN + 1];
	int r = key_index(k, index, e), opened = OPENED_NOTHING;

	if (r < 0)
		return r;
	reason[0] = '\0';
	if (store_link_get(st->dir, "index", index, id))
		opened = open_checked(st, id, false, ret, reason, reason_size, e);
	if (opened != OPENED) {
		r = snap_key_fix(k, e);
		if (r < 0)
			return r;
	}
	if (opened == OPENED_NOTHING) {
		opened = open_checked(st, k->id, false, ret, reason, reason_size, e);
		if (opened == OPENED && k->settled)
			store_link_put(st->dir, "index", index, k->id);
	}
	if (opened == OPENED)
		touch(ret);
	if (opened != OPENED_NOTHING)
		return opened;
	store_explain(st, k, NULL, reason, reason_size);
	return 0;
}

static int open_by_id(const struct snap_store *st, const char *id, bool full, struct snap *ret, struct err *e)
{
	char whole[SNAP_ID_LEN + 1], reason[REASON_SIZE];
	int r = store_resolve(st, id, whole, e);

	if (r == 0)
		r = open_checked(st, whole, full, ret, reason, sizeof reason, e);
	if (r == OPENED)
		return 0;
	if (r == OPENED_NOTHING)
		return err_set(e, ERR_NOT_FOUND, ENOENT, "there is no snapshot '%s' in '%s'", id, st->path);
	if (r == OPENED_DEPENDENCY) {
		r = err_set(e, ERR_SNAPSHOT_MISMATCH, EBADMSG, "snapshot %.12s: %s", whole, reason);
		return err_hint(e, r, "a new snapshot of the function will have the new one");
	}
	return r;
}

int snap_open(const struct snap_store *st, const char *id, struct snap *ret, struct err *e)
{
	int r = open_by_id(st, id, false, ret, e);

	if (r == 0)
		touch(ret);
	return r;
}

int snap_verify(const struct snap_store *st, const char *id, struct err *e)
{
	AUTO(snap_close) struct snap s;

	snap_init(&s);
	return open_by_id(st, id, true, &s, e);
}

/* ---- Reasons ---- */

static const struct snap_file *find_dep(const struct snap_manifest *m, const char *name)
{
	for (size_t i = 0; i < m->n_deps; i++)
		if (strcmp(m->deps[i].name, name) == 0)
			return &m->deps[i];
	return NULL;
}

static void explain_deps(const struct snap_manifest *old, const struct snap_manifest *m, char *reason, size_t size)
{
	for (size_t i = 0; i < m->n_deps; i++) {
		const struct snap_file *f = find_dep(old, m->deps[i].name);

		if (f && strcmp(f->sha256, m->deps[i].sha256) != 0) {
			(void)snprintf(reason, size, "library %s has changed", f->name);
			return;
		}
	}
}

void store_explain(const struct snap_store *st, const struct snap_key *k, const struct snap_manifest *m, char *reason,
		   size_t size)
{
	char last[SNAP_ID_LEN + 1], id[SNAP_ID_LEN + 1];
	struct err ignored = {0};
	struct snap_manifest old;

	store_last_name(k, last);
	if ((!k->target && !k->function) || !store_link_get(st->dir, "last", last, id)) {
		(void)snprintf(reason, size, "no snapshot of this function yet");
		return;
	}

	AUTO_FD int dir = openat(st->dir, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0 || check_manifest(dir, id, &old, &ignored) < 0) {
		(void)snprintf(reason, size, "its last snapshot %s", dir < 0 ? "was removed" : "was damaged");
		return;
	}
	key_differences(k, &old, reason, size);
	if (!reason[0] && m)
		explain_deps(&old, m, reason, size);
	if (!reason[0]) /* the order of the key's parts is another, or somebody asked for it */
		(void)snprintf(reason, size, "made anew");
	snap_manifest_done(&old);
}
