/* The store when something goes wrong in the middle: whoever changes it is killed before each of his system calls, each of
 * them fails, and others do the same at the same time. What a later process finds is a whole snapshot or none.
 * time-limit: 300 */
#include "base/fd.h"
#include "base/mem.h"
#include "snapshot/store.h"
#include "tests/lib/interrupt.h"
#include "tests/lib/snapshots.h"
#include "tests/lib/tap.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { STEPS_MAX = 400 };

static struct shots s;
static char reason[REASON_SIZE], id[SNAP_ID_LEN + 1];
static struct err child_error; /* shared with the child by the pipe below */
static int report[2];

/* What a child does: its error, if any, goes through the pipe. */
static int do_make(void *arg)
{
	struct err e = {0};
	int r = shots_make(&s, NULL, &e);

	(void)arg;
	if (r < 0 && write(report[1], &e, sizeof e) != (ssize_t)sizeof e)
		return 3;
	return r < 0 ? 1 : 0;
}

static int do_remove(void *arg)
{
	struct err e = {0};

	(void)arg;
	return snap_remove(&s.st, id, &e) < 0 ? 1 : 0;
}

static int do_gc(void *arg)
{
	struct err e = {0};

	(void)arg;
	return snap_gc(&s.st, 0, 0, NULL, NULL, &e) < 0 ? 1 : 0;
}

static int do_find(void *arg)
{
	struct err e = {0};
	int r = shots_find(&s, reason, &e);

	(void)arg;
	if (r < 0 && write(report[1], &e, sizeof e) != (ssize_t)sizeof e)
		return 3;
	return r < 0 ? 2 : r;
}

/* A hit, and then every digest is right; or a miss. True for a hit. */
static bool check_whole_or_none(unsigned step)
{
	struct err e = {0};
	int r = shots_find(&s, reason, &e);

	if (r == 1)
		r = snap_verify(&s.st, id, &e) == 0 ? 1 : -1;
	if (!CHECK_GE(r, 0))
		tap_note("  at step %u: %s", step, e.msg);
	return r == 1;
}

static void check_repaired(unsigned step)
{
	struct err e = {0};

	CHECK_OK(snap_gc(&s.st, 0, UINT64_MAX, NULL, NULL, &e), &e);
	if (!CHECK_EQ(shots_count(&s, "", "."), 0) || !CHECK_EQ(shots_count(&s, "index", "."), 0) ||
	    !CHECK_EQ(shots_count(&s, "last", "."), 0))
		tap_note("  at step %u", step);
}

/* Code that has its id already, so that the children and the parent agree on it. */
static void setup(void)
{
	struct snap_key k;
	struct err e = {0};

	shots_setup(&s, shots_memory());
	CHECK(pipe2(report, O_CLOEXEC | O_NONBLOCK) == 0);
	shots_key(&s, &k);
	CHECK_OK(snap_key_fix(&k, &e), &e);
	memcpy(id, k.id, sizeof id);
	snap_key_done(&k);
}

static void teardown(void)
{
	(void)close(report[0]);
	(void)close(report[1]);
	shots_teardown(&s);
}

static bool take_report(void)
{
	child_error = (struct err){0};
	return read(report[0], &child_error, sizeof child_error) == (ssize_t)sizeof child_error;
}

/* Runs @fn to its @step-th call; false when there are not so many. */
static bool interrupted(int (*fn)(void *), enum interrupt_set set, unsigned step, int error, int *ret_status)
{
	enum interrupt_end end = interrupt_run(fn, NULL, set, step, error, ret_status);

	if (end == INTERRUPT_IMPOSSIBLE)
		tap.skipped = "no process may be traced here";
	return end == INTERRUPT_REACHED;
}

/* ---- Killed ---- */

TEST(a_commit_killed_at_any_step_leaves_a_snapshot_or_none)
{
	unsigned step = 1, hits = 0;
	struct err e = {0};
	int status;

	setup();
	for (; interrupted(do_make, INTERRUPT_CHANGES, step, 0, &status) && step < STEPS_MAX; step++) {
		bool hit = check_whole_or_none(step);

		hits += hit;
		CHECK_EQ(hit, hits > 0); /* once it is there it stays, at later steps */
		check_repaired(step);
		CHECK_EQ(shots_count(&s, "", id), hit);
		if (hit)
			CHECK_OK(snap_remove(&s.st, id, &e), &e);
		hits = hit ? 1 : hits;
	}
	if (!tap.skipped) {
		CHECK_EQ(status, 0);
		CHECK_GT(step, 20);
		CHECK_EQ(hits, 1);
		tap_note("%u steps", step);
	}
	teardown();
}

