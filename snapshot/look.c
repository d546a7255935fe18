/* Reads what look_judge.c judges: every process that will be in the image, and what hangs about beside them. Through
 * /proc of the host, but for unix sockets and System V objects, which a short-lived child opens in the cell's namespaces.
 *
 * The cell stands still meanwhile: what is seen here is what CRIU finds. */
#include "snapshot/look.h"
#include "snapshot/internal.h"

#include "sys/sys.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/xattr.h>

enum {
	MAX_PROCS = 4096, /* four times the default of --pids */
	/* Of one file of /proc: maps of a JVM of 10,000 mappings has a megabyte; an epoll's fdinfo has a line for each
	 * descriptor. */
	MAX_TEXT = 16 << 20,
	DIAG_BYTES = 32768,
	TRIES = 20, /* of 10 ms, for a process that is in the kernel for a moment */
	/* CRIU writes core for each thread; mm, pagemap, pages, fs, ids, fdinfo for each process; and about these. */
	FILES_OF_PROCESS = 6,
	FILES_OF_ALL = 6,
};

enum { OPEN_DIAG, OPEN_SHM, OPEN_SEM, OPEN_MSG, N_OPEN };

struct proc {
	pid_t pid; /* on the host */
	int dir;   /* /proc/PID */
	struct look_who who;
};

struct walk {
	const struct snap_victim *v;
	struct look look;
	struct proc *procs;
	size_t n, cap;
	int init;                  /* /proc/PID of PID 1 */
	int filters;               /* that PID 1 has; -1: unknown */
	unsigned level;            /* of the cell's pid namespace, 0 being the reader's */
	uint64_t tasks, anonymous; /* in all of them; bytes of resident memory that belongs to no file */
};

static int err_gone(const struct look_who *who, struct err *e)
{
	return look_refuse(who, e, "end it and wait for it in fsbox_before_snapshot()", "ended while it was looked at");
}

static int read_text(int dir, const char *path, char **ret, struct err *e)
{
	AUTO_FD int fd = sys_openat(dir, path, O_RDONLY, 0);
	size_t len;
	int r = fd < 0 ? fd : fd_read_all(fd, MAX_TEXT, ret, &len);

	return r < 0 ? err_sys(e, r, "reading '%s' of the function", path) : 0;
}

/* ---- Processes ---- */

static int open_proc(pid_t pid)
{
	char path[32];

	(void)snprintf(path, sizeof path, "/proc/%d", (int)pid);
	return sys_openat(AT_FDCWD, path, O_PATH | O_DIRECTORY, 0);
}

/* Name and number inside, for messages. */
static void name_proc(const struct walk *w, struct proc *p)
{
	AUTO_FREE char *status = NULL;
	struct err e = {0};
	int64_t pid;

	p->who = (struct look_who){.pid = 0, .fd = -1};
	if (fd_read_file_at(p->dir, "comm", p->who.comm, sizeof p->who.comm) < 0)
		(void)snprintf(p->who.comm, sizeof p->who.comm, "?");
	if (read_text(p->dir, "status", &status, &e) == 0 && look_number(status, "NSpid", w->level, &pid))
		p->who.pid = (pid_t)pid;
}

static int add_proc(struct walk *w, pid_t pid, struct err *e)
{
	const struct look_node node = {.kind = LOOK_TASK, .ino = (uint64_t)pid};
	struct proc *p;

	if (w->n >= MAX_PROCS)
		return err_set(e, ERR_LIMIT, E2BIG, "the function has more than %d processes", (int)MAX_PROCS);
	if (w->n == w->cap) {
		w->cap = w->cap ? w->cap * 2 : 16;
		p = reallocarray(w->procs, w->cap, sizeof *p);
		if (!p)
			return err_oom(e);
		w->procs = p;
	}
	p = &w->procs[w->n];
	*p = (struct proc){.pid = pid, .dir = open_proc(pid)};
	if (p->dir < 0)
		return err_gone(&(struct look_who){.comm = "?", .fd = -1}, e);
	w->n++;
	name_proc(w, p);
	return look_add(&w->look, &node, e);
}

