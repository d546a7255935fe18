#include "daemon/deployment.h"

#include "base/fd.h"
#include "sys/sys.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

_Static_assert((int)SPEC_RUNTIME_NATIVE == SPAWN_RUNTIME_NATIVE && (int)SPEC_RUNTIME_PYTHON == SPAWN_RUNTIME_PYTHON &&
		       (int)SPEC_RUNTIME_NODE == SPAWN_RUNTIME_NODE && (int)SPEC_RUNTIME_CUSTOM == SPAWN_RUNTIME_CUSTOM,
	       "runtimes have one number each");

static uint64_t last_open;

/* ---- Opening ---- */

static bool in_roots(const struct deployment *p, int fd)
{
	const struct rights *rights = function_rights(p->f);
	char link[40], path[SPAWN_MAX_PATH];
	ssize_t n;

	(void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	/* Whoever has a mount namespace of his own can give any file any name in it. */
	if (rights->roots && prepare_is_mounted_here(fd) != 1)
		return false;
	n = readlink(link, path, sizeof path - 1);
	if (n <= 0)
		return false;
	path[n] = '\0';
	return rights_root(rights, path);
}

static int check_opened(const struct deployment *p, const struct prepare_file *f, struct err *e)
{
	int r;

	if (in_roots(p, f->fd))
		return 0;
	r = err_set(e, ERR_DENIED, 0, "'%s' lies in none of the directories that the daemon's policy allows", f->path);
	return r;
}

/* A descriptor of the client's. What it was opened for is its own business only as far as we can read it: O_PATH and
 * O_WRONLY ask for other rights than reading does (open(2)). Directories are read by their name below /proc/self/fd. */
static int check_sent(const struct deployment *p, const struct prepare_file *f, struct err *e)
{
	const bool is_code = f->place == &p->job.target;
	const char *const what = is_code ? "target" : f->place == &p->f->spec.rootfs ? "rootfs" : "layer";
	const int flags = fcntl(f->fd, F_GETFL);
	struct stat st;
	int r = 0;

	if (flags < 0 || fstat(f->fd, &st) < 0)
		return err_sys(e, errno, "the descriptor of '%s'", f->path);
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		r = err_set(e, ERR_SPEC, EINVAL, "the descriptor is of a %s, not of a file or directory",
			    S_ISFIFO(st.st_mode)  ? "pipe"
			    : S_ISLNK(st.st_mode) ? "symbolic link"
						  : "device");
	else if ((flags & O_ACCMODE) == O_WRONLY || (flags & O_PATH && (is_code || !S_ISDIR(st.st_mode))))
		r = err_set(e, ERR_SPEC, EBADF, "the descriptor is not open for reading");
	return err_where(e, r, "spec: $.%s", what);
}

static int ask_to_open(struct deployment *p, const struct prepare_file *f, struct err *e)
{
	struct spawn_open m;
	const size_t len = strlen(f->path);
	int fd;

	if (!p->call)
		return err_set(e, ERR_CANCELLED, ECANCELED, "its client is gone");
	fd = conn_fd(p->call->conn);
	if (f->path[0] != '/' || len >= sizeof m.path)
		return err_set(e, ERR_SPEC, 0, "'%s' is not an absolute path, and no descriptor came for it", f->path);
	spawn_begin(&m, SPAWN_OPEN, sizeof m);
	m.number = p->open_number = ++last_open;
	m.directory = f->directory_only ? 1 : f->file_only ? 0 : 2;
	m.path_len = (uint32_t)len;
	memcpy(m.path, f->path, len);
	return link_send(p->d->link, &m, &fd, 1) ? 0 : err_oom(e);
}

/* What is no fault of the file's may be another time, and is not "do not retry". */
static enum err_kind kind_of(int code)
{
	switch (code) {
	case ENOENT:
	case ENOTDIR:
		return ERR_NOT_FOUND;
	case EBUSY:
	case EMFILE:
	case ENFILE:
	case ENOMEM:
	case EIO:
	case ETIMEDOUT:
		return ERR_SYSTEM;
	default:
		return ERR_DENIED;
	}
}

void deploy_opened(struct daemon *d, const struct spawn_opened *m, int *fd)
{
	struct deployment *p = deployments;
	struct prepare_file *f;
	struct err e = {0};
	int r;

	(void)d;
	while (p && p->open_number != m->number)
		p = p->next;
	if (!p || p->n_open >= p->job.n_files)
		return;
	f = &p->job.files[p->n_open];
	p->open_number = 0;
	if (m->code != 0) {
		r = err_set(&e, kind_of(m->code), m->code, "'%s': %s", f->path, strerrordesc_np(m->code) ?: "?");
		(void)err_where(&e, r, "%s", f->path);
		deployment_fail(p, &e);
		return;
	}
	f->fd = take_fd(fd);
	deployment_go_on(p);
}

/* ---- The child ---- */

static void child_done(void *arg, uint32_t events);

static int start_child(struct deployment *p, struct err *e)
{
	AUTO_FD int theirs = FD_NONE;
	int sv[2], r;

	p->datagram = calloc(1, sizeof *p->datagram);
	p->prepared = calloc(1, sizeof *p->prepared);
	if (!p->datagram || !p->prepared)
		return err_oom(e);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
		return err_sys(e, errno, "a socket pair");
	p->sock = sv[0];
	theirs = sv[1];
	r = p->pid = sys_clone3(
		&(struct clone_args){.flags = CLONE_PIDFD, .pidfd = (uintptr_t)&p->pidfd, .exit_signal = SIGCHLD});
	if (r == 0)
		prepare_main(&p->job, theirs);
	if (r < 0)
		return err_sys(e, r, "starting the look at the files");
	return loop_add(&p->d->loop, &p->done, p->pidfd, EPOLLIN, child_done, p, e);
}

void deployment_go_on(struct deployment *p)
{
	struct err e = {0};
	int r = 0;

	for (; r == 0 && p->n_open < p->job.n_files; p->n_open++) {
		struct prepare_file *f = &p->job.files[p->n_open];

		if (!fd_valid(f->fd) && p->reload)
			continue; /* by the child, with what everybody may */
		if (!fd_valid(f->fd) && !p->call)
			r = err_set(&e, ERR_CANCELLED, ECANCELED, "its client is gone");
		else if (!fd_valid(f->fd)) {
			r = ask_to_open(p, f, &e);
			if (r == 0)
				return; /* deploy_opened() */
		} else {
			r = f->sent ? check_sent(p, f, &e) : 0;
			if (r == 0)
				r = check_opened(p, f, &e);
		}
	}
	if (r == 0)
		r = start_child(p, &e);
	if (r < 0)
		deployment_fail(p, &e);
}

/* One datagram with its locks. */
static int receive_prepared(struct deployment *p, struct err *e)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE((1 + SPEC_MAX_LAYERS) * sizeof(int))];
	} control;
	struct iovec iov = {p->prepared, sizeof *p->prepared};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.space,
			     .msg_controllen = sizeof control.space};
	ssize_t n = recvmsg(p->sock, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	const struct cmsghdr *cmsg = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;
	struct cell_code *code = &p->f->code;
	const struct prepared *got = p->prepared;

	if (cmsg && cmsg->cmsg_level == SOL_SOCKET && cmsg->cmsg_type == SCM_RIGHTS) {
		const size_t fds = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		for (size_t i = 0; i < fds && code->n_packages < ARRAY_LEN(code->packages); i++)
			memcpy(&code->packages[code->n_packages++].lock, CMSG_DATA(cmsg) + i * sizeof(int),
			       sizeof(int));
	}
	if (n < (ssize_t)offsetof(struct prepared, filter))
		return err_set(e, ERR_SYSTEM, ETIMEDOUT,
			       "the look at the function's files ended early, or took over %d s", PREPARE_SECONDS);
	if (got->err.kind != ERR_NONE)
		return err_adopt(e, &got->err);
	if (got->n_filter > ARRAY_LEN(got->filter) ||
	    (size_t)n < offsetof(struct prepared, filter) + got->n_filter * sizeof got->filter[0] ||
	    !memchr(got->digest, '\0', sizeof got->digest) || got->runtime < SPAWN_RUNTIME_NATIVE ||
	    got->runtime > SPAWN_RUNTIME_CUSTOM)
		return err_set(e, ERR_BUG, EPROTO, "the look at the files gave nonsense");
	return 0;
}