TEST(a_commit_killed_over_an_older_one_leaves_the_old_or_the_new)
{
	unsigned step = 1;
	struct err e = {0};
	int status;

	setup();
	CHECK_OK(shots_make(&s, NULL, &e), &e);
	for (; interrupted(do_make, INTERRUPT_CHANGES, step, 0, &status) && step < STEPS_MAX; step++) {
		CHECK(check_whole_or_none(step));
		check_repaired(step);
	}
	if (!tap.skipped)
		CHECK_GT(step, 20);
	teardown();
}

TEST(a_removal_killed_at_any_step_leaves_a_snapshot_or_none)
{
	int (*const ways[])(void *) = {do_remove, do_gc};
	struct err e = {0};
	int status;

	setup();
	for (size_t i = 0; i < ARRAY_LEN(ways) && !tap.skipped; i++) {
		unsigned step = 1;

		for (; step < STEPS_MAX; step++) {
			CHECK_OK(shots_make(&s, NULL, &e), &e);
			if (!interrupted(ways[i], INTERRUPT_CHANGES, step, 0, &status))
				break;
			(void)check_whole_or_none(step);
			check_repaired(step);
		}
		if (!tap.skipped) {
			CHECK_EQ(status, 0);
			CHECK_GT(step, 7);
		}
	}
	teardown();
}

TEST(a_draft_of_a_dead_process_is_swept_by_the_next)
{
	unsigned left = 0;
	struct err e = {0};
	int status;

	setup();
	for (unsigned step = 4; step < 8 && interrupted(do_make, INTERRUPT_CHANGES, step, 0, &status); step++) {
		left += (unsigned)shots_count(&s, "", ".new-");
		CHECK_OK(shots_make(&s, NULL, &e), &e);
		CHECK_EQ(shots_count(&s, "", "."), 0);
		CHECK_OK(snap_remove(&s.st, id, &e), &e);
	}
	if (!tap.skipped)
		CHECK_EQ(left, 4);
	teardown();
}

/* ---- Failing ---- */

/* @over: there is an older one. */
static void each_call_fails(int error, bool over)
{
	unsigned failures = 0, step = 1;
	struct err e = {0};
	int status;

	setup();
	if (over)
		CHECK_OK(shots_make(&s, NULL, &e), &e);
	for (; interrupted(do_make, INTERRUPT_ALL, step, error, &status) && step < STEPS_MAX; step++) {
		bool told = take_report(), hit = check_whole_or_none(step);

		if (!CHECK(status == 0 || status == 1) || !CHECK_EQ(status == 1, told))
			tap_note("  at step %u: status %d", step, status);
		if ((status == 0 || over) && !CHECK(hit))
			tap_note("  at step %u: there is none", step);
		if (told && !CHECK(child_error.kind != ERR_NONE && child_error.msg[0]))
			tap_note("  at step %u", step);
		if (told && !CHECK(strchr(child_error.msg, '\'') || strstr(child_error.msg, "/proc/")))
			tap_note("  at step %u no file is named: %s", step, child_error.msg);
		failures += told;
		check_repaired(step);
		if (hit && !over)
			CHECK_OK(snap_remove(&s.st, id, &e), &e);
	}
	if (!tap.skipped) {
		CHECK_GT(failures, 20);
		tap_note("%u of %u calls were fatal", failures, step);
	}
	teardown();
}

TEST(on_a_full_disk_the_error_names_the_file_and_nothing_half_is_found)
{
	each_call_fails(ENOSPC, false);
}

TEST(when_the_disk_fails_the_error_names_the_file_and_nothing_half_is_found)
{
	each_call_fails(EIO, false);
}

/* Among them EINVAL of renameat2(2), as where it knows no exchange. */
TEST(an_older_snapshot_survives_whatever_fails)
{
	each_call_fails(EINVAL, true);
}