/* Calls @fn for each number that is a name in /proc/PID/@sub. */
static int each_number(const struct proc *p, const char *sub,
		       int (*fn)(struct walk *, const struct proc *, int, struct err *), struct walk *w, struct err *e)
{
	AUTO_FD int fd = sys_openat(p->dir, sub, O_RDONLY | O_DIRECTORY, 0);
	const struct dirent *ent;
	int r = 0;
	DIR *d;

	if (fd < 0)
		return fd == -ENOENT || fd == -ESRCH ? err_gone(&p->who, e)
						     : err_sys(e, fd, "reading '%s' of the function", sub);
	d = fdopendir(fd);
	if (!d)
		return err_sys(e, errno, "reading '%s' of the function", sub);
	(void)take_fd(&fd);
	while (r == 0 && (ent = readdir(d))) {
		uint64_t n;

		if (parse_u64(ent->d_name, 0, INT32_MAX, &n))
			r = fn(w, p, (int)n, e);
	}
	(void)closedir(d);
	return r;
}

static int text_of_task(const struct proc *p, int tid, const char *file, char **ret, struct err *e)
{
	char path[64];

	(void)snprintf(path, sizeof path, "task/%d/%s", tid, file);
	return read_text(p->dir, path, ret, e);
}

/* proc_pid_task_children(5): decimal numbers, each followed by a blank. */
static int add_children(struct walk *w, const struct proc *p, int tid, struct err *e)
{
	AUTO_FREE char *text = NULL;
	int r = text_of_task(p, tid, "children", &text, e);

	for (char *s = text, *blank; r == 0 && s && (blank = strchr(s, ' ')); s = blank + 1) {
		uint64_t pid;

		*blank = '\0';
		if (!parse_u64(s, 1, INT32_MAX, &pid))
			return err_set(e, ERR_SYSTEM, EBADMSG, "reading the children of a process: '%.20s'", s);
		r = add_proc(w, (pid_t)pid, e);
	}
	return r;
}

/* PID 1 has the runtime, and what nobody else is the parent of: that would be left out of the image without a word. */
static int add_all(struct walk *w, struct err *e)
{
	const struct proc init = {.pid = w->v->init_pid,
				  .dir = w->init,
				  .who = {.pid = 1, .comm = "fsbox-init", .fd = -1}};
	struct proc p;
	int r = each_number(&init, "task", add_children, w, e);

	for (size_t i = 0; r == 0 && i < w->n; i++) {
		if (w->procs[i].pid != w->v->pid)
			return look_refuse(&w->procs[i].who, e, "end it in fsbox_before_snapshot()",
					   "was left behind by its parent and would not be in the snapshot");
	}
	if (r == 0 && w->n != 1)
		return err_set(e, ERR_CRASHED, ESRCH, "the function ended before its snapshot was taken");
	for (size_t i = 0; r == 0 && i < w->n; i++) {
		p = w->procs[i]; /* the array may move */
		r = each_number(&p, "task", add_children, w, e);
	}
	return r;
}

/* Number of the pid namespace's level: as many numbers stand in NSpid (proc_pid_status(5)). */
static int measure(struct walk *w, struct err *e)
{
	AUTO_FREE char *status = NULL;
	int64_t n;
	int r;

	w->init = open_proc(w->v->init_pid);
	if (w->init < 0)
		return err_sys(e, w->init, "looking at the cell's PID 1");
	r = read_text(w->init, "status", &status, e);
	if (r < 0)
		return r;
	while (look_number(status, "NSpid", w->level + 1, &n))
		w->level++;
	w->filters = look_number(status, "Seccomp_filters", 0, &n) && n >= 0 && n < 1000 ? (int)n : -1;
	return 0;
}

/* ---- Of a process ---- */

static int check_namespaces(const struct walk *w, const struct proc *p, struct err *e)
{
	static const char *const names[] = {
		"cgroup", "ipc", "mnt", "net", "pid", "user", "uts", "time", "pid_for_children", "time_for_children"};

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		char path[32], want[64] = "", have[64] = "";

		(void)snprintf(path, sizeof path, "ns/%s", names[i]);
		if (readlinkat(w->init, path, want, sizeof want - 1) < 0)
			continue; /* an older kernel */
		if (readlinkat(p->dir, path, have, sizeof have - 1) < 0 || strcmp(want, have) != 0)
			return look_refuse(&p->who, e, "end it in fsbox_before_snapshot()",
					   "has a namespace of its own (%s), which a snapshot cannot hold", names[i]);
	}
	return 0;
}

static int check_task(struct walk *w, const struct proc *p, int tid, struct err *e)
{
	w->tasks++;
	for (unsigned try = 0;; try++) {
		AUTO_FREE char *status = NULL;
		struct err mine = {0};
		int r = text_of_task(p, tid, "status", &status, &mine);

		if (r < 0)
			return err_gone(&p->who, e);
		r = look_status(&p->who, status, w->filters, &mine);
		if (r == 0)
			return 0;
		if (try >= TRIES || !strstr(mine.msg, "cannot be interrupted"))
			return err_adopt(e, &mine);
		(void)poll(NULL, 0, 10);
	}
}

