/* Every promise of cgroup/cgroup.h about limits, entering, ending and accounts, on the hierarchies of this host. */
#include "tests/system/cgroup_live.h"

#include "base/str.h"

/* ---- The host and the parent ---- */

TEST(the_probe_finds_a_usable_host_and_our_own_group)
{
	SETUP();
	CHECK_NE(host.mode, CG_NONE);
	CHECK_GE(host.n_cpus, 1);
	CHECK_LE(host.n_cpus, sysconf(_SC_NPROCESSORS_CONF));
	if (host.v2_root[0]) {
		CHECK(host.v2_kill);
		CHECK(host.v2_freeze);
		CHECK_EQ(host.v2_self[0], '/');
	}
}

TEST(the_parent_is_made_in_every_hierarchy_and_hands_controllers_down)
{
	const char *at[4];
	char path[300];

	SETUP();
	CHECK_STREQ(parent.path, parent_path);
	CHECK(!parent.moved_self);
	for (size_t i = roots(at); i-- > 0;) {
		(void)snprintf(path, sizeof path, "%s%s", at[i], parent.path);
		CHECK(access(path, F_OK) == 0);
	}
	if (host.mode == CG_V2) {
		const char *have = read_in(CG_V1_MEMORY, "", "cgroup.subtree_control");

		CHECK_CONTAINS(have, "memory");
		CHECK_CONTAINS(have, "cpu");
		CHECK_CONTAINS(have, "pids");
	}
}

TEST(bad_parents_are_refused_and_make_nothing)
{
	static const char *const bad[] = {"fsbox", "/a/../b", "//x", "", "/x/", "/sys/fs/cgroup/../x"};
	struct cg_parent p;

	SETUP();
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct err e = {0};

		CHECK(cg_parent_find(&host, bad[i], &p, &e) < 0);
		CHECK_EQ(e.kind, ERR_SPEC);
		CHECK(e.hint[0] != '\0');
	}
}

TEST(root_gets_the_default_parent_when_nothing_is_wanted_or_delegated)
{
	struct cg_parent p;
	struct err e = {0};
	const char *at[4];
	bool was = true;
	char path[300];

	SETUP();
	for (size_t i = roots(at); i-- > 0;) {
		(void)snprintf(path, sizeof path, "%s/fsbox", at[i]);
		was &= access(path, F_OK) == 0;
	}
	REQUIRE_OK(cg_parent_find(&host, NULL, &p, &e), &e);
	if (p.moved_self || strcmp(p.path, "/fsbox") != 0)
		tap_note("runs in a delegated group: %s", p.path);
	else
		CHECK_STREQ(p.path, "/fsbox");
	CHECK_OK(cg_parent_find(&host, NULL, &p, &e), &e); /* again, now that it is there */
	cg_parent_leave(&host, &p);
	for (size_t i = roots(at); !was && i-- > 0;) {
		(void)snprintf(path, sizeof path, "%s/fsbox", at[i]);
		(void)rmdir(path); /* stays when somebody uses it by now */
	}
}

/* ---- Limits ---- */

static void check_v2_limits(const char *name)
{
	CHECK_STREQ(read_in(CG_V1_MEMORY, name, "memory.max"), "134217728");
	CHECK_STREQ(read_in(CG_V1_MEMORY, name, "memory.oom.group"), "1");
	if (strcmp(read_in(CG_V1_MEMORY, name, "memory.swap.max"), "(unreadable)") != 0)
		CHECK_STREQ(read_in(CG_V1_MEMORY, name, "memory.swap.max"), "0");
	CHECK_STREQ(read_in(CG_V1_CPU, name, "cpu.max"), "1000 13821");
	CHECK_STREQ(read_in(CG_V1_CPU, name, "cpu.weight"), "7");
	CHECK_STREQ(read_in(CG_V1_PIDS, name, "pids.max"), "33");
}

