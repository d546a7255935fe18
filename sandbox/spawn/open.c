/* OPEN: a child becomes who asks, opens, and sends what it got. It may hang in a file system that does not answer;
 * nobody waits for it but its client. */
#include "spawn/spawn.h"

#include "base/clock.h"
#include "sys/sys.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <linux/securebits.h>
#include <linux/un.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

enum { CHILD_FD = 3, MAX_GROUPS = 65536 };

static void start_waiting(struct spawn *s);

static void tell_opened(struct spawn *s, uint64_t number, int code, bool directory, int fd)
{
	struct spawn_opened m;

	spawn_begin(&m, SPAWN_OPENED, sizeof m);
	m.number = number;
	m.code = code;
	m.directory = directory;
	tell(s, &m, &fd, code == 0 ? 1 : 0);
}

/* ---- Who asks ---- */

/* Was this socket accepted from ours? Its local end has our file then: bind(2) makes a new one each time, so
 * nobody else's can. A listening socket has its own maker's ids for those of a peer. */
static bool is_client(const struct spawn *s, int fd)
{
	AUTO_FD int file = FD_NONE;
	int listens = 1, domain = 0;
	socklen_t len = sizeof listens;
	struct stat st;

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0 || domain != AF_UNIX ||
	    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) < 0 || listens)
		return false;
	if (!s->host.facts.privileged)
		return true; /* only its own user's peers are taken, and opened for with our own rights */
	file = ioctl(fd, SIOCUNIXFILE);
	return s->has_inode && fd_valid(file) && fstat(file, &st) == 0 && st.st_dev == s->socket_dev &&
	       st.st_ino == s->socket_ino;
}

static int find_groups(int fd, struct open_wish *w)
{
	socklen_t len = 0;
	gid_t *groups;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &len) == 0)
		return 0;
	if (errno != ERANGE)
		return -errno;
	if (len > MAX_GROUPS * sizeof *groups)
		return -E2BIG;
	groups = malloc(len);
	if (!groups)
		return -ENOMEM;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) < 0) {
		free(groups);
		return -errno;
	}
	w->groups = groups;
	w->n_groups = len / sizeof *groups;
	return 0;
}

/* 0, or the errno for the answer. */
static int find_ids(const struct spawn *s, int fd, struct open_wish *w)
{
	struct ucred cred;
	socklen_t len = sizeof cred;

	if (!is_client(s, fd))
		return EPERM;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return errno;
	w->uid = cred.uid;
	w->gid = cred.gid;
	if (!s->host.facts.privileged)
		return cred.uid == geteuid() ? 0 : EPERM;
	return -find_groups(fd, w);
}

/* ---- The child: it only makes system calls ---- */

static int become(const struct spawn *s, const struct open_wish *w)
{
	if (!s->host.facts.privileged)
		return 0;
	if (prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0) < 0 ||
	    syscall(SYS_setgroups, w->n_groups, w->groups) < 0 || syscall(SYS_setresgid, w->gid, w->gid, w->gid) < 0 ||
	    syscall(SYS_setresuid, w->uid, w->uid, w->uid) < 0)
		return -errno;
	return caps_drop_all();
}

static int open_path(const char *path, uint64_t flags)
{
	const struct open_how how = {.flags = flags | O_CLOEXEC, .resolve = RESOLVE_NO_MAGICLINKS};
	long fd = syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how);

	return fd < 0 ? -errno : (int)fd;
}

/* First without doing anything to it: opening a device or a pipe can have effects. Then that very file, for reading. */
static int open_wanted(const struct open_wish *w, uint32_t *ret_directory)
{
	AUTO_FD int place = open_path(w->path, O_PATH);
	char name[40];
	struct stat st;
	struct statfs fs;
	int fd;

	if (place < 0)
		return place;
	if (fstat(place, &st) < 0 || fstatfs(place, &fs) < 0)
		return -errno;
	if (fs.f_type == PROC_SUPER_MAGIC)
		return -EACCES;
	if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
		return -EACCES;
	if (w->directory != 2 && (w->directory == 1) != S_ISDIR(st.st_mode))
		return S_ISDIR(st.st_mode) ? -EISDIR : -ENOTDIR;
	*ret_directory = S_ISDIR(st.st_mode);
	(void)snprintf(name, sizeof name, "/proc/self/fd/%d", place);
	fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	return fd < 0 ? -errno : fd;
}

static _Noreturn void opening_child(const struct spawn *s, const struct open_wish *w, int socket)
{
	struct spawn_opened m;
	int r;

	spawn_begin(&m, SPAWN_OPENED, sizeof m);
	if (socket != CHILD_FD && dup2(socket, CHILD_FD) < 0)
		_exit(1);
	/* Copies of the cells' pipes must not live on in one that hangs. */
	(void)close_range(CHILD_FD + 1, ~0U, 0);
	r = become(s, w);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (r == 0)
		r = open_wanted(w, &m.directory);
	m.code = r < 0 ? -r : 0;
	_exit(spawn_send(CHILD_FD, &m, &r, r < 0 ? 0 : 1) < 0);
}

/* ---- The parent ---- */

static void answer_once(struct opening *o, int code, bool directory, int fd)
{
	loop_remove(&o->s->loop, &o->answer);
	loop_disarm(&o->s->loop, &o->timer);
	fd_closep(&o->socket);
	if (o->number)
		tell_opened(o->s, o->number, code, directory, fd);
	o->number = 0;
}

