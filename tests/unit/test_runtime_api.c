/* The Runtime API's server, without a cell: calls, bodies, connections, ends, snapshots. The requests are made here, with
 * sockets; extensions and telemetry are in test_runtime_api_extensions.c. */
#include "tests/lib/api_peer.h"
#include "tests/lib/tap.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define NEXT API_NEXT
#define ID   API_ID
#define CALL API_CALL
#define NEED_WORLD                                                                      \
	do {                                                                            \
		if (!api_peer_world())                                                  \
			SKIP("needs root: a network namespace and an /opt of its own"); \
	} while (0)

static bool refused(int fd, const char *method, const char *path, const char *fields, const char *body, unsigned status,
		    const char *type)
{
	API_ANSWER(r);
	char wanted[200];

	(void)snprintf(wanted, sizeof wanted, "\"errorType\":\"%s\"", type);
	return CHECK(api_peer_ask(fd, method, path, fields, body, &r)) && CHECK_EQ(r.status, status) &&
	       CHECK_CONTAINS(r.body, wanted);
}

/* ---- Calls ---- */

TEST(calls_go_through_one_connection_and_through_many)
{
	int next = -1;
	CHAN_PEER(p);

	NEED_WORLD;
	REQUIRE(api_peer_ready(&p, &next));
	for (uint64_t n = 1; n <= 50; n++)
		REQUIRE(api_call_works(&p, n, next));
	for (uint64_t n = 51; n <= 200; n++) { /* a client that connects anew for each request */
		API_ANSWER(r);
		struct chan_peer_frame f;

		REQUIRE(api_give_event(&p, n, next, "1"));
		(void)close(next);
		CHECK(api_peer_once("POST", CALL "/response", "Connection: close\r\n", "2", &r));
		CHECK_EQ(r.status, 202);
		next = api_peer_connect(9001);
		REQUIRE(api_send_next(next));
		REQUIRE(api_expect_data(&p, n, "2") && api_expect(&p, CHAN_DONE, n, &f));
	}
	(void)close(next);
}

TEST(events_say_what_lambda_says)
{
	static const char *const env[] = {"AWS_REGION=eu-west-1", "AWS_LAMBDA_FUNCTION_NAME=shop", NULL};
	struct chan_peer_frame f;
	size_t len;
	uint8_t *frame = chan_peer_make_call(1, ID, "Root=1-2-3", 3000, "", 0, &len);
	int fd;
	CHAN_PEER(p);
	API_ANSWER(r);

	NEED_WORLD;
	REQUIRE(api_peer_start(&p, NULL, env) == 0);
	fd = api_peer_connect(9001);
	CHECK(api_peer_ask(fd, "GET", "/2018-06-01/ping", "", NULL, &r) && r.status == 200);
	CHECK_STREQ(r.body, "pong");
	REQUIRE(api_send_next(fd) && api_expect(&p, CHAN_READY, 0, &f));
	CHECK_EQ(chan_peer_send(&p, frame, len), 0);
	REQUIRE(api_peer_read(fd, &r));
	CHECK_EQ(r.len, 0);
	CHECK_STREQ(api_peer_field(&r, "Lambda-Runtime-Trace-Id"), "Root=1-2-3");
	CHECK_STREQ(api_peer_field(&r, "Lambda-Runtime-Invoked-Function-Arn"),
		    "arn:aws:lambda:eu-west-1:012345678912:function:shop");
	CHECK_STREQ(api_peer_field(&r, "Content-Type"), "application/json");
	CHECK_EQ(strlen(api_peer_field(&r, "Lambda-Runtime-Deadline-Ms")), 13);
	free(frame);
	(void)close(fd);
}

