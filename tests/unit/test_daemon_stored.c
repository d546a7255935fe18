/* Functions from the time of another fsboxd, while memory, descriptors, the store's disk or its file fail: nothing that is
 * kept may be given up for it. */
#include "base/fd.h"
#include "base/mem.h"
#include "daemon/store_place.h"
#include "tests/lib/lone_daemon.h"
#include "tests/lib/tap.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const f_alone[] = {"f", NULL}, *const a_to_e[] = {"a", "b", "c", "d", "e", NULL};

/* ---- Handed over ---- */

static int hand_over_without_memory(uint64_t n)
{
	struct err e = {0};
	int r;

	WANT(lone_make_store(lone.path, LONE_SPEC, f_alone) && lone_open());
	lone.fail_at = n;
	r = lone_hand_over("f", 0, 1, &e);
	lone.fail_at = 0;
	WANT(!lone_has_sent(SPAWN_FORGET));
	WANT(lone.failed || r == 0);
	WANT(r == 0 ? function_find(&lone.d, LONE_OWNER, "f") != NULL : e.code == ENOMEM);
	return 0;
}

TEST(a_function_is_not_forgotten_for_lack_of_memory)
{
	uint64_t n = 0;

	do
		lone_run(hand_over_without_memory, ++n);
	while (lone_result->failed && lone_result->line == 0 && n < 2000);
	CHECK(!lone_result->failed);
	CHECK_GT(n, 10);
}

static int hand_over_without_descriptor(uint64_t arg)
{
	struct err e = {0};

	(void)arg;
	WANT(lone_make_store(lone.path, "{\"target\": \"/f.so\", \"policy\": \"/p.json\"}", f_alone) && lone_open());
	WANT(lone_hand_over("f", SPAWN_HAS_AFTER, 1, &e) == -EMFILE);
	WANT(!lone_has_sent(SPAWN_FORGET));
	return 0;
}

TEST(a_function_is_not_forgotten_for_lack_of_a_descriptor)
{
	lone_run(hand_over_without_descriptor, 0);
}

/* A spec that another version can read. */
static int hand_over_unreadable(uint64_t n)
{
	struct err e = {0}, why = {0};

	WANT(lone_make_store(lone.path, "{\"of-the-future\": 1}", f_alone) && lone_open());
	WANT(lone_hand_over("f", 0, 1, &e) == 0);
	WANT(strcmp(lone.told, "-f ") == 0 && deploy_check_broken(LONE_OWNER, "f", &why) < 0);
	deploy_mend_broken(&lone.d);
	WANT(!lone_has_sent(SPAWN_FORGET) && deploy_any_broken());
	WANT(sqlite3_exec(lone.d.store.db, "UPDATE function SET spec = '" LONE_SPEC "'", NULL, NULL, NULL) ==
	     SQLITE_OK);
	lone.fail_at = n;
	deploy_mend_broken(&lone.d);
	lone.fail_at = 0;
	WANT(!lone_has_sent(SPAWN_FORGET));
	deploy_mend_broken(&lone.d);
	WANT(function_find(&lone.d, LONE_OWNER, "f") && !deploy_any_broken() && strcmp(lone.told, "-f +f ") == 0);
	return 0;
}

TEST(a_function_that_cannot_be_read_is_kept_until_it_can)
{
	uint64_t n = 0;

	do
		lone_run(hand_over_unreadable, ++n);
	while (lone_result->failed && lone_result->line == 0 && n < 2000);
	CHECK_GT(n, 10);
}

static int hand_over_what_is_gone(uint64_t arg)
{
	struct err e = {0};

	(void)arg;
	WANT(lone_make_store(lone.path, LONE_SPEC, a_to_e) && lone_open());
	WANT(lone_hand_over("f", 0, 1, &e) == 0 && lone_has_sent(SPAWN_FORGET) && !deploy_any_broken());
	return 0;
}

TEST(a_function_whose_row_is_gone_is_forgotten)
{
	lone_run(hand_over_what_is_gone, 0);
}

/* ---- Read ---- */

static bool all_came(void)
{
	return strcmp(lone.began, "a b c d e ") == 0;
}

static bool f_came(void)
{
	return strcmp(lone.began, "f ") == 0;
}

static int fail_in_the_middle(uint64_t rows)
{
	WANT(lone_make_store(lone.path, LONE_SPEC, a_to_e) && lone_open());
	lone.reading = (int)rows;
	deploy_stored(&lone.d);
	WANT(!lone_work_until(lone_never, 5) && strlen(lone.began) == 2 * rows);
	lone.reading = -1;
	WANT(lone_work_until(all_came, 200));
	WANT(!lone_work_until(lone_never, 5) && all_came()); /* each of them once */
	return 0;
}

TEST(a_disk_that_fails_in_the_middle_is_read_to_its_end_later)
{
	for (uint64_t rows = 0; rows <= 5; rows++)
		lone_run(fail_in_the_middle, rows);
}

