/* Varlink's tables: their text, the check of parameters against them, calls and answers as text. */
#include "tests/lib/idl.h"
#include "tests/lib/tap.h"

#include "base/mem.h"
#include "wire/message.h"

static bool is_word(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (s[i] < 'a' || s[i] > 'z')
			return false;
	return len > 0;
}

static const struct wire_enum state = {"State", "How it is.", (const char *const[]){"idle", "busy", NULL}};
static const struct wire_enum inner_enum = {NULL, NULL, (const char *const[]){"one", "two", NULL}};
static const struct wire_struct payload = {
	.name = "Payload",
	.doc = "A body.\nExactly one member.",
	.fields = WIRE_FIELDS({.name = "text", .type = WIRE_STRING, .flags = WIRE_OPTIONAL, .doc = "any text\nor none"},
			      {.name = "fd", .type = WIRE_FD, .flags = WIRE_OPTIONAL}),
};
static const struct wire_struct pair = {
	.fields = WIRE_FIELDS({.name = "a", .type = WIRE_INT}, {.name = "b", .type = WIRE_BOOL}),
};

static const struct wire_field all_fields[] = {
	{.name = "flag", .type = WIRE_BOOL},
	{.name = "count", .type = WIRE_INT, .min = -5, .max = 10},
	{.name = "plain", .type = WIRE_INT, .flags = WIRE_OPTIONAL},
	{.name = "ratio", .type = WIRE_FLOAT, .flags = WIRE_OPTIONAL},
	{.name = "word", .type = WIRE_STRING, .flags = WIRE_OPTIONAL, .max_len = 4, .valid = is_word},
	{.name = "spec", .type = WIRE_OBJECT, .flags = WIRE_OPTIONAL},
	{.name = "code_fd", .type = WIRE_FD, .flags = WIRE_OPTIONAL},
	{.name = "fds", .type = WIRE_FD, .flags = WIRE_OPTIONAL | WIRE_ARRAY, .max_items = 3},
	{.name = "state", .type = WIRE_ENUM, .flags = WIRE_OPTIONAL, .of_enum = &state},
	{.name = "which", .type = WIRE_ENUM, .flags = WIRE_OPTIONAL, .of_enum = &inner_enum},
	{.name = "event", .type = WIRE_STRUCT, .flags = WIRE_OPTIONAL, .of_struct = &payload},
	{.name = "pairs", .type = WIRE_STRUCT, .flags = WIRE_OPTIONAL | WIRE_ARRAY, .of_struct = &pair},
	{.name = "warm", .type = WIRE_INT, .flags = WIRE_OPTIONAL | WIRE_MAP, .max_items = 2},
	{.name = NULL},
};

static const struct wire_method methods[] = {
	{.name = "All", .doc = "Takes all.", .in = all_fields, .flags = WIRE_MORE, .max_fds = 4},
	{.name = "None",
	 .flags = WIRE_NEEDS_MORE,
	 .out = WIRE_FIELDS({.name = "cell", .type = WIRE_STRING, .doc = "its id"})},
	{.name = NULL},
};
static const struct wire_error errors[] = {
	{.name = "NotFound", .doc = "No.", .fields = WIRE_FIELDS({.name = "what", .type = WIRE_STRING})},
	{.name = "Busy"},
	{.name = NULL},
};
static const struct wire_interface sample = {
	.name = "org.example.more-2",
	.doc = "For tests.",
	.structs = (const struct wire_struct *const[]){&payload, NULL},
	.enums = (const struct wire_enum *const[]){&state, NULL},
	.methods = methods,
	.errors = errors,
};

/* ---- Text ---- */

