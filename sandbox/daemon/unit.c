#include "daemon/unit_parts.h"

#include "base/fd.h"

#include <stdio.h>

const struct unit_ops *unit_ops;

/* Between calls a cell does not run (Lambda's rule). Not at once: freezing and thawing takes a third of the time that a
 * call takes, and where calls follow one another both would be for nothing. What a function leaves running after its
 * answer has so much longer to run. Where freezing has come just before the next call it waits longer. */
#define FREEZE_AFTER_NS     (2 * NS_PER_MS)
#define MAX_FREEZE_AFTER_NS (16 * NS_PER_MS)
enum { SHORT_FREEZE = 4, LONG_FREEZE = 16 }; /* times what it was waited for */

const char *unit_state_name(const struct unit *u)
{
	static const char *const names[] = {"starting", "init", "idle", "busy", "ending", "ending"};

	return u->paused && u->state == UNIT_IDLE ? "paused" : names[u->state];
}

struct unit *unit_find(struct daemon *d, const char *id)
{
	struct unit *u = d->units;

	while (u && strcmp(u->id, id) != 0)
		u = u->next;
	return u;
}

struct unit *unit_by_number(struct daemon *d, uint64_t number)
{
	struct unit *u = d->units;

	while (u && u->number != number)
		u = u->next;
	return u;
}

/* ---- Its place in lists and counts ---- */

bool unit_is_free(const struct unit *u)
{
	return u->state == UNIT_IDLE && !u->paused && !u->leased && !u->last && u->n_execs == 0;
}

/* Into the list of free ones, or out of it, as its state and marks say. */
void unit_list_free(struct unit *u)
{
	struct function *f = u->f;

	if (unit_is_free(u) == (u->free_at != NULL))
		return;
	if (u->free_at) {
		*u->free_at = u->free_next;
		if (u->free_next)
			u->free_next->free_at = u->free_at;
		u->free_at = NULL;
		f->n_free--;
		return;
	}
	u->free_next = f->free;
	u->free_at = &f->free;
	if (u->free_next)
		u->free_next->free_at = &u->free_next;
	f->free = u;
	f->n_free++;
}

static void add_busy(struct function *f, double share)
{
	double *const sums[] = {&f->d->busy_cpus, &f->account->busy_cpus};

	for (size_t i = 0; i < ARRAY_LEN(sums); i++) {
		*sums[i] += share;
		if (*sums[i] < 0.0001) /* sums of doubles drift */
			*sums[i] = 0;
	}
}

/* At the end: calls are in the order in which they began. */
static void list_busy(struct unit *u)
{
	struct function *f = u->f;

	u->busy_next = NULL;
	u->busy_at = f->busy ? f->busy_end : &f->busy;
	*u->busy_at = u;
	f->busy_end = &u->busy_next;
	add_busy(f, u->share);
}

static void unlist_busy(struct unit *u)
{
	struct function *f = u->f;

	*u->busy_at = u->busy_next;
	if (u->busy_next)
		u->busy_next->busy_at = u->busy_at;
	else
		f->busy_end = u->busy_at;
	u->busy_at = NULL;
	add_busy(f, -u->share);
}

/* The counts of a function follow from the states of its units. */
void unit_set_state(struct unit *u, enum unit_state state)
{
	struct function *f = u->f;
	uint32_t *const count[] = {&f->n_starting, &f->n_starting, &f->n_idle, &f->n_busy, NULL, NULL};
	const bool was_ending = u->state >= UNIT_LEAVING, is_ending = state >= UNIT_LEAVING;

	if (u->state == state)
		return;
	if (count[u->state])
		--*count[u->state];
	if (count[state])
		++*count[state];
	if (u->state == UNIT_BUSY)
		unlist_busy(u);
	if (state == UNIT_BUSY)
		list_busy(u);
	if (is_ending && !was_ending) { /* and nothing goes back from there */
		f->n_ending++;
		f->account->n_ending++;
		u->d->n_ending++;
	}
	u->state = state;
	unit_list_free(u);
}

static int take_slot(struct unit *u)
{
	for (int i = 0; i < CELL_MAX_SLOTS; i++)
		if (!u->d->slots[i]) {
			u->d->slots[i] = u;
			return i;
		}
	return -1;
}

void unit_mark_busy(const struct unit *u, bool busy)
{
	u->d->busy[u->slot] = busy ? u->number : 0;
}

