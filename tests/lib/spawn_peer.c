#define TAP_NO_MAIN
#include "tests/lib/spawn_peer.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/removal.h"
#include "base/str.h"
#include "confine/confine.h"
#include "tests/lib/tap.h"

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
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

/* ---- A machine of our own ---- */

static char own_parent[64]; /* of cgroups; "" when we are not alone */
static size_t own_fds;

static size_t count_fds(void)
{
	size_t n = 0;
	DIR *d = opendir("/proc/self/fd");

	while (d && readdir(d))
		n++;
	if (d)
		(void)closedir(d);
	return n;
}

/* Calls visit(the directory of @name below the mount of each cgroup hierarchy). */
static void each_group(const char *name, void (*visit)(const char *, void *), void *arg)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char line[4096], where[2048], path[2200];

	while (f && fgets(line, sizeof line, f)) {
		if (!strstr(line, " - cgroup") || sscanf(line, "%*s %*s %*s %*s %2047s", where) != 1)
			continue;
		(void)snprintf(path, sizeof path, "%s%s", where, name);
		visit(path, arg);
	}
	if (f)
		(void)fclose(f);
}

static void remove_group(const char *path, void *arg)
{
	(void)arg;
	(void)rmdir(path);
}

/* PID 1 of the test's namespace: reaps, and ends as the test ended. */
static _Noreturn void be_init(pid_t test)
{
	int status = 0, mine = 0;
	pid_t pid;

	while ((pid = waitpid(-1, &status, 0)) > 0 || errno == EINTR)
		if (pid == test) {
			mine = status;
			break;
		}
	each_group(own_parent, remove_group, NULL);
	_exit(WIFEXITED(mine) ? WEXITSTATUS(mine) : 128 + WTERMSIG(mine));
}

static void be_alone(void)
{
	pid_t pid;
	int status;

	(void)snprintf(own_parent, sizeof own_parent, "/fsbox-test-%d", getpid());
	if (mkdir("/run/fsbox", 0755) < 0 && errno != EEXIST)
		_exit(125);
	if (unshare(CLONE_NEWPID | CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("fsbox-test", "/run/fsbox", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=755") < 0) {
		own_parent[0] = '\0'; /* without the right to: as anybody else's test */
		return;
	}
	pid = fork();
	if (pid > 0) {
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
		_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
	}
	if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		_exit(125);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	pid = fork();
	if (pid > 0)
		be_init(pid);
	own_fds = count_fds();
}

__attribute__((constructor)) static void maybe_play(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "--play") == 0)
		play(argv[2]);
	if (geteuid() == 0)
		be_alone();
}

static void list_groups(const char *path, void *arg)
{
	DIR *d = opendir(path);

	for (const struct dirent *ent; d && (ent = readdir(d));)
		if (strncmp(ent->d_name, "cell-", 5) == 0)
			buf_printf(arg, "cgroup %s/%s\n", path, ent->d_name);
	if (d)
		(void)closedir(d);
}

static void list_processes(struct buf *b)
{
	DIR *d = opendir("/proc");

	for (const struct dirent *ent; d && (ent = readdir(d));) {
		uint64_t pid;
		char path[64], name[32] = "";

		if (!parse_u64(ent->d_name, 2, INT32_MAX, &pid) || (pid_t)pid == getpid())
			continue;
		(void)snprintf(path, sizeof path, "/proc/%llu/comm", (unsigned long long)pid);
		if (fd_read_file_at(AT_FDCWD, path, name, sizeof name) < 0)
			continue; /* gone meanwhile */
		buf_printf(b, "process %llu %s\n", (unsigned long long)pid, name);
	}
	if (d)
		(void)closedir(d);
}

static void list_state(struct buf *b)
{
	AUTO_FD int cells = open("/run/fsbox/private/cells", O_RDONLY | O_CLOEXEC);
	AUTO_FREE char *table = NULL;
	size_t len = 0;
	DIR *d = opendir("/run/fsbox/private");

	for (const struct dirent *ent; d && (ent = readdir(d));) {
		const char *name = ent->d_name;

		if (name[0] != '.' && !str_starts(name, "root-") && strcmp(name, "dev") != 0 &&
		    strcmp(name, "cells") != 0)
			buf_printf(b, "state %s\n", name);
	}
	if (d)
		(void)closedir(d);
	if (fd_valid(cells) && fd_read_all(cells, 8 << 20, &table, &len) == 0 && memmem(table, len, "cell-", 5))
		buf_puts(b, "a record in the table of cells\n");
}

static void check_left(bool all)
{
	struct buf left = {0};

	if (!own_parent[0])
		return;
	for (int i = 0; i < 60; i++) {
		left.len = 0;
		each_group(own_parent, list_groups, &left);
		list_state(&left);
		if (all)
			list_processes(&left);
		if (all && count_fds() != own_fds)
			buf_printf(&left, "%zu descriptors where there were %zu\n", count_fds(), own_fds);
		if (left.len == 0)
			break;
		(void)poll(NULL, 0, 50);
	}
	if (!CHECK_EQ(left.len, 0))
		tap_note("is left:\n%s", left.data);
	buf_done(&left);
}

void spawned_check_clean(void)
{
	check_left(true);
}

void spawned_check_swept(void)
{
	check_left(false);
}

/* ---- Starting and ending ---- */

static void run_spawn(const struct spawn_peer *p, const struct spawned_options *o)
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
	if (own_parent[0] && !o->uid) {
		argv[n++] = "--cgroup-parent";
		argv[n++] = own_parent;
	}
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