static void check_v1_limits(const char *name)
{
	CHECK_STREQ(read_in(CG_V1_MEMORY, name, "memory.limit_in_bytes"), "134217728");
	if (host.v1_memsw)
		CHECK_STREQ(read_in(CG_V1_MEMORY, name, "memory.memsw.limit_in_bytes"), "134217728");
	else
		CHECK_STREQ(read_in(CG_V1_MEMORY, name, "memory.swappiness"), "0");
	CHECK_STREQ(read_in(CG_V1_CPU, name, "cpu.cfs_period_us"), "13821");
	CHECK_STREQ(read_in(CG_V1_CPU, name, "cpu.cfs_quota_us"), "1000");
	CHECK_STREQ(read_in(CG_V1_CPU, name, "cpu.shares"), "74");
	CHECK_STREQ(read_in(CG_V1_PIDS, name, "pids.max"), "33");
}

TEST(the_kernel_holds_the_limits_that_were_asked_for)
{
	AUTO(cg_close) struct cgroup cg = CGROUP_INIT;

	SETUP();
	REQUIRE(create("limits", 128, 33, &cg));
	CHECK_EQ(fd_valid(cg.v2), host.v2_root[0] != '\0');
	CHECK_EQ(fd_valid(cg.oom_event), host.mode == CG_HYBRID);
	if (host.mode == CG_V2)
		check_v2_limits("limits");
	else
		check_v1_limits("limits");
	end_group(&cg, 0);
}

TEST(every_memory_size_is_taken_by_the_kernel)
{
	static const uint64_t sizes[] = {1, 2, 16, 177, 1769, 10240, 1u << 20};

	SETUP();
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		AUTO(cg_close) struct cgroup cg = CGROUP_INIT;

		REQUIRE(create("sizes", sizes[i], 8, &cg));
		end_group(&cg, 0);
	}
}

static const char *quota_text(const char *name)
{
	return host.mode == CG_V2 ? read_in(CG_V1_CPU, name, "cpu.max") : read_in(CG_V1_CPU, name, "cpu.cfs_quota_us");
}

TEST(boost_gives_a_whole_cpu_until_it_ends)
{
	AUTO(cg_close) struct cgroup cg = CGROUP_INIT;
	struct cg_limits limits;
	struct err e = {0};
	bool v2;

	SETUP();
	v2 = host.mode == CG_V2;
	limits = limits_of(512, 8);
	limits.boost = true;
	REQUIRE_OK(cg_create(&host, &parent, "boost", &limits, &cg, &e), &e);
	CHECK_STREQ(quota_text("boost"), v2 ? "10000 10000" : "10000");
	CHECK_OK(cg_end_boost(&cg, &e), &e);
	CHECK_STREQ(quota_text("boost"), v2 ? "2894 10000" : "2894");
	CHECK_OK(cg_begin_boost(&cg, &e), &e);
	CHECK_STREQ(quota_text("boost"), v2 ? "10000 10000" : "10000");
	end_group(&cg, 0);
}

/* The kernel looks at removed groups below for as long as they are being freed, and they may have more. */
static bool set_quota_above(const char *file, const char *value)
{
	char above[600];

	(void)snprintf(above, sizeof above, "%s%s", root_of(CG_V1_CPU), parent.path);
	for (int i = 0; i < slow(100); i++) {
		if (write_path(above, file, value) == 0)
			return true;
		nap_ms(10);
	}
	return false;
}

TEST(a_tighter_quota_above_is_no_failure)
{
	AUTO(cg_close) struct cgroup cg = CGROUP_INIT;
	bool v2;

	SETUP();
	v2 = host.mode == CG_V2;
	CHECK(v2 ? set_quota_above("cpu.max", "20000 100000") : set_quota_above("cpu.cfs_quota_us", "20000"));
	CHECK(create("tight", 1769, 8, &cg));
	CHECK_STREQ(quota_text("tight"), v2 ? "10000 10000" : "2000");
	if (cg.mode != CG_NONE)
		end_group(&cg, 0);
	CHECK(v2 ? set_quota_above("cpu.max", "max") : set_quota_above("cpu.cfs_quota_us", "-1"));
}

/* Share of one CPU that a busy process gets during @ms. */
static double measure_share(uint64_t mib, uint64_t ms)
{
	AUTO(cg_close) struct cgroup cg = CGROUP_INIT;
	struct cg_usage before, after;
	uint64_t start, wall;
	double share = 0;

	if (!create("share", mib, 8, &cg))
		return 0;

	pid_t pid = spawn(&cg, work_busy);
	nap_ms(200); /* the first periods are settled */
	start = clock_mono_ns();
	before = usage_of(&cg);
	nap_ms(ms);
	after = usage_of(&cg);
	wall = clock_mono_ns() - start;
	share = (double)(after.cpu_us - before.cpu_us) * 1000 / (double)wall;
	end_group(&cg, pid);
	return share;
}

