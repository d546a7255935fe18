/* The conversation with the present fsboxd. */
#include "spawn/spawn.h"

#include "base/clock.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/sysinfo.h>

enum { MESSAGES_PER_TURN = 16, RETRY_MS = 10 };

static void resend_due(void *arg);

bool talk_knows(const struct spawn *s, uint64_t cell)
{
	return fd_valid(s->pair) && !(s->adopting && cell >= s->adopt_cell && cell <= s->adopt_last_cell);
}

/* Hears fsboxd unless it does not hear us, and asks to be woken when it does. */
static void rewatch(struct spawn *s)
{
	const bool more = s->first || s->adopting;

	s->paused = s->n_queued > QUEUE_MAX;
	(void)loop_set(&s->loop, &s->talk,
		       (s->paused ? 0U : (uint32_t)EPOLLIN) |
			       (more && !timer_armed(&s->resend) ? (uint32_t)EPOLLOUT : 0U));
}

static void queued_free(struct queued *q)
{
	while (q->n_fds > 0)
		fd_closep(&q->fds[--q->n_fds]);
	free(q);
}

static void queue_clear(struct spawn *s)
{
	while (s->first) {
		struct queued *q = s->first;

		s->first = q->next;
		queued_free(q);
	}
	s->last = &s->first;
	s->n_queued = 0;
}

/* What cannot be told any more: the next fsboxd hears of everything from the beginning. */
static void give_up(struct spawn *s, const char *why)
{
	say("fsboxd (pid %d) is ended: %s", s->pid, why);
	daemon_kill(s, SIGKILL);
	loop_remove(&s->loop, &s->talk);
}

static bool enqueue(struct spawn *s, const void *msg, const int *fds, size_t n_fds)
{
	struct spawn_head head;
	struct queued *q;

	memcpy(&head, msg, sizeof head);
	q = malloc(sizeof *q + head.size);
	if (!q)
		return false;
	q->next = NULL;
	q->n_fds = 0;
	memcpy(q->bytes, msg, head.size);
	for (; q->n_fds < n_fds; q->n_fds++) {
		q->fds[q->n_fds] = fcntl(fds[q->n_fds], F_DUPFD_CLOEXEC, 3);
		if (q->fds[q->n_fds] < 0) {
			queued_free(q);
			return false;
		}
	}
	*s->last = q;
	s->last = &q->next;
	s->n_queued++;
	return true;
}

/* ETOOMANYREFS: descriptors in flight are counted for an ordinary user, and nothing tells when they have landed.
 * The socket may be writable all that time. */
static bool try_later(struct spawn *s, int r)
{
	if (r == -ETOOMANYREFS || r == -ENOBUFS || r == -ENOMEM) {
		s->resend = (struct timer){.due = resend_due, .arg = s, .place = s->resend.place};
		return loop_arm(&s->loop, &s->resend, clock_mono_ns() + RETRY_MS * NS_PER_MS) == 0;
	}
	return r == -EAGAIN;
}

void tell(struct spawn *s, const void *msg, const int *fds, size_t n_fds)
{
	int r = -EAGAIN;

	if (!fd_valid(s->pair) || !s->talk.added)
		return;
	if (!s->first)
		r = spawn_send(s->pair, msg, fds, n_fds);
	if (try_later(s, r) && !enqueue(s, msg, fds, n_fds))
		give_up(s, "no memory or descriptors to keep what it does not read");
	else if (s->first)
		rewatch(s);
	/* Any other failure: it is gone, or will be told so by the socket. */
}

void tell_done(struct spawn *s, enum spawn_word word, enum spawn_word of, uint64_t number, const struct err *e)
{
	struct spawn_done m;

	spawn_begin(&m, word, sizeof m);
	m.number = number;
	m.of = of;
	m.err = *e;
	tell(s, &m, NULL, 0);
}

/* ---- Handing over ---- */

/* The next function or cell that is not told yet; false when that was all. Sent from where it stands: to queue them all
 * would take thousands of duplicates of descriptors. */
static bool adopt_next(struct spawn *s)
{
	const struct function *f = function_from(s, s->adopt_function);
	const size_t i = cells_place(s, s->adopt_cell);

	if (f && f->number <= s->adopt_last_function) {
		s->adopt_function = (uint64_t)f->number + 1;
		tell(s, f->def.wire, f->def.fds, f->def.n_fds);
		return true;
	}
	for (size_t k = i; k < s->n_cells && s->cells[k]->number <= s->adopt_last_cell; k++) {
		s->adopt_cell = s->cells[k]->number + 1;
		if (!s->cells[k]->untold && (s->cells[k]->state == KEPT_RUNNING || s->cells[k]->state == KEPT_EXITED)) {
			cells_tell(s, s->cells[k], SPAWN_ADOPT);
			return true;
		}
	}
	return false;
}

static void pump(struct spawn *s)
{
	while (s->first) {
		struct queued *q = s->first;
		const int r = spawn_send(s->pair, q->bytes, q->fds, q->n_fds);

		if (try_later(s, r)) {
			rewatch(s);
			return;
		}
		s->first = q->next;
		s->last = s->first ? s->last : &s->first;
		s->n_queued--;
		queued_free(q);
	}
	while (s->adopting && !s->first) {
		struct spawn_number all;

		if (adopt_next(s))
			continue;
		s->adopting = false;
		spawn_begin(&all, SPAWN_ADOPTED, sizeof all);
		tell(s, &all, NULL, 0);
	}
	rewatch(s);
}