bool spawned_start(struct spawn_peer *p, const struct spawned_options *o)
{
	static const struct spawned_options plain;
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
	return CHECK(p->pid > 0) && spawned_accept(p);
}

bool spawned_accept(struct spawn_peer *p)
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

void spawned_kill_daemon(struct spawn_peer *p)
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

int spawned_stop(struct spawn_peer *p)
{
	int status;

	(void)kill(p->pid, SIGTERM);
	status = wait_for(p->pid);
	p->pid = -1;
	return status;
}

void spawned_done(struct spawn_peer *p)
{
	AUTO_FD int tmp = open("/tmp", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (p->pid > 0)
		(void)spawned_stop(p);
	if (p->d)
		spawn_drop(p->d);
	free(p->d);
	p->d = NULL;
	fd_closep(&p->pair);
	fd_closep(&p->listener);
	fd_closep(&p->link);
	fd_closep(&p->control);
	if (p->dir[0])
		CHECK_EQ(tree_remove(tmp, p->dir + strlen("/tmp/")), 0);
	p->dir[0] = '\0';
}

/* ---- Datagrams ---- */

int spawned_next(struct spawn_peer *p)
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

bool spawned_expect(struct spawn_peer *p, enum spawn_word word)
{
	const int got = spawned_next(p);

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

bool spawned_await(struct spawn_peer *p, enum spawn_word word, uint64_t number)
{
	for (int got; (got = spawned_next(p)) > 0;) {
		if (got == (int)word && (number == 0 || number_of(p->d) == number))
			return true;
		if (got == SPAWN_FAILED)
			tap_note("cell %llu: %s (stage %s)", (unsigned long long)p->d->done.number, p->d->done.err.msg,
				 p->d->done.err.stage);
	}
	return CHECK(!"the datagram came");
}

bool spawned_hello(struct spawn_peer *p)
{
	return spawned_expect(p, SPAWN_HELLO) && CHECK_EQ(p->d->hello.cells, 0) && CHECK_EQ(p->d->hello.functions, 0) &&
	       spawned_expect(p, SPAWN_ADOPTED);
}

static void send_with(struct spawn_peer *p, const void *msg, const int *fds, size_t n)
{
	struct pollfd ready = {.fd = p->pair, .events = POLLOUT};
	int r;

	while ((r = spawn_send(p->pair, msg, fds, n)) == -EAGAIN && poll(&ready, 1, PEER_WAIT_MS) == 1)
		;
	CHECK_EQ(r, 0);
}

void spawned_send(struct spawn_peer *p, const void *msg)
{
	send_with(p, msg, NULL, 0);
}

void spawned_number(struct spawn_peer *p, enum spawn_word word, uint64_t number)
{
	struct spawn_number m;

	spawn_begin(&m, word, sizeof m);
	m.number = number;
	spawned_send(p, &m);
}

void spawned_make(struct spawn_peer *p, uint64_t cell, uint32_t function, const char *note)
{
	struct spawn_make m;

	spawn_begin(&m, SPAWN_MAKE, sizeof m);
	m.cell = cell;
	m.function = function;
	m.note_len = (uint32_t)strlen(note);
	memcpy(m.note, note, m.note_len);
	spawned_send(p, &m);
}

int spawned_memfd(const void *data, size_t len)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	CHECK_EQ(fd_write_all(fd, data, len), 0);
	CHECK_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), 0);
	return fd;
}

void spawned_describe(struct spawn_peer *p, uint32_t number, const char *name)
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
	p->d->fds[p->d->n_fds++] = spawned_memfd(filter.insns, filter.len * sizeof *filter.insns);
}

void spawned_define(struct spawn_peer *p)
{
	send_with(p, p->d->bytes, p->d->fds, p->d->n_fds);
	spawn_drop(p->d);
}

bool spawned_function(struct spawn_peer *p, uint32_t number, const char *name)
{
	spawned_describe(p, number, name);
	spawned_define(p);
	if (!spawned_expect(p, SPAWN_DONE))
		return false;
	if (p->d->done.err.kind != ERR_NONE)
		tap_note("%s", p->d->done.err.msg);
	return CHECK_EQ(p->d->done.number, number) && CHECK_EQ(p->d->done.err.kind, ERR_NONE);
}

/* ---- Cells ---- */

void spawned_talk(struct spawn_peer *p, struct chan_peer *ret, int *ret_pidfd)
{
	struct spawn_datagram *d = p->d;

	*ret = (struct chan_peer){.pid = -1,
				  .in = take_fd(&d->fds[0]),
				  .out = take_fd(&d->fds[1]),
				  .log = take_fd(&d->fds[2])};
	if (ret_pidfd)
		*ret_pidfd = take_fd(&d->fds[4]);
	spawn_drop(d);
}

bool spawned_ready(struct chan_peer *c)
{
	struct chan_peer_frame f;

	return CHECK_EQ(chan_peer_next(c, &f), 1) && CHECK_EQ(f.head.type, CHAN_READY);
}

bool spawned_call(struct chan_peer *c, uint64_t number, const char *event, const char *answer)
{
	struct chan_peer_frame f;

	return CHECK_EQ(chan_peer_call(c, number, event, strlen(event)), 0) && CHECK_EQ(chan_peer_next(c, &f), 1) &&
	       CHECK_EQ(f.head.type, CHAN_DATA) && CHECK_EQ(f.head.len, strlen(answer)) &&
	       CHECK_EQ(memcmp(f.body, answer, f.head.len), 0) && CHECK_EQ(chan_peer_next(c, &f), 1) &&
	       CHECK_EQ(f.head.type, CHAN_DONE);
}
