/* Private to confine/, its tests and tools/policyc: compiling for an architecture by name. */
#pragma once

#include "confine/confine.h"
#include "confine/filter_names.h"

/* As filter_build(), for @arch. */
NODISCARD int filter_build_for(const struct policy *p, const struct filter_arch *arch, struct filter *ret_filter,
			       struct err *e);
