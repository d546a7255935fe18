#include "tests/lib/tap.h"

#include "json/json.h"

#include <errno.h>

#define MAX ((size_t)1 << 20)

static int parse(const char *text, struct json_doc **ret_doc, struct err *e)
{
	return json_parse("spec.json", text, strlen(text), MAX, ret_doc, e);
}

/* @text is refused with this place and this part of the message. */
static void refused(const char *text, const char *where, const char *msg)
{
	AUTO(json_doc_freep) struct json_doc *doc = NULL;
	struct err e = {0};

	CHECK_LT(parse(text, &doc, &e), 0);
	CHECK(doc == NULL);
	CHECK_EQ(e.kind, ERR_SPEC);
	CHECK_STREQ(e.where, where);
	CHECK_CONTAINS(e.msg, msg);
	CHECK_LACKS(e.msg, "JSON_");
}

TEST(syntax_errors_have_file_line_and_column)
{
	refused("", "spec.json:1:1", "ends too early");
	refused("{\"a\": 1,\n  \"b\" 2}", "spec.json:2:7", "':' expected near 2");
	refused("[1,\n2,\n]", "spec.json:3:1", "near ]");
	refused("{", "spec.json:1:1", "ends too early");
	refused("[1] x", "spec.json:1:5", "end of file expected");
	refused("[01]", "spec.json:1:2", "not JSON");
	refused("[\"a\nb\"]", "spec.json:1:3", "unexpected newline");
	refused("[\"\xff\"]", "spec.json:1:2", "unable to decode byte 0xff");
	refused("\xef\xbb\xbf{}", "spec.json:1:1", "not JSON");
	refused("nul", "spec.json:1:3", "near nul");
}

TEST(duplicate_keys_are_named)
{
	refused("{\"mem\": 1,\n \"mem\": 2}", "spec.json:2:6", "duplicate key \"mem\"");
	refused("[{\"x\": {\"y\": 1, \"y\": 1}}]", "spec.json:1:19", "duplicate key \"y\"");
	refused("{\"a\": 1, \"\\u0061\": 2}", "spec.json:1:17", "duplicate key");
}

TEST(numbers_beyond_64_bits_and_nul_characters_are_refused_in_words)
{
	refused("[99999999999999999999]", "spec.json:1:21", "the number 99999999999999999999 is too large");
	refused("[1e999]", "spec.json:1:6", "too large");
	refused("[\"\\u0000\"]", "spec.json:1:9", "\\u0000");
	refused("{\"\\u0000\": 1}", "spec.json:1:9", "\\u0000");
}

TEST(a_nul_byte_is_refused_wherever_it_stands)
{
	static const char text[] = "[1,\n 2.5 ,\"x\"]";

	/* jansson loses one that stands behind a number */
	for (size_t i = 0; i < sizeof text - 1; i++) {
		AUTO(json_doc_freep) struct json_doc *doc = NULL;
		struct err e = {0};
		char copy[sizeof text];

		memcpy(copy, text, i);
		copy[i] = '\0';
		memcpy(copy + i + 1, text + i, sizeof text - 1 - i);
		CHECK_LT(json_parse("nul", copy, sizeof copy, MAX, &doc, &e), 0);
		CHECK_CONTAINS(e.msg, "a NUL byte");
		CHECK(!json_is_value(copy, sizeof copy));
		if (i == 8)
			CHECK_STREQ(e.where, "nul:2:5");
	}
}

TEST(what_the_file_says_cannot_steer_a_terminal)
{
	AUTO(json_doc_freep) struct json_doc *doc = NULL;
	struct err e = {0};

	CHECK_LT(json_parse("a\x1b[31mb", "{\"a\x1b[0m\": 1}", 13, MAX, &doc, &e), 0);
	CHECK(strchr(e.msg, '\x1b') == NULL);
	CHECK(strchr(e.where, '\x1b') == NULL);
}

TEST(a_long_file_name_leaves_room_for_the_place)
{
	AUTO(json_doc_freep) struct json_doc *doc = NULL;
	struct err e = {0};
	char file[400];

	memset(file, 'd', sizeof file);
	memcpy(file + sizeof file - 11, "/spec.json", 11);
	CHECK_LT(json_parse(file, "[,", 2, MAX, &doc, &e), 0);
	CHECK(str_starts(e.where, "...dd"));
	CHECK_CONTAINS(e.where, "/spec.json:1:2");
}

