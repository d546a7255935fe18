/* Each invocation at most once: states, replacement, a kill at any moment, files that are not ours. */
#include "base/fd.h"
#include "base/mem.h"
#include "daemon/once.h"
#include "tests/lib/tap.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { SETS = ONCE_ENTRIES / ONCE_WAYS };

static char path[64];

/* /dev/shm is a tmpfs on every Linux; /tmp will do where there is none. */
static void setup(void)
{
	(void)snprintf(path, sizeof path, "%s/fsbox-once-%d", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp",
		       (int)getpid());
	(void)unlink(path);
}

static void teardown(void)
{
	CHECK_EQ(unlink(path), 0);
}

static bool open_it(struct once *o)
{
	struct err e = {0};

	return CHECK_OK(once_open(o, path, &e), &e);
}

static const char *name_of(unsigned i)
{
	static char name[32];

	(void)snprintf(name, sizeof name, "invocation-%u", i);
	return name;
}

/* ---- The hash ---- */

/* The key and the messages of the authors' reference: bytes 0, 1, 2, …; the results are those of `openssl mac -macopt
 * hexkey:000102030405060708090a0b0c0d0e0f -macopt size:16 SIPHASH`, which is another implementation. */
static const struct {
	size_t len;
	const char *hex;
} vectors[] = {
	{0, "a3817f04ba25a8e66df67214c7550293"},   {1, "da87c1d86b99af44347659119b22fc45"},
	{2, "8177228da4a45dc7fca38bdef60affe4"},   {3, "9c70b60c5267a94e5f33b6b02985ed51"},
	{4, "f88164c12d9c8faf7d0f6e7c7bcd5579"},   {5, "1368875980776f8854527a07690e9627"},
	{6, "14eeca338b208613485ea0308fd7a15e"},   {7, "a1f1ebbed8dbc153c0b84aa61ff08239"},
	{8, "3b62a9ba6258f5610f83e264f31497b4"},   {9, "264499060ad9baabc47f8b02bb6d71ed"},
	{10, "00110dc378146956c95447d3f3d0fbba"},  {11, "0151c568386b6677a2b4dc6f81e5dc18"},
	{12, "d626b266905ef35882634df68532c125"},  {13, "9869e247e9c08b10d029934fc4b952f7"},
	{14, "31fcefac66d7de9c7ec7485fe4494902"},  {15, "5493e99933b0a8117e08ec0f97cfc3d9"},
	{16, "6ee2a4ca67b054bbfd3315bf85230577"},  {23, "c9d184ddd5a9f5e0cf8ce29a9abf691c"},
	{24, "2db479ae78bd50d8882a8a178a6132ad"},  {31, "2939b0183223fafc1723de4f52c43d35"},
	{63, "5150d1772f50834a503e069a973fbd7c"},  {64, "1eaf077dc0d4cd3f8cad4d383658a74b"},
	{200, "7c5853f4ed12ff9d836a79bc4047022d"}, {255, "1c9bb67528165f8e468248e3799b0eab"},
	{256, "67a00304d3834c4612eaee7b5f579acb"},
};

TEST(siphash_has_the_results_of_other_implementations)
{
	unsigned char key[16], data[256], out[16];
	char hex[33];

	for (size_t i = 0; i < sizeof key; i++)
		key[i] = (unsigned char)i;
	for (size_t i = 0; i < sizeof data; i++)
		data[i] = (unsigned char)i;
	for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
		AUTO_FREE unsigned char *exact = malloc(vectors[i].len +
							1); /* one byte off, for words that lie anywhere */

		REQUIRE(exact);
		memcpy(exact + 1, data, vectors[i].len);
		once_siphash(key, exact + 1, vectors[i].len, out);
		for (size_t k = 0; k < sizeof out; k++)
			(void)snprintf(hex + 2 * k, 3, "%02x", out[k]);
		if (!CHECK_STREQ(hex, vectors[i].hex))
			tap_note("  of %zu bytes", vectors[i].len);
	}
}

