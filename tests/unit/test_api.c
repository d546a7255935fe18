/* The Runtime API's server, its pure parts: HTTP, JSON, the state machine. */
#include "tests/lib/tap.h"

#include "base/mem.h"
#include "runtime/api/api.h"

#include <errno.h>

/* ---- Heads ---- */

static int parse(const char *text, char **ret_copy, struct http_request *r)
{
	const size_t len = strlen(text);

	*ret_copy = malloc(len);
	if (!*ret_copy)
		abort();
	memcpy(*ret_copy, text, len);
	return http_parse_head(*ret_copy, len, r);
}

TEST(a_head_ends_with_its_empty_line_and_not_before)
{
	static const char head[] = "\r\nGET / HTTP/1.1\r\nA: b\r\n\r\nrest";
	const size_t whole = sizeof head - 1 - 4;

	for (size_t len = 0; len <= sizeof head - 1; len++) {
		char *exact = malloc(len ? len : 1);

		if (!exact)
			abort();
		memcpy(exact, head, len);
		CHECK_EQ(http_head_length(exact, len), len < whole ? 0 : whole);
		free(exact);
	}
	CHECK_EQ(http_head_length("G\n\n", 3), 3); /* a bare LF will do */

	char *large = malloc(HTTP_MAX_HEAD + 2);
	if (!large)
		abort();
	memset(large, 'x', HTTP_MAX_HEAD + 2);
	CHECK_EQ(http_head_length(large, HTTP_MAX_HEAD), 0);
	CHECK_EQ(http_head_length(large, HTTP_MAX_HEAD + 2), SIZE_MAX);
	free(large);
}

TEST(a_request_is_taken_apart)
{
	struct http_request r;
	char *copy;

	CHECK_EQ(parse("POST /a/b?q=1 HTTP/1.1\r\nHost: x\r\nX-Y:  two words \t\r\ncontent-length: 12\r\n"
		       "Expect: 100-Continue\r\nEmpty:\r\n\r\n",
		       &copy, &r),
		 0);
	CHECK_STREQ(r.method, "POST");
	CHECK_STREQ(r.path, "/a/b");
	CHECK_STREQ(http_field(&r, "x-y"), "two words");
	CHECK_STREQ(http_field(&r, "EMPTY"), "");
	CHECK(!http_field(&r, "other"));
	CHECK_EQ(r.length, 12);
	CHECK(r.expects_continue && r.keep_alive && !r.chunked);
	free(copy);
	CHECK_EQ(parse("GET http://h:1/p HTTP/1.0\nConnection: keep-alive\n\n", &copy, &r), 0);
	CHECK_STREQ(r.path, "/p");
	CHECK(r.keep_alive);
	free(copy);
	CHECK_EQ(parse("GET / HTTP/1.0\r\n\r\n", &copy, &r), 0);
	CHECK(!r.keep_alive);
	free(copy);
	CHECK_EQ(parse("GET / HTTP/1.1\r\nconnection: CLOSE\r\n\r\n", &copy, &r), 0);
	CHECK(!r.keep_alive);
	free(copy);
}

