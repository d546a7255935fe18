/* The runtime for Node.js functions, without a cell: how handlers are found, what is printed, answers in parts.
 * time-limit: 240 */
#include "tests/lib/node_peer.h"
#include "tests/lib/tap.h"

#include <unistd.h>

TEST(handlers_are_found_by_file_folder_extension_and_package)
{
	/* clang-format off */
	static const struct { const char *handler, *answer; } cases[] = {
		{ "names.handler",           "\"mjs\"" },
		{ "names.a.b.c",             "\"deep\"" },
		{ "./names.handler",         "\"mjs\"" },
		{ "with.dots.handler",       "\"dots\"" },
		{ "plain.handler",           "\"js\"" },
		{ "folder.handler",          "\"folder\"" },
		{ "folder/index.handler",    "\"folder\"" },
		{ "module/src/app.handler",  "\"module by package.json\"" },
		{ "module/src/old.handler",  "\"cjs within\"" },
		{ "awaits.handler",          "\"awaited\"" },
	};
	/* clang-format on */

	NEED_NODE();
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		CHECK(node_answers(cases[i].handler, "{}", cases[i].answer));
}

TEST(a_handler_may_stand_at_an_absolute_path)
{
	char path[4200], handler[4300];

	NEED_NODE();
	REQUIRE(realpath("tests/functions-node", path));
	(void)snprintf(handler, sizeof handler, "%s/plain.handler", path);
	CHECK(node_answers(handler, "{}", "\"js\""));
}

TEST(what_cannot_be_loaded_says_why)
{
	/* clang-format off */
	static const struct { const char *handler, *type, *texts[3]; /* the rest is NULL */ } cases[] = {
		{ "absent.handler",    "Runtime.ImportModuleError", { "Cannot find module 'absent'", "functions-node'" } },
		{ "path.handler",      "Runtime.ImportModuleError", { "Cannot find module 'path'" } }, /* and not Node's own */
		{ "only_cjs/lacks.handler",  "Runtime.ImportModuleError", { "no-such-package", "lacks.cjs" } },
		{ "only_mjs/lacks.handler",  "Runtime.ImportModuleError", { "no-such-package", "lacks.mjs" } },
		{ "only_cjs/syntax.handler", "Runtime.UserCodeSyntaxError", { "SyntaxError: ", "syntax.cjs:3" } },
		{ "only_mjs/syntax.handler", "Runtime.UserCodeSyntaxError", { "SyntaxError: ", "syntax.mjs:3" } },
		{ "names.absent",      "Runtime.HandlerNotFound", { "names.absent is undefined or not exported" } },
		{ "names.none",        "Runtime.HandlerNotFound", { "names.none is undefined or not exported" } },
		{ "names.a.x.c",       "Runtime.HandlerNotFound", { "names.a.x.c is undefined or not exported" } },
		{ "names.text",        "Runtime.HandlerNotFound", { "names.text is not a function" } },
		{ "names",             "Runtime.MalformedHandlerName", { "'names' is not a valid handler name" } },
		{ "names.",            "Runtime.MalformedHandlerName", { "'names.' is not a valid handler name" } },
		{ ".handler",          "Runtime.MalformedHandlerName", { "'.handler' is not a valid handler name" } },
		{ "",                  "Runtime.MalformedHandlerName", { "'' is not a valid handler name" } },
		{ "../names.handler",  "Runtime.MalformedHandlerName", { "'../names.handler' is not a valid handler name" } },
		{ "only_cjs/throws.handler", "Top.Error", { "at the top", "throws.cjs:1:" } },
		{ "only_mjs/throws.handler", "RangeError", { "at the top", "throws.mjs:1:" } },
		{ "stuck.handler",     "Runtime.NodeJsExit", { "the code outside of the handler waits for" } },
		{ "unhandled.handler", "Runtime.UnhandledPromiseRejection", { "Error: while loading" } },
		{ "streams.malformed", "Runtime.MalformedStreamingHandler", { "only the response can be streamed" } },
	};
	/* clang-format on */

	NEED_NODE();
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		CHAN_PEER(p);

		REQUIRE(node_start(&p, cases[i].handler, NULL) == 0);
		if (!node_expect_error(&p, CHAN_INIT_ERROR, cases[i].type, cases[i].texts))
			tap_note("  handler '%s'", cases[i].handler);
		expect_exit(&p, 1);
		CHECK_CONTAINS(chan_peer_log(&p, NULL), "\tundefined\tERROR\tU");
	}
}

/* ---- console ---- */

