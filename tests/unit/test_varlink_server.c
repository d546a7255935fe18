/* Varlink's server, with clients of every kind in this process. */
#include "tests/lib/idl.h"
#include "tests/lib/tap.h"
#include "tests/lib/varlink_peer.h"

#include "base/fd.h"
#include "base/mem.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>

/* ---- Calls ---- */

TEST(a_call_is_answered)
{
	SERVER(s);
	CLIENT(s, a);
	CHECK_STREQ(peer_ask(&s, a, ECHO("hello")), ECHOED("hello"));
	CHECK_STREQ(peer_ask(&s, a, ECHO("\\n\\u20ac")), ECHOED("\\n\u20ac"));
	CHECK_EQ(s.last_uid, geteuid());
	CHECK_STREQ(peer_hear(&s, a), "");
	CHECK_EQ(server_counts(s.server)->calls, 2);
	CHECK_EQ(server_counts(s.server)->open_calls, 0);
}

TEST(an_error_has_its_name_and_parameters)
{
	SERVER(s);
	CLIENT(s, a);
	CHECK_STREQ(peer_ask(&s, a, CALL("Fail", "{}")),
		    "{\"error\":\"org.example.peer.Broken\",\"parameters\":{\"n\":7}}");
	CHECK_STREQ(peer_ask(&s, a, ECHO("on")), ECHOED("on"));
}

TEST(what_is_sent_ahead_is_served_one_after_the_other)
{
	SERVER(s);
	CLIENT(s, a);
	peer_say(&s, a, WAIT(1));
	peer_say(&s, a, ECHO("x"));
	peer_say(&s, a, WAIT(2));
	peer_pump(&s);
	CHECK_EQ(s.called, 1);
	CHECK_STREQ(peer_hear(&s, a), "");
	peer_answer(&s, 10);
	CHECK_STREQ(peer_hear(&s, a), NUMBER(10));
	CHECK_STREQ(peer_hear(&s, a), ECHOED("x"));
	CHECK_EQ(s.called, 3);
	CHECK_STREQ(peer_hear(&s, a), "");
	peer_answer(&s, 20);
	CHECK_STREQ(peer_hear(&s, a), NUMBER(20));
}

TEST(calls_glued_into_one_write_are_served_in_their_order)
{
	SERVER(s);
	CLIENT(s, a);
	static const char glued[] = ECHO("a") "\0" WAIT(1) "\0" ECHO("b") "\0" ECHO("c") "\0" CALL("Ech",
												   "{}") "\0" ECHO("d");

	peer_send(&s, a, glued, sizeof glued);
	CHECK_STREQ(peer_hear(&s, a), ECHOED("a"));
	CHECK_EQ(s.called, 2);
	peer_answer(&s, 1);
	CHECK_STREQ(peer_hear(&s, a), NUMBER(1));
	CHECK_STREQ(peer_hear(&s, a), ECHOED("b"));
	CHECK_STREQ(peer_hear(&s, a), ECHOED("c"));
	CHECK_STREQ(peer_hear(&s, a), ERROR("MethodNotFound", "{\"method\":\"org.example.peer.Ech\"}"));
	CHECK_STREQ(peer_hear(&s, a), ECHOED("d"));
}

TEST(a_call_that_comes_byte_by_byte_is_the_same_call)
{
	static const char text[] = ECHO("slow");

	SERVER(s);
	CLIENT(s, a);
	for (size_t i = 0; i < sizeof text; i++) {
		CHECK_EQ(s.called, 0);
		CHECK_EQ(send(a, text + i, 1, 0), 1);
		peer_pump(&s);
	}
	CHECK_STREQ(peer_hear(&s, a), ECHOED("slow"));
}

