/* fsbox-spawn from fsboxd's place: cells are made, serve, end; another fsboxd takes them over; nothing is left. */
#include "tests/lib/spawn_peer.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "tests/lib/tap.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define AUTO_PEER __attribute__((cleanup(chan_peer_done)))

static bool need_root(void)
{
	return geteuid() == 0;
}

static bool made(struct spawn_peer *p, uint64_t cell, struct chan_peer *c, int *pidfd)
{
	if (!spawned_await(p, SPAWN_MADE, cell))
		return false;
	spawned_talk(p, c, pidfd);
	return spawned_ready(c);
}

static bool ended(struct spawn_peer *p, uint64_t cell)
{
	if (!spawned_await(p, SPAWN_ENDED, cell))
		return false;
	if (p->d->exit.err.kind != ERR_NONE)
		tap_note("%s", p->d->exit.err.msg);
	return CHECK_EQ(p->d->exit.err.kind, ERR_NONE);
}

static void has_line(const char *text, const char *line)
{
	if (!tap_check(strstr(text, line) != NULL, __FILE__, __LINE__, line))
		tap_note("%s", text);
}

TEST(fsboxd_is_started_without_any_right)
{
	SPAWN_PEER(p);

	if (!need_root())
		SKIP("needs root");
	if (!spawned_start(&p, NULL) || !spawned_hello(&p))
		return;
	has_line(p.status, "Uid:\t64321\t64321\t64321\t64321\n");
	has_line(p.status, "Gid:\t64322\t64322\t64322\t64322\n");
	has_line(p.status, "Groups:\t \n");
	has_line(p.status, "CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n"
			   "CapBnd:\t0000000000000000\nCapAmb:\t0000000000000000\n");
	has_line(p.status, "NoNewPrivs:\t1\n");
	has_line(p.status, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
	has_line(p.status, "Open:\t0 1 2 3 4 \n");
	const char *files = strstr(p.status, "Files:\t");
	unsigned long long soft = 0, hard = 1;
	CHECK(files && sscanf(files, "Files:\t%llu %llu", &soft, &hard) == 2);
	CHECK_EQ(soft, hard);
	CHECK_EQ(spawned_stop(&p), 0);
	CHECK_EQ(access(p.socket, F_OK), -1);
}

TEST(a_cell_is_made_serves_and_ends)
{
	{
		SPAWN_PEER(p);
		AUTO_PEER struct chan_peer c = {.pid = -1, .in = -1, .out = -1, .log = -1};

		if (!need_root())
			SKIP("needs root");
		if (!spawned_start(&p, NULL) || !spawned_hello(&p) || !spawned_function(&p, 1, "echo"))
			return;
		spawned_make(&p, 7, 1, "a note");
		if (!spawned_expect(&p, SPAWN_MADE))
			return;
		CHECK_EQ(p.d->cell.cell, 7);
		CHECK_EQ(p.d->cell.function, 1);
		CHECK_EQ(p.d->cell.boosted, 1);
		CHECK_EQ(p.d->cell.memory_bytes, 128 << 20);
		CHECK(p.d->cell.exec_ns > p.d->cell.begin_ns);
		CHECK_EQ(kill(p.d->cell.pid, 0), 0);
		spawned_talk(&p, &c, NULL);
		if (!spawned_ready(&c) || !spawned_call(&c, 1, "{\"a\":1}", "{\"a\":1}"))
			return;
		spawned_number(&p, SPAWN_SETTLE, 7);
		if (!spawned_expect(&p, SPAWN_DONE))
			return;
		CHECK_EQ(p.d->done.of, SPAWN_SETTLE);
		CHECK_EQ(p.d->done.err.kind, ERR_NONE);
		CHECK(spawned_call(&c, 2, "2", "2"));
		spawned_number(&p, SPAWN_KILL, 7);
		if (!spawned_expect(&p, SPAWN_EXITED))
			return;
		CHECK_EQ(p.d->exit.how.code, CLD_KILLED);
		CHECK_EQ(p.d->exit.how.status, SIGKILL);
		spawned_number(&p, SPAWN_END, 7);
		CHECK(ended(&p, 7));
		spawned_number(&p, SPAWN_END, 7); /* one that crossed the answer */
		CHECK(ended(&p, 7));
		CHECK_EQ(spawned_stop(&p), 0);
	}
	spawned_check_clean();
}

TEST(a_cell_that_ends_by_itself_is_told_at_once)
{
	SPAWN_PEER(p);
	AUTO_PEER struct chan_peer c = {.pid = -1, .in = -1, .out = -1, .log = -1};

	if (!need_root())
		SKIP("needs root");
	if (!spawned_start(&p, NULL) || !spawned_hello(&p) || !spawned_function(&p, 1, "init_crash"))
		return;
	spawned_make(&p, 1, 1, "");
	if (!spawned_expect(&p, SPAWN_MADE) || !spawned_expect(&p, SPAWN_EXITED))
		return;
	CHECK_EQ(p.d->exit.cell, 1);
	CHECK_EQ(p.d->exit.how.code, CLD_EXITED);
	spawned_number(&p, SPAWN_SETTLE, 1);
	if (spawned_expect(&p, SPAWN_DONE))
		CHECK_EQ(p.d->done.err.kind, ERR_NOT_FOUND);
	spawned_number(&p, SPAWN_END, 1);
	CHECK(ended(&p, 1));
}

enum { MANY = 50 };

TEST(fifty_cells_at_once_do_not_wait_for_each_other)
{
	{
		SPAWN_PEER(p);
		struct chan_peer c[MANY];
		unsigned n = 0;

		if (!need_root())
			SKIP("needs root");
		if (!spawned_start(&p, NULL) || !spawned_hello(&p) || !spawned_function(&p, 1, "echo") ||
		    !spawned_function(&p, 2, "counter"))
			return;
		for (unsigned i = 0; i < MANY; i++)
			spawned_make(&p, i + 1, 1 + i % 2, "");
		for (; n < MANY; n++) {
			c[n] = (struct chan_peer){.pid = -1, .in = -1, .out = -1, .log = -1};
			if (!spawned_await(&p, SPAWN_MADE, 0))
				break;
			spawned_talk(&p, &c[n], NULL);
		}
		CHECK_EQ(n, MANY);
		for (unsigned i = 0; i < n; i++)
			CHECK(spawned_ready(&c[i]));
		for (unsigned i = 0; i < n; i++)
			spawned_number(&p, SPAWN_END, i + 1);
		for (unsigned i = 0; i < n; i++) {
			if (spawned_await(&p, SPAWN_ENDED, 0))
				CHECK_EQ(p.d->exit.err.kind, ERR_NONE);
			chan_peer_done(&c[i]);
		}
		CHECK_EQ(spawned_stop(&p), 0);
	}
	spawned_check_clean();
}

TEST(one_that_is_ended_while_it_is_built_fails_and_is_gone)
{
	SPAWN_PEER(p);

	if (!need_root())
		SKIP("needs root");
	if (!spawned_start(&p, NULL) || !spawned_hello(&p) || !spawned_function(&p, 1, "echo"))
		return;
	for (uint64_t i = 1; i <= 20; i++) {
		spawned_make(&p, i, 1, "");
		spawned_number(&p, SPAWN_END, i);
		const int word = spawned_next(&p);
		if (word == SPAWN_FAILED)
			CHECK_EQ(p.d->done.err.kind, ERR_CANCELLED);
		else if (word != SPAWN_EXITED) /* it was faster, ended all the same */
			CHECK_EQ(word, SPAWN_MADE);
		if (!ended(&p, i))
			return;
	}
}

static void nap_us(uint64_t us)
{
	(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){.tv_nsec = (long)us * 1000}, NULL);
}

