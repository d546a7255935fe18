/* spec/: from options, JSON and variables to a cell_spec. Cases as data stand in tests/spec/: valid/NAME/{cell.json,spec},
 * invalid/NAME/{cell.json,error}; "error" is the whole message as `fsbox run` prints it, FILE being "cell.json". */
#include "tests/lib/tap.h"

#include "base/fd.h"
#include "base/str.h"
#include "spec/spec.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>

static const struct opt_table *const tables[] = {&spec_opts};

/* One option as the command line gives it. */
static int set(struct cell_spec *s, const char *name, const char *value, struct err *e)
{
	const struct opt *o = opt_find(tables, 1, name, strlen(name));

	if (!CHECK(o))
		return -ENOENT;
	return o->set(s, o, value, e);
}

static void refused(const char *name, const char *value, const char *part)
{
	AUTO(spec_done) struct cell_spec s;
	struct err e = {0};

	spec_init(&s);
	if (!CHECK_LT(set(&s, name, value, &e), 0))
		tap_note("--%s '%s'", name, value);
	CHECK_EQ(e.kind, ERR_SPEC);
	CHECK_CONTAINS(e.msg, name);
	CHECK_CONTAINS(e.msg, part);
}

TEST(the_defaults_are_those_of_the_manual)
{
	AUTO(spec_done) struct cell_spec s;

	spec_init(&s);
	CHECK_EQ(s.memory_bytes, 128 << 20);
	CHECK_EQ(s.timeout_ns, 3000000000);
	CHECK_EQ(s.tmp_bytes, 512 << 20);
	CHECK_EQ(s.pids, 1024);
	CHECK_STREQ(s.policy, "default");
	CHECK_EQ(s.net, SPEC_NET_LOOPBACK);
	CHECK(!s.no_limits && !s.no_init_boost && !s.target && !s.rootfs && s.n_env == 0 && s.n_layers == 0);
}

TEST(options_become_bytes_and_nanoseconds)
{
	AUTO(spec_done) struct cell_spec s;
	struct err e = {0};

	spec_init(&s);
	CHECK_OK(set(&s, "mem", "16", &e), &e);
	CHECK_EQ(s.memory_bytes, 16 << 20);
	CHECK_OK(set(&s, "timeout", "0.001", &e), &e);
	CHECK_EQ(s.timeout_ns, 1000000);
	CHECK_OK(set(&s, "timeout", "900", &e), &e);
	CHECK_EQ(s.timeout_ns, 900000000000);
	CHECK_OK(set(&s, "tmp", "10240", &e), &e);
	CHECK_EQ(s.tmp_bytes, UINT64_C(10240) << 20);
	CHECK_OK(set(&s, "pids", "4", &e), &e);
	CHECK_EQ(s.pids, 4);
	CHECK_OK(set(&s, "net", "none", &e), &e);
	CHECK_EQ(s.net, SPEC_NET_NONE);
	CHECK_OK(set(&s, "net", "host", &e), &e);
	CHECK_EQ(s.net, SPEC_NET_HOST);
	CHECK_OK(set(&s, "policy", "strict", &e), &e);
	CHECK_STREQ(s.policy, "strict");
	CHECK_OK(set(&s, "no-init-boost", NULL, &e), &e);
	CHECK(s.no_init_boost);
}

TEST(values_out_of_range_are_refused_by_name)
{
	static const char *const mem[] = {"0", "15", "-1", "", "64M", "1.5", "18446744073709551615"};
	static const char *const timeout[] = {"0", "0.0009", "900.000000001", "901", "-1", "", "x"};

	for (size_t i = 0; i < ARRAY_LEN(mem); i++)
		refused("mem", mem[i], mem[i]);
	for (size_t i = 0; i < ARRAY_LEN(timeout); i++)
		refused("timeout", timeout[i], "900");
	refused("tmp", "0", "10240");
	refused("tmp", "10241", "10240");
	refused("pids", "3", "4");
	refused("pids", "4194305", "4194304");
	refused("net", "Loopback", "none, loopback or host");
	refused("net", "", "none, loopback or host");
	refused("policy", "", "empty");
	refused("rootfs", "", "empty");
	refused("tmp-dir", "", "empty");
	refused("cgroup-parent", "", "empty");
	refused("layer", "", "empty");
	refused("name", "", "a-z");
	refused("name", "a.b", "a-z");
	refused("name", "0123456789012345678901234567890123456789012345678901234567890123x", "64");
}