TEST(many_calls_sent_ahead_leave_others_their_turn)
{
	AUTO(buf_done) struct buf b = {0};

	SERVER(s);
	CLIENT(s, a);
	CLIENT(s, other);
	for (int i = 0; i < 60; i++)
		buf_add(&b, ECHO("x"), sizeof ECHO("x"));
	peer_pump(&s);
	CHECK_EQ(send(a, b.data, b.len, 0), (ssize_t)b.len);
	CHECK_EQ(send(other, ECHO("y"), sizeof ECHO("y"), 0), (ssize_t)sizeof ECHO("y"));
	struct err e = {0};
	CHECK_OK(loop_once(&s.loop, 0, &e), &e);
	CHECK_LT(s.called, 40); /* a part of the first one's, and the other's */
	char got[200];
	CHECK_GT(recv(other, got, sizeof got, MSG_DONTWAIT), 0);
	for (int i = 0; i < 60; i++)
		CHECK_STREQ(peer_hear(&s, a), ECHOED("x"));
}

TEST(a_long_call_and_a_long_answer_go_through)
{
	AUTO(buf_done) struct buf b = {0};

	SERVER(s);
	CLIENT(s, a);
	buf_puts(&b, "{\"method\":\"org.example.peer.Echo\",\"parameters\":{\"text\":\"");
	for (int i = 0; i < 100000; i++)
		buf_puts(&b, "0123456789");
	buf_puts(&b, "\"}}");
	peer_say(&s, a, b.data);
	const char *got = peer_hear(&s, a);
	CHECK_EQ(strlen(got), strlen(ECHOED("")) + 1000000);
	CHECK_STREQ(peer_ask(&s, a, ECHO("on")), ECHOED("on"));
}

/* ---- Refusals ---- */

TEST(the_service_errors_come_for_what_is_not_there_or_not_right)
{
	static const struct {
		const char *call, *answer;
	} t[] = {
		{"{\"method\":\"org.example.peer.None\"}",
		 ERROR("MethodNotFound", "{\"method\":\"org.example.peer.None\"}")},
		{"{\"method\":\"org.example.pee.Echo\"}",
		 ERROR("InterfaceNotFound", "{\"interface\":\"org.example.pee\"}")},
		{"{\"method\":\".Echo\"}", ERROR("InterfaceNotFound", "{\"interface\":\"\"}")},
		{"{\"method\":\"Echo\"}", INVALID("method")},
		{"{\"method\":\"org.example.peer.\"}", ERROR("MethodNotFound", "{\"method\":\"org.example.peer.\"}")},
		{"{\"method\":\"org.example.peer.Echo\"}", INVALID("text")},
		{CALL("Echo", "{\"text\":7}"), INVALID("text")},
		{CALL("Echo", "{\"text\":\"x\",\"y\":1}"), INVALID("y")},
		{CALL("Wait", "{\"n\":-1}"), INVALID("n")},
		{MORE("Wait"), INVALID("n")},
		{CALL("OnlyMore", "{}"), ERROR("ExpectedMore", "{}")},
		{"{\"method\":\"org.example.peer.Stream\",\"upgrade\":true}",
		 ERROR("MethodNotImplemented", "{\"method\":\"org.example.peer.Stream\"}")},
		{"{\"method\":\"org.example.peer.Fail\",\"id\":1}", INVALID("id")},
		{"{\"parameters\":{}}", INVALID("method")},
		{"{\"method\":\"org.example.peer.Fail\",\"parameters\":[]}", INVALID("parameters")},
		{CALL("Take", "{\"body\":{\"fd\":0}}"), INVALID("body.fd")},
	};

	SERVER(s);
	CLIENT(s, a);
	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		if (!CHECK_STREQ(peer_ask(&s, a, t[i].call), t[i].answer))
			tap_note("  to %s", t[i].call);
	}
	CHECK_EQ(s.called, 0);
	CHECK_STREQ(peer_ask(&s, a, ECHO("on")), ECHOED("on")); /* all on one connection */
}

