/* The store: what is found, what is a miss and why, what is refused. Names, lists and removal: test_snapshot_list.c.
 * Crashes and others at the same time: test_snapshot_crash.c. */
#include "base/fd.h"
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

	shots_setup(&s, "/tmp");
	CHECK_OK(shots_make(&s, id, &e), &e);
	shots_tick();
}

static char *slurp(const char *path)
{
	AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *text = NULL;
	size_t len;

	if (!CHECK(fd >= 0 && fd_read_all(fd, 1 << 20, &text, &len) == 0))
		abort();
	return text;
}

static void overwrite(const char *path, const char *text)
{
	AUTO_FD int fd = FD_NONE;

	(void)chmod(path, 0600);
	fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	CHECK(fd >= 0 && fd_write_all(fd, text, strlen(text)) == 0 && fchmod(fd, 0444) == 0);
}

static void check_damaged(const char *file)
{
	struct err e = {0}, e_open = {0};
	struct snap opened;

	CHECK_LT(shots_find(&s, reason, &e), 0);
	CHECK_EQ(e.kind, ERR_SNAPSHOT_MISMATCH);
	CHECK_CONTAINS(e.msg, file);
	CHECK_STREQ(e.where, file);
	CHECK_LT(snap_open(&s.st, id, &opened, &e_open), 0);
	CHECK_EQ(e_open.kind, ERR_SNAPSHOT_MISMATCH);
}

static void check_found(void)
{
	struct err e = {0};
	int r = shots_find(&s, reason, &e);

	if (!CHECK_EQ(r, 1))
		tap_note("  %s; %s", e.msg, reason);
}

static void check_miss(const char *why)
{
	struct err e = {0};

	CHECK_OK(shots_find(&s, reason, &e), &e);
	CHECK_STREQ(reason, why);
}

/* ---- Found ---- */

TEST(what_was_committed_is_found_as_it_was)
{
	struct err e = {0};
	struct snap_key k;
	struct snap found;
	char text[64];
	struct stat st;

	setup();
	shots_key(&s, &k);
	REQUIRE_OK(snap_find(&s.st, &k, &found, reason, sizeof reason, &e), &e);
	CHECK_STREQ(found.m.id, id);
	CHECK_STREQ(found.m.function, "handler");
	CHECK_STREQ(found.m.target, s.code);
	CHECK_STREQ(found.m.engine, "criu 4.2");
	CHECK_STREQ(found.m.reason, "no snapshot of this function yet");
	CHECK_STREQ(found.m.pipes[3], "pipe:[103]");
	CHECK_EQ(found.m.memory_bytes, UINT64_C(128) << 20);
	CHECK_EQ(found.m.max_pid, 3);
	CHECK_EQ(found.m.n_parts, 3);
	CHECK_STREQ(found.m.parts[2].name, "kernel");
	CHECK_STREQ(found.m.parts[2].value, "6.1");
	CHECK(str_starts(found.m.parts[0].value, "sha256-file:"));
	CHECK(str_starts(found.m.parts[1].value, "sha256-tree:"));
	CHECK_EQ(found.m.n_files, 3);
	CHECK_STREQ(found.m.files[0].name, "img/core-1.img");
	CHECK_EQ(found.m.files[2].size, 10000);
	CHECK_EQ(found.m.n_deps, 1);
	CHECK_STREQ(found.m.deps[0].name, s.lib);
	CHECK_GT(fd_read_file_at(found.images, "core-1.img", text, sizeof text), 0);
	CHECK_STREQ(text, "core");
	CHECK(fstat(found.dir, &st) == 0 && (st.st_mode & 07777) == 0700);
	CHECK(fstat(found.images, &st) == 0 && (st.st_mode & 07777) == 0755);
	CHECK(fstatat(found.images, "core-1.img", &st, 0) == 0 && (st.st_mode & 07777) == 0444);
	CHECK(stat(found.images_path, &st) == 0);
	snap_close(&found);
	snap_key_done(&k);
	shots_teardown(&s);
}

TEST(the_umask_changes_no_mode)
{
	struct stat st;
	mode_t old = umask(077);

	setup();
	(void)umask(old);
	CHECK(stat(in_snapshot("img"), &st) == 0 && (st.st_mode & 07777) == 0755);
	CHECK(stat(in_snapshot("img/core-1.img"), &st) == 0 && (st.st_mode & 07777) == 0444);
	shots_teardown(&s);
}

