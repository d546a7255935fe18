/* Digests, and keys made of them: what changes an id, and what does not. */
#include "base/fd.h"
#include "base/mem.h"
#include "snapshot/store.h"
#include "tests/lib/snapshots.h"
#include "tests/lib/tap.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

static struct shots s;

static const char *below(const char *name)
{
	static char paths[2][200];
	static unsigned turn;
	char *path = paths[turn++ % 2];

	(void)snprintf(path, sizeof paths[0], "%s/%s", s.dir, name);
	return path;
}

/* ---- Digests ---- */

TEST(digests_are_sha256)
{
	/* FIPS 180-4's examples, and a million times "a". */
	static const struct {
		const char *text, *hex;
	} known[] = {
		{"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
		{"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
		{"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
		 "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
	};
	char hex[SNAP_ID_LEN + 1];
	struct snap_digest d;

	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		digest_begin(&d);
		digest_add(&d, known[i].text, strlen(known[i].text));
		digest_end(&d, hex);
		CHECK_STREQ(hex, known[i].hex);
	}
	digest_begin(&d);
	for (int i = 0; i < 1000000; i++)
		digest_add(&d, "a", 1);
	digest_end(&d, hex);
	CHECK_STREQ(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(a_files_digest_ignores_its_offset_and_counts_its_bytes)
{
	char one[SNAP_ID_LEN + 1], two[SNAP_ID_LEN + 1], chunk[4096];
	AUTO_FD int fd = FD_NONE;
	struct snap_digest d;
	struct err e = {0};
	uint64_t size;

	shots_setup(&s, shots_memory());
	fd = open(below("big"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	digest_begin(&d);
	for (int i = 0; i < 200; i++) { /* more than a chunk, and no multiple of it */
		memset(chunk, i, sizeof chunk);
		CHECK_EQ(fd_write_all(fd, chunk, sizeof chunk - 1), 0);
		digest_add(&d, chunk, sizeof chunk - 1);
	}
	digest_end(&d, one);
	CHECK_OK(digest_fd(fd, "big", NULL, two, &size, &e), &e);
	CHECK_STREQ(one, two);
	CHECK_EQ(size, 200 * 4095);
	CHECK_EQ(lseek(fd, 0, SEEK_CUR), 200 * 4095);
	shots_teardown(&s);
}

/* ---- Trees ---- */

static void digest_layer(char hex[SNAP_ID_LEN + 1])
{
	struct err e = {0};
	uint64_t newest;

	CHECK_OK(walk_tree(s.layer, WALK_CONTENTS, NULL, hex, &newest, &e), &e);
}

static void check_differs(char last[SNAP_ID_LEN + 1], const char *what)
{
	char now[SNAP_ID_LEN + 1];

	digest_layer(now);
	if (!CHECK_STRNE(now, last))
		tap_note("  %s", what);
	memcpy(last, now, sizeof now);
}

TEST(a_trees_digest_sees_names_kinds_modes_links_and_contents)
{
	char last[SNAP_ID_LEN + 1];

	shots_setup(&s, shots_memory());
	digest_layer(last);
	shots_write(&s, "layer/data", "data 2");
	check_differs(last, "content");
	CHECK(chmod(below("layer/data"), 0755) == 0);
	check_differs(last, "mode of a file");
	CHECK(chmod(s.layer, 0700) == 0);
	check_differs(last, "mode of the directory itself");
	CHECK(rename(below("layer/data"), below("layer/date")) == 0);
	check_differs(last, "name");
	CHECK(mkdir(below("layer/sub"), 0755) == 0);
	check_differs(last, "empty directory");
	CHECK(rename(below("layer/date"), below("layer/sub/date")) == 0);
	check_differs(last, "place");
	CHECK(symlink("sub/date", below("layer/link")) == 0);
	check_differs(last, "link");
	CHECK(unlink(below("layer/link")) == 0 && symlink("sub/data", below("layer/link")) == 0);
	check_differs(last, "where a link leads");
	CHECK(mknod(below("layer/fifo"), S_IFIFO | 0644, 0) == 0);
	check_differs(last, "fifo, which is not opened");
	CHECK(unlink(below("layer/fifo")) == 0);
	shots_write(&s, "layer/fifo", "");
	check_differs(last, "kind");
	shots_teardown(&s);
}

TEST(a_trees_digest_ignores_times_inodes_and_what_links_lead_to)
{
	char before[SNAP_ID_LEN + 1], after[SNAP_ID_LEN + 1];

	shots_setup(&s, shots_memory());
	shots_write(&s, "outside", "1");
	CHECK(symlink(below("outside"), below("layer/link")) == 0);
	CHECK(symlink(s.dir, below("layer/up")) == 0);
	digest_layer(before);
	shots_write(&s, "outside", "2");
	CHECK(unlink(below("layer/data")) == 0);
	shots_write(&s, "layer/data", "data 1");
	CHECK(utimensat(AT_FDCWD, below("layer/data"), (struct timespec[]){{0}, {0}}, 0) == 0);
	digest_layer(after);
	CHECK_STREQ(before, after);
	shots_teardown(&s);
}

TEST(content_cannot_be_taken_for_structure)
{
	char one[SNAP_ID_LEN + 1], two[SNAP_ID_LEN + 1];

	shots_setup(&s, shots_memory());
	CHECK(mkdir(below("layer/a"), 0755) == 0 && mkdir(below("layer/b"), 0755) == 0);
	shots_write(&s, "layer/a/x", "");
	digest_layer(one);
	CHECK(rename(below("layer/a/x"), below("layer/b/x")) == 0);
	digest_layer(two);
	CHECK_STRNE(one, two);
	CHECK(rename(below("layer/b/x"), below("layer/x")) == 0);
	digest_layer(one);
	CHECK_STRNE(one, two);
	shots_teardown(&s);
}

TEST(a_tree_too_deep_or_unreadable_is_an_error_with_its_path)
{
	char hex[SNAP_ID_LEN + 1];
	struct err e = {0};
	uint64_t newest;

	shots_setup(&s, shots_memory());
	AUTO_FD int dir = open(s.layer, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; i < 66; i++) {
		CHECK(mkdirat(dir, "d", 0755) == 0);
		AUTO_FD int down = openat(dir, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		fd_closep(&dir);
		dir = take_fd(&down);
	}
	CHECK_LT(walk_tree(s.layer, WALK_CONTENTS, NULL, hex, &newest, &e), 0);
	CHECK_EQ(e.kind, ERR_LIMIT);
	CHECK_CONTAINS(e.msg, "/d/d/d");
	e = (struct err){0};
	CHECK_LT(walk_tree(s.code, WALK_CONTENTS, NULL, hex, &newest, &e), 0);
	CHECK_CONTAINS(e.msg, s.code);
	shots_teardown(&s);
}

/* ---- What others may cost ---- */

static int read_layer(struct snap_reading *rd, char hex[SNAP_ID_LEN + 1], struct err *e)
{
	uint64_t newest;

	*e = (struct err){0};
	return walk_tree(s.layer, WALK_CONTENTS, rd, hex, &newest, e);
}

TEST(reading_is_bounded_over_all_files_and_stops_when_told)
{
	struct snap_reading rd = {.bytes = 300, .signal_fd = FD_NONE};
	char hex[SNAP_ID_LEN + 1], text[101] = "";
	struct err e;
	int pipe_fds[2];

	shots_setup(&s, shots_memory());
	memset(text, 'x', sizeof text - 1);
	shots_write(&s, "layer/data", text);
	shots_write(&s, "layer/more", text);
	CHECK_OK(read_layer(&rd, hex, &e), &e);
	CHECK_EQ(rd.bytes, 100);
	CHECK_LT(read_layer(&rd, hex, &e), 0);
	CHECK_EQ(e.kind, ERR_LIMIT);
	CHECK_CONTAINS(e.msg, "layer/more");
	rd.bytes = UINT64_C(1) << 32; /* a hole of more is refused before it is read */
	CHECK(truncate(below("layer/more"), (off_t)1 << 40) == 0);
	CHECK_LT(read_layer(&rd, hex, &e), 0);
	CHECK_EQ(e.kind, ERR_LIMIT);
	CHECK(rd.bytes > (UINT64_C(1) << 32) - 101);
	CHECK(unlink(below("layer/more")) == 0);
	CHECK(pipe(pipe_fds) == 0);
	rd.signal_fd = pipe_fds[0];
	CHECK_OK(read_layer(&rd, hex, &e), &e);
	CHECK_EQ(write(pipe_fds[1], "", 1), 1);
	CHECK_LT(read_layer(&rd, hex, &e), 0);
	CHECK_EQ(e.kind, ERR_CANCELLED);
	(void)close(pipe_fds[0]);
	(void)close(pipe_fds[1]);
	shots_teardown(&s);
}

TEST(what_others_may_not_read_counts_by_its_identity)
{
	struct snap_reading rd = {.bytes = 100, .signal_fd = FD_NONE, .public_only = true};
	char whole[SNAP_ID_LEN + 1], one[SNAP_ID_LEN + 1], two[SNAP_ID_LEN + 1];
	struct err e;

	shots_setup(&s, shots_memory());
	CHECK(chmod(below("layer/data"), 0644) == 0);
	CHECK_OK(read_layer(NULL, whole, &e), &e);
	CHECK_OK(read_layer(&rd, one, &e), &e);
	CHECK_STREQ(whole, one);
	CHECK_LT(rd.bytes, 100);
	CHECK(chmod(below("layer/data"), 0640) == 0 && mkdir(below("layer/sub"), 0755) == 0);
	shots_write(&s, "layer/sub/x", "1");
	CHECK(chmod(below("layer/sub"), 0750) == 0);
	rd.bytes = 0;
	CHECK_OK(read_layer(&rd, one, &e), &e);
	CHECK(truncate(below("layer/data"), 1000) == 0);
	CHECK_OK(read_layer(&rd, two, &e), &e);
	CHECK_STRNE(one, two);
	CHECK_EQ(rd.bytes, 0);
	shots_write(&s, "layer/sub/x", "another one");
	CHECK_OK(read_layer(&rd, one, &e), &e);
	CHECK_STREQ(one, two);
	shots_teardown(&s);
}

/* ---- Keys ---- */

static void id_of(const struct snap_part *parts, size_t n, char ret[SNAP_ID_LEN + 1])
{
	struct snap_key k = {.n = 0};
	struct err e = {0};

	for (size_t i = 0; i < n; i++)
		CHECK_OK(snap_key_add(&k, &parts[i], &e), &e);
	CHECK_OK(snap_key_fix(&k, &e), &e);
	memcpy(ret, k.id, SNAP_ID_LEN + 1);
	snap_key_done(&k);
}

static struct snap_part text_part(const char *name, const char *text)
{
	return (struct snap_part){name, SNAP_TEXT, text, strlen(text), FD_NONE};
}

TEST(an_id_depends_on_names_values_and_their_order)
{
	const struct snap_part a[] = {text_part("a", "1"), text_part("b", "2")};
	const struct snap_part swapped[] = {text_part("b", "2"), text_part("a", "1")};
	const struct snap_part moved[] = {text_part("a", "12"), text_part("b", "")};
	const struct snap_part named[] = {text_part("a1", ""), text_part("b", "2")};
	char ids[5][SNAP_ID_LEN + 1];

	id_of(a, 2, ids[0]);
	id_of(swapped, 2, ids[1]);
	id_of(moved, 2, ids[2]);
	id_of(named, 2, ids[3]);
	id_of(a, 1, ids[4]);
	for (size_t i = 0; i < ARRAY_LEN(ids); i++)
		for (size_t k = 0; k < i; k++)
			CHECK_STRNE(ids[i], ids[k]);
	id_of(a, 2, ids[1]);
	CHECK_STREQ(ids[0], ids[1]);
}

static void check_value(const char *text, size_t len, const char *want)
{
	struct snap_key k = {.n = 0};
	struct err e = {0};

	CHECK_OK(snap_key_add(&k, &(struct snap_part){"a", SNAP_TEXT, text, len, FD_NONE}, &e), &e);
	CHECK_OK(snap_key_fix(&k, &e), &e);
	if (want)
		CHECK_STREQ(k.fixed[0].value, want);
	else
		CHECK(str_starts(k.fixed[0].value, "sha256-text:") && strlen(k.fixed[0].value) == 12 + SNAP_ID_LEN);
	snap_key_done(&k);
}

TEST(a_text_that_a_manifest_could_not_show_is_its_digest)
{
	char big[1025];

	memset(big, 'x', sizeof big);
	check_value("abc def", 3, "abc");
	check_value(NULL, 0, "");
	check_value("gr\xc3\xbc\xc3\x9f", 6, "gr\xc3\xbc\xc3\x9f");
	check_value("a\nb", 3, NULL);
	check_value("a\0b", 3, NULL);
	check_value("\xff", 1, NULL);
	check_value(big, sizeof big, NULL);
	check_value("sha256-file:00", 14, NULL); /* or a text could pass for a file */
}

TEST(a_file_is_read_by_descriptor_where_there_is_one)
{
	AUTO_FD int fd = FD_NONE;
	char by_name[SNAP_ID_LEN + 1], by_fd[SNAP_ID_LEN + 1];
	struct snap_part part;

	shots_setup(&s, shots_memory());
	part = (struct snap_part){.name = "code", .kind = SNAP_FILE, .text = s.code}; /* fd 0 is none */
	id_of(&part, 1, by_name);
	fd = open(s.code, O_RDONLY | O_CLOEXEC);
	CHECK(unlink(s.code) == 0);
	part.fd = fd;
	id_of(&part, 1, by_fd);
	CHECK_STREQ(by_name, by_fd);
	shots_teardown(&s);
}

static void refuse_part(const struct snap_part *part, enum err_kind kind, const char *word)
{
	struct snap_key k = {.n = 0};
	struct err e = {0};
	int r = snap_key_add(&k, part, &e);

	if (r == 0)
		r = snap_key_fix(&k, &e);
	CHECK_LT(r, 0);
	CHECK_EQ(e.kind, kind);
	CHECK_CONTAINS(e.msg, word);
	CHECK_STREQ(k.id, "");
	snap_key_done(&k);
}

TEST(what_cannot_be_read_is_an_error_that_names_part_and_file)
{
	shots_setup(&s, shots_memory());
	refuse_part(&(struct snap_part){"code", SNAP_FILE, "/nowhere/x", 0, FD_NONE}, ERR_NOT_FOUND,
		    "code '/nowhere/x'");
	refuse_part(&(struct snap_part){"code", SNAP_FILE, s.layer, 0, FD_NONE}, ERR_SPEC, "not a regular file");
	refuse_part(&(struct snap_part){"code", SNAP_FILE, "/dev/null", 0, FD_NONE}, ERR_SPEC, "not a regular file");
	refuse_part(&(struct snap_part){"layer 1", SNAP_TREE, s.code, 0, FD_NONE}, ERR_NOT_FOUND, "layer 1");
	shots_teardown(&s);
}

TEST(a_key_has_bounds_and_no_part_twice)
{
	char names[SNAP_MAX_PARTS + 1][8];
	struct snap_key k = {.n = 0};
	struct snap_part part;
	struct err e = {0};

	for (size_t i = 0; i < SNAP_MAX_PARTS; i++) {
		(void)snprintf(names[i], sizeof names[i], "p%zu", i);
		part = text_part(names[i], "x");
		CHECK_OK(snap_key_add(&k, &part, &e), &e);
	}
	part = text_part("more", "x");
	CHECK_LT(snap_key_add(&k, &part, &e), 0);
	snap_key_done(&k);

	e = (struct err){0};
	CHECK_OK(snap_key_add(&k, &part, &e), &e);
	CHECK_LT(snap_key_add(&k, &part, &e), 0);
	CHECK_EQ(e.kind, ERR_BUG);
	e = (struct err){0};
	CHECK_OK(snap_key_fix(&k, &e), &e);
	CHECK_OK(snap_key_fix(&k, &e), &e);
	part = text_part("late", "x");
	CHECK_LT(snap_key_add(&k, &part, &e), 0);
	snap_key_done(&k);
	part = text_part("", "x");
	refuse_part(&part, ERR_BUG, "named ''");
}

TEST(the_index_knows_a_file_by_its_identity)
{
	char one[SNAP_ID_LEN + 1], two[SNAP_ID_LEN + 1];
	struct snap_key k;
	struct err e = {0};

	shots_setup(&s, shots_memory());
	shots_key(&s, &k);
	CHECK_OK(key_index(&k, one, &e), &e);
	CHECK_OK(key_index(&k, two, &e), &e);
	CHECK_STREQ(one, two);
	shots_tick();
	shots_tamper(s.code); /* same size and mtime */
	CHECK_OK(key_index(&k, two, &e), &e);
	CHECK_STRNE(one, two);
	shots_tick();
	shots_tamper(below("layer/data"));
	CHECK_OK(key_index(&k, one, &e), &e);
	CHECK_STRNE(one, two);
	snap_key_done(&k);
	shots_teardown(&s);
}

static const char *part_value(const struct snap_key *k, const char *name)
{
	for (size_t i = 0; i < k->n; i++)
		if (strcmp(k->parts[i].name, name) == 0)
			return k->fixed[i].value;
	return NULL;
}

TEST(every_key_has_kernel_cpu_vdso_criu_and_format)
{
	static const char *const names[] = {"kernel", "cpu", "cpu flags", "vdso", "criu", "format"};
	const struct snap_engine en = {.version = "4.2"};
	struct snap_key k = {.n = 0}, again = {.n = 0};
	struct err e = {0};

	REQUIRE_OK(snap_key_add_host(&k, &en, &e), &e);
	REQUIRE_OK(snap_key_add_host(&again, &en, &e), &e);
	CHECK_OK(snap_key_fix(&k, &e), &e);
	CHECK_OK(snap_key_fix(&again, &e), &e);
	CHECK_STREQ(k.id, again.id);
	CHECK_EQ(k.n, ARRAY_LEN(names));
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		const char *value = part_value(&k, names[i]);

		if (CHECK(value != NULL))
			tap_note("%s: %.100s", names[i], value);
		CHECK(value && value[0]);
	}
	CHECK_STREQ(part_value(&k, "criu"), "4.2");
	CHECK_STRNE(part_value(&k, "vdso"), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	snap_key_done(&k);
	snap_key_done(&again);
}

TEST(the_clock_has_this_boots_id)
{
	struct snap_clock a, b;
	struct err e = {0};

	CHECK_OK(snap_clock_now(&a, &e), &e);
	CHECK_OK(snap_clock_now(&b, &e), &e);
	CHECK_STREQ(a.boot_id, b.boot_id);
	CHECK_EQ(strlen(a.boot_id), 36);
	CHECK_GE(b.monotonic_ns, a.monotonic_ns);
	CHECK_GE(a.boottime_ns, a.monotonic_ns);
}