/* The word of its child and its END are met in one turn of the loop. */
TEST(one_that_is_ended_as_it_arrives_is_either_made_or_not)
{
	SPAWN_PEER(p);

	if (!need_root())
		SKIP("needs root");
	if (!spawned_start(&p, NULL) || !spawned_hello(&p) || !spawned_function(&p, 1, "echo"))
		return;
	for (uint64_t i = 1; i <= 32; i++) {
		bool was_made = false, failed = false;
		int word;

		spawned_make(&p, i, 1, "");
		nap_us(i * 120);
		CHECK_EQ(kill(p.pid, SIGSTOP), 0);
		spawned_number(&p, SPAWN_END, i);
		(void)poll(NULL, 0, 30);
		CHECK_EQ(kill(p.pid, SIGCONT), 0);
		while ((word = spawned_next(&p)) != SPAWN_ENDED && word > 0) {
			was_made |= word == SPAWN_MADE;
			failed |= word == SPAWN_FAILED;
		}
		CHECK_EQ(word, SPAWN_ENDED);
		CHECK_EQ(p.d->exit.cell, i);
		CHECK_NE(was_made, failed);
	}
}

TEST(what_cannot_be_built_is_told_with_its_stage)
{
	/* The kernel takes no program without a return at its end. */
	static const struct {
		uint16_t code;
		uint8_t jt, jf;
		uint32_t k;
	} bad[] = {{0, 0, 0, 0}};
	SPAWN_PEER(p);

	if (!need_root())
		SKIP("needs root");
	if (!spawned_start(&p, NULL) || !spawned_hello(&p))
		return;
	spawned_describe(&p, 1, "echo");
	fd_closep(&p.d->fds[1]);
	p.d->fds[1] = spawned_memfd(bad, sizeof bad);
	spawned_define(&p);
	if (!spawned_expect(&p, SPAWN_DONE) || !CHECK_EQ(p.d->done.err.kind, ERR_NONE))
		return;
	for (uint64_t i = 1; i <= 3; i++) {
		spawned_make(&p, i, 1, "");
		if (!spawned_expect(&p, SPAWN_FAILED))
			return;
		CHECK_EQ(p.d->done.number, i);
		CHECK_STREQ(p.d->done.err.stage, "filter");
	}
	if (!spawned_function(&p, 2, "echo"))
		return;
	spawned_number(&p, SPAWN_FORGET, 2);
	spawned_make(&p, 4, 2, "");
	if (spawned_expect(&p, SPAWN_FAILED))
		CHECK_EQ(p.d->done.err.kind, ERR_NOT_FOUND);
}

