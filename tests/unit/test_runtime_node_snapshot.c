/* The runtime for Node.js functions before a snapshot and after a restore, without CRIU, and under filters. That clones of
 * one image draw different values is tested with CRIU: tests/system/run_node. time-limit: 240 */
#include "tests/lib/node_peer.h"
#include "tests/lib/tap.h"

#include <linux/audit.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static bool expect_frame(struct chan_peer *p, uint16_t type, struct chan_peer_frame *ret)
{
	bool ok = CHECK_EQ(chan_peer_next(p, ret), 1) && CHECK_EQ(ret->head.type, type);

	if (!ok)
		tap_note("  %s", chan_peer_log(p, NULL));
	return ok;
}

static bool park(struct chan_peer *p, uint32_t *ret_flags)
{
	struct chan_peer_frame f;

	if (!CHECK_EQ(node_send(p, CHAN_SNAPSHOT), 0) || !expect_frame(p, CHAN_PARKED, &f) || !CHECK_EQ(f.head.len, 4))
		return false;
	memcpy(ret_flags, f.body, 4);
	return true;
}

static bool restore(struct chan_peer *p, uint32_t flags, struct chan_restored *ret)
{
	static const char env[] = "AWS_LAMBDA_LOG_STREAM_NAME=of the clone\0COLOUR=r\xc3\xb6t";
	struct chan_peer_frame f;

	if (!CHECK_EQ(node_send_restore(p, flags, 1024, env, sizeof env), 0) || !expect_frame(p, CHAN_RESTORED, &f))
		return false;
	memcpy(ret, f.body, sizeof *ret);
	return true;
}

static const char *const snap_start[] = {"AWS_LAMBDA_INITIALIZATION_TYPE=snap-start", "KEPT=kept", "COLOUR=old", NULL};

TEST(hooks_run_backwards_before_a_snapshot_and_forwards_after_a_restore)
{
	struct chan_restored times;
	uint32_t flags;
	CHAN_PEER(p);

	NEED_NODE();
	REQUIRE(node_ready(&p, "hooks.handler", snap_start));
	REQUIRE(park(&p, &flags));
	CHECK_EQ(flags, 0);
	REQUIRE(restore(&p, 0, &times));
	CHECK_GT(times.reseed_ns, 0);
	CHECK_GT(times.hooks_ns, 5000000); /* one of them sleeps for 10 ms */
	CHECK_LT(times.reseed_ns + times.hooks_ns, UINT64_C(10000000000));
	CHECK(call_and_expect(&p, 1, "{}",
			      "[\"before 3\",\"before 2\",\"before 1\",\"after 1\",\"after 2\",\"r\xc3\xb6t kept\","
			      "\"1024\",\"of the clone\"]"));
	CHECK_STREQ(chan_peer_log(&p, NULL), "");
}

TEST(a_cell_that_is_never_dumped_runs_no_hook)
{
	CHAN_PEER(p);

	NEED_NODE();
	REQUIRE(node_ready(&p, "hooks.handler", NULL));
	CHECK(call_and_expect(&p, 1, "{}", "[\"512\",null]"));
	CHECK_EQ(node_send(&p, CHAN_SHUTDOWN), 0);
	expect_exit(&p, 0);
}

TEST(the_module_and_the_global_are_the_same)
{
	NEED_NODE();
	CHECK(node_answers("hooks.same", "{}", "true"));
	CHECK(node_answers("hooks.refuses", "{}", "\"TypeError\""));
}

TEST(a_hook_that_fails_or_never_ends_is_an_init_error)
{
	/* clang-format off */
	static const struct { const char *variable, *type, *text; bool after; } cases[] = {
		{ "HOOK=before 2 throws",   "Runtime.BeforeSnapshotError", "RangeError: asked to", false },
		{ "HOOK=before 1 is stuck", "Runtime.BeforeSnapshotError", "a hook waits for", false },
		{ "HOOK=after 1 throws",    "Runtime.AfterRestoreError",   "RangeError: asked to", true },
		{ "HOOK=after 2 is stuck",  "Runtime.AfterRestoreError",   "a hook waits for", true },
	};
	/* clang-format on */

	NEED_NODE();
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const char *extra[] = {cases[i].variable, NULL};
		uint32_t flags;
		CHAN_PEER(p);

		REQUIRE(node_ready(&p, "hooks.handler", extra));
		if (cases[i].after)
			REQUIRE(park(&p, &flags) && node_send_restore(&p, 0, 128, NULL, 0) == 0);
		else
			REQUIRE(node_send(&p, CHAN_SNAPSHOT) == 0);
		CHECK(NODE_EXPECT_ERROR(&p, CHAN_INIT_ERROR, cases[i].type, cases[i].text));
		expect_exit(&p, 1);
	}
}

