/* The runtime for Python functions, without a cell: how it starts, how it ends, and what surrounds the function.
 * time-limit: 240 */
#include "tests/lib/python_peer.h"
#include "tests/lib/tap.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

TEST(what_cannot_be_loaded_says_why)
{
	/* clang-format off */
	static const struct { const char *handler, *type, *text; } cases[] = {
		{ "",                "Runtime.MalformedHandlerName", "Bad handler ''" },
		{ "forms",           "Runtime.MalformedHandlerName", "Bad handler 'forms'" },
		{ "forms.",          "Runtime.MalformedHandlerName", "Bad handler 'forms.'" },
		{ ".echo",           "Runtime.MalformedHandlerName", "Bad handler '.echo'" },
		{ "a..echo",         "Runtime.MalformedHandlerName", "Bad handler 'a..echo'" },
		{ "sys.exit",        "Runtime.BuiltInModuleConflict", "Cannot use built-in module sys as a handler module" },
		{ "missing.handler", "Runtime.ImportModuleError", "Unable to import module 'missing': No module named 'missing'" },
		{ "a/missing.handler", "Runtime.ImportModuleError", "Unable to import module 'a/missing': " },
		{ "lacks.handler",   "Runtime.ImportModuleError", "Unable to import module 'lacks': No module named 'no_such_thing'" },
		{ "lacks.handler",   "Runtime.ImportModuleError", "lacks.py\\\", line 1, in <module>\\n    import no_such_thing" },
		{ "syntax.handler",  "Runtime.UserCodeSyntaxError", "Syntax error in module 'syntax': " },
		{ "syntax.handler",  "Runtime.UserCodeSyntaxError", "(syntax.py, line 5)\"" },
		{ "syntax.handler",  "Runtime.UserCodeSyntaxError", "syntax.py\\\" Line 5\\n    def broken(:\"]" },
		{ "through.handler", "Runtime.UserCodeSyntaxError", "(syntax.py, line 5)\"" },
		{ "forms.nowhere",   "Runtime.HandlerNotFound", "Handler 'nowhere' missing on module 'forms'" },
		{ "forms.number",    "Runtime.HandlerNotFound", "Handler 'number' of module 'forms' is not a function" },
		{ "raising.handler", "ZeroDivisionError", "line 5, in <module>\\n    fails()\\n\", \"  File " },
		{ "raising.handler", "ZeroDivisionError", "line 2, in fails\\n    return 1 / 0\\n\"]" },
		{ "stuck.handler",   "ValueError", "with a thread" }, /* which it does not wait for */
	};
	/* clang-format on */

	NEED_PYTHON();
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		CHECK(python_init_fails(cases[i].handler, cases[i].type, cases[i].text));
}

TEST(a_function_that_exits_says_nothing_and_its_status_tells)
{
	/* clang-format off */
	static const struct { const char *event, *log; int status; } cases[] = {
		{ "3", "before the end", 3 }, { "null", "before the end", 0 }, { "\"why\"", "before the endwhy\n", 1 },
	};
	/* clang-format on */

	NEED_PYTHON();
	for (size_t i = 0; i < 3; i++) {
		CHAN_PEER(p);

		REQUIRE(python_ready(&p, "forms.exits", NULL) && call_text(&p, 1, cases[i].event));
		expect_exit(&p, cases[i].status);
		if (i < 2)
			CHECK_STREQ(chan_peer_log(&p, NULL), cases[i].log);
		else
			CHECK_CONTAINS(chan_peer_log(&p, NULL), "why\n"); /* which of the two pipes is first is open */
	}
	{
		CHAN_PEER(p);

		REQUIRE(python_start(&p, "leaves.handler", NULL) == 0);
		expect_exit(&p, 7); /* in init: no frame at all */
	}
}

