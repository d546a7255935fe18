/* base/: errors, descriptors, arenas, numbers and text. */
#include "tests/lib/tap.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

/* ---- err ---- */

TEST(the_first_error_wins)
{
	struct err e = {0};

	CHECK_EQ(err_set(&e, ERR_SPEC, 0, "first %d", 1), -EINVAL);
	CHECK_EQ(err_set(&e, ERR_BUG, ENOMEM, "second"), -ENOMEM);
	CHECK_EQ(err_sys(&e, ENOENT, "third"), -ENOENT);
	CHECK_EQ(e.kind, ERR_SPEC);
	CHECK_EQ(e.code, 0);
	CHECK_STREQ(e.msg, "first 1");
}

TEST(a_system_error_has_its_text_and_a_kind_from_its_number)
{
	static const struct {
		int code;
		enum err_kind kind;
	} cases[] = {{EPERM, ERR_DENIED},  {EACCES, ERR_DENIED}, {EROFS, ERR_DENIED},       {ENOENT, ERR_NOT_FOUND},
		     {EEXIST, ERR_EXISTS}, {EBUSY, ERR_BUSY},    {ENOSYS, ERR_UNSUPPORTED}, {EMFILE, ERR_LIMIT},
		     {ENOSPC, ERR_LIMIT},  {EIO, ERR_SYSTEM}};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err plus = {0}, minus = {0};

		CHECK_EQ(err_sys(&plus, cases[i].code, "doing"), -cases[i].code);
		CHECK_EQ(err_sys(&minus, -cases[i].code, "doing"), -cases[i].code);
		CHECK_EQ(plus.kind, cases[i].kind);
		CHECK_EQ(minus.kind, cases[i].kind);
		CHECK_EQ(minus.code, cases[i].code);
		CHECK_STREQ(plus.msg, minus.msg);
	}

	struct err e = {0};
	(void)err_sys(&e, ENOENT, "opening '%s'", "/x");
	CHECK_STREQ(e.msg, "opening '/x': No such file or directory");
	struct err odd = {0};
	(void)err_sys(&odd, 4000, "x");
	CHECK_STREQ(odd.msg, "x: unknown error");
	struct err least = {0}; /* no errno, but a message from outside can hold it, and it has no negative */
	CHECK_EQ(err_sys(&least, INT_MIN, "x"), -EPROTO);
}

TEST(context_goes_in_front_and_place_and_remedy_stay_the_first)
{
	struct err e = {0};

	(void)err_set(&e, ERR_SPEC, 0, "expected a number");
	CHECK_EQ(err_ctx(&e, -5, "reading '%s'", "f"), -5);
	CHECK_STREQ(e.msg, "reading 'f': expected a number");
	CHECK_EQ(err_where(&e, -6, "f:%d", 3), -6);
	CHECK_EQ(err_where(&e, -6, "g"), -6);
	CHECK_STREQ(e.where, "f:3");
	CHECK_EQ(err_hint(&e, -7, "give one"), -7);
	CHECK_EQ(err_hint(&e, -7, "or two"), -7);
	CHECK_STREQ(e.hint, "give one");
}

TEST(texts_that_do_not_fit_are_cut_and_terminated)
{
	char big[2000];
	struct err e = {0};

	memset(big, 'x', sizeof big - 1);
	big[sizeof big - 1] = '\0';
	(void)err_sys(&e, ENOENT, "%s", big);
	CHECK_EQ(strlen(e.msg), sizeof e.msg - 1);
	(void)err_ctx(&e, -1, "%s", big);
	CHECK_EQ(strlen(e.msg), sizeof e.msg - 1);
	(void)err_where(&e, -1, "%s", big);
	CHECK_EQ(strlen(e.where), sizeof e.where - 1);
	(void)err_hint(&e, -1, "%s", big);
	CHECK_EQ(strlen(e.hint), sizeof e.hint - 1);
}

