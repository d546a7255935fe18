/* Units: what fsbox-spawn says of their cells. */
#include "daemon/unit_parts.h"

#include "base/fd.h"

#include <stdio.h>

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

/* What the runtime of a clone said at the end of its init. */
static uint32_t ready_flags(const struct unit *u)
{
	const uint32_t has = u->f->snapshot.features;

	return (has & SNAP_HAS_SHUTDOWN ? (uint32_t)CHAN_HAS_SHUTDOWN : 0U) |
	       (has & SNAP_WANTS_REPORTS ? (uint32_t)CHAN_WANTS_REPORTS : 0U);
}

void unit_made(struct daemon *d, const struct spawn_cell *m, int *fds, size_t n_fds)
{
	struct unit *u = unit_by_number(d, m->cell);
	struct err e = {0};

	const uint64_t until = m->restored ? clock_mono_ns() + INVOKE_HOOKS_MS * NS_PER_MS
					   : m->exec_ns + INVOKE_INIT_MS * NS_PER_MS;

	if (!u || u->state != UNIT_MAKING)
		return; /* its END is on the way */
	if (n_fds == 0) {
		(void)err_set(&e, ERR_CAPACITY, EMFILE, "fsboxd has no descriptors left for another cell");
		unit_set_state(u, UNIT_ENDING);
		(void)!link_number(d->link, SPAWN_END, u->number);
		unit_ops->failed(u, &e);
		return;
	}
	take_fds(u, m, fds, n_fds);
	u->made_ns = clock_mono_ns();
	unit_set_state(u, UNIT_INIT);
	u->restored = m->restored;
	daemon_event(d, EV_STARTED, u->f, u, NULL, NULL, u->restored ? "restored" : "cold");
	if (unit_begin_talking(u, u->restored, ready_flags(u), &e) < 0 || loop_arm(&d->loop, &u->timer, until) < 0)
		unit_end_with(u, e.msg);
	else if (u->restored) /* fsbox-spawn has told it who it is */
		session_expect_restored(&u->session);
}

void unit_failed(struct daemon *d, const struct spawn_done *m)
{
	struct unit *u = unit_by_number(d, m->number);
	struct err e = {0};

	if (!u || u->state != UNIT_MAKING)
		return;
	(void)err_adopt(&e, &m->err);
	unit_set_state(u, UNIT_ENDING);
	unit_ops->failed(u, &e);
	unit_ops->ended(u);
	unit_free(u);
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
	unit_step(u, NULL);
}

void unit_ended(struct daemon *d, const struct spawn_exit *m)
{
	struct unit *u = unit_by_number(d, m->cell);

	if (!u)
		return;
	unit_set_state(u, UNIT_ENDING);
	unit_ops->ended(u);
	unit_free(u);
	d->on_room(d, NULL);
}

static bool read_note(const struct spawn_cell *m, struct note *note)
{
	if (m->note_len < NOTE_LEAST || m->note_len > sizeof *note)
		return false;
	memcpy(note, m->note, m->note_len);
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
	u = f && read_note(m, &note) && !d->slots[note.slot] ? unit_new(f, m->cell) : NULL;
	if (!u) {
		(void)!link_number(d->link, SPAWN_END, m->cell);
		return;
	}
	d->slots[u->slot] = NULL;
	u->slot = (int)note.slot;
	d->slots[u->slot] = u;
	u->adopted = true;
	u->restored = note.flags & NOTE_RESTORED;
	take_fds(u, m, fds, n_fds);
	if (m->memory_bytes > 0)
		unit_resize(u, m->memory_bytes);
	/* In the middle of an init or a call, whose client heard the connection break: nobody waits for it any more. */
	if (!(note.flags & NOTE_READY) || n_fds == 0 || d->busy[u->slot] == u->number || m->exited || f->forgotten) {
		unit_end(u, "its daemon ended");
		return;
	}
	u->made_ns = u->ready_ns = clock_mono_ns();
	u->calls = d->calls[u->slot];
	unit_set_state(u, UNIT_IDLE);
	if (unit_begin_talking(u, true,
			       (note.flags & NOTE_SHUTDOWN ? CHAN_HAS_SHUTDOWN : 0U) |
				       (note.flags & NOTE_REPORTS ? CHAN_WANTS_REPORTS : 0U),
			       &e) < 0) {
		unit_end_with(u, e.msg);
		return;
	}
	u->session.settled = true;
	u->paused = note.flags & NOTE_PAUSED;
	u->execs = note.execs;
	u->leased = note.lease[0];
	u->lease_ns = note.lease_ns;
	memcpy(u->lease, note.lease, sizeof u->lease - 1);
	u->grant = note.grant;
	u->grant.token[INVOCATION_BYTES - 1] = '\0';
	unit_list_free(u);
	unit_set_frozen(u, u->paused || !d->config.no_freeze); /* it may have been on the way there */
	unit_rest(u);
	unit_ops->adopted(u);
}
