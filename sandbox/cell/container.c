/* The host's side of a container: the clone, and the talk over the barrier. */
#include "cell/container_internal.h"

#include "base/fd.h"
#include "netns/netns.h"
#include "sys/sys.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

/* ---- The clone ---- */

static int write_offsets(const struct ct_spec *s, struct err *e)
{
	for (size_t i = 0; i < s->n_time_offsets; i++) {
		char line[96];
		int n = snprintf(line, sizeof line, "%s %s\n", s->time_offsets[i].key, s->time_offsets[i].value);
		int r = fd_write_file_at(AT_FDCWD, "/proc/self/timens_offsets", line, (size_t)n);

		if (r < 0)
			return err_sys(e, r, "writing '%s %s' to timens_offsets", s->time_offsets[i].key,
				       s->time_offsets[i].value);
	}
	return 0;
}

/* A process enters neither a PID nor a time namespace itself, its children are born there: so it is us who go, until the
 * child exists. */
static int go_ahead(struct ct_prepared *p, struct err *e)
{
	const struct ct_spec *s = p->child.spec;
	int r = 0;

	if (fd_valid(p->child.ns[CT_PID])) {
		p->own_pid = sys_openat(AT_FDCWD, "/proc/self/ns/pid", O_RDONLY, 0);
		r = p->own_pid < 0 ? p->own_pid : sys_setns(p->child.ns[CT_PID], CLONE_NEWPID);
		if (r < 0)
			return err_sys(e, r, "joining the PID namespace");
	}
	if (!s->ns[CT_TIME].wanted && !fd_valid(p->child.ns[CT_TIME]))
		return 0;
	p->own_time = sys_openat(AT_FDCWD, "/proc/self/ns/time", O_RDONLY, 0);
	if (p->own_time < 0)
		return err_sys(e, p->own_time, "this kernel has no time namespaces");
	if (fd_valid(p->child.ns[CT_TIME])) {
		r = sys_setns(p->child.ns[CT_TIME], CLONE_NEWTIME);
		return r < 0 ? err_sys(e, r, "joining the time namespace") : 0;
	}
	if (unshare(CLONE_NEWTIME) < 0)
		return err_sys(e, errno, "unshare of the time namespace");
	return write_offsets(s, e);
}

static int come_back(struct ct_prepared *p, struct err *e)
{
	int r = fd_valid(p->own_pid) ? sys_setns(p->own_pid, CLONE_NEWPID) : 0;

	if (r == 0 && fd_valid(p->own_time))
		r = sys_setns(p->own_time, CLONE_NEWTIME);
	return r < 0 ? err_sys(e, r, "coming back from the container's namespaces") : 0;
}

static _Noreturn void become_child(struct ct *c, struct ct_prepared *p)
{
	fd_closep(&c->slow_close);
	(void)close(c->barrier); /* our copy of the host's end would keep us from seeing the host die */
	ct_child_main(&p->child);
}

/* Root of a user namespace, as rootless engines call us, gets into PID and time namespaces that were made there, but not
 * back into the machine's. */
static bool goes_apart(const struct ct *c, const struct ct_prepared *p)
{
	const struct ct_child *ch = &p->child;

	return c->unprivileged && (fd_valid(ch->ns[CT_PID]) || fd_valid(ch->ns[CT_TIME]) ||
				   (!fd_valid(c->join) && c->spec->ns[CT_TIME].wanted));
}

static int join_user(struct ct *c, struct ct_prepared *p)
{
	struct ct_child *ch = &p->child;
	int r;

	if (!fd_valid(c->join)) {
		r = fd_valid(ch->ns[CT_USER]) ? sys_setns(ch->ns[CT_USER], CLONE_NEWUSER) : 0;
		fd_closep(&ch->ns[CT_USER]);
		return r == 0 && goes_apart(c, p) ? go_ahead(p, &(struct err){0}) : r;
	}
	/* That of a restored container is not its user namespace's: it is joined by who may, or with the others. */
	if ((ch->setns_flags & CLONE_NEWUSER) && (ch->setns_flags & CLONE_NEWCGROUP) &&
	    sys_setns(c->join, CLONE_NEWCGROUP) == 0)
		ch->setns_flags &= ~CLONE_NEWCGROUP;
	r = ch->setns_flags & CLONE_NEWUSER ? sys_setns(c->join, CLONE_NEWUSER) : 0;
	ch->setns_flags &= ~CLONE_NEWUSER;
	if (r == 0 && fd_valid(ch->ns[CT_PID]))
		r = sys_setns(ch->ns[CT_PID], CLONE_NEWPID);
	if (r == 0 && fd_valid(ch->ns[CT_TIME]))
		r = sys_setns(ch->ns[CT_TIME], CLONE_NEWTIME);
	return r;
}

