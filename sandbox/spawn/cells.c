/* The cells: each goes by itself from one event to the next, and none waits for another.
 *
 *   MAKE ─► building ─► running ─► exited ─► ending ─► gone
 *               └─────────┴──────────────────►┘  └─► lingering ─► gone
 *
 * A cell that could not be built, or is to end, is killed at once. When its PID 1 is gone it is removed; what cannot be
 * removed is told, and tried again from time to time. */
#include "spawn/spawn.h"

#include "base/clock.h"

#include <stdio.h>

#define NAP_NS (NS_PER_MS / 10)

static void start(struct kept *k);
static void remove_it(void *arg);

/* ---- The table ---- */

size_t cells_place(const struct spawn *s, uint64_t number)
{
	size_t low = 0, high = s->n_cells;

	while (low < high) {
		const size_t mid = low + (high - low) / 2;

		if (s->cells[mid]->number < number)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

struct kept *cells_find(const struct spawn *s, uint64_t number)
{
	const size_t i = cells_place(s, number);

	return i < s->n_cells && s->cells[i]->number == number ? s->cells[i] : NULL;
}

struct kept *cells_running(const struct spawn *s, uint64_t number, struct err *e)
{
	struct kept *k = cells_find(s, number);

	if (k && k->state == KEPT_RUNNING)
		return k;
	(void)err_set(e, ERR_NOT_FOUND, ENOENT, "there is no such cell, or it has ended");
	return NULL;
}

static int insert(struct spawn *s, struct kept *k, struct err *e)
{
	if (s->n_cells == s->cells_cap) {
		const size_t cap = s->cells_cap ? s->cells_cap * 2 : 64;
		struct kept **grown = realloc(s->cells, cap * sizeof(struct kept *));

		if (!grown)
			return err_oom(e);
		s->cells = grown;
		s->cells_cap = cap;
	}
	s->cells[s->n_cells++] = k; /* its number is the greatest */
	return 0;
}

bool fds_left(const struct spawn *s, size_t more)
{
	return FDS_OF_OURS + s->n_cells * FDS_OF_CELL + s->n_building * FDS_OF_BUILDING + s->function_fds +
		       s->n_queued * 2 + s->n_execs * FDS_OF_EXEC + s->n_limiting * FDS_OF_LIMITING + more <
	       s->fd_limit;
}

/* ---- What is told ---- */

static struct spawn_status how_it_ended(const struct kept *k)
{
	return k->cell.reaped ? (struct spawn_status){.code = k->cell.exit.si_code, .status = k->cell.exit.si_status}
			      : (struct spawn_status){0};
}

static void tell_exit(struct kept *k, enum spawn_word word)
{
	struct spawn_exit m;

	spawn_begin(&m, word, sizeof m);
	m.cell = k->number;
	m.how = how_it_ended(k);
	if (word == SPAWN_ENDED && !k->failed)
		m.err = k->err;
	tell(k->s, &m, NULL, 0);
}

/* Everything that is owed: the failure of its building, an answer to each END. */
static void answer(struct kept *k)
{
	if (k->failed && !k->untold)
		tell_done(k->s, SPAWN_FAILED, SPAWN_MAKE, k->number, &k->err);
	for (; k->ends > 0; k->ends--)
		tell_exit(k, SPAWN_ENDED);
	k->untold = true;
}

/* ---- Watching ---- */

static void exit_ready(void *arg, uint32_t events);

static void stop_waiting(struct kept *k)
{
	for (size_t i = 0; i < ARRAY_LEN(k->waits); i++)
		loop_remove(&k->s->loop, &k->waits[i]);
}

static void set_timer(struct kept *k, uint64_t at_ns)
{
	/* Without memory for it the worst is that nobody looks again. */
	if (loop_arm(&k->s->loop, &k->timer, at_ns) < 0)
		say("out of memory: cell %s has no timer", k->cell.id);
}

static void watch_exit(struct kept *k)
{
	struct err e = {0};

	if (k->exit.added || !fd_valid(k->cell.pidfd) || k->cell.reaped)
		return;
	if (loop_add(&k->s->loop, &k->exit, k->cell.pidfd, EPOLLIN, exit_ready, k, &e) < 0)
		say_err("watching a cell", &e);
}

/* ---- The end ---- */

static void gone(struct kept *k)
{
	struct spawn *s = k->s;
	const size_t i = cells_place(s, k->number);

	stop_waiting(k);
	loop_remove(&s->loop, &k->exit);
	loop_disarm(&s->loop, &k->timer);
	loop_forget(&s->loop, &k->later);
	memmove(&s->cells[i], &s->cells[i + 1], (s->n_cells - i - 1) * sizeof(struct kept *));
	s->n_cells--;
	image_put(k->image);
	function_put(s, k->f);
	free(k);
	spawn_check_stopped(s);
}

/* Some part of it stays. The slot with its record does as well, so if all else fails the next start removes it. */
static void linger(struct kept *k, int r, struct err *why)
{
	if (k->state != KEPT_LINGERING) {
		if (r == -EAGAIN)
			(void)err_set(
				why, ERR_BUSY, ETIMEDOUT,
				"cell %s was killed, but a process of it (host pid %d or below) still hangs in the "
				"kernel",
				k->cell.id, k->cell.pid);
		say_err("ending a cell", why);
		if (!k->failed)
			k->err = *why;
		k->state = KEPT_LINGERING;
		answer(k);
	}
	set_timer(k, clock_mono_ns() + LINGER_MS * NS_PER_MS);
	spawn_check_stopped(k->s);
}

/* Removes what is left of it, as far as that goes now. */
static void remove_it(void *arg)
{
	struct kept *k = arg;
	struct err why = {0};
	const uint64_t now = clock_mono_ns();
	int r;

	/* Both have to leave the loop before the stages' undo closes what they watch. */
	stop_waiting(k);
	if (!cell_has_exited(&k->cell, false) && fd_valid(k->cell.pidfd)) {
		if (k->state == KEPT_LINGERING || now >= k->give_up_ns) {
			linger(k, -EAGAIN, &why);
			return;
		}
		watch_exit(k);
		set_timer(k, k->give_up_ns);
		return;
	}
	loop_remove(&k->s->loop, &k->exit);
	r = cell_try_release(&k->cell, &why);
	if (r == -EAGAIN && k->state != KEPT_LINGERING && now < k->give_up_ns) {
		if (k->pause_ns == 0) { /* from here on it is the group alone */
			k->give_up_ns = now + GROUP_WAIT_MS * NS_PER_MS;
			k->pause_ns = NS_PER_MS / 4;
		}
		set_timer(k, now + k->pause_ns);
		k->pause_ns = k->pause_ns < 50 * NS_PER_MS ? k->pause_ns * 2 : k->pause_ns;
		return;
	}
	if (r < 0) {
		linger(k, r, &why);
		return;
	}
	if (k->failed && k->ends == 0 && !k->untold && !k->s->stopping && cell_retry(&k->cell)) {
		functions_clone_beside(k->s);
		k->failed = false;
		k->err = (struct err){0};
		start(k);
		return;
	}
	answer(k);
	gone(k);
}

static void end(struct kept *k)
{
	if (k->state == KEPT_ENDING || k->state == KEPT_LINGERING)
		return;
	if (k->state == KEPT_BUILDING)
		k->s->n_building--;
	k->state = KEPT_ENDING;
	limits_stop(k->s, k->number);
	stop_waiting(k); /* its child's word may be in this very batch */
	k->give_up_ns = clock_mono_ns() + END_WAIT_MS * NS_PER_MS;
	k->pause_ns = 0;
	cell_kill(&k->cell);
	/* Not at once: this may be a callback of what stands in it. */
	loop_later(&k->s->loop, &k->later, remove_it, k);
}

static void fail(struct kept *k)
{
	k->failed = true;
	end(k);
}

static void exit_ready(void *arg, uint32_t events)
{
	struct kept *k = arg;

	(void)events;
	if (!cell_has_exited(&k->cell, false))
		return;
	loop_remove(&k->s->loop, &k->exit);
	if (k->state == KEPT_ENDING || k->state == KEPT_LINGERING) {
		remove_it(k);
		return;
	}
	k->state = KEPT_EXITED;
	if (talk_knows(k->s, k->number))
		tell_exit(k, SPAWN_EXITED);
}

/* ---- Building ---- */

static void go_on(struct kept *k);

static void timer_due(void *arg)
{
	struct kept *k = arg;

	if (k->state != KEPT_BUILDING) {
		remove_it(k);
	} else if (k->naps && clock_mono_ns() < cell_deadline(&k->cell)) {
		go_on(k);
	} else {
		(void)cell_late(&k->cell, &k->err);
		fail(k);
	}
}

static void wait_is_over(void *arg, uint32_t events)
{
	(void)events;
	go_on(arg);
}

/* For what the cell's building waits for. Where nothing tells of that, for a moment. */
static void wait_on(struct kept *k)
{
	int fds[CELL_WAITS];
	const size_t n = cell_waits_for(&k->cell, fds);

	k->naps = n == 0;
	set_timer(k, k->naps ? clock_mono_ns() + NAP_NS : cell_deadline(&k->cell));
	for (size_t i = 0; i < n; i++)
		if (loop_add(&k->s->loop, &k->waits[i], fds[i], EPOLLIN, wait_is_over, k, &k->err) < 0) {
			fail(k);
			return;
		}
}

static void go_on(struct kept *k)
{
	int r;

	/* The stage may close them, and children that are being born have copies: out of the loop before. */
	stop_waiting(k);
	r = cell_finish(&k->cell, &k->err);
	if (r == 1) {
		wait_on(k);
		return;
	}
	if (r < 0) {
		fail(k);
		return;
	}
	if (k->image && clone_introduce(&k->cell, &k->image->snap, &k->err) < 0) {
		fail(k);
		return;
	}
	loop_disarm(&k->s->loop, &k->timer);
	k->s->n_building--;
	k->state = KEPT_RUNNING;
	cells_tell(k->s, k, SPAWN_MADE);
	plan_free(k->cell.plan); /* with its secrets; a thousand cells would hold 40 MB of them */
	k->cell.plan = NULL;
	watch_exit(k);
}

static void start(struct kept *k)
{
	k->state = KEPT_BUILDING;
	k->s->n_building++;
	k->pause_ns = 0;
	if (cell_begin(&k->cell, &k->err) < 0) {
		fail(k);
		return;
	}
	wait_on(k);
}

/* Out of the function's present snapshot. */
static void restore(struct kept *k, uint64_t give_up_ns)
{
	struct cell_host *host = k->cell.host;

	k->image = image_get(k->f->image);
	host->engine = &k->s->engine;
	(void)kdat_read(host, "criu", &host->kdat);
	cell_restore_from(&k->cell, &k->image->snap, FD_NONE);
	k->cell.give_up_ns = give_up_ns;
}

static int make(struct spawn *s, const struct spawn_make *m, struct err *why)
{
	struct function *f = function_find(s, m->function);
	struct kept *k;
	int r;

	if (!f || f->forgotten)
		return err_set(why, ERR_NOT_FOUND, ENOENT, "there is no function %u", m->function);
	if (m->restored && !f->image)
		return err_set(why, ERR_NOT_FOUND, ENOENT, "function %u has no snapshot", m->function);
	if (m->restored && image_check(f->image, why) < 0)
		return -EBADMSG;
	if (s->stopping)
		return err_set(why, ERR_CANCELLED, ECANCELED, "fsbox-spawn is ending");
	if (s->n_cells >= s->max_cells)
		return err_set(why, ERR_CAPACITY, EUSERS, "cells");
	if (!fds_left(s, FDS_OF_CELL + FDS_OF_BUILDING))
		return err_set(why, ERR_CAPACITY, EMFILE, "no descriptors are left for another cell (%zu may be open)",
			       s->fd_limit);
	k = calloc(1, sizeof *k);
	if (!k)
		return err_oom(why);
	k->s = s;
	k->number = m->cell;
	k->f = f;
	k->timer = (struct timer){.due = timer_due, .arg = k};
	k->begin_ns = clock_mono_ns();
	k->note_len = m->note_len;
	memcpy(k->note, m->note, sizeof k->note);
	cell_init(&k->cell, &f->def.host, &f->def.spec, &f->def.filter);
	if (m->restored)
		restore(k, m->give_up_ns);
	r = insert(s, k, why);
	if (r < 0) {
		free(k);
		return r;
	}
	f->cells++;
	start(k);
	return 0;
}

int cells_make(struct spawn *s, const struct spawn_make *m, struct err *e)
{
	struct err why = {0};

	if (m->cell <= s->last_cell)
		return err_set(e, ERR_BUG, EPROTO, "a cell with the old number %llu", (unsigned long long)m->cell);
	s->last_cell = m->cell;
	if (make(s, m, &why) < 0)
		tell_done(s, SPAWN_FAILED, SPAWN_MAKE, m->cell, &why);
	return 0;
}

/* ---- What else is asked of a cell ---- */

int cells_end(struct spawn *s, uint64_t number, struct err *e)
{
	struct kept *k = cells_find(s, number);
	struct spawn_exit m;

	if (number > s->last_cell)
		return err_set(e, ERR_BUG, EPROTO, "the end of a cell that never was");
	if (!k || k->untold || k->state == KEPT_LINGERING) { /* it has been answered */
		spawn_begin(&m, SPAWN_ENDED, sizeof m);
		m.cell = number;
		tell(s, &m, NULL, 0);
		return 0;
	}
	k->ends++;
	if (k->state == KEPT_BUILDING) {
		(void)err_set(&k->err, ERR_CANCELLED, ECANCELED, "ended while it was being built");
		fail(k);
	} else {
		end(k);
	}
	return 0;
}

void cells_kill(struct spawn *s, uint64_t number)
{
	struct kept *k = cells_find(s, number);

	if (k && !k->untold && (k->state == KEPT_RUNNING || k->state == KEPT_BUILDING))
		cell_kill(&k->cell);
}

void cells_note(struct spawn *s, const struct spawn_note *m)
{
	struct kept *k = cells_find(s, m->cell);

	if (!k)
		return;
	k->note_len = m->note_len;
	memcpy(k->note, m->note, sizeof k->note);
}

void cells_settle(struct spawn *s, uint64_t number)
{
	struct err why = {0};
	struct kept *k = cells_running(s, number, &why);

	if (k && k->cell.has_cg && !k->f->def.spec.no_init_boost)
		(void)!cg_end_boost(&k->cell.cg, &why);
	tell_done(s, SPAWN_DONE, SPAWN_SETTLE, number, &why);
}

/* ---- All of them ---- */

void cells_lose_daemon(struct spawn *s)
{
	/* Nothing is freed here: end() leaves that to the end of the turn. */
	for (size_t i = 0; i < s->n_cells; i++) {
		struct kept *k = s->cells[i];

		if (k->state == KEPT_RUNNING || k->state == KEPT_EXITED)
			continue;
		k->untold = true;
		k->ends = 0;
		if (k->state == KEPT_BUILDING) {
			(void)err_set(&k->err, ERR_CANCELLED, ECANCELED, "fsboxd died");
			fail(k);
		}
	}
}

void cells_end_all(struct spawn *s)
{
	for (size_t i = 0; i < s->n_cells; i++) {
		struct kept *k = s->cells[i];

		k->untold = true;
		end(k);
	}
}
