/* The runtime for Python functions, without a cell: what careless ones do to their output, children, threads, ends.
 * time-limit: 240 */
#include "tests/lib/python_peer.h"
#include "tests/lib/tap.h"

#include <sys/wait.h>
#include <unistd.h>

/* What one call of @handler leaves in the log, up to @until; it answers @answer. */
static bool logged(struct chan_peer *p, const char *handler, const char *const *extra, const char *event,
		   const char *answer, const char *until, const char **ret_log)
{
	bool ok = python_ready(p, handler, extra) && call_and_expect(p, 1, event, answer);

	*ret_log = chan_peer_log(p, until);
	if (!ok)
		tap_note("  event %s: %s", event, *ret_log);
	return ok;
}

TEST(who_only_looks_for_logging_leaves_it_for_others)
{
	const char *log;
	CHAN_PEER(p);

	NEED_PYTHON();
	REQUIRE(logged(&p, "output.looks", NULL, "1", "1", "\n", &log));
	CHECK_CONTAINS(log, "Z\t11111111-2222-4333-8444-555555555555\tone\rtwo\n");
}

TEST(what_was_printed_is_in_the_log_before_the_answer)
{
	const char *log;
	CHAN_PEER(p);
	CHAN_PEER(q);
	CHAN_PEER(behind);

	NEED_PYTHON();
	REQUIRE(logged(&p, "output.early", NULL, "1", "1", NULL, &log)); /* does not wait for it */
	CHECK_CONTAINS(log, "no end of line");
	CHECK_CONTAINS(log, "nor here");
	REQUIRE(logged(&q, "output.surrogate", NULL, "1", "1", NULL, &log));
	CHECK_STREQ(log, "half: \\ud800, whole: \xc3\xa4\n");
	REQUIRE(logged(&behind, "output.behind", NULL, "1", "1", NULL, &log));
	CHECK_STREQ(log, "to the first");
}

TEST(without_stdout_calls_are_answered_and_errors_told)
{
	static const char *const hows[] = {"closes", "descriptor", "none", "nothing", "memory", "refuses"};

	NEED_PYTHON();
	for (size_t i = 0; i < sizeof hows / sizeof hows[0]; i++) {
		char event[64], answer[64];
		CHAN_PEER(p);
		CHAN_PEER(q);

		(void)snprintf(answer, sizeof answer, "\"%s\"", hows[i]);
		(void)snprintf(event, sizeof event, "\"%s fails\"", hows[i]);
		REQUIRE(python_ready(&p, "output.breaks", NULL));
		if (!call_and_expect(&p, 1, answer, answer))
			tap_note("  %s: %s", hows[i], chan_peer_log(&p, NULL));
		CHECK_EQ(python_send(&p, CHAN_SHUTDOWN), 0);
		expect_exit(&p, 0);
		REQUIRE(python_ready(&q, "output.breaks", NULL) && call_text(&q, 1, event));
		if (!PYTHON_EXPECT_ERROR(&q, CHAN_ERROR, "ValueError", "without a log"))
			tap_note("  %s: %s", event, chan_peer_log(&q, NULL));
		CHECK_EQ(python_send(&q, CHAN_SHUTDOWN), 0);
		expect_exit(&q, 0);
	}
}

TEST(a_broken_channel_is_told_whatever_has_become_of_stderr)
{
	CHAN_PEER(p);

	NEED_PYTHON();
	REQUIRE(python_ready(&p, "output.breaks", NULL) && call_and_expect(&p, 1, "\"refuses\"", "\"refuses\""));
	CHECK_EQ(python_send(&p, CHAN_READY), 0);
	expect_exit(&p, 1);
	CHECK_CONTAINS(chan_peer_log(&p, NULL), "fsbox: the channel: ");
}

TEST(a_child_that_comes_back_from_the_handler_ends_in_silence)
{
	/* clang-format off */
	static const struct { const char *event, *answer; } cases[] = {
		{ "\"returns\"", "0" }, { "\"raises\"", "1" }, { "\"leaves\"", "7" }, { "\"library\"", "0" },
	};
	/* clang-format on */

	NEED_PYTHON();
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		CHAN_PEER(p);

		REQUIRE(python_ready(&p, "process.forks", NULL));
		for (uint64_t n = 1; n <= 2; n++)
			if (!call_and_expect(&p, n, cases[i].event, cases[i].answer))
				tap_note("  %s: %s", cases[i].event, chan_peer_log(&p, NULL));
	}
}