TEST(commit_gives_it_open_and_locked)
{
	struct err e = {0}, e_remove = {0};
	struct snap_draft d;
	struct snap_key k;
	struct snap made;

	shots_setup(&s, "/tmp");
	REQUIRE_OK(shots_draft(&s, 5000, &d, &e), &e);
	shots_key(&s, &k);
	REQUIRE_OK(snap_draft_commit(&d, &k, &made, &e), &e);
	snap_draft_abort(&d);
	snap_draft_abort(&d);
	CHECK(faccessat(made.images, "pages-1.img", F_OK, 0) == 0);
	CHECK(access(made.images_path, F_OK) == 0);
	CHECK_LT(snap_remove(&s.st, made.m.id, &e_remove), 0);
	CHECK_EQ(e_remove.kind, ERR_BUSY);
	snap_close(&made);
	snap_key_done(&k);
	shots_teardown(&s);
}

TEST(the_same_content_under_another_path_and_date_is_found)
{
	setup();
	CHECK(unlink(s.code) == 0);
	(void)snprintf(s.code, sizeof s.code, "%s/other.so", s.dir);
	shots_write(&s, "other.so", "code 1");
	CHECK(utimensat(AT_FDCWD, s.layer, (struct timespec[]){{0}, {0}}, 0) == 0);
	check_found();
	shots_teardown(&s);
}

