#include "base/loop.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"

#include <string.h>

int loop_open(struct loop *l, struct err *e)
{
	int fd = epoll_create1(EPOLL_CLOEXEC);

	*l = (struct loop){.epoll = fd < 0 ? FD_NONE : fd, .last = &l->first};
	return fd < 0 ? err_sys(e, errno, "make an epoll instance") : 0;
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

	if (l->n_timers == 0)
		return;
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

/* How long to sleep: NULL for without limit. */
static const struct timespec *sleep_time(const struct loop *l, int timeout_ms, struct timespec *ts)
{
	uint64_t ns = timeout_ms < 0 ? UINT64_MAX : (uint64_t)timeout_ms * NS_PER_MS;

	if (l->first)
		ns = 0;
	if (ns > 0 && l->n_timers > 0) {
		uint64_t now = clock_mono_ns(), at = l->heap[0].at_ns, left = at > now ? at - now : 0;

		ns = left < ns ? left : ns;
	}
	if (ns == UINT64_MAX)
		return NULL;
	*ts = (struct timespec){.tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S)};
	return ts;
}

/* epoll_pwait2(2) is in every kernel that we support, but not in every filter or tool that runs us. */
static int wait_events(struct loop *l, struct epoll_event *events, const struct timespec *ts)
{
	if (!l->no_pwait2) {
		int n = epoll_pwait2(l->epoll, events, LOOP_BATCH, ts, NULL);

		if (n >= 0 || errno != ENOSYS)
			return n;
		l->no_pwait2 = true;
	}

	uint64_t ns = ts ? (uint64_t)ts->tv_sec * NS_PER_S + (uint64_t)ts->tv_nsec : 0;
	uint64_t ms = ns / NS_PER_MS +
		      (ns % NS_PER_MS != 0); /* never too early, or the last millisecond would be spun */
	return epoll_wait(l->epoll, events, LOOP_BATCH, !ts ? -1 : ms > INT32_MAX ? INT32_MAX : (int)ms);
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
	struct timespec ts;
	int n = wait_events(l, events, sleep_time(l, timeout_ms, &ts));

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
	fd_closep(&l->epoll);
}
