/* The pure parts of cgroup/: share arithmetic, the parsers of the kernel's texts, path checks. */
#include "cgroup/internal.h"

#include "base/mem.h"
#include "tests/lib/tap.h"

#include <sys/stat.h>

#define MIB (UINT64_C(1) << 20)

/* ---- Shares ---- */

TEST(share_follows_memory_at_1769_mib_for_one_cpu)
{
	static const struct {
		uint64_t mib, quota, period;
		uint32_t weight, shares;
	} cases[] = {
		{16, 1000, 110563, 1, 9},        {128, 1000, 13821, 7, 74},       {176, 1000, 10052, 9, 101},
		{177, 1000, 10000, 10, 102},     {512, 2894, 10000, 28, 296},     {1024, 5788, 10000, 57, 592},
		{1769, 10000, 10000, 100, 1024}, {3538, 20000, 10000, 200, 2048}, {10240, 57885, 10000, 578, 5927},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct cg_cpu c = cg_cpu_of_memory(cases[i].mib * MIB, 8);

		CHECK_EQ(c.quota_us, cases[i].quota);
		CHECK_EQ(c.period_us, cases[i].period);
		CHECK_EQ(c.weight, cases[i].weight);
		CHECK_EQ(c.shares, cases[i].shares);
	}
}

TEST(share_is_capped_at_the_cpus_of_the_host)
{
	CHECK_EQ(cg_cpu_of_memory(10240 * MIB, 2).quota_us, 20000);
	CHECK_EQ(cg_cpu_of_memory(10240 * MIB, 1).quota_us, 10000);
	CHECK_EQ(cg_cpu_of_memory(10240 * MIB, 0).quota_us, 10000); /* unknown counts as one */
}

TEST(share_stays_inside_what_the_kernel_takes_for_any_memory)
{
	for (unsigned shift = 0; shift < 64; shift++)
		for (unsigned cpus = 0; cpus < 5; cpus++) {
			struct cg_cpu c = cg_cpu_of_memory(UINT64_C(1) << shift, cpus ? 1u << (cpus * 8 - 1) : 0);

			CHECK(c.period_us >= 10000 && c.period_us <= 1000000);
			CHECK(c.quota_us >= 1000);
			CHECK(c.weight >= 1 && c.weight <= 10000);
			CHECK(c.shares >= 2 && c.shares <= 262144);
		}
	CHECK_EQ(cg_cpu_of_memory(0, 1).quota_us, 1000);
	CHECK_EQ(cg_cpu_of_memory(UINT64_MAX, UINT32_MAX).weight, 10000);
}

TEST(share_is_within_a_tenth_of_a_percent_from_16_mib_up)
{
	for (uint64_t mib = 16; mib <= 10240; mib++) {
		struct cg_cpu c = cg_cpu_of_memory(mib * MIB, 64);
		double have = (double)c.quota_us / (double)c.period_us, want = (double)mib / 1769;

		if (have > want || have < want * 0.999) {
			FAIL("%" PRIu64 " MiB: %f of a CPU, wanted %f", mib, have, want);
			return;
		}
	}
}

/* ---- mountinfo and /proc/self/cgroup ---- */

static const char mounts_hybrid[] =
	"31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
	"32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
	"34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset\n"
	"35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:1 master:2 - cgroup cgroup rw,memory\n"
	"39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids\n"
	"40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd\n"
	"41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
static const char self_hybrid[] = "8:pids:/user.slice\n4:memory:/user.slice/user-0.slice\n"
				  "2:cpuacct,cpu:/a:b\n1:name=systemd:/x\n0::/user.slice/session-1.scope\n";

