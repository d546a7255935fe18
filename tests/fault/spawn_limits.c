/* A smaller limit for a cell, whose write the kernel does not let return: others are served meanwhile, and it is given up.
 * Built with VARIANT=fault; see sandbox/spawn/limits.c. */
#include "tests/lib/spawn_peer.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/str.h"
#include "tests/lib/tap.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

enum { CELL = 1, PLACES = 16, LEAST = 48 << 20, LESS = 64 << 20 };

static bool start(struct spawn_peer *p)
{
	(void)setenv("FSBOX_FAULT", "reclaim", 1);
	bool ok = spawned_start(p, NULL);
	(void)unsetenv("FSBOX_FAULT");
	if (!ok || !spawned_hello(p) || !spawned_function(p, 1, "echo"))
		return false;
	spawned_make(p, CELL, 1, "");
	return spawned_expect(p, SPAWN_MADE) && p->d->cell.memory_bytes > LESS;
}

static void limit(struct spawn_peer *p, uint64_t cell, uint64_t memory_bytes)
{
	struct spawn_limits m;

	spawn_begin(&m, SPAWN_LIMITS, sizeof m);
	m.cell = cell;
	m.memory_bytes = memory_bytes;
	spawned_send(p, &m);
}

static bool is_stopped(int pid)
{
	char name[40], text[512];
	const char *at;

	(void)snprintf(name, sizeof name, "/proc/%d/stat", pid);
	at = fd_read_file_at(AT_FDCWD, name, text, sizeof text) > 0 ? strrchr(text, ')') : NULL;
	return at && at[2] == 'T';
}

/* The child of fsbox-spawn that is stopped: the one that writes. */
static int writer(const struct spawn_peer *p)
{
	char name[64], text[4096];

	(void)snprintf(name, sizeof name, "/proc/%d/task/%d/children", p->pid, p->pid);
	for (int tries = 0; tries < 1000; tries++, (void)usleep(5000)) {
		if (fd_read_file_at(AT_FDCWD, name, text, sizeof text) <= 0)
			continue;
		for (char *at = text, *word; (word = strsep(&at, " "));) {
			uint64_t pid;

			if (parse_u64(word, 1, INT_MAX, &pid) && is_stopped((int)pid))
				return (int)pid;
		}
	}
	return 0;
}

/* The limit that ADOPT tells a new fsboxd of. */
static uint64_t adopted_limit(struct spawn_peer *p)
{
	spawned_kill_daemon(p);
	if (!spawned_accept(p) || !spawned_await(p, SPAWN_ADOPT, 0))
		return 0;
	return p->d->cell.memory_bytes;
}

static void serve_others(void)
{
	SPAWN_PEER(p);
	int pid;

	if (!start(&p))
		return;
	limit(&p, CELL, LESS);
	pid = writer(&p);
	if (!CHECK(pid > 0))
		return;
	/* Nothing comes of it, and all else goes on: a cell, its limits, more for it, its end. */
	spawned_make(&p, 2, 1, "");
	if (!spawned_expect(&p, SPAWN_MADE))
		return;
	limit(&p, 2, (uint64_t)256 << 20);
	if (spawned_expect(&p, SPAWN_DONE)) {
		CHECK_EQ(p.d->done.number, 2);
		CHECK_EQ(p.d->done.err.kind, ERR_NONE);
	}
	limit(&p, CELL, LEAST);
	if (spawned_expect(&p, SPAWN_DONE)) {
		CHECK_EQ(p.d->done.number, CELL);
		CHECK_EQ(p.d->done.err.kind, ERR_BUSY);
	}
	spawned_number(&p, SPAWN_END, 2);
	if (!spawned_expect(&p, SPAWN_ENDED))
		return;
	(void)kill(pid, SIGCONT);
	if (spawned_expect(&p, SPAWN_DONE)) {
		CHECK_EQ(p.d->done.number, CELL);
		CHECK_EQ(p.d->done.err.kind, ERR_NONE);
	}
	CHECK_EQ(adopted_limit(&p), LESS);
	CHECK_EQ(spawned_stop(&p), 0);
}

/* More cells than there are places: who waits for one does not wait longer than they do. */
static void wait_for_end(void)
{
	SPAWN_PEER(p);
	uint64_t was;
	uint64_t began, first = 0;

	if (!start(&p))
		return;
	was = p.d->cell.memory_bytes;
	for (uint64_t cell = CELL + 1; cell <= PLACES + 1; cell++) {
		spawned_make(&p, cell, 1, "");
		if (!spawned_expect(&p, SPAWN_MADE))
			return;
	}
	began = clock_mono_ns();
	for (uint64_t cell = CELL; cell <= PLACES + 1; cell++)
		limit(&p, cell, LESS);
	if (!CHECK(writer(&p) > 0))
		return;
	for (int i = 0; i <= PLACES && spawned_expect(&p, SPAWN_DONE); i++) { /* after ten seconds */
		CHECK_EQ(p.d->done.err.kind, ERR_BUSY);
		if (i == 0)
			first = clock_mono_ns() - began;
	}
	CHECK(clock_mono_ns() - began < first + first / 2);
	CHECK_EQ(adopted_limit(&p), was);
	CHECK_EQ(spawned_stop(&p), 0);
}

static void end_others(void)
{
	SPAWN_PEER(p);
	uint64_t was;
	int pid;

	if (!start(&p))
		return;
	was = p.d->cell.memory_bytes;
	limit(&p, CELL, LESS);
	pid = writer(&p);
	if (!CHECK(pid > 0))
		return;
	CHECK_EQ(adopted_limit(&p), was);
	CHECK(kill(pid, 0) < 0 || !is_stopped(pid));
	if (!spawned_await(&p, SPAWN_ADOPTED, 0))
		return;
	limit(&p, CELL, LESS);
	if (!CHECK(writer(&p) > 0))
		return;
	spawned_number(&p, SPAWN_END, CELL);
	if (spawned_expect(&p, SPAWN_DONE))
		CHECK_EQ(p.d->done.err.kind, ERR_NOT_FOUND);
	if (!spawned_expect(&p, SPAWN_ENDED))
		return;
	CHECK_EQ(p.d->exit.err.kind, ERR_NONE);
	CHECK_EQ(spawned_stop(&p), 0);
}

TEST(others_are_served_while_the_kernel_reclaims)
{
	if (geteuid() != 0)
		SKIP("needs root");
	serve_others();
	spawned_check_clean();
}

TEST(a_reclaim_without_end_is_given_up_and_changes_nothing)
{
	if (geteuid() != 0)
		SKIP("needs root");
	wait_for_end();
	spawned_check_clean();
}

TEST(a_reclaim_ends_with_its_fsboxd_or_its_cell)
{
	if (geteuid() != 0)
		SKIP("needs root");
	end_others();
	spawned_check_clean();
}