/* proc_pid_statm(5): size, resident, shared; in pages. What two processes have in common since a fork is in the image for
 * each of them, so it is counted for each. */
static int add_anonymous(struct walk *w, const struct proc *p, struct err *e)
{
	AUTO_FREE char *statm = NULL;
	uint64_t resident, shared;
	int r = read_text(p->dir, "statm", &statm, e);
	char *save = NULL;

	if (r < 0)
		return r;
	(void)strtok_r(statm, " ", &save);
	const char *a = strtok_r(NULL, " ", &save), *b = strtok_r(NULL, " ", &save);

	if (!a || !b || !parse_u64(a, 0, INT64_MAX, &resident) || !parse_u64(b, 0, resident, &shared))
		return err_set(e, ERR_SYSTEM, EBADMSG, "reading the size of a process");
	w->anonymous += (resident - shared) * (uint64_t)sysconf(_SC_PAGESIZE);
	return 0;
}

/* Before CRIU writes it all. */
static int check_size(const struct walk *w, struct err *e)
{
	if (w->tasks + w->n * FILES_OF_PROCESS > SNAP_MAX_FILES - FILES_OF_ALL)
		return err_hint(e,
				err_set(e, ERR_LIMIT, E2BIG,
					"the function has %zu processes and %llu threads: too many for a snapshot",
					w->n, (unsigned long long)w->tasks),
				"end them in fsbox_before_snapshot(), or run without --snapshot");
	if (w->anonymous > w->v->memory_bytes)
		return err_hint(e,
				err_set(e, ERR_LIMIT, E2BIG,
					"the function's processes would hold %llu MiB after a restore, --mem is %llu",
					(unsigned long long)(w->anonymous >> 20),
					(unsigned long long)(w->v->memory_bytes >> 20)),
				"what they share since fork(2) counts for each of them then: end some in "
				"fsbox_before_snapshot(), or raise --mem");
	return 0;
}

static int check_memory(const struct proc *p, struct err *e)
{
	AUTO_FREE char *maps = NULL;
	struct stat st;
	int r;

	if (fstatat(p->dir, "exe", &st, 0) < 0)
		return err_gone(&p->who, e);
	if (st.st_nlink == 0)
		return look_refuse(&p->who, e, "end it in fsbox_before_snapshot()", "executes a file without a name");
	r = read_text(p->dir, "maps", &maps, e);
	return r < 0 ? r : look_maps(&p->who, maps, e);
}

/* ---- Descriptors ---- */

struct fd_text {
	char link[4200], path[32], proto[32];
	char *fdinfo;
	struct look_file file;
};

static void fd_text_done(struct fd_text *t)
{
	free(t->fdinfo);
}

/* 1: it was closed meanwhile. */
static int read_fd(const struct proc *p, int fd, struct fd_text *t, struct err *e)
{
	AUTO_FD int info = FD_NONE;
	char full[64], path[32];
	struct stat st;
	ssize_t n;
	size_t len;
	int r;

	(void)snprintf(t->path, sizeof t->path, "fd/%d", fd);
	n = readlinkat(p->dir, t->path, t->link, sizeof t->link - 1);
	if (n < 0 || fstatat(p->dir, t->path, &st, 0) < 0)
		return 1;
	t->link[n] = '\0';
	(void)snprintf(path, sizeof path, "fdinfo/%d", fd);
	info = sys_openat(p->dir, path, O_RDONLY, 0);
	if (info < 0)
		return 1;
	r = fd_read_all(info, MAX_TEXT, &t->fdinfo, &len);
	if (r < 0)
		return err_sys(e, r, "reading a descriptor of the function");
	t->proto[0] = '\0';
	if (S_ISSOCK(st.st_mode)) { /* socket(7) has it not; the kernel gives it since Linux 2.6.38 */
		(void)snprintf(full, sizeof full, "/proc/%d/fd/%d", (int)p->pid, fd);
		n = getxattr(full, "system.sockprotoname", t->proto, sizeof t->proto - 1);
		t->proto[n > 0 ? n : 0] = '\0';
	}
	t->file = (struct look_file){.link = t->link,
				     .fdinfo = t->fdinfo,
				     .proto = t->proto,
				     .mode = st.st_mode,
				     .rdev = st.st_rdev,
				     .nlink = st.st_nlink};
	return 0;
}

