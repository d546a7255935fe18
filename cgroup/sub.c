/* Groups inside of a cell's group. */
#include "cgroup/internal.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

int cg_sub_make(const struct cgroup *cg, const char *name, struct cg_sub *ret, struct err *e)
{
	struct cg_sub sub = CG_SUB_INIT;

	if (cg->mode == CG_NONE || !fd_valid(cg->v2)) {
		*ret = sub;
		return 0;
	}
	if (!cg_concat(sub.name, sizeof sub.name, &name, 1))
		return err_set(e, ERR_BUG, ENAMETOOLONG, "a group in cgroup '%s' with a long name", cg->name);
	if (mkdirat(cg->v2, name, 0755) < 0)
		return cg_fail(cg, CG_H_V2, name, errno, "creating", e);
	sub.dir = cg_open_child(cg->v2, name);
	if (sub.dir < 0) {
		(void)unlinkat(cg->v2, name, AT_REMOVEDIR);
		return cg_fail(cg, CG_H_V2, name, -sub.dir, "opening", e);
	}
	*ret = sub;
	return 0;
}

int cg_sub_open_tasks(const struct cgroup *cg, const struct cg_sub *sub, int fds[CG_V1_COUNT + 1], struct err *e)
{
	int n;

	if (cg->mode == CG_NONE)
		return 0;
	n = cg_open_tasks(cg, fds, false, e);
	if (n < 0 || !fd_valid(sub->dir))
		return n;
	fds[n] = openat(sub->dir, "cgroup.procs", O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fds[n] >= 0)
		return n + 1;
	const int code = errno;
	while (n > 0)
		fd_closep(&fds[--n]);
	return cg_fail(cg, CG_H_V2, sub->name, code, "opening the list of processes of", e);
}

int cg_sub_kill(const struct cg_sub *sub)
{
	int r = fd_valid(sub->dir) ? cg_write_at(sub->dir, "cgroup.kill", "1", 1) : 0;

	return r == -ENODEV || r == -ENOENT ? 0 : r;
}

/* "fd/.." is the cell's group, also when somebody else has removed this one. */
int cg_sub_try_remove(struct cg_sub *sub)
{
	char up[3 + sizeof sub->name];
	const char *const parts[] = {"../", sub->name};

	if (fd_valid(sub->dir) && cg_concat(up, sizeof up, parts, 2) && unlinkat(sub->dir, up, AT_REMOVEDIR) < 0 &&
	    errno == EBUSY)
		return -EAGAIN;
	cg_sub_close(sub);
	return 0;
}

void cg_sub_close(struct cg_sub *sub)
{
	fd_closep(&sub->dir);
}
