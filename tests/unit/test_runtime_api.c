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

#define NEXT "/2018-06-01/runtime/invocation/next"
#define ID   "11111111-2222-4333-8444-555555555555"
#define CALL "/2018-06-01/runtime/invocation/" ID
#define NEED_WORLD                                                                      \
	do {                                                                            \
		if (!api_peer_world())                                                  \
			SKIP("needs root: a network namespace and an /opt of its own"); \
	} while (0)

static bool expect(struct chan_peer *p, unsigned type, uint64_t call, struct chan_peer_frame *f)
{
	return CHECK_EQ(chan_peer_next(p, f), 1) && CHECK_EQ(f->head.type, type) && CHECK_EQ(f->head.call, call);
}

/* An ERROR or INIT_ERROR with these. NULL: not looked at. */
static bool expect_error(struct chan_peer *p, unsigned type, uint64_t call, const char *kind, const char *message,
			 const char *document)
{
	struct chan_peer_frame f;
	struct chan_error e;
	char got_kind[300], got_message[4000], got_document[4000];

	if (!expect(p, type, call, &f))
		return false;
	memcpy(&e, f.body, sizeof e);
	(void)snprintf(got_kind, sizeof got_kind, "%.*s", (int)e.type_len, (const char *)f.body + sizeof e);
	(void)snprintf(got_message, sizeof got_message, "%.*s", (int)e.message_len,
		       (const char *)f.body + sizeof e + e.type_len);
	(void)snprintf(got_document, sizeof got_document, "%.*s",
		       (int)(f.head.len - sizeof e - e.type_len - e.message_len),
		       (const char *)f.body + sizeof e + e.type_len + e.message_len);
	return CHECK_STREQ(got_kind, kind) && (!message || CHECK_STREQ(got_message, message)) &&
	       (!document || CHECK_STREQ(got_document, document));
}

static bool expect_data(struct chan_peer *p, uint64_t call, const char *text)
{
	struct chan_peer_frame f;

	return expect(p, CHAN_DATA, call, &f) && CHECK_EQ(f.head.len, strlen(text)) &&
	       CHECK_MEMEQ(f.body, text, strlen(text));
}

/* Sends a call and takes its event. */
static bool give_event(struct chan_peer *p, uint64_t number, int next, const char *event)
{
	API_ANSWER(r);

	return CHECK_EQ(chan_peer_call(p, number, event, strlen(event)), 0) && CHECK(api_peer_read(next, &r)) &&
	       CHECK_EQ(r.status, 200) && CHECK_STREQ(r.body, event) &&
	       CHECK_STREQ(api_peer_field(&r, "Lambda-Runtime-Aws-Request-Id"), ID);
}

static bool send_next(int fd)
{
	return CHECK(api_peer_send(fd, "GET", NEXT, "", NULL));
}

