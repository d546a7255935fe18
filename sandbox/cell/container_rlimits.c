/* Limits of resources above our own hard ones. */
#include "cell/container_internal.h"

#include <sys/resource.h>

/* To raise a hard limit takes CAP_SYS_RESOURCE in the host's user namespace (getrlimit(2)), which the child does not have
 * any more when it is in another one; so we do it, before it has. The soft limit stays: the child works with it until its
 * stage "limits", and may set both then. */
int ct_raise_limits(const struct ct *c, struct err *e)
{
	const struct ct_process *p = &c->spec->process;

	for (size_t i = 0; i < p->n_rlimits; i++) {
		const struct ct_rlimit *l = &p->rlimits[i];
		struct rlimit now;

		if (prlimit(c->pid, (__rlimit_resource_t)l->resource, NULL, &now) < 0)
			return err_sys(e, errno, "reading resource limit %d", l->resource);
		if (l->value.rlim_max <= now.rlim_max)
			continue;
		now.rlim_max = l->value.rlim_max;
		if (prlimit(c->pid, (__rlimit_resource_t)l->resource, &now, NULL) < 0)
			return err_sys(e, errno,
				       "setting resource limit %d: raising a hard limit takes CAP_SYS_RESOURCE",
				       l->resource);
	}
	return 0;
}
