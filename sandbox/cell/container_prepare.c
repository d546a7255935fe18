/* What has to stand before a container's child is cloned: namespaces and sources are open, texts are copied, memory is
 * shared. */
#include "cell/container_internal.h"

#include "base/fd.h"
#include "netns/netns.h"
#include "sys/sys.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>

void ct_prepared_done(struct ct_prepared *p)
{
	struct ct_child *ch = &p->child;

	for (int i = 0; i < CT_NS_COUNT; i++)
		fd_closep(&ch->ns[i]);
	for (int i = 0; i < ch->n_entries; i++)
		fd_closep(&ch->entries[i]);
	for (size_t i = 0; ch->sources && i < ch->spec->n_mounts; i++)
		fd_closep(&ch->sources[i]);
	fd_closep(&ch->root_tree);
	fd_closep(&ch->barrier);
	fd_closep(&p->own_pid);
	fd_closep(&p->own_time);
	if (ch->shared)
		(void)munmap(ch->shared, sizeof *ch->shared);
	arena_done(&p->arena);
}

static const int new_flags[CT_NS_COUNT] = {
	[CT_USER] = CLONE_NEWUSER, [CT_PID] = CLONE_NEWPID,       [CT_NET] = CLONE_NEWNET,   [CT_IPC] = CLONE_NEWIPC,
	[CT_UTS] = CLONE_NEWUTS,   [CT_CGROUP] = CLONE_NEWCGROUP, [CT_TIME] = CLONE_NEWTIME, [CT_MOUNT] = CLONE_NEWNS,
};
static const char *const ns_files[CT_NS_COUNT] = {
	[CT_USER] = "user", [CT_PID] = "pid",       [CT_NET] = "net",   [CT_IPC] = "ipc",
	[CT_UTS] = "uts",   [CT_CGROUP] = "cgroup", [CT_TIME] = "time", [CT_MOUNT] = "mnt",
};

static int open_namespaces(struct ct_prepared *p, struct err *e)
{
	const struct ct_spec *s = p->child.spec;

	for (int i = 0; i < CT_NS_COUNT; i++) {
		if (!s->ns[i].wanted)
			continue;
		if (!s->ns[i].path) {
			if (i != CT_USER && i != CT_PID && i != CT_TIME)
				p->child.unshare_flags |= new_flags[i];
			continue;
		}
		p->child.ns[i] = sys_openat(AT_FDCWD, s->ns[i].path, O_RDONLY, 0);
		if (p->child.ns[i] < 0)
			return err_sys(e, p->child.ns[i], "opening namespace '%s'", s->ns[i].path);
	}
	return p->child.unshare_flags & CLONE_NEWNET ? net_plan_loopback(true, &p->child.lo, e) : 0;
}

/* Namespaces of the process to be joined that are not ours already: entering one's own is refused for some. */
static int compare_namespaces(struct ct_prepared *p, pid_t pid, struct err *e)
{
	for (int i = 0; i < CT_NS_COUNT; i++) {
		char mine[64], theirs[64];
		struct stat a, b;

		(void)snprintf(mine, sizeof mine, "/proc/self/ns/%s", ns_files[i]);
		(void)snprintf(theirs, sizeof theirs, "/proc/%d/ns/%s", pid, ns_files[i]);
		if (stat(theirs, &b) < 0) {
			if (errno == ENOENT && i == CT_TIME)
				continue;
			return err_sys(e, errno, "looking at '%s'", theirs);
		}
		if (stat(mine, &a) == 0 && a.st_ino == b.st_ino && a.st_dev == b.st_dev)
			continue;
		if (i == CT_PID || i == CT_TIME)
			p->child.ns[i] = sys_openat(AT_FDCWD, theirs, O_RDONLY, 0);
		else
			p->child.setns_flags |= new_flags[i];
		if ((i == CT_PID || i == CT_TIME) && p->child.ns[i] < 0)
			return err_sys(e, p->child.ns[i], "opening '%s'", theirs);
	}
	return 0;
}

