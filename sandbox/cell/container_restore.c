/* A restore: a CRIU in a mount namespace of its own, where everything that is not in the images stands ready, and the talk
 * with it. What it restores is a child of ours. */
#include "cell/container_restore.h"

#include "base/fd.h"
#include "sys/sys.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum {
	END_MS = 20000, /* a CRIU that has failed kills what it made, and ends */
	ANSWER_ROOM = 8192,
	LAZY_MS = 30000, /* a CRIU that restores no memory is done in a fraction */
};

/* ---- Before ---- */

static bool is_covered(const struct ct_spec *s, size_t i)
{
	const char *path = s->mounts[i].target;

	for (size_t j = 0; j < i; j++) {
		const char *top = s->mounts[j].target;
		size_t n = strlen(top);

		while (n > 1 && top[n - 1] == '/')
			n--;
		if (!s->mounts[j].remount && strncmp(path, top, n) == 0 && path[n] == '/' && path[n + 1] != '\0')
			return true;
	}
	return false;
}

/* The mount point as the kernel names it: below @root, which is a descriptor, without links. */
static const char *name_inside(struct arena *a, int root, int fd)
{
	char via[32], base[CT_PATH_ROOM], full[CT_PATH_ROOM];
	ssize_t n, m;

	(void)snprintf(via, sizeof via, "/proc/self/fd/%d", root);
	n = readlink(via, base, sizeof base - 1);
	(void)snprintf(via, sizeof via, "/proc/self/fd/%d", fd);
	m = readlink(via, full, sizeof full - 1);
	if (n < 0 || m < n)
		return NULL;
	full[m] = '\0';
	return m == n ? "/" : arena_strdup(a, n == 1 ? full : full + n);
}

/* CRIU makes no mount points in the root, which may be another one than the container had. What lies in mounts of the
 * container comes with these. */
static int make_points(struct restorer *x, struct err *e)
{
	const struct ct_spec *s = x->r->spec;
	AUTO_FD int root = open(s->rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);

	x->points = arena_alloc(&x->p.arena, (s->n_mounts + 1) * sizeof *x->points);
	if (root < 0 || !x->points)
		return root < 0 ? err_sys(e, errno, "opening rootfs '%s'", s->rootfs) : err_oom(e);
	for (size_t i = 0; i < s->n_mounts; i++) {
		const struct ct_mount *m = &s->mounts[i];
		AUTO_FD int fd = FD_NONE;
		struct stat st;

		if (m->remount)
			continue;
		x->points[i] = m->target;
		if (is_covered(s, i))
			continue;
		fd = inside_make(root, m->target,
				 !m->bind || (fstat(x->p.child.sources[i], &st) == 0 && S_ISDIR(st.st_mode)), 0755);
		if (fd < 0)
			return err_sys(e, fd, "making the mount point '%s'", m->target);
		x->points[i] = name_inside(&x->p.arena, root, fd);
		if (!x->points[i])
			return err_sys(e, ENAMETOOLONG, "naming the mount point '%s'", m->target);
	}
	return 0;
}

/* Its root is where who makes it is: so a process goes there, makes it, and stays until it is taken, or nobody is there to
 * take it: then the other end of @to is closed. */
static _Noreturn void make_cgroup_ns(const struct ct_child *ch, int from, int to)
{
	struct pollfd p = {.fd = to};
	int r = 0;

	(void)close(from);
	for (int i = 0; r == 0 && i < ch->n_entries; i++)
		if (write(ch->entries[i], "0", 1) != 1)
			r = -errno;
	if (r == 0 && unshare(CLONE_NEWCGROUP) < 0)
		r = -errno;
	(void)!write(to, &r, sizeof r);
	while (poll(&p, 1, -1) < 0 && errno == EINTR)
		;
	_exit(0);
}

