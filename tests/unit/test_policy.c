#include "tests/lib/tap.h"

#include "base/str.h"
#include "confine/filter.h"
#include "tests/lib/bpf_sim.h"
#include "tests/lib/policy_ref.h"

#include <errno.h>
#include <linux/audit.h>

static int read_policy(const char *text, struct policy **ret_policy, struct err *e)
{
	return policy_read("p.json", text, strlen(text), ret_policy, e);
}

static int build(const char *text, struct filter *ret_filter, struct err *e)
{
	AUTO(policy_freep) struct policy *p = NULL;
	int r = read_policy(text, &p, e);

	return r < 0 ? r : filter_build_for(p, filter_arch_find("x86_64"), ret_filter, e);
}

/* Groups with @body instead of the "syscalls" of an otherwise good policy. */
#define GROUPS(body) "{\"defaultAction\": \"SCMP_ACT_ERRNO\", \"syscalls\": [" body "]}"
#define ARG(body)    GROUPS("{\"names\": [\"socket\"], \"action\": \"SCMP_ACT_ALLOW\", \"args\": [" body "]}")

static void refused(const char *text, const char *where, const char *msg, const char *hint)
{
	AUTO(filter_done) struct filter f = {0};
	struct err e = {0};

	CHECK_LT(build(text, &f, &e), 0);
	CHECK_EQ(e.kind, ERR_SPEC);
	CHECK_STREQ(e.where, where);
	CHECK_CONTAINS(e.msg, msg);
	CHECK_CONTAINS(e.hint, hint);
}

TEST(a_whole_policy_is_read)
{
	AUTO(policy_freep) struct policy *p = NULL;
	struct err e = {0};

	REQUIRE_OK(read_policy("{\"comment\": \"c\", \"defaultAction\": \"SCMP_ACT_ERRNO\", \"defaultErrnoRet\": 38,"
			       "\"architectures\": [\"SCMP_ARCH_X86_64\", \"SCMP_ARCH_X32\"],"
			       "\"flags\": [\"SECCOMP_FILTER_FLAG_TSYNC\"],"
			       "\"fsbox\": {\"newSyscalls\": \"ENOSYS\", \"stage\": \"runtime\"},"
			       "\"syscalls\": [{\"names\": [\"read\", \"write\"], \"action\": \"SCMP_ACT_ALLOW\","
			       "\"args\": null, \"comment\": \"\"},"
			       "{\"names\": [\"socket\"], \"action\": \"SCMP_ACT_ERRNO\", \"errnoRet\": 22, \"args\": ["
			       "{\"index\": 0, \"value\": 16, \"op\": \"SCMP_CMP_EQ\"},"
			       "{\"index\": 2, \"value\": 255, \"valueTwo\": 9, \"op\": \"SCMP_CMP_MASKED_EQ\"}]},"
			       "{\"names\": [\"ptrace\"], \"action\": \"SCMP_ACT_KILL\"}]}",
			       &p, &e),
		   &e);
	CHECK_STREQ(p->file, "p.json");
	CHECK_EQ(p->default_action, POLICY_ERRNO);
	CHECK_EQ(p->default_errno, 38);
	CHECK(p->new_enosys && p->runtime_stage && !p->none);
	REQUIRE(CHECK_EQ(p->n_rules, 4U));
	CHECK_STREQ(p->rules[1].name, "write");
	CHECK_EQ(p->rules[1].action, POLICY_ALLOW);
	CHECK_EQ(p->rules[1].group, 0U);
	CHECK_EQ(p->rules[2].group, 1U);
	CHECK_EQ(p->rules[2].errno_ret, 22);
	CHECK_EQ(p->rules[2].n_args, 2U);
	CHECK_EQ(p->rules[2].args[1].index, 2U);
	CHECK_EQ(p->rules[2].args[1].op, POLICY_MASKED_EQ);
	CHECK_EQ(p->rules[2].args[1].value, 255U);
	CHECK_EQ(p->rules[2].args[1].value_two, 9U);
	CHECK_EQ(p->rules[3].action, POLICY_KILL_THREAD);
	CHECK_EQ(p->rules[3].errno_ret, EPERM);
}