TEST(too_much_text_is_a_limit)
{
	AUTO(json_doc_freep) struct json_doc *doc = NULL;
	struct err e = {0};

	CHECK_LT(json_parse("spec.json", "[1, 2]", 6, 5, &doc, &e), 0);
	CHECK_EQ(e.kind, ERR_LIMIT);
	CHECK_STREQ(e.where, "spec.json");
	CHECK_CONTAINS(e.msg, "at most 5");
}

/* "[[[ … ]]]" or {"a":{"a": … }} with @depth levels. */
static char *nested(size_t depth, bool object, size_t *ret_len)
{
	struct buf b = {0};

	for (size_t i = 0; i < depth; i++)
		buf_puts(&b, object ? "{\"a\":" : "[");
	buf_puts(&b, "1");
	for (size_t i = 0; i < depth; i++)
		buf_puts(&b, object ? "}" : "]");
	*ret_len = b.len;
	return b.data;
}

TEST(depth_64_is_taken_and_65_is_refused_with_its_place)
{
	for (int object = 0; object < 2; object++) {
		for (size_t depth = 63; depth <= 66; depth++) {
			AUTO(json_doc_freep) struct json_doc *doc = NULL;
			struct err e = {0};
			size_t len;
			AUTO_FREE char *text = nested(depth, object, &len);
			bool good = depth <= JSON_MAX_DEPTH;

			CHECK_EQ(json_parse("d", text, len, MAX, &doc, &e) == 0, good);
			CHECK_EQ(json_is_value(text, len), good);
			if (good)
				continue;
			CHECK_EQ(e.kind, ERR_SPEC);
			CHECK_CONTAINS(e.msg, "64 levels");
			CHECK_STREQ(e.where, object ? "d:1:321" : "d:1:65");
		}
	}
}

TEST(hostile_depth_costs_no_stack)
{
	AUTO(json_doc_freep) struct json_doc *doc = NULL;
	size_t len = (size_t)8 << 20;
	AUTO_FREE char *text = malloc(len);
	struct err e = {0};

	REQUIRE(text);
	memset(text, '[', len);
	CHECK(!json_is_value(text, len));
	CHECK_LT(json_parse("d", text, len, len, &doc, &e), 0);
	CHECK_EQ(e.kind, ERR_SPEC);
	memset(text, '{', len);
	CHECK(!json_is_value(text, len));
}

TEST(brackets_inside_strings_do_not_count_as_depth)
{
	AUTO(json_doc_freep) struct json_doc *doc = NULL;
	AUTO(buf_done) struct buf b = {0};
	struct err e = {0};

	buf_puts(&b, "[\"\\\"");
	for (int i = 0; i < 200; i++)
		buf_puts(&b, "[{");
	buf_puts(&b, "\\\\\", 1]");
	CHECK_OK(json_parse("d", b.data, b.len, MAX, &doc, &e), &e);
	CHECK(json_is_value(b.data, b.len));
}

TEST(values_come_back_as_they_stand)
{
	AUTO(json_doc_freep) struct json_doc *doc = NULL;
	struct err e = {0};
	const struct json *root, *list;
	size_t len = 0;

	REQUIRE_OK(parse("{\"n\": null, \"t\": true, \"f\": false, \"i\": -9223372036854775808, \"r\": 2.5, "
			 "\"s\": \"gr\\u00fc\\u00df\", \"l\": [1, [], {}]}",
			 &doc, &e),
		   &e);
	root = json_doc_root(doc);
	CHECK_STREQ(json_doc_file(doc), "spec.json");
	CHECK_EQ(json_type_of(root), JSON_OBJECT);
	CHECK_EQ(json_length(root), 7U);
	CHECK_EQ(json_type_of(json_member(root, "n")), JSON_NULL);
	CHECK_EQ(json_type_of(json_member(root, "t")), JSON_BOOL);
	CHECK(json_bool_get(json_member(root, "t")));
	CHECK(!json_bool_get(json_member(root, "f")));
	CHECK_EQ(json_type_of(json_member(root, "i")), JSON_INTEGER);
	CHECK_EQ(json_integer_get(json_member(root, "i")), INT64_MIN);
	CHECK_EQ(json_type_of(json_member(root, "r")), JSON_REAL);
	CHECK(json_real_get(json_member(root, "r")) > 2.4 && json_real_get(json_member(root, "r")) < 2.6);
	CHECK_STREQ(json_string_get(json_member(root, "s"), &len), "gr\xc3\xbc\xc3\x9f");
	CHECK_EQ(len, 6U);
	list = json_member(root, "l");
	CHECK_EQ(json_type_of(list), JSON_ARRAY);
	CHECK_EQ(json_length(list), 3U);
	CHECK_EQ(json_integer_get(json_at(list, 0)), 1);
	CHECK_EQ(json_type_of(json_at(list, 2)), JSON_OBJECT);
	CHECK(json_at(list, 3) == NULL);
	CHECK(json_member(root, "absent") == NULL);
}

