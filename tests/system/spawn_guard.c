/* fsbox-spawn against a fsboxd that somebody has taken over: what it refuses, and whose files it opens. */
#include "tests/lib/spawn_peer.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "tests/lib/tap.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#define AUTO_PEER __attribute__((cleanup(chan_peer_done)))

enum { CLIENT = 12345, CLIENT_GROUP = 44444 };

static bool start(struct spawn_peer *p, const struct spawned_options *o)
{
	return spawned_start(p, o) && spawned_hello(p);
}

/* ---- OPEN ---- */

/* Somebody with these ids knocks; the connection as fsboxd has it. */
static int client(const struct spawn_peer *p, uid_t uid, gid_t extra_group)
{
	struct pollfd ready = {.fd = p->listener, .events = POLLIN};
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	pid_t pid;
	int fd;

	(void)snprintf(to.sun_path, sizeof to.sun_path, "%s", p->socket);
	(void)fflush(stdout);
	pid = fork();
	if (pid == 0) {
		fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (uid != 0 && (setgroups(extra_group ? 1 : 0, &extra_group) < 0 || setresgid(uid, uid, uid) < 0 ||
				 setresuid(uid, uid, uid) < 0))
			_exit(1);
		_exit(connect(fd, (const struct sockaddr *)&to, sizeof to) < 0);
	}
	CHECK_EQ(poll(&ready, 1, PEER_WAIT_MS), 1);
	fd = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC);
	CHECK_EQ(waitpid(pid, NULL, 0), pid);
	return fd;
}

static int open_as(struct spawn_peer *p, int connection, const char *path, uint32_t directory)
{
	static uint64_t number;
	struct spawn_open m;

	spawn_begin(&m, SPAWN_OPEN, sizeof m);
	m.number = ++number;
	m.directory = directory;
	m.path_len = (uint32_t)snprintf(m.path, sizeof m.path, "%s", path);
	CHECK_EQ(spawn_send(p->pair, &m, &connection, 1), 0);
	if (!spawned_expect(p, SPAWN_OPENED))
		return -1;
	CHECK_EQ(p->d->opened.number, m.number);
	return p->d->opened.code;
}