/* ---- States ---- */

TEST(an_invocation_is_new_then_begun_then_done)
{
	AUTO(once_close) struct once o;

	setup();
	REQUIRE(open_it(&o));
	CHECK_STREQ(o.note, "");
	CHECK_EQ(once_look(&o, 1, "a"), ONCE_NEW);
	CHECK_EQ(once_begin(&o, 1, "a", 5), ONCE_NEW);
	CHECK_EQ(once_look(&o, 1, "a"), ONCE_BEGUN);
	CHECK_EQ(once_begin(&o, 1, "a", 6), ONCE_BEGUN);
	once_done(&o, 1, "a");
	CHECK_EQ(once_begin(&o, 1, "a", 7), ONCE_DONE);
	CHECK_EQ(once_look(&o, 1, "a"), ONCE_DONE);
	once_done(&o, 1, "b"); /* not there: nothing */
	CHECK_EQ(once_look(&o, 1, "b"), ONCE_NEW);
	teardown();
}

TEST(users_do_not_meet)
{
	AUTO(once_close) struct once o;

	setup();
	REQUIRE(open_it(&o));
	CHECK_EQ(once_begin(&o, 1, "a", 5), ONCE_NEW);
	CHECK_EQ(once_begin(&o, 2, "a", 5), ONCE_NEW);
	CHECK_EQ(once_begin(&o, 1, "1", 5), ONCE_NEW);
	CHECK_EQ(once_look(&o, 11, ""), ONCE_NEW); /* "1" + "1" is not "11" + "" */
	CHECK_EQ(once_begin(&o, 11, "", 5), ONCE_NEW);
	once_done(&o, 1, "a");
	CHECK_EQ(once_look(&o, 2, "a"), ONCE_BEGUN);
	CHECK_EQ(once_look(&o, 4294967294U, "a"), ONCE_NEW);
	teardown();
}

TEST(what_was_refused_after_all_may_be_tried_again)
{
	AUTO(once_close) struct once o;

	setup();
	REQUIRE(open_it(&o));
	CHECK_EQ(once_begin(&o, 1, "a", 5), ONCE_NEW);
	once_forget(&o, 1, "a");
	CHECK_EQ(once_look(&o, 1, "a"), ONCE_NEW);
	CHECK_EQ(once_begin(&o, 1, "a", 5), ONCE_NEW);
	teardown();
}

TEST(the_states_are_there_when_it_is_opened_again)
{
	AUTO(once_close) struct once o;

	setup();
	REQUIRE(open_it(&o));
	for (unsigned i = 0; i < 5000; i++) {
		CHECK_EQ(once_begin(&o, 1, name_of(i), 5), ONCE_NEW);
		if (i % 3 == 0)
			once_done(&o, 1, name_of(i));
	}
	once_close(&o);
	REQUIRE(open_it(&o));
	CHECK_STREQ(o.note, "");
	for (unsigned i = 0; i < 5000; i++)
		if (!CHECK_EQ(once_look(&o, 1, name_of(i)), i % 3 == 0 ? ONCE_DONE : ONCE_BEGUN))
			return;
	teardown();
}

/* ---- Replacement ---- */

TEST(the_last_ones_are_remembered_and_the_oldest_go)
{
	AUTO(once_close) struct once o;
	unsigned recent = 0, old = 0;

	setup();
	REQUIRE(open_it(&o));
	for (unsigned i = 0; i < 4 * ONCE_ENTRIES; i++) {
		CHECK_EQ(once_begin(&o, 1, name_of(i), 1), ONCE_NEW);
		once_done(&o, 1, name_of(i));
	}
	for (unsigned i = 0; i < 4 * ONCE_ENTRIES; i++) {
		bool there = once_look(&o, 1, name_of(i)) == ONCE_DONE;

		recent += there && i >= 4 * ONCE_ENTRIES - SETS;
		old += there && i < 2 * ONCE_ENTRIES;
	}
	CHECK_EQ(recent, SETS); /* one for each set; that one gets 17 has odds of 1 in 2^37 */
	CHECK_LT(old, ONCE_ENTRIES / 50);
	teardown();
}

