/* org.fsbox.Sandbox: the table is sound, its text is what varlink's grammar allows, and against the text of the last
 * release nothing has changed but by addition. */
#include "tests/lib/tap.h"

#include "base/fd.h"
#include "base/mem.h"
#include "daemon/methods.h"

#include <ctype.h>
#include <fcntl.h>

/* What an interface promises, one fact for each of its names: "Invoke.in.event" is a "?Payload", "Cell.state.idle" an
 * enumerator. Facts of members stand below the fact of their method, type or error. */
struct fact {
	char place[128], type[64];
};

struct facts {
	struct fact list[1024];
	size_t n;
	const char *at; /* of the text that is parsed; NULL when it is wrong */
	const char *wrong;
	unsigned version; /* "# apiLevel N" in a comment; 0 without */
};

static struct facts released, current;

static void fail_at(struct facts *f, const char *at)
{
	if (!f->wrong)
		f->wrong = at;
	f->at = "";
}

static void skip_blanks(struct facts *f)
{
	while (isspace((unsigned char)*f->at) || *f->at == '#') {
		if (strncmp(f->at, "# apiLevel ", 11) == 0)
			for (const char *digit = f->at + 11; isdigit((unsigned char)*digit); digit++)
				f->version = f->version * 10 + (unsigned)(*digit - '0');
		f->at += *f->at == '#' ? strcspn(f->at, "\n") : 1;
	}
}

static bool take(struct facts *f, const char *token)
{
	skip_blanks(f);
	if (strncmp(f->at, token, strlen(token)) != 0)
		return false;
	f->at += strlen(token);
	return true;
}

static void need(struct facts *f, const char *token)
{
	if (!take(f, token))
		fail_at(f, f->at);
}

static void take_word(struct facts *f, char ret[static 64])
{
	size_t n = 0;

	skip_blanks(f);
	while (isalnum((unsigned char)f->at[n]) || f->at[n] == '.')
		n++;
	(void)snprintf(ret, 64, "%.*s", (int)n, f->at);
	if (n == 0 || n > 63)
		fail_at(f, f->at);
	else
		f->at += n;
}

static struct fact *add(struct facts *f, const char *place, const char *name)
{
	struct fact *new = &f->list[f->n];

	if (f->n + 1 < sizeof f->list / sizeof f->list[0])
		f->n++;
	(void)snprintf(new->place, sizeof new->place, "%.60s%s%.60s", place, *place ? "." : "", name);
	new->type[0] = '\0';
	return new;
}

static void parse_type(struct facts *f, struct fact *of);

/* What stands between parentheses: members with types, or enumerators. */
static void parse_members(struct facts *f, const char *place)
{
	need(f, "(");
	if (take(f, ")"))
		return;
	do {
		char name[64];
		struct fact *member;

		take_word(f, name);
		member = add(f, place, name);
		if (take(f, ":"))
			parse_type(f, member);
		else
			(void)snprintf(member->type, sizeof member->type, "enumerator");
	} while (!f->wrong && take(f, ","));
	need(f, ")");
}

static void parse_type(struct facts *f, struct fact *of)
{
	static const char *const before[] = {"?", "[]", "[string]"};
	char type[64] = "", word[64];
	size_t len = 0;

	for (size_t i = 0; i < 3; i++)
		if (take(f, before[i]))
			len += (size_t)snprintf(type + len, sizeof type - len, "%s", before[i]);
	skip_blanks(f);
	if (*f->at == '(') {
		(void)snprintf(of->type, sizeof of->type, "%.20s(…)", type);
		parse_members(f, of->place);
		return;
	}
	take_word(f, word);
	(void)snprintf(of->type, sizeof of->type, "%.15s%.40s", type, word);
}

static void parse(struct facts *f, const char *text)
{
	char word[64], place[80];

	*f = (struct facts){.at = text};
	need(f, "interface");
	take_word(f, word);
	add(f, "", word);
	for (skip_blanks(f); *f->at && !f->wrong; skip_blanks(f)) {
		const bool method = take(f, "method "), plain = !method && (take(f, "type ") || take(f, "error "));

		if (!method && !plain)
			fail_at(f, f->at);
		take_word(f, word);
		add(f, "", word);
		(void)snprintf(place, sizeof place, "%s.in", word);
		parse_members(f, method ? place : word);
		if (!method)
			continue;
		need(f, "->");
		(void)snprintf(place, sizeof place, "%s.out", word);
		parse_members(f, place);
	}
}

static const struct fact *find(const struct facts *f, const char *place)
{
	for (size_t i = 0; i < f->n; i++)
		if (strcmp(f->list[i].place, place) == 0)
			return &f->list[i];
	return NULL;
}

/* Was the method, type or error there before? */
static bool has_owner(const struct facts *f, const char *place)
{
	char owner[128];

	(void)snprintf(owner, sizeof owner, "%.*s", (int)strcspn(place, "."), place);
	return find(f, owner) != NULL;
}