static void make_file(const char *dir, const char *name, const char *text, mode_t mode, uid_t uid, gid_t gid)
{
	char path[128];
	int fd;

	(void)snprintf(path, sizeof path, "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	CHECK_EQ(fd_write_all(fd, text, strlen(text)), 0);
	CHECK_EQ(fchown(fd, uid, gid), 0);
	CHECK_EQ(fchmod(fd, mode), 0);
	(void)close(fd);
}

static const char *in(const struct spawn_peer *p, const char *name)
{
	static char path[128];

	(void)snprintf(path, sizeof path, "%s/%s", p->dir, name);
	return path;
}

static void make_files(const struct spawn_peer *p)
{
	char path[128];

	make_file(p->dir, "of_root", "secret", 0600, 0, 0);
	make_file(p->dir, "of_all", "public", 0644, 0, 0);
	make_file(p->dir, "of_client", "mine", 0600, CLIENT, CLIENT);
	make_file(p->dir, "of_group", "ours", 0640, 0, CLIENT_GROUP);
	CHECK_EQ(mkdir(in(p, "dir"), 0755), 0);
	CHECK_EQ(mkdir(in(p, "closed"), 0700), 0);
	CHECK_EQ(mkfifo(in(p, "fifo"), 0666), 0);
	CHECK_EQ(chmod(in(p, "fifo"), 0666), 0);
	(void)snprintf(path, sizeof path, "%s/link", p->dir);
	CHECK_EQ(symlink("of_all", path), 0);
}

static void check_text(const struct spawn_peer *p, const char *text)
{
	char got[64] = "";

	if (CHECK_EQ(p->d->n_fds, 1) && CHECK_GE(read(p->d->fds[0], got, sizeof got - 1), 0))
		CHECK_STREQ(got, text);
}

TEST(a_path_is_opened_with_the_clients_own_rights)
{
	{
		SPAWN_PEER(p);
		AUTO_FD int one = FD_NONE, in_group = FD_NONE, root = FD_NONE;

		if (geteuid() != 0)
			SKIP("needs root");
		if (!start(&p, NULL))
			return;
		make_files(&p);
		one = client(&p, CLIENT, 0);
		in_group = client(&p, CLIENT, CLIENT_GROUP);
		root = client(&p, 0, 0);
		CHECK_EQ(open_as(&p, one, in(&p, "of_root"), 0), EACCES);
		CHECK_EQ(open_as(&p, one, in(&p, "of_group"), 0), EACCES);
		CHECK_EQ(open_as(&p, one, "/root/.profile", 0), EACCES);
		CHECK_EQ(open_as(&p, one, in(&p, "closed"), 1), EACCES);
		CHECK_EQ(open_as(&p, one, in(&p, "nothing"), 2), ENOENT);
		CHECK_EQ(open_as(&p, one, in(&p, "of_all"), 0), 0);
		check_text(&p, "public");
		CHECK_EQ(open_as(&p, one, in(&p, "link"), 0), 0);
		check_text(&p, "public");
		CHECK_EQ(open_as(&p, one, in(&p, "of_client"), 2), 0);
		check_text(&p, "mine");
		CHECK_EQ(fcntl(p.d->fds[0], F_GETFL) & O_ACCMODE, O_RDONLY);
		CHECK_EQ(open_as(&p, in_group, in(&p, "of_group"), 0), 0);
		check_text(&p, "ours");
		CHECK_EQ(open_as(&p, root, in(&p, "of_root"), 0), 0);
		check_text(&p, "secret");
		/* root without capabilities */
		CHECK_EQ(open_as(&p, root, in(&p, "of_client"), 0), EACCES);
		CHECK_EQ(spawned_stop(&p), 0);
	}
	spawned_check_clean();
}

TEST(only_files_and_directories_are_opened_as_they_were_asked_for)
{
	SPAWN_PEER(p);
	AUTO_FD int one = FD_NONE;

	if (geteuid() != 0)
		SKIP("needs root");
	if (!start(&p, NULL))
		return;
	make_files(&p);
	one = client(&p, CLIENT, 0);
	CHECK_EQ(open_as(&p, one, in(&p, "fifo"), 2), EACCES);
	CHECK_EQ(open_as(&p, one, "/dev/null", 2), EACCES);
	CHECK_EQ(open_as(&p, one, in(&p, "dir"), 0), EISDIR);
	CHECK_EQ(open_as(&p, one, in(&p, "of_all"), 1), ENOTDIR);
	CHECK_EQ(open_as(&p, one, in(&p, "dir"), 1), 0);
	CHECK_EQ(p.d->opened.directory, 1);
	CHECK_EQ(faccessat(p.d->fds[0], ".", R_OK, 0), 0);
	CHECK_EQ(open_as(&p, one, in(&p, "dir"), 2), 0);
	/* of the child that opens, or of anybody */
	CHECK_EQ(open_as(&p, one, "/proc/self/status", 0), EACCES);
	CHECK_EQ(open_as(&p, one, "/proc/1/status", 0), EACCES);
	CHECK_EQ(open_as(&p, one, "/proc/self/root", 2), ELOOP);
	CHECK_EQ(open_as(&p, one, "/proc/self/fd/3", 2), ELOOP);
}

TEST(a_connection_that_is_not_a_clients_opens_nothing)
{
	SPAWN_PEER(p);
	AUTO_FD int forged = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	AUTO_FD int file = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int sv[2];

	if (geteuid() != 0)
		SKIP("needs root");
	if (!start(&p, NULL))
		return;
	make_files(&p);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0); /* whose peer is root: the test */
	CHECK_EQ(open_as(&p, sv[0], in(&p, "of_root"), 0), EPERM);
	CHECK_EQ(open_as(&p, p.listener, in(&p, "of_root"), 0), EPERM);
	CHECK_EQ(open_as(&p, file, in(&p, "of_root"), 0), EPERM);
	/* bound to a name, and connected to somebody who is root */
	(void)snprintf(at.sun_path, sizeof at.sun_path, "%s/forged", p.dir);
	CHECK_EQ(bind(forged, (const struct sockaddr *)&at, sizeof at), 0);
	(void)snprintf(at.sun_path, sizeof at.sun_path, "%s/control", p.dir);
	CHECK_EQ(connect(forged, (const struct sockaddr *)&at, sizeof at), 0);
	CHECK_EQ(open_as(&p, forged, in(&p, "of_root"), 0), EPERM);
	CHECK_EQ(open_as(&p, forged, in(&p, "of_all"), 0), EPERM);
	(void)close(sv[0]);
	(void)close(sv[1]);
}