struct unit *unit_new(struct function *f, uint64_t number)
{
	struct unit *u = calloc(1, sizeof *u);

	if (!u)
		return NULL;
	*u = (struct unit){
		.d = f->d,
		.f = f,
		.number = number,
		.freeze = FD_NONE,
		.patience_ns = FREEZE_AFTER_NS,
		.asked_ns = clock_mono_ns(),
		.created_ms = wall_ms(),
		.memory_bytes = f->spec.memory_bytes,
		.share = f->share,
	};
	cell_init(&u->cell, NULL, &f->spec, NULL);
	for (int i = 0; i < SESSION_FDS; i++)
		u->watches[i].u = u;
	u->slot = take_slot(u);
	if (u->slot < 0) {
		free(u);
		return NULL;
	}
	u->next = f->d->units;
	u->at = &f->d->units;
	if (u->next)
		u->next->at = &u->next;
	f->d->units = u;
	f->n_units++;
	f->n_starting++; /* of UNIT_MAKING */
	f->d->n_units++;
	f->d->memory_bytes += u->memory_bytes;
	f->account->cells++;
	f->account->memory_bytes += u->memory_bytes;
	return u;
}

static void close_cell(struct unit *u)
{
	struct cell *c = &u->cell;
	int *const fds[] = {&c->in, &c->out, &c->std_out, &c->std_err, &c->pidfd, &u->freeze};

	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		fd_closep(fds[i]);
	if (c->has_cg)
		cg_close(&c->cg);
	c->has_cg = false;
}

/* Nothing of the cell is left. */
void unit_free(struct unit *u)
{
	struct daemon *d = u->d;
	struct function *f = u->f;

	unit_set_state(u, UNIT_ENDING);
	unit_stop_talking(u);
	close_cell(u);
	unit_mark_busy(u, false);
	d->slots[u->slot] = NULL;
	*u->at = u->next;
	if (u->next)
		u->next->at = u->at;
	f->n_ending--;
	f->account->n_ending--;
	d->n_ending--;
	f->n_units--;
	d->n_units--;
	d->memory_bytes -= u->memory_bytes;
	f->account->cells--;
	f->account->memory_bytes -= u->memory_bytes;
	free(u);
	function_release(f);
}

/* When a restore is given up that begins now, and whether that is earlier than it would be without its call's deadline. It
 * takes some hundredths of a second, and 0.6 ms for each MiB; where the machine is too busy much more, and CRIU may hang. A
 * half of what its call has left: the other one is for a cold start. A call that has less time than a restore may take ends
 * first, and the cell is for the next one. */
static uint64_t restore_until(const struct function *f, uint64_t deadline_ns, bool *ret_hurried)
{
	const uint64_t now = clock_mono_ns(), mib = f->snapshot.page_bytes >> 20;
	const uint64_t shortest = (RESTORE_LEAST_MS + mib * RESTORE_LEAST_MS_PER_MIB) * NS_PER_MS;
	const uint64_t longest = (RESTORE_MOST_MS + mib * RESTORE_MOST_MS_PER_MIB) * NS_PER_MS;
	const uint64_t half = deadline_ns > now ? (deadline_ns - now) / 2 : 0;

	*ret_hurried = deadline_ns != 0 && half < longest;
	return now + (!*ret_hurried ? longest : half < shortest ? shortest : half);
}

int unit_start(struct function *f, uint64_t deadline_ns, struct unit **ret, struct err *e)
{
	struct daemon *d = f->d;
	uint64_t until = 0;
	struct unit *u = unit_new(f, d->last_unit + 1);
	struct note note = {.magic = NOTE_MAGIC};

	if (!u)
		return err_set(e, ERR_CAPACITY, ENOMEM, "there is no room for another cell");
	note.slot = (uint32_t)u->slot;
	d->calls[u->slot] = 0;
	u->restored = f->snapshot.state == SNAPSHOT_READY;
	u->timer = (struct timer){.due = unit_on_time, .arg = u};
	if (u->restored)
		until = restore_until(f, deadline_ns, &u->hurried);
	if (u->restored && loop_arm(&d->loop, &u->timer, until + RESTORE_END_MS * NS_PER_MS) < 0) {
		u->restored = false;
		until = 0;
	}
	if (!link_make(d->link, u->number, f->number, until, &note, sizeof note)) {
		unit_free(u);
		return err_oom(e);
	}
	d->last_unit = u->number;
	f->cold_starts += !u->restored;
	*ret = u;
	return 0;
}