static int fail_for_long(uint64_t arg)
{
	(void)arg;
	WANT(lone_make_store(lone.path, LONE_SPEC, a_to_e) && lone_open());
	lone.reading = 0;
	deploy_stored(&lone.d);
	WANT(!lone_work_until(lone_never, 40));
	WANT(lone.opened >= 3 && lone.opened <= LONE_OPENINGS);
	/* 1, 2, 4, 8 seconds and so on. */
	for (unsigned i = 1; i < lone.opened; i++)
		WANT(lone.opened_ns[i] - lone.opened_ns[i - 1] >= (1ULL << i) * NS_PER_S);
	lone.reading = -1;
	WANT(lone_work_until(all_came, 200));
	/* From one second on again. */
	lone.reading = 0;
	lone.opened = 0;
	lone.d.reloading = true;
	deploy_next_stored(&lone.d);
	WANT(!lone_work_until(lone_never, 10));
	WANT(lone.opened >= 2);
	return 0;
}

TEST(a_file_that_opens_and_cannot_be_read_is_tried_ever_more_seldom)
{
	lone_run(fail_for_long, 0);
}

static int lack_for_files(uint64_t arg)
{
	(void)arg;
	WANT(lone_make_store(lone.path, LONE_SPEC, f_alone) && lone_open());
	lone.going_on = 3;
	deploy_stored(&lone.d);
	WANT(lone_work_until(f_came, 200) && lone.going_on == 0);
	WANT(strcmp(lone.told, "-f ") == 0); /* once */
	return 0;
}

TEST(a_row_for_which_something_was_lacking_is_read_again)
{
	lone_run(lack_for_files, 0);
}

static int read_without_memory(uint64_t n)
{
	WANT(lone_make_store(lone.path, LONE_SPEC, f_alone) && lone_open());
	lone.fail_at = n;
	deploy_stored(&lone.d);
	lone.fail_at = 0;
	WANT(lone_work_until(f_came, 200));
	return 0;
}

TEST(a_row_is_read_again_whatever_memory_was_lacking_for)
{
	uint64_t n = 0;

	do
		lone_run(read_without_memory, ++n);
	while (lone_result->failed && lone_result->line == 0 && n < 2000);
	CHECK_GT(n, 10);
}

/* ---- Another file ---- */

static bool new_file(char *to, size_t size, const char *const *names)
{
	(void)snprintf(to, size, "%s/new.db", lone.dir);
	return lone_make_store(to, LONE_SPEC, names);
}

static int repair_a_row(uint64_t arg)
{
	char new[128];

	(void)arg;
	WANT(lone_make_store(lone.path, LONE_SPEC, f_alone) &&
	     lone_sql(lone.path, "UPDATE function SET spec = 'x' || spec") && lone_open());
	deploy_stored(&lone.d);
	WANT(strcmp(lone.told, "-f ") == 0 && !lone_work_until(f_came, 10));
	WANT(strcmp(lone.told, "-f ") == 0); /* once, as often as it is read */
	WANT(new_file(new, sizeof new, f_alone) && rename(new, lone.path) == 0);
	WANT(lone_work_until(f_came, 200));
	return 0;
}

TEST(a_damaged_row_comes_back_when_a_file_without_damage_is_put_there)
{
	lone_run(repair_a_row, 0);
}