/* A whole call, to see that the server still works. */
static bool call_works(struct chan_peer *p, uint64_t number, int next)
{
	struct chan_peer_frame f;
	API_ANSWER(r);

	return give_event(p, number, next, "\"ping\"") &&
	       CHECK(api_peer_ask(next, "POST", CALL "/response", "", "\"pong\"", &r)) && CHECK_EQ(r.status, 202) &&
	       CHECK_STREQ(r.body, "{\"status\":\"OK\"}") && send_next(next) && expect_data(p, number, "\"pong\"") &&
	       expect(p, CHAN_DONE, number, &f);
}

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
		REQUIRE(call_works(&p, n, next));
	for (uint64_t n = 51; n <= 200; n++) { /* a client that connects anew for each request */
		API_ANSWER(r);
		struct chan_peer_frame f;

		REQUIRE(give_event(&p, n, next, "1"));
		(void)close(next);
		CHECK(api_peer_once("POST", CALL "/response", "Connection: close\r\n", "2", &r));
		CHECK_EQ(r.status, 202);
		next = api_peer_connect(9001);
		REQUIRE(send_next(next));
		REQUIRE(expect_data(&p, n, "2") && expect(&p, CHAN_DONE, n, &f));
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
	REQUIRE(send_next(fd) && expect(&p, CHAN_READY, 0, &f));
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

		REQUIRE(give_event(&p, i + 1, next, "1"));
		CHECK(api_peer_ask(next, "POST", CALL "/error", cases[i].field, cases[i].body, &r));
		CHECK_EQ(r.status, 202);
		REQUIRE(send_next(next));
		CHECK(expect_error(&p, CHAN_ERROR, i + 1, cases[i].type, cases[i].message, cases[i].body));
	}
	CHECK(call_works(&p, 99, next));
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
	REQUIRE(cause && api_peer_ready(&p, &next) && give_event(&p, 1, next, "1"));
	memset(cause, 'x', LEN);
	cause[LEN] = '\0';
	CHECK(api_peer_puts(next, "POST " CALL "/error HTTP/1.1\r\nContent-Length: 2\r\n"
				  "Lambda-Runtime-Function-XRay-Error-Cause: "));
	CHECK(api_peer_puts(next, cause) && api_peer_puts(next, "\r\n\r\n{}"));
	CHECK(api_peer_read(next, &r));
	CHECK_EQ(r.status, 202);
	REQUIRE(send_next(next));
	CHECK(expect_error(&p, CHAN_ERROR, 1, "Function.Unknown", NULL, "{}"));
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
	REQUIRE(give_event(&p, 1, next, "1"));
	CHECK(refused(fd, "POST", "/2018-06-01/runtime/invocation/other/response", "", "x", 400, "InvalidRequestID"));
	CHECK(refused(fd, "POST", "/2018-06-01/runtime/invocation/other/error", "", "x", 400, "InvalidRequestID"));
	CHECK(api_peer_ask(next, "POST", CALL "/response", "", "ok", &r) && r.status == 202);
	CHECK(refused(fd, "POST", CALL "/response", "", "again", 403, "InvalidStateTransition"));
	CHECK(refused(fd, "POST", CALL "/error", "", "again", 403, "InvalidStateTransition"));
	REQUIRE(send_next(next) && expect_data(&p, 1, "ok"));
	struct chan_peer_frame f;
	CHECK(expect(&p, CHAN_DONE, 1, &f));
	CHECK(refused(fd, "POST", CALL "/response", "", "late", 400, "InvalidRequestID"));
	CHECK(call_works(&p, 2, next));
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
		REQUIRE(send_next(next));
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
	REQUIRE(send_next(next) && expect_data(&p, 1, "whole") && expect(&p, CHAN_DONE, 1, &f));
	int other = api_peer_connect(9001); /* the later of two requests is answered */
	REQUIRE(send_next(other));
	CHECK(api_peer_closed(next));
	CHECK(call_works(&p, 2, other));
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

		REQUIRE(give_event(&p, ++number, next, "1"));
		if (i % 2 == 0)
			CHECK(api_peer_puts(next, text));
		for (size_t k = 0; i % 2 && text[k]; k++) {
			CHECK(api_peer_put(next, text + k, 1));
			(void)nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
		}
		if (!CHECK(api_peer_read(next, &r)) || !CHECK_EQ(r.status, 202))
			tap_note("request %zu", i / 2);
		REQUIRE(send_next(next) && expect_data(&p, number, "hello") && expect(&p, CHAN_DONE, number, &f));
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
	REQUIRE(api_peer_ready(&p, &next) && give_event(&p, 1, next, "1"));
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
	REQUIRE(send_next(next));
	CHECK(expect_data(&p, 1, "fine") && expect(&p, CHAN_DONE, 1, &f));
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
	CHECK(call_works(&p, 1, next));
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
	REQUIRE(api_peer_ready(&p, &next) && give_event(&p, 1, next, "1"));
	CHECK(api_peer_puts(next,
			    "POST " CALL "/response HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"));
	CHECK(api_peer_read(next, &r));
	CHECK_EQ(r.status, 100);
	CHECK(api_peer_puts(next, "ok") && api_peer_read(next, &r));
	CHECK_EQ(r.status, 202);
	REQUIRE(send_next(next) && expect_data(&p, 1, "ok") && expect(&p, CHAN_DONE, 1, &f));
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
	CHECK(call_works(&p, 2, next));
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

		REQUIRE(give_event(&p, i + 1, next, "1"));
		(void)snprintf(head, sizeof head, "POST " CALL "/response HTTP/1.1\r\nContent-Length: %zu\r\n\r\n",
			       sizes[i]);
		CHECK(api_peer_puts(next, head) && api_peer_put(next, data, sizes[i]));
		if (fits && sizes[i] > 0)
			REQUIRE(expect(&p, CHAN_DATA, i + 1, &f) && CHECK_EQ(f.head.len, sizes[i]) &&
				CHECK_MEMEQ(f.body, data, sizes[i]));
		CHECK(api_peer_read(next, &r));
		CHECK_EQ(r.status, fits ? 202 : 413);
		REQUIRE(send_next(next));
		if (fits)
			REQUIRE(expect(&p, CHAN_DONE, i + 1, &f));
		else
			REQUIRE(expect_error(&p, CHAN_ERROR, i + 1, "Function.ResponseSizeTooLarge", NULL, NULL));
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
	REQUIRE(data && api_peer_ready(&p, &next) && give_event(&p, 1, next, "1"));
	memset(data, 'x', LEN);
	data[LEN] = '\0';
	CHECK(api_peer_ask(next, "POST", CALL "/error", "Lambda-Runtime-Function-Error-Type: Function.Big\r\n", data,
			   &r));
	CHECK_EQ(r.status, 202);
	REQUIRE(send_next(next));
	CHECK(expect_error(&p, CHAN_ERROR, 1, "Function.Big",
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
	REQUIRE(send_next(next));
	CHECK(expect_data(&p, 1, "1") && expect(&p, CHAN_DONE, 1, &f));
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
	REQUIRE(api_peer_ready(&p, &next) && give_event(&p, 1, next, "1"));
	CHECK(api_peer_puts(next, STREAM "3\r\none\r\n") && expect_data(&p, 1, "one"));
	CHECK(api_peer_puts(next, "3\r\ntwo\r\n") && expect_data(&p, 1, "two"));
	CHECK(api_peer_puts(next, "0\r\n\r\n") && api_peer_read(next, &r));
	CHECK_EQ(r.status, 202);
	REQUIRE(send_next(next) && expect(&p, CHAN_DONE, 1, &f));
	/* An error in the middle comes in the trailers: base64 of the document. */
	REQUIRE(give_event(&p, 2, next, "1"));
	CHECK(api_peer_puts(next, STREAM "3\r\none\r\n0\r\nLambda-Runtime-Function-Error-Type: Function.Mid\r\n"
					 "Lambda-Runtime-Function-Error-Body: eyJlcnJvck1lc3NhZ2UiOiJtIn0=\r\n\r\n"));
	CHECK(api_peer_read(next, &r));
	CHECK_EQ(r.status, 202);
	REQUIRE(send_next(next) && expect_data(&p, 2, "one"));
	CHECK(expect_error(&p, CHAN_ERROR, 2, "Function.Mid", "m", "{\"errorMessage\":\"m\"}"));
	/* A mode that there is not. */
	REQUIRE(give_event(&p, 3, next, "1"));
	CHECK(refused(next, "POST", CALL "/response", "Lambda-Runtime-Function-Response-Mode: dreaming\r\n", "x", 400,
		      "InvalidFunctionResponseMode"));
	REQUIRE(send_next(next));
	CHECK(expect_error(&p, CHAN_ERROR, 3, "Runtime.InvalidResponseModeHeader", NULL, NULL));
	CHECK(call_works(&p, 4, next));
	(void)close(next);
}

TEST(a_stream_that_breaks_is_an_error_of_the_call)
{
	int next = -1;
	CHAN_PEER(p);

	NEED_WORLD;
	REQUIRE(api_peer_ready(&p, &next) && give_event(&p, 1, next, "1"));
	CHECK(api_peer_puts(next, STREAM "3\r\none\r\n") && expect_data(&p, 1, "one"));
	(void)close(next); /* what went to the caller cannot be taken back: no second answer behind it */
	next = api_peer_connect(9001);
	(void)nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
	CHECK(refused(next, "POST", CALL "/response", "", "second", 403, "InvalidStateTransition"));
	REQUIRE(send_next(next));
	CHECK(expect_error(&p, CHAN_ERROR, 1, "Runtime.TruncatedResponse", NULL, NULL));
	CHECK(call_works(&p, 2, next));
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
	CHECK(expect_data(&p, 1, "2") && expect(&p, CHAN_DONE, 1, &f));
	CHECK(call_works(&p, 2, next));
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
	CHECK(call_works(&p, 1, next)); /* the one that waited was not taken for idle */
	for (int i = 0; i < MANY; i++)
		(void)close(idle[i]);
	for (int i = 0; i < MANY; i++) { /* and many that vanish in the middle of everything */
		int fd = api_peer_connect(9001);

		(void)api_peer_put(fd, "POST " CALL "/response HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc",
				   (size_t)i % 120 % 93);
		(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = i % 2}, sizeof(struct linger));
		(void)close(fd);
	}
	CHECK(call_works(&p, 2, next));
	(void)close(next);
}