TEST(children_and_programs_do_not_have_the_channel)
{
	NEED_PYTHON();
	CHECK(python_answers("process.forked_has_channel", "1", "\"[False, False]\""));
	CHECK(python_answers("process.executed_has_channel", "1", "\"\""));
}

TEST(multiprocessing_works_in_each_of_its_ways)
{
	static const char *const ways[] = {"\"fork\"", "\"spawn\"", "\"forkserver\""};
	static const char *const extra[] = {"PYTHONDONTWRITEBYTECODE=1", NULL}; /* beside the functions of the tests */

	NEED_PYTHON();
	for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
		const char *log;
		CHAN_PEER(p);

		CHECK(logged(&p, "process.multiprocesses", extra, ways[i], "[true, 0]", NULL, &log));
		CHECK_CONTAINS(log, "at work\n");
	}
}

TEST(threads_print_and_die_without_harm)
{
	const char *log;
	CHAN_PEER(p);
	CHAN_PEER(q);

	NEED_PYTHON();
	REQUIRE(logged(&p, "process.thread_prints", NULL, "1", "8", NULL, &log));
	CHECK_CONTAINS(log, "thread 0");
	CHECK_CONTAINS(log, "thread 7");
	REQUIRE(logged(&q, "process.thread_dies", NULL, "1", "\"lives\"", NULL, &log));
	CHECK_CONTAINS(log, "in a thread");
	CHECK(call_and_expect(&q, 2, "1", "\"lives\""));
}

TEST(a_shutdown_waits_for_no_thread_and_runs_what_is_registered)
{
	static const char *const extra[] = {"SAY_EXIT=1", NULL};
	CHAN_PEER(p);
	CHAN_PEER(q);
	CHAN_PEER(broken);

	NEED_PYTHON();
	REQUIRE(python_ready(&p, "process.thread_stays", extra) && call_and_expect(&p, 1, "1", "\"started\""));
	CHECK_EQ(python_send(&p, CHAN_SHUTDOWN), 0);
	expect_exit(&p, 0);
	CHECK_STREQ(chan_peer_log(&p, NULL), "exit\n");
	REQUIRE(python_ready(&q, "process.thread_stays", extra) && call_and_expect(&q, 1, "1", "\"started\""));
	chan_peer_hang_up(&q);
	expect_exit(&q, 0);
	CHECK_STREQ(chan_peer_log(&q, NULL), "exit\n");
	REQUIRE(python_ready(&broken, "process.thread_stays", NULL) && call_and_expect(&broken, 1, "1", "\"started\""));
	CHECK_EQ(chan_peer_send(&broken, "12345678", 8), 0);
	chan_peer_hang_up(&broken);
	expect_exit(&broken, 1);
}

TEST(a_function_that_exits_says_nothing_and_its_status_tells)
{
	static const struct {
		const char *event, *log;
		int status;
	} cases[] = {
		{"3", "last words", 3},
		{"0", "last words", 0},
		{"null", "last words", 0},
		{"\"no more\"", "no more\n", 1},
	};

	NEED_PYTHON();
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		CHAN_PEER(p);

		REQUIRE(python_ready(&p, "process.exits", NULL) && call_text(&p, 1, cases[i].event));
		expect_exit(&p, cases[i].status);
		CHECK_CONTAINS(chan_peer_log(&p, NULL), "last words");
		CHECK_CONTAINS(chan_peer_log(&p, NULL), cases[i].log);
	}
}

TEST(without_a_descriptor_left_an_error_still_goes_to_the_host)
{
	CHAN_PEER(p);

	NEED_PYTHON();
	REQUIRE(python_ready(&p, "process.exhausts", NULL));
	for (uint64_t n = 1; n <= 2; n++)
		REQUIRE(call_text(&p, n, "1") && expect_error(&p, CHAN_ERROR, "ValueError", "nothing left"));
}

TEST(without_a_channel_it_says_so)
{
	char line[4500] = "";
	FILE *f;

	NEED_PYTHON();
	(void)snprintf(line, sizeof line, PYTHON " '%s' 2>&1 3<&- 4<&-; echo $?",
		       chan_peer_built("runtime/python/main.py"));
	f = popen(line, "re"); /* NOLINT(cert-env33-c) */
	REQUIRE(f);
	(void)!fread(line, 1, sizeof line - 1, f);
	(void)pclose(f);
	CHECK_CONTAINS(line, "no channel on descriptors 3 and 4");
	CHECK_CONTAINS(line, "\n2\n");
}
