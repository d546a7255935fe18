/* A cell's building, as two tables. The host walks the first; its "spawn" makes the child, which walks the second up to
 * exec. A stage's name is the same word in errors, traces, fault tests and docs/cell-lifecycle.md.
 *
 *   slot ─ plan ─ cgroup ─ netns ─ rootfs ─ pipes ─ spawn ─ budget ─ handover ─ arrival ──────────────────────► running
 *                                                     ╚═ namespaces ─ net ─ ids ─ mounts ─ pivot ─ files ─ session ─
 *                                                        limits ─ caps ─ filter ─ exec
 *
 * A cell whose runtime is restored goes the same way. Before "limits" its child starts a CRIU beside itself and waits, and
 * the host has one stage more:
 *
 *   … handover ─ arrival ─────────────────► restore ─────────────────────────────────────────────────────────► running
 *     ╚═ … session ─ tmp ─ worker … waits … settle ─ user ─ limits ─ caps ─ filter ─ exec
 *
 * Undo runs backwards over the host's stages, is idempotent, and is also the normal release. */
#include "cell/internal.h"

#include "base/clock.h"
#include "base/fd.h"

#include "cell/host.h"

#include <poll.h>
#include <stdio.h>

enum { NAPS_AT_ONCE = 100 }; /* while nothing tells of what is waited for */

/* clang-format off */
const struct host_stage host_stages[] = {
	{ "slot",     enter_slot,     undo_slot     },  /* a range of outside ids, a record for whoever cleans up after us */
	{ "plan",     enter_plan,     undo_plan     },  /* every path, id and byte */
	{ "cgroup",   enter_cgroup,   undo_cgroup   },  /* the group that clone3 needs */
	{ "netns",    enter_netns,    undo_netns    },  /* one that is ready, or the request that the child will send */
	{ "rootfs",   enter_rootfs,   undo_rootfs   },  /* skeleton, detached mounts */
	{ "pipes",    enter_pipes,    undo_pipes    },
	{ "spawn",    enter_spawn,    undo_spawn    },  /* clone3 into the cgroup; undo kills and reaps */
	{ "budget",   enter_budget,   NULL          },  /* v1 groups and all limits, while the child makes namespaces */
	{ "handover", enter_handover, undo_handover },  /* id maps; lets the child go on */
	{ "arrival",  enter_arrival,  NULL          },  /* takes the child's word: it has executed, or is prepared for a restore */
	{ "restore",  enter_restore,  undo_restore  },  /* the runtime comes out of its image; nothing to do for others */
};
/* clang-format on */
const size_t n_host_stages = ARRAY_LEN(host_stages);

int stage_fault(const char *stage, struct err *e)
{
#ifdef FSBOX_FAULTS
	/* FSBOX_FAULT=STAGE: that stage fails before it begins. FSBOX_FAULT=STAGE!: the process dies there. */
	const char *armed = secure_getenv("FSBOX_FAULT");
	size_t len = strlen(stage);

	if (armed && strncmp(armed, stage, len) == 0 && armed[len] == '!')
		_exit(99);
	if (armed && strcmp(armed, stage) == 0)
		return err_set(e, ERR_SYSTEM, ENOMEM, "injected fault");
#else
	(void)stage;
	(void)e;
#endif
	return 0;
}

int trace_begin(struct cell_trace *t, const char *stage, bool inside)
{
	if (!t)
		return -1;

	uint32_t i = __atomic_fetch_add(&t->n, 1, __ATOMIC_RELAXED);
	if (i >= CELL_TRACE_MARKS)
		return -1;
	t->marks[i] = (struct cell_mark){.stage = stage, .inside = inside, .begin_ns = clock_mono_ns()};
	return (int)i;
}

void trace_end(struct cell_trace *t, int mark)
{
	if (mark >= 0)
		t->marks[mark].end_ns = clock_mono_ns();
}

/* Undoes the first @n stages, last first. The first failure is kept, the rest is undone all the same. */
static int unwind(struct cell *c, size_t n, struct err *e)
{
	int result = 0;

	while (n-- > 0) {
		int r = host_stages[n].undo ? host_stages[n].undo(c, e) : 0;

		if (r < 0 && (result == 0 || result == -EAGAIN))
			result = r;
	}
	return result;
}

static void name_stage(const struct cell *c, struct err *e)
{
	if (e->stage[0] == '\0')
		(void)snprintf(e->stage, sizeof e->stage, "%s", host_stages[c->at].name);
}

/* The stages up to @end. 1 when one is not done yet. After a failure c->at is the stage that failed. */
static int walk(struct cell *c, size_t end, struct err *e)
{
	for (; c->at < end; c->at++) {
		const char *name = host_stages[c->at].name;
		int r = 0;

		if (!c->entered) {
			c->mark = trace_begin(c->host->trace, name, false);
			r = stage_fault(name, e);
		}
		if (r == 0)
			r = host_stages[c->at].enter(c, e);
		c->entered = r == 1;
		if (c->entered)
			return 1;
		trace_end(c->host->trace, c->mark);
		if (r < 0) {
			name_stage(c, e);
			return r;
		}
	}
	return 0;
}

