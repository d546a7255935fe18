#include "cell/host.h"

#include "base/fd.h"
#include "cell/internal.h"
#include "sys/sys.h"

#include <fcntl.h>
#include <linux/securebits.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

enum { END_WAIT_MS = 10000, RESTORE_MEMORY = 32 << 20, RESTORE_PIDS = 16 };

void cell_init(struct cell *c, struct cell_host *host, const struct cell_spec *spec, const struct filter *filter)
{
	*c = (struct cell){
		.host = host,
		.spec = spec,
		.filter = filter,
		.slot = -1,
		.cg = CGROUP_INIT,
		.net = FD_NONE,
		.skeleton = FD_NONE,
		.barrier = FD_NONE,
		.barrier_child = FD_NONE,
		.in = FD_NONE,
		.out = FD_NONE,
		.std_out = FD_NONE,
		.std_err = FD_NONE,
		.child_in = FD_NONE,
		.child_out = FD_NONE,
		.child_std_out = FD_NONE,
		.child_std_err = FD_NONE,
		.pidfd = FD_NONE,
		.signal_fd = FD_NONE,
		.worker = FD_NONE,
		.worker_child = FD_NONE,
		.worker_pidfd = FD_NONE,
		.worker_log = FD_NONE,
		.worker_log_child = FD_NONE,
		.tmp_tree = FD_NONE,
	};
	for (size_t i = 0; i < PLAN_MAX_MOUNTS; i++)
		c->mounts[i] = FD_NONE;
}

void cell_publish(struct cell *c)
{
	c->role = PLAN_PUBLISHED;
}

void cell_restore_from(struct cell *c, const struct snap *from, int signal_fd)
{
	c->signal_fd = signal_fd;
	c->role = PLAN_RESTORED;
	c->from = from;
}

static int make_id(char *id, size_t size, struct err *e)
{
	unsigned char raw[6];

	if (getrandom(raw, sizeof raw, 0) != (ssize_t)sizeof raw)
		return err_sys(e, errno, "drawing the cell's id");
	(void)snprintf(id, size, "%02x%02x%02x%02x%02x%02x", raw[0], raw[1], raw[2], raw[3], raw[4], raw[5]);
	return 0;
}

int enter_slot(struct cell *c, struct err *e)
{
	struct slot_record rec = {0};
	int r = make_id(c->id, sizeof c->id, e);

	if (r < 0)
		return r;
	r = slot_take(c->host->slots, c->host->n_ranges, c->host->held, e);
	if (r < 0)
		return r;
	c->slot = r;
	if (c->host->born)
		c->host->born[r] = 0;
	(void)snprintf(rec.cgroup_name, sizeof rec.cgroup_name, "cell-%s", c->id);
	if (c->host->limits)
		(void)snprintf(rec.cgroup_parent, sizeof rec.cgroup_parent, "%s", c->host->cg_parent.path);
	if (c->spec->tmp_dir)
		(void)snprintf(rec.quota_path, sizeof rec.quota_path, "%s/fsbox-%s", c->spec->tmp_dir, c->id);
	return slot_write(c->host->slots, c->slot, &rec, e);
}

int undo_slot(struct cell *c, struct err *e)
{
	(void)e;
	/* The record stays when something could not be removed: the next start tries again. */
	if (c->slot < 0 || c->has_cg || c->quota.path[0] != '\0' || (c->pid != 0 && !c->reaped))
		return 0;
	c->died_at_birth = c->pid != 0 && c->host->born && !c->host->born[c->slot];
	slot_release(c->host->slots, c->slot);
	if (c->host->held)
		c->host->held[c->slot] = 0;
	c->slot = -1;
	return 0;
}

int enter_cgroup(struct cell *c, struct err *e)
{
	const struct cg_limits limits = {
		.memory_bytes = c->spec->memory_bytes,
		.pids = c->spec->pids,
		.cpu = cg_cpu_of_memory(c->spec->memory_bytes, c->host->cg.n_cpus),
		.boost = !c->spec->no_init_boost,
		/* CRIU lives in the cell's group while it works: some 10 MiB, and a handful of processes at a time. */
		.extra_memory_bytes = c->role == PLAN_RESTORED ? RESTORE_MEMORY : 0,
		.extra_pids = c->role == PLAN_RESTORED ? RESTORE_PIDS : 0,
	};
	char name[32];

	if (!c->host->limits)
		return 0;
	(void)snprintf(name, sizeof name, "cell-%s", c->id);
	c->has_cg = true;
	return cg_begin(&c->host->cg, &c->host->cg_parent, name, &limits, &c->cg, e);
}

