/* Varlink's server: a connection behind an upgrade, and its ends. */
#include "tests/lib/tap.h"
#include "tests/lib/varlink_peer.h"
#include "tests/lib/world.h"

#include "base/fd.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define UPGRADE  "{\"method\":\"org.example.peer.Upgrade\",\"upgrade\":true}"
#define UPGRADED "{\"parameters\":{}}"
#define BIG      4000000

/* What was told of the connection that is upgraded in a test: one at a time. */
static struct {
	struct peer_server *s;
	struct buf got;
	unsigned ended, room, closed;
	bool echo, finish, breaks;
} told;

static void forget(void *unused)
{
	(void)unused;
	buf_done(&told.got);
	memset(&told, 0, sizeof told);
}

static void answer(const char *data, size_t len)
{
	const struct out_text parts[OUT_TEXTS] = {{"<", 1}, {data, len}, {">", 1}};

	conn_send(told.s->upgraded, parts);
}

static void input(void *arg, const char *data, size_t len)
{
	CHECK(arg == told.s);
	CHECK_EQ(told.closed, 0);
	CHECK(len > 0);
	buf_add(&told.got, data, len);
	if (told.echo)
		answer(data, len);
	if (told.finish)
		conn_finish(told.s->upgraded);
	if (told.breaks)
		conn_break(told.s->upgraded);
}

static void ends(void *arg)
{
	CHECK(arg == told.s);
	told.ended++;
	if (told.echo)
		answer("end", 3);
}

static void has_room(void *arg)
{
	CHECK(arg == told.s);
	CHECK(conn_is_clear(told.s->upgraded));
	told.room++;
}

static void is_closed(void *arg)
{
	CHECK(arg == told.s);
	told.closed++;
	told.s->upgraded = NULL;
}

static const struct conn_ops ops = {.input = input, .end = ends, .room = has_room, .closed = is_closed};

#define RAW(s, ...)                      \
	AUTO(forget) int told_here_ = 0; \
	(void)told_here_;                \
	SERVER(s, __VA_ARGS__);          \
	told.s = &s;                     \
	s.conn_ops = &ops

/* What the client can read now, as a text; "closed" when it has ended, too. */
static const char *hear(struct peer_server *s, int fd)
{
	static char text[400];
	size_t len = 0;
	ssize_t n;

	peer_pump(s);
	do {
		n = recv(fd, text + len, sizeof text - len - 10, MSG_DONTWAIT);
		len += n > 0 ? (size_t)n : 0;
		peer_pump(s);
	} while (n > 0);
	text[len] = '\0';
	if (n == 0)
		memcpy(text + len, "closed", sizeof "closed");
	return text;
}

static void upgrade(struct peer_server *s, int fd)
{
	CHECK_STREQ(peer_ask(s, fd, UPGRADE), UPGRADED);
	CHECK(s->upgraded && conn_is_clear(s->upgraded));
}

/* ---- Bytes ---- */

TEST(bytes_behind_an_upgrade_are_handed_on_however_they_come)
{
	static const char all[] = UPGRADE "\0one\0two\0\xff{]three";

	for (size_t piece = 1; piece <= sizeof all; piece += piece < 4 ? 1 : 7) {
		RAW(s);
		CLIENT(s, a);

		for (size_t at = 0; at < sizeof all - 1; at += piece)
			peer_send(&s, a, all + at, sizeof all - 1 - at < piece ? sizeof all - 1 - at : piece);
		CHECK_STREQ(peer_hear(&s, a), UPGRADED);
		CHECK_EQ(told.got.len, sizeof all - sizeof UPGRADE - 1);
		CHECK_MEMEQ(told.got.data, all + sizeof UPGRADE, told.got.len);
		CHECK_EQ(told.ended + told.closed, 0);
		CHECK_EQ(server_counts(s.server)->bad_messages, 0);
	}
}

