/* The child of a cell whose runtime is restored, between "session" and "limits": it is PID 1 and root of the cell's user
 * namespace, the cell is complete, and it starts a CRIU beside itself. As child.c: system calls on prepared data. */
#include "cell/internal.h"

#include "base/fd.h"
#include "runtime/channel.h"
#include "sys/sys.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/securebits.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

enum {
	ABOVE_WORKER = 120,   /* first descriptor that is in nobody's way */
	WORKER_PID_GAP = 100, /* between the image's pids and those of CRIU's own processes */
	STATUS_MAX = 4096,
	DENTS_MAX = 2048,
};

#define WORK   SNAP_DIR_WORK
#define KDAT   WORK "/criu.kdat"
#define FILTER WORK "/seccomp.img"

int child_tmp(struct child *ch, struct err *e)
{
	AUTO_FD int tmp = FD_NONE;
	int r;

	if (!fd_valid(ch->cell->tmp_tree))
		return 0;
	tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	r = tmp < 0 ? -errno : snap_tree_unpack(ch->cell->tmp_tree, tmp);
	return r < 0 ? err_sys(e, r, "restoring /tmp") : 0;
}

static int write_bytes(const char *path, const void *data, size_t len, struct err *e)
{
	AUTO_FD int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0)
		return err_sys(e, errno, "making '%s'", path);
	return write(fd, data, len) == (ssize_t)len ? 0 : err_sys(e, ENOSPC, "writing '%s'", path);
}

