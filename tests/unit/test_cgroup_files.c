/* What cgroup/ writes into which file, and reads from it, against a tree of plain files in place of the kernel's. */
#include "cgroup/internal.h"

#include "base/mem.h"
#include "tests/lib/tap.h"

#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>

#define MIB (UINT64_C(1) << 20)

static char fake_dir[64];

static int fake_remove(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static void fake_done(const char *const *dir)
{
	(void)nftw(*dir, fake_remove, 8, FTW_DEPTH | FTW_PHYS);
}

static const char *fake_new(void)
{
	(void)snprintf(fake_dir, sizeof fake_dir, "/tmp/fsbox-cg-unit.XXXXXX");
	return mkdtemp(fake_dir);
}

static void put_file(const char *dir, const char *name, const char *text)
{
	char path[512];

	(void)snprintf(path, sizeof path, "%s/%s", dir, name);

	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	CHECK(fd >= 0 && fd_write_all(fd, text, strlen(text)) == 0);
	fd_closep(&fd);
}

static const char *get_file(const char *dir, const char *name)
{
	static char text[512];
	char path[512];

	(void)snprintf(path, sizeof path, "%s/%s", dir, name);
	return fd_read_file_at(AT_FDCWD, path, text, sizeof text) < 0 ? "(unreadable)" : text;
}

static void put_files(const char *dir, const char *const *names)
{
	for (; *names; names++)
		put_file(dir, *names, "");
}

static const char *const v2_files[] = {"memory.max", "memory.swap.max", "memory.oom.group",
				       "cpu.max",    "cpu.weight",      "pids.max",
				       NULL};

static struct cgroup fake_group(const char *dir, struct cg_host *host, enum cg_mode mode, uint64_t mib, bool boost)
{
	int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct cgroup cg = CGROUP_INIT;

	host->mode = cg.mode = mode;
	cg.host = host;
	(void)snprintf(cg.name, sizeof cg.name, "cell");
	(void)snprintf(cg.parent, sizeof cg.parent, "/fsbox");
	cg.limits = (struct cg_limits){mib * MIB, 64, cg_cpu_of_memory(mib * MIB, 8), boost};
	if (mode == CG_V2) {
		cg.v2 = fd;
		return cg;
	}
	for (unsigned h = 0; h < CG_V1_COUNT; h++)
		cg.v1[h] = h == 0 ? fd : fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return cg;
}

TEST(v2_limits_are_written_in_cgroup2_words)
{
	AUTO(fake_done) const char *dir = fake_new();
	struct cg_host host = {0};
	struct err e = {0};

	REQUIRE(dir);
	put_files(dir, v2_files);
	AUTO(cg_close) struct cgroup cg = fake_group(dir, &host, CG_V2, 512, false);

	CHECK_OK(cg_limits_write(&cg, &e), &e);
	CHECK_STREQ(get_file(dir, "memory.max"), "536870912");
	CHECK_STREQ(get_file(dir, "memory.swap.max"), "0");
	CHECK_STREQ(get_file(dir, "memory.oom.group"), "1");
	CHECK_STREQ(get_file(dir, "cpu.max"), "2894 10000");
	CHECK_STREQ(get_file(dir, "cpu.weight"), "28");
	CHECK_STREQ(get_file(dir, "pids.max"), "64");
}

TEST(v2_boost_is_one_whole_cpu_and_ends_with_one_write)
{
	AUTO(fake_done) const char *dir = fake_new();
	struct cg_host host = {0};
	struct err e = {0};

	REQUIRE(dir);
	put_files(dir, v2_files);
	AUTO(cg_close) struct cgroup cg = fake_group(dir, &host, CG_V2, 512, true);

	CHECK_OK(cg_limits_write(&cg, &e), &e);
	CHECK_STREQ(get_file(dir, "cpu.max"), "10000 10000");
	put_file(dir, "cpu.max", "");
	CHECK_OK(cg_end_boost(&cg, &e), &e);
	CHECK_STREQ(get_file(dir, "cpu.max"), "2894 10000");
	put_file(dir, "cpu.max", "");
	CHECK_OK(cg_end_boost(&cg, &e), &e); /* nothing to change */
	CHECK_STREQ(get_file(dir, "cpu.max"), "");
	CHECK_OK(cg_begin_boost(&cg, &e), &e);
	CHECK_STREQ(get_file(dir, "cpu.max"), "10000 10000");
}

TEST(boost_changes_nothing_from_one_cpu_up)
{
	AUTO(fake_done) const char *dir = fake_new();
	struct cg_host host = {0};
	struct err e = {0};

	REQUIRE(dir);
	put_files(dir, v2_files);
	AUTO(cg_close) struct cgroup cg = fake_group(dir, &host, CG_V2, 3538, true);

	CHECK_OK(cg_limits_write(&cg, &e), &e);
	CHECK_STREQ(get_file(dir, "cpu.max"), "20000 10000");
	put_file(dir, "cpu.max", "");
	CHECK_OK(cg_end_boost(&cg, &e), &e);
	CHECK_STREQ(get_file(dir, "cpu.max"), "");
}

TEST(a_kernel_without_swap_has_no_swap_file_and_that_is_fine)
{
	AUTO(fake_done) const char *dir = fake_new();
	struct cg_host host = {0};
	struct err e = {0};
	char path[128];

	REQUIRE(dir);
	put_files(dir, v2_files);
	(void)snprintf(path, sizeof path, "%s/memory.swap.max", dir);
	CHECK(unlink(path) == 0);
	AUTO(cg_close) struct cgroup cg = fake_group(dir, &host, CG_V2, 512, false);

	CHECK_OK(cg_limits_write(&cg, &e), &e);
}

TEST(a_missing_control_file_names_itself_and_the_remedy)
{
	AUTO(fake_done) const char *dir = fake_new();
	struct cg_host host = {.v2_root = "/sys/fs/cgroup"};
	struct err e = {0};

	REQUIRE(dir);
	AUTO(cg_close) struct cgroup cg = fake_group(dir, &host, CG_V2, 512, false);

	CHECK(cg_limits_write(&cg, &e) < 0);
	CHECK_EQ(e.kind, ERR_UNSUPPORTED);
	CHECK_STREQ(e.where, "/sys/fs/cgroup/fsbox/cell/memory.max");
	CHECK_CONTAINS(e.msg, "memory.max");
	CHECK_CONTAINS(e.hint, "cgroup.subtree_control");
}

static const char *const v1_files[] = {"memory.limit_in_bytes",
				       "memory.memsw.limit_in_bytes",
				       "memory.swappiness",
				       "cpu.cfs_period_us",
				       "cpu.cfs_quota_us",
				       "cpu.shares",
				       "pids.max",
				       NULL};

TEST(v1_limits_are_written_in_v1_words)
{
	AUTO(fake_done) const char *dir = fake_new();
	struct cg_host host = {.v1_memsw = true};
	struct err e = {0};

	REQUIRE(dir);
	put_files(dir, v1_files);
	AUTO(cg_close) struct cgroup cg = fake_group(dir, &host, CG_HYBRID, 16, false);

	CHECK_OK(cg_limits_write(&cg, &e), &e);
	CHECK_STREQ(get_file(dir, "memory.limit_in_bytes"), "16777216");
	CHECK_STREQ(get_file(dir, "memory.memsw.limit_in_bytes"), "16777216");
	CHECK_STREQ(get_file(dir, "memory.swappiness"), "");
	CHECK_STREQ(get_file(dir, "cpu.cfs_period_us"), "110563");
	CHECK_STREQ(get_file(dir, "cpu.cfs_quota_us"), "1000");
	CHECK_STREQ(get_file(dir, "cpu.shares"), "9");
	CHECK_STREQ(get_file(dir, "pids.max"), "64");
}

TEST(v1_without_memsw_sets_swappiness_to_0)
{
	AUTO(fake_done) const char *dir = fake_new();
	struct cg_host host = {.v1_memsw = false};
	struct err e = {0};

	REQUIRE(dir);
	put_files(dir, v1_files);
	AUTO(cg_close) struct cgroup cg = fake_group(dir, &host, CG_HYBRID, 16, true);

	CHECK_OK(cg_limits_write(&cg, &e), &e);
	CHECK_STREQ(get_file(dir, "memory.memsw.limit_in_bytes"), "");
	CHECK_STREQ(get_file(dir, "memory.swappiness"), "0");
	CHECK_STREQ(get_file(dir, "cpu.cfs_quota_us"), "110563");
}

TEST(a_control_file_that_is_a_symbolic_link_is_not_followed)
{
	AUTO(fake_done) const char *dir = fake_new();
	struct cg_host host = {0};
	struct err e = {0};
	char path[128];

	REQUIRE(dir);
	put_files(dir, v2_files);
	put_file(dir, "target", "untouched");
	(void)snprintf(path, sizeof path, "%s/memory.max", dir);
	CHECK(unlink(path) == 0 && symlink("target", path) == 0);
	AUTO(cg_close) struct cgroup cg = fake_group(dir, &host, CG_V2, 512, false);

	CHECK(cg_limits_write(&cg, &e) < 0);
	CHECK_EQ(e.code, ELOOP);
	CHECK_STREQ(get_file(dir, "target"), "untouched");
}

TEST(usage_of_v2_is_read_from_its_files)
{
	AUTO(fake_done) const char *dir = fake_new();
	struct cg_host host = {0};
	struct cg_usage u = {0};
	struct err e = {0};
	char path[128];

	REQUIRE(dir);
	put_file(dir, "memory.current", "1000\n");
	put_file(dir, "memory.peak", "2000\n");
	put_file(dir, "memory.events", "low 0\nhigh 0\nmax 5\noom 1\noom_kill 3\noom_group_kill 1\n");
	put_file(dir, "cpu.stat", "usage_usec 1234\nuser_usec 1000\nsystem_usec 234\nnr_periods 1\n");
	put_file(dir, "pids.current", "7\n");
	put_file(dir, "pids.events", "max 4\n");
	AUTO(cg_close) struct cgroup cg = fake_group(dir, &host, CG_V2, 512, false);

	REQUIRE_OK(cg_usage(&cg, &u, &e), &e);
	CHECK_EQ(u.memory_bytes, 1000);
	CHECK_EQ(u.memory_peak_bytes, 2000);
	CHECK_EQ(u.oom_kills, 3);
	CHECK_EQ(u.cpu_us, 1234);
	CHECK_EQ(u.pids, 7);
	CHECK_EQ(u.pids_denied, 4);

	(void)snprintf(path, sizeof path, "%s/memory.peak", dir); /* before Linux 5.19 */
	CHECK(unlink(path) == 0);
	REQUIRE_OK(cg_usage(&cg, &u, &e), &e);
	CHECK_EQ(u.memory_peak_bytes, 1000);

	put_file(dir, "pids.current", "nonsense\n");
	CHECK(cg_usage(&cg, &u, &e) < 0);
	CHECK_CONTAINS(e.msg, "pids.current");
	CHECK_EQ(u.pids, 7);
}

TEST(usage_of_v1_comes_from_cpuacct_where_there_is_no_cgroup2)
{
	AUTO(fake_done) const char *dir = fake_new();
	struct cg_host host = {0};
	struct cg_usage u = {0};
	struct err e = {0};

	REQUIRE(dir);
	put_file(dir, "memory.usage_in_bytes", "1000\n");
	put_file(dir, "memory.max_usage_in_bytes", "2000\n");
	put_file(dir, "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n");
	put_file(dir, "pids.current", "2\n");
	AUTO(cg_close) struct cgroup cg = fake_group(dir, &host, CG_HYBRID, 512, false);

	REQUIRE_OK(cg_usage(&cg, &u, &e), &e);
	CHECK_EQ(u.memory_peak_bytes, 2000);
	CHECK_EQ(u.oom_kills, 1);
	CHECK_EQ(u.cpu_us, 0);
	put_file(dir, "cpuacct.usage", "5000999\n");
	REQUIRE_OK(cg_usage(&cg, &u, &e), &e);
	CHECK_EQ(u.cpu_us, 5000);
}

/* A cgroup2 root of plain files, with the given controllers and one group "fsbox" below it. */
static void fake_v2_host(const char *dir, const char *have, const char *root_on, const char *group_on,
			 struct cg_host *ret)
{
	char mount[256], sub[128];

	(void)snprintf(mount, sizeof mount, "1 0 0:1 / %s rw - cgroup2 c rw\n", dir);
	(void)snprintf(sub, sizeof sub, "%s/fsbox", dir);
	put_file(dir, "cgroup.controllers", have);
	put_file(dir, "cgroup.subtree_control", root_on);
	put_file(dir, "cgroup.procs", "1\n");
	CHECK(mkdir(sub, 0755) == 0);
	put_file(sub, "cgroup.subtree_control", group_on);
	put_file(sub, "cgroup.procs", "");
	cg_host_from_texts(mount, "0::/\n", ret);
}

TEST(a_cgroup2_mount_with_all_controllers_is_pure_v2)
{
	AUTO(fake_done) const char *dir = fake_new();
	struct cg_host h;

	REQUIRE(dir);
	fake_v2_host(dir, "cpuset cpu io memory hugetlb pids rdma\n", "", "", &h);
	CHECK_EQ(h.mode, CG_V2);
	CHECK(h.v2_memory && h.v2_cpu && h.v2_pids);
	CHECK(h.n_cpus >= 1);
}

TEST(a_host_that_lacks_a_controller_is_told_which)
{
	AUTO(fake_done) const char *dir = fake_new();
	struct cg_parent parent;
	struct cg_host h;
	struct err e = {0};

	REQUIRE(dir);
	fake_v2_host(dir, "cpuset io memory pids\n", "", "", &h);
	CHECK_EQ(h.mode, CG_NONE);
	CHECK(cg_parent_find(&h, NULL, &parent, &e) < 0);
	CHECK_EQ(e.kind, ERR_UNSUPPORTED);
	CHECK_CONTAINS(e.msg, " cpu");
	CHECK_LACKS(e.msg, "pids");
	CHECK(e.hint[0] != '\0');

	h = (struct cg_host){0};
	e = (struct err){0};
	CHECK(cg_parent_find(&h, NULL, &parent, &e) < 0);
	CHECK_EQ(e.kind, ERR_UNSUPPORTED);
	CHECK_CONTAINS(e.msg, "memory cpu pids");
	CHECK_CONTAINS(e.hint, "mount -t cgroup2");
}

TEST(missing_controllers_are_enabled_from_the_root_down_and_only_those)
{
	AUTO(fake_done) const char *dir = fake_new();
	struct cg_parent parent;
	struct cg_host h;
	struct err e = {0};

	REQUIRE(dir);
	fake_v2_host(dir, "cpuset cpu io memory pids\n", "cpuset memory\n", "", &h);
	REQUIRE_OK(cg_parent_find(&h, "/fsbox", &parent, &e), &e);
	CHECK_STREQ(parent.path, "/fsbox");
	CHECK(!parent.moved_self);
	/* A plain file keeps what it held behind the bytes written over it. */
	CHECK_STREQ(get_file(dir, "cgroup.subtree_control"), "+cpu +pidsory");
	CHECK_STREQ(get_file(dir, "fsbox/cgroup.subtree_control"), "+memory +cpu +pids");
}

TEST(nothing_is_written_when_the_controllers_are_enabled)
{
	AUTO(fake_done) const char *dir = fake_new();
	struct cg_parent parent;
	struct cg_host h;
	struct err e = {0};

	REQUIRE(dir);
	fake_v2_host(dir, "cpuset cpu io memory pids\n", "memory\n", "cpu io memory pids\n", &h);
	REQUIRE_OK(cg_parent_find(&h, NULL, &parent, &e), &e);
	CHECK_STREQ(parent.path, "/fsbox");
	CHECK_STREQ(get_file(dir, "cgroup.subtree_control"), "memory");
	CHECK_STREQ(get_file(dir, "fsbox/cgroup.subtree_control"), "cpu io memory pids");
}

TEST(a_failed_creation_leaves_no_directory)
{
	AUTO(fake_done) const char *dir = fake_new();
	struct cg_parent parent = {.path = "/fsbox"};
	struct cg_limits limits = {64 * MIB, 8, cg_cpu_of_memory(64 * MIB, 1), false};
	struct cgroup cg = CGROUP_INIT;
	struct cg_host h;
	struct err e = {0};
	char cell[128];

	REQUIRE(dir);
	fake_v2_host(dir, "cpu memory pids\n", "", "", &h);
	(void)snprintf(cell, sizeof cell, "%s/fsbox/cell", dir);
	/* A fresh plain directory has no memory.max. */
	CHECK(cg_create(&h, &parent, "cell", &limits, &cg, &e) < 0);
	CHECK_EQ(e.kind, ERR_UNSUPPORTED);
	CHECK_CONTAINS(e.msg, "memory.max");
	CHECK(access(cell, F_OK) < 0 && errno == ENOENT);
	CHECK_EQ(cg.mode, CG_NONE);

	e = (struct err){0};
	CHECK(mkdir(cell, 0755) == 0);
	CHECK(cg_create(&h, &parent, "cell", &limits, &cg, &e) < 0);
	CHECK_EQ(e.kind, ERR_EXISTS);
	CHECK(access(cell, F_OK) == 0); /* not ours: it stays */
}

TEST(a_symbolic_link_in_the_hierarchy_is_not_followed)
{
	AUTO(fake_done) const char *dir = fake_new();
	struct cg_parent parent;
	struct cg_host h;
	struct err e = {0};
	char link[128];

	REQUIRE(dir);
	fake_v2_host(dir, "cpu memory pids\n", "cpu memory pids\n", "cpu memory pids\n", &h);
	(void)snprintf(link, sizeof link, "%s/link", dir);
	CHECK(symlink("fsbox", link) == 0);
	CHECK(cg_parent_find(&h, "/link", &parent, &e) < 0);
	CHECK_EQ(e.code, ENOTDIR); /* open(2): what O_NOFOLLOW with O_DIRECTORY answers */
	e = (struct err){0};
	CHECK(cg_parent_find(&h, "/link/below", &parent, &e) < 0);
	CHECK_EQ(e.code, ELOOP);
	CHECK_STREQ(get_file(dir, "fsbox/below"), "(unreadable)");
}

TEST(limits_of_nothing_are_refused)
{
	AUTO(fake_done) const char *dir = fake_new();
	struct cg_parent parent = {.path = "/fsbox"};
	struct cg_limits limits = {0, 8, cg_cpu_of_memory(1, 1), false};
	struct cgroup cg = CGROUP_INIT;
	struct cg_host h;
	struct err e = {0};

	REQUIRE(dir);
	fake_v2_host(dir, "cpu memory pids\n", "", "", &h);
	CHECK(cg_create(&h, &parent, "cell", &limits, &cg, &e) < 0);
	CHECK_EQ(e.kind, ERR_SPEC);
}