TEST(many_paths_are_opened_side_by_side)
{
	SPAWN_PEER(p);
	AUTO_FD int one = FD_NONE;
	struct spawn_open m;
	uint64_t seen = 0;

	if (geteuid() != 0)
		SKIP("needs root");
	if (!start(&p, NULL))
		return;
	make_files(&p);
	one = client(&p, CLIENT, 0);
	spawn_begin(&m, SPAWN_OPEN, sizeof m);
	m.path_len = (uint32_t)snprintf(m.path, sizeof m.path, "%s", in(&p, "of_all"));
	for (m.number = 1; m.number <= 60; m.number++)
		CHECK_EQ(spawn_send(p.pair, &m, &one, 1), 0);
	for (int i = 0; i < 60 && spawned_expect(&p, SPAWN_OPENED); i++) {
		CHECK_EQ(p.d->opened.code, 0);
		seen |= UINT64_C(1) << p.d->opened.number;
	}
	CHECK_EQ(seen, (UINT64_C(1) << 61) - 2);
}

/* ---- A breach of the protocol ---- */

static void raw(struct spawn_peer *p, const void *data, size_t len)
{
	CHECK_EQ(send(p->pair, data, len, MSG_NOSIGNAL), (ssize_t)len);
}

static void breach(struct spawn_peer *p, int which)
{
	struct spawn_head head = {.word = SPAWN_KILL, .size = 5000};
	struct spawn_hello hello;
	int fds[SPAWN_MAX_FDS];
	struct spawn_number number;

	switch (which) {
	case 0:
		raw(p, "x", 1);
		return;
	case 1:
		raw(p, &head, sizeof head);
		return;
	case 2: /* a word of the other side */
		spawn_begin(&hello, SPAWN_HELLO, sizeof hello);
		hello.version = SPAWN_VERSION;
		spawned_send(p, &hello);
		return;
	case 3: /* numbers that were */
		spawned_make(p, 1, 1, "");
		return;
	case 4:
		spawned_describe(p, 1, "echo");
		spawned_define(p);
		return;
	case 5: /* numbers that never were */
		spawned_number(p, SPAWN_END, 1000);
		return;
	case 6:
		spawned_number(p, SPAWN_FORGET, 1000);
		return;
	default: /* descriptors that nobody asked for */
		for (size_t i = 0; i < SPAWN_MAX_FDS; i++)
			fds[i] = STDOUT_FILENO;
		spawn_begin(&number, SPAWN_KILL, sizeof number);
		number.number = 1;
		CHECK_EQ(spawn_send(p->pair, &number, fds, SPAWN_MAX_FDS), 0);
	}
}

/* Not all in one life: a fsboxd that dies young again and again is started later and later. */
static void break_protocol(int from, int to)
{
	SPAWN_PEER(p);
	AUTO_PEER struct chan_peer c = {.pid = -1, .in = -1, .out = -1, .log = -1};

	if (!start(&p, NULL) || !spawned_function(&p, 1, "echo"))
		return;
	spawned_make(&p, 1, 1, "");
	if (!spawned_await(&p, SPAWN_MADE, 1))
		return;
	spawned_talk(&p, &c, NULL);
	if (!spawned_ready(&c))
		return;
	for (int i = from; i < to; i++) {
		const pid_t was = p.daemon;

		breach(&p, i);
		if (!spawned_accept(&p) || !spawned_await(&p, SPAWN_ADOPT, 1) || !spawned_expect(&p, SPAWN_ADOPTED)) {
			tap_note("breach %d", i);
			return;
		}
		CHECK_NE(p.daemon, was);
		CHECK_EQ(kill(was, 0), -1);
	}
	CHECK(spawned_call(&c, 1, "still", "still"));
	CHECK_EQ(spawned_stop(&p), 0);
}

