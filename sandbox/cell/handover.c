/* The two last stages of every cell: the child is let go, and gives word of itself. */
#include "base/clock.h"
#include "base/fd.h"
#include "cell/host.h"
#include "cell/internal.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>

/* What the child said of itself, with the hints that need words; the child only has numbers. It may have failed before
 * our side of the handover did, and then its account is the one that explains. */
int explain_child(struct cell *c, int r, struct err *e)
{
	struct pollfd p = {.fd = c->barrier, .events = POLLIN};
	struct err from = {0};

	if (e->stage[0] == '\0' && poll(&p, 1, 0) == 1) {
		int said = barrier_take_exec(c->barrier, &c->exec_ns, NULL, &from);

		if (said < 0 && from.stage[0]) {
			*e = from;
			r = said;
		}
	}
	if (strcmp(e->stage, "mounts") == 0 && r == -EPERM)
		return err_hint(
			e, r,
			"a container that hides parts of /proc does not allow a new one: run fsbox outside it, or "
			"with an unmasked /proc");
	if (strcmp(e->stage, "mounts") == 0 && r == -ENOENT)
		return err_hint(e, r, "the prepared root is damaged; remove %s/%s", c->host->state_dir,
				c->plan->skel_name);
	if (strcmp(e->stage, "exec") == 0 && r == -ENOENT)
		return err_hint(e, r, "the cell's root has no %s", c->plan->argv[0]);
	return r;
}

/* A caller that the OOM killer spares, a daemon of the system perhaps, must not hand that on (proc(5), oom_score_adj). */
static int unprotect(pid_t pid, struct err *e)
{
	char value[16], path[40];
	int r;

	if (fd_read_file_at(AT_FDCWD, "/proc/self/oom_score_adj", value, sizeof value) < 0 || value[0] != '-')
		return 0;
	(void)snprintf(path, sizeof path, "/proc/%d/oom_score_adj", pid);
	r = fd_write_file_at(AT_FDCWD, path, "0", 1);
	return r < 0 ? err_sys(e, r, "writing '0' to %s", path) : 0;
}

int enter_handover(struct cell *c, struct err *e)
{
	const struct cell_plan *p = c->plan;
	const struct id_map uid = {p->map_inside, p->uid_outside, p->map_count};
	const struct id_map gid = {p->map_inside, p->gid_outside, p->map_count};
	int groups[BARRIER_MAX_FDS], n = 0;
	int r = ids_write(c->pid, &uid, &gid, !p->privileged, e);

	if (r == 0)
		r = unprotect(c->pid, e);

	if (r == 0 && c->has_cg)
		r = n = cg_open_tasks(&c->cg, groups, c->host->clone_beside, e);
	if (r >= 0)
		r = barrier_release(c->barrier, groups, n, e);
	while (n > 0)
		fd_closep(&groups[--n]);
	c->deadline_ns = clock_mono_ns() + CELL_ARRIVAL_MS * NS_PER_MS;
	return r < 0 ? explain_child(c, r, e) : 0;
}

/* 1 while the child has not given its word. */
int enter_arrival(struct cell *c, struct err *e)
{
	int r = c->role == PLAN_RESTORED ? barrier_take_parked(c->barrier, &c->worker_pidfd, e)
					 : barrier_take_exec(c->barrier, &c->exec_ns, NULL, e);

	if (r == 1)
		return r;
	if (r < 0)
		return explain_child(c, r, e);
	if (c->role != PLAN_RESTORED)
		fd_closep(&c->barrier);
	for (size_t i = 0; i < PLAN_MAX_MOUNTS; i++)
		fd_closep(&c->mounts[i]);
	return 0;
}

int undo_handover(struct cell *c, struct err *e)
{
	(void)e;
	fd_closep(&c->barrier);
	return 0;
}