TEST(five_layers_are_taken_in_their_order_and_the_sixth_is_named)
{
	static const char *const dirs[] = {"/a", "/b", "/c", "/d", "/e"};
	AUTO(spec_done) struct cell_spec s;
	struct err e = {0};

	spec_init(&s);
	for (size_t i = 0; i < ARRAY_LEN(dirs); i++)
		CHECK_OK(set(&s, "layer", dirs[i], &e), &e);
	CHECK_EQ(s.n_layers, 5);
	CHECK_STREQ(s.layers[4], "/e");
	CHECK_LT(set(&s, "layer", "/f", &e), 0);
	CHECK_CONTAINS(e.msg, "/f");
	CHECK_CONTAINS(e.msg, "at most 5");
	CHECK_EQ(s.n_layers, 5);
}

/* ---- variables ---- */

TEST(variables_are_named_as_shells_name_them)
{
	static const char *const bad[] = {"", "A", "=x", "A B=x", "1A=x", "A-B=x", "\xc3\xa4=x", "A.B=1"};
	AUTO(spec_done) struct cell_spec s;
	struct err e = {0};

	spec_init(&s);
	CHECK_OK(set(&s, "env", "A=", &e), &e);
	CHECK_OK(set(&s, "env", "_a1=x=y z\n", &e), &e);
	CHECK_EQ(s.n_env, 2);
	CHECK_STREQ(s.env[1], "_a1=x=y z\n");
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		refused("env", bad[i], "");
	CHECK_EQ(s.n_env, 2);
}

TEST(what_the_cell_sets_itself_cannot_be_set)
{
	static const char *const reserved[] = {"_HANDLER=x", "AWS_LAMBDA_FUNCTION_NAME=x",
					       "LAMBDA_TASK_ROOT=", "AWS_LAMBDA_RUNTIME_API=x", "_X_AMZN_TRACE_ID=x"};
	AUTO(spec_done) struct cell_spec s;
	struct err e = {0};

	for (size_t i = 0; i < ARRAY_LEN(reserved); i++)
		refused("env", reserved[i], "set by the cell itself");
	spec_init(&s); /* names that only begin like them, and those that Lambda leaves to the user */
	CHECK_OK(set(&s, "env", "_HANDLER2=x", &e), &e);
	CHECK_OK(set(&s, "env", "PATH=/x", &e), &e);
	CHECK_OK(set(&s, "env", "AWS_REGION=x", &e), &e);
}

TEST(a_variable_given_again_replaces_the_first)
{
	AUTO(spec_done) struct cell_spec s;
	struct err e = {0};

	spec_init(&s);
	CHECK_OK(set(&s, "env", "A=1", &e), &e);
	CHECK_OK(set(&s, "env", "AB=2", &e), &e);
	CHECK_OK(set(&s, "env", "A=3", &e), &e);
	CHECK_EQ(s.n_env, 2);
	CHECK_STREQ(s.env[0], "A=3");
}

static char *long_pair(const char *name, size_t total)
{
	char *p = malloc(total + 1);

	if (!p)
		abort();
	(void)snprintf(p, total + 1, "%s=", name);
	memset(p + strlen(p), 'v', total - strlen(p));
	p[total] = '\0';
	return p;
}