int undo_cgroup(struct cell *c, struct err *e)
{
	if (!c->has_cg)
		return 0;

	int r = c->no_wait ? cg_try_remove(&c->cg, e) : cg_remove(&c->cg, e);
	if (r == -EAGAIN)
		return r;
	cg_close(&c->cg);
	if (r == 0)
		c->has_cg = false;
	return r;
}

int enter_budget(struct cell *c, struct err *e)
{
	return c->has_cg ? cg_finish(&c->cg, e) : 0;
}

int enter_netns(struct cell *c, struct err *e)
{
	const struct cell_host *h = c->host;

	if (h->take_net && c->role == PLAN_PLAIN && (c->plan->ns_flags & CLONE_NEWNET))
		c->net = h->take_net(h->take_net_arg, c->plan->lo_up);
	/* CRIU's look at a kernel that it does not know yet needs a loopback that is up. */
	int r = c->plan->lo_up || c->role == PLAN_RESTORED ? net_plan_loopback(true, &c->lo, e) : 0;

	return r == 0 && c->role == PLAN_RESTORED ? net_plan_loopback(false, &c->lo_down, e) : r;
}

int undo_netns(struct cell *c, struct err *e)
{
	(void)e;
	fd_closep(&c->net);
	return 0;
}

static int explain_mount(const struct plan_mount *m, int r, struct err *e)
{
	const char *what = m->kind == MOUNT_OVERLAY ? m->lower[0] : m->source ? m->source : "a new file system";

	r = err_sys(e, r, "mounting '%s' at '/%s'", what, m->target);
	return m->kind == MOUNT_OVERLAY
		       ? err_hint(e, r, "this kernel may have no overlay file system; modprobe overlay")
		       : r;
}

