/* The child between clone3 and exec: system calls on prepared data. It runs on a copy of the host's memory, in a process
 * whose other threads (there are none) would be gone, so: no allocation, no stdio, no locks. Its error is a value that
 * travels over the barrier. */
#include "cell/internal.h"

#include "base/fd.h"
#include "runtime/channel.h"
#include "sys/sys.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* What needs no ids yet runs while the host writes limits and maps. */
static int child_namespaces(struct child *ch, struct err *e)
{
	/* In a network namespace that was ready it is already: born there. */
	const int flags = fd_valid(ch->cell->net) ? ch->plan->ns_flags & ~CLONE_NEWNET : ch->plan->ns_flags;

	return unshare(flags) < 0 ? err_sys(e, errno, "unshare of namespaces") : 0;
}

static int child_net(struct child *ch, struct err *e)
{
	const char *id = ch->plan->id;
	int r;

	if (ch->plan->lo_up && !fd_valid(ch->cell->net)) {
		r = net_send(&ch->cell->lo);
		if (r < 0)
			return err_sys(e, r, "bringing up lo");
	}
	if (sethostname(id, strlen(id)) < 0)
		return err_sys(e, errno, "setting the host name");
	return 0;
}

static int child_ids(struct child *ch, struct err *e)
{
	int groups[BARRIER_MAX_FDS];
	int n = barrier_wait(ch->barrier, groups);

	if (n < 0)
		return err_sys(e, n, "waiting for the id maps");
	for (int i = 0; i < n; i++) {
		if (write(groups[i], "0", 1) != 1)
			return err_sys(e, errno, "entering a v1 cgroup");
		fd_closep(&groups[i]);
	}
	/* Now that we are in the cell's groups, they become the root of what /proc/self/cgroup shows inside. */
	if (unshare(CLONE_NEWCGROUP) < 0)
		return err_sys(e, errno, "unshare of the cgroup namespace");
	/* Raw calls: libc's setgroups and setresuid synchronise with threads by taking locks. Where setgroups is denied
	 * (one id mapped, no privileges) the caller's supplementary groups stay; inside they are nobody's. */
	if (ch->plan->privileged && syscall(SYS_setgroups, 0, NULL) < 0)
		return err_sys(e, errno, "dropping supplementary groups");
	/* A cell that is to be restored stays root of its namespace until "user": CRIU has to be that. */
	const unsigned id = ch->plan->role == PLAN_RESTORED ? 0 : CELL_UID;
	if (syscall(SYS_setresgid, id, id, id) < 0)
		return err_sys(e, errno, "becoming gid %u", id);
	/* Our uid outside was never root of this user namespace, so this keeps its capabilities until "caps". */
	if (syscall(SYS_setresuid, id, id, id) < 0)
		return err_sys(e, errno, "becoming uid %u", id);
	return child_follow_host(ch, e);
}

/* A change of ids clears it, hence after each. The host cannot have died unseen: if it dies from now on this ends the cell.
 * If it died before, its pidfd is readable; its end of the barrier tells only when no other child, born meanwhile, has a
 * copy. A host that is dying this very moment has told its children already and is not counted as dead yet: both
 * happen under the list of processes' lock (exit_notify()), which getpriority(2) of a group takes, too. */
int child_follow_host(const struct child *ch, struct err *e)
{
	struct pollfd host = {.fd = ch->cell->host->self, .events = POLLIN};
	char probe;
	ssize_t left;

	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return err_sys(e, errno, "setting the parent death signal");
	(void)syscall(SYS_getpriority, PRIO_PGRP, 0);
	left = recv(ch->barrier, &probe, sizeof probe, MSG_DONTWAIT | MSG_PEEK);
	return left == 0 || poll(&host, 1, 0) == 1 ? err_sys(e, EPIPE, "following the host") : 0;
}

