/* config.json: what is read, what is refused and where, what is converted. No privileges. */
#include "tests/lib/tap.h"

#include "cgroup/internal.h"
#include "confine/filter.h"
#include "oci/config.h"
#include "oci/oci.h"
#include "tests/lib/bpf_sim.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/mount.h>

/* A good config.json with @more behind its members. */
#define CONFIG(process, linux, more)                                                                                   \
	"{\"ociVersion\":\"1.2.0\",\"root\":{\"path\":\"rootfs\"},\"process\":{\"args\":[\"a\"],\"cwd\":\"/\"" process \
	"},\"linux\":{\"namespaces\":[{\"type\":\"mount\"}]" linux "}" more "}"

static int read_text(const char *text, struct ct_spec **ret, struct err *e)
{
	return config_read("c.json", text, strlen(text), "/b", ret, e);
}

static void refused(const char *text, const char *where, const char *msg)
{
	AUTO(config_freep) struct ct_spec *s = NULL;
	struct err e = {0};

	CHECK_LT(read_text(text, &s, &e), 0);
	CHECK_EQ(e.kind, ERR_SPEC);
	CHECK_STREQ(e.where, where);
	CHECK_CONTAINS(e.msg, msg);
}

TEST(the_least_config_is_read)
{
	AUTO(config_freep) struct ct_spec *s = NULL;
	struct err e = {0};

	REQUIRE(read_text(CONFIG("", "", ""), &s, &e) == 0);
	CHECK_STREQ(s->rootfs, "/b/rootfs");
	CHECK_STREQ(s->process.args[0], "a");
	CHECK(!s->process.args[1]);
	CHECK(s->ns[CT_MOUNT].wanted && !s->ns[CT_MOUNT].path);
	CHECK(!s->ns[CT_PID].wanted);
	CHECK(!s->process.oom_score_adj.set);
}

TEST(unknown_keys_are_ignored_and_null_is_absent)
{
	AUTO(config_freep) struct ct_spec *s = NULL;
	struct err e = {0};

	CHECK_EQ(read_text(CONFIG(",\"x\":1,\"env\":null", ",\"y\":[],\"seccomp\":null",
				  ",\"mounts\":null,\"windows\":{}"),
			   &s, &e),
		 0);
	CHECK(!s->process.env && s->n_mounts == 0 && !s->seccomp.given);
}

TEST(refusals_name_the_place)
{
	refused("{}", "c.json: $", "'ociVersion' is missing");
	refused("{\"ociVersion\":\"2.0.0\"}", "c.json: $.ociVersion", "unsupported version");
	refused("{\"ociVersion\":\"1.0\"}", "c.json: $.ociVersion", "SemVer");
	refused("{\"ociVersion\":null}", "c.json: $", "'ociVersion' is missing");
	refused(CONFIG("", ",\"maskedPaths\":[\"x\"]", ""), "c.json: $.linux.maskedPaths[0]", "absolute");
	refused(CONFIG("", ",\"devices\":[{\"type\":\"c\",\"path\":\"/x\",\"major\":1}]", ""),
		"c.json: $.linux.devices[0]", "'minor'");
	refused(CONFIG("", ",\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"defaultErrnoRet\":1}", ""),
		"c.json: $.linux.seccomp.defaultErrnoRet", "no error number");
	refused("[]", "c.json: $", "expected an object");
	refused(CONFIG(",\"rlimits\":[{\"type\":\"RLIMIT_CORE\",\"soft\":2,\"hard\":1}]", "", ""),
		"c.json: $.process.rlimits[0]", "above 'hard'");
	refused(CONFIG(",\"oomScoreAdj\":1001", "", ""), "c.json: $.process.oomScoreAdj", "not between");
	refused(CONFIG(",\"scheduler\":{\"policy\":\"SCHED_OTHER\",\"priority\":3}", "", ""),
		"c.json: $.process.scheduler", "SCHED_FIFO and SCHED_RR only");
	refused(CONFIG("", ",\"netDevices\":{\"a\":{}}", ""), "c.json: $.linux.netDevices",
		"without a network namespace");
	refused(CONFIG("", ",\"memoryPolicy\":{\"mode\":\"MPOL_BIND\"}", ""), "c.json: $.linux.memoryPolicy",
		"at least one node");
	refused(CONFIG("", ",\"memoryPolicy\":{\"mode\":\"MPOL_LOCAL\",\"nodes\":\"0\"}", ""),
		"c.json: $.linux.memoryPolicy", "neither nodes");
	refused(CONFIG("", ",\"memoryPolicy\":{\"mode\":\"MPOL_BIND\",\"nodes\":\"0-\"}", ""),
		"c.json: $.linux.memoryPolicy.nodes", "0-3,7");
	refused(CONFIG("", ",\"memoryPolicy\":{}", ""), "c.json: $.linux.memoryPolicy", "'mode' is missing");
	refused(CONFIG("", ",\"timeOffsets\":{\"boottime\":{\"secs\":1}}", ""), "c.json: $.linux.timeOffsets",
		"time namespace");
	refused(CONFIG("", ",\"sysctl\":{\"net.x\":\"1\"}", ""), "c.json: $.linux.sysctl[\"net.x\"]",
		"host's namespace");
	refused(CONFIG("", ",\"devices\":[{\"type\":\"x\",\"path\":\"/dev/x\"}]", ""), "c.json: $.linux.devices[0]",
		"type of device");
	refused(CONFIG("", "", ",\"mounts\":[{\"destination\":\"/x\"}]"), "c.json: $.mounts[0]", "needs a type");
	refused(CONFIG("", "", ",\"hooks\":{\"poststop\":[{\"path\":\"x\"}]}"), "c.json: $.hooks.poststop[0].path",
		"absolute");
	refused(CONFIG("", "", ",\"hostname\":\"x\""), "c.json: $.hostname", "UTS namespace");
	refused(CONFIG("", "", ",\"annotations\":{\"\":\"x\"}"), "c.json: $.annotations", "must not be empty");
}