static bool exists_here(const char *target)
{
	char path[64];

	(void)snprintf(path, sizeof path, "/%s", target);
	return faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

int enter_rootfs(struct cell *c, struct err *e)
{
	int r = root_skeleton(c->host->state_dir, c->plan, &c->skeleton, e);

	if (r < 0 || !c->plan->privileged)
		return r;
	for (size_t i = 0; i < c->plan->n_mounts; i++) {
		const struct plan_mount *m = &c->plan->mounts[i];

		if (m->kind == MOUNT_PROC)
			continue; /* made inside: it belongs to the cell's pid namespace */
		/* The cell's /proc has what ours has, but for processes. */
		if (m->optional && !exists_here(m->target))
			continue;
		/* tmpfs is the user namespace's own when the child makes it: its root then belongs to the cell's user */
		if (m->kind == MOUNT_TMPFS || m->kind == MOUNT_OWN)
			continue;
		r = root_mount_make(m, &c->mounts[i]);
		if (r < 0)
			return explain_mount(m, r, e);
	}
	return 0;
}

int undo_rootfs(struct cell *c, struct err *e)
{
	(void)e;
	for (size_t i = 0; i < PLAN_MAX_MOUNTS; i++)
		fd_closep(&c->mounts[i]);
	fd_closep(&c->skeleton);
	return 0;
}

/* @host_reads: the host keeps the reading end. Our end does not block; the cell's does. */
static int make_pipe(struct cell *c, int *host_end, int *child_end, bool host_reads, struct err *e)
{
	int p[2], r;

	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(e, errno, "making a pipe");
	*host_end = host_reads ? p[0] : p[1];
	*child_end = host_reads ? p[1] : p[0];
	r = fd_move_above(child_end, FD_FLOOR);
	if (r < 0)
		return err_sys(e, r, "moving a pipe's end");
	if (fcntl(*host_end, F_SETFL, O_NONBLOCK) < 0)
		return err_sys(e, errno, "making a pipe non-blocking");
	/* The function may open its end again by name (/dev/stdout): it has to belong to the function's user. */
	if (c->plan->privileged &&
	    fchown(*child_end, c->plan->uid_outside + CELL_UID, c->plan->gid_outside + CELL_GID) < 0)
		return err_sys(e, errno, "giving a pipe to the cell's user");
	return 0;
}

int enter_pipes(struct cell *c, struct err *e)
{
	int r = make_pipe(c, &c->in, &c->child_in, false, e);

	if (r == 0)
		r = make_pipe(c, &c->out, &c->child_out, true, e);
	if (r == 0)
		r = make_pipe(c, &c->std_out, &c->child_std_out, true, e);
	if (r == 0)
		r = make_pipe(c, &c->std_err, &c->child_std_err, true, e);
	if (r == 0 && c->role == PLAN_RESTORED)
		r = restore_inputs(c, e);
	if (r == 0)
		r = barrier_make(&c->barrier, &c->barrier_child, e);
	if (r == 0) {
		r = fd_move_above(&c->barrier_child, FD_FLOOR);
		if (r < 0)
			r = err_sys(e, r, "moving the barrier's end");
	}
	return r;
}

static void close_child_ends(struct cell *c)
{
	fd_closep(&c->worker_child);
	fd_closep(&c->worker_log_child);
	fd_closep(&c->tmp_tree);
	fd_closep(&c->child_in);
	fd_closep(&c->child_out);
	fd_closep(&c->child_std_out);
	fd_closep(&c->child_std_err);
	fd_closep(&c->barrier_child);
}

int undo_pipes(struct cell *c, struct err *e)
{
	(void)e;
	close_child_ends(c);
	fd_closep(&c->in);
	fd_closep(&c->out);
	fd_closep(&c->std_out);
	fd_closep(&c->std_err);
	fd_closep(&c->barrier);
	buf_done(&c->filter_image);
	return 0;
}

static int explain_clone(int r, const struct cell *c, struct err *e)
{
	r = err_sys(e, r, "clone3 into new namespaces");
	if (r == -EPERM && !c->plan->privileged)
		return err_hint(
			e, r,
			"this host does not let an ordinary user make user namespaces (sysctl "
			"kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns); run as root");
	if (r == -ENOSPC)
		return err_hint(
			e, r, "a limit of namespaces is reached; see sysctl user.max_user_namespaces and its sisters");
	if (r == -EACCES || r == -EBUSY)
		return err_hint(e, r, "the cgroup '%s' does not take processes from here", c->cg.parent);
	return r;
}

/* Some limits of the kernel are counted for a user, and through the user namespaces above for whoever made them: inotify
 * instances, queued signals, message queues, locked memory (user_namespaces(7), ucounts). A namespace made by uid 0 would
 * let one cell use up root's own. So the cell's namespace is made by an id of its own range: outside the mapped ids that
 * anything in the cell has, and with our capabilities kept. */
enum { NAMESPACE_OWNER = CELL_UID + 1 };

struct as_owner {
	bool active;
	int securebits, dumpable, death_signal;
};

static int become_owner(const struct cell *c, struct as_owner *was)
{
	*was = (struct as_owner){0};
	if (!c->plan->privileged)
		return 0;
	was->securebits = prctl(PR_GET_SECUREBITS, 0, 0, 0, 0);
	was->dumpable = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);
	if (was->securebits < 0 || prctl(PR_GET_PDEATHSIG, &was->death_signal, 0, 0, 0) < 0 ||
	    prctl(PR_SET_SECUREBITS, (unsigned long)was->securebits | SECBIT_NO_SETUID_FIXUP, 0, 0, 0) < 0)
		return -errno;
	was->active = true;
	return syscall(SYS_setresuid, -1, c->plan->uid_outside + NAMESPACE_OWNER, -1) < 0 ? -errno : 0;
}

