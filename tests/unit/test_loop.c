/* The event loop: what is told, in which turn, and that what was taken away is not. */
#include "tests/lib/tap.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/loop.h"
#include "base/mem.h"

#include <fcntl.h>
#include <sys/socket.h>

struct end {
	struct loop *l;
	struct watch w;
	int fd[2]; /* ours, the other */
	unsigned told;
	uint32_t events;
	struct end *removes; /* taken away when this one is told */
};

static void end_ready(void *arg, uint32_t events)
{
	struct end *x = arg;

	x->told++;
	x->events = events;
	if (x->removes)
		loop_remove(x->l, &x->removes->w);
}

static void end_open(struct end *x, struct loop *l, uint32_t events)
{
	struct err e = {0};

	*x = (struct end){.l = l};
	REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, x->fd) == 0);
	CHECK_OK(loop_add(l, &x->w, x->fd[0], events, end_ready, x, &e), &e);
}

static void end_close(struct end *x)
{
	loop_remove(x->l, &x->w);
	fd_closep(&x->fd[0]);
	fd_closep(&x->fd[1]);
}

static void turn(struct loop *l, int ms)
{
	struct err e = {0};

	CHECK_OK(loop_once(l, ms, &e), &e);
}

#define LOOP(l)                         \
	AUTO(loop_close) struct loop l; \
	struct err l##_e = {0};         \
	REQUIRE_OK(loop_open(&l, &l##_e), &l##_e)

TEST(a_descriptor_that_stays_readable_is_told_in_each_turn)
{
	struct end a;

	LOOP(l);
	end_open(&a, &l, EPOLLIN);
	turn(&l, 0);
	CHECK_EQ(a.told, 0);
	CHECK_EQ(write(a.fd[1], "x", 1), 1);
	turn(&l, 0);
	turn(&l, 0);
	CHECK_EQ(a.told, 2);
	CHECK_EQ(a.events, EPOLLIN);
	CHECK_EQ(loop_set(&l, &a.w, 0), 0);
	turn(&l, 0);
	CHECK_EQ(a.told, 2);
	fd_closep(&a.fd[1]); /* told though nothing was asked for */
	turn(&l, 0);
	CHECK_EQ(a.told, 3);
	CHECK(a.events & EPOLLHUP);
	end_close(&a);
}

TEST(a_watch_is_added_once_and_removed_as_often_as_one_likes)
{
	struct err e = {0};
	struct end a;

	LOOP(l);
	end_open(&a, &l, EPOLLIN);
	CHECK(loop_add(&l, &a.w, a.fd[0], EPOLLIN, end_ready, &a, &e) < 0);
	CHECK_EQ(e.kind, ERR_BUG);
	loop_remove(&l, &a.w);
	loop_remove(&l, &a.w);
	CHECK_LT(loop_set(&l, &a.w, EPOLLOUT), 0);
	e = (struct err){0};
	CHECK_OK(loop_add(&l, &a.w, a.fd[0], EPOLLOUT, end_ready, &a, &e), &e);
	turn(&l, 0);
	CHECK_EQ(a.told, 1);
	end_close(&a);
}

TEST(what_is_removed_is_not_told_any_more_not_even_in_this_batch)
{
	struct end a, b;

	LOOP(l);
	end_open(&a, &l, EPOLLIN);
	end_open(&b, &l, EPOLLIN);
	CHECK_EQ(write(a.fd[1], "x", 1), 1);
	CHECK_EQ(write(b.fd[1], "x", 1), 1);
	a.removes = &b;
	b.removes = &a;
	turn(&l, 0); /* both are in the batch: whoever comes first takes the other away */
	CHECK_EQ(a.told + b.told, 1);
	turn(&l, 0);
	CHECK_EQ(a.told + b.told, 2);
	end_close(&a);
	end_close(&b);
}

TEST(a_watch_that_is_removed_and_added_again_in_a_batch_gets_nothing_of_the_old_one)
{
	struct end a, b;
	struct err e = {0};

	LOOP(l);
	end_open(&a, &l, EPOLLIN);
	end_open(&b, &l, EPOLLIN);
	CHECK_EQ(write(a.fd[1], "x", 1), 1);
	CHECK_EQ(write(b.fd[1], "x", 1), 1);
	a.removes = &b;
	turn(&l, 0);
	if (b.told == 0) { /* epoll's order is not promised */
		char c;

		CHECK_EQ(read(b.fd[0], &c, 1), 1);
		CHECK_OK(loop_add(&l, &b.w, b.fd[0], EPOLLIN, end_ready, &b, &e), &e);
		turn(&l, 0);
		CHECK_EQ(b.told, 0);
	}
	end_close(&a);
	end_close(&b);
}

TEST(more_than_a_batch_is_told_in_several_turns_and_nobody_is_left_out)
{
	enum { N = LOOP_BATCH * 3 };
	static struct end ends[N];
	unsigned first = 0;

	LOOP(l);
	for (int i = 0; i < N; i++) {
		end_open(&ends[i], &l, EPOLLIN);
		CHECK_EQ(write(ends[i].fd[1], "x", 1), 1);
	}
	turn(&l, 0);
	for (int i = 0; i < N; i++)
		first += ends[i].told;
	CHECK_EQ(first, LOOP_BATCH);
	for (int i = 0; i < 5; i++)
		turn(&l, 0);
	for (int i = 0; i < N; i++) {
		CHECK_EQ(ends[i].told, 2);
		end_close(&ends[i]);
	}
}

/* ---- Timers ---- */

struct alarm {
	struct loop *l;
	struct timer t;
	unsigned told, *clock, order;
	uint64_t again_ns; /* armed again for then, when told */
};

static void alarm_due(void *arg)
{
	struct alarm *x = arg;

	x->told++;
	x->order = ++*x->clock;
	if (x->again_ns)
		CHECK_EQ(loop_arm(x->l, &x->t, x->again_ns), 0);
}

static void alarm_set(struct alarm *x, struct loop *l, unsigned *clock, uint64_t at)
{
	*x = (struct alarm){.l = l, .clock = clock};
	x->t.due = alarm_due;
	x->t.arg = x;
	CHECK_EQ(loop_arm(l, &x->t, at), 0);
}

TEST(timers_are_told_in_the_order_of_their_times_whatever_was_moved_or_disarmed)
{
	enum { N = 61 };
	static struct alarm alarms[N];
	const uint64_t past = clock_mono_ns() - NS_PER_S;
	unsigned clock = 0, seed = 12345, due = 0;

	LOOP(l);
	for (unsigned i = 0; i < N; i++)
		alarm_set(&alarms[i], &l, &clock, past + (i * 7919) % 1000);
	for (unsigned i = 0; i < 500; i++) {
		struct alarm *x = &alarms[(seed = seed * 1103515245 + 12345) / 65536 % N];

		if (i % 5 == 0)
			loop_disarm(&l, &x->t);
		else
			CHECK_EQ(loop_arm(&l, &x->t, past + seed % 100000), 0);
	}
	loop_disarm(&l, &alarms[3].t);
	loop_disarm(&l, &alarms[3].t);
	for (unsigned i = 0; i < N; i++)
		due += timer_armed(&alarms[i].t);
	CHECK_GT(due, N / 2);
	CHECK_LT(due, N);
	turn(&l, -1);
	CHECK_EQ(clock, due);
	for (unsigned i = 0; i < N; i++)
		for (unsigned k = 0; k < N; k++)
			if (alarms[i].told && alarms[k].told && alarms[i].t.at_ns < alarms[k].t.at_ns)
				CHECK_LT(alarms[i].order, alarms[k].order);
	CHECK_EQ(alarms[3].told, 0);
}

TEST(a_timer_is_never_told_early_and_the_loop_sleeps_until_it)
{
	struct alarm a;
	unsigned clock = 0, turns = 0;

	LOOP(l);
	for (int k = 0; k < 2; k++) {
		uint64_t at = clock_mono_ns() + 3 * NS_PER_MS + 100000;

		alarm_set(&a, &l, &clock, at);
		for (turns = 0; a.told == 0 && turns < 10; turns++) {
			turn(&l, -1);
			CHECK(a.told == 0 || clock_mono_ns() >= at);
		}
		CHECK_EQ(a.told, 1);
		CHECK_LE(turns, 2); /* it does not spin its way there */
		CHECK(!timer_armed(&a.t));
	}
}

TEST(a_timer_that_comes_before_the_next_one_is_told_first_and_one_that_was_put_off_later)
{
	struct alarm a, b;
	unsigned clock = 0, turns = 0;
	const uint64_t now = clock_mono_ns(), later = now + 20 * NS_PER_MS;

	LOOP(l);
	alarm_set(&a, &l, &clock, now + 5 * NS_PER_MS);
	alarm_set(&b, &l, &clock, now + NS_PER_S);
	turn(&l, 0);
	CHECK_EQ(loop_arm(&l, &a.t, later), 0); /* put off */
	turn(&l, 0);
	CHECK_EQ(loop_arm(&l, &b.t, clock_mono_ns() + NS_PER_MS), 0); /* brought forward */
	while (clock < 2 && turns++ < 10) {
		turn(&l, -1);
		CHECK(a.told == 0 || clock_mono_ns() >= later);
	}
	CHECK_EQ(b.order, 1);
	CHECK_EQ(a.order, 2);
	CHECK_LE(turns, 4);
}

TEST(more_timers_than_a_turn_tells_are_told_in_the_next)
{
	enum { N = LOOP_BATCH * 2 + 1 };
	static struct alarm alarms[N];
	unsigned clock = 0;

	LOOP(l);
	for (int i = 0; i < N; i++)
		alarm_set(&alarms[i], &l, &clock, 0);
	turn(&l, -1);
	CHECK_EQ(clock, LOOP_BATCH);
	turn(&l, -1);
	turn(&l, -1);
	CHECK_EQ(clock, N);
}

TEST(a_timer_that_arms_itself_for_the_past_leaves_turns_to_others)
{
	struct alarm a;
	struct end b;
	unsigned clock = 0;

	LOOP(l);
	end_open(&b, &l, EPOLLIN);
	alarm_set(&a, &l, &clock, 1);
	a.again_ns = 1;
	CHECK_EQ(write(b.fd[1], "x", 1), 1);
	turn(&l, -1);
	turn(&l, -1);
	CHECK_EQ(b.told, 2);
	CHECK_LE(a.told, 2 * LOOP_BATCH);
	end_close(&b);
}

/* ---- Laters ---- */

struct chore {
	struct loop *l;
	struct later x;
	unsigned told;
	bool again;
	struct chore *forgets;
};

static void chore_run(void *arg)
{
	struct chore *c = arg;

	c->told++;
	if (c->again)
		loop_later(c->l, &c->x, chore_run, c);
	if (c->forgets)
		loop_forget(c->l, &c->forgets->x);
}

TEST(what_is_put_off_comes_once_and_what_it_puts_off_in_the_next_turn)
{
	struct chore a = {.again = true}, b = {0}, c = {0};

	LOOP(l);
	a.l = b.l = c.l = &l;
	loop_later(&l, &a.x, chore_run, &a);
	loop_later(&l, &b.x, chore_run, &b);
	loop_later(&l, &b.x, chore_run, &b);
	loop_later(&l, &c.x, chore_run, &c);
	loop_forget(&l, &c.x);
	loop_forget(&l, &c.x);
	turn(&l, -1); /* without sleeping */
	CHECK_EQ(a.told, 1);
	CHECK_EQ(b.told, 1);
	turn(&l, -1);
	CHECK_EQ(a.told, 2);
	CHECK_EQ(b.told, 1);
	CHECK_EQ(c.told, 0);
	a.again = false;
	turn(&l, -1);
	turn(&l, 0);
	CHECK_EQ(a.told, 3);
}

TEST(one_that_is_put_off_can_forget_those_behind_it)
{
	struct chore a = {0}, b = {0}, c = {0};

	LOOP(l);
	a.l = &l;
	a.forgets = &b;
	loop_later(&l, &a.x, chore_run, &a);
	loop_later(&l, &b.x, chore_run, &b);
	turn(&l, -1);
	CHECK_EQ(a.told, 1);
	CHECK_EQ(b.told, 0);
	loop_later(&l, &c.x, chore_run, &c); /* the queue's end is still known */
	loop_later(&l, &b.x, chore_run, &b);
	turn(&l, -1);
	CHECK_EQ(b.told + c.told, 2);
}

static void stop(void *arg)
{
	loop_stop(arg);
}

TEST(run_ends_with_stop_and_at_once_when_that_came_before)
{
	struct timer t = {.due = stop};
	struct err e = {0};

	LOOP(l);
	t.arg = &l;
	CHECK_EQ(loop_arm(&l, &t, 1), 0);
	CHECK_OK(loop_run(&l, &e), &e);
	loop_stop(&l);
	CHECK_OK(loop_run(&l, &e), &e);
	CHECK_EQ(loop_arm(&l, &t, clock_mono_ns() + NS_PER_MS), 0); /* and it can run again */
	CHECK_OK(loop_run(&l, &e), &e);
}

static void stop_ready(void *arg, uint32_t events)
{
	(void)events;
	loop_stop(arg);
}

TEST(a_broken_epoll_is_an_error_and_not_a_spin)
{
	struct err e = {0};
	struct watch w = {0};
	int fd[2];

	LOOP(l);
	REQUIRE(pipe2(fd, O_CLOEXEC) == 0);
	CHECK(loop_add(&l, &w, 100000, EPOLLIN, stop_ready, &l, &e) < 0);
	CHECK_CONTAINS(e.msg, "watch descriptor 100000");
	fd_closep(&l.epoll);
	e = (struct err){0};
	CHECK(loop_run(&l, &e) < 0);
	CHECK_CONTAINS(e.msg, "wait for events");
	fd_closep(&fd[0]);
	fd_closep(&fd[1]);
}