/* clang-format off */
TEST(mount_options_become_attributes_and_the_last_one_holds)
{
	AUTO(config_freep) struct ct_spec *s = NULL;
	struct err e = {0};

	REQUIRE(read_text(
			CONFIG("", "",
			       ",\"mounts\":[{\"destination\":\"/x\",\"type\":\"tmpfs\",\"options\":[\"ro\",\"nosuid\",\"rw\","
			       "\"noatime\",\"strictatime\",\"rnodev\",\"rslave\",\"private\",\"size=1m\",\"sync\",\"tmpcopyup\"]}]"),
			&s, &e) == 0);
	const struct ct_mount *m = &s->mounts[0];

	CHECK_EQ(m->set, (uint64_t)(MOUNT_ATTR_NOSUID | MOUNT_ATTR_STRICTATIME));
	CHECK_EQ(m->clear, (uint64_t)(MOUNT_ATTR_RDONLY | MOUNT_ATTR__ATIME));
	CHECK_EQ(m->set_recursive, (uint64_t)MOUNT_ATTR_NODEV);
	CHECK_EQ(m->propagation[0], (unsigned long)(MS_SLAVE | MS_REC));
	CHECK_EQ(m->propagation[1], (unsigned long)MS_PRIVATE);
	CHECK(m->copy_up && !m->bind);
	CHECK_STREQ(m->data[0], "size=1m");
	CHECK_STREQ(m->data[1], "sync");
	CHECK(!m->data[2]);
}
/* clang-format on */

TEST(capabilities_are_bits_and_unknown_ones_are_left_out)
{
	AUTO(config_freep) struct ct_spec *s = NULL;
	struct err e = {0};

	REQUIRE(read_text(
			CONFIG(",\"capabilities\":{\"bounding\":[\"CAP_KILL\",\"CAP_BOGUS\",\"CAP_CHECKPOINT_RESTORE\"]}",
			       "", ""),
			&s, &e) == 0);
	CHECK_EQ(s->process.caps[CT_BOUNDING], UINT64_C(1) << CAP_KILL | UINT64_C(1) << CAP_CHECKPOINT_RESTORE);
	CHECK_EQ(s->process.caps[CT_EFFECTIVE], UINT64_C(0));
}

