/* Snapshots beside CRIU's command line and cold starts: the same functions, in turns, in one run. Prints Markdown and
 * asserts nothing.
 *
 *     snapshots ROUNDS DIR      DIR: an empty directory; the caller removes it
 *
 * Time is CLOCK_MONOTONIC, up to the answer of a call: its last frame on the channel, or the first byte on the stdout of
 * `fsbox run`. What takes a cell apart is not in it, and between two contestants there is a pause, in which the kernel
 * takes the last one's namespaces apart. */
#include "base/clock.h"
#include "base/fd.h"
#include "cell/cell.h"
#include "tests/lib/chan_peer.h"
#include "tests/lib/plain_criu.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum {
	MAX_ROUNDS = 1000,
	AT_ONCE = 4,
	PAUSE_MS = 40,
	PARK_MS = 30, /* CRIU's own start in a worker */
	ANSWER_MS = 30000,
	MEMORY_MB = 1769, /* a whole CPU: at a smaller share the quota would be measured */
};

#define MEMORY_WORD "1769"

/* ---- What everything needs ---- */

struct function {
	unsigned mb, sleep_ms;
	bool restores; /* all of them, and the dumps; else only what a break-even needs */
};
static const struct function functions[] = {
	{1, 0, true}, {64, 0, true}, {256, 0, true}, {1, 50, false}, {1, 300, false},
};
enum { N_FUNCTIONS = ARRAY_LEN(functions), SMALL = 0, LARGE = 2, SLOW_50 = 3 };

static struct world {
	char dir[200], fsbox[400], runtime[400], target[400];
	char mb[24], sleep_ms[24]; /* the function's environment */
	struct snap_engine engine;
	struct cell_spec spec;
	struct filter filter;
	struct cell_host host;
	struct snap_store store;
	struct snap snap;
	struct plain_criu plain;
	struct plain_images images, dumped; /* to be restored; of the last dump that was timed */
	char answer[64];
} w = {.store = {.dir = FD_NONE}, .images = {.name = "images"}, .dumped = {.name = "dumped"}};

static void pause_ms(unsigned ms)
{
	(void)nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000}, NULL);
}

static int expect(struct session *s, enum session_event wanted, struct err *e)
{
	const enum session_event ev = session_wait(s, clock_mono_ns() + ANSWER_MS * NS_PER_MS);

	return ev == wanted
		       ? 0
		       : err_set(e, ERR_SYSTEM, 0, "event %d instead of %d: %s", (int)ev, (int)wanted, s->error_type);
}

static int call(struct session *s, struct err *e)
{
	int r = session_call(s, 1, "bench", "", (int64_t)(clock_wall_ns() / NS_PER_MS) + ANSWER_MS,
			     ANSWER_MS * NS_PER_MS, "{}", 2, e);

	if (r == 0)
		r = expect(s, SESSION_DONE, e);
	if (r == 0)
		(void)snprintf(w.answer, sizeof w.answer, "%.*s", (int)s->answer.len, s->answer.data);
	return r;
}

static int end(struct cell *c, struct session *s, int r, struct err *e)
{
	struct err cleanup = {0};

	session_done(s);
	return cell_release(c, &cleanup) < 0 && r == 0 ? err_adopt(e, &cleanup) : r;
}

/* ---- fsbox's restore ---- */

/* A prepared cell to its answer. */
static int resume(struct cell *c, uint64_t begin, uint64_t *ret_ns, struct err *e)
{
	struct session s;
	int r = cell_resume(c, e);

	if (r < 0)
		return r;
	session_init_restored(&s, c, &session_discard, FD_NONE, 0);
	r = clone_tell(&s, &w.snap, e);
	if (r == 0)
		r = expect(&s, SESSION_RESTORED, e);
	if (r == 0)
		r = call(&s, e);
	*ret_ns = clock_mono_ns() - begin;
	return end(c, &s, r, e);
}

