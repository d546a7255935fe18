#include "tests/lib/policy_ref.h"

#include <errno.h>
#include <stdlib.h>

static bool arg_holds(const struct policy_arg *a, uint64_t v)
{
	switch (a->op) {
	case POLICY_NE:
		return v != a->value;
	case POLICY_LT:
		return v < a->value;
	case POLICY_LE:
		return v <= a->value;
	case POLICY_EQ:
		return v == a->value;
	case POLICY_GE:
		return v >= a->value;
	case POLICY_GT:
		return v > a->value;
	case POLICY_MASKED_EQ:
		return (v & a->value) == a->value_two;
	}
	abort(); /* not one of the enumerators */
}

/* Higher is stricter. */
static int strictness(enum policy_action a)
{
	switch (a) {
	case POLICY_ALLOW:
		return 1;
	case POLICY_LOG:
		return 2;
	case POLICY_TRACE:
		return 3;
	case POLICY_NOTIFY:
		return 4;
	case POLICY_ERRNO:
		return 5;
	case POLICY_TRAP:
		return 6;
	case POLICY_KILL_THREAD:
		return 7;
	case POLICY_KILL_PROCESS:
		return 8;
	}
	abort(); /* not one of the enumerators */
}

static uint32_t value_of(enum policy_action a, uint16_t errno_ret)
{
	static const uint32_t values[] = {
		[POLICY_ALLOW] = 0x7fff0000,        [POLICY_ERRNO] = 0x00050000, [POLICY_TRAP] = 0x00030000,
		[POLICY_KILL_PROCESS] = 0x80000000, [POLICY_LOG] = 0x7ffc0000,   [POLICY_TRACE] = 0x7ff00000,
		[POLICY_NOTIFY] = 0x7fc00000,
	};

	return values[a] | (a == POLICY_ERRNO || a == POLICY_TRACE ? errno_ret : 0);
}

uint32_t policy_ref_verdict(const struct policy *p, const struct filter_arch *arch, const struct seccomp_data *data)
{
	const struct policy_rule *best = NULL;
	int highest = -1;

	if (p->none)
		return value_of(POLICY_ALLOW, 0);
	if (data->arch != arch->audit || (arch->other_abi && (uint32_t)data->nr >= arch->other_abi && data->nr != -1))
		return value_of(POLICY_KILL_PROCESS, 0);
	for (size_t i = 0; i < p->n_rules; i++) {
		const struct policy_rule *r = &p->rules[i];
		int nr = filter_call_number(arch, r->name);
		bool match = nr >= 0 && nr == data->nr;

		highest = nr > highest ? nr : highest;
		for (size_t j = 0; match && j < r->n_args; j++)
			match = arg_holds(&r->args[j], data->args[r->args[j].index]);
		if (match && (!best || strictness(r->action) > strictness(best->action)))
			best = r;
	}
	if (best)
		return value_of(best->action, best->errno_ret);
	if (p->new_enosys && highest >= 0 && (uint32_t)data->nr > (uint32_t)highest)
		return value_of(POLICY_ERRNO, ENOSYS);
	return value_of(p->default_action, p->default_errno);
}

static uint64_t near_value(const struct policy_arg *a, uint64_t bits)
{
	uint64_t base = a->op == POLICY_MASKED_EQ ? a->value_two : a->value;

	switch (bits & 7) {
	case 0:
		return base;
	case 1:
		return base + 1;
	case 2:
		return base - 1;
	case 3:
		return base ^ (UINT64_C(1) << (bits >> 8 & 63));
	case 4:
		return base ^ (bits >> 3 << 32); /* right below, anything above */
	case 5:
		return base | (bits & ~a->value);
	case 6:
		return ~base;
	default:
		return bits;
	}
}

struct seccomp_data policy_ref_probe(const struct policy *p, const struct filter_arch *arch,
				     uint64_t (*fresh)(void *state), void *state)
{
	uint64_t bits = fresh(state);
	struct seccomp_data d = {.arch = arch->audit, .nr = (int)(bits >> 32 & 1023)};

	for (size_t i = 0; i < 6; i++)
		d.args[i] = fresh(state);
	if (p->n_rules > 0 && (bits & 15) != 0) {
		const struct policy_rule *r = &p->rules[(bits >> 8) % p->n_rules];
		int nr = filter_call_number(arch, r->name);

		if (nr >= 0)
			d.nr = nr + ((bits & 0x70) == 0 ? (bits & 0x80 ? 1 : -1) : 0);
		for (size_t i = 0; i < r->n_args; i++)
			d.args[r->args[i].index] = near_value(&r->args[i], fresh(state));
	}
	if ((bits >> 48 & 31) == 0)
		d.nr |= 0x40000000;
	if ((bits >> 48 & 31) == 1)
		d.arch ^= 1u << (bits >> 56 & 31);
	return d;
}