TEST(who_breaks_the_protocol_is_ended_and_the_cells_stay)
{
	if (geteuid() != 0)
		SKIP("needs root");
	break_protocol(0, 4);
	break_protocol(4, 8);
	spawned_check_clean();
}

/* ---- Functions that are none ---- */

static enum err_kind defined(struct spawn_peer *p)
{
	spawned_define(p);
	return spawned_expect(p, SPAWN_DONE) ? p->d->done.err.kind : ERR_KIND_COUNT;
}

static void replace(struct spawn_peer *p, size_t i, int fd)
{
	fd_closep(&p->d->fds[i]);
	p->d->fds[i] = fd;
}

static int unsealed(void)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	CHECK_EQ(fd_write_all(fd, "12345678", 8), 0);
	CHECK_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
	return fd;
}

TEST(functions_beyond_what_is_possible_are_refused)
{
	SPAWN_PEER(p);
	uint32_t n = 0;
	static const char eight[8];

	if (geteuid() != 0)
		SKIP("needs root");
	if (!start(&p, NULL))
		return;
	spawned_describe(&p, ++n, "echo");
	p.d->function.memory_bytes = UINT64_C(1) << 50;
	CHECK_EQ(defined(&p), ERR_SPEC);
	spawned_describe(&p, ++n, "echo");
	p.d->function.memory_bytes = 4096;
	CHECK_EQ(defined(&p), ERR_SPEC);
	spawned_describe(&p, ++n, "echo");
	p.d->function.pids = UINT32_MAX;
	CHECK_EQ(defined(&p), ERR_SPEC);
	spawned_describe(&p, ++n, "echo");
	p.d->function.tmp_bytes = 0;
	CHECK_EQ(defined(&p), ERR_SPEC);
	spawned_describe(&p, ++n, "echo");
	p.d->function.flags |= SPAWN_NO_LIMITS;
	CHECK_EQ(defined(&p), ERR_DENIED);
	spawned_describe(&p, ++n, "echo");
	CHECK(spawn_put_list(p.d, &p.d->function.env, "AWS_LAMBDA_FUNCTION_NAME=x"));
	CHECK_EQ(defined(&p), ERR_SPEC);
	/* what the descriptors are */
	spawned_describe(&p, ++n, "echo");
	replace(&p, 0, open("/etc/shadow", O_PATH | O_CLOEXEC));
	CHECK_EQ(defined(&p), ERR_SPEC);
	spawned_describe(&p, ++n, "echo");
	replace(&p, 0, open("/tmp", O_RDONLY | O_CLOEXEC));
	CHECK_EQ(defined(&p), ERR_SPEC);
	spawned_describe(&p, ++n, "echo");
	replace(&p, 1, unsealed());
	CHECK_EQ(defined(&p), ERR_SPEC);
	spawned_describe(&p, ++n, "echo");
	replace(&p, 1, spawned_memfd(eight, 7));
	CHECK_EQ(defined(&p), ERR_SPEC);
	spawned_describe(&p, ++n, "echo");
	replace(&p, 1, open("/etc/passwd", O_RDONLY | O_CLOEXEC));
	CHECK_EQ(defined(&p), ERR_SPEC);
	/* a secret that could only be looked at */
	spawned_describe(&p, ++n, "echo");
	CHECK(spawn_put_list(p.d, &p.d->function.secrets, "token"));
	p.d->fds[2] = p.d->fds[1];
	p.d->fds[1] = open("/etc/shadow", O_PATH | O_CLOEXEC);
	p.d->n_fds++;
	CHECK_EQ(defined(&p), ERR_SPEC);
	CHECK(spawned_function(&p, ++n, "echo"));
}

