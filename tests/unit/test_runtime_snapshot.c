/* The runtime for shared objects before a snapshot and after a restore, without CRIU: hooks, environment, reseeding.
 *
 * That reseeding makes a difference is shown with twins (tests/functions/twin.h): two processes with the same memory and
 * the same pid, which is what a library in a restored process sees. */
#include "tests/lib/runtime_peer.h"
#include "tests/lib/tap.h"

#include <fcntl.h>
#include <linux/seccomp.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int send_empty(struct chan_peer *p, uint16_t type)
{
	const struct chan_head h = {.type = type};

	return chan_peer_send(p, &h, sizeof h);
}

/* @env: strings one behind the other. */
static int send_restore(struct chan_peer *p, struct chan_restore r, const char *env, size_t env_len)
{
	struct {
		struct chan_head head;
		struct chan_restore restore;
		char env[512];
	} f = {.head = {.type = CHAN_RESTORE, .len = (uint32_t)(sizeof r + env_len)}};

	r.env_len = (uint32_t)env_len;
	f.restore = r;
	if (env_len)
		memcpy(f.env, env, env_len);
	return chan_peer_send(p, &f, sizeof f.head + f.head.len);
}

static const struct chan_restore restore = {
	.random = {200, 1, [63] = 7},
	.generation = 3,
	.wall_ns = INT64_C(1800000000123456789),
	.elapsed_ns = 86400000000001,
	.memory_mb = 1024,
	.clone_id = "00c0ffee1234",
};

static bool expect_frame(struct chan_peer *p, uint16_t type, struct chan_peer_frame *ret)
{
	return CHECK_EQ(chan_peer_next(p, ret), 1) && CHECK_EQ(ret->head.type, type);
}

static bool park(struct chan_peer *p)
{
	struct chan_peer_frame f;

	return CHECK_EQ(send_empty(p, CHAN_SNAPSHOT), 0) && expect_frame(p, CHAN_PARKED, &f);
}

static bool restore_with(struct chan_peer *p, uint32_t flags, struct chan_restored *ret)
{
	struct chan_restore r = restore;
	struct chan_peer_frame f;

	r.flags = flags;
	if (!CHECK_EQ(send_restore(p, r, NULL, 0), 0) || !expect_frame(p, CHAN_RESTORED, &f))
		return false;
	memcpy(ret, f.body, sizeof *ret);
	return true;
}

static bool park_and_restore(struct chan_peer *p, uint32_t flags)
{
	struct chan_restored times;

	return park(p) && restore_with(p, flags, &times);
}

static bool start_hooks(struct chan_peer *p, const char *variable)
{
	const char *extra[] = {variable, NULL};
	struct chan_peer_frame f;

	return CHECK_EQ(runtime_start_with(p, 0, "hooks", extra), 0) && expect_frame(p, CHAN_READY, &f);
}

TEST(it_says_that_it_can_be_snapshotted)
{
	CHAN_PEER(p);
	struct chan_peer_frame f;
	struct chan_ready ready;

	REQUIRE(runtime_start(&p, "echo") == 0 && expect_frame(&p, CHAN_READY, &f));
	memcpy(&ready, f.body, sizeof ready);
	CHECK_EQ(ready.flags, CHAN_CAN_SNAPSHOT);
}

TEST(hooks_run_backwards_before_a_snapshot_and_forwards_after_a_restore)
{
	struct chan_restored times;
	CHAN_PEER(p);

	REQUIRE(start_hooks(&p, NULL));
	REQUIRE(park(&p));
	CHECK_STREQ(chan_peer_log(&p, NULL), "before 3\nbefore 2\nbefore 1\nits before\n");
	REQUIRE(restore_with(&p, 0, &times));
	CHECK_STREQ(chan_peer_log(&p, NULL),
		    "before 3\nbefore 2\nbefore 1\nits before\nits after\nafter 1\nafter 2\nafter 3\n");
	CHECK_GT(times.reseed_ns, 0);
	CHECK_GT(times.hooks_ns, 0);
	CHECK_LT(times.reseed_ns + times.hooks_ns, UINT64_C(10000000000));
	CHECK(call_and_expect(&p, 1, "", "-114 -114 0 0"));
}