TEST(output_is_in_the_log_before_the_answer)
{
	CHAN_PEER(p);
	CHAN_PEER(q);

	NEED_PYTHON();
	REQUIRE(python_ready(&p, "forms.says", NULL) && call_and_expect(&p, 1, "0", "1"));
	CHECK_CONTAINS(chan_peer_log(&p, NULL), "no end of line");
	CHECK_CONTAINS(chan_peer_log(&p, NULL), "\xc3\xa4 \\ud800"); /* whatever LANG is, and what has no UTF-8 */
	REQUIRE(python_ready(&q, "forms.closes", NULL));
	for (uint64_t i = 1; i <= 2; i++)
		CHECK(call_and_expect(&q, i, "0", "1"));
}

TEST(a_start_imports_nothing_that_takes_long)
{
	NEED_PYTHON();
	CHECK(python_answers("world.modules", "0", "[]"));
}

TEST(modules_are_looked_for_where_lambda_looks)
{
	static const char *const safe[] = {"PYTHONSAFEPATH=1", NULL};
	CHAN_PEER(p);

	NEED_PYTHON();
	CHECK(python_answers("world.paths", "0", "[true, true, 1, true]"));
	REQUIRE(python_ready(&p, "world.paths", safe));
	CHECK(call_and_expect(&p, 1, "0", "[true, true, 1, true]"));
}

TEST(its_bytecode_was_made_when_it_was_built_and_can_be_done_without)
{
	static const char *const none[] = {"PYTHONPYCACHEPREFIX=/dev/null/x", NULL};
	CHAN_PEER(p);

	NEED_PYTHON();
	CHECK(python_answers("world.cached", "0", "[1, 1, 1, 1, 1]")); /* by hash, unchecked: PEP 552 */
	REQUIRE(python_ready(&p, "world.paths", none));
	CHECK(call_and_expect(&p, 1, "0", "[true, true, 1, true]"));
}

TEST(children_that_the_function_forks_do_not_speak_for_it)
{
	/* clang-format off */
	static const struct { const char *handler, *event, *answer; } cases[] = {
		{ "world.forks",      "\"return\"", "[\"parent\", 0]" },
		{ "world.forks",      "\"raise\"",  "[\"parent\", 256]" },
		{ "world.forks",      "\"exit\"",   "[\"parent\", 768]" },
		{ "world.forks_in_c", "0",          "[\"parent\", 0]" }, /* Python does not hear of it */
	};
	/* clang-format on */

	NEED_PYTHON();
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		CHAN_PEER(p);

		REQUIRE(python_ready(&p, cases[i].handler, NULL));
		for (uint64_t n = 1; n <= 2; n++)
			if (!call_and_expect(&p, n, cases[i].event, cases[i].answer))
				tap_note("  event '%s', call %llu", cases[i].event, (unsigned long long)n);
		CHECK_EQ(python_send(&p, CHAN_SHUTDOWN), 0);
		expect_exit(&p, 0);
	}
}

TEST(programs_and_children_of_the_function_do_not_have_the_channel)
{
	NEED_PYTHON();
	CHECK(python_answers("world.descriptors", "0", "[\"\", 0]"));
}

TEST(a_shutdown_waits_for_no_thread_and_runs_what_is_registered)
{
	CHAN_PEER(p);

	NEED_PYTHON();
	REQUIRE(python_ready(&p, "world.lives_on", NULL) && call_and_expect(&p, 1, "0", "2"));
	CHECK_EQ(python_send(&p, CHAN_SHUTDOWN), 0);
	expect_exit(&p, 0);
	CHECK_STREQ(chan_peer_log(&p, NULL), "at exit\n");
}

TEST(without_a_channel_it_says_so)
{
	char line[4600] = "";
	FILE *f;

	NEED_PYTHON();
	(void)snprintf(line, sizeof line, PYTHON " '%s' 2>&1 3<&- 4<&-; echo $?",
		       chan_peer_built("runtime/python/main.py"));
	f = popen(line, "re"); /* NOLINT(cert-env33-c) */
	REQUIRE(f);
	memset(line, 0, sizeof line);
	(void)!fread(line, 1, sizeof line - 1, f);
	(void)pclose(f);
	CHECK_CONTAINS(line, "no channel on descriptors 3 and 4");
	CHECK_CONTAINS(line, "\n2\n");
}