TEST(after_what_is_no_object_the_connection_is_closed)
{
	static const struct {
		const char *text, *reason; /* what the answer has of it */
	} bad[] = {
		{"", "not JSON"},
		{"{", "not JSON: the text ends too early"},
		{"[]", "a call is an object"},
		{"null", "a call is an object"},
		{"{\"method\":\"a\\u0000b.C\"}", "u0000"},
		{"{\"method\":\"\xff\xfe\"}", "unable to decode"},
		{"{\"method\":1,\"method\":2}", "duplicate key"},
		{"{\"method\":\"a.B\",\"parameters\":{\"n\":1e999}}", "too large"},
		{"GET / HTTP/1.1\r\n\r\n", "not JSON"},
	};
	unsigned closed = 0;

	SERVER(s);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		CLIENT(s, a);
		const char *said = peer_ask(&s, a, bad[i].text);

		CHECK_CONTAINS(said,
			       "\"org.varlink.service.InvalidParameter\",\"parameters\":{\"parameter\":\"message: ");
		CHECK_CONTAINS(said, bad[i].reason);
		CHECK_STREQ(peer_hear(&s, a), "closed");
		CHECK_EQ(s.closed, ++closed);
	}
	CHECK_EQ(server_counts(s.server)->bad_messages, ARRAY_LEN(bad));
	CHECK_EQ(server_counts(s.server)->conns, 0);
}

TEST(a_message_that_is_too_long_ends_its_connection_and_no_other)
{
	AUTO(buf_done) struct buf b = {0};

	SERVER(s, .max_message_bytes = 20000);
	CLIENT(s, a);
	CLIENT(s, other);
	for (int i = 0; i < 20001; i++)
		buf_puts(&b, " ");
	memcpy(b.data + b.len - sizeof ECHO("x") + 1 - 1, ECHO("x"), sizeof ECHO("x") - 1);
	b.data[b.len - 1] = '\0'; /* 20000 and the NUL */
	peer_send(&s, a, b.data, b.len);
	CHECK_STREQ(peer_hear(&s, a), ECHOED("x"));
	b.data[b.len - 1] = ' ';
	peer_send(&s, a, b.data, b.len);
	const char *said = peer_hear(&s, a);
	CHECK(strcmp(said, "closed") == 0 || strcmp(said, "reset") == 0);
	CHECK_STREQ(peer_ask(&s, other, ECHO("on")), ECHOED("on"));
}

TEST(what_is_denied_is_not_called_and_its_parameters_are_not_looked_at)
{
	SERVER(s);
	CLIENT(s, a);
	s.deny = true;
	CHECK_STREQ(peer_ask(&s, a, ECHO("x")), ERROR("PermissionDenied", "{}"));
	CHECK_STREQ(peer_ask(&s, a, CALL("Echo", "{\"wrong\":1}")), ERROR("PermissionDenied", "{}"));
	CHECK_EQ(s.called, 0);
	CHECK_CONTAINS(peer_ask(&s, a, "{\"method\":\"org.varlink.service.GetInfo\"}"), "interfaces");
}

/* ---- oneway, more ---- */

TEST(a_oneway_call_is_served_and_never_answered)
{
	SERVER(s);
	CLIENT(s, a);
	peer_say(&s, a, "{\"method\":\"org.example.peer.Echo\",\"parameters\":{\"text\":\"x\"},\"oneway\":true}");
	peer_say(&s, a, "{\"method\":\"org.example.peer.Fail\",\"oneway\":true}");
	peer_say(&s, a, "{\"method\":\"org.example.peer.Give\",\"oneway\":true}");
	peer_say(&s, a, "{\"method\":\"org.example.peer.None\",\"oneway\":true}");
	peer_say(&s, a, "{\"method\":\"org.example.peer.Echo\",\"oneway\":true}");
	peer_say(&s, a, "{\"method\":\"org.example.peer.OnlyMore\",\"oneway\":true}");
	peer_say(&s, a, "{\"method\":\"org.example.peer.Echo\",\"oneway\":true,\"x\":1}");
	peer_say(&s, a, "{\"method\":\"org.varlink.service.GetInfo\",\"oneway\":true}");
	CHECK_STREQ(peer_ask(&s, a, ECHO("next")), ECHOED("next"));
	CHECK_EQ(s.called, 4);
	CHECK_STREQ(peer_hear(&s, a), "");
}

