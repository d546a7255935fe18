/* manifest.json: what is written is read again, and anything else is refused with its place. */
#include "base/mem.h"
#include "snapshot/internal.h"
#include "tests/lib/tap.h"

#include <stdio.h>

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static struct snap_file files[] = {
	{(char[]){"img/core-1.img"}, 4, HEX},
	{(char[]){"img/pages-1.img"}, 4096, HEX},
	{(char[]){"tmp.tree"}, 77, HEX},
};
static struct snap_file deps[] = {{(char[]){"/usr/lib/libc.so.6"}, 2000000, HEX}};

static struct snap_manifest full(void)
{
	struct snap_manifest m = {
		.id = HEX,
		.function = "handler",
		.target = "/t/\"h\\\n\x01gr\xc3\xbc\xc3\x9f.so",
		.engine = "criu 4.2.1",
		.reason = "code and kernel have changed",
		.pipes = {"pipe:[1]", "pipe:[22]", "pipe:[333]", "pipe:[4294967295]"},
		.taken = {"01234567-89ab-cdef-0123-456789abcdef", 1, 2, 3},
		.memory_bytes = 1 << 27,
		.page_bytes = 4096,
		.init_ns = INT64_MAX,
		.max_pid = UINT32_MAX,
		.features = SNAP_HAS_TMP | SNAP_NOT_RESEEDED,
		.parts = {{"code", "sha256-file:" HEX}, {"env", "A=\"1\""}},
		.n_parts = 2,
		.files = files,
		.n_files = ARRAY_LEN(files),
		.deps = deps,
		.n_deps = ARRAY_LEN(deps),
	};

	return m;
}

static struct buf written(const struct snap_manifest *m)
{
	struct buf b = {0};
	struct err e = {0};

	CHECK_OK(manifest_write(m, &b, &e), &e);
	return b;
}

TEST(what_is_written_is_read_again)
{
	struct snap_manifest m = full(), r;
	AUTO(buf_done) struct buf b = written(&m);
	AUTO(buf_done) struct buf again = {0};
	struct err e = {0};

	REQUIRE_OK(manifest_read("m", b.data, b.len, &r, &e), &e);
	CHECK_STREQ(r.id, m.id);
	CHECK_STREQ(r.function, m.function);
	CHECK_STREQ(r.target, m.target);
	CHECK_STREQ(r.engine, m.engine);
	CHECK_STREQ(r.reason, m.reason);
	CHECK_MEMEQ(r.pipes, m.pipes, sizeof r.pipes);
	CHECK_STREQ(r.taken.boot_id, m.taken.boot_id);
	CHECK_EQ(r.taken.monotonic_ns, 1);
	CHECK_EQ(r.taken.boottime_ns, 2);
	CHECK_EQ(r.taken.wall_ns, 3);
	CHECK_EQ(r.memory_bytes, m.memory_bytes);
	CHECK_EQ(r.page_bytes, m.page_bytes);
	CHECK_EQ(r.init_ns, m.init_ns);
	CHECK_EQ(r.max_pid, m.max_pid);
	CHECK_EQ(r.features, m.features);
	CHECK_EQ(r.n_parts, 2);
	CHECK_STREQ(r.parts[1].name, "env");
	CHECK_STREQ(r.parts[1].value, "A=\"1\"");
	CHECK_EQ(r.n_files, 3);
	CHECK_STREQ(r.files[1].name, "img/pages-1.img");
	CHECK_EQ(r.files[1].size, 4096);
	CHECK_STREQ(r.files[1].sha256, HEX);
	CHECK_EQ(r.n_deps, 1);
	CHECK_STREQ(r.deps[0].name, deps[0].name);
	again = written(&r);
	CHECK_STREQ(again.data, b.data);
	snap_manifest_done(&r);
	CHECK_EQ(r.n_files, 0);
	snap_manifest_done(&r);
}

TEST(an_empty_list_is_one)
{
	struct snap_manifest m = full(), r;
	struct err e = {0};

	m.n_parts = m.n_files = m.n_deps = 0;
	m.features = 0;
	AUTO(buf_done) struct buf b = written(&m);
	REQUIRE_OK(manifest_read("m", b.data, b.len, &r, &e), &e);
	CHECK_EQ(r.n_parts + r.n_files + r.n_deps, 0);
	snap_manifest_done(&r);
}

/* The full manifest with @from replaced by @to is refused at @where. */
static void refuse(const char *from, const char *to, const char *where, const char *word)
{
	struct snap_manifest m = full(), r;
	AUTO(buf_done) struct buf b = written(&m);
	AUTO(buf_done) struct buf changed = {0};
	const char *at = strstr(b.data, from);
	struct err e = {0};

	if (!CHECK(at != NULL)) {
		tap_note("  no %s in %s", from, b.data);
		return;
	}
	buf_add(&changed, b.data, (size_t)(at - b.data));
	buf_puts(&changed, to);
	buf_puts(&changed, at + strlen(from));
	CHECK_LT(manifest_read("m", changed.data, changed.len, &r, &e), 0);
	CHECK_EQ(e.kind, ERR_SPEC);
	if (!CHECK_STREQ(e.where, where) | !CHECK_CONTAINS(e.msg, word))
		tap_note("  %s -> %s", from, to);
}

TEST(keys_are_all_there_and_no_other)
{
	refuse("\"init_ns\"", "\"init_ms\"", "m: $.init_ms", "unknown key");
	refuse("\t\"init_ns\": 9223372036854775807,\n", "", "m: $", "'init_ns' is missing");
	refuse("\"wall_ns\": 3", "\"wall_ns\": 3, \"x\": 1", "m: $.taken.x", "unknown key");
	refuse(", \"wall_ns\": 3", "", "m: $.taken", "'wall_ns' is missing");
	refuse("\"size\": 4,", "", "m: $.files[0]", "'size' is missing");
	refuse("\"init_ns\"", "\"max_pid\"", "m:12:10", "duplicate key");
}