TEST(a_call_to_a_parked_process_is_refused_and_an_end_is_not)
{
	uint32_t flags;
	CHAN_PEER(p);
	CHAN_PEER(q);

	NEED_NODE();
	REQUIRE(node_ready(&p, "hooks.handler", snap_start) && park(&p, &flags) && call_text(&p, 1, "{}"));
	expect_exit(&p, 1);
	CHECK_CONTAINS(chan_peer_log(&p, NULL), "out of place");
	REQUIRE(node_ready(&q, "hooks.handler", snap_start) && park(&q, &flags));
	chan_peer_hang_up(&q);
	expect_exit(&q, 0);
}

TEST(frames_out_of_their_order_end_it)
{
	/* clang-format off */
	static const uint16_t orders[][2] = {
		{ CHAN_SNAPSHOT, CHAN_SNAPSHOT }, { CHAN_SNAPSHOT, CHAN_DRAW }, { CHAN_CALL, CHAN_SNAPSHOT },
		{ CHAN_CALL, CHAN_RESTORE }, { CHAN_CALL, CHAN_DRAW }, { CHAN_RESTORE, CHAN_RESTORE },
		{ CHAN_RESTORE, CHAN_SNAPSHOT },
	};
	/* clang-format on */

	NEED_NODE();
	for (size_t i = 0; i < sizeof orders / sizeof orders[0]; i++) {
		struct chan_peer_frame f;
		CHAN_PEER(p);

		REQUIRE(node_ready(&p, "hooks.handler", NULL));
		for (size_t k = 0; k < 2; k++) {
			int r = orders[i][k] == CHAN_CALL      ? chan_peer_call(&p, 1, "{}", 2)
				: orders[i][k] == CHAN_RESTORE ? node_send_restore(&p, 0, 128, NULL, 0)
							       : node_send(&p, orders[i][k]);

			CHECK_EQ(r, 0);
			if (k == 0)
				CHECK_EQ(chan_peer_next(&p, &f), 1);
			if (k == 0 && f.head.type == CHAN_DATA)
				CHECK(expect_done(&p, 1));
		}
		expect_exit(&p, 1);
		CHECK_CONTAINS(chan_peer_log(&p, NULL), "fsbox: the channel: ");
	}
}

TEST(a_worker_that_runs_at_the_snapshot_is_told_to_the_host)
{
	static const char *const ended[] = {"AWS_LAMBDA_INITIALIZATION_TYPE=snap-start", "END=1", NULL};
	uint32_t flags;
	CHAN_PEER(p);
	CHAN_PEER(q);

	NEED_NODE();
	REQUIRE(node_ready(&p, "worker.handler", snap_start) && park(&p, &flags));
	CHECK_EQ(flags, CHAN_NOT_RESEEDED);
	REQUIRE(node_ready(&q, "worker.handler", ended) && park(&q, &flags));
	CHECK_EQ(flags, 0);
}

/* The values of a DRAW, by name. */
static bool drawn(const struct chan_peer_frame *f, const char *name, uint8_t *ret_value, size_t *ret_len)
{
	struct chan_drawn_view v;

	for (size_t at = 0; chan_drawn_next(f->body, f->head.len, &at, &v) == 1;) {
		if (v.name_len != strlen(name) || memcmp(v.name, name, v.name_len) != 0)
			continue;
		memcpy(ret_value, v.value, v.value_len);
		*ret_len = v.value_len;
		return true;
	}
	return false;
}

TEST(every_source_is_drawn_from_and_kept_seeds_are_left_out)
{
	static const char *const names[] = {"node-Math.random",
					    "node-randomUUID",
					    "node-randomInt",
					    "node-randomBytes",
					    "node-getRandomValues",
					    "RAND_bytes",
					    "rand"};
	uint8_t first[32], second[32];
	struct chan_restored times;
	struct chan_peer_frame f;
	size_t len;
	uint32_t flags;
	CHAN_PEER(p);
	CHAN_PEER(q);
	CHAN_PEER(kept);

	NEED_NODE();
	REQUIRE(node_ready(&p, "hooks.handler", snap_start) && park(&p, &flags) && restore(&p, 0, &times));
	REQUIRE(node_ready(&q, "hooks.handler", snap_start) && park(&q, &flags) && restore(&q, 0, &times));
	REQUIRE(node_send(&p, CHAN_DRAW) == 0 && node_send(&q, CHAN_DRAW) == 0);
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		if (i == 0)
			REQUIRE(expect_frame(&p, CHAN_DRAWN, &f));
		CHECK(drawn(&f, names[i], first, &len));
	}
	REQUIRE(drawn(&f, "node-Math.random", first, &len) && expect_frame(&q, CHAN_DRAWN, &f));
	REQUIRE(drawn(&f, "node-Math.random", second, &len));
	CHECK_EQ(len, 32);
	CHECK(memcmp(first, second, 32) != 0);
	REQUIRE(node_ready(&kept, "hooks.handler", snap_start) && park(&kept, &flags));
	REQUIRE(restore(&kept, CHAN_KEEP_SEEDS, &times) && node_send(&kept, CHAN_DRAW) == 0);
	REQUIRE(expect_frame(&kept, CHAN_DRAWN, &f));
	CHECK(!drawn(&f, "node-Math.random", first, &len));
	CHECK(drawn(&f, "node-randomUUID", first, &len));
}