TEST(what_runs_outlives_what_is_done)
{
	AUTO(once_close) struct once o;

	setup();
	REQUIRE(open_it(&o));
	for (unsigned i = 0; i < 1000; i++)
		CHECK_EQ(once_begin(&o, 7, name_of(i), 100), ONCE_NEW);
	for (unsigned i = 0; i < 4 * ONCE_ENTRIES; i++) {
		(void)once_begin(&o, 1, name_of(i), 101);
		once_done(&o, 1, name_of(i));
	}
	for (unsigned i = 0; i < 1000; i++)
		if (!CHECK_EQ(once_look(&o, 7, name_of(i)), ONCE_BEGUN))
			return;
	/* Those that a crash left behind do not stay for ever. */
	for (unsigned i = 0; i < 4 * ONCE_ENTRIES; i++) {
		(void)once_begin(&o, 2, name_of(i), 100 + ONCE_BEGUN_S);
		once_done(&o, 2, name_of(i));
	}
	for (unsigned i = 0; i < 1000; i++)
		if (!CHECK_EQ(once_look(&o, 7, name_of(i)), ONCE_NEW))
			return;
	teardown();
}

TEST(nobodys_go_because_others_make_many)
{
	AUTO(once_close) struct once o;

	setup();
	REQUIRE(open_it(&o));
	for (unsigned i = 0; i < 1000; i++) {
		CHECK_EQ(once_begin(&o, 7, name_of(i), 100), ONCE_NEW);
		once_done(&o, 7, name_of(i));
	}
	for (unsigned i = 0; i < 4 * ONCE_ENTRIES; i++) {
		(void)once_begin(&o, 1, name_of(i), 101);
		once_done(&o, 1, name_of(i));
	}
	for (unsigned i = 0; i < 1000; i++)
		if (!CHECK_EQ(once_look(&o, 7, name_of(i)), ONCE_DONE))
			return;
	CHECK_EQ(once_look(&o, 1, name_of(4 * ONCE_ENTRIES - 1)), ONCE_DONE);
	teardown();
}

TEST(the_order_goes_on_when_it_is_opened_again)
{
	AUTO(once_close) struct once o;

	setup();
	REQUIRE(open_it(&o));
	for (unsigned i = 0; i < 3 * ONCE_ENTRIES; i++) {
		(void)once_begin(&o, 1, name_of(i), 1);
		once_done(&o, 1, name_of(i));
	}
	once_close(&o);
	/* The counter is found again from the entries: what the head says of it is no matter. */
	AUTO_FD int fd = open(path, O_RDWR | O_CLOEXEC);
	REQUIRE(fd >= 0 && pwrite(fd, "\0\0\0\0\0\0\0\0", 8, 56) == 8);
	REQUIRE(open_it(&o));
	for (unsigned i = 0; i < 1000; i++) { /* the newest, though their clock says nothing */
		(void)once_begin(&o, 2, name_of(i), 0);
		once_done(&o, 2, name_of(i));
	}
	for (unsigned i = 0; i < 5000; i++) {
		(void)once_begin(&o, 3, name_of(i), 0);
		once_done(&o, 3, name_of(i));
	}
	for (unsigned i = 0; i < 1000; i++)
		if (!CHECK_EQ(once_look(&o, 2, name_of(i)), ONCE_DONE))
			return;
	teardown();
}

/* ---- Killed ---- */

/* Begins one after the other and says each that has begun through a pipe: what was said is in the table, whenever the child
 * is killed. Those that are done are said as well. */
static void begin_for_ever(int out)
{
	struct once o;
	struct err e = {0};

	if (once_open(&o, path, &e) < 0)
		_exit(1);
	for (uint32_t i = 0;; i++) {
		uint32_t said = i * 2;

		if (once_begin(&o, 1, name_of(i), 1) != ONCE_NEW || write(out, &said, sizeof said) != sizeof said)
			_exit(2);
		once_done(&o, 1, name_of(i));
		said++;
		if (write(out, &said, sizeof said) != sizeof said)
			_exit(3);
	}
}