/* clang-format off */
TEST(what_is_unlimited_in_go_is_unlimited_here)
{
	AUTO(config_freep) struct ct_spec *s = NULL;
	struct err e = {0};

	REQUIRE(read_text(
			CONFIG(",\"rlimits\":[{\"type\":\"RLIMIT_CORE\",\"soft\": 18446744073709551615,\"hard\":18446744073709551615 }]",
			       "", ",\"annotations\":{\"a\":\"x:18446744073709551615,\"}"),
			&s, &e) == 0);
	CHECK_EQ(s->process.rlimits[0].value.rlim_cur, RLIM_INFINITY);
	CHECK_EQ(s->process.rlimits[0].value.rlim_max, RLIM_INFINITY);
	CHECK_STREQ(s->annotations[0].value, "x:18446744073709551615,");
}
/* clang-format on */

#define NET(devices)                                                                                           \
	"{\"ociVersion\":\"1.3.0\",\"root\":{\"path\":\"r\"},\"linux\":{\"namespaces\":[{\"type\":\"mount\"}," \
	"{\"type\":\"network\"}],\"netDevices\":" devices "}}"

TEST(network_devices_have_names_that_the_kernel_takes)
{
	AUTO(config_freep) struct ct_spec *s = NULL;
	struct err e = {0};

	REQUIRE(read_text(NET("{\"a\":{},\"b\":{\"name\":\"eth%d\"},\"c\":{\"name\":\"eth%d\"}}"), &s, &e) == 0);
	CHECK_EQ(s->n_net_devices, 3u);
	CHECK_STREQ(s->net_devices[0].inside, "a");
	CHECK_STREQ(s->net_devices[1].inside, "eth%d");
	refused(NET("{\"a b\":{}}"), "c.json: $.linux.netDevices[\"a b\"]", "no name");
	refused(NET("{\"a%d\":{}}"), "c.json: $.linux.netDevices[\"a%d\"]", "no name");
	refused(NET("{\"a\":{\"name\":\"0123456789abcdef\"}}"), "c.json: $.linux.netDevices.a", "no name");
	refused(NET("{\"a\":{\"name\":\"%s\"}}"), "c.json: $.linux.netDevices.a", "no name");
	refused(NET("{\"a\":{\"name\":\"%d%d\"}}"), "c.json: $.linux.netDevices.a", "no name");
	refused(NET("{\"a\":{\"name\":\"x\"},\"b\":{\"name\":\"x\"}}"), "c.json: $.linux.netDevices.b", "second time");
}

/* ---- Filters ---- */

#define SECCOMP(body) CONFIG("", ",\"seccomp\":{" body "}", "")

static uint32_t verdict(const struct filter *f, uint32_t arch, int nr, uint64_t arg0)
{
	const struct seccomp_data d = {.nr = nr, .arch = arch, .args = {arg0}};

	return bpf_sim_run(f->insns, f->len, &d, NULL);
}

/* clang-format off */
TEST(a_profile_for_three_abis_answers_each_by_its_own_numbers)
{
	AUTO(config_freep) struct ct_spec *s = NULL;
	AUTO(filter_done) struct filter f = {0};
	struct err e = {0};

	REQUIRE(read_text(
			SECCOMP("\"defaultAction\":\"SCMP_ACT_ERRNO\",\"architectures\":[\"SCMP_ARCH_X86_64\",\"SCMP_ARCH_X86\","
				"\"SCMP_ARCH_X32\"],\"syscalls\":[{\"names\":[\"read\",\"bogus_call\"],\"action\":\"SCMP_ACT_ALLOW\"},"
				"{\"names\":[\"personality\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":0,\"value\":1,\"op\":"
				"\"SCMP_CMP_EQ\"},{\"index\":0,\"value\":18446744073709551615,\"op\":\"SCMP_CMP_EQ\"}]}]"),
			&s, &e) == 0);
	s->seccomp.policy.skip_unknown = true;
	s->seccomp.policy.new_enosys = true;
	REQUIRE(filter_build_for(&s->seccomp.policy, filter_arch_find("x86_64"), &f, &e) == 0);
	CHECK(!bpf_sim_check(f.insns, f.len));
	CHECK_EQ(verdict(&f, AUDIT_ARCH_X86_64, 0, 0), SECCOMP_RET_ALLOW);          /* read */
	CHECK_EQ(verdict(&f, AUDIT_ARCH_X86_64, 1, 0), SECCOMP_RET_ERRNO | EPERM);  /* write */
	CHECK_EQ(verdict(&f, AUDIT_ARCH_I386, 3, 0), SECCOMP_RET_ALLOW);            /* read */
	CHECK_EQ(verdict(&f, AUDIT_ARCH_I386, 0, 0), SECCOMP_RET_ERRNO | EPERM);    /* restart_syscall */
	CHECK_EQ(verdict(&f, AUDIT_ARCH_X86_64, 0x40000000, 0), SECCOMP_RET_ALLOW); /* read of x32 */
	CHECK_EQ(verdict(&f, AUDIT_ARCH_X86_64, 0x40000001, 0), SECCOMP_RET_ERRNO | EPERM);
	CHECK_EQ(verdict(&f, AUDIT_ARCH_AARCH64, 0, 0), SECCOMP_RET_KILL_PROCESS);
	CHECK_EQ(verdict(&f, AUDIT_ARCH_X86_64, 135, 1), SECCOMP_RET_ALLOW); /* personality: either */
	CHECK_EQ(verdict(&f, AUDIT_ARCH_X86_64, 135, UINT64_MAX), SECCOMP_RET_ALLOW);
	CHECK_EQ(verdict(&f, AUDIT_ARCH_X86_64, 135, 2), SECCOMP_RET_ERRNO | EPERM);
	CHECK_EQ(verdict(&f, AUDIT_ARCH_X86_64, 400, 0), SECCOMP_RET_ERRNO | ENOSYS); /* younger than the profile */
}
/* clang-format on */

