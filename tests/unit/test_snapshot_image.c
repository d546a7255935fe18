/* CRIU's images: made by hand here, whole, cut short and wrong, and the directory as a whole. */
#include "snapshot/image.h"
#include "snapshot/internal.h"

#include "base/mem.h"
#include "tests/lib/tap.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

/* ---- Messages by hand ---- */

static void add_varint(struct buf *b, uint64_t v)
{
	for (;;) {
		uint8_t byte = (uint8_t)(v & 0x7f);

		v >>= 7;
		byte |= v ? 0x80 : 0;
		buf_add(b, &byte, 1);
		if (!v)
			return;
	}
}

static void add_number(struct buf *b, unsigned field, uint64_t v)
{
	add_varint(b, field << 3);
	add_varint(b, v);
}

static void add_bytes(struct buf *b, unsigned field, const void *data, size_t len)
{
	add_varint(b, field << 3 | 2);
	add_varint(b, len);
	buf_add(b, data, len);
}

static void add_le32(struct buf *b, uint32_t v)
{
	for (unsigned i = 0; i < 4; i++) {
		uint8_t byte = (uint8_t)(v >> 8 * i);

		buf_add(b, &byte, 1);
	}
}

enum {
	INVENTORY = 0x58313116,
	PSTREE = 0x50273030,
	CORE = 0x55053847,
	IDS = 0x54432030,
	SECCOMP = 0x64413049,
	FILES = 0x56303138
};

static void add_magic(struct buf *b, uint32_t magic)
{
	if (magic != INVENTORY)
		add_le32(b, 0x54564319);
	add_le32(b, magic);
}

static void add_entry(struct buf *b, struct buf *message)
{
	add_le32(b, (uint32_t)message->len);
	buf_add(b, message->data, message->len);
	buf_done(message);
}

/* Numbers 1 to 4, then the eight namespaces from @first. */
static void add_ids(struct buf *b, uint64_t first)
{
	for (unsigned i = 1; i <= 4; i++)
		add_number(b, i, 7);
	for (unsigned i = 0; i < IMAGE_NS; i++)
		add_number(b, 5 + i, first + i);
}

static void make_ids(struct buf *b, uint64_t first)
{
	struct buf m = {0};

	add_ids(&m, first);
	add_magic(b, IDS);
	add_entry(b, &m);
}

static void make_inventory(struct buf *b, uint64_t first)
{
	struct buf m = {0}, ids = {0};

	add_number(&m, 1, 2);
	add_ids(&ids, first);
	add_bytes(&m, 3, ids.data, ids.len);
	add_bytes(&m, 13, "358ed596", 8);
	add_magic(b, INVENTORY);
	add_entry(b, &m);
	buf_done(&ids);
}

static void add_task(struct buf *b, uint32_t pid, uint32_t ppid, const uint32_t *tids, size_t n)
{
	struct buf m = {0};

	add_number(&m, 1, pid);
	add_number(&m, 2, ppid);
	add_number(&m, 3, 1);
	add_number(&m, 4, 1);
	for (size_t i = 0; i < n; i++)
		add_number(&m, 5, tids[i]);
	add_entry(b, &m);
}

/* @filter < 0: a thread that has none. */
static void make_core(struct buf *b, int filter)
{
	struct buf m = {0}, t = {0};

	add_number(&t, 1, 140268505713184);
	add_number(&t, 2, 24);
	if (filter >= 0) {
		add_number(&t, 11, 2);
		add_number(&t, 12, (uint64_t)filter);
	}
	add_bytes(&t, 13, "native", 6);
	add_number(&m, 1, 1);
	add_bytes(&m, 2, "registers", 9);
	add_bytes(&m, 5, t.data, t.len);
	add_magic(b, CORE);
	add_entry(b, &m);
	buf_done(&t);
}

struct filter_of {
	const char *code;
	int prev; /* -1: none */
	unsigned flags;
};