TEST(the_smallest_policy_is_none)
{
	AUTO(policy_freep) struct policy *p = NULL;
	AUTO(filter_done) struct filter f = {0};
	struct err e = {0};

	REQUIRE_OK(read_policy("{\"defaultAction\": \"SCMP_ACT_ALLOW\"}", &p, &e), &e);
	CHECK(p->none);
	REQUIRE_OK(filter_build(p, &f, &e), &e);
	CHECK_EQ(f.len, 0U);
	CHECK_EQ(filter_install(&f), 0);
}

TEST(structure_is_checked_with_its_path)
{
	refused("[]", "p.json: $", "expected an object, got an array", "");
	refused("{}", "p.json: $", "'defaultAction' is missing", "");
	refused("{\"defaultAction\": 1}", "p.json: $.defaultAction", "expected a string, got an integer", "");
	refused("{\"defaultAction\": \"ALLOW\"}", "p.json: $.defaultAction", "unknown value 'ALLOW'", "SCMP_ACT_ALLOW");
	refused("{\"defaultActoin\": \"SCMP_ACT_ALLOW\"}", "p.json: $.defaultActoin", "unknown key 'defaultActoin'",
		"fsbox-policy(5)");
	refused(GROUPS("7"), "p.json: $.syscalls[0]", "expected an object", "");
	refused(GROUPS("{\"names\": [\"read\"]}"), "p.json: $.syscalls[0]", "'action' is missing", "");
	refused(GROUPS("{\"action\": \"SCMP_ACT_ALLOW\"}"), "p.json: $.syscalls[0]", "'names' is missing", "");
	refused(GROUPS("{\"names\": [], \"action\": \"SCMP_ACT_ALLOW\"}"), "p.json: $.syscalls[0].names",
		"no system call", "");
	refused(GROUPS("{\"names\": [\"read\", 4], \"action\": \"SCMP_ACT_ALLOW\"}"), "p.json: $.syscalls[0].names[1]",
		"expected a string", "");
	refused(GROUPS("{\"names\": [\"re ad\"], \"action\": \"SCMP_ACT_ALLOW\"}"), "p.json: $.syscalls[0].names[0]",
		"cannot be the name", "");
	refused(GROUPS("{\"names\": [\"read\"], \"action\": \"SCMP_ACT_ALLOW\", \"why\": \"\"}"),
		"p.json: $.syscalls[0].why", "unknown key 'why'", "\"comment\"");
	refused("{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"syscalls\": {}}", "p.json: $.syscalls", "array of groups",
		"");
	refused("{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"comment\": 3}", "p.json: $.comment", "expected a string",
		"");
	refused("{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"architectures\": [\"SCMP_ARCH_Z80\"]}",
		"p.json: $.architectures[0]", "unknown architecture 'SCMP_ARCH_Z80'", "");
	refused("{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"fsbox\": {\"stage\": \"never\"}}", "p.json: $.fsbox.stage",
		"unknown value 'never'", "spawn, runtime");
	refused("{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"fsbox\": {\"state\": \"spawn\"}}", "p.json: $.fsbox.state",
		"unknown key", "");
}

TEST(syntax_errors_have_line_and_column)
{
	refused("{\"defaultAction\":\n  SCMP}", "p.json:2:6", "not JSON", "");
	refused("{\"defaultAction\": \"SCMP_ACT_ALLOW\",\n\"defaultAction\": \"SCMP_ACT_KILL\"}", "p.json:2:15",
		"duplicate key \"defaultAction\"", "");
}

TEST(an_unknown_system_call_is_named_with_file_and_group)
{
	refused(GROUPS("{\"names\": [\"read\"], \"action\": \"SCMP_ACT_ALLOW\"},"
		       "{\"names\": [\"write\", \"opnat\"], \"action\": \"SCMP_ACT_ALLOW\"}"),
		"p.json: $.syscalls[1].names", "no system call is named 'opnat' on any architecture", "syscalls(2)");
}