TEST(the_text_of_an_interface_has_its_members_in_order_with_their_docs)
{
	AUTO(buf_done) struct buf b = {0};

	wire_describe(&b, &sample);
	REQUIRE(!b.failed);
	CHECK_STREQ(b.data, "# For tests.\n"
			    "interface org.example.more-2\n"
			    "\n"
			    "# How it is.\n"
			    "type State (idle, busy)\n"
			    "\n"
			    "# A body.\n"
			    "# Exactly one member.\n"
			    "# text: any text\n"
			    "#   or none\n"
			    "type Payload (text: ?string, fd: ?int)\n"
			    "\n"
			    "# Takes all.\n"
			    "# With \"more\": several answers.\n"
			    "method All(\n"
			    "\tflag: bool,\n"
			    "\tcount: int,\n"
			    "\tplain: ?int,\n"
			    "\tratio: ?float,\n"
			    "\tword: ?string,\n"
			    "\tspec: ?object,\n"
			    "\tcode_fd: ?int,\n"
			    "\tfds: ?[]int,\n"
			    "\tstate: ?State,\n"
			    "\twhich: ?(one, two),\n"
			    "\tevent: ?Payload,\n"
			    "\tpairs: ?[](a: int, b: bool),\n"
			    "\twarm: ?[string]int\n"
			    ") -> ()\n"
			    "\n"
			    "# cell: its id\n"
			    "# Only with \"more\".\n"
			    "method None() -> (cell: string)\n"
			    "\n"
			    "# No.\n"
			    "error NotFound (what: string)\n"
			    "\n"
			    "error Busy ()\n");
}

TEST(the_service_interface_is_the_one_of_the_specification)
{
	AUTO(buf_done) struct buf b = {0};
	struct err e = {0};

	CHECK_OK(wire_verify(&wire_service, &e), &e);
	wire_describe(&b, &wire_service);
	CHECK_CONTAINS(b.data, "interface org.varlink.service\n");
	CHECK_CONTAINS(
		b.data,
		"method GetInfo() -> (\n\tvendor: string,\n\tproduct: string,\n\tversion: string,\n\turl: string,"
		"\n\tinterfaces: []string\n)\n");
	CHECK_CONTAINS(b.data, "method GetInterfaceDescription(interface: string) -> (description: string)\n");
	CHECK_CONTAINS(b.data, "error InvalidParameter (parameter: string)\n");
	CHECK_CONTAINS(b.data, "error PermissionDenied ()\n");
	CHECK_CONTAINS(b.data, "error ExpectedMore ()\n");
}

TEST(the_text_is_an_interface_for_a_reader_that_knows_only_the_grammar)
{
	AUTO(buf_done) struct buf b = {0};
	struct idl_counts n;
	size_t at;

	wire_describe(&b, &wire_service);
	CHECK(idl_read(b.data, &n, &at));
	CHECK_STREQ(n.name, "org.varlink.service");
	CHECK_EQ(n.methods, 2);
	CHECK_EQ(n.errors, 6);
	CHECK_EQ(n.fields, 11);
	b.len = 0;
	wire_describe(&b, &sample);
	if (!CHECK(idl_read(b.data, &n, &at)))
		tap_note("  from: %s", b.data + at);
	CHECK_STREQ(n.name, "org.example.more-2");
	CHECK_EQ(n.types, 2);
	CHECK_EQ(n.methods, 2);
	CHECK_EQ(n.errors, 2);
	CHECK_EQ(n.fields, 2 + 13 + 2 + 1 + 1);
	CHECK_EQ(n.unknown, 0);
	b.data[strlen(b.data) - 3] = '\0'; /* the last parenthesis: the reader does see what is wrong */
	CHECK(!idl_read(b.data, &n, &at));
}

/* ---- Verification ---- */

TEST(a_good_table_is_verified)
{
	struct err e = {0};

	CHECK_OK(wire_verify(&sample, &e), &e);
}

static void refuses(const struct wire_interface *i, const char *says)
{
	struct err e = {0};

	CHECK(wire_verify(i, &e) < 0);
	CHECK_EQ(e.kind, ERR_BUG);
	CHECK_CONTAINS(e.msg, says);
}

