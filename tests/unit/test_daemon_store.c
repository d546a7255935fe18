/* Deployed functions: what is kept comes back, numbers are never used again, files that are not ours or not whole are
 * refused in words. Crashes and full disks: test_daemon_store_crash.c. */
#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"
#include "tests/lib/stores.h"
#include "tests/lib/tap.h"

#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

static struct stores t;

/* ---- Kept ---- */

TEST(what_was_kept_comes_back_as_it_was)
{
	static gid_t groups[STORE_MAX_GROUPS];
	AUTO_FREE char *spec = malloc((1 << 20) + 1);
	const struct stored in = {
		.owner = 4294967294U,
		.gid = 4294967294U,
		.groups = groups,
		.n_groups = STORE_MAX_GROUPS,
		.name = "f",
		.digest = "sha256:0",
		.spec = spec,
		.path = "/srv/\xff\xfe'\"; --",
		.provisioned = -1,
		.reserved = INT64_MAX,
		.max_cells = INT64_MIN,
		.created_ms = 1700000000123,
	};
	struct err e = {0};
	uint32_t number = 0;

	REQUIRE(spec);
	memset(spec, ' ', 1 << 20);
	spec[0] = '{';
	spec[(1 << 20) - 1] = '}';
	spec[1 << 20] = '\0';
	for (unsigned i = 0; i < STORE_MAX_GROUPS; i++)
		groups[i] = i * 65537;
	stores_setup(&t);
	REQUIRE_OK(store_put(&t.s, &in, &number, &e), &e);
	for (int again = 0; again < 2; again++) {
		stores_look(&t);
		REQUIRE(t.n == 1);
		const struct stored *out = &t.all[0];
		CHECK_EQ(out->number, number);
		CHECK_EQ(out->owner, in.owner);
		CHECK_EQ(out->gid, in.gid);
		CHECK(out->n_groups == STORE_MAX_GROUPS && memcmp(out->groups, groups, sizeof groups) == 0);
		CHECK_STREQ(out->name, in.name);
		CHECK_STREQ(out->digest, in.digest);
		CHECK(strcmp(out->spec, in.spec) == 0);
		CHECK_STREQ(out->path, in.path);
		CHECK_EQ(out->provisioned, in.provisioned);
		CHECK_EQ(out->reserved, in.reserved);
		CHECK_EQ(out->max_cells, in.max_cells);
		CHECK_EQ(out->created_ms, in.created_ms);
		stores_reopen(&t);
	}
	stores_done(&t);
}

TEST(what_is_empty_stays_empty)
{
	const struct stored in = {.owner = 0, .name = "f", .digest = "", .spec = "{}", .path = NULL};
	struct err e = {0};
	uint32_t number;

	stores_setup(&t);
	CHECK_OK(store_put(&t.s, &in, &number, &e), &e);
	stores_look(&t);
	REQUIRE(t.n == 1);
	CHECK_STREQ(t.all[0].path, "");
	CHECK_STREQ(t.all[0].digest, "");
	CHECK_EQ(t.all[0].n_groups, 0);
	stores_done(&t);
}

TEST(owner_and_name_are_the_key_and_a_new_one_takes_the_place)
{
	stores_setup(&t);
	CHECK_EQ(stores_put(&t, 1, "f", "{\"v\": 1}"), 1);
	CHECK_EQ(stores_put(&t, 2, "f", "{\"v\": 2}"), 2);
	CHECK_EQ(stores_put(&t, 1, "F", "{\"v\": 3}"), 3);
	CHECK_EQ(stores_put(&t, 1, "f", "{\"v\": 4}"), 4);
	CHECK_STREQ(stores_text(&t), "2: 2/f {\"v\": 2}\n3: 1/F {\"v\": 3}\n4: 1/f {\"v\": 4}\n");
	stores_done(&t);
}

TEST(what_is_removed_is_gone_and_removing_it_again_says_so)
{
	struct err e = {0};
	bool existed = false;

	stores_setup(&t);
	(void)stores_put(&t, 1, "f", "{}");
	(void)stores_put(&t, 2, "f", "{}");
	CHECK_OK(store_remove(&t.s, 1, "f", &existed, &e), &e);
	CHECK(existed);
	CHECK_OK(store_remove(&t.s, 1, "f", &existed, &e), &e);
	CHECK(!existed);
	CHECK_OK(store_remove(&t.s, 2, "f' OR '1' = '1", &existed, &e), &e);
	CHECK(!existed);
	CHECK_STREQ(stores_text(&t), "2: 2/f {}\n");
	stores_reopen(&t);
	CHECK_STREQ(stores_text(&t), "2: 2/f {}\n");
	stores_done(&t);
}