/* clang-format off */
TEST(without_x32_its_numbers_kill)
{
	AUTO(config_freep) struct ct_spec *s = NULL;
	AUTO(filter_done) struct filter f = {0};
	struct err e = {0};

	REQUIRE(read_text(
			SECCOMP("\"defaultAction\":\"SCMP_ACT_ALLOW\",\"flags\":[\"SECCOMP_FILTER_FLAG_LOG\"],\"syscalls\":[{\"names\":"
				"[\"read\"],\"action\":\"SCMP_ACT_TRACE\",\"errnoRet\":7}]"),
			&s, &e) == 0);
	REQUIRE(filter_build_for(&s->seccomp.policy, filter_arch_find("x86_64"), &f, &e) == 0);
	CHECK_EQ(verdict(&f, AUDIT_ARCH_X86_64, 0, 0), SECCOMP_RET_TRACE | 7);
	CHECK_EQ(verdict(&f, AUDIT_ARCH_X86_64, 0x40000000, 0), SECCOMP_RET_KILL_PROCESS);
	CHECK_EQ(verdict(&f, AUDIT_ARCH_I386, 3, 0), SECCOMP_RET_KILL_PROCESS);
	CHECK_EQ(f.flags, 2u);
}
/* clang-format on */

/* clang-format off */
TEST(questions_need_somebody_who_is_asked)
{
	AUTO(config_freep) struct ct_spec *s = NULL;
	AUTO(filter_done) struct filter f = {0};
	struct err e = {0};

	refused(SECCOMP("\"defaultAction\":\"SCMP_ACT_NOTIFY\""), "c.json: $.linux.seccomp.listenerPath", "SCMP_ACT_NOTIFY");
	refused(SECCOMP("\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"read\"],\"action\":\"SCMP_ACT_NOTIFY\"}]"),
		"c.json: $.linux.seccomp.listenerPath", "SCMP_ACT_NOTIFY");
	refused(SECCOMP("\"defaultAction\":\"SCMP_ACT_ALLOW\",\"listenerMetadata\":\"x\""),
		"c.json: $.linux.seccomp.listenerMetadata", "without listenerPath");
	refused(SECCOMP("\"defaultAction\":\"SCMP_ACT_ALLOW\",\"listenerPath\":\"x\""),
		"c.json: $.linux.seccomp.listenerPath", "absolute");
	REQUIRE(read_text(
			SECCOMP("\"defaultAction\":\"SCMP_ACT_ALLOW\",\"listenerPath\":\"/s\",\"syscalls\":[{\"names\":[\"read\"],"
				"\"action\":\"SCMP_ACT_NOTIFY\"}]"),
			&s, &e) == 0);
	CHECK(s->seccomp.asks);
	REQUIRE(filter_build_for(&s->seccomp.policy, filter_arch_find("x86_64"), &f, &e) == 0);
	CHECK_EQ(verdict(&f, AUDIT_ARCH_X86_64, 0, 0), SECCOMP_RET_USER_NOTIF);
	CHECK_EQ(verdict(&f, AUDIT_ARCH_X86_64, 1, 0), SECCOMP_RET_ALLOW);
}
/* clang-format on */

