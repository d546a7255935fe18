/* base/opt: the command line's options. */
#include "tests/lib/tap.h"

#include "base/mem.h"
#include "base/opt.h"

#include <errno.h>

struct got {
	const char *text[8];
	size_t n;
	int flags;
	const char *maybe;
	bool maybe_given;
};

static int set_text(void *args, const struct opt *o, const char *value, struct err *e)
{
	struct got *g = args;

	if (strcmp(value, "bad") == 0)
		return err_set(e, ERR_SPEC, 0, "--%s: not that", o->name);
	g->text[g->n++] = value;
	return 0;
}

static int set_flag(void *args, const struct opt *o, const char *value, struct err *e)
{
	(void)o;
	(void)e;
	CHECK(!value);
	((struct got *)args)->flags++;
	return 0;
}

static int set_maybe(void *args, const struct opt *o, const char *value, struct err *e)
{
	struct got *g = args;

	(void)o;
	(void)e;
	g->maybe_given = true;
	g->maybe = value;
	return 0;
}

static const struct opt first[] = {
	{"mem", "MB", 0, set_text, 0, "memory", 'm'},
	{"event", "JSON", OPT_MULTI, set_text, 0, "event", 0},
};
static const struct opt second[] = {
	{"json", NULL, OPT_FLAG, set_flag, 0, "json", 'j'},
	{"color", "WHEN", OPT_MAYBE_VALUE, set_maybe, 0, "color", 0},
};
static const struct opt_table one = {first, ARRAY_LEN(first)}, two = {second, ARRAY_LEN(second)};
static const struct opt_table *const tables[] = {&one, &two};

/* @line: words separated by one blank each; the operands come back joined by commas. */
static int parse(const char *line, struct got *g, char *operands, size_t size, struct err *e)
{
	static char words[256];
	char *argv[32] = {(char[]){"cmd"}}, *save = NULL;
	int argc = 1, n = -1;

	(void)snprintf(words, sizeof words, "%s", line);
	for (char *w = strtok_r(words, " ", &save); w; w = strtok_r(NULL, " ", &save))
		argv[argc++] = strcmp(w, "''") == 0 ? w + 2 : w;

	int r = opt_parse(tables, ARRAY_LEN(tables), argc, argv, g, &n, e);
	operands[0] = '\0';
	for (int i = 0; r == 0 && i < n; i++)
		(void)snprintf(operands + strlen(operands), size - strlen(operands), "%s%s", i ? "," : "", argv[1 + i]);
	CHECK(r == 0 || n == -1); /* untouched on failure */
	return r;
}

static void good(const char *line, const char *texts, int flags, const char *operands)
{
	struct got g = {0};
	struct err e = {0};
	char got[256], joined[256] = "";

	if (!CHECK_OK(parse(line, &g, got, sizeof got, &e), &e)) {
		tap_note("%s", line);
		return;
	}
	for (size_t i = 0; i < g.n; i++)
		(void)snprintf(joined + strlen(joined), sizeof joined - strlen(joined), "%s%s", i ? "," : "",
			       g.text[i]);
	CHECK_STREQ(joined, texts);
	CHECK_EQ(g.flags, flags);
	CHECK_STREQ(got, operands);
}

static void bad(const char *line, const char *msg, const char *hint)
{
	struct got g = {0};
	struct err e = {0};
	char got[256];

	CHECK_LT(parse(line, &g, got, sizeof got, &e), 0);
	CHECK_EQ(e.kind, ERR_SPEC);
	CHECK_CONTAINS(e.msg, msg);
	CHECK_CONTAINS(e.hint, hint);
}

TEST(options_stand_before_between_and_after_operands)
{
	good("", "", 0, "");
	good("--mem 64 a b", "64", 0, "a,b");
	good("a --mem 64 b --json", "64", 1, "a,b");
	good("a b --mem=64", "64", 0, "a,b");
	good("-m 64 -j a", "64", 1, "a");
	good("--event 1 --event 2 a --event=3", "1,2,3", 0, "a");
}

TEST(a_value_may_look_like_anything)
{
	good("--mem --json a", "--json", 0, "a");
	good("--mem -1", "-1", 0, "");
	good("--mem=", "", 0, "");
	good("--mem=a=b", "a=b", 0, "");
	good("--mem ''", "", 0, "");
	good("--event -", "-", 0, "");
}

TEST(a_double_dash_ends_the_options_and_a_single_one_is_an_operand)
{
	good("-- --mem 64", "", 0, "--mem,64");
	good("--mem 64 -- --json -j --", "64", 0, "--json,-j,--");
	good("- a", "", 0, "-,a");
	good("'' a", "", 0, ",a");
}

