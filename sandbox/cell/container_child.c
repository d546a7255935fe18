/* The child of a container between clone3 and exec: stages over prepared data. */
#include "cell/container_internal.h"

#include "base/fd.h"
#include "sys/sys.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

static const int ns_flags[CT_NS_COUNT] = {
	[CT_USER] = CLONE_NEWUSER, [CT_PID] = CLONE_NEWPID,       [CT_NET] = CLONE_NEWNET,   [CT_IPC] = CLONE_NEWIPC,
	[CT_UTS] = CLONE_NEWUTS,   [CT_CGROUP] = CLONE_NEWCGROUP, [CT_TIME] = CLONE_NEWTIME, [CT_MOUNT] = CLONE_NEWNS,
};

static int set_affinity(const struct ct_child *ch, const struct ct_cpus *cpus, struct err *e)
{
	if (!fd_valid(ch->ct->join) || !cpus->set)
		return 0;
	return syscall(SYS_sched_setaffinity, 0, sizeof cpus->bits, cpus->bits) < 0
		       ? err_sys(e, errno, "setting the CPU affinity")
		       : 0;
}

/* The user namespace first: it gives the right to the others. PID and time are the parent's to enter, for its children. */
static int child_namespaces(struct ct_child *ch, struct err *e)
{
	int r = set_affinity(ch, &ch->spec->process.affinity_initial, e);

	if (r < 0)
		return r;
	if (fd_valid(ch->ct->join)) {
		r = ch->setns_flags ? sys_setns(ch->ct->join, ch->setns_flags) : 0;
		return r < 0 ? err_sys(e, r, "entering the container's namespaces") : 0;
	}
	for (int i = 0; i < CT_NS_COUNT; i++) {
		if (i == CT_PID || i == CT_TIME || !fd_valid(ch->ns[i]))
			continue;
		r = sys_setns(ch->ns[i], ns_flags[i]);
		if (r < 0)
			return err_sys(e, r, "joining namespace '%s'", ch->spec->ns[i].path);
		fd_closep(&ch->ns[i]);
	}
	/* That of groups shows where we stand when it is made: after "ids". */
	r = ch->unshare_flags & ~CLONE_NEWCGROUP;
	if (r && unshare(r) < 0)
		return err_sys(e, errno, "unshare of namespaces");
	if (ch->spec->n_net_devices == 0)
		return 0;
	r = barrier_announce(ch->barrier, BARRIER_APART); /* the host brings devices, and says so in stage "ids" */
	return r < 0 ? err_sys(e, r, "telling the host of the namespaces") : 0;
}

static int enter_groups(struct ct_child *ch, int *entries, int n, struct err *e)
{
	for (int i = 0; i < n; i++) {
		if (write(entries[i], "0", 1) != 1)
			return err_sys(e, errno, "entering a cgroup");
		fd_closep(&entries[i]);
	}
	if ((ch->unshare_flags & CLONE_NEWCGROUP) && unshare(CLONE_NEWCGROUP) < 0)
		return err_sys(e, errno, "unshare of the cgroup namespace");
	return set_affinity(ch, &ch->spec->process.affinity_final, e);
}

static int child_ids(struct ct_child *ch, struct err *e)
{
	int entries[BARRIER_MAX_FDS];
	uint32_t go;
	int r = barrier_hear_with(ch->barrier, &go, entries);

	if (r < 0)
		return err_sys(e, r, "waiting for the id maps");
	if (ch->shared->placed)
		ch->group = &ch->shared->group;
	r = enter_groups(ch, entries, r, e);
	if (r < 0)
		return r;
	if (!ch->in_user)
		return 0;
	if (!ch->spec->keep_groups)
		(void)!syscall(SYS_setgroups, 0, NULL); /* denied where one id alone is mapped */
	if (syscall(SYS_setresgid, 0, 0, 0) < 0 || syscall(SYS_setresuid, 0, 0, 0) < 0)
		return err_sys(e, errno, "becoming root of the user namespace");
	return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ? err_sys(e, errno, "becoming undumpable") : 0;
}

