/* Varlink's server: the descriptors that come and go with messages, and how connections end. */
#include "tests/lib/tap.h"
#include "tests/lib/varlink_peer.h"
#include "tests/lib/world.h"

#include "base/fd.h"
#include "base/mem.h"

#include <fcntl.h>
#include <sys/socket.h>

/* ---- Descriptors ---- */

TEST(descriptors_are_taken_by_index_and_the_rest_is_closed)
{
	struct world before = world_look();

	{
		SERVER(s);
		CLIENT(s, a);
		int fd[4], also[2];
		char c;

		REQUIRE(pipe2(fd, O_CLOEXEC) == 0 && pipe2(fd + 2, O_CLOEXEC) == 0);
		also[0] = fd[3];
		also[1] = fd[1];
		peer_say_fds(a, CALL("Take", "{\"body\":{\"fd\":1},\"other\":0}"), also, 2);
		CHECK_STREQ(peer_hear(&s, a), NUMBER(2));
		CHECK_EQ(write(s.taken, "x", 1), 1);
		CHECK_EQ(read(fd[0], &c, 1), 1);
		CHECK(fcntl(s.taken, F_GETFD) & FD_CLOEXEC);
		fd_closep(&fd[3]);
		CHECK_EQ(read(fd[2], &c, 1), 0); /* nobody has its other end any more */
		peer_say_fds(a, CALL("Take", "{\"body\":{\"fd\":0}}"), fd, 1);
		CHECK_STREQ(peer_hear(&s, a), NUMBER(1));
		for (int i = 0; i < 3; i++)
			fd_closep(&fd[i]);
	}
	CHECK_SAME_WORLD(&before);
	world_done(&before);
}

TEST(descriptors_that_do_not_fit_the_call_are_refused_and_closed)
{
	struct world before = world_look();

	{
		SERVER(s);
		CLIENT(s, a);
		int fd[2], three[3];
		char c;

		REQUIRE(pipe2(fd, O_CLOEXEC) == 0);
		three[0] = three[1] = three[2] = fd[1];
		peer_say_fds(a, CALL("Take", "{\"body\":{\"fd\":0}}"), three, 3);
		CHECK_STREQ(peer_hear(&s, a), INVALID("fds"));
		peer_say_fds(a, ECHO("x"), three, 1);
		CHECK_STREQ(peer_hear(&s, a), INVALID("fds"));
		peer_say_fds(a, CALL("Take", "{\"body\":{\"fd\":1}}"), three, 1);
		CHECK_STREQ(peer_hear(&s, a), INVALID("body.fd"));
		peer_say_fds(a, CALL("Take", "{\"body\":{\"fd\":0},\"other\":0}"), three, 2);
		CHECK_STREQ(peer_hear(&s, a), INVALID("other"));
		peer_say_fds(a, "{\"method\":\"org.example.peer.None\"}", three, 1);
		CHECK_CONTAINS(peer_hear(&s, a), "MethodNotFound");
		CHECK_EQ(s.called, 0);
		fd_closep(&fd[1]);
		CHECK_EQ(read(fd[0], &c, 1), 0); /* no copy is left */
		fd_closep(&fd[0]);
	}
	CHECK_SAME_WORLD(&before);
	world_done(&before);
}

TEST(descriptors_keep_to_their_call_when_calls_are_sent_ahead)
{
	SERVER(s);
	CLIENT(s, a);
	int fd[2];

	REQUIRE(pipe2(fd, O_CLOEXEC) == 0);
	peer_say(&s, a, WAIT(1));
	peer_say_fds(a, CALL("Take", "{\"body\":{\"fd\":0}}"), fd, 1);
	peer_say_fds(a, CALL("Take", "{\"body\":{\"fd\":0},\"other\":1}"), fd, 2);
	peer_say(&s, a, ECHO("x"));
	peer_answer(&s, 1);
	CHECK_STREQ(peer_hear(&s, a), NUMBER(1));
	CHECK_STREQ(peer_hear(&s, a), NUMBER(1));
	CHECK_STREQ(peer_hear(&s, a), NUMBER(2));
	CHECK_STREQ(peer_hear(&s, a), ECHOED("x"));
	fd_closep(&fd[0]);
	fd_closep(&fd[1]);
}

