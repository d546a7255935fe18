/* Private to confine/: system calls by name and number, for each architecture that fsbox knows. The only user of
 * libseccomp, which has the tables; its rule compiler is not used (docs/policies.md says why). */
#pragma once

#include "base/err.h"

struct filter_arch {
	const char *name;
	uint32_t audit;     /* AUDIT_ARCH_…: what the kernel puts into seccomp_data.arch */
	uint32_t token;     /* SCMP_ARCH_… */
	uint32_t other_abi; /* numbers from here on belong to a second ABI under the same audit value (x32), or 0 */
};

enum { CALL_NOWHERE = -1, CALL_ELSEWHERE = -2, CALL_NAME_ROOM = 64 };

/* NULL when there is none of that name: "x86_64", "aarch64". */
const struct filter_arch *filter_arch_find(const char *name);

/* The one this program was built for. */
const struct filter_arch *filter_arch_native(void);

/* The number, or CALL_NOWHERE when no architecture has such a call, CALL_ELSEWHERE when only this one lacks it. */
int filter_call_number(const struct filter_arch *arch, const char *name);

/* The name, in @buf. False when the number has none. */
bool filter_call_name(const struct filter_arch *arch, int nr, char buf[static CALL_NAME_ROOM]);
