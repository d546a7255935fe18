/* The runtime for Python functions, without a cell: calls and their answers. time-limit: 240
 *
 * The handlers are in tests/functions-python; beside this: test_runtime_python_log, test_runtime_python_snapshot. */
#include "tests/lib/python_peer.h"
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

	NEED_PYTHON();
	REQUIRE(python_start(&p, "forms.echo", NULL) == 0);
	REQUIRE(chan_peer_next(&p, &f) == 1 && f.head.type == CHAN_READY);
	memcpy(&ready, f.body, sizeof ready);
	CHECK_EQ(ready.version, CHAN_VERSION);
	CHECK_EQ(ready.flags, CHAN_CAN_SNAPSHOT);
	CHECK_STREQ(chan_peer_log(&p, NULL), "");
}

TEST(events_of_every_size_come_back_whole)
{
	static const size_t sizes[] = {2,     3,     100,   4096,   16383,  16384,   65464,           65465,
				       65519, 65520, 65536, 131072, 131073, 6291455, CHAN_MAX_PAYLOAD};
	char *event = malloc(CHAN_MAX_PAYLOAD);
	CHAN_PEER(p);

	NEED_PYTHON();
	REQUIRE(event && python_ready(&p, "forms.echo", NULL));
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
	/* clang-format off */
	static const struct { const char *event, *text; } cases[] = {
		{ "",      "Expecting value: line 1 column 1 (char 0)" },
		{ " ",     "Expecting value: " },
		{ "{bad",  "Expecting property name enclosed in double quotes: line 1 column 2" },
		{ "{} {}", "Extra data: line 1 column 4" },
		{ "[1,]",  "Unable to unmarshal input: " },
		{ "\"\n\"", "Invalid control character" },
		{ "\xff",  "codec can't decode byte 0xff" },
		{ "\xef\xbb\xbf{}", "BOM" },
	};
	/* clang-format on */
	CHAN_PEER(p);

	NEED_PYTHON();
	REQUIRE(python_ready(&p, "forms.echo", NULL));
	for (uint64_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		REQUIRE(call_text(&p, 2 * i + 1, cases[i].event));
		CHECK(PYTHON_EXPECT_ERROR(&p, CHAN_ERROR, "Runtime.UnmarshalError",
					  "Unable to unmarshal input: ", cases[i].text, "\"stackTrace\": []"));
		CHECK(call_and_expect(&p, 2 * i + 2, "[\"\xc3\xa4\",null]", "[\"\xc3\xa4\", null]"));
	}
}

TEST(an_event_too_deep_is_an_error_and_no_end)
{
	char *event = malloc(200001);
	CHAN_PEER(p);

	NEED_PYTHON();
	REQUIRE(event && python_ready(&p, "forms.echo", NULL));
	memset(event, '[', 200000);
	event[200000] = '\0';
	REQUIRE(call_text(&p, 1, event));
	CHECK(PYTHON_EXPECT_ERROR(&p, CHAN_ERROR, "Runtime.UnmarshalError", "recursion"));
	CHECK(call_and_expect(&p, 2, "1", "1"));
	free(event);
}

TEST(a_small_answer_and_its_end_come_in_one_write)
{
	CHAN_PEER(p);

	NEED_PYTHON();
	REQUIRE(python_ready(&p, "forms.echo", NULL));
	REQUIRE(call_and_expect(&p, 1, " {} \n", "{}"));
	CHECK_EQ(p.last_read, 2 * sizeof(struct chan_head) + 2);
}

TEST(calls_that_lie_ready_one_behind_the_other_are_served_in_order)
{
	struct chan_peer_frame f;
	CHAN_PEER(p);

	NEED_PYTHON();
	REQUIRE(python_start(&p, "forms.count", NULL) == 0); /* and they may come before READY went */
	for (uint64_t i = 1; i <= 3; i++)
		REQUIRE(call_text(&p, i, "0"));
	REQUIRE(chan_peer_next(&p, &f) == 1 && f.head.type == CHAN_READY);
	CHECK(expect_data(&p, 1, "1") && expect_done(&p, 1));
	CHECK(expect_data(&p, 2, "2") && expect_done(&p, 2));
	CHECK(expect_data(&p, 3, "3") && expect_done(&p, 3));
}