/* Kills a child that has said @n words; what it said last is returned. */
static uint32_t kill_after(uint32_t n)
{
	uint32_t word = 0, last = 0, got = 0;
	int p[2], status = 0;

	if (pipe2(p, O_CLOEXEC) < 0)
		abort();
	pid_t pid = fork();
	if (pid == 0)
		begin_for_ever(p[1]);
	(void)close(p[1]);
	while (read(p[0], &word, sizeof word) == (ssize_t)sizeof word) {
		last = word;
		if (++got == n)
			(void)kill(pid, SIGKILL);
	}
	(void)close(p[0]);
	CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	return last;
}

TEST(what_began_is_known_after_a_kill_at_any_moment)
{
	for (uint32_t n = 1; n <= 40; n++) {
		AUTO(once_close) struct once o;

		setup();
		uint32_t last = kill_after(n * 7 - n % 3);
		REQUIRE(open_it(&o));
		CHECK_STREQ(o.note, "");
		for (uint32_t i = 0; i <= last / 2; i++) {
			enum once_state state = once_look(&o, 1, name_of(i));
			bool done_was_said = i < last / 2 || last % 2 == 1;

			if (!CHECK(state == ONCE_DONE || (!done_was_said && state == ONCE_BEGUN)))
				tap_note("  %u of %u: state %d", i, last, (int)state);
		}
		CHECK_EQ(once_look(&o, 1, name_of(last / 2 + 2)), ONCE_NEW); /* one more may have begun, unsaid */
		teardown();
	}
}

/* ---- Files ---- */

TEST(two_daemons_cannot_share_it)
{
	AUTO(once_close) struct once o, other;
	struct err e = {0};

	setup();
	REQUIRE(open_it(&o));
	CHECK_EQ(once_open(&other, path, &e), -EBUSY);
	CHECK_EQ(e.kind, ERR_BUSY);
	CHECK_STREQ(e.where, path);
	CHECK(!other.map && !fd_valid(other.fd));
	CHECK_EQ(once_begin(&o, 1, "a", 1), ONCE_NEW); /* and the first one is unharmed */
	once_close(&o);
	REQUIRE(open_it(&other));
	CHECK_EQ(once_look(&other, 1, "a"), ONCE_BEGUN);
	teardown();
}

TEST(the_file_is_the_owners_alone_and_has_all_its_pages)
{
	AUTO(once_close) struct once o;
	struct stat st;

	setup();
	REQUIRE(open_it(&o));
	CHECK(stat(path, &st) == 0 && (st.st_mode & 07777) == 0600);
	CHECK_EQ(st.st_size, 4096 + ONCE_ENTRIES * 32);
	CHECK_GE(st.st_blocks * 512, st.st_size);
	CHECK(fcntl(o.fd, F_GETFD) & FD_CLOEXEC);
	teardown();
}

static void put_byte(off_t at, unsigned char flip)
{
	AUTO_FD int fd = open(path, O_RDWR | O_CLOEXEC);
	unsigned char byte;

	CHECK(fd >= 0 && pread(fd, &byte, 1, at) == 1);
	byte ^= flip;
	CHECK(pwrite(fd, &byte, 1, at) == 1);
}

/* Opened with that note, empty, and of use. */
static void check_made_anew(const char *note)
{
	AUTO(once_close) struct once o;

	REQUIRE(open_it(&o));
	CHECK_CONTAINS(o.note, "made anew: ");
	CHECK_CONTAINS(o.note, note);
	CHECK_EQ(once_begin(&o, 1, "kept", 1), ONCE_NEW);
	once_close(&o);
	REQUIRE(open_it(&o));
	CHECK_STREQ(o.note, "");
	CHECK_EQ(once_look(&o, 1, "kept"), ONCE_BEGUN);
}