/* The table's last: "restore". Before it: "arrival". */
#define ARRIVED  (n_host_stages - 1)
#define RELEASED (n_host_stages - 2)

int cell_begin(struct cell *c, struct err *e)
{
	return walk(c, RELEASED, e);
}

int cell_finish(struct cell *c, struct err *e)
{
	return walk(c, n_host_stages, e);
}

size_t cell_waits_for(const struct cell *c, int fds[CELL_WAITS])
{
	if (c->at == ARRIVED)
		return restore_waits_for(c, fds);
	fds[0] = c->barrier;
	return 1;
}

uint64_t cell_deadline(const struct cell *c)
{
	return c->give_up_ns != 0 && c->give_up_ns < c->deadline_ns ? c->give_up_ns : c->deadline_ns;
}

int cell_late(struct cell *c, struct err *e)
{
	int r;

	if (c->give_up_ns != 0 && clock_mono_ns() >= c->give_up_ns)
		r = err_set(e, ERR_DEADLINE, ETIMEDOUT, "the restore was not done in the time that it had");
	else
		r = c->at == ARRIVED ? restore_late(c, e) : barrier_late(e);
	name_stage(c, e);
	return r;
}

/* A process that clone3 puts into a group is killed at birth when its parent's own cgroup2 group was ever ended by
 * cgroup.kill (seen on Linux 6.18): fork compares the two groups' counts of kills. The host notices when it lets the child
 * go on, or waits for its word. */
bool cell_retry(struct cell *c)
{
	const struct cell was = *c;

	if (c->host->clone_beside || !c->host->born || !c->reaped || c->at < RELEASED - 1 || was.slot >= 0 ||
	    c->exit.si_code != CLD_KILLED || c->exit.si_status != SIGKILL || !c->died_at_birth)
		return false;
	c->host->clone_beside = true;
	cell_init(c, was.host, was.spec, was.filter);
	c->role = was.role;
	c->from = was.from;
	c->give_up_ns = was.give_up_ns;
	c->signal_fd = was.signal_fd;
	return true;
}

/* For callers who have nothing else to do. */
static int wait_for(struct cell *c, struct err *e)
{
	struct pollfd p[CELL_WAITS + 1] = {{.fd = c->signal_fd, .events = POLLIN}};
	int fds[CELL_WAITS];
	const uint64_t now = clock_mono_ns();
	const size_t n = cell_waits_for(c, fds);
	int ms = now < c->deadline_ns ? (int)((c->deadline_ns - now) / NS_PER_MS) + 1 : 0, got;

	for (size_t i = 0; i < n; i++)
		p[i + 1] = (struct pollfd){.fd = fds[i], .events = POLLIN};
	if (n == 0)
		ms = c->restore_words < NAPS_AT_ONCE ? 0 : 1;
	got = poll(p, n + 1, ms);
	if (got < 0 && errno != EINTR)
		return err_sys(e, errno, "waiting for the cell");
	if (got > 0 && p[0].revents)
		return err_set(e, ERR_CANCELLED, ECANCELED, "interrupted during a restore");
	return got == 0 && n > 0 ? cell_late(c, e) : 0;
}

static int go_to(struct cell *c, size_t end, struct err *e)
{
	int r;

	while ((r = walk(c, end, e)) == 1) {
		r = wait_for(c, e);
		if (r < 0) {
			name_stage(c, e);
			return r;
		}
	}
	return r;
}

/* After a failure, whose account a failure of undoing must not hide. */
static void undo_all(struct cell *c)
{
	struct err cleanup = {0};

	(void)cell_release(c, &cleanup);
}

int cell_prepare(struct cell *c, struct err *e)
{
	int r = go_to(c, ARRIVED, e);

	if (r == 0)
		return 0;
	undo_all(c);
	if (!cell_retry(c))
		return r;
	*e = (struct err){0};
	r = go_to(c, ARRIVED, e);
	if (r < 0)
		undo_all(c);
	return r;
}

int cell_resume(struct cell *c, struct err *e)
{
	int r = go_to(c, n_host_stages, e);

	if (r < 0)
		undo_all(c);
	return r;
}

int cell_build(struct cell *c, struct err *e)
{
	int r = cell_prepare(c, e);

	return r < 0 ? r : cell_resume(c, e);
}

int cell_release(struct cell *c, struct err *e)
{
	c->no_wait = false;
	return unwind(c, n_host_stages, e);
}

int cell_try_release(struct cell *c, struct err *e)
{
	c->no_wait = true;
	return unwind(c, n_host_stages, e);
}

const char *const *cell_stage_names(void)
{
	static const char *names[64];
	size_t n = 0;

	for (size_t i = 0; i < n_host_stages; i++)
		names[n++] = host_stages[i].name;
	for (size_t i = 0; i < n_child_stages; i++)
		names[n++] = child_stages[i].name;
	names[n] = NULL;
	return names;
}