TEST(what_is_no_request_is_refused_with_its_status)
{
	static const struct {
		const char *head;
		int status;
	} cases[] = {
		{"\r\n\r\n", 400},
		{"GET\r\n\r\n", 400},
		{"GET /\r\n\r\n", 400},
		{"GET / HTTP/1.1 x\r\n\r\n", 400},
		{"G\tT / HTTP/1.1\r\n\r\n", 400},
		{"GET x HTTP/1.1\r\n\r\n", 400},
		{"GET http://h HTTP/1.1\r\n\r\n", 400},
		{"GET / HTTX/1.1\r\n\r\n", 400},
		{"GET / HTTP/2.0\r\n\r\n", 505},
		{"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\n: x\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nA : x\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nA: x\r\n folded\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nContent-Length: 9223372036854775808\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 501},
		{"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nExpect: tea\r\n\r\n", 417},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct http_request r;
		char *copy;

		if (!CHECK_EQ(parse(cases[i].head, &copy, &r), cases[i].status))
			tap_note("%s", cases[i].head);
		free(copy);
	}
}

TEST(more_fields_than_there_is_room_for_are_refused)
{
	struct bytes b = {0};
	struct http_request r;

	bytes_puts(&b, "GET / HTTP/1.1\r\n");
	for (int i = 0; i <= HTTP_MAX_FIELDS; i++)
		bytes_printf(&b, "A%d: x\r\n", i);
	bytes_puts(&b, "\r\n");
	CHECK_EQ(http_parse_head(b.data, b.len, &r), 431);
	bytes_free(&b);
}

/* ---- Bodies ---- */

/* Feeds @text in pieces of @piece bytes; the body's bytes go to @b. The last result; *ret_used: how many were taken. */
static int feed(struct http_body *body, const char *text, size_t len, size_t piece, struct bytes *b, size_t *ret_used)
{
	size_t at = 0, used = 1, n;
	const char *part;
	int r = 0;

	while (r == 0 && (at < len || used > 0)) {
		const size_t have = len - at < piece ? len - at : piece;
		char *exact = malloc(have ? have : 1);

		if (!exact)
			abort();
		memcpy(exact, text + at, have);
		r = http_body_feed(body, exact, have, &used, &part, &n);
		bytes_add(b, part, n);
		at += used;
		free(exact);
		if (have == 0)
			break;
	}
	*ret_used = at;
	return r;
}

TEST(bodies_come_in_pieces_of_any_size)
{
	static const struct {
		bool chunked;
		uint64_t length;
		const char *text, *body, *rest;
	} cases[] = {
		{false, 5, "helloNEXT", "hello", "NEXT"},
		{false, 0, "NEXT", "", "NEXT"},
		{true, 0, "5\r\nhello\r\n0\r\n\r\nNEXT", "hello", "NEXT"},
		{true, 0, "0\r\n\r\nNEXT", "", "NEXT"},
		{true, 0, "2;x=y\r\nhe\r\n3 \r\nllo\r\n0\r\nA: b\r\nC: d\r\n\r\nNEXT", "hello", "NEXT"},
		{true, 0, "0005\nhello\n0\n\nNEXT", "hello", "NEXT"},
		{true, 0, "A\r\n0123456789\r\na\r\n0123456789\r\n00\r\n\r\n", "01234567890123456789", ""},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		for (size_t piece = 1; piece < 40; piece++) {
			struct http_request r = {.chunked = cases[i].chunked, .length = cases[i].length};
			struct http_body body;
			struct bytes b = {0};
			size_t used;

			http_body_begin(&body, &r);
			CHECK_EQ(feed(&body, cases[i].text, strlen(cases[i].text), piece, &b, &used), 1);
			CHECK_STREQ(b.data ? b.data : "", cases[i].body);
			CHECK_STREQ(cases[i].text + used, cases[i].rest);
			http_body_end(&body);
			bytes_free(&b);
		}
}

TEST(a_trailer_is_found_whatever_its_case)
{
	static const char text[] = "1\r\nx\r\n0\r\nOther: 1\r\nLambda-Error-Type:  Some.Type \r\nbody: YQ==\r\n\r\n";

	for (size_t piece = 1; piece < sizeof text; piece++) {
		struct http_request r = {.chunked = true};
		struct http_body body;
		struct bytes b = {0};
		char value[16];
		size_t used;

		http_body_begin(&body, &r);
		CHECK_EQ(feed(&body, text, sizeof text - 1, piece, &b, &used), 1);
		CHECK_STREQ(http_trailer(&body, "lambda-error-type", value, sizeof value), "Some.Type");
		CHECK_STREQ(http_trailer(&body, "Body", value, sizeof value), "YQ==");
		CHECK(!http_trailer(&body, "od", value, sizeof value));
		CHECK(!http_trailer(&body, "lambda-error-type", value, 9)); /* no room for its end */
		http_body_end(&body);
		bytes_free(&b);
	}
}

TEST(chunks_that_are_none_are_refused)
{
	static const struct {
		const char *text;
		int result;
	} cases[] = {
		{"x\r\n", -EPROTO},
		{"\r\n", -EPROTO},
		{"-1\r\n", -EPROTO},
		{"5 5\r\n", -EPROTO},
		{"2\r\nabX\r\n", -EPROTO},
		{"8000000000000000\r\n", -EPROTO},
		{"fffffffffffffffffffff\r\n", -EPROTO},
	};
	struct bytes long_line = {0};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct http_request r = {.chunked = true};
		struct http_body body;
		struct bytes b = {0};
		size_t used;

		http_body_begin(&body, &r);
		CHECK_EQ(feed(&body, cases[i].text, strlen(cases[i].text), 100, &b, &used), cases[i].result);
		http_body_end(&body);
		bytes_free(&b);
	}
	for (int i = 0; i < HTTP_MAX_CHUNK_LINE; i++)
		bytes_puts(&long_line, i ? ";" : "1");
	bytes_puts(&long_line, "\r\n");
	struct http_request r = {.chunked = true};
	struct http_body body;
	struct bytes b = {0};
	size_t used;
	http_body_begin(&body, &r);
	CHECK_EQ(feed(&body, long_line.data, long_line.len, 1000, &b, &used), -EMSGSIZE);
	http_body_end(&body);
	bytes_free(&b);
	bytes_free(&long_line);
}

TEST(answers_have_their_length_and_say_when_they_are_the_last)
{
	struct bytes b = {0};

	http_answer(&b, 202, "X: y\r\n", "text/plain", "ab", 2, true);
	CHECK_STREQ(b.data, "HTTP/1.1 202 Accepted\r\nX: y\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nab");
	b.len = 0;
	http_answer(&b, 200, "", NULL, NULL, 0, false);
	CHECK_STREQ(b.data, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
	bytes_free(&b);
}

TEST(base64)
{
	static const char *const good[][2] = {{"", ""},       {"YQ==", "a"},   {"YQ", "a"},
					      {"YWI=", "ab"}, {"YWJj", "abc"}, {"_-8=", "\xff\xef"}};
	static const char *const bad[] = {"Y", "YQ=x", "Y Q=", "YQ===", "\x01"};

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		struct bytes b = {0};

		CHECK(http_base64_decode(&b, good[i][0]));
		CHECK_STREQ(b.data ? b.data : "", good[i][1]);
		bytes_free(&b);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct bytes b = {0};

		CHECK(!http_base64_decode(&b, bad[i]));
		bytes_free(&b);
	}
}

/* ---- JSON ---- */

static bool whole(const char *text, struct json_view *ret)
{
	return json_whole(text, strlen(text), ret);
}

TEST(json_is_taken_to_the_letter)
{
	static const char *const good[] = {"{}",
					   " [ ] ",
					   "{\"a\":[1,2.5e-3,-0],\"b\":{\"c\":null}}",
					   "true",
					   "\"\\u00e4\\n\"",
					   "0",
					   "[[[]]]",
					   "{\"a\":1,\"a\":2}"};
	static const char *const bad[] = {"",           "{",       "}",         "[1,]",   "{\"a\"}", "{\"a\":}",
					  "{a:1}",      "01",      "1.",        "1e",     "-",       "tru",
					  "\"",         "\"\\x\"", "\"\\u12\"", "\"\n\"", "[1 2]",   "{} {}",
					  "{\"a\":1,}", "nul",     "[1}",       "\"a"};
	struct json_view v;

	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		if (!CHECK(whole(good[i], &v)))
			tap_note("%s", good[i]);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (!CHECK(!whole(bad[i], &v)))
			tap_note("%s", bad[i]);

	char deep[200];
	memset(deep, '[', 100);
	memset(deep + 100, ']', 100);
	CHECK(!json_whole(deep, sizeof deep, &v));
}

TEST(members_elements_texts_and_numbers_are_found)
{
	struct json_view v, w;
	char text[32];
	int64_t n;

	CHECK(whole(" {\"a\" : [ \"x\", {\"y\":2} , \"\\ud83d\\ude00\\t\" ] , \"n\": -42, \"n\": 43, \"r\": 1.5} ",
		    &v));
	CHECK(json_get(v, "n", &w) && json_integer(w, &n) && n == 43);
	CHECK(json_get(v, "r", &w) && !json_integer(w, &n));
	CHECK(!json_get(v, "y", &w));
	CHECK(json_get(v, "a", &v) && !json_get(v, "a", &w));
	CHECK(json_element(v, 0, &w) && json_text(w, text, sizeof text));
	CHECK_STREQ(text, "x");
	CHECK(json_element(v, 2, &w) && json_text(w, text, sizeof text));
	CHECK_STREQ(text, "\xf0\x9f\x98\x80\t");
	CHECK(!json_text(w, text, 5)); /* no room */
	CHECK(!json_element(v, 3, &w));
	CHECK(json_element(v, 1, &w) && json_get(w, "y", &w) && json_integer(w, &n) && n == 2);
	CHECK(whole("\"\\u0000\"", &v) && !json_text(v, text, sizeof text));
	CHECK(whole("\"\\ud800\"", &v) && !json_text(v, text, sizeof text));
}

TEST(texts_are_quoted_and_what_is_no_utf8_is_replaced)
{
	struct bytes b = {0};

	json_quote(&b, "a\"\\\n\x01\xc3\xa4\xff\xed\xa0\x80", 11);
	CHECK_STREQ(b.data, "\"a\\\"\\\\\\n\\u0001\xc3\xa4\\ufffd\\ufffd\\ufffd\\ufffd\"");
	bytes_free(&b);
}

/* ---- States ---- */

TEST(every_request_in_every_state)
{
	static const struct {
		enum rt_state from;
		enum rt_event event;
		enum rt_state to;
	} allowed[] = {
		{RT_STARTED, RT_NEXT, RT_READY},
		{RT_STARTED, RT_INIT_ERROR, RT_FAILED},
		{RT_STARTED, RT_RESTORE_NEXT, RT_RESTORE_READY},
		{RT_READY, RT_NEXT, RT_READY},
		{RT_RUNNING, RT_NEXT, RT_RUNNING},
		{RT_RUNNING, RT_RESPONSE, RT_ANSWERING},
		{RT_RUNNING, RT_ERROR, RT_ANSWERED},
		{RT_ANSWERED, RT_NEXT, RT_READY},
		{RT_RESTORE_READY, RT_RESTORE_NEXT, RT_RESTORE_READY},
		{RT_RESTORING, RT_NEXT, RT_READY},
		{RT_RESTORING, RT_INIT_ERROR, RT_FAILED},
		{RT_RESTORING, RT_RESTORE_ERROR, RT_FAILED},
	};
	size_t n = 0;

	for (int s = 0; s < RT_STATES; s++)
		for (int e = 0; e < RT_EVENTS; e++) {
			int want = -1;

			for (size_t i = 0; i < ARRAY_LEN(allowed); i++)
				if ((int)allowed[i].from == s && (int)allowed[i].event == e)
					want = (int)allowed[i].to;
			n += want >= 0;
			if (!CHECK_EQ(rt_after((enum rt_state)s, (enum rt_event)e), want))
				tap_note("%s, %s", rt_state_name((enum rt_state)s), rt_event_name((enum rt_event)e));
			CHECK(rt_state_name((enum rt_state)s)[0] && rt_event_name((enum rt_event)e)[0]);
		}
	CHECK_EQ(n, ARRAY_LEN(allowed));
}
