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
static int resolve(const struct policy *p, const struct filter_arch *arch, struct filter_call *calls, size_t *ret_n,
		   struct err *e)
{
	size_t n = 0;

	for (size_t i = 0; i < p->n_rules; i++) {
		const struct policy_rule *rule = &p->rules[i];
		int nr = filter_call_number(arch, rule->name);

		if (nr == CALL_NOWHERE)
			return unknown_call(p, rule, e);
		if (nr < 0)
			continue;
		calls[n++] = (struct filter_call){
			.nr = (uint32_t)nr,
			.verdict = filter_verdict(rule->action, rule->errno_ret),
			.rule = rule,
		};
	}
	*ret_n = n;
	return 0;
}

int filter_build_for(const struct policy *p, const struct filter_arch *arch, struct filter *ret_filter, struct err *e)
{
	AUTO_FREE struct filter_call *calls = NULL;
	struct filter f = {.runtime_stage = p->runtime_stage};
	struct filter_defaults defaults;
	size_t n = 0;
	int r;

	if (p->none) {
		*ret_filter = f;
		return 0;
	}
	calls = calloc(p->n_rules + 1, sizeof *calls);
	if (!calls)
		return err_oom(e);
	r = resolve(p, arch, calls, &n, e);
	if (r < 0)
		return r;

	defaults.known = filter_verdict(p->default_action, p->default_errno);
	defaults.newer = p->new_enosys ? SECCOMP_RET_ERRNO | ENOSYS : defaults.known;
	r = filter_code(arch, calls, n, &defaults, &f.insns, &f.len);
	if (r == -E2BIG) {
		r = err_set(e, ERR_LIMIT, E2BIG, "the policy needs %zu instructions: the kernel takes %d", f.len,
			    BPF_MAXINSNS);
		(void)err_where(e, r, "%s: $.syscalls", file_tail(p));
		return err_hint(e, r, "conditions on arguments cost most: drop or join some");
	}
	if (r < 0)
		return err_oom(e);
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
