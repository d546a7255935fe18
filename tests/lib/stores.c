#define TAP_NO_MAIN
#include "tests/lib/stores.h"

#include "base/mem.h"
#include "base/str.h"
#include "tests/lib/tap.h"

#include <sqlite3.h>
#include <unistd.h>

static void forget(struct stores *t)
{
	for (size_t i = 0; i < t->n; i++) {
		const struct stored *f = &t->all[i];

		free((void *)(uintptr_t)f->groups);
		free((void *)(uintptr_t)f->name);
		free((void *)(uintptr_t)f->digest);
		free((void *)(uintptr_t)f->spec);
		free((void *)(uintptr_t)f->path);
	}
	t->n = 0;
}

static void open_it(struct stores *t)
{
	struct err e = {0};

	if (!CHECK_OK(store_open(&t->s, t->file, &e), &e))
		abort();
}

void stores_setup(struct stores *t)
{
	*t = (struct stores){.dir = "/tmp/fsbox-store-XXXXXX"};
	if (!mkdtemp(t->dir))
		abort();
	(void)snprintf(t->file, sizeof t->file, "%s/functions", t->dir);
	open_it(t);
}

void stores_done(struct stores *t)
{
	char log[sizeof t->file + 8];

	store_close(&t->s);
	forget(t);
	free(t->text);
	t->text = NULL;
	CHECK_EQ(unlink(t->file), 0);
	(void)snprintf(log, sizeof log, "%s-wal", t->file); /* there after a crash alone */
	(void)unlink(log);
	CHECK_EQ(rmdir(t->dir), 0);
}

void stores_reopen(struct stores *t)
{
	store_close(&t->s);
	open_it(t);
}

uint32_t stores_put(struct stores *t, uid_t owner, const char *name, const char *spec)
{
	const struct stored f = {.owner = owner, .gid = owner, .name = name, .digest = "d", .spec = spec, .path = "/p"};
	struct err e = {0};
	uint32_t number = 0;

	CHECK_OK(store_put(&t->s, &f, &number, &e), &e);
	return number;
}

static char *copy(const char *s)
{
	char *c = strdup(s);

	if (!c)
		abort();
	return c;
}

static int take(const struct stored *f, void *arg)
{
	struct stores *t = arg;
	struct stored *to = &t->all[t->n];
	size_t bytes = f->n_groups * sizeof *f->groups;
	gid_t *groups = malloc(bytes + 1);

	if (t->n == ARRAY_LEN(t->all) || !groups)
		abort();
	memcpy(groups, f->groups, bytes);
	*to = *f;
	to->groups = groups;
	to->name = copy(f->name);
	to->digest = copy(f->digest);
	to->spec = copy(f->spec);
	to->path = copy(f->path);
	t->n++;
	return 0;
}

void stores_look(struct stores *t)
{
	struct err e = {0};

	forget(t);
	CHECK_OK(store_each(&t->s, take, t, &e), &e);
}

const char *stores_text(struct stores *t)
{
	struct buf b = {0};

	stores_look(t);
	buf_puts(&b, "");
	for (size_t i = 0; i < t->n; i++)
		buf_printf(&b, "%u: %u/%s %s\n", t->all[i].number, t->all[i].owner, t->all[i].name, t->all[i].spec);
	free(t->text);
	t->text = b.data;
	return b.data ? b.data : "";
}

void stores_sql(struct stores *t, const char *sql)
{
	if (!CHECK_EQ(sqlite3_exec(t->s.db, sql, NULL, NULL, NULL), SQLITE_OK))
		tap_note("  %s: %s", sql, sqlite3_errmsg(t->s.db));
}

void stores_raw(struct stores *t, const char *sql)
{
	sqlite3 *db = NULL;

	if (!CHECK_EQ(sqlite3_open(t->file, &db), SQLITE_OK) ||
	    !CHECK_EQ(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK))
		tap_note("  %s: %s", sql, sqlite3_errmsg(db));
	(void)sqlite3_close(db);
}