TEST(numbers_have_bounds)
{
	refuse("\"format\": 1", "\"format\": 2", "m: $.format", "format 2: only 1 is known");
	refuse("\"page_bytes\": 4096", "\"page_bytes\": -1", "m: $.page_bytes", "outside");
	refuse("\"max_pid\": 4294967295", "\"max_pid\": 4294967296", "m: $.max_pid", "outside");
	refuse("\"page_bytes\": 4096", "\"page_bytes\": 4096.0", "m: $.page_bytes", "expected an integer");
	refuse("\"page_bytes\": 4096", "\"page_bytes\": \"4096\"", "m: $.page_bytes", "expected an integer");
}

TEST(texts_have_their_form)
{
	refuse("\"id\": \"0", "\"id\": \"g", "m: $.id", "hexadecimal");
	refuse("\"id\": \"0", "\"id\": \"", "m: $.id", "hexadecimal");
	refuse("\"id\": \"0", "\"id\": \"00", "m: $.id", "at most 64");
	refuse("01234567-", "0123456_-", "m: $.taken.boot_id", "hexadecimal digits and dashes");
	refuse("pipe:[22]", "pipe:[]", "m: $.pipes[1]", "pipe:[NUMBER]");
	refuse("pipe:[22]", "pipe:[22", "m: $.pipes[1]", "pipe:[NUMBER]");
	refuse("pipe:[22]", "socket:[22]", "m: $.pipes[1]", "pipe:[NUMBER]");
	refuse("pipe:[22]", "pipe:[2222222222222222222222222]", "m: $.pipes[1]", "at most");
	refuse("\"pipe:[22]\", ", "", "m: $.pipes", "expected 4 pipes, got 3");
	refuse("\"criu 4.2.1\"", "null", "m: $.engine", "expected a string, got null");
}

TEST(features_are_known_and_agree_with_the_files)
{
	refuse("\"tmp\"", "\"temp\"", "m: $.features[0]", "no feature");
	refuse("\"tmp\"", "\"not-reseeded\"", "m: $.features[1]", "there already");
	refuse("\"tmp\", ", "", "m: $.features", "go together");
}

TEST(names_of_files_lead_nowhere_else)
{
	static const char *const wrong[] = {"img/",    "img/..",        "img/.", "img/../../etc/passwd",
					    "img/a/b", "manifest.json", "stamp", "/etc/passwd",
					    "",        "core-1.img",    "img"};
	char to[80];

	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		(void)snprintf(to, sizeof to, "\"name\": \"%s\", \"size\": 4,", wrong[i]);
		refuse("\"name\": \"img/core-1.img\", \"size\": 4,", to, "m: $.files[0]", "no name of an image");
	}
	refuse("/usr/lib/libc.so.6", "usr/lib/libc.so.6", "m: $.dependencies[0]", "no name of a file of the host");
}

TEST(files_are_sorted_and_none_stands_twice)
{
	refuse("img/core-1.img", "img/z", "m: $.files[1]", "out of order");
	refuse("img/core-1.img", "img/pages-1.img", "m: $.files[1]", "out of order");
	refuse("\"name\": \"env\"", "\"name\": \"code\"", "m: $.key[1]", "stands twice");
}

TEST(lists_have_bounds)
{
	struct snap_manifest m = full(), r;
	AUTO_FREE struct snap_file *many = calloc(SNAP_MAX_FILES + 1, sizeof *many);
	AUTO_FREE char *names = calloc(SNAP_MAX_FILES + 1, 16);
	struct err e = {0};

	for (size_t i = 0; i <= SNAP_MAX_FILES; i++) {
		(void)snprintf(names + 16 * i, 16, "/lib/%04zu", i);
		many[i] = (struct snap_file){names + 16 * i, 1, HEX};
	}
	m.deps = many;
	m.n_deps = SNAP_MAX_FILES;
	AUTO(buf_done) struct buf b = written(&m);
	CHECK_OK(manifest_read("m", b.data, b.len, &r, &e), &e);
	snap_manifest_done(&r);
	m.n_deps++;
	AUTO(buf_done) struct buf more = written(&m);
	CHECK_LT(manifest_read("m", more.data, more.len, &r, &e), 0);
	CHECK_CONTAINS(e.msg, "at most 512");
}

TEST(what_is_no_json_or_too_much_is_refused)
{
	AUTO_FREE char *big = malloc((4 << 20) + 1);
	struct snap_manifest r;
	struct err e = {0};

	CHECK_LT(manifest_read("m", "", 0, &r, &e), 0);
	CHECK_EQ(e.kind, ERR_SPEC);
	e = (struct err){0};
	CHECK_LT(manifest_read("m", "[]", 2, &r, &e), 0);
	CHECK_CONTAINS(e.msg, "expected an object, got an array");
	CHECK_STREQ(e.where, "m: $");
	e = (struct err){0};
	memset(big, ' ', (4 << 20) + 1);
	CHECK_LT(manifest_read("m", big, (4 << 20) + 1, &r, &e), 0);
	CHECK_EQ(e.kind, ERR_LIMIT);
}

TEST(a_name_that_is_no_utf8_is_not_written)
{
	struct snap_file bad = {(char[]){"/lib/\xff"}, 1, HEX};
	struct snap_manifest m = full();
	struct buf b = {0};
	struct err e = {0};

	m.deps = &bad;
	CHECK_LT(manifest_write(&m, &b, &e), 0);
	CHECK_EQ(e.kind, ERR_UNSUPPORTED);
	CHECK(!b.data);
}