TEST(errors_reach_the_caller_as_they_are)
{
	static const struct {
		const char *field, *body, *type, *message;
	} cases[] = {
		{"Lambda-Runtime-Function-Error-Type: Function.Own\r\n",
		 "{\"errorMessage\":\"a\\u00e4\",\"errorType\":\"X\",\"more\":[1]}", "Function.Own", "a\xc3\xa4"},
		{"Lambda-Runtime-Function-Error-Type: Runtime.Sad\r\n", "no json", "Runtime.Sad", "no json"},
		{"Lambda-Runtime-Function-Error-Type: Function.A\r\n", "{}", "Function.Unknown", "{}"},
		{"Lambda-Runtime-Function-Error-Type: Own.Type\r\n", "", "Function.Unknown", ""},
		{"", "{\"errorMessage\":1}", "Function.Unknown", "{\"errorMessage\":1}"},
	};
	int next = -1;
	CHAN_PEER(p);

	NEED_WORLD;
	REQUIRE(api_peer_ready(&p, &next));
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		API_ANSWER(r);

		REQUIRE(api_give_event(&p, i + 1, next, "1"));
		CHECK(api_peer_ask(next, "POST", CALL "/error", cases[i].field, cases[i].body, &r));
		CHECK_EQ(r.status, 202);
		REQUIRE(api_send_next(next));
		CHECK(api_expect_error(&p, CHAN_ERROR, i + 1, cases[i].type, cases[i].message, cases[i].body));
	}
	CHECK(api_call_works(&p, 99, next));
	(void)close(next);
}

TEST(an_x_ray_cause_of_1_mib_is_a_field_like_others)
{
	enum { LEN = 1048576 };
	char *cause = malloc(LEN + 1);
	int next = -1;
	CHAN_PEER(p);
	API_ANSWER(r);

	NEED_WORLD;
	REQUIRE(cause && api_peer_ready(&p, &next) && api_give_event(&p, 1, next, "1"));
	memset(cause, 'x', LEN);
	cause[LEN] = '\0';
	CHECK(api_peer_puts(next, "POST " CALL "/error HTTP/1.1\r\nContent-Length: 2\r\n"
				  "Lambda-Runtime-Function-XRay-Error-Cause: "));
	CHECK(api_peer_puts(next, cause) && api_peer_puts(next, "\r\n\r\n{}"));
	CHECK(api_peer_read(next, &r));
	CHECK_EQ(r.status, 202);
	REQUIRE(api_send_next(next));
	CHECK(api_expect_error(&p, CHAN_ERROR, 1, "Function.Unknown", NULL, "{}"));
	free(cause);
	(void)close(next);
}

TEST(wrong_ids_states_methods_and_paths_have_their_status)
{
	int next = -1, fd;
	CHAN_PEER(p);
	API_ANSWER(r);

	NEED_WORLD;
	REQUIRE(api_peer_ready(&p, &next));
	fd = api_peer_connect(9001);
	CHECK(refused(fd, "POST", CALL "/response", "", "x", 400, "InvalidRequestID"));
	CHECK(refused(fd, "POST", "/2018-06-01/runtime/init/error", "", "x", 403, "InvalidStateTransition"));
	CHECK(refused(fd, "POST", "/2018-06-01/runtime/restore/error", "", "x", 403, "InvalidStateTransition"));
	CHECK(refused(fd, "GET", "/2018-06-01/runtime/restore/next", "", NULL, 404, "NotFound"));
	CHECK(refused(fd, "GET", "/2018-06-01/runtime/invocation//response", "", NULL, 404, "NotFound"));
	CHECK(refused(fd, "GET", "/", "", NULL, 404, "NotFound"));
	CHECK(refused(fd, "DELETE", NEXT, "", "with a body", 405, "MethodNotAllowed"));
	CHECK(refused(fd, "GET", "/2021-04-23/credentials", "Authorization: x\r\n", NULL, 404, "NotFound"));
	REQUIRE(api_give_event(&p, 1, next, "1"));
	CHECK(refused(fd, "POST", "/2018-06-01/runtime/invocation/other/response", "", "x", 400, "InvalidRequestID"));
	CHECK(refused(fd, "POST", "/2018-06-01/runtime/invocation/other/error", "", "x", 400, "InvalidRequestID"));
	CHECK(api_peer_ask(next, "POST", CALL "/response", "", "ok", &r) && r.status == 202);
	CHECK(refused(fd, "POST", CALL "/response", "", "again", 403, "InvalidStateTransition"));
	CHECK(refused(fd, "POST", CALL "/error", "", "again", 403, "InvalidStateTransition"));
	REQUIRE(api_send_next(next) && api_expect_data(&p, 1, "ok"));
	struct chan_peer_frame f;
	CHECK(api_expect(&p, CHAN_DONE, 1, &f));
	CHECK(refused(fd, "POST", CALL "/response", "", "late", 400, "InvalidRequestID"));
	CHECK(api_call_works(&p, 2, next));
	(void)close(fd);
	(void)close(next);
}

