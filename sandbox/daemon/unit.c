#include "daemon/unit.h"

#include "base/fd.h"

#include <stdio.h>

const struct unit_ops *unit_ops;

/* What a later fsboxd has to know of a cell; fsbox-spawn keeps it. */
struct note {
	uint32_t magic;
	uint32_t slot;
	uint32_t flags;
	uint32_t zero;
	uint64_t lease_ns;
	char lease[LEASE_BYTES + 7]; /* "" without */
};
/* Between calls a cell does not run (Lambda's rule). Not at once: freezing and thawing takes a third of the time that a
 * call takes, and where calls follow one another both would be for nothing. What a function leaves running after its
 * answer has so much longer to run. */
#define FREEZE_AFTER_NS (2 * NS_PER_MS)

enum { NOTE_MAGIC = 0x66736231 };
enum note_flag { NOTE_READY = 1, NOTE_SHUTDOWN = 2, NOTE_REPORTS = 4, NOTE_PAUSED = 8 };

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
	return u->state == UNIT_IDLE && !u->paused && !u->leased;
}

/* Into the list of free ones, or out of it, as its state and marks say. */
static void list_free(struct unit *u)
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

/* The counts of a function follow from the states of its units. */
static void set_state(struct unit *u, enum unit_state state)
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
		add_busy(f, -f->share);
	if (state == UNIT_BUSY)
		add_busy(f, f->share);
	if (is_ending && !was_ending) { /* and nothing goes back from there */
		f->n_ending++;
		f->account->n_ending++;
		u->d->n_ending++;
	}
	u->state = state;
	list_free(u);
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

static void mark_busy(const struct unit *u, bool busy)
{
	u->d->busy[u->slot] = busy ? u->number : 0;
}

static struct unit *make_unit(struct function *f, uint64_t number)
{
	struct unit *u = calloc(1, sizeof *u);