/* ---- Filters ---- */

TEST(a_call_that_a_filter_refuses_is_named_and_ends_the_process)
{
	static const int refused[] = {SYS_getppid};
	struct chan_peer_frame f;
	struct chan_fault fault;
	int status;
	CHAN_PEER(p);

	NEED_NODE();
	REQUIRE(node_ready(&p, "world.ppid", NULL));
	REQUIRE(runtime_send_filter(&p, refused, 1, SECCOMP_RET_TRAP, SECCOMP_RET_ALLOW) == 0);
	REQUIRE(call_text(&p, 7, "{}") && expect_frame(&p, CHAN_FAULT, &f));
	memcpy(&fault, f.body, sizeof fault);
	CHECK_EQ(f.head.call, 7);
	CHECK_EQ(fault.nr, SYS_getppid);
	status = chan_peer_wait(&p);
	CHECK(WIFSIGNALED(status));
	CHECK_EQ(WTERMSIG(status), SIGSYS);
}

/* A refused call is told by its number. */
static bool expect_done_or_fault(struct chan_peer *p, uint64_t number, const char *answer)
{
	struct chan_peer_frame f;
	struct chan_fault fault;

	if (!CHECK_EQ(chan_peer_next(p, &f), 1)) {
		tap_note("  wait status 0x%x: %s", (unsigned)chan_peer_wait(p), chan_peer_log(p, NULL));
		return false;
	}
	if (f.head.type == CHAN_FAULT) {
		memcpy(&fault, f.body, sizeof fault);
		tap_note("  system call %d is refused", fault.nr);
	}
	return CHECK_EQ(f.head.type, CHAN_DATA) && CHECK_EQ(f.head.len, strlen(answer)) &&
	       CHECK_MEMEQ(f.body, answer, strlen(answer)) && expect_done(p, number);
}

/* What strict policies must leave to Node besides what docs/channel.md has for every runtime: rseq and set_robust_list
 * are of threads that were made before and have not run yet, openat to sched_getscheduler of Node 24, which looks at the
 * processors. io_uring no cell has, but Node 22 and newer have it here. */
TEST(a_filter_leaves_it_what_it_needs)
{
	/* clang-format off */
	static const int more[] = {
		SYS_epoll_pwait, SYS_epoll_wait, SYS_epoll_ctl, SYS_mprotect, SYS_madvise, SYS_sched_yield, SYS_munmap,
		SYS_clock_nanosleep, SYS_nanosleep, SYS_close, SYS_exit, SYS_rseq,
		SYS_set_robust_list, SYS_openat, SYS_fstat, SYS_newfstatat,
		SYS_sched_getaffinity, SYS_sched_getparam, SYS_sched_getscheduler, SYS_io_uring_enter,
	};
	/* clang-format on */
	int allowed[RUNTIME_NEEDED + sizeof more / sizeof more[0]];
	static const char *const extra[] = {"MALLOC_ARENA_MAX=1", NULL}; /* as in a cell */
	CHAN_PEER(p);

	NEED_NODE();
	memcpy(allowed, runtime_needed, sizeof runtime_needed);
	memcpy(allowed + RUNTIME_NEEDED, more, sizeof more);
	REQUIRE(node_ready(&p, "world.works", extra));
	REQUIRE(runtime_send_filter(&p, allowed, sizeof allowed / sizeof allowed[0], SECCOMP_RET_ALLOW,
				    SECCOMP_RET_TRAP) == 0);
	for (uint64_t i = 1; i <= 5; i++)
		REQUIRE(call_text(&p, i, "{}") && expect_done_or_fault(&p, i, "300000"));
}

TEST(a_filter_that_cannot_be_installed_is_an_init_error)
{
	static const struct {
		struct chan_head head;
		uint64_t insn;
	} bad = {{.len = 8, .type = CHAN_FILTER}, UINT64_MAX};
	CHAN_PEER(p);

	NEED_NODE();
	REQUIRE(node_ready(&p, "world.ppid", NULL) && chan_peer_send(&p, &bad, sizeof bad) == 0);
	CHECK(NODE_EXPECT_ERROR(&p, CHAN_INIT_ERROR, "Runtime.InitError", "filter cannot be installed: EINVAL"));
	expect_exit(&p, 1);
}