static int new_cgroup_ns(struct restorer *x, struct err *e)
{
	const struct ct_namespace *ns = &x->r->spec->ns[CT_CGROUP];
	AUTO_FD int pidfd = FD_NONE;
	AUTO_FD int from = FD_NONE;
	siginfo_t ignored;
	int ends[2], said = -EIO, fd = FD_NONE;
	char path[48];
	pid_t pid;

	if (!ns->wanted || ns->path)
		return 0;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_sys(e, errno, "making a pipe");
	pid = sys_clone3(&(struct clone_args){.flags = CLONE_PIDFD, .pidfd = (uintptr_t)&fd, .exit_signal = SIGCHLD});
	if (pid == 0)
		make_cgroup_ns(&x->p.child, ends[0], ends[1]);
	from = ends[0];
	fd_closep(&ends[1]);
	if (pid < 0)
		return err_sys(e, (int)pid, "making a process");
	pidfd = fd;
	if (read(from, &said, sizeof said) != (ssize_t)sizeof said)
		said = -EIO;
	(void)snprintf(path, sizeof path, "/proc/%d/ns/cgroup", (int)pid);
	x->cgroup_ns = said < 0 ? said : sys_openat(AT_FDCWD, path, O_RDONLY, 0);
	(void)!sys_pidfd_kill(pidfd, SIGKILL);
	(void)!sys_wait_exit(pidfd, true, &ignored);
	return x->cgroup_ns < 0 ? err_sys(e, x->cgroup_ns, "making a cgroup namespace") : 0;
}

/* All groups are there, and several processes enter. */
static int open_entries(struct restorer *x, struct err *e)
{
	struct ct_child *ch = &x->p.child;
	int r = x->r->group ? cg_group_entries(x->r->group, true, ch->entries, e) : 0;

	ch->n_entries = r < 0 ? 0 : r;
	return r < 0 ? r : 0;
}

static int prepare(struct restorer *x, struct err *e)
{
	struct ct_restore *r = x->r;
	int sv[2], ret;

	x->ct = (struct ct){
		.spec = r->spec, .group = r->group, .listener = FD_NONE, .join = FD_NONE, .slow_close = FD_NONE};
	ret = ct_prepare(&x->ct, &x->p, e);
	if (ret == 0)
		ret = open_entries(x, e);
	if (ret == 0)
		ret = make_points(x, e);
	if (ret == 0)
		ret = new_cgroup_ns(x, e);
	if (ret < 0)
		return ret;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
		return err_sys(e, errno, "making a pair of sockets");
	x->sock = sv[0];
	x->theirs = sv[1];
	x->work = open(r->job->work, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (x->work < 0)
		return err_sys(e, errno, "opening '%s'", r->job->work);
	(void)unlinkat(x->work, r->job->log, 0); /* one of an earlier restore would explain this one */
	return criu_worker(r->engine, CRIU_SOCKET, &x->command, e);
}

/* ---- CRIU's process, until it is CRIU ---- */

static int enter_given(struct restorer *x, struct err *e)
{
	static const enum ct_ns kinds[] = {CT_NET, CT_IPC, CT_UTS, CT_CGROUP};
	const struct ct_child *ch = &x->p.child;

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		int r = fd_valid(ch->ns[kinds[i]]) ? sys_setns(ch->ns[kinds[i]], 0) : 0;

		if (r < 0)
			return err_sys(e, r, "joining namespace '%s'", x->r->spec->ns[kinds[i]].path);
	}
	if (fd_valid(x->cgroup_ns) && sys_setns(x->cgroup_ns, CLONE_NEWCGROUP) < 0)
		return err_sys(e, errno, "joining the container's cgroup namespace");
	return 0;
}

static int place(int fd, int at)
{
	return !fd_valid(fd) || dup2(fd, at) >= 0 ? 0 : -errno;
}