TEST(names_that_the_grammar_does_not_have_are_refused)
{
	static const char *const bad[] = {"",       "org",    "org.",    ".org.x", "org..x", "1org.x",
					  "org.x-", "org.-x", "org.x_y", "org.x ", "-org.x"};
	static const char *const good[] = {"org.x", "xn--lgbbat1ad8j.example.algeria", "a.b.c9-1"};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		refuses(&(struct wire_interface){.name = bad[i]}, "no name by the grammar");
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		struct err e = {0};

		CHECK_OK(wire_verify(&(struct wire_interface){.name = good[i]}, &e), &e);
	}

#define FIELD(...)                                                                                           \
	(&(struct wire_interface){.name = "org.x",                                                           \
				  .methods = (const struct wire_method[]){                                   \
					  {.name = "M",                                                      \
					   .out = (const struct wire_field[]){__VA_ARGS__, {.name = NULL}}}, \
					  {.name = NULL}}})
	refuses(FIELD({.name = "a__b", .type = WIRE_INT}), "'a__b': no name");
	refuses(FIELD({.name = "a_", .type = WIRE_INT}), "no name");
	refuses(FIELD({.name = "9a", .type = WIRE_INT}), "no name");
	refuses(FIELD({.name = "a-b", .type = WIRE_INT}), "no name");
	refuses(FIELD({.name = "a", .type = WIRE_INT}, {.name = "a", .type = WIRE_BOOL}), "twice");
	refuses(FIELD({.name = "a", .type = WIRE_INT, .min = 2, .max = 1}), "range");
	refuses(FIELD({.name = "a", .type = WIRE_INT, .max = INT64_MAX}), "53 bits");
	refuses(FIELD({.name = "a", .type = WIRE_INT, .flags = WIRE_ARRAY | WIRE_MAP}), "an array and a map");
	refuses(FIELD({.name = "a", .type = WIRE_ENUM}), "without enumerators");
	refuses(FIELD({.name = "a", .type = WIRE_STRUCT}), "without fields");
	refuses(FIELD({.name = "a", .type = WIRE_ENUM, .of_enum = &state}), "'State': not listed");
	refuses(FIELD({.name = "a", .type = WIRE_STRUCT, .of_struct = &payload}), "'Payload': not listed");
}

static const struct wire_method twice[] = {{.name = "M"}, {.name = "M"}, {.name = NULL}};
static const struct wire_method small[] = {{.name = "m"}, {.name = NULL}};
static const struct wire_method fdless[] = {{.name = "M", .max_fds = 1}, {.name = NULL}};
static const struct wire_method many[] = {{.name = "M", .max_fds = 254}, {.name = NULL}};
static const struct wire_method fds[] = {{.name = "M", .in = WIRE_FIELDS({.name = "fd", .type = WIRE_FD})},
					 {.name = NULL}};
static const struct wire_error clash[] = {{.name = "M"}, {.name = NULL}};
static const struct wire_method one[] = {{.name = "M"}, {.name = NULL}};

TEST(members_that_are_there_twice_or_disagree_are_refused)
{
	refuses(&(struct wire_interface){.name = "org.x", .methods = twice}, "twice");
	refuses(&(struct wire_interface){.name = "org.x", .methods = small}, "no name");
	refuses(&(struct wire_interface){.name = "org.x", .methods = fdless}, "do not agree");
	refuses(&(struct wire_interface){.name = "org.x", .methods = fds}, "do not agree");
	refuses(&(struct wire_interface){.name = "org.x", .methods = many}, "more descriptors");
	refuses(&(struct wire_interface){.name = "org.x", .methods = one, .errors = clash}, "twice");
}

/* ---- Parameters ---- */

/* Where the fault of @text lies, "" when there is none. */
static const char *fault(const char *text, size_t n_fds)
{
	static char where[160];
	AUTO(json_doc_freep) struct json_doc *doc = NULL;
	struct err e = {0};

	if (!CHECK_OK(json_parse("", text, strlen(text), 1 << 20, &doc, &e), &e))
		return NULL;
	if (wire_check(all_fields, json_doc_root(doc), n_fds, &e) == 0)
		return "";
	CHECK_EQ(e.kind, ERR_SPEC);
	CHECK_STRNE(e.msg, "");
	CHECK_STRNE(e.where, "");
	(void)snprintf(where, sizeof where, "%s", e.where);
	return where;
}

