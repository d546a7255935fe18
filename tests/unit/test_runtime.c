/* The runtime for shared objects, without a cell: started with pipes on descriptors 3 and 4, as fsbox starts it. */
#include "tests/lib/runtime_peer.h"
#include "tests/lib/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

TEST(it_is_ready_after_loading_and_says_whether_there_is_a_shutdown)
{
	static const char *const functions[] = {"echo", "shutdown_marker"};

	for (uint32_t i = 0; i < 2; i++) {
		CHAN_PEER(p);
		struct chan_peer_frame f;
		struct chan_ready ready;

		REQUIRE(runtime_start(&p, functions[i]) == 0);
		REQUIRE(chan_peer_next(&p, &f) == 1 && f.head.type == CHAN_READY);
		memcpy(&ready, f.body, sizeof ready);
		CHECK_EQ(ready.version, CHAN_VERSION);
		CHECK_EQ(ready.flags & CHAN_HAS_SHUTDOWN, i ? CHAN_HAS_SHUTDOWN : 0);
	}
}

TEST(events_of_every_size_come_back_whole)
{
	static const size_t sizes[] = {0,     1,     4095,   4096,   16383,  16384,   16385,
				       65519, 65536, 131071, 131072, 131073, 6291455, CHAN_MAX_PAYLOAD};
	uint8_t *event = malloc(CHAN_MAX_PAYLOAD);
	CHAN_PEER(p);

	REQUIRE(event && runtime_start_ready(&p, "echo"));
	for (size_t i = 0; i < CHAN_MAX_PAYLOAD; i++)
		event[i] = (uint8_t)(i * 7 % 253);
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		struct chan_peer_frame f;

		CHECK_EQ(chan_peer_call(&p, i + 1, event, sizes[i]), 0);
		if (sizes[i] > 0) {
			if (!CHECK_EQ(chan_peer_next(&p, &f), 1) || !CHECK_EQ(f.head.type, CHAN_DATA) ||
			    !CHECK_EQ(f.head.len, sizes[i]))
				break;
			CHECK_MEMEQ(f.body, event, sizes[i]);
		}
		if (!expect_done(&p, i + 1))
			break;
	}
	free(event);
}

TEST(a_small_answer_and_its_end_come_in_one_write)
{
	CHAN_PEER(p);

	REQUIRE(runtime_start_ready(&p, "echo"));
	REQUIRE(call_and_expect(&p, 1, "{}", "{}"));
	CHECK_EQ(p.last_read, 2 * sizeof(struct chan_head) + 2);
}

TEST(calls_that_lie_ready_one_behind_the_other_are_served_in_order)
{
	CHAN_PEER(p);

	REQUIRE(runtime_start(&p, "counter") == 0); /* and they may come before READY went */
	for (uint64_t i = 1; i <= 3; i++)
		REQUIRE(call_text(&p, i, "x"));
	struct chan_peer_frame f;
	REQUIRE(chan_peer_next(&p, &f) == 1 && f.head.type == CHAN_READY);
	CHECK(expect_data(&p, 1, "1") && expect_done(&p, 1));
	CHECK(expect_data(&p, 2, "2") && expect_done(&p, 2));
	CHECK(expect_data(&p, 3, "3") && expect_done(&p, 3));
}

TEST(a_call_may_arrive_in_pieces_of_any_size)
{
	size_t len;
	uint8_t *frame = chan_peer_make_call(1, "id-of-the-call", "Root=1-2-3", 3000, "the event", 9, &len);
	CHAN_PEER(p);

	REQUIRE(runtime_start_ready(&p, "echo"));
	for (size_t cut = 1; cut < len; cut++) {
		CHECK_EQ(chan_peer_send(&p, frame, cut), 0);
		(void)nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
		CHECK_EQ(chan_peer_send(&p, frame + cut, len - cut), 0);
		if (!expect_data(&p, 1, "the event") || !expect_done(&p, 1))
			break;
	}
	for (size_t i = 0; i < len; i++) /* byte for byte */
		CHECK_EQ(chan_peer_send(&p, frame + i, 1), 0);
	CHECK(expect_data(&p, 1, "the event") && expect_done(&p, 1));
	free(frame);
}

