/* The runtime for Python functions, without a cell: what it does around a snapshot, and under filters that come after init.
 * A process that is asked to be dumped and then told that it was restored stands for a clone. */
#include "tests/lib/python_peer.h"
#include "tests/lib/tap.h"

#include <linux/seccomp.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static bool park(struct chan_peer *p, uint32_t body)
{
	struct chan_peer_frame f;

	return CHECK_EQ(python_send(p, CHAN_SNAPSHOT), 0) && CHECK_EQ(chan_peer_next(p, &f), 1) &&
	       CHECK_EQ(f.head.type, CHAN_PARKED) && CHECK_EQ(f.head.len, body);
}

static bool restore(struct chan_peer *p, uint32_t flags)
{
	static const char env[] = "ADDED=there=it is\0AWS_LAMBDA_FUNCTION_MEMORY_SIZE=256\0"
				  "AWS_LAMBDA_LOG_STREAM_NAME=2026/[1]abc";
	struct chan_restored times;
	struct chan_peer_frame f;

	if (!CHECK_EQ(python_send_restore(p, flags, env, sizeof env), 0) || !CHECK_EQ(chan_peer_next(p, &f), 1) ||
	    !CHECK_EQ(f.head.type, CHAN_RESTORED))
		return false;
	memcpy(&times, f.body, sizeof times);
	return CHECK_GT(times.reseed_ns, 0) && CHECK_GT(times.hooks_ns, 0);
}

/* One clone's draws. */
struct drawn {
	uint8_t bytes[CHAN_MAX_DRAWN];
	size_t len;
};

static bool draw(struct chan_peer *p, struct drawn *d)
{
	struct chan_peer_frame f;

	if (!CHECK_EQ(python_send(p, CHAN_DRAW), 0) || !CHECK_EQ(chan_peer_next(p, &f), 1) ||
	    !CHECK_EQ(f.head.type, CHAN_DRAWN))
		return false;
	memcpy(d->bytes, f.body, f.head.len);
	d->len = f.head.len;
	return true;
}

static const uint8_t *drawn_value(const struct drawn *d, const char *name)
{
	for (size_t at = 0; at + 2 <= d->len; at += 2U + d->bytes[at] + d->bytes[at + 1]) {
		if (d->bytes[at] == strlen(name) && memcmp(d->bytes + at + 2, name, strlen(name)) == 0)
			return d->bytes + at + 1;
	}
	return NULL;
}

static bool drawn_well_formed(const struct drawn *d)
{
	size_t at = 0;

	while (at + 2 <= d->len) {
		const size_t name = d->bytes[at], value = d->bytes[at + 1];

		if (name < 1 || name > 32 || value < 1 || value > 32)
			return false;
		for (size_t i = 0; i < name; i++)
			if (d->bytes[at + 2 + i] <= ' ' || d->bytes[at + 2 + i] > '~')
				return false;
		at += 2 + name + value;
	}
	return at == d->len;
}

/* The value's length stands before it. */
static bool same(const struct drawn *a, const struct drawn *b, const char *name)
{
	const uint8_t *x = drawn_value(a, name), *y = drawn_value(b, name);

	return x && y && x[0] == y[0] && memcmp(x + 1 + strlen(name), y + 1 + strlen(name), x[0]) == 0;
}

TEST(hooks_run_in_lambdas_order_and_only_once)
{
	static const char *const packaged[] = {"PACKAGED=1", NULL};

	NEED_PYTHON();
	for (int i = 0; i < 2; i++) { /* our module of hooks, and one that the package brings */
		CHAN_PEER(p);

		REQUIRE(python_ready(&p, "hooks.handler", i ? packaged : NULL));
		REQUIRE(park(&p, 0) && restore(&p, 0));
		CHECK(call_and_expect(&p, 1, "\"said\"",
				      "[[\"before 2\", \"before 1\", \"after 1\", \"after 2 there=it is\", "
				      "\"there=it is\"], 0, 0]"));
	}
}

TEST(a_restore_says_who_the_process_is_now)
{
	CHAN_PEER(p);

	NEED_PYTHON();
	REQUIRE(python_ready(&p, "hooks.handler", NULL) && park(&p, 0) && restore(&p, 0));
	CHECK(call_and_expect(&p, 1, "\"memory\"", "[\"256\", \"2026/[1]abc\"]"));
}