	if (!u)
		return NULL;
	*u = (struct unit){
		.d = f->d,
		.f = f,
		.number = number,
		.freeze = FD_NONE,
		.asked_ns = clock_mono_ns(),
		.created_ms = wall_ms(),
		.memory_bytes = f->spec.memory_bytes,
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

static void stop_talking(struct unit *u)
{
	for (int i = 0; i < SESSION_FDS; i++)
		loop_remove(&u->d->loop, &u->watches[i].watch);
	loop_disarm(&u->d->loop, &u->timer);
	loop_forget(&u->d->loop, &u->settle);
	if (u->talking)
		session_done(&u->session);
	u->talking = false;
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
static void free_unit(struct unit *u)
{
	struct daemon *d = u->d;
	struct function *f = u->f;

	set_state(u, UNIT_ENDING);
	stop_talking(u);
	close_cell(u);
	mark_busy(u, false);
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

int unit_start(struct function *f, struct unit **ret, struct err *e)
{
	struct daemon *d = f->d;
	struct unit *u = make_unit(f, d->last_unit + 1);
	struct note note = {.magic = NOTE_MAGIC};

	if (!u)
		return err_set(e, ERR_CAPACITY, ENOMEM, "there is no room for another cell");
	note.slot = (uint32_t)u->slot;
	if (!link_make(d->link, u->number, f->number, &note, sizeof note)) {
		free_unit(u);
		return err_oom(e);
	}
	d->last_unit = u->number;
	f->cold_starts++;
	*ret = u;
	return 0;
}

/* ---- The function's output ---- */

static size_t sink_room(void *arg)
{
	(void)arg;
	return SIZE_MAX; /* what is kept of it is bounded where it is kept */
}

static void sink_put(void *arg, int stream, const char *data, size_t len)
{
	unit_ops->output(arg, stream == 1 ? LOG_STDOUT : LOG_STDERR, data, len);
}

static int sink_wants(void *arg)
{
	(void)arg;
	return FD_NONE;
}

static void sink_writable(void *arg)
{
	(void)arg;
}

/* ---- Freezing ---- */

static void send_note(const struct unit *u)
{
	struct note note = {
		.magic = NOTE_MAGIC,
		.slot = (uint32_t)u->slot,
		.lease_ns = u->leased ? u->lease_ns : 0,
		.flags = (u->ready_ns != 0 ? (uint32_t)NOTE_READY : 0U) | (u->paused ? (uint32_t)NOTE_PAUSED : 0U) |
			 (u->session.has_shutdown ? (uint32_t)NOTE_SHUTDOWN : 0U) |
			 (u->session.wants_reports ? (uint32_t)NOTE_REPORTS : 0U),
	};
	struct spawn_note m;

	if (u->leased)
		(void)snprintf(note.lease, sizeof note.lease, "%s", u->lease);
	spawn_begin(&m, SPAWN_NOTE, sizeof m);
	m.cell = u->number;
	m.note_len = sizeof note;
	memcpy(m.note, &note, sizeof note);
	(void)!link_send(u->d->link, &m, NULL, 0);
}

static void set_frozen(struct unit *u, bool frozen)
{
	if (u->frozen == frozen || !fd_valid(u->freeze))
		return;
	u->frozen = pwrite(u->freeze, frozen ? "1" : "0", 1, 0) == 1 ? frozen : u->frozen;
}

static void settle(void *arg)
{
	struct unit *u = arg;

	if (u->state == UNIT_IDLE && u->f->forgotten && !u->leased) /* nobody will call it again */
		unit_leave(u, "undeployed");
}

/* A lease that nobody uses goes with the idle time. */
static uint64_t idle_until(const struct unit *u)
{
	return u->idle_ns + (u->leased ? u->lease_ns : u->d->config.keep_ns);
}

static bool is_to_freeze(const struct unit *u)
{
	return !u->d->config.no_freeze && fd_valid(u->freeze) && !u->frozen;
}

void unit_resize(struct unit *u, uint64_t memory_bytes)
{
	u->d->memory_bytes += memory_bytes - u->memory_bytes; /* unsigned: a smaller one wraps to the right sum */
	u->f->account->memory_bytes += memory_bytes - u->memory_bytes;
	u->memory_bytes = memory_bytes;
}

void unit_rest(struct unit *u)
{
	uint64_t until;

	u->idle_ns = clock_mono_ns();
	until = idle_until(u);
	if (is_to_freeze(u) && u->idle_ns + FREEZE_AFTER_NS < until)
		until = u->idle_ns + FREEZE_AFTER_NS;
	(void)!loop_arm(&u->d->loop, &u->timer, until);
	if (u->f->forgotten)
		loop_later(&u->d->loop, &u->settle, settle, u);
}

/* Of a function that was undeployed meanwhile nobody asks for it any more. */
static void leave_if_forgotten(struct unit *u)
{
	if (u->f->forgotten && unit_is_free(u))
		unit_leave(u, "its function was undeployed");
}

void unit_lease(struct unit *u, const char *token, uint64_t ns)
{
	u->leased = token != NULL;
	list_free(u);
	u->lease_ns = ns;
	(void)snprintf(u->lease, sizeof u->lease, "%s", token ? token : "");
	send_note(u);
	if (u->state == UNIT_IDLE) /* the timer of a busy one is its call's */
		unit_rest(u);
	leave_if_forgotten(u);
}

int unit_pause(struct unit *u, bool paused, struct err *e)
{
	if (!fd_valid(u->freeze))
		return err_set(e, ERR_UNSUPPORTED, EOPNOTSUPP, "this host has no cgroup2 freezer");
	if (u->state != UNIT_IDLE)
		return err_set(e, ERR_BUSY, EBUSY, "the cell is %s", unit_state_name(u));
	if (u->paused == paused)
		return 0;
	u->paused = paused;
	list_free(u);
	daemon_event(u->d, paused ? EV_PAUSED : EV_RESUMED, u->f, u, NULL, NULL, NULL);
	send_note(u);
	if (paused) {
		loop_disarm(&u->d->loop, &u->timer);
		set_frozen(u, true);
		return u->frozen ? 0 : err_sys(e, errno, "freezing the cell");
	}
	unit_rest(u);
	u->d->on_room(u->d, u->f);
	return 0;
}

static void on_ready(void *arg, uint32_t events);

static void watch_sending(struct unit *u)
{
	struct unit_watch *w = &u->watches[SESSION_FD_SEND];
	struct err ignored = {0};

	if (session_sends(&u->session) == w->watch.added)
		return;
	if (w->watch.added)
		loop_remove(&u->d->loop, &w->watch);
	else
		(void)!loop_add(&u->d->loop, &w->watch, u->cell.in, EPOLLOUT, on_ready, w, &ignored);
}

/* ---- Its end ---- */

void unit_end(struct unit *u, const char *why)
{
	if (u->state == UNIT_ENDING)
		return;
	daemon_event(u->d, EV_ENDED, u->f, u, NULL, NULL, why);
	set_state(u, UNIT_ENDING);
	stop_talking(u);
	u->invocation = NULL;
	mark_busy(u, false);
	/* A cell that is being built is ended as well: FAILED, then ENDED. */
	(void)!link_number(u->d->link, SPAWN_END, u->number);
}

/* What was printed before comes first. */
static void end_with(struct unit *u, const char *why)
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
	set_state(u, UNIT_LEAVING);
	loop_forget(&u->d->loop, &u->settle);
	set_frozen(u, false);
	if (session_shutdown(&u->session, &ignored) < 0)
		unit_end(u, why);
	else
		watch_sending(u);
}

/* ---- The conversation ---- */

static void finish_init(struct unit *u, enum session_event ev)
{
	AUTO(outcome_done) struct outcome out = {0};
	struct err e = {0};

	u->ready_ns = clock_mono_ns();
	outcome_of_init(&out, ev, &u->session, u->f->spec.policy);
	session_drain_output(&u->session);
	if (out.status == CALL_SUCCESS && u->f->filter.len > 0 &&
	    session_add_filter(&u->session, &u->f->filter, &e) < 0) {
		out.status = CALL_ERROR;
		(void)snprintf(out.type, sizeof out.type, "Runtime.InitError");
		buf_puts(&out.message, e.msg);
	}
	if (out.status != CALL_SUCCESS) {
		unit_ops->init_failed(u, &out);
		end_with(u, out.type);
		return;
	}
	set_state(u, UNIT_IDLE);
	(void)!link_number(u->d->link, SPAWN_SETTLE, u->number);
	send_note(u);
	daemon_event(u->d, EV_READY, u->f, u, NULL, NULL, NULL);
	unit_rest(u);
	unit_ops->ready(u);
}

static void finish_call(struct unit *u, enum session_event ev)
{
	AUTO(outcome_done) struct outcome out = {0};

	loop_disarm(&u->d->loop, &u->timer);
	session_drain_output(&u->session);
	outcome_of_call(&out, ev, &u->session, &u->f->spec, u->call_deadline_ns, u->f->spec.policy);
	if (out.fatal) {
		session_drain_rest(&u->session);
		unit_ops->answered(u, &out);
		unit_end(u, out.type);
		return;
	}
	mark_busy(u, false);
	set_state(u, UNIT_IDLE);
	unit_rest(u);
	unit_ops->answered(u, &out);
	leave_if_forgotten(u);
	u->d->on_room(u->d, u->f);
}

static void handle(struct unit *u, enum session_event ev)
{
	switch (u->state) {
	case UNIT_INIT:
		finish_init(u, ev);
		break;
	case UNIT_BUSY:
		finish_call(u, ev);
		break;
	case UNIT_LEAVING:
		end_with(u, "idle");
		break;
	default: /* between calls: it ended, or says what nobody asked for */
		end_with(u, ev == SESSION_ENDED ? "ended between calls" : "broke the channel's contract");
		u->d->on_room(u->d, u->f);
		break;
	}
}

static void watch_if(struct unit *u, int place, bool wanted)
{
	struct watch *w = &u->watches[place].watch;

	if (!wanted)
		loop_remove(&u->d->loop, w);
}

/* Goes on with what @p (NULL: nothing) has brought. */
static void step(struct unit *u, const struct pollfd *p)
{
	const size_t had = u->session.answer.len;
	enum session_event ev = session_step(&u->session, p);

	if (ev == SESSION_DEADLINE && u->state == UNIT_BUSY && u->session.answer.len > had)
		unit_ops->wrote(u);
	for (; ev != SESSION_DEADLINE; ev = session_step(&u->session, NULL)) {
		handle(u, ev);
		if (!u->talking)
			return;
	}
	watch_if(u, SESSION_FD_CHANNEL, u->session.channel_open);
	watch_if(u, SESSION_FD_OUT, u->session.stdout_open);
	watch_if(u, SESSION_FD_ERR, u->session.stderr_open);
	watch_sending(u);
}

static void on_ready(void *arg, uint32_t events)
{
	struct unit_watch *w = arg;
	struct pollfd p[SESSION_FDS] = {0};

	p[w - w->u->watches].revents = events & EPOLLOUT ? POLLOUT : POLLIN;
	step(w->u, p);
}

static void on_time(void *arg)
{
	struct unit *u = arg;

	switch (u->state) {
	case UNIT_INIT:
	case UNIT_BUSY:
		handle(u, SESSION_DEADLINE);
		break;
	case UNIT_IDLE:
		if (is_to_freeze(u) && clock_mono_ns() < idle_until(u)) {
			set_frozen(u, true);
			(void)!loop_arm(&u->d->loop, &u->timer, idle_until(u));
			break;
		}
		if (u->leased) { /* its holder has not been heard of */
			unit_lease(u, NULL, 0);
			u->d->on_room(u->d, u->f);
			break;
		}
		if (u->f->n_units <= u->f->provisioned) {
			unit_rest(u);
			break;
		}
		unit_leave(u, "idle");
		break;
	case UNIT_LEAVING:
		end_with(u, "its shutdown took too long");
		break;
	case UNIT_MAKING:
	case UNIT_ENDING:
		break;
	}
}

int unit_call(struct unit *u, struct invocation *v, const char *request_id, const char *trace_id, uint64_t deadline_ns,
	      const void *event, size_t len, struct err *e)
{
	const uint64_t now = clock_mono_ns();
	int r;

	loop_forget(&u->d->loop, &u->settle);
	u->thaw_ns = 0;
	u->call_begin_ns = now;
	u->call_deadline_ns = deadline_ns;
	mark_busy(u, true);
	r = loop_arm(&u->d->loop, &u->timer, deadline_ns);
	if (r == 0)
		r = session_call(&u->session, ++u->calls, request_id, trace_id,
				 (int64_t)((clock_wall_ns() + deadline_ns - now) / NS_PER_MS), deadline_ns - now, event,
				 len, e);
	if (r < 0)
		return r;
	if (u->frozen) { /* after the call is there: then it wakes up once, not twice */
		set_frozen(u, false);
		u->thaw_ns = clock_mono_ns() - now;
	}
	u->invocation = v;
	u->used = true;
	set_state(u, UNIT_BUSY);
	watch_sending(u);
	return 0;
}

void unit_report(struct unit *u, const struct chan_report *report)
{
	struct err ignored = {0};

	if (u->talking && u->session.wants_reports && session_report(&u->session, u->calls, report, &ignored) == 0)
		watch_sending(u);
}

/* ---- From fsbox-spawn ---- */

/* The descriptors, in the order of their bits. Taken ones become FD_NONE. */
static void take_fds(struct unit *u, const struct spawn_cell *m, int *fds, size_t n_fds)
{
	struct cell *c = &u->cell;
	int *const to[] = {&c->in,     &c->out,      &c->std_out,  &c->std_err,  &c->pidfd,       &c->cg.v2,
			   &u->freeze, &c->cg.v1[0], &c->cg.v1[1], &c->cg.v1[2], &c->cg.oom_event};
	size_t n = 0;

	for (size_t bit = 0; bit < ARRAY_LEN(to) && n < n_fds; bit++)
		if (m->fds & 1U << bit)
			*to[bit] = take_fd(&fds[n++]);
	if (m->cgroup_name[0]) {
		c->has_cg = true;
		c->cg.mode = u->d->cg.mode;
		c->cg.host = &u->d->cg;
		(void)snprintf(c->cg.name, sizeof c->cg.name, "%s", m->cgroup_name);
		(void)snprintf(c->cg.parent, sizeof c->cg.parent, "%s", m->cgroup_parent);
	}
	c->pid = m->pid;
	c->exec_ns = m->exec_ns;
	(void)snprintf(u->id, sizeof u->id, "%s", m->id);
	(void)snprintf(c->id, sizeof c->id, "%s", m->id);
}

static int begin_talking(struct unit *u, bool init_is_over, uint32_t ready_flags, struct err *e)
{
	const struct {
		int place, fd;
	} watched[] = {
		{SESSION_FD_CHANNEL, u->cell.out},
		{SESSION_FD_OUT, u->cell.std_out},
		{SESSION_FD_ERR, u->cell.std_err},
		{SESSION_FD_OOM, u->cell.has_cg ? u->cell.cg.oom_event : FD_NONE},
	};
	int r = 0;

	u->sink = (struct session_sink){
		.room = sink_room, .put = sink_put, .wants = sink_wants, .writable = sink_writable, .arg = u};
	if (init_is_over)
		session_init_restored(&u->session, &u->cell, &u->sink, FD_NONE, ready_flags);
	else
		session_init(&u->session, &u->cell, &u->sink, FD_NONE);
	u->talking = true;
	u->timer.due = on_time;
	u->timer.arg = u;
	for (size_t i = 0; i < ARRAY_LEN(watched) && r == 0; i++)
		if (fd_valid(watched[i].fd))
			r = loop_add(&u->d->loop, &u->watches[watched[i].place].watch, watched[i].fd, EPOLLIN, on_ready,
				     &u->watches[watched[i].place], e);
	return r;
}

void unit_made(struct daemon *d, const struct spawn_cell *m, int *fds, size_t n_fds)
{
	struct unit *u = unit_by_number(d, m->cell);
	struct err e = {0};

	if (!u || u->state != UNIT_MAKING)
		return; /* its END is on the way */
	take_fds(u, m, fds, n_fds);
	u->made_ns = clock_mono_ns();
	set_state(u, UNIT_INIT);
	daemon_event(d, EV_STARTED, u->f, u, NULL, NULL, "cold");
	if (begin_talking(u, false, 0, &e) < 0 ||
	    loop_arm(&d->loop, &u->timer, m->exec_ns + INVOKE_INIT_MS * NS_PER_MS) < 0)
		end_with(u, e.msg);
}

void unit_failed(struct daemon *d, const struct spawn_done *m)
{
	struct unit *u = unit_by_number(d, m->number);
	struct err e = {0};

	if (!u || u->state != UNIT_MAKING)
		return;
	(void)err_adopt(&e, &m->err);
	set_state(u, UNIT_ENDING);
	unit_ops->failed(u, &e);
	unit_ops->ended(u);
	free_unit(u);
	d->on_room(d, NULL);
}

void unit_exited(struct daemon *d, const struct spawn_exit *m)
{
	struct unit *u = unit_by_number(d, m->cell);

	if (!u || !u->talking || u->cell.reaped)
		return;
	u->cell.reaped = true;
	u->cell.exit.si_code = m->how.code;
	u->cell.exit.si_status = m->how.status;
	session_drain_rest(&u->session);
	step(u, NULL);
}

void unit_ended(struct daemon *d, const struct spawn_exit *m)
{
	struct unit *u = unit_by_number(d, m->cell);

	if (!u)
		return;
	set_state(u, UNIT_ENDING);
	unit_ops->ended(u);
	free_unit(u);
	d->on_room(d, NULL);
}

static bool read_note(const struct spawn_cell *m, struct note *note)
{
	if (m->note_len != sizeof *note)
		return false;
	memcpy(note, m->note, sizeof *note);
	return note->magic == NOTE_MAGIC && note->slot < CELL_MAX_SLOTS;
}

void unit_adopt(struct daemon *d, const struct spawn_cell *m, int *fds, size_t n_fds)
{
	struct function *f = function_by_number(d, m->function);
	struct note note = {0};
	struct err e = {0};
	struct unit *u;

	if (m->cell > d->last_unit)
		d->last_unit = m->cell;
	u = f && read_note(m, &note) && !d->slots[note.slot] ? make_unit(f, m->cell) : NULL;
	if (!u) {
		(void)!link_number(d->link, SPAWN_END, m->cell);
		return;
	}
	d->slots[u->slot] = NULL;
	u->slot = (int)note.slot;
	d->slots[u->slot] = u;
	u->adopted = true;
	take_fds(u, m, fds, n_fds);
	/* In the middle of an init or a call, whose client heard the connection break: nobody waits for it any more. */
	if (!(note.flags & NOTE_READY) || d->busy[u->slot] == u->number || m->exited || f->forgotten) {
		unit_end(u, "its daemon ended");
		return;
	}
	u->made_ns = u->ready_ns = clock_mono_ns();
	u->calls = 1; /* above any number that a frame on its way may have is not needed: it is idle */
	set_state(u, UNIT_IDLE);
	if (begin_talking(u, true,
			  (note.flags & NOTE_SHUTDOWN ? CHAN_HAS_SHUTDOWN : 0U) |
				  (note.flags & NOTE_REPORTS ? CHAN_WANTS_REPORTS : 0U),
			  &e) < 0) {
		end_with(u, e.msg);
		return;
	}
	u->session.settled = true;
	u->paused = note.flags & NOTE_PAUSED;
	u->leased = note.lease[0];
	u->lease_ns = note.lease_ns;
	memcpy(u->lease, note.lease, sizeof u->lease - 1);
	list_free(u);
	set_frozen(u, u->paused || !d->config.no_freeze); /* it may have been on the way there */
	if (!u->paused)
		unit_rest(u);
}