TEST(an_end_of_file_inside_a_frame_ends_it_with_status_1_and_a_line_in_the_log)
{
	size_t len;
	uint8_t *frame = chan_peer_make_call(1, "id", "", 3000, "event", 5, &len);

	for (size_t cut = 0; cut < len; cut++) {
		CHAN_PEER(p);

		if (!runtime_start_ready(&p, "echo"))
			break;
		CHECK_EQ(chan_peer_send(&p, frame, cut), 0);
		chan_peer_hang_up(&p);
		expect_exit(&p, cut == 0 ? 0 : 1);
		if (cut)
			CHECK_CONTAINS(chan_peer_log(&p, NULL), "fsbox: ");
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
	};

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		static const uint8_t zeros[128];
		CHAN_PEER(p);

		REQUIRE(runtime_start_ready(&p, "echo"));
		CHECK_EQ(chan_peer_send(&p, &bad[i], sizeof bad[i]), 0);
		(void)chan_peer_send(&p, zeros, sizeof zeros); /* it may have gone already */
		expect_exit(&p, 1);
		CHECK_CONTAINS(chan_peer_log(&p, NULL), "the channel: ");
	}
}

TEST(what_the_handler_printed_is_out_before_the_call_ends)
{
	CHAN_PEER(p);

	REQUIRE(runtime_start_ready(&p, "log_lines"));
	REQUIRE(call_and_expect(&p, 1, "", "logged"));
	CHECK_STREQ(chan_peer_log(&p, NULL), "to stdout\nto stderr\nno newline");
}

TEST(a_result_that_is_not_zero_fails_the_call_and_the_cell_goes_on)
{
	CHAN_PEER(p);

	REQUIRE(runtime_start_ready(&p, "result"));
	CHECK(call_text(&p, 1, "5") && expect_error(&p, CHAN_ERROR, "Function.Unknown", "fsbox_handler returned 5"));
	CHECK(call_text(&p, 2, "0") && expect_done(&p, 2));
}

TEST(failures_carry_the_functions_own_type_and_message)
{
	CHAN_PEER(p);

	REQUIRE(runtime_start_ready(&p, "fail"));
	CHECK(call_text(&p, 1, "") &&
	      expect_error(&p, CHAN_ERROR, "Test.Failed", "it was asked to: \"fail\"\n\xc3\xa4"));
	CHECK(call_text(&p, 2, "plain") && expect_error(&p, CHAN_ERROR, "Function.Unknown", "returned 17"));
	CHECK(call_text(&p, 3, "null") && expect_error(&p, CHAN_ERROR, "", ""));
	CHECK(call_text(&p, 4, "answered") && expect_error(&p, CHAN_ERROR, "Test.Failed", "it was asked to"));
	CHECK(call_text(&p, 5, "zero") && expect_error(&p, CHAN_ERROR, "Test.Failed", "it was asked to"));
}

TEST(a_long_failure_is_cut_between_two_characters)
{
	struct chan_error_view v;
	struct chan_peer_frame f;
	CHAN_PEER(p);

	REQUIRE(runtime_start_ready(&p, "fail"));
	REQUIRE(call_text(&p, 1, "long"));
	REQUIRE(chan_peer_next(&p, &f) == 1 && chan_error_parse(f.body, f.head.len, &v) == 0);
	CHECK_EQ(v.type_len, CHAN_MAX_TYPE);
	CHECK_EQ(v.message_len,
		 CHAN_MAX_MESSAGE - 1); /* "m" and two bytes for each character: the last would be half */
	CHECK_EQ((uint8_t)v.message[v.message_len - 1], 0xa4);
}

/* What the answering functions return, and what the host sees, for each order of calls of
 * tests/functions/semantics.c. */
