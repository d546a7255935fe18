/* fsbox-spawn's commands in cells, asked for by a fsboxd that plays fair and by one that does not. What a command is once
 * it runs: client_exec.sh. */
#include "tests/lib/spawn_peer.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "tests/lib/tap.h"
#include "wire/spawn_exec.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { CELL = 1 };

/* Not for anything to happen: to be at another place of it each time. */
static void pause_ns(uint64_t ns)
{
	const struct timespec t = {.tv_nsec = (long)ns};

	(void)ppoll(NULL, 0, &t, NULL);
}

/* With a cell of echo. */
static bool start_with(struct spawn_peer *p, const struct spawned_options *o)
{
	if (!spawned_start(p, o) || !spawned_hello(p) || !spawned_function(p, 1, "echo"))
		return false;
	spawned_make(p, CELL, 1, "");
	return spawned_await(p, SPAWN_MADE, CELL);
}

static bool start(struct spawn_peer *p)
{
	return start_with(p, NULL);
}

static void finish(struct spawn_peer *p)
{
	CHECK_EQ(spawned_stop(p), 0);
	spawned_done(p);
	spawned_check_clean();
}

/* `sh -c SCRIPT` in p->d, not sent. */
static void describe(struct spawn_peer *p, uint64_t number, uint64_t cell, const char *script)
{
	spawn_drop(p->d);
	spawn_exec_begin(p->d, number, cell);
	p->d->exec.n_args = 3;
	CHECK(spawn_exec_put(p->d, "sh") && spawn_exec_put(p->d, "-c") && spawn_exec_put(p->d, script));
}

/* @fd: as its standard output; or FD_NONE. */
static void execute(struct spawn_peer *p, uint64_t number, uint64_t cell, const char *script, int fd)
{
	describe(p, number, cell, script);
	p->d->exec.flags = fd_valid(fd) ? SPAWN_EXEC_STDOUT : 0;
	CHECK_EQ(spawn_send(p->pair, p->d->bytes, &fd, fd_valid(fd)), 0);
}

static bool ended(struct spawn_peer *p, uint64_t number, int code, int status)
{
	if (!spawned_await(p, SPAWN_EXEC_ENDED, number))
		return false;
	if (!CHECK_EQ(p->d->exec_end.err.kind, ERR_NONE))
		tap_note("%s", p->d->exec_end.err.msg);
	CHECK_EQ(p->d->exec_end.how.code, code);
	return CHECK_EQ(p->d->exec_end.how.status, status);
}

static enum err_kind failure(struct spawn_peer *p, uint64_t number)
{
	return spawned_await(p, SPAWN_EXEC_ENDED, number) ? p->d->exec_end.err.kind : ERR_KIND_COUNT;
}

TEST(a_command_runs_and_its_end_is_told_once)
{
	SPAWN_PEER(p);
	int v[2];
	char got[64] = "";

	if (geteuid() != 0)
		SKIP("needs root");
	if (!start(&p))
		return;
	CHECK_EQ(pipe2(v, O_CLOEXEC), 0);
	execute(&p, 1, CELL, "echo $$ $PPID; exit 6", v[1]);
	(void)close(v[1]);
	ended(&p, 1, CLD_EXITED, 6);
	CHECK_GT(read(v[0], got, sizeof got - 1), 0);
	CHECK_CONTAINS(got, " 0\n"); /* its parent is none of the cell's */
	CHECK_EQ(read(v[0], got, sizeof got), 0);
	(void)close(v[0]);
	execute(&p, 2, CELL, "kill -USR1 $$", FD_NONE);
	ended(&p, 2, CLD_KILLED, SIGUSR1);
	/* It need not wait for another. */
	CHECK_EQ(pipe2(v, O_CLOEXEC), 0);
	execute(&p, 3, CELL, "echo up; exec sleep 1000", v[1]);
	(void)close(v[1]);
	execute(&p, 4, CELL, "exit 1", FD_NONE);
	ended(&p, 4, CLD_EXITED, 1);
	CHECK_EQ(read(v[0], got, 3), 3); /* it has begun */
	(void)close(v[0]);
	spawned_number(&p, SPAWN_EXEC_KILL, 3);
	spawned_number(&p, SPAWN_EXEC_KILL, 3);
	ended(&p, 3, CLD_KILLED, SIGKILL);
	spawned_number(&p, SPAWN_EXEC_KILL, 3); /* it was; nothing is told */
	execute(&p, 5, CELL, "exit 2", FD_NONE);
	ended(&p, 5, CLD_EXITED, 2);
	finish(&p);
}

