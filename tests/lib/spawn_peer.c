#define TAP_NO_MAIN
#include "tests/lib/spawn_peer.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/removal.h"
#include "confine/confine.h"
#include "tests/lib/tap.h"

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/un.h>
#include <sys/wait.h>

/* ---- What fsbox-spawn starts ---- */

static void describe_player(char *text, size_t size)
{
	struct rlimit files;
	size_t at = 0;
	int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, text, size / 2);
	DIR *d;

	(void)close(fd);
	at = n > 0 ? (size_t)n : 0;
	(void)getrlimit(RLIMIT_NOFILE, &files);
	at += (size_t)snprintf(text + at, size - at, "Files:\t%llu %llu\nPdeathsig\nOpen:\t",
			       (unsigned long long)files.rlim_cur, (unsigned long long)files.rlim_max);
	d = opendir("/proc/self/fd");
	for (const struct dirent *ent; d && (ent = readdir(d));)
		if (ent->d_name[0] != '.' && strcmp(ent->d_name, "5") != 0) /* 5 is this directory */
			at += (size_t)snprintf(text + at, size - at, "%s ", ent->d_name);
	if (d)
		(void)closedir(d);
	(void)snprintf(text + at, size - at, "\n");
}

static _Noreturn void play(const char *control)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	char text[4096], byte;
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(2 * sizeof(int))];
	} rights = {0};
	struct iovec iov = {text, sizeof text};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = rights.space,
			     .msg_controllen = sizeof rights.space};
	const int ours[] = {SPAWN_FD_PAIR, SPAWN_FD_LISTEN};
	int fd;

	describe_player(text, sizeof text);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	(void)snprintf(to.sun_path, sizeof to.sun_path, "%s", control);
	if (connect(fd, (const struct sockaddr *)&to, sizeof to) < 0)
		_exit(3);
	iov.iov_len = strlen(text) + 1;
	rights.align.cmsg_level = SOL_SOCKET;
	rights.align.cmsg_type = SCM_RIGHTS;
	rights.align.cmsg_len = CMSG_LEN(sizeof ours);
	memcpy(CMSG_DATA(&rights.align), ours, sizeof ours);
	if (sendmsg(fd, &msg, 0) < 0)
		_exit(4);
	(void)!read(fd, &byte, 1); /* until the test lets go */
	_exit(0);
}

__attribute__((constructor)) static void maybe_play(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "--play") == 0)
		play(argv[2]);
}

/* ---- Starting and ending ---- */

static void run_spawn(const struct spawn_peer *p, const struct peer_options *o)
{
	char uid[16], gid[16], self[512], state[96], control[96];
	const char *argv[48] = {chan_peer_built("fsbox-spawn")};
	size_t n = 1;
	const ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
	const struct rlimit files = {o->files, o->files};

	self[len > 0 ? len : 0] = '\0';
	(void)snprintf(uid, sizeof uid, "%u", o->uid ? o->uid : PEER_UID);
	(void)snprintf(gid, sizeof gid, "%u", o->uid ? o->uid : PEER_GID);
	(void)snprintf(state, sizeof state, "%s/state", p->dir);
	(void)snprintf(control, sizeof control, "%s/control", p->dir);
	const char *const fixed[] = {"--socket", p->socket,   "--socket-mode",
				     "0666",     "--runtime", chan_peer_built("runtime"),
				     "--daemon", self,        "--uid",
				     uid,        "--gid",     gid,
				     "--state",  state};

	for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
		argv[n++] = fixed[i];
	for (size_t i = 0; o->extra && o->extra[i]; i++)
		argv[n++] = o->extra[i];
	argv[n++] = "--";
	argv[n++] = "--play";
	argv[n++] = control;
	if (o->files && setrlimit(RLIMIT_NOFILE, &files) < 0)
		_exit(125);
	if (o->uid && (setgroups(0, NULL) < 0 || setresgid(o->uid, o->uid, o->uid) < 0 ||
		       setresuid(o->uid, o->uid, o->uid) < 0 || setenv("XDG_RUNTIME_DIR", p->dir, 1) < 0))
		_exit(125);
	(void)close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
	char *const *args;
	memcpy(&args, &(const char *const *){argv}, sizeof args);
	(void)execv(argv[0], args);
	_exit(127);
}

bool peer_start(struct spawn_peer *p, const struct peer_options *o)
{
	static const struct peer_options plain;
	struct sockaddr_un at = {.sun_family = AF_UNIX};

	o = o ? o : &plain;
	(void)snprintf(p->dir, sizeof p->dir, "/tmp/fsbox-spawn-XXXXXX");
	p->d = calloc(1, sizeof *p->d);
	if (!p->d || !CHECK(mkdtemp(p->dir)) || !CHECK_EQ(chmod(p->dir, o->uid ? 0700 : 0755), 0) ||
	    (o->uid && !CHECK_EQ(chown(p->dir, o->uid, o->uid), 0)))
		return false;
	(void)snprintf(p->socket, sizeof p->socket, "%s/socket", p->dir);
	(void)snprintf(at.sun_path, sizeof at.sun_path, "%s/control", p->dir);
	p->control = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (!CHECK_EQ(bind(p->control, (const struct sockaddr *)&at, sizeof at), 0) ||
	    !CHECK_EQ(chmod(at.sun_path, 0777), 0) || !CHECK_EQ(listen(p->control, 8), 0))
		return false;
	(void)fflush(stdout);
	p->pid = fork();
	if (p->pid == 0)
		run_spawn(p, o);
	return CHECK(p->pid > 0) && peer_accept(p);
}