/* ---- Limits: what would be written ---- */

struct host {
	int version; /* of every controller */
	struct buf said;
};

static int put(void *arg, const char *controller, const char *file, const char *text, bool optional, struct err *e)
{
	struct host *h = arg;

	(void)controller;
	(void)e;
	if (optional && strstr(file, "bfq"))
		return 1;
	buf_printf(&h->said, "%s=%s ", file, text);
	return 0;
}

static int version(void *arg, const char *controller)
{
	(void)controller;
	return ((struct host *)arg)->version;
}

static void converts(const char *resources, int v, const char *wanted)
{
	AUTO(config_freep) struct ct_spec *s = calloc(1, sizeof *s);
	struct host h = {.version = v};
	const struct cg_writer w = {put, version, &h};
	struct err e = {0};

	REQUIRE(s && config_read_resources("r", resources, strlen(resources), s, &e) == 0);
	CHECK_EQ(cg_limits_plan(&w, &s->resources, &e), 0);
	CHECK_STREQ(h.said.data ? h.said.data : "", wanted);
	buf_done(&h.said);
}

static void does_not_convert(const char *resources, int v, const char *where)
{
	AUTO(config_freep) struct ct_spec *s = calloc(1, sizeof *s);
	struct host h = {.version = v};
	const struct cg_writer w = {put, version, &h};
	struct err e = {0};

	REQUIRE(s && config_read_resources("r", resources, strlen(resources), s, &e) == 0);
	CHECK_LT(cg_limits_plan(&w, &s->resources, &e), 0);
	CHECK_STREQ(e.where, where);
	buf_done(&h.said);
}

TEST(memory_and_swap_are_converted)
{
	converts("{\"memory\":{\"limit\":100,\"swap\":150,\"reservation\":50}}", 2,
		 "memory.swap.max=50 memory.max=100 memory.low=50 ");
	converts("{\"memory\":{\"limit\":100,\"swap\":100}}", 2, "memory.swap.max=0 memory.max=100 ");
	converts("{\"memory\":{\"limit\":-1}}", 2, "memory.swap.max=max memory.max=max ");
	converts("{\"memory\":{\"limit\":100,\"swap\":-1}}", 2, "memory.swap.max=max memory.max=100 ");
	converts("{\"memory\":{\"limit\":100}}", 2, "memory.max=100 ");
	converts("{\"memory\":{\"limit\":100,\"swap\":150}}", 1,
		 "memory.limit_in_bytes=100 memory.memsw.limit_in_bytes=150 ");
	converts("{\"memory\":{\"limit\":-1}}", 1, "memory.limit_in_bytes=-1 memory.memsw.limit_in_bytes=-1 ");
	does_not_convert("{\"memory\":{\"swap\":100}}", 2, "$.linux.resources.memory.swap");
	does_not_convert("{\"memory\":{\"limit\":100,\"swap\":50}}", 2, "$.linux.resources.memory.swap");
	does_not_convert("{\"memory\":{\"kernel\":100}}", 2, "$.linux.resources.memory.kernel");
	does_not_convert("{\"memory\":{\"limit\":100}}", -1, "$.linux.resources.memory");
}