TEST(a_busy_process_gets_its_share_of_a_cpu)
{
	static const struct {
		uint64_t mib;
		double tolerance;
	} cases[] = {{128, 0.15}, {512, 0.10}, {1024, 0.10}};

	SETUP();
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		double want = (double)cases[i].mib / 1769, have = 0;
		bool ok = false;

		if (want > host.n_cpus)
			continue;
		/* Too little may be a neighbour's fault, so three tries; too much never is. */
		for (int try = 0; try < 3 && !ok; try++) {
			have = measure_share(cases[i].mib, 800);
			CHECK(have <= want * (1 + cases[i].tolerance));
			ok = have >= want * (1 - cases[i].tolerance) && have <= want * (1 + cases[i].tolerance);
		}
		tap_note("%u MiB: %.4f of a CPU, wanted %.4f", (unsigned)cases[i].mib, have, want);
		CHECK(ok);
	}
}

/* ---- Entering ---- */

static bool is_in(pid_t pid, const char *name)
{
	char path[64], want[600], text[4096];
	unsigned found = 0;

	(void)snprintf(path, sizeof path, "/proc/%d/cgroup", (int)pid);
	(void)snprintf(want, sizeof want, "%s/%s", parent.path, name);
	if (fd_read_file_at(AT_FDCWD, path, text, sizeof text) < 0)
		return false;
	for (const char *p = text; (p = strstr(p, want)); p += strlen(want))
		found++;
	return found == (host.mode == CG_V2 ? 1u : 3u + (host.v2_root[0] ? 1 : 0));
}

TEST(a_child_born_in_the_group_and_attached_is_in_every_hierarchy)
{
	AUTO(cg_close) struct cgroup cg = CGROUP_INIT;

	SETUP();
	REQUIRE(create("enter", 64, 8, &cg));
	pid_t pid = spawn(&cg, work_sleep);

	CHECK(is_in(pid, "enter"));
	CHECK_EQ(usage_of(&cg).pids, 1);
	end_group(&cg, pid);
}

TEST(an_ordinary_child_can_be_put_in_and_a_dead_one_is_told)
{
	AUTO(cg_close) struct cgroup cg = CGROUP_INIT;
	struct err e = {0};

	SETUP();
	REQUIRE(create("put", 64, 8, &cg));
	pid_t pid = fork();
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		work_sleep();
	}
	if (host.v2_root[0])
		CHECK_OK(cg_attach_v2(&cg, pid, &e), &e);
	CHECK_OK(cg_attach_v1(&cg, pid, &e), &e);
	CHECK(is_in(pid, "put"));
	CHECK_OK(cg_kill(&cg, &e), &e);
	(void)reap(pid);
	CHECK((host.mode == CG_V2 ? cg_attach_v2(&cg, pid, &e) : cg_attach_v1(&cg, pid, &e)) < 0);
	CHECK_EQ(e.kind, ERR_LOST);
	e = (struct err){0};
	CHECK(cg_attach_v1(&cg, 0, &e) < 0); /* would be the test itself */
	CHECK(cg_attach_v2(&cg, -1, &e) < 0);
	end_group(&cg, 0);
}

/* Enters by itself, as the first process of a cell does: "0" into each `tasks`. */
static pid_t enter_by_tasks(const struct cgroup *cg, const int *tasks, int n)
{
	struct clone_args args = {.exit_signal = SIGCHLD, .flags = fd_valid(cg->v2) ? CLONE_INTO_CGROUP : 0};
	pid_t pid;

	args.cgroup = fd_valid(cg->v2) ? (uint64_t)cg->v2 : 0;
	pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
	if (pid != 0)
		return pid;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (int i = 0; i < n; i++)
		if (write(tasks[i], "0", 1) != 1)
			_exit(2);
	work_sleep();
	_exit(0);
}

