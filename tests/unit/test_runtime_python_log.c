/* The runtime for Python functions, without a cell: records of the log in Lambda's two forms. */
#include "tests/lib/python_peer.h"
#include "tests/lib/tap.h"

#include <regex.h>
#include <unistd.h>

#define ID   "11111111-2222-4333-8444-555555555555" /* chan_peer_call()'s */
#define TIME "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z"

/* Calls @handler once, and looks for the regular expression in what it wrote. */
static bool logs(const char *handler, const char *const *extra, const char *answer, const char *pattern)
{
	regex_t compiled;
	bool ok = false;
	CHAN_PEER(p);

	if (!CHECK_EQ(regcomp(&compiled, pattern, REG_EXTENDED | REG_NOSUB), 0))
		return false;
	if (python_ready(&p, handler, extra) && call_text(&p, 1, "\"e\"")) {
		if (answer)
			ok = expect_data(&p, 1, answer) && expect_done(&p, 1);
		else {
			struct chan_peer_frame f;

			ok = chan_peer_next(&p, &f) == 1 && f.head.type == CHAN_ERROR;
		}
		ok = CHECK_EQ(regexec(&compiled, chan_peer_log(&p, NULL), 0, NULL, 0), 0) && ok;
		if (!ok)
			tap_note("  log of '%s': %s", handler, chan_peer_log(&p, NULL));
	}
	regfree(&compiled);
	return ok;
}

static const char *const json[] = {"AWS_LAMBDA_LOG_FORMAT=JSON", NULL};

TEST(a_text_record_is_one_line_whatever_lines_its_message_has)
{
	NEED_PYTHON();
	CHECK(logs("records.one", NULL, "1", "^\\[WARNING\\]\t" TIME "\t" ID "\tone\rtwo e\n$"));
	CHECK(logs("records.fails", NULL, "1",
		   "^\\[ERROR\\]\t" TIME "\t" ID "\tit failed\rTraceback [^\n]*\rKeyError: 'k'\n$"));
	CHECK(logs("records.own", NULL, "1", "^<" ID ">\rmine\n$"));
	CHECK(logs("records.by_context", NULL, "1", "^by\rcontext\n\\{'a': 1\\}\nprinted\n$"));
	CHECK(logs("records.closed", NULL, "1", "^$"));
}

TEST(levels_are_those_of_the_function_or_of_its_configuration)
{
	static const char *const by_function[] = {"LEVEL=INFO", NULL};
	static const char *const by_lambda[] = {"AWS_LAMBDA_LOG_LEVEL=info", NULL};
	static const char *const fatal[] = {"AWS_LAMBDA_LOG_LEVEL=FATAL", NULL};
	static const char *const unknown[] = {"AWS_LAMBDA_LOG_LEVEL=LOUD", NULL};

	NEED_PYTHON();
	CHECK(logs("records.one", by_function, "1", "\n\\[INFO\\]\t" TIME "\t" ID "\tnot at this level\n$"));
	CHECK(logs("records.one", by_lambda, "1", "\n\\[INFO\\]\t" TIME "\t" ID "\tnot at this level\n$"));
	CHECK(logs("records.one", fatal, "1", "^$"));
	CHECK(logs("records.one", unknown, "1", "^\\[WARNING\\][^\n]*\n$"));
}

TEST(json_records_have_lambdas_keys_and_what_the_function_adds)
{
	NEED_PYTHON();
	CHECK(logs("records.one", json, "1",
		   "^\\{\"timestamp\": \"" TIME "\", \"level\": \"WARNING\", \"message\": \"one\\\\ntwo e\", "
		   "\"logger\": \"root\", \"requestId\": \"" ID "\"\\}\n\\{[^\n]*\"INFO\"[^\n]*\\}\n$"));
	CHECK(logs("records.fails", json, "1",
		   "^\\{[^\n]*\"logger\": \"shop.db\", \"stackTrace\": \\[\"  File [^\n]*, in fails\\\\n    raise "
		   "KeyError[^\n]*\\], \"errorType\": \"KeyError\", \"errorMessage\": \"'k'\", "
		   "\"location\": \"[^\n]*records.py:fails:[0-9]+\", \"requestId\": \"" ID "\"\\}\n$"));
	CHECK(logs("records.extra", json, "1",
		   "\"message\": \"with \xc3\xa4\", \"logger\": \"shop\", \"requestId\": \"" ID "\", \"order\": 7, "
		   "\"odd\": \"<class 'set'>\"\\}\n\\{[^\n]*\"level\": \"INFO\", \"message\": \"a level of its own\""
		   "[^\n]*\\}\n$"));
}

TEST(errors_that_nobody_catches_are_one_record)
{
	/* The indentation is of no-break spaces, as Lambda writes it. */
	static const char text[] =
		"^\\[ERROR\\] Odd: it is \"odd\"\rand \xc3\xa4\rTraceback \\(most recent call last\\):\r"
		"\xc2\xa0\xc2\xa0"
		"File \"[^\n]*/forms.py\", line [0-9]+, in raises\r"
		"\xc2\xa0\xc2\xa0\xc2\xa0\xc2\xa0raise Odd[^\n]*\n$";
	static const char record[] = "^\\{\"timestamp\": \"" TIME
				     "\", \"level\": \"ERROR\", \"errorMessage\": \"it is \\\\\"odd\\\\\"\\\\nand "
				     "\xc3\xa4\", \"errorType\": \"Odd\", \"requestId\": \"" ID
				     "\", \"stackTrace\": \\[\"  File [^\n]*\\}\n$";
	static const char *const forms[] = {text, record};

	NEED_PYTHON();
	for (int i = 0; i < 2; i++) {
		struct chan_peer_frame f;
		regex_t compiled;
		CHAN_PEER(p);

		REQUIRE(python_ready(&p, "forms.raises", i ? json : NULL) && call_text(&p, 1, "\"odd\""));
		REQUIRE(chan_peer_next(&p, &f) == 1 && f.head.type == CHAN_ERROR);
		REQUIRE(regcomp(&compiled, forms[i], REG_EXTENDED | REG_NOSUB) == 0);
		if (!CHECK_EQ(regexec(&compiled, chan_peer_log(&p, NULL), 0, NULL, 0), 0))
			tap_note("  %s", chan_peer_log(&p, NULL));
		regfree(&compiled);
	}
}

TEST(logging_is_set_up_whenever_it_is_imported)
{
	NEED_PYTHON();
	CHECK(logs("late.handler", NULL, "[false, 1, \"logging\", \"gmtime\"]",
		   "\\[WARNING\\]\t" TIME "\t" ID "\tthere\n"));
	CHECK(logs("late.handler", NULL, "[false, 1, \"logging\", \"gmtime\"]", "UserWarning: take care\n"));
}

TEST(each_call_has_its_own_request_id)
{
	CHAN_PEER(p);

	NEED_PYTHON();
	REQUIRE(python_ready(&p, "records.one", NULL));
	for (uint64_t i = 1; i <= 2; i++) {
		size_t len;
		uint8_t *frame = chan_peer_make_call(i, i == 1 ? "id-1" : "id-2", "", 3000, "0", 1, &len);

		CHECK_EQ(chan_peer_send(&p, frame, len), 0);
		CHECK(expect_data(&p, i, "1") && expect_done(&p, i));
		free(frame);
	}
	CHECK_CONTAINS(chan_peer_log(&p, NULL), "\tid-1\tone\rtwo 0\n");
	CHECK_CONTAINS(chan_peer_log(&p, NULL), "\tid-2\tone\rtwo 0\n");
}