TEST(a_cell_that_is_never_dumped_runs_no_hook)
{
	static const struct chan_head shutdown = {.type = CHAN_SHUTDOWN};
	CHAN_PEER(p);

	REQUIRE(start_hooks(&p, NULL));
	CHECK(call_and_expect(&p, 1, "", "-114 -114 0 0"));
	CHECK_EQ(chan_peer_send(&p, &shutdown, sizeof shutdown), 0);
	expect_exit(&p, 0);
	CHECK_STREQ(chan_peer_log(&p, NULL), "");
}

TEST(there_is_room_for_256_hooks_of_a_kind)
{
	CHAN_PEER(p);

	REQUIRE(start_hooks(&p, "HOOK_FILL=1"));
	REQUIRE(park_and_restore(&p, 0));
	CHECK(call_and_expect(&p, 1, "", "-114 -114 255 255"));
}

TEST(a_hook_that_fails_is_named_and_nothing_runs_after_it)
{
	/* clang-format off */
	static const struct { const char *variable, *message, *log; bool after; } cases[] = {
		{ "HOOK_FAILS=before 3",   "fsbox_on_before_snapshot hook 3 returned 7", "before 3\n", false },
		{ "HOOK_FAILS=before 1",   "fsbox_on_before_snapshot hook 1 returned 7", "before 3\nbefore 2\nbefore 1\n", false },
		{ "HOOK_FAILS=its before", "fsbox_before_snapshot returned 7", "before 3\nbefore 2\nbefore 1\nits before\n", false },
		{ "HOOK_FAILS=its after",  "fsbox_after_restore returned 7", "its after\n", true },
		{ "HOOK_FAILS=after 2",    "fsbox_on_after_restore hook 2 returned 7", "its after\nafter 1\nafter 2\n", true },
	};
	/* clang-format on */

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		CHAN_PEER(p);

		REQUIRE(start_hooks(&p, cases[i].variable));
		if (cases[i].after) {
			REQUIRE(park(&p));
			CHECK_EQ(send_restore(&p, restore, NULL, 0), 0);
		} else {
			CHECK_EQ(send_empty(&p, CHAN_SNAPSHOT), 0);
		}
		CHECK(expect_error(&p, CHAN_INIT_ERROR,
				   cases[i].after ? "Runtime.AfterRestoreError" : "Runtime.BeforeSnapshotError",
				   cases[i].message));
		expect_exit(&p, 1);
		CHECK_STREQ(chan_peer_log(&p, NULL) +
				    (cases[i].after ? strlen("before 3\nbefore 2\nbefore 1\nits before\n") : 0),
			    cases[i].log);
	}
}

TEST(a_forked_child_that_returns_from_a_hook_does_not_speak_for_the_runtime)
{
	/* clang-format off */
	static const struct { const char *variable, *says; } cases[] = {
		{ "HOOK_FORKS=before 2",   "fsbox: a forked child returned from a hook before the snapshot; it ends here" },
		{ "HOOK_FORKS=its before", "fsbox: a forked child returned from fsbox_before_snapshot(); it ends here" },
		{ "HOOK_FORKS=its after",  "fsbox: a forked child returned from fsbox_after_restore(); it ends here" },
		{ "HOOK_FORKS=after 3",    "fsbox: a forked child returned from a hook after the restore; it ends here" },
	};
	/* clang-format on */

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		CHAN_PEER(p);

		REQUIRE(start_hooks(&p, cases[i].variable));
		REQUIRE(park_and_restore(&p, 0));
		CHECK_CONTAINS(chan_peer_log(&p, NULL), cases[i].says);
		CHECK(call_and_expect(&p, 1, "", "-114 -114 0 0"));
	}
}

