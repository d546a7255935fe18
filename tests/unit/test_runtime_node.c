/* The runtime for Node.js functions, without a cell: calls and their answers. time-limit: 240
 *
 * The handlers are in tests/functions-node; beside this: test_runtime_node_load, test_runtime_node_snapshot. */
#include "tests/lib/node_peer.h"
#include "tests/lib/tap.h"

#include <poll.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

TEST(it_is_ready_when_the_function_is_loaded_and_can_be_snapshotted)
{
	struct chan_peer_frame f;
	struct chan_ready ready;
	CHAN_PEER(p);

	NEED_NODE();
	REQUIRE(node_start(&p, "forms.echo", NULL) == 0);
	REQUIRE(chan_peer_next(&p, &f) == 1 && f.head.type == CHAN_READY);
	memcpy(&ready, f.body, sizeof ready);
	CHECK_EQ(ready.version, CHAN_VERSION);
	CHECK_EQ(ready.flags, CHAN_CAN_SNAPSHOT);
	CHECK_STREQ(chan_peer_log(&p, NULL), "");
}

TEST(events_of_every_size_come_back_whole)
{
	static const size_t sizes[] = {2,     3,     100,    4096,   16383,  16384,   21834,           21835,
				       65519, 65536, 131071, 131072, 131073, 6291455, CHAN_MAX_PAYLOAD};
	char *event = malloc(CHAN_MAX_PAYLOAD);
	CHAN_PEER(p);

	NEED_NODE();
	REQUIRE(event && node_ready(&p, "forms.echo", NULL));
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		struct chan_peer_frame f;

		for (size_t k = 0; k < sizes[i]; k++)
			event[k] = (char)('a' + k * 7 % 25);
		event[0] = event[sizes[i] - 1] = '"';
		CHECK_EQ(chan_peer_call(&p, i + 1, event, sizes[i]), 0);
		if (!CHECK_EQ(chan_peer_next(&p, &f), 1) || !CHECK_EQ(f.head.type, CHAN_DATA) ||
		    !CHECK_EQ(f.head.len, sizes[i]))
			break;
		CHECK_MEMEQ(f.body, event, sizes[i]);
		if (!expect_done(&p, i + 1))
			break;
	}
	free(event);
}

TEST(what_is_no_JSON_fails_the_call_and_the_next_goes_on)
{
	static const char *const events[] = {"", "{bad", "{} {}", "\xff"};
	CHAN_PEER(p);

	NEED_NODE();
	REQUIRE(node_ready(&p, "forms.echo", NULL));
	for (uint64_t i = 0; i < 4; i++) {
		REQUIRE(call_text(&p, 2 * i + 1, events[i]));
		CHECK(NODE_EXPECT_ERROR(&p, CHAN_ERROR, "Runtime.UnmarshalError", "Unable to unmarshal input: "));
		CHECK(call_and_expect(&p, 2 * i + 2, "[\"\xc3\xa4\",null]", "[\"\xc3\xa4\",null]"));
	}
}

TEST(a_small_answer_and_its_end_come_in_one_write)
{
	CHAN_PEER(p);

	NEED_NODE();
	REQUIRE(node_ready(&p, "forms.echo", NULL));
	REQUIRE(call_and_expect(&p, 1, "{}", "{}"));
	CHECK_EQ(p.last_read, 2 * sizeof(struct chan_head) + 2);
}

TEST(calls_that_lie_ready_one_behind_the_other_are_served_in_order)
{
	struct chan_peer_frame f;
	CHAN_PEER(p);

	NEED_NODE();
	REQUIRE(node_start(&p, "forms.echo", NULL) == 0); /* and they may come before READY went */
	for (uint64_t i = 1; i <= 3; i++)
		REQUIRE(call_text(&p, i, i == 2 ? "[2]" : "1"));
	REQUIRE(chan_peer_next(&p, &f) == 1 && f.head.type == CHAN_READY);
	CHECK(expect_data(&p, 1, "1") && expect_done(&p, 1));
	CHECK(expect_data(&p, 2, "[2]") && expect_done(&p, 2));
	CHECK(expect_data(&p, 3, "1") && expect_done(&p, 3));
}

