/* The helper that joins a cell, and the process that it makes there: system calls on prepared data, as in child.c. */
#include "cell/enter_child.h"

#include "cell/internal.h"

#include "base/fd.h"
#include "sys/sys.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* Where the descriptors stand from the helper's first moments on. */
enum { FD_WORD = ENTER_FD, FD_CELL, FD_TASKS, FD_HIGH = 64, FD_COUNT = FD_TASKS + CG_V1_COUNT + 1 };

static _Noreturn void fail(const char *stage, const struct err *e)
{
	struct enter_msg m = {.err = *e};
	const size_t len = strlen(stage);

	if (len < sizeof m.err.stage)
		memcpy(m.err.stage, stage, len + 1);
	(void)send(FD_WORD, &m, sizeof m, MSG_NOSIGNAL);
	_exit(ENTER_FAILED);
}

/* ---- The helper ---- */

/* Everything else that this copy of the host has is closed before it goes anywhere. */
static int keep_fds(struct enter_child *ch, struct err *e)
{
	const struct cell_enter *en = ch->en;
	int from[FD_COUNT] = {en->stdio[0], en->tty ? en->stdio[0] : en->stdio[1],
			      en->tty ? en->stdio[0] : en->stdio[2], ch->word, ch->cell->pidfd};

	for (int i = 0; i < ch->n_tasks; i++)
		from[FD_TASKS + i] = ch->tasks[i];
	for (int i = 0; i < FD_TASKS + ch->n_tasks; i++)
		if (fd_valid(from[i]) && (from[i] = fcntl(from[i], F_DUPFD_CLOEXEC, FD_HIGH)) < 0)
			return err_sys(e, errno, "copying a descriptor");
	for (int i = 0; i < FD_TASKS + ch->n_tasks; i++)
		if (!fd_valid(from[i]))
			(void)close(i);
		else if (dup2(from[i], i) < 0)
			return err_sys(e, errno, "placing descriptor %d", i);
	return close_range((unsigned)(FD_TASKS + ch->n_tasks), ~0U, 0) < 0 ? err_sys(e, errno, "close_range") : 0;
}

/* A caller that the OOM killer spares must not hand that on; here, where /proc is the host's. */
static int unprotect(struct err *e)
{
	char value[16];
	int r = 0;

	if (fd_read_file_at(AT_FDCWD, "/proc/self/oom_score_adj", value, sizeof value) >= 0 && value[0] == '-')
		r = fd_write_file_at(AT_FDCWD, "/proc/self/oom_score_adj", "0", 1);
	return r < 0 ? err_sys(e, r, "writing '0' to /proc/self/oom_score_adj") : 0;
}

/* Into all of them at once, so that there is no moment with some of the host's and some of the cell's. */
static int join(const struct enter_child *ch, struct err *e)
{
	const int flags = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP |
			  (ch->cell->spec->net == SPEC_NET_HOST ? 0 : CLONE_NEWNET);

	if (setns(FD_CELL, flags) == 0)
		return 0;
	if (errno == ESRCH)
		return err_set(e, ERR_NOT_FOUND, ESRCH, "the cell has ended");
	return err_sys(e, errno, "joining the cell's namespaces");
}

static void tell_born(int pidfd)
{
	const struct enter_word word = {.magic = ENTER_BORN};

	(void)!fd_send(FD_WORD, &word, sizeof word, &pidfd, 1, 0);
}

static _Noreturn void enter_process(const struct enter_child *ch);

_Noreturn void enter_helper(struct enter_child *ch)
{
	int pidfd = FD_NONE;
	/* The exit signal is that of the helper. */
	const struct clone_args args = {.flags = CLONE_PARENT | CLONE_PIDFD, .pidfd = (uintptr_t)&pidfd};
	struct err e = {0};
	pid_t pid;

	if (ch->en->own_args)
		memset(ch->en->own_args, 0, ch->en->own_args_len);
	/* Its own group: what it has made can be found by it. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || setpgid(0, 0) < 0 || keep_fds(ch, &e) < 0)
		_exit(ENTER_FAILED); /* the end of the socket tells */
	if (unprotect(&e) < 0 || join(ch, &e) < 0)
		fail("join", &e);
	pid = sys_clone3(&args);
	if (pid == 0)
		enter_process(ch);
	if (pid < 0) {
		(void)err_sys(&e, pid, "clone3 in the cell");
		fail("join", &e);
	}
	tell_born(pidfd);
	_exit(0);
}

/* ---- The process ---- */

static int enter_groups(const struct enter_child *ch, struct err *e)
{
	char go;
	ssize_t n;

	do
		n = recv(FD_WORD, &go, 1, 0);
	while (n < 0 && errno == EINTR);
	if (n != 1)
		_exit(ENTER_FAILED);
	for (int i = 0; i < ch->n_tasks; i++)
		if (write(FD_TASKS + i, "0", 1) != 1)
			return err_sys(e, errno, "entering a cgroup");
	return close_range(FD_CELL, ~0U, 0) < 0 ? err_sys(e, errno, "close_range") : 0;
}

