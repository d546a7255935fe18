/* spec/code: what a target is. */
#include "tests/lib/tap.h"

#include "base/mem.h"
#include "spec/code.h"

#include <elf.h>
#include <errno.h>

#if defined(__x86_64__)
enum { OURS = EM_X86_64 };
#else
enum { OURS = EM_AARCH64 };
#endif

enum kind { TEXT, SCRIPT, OBJECT, PROGRAM, PIE, EMPTY };

struct image {
	unsigned char bytes[sizeof(Elf64_Ehdr) + 2 * sizeof(Elf64_Phdr)];
	size_t len;
};

static struct image make(enum kind kind)
{
	Elf64_Ehdr h = {.e_type = kind == PROGRAM ? ET_EXEC : ET_DYN,
			.e_machine = OURS,
			.e_phoff = sizeof h,
			.e_phnum = 2,
			.e_phentsize = sizeof(Elf64_Phdr)};
	Elf64_Phdr ph[2] = {{.p_type = PT_LOAD}, {.p_type = kind == PIE ? PT_INTERP : PT_DYNAMIC}};
	struct image i = {.len = sizeof i.bytes};

	if (kind == TEXT || kind == SCRIPT || kind == EMPTY) {
		i.len = kind == EMPTY ? 0 : 10;
		memcpy(i.bytes, kind == SCRIPT ? "#!/bin/sh\n" : "import re\n", 10);
		return i;
	}
	memcpy(h.e_ident, ELFMAG, SELFMAG);
	h.e_ident[EI_CLASS] = ELFCLASS64;
	h.e_ident[EI_DATA] = ELFDATA2LSB;
	memcpy(i.bytes, &h, sizeof h);
	memcpy(i.bytes + sizeof h, ph, sizeof ph);
	return i;
}

struct asked {
	const char *target;
	enum kind kind;
	bool executable, dir, bootstrap;
	enum spec_runtime runtime;
	const char *handler;
};

static int look(const struct asked *a, struct cell_spec *s, struct spec_code *ret, struct err *e)
{
	struct image image = make(a->kind);
	unsigned char *exact = malloc(image.len ? image.len : 1); /* not a byte beyond is looked at */
	struct code_look l = {
		.dir = a->dir,
		.executable = a->executable,
		.head = exact,
		.len = a->dir ? 0 : image.len,
		.has_bootstrap = a->bootstrap,
	};
	int r;

	if (!exact)
		abort();
	memcpy(exact, image.bytes, image.len);
	spec_init(s);
	s->target = a->target;
	s->runtime = a->runtime;
	s->handler = a->handler;
	r = code_of(s, &l, ret, e);
	free(exact);
	return r;
}