TEST(an_error_from_another_process_is_not_trusted)
{
	struct err foreign, e = {0};

	memset(&foreign, 'A', sizeof foreign);
	CHECK_LT(err_adopt(&e, &foreign), 0);
	CHECK_EQ(e.kind, ERR_BUG);
	CHECK_EQ(e.code, EPROTO);
	CHECK_EQ(strlen(e.msg), sizeof e.msg - 1);
	CHECK_EQ(strlen(e.stage), sizeof e.stage - 1);
	CHECK_EQ(strlen(e.where), sizeof e.where - 1);
	CHECK_EQ(strlen(e.hint), sizeof e.hint - 1);

	struct err none = {0}, empty = {0};
	CHECK_LT(err_adopt(&none, &empty), 0); /* an error that says there is none is one */
	CHECK_EQ(none.kind, ERR_BUG);

	struct err good = {.kind = ERR_DENIED, .code = EPERM, .msg = "no"}, mine = {0};
	CHECK_EQ(err_adopt(&mine, &good), -EPERM);
	CHECK_STREQ(mine.msg, "no");
	CHECK_EQ(err_adopt(&mine, &foreign), -EPROTO);
	CHECK_STREQ(mine.msg, "no");
}

TEST(every_kind_has_a_name_and_no_two_have_the_same)
{
	for (int i = ERR_NONE + 1; i < ERR_KIND_COUNT; i++) {
		CHECK(err_kind_name((enum err_kind)i)[0] != '\0');
		for (int k = ERR_NONE + 1; k < i; k++)
			CHECK_STRNE(err_kind_name((enum err_kind)i), err_kind_name((enum err_kind)k));
	}
	CHECK_STREQ(err_kind_name(ERR_NONE), "");
	CHECK_STREQ(err_kind_name((enum err_kind)99), "InternalError");
	CHECK_STREQ(err_kind_name((enum err_kind) - 1), "InternalError");
}

/* ---- fd ---- */

TEST(a_descriptor_is_closed_once_and_errno_stays)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC), copy = fd;

	errno = E2BIG;
	fd_closep(&fd);
	CHECK_EQ(fd, FD_NONE);
	CHECK_EQ(errno, E2BIG);
	CHECK_EQ(fcntl(copy, F_GETFD), -1);
	fd_closep(&fd);
	fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	copy = take_fd(&fd);
	CHECK(!fd_valid(fd));
	CHECK(fd_valid(copy));
	fd_closep(&copy);
}

TEST(a_descriptor_moves_above_a_number_and_closes_on_exec)
{
	int fd = open("/dev/null", O_RDONLY), old = fd;

	CHECK_EQ(fd_move_above(&fd, 100), 0);
	CHECK_GE(fd, 100);
	CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
	CHECK_EQ(fcntl(old, F_GETFD), -1);
	old = fd;
	CHECK_EQ(fd_move_above(&fd, 50), 0); /* high enough already */
	CHECK_EQ(fd, old);
	fd_closep(&fd);
	fd = -1;
	CHECK_EQ(fd_move_above(&fd, 50), -EBADF);
}

TEST(closed_stdio_is_filled_and_open_stdio_is_left)
{
	pid_t pid = fork();

	if (pid == 0) {
		(void)close(0);
		(void)close(2);
		if (fd_fill_stdio() < 0 || fcntl(0, F_GETFD) < 0 || fcntl(2, F_GETFD) < 0)
			_exit(1);
		if ((fcntl(0, F_GETFL) & O_ACCMODE) != O_RDONLY || (fcntl(2, F_GETFL) & O_ACCMODE) != O_WRONLY)
			_exit(2);
		_exit(0);
	}
	int status = -1;
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
}

static int pipe_with(const char *data, size_t len)
{
	int p[2] = {-1, -1};

	CHECK(pipe2(p, O_CLOEXEC) == 0);
	CHECK_EQ(fd_write_all(p[1], data, len), 0);
	(void)close(p[1]);
	return p[0];
}

TEST(reading_all_stops_at_the_limit_and_not_one_byte_before)
{
	char data[10000];

	memset(data, 'd', sizeof data);
	for (size_t len = 0; len < sizeof data; len = len * 2 + 1) {
		for (int over = -1; over <= 1; over++) {
			AUTO_FD int fd = pipe_with(data, len);
			AUTO_FREE char *got = NULL;
			size_t got_len = 77, max = (size_t)((ssize_t)len + over);

			if ((ssize_t)len + over < 0)
				continue;

			int r = fd_read_all(fd, max, &got, &got_len);
			CHECK_EQ(r, len > max ? -EFBIG : 0);
			if (r == 0) {
				CHECK_EQ(got_len, len);
				CHECK_EQ(got[len], '\0');
				CHECK_MEMEQ(got, data, len);
			} else {
				CHECK(!got);
				CHECK_EQ(got_len, 77);
			}
		}
	}
	AUTO_FREE char *got = NULL;
	size_t len;
	CHECK_EQ(fd_read_all(-1, 10, &got, &len), -EBADF);
}