/* ---- Ends ---- */

static bool ends_with(struct chan_peer *p, int code, int status)
{
	struct chan_exit e = {0};
	size_t rest;

	return CHECK(chan_peer_exit(p, &e, &rest)) && CHECK_EQ(e.code, code) && CHECK_EQ(e.status, status);
}

TEST(how_the_program_ends_the_server_ends)
{
	static const struct {
		const char *command;
		int code, status;
	} cases[] = {
		{"exit 0", CLD_EXITED, 0},         {"exit 7", CLD_EXITED, 7},        {"exit 255", CLD_EXITED, 255},
		{"kill -SEGV $$", CLD_KILLED, 11}, {"kill -KILL $$", CLD_KILLED, 9}, {"kill -TERM $$", CLD_KILLED, 15},
		{"kill -34 $$", CLD_KILLED, 34},
	};

	NEED_WORLD;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const char *const argv[] = {"/bin/bash", "-c", cases[i].command, NULL};
		CHAN_PEER(p);

		REQUIRE(api_peer_start(&p, argv, NULL) == 0);
		if (!ends_with(&p, cases[i].code, cases[i].status))
			tap_note("'%s'", cases[i].command);
	}
}

TEST(a_program_that_cannot_be_executed_is_lambdas_error)
{
	static const char *const argv[] = {"/not/there", NULL};
	CHAN_PEER(p);

	NEED_WORLD;
	REQUIRE(api_peer_start(&p, argv, NULL) == 0);
	CHECK(expect_error(&p, CHAN_INIT_ERROR, 0, "Runtime.InvalidEntrypoint",
			   "'/not/there' cannot be executed: No such file or directory", NULL));
	CHECK(ends_with(&p, CLD_EXITED, 1));
}

