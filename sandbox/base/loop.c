#include "base/loop.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"

#include <string.h>
#include <sys/timerfd.h>

static void alarm_rings(void *arg, uint32_t events)
{
	struct loop *l = arg;

	(void)events;
	l->rings = true;
	l->alarm_ns = UINT64_MAX;
}

/* Edge-triggered: the descriptor is never read, to set it again is enough. */
int loop_open(struct loop *l, struct err *e)
{
	AUTO_FD int alarm = FD_NONE;
	int fd = epoll_create1(EPOLL_CLOEXEC), r;

	*l = (struct loop){.epoll = fd < 0 ? FD_NONE : fd,
			   .last = &l->first,
			   .alarm_ns = UINT64_MAX,
			   .alarm.fd = FD_NONE};
	if (fd < 0)
		return err_sys(e, errno, "make an epoll instance");
	alarm = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (!fd_valid(alarm))
		return err_sys(e, errno, "make a timer's descriptor");
	r = loop_add(l, &l->alarm, alarm, EPOLLIN | EPOLLET, alarm_rings, l, e);
	if (r == 0)
		(void)take_fd(&alarm); /* the watch has it now */
	return r;
}

/* ---- Watches ---- */

int loop_add(struct loop *l, struct watch *w, int fd, uint32_t events, void (*ready)(void *, uint32_t), void *arg,
	     struct err *e)
{
	struct epoll_event ev = {.events = events, .data.ptr = w};

	if (w->added)
		return err_set(e, ERR_BUG, EEXIST, "watch descriptor %d: it is watched already", fd);
	if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &ev) < 0)
		return err_sys(e, errno, "watch descriptor %d", fd);
	*w = (struct watch){.fd = fd, .events = events, .ready = ready, .arg = arg, .added = true};
	return 0;
}

int loop_set(struct loop *l, struct watch *w, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = w};

	if (!w->added)
		return -ENOENT;
	if (w->events == events)
		return 0;
	if (epoll_ctl(l->epoll, EPOLL_CTL_MOD, w->fd, &ev) < 0)
		return -errno;
	w->events = events;
	return 0;
}

void loop_remove(struct loop *l, struct watch *w)
{
	if (!w->added)
		return;
	w->added = false;
	(void)epoll_ctl(l->epoll, EPOLL_CTL_DEL, w->fd,
			NULL); /* fails only when it was closed before, against the contract */
	for (int i = l->batch_at; i < l->batch_len; i++)
		if (l->batch[i].data.ptr == w)
			l->batch[i].data.ptr = NULL;
}

/* ---- Timers: a binary heap, the next one at its root; places count from 1 ---- */

static void put(struct loop *l, size_t place, struct timer *t)
{
	l->heap[place - 1] = (struct loop_slot){.at_ns = t->at_ns, .t = t};
	t->place = place;
}

static void sift_up(struct loop *l, struct timer *t)
{
	size_t at = t->place;

	while (at > 1 && l->heap[at / 2 - 1].at_ns > t->at_ns) {
		put(l, at, l->heap[at / 2 - 1].t);
		at /= 2;
	}
	put(l, at, t);
}

static void sift_down(struct loop *l, struct timer *t)
{
	size_t at = t->place;

	for (;;) {
		size_t child = at * 2;

		if (child > l->n_timers)
			break;
		if (child < l->n_timers && l->heap[child].at_ns < l->heap[child - 1].at_ns)
			child++;
		if (l->heap[child - 1].at_ns >= t->at_ns)
			break;
		put(l, at, l->heap[child - 1].t);
		at = child;
	}
	put(l, at, t);
}

static int make_room(struct loop *l)
{
	size_t cap = l->timers_cap ? l->timers_cap * 2 : 64;
	struct loop_slot *grown;

	if (l->n_timers < l->timers_cap)
		return 0;
	grown = reallocarray(l->heap, cap, sizeof *grown);
	if (!grown)
		return -ENOMEM;
	l->heap = grown;
	l->timers_cap = cap;
	return 0;
}

int loop_arm(struct loop *l, struct timer *t, uint64_t at_ns)
{
	if (t->place == 0) {
		int r = make_room(l);

		if (r < 0)
			return r;
		t->place = ++l->n_timers;
	}
	t->at_ns = at_ns;
	sift_up(l, t);
	sift_down(l, t);
	return 0;
}