static int run_parked(uint64_t *ret_ns, struct err *e)
{
	struct cell c;
	int r;

	cell_init(&c, &w.host, &w.spec, &w.filter);
	cell_restore_from(&c, &w.snap, FD_NONE);
	r = cell_prepare(&c, e);
	if (r < 0)
		return r;
	pause_ms(PARK_MS);
	return resume(&c, clock_mono_ns(), ret_ns, e);
}

static int run_alone(uint64_t *ret_ns, struct err *e)
{
	const uint64_t begin = clock_mono_ns();
	struct cell c;
	int r;

	cell_init(&c, &w.host, &w.spec, &w.filter);
	cell_restore_from(&c, &w.snap, FD_NONE);
	r = cell_prepare(&c, e);
	return r < 0 ? r : resume(&c, begin, ret_ns, e);
}

/* One of those that are resumed at once: a process of its own with a host of its own. Tells when it is ready, and then when
 * it has had its answer; 0 when it failed. */
_Noreturn static void one_of_many(int go, int tell)
{
	struct cell_host host;
	struct err e = {0};
	struct cell c;
	uint64_t ns = 0, at = 0;
	char word;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (cell_host_open(&w.spec, w.runtime, &host, &e) < 0)
		_exit(1);
	host.target_fd = w.host.target_fd;
	publish_use_engine(&host, &w.engine);
	cell_init(&c, &host, &w.spec, &w.filter);
	cell_restore_from(&c, &w.snap, FD_NONE);
	if (cell_prepare(&c, &e) == 0 && write(tell, &at, sizeof at) > 0 && read(go, &word, 1) == 1) {
		const uint64_t begin = clock_mono_ns();

		if (resume(&c, begin, &ns, &e) == 0)
			at = begin + ns;
	}
	(void)!write(tell, &at, sizeof at);
	cell_host_close(&host);
	_exit(at == 0);
}

static int run_many(uint64_t *ret_ns, struct err *e)
{
	int go[2], tell[2], status;
	uint64_t at, begin, last = 0;
	pid_t pids[AT_ONCE];
	int failed = 0;

	if (pipe2(go, O_CLOEXEC) < 0 || pipe2(tell, O_CLOEXEC) < 0)
		return err_sys(e, errno, "pipe");
	for (int i = 0; i < AT_ONCE; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			(void)close(go[1]);
			(void)close(tell[0]);
			one_of_many(go[0], tell[1]);
		}
	}
	(void)close(go[0]);
	(void)close(tell[1]);
	for (int i = 0; i < AT_ONCE; i++)
		failed += read(tell[0], &at, sizeof at) != (ssize_t)sizeof at;
	pause_ms(PARK_MS);
	begin = clock_mono_ns();
	failed += write(go[1], "gggg", AT_ONCE) != AT_ONCE;
	for (int i = 0; i < AT_ONCE; i++) {
		failed += read(tell[0], &at, sizeof at) != (ssize_t)sizeof at || at == 0;
		last = at > last ? at : last;
	}
	(void)close(go[1]);
	(void)close(tell[0]);
	for (int i = 0; i < AT_ONCE; i++)
		failed += pids[i] < 0 || waitpid(pids[i], &status, 0) != pids[i] || status != 0;
	*ret_ns = last - begin;
	return failed ? err_set(e, ERR_SYSTEM, 0, "%d failures of %d clones", failed, AT_ONCE) : 0;
}

/* ---- Cold starts ---- */

static int build_cold(struct cell *c, struct session *s, bool publish, struct err *e)
{
	int r;

	cell_init(c, &w.host, &w.spec, &w.filter);
	if (publish)
		cell_publish(c);
	r = cell_build(c, e);
	if (r < 0)
		return r;
	session_init(s, c, &session_discard, FD_NONE);
	r = expect(s, SESSION_READY, e);
	return r < 0 ? end(c, s, r, e) : 0;
}

