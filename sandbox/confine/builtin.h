/* Private to confine/: the policies compiled at build time. tools/policyc writes their table into build/gen/policies.c. */
#pragma once

#include "confine/confine.h"

struct builtin_policy {
	const char *name;
	const struct sock_filter *insns; /* static; NULL when there is no filter */
	size_t len;
	bool runtime_stage;
};

/* Ends with a name of NULL; the names stand in builtin_names as well. */
extern const struct builtin_policy builtin_policies[];
extern const char *const builtin_names[];