static int collect_fd(struct walk *w, const struct proc *p, int fd, struct err *e)
{
	AUTO(fd_text_done) struct fd_text t = {.fdinfo = NULL};
	int r = read_fd(p, fd, &t, e);

	if (r != 0)
		return r < 0 ? r : 0;
	r = look_add_fd(&w->look, &t.file, e);
	if (r == 0 && p->pid == w->v->pid && fd >= 1 && fd <= 4 && str_starts(t.link, "pipe:"))
		w->look.nodes[w->look.n - 1].flags |= LOOK_CHANNEL;
	return r;
}

static int judge_fd(struct walk *w, const struct proc *p, int fd, struct err *e)
{
	AUTO(fd_text_done) struct fd_text t = {.fdinfo = NULL};
	AUTO_FREE char *mountinfo = NULL;
	struct look_who who = p->who;
	int r = read_fd(p, fd, &t, e);

	if (r != 0)
		return r < 0 ? r : 0;
	who.fd = fd;
	if (t.link[0] == '/')
		r = read_text(p->dir, "mountinfo", &mountinfo, e);
	return r < 0 ? r : look_fd(&w->look, &who, &t.file, mountinfo, e);
}

/* ---- What the cell's namespaces tell ---- */

/* In the child: system calls, no memory. */
static int open_inside(int dir, int sock)
{
	int fds[N_OPEN];
	int net = sys_openat(dir, "ns/net", O_RDONLY, 0);
	int ipc = sys_openat(dir, "ns/ipc", O_RDONLY, 0);
	char c = 0;
	struct iovec iov = {&c, 1};
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof fds)];
	} control = {0};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control.space,
			   .msg_controllen = sizeof control.space};

	if (net < 0 || ipc < 0 || setns(net, CLONE_NEWNET) < 0 || setns(ipc, CLONE_NEWIPC) < 0)
		return 1;
	fds[OPEN_DIAG] = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	fds[OPEN_SHM] = sys_openat(AT_FDCWD, "/proc/sysvipc/shm", O_RDONLY, 0);
	fds[OPEN_SEM] = sys_openat(AT_FDCWD, "/proc/sysvipc/sem", O_RDONLY, 0);
	fds[OPEN_MSG] = sys_openat(AT_FDCWD, "/proc/sysvipc/msg", O_RDONLY, 0);
	for (size_t i = 0; i < N_OPEN; i++) {
		if (fds[i] < 0)
			return 1;
	}
	control.align.cmsg_level = SOL_SOCKET;
	control.align.cmsg_type = SCM_RIGHTS;
	control.align.cmsg_len = CMSG_LEN(sizeof fds);
	memcpy(CMSG_DATA(&control.align), fds, sizeof fds);
	return sendmsg(sock, &m, MSG_NOSIGNAL) == 1 ? 0 : 1;
}

static int receive(int sock, int ret[N_OPEN])
{
	char c;
	struct iovec iov = {&c, 1};
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(N_OPEN * sizeof(int))];
	} control = {0};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control.space,
			   .msg_controllen = sizeof control.space};
	const struct cmsghdr *h;

	if (recvmsg(sock, &m, MSG_CMSG_CLOEXEC) != 1)
		return -EIO;
	h = CMSG_FIRSTHDR(&m);
	if (!h || h->cmsg_type != SCM_RIGHTS || h->cmsg_len != CMSG_LEN(N_OPEN * sizeof(int)))
		return -EIO;
	memcpy(ret, CMSG_DATA(h), N_OPEN * sizeof(int));
	return 0;
}

/* What is opened in a namespace stays of that namespace, so only a child has to enter it (setns(2)). */
static int open_namespaces(const struct walk *w, int ret[N_OPEN], struct err *e)
{
	AUTO_FD int pidfd = FD_NONE;
	AUTO_FD int ours = FD_NONE;
	AUTO_FD int theirs = FD_NONE;
	int pair[2], fd = FD_NONE, r;
	siginfo_t si;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(e, errno, "making a pair of sockets");
	ours = pair[0];
	theirs = pair[1];
	pid = sys_clone3(&(struct clone_args){.flags = CLONE_PIDFD, .pidfd = (uintptr_t)&fd, .exit_signal = SIGCHLD});
	if (pid == 0)
		_exit(open_inside(w->init, theirs));
	if (pid < 0)
		return err_sys(e, (int)pid, "making a process");
	pidfd = fd;
	fd_closep(&theirs);
	r = receive(ours, ret);
	if (sys_wait_exit(pidfd, true, &si) < 0 || r < 0)
		return err_set(e, ERR_SYSTEM, EIO, "entering the cell's network and ipc namespaces");
	return 0;
}