TEST(more_brings_several_answers_and_without_it_there_is_one)
{
	SERVER(s);
	CLIENT(s, a);
	s.stream = 2;
	peer_say(&s, a, MORE("Stream"));
	CHECK_STREQ(peer_hear(&s, a), "{\"parameters\":{\"n\":0,\"filler\":\"\"},\"continues\":true}");
	CHECK_STREQ(peer_hear(&s, a), "{\"parameters\":{\"n\":1,\"filler\":\"\"},\"continues\":true}");
	CHECK_STREQ(peer_hear(&s, a), NUMBER(2));
	s.streamed = 0;
	CHECK_STREQ(peer_ask(&s, a, CALL("Stream", "{}")), NUMBER(0));
	CHECK_STREQ(peer_ask(&s, a,
			     "{\"method\":\"org.example.peer.Echo\",\"parameters\":{\"text\":\"x\"},\"more\":true}"),
		    ECHOED("x")); /* which has only one answer */
	s.stream = 0;
	CHECK_STREQ(peer_ask(&s, a, MORE("OnlyMore")), NUMBER(0));
}

TEST(a_stream_that_is_not_read_is_refused_at_its_bound_and_goes_on_when_it_is_read)
{
	SERVER(s, .max_queued = 8);
	CLIENT(s, a);
	CLIENT(s, other);
	s.stream = 300;
	s.stream_bytes = 4000;
	peer_say(&s, a, MORE("Stream"));
	peer_pump(&s);
	CHECK_GT(s.streamed, 8); /* the kernel's buffer has some, then our queue is full */
	CHECK_LT(s.streamed, 250);
	CHECK_STREQ(peer_ask(&s, other, ECHO("meanwhile")), ECHOED("meanwhile"));
	for (unsigned i = 0; i < 300; i++) {
		char begin[60];

		(void)snprintf(begin, sizeof begin, "{\"parameters\":{\"n\":%u,", i);
		if (!CHECK_EQ(strncmp(peer_hear(&s, a), begin, strlen(begin)), 0))
			return;
	}
	CHECK_STREQ(peer_hear(&s, a), NUMBER(300));
	CHECK_GT(s.drained, 2);
}

TEST(the_bound_holds_in_bytes_as_well)
{
	SERVER(s, .max_queued_bytes = 30000);
	CLIENT(s, a);
	s.stream = 1000;
	s.stream_bytes = 10000;
	peer_say(&s, a, MORE("Stream"));
	peer_pump(&s);
	CHECK_LT(s.streamed, 100);
	fd_closep(&a);
	peer_pump(&s);
	CHECK_EQ(s.gone, 1);
	CHECK_EQ(s.closed, 1);
}

TEST(an_answer_that_is_not_read_waits_and_so_do_the_calls_behind_it)
{
	AUTO(buf_done) struct buf b = {0};

	SERVER(s);
	CLIENT(s, a);
	buf_puts(&b, "{\"method\":\"org.example.peer.Echo\",\"parameters\":{\"text\":\"");
	for (int i = 0; i < 50000; i++)
		buf_puts(&b, "0123456789");
	buf_puts(&b, "\"}}");
	peer_say(&s, a, b.data);
	for (int i = 0; i < 3; i++)
		peer_say(&s, a, ECHO("behind"));
	peer_pump(&s);
	CHECK_EQ(s.called, 1);
	CHECK_EQ(strlen(peer_hear(&s, a)), strlen(ECHOED("")) + 500000);
	for (int i = 0; i < 3; i++)
		CHECK_STREQ(peer_hear(&s, a), ECHOED("behind"));
	CHECK_STREQ(peer_hear(&s, a), "");
}