static void make_filters(struct buf *b, const struct filter_of *f, size_t n)
{
	struct buf m = {0};

	for (size_t i = 0; i < n; i++) {
		struct buf one = {0};

		add_bytes(&one, 1, f[i].code, strlen(f[i].code));
		if (f[i].prev >= 0)
			add_number(&one, 2, (uint64_t)f[i].prev);
		if (f[i].flags)
			add_number(&one, 3, f[i].flags);
		add_bytes(&m, 1, one.data, one.len);
		buf_done(&one);
	}
	add_magic(b, SECCOMP);
	add_entry(b, &m);
}

/* A file by its path and a pipe. @mount 0: no mount is named. */
static void make_files(struct buf *b, uint64_t mount)
{
	struct buf m = {0}, reg = {0}, pipe = {0};

	add_number(&reg, 1, 11);
	add_bytes(&reg, 6, "/tmp/gone", 9);
	if (mount)
		add_number(&reg, 7, mount);
	add_number(&reg, 10, 0100600);
	add_number(&m, 1, 1);
	add_number(&m, 2, 11);
	add_bytes(&m, 3, reg.data, reg.len);
	add_magic(b, FILES);
	add_entry(b, &m);
	m = (struct buf){0};
	add_number(&pipe, 7, 5);
	add_number(&m, 1, 2);
	add_bytes(&m, 10, pipe.data, pipe.len);
	add_entry(b, &m);
	buf_done(&reg);
	buf_done(&pipe);
}

/* ---- Bytes ---- */

TEST(namespaces_are_replaced_and_nothing_else)
{
	AUTO(buf_done) struct buf in = {0};
	AUTO(buf_done) struct buf want = {0};
	AUTO(buf_done) struct buf inventory = {0};
	AUTO(buf_done) struct buf out = {0};
	struct image_ns to, now;

	make_ids(&in, 300);
	make_ids(&want, 1);
	make_inventory(&inventory, 1);
	REQUIRE(image_read_inventory(inventory.data, inventory.len, &to) == 0);
	CHECK_EQ(to.id[7], 8);
	REQUIRE(image_write_ids(in.data, in.len, &to, &out) == 0);
	CHECK_EQ(out.len, want.len);
	CHECK_MEMEQ(out.data, want.data, want.len);
	CHECK_EQ(image_read_ids(out.data, out.len, &now), 0);
	CHECK_MEMEQ(&now, &to, sizeof to);
}

TEST(open_files_forget_their_mounts_and_nothing_else)
{
	AUTO(buf_done) struct buf in = {0};
	AUTO(buf_done) struct buf want = {0};
	AUTO(buf_done) struct buf out = {0};

	make_files(&in, 4294967000);
	make_files(&want, 0);
	REQUIRE(image_write_files(in.data, in.len, &out) == 0);
	CHECK_EQ(out.len, want.len);
	CHECK_MEMEQ(out.data, want.data, want.len);
}

TEST(a_list_of_files_that_is_none_is_refused)
{
	AUTO(buf_done) struct buf in = {0};
	AUTO(buf_done) struct buf odd = {0};
	AUTO(buf_done) struct buf out = {0};
	struct buf m = {0};

	make_files(&in, 5);
	for (size_t n = in.len - 4; n < in.len; n++) /* within the last entry; between entries a list may end */
		CHECK_EQ(image_write_files(in.data, n, &out), -EBADMSG);
	CHECK_EQ(image_write_files(in.data, 7, &out), -EBADMSG);
	add_number(&m, 3, 1); /* bytes are due */
	add_magic(&odd, FILES);
	add_entry(&odd, &m);
	CHECK_EQ(image_write_files(odd.data, odd.len, &out), -EBADMSG);
}