TEST(frames_that_come_out_of_order_end_it)
{
	/* clang-format off */
	static const struct { const char *before, refused; } cases[] = {
		{ "S", 'S' }, { "S", 'C' }, { "S", 'D' }, { "SR", 'R' }, { "SR", 'S' }, { "R", 'S' },
		{ "C", 'S' }, { "C", 'R' }, { "C", 'D' }, { "SRC", 'R' }, { "SRDC", 'D' }, { "SRDDC", 'S' },
	};
	/* clang-format on */

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct chan_peer_frame f;
		CHAN_PEER(p);

		REQUIRE(runtime_start_ready(&p, "echo"));
		for (size_t k = 0; k <= strlen(cases[i].before); k++) {
			const char what = cases[i].before[k] ? cases[i].before[k] : cases[i].refused;

			if (what == 'S')
				CHECK_EQ(send_empty(&p, CHAN_SNAPSHOT), 0);
			else if (what == 'R')
				CHECK_EQ(send_restore(&p, restore, NULL, 0), 0);
			else if (what == 'D')
				CHECK_EQ(send_empty(&p, CHAN_DRAW), 0);
			else
				CHECK(call_text(&p, 1, ""));
			if (cases[i].before[k])
				CHECK_EQ(chan_peer_next(&p, &f), 1);
		}
		expect_exit(&p, 1);
		CHECK_CONTAINS(chan_peer_log(&p, NULL), "fsbox: serving the channel: ");
	}
}

TEST(a_parked_runtime_ends_in_good_order)
{
	CHAN_PEER(p);
	CHAN_PEER(q);

	REQUIRE(runtime_start_ready(&p, "shutdown_marker") && park(&p));
	CHECK_EQ(send_empty(&p, CHAN_SHUTDOWN), 0);
	expect_exit(&p, 0);
	REQUIRE(runtime_start_ready(&q, "shutdown_marker") && park(&q));
	chan_peer_hang_up(&q);
	expect_exit(&q, 0);
}

TEST(a_restore_that_is_none_ends_it)
{
	struct chan_restore bad = restore;
	CHAN_PEER(p);

	bad.clone_id[3] = 'x';
	REQUIRE(runtime_start_ready(&p, "echo") && park(&p));
	CHECK_EQ(send_restore(&p, bad, NULL, 0), 0);
	expect_exit(&p, 1);
}

TEST(what_the_restore_says_reaches_hook_and_handler)
{
	static const char env[] = "AWS_LAMBDA_LOG_STREAM_NAME=2026/01/01/[1]abc\0AWS_LAMBDA_FUNCTION_MEMORY_SIZE=1024\0"
				  "AWS_LAMBDA_INITIALIZATION_TYPE=snap-start";
	static const char answer[] =
		"{\"generation\":3,\"cloneId\":\"00c0ffee1234\",\"randomSum\":208,\"wall\":1800000000123456789,"
		"\"elapsed\":86400000000001,\"memoryInHook\":1024,\"memory\":1024,\"name\":\"shop\","
		"\"streamInHook\":\"2026/01/01/[1]abc\",\"stream\":\"2026/01/01/[1]abc\",\"type\":\"snap-start\"";
	char want[1024];
	struct chan_peer_frame f;
	CHAN_PEER(p);

	REQUIRE(runtime_start_ready(&p, "restore_info") && park(&p));
	CHECK_EQ(send_restore(&p, restore, env, sizeof env), 0);
	REQUIRE(expect_frame(&p, CHAN_RESTORED, &f));
	(void)snprintf(want, sizeof want, "%s,\"variables\":5}", answer); /* of the three before one was replaced */
	CHECK(call_and_expect(&p, 1, "", want));
	(void)snprintf(want, sizeof want, "%s,\"set\":\"x\",\"variables\":5}", answer);
	CHECK(call_and_expect(&p, 2, "set", want));
	(void)snprintf(want, sizeof want, "%s,\"variables\":6}", answer);
	CHECK(call_and_expect(&p, 3, "", want));
}