TEST(a_uid_whose_answers_take_too_much_memory_loses_the_connection)
{
	AUTO(buf_done) struct buf b = {0};
	unsigned alive = 0;

	SERVER(s, .max_bytes_per_uid = 3 << 20);
	buf_puts(&b, "{\"method\":\"org.example.peer.Echo\",\"parameters\":{\"text\":\"");
	for (int i = 0; i < 100000; i++)
		buf_puts(&b, "0123456789");
	buf_puts(&b, "\"}}");
	int fd[6];
	for (size_t i = 0; i < ARRAY_LEN(fd); i++) {
		fd[i] = peer_connect(&s);
		peer_say(&s, fd[i], b.data);
	}
	for (size_t i = 0; i < ARRAY_LEN(fd); i++) {
		alive += strlen(peer_hear(&s, fd[i])) > 1000000;
		(void)close(fd[i]);
	}
	CHECK_GE(alive, 1);
	CHECK_LT(alive, 5);
	peer_pump(&s);
	CLIENT(s, again); /* what they held is counted back */
	peer_say(&s, again, b.data);
	CHECK_GT(strlen(peer_hear(&s, again)), 1000000);
}

/* ---- Limits of connections ---- */

TEST(a_uid_has_so_many_connections_and_others_still_get_in)
{
	SERVER(s, .max_conns_per_uid = 2);
	CLIENT(s, a);
	CLIENT(s, b);
	CHECK_STREQ(peer_ask(&s, a, ECHO("a")), ECHOED("a"));
	CHECK_STREQ(peer_ask(&s, b, ECHO("b")), ECHOED("b"));
	CLIENT(s, c);
	CHECK_STREQ(peer_hear(&s, c), "closed");
	CHECK_EQ(server_counts(s.server)->refused, 1);
	if (geteuid() == 0) {
		REQUIRE(seteuid(65534) == 0);
		int other = peer_connect(&s);
		REQUIRE(seteuid(0) == 0);
		CHECK_STREQ(peer_ask(&s, other, ECHO("other")), ECHOED("other"));
		CHECK_EQ(s.last_uid, 65534);
		(void)close(other);
	}
	fd_closep(&b);
	peer_pump(&s);
	CLIENT(s, d);
	CHECK_STREQ(peer_ask(&s, d, ECHO("d")), ECHOED("d"));
}

TEST(beyond_the_limit_of_all_connections_clients_wait_until_one_ends)
{
	SERVER(s, .max_conns = 2);
	CLIENT(s, a);
	CLIENT(s, b);
	CLIENT(s, c);
	CHECK_STREQ(peer_ask(&s, a, ECHO("a")), ECHOED("a"));
	CHECK_STREQ(peer_ask(&s, b, ECHO("b")), ECHOED("b"));
	CHECK_STREQ(peer_ask(&s, c, ECHO("c")), "");
	CHECK_EQ(server_counts(s.server)->conns, 2);
	fd_closep(&a);
	CHECK_STREQ(peer_hear(&s, c), ECHOED("c"));
	server_stop_accepting(s.server);
	fd_closep(&b);
	CLIENT(s, d);
	CHECK_STREQ(peer_ask(&s, d, ECHO("d")), "");
	CHECK_STREQ(peer_ask(&s, c, ECHO("c")), ECHOED("c"));
}

TEST(without_descriptors_the_listener_rests_and_tries_again)
{
	struct rlimit old, low;
	struct err e = {0};

	SERVER(s);
	CLIENT(s, a);
	CHECK_STREQ(peer_ask(&s, a, ECHO("a")), ECHOED("a"));
	CLIENT(s, b);
	REQUIRE(getrlimit(RLIMIT_NOFILE, &old) == 0);
	low = old;
	low.rlim_cur = 3;
	REQUIRE(setrlimit(RLIMIT_NOFILE, &low) == 0);
	peer_pump(&s);
	CHECK_EQ(s.loop.n_timers, 1);
	CHECK_OK(loop_once(&s.loop, 0, &e), &e); /* silent: no spinning */
	REQUIRE(setrlimit(RLIMIT_NOFILE, &old) == 0);
	CHECK_STREQ(peer_ask(&s, a, ECHO("still")), ECHOED("still"));
	CHECK_OK(loop_once(&s.loop, 5000, &e), &e); /* the timer */
	CHECK_STREQ(peer_ask(&s, b, ECHO("b")), ECHOED("b"));
}

/* ---- Introspection ---- */