static void answer_ready(void *arg, uint32_t events)
{
	struct opening *o = arg;
	struct spawn_datagram *d = o->s->in; /* not in use: requests are taken one by one */
	struct err ignored = {0};
	int r = spawn_receive(o->socket, d, SPAWN_TO_DAEMON, &ignored);

	(void)events;
	if (r == -EAGAIN && ignored.kind == ERR_NONE)
		return;
	if (r == 1 && d->head.word == SPAWN_OPENED)
		answer_once(o, d->opened.code, d->opened.directory, d->n_fds > 0 ? d->fds[0] : FD_NONE);
	else
		answer_once(o, EIO, false, FD_NONE);
	spawn_drop(d);
}

static void child_gone(void *arg, uint32_t events)
{
	struct opening *o = arg;
	siginfo_t how;

	(void)events;
	if (sys_wait_exit(o->pidfd, false, &how) < 0)
		return;
	if (fd_valid(o->socket)) /* its last word may be there, unread */
		answer_ready(o, 0);
	if (fd_valid(o->socket))
		answer_once(o, EIO, false, FD_NONE);
	loop_remove(&o->s->loop, &o->exit);
	fd_closep(&o->pidfd);
	start_waiting(o->s);
}

static void too_late(void *arg)
{
	struct opening *o = arg;

	/* One that hangs in the kernel keeps its place until it is gone. */
	(void)!sys_pidfd_kill(o->pidfd, SIGKILL);
	answer_once(o, ETIMEDOUT, false, FD_NONE);
}

static int start_child(struct opening *o, const struct open_wish *w, struct err *e)
{
	int sv[2], pidfd = FD_NONE;
	const struct clone_args args = {.flags = CLONE_PIDFD, .pidfd = (uintptr_t)&pidfd, .exit_signal = SIGCHLD};
	pid_t pid;
	int r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv) < 0)
		return err_sys(e, errno, "making a socket");
	pid = sys_clone3(&args);
	if (pid == 0)
		opening_child(o->s, w, sv[1]);
	(void)close(sv[1]);
	o->socket = sv[0];
	if (pid < 0)
		return err_sys(e, pid, "clone3");
	o->pidfd = pidfd;
	r = loop_add(&o->s->loop, &o->exit, o->pidfd, EPOLLIN, child_gone, o, e);
	if (r == 0)
		r = loop_add(&o->s->loop, &o->answer, o->socket, EPOLLIN, answer_ready, o, e);
	o->timer = (struct timer){.due = too_late, .arg = o};
	if (r == 0 && loop_arm(&o->s->loop, &o->timer, clock_mono_ns() + SPAWN_OPEN_MS * NS_PER_MS) < 0)
		r = err_oom(e);
	return r;
}

static void start_one(struct opening *o, const struct open_wish *w)
{
	struct err e = {0};
	siginfo_t how;
	int r;

	o->number = w->number;
	r = start_child(o, w, &e);
	if (r == 0)
		return;
	answer_once(o, -r, false, FD_NONE);
	if (fd_valid(o->pidfd) && !o->exit.added) { /* nobody would reap it */
		(void)!sys_pidfd_kill(o->pidfd, SIGKILL);
		(void)!sys_wait_exit(o->pidfd, true, &how);
		fd_closep(&o->pidfd);
	}
}

static void wish_free(struct open_wish *w)
{
	free(w->groups);
	free(w);
}

static void start_waiting(struct spawn *s)
{
	for (size_t i = 0; i < ARRAY_LEN(s->opens) && s->wish; i++) {
		struct opening *o = &s->opens[i];
		struct open_wish *w = s->wish;

		if (o->s && fd_valid(o->pidfd))
			continue;
		s->wish = w->next;
		s->wish_last = s->wish ? s->wish_last : &s->wish;
		s->n_wishes--;
		*o = (struct opening){.s = s, .socket = FD_NONE, .pidfd = FD_NONE};
		start_one(o, w);
		wish_free(w);
	}
}

int open_ask(struct spawn *s, struct spawn_datagram *d, struct err *e)
{
	const struct spawn_open *m = &d->open;
	struct open_wish *w = calloc(1, sizeof *w);
	int code = w ? find_ids(s, d->fds[0], w) : ENOMEM;

	(void)e;
	if (code == 0 && (s->n_wishes >= OPEN_QUEUE_MAX || !fds_left(s, 4)))
		code = EBUSY;
	if (code != 0) {
		tell_opened(s, m->number, code, false, FD_NONE);
		if (w)
			wish_free(w);
		return 0;
	}
	w->number = m->number;
	w->directory = m->directory;
	memcpy(w->path, m->path, sizeof w->path);
	if (!s->wish)
		s->wish_last = &s->wish;
	*s->wish_last = w;
	s->wish_last = &w->next;
	s->n_wishes++;
	start_waiting(s);
	return 0;
}

void open_lose_daemon(struct spawn *s)
{
	while (s->wish) {
		struct open_wish *w = s->wish;

		s->wish = w->next;
		wish_free(w);
	}
	s->n_wishes = 0;
	for (size_t i = 0; i < ARRAY_LEN(s->opens); i++)
		s->opens[i].number = 0;
}