/* Ours become the container's, by name; CRIU has none. */
static int place_descriptors(struct restorer *x, struct err *e)
{
	AUTO_FD int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int *const own[] = {&null, &x->p.child.ns[CT_PID], &x->p.child.ns[CT_NET]};
	int r = null < 0 ? -errno : 0;

	for (size_t i = 0; r == 0 && i < ARRAY_LEN(own); i++) /* they may lie where others go */
		r = fd_valid(*own[i]) ? fd_move_above(own[i], CRIU_NETNS + 1) : 0;

	for (int i = 0; r == 0 && i < CT_STDIO; i++)
		r = place(i, CRIU_STDIN + i);
	for (int i = 0; r == 0 && i < CT_STDIO; i++)
		r = place(null, i);
	if (r == 0)
		r = place(x->theirs, CRIU_SOCKET);
	if (r == 0)
		r = place(x->p.child.ns[CT_PID], CRIU_PIDNS);
	if (r == 0)
		r = place(x->p.child.ns[CT_NET], CRIU_NETNS);
	return r < 0 ? err_sys(e, r, "placing descriptors") : 0;
}

static void tell(int sock, const struct err *e)
{
	(void)!send(sock, e, sizeof *e, MSG_NOSIGNAL);
}

/* What processes have from who made them, and no image: CRIU has it first. A session keyring of its own, for who restores
 * may be a person with keys. */
static int become_like(const struct ct_spec *s, struct err *e)
{
	int r = sys_new_session_keyring();

	if (r < 0 && r != -ENOSYS)
		return err_sys(e, r, "joining a new session keyring");
	r = ct_set_io_priority(&s->process, e);
	return r < 0 ? r : ct_set_memory_policy(&s->memory_policy, e);
}

static _Noreturn void be_criu(struct restorer *x)
{
	char *const *argv, *const *envp;
	const char *const *av = x->command.argv, *const *ev = x->command.envp;
	struct err e = {0};
	sigset_t none;
	int r;

	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	if (!x->r->job->shell_job) /* signals of a terminal are for who waits, not for who is in the middle of it */
		(void)setsid();
	r = ct_fault("criu", &e);
	if (r == 0)
		r = fd_move_above(&x->theirs, CRIU_NETNS + 1);
	if (r == 0)
		r = become_like(x->r->spec, &e);
	if (r == 0)
		r = enter_given(x, &e);
	if (r == 0)
		r = ct_stage(&x->p.child, x->r->job->images, x->r->kdat, &e);
	if (r == 0)
		r = place_descriptors(x, &e);
	if (r == 0) {
		tell(CRIU_SOCKET, &e);
		memcpy(&argv, &av, sizeof argv); /* execve(2) does not write to them */
		memcpy(&envp, &ev, sizeof envp);
		(void)execve(argv[0], argv, envp);
		r = err_sys(&e, errno, "executing '%s'", argv[0]);
	}
	(void)err_sys(&e, r, "preparing a restore");
	tell(x->theirs, &e);
	_exit(1);
}

/* ---- The talk ---- */

/* What CRIU forks has its end of the socket, too: that CRIU is gone shows by its process. When memory is to come from a
 * page server, who touches it waits for that server, and CRIU for him, also when there is none any more. */
static bool is_there(struct restorer *x)
{
	struct pollfd p[] = {{.fd = x->sock, .events = POLLIN}, {.fd = x->criu_pidfd, .events = POLLIN}};
	int n;

	do
		n = poll(p, ARRAY_LEN(p), x->r->job->lazy_pages ? LAZY_MS : -1);
	while (n < 0 && errno == EINTR);
	if (n == 0) {
		x->late = true;
		(void)!sys_pidfd_kill(x->criu_pidfd, SIGKILL);
	}
	return n > 0 && p[0].revents;
}

static ssize_t receive(struct restorer *x, void *data, size_t size, int *ret_fd)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec iov = {data, size};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.space,
			     .msg_controllen = sizeof control.space};
	const struct cmsghdr *c;
	ssize_t n;

	if (!is_there(x))
		return 0;
	do
		n = recvmsg(x->sock, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	c = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(ret_fd, CMSG_DATA(c), sizeof(int));
	return n;
}