static int run_cold(uint64_t *ret_ns, struct err *e)
{
	const uint64_t begin = clock_mono_ns();
	struct session s;
	struct cell c;
	int r = build_cold(&c, &s, false, e);

	if (r < 0)
		return r;
	r = call(&s, e);
	*ret_ns = clock_mono_ns() - begin;
	return end(&c, &s, r, e);
}

/* ---- Whole processes ---- */

static int run_process(const char *const *argv, char *answer, size_t size, uint64_t *ret_ns, struct err *e)
{
	const uint64_t begin = clock_mono_ns();
	char *const *args;
	int out[2], status = -1;
	size_t len = 0;
	ssize_t n;
	pid_t pid;

	if (pipe2(out, O_CLOEXEC) < 0)
		return err_sys(e, errno, "pipe");
	pid = fork();
	if (pid == 0) {
		const int null = open("/dev/null", O_RDWR | O_CLOEXEC);

		memcpy(&args, &argv, sizeof args); /* execv(3) does not write to the texts */
		if (dup2(null, 0) == 0 && dup2(out[1], 1) == 1 && dup2(null, 2) == 2)
			(void)execv(args[0], args);
		_exit(127);
	}
	(void)close(out[1]);
	while (len < size - 1 && (n = read(out[0], answer + len, size - 1 - len)) > 0) {
		if (len == 0)
			*ret_ns = clock_mono_ns() - begin;
		len += (size_t)n;
	}
	answer[len] = '\0';
	answer[strcspn(answer, "\n")] = '\0';
	(void)close(out[0]);
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0 || len == 0)
		return err_set(e, ERR_SYSTEM, 0, "fsbox ended with status %d", WEXITSTATUS(status));
	return 0;
}

static int run_whole_restore(uint64_t *ret_ns, struct err *e)
{
	return run_process((const char *[]){w.fsbox, "run", "--snapshot=require", "--mem", MEMORY_WORD, "--env", w.mb,
					    "--env", w.sleep_ms, w.target, NULL},
			   w.answer, sizeof w.answer, ret_ns, e);
}

static int run_whole_cold(uint64_t *ret_ns, struct err *e)
{
	return run_process((const char *[]){w.fsbox, "run", "--mem", MEMORY_WORD, "--env", w.mb, "--env", w.sleep_ms,
					    w.target, NULL},
			   w.answer, sizeof w.answer, ret_ns, e);
}

/* ---- Plain CRIU ---- */

static int read_answer(struct plain_cell *c, struct err *e)
{
	struct chan_peer peer = {.pid = -1, .in = c->in, .out = c->out, .log = FD_NONE};
	struct chan_peer_frame f;
	int r;

	do
		r = chan_peer_next(&peer, &f);
	while (r == 1 && f.head.type == CHAN_DATA);
	free(peer.buf);
	return r == 1 && f.head.type == CHAN_DONE ? 0 : err_set(e, ERR_SYSTEM, -r, "no answer from plain CRIU's cell");
}

static int run_plain(uint64_t *ret_ns, struct err *e)
{
	struct plain_cell c = PLAIN_CELL_NONE;
	struct err waited = {0};
	size_t len;
	uint8_t *bytes = chan_peer_make_call(1, "bench", "", ANSWER_MS, "{}", 2, &len);
	int r = plain_criu_restore(&w.plain, &w.images, bytes, len, &c, e), ended;

	if (r == 0) {
		r = read_answer(&c, e);
		*ret_ns = clock_mono_ns() - c.begin_ns;
		ended = plain_criu_wait(&w.plain, &c, &waited);
		if (ended < 0) { /* the better reason */
			*e = waited;
			r = ended;
		}
	}
	plain_criu_end(&c);
	free(bytes);
	return r;
}