TEST(an_init_error_counts_though_the_program_ends_right_behind_it)
{
	static const char *const argv[] = {
		"/bin/bash", "-c",
		"exec 5<>/dev/tcp/127.0.0.1/9001; printf 'POST /2018-06-01/runtime/init/error HTTP/1.1\r\n"
		"Lambda-Runtime-Function-Error-Type: Runtime.NoLuck\r\nContent-Length: 24\r\n\r\n{\"errorMessage\":\"a bit"
		"\"}' >&5; exit 3",
		NULL};

	NEED_WORLD;
	for (int i = 0; i < 20; i++) {
		CHAN_PEER(p);

		REQUIRE(api_peer_start(&p, argv, NULL) == 0);
		REQUIRE(expect_error(&p, CHAN_INIT_ERROR, 0, "Runtime.NoLuck", "a bit",
				     "{\"errorMessage\":\"a bit\"}"));
		CHECK(ends_with(&p, CLD_EXITED, 1));
	}
}

TEST(an_answer_stands_though_the_program_ends_right_behind_it)
{
	static const char *const argv[] = {
		"/bin/bash", "-c",
		"exec 5<>/dev/tcp/127.0.0.1/9001; printf 'GET " NEXT
		" HTTP/1.1\r\n\r\n' >&5; while read -r x <&5 && [ ${#x} -gt 1 ]; do :; done; read -rN1 x <&5; "
		"printf 'POST " CALL "/response HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi' >&5; exit 5",
		NULL};

	NEED_WORLD;
	for (int i = 0; i < 20; i++) {
		struct chan_peer_frame f;
		CHAN_PEER(p);

		REQUIRE(api_peer_start(&p, argv, NULL) == 0 && expect(&p, CHAN_READY, 0, &f));
		CHECK_EQ(chan_peer_call(&p, 1, "1", 1), 0);
		REQUIRE(expect_data(&p, 1, "hi") && expect(&p, CHAN_DONE, 1, &f));
		CHECK(ends_with(&p, CLD_EXITED, 5));
	}
}

