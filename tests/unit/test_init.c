/* PID 1 of a cell, without a cell: in a pid namespace of its own, with pipes on descriptors 3 and 4. */
#include "tests/lib/chan_peer.h"
#include "tests/lib/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOT_RUN = 0, EXITED = 1, KILLED = 2, DUMPED = 3 }; /* si_code of siginfo(3) */

/* Starts `init argv…`. The reason why it cannot be, or NULL. */
static const char *start(struct chan_peer *p, unsigned flags, const char *const *argv)
{
	const char *full[8] = {chan_peer_built("runtime/init")};
	int r;

	for (size_t i = 0; i < 6 && argv[i]; i++)
		full[i + 1] = argv[i];
	r = chan_peer_start(p, CHAN_PEER_PID_NS | flags, full, NULL);
	if (r == -EPERM || r == -ENOSPC || r == -EINVAL)
		return "no pid namespaces here for this user";
	return CHECK_EQ(r, 0) ? NULL : "not started";
}

#define START(p, flags, ...)                                                                  \
	do {                                                                                  \
		const char *why_ = start(p, flags, (const char *const[]){__VA_ARGS__, NULL}); \
		if (why_)                                                                     \
			SKIP(why_);                                                           \
	} while (0)
#define START_SH(p, script) START(p, 0, "/bin/sh", "-c", script)

/* The EXIT record, init's own status, and nothing after them. */
static void expect(struct chan_peer *p, int code, int status, int init_status)
{
	struct chan_exit x = {.code = -1};
	size_t rest;
	int got;

	CHECK(chan_peer_exit(p, &x, &rest));
	if (code == KILLED && x.code == DUMPED)
		x.code = KILLED; /* whether a core is dumped is up to the host */
	CHECK_EQ(x.code, code);
	CHECK_EQ(x.status, status);
	got = chan_peer_wait(p);
	CHECK(got >= 0 && WIFEXITED(got));
	CHECK_EQ(WEXITSTATUS(got), init_status);
}

TEST(the_exit_record_has_the_runtimes_status)
{
	static const char *const scripts[] = {"exit 0", "exit 7", "exit 255"};
	static const int status[] = {0, 7, 255};

	for (size_t i = 0; i < 3; i++) {
		CHAN_PEER(p);

		START_SH(&p, scripts[i]);
		expect(&p, EXITED, status[i], status[i]);
	}
}

TEST(the_exit_record_has_the_signal_that_ended_the_runtime)
{
	static const struct {
		const char *script;
		int sig;
	} cases[] = {
		{"kill -KILL $$", SIGKILL},
		{"kill -SEGV $$", SIGSEGV},
		{"kill -SYS $$", SIGSYS},
		{"kill -TERM $$", SIGTERM},
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		CHAN_PEER(p);

		START_SH(&p, cases[i].script);
		expect(&p, KILLED, cases[i].sig, 128 + cases[i].sig);
	}
}

TEST(a_runtime_that_cannot_be_executed_is_told_apart_from_one_that_failed)
{
	static const struct {
		const char *path;
		int code;
	} cases[] = {{"/nonexistent", ENOENT}, {"/etc/passwd", EACCES}, {"/", EACCES}, {"/etc/passwd/x", ENOTDIR}};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		CHAN_PEER(p);

		START(&p, 0, cases[i].path);
		expect(&p, NOT_RUN, cases[i].code, 127);
	}
}

TEST(the_runtime_gets_its_arguments_environment_descriptors_and_an_empty_signal_mask)
{
	CHAN_PEER(p);

	START(&p, 0, "/bin/sh", "-c",
	      "echo \"$1 $2\"; echo here >&4; read line <&3 && echo \"$line\"; [ $$ -ne 1 ] && kill -TERM $$", "x",
	      "one", "two");
	CHECK_EQ(chan_peer_send(&p, "there\n", 6), 0);
	expect(&p, KILLED, SIGTERM, 128 + SIGTERM); /* so it was not blocked */
	CHECK_STREQ(chan_peer_log(&p, NULL), "one two\nthere\n");
}