static int child_names(struct ct_child *ch, struct err *e)
{
	const struct ct_spec *s = ch->spec;
	int r;

	if (fd_valid(ch->ct->join))
		return 0;
	if (s->hostname && s->hostname[0] && sethostname(s->hostname, strlen(s->hostname)) < 0)
		return err_sys(e, errno, "setting the host name");
	if (s->domainname && s->domainname[0] && setdomainname(s->domainname, strlen(s->domainname)) < 0)
		return err_sys(e, errno, "setting the domain name");
	/* No sentence of the spec wants it, but runc and crun do it, and programs expect it. */
	r = ch->lo.len > 0 ? net_send(&ch->lo) : 0;
	return r < 0 ? err_sys(e, r, "bringing the loopback device up") : 0;
}

/* "For hooks executed in the container namespace, it is the pid as seen by the container": runtime.md, "State". */
static int run_hooks(struct ct_child *ch, enum ct_hook_kind kind, struct err *e)
{
	struct ct_state_text state = kind == CT_START_CONTAINER ? ch->ct->created : ch->ct->state;

	state.streams = ch->streams;
	for (size_t i = 0; !fd_valid(ch->ct->join) && i < ch->spec->hooks[kind].n; i++) {
		int r = ct_hook_run(&ch->spec->hooks[kind].at[i], &state, getpid(), e);

		if (r < 0)
			return r;
	}
	return 0;
}

/* What the host has to do while its root is still ours. */
static int child_hooks(struct ct_child *ch, struct err *e)
{
	uint32_t go;
	int r;

	if (ch->ct->mounted) {
		r = barrier_announce(ch->barrier, BARRIER_MOUNTED);
		if (r == 0)
			r = barrier_hear(ch->barrier, &go);
		if (r < 0)
			return err_sys(e, r, "waiting for the host's hooks");
	}
	return run_hooks(ch, CT_CREATE_CONTAINER, e);
}

/* Ignored signals survive exec, blocked ones too. */
static int reset_signals(struct err *e)
{
	const struct sigaction dfl = {.sa_handler = SIG_DFL};
	sigset_t none;

	for (int sig = 1; sig <= SIGRTMAX; sig++) {
		bool fixed = sig == SIGKILL || sig == SIGSTOP || (sig > SIGSYS && sig < SIGRTMIN);

		if (!fixed && sigaction(sig, &dfl, NULL) < 0)
			return err_sys(e, errno, "resetting signal %d", sig);
	}
	(void)sigemptyset(&none);
	return sigprocmask(SIG_SETMASK, &none, NULL) < 0 ? err_sys(e, errno, "unblocking signals") : 0;
}

static int take_terminal(struct ct_child *ch, struct err *e)
{
	if (!fd_valid(ch->tty))
		return 0;
	if (ioctl(ch->tty, TIOCSCTTY, 0) < 0)
		return err_sys(e, errno, "taking the terminal");
	for (int fd = 0; fd < 3; fd++)
		if (dup3(ch->tty, fd, 0) < 0)
			return err_sys(e, errno, "placing the terminal");
	return 0;
}

/* The null device that engines give comes from the host's /dev. The container's is the same, and one that a checkpoint can
 * name. */
static bool is_null_device(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3);
}

static int reopen_null(struct err *e)
{
	AUTO_FD int null = open("/dev/null", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);

	if (null < 0 || !is_null_device(null) || fcntl(null, F_SETFL, 0) < 0)
		return 0;
	for (int fd = 0; fd < 3; fd++)
		if (is_null_device(fd) && dup3(null, fd, 0) < 0)
			return err_sys(e, errno, "placing /dev/null");
	return 0;
}

/* Only a few descriptors of ours are left, and the container's. What waits for "start" holds nothing of the host but where
 * hooks write, when it has some to run. */