static int open_null(const struct cell_enter *en, struct err *e)
{
	int null = FD_NONE;

	if (en->tty)
		return 0;
	for (int i = 0; i < 3; i++) {
		if (fd_valid(en->stdio[i]) || i == null)
			continue;
		if (!fd_valid(null)) {
			null = open("/dev/null", O_RDWR); /* the lowest that is free: this one */
			if (null < 0)
				return err_sys(e, errno, "opening /dev/null");
		}
		if (null != i && dup2(null, i) < 0)
			return err_sys(e, errno, "placing /dev/null");
	}
	return 0;
}

static int enter_session(const struct enter_child *ch, struct err *e)
{
	const struct plan_rlimit *limits;
	const size_t n = plan_cell_rlimits(&limits);
	int r = open_null(ch->en, e);

	if (r < 0)
		return r;
	if (setsid() < 0)
		return err_sys(e, errno, "setsid");
	if (ch->en->tty && ioctl(STDIN_FILENO, TIOCSCTTY, 0) < 0)
		return err_sys(e, errno, "making the terminal the controlling one");
	r = sys_new_session_keyring();
	if (r < 0 && r != -ENOSYS)
		return err_sys(e, r, "joining a new session keyring");
	(void)umask(022);
	r = child_reset_signals(e);
	return r == 0 ? child_rlimits(limits, n, e) : r;
}

static int enter_ids(const struct enter_child *ch, struct err *e)
{
	int r;

	if (ch->cell->host->facts.privileged && syscall(SYS_setgroups, 0, NULL) < 0)
		return err_sys(e, errno, "dropping supplementary groups");
	/* Our uid outside was never root of this user namespace: the capabilities stay until they are dropped. */
	if (syscall(SYS_setresgid, CELL_GID, CELL_GID, CELL_GID) < 0 ||
	    syscall(SYS_setresuid, CELL_UID, CELL_UID, CELL_UID) < 0)
		return err_sys(e, errno, "becoming uid %d, gid %d", CELL_UID, CELL_GID);
	/* A change of ids sets it to what fs.suid_dumpable says; giving up capabilities does not. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return err_sys(e, errno, "becoming undumpable");
	/* And clears this. If our host is dead already, so is the cell's PID 1. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return err_sys(e, errno, "setting the parent death signal");
	r = caps_drop_all();
	return r < 0 ? err_sys(e, r, "dropping capabilities") : 0;
}

/* With the rights of the cell's user, and with no descriptor left that leads out. A directory that is not below the root
 * has no name: getcwd(2) says "(unreachable)". */
static int enter_directory(const struct enter_child *ch, struct err *e)
{
	char path[4096];

	if (chdir(ch->en->cwd) < 0)
		return err_set(e, errno == ENOENT || errno == ENOTDIR ? ERR_NOT_FOUND : ERR_DENIED, errno,
			       "entering '%s' in the cell: %s", ch->en->cwd, strerrordesc_np(errno));
	if (syscall(SYS_getcwd, path, sizeof path) < 0 || path[0] != '/')
		return err_set(e, ERR_DENIED, EXDEV, "'%s' leads out of the cell", ch->en->cwd);
	return 0;
}

static int enter_filter(const struct enter_child *ch, struct err *e)
{
	int r = ch->cell->filter ? filter_install(ch->cell->filter) : 0;

	return r < 0 ? err_sys(e, r, "installing the seccomp filter") : 0;
}

/* What comes behind the first word may be anybody's in the cell. */
static _Noreturn void enter_exec(const struct enter_child *ch)
{
	struct enter_word word = {.magic = ENTER_MAGIC};
	char *const *argv, *const *envp;

	/* execve(2) takes arrays of char * and does not write to the texts. */
	memcpy(&argv, &(const char *const *){ch->en->argv}, sizeof argv);
	memcpy(&envp, &(const char *const *){ch->en->envp}, sizeof envp);
	if (write(FD_WORD, &word, sizeof word) == (ssize_t)sizeof word) {
		(void)execve("/var/runtime/enter", argv, envp);
		word.code = -errno;
		(void)!write(FD_WORD, &word, sizeof word);
	}
	_exit(ENTER_FAILED);
}

static _Noreturn void enter_process(const struct enter_child *ch)
{
	static const struct {
		const char *name;
		int (*enter)(const struct enter_child *ch, struct err *e);
	} stages[] = {
		{"groups", enter_groups},       {"session", enter_session}, {"ids", enter_ids},
		{"directory", enter_directory}, {"filter", enter_filter},
	};

	for (size_t i = 0; i < ARRAY_LEN(stages); i++) {
		struct err e = {0};

		if (stages[i].enter(ch, &e) < 0)
			fail(stages[i].name, &e);
	}
	enter_exec(ch);
}
