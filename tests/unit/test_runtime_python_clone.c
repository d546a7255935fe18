/* The runtime for Python functions before a snapshot, after a restore and under filters, without CRIU: functions that
 * make it hard. time-limit: 240 */
#include "tests/lib/python_peer.h"
#include "tests/lib/tap.h"

#include <linux/seccomp.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char *const snap_start[] = {"AWS_LAMBDA_INITIALIZATION_TYPE=snap-start", "KEPT=kept", "COLOUR=old", NULL};

static bool expect_frame(struct chan_peer *p, uint16_t type, struct chan_peer_frame *ret)
{
	bool ok = CHECK_EQ(chan_peer_next(p, ret), 1) && CHECK_EQ(ret->head.type, type);

	if (!ok)
		tap_note("  %s", chan_peer_log(p, NULL));
	return ok;
}

static bool park(struct chan_peer *p)
{
	struct chan_peer_frame f;

	return CHECK_EQ(python_send(p, CHAN_SNAPSHOT), 0) && expect_frame(p, CHAN_PARKED, &f);
}

static bool restore(struct chan_peer *p, struct chan_restored *ret)
{
	static const char env[] = "AWS_LAMBDA_LOG_STREAM_NAME=of the clone\0COLOUR=r\xc3\xb6t=1";
	struct chan_peer_frame f;

	if (!CHECK_EQ(python_send_restore(p, 0, env, sizeof env), 0) || !expect_frame(p, CHAN_RESTORED, &f))
		return false;
	memcpy(ret, f.body, sizeof *ret);
	return true;
}

TEST(a_clone_has_its_own_environment_and_memory)
{
	struct chan_restored times;
	CHAN_PEER(p);

	NEED_PYTHON();
	REQUIRE(python_ready(&p, "clone.place", snap_start) && park(&p) && restore(&p, &times));
	CHECK(call_and_expect(&p, 1, "{}", "[\"r\xc3\xb6t=1\", \"kept\", \"256\", \"256\", \"of the clone\"]"));
	CHECK(python_answers("clone.place", "{}", "[null, null, \"512\", \"512\", null]"));
}

TEST(a_parked_process_takes_an_end)
{
	CHAN_PEER(p);
	CHAN_PEER(q);

	NEED_PYTHON();
	REQUIRE(python_ready(&p, "clone.place", NULL) && park(&p) && python_send(&p, CHAN_SHUTDOWN) == 0);
	expect_exit(&p, 0);
	REQUIRE(python_ready(&q, "clone.place", NULL) && park(&q));
	chan_peer_hang_up(&q);
	expect_exit(&q, 0);
}

TEST(proxies_are_not_asked_what_they_stand_for)
{
	struct chan_restored times;
	CHAN_PEER(p);

	NEED_PYTHON();
	REQUIRE(python_ready(&p, "proxy.handler", NULL) && park(&p) && restore(&p, &times));
	CHECK(call_and_expect(&p, 1, "{}", "true"));
}

TEST(modules_with_the_names_of_standard_ones_do_no_harm)
{
	struct chan_restored times;
	struct chan_peer_frame f;
	CHAN_PEER(p);

	NEED_PYTHON();
	REQUIRE(python_ready(&p, "shadows.handler", NULL) && park(&p) && restore(&p, &times));
	REQUIRE(python_send(&p, CHAN_DRAW) == 0 && expect_frame(&p, CHAN_DRAWN, &f));
	CHECK(call_and_expect(&p, 1, "{}", "[\"shadows\", \"shadows\", \"shadows\"]"));
}

/* ---- Filters ---- */

/* As policy strict: what docs/channel.md has for every runtime, and what Python does besides. */
static bool seal(struct chan_peer *p)
{
	static const int more[] = {SYS_mremap, SYS_madvise, SYS_lseek, SYS_fstat};
	int allowed[RUNTIME_NEEDED + sizeof more / sizeof more[0]];

	memcpy(allowed, runtime_needed, sizeof runtime_needed);
	memcpy(allowed + RUNTIME_NEEDED, more, sizeof more);
	return CHECK_EQ(runtime_send_filter(p, allowed, sizeof allowed / sizeof allowed[0], SECCOMP_RET_ALLOW,
					    SECCOMP_RET_TRAP),
			0);
}

TEST(a_filter_leaves_it_what_it_needs)
{
	CHAN_PEER(p);

	NEED_PYTHON();
	REQUIRE(python_ready(&p, "clone.calm", NULL) && seal(&p));
	for (uint64_t i = 1; i <= 5; i++)
		if (!call_and_expect(&p, i, "1000", "[332833500, 300000]"))
			tap_note("  %s", chan_peer_log(&p, NULL));
	CHECK_CONTAINS(chan_peer_log(&p, NULL), "\tcalm 20");
	CHECK_EQ(python_send(&p, CHAN_SHUTDOWN), 0);
	expect_exit(&p, 0);
}

TEST(under_a_filter_exceptions_are_told_with_their_lines)
{
	CHAN_PEER(p);

	NEED_PYTHON();
	REQUIRE(python_ready(&p, "clone.fails_calmly", NULL) && seal(&p));
	for (uint64_t i = 1; i <= 4; i += 2) {
		REQUIRE(call_text(&p, i, "1"));
		CHECK(PYTHON_EXPECT_ERROR(&p, CHAN_ERROR, "LookupError",
					  "in fails_calmly\\n    raise LookupError(\\\"under the filter\\\")"));
		if (!call_and_expect(&p, i + 1, "\"logged\"", "1"))
			tap_note("  %s", chan_peer_log(&p, NULL));
		CHECK_CONTAINS(chan_peer_log(&p, "\tcaught"), "raise KeyError(\"lost\")");
	}
	REQUIRE(call_text(&p, 5, "\"misspelt\""));
	CHECK(PYTHON_EXPECT_ERROR(&p, CHAN_ERROR, "AttributeError", "return logging.warning2"));
	REQUIRE(call_text(&p, 6, "\"part\""));
	CHECK(PYTHON_EXPECT_ERROR(&p, CHAN_ERROR, "IndexError", "[0])"));
	REQUIRE(call_text(&p, 7, "{bad"));
	CHECK(PYTHON_EXPECT_ERROR(&p, CHAN_ERROR, "Runtime.UnmarshalError", "Unable to unmarshal input: "));
}

TEST(a_filter_that_cannot_be_installed_is_an_init_error)
{
	static const struct {
		struct chan_head head;
		uint64_t insn;
	} bad = {{.len = 8, .type = CHAN_FILTER}, UINT64_MAX};
	CHAN_PEER(p);

	NEED_PYTHON();
	REQUIRE(python_ready(&p, "clone.parent", NULL) && chan_peer_send(&p, &bad, sizeof bad) == 0);
	CHECK(PYTHON_EXPECT_ERROR(&p, CHAN_INIT_ERROR, "Runtime.InitError",
				  "filter cannot be installed: Invalid argument"));
	expect_exit(&p, 1);
}