#define MUST "\"flag\":true,\"count\":1"

TEST(what_the_table_allows_is_taken)
{
	CHECK_STREQ(fault("{" MUST "}", 0), "");
	CHECK_STREQ(fault("{\"count\":-5,\"flag\":false}", 0), "");
	CHECK_STREQ(fault("{\"count\":10,\"flag\":false,\"plain\":9007199254740991}", 0), "");
	CHECK_STREQ(fault("{" MUST ",\"plain\":null,\"state\":null,\"event\":null,\"fds\":null}", 0), "");
	CHECK_STREQ(fault("{" MUST ",\"ratio\":1,\"word\":\"abcd\",\"spec\":{\"x\":[1]},\"code_fd\":0,\"fds\":[2,1],"
			  "\"state\":\"busy\",\"which\":\"two\",\"event\":{\"text\":\"\",\"fd\":3},"
			  "\"pairs\":[{\"a\":0,\"b\":true}],\"warm\":{\"f\":1,\"g\":2}}",
			  4),
		    "");
}

TEST(faults_are_told_with_the_place_of_the_field)
{
	static const struct {
		const char *text, *where;
		size_t n_fds;
	} t[] = {
		{"{}", "flag", 0},
		{"{\"flag\":true}", "count", 0},
		{"{\"flag\":null,\"count\":1}", "flag", 0},
		{"{" MUST ",\"more\":1}", "more", 0},
		{"{\"flag\":1,\"count\":1}", "flag", 0},
		{"{\"flag\":true,\"count\":11}", "count", 0},
		{"{\"flag\":true,\"count\":-6}", "count", 0},
		{"{\"flag\":true,\"count\":1.0}", "count", 0},
		{"{\"flag\":true,\"count\":\"1\"}", "count", 0},
		{"{" MUST ",\"plain\":-1}", "plain", 0},
		{"{" MUST ",\"plain\":9007199254740992}", "plain", 0},
		{"{" MUST ",\"ratio\":\"1\"}", "ratio", 0},
		{"{" MUST ",\"word\":\"abcde\"}", "word", 0},
		{"{" MUST ",\"word\":\"aB\"}", "word", 0},
		{"{" MUST ",\"word\":7}", "word", 0},
		{"{" MUST ",\"spec\":[]}", "spec", 0},
		{"{" MUST ",\"spec\":\"{}\"}", "spec", 0},
		{"{" MUST ",\"state\":\"idl\"}", "state", 0},
		{"{" MUST ",\"state\":0}", "state", 0},
		{"{" MUST ",\"event\":[]}", "event", 0},
		{"{" MUST ",\"event\":{\"text\":1}}", "event.text", 0},
		{"{" MUST ",\"event\":{\"other\":1}}", "event.other", 0},
		{"{" MUST ",\"event\":{\"fd\":0}}", "event.fd", 0},
		{"{" MUST ",\"event\":{\"fd\":0},\"code_fd\":0}", "event.fd", 1},
		{"{" MUST ",\"code_fd\":1}", "code_fd", 1},
		{"{" MUST ",\"code_fd\":-1}", "code_fd", 1},
		{"{" MUST ",\"code_fd\":9223372036854775807}", "code_fd", 253},
		{"{" MUST ",\"code_fd\":true}", "code_fd", 2},
		{"{" MUST ",\"fds\":[0,1,0]}", "fds[2]", 2},
		{"{" MUST ",\"fds\":[0,2]}", "fds[1]", 2},
		{"{" MUST ",\"fds\":[0,null]}", "fds[1]", 2},
		{"{" MUST ",\"fds\":[0,1,2,3]}", "fds", 4},
		{"{" MUST ",\"fds\":1}", "fds", 2},
		{"{" MUST ",\"pairs\":[{\"a\":0,\"b\":true},{\"a\":0}]}", "pairs[1].b", 0},
		{"{" MUST ",\"pairs\":[{\"a\":0,\"b\":true,\"c\":1}]}", "pairs[0].c", 0},
		{"{" MUST ",\"pairs\":{}}", "pairs", 0},
		{"{" MUST ",\"warm\":{\"f\":\"x\"}}", "warm.f", 0},
		{"{" MUST ",\"warm\":{\"f\":1,\"g\":1,\"h\":1}}", "warm", 0},
		{"{" MUST ",\"warm\":[1]}", "warm", 0},
	};

	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		const char *got = fault(t[i].text, t[i].n_fds);

		if (!CHECK_STREQ(got, t[i].where))
			tap_note("  of %s", t[i].text);
	}
}