TEST(a_group_made_in_two_steps_can_be_entered_from_inside)
{
	AUTO(cg_close) struct cgroup cg = CGROUP_INIT;
	int tasks[CG_V1_COUNT + 1], n;
	struct cg_limits limits;
	struct err e = {0};
	bool in = false;

	SETUP();
	limits = limits_of(128, 33);
	REQUIRE_OK(cg_begin(&host, &parent, "steps", &limits, &cg, &e), &e);
	CHECK_EQ(count_groups("steps"), host.v2_root[0] ? 1 : 0);
	CHECK_OK(cg_finish(&cg, &e), &e);
	if (host.mode == CG_V2)
		check_v2_limits("steps");
	else
		check_v1_limits("steps");
	n = cg_open_tasks(&cg, tasks, false, &e);
	CHECK_EQ(n, host.mode == CG_V2 ? 0 : CG_V1_COUNT);
	pid_t pid = enter_by_tasks(&cg, tasks, n);
	for (int i = 0; i < slow(200) && !in; i++) {
		in = is_in(pid, "steps");
		nap_ms(5);
	}
	CHECK(in);
	while (n > 0)
		fd_closep(&tasks[--n]);
	end_group(&cg, pid);
}

/* ---- Ending ---- */

TEST(a_fork_bomb_is_bounded_counted_and_killed)
{
	AUTO(cg_close) struct cgroup cg = CGROUP_INIT;
	struct err e = {0};
	struct cg_usage u;

	SETUP();
	REQUIRE(create("bomb", 256, 20, &cg));
	pid_t pid = spawn(&cg, work_fork_bomb);

	for (int i = 0; i < slow(200); i++) {
		u = usage_of(&cg);
		if (u.pids_denied > 0)
			break;
		nap_ms(10);
	}
	CHECK_GT(u.pids_denied, 0);
	CHECK_LE(u.pids, 20);
	CHECK_OK(cg_kill(&cg, &e), &e);
	int status = reap(pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	reap_orphans(&cg);
	end_group(&cg, 0);
}

TEST(a_double_forked_process_that_blocks_signals_is_killed)
{
	AUTO(cg_close) struct cgroup cg = CGROUP_INIT;

	SETUP();
	REQUIRE(create("stubborn", 64, 20, &cg));
	pid_t pid = spawn(&cg, work_stubborn);

	for (int i = 0; i < slow(100) && usage_of(&cg).pids < 2; i++)
		nap_ms(5);
	CHECK_GE(usage_of(&cg).pids, 2);
	end_group(&cg, pid);
}

TEST(without_cgroup_kill_each_process_gets_the_signal)
{
	AUTO(cg_close) struct cgroup cg = CGROUP_INIT;
	pid_t pids[100];

	SETUP();
	REQUIRE(create("each", 256, 200, &cg));
	for (size_t i = 0; i < ARRAY_LEN(pids); i++)
		pids[i] = spawn(&cg, work_sleep);
	CHECK_EQ(usage_of(&cg).pids, ARRAY_LEN(pids));
	CHECK_EQ(cg_kill_each(cg.mode == CG_V2 ? cg.v2 : cg.v1[CG_V1_MEMORY]), 0);
	for (size_t i = 0; i < ARRAY_LEN(pids); i++) {
		int status = reap(pids[i]);

		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	}
	end_group(&cg, 0);
}

/* The bomb is at its limit: now it has to be ended without cgroup.kill. */
static void start_bomb(struct cgroup *cg, pid_t *ret_pid)
{
	*ret_pid = spawn(cg, work_fork_bomb);
	for (int i = 0; i < slow(200) && usage_of(cg).pids_denied == 0; i++)
		nap_ms(10);
	CHECK_GT(usage_of(cg).pids_denied, 0);
}

static void check_bomb_without_cgroup2(void)
{
	AUTO(cg_close) struct cgroup cg = CGROUP_INIT;
	struct cg_limits limits = limits_of(256, 20);
	struct cg_host bare = host;
	struct err e = {0};
	pid_t pid;

	bare.v2_root[0] = bare.v2_self[0] = '\0';
	bare.v2_kill = bare.v2_freeze = false;
	REQUIRE_OK(cg_create(&bare, &parent, "listed", &limits, &cg, &e), &e);
	CHECK(!fd_valid(cg.v2));
	start_bomb(&cg, &pid);
	CHECK(cg_freeze(&cg, true, 10, &e) < 0);
	CHECK_EQ(e.kind, ERR_UNSUPPORTED);
	e = (struct err){0};
	CHECK_OK(cg_kill(&cg, &e), &e);
	CHECK_STREQ(read_in(CG_V1_PIDS, "listed", "pids.max"), "20");
	(void)reap(pid);
	reap_orphans(&cg);
	end_group(&cg, 0);
}

TEST(a_fork_bomb_is_killed_through_the_list_of_its_processes)
{
	AUTO(cg_close) struct cgroup cg = CGROUP_INIT;
	pid_t pid;

	SETUP();
	if (host.mode == CG_HYBRID) {
		check_bomb_without_cgroup2();
		return;
	}
	REQUIRE(create("listed", 256, 20, &cg));
	start_bomb(&cg, &pid);
	CHECK_EQ(cg_write_at(cg.v2, "pids.max", "0", 1), 0);
	CHECK_EQ(cg_kill_each(cg.v2), 0);
	(void)reap(pid);
	reap_orphans(&cg);
	end_group(&cg, 0);
}

TEST(a_frozen_group_uses_no_cpu_thaws_and_can_be_killed)
{
	AUTO(cg_close) struct cgroup cg = CGROUP_INIT;
	struct err e = {0};
	uint64_t frozen_at;

	SETUP();
	if (!host.v2_root[0])
		SKIP("no cgroup2 on this host");
	REQUIRE(create("freeze", 512, 8, &cg));
	pid_t pid = spawn(&cg, work_busy);

	nap_ms(50);
	CHECK_OK(cg_freeze(&cg, true, slow(1000), &e), &e);
	frozen_at = usage_of(&cg).cpu_us;
	CHECK_GT(frozen_at, 0);
	nap_ms(100);
	CHECK_EQ(usage_of(&cg).cpu_us, frozen_at);
	CHECK_OK(cg_freeze(&cg, false, slow(1000), &e), &e);
	nap_ms(100);
	CHECK_GT(usage_of(&cg).cpu_us, frozen_at);
	CHECK_OK(cg_freeze(&cg, true, slow(1000), &e), &e);
	CHECK_OK(cg_kill(&cg, &e), &e); /* while frozen */
	(void)reap(pid);
	CHECK_EQ(cg_wait_event(cg.v2, "frozen", 0, clock_mono_ns() + (uint64_t)slow(1) * NS_PER_S),
		 0); /* thawed, and usable */
	pid = fork();
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		work_busy();
	}
	CHECK_OK(cg_attach_v2(&cg, pid, &e), &e);
	CHECK_OK(cg_attach_v1(&cg, pid, &e), &e);
	frozen_at = usage_of(&cg).cpu_us;
	nap_ms(100);
	CHECK_GT(usage_of(&cg).cpu_us, frozen_at);
	end_group(&cg, pid);
}