TEST(writing_all_waits_for_a_pipe_that_is_full)
{
	enum { LEN = 1 << 20 };
	AUTO_FREE char *data = calloc(1, LEN);
	int p[2] = {-1, -1};

	REQUIRE(data && pipe2(p, O_CLOEXEC | O_NONBLOCK) == 0);
	pid_t pid = fork();
	if (pid == 0) {
		char chunk[4096];
		size_t n = 0;

		(void)close(p[1]);
		(void)fcntl(p[0], F_SETFL, 0);
		for (ssize_t r; (r = read(p[0], chunk, sizeof chunk)) > 0;)
			n += (size_t)r;
		_exit(n == LEN ? 0 : 1);
	}
	(void)close(p[0]);
	CHECK_EQ(fd_write_all(p[1], data, LEN), 0);
	(void)close(p[1]);
	int status = -1;
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
}

TEST(writing_to_a_pipe_without_reader_is_an_error_value)
{
	int p[2] = {-1, -1};

	(void)signal(SIGPIPE, SIG_IGN);
	REQUIRE(pipe2(p, O_CLOEXEC) == 0);
	(void)close(p[0]);
	CHECK_EQ(fd_write_all(p[1], "x", 1), -EPIPE);
	CHECK_EQ(fd_write_all(p[1], "", 0), 0);
	(void)close(p[1]);
}

TEST(small_files_are_read_without_their_last_newline_and_have_to_fit)
{
	char path[] = "/tmp/fsbox-test-XXXXXX", buf[16];
	int fd = mkstemp(path);

	REQUIRE(fd >= 0);
	CHECK_EQ(write(fd, "123456\n", 7), 7);
	CHECK_EQ(fd_read_file_at(AT_FDCWD, path, buf, sizeof buf), 6);
	CHECK_STREQ(buf, "123456");
	CHECK_EQ(fd_read_file_at(AT_FDCWD, path, buf, 8), 6);
	CHECK_EQ(fd_read_file_at(AT_FDCWD, path, buf, 7), -EFBIG);
	CHECK_EQ(fd_read_file_at(AT_FDCWD, path, buf, 1), -EFBIG);
	CHECK_EQ(fd_write_file_at(AT_FDCWD, path, "max\n", 4), 0);
	CHECK_EQ(fd_read_file_at(AT_FDCWD, path, buf, sizeof buf), 6); /* "max", newline, "56": not truncated */
	CHECK_EQ(unlink(path), 0);
	CHECK_EQ(fd_read_file_at(AT_FDCWD, path, buf, sizeof buf), -ENOENT);
	CHECK_EQ(fd_write_file_at(AT_FDCWD, path, "x", 1), -ENOENT);
	(void)close(fd);
}

/* ---- mem ---- */

TEST(an_arena_gives_zeroed_aligned_memory_of_any_size)
{
	AUTO(arena_done) struct arena a = {0};

	for (size_t size = 0; size < 100000; size = size * 3 + 1) {
		unsigned char *p = arena_alloc(&a, size);

		REQUIRE(p);
		CHECK_EQ((uintptr_t)p % _Alignof(max_align_t), 0);
		for (size_t i = 0; i < size; i++)
			if (!CHECK(p[i] == 0))
				return;
		memset(p, 0xff, size); /* the next one must not lie on it */
	}
	CHECK(!arena_alloc(&a, SIZE_MAX));
	CHECK(!arena_alloc(&a, SIZE_MAX - 64));
	CHECK(!arena_memdup(&a, "x", SIZE_MAX));
}

TEST(an_arena_copies_and_prints)
{
	AUTO(arena_done) struct arena a = {0};
	char big[20000];

	memset(big, 'b', sizeof big - 1);
	big[sizeof big - 1] = '\0';
	CHECK_STREQ(arena_strdup(&a, "text"), "text");
	CHECK_STREQ(arena_strdup(&a, ""), "");
	CHECK_MEMEQ(arena_memdup(&a, "a\0b", 3), "a\0b\0", 4);
	CHECK_STREQ(arena_printf(&a, "%d-%s", 7, "x"), "7-x");
	CHECK_STREQ(arena_printf(&a, "%s", big), big);
}