TEST(an_upgrade_that_is_not_asked_for_is_none)
{
	RAW(s);
	CLIENT(s, a);

	CHECK_STREQ(peer_ask(&s, a, CALL("Upgrade", "{}")),
		    "{\"error\":\"org.example.peer.Broken\",\"parameters\":{\"n\":7}}");
	CHECK_CONTAINS(peer_ask(&s, a,
				"{\"method\":\"org.example.peer.Upgrade\",\"upgrade\":true,\"parameters\":{\"x\":1}}"),
		       "InvalidParameter");
	s.deny = true;
	CHECK_CONTAINS(peer_ask(&s, a, UPGRADE), "PermissionDenied");
	s.deny = false;
	CHECK(!s.upgraded);
	CHECK_STREQ(peer_ask(&s, a, ECHO("on")), ECHOED("on"));
}

TEST(answers_before_an_upgrade_come_before_it)
{
	RAW(s);
	CLIENT(s, a);

	told.echo = true;
	peer_say(&s, a, ECHO("1"));
	peer_say(&s, a, UPGRADE);
	peer_send(&s, a, "x", 1);
	CHECK_STREQ(peer_hear(&s, a), ECHOED("1"));
	CHECK_STREQ(peer_hear(&s, a), UPGRADED);
	CHECK_STREQ(hear(&s, a), "<x>");
}

TEST(what_is_sent_waits_in_order_and_room_is_told_once_it_is_out)
{
	RAW(s);
	CLIENT(s, a);
	AUTO_FREE char *big = malloc(BIG);
	size_t got = 0;
	ssize_t n;

	REQUIRE(big);
	upgrade(&s, a);
	memset(big, 'b', BIG);
	answer(big, BIG);
	answer("last", 4);
	CHECK(!conn_is_clear(s.upgraded));
	CHECK_GT(conn_backlog(s.upgraded), BIG / 2);
	CHECK_EQ(told.room, 0);
	while (got < BIG + 8) {
		peer_pump(&s);
		n = recv(a, big, BIG, MSG_DONTWAIT);
		if (!CHECK(n > 0))
			return;
		got += (size_t)n;
	}
	CHECK_EQ(got, BIG + 8);
	CHECK_MEMEQ(big + n - 6, "<last>", 6);
	peer_pump(&s);
	CHECK_EQ(told.room, 1);
	CHECK_EQ(conn_backlog(s.upgraded), 0);
}

TEST(descriptors_behind_an_upgrade_are_dropped)
{
	struct world before = world_look();

	{
		RAW(s);
		CLIENT(s, a);
		int fd[2];
		char c;

		upgrade(&s, a);
		REQUIRE(pipe2(fd, O_CLOEXEC) == 0);
		peer_say_fds(a, "text", &fd[1], 1);
		peer_pump(&s);
		CHECK_EQ(told.got.len, 5);
		fd_closep(&fd[1]);
		CHECK_EQ(read(fd[0], &c, 1), 0);
		fd_closep(&fd[0]);
	}
	CHECK_SAME_WORLD(&before);
	world_done(&before);
}

/* ---- Ends ---- */

TEST(a_client_that_sends_nothing_more_still_reads)
{
	RAW(s);
	CLIENT(s, a);

	told.echo = true;
	upgrade(&s, a);
	peer_send(&s, a, "x", 1);
	CHECK(shutdown(a, SHUT_WR) == 0);
	CHECK_STREQ(hear(&s, a), "<x><end>");
	CHECK_EQ(told.ended, 1);
	CHECK_EQ(told.closed, 0);
	answer("later", 5);
	CHECK_STREQ(hear(&s, a), "<later>");
	conn_finish(s.upgraded);
	CHECK_STREQ(hear(&s, a), "closed");
	CHECK_EQ(told.ended, 1);
	CHECK_EQ(told.closed, 1);
}

TEST(the_end_of_a_stream_may_come_with_the_upgrade)
{
	RAW(s);
	CLIENT(s, a);

	told.echo = true;
	peer_say(&s, a, UPGRADE);
	CHECK_EQ(send(a, "abc", 3, MSG_NOSIGNAL), 3);
	CHECK(shutdown(a, SHUT_WR) == 0);
	CHECK_STREQ(peer_hear(&s, a), UPGRADED);
	CHECK_STREQ(hear(&s, a), "<abc><end>");
	CHECK_EQ(told.ended, 1);
}