/* The first fact that a client of @old would miss or stumble over; NULL when there is none. */
static const struct fact *breaks(const struct facts *old, const struct facts *new)
{
	for (size_t i = 0; i < old->n; i++) {
		const struct fact *still = find(new, old->list[i].place);

		if (!still || strcmp(still->type, old->list[i].type) != 0)
			return &old->list[i];
	}
	for (size_t i = 0; i < new->n; i++) {
		const struct fact *x = &new->list[i];

		if (!find(old, x->place) && strchr(x->place, '.') && has_owner(old, x->place) && x->type[0] != '?' &&
		    strcmp(x->type, "enumerator") != 0)
			return x;
	}
	return NULL;
}

static bool parse_current(void)
{
	struct buf b = {0};

	wire_describe(&b, &sandbox_interface);
	parse(&current, b.data ? b.data : "");
	if (current.wrong)
		tap_note("not by the grammar: %.60s", current.wrong);
	buf_done(&b);
	return CHECK(!current.wrong) && CHECK(current.n > 100);
}

static bool parse_released(void)
{
	const char *src = getenv("FSBOX_SRC");
	char path[512], *text = NULL;
	size_t len;
	int fd, r;

	(void)snprintf(path, sizeof path, "%s/tests/spec/org.fsbox.Sandbox.varlink", src ? src : ".");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	r = fd < 0 ? -1 : fd_read_all(fd, 1 << 20, &text, &len);
	if (r >= 0)
		parse(&released, text);
	fd_closep(&fd);
	free(text);
	return CHECK(r >= 0) && CHECK(!released.wrong);
}

TEST(the_table_is_sound)
{
	struct err e = {0};

	CHECK(wire_verify(&sandbox_interface, &e) == 0);
	if (e.kind != ERR_NONE)
		tap_note("%s", e.msg);
}

TEST(every_method_and_error_says_what_it_is)
{
	for (const struct wire_method *m = sandbox_interface.methods; m->name; m++)
		CHECK(m->doc && m->doc[0]);
	for (const struct wire_error *x = sandbox_interface.errors; x->name; x++)
		CHECK(x->doc && x->doc[0]);
}

TEST(the_text_is_read_by_another_reader_than_its_writer)
{
	const struct fact *f;

	if (!parse_current())
		return;
	for (const struct wire_method *m = sandbox_interface.methods; m->name; m++)
		CHECK(find(&current, m->name));
	f = find(&current, "Deploy.in.layerFds");
	CHECK(f && strcmp(f->type, "?[]int") == 0);
	f = find(&current, "Cell.state.idle");
	CHECK(f && strcmp(f->type, "enumerator") == 0);
}

TEST(since_the_last_release_there_are_only_additions)
{
	const struct fact *broken;

	if (!parse_current() || !parse_released())
		return;
	broken = breaks(&released, &current);
	if (broken)
		tap_note("%s is not as it was, or a new member that is not optional", broken->place);
	CHECK(!broken);
}

TEST(additions_raise_the_api_level)
{
	if (!parse_current() || !parse_released())
		return;
	CHECK(released.version > 0);
	if (current.n > released.n)
		CHECK(METHODS_API_LEVEL > released.version);
	else
		CHECK_EQ(METHODS_API_LEVEL, released.version);
}

/* The comparison itself, on changes that it has to refuse and on those that it may not. */
static bool may_become(const char *old, const char *new)
{
	parse(&released, old);
	parse(&current, new);
	CHECK(!released.wrong && !current.wrong);
	return breaks(&released, &current) == NULL;
}

TEST(changes_that_are_no_additions_are_refused)
{
	static const char old[] =
		"interface a.b\ntype T (x: int, s: (on, off))\nmethod M(t: ?T) -> (n: int)\nerror E (w: string)";

	CHECK(may_become(old, old));
	CHECK(may_become(
		old,
		"interface a.b\n# doc\ntype T (x: int, y: ?int, s: (on, off, odd))\nmethod M(t: ?T, u: ?bool) -> (n: int)\n"
		"method N(a: int) -> ()\nerror E (w: string)\nerror F ()"));
	CHECK(!may_become(
		old, "interface a.c\ntype T (x: int, s: (on, off))\nmethod M(t: ?T) -> (n: int)\nerror E (w: string)"));
	CHECK(!may_become(old,
			  "interface a.b\ntype T (x: int, s: (on))\nmethod M(t: ?T) -> (n: int)\nerror E (w: string)"));
	CHECK(!may_become(
		old,
		"interface a.b\ntype T (x: ?int, s: (on, off))\nmethod M(t: ?T) -> (n: int)\nerror E (w: string)"));
	CHECK(!may_become(
		old, "interface a.b\ntype T (x: int, s: (on, off))\nmethod M(t: T) -> (n: int)\nerror E (w: string)"));
	CHECK(!may_become(
		old,
		"interface a.b\ntype T (x: int, s: (on, off))\nmethod M(t: ?T, u: bool) -> (n: int)\nerror E (w: string)"));
	CHECK(!may_become(
		old,
		"interface a.b\ntype T (x: int, s: (on, off))\nmethod M(t: ?T) -> (n: int, m: int)\nerror E (w: string)"));
	CHECK(!may_become(old, "interface a.b\ntype T (x: int, s: (on, off))\nmethod M(t: ?T) -> (n: int)"));
	CHECK(!may_become(old, "interface a.b\ntype T (x: int, s: (on, off))\nerror E (w: string)"));
}