TEST(a_place_that_is_too_long_is_cut_and_stays_text)
{
	char text[2000] = "{" MUST ",\"event\":{\"";

	memset(text + strlen(text), 'x', 1000);
	(void)snprintf(text + strlen(text), 20, "\":1}}");
	const char *where = fault(text, 0);
	CHECK_EQ(strlen(where), 159);
	CHECK_EQ(strncmp(where, "event.xxx", 9), 0);
}

TEST(a_method_without_fields_takes_an_empty_object_or_none)
{
	AUTO(json_doc_freep) struct json_doc *doc = NULL, *full = NULL;
	struct err e = {0};

	REQUIRE_OK(json_parse("", "{}", 2, 9, &doc, &e), &e);
	REQUIRE_OK(json_parse("", "{\"a\":1}", 7, 9, &full, &e), &e);
	CHECK_OK(wire_check(NULL, json_doc_root(doc), 0, &e), &e);
	CHECK_OK(wire_check(NULL, NULL, 0, &e), &e);
	CHECK(wire_check(NULL, json_doc_root(full), 0, &e) < 0);
	CHECK_STREQ(e.where, "a");
	e = (struct err){0};
	CHECK(wire_check(all_fields, NULL, 0, &e) < 0);
	CHECK_STREQ(e.where, "flag");
}

TEST(fields_are_read_with_defaults_for_what_is_absent_or_null)
{
	static const char text[] = "{\"s\":\"x\",\"n\":7,\"b\":true,\"e\":\"busy\",\"z\":null}";
	AUTO(json_doc_freep) struct json_doc *doc = NULL;
	struct err e = {0};

	REQUIRE_OK(json_parse("", text, sizeof text - 1, 100, &doc, &e), &e);
	const struct json *o = json_doc_root(doc);
	CHECK_STREQ(wire_get_string(o, "s"), "x");
	CHECK(!wire_get_string(o, "z") && !wire_get_string(o, "none") && !wire_get_string(NULL, "s"));
	CHECK_EQ(wire_get_int(o, "n", 1), 7);
	CHECK_EQ(wire_get_int(o, "z", 1), 1);
	CHECK(wire_get_bool(o, "b") && !wire_get_bool(o, "z") && !wire_get_bool(NULL, "b"));
	CHECK_EQ(wire_get_enum(o, "e", &state, -1), 1);
	CHECK_EQ(wire_get_enum(o, "z", &state, -1), -1);
}

/* ---- Calls ---- */

static int parse(const char *text, struct wire_call *c, struct err *e)
{
	*e = (struct err){0};
	return wire_call_parse(text, strlen(text), c, e);
}