TEST(a_row_is_dropped_by_its_number_and_no_newer_one_of_its_name)
{
	struct err e = {0};

	stores_setup(&t);
	(void)stores_put(&t, 1, "f", "{}");
	(void)stores_put(&t, 1, "g", "{}");
	CHECK_EQ(stores_put(&t, 1, "f", "{\"v\": 2}"), 3);
	CHECK_OK(store_drop(&t.s, 1, &e), &e);
	CHECK_STREQ(stores_text(&t), "2: 1/g {}\n3: 1/f {\"v\": 2}\n");
	CHECK_OK(store_drop(&t.s, 3, &e), &e);
	CHECK_STREQ(stores_text(&t), "2: 1/g {}\n");
	stores_done(&t);
}

TEST(rows_are_counted_by_owner_but_for_one_name)
{
	struct err e = {0};
	uint32_t n = 7;

	stores_setup(&t);
	CHECK_OK(store_count(&t.s, 1, "f", &n, &e), &e);
	CHECK_EQ(n, 0);
	(void)stores_put(&t, 1, "f", "{}");
	(void)stores_put(&t, 1, "g", "{}");
	(void)stores_put(&t, 2, "f", "{}");
	(void)stores_put(&t, 1, "f", "{}");
	CHECK_OK(store_count(&t.s, 1, "f", &n, &e), &e);
	CHECK_EQ(n, 1);
	CHECK_OK(store_count(&t.s, 1, "h", &n, &e), &e);
	CHECK_EQ(n, 2);
	stores_done(&t);
}

TEST(a_number_is_never_used_again)
{
	struct err e = {0};
	bool existed;

	stores_setup(&t);
	for (uint32_t i = 1; i <= 20; i++) {
		CHECK_EQ(stores_put(&t, 1, "f", "{}"), i);
		if (i % 2 == 0)
			CHECK_OK(store_remove(&t.s, 1, "f", &existed, &e), &e);
		if (i % 5 == 0)
			stores_reopen(&t);
	}
	stores_done(&t);
}

TEST(when_all_numbers_are_given_out_nothing_changes)
{
	struct stored in = {.owner = 1, .name = "f", .digest = "d", .spec = "{\"v\": 2}"};
	struct err e = {0}, second = {0};
	uint32_t number = 7;

	stores_setup(&t);
	(void)stores_put(&t, 1, "f", "{\"v\": 1}");
	stores_sql(&t, "UPDATE sqlite_sequence SET seq = 4294967294");
	CHECK_EQ(stores_put(&t, 1, "g", "{}"), 4294967295U);
	CHECK_LT(store_put(&t.s, &in, &number, &e), 0);
	CHECK_EQ(e.kind, ERR_LIMIT);
	CHECK_CONTAINS(e.msg, "all numbers have been given out");
	CHECK_EQ(number, 7);
	CHECK_LT(store_put(&t.s, &in, &number, &second), 0);
	CHECK_STREQ(stores_text(&t), "1: 1/f {\"v\": 1}\n4294967295: 1/g {}\n");
	stores_done(&t);
}

TEST(what_is_too_large_is_refused_and_the_store_goes_on)
{
	AUTO_FREE char *spec = malloc(STORE_MAX_TEXT + 2);
	struct stored in = {.owner = 1, .name = "f", .digest = "d", .spec = spec};
	struct err e = {0}, groups = {0};
	uint32_t number;

	REQUIRE(spec);
	memset(spec, '1', STORE_MAX_TEXT + 1);
	spec[STORE_MAX_TEXT + 1] = '\0';
	stores_setup(&t);
	CHECK_LT(store_put(&t.s, &in, &number, &e), 0);
	CHECK_EQ(e.kind, ERR_LIMIT);
	CHECK_CONTAINS(e.msg, "larger than 2097152 bytes");
	in.spec = "{}";
	in.n_groups = STORE_MAX_GROUPS + 1;
	CHECK_LT(store_put(&t.s, &in, &number, &groups), 0);
	CHECK_EQ(groups.kind, ERR_LIMIT);
	CHECK_EQ(stores_put(&t, 1, "g", "{}"), 1);
	CHECK_STREQ(stores_text(&t), "1: 1/g {}\n");
	stores_done(&t);
}