TEST(one_that_is_ended_before_it_begins_ends_all_the_same)
{
	SPAWN_PEER(p);

	if (geteuid() != 0)
		SKIP("needs root");
	if (!start(&p))
		return;
	for (uint64_t i = 1; i <= 100; i++) {
		execute(&p, i, CELL, "sleep 1000", FD_NONE);
		if (i % 3 == 0)
			pause_ns(i * 20000);
		spawned_number(&p, SPAWN_EXEC_KILL, i);
		if (!spawned_await(&p, SPAWN_EXEC_ENDED, i))
			return;
		CHECK(p.d->exec_end.err.kind == ERR_CANCELLED ||
		      (p.d->exec_end.err.kind == ERR_NONE && p.d->exec_end.how.status == SIGKILL));
	}
	finish(&p);
}

TEST(a_cell_ends_with_commands_at_every_stage)
{
	SPAWN_PEER(p);

	if (geteuid() != 0)
		SKIP("needs root");
	if (!start(&p))
		return;
	for (uint64_t round = 0; round < 20; round++) {
		const uint64_t cell = CELL + round;
		unsigned told = 0;
		bool gone = false;

		for (uint64_t i = 1; i <= 5; i++)
			execute(&p, round * 5 + i, cell, "sleep 1000", FD_NONE);
		pause_ns(round * 300000);
		spawned_number(&p, SPAWN_END, cell);
		while (told < 5 || !gone) {
			const int word = spawned_next(&p);

			if (word <= 0)
				return;
			told += word == SPAWN_EXEC_ENDED;
			gone |= word == SPAWN_ENDED;
			if (word == SPAWN_ENDED)
				CHECK_EQ(p.d->exit.err.kind, ERR_NONE);
		}
		spawned_make(&p, cell + 1, 1, "");
		if (!spawned_await(&p, SPAWN_MADE, cell + 1))
			return;
	}
	finish(&p);
}

TEST(what_cannot_be_is_answered)
{
	SPAWN_PEER(p);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int refused[] = {
		open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC),
		open("/etc/passwd", O_PATH | O_CLOEXEC),
		open("/dev/kmsg", O_RDONLY | O_CLOEXEC | O_NONBLOCK),
	};
	uint64_t n = 0;

	if (geteuid() != 0)
		SKIP("needs root");
	if (!start(&p))
		return;
	for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
		if (!fd_valid(refused[i]))
			continue;
		execute(&p, ++n, CELL, "exit 0", refused[i]);
		CHECK_EQ(failure(&p, n), ERR_SPEC);
		fd_closep(&refused[i]);
	}
	execute(&p, ++n, CELL, "exit 0", null);
	ended(&p, n, CLD_EXITED, 0);
	describe(&p, ++n, CELL, "exit 0");
	p.d->exec.flags = SPAWN_EXEC_STDIN | SPAWN_EXEC_TTY; /* which /dev/null is not */
	CHECK_EQ(spawn_send(p.pair, p.d->bytes, &null, 1), 0);
	CHECK_EQ(failure(&p, n), ERR_SPEC);
	fd_closep(&null);
	/* A cell that is being built, one that has ended, one that is gone. */
	spawned_make(&p, 2, 1, "");
	execute(&p, ++n, 2, "exit 0", FD_NONE);
	CHECK_EQ(failure(&p, n), ERR_NOT_FOUND);
	spawned_number(&p, SPAWN_KILL, CELL);
	if (!spawned_await(&p, SPAWN_EXITED, CELL))
		return;
	execute(&p, ++n, CELL, "exit 0", FD_NONE);
	CHECK_EQ(failure(&p, n), ERR_NOT_FOUND);
	spawned_number(&p, SPAWN_END, CELL);
	if (!spawned_await(&p, SPAWN_ENDED, CELL))
		return;
	execute(&p, ++n, CELL, "exit 0", FD_NONE);
	CHECK_EQ(failure(&p, n), ERR_NOT_FOUND);
	finish(&p);
}