TEST(what_docker_adds_is_refused_by_name_with_a_remedy)
{
	refused(GROUPS("{\"names\": [\"read\"], \"action\": \"SCMP_ACT_ALLOW\", \"includes\": {\"caps\": [\"CAP_BPF\"]}}"),
		"p.json: $.syscalls[0].includes", "'includes' is not taken", "config.json");
	refused(GROUPS("{\"names\": [\"read\"], \"action\": \"SCMP_ACT_ALLOW\", \"excludes\": {}}"),
		"p.json: $.syscalls[0].excludes", "'excludes' is not taken", "config.json");
	refused(GROUPS("{\"name\": \"read\", \"action\": \"SCMP_ACT_ALLOW\"}"), "p.json: $.syscalls[0].name",
		"'name' is not taken", "\"names\"");
	refused("{\"defaultAction\": \"SCMP_ACT_ERRNO\", \"archMap\": []}", "p.json: $.archMap",
		"'archMap' is not taken", "drop the key");
}

TEST(what_fsbox_does_not_honour_is_refused_with_a_sentence)
{
	refused("{\"defaultAction\": \"SCMP_ACT_NOTIFY\"}", "p.json: $.defaultAction", "nobody would listen", "");
	refused("{\"defaultAction\": \"SCMP_ACT_TRACE\"}", "p.json: $.defaultAction", "no tracer", "");
	refused("{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"listenerPath\": \"/run/x\"}", "p.json: $.listenerPath",
		"'listenerPath' is not taken", "SCMP_ACT_ERRNO");
	refused("{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"flags\": [\"SECCOMP_FILTER_FLAG_LOG\"]}",
		"p.json: $.flags[0]", "does not log", "");
	refused("{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"flags\": [\"SECCOMP_FILTER_FLAG_SPEC_ALLOW\"]}",
		"p.json: $.flags[0]", "mitigations", "");
	refused("{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"flags\": [\"X\"]}", "p.json: $.flags[0]", "unknown value",
		"");
}

TEST(errnos_belong_to_errno_actions_and_have_a_range)
{
	AUTO(filter_done) struct filter f = {0};
	struct err e = {0};

	refused("{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"defaultErrnoRet\": 1}", "p.json: $",
		"'defaultErrnoRet' belongs", "");
	refused(GROUPS("{\"names\": [\"read\"], \"action\": \"SCMP_ACT_KILL\", \"errnoRet\": 1}"),
		"p.json: $.syscalls[0]", "'errnoRet' belongs", "");
	refused(GROUPS("{\"names\": [\"read\"], \"action\": \"SCMP_ACT_ERRNO\", \"errnoRet\": 4096}"),
		"p.json: $.syscalls[0].errnoRet", "4096 is not between 0 and 4095", "");
	refused(GROUPS("{\"names\": [\"read\"], \"action\": \"SCMP_ACT_ERRNO\", \"errnoRet\": -1}"),
		"p.json: $.syscalls[0].errnoRet", "-1 is not between", "");
	CHECK_OK(build(GROUPS("{\"names\": [\"read\"], \"action\": \"SCMP_ACT_ERRNO\", \"errnoRet\": 4095}"), &f, &e),
		 &e);
}