TEST(every_type_has_its_name)
{
	static const char *const texts[] = {"null", "true", "1", "1.5", "\"x\"", "[]", "{}"};
	static const char *const names[] = {"null",       "true or false",
					    "an integer", "a number with a fraction or exponent",
					    "a string",   "an array",
					    "an object"};

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		AUTO(json_doc_freep) struct json_doc *doc = NULL;
		struct err e = {0};

		REQUIRE_OK(parse(texts[i], &doc, &e), &e);
		CHECK_STREQ(json_type_name(json_type_of(json_doc_root(doc))), names[i]);
	}
}

struct seen {
	char keys[32];
	size_t n;
	const char *stop_at;
};

static int see(const char *key, const struct json *v, void *arg)
{
	struct seen *s = arg;

	CHECK_EQ(json_type_of(v), JSON_INTEGER);
	s->n += (size_t)snprintf(s->keys + s->n, sizeof s->keys - s->n, "%s", key);
	return s->stop_at && strcmp(key, s->stop_at) == 0 ? -7 : 0;
}

/* {"k0":[0,0],"k1":[1,1], … } and at last @last: "k%zu" once more, or another. */
static char *large(size_t n, const char *last, size_t *ret_len)
{
	struct buf b = {0};

	buf_puts(&b, "{");
	for (size_t i = 0; i < n; i++)
		buf_printf(&b, "\"k%zu\":[%zu,%zu],", i, i, i);
	buf_printf(&b, "\"%s\":null}", last);
	*ret_len = b.len;
	return b.data;
}

TEST(large_objects_are_read_and_their_duplicate_keys_found)
{
	for (size_t n = 1; n <= 3000; n = n * 3 - 1 + (n < 4)) {
		AUTO(json_doc_freep) struct json_doc *doc = NULL, *none = NULL;
		struct err e = {0};
		size_t len;
		AUTO_FREE char *good = large(n, "last", &len);

		REQUIRE_OK(json_parse("l", good, len, MAX, &doc, &e), &e);
		CHECK_EQ(json_length(json_doc_root(doc)), n + 1);
		for (size_t i = 0; i < n; i++) {
			char key[24];
			const struct json *v;

			(void)snprintf(key, sizeof key, "k%zu", i);
			v = json_member(json_doc_root(doc), key);
			REQUIRE(v && json_length(v) == 2);
			CHECK_EQ(json_integer_get(json_at(v, 1)), (int64_t)i);
		}

		AUTO_FREE char *bad = large(n, "\\u006b0", &len);

		CHECK_LT(json_parse("l", bad, len, MAX, &none, &e), 0);
		CHECK_CONTAINS(e.msg, "duplicate key");
	}
}

TEST(escapes_become_what_they_mean)
{
	AUTO(json_doc_freep) struct json_doc *doc = NULL;
	struct err e = {0};
	static const char *const bad[] = {"\"\\ud800\"",  "\"\\udc00\"", "\"\\ud800\\u0041\"",
					  "\"\\ud83dx\"", "\"\\x41\"",   "\"\\u12g4\"",
					  "\"\\",         "\"\\u12"};

	REQUIRE_OK(parse("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u00e9\\u20AC\\ud83d\\ude00z\"", &doc, &e), &e);
	CHECK_STREQ(json_string_get(json_doc_root(doc), NULL), "\"\\/\b\f\n\r\tA\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z");
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		AUTO(json_doc_freep) struct json_doc *none = NULL;

		e = (struct err){0};
		CHECK_LT(parse(bad[i], &none, &e), 0);
		CHECK_EQ(e.kind, ERR_SPEC);
	}
}