/* Calls a function of log.cjs once and gives what was printed. */
static const char *logged(struct chan_peer *p, const char *handler, const char *const *extra)
{
	if (!node_ready(p, handler, extra) || !call_and_expect(p, 1, "{}", "null"))
		return "";
	return chan_peer_log(p, NULL);
}

/* Does the log have a record with this level and message? Before both stand the time and the request's id. */
static bool has_record(const char *log, const char *level, const char *message)
{
	char want[512];

	(void)snprintf(want, sizeof want, "Z\t11111111-2222-4333-8444-555555555555\t%s\t%s\n", level, message);
	return CHECK_CONTAINS(log, want);
}

TEST(console_writes_lambdas_records)
{
	/* clang-format off */
	static const char *const levels[][2] = {
		{ "TRACE", "by trace" }, { "DEBUG", "by debug" }, { "INFO", "by info" }, { "INFO", "by log" },
		{ "WARN", "by warn" }, { "ERROR", "by error" }, { "FATAL", "by fatal" },
	};
	/* clang-format on */
	CHAN_PEER(p);
	CHAN_PEER(lines);

	NEED_NODE();
	for (size_t i = 0; i < 7; i++)
		CHECK(has_record(i ? chan_peer_log(&p, NULL) : logged(&p, "log.levels", NULL), levels[i][0],
				 levels[i][1]));
	CHECK(has_record(logged(&lines, "log.lines", NULL), "INFO", "one\rtwo\rthree 4 { five: 6 }"));
}

TEST(levels_below_the_configured_one_are_left_out)
{
	static const char *const extra[] = {"AWS_LAMBDA_LOG_LEVEL=warn", NULL};
	const char *log;
	CHAN_PEER(p);

	NEED_NODE();
	log = logged(&p, "log.levels", extra);
	CHECK_LACKS(log, "INFO");
	CHECK_LACKS(log, "DEBUG");
	CHECK_CONTAINS(log, "\tWARN\tby warn\n");
	CHECK_CONTAINS(log, "\tFATAL\tby fatal\n");
}

TEST(the_JSON_format_is_lambdas)
{
	static const char *const extra[] = {"AWS_LAMBDA_LOG_FORMAT=JSON", NULL};
	static const char *const texts[] = {
		"Z\",\"level\":\"INFO\",\"requestId\":\"11111111-2222-4333-8444-555555555555\","
		"\"message\":{\"a\":[1,{\"b\":\"c\"}]}}\n",
		"\"message\":\"with words RangeError: second\\n    at ",
		",\"errorType\":\"RangeError\",\"errorMessage\":\"second\",\"stackTrace\":[\"RangeError: second\",",
		"\"level\":\"ERROR\",",
		"\"message\":{\"errorType\":\"TypeError\",\"errorMessage\":\"alone\","
		"\"stackTrace\":[\"TypeError: alone\",",
		",\"code\":\"E_CODE\"}}\n",
		"\"message\":\"<ref *1> { n: 1n, self: [Circular *1] }\"}\n",
		"\"message\":\"a\\nb\"}\n",
	};
	const char *log;
	CHAN_PEER(p);

	NEED_NODE();
	log = logged(&p, "log.values", extra);
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		CHECK_CONTAINS(log, texts[i]);
}

TEST(what_was_printed_is_out_before_the_call_ends_however_much_it_is)
{
	static const char *const ways[] = {"\"console\"", "\"stdout\"", "\"stderr\""};

	NEED_NODE();
	for (size_t i = 0; i < 3; i++) {
		struct chan_peer_frame f;
		CHAN_PEER(p);

		REQUIRE(node_ready(&p, "log.much", NULL) && call_text(&p, 1, ways[i]));
		CHECK_CONTAINS(chan_peer_log(&p, "yEND\n"), "yEND\n");
		CHECK(chan_peer_next(&p, &f) == 1 && f.head.type == CHAN_DATA);
	}
}

TEST(console_and_the_streams_keep_their_order)
{
	const char *log, *at;
	CHAN_PEER(p);

	NEED_NODE();
	log = logged(&p, "log.order", NULL);
	REQUIRE((at = strstr(log, "1\n")) && at == log);
	REQUIRE((at = strstr(at, "INFO\t2\n3\n")));
	CHECK_CONTAINS(at, "INFO\t4\n");
}

/* ---- Answers in parts ---- */