TEST(a_call_may_arrive_in_pieces_of_any_size)
{
	size_t len;
	uint8_t *frame = chan_peer_make_call(1, "id-of-the-call", "Root=1-2-3", 3000, "\"event\"", 7, &len);
	CHAN_PEER(p);

	NEED_NODE();
	REQUIRE(node_ready(&p, "forms.echo", NULL));
	for (size_t cut = 1; cut < len; cut++) {
		CHECK_EQ(chan_peer_send(&p, frame, cut), 0);
		(void)nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
		CHECK_EQ(chan_peer_send(&p, frame + cut, len - cut), 0);
		if (!expect_data(&p, 1, "\"event\"") || !expect_done(&p, 1))
			break;
	}
	for (size_t i = 0; i < len; i++) /* byte for byte */
		CHECK_EQ(chan_peer_send(&p, frame + i, 1), 0);
	CHECK(expect_data(&p, 1, "\"event\"") && expect_done(&p, 1));
	free(frame);
}

TEST(an_end_of_file_inside_a_frame_ends_it_with_status_1_and_a_line_in_the_log)
{
	static const size_t cuts[] = {0, 1, 15, 16, 17, 39, 41};
	size_t len;
	uint8_t *frame = chan_peer_make_call(1, "id", "", 3000, "\"event\"", 7, &len);

	NEED_NODE();
	for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++) {
		CHAN_PEER(p);

		if (!node_ready(&p, "forms.echo", NULL))
			break;
		CHECK_EQ(chan_peer_send(&p, frame, cuts[i]), 0);
		chan_peer_hang_up(&p);
		expect_exit(&p, cuts[i] == 0 ? 0 : 1);
		if (cuts[i])
			CHECK_CONTAINS(chan_peer_log(&p, NULL), "fsbox: the channel: ");
		else
			CHECK_STREQ(chan_peer_log(&p, NULL), "");
	}
	free(frame);
}

TEST(bytes_that_are_no_frame_for_the_cell_end_it_without_an_answer)
{
	static const struct chan_head bad[] = {
		{.len = 0, .type = 0},
		{.len = 24, .type = 99, .call = 1},
		{.len = 24, .type = CHAN_CALL, .call = 0},
		{.len = 24, .type = CHAN_CALL, .zero = 1, .call = 1},
		{.len = CHAN_MAX_BODY + 1, .type = CHAN_CALL, .call = 1},
		{.len = UINT32_MAX, .type = CHAN_CALL, .call = 1},
		{.len = 23, .type = CHAN_CALL, .call = 1},
		{.len = 100, .type = CHAN_CALL, .call = 1}, /* the zeros that follow add up to 24 */
		{.len = 8, .type = CHAN_READY},
		{.len = 1, .type = CHAN_SHUTDOWN},
		{.len = 9, .type = CHAN_FILTER},
		{.len = 32776, .type = CHAN_FILTER},
		{.len = 119, .type = CHAN_RESTORE},
		{.len = 121, .type = CHAN_RESTORE},
	};

	NEED_NODE();
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		static const uint8_t zeros[128];
		CHAN_PEER(p);

		REQUIRE(node_ready(&p, "forms.echo", NULL));
		CHECK_EQ(chan_peer_send(&p, &bad[i], sizeof bad[i]), 0);
		(void)chan_peer_send(&p, zeros, sizeof zeros); /* it may have gone already */
		expect_exit(&p, 1);
		CHECK_CONTAINS(chan_peer_log(&p, NULL), "fsbox: the channel: ");
	}
}