TEST(a_call_is_read_with_its_flags)
{
	struct wire_call c;
	struct err e;

	REQUIRE_OK(parse("{\"method\":\"a.b.C\"}", &c, &e), &e);
	CHECK_STREQ(c.method, "a.b.C");
	CHECK_EQ(c.method_len, 5);
	CHECK(!c.params && !c.more && !c.oneway && !c.upgrade);
	wire_call_done(&c);
	REQUIRE_OK(parse("{\"more\":true,\"parameters\":{\"x\":1},\"upgrade\":true,\"oneway\":false,\"method\":\"M\"}",
			 &c, &e),
		   &e);
	CHECK(c.more && c.upgrade && !c.oneway);
	CHECK_EQ(wire_get_int(c.params, "x", 0), 1);
	wire_call_done(&c);
	REQUIRE_OK(parse("{\"method\":\"M\",\"parameters\":null,\"more\":null}", &c, &e), &e);
	CHECK(!c.params && !c.more);
	wire_call_done(&c);
}

TEST(what_is_no_call_is_refused_with_the_member_that_is_wrong)
{
	static const struct {
		const char *text, *where;
		bool oneway;
	} t[] = {
		{"", "", false},
		{"{", "", false},
		{"[]", "", false},
		{"7", "", false},
		{"{\"method\":\"a\\u0000b\"}", "", false},
		{"{\"method\":\"M\",\"method\":\"M\"}", "", false},
		{"{\"method\":\"\xff\"}", "", false},
		{"{\"method\":\"M\",\"parameters\":{\"n\":99999999999999999999}}", "", false},
		{"{}", "method", false},
		{"{\"method\":7}", "method", false},
		{"{\"method\":\"M\",\"parameters\":[]}", "parameters", false},
		{"{\"method\":\"M\",\"oneway\":1}", "oneway", false},
		{"{\"method\":\"M\",\"more\":\"true\"}", "more", false},
		{"{\"method\":\"M\",\"upgrade\":{}}", "upgrade", false},
		{"{\"method\":\"M\",\"id\":1}", "id", false},
		{"{\"method\":\"M\",\"id\":1,\"oneway\":true}", "id", true},
		{"{\"method\":\"M\",\"more\":true,\"oneway\":true}", "oneway", true},
	};
	struct wire_call c;
	struct err e;

	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		CHECK(parse(t[i].text, &c, &e) < 0);
		CHECK_EQ(e.kind, ERR_SPEC);
		if (!CHECK_STREQ(e.where, t[i].where))
			tap_note("  of %s", t[i].text);
		CHECK(!c.doc && c.oneway == t[i].oneway);
	}
}

TEST(a_message_of_too_many_values_is_refused_before_it_becomes_a_tree)
{
	AUTO(buf_done) struct buf b = {0};
	struct wire_call c;
	struct err e = {0};

	buf_puts(&b, "{\"method\":\"M\",\"parameters\":{\"a\":[[]");
	for (int i = 0; i < WIRE_MAX_VALUES; i++)
		buf_puts(&b, ",[]");
	buf_puts(&b, "]}}");
	CHECK(wire_call_parse(b.data, b.len, &c, &e) < 0);
	CHECK_EQ(e.kind, ERR_LIMIT);
	b.len = 0; /* one long text is no such thing */
	buf_puts(&b, "{\"method\":\"M\",\"parameters\":{\"a\":\"");
	for (int i = 0; i < WIRE_MAX_VALUES; i++)
		buf_puts(&b, "text");
	buf_puts(&b, "\"}}");
	e = (struct err){0};
	CHECK_OK(wire_call_parse(b.data, b.len, &c, &e), &e);
	wire_call_done(&c);
}

TEST(what_stands_in_texts_is_no_value)
{
	AUTO(buf_done) struct buf b = {0};
	struct wire_call c;
	struct err e = {0};
	const char *event;
	size_t len;

	buf_puts(&b, "{\"method\":\"M\",\"parameters\":{\"a\":\"");
	for (int i = 0; i < WIRE_MAX_VALUES; i++)
		buf_puts(&b, ",[{:\\\"");
	buf_puts(&b, "\"}}");
	CHECK_OK(wire_call_parse(b.data, b.len, &c, &e), &e);
	event = json_string_get(json_member(c.params, "a"), &len);
	CHECK_EQ(len, 5U * WIRE_MAX_VALUES);
	CHECK_EQ(event[4], '"');
	wire_call_done(&c);
	/* Behind a text, and behind one that ends in a reverse solidus, they count again. */
	b.len = 0;
	buf_puts(&b, "{\"method\":\"M\",\"parameters\":{\"a\":[\"\\\\\"");
	for (int i = 0; i < WIRE_MAX_VALUES; i++)
		buf_puts(&b, ",[]");
	buf_puts(&b, "]}}");
	CHECK(wire_call_parse(b.data, b.len, &c, &e) < 0);
	CHECK_EQ(e.kind, ERR_LIMIT);
}