/* The policy as it is now, whatever the image was made under. */
static int place_filter(const struct cell *c, struct err *e)
{
	AUTO_FD int fd = FD_NONE;
	int r;

	if (c->filter_image.len == 0)
		return 0;
	r = write_bytes(FILTER, c->filter_image.data, c->filter_image.len, e);
	if (r < 0)
		return r;
	fd = sys_open_tree(AT_FDCWD, FILTER, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	r = fd < 0 ? fd : sys_move_mount(fd, AT_FDCWD, SNAP_DIR_IMAGES "/seccomp.img");
	return r < 0 ? err_sys(e, r, "putting the filter over the image's") : 0;
}

/* CRIU's look at a kernel it does not know needs a loopback that is up, which a cell with --net none has not. */
static int place_kdat(struct child *ch, struct err *e)
{
	const struct cell *c = ch->cell;
	const struct buf *kdat = &c->host->kdat;
	int r;

	if (kdat->len > 0)
		return write_bytes(KDAT, kdat->data, kdat->len, e);
	if (c->plan->lo_up || !(c->plan->ns_flags & CLONE_NEWNET))
		return 0;
	r = net_send(&c->lo);
	ch->lo_raised = r == 0;
	return r < 0 ? err_sys(e, r, "bringing up lo for CRIU") : 0;
}

/* Sources first to where nothing is overwritten, then each to its place. */
static int place_fds(const struct cell *c)
{
	const int from[] = {c->worker_child, STDOUT_FILENO, STDERR_FILENO,
			    CHAN_FD_IN,      CHAN_FD_OUT,   c->worker_log_child};
	int high[ARRAY_LEN(from)];

	for (size_t i = 0; i < ARRAY_LEN(from); i++) {
		high[i] = fcntl(from[i], F_DUPFD_CLOEXEC, ABOVE_WORKER);
		if (high[i] < 0)
			return -errno;
	}
	for (int i = 0; i <= SNAP_MAX_PIPES; i++)
		if (dup3(high[i], SNAP_WORKER_SOCKET + i, 0) < 0)
			return -errno;
	for (int fd = STDOUT_FILENO; fd <= STDERR_FILENO; fd++)
		if (dup3(high[SNAP_MAX_PIPES + 1], fd, 0) < 0)
			return -errno;
	if (close_range(STDERR_FILENO + 1, SNAP_WORKER_SOCKET - 1, 0) < 0 ||
	    close_range(SNAP_WORKER_SOCKET + SNAP_MAX_PIPES + 1, ~0U, 0) < 0)
		return -errno;
	return 0;
}

_Noreturn static void worker(const struct cell *c)
{
	static const char failed[] = "Error (fsbox): the worker could not be executed\n";
	const char *argv[SNAP_WORKER_ARGS], *envp[SNAP_WORKER_ENV];
	char *const *args, *const *env;

	snap_worker_command(argv, envp);
	memcpy(&args, &(const char *const *){argv}, sizeof args); /* execve(2) does not write to the texts */
	memcpy(&env, &(const char *const *){envp}, sizeof env);
	if (place_fds(c) == 0)
		(void)execve(args[0], args, env);
	(void)!write(STDERR_FILENO, failed, sizeof failed - 1);
	_exit(125);
}

int child_worker(struct child *ch, struct err *e)
{
	const struct cell *c = ch->cell;
	pid_t wanted = (pid_t)c->from->m.max_pid + WORKER_PID_GAP;
	int pidfd = FD_NONE;
	const struct clone_args args = {
		.flags = CLONE_PIDFD,
		.pidfd = (uintptr_t)&pidfd,
		.exit_signal = SIGCHLD,
		.set_tid = (uintptr_t)&wanted,
		.set_tid_size = 1,
	};
	int r = place_filter(c, e);
	pid_t pid;

	if (r == 0)
		r = place_kdat(ch, e);
	if (r < 0)
		return r;
	pid = sys_clone3(&args);
	if (pid < 0)
		return err_sys(e, pid, "starting CRIU as process %d", wanted);
	if (pid == 0)
		worker(c);
	ch->worker = pid;
	(void)close(c->worker_child); /* nobody else holds it: the host sees the worker's end */
	(void)close(c->worker_log_child);
	r = barrier_announce_parked(ch->barrier, pidfd);
	fd_closep(&pidfd);
	return r < 0 ? err_sys(e, r, "telling the host that CRIU waits") : 0;
}

static int return_kdat(const struct child *ch, struct err *e)
{
	AUTO_FD int fd = open(KDAT, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct barrier_msg m = {0};
	ssize_t n = fd < 0 ? 0 : read(fd, m.bytes, sizeof m.bytes);
	int r;

	if (n <= 0 || n == (ssize_t)sizeof m.bytes) /* none, or perhaps not all of it: the next one looks again */
		return 0;
	m.len = (uint32_t)n;
	r = barrier_send_bytes(ch->barrier, &m);
	return r < 0 ? err_sys(e, r, "handing back what CRIU knows") : 0;
}

static bool has_line(const char *text, const char *line)
{
	const size_t len = strlen(line);

	for (const char *at = text; (at = strstr(at, line)); at += len)
		if ((at == text || at[-1] == '\n') && (at[len] == '\n' || at[len] == '\0'))
			return true;
	return false;
}

/* What CRIU restored is the function's, not to be taken on trust: the marks of a confined task, or it does not run. */
static int check_status(const struct cell *c, const char *text, pid_t pid, struct err *e)
{
	static const char *const wanted[] = {
		"Uid:\t993\t993\t993\t993",  "Gid:\t993\t993\t993\t993",  "Groups:\t ",
		"CapInh:\t0000000000000000", "CapPrm:\t0000000000000000", "CapEff:\t0000000000000000",
		"CapBnd:\t0000000000000000", "CapAmb:\t0000000000000000", "NoNewPrivs:\t1",
	};

	for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
		if (!has_line(text, wanted[i]))
			return err_set(e, ERR_SYSTEM, EPERM, "a restored task (%d) is not confined: no line '%s'", pid,
				       wanted[i]);
	if (c->filter->len > 0 && !has_line(text, "Seccomp:\t2"))
		return err_set(e, ERR_SYSTEM, EPERM, "a restored task (%d) has no filter", pid);
	return 0;
}

static int check_task(const struct cell *c, int dir, const char *name, pid_t pid, struct err *e)
{
	AUTO_FD int task = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO_FD int fd = task < 0 ? FD_NONE : openat(task, "status", O_RDONLY | O_CLOEXEC);
	char text[STATUS_MAX];
	size_t len = 0;
	ssize_t n;

	if (fd < 0)
		return err_sys(e, errno, "looking at the restored task %d", pid);
	while (len < sizeof text - 1 && (n = read(fd, text + len, sizeof text - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	return check_status(c, text, pid, e);
}

/* The limits of the plan, never above what the image has: it is the function's. */
static int limit_process(const struct cell_plan *p, pid_t pid, struct err *e)
{
	for (size_t i = 0; i < p->n_rlimits; i++) {
		const struct plan_rlimit *l = &p->rlimits[i];
		struct rlimit now;

		if (prlimit(pid, (__rlimit_resource_t)l->resource, NULL, &now) < 0)
			return err_sys(e, errno, "reading resource limit %d of the restored process %d", l->resource,
				       pid);
		now.rlim_max = now.rlim_max < l->value ? now.rlim_max : l->value;
		now.rlim_cur = now.rlim_cur < l->value ? now.rlim_cur : l->value;
		if (prlimit(pid, (__rlimit_resource_t)l->resource, &now, NULL) < 0)
			return err_sys(e, errno, "setting resource limit %d of the restored process %d", l->resource,
				       pid);
	}
	return 0;
}

/* getdents64(2) has no libc wrapper that allocates nothing. */
struct entry {
	uint64_t ino, off;
	unsigned short len;
	unsigned char type;
	char name[];
};

/* A name that is a number, or 0. */
static pid_t number_of(const char *s)
{
	pid_t n = 0;

	for (; *s >= '0' && *s <= '9' && n < INT_MAX / 10 - 1; s++)
		n = n * 10 + (*s - '0');
	return *s == '\0' ? n : 0;
}

/* Calls @fn for every name in @path below @dir that is a number. */
static int each_number(struct child *ch, int dir, const char *path,
		       int (*fn)(struct child *ch, int dir, const char *name, pid_t pid, struct err *e), struct err *e)
{
	AUTO_FD int fd = openat(dir, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_Alignas(uint64_t) char bytes[DENTS_MAX];
	long n = 0;

	if (fd < 0)
		return err_sys(e, errno, "opening '%s'", path);
	while ((n = syscall(SYS_getdents64, fd, bytes, sizeof bytes)) > 0)
		for (long at = 0; at < n;) {
			const struct entry *d = (const struct entry *)(const void *)(bytes + at);
			const pid_t pid = number_of(d->name);
			int r = pid > 0 ? fn(ch, fd, d->name, pid, e) : 0;

			if (r < 0)
				return r;
			at += d->len;
		}
	return n < 0 ? err_sys(e, errno, "reading '%s'", path) : 0;
}

static int on_task(struct child *ch, int dir, const char *name, pid_t tid, struct err *e)
{
	return check_task(ch->cell, dir, name, tid, e);
}

/* Three kinds of processes are here: we, CRIU, and those of the image, all of whose numbers are below CRIU's. */
static int on_process(struct child *ch, int dir, const char *name, pid_t pid, struct err *e)
{
	char path[32];
	size_t len = strlen(name);
	int r;

	if (pid == 1 || pid == ch->worker)
		return 0;
	if (pid > (pid_t)ch->cell->from->m.max_pid || len > 16)
		return err_set(e, ERR_SYSTEM, EPERM, "there is a process %d that is not in the image", pid);
	(void)snprintf(path, sizeof path, "%.*s/task", (int)len, name);
	r = limit_process(ch->plan, pid, e);
	return r == 0 ? each_number(ch, dir, path, on_task, e) : r;
}

int child_settle(struct child *ch, struct err *e)
{
	const struct cell *c = ch->cell;
	int none[BARRIER_MAX_FDS];
	int r = barrier_wait(ch->barrier, none);

	if (r < 0)
		return err_sys(e, r, "waiting for the restore");
	r = each_number(ch, AT_FDCWD, "/proc", on_process, e);
	/* Only what was found out in a root of ours is fit for others. */
	if (r == 0 && c->host->kdat.len == 0 && !c->spec->rootfs)
		r = return_kdat(ch, e);
	if (r < 0)
		return r;
	if (ch->lo_raised && (r = net_send(&c->lo_down)) < 0)
		return err_sys(e, r, "taking down lo");
	if (umount2(SNAP_DIR, MNT_DETACH) < 0 || rmdir(SNAP_DIR) < 0)
		return err_sys(e, errno, "detaching '%s'", SNAP_DIR);
	r = child_seal("/proc", e);
	if (r == 0)
		r = child_seal("/run", e);
	/* Where init expects a channel and closes it when nothing can take a hold of it any more: execve(2) alone would
	 * let the runtime go a moment too early. */
	if (r == 0 && dup3(ch->barrier, CHAN_FD_IN, 0) < 0)
		return err_sys(e, errno, "handing the barrier to init");
	return r;
}

int child_user(struct child *ch, struct err *e)
{
	if (syscall(SYS_setresgid, CELL_GID, CELL_GID, CELL_GID) < 0)
		return err_sys(e, errno, "becoming gid %d", CELL_GID);
	/* From 0, this would empty the capabilities (capabilities(7)); "caps" does that in its turn, and needs them. */
	if (prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0) < 0 ||
	    syscall(SYS_setresuid, CELL_UID, CELL_UID, CELL_UID) < 0)
		return err_sys(e, errno, "becoming uid %d", CELL_UID);
	return child_follow_host(ch, e);
}