static int add_unix(struct walk *w, int diag, struct err *e)
{
	const struct {
		struct nlmsghdr h;
		struct unix_diag_req r;
	} ask = {
		.h = {.nlmsg_len = sizeof ask,
		      .nlmsg_type = SOCK_DIAG_BY_FAMILY,
		      .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
		.r = {.sdiag_family = AF_UNIX,
		      .udiag_states = UINT32_MAX,
		      .udiag_show = UDIAG_SHOW_PEER | UDIAG_SHOW_NAME | UDIAG_SHOW_RQLEN},
	};
	AUTO_FREE char *bytes = malloc(DIAG_BYTES);
	int r = 1;

	if (!bytes)
		return err_oom(e);
	if (send(diag, &ask, sizeof ask, 0) != sizeof ask)
		return err_sys(e, errno, "asking for unix sockets");
	while (r == 1) {
		ssize_t n = recv(diag, bytes, DIAG_BYTES, 0);

		if (n <= 0)
			return err_sys(e, n < 0 ? errno : EIO, "reading the kernel's unix sockets");
		r = look_add_unix(&w->look, bytes, (size_t)n, e);
	}
	return r;
}

static int check_sysvipc(int fd, const char *what, struct err *e)
{
	AUTO_FREE char *text = NULL;
	size_t len;
	int r = fd_read_all(fd, MAX_TEXT, &text, &len);

	return r < 0 ? err_sys(e, r, "reading the cell's System V objects") : look_sysvipc(what, text, e);
}

static int check_namespace_objects(struct walk *w, struct err *e)
{
	int fds[N_OPEN] = {FD_NONE, FD_NONE, FD_NONE, FD_NONE};
	int r = open_namespaces(w, fds, e);

	if (r == 0)
		r = add_unix(w, fds[OPEN_DIAG], e);
	if (r == 0)
		r = check_sysvipc(fds[OPEN_SHM], "shared memory", e);
	if (r == 0)
		r = check_sysvipc(fds[OPEN_SEM], "semaphores", e);
	if (r == 0)
		r = check_sysvipc(fds[OPEN_MSG], "a message queue", e);
	for (size_t i = 0; i < N_OPEN; i++)
		fd_closep(&fds[i]);
	return r;
}

static bool holds_sockets(const struct look *l)
{
	for (size_t i = 0; i < l->n; i++) {
		if (l->nodes[i].kind == LOOK_HELD)
			return true;
	}
	return false;
}

/* /proc/PID/net is that of the process's network namespace (proc_pid_net(5)). */
static int add_inet(struct walk *w, struct err *e)
{
	static const struct {
		const char *path;
		enum look_kind kind;
	} tables[] = {{"net/tcp", LOOK_TCP}, {"net/tcp6", LOOK_TCP}, {"net/udp", LOOK_UDP}, {"net/udp6", LOOK_UDP}};

	if (w->look.host_net || !holds_sockets(&w->look)) /* judged without; the kernel walks large tables for each */
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
		AUTO_FREE char *text = NULL;
		int r;

		if (faccessat(w->init, tables[i].path, F_OK, 0) < 0)
			continue; /* a kernel without IPv6 */
		r = read_text(w->init, tables[i].path, &text, e);
		if (r == 0)
			r = look_add_inet(&w->look, tables[i].kind, text, e);
		if (r < 0)
			return r;
	}
	return 0;
}

static int look_at_all(struct walk *w, struct err *e)
{
	int r = measure(w, e);

	if (r == 0)
		r = add_all(w, e);
	for (size_t i = 0; r == 0 && i < w->n; i++) {
		const struct proc *p = &w->procs[i];

		r = each_number(p, "task", check_task, w, e);
		if (r == 0)
			r = add_anonymous(w, p, e);
		if (r == 0)
			r = check_namespaces(w, p, e);
		if (r == 0)
			r = check_memory(p, e);
		if (r == 0)
			r = each_number(p, "fd", collect_fd, w, e);
	}
	if (r == 0)
		r = check_size(w, e);
	if (r == 0)
		r = check_namespace_objects(w, e);
	if (r == 0)
		r = add_inet(w, e);
	if (r < 0)
		return r;
	look_sort(&w->look);
	for (size_t i = 0; r == 0 && i < w->n; i++)
		r = each_number(&w->procs[i], "fd", judge_fd, w, e);
	return r;
}

int snap_look(const struct snap_victim *v, struct err *e)
{
	struct walk w = {.v = v, .init = FD_NONE, .look = {.host_net = v->host_net}};
	int r = look_at_all(&w, e);

	for (size_t i = 0; i < w.n; i++)
		fd_closep(&w.procs[i].dir);
	free(w.procs);
	fd_closep(&w.init);
	look_done(&w.look);
	return r;
}