TEST(what_a_client_sent_before_it_died_is_read)
{
	for (int early = 0; early < 2; early++) {
		RAW(s);
		int a = peer_connect(&s);

		if (early) {
			CHECK_EQ(send(a, UPGRADE, sizeof UPGRADE, MSG_NOSIGNAL), (ssize_t)sizeof UPGRADE);
		} else {
			upgrade(&s, a);
		}
		CHECK_EQ(send(a, "all of it", 9, MSG_NOSIGNAL), 9);
		fd_closep(&a);
		peer_pump(&s);
		CHECK_EQ(told.got.len, 9);
		CHECK_EQ(told.closed, 1);
		CHECK_EQ(s.closed, 1);
		CHECK_EQ(server_counts(s.server)->conns, 0);
	}
}

TEST(a_client_that_dies_with_answers_unread_is_closed_once)
{
	RAW(s);
	int a = peer_connect(&s);
	AUTO_FREE char *big = calloc(1, BIG);

	REQUIRE(big);
	upgrade(&s, a);
	answer(big, BIG);
	peer_pump(&s);
	fd_closep(&a);
	peer_pump(&s);
	CHECK_EQ(told.closed, 1);
	CHECK_EQ(server_counts(s.server)->conns, 0);
}

TEST(a_connection_that_is_finished_gets_what_is_queued_and_is_not_read)
{
	RAW(s);
	CLIENT(s, a);

	told.echo = told.finish = true;
	upgrade(&s, a);
	peer_send(&s, a, "bye", 3);
	CHECK_STREQ(hear(&s, a), "<bye>closed");
	CHECK_EQ(told.closed, 1);
	CHECK_EQ(told.ended, 0);
}

TEST(who_writes_to_a_finished_connection_and_does_not_read_is_told)
{
	RAW(s);
	CLIENT(s, a);
	AUTO_FREE char *big = calloc(1, BIG);

	REQUIRE(big);
	upgrade(&s, a);
	answer(big, BIG);
	conn_finish(s.upgraded);
	peer_pump(&s);
	CHECK_EQ(told.closed, 0); /* what is queued is not read yet */
	CHECK_EQ(send(a, "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT), -1);
	CHECK_EQ(errno, EPIPE);
}

TEST(a_connection_that_is_broken_gets_nothing_more)
{
	RAW(s);
	CLIENT(s, a);

	told.breaks = true;
	upgrade(&s, a);
	peer_send(&s, a, "bye", 3);
	CHECK_STREQ(hear(&s, a), "closed");
	CHECK_EQ(told.closed, 1);
}

TEST(a_server_that_closes_tells_its_connections)
{
	RAW(s);
	CLIENT(s, a);

	upgrade(&s, a);
	peer_stop(&s);
	CHECK_EQ(told.closed, 1);
	CHECK_EQ(told.ended, 0);
	peer_start(&s);
}

/* ---- What is held ---- */

TEST(what_is_held_is_its_users_and_has_bounds)
{
	RAW(s, .max_bytes_per_uid = 400000);
	CLIENT(s, a);
	CLIENT(s, b);

	upgrade(&s, a);
	conn_hold(s.upgraded, 190000);
	CHECK(conn_fits(s.upgraded, 2));
	conn_hold(s.upgraded, 210000);
	CHECK(!conn_fits(s.upgraded, 2));
	CHECK(conn_fits(s.upgraded, 3));
	conn_hold(s.upgraded, 310000);
	CHECK(!conn_fits(s.upgraded, 3));
	CHECK_STREQ(peer_ask(&s, b, ECHO("others")), ECHOED("others"));
	/* A connection that is about to be closed holds nothing that others would be closed for. */
	conn_hold(s.upgraded, 500000);
	conn_break(s.upgraded);
	CHECK(conn_fits(s.upgraded, 2));
	conn_hold(s.upgraded, 500000);
	CHECK(conn_fits(s.upgraded, 2));
	peer_say(&s, b, ECHO("on"));
	CHECK_STREQ(peer_hear(&s, b), ECHOED("on"));
	CHECK_EQ(told.closed, 1);
}
