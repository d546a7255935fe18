/* policyc: compiles policies when fsbox is built, so that `fsbox run` compiles none of its own.
 *
 *     policyc -o OUT.c FILE.json...       writes the table that confine/builtin.h declares
 *     policyc --dump FILE.json [ARCH]     prints the compiled program for a reader
 *
 * The name of a policy is its file's name without folder and ".json". */
#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"
#include "confine/filter.h"
#include "spec/policy.h"

#include <fcntl.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <unistd.h>

static void complain(const struct err *e)
{
	(void)fprintf(stderr, "policyc: %s%s%s\n", e->where, e->where[0] ? ": " : "", e->msg);
	if (e->hint[0])
		(void)fprintf(stderr, "policyc: hint: %s\n", e->hint);
}

/* Under a policy of stage runtime the runtime itself adds a filter after init, so the policy below has to let it. */
static void allow_runtime(struct policy *p)
{
	for (size_t i = 0; i < p->n_rules; i++)
		if (strcmp(p->rules[i].name, "seccomp") == 0)
			p->rules[i].action = POLICY_ALLOW;
}

static int compile(const char *file, bool for_runtime, const struct filter_arch *arch, struct filter *ret_filter,
		   struct err *e)
{
	AUTO_FD int fd = open(file, O_RDONLY | O_CLOEXEC);
	AUTO(policy_freep) struct policy *p = NULL;
	AUTO_FREE char *text = NULL;
	size_t len = 0;
	int r;

	if (fd < 0)
		return err_sys(e, errno, "%s: open", file);
	r = fd_read_all(fd, POLICY_MAX_BYTES, &text, &len);
	if (r < 0)
		return err_sys(e, r, "%s: read", file);
	r = policy_read(file, text, len, &p, e);
	if (r == 0 && for_runtime)
		allow_runtime(p);
	return r < 0 ? r : filter_build_for(p, arch, ret_filter, e);
}

/* "policies/strict.json" gives "strict"; empty when the rest is not a word. */
static void policy_name(const char *file, char *out, size_t size)
{
	const char *from = strrchr(file, '/');
	const char *end = strrchr(file, '.');
	size_t n;

	from = from ? from + 1 : file;
	n = end && end > from ? (size_t)(end - from) : strlen(from);
	out[0] = '\0';
	if (n < size && strspn(from, "abcdefghijklmnopqrstuvwxyz0123456789_") == n)
		(void)snprintf(out, size, "%.*s", (int)n, from);
}

/* ---- C ---- */

static void write_program(struct buf *b, const char *name, const struct filter *f)
{
	buf_printf(b, "static const struct sock_filter code_%s[] = {\n", name);
	for (size_t i = 0; i < f->len; i++)
		buf_printf(b, "\t{0x%02x, %u, %u, 0x%08x},\n", (unsigned)f->insns[i].code, (unsigned)f->insns[i].jt,
			   (unsigned)f->insns[i].jf, f->insns[i].k);
	buf_puts(b, "};\n\n");
}

static int write_policy(const char *file, const char *name, bool for_runtime, struct buf *b, struct buf *rows,
			struct err *e)
{
	struct filter f = {0};
	int r = compile(file, for_runtime, filter_arch_native(), &f, e);

	if (r < 0)
		return r;
	if (f.len > 0)
		write_program(b, name, &f);
	buf_printf(rows, "\t{\"%s\", %s%s, %zu, %s},\n", name, f.len > 0 ? "code_" : "NULL", f.len > 0 ? name : "",
		   f.len, f.runtime_stage ? "true" : "false");
	filter_done(&f);
	return 0;
}

static int write_table(int n, char **files, struct buf *b, struct err *e)
{
	AUTO(buf_done) struct buf rows = {0}, names = {0};

	buf_puts(b, "/* Written by tools/policyc from policies/. */\n#include \"confine/builtin.h\"\n\n");
	for (int i = 0; i < n; i++) {
		char name[64];
		int r;

		policy_name(files[i], name, sizeof name);
		if (name[0] == '\0')
			return err_set(e, ERR_SPEC, EINVAL, "%s: a policy's name has a-z, 0-9 and _ only", files[i]);
		r = write_policy(files[i], name, false, b, &rows, e);
		/* not among the names: nobody asks for it, it is what lies below the policies of stage runtime */
		if (r == 0 && strcmp(name, "default") == 0)
			r = write_policy(files[i], "default_runtime", true, b, &rows, e);
		if (r < 0)
			return r;
		buf_printf(&names, "\"%s\", ", name);
	}
	buf_printf(b, "const struct builtin_policy builtin_policies[] = {\n%s\t{NULL, NULL, 0, false},\n};\n\n",
		   rows.data ? rows.data : "");
	buf_printf(b, "const char *const builtin_names[] = {%sNULL};\n", names.data ? names.data : "");
	return b->failed || rows.failed || names.failed ? err_oom(e) : 0;
}