TEST(hybrid_hosts_are_read_by_their_super_block_options)
{
	struct cg_host h;

	cg_host_parse(mounts_hybrid, self_hybrid, &h);
	CHECK_STREQ(h.v2_root, "/sys/fs/cgroup/unified");
	CHECK_STREQ(h.v2_self, "/user.slice/session-1.scope");
	CHECK_STREQ(h.v1_root[CG_V1_MEMORY], "/sys/fs/cgroup/memory");
	CHECK_STREQ(h.v1_root[CG_V1_CPU], "/sys/fs/cgroup/cpu,cpuacct");
	CHECK_STREQ(h.v1_root[CG_V1_PIDS], "/sys/fs/cgroup/pids");
	CHECK_STREQ(h.v1_self[CG_V1_MEMORY], "/user.slice/user-0.slice");
	CHECK_STREQ(h.v1_self[CG_V1_CPU], "/a:b");
	CHECK_STREQ(h.v1_self[CG_V1_PIDS], "/user.slice");
}

TEST(controllers_are_not_guessed_from_directory_names)
{
	struct cg_host h;

	cg_host_parse("1 0 0:1 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,cpuset\n"
		      "2 0 0:2 / /odd/place rw - cgroup none rw,memory\n"
		      "3 0 0:3 / /x rw - ext4 /dev/x rw,pids\n"
		      "4 0 0:4 / /y rw - cgroup cgroup rw,name=cpu\n",
		      "0::/\n", &h);
	CHECK_STREQ(h.v1_root[CG_V1_MEMORY], "/odd/place");
	CHECK_STREQ(h.v1_root[CG_V1_PIDS], "");
	CHECK_STREQ(h.v1_root[CG_V1_CPU], "");
	CHECK_STREQ(h.v2_root, "");
	CHECK_STREQ(h.v2_self, "");
}

TEST(octal_escapes_of_mountinfo_are_undone)
{
	static const struct {
		const char *from, *to; /* NULL: refused */
	} cases[] = {
		{"/a\\040b", "/a b"}, {"\\011\\012\\134\\043", "\t\n\\#"},
		{"\\377", "\377"},    {"/a\\04", "/a\\04"},
		{"\\", "\\"},         {"\\8", "\\8"},
		{"\\400", "\\400"},   {"a\\000b", NULL},
		{"\\1341", "\\1"},    {"", ""},
		{"123456789", NULL},
	};
	char out[9];

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		bool ok = cg_unescape(cases[i].from, strlen(cases[i].from), out, sizeof out);

		CHECK_EQ(ok, cases[i].to != NULL);
		if (ok && cases[i].to)
			CHECK_STREQ(out, cases[i].to);
	}
}

TEST(a_mount_point_with_a_blank_is_found)
{
	struct cg_host h;

	cg_host_parse("1 0 0:1 / /my\\040cgroups rw - cgroup2 none rw\n", "0::/x y\n", &h);
	CHECK_STREQ(h.v2_root, "/my cgroups");
	CHECK_STREQ(h.v2_self, "/x y");
}

TEST(a_whole_and_writable_mount_wins_and_a_later_one_covers)
{
	struct cg_host h;

	cg_host_parse("1 0 0:1 /docker/1 /part rw - cgroup2 c rw\n"
		      "2 0 0:1 / /readonly ro - cgroup2 c rw\n"
		      "3 0 0:1 / /good rw - cgroup2 c rw\n"
		      "4 0 0:1 / /second rw - cgroup2 c rw\n",
		      "0::/docker/1/x\n", &h);
	CHECK_STREQ(h.v2_root, "/good");
	CHECK_STREQ(h.v2_self, "/docker/1/x");

	cg_host_parse("1 0 0:1 / /same rw - cgroup2 c rw\n2 0 0:1 /d /same rw - cgroup2 c rw\n", "0::/d/x\n", &h);
	CHECK_STREQ(h.v2_root, "/same");
	CHECK_STREQ(h.v2_self, "/x");
}