TEST(the_answering_functions_keep_the_headers_word)
{
	/* clang-format off */
	static const struct { const char *event, *printed, *data, *error; } cases[] = {
		{ "",    "\n",                NULL, NULL },
		{ "r",   "0 \n",              "R",  NULL },
		{ "rr",  "0 -114 \n",         "R",  NULL },
		{ "rw",  "0 -114 \n",         "R",  NULL },
		{ "wr",  "0 -114 \n",         "W",  NULL },
		{ "er",  "0 -114 \n",         NULL, NULL },
		{ "e",   "0 \n",              NULL, NULL },
		{ "nr",  "-22 0 \n",          "R",  NULL },
		{ "fr",  "1 -114 \n",         NULL, "Test.F" },
		{ "fw",  "1 -114 \n",         NULL, "Test.F" },
		{ "rf",  "0 1 \n",            NULL, "Test.F" },
		{ "f!",  "1 0 \n",            NULL, "Test.F" },
		{ "!",   "0 \n",              NULL, "Function.Unknown" },
		{ "r!",  "0 0 \n",            NULL, "Function.Unknown" },
		{ "b",   "-90 \n",            NULL, "Function.ResponseSizeTooLarge" },
		{ "b!",  "-90 0 \n",          NULL, "Function.ResponseSizeTooLarge" },
		{ "br",  "-90 0 \n",          "R",  NULL },
		{ "bf",  "-90 1 \n",          NULL, "Test.F" },
		{ "wf",  "0 1 \n",            "W",  "Test.F" },
		{ "wl",  "0 -90 \n",          "W",  "Function.ResponseSizeTooLarge" },
		{ "l",   "-90 \n",            NULL, "Function.ResponseSizeTooLarge" },
	};
	/* clang-format on */
	CHAN_PEER(p);

	REQUIRE(runtime_start_ready(&p, "semantics"));
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		size_t before = strlen(chan_peer_log(&p, NULL));

		tap_note("case '%s'", cases[i].event);
		REQUIRE(call_text(&p, i + 1, cases[i].event));
		if (cases[i].data)
			REQUIRE(expect_data(&p, i + 1, cases[i].data));
		if (cases[i].error)
			REQUIRE(expect_error(&p, CHAN_ERROR, cases[i].error, ""));
		else
			REQUIRE(expect_done(&p, i + 1));
		CHECK_STREQ(chan_peer_log(&p, NULL) + before, cases[i].printed);
	}
}

TEST(an_answer_that_was_too_large_is_named_with_its_size)
{
	CHAN_PEER(p);

	REQUIRE(runtime_start_ready(&p, "semantics"));
	REQUIRE(call_text(&p, 1, "b"));
	CHECK(expect_error(
		&p, CHAN_ERROR, "Function.ResponseSizeTooLarge",
		"Response payload size (6291457 bytes) exceeded maximum allowed payload size (6291456 bytes)."));
}

TEST(streamed_parts_leave_at_once_and_in_order)
{
	CHAN_PEER(p);

	REQUIRE(runtime_start_ready(&p, "stream"));
	REQUIRE(call_text(&p, 1, "2 hang"));
	CHECK(expect_data(&p, 1, "part 0\n")); /* the handler is still running */
	CHECK(expect_data(&p, 1, "part 1\n"));
	CHECK_GT(p.pid, 0);
}

TEST(a_call_has_its_ids_and_the_function_its_name)
{
	CHAN_PEER(p);
	size_t len;
	uint8_t *frame = chan_peer_make_call(1, "the-request", "Root=1-5e6722a7-cc56f8", 3000, "", 0, &len);

	REQUIRE(runtime_start_ready(&p, "metadata"));
	CHECK_EQ(chan_peer_send(&p, frame, len), 0);
	free(frame);
	CHECK(expect_data(&p, 1,
			  "{\"name\":\"shop\",\"version\":\"$LATEST\",\"memoryMB\":512,\"requestId\":\"the-request\","
			  "\"traceId\":\"Root=1-5e6722a7-cc56f8\",\"traceEnv\":\"Root=1-5e6722a7-cc56f8\"}"));
	CHECK(expect_done(&p, 1));
	/* A call without a trace id does not see that of the call before. */
	CHECK(call_and_expect(&p, 2, "",
			      "{\"name\":\"shop\",\"version\":\"$LATEST\",\"memoryMB\":512,"
			      "\"requestId\":\"11111111-2222-4333-8444-555555555555\",\"traceId\":\"\"}"));
}