TEST(conditions_are_checked)
{
	refused(ARG("{\"index\": 6, \"value\": 1, \"op\": \"SCMP_CMP_EQ\"}"), "p.json: $.syscalls[0].args[0].index",
		"6 is not between 0 and 5", "");
	refused(ARG("{\"value\": 1, \"op\": \"SCMP_CMP_EQ\"}"), "p.json: $.syscalls[0].args[0]", "'index' is missing",
		"");
	refused(ARG("{\"index\": 0, \"value\": 1.5, \"op\": \"SCMP_CMP_EQ\"}"), "p.json: $.syscalls[0].args[0].value",
		"expected an integer", "");
	refused(ARG("{\"index\": 0, \"value\": 1, \"op\": \"==\"}"), "p.json: $.syscalls[0].args[0].op",
		"unknown value '=='", "");
	refused(ARG("{\"index\": 0, \"value\": 1, \"op\": \"SCMP_CMP_EQ\"}, {\"index\": 0, \"value\": 2, \"op\": "
		    "\"SCMP_CMP_EQ\"}"),
		"p.json: $.syscalls[0].args[1]", "second condition on argument 0", "two groups");
	refused(ARG("{\"index\": 0, \"value\": 1, \"valueTwo\": 2, \"op\": \"SCMP_CMP_EQ\"}"),
		"p.json: $.syscalls[0].args[0]", "'valueTwo' belongs", "");
	refused(ARG("{\"index\": 0, \"value\": 1, \"valueTwo\": 2, \"op\": \"SCMP_CMP_MASKED_EQ\"}"),
		"p.json: $.syscalls[0].args[0]", "never true", "mask");
}

TEST(too_many_names_are_a_limit)
{
	AUTO(policy_freep) struct policy *p = NULL;
	AUTO(buf_done) struct buf b = {0};
	struct err e = {0};

	buf_puts(
		&b,
		"{\"defaultAction\": \"SCMP_ACT_ERRNO\", \"syscalls\": [{\"action\": \"SCMP_ACT_ALLOW\", \"names\": [");
	for (int i = 0; i < POLICY_MAX_RULES; i++)
		buf_puts(&b, "\"read\", ");
	buf_puts(&b, "\"read\"]}]}");
	CHECK_LT(policy_read("p.json", b.data, b.len, &p, &e), 0);
	CHECK_EQ(e.kind, ERR_LIMIT);
	CHECK_STREQ(e.where, "p.json: $.syscalls");
	CHECK_CONTAINS(e.msg, "4097 names");
}

TEST(too_long_a_program_is_a_limit)
{
	AUTO(filter_done) struct filter f = {0};
	AUTO(buf_done) struct buf b = {0};
	struct err e = {0};

	buf_puts(&b, "{\"defaultAction\": \"SCMP_ACT_ERRNO\", \"syscalls\": [");
	for (int i = 0; i < 1500; i++)
		buf_printf(&b,
			   "%s{\"names\": [\"read\"], \"action\": \"SCMP_ACT_ALLOW\", \"args\": [{\"index\": 0, "
			   "\"value\": %d, \"op\": \"SCMP_CMP_EQ\"}]}",
			   i ? "," : "", i);
	buf_puts(&b, "]}");
	CHECK_LT(build(b.data, &f, &e), 0);
	CHECK_EQ(e.kind, ERR_LIMIT);
	CHECK_CONTAINS(e.msg, "the kernel takes 4096");
	CHECK_CONTAINS(e.where, "$.syscalls");
	CHECK(f.insns == NULL);
}

/* ---- What the filter says ---- */

static const char *verdict(const struct filter *f, int nr, uint64_t arg0)
{
	struct seccomp_data d = {.nr = nr, .arch = AUDIT_ARCH_X86_64, .args = {arg0}};

	if (bpf_sim_check(f->insns, f->len))
		return bpf_sim_check(f->insns, f->len);
	return bpf_sim_verdict(bpf_sim_run(f->insns, f->len, &d, NULL));
}

enum { NR_READ = 0, NR_WRITE = 1, NR_CLONE3 = 435 };