/* ---- Writing ---- */

TEST(objects_are_written_with_what_they_are_given)
{
	AUTO(buf_done) struct buf b = {0};
	struct wire_obj o, inner;

	wire_obj_begin(&o, &b);
	wire_obj_end(&o);
	CHECK_STREQ(b.data, "{}");
	b.len = 0;
	wire_obj_begin(&o, &b);
	wire_obj_int(&o, "zero", 0);
	wire_obj_int(&o, "small", -17);
	wire_obj_int(&o, "most", INT64_MAX);
	wire_obj_int(&o, "least", INT64_MIN);
	wire_obj_bool(&o, "yes", true);
	wire_obj_bool(&o, "no", false);
	wire_obj_string(&o, "none", NULL);
	wire_obj_string(&o, "s", "a\"b");
	wire_obj_bytes(&o, "bytes", "\0\xff", 2);
	wire_obj_raw(&o, "raw", "[1]", 3);
	wire_obj_key(&o, "in");
	wire_obj_begin(&inner, &b);
	wire_obj_int(&inner, "x", 1);
	wire_obj_end(&inner);
	wire_obj_end(&o);
	CHECK_STREQ(b.data,
		    "{\"zero\":0,\"small\":-17,\"most\":9007199254740991,\"least\":-9007199254740991,\"yes\":true,"
		    "\"no\":false,\"s\":\"a\\\"b\",\"bytes\":\"\\u0000\xef\xbf\xbd\",\"raw\":[1],\"in\":{\"x\":1}}");
}

TEST(messages_end_with_a_nul_and_are_read_again)
{
	AUTO(buf_done) struct buf b = {0};
	struct wire_call c;
	struct err e = {0};

	wire_add_reply(&b, "{\"a\":1}", 7, false);
	CHECK_EQ(b.len, strlen(b.data) + 1);
	CHECK_STREQ(b.data, "{\"parameters\":{\"a\":1}}");
	b.len = 0;
	wire_add_reply(&b, NULL, 0, true);
	CHECK_EQ(b.len, strlen(b.data) + 1);
	CHECK_STREQ(b.data, "{\"parameters\":{},\"continues\":true}");
	b.len = 0;
	wire_add_error(&b, WIRE_EXPECTED_MORE, NULL, 0);
	CHECK_EQ(b.len, strlen(b.data) + 1);
	CHECK_STREQ(b.data, "{\"error\":\"org.varlink.service.ExpectedMore\",\"parameters\":{}}");
	b.len = 0;
	wire_add_call(&b, "a.b.C", "{\"n\":3}", 7, true, false);
	CHECK_EQ(b.len, strlen(b.data) + 1);
	REQUIRE_OK(wire_call_parse(b.data, b.len - 1, &c, &e), &e);
	CHECK_STREQ(c.method, "a.b.C");
	CHECK(c.more && !c.oneway && wire_get_int(c.params, "n", 0) == 3);
	wire_call_done(&c);
}

TEST(members_are_found_by_their_whole_names_only)
{
	CHECK(wire_find_method(&sample, "None", 4) == &methods[1]);
	CHECK(!wire_find_method(&sample, "Non", 3));
	CHECK(!wire_find_method(&sample, "NoneX", 5));
	CHECK(!wire_find_method(&sample, "", 0));
	CHECK(wire_find_error(&sample, "Busy", 4) == &errors[1]);
	CHECK(!wire_find_error(&sample, "All", 3));
}
