/* The groups of a container, from create to delete: found, made by us or by systemd, limited, given away, removed. */
#include "oci/life.h"

#include "base/fd.h"
#include "oci/unit.h"
#include "sys/sys.h"

#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <unistd.h>

const char *life_group_path(struct life *l)
{
	const char *wanted = l->spec->cgroups_path;
	struct arena *a = &l->state.arena;

	if (l->args->cgroup_manager && strcmp(l->args->cgroup_manager, "disabled") == 0)
		return "";
	if (!wanted || !wanted[0])
		return arena_printf(a, "/fsbox-oci/%s", l->state.id);
	return wanted[0] == '/' ? wanted : arena_printf(a, "/%s", wanted);
}

static bool asks_for_limits(const struct ct_resources *r)
{
	return r->memory.limit.set || r->memory.reservation.set || r->memory.swap.set || r->cpu.shares.set ||
	       r->cpu.quota.set || r->cpu.cpus || r->pids.set || r->block.weight.set || r->n_hugepages > 0 ||
	       r->n_unified > 0;
}

/* Delete ends everybody in the container's group, so nobody else may be in it. */
int life_find_group(struct life *l, struct err *e)
{
	int r;

	if (!l->state.cgroup[0])
		return 0;
	r = cg_group_find(l->state.cgroup, &l->group, e);
	if (r < 0)
		return r;
	l->has_group = true;
	r = cg_group_claim(&l->group, &l->claim, e);
	if (r < 0)
		return r;
	if (cg_group_is_frozen(&l->group)) /* who entered it would stop there */
		return err_set(e, ERR_BUSY, EBUSY, "container's cgroup %s is frozen", l->state.cgroup);
	return found_note(&l->group, &l->state, e);
}

/* config-linux.md, "Cgroup ownership": who is to execute the process gets the group, if he will see it as the root of a
 * writable cgroup file system. */
static bool wants_group(const struct ct_spec *s, uid_t *ret_uid)
{
	const struct ct_namespace *ns = &s->ns[CT_CGROUP];
	bool writable = false;

	for (size_t i = 0; i < s->n_mounts; i++) {
		const struct ct_mount *m = &s->mounts[i];

		if (m->source && strcmp(m->source, "cgroup") == 0 && strcmp(m->target, "/sys/fs/cgroup") == 0)
			writable = !(m->set & MOUNT_ATTR_RDONLY);
	}
	if (!ns->wanted || ns->path || !writable)
		return false;
	*ret_uid = s->process.uid;
	for (size_t i = 0; i < s->n_uids; i++) {
		const struct id_map *m = &s->uids[i];

		if (s->process.uid >= m->inside && s->process.uid - m->inside < m->count) {
			*ret_uid = m->outside + (s->process.uid - m->inside);
			return true;
		}
	}
	return !s->ns[CT_USER].wanted;
}

/* Who is not the host's root may load no program of device rules, and has but the devices that he may open. */
static bool is_ordinary(const struct life *l)
{
	return life_unprivileged(l->args);
}

static bool is_lenient(const struct life *l)
{
	return is_ordinary(l) && !asks_for_limits(&l->spec->resources);
}

int life_limit(struct life *l, struct err *e)
{
	return l->has_group && !is_lenient(l) ? cg_group_limit(&l->group, &l->spec->resources, is_ordinary(l), e) : 0;
}

/* Before anybody of ours is in it. What did not exist somebody else may have made at the same time; a unit's name is a
 * claim of its own. */
static int claim(struct life *l, struct err *e)
{
	int r = fd_valid(l->claim) || l->state.unit[0] ? 0 : cg_group_claim(&l->group, &l->claim, e);

	if (r == -EBUSY)
		l->state.cgroup = ""; /* it is not ours to remove */
	if (r == 0)
		found_mark(&l->group, &l->state, true);
	return r;
}

int life_group(struct life *l, bool limits, struct err *e)
{
	uid_t uid;
	int r;

	if (!l->has_group)
		return 0;
	r = cg_group_make(&l->group, false, is_lenient(l), e);
	if (r == 0)
		r = claim(l, e);
	if (r == 0 && limits)
		r = life_limit(l, e);
	if (r == 0 && !is_ordinary(l) && wants_group(l->spec, &uid))
		r = cg_group_give(&l->group, uid, e);
	if (r == 0)
		l->ct.group = &l->group;
	return r;
}

int life_class(const struct life *l, pid_t pid, struct err *e)
{
	char root[CG_RESCTRL_ROOT];
	int r = l->spec->rdt.given ? cg_resctrl_find(root, e) : 0;

	return r == 0 && l->spec->rdt.given ? cg_resctrl_make(root, &l->spec->rdt, l->state.id, pid, e) : r;
}