static int go_on(const struct restorer *x, struct err *e)
{
	unsigned char bytes[32];
	size_t len = snap_worker_go_on(bytes, sizeof bytes);

	return send(x->sock, bytes, len, MSG_NOSIGNAL) < 0 ? err_sys(e, errno, "answering CRIU") : 0;
}

static const char *const ns_files[CT_NS_COUNT] = {
	[CT_USER] = "user", [CT_PID] = "pid",       [CT_NET] = "net",   [CT_IPC] = "ipc",
	[CT_UTS] = "uts",   [CT_CGROUP] = "cgroup", [CT_TIME] = "time", [CT_MOUNT] = "mnt",
};

/* Images of a container with other namespaces would leave it in ours; of mounts in CRIU's, where the root is the host's.
 * With @first only those that a process has from its birth on, before anything is done in them. */
static int check_namespaces(const struct restorer *x, bool first, struct err *e)
{
	const struct ct_spec *s = x->r->spec;

	for (int i = 0; i < CT_NS_COUNT; i++) {
		char theirs[48], mine[48];
		struct stat a, b;

		if (!s->ns[i].wanted || (first && i != CT_USER && i != CT_NET && i != CT_IPC && i != CT_UTS))
			continue;
		(void)snprintf(theirs, sizeof theirs, "/proc/%d/ns/%s", x->r->pid, ns_files[i]);
		(void)snprintf(mine, sizeof mine, "/proc/%d/ns/%s", i == CT_MOUNT ? x->criu : getpid(), ns_files[i]);
		if (stat(theirs, &a) < 0 || stat(s->ns[i].path ? s->ns[i].path : mine, &b) < 0)
			return err_sys(e, errno, "looking at '%s'", theirs);
		if ((a.st_ino == b.st_ino) != (s->ns[i].path != NULL))
			return err_set(e, ERR_SNAPSHOT_MISMATCH, EINVAL,
				       "config.json wants %s %s namespace, the images have another one",
				       s->ns[i].path ? "a given" : "a new", ns_files[i]);
	}
	return 0;
}

/* Whatever it forks from now on is in the groups, and CRIU is not: their limits are the container's. */
static int born(struct restorer *x, pid_t pid, struct err *e)
{
	struct ct_child *ch = &x->p.child;
	char text[16];
	int n = snprintf(text, sizeof text, "%d", pid), r = 0;

	r = ct_fault("born", e);
	if (r < 0)
		return r;
	x->r->pid = pid;
	x->r->pidfd = sys_pidfd_open(pid);
	if (x->r->pidfd < 0)
		return err_sys(e, x->r->pidfd, "opening the restored process");
	r = check_namespaces(x, true, e);
	for (int i = 0; r == 0 && i < ch->n_entries; i++)
		if (write(ch->entries[i], text, (size_t)n) != n)
			r = err_sys(e, errno, "moving the restored process into its cgroup");
	if (r == 0)
		r = ct_sysctls_restore(ch, x->r->pidfd, e);
	return r == 0 && x->r->born ? x->r->born(x->r, x->r->arg, e) : r;
}

static int hear(struct restorer *x, const struct snap_answer *a, int fd, struct err *e)
{
	int r = 0;

	if (strcmp(a->script, "setup-namespaces") == 0)
		r = born(x, a->pid, e);
	else if (strcmp(a->script, "orphan-pts-master") == 0 && fd_valid(fd) && fd_valid(x->r->console))
		r = ct_send_console(x->r->console, fd, e);
	else if (strcmp(a->script, "post-restore") == 0)
		r = check_namespaces(x, false, e);
	if (r == 0 && strcmp(a->script, "post-restore") == 0 && x->r->ready)
		r = x->r->ready(x->r, x->r->arg, e);
	return r == 0 ? go_on(x, e) : r;
}

static int failed(const struct restorer *x, const struct snap_answer *a, struct err *e)
{
	if (x->late)
		return err_set(
			e, ERR_DEADLINE, ETIMEDOUT,
			"restore: no word from CRIU for %d s: whoever serves the memory for --lazy-pages does not",
			LAZY_MS / 1000);
	return criu_explain(x->r->job, x->work, "restore", a->text[0] ? a->text : "CRIU ended without a word", e);
}

