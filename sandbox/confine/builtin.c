#include "confine/builtin.h"

#include <string.h>

bool filter_builtin(const char *name, struct filter *ret_filter)
{
	for (const struct builtin_policy *b = builtin_policies; b->name; b++) {
		if (strcmp(b->name, name) != 0)
			continue;
		*ret_filter = (struct filter){
			.len = b->len,
			/* sock_fprog wants it writable; nobody writes */
			.insns = (struct sock_filter *)(uintptr_t)b->insns,
			.borrowed = true,
			.runtime_stage = b->runtime_stage,
		};
		return true;
	}
	return false;
}

const char *const *filter_builtin_names(void)
{
	return builtin_names;
}