TEST(a_task_must_have_the_namespaces_that_the_host_has)
{
	AUTO(buf_done) struct buf in = {0};
	AUTO(buf_done) struct buf out = {0};
	struct image_ns to;

	make_ids(&in, 300);
	REQUIRE(image_read_ids(in.data, in.len, &to) == 0);
	to.have[7] = false;
	CHECK_EQ(image_write_ids(in.data, in.len, &to, &out), -EBADMSG);
}

/* Each prefix, in a block of its size, is refused and changes nothing. */
static void check_prefixes(const struct buf *in, int (*read)(const void *, size_t))
{
	for (size_t n = 0; n < in->len; n++) {
		AUTO_FREE char *part = malloc(n ? n : 1);

		REQUIRE(part != NULL);
		memcpy(part, in->data, n);
		if (!CHECK_EQ(read(part, n), -EBADMSG))
			tap_note("  prefix of %zu", n);
	}
	CHECK_EQ(read(in->data, in->len), 0);
}

static int try_ids(const void *data, size_t len)
{
	struct image_ns ns;

	return image_read_ids(data, len, &ns);
}

static int try_inventory(const void *data, size_t len)
{
	struct image_ns ns;

	return image_read_inventory(data, len, &ns);
}

static int try_tree(const void *data, size_t len)
{
	struct image_tree t = {0};
	int r = image_read_tree(data, len, &t);

	image_tree_done(&t);
	return r;
}

static int try_filters(const void *data, size_t len)
{
	struct image_filters f;

	return image_read_filters(data, len, &f);
}

static int try_core(const void *data, size_t len)
{
	AUTO(buf_done) struct buf out = {0};

	return image_write_core(data, len, &(struct image_filters){.n = 4, .tsync = true, .same = true}, true, &out);
}

TEST(every_prefix_is_refused)
{
	AUTO(buf_done) struct buf ids = {0};
	AUTO(buf_done) struct buf inventory = {0};
	AUTO(buf_done) struct buf tree = {0};
	AUTO(buf_done) struct buf filters = {0};
	AUTO(buf_done) struct buf core = {0};

	make_ids(&ids, 1);
	check_prefixes(&ids, try_ids);
	make_inventory(&inventory, 1);
	check_prefixes(&inventory, try_inventory);
	add_magic(&tree, PSTREE);
	add_task(&tree, 2, 0, (uint32_t[]){2, 3}, 2);
	check_prefixes(&tree, try_tree);
	make_filters(&filters, (struct filter_of[]){{"code", -1, 1}, {"code", -1, 1}}, 2);
	check_prefixes(&filters, try_filters);
	make_core(&core, 3);
	check_prefixes(&core, try_core);
}

TEST(a_tree_tells_its_largest_number_packed_or_not)
{
	AUTO(buf_done) struct buf b = {0};
	struct image_tree t = {0};
	struct buf m = {0};

	add_magic(&b, PSTREE);
	add_task(&b, 2, 0, (uint32_t[]){2, 70000, 3}, 3);
	for (unsigned i = 1; i <= 4; i++)
		add_number(&m, i, 4);
	add_bytes(&m, 5, "\x04\x80\x80\x08\x05", 5); /* 4, 131072, 5 */
	add_entry(&b, &m);
	REQUIRE(image_read_tree(b.data, b.len, &t) == 0);
	CHECK_EQ(t.max_pid, 131072);
	CHECK_EQ(t.n_tasks, 2);
	CHECK_EQ(t.n_tids, 6);
	CHECK_EQ(t.tasks[1].first, 3);
	CHECK_EQ(t.tids[1], 70000);
	image_tree_done(&t);
}