TEST(the_longest_ids_fit)
{
	static char id[CHAN_MAX_ID + 1], trace[CHAN_MAX_TRACE + 1];
	struct chan_peer_frame f;
	uint8_t *frame;
	size_t len;
	CHAN_PEER(p);

	memset(id, 'i', CHAN_MAX_ID);
	memset(trace, 't', CHAN_MAX_TRACE);
	frame = chan_peer_make_call(1, id, trace, 3000, "", 0, &len);
	REQUIRE(runtime_start_ready(&p, "metadata"));
	CHECK_EQ(chan_peer_send(&p, frame, len), 0);
	free(frame);
	REQUIRE(chan_peer_next(&p, &f) == 1 && f.head.type == CHAN_DATA);
	CHECK_GT(f.head.len, CHAN_MAX_ID + 2 * CHAN_MAX_TRACE);
	CHECK(expect_done(&p, 1));
}

TEST(the_remaining_time_runs_down_to_zero)
{
	struct chan_peer_frame f;
	char text[32] = "";
	uint8_t *frame;
	size_t len;
	CHAN_PEER(p);

	REQUIRE(runtime_start_ready(&p, "remaining"));
	REQUIRE(call_text(&p, 1, "100")); /* of 3,000 */
	REQUIRE(chan_peer_next(&p, &f) == 1 && f.head.len == 4);
	memcpy(text, f.body, f.head.len);
	CHECK(strcmp(text, "2000") > 0 && strcmp(text, "2900") <= 0);
	CHECK(expect_done(&p, 1));
	frame = chan_peer_make_call(2, "id", "", 10, "20", 2, &len);
	CHECK_EQ(chan_peer_send(&p, frame, len), 0);
	free(frame);
	CHECK(expect_data(&p, 2, "0") && expect_done(&p, 2));
}

TEST(a_failed_init_says_why_and_ends_with_status_1)
{
	/* clang-format off */
	static const struct { const char *function, *type, *message; } cases[] = {
		{ "init_fail",    "Runtime.InitError",         "fsbox_init returned 3" },
		{ "no_handler",   "Runtime.HandlerNotFound",   "no_handler.so defines no function 'fsbox_handler'" },
		{ "unresolved",   "Runtime.ImportModuleError", "fsbox_test_nobody_defines_this" },
		{ "absent",       "Runtime.ImportModuleError", "Unable to load 'absent.so': " },
		{ "/dev/null",    "Runtime.ImportModuleError", "Unable to load 'null': /dev/null: " },
		{ "/etc/passwd",  "Runtime.ImportModuleError", "invalid ELF header" },
		{ "/",            "Runtime.ImportModuleError", "Unable to load '': " },
	};
	/* clang-format on */

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		CHAN_PEER(p);

		tap_note("case '%s'", cases[i].function);
		REQUIRE(runtime_start(&p, cases[i].function) == 0);
		CHECK(expect_error(&p, CHAN_INIT_ERROR, cases[i].type, cases[i].message));
		expect_exit(&p, 1);
	}
}

TEST(a_function_that_ends_the_process_is_seen_in_the_status)
{
	/* clang-format off */
	static const struct { const char *function, *event; int status; } cases[] = {
		{ "exit_status",   "7", W_EXITCODE(7, 0) },
		{ "exit0",         "",  W_EXITCODE(0, 0) },
		{ "crash_segv",    "",  SIGSEGV },
		{ "crash_abort",   "",  SIGABRT },
		{ "close_channel", "",  W_EXITCODE(1, 0) },
	};
	/* clang-format on */

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct chan_peer_frame f;
		CHAN_PEER(p);

		tap_note("case '%s'", cases[i].function);
		REQUIRE(runtime_start_ready(&p, cases[i].function));
		REQUIRE(call_text(&p, 1, cases[i].event));
		CHECK_EQ(chan_peer_wait(&p) & ~0x80, cases[i].status); /* 0x80: dumped a core */
		CHECK_EQ(chan_peer_next(&p, &f), 0);
	}
}