TEST(the_strictest_of_the_matching_rules_decides_in_any_order)
{
	static const char *const texts[] = {
		GROUPS("{\"names\": [\"read\"], \"action\": \"SCMP_ACT_ALLOW\"},"
		       "{\"names\": [\"read\"], \"action\": \"SCMP_ACT_KILL_PROCESS\", \"args\": "
		       "[{\"index\": 0, \"value\": 7, \"op\": \"SCMP_CMP_EQ\"}]},"
		       "{\"names\": [\"read\"], \"action\": \"SCMP_ACT_TRAP\", \"args\": "
		       "[{\"index\": 0, \"value\": 6, \"op\": \"SCMP_CMP_GE\"}]}"),
		GROUPS("{\"names\": [\"read\"], \"action\": \"SCMP_ACT_TRAP\", \"args\": "
		       "[{\"index\": 0, \"value\": 6, \"op\": \"SCMP_CMP_GE\"}]},"
		       "{\"names\": [\"read\"], \"action\": \"SCMP_ACT_KILL_PROCESS\", \"args\": "
		       "[{\"index\": 0, \"value\": 7, \"op\": \"SCMP_CMP_EQ\"}]},"
		       "{\"names\": [\"read\"], \"action\": \"SCMP_ACT_ALLOW\"}"),
	};

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		AUTO(filter_done) struct filter f = {0};
		struct err e = {0};

		REQUIRE_OK(build(texts[i], &f, &e), &e);
		CHECK_STREQ(verdict(&f, NR_READ, 5), "allow");
		CHECK_STREQ(verdict(&f, NR_READ, 6), "trap");
		CHECK_STREQ(verdict(&f, NR_READ, 7), "kill process");
		CHECK_STREQ(verdict(&f, NR_READ, 8), "trap");
		CHECK_STREQ(verdict(&f, NR_READ, UINT64_C(0x100000000)), "trap");
		CHECK_STREQ(verdict(&f, NR_WRITE, 7), "errno EPERM");
	}
}

TEST(a_refusal_without_conditions_beats_a_conditional_permission)
{
	AUTO(filter_done) struct filter f = {0};
	struct err e = {0};

	REQUIRE_OK(build(GROUPS("{\"names\": [\"read\"], \"action\": \"SCMP_ACT_ALLOW\", \"args\": "
				"[{\"index\": 0, \"value\": 7, \"op\": \"SCMP_CMP_EQ\"}]},"
				"{\"names\": [\"read\"], \"action\": \"SCMP_ACT_ERRNO\", \"errnoRet\": 22}"),
			 &f, &e),
		   &e);
	CHECK_STREQ(verdict(&f, NR_READ, 7), "errno EINVAL");
	CHECK_STREQ(verdict(&f, NR_READ, 8), "errno EINVAL");
}

TEST(calls_newer_than_the_policy_answer_enosys_where_asked)
{
	AUTO(filter_done) struct filter with = {0}, without = {0};
	struct err e = {0};

	REQUIRE_OK(
		build("{\"defaultAction\": \"SCMP_ACT_ERRNO\", \"fsbox\": {\"newSyscalls\": \"ENOSYS\"}, \"syscalls\": "
		      "[{\"names\": [\"read\", \"clone3\"], \"action\": \"SCMP_ACT_ALLOW\"}]}",
		      &with, &e),
		&e);
	CHECK_STREQ(verdict(&with, NR_READ, 0), "allow");
	CHECK_STREQ(verdict(&with, NR_CLONE3 - 1, 0), "errno EPERM");
	CHECK_STREQ(verdict(&with, NR_CLONE3, 0), "allow");
	CHECK_STREQ(verdict(&with, NR_CLONE3 + 1, 0), "errno ENOSYS");
	CHECK_STREQ(verdict(&with, 0x3fffffff, 0), "errno ENOSYS");
	CHECK_STREQ(verdict(&with, 0x40000000, 0), "kill process");
	CHECK_STREQ(verdict(&with, -1, 0), "errno ENOSYS");

	REQUIRE_OK(build("{\"defaultAction\": \"SCMP_ACT_LOG\", \"syscalls\": "
			 "[{\"names\": [\"read\"], \"action\": \"SCMP_ACT_ALLOW\"}]}",
			 &without, &e),
		   &e);
	CHECK_STREQ(verdict(&without, 9999, 0), "log");
}