TEST(variables_together_have_4096_bytes)
{
	AUTO(spec_done) struct cell_spec s;
	AUTO_FREE char *half = long_pair("A", 2000), *rest = long_pair("B", 2000), *more = long_pair("C", 200);
	struct err e = {0};

	spec_init(&s);
	CHECK_OK(set(&s, "env", half, &e), &e);
	CHECK_OK(set(&s, "env", rest, &e), &e);
	CHECK_LT(set(&s, "env", more, &e), 0);
	CHECK_CONTAINS(e.msg, "4096");
	CHECK_EQ(s.n_env, 2);
}

TEST(a_variable_given_again_is_counted_again)
{
	AUTO(spec_done) struct cell_spec s;
	AUTO_FREE char *huge = long_pair("A", 60000), *fits = long_pair("A", 4000);
	struct err e = {0};

	spec_init(&s);
	CHECK_OK(set(&s, "env", "A=1", &e), &e);
	CHECK_OK(set(&s, "env", fits, &e), &e);
	CHECK_LT(set(&s, "env", huge, &e), 0);
	CHECK(s.n_env == 1 && strlen(s.env[0]) == 4000);
}

static int env_file(struct cell_spec *s, const char *text, size_t len, struct err *e)
{
	char *exact = malloc(len ? len : 1); /* nothing beyond it may be read */
	int r;

	if (!exact)
		abort();
	memcpy(exact, text, len);
	r = spec_add_env_file(s, "f.env", exact, len, e);
	free(exact);
	return r;
}

#define ENV_FILE(s, text, e) env_file(s, text, sizeof text - 1, e)

TEST(an_env_file_has_lines_comments_and_either_end_of_line)
{
	AUTO(spec_done) struct cell_spec s;
	struct err e = {0};

	spec_init(&s);
	CHECK_OK(ENV_FILE(&s, "A=1\r\n\n# B=2\n\r\nC=x # y\nDD=\nE=last", &e), &e);
	CHECK_EQ(s.n_env, 4);
	CHECK_STREQ(s.env[0], "A=1");
	CHECK_STREQ(s.env[1], "C=x # y");
	CHECK_STREQ(s.env[2], "DD=");
	CHECK_STREQ(s.env[3], "E=last");
	CHECK_OK(ENV_FILE(&s, "", &e), &e);
	CHECK_OK(ENV_FILE(&s, "\n\n", &e), &e);
	CHECK_EQ(s.n_env, 4);
}

TEST(a_bad_line_of_an_env_file_is_named_with_its_number)
{
	static const struct {
		const char *text;
		size_t len;
		const char *where;
	} cases[] = {{"A=1\n\nB\n", 7, "f.env:3"},
		     {"A=1\nB=\0x\n", 9, "f.env:2"},
		     {"=x", 2, "f.env:1"},
		     {"#\n_HANDLER=x", 13, "f.env:2"},
		     {"\0", 1, "f.env:1"}};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		AUTO(spec_done) struct cell_spec s;
		struct err e = {0};

		spec_init(&s);
		CHECK_LT(env_file(&s, cases[i].text, cases[i].len, &e), 0);
		CHECK_EQ(e.kind, ERR_SPEC);
		CHECK_CONTAINS(e.msg, cases[i].where);
	}
}

/* ---- rules between fields ---- */

TEST(a_target_is_needed_and_memory_has_to_be_there)
{
	AUTO(spec_done) struct cell_spec s;
	struct err none = {0}, much = {0}, both = {0}, e = {0};

	spec_init(&s);
	CHECK_LT(spec_check(&s, UINT64_MAX, &none), 0);
	CHECK_CONTAINS(none.msg, "TARGET");
	CHECK(none.hint[0]);
	s.target = "x.so";
	CHECK_OK(spec_check(&s, UINT64_MAX, &e), &e);
	CHECK_OK(spec_check(&s, s.memory_bytes, &e), &e);
	CHECK_LT(spec_check(&s, s.memory_bytes - 1, &much), 0);
	CHECK_CONTAINS(much.msg, "128 MB");
	CHECK_CONTAINS(much.msg, "127 MB");
	s.no_limits = true;
	s.cgroup_parent = "/x";
	CHECK_LT(spec_check(&s, UINT64_MAX, &both), 0);
	CHECK_CONTAINS(both.msg, "--cgroup-parent");
}