static int talk(struct restorer *x, struct err *e)
{
	struct snap_answer a = {0};
	struct err first = {0};
	unsigned char bytes[ANSWER_ROOM];
	ssize_t n = receive(x, &first, sizeof first, &(int){FD_NONE});
	int r;

	if (n != (ssize_t)sizeof first)
		return err_set(e, ERR_SYSTEM, EIO, "restore: CRIU's process ended before it was CRIU");
	if (first.kind != ERR_NONE)
		return err_adopt(e, &first);
	r = ct_send_request(x, e);
	while (r == 0 && a.word != SNAP_WORD_RESTORED) {
		AUTO_FD int fd = FD_NONE;

		n = receive(x, bytes, sizeof bytes, &fd);
		if (n == (ssize_t)sizeof first) {
			memcpy(&first, bytes, sizeof first);
			return err_adopt(e, &first);
		}
		snap_worker_parse(bytes, n > 0 ? (size_t)n : 0, &a);
		if (n <= 0 || a.word == SNAP_WORD_FAILED || a.word == SNAP_WORD_NONSENSE)
			return failed(x, &a, e);
		if (a.word == SNAP_WORD_NOTIFY)
			r = hear(x, &a, fd, e);
	}
	if (r == 0 && (x->r->pid <= 1 || a.pid != x->r->pid))
		return err_set(e, ERR_SYSTEM, EPROTO, "restore: CRIU restored process %d and told of %d", a.pid,
			       x->r->pid);
	return r;
}

/* ---- The end ---- */

static void end_criu(struct restorer *x)
{
	struct pollfd p = {.fd = x->criu_pidfd, .events = POLLIN};
	siginfo_t ignored;

	fd_closep(&x->sock); /* what waits for our word fails */
	if (!fd_valid(x->criu_pidfd))
		return;
	if (poll(&p, 1, END_MS) <= 0)
		(void)!sys_pidfd_kill(x->criu_pidfd, SIGKILL);
	(void)!sys_wait_exit(x->criu_pidfd, true, &ignored);
	fd_closep(&x->criu_pidfd);
}

/* A CRIU that was killed leaves what it made half, children of ours, which it may not have told of. We have no others. */
static void end_restored(struct restorer *x)
{
	sys_end_children();
	fd_closep(&x->r->pidfd);
	x->r->pid = 0;
}

int ct_restore(struct ct_restore *r, struct err *e)
{
	struct restorer x = {.r = r,
			     .p = {.own_pid = FD_NONE, .own_time = FD_NONE},
			     .cgroup_ns = FD_NONE,
			     .sock = FD_NONE,
			     .theirs = FD_NONE,
			     .work = FD_NONE,
			     .criu_pidfd = FD_NONE};
	const struct criu_job job = *r->job;
	int ret, fd = FD_NONE;

	r->pid = 0;
	r->pidfd = FD_NONE;
	ret = prepare(&x, e);
	/* What a CRIU forks that is killed falls to us, and ends with the rest. */
	if (ret == 0 && prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
		ret = err_sys(e, errno, "becoming a subreaper");
	if (ret == 0) {
		x.criu = sys_clone3(
			&(struct clone_args){.flags = CLONE_PIDFD, .pidfd = (uintptr_t)&fd, .exit_signal = SIGCHLD});
		if (x.criu == 0)
			be_criu(&x);
		x.criu_pidfd = x.criu < 0 ? FD_NONE : fd;
		ret = x.criu < 0 ? err_sys(e, (int)x.criu, "making a process") : 0;
	}
	fd_closep(&x.theirs);
	if (ret == 0)
		ret = talk(&x, e);
	end_criu(&x);
	if (ret < 0)
		end_restored(&x);
	(void)prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0);
	fd_closep(&x.work);
	fd_closep(&x.cgroup_ns);
	ct_prepared_done(&x.p);
	*r->job = job;
	return ret;
}