/* In a process between: a new PID namespace belongs to the user namespace of who makes it, and one that is joined may
 * ask for rights in its own, so the user namespace comes first. The child is ours all the same (CLONE_PARENT). */
static _Noreturn void clone_from_within(struct ct *c, struct ct_prepared *p, int to, uint64_t flags, int group)
{
	const struct clone_args args = {.flags = flags | CLONE_PARENT, .cgroup = group >= 0 ? (uint64_t)group : 0};
	int r = join_user(c, p);

	if (r == 0)
		r = sys_clone3(&args);
	if (r == 0)
		become_child(c, p);
	(void)!write(to, &r, sizeof r);
	_exit(0);
}

/* The child's pid, as sys_clone3(). */
static pid_t clone_inside(struct ct *c, struct ct_prepared *p, uint64_t flags, int group, int *ret_pidfd)
{
	const struct clone_args args = {.flags = CLONE_PIDFD, .pidfd = (uintptr_t)ret_pidfd, .exit_signal = SIGCHLD};
	AUTO_FD int between = FD_NONE;
	siginfo_t ignored;
	int ends[2], said = -EIO;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	pid = sys_clone3(&args);
	if (pid == 0)
		clone_from_within(c, p, ends[1], flags, group);
	between = pid < 0 ? FD_NONE : *ret_pidfd;
	*ret_pidfd = FD_NONE;
	fd_closep(&ends[1]);
	if (pid > 0 && read(ends[0], &said, sizeof said) != (ssize_t)sizeof said)
		said = -EIO;
	fd_closep(&ends[0]);
	if (pid < 0)
		return pid;
	(void)!sys_wait_exit(between, true, &ignored);
	if (said > 0)
		*ret_pidfd = sys_pidfd_open(said);
	return said > 0 && *ret_pidfd < 0 ? *ret_pidfd : said;
}

static int clone_child(struct ct *c, struct ct_prepared *p, struct err *e)
{
	const struct ct_spec *s = c->spec;
	const bool new_user = !fd_valid(c->join) && s->ns[CT_USER].wanted && !s->ns[CT_USER].path;
	const bool new_pid = !fd_valid(c->join) && s->ns[CT_PID].wanted && !s->ns[CT_PID].path;
	const bool apart = goes_apart(c, p);
	const bool inside = apart || (fd_valid(c->join) ? p->child.setns_flags & CLONE_NEWUSER
							: new_pid && fd_valid(p->child.ns[CT_USER]));
	int pidfd = FD_NONE;
	const int group = c->group && !c->place && !p->enters ? cg_group_v2(c->group) : FD_NONE;
	const uint64_t into = fd_valid(group) ? CLONE_INTO_CGROUP : 0;
	const uint64_t flags = into | (new_user ? CLONE_NEWUSER : 0) | (new_pid ? CLONE_NEWPID : 0);
	const struct clone_args args = {
		.flags = CLONE_PIDFD | flags,
		.pidfd = (uintptr_t)&pidfd,
		.exit_signal = SIGCHLD,
		.cgroup = into ? (uint64_t)group : 0,
	};
	int r = apart || (inside && fd_valid(c->join)) ? 0 : go_ahead(p, e);
	pid_t pid = r < 0 ? r : inside ? clone_inside(c, p, flags, group, &pidfd) : sys_clone3(&args);

	if (pid == 0)
		become_child(c, p);
	if (r == 0 && pid < 0)
		(void)err_sys(e, pid, "clone3 into new namespaces");
	c->pid = pid > 0 ? pid : 0;
	c->pidfd = pidfd;
	r = come_back(p, e);
	return pid < 0 ? pid : r;
}

/* ---- The talk ---- */

