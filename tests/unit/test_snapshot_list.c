/* The store: names of snapshots, its place, the list, removal by hand and by rule. */
#include "base/clock.h"
#include "base/mem.h"
#include "snapshot/store.h"
#include "tests/lib/snapshots.h"
#include "tests/lib/tap.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

static struct shots s;
static char reason[REASON_SIZE], id[SNAP_ID_LEN + 1];

/* A path below the snapshot @id. */
static const char *in_snapshot(const char *name)
{
	static char path[300];

	(void)snprintf(path, sizeof path, "%s/%s/%s", s.store, id, name);
	return path;
}

static void setup(void)
{
	struct err e = {0};

	shots_setup(&s, shots_memory());
	CHECK_OK(shots_make(&s, id, &e), &e);
	shots_tick();
}

static void check_found(void)
{
	struct err e = {0};
	int r = shots_find(&s, reason, &e);

	if (!CHECK_EQ(r, 1))
		tap_note("  %s; %s", e.msg, reason);
}

/* ---- Names ---- */

TEST(a_unique_beginning_names_a_snapshot)
{
	struct err e = {0};
	struct snap opened;
	char prefix[SNAP_ID_LEN + 1], twin[SNAP_ID_LEN + 1], path[300];

	setup();
	(void)snprintf(prefix, sizeof prefix, "%.6s", id);
	REQUIRE_OK(snap_open(&s.st, prefix, &opened, &e), &e);
	CHECK_STREQ(opened.m.id, id);
	snap_close(&opened);

	memcpy(twin, id, sizeof twin);
	twin[SNAP_ID_LEN - 1] = twin[SNAP_ID_LEN - 1] == '0' ? '1' : '0';
	(void)snprintf(path, sizeof path, "%s/%s", s.store, twin);
	CHECK(mkdir(path, 0700) == 0);
	CHECK_LT(snap_open(&s.st, prefix, &opened, &e), 0);
	CHECK_EQ(e.kind, ERR_SPEC);
	CHECK_CONTAINS(e.msg, "2 snapshots begin with");
	e = (struct err){0};
	CHECK_OK(snap_open(&s.st, id, &opened, &e), &e);
	snap_close(&opened);
	shots_teardown(&s);
}

TEST(what_is_no_id_is_refused_and_an_unknown_one_not_found)
{
	static const char *const wrong[] = {"",
					    "12345",
					    "abcdeg",
					    "ABCDEF",
					    "../../etc",
					    ".new-1",
					    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0"};
	struct snap opened;
	struct err e = {0};

	setup();
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		e = (struct err){0};
		CHECK_LT(snap_open(&s.st, wrong[i], &opened, &e), 0);
		CHECK_EQ(e.kind, ERR_SPEC);
	}
	e = (struct err){0};
	CHECK_LT(snap_open(&s.st, id[0] == '0' ? "111111" : "000000", &opened, &e), 0);
	CHECK_EQ(e.kind, ERR_NOT_FOUND);
	e = (struct err){0};
	CHECK_LT(snap_remove(&s.st, id[0] == '0' ? "111111" : "000000", &e), 0);
	CHECK_EQ(e.kind, ERR_NOT_FOUND);
	shots_teardown(&s);
}