static int child_mounts(struct child *ch, struct err *e)
{
	const struct cell_plan *p = ch->plan;
	int r;

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return err_sys(e, errno, "making mounts private");
	/* All sources first, by the host's names, then the new root hides them. */
	for (size_t i = 0; i < p->n_mounts; i++) {
		if (fd_valid(ch->mounts[i]) || p->mounts[i].optional)
			continue;
		r = root_mount_make(&p->mounts[i], &ch->mounts[i]);
		if (r < 0)
			return err_sys(e, r, "mounting '%s' at '/%s'",
				       p->mounts[i].source ? p->mounts[i].source : "a new file system",
				       p->mounts[i].target);
	}
	for (size_t i = 0; i < p->n_mounts; i++) {
		const struct plan_mount *m = &p->mounts[i];

		if (i > 0 && m->optional && !fd_valid(ch->mounts[i])) {
			/* Only what this kernel's /proc has is masked. */
			if (faccessat(ch->mounts[0], m->target, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
				continue;
			r = root_mount_make(m, &ch->mounts[i]);
			if (r < 0)
				return err_sys(e, r, "mounting the mask of '/%s'", m->target);
		}
		r = i == 0 ? root_attach_root(ch->mounts[0]) : root_attach(ch->mounts[0], ch->mounts[i], m->target);
		if (r < 0)
			return err_sys(e, r, "attaching '/%s'", m->target);
	}
	return 0;
}

static int child_pivot(struct child *ch, struct err *e)
{
	int r = root_pivot(ch->mounts[0]);

	if (r < 0)
		return err_sys(e, r, "pivot_root");
	return chdir(ch->plan->cwd) < 0 ? err_sys(e, errno, "entering '%s'", ch->plan->cwd) : 0;
}

static int write_file(const struct plan_file *f, bool privileged, struct err *e)
{
	AUTO_FD int fd = openat(AT_FDCWD, f->path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, f->mode);
	const uid_t owner = f->owned ? CELL_UID : 0;

	if (fd < 0)
		return err_sys(e, errno, "making '/%s'", f->path);
	for (size_t done = 0; done < f->len;) {
		ssize_t n = write(fd, (const char *)f->data + done, f->len - done);

		if (n <= 0)
			return err_sys(e, n < 0 ? errno : EIO, "writing '/%s'", f->path);
		done += (size_t)n;
	}
	return privileged && fchown(fd, owner, owner) < 0 ? err_sys(e, errno, "giving '/%s' away", f->path) : 0;
}

int child_seal(const char *path, struct err *e)
{
	AUTO_FD int mount_fd = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int r = mount_fd < 0 ? -errno : sys_mount_attr(mount_fd, MOUNT_ATTR_RDONLY, 0, false);

	return r < 0 ? err_sys(e, r, "making '%s' read-only", path) : 0;
}

/* /run, where the cell has one of its own. */
static int child_files(struct child *ch, struct err *e)
{
	const struct cell_plan *p = ch->plan;

	if (!p->has_run)
		return 0;
	(void)umask(0);
	if (chdir("/") < 0)
		return err_sys(e, errno, "entering '/'");
	for (size_t i = 0; i < p->n_files; i++) {
		int r = write_file(&p->files[i], p->privileged, e);

		if (r < 0)
			return r;
	}
	if (chdir(p->cwd) < 0)
		return err_sys(e, errno, "entering '%s'", p->cwd);
	return p->role == PLAN_RESTORED ? 0 : child_seal("/run", e);
}

/* Ignored signals survive exec, blocked ones too; the function starts with neither. */
int child_reset_signals(struct err *e)
{
	const struct sigaction dfl = {.sa_handler = SIG_DFL};
	sigset_t none;

	for (int sig = 1; sig <= SIGRTMAX; sig++) {
		bool fixed = sig == SIGKILL || sig == SIGSTOP || (sig > SIGSYS && sig < SIGRTMIN); /* libc's own */

		if (!fixed && sigaction(sig, &dfl, NULL) < 0)
			return err_sys(e, errno, "resetting signal %d", sig);
	}
	(void)sigemptyset(&none);
	return sigprocmask(SIG_SETMASK, &none, NULL) < 0 ? err_sys(e, errno, "unblocking signals") : 0;
}

static int place_fd(int from, int to, struct err *e)
{
	return dup3(from, to, 0) < 0 ? err_sys(e, errno, "placing descriptor %d", to) : 0;
}

static int child_session(struct child *ch, struct err *e)
{
	const struct cell *c = ch->cell;
	AUTO_FD int null = open("/dev/null", O_RDONLY | O_CLOEXEC); /* the cell's own, so that it can be dumped */
	int r;

	if (null < 0)
		return err_sys(e, errno, "opening /dev/null");
	if (setsid() < 0)
		return err_sys(e, errno, "setsid");
	r = sys_new_session_keyring();
	if (r < 0 && r != -ENOSYS)
		return err_sys(e, r, "joining a new session keyring");
	(void)umask(022);
	r = child_reset_signals(e);
	if (r == 0)
		r = fd_move_above(&null, CHAN_FD_OUT + 1);
	if (r == 0)
		r = place_fd(null, 0, e);
	if (r == 0)
		r = place_fd(c->child_std_out, 1, e);
	if (r == 0)
		r = place_fd(c->child_std_err, 2, e);
	if (r == 0)
		r = place_fd(c->child_in, CHAN_FD_IN, e);
	if (r == 0)
		r = place_fd(c->child_out, CHAN_FD_OUT, e);
	if (r < 0)
		return r;
	/* Everything else, whoever left it open: gone at exec. */
	if (close_range(CHAN_FD_OUT + 1, ~0U, CLOSE_RANGE_CLOEXEC) < 0)
		return err_sys(e, errno, "close_range");
	return 0;
}

int child_rlimits(const struct plan_rlimit *limits, size_t n, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		const struct plan_rlimit *l = &limits[i];
		struct rlimit cur;

		if (getrlimit((__rlimit_resource_t)l->resource, &cur) < 0)
			return err_sys(e, errno, "reading resource limit %d", l->resource);
		cur.rlim_max = cur.rlim_max < l->value ? cur.rlim_max : l->value;
		cur.rlim_cur = cur.rlim_max;
		if (setrlimit((__rlimit_resource_t)l->resource, &cur) < 0)
			return err_sys(e, errno, "setting resource limit %d", l->resource);
	}
	return 0;
}

static int child_limits(struct child *ch, struct err *e)
{
	return child_rlimits(ch->plan->rlimits, ch->plan->n_rlimits, e);
}

static int child_caps(struct child *ch, struct err *e)
{
	int r = caps_drop_all();

	(void)ch;
	return r < 0 ? err_sys(e, r, "dropping capabilities") : 0;
}

static int child_filter(struct child *ch, struct err *e)
{
	int r = filter_install(ch->cell->filter);

	return r < 0 ? err_sys(e, r, "installing the seccomp filter") : 0;
}

static int child_exec(struct child *ch, struct err *e)
{
	const struct cell_plan *p = ch->plan;
	char *const *argv, *const *envp;

	/* execve(2) takes arrays of char * and does not write to the texts. */
	memcpy(&argv, &(const char *const *){p->argv}, sizeof argv);
	memcpy(&envp, &(const char *const *){p->envp}, sizeof envp);

	int r = barrier_announce_exec(ch->barrier);
	if (r < 0)
		return err_sys(e, r, "telling the host of exec");
	(void)execve(p->argv[0], argv, envp);
	return err_sys(e, errno, "executing '%s'", p->argv[0]);
}

/* clang-format off */
const struct child_stage child_stages[] = {
	{ CHILD_ALWAYS,   "namespaces", child_namespaces }, /* all but user and pid; beside the host's work, as "net" */
	{ CHILD_ALWAYS,   "net",        child_net        }, /* lo up, host name */
	{ CHILD_ALWAYS,   "ids",        child_ids        }, /* barrier; cgroup namespace, uid and gid, death signal */
	{ CHILD_ALWAYS,   "mounts",     child_mounts     },
	{ CHILD_ALWAYS,   "pivot",      child_pivot      },
	{ CHILD_ALWAYS,   "files",      child_files      }, /* generation and secrets in /run */
	{ CHILD_ALWAYS,   "session",    child_session    }, /* session, keyring, umask, signals, descriptors */
	{ CHILD_RESTORED, "tmp",        child_tmp        }, /* what init left in /tmp */
	{ CHILD_RESTORED, "worker",     child_worker     }, /* a CRIU that waits; barrier */
	{ CHILD_RESTORED, "settle",     child_settle     }, /* barrier; what the worker needed goes */
	{ CHILD_RESTORED, "user",       child_user       }, /* uid and gid, death signal */
	{ CHILD_ALWAYS,   "limits",     child_limits     },
	{ CHILD_ALWAYS,   "caps",       child_caps       },
	{ CHILD_ALWAYS,   "filter",     child_filter     },
	{ CHILD_ALWAYS,   "exec",       child_exec       },
};
/* clang-format on */
const size_t n_child_stages = ARRAY_LEN(child_stages);

static void put_stage(struct err *e, const char *name)
{
	size_t i = 0;

	for (; i < sizeof e->stage - 1 && name[i]; i++)
		e->stage[i] = name[i];
	e->stage[i] = '\0';
}

_Noreturn void child_main(const struct cell *c)
{
	struct child ch = {.cell = c, .plan = c->plan, .barrier = c->barrier_child};
	struct cell_trace *trace = c->host->trace;

	memcpy(ch.mounts, c->mounts, sizeof ch.mounts);
	/* Our copy of the host's end would keep us from seeing the host die. */
	(void)close(c->barrier);
	for (size_t i = 0; i < n_child_stages; i++) {
		struct err e = {0};
		int mark;

		if (child_stages[i].when == CHILD_RESTORED && c->role != PLAN_RESTORED)
			continue;
		mark = trace_begin(trace, child_stages[i].name, true);
		int r = stage_fault(child_stages[i].name, &e);

		if (r == 0) {
			if (i + 1 == n_child_stages)
				trace_end(trace, mark); /* exec does not come back */
			r = child_stages[i].enter(&ch, &e);
		}
		trace_end(trace, mark);
		if (r < 0) {
			put_stage(&e, child_stages[i].name);
			barrier_fail(ch.barrier, &e);
			_exit(125);
		}
	}
	_exit(125); /* not reached: the last stage is exec */
}