static int plain_dump(struct plain_images *images, uint64_t *ret_ns, struct err *e)
{
	struct session s;
	struct cell c;
	int r = build_cold(&c, &s, true, e);

	if (r < 0)
		return r;
	if (!w.plain.engine)
		r = plain_criu_init(&w.plain, &w.engine, &c, arena_printf(&w.spec.arena, "%s/plain", w.dir), e);
	if (r == 0)
		r = plain_criu_dump(&w.plain, &c, images, ret_ns, e);
	return end(&c, &s, r, e);
}

static void remove_images(const struct plain_images *images)
{
	uint64_t ns;
	struct err e = {0};
	char path[300], said[8];

	(void)snprintf(path, sizeof path, "%s/plain/%s", w.dir, images->name);
	(void)!run_process((const char *[]){"/bin/rm", "-rf", path, NULL}, said, sizeof said, &ns, &e);
}

static int run_plain_dump(uint64_t *ret_ns, struct err *e)
{
	int r = plain_dump(&w.dumped, ret_ns, e);

	remove_images(&w.dumped);
	return r;
}

/* ---- Making a snapshot ---- */

/* Its pid as the host sees it: the first child of PID 1. */
static int find_runtime(const struct cell *c, pid_t *ret, struct err *e)
{
	char path[64], list[64];
	uint64_t pid;

	(void)snprintf(path, sizeof path, "/proc/%d/task/%d/children", c->pid, c->pid);
	if (fd_read_file_at(AT_FDCWD, path, list, sizeof list) < 0)
		return err_sys(e, errno, "reading %s", path);
	list[strcspn(list, " ")] = '\0';
	if (!parse_u64(list, 2, INT32_MAX, &pid))
		return err_set(e, ERR_SYSTEM, 0, "no runtime in the cell");
	*ret = (pid_t)pid;
	return 0;
}

enum { FREEZE_MS = 5000 };

/* Frozen first, as a publish does it: that is part of the time. */
static int dump(const struct cell *c, struct snap_draft *d, uint64_t *ret_ns, struct err *e)
{
	struct snap_victim v = {
		.init_pid = c->pid,
		.owner = c->plan->uid_outside + CELL_UID + 1,
		.host_userland = true,
		.signal_fd = FD_NONE,
		.memory_bytes = c->spec->memory_bytes,
	};
	int r = find_runtime(c, &v.pid, e);
	const uint64_t begin = clock_mono_ns();

	(void)snprintf(v.group, sizeof v.group, "%s%s/%s", w.host.cg.v2_root, c->cg.parent, c->cg.name);
	if (r == 0)
		r = cg_freeze(&c->cg, true, FREEZE_MS, e);
	if (r == 0)
		r = snap_dump(&w.engine, &v, &w.host.dump_kdat, d, e);
	*ret_ns = clock_mono_ns() - begin;
	return r;
}

static int run_dump(uint64_t *ret_ns, struct err *e)
{
	struct snap_draft d;
	struct session s;
	struct cell c;
	int r = snap_draft_begin(&w.store, &d, e);

	if (r < 0)
		return r;
	r = build_cold(&c, &s, true, e);
	if (r == 0) {
		r = session_snapshot(&s, e);
		if (r == 0)
			r = expect(&s, SESSION_PARKED, e);
		if (r == 0)
			r = dump(&c, &d, ret_ns, e);
		r = end(&c, &s, r, e);
	}
	snap_draft_abort(&d);
	return r;
}

static int run_publish(uint64_t *ret_ns, struct err *e)
{
	const struct snap_part code = {.name = "code", .kind = SNAP_FILE, .text = w.target, .fd = FD_NONE};
	struct snap_key key = {.target = w.target};
	struct publisher p = {
		.host = &w.host,
		.spec = &w.spec,
		.base = &w.filter,
		.policy = w.spec.policy,
		.sink = &session_discard,
		.store = &w.store,
		.key = &key,
		.signal_fd = FD_NONE,
	};
	uint64_t begin;
	struct snap snap;
	int r;

	snap_init(&snap);
	begin = clock_mono_ns();
	r = snap_key_add(&key, &code, e);
	if (r == 0)
		r = snap_key_add_host(&key, &w.engine, e);
	if (r == 0)
		r = publish(&p, &snap, e);
	*ret_ns = clock_mono_ns() - begin;
	if (r == 0) {
		char id[sizeof snap.m.id];

		memcpy(id, snap.m.id, sizeof id);
		snap_close(&snap);
		r = snap_remove(&w.store, id, e);
	}
	snap_key_done(&key);
	return r;
}