/* A change of ids also makes a process undumpable and forgets its own death signal: both are put back. */
static int be_ourselves(const struct cell *c, const struct as_owner *was)
{
	if (!was->active)
		return 0;
	if (syscall(SYS_setresuid, -1, c->host->facts.euid, -1) < 0 ||
	    prctl(PR_SET_SECUREBITS, (unsigned long)was->securebits, 0, 0, 0) < 0 ||
	    prctl(PR_SET_DUMPABLE, was->dumpable == 1 ? 1UL : 0UL, 0, 0, 0) < 0 ||
	    prctl(PR_SET_PDEATHSIG, (unsigned long)was->death_signal, 0, 0, 0) < 0)
		return -errno;
	return 0;
}

static pid_t clone_as_owner(struct cell *c, const struct clone_args *args, struct err *e)
{
	const bool elsewhere = fd_valid(c->net);
	struct as_owner was = {0};
	int r = elsewhere && setns(c->net, CLONE_NEWNET) < 0 ? -errno : become_owner(c, &was);
	pid_t pid = r < 0 ? r : sys_clone3(args);

	if (pid == 0) {
		if (c->host->born)
			c->host->born[c->slot] = 1;
		child_main(c);
	}
	r = be_ourselves(c, &was);
	/* Whoever goes on in a cell's network gives it to the next ones; better that the kernel ends all cells with us. */
	if (elsewhere && setns(c->host->own_net, CLONE_NEWNET) < 0)
		abort();
	fd_closep(&c->net);     /* from here on it is the cell's alone */
	if (r < 0 && pid > 0) { /* never seen; to go on with another uid would be worse than to stop */
		c->pid = pid;
		return err_sys(e, r, "taking back our own ids");
	}
	return pid < 0 ? explain_clone(pid, c, e) : pid;
}

int enter_spawn(struct cell *c, struct err *e)
{
	const bool into = c->has_cg && fd_valid(c->cg.v2) && !c->host->clone_beside;
	int pidfd = FD_NONE;
	/* The other namespaces the child makes for itself, while this side goes on: a network namespace takes longer than
	 * everything the host has to do meanwhile. */
	const struct clone_args args = {
		.flags = CLONE_NEWUSER | CLONE_NEWPID | CLONE_PIDFD | (into ? CLONE_INTO_CGROUP : 0),
		.pidfd = (uintptr_t)&pidfd,
		.exit_signal = SIGCHLD,
		.cgroup = into ? (uint64_t)c->cg.v2 : 0,
	};
	pid_t pid = clone_as_owner(c, &args, e);

	c->pidfd = pidfd;
	if (pid < 0)
		return pid;
	c->pid = pid;
	close_child_ends(c);
	return 0;
}

void cell_kill(struct cell *c)
{
	struct err ignored = {0};

	if (c->reaped || !fd_valid(c->pidfd))
		return;
	/* PID 1's death ends its whole namespace; the group's kill is for what may be frozen or not yet inside. */
	(void)!sys_pidfd_kill(c->pidfd, SIGKILL);
	if (!c->has_cg)
		return;
	(void)!cg_kill(&c->cg, &ignored);
	/* Dying takes CPU time, too: a thousand processes at a small share would take seconds of it. */
	(void)!cg_begin_boost(&c->cg, &ignored);
}

bool cell_has_exited(struct cell *c, bool block)
{
	struct pollfd p = {.fd = c->pidfd, .events = POLLIN};

	/* A process that hangs in the kernel, in a file system that does not answer, say, keeps PID 1 from ending. */
	while (block && !c->reaped && fd_valid(c->pidfd) && poll(&p, 1, END_WAIT_MS) < 0 && errno == EINTR)
		;
	if (!c->reaped && fd_valid(c->pidfd) && sys_wait_exit(c->pidfd, false, &c->exit) == 0)
		c->reaped = true;
	return c->reaped;
}

int undo_spawn(struct cell *c, struct err *e)
{
	if (!fd_valid(c->pidfd))
		return 0;
	cell_kill(c);
	if (!cell_has_exited(c, !c->no_wait) && c->no_wait)
		return -EAGAIN;
	if (!c->reaped)
		return err_set(
			e, ERR_BUSY, ETIMEDOUT,
			"cell %s was killed, but a process of it (host pid %d or below) still hangs in the kernel",
			c->id, c->pid);
	fd_closep(&c->pidfd);
	return 0;
}