TEST(every_form_of_handler_answers)
{
	/* clang-format off */
	static const struct { const char *handler, *event, *answer; } cases[] = {
		{ "forms.echo",     "{\"a\":[1,2]}", "{\"a\":[1,2]}" },
		{ "forms.nothing",  "{}", "null" },
		{ "forms.thenable", "{}", "\"thenable\"" },
		{ "forms.returned", "{}", "null" },
		{ "forms.callback", "{}", "\"now\"" },
		{ "forms.later",    "{}", "\"later\"" },
		{ "forms.twice",    "{}", "\"first\"" },
		{ "forms.both",     "{}", "\"promise\"" },
		{ "forms.silent",   "{}", "null" },
		{ "forms.waits",    "{}", "{\"waited\":true}" },
		{ "forms.hurries",  "{}", "{\"waited\":false}" },
		{ "forms.done",     "{}", "{\"waited\":false}" },
		{ "forms.succeed",  "{}", "{\"waited\":false}" },
		{ "forms.answers",  "\"function\"", "null" },
		{ "forms.answers",  "\"surrogate\"", "\"\\ud800\"" },
		{ "forms.answers",  "\"toJSON\"", "[1]" },
	};
	/* clang-format on */

	NEED_NODE();
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		CHAN_PEER(p);

		if (!node_ready(&p, cases[i].handler, NULL))
			continue;
		for (uint64_t n = 1; n <= 3; n++) /* also when earlier calls have left something behind */
			if (!call_and_expect(&p, n, cases[i].event, cases[i].answer))
				tap_note("  handler '%s', call %llu", cases[i].handler, (unsigned long long)n);
	}
}

TEST(failures_are_lambdas_documents_and_the_next_call_goes_on)
{
	/* clang-format off */
	static const struct { const char *handler, *event, *type, *text; } cases[] = {
		{ "forms.throws", "\"odd\"",       "Odd.Kind",   "it is \\\"odd\\\"\\nand \xc3\xa4\",\"trace\":[\"Odd.Kind: it is" },
		{ "forms.throws", "\"plain\"",     "Error",      "    at exports.throws (" },
		{ "forms.throws", "\"text\"",      "string",     "\"only text\",\"trace\":[]" },
		{ "forms.throws", "\"undefined\"", "string",     "\"handled\",\"trace\":[]" },
		{ "forms.throws", "\"object\"",    "object",     "[object Object]" },
		{ "forms.throws", "\"hostile\"",   "handled",    "cannot be read" },
		{ "forms.throwsAtOnce", "0",       "Odd.Kind",   "\"at once\"" },
		{ "forms.failed", "0",             "RangeError", "\"by callback\",\"trace\":[\"RangeError: by callback" },
		{ "forms.text", "0",               "string",     "\"only text\"" },
		{ "forms.fail", "0",               "TypeError",  "\"by context\"" },
		{ "forms.failSilently", "0",       "string",     "\"handled\"" },
		{ "forms.never", "0",              "Runtime.NodeJsExit",   "settle the promise of the handler" },
		{ "forms.answers", "\"bigint\"",   "Runtime.MarshalError", "Unable to stringify response body: " },
		{ "forms.answers", "\"circular\"", "Runtime.MarshalError", "Unable to stringify response body: " },
	};
	/* clang-format on */

	NEED_NODE();
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		CHAN_PEER(p);

		if (!node_ready(&p, cases[i].handler, NULL))
			continue;
		for (uint64_t n = 1; n <= 2; n++)
			if (!call_text(&p, n, cases[i].event) ||
			    !NODE_EXPECT_ERROR(&p, CHAN_ERROR, cases[i].type, cases[i].text))
				tap_note("  handler '%s', event '%s'", cases[i].handler, cases[i].event);
		CHECK_CONTAINS(chan_peer_log(&p, "ERROR\tInvoke Error \t{"), "\"errorType\":");
	}
}