TEST(members_come_in_the_order_of_the_text)
{
	AUTO(json_doc_freep) struct json_doc *doc = NULL;
	struct seen all = {0}, some = {.stop_at = "m"};
	struct err e = {0};

	REQUIRE_OK(parse("{\"z\": 1, \"a\": 2, \"m\": 3, \"b\": 4}", &doc, &e), &e);
	CHECK_EQ(json_each(json_doc_root(doc), see, &all), 0);
	CHECK_STREQ(all.keys, "zamb");
	CHECK_EQ(json_each(json_doc_root(doc), see, &some), -7);
	CHECK_STREQ(some.keys, "zam");
}

TEST(an_error_of_meaning_has_the_path)
{
	AUTO(json_doc_freep) struct json_doc *doc = NULL;
	struct json_path syscalls = {.key = "syscalls"}, third = {.up = &syscalls, .index = 3};
	struct json_path odd = {.up = &third, .key = "a b"}, empty = {.up = &odd, .key = ""};
	struct err e = {0};

	REQUIRE_OK(parse("{}", &doc, &e), &e);
	CHECK_EQ(json_err(&e, doc, &third, "expected %s", "a horse"), -EINVAL);
	CHECK_EQ(e.kind, ERR_SPEC);
	CHECK_STREQ(e.where, "spec.json: $.syscalls[3]");
	CHECK_STREQ(e.msg, "expected a horse");

	e = (struct err){0};
	(void)json_err(&e, doc, &empty, "x");
	CHECK_STREQ(e.where, "spec.json: $.syscalls[3][\"a b\"][\"\"]");

	e = (struct err){0};
	(void)json_err(&e, doc, NULL, "x\ny");
	CHECK_STREQ(e.where, "spec.json: $");
	CHECK_STREQ(e.msg, "x?y");
}

TEST(a_value_is_any_json_of_rfc_8259)
{
	static const char *const good[] = {
		"0",
		"-0",
		"1e5",
		"1E+5",
		"-1.25e-3",
		"123456789012345678901234567890",
		"1e999",
		"true",
		"false",
		"null",
		" \t\r\n1 \n",
		"\"\"",
		"\"a\\u0000b\"",
		"\"\\ud800\"",
		"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
		"\"gr\xc3\xbc\xc3\x9f\"",
		"[]",
		"{}",
		"[ ]",
		"{ }",
		"[1,[2,{}],{\"a\":[]}]",
		"{\"a\":1,\"a\":2}",
		"{ \"\" : null }",
		"\"\x7f\"",
	};
	static const char *const bad[] = {
		"",
		" ",
		"01",
		"-",
		"+1",
		".5",
		"1.",
		"1e",
		"1e+",
		"0x10",
		"NaN",
		"Infinity",
		"tru",
		"truex",
		"nul",
		"True",
		"\"",
		"\"a",
		"\"\\\"",
		"\"\\x\"",
		"\"\\u12\"",
		"\"\\u12g4\"",
		"\"a\nb\"",
		"\"\x01\"",
		"\"\xff\"",
		"\xef\xbb\xbf{}",
		"[",
		"]",
		"[1",
		"[1,",
		"[1,]",
		"[,1]",
		"[1 2]",
		"[1]]",
		"[1}",
		"{",
		"{\"a\"",
		"{\"a\":",
		"{\"a\":1",
		"{\"a\":1,",
		"{\"a\":1,}",
		"{,}",
		"{a:1}",
		"{\"a\" 1}",
		"{\"a\":1]",
		"{1:2}",
		"1 2",
		"[] []",
		"\"a\" \"b\"",
		"'a'",
		"//x\n1",
	};

	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		if (!CHECK(json_is_value(good[i], strlen(good[i]))))
			tap_note("  %s", good[i]);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (!CHECK(!json_is_value(bad[i], strlen(bad[i]))))
			tap_note("  %s", bad[i]);
	CHECK(!json_is_value("1\0", 2));
	CHECK(!json_is_value("\"\\\0\"", 4));
}

/* Every cut of a text is read from memory that ends there: under ASan a byte too far is seen. */
TEST(no_byte_behind_the_text_is_read)
{
	static const char text[] = "{\"k\\u00e9y\": [true, -1.5e+3, null, \"\xc3\xa9\\n\", false, {}]}";

	for (size_t n = 0; n < sizeof text; n++) {
		AUTO(json_doc_freep) struct json_doc *doc = NULL;
		struct err e = {0};
		AUTO_FREE char *cut = malloc(n ? n : 1);

		REQUIRE(cut);
		memcpy(cut, text, n);
		CHECK_EQ(json_is_value(cut, n), n == sizeof text - 1);
		CHECK_EQ(json_parse("cut", cut, n, MAX, &doc, &e) == 0, n == sizeof text - 1);
	}
}