bool peer_accept(struct spawn_peer *p)
{
	struct pollfd ready = {.fd = p->control, .events = POLLIN};
	struct ucred who;
	socklen_t len = sizeof who;
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(2 * sizeof(int))];
	} rights;
	struct iovec iov = {p->status, sizeof p->status - 1};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = rights.space,
			     .msg_controllen = sizeof rights.space};
	ssize_t n;

	if (!CHECK_EQ(poll(&ready, 1, PEER_WAIT_MS), 1))
		return false;
	fd_closep(&p->link);
	fd_closep(&p->pair);
	fd_closep(&p->listener);
	p->link = accept4(p->control, NULL, NULL, SOCK_CLOEXEC);
	n = recvmsg(p->link, &msg, MSG_CMSG_CLOEXEC);
	if (!CHECK_GT(n, 0) || !CHECK(CMSG_FIRSTHDR(&msg)))
		return false;
	p->status[n] = '\0';
	memcpy(&p->pair, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof p->pair);
	memcpy(&p->listener, CMSG_DATA(CMSG_FIRSTHDR(&msg)) + sizeof(int), sizeof p->listener);
	(void)getsockopt(p->link, SOL_SOCKET, SO_PEERCRED, &who, &len);
	p->daemon = who.pid;
	return true;
}

void peer_kill_daemon(struct spawn_peer *p)
{
	CHECK_EQ(kill(p->daemon, SIGKILL), 0);
	fd_closep(&p->pair);
	fd_closep(&p->listener);
	fd_closep(&p->link);
}

static int wait_for(pid_t pid)
{
	const uint64_t end = clock_mono_ns() + PEER_WAIT_MS * NS_PER_MS;
	int status = -1;

	while (waitpid(pid, &status, WNOHANG) == 0) {
		if (clock_mono_ns() > end) {
			CHECK(!"fsbox-spawn does not end");
			(void)kill(pid, SIGKILL);
			(void)waitpid(pid, &status, 0);
			break;
		}
		(void)poll(NULL, 0, 2);
	}
	return status;
}

int peer_stop(struct spawn_peer *p)
{
	int status;

	(void)kill(p->pid, SIGTERM);
	status = wait_for(p->pid);
	p->pid = -1;
	return status;
}

void peer_done(struct spawn_peer *p)
{
	AUTO_FD int tmp = open("/tmp", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (p->pid > 0)
		(void)peer_stop(p);
	if (p->d)
		spawn_drop(p->d);
	free(p->d);
	fd_closep(&p->pair);
	fd_closep(&p->listener);
	fd_closep(&p->link);
	fd_closep(&p->control);
	if (p->dir[0])
		CHECK_EQ(tree_remove(tmp, p->dir + strlen("/tmp/")), 0);
}

/* ---- Datagrams ---- */

int peer_next(struct spawn_peer *p)
{
	struct pollfd ready = {.fd = p->pair, .events = POLLIN};
	struct err e = {0};
	int r = -EAGAIN;

	while (r == -EAGAIN && poll(&ready, 1, PEER_WAIT_MS) == 1)
		r = spawn_receive(p->pair, p->d, SPAWN_TO_DAEMON, &e);
	if (r == 1)
		return (int)p->d->head.word;
	if (r < 0)
		tap_note("%s", e.kind ? e.msg : "no datagram came");
	return r == 0 ? 0 : -1;
}

bool peer_expect(struct spawn_peer *p, enum spawn_word word)
{
	const int got = peer_next(p);

	if (got != (int)word && (got == SPAWN_FAILED || got == SPAWN_DONE))
		tap_note("%s (stage %s)", p->d->done.err.msg, p->d->done.err.stage);
	return CHECK_EQ(got, (int)word);
}

static uint64_t number_of(const struct spawn_datagram *d)
{
	switch (d->head.word) {
	case SPAWN_FUNCTION:
		return d->function.function;
	case SPAWN_HELLO:
		return 0;
	default: /* all others have it there */
		return d->number.number;
	}
}

bool peer_await(struct spawn_peer *p, enum spawn_word word, uint64_t number)
{
	for (int got; (got = peer_next(p)) > 0;) {
		if (got == (int)word && (number == 0 || number_of(p->d) == number))
			return true;
		if (got == SPAWN_FAILED)
			tap_note("cell %llu: %s (stage %s)", (unsigned long long)p->d->done.number, p->d->done.err.msg,
				 p->d->done.err.stage);
	}
	return CHECK(!"the datagram came");
}

bool peer_hello(struct spawn_peer *p)
{
	return peer_expect(p, SPAWN_HELLO) && CHECK_EQ(p->d->hello.cells, 0) && CHECK_EQ(p->d->hello.functions, 0) &&
	       peer_expect(p, SPAWN_ADOPTED);
}

static void send_with(struct spawn_peer *p, const void *msg, const int *fds, size_t n)
{
	struct pollfd ready = {.fd = p->pair, .events = POLLOUT};
	int r;

	while ((r = spawn_send(p->pair, msg, fds, n)) == -EAGAIN && poll(&ready, 1, PEER_WAIT_MS) == 1)
		;
	CHECK_EQ(r, 0);
}

void peer_send(struct spawn_peer *p, const void *msg)
{
	send_with(p, msg, NULL, 0);
}

void peer_number(struct spawn_peer *p, enum spawn_word word, uint64_t number)
{
	struct spawn_number m;

	spawn_begin(&m, word, sizeof m);
	m.number = number;
	peer_send(p, &m);
}

void peer_make(struct spawn_peer *p, uint64_t cell, uint32_t function, const char *note)
{
	struct spawn_make m;

	spawn_begin(&m, SPAWN_MAKE, sizeof m);
	m.cell = cell;
	m.function = function;
	m.note_len = (uint32_t)strlen(note);
	memcpy(m.note, note, m.note_len);
	peer_send(p, &m);
}

int peer_memfd(const void *data, size_t len)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	CHECK_EQ(fd_write_all(fd, data, len), 0);
	CHECK_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), 0);
	return fd;
}