TEST(a_lookup_on_a_failing_disk_is_an_error_or_a_miss_or_right)
{
	struct err e = {0};
	int status;

	setup();
	CHECK_OK(shots_make(&s, NULL, &e), &e);
	for (unsigned step = 1; interrupted(do_find, INTERRUPT_ALL, step, EIO, &status) && step < STEPS_MAX; step++) {
		bool told = take_report();

		CHECK(status >= 0 && status <= 2);
		if (told && !CHECK(child_error.kind != ERR_SNAPSHOT_MISMATCH || strchr(child_error.msg, '\'')))
			tap_note("  at step %u: %s", step, child_error.msg);
		CHECK(check_whole_or_none(step)); /* and nothing was spoilt by it */
	}
	teardown();
}

/* ---- At the same time ---- */

static void reap(pid_t *pids, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int status;

		CHECK(waitpid(pids[i], &status, 0) == pids[i] && WIFEXITED(status));
		CHECK_EQ(WEXITSTATUS(status), 0);
	}
}

/* Ends with the number of the first thing that went wrong. */
static int make_and_read(unsigned rounds)
{
	for (unsigned i = 0; i < rounds; i++) {
		struct err e = {0};
		struct snap_draft d;
		struct snap_key k;
		struct snap made;
		char text[32];

		if (shots_draft(&s, 5000, &d, &e) < 0)
			return 2;
		shots_key(&s, &k);
		if (snap_draft_commit(&d, &k, &made, &e) < 0)
			return 3;
		if (fd_read_file_at(made.images, "core-1.img", text, sizeof text) != 4)
			return 4;
		for (int looks = 0; looks < 20; looks++) /* it is in use, so nobody removes it */
			if (faccessat(made.images, "pages-1.img", F_OK, 0) < 0)
				return 5;
		snap_close(&made);
		snap_draft_abort(&d);
		snap_key_done(&k);
	}
	return 0;
}

static int make_and_find(unsigned rounds)
{
	for (unsigned i = 0; i < rounds; i++) {
		struct err e = {0};

		if (make_and_read(1) != 0)
			return 2;
		if (shots_find(&s, reason, &e) != 1)
			return 3;
	}
	return 0;
}

TEST(eight_processes_commit_the_same_snapshot_at_once)
{
	pid_t pids[8];
	struct err e = {0};

	setup();
	for (size_t i = 0; i < ARRAY_LEN(pids); i++) {
		pids[i] = fork();
		if (pids[i] == 0)
			_exit(make_and_find(10));
	}
	reap(pids, ARRAY_LEN(pids));
	CHECK_OK(snap_verify(&s.st, id, &e), &e);
	CHECK_OK(snap_gc(&s.st, 0, UINT64_MAX, NULL, NULL, &e), &e);
	CHECK_EQ(shots_count(&s, "", "."), 0);
	CHECK_EQ(shots_count(&s, "", id), 1);
	teardown();
}

/* Whatever the others do: what is open stays whole. */
static int find_and_read(unsigned rounds)
{
	for (unsigned i = 0; i < rounds; i++) {
		struct err e = {0};
		struct snap_key k;
		struct snap found;
		char text[32];
		int r;

		shots_key(&s, &k);
		r = snap_find(&s.st, &k, &found, reason, sizeof reason, &e);
		snap_key_done(&k);
		if (r < 0)
			return 2;
		if (r == 1) {
			if (fd_read_file_at(found.images, "core-1.img", text, sizeof text) != 4)
				return 3;
			snap_close(&found);
		}
	}
	return 0;
}

static int remove_again_and_again(unsigned rounds)
{
	for (unsigned i = 0; i < rounds; i++) {
		struct err e = {0};

		if (i % 2 ? snap_remove(&s.st, id, &e) < 0 && e.kind != ERR_BUSY && e.kind != ERR_NOT_FOUND
			  : snap_gc(&s.st, 0, 0, NULL, NULL, &e) < 0)
			return 2;
	}
	return 0;
}

TEST(makers_finders_and_removers_do_not_disturb_each_other)
{
	int (*const roles[])(unsigned) = {make_and_read, make_and_read,          find_and_read,
					  find_and_read, remove_again_and_again, remove_again_and_again};
	pid_t pids[ARRAY_LEN(roles)];
	struct err e = {0};

	setup();
	for (size_t i = 0; i < ARRAY_LEN(roles); i++) {
		pids[i] = fork();
		if (pids[i] == 0)
			_exit(roles[i](60));
	}
	reap(pids, ARRAY_LEN(pids));
	CHECK_OK(snap_gc(&s.st, 0, 0, NULL, NULL, &e), &e);
	CHECK_EQ(shots_count(&s, "", "."), 0);
	CHECK_EQ(shots_count(&s, "", id), 0);
	teardown();
}
