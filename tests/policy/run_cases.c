/* Verdicts of the policies in policies/ by their .cases files, on a simulated machine. The form of the cases is told at
 * the head of policies/default.cases. */
#include "tests/lib/tap.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "confine/filter.h"
#include "tests/lib/bpf_sim.h"
#include "tests/lib/policy_ref.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include <linux/audit.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

/* clang-format off */
#define N(name) {#name, (uint64_t)(name)}
static const struct {
	const char *name;
	uint64_t value;
} constants[] = {
	N(AT_FDCWD), N(AT_EMPTY_PATH), N(AT_SYMLINK_NOFOLLOW), N(O_RDONLY), N(O_WRONLY), N(O_CREAT),
	N(F_DUPFD), N(F_GETFD), N(F_GETFL), N(F_SETFL), N(PROT_READ), N(PROT_WRITE), N(PROT_EXEC),
	N(MAP_PRIVATE), N(MAP_ANONYMOUS), N(MAP_NORESERVE), N(S_IFIFO), N(S_IFREG), N(S_IFSOCK),
	N(S_IFCHR), N(S_IFBLK), N(CLONE_VM), N(CLONE_FS), N(CLONE_FILES), N(CLONE_SIGHAND),
	N(CLONE_THREAD), N(CLONE_SYSVSEM), N(CLONE_SETTLS), N(CLONE_PARENT_SETTID),
	N(CLONE_CHILD_SETTID), N(CLONE_CHILD_CLEARTID), N(CLONE_VFORK), N(CLONE_NEWUSER),
	N(CLONE_NEWNS), N(CLONE_NEWPID), N(CLONE_NEWNET), N(CLONE_NEWIPC), N(CLONE_NEWUTS),
	N(CLONE_NEWCGROUP), N(SIGCHLD), N(SIGABRT), N(AF_UNIX), N(AF_INET), N(AF_INET6), N(AF_NETLINK),
	N(AF_PACKET), N(AF_VSOCK), N(AF_ALG), N(AF_BLUETOOTH), N(AF_TIPC), N(AF_RDS), N(AF_KCM),
	N(AF_XDP), N(AF_CAN), N(SOCK_STREAM), N(SOCK_DGRAM), N(SOCK_RAW), N(SOCK_SEQPACKET),
	N(SOCK_CLOEXEC), N(SOCK_NONBLOCK), N(IPPROTO_TCP), N(IPPROTO_UDP), N(IPPROTO_ICMP),
	N(IPPROTO_SCTP), N(IPPROTO_MPTCP), N(NETLINK_ROUTE), N(NETLINK_NETFILTER),
	N(NETLINK_KOBJECT_UEVENT), N(TCGETS), N(FIONREAD), N(FIOCLEX), N(TIOCSTI), N(TIOCLINUX),
	N(TIOCSETD),
};
#undef N
/* clang-format on */

/* A policy with its filters for both architectures. */
struct subject {
	const char *name;
	struct policy *policy;
	const struct filter_arch *arch[2];
	struct filter filter[2];
};

static void subject_done(struct subject *s)
{
	for (size_t i = 0; i < ARRAY_LEN(s->filter); i++)
		filter_done(&s->filter[i]);
	policy_free(s->policy);
}

static bool read_file(const char *name, const char *suffix, char **ret_text, size_t *ret_len)
{
	const char *root = secure_getenv("FSBOX_SRC");
	char path[512];

	(void)snprintf(path, sizeof path, "%s/policies/%s%s", root ? root : ".", name, suffix);
	if (access(path, R_OK) < 0)
		(void)snprintf(path, sizeof path, "%s/policies/profiles/%s%s", root ? root : ".", name, suffix);
	AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
	return CHECK(fd >= 0) && CHECK(fd_read_all(fd, 1 << 20, ret_text, ret_len) == 0);
}

static bool subject_init(struct subject *s, const char *name)
{
	AUTO_FREE char *text = NULL;
	struct err e = {0};
	size_t len;

	*s = (struct subject){.name = name};
	s->arch[0] = filter_arch_find("x86_64");
	s->arch[1] = filter_arch_find("aarch64");
	if (!read_file(name, ".json", &text, &len) || !CHECK_OK(policy_read(name, text, len, &s->policy, &e), &e))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(s->filter); i++) {
		if (!CHECK_OK(filter_build_for(s->policy, s->arch[i], &s->filter[i], &e), &e))
			return false;
		if (s->filter[i].len > 0 && !CHECK_STREQ(bpf_sim_check(s->filter[i].insns, s->filter[i].len), NULL))
			return false;
	}
	return true;
}