static int take_prepared(struct deployment *p, struct err *e)
{
	struct function *f = p->f;
	const struct prepared *got = p->prepared;
	int r = receive_prepared(p, e);

	if (r == 0)
		r = spawn_receive(p->sock, p->datagram, SPAWN_TO_SPAWN, e);
	if (r == 0 || r == -EAGAIN)
		r = err_set(e, ERR_SYSTEM, EPIPE, "the look at the function's files ended early");
	if (r < 0)
		return r;
	if (p->datagram->head.word != SPAWN_FUNCTION)
		return err_set(e, ERR_BUG, EPROTO, "the look at the files gave nonsense");
	(void)snprintf(f->digest, sizeof f->digest, "%s", got->digest);
	f->runtime = (enum spec_runtime)got->runtime;
	if (got->n_filter > 0) {
		f->filter.insns = malloc(got->n_filter * sizeof got->filter[0]);
		if (!f->filter.insns)
			return err_oom(e);
		memcpy(f->filter.insns, got->filter, got->n_filter * sizeof got->filter[0]);
		f->filter.len = got->n_filter;
	}
	return 0;
}

static void child_done(void *arg, uint32_t events)
{
	struct deployment *p = arg;
	struct err e = {0};

	(void)events;
	loop_remove(&p->d->loop, &p->done);
	(void)waitpid(p->pid, NULL, 0); /* the pidfd says that it has ended */
	deployment_seen(p, take_prepared(p, &e), &e);
}