TEST(shutdown_runs_the_functions_own_and_ends_with_status_0)
{
	static const struct chan_head shutdown = {.type = CHAN_SHUTDOWN};
	CHAN_PEER(p);

	REQUIRE(runtime_start_ready(&p, "shutdown_marker"));
	REQUIRE(call_and_expect(&p, 1, "", "\"up\""));
	CHECK_EQ(chan_peer_send(&p, &shutdown, sizeof shutdown), 0);
	expect_exit(&p, 0);
	CHECK_STREQ(chan_peer_log(&p, NULL), "shutdown ran\n");
}

TEST(a_host_that_went_away_ends_it_without_the_functions_shutdown)
{
	CHAN_PEER(p);

	REQUIRE(runtime_start_ready(&p, "shutdown_marker"));
	chan_peer_hang_up(&p);
	expect_exit(&p, 0);
	CHECK_STREQ(chan_peer_log(&p, NULL), "");
}

TEST(nobody_listening_is_an_error_value_and_not_a_signal)
{
	CHAN_PEER(p);
	int status;

	REQUIRE(runtime_start_ready(&p, "stream"));
	(void)close(p.out);
	p.out = -1;
	REQUIRE(call_text(&p, 1, "5"));
	status = chan_peer_wait(&p);
	CHECK(status >= 0 && WIFEXITED(status));
	CHECK_EQ(WEXITSTATUS(status), 1);
}

TEST(a_forked_child_that_returns_from_the_handler_does_not_answer)
{
	CHAN_PEER(p);

	REQUIRE(runtime_start_ready(&p, "fork_return"));
	CHECK(call_and_expect(&p, 1, "", "1"));
	CHECK_CONTAINS(chan_peer_log(&p, NULL), "a forked child returned from fsbox_handler()");
	CHECK(call_and_expect(&p, 2, "", "1"));
}

TEST(programs_that_the_function_executes_do_not_inherit_the_channel)
{
	struct chan_peer_frame f;
	char text[4096];
	CHAN_PEER(p);

	REQUIRE(runtime_start_ready(&p, "exec_child"));
	REQUIRE(call_text(&p, 1, ""));
	REQUIRE(chan_peer_next(&p, &f) == 1 && f.head.type == CHAN_DATA);
	(void)snprintf(text, sizeof text, "%.*s", (int)f.head.len, (const char *)f.body);
	CHECK_CONTAINS(text, " 1 -> pipe:");
	CHECK_LACKS(text, " 4 -> pipe:"); /* 3 is ls's own directory */
}

TEST(threads_of_the_function_work_and_may_outlive_the_call)
{
	CHAN_PEER(p);

	REQUIRE(runtime_start_ready(&p, "thread"));
	CHECK(call_and_expect(&p, 1, "leave", "400000"));
	CHECK(call_and_expect(&p, 2, "", "400000"));
}

/* ---- State between calls ---- */

static void read_proc(struct chan_peer *p, const char *file, char *text, size_t size)
{
	char path[64];
	ssize_t n = 0;
	int fd;

	(void)snprintf(path, sizeof path, "/proc/%d/%s", (int)p->pid, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, text, size - 1);
		(void)close(fd);
	}
	text[n > 0 ? n : 0] = '\0';
}