TEST(the_wrapper_is_executed_with_the_program_as_its_arguments)
{
	static const char *const env[] = {"AWS_LAMBDA_EXEC_WRAPPER=/opt/wrapper", NULL};
	static const char *const argv[] = {"/bin/prog", "a b", NULL};
	CHAN_PEER(p);

	NEED_WORLD;
	REQUIRE(api_peer_program("wrapper", "#!/bin/sh\necho \"$# $1 $2 $AWS_LAMBDA_RUNTIME_API\"\n"));
	REQUIRE(api_peer_start(&p, argv, env) == 0);
	CHECK_CONTAINS(chan_peer_log(&p, "9001"), "2 /bin/prog a b 127.0.0.1:9001\n");
	CHECK(ends_with(&p, CLD_EXITED, 0));
	api_peer_remove_extensions();
}

/* ---- Snapshots, and frames out of order ---- */

static bool send_frame(struct chan_peer *p, uint16_t type, uint64_t call, const void *body, size_t len)
{
	const struct chan_head h = {.len = (uint32_t)len, .type = type, .call = call};

	return chan_peer_send(p, &h, sizeof h) == 0 && chan_peer_send(p, body, len) == 0;
}

static bool send_restore(struct chan_peer *p, const char *env, size_t env_len)
{
	char body[sizeof(struct chan_restore) + 256];
	struct chan_restore r = {.generation = 1,
				 .wall_ns = INT64_C(1700000000000000000),
				 .memory_mb = 128,
				 .env_len = (uint32_t)env_len,
				 .clone_id = "0123456789ab"};

	memset(r.random, 7, sizeof r.random);
	memcpy(body, &r, sizeof r);
	if (env_len > 0)
		memcpy(body + sizeof r, env, env_len);
	return send_frame(p, CHAN_RESTORE, 0, body, sizeof r + env_len);
}

static const char *const snap_start[] = {"AWS_LAMBDA_INITIALIZATION_TYPE=snap-start", "AWS_ACCESS_KEY_ID=old",
					 "AWS_SECRET_ACCESS_KEY=secret", NULL};

