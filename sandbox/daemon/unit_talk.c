/* Units: the conversation with the runtime, and its time. */
#include "daemon/unit_parts.h"

#include "base/fd.h"

#include <stdio.h>

/* ---- The function's output ---- */

static void sink_put(void *arg, int stream, const char *data, size_t len)
{
	unit_ops->output(arg, stream == 1 ? LOG_STDOUT : LOG_STDERR, data, len);
}

/* ---- The conversation ---- */

static void on_ready(void *arg, uint32_t events);

void unit_watch_sending(struct unit *u)
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

static void finish_init(struct unit *u, enum session_event ev)
{
	AUTO(outcome_done) struct outcome out = {0};
	struct err e = {0};

	u->ready_ns = clock_mono_ns();
	if (u->restored)
		outcome_of_restore(&out, ev, &u->session, u->f->spec.policy);
	else
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
		unit_end_with(u, out.type);
		return;
	}
	unit_set_state(u, UNIT_IDLE);
	(void)!link_number(u->d->link, SPAWN_SETTLE, u->number);
	unit_send_note(u);
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
	unit_mark_busy(u, u->last || u->f->forgotten); /* no later fsboxd takes it over */
	unit_set_state(u, UNIT_IDLE);
	unit_rest(u);
	unit_ops->answered(u, &out);
	unit_leave_if_unwanted(u);
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
		unit_end_with(u, "idle");
		break;
	default: /* between calls: it ended, or says what nobody asked for */
		unit_end_with(u, ev == SESSION_ENDED ? "ended between calls" : "broke the channel's contract");
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
void unit_step(struct unit *u, const struct pollfd *p)
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
	unit_watch_sending(u);
}

static void on_ready(void *arg, uint32_t events)
{
	struct unit_watch *w = arg;
	struct pollfd p[SESSION_FDS] = {0};

	p[w - w->u->watches].revents = events & EPOLLOUT ? POLLOUT : POLLIN;
	unit_step(w->u, p);
}

void unit_on_time(void *arg)
{
	struct unit *u = arg;

	switch (u->state) {
	case UNIT_INIT:
	case UNIT_BUSY:
		handle(u, SESSION_DEADLINE);
		break;
	case UNIT_IDLE:
		if (unit_is_to_freeze(u) && clock_mono_ns() < unit_idle_until(u)) {
			unit_set_frozen(u, true);
			(void)!loop_arm(&u->d->loop, &u->timer, unit_idle_until(u));
			break;
		}
		if (u->leased) { /* its holder has not been heard of */
			unit_lease(u, NULL, 0);
			u->d->on_room(u->d, u->f);
			break;
		}
		if (u->f->n_idle + u->f->n_busy <= u->f->provisioned) {
			unit_rest(u);
			break;
		}
		unit_leave(u, "idle");
		break;
	case UNIT_LEAVING:
		unit_end_with(u, "its shutdown took too long");
		break;
	case UNIT_MAKING: { /* only of restores */
		struct err e = {0};

		(void)err_set(&e, ERR_DEADLINE, ETIMEDOUT,
			      "a restore was not done in the time that it had, and does not end");
		unit_ops->failed(u, &e);
		unit_end(u, e.msg);
		u->d->on_room(u->d, u->f);
		break;
	}
	case UNIT_ENDING:
		break;
	}
}

int unit_begin_talking(struct unit *u, bool init_is_over, uint32_t ready_flags, struct err *e)
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

	u->sink = session_sink_to(sink_put, u);
	if (init_is_over)
		session_init_restored(&u->session, &u->cell, &u->sink, FD_NONE, ready_flags);
	else
		session_init(&u->session, &u->cell, &u->sink, FD_NONE);
	u->talking = true;
	u->timer.due = unit_on_time;
	u->timer.arg = u;
	for (size_t i = 0; i < ARRAY_LEN(watched) && r == 0; i++)
		if (fd_valid(watched[i].fd))
			r = loop_add(&u->d->loop, &u->watches[watched[i].place].watch, watched[i].fd, EPOLLIN, on_ready,
				     &u->watches[watched[i].place], e);
	return r;
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
	unit_mark_busy(u, true);
	r = loop_arm(&u->d->loop, &u->timer, deadline_ns);
	u->d->calls[u->slot] = ++u->calls;
	if (r == 0)
		r = session_call(&u->session, u->calls, request_id, trace_id,
				 (int64_t)((clock_wall_ns() + deadline_ns - now) / NS_PER_MS), deadline_ns - now, event,
				 len, e);
	if (r < 0)
		return r;
	if (u->frozen) { /* after the call is there: then it wakes up once, not twice */
		unit_set_frozen(u, false);
		u->thaw_ns = clock_mono_ns() - now;
	}
	u->invocation = v;
	u->used = true;
	unit_set_state(u, UNIT_BUSY);
	unit_watch_sending(u);
	return 0;
}

void unit_stop_talking(struct unit *u)
{
	for (int i = 0; i < SESSION_FDS; i++)
		loop_remove(&u->d->loop, &u->watches[i].watch);
	loop_disarm(&u->d->loop, &u->timer);
	loop_forget(&u->d->loop, &u->settle);
	if (u->talking)
		session_done(&u->session);
	u->talking = false;
}

void unit_report(struct unit *u, const struct chan_report *report)
{
	struct err ignored = {0};

	if (u->talking && u->session.wants_reports && session_report(&u->session, u->calls, report, &ignored) == 0)
		unit_watch_sending(u);
}