/* ---- Another fsboxd ---- */

static void check_adoption(struct spawn_peer *p, const struct spawn_function *was)
{
	AUTO_PEER struct chan_peer c = {.pid = -1, .in = -1, .out = -1, .log = -1};
	bool unseen = false;

	if (!spawned_expect(p, SPAWN_HELLO))
		return;
	CHECK_EQ(p->d->hello.restarts, 1);
	CHECK_EQ(p->d->hello.functions, 2);
	CHECK_EQ(p->d->hello.cells, 3);
	CHECK_EQ(p->d->hello.last_cell, 3);
	CHECK_EQ(p->d->hello.last_function, 2);
	if (!spawned_expect(p, SPAWN_FUNCTION))
		return;
	CHECK_EQ(p->d->function.function, 1);
	CHECK_EQ(p->d->function.note_len, 5);
	CHECK_EQ(memcmp(p->d->function.note, "state", 5), 0);
	CHECK_EQ(p->d->head.size, was->head.size);
	CHECK_EQ(p->d->n_fds, 2);
	if (!spawned_expect(p, SPAWN_FUNCTION))
		return;
	CHECK(p->d->function.flags & SPAWN_FORGOTTEN);
	for (uint64_t i = 1; i <= 3; i++) {
		if (!spawned_expect(p, SPAWN_ADOPT))
			return;
		CHECK_EQ(p->d->cell.cell, i);
		if (i != 2)
			CHECK_EQ(p->d->cell.exited, 0);
		else if (p->d->cell.exited)
			CHECK_EQ(p->d->cell.how.status, SIGKILL);
		else
			unseen = true;
		CHECK_EQ(p->d->cell.boosted, i != 1);
		CHECK_EQ(p->d->cell.note_len, 3);
		CHECK_EQ(memcmp(p->d->cell.note, i == 1 ? "new" : "old", 3), 0);
		if (i == 1)
			spawned_talk(p, &c, NULL);
	}
	if (!spawned_expect(p, SPAWN_ADOPTED) || !spawned_call(&c, 2, "again", "again"))
		return;
	/* fsbox-spawn may have heard of the fsboxd's death first. */
	if (unseen && spawned_expect(p, SPAWN_EXITED))
		CHECK_EQ(p->d->exit.how.status, SIGKILL);
	for (uint64_t i = 1; i <= 3; i++)
		spawned_number(p, SPAWN_END, i);
	for (uint64_t i = 1; i <= 3; i++)
		if (spawned_await(p, SPAWN_ENDED, 0))
			CHECK_EQ(p->d->exit.err.kind, ERR_NONE);
}