TEST(trees_that_make_no_sense_are_refused)
{
	static const struct {
		const char *why;
		uint32_t pid, ppid, tid;
	} bad[] = {
		{"no root", 2, 1, 2},
		{"pid 0", 0, 0, 0},
		{"leader is no thread", 2, 0, 3},
		{"negative", 0x80000000, 0, 0x80000000},
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		AUTO(buf_done) struct buf b = {0};

		add_magic(&b, PSTREE);
		add_task(&b, bad[i].pid, bad[i].ppid, &bad[i].tid, 1);
		if (!CHECK_EQ(try_tree(b.data, b.len), -EBADMSG))
			tap_note("  %s", bad[i].why);
	}

	AUTO(buf_done) struct buf two = {0};
	add_magic(&two, PSTREE);
	add_task(&two, 2, 0, (uint32_t[]){2}, 1);
	add_task(&two, 3, 0, (uint32_t[]){3}, 1);
	CHECK_EQ(try_tree(two.data, two.len), -EBADMSG);
}

TEST(the_number_of_threads_has_a_bound)
{
	AUTO(buf_done) struct buf b = {0};
	struct buf m = {0};

	for (unsigned i = 1; i <= 4; i++)
		add_number(&m, i, i == 2 ? 0 : 2);
	for (unsigned i = 0; i < 40000; i++)
		add_number(&m, 5, 2);
	add_magic(&b, PSTREE);
	add_entry(&b, &m);
	CHECK_EQ(try_tree(b.data, b.len), -EBADMSG);
}