TEST(between_calls_it_is_parked_in_a_read_of_the_channel_and_has_nothing_else)
{
	char text[4096] = "", want[32], path[64];
	CHAN_PEER(p);

	REQUIRE(runtime_start_ready(&p, "echo"));
	REQUIRE(call_and_expect(&p, 1, "x", "x"));
	(void)snprintf(want, sizeof want, "%d 0x3 ", SYS_read);
	for (int i = 0; i < 200 && strncmp(text, want, strlen(want)) != 0; i++) { /* it is still on its way there */
		(void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
		read_proc(&p, "syscall", text, sizeof text);
	}
	if (text[0]) /* kernels without CONFIG_HAVE_ARCH_TRACEHOOK have no such file */
		CHECK_CONTAINS(text, want);
	for (int fd = 5; fd < 64; fd++) {
		(void)snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)p.pid, fd);
		CHECK(access(path, F_OK) < 0);
	}
	read_proc(&p, "status", text, sizeof text);
	CHECK_CONTAINS(text, "Threads:\t1\n");
}

static unsigned long resident_kib(struct chan_peer *p)
{
	char text[4096];
	const char *at;
	unsigned long kib = 0;

	read_proc(p, "status", text, sizeof text);
	at = strstr(text, "RssAnon:");
	for (at = at ? at + strcspn(at, "0123456789") : ""; *at >= '0' && *at <= '9'; at++)
		kib = kib * 10 + (unsigned long)(*at - '0');
	return kib;
}

TEST(a_large_event_leaves_no_memory_behind)
{
	void *event = calloc(1, CHAN_MAX_PAYLOAD);
	struct chan_peer_frame f;
	unsigned long before;
	CHAN_PEER(p);

	REQUIRE(event && runtime_start_ready(&p, "result"));
	REQUIRE(call_text(&p, 1, "0") && expect_done(&p, 1));
	before = resident_kib(&p);
	CHECK_EQ(chan_peer_call(&p, 2, event, CHAN_MAX_PAYLOAD), 0);
	CHECK_EQ(chan_peer_next(&p, &f), 1);
	REQUIRE(call_text(&p, 3, "0") && expect_done(&p, 3)); /* by then the event of 2 is gone */
	CHECK_LE(resident_kib(&p), before + 128);
	free(event);
}

/* ---- Filters after init ---- */

enum { TRAP = SECCOMP_RET_TRAP, ALLOW = SECCOMP_RET_ALLOW };

static void expect_fault(struct chan_peer *p, uint64_t number, int nr)
{
	struct chan_peer_frame f;
	struct chan_fault fault;

	REQUIRE(chan_peer_next(p, &f) == 1);
	REQUIRE(f.head.type == CHAN_FAULT);
	memcpy(&fault, f.body, sizeof fault);
	CHECK_EQ(f.head.call, number);
	CHECK_EQ(fault.nr, nr);
#ifdef __x86_64__
	CHECK_EQ(fault.arch, AUDIT_ARCH_X86_64);
#endif
	CHECK_EQ(chan_peer_wait(p) & ~0x80, SIGSYS);
	CHECK_EQ(chan_peer_next(p, &f), 0);
}

TEST(a_refused_system_call_is_named_and_ends_the_runtime_by_sigsys)
{
	static const int refused[] = {SYS_openat, SYS_socket};
	CHAN_PEER(p);

	REQUIRE(runtime_start_ready(&p, "after_strict"));
	CHECK_EQ(runtime_send_filter(&p, refused, 2, TRAP, ALLOW), 0);
	REQUIRE(call_and_expect(&p, 1, "print", "errno 0"));
	REQUIRE(call_text(&p, 2, "open"));
	expect_fault(&p, 2, SYS_openat);
}

TEST(a_refused_system_call_of_another_thread_is_named_as_well)
{
	static const int refused[] = {SYS_openat};
	CHAN_PEER(p);

	REQUIRE(runtime_start_ready(&p, "thread"));
	CHECK_EQ(runtime_send_filter(&p, refused, 1, TRAP, ALLOW), 0);
	REQUIRE(call_text(&p, 1, "fault"));
	expect_fault(&p, 1, SYS_openat);
}