/* ---- Accounts ---- */

TEST(an_oom_kill_is_counted_and_reported)
{
	AUTO(cg_close) struct cgroup cg = CGROUP_INIT;

	SETUP();
	REQUIRE(create("oom", 32, 8, &cg));
	pid_t other = spawn(&cg, work_sleep), hog = spawn(&cg, work_touch_64);
	int status = reap(hog);

	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	CHECK_GE(usage_of(&cg).oom_kills, 1);
	CHECK_LE(usage_of(&cg).memory_peak_bytes, 33 * MIB); /* the kernel may overstep by a few pages */
	CHECK_GE(usage_of(&cg).memory_peak_bytes, 31 * MIB);
	if (host.mode == CG_HYBRID) {
		struct pollfd pfd = {.fd = cg.oom_event, .events = POLLIN};
		uint64_t n = 0;

		CHECK_EQ(poll(&pfd, 1, 1000), 1);
		CHECK_EQ(read(cg.oom_event, &n, sizeof n), sizeof n);
		CHECK_GE(n, 1);
	} else { /* memory.oom.group took the other one as well */
		status = reap(other);
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		other = 0;
	}
	end_group(&cg, other);
}

TEST(memory_within_the_limit_is_counted_and_kills_nobody)
{
	AUTO(cg_close) struct cgroup cg = CGROUP_INIT;
	struct cg_usage u;
	struct err e = {0};
	uint64_t peak = 0;

	SETUP();
	REQUIRE(create("peak", 128, 8, &cg));
	pid_t pid = spawn(&cg, work_touch_64);
	CHECK_EQ(reap(pid), 0);
	CHECK_OK(cg_peak(&cg, &peak, &e), &e);
	CHECK_GE(peak, 64 * MIB);
	u = usage_of(&cg);
	CHECK_GE(u.memory_peak_bytes, 64 * MIB);
	CHECK_LE(u.memory_peak_bytes, 72 * MIB);
	CHECK_LT(u.memory_bytes, 32 * MIB); /* it has exited; the peak stays */
	CHECK_EQ(u.oom_kills, 0);
	CHECK_EQ(u.pids_denied, 0);
	CHECK_EQ(u.pids, 0);
	CHECK_GT(u.cpu_us, 0);
	if (host.mode == CG_HYBRID) {
		uint64_t n;

		CHECK(read(cg.oom_event, &n, sizeof n) < 0 && errno == EAGAIN);
	}
	end_group(&cg, 0);
}

