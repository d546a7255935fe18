#include "cli/selftest.h"

#include "base/clock.h"
#include "base/fd.h"
#include "cli/cli.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>

enum { ANSWER_MS = 10000 };

static bool group_has(const struct cgroup *cg, const char *v2, const char *v1)
{
	const int dir = cg->mode == CG_V2 ? cg->v2 : cg->v1[CG_V1_MEMORY];

	return fd_valid(dir) && faccessat(dir, cg->mode == CG_V2 ? v2 : v1, F_OK, 0) == 0;
}

static void look_at_group(struct selftest *t, const struct cgroup *cg)
{
	t->has_group = true;
	t->has_peak = group_has(cg, "memory.peak", "memory.max_usage_in_bytes");
	t->has_swap_limit = group_has(cg, "memory.swap.max", "memory.memsw.limit_in_bytes");
}

static int expect_answer(struct session *s, struct err *e)
{
	const enum session_event ev = session_wait(s, clock_mono_ns() + ANSWER_MS * NS_PER_MS);

	if (ev == SESSION_READY)
		return 0;
	if (ev == SESSION_INIT_ERROR)
		return err_set(e, ERR_CRASHED, 0, "the runtime in the cell cannot load its function: %.*s",
			       (int)s->error_message.len, s->error_message.data ? s->error_message.data : "");
	if (ev == SESSION_DEADLINE)
		return err_set(e, ERR_DEADLINE, ETIMEDOUT, "the runtime in the cell did not answer within %d s",
			       ANSWER_MS / 1000);
	return err_set(e, ERR_CRASHED, 0, "the runtime in the cell %s",
		       ev == SESSION_OOM ? "ran out of memory" : "ended before it answered");
}

static int run_cell(struct selftest *t, const struct cell_spec *spec, struct err *e)
{
	struct filter filter = {0};
	struct err release = {0};
	struct session session;
	struct cell cell;
	int r;

	if (!filter_builtin(spec->policy, &filter))
		return err_set(e, ERR_BUG, ENOENT, "no built-in policy '%s'", spec->policy);
	cell_init(&cell, &t->host, spec, &filter);
	r = cell_build(&cell, e);
	if (r == 0) {
		if (cell.has_cg)
			look_at_group(t, &cell.cg);
		session_init(&session, &cell, &session_discard, FD_NONE);
		r = expect_answer(&session, e);
		session_done(&session);
		if (cell_release(&cell, &release) < 0 && r == 0)
			r = err_adopt(e, &release);
	}
	filter_done(&filter);
	return r;
}

/* In a store of its own, which goes with it. */
static int dump_and_restore(struct selftest *t, const struct cell_spec *spec, struct err *e)
{
	struct snap_store store = {.dir = FD_NONE};
	struct filter filter = {0};
	struct publisher p = {
		.host = &t->host,
		.spec = spec,
		.base = &filter,
		.policy = spec->policy,
		.sink = &session_discard,
		.store = &store,
		.signal_fd = FD_NONE,
	};
	char path[200];
	int r;

	if (!filter_builtin(spec->policy, &filter))
		return err_set(e, ERR_BUG, ENOENT, "no built-in policy '%s'", spec->policy);
	(void)snprintf(path, sizeof path, "%s/check-%d", t->host.state_dir, getpid());
	publish_use_engine(&t->host, &t->engine);
	r = snap_store_open(path, true, &store, e);
	if (r == 0)
		r = publish_try(&p, e);
	snap_store_close(&store);
	(void)rmdir(path);
	t->host.engine = NULL;
	filter_done(&filter);
	return r;
}

static void try_snapshot(struct selftest *t, const struct cell_spec *spec)
{
	const uint64_t begin = clock_mono_ns();

	if (!t->host.facts.privileged) {
		(void)!err_set(&t->engine_err, ERR_UNSUPPORTED, EPERM, "snapshots need root");
		return;
	}
	if (snap_engine_find(t->runtime, &t->engine, &t->engine_err) < 0 ||
	    snap_engine_check(&t->engine, &t->engine_err) < 0)
		return;
	t->snapshot_tried = true;
	if (dump_and_restore(t, spec, &t->snapshot_err) == 0)
		t->snapshot_ns = clock_mono_ns() - begin;
}

/* True when a cell ran. */
static bool try_host(struct selftest *t, const struct cell_spec *spec, struct err *host_err, struct err *cell_err)
{
	uint64_t begin;
	int r;

	if (cell_host_open(spec, t->runtime, &t->host, host_err) < 0)
		return false;
	t->has_host = true;
	if (t->host.limits)
		(void)snprintf(t->parent, sizeof t->parent, "%s", t->host.cg_parent.path);
	begin = clock_mono_ns();
	r = run_cell(t, spec, cell_err);
	t->cell_ns = clock_mono_ns() - begin;
	if (r == 0)
		try_snapshot(t, spec);
	cell_host_close(&t->host);
	return r == 0;
}

static void try_hosts(struct selftest *t)
{
	char target[600];
	struct cell_spec spec;

	(void)snprintf(target, sizeof target, "%s/probe.so", t->runtime);
	spec_init(&spec);
	spec.target = target;
	if (try_host(t, &spec, &t->limits_err, &t->cell_err)) {
		t->result = SELFTEST_YES;
	} else {
		/* With limits the cell may have failed for them: what remains without? */
		struct err without = {0};

		spec.no_limits = true;
		if (try_host(t, &spec, &t->host_err, &without)) {
			t->result = SELFTEST_NO_LIMITS;
			if (t->limits_err.kind == ERR_NONE)
				t->limits_err = t->cell_err;
			t->cell_err = (struct err){0};
		} else {
			if (t->host_err.kind != ERR_NONE)
				t->limits_err = (struct err){0}; /* the same, most likely, and not about limits */
			if (t->cell_err.kind == ERR_NONE)
				t->cell_err = without;
		}
	}
	spec_done(&spec);
}

void selftest_run(struct selftest *t)
{
	sigset_t set, old;

	*t = (struct selftest){0};
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGHUP);
	(void)sigprocmask(SIG_BLOCK, &set, &old);
	(void)!cg_host_probe(&t->cg, &t->cg_err);
	if (cli_find_runtime(t->runtime, sizeof t->runtime, &t->runtime_err) == 0)
		try_hosts(t);
	else
		t->runtime[0] = '\0';
	(void)sigprocmask(SIG_SETMASK, &old, NULL);
}