TEST(a_client_that_loses_its_connection_may_ask_again)
{
	struct chan_peer_frame f;
	int next = -1;
	CHAN_PEER(p);
	API_ANSWER(r);

	NEED_WORLD;
	REQUIRE(api_peer_ready(&p, &next));
	(void)close(next); /* while waiting: the event comes while nobody asks */
	(void)nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
	CHECK_EQ(chan_peer_call(&p, 1, "\"e\"", 3), 0);
	(void)nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
	for (int i = 0; i < 3; i++) { /* and after it: the same event again */
		next = api_peer_connect(9001);
		REQUIRE(api_send_next(next));
		REQUIRE(CHECK(api_peer_read(next, &r)));
		CHECK_STREQ(r.body, "\"e\"");
		(void)close(next);
	}
	next = api_peer_connect(9001); /* in the middle of the answer: it may be given again */
	CHECK(api_peer_puts(next, "POST " CALL "/response HTTP/1.1\r\nContent-Length: 10\r\n\r\nhalf"));
	(void)nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
	(void)close(next);
	(void)nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
	next = api_peer_connect(9001);
	CHECK(api_peer_ask(next, "POST", CALL "/response", "", "whole", &r));
	CHECK_EQ(r.status, 202);
	REQUIRE(api_send_next(next) && api_expect_data(&p, 1, "whole") && api_expect(&p, CHAN_DONE, 1, &f));
	int other = api_peer_connect(9001); /* the later of two requests is answered */
	REQUIRE(api_send_next(other));
	CHECK(api_peer_closed(next));
	CHECK(api_call_works(&p, 2, other));
	(void)close(next);
	(void)close(other);
}

/* ---- Bodies ---- */

TEST(bodies_come_in_every_form_and_in_pieces)
{
	static const char *const requests[] = {
		"POST " CALL "/response HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
		"POST " CALL "/response HTTP/1.1\nContent-Length: 5\n\nhello",
		"POST http://h:1" CALL "/response?x=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello",
		"POST " CALL "/response HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		"POST " CALL "/response HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n"
		"1;a=b\r\nh\r\n4\r\nello\r\n0\r\nTrailer: x\r\n\r\n",
		"POST " CALL "/response HTTP/1.0\r\nConnection: Keep-Alive\r\nContent-Length: 5\r\n\r\nhello",
		"\r\n\r\nPOST " CALL
		"/response HTTP/1.1\r\nConnection: TE, keep-alive\r\nContent-Length: 5\r\n\r\nhello",
	};
	struct chan_peer_frame f;
	uint64_t number = 0;
	int next = -1;
	CHAN_PEER(p);

	NEED_WORLD;
	REQUIRE(api_peer_ready(&p, &next));
	for (size_t i = 0; i < 2 * sizeof requests / sizeof requests[0]; i++) {
		const char *text = requests[i / 2];
		API_ANSWER(r);

		REQUIRE(api_give_event(&p, ++number, next, "1"));
		if (i % 2 == 0)
			CHECK(api_peer_puts(next, text));
		for (size_t k = 0; i % 2 && text[k]; k++) {
			CHECK(api_peer_put(next, text + k, 1));
			(void)nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
		}
		if (!CHECK(api_peer_read(next, &r)) || !CHECK_EQ(r.status, 202))
			tap_note("request %zu", i / 2);
		REQUIRE(api_send_next(next) && api_expect_data(&p, number, "hello") &&
			api_expect(&p, CHAN_DONE, number, &f));
	}
	(void)close(next);
}