TEST(a_runtime_is_told_of_its_restore_and_fetches_its_keys)
{
	static const char *const argv[] = {
		"/bin/sh", "-c",
		"echo \"[$AWS_ACCESS_KEY_ID$AWS_SECRET_ACCESS_KEY] "
		"token=$AWS_CONTAINER_AUTHORIZATION_TOKEN; $AWS_CONTAINER_CREDENTIALS_FULL_URI\"; "
		"exec sleep 1000",
		NULL};
	static const char env[] = "AWS_ACCESS_KEY_ID=new";
	struct chan_peer_frame f;
	char field[200], token[100] = "";
	const char *log;
	int fd;
	CHAN_PEER(p);
	API_ANSWER(r);

	NEED_WORLD;
	REQUIRE(api_peer_start(&p, argv, snap_start) == 0);
	log = chan_peer_log(&p, "credentials");
	CHECK_CONTAINS(log, "[] token="); /* no keys in what will be dumped */
	REQUIRE(sscanf(log, "[] token=%90[^;]", token) == 1);
	fd = api_peer_connect(9001);
	CHECK(api_peer_send(fd, "GET", "/2018-06-01/runtime/restore/next", "", NULL));
	REQUIRE(expect(&p, CHAN_READY, 0, &f));
	CHECK(send_frame(&p, CHAN_SNAPSHOT, 0, NULL, 0));
	REQUIRE(expect(&p, CHAN_PARKED, 0, &f));
	CHECK(f.head.len == 4 && f.body[0] == 0); /* it reseeds itself */
	CHECK(api_peer_silent(fd));
	CHECK(send_restore(&p, env, sizeof env));
	CHECK(api_peer_read(fd, &r));
	CHECK_EQ(r.status, 200);
	CHECK_EQ(r.len, 0);
	(void)snprintf(field, sizeof field, "Authorization: %s\r\n", token);
	CHECK(api_peer_ask(fd, "GET", "/2021-04-23/credentials", field, NULL, &r));
	CHECK_STREQ(r.body, "{\"AccessKeyId\":\"new\",\"SecretAccessKey\":\"secret\",\"Token\":\"\","
			    "\"Expiration\":\"9999-12-31T23:59:59Z\"}");
	CHECK(refused(fd, "GET", "/2021-04-23/credentials", "Authorization: other\r\n", NULL, 404, "NotFound"));
	CHECK(refused(fd, "GET", "/2021-04-23/credentials", "", NULL, 404, "NotFound"));
	REQUIRE(send_next(fd) && expect(&p, CHAN_RESTORED, 0, &f));
	CHECK(send_frame(&p, CHAN_DRAW, 0, NULL, 0));
	CHECK(expect(&p, CHAN_DRAWN, 0, &f) && f.head.len > 2);
	CHECK(call_works(&p, 1, fd));
	(void)close(fd);
}

TEST(a_restore_may_fail_be_lost_or_go_unasked)
{
	NEED_WORLD;
	for (int k = 0; k < 4; k++) {
		struct chan_peer_frame f;
		int fd;
		CHAN_PEER(p);
		API_ANSWER(r);

		REQUIRE(api_peer_start(&p, NULL, snap_start) == 0);
		fd = api_peer_connect(9001);
		CHECK(api_peer_send(fd, "GET", k == 3 ? NEXT : "/2018-06-01/runtime/restore/next", "", NULL));
		REQUIRE(expect(&p, CHAN_READY, 0, &f));
		CHECK(send_frame(&p, CHAN_SNAPSHOT, 0, NULL, 0));
		REQUIRE(expect(&p, CHAN_PARKED, 0, &f));
		CHECK_EQ(f.body[0], k == 3 ? CHAN_NOT_RESEEDED : 0);
		if (k == 2) {
			(void)close(fd);
			(void)nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
		}
		CHECK(send_restore(&p, NULL, 0));
		if (k == 2) { /* lost: told when it asks again */
			fd = api_peer_connect(9001);
			CHECK(api_peer_ask(fd, "GET", "/2018-06-01/runtime/restore/next", "", NULL, &r));
			CHECK_EQ(r.status, 200);
			REQUIRE(send_next(fd));
		} else if (k < 2) {
			CHECK(api_peer_read(fd, &r) && r.status == 200);
			CHECK(api_peer_ask(fd, "POST",
					   k ? "/2018-06-01/runtime/restore/error" : "/2018-06-01/runtime/init/error",
					   "", "{\"errorMessage\":\"hook\"}", &r));
			CHECK_EQ(r.status, 202);
			CHECK(expect_error(&p, CHAN_INIT_ERROR, 0, "Runtime.AfterRestoreError", "hook", NULL));
			CHECK(ends_with(&p, CLD_EXITED, 1));
		}
		if (k >= 2)
			CHECK(expect(&p, CHAN_RESTORED, 0, &f) && call_works(&p, 1, fd));
		(void)close(fd);
	}
}

