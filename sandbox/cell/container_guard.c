/* What the host's side does against who is in a container already. */
#include "cell/container_internal.h"

#include "base/fd.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/prctl.h>

/* Who is in a namespace that the child joins sees it from its first moment, with descriptors and a root directory of the
 * host, and where that is root of the child's user namespace, ptrace(2) and /proc/PID/root would be his: leaving the host's
 * user namespace for one that we own does not make a process undumpable by itself. Undumpable it answers to rights in the
 * namespace alone in which our program was executed (ptrace(2), "Ptrace access mode checking"). So are we, before there is
 * a child.
 *
 * Where an ordinary user's maps are to be written that has to wait (newuidmap(1) looks at who owns /proc/PID), and nobody
 * else is in that namespace; the child's stage "ids" does it then. And an undumpable process's files in /proc are root's:
 * what an ordinary user wants in oom_score_adj is inherited. */
int ct_become_undumpable(const struct ct *c, struct err *e)
{
	const struct ct_number *adj = &c->spec->process.oom_score_adj;
	char value[24];

	if (c->unprivileged && !fd_valid(c->join) && c->spec->n_uids > 0)
		return 0;
	if (c->unprivileged && adj->set) {
		int n = snprintf(value, sizeof value, "%lld", (long long)adj->v);
		int r = fd_write_file_at(AT_FDCWD, "/proc/self/oom_score_adj", value, (size_t)n);

		if (r < 0 && r != -EACCES)
			return err_sys(e, r, "writing '%s' to oom_score_adj", value);
	}
	return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ? err_sys(e, errno, "becoming undumpable") : 0;
}
