/* The host's side of the channel where snapshots are made and restored, against a fake cell. */
#include "tests/lib/fake_cell.h"
#include "tests/lib/tap.h"

#include "base/mem.h"

#include <errno.h>
#include <unistd.h>

static const struct chan_restore restore = {.random = {1, 2, 3}, .generation = 4, .clone_id = "0123456789ab"};

/* Ready, and asked for a snapshot. */
static void in_snapshot(struct fake *f)
{
	struct err e = {0};

	fake_ready(f, CHAN_CAN_SNAPSHOT);
	CHECK_EQ(fake_wait(f, 2000), SESSION_READY);
	CHECK_OK(session_snapshot(&f->s, &e), &e);
}

/* Made from a dump, and told so. */
static void in_restore(struct fake *f)
{
	struct err e = {0};

	session_done(&f->s);
	session_init_restored(&f->s, &f->cell, &f->sink, f->signal_r, CHAN_HAS_SHUTDOWN);
	CHECK_OK(session_restore(&f->s, &restore, NULL, &e), &e);
}

static void frame_restored(struct fake *f)
{
	const struct chan_restored r = {.reseed_ns = 11, .hooks_ns = 22};

	fake_frame(f, CHAN_RESTORED, 0, &r, sizeof r);
}

/* The next head that the session has sent. */
static struct chan_head heard(struct fake *f, void *body, size_t size)
{
	struct chan_head h = {0};

	CHECK_EQ(read(f->hear, &h, sizeof h), (ssize_t)sizeof h);
	CHECK_EQ(chan_head_parse(&h, CHAN_CELL, &h), 0);
	CHECK_LE(h.len, size);
	if (h.len > 0 && h.len <= size)
		CHECK_EQ(read(f->hear, body, h.len), (ssize_t)h.len);
	return h;
}

TEST(a_snapshot_is_asked_for_and_answered)
{
	FAKE(f);
	in_snapshot(&f);
	CHECK_EQ(heard(&f, NULL, 0).type, CHAN_SNAPSHOT);
	CHECK_EQ(fake_wait(&f, 5), SESSION_DEADLINE);
	fake_frame(&f, CHAN_PARKED, 0, NULL, 0);
	CHECK_EQ(fake_wait(&f, 2000), SESSION_PARKED);
	fake_frame(&f, CHAN_PARKED, 0, NULL, 0);
	CHECK_EQ(fake_wait(&f, 2000), SESSION_BROKEN);
}

TEST(a_runtime_that_does_not_know_snapshots_is_not_asked)
{
	struct err e = {0};

	FAKE(f);
	fake_ready(&f, CHAN_HAS_SHUTDOWN);
	CHECK_EQ(fake_wait(&f, 2000), SESSION_READY);
	CHECK_EQ(session_snapshot(&f.s, &e), -EOPNOTSUPP);
	CHECK_EQ(e.kind, ERR_UNSUPPORTED);
}

TEST(a_restore_goes_out_with_its_environment_and_its_answer_has_the_times)
{
	static const char *const env[] = {"A=1", "LONGER_NAME=the value", NULL};
	char body[512];
	struct chan_restore_view v;
	struct chan_head h;
	struct err e = {0};
	size_t at = 0;

	FAKE(f);
	session_init_restored(&f.s, &f.cell, &f.sink, f.signal_r, CHAN_HAS_SHUTDOWN);
	CHECK(f.s.ready && f.s.has_shutdown && !f.s.can_snapshot);
	CHECK_OK(session_restore(&f.s, &restore, env, &e), &e);
	h = heard(&f, body, sizeof body);
	CHECK_EQ(h.type, CHAN_RESTORE);
	REQUIRE(chan_restore_parse(body, h.len, &v) == 0);
	CHECK_EQ(v.fixed.generation, 4);
	CHECK_MEMEQ(v.fixed.random, restore.random, 64);
	CHECK_STREQ(chan_restore_env(&v, &at), env[0]);
	CHECK_STREQ(chan_restore_env(&v, &at), env[1]);
	CHECK(!chan_restore_env(&v, &at));
	frame_restored(&f);
	CHECK_EQ(fake_wait(&f, 2000), SESSION_RESTORED);
	CHECK_EQ(f.s.reseed_ns, 11);
	CHECK_EQ(f.s.hooks_ns, 22);
	CHECK(f.s.settled);
	fake_call(&f, 1);
	fake_frame(&f, CHAN_DONE, 1, NULL, 0);
	CHECK_EQ(fake_wait(&f, 2000), SESSION_DONE);
}

TEST(an_environment_beyond_the_limit_of_a_restore_is_refused)
{
	AUTO_FREE char *text = malloc(CHAN_MAX_ENV + 1);
	const char *env[] = {text, NULL};
	struct err e = {0};

	FAKE(f);
	REQUIRE(text);
	memset(text, 'x', CHAN_MAX_ENV);
	text[1] = '=';
	text[CHAN_MAX_ENV] = '\0';
	session_init_restored(&f.s, &f.cell, &f.sink, f.signal_r, 0);
	CHECK_EQ(session_restore(&f.s, &restore, env, &e), -E2BIG);
	CHECK_EQ(e.kind, ERR_LIMIT);
	text[CHAN_MAX_ENV - 1] = '\0';
	CHECK_OK(session_restore(&f.s, &restore, env, &(struct err){0}), &e);
}