TEST(the_functions_name_comes_from_the_target)
{
	static const struct {
		const char *target, *name;
	} cases[] = {{"handler.so", "handler"}, {"/a/b/my-fun_1.so", "my-fun_1"},
		     {"a.b.so", "a-b"},         {"x", "x"},
		     {"dir.d/x", "x"},          {".so", "-so"},
		     {"/a/\xc3\xa4.so", "--"},  {"sp ace.so", "sp-ace"}};
	AUTO(spec_done) struct cell_spec s;
	char buf[SPEC_MAX_NAME + 1], longer[200];

	spec_init(&s);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		s.target = cases[i].target;
		CHECK_STREQ(spec_function_name(&s, buf), cases[i].name);
	}
	memset(longer, 'x', sizeof longer);
	memcpy(longer + sizeof longer - 4, ".so", 4);
	s.target = longer;
	CHECK_EQ(strlen(spec_function_name(&s, buf)), SPEC_MAX_NAME);
	s.name = "given";
	CHECK_STREQ(spec_function_name(&s, buf), "given");
}

/* ---- ELF ---- */

#ifdef __x86_64__
enum { OURS = EM_X86_64, FOREIGN = EM_AARCH64 };
#else
enum { OURS = EM_AARCH64, FOREIGN = EM_X86_64 };
#endif

static Elf64_Ehdr shared_object(void)
{
	Elf64_Ehdr h = {.e_type = ET_DYN, .e_machine = OURS};

	memcpy(h.e_ident, ELFMAG, SELFMAG);
	h.e_ident[EI_CLASS] = ELFCLASS64;
	h.e_ident[EI_DATA] = ELFDATA2LSB;
	return h;
}

static void elf_refused(const void *head, size_t len, const char *part)
{
	unsigned char *exact = malloc(len ? len : 1);
	struct err e = {0};

	if (!exact)
		abort();
	memcpy(exact, head, len);
	CHECK_LT(spec_check_elf("f.so", exact, len, &e), 0);
	CHECK_EQ(e.kind, ERR_SPEC);
	CHECK_CONTAINS(e.msg, "'f.so'");
	CHECK_CONTAINS(e.msg, part);
	CHECK(e.hint[0]);
	free(exact);
}

TEST(a_shared_object_of_this_machine_is_taken)
{
	const Elf64_Ehdr h = shared_object();
	struct err e = {0};

	CHECK_OK(spec_check_elf("f.so", (const unsigned char *)&h, sizeof h, &e), &e);
}

TEST(anything_else_is_told_what_it_is)
{
	Elf64_Ehdr h = shared_object();

	elf_refused("", 0, "empty");
	elf_refused("#", 1, "not an ELF");
	elf_refused("#!", 2, "script");
	elf_refused("text", 4, "not an ELF");
	elf_refused(&h, 3, "not an ELF");
	for (size_t n = SELFMAG; n < sizeof h; n++)
		elf_refused(&h, n, "truncated");
	h.e_machine = FOREIGN;
	elf_refused(&h, sizeof h, "is built for");
	h.e_machine = 12345;
	elf_refused(&h, sizeof h, "machine 12345");
	h = shared_object();
	h.e_ident[EI_DATA] = ELFDATA2MSB;
	elf_refused(&h, sizeof h, "big-endian");
	h = shared_object();
	h.e_ident[EI_CLASS] = ELFCLASS32;
	elf_refused(&h, sizeof h, "is built for");
	h = shared_object();
	for (unsigned type = 0; type < 8; type++)
		if (type != ET_DYN) {
			h.e_type = (Elf64_Half)type;
			elf_refused(&h, sizeof h, "not a shared object");
		}
}