TEST(what_the_runtime_leaves_behind_is_killed_before_the_record_is_written)
{
	CHAN_PEER(p);
	struct chan_exit x;
	size_t rest;

	START_SH(&p,
		 "for i in 1 2 3; do (trap '' TERM HUP INT; setsid sleep 1000 &) & done; sleep 0.2; echo up; exit 3");
	CHECK(chan_peer_exit(&p, &x, &rest)); /* the end of file: nobody else holds the channel any more */
	CHECK_EQ(x.status, 3);
	CHECK_EQ(rest, 0);
	CHECK_EQ(WEXITSTATUS(chan_peer_wait(&p)), 3);
}

/* Processes below init, seen from outside; -1 when the kernel does not tell. */
static int children_of(pid_t pid)
{
	char path[64], text[4096];
	ssize_t n;
	int fd, count = 0;

	(void)snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)pid, (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	n = read(fd, text, sizeof text);
	(void)close(fd);
	for (ssize_t i = 0; i < n; i++)
		count += text[i] == ' ';
	return count;
}

TEST(orphans_are_reaped_while_the_runtime_goes_on)
{
	CHAN_PEER(p);
	int n;

	START_SH(&p, "for i in 1 2 3 4 5; do (sh -c 'exit 1' &); done; echo up; read line <&3");
	CHECK_CONTAINS(chan_peer_log(&p, "up"), "up");
	n = children_of(p.pid);
	if (n < 0)
		SKIP("no /proc/PID/task/PID/children here");
	for (int i = 0; i < 500 && n != 1; i++) {
		(void)nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
		n = children_of(p.pid);
	}
	CHECK_EQ(n, 1);
	chan_peer_hang_up(&p);
	expect(&p, EXITED, 1, 1);
}

TEST(signals_are_handed_on_to_the_runtime)
{
	static const struct {
		int sig;
		const char *name;
	} cases[] = {{SIGTERM, "TERM"}, {SIGINT, "INT"},   {SIGHUP, "HUP"},
		     {SIGUSR1, "USR1"}, {SIGUSR2, "USR2"}, {SIGQUIT, "QUIT"}};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char script[128];
		CHAN_PEER(p);

		(void)snprintf(script, sizeof script, "trap 'exit 42' %s; echo up; while :; do sleep 0.02; done",
			       cases[i].name);
		START_SH(&p, script);
		CHECK_CONTAINS(chan_peer_log(&p, "up"), "up");
		CHECK_EQ(kill(p.pid, cases[i].sig), 0);
		expect(&p, EXITED, 42, 42);
	}
}

TEST(no_signal_from_inside_ends_or_stops_it)
{
	CHAN_PEER(p);

	START_SH(&p, "i=1; while [ $i -le 64 ]; do case $i in 1|2|3|10|12|15|28) ;; *) kill -$i 1 2>/dev/null;; esac; "
		     "i=$((i+1)); done; exit 5");
	expect(&p, EXITED, 5, 5);
}

TEST(the_record_follows_a_frame_that_the_runtime_did_not_finish)
{
	struct chan_exit x = {0};
	struct chan_peer_frame f;
	size_t rest;
	CHAN_PEER(p);

	/* The head of a DATA frame of 256 bytes, three of them, then the end. */
	START_SH(&p, "printf '\\000\\001\\000\\000\\022\\000\\000\\000\\001\\000\\000\\000\\000\\000\\000\\000' >&4; "
		     "printf abc >&4; kill -KILL $$");
	CHECK_EQ(chan_peer_next(&p, &f), -EPROTO); /* read as frames, the record would have been part of the body */
	CHECK(chan_peer_exit(&p, &x, &rest));
	CHECK_EQ(x.code, KILLED);
	CHECK_EQ(x.status, SIGKILL);
	CHECK_EQ(rest, 16 + 3);
}

TEST(a_forged_record_is_not_the_last_one)
{
	struct chan_exit x = {0};
	struct chan_peer_frame f;
	size_t rest;
	CHAN_PEER(p);

	START(&p, 0, chan_peer_built("runtime/native"), chan_peer_built("tests/functions/forge_exit.so"));
	REQUIRE(chan_peer_next(&p, &f) == 1 && f.head.type == CHAN_READY);
	CHECK_EQ(chan_peer_call(&p, 1, "exit", 4), 0);
	CHECK(chan_peer_exit(&p, &x, &rest));
	CHECK_EQ(x.code, EXITED);
	CHECK_EQ(x.status, 7);
	CHECK_EQ(rest, CHAN_EXIT_BYTES); /* the forged one */
}