TEST(calls_of_other_architectures_are_left_out)
{
	AUTO(policy_freep) struct policy *p = NULL;
	AUTO(filter_done) struct filter x86 = {0}, arm = {0};
	struct err e = {0};

	REQUIRE_OK(
		read_policy(
			GROUPS("{\"names\": [\"open\", \"stat64\", \"socketcall\"], \"action\": \"SCMP_ACT_ALLOW\"}"),
			&p, &e),
		&e);
	REQUIRE_OK(filter_build_for(p, filter_arch_find("x86_64"), &x86, &e), &e);
	CHECK_STREQ(verdict(&x86, 2, 0), "allow");
	REQUIRE_OK(filter_build_for(p, filter_arch_find("aarch64"), &arm, &e), &e);
	for (int nr = 0; nr < 600; nr++) {
		struct seccomp_data d = {.nr = nr, .arch = AUDIT_ARCH_AARCH64};

		CHECK_STREQ(bpf_sim_verdict(bpf_sim_run(arm.insns, arm.len, &d, NULL)), "errno EPERM");
	}
}

TEST(names_and_numbers_are_known_both_ways)
{
	CHECK_EQ(filter_call_number(filter_arch_find("x86_64"), "openat"), 257);
	CHECK_EQ(filter_call_number(filter_arch_find("aarch64"), "openat"), 56);
	CHECK_EQ(filter_call_number(filter_arch_find("aarch64"), "open"), CALL_ELSEWHERE);
	CHECK_EQ(filter_call_number(filter_arch_find("x86_64"), "no_such_call"), CALL_NOWHERE);
	CHECK_EQ(filter_call_number(filter_arch_find("x86_64"), "mseal"), 462);
	CHECK_EQ(filter_call_number(filter_arch_find("aarch64"), "cachestat"), 451);
	CHECK_STREQ(filter_syscall_name(filter_call_number(filter_arch_native(), "openat")), "openat");
	CHECK_STREQ(filter_syscall_name(462), "mseal");
	CHECK_STREQ(filter_syscall_name(100000), NULL);
	CHECK_STREQ(filter_syscall_name(-1), NULL);
	CHECK_STREQ(filter_syscall_name(-10062), NULL);
	CHECK(filter_arch_find("z80") == NULL);
}

/* ---- Random policies against the reading of their rules ---- */