TEST(hooks_that_fail_have_lambdas_types_and_end_it)
{
	/* clang-format off */
	static const struct { const char *env, *type, *text; } cases[] = {
		{ "FAIL=before 2",      "Runtime.BeforeSnapshotError", "\"ValueError: before 2 failed 3 times\"" },
		{ "FAIL=before 2 exit", "Runtime.BeforeSnapshotError", "\"SystemExit: 5\"" },
		{ "FAIL=after 1",       "Runtime.AfterRestoreError",   "\"ValueError: after 1 failed 1 times\"" },
		{ "FAIL=after 1 exit",  "Runtime.AfterRestoreError",   "\"SystemExit: 5\"" },
	};
	/* clang-format on */

	NEED_PYTHON();
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const char *const extra[] = {cases[i].env, NULL};
		CHAN_PEER(p);

		REQUIRE(python_ready(&p, "hooks.handler", extra));
		if (i < 2)
			CHECK_EQ(python_send(&p, CHAN_SNAPSHOT), 0);
		else
			CHECK(park(&p, 0) && CHECK_EQ(python_send_restore(&p, 0, NULL, 0), 0));
		CHECK(PYTHON_EXPECT_ERROR(&p, CHAN_INIT_ERROR, cases[i].type, cases[i].text, "hooks.py"));
		expect_exit(&p, 1);
	}
}

TEST(clones_draw_different_values_from_every_source)
{
	static const char *const names[] = {
		"python-random", "python-random#2", "python-random#3", "python-tempfile", "python-uuid4", "getrandom",
		"rand"};
	struct drawn d[2];

	NEED_PYTHON();
	for (int i = 0; i < 2; i++) {
		CHAN_PEER(p);

		REQUIRE(python_ready(&p, "hooks.handler", NULL) && park(&p, 0) && restore(&p, 0) && draw(&p, &d[i]));
		CHECK(drawn_well_formed(&d[i]));
	}
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		CHECK(drawn_value(&d[0], names[i]) && drawn_value(&d[1], names[i]));
		if (!CHECK(!same(&d[0], &d[1], names[i])))
			tap_note("  %s", names[i]);
	}
}

TEST(without_a_restore_seeded_generators_draw_the_same)
{
	struct drawn d[2];

	NEED_PYTHON(); /* or the test before this one would say nothing */
	for (int i = 0; i < 2; i++) {
		static const char *const hashes[] = {"PYTHONHASHSEED=0", NULL};
		CHAN_PEER(p);

		REQUIRE(python_ready(&p, "hooks.handler", hashes) && call_text(&p, 1, "0"));
		{
			struct chan_peer_frame f;

			REQUIRE(chan_peer_next(&p, &f) == 1 && f.head.type == CHAN_DATA);
			d[i].len = f.head.len < 56 ? f.head.len : 56; /* random, seeded, loud: as text */
			memcpy(d[i].bytes, f.body, d[i].len);
		}
	}
	CHECK_EQ(d[0].len, d[1].len);
	CHECK_MEMEQ(d[0].bytes, d[1].bytes, d[0].len);
}

TEST(seeds_are_kept_where_that_was_asked_for)
{
	char answers[2][600] = {"", ""};

	NEED_PYTHON();
	for (int i = 0; i < 2; i++) {
		struct chan_peer_frame f;
		struct drawn d;
		CHAN_PEER(p);

		REQUIRE(python_ready(&p, "hooks.handler", NULL) && park(&p, 0) && restore(&p, CHAN_KEEP_SEEDS) &&
			draw(&p, &d));
		CHECK(!drawn_value(&d, "python-random"));
		CHECK(call_and_expect(&p, 2, "\"names\"", "false"));
		CHECK(drawn_value(&d, "python-uuid4") && drawn_value(&d, "python-tempfile"));
		REQUIRE(call_text(&p, 1, "0") && chan_peer_next(&p, &f) == 1 && f.head.type == CHAN_DATA);
		(void)snprintf(answers[i], sizeof answers[i], "%.*s", (int)f.head.len, (const char *)f.body);
	}
	CHECK(strncmp(answers[0], answers[1], 56) == 0); /* random, seeded, loud */
	CHECK(strcmp(answers[0], answers[1]) != 0);      /* names and uuids all the same are new */
}