TEST(code_that_others_may_not_read_is_refused_at_the_cell)
{
	SPAWN_PEER(p);

	if (geteuid() != 0)
		SKIP("needs root");
	if (!start(&p, NULL))
		return;
	make_files(&p);
	spawned_describe(&p, 1, "echo");
	replace(&p, 0, open(in(&p, "of_root"), O_RDONLY | O_CLOEXEC));
	CHECK_EQ(defined(&p), ERR_NONE);
	spawned_make(&p, 1, 1, "");
	if (!spawned_expect(&p, SPAWN_FAILED))
		return;
	CHECK_EQ(p.d->done.err.kind, ERR_DENIED);
	CHECK_STREQ(p.d->done.err.stage, "plan");
	CHECK(strstr(p.d->done.err.msg, "echo.so"));
}

/* ---- Everything that a cell may have, by descriptors ---- */

static int open_dir(const char *path)
{
	return open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

TEST(layers_and_secrets_come_by_descriptors)
{
	SPAWN_PEER(p);
	AUTO_PEER struct chan_peer c = {.pid = -1, .in = -1, .out = -1, .log = -1};
	int filter;

	if (geteuid() != 0)
		SKIP("needs root");
	if (!start(&p, NULL))
		return;
	for (int i = 0; i < 2; i++) {
		char path[128];

		(void)snprintf(path, sizeof path, "%s/layer%d", p.dir, i);
		CHECK_EQ(mkdir(path, 0755), 0);
		make_file(path, i ? "second" : "first", i ? "two" : "one", 0644, 0, 0);
		make_file(path, "both", i ? "two" : "one", 0644, 0, 0);
	}
	make_file(p.dir, "token", "of 2026", 0600, 0, 0);
	spawned_describe(&p, 1, "read_file");
	filter = p.d->fds[1];
	p.d->function.n_layers = 2;
	CHECK(spawn_put_list(p.d, &p.d->function.secrets, "token"));
	CHECK(spawn_put_list(p.d, &p.d->function.secrets, "kept"));
	p.d->fds[1] = open_dir(in(&p, "layer0"));
	p.d->fds[2] = open_dir(in(&p, "layer1"));
	p.d->fds[3] = open(in(&p, "token"), O_RDONLY | O_CLOEXEC);
	p.d->fds[4] = spawned_memfd("in memory", 9);
	p.d->fds[5] = filter;
	p.d->n_fds = 6;
	CHECK_EQ(defined(&p), ERR_NONE);
	spawned_make(&p, 1, 1, "");
	if (!spawned_await(&p, SPAWN_MADE, 1))
		return;
	spawned_talk(&p, &c, NULL);
	if (!spawned_ready(&c))
		return;
	CHECK(spawned_call(&c, 1, "/opt/first", "one"));
	CHECK(spawned_call(&c, 2, "/opt/second", "two"));
	CHECK(spawned_call(&c, 3, "/opt/both", "two"));
	CHECK(spawned_call(&c, 4, "/run/secrets/token", "of 2026"));
	CHECK(spawned_call(&c, 5, "/run/secrets/kept", "in memory"));
	CHECK(spawned_call(&c, 6, "/etc/shadow", "ENOENT"));
}

/* ---- Limits ---- */

TEST(limits_change_while_a_cell_runs)
{
	SPAWN_PEER(p);
	struct spawn_limits m;

	if (geteuid() != 0)
		SKIP("needs root");
	if (!start(&p, NULL) || !spawned_function(&p, 1, "echo"))
		return;
	spawned_make(&p, 1, 1, "");
	if (!spawned_await(&p, SPAWN_MADE, 1))
		return;
	spawn_begin(&m, SPAWN_LIMITS, sizeof m);
	m.cell = 1;
	m.memory_bytes = 256 << 20;
	m.pids = 32;
	spawned_send(&p, &m);
	if (spawned_expect(&p, SPAWN_DONE))
		CHECK_EQ(p.d->done.err.kind, ERR_NONE);
	m.memory_bytes = UINT64_C(1) << 60;
	spawned_send(&p, &m);
	if (spawned_expect(&p, SPAWN_DONE))
		CHECK_EQ(p.d->done.err.kind, ERR_SPEC);
	spawned_kill_daemon(&p);
	if (!spawned_accept(&p) || !spawned_await(&p, SPAWN_ADOPT, 1))
		return;
	CHECK_EQ(p.d->cell.memory_bytes, 256 << 20);
	CHECK_EQ(p.d->cell.pids, 32);
}

static void check_capacity(const struct spawned_options *o, unsigned at_least, int code)
{
	SPAWN_PEER(p);
	unsigned n = 0;
	int word;

	if (!start(&p, o) || !spawned_function(&p, 1, "echo"))
		return;
	do {
		spawned_make(&p, n + 1, 1, "");
		word = spawned_next(&p);
		n += word == SPAWN_MADE;
	} while (word == SPAWN_MADE && n < 100);
	CHECK_EQ(word, SPAWN_FAILED);
	CHECK_EQ(p.d->done.err.kind, ERR_CAPACITY);
	CHECK_EQ(p.d->done.err.code, code);
	CHECK_GE(n, at_least);
	/* One that goes makes room for another. */
	spawned_number(&p, SPAWN_END, 1);
	if (!spawned_await(&p, SPAWN_ENDED, 1))
		return;
	spawned_make(&p, n + 2, 1, "");
	CHECK(spawned_await(&p, SPAWN_MADE, n + 2));
}

TEST(beyond_its_capacity_no_cell_is_made)
{
	static const char *const two[] = {"--max-cells", "2", NULL};

	if (geteuid() != 0)
		SKIP("needs root");
	check_capacity(&(struct spawned_options){.extra = two}, 2, EUSERS);
	check_capacity(&(struct spawned_options){.files = 256}, 3, EMFILE);
}

/* ---- Without root ---- */

TEST(an_ordinary_users_fsbox_spawn_makes_cells_without_limits)
{
	static const char *const extra[] = {"--no-limits", NULL};
	SPAWN_PEER(p);
	AUTO_PEER struct chan_peer c = {.pid = -1, .in = -1, .out = -1, .log = -1};
	AUTO_FD int mine = FD_NONE, others = FD_NONE;

	if (geteuid() != 0)
		SKIP("needs root to become another user");
	if (!start(&p, &(struct spawned_options){.uid = CLIENT, .extra = extra}))
		return;
	spawned_describe(&p, 1, "echo");
	CHECK_EQ(defined(&p), ERR_UNSUPPORTED);
	spawned_describe(&p, 2, "echo");
	p.d->function.flags |= SPAWN_NO_LIMITS;
	CHECK_EQ(defined(&p), ERR_NONE);
	spawned_make(&p, 1, 2, "");
	if (!spawned_expect(&p, SPAWN_MADE))
		return;
	CHECK_EQ(p.d->cell.fds, SPAWN_FD_ALWAYS);
	spawned_talk(&p, &c, NULL);
	if (!spawned_ready(&c) || !spawned_call(&c, 1, "1", "1"))
		return;
	spawned_number(&p, SPAWN_END, 1);
	if (!spawned_await(&p, SPAWN_ENDED, 1))
		return;
	CHECK_EQ(p.d->exit.err.kind, ERR_NONE);
	make_file(p.dir, "of_client", "mine", 0600, CLIENT, CLIENT);
	mine = client(&p, CLIENT, 0);
	others = client(&p, 0, 0);
	CHECK_EQ(open_as(&p, mine, in(&p, "of_client"), 0), 0);
	check_text(&p, "mine");
	CHECK_EQ(open_as(&p, mine, "/etc/shadow", 0), EACCES);
	CHECK_EQ(open_as(&p, others, in(&p, "of_client"), 0), EPERM);
	CHECK_EQ(spawned_stop(&p), 0);
}