TEST(the_index_spares_reading_what_has_not_changed)
{
	char index[SNAP_ID_LEN + 1], link[300];
	struct err e = {0};
	struct snap_key k;
	const char other[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

	setup();
	check_found();
	CHECK_EQ(shots_count(&s, "index", ""), 0); /* what is this new may change once more without a trace */
	struct timespec wait = {.tv_sec = STORE_RACY_S, .tv_nsec = 100 * 1000 * 1000};
	(void)nanosleep(&wait, NULL);
	check_found();
	CHECK_EQ(shots_count(&s, "index", ""), 1);
	check_found();

	/* An entry that names one that is not there is no harm. */
	shots_key(&s, &k);
	CHECK_OK(key_index(&k, index, &e), &e);
	snap_key_done(&k);
	(void)snprintf(link, sizeof link, "%s/index/%s", s.store, index);
	CHECK(unlink(link) == 0 && symlink(other, link) == 0);
	check_found();
	CHECK(unlink(link) == 0 && symlink("../../etc", link) == 0);
	check_found();
	shots_teardown(&s);
}

TEST(a_file_that_was_touched_or_copied_is_digested_and_taken)
{
	char *before, *after;

	setup();
	CHECK(utimensat(AT_FDCWD, in_snapshot("img/pages-1.img"), NULL, 0) == 0);
	before = slurp(in_snapshot("stamp"));
	check_found();
	after = slurp(in_snapshot("stamp"));
	CHECK_STRNE(before, after); /* it was remembered */
	free(before);
	free(after);
	shots_teardown(&s);
}

TEST(tmp_tree_belongs_to_it)
{
	struct err e = {0};
	struct snap_draft d;
	struct snap_key k;
	struct snap made;
	struct stat st;

	shots_setup(&s, "/tmp");
	REQUIRE_OK(shots_draft(&s, 100, &d, &e), &e);
	AUTO_FD int fd = openat(d.dir, "tmp.tree", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	CHECK_EQ(fd_write_all(fd, "tree", 4), 0);
	shots_key(&s, &k);
	REQUIRE_OK(snap_draft_commit(&d, &k, &made, &e), &e);
	CHECK_EQ(made.m.features, SNAP_HAS_TMP);
	CHECK_EQ(made.m.n_files, 4);
	CHECK_STREQ(made.m.files[3].name, "tmp.tree");
	memcpy(id, made.m.id, sizeof id);
	snap_close(&made);
	snap_draft_abort(&d);
	snap_key_done(&k);
	check_found();
	CHECK(stat(in_snapshot("tmp.tree"), &st) == 0 && (st.st_mode & 07777) == 0400);
	shots_tick();
	shots_tamper(in_snapshot("tmp.tree"));
	check_damaged("tmp.tree");
	shots_teardown(&s);
}

/* ---- Misses ---- */

TEST(a_miss_says_what_has_changed)
{
	struct err e = {0};

	shots_setup(&s, "/tmp");
	check_miss("no snapshot of this function yet");
	CHECK_OK(shots_make(&s, id, &e), &e);
	shots_write(&s, "handler.so", "code 2");
	check_miss("code has changed");
	shots_write(&s, "handler.so", "code 1");
	check_found();
	shots_write(&s, "layer/data", "data 2");
	s.kernel = "6.2";
	check_miss("layer 1 and kernel have changed");
	shots_write(&s, "handler.so", "code 2");
	check_miss("code, layer 1 and kernel have changed");
	shots_teardown(&s);
}

TEST(the_reason_stands_in_the_manifest)
{
	struct err e = {0};
	struct snap opened;

	setup();
	shots_write(&s, "handler.so", "code 2");
	CHECK_OK(shots_make(&s, id, &e), &e);
	REQUIRE_OK(snap_open(&s.st, id, &opened, &e), &e);
	CHECK_STREQ(opened.m.reason, "code has changed");
	snap_close(&opened);
	CHECK_OK(shots_make(&s, id, &e), &e);
	REQUIRE_OK(snap_open(&s.st, id, &opened, &e), &e);
	CHECK_STREQ(opened.m.reason, "made anew");
	snap_close(&opened);
	CHECK_OK(snap_remove(&s.st, id, &e), &e);
	check_miss("its last snapshot was removed");
	shots_teardown(&s);
}

TEST(a_changed_library_is_a_miss_and_no_damage)
{
	struct err e = {0}, e_open = {0}, e_verify = {0};
	struct snap opened;
	char why[200];

	setup();
	CHECK(utimensat(AT_FDCWD, s.lib, NULL, 0) == 0);
	check_found();
	shots_tick();
	shots_tamper(s.lib);
	(void)snprintf(why, sizeof why, "library %s has changed", s.lib);
	check_miss(why);
	CHECK_LT(snap_open(&s.st, id, &opened, &e_open), 0);
	CHECK_EQ(e_open.kind, ERR_SNAPSHOT_MISMATCH);
	CHECK_CONTAINS(e_open.msg, why);
	CHECK_LT(snap_verify(&s.st, id, &e_verify), 0);
	CHECK_CONTAINS(e_verify.msg, why);

	CHECK_OK(shots_make(&s, id, &e), &e);
	REQUIRE_OK(snap_open(&s.st, id, &opened, &e), &e);
	CHECK_STREQ(opened.m.reason, why);
	snap_close(&opened);

	shots_write(&s, "libdep.so", "another length");
	check_miss(why);
	CHECK(unlink(s.lib) == 0);
	(void)snprintf(why, sizeof why, "library %s is gone", s.lib);
	check_miss(why);
	CHECK(symlink(s.code, s.lib) == 0);
	CHECK_OK(shots_find(&s, reason, &e), &e);
	CHECK_CONTAINS(reason, "has changed");
	shots_teardown(&s);
}

TEST(snap_matches_names_what_differs)
{
	struct err e = {0};
	struct snap_key k;
	struct snap opened;
	bool same;

	setup();
	REQUIRE_OK(snap_open(&s.st, id, &opened, &e), &e);
	shots_key(&s, &k);
	CHECK_OK(snap_matches(&opened, &k, &same, reason, sizeof reason, &e), &e);
	CHECK(same);
	snap_key_done(&k);
	shots_write(&s, "handler.so", "code 2");
	shots_key(&s, &k);
	CHECK_OK(snap_matches(&opened, &k, &same, reason, sizeof reason, &e), &e);
	CHECK(!same);
	CHECK_STREQ(reason, "code has changed");
	snap_key_done(&k);
	snap_close(&opened);
	shots_teardown(&s);
}

TEST(code_that_changes_while_the_snapshot_is_made_is_refused)
{
	struct err e = {0};
	struct snap_draft d;
	struct snap_key k;
	struct snap found;

	shots_setup(&s, "/tmp");
	shots_key(&s, &k);
	CHECK_EQ(snap_find(&s.st, &k, &found, reason, sizeof reason, &e), 0);
	REQUIRE_OK(shots_draft(&s, 100, &d, &e), &e);
	shots_tick();
	shots_write(&s, "layer/data", "data 2");
	CHECK_LT(snap_draft_commit(&d, &k, &found, &e), 0);
	CHECK_EQ(e.kind, ERR_BUSY);
	CHECK_CONTAINS(e.msg, "layer 1");
	snap_draft_abort(&d);
	snap_key_done(&k);
	CHECK_EQ(shots_count(&s, "", ""), 0);
	shots_teardown(&s);
}

/* ---- Damage ---- */

TEST(a_tampered_byte_is_seen_although_its_times_were_put_back)
{
	setup();
	shots_tamper(in_snapshot("img/pages-1.img"));
	check_damaged("img/pages-1.img");
	shots_teardown(&s);
}

TEST(a_truncated_an_extra_and_a_missing_file_are_named)
{
	AUTO_FD int fd = FD_NONE;

	setup();
	CHECK(chmod(in_snapshot("img/pages-1.img"), 0644) == 0 && truncate(in_snapshot("img/pages-1.img"), 9999) == 0);
	check_damaged("img/pages-1.img");
	shots_teardown(&s);

	setup();
	fd = open(in_snapshot("img/files.img"), O_WRONLY | O_CREAT | O_CLOEXEC, 0444);
	check_damaged("img/files.img");
	CHECK(unlink(in_snapshot("img/files.img")) == 0);
	check_found();
	CHECK(unlink(in_snapshot("img/core-1.img")) == 0);
	check_damaged("img/core-1.img");
	CHECK(symlink("pages-1.img", in_snapshot("img/core-1.img")) == 0);
	check_damaged("img/core-1.img");
	shots_teardown(&s);
}

TEST(a_damaged_manifest_is_named)
{
	char *text;

	setup();
	shots_tamper(in_snapshot("manifest.json"));
	check_damaged("manifest.json");
	shots_teardown(&s);

	setup();
	CHECK(truncate(in_snapshot("manifest.json"), 100) == 0);
	check_damaged("manifest.json");
	CHECK(unlink(in_snapshot("manifest.json")) == 0);
	check_damaged("manifest.json");
	shots_teardown(&s);

	setup();
	text = slurp(in_snapshot("manifest.sha256"));
	CHECK(unlink(in_snapshot("manifest.sha256")) == 0);
	check_damaged("manifest.sha256");
	free(text);
	shots_teardown(&s);
}

TEST(a_snapshot_under_another_ones_name_is_refused)
{
	char other[SNAP_ID_LEN + 1], from[300];

	setup();
	(void)snprintf(from, sizeof from, "%s/%s", s.store, id);
	memcpy(other, id, sizeof other);
	shots_write(&s, "handler.so", "code 2");
	struct err e = {0};
	CHECK_OK(shots_make(&s, id, &e), &e);
	CHECK_OK(snap_remove(&s.st, id, &e), &e);
	CHECK(rename(from, in_snapshot("")) == 0);
	check_damaged("manifest.json");
	shots_teardown(&s);
}

TEST(a_lost_or_garbled_stamp_costs_a_look_at_everything)
{
	char *text;

	setup();
	CHECK(unlink(in_snapshot("stamp")) == 0);
	check_found();
	CHECK(access(in_snapshot("stamp"), F_OK) == 0);
	overwrite(in_snapshot("stamp"), "nonsense");
	check_found();
	text = slurp(in_snapshot("stamp"));
	CHECK(str_starts(text, "fsbox stamp 1\n"));
	free(text);
	CHECK(unlink(in_snapshot("stamp")) == 0);
	shots_tamper(in_snapshot("img/core-1.img"));
	check_damaged("img/core-1.img");
	shots_teardown(&s);
}

/* A stamp that somebody forged for a file that he has changed, with the boot's id @boot. */
static void forge_stamp(const char *file, const char *boot)
{
	struct snap_manifest m;
	struct snap_clock now;
	struct err e = {0};
	AUTO(buf_done) struct buf b = {0};
	AUTO_FD int dir = open(in_snapshot("."), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;
	char word[IDENTITY_SIZE];

	(void)file;
	CHECK_OK(snap_clock_now(&now, &e), &e);
	REQUIRE_OK(check_manifest(dir, id, &m, &e), &e);
	buf_printf(&b, "fsbox stamp 1\nboot %s\n", boot ? boot : now.boot_id);
	for (size_t i = 0; i < m.n_deps; i++) {
		CHECK(stat(m.deps[i].name, &st) == 0);
		identity_put(&st, word);
		buf_printf(&b, "%s\n", word);
	}
	for (size_t i = 0; i < m.n_files; i++) {
		CHECK(fstatat(dir, m.files[i].name, &st, AT_SYMLINK_NOFOLLOW) == 0);
		identity_put(&st, word);
		buf_printf(&b, "%s\n", word);
	}
	overwrite(in_snapshot("stamp"), b.data);
	snap_manifest_done(&m);
}

TEST(digests_are_made_at_the_first_use_after_a_boot_and_by_verify)
{
	struct err e = {0};

	setup();
	CHECK_OK(snap_verify(&s.st, id, &e), &e);
	shots_tamper(in_snapshot("img/pages-1.img"));
	forge_stamp("img/pages-1.img", NULL);
	check_found(); /* only root can have done this: so this is what trust in a stamp means */
	CHECK_LT(snap_verify(&s.st, id, &e), 0);
	CHECK_EQ(e.kind, ERR_SNAPSHOT_MISMATCH);
	CHECK_CONTAINS(e.msg, "img/pages-1.img");
	forge_stamp("img/pages-1.img", "01234567-89ab-cdef-0123-456789abcdef");
	check_damaged("img/pages-1.img");
	shots_teardown(&s);

	setup();
	forge_stamp("img/pages-1.img", "01234567-89ab-cdef-0123-456789abcdef");
	check_found();
	shots_teardown(&s);
}

TEST(what_belongs_to_others_or_is_open_to_them_is_refused)
{
	struct snap_store st;
	struct err e = {0};

	setup();
	CHECK(chmod(in_snapshot("img/core-1.img"), 0666) == 0);
	check_damaged("img/core-1.img");
	CHECK(chmod(in_snapshot("img/core-1.img"), 0444) == 0);
	check_found();
	CHECK(chmod(in_snapshot("."), 0750) == 0);
	check_damaged(".");
	CHECK(chmod(in_snapshot("."), 0700) == 0 && chmod(in_snapshot("img"), 0777) == 0);
	check_damaged("img");
	CHECK(chmod(in_snapshot("img"), 0755) == 0 && chmod(s.store, 0770) == 0);
	CHECK_LT(snap_store_open(s.store, false, &st, &e), 0);
	CHECK_EQ(e.kind, ERR_DENIED);
	CHECK_CONTAINS(e.msg, s.store);
	shots_teardown(&s);
}

TEST(what_belongs_to_another_uid_is_refused)
{
	struct snap_store st;
	struct err e = {0};

	if (geteuid() != 0)
		SKIP("only root can give files away");
	setup();
	CHECK(chown(in_snapshot("img/core-1.img"), 12345, 0) == 0);
	check_damaged("img/core-1.img");
	CHECK(chown(in_snapshot("img/core-1.img"), 0, 0) == 0);
	CHECK(chown(in_snapshot("manifest.json"), 12345, 0) == 0);
	check_damaged("manifest.json");
	CHECK(chown(in_snapshot("manifest.json"), 0, 0) == 0 && chown(in_snapshot("img"), 12345, 0) == 0);
	check_damaged("img");
	CHECK(chown(in_snapshot("img"), 0, 0) == 0 && chown(in_snapshot("."), 12345, 0) == 0);
	check_damaged(".");
	CHECK(chown(in_snapshot("."), 0, 0) == 0);
	check_found();
	CHECK(chown(s.store, 12345, 0) == 0);
	CHECK_LT(snap_store_open(s.store, true, &st, &e), 0);
	CHECK_EQ(e.kind, ERR_DENIED);
	CHECK_CONTAINS(e.msg, "uid 12345");
	shots_teardown(&s);
}

TEST(a_damaged_one_is_replaced_by_the_next)
{
	struct err e = {0};

	setup();
	shots_tamper(in_snapshot("manifest.json"));
	CHECK_OK(shots_make(&s, id, &e), &e);
	check_found();
	shots_teardown(&s);
}

/* ---- Drafts ---- */

TEST(who_uses_a_snapshot_that_is_replaced_goes_on)
{
	struct err e = {0};
	struct snap old;
	char text[64];

	setup();
	REQUIRE_OK(snap_open(&s.st, id, &old, &e), &e);
	CHECK_OK(shots_make(&s, id, &e), &e);
	CHECK_OK(shots_make(&s, id, &e), &e);
	CHECK_GT(fd_read_file_at(old.images, "core-1.img", text, sizeof text), 0);
	CHECK_STREQ(text, "core");
	CHECK_EQ(shots_count(&s, "", ".new-"), 1); /* the old one */
	snap_close(&old);
	check_found();
	CHECK_OK(snap_gc(&s.st, 0, UINT64_MAX, NULL, NULL, &e), &e);
	CHECK_EQ(shots_count(&s, "", "."), 0);
	check_found();
	shots_teardown(&s);
}

TEST(a_draft_is_found_by_nobody_and_leaves_nothing)
{
	struct err e = {0};
	struct snap_draft d, other;
	struct snap peeked;

	shots_setup(&s, "/tmp");
	REQUIRE_OK(shots_draft(&s, 100, &d, &e), &e);
	check_miss("no snapshot of this function yet");
	REQUIRE_OK(snap_draft_begin(&s.st, &other, &e), &e); /* which sweeps, but not the living */
	CHECK(access(d.images_path, F_OK) == 0);
	REQUIRE_OK(snap_draft_peek(&d, &peeked, &e), &e);
	CHECK_STREQ(peeked.m.function, "handler");
	CHECK(faccessat(peeked.images, "core-1.img", F_OK, 0) == 0);
	CHECK_STREQ(peeked.images_path, d.images_path);
	snap_close(&peeked);
	snap_draft_abort(&d);
	snap_draft_abort(&d);
	snap_draft_abort(&other);
	CHECK_EQ(shots_count(&s, "", ""), 0);
	shots_teardown(&s);
}

static void refuse_draft(const char *what, enum err_kind kind, const char *word)
{
	struct err e = {0};
	struct snap_draft d;
	struct snap_key k;
	struct snap made;

	REQUIRE_OK(shots_draft(&s, 100, &d, &e), &e);
	if (strcmp(what, "folder") == 0) {
		CHECK(mkdirat(d.images, "folder", 0700) == 0);
	} else if (strcmp(what, "link") == 0) {
		CHECK(symlinkat("core-1.img", d.images, "link") == 0);
	} else if (strcmp(what, "empty") == 0) {
		CHECK(unlinkat(d.images, "core-1.img", 0) == 0 && unlinkat(d.images, "pages-1.img", 0) == 0 &&
		      unlinkat(d.images, "inventory.img", 0) == 0);
	} else if (strcmp(what, "library") == 0) {
		d.m.deps[0].name = arena_strdup(&d.m.arena, "/nowhere/lib.so");
	} else if (strcmp(what, "name") == 0) {
		CHECK(mknodat(d.images, "a\xff", S_IFREG | 0600, 0) == 0);
	} else {
		(void)snprintf(d.m.pipes[2], sizeof d.m.pipes[2], "socket:[1]");
	}
	shots_key(&s, &k);
	CHECK_LT(snap_draft_commit(&d, &k, &made, &e), 0);
	CHECK_EQ(e.kind, kind);
	CHECK_CONTAINS(e.msg, word);
	snap_draft_abort(&d);
	snap_key_done(&k);
	CHECK_EQ(shots_count(&s, "", ""), 0);
}

TEST(a_draft_that_could_not_be_checked_is_refused)
{
	shots_setup(&s, "/tmp");
	refuse_draft("folder", ERR_SYSTEM, "img/folder");
	refuse_draft("link", ERR_SYSTEM, "img/link");
	refuse_draft("empty", ERR_BUG, "no image");
	refuse_draft("library", ERR_NOT_FOUND, "/nowhere/lib.so");
	refuse_draft("name", ERR_UNSUPPORTED, "UTF-8");
	refuse_draft("pipes", ERR_SPEC, "pipe:[NUMBER]");
	shots_teardown(&s);
}