static int stop_at_second(const struct stored *f, void *arg)
{
	(void)f;
	return ++*(int *)arg == 2 ? -77 : 0;
}

TEST(a_reader_that_has_enough_ends_it)
{
	struct err e = {0};
	int seen = 0;

	stores_setup(&t);
	for (int i = 0; i < 5; i++)
		(void)stores_put(&t, (uid_t)i, "f", "{}");
	CHECK_EQ(store_each(&t.s, stop_at_second, &seen, &e), -77);
	CHECK_EQ(seen, 2);
	CHECK_EQ(stores_put(&t, 9, "f", "{}"), 6); /* and no statement is left open */
	stores_look(&t);
	CHECK_EQ(t.n, 6);
	stores_done(&t);
}

static int note_number(const struct stored *f, void *arg)
{
	*(uint32_t *)arg = f->number;
	return f->owner == 3 ? 9 : 0;
}

TEST(one_is_found_by_its_owner_and_name)
{
	struct err e = {0};
	uint32_t number = 0;

	stores_setup(&t);
	for (uid_t i = 1; i <= 4; i++)
		(void)stores_put(&t, i, "f", "{}");
	CHECK_EQ(store_find(&t.s, 2, "f", note_number, &number, &e), 0);
	CHECK_EQ(number, 2);
	CHECK_EQ(store_find(&t.s, 3, "f", note_number, &number, &e), 9);
	CHECK_EQ(number, 3);
	CHECK_EQ(store_find(&t.s, 2, "F", note_number, &number, &e), 0);
	CHECK_EQ(store_find(&t.s, 5, "f", note_number, &number, &e), 0);
	CHECK_EQ(number, 3);
	stores_sql(&t, "UPDATE function SET spec = '{' WHERE owner = 2");
	CHECK_EQ(store_find(&t.s, 2, "f", note_number, &number, &e), -EBADMSG);
	CHECK_CONTAINS(e.msg, "row 2: a spec cannot be right");
	CHECK_EQ(number, 3);
	stores_done(&t);
}

TEST(a_reader_goes_on_behind_a_number)
{
	struct err e = {0};
	uint32_t number = 0;

	stores_setup(&t);
	for (uid_t i = 1; i <= 4; i++)
		(void)stores_put(&t, i, "f", "{}");
	CHECK_EQ(store_from(&t.s, 0, note_number, &number, &e), 9);
	CHECK_EQ(number, 3);
	CHECK_EQ(store_from(&t.s, 3, note_number, &number, &e), 0);
	CHECK_EQ(number, 4);
	number = 0;
	CHECK_EQ(store_from(&t.s, 4, note_number, &number, &e), 0);
	CHECK_EQ(store_from(&t.s, UINT32_MAX, note_number, &number, &e), 0);
	CHECK_EQ(number, 0);
	stores_done(&t);
}

TEST(the_files_are_the_owners_alone)
{
	struct stat st;
	char log[120];

	stores_setup(&t);
	(void)stores_put(&t, 1, "f", "{}");
	CHECK(stat(t.file, &st) == 0 && (st.st_mode & 07777) == 0600);
	(void)snprintf(log, sizeof log, "%s-wal", t.file);
	CHECK(stat(log, &st) == 0 && (st.st_mode & 07777) == 0600 && st.st_size > 0);
	stores_done(&t);
}

TEST(a_store_that_is_not_open_says_so)
{
	struct store s = {0};
	const struct stored in = {.owner = 1, .name = "f", .digest = "d", .spec = "{}"};
	struct err put = {0}, remove = {0}, each = {0};
	uint32_t number;
	bool existed;

	CHECK_LT(store_put(&s, &in, &number, &put), 0);
	CHECK_CONTAINS(put.msg, "could not be opened");
	CHECK_LT(store_remove(&s, 1, "f", &existed, &remove), 0);
	CHECK_CONTAINS(remove.msg, "could not be opened");
	CHECK_LT(store_each(&s, stop_at_second, NULL, &each), 0);
	CHECK_CONTAINS(each.msg, "could not be opened");
	struct err from = {0}, find = {0};
	CHECK_LT(store_from(&s, 1, stop_at_second, NULL, &from), 0);
	CHECK_LT(store_find(&s, 1, "f", stop_at_second, NULL, &find), 0);
	CHECK(from.msg[0] && find.msg[0]);
	store_close(&s);
}