static void resend_due(void *arg)
{
	pump(arg);
}

static void say_hello(struct spawn *s)
{
	struct spawn_hello m;

	spawn_begin(&m, SPAWN_HELLO, sizeof m);
	m.version = SPAWN_VERSION;
	m.flags = (s->host.facts.privileged ? SPAWN_PRIVILEGED : 0U) | (s->limits ? SPAWN_LIMITS_WORK : 0U) |
		  (s->limits && s->host.cg.v2_freeze ? SPAWN_FREEZE_WORKS : 0U) | (s->has_engine ? SPAWN_ENGINE : 0U);
	m.run = s->run;
	m.started_ns = s->started_ns;
	m.memory_bytes = s->memory_bytes;
	m.last_cell = s->last_cell;
	m.last_function = s->last_function;
	m.n_cpus = s->host.cg.n_cpus;
	m.max_cells = s->max_cells;
	m.cgroup_mode = s->host.cg.mode;
	m.uid = s->host.facts.euid;
	m.gid = s->host.facts.egid;
	m.restarts = s->restarts;
	m.functions = (uint32_t)s->n_functions;
	for (size_t i = 0; i < s->n_cells; i++)
		m.cells += !s->cells[i]->untold;
	(void)snprintf(m.runtime_dir, sizeof m.runtime_dir, "%s", s->opt.runtime);
	(void)snprintf(m.state_dir, sizeof m.state_dir, "%s", s->opt.state);
	tell(s, &m, NULL, 0);
}

/* ---- Hearing ---- */

static int take(struct spawn *s, struct spawn_datagram *d, struct err *e)
{
	switch (d->head.word) {
	case SPAWN_FUNCTION:
		return function_define(s, d, e);
	case SPAWN_FUNCTION_NOTE:
		return function_note(s, &d->function_note, e);
	case SPAWN_FORGET:
		return function_forget(s, d->number.number, e);
	case SPAWN_MAKE:
		return cells_make(s, &d->make, e);
	case SPAWN_SETTLE:
		cells_settle(s, d->number.number);
		return 0;
	case SPAWN_NOTE:
		cells_note(s, &d->note);
		return 0;
	case SPAWN_LIMITS:
		limits_change(s, &d->limits);
		return 0;
	case SPAWN_KILL:
		cells_kill(s, d->number.number);
		return 0;
	case SPAWN_END:
		return cells_end(s, d->number.number, e);
	case SPAWN_OPEN:
		return open_ask(s, d, e);
	case SPAWN_PUBLISH:
		publish_ask(s, d);
		return 0;
	case SPAWN_READY:
		notify_ready(s);
		return 0;
	case SPAWN_EXEC:
		return exec_start(s, d, e);
	case SPAWN_EXEC_KILL:
		return exec_kill(s, d->number.number, e);
	default: /* spawn_check() lets no other one through */
		return err_set(e, ERR_BUG, EPROTO, "a word for the other side");
	}
}

static void talk_ready(void *arg, uint32_t events)
{
	struct spawn *s = arg;
	struct err e = {0};

	if (events & EPOLLOUT)
		pump(s);
	if (s->paused && !(events & (EPOLLHUP | EPOLLERR)))
		return;
	for (int i = 0; i < MESSAGES_PER_TURN && s->talk.added && !s->paused; i++) {
		int r = spawn_receive(s->pair, s->in, SPAWN_TO_SPAWN, &e);

		if (r == -EAGAIN && e.kind == ERR_NONE)
			return;
		if (r == 0) { /* its end of the socket is closed: it is gone, or wants no more of us */
			loop_remove(&s->loop, &s->talk);
			daemon_kill(s, SIGKILL);
			return;
		}
		const uint32_t word = s->in->head.word;

		if (r > 0)
			r = take(s, s->in, &e);
		spawn_drop(s->in);
		if (r < 0) {
			give_up(s, e.msg);
			return;
		}
		if (word == SPAWN_MAKE || word == SPAWN_EXEC) /* they take their time */
			return;
	}
	if (events & (EPOLLHUP | EPOLLERR) && s->paused) {
		loop_remove(&s->loop, &s->talk);
		daemon_kill(s, SIGKILL);
	}
}

int talk_open(struct spawn *s, int pair, struct err *e)
{
	int r = loop_add(&s->loop, &s->talk, pair, EPOLLIN, talk_ready, s, e);

	if (r < 0)
		return r;
	s->pair = pair;
	s->last = &s->first;
	s->adopting = true;
	s->adopt_function = s->adopt_cell = 0;
	s->adopt_last_function = s->last_function;
	s->adopt_last_cell = s->last_cell;
	say_hello(s);
	pump(s);
	return 0;
}

void talk_close(struct spawn *s)
{
	loop_remove(&s->loop, &s->talk);
	loop_disarm(&s->loop, &s->resend);
	queue_clear(s);
	fd_closep(&s->pair);
	s->adopting = s->paused = false;
	cells_lose_daemon(s);
	open_lose_daemon(s);
	exec_lose_daemon(s);
	limits_lose_daemon(s);
}