TEST(another_fsboxd_gets_functions_and_cells_handed_over)
{
	{
		SPAWN_PEER(p);
		AUTO_PEER struct chan_peer c = {.pid = -1, .in = -1, .out = -1, .log = -1};
		struct spawn_function was;
		struct spawn_function_note note;
		struct spawn_note about;
		pid_t second;

		if (!need_root())
			SKIP("needs root");
		if (!spawned_start(&p, NULL) || !spawned_hello(&p))
			return;
		spawned_describe(&p, 1, "echo");
		was = p.d->function;
		spawned_define(&p);
		if (!spawned_expect(&p, SPAWN_DONE) || !spawned_function(&p, 2, "echo"))
			return;
		spawned_make(&p, 1, 1, "old");
		if (!made(&p, 1, &c, NULL) || !spawned_call(&c, 1, "1", "1"))
			return;
		spawned_number(&p, SPAWN_SETTLE, 1);
		spawned_make(&p, 2, 1, "old");
		if (!spawned_await(&p, SPAWN_MADE, 2))
			return;
		second = p.d->cell.pid;
		spawned_make(&p, 3, 2, "old");
		if (!spawned_await(&p, SPAWN_MADE, 3))
			return;
		spawn_begin(&about, SPAWN_NOTE, sizeof about);
		about.cell = 1;
		about.note_len = 3;
		memcpy(about.note, "new", 3);
		spawned_send(&p, &about);
		spawn_begin(&note, SPAWN_FUNCTION_NOTE, sizeof note);
		note.function = 1;
		note.note_len = 5;
		memcpy(note.note, "state", 5);
		spawned_send(&p, &note);
		spawned_number(&p, SPAWN_FORGET, 2);
		/* Answered in order: when this one is, the others have been heard. */
		spawned_number(&p, SPAWN_SETTLE, 99);
		if (!spawned_await(&p, SPAWN_DONE, 99))
			return;
		/* Nobody is there when this one ends. */
		CHECK_EQ(kill(p.pid, SIGSTOP), 0);
		spawned_kill_daemon(&p);
		CHECK_EQ(kill(second, SIGKILL), 0);
		CHECK_EQ(kill(p.pid, SIGCONT), 0);
		if (spawned_accept(&p))
			check_adoption(&p, &was);
		CHECK_EQ(spawned_stop(&p), 0);
	}
	spawned_check_clean();
}

TEST(cells_whose_fsboxd_died_while_they_were_made_or_ended_are_gone)
{
	{
		SPAWN_PEER(p);

		if (!need_root())
			SKIP("needs root");
		if (!spawned_start(&p, NULL) || !spawned_hello(&p) || !spawned_function(&p, 1, "echo"))
			return;
		for (uint64_t i = 1; i <= 10; i++)
			spawned_make(&p, i, 1, "");
		for (uint64_t i = 1; i <= 5; i++)
			spawned_number(&p, SPAWN_END, i);
		spawned_kill_daemon(&p);
		if (!spawned_accept(&p) || !spawned_expect(&p, SPAWN_HELLO))
			return;
		const uint32_t cells = p.d->hello.cells;
		uint32_t adopted = 0;
		const uint64_t last = p.d->hello.last_cell;

		for (int word; (word = spawned_next(&p)) == SPAWN_ADOPT || word == SPAWN_FUNCTION;) {
			adopted += word == SPAWN_ADOPT;
			if (word == SPAWN_ADOPT)
				spawned_number(&p, SPAWN_END, p.d->cell.cell);
		}
		CHECK_LE(adopted, cells);
		/* It may go on from there. */
		spawned_make(&p, last + 1, 1, "");
		if (spawned_await(&p, SPAWN_MADE, last + 1))
			spawned_number(&p, SPAWN_END, last + 1);
		CHECK(ended(&p, last + 1));
		CHECK_EQ(spawned_stop(&p), 0);
	}
	spawned_check_clean();
}

/* ---- The death of fsbox-spawn ---- */

TEST(when_fsbox_spawn_is_killed_the_cells_end_and_the_next_start_removes_the_rest)
{
	{
		SPAWN_PEER(p);
		SPAWN_PEER(q);
		AUTO_PEER struct chan_peer c = {.pid = -1, .in = -1, .out = -1, .log = -1};
		int pidfds[10];
		struct pollfd gone;

		if (!need_root())
			SKIP("needs root");
		if (!spawned_start(&p, NULL) || !spawned_hello(&p) || !spawned_function(&p, 1, "echo"))
			return;
		for (uint64_t i = 1; i <= ARRAY_LEN(pidfds); i++)
			spawned_make(&p, i, 1, "");
		for (size_t i = 0; i < ARRAY_LEN(pidfds); i++) {
			if (!spawned_await(&p, SPAWN_MADE, 0))
				return;
			pidfds[i] = take_fd(&p.d->fds[4]);
		}
		for (uint64_t i = 11; i <= 15; i++) /* and some that are being made */
			spawned_make(&p, i, 1, "");
		CHECK_EQ(kill(p.pid, SIGKILL), 0);
		CHECK_EQ(waitpid(p.pid, NULL, 0), p.pid);
		p.pid = -1;
		if (!spawned_start(&q, NULL) || !spawned_hello(&q)) /* at once: they may be there still */
			return;
		for (size_t i = 0; i < ARRAY_LEN(pidfds); i++) {
			gone = (struct pollfd){.fd = pidfds[i], .events = POLLIN};
			CHECK_EQ(poll(&gone, 1, PEER_WAIT_MS), 1);
			(void)close(pidfds[i]);
		}
		/* What it makes itself is not swept. */
		if (!spawned_function(&q, 1, "echo"))
			return;
		spawned_make(&q, 1, 1, "");
		if (!spawned_await(&q, SPAWN_MADE, 1))
			return;
		spawned_talk(&q, &c, NULL);
		(void)poll(NULL, 0, 600);
		CHECK(spawned_ready(&c) && spawned_call(&c, 1, "1", "1"));
		spawned_number(&q, SPAWN_END, 1);
		CHECK(ended(&q, 1));
		spawned_check_swept();
		CHECK_EQ(spawned_stop(&q), 0);
	}
	spawned_check_clean();
}

