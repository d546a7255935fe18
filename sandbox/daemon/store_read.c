#include "daemon/store_parts.h"

#include "base/mem.h"
#include "json/json.h"

#include <sqlite3.h>
#include <stdio.h>

static bool column_number(struct sqlite3_stmt *st, int at, int64_t min, int64_t max, int64_t *ret)
{
	*ret = sqlite3_column_int64(st, at);
	return sqlite3_column_type(st, at) == SQLITE_INTEGER && *ret >= min && *ret <= max;
}

/* *lack: memory was lacking, which says nothing of the row. */
static bool column_text(struct sqlite3_stmt *st, int at, const char **ret, bool *lack)
{
	if (sqlite3_column_type(st, at) != SQLITE_TEXT)
		return false;
	*ret = (const char *)sqlite3_column_text(st, at);
	*lack = *lack || !*ret;
	return *ret && strlen(*ret) == (size_t)sqlite3_column_bytes(st, at);
}

/* A blob lies where it lies in SQLite's page; numbers want to be aligned. The caller frees *ret. */
static bool column_groups(struct sqlite3_stmt *st, int at, gid_t **ret, size_t *ret_n, bool *lack)
{
	const void *blob = sqlite3_column_blob(st, at);
	size_t bytes = (size_t)sqlite3_column_bytes(st, at);

	if (sqlite3_column_type(st, at) != SQLITE_BLOB || bytes % sizeof **ret ||
	    bytes / sizeof **ret > STORE_MAX_GROUPS)
		return false;
	*ret = malloc(bytes ? bytes : 1);
	*lack = *lack || !*ret;
	if (!*ret)
		return false;
	if (bytes)
		memcpy(*ret, blob, bytes);
	*ret_n = bytes / sizeof **ret;
	return true;
}

/* NULL, or what is wrong with the row; or *lack. */
static const char *read_row(struct sqlite3_stmt *st, struct stored *f, gid_t **groups, bool *lack)
{
	const int64_t max_id = (int64_t)UINT32_MAX - 1;
	int64_t number, owner, gid;

	if (!column_number(st, 0, 1, UINT32_MAX, &number))
		return "a number";
	if (!column_number(st, 1, 0, max_id, &owner) || !column_number(st, 2, 0, max_id, &gid))
		return "an owner";
	if (!column_groups(st, 3, groups, &f->n_groups, lack))
		return "the groups";
	if (!column_text(st, 4, &f->name, lack) || f->name[0] == '\0' || !column_text(st, 5, &f->digest, lack))
		return "a name";
	if (!column_text(st, 6, &f->spec, lack) || !json_is_value(f->spec, strlen(f->spec)))
		return "a spec";
	if (!column_text(st, 7, &f->path, lack) || (f->path[0] != '/' && f->path[0] != '\0'))
		return "a path";
	if (!column_number(st, 8, INT64_MIN, INT64_MAX, &f->provisioned) ||
	    !column_number(st, 9, INT64_MIN, INT64_MAX, &f->reserved) ||
	    !column_number(st, 10, INT64_MIN, INT64_MAX, &f->max_cells) ||
	    !column_number(st, 11, INT64_MIN, INT64_MAX, &f->created_ms) || !column_number(st, 12, 0, 2, &f->snapshot))
		return "a setting";
	f->number = (uint32_t)number;
	f->owner = (uid_t)owner;
	f->gid = (gid_t)gid;
	f->groups = *groups;
	return NULL;
}

static void tell_damaged(const struct store *s, struct sqlite3_stmt *st, const struct err *why)
{
	int64_t number, owner;
	bool lack = false;
	const char *name;

	if (!column_number(st, 0, 1, UINT32_MAX, &number))
		number = 0;
	if (!column_number(st, 1, 0, (int64_t)UINT32_MAX - 1, &owner) || !column_text(st, 4, &name, &lack))
		name = NULL;
	s->damaged(s->damaged_arg, (uint32_t)number, name ? (uid_t)owner : 0, name, why);
}

static int give_row(const struct store *s, struct sqlite3_stmt *st, int (*fn)(const struct stored *f, void *arg),
		    void *arg, struct err *bad, struct err *e)
{
	AUTO_FREE gid_t *groups = NULL;
	struct stored f = {0};
	bool lack = false;
	const char *wrong = read_row(st, &f, &groups, &lack);
	struct err why = {0};
	char how[80];

	if (lack)
		return err_oom(e);
	if (!wrong)
		return fn(&f, arg);
	(void)snprintf(how, sizeof how, "row %lld: %s cannot be right", (long long)sqlite3_column_int64(st, 0), wrong);
	(void)store_damaged(s, &why, "reading", how);
	if (s->damaged)
		tell_damaged(s, st, &why);
	else
		(void)err_adopt(bad, &why);
	return 0;
}

static int give_rows(const struct store *s, struct sqlite3_stmt *st, int bound,
		     int (*fn)(const struct stored *f, void *arg), void *arg, struct err *e)
{
	struct err bad = {0};
	int code = bound, r = 0;

	if (code == SQLITE_OK)
		while (r == 0 && (code = sqlite3_step(st)) == SQLITE_ROW)
			r = give_row(s, st, fn, arg, &bad, e);
	if (r == 0 && code != SQLITE_DONE)
		r = store_fail(s, code, e, "reading");
	(void)sqlite3_reset(st);
	(void)sqlite3_clear_bindings(st);
	if (r == 0 && bad.kind != ERR_NONE)
		r = err_adopt(e, &bad);
	return r;
}

int store_count(struct store *s, uid_t owner, const char *but, uint32_t *ret, struct err *e)
{
	int code = s->db ? store_bind_key(s->count, owner, but) : SQLITE_OK, r = 0;

	if (!s->db)
		return store_not_open(e);
	if (code == SQLITE_OK)
		code = sqlite3_step(s->count);
	if (code == SQLITE_ROW)
		*ret = (uint32_t)sqlite3_column_int64(s->count, 0);
	else
		r = store_fail(s, code, e, "counting");
	(void)sqlite3_reset(s->count);
	(void)sqlite3_clear_bindings(s->count);
	return r;
}

int store_from(struct store *s, uint32_t after, int (*fn)(const struct stored *f, void *arg), void *arg, struct err *e)
{
	return s->db ? give_rows(s, s->from, sqlite3_bind_int64(s->from, 1, after), fn, arg, e) : store_not_open(e);
}

int store_each(struct store *s, int (*fn)(const struct stored *f, void *arg), void *arg, struct err *e)
{
	return s->db ? give_rows(s, s->from, sqlite3_bind_int64(s->from, 1, INT64_MIN), fn, arg, e) : store_not_open(e);
}

int store_at(struct store *s, uint32_t number, int (*fn)(const struct stored *f, void *arg), void *arg, struct err *e)
{
	return s->db ? give_rows(s, s->at, sqlite3_bind_int64(s->at, 1, number), fn, arg, e) : store_not_open(e);
}

int store_find(struct store *s, uid_t owner, const char *name, int (*fn)(const struct stored *f, void *arg), void *arg,
	       struct err *e)
{
	return s->db ? give_rows(s, s->find, store_bind_key(s->find, owner, name), fn, arg, e) : store_not_open(e);
}