TEST(a_channel_that_was_left_full_and_non_blocking_still_gets_the_record)
{
	struct chan_exit x = {0};
	struct chan_peer_frame f;
	size_t rest;
	CHAN_PEER(p);

	START(&p, 0, chan_peer_built("runtime/native"), chan_peer_built("tests/functions/nonblock_channel.so"));
	REQUIRE(chan_peer_next(&p, &f) == 1 && f.head.type == CHAN_READY);
	CHECK_EQ(chan_peer_call(&p, 1, "", 0), 0);
	(void)nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL); /* it ends while nobody reads */
	CHECK(chan_peer_exit(&p, &x, &rest));
	CHECK_EQ(x.code, EXITED);
	CHECK_EQ(x.status, 9);
}

TEST(the_function_cannot_get_a_hold_of_it)
{
	struct chan_peer_frame f;
	char text[1024] = "";
	CHAN_PEER(p);

	if (geteuid() != 0)
		SKIP("needs root, to give the namespace a /proc and another user");
	if (access(chan_peer_built("runtime/native"), X_OK) < 0)
		SKIP("no runtime here");
	START(&p, CHAN_PEER_PROC, chan_peer_built("runtime/native"), chan_peer_built("tests/functions/attack_init.so"));
	if (!CHECK_EQ(chan_peer_next(&p, &f), 1) || !CHECK_EQ(f.head.type, CHAN_READY)) {
		tap_note("log: %s", chan_peer_log(&p, NULL));
		return;
	}
	CHECK_EQ(chan_peer_call(&p, 1, "", 0), 0);
	REQUIRE(chan_peer_next(&p, &f) == 1 && f.head.type == CHAN_DATA);
	(void)snprintf(text, sizeof text, "%.*s", (int)f.head.len, (const char *)f.body);
	tap_note("%s", text);
	CHECK_LACKS(text, ":0"); /* every attempt has an errno */
	CHECK_CONTAINS(text, "\"init_alive\":1");
	REQUIRE(chan_peer_next(&p, &f) == 1 && f.head.type == CHAN_DONE);
	chan_peer_hang_up(&p);
	expect(&p, EXITED, 0, 0);
}

/* The other process is left behind by a shell that then becomes init: the way in which a restored runtime comes to it. */
TEST(a_runtime_that_was_there_before_is_taken_over)
{
	CHAN_PEER(p);
	char script[600];
	const char *const argv[] = {"/bin/sh", "-c", script, NULL};

	(void)snprintf(script, sizeof script, "(exit 9) & exec %s --adopt $!", chan_peer_built("runtime/init"));
	int r = chan_peer_start(&p, CHAN_PEER_PID_NS, argv, NULL);
	if (r == -EPERM || r == -ENOSPC || r == -EINVAL)
		SKIP("no pid namespaces here for this user");
	REQUIRE(CHECK_EQ(r, 0));
	expect(&p, EXITED, 9, 9);
}

TEST(an_adopted_pid_is_a_number_above_one)
{
	static const char *const bad[] = {"", "0", "1", "-2", "2x", "12345678901"};

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		CHAN_PEER(p);

		START(&p, 0, "--adopt", bad[i]);
		int got = chan_peer_wait(&p);
		CHECK(got >= 0 && WIFEXITED(got));
		CHECK_EQ(WEXITSTATUS(got), 125);
	}
}

TEST(outside_of_a_pid_namespace_it_refuses_to_run)
{
	const char *argv[] = {chan_peer_built("runtime/init"), "/bin/true", NULL};
	CHAN_PEER(p);

	REQUIRE(chan_peer_start(&p, 0, argv, NULL) == 0);
	CHECK_EQ(WEXITSTATUS(chan_peer_wait(&p)), 125);
	CHECK_CONTAINS(chan_peer_log(&p, NULL), "PID 1 of a cell");
}

TEST(without_a_program_it_says_how_it_is_used)
{
	const char *argv[] = {chan_peer_built("runtime/init"), NULL};
	CHAN_PEER(p);

	if (chan_peer_start(&p, CHAN_PEER_PID_NS, argv, NULL) < 0)
		SKIP("no pid namespaces here for this user");
	CHECK_EQ(WEXITSTATUS(chan_peer_wait(&p)), 125);
	CHECK_CONTAINS(chan_peer_log(&p, NULL), "usage: init");
}