void peer_describe(struct spawn_peer *p, uint32_t number, const char *name)
{
	struct spawn_function *f = &p->d->function;
	char path[128], file[80];
	struct filter filter;

	spawn_drop(p->d);
	spawn_function_begin(p->d, number);
	f->flags = SPAWN_HAS_CODE | SPAWN_HAS_FILTER;
	f->memory_bytes = 128 << 20;
	f->tmp_bytes = 64 << 20;
	f->pids = 64;
	f->runtime = SPAWN_RUNTIME_NATIVE;
	(void)snprintf(file, sizeof file, "%s.so", name);
	(void)snprintf(path, sizeof path, "tests/functions/%s", file);
	CHECK(spawn_put_text(p->d, &f->name, "test"));
	CHECK(spawn_put_text(p->d, &f->policy, "default"));
	CHECK(spawn_put_text(p->d, &f->code_name, file));
	p->d->fds[p->d->n_fds++] = open(chan_peer_built(path), O_RDONLY | O_CLOEXEC);
	CHECK(filter_builtin("default", &filter));
	p->d->fds[p->d->n_fds++] = peer_memfd(filter.insns, filter.len * sizeof *filter.insns);
}

void peer_define(struct spawn_peer *p)
{
	send_with(p, p->d->bytes, p->d->fds, p->d->n_fds);
	spawn_drop(p->d);
}

bool peer_function(struct spawn_peer *p, uint32_t number, const char *name)
{
	peer_describe(p, number, name);
	peer_define(p);
	if (!peer_expect(p, SPAWN_DONE))
		return false;
	if (p->d->done.err.kind != ERR_NONE)
		tap_note("%s", p->d->done.err.msg);
	return CHECK_EQ(p->d->done.number, number) && CHECK_EQ(p->d->done.err.kind, ERR_NONE);
}

/* ---- Cells ---- */

void peer_talk(struct spawn_peer *p, struct chan_peer *ret, int *ret_pidfd)
{
	struct spawn_datagram *d = p->d;

	ret->in = take_fd(&d->fds[0]);
	ret->out = take_fd(&d->fds[1]);
	ret->log = take_fd(&d->fds[2]);
	if (ret_pidfd)
		*ret_pidfd = take_fd(&d->fds[4]);
	spawn_drop(d);
}

bool peer_ready(struct chan_peer *c)
{
	struct chan_peer_frame f;

	return CHECK_EQ(chan_peer_next(c, &f), 1) && CHECK_EQ(f.head.type, CHAN_READY);
}

bool peer_call(struct chan_peer *c, uint64_t number, const char *event, const char *answer)
{
	struct chan_peer_frame f;

	return CHECK_EQ(chan_peer_call(c, number, event, strlen(event)), 0) && CHECK_EQ(chan_peer_next(c, &f), 1) &&
	       CHECK_EQ(f.head.type, CHAN_DATA) && CHECK_EQ(f.head.len, strlen(answer)) &&
	       CHECK_EQ(memcmp(f.body, answer, f.head.len), 0) && CHECK_EQ(chan_peer_next(c, &f), 1) &&
	       CHECK_EQ(f.head.type, CHAN_DONE);
}
