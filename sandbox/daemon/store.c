#include "daemon/store_parts.h"

#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define APPLICATION 0x66736278 /* "fsbx"; stands in the first migration as well */

/* migrations[N] brings tables of version N to N + 1, and writes that number. Each is one transaction. What has been
 * released is never changed: a new version is a new line. AUTOINCREMENT: a number that was given is not given again, though
 * its function be gone. Groups are gid_t as the machine has them: the file belongs to it. */
static const char *const migrations[] = {
	"CREATE TABLE function ("
	" number INTEGER PRIMARY KEY AUTOINCREMENT CHECK (number BETWEEN 1 AND 4294967295),"
	" owner INTEGER NOT NULL, gid INTEGER NOT NULL, groups BLOB NOT NULL,"
	" name TEXT NOT NULL, digest TEXT NOT NULL, spec TEXT NOT NULL, path TEXT NOT NULL,"
	" provisioned INTEGER NOT NULL, reserved INTEGER NOT NULL, max_cells INTEGER NOT NULL,"
	" created_ms INTEGER NOT NULL,"
	" UNIQUE (owner, name));"
	"PRAGMA application_id = 0x66736278;"
	"PRAGMA user_version = 1;",
	"ALTER TABLE function ADD COLUMN snapshot INTEGER NOT NULL DEFAULT 0;"
	"PRAGMA user_version = 2;",
};
_Static_assert(ARRAY_LEN(migrations) == STORE_VERSION, "a version without its migration");

/* ---- Errors ---- */

int store_damaged(const struct store *s, struct err *e, const char *doing, const char *how)
{
	int r = err_set(e, ERR_SYSTEM, EBADMSG, "kept functions: %s: the file is damaged: %s", doing, how);

	(void)err_where(e, r, "%s", s->file);
	return err_hint(e, r, "move it away: a new one is made, and functions are deployed again");
}

/* SQLite's idea of errno is what the last call of all left behind, which need not be the one that failed: only what says
 * something of the disk or of our limits is taken. 0: nothing. */
static int system_code(const struct store *s)
{
	int code = s->db ? sqlite3_system_errno(s->db) : 0;

	switch (code) {
	case ENOSPC:
	case EDQUOT:
	case EROFS:
	case EACCES:
	case EIO:
	case EMFILE:
	case ENFILE:
		return code;
	default:
		return 0;
	}
}

/* A page that the disk does not give is to SQLite one that is damaged (3.40: SQLITE_IOERR_CORRUPTFS becomes
 * SQLITE_CORRUPT), which nobody should be told to move away. */
static bool disk_failed(const struct store *s)
{
	int code = 0;

	return s->db && sqlite3_file_control(s->db, "main", SQLITE_FCNTL_LAST_ERRNO, &code) == SQLITE_OK && code == EIO;
}

/* The kinds that SQLite's codes have here. What its text says beyond that is kept. */
int store_fail(const struct store *s, int code, struct err *e, const char *doing)
{
	const char *text = s->db ? sqlite3_errmsg(s->db) : sqlite3_errstr(code);
	int sys = system_code(s);
	int r;

	if (code == SQLITE_IOERR_NOMEM)
		return err_oom(e);
	switch (code & 0xff) {
	case SQLITE_NOMEM:
		return err_oom(e);
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		if (!disk_failed(s))
			return store_damaged(s, e, doing, text);
		r = err_sys(e, EIO, "kept functions: %s", doing);
		break;
	case SQLITE_FULL:
		r = err_set(e, ERR_LIMIT, ENOSPC, "kept functions: %s: the disk is full", doing);
		break;
	case SQLITE_TOOBIG:
		r = err_set(e, ERR_LIMIT, E2BIG, "kept functions: %s: a field is larger than %d bytes", doing,
			    STORE_MAX_TEXT);
		break;
	case SQLITE_CONSTRAINT: /* the only one that a caller can break, after 4,294,967,295 deployments */
		r = err_set(e, ERR_LIMIT, EOVERFLOW, "kept functions: %s: all numbers have been given out", doing);
		(void)err_hint(e, r, "move the file away and deploy again: numbers begin anew");
		break;
	case SQLITE_READONLY:
	case SQLITE_PERM:
		r = err_set(e, ERR_DENIED, EROFS, "kept functions: %s: the file cannot be written", doing);
		break;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		r = err_set(e, ERR_BUSY, EBUSY, "kept functions: %s: another program uses the file", doing);
		break;
	case SQLITE_CANTOPEN:
	case SQLITE_IOERR:
		r = sys ? err_sys(e, sys, "kept functions: %s", doing)
			: err_set(e, ERR_SYSTEM, EIO, "kept functions: %s: %s", doing, text);
		break;
	default:
		r = err_set(e, ERR_SYSTEM, EIO, "kept functions: %s: %s", doing, text);
		break;
	}
	return err_where(e, r, "%s", s->file);
}