TEST(mistakes_are_named)
{
	bad("--mem", "option '--mem' needs a value: --mem MB", "");
	bad("a -m", "option '--mem' needs a value", "");
	bad("--mem 1 --mem 2", "option '--mem' given twice", "");
	bad("--mem 1 -m 2", "option '--mem' given twice", "");
	bad("--json --json", "option '--json' given twice", "");
	bad("--json=1", "option '--json' takes no value", "");
	bad("--nothing", "unknown option '--nothing'", "");
	bad("--jsn", "unknown option '--jsn'", "did you mean --json?");
	bad("--mme 1", "unknown option '--mme'", "--mem");
	bad("--event=1 --evnt=2", "unknown option '--evnt'", "--event");
	bad("-x", "unknown option '-x'", "");
	bad("-mj", "unknown option '-mj'", "");
	bad("-m64", "unknown option '-m64'", "");
	bad("--mem bad", "--mem: not that", "");
	bad("--=x", "unknown option '--'", "");
	bad("--a-very-long-option-that-resembles-nothing-at-all-and-goes-on", "unknown option", "");
}

TEST(the_first_mistake_is_told_and_nothing_after_it_is_set)
{
	struct got g = {0};
	struct err e = {0};
	char got[64];

	CHECK_LT(parse("--event 1 --nothing --event 2", &g, got, sizeof got, &e), 0);
	CHECK_EQ(g.n, 1);
}

TEST(a_value_that_may_be_missing_is_only_taken_after_the_equals_sign)
{
	struct got g = {0};
	struct err e = {0};
	char got[64];

	CHECK_OK(parse("--color a", &g, got, sizeof got, &e), &e);
	CHECK(g.maybe_given && !g.maybe);
	CHECK_STREQ(got, "a");
	g = (struct got){0};
	CHECK_OK(parse("--color=never a", &g, got, sizeof got, &e), &e);
	CHECK_STREQ(g.maybe, "never");
}

TEST(names_are_found_whole_and_not_by_their_beginnings)
{
	CHECK(opt_find(tables, 2, "mem", 3) == &first[0]);
	CHECK(opt_find(tables, 2, "json", 4) == &second[0]);
	CHECK(!opt_find(tables, 2, "me", 2));
	CHECK(!opt_find(tables, 2, "memory", 6));
	CHECK(!opt_find(tables, 2, "", 0));
	CHECK(opt_find(tables, 2, "member", 3) == &first[0]);
}

/* @line as above; what follows comes back joined by commas. */
static int parse_leading(const char *line, struct got *g, char *rest, size_t size, struct err *e)
{
	static char words[256];
	char *argv[32] = {(char[]){"cmd"}}, *save = NULL;
	int argc = 1, next = -1;

	(void)snprintf(words, sizeof words, "%s", line);
	for (char *w = strtok_r(words, " ", &save); w; w = strtok_r(NULL, " ", &save))
		argv[argc++] = w;

	int r = opt_parse_leading(tables, ARRAY_LEN(tables), argc, argv, g, &next, e);
	rest[0] = '\0';
	for (int i = next; r == 0 && i < argc; i++)
		(void)snprintf(rest + strlen(rest), size - strlen(rest), "%s%s", i > next ? "," : "", argv[i]);
	CHECK(r == 0 || next == -1);
	return r;
}

TEST(the_options_of_a_command_line_within_another_are_left_alone)
{
	static const struct {
		const char *line, *rest;
		int flags;
	} cases[] = {
		{"", "", 0},
		{"--json", "", 1},
		{"a --json", "a,--json", 0},
		{"--json a -- --json", "a,--,--json", 1},
		{"-- --json a", "--json,a", 0},
		{"-j - --mem", "-,--mem", 1},
		{"--event 1 --event=2 -j a --nothing -x", "a,--nothing,-x", 1},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct got g = {0};
		struct err e = {0};
		char rest[256];

		CHECK_OK(parse_leading(cases[i].line, &g, rest, sizeof rest, &e), &e);
		if (!CHECK_STREQ(rest, cases[i].rest) || !CHECK_EQ(g.flags, cases[i].flags))
			tap_note("%s", cases[i].line);
	}
	for (size_t i = 0; i < 3; i++) {
		struct got g = {0};
		struct err e = {0};
		char rest[256];

		CHECK_LT(parse_leading((const char *const[]){"--nothing a", "--mem", "--mem bad a"}[i], &g, rest,
				       sizeof rest, &e),
			 0);
	}
}