TEST(a_target_tells_by_its_name_and_first_bytes_who_takes_it)
{
	static const struct {
		struct asked asked;
		enum spec_runtime runtime;
		const char *handler;
	} cases[] = {
		{{"x/handler.so", OBJECT}, SPEC_RUNTIME_NATIVE, "handler.so"},
		{{"handler.so", OBJECT, true}, SPEC_RUNTIME_NATIVE, "handler.so"},
		{{"handler", OBJECT, true}, SPEC_RUNTIME_NATIVE, "handler"}, /* linkers set the x bit */
		{{"app.py", TEXT}, SPEC_RUNTIME_PYTHON, "app.handler"},
		{{"dir.d/my-app.py", SCRIPT, true}, SPEC_RUNTIME_PYTHON, "my-app.handler"},
		{{"app.py", EMPTY}, SPEC_RUNTIME_PYTHON, "app.handler"},
		{{"app.mjs", TEXT}, SPEC_RUNTIME_NODE, "app.handler"},
		{{"app.js", TEXT}, SPEC_RUNTIME_NODE, "app.handler"},
		{{"a.b.cjs", TEXT}, SPEC_RUNTIME_NODE, "a.b.handler"},
		{{"./bootstrap", SCRIPT, true}, SPEC_RUNTIME_CUSTOM, ""},
		{{"server", PROGRAM, true}, SPEC_RUNTIME_CUSTOM, ""},
		{{"server", PIE, true}, SPEC_RUNTIME_CUSTOM, ""},
		{{"run.sh", SCRIPT, true}, SPEC_RUNTIME_CUSTOM, ""},
		{{"server", OBJECT, true, .runtime = SPEC_RUNTIME_CUSTOM, .handler = "any"},
		 SPEC_RUNTIME_CUSTOM,
		 "any"}, /* a static executable that relocates itself looks like a shared object */
		{{"app.py", TEXT, .handler = "app.main"}, SPEC_RUNTIME_PYTHON, "app.main"},
		{{"odd.txt", TEXT, .runtime = SPEC_RUNTIME_PYTHON}, SPEC_RUNTIME_PYTHON, "odd.handler"},
		{{"dir/", .dir = true, .bootstrap = true}, SPEC_RUNTIME_CUSTOM, ""},
		{{".", .dir = true, .runtime = SPEC_RUNTIME_PYTHON, .handler = "a/b.main"},
		 SPEC_RUNTIME_PYTHON,
		 "a/b.main"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct cell_spec s;
		struct spec_code c = {0};
		struct err e = {0};

		if (CHECK_OK(look(&cases[i].asked, &s, &c, &e), &e)) {
			CHECK_STREQ(spec_runtime_name(c.runtime), spec_runtime_name(cases[i].runtime));
			CHECK_STREQ(c.handler, cases[i].handler);
			CHECK_EQ(c.dir, cases[i].asked.dir);
			CHECK(!c.interpreter);
		}
		spec_done(&s);
	}
}

TEST(what_cannot_be_run_is_refused_by_name_and_options_that_do_not_fit_apart_from_that)
{
	static const struct {
		struct asked asked;
		int code;
		const char *message;
	} cases[] = {
		{{"handler.so", TEXT}, ENOEXEC, "not an ELF"},
		{{"handler", SCRIPT}, ENOEXEC, "a script, not a shared object"},
		{{"bootstrap", SCRIPT}, ENOEXEC, "'bootstrap' is not executable"},
		{{"bootstrap", EMPTY, true}, ENOEXEC, "'bootstrap' is empty"},
		{{"a.b.py", TEXT}, ENOEXEC, "no dot"},
		{{"dir", .dir = true}, ENOEXEC, "no executable 'bootstrap'"},
		{{"dir", .dir = true, .runtime = SPEC_RUNTIME_NATIVE}, 0, "a directory"},
		{{"dir", .dir = true, .runtime = SPEC_RUNTIME_NODE}, 0, "needs a handler"},
		{{"dir", .dir = true, .runtime = SPEC_RUNTIME_NODE, .handler = "x"}, 0, "FILE.FUNCTION"},
		{{"dir", .dir = true, .runtime = SPEC_RUNTIME_NODE, .handler = ".x"}, 0, "FILE.FUNCTION"},
		{{"dir", .dir = true, .runtime = SPEC_RUNTIME_NODE, .handler = "x."}, 0, "FILE.FUNCTION"},
		{{"app.py", TEXT, .handler = "other.main"}, 0, "only module is 'app'"},
		{{"app.py", TEXT, .handler = "app."}, 0, "only module is 'app'"},
		{{"app.py", TEXT, .handler = "app"}, 0, "only module is 'app'"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct cell_spec s;
		struct spec_code c = {0};
		struct err e = {0};

		CHECK_LT(look(&cases[i].asked, &s, &c, &e), 0);
		CHECK_EQ(e.kind, ERR_SPEC);
		CHECK_EQ(e.code, cases[i].code);
		CHECK_CONTAINS(e.msg, cases[i].message);
		spec_done(&s);
	}
}

TEST(a_program_header_table_that_lies_outside_is_no_loader)
{
	struct image image = make(PIE);
	const Elf64_Off places[] = {0, sizeof image.bytes, sizeof image.bytes + 1, UINT64_MAX, UINT64_MAX - 8};

	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		unsigned char *exact = malloc(image.len);
		struct code_look l = {.executable = true, .head = exact, .len = image.len};
		struct spec_code c = {0};
		struct cell_spec s;
		struct err e = {0};
		Elf64_Ehdr h;

		if (!exact)
			abort();
		spec_init(&s);
		s.target = "server";
		memcpy(&h, image.bytes, sizeof h);
		h.e_phoff = places[i];
		h.e_phnum = UINT16_MAX;
		memcpy(exact, image.bytes, image.len);
		memcpy(exact, &h, sizeof h);
		CHECK_OK(code_of(&s, &l, &c, &e), &e);
		CHECK_EQ(c.runtime, SPEC_RUNTIME_NATIVE);
		free(exact);
		spec_done(&s);
	}
}

TEST(a_custom_runtime_needs_loopback)
{
	struct cell_spec s;
	struct spec_code c = {0};
	struct err e = {0};
	const struct code_look l = {.dir = true, .has_bootstrap = true};

	spec_init(&s);
	s.target = "dir";
	s.net = SPEC_NET_NONE;
	CHECK_LT(code_of(&s, &l, &c, &e), 0);
	CHECK_CONTAINS(e.msg, "--net none");
	CHECK_CONTAINS(e.hint, "loopback");
	spec_done(&s);
}

TEST(the_name_of_a_function_comes_from_the_last_part_of_its_path)
{
	static const char *const cases[][2] = {
		{"x/app.py", "app"}, {"dir/", "dir"},        {"dir//", "dir"},  {"/a/b.c/", "b"},
		{".", "function"},   {"../", "function"},    {"/", "function"}, {"..", "function"},
		{"pkg.zip", "pkg"},  {".hidden", "-hidden"}, {"a b.so", "a-b"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct cell_spec s;
		char buf[SPEC_MAX_NAME + 1];

		spec_init(&s);
		s.target = cases[i][0];
		CHECK_STREQ(spec_function_name(&s, buf), cases[i][1]);
		spec_done(&s);
	}
}
