/* spec/image: how an unpacked image is started. */
#include "tests/lib/tap.h"

#include "base/mem.h"
#include "base/str.h"
#include "spec/image.h"

static int parse(const char *text, struct arena *a, struct spec_image *ret, struct err *e)
{
	return image_parse("config.json", text, strlen(text), a, ret, e);
}

static void check_list(const char *const *list, const char *joined)
{
	AUTO(buf_done) struct buf b = {0};

	for (; *list; list++)
		buf_printf(&b, "%s|", *list);
	CHECK_STREQ(b.data ? b.data : "", joined);
}

TEST(both_forms_say_what_is_executed_where_and_with_what)
{
	static const struct {
		const char *text, *args, *env, *cwd;
	} cases[] = {
		{"{\"ociVersion\":\"1.2.0\",\"process\":{\"args\":[\"/bin/x\",\"app.handler\"],\"env\":[\"A=1\",\"B=\"],"
		 "\"cwd\":\"/var/task\",\"user\":{\"uid\":0}},\"root\":{\"path\":\"rootfs\"}}",
		 "/bin/x|app.handler|", "A=1|B=|", "/var/task"},
		{"{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"Entrypoint\":[\"/e\",\"-x\"],\"Cmd\":[\"c\"],"
		 "\"Env\":[\"PATH=/bin\"],\"WorkingDir\":\"/w\"},\"rootfs\":{\"type\":\"layers\"}}",
		 "/e|-x|c|", "PATH=/bin|", "/w"},
		{"{\"config\":{\"Cmd\":[\"/only\"]}}", "/only|", "", "/"},
		{"{\"config\":{\"Entrypoint\":[\"/e\"],\"Cmd\":null,\"Env\":null,\"WorkingDir\":\"\"}}", "/e|", "",
		 "/"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct spec_image image;
		struct arena a = {0};
		struct err e = {0};

		if (CHECK_OK(parse(cases[i].text, &a, &image, &e), &e)) {
			check_list(image.args, cases[i].args);
			check_list(image.env, cases[i].env);
			CHECK_STREQ(image.cwd, cases[i].cwd);
		}
		arena_done(&a);
	}
}

TEST(what_is_wrong_is_named_with_its_place)
{
	static const struct {
		const char *text, *place, *message;
	} cases[] = {
		{"[]", "config.json", "an object"},
		{"{}", "config.json", "neither"},
		{"{\"process\":", "config.json:1:", ""},
		{"{\"process\":[]}", "$.process", "expected an object"},
		{"{\"process\":{\"args\":[]}}", "$.process", "what is to be executed (args)"},
		{"{\"config\":{}}", "$.config", "what is to be executed (Entrypoint, Cmd)"},
		{"{\"process\":{\"args\":\"x\"}}", "$.process.args", "expected an array"},
		{"{\"process\":{\"args\":[\"x\",1]}}", "$.process.args[1]", "expected a text"},
		{"{\"process\":{\"args\":[\"x\"],\"env\":[\"A\"]}}", "$.process.env[0]", "KEY=VALUE"},
		{"{\"process\":{\"args\":[\"x\"],\"env\":[\"=A\"]}}", "$.process.env[0]", "KEY=VALUE"},
		{"{\"process\":{\"args\":[\"x\"],\"cwd\":\"rel\"}}", "$.process.cwd", "absolute"},
		{"{\"process\":{\"args\":[\"x\"],\"cwd\":7}}", "$.process.cwd", "expected a text"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct spec_image image;
		struct arena a = {0};
		struct err e = {0};

		CHECK_LT(parse(cases[i].text, &a, &image, &e), 0);
		CHECK_EQ(e.kind, ERR_SPEC);
		CHECK_CONTAINS(e.where, cases[i].place);
		CHECK_CONTAINS(e.msg, cases[i].message);
		arena_done(&a);
	}
}

TEST(too_much_of_anything_is_refused)
{
	static const char *const kinds[] = {"args", "env"};

	for (size_t k = 0; k < ARRAY_LEN(kinds); k++)
		for (size_t big = 0; big <= 1; big++) {
			struct buf b = {0};
			struct spec_image image;
			struct arena a = {0};
			struct err e = {0};
			const size_t n = big ? 40 : 300;

			buf_printf(&b, "{\"process\":{%s\"%s\":[", k ? "\"args\":[\"x\"]," : "", kinds[k]);
			for (size_t i = 0; i < n; i++)
				buf_printf(&b, "%s\"k=%0*d\"", i ? "," : "", big ? 4000 : 1, 0);
			buf_puts(&b, "]}}");
			CHECK_LT(image_parse("c", b.data, b.len, &a, &image, &e), 0);
			CHECK_CONTAINS(e.msg, big ? "together over" : "at most");
			buf_done(&b);
			arena_done(&a);
		}
}