/* ---- Freezing ---- */

void unit_send_note(const struct unit *u)
{
	struct note note = {
		.magic = NOTE_MAGIC,
		.slot = (uint32_t)u->slot,
		.execs = u->execs,
		.lease_ns = u->leased ? u->lease_ns : 0,
		.flags = (u->ready_ns != 0 ? (uint32_t)NOTE_READY : 0U) | (u->paused ? (uint32_t)NOTE_PAUSED : 0U) |
			 (u->restored ? (uint32_t)NOTE_RESTORED : 0U) |
			 (u->session.has_shutdown ? (uint32_t)NOTE_SHUTDOWN : 0U) |
			 (u->session.wants_reports ? (uint32_t)NOTE_REPORTS : 0U),
	};
	struct spawn_note m;

	if (u->leased) {
		(void)snprintf(note.lease, sizeof note.lease, "%s", u->lease);
		note.grant = u->grant;
	}
	spawn_begin(&m, SPAWN_NOTE, sizeof m);
	m.cell = u->number;
	m.note_len = sizeof note;
	memcpy(m.note, &note, sizeof note);
	(void)!link_send(u->d->link, &m, NULL, 0);
}

/* Was it worth it? */
static void learn_patience(struct unit *u)
{
	const uint64_t frozen_ns = clock_mono_ns() - u->frozen_since_ns;

	if (frozen_ns < SHORT_FREEZE * u->patience_ns && u->patience_ns < MAX_FREEZE_AFTER_NS)
		u->patience_ns *= 2;
	else if (frozen_ns > LONG_FREEZE * u->patience_ns)
		u->patience_ns = FREEZE_AFTER_NS;
}

void unit_set_frozen(struct unit *u, bool frozen)
{
	if (u->frozen == frozen || !fd_valid(u->freeze))
		return;
	if (pwrite(u->freeze, frozen ? "1" : "0", 1, 0) != 1)
		return;
	u->frozen = frozen;
	if (frozen)
		u->frozen_since_ns = clock_mono_ns();
	else
		learn_patience(u);
}

static void settle(void *arg)
{
	struct unit *u = arg;

	if (u->state == UNIT_IDLE && u->f->forgotten && !u->leased) /* nobody will call it again */
		unit_leave(u, "undeployed");
}

/* A lease that nobody uses goes with the idle time. */
uint64_t unit_idle_until(const struct unit *u)
{
	return u->idle_ns + (u->leased ? u->lease_ns : u->d->config.keep_ns);
}

bool unit_is_to_freeze(const struct unit *u)
{
	return !u->d->config.no_freeze && fd_valid(u->freeze) && !u->frozen;
}

void unit_resize(struct unit *u, uint64_t memory_bytes)
{
	u->d->memory_bytes += memory_bytes - u->memory_bytes; /* unsigned: a smaller one wraps to the right sum */
	u->f->account->memory_bytes += memory_bytes - u->memory_bytes;
	u->memory_bytes = memory_bytes;
	if (u->state == UNIT_BUSY)
		add_busy(u->f, -u->share);
	u->share = function_share(u->d, memory_bytes);
	if (u->state == UNIT_BUSY)
		add_busy(u->f, u->share);
}

void unit_rest(struct unit *u)
{
	uint64_t until;

	u->idle_ns = clock_mono_ns();
	/* It rests when a command in it is over; paused it does so until somebody resumes it, but a lease ends. */
	if (u->n_execs > 0 || (u->paused && !u->leased)) {
		loop_disarm(&u->d->loop, &u->timer);
		return;
	}
	until = unit_idle_until(u);
	if (unit_is_to_freeze(u) && u->idle_ns + u->patience_ns < until)
		until = u->idle_ns + u->patience_ns;
	(void)!loop_arm(&u->d->loop, &u->timer, until);
	if (u->f->forgotten)
		loop_later(&u->d->loop, &u->settle, settle, u);
}

/* Its function was undeployed meanwhile, or its holder wanted no other call in it. */
void unit_leave_if_unwanted(struct unit *u)
{
	if ((u->f->forgotten || u->last) && u->state == UNIT_IDLE && !u->leased)
		unit_leave(u, u->f->forgotten ? "its function was undeployed" : "released");
}

