/* cgroup/ as ordinary users use it: what refuses is named, what was delegated works, and nothing is moved that is not
 * ours. */
#include "tests/system/cgroup_live.h"

/* ---- Ordinary users ---- */

#define USER 65534

/* What a child found out, in memory that it shares with us. */
struct report {
	int find, create, attach, kill, remove;
	bool moved, back;
	unsigned born;
	struct cg_parent parent;
	struct err e;
	char self[256];
};

static struct report *report_new(void)
{
	void *p = mmap(NULL, sizeof(struct report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED);
	return p;
}

/* Makes "parent/name" in every hierarchy and gives it to the user, as an administrator or systemd would. */
static void delegate(const char *name)
{
	static const char *const files[] = {"", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads", "tasks"};
	const char *at[4];
	char path[600];

	for (size_t i = roots(at); i-- > 0;) {
		(void)snprintf(path, sizeof path, "%s%s/%s", at[i], parent.path, name);
		CHECK(mkdir(path, 0755) == 0 || errno == EEXIST);
		for (size_t f = 0; f < ARRAY_LEN(files); f++) {
			(void)snprintf(path, sizeof path, "%s%s/%s/%s", at[i], parent.path, name, files[f]);
			CHECK(chown(path, USER, USER) == 0 || errno == ENOENT);
		}
	}
}

static void undelegate(const char *name)
{
	struct err e = {0};

	CHECK_OK(cg_sweep(&host, parent.path, name, &e), &e);
}

static void enter_all(const char *name)
{
	const char *at[4];
	char path[600];

	for (size_t i = roots(at); i-- > 0;) {
		(void)snprintf(path, sizeof path, "%s%s/%s", at[i], parent.path, name);
		if (write_path(path, "cgroup.procs", "0") < 0)
			_exit(3);
	}
}

static void become_user(void)
{
	if (setresgid(USER, USER, USER) < 0 || setresuid(USER, USER, USER) < 0)
		_exit(4);
}

/* The whole use of the module, as the user, below @wanted (NULL: what it finds). */
static void use_as_user(const char *wanted, struct report *ret)
{
	struct cgroup cg = CGROUP_INIT;
	struct cg_host mine;
	struct err other = {0};

	if (cg_host_probe(&mine, &ret->e) < 0)
		_exit(5);
	ret->find = cg_parent_find(&mine, wanted, &ret->parent, &ret->e);
	if (ret->find < 0)
		_exit(0);
	ret->moved = ret->parent.moved_self;

	struct cg_limits limits = {64 * MIB, 8, cg_cpu_of_memory(64 * MIB, mine.n_cpus), false};
	ret->create = cg_create(&mine, &ret->parent, "cell", &limits, &cg, &ret->e);
	if (ret->create == 0) {
		struct clone_args args = {.exit_signal = SIGCHLD};

		if (fd_valid(cg.v2)) {
			args.flags = CLONE_INTO_CGROUP;
			args.cgroup = (uint64_t)cg.v2;
		}
		pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
		if (pid == 0) {
			(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
			work_sleep();
		}
		ret->born = pid > 0;
		ret->attach = pid > 0 ? cg_attach_v1(&cg, pid, &ret->e) : -errno;
		ret->kill = cg_kill(&cg, &ret->e);
		if (pid > 0)
			(void)reap(pid);
		ret->remove = cg_remove(&cg, &ret->e);
	}
	cg_parent_leave(&mine, &ret->parent);
	if (cg_host_probe(&mine, &other) == 0)
		memcpy(ret->self, cg_h_self(&mine, mine.mode == CG_V2 ? CG_H_V2 : CG_V1_MEMORY), sizeof ret->self);
	_exit(0);
}

static void run_as_user(const char *enter, const char *wanted, struct report *ret)
{
	pid_t pid = fork();

	if (pid == 0) {
		if (enter)
			enter_all(enter);
		become_user();
		use_as_user(wanted, ret);
	}
	CHECK_EQ(reap(pid), 0);
}

static void check_used(const struct report *r)
{
	CHECK_OK(r->find, &r->e);
	CHECK_OK(r->create, &r->e);
	CHECK_EQ(r->born, 1);
	CHECK_OK(r->attach, &r->e);
	CHECK_OK(r->kill, &r->e);
	CHECK_OK(r->remove, &r->e);
}

TEST(a_user_without_delegation_is_told_what_refuses_and_the_remedy)
{
	struct report *r = report_new();

	SETUP();
	run_as_user(NULL, NULL, r);
	CHECK(r->find < 0);
	CHECK_EQ(r->e.kind, ERR_DENIED);
	tap_note("%s\nhint: %s", r->e.msg, r->e.hint);
	if (host.mode == CG_V2) {
		CHECK_CONTAINS(r->e.hint, "systemd-run --user --scope -p Delegate=yes");
	} else {
		CHECK_CONTAINS(r->e.msg, "memory (");
		CHECK_CONTAINS(r->e.msg, "cpu (");
		CHECK_CONTAINS(r->e.msg, "pids (");
		CHECK_CONTAINS(r->e.hint, "chown");
		CHECK_CONTAINS(r->e.hint, "--cgroup-parent");
	}
	(void)munmap(r, sizeof *r);
}

TEST(a_user_can_use_a_parent_that_was_given_to_him)
{
	struct report *r = report_new();
	char wanted[600];

	SETUP();
	delegate("user");
	delegate("user/session");
	(void)snprintf(wanted, sizeof wanted, "%s/user", parent.path);
	run_as_user("user/session", wanted, r);
	check_used(r);
	CHECK(!r->moved);
	CHECK_STREQ(r->parent.path, wanted);
	undelegate("user");
	(void)munmap(r, sizeof *r);
}

TEST(a_user_outside_of_his_cgroup2_group_is_told_before_anything_is_made)
{
	struct report *r = report_new();
	char wanted[600];

	SETUP();
	if (!host.v2_root[0])
		SKIP("no cgroup2 on this host");
	delegate("outside");
	(void)snprintf(wanted, sizeof wanted, "%s/outside", parent.path);
	run_as_user(NULL, wanted, r);
	CHECK(r->find < 0);
	CHECK_EQ(r->e.kind, ERR_DENIED);
	tap_note("%s\nhint: %s", r->e.msg, r->e.hint);
	CHECK_CONTAINS(r->e.msg, host.mode == CG_V2 ? "may not be put below" : "cgroup2 (");
	undelegate("outside");
	(void)munmap(r, sizeof *r);
}

TEST(a_parent_that_a_hierarchy_refuses_is_named_with_it)
{
	struct report *r = report_new();
	char wanted[600], path[600];

	SETUP();
	delegate("partly");
	delegate("partly/session");
	(void)snprintf(path, sizeof path, "%s%s/partly", root_of(CG_V1_PIDS), parent.path);
	CHECK(chown(path, 0, 0) == 0);
	(void)snprintf(wanted, sizeof wanted, "%s/partly", parent.path);
	run_as_user("partly/session", wanted, r);
	CHECK(r->find < 0);
	CHECK_EQ(r->e.kind, ERR_DENIED);
	CHECK_CONTAINS(r->e.msg, host.mode == CG_V2 ? "/partly" : "pids (");
	CHECK_LACKS(r->e.msg, "memory (");
	CHECK_LACKS(r->e.msg, "cgroup2 (");
	undelegate("partly");
	(void)munmap(r, sizeof *r);
}

TEST(a_users_own_delegated_group_is_found_and_left_as_it_was)
{
	struct report *r = report_new();
	char own[600];

	SETUP();
	delegate("own");
	(void)snprintf(own, sizeof own, "%s/own", parent.path);
	run_as_user("own", NULL, r);
	check_used(r);
	CHECK_STREQ(r->parent.path, own);
	CHECK_EQ(r->moved, host.mode == CG_V2); /* only cgroup2 forbids processes beside groups */
	CHECK_STREQ(r->self, own);
	CHECK_EQ(count_groups("own/supervisor"), 0);
	if (host.mode == CG_V2)
		CHECK_STREQ(read_in(CG_V1_MEMORY, "own", "cgroup.subtree_control"), "");
	undelegate("own");
	(void)munmap(r, sizeof *r);
}

TEST(another_group_below_keeps_its_controllers_when_we_leave)
{
	struct report *r = report_new();
	char own[600], aside[640];

	SETUP();
	delegate("crowded");
	delegate("crowded/other"); /* a second fsbox's, for instance */
	(void)snprintf(own, sizeof own, "%s/crowded", parent.path);
	(void)snprintf(aside, sizeof aside, "%s/supervisor", own);
	run_as_user("crowded", NULL, r);
	check_used(r);
	CHECK_STREQ(r->parent.path, own);
	CHECK_STREQ(r->self, host.mode == CG_V2 ? aside : own);
	if (host.mode == CG_V2)
		CHECK_CONTAINS(read_in(CG_V1_MEMORY, "crowded", "cgroup.subtree_control"), "memory");
	undelegate("crowded");
	(void)munmap(r, sizeof *r);
}

/* As for users of a systemd that hands them memory and pids, and not cpu. */
TEST(a_delegated_group_without_a_controller_names_it_and_the_remedy)
{
	struct report *r = report_new();
	char path[600];

	SETUP();
	if (host.mode != CG_V2)
		SKIP_HOST("v1 hands down every controller");
	(void)snprintf(path, sizeof path, "%s%s/poor", host.v2_root, parent.path);
	CHECK(mkdir(path, 0755) == 0);
	CHECK_EQ(write_path(path, "cgroup.subtree_control", "+memory +pids"), 0);
	delegate("poor/own");
	run_as_user("poor/own", NULL, r);
	CHECK(r->find < 0);
	CHECK_EQ(r->e.kind, ERR_DENIED);
	tap_note("%s\nhint: %s", r->e.msg, r->e.hint);
	CHECK_CONTAINS(r->e.msg, "was not given the controllers: cpu");
	CHECK_CONTAINS(r->e.hint, "Delegate=cpu memory pids");

	/* What was made for the attempt is gone again. */
	char below[640];
	struct report *again = report_new();
	(void)snprintf(below, sizeof below, "%s/poor/own/new/newer", parent.path);
	run_as_user("poor/own", below, again);
	CHECK(again->find < 0);
	CHECK_EQ(count_groups("poor/own/new"), 0);
	(void)munmap(again, sizeof *again);
	undelegate("poor");
	(void)munmap(r, sizeof *r);
}

TEST(controllers_are_handed_down_along_the_whole_path)
{
	struct cg_parent deep;
	struct err e = {0};
	char wanted[600];

	SETUP();
	(void)snprintf(wanted, sizeof wanted, "%s/deep/deeper", parent.path);
	REQUIRE_OK(cg_parent_find(&host, wanted, &deep, &e), &e);
	if (host.mode == CG_V2) {
		CHECK_STREQ(read_in(CG_V1_MEMORY, "deep", "cgroup.subtree_control"), "cpu memory pids");
		CHECK_STREQ(read_in(CG_V1_MEMORY, "deep/deeper", "cgroup.subtree_control"), "cpu memory pids");
	}
	undelegate("deep");
}

TEST(a_delegated_group_with_other_processes_in_it_is_not_touched)
{
	struct report *r = report_new();
	pid_t other;

	SETUP();
	delegate("shared");
	other = fork();
	if (other == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		enter_all("shared");
		work_sleep();
	}
	nap_ms(50);
	run_as_user("shared", NULL, r);
	if (host.mode == CG_V2) {
		CHECK(r->find < 0);
		CHECK_EQ(r->e.kind, ERR_BUSY);
		tap_note("%s\nhint: %s", r->e.msg, r->e.hint);
	} else { /* v1, and cgroup2 without controllers, have groups beside processes */
		check_used(r);
		CHECK(!r->moved);
	}
	CHECK_EQ(count_groups("shared/supervisor"), 0);
	CHECK(kill(other, 0) == 0);
	undelegate("shared"); /* ends the other one */
	(void)reap(other);
	(void)munmap(r, sizeof *r);
}

TEST(the_parent_of_these_tests_is_empty_and_removed)
{
	SETUP();
	CHECK_EQ(remove_parent(), 0);
}