/* ---- Refused ---- */

static void check_refused(enum err_kind kind, int code, const char *words)
{
	struct store s;
	struct err e = {0};

	CHECK_EQ(store_open(&s, t.file, &e), -code);
	CHECK_EQ(e.kind, kind);
	CHECK_CONTAINS(e.msg, words);
	CHECK_STREQ(e.where, t.file);
	CHECK(!s.db);
}

static char *bytes_of(const char *file, size_t *ret_len)
{
	AUTO_FD int fd = open(file, O_RDONLY | O_CLOEXEC);
	char *data = NULL;

	if (!CHECK(fd >= 0 && fd_read_all(fd, 1 << 24, &data, ret_len) == 0))
		abort();
	return data;
}

TEST(another_programs_database_is_refused_and_left_as_it_is)
{
	size_t before_len, after_len;

	stores_setup(&t);
	store_close(&t.s);
	CHECK_EQ(unlink(t.file), 0);
	stores_raw(&t, "CREATE TABLE bookmark (url TEXT); INSERT INTO bookmark VALUES ('x');");
	AUTO_FREE char *before = bytes_of(t.file, &before_len);
	check_refused(ERR_EXISTS, EEXIST, "belongs to another program");
	AUTO_FREE char *after = bytes_of(t.file, &after_len);
	CHECK(before_len == after_len && memcmp(before, after, before_len) == 0);
	stores_raw(&t, "DROP TABLE bookmark; PRAGMA application_id = 7;");
	check_refused(ERR_EXISTS, EEXIST, "belongs to another program");
	stores_done(&t);
}

TEST(a_newer_fsboxs_file_is_refused)
{
	stores_setup(&t);
	store_close(&t.s);
	stores_raw(&t, "PRAGMA user_version = 99");
	check_refused(ERR_UNSUPPORTED, EOPNOTSUPP, "version 99, and this fsbox knows up to 2");
	stores_raw(&t, "PRAGMA user_version = 0");
	check_refused(ERR_SYSTEM, EBADMSG, "it has no version");
	stores_done(&t);
}

TEST(a_file_that_is_no_database_is_refused)
{
	static const char text[] =
		"# this is somebody's configuration, and it is long enough for SQLite to have a look at it, "
		"which takes a hundred bytes\n";
	AUTO_FD int fd = FD_NONE;

	stores_setup(&t);
	store_close(&t.s);
	fd = open(t.file, O_WRONLY | O_TRUNC | O_CLOEXEC);
	REQUIRE(fd >= 0 && fd_write_all(fd, text, strlen(text)) == 0);
	check_refused(ERR_SYSTEM, EBADMSG, "damaged: file is not a database");
	stores_done(&t);
}

TEST(tables_that_are_not_ours_are_refused)
{
	stores_setup(&t);
	store_close(&t.s);
	stores_raw(&t, "DROP TABLE function; CREATE TABLE function (a)");
	check_refused(ERR_SYSTEM, EBADMSG, "reading its tables: the file is damaged");
	stores_done(&t);
}

/* Whatever bytes are changed: it is refused as damaged, or what it gives is what an fsbox can have written. */
TEST(damage_anywhere_is_refused_or_survived)
{
	unsigned refused = 0;
	size_t len;

	stores_setup(&t);
	for (uid_t i = 1; i <= 40; i++)
		CHECK_EQ(stores_put(&t, i, "f", "{\"a\": \"0123456789012345678901234567890123456789\"}"), i);
	store_close(&t.s);
	AUTO_FREE char *data = bytes_of(t.file, &len);
	CHECK_GE(len, 3 * 4096);
	for (size_t at = 0; at < len; at += 61) {
		AUTO_FD int fd = open(t.file, O_RDWR | O_TRUNC | O_CLOEXEC);
		struct err e = {0};
		struct store s;
		int seen = -1000;

		REQUIRE(fd >= 0 && fd_write_all(fd, data, len) == 0);
		for (size_t k = at; k < at + 8 && k < len; k++) {
			const char changed = (char)~data[k];

			CHECK(pwrite(fd, &changed, 1, (off_t)k) == 1);
		}
		fd_closep(&fd);
		int r = store_open(&s, t.file, &e);
		if (r == 0)
			r = store_each(&s, stop_at_second, &seen, &e);
		if (r < 0) {
			refused++;
			CHECK(e.msg[0] && e.where[0] && e.kind != ERR_BUG);
		}
		store_close(&s);
	}
	CHECK_GT(refused, 10);
	stores_done(&t);
}

