/* One epoll instance with timers: what a process of one thread sleeps in.
 *
 * Watches, timers and laters stand inside of their owners, so nothing is allocated for an event; what is embedded must
 * not move while it is in use. Everything may be called from within callbacks, also to remove what is being told. A loop
 * is used by one thread. A turn tells at most 64 events and 64 timers, then what was put off with loop_later(): no
 * source can starve another. */
#pragma once

#include "base/err.h"

#include <sys/epoll.h>

enum { LOOP_BATCH = 64 };

/* Zero-initialise to start. */
struct watch {
	int fd; /* borrowed: remove the watch before it is closed, because a duplicate elsewhere keeps it in epoll */
	uint32_t events;
	void (*ready)(void *arg, uint32_t events); /* EPOLLHUP and EPOLLERR come unasked (epoll_ctl(2)) */
	void *arg;
	bool added; /* private */
};

/* Zero-initialise to start. due() is told once; arm again to repeat. */
struct timer {
	uint64_t at_ns; /* CLOCK_MONOTONIC */
	void (*due)(void *arg);
	void *arg;
	size_t place; /* private: in the heap, from 1; 0 when not armed */
};

/* Zero-initialise to start. */
struct later {
	void (*fn)(void *arg);
	void *arg;
	struct later *next; /* private */
	bool queued;        /* private */
};

/* Initialised by loop_open(), also when it fails; must not move. */
struct loop {
	/* private */
	int epoll;
	bool stopped, rings;
	uint64_t alarm_ns; /* what it is set to; UINT64_MAX: to nothing */
	struct watch alarm;
	struct loop_slot {
		uint64_t at_ns; /* the timer's, without a look at it */
		struct timer *t;
	} * heap;
	size_t n_timers, timers_cap;
	struct later *first, **last, mark; /* the mark: what is behind it waits for the next turn */
	struct epoll_event *batch;         /* being told, NULL between batches */
	int batch_at, batch_len;
};

NODISCARD int loop_open(struct loop *l, struct err *e);
/* Watches and timers are forgotten, laters that wait are run. */
void loop_close(struct loop *l);

/* Level-triggered. @w must not be added already. ERR_LIMIT for ENOSPC (epoll's max_user_watches), ERR_SYSTEM. */
NODISCARD int loop_add(struct loop *l, struct watch *w, int fd, uint32_t events, void (*ready)(void *, uint32_t),
		       void *arg, struct err *e);
/* Changes what is waited for; no system call when that is what it was. What this batch holds already is told still.
 * -errno. */
int loop_set(struct loop *l, struct watch *w, uint32_t events);
/* Nothing more is told of it, not even what this batch still holds. Idempotent. */
void loop_remove(struct loop *l, struct watch *w);

/* Arms the timer, or moves it. due and arg are the caller's to set. -ENOMEM only when it was not armed. */
NODISCARD int loop_arm(struct loop *l, struct timer *t, uint64_t at_ns);
void loop_disarm(struct loop *l, struct timer *t); /* idempotent */
static inline bool timer_armed(const struct timer *t)
{
	return t->place != 0;
}

/* Calls fn(arg) once at the end of this turn, and, from within such a call, at the end of the next, which then does not
 * sleep. For freeing what callbacks stand in and for going on with what must not keep others waiting. Already put off: only
 * fn and arg are replaced. */
void loop_later(struct loop *l, struct later *x, void (*fn)(void *), void *arg);
void loop_forget(struct loop *l, struct later *x); /* idempotent */

/* One turn: waits at most @timeout_ms (-1: without limit) for something to happen. 0, or a failure of epoll itself. */
NODISCARD int loop_once(struct loop *l, int timeout_ms, struct err *e);
/* Turns until loop_stop(), at once when that was called before. */
NODISCARD int loop_run(struct loop *l, struct err *e);
void loop_stop(struct loop *l);