static int write_file(const char *out, const struct buf *b, struct err *e)
{
	AUTO_FD int fd = open(out, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	int r;

	if (fd < 0)
		return err_sys(e, errno, "%s: open", out);
	r = fd_write_all(fd, b->data, b->len);
	return r < 0 ? err_sys(e, r, "%s: write", out) : 0;
}

/* ---- Listing ---- */

static void print_verdict(uint32_t verdict)
{
	switch (verdict & SECCOMP_RET_ACTION_FULL) {
	case SECCOMP_RET_ALLOW:
		puts("allow");
		return;
	case SECCOMP_RET_ERRNO:
		printf("errno %s\n", strerrorname_np((int)(verdict & SECCOMP_RET_DATA)));
		return;
	case SECCOMP_RET_TRAP:
		puts("trap");
		return;
	case SECCOMP_RET_LOG:
		puts("log");
		return;
	case SECCOMP_RET_KILL_THREAD:
		puts("kill thread");
		return;
	default:
		puts("kill process");
		return;
	}
}

/* "args[1].low"; the number of the call is what conditions compare when @offset is 0. */
static void print_load(uint32_t offset)
{
	uint32_t in_args = offset - (uint32_t)offsetof(struct seccomp_data, args);

	if (offset == offsetof(struct seccomp_data, nr))
		puts("load  nr");
	else if (offset == offsetof(struct seccomp_data, arch))
		puts("load  arch");
	else
		printf("load  args[%u].%s\n", in_args / 8, in_args % 8 ? "high" : "low");
}

static void print_insn(const struct sock_filter *i, size_t at, bool is_nr, const struct filter_arch *arch)
{
	char name[CALL_NAME_ROOM];

	printf("%4zu  ", at);
	if (i->code == (BPF_RET | BPF_K)) {
		print_verdict(i->k);
	} else if (i->code == (BPF_LD | BPF_W | BPF_ABS)) {
		print_load(i->k);
	} else if (i->code == (BPF_ALU | BPF_AND | BPF_K)) {
		printf("and   0x%x\n", i->k);
	} else if (i->code == (BPF_JMP | BPF_JA)) {
		printf("goto  %zu\n", at + 1 + i->k);
	} else {
		unsigned op = BPF_OP(i->code);
		const char *sign = op == BPF_JGE ? ">=" : op == BPF_JGT ? "> " : "==";

		printf("%s    0x%-10x %4zu else %4zu", sign, i->k, at + 1 + i->jt, at + 1 + i->jf);
		if (is_nr && i->k < INT32_MAX && filter_call_name(arch, (int)i->k, name))
			printf("   # %u %s", i->k, name);
		putchar('\n');
	}
}

static int dump(const char *file, const char *arch_name, struct err *e)
{
	const struct filter_arch *arch = arch_name ? filter_arch_find(arch_name) : filter_arch_native();
	struct filter f = {0};
	bool is_nr = false;
	int r;

	if (!arch)
		return err_set(e, ERR_SPEC, EINVAL, "no architecture '%s': x86_64 and aarch64 are known", arch_name);
	r = compile(file, false, arch, &f, e);
	if (r < 0)
		return r;
	printf("# %s for %s: %zu instructions, %s\n", file, arch->name, f.len,
	       f.len == 0        ? "no filter"
	       : f.runtime_stage ? "added by the runtime after init"
				 : "in force from the start");
	for (size_t i = 0; i < f.len; i++) {
		if (BPF_CLASS(f.insns[i].code) == BPF_LD)
			is_nr = f.insns[i].k == offsetof(struct seccomp_data, nr);
		print_insn(&f.insns[i], i, is_nr, arch);
	}
	filter_done(&f);
	return 0;
}

int main(int argc, char **argv)
{
	AUTO(buf_done) struct buf b = {0};
	struct err e = {0};
	int r;

	if ((argc == 3 || argc == 4) && strcmp(argv[1], "--dump") == 0) {
		r = dump(argv[2], argc == 4 ? argv[3] : NULL, &e);
	} else if (argc >= 4 && strcmp(argv[1], "-o") == 0) {
		r = write_table(argc - 3, argv + 3, &b, &e);
		if (r == 0)
			r = write_file(argv[2], &b, &e);
	} else {
		(void)fputs("usage: policyc -o OUT.c FILE.json...\n       policyc --dump FILE.json [x86_64|aarch64]\n",
			    stderr);
		return 2;
	}
	if (r < 0)
		complain(&e);
	return r < 0 ? 1 : 0;
}