static int keep_descriptors(struct ct_child *ch, struct err *e)
{
	int *const kept[] = {&ch->barrier, &ch->listener, &ch->streams[0], &ch->streams[1]};
	const int first = 3 + (int)ch->ct->preserve;
	int next = first;

	for (int i = 0; i < 2 && ch->spec->hooks[CT_START_CONTAINER].n == 0; i++)
		ch->streams[i] = FD_NONE; /* closed below */
	for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
		int r = fd_valid(*kept[i]) ? fd_move_above(kept[i], first + (int)ARRAY_LEN(kept)) : 0;

		if (r < 0)
			return err_sys(e, r, "moving descriptors");
	}
	for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
		if (!fd_valid(*kept[i]))
			continue;
		if (dup3(*kept[i], next, O_CLOEXEC) < 0)
			return err_sys(e, errno, "placing descriptors");
		*kept[i] = next++;
	}
	return close_range((unsigned)next, ~0U, 0) < 0 ? err_sys(e, errno, "close_range") : 0;
}

/* A directory of the host that some descriptor held open would be a way out: where we are must have a name below the root
 * (getcwd(2)). */
static int enter_cwd(const struct ct_child *ch, struct err *e)
{
	const char *cwd = ch->spec->process.cwd;
	char where[CT_PATH_ROOM];

	if (chdir(cwd) < 0)
		return err_sys(e, errno, "chdir to cwd (\"%s\")", cwd);
	if (syscall(SYS_getcwd, where, sizeof where) < 0)
		return err_sys(e, errno, "cwd '%s'", cwd);
	return where[0] == '/' ? 0 : err_set(e, ERR_DENIED, EPERM, "cwd '%s' is outside of the container", cwd);
}

static int child_session(struct ct_child *ch, struct err *e)
{
	const struct ct_process *p = &ch->spec->process;
	int r;

	if (setsid() < 0)
		return err_sys(e, errno, "setsid");
	if (!ch->ct->no_keyring) {
		r = sys_new_session_keyring();
		if (r < 0 && r != -ENOSYS)
			return err_sys(e, r, "joining a new session keyring");
	}
	(void)umask(p->umask.set ? (mode_t)p->umask.v : 022);
	r = reset_signals(e);
	if (r == 0)
		r = reopen_null(e);
	if (r == 0)
		r = take_terminal(ch, e);
	if (r == 0)
		r = keep_descriptors(ch, e);
	return r == 0 ? enter_cwd(ch, e) : r;
}

static int set_scheduler(const struct ct_scheduler *s, struct err *e)
{
	const struct sys_sched attr = {
		.policy = (uint32_t)s->policy,
		.flags = s->flags,
		.nice = (int32_t)s->nice,
		.priority = (uint32_t)s->priority,
		.runtime_ns = s->runtime_ns,
		.deadline_ns = s->deadline_ns,
		.period_ns = s->period_ns,
	};
	const int r = s->set ? sys_sched_set(&attr) : 0;

	return r < 0 ? err_sys(e, r, "setting the scheduler") : 0;
}

int ct_set_memory_policy(const struct ct_memory_policy *m, struct err *e)
{
	const uint64_t *nodes = m->nodes.set ? m->nodes.bits : NULL;
	const unsigned long n = m->nodes.set ? CT_MAX_CPUS + 1
					     : 0; /* one more than there are bits: BUGS of the man page */

	if (!m->set || syscall(SYS_set_mempolicy, (unsigned)m->mode | m->flags, nodes, n) == 0)
		return 0;
	return err_sys(e, errno, "setting the memory policy");
}

int ct_set_io_priority(const struct ct_process *p, struct err *e)
{
	if (!p->io_priority.set || syscall(SYS_ioprio_set, 1 /* IOPRIO_WHO_PROCESS */, 0, (int)p->io_priority.v) == 0)
		return 0;
	return err_sys(e, errno, "setting the I/O priority");
}