TEST(the_store_is_where_xdg_says)
{
	char path[256], home[64] = "", state[64] = "";
	const char *old_home = secure_getenv("HOME"), *old_state = secure_getenv("XDG_STATE_HOME");
	struct snap_store st;
	struct err e = {0};
	struct stat at;

	(void)snprintf(home, sizeof home, "%s", old_home ? old_home : "");
	(void)snprintf(state, sizeof state, "%s", old_state ? old_state : "");
	shots_setup(&s, "/tmp");
	(void)setenv("HOME", "/home/x", 1);
	(void)unsetenv("XDG_STATE_HOME");
	CHECK_OK(store_default_path(0, path, sizeof path, &e), &e);
	CHECK_STREQ(path, "/var/lib/fsbox/snapshots");
	CHECK_OK(store_default_path(1000, path, sizeof path, &e), &e);
	CHECK_STREQ(path, "/home/x/.local/state/fsbox/snapshots");
	(void)setenv("XDG_STATE_HOME", "relative", 1);
	CHECK_OK(store_default_path(1000, path, sizeof path, &e), &e);
	CHECK_STREQ(path, "/home/x/.local/state/fsbox/snapshots");
	(void)setenv("XDG_STATE_HOME", s.dir, 1);
	CHECK_LT(snap_store_open(NULL, false, &st, &e), 0);
	CHECK_EQ(e.kind, ERR_NOT_FOUND);
	e = (struct err){0};
	REQUIRE_OK(snap_store_open(NULL, true, &st, &e), &e);
	(void)snprintf(path, sizeof path, "%s/fsbox/snapshots", s.dir);
	CHECK_STREQ(st.path, path);
	CHECK(stat(path, &at) == 0 && (at.st_mode & 07777) == 0700);
	snap_store_close(&st);
	(void)unsetenv("XDG_STATE_HOME");
	(void)unsetenv("HOME");
	CHECK_LT(store_default_path(1000, path, sizeof path, &e), 0);
	CHECK_EQ(e.kind, ERR_NOT_FOUND);
	(void)setenv("HOME", home, 1);
	if (old_state)
		(void)setenv("XDG_STATE_HOME", state, 1);
	shots_teardown(&s);
}

/* ---- Removing ---- */

TEST(one_in_use_is_not_removed)
{
	struct err e = {0};
	struct snap opened;

	setup();
	REQUIRE_OK(snap_open(&s.st, id, &opened, &e), &e);
	CHECK_LT(snap_remove(&s.st, id, &e), 0);
	CHECK_EQ(e.kind, ERR_BUSY);
	CHECK(access(in_snapshot("img/core-1.img"), F_OK) == 0);
	snap_close(&opened);
	e = (struct err){0};
	CHECK_OK(snap_remove(&s.st, id, &e), &e);
	CHECK_EQ(shots_count(&s, "", id), 0);
	CHECK_EQ(shots_count(&s, "", "."), 0);
	shots_teardown(&s);
}

/* Makes one more, whose last use was @ago_s seconds ago. */
static void make_used(const char *code, time_t ago_s, char ret_id[SNAP_ID_LEN + 1])
{
	struct err e = {0};

	shots_write(&s, "handler.so", code);
	CHECK_OK(shots_make(&s, id, &e), &e);
	CHECK(utimensat(AT_FDCWD, in_snapshot("stamp"),
			(struct timespec[]){{.tv_sec = time(NULL) - ago_s}, {.tv_sec = time(NULL) - ago_s}}, 0) == 0);
	memcpy(ret_id, id, SNAP_ID_LEN + 1);
}

static void tell(const char *name, uint64_t bytes, void *arg)
{
	struct buf *told = arg;

	CHECK_GT(bytes, 10000);
	buf_printf(told, "%.6s ", name);
}

static int note_info(const struct snap_info *info, void *arg, struct err *e)
{
	struct buf *told = arg;

	(void)e;
	buf_printf(told, "%.6s%s%s ", info->id, info->in_use ? "!" : "", info->damaged ? "?" : "");
	return 0;
}

TEST(gc_removes_by_age_then_by_size_and_nothing_in_use)
{
	char a[65], b[65], c[65], want[64];
	AUTO(buf_done) struct buf told = {0};
	struct err e = {0};
	struct snap used;

	shots_setup(&s, "/tmp");
	make_used("a", 300, a);
	make_used("b", 200, b);
	make_used("c", 100, c);
	CHECK_OK(snap_gc(&s.st, 0, UINT64_MAX, tell, &told, &e), &e);
	CHECK_EQ(told.len, 0);
	CHECK_OK(snap_gc(&s.st, 250 * NS_PER_S, UINT64_MAX, tell, &told, &e), &e);
	(void)snprintf(want, sizeof want, "%.6s ", a);
	CHECK_STREQ(told.data, want);
	buf_drop(&told, told.len);

	REQUIRE_OK(snap_open(&s.st, b, &used, &e), &e); /* the oldest is in use, so the younger one goes */
	CHECK_OK(snap_gc(&s.st, 1, 0, tell, &told, &e), &e);
	(void)snprintf(want, sizeof want, "%.6s ", c);
	CHECK_STREQ(told.data, want);
	CHECK_EQ(shots_count(&s, "", b), 1);
	snap_close(&used);
	shots_teardown(&s);
}