TEST(what_is_taken_is_no_longer_owned)
{
	AUTO_FREE char *p = malloc(1);
	AUTO_FREE char *q = take_ptr(&p);

	CHECK(!p);
	CHECK(q != NULL);
}

/* ---- str ---- */

TEST(numbers_are_digits_within_their_range_and_nothing_else)
{
	static const char *const bad[] = {"",
					  " 1",
					  "1 ",
					  "+1",
					  "-1",
					  "0x1",
					  "1.0",
					  "1e3",
					  "18446744073709551616",
					  "99999999999999999999999",
					  "\xd9\xa1",
					  "1\n"};
	uint64_t v = 42;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (!CHECK(!parse_u64(bad[i], 0, UINT64_MAX, &v)))
			tap_note("'%s'", bad[i]);
	CHECK_EQ(v, 42);
	CHECK(parse_u64("18446744073709551615", 0, UINT64_MAX, &v));
	CHECK(v == UINT64_MAX);
	CHECK(parse_u64("007", 7, 7, &v));
	CHECK_EQ(v, 7);
	CHECK(!parse_u64("6", 7, 9, &v));
	CHECK(!parse_u64("10", 7, 9, &v));
}

TEST(seconds_have_up_to_nine_decimals)
{
	static const struct {
		const char *text;
		uint64_t ns;
	} good[] = {{"3", 3000000000},
		    {"0.25", 250000000},
		    {"900.0", 900000000000},
		    {".5", 500000000},
		    {"1.", 1000000000},
		    {"0.000000001", 1},
		    {"0", 0},
		    {"18446744073.709551615", UINT64_MAX}};
	static const char *const bad[] = {
		"",    ".",  "-1", "1e2",   "1.0000000001",          "1,5",         "inf",
		"nan", " 1", "1s", "1.2.3", "18446744073.709551616", "18446744074", "99999999999999999999"};
	uint64_t ns = 42;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (!CHECK(!parse_seconds(bad[i], &ns)))
			tap_note("'%s'", bad[i]);
	CHECK_EQ(ns, 42);
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		if (!CHECK(parse_seconds(good[i].text, &ns) && ns == good[i].ns))
			tap_note("'%s'", good[i].text);
}

TEST(utf_8_is_what_rfc_3629_says)
{
	static const char *const good[] = {"",
					   "a",
					   "\xc2\x80",
					   "\xdf\xbf",
					   "\xe0\xa0\x80",
					   "\xed\x9f\xbf",
					   "\xee\x80\x80",
					   "\xef\xbf\xbf",
					   "\xf0\x90\x80\x80",
					   "\xf4\x8f\xbf\xbf"};
	static const char *const bad[] = {"\x80",
					  "\xbf",
					  "\xc0\x80",
					  "\xc1\xbf",
					  "\xc2",
					  "\xc2z",
					  "\xe0\x9f\xbf",
					  "\xe0\xa0",
					  "\xed\xa0\x80",
					  "\xed\xbf\xbf",
					  "\xf0\x8f\xbf\xbf",
					  "\xf0\x90\x80",
					  "\xf4\x90\x80\x80",
					  "\xf5\x80\x80\x80",
					  "\xff",
					  "\xfe",
					  "ok\xff"};

	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		if (!CHECK(str_is_utf8(good[i], strlen(good[i]))))
			tap_note("good %zu", i);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (!CHECK(!str_is_utf8(bad[i], strlen(bad[i]))))
			tap_note("bad %zu", i);
	CHECK(str_is_utf8("a\0b", 3));
}

/* The same by way of the code points: each one up to the end, encoded as RFC 3629 does. */
TEST(every_code_point_but_surrogates_is_utf_8)
{
	for (uint32_t c = 0; c < 0x110800; c++) {
		char s[4];
		size_t n = 0;

		if (c < 0x80) {
			s[n++] = (char)c;
		} else if (c < 0x800) {
			s[n++] = (char)(0xc0 | c >> 6);
			s[n++] = (char)(0x80 | (c & 63));
		} else if (c < 0x10000) {
			s[n++] = (char)(0xe0 | c >> 12);
			s[n++] = (char)(0x80 | (c >> 6 & 63));
			s[n++] = (char)(0x80 | (c & 63));
		} else {
			s[n++] = (char)(0xf0 | c >> 18);
			s[n++] = (char)(0x80 | (c >> 12 & 63));
			s[n++] = (char)(0x80 | (c >> 6 & 63));
			s[n++] = (char)(0x80 | (c & 63));
		}
		bool wanted = c < 0x110000 && (c < 0xd800 || c > 0xdfff);
		if (str_is_utf8(s, n) != wanted && !CHECK_EQ(c, 0))
			return;
	}
}