static uint32_t verdict_of(const struct filter *f, const struct seccomp_data *d)
{
	return f->len == 0 ? SECCOMP_RET_ALLOW : bpf_sim_run(f->insns, f->len, d, NULL);
}

/* ---- Cases ---- */

struct call_case {
	int line;
	const char *text;
	const char *name; /* NULL when given by number */
	int nr;
	uint32_t audit; /* 0: that of the filter */
	bool x32;
	uint64_t args[6];
	bool fixed[6];
	const char *want;
};

/* Decimal or 0x…, octal with a leading 0 as in modes, and -1 with its kin. */
static bool parse_number(const char *s, uint64_t *ret)
{
	static const char digits[] = "0123456789abcdef";
	bool negative = *s == '-';
	unsigned base;

	s += negative;
	base = strncmp(s, "0x", 2) == 0 ? 16 : s[0] == '0' && s[1] ? 8 : 10;
	s += base == 16 ? 2 : 0;
	if (*s == '\0')
		return false;
	for (*ret = 0; *s; s++) {
		const char *digit = strchr(digits, *s);

		if (!digit || (unsigned)(digit - digits) >= base)
			return false;
		*ret = *ret * base + (unsigned)(digit - digits);
	}
	*ret = negative ? -*ret : *ret;
	return true;
}

static bool parse_value(char *word, uint64_t *ret)
{
	char *save = NULL;

	*ret = 0;
	for (char *part = strtok_r(word, "|", &save); part; part = strtok_r(NULL, "|", &save)) {
		uint64_t v = 0;
		bool known = parse_number(part, &v);

		for (size_t i = 0; !known && i < ARRAY_LEN(constants); i++)
			if ((known = strcmp(constants[i].name, part) == 0))
				v = constants[i].value;
		if (!known)
			return false;
		*ret |= v;
	}
	return true;
}

static bool parse_arch(const char *word, struct call_case *c)
{
	c->audit = AUDIT_ARCH_X86_64;
	c->x32 = strcmp(word, "x32") == 0;
	if (strcmp(word, "i386") == 0)
		c->audit = AUDIT_ARCH_I386;
	else if (strcmp(word, "aarch64") == 0)
		c->audit = AUDIT_ARCH_AARCH64;
	else
		return c->x32;
	return true;
}

/* Cuts @line into @c; it keeps pointers into it. */
static bool parse_case(char *line, struct call_case *c)
{
	char *arrow = strstr(line, " -> "), *save = NULL, *word;
	uint64_t nr;

	if (!arrow)
		return false;
	*arrow = '\0';
	c->want = arrow + strlen(" -> ");
	word = strtok_r(line, " ", &save);
	if (word && strncmp(word, "arch:", 5) == 0) {
		if (!parse_arch(word + 5, c))
			return false;
		word = strtok_r(NULL, " ", &save);
	}
	if (!word)
		return false;
	if (strncmp(word, "nr:", 3) == 0) {
		if (!parse_number(word + 3, &nr))
			return false;
		c->nr = (int)(uint32_t)nr;
	} else {
		c->name = word;
	}
	for (size_t i = 0; (word = strtok_r(NULL, " ", &save)); i++) {
		if (i == 6)
			return false;
		c->fixed[i] = strcmp(word, "*") != 0;
		if (c->fixed[i] && !parse_value(word, &c->args[i]))
			return false;
	}
	return true;
}

/* What "any" is tried with. */
static const uint64_t anything[] = {
	0, 1, UINT64_MAX, UINT32_MAX, UINT64_C(0x5555555555555555), UINT64_C(0xdeadbeef00000000), UINT64_C(1) << 63,
};

static bool check_on(const struct subject *s, size_t target, const struct call_case *c, int nr)
{
	struct seccomp_data d = {.nr = nr, .arch = c->audit ? c->audit : s->arch[target]->audit};
	const char *want = strcmp(c->want, "kill") == 0 ? "kill process" : c->want;

	if (c->x32)
		d.nr |= 0x40000000;
	for (size_t any = 0; any < ARRAY_LEN(anything); any++) {
		for (size_t i = 0; i < 6; i++)
			d.args[i] = c->fixed[i] ? c->args[i] : anything[any];

		const char *got = bpf_sim_verdict(verdict_of(&s->filter[target], &d));
		if (strcmp(got, want) == 0)
			continue;
		FAIL("%s.cases:%d: %s: on %s with * as 0x%llx: %s, not %s", s->name, c->line, c->text,
		     s->arch[target]->name, (unsigned long long)anything[any], got, want);
		return false;
	}
	return true;
}