static void breach(struct spawn_peer *p, int which)
{
	switch (which) {
	case 0: /* a number that was */
		execute(p, 3, CELL, "exit 0", FD_NONE);
		execute(p, 3, CELL, "exit 0", FD_NONE);
		return;
	case 1: /* a cell that never was */
		execute(p, 1, 1000, "exit 0", FD_NONE);
		return;
	case 2:
		spawned_number(p, SPAWN_EXEC_KILL, 1);
		return;
	default: /* words that are not what they say */
		describe(p, 1, CELL, "exit 0");
		p->d->exec.n_args++;
		CHECK_EQ(spawn_send(p->pair, p->d->bytes, NULL, 0), 0);
	}
}

TEST(who_breaks_the_protocol_takes_its_commands_along)
{
	SPAWN_PEER(p);
	int v[2];
	char got[8];

	if (geteuid() != 0)
		SKIP("needs root");
	if (!start(&p))
		return;
	CHECK_EQ(pipe2(v, O_CLOEXEC), 0);
	execute(&p, 1, CELL, "(setsid sleep 1000 &) ; echo up; exec sleep 1000", v[1]);
	execute(&p, 2, CELL, "exec sleep 1000", v[1]); /* at its very beginning */
	(void)close(v[1]);
	CHECK_EQ(read(v[0], got, sizeof got), 3);
	for (int i = 0; i < 4; i++) {
		const pid_t was = p.daemon;

		breach(&p, i);
		if (!spawned_accept(&p) || !spawned_await(&p, SPAWN_ADOPT, CELL) ||
		    !spawned_expect(&p, SPAWN_ADOPTED)) {
			tap_note("breach %d", i);
			return;
		}
		CHECK_NE(p.daemon, was);
		CHECK_EQ(read(v[0], got, sizeof got), 0); /* the last of them has ended */
	}
	(void)close(v[0]);
	/* Its numbers begin anew. */
	execute(&p, 1, CELL, "exit 5", FD_NONE);
	ended(&p, 1, CLD_EXITED, 5);
	finish(&p);
}

TEST(a_dead_fsbox_spawn_leaves_no_command)
{
	SPAWN_PEER(p);
	int v[2], status;
	char got[8];

	if (geteuid() != 0)
		SKIP("needs root");
	if (!start(&p))
		return;
	CHECK_EQ(pipe2(v, O_CLOEXEC), 0);
	for (uint64_t i = 1; i <= 5; i++)
		execute(&p, i, CELL, "echo up; exec sleep 1000", v[1]);
	(void)close(v[1]);
	CHECK_EQ(read(v[0], got, 3), 3);
	CHECK_EQ(kill(p.pid, SIGKILL), 0);
	CHECK_EQ(waitpid(p.pid, &status, 0), p.pid);
	p.pid = -1;
	while (read(v[0], got, sizeof got) > 0)
		;
	(void)close(v[0]);
}

TEST(more_commands_than_may_run_are_refused)
{
	static const struct spawned_options few = {.files = 400};
	SPAWN_PEER(p);
	unsigned n = 0;
	int word;

	if (geteuid() != 0)
		SKIP("needs root");
	if (!start_with(&p, &few))
		return;
	/* Descriptors are what runs out first here. */
	do {
		struct pollfd answer = {.fd = p.pair, .events = POLLIN};

		execute(&p, ++n, CELL, "exec sleep 1000", FD_NONE);
		word = poll(&answer, 1, 50) == 1 ? spawned_next(&p) : 0;
	} while (word == 0 && n < SPAWN_MAX_EXECS + 1);
	CHECK_EQ(word, SPAWN_EXEC_ENDED);
	CHECK_EQ(p.d->exec_end.err.kind, ERR_CAPACITY);
	CHECK_GE(n, 20);
	spawned_number(&p, SPAWN_EXEC_KILL, 1);
	ended(&p, 1, CLD_KILLED, SIGKILL);
	execute(&p, ++n, CELL, "exit 1", FD_NONE);
	ended(&p, n, CLD_EXITED, 1);
	finish(&p);
}
