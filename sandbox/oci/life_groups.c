/* The groups of a container, from create to delete: found, made by us or by systemd, limited, given away, removed. */
#include "oci/life.h"

#include "base/fd.h"
#include "oci/unit.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>

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

static int count(pid_t pid, void *arg)
{
	(void)pid;
	(void)arg;
	return 1;
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
	r = strcmp(l->state.cgroup, "/") == 0 ? 1 : cg_group_processes(&l->group, count, NULL);
	if (r == 1)
		return err_set(e, ERR_BUSY, EBUSY, "container's cgroup %s is not empty", l->state.cgroup);
	return r < 0 ? err_sys(e, r, "looking into cgroup %s", l->state.cgroup) : 0;
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

bool life_in_user_namespace(void)
{
	char map[256];
	unsigned inside, outside, n;

	if (fd_read_file_at(AT_FDCWD, "/proc/self/uid_map", map, sizeof map) < 0)
		return false;
	return sscanf(map, "%u %u %u", &inside, &outside, &n) != 3 || inside != 0 || outside != 0 || n != UINT32_MAX;
}

int life_make_group(struct life *l, struct err *e)
{
	/* Who is not the host's root may load no program of device rules, and has but the devices that he may open. */
	const bool ordinary = life_unprivileged(l->args) || life_in_user_namespace();
	const bool lenient = ordinary && !asks_for_limits(&l->spec->resources);
	uid_t uid;
	int r = cg_group_make(&l->group, lenient, e);

	if (r == 0 && !lenient)
		r = cg_group_limit(&l->group, &l->spec->resources, ordinary, e);
	if (r == 0 && !ordinary && wants_group(l->spec, &uid))
		r = cg_group_give(&l->group, uid, e);
	if (r == 0)
		l->ct.group = &l->group;
	return r;
}

/* systemd makes groups for living processes: the child waits. What systemd leaves out of v1 is made as ever. */
int life_on_placed(struct ct *c, void *arg, struct err *e)
{
	struct life *l = arg;
	int r = unit_start(&l->state, l->spec, c->pid, e);

	if (r < 0)
		return r;
	if (l->has_group)
		cg_group_close(&l->group);
	l->has_group = false;
	r = cg_group_find(l->state.cgroup, &l->group, e);
	if (r < 0)
		return r;
	l->has_group = true;
	r = life_make_group(l, e);
	return r == 0 ? cg_group_enter_v1(&l->group, c->pid, life_unprivileged(l->args), e) : r;
}

static int keep_first(int r, int first)
{
	return first < 0 ? first : r;
}

int life_remove(const struct oci_store *store, int dir, struct oci_state *st, const struct ct_spec *spec, struct err *e)
{
	struct err hook = {0}, unheard = {0}; /* a unit without its group is over in any case */
	struct cg_group g;
	int first = 0;

	(void)!state_signal(st, SIGKILL);
	if (st->cgroup[0]) {
		first = cg_group_find(st->cgroup, &g, e);
		if (first == 0) {
			first = cg_group_kill(&g, SIGKILL, e);
			(void)!unit_stop(st, &unheard);
			first = keep_first(cg_group_remove(&g, e), first);
			cg_group_close(&g);
		}
	} else {
		first = unit_stop(st, e);
	}
	(void)dir;
	if (first < 0)
		return first;
	first = store_remove(store, st->id, e);
	st->status = OCI_STOPPED;
	/* "MUST log a warning, but the remaining hooks and lifecycle continue": there is no log but for errors. */
	if (spec)
		(void)!life_hooks(spec, CT_POSTSTOP, st, &hook);
	return first;
}
