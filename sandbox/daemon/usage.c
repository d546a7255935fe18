#include "daemon/usage.h"

enum { READS_PER_TURN = 32, FRESH_S = 1, FRESH_IDLE_S = 10, FRESH_MS = 100 };

static struct usage_wait *first;
static struct later going_on;

void usage_read(struct unit *u)
{
	struct err ignored = {0};
	struct cg_usage now;

	if (!u->cell.has_cg)
		return;
	u->usage_ns = clock_mono_ns();
	if (cg_usage(&u->cell.cg, &now, &ignored) == 0) {
		u->usage = now;
		u->has_usage = true;
	}
}

void usage_refresh(struct unit *u)
{
	if (u->usage_ns == 0 || clock_mono_ns() - u->usage_ns >= FRESH_MS * NS_PER_MS)
		usage_read(u);
}

/* A cell at rest is frozen, or nearly; but its last call is to be seen. */
static bool is_stale(const struct unit *u, uint64_t now)
{
	const bool rests = u->state == UNIT_IDLE && u->n_execs == 0 && u->usage_ns > u->idle_ns;

	return u->cell.has_cg && now - u->usage_ns >= (rests ? FRESH_IDLE_S : FRESH_S) * NS_PER_S;
}

/* The list is in falling order of numbers, newest first, so a place in it outlives what comes and goes. False: there is
 * more to be read than this turn may. */
static bool look(struct daemon *d, struct usage_wait *w, uint64_t now)
{
	int reads = 0;

	for (struct unit *u = d->units; u; u = u->next) {
		if (u->number >= w->below || !u->id[0] || !w->wanted(w->arg, u) || !is_stale(u, now))
			continue;
		if (reads++ == READS_PER_TURN)
			return false;
		usage_read(u);
		w->below = u->number;
	}
	return true;
}

static void go_on(void *arg)
{
	struct daemon *d = arg;
	struct usage_wait *w = first;

	if (w && look(d, w, clock_mono_ns())) {
		first = w->next;
		w->waits = false;
		w->ready(w->arg);
	}
	if (first)
		loop_later(&d->loop, &going_on, go_on, d);
}

void usage_await(struct daemon *d, struct usage_wait *w)
{
	struct usage_wait **end = &first;

	if (w->waits)
		return;
	while (*end)
		end = &(*end)->next;
	w->next = NULL;
	w->waits = true;
	w->below = UINT64_MAX;
	*end = w;
	loop_later(&d->loop, &going_on, go_on, d);
}

void usage_forget(struct usage_wait *w)
{
	struct usage_wait **at = &first;

	while (*at && *at != w)
		at = &(*at)->next;
	if (*at)
		*at = w->next;
	w->waits = false;
}