static int child_limits(struct ct_child *ch, struct err *e)
{
	const struct ct_process *p = &ch->spec->process;
	int r;

	for (size_t i = 0; i < p->n_rlimits; i++)
		if (!ct_child_is_late(&p->rlimits[i]) &&
		    setrlimit((__rlimit_resource_t)p->rlimits[i].resource, &p->rlimits[i].value) < 0)
			return err_sys(e, errno, "setting resource limit %d", p->rlimits[i].resource);
	r = ct_set_io_priority(p, e);
	if (r < 0)
		return r;
	if (ch->spec->personality.set && personality((unsigned long)ch->spec->personality.v) < 0)
		return err_sys(e, errno, "setting the personality");
	r = ct_set_memory_policy(&ch->spec->memory_policy, e);
	return r < 0 ? r : set_scheduler(&p->scheduler, e);
}

/* Created. From here on the maker may be gone; who starts us connects. A connection that brings no word is nobody's. */
static int child_created(struct ct_child *ch, struct err *e)
{
	uint32_t go;
	int r = barrier_announce(ch->barrier, BARRIER_CREATED);

	if (r < 0)
		return err_sys(e, r, "telling the host of the creation");
	if (!fd_valid(ch->listener)) {
		r = barrier_hear(ch->barrier, &go);
		return r < 0 ? err_sys(e, r, "waiting for the word to start") : 0;
	}
	for (;;) {
		int sock = accept4(ch->listener, NULL, NULL, SOCK_CLOEXEC);

		if (sock < 0 && errno != EINTR && errno != ECONNABORTED)
			return err_sys(e, errno, "waiting for the word to start");
		if (sock >= 0 && barrier_hear(sock, &go) == 0) {
			fd_closep(&ch->barrier);
			fd_closep(&ch->listener);
			ch->barrier = sock;
			return 0;
		}
		fd_closep(&sock);
	}
}

static int child_start_hooks(struct ct_child *ch, struct err *e)
{
	return run_hooks(ch, CT_START_CONTAINER, e);
}

/* Before the user's filter, which may not let us speak. */
static int child_announce(struct ct_child *ch, struct err *e)
{
	int r = barrier_announce_exec(ch->barrier);

	return r < 0 ? err_sys(e, r, "telling the host of exec") : 0;
}

/* clang-format off */
static const struct {
	const char *name;
	int (*enter)(struct ct_child *ch, struct err *e);
} stages[] = {
	{ "namespaces", child_namespaces  }, /* what is joined, what is new */
	{ "ids",        child_ids         }, /* barrier: id maps, our number outside; groups */
	{ "names",      child_names       }, /* host and domain name */
	{ "mounts",     ct_child_mounts   }, /* the root, mounts, sysctls, the working directory */
	{ "devices",    ct_child_devices  },
	{ "console",    ct_child_console  },
	{ "hooks",      child_hooks       }, /* barrier: prestart, createRuntime outside; createContainer here */
	{ "masks",      ct_child_masks    },
	{ "pivot",      ct_child_pivot    },
	{ "session",    child_session     }, /* session, keyring, umask, signals, terminal, descriptors, cwd */
	{ "limits",     child_limits      },
	{ "lookup",     ct_child_lookup   },
	{ "created",    child_created     }, /* barrier or socket: the word to start */
	{ "startHooks", child_start_hooks },
	{ "announce",   child_announce    },
	{ "user",       ct_child_user     }, /* ids, capabilities, filter */
	{ "exec",       ct_child_exec     },
};
/* clang-format on */

const char *const *ct_stage_names(void)
{
	static const char *names[ARRAY_LEN(stages) + 1];

	for (size_t i = 0; i < ARRAY_LEN(stages); i++)
		names[i] = stages[i].name;
	return names;
}

_Noreturn void ct_child_main(struct ct_child *ch)
{
	ch->shared->born = 1;
	for (size_t i = 0; i < ARRAY_LEN(stages); i++) {
		struct err e = {0};
		int r = stage_fault(stages[i].name, &e);

		if (r == 0)
			r = stages[i].enter(ch, &e);
		if (r < 0) {
			size_t n = strlen(stages[i].name);

			memcpy(e.stage, stages[i].name, n < sizeof e.stage ? n + 1 : 0);
			barrier_fail(ch->barrier, &e);
			_exit(125);
		}
	}
	_exit(125); /* not reached: the last stage is exec */
}
