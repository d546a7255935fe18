/* The archive of /tmp: what goes in comes out, and bytes that are no archive make nothing outside of the directory.
 * time-limit: 240 */
#include "snapshot/snapshot.h"
#include "snapshot/tree.h"

#include "base/fd.h"
#include "base/mem.h"
#include "base/removal.h"
#include "tests/lib/tap.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* base/: from/ is packed, to/ is unpacked into, canary must stay as it is. */
static int base = FD_NONE, from = FD_NONE, to = FD_NONE;
static char base_path[64];

static int dir_of(int at, const char *name)
{
	return openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
}

static bool put_text(int dir, const char *name, const char *text)
{
	AUTO_FD int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	return fd >= 0 && fd_write_all(fd, text, strlen(text)) == 0;
}

static bool begin(void)
{
	(void)snprintf(base_path, sizeof base_path, "/tmp/fsbox-test-pack.XXXXXX");
	if (!CHECK(mkdtemp(base_path)))
		return false;
	base = open(base_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (!CHECK(mkdirat(base, "from", 0700) == 0 && mkdirat(base, "to", 0700) == 0))
		return false;
	from = dir_of(base, "from");
	to = dir_of(base, "to");
	return CHECK(from >= 0 && to >= 0 && put_text(base, "canary", "sings"));
}

static void end(void)
{
	AUTO_FD int locked = openat(from, "dir", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO_FD int copy = openat(to, "dir", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	char text[16] = "";
	struct stat st;

	CHECK_EQ(fd_read_file_at(base, "canary", text, sizeof text), 5);
	CHECK_STREQ(text, "sings");
	CHECK(fstatat(base, "canary", &st, AT_SYMLINK_NOFOLLOW) == 0 && (st.st_mode & 07777) == 0644 &&
	      st.st_nlink == 1);
	/* Without root a directory that may not be written cannot be emptied. */
	(void)!fchmodat(locked, "locked", 0700, 0);
	(void)!fchmodat(copy, "locked", 0700, 0);
	(void)fchmod(to, 0700);
	CHECK_EQ(tree_remove(base, "from"), 0);
	CHECK_EQ(tree_remove(base, "to"), 0);
	CHECK_EQ(unlinkat(base, "canary", 0), 0);
	fd_closep(&from);
	fd_closep(&to);
	fd_closep(&base);
	CHECK_EQ(rmdir(base_path), 0); /* nothing else was made beside them */
}

static int pack_to_memfd(uint64_t *ret_n, struct err *e)
{
	AUTO_FD int fd = memfd_create("archive", MFD_CLOEXEC);
	int r = snap_tree_pack(from, fd, 0, ret_n, e);

	return r < 0 ? r : take_fd(&fd);
}

static int unpack_bytes(const void *data, size_t len)
{
	AUTO_FD int fd = memfd_create("archive", MFD_CLOEXEC);

	if (fd_write_all(fd, data, len) < 0 || lseek(fd, 0, SEEK_SET) != 0)
		return -EIO;
	return snap_tree_unpack(fd, to);
}

static void check_same(int a, int b, unsigned depth);

static void check_same_content(int a, int b, const char *name)
{
	AUTO_FD int x = openat(a, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	AUTO_FD int y = openat(b, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	char p[4096], q[4096];
	ssize_t n, m;

	REQUIRE(x >= 0 && y >= 0);
	do {
		n = read(x, p, sizeof p);
		m = read(y, q, sizeof q);
		REQUIRE(n == m && n >= 0);
		REQUIRE(memcmp(p, q, (size_t)n) == 0);
	} while (n > 0);
}

static void check_same_entry(int a, int b, const char *name, unsigned depth)
{
	char p[5000] = "", q[5000] = "";
	struct stat s, t;

	if (!CHECK(fstatat(a, name, &s, AT_SYMLINK_NOFOLLOW) == 0) ||
	    !CHECK(fstatat(b, name, &t, AT_SYMLINK_NOFOLLOW) == 0)) {
		tap_note("  %s", name);
		return;
	}
	CHECK_EQ(t.st_mode, s.st_mode & ~(mode_t)06000);
	CHECK_EQ(t.st_uid, s.st_uid);
	CHECK_EQ(t.st_gid, s.st_gid);
	CHECK_EQ(t.st_mtim.tv_sec, s.st_mtim.tv_sec);
	CHECK_EQ(t.st_mtim.tv_nsec, s.st_mtim.tv_nsec);
	if (!S_ISDIR(s.st_mode)) {
		CHECK_EQ(t.st_nlink, s.st_nlink);
		CHECK_EQ(t.st_size, s.st_size);
	}
	if (S_ISREG(s.st_mode) && s.st_size < 1 << 30)
		check_same_content(a, b, name);
	if (S_ISLNK(s.st_mode)) {
		CHECK_EQ(readlinkat(a, name, p, sizeof p - 1), readlinkat(b, name, q, sizeof q - 1));
		CHECK_STREQ(p, q);
	}
	if (S_ISDIR(s.st_mode)) {
		AUTO_FD int x = dir_of(a, name);
		AUTO_FD int y = dir_of(b, name);

		REQUIRE(x >= 0 && y >= 0);
		check_same(x, y, depth + 1);
	}
}

static size_t count(int dir)
{
	AUTO_FD int fd = dir_of(dir, ".");
	DIR *d = fdopendir(fd);
	size_t n = 0;

	(void)take_fd(&fd);
	while (d && readdir(d))
		n++;
	if (d)
		(void)closedir(d);
	return n;
}

static void check_same(int a, int b, unsigned depth)
{
	AUTO_FD int fd = dir_of(a, ".");
	DIR *d = fdopendir(fd);
	const struct dirent *ent;

	REQUIRE(d != NULL && depth < 80);
	(void)take_fd(&fd);
	while ((ent = readdir(d))) {
		if (strcmp(ent->d_name, ".") != 0 && strcmp(ent->d_name, "..") != 0 && !tap.failed)
			check_same_entry(a, b, ent->d_name, depth);
	}
	(void)closedir(d);
	CHECK_EQ(count(a), count(b));
}

static void check_round_trip(uint64_t want)
{
	struct err e = {0};
	uint64_t n = 0;
	AUTO_FD int fd = pack_to_memfd(&n, &e);

	REQUIRE_OK(fd, &e);
	CHECK_EQ(n, want);
	CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
	CHECK_EQ(snap_tree_unpack(fd, to), 0);
	check_same(from, to, 0);
}

TEST(an_empty_directory_keeps_its_mode_and_times)
{
	const struct timespec times[2] = {{.tv_sec = 1}, {.tv_sec = 1000000, .tv_nsec = 5}};
	struct stat st;

	REQUIRE(begin());
	CHECK(fchmod(from, 01771) == 0 && futimens(from, times) == 0);
	check_round_trip(0);
	CHECK(fstat(to, &st) == 0 && (st.st_mode & 07777) == 01771 && st.st_mtim.tv_sec == 1000000);
	end();
}

TEST(all_kinds_come_out_as_they_went_in)
{
	const struct timespec times[2] = {{.tv_sec = -5, .tv_nsec = 7}, {.tv_sec = -3000, .tv_nsec = 999999999}};
	char target[4096];

	REQUIRE(begin());
	CHECK(put_text(from, "file", "content") && put_text(from, "empty", ""));
	CHECK(mkdirat(from, "dir", 0755) == 0 && put_text(from, "dir/below", "x"));
	CHECK(mkdirat(from, "dir/locked", 0755) == 0 && put_text(from, "dir/locked/in", "y"));
	CHECK(symlinkat("../../canary", from, "link") == 0 && symlinkat("/nowhere", from, "dir/dangling") == 0);
	memset(target, 'x', sizeof target);
	target[4095] = '\0';
	CHECK_EQ(symlinkat(target, from, "longest"), 0);
	CHECK_EQ(mkfifoat(from, "fifo", 0620), 0);
	CHECK_EQ(linkat(from, "dir/below", from, "hard", 0), 0);
	CHECK_EQ(linkat(from, "dir/below", from, "dir/hard", 0), 0);
	CHECK_EQ(linkat(from, "link", from, "hardlink", 0), 0);
	CHECK_EQ(linkat(from, "fifo", from, "hardfifo", 0), 0);
	CHECK(fchmodat(from, "file", 06751, 0) == 0 && fchmodat(from, "empty", geteuid() ? 0400 : 0, 0) == 0);
	CHECK(utimensat(from, "link", times, AT_SYMLINK_NOFOLLOW) == 0 && utimensat(from, "file", times, 0) == 0);
	CHECK(fchmodat(from, "dir/locked", geteuid() ? 0500 : 0, 0) == 0);
	CHECK(utimensat(from, "dir", times, 0) == 0);
	check_round_trip(14);
	end();
}

TEST(names_may_be_any_bytes)
{
	char name[256];

	REQUIRE(begin());
	memset(name, 'n', 255);
	name[255] = '\0';
	CHECK(put_text(from, name, "longest") && put_text(from, "a\nb", "") && put_text(from, "\xff\xfe \x01", "") &&
	      put_text(from, "...", "") && put_text(from, "-rf", "") && put_text(from, "\\", ""));
	for (unsigned i = 1; i < 256; i++) {
		char one[3] = {(char)i, '~', '\0'};

		if (i != '/')
			CHECK(put_text(from, one, ""));
	}
	check_round_trip(6 + 254);
	end();
}

static bool make_chain(int dir, unsigned depth)
{
	AUTO_FD int at = fcntl(dir, F_DUPFD_CLOEXEC, 3);

	for (unsigned i = 0; i < depth && at >= 0; i++) {
		int next = mkdirat(at, "d", 0700) < 0 ? -1 : dir_of(at, "d");

		fd_closep(&at);
		at = next;
	}
	return at >= 0 && put_text(at, "bottom", "b") && linkat(at, "bottom", at, "again", 0) == 0;
}

TEST(sixty_four_levels_are_taken_and_one_more_is_refused)
{
	struct err e = {0};
	uint64_t n = 0;

	REQUIRE(begin());
	CHECK(make_chain(from, TREE_LEVELS));
	check_round_trip(TREE_LEVELS + 2);
	end();

	REQUIRE(begin());
	CHECK(make_chain(from, TREE_LEVELS + 1));
	CHECK_EQ(pack_to_memfd(&n, &e), -ELOOP);
	CHECK_EQ(e.kind, ERR_LIMIT);
	CHECK_CONTAINS(e.msg, "more than 64 levels");
	CHECK_LT(strlen(e.msg), 100);
	end();
}

TEST(ten_thousand_files)
{
	REQUIRE(begin());
	for (unsigned i = 0; i < 10000; i++) {
		char name[32];

		(void)snprintf(name, sizeof name, "file-%u", i);
		REQUIRE(put_text(from, name, name));
	}
	check_round_trip(10000);
	end();
}

TEST(holes_stay_holes)
{
	AUTO_FD int fd = FD_NONE;
	struct err e = {0};
	struct stat st = {0};
	uint64_t n = 0;

	REQUIRE(begin());
	fd = openat(from, "sparse", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (ftruncate(fd, INT64_C(10) << 30) < 0) {
		end();
		SKIP_HOST("no file of 10 GiB here");
	}
	CHECK(pwrite(fd, "x", 1, INT64_C(5) << 30) == 1 && pwrite(fd, "y", 1, 0) == 1);

	AUTO_FD int archive = pack_to_memfd(&n, &e);
	REQUIRE_OK(archive, &e);
	CHECK(fstat(archive, &st) == 0 && st.st_size < 1 << 20);
	CHECK_EQ(lseek(archive, 0, SEEK_SET), 0);
	CHECK_EQ(snap_tree_unpack(archive, to), 0);
	CHECK(fstatat(to, "sparse", &st, 0) == 0 && st.st_size == INT64_C(10) << 30 && st.st_blocks < 4096);

	AUTO_FD int back = openat(to, "sparse", O_RDONLY | O_CLOEXEC);
	char c = 0;
	CHECK(pread(back, &c, 1, INT64_C(5) << 30) == 1 && c == 'x');
	end();
}

TEST(sockets_are_left_out)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	AUTO_FD int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	REQUIRE(begin());
	(void)snprintf(a.sun_path, sizeof a.sun_path, "%s/from/socket", base_path);
	CHECK_EQ(bind(s, (struct sockaddr *)&a, sizeof a), 0);
	CHECK(put_text(from, "file", ""));

	struct err e = {0};
	uint64_t n = 0;
	AUTO_FD int fd = pack_to_memfd(&n, &e);
	CHECK_EQ(n, 1);
	CHECK(lseek(fd, 0, SEEK_SET) == 0 && snap_tree_unpack(fd, to) == 0);
	CHECK_EQ(faccessat(to, "socket", F_OK, AT_SYMLINK_NOFOLLOW), -1);
	CHECK_EQ(faccessat(to, "file", F_OK, AT_SYMLINK_NOFOLLOW), 0);
	end();
}

TEST(owners_are_numbers_inside)
{
	AUTO_FD int fd = memfd_create("archive", MFD_CLOEXEC);
	struct err e = {0};
	struct stat st;
	uint64_t n = 0;

	if (geteuid())
		SKIP("needs root");
	REQUIRE(begin());
	CHECK(put_text(from, "file", "") && fchownat(from, "file", 1879048192 + 993, 1879048192 + 65535, 0) == 0);
	CHECK(fchown(from, 1879048192, 1879048192) == 0);
	CHECK_OK(snap_tree_pack(from, fd, 1879048192, &n, &e), &e);
	CHECK(lseek(fd, 0, SEEK_SET) == 0 && snap_tree_unpack(fd, to) == 0);
	CHECK(fstatat(to, "file", &st, 0) == 0 && st.st_uid == 993 && st.st_gid == 65535);
	CHECK_EQ(fchownat(from, "file", 1000, 1879048192, 0), 0);
	CHECK_EQ(snap_tree_pack(from, fd, 1879048192, &n, &e), -EOVERFLOW);
	CHECK_EQ(e.kind, ERR_UNSUPPORTED);
	CHECK_CONTAINS(e.msg, "'file': belongs to uid 1000");
	CHECK_EQ(fchown(from, 0, 0), 0);
	end();
}

TEST(an_archive_that_is_cut_anywhere_is_refused)
{
	struct err e = {0};
	uint64_t n = 0;

	REQUIRE(begin());
	CHECK(put_text(from, "file", "content") && mkdirat(from, "dir", 0700) == 0 && put_text(from, "dir/a", "b"));
	CHECK(symlinkat("file", from, "link") == 0 && linkat(from, "file", from, "dir/hard", 0) == 0);

	AUTO_FD int fd = pack_to_memfd(&n, &e);
	AUTO_FREE char *bytes = NULL;
	size_t len = 0;
	REQUIRE_OK(fd, &e);
	CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
	REQUIRE(fd_read_all(fd, 1 << 20, &bytes, &len) == 0);
	for (size_t cut = 0; cut < len; cut++) {
		CHECK_EQ(unpack_bytes(bytes, cut), -EBADMSG);
		REQUIRE(tree_empty(to) == 0);
	}
	CHECK_EQ(unpack_bytes(bytes, len + 1), -EBADMSG); /* the 0 after it */
	REQUIRE(tree_empty(to) == 0);
	CHECK_EQ(unpack_bytes(bytes, len), 0);
	CHECK_EQ(unpack_bytes(bytes, len), -EBADMSG); /* not empty any more */
	end();
}

/* ---- Hostile archives ---- */

static void add_record(struct buf *b, enum tree_kind kind, const char *name, uint64_t size)
{
	const struct tree_record rec = {.kind = (uint8_t)kind,
					.mode = 0700,
					.name_len = (uint16_t)strlen(name),
					.uid = geteuid(),
					.gid = getegid(),
					.size = size};

	buf_add(b, &rec, sizeof rec);
	buf_puts(b, name);
}

static void add_target(struct buf *b, const char *name, const char *target)
{
	add_record(b, TREE_LINK, name, strlen(target));
	buf_puts(b, target);
}

static void add_text(struct buf *b, const char *name, const char *text)
{
	const struct tree_extent x[2] = {{0, strlen(text)}, {strlen(text), 0}};

	add_record(b, TREE_FILE, name, strlen(text));
	buf_add(b, &x[0], sizeof x[0]);
	buf_puts(b, text);
	buf_add(b, &x[1], sizeof x[1]);
}

static void add_path(struct buf *b, const char *name, const char *const *path, size_t n)
{
	add_record(b, TREE_HARD, name, n);
	for (size_t i = 0; i < n; i++) {
		const uint16_t len = (uint16_t)strlen(path[i]);

		buf_add(b, &len, sizeof len);
		buf_puts(b, path[i]);
	}
}

static void check_refused(struct buf *b, uint64_t n, const char *why)
{
	add_record(b, TREE_END, "", n);
	REQUIRE(begin());
	if (!CHECK_EQ(unpack_bytes(b->data, b->len), -EBADMSG))
		tap_note("  %s", why);
	end();
	buf_done(b);
	*b = (struct buf){0};
	buf_puts(b, TREE_MAGIC);
}

TEST(names_that_are_not_one_component_are_refused)
{
	static const char *const names[] = {"..", ".", "/", "a/b", "../canary", "/etc/passwd", "a/"};
	AUTO(buf_done) struct buf b = {0};

	buf_puts(&b, TREE_MAGIC);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		add_text(&b, names[i], "evil");
		check_refused(&b, 1, names[i]);
		add_record(&b, TREE_DIR, names[i], 0);
		add_text(&b, "canary", "evil");
		add_record(&b, TREE_END, "", 0);
		check_refused(&b, 2, names[i]);
		add_target(&b, names[i], "x");
		check_refused(&b, 1, names[i]);
	}
	add_record(&b, TREE_FIFO, "", 0);
	check_refused(&b, 1, "no name");
	add_record(&b, TREE_FIFO, "abc", 0);
	b.data[b.len - 2] = '\0';
	check_refused(&b, 1, "a 0 in a name");
}

TEST(nothing_is_made_through_a_link)
{
	static const char *const up[] = {"up", "canary"}, *const dots[] = {"..", "canary"}, *const none[] = {"gone"};
	static const char *const link[] = {"up"};
	AUTO(buf_done) struct buf b = {0};

	buf_puts(&b, TREE_MAGIC);
	add_target(&b, "up", "..");
	add_record(&b, TREE_DIR, "up", 0);
	add_text(&b, "canary", "evil");
	add_record(&b, TREE_END, "", 0);
	check_refused(&b, 3, "a directory over a link");
	add_target(&b, "up", "../canary");
	add_text(&b, "up", "evil");
	check_refused(&b, 2, "a file over a link");
	add_target(&b, "up", "..");
	add_path(&b, "mine", up, 2);
	check_refused(&b, 2, "another name through a link");
	add_path(&b, "mine", dots, 2);
	check_refused(&b, 1, "another name of what lies above");
	add_path(&b, "mine", none, 1);
	check_refused(&b, 1, "another name of nothing");
	add_target(&b, "up", "../canary");
	add_path(&b, "mine", link, 1);
	add_text(&b, "mine", "evil");
	check_refused(&b, 3, "a file over another name of a link");
	add_path(&b, "mine", NULL, 0);
	check_refused(&b, 1, "no names at all");
}

TEST(records_that_make_no_sense_are_refused)
{
	AUTO(buf_done) struct buf b = {0};
	struct tree_extent x[2] = {{0, 4}, {4, 0}};

	buf_puts(&b, TREE_MAGIC);
	check_refused(&b, 1, "fewer entries than it says");
	add_text(&b, "a", "");
	check_refused(&b, 0, "more entries than it says");
	add_text(&b, "a", "");
	add_text(&b, "a", "");
	check_refused(&b, 2, "the same name twice");
	add_record(&b, TREE_DIR, "a", 0);
	check_refused(&b, 1, "a directory without end");
	add_record(&b, (enum tree_kind)'Z', "a", 0);
	check_refused(&b, 1, "an unknown kind");
	add_record(&b, TREE_LINK, "a", 5000);
	check_refused(&b, 1, "too long a target");
	add_record(&b, TREE_FILE, "a", UINT64_MAX);
	check_refused(&b, 1, "a negative size");
	add_record(&b, TREE_FILE, "a", 3);
	buf_add(&b, x, sizeof x[0]);
	buf_puts(&b, "text");
	check_refused(&b, 1, "an extent beyond the end");
	add_record(&b, TREE_FILE, "a", 8);
	buf_add(&b, x, sizeof x[0]);
	buf_puts(&b, "text");
	buf_add(&b, x, sizeof x[0]);
	buf_puts(&b, "text");
	check_refused(&b, 1, "an extent twice");
	x[0] = (struct tree_extent){UINT64_MAX - 1, 4};
	add_record(&b, TREE_FILE, "a", 8);
	buf_add(&b, x, sizeof x[0]);
	check_refused(&b, 1, "an extent that wraps");
	add_record(&b, TREE_FIFO, "a", 0);
	((struct tree_record *)(void *)(b.data + b.len - 1 - sizeof(struct tree_record)))->mode = 04755;
	check_refused(&b, 1, "set-user-ID");
	for (unsigned i = 0; i <= TREE_LEVELS; i++)
		add_record(&b, TREE_DIR, "d", 0);
	check_refused(&b, TREE_LEVELS + 1, "too deep");
}