TEST(cpu_pids_and_blocks_are_converted)
{
	converts("{\"cpu\":{\"shares\":1024}}", 2, "cpu.weight=100 ");
	converts("{\"cpu\":{\"shares\":3}}", 2, "cpu.weight=2 ");
	converts("{\"cpu\":{\"shares\":512}}", 2, "cpu.weight=59 ");
	converts("{\"cpu\":{\"shares\":2048}}", 2, "cpu.weight=174 ");
	converts("{\"cpu\":{\"shares\":262143}}", 2, "cpu.weight=10000 ");
	converts("{\"cpu\":{\"shares\":2}}", 2, "cpu.weight=1 ");
	converts("{\"cpu\":{\"shares\":262144}}", 2, "cpu.weight=10000 ");
	converts("{\"cpu\":{\"quota\":-1,\"period\":1000}}", 2, "cpu.max=max 1000 ");
	converts("{\"cpu\":{\"quota\":5000}}", 2, "cpu.max=5000 100000 ");
	converts("{\"cpu\":{\"idle\":1,\"shares\":1024}}", 2, "cpu.idle=1 ");
	converts("{\"cpu\":{\"shares\":1024,\"quota\":5000,\"period\":10000,\"cpus\":\"0-1\"}}", 1,
		 "cpu.shares=1024 cpu.cfs_period_us=10000 cpu.cfs_quota_us=5000 cpuset.cpus=0-1 ");
	converts("{\"pids\":{\"limit\":0}}", 2, "pids.max=0 ");
	converts("{\"pids\":{\"limit\":-1}}", 1, "pids.max=max ");
	converts("{\"blockIO\":{\"weight\":10}}", 2, "io.weight=1 ");
	converts("{\"blockIO\":{\"weight\":1000,\"throttleReadBpsDevice\":[{\"major\":8,\"minor\":0,\"rate\":5}]}}", 2,
		 "io.weight=10000 io.max=8:0 rbps=5 ");
	converts("{\"hugepageLimits\":[{\"pageSize\":\"2MB\",\"limit\":7}]}", 2,
		 "hugetlb.2MB.max=7 hugetlb.2MB.rsvd.max=7 ");
	converts("{\"unified\":{\"memory.high\":\"5\",\"io.max\":\"a\\nb\"}}", 2, "memory.high=5 io.max=a io.max=b ");
	does_not_convert("{\"unified\":{\"memory.high\":\"5\"}}", 1, "$.linux.resources.unified");
	does_not_convert("{\"unified\":{\"../x.y\":\"5\"}}", 2, "$.linux.resources.unified");
	converts("{\"rdma\":{\"mlx5_1\":{\"hcaHandles\":3,\"hcaObjects\":10000},\"x\":{\"hcaObjects\":0}}}", 1,
		 "rdma.max=mlx5_1 hca_handle=3 hca_object=10000 rdma.max=x hca_object=0 ");
	does_not_convert("{\"rdma\":{\"x\":{}}}", 2, "$.linux.resources.rdma[\"x\"]");
	does_not_convert("{\"rdma\":{\"x\":{\"hcaHandles\":3}}}", -1, "$.linux.resources.rdma");
	does_not_convert("{\"network\":{\"classID\":1}}", 2, "$.linux.resources.network.classID");
}

/* ---- Options ---- */

TEST(options_are_taken_as_programs_in_go_write_them)
{
	char a0[] = "create", a1[] = "-bundle", a2[] = "/x", a3[] = "ID", a4[] = "--no-pivot=true",
	     a5[] = "--pid-file=p", a6[] = "-no-subreaper", a7[] = "-b", a8[] = "/y";
	char *argv[] = {a0, a1, a2, a3, a4, a5, a6, a7, a8, NULL};
	struct oci_args a = {0};
	struct err e = {0};

	REQUIRE(oci_parse(&oci_create, 9, argv, &a, &e) == 0);
	CHECK_STREQ(a.bundle, "/y"); /* the last one holds */
	CHECK_STREQ(a.pid_file, "p");
	CHECK(a.no_pivot && a.no_subreaper && !a.no_new_keyring);
	CHECK_EQ(a.n_operands, 1);
	CHECK_STREQ(a.operands[0], "ID");
}

TEST(what_belongs_to_the_containers_program_is_left_alone)
{
	char a0[] = "exec", a1[] = "ID", a2[] = "-t", a3[] = "sh", a4[] = "-c", a5[] = "--detach";
	char *argv[] = {a0, a1, a2, a3, a4, a5, NULL};
	struct oci_args a = {0};
	struct err e = {0};

	REQUIRE(oci_parse(&oci_exec, 6, argv, &a, &e) == 0);
	CHECK(a.tty && !a.detach);
	CHECK_EQ(a.n_operands, 4);
	CHECK_STREQ(a.operands[3], "--detach");
}

TEST(signals_have_numbers_and_names)
{
	CHECK_EQ(oci_signal("9"), SIGKILL);
	CHECK_EQ(oci_signal("KILL"), SIGKILL);
	CHECK_EQ(oci_signal("SIGTERM"), SIGTERM);
	CHECK_EQ(oci_signal("sigusr1"), SIGUSR1);
	CHECK_EQ(oci_signal("RTMIN+3"), SIGRTMIN + 3);
	CHECK_LT(oci_signal("BOGUS"), 0);
	CHECK_LT(oci_signal("0"), 0);
	CHECK_LT(oci_signal("65"), 0);
}
