/* MADE and ADOPT: a cell with its descriptors. */
#include "spawn/spawn.h"

#include <fcntl.h>
#include <stdio.h>

/* In the order of enum spawn_cell_fd. */
static size_t collect(const struct kept *k, int freeze, int *fds, uint32_t *ret_mask)
{
	const struct cell *c = &k->cell;
	const int all[] = {
		c->in,
		c->out,
		c->std_out,
		c->std_err,
		c->pidfd,
		c->has_cg ? c->cg.v2 : FD_NONE,
		freeze,
		c->has_cg ? c->cg.v1[CG_V1_MEMORY] : FD_NONE,
		c->has_cg ? c->cg.v1[CG_V1_CPU] : FD_NONE,
		c->has_cg ? c->cg.v1[CG_V1_PIDS] : FD_NONE,
		c->has_cg ? c->cg.oom_event : FD_NONE,
	};
	size_t n = 0;

	*ret_mask = 0;
	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		if (fd_valid(all[i])) {
			*ret_mask |= 1U << i;
			fds[n++] = all[i];
		}
	return n;
}

void cells_tell(struct spawn *s, const struct kept *k, enum spawn_word word)
{
	const struct cell *c = &k->cell;
	/* Only root may open it for writing; who has it may write. */
	AUTO_FD int freeze = c->has_cg && fd_valid(c->cg.v2)
				     ? openat(c->cg.v2, "cgroup.freeze", O_RDWR | O_CLOEXEC | O_NOFOLLOW)
				     : FD_NONE;
	struct spawn_cell m;
	int fds[SPAWN_MAX_FDS];
	size_t n;

	if (freeze < 0)
		freeze = FD_NONE;
	spawn_begin(&m, word, sizeof m);
	n = collect(k, freeze, fds, &m.fds);
	m.cell = k->number;
	m.function = k->f->number;
	m.begin_ns = k->begin_ns;
	m.exec_ns = c->exec_ns;
	m.memory_bytes = c->has_cg ? c->cg.limits.memory_bytes : k->f->def.spec.memory_bytes;
	m.pids = c->has_cg ? c->cg.limits.pids : k->f->def.spec.pids;
	m.pid = c->pid;
	m.boosted = c->has_cg && c->cg.limits.boost;
	m.restored = word == SPAWN_MADE && k->image;
	m.exited = k->state == KEPT_EXITED;
	if (m.exited)
		m.how = (struct spawn_status){.code = c->exit.si_code, .status = c->exit.si_status};
	(void)snprintf(m.id, sizeof m.id, "%s", c->id);
	if (c->has_cg) {
		(void)snprintf(m.cgroup_parent, sizeof m.cgroup_parent, "%s", c->cg.parent);
		(void)snprintf(m.cgroup_name, sizeof m.cgroup_name, "%s", c->cg.name);
	}
	m.note_len = k->note_len;
	memcpy(m.note, k->note, sizeof m.note);
	tell(s, &m, fds, n);
}