/* ---- Taking turns ---- */

enum who { PLAIN, PARKED, MANY, ALONE, WHOLE, COLD, WHOLE_COLD, PLAIN_DUMP, DUMP, PUBLISH, N_CONTESTANTS };
static const struct contestant {
	const char *name;
	int (*run)(uint64_t *ret_ns, struct err *e);
	bool always;    /* also for the functions that only a break-even needs */
	unsigned every; /* nth round */
} contestants[] = {
	[PLAIN] = {"plain `criu restore -d`", run_plain, true, 1},
	[PARKED] = {"restore, a worker parked", run_parked, true, 1},
	[MANY] = {"restores, four parked at once: the last", run_many, false, 2},
	[ALONE] = {"restore, nothing parked", run_alone, true, 1},
	[WHOLE] = {"`fsbox run --snapshot`", run_whole_restore, true, 1},
	[COLD] = {"cold start", run_cold, true, 1},
	[WHOLE_COLD] = {"`fsbox run`", run_whole_cold, true, 1},
	[PLAIN_DUMP] = {"plain `criu dump`", run_plain_dump, false, 1},
	[DUMP] = {"dump", run_dump, false, 1},
	[PUBLISH] = {"publish, all of it", run_publish, false, 4},
};

/* In ms; of init what the function itself measured in cold starts. */
static struct series {
	double ms[MAX_ROUNDS];
	size_t n;
	bool out;
} taken[N_FUNCTIONS][N_CONTESTANTS], inits[N_FUNCTIONS];

static void add(struct series *s, double ms)
{
	if (s->n < MAX_ROUNDS)
		s->ms[s->n++] = ms;
}

static void measure(size_t f, enum who i, bool trial)
{
	const struct contestant *c = &contestants[i];
	struct err e = {0};
	uint64_t ns = 0;

	if (taken[f][i].out || !(functions[f].restores || c->always))
		return;
	w.answer[0] = '\0';
	if (c->run(&ns, &e) < 0) {
		taken[f][i].out = true;
		printf("%s is left out at %u MB: %s%s%s\n", c->name, functions[f].mb, e.stage, e.stage[0] ? ": " : "",
		       e.msg);
	} else if (!trial) {
		add(&taken[f][i], (double)ns / 1e6);
		if (i == COLD || i == WHOLE_COLD)
			add(&inits[f], strtod(w.answer, NULL) / 1e3);
	}
	pause_ms(PAUSE_MS);
}

/* A new order each round, the same in every run of the benchmark. */
static void run_round(size_t f, unsigned round)
{
	static unsigned state = 1;
	size_t order[N_CONTESTANTS];

	for (size_t i = 0; i < N_CONTESTANTS; i++)
		order[i] = i;
	for (size_t i = N_CONTESTANTS; i > 1; i--) {
		state = state * 1103515245U + 12345U;
		const size_t j = (state >> 16) % i, swap = order[i - 1];

		order[i - 1] = order[j];
		order[j] = swap;
	}
	for (size_t i = 0; i < N_CONTESTANTS; i++)
		if (round % contestants[order[i]].every == 0)
			measure(f, (enum who)order[i], false);
}

