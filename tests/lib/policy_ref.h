/* What a policy says about a call, read off its rules by the words of docs/policies.md, with 64-bit comparisons in C: a
 * second opinion on the compiled filter. Deliberately shares no code with confine/ but the numbers of the calls. */
#pragma once

#include "confine/filter_names.h"
#include "spec/policy.h"

#include <linux/seccomp.h>

uint32_t policy_ref_verdict(const struct policy *p, const struct filter_arch *arch, const struct seccomp_data *data);

/* A call that lies near the edges of the policy's rules, where mistakes would be: picks a rule, a number around its, and
 * arguments around its values. @fresh gives 64 fresh bits at each call. */
struct seccomp_data policy_ref_probe(const struct policy *p, const struct filter_arch *arch,
				     uint64_t (*fresh)(void *state), void *state);