TEST(what_cannot_be_read_has_a_status_and_an_end)
{
	static const struct {
		const char *text;
		unsigned status;
	} cases[] = {
		{"no http\r\n\r\n", 400},
		{"GET / HTTP/2.0\r\n\r\n", 505},
		{"GET / HTTP/1.1\r\nNo colon\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nA : b\r\n\r\n", 400},
		{"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx", 400},
		{"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", 400},
		{"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		{"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501},
		{"POST / HTTP/1.1\r\nExpect: miracles\r\n\r\n", 417},
		{"POST " CALL "/response HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400},
		{"POST " CALL "/response HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n", 400},
	};
	int next = -1;
	CHAN_PEER(p);

	NEED_WORLD;
	REQUIRE(api_peer_ready(&p, &next) && api_give_event(&p, 1, next, "1"));
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int fd = api_peer_connect(9001);
		API_ANSWER(r);

		CHECK(api_peer_puts(fd, cases[i].text));
		if (!CHECK(api_peer_read(fd, &r)) || !CHECK_EQ(r.status, cases[i].status))
			tap_note("case %zu", i);
		CHECK(api_peer_closed(fd));
		(void)close(fd);
	}
	for (int k = 0; k < 2; k++) { /* a body that ends early; the second has an answer already */
		int fd = api_peer_connect(9001);
		API_ANSWER(r);

		CHECK(api_peer_puts(fd, k ? "POST /nowhere HTTP/1.1\r\nContent-Length: 9\r\n\r\nx"
					  : "POST " CALL "/response HTTP/1.1\r\nContent-Length: 9\r\n\r\nx"));
		CHECK_EQ(shutdown(fd, SHUT_WR), 0);
		CHECK(api_peer_read(fd, &r));
		CHECK_EQ(r.status, k ? 404 : 400);
		CHECK(k || strstr(r.body, "TruncatedHTTPRequest"));
		CHECK(api_peer_closed(fd));
		(void)close(fd);
	}
	API_ANSWER(r);
	struct chan_peer_frame f;
	CHECK(api_peer_ask(next, "POST", CALL "/response", "", "fine", &r) && r.status == 202);
	REQUIRE(api_send_next(next));
	CHECK(api_expect_data(&p, 1, "fine") && api_expect(&p, CHAN_DONE, 1, &f));
	(void)close(next);
}

TEST(a_head_beyond_the_limit_is_refused_and_the_refusal_arrives)
{
	const size_t len = 3 << 20;
	char *junk = malloc(len);
	int next = -1;
	CHAN_PEER(p);

	NEED_WORLD;
	REQUIRE(junk && api_peer_ready(&p, &next));
	memset(junk, 'x', len);
	for (int k = 0; k < 4; k++) { /* the answer must not be overtaken by a reset for what was not read */
		int fd = api_peer_connect(9001);
		API_ANSWER(r);

		CHECK(api_peer_puts(fd, "GET / HTTP/1.1\r\nA: ") && api_peer_put(fd, junk, len));
		CHECK(api_peer_read(fd, &r));
		CHECK_EQ(r.status, 431);
		(void)close(fd);
	}
	CHECK(api_call_works(&p, 1, next));
	free(junk);
	(void)close(next);
}

TEST(who_expects_to_be_asked_is)
{
	struct chan_peer_frame f;
	int next = -1, fd;
	CHAN_PEER(p);
	API_ANSWER(r);

	NEED_WORLD;
	REQUIRE(api_peer_ready(&p, &next) && api_give_event(&p, 1, next, "1"));
	CHECK(api_peer_puts(next,
			    "POST " CALL "/response HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"));
	CHECK(api_peer_read(next, &r));
	CHECK_EQ(r.status, 100);
	CHECK(api_peer_puts(next, "ok") && api_peer_read(next, &r));
	CHECK_EQ(r.status, 202);
	REQUIRE(api_send_next(next) && api_expect_data(&p, 1, "ok") && api_expect(&p, CHAN_DONE, 1, &f));
	/* Who is refused need not send the body, so the connection must not go on. */
	fd = api_peer_connect(9001);
	CHECK(api_peer_puts(fd, "POST /nowhere HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"));
	CHECK(api_peer_read(fd, &r));
	CHECK_EQ(r.status, 404);
	CHECK_STREQ(api_peer_field(&r, "Connection"), "close");
	CHECK(api_peer_closed(fd));
	(void)close(fd);
	/* HTTP/1.0 knows no interim answers. */
	fd = api_peer_connect(9001);
	CHECK(api_peer_puts(fd, "POST /nowhere HTTP/1.0\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nxy"));
	CHECK(api_peer_read(fd, &r));
	CHECK_EQ(r.status, 404);
	(void)close(fd);
	CHECK(api_call_works(&p, 2, next));
	(void)close(next);
}