/* One function: its snapshot and plain CRIU's images, trial runs, rounds. */
static int run_function(size_t f, unsigned rounds, struct err *e)
{
	char id[SNAP_ID_LEN + 8];
	uint64_t ns;
	int r;

	(void)snprintf(w.mb, sizeof w.mb, "MB=%u", functions[f].mb);
	(void)snprintf(w.sleep_ms, sizeof w.sleep_ms, "SLEEP_MS=%u", functions[f].sleep_ms);
	r = run_process((const char *[]){w.fsbox, "snapshot", "create", "--mem", MEMORY_WORD, "--env", w.mb, "--env",
					 w.sleep_ms, w.target, NULL},
			id, sizeof id, &ns, e);
	if (r == 0)
		r = snap_open(&w.store, id, &w.snap, e);
	if (r < 0)
		return r;
	r = plain_dump(&w.images, &ns, e);
	if (r < 0) {
		taken[f][PLAIN].out = taken[f][PLAIN_DUMP].out = true;
		printf("plain CRIU is left out at %u MB: %s\n", functions[f].mb, e->msg);
		*e = (struct err){0};
	}
	for (size_t i = 0; i < N_CONTESTANTS; i++)
		measure(f, (enum who)i, true);
	for (unsigned round = 0; round < rounds; round++)
		run_round(f, round);
	remove_images(&w.images);
	snap_close(&w.snap);
	return snap_remove(&w.store, id, e);
}

/* ---- The tables ---- */