TEST(odd_encodings_are_refused)
{
	static const struct {
		const char *why, *bytes;
		size_t len;
	} bad[] = {
		{"a varint of eleven bytes", "\x28\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 12},
		{"a varint beyond 64 bits", "\x28\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02", 11},
		{"more than 32 bits", "\x28\x80\x80\x80\x80\x10", 6},
		{"given twice", "\x28\x01\x28\x01", 4},
		{"bytes where a number is due", "\x2a\x01\x01", 3},
		{"field 0", "\x00\x01", 2},
		{"a group", "\x2b\x2c", 2},
		{"a length beyond the end", "\x7a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11},
		{"half a fixed number", "\x79\x01\x02", 3},
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		AUTO(buf_done) struct buf b = {0};
		struct buf m = {0};

		buf_add(&m, bad[i].bytes, bad[i].len);
		add_magic(&b, IDS);
		add_entry(&b, &m);
		if (!CHECK_EQ(try_ids(b.data, b.len), -EBADMSG))
			tap_note("  %s", bad[i].why);
	}
}

TEST(filters_are_compared)
{
	static const struct {
		struct filter_of f[2];
		size_t n;
		bool same, tsync;
	} cases[] = {
		{{{"a", -1, 1}}, 1, true, true},
		{{{"a", -1, 1}, {"a", -1, 1}}, 2, true, true},
		{{{"a", -1, 1}, {"b", -1, 1}}, 2, false, true},
		{{{"a", -1, 1}, {"a", 0, 1}}, 2, false, true}, /* the second stands on the first */
		{{{"a", -1, 0}}, 1, true, false},
		{{{"a", -1, 1}, {"aa", -1, 0}}, 2, false, false},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		AUTO(buf_done) struct buf b = {0};
		struct image_filters f = {0};

		make_filters(&b, cases[i].f, cases[i].n);
		CHECK_EQ(image_read_filters(b.data, b.len, &f), 0);
		CHECK_EQ(f.n, cases[i].n);
		CHECK_EQ(f.same, cases[i].same);
		CHECK_EQ(f.tsync, cases[i].tsync);
	}
}

TEST(each_thread_must_get_the_filter)
{
	static const struct {
		int filter;
		struct image_filters f;
		bool leader;
		int want;
	} cases[] = {
		{0, {1, true, true}, true, 0},           {3, {4, true, true}, true, 0},
		{4, {4, true, true}, true, -EBADMSG},    {-1, {1, true, true}, false, 0}, /* the leader's is for all */
		{-1, {1, false, true}, false, -EBADMSG},                                  /* it is not */
		{-1, {1, true, true}, true, -EBADMSG},   {-1, {0, true, true}, true, 0},  /* nobody has one */
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		AUTO(buf_done) struct buf in = {0};
		AUTO(buf_done) struct buf want = {0};
		AUTO(buf_done) struct buf out = {0};

		make_core(&in, cases[i].filter);
		make_core(&want, cases[i].filter >= 0 ? 0 : -1);
		if (!CHECK_EQ(image_write_core(in.data, in.len, &cases[i].f, cases[i].leader, &out), cases[i].want))
			tap_note("  case %zu", i);
		if (cases[i].want < 0)
			continue;
		CHECK_EQ(out.len, want.len);
		CHECK_MEMEQ(out.data, want.data, want.len);
	}
}

/* ---- The directory ---- */

static int dir = FD_NONE;
static char dir_path[64];

static void put_file(const char *name, const struct buf *b)
{
	CHECK_EQ(fd_write_file_at(dir, name, "", 0), -ENOENT);

	AUTO_FD int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
	CHECK_EQ(fd_write_all(fd, b ? b->data : "text", b ? b->len : 4), 0);
}

static void put_taken(const char *name, struct buf *b)
{
	put_file(name, b);
	buf_done(b);
	*b = (struct buf){0};
}

/* Two processes, one of two threads, as CRIU dumps them. */
static bool begin(uint64_t ns_of_the_child)
{
	struct buf b = {0};

	(void)snprintf(dir_path, sizeof dir_path, "/tmp/fsbox-test-image.XXXXXX");
	if (!CHECK(mkdtemp(dir_path)))
		return false;
	dir = open(dir_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	make_inventory(&b, 1);
	put_taken("inventory.img", &b);
	make_ids(&b, 20);
	put_taken("ids-2.img", &b);
	make_ids(&b, ns_of_the_child);
	put_taken("ids-4.img", &b);
	add_magic(&b, PSTREE);
	add_task(&b, 2, 0, (uint32_t[]){2, 3}, 2);
	add_task(&b, 4, 2, (uint32_t[]){4}, 1);
	put_taken("pstree.img", &b);
	make_core(&b, 0);
	put_taken("core-2.img", &b);
	make_core(&b, -1);
	put_taken("core-3.img", &b);
	make_core(&b, 1);
	put_taken("core-4.img", &b);
	make_filters(&b, (struct filter_of[]){{"code", -1, 1}, {"code", -1, 1}}, 2);
	put_taken("seccomp.img", &b);
	make_files(&b, 43);
	put_taken("files.img", &b);
	put_file("pages-1.img", NULL);
	put_file("pages-2.img", NULL);
	return true;
}

static void end(void)
{
	AUTO_FD int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fdopendir(fd);
	const struct dirent *ent;

	(void)take_fd(&fd);
	while (d && (ent = readdir(d)))
		(void)unlinkat(dir, ent->d_name, 0);
	if (d)
		(void)closedir(d);
	fd_closep(&dir);
	CHECK_EQ(rmdir(dir_path), 0);
}

static bool has_bytes(const char *name, struct buf *want)
{
	char text[4096];
	AUTO_FD int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, text, sizeof text);
	bool same = n >= 0 && (size_t)n == want->len && (n == 0 || memcmp(text, want->data, want->len) == 0);

	buf_done(want);
	*want = (struct buf){0};
	return same;
}

static bool there(const char *name)
{
	return faccessat(dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

TEST(a_dump_becomes_free_of_namespaces)
{
	static const char *const gone[] = {"userns-11.img", "mountpoints-10.img", "pidns-9.img",
					   "timens-0.img",  "tmpfs-3.tar.gz.img", "stats-dump",
					   "dump.log",      "netns-2.img",        "ids-2.img.new"};
	struct snap_manifest m = {0};
	struct buf b = {0};
	struct err e = {0};
	struct stat st;

	REQUIRE(begin(20));
	for (size_t i = 0; i < ARRAY_LEN(gone); i++)
		put_file(gone[i], NULL);
	(void)unlinkat(dir, "ids-2.img.new", 0);
	put_file("timensy", NULL);
	CHECK_OK(image_detach(dir, &m, &e), &e);
	for (size_t i = 0; i < ARRAY_LEN(gone); i++)
		CHECK(!there(gone[i]));
	CHECK(there("timensy"));
	CHECK_EQ(m.max_pid, 4);
	CHECK_EQ(m.page_bytes, 8);
	make_ids(&b, 1);
	CHECK(has_bytes("ids-2.img", &b));
	make_ids(&b, 1);
	CHECK(has_bytes("ids-4.img", &b));
	make_core(&b, 0);
	CHECK(has_bytes("core-4.img", &b));
	make_files(&b, 0);
	CHECK(has_bytes("files.img", &b));
	CHECK(has_bytes("seccomp.img", &b)); /* empty */
	CHECK(fstatat(dir, "ids-2.img", &st, 0) == 0 && (st.st_mode & 0777) == 0640);
	end();
}

TEST(a_process_with_a_namespace_of_its_own_is_refused_and_nothing_is_changed)
{
	struct snap_manifest m = {0};
	struct buf b = {0};
	struct err e = {0};

	REQUIRE(begin(30));
	CHECK_EQ(image_detach(dir, &m, &e), -EOPNOTSUPP);
	CHECK_EQ(e.kind, ERR_UNSUPPORTED);
	CHECK_CONTAINS(e.msg, "process 4 has a pid namespace of its own");
	make_ids(&b, 20);
	CHECK(has_bytes("ids-2.img", &b));
	end();
}

TEST(a_stacked_filter_is_refused)
{
	struct snap_manifest m = {0};
	struct buf b = {0};
	struct err e = {0};

	REQUIRE(begin(20));
	make_filters(&b, (struct filter_of[]){{"code", -1, 1}, {"more", 0, 1}}, 2);
	(void)unlinkat(dir, "seccomp.img", 0);
	put_taken("seccomp.img", &b);
	CHECK_EQ(image_detach(dir, &m, &e), -EOPNOTSUPP);
	CHECK_EQ(e.kind, ERR_UNSUPPORTED);
	CHECK_CONTAINS(e.msg, "filter of its own");
	end();
}

TEST(without_filters_there_is_an_image_of_none)
{
	struct snap_manifest m = {0};
	struct image_filters f = {.n = 9};
	struct buf b = {0};
	struct err e = {0};

	REQUIRE(begin(20));
	(void)unlinkat(dir, "seccomp.img", 0);
	for (unsigned i = 2; i <= 4; i++) {
		char name[32];

		(void)snprintf(name, sizeof name, "core-%u.img", i);
		(void)unlinkat(dir, name, 0);
		make_core(&b, -1);
		put_taken(name, &b);
	}
	CHECK_OK(image_detach(dir, &m, &e), &e);
	make_filters(&b, NULL, 0);
	CHECK_EQ(image_read_filters(b.data, b.len, &f), 0);
	CHECK_EQ(f.n, 0);
	CHECK(has_bytes("seccomp.img", &b));
	end();
}

TEST(files_that_are_missing_or_wrong_are_named)
{
	static const char *const names[] = {"inventory.img", "pstree.img", "ids-2.img", "ids-4.img", "core-3.img"};

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		for (unsigned how = 0; how < 4; how++) {
			struct snap_manifest m = {.max_pid = 77};
			struct err e = {0};

			REQUIRE(begin(20));
			(void)unlinkat(dir, names[i], 0);
			if (how == 1)
				put_file(names[i], NULL);
			else if (how == 2)
				CHECK_EQ(symlinkat("/dev/zero", dir, names[i]), 0);
			else if (how == 3)
				CHECK_EQ(mkfifoat(dir, names[i], 0600), 0);
			CHECK_LT(image_detach(dir, &m, &e), 0);
			CHECK_CONTAINS(e.msg, names[i]);
			CHECK_STREQ(e.where, names[i]);
			CHECK_EQ(m.max_pid, 77);
			end();
		}
	}
}