TEST(a_value_is_written_compactly)
{
	AUTO(json_doc_freep) struct json_doc *doc = NULL;
	AUTO(buf_done) struct buf b = {0};
	struct err e = {0};

	REQUIRE_OK(parse("{ \"b\" : [ 1 , 2.5, \"x\\ny\" ], \"a\" : { } }", &doc, &e), &e);
	json_dump_to(&b, json_doc_root(doc));
	CHECK(!b.failed);
	CHECK_STREQ(b.data, "{\"b\":[1,2.5,\"x\\ny\"],\"a\":{}}");
	json_dump_to(&b, json_at(json_member(json_doc_root(doc), "b"), 0));
	CHECK_STREQ(b.data, "{\"b\":[1,2.5,\"x\\ny\"],\"a\":{}}1");
}

TEST(strings_are_escaped_and_bad_utf8_is_replaced)
{
	static const struct {
		const char *in;
		size_t len;
		const char *out;
	} cases[] = {
		{"", 0, "\"\""},
		{"plain", 5, "\"plain\""},
		{"a\"b\\c/", 6, "\"a\\\"b\\\\c/\""},
		{"\b\f\n\r\t\x01\x1f\x7f", 8, "\"\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\""},
		{"a\0b", 3, "\"a\\u0000b\""},
		{"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9, "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\""},
		{"x\xffy", 3, "\"x\xef\xbf\xbdy\""},
		{"\xc3", 1, "\"\xef\xbf\xbd\""},
		{"\xc0\xaf", 2, "\"\xef\xbf\xbd\xef\xbf\xbd\""},
		{"\xed\xa0\x80", 3, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
		{"\xe2\x82", 2, "\"\xef\xbf\xbd\xef\xbf\xbd\""},
		{"\xe2\x82\xc3\xa9", 4, "\"\xef\xbf\xbd\xef\xbf\xbd\xc3\xa9\""},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		AUTO(buf_done) struct buf b = {0};

		json_add_string(&b, cases[i].in, cases[i].len);
		CHECK_STREQ(b.data, cases[i].out);
		CHECK(json_is_value(b.data, b.len));
	}
}

/* All pairs of bytes: what is written is JSON, and what was UTF-8 comes back. */
TEST(what_is_special_is_found_wherever_it_stands_in_a_long_string)
{
	static const char special[] = "\"\\\n\x1f\x80\xff";
	char text[80], quoted[90];

	for (size_t len = 1; len < sizeof text; len++) {
		for (size_t at = 0; at < len; at++) {
			AUTO(json_doc_freep) struct json_doc *doc = NULL, *none = NULL;
			AUTO(buf_done) struct buf b = {0};
			struct err e = {0};
			const char c = special[(at + len) % (sizeof special - 1)];

			memset(text, 'a', len);
			text[at] = c;
			json_add_string(&b, text, len);
			REQUIRE(!b.failed && b.len > len + 2);
			REQUIRE_OK(json_parse("s", b.data, b.len, MAX, &doc, &e), &e);
			if ((unsigned char)c < 0x80)
				CHECK(memcmp(json_string_get(json_doc_root(doc), NULL), text, len) == 0);
			(void)snprintf(quoted, sizeof quoted, "\"%.*s\"", (int)len, text);
			CHECK_LT(json_parse("s", quoted, len + 2, MAX, &none, &e), 0);
		}
	}
}

TEST(whatever_is_written_is_json)
{
	for (unsigned i = 0; i < 65536; i++) {
		AUTO(buf_done) struct buf b = {0};
		AUTO(json_doc_freep) struct json_doc *doc = NULL;
		struct err e = {0};
		char in[2] = {(char)(i >> 8), (char)i};
		size_t len = 0;

		json_add_string(&b, in, sizeof in);
		if (!CHECK(json_is_value(b.data, b.len)))
			return;
		if (!str_is_utf8(in, 2) || !in[0] || !in[1] || i % 7)
			continue;
		REQUIRE_OK(json_parse("pair", b.data, b.len, MAX, &doc, &e), &e);
		const char *back = json_string_get(json_doc_root(doc), &len);
		CHECK(len == 2 && memcmp(back, in, 2) == 0);
	}
}