TEST(a_call_may_arrive_in_pieces_of_any_size)
{
	size_t len;
	uint8_t *frame = chan_peer_make_call(1, "id-of-the-call", "Root=1-2-3", 3000, "\"event\"", 7, &len);
	CHAN_PEER(p);

	NEED_PYTHON();
	REQUIRE(python_ready(&p, "forms.echo", NULL));
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

	NEED_PYTHON();
	for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++) {
		CHAN_PEER(p);

		if (!python_ready(&p, "forms.echo", NULL))
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
	/* Without a body behind it: a head is refused before anything waits for the rest. */
	static const struct chan_head bad[] = {
		{.len = 0, .type = 0},
		{.len = 24, .type = 99, .call = 1},
		{.len = 24, .type = CHAN_CALL, .call = 0},
		{.len = 24, .type = CHAN_CALL, .zero = 1, .call = 1},
		{.len = CHAN_MAX_BODY + 1, .type = CHAN_CALL, .call = 1},
		{.len = UINT32_MAX, .type = CHAN_CALL, .call = 1},
		{.len = 23, .type = CHAN_CALL, .call = 1},
		{.len = 8, .type = CHAN_READY},
		{.len = 1, .type = CHAN_SHUTDOWN},
		{.len = 0, .type = CHAN_SHUTDOWN, .call = 1},
		{.len = 9, .type = CHAN_FILTER},
		{.len = 32776, .type = CHAN_FILTER},
		{.len = 119, .type = CHAN_RESTORE},
		{.len = 120 + CHAN_MAX_ENV + 1, .type = CHAN_RESTORE},
		{.len = 48, .type = CHAN_REPORT, .call = 1}, /* it did not ask for them */
	};

	NEED_PYTHON();
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		CHAN_PEER(p);

		REQUIRE(python_ready(&p, "forms.echo", NULL));
		CHECK_EQ(chan_peer_send(&p, &bad[i], sizeof bad[i]), 0);
		expect_exit(&p, 1);
		CHECK_CONTAINS(chan_peer_log(&p, NULL), "fsbox: the channel: ");
	}
}

TEST(calls_whose_lengths_contradict_each_other_end_it)
{
	static const struct chan_call bad[] = {
		{.id_len = 1},
		{.id_len = CHAN_MAX_ID + 1, .event_len = 200 - CHAN_MAX_ID - 1},
		{.id_len = 8, .event_len = 192}, /* ids of 0 bytes */
		{.event_len = 199},
	};

	NEED_PYTHON();
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct {
			struct chan_head head;
			struct chan_call call;
			char rest[200];
		} f = {.head = {.len = sizeof f - sizeof f.head, .type = CHAN_CALL, .call = 1}, .call = bad[i]};
		CHAN_PEER(p);

		if (i != 2)
			memset(f.rest, ' ', sizeof f.rest);
		REQUIRE(python_ready(&p, "forms.echo", NULL));
		CHECK_EQ(chan_peer_send(&p, &f, sizeof f), 0);
		expect_exit(&p, 1);
	}
}