/* A helper that needs more than the cell may have, and what is counted when it has gone. */
TEST(what_is_extra_ends_and_the_peak_begins_anew)
{
	AUTO(cg_close) struct cgroup cg = CGROUP_INIT;
	struct cg_limits limits = limits_of(48, 8);
	const char *memory;
	struct err e = {0};
	uint64_t peak = 0;

	SETUP();
	memory = host.mode == CG_V2 ? "memory.max" : "memory.limit_in_bytes";
	limits.extra_memory_bytes = 64 * MIB;
	limits.extra_pids = 16;
	REQUIRE(CHECK_EQ(cg_create(&host, &parent, "extra", &limits, &cg, &e), 0));
	CHECK_STREQ(read_in(CG_V1_MEMORY, "extra", memory), "117440512");
	CHECK_STREQ(read_in(CG_V1_PIDS, "extra", "pids.max"), "24");
	pid_t pid = spawn(&cg, work_touch_64);
	CHECK_EQ(reap(pid), 0);
	CHECK_EQ(cg_peak(&cg, &peak, &e), 0);
	CHECK_GE(peak, 64 * MIB);

	CHECK_EQ(cg_end_extra(&cg, &e), 0);
	CHECK_STREQ(read_in(CG_V1_MEMORY, "extra", memory), "50331648");
	CHECK_STREQ(read_in(CG_V1_PIDS, "extra", "pids.max"), "8");
	CHECK_EQ(cg_peak(&cg, &peak, &e), 0);
	CHECK_LT(peak, 16 * MIB);
	pid = spawn(&cg, work_touch_64); /* over the limit now */
	CHECK_NE(reap(pid), 0);
	CHECK_GE(usage_of(&cg).oom_kills, 1); /* the kill of a group counts its victim twice when it is still there */
	end_group(&cg, 0);
}

/* Whoever took more meanwhile does not keep it in silence: lowering a limit ends nobody but on v2 for memory. */
TEST(who_holds_more_than_is_left_is_told_of)
{
	static void (*const works[])(void) = {work_fork_bomb, work_hold_64};

	SETUP();
	for (size_t i = 0; i < ARRAY_LEN(works); i++) {
		AUTO(cg_close) struct cgroup cg = CGROUP_INIT;
		struct cg_limits limits = limits_of(48, 8);
		struct err e = {0};
		pid_t pid;

		limits.extra_memory_bytes = 64 * MIB;
		limits.extra_pids = 16;
		REQUIRE(CHECK_EQ(cg_create(&host, &parent, "more", &limits, &cg, &e), 0));
		pid = spawn(&cg, works[i]);
		for (int t = 0; t < slow(500) && usage_of(&cg).pids < 24 && usage_of(&cg).memory_bytes < 64 * MIB; t++)
			nap_ms(10);
		if (i == 0) {
			CHECK_EQ(cg_end_extra(&cg, &e), -EAGAIN);
			CHECK_EQ(e.kind, ERR_LIMIT);
		} else if (host.mode == CG_HYBRID) {
			CHECK_EQ(cg_end_extra(&cg, &e), -EBUSY);
			CHECK_EQ(e.kind, ERR_OUT_OF_MEMORY);
		} else {
			CHECK_EQ(cg_end_extra(&cg, &e), 0);
			CHECK_GE(usage_of(&cg).oom_kills, 1);
		}
		end_group(&cg, pid);
	}
}