/* Files of the source show other owners below the target: those of the container's maps, or of the mount's own. */
static int map_ids(const struct ct_spec *s, const struct ct_mount *m, int fd, struct err *e)
{
	const bool own = m->n_uids > 0;
	AUTO_FD int userns = FD_NONE;
	int r;

	if (!m->idmap && !own)
		return 0;
	userns = own ? ids_namespace(m->uids, m->n_uids, m->gids, m->n_gids, e)
		     : ids_namespace(s->uids, s->n_uids, s->gids, s->n_gids, e);
	if (userns < 0)
		return userns;
	r = sys_mount_idmap(fd, userns, m->idmap_recursive);
	return r < 0 ? err_sys(e, r, "mapping the ids of '%s'", m->target) : 0;
}

/* Sources of binds by our own rights: inside of a user namespace the way to them may be closed. What is opened here is what
 * will be mounted, whatever happens to its name. */
static int open_sources(struct ct_prepared *p, struct err *e)
{
	const struct ct_spec *s = p->child.spec;
	const struct ct_mount root = {.source = s->rootfs, .bind = true, .recursive = true};
	int r;

	p->child.sources = arena_alloc(&p->arena, (s->n_mounts + 1) * sizeof *p->child.sources);
	if (!p->child.sources)
		return err_oom(e);
	for (size_t i = 0; i < s->n_mounts; i++)
		p->child.sources[i] = FD_NONE;
	if (p->child.ct->unprivileged)
		return 0;
	p->child.root_tree = inside_bind(&root);
	if (p->child.root_tree < 0)
		return err_sys(e, p->child.root_tree, "opening rootfs '%s'", s->rootfs);
	for (size_t i = 0; i < s->n_mounts; i++) {
		if (!s->mounts[i].bind || s->mounts[i].remount)
			continue;
		p->child.sources[i] = inside_bind(&s->mounts[i]);
		if (p->child.sources[i] < 0)
			return err_sys(e, p->child.sources[i], "bind mount of '%s' at '%s'", s->mounts[i].source,
				       s->mounts[i].target);
		r = map_ids(s, &s->mounts[i], p->child.sources[i], e);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Of a name that is given twice the last holds; one place is left for HOME. */
static int copy_texts(struct ct_prepared *p, struct err *e)
{
	const struct ct_process *pr = &p->child.spec->process;
	size_t n = 0;

	while (pr->env && pr->env[n])
		n++;
	p->child.argv = pr->args;
	p->child.envp = arena_alloc(&p->arena, (n + 2) * sizeof *p->child.envp);
	if (!p->child.envp)
		return err_oom(e);
	for (size_t i = 0; i < n; i++) {
		const size_t len = strcspn(pr->env[i], "=");
		bool later = false;

		for (size_t j = i + 1; j < n && !later; j++)
			later = strncmp(pr->env[i], pr->env[j], len + 1) == 0;
		if (!later)
			p->child.envp[p->child.n_env++] = pr->env[i];
	}
	return 0;
}

int ct_prepare(struct ct *c, struct ct_prepared *p, struct err *e)
{
	struct ct_child *ch = &p->child;
	int r;

	*ch = (struct ct_child){.ct = c,
				.spec = c->spec,
				.barrier = FD_NONE,
				.listener = c->listener,
				.streams = {FD_NONE, FD_NONE},
				.root_tree = FD_NONE,
				.root = FD_NONE,
				.sysctls = FD_NONE,
				.tty = FD_NONE};
	for (int i = 0; i < CT_NS_COUNT; i++)
		ch->ns[i] = FD_NONE;
	if (c->state.streams)
		memcpy(ch->streams, c->state.streams, sizeof ch->streams);
	r = copy_texts(p, e);
	if (r == 0)
		r = ct_become_undumpable(c, e);
	if (r == 0)
		r = fd_valid(c->join) ? compare_namespaces(p, c->pid, e) : open_namespaces(p, e);
	if (r == 0 && !fd_valid(c->join))
		r = open_sources(p, e);
	if (r == 0)
		r = ct_move_prepare(p, e);
	ch->in_user = fd_valid(c->join) ? ch->setns_flags & CLONE_NEWUSER : c->spec->ns[CT_USER].wanted;
	if (r == 0) {
		ch->shared = mmap(NULL, sizeof *ch->shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		if (ch->shared == MAP_FAILED) {
			ch->shared = NULL;
			return err_oom(e);
		}
	}
	ch->group = c->group;
	return r;
}