TEST(under_a_filter_with_only_what_is_documented_calls_of_all_kinds_work)
{
	static const struct chan_head shutdown = {.type = CHAN_SHUTDOWN};
	static const char *const functions[] = {"after_strict", "log_lines", "stream", "fail", "remaining"};
	uint8_t *event = calloc(1, CHAN_MAX_PAYLOAD);
	struct chan_peer_frame f = {0};
	CHAN_PEER(big);

	for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
		CHAN_PEER(p);

		tap_note("function '%s'", functions[i]);
		REQUIRE(runtime_start_ready(&p, functions[i]));
		CHECK_EQ(runtime_send_filter(&p, runtime_needed, RUNTIME_NEEDED, ALLOW, TRAP), 0);
		for (uint64_t number = 1; number <= 2; number++) {
			REQUIRE(call_text(&p, number, ""));
			do
				REQUIRE(chan_peer_next(&p, &f) == 1);
			while (f.head.type == CHAN_DATA);
			CHECK(f.head.type == CHAN_DONE || f.head.type == CHAN_ERROR);
		}
		CHECK_EQ(chan_peer_send(&p, &shutdown, sizeof shutdown), 0);
		expect_exit(&p, 0);
	}
	REQUIRE(event && runtime_start_ready(&big, "echo"));
	CHECK_EQ(runtime_send_filter(&big, runtime_needed, RUNTIME_NEEDED, ALLOW, TRAP), 0);
	CHECK_EQ(chan_peer_call(&big, 1, event, CHAN_MAX_PAYLOAD), 0);
	CHECK_EQ(chan_peer_next(&big, &f), 1);
	CHECK_EQ(f.head.len, CHAN_MAX_PAYLOAD);
	CHECK(expect_done(&big, 1));
	free(event);
}

TEST(a_filter_that_the_kernel_refuses_is_an_init_error)
{
	struct {
		struct chan_head head;
		struct sock_filter insn;
	} bad = {.head = {.len = 8, .type = CHAN_FILTER}, .insn = BPF_STMT(BPF_LD | BPF_W | BPF_IND, 4)};
	CHAN_PEER(p);

	REQUIRE(runtime_start_ready(&p, "echo"));
	CHECK_EQ(chan_peer_send(&p, &bad, sizeof bad), 0);
	CHECK(expect_error(&p, CHAN_INIT_ERROR, "Runtime.InitError", "filter cannot be installed: Invalid argument"));
	expect_exit(&p, 1);
}

TEST(a_filter_after_the_first_call_is_refused)
{
	static const int refused[] = {SYS_openat};
	CHAN_PEER(p);

	REQUIRE(runtime_start_ready(&p, "echo"));
	REQUIRE(call_and_expect(&p, 1, "x", "x"));
	CHECK_EQ(runtime_send_filter(&p, refused, 1, TRAP, ALLOW), 0);
	expect_exit(&p, 1);
}

TEST(a_sigsys_that_somebody_sends_names_no_system_call)
{
	static const int refused[] = {SYS_openat};
	struct chan_peer_frame f;
	CHAN_PEER(p);

	REQUIRE(runtime_start_ready(&p, "echo"));
	CHECK_EQ(runtime_send_filter(&p, refused, 1, TRAP, ALLOW), 0);
	REQUIRE(call_and_expect(&p, 1, "x", "x"));
	CHECK_EQ(kill(p.pid, SIGSYS), 0);
	CHECK_EQ(chan_peer_wait(&p) & ~0x80, SIGSYS);
	CHECK_EQ(chan_peer_next(&p, &f), 0);
}

TEST(without_a_channel_it_says_who_starts_it)
{
	static const char *const script[] = {"/bin/sh", "-c", "exec \"$0\" x.so 3<&- 4>&-", NULL, NULL};
	const char *argv[5];
	CHAN_PEER(p);

	memcpy(argv, script, sizeof script);
	argv[3] = chan_peer_built("runtime/native");
	REQUIRE(chan_peer_start(&p, 0, argv, NULL) == 0);
	expect_exit(&p, 2);
	CHECK_CONTAINS(chan_peer_log(&p, NULL), "fsbox starts this program");
}