TEST(a_hook_that_fails_is_an_init_error_until_the_restore_is_done)
{
	FAKE(f);
	in_snapshot(&f);
	fake_error(&f, CHAN_INIT_ERROR, 0, "Runtime.BeforeSnapshotError", "hook returned 1");
	CHECK_EQ(fake_wait(&f, 2000), SESSION_INIT_ERROR);
	CHECK_STREQ(f.s.error_type, "Runtime.BeforeSnapshotError");

	FAKE(g);
	in_restore(&g);
	fake_error(&g, CHAN_INIT_ERROR, 0, "Runtime.AfterRestoreError", "hook returned 1");
	CHECK_EQ(fake_wait(&g, 2000), SESSION_INIT_ERROR);
	CHECK_STREQ(g.s.error_message.data, "hook returned 1");

	FAKE(h);
	in_restore(&h);
	frame_restored(&h);
	CHECK_EQ(fake_wait(&h, 2000), SESSION_RESTORED);
	fake_error(&h, CHAN_INIT_ERROR, 0, "Runtime.AfterRestoreError", "late");
	CHECK_EQ(fake_wait(&h, 2000), SESSION_BROKEN);
}

TEST(a_filter_may_be_refused_after_a_restore)
{
	struct sock_filter insn = {0};
	const struct filter filter = {.insns = &insn, .len = 1};
	struct err e = {0};

	FAKE(f);
	in_restore(&f);
	frame_restored(&f);
	CHECK_EQ(fake_wait(&f, 2000), SESSION_RESTORED);
	CHECK_OK(session_add_filter(&f.s, &filter, &e), &e);
	fake_error(&f, CHAN_INIT_ERROR, 0, "Runtime.InitError", "no");
	CHECK_EQ(fake_wait(&f, 2000), SESSION_INIT_ERROR);
}

TEST(what_was_drawn_is_checked_and_kept)
{
	static const char good[] = "\1\2aXY\1\1bZ", bad[] = "\1\2aXY\1\1b";
	struct err e = {0};

	FAKE(f);
	in_restore(&f);
	frame_restored(&f);
	CHECK_EQ(fake_wait(&f, 2000), SESSION_RESTORED);
	CHECK_OK(session_draw(&f.s, &e), &e);
	fake_frame(&f, CHAN_DRAWN, 0, good, sizeof good - 1);
	CHECK_EQ(fake_wait(&f, 2000), SESSION_DRAWN);
	CHECK_EQ(f.s.drawn.len, sizeof good - 1);
	CHECK_MEMEQ(f.s.drawn.data, good, sizeof good - 1);
	CHECK_OK(session_draw(&f.s, &e), &e);
	fake_frame(&f, CHAN_DRAWN, 0, bad, sizeof bad - 1);
	CHECK_EQ(fake_wait(&f, 2000), SESSION_BROKEN);
	CHECK_CONTAINS(f.s.error_message.data, "malformed 'drawn'");
}

TEST(an_answer_to_another_question_breaks_the_session)
{
	static const uint16_t types[] = {CHAN_PARKED, CHAN_RESTORED, CHAN_DRAWN};
	static const struct chan_restored body;

	for (size_t asked = 0; asked < 4; asked++) {
		for (size_t i = 0; i < ARRAY_LEN(types); i++) {
			struct err e = {0};

			FAKE(f);
			if (asked == 0)
				in_snapshot(&f);
			else if (asked == 1)
				in_restore(&f);
			else
				fake_ready(&f, CHAN_CAN_SNAPSHOT);
			if (asked > 1)
				CHECK_EQ(fake_wait(&f, 2000), SESSION_READY);
			if (asked == 2)
				CHECK_OK(session_draw(&f.s, &e), &e);
			fake_frame(&f, types[i], 0, &body, types[i] == CHAN_RESTORED ? sizeof body : 0);
			if (asked == i)
				CHECK_NE(fake_wait(&f, 2000), SESSION_BROKEN);
			else
				CHECK_EQ(fake_wait(&f, 2000), SESSION_BROKEN);
		}
	}
}

TEST(one_question_at_a_time_and_none_before_ready_or_during_a_call)
{
	struct err e = {0}, f_err = {0}, g_err = {0};

	FAKE(f);
	CHECK_LT(session_draw(&f.s, &e), 0);
	CHECK_EQ(e.kind, ERR_BUG);
	in_snapshot(&f);
	CHECK_LT(session_restore(&f.s, &restore, NULL, &f_err), 0);
	CHECK_EQ(f_err.kind, ERR_BUG);

	FAKE(g);
	fake_call(&g, 1);
	CHECK_LT(session_draw(&g.s, &g_err), 0);
	CHECK_EQ(g_err.kind, ERR_BUG);
}