static int hand_over(struct ct *c, struct err *e)
{
	const struct ct_spec *s = c->spec;
	char path[48], value[16];
	int r = 0;

	if (!fd_valid(c->join) && s->n_uids > 0)
		r = geteuid() == 0 ? ids_write_maps(c->pid, s->uids, s->n_uids, s->gids, s->n_gids, false, e)
				   : ids_write_helped(c->pid, s->uids, s->n_uids, s->gids, s->n_gids, e);
	if (r == 0)
		r = ct_raise_limits(c, e);
	if (r < 0 || !s->process.oom_score_adj.set)
		return r;
	/* By us: inside of a user namespace it could not be lowered. */
	(void)snprintf(path, sizeof path, "/proc/%d/oom_score_adj", c->pid);
	(void)snprintf(value, sizeof value, "%lld", (long long)s->process.oom_score_adj.v);
	r = fd_write_file_at(AT_FDCWD, path, value, strlen(value));
	return r < 0 && !(c->unprivileged && r == -EACCES) ? err_sys(e, r, "writing '%s' to %s", value, path) : 0;
}

/* The child may go on, and enters its groups. */
static int release(struct ct *c, bool enters, struct err *e)
{
	int entries[BARRIER_MAX_FDS], n = 0;
	int r = c->group ? cg_group_entries(c->group, enters, entries, e) : 0;

	if (r < 0)
		return r;
	n = r;
	r = barrier_tell_with(c->barrier, (uint32_t)c->pid, entries, n, e);
	while (n > 0)
		fd_closep(&entries[--n]);
	return r;
}

/* Before its mounts are made, so that sysctls of the devices find them. */
static int bring_devices(struct ct *c, struct err *e)
{
	AUTO_FD int netns = FD_NONE;
	char path[40];
	int r = barrier_expect(c->barrier, BARRIER_APART, e);

	if (r < 0)
		return r;
	(void)snprintf(path, sizeof path, "/proc/%d/ns/net", c->pid);
	netns = sys_openat(AT_FDCWD, path, O_RDONLY, 0);
	if (netns < 0)
		return err_sys(e, netns, "opening the container's network namespace");
	for (size_t i = 0; r == 0 && i < c->spec->n_net_devices; i++)
		r = net_move_device(netns, c->spec->net_devices[i].name, c->spec->net_devices[i].inside, e);
	return r;
}

static int talk(struct ct *c, struct ct_shared *shared, bool enters, struct err *e)
{
	/* While the child makes its namespaces: that of groups comes after the word to go on. */
	int r = c->place ? c->place(c, c->arg, e) : 0;

	if (r == 0)
		r = hand_over(c, e);
	if (r == 0 && c->born)
		r = c->born(c, c->arg, e);
	if (r == 0 && !fd_valid(c->join) && c->spec->n_net_devices > 0)
		r = bring_devices(c, e);
	if (r == 0 && shared && c->group) { /* what the child inherited of it was not all made, or another one */
		shared->group = *c->group;
		shared->placed = true;
	}
	if (r == 0)
		r = release(c, enters, e);
	fd_closep(&c->slow_close);
	if (r == 0 && c->mounted) {
		r = barrier_expect(c->barrier, BARRIER_MOUNTED, e);
		if (r == 0)
			r = c->mounted(c, c->arg, e);
		if (r == 0)
			r = barrier_tell(c->barrier, 1, e);
	}
	if (r == 0 && c->straight)
		r = barrier_tell(c->barrier, 1, e); /* it finds this when it is created, and waits for nobody */
	return r == 0 ? barrier_expect(c->barrier, BARRIER_CREATED, e) : r;
}

/* The child may have failed before our side of the talk did: its account is the one that explains. */
static int explain(struct ct *c, int r, struct err *e)
{
	struct err from = {0};

	if (!fd_valid(c->barrier) || e->stage[0] || (r != -EPIPE && r != -ECONNRESET && r != -ESRCH))
		return r;
	if (barrier_expect(c->barrier, BARRIER_CREATED, &from) < 0) {
		*e = from;
		return from.code ? -from.code : r;
	}
	return r;
}

void ct_abandon(struct ct *c)
{
	siginfo_t ignored;

	if (fd_valid(c->pidfd)) {
		(void)!sys_pidfd_kill(c->pidfd, SIGKILL);
		(void)!sys_wait_exit(c->pidfd, true, &ignored);
	}
	fd_closep(&c->pidfd);
	fd_closep(&c->barrier);
}