/* A record of the log that is larger than the pipe. */
static void skip_line(int fd)
{
	char chunk[65536] = "";
	ssize_t n = 1;

	for (struct pollfd ready = {.fd = fd, .events = POLLIN}; n > 0 && chunk[n - 1] != '\n';)
		n = poll(&ready, 1, CHAN_PEER_WAIT_MS) == 1 ? read(fd, chunk, sizeof chunk) : -1;
}

TEST(long_messages_are_cut_and_huge_documents_left_out)
{
	struct chan_error_view v;
	struct chan_peer_frame f;
	CHAN_PEER(p);
	CHAN_PEER(huge);

	NEED_NODE();
	REQUIRE(node_ready(&p, "forms.throws", NULL));
	REQUIRE(call_text(&p, 1, "\"long\""));
	skip_line(p.log);
	REQUIRE(chan_peer_next(&p, &f) == 1 && chan_error_parse(f.body, f.head.len, &v) == 0);
	CHECK_EQ(v.message_len, CHAN_MAX_MESSAGE);
	CHECK_EQ((uint8_t)v.message[v.message_len - 1], 0xa4);
	CHECK_GT(v.document_len, 80000);
	REQUIRE(node_ready(&huge, "forms.throws", NULL) && call_text(&huge, 1, "\"huge\""));
	skip_line(huge.log);
	REQUIRE(chan_peer_next(&huge, &f) == 1 && chan_error_parse(f.body, f.head.len, &v) == 0);
	CHECK_EQ(v.message_len, CHAN_MAX_MESSAGE);
	CHECK_EQ(v.document_len, 0);
}

TEST(an_answer_of_6_MB_goes_and_one_byte_more_does_not)
{
	struct chan_peer_frame f;
	CHAN_PEER(p);

	NEED_NODE();
	REQUIRE(node_ready(&p, "forms.answers", NULL));
	REQUIRE(call_text(&p, 1, "6291454")); /* and two quotes */
	REQUIRE(chan_peer_next(&p, &f) == 1 && f.head.type == CHAN_DATA);
	CHECK_EQ(f.head.len, CHAN_MAX_PAYLOAD);
	CHECK(expect_done(&p, 1));
	REQUIRE(call_text(&p, 2, "6291455"));
	CHECK(NODE_EXPECT_ERROR(&p, CHAN_ERROR, "Function.ResponseSizeTooLarge",
				"Response payload size (6291457 bytes) exceeded maximum allowed payload size "
				"(6291456 bytes)."));
	CHECK(call_and_expect(&p, 3, "1", "\"x\""));
}

TEST(what_nobody_catches_ends_the_process_with_lambdas_status)
{
	/* clang-format off */
	static const struct { const char *handler, *type, *text, *log, *more; int status; } cases[] = {
		{ "forms.unhandled", "Runtime.UnhandledPromiseRejection", "Odd.Kind: into the void",
		  "ERROR\tUnhandled Promise Rejection \t{", "\"reason\":{\"errorType\":\"Odd.Kind\"", 128 },
		{ "forms.uncaught",  "Odd.Kind", "from a timer", "ERROR\tUncaught Exception \t{", "\"detail\":7", 129 },
	};
	/* clang-format on */

	NEED_NODE();
	for (size_t i = 0; i < 2; i++) {
		CHAN_PEER(p);

		REQUIRE(node_ready(&p, cases[i].handler, NULL) && call_text(&p, 1, "0"));
		CHECK(NODE_EXPECT_ERROR(&p, CHAN_ERROR, cases[i].type, cases[i].text));
		expect_exit(&p, cases[i].status);
		CHECK_CONTAINS(chan_peer_log(&p, NULL), cases[i].log);
		CHECK_CONTAINS(chan_peer_log(&p, NULL), cases[i].more);
	}
}

TEST(a_function_that_exits_says_nothing_and_its_status_tells)
{
	CHAN_PEER(p);

	NEED_NODE();
	REQUIRE(node_ready(&p, "forms.exits", NULL) && call_text(&p, 1, "3"));
	expect_exit(&p, 3);
}