TEST(a_restore_in_pieces_is_the_same_restore)
{
	static const char env[] = "AWS_LAMBDA_INITIALIZATION_TYPE=snap-start";
	struct {
		struct chan_head head;
		struct chan_restore restore;
		char env[sizeof env];
	} f = {.head = {.type = CHAN_RESTORE, .len = sizeof restore + sizeof env}, .restore = restore};
	struct chan_peer_frame got;
	CHAN_PEER(p);

	f.restore.env_len = sizeof env;
	memcpy(f.env, env, sizeof env);
	REQUIRE(runtime_start_ready(&p, "restore_info") && park(&p));
	for (size_t i = 0; i < sizeof f.head + f.head.len; i++)
		CHECK_EQ(chan_peer_send(&p, (const char *)&f + i, 1), 0);
	CHECK(expect_frame(&p, CHAN_RESTORED, &got));
}

/* ---- Reseeding ---- */

/* What libc gives after srandom(1) and srand48(1). */
static void expected_seeds(char *text, size_t size)
{
	long a, b, c, d;

	srandom(1);
	srand48(1);
	a = random();
	b = random();
	c = random();
	d = mrand48();
	(void)snprintf(text, size, "%ld %ld %ld %ld", a, b, c, d);
}

TEST(seeds_of_libc_are_fresh_unless_they_are_to_be_kept)
{
	char want[128], got[128], before[128] = "";
	struct chan_peer_frame f;

	expected_seeds(want, sizeof want);
	for (int i = 0; i < 4; i++) {
		CHAN_PEER(p);

		REQUIRE(runtime_start_ready(&p, "seeds") && park_and_restore(&p, i == 0 ? CHAN_KEEP_SEEDS : 0));
		if (i == 0) {
			CHECK(call_and_expect(&p, 1, "", want));
			continue;
		}
		REQUIRE(call_text(&p, 1, "") && expect_frame(&p, CHAN_DATA, &f));
		(void)snprintf(got, sizeof got, "%.*s", (int)f.head.len, (const char *)f.body);
		for (const char *w = want, *g = got; w && g; w = strchr(w + 1, ' '), g = strchr(g + 1, ' '))
			CHECK(strncmp(w, g, strcspn(w + 1, " ") + 1) != 0); /* none of them */
		CHECK_STRNE(got, before);
		memcpy(before, got, sizeof got);
	}
}

TEST(memory_that_a_child_would_not_see_is_wiped_in_the_image)
{
	CHAN_PEER(p);

	REQUIRE(runtime_start_ready(&p, "wipe"));
	REQUIRE(park_and_restore(&p, 0));
	CHECK(call_and_expect(&p, 1, "", "0 0 120"));
}

TEST(a_library_is_started_before_the_snapshot_and_seeded_once_after_it)
{
	CHAN_PEER(p);

	REQUIRE(runtime_start_ready(&p, "stir"));
	REQUIRE(park_and_restore(&p, CHAN_KEEP_SEEDS));
	CHECK(call_and_expect(&p, 1, "", "2 1 1 1"));
}

TEST(the_generators_of_all_threads_are_seeded_anew)
{
	CHAN_PEER(p);
	CHAN_PEER(q);

	REQUIRE(runtime_start_ready(&p, "rand_threads"));
	CHECK(call_and_expect(&p, 1, "", "0 0 0 0 ")); /* without a restore there is no reason to */
	REQUIRE(runtime_start_ready(&q, "rand_threads"));
	REQUIRE(park_and_restore(&q, CHAN_KEEP_SEEDS));
	CHECK(call_and_expect(&q, 1, "", "1 1 1 1 "));
}