TEST(sizes_up_to_the_limit_go_through_and_one_more_does_not)
{
	static const size_t sizes[] = {0, 1, 65536, CHAN_MAX_PAYLOAD, CHAN_MAX_PAYLOAD + 1, CHAN_MAX_PAYLOAD + 101};
	char *data = malloc(CHAN_MAX_PAYLOAD + 200);
	int next = -1;
	CHAN_PEER(p);

	NEED_WORLD;
	REQUIRE(data && api_peer_ready(&p, &next));
	for (size_t i = 0; i < CHAN_MAX_PAYLOAD + 200; i++)
		data[i] = (char)('a' + i * 7 % 23);
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		const bool fits = sizes[i] <= CHAN_MAX_PAYLOAD;
		struct chan_peer_frame f;
		char head[300];
		API_ANSWER(r);

		REQUIRE(api_give_event(&p, i + 1, next, "1"));
		(void)snprintf(head, sizeof head, "POST " CALL "/response HTTP/1.1\r\nContent-Length: %zu\r\n\r\n",
			       sizes[i]);
		CHECK(api_peer_puts(next, head) && api_peer_put(next, data, sizes[i]));
		if (fits && sizes[i] > 0)
			REQUIRE(api_expect(&p, CHAN_DATA, i + 1, &f) && CHECK_EQ(f.head.len, sizes[i]) &&
				CHECK_MEMEQ(f.body, data, sizes[i]));
		CHECK(api_peer_read(next, &r));
		CHECK_EQ(r.status, fits ? 202 : 413);
		REQUIRE(api_send_next(next));
		if (fits)
			REQUIRE(api_expect(&p, CHAN_DONE, i + 1, &f));
		else
			REQUIRE(api_expect_error(&p, CHAN_ERROR, i + 1, "Function.ResponseSizeTooLarge", NULL, NULL));
	}
	free(data);
	(void)close(next);
}

TEST(an_error_document_beyond_1_mib_is_dropped_and_the_error_stays)
{
	enum { LEN = CHAN_MAX_DOCUMENT + 1 };
	char *data = malloc(LEN + 1);
	int next = -1;
	CHAN_PEER(p);
	API_ANSWER(r);

	NEED_WORLD;
	REQUIRE(data && api_peer_ready(&p, &next) && api_give_event(&p, 1, next, "1"));
	memset(data, 'x', LEN);
	data[LEN] = '\0';
	CHECK(api_peer_ask(next, "POST", CALL "/error", "Lambda-Runtime-Function-Error-Type: Function.Big\r\n", data,
			   &r));
	CHECK_EQ(r.status, 202);
	REQUIRE(api_send_next(next));
	CHECK(api_expect_error(&p, CHAN_ERROR, 1, "Function.Big",
			       "the error document is larger than 1048576 bytes and was dropped", ""));
	free(data);
	(void)close(next);
}