static void run_case(const struct subject *s, const struct call_case *c)
{
	bool tried = false;

	if (!c->name || c->audit) {
		int nr = c->name ? filter_call_number(s->arch[0], c->name) : c->nr;

		if (c->name && nr < 0)
			FAIL("%s.cases:%d: no call '%s'", s->name, c->line, c->name);
		else
			(void)check_on(s, 0, c, nr);
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(s->filter); i++) {
		int nr = filter_call_number(s->arch[i], c->name);

		if (nr >= 0 && !check_on(s, i, c, nr))
			return;
		tried = tried || nr >= 0;
	}
	if (!tried)
		FAIL("%s.cases:%d: no call '%s'", s->name, c->line, c->name);
}

static size_t run_cases(const struct subject *s)
{
	AUTO_FREE char *text = NULL;
	size_t len, n = 0;
	int number = 0;

	if (!read_file(s->name, ".cases", &text, &len))
		return 0;
	for (char *line = text, *end; line && *line; line = end) {
		char original[400];
		struct call_case c = {.line = ++number, .text = original};

		end = strchr(line, '\n');
		if (end)
			*end++ = '\0';
		if (line[0] == '#' || line[0] == '\0')
			continue;
		(void)snprintf(original, sizeof original, "%s", line);
		n++;
		if (parse_case(line, &c))
			run_case(s, &c);
		else
			FAIL("%s.cases:%d: cannot be read: %s", s->name, c.line, original);
	}
	tap_note("%s: %zu cases; %zu instructions on x86_64, %zu on aarch64", s->name, n, s->filter[0].len,
		 s->filter[1].len);
	return n;
}

TEST(default_answers_as_its_cases_say)
{
	AUTO(subject_done) struct subject s = {0};

	REQUIRE(subject_init(&s, "default"));
	CHECK_GE(run_cases(&s), 150U);
	CHECK(!s.filter[0].runtime_stage);
}

TEST(strict_answers_as_its_cases_say)
{
	AUTO(subject_done) struct subject s = {0};

	REQUIRE(subject_init(&s, "strict"));
	CHECK_GE(run_cases(&s), 60U);
	CHECK(s.filter[0].runtime_stage);
}

TEST(profiles_answer_as_their_cases_say)
{
	static const struct {
		const char *name;
		bool after_init;
	} profiles[] = {{"python", true}, {"node", true}, {"custom", false}};

	for (size_t i = 0; i < ARRAY_LEN(profiles); i++) {
		AUTO(subject_done) struct subject s = {0};

		REQUIRE(subject_init(&s, profiles[i].name));
		CHECK_GE(run_cases(&s), 40U);
		CHECK_EQ(s.filter[0].runtime_stage, profiles[i].after_init);
	}
}

TEST(none_is_no_filter)
{
	AUTO(subject_done) struct subject s = {0};

	REQUIRE(subject_init(&s, "none"));
	CHECK(run_cases(&s) > 0);
	CHECK_EQ(s.filter[0].len, 0U);
	CHECK(s.policy->none);
}

/* ---- The policies as a whole ---- */

enum { LAST_NUMBER = 600 };

static bool named_in(const struct policy *p, const char *name, enum policy_action *ret_action, bool *ret_conditional)
{
	bool found = false;

	*ret_conditional = false;
	for (size_t i = 0; i < p->n_rules; i++) {
		if (strcmp(p->rules[i].name, name) != 0)
			continue;
		*ret_conditional = *ret_conditional || p->rules[i].n_args > 0;
		*ret_action = p->rules[i].action;
		found = true;
	}
	return found;
}

TEST(default_decides_every_known_call_by_name)
{
	AUTO(subject_done) struct subject s = {0};
	size_t calls = 0;

	REQUIRE(subject_init(&s, "default"));
	for (int nr = 0; nr <= filter_call_number(s.arch[0], "set_mempolicy_home_node"); nr++) {
		char name[CALL_NAME_ROOM];
		enum policy_action action;
		bool conditional;

		if (!filter_call_name(s.arch[0], nr, name))
			continue;
		calls++;
		if (!named_in(s.policy, name, &action, &conditional))
			FAIL("%s (%d) is not named in default.json", name, nr);
	}
	CHECK_GE(calls, 350U);
}