TEST(a_buffer_grows_is_terminated_and_drops_from_its_front)
{
	AUTO(buf_done) struct buf b = {0};

	buf_puts(&b, "ab");
	buf_add(&b, "\0c", 2);
	CHECK_EQ(b.len, 4);
	CHECK_MEMEQ(b.data, "ab\0c\0", 5);
	buf_printf(&b, "%05d", 42);
	CHECK_STREQ(b.data + 4, "00042");
	buf_drop(&b, 4);
	CHECK_EQ(b.len, 5);
	CHECK_MEMEQ(b.data, "00042", 5);
	buf_drop(&b, 100);
	CHECK_EQ(b.len, 0);
	for (int i = 0; i < 10000; i++)
		buf_printf(&b, "%d,", i);
	CHECK(!b.failed);
	CHECK_EQ(b.data[b.len], '\0');
	CHECK_EQ(b.len, 48890);
}

TEST(a_buffer_that_could_not_grow_stays_as_it_was_and_says_so)
{
	AUTO(buf_done) struct buf b = {0};

	buf_puts(&b, "kept");
	buf_add(&b, "x", SIZE_MAX - 2);
	CHECK(b.failed);
	CHECK_STREQ(b.data, "kept");
	buf_puts(&b, "more");
	CHECK_STREQ(b.data, "kept");
}

TEST(clocks_go_forward_in_nanoseconds)
{
	uint64_t a = clock_mono_ns(), b = clock_mono_ns();

	CHECK_GE(b, a);
	CHECK_LT(b - a, NS_PER_S);
	CHECK_GT(clock_wall_ns(), UINT64_C(1700000000) * NS_PER_S);
}

/* ---- Descriptors beside a message ---- */

/* The lowest free number: what is left open moves it. */
static int lowest_free(void)
{
	const int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	(void)close(fd);
	return fd;
}

TEST(descriptors_come_whole_or_it_is_said)
{
	const int before = lowest_free();
	int sv[2], sent[FD_PASS_MAX + 1], came[FD_PASS_MAX];
	struct fd_passed p;
	char text[8];

	REQUIRE(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) == 0);
	for (size_t i = 0; i < ARRAY_LEN(sent); i++)
		sent[i] = sv[0];
	CHECK_EQ(fd_send(sv[0], "whole", 5, sent, FD_PASS_MAX, 0), 5);
	CHECK_EQ(fd_receive(sv[1], text, sizeof text, came, FD_PASS_MAX, 0, &p), 5);
	CHECK(p.n == FD_PASS_MAX && !p.too_many && !p.lost && !p.cut);
	for (size_t i = 0; i < p.n; i++) {
		CHECK(fcntl(came[i], F_GETFD) & FD_CLOEXEC);
		(void)close(came[i]);
	}
	/* More than are wanted: the rest is closed. None wanted: the kernel keeps them. */
	CHECK_EQ(fd_send(sv[0], "too many", 8, sent, 3, 0), 8);
	CHECK_EQ(fd_receive(sv[1], text, 3, came, 2, 0, &p), 3);
	CHECK(p.n == 2 && p.too_many && !p.lost && p.cut);
	(void)close(came[0]);
	(void)close(came[1]);
	CHECK_EQ(fd_send(sv[0], "none", 4, sent, 1, 0), 4);
	CHECK_EQ(fd_receive(sv[1], text, sizeof text, NULL, 0, 0, &p), 4);
	CHECK(p.n == 0 && !p.too_many && p.lost && !p.cut);
	CHECK_EQ(fd_send(sv[0], "x", 1, sent, FD_PASS_MAX + 1, 0), -EINVAL);
	CHECK_EQ(fd_receive(sv[1], text, sizeof text, came, 1, MSG_DONTWAIT, &p), -EAGAIN);
	(void)close(sv[0]);
	CHECK_EQ(fd_receive(sv[1], text, sizeof text, came, 1, 0, &p), 0);
	CHECK_EQ(fd_send(sv[1], "x", 1, NULL, 0, 0), -EPIPE);
	(void)close(sv[1]);
	CHECK_EQ(lowest_free(), before);
}