/* ---- cases as data ---- */

static char *file(const char *dir, const char *name, size_t *ret_len)
{
	char path[512], *text = NULL;
	AUTO_FD int fd = FD_NONE;

	(void)snprintf(path, sizeof path, "%s/%s", dir, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (!CHECK(fd >= 0 && fd_read_all(fd, 1 << 21, &text, ret_len) == 0))
		tap_note("%s", path);
	return text;
}

/* What a spec says, one field a line, only what differs from the defaults. */
static void describe(const struct cell_spec *s, struct buf *b)
{
	buf_printf(b, "target %s\n", s->target ? s->target : "-");
	buf_printf(b, "mem %llu\ntimeout %llu\n", (unsigned long long)s->memory_bytes,
		   (unsigned long long)s->timeout_ns);
	buf_printf(b, "tmp %llu\npids %u\nnet %s\npolicy %s\n", (unsigned long long)s->tmp_bytes, s->pids,
		   spec_net_name(s->net), s->policy);
	if (s->name)
		buf_printf(b, "name %s\n", s->name);
	if (s->rootfs)
		buf_printf(b, "rootfs %s\n", s->rootfs);
	if (s->tmp_dir)
		buf_printf(b, "tmp-dir %s\n", s->tmp_dir);
	if (s->cgroup_parent)
		buf_printf(b, "cgroup-parent %s\n", s->cgroup_parent);
	for (size_t i = 0; i < s->n_layers; i++)
		buf_printf(b, "layer %s\n", s->layers[i]);
	for (size_t i = 0; i < s->n_env; i++)
		buf_printf(b, "env %s\n", s->env[i]);
	if (s->no_limits)
		buf_puts(b, "no-limits\n");
	if (s->no_init_boost)
		buf_puts(b, "no-init-boost\n");
}

static void run_case(const char *dir, bool valid)
{
	AUTO(spec_done) struct cell_spec s;
	AUTO(buf_done) struct buf got = {0};
	size_t len = 0, wanted_len = 0;
	AUTO_FREE char *json = file(dir, "cell.json", &len);
	AUTO_FREE char *wanted = file(dir, valid ? "spec" : "error", &wanted_len);
	struct err e = {0};

	spec_init(&s);
	if (!json || !wanted)
		return;

	int r = spec_read("cell.json", json, len, tables, 1, &s, &s.arena, &s.target, &e);
	if (valid != (r == 0)) {
		(void)CHECK_EQ(r, valid ? 0 : -EINVAL);
		tap_note("%s: %s: %s", dir, e.where, e.msg);
		return;
	}
	if (valid) {
		describe(&s, &got);
	} else {
		CHECK_EQ(e.kind, ERR_SPEC);
		buf_printf(&got, "%s%s%s\n", e.where, e.where[0] ? ": " : "", e.msg);
	}
	if (!CHECK_STREQ(got.data, wanted))
		tap_note("%s", dir);
}

static size_t run_cases(const char *set_dir, bool valid)
{
	const char *src = secure_getenv("FSBOX_SRC");
	struct dirent **names = NULL;
	char path[400];
	size_t ran = 0;

	(void)snprintf(path, sizeof path, "%s/tests/spec/%s", src ? src : ".", set_dir);
	int n = scandir(path, &names, NULL, alphasort);
	for (int i = 0; i < n; i++) {
		char dir[700];

		(void)snprintf(dir, sizeof dir, "%s/%s", path, names[i]->d_name);
		if (names[i]->d_name[0] != '.') {
			run_case(dir, valid);
			ran++;
		}
		free(names[i]);
	}
	free(names);
	return ran;
}

TEST(valid_spec_files_are_read_as_their_cases_say)
{
	CHECK_GE(run_cases("valid", true), 4);
}

TEST(invalid_spec_files_are_refused_with_the_words_of_their_cases)
{
	CHECK_GE(run_cases("invalid", false), 20);
}