TEST(the_filter_allows_exactly_the_calls_that_the_policy_allows)
{
	static const char *const names[] = {"default", "strict", "python", "node", "custom"};

	for (size_t n = 0; n < ARRAY_LEN(names); n++) {
		AUTO(subject_done) struct subject s = {0};

		REQUIRE(subject_init(&s, names[n]));
		for (size_t t = 0; t < 2; t++) {
			for (int nr = 0; nr < LAST_NUMBER; nr++) {
				struct seccomp_data d = {.nr = nr, .arch = s.arch[t]->audit};
				enum policy_action action = s.policy->default_action;
				char name[CALL_NAME_ROOM];
				bool conditional = false, known = filter_call_name(s.arch[t], nr, name) &&
								  named_in(s.policy, name, &action, &conditional);
				uint32_t v = verdict_of(&s.filter[t], &d);

				CHECK_STRNE(bpf_sim_verdict(v), "unknown");
				if (!known) /* a number without a name is what no rule is about */
					action = s.policy->default_action == POLICY_ALLOW ? POLICY_ALLOW : POLICY_TRAP;
				if (!conditional && (v == SECCOMP_RET_ALLOW) != (action == POLICY_ALLOW))
					FAIL("%s on %s: %d: %s", names[n], s.arch[t]->name, nr, bpf_sim_verdict(v));
			}
		}
	}
}

static uint64_t next_random(void *state)
{
	uint64_t *x = state; /* xorshift64: the same calls in every run */

	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

TEST(the_filters_agree_with_a_reading_of_their_rules)
{
	static const char *const names[] = {"default", "strict", "python", "node", "custom", "none"};
	uint64_t state = 88172645463325252;

	for (size_t n = 0; n < ARRAY_LEN(names); n++) {
		AUTO(subject_done) struct subject s = {0};

		REQUIRE(subject_init(&s, names[n]));
		for (int i = 0; i < 20000; i++) {
			size_t t = (size_t)i & 1;
			struct seccomp_data d = policy_ref_probe(s.policy, s.arch[t], next_random, &state);
			uint32_t want = policy_ref_verdict(s.policy, s.arch[t], &d);

			if (!CHECK_EQ(verdict_of(&s.filter[t], &d), want))
				return;
		}
	}
}

TEST(the_built_in_filters_are_the_compiled_files)
{
	for (const char *const *name = filter_builtin_names(); *name; name++) {
		AUTO(subject_done) struct subject s = {0};
		AUTO(filter_done) struct filter mine = {0};
		struct filter builtin;
		struct err e = {0};

		REQUIRE(subject_init(&s, *name));
		REQUIRE(filter_builtin(*name, &builtin));
		REQUIRE_OK(filter_build(s.policy, &mine, &e), &e);
		REQUIRE(CHECK_EQ(builtin.len, mine.len));
		CHECK_EQ(builtin.runtime_stage, mine.runtime_stage);
		if (mine.len > 0)
			CHECK_MEMEQ(builtin.insns, mine.insns, mine.len * sizeof *mine.insns);
		filter_done(&builtin); /* static: nothing is freed */
	}
}

TEST(the_filters_are_short_and_answer_fast)
{
	static const char *const names[] = {"default", "strict", "python", "node", "custom"};

	for (size_t n = 0; n < ARRAY_LEN(names); n++) {
		AUTO(subject_done) struct subject s = {0};
		unsigned worst = 0;

		REQUIRE(subject_init(&s, names[n]));
		CHECK_LE(s.filter[0].len, 256U);
		for (int nr = 0; nr < LAST_NUMBER; nr++) {
			struct seccomp_data d = {.nr = nr, .arch = s.arch[0]->audit};
			unsigned steps = 0;

			(void)bpf_sim_run(s.filter[0].insns, s.filter[0].len, &d, &steps);
			if (nr != filter_call_number(s.arch[0], "socket"))
				worst = steps > worst ? steps : worst;
		}
		tap_note("%s: at most %u instructions are executed, but for socket()", names[n], worst);
		CHECK_LE(worst, 24U);
	}
}

TEST(a_policy_is_compiled_in_less_than_a_millisecond)
{
	AUTO(subject_done) struct subject s = {0};
	uint64_t best = UINT64_MAX;

	REQUIRE(subject_init(&s, "default"));
	for (int i = 0; i < 50; i++) { /* the best of many: others use this machine too */
		AUTO(filter_done) struct filter f = {0};
		uint64_t from = clock_mono_ns();
		struct err e = {0};

		REQUIRE_OK(filter_build(s.policy, &f, &e), &e);
		best = clock_mono_ns() - from < best ? clock_mono_ns() - from : best;
	}
	tap_note("default.json: %" PRIu64 " us for %zu rules", best / 1000, s.policy->n_rules);
	CHECK_LT(best, NS_PER_MS);
}