static int put_slowly(uint64_t arg)
{
	AUTO_FREE char *data = NULL;
	char new[128], garbage[4096];
	struct stat st;
	size_t len;

	(void)arg;
	memset(garbage, 'x', sizeof garbage);
	WANT(lone_write(lone.path, garbage, sizeof garbage) && lone_open());
	deploy_stored(&lone.d);
	WANT(new_file(new, sizeof new, f_alone));
	AUTO_FD int from = open(new, O_RDONLY | O_CLOEXEC);
	WANT(fd_read_all(from, 1 << 20, &data, &len) == 0);
	/* As cp(1) does it: it is empty for a while, and then not whole. */
	AUTO_FD int to = open(lone.path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	WANT(fd_valid(to));
	WANT(!lone_work_until(f_came, 20) && fstat(to, &st) == 0 && st.st_size == 0);
	for (size_t at = 0; at < len; at += 4096) {
		WANT(pwrite(to, data + at, least(len - at, 4096), (off_t)at) > 0);
		WANT(fstat(to, &st) == 0 && (size_t)st.st_size == least(at + 4096, len));
	}
	WANT(lone_work_until(f_came, 200));
	return 0;
}

TEST(a_file_that_is_empty_as_yet_is_nobodys_to_fill)
{
	lone_run(put_slowly, 0);
}

TEST(what_lies_there_counts_when_it_has_stayed_as_it_is)
{
	struct store_place p = {0};
	char file[] = "/tmp/fsbox-place-XXXXXX";
	AUTO_FD int fd = mkostemp(file, O_CLOEXEC);
	uint64_t now = 1000 * NS_PER_S;

	REQUIRE(fd_valid(fd) && write(fd, "x", 1) == 1);
	CHECK(!store_place_settled(&p, file, now));
	CHECK(!store_place_settled(&p, file, now + NS_PER_S / 2));
	CHECK(store_place_settled(&p, file, now += STORE_SETTLES_S * NS_PER_S));
	CHECK(store_place_settled(&p, file, now += NS_PER_S));
	/* Longer, or as long with other bytes. */
	CHECK(write(fd, "x", 1) == 1 && !store_place_settled(&p, file, now += NS_PER_S));
	CHECK(store_place_settled(&p, file, now += NS_PER_S));
	const struct timespec times[] = {{.tv_sec = 7}, {.tv_sec = 7}};
	CHECK(futimens(fd, times) == 0 && !store_place_settled(&p, file, now += NS_PER_S));
	CHECK(store_place_settled(&p, file, now += NS_PER_S));
	/* Without bytes. */
	CHECK(ftruncate(fd, 0) == 0 && !store_place_settled(&p, file, now));
	CHECK(!store_place_settled(&p, file, now + STORE_STAYS_EMPTY_S * NS_PER_S - 1));
	CHECK(store_place_settled(&p, file, now += STORE_STAYS_EMPTY_S * NS_PER_S));
	/* Not there. */
	CHECK_EQ(unlink(file), 0);
	CHECK(!store_place_settled(&p, file, now));
	CHECK(store_place_settled(&p, file, now += NS_PER_S));
}

/* ---- Written ---- */

static bool row_of_f_is_there(void)
{
	uint32_t n = 0;
	struct err e = {0};

	return store_count(&lone.d.store, LONE_OWNER, "other", &n, &e) == 0 && n > 0;
}

static bool row_of_f_is_gone(void)
{
	return !row_of_f_is_there();
}

static bool writable(bool yes)
{
	return sqlite3_exec(lone.d.store.db, yes ? "PRAGMA query_only = 0" : "PRAGMA query_only = 1", NULL, NULL,
			    NULL) == SQLITE_OK;
}

/* As method_undeploy() does. */
static int undeploy(void)
{
	struct function *f = function_find(&lone.d, LONE_OWNER, "f");
	struct err e = {0};
	bool existed = false;
	int r = deploy_remove(&lone.d, LONE_OWNER, "f", &existed, &e);

	if (f)
		deploy_forget(f, "undeployed");
	if (r < 0)
		deploy_remove_later(&lone.d, LONE_OWNER, "f");
	return r;
}

static int undeploy_without_room(uint64_t arg)
{
	struct err e = {0};

	(void)arg;
	WANT(lone_make_store(lone.path, LONE_SPEC, f_alone) && lone_open());
	WANT(lone_hand_over("f", 0, 1, &e) == 0 && writable(false));
	WANT(undeploy() < 0);
	WANT(lone_has_sent(SPAWN_FORGET) && deploy_is_removed(LONE_OWNER, "f"));
	/* Its row is there and does not count. */
	deploy_stored(&lone.d);
	WANT(!lone_work_until(f_came, 5) && lone.began[0] == '\0' && row_of_f_is_there());
	WANT(writable(true) && lone_work_until(row_of_f_is_gone, 200));
	WANT(!deploy_is_removed(LONE_OWNER, "f"));
	return 0;
}

TEST(what_was_undeployed_stays_away_while_its_row_cannot_be_removed)
{
	lone_run(undeploy_without_room, 0);
}

static const struct function *deployed;

static bool is_kept(void)
{
	return !deployed->unkept;
}

static int deploy_again_without_room(uint64_t arg)
{
	struct err e = {0};
	struct function *f;

	(void)arg;
	WANT(lone_make_store(lone.path, LONE_SPEC, f_alone) && lone_open());
	WANT(lone_hand_over("f", 0, 0, &e) == 0 && writable(false));
	WANT(undeploy() < 0);
	f = function_new(&lone.d, LONE_OWNER, "f");
	WANT(f && (f->spec_text = strdup("{\"target\": \"/g.so\"}")) != NULL);
	f->number = LONE_NUMBER + 1;
	f->defined = true;
	function_add(f);
	deploy_keep(f);
	deployed = f;
	WANT(f->unkept && !deploy_is_removed(LONE_OWNER, "f"));
	WANT(!lone_has_sent(SPAWN_FUNCTION_NOTE) && writable(true) && lone_work_until(is_kept, 200));
	WANT(row_of_f_is_there() && lone_has_sent(SPAWN_FUNCTION_NOTE));
	return 0;
}

TEST(what_was_deployed_is_written_when_there_is_room_again)
{
	lone_run(deploy_again_without_room, 0);
}
