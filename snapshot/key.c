/* What a snapshot depends on. A part's value is made of its content alone, and the id of names and values, so the same
 * content under another path or date has the same id. */
#include "base/clock.h"
#include "snapshot/store.h"

#include <fcntl.h>
#include <stdio.h>

enum { NAME_MAX_LEN = 40, TEXT_SHOWN_MAX = 1024 };

int snap_key_add(struct snap_key *k, const struct snap_part *part, struct err *e)
{
	if (k->n == SNAP_MAX_PARTS || k->id[0])
		return err_set(e, ERR_BUG, E2BIG, "adding '%s' to a snapshot's key: it is %s", part->name,
			       k->id[0] ? "fixed already" : "full");
	if (!part->name[0] || strlen(part->name) > NAME_MAX_LEN)
		return err_set(e, ERR_BUG, EINVAL, "a part of a snapshot's key is named '%s'", part->name);
	for (size_t i = 0; i < k->n; i++)
		if (strcmp(k->parts[i].name, part->name) == 0)
			return err_set(e, ERR_BUG, EEXIST, "adding '%s' to a snapshot's key: it is there already",
				       part->name);
	k->parts[k->n++] = *part;
	return 0;
}

void snap_key_done(struct snap_key *k)
{
	arena_done(&k->arena);
	*k = (struct snap_key){0};
}

/* ---- One part ---- */

static bool is_open(const struct snap_part *p)
{
	return p->fd >= 3; /* ours never lie below; 0 is a field that nobody set */
}

static int open_part(const struct snap_part *p, struct stat *st, struct err *e)
{
	AUTO_FD int fd = is_open(p) ? fcntl(p->fd, F_DUPFD_CLOEXEC, 3)
				    : open(p->text, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, st) < 0)
		return err_sys(e, errno, "reading %s '%s'", p->name, p->text ? p->text : "");
	if (!S_ISREG(st->st_mode))
		return err_set(e, ERR_SPEC, EINVAL, "reading %s '%s': not a regular file", p->name,
			       p->text ? p->text : "");
	return take_fd(&fd);
}

/* The identity of a file or tree as text, and when it last changed. */
static int identify(const struct snap_part *p, struct snap_reading *rd, char out[static IDENTITY_SIZE],
		    uint64_t *ret_changed_ns, struct err *e)
{
	struct stat st;

	if (p->kind == SNAP_TREE) {
		int r = walk_tree(p->text, WALK_IDENTITIES, rd, out, ret_changed_ns, e);

		return r < 0 ? err_ctx(e, r, "%s", p->name) : 0;
	}
	if ((is_open(p) ? fstat(p->fd, &st) : stat(p->text, &st)) < 0)
		return err_sys(e, errno, "reading %s '%s'", p->name, p->text ? p->text : "");
	identity_put(&st, out);
	*ret_changed_ns = identity_changed_ns(&st);
	return 0;
}

static bool is_plain(const char *text, size_t len)
{
	if (len > TEXT_SHOWN_MAX || !str_is_utf8(text, len) || (len >= 6 && memcmp(text, "sha256", 6) == 0))
		return false;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			return false;
	return true;
}

/* NULL when memory is out. */
static const char *text_value(struct arena *a, const char *text, size_t len)
{
	char hex[SNAP_ID_LEN + 1];
	struct snap_digest d;

	if (len == 0)
		return "";
	if (is_plain(text, len))
		return arena_memdup(a, text, len);
	digest_begin(&d);
	digest_add(&d, text, len);
	digest_end(&d, hex);
	return arena_printf(a, "sha256-text:%s", hex);
}

static int read_part(const struct snap_part *p, struct snap_reading *rd, char hex[static SNAP_ID_LEN + 1],
		     struct err *e)
{
	uint64_t ignored;
	struct stat st;
	int r;

	if (p->kind == SNAP_TREE) {
		r = walk_tree(p->text, WALK_CONTENTS, rd, hex, &ignored, e);
		return r < 0 ? err_ctx(e, r, "%s", p->name) : 0;
	}

	AUTO_FD int fd = open_part(p, &st, e);
	return fd < 0 ? fd : digest_fd(fd, p->text ? p->text : p->name, rd, hex, &ignored, e);
}

static int changed(const struct snap_part *p, struct err *e)
{
	int r = err_set(e, ERR_BUSY, EBUSY, "%s '%s' has changed while it was read", p->name, p->text ? p->text : "");

	return err_hint(e, r, "try again when nobody writes to it");
}

static int fix_part(struct snap_key *k, size_t i, struct err *e)
{
	const struct snap_part *p = &k->parts[i];
	char hex[SNAP_ID_LEN + 1], before[IDENTITY_SIZE], after[IDENTITY_SIZE];
	uint64_t now = clock_wall_ns(), changed_ns;
	int r;

	if (p->kind == SNAP_TEXT) {
		k->fixed[i].value = text_value(&k->arena, p->text, p->len);
		return k->fixed[i].value ? 0 : err_oom(e);
	}
	r = identify(p, k->reading, before, &changed_ns, e);
	if (r == 0)
		r = read_part(p, k->reading, hex, e);
	if (r == 0)
		r = identify(p, k->reading, after, &changed_ns, e);
	if (r < 0)
		return r;
	if (strcmp(before, after) != 0)
		return changed(p, e);
	k->settled = k->settled && identity_settled(changed_ns, now);
	k->fixed[i].identity = arena_strdup(&k->arena, before);
	k->fixed[i].value = arena_printf(&k->arena, "sha256-%s:%s", p->kind == SNAP_FILE ? "file" : "tree", hex);
	return k->fixed[i].identity && k->fixed[i].value ? 0 : err_oom(e);
}