TEST(gc_by_size_removes_the_least_recently_used_first)
{
	char a[65], b[65], c[65], want[64];
	AUTO(buf_done) struct buf told = {0};
	struct snap_info info;
	struct err e = {0};

	shots_setup(&s, "/tmp");
	make_used("b", 200, b);
	make_used("a", 300, a);
	make_used("c", 100, c);
	REQUIRE_OK(snap_info_get(&s.st, a, &info, &e), &e);
	snap_manifest_done(&info.m);
	CHECK_OK(snap_gc(&s.st, 0, 3 * info.bytes - 1, tell, &told, &e), &e);
	(void)snprintf(want, sizeof want, "%.6s ", a);
	CHECK_STREQ(told.data, want);
	shots_teardown(&s);
}

TEST(gc_takes_links_that_lead_nowhere)
{
	struct err e = {0};

	setup();
	store_link_put(s.st.dir, "index", id, id);
	CHECK_EQ(shots_count(&s, "last", ""), 1);
	CHECK_OK(snap_gc(&s.st, 0, UINT64_MAX, NULL, NULL, &e), &e);
	CHECK_EQ(shots_count(&s, "last", "") + shots_count(&s, "index", ""), 2);
	CHECK_OK(snap_gc(&s.st, 0, 0, NULL, NULL, &e), &e);
	CHECK_EQ(shots_count(&s, "last", "") + shots_count(&s, "index", ""), 0);
	CHECK_EQ(shots_count(&s, "", ""), 2); /* the two folders */
	shots_teardown(&s);
}

TEST(the_list_has_the_oldest_use_first_and_shows_use_and_damage)
{
	char a[65], b[65], c[65], want[64];
	AUTO(buf_done) struct buf told = {0};
	struct snap_info info;
	struct err e = {0};
	struct snap used;

	shots_setup(&s, "/tmp");
	make_used("b", 200, b);
	make_used("a", 300, a);
	make_used("c", 100, c);                         /* which is the one that `id` names */
	REQUIRE_OK(snap_open(&s.st, b, &used, &e), &e); /* it is the one used last now */
	shots_tamper(in_snapshot("manifest.json"));
	CHECK_OK(snap_each(&s.st, note_info, &told, &e), &e);
	(void)snprintf(want, sizeof want, "%.6s %.6s? %.6s! ", a, c, b);
	CHECK_STREQ(told.data, want);
	REQUIRE_OK(snap_info_get(&s.st, a, &info, &e), &e);
	CHECK_STREQ(info.m.function, "handler");
	CHECK_EQ(info.created_wall_ns, info.m.taken.wall_ns);
	CHECK_LT(info.used_wall_ns, info.created_wall_ns);
	snap_manifest_done(&info.m);
	CHECK_OK(snap_remove(&s.st, c, &e), &e); /* a damaged one can be removed */
	snap_close(&used);
	shots_teardown(&s);
}

TEST(a_use_is_noted_at_most_once_a_minute)
{
	struct stat first, second;

	setup();
	CHECK(utimensat(AT_FDCWD, in_snapshot("stamp"), (struct timespec[]){{.tv_sec = 1}, {.tv_sec = 1}}, 0) == 0);
	check_found();
	CHECK(stat(in_snapshot("stamp"), &first) == 0);
	CHECK_GT(first.st_mtim.tv_sec, time(NULL) - 10);
	shots_tick();
	check_found();
	CHECK(stat(in_snapshot("stamp"), &second) == 0);
	CHECK_EQ(second.st_mtim.tv_nsec, first.st_mtim.tv_nsec);
	shots_teardown(&s);
}