TEST(a_slow_reader_of_a_large_event_gets_it_whole_and_holds_up_nobody)
{
	char *event = malloc(CHAN_MAX_PAYLOAD), head[16384], *body;
	struct chan_peer_frame f;
	size_t have = 0;
	int next = -1, size = 65536;
	CHAN_PEER(p);
	API_ANSWER(r);

	NEED_WORLD;
	REQUIRE(event && api_peer_ready(&p, &next));
	(void)setsockopt(next, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
	memset(event, '7', CHAN_MAX_PAYLOAD);
	CHECK_EQ(chan_peer_call(&p, 1, event, CHAN_MAX_PAYLOAD), 0);
	for (size_t i = 0; i < 20; i++) { /* others are served meanwhile */
		CHECK(api_peer_once("GET", "/2018-06-01/ping", "", NULL, &r) && r.status == 200);
		have += (size_t)recv(next, head + have, 128, 0);
	}
	head[have] = '\0';
	CHECK_EQ(shutdown(next, SHUT_WR), 0); /* it has no more to ask, and still reads */
	body = strstr(head, "\r\n\r\n");
	REQUIRE(body);
	have -= (size_t)(body + 4 - head);
	for (ssize_t n; (n = read(next, head, sizeof head)) > 0; have += (size_t)n)
		if (memchr(head, '7', (size_t)n) != head || head[n - 1] != '7')
			FAIL("other bytes");
	CHECK_EQ(have, CHAN_MAX_PAYLOAD);
	(void)close(next);
	next = api_peer_connect(9001);
	CHECK(api_peer_ask(next, "POST", CALL "/response", "", "1", &r));
	CHECK_EQ(r.status, 202);
	REQUIRE(api_send_next(next));
	CHECK(api_expect_data(&p, 1, "1") && api_expect(&p, CHAN_DONE, 1, &f));
	free(event);
	(void)close(next);
}

/* ---- Streaming ---- */

#define STREAM                                                                                    \
	"POST " CALL "/response HTTP/1.1\r\nLambda-Runtime-Function-Response-Mode: streaming\r\n" \
	"Transfer-Encoding: chunked\r\nTrailer: Lambda-Runtime-Function-Error-Type\r\n\r\n"

TEST(a_stream_goes_on_as_it_comes)
{
	struct chan_peer_frame f;
	int next = -1;
	CHAN_PEER(p);
	API_ANSWER(r);

	NEED_WORLD;
	REQUIRE(api_peer_ready(&p, &next) && api_give_event(&p, 1, next, "1"));
	CHECK(api_peer_puts(next, STREAM "3\r\none\r\n") && api_expect_data(&p, 1, "one"));
	CHECK(api_peer_puts(next, "3\r\ntwo\r\n") && api_expect_data(&p, 1, "two"));
	CHECK(api_peer_puts(next, "0\r\n\r\n") && api_peer_read(next, &r));
	CHECK_EQ(r.status, 202);
	REQUIRE(api_send_next(next) && api_expect(&p, CHAN_DONE, 1, &f));
	/* An error in the middle comes in the trailers: base64 of the document. */
	REQUIRE(api_give_event(&p, 2, next, "1"));
	CHECK(api_peer_puts(next, STREAM "3\r\none\r\n0\r\nLambda-Runtime-Function-Error-Type: Function.Mid\r\n"
					 "Lambda-Runtime-Function-Error-Body: eyJlcnJvck1lc3NhZ2UiOiJtIn0=\r\n\r\n"));
	CHECK(api_peer_read(next, &r));
	CHECK_EQ(r.status, 202);
	REQUIRE(api_send_next(next) && api_expect_data(&p, 2, "one"));
	CHECK(api_expect_error(&p, CHAN_ERROR, 2, "Function.Mid", "m", "{\"errorMessage\":\"m\"}"));
	/* A mode that there is not. */
	REQUIRE(api_give_event(&p, 3, next, "1"));
	CHECK(refused(next, "POST", CALL "/response", "Lambda-Runtime-Function-Response-Mode: dreaming\r\n", "x", 400,
		      "InvalidFunctionResponseMode"));
	REQUIRE(api_send_next(next));
	CHECK(api_expect_error(&p, CHAN_ERROR, 3, "Runtime.InvalidResponseModeHeader", NULL, NULL));
	CHECK(api_call_works(&p, 4, next));
	(void)close(next);
}

TEST(a_stream_that_breaks_is_an_error_of_the_call)
{
	int next = -1;
	CHAN_PEER(p);

	NEED_WORLD;
	REQUIRE(api_peer_ready(&p, &next) && api_give_event(&p, 1, next, "1"));
	CHECK(api_peer_puts(next, STREAM "3\r\none\r\n") && api_expect_data(&p, 1, "one"));
	(void)close(next); /* what went to the caller cannot be taken back: no second answer behind it */
	next = api_peer_connect(9001);
	(void)nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
	CHECK(refused(next, "POST", CALL "/response", "", "second", 403, "InvalidStateTransition"));
	REQUIRE(api_send_next(next));
	CHECK(api_expect_error(&p, CHAN_ERROR, 1, "Runtime.TruncatedResponse", NULL, NULL));
	CHECK(api_call_works(&p, 2, next));
	(void)close(next);
}

/* ---- Connections ---- */

TEST(requests_one_behind_the_other_are_answered_in_order)
{
	enum { MANY = 3000 };
	static const char ping[] = "GET /2018-06-01/ping HTTP/1.1\r\n\r\n";
	char *all = malloc(MANY * sizeof ping);
	struct chan_peer_frame f;
	int next = -1, fd;
	CHAN_PEER(p);
	API_ANSWER(r);

	NEED_WORLD;
	REQUIRE(all && api_peer_ready(&p, &next));
	for (size_t i = 0; i < MANY; i++)
		memcpy(all + i * (sizeof ping - 1), ping, sizeof ping);
	fd = api_peer_connect(9001);
	CHECK(api_peer_put(fd, all, MANY * (sizeof ping - 1)));
	for (int i = 0; i < MANY; i++)
		if (!api_peer_read(fd, &r) || r.status != 200 || strcmp(r.body, "pong") != 0)
			FAIL("answer %d has status %u", i, r.status);
	(void)close(fd);
	/* Behind one that waits, too: the event, then what was asked meanwhile. */
	CHECK(api_peer_puts(next, ping));
	CHECK(api_peer_silent(next));
	CHECK_EQ(chan_peer_call(&p, 1, "1", 1), 0);
	CHECK(api_peer_read(next, &r) && strcmp(r.body, "1") == 0);
	CHECK(api_peer_read(next, &r) && strcmp(r.body, "pong") == 0);
	/* And the answer with the next request in one. */
	CHECK(api_peer_puts(next, "POST " CALL "/response HTTP/1.1\r\nContent-Length: 1\r\n\r\n2GET " NEXT
				  " HTTP/1.1\r\n\r\n"));
	CHECK(api_peer_read(next, &r) && r.status == 202);
	CHECK(api_expect_data(&p, 1, "2") && api_expect(&p, CHAN_DONE, 1, &f));
	CHECK(api_call_works(&p, 2, next));
	free(all);
	(void)close(next);
}

TEST(an_answer_to_head_has_no_follower)
{
	int next = -1, fd;
	CHAN_PEER(p);
	API_ANSWER(r);

	NEED_WORLD;
	REQUIRE(api_peer_ready(&p, &next));
	fd = api_peer_connect(9001);
	CHECK(api_peer_ask(fd, "HEAD", "/2018-06-01/ping", "", NULL, &r));
	CHECK_EQ(r.status, 405);
	CHECK(api_peer_closed(fd));
	(void)close(fd);
	(void)close(next);
}

TEST(idle_connections_make_room_for_others)
{
	enum { MANY = 200 };
	int idle[MANY], next = -1;
	CHAN_PEER(p);
	API_ANSWER(r);

	NEED_WORLD;
	REQUIRE(api_peer_ready(&p, &next));
	for (int i = 0; i < MANY; i++) { /* a pool that leaks */
		idle[i] = api_peer_connect(9001);
		if (!api_peer_ask(idle[i], "GET", "/2018-06-01/ping", "", NULL, &r) || r.status != 200) {
			FAIL("connection %d is not served", i);
			break;
		}
	}
	CHECK(api_call_works(&p, 1, next)); /* the one that waited was not taken for idle */
	for (int i = 0; i < MANY; i++)
		(void)close(idle[i]);
	for (int i = 0; i < MANY; i++) { /* and many that vanish in the middle of everything */
		int fd = api_peer_connect(9001);

		(void)api_peer_put(fd, "POST " CALL "/response HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc",
				   (size_t)i % 120 % 93);
		(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = i % 2}, sizeof(struct linger));
		(void)close(fd);
	}
	CHECK(api_call_works(&p, 2, next));
	(void)close(next);
}