int store_not_open(struct err *e)
{
	return err_set(e, ERR_SYSTEM, EBADF, "kept functions: the file could not be opened");
}

/* ---- Opening ---- */

static void finalize(struct sqlite3_stmt **st)
{
	(void)sqlite3_finalize(*st);
	*st = NULL;
}

/* The first row's only column: a number into @ret, or text compared with @want. 0 for "ok", 1 for other text. */
static int ask(struct store *s, const char *sql, int64_t *ret, const char *want, struct buf *said)
{
	AUTO(finalize) struct sqlite3_stmt *st = NULL;
	int code = sqlite3_prepare_v2(s->db, sql, -1, &st, NULL);
	const char *text;

	if (code == SQLITE_OK)
		code = sqlite3_step(st);
	if (code != SQLITE_ROW)
		return code == SQLITE_DONE ? SQLITE_CORRUPT : code;
	if (ret)
		*ret = sqlite3_column_int64(st, 0);
	text = want ? (const char *)sqlite3_column_text(st, 0) : NULL;
	if (want && !text)
		return SQLITE_NOMEM;
	if (want && strcmp(text, want) != 0)
		buf_puts(said, text);
	return SQLITE_OK;
}

/* Without a directory that is synced: the file may be missing after a crash of the machine, as if it never was. */
static int make_file(const struct store *s, const char *file, struct err *e)
{
	AUTO_FD int fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_NOCTTY | O_CLOEXEC, 0600);

	if (!fd_valid(fd) && errno != EEXIST)
		return err_where(e, err_sys(e, errno, "kept functions: making the file"), "%s", s->file);
	return 0;
}

