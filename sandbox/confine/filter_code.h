/* Private to confine/: from rules with numbers to classic BPF. Pure computation.
 *
 * The program looks for the call's number by halving: a binary tree over spans of neighbouring numbers that share a
 * verdict. Conditions on arguments stand at the leaves. What holds, whatever the rules:
 *  - of all rules that match a call the strictest decides, in the kernel's own order for several filters (seccomp(2):
 *    kill process, kill thread, trap, errno, log, allow); of equals the first in the file;
 *  - an architecture that has no part, and x32 where it is not asked for, is killed;
 *  - jumps only go forward and stay inside. */
#pragma once

#include "confine/filter_names.h"
#include "spec/policy.h"

#include <linux/filter.h>

/* One rule for one number. */
struct filter_call {
	uint32_t nr;
	uint32_t verdict; /* SECCOMP_RET_… with its data */
	const struct policy_rule *rule;
};

struct filter_defaults {
	uint32_t known; /* verdict for numbers without a rule */
	uint32_t newer; /* verdict for numbers above the highest that has a rule */
};

uint32_t filter_verdict(enum policy_action action, uint16_t errno_ret);

/* The rules of one architecture. */
struct filter_part {
	const struct filter_arch *arch;
	struct filter_call *calls;
	size_t n;
	struct filter_defaults defaults;
	bool both_abis; /* numbers from arch->other_abi on have rules among @calls, instead of being killed */
};
enum { FILTER_MAX_PARTS = 2 };

/* Sorts the calls and writes the program into fresh memory that the caller frees. -ENOMEM; -E2BIG with the length in
 * *ret_len when there are more than BPF_MAXINSNS instructions. */
NODISCARD int filter_code(const struct filter_part *parts, size_t n_parts, struct sock_filter **ret_insns,
			  size_t *ret_len);