TEST(answers_are_written_as_lambda_writes_them)
{
	/* clang-format off */
	static const struct { const char *event, *answer; } cases[] = {
		{ "\"none\"",      "null" },
		{ "\"bytes\"",     "\xff raw" },
		{ "\"no bytes\"",  "" },
		{ "\"tuple\"",     "[1, [2.5, true]]" },
		{ "\"named\"",     "[1, 2]" },
		{ "\"text\"",      "\"t\"" },
		{ "\"keys\"",      "{\"1\": 3, \"null\": 2}" },
		{ "\"decimal\"",   "[1.10, {\"d\": 1E+40}, 12345678901234567890.1]" },
		{ "\"decimal nan\"", "NaN" },
		{ "\"surrogate\"", "\"\\ud800\"" },
		{ "\"umlaut\"",    "{\"\xc3\xa4\": \"\xe2\x82\xac\"}" },
		{ "0", "\"\"" },
	};
	/* clang-format on */
	CHAN_PEER(p);

	NEED_PYTHON();
	REQUIRE(python_ready(&p, "forms.answers", NULL));
	for (uint64_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		CHECK(call_and_expect(&p, i + 1, cases[i].event, cases[i].answer));
	CHECK(python_answers("forms.method", "1", "[\"Callable\", 1]"));
	CHECK(python_answers("folder/inner.handler", "1", "\"part\""));
}

TEST(answers_that_JSON_has_no_form_for_fail_the_call)
{
	/* clang-format off */
	static const struct { const char *handler, *event, *text; } cases[] = {
		{ "forms.answers", "\"set\"",         "Object of type set is not JSON serializable" },
		{ "forms.answers", "\"loop\"",        "Circular reference detected" },
		{ "forms.answers", "\"key\"",         "keys must be str, int, float, bool or None, not tuple" },
		{ "forms.answers", "\"inner bytes\"", "Object of type bytes is not JSON serializable" },
		{ "forms.awaits",  "1",               "Object of type coroutine is not JSON serializable: the handler is an 'async def'" },
	};
	/* clang-format on */

	NEED_PYTHON();
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		CHAN_PEER(p);

		REQUIRE(python_ready(&p, cases[i].handler, NULL));
		for (uint64_t n = 1; n <= 2; n++) {
			REQUIRE(call_text(&p, n, cases[i].event));
			CHECK(PYTHON_EXPECT_ERROR(&p, CHAN_ERROR, "Runtime.MarshalError",
						  "\"Unable to marshal response: ", cases[i].text));
		}
		CHECK_EQ(strstr(chan_peer_log(&p, "MarshalError"), "never awaited") == NULL, true);
	}
}

TEST(an_answer_of_6_MB_goes_and_one_byte_more_does_not)
{
	struct chan_peer_frame f;
	CHAN_PEER(p);

	NEED_PYTHON();
	REQUIRE(python_ready(&p, "forms.answers", NULL));
	REQUIRE(call_text(&p, 1, "6291454")); /* and two quotes */
	REQUIRE(chan_peer_next(&p, &f) == 1 && f.head.type == CHAN_DATA);
	CHECK_EQ(f.head.len, CHAN_MAX_PAYLOAD);
	CHECK(expect_done(&p, 1));
	REQUIRE(call_text(&p, 2, "6291455"));
	CHECK(PYTHON_EXPECT_ERROR(&p, CHAN_ERROR, "Function.ResponseSizeTooLarge",
				  "Response payload size (6291457 bytes) exceeded maximum allowed payload size "
				  "(6291456 bytes)."));
	CHECK(call_and_expect(&p, 3, "1", "\"x\""));
}

TEST(exceptions_are_lambdas_documents_and_the_next_call_goes_on)
{
	/* clang-format off */
	static const struct { const char *event, *type, *text; } cases[] = {
		{ "\"odd\"",       "Odd",            "\"it is \\\"odd\\\"\\nand \xc3\xa4\"" },
		{ "\"odd\"",       "Odd",            "forms.py\\\", line 68, in raises\\n    raise Odd('it is \\\"odd\\\"\\\\nand \\\\u00e4')\\n\"]" },
		{ "\"empty\"",     "ValueError",     "{\"errorMessage\": \"\", " },
		{ "\"silent\"",    "Silent",         "<exception whose text cannot be made: ValueError>" },
		{ "\"deep\"",      "RecursionError", "  [Previous line repeated 9" },
		{ "\"library\"",   "JSONDecodeError", "decoder.py\\\", line " },
		{ "\"interrupt\"", "KeyboardInterrupt", "in raises" },
		{ "\"surrogate\"", "ValueError",     "{\"errorMessage\": \"\\ud800\", " },
		{ "\"generated\"", "ZeroDivisionError", "  File \\\"<string>\\\", line 1, in <module>\\n\"]" },
	};
	/* clang-format on */
	CHAN_PEER(p);

	NEED_PYTHON();
	REQUIRE(python_ready(&p, "forms.raises", NULL));
	for (uint64_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		REQUIRE(call_text(&p, 2 * i + 1, cases[i].event));
		if (!PYTHON_EXPECT_ERROR(&p, CHAN_ERROR, cases[i].type, cases[i].text, "\"requestId\": \"1111"))
			tap_note("  event '%s'", cases[i].event);
		CHECK(call_and_expect(&p, 2 * i + 2, "0", "null"));
		(void)chan_peer_log(&p, NULL);
	}
}