TEST(get_info_has_what_the_server_was_given)
{
	SERVER(s);
	CLIENT(s, a);
	CHECK_STREQ(
		peer_ask(&s, a, "{\"method\":\"org.varlink.service.GetInfo\",\"parameters\":{}}"),
		"{\"parameters\":{\"vendor\":\"fsbox\",\"product\":\"peer\",\"version\":\"1\",\"url\":\"\",\"interfaces\":["
		"\"org.varlink.service\",\"org.example.peer\"]}}");
}

TEST(the_description_of_an_interface_is_its_text)
{
	AUTO(buf_done) struct buf text = {0}, want = {0};
	struct wire_obj o;

	SERVER(s);
	CLIENT(s, a);
	wire_describe(&text, &peer_interface);
	wire_obj_begin(&o, &want);
	wire_obj_bytes(&o, "description", text.data, text.len);
	wire_obj_end(&o);
	const char *got = peer_ask(&s, a,
				   "{\"method\":\"org.varlink.service.GetInterfaceDescription\",\"parameters\":"
				   "{\"interface\":\"org.example.peer\"}}");
	CHECK_CONTAINS(got, want.data);
	AUTO(json_doc_freep) struct json_doc *doc = NULL;
	struct err e = {0};
	REQUIRE_OK(json_parse("", got, strlen(got), 1 << 20, &doc, &e), &e);
	struct idl_counts n;
	size_t at;
	CHECK(idl_read(wire_get_string(wire_get(json_doc_root(doc), "parameters"), "description"), &n, &at));
	CHECK_STREQ(n.name, "org.example.peer");
	CHECK_EQ(n.methods, 8);
	CHECK_EQ(n.types + n.errors, 2);
	CHECK_EQ(n.unknown, 0);
	CHECK_CONTAINS(peer_ask(&s, a,
				"{\"method\":\"org.varlink.service.GetInterfaceDescription\",\"parameters\":"
				"{\"interface\":\"org.varlink.service\"}}"),
		       "error ExpectedMore ()");
	CHECK_STREQ(peer_ask(&s, a,
			     "{\"method\":\"org.varlink.service.GetInterfaceDescription\",\"parameters\":"
			     "{\"interface\":\"org.example\"}}"),
		    ERROR("InterfaceNotFound", "{\"interface\":\"org.example\"}"));
	CHECK_STREQ(peer_ask(&s, a, "{\"method\":\"org.varlink.service.GetInterfaceDescription\"}"),
		    INVALID("interface"));
}

TEST(the_peer_is_known_by_its_ids_groups_and_process)
{
	SERVER(s);
	CLIENT(s, a);
	gid_t groups[128];
	int n = getgroups(128, groups);

	peer_say(&s, a, WAIT(1));
	REQUIRE(s.n_open == 1);
	const struct peer *p = call_peer(s.open[0]);
	CHECK_EQ(p->uid, geteuid());
	CHECK_EQ(p->gid, getegid());
	CHECK_EQ(p->pid, getpid());
	CHECK_EQ(p->n_groups, n);
	if (n > 0)
		CHECK_MEMEQ(p->groups, groups, (size_t)n * sizeof groups[0]);
	int fd = conn_pidfd(s.open[0]->conn);
	CHECK_EQ(conn_pidfd(s.open[0]->conn), fd);
	if (fd_valid(fd)) {
		char path[64], info[2048];

		(void)snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
		CHECK_GT(fd_read_file_at(AT_FDCWD, path, info, sizeof info), 0);
		(void)snprintf(path, sizeof path, "\nPid:\t%d\n", getpid());
		CHECK_CONTAINS(info, path);
		CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	}
	conn_set_data(s.open[0]->conn, &s);
	CHECK(conn_data(s.open[0]->conn) == &s);
	call_drop_params(s.open[0]);
	CHECK(!s.open[0]->params);
	CHECK_EQ(call_backlog(s.open[0]), 0);
	peer_answer(&s, 5);
	CHECK_STREQ(peer_hear(&s, a), NUMBER(5));
}