void unit_lease(struct unit *u, const char *token, uint64_t ns)
{
	u->leased = token != NULL;
	if (!token)
		u->grant = (struct unit_grant){0};
	unit_list_free(u);
	u->lease_ns = ns;
	(void)snprintf(u->lease, sizeof u->lease, "%s", token ? token : "");
	unit_send_note(u);
	if (u->state == UNIT_IDLE) /* the timer of a busy one is its call's */
		unit_rest(u);
	unit_leave_if_unwanted(u);
}

int unit_pause(struct unit *u, bool paused, struct err *e)
{
	if (!fd_valid(u->freeze))
		return err_set(e, ERR_UNSUPPORTED, EOPNOTSUPP, "this host has no cgroup2 freezer");
	if (u->state != UNIT_IDLE)
		return err_set(e, ERR_BUSY, EBUSY, "the cell is %s", unit_state_name(u));
	if (u->paused == paused)
		return 0;
	if (u->n_execs > 0)
		return err_set(e, ERR_BUSY, EBUSY, "a command runs in the cell");
	u->paused = paused;
	unit_list_free(u);
	daemon_event(u->d, paused ? EV_PAUSED : EV_RESUMED, u->f, u, NULL, NULL, NULL);
	unit_send_note(u);
	if (paused) {
		unit_set_frozen(u, true);
		unit_rest(u);
		return u->frozen ? 0 : err_sys(e, errno, "freezing the cell");
	}
	unit_rest(u);
	u->d->on_room(u->d, u->f);
	return 0;
}

int unit_begin_exec(struct unit *u, struct err *e)
{
	if (u->state != UNIT_INIT && u->state != UNIT_IDLE && u->state != UNIT_BUSY)
		return err_set(e, ERR_NOT_FOUND, ESRCH, "the cell is %s", unit_state_name(u));
	if (u->paused)
		return err_set(e, ERR_BUSY, EBUSY, "the cell is paused");
	u->n_execs++;
	u->execs++;
	unit_list_free(u);
	if (u->state == UNIT_IDLE) {
		loop_disarm(&u->d->loop, &u->timer);
		unit_set_frozen(u, false);
	}
	if (u->ready_ns != 0)
		unit_send_note(u);
	return 0;
}

void unit_end_exec(struct unit *u)
{
	u->n_execs--;
	unit_list_free(u);
	if (u->n_execs > 0 || u->state != UNIT_IDLE)
		return;
	unit_rest(u);
	unit_leave_if_unwanted(u);
	u->d->on_room(u->d, u->f);
}

/* ---- Its end ---- */

void unit_retire(struct unit *u, const char *why)
{
	if (u->state != UNIT_BUSY) {
		unit_leave(u, why);
		return;
	}
	u->last = true;
	if (u->leased)
		unit_lease(u, NULL, 0);
}

void unit_end(struct unit *u, const char *why)
{
	if (u->state == UNIT_ENDING)
		return;
	daemon_event(u->d, EV_ENDED, u->f, u, NULL, NULL, why);
	unit_set_state(u, UNIT_ENDING);
	unit_stop_talking(u);
	if (u->invocation)
		unit_ops->dropped(u);
	unit_mark_busy(u, false);
	/* A cell that is being built is ended as well: FAILED, then ENDED. */
	(void)!link_number(u->d->link, SPAWN_END, u->number);
}

/* What was printed before comes first. */
void unit_end_with(struct unit *u, const char *why)
{
	if (u->talking)
		session_drain_rest(&u->session);
	unit_end(u, why);
}

void unit_leave(struct unit *u, const char *why)
{
	const uint64_t ms = u->f->runtime == SPEC_RUNTIME_CUSTOM ? INVOKE_SHUTDOWN_CUSTOM_MS : INVOKE_SHUTDOWN_MS;
	struct err ignored = {0};

	if (u->state != UNIT_IDLE || !u->session.has_shutdown ||
	    loop_arm(&u->d->loop, &u->timer, clock_mono_ns() + ms * NS_PER_MS) < 0) {
		unit_end(u, why);
		return;
	}
	unit_set_state(u, UNIT_LEAVING);
	unit_mark_busy(u, true); /* whose runtime is told to end, the next fsboxd ends, and gives no calls */
	loop_forget(&u->d->loop, &u->settle);
	unit_set_frozen(u, false);
	if (session_shutdown(&u->session, &ignored) < 0)
		unit_end(u, why);
	else
		unit_watch_sending(u);
}