TEST(our_group_is_relative_to_what_the_mount_shows)
{
	struct cg_host h;
	static const char mount[] = "1 0 0:1 /docker/abc /sys/fs/cgroup rw - cgroup2 c rw\n";

	cg_host_parse(mount, "0::/docker/abc\n", &h);
	CHECK_STREQ(h.v2_self, "/");
	cg_host_parse(mount, "0::/docker/abc/d\n", &h);
	CHECK_STREQ(h.v2_self, "/d");
	cg_host_parse(mount, "0::/docker/abcd\n", &h); /* a sibling whose name begins alike */
	CHECK_STREQ(h.v2_self, "");
	cg_host_parse(mount, "0::/\n", &h);
	CHECK_STREQ(h.v2_self, "");
	cg_host_parse("1 0 0:1 / /sys/fs/cgroup rw - cgroup2 c rw\n", "0::/../outside\n", &h);
	CHECK_STREQ(h.v2_self, "");
}

TEST(broken_lines_are_passed_over)
{
	struct cg_host h;
	char longer[400];

	cg_host_parse("\n \n1\n1 2 3\n1 0 0:1 / /m rw\n1 0 0:1 / /m rw -\n1 0 0:1 / /m rw - cgroup2\n"
		      "1 0 0:1 / /m rw - cgroup2 none\n1 0 0:1 / rel rw - cgroup2 none rw\n",
		      "\n0\n0:\n::\n0:x:/y\n", &h);
	CHECK_STREQ(h.v2_root, "");
	CHECK_STREQ(h.v2_self, "");

	(void)snprintf(longer, sizeof longer, "1 0 0:1 / /%0200d rw - cgroup2 none rw", 1);
	cg_host_parse(longer, "0::/", &h);
	CHECK_STREQ(h.v2_root, "");
	cg_host_parse("1 0 0:1 / /last rw - cgroup2 none rw", "0::/no-newline", &h);
	CHECK_STREQ(h.v2_root, "/last");
	CHECK_STREQ(h.v2_self, "/no-newline");
}

/* ---- Statistics ---- */

TEST(flat_keyed_files_give_their_number)
{
	static const char events[] = "low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 1\n";
	uint64_t v = 99;

	CHECK(cg_parse_flat(events, "oom_kill", &v));
	CHECK_EQ(v, 2);
	CHECK(cg_parse_flat(events, "oom", &v)); /* not the beginning of another key */
	CHECK_EQ(v, 3);
	CHECK(cg_parse_flat(events, "low", &v));
	CHECK_EQ(v, 0);
	CHECK(cg_parse_flat("usage_usec 18446744073709551615", "usage_usec", &v));
	CHECK_EQ(v, UINT64_MAX);
	CHECK(cg_parse_flat("oom_kill_disable 0\nunder_oom 0\noom_kill 7\n", "oom_kill", &v));
	CHECK_EQ(v, 7);
}

TEST(flat_keyed_files_without_the_number_leave_it_untouched)
{
	static const char *const bad[] = {"",
					  "oom_kill",
					  "oom_kill ",
					  "oom_kill x",
					  "oom_kill -1",
					  "oom_kill 1x",
					  "oom_kill 1 2",
					  " oom_kill 1",
					  "x oom_kill 1",
					  "oom_kill\t1",
					  "oom_kill 18446744073709551616"};
	uint64_t v = 99;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		CHECK(!cg_parse_flat(bad[i], "oom_kill", &v));
	CHECK_EQ(v, 99);
}

TEST(single_values_are_numbers_or_max)
{
	static const char *const bad[] = {"", "\n", "-1", "max ", "maxi", "1 2", "1\n2", "0x1", "18446744073709551616"};
	uint64_t v = 99;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		CHECK(!cg_parse_value(bad[i], &v));
	CHECK_EQ(v, 99);
	CHECK(cg_parse_value("4096\n", &v));
	CHECK_EQ(v, 4096);
	CHECK(cg_parse_value("max\n", &v));
	CHECK_EQ(v, UINT64_MAX);
	CHECK(cg_parse_value("0", &v));
	CHECK_EQ(v, 0);
}

TEST(numbers_are_written_as_the_kernel_reads_them)
{
	static const uint64_t values[] = {0, 1, 9, 10, 99, 100, 4096, UINT32_MAX, UINT64_MAX};
	char have[24], want[24];

	for (size_t i = 0; i < ARRAY_LEN(values); i++) {
		size_t len = cg_format_u64(have, values[i]);

		(void)snprintf(want, sizeof want, "%" PRIu64, values[i]);
		CHECK_STREQ(have, want);
		CHECK_EQ(len, strlen(want));
	}
}

