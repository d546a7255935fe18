/* PUBLISH: fsbox-publish, a program of its own, finds or makes a function's snapshot, because that means reading
 * manifests. It gets the function as it came here, and gives back the directories, locked. One at a time: fsboxd puts
 * them in order. */
#include "spawn/spawn.h"

#include "base/clock.h"
#include "sys/sys.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

enum { PUBLISHER_FD = 3 };

/* ---- Images ---- */

void image_put(struct image *i)
{
	if (!i || --i->refs > 0)
		return;
	fd_closep(&i->snap.dir);
	fd_closep(&i->snap.images);
	free(i);
}

struct image *image_get(struct image *i)
{
	i->refs++;
	return i;
}

static uint64_t mix(uint64_t h, uint64_t v)
{
	h ^= v;
	h *= UINT64_C(0x9e3779b97f4a7c15);
	return h ^ h >> 32;
}

/* Device, inode, size and times of every file, as snapshots are looked up; whatever order the directory has. 0: it
 * cannot be read. */
static uint64_t identify(int images)
{
	AUTO_FD int fd = openat(images, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd_valid(fd) ? fdopendir(fd) : NULL;
	uint64_t sum = 1;
	const struct dirent *de;

	if (!d)
		return 0;
	(void)take_fd(&fd);
	while ((de = readdir(d))) {
		struct stat st;

		if (de->d_name[0] == '.')
			continue;
		if (fstatat(dirfd(d), de->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
			sum = 0;
			break;
		}
		uint64_t h = mix(mix(mix(st.st_dev, st.st_ino), (uint64_t)st.st_size), (uint64_t)st.st_mtim.tv_sec);

		h = mix(mix(h, (uint64_t)st.st_mtim.tv_nsec), (uint64_t)st.st_ctim.tv_sec);
		sum += mix(h, (uint64_t)st.st_ctim.tv_nsec) | 1;
	}
	(void)closedir(d);
	return sum;
}

/* CRIU believes its images: one that was cut has it read without end. */
int image_check(const struct image *i, struct err *e)
{
	return i->identity != 0 && identify(i->snap.images) == i->identity
		       ? 0
		       : err_set(e, ERR_SNAPSHOT_MISMATCH, EBADMSG, "snapshot %.12s: its files have changed",
				 i->snap.m.id);
}

static struct image *image_make(const struct spawn_image *m, int *fds)
{
	struct image *i = calloc(1, sizeof *i);

	if (!i)
		return NULL;
	i->refs = 1;
	i->snap.dir = take_fd(&fds[0]);
	i->snap.images = take_fd(&fds[1]);
	i->identity = identify(i->snap.images);
	i->snap.m.features = m->told.features;
	i->snap.m.max_pid = m->max_pid;
	i->snap.m.page_bytes = m->told.page_bytes;
	i->snap.m.taken.boottime_ns = m->boottime_ns;
	memcpy(i->snap.m.id, m->told.id, sizeof i->snap.m.id);
	_Static_assert(sizeof i->snap.m.pipes == sizeof m->pipes, "the same texts");
	memcpy(i->snap.m.pipes, m->pipes, sizeof m->pipes);
	return i;
}

/* ---- What is told ---- */

static void tell_failed(struct spawn *s, uint64_t number, const struct err *e)
{
	struct spawn_published m;

	spawn_begin(&m, SPAWN_PUBLISHED, sizeof m);
	m.number = number;
	m.err = *e;
	tell(s, &m, NULL, 0);
}

/* ---- The child ---- */

static _Noreturn void become_publisher(const struct spawn *s, int socket, pid_t parent)
{
	char memory[24];
	const char *const argv[] = {
		s->opt.publisher,
		"--runtime",
		s->opt.runtime,
		"--memory",
		memory,
		s->limits ? "--cgroup-parent" : "--no-limits",
		s->limits ? s->host.cg_parent.path : NULL,
		NULL,
	};
	char *const *args;

	(void)snprintf(memory, sizeof memory, "%llu", (unsigned long long)s->memory_bytes);
	memcpy(&args, &(const char *const *){argv}, sizeof args); /* execv(3) does not write to the texts */
	if (socket != PUBLISHER_FD && dup2(socket, PUBLISHER_FD) < 0)
		_exit(1);
	if (fcntl(PUBLISHER_FD, F_SETFD, 0) < 0 || close_range(PUBLISHER_FD + 1, ~0U, 0) < 0)
		_exit(1);
	spawn_default_signals();
	(void)setpgid(0, 0);
	/* Its cells have the same from it, and a draft is removed by who makes the next. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || getppid() != parent)
		_exit(1);
	(void)execv(s->opt.publisher, args);
	say("starting fsbox-publish: %s", strerrordesc_np(errno));
	_exit(126);
}

/* ---- The parent ---- */

static void take_image(struct publishing *p, struct spawn_datagram *d)
{
	struct function *f = function_find(p->s, p->number);
	struct spawn_published told = d->image.told;
	struct image *image = NULL;

	told.number = p->number; /* its own word on that is not needed */
	if (told.err.kind == ERR_NONE && f && !f->forgotten) {
		image = image_make(&d->image, d->fds);
		if (!image)
			(void)err_oom(&told.err);
	}
	if (image) {
		image_put(f->image);
		f->image = image;
	}
	if (told.err.kind != ERR_NONE)
		told.id[0] = '\0';
	p->answered = true;
	/* It has only to end now; the next one waits for that. */
	(void)!loop_arm(&p->s->loop, &p->timer, clock_mono_ns() + PUBLISH_END_MS * NS_PER_MS);
	tell(p->s, &told, NULL, 0);
}

static void answer_ready(void *arg, uint32_t events)
{
	struct publishing *p = arg;
	struct spawn_datagram *d = p->s->in; /* not in use: requests are taken one by one */
	struct err e = {0};
	int r = spawn_receive(p->socket, d, SPAWN_FROM_PUBLISHER, &e);

	(void)events;
	if (r == -EAGAIN && e.kind == ERR_NONE)
		return;
	if (r == 1 && !p->answered)
		take_image(p, d);
	spawn_drop(d);
	if (r != 1) /* it ends; child_gone() has the last word */
		loop_remove(&p->s->loop, &p->answer);
}

static void publishing_done(struct publishing *p)
{
	loop_remove(&p->s->loop, &p->answer);
	loop_remove(&p->s->loop, &p->exit);
	loop_disarm(&p->s->loop, &p->timer);
	fd_closep(&p->socket);
	fd_closep(&p->pidfd);
	p->number = 0;
}

static void say_why(const struct publishing *p, const siginfo_t *how, struct err *e)
{
	if (p->late)
		(void)err_set(e, ERR_SYSTEM, ETIMEDOUT, "the snapshot was not done after %d s", PUBLISH_MS / 1000);
	else
		(void)err_set(e, ERR_SYSTEM, EIO, "fsbox-publish was ended by %s %d",
			      how->si_code == CLD_EXITED ? "itself with status" : "signal", how->si_status);
}

static void child_gone(void *arg, uint32_t events)
{
	struct publishing *p = arg;
	struct spawn *s = p->s;
	const uint64_t number = p->number;
	struct err e = {0};
	siginfo_t how;

	(void)events;
	if (sys_wait_exit(p->pidfd, false, &how) < 0)
		return;
	if (!p->answered)
		answer_ready(p, 0); /* its last word may be there, unread */
	const bool answered = p->answered;

	say_why(p, &how, &e);
	publishing_done(p);
	if (!answered)
		tell_failed(s, number, &e);
	if (how.si_code != CLD_EXITED)
		spawn_sweep(s);
	spawn_check_stopped(s);
}

/* The small one first: both together fit into the socket's buffer. */
static int send_function(const struct publishing *p, const struct function *f, const struct spawn_datagram *d,
			 struct err *e)
{
	int r = spawn_send(p->socket, &d->number, d->fds, d->n_fds);

	if (r == 0)
		r = spawn_send(p->socket, f->def.wire, f->def.fds, f->def.n_fds);
	return r < 0 ? err_sys(e, r, "handing a function to fsbox-publish") : 0;
}

/* First in good order, then not: what it reads, and runs, is a client's. */
static void end_publishing(struct publishing *p)
{
	(void)!sys_pidfd_kill(p->pidfd, p->told_to_end ? SIGKILL : SIGTERM);
	if (!p->told_to_end && loop_arm(&p->s->loop, &p->timer, clock_mono_ns() + PUBLISH_END_MS * NS_PER_MS) < 0)
		(void)!sys_pidfd_kill(p->pidfd, SIGKILL);
	p->told_to_end = true;
}

static void time_is_up(void *arg)
{
	struct publishing *p = arg;

	p->late = p->late || !p->told_to_end;
	end_publishing(p);
}

static int start(struct publishing *p, const struct function *f, const struct spawn_datagram *d, struct err *e)
{
	const int size = SEND_BUFFER;
	const pid_t self = getpid();
	int sv[2], pidfd = FD_NONE, r;
	const struct clone_args args = {.flags = CLONE_PIDFD, .pidfd = (uintptr_t)&pidfd, .exit_signal = SIGCHLD};
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv) < 0)
		return err_sys(e, errno, "making a socket");
	p->socket = sv[0];
	if (setsockopt(sv[0], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) < 0)
		(void)setsockopt(sv[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
	pid = sys_clone3(&args);
	if (pid == 0)
		become_publisher(p->s, sv[1], self);
	(void)close(sv[1]);
	if (pid < 0)
		return err_sys(e, pid, "clone3");
	p->pidfd = pidfd;
	r = loop_add(&p->s->loop, &p->exit, p->pidfd, EPOLLIN, child_gone, p, e);
	if (r == 0)
		r = loop_add(&p->s->loop, &p->answer, p->socket, EPOLLIN, answer_ready, p, e);
	p->timer = (struct timer){.due = time_is_up, .arg = p};
	if (r == 0 && loop_arm(&p->s->loop, &p->timer, clock_mono_ns() + PUBLISH_MS * NS_PER_MS) < 0)
		r = err_oom(e);
	return r == 0 ? send_function(p, f, d, e) : r;
}

/* Is it possible, and now? */
static int check(const struct spawn *s, const struct function *f, struct err *e)
{
	if (!f || f->forgotten)
		return err_set(e, ERR_NOT_FOUND, ENOENT, "there is no such function");
	if (s->stopping)
		return err_set(e, ERR_CANCELLED, ECANCELED, "fsbox-spawn is ending");
	if (!s->has_engine || !s->opt.publisher)
		return err_hint(e, err_set(e, ERR_UNSUPPORTED, ENOENT, "there is no CRIU for snapshots"),
				"make criu; fsbox check");
	if (!fds_left(s, FDS_OF_BUILDING))
		return err_set(e, ERR_CAPACITY, EMFILE, "no descriptors are left for a snapshot");
	return s->publishing.number ? err_set(e, ERR_BUSY, EBUSY, "another snapshot is being made") : 0;
}

void publish_ask(struct spawn *s, const struct spawn_datagram *d)
{
	struct publishing *p = &s->publishing;
	const struct function *f = function_find(s, d->number.number);
	struct err e = {0};
	siginfo_t how;
	int r = check(s, f, &e);

	if (r == 0) {
		*p = (struct publishing){.s = s, .number = d->number.number, .socket = FD_NONE, .pidfd = FD_NONE};
		r = start(p, f, d, &e);
		if (r < 0) {
			if (fd_valid(p->pidfd)) {
				(void)!sys_pidfd_kill(p->pidfd, SIGKILL);
				(void)!sys_wait_exit(p->pidfd, true, &how);
			}
			publishing_done(p);
		}
	}
	if (r < 0)
		tell_failed(s, d->number.number, &e);
}

void publish_stop(struct spawn *s)
{
	if (s->publishing.number && !s->publishing.told_to_end)
		end_publishing(&s->publishing);
}