int life_cradle(struct life *l, struct err *e)
{
	int r;

	if (!l->has_group)
		return 0;
	r = cg_group_make(&l->group, true, is_lenient(l), e);
	if (r == 0)
		r = claim(l, e);
	if (r == 0)
		l->ct.group = &l->group;
	return r;
}

/* systemd makes groups for living processes, and what it leaves out of v1 is made and entered as ever. The state names the
 * unit from here on, and not before: whoever deletes what a killed create has left stops the unit that is named there, and
 * one that was never asked for is somebody else's. */
static int place(struct life *l, pid_t pid, struct err *e)
{
	struct err second = {0};
	int r;

	l->state.asked = true;
	r = state_write(l->dir, &l->state, e);
	if (r < 0) {
		l->state.asked = false;
		return r;
	}
	r = unit_start(&l->state, l->spec, pid, e);
	if (r < 0 && !l->state.unit[0])
		(void)!state_write(l->dir, &l->state, &second);
	if (r < 0)
		return r;
	if (l->has_group)
		cg_group_close(&l->group);
	l->has_group = false;
	r = cg_group_find(l->state.cgroup, &l->group, e);
	l->has_group = r == 0;
	return r;
}

int life_on_placed(struct ct *c, void *arg, struct err *e)
{
	struct life *l = arg;
	int r = place(l, c->pid, e);

	if (r == 0)
		c->group = &l->group;
	return r;
}

static _Noreturn void hold(pid_t master)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != master)
		_exit(1); /* it was killed before we could ask to be told */
	(void)close_range(0, ~0U, 0);
	for (;;)
		(void)pause();
}

int life_hold_unit(struct life *l, int *ret_holder, struct err *e)
{
	int holder = FD_NONE;
	const struct clone_args args = {.flags = CLONE_PIDFD, .pidfd = (uintptr_t)&holder, .exit_signal = SIGCHLD};
	const pid_t master = getpid();
	pid_t pid = sys_clone3(&args);

	if (pid == 0)
		hold(master);
	*ret_holder = holder;
	if (pid < 0)
		return err_sys(e, pid, "making a process for systemd's unit");

	int r = place(l, pid, e);
	return r == 0 ? life_group(l, false, e) : r;
}

void life_release_unit(int *holder)
{
	siginfo_t ignored;

	if (!fd_valid(*holder))
		return;
	(void)!sys_pidfd_kill(*holder, SIGKILL);
	(void)!sys_wait_exit(*holder, true, &ignored);
	fd_closep(holder);
}

static int keep_first(int r, int first)
{
	return first < 0 ? first : r;
}

static int remove_group(struct cg_group *g, const struct oci_state *st, struct err *e)
{
	struct err ignored = {0}; /* a unit without its group is over in any case */
	int first;

	/* It has been over for so long that another container was made in its group, and in its unit. */
	if (found_lost(g, st))
		return 0;
	first = cg_group_kill(g, SIGKILL, e);
	(void)!unit_stop(st, &ignored);
	if (st->found[0]) /* it stays */
		found_mark(g, st, false);
	found_keep(g, st);
	return keep_first(cg_group_remove(g, e), first);
}

/* @g: NULL where there is none. */
static int remove_with(const struct oci_store *store, struct cg_group *g, struct oci_state *st,
		       const struct ct_spec *spec, struct err *e)
{
	struct err ignored = {0};
	char root[CG_RESCTRL_ROOT];
	int first = g ? remove_group(g, st, e) : unit_stop(st, e);

	if (spec && spec->rdt.given && cg_resctrl_find(root, &ignored) == 0)
		first = keep_first(cg_resctrl_remove(root, &spec->rdt, st->id, e), first);
	if (first < 0)
		return first;
	first = store_remove(store, st->id, e);
	st->status = OCI_STOPPED;
	if (spec)
		life_poststop(store->args, spec, st);
	return first;
}

int life_remove(const struct oci_store *store, int dir, struct oci_state *st, const struct ct_spec *spec, struct err *e)
{
	struct cg_group g;
	int r;

	(void)dir;
	(void)!state_signal(st, SIGKILL);
	if (!st->cgroup[0])
		return remove_with(store, NULL, st, spec, e);
	r = cg_group_find(st->cgroup, &g, e);
	if (r < 0)
		return r;
	r = remove_with(store, &g, st, spec, e);
	cg_group_close(&g);
	return r;
}

int life_remove_own(struct life *l, struct err *e)
{
	return remove_with(&l->store, l->has_group ? &l->group : NULL, &l->state, l->spec, e);
}