TEST(a_uid_that_has_us_hold_too_many_descriptors_is_closed)
{
	struct world before = world_look();

	{
		SERVER(s, .max_fds_per_uid = 10);
		CLIENT(s, a);
		CLIENT(s, b);
		CLIENT(s, c);
		int fds[8];

		for (size_t i = 0; i < ARRAY_LEN(fds); i++)
			fds[i] = a;
		peer_say_fds(a, "{", fds, 8);
		CHECK_EQ(send(a, "x", 1, 0), 1);
		peer_pump(&s);
		/* And they are counted back. */
		CHECK_STREQ(peer_hear(&s, a),
			    INVALID("message: not JSON: the text ends too early: string or '}' expected"));
		peer_pump(&s);
		CHECK_EQ(server_counts(s.server)->conns, 2);
		peer_say_fds(b, ECHO("x"), fds, 8);
		CHECK_STREQ(peer_hear(&s, b), INVALID("fds"));
		peer_say_fds(b, WAIT(1), fds, 2);
		CHECK_STREQ(peer_hear(&s, b), INVALID("fds"));
		int many[11];
		for (size_t i = 0; i < ARRAY_LEN(many); i++)
			many[i] = c;
		peer_say_fds(c, ECHO("x"), many, 11);
		const char *said = peer_hear(&s, c);
		CHECK(strcmp(said, "closed") == 0 || strcmp(said, "reset") == 0);
		CHECK_STREQ(peer_ask(&s, b, ECHO("on")), ECHOED("on"));
	}
	CHECK_SAME_WORLD(&before);
	world_done(&before);
}

TEST(an_answer_brings_a_descriptor_even_when_it_has_to_wait)
{
	AUTO(buf_done) struct buf b = {0};
	struct world before = world_look();

	{
		SERVER(s);
		CLIENT(s, a);
		char got[8] = "";
		int fd;

		peer_say(&s, a, CALL("Give", "{}"));
		CHECK_STREQ(peer_hear_fd(&s, a, &fd), "{\"parameters\":{\"fd\":0}}");
		CHECK_EQ(read(fd, got, sizeof got), 5);
		CHECK_STREQ(got, "given");
		fd_closep(&fd);
		peer_say(&s, a, CALL("Give", "{}")); /* never read */
		peer_pump(&s);
	}
	CHECK_SAME_WORLD(&before);
	world_done(&before);
}

TEST(descriptors_stay_with_their_answers_among_others_that_wait)
{
	SERVER(s);
	CLIENT(s, a);
	s.stream = 60;
	s.stream_bytes = 9000;
	s.stream_fds = 5;
	peer_say(&s, a, MORE("Stream"));
	peer_pump(&s);
	CHECK_EQ(s.streamed, 60); /* half of them are with us, as they exceed a socket's buffer */
	for (unsigned i = 0; i < 60; i++) {
		unsigned char mark = 0;
		char begin[60];
		int fd;

		(void)snprintf(begin, sizeof begin, "{\"parameters\":{\"n\":%u,", i);
		if (!CHECK_EQ(strncmp(peer_hear_fd(&s, a, &fd), begin, strlen(begin)), 0) ||
		    !CHECK_EQ(fd_valid(fd), i % 5 == 4))
			return;
		if (fd_valid(fd)) {
			CHECK_EQ(read(fd, &mark, 1), 1);
			CHECK_EQ(mark, i);
			fd_closep(&fd);
		}
	}
	CHECK_STREQ(peer_hear(&s, a), NUMBER(60));
}

/* ---- Ends ---- */

TEST(a_client_that_only_ends_its_writing_side_gets_its_answers)
{
	SERVER(s);
	CLIENT(s, a);
	static const char glued[] = ECHO("a") "\0" WAIT(1) "\0" ECHO("b");

	CHECK_EQ(send(a, glued, sizeof glued, 0), (ssize_t)sizeof glued);
	CHECK(shutdown(a, SHUT_WR) == 0);
	CHECK_STREQ(peer_hear(&s, a), ECHOED("a"));
	CHECK_STREQ(peer_hear(&s, a), "");
	CHECK_EQ(s.gone, 0);
	peer_answer(&s, 1);
	CHECK_STREQ(peer_hear(&s, a), NUMBER(1));
	CHECK_STREQ(peer_hear(&s, a), ECHOED("b"));
	CHECK_STREQ(peer_hear(&s, a), "closed");
	CHECK_EQ(s.closed, 1);
}

TEST(a_half_closed_client_gets_a_long_answer_to_its_end)
{
	AUTO(buf_done) struct buf b = {0};

	SERVER(s);
	CLIENT(s, a);
	buf_puts(&b, "{\"method\":\"org.example.peer.Echo\",\"parameters\":{\"text\":\"");
	for (int i = 0; i < 90000; i++)
		buf_puts(&b, "0123456789");
	buf_puts(&b, "\"}}");
	peer_say(&s, a, b.data);
	CHECK(shutdown(a, SHUT_WR) == 0);
	peer_pump(&s);
	CHECK_EQ(strlen(peer_hear(&s, a)), strlen(ECHOED("")) + 900000);
	CHECK_STREQ(peer_hear(&s, a), "closed");
}

