/* Policies by the name or file that a user gives. */
#pragma once

#include "cell/build.h"

/* The two filters of a policy given by name or file: @base before exec, @runtime after init. Free with policy_unload(). */
NODISCARD int policy_load(const char *name, struct filter *base, struct filter *runtime, struct err *e);
/* The same for a file that is open already, whose descriptor stays the caller's; FD_NONE: as above. */
NODISCARD int policy_load_from(const char *name, int fd, struct filter *base, struct filter *runtime, struct err *e);
/* A filter that comes after init is for runtimes that take it: not for a custom one, whose programs run by then. */
NODISCARD int policy_check(const char *name, const struct filter *runtime, enum spec_runtime kind, struct err *e);
void policy_unload(struct filter *base, struct filter *runtime);