TEST(the_context_is_lambdas)
{
	static const char *const extra[] = {"AWS_LAMBDA_LOG_STREAM_NAME=2026/[$LATEST]abc", NULL};
	static const char answer[] =
		"{\"callbackWaitsForEmptyEventLoop\":true,\"functionName\":\"shop\",\"functionVersion\":\"$LATEST\","
		"\"memoryLimitInMB\":\"512\",\"logGroupName\":\"/aws/lambda/shop\","
		"\"logStreamName\":\"2026/[$LATEST]abc\","
		"\"invokedFunctionArn\":\"arn:aws:lambda:eu-west-1:012345678912:function:shop\","
		"\"awsRequestId\":\"id-1\",\"functions\":true,\"keys\":14,\"trace\":\"Root=1-2-3\",\"engine\":true}";
	size_t len;
	uint8_t *frame = chan_peer_make_call(1, "id-1", "Root=1-2-3", 3000, "{}", 2, &len);
	CHAN_PEER(p);

	NEED_NODE();
	REQUIRE(node_ready(&p, "forms.context", extra) && chan_peer_send(&p, frame, len) == 0);
	CHECK(expect_data(&p, 1, answer) && expect_done(&p, 1));
	free(frame);
	CHECK(node_answers("forms.remaining", "{}", "true"));
}

TEST(between_calls_the_event_loop_stands_still)
{
	char text[32] = "";
	struct chan_peer_frame f;
	CHAN_PEER(p);

	NEED_NODE();
	REQUIRE(node_ready(&p, "world.ticks", NULL) && call_and_expect(&p, 1, "\"start\"", "0"));
	(void)nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
	REQUIRE(call_text(&p, 2, "0") && chan_peer_next(&p, &f) == 1 && f.head.type == CHAN_DATA);
	(void)snprintf(text, sizeof text, "%.*s", (int)f.head.len, (const char *)f.body);
	/* Up to a turn on each side of the first call and before the second. */
	CHECK(strcmp(text, "1") == 0 || strcmp(text, "2") == 0 || strcmp(text, "3") == 0);
}

TEST(what_a_call_entered_does_not_reach_the_next)
{
	CHAN_PEER(p);

	NEED_NODE();
	REQUIRE(node_ready(&p, "world.store", NULL));
	for (uint64_t i = 1; i <= 3; i++)
		CHECK(call_and_expect(&p, i, "\"a secret of one call\"", "\"empty\""));
}

TEST(programs_that_the_function_starts_do_not_have_the_channel)
{
	NEED_NODE();
	CHECK(node_answers("world.children", "{}", "\"\""));
}

TEST(a_shutdown_ends_it_with_status_0_and_its_listeners_run)
{
	static const char *const extra[] = {"SAY_EXIT=1", NULL};
	CHAN_PEER(p);

	NEED_NODE();
	REQUIRE(node_ready(&p, "world.ticks", extra) && call_and_expect(&p, 1, "\"start\"", "0"));
	CHECK_EQ(node_send(&p, CHAN_SHUTDOWN), 0);
	expect_exit(&p, 0);
	CHECK_STREQ(chan_peer_log(&p, NULL), "exit 0\n");
}

TEST(without_a_channel_it_says_so)
{
	char line[256] = "";
	FILE *f;

	NEED_NODE();
	(void)snprintf(line, sizeof line, NODE " '%s' 2>&1 3<&- 4<&-; echo $?",
		       chan_peer_built("runtime/node/main.cjs"));
	f = popen(line, "re"); /* NOLINT(cert-env33-c) */
	REQUIRE(f);
	(void)!fread(line, 1, sizeof line - 1, f);
	(void)pclose(f);
	CHECK_CONTAINS(line, "no channel on descriptors 3 and 4");
}