static int by_value(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static double at(const struct series *s, double part)
{
	return s->n ? s->ms[(size_t)(part * (double)(s->n - 1) + 0.5)] : 0;
}

static double median(size_t f, enum who i)
{
	return at(&taken[f][i], 0.5);
}

static void print_times(void)
{
	printf("\n| median / p95 in ms |");
	for (size_t f = 0; f < N_FUNCTIONS; f++)
		printf(functions[f].sleep_ms ? " %u MB, init sleeps %u ms |" : " %u MB |", functions[f].mb,
		       functions[f].sleep_ms);
	printf("\n|---|--:|--:|--:|--:|--:|\n");
	for (size_t i = 0; i < N_CONTESTANTS; i++) {
		printf("| %s |", contestants[i].name);
		for (size_t f = 0; f < N_FUNCTIONS; f++)
			if (taken[f][i].n)
				printf(" %.1f / %.1f |", median(f, (enum who)i), at(&taken[f][i], 0.95));
			else
				printf(" |");
		printf("\n");
	}
}

static void print_target(const char *what, unsigned mb, double x, double y, double most)
{
	if (x > 0 && y > 0)
		printf("| %s, %u MB | %.2f | %.2f | %s |\n", what, mb, most, x / y,
		       x / y <= most ? "reached" : "missed");
}

static void print_targets(void)
{
	printf("\n| ratio of medians | at most | measured | |\n|---|--:|--:|---|\n");
	print_target("parked / plain restore", 1, median(SMALL, PARKED), median(SMALL, PLAIN), 0.25);
	print_target("parked / plain restore", 256, median(LARGE, PARKED), median(LARGE, PLAIN), 0.8);
	for (size_t f = 0; f <= LARGE; f++)
		print_target("`fsbox run --snapshot` / plain restore", functions[f].mb, median(f, WHOLE),
			     median(f, PLAIN), 0.7);
	print_target("`fsbox run --snapshot` / `fsbox run`, init sleeps 50 ms", 1, median(SLOW_50, WHOLE),
		     median(SLOW_50, WHOLE_COLD), 1.0);
	for (size_t f = 0; f <= LARGE; f++)
		print_target("dump / plain dump", functions[f].mb, median(f, DUMP), median(f, PLAIN_DUMP), 0.6);
}

/* The init that makes a cold start as long as a restore: the restore less what a cold start takes beside its init. */
static void print_break_even(void)
{
	printf("\n| a cold start is slower from an init of … ms | whole process | nothing parked | parked | (init now) "
	       "|\n|---|--:|--:|--:|--:|\n");
	for (size_t f = 0; f <= LARGE; f++) {
		const double init = at(&inits[f], 0.5), whole = median(f, WHOLE_COLD) - init,
			     inside = median(f, COLD) - init;

		printf("| %u MB | %.1f | %.1f | %.1f | %.1f |\n", functions[f].mb, median(f, WHOLE) - whole,
		       median(f, ALONE) - inside, median(f, PARKED) - inside, init);
	}
}

static void print_results(void)
{
	for (size_t f = 0; f < N_FUNCTIONS; f++) {
		qsort(inits[f].ms, inits[f].n, sizeof(double), by_value);
		for (size_t i = 0; i < N_CONTESTANTS; i++)
			qsort(taken[f][i].ms, taken[f][i].n, sizeof(double), by_value);
	}
	print_times();
	print_targets();
	print_break_even();
}

/* ---- Start ---- */

static int open_world(const char *dir, struct err *e)
{
	char path[300];
	int r;

	(void)snprintf(w.dir, sizeof w.dir, "%s", dir);
	(void)snprintf(w.fsbox, sizeof w.fsbox, "%s", chan_peer_built("fsbox"));
	(void)snprintf(w.runtime, sizeof w.runtime, "%s", chan_peer_built("runtime"));
	(void)snprintf(w.target, sizeof w.target, "%s", chan_peer_built("tests/functions/touched.so"));
	spec_init(&w.spec);
	w.spec.target = w.target;
	w.spec.memory_bytes = (uint64_t)MEMORY_MB << 20;
	w.spec.env[w.spec.n_env++] = w.mb;
	w.spec.env[w.spec.n_env++] = w.sleep_ms;
	snap_init(&w.snap);
	if (!filter_builtin(w.spec.policy, &w.filter))
		return err_set(e, ERR_BUG, ENOENT, "no built-in policy '%s'", w.spec.policy);
	r = snap_engine_find(w.runtime, &w.engine, e);
	if (r == 0)
		r = cell_host_open(&w.spec, w.runtime, &w.host, e);
	if (r < 0)
		return r;
	w.host.target_fd = open(w.target, O_RDONLY | O_CLOEXEC);
	r = snap_engine_check(&w.engine, e);
	publish_use_engine(&w.host, &w.engine);
	(void)snprintf(path, sizeof path, "%s/fsbox", dir);
	if (r == 0 && (setenv("XDG_STATE_HOME", dir, 1) < 0 || mkdir(path, 0700) < 0))
		r = err_sys(e, errno, "making '%s'", path);
	(void)snprintf(path, sizeof path, "%s/fsbox/snapshots", dir);
	if (r == 0)
		r = snap_store_open(path, true, &w.store, e);
	if (r < 0)
		cell_host_close(&w.host);
	return r;
}

int main(int argc, char **argv)
{
	struct err e = {0};
	unsigned rounds;
	sigset_t set;
	int r;

	(void)setvbuf(stdout, NULL, _IOLBF, 0); /* a child inherits no half line */
	if (argc != 3 || sscanf(argv[1], "%u", &rounds) != 1 || rounds < 1 || rounds > MAX_ROUNDS / 2) {
		(void)fprintf(stderr, "usage: snapshots ROUNDS DIR\n");
		return 2;
	}
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGPIPE);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	r = plain_criu_world("/run/fsbox", &e);
	if (r == 0)
		r = open_world(argv[2], &e);
	if (r < 0) {
		printf("snapshots are left out: %s\n", e.msg);
		return 0;
	}
	for (size_t f = 0; f < N_FUNCTIONS && r == 0; f++)
		r = run_function(f, rounds, &e);
	if (r < 0)
		printf("snapshots ended early: %s%s%s\n", e.stage, e.stage[0] ? ": " : "", e.msg);
	print_results();
	if (w.plain.engine)
		plain_criu_done(&w.plain);
	publish_keep_kdat(&w.host);
	snap_store_close(&w.store);
	cell_host_close(&w.host);
	filter_done(&w.filter);
	spec_done(&w.spec);
	return 0;
}