/* ---- Paths and names ---- */

TEST(parent_paths_are_absolute_plain_and_below_the_roots)
{
	static const struct {
		const char *from, *to, *says;
	} cases[] = {
		{"/fsbox", "/fsbox", NULL},
		{"/a.slice/b c", "/a.slice/b c", NULL},
		{"/", "/", NULL},
		{"/...", "/...", NULL},
		{"/sys/fs/cgroup/unified/x/y", "/x/y", NULL},
		{"/sys/fs/cgroup/unified", "/", NULL},
		{"/sys/fs/cgroup/memory/x", "/x", NULL},
		{"/sys/fs/cgroup/unifiedx", NULL, "no cgroup hierarchy"},
		{"/sys/fs/cgroup", NULL, "no cgroup hierarchy"},
		{"", NULL, "not absolute"},
		{"fsbox", NULL, "not absolute"},
		{"./fsbox", NULL, "not absolute"},
		{"//fsbox", NULL, "empty component"},
		{"/fsbox/", NULL, "empty component"},
		{"/a//b", NULL, "empty component"},
		{"/..", NULL, "'..'"},
		{"/a/../b", NULL, "'..'"},
		{"/a/.", NULL, "'..'"},
		{"/sys/fs/cgroup/unified/../memory", NULL, "'..'"},
		{"/a\nb", NULL, "control"},
	};
	struct cg_host h;
	char out[256];

	cg_host_parse(mounts_hybrid, self_hybrid, &h);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err e = {0};
		int r = cg_check_path(&h, cases[i].from, out, sizeof out, &e);

		if (cases[i].to) {
			if (CHECK_OK(r, &e))
				CHECK_STREQ(out, cases[i].to);
			continue;
		}
		CHECK(r < 0);
		CHECK_EQ(e.kind, ERR_SPEC);
		CHECK_CONTAINS(e.msg, cases[i].says);
		CHECK_CONTAINS(e.hint, "/fsbox");
	}
}

TEST(a_parent_path_longer_than_its_field_is_refused)
{
	struct cg_host h = {0};
	struct err e = {0};
	char path[300], out[256];

	memset(path, 'x', sizeof path);
	path[0] = '/';
	path[256] = '\0';
	CHECK(cg_check_path(&h, path, out, sizeof out, &e) < 0);
	CHECK_EQ(e.kind, ERR_SPEC);
	path[255] = '\0';
	e = (struct err){0};
	CHECK_OK(cg_check_path(&h, path, out, sizeof out, &e), &e);
}

TEST(cell_names_are_one_plain_component)
{
	static const char *const bad[] = {"", ".", "..", "a/b", "/", "a\nb", "\x7f", "a\tb"};
	char longer[81];

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct err e = {0};

		CHECK(cg_check_name(bad[i], &e) < 0);
		CHECK_EQ(e.kind, ERR_SPEC);
	}
	memset(longer, 'x', 80);
	longer[80] = '\0';

	struct err e = {0};
	CHECK(cg_check_name(longer, &e) < 0);
	longer[79] = '\0';
	e = (struct err){0};
	CHECK_OK(cg_check_name(longer, &e), &e);
	CHECK_OK(cg_check_name("cell-1.2:3@x", &e), &e);
}

TEST(a_zeroed_group_can_be_closed_and_removed_without_touching_descriptor_0)
{
	struct cgroup zero, init = CGROUP_INIT;
	struct err e = {0};
	struct stat before, after;

	memset(&zero, 0, sizeof zero);
	CHECK(fstat(0, &before) == 0);
	CHECK_OK(cg_remove(&zero, &e), &e);
	memset(&zero, 0, sizeof zero);
	cg_close(&zero);
	cg_close(&zero);
	cg_close(&init);
	CHECK_OK(cg_kill(&init, &e), &e);
	CHECK(fstat(0, &after) == 0 && before.st_ino == after.st_ino);
}