TEST(numpys_generators_are_renewed_whatever_their_kind)
{
	const char *names[] = {"numpy-MT19937", "numpy-PCG64#", "numpy-Philox#"};
	struct drawn d[2];

	NEED_PYTHON();
	if (system(PYTHON " -c 'import numpy' >/dev/null 2>&1")) /* NOLINT(cert-env33-c) */
		SKIP("no numpy (Debian package python3-numpy)");
	for (int i = 0; i < 2; i++) {
		CHAN_PEER(p);

		REQUIRE(python_ready(&p, "generators.handler", NULL) && park(&p, 0) && restore(&p, 0) &&
			draw(&p, &d[i]));
	}
	for (size_t at = 0; at + 2 <= d[0].len; at += 2U + d[0].bytes[at] + d[0].bytes[at + 1]) {
		char name[33] = "";

		memcpy(name, d[0].bytes + at + 2, d[0].bytes[at]);
		if (!CHECK(!same(&d[0], &d[1], name)))
			tap_note("  %s", name);
		for (size_t k = 0; k < 3; k++)
			if (names[k] && strncmp(name, names[k], strlen(names[k])) == 0)
				names[k] = NULL;
	}
	CHECK(!names[0] && !names[1] && !names[2]);
}

TEST(children_with_generators_of_their_own_are_told_to_the_host)
{
	struct chan_peer_frame f;
	uint32_t flags;
	CHAN_PEER(p);

	NEED_PYTHON();
	REQUIRE(python_ready(&p, "pool.handler", NULL) && python_send(&p, CHAN_SNAPSHOT) == 0);
	REQUIRE(chan_peer_next(&p, &f) == 1 && f.head.type == CHAN_PARKED && f.head.len == sizeof flags);
	memcpy(&flags, f.body, sizeof flags);
	CHECK_EQ(flags, 1);
	CHECK_EQ(python_send(&p, CHAN_SHUTDOWN), 0);
	expect_exit(&p, 0); /* which ends the child as well: it is a daemon of multiprocessing */
}

TEST(frames_out_of_their_order_end_it)
{
	static const uint16_t after_parking[] = {CHAN_SNAPSHOT, CHAN_DRAW};
	static const uint16_t after_a_call[] = {CHAN_SNAPSHOT, CHAN_DRAW};

	NEED_PYTHON();
	for (size_t i = 0; i < 2; i++) {
		CHAN_PEER(p);
		CHAN_PEER(q);

		REQUIRE(python_ready(&p, "forms.echo", NULL) && park(&p, 0));
		CHECK_EQ(python_send(&p, after_parking[i]), 0);
		expect_exit(&p, 1);
		CHECK_CONTAINS(chan_peer_log(&p, NULL), "out of place");
		REQUIRE(python_ready(&q, "forms.echo", NULL) && call_and_expect(&q, 1, "1", "1"));
		CHECK_EQ(python_send(&q, after_a_call[i]), 0);
		expect_exit(&q, 1);
	}
	{
		CHAN_PEER(p);
		CHAN_PEER(q);

		REQUIRE(python_ready(&p, "forms.echo", NULL) && park(&p, 0) && call_text(&p, 1, "1"));
		expect_exit(&p, 1);
		REQUIRE(python_ready(&q, "forms.echo", NULL) && park(&q, 0));
		CHECK_EQ(python_send(&q, CHAN_SHUTDOWN), 0);
		expect_exit(&q, 0);
	}
}

TEST(a_malformed_restore_ends_it)
{
	/* clang-format off */
	static const struct { const char *env; size_t len; } bad[] = {
		{ "A=1", 3 }, { "A=1\0B", 5 }, { "A\0", 2 }, { "=1\0", 3 }, { "\0", 1 },
	};
	/* clang-format on */

	NEED_PYTHON();
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		CHAN_PEER(p);

		REQUIRE(python_ready(&p, "forms.echo", NULL) && park(&p, 0));
		CHECK_EQ(python_send_restore(&p, 0, bad[i].env, bad[i].len), 0);
		expect_exit(&p, 1);
		CHECK_CONTAINS(chan_peer_log(&p, NULL), "fsbox: the channel: ");
	}
	{
		CHAN_PEER(p);

		REQUIRE(python_ready(&p, "forms.echo", NULL) && park(&p, 0));
		CHECK_EQ(python_send_restore(&p, 2, NULL, 0), 0); /* a flag that nobody knows */
		expect_exit(&p, 1);
	}
}

