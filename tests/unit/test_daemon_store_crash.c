/* The store of functions when something goes wrong in the middle: the daemon is killed before each of its system calls on
 * files, each of them fails once, the disk is full, the file is damaged or replaced while it is open. What was acknowledged
 * is there, what failed has not happened, and the daemon can go on.
 * time-limit: 300 */
#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"
#include "tests/lib/interrupt.h"
#include "tests/lib/stores.h"
#include "tests/lib/tap.h"

#include <fcntl.h>
#include <sched.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { STEPS_MAX = 400 };

static struct stores t;

/* What the child did, in memory that both have. */
static struct report {
	int open, put, remove, again; /* results; 1 while it was not called */
	struct err e_open, e_put, e_remove;
} * report;

#define BEFORE  "1: 1/f {\"v\": 1}\n2: 1/g {}\n"
#define PUT     "2: 1/g {}\n3: 1/f {\"v\": 2}\n"
#define REMOVED "3: 1/f {\"v\": 2}\n"

static void setup(void)
{
	if (!report)
		report = mmap(NULL, sizeof *report, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (report == MAP_FAILED)
		abort();
	*report = (struct report){.open = 1, .put = 1, .remove = 1, .again = 1};
	stores_setup(&t);
	CHECK_EQ(stores_put(&t, 1, "f", "{\"v\": 1}"), 1);
	CHECK_EQ(stores_put(&t, 1, "g", "{}"), 2);
	store_close(&t.s);
}

static int change(void *arg)
{
	const struct stored f = {.owner = 1, .name = "f", .digest = "d", .spec = "{\"v\": 2}", .path = "/p"};
	struct err e = {0};
	uint32_t number;
	bool existed;

	(void)arg;
	report->open = store_open(&t.s, t.file, &report->e_open);
	if (report->open < 0)
		return 0;
	report->put = store_put(&t.s, &f, &number, &report->e_put);
	report->remove = store_remove(&t.s, 1, "g", &existed, &report->e_remove);
	/* After a failure, the next try. */
	report->again = 0;
	if (report->put < 0)
		report->again = store_put(&t.s, &f, &number, &e);
	if (report->again == 0 && report->remove < 0)
		report->again = store_remove(&t.s, 1, "g", &existed, &e);
	store_close(&t.s);
	return 0;
}

/* What the next daemon finds is one of the states between the calls, and not one before what was acknowledged. */
static void check_found(unsigned step)
{
	stores_reopen(&t);

	const char *found = stores_text(&t);
	bool ok = report->remove == 0 ? strcmp(found, REMOVED) == 0
		  : report->put == 0  ? strcmp(found, REMOVED) == 0 || strcmp(found, PUT) == 0
				      : strcmp(found, BEFORE) == 0 || strcmp(found, PUT) == 0;
	if (!CHECK(ok))
		tap_note("  killed at step %u (put %d, remove %d):\n%s", step, report->put, report->remove, found);
	CHECK_GT(stores_put(&t, 2, "h", "{}"), 2); /* and it is of use, with new numbers */
}

TEST(killed_before_any_call_what_was_acknowledged_is_there)
{
	unsigned step = 0;
	enum interrupt_end end;

	do {
		int status;

		setup();
		end = interrupt_run(change, NULL, INTERRUPT_ALL, ++step, 0, &status);
		if (end == INTERRUPT_IMPOSSIBLE)
			SKIP_HOST("nothing may be traced here");
		check_found(step);
		stores_done(&t);
	} while (end == INTERRUPT_REACHED && step < STEPS_MAX);
	CHECK_EQ(end, INTERRUPT_DONE);
	CHECK_GT(step, 15);
}

/* A failure of the disk, or its being full, in words; SQLite does not always say which. */
static void check_words(const struct err *e, int r)
{
	if (r >= 0)
		return;
	CHECK(e->msg[0] && e->where[0]);
	if (!CHECK(e->kind == ERR_SYSTEM || e->kind == ERR_LIMIT))
		tap_note("  %s (%s)", e->msg, err_kind_name(e->kind));
}

static void fail_each_call(int error, enum interrupt_set set)
{
	unsigned step = 0, failed = 0, full = 0;
	enum interrupt_end end;

	do {
		int status;

		setup();
		end = interrupt_run(change, NULL, set, ++step, error, &status);
		if (end == INTERRUPT_IMPOSSIBLE)
			SKIP_HOST("nothing may be traced here");
		check_words(&report->e_open, report->open);
		check_words(&report->e_put, report->put);
		check_words(&report->e_remove, report->remove);
		failed += report->open < 0 || report->put < 0 || report->remove < 0;
		full += report->e_put.kind == ERR_LIMIT && strstr(report->e_put.msg, "the disk is full");
		stores_reopen(&t);
		if (!CHECK_EQ(report->again, report->open < 0 ? 1 : 0))
			tap_note("  step %u: no second try: put %d %s, remove %d %s", step, report->put,
				 report->e_put.msg, report->remove, report->e_remove.msg);
		const char *found = stores_text(&t);
		const char *last = strrchr(found, ':'); /* a second try has a number of its own */
		if (report->open < 0)
			CHECK_STREQ(found, BEFORE);
		else if (!CHECK(strstr(found, ": 1/f {\"v\": 2}\n") && strchr(found, '\n')[1] == '\0'))
			tap_note("  step %u: %s%s", step, found, last);
		stores_done(&t);
	} while (end == INTERRUPT_REACHED && step < STEPS_MAX);
	CHECK_EQ(end, INTERRUPT_DONE);
	CHECK_GT(failed, 3);
	CHECK_EQ(full > 0, error == ENOSPC);
}

TEST(a_write_that_finds_no_room_is_an_error_and_the_next_try_succeeds)
{
	fail_each_call(ENOSPC, INTERRUPT_CHANGES);
}

TEST(a_disk_that_fails_is_an_error_and_the_next_try_succeeds)
{
	fail_each_call(EIO, INTERRUPT_CHANGES);
}

/* ---- Reading that breaks off ---- */

enum { ROWS = 60 };

/* What the child has read, in memory that both have. */
static struct reading {
	int open, first, second; /* results; 1 while it was not called */
	uint32_t n_first, n_second;
	bool wrong; /* another row than the next one */
	struct err e;
} * reading;

/* Of more pages than SQLite is allowed to keep. */
static void setup_rows(void)
{
	static char spec[3000];

	memset(spec, ' ', sizeof spec - 1);
	memcpy(spec, "{}", 2);
	stores_setup(&t);
	for (uid_t i = 1; i <= ROWS; i++)
		CHECK_EQ(stores_put(&t, i, "f", spec), i);
	store_close(&t.s);
}

static bool keep_no_pages(void)
{
	return sqlite3_exec(t.s.db, "PRAGMA cache_size = 1", NULL, NULL, NULL) == SQLITE_OK &&
	       sqlite3_db_release_memory(t.s.db) == SQLITE_OK;
}

static int note_row(const struct stored *f, void *arg)
{
	uint32_t *n = arg;

	reading->wrong = reading->wrong || f->number != ++*n || f->owner != f->number;
	return 0;
}

static int read_twice(void *arg)
{
	struct err e = {0};

	(void)arg;
	reading->open = store_open(&t.s, t.file, &reading->e);
	if (reading->open < 0 || !keep_no_pages())
		return 0;
	reading->first = store_each(&t.s, note_row, &reading->n_first, &reading->e);
	reading->second = store_each(&t.s, note_row, &reading->n_second, &e);
	store_close(&t.s);
	return 0;
}

static void begin_reading(void)
{
	if (!reading)
		reading = mmap(NULL, sizeof *reading, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (reading == MAP_FAILED)
		abort();
	*reading = (struct reading){.open = 1, .first = 1, .second = 1};
}

static void check_reading(unsigned step)
{
	const struct err *e = &reading->e;

	if (!CHECK(e->kind == ERR_SYSTEM && e->code == EIO && e->msg[0] && e->where[0]))
		tap_note("  step %u: %s: %s (%d, %s), %u rows", step, e->where, e->msg, e->code, err_kind_name(e->kind),
			 reading->n_first);
}

TEST(a_disk_that_fails_while_it_is_read_ends_it_with_an_error_and_the_next_reading_gives_all)
{
	unsigned step = 0, middle = 0;
	enum interrupt_end end;

	setup_rows();
	do {
		int status;

		begin_reading();
		end = interrupt_run(read_twice, NULL, INTERRUPT_ALL, ++step, EIO, &status);
		if (end == INTERRUPT_IMPOSSIBLE)
			SKIP_HOST("nothing may be traced here");
		CHECK(!reading->wrong);
		if (reading->open < 0)
			continue;
		middle += reading->first < 0 && reading->n_first > 0 && reading->n_first < ROWS;
		if (reading->first < 0)
			check_reading(step);
		else if (!CHECK_EQ(reading->n_first, ROWS))
			tap_note("  step %u: an end without an error", step);
		/* It is the second one that may have failed. */
		if (reading->first < 0 && !(CHECK_EQ(reading->second, 0) && CHECK_EQ(reading->n_second, ROWS)))
			tap_note("  step %u", step);
	} while (end == INTERRUPT_REACHED && step < 2 * STEPS_MAX);
	CHECK_EQ(end, INTERRUPT_DONE);
	CHECK_GT(middle, 10);
	stores_done(&t);
}

static bool overwrite(off_t from, size_t len)
{
	static char garbage[65536];
	int fd = open(t.file, O_WRONLY | O_CLOEXEC);

	memset(garbage, 0xa5, sizeof garbage);
	/* Not closed: with it the locks of this process would go (fcntl(2)). */
	return fd_valid(fd) && len <= sizeof garbage && pwrite(fd, garbage, len, from) == (ssize_t)len;
}

static int damage_at_fifth(const struct stored *f, void *arg)
{
	uint32_t *n = arg;

	CHECK_EQ(f->number, ++*n);
	if (*n == 5)
		CHECK(overwrite(96 << 10, 65536));
	return 0;
}

TEST(a_file_that_is_damaged_while_it_is_read_ends_it_with_an_error)
{
	struct err e = {0}, put = {0}, again = {0};
	const struct stored f = {.owner = 99, .name = "g", .digest = "d", .spec = "{}"};
	uint32_t n = 0, number;

	setup_rows();
	stores_reopen(&t);
	CHECK(keep_no_pages());
	CHECK_EQ(store_each(&t.s, damage_at_fifth, &n, &e), -EBADMSG);
	CHECK(n >= 5 && n < ROWS);
	CHECK(e.kind == ERR_SYSTEM && e.where[0]);
	CHECK_CONTAINS(e.msg, "the file is damaged");
	/* Whatever else is done with it ends, with words when it fails. */
	if (store_put(&t.s, &f, &number, &put) < 0)
		CHECK(put.msg[0] && put.where[0]);
	store_close(&t.s);
	CHECK_EQ(store_open(&t.s, t.file, &again), -EBADMSG);
	CHECK(!t.s.db);
	stores_done(&t);
}

static int stop_at_first(const struct stored *f, void *arg)
{
	*(uint32_t *)arg = f->number;
	return 1;
}

TEST(a_file_that_is_no_database_any_more_between_two_rows_is_an_error)
{
	struct err e = {0}, first = {0};
	uint32_t number = 0;

	setup_rows();
	stores_reopen(&t);
	CHECK_EQ(store_from(&t.s, 0, stop_at_first, &number, &first), 1);
	CHECK_EQ(number, 1);
	CHECK(overwrite(0, 100) && keep_no_pages());
	CHECK_EQ(store_from(&t.s, number, stop_at_first, &number, &e), -EBADMSG);
	CHECK_CONTAINS(e.msg, "not a database");
	CHECK_EQ(number, 1);
	stores_done(&t);
}

/* ---- Another file in its place ---- */

TEST(what_was_written_to_a_file_that_was_moved_away_stays_with_it)
{
	char new[sizeof t.file + 4], old[sizeof t.file + 4], log[sizeof t.file + 8];
	struct stores other = {0};

	stores_setup(&t);
	(void)stores_put(&t, 1, "f", "{\"v\": 1}");
	(void)snprintf(old, sizeof old, "%s.o", t.file);
	(void)snprintf(new, sizeof new, "%s.n", t.file);
	(void)snprintf(log, sizeof log, "%s-wal", t.file);
	memcpy(other.file, new, sizeof new <= sizeof other.file ? sizeof new : sizeof other.file);
	stores_reopen(&other);
	(void)stores_put(&other, 2, "g", "{}");
	(void)stores_put(&other, 2, "h", "{}");
	store_close(&other.s);
	CHECK(!store_is_moved(&t.s));
	/* As somebody does it who has repaired a copy. */
	CHECK(rename(t.file, old) == 0);
	CHECK(store_is_moved(&t.s));
	CHECK(rename(new, t.file) == 0);
	CHECK(store_is_moved(&t.s));
	(void)stores_put(&t, 1, "f", "{\"v\": 2}");
	stores_reopen(&t);
	CHECK(!store_is_moved(&t.s));
	CHECK_STREQ(stores_text(&t), "1: 2/g {}\n2: 2/h {}\n");
	store_close(&t.s);
	/* And the old one is whole, wherever it is. */
	CHECK(rename(old, t.file) == 0 && access(log, F_OK) < 0);
	stores_reopen(&t);
	CHECK_STREQ(stores_text(&t), "2: 1/f {\"v\": 2}\n");
	stores_done(&t);
}

TEST(a_log_that_was_put_there_with_another_file_is_that_ones)
{
	char new[sizeof t.file + 4], log[sizeof t.file + 8], new_log[sizeof new + 8];
	struct stores other = {0};
	pid_t pid;
	int status = 0;

	stores_setup(&t);
	(void)stores_put(&t, 1, "f", "{}");
	(void)snprintf(new, sizeof new, "%s.n", t.file);
	(void)snprintf(log, sizeof log, "%s-wal", t.file);
	(void)snprintf(new_log, sizeof new_log, "%s-wal", new);
	pid = fork();
	if (pid == 0) { /* which leaves its log behind */
		memcpy(other.file, new, sizeof new <= sizeof other.file ? sizeof new : sizeof other.file);
		stores_reopen(&other);
		(void)stores_put(&other, 2, "g", "{}");
		_exit(0);
	}
	REQUIRE(waitpid(pid, &status, 0) == pid && status == 0);
	CHECK(rename(new_log, log) == 0 && rename(new, t.file) == 0);
	stores_reopen(&t);
	CHECK_STREQ(stores_text(&t), "1: 2/g {}\n");
	stores_done(&t);
}

/* ---- A disk that is full and stays so ---- */

static bool write_text(const char *file, const char *text)
{
	return fd_write_file_at(AT_FDCWD, file, text, strlen(text)) == 0;
}

/* Makes this user, and its group, root of the namespace. */
static bool map_ids(uid_t uid, gid_t gid)
{
	char users[32], groups[32];

	(void)snprintf(users, sizeof users, "0 %u 1", uid);
	(void)snprintf(groups, sizeof groups, "0 %u 1", gid);
	return write_text("/proc/self/setgroups", "deny") && write_text("/proc/self/uid_map", users) &&
	       write_text("/proc/self/gid_map", groups);
}

/* A mount namespace of its own, with a small tmpfs over @t.dir. */
static bool small_disk(void)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();

	if (unshare(uid == 0 ? CLONE_NEWNS : CLONE_NEWNS | CLONE_NEWUSER) < 0)
		return false;
	if (uid != 0 && !map_ids(uid, gid))
		return false;
	return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	       mount("tmpfs", t.dir, "tmpfs", MS_NOSUID | MS_NODEV, "size=512k") == 0;
}

static int count_one(const struct stored *f, void *arg)
{
	(void)f;
	++*(uint32_t *)arg;
	return 0;
}

/* Fills the disk with functions. 0, or the number of the line that says what went wrong. */
static int fill(void)
{
	static char spec[8192];
	const char *ballast = "ballast";
	struct stored f = {.digest = "d", .name = "f", .spec = spec};
	struct err open_e = {0}, e = {0}, again = {0}, each = {0};
	uint32_t number, seen = 0;
	AUTO_FD int dir = FD_NONE;

	memset(spec, '1', sizeof spec - 1);
	if (!small_disk())
		return 77;
	dir = open(t.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO_FD int fd = openat(dir, ballast, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || posix_fallocate(fd, 0, 128 << 10) != 0 || store_open(&t.s, t.file, &open_e) < 0)
		return __LINE__;
	while (store_put(&t.s, &f, &number, &e) == 0)
		if (++f.owner > 1000)
			return __LINE__;
	if (e.kind != ERR_LIMIT || !strstr(e.msg, "the disk is full") || f.owner < 10)
		return __LINE__;
	if (store_each(&t.s, count_one, &seen, &each) < 0 || seen != f.owner)
		return __LINE__;
	/* With room it goes on, in the same daemon and in the next. */
	if (unlinkat(dir, ballast, 0) < 0 || ftruncate(fd, 0) < 0 || store_put(&t.s, &f, &number, &again) < 0)
		return __LINE__;
	store_close(&t.s);
	seen = 0;
	if (store_open(&t.s, t.file, &open_e) < 0 || store_each(&t.s, count_one, &seen, &each) < 0)
		return __LINE__;
	return seen == f.owner + 1 ? 0 : __LINE__;
}

TEST(a_full_disk_is_an_error_and_loses_nothing)
{
	int status = 0;

	setup();
	pid_t pid = fork();
	if (pid == 0)
		_exit(fill());
	REQUIRE(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	stores_done(&t);
	if (WEXITSTATUS(status) == 77)
		SKIP_HOST("no mount namespace of one's own here");
	CHECK_EQ(WEXITSTATUS(status), 0);
}