/* A host sends the filter after the restore; were it part of the image, this is what it would have to leave. */
TEST(a_restore_needs_one_system_call_more_than_a_call)
{
	static const char env[] = "AWS_LAMBDA_INITIALIZATION_TYPE=snap-start";
	static const char *const functions[] = {"hooks", "twin_linked", "twin_static"};
	int list[RUNTIME_NEEDED + 1];

	memcpy(list, runtime_needed, sizeof runtime_needed);
	list[RUNTIME_NEEDED] = SYS_getrandom;
	for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
		struct chan_peer_frame f;
		CHAN_PEER(p);

		REQUIRE(runtime_start_ready(&p, functions[i]) && park(&p));
		CHECK_EQ(runtime_send_filter(&p, list, RUNTIME_NEEDED + 1, SECCOMP_RET_ALLOW, SECCOMP_RET_TRAP), 0);
		CHECK_EQ(send_restore(&p, restore, env, sizeof env), 0);
		CHECK(expect_frame(&p, CHAN_RESTORED, &f));
	}
}

/* ---- Twins ---- */

struct twins {
	struct chan_peer first, second;
	char dir[64];
};

static void twins_done(struct twins *t)
{
	static const char *const names[] = {"/in", "/out", ""};

	chan_peer_done(&t->first);
	chan_peer_done(&t->second);
	for (size_t i = 0; i < 3 && t->dir[0]; i++) {
		char path[96];

		(void)snprintf(path, sizeof path, "%s%s", t->dir, names[i]);
		(void)remove(path);
	}
}

static int open_fifo(const struct twins *t, const char *name)
{
	char path[96];

	(void)snprintf(path, sizeof path, "%s/%s", t->dir, name);
	return mkfifo(path, 0666) == 0 && chmod(path, 0666) == 0 ? open(path, O_RDWR | O_CLOEXEC) : -1;
}

#define TWINS(name)                                                                                              \
	__attribute__((                                                                                          \
		cleanup(twins_done))) struct twins name = {.first = {.pid = -1, .in = -1, .out = -1, .log = -1}, \
							   .second = {.pid = -1, .in = -1, .out = -1, .log = -1}}

/* Both are ready then. */
static bool twins_start(struct twins *t, const char *function)
{
	char variable[96];
	const char *extra[] = {variable, NULL};
	struct chan_peer_frame f;

	(void)snprintf(t->dir, sizeof t->dir, "/tmp/fsbox-twins-XXXXXX");
	if (!CHECK(mkdtemp(t->dir) != NULL) || !CHECK(chmod(t->dir, 0755) == 0))
		return false;
	(void)snprintf(variable, sizeof variable, "TWIN=%s", t->dir);
	t->second.in = open_fifo(t, "in");
	t->second.out = open_fifo(t, "out");
	return CHECK(t->second.in >= 0 && t->second.out >= 0) &&
	       CHECK_EQ(runtime_start_with(&t->first, CHAN_PEER_PID_NS, function, extra), 0) &&
	       expect_frame(&t->first, CHAN_READY, &f) && expect_frame(&t->second, CHAN_READY, &f);
}

struct drawn {
	size_t n;
	struct {
		char name[CHAN_MAX_DRAWN_NAME + 1];
		uint8_t value[CHAN_MAX_DRAWN_VALUE];
		size_t len;
	} of[32];
};

static bool draw(struct chan_peer *p, struct drawn *d)
{
	struct chan_drawn_view v;
	struct chan_peer_frame f;
	size_t at = 0;

	*d = (struct drawn){0};
	if (!CHECK_EQ(send_empty(p, CHAN_DRAW), 0) || !expect_frame(p, CHAN_DRAWN, &f))
		return false;
	while (d->n < 32 && chan_drawn_next(f.body, f.head.len, &at, &v) == 1) {
		memcpy(d->of[d->n].name, v.name, v.name_len);
		memcpy(d->of[d->n].value, v.value, v.value_len);
		d->of[d->n++].len = v.value_len;
	}
	return CHECK_EQ(at, f.head.len);
}

