/* Making and removing cells' groups on the hierarchies of this host: failures, leftovers of a dead run, and the price. */
#include "tests/system/cgroup_live.h"

#include <sys/inotify.h>

/* ---- Removing ---- */

/* The signal to each process would end them just as well, but not when they fork faster than we read. */
TEST(ending_a_group_of_cgroup2_is_one_write_to_cgroup_kill)
{
	AUTO(cg_close) struct cgroup cg = CGROUP_INIT;
	AUTO_FD int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	struct err e = {0};
	char path[600], events[512];

	SETUP();
	if (!host.v2_root[0])
		SKIP_HOST("no cgroup2");
	REQUIRE(create("once", 64, 8, &cg));
	(void)snprintf(path, sizeof path, "%s%s/once/cgroup.kill", host.v2_root, parent.path);
	CHECK_GE(inotify_add_watch(watch, path, IN_MODIFY), 0);
	pid_t pid = spawn(&cg, work_sleep);

	CHECK_OK(cg_kill(&cg, &e), &e);
	CHECK_GT(read(watch, events, sizeof events), 0);
	int status = reap(pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	end_group(&cg, 0);
}

TEST(a_freeze_has_ended_when_it_returns)
{
	AUTO(cg_close) struct cgroup cg = CGROUP_INIT;
	struct err e = {0};
	char path[600], events[256];
	pid_t pids[20];

	SETUP();
	if (!host.v2_root[0])
		SKIP_HOST("no cgroup2");
	REQUIRE(create("settled", 128, 64, &cg));
	(void)snprintf(path, sizeof path, "%s%s/settled/cgroup.events", host.v2_root, parent.path);
	for (size_t i = 0; i < ARRAY_LEN(pids); i++)
		pids[i] = spawn(&cg, work_busy);
	for (int round = 0; round < 10; round++) {
		bool frozen = round % 2 == 0;

		CHECK_OK(cg_freeze(&cg, frozen, slow(5000), &e), &e);
		CHECK_GT(fd_read_file_at(AT_FDCWD, path, events, sizeof events), 0);
		CHECK_CONTAINS(events, frozen ? "frozen 1" : "frozen 0");
	}
	CHECK_OK(cg_kill(&cg, &e), &e);
	for (size_t i = 0; i < ARRAY_LEN(pids); i++)
		(void)reap(pids[i]);
	end_group(&cg, 0);
}

TEST(removal_waits_for_processes_that_still_exit)
{
	SETUP();
	for (int i = 0; i < 5; i++) {
		AUTO(cg_close) struct cgroup cg = CGROUP_INIT;
		struct err e = {0};

		REQUIRE(create("exiting", 256, 8, &cg));
		pid_t pid = spawn(&cg, work_hold_64);
		while (usage_of(&cg).memory_bytes < 64 * MIB)
			nap_ms(5);
		CHECK_OK(cg_kill(&cg, &e), &e);
		uint64_t start = clock_mono_ns();
		CHECK_OK(cg_remove(&cg, &e), &e); /* not reaped: a zombie is in nobody's way */
		CHECK_LT(clock_mono_ns() - start, (uint64_t)slow(1) * NS_PER_S);
		CHECK_EQ(count_groups("exiting"), 0);
		(void)reap(pid);
	}
}

TEST(one_that_does_not_wait_says_not_yet_and_removes_later)
{
	AUTO(cg_close) struct cgroup cg = CGROUP_INIT;
	struct err e = {0};
	pid_t pid;
	int r = -EAGAIN;

	SETUP();
	REQUIRE(create("notyet", 64, 8, &cg));
	pid = spawn(&cg, work_sleep);
	CHECK_EQ(cg_try_remove(&cg, &e), -EAGAIN);
	CHECK_EQ(e.kind, ERR_NONE);
	CHECK_GT(count_groups("notyet"), 0);
	CHECK_EQ(cg_kill(&cg, &e), 0);
	(void)reap(pid);
	for (int t = 0; t < slow(500) && r == -EAGAIN; t++) {
		r = cg_try_remove(&cg, &e);
		if (r == -EAGAIN)
			nap_ms(1);
	}
	CHECK_EQ(r, 0);
	CHECK_EQ(count_groups("notyet"), 0);
	CHECK_EQ(cg_try_remove(&cg, &e), 0);
}

TEST(a_group_with_a_living_process_is_busy_after_two_seconds_and_stays)
{
	AUTO(cg_close) struct cgroup cg = CGROUP_INIT;
	struct err e = {0};
	char pid_text[24];

	SETUP();
	REQUIRE(create("alive", 64, 8, &cg));
	pid_t pid = spawn(&cg, work_sleep);
	uint64_t start = clock_mono_ns();

	CHECK(cg_remove(&cg, &e) < 0);
	CHECK_EQ(e.kind, ERR_BUSY);
	(void)snprintf(pid_text, sizeof pid_text, "%d", (int)pid);
	CHECK_CONTAINS(e.hint, pid_text);
	CHECK_GE(clock_mono_ns() - start, 1900 * NS_PER_MS);
	CHECK_LT(clock_mono_ns() - start, (uint64_t)slow(4) * NS_PER_S);
	CHECK_GT(count_groups("alive"), 0);
	CHECK_EQ(usage_of(&cg).pids, 1);
	end_group(&cg, pid); /* a second try works */
}

TEST(removal_takes_groups_below_and_is_idempotent)
{
	static const char *const below[] = {"/a", "/a/b", "/a/b/c", "/d"};
	AUTO(cg_close) struct cgroup cg = CGROUP_INIT;
	struct err e = {0};
	const char *at[4];
	char path[600];

	SETUP();
	REQUIRE(create("nested", 64, 8, &cg));
	for (size_t i = roots(at); i-- > 0;)
		for (size_t depth = 0; depth < ARRAY_LEN(below); depth++) {
			(void)snprintf(path, sizeof path, "%s%s/nested%s", at[i], parent.path, below[depth]);
			CHECK(mkdir(path, 0755) == 0);
		}
	CHECK_OK(cg_remove(&cg, &e), &e);
	CHECK_EQ(count_groups("nested"), 0);
	CHECK_EQ(cg.mode, CG_NONE);
	CHECK_OK(cg_remove(&cg, &e), &e);
	cg_close(&cg);
}

/* ---- Groups inside ---- */

TEST(a_part_of_a_cell_is_ended_by_itself)
{
	AUTO(cg_close) struct cgroup cg = CGROUP_INIT;
	struct cg_sub sub = CG_SUB_INIT;
	struct err e = {0};
	int fds[CG_V1_COUNT + 1], n;

	SETUP();
	REQUIRE(create("parts", 64, 8, &cg));
	pid_t rest = spawn(&cg, work_sleep);
	CHECK_OK(cg_sub_make(&cg, "part", &sub, &e), &e);
	n = cg_sub_open_tasks(&cg, &sub, fds, &e);
	CHECK_EQ(n, (int)roots((const char *[4]){0}));
	pid_t part = fork();
	if (part == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (int i = 0; i < n; i++)
			if (write(fds[i], "0", 1) != 1)
				_exit(1);
		if (write(fds[n - 1], "x", 1) == 1) /* and no other word */
			_exit(2);
		for (;;)
			(void)pause();
	}
	struct cg_usage usage = {0};
	for (int i = 0; i < 1000 && usage.pids < 2; i++) { /* its limits are the cell's: it is counted there */
		CHECK_OK(cg_usage(&cg, &usage, &e), &e);
		cg_pause_until(clock_mono_ns() + NS_PER_MS);
	}
	CHECK_EQ(usage.pids, 2);
	while (n > 0)
		fd_closep(&fds[--n]);
	if (!host.v2_root[0]) {
		CHECK(!fd_valid(sub.dir));
		CHECK_EQ(kill(part, SIGKILL), 0);
	} else {
		CHECK_EQ(cg_sub_try_remove(&sub), -EAGAIN);
		CHECK(fd_valid(sub.dir));
	}
	CHECK_EQ(cg_sub_kill(&sub), 0);
	int status = reap(part);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	int r = -EAGAIN;
	for (int i = 0; i < 1000 && r == -EAGAIN; i++, cg_pause_until(clock_mono_ns() + NS_PER_MS))
		r = cg_sub_try_remove(&sub);
	CHECK_EQ(r, 0);
	CHECK(!fd_valid(sub.dir));
	CHECK_EQ(cg_sub_try_remove(&sub), 0);
	CHECK_EQ(cg_sub_kill(&sub), 0);
	CHECK_EQ(kill(rest, 0), 0); /* nobody else was ended */
	CHECK_OK(cg_kill(&cg, &e), &e);
	(void)reap(rest);
	/* One that is left goes with the cell. */
	CHECK_OK(cg_sub_make(&cg, "left", &sub, &e), &e);
	end_group(&cg, 0);
	CHECK_EQ(count_groups("parts"), 0);
	CHECK_EQ(cg_sub_kill(&sub), 0);
	CHECK_EQ(cg_sub_try_remove(&sub), 0);
}

/* ---- Failures ---- */

TEST(a_group_that_exists_is_left_as_it_is)
{
	AUTO(cg_close) struct cgroup first = CGROUP_INIT;
	struct cgroup second = CGROUP_INIT;
	struct cg_limits limits;
	struct err e = {0};
	char path[600];

	SETUP();
	limits = limits_of(64, 8);
	REQUIRE(create("exists", 128, 33, &first));
	CHECK(cg_create(&host, &parent, "exists", &limits, &second, &e) < 0);
	CHECK_EQ(e.kind, ERR_EXISTS);
	CHECK_STREQ(read_in(CG_V1_PIDS, "exists", "pids.max"), "33");
	end_group(&first, 0);

	/* Only in the last hierarchy: what was made in those before goes again. */
	e = (struct err){0};
	(void)snprintf(path, sizeof path, "%s%s/exists", host.v2_root[0] ? host.v2_root : host.v1_root[CG_V1_PIDS],
		       parent.path);
	CHECK(mkdir(path, 0755) == 0);
	CHECK(cg_create(&host, &parent, "exists", &limits, &second, &e) < 0);
	CHECK_EQ(e.kind, ERR_EXISTS);
	CHECK_EQ(count_groups("exists"), 1);
	CHECK(rmdir(path) == 0);
}

TEST(a_failure_half_way_leaves_nothing)
{
	struct cgroup cg = CGROUP_INIT;
	struct cg_limits limits;
	struct err e = {0};
	unsigned fds;

	SETUP();
	fds = count_fds();
	limits = limits_of(64, UINT32_MAX); /* pids.max takes no more than PID_MAX_LIMIT: the last write fails */
	CHECK(cg_create(&host, &parent, "halfway", &limits, &cg, &e) < 0);
	CHECK_CONTAINS(e.msg, "pids.max");
	CHECK_CONTAINS(e.where, "/halfway/pids.max");
	CHECK_EQ(count_groups("halfway"), 0);
	CHECK_EQ(cg.mode, CG_NONE);

	struct cg_parent nowhere = {.path = "/fsbox-live-nowhere"};
	e = (struct err){0};
	limits.pids = 8;
	CHECK(cg_create(&host, &nowhere, "x", &limits, &cg, &e) < 0);
	CHECK_EQ(e.kind, ERR_NOT_FOUND);
	CHECK_EQ(count_fds(), fds);
}

TEST(no_descriptor_is_left_open)
{
	unsigned fds;

	SETUP();
	fds = count_fds();
	for (int i = 0; i < 3; i++) {
		AUTO(cg_close) struct cgroup cg = CGROUP_INIT;

		REQUIRE(create("fds", 64, 8, &cg));
		end_group(&cg, spawn(&cg, work_sleep));
	}
	CHECK_EQ(count_fds(), fds);
}

TEST(descriptors_are_close_on_exec)
{
	AUTO(cg_close) struct cgroup cg = CGROUP_INIT;

	SETUP();
	REQUIRE(create("cloexec", 64, 8, &cg));
	for (unsigned h = 0; h < CG_H_COUNT; h++)
		if (fd_valid(cg_dirfd(&cg, h)))
			CHECK_EQ(fcntl(cg_dirfd(&cg, h), F_GETFD), FD_CLOEXEC);
	if (fd_valid(cg.oom_event))
		CHECK_EQ(fcntl(cg.oom_event, F_GETFD), FD_CLOEXEC);
	end_group(&cg, 0);
}

TEST(a_sweep_ends_and_removes_what_a_dead_run_left)
{
	struct cgroup cg = CGROUP_INIT;
	struct err e = {0};

	SETUP();
	REQUIRE(create("left", 128, 20, &cg));
	pid_t pid = spawn(&cg, work_fork_bomb);
	nap_ms(30);
	if (fd_valid(cg.v2))
		CHECK_OK(cg_freeze(&cg, true, slow(1000), &e), &e);
	cg_close(&cg); /* as if its owner had died */
	CHECK_GT(count_groups("left"), 0);
	CHECK_OK(cg_sweep(&host, parent.path, "left", &e), &e);
	CHECK_EQ(count_groups("left"), 0);
	int status = reap(pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);

	CHECK_OK(cg_sweep(&host, parent.path, "left", &e), &e); /* absent */
	CHECK_OK(cg_sweep(&host, "/fsbox-live-nowhere", "left", &e), &e);
	CHECK(cg_sweep(&host, parent.path, "..", &e) < 0);
	CHECK_EQ(e.kind, ERR_SPEC);
	e = (struct err){0};
	CHECK(cg_sweep(&host, "/x/../..", "left", &e) < 0);
	CHECK_EQ(e.kind, ERR_SPEC);
}

TEST(a_sweep_takes_a_group_of_which_only_a_part_was_made)
{
	struct err e = {0};
	char path[600];

	SETUP();
	(void)snprintf(path, sizeof path, "%s%s/part", root_of(CG_V1_CPU), parent.path);
	CHECK(mkdir(path, 0755) == 0);
	CHECK_OK(cg_sweep(&host, parent.path, "part", &e), &e);
	CHECK_EQ(count_groups("part"), 0);
}

/* ---- Speed, for the record ---- */

static int by_value(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static double median_us(uint64_t *ns, size_t n)
{
	qsort(ns, n, sizeof *ns, by_value);
	return (double)ns[n / 2] / 1000;
}

TEST(the_price_of_each_step)
{
	enum { ROUNDS = 101 };
	static uint64_t probe[ROUNDS], find[ROUNDS], make[ROUNDS], attach[ROUNDS], boost[ROUNDS], use[ROUNDS],
		gone[ROUNDS];

	SETUP();
	for (size_t i = 0; i < ROUNDS; i++) {
		struct cg_limits limits = limits_of(128, 64);
		struct cgroup cg = CGROUP_INIT;
		struct cg_parent p;
		struct cg_host h;
		struct cg_usage u;
		struct err e = {0};
		pid_t pid = fork();
		uint64_t t[9];

		if (pid == 0)
			work_sleep();
		t[0] = clock_mono_ns();
		CHECK_OK(cg_host_probe(&h, &e), &e);
		t[1] = clock_mono_ns();
		CHECK_OK(cg_parent_find(&h, parent_path, &p, &e), &e);
		t[2] = clock_mono_ns();
		REQUIRE_OK(cg_create(&h, &p, "price", &limits, &cg, &e), &e);
		t[3] = clock_mono_ns();
		CHECK_OK(h.mode == CG_V2 ? cg_attach_v2(&cg, pid, &e) : cg_attach_v1(&cg, pid, &e), &e);
		t[4] = clock_mono_ns();
		CHECK_OK(cg_begin_boost(&cg, &e), &e);
		t[5] = clock_mono_ns();
		CHECK_OK(cg_usage(&cg, &u, &e), &e);
		t[6] = clock_mono_ns();
		CHECK(kill(pid, SIGKILL) == 0);
		(void)reap(pid);
		nap_ms(2); /* the price of removal, not of waiting */
		t[7] = clock_mono_ns();
		CHECK_OK(cg_remove(&cg, &e), &e);
		t[8] = clock_mono_ns();
		probe[i] = t[1] - t[0];
		find[i] = t[2] - t[1];
		make[i] = t[3] - t[2];
		attach[i] = t[4] - t[3];
		boost[i] = t[5] - t[4];
		use[i] = t[6] - t[5];
		gone[i] = t[8] - t[7];
	}
	tap_note("median of %d in us: probe %.0f, parent_find %.0f, create %.0f, attach %.0f, boost %.0f, usage %.0f, "
		 "remove %.0f",
		 ROUNDS, median_us(probe, ROUNDS), median_us(find, ROUNDS), median_us(make, ROUNDS),
		 median_us(attach, ROUNDS), median_us(boost, ROUNDS), median_us(use, ROUNDS), median_us(gone, ROUNDS));
}

TEST(the_parent_of_these_tests_is_empty_and_removed)
{
	SETUP();
	CHECK_EQ(remove_parent(), 0);
}