static const char *memory_limit(const char *name)
{
	return read_in(CG_V1_MEMORY, name, host.mode == CG_V2 ? "memory.max" : "memory.limit_in_bytes");
}

static uint64_t number_in(enum cg_v1 h, const char *name, const char *file)
{
	uint64_t v = UINT64_MAX;

	CHECK(parse_u64(read_in(h, name, file), 0, UINT64_MAX, &v));
	return v;
}

TEST(limits_of_a_group_in_use_change_with_its_share)
{
	AUTO(cg_close) struct cgroup cg = CGROUP_INIT;
	struct err e = {0};
	char before[64];
	const char *const share = "cpu.cfs_quota_us";
	pid_t pid;

	SETUP();
	REQUIRE(create("update", 64, 8, &cg));
	(void)snprintf(before, sizeof before, "%.60s",
		       read_in(CG_V1_CPU, "update", host.mode == CG_V2 ? "cpu.max" : share));
	pid = spawn(&cg, work_sleep);
	CHECK_EQ(cg_update(&cg, 256 * MIB, 16, &e), 0);
	CHECK_STREQ(memory_limit("update"), "268435456");
	CHECK_STREQ(read_in(CG_V1_PIDS, "update", "pids.max"), "16");
	const struct cg_cpu cpu = cg_cpu_of_memory(256 * MIB, host.n_cpus);
	if (host.mode == CG_HYBRID) {
		CHECK_EQ(number_in(CG_V1_CPU, "update", share), cpu.quota_us);
		CHECK_EQ(number_in(CG_V1_CPU, "update", "cpu.cfs_period_us"), cpu.period_us);
		CHECK_EQ(number_in(CG_V1_CPU, "update", "cpu.shares"), cpu.shares);
	} else {
		char now[64];

		(void)snprintf(now, sizeof now, "%llu %llu", (unsigned long long)cpu.quota_us,
			       (unsigned long long)cpu.period_us);
		CHECK_STREQ(read_in(CG_V1_CPU, "update", "cpu.max"), now);
		CHECK_EQ(number_in(CG_V1_CPU, "update", "cpu.weight"), cpu.weight);
	}
	CHECK_EQ(cg_update(&cg, 0, 0, &e), 0); /* as it is */
	CHECK_STREQ(memory_limit("update"), "268435456");
	CHECK_EQ(cg_update(&cg, 64 * MIB, 8, &e), 0);
	CHECK_STREQ(memory_limit("update"), "67108864");
	CHECK_STREQ(read_in(CG_V1_CPU, "update", host.mode == CG_V2 ? "cpu.max" : share), before);
	CHECK_EQ(e.kind, ERR_NONE);
	end_group(&cg, pid);
}

TEST(nobody_is_killed_for_a_limit_that_comes_later)
{
	AUTO(cg_close) struct cgroup cg = CGROUP_INIT;
	struct err e = {0};
	pid_t pid;

	SETUP();
	REQUIRE(create("shrink", 128, 8, &cg));
	pid = spawn(&cg, work_hold_64);
	for (int t = 0; t < slow(500) && usage_of(&cg).memory_bytes < 64 * MIB; t++)
		nap_ms(10);
	CHECK_EQ(cg_update(&cg, 32 * MIB, 4, &e), -EBUSY);
	CHECK_EQ(e.kind, ERR_BUSY);
	CHECK_STREQ(memory_limit("shrink"), "134217728");
	CHECK_STREQ(read_in(CG_V1_PIDS, "shrink", "pids.max"), "8");
	if (host.mode == CG_V2)
		CHECK_STREQ(read_in(CG_V1_MEMORY, "shrink", "memory.high"), "max");
	CHECK_EQ(usage_of(&cg).oom_kills, 0);
	CHECK_EQ(kill(pid, 0), 0);
	end_group(&cg, pid);
}

TEST(the_parent_of_these_tests_is_empty_and_removed)
{
	SETUP();
	CHECK_EQ(remove_parent(), 0);
}