TEST(the_frames_of_a_trace_are_the_functions_own)
{
	struct chan_error_view v;
	struct chan_peer_frame f;
	CHAN_PEER(p);

	NEED_PYTHON();
	REQUIRE(python_ready(&p, "forms.raises", NULL) && call_text(&p, 1, "\"odd\""));
	REQUIRE(chan_peer_next(&p, &f) == 1 && chan_error_parse(f.body, f.head.len, &v) == 0);
	CHECK(!memmem(v.document, v.document_len, "_fsbox", 6));
	CHECK(!memmem(v.document, v.document_len, "^^^", 3)); /* as Lambda's, which mark no columns */
	CHECK(python_init_fails("coded.handler_", "Runtime.HandlerNotFound", "'handler_' missing on module 'coded'"));
	{
		CHAN_PEER(coded);

		REQUIRE(python_ready(&coded, "coded.handler", NULL) && call_text(&coded, 1, "0"));
		CHECK(PYTHON_EXPECT_ERROR(&coded, CHAN_ERROR, "ValueError",
					  "    raise ValueError(\\\"\xc3\xa4\\\")\\n"));
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

	NEED_PYTHON();
	REQUIRE(python_ready(&p, "forms.raises", NULL) && call_text(&p, 1, "\"long\""));
	skip_line(p.log);
	REQUIRE(chan_peer_next(&p, &f) == 1 && chan_error_parse(f.body, f.head.len, &v) == 0);
	CHECK_EQ(v.message_len, CHAN_MAX_MESSAGE - 1); /* no half of a letter */
	CHECK_EQ((uint8_t)v.message[v.message_len - 1], 0xa4);
	CHECK_GT(v.document_len, 80000);
	REQUIRE(python_ready(&huge, "forms.raises", NULL) && call_text(&huge, 1, "\"huge\""));
	skip_line(huge.log);
	REQUIRE(chan_peer_next(&huge, &f) == 1 && chan_error_parse(f.body, f.head.len, &v) == 0);
	CHECK_EQ(v.message_len, CHAN_MAX_MESSAGE);
	CHECK_EQ(v.document_len, 0);
}

TEST(the_context_is_lambdas)
{
	static const char *const extra[] = {"AWS_LAMBDA_LOG_STREAM_NAME=2026/[$LATEST]abc", NULL};
	static const char answer[] =
		"{\"aws_request_id\": \"id-1\", \"function_name\": \"shop\", \"function_version\": \"$LATEST\", "
		"\"memory_limit_in_mb\": \"512\", \"log_group_name\": \"/aws/lambda/shop\", "
		"\"log_stream_name\": \"2026/[$LATEST]abc\", "
		"\"invoked_function_arn\": \"arn:aws:lambda:eu-west-1:012345678912:function:shop\", "
		"\"client_context\": null, \"tenant_id\": null, \"identity\": [null, null], "
		"\"trace\": \"Root=1-2-3\", \"type\": \"LambdaContext\", "
		"\"repr\": \"LambdaContext([aws_request_id=id-1,log_g\"}";
	size_t len, late_len;
	uint8_t *frame = chan_peer_make_call(1, "id-1", "Root=1-2-3", 3000, "{}", 2, &len);
	uint8_t *late = chan_peer_make_call(1, "id-1", "", 0, "{}", 2, &late_len);
	CHAN_PEER(p);
	CHAN_PEER(q);

	NEED_PYTHON();
	REQUIRE(python_ready(&p, "forms.describes", extra) && chan_peer_send(&p, frame, len) == 0);
	CHECK(expect_data(&p, 1, answer) && expect_done(&p, 1));
	CHECK(python_answers("forms.remaining", "{}", "[\"int\", true, true]"));
	REQUIRE(python_ready(&q, "forms.late", NULL) && chan_peer_send(&q, late, late_len) == 0);
	CHECK(expect_data(&q, 1, "0") && expect_done(&q, 1)); /* never below */
	free(frame);
	free(late);
}