TEST(a_message_that_is_cut_by_the_end_is_not_served)
{
	SERVER(s);
	CLIENT(s, a);
	CHECK_EQ(send(a, ECHO("x"), sizeof ECHO("x") - 1, 0), (ssize_t)sizeof ECHO("x") - 1);
	CHECK(shutdown(a, SHUT_WR) == 0);
	CHECK_STREQ(peer_hear(&s, a), "closed");
	CHECK_EQ(s.called, 0);
}

TEST(a_client_that_dies_is_told_once_and_its_call_is_still_owed_its_end)
{
	SERVER(s);
	CLIENT(s, a);
	peer_say(&s, a, WAIT(1));
	fd_closep(&a);
	peer_pump(&s);
	CHECK_EQ(s.gone, 1);
	CHECK_EQ(s.closed, 0);
	peer_pump(&s);
	CHECK_EQ(s.gone, 1);
	CHECK_EQ(server_counts(s.server)->open_calls, 1);
	peer_answer(&s, 1);
	peer_pump(&s);
	CHECK_EQ(s.closed, 1);
	CHECK_EQ(server_counts(s.server)->conns, 0);
}

TEST(a_handler_may_end_the_call_when_it_is_told)
{
	SERVER(s);
	CLIENT(s, a);
	s.answer_when_gone = true;
	peer_say(&s, a, WAIT(1));
	peer_say(&s, a, WAIT(2));
	fd_closep(&a);
	peer_pump(&s);
	CHECK_EQ(s.called, 2); /* what was sent is served, whoever hears it */
	CHECK_EQ(s.gone, 2);
	CHECK_EQ(s.closed, 1);
	CHECK_EQ(s.n_open, 0);
}

TEST(calls_of_a_client_that_closed_at_once_are_served)
{
	SERVER(s);
	for (int i = 0; i < 3; i++) {
		CLIENT(s, a);
		static const char glued[] = ECHO("a") "\0{\"method\":\"org.example.peer.Fail\",\"oneway\":true}\0" ECHO(
			"b");

		CHECK_EQ(send(a, glued, sizeof glued, 0), (ssize_t)sizeof glued);
		if (i == 1)
			peer_pump(&s); /* accepted and served before it dies, with answers unread: ECONNRESET here */
	}
	peer_pump(&s);
	CHECK_EQ(s.called, 9);
	CHECK_EQ(s.closed, 3);
	CHECK_EQ(server_counts(s.server)->bad_messages, 0);
	CHECK_EQ(server_counts(s.server)->conns, 0);
}

TEST(death_in_every_state_leaves_nothing)
{
	static const char glued[] = ECHO("a") "\0" WAIT(1) "\0" MORE("Stream") "\0" ECHO("b");
	struct world before = world_look();

	{
		SERVER(s, .max_queued = 4);
		s.answer_when_gone = true;
		s.stream_bytes = 9000;
		for (size_t cut = 0; cut <= sizeof glued; cut++)
			for (int how = 0; how < 4; how++) {
				CLIENT(s, a);

				s.stream = how == 3 ? 100 : 1;
				s.streamed = 0;
				if (how & 1)
					peer_pump(&s);
				if (cut > 0)
					CHECK_EQ(send(a, glued, cut, MSG_NOSIGNAL), (ssize_t)cut);
				if (how & 2)
					peer_pump(&s);
				if (s.n_open > 0 && how == 3)
					peer_answer(&s, 1);
				if (how == 2)
					CHECK(shutdown(a, SHUT_WR) == 0);
				if (how == 3)
					peer_pump(&s);
				fd_closep(&a);
				peer_pump(&s);
				CHECK_EQ(server_counts(s.server)->conns, 0);
				CHECK_EQ(server_counts(s.server)->open_calls, 0);
			}
		CHECK_EQ(s.closed, 4 * (sizeof glued + 1));
	}
	CHECK_SAME_WORLD(&before);
	world_done(&before);
}

TEST(closing_the_server_tells_open_calls_and_closes_all)
{
	struct world before = world_look();

	{
		SERVER(s);
		CLIENT(s, a);
		CLIENT(s, b);
		CLIENT(s, c);
		peer_say(&s, a, WAIT(1));
		s.stream = 1000;
		s.stream_bytes = 10000;
		peer_say(&s, b, MORE("Stream"));
		CHECK_EQ(send(c, "half", 4, 0), 4);
		peer_pump(&s);
		server_close(s.server);
		s.server = NULL;
		CHECK_EQ(s.gone, 2);
		CHECK_EQ(s.closed, 3);
		peer_pump(&s);
		const char *said = peer_hear(&s, a);
		CHECK(strcmp(said, "closed") == 0 || strcmp(said, "reset") == 0);
	}
	CHECK_SAME_WORLD(&before);
	world_done(&before);
}