/* 1: the twins' values of @name are the same; 0: they differ; -1: there is none. */
static int is_same(const struct drawn *a, const struct drawn *b, const char *name)
{
	for (size_t i = 0; i < a->n && i < b->n; i++)
		if (strcmp(a->of[i].name, name) == 0 && strcmp(b->of[i].name, name) == 0)
			return a->of[i].len == b->of[i].len &&
			       memcmp(a->of[i].value, b->of[i].value, a->of[i].len) == 0;
	return -1;
}

static void expect_different(const struct drawn *a, const struct drawn *b)
{
	CHECK_EQ(a->n, b->n);
	for (size_t i = 0; i < a->n; i++) {
		if (!CHECK_EQ(is_same(a, b, a->of[i].name), 0))
			tap_note("  %s", a->of[i].name);
	}
}

/* The sources in @state are the same in twins that nobody has reseeded, and all sources differ in those that were. */
static void check_twins(const char *function, const char *const *state)
{
	struct drawn a, b;
	TWINS(t);
	TWINS(u);

	REQUIRE(twins_start(&t, function) && draw(&t.first, &a) && draw(&t.second, &b));
	for (size_t i = 0; state[i]; i++) {
		if (!CHECK_EQ(is_same(&a, &b, state[i]), 1))
			tap_note("  %s", state[i]);
	}
	CHECK_EQ(is_same(&a, &b, "getrandom"), 0);
	CHECK_EQ(is_same(&a, &b, "mkstemp"), 0);

	REQUIRE(twins_start(&u, function));
	REQUIRE(park_and_restore(&u.first, 0) && park_and_restore(&u.second, 0));
	REQUIRE(draw(&u.first, &a) && draw(&u.second, &b));
	expect_different(&a, &b);
	for (size_t i = 0; state[i]; i++)
		CHECK_EQ(is_same(&a, &b, state[i]), 0);
}

TEST(twins_without_a_library_differ_after_a_restore)
{
	static const char *const state[] = {"rand", "random", "drand48", NULL};

	check_twins("twin_plain", state);
}

TEST(twins_with_openssl_linked_to_the_function_differ_after_a_restore)
{
	static const char *const state[] = {"rand", "drand48", "RAND_bytes", "RAND_priv_bytes", "tls-client-random",
					    NULL};

	check_twins("twin_linked", state);
}

TEST(twins_with_openssl_opened_by_the_function_differ_after_a_restore)
{
	static const char *const state[] = {"RAND_bytes", "RAND_priv_bytes", NULL};

	check_twins("twin_local", state);
}

TEST(twins_with_openssl_inside_of_the_function_differ_after_a_restore)
{
	static const char *const state[] = {"RAND_bytes", "RAND_priv_bytes", NULL};

	check_twins("twin_static", state);
}

TEST(every_source_is_drawn_from_and_kept_seeds_are_left_out)
{
	static const char *const all[] = {"getrandom",
					  "mkstemp",
					  "tempnam",
					  "RAND_bytes",
					  "RAND_priv_bytes",
					  "uuid_generate",
					  "uuid_generate_random",
					  "tls-client-random",
					  "arc4random"};
	static const char *const seeded[] = {"rand", "random", "drand48"};

	for (uint32_t flags = 0; flags <= CHAN_KEEP_SEEDS; flags++) {
		struct drawn d;
		CHAN_PEER(p);

		REQUIRE(runtime_start_ready(&p, "twin_linked") && park_and_restore(&p, flags) && draw(&p, &d));
		for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
			if (!CHECK_EQ(is_same(&d, &d, all[i]), 1))
				tap_note("  %s", all[i]);
		}
		for (size_t i = 0; i < sizeof seeded / sizeof seeded[0]; i++)
			CHECK_EQ(is_same(&d, &d, seeded[i]), flags ? -1 : 1);
		CHECK_EQ(d.n, sizeof all / sizeof all[0] + (flags ? 0 : 3));
	}
}
