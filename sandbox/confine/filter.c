#include "confine/filter.h"

#include "base/mem.h"
#include "confine/filter_code.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The end of a long file name, so that the path behind it fits into err.where. */
static const char *file_tail(const struct policy *p)
{
	size_t n = strlen(p->file), room = 80;

	return n > room ? p->file + n - room : p->file;
}

static int unknown_call(const struct policy *p, const struct policy_rule *rule, struct err *e)
{
	int r = err_set(e, ERR_SPEC, EINVAL, "no system call is named '%s' on any architecture", rule->name);

	(void)err_where(e, r, "%s: $.syscalls[%zu].names", file_tail(p), rule->group);
	return err_hint(e, r,
			"names are those of syscalls(2), such as openat; this build knows calls up to Linux 6.17");
}

/* Calls that only this architecture lacks are left out: a profile is written for several. */
static int resolve(const struct policy *p, const struct filter_arch *arch, struct filter_part *part, struct err *e)
{
	for (size_t i = 0; i < p->n_rules; i++) {
		const struct policy_rule *rule = &p->rules[i];
		int nr = filter_call_number(arch, rule->name);

		if (nr == CALL_NOWHERE && !p->skip_unknown)
			return unknown_call(p, rule, e);
		if (nr < 0)
			continue;
		part->calls[part->n++] = (struct filter_call){
			.nr = (uint32_t)nr,
			.verdict = filter_verdict(rule->action, rule->errno_ret),
			.rule = rule,
		};
	}
	return 0;
}

/* @second: another ABI under the same audit value, or NULL. */
static int make_part(const struct policy *p, const struct filter_arch *arch, const struct filter_arch *second,
		     struct filter_part *part, struct err *e)
{
	int r;

	*part = (struct filter_part){.arch = arch, .both_abis = second};
	part->calls = calloc((second ? 2 : 1) * p->n_rules + 1, sizeof *part->calls);
	if (!part->calls)
		return err_oom(e);
	part->defaults.known = filter_verdict(p->default_action, p->default_errno);
	part->defaults.newer = p->new_enosys ? SECCOMP_RET_ERRNO | ENOSYS : part->defaults.known;
	r = resolve(p, arch, part, e);
	return r == 0 && second ? resolve(p, second, part, e) : r;
}

/* The architecture that a machine of @arch runs beside its own, when the policy asks for it. */
static const struct filter_arch *companion(const struct policy *p, const struct filter_arch *arch)
{
	if ((p->archs & POLICY_ARCH_X86) && strcmp(arch->name, "x86_64") == 0)
		return filter_arch_find("x86");
	if ((p->archs & POLICY_ARCH_ARM) && strcmp(arch->name, "aarch64") == 0)
		return filter_arch_find("arm");
	return NULL;
}

int filter_build_for(const struct policy *p, const struct filter_arch *arch, struct filter *ret_filter, struct err *e)
{
	struct filter f = {.runtime_stage = p->runtime_stage, .flags = p->flags};
	struct filter_part parts[FILTER_MAX_PARTS] = {0};
	const struct filter_arch *other = companion(p, arch);
	const bool x32 = (p->archs & POLICY_ARCH_X32) && arch->other_abi > 0;
	int r;

	if (p->none) {
		*ret_filter = f;
		return 0;
	}
	r = make_part(p, arch, x32 ? filter_arch_find("x32") : NULL, &parts[0], e);
	if (r == 0 && other)
		r = make_part(p, other, NULL, &parts[1], e);
	if (r == 0)
		r = filter_code(parts, other ? 2 : 1, &f.insns, &f.len);
	free(parts[0].calls);
	free(parts[1].calls);
	if (r == -E2BIG) {
		r = err_set(e, ERR_LIMIT, E2BIG, "the policy needs %zu instructions: the kernel takes %d", f.len,
			    BPF_MAXINSNS);
		(void)err_where(e, r, "%s: $.syscalls", file_tail(p));
		return err_hint(e, r, "conditions on arguments cost most: drop or join some");
	}
	if (r < 0)
		return e->kind == ERR_NONE ? err_oom(e) : r;
	*ret_filter = f;
	return 0;
}

int filter_build(const struct policy *p, struct filter *ret_filter, struct err *e)
{
	return filter_build_for(p, filter_arch_native(), ret_filter, e);
}

const char *filter_syscall_name(int nr)
{
	static char name[CALL_NAME_ROOM];

	return filter_call_name(filter_arch_native(), nr, name) ? name : NULL;
}