/* To take a slot must not loosen the hold on those that are taken. */
TEST(who_starts_beside_it_leaves_its_cells_alone)
{
	SPAWN_PEER(p);
	SPAWN_PEER(q);
	struct chan_peer c[3];

	if (!need_root())
		SKIP("needs root");
	if (!spawned_start(&p, NULL) || !spawned_hello(&p) || !spawned_function(&p, 1, "echo"))
		return;
	for (uint64_t i = 0; i < ARRAY_LEN(c); i++) {
		spawned_make(&p, i + 1, 1, "");
		if (!made(&p, i + 1, &c[i], NULL))
			return;
	}
	if (spawned_start(&q, NULL) && spawned_hello(&q))
		CHECK_EQ(spawned_stop(&q), 0);
	(void)poll(NULL, 0, 400); /* and its own sweeps */
	for (size_t i = 0; i < ARRAY_LEN(c); i++) {
		CHECK(spawned_call(&c[i], 1, "1", "1"));
		chan_peer_done(&c[i]);
	}
}

TEST(sigterm_ends_everything_in_good_order)
{
	{
		SPAWN_PEER(p);

		if (!need_root())
			SKIP("needs root");
		if (!spawned_start(&p, NULL) || !spawned_hello(&p) || !spawned_function(&p, 1, "echo"))
			return;
		for (uint64_t i = 1; i <= 5; i++)
			spawned_make(&p, i, 1, "");
		if (!spawned_await(&p, SPAWN_MADE, 0))
			return;
		CHECK_EQ(spawned_stop(&p), 0);
		CHECK_EQ(access(p.socket, F_OK), -1);
	}
	spawned_check_clean();
}

/* ---- How fast ---- */

enum { AT_ONCE = 4, MEASURE_MS = 3000 };

TEST(cold_starts_in_a_second)
{
	SPAWN_PEER(p);
	uint64_t next = 1, begin, now, build_ns = 0, n = 0;

	if (!need_root())
		SKIP("needs root");
	if (!spawned_start(&p, NULL) || !spawned_hello(&p) || !spawned_function(&p, 1, "echo"))
		return;
	begin = now = clock_mono_ns();
	for (int i = 0; i < AT_ONCE; i++)
		spawned_make(&p, next++, 1, "");
	/* Each begins, is ready, answers a call and ends; then the next one begins. */
	for (uint64_t done = 0; done < next - 1;) {
		AUTO_PEER struct chan_peer c = {.pid = -1, .in = -1, .out = -1, .log = -1};
		const int word = spawned_next(&p);
		uint64_t cell;

		now = clock_mono_ns();
		if (word == SPAWN_MADE) {
			cell = p.d->cell.cell;
			build_ns += p.d->cell.exec_ns - p.d->cell.begin_ns;
			spawned_talk(&p, &c, NULL);
			if (!spawned_ready(&c) || !spawned_call(&c, 1, "1", "1"))
				return;
			n++;
			spawned_number(&p, SPAWN_END, cell);
			if (now - begin < MEASURE_MS * NS_PER_MS)
				spawned_make(&p, next++, 1, "");
		} else if (word == SPAWN_ENDED) {
			CHECK_EQ(p.d->exit.err.kind, ERR_NONE);
			done++;
		} else if (!CHECK_EQ(word, SPAWN_EXITED)) {
			return;
		}
	}
	tap_note("%.0f cold starts/s with a call each, %d at once; %.2f ms from MAKE to exec",
		 (double)n * 1e9 / (double)(now - begin), AT_ONCE, (double)build_ns / (double)n / 1e6);
	CHECK_GT(n, 10);
}