void loop_disarm(struct loop *l, struct timer *t)
{
	struct timer *moved;

	if (t->place == 0)
		return;
	moved = l->heap[--l->n_timers].t;
	if (moved != t) {
		put(l, t->place, moved);
		sift_up(l, moved);
		sift_down(l, moved);
	}
	t->place = 0;
}

/* Timers that are armed for the past by what is told here wait for the next turn: hence one look at the clock. */
static void tell_timers(struct loop *l)
{
	uint64_t now;

	if (!l->rings)
		return;
	l->rings = false;
	now = clock_mono_ns();
	for (int n = 0; n < LOOP_BATCH && l->n_timers > 0 && l->heap[0].at_ns <= now; n++) {
		struct timer *t = l->heap[0].t;

		loop_disarm(l, t);
		t->due(t->arg);
	}
}

/* ---- Laters ---- */

void loop_later(struct loop *l, struct later *x, void (*fn)(void *), void *arg)
{
	x->fn = fn;
	x->arg = arg;
	if (x->queued)
		return;
	x->queued = true;
	x->next = NULL;
	*l->last = x;
	l->last = &x->next;
}

void loop_forget(struct loop *l, struct later *x)
{
	struct later **at = &l->first;

	if (!x->queued)
		return;
	while (*at && *at != x)
		at = &(*at)->next;
	if (!*at)
		return;
	*at = x->next;
	if (l->last == &x->next)
		l->last = at;
	x->queued = false;
}

/* Those that are put off meanwhile come behind a mark and wait for the next turn. The queue stays where loop_forget() finds
 * it, and the mark is an entry like others. */
static void tell_laters(struct loop *l)
{
	if (!l->first)
		return;
	loop_later(l, &l->mark, NULL, NULL);
	for (struct later *x; (x = l->first) != NULL;) {
		l->first = x->next;
		if (!l->first)
			l->last = &l->first;
		x->queued = false;
		if (x == &l->mark)
			return;
		x->fn(x->arg); /* may free it */
	}
}

/* ---- Turns ---- */

/* The kernel's timer stands at the next one of ours or before it. What is put off or disarmed again, as the deadline of
 * nearly every call is, does not move it: it rings once for nothing instead. A timeout of epoll_wait(2) would have the
 * kernel set and clear its clock in every turn, which on a virtual machine leaves the machine. */
static int set_alarm(struct loop *l)
{
	struct itimerspec at = {0};
	uint64_t ns;

	if (l->n_timers == 0 || l->heap[0].at_ns >= l->alarm_ns)
		return 0;
	ns = l->heap[0].at_ns > 0 ? l->heap[0].at_ns : 1; /* 0 would clear it */
	at.it_value = (struct timespec){.tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S)};
	if (timerfd_settime(l->alarm.fd, TFD_TIMER_ABSTIME, &at, NULL) < 0)
		return -errno;
	l->alarm_ns = ns;
	return 0;
}

static void tell_events(struct loop *l, struct epoll_event *events, int n)
{
	l->batch = events;
	l->batch_len = n;
	for (l->batch_at = 0; l->batch_at < l->batch_len;) {
		const struct epoll_event *ev = &events[l->batch_at++];
		struct watch *w = ev->data.ptr;

		if (w)
			w->ready(w->arg, ev->events);
	}
	l->batch = NULL;
	l->batch_at = l->batch_len = 0;
}

int loop_once(struct loop *l, int timeout_ms, struct err *e)
{
	UNINITIALIZED struct epoll_event events[LOOP_BATCH];
	int n, r = set_alarm(l);

	if (r < 0)
		return err_sys(e, r, "set the timer");
	n = epoll_wait(l->epoll, events, LOOP_BATCH, l->first ? 0 : timeout_ms);
	if (n < 0 && errno != EINTR)
		return err_sys(e, errno, "wait for events");
	if (n > 0)
		tell_events(l, events, n);
	tell_timers(l);
	tell_laters(l);
	return 0;
}

int loop_run(struct loop *l, struct err *e)
{
	int r = 0;

	while (!l->stopped && r == 0)
		r = loop_once(l, -1, e);
	l->stopped = false;
	return r;
}

void loop_stop(struct loop *l)
{
	l->stopped = true;
}

void loop_close(struct loop *l)
{
	while (l->first)
		tell_laters(l);
	for (size_t i = 0; i < l->n_timers; i++)
		l->heap[i].t->place = 0;
	free(l->heap);
	l->heap = NULL;
	l->n_timers = l->timers_cap = 0;
	fd_closep(&l->alarm.fd);
	fd_closep(&l->epoll);
}