static void make_one(void)
{
	AUTO(once_close) struct once o;

	(void)unlink(path);
	if (open_it(&o))
		CHECK_EQ(once_begin(&o, 1, "kept", 1), ONCE_NEW);
}

TEST(a_file_that_is_damaged_is_made_anew)
{
	off_t slot = 4096;
	uint64_t stamp = 0;

	setup();
	make_one();
	put_byte(0, 1);
	check_made_anew("no table of invocations");
	make_one();
	put_byte(8, 3);
	check_made_anew("another version");
	for (off_t at = 12; at < 56; at++) { /* numbers, key and check */
		make_one();
		put_byte(at, 0x40);
		check_made_anew("its head is damaged");
	}
	make_one();
	CHECK_EQ(truncate(path, 4096 + ONCE_ENTRIES * 32 - 1), 0);
	check_made_anew("another size");
	CHECK_EQ(truncate(path, 1 << 23), 0);
	check_made_anew("another size");

	/* The one entry that is there: its set, its state. */
	make_one();
	AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
	for (; pread(fd, &stamp, 8, slot + 24) == 8 && stamp == 0; slot += 32)
		;
	CHECK_EQ(stamp & 3, ONCE_BEGUN);
	put_byte(slot, 1);
	check_made_anew("an entry is damaged");
	make_one();
	fd_closep(&fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	for (slot = 4096; pread(fd, &stamp, 8, slot + 24) == 8 && stamp == 0; slot += 32)
		;
	put_byte(slot + 24, 2); /* begun and done at once */
	check_made_anew("an entry is damaged");
	teardown();
}

TEST(an_empty_file_and_one_of_zeros_are_made_anew)
{
	setup();
	AUTO_FD int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	AUTO(once_close) struct once o;
	REQUIRE(fd >= 0 && open_it(&o));
	CHECK_STREQ(o.note, ""); /* as open(2) with O_CREAT leaves it: a kill came early */
	once_close(&o);
	CHECK(ftruncate(fd, 0) == 0 && ftruncate(fd, 4096 + ONCE_ENTRIES * 32) == 0);
	fd_closep(&fd);
	check_made_anew("no table of invocations");
	teardown();
}

TEST(what_is_no_regular_file_or_anothers_gives_way)
{
	char target[80];
	struct stat st;

	setup();
	(void)snprintf(target, sizeof target, "%s.target", path);
	AUTO_FD int fd = open(target, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	REQUIRE(fd >= 0 && write(fd, "x", 1) == 1);
	CHECK_EQ(symlink(target, path), 0);
	check_made_anew("no regular file");
	CHECK(lstat(path, &st) == 0 && S_ISREG(st.st_mode));
	CHECK(fstat(fd, &st) == 0 && st.st_size == 1 && st.st_nlink == 1); /* and what it pointed to is as it was */
	CHECK_EQ(unlink(target), 0);
	teardown();
	CHECK_EQ(mkfifo(path, 0600), 0);
	check_made_anew("no regular file");
	teardown();
	if (geteuid() == 0) {
		make_one();
		CHECK_EQ(chown(path, 12345, 12345), 0);
		check_made_anew("another user");
		CHECK(stat(path, &st) == 0 && st.st_uid == 0);
		teardown();
	}
}

TEST(what_cannot_be_replaced_is_an_error)
{
	AUTO(once_close) struct once o;
	struct err e = {0}, none = {0};
	char inside[80];

	setup();
	CHECK_EQ(mkdir(path, 0700), 0);
	CHECK_LT(once_open(&o, path, &e), 0);
	CHECK_CONTAINS(e.msg, "no regular file");
	CHECK(!o.map && !fd_valid(o.fd));
	CHECK_EQ(rmdir(path), 0);
	(void)snprintf(inside, sizeof inside, "%s/nowhere", path);
	CHECK_LT(once_open(&o, inside, &none), 0);
	CHECK_EQ(none.kind, ERR_NOT_FOUND);
	CHECK_STREQ(none.where, inside);
}