/* As the strict policy does: what opens or looks for files raises SIGSYS. */
static const int files[] = {SYS_openat, SYS_newfstatat, SYS_statx, SYS_readlink, SYS_getdents64};

static bool filtered(struct chan_peer *p, const char *handler, const char *const *extra)
{
	return python_ready(p, handler, extra) && CHECK_EQ(runtime_send_filter(p, files, sizeof files / sizeof files[0],
									       SECCOMP_RET_TRAP, SECCOMP_RET_ALLOW),
							   0);
}

/* The answer has @text in it. */
static bool answer_has(struct chan_peer *p, uint64_t number, const char *event, const char *text)
{
	struct chan_peer_frame f;

	return call_text(p, number, event) && CHECK_EQ(chan_peer_next(p, &f), 1) && CHECK_EQ(f.head.type, CHAN_DATA) &&
	       CHECK(memmem(f.body, f.head.len, text, strlen(text))) && expect_done(p, number);
}

TEST(under_a_filter_exceptions_are_told_with_their_lines)
{
	static const char *const formatted[] = {"FORMATTED=1", NULL};

	NEED_PYTHON();
	for (int i = 0; i < 2; i++) { /* without and with an exception that the function looked at before */
		CHAN_PEER(p);

		REQUIRE(filtered(&p, "filtered.handler", i ? formatted : NULL) && call_and_expect(&p, 1, "1", "1"));
		REQUIRE(call_text(&p, 2, "\"raise\""));
		CHECK(PYTHON_EXPECT_ERROR(&p, CHAN_ERROR, "ValueError", "in handler\\n    raise ValueError("));
		CHECK(answer_has(&p, 3, "\"traceback\"", "    raise KeyError(")); /* by the module of that name */
		CHECK(answer_has(&p, 4, "\"again\"", "decoder.py"));
		REQUIRE(call_text(&p, 5, "\"library\""));
		CHECK(PYTHON_EXPECT_ERROR(&p, CHAN_ERROR, "JSONDecodeError", "decoder.py"));
		REQUIRE(call_text(&p, 6, "[1,]"));
		CHECK(PYTHON_EXPECT_ERROR(&p, CHAN_ERROR, "Runtime.UnmarshalError", "Unable to unmarshal input: "));
		CHECK(call_and_expect(&p, 7, "\"time\"", "true"));
	}
	{
		CHAN_PEER(p);

		REQUIRE(filtered(&p, "forms.echo", NULL) && call_text(&p, 1, "[1,]")); /* nobody imported json yet */
		CHECK(PYTHON_EXPECT_ERROR(&p, CHAN_ERROR, "Runtime.UnmarshalError", "Unable to unmarshal input: "));
	}
}

TEST(a_call_that_the_filter_refuses_is_named_to_the_host)
{
	struct chan_peer_frame f;
	struct chan_fault fault;
	int status;
	CHAN_PEER(p);

	NEED_PYTHON();
	REQUIRE(filtered(&p, "filtered.handler", NULL) && call_and_expect(&p, 1, "1", "1") &&
		call_text(&p, 2, "\"open\""));
	REQUIRE(chan_peer_next(&p, &f) == 1 && f.head.type == CHAN_FAULT);
	memcpy(&fault, f.body, sizeof fault);
	CHECK_EQ(f.head.call, 2);
	CHECK_EQ(fault.nr, SYS_openat);
	status = chan_peer_wait(&p);
	CHECK(WIFSIGNALED(status));
	CHECK_EQ(WTERMSIG(status), SIGSYS);
}

TEST(a_second_filter_and_one_after_a_call_end_it)
{
	CHAN_PEER(p);
	CHAN_PEER(q);

	NEED_PYTHON();
	REQUIRE(filtered(&p, "filtered.handler", NULL));
	CHECK_EQ(runtime_send_filter(&p, files, 1, SECCOMP_RET_TRAP, SECCOMP_RET_ALLOW), 0);
	expect_exit(&p, 1);
	REQUIRE(python_ready(&q, "forms.echo", NULL) && call_and_expect(&q, 1, "1", "1"));
	CHECK_EQ(runtime_send_filter(&q, files, 1, SECCOMP_RET_TRAP, SECCOMP_RET_ALLOW), 0);
	expect_exit(&q, 1);
}