static int connect_file(struct store *s, const char *file, int busy_ms, struct err *e)
{
	int code = sqlite3_open_v2(file, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);

	if (code != SQLITE_OK)
		return store_fail(s, code, e, "opening");
	(void)sqlite3_extended_result_codes(s->db, 1);
	(void)sqlite3_busy_timeout(s->db, busy_ms);
	(void)sqlite3_limit(s->db, SQLITE_LIMIT_LENGTH, STORE_MAX_TEXT);
	/* The file is only data: no view or trigger in it may call a function that does more than compute, and nobody may
	 * write its tables of tables. */
	(void)sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	(void)sqlite3_db_config(s->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	if (sqlite3_db_readonly(s->db, "main") == 1)
		return store_fail(s, SQLITE_READONLY, e, "opening");
	code = sqlite3_exec(s->db, "PRAGMA locking_mode = EXCLUSIVE", NULL, NULL, NULL);
	return code == SQLITE_OK ? 0 : store_fail(s, code, e, "locking");
}

/* Whose file is it? 0 when it is ours or empty; nothing is written. */
static int identify(struct store *s, int64_t *ret_version, struct err *e)
{
	int64_t app = 0, tables = 0;
	int code = ask(s, "PRAGMA application_id", &app, NULL, NULL);
	int r;

	if (code == SQLITE_OK)
		code = ask(s, "PRAGMA user_version", ret_version, NULL, NULL);
	if (code == SQLITE_OK)
		code = ask(s, "SELECT count(*) FROM sqlite_master", &tables, NULL, NULL);
	if (code != SQLITE_OK)
		return store_fail(s, code, e, "reading");
	if (app == 0 && *ret_version == 0 && tables == 0)
		return 0;
	if (app != APPLICATION) {
		r = err_set(e, ERR_EXISTS, EEXIST, "kept functions: the database belongs to another program");
		(void)err_hint(e, r, "name another file");
		return err_where(e, r, "%s", s->file);
	}
	if (*ret_version > STORE_VERSION) {
		r = err_set(e, ERR_UNSUPPORTED, EOPNOTSUPP,
			    "kept functions: the file has version %lld, and this fsbox knows up to %d",
			    (long long)*ret_version, STORE_VERSION);
		(void)err_hint(e, r, "a newer fsbox has written it: use that one, or another file");
		return err_where(e, r, "%s", s->file);
	}
	return *ret_version >= 1 ? 0 : store_damaged(s, e, "reading", "it has no version");
}

static int check_whole(struct store *s, struct err *e)
{
	AUTO(buf_done) struct buf said = {0};
	int code = ask(s, "PRAGMA quick_check(1)", NULL, "ok", &said);

	if (code != SQLITE_OK)
		return store_fail(s, code, e, "checking");
	if (said.failed)
		return err_oom(e);
	return said.len ? store_damaged(s, e, "checking", said.data) : 0;
}

static int use_log(struct store *s, struct err *e)
{
	AUTO(buf_done) struct buf said = {0};
	int code = ask(s, "PRAGMA journal_mode = WAL", NULL, "wal", &said);

	if (code == SQLITE_OK && (said.len || said.failed))
		code = SQLITE_CANTOPEN; /* it answers with the mode that stays */
	if (code == SQLITE_OK)
		code = sqlite3_exec(s->db, "PRAGMA synchronous = NORMAL; PRAGMA journal_size_limit = 1048576", NULL,
				    NULL, NULL);
	return code == SQLITE_OK ? 0 : store_fail(s, code, e, "starting its log");
}

static int migrate(struct store *s, int64_t version, struct err *e)
{
	for (; version < STORE_VERSION; version++) {
		int code = sqlite3_exec(s->db, "BEGIN IMMEDIATE", NULL, NULL, NULL);

		if (code == SQLITE_OK)
			code = sqlite3_exec(s->db, migrations[version], NULL, NULL, NULL);
		if (code == SQLITE_OK)
			code = sqlite3_exec(s->db, "COMMIT", NULL, NULL, NULL);
		if (code != SQLITE_OK) {
			int r = store_fail(s, code, e, "bringing its tables up to date");

			(void)sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
			return r;
		}
	}
	return 0;
}

static int prepare(struct store *s, const char *sql, struct sqlite3_stmt **ret, struct err *e)
{
	int code = sqlite3_prepare_v3(s->db, sql, -1, SQLITE_PREPARE_PERSISTENT, ret, NULL);

	/* Right identity and version, and yet not these tables. */
	return code == SQLITE_OK      ? 0
	       : code == SQLITE_ERROR ? store_damaged(s, e, "reading its tables", sqlite3_errmsg(s->db))
				      : store_fail(s, code, e, "reading its tables");
}

#define COLUMNS "owner, gid, groups, name, digest, spec, path, provisioned, reserved, max_cells, created_ms, snapshot"

static int prepare_all(struct store *s, struct err *e)
{
	int r = prepare(s, "INSERT OR REPLACE INTO function (" COLUMNS ") VALUES (?,?,?,?,?,?,?,?,?,?,?,?)", &s->put,
			e);

	if (r == 0)
		r = prepare(s, "DELETE FROM function WHERE owner = ? AND name = ?", &s->remove, e);
	if (r == 0)
		r = prepare(s, "DELETE FROM function WHERE number = ?", &s->drop, e);
	if (r == 0)
		r = prepare(s, "SELECT count(*) FROM function WHERE owner = ? AND name <> ?", &s->count, e);
	if (r == 0)
		r = prepare(s, "SELECT number, " COLUMNS " FROM function WHERE number > ? ORDER BY number", &s->from,
			    e);
	if (r == 0)
		r = prepare(s, "SELECT number, " COLUMNS " FROM function WHERE number = ?", &s->at, e);
	if (r == 0)
		r = prepare(s, "SELECT number, " COLUMNS " FROM function WHERE owner = ? AND name = ?", &s->find, e);
	return r;
}

static bool name_of_log(const struct store *s, char *to, size_t size)
{
	const int n = snprintf(to, size, "%s-wal", sqlite3_db_filename(s->db, "main"));

	return n > 0 && (size_t)n < size;
}

/* Which file it is, and which is its log: names may stand for others later. */
static void note_files(struct store *s)
{
	char log[PATH_MAX];
	struct stat st;

	if (stat(sqlite3_db_filename(s->db, "main"), &st) == 0) {
		s->device = st.st_dev;
		s->inode = st.st_ino;
	}
	if (name_of_log(s, log, sizeof log) && stat(log, &st) == 0)
		s->log = st.st_ino;
}

static int open_all(struct store *s, const char *file, int busy_ms, struct err *e)
{
	int64_t version = 0;
	int r = make_file(s, file, e);

	if (r == 0)
		r = connect_file(s, file, busy_ms, e);
	if (r == 0)
		r = identify(s, &version, e);
	if (r == 0)
		r = check_whole(s, e);
	if (r == 0)
		r = use_log(s, e);
	if (r == 0)
		r = migrate(s, version, e);
	if (r == 0)
		r = prepare_all(s, e);
	if (r == 0)
		note_files(s);
	return r;
}

static int open_store(struct store *s, const char *file, int busy_ms, struct err *e)
{
	size_t n = strlen(file);
	int r;

	*s = (struct store){0};
	(void)snprintf(s->file, sizeof s->file, "%s", n < sizeof s->file ? file : file + n - (sizeof s->file - 1));
	r = open_all(s, file, busy_ms, e);
	if (r < 0)
		store_close(s);
	return r;
}

int store_open(struct store *s, const char *file, struct err *e)
{
	return open_store(s, file, STORE_BUSY_MS, e);
}

int store_open_now(struct store *s, const char *file, struct err *e)
{
	return open_store(s, file, 0, e);
}

bool store_is_moved(const struct store *s)
{
	struct stat st;

	if (!s->db || s->inode == 0)
		return false;
	if (stat(sqlite3_db_filename(s->db, "main"), &st) < 0)
		return errno == ENOENT;
	return st.st_ino != s->inode || st.st_dev != s->device;
}

/* Of a file that was moved SQLite leaves the log where it is (3.40, wal.c): beside the file that has taken the place, whose
 * log it would be for the next one who opens that. So what stands in it goes into the file to which it belongs, and the log
 * goes, unless that was replaced as well. */
static void close_moved(struct store *s)
{
	char log[PATH_MAX];
	struct stat st;

	(void)sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
	if (name_of_log(s, log, sizeof log) && stat(log, &st) == 0 && st.st_ino == s->log && st.st_dev == s->device)
		(void)unlink(log);
}

void store_close(struct store *s)
{
	finalize(&s->put);
	finalize(&s->remove);
	finalize(&s->drop);
	finalize(&s->count);
	finalize(&s->from);
	finalize(&s->at);
	finalize(&s->find);
	if (store_is_moved(s))
		close_moved(s);
	(void)sqlite3_close(s->db); /* cannot be busy: its statements are gone */
	s->db = NULL;
}

/* ---- Changes ---- */

/* Runs a statement that gives no rows, and makes it ready for the next time. */
static int run(struct store *s, struct sqlite3_stmt *st, int bound, struct err *e, const char *doing)
{
	int code = bound == SQLITE_OK ? sqlite3_step(st) : bound;
	int r = code == SQLITE_DONE ? 0 : store_fail(s, code, e, doing);

	(void)sqlite3_reset(st); /* gives the same code again */
	(void)sqlite3_clear_bindings(st);
	return r;
}

static int bind_all(struct sqlite3_stmt *st, const struct stored *f)
{
	const int64_t ids[] = {f->owner, f->gid};
	const char *const texts[] = {f->name, f->digest, f->spec, f->path ? f->path : ""};
	const int64_t numbers[] = {f->provisioned, f->reserved, f->max_cells, f->created_ms, f->snapshot};
	int at = 1, code = SQLITE_OK;

	for (size_t i = 0; code == SQLITE_OK && i < ARRAY_LEN(ids); i++)
		code = sqlite3_bind_int64(st, at++, ids[i]);
	/* A blob without an address would be NULL. */
	if (code == SQLITE_OK)
		code = sqlite3_bind_blob64(st, at++, f->n_groups ? (const void *)f->groups : "",
					   f->n_groups * sizeof *f->groups, SQLITE_STATIC);
	for (size_t i = 0; code == SQLITE_OK && i < ARRAY_LEN(texts); i++)
		code = sqlite3_bind_text64(st, at++, texts[i], strlen(texts[i]), SQLITE_STATIC, SQLITE_UTF8);
	for (size_t i = 0; code == SQLITE_OK && i < ARRAY_LEN(numbers); i++)
		code = sqlite3_bind_int64(st, at++, numbers[i]);
	return code;
}

int store_put(struct store *s, const struct stored *f, uint32_t *ret_number, struct err *e)
{
	int r;

	if (!s->db)
		return store_not_open(e);
	if (f->n_groups > STORE_MAX_GROUPS)
		return err_set(e, ERR_LIMIT, E2BIG, "kept functions: more than %d groups", STORE_MAX_GROUPS);
	r = run(s, s->put, bind_all(s->put, f), e, "keeping a function");
	if (r < 0)
		return r;
	*ret_number = (uint32_t)sqlite3_last_insert_rowid(s->db);
	return 0;
}

int store_bind_key(struct sqlite3_stmt *st, uid_t owner, const char *name)
{
	int code = sqlite3_bind_int64(st, 1, owner);

	return code == SQLITE_OK ? sqlite3_bind_text64(st, 2, name, strlen(name), SQLITE_STATIC, SQLITE_UTF8) : code;
}

int store_remove(struct store *s, uid_t owner, const char *name, bool *ret_existed, struct err *e)
{
	int r;

	if (!s->db)
		return store_not_open(e);
	r = run(s, s->remove, store_bind_key(s->remove, owner, name), e, "removing a function");
	if (r == 0)
		*ret_existed = sqlite3_changes(s->db) > 0;
	return r;
}

int store_drop(struct store *s, uint32_t number, struct err *e)
{
	return s->db ? run(s, s->drop, sqlite3_bind_int64(s->drop, 1, number), e, "removing a function")
		     : store_not_open(e);
}