TEST(parts_go_when_they_are_written)
{
	static const char *const parts[] = {"one ", "two ", NULL, "{\"three\":3}", "end"};
	struct chan_peer_frame f;
	CHAN_PEER(p);

	NEED_NODE();
	REQUIRE(node_ready(&p, "streams.parts", NULL));
	for (uint64_t call = 1; call <= 2; call++) {
		REQUIRE(call_text(&p, call, "{}"));
		for (size_t i = 0; i < 5; i++) {
			if (parts[i]) {
				REQUIRE(expect_data(&p, call, parts[i]));
			} else {
				REQUIRE(chan_peer_next(&p, &f) == 1 && f.head.len == 2);
				CHECK_MEMEQ(f.body, "\0\xff", 2);
			}
		}
		CHECK(expect_done(&p, call));
	}
}

TEST(an_answer_for_an_HTTP_front_begins_with_its_metadata)
{
	static const uint8_t zeros[8];
	struct chan_peer_frame f;
	CHAN_PEER(p);
	CHAN_PEER(bare);

	NEED_NODE();
	REQUIRE(node_ready(&p, "streams.http", NULL) && call_text(&p, 1, "{}"));
	REQUIRE(expect_data(&p, 1, "{\"statusCode\":201,\"headers\":{\"a\":36}}"));
	REQUIRE(chan_peer_next(&p, &f) == 1 && f.head.type == CHAN_DATA && f.head.len == 8);
	CHECK_MEMEQ(f.body, zeros, 8);
	CHECK(expect_data(&p, 1, "body") && expect_done(&p, 1));
	REQUIRE(node_ready(&bare, "streams.bare", NULL) && call_text(&bare, 1, "{}"));
	REQUIRE(expect_data(&bare, 1, "{\"statusCode\":204}"));
	REQUIRE(chan_peer_next(&bare, &f) == 1 && f.head.type == CHAN_DATA && f.head.len == 8);
	CHECK(expect_done(&bare, 1));
}

TEST(a_stream_that_fails_fails_the_call)
{
	/* clang-format off */
	static const struct { const char *handler, *data, *type, *text; } cases[] = {
		{ "streams.middle",    "some",        "RangeError", "in the middle" },
		{ "streams.late",      "all of it",   "RangeError", "behind the end" },
		{ "streams.open",      "never ended", "Runtime.NodeJsExit", "nothing is left" },
		{ "streams.destroyed", NULL,          "Runtime.InvalidStreamingOperation", "destroyed before its end" },
		{ "streams.plain",     "not async",   "Runtime.InvalidStreamingOperation", "must be async" },
		{ "streams.typed",     "x",           "Runtime.InvalidStreamingOperation", "before the first part" },
	};
	/* clang-format on */

	NEED_NODE();
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		CHAN_PEER(p);

		if (!node_ready(&p, cases[i].handler, NULL))
			continue;
		for (uint64_t n = 1; n <= 2; n++)
			if (!call_text(&p, n, "{}") || (cases[i].data && !expect_data(&p, n, cases[i].data)) ||
			    !NODE_EXPECT_ERROR(&p, CHAN_ERROR, cases[i].type, cases[i].text))
				tap_note("  handler '%s'", cases[i].handler);
	}
}

TEST(a_streaming_handler_is_waited_for_and_its_value_is_not_the_answer)
{
	CHAN_PEER(p);
	CHAN_PEER(slow);

	NEED_NODE();
	REQUIRE(node_ready(&p, "streams.valued", NULL) && call_and_expect(&p, 1, "{}", "streamed"));
	CHECK_CONTAINS(chan_peer_log(&p, NULL), "\tWARN\t");
	REQUIRE(node_ready(&slow, "streams.slow", NULL) && call_text(&slow, 1, "{}"));
	CHECK(expect_data(&slow, 1, "first") && expect_data(&slow, 1, "second") && expect_done(&slow, 1));
	CHECK(node_answers("streams.mark", "{}", "[\"response\",65536]"));
}

TEST(a_stream_may_have_6_MB)
{
	struct chan_peer_frame f = {0};
	CHAN_PEER(p);

	NEED_NODE();
	REQUIRE(node_ready(&p, "streams.large", NULL) && call_text(&p, 1, "6"));
	for (size_t i = 0; i < 6; i++)
		REQUIRE(chan_peer_next(&p, &f) == 1 && f.head.type == CHAN_DATA && f.head.len == 1048576);
	CHECK(expect_done(&p, 1));
	REQUIRE(call_text(&p, 2, "7"));
	for (size_t i = 0; i < 6; i++)
		REQUIRE(chan_peer_next(&p, &f) == 1 && f.head.type == CHAN_DATA);
	CHECK(NODE_EXPECT_ERROR(&p, CHAN_ERROR, "Function.ResponseSizeTooLarge", "(6291456 bytes)."));
}