/* ---- The whole ---- */

static void id_begin(struct snap_digest *d)
{
	digest_begin(d);
	digest_add_text(d, "fsbox snapshot 1", 16);
}

static void id_add(struct snap_digest *d, const char *name, const char *value)
{
	digest_add_text(d, name, strlen(name));
	digest_add_text(d, value, strlen(value));
}

int snap_key_fix(struct snap_key *k, struct err *e)
{
	struct snap_digest d;

	if (k->id[0])
		return 0;
	k->settled = true;
	id_begin(&d);
	for (size_t i = 0; i < k->n; i++) {
		int r = fix_part(k, i, e);

		if (r < 0)
			return r;
		id_add(&d, k->parts[i].name, k->fixed[i].value);
	}
	digest_end(&d, k->id);
	return 0;
}

void key_id_of(const struct snap_manifest *m, char hex[static SNAP_ID_LEN + 1])
{
	struct snap_digest d;

	id_begin(&d);
	for (size_t i = 0; i < m->n_parts; i++)
		id_add(&d, m->parts[i].name, m->parts[i].value);
	digest_end(&d, hex);
}

int key_index(const struct snap_key *k, char hex[static SNAP_ID_LEN + 1], struct err *e)
{
	char identity[IDENTITY_SIZE];
	struct snap_digest d;
	uint64_t ignored;

	digest_begin(&d);
	digest_add_text(&d, "fsbox index 1", 13);
	for (size_t i = 0; i < k->n; i++) {
		const struct snap_part *p = &k->parts[i];
		const char kind = (char)('0' + p->kind);

		digest_add_text(&d, p->name, strlen(p->name));
		digest_add(&d, &kind, 1);
		if (p->kind == SNAP_TEXT) {
			digest_add_text(&d, p->text, p->len);
			continue;
		}

		int r = identify(p, k->reading, identity, &ignored, e);
		if (r < 0)
			return r;
		digest_add_text(&d, identity, strlen(identity));
	}
	digest_end(&d, hex);
	return 0;
}

int key_unchanged(const struct snap_key *k, struct err *e)
{
	char identity[IDENTITY_SIZE];
	uint64_t ignored;

	for (size_t i = 0; i < k->n; i++) {
		if (k->parts[i].kind == SNAP_TEXT)
			continue;

		int r = identify(&k->parts[i], k->reading, identity, &ignored, e);
		if (r < 0)
			return r;
		if (strcmp(identity, k->fixed[i].identity) != 0) {
			const char *name = k->parts[i].text;

			r = err_set(e, ERR_BUSY, EBUSY, "%s%s%s%s has changed while its snapshot was being made",
				    k->parts[i].name, name ? " '" : "", name ? name : "", name ? "'" : "");
			return err_hint(e, r, "try again when nobody writes to it");
		}
	}
	return 0;
}

/* ---- Differences ---- */

static const char *value_in(const struct snap_manifest *m, const char *name)
{
	for (size_t i = 0; i < m->n_parts; i++)
		if (strcmp(m->parts[i].name, name) == 0)
			return m->parts[i].value;
	return NULL;
}

static bool key_has(const struct snap_key *k, const char *name)
{
	for (size_t i = 0; i < k->n; i++)
		if (strcmp(k->parts[i].name, name) == 0)
			return true;
	return false;
}

/* The names of parts that differ, those of the key first. Returns their number. */
static size_t differing(const struct snap_key *k, const struct snap_manifest *m,
			const char *names[static 2 * SNAP_MAX_PARTS])
{
	size_t n = 0;

	for (size_t i = 0; i < k->n; i++) {
		const char *old = value_in(m, k->parts[i].name);

		if (!old || strcmp(old, k->fixed[i].value) != 0)
			names[n++] = k->parts[i].name;
	}
	for (size_t i = 0; i < m->n_parts; i++)
		if (!key_has(k, m->parts[i].name))
			names[n++] = m->parts[i].name;
	return n;
}

void key_differences(const struct snap_key *k, const struct snap_manifest *m, char *reason, size_t size)
{
	enum { SHOWN = 3 };
	const char *names[2 * SNAP_MAX_PARTS];
	AUTO(buf_done) struct buf b = {0};
	size_t n = differing(k, m, names), shown = n <= SHOWN ? n : SHOWN;

	reason[0] = '\0';
	if (n == 0)
		return;
	for (size_t i = 0; i < shown; i++)
		buf_printf(&b, "%s%s", i == 0 ? "" : i + 1 == n ? " and " : ", ", names[i]);
	if (n > shown)
		buf_printf(&b, " and %zu more", n - shown);
	buf_puts(&b, n == 1 ? " has changed" : " have changed");
	(void)snprintf(reason, size, "%s", b.failed ? "something has changed" : b.data);
}

int snap_matches(const struct snap *s, struct snap_key *k, bool *ret_same, char *reason, size_t reason_size,
		 struct err *e)
{
	char index[SNAP_ID_LEN + 1], id[SNAP_ID_LEN + 1];
	AUTO_FD int store = openat(s->dir, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = key_index(k, index, e);

	if (r < 0)
		return r;
	reason[0] = '\0';
	if (store >= 0 && store_link_get(store, "index", index, id) && strcmp(id, s->m.id) == 0) {
		*ret_same = true;
		return 0;
	}
	r = snap_key_fix(k, e);
	if (r < 0)
		return r;
	*ret_same = strcmp(k->id, s->m.id) == 0;
	if (!*ret_same)
		key_differences(k, &s->m, reason, reason_size);
	if (!*ret_same && !reason[0]) /* the same parts in another order: another version of us */
		(void)snprintf(reason, reason_size, "the order of the key's parts has changed");
	return 0;
}