TEST(frames_out_of_place_end_the_server)
{
	static const uint16_t alone[] = {CHAN_RESTORE, CHAN_REPORT, CHAN_READY, 99};
	static const uint16_t before[] = {CHAN_SNAPSHOT, CHAN_DRAW, CHAN_CALL};
	static const char zero[512];

	NEED_WORLD;
	for (size_t i = 0; i < 4 + 3 + 2; i++) {
		int fd = -1;
		struct chan_peer_frame f;
		CHAN_PEER(p);

		if (i < 4) {
			REQUIRE(api_peer_ready(&p, &fd));
			if (alone[i] == CHAN_RESTORE)
				CHECK(send_restore(&p, NULL, 0));
			else
				CHECK(send_frame(&p, alone[i], alone[i] == CHAN_REPORT, zero,
						 alone[i] == CHAN_REPORT ? 48 : 8));
		} else if (i < 7) { /* not READY yet */
			REQUIRE(api_peer_start(&p, NULL, NULL) == 0);
			if (before[i - 4] == CHAN_CALL)
				CHECK_EQ(chan_peer_call(&p, 1, "1", 1), 0);
			else
				CHECK(send_frame(&p, before[i - 4], 0, NULL, 0));
		} else {
			REQUIRE(api_peer_ready(&p, &fd));
			CHECK(i == 7 ? send_frame(&p, CHAN_SNAPSHOT, 0, NULL, 0) : give_event(&p, 1, fd, "1"));
			if (i == 7)
				CHECK(expect(&p, CHAN_PARKED, 0, &f));
			CHECK_EQ(chan_peer_call(&p, 2, "1", 1), 0);
		}
		CHECK_CONTAINS(chan_peer_log(&p, "fsbox: the channel"), "fsbox: the channel: ");
		if (!ends_with(&p, CLD_EXITED, 1))
			tap_note("case %zu", i);
		(void)close(fd);
	}
}

TEST(a_filter_is_refused_with_the_reason)
{
	static const char filter[8];
	int next = -1;
	CHAN_PEER(p);

	NEED_WORLD;
	REQUIRE(api_peer_ready(&p, &next));
	CHECK(send_frame(&p, CHAN_FILTER, 0, filter, sizeof filter));
	CHECK(expect_error(&p, CHAN_INIT_ERROR, 0, "Runtime.InitError", NULL, NULL));
	CHECK(ends_with(&p, CLD_EXITED, 1));
	(void)close(next);
}

TEST(the_end_of_the_channel_is_an_end_with_status_0_and_half_a_frame_is_not)
{
	NEED_WORLD;
	for (int k = 0; k < 3; k++) {
		int next = -1;
		CHAN_PEER(p);

		REQUIRE(api_peer_ready(&p, &next));
		if (k == 0)
			CHECK(send_frame(&p, CHAN_SHUTDOWN, 0, NULL, 0));
		if (k == 2)
			CHECK_EQ(chan_peer_send(&p, "\1\0\0\0\1", 5), 0);
		chan_peer_hang_up(&p);
		CHECK(ends_with(&p, CLD_EXITED, k == 2));
		(void)close(next);
	}
}