int ct_fault(const char *stage, struct err *e)
{
	int r = stage_fault(stage, e);

	if (r < 0)
		(void)snprintf(e->stage, sizeof e->stage, "%s", stage);
	return r;
}

/* Where groups are delegated to namespaces (cgroups(7), nsdelegate: what systemd mounts), nobody is moved between groups
 * that his namespace does not show, ours and the container's, by clone3. A file that we have opened knows ours. */
static bool clones_from_another_view(const struct ct *c, const struct ct_prepared *p)
{
	const int both = CLONE_NEWUSER | CLONE_NEWCGROUP;

	return fd_valid(c->join) && !c->place && (p->child.setns_flags & both) == both;
}

/* *ret_again: the child died before its first instruction, which some kernels do to everybody that clone3 puts into a group
 * (see stages.c of cells): the next one enters by itself. */
static int create(struct ct *c, bool enters, bool *ret_again, struct err *e)
{
	struct ct_prepared p = {.own_pid = FD_NONE, .own_time = FD_NONE, .enters = enters};
	int r;

	c->barrier = c->pidfd = FD_NONE;
	r = ct_fault("prepare", e);
	if (r == 0)
		r = ct_prepare(c, &p, e);
	enters |= r == 0 && clones_from_another_view(c, &p);
	p.enters = enters;
	if (r == 0)
		r = barrier_make(&c->barrier, &p.child.barrier, e);
	if (r == 0)
		r = clone_child(c, &p, e);
	if (r == 0)
		r = ct_fault("handover", e);
	fd_closep(&p.child.barrier);
	if (r >= 0)
		r = talk(c, p.child.shared, enters, e);
	if (r < 0)
		r = explain(c, r, e);
	*ret_again = r < 0 && !enters && !c->place && c->pid > 0 && p.child.shared && !p.child.shared->born;
	if (r < 0)
		ct_abandon(c);
	ct_prepared_done(&p);
	return r;
}

/* A group that has been given to the container's user (cg_group_give()) is not open to root in a user namespace,
 * for clone3; a file of it that was opened before is. */
static bool is_given_away(const struct ct *c)
{
	const int dir = c->group && !c->place ? cg_group_v2(c->group) : FD_NONE;
	struct stat st;

	if (!fd_valid(dir) || !(fd_valid(c->join) || c->spec->ns[CT_USER].path))
		return false;
	return fstatat(dir, "cgroup.procs", &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_uid != geteuid();
}

int ct_create(struct ct *c, struct err *e)
{
	const pid_t joined = c->pid;
	bool again = false;
	int r = create(c, is_given_away(c), &again, e);

	if (!again)
		return r;
	*e = (struct err){0};
	c->pid = joined;
	return create(c, true, &again, e);
}

static int pass_listener(int sock, pid_t pid, const struct ct_listener *asked, int *listener, struct err *e)
{
	int r = asked && asked->pass ? asked->pass(*listener, pid, asked->arg, e)
				     : err_set(e, ERR_BUG, EPROTO, "a seccomp listener that nobody wants");

	fd_closep(listener);
	return r == 0 ? barrier_tell(sock, 1, e) : r;
}

static int await_exec(int sock, pid_t pid, const struct ct_listener *asked, struct err *e)
{
	uint64_t exec_ns = 0;
	int listener = FD_NONE, r;

	/* Hooks of the container's have time, and end of file comes in any case. */
	while ((r = barrier_take_start(sock, &exec_ns, &listener, e)) > 0) {
		struct pollfd p = {.fd = sock, .events = POLLIN};

		if (r == 2) {
			r = pass_listener(sock, pid, asked, &listener, e);
			if (r < 0)
				return r;
		}
		if (poll(&p, 1, -1) < 0 && errno != EINTR)
			return err_sys(e, errno, "waiting for the container to execute");
	}
	fd_closep(&listener);
	return r;
}

int ct_start(int sock, pid_t pid, const struct ct_listener *asked, struct err *e)
{
	int r = barrier_tell(sock, 1, e);

	return r == 0 ? await_exec(sock, pid, asked, e) : r;
}

int ct_go(struct ct *c, struct err *e)
{
	int r = c->straight ? await_exec(c->barrier, c->pid, &c->asked, e) : ct_start(c->barrier, c->pid, &c->asked, e);

	fd_closep(&c->barrier);
	if (r < 0)
		ct_abandon(c);
	return r;
}