/* The index as well, which nothing would read until a function is replaced. */
TEST(a_page_that_is_lost_is_found_when_it_is_opened)
{
	static const char zeros[4096];
	size_t len;

	stores_setup(&t);
	for (uid_t i = 1; i <= 40; i++)
		CHECK_EQ(stores_put(&t, i, "f", "{}"), i);
	store_close(&t.s);
	AUTO_FREE char *data = bytes_of(t.file, &len);
	for (off_t at = 4096; at < (off_t)len; at += 4096) {
		AUTO_FD int fd = open(t.file, O_RDWR | O_TRUNC | O_CLOEXEC);

		REQUIRE(fd >= 0 && fd_write_all(fd, data, len) == 0);
		CHECK_EQ(pwrite(fd, zeros, sizeof zeros, at), 4096);
		fd_closep(&fd);
		check_refused(ERR_SYSTEM, EBADMSG, "the file is damaged");
	}
	stores_done(&t);
}

TEST(rows_that_cannot_be_right_are_left_out_and_named)
{
	static const char *const wrong[] = {
		"owner = 4294967295", "owner = -1",          "owner = 'x'",         "gid = 4294967296",
		"groups = x'010203'", "groups = 'text'",     "name = ''",           "name = x'61'",
		"spec = '{'",         "spec = ''",           "spec = '1' || x'00'", "path = 'relative'",
		"reserved = 1.5",     "created_ms = 'soon'",
	};

	stores_setup(&t);
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		struct err e = {0};
		char sql[120];
		int seen = -1000;

		stores_sql(&t, "DELETE FROM function");
		(void)stores_put(&t, 1, "before", "{}");
		uint32_t number = stores_put(&t, 2, "wrong", "{}");
		(void)stores_put(&t, 3, "after", "{}");
		(void)snprintf(sql, sizeof sql, "UPDATE function SET %s WHERE owner = 2", wrong[i]);
		stores_sql(&t, sql);
		if (!CHECK_EQ(store_each(&t.s, stop_at_second, &seen, &e), -EBADMSG))
			tap_note("  %s", wrong[i]);
		CHECK_EQ(seen, -998);
		(void)snprintf(sql, sizeof sql, "row %u:", number);
		CHECK_CONTAINS(e.msg, sql);
	}
	stores_done(&t);
}

/* In a child, as a user who may read the file and not write it. */
static int open_read_only(void *arg)
{
	struct store s;
	struct err e = {0};

	(void)arg;
	if (geteuid() == 0 && setresuid(65534, 65534, 65534) < 0)
		return 9;
	if (store_open(&s, t.file, &e) != -EROFS)
		return 1;
	return e.kind == ERR_DENIED && strstr(e.msg, "cannot be written") && strcmp(e.where, t.file) == 0 ? 0 : 2;
}

static int open_used(void *arg)
{
	struct store s;
	struct err e = {0};

	(void)arg;
	if (store_open(&s, t.file, &e) != -EBUSY)
		return 1;
	return e.kind == ERR_BUSY && strstr(e.msg, "another program uses the file") ? 0 : 2;
}

static int in_child(int (*fn)(void *arg))
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0)
		_exit(fn(NULL));
	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(a_file_that_cannot_be_written_is_refused)
{
	stores_setup(&t);
	(void)stores_put(&t, 1, "f", "{}");
	store_close(&t.s);
	CHECK(chmod(t.dir, 0755) == 0 && chmod(t.file, 0444) == 0);
	CHECK_EQ(in_child(open_read_only), 0);
	stores_done(&t);
}

TEST(a_second_daemon_is_refused_and_the_first_goes_on)
{
	stores_setup(&t);
	CHECK_EQ(stores_put(&t, 1, "f", "{}"), 1);
	CHECK_EQ(in_child(open_used), 0);
	CHECK_EQ(stores_put(&t, 1, "g", "{}"), 2);
	stores_done(&t);
}

TEST(a_directory_that_is_not_there_is_an_error)
{
	struct store s;
	struct err e = {0};

	CHECK_LT(store_open(&s, "/nowhere/at/all", &e), 0);
	CHECK_EQ(e.kind, ERR_NOT_FOUND);
	CHECK_STREQ(e.where, "/nowhere/at/all");
	CHECK(!s.db);
}