static uint64_t next_random(void *state)
{
	uint64_t *x = state; /* xorshift64: the same policies in every run */

	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

static struct policy_arg random_arg(unsigned index, uint64_t *state)
{
	struct policy_arg a = {.index = index, .op = (enum policy_op)(next_random(state) % 7)};

	a.value = next_random(state) >> (next_random(state) & 63);
	if (next_random(state) % 4 == 0)
		a.value <<= 32;
	a.value_two = a.op == POLICY_MASKED_EQ ? next_random(state) & a.value : 0;
	return a;
}

static struct policy_rule random_rule(const struct filter_arch *arch, size_t group, uint64_t *state)
{
	static char names[64][CALL_NAME_ROOM];
	struct policy_rule r = {
		.name = names[group % ARRAY_LEN(names)],
		.action = (enum policy_action)(next_random(state) % 6),
		.errno_ret = (uint16_t)(next_random(state) % 200),
		.group = group,
	};
	unsigned used = 0, n = (unsigned)(next_random(state) % 5);

	/* few numbers, so that rules meet; the buffer is one per slot, and a slot keeps its name */
	if (names[group % ARRAY_LEN(names)][0] == '\0')
		while (!filter_call_name(arch, (int)(next_random(state) % 330), names[group % ARRAY_LEN(names)]))
			;
	while (r.n_args < n) {
		unsigned index = (unsigned)(next_random(state) % POLICY_MAX_ARGS);

		if (used & 1u << index)
			continue;
		used |= 1u << index;
		r.args[r.n_args++] = random_arg(index, state);
	}
	return r;
}

static bool agree(const struct policy *p, const struct filter_arch *arch, int probes, uint64_t *state)
{
	AUTO(filter_done) struct filter f = {0};
	struct err e = {0};

	if (filter_build_for(p, arch, &f, &e) < 0)
		return CHECK_EQ(e.kind, ERR_LIMIT);
	if (!CHECK_STREQ(bpf_sim_check(f.insns, f.len), NULL))
		return false;
	for (int i = 0; i < probes; i++) {
		struct seccomp_data d = policy_ref_probe(p, arch, next_random, state);
		uint32_t want = policy_ref_verdict(p, arch, &d), got = bpf_sim_run(f.insns, f.len, &d, NULL);

		if (got == want)
			continue;
		FAIL("%zu rules, call %d, arch 0x%x: 0x%x, not 0x%x", p->n_rules, d.nr, d.arch, got, want);
		return false;
	}
	return true;
}

TEST(random_policies_are_compiled_as_their_rules_read)
{
	const struct filter_arch *arch = filter_arch_find("x86_64");
	uint64_t state = 2463534242;

	for (size_t round = 0; round < 300; round++) {
		static struct policy_rule rules[200];
		struct policy p = {
			.file = "random",
			.rules = rules,
			.n_rules = round % 10 == 0 ? 200 : round % 40,
			.default_action = (enum policy_action)(round % 6),
			.default_errno = EPERM,
			.new_enosys = round & 1,
		};

		for (size_t i = 0; i < p.n_rules; i++)
			rules[i] = random_rule(arch, i, &state);
		if (!agree(&p, arch, 300, &state))
			return;
	}
}

/* A program of several thousand instructions: conditional jumps reach 255, so the far ones take a detour. */
TEST(long_programs_jump_right)
{
	const struct filter_arch *arch = filter_arch_find("x86_64");
	uint64_t state = 362436069;

	for (size_t n = 20; n <= 260; n += 40) {
		static struct policy_rule rules[260];
		struct policy p = {.file = "long", .rules = rules, .n_rules = n, .default_action = POLICY_TRAP};

		for (size_t i = 0; i < n; i++) {
			rules[i] = (struct policy_rule){.name = i % 2 ? "read" : "write",
							.action = POLICY_ERRNO,
							.errno_ret = (uint16_t)(i % 150)};
			for (unsigned a = 0; a < 4; a++)
				rules[i].args[rules[i].n_args++] = random_arg(a, &state);
		}
		if (!agree(&p, arch, 2000, &state))
			return;
	}
}

TEST(the_simulator_refuses_what_the_kernel_refuses)
{
	static const struct sock_filter load_odd[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 2),
						      BPF_STMT(BPF_RET | BPF_K, 0)};
	static const struct sock_filter load_far[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 64),
						      BPF_STMT(BPF_RET | BPF_K, 0)};
	static const struct sock_filter half[] = {BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 0), BPF_STMT(BPF_RET | BPF_K, 0)};
	static const struct sock_filter jump[] = {BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0),
						  BPF_STMT(BPF_RET | BPF_K, 0)};
	static const struct sock_filter away[] = {BPF_STMT(BPF_JMP | BPF_JA, 1), BPF_STMT(BPF_RET | BPF_K, 0)};
	static const struct sock_filter open_end[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0)};
	static const struct sock_filter zero[] = {BPF_STMT(BPF_ALU | BPF_DIV | BPF_K, 0), BPF_STMT(BPF_RET | BPF_K, 0)};
	static const struct sock_filter good[] = {BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 1, 0, 0),
						  BPF_STMT(BPF_RET | BPF_K, 0)};

	CHECK_CONTAINS(bpf_sim_check(load_odd, 2), "outside seccomp_data");
	CHECK_CONTAINS(bpf_sim_check(load_far, 2), "outside seccomp_data");
	CHECK_CONTAINS(bpf_sim_check(half, 2), "unknown instruction");
	CHECK_CONTAINS(bpf_sim_check(jump, 2), "out of the program");
	CHECK_CONTAINS(bpf_sim_check(away, 2), "out of the program");
	CHECK_CONTAINS(bpf_sim_check(open_end, 1), "does not return");
	CHECK_CONTAINS(bpf_sim_check(zero, 2), "division");
	CHECK_CONTAINS(bpf_sim_check(good, 0), "no instructions");
	CHECK_STREQ(bpf_sim_check(good, 2), NULL);
}
