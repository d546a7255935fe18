/* "linux.seccomp": config-linux.md, "Seccomp", as engines write it: names that exist nowhere are skipped there, and several
 * conditions on one argument are alternatives, as runc has it. */
#include "oci/config_tables.h"

#include <errno.h>
#include <linux/seccomp.h>

#define AT(member) offsetof(struct ct_seccomp, member)

static const struct word action_words[] = {
	{"SCMP_ACT_ALLOW", POLICY_ALLOW},
	{"SCMP_ACT_ERRNO", POLICY_ERRNO},
	{"SCMP_ACT_TRAP", POLICY_TRAP},
	{"SCMP_ACT_KILL", POLICY_KILL_THREAD},
	{"SCMP_ACT_KILL_THREAD", POLICY_KILL_THREAD},
	{"SCMP_ACT_KILL_PROCESS", POLICY_KILL_PROCESS},
	{"SCMP_ACT_LOG", POLICY_LOG},
	{"SCMP_ACT_TRACE", POLICY_TRACE},
	{"SCMP_ACT_NOTIFY", POLICY_NOTIFY},
};
const struct words seccomp_actions = {action_words, ARRAY_LEN(action_words), "action"};

static const struct word op_words[] = {
	{"SCMP_CMP_NE", POLICY_NE},
	{"SCMP_CMP_LT", POLICY_LT},
	{"SCMP_CMP_LE", POLICY_LE},
	{"SCMP_CMP_EQ", POLICY_EQ},
	{"SCMP_CMP_GE", POLICY_GE},
	{"SCMP_CMP_GT", POLICY_GT},
	{"SCMP_CMP_MASKED_EQ", POLICY_MASKED_EQ},
};
const struct words seccomp_ops = {op_words, ARRAY_LEN(op_words), "comparison"};

static const struct word flag_words[] = {
	{"SECCOMP_FILTER_FLAG_TSYNC", SECCOMP_FILTER_FLAG_TSYNC},
	{"SECCOMP_FILTER_FLAG_LOG", SECCOMP_FILTER_FLAG_LOG},
	{"SECCOMP_FILTER_FLAG_SPEC_ALLOW", SECCOMP_FILTER_FLAG_SPEC_ALLOW},
	{"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV},
};
const struct words seccomp_flags = {flag_words, ARRAY_LEN(flag_words), "flag"};

static const struct word arch_words[] = {
	{"SCMP_ARCH_X86", POLICY_ARCH_X86},
	{"SCMP_ARCH_X86_64", POLICY_ARCH_X86_64},
	{"SCMP_ARCH_X32", POLICY_ARCH_X32},
	{"SCMP_ARCH_ARM", POLICY_ARCH_ARM},
	{"SCMP_ARCH_AARCH64", POLICY_ARCH_AARCH64},
	/* Known, and of no machine that fsbox-oci runs on. */
	{"SCMP_ARCH_MIPS", 0},
	{"SCMP_ARCH_MIPS64", 0},
	{"SCMP_ARCH_MIPS64N32", 0},
	{"SCMP_ARCH_MIPSEL", 0},
	{"SCMP_ARCH_MIPSEL64", 0},
	{"SCMP_ARCH_MIPSEL64N32", 0},
	{"SCMP_ARCH_PPC", 0},
	{"SCMP_ARCH_PPC64", 0},
	{"SCMP_ARCH_PPC64LE", 0},
	{"SCMP_ARCH_S390", 0},
	{"SCMP_ARCH_S390X", 0},
	{"SCMP_ARCH_PARISC", 0},
	{"SCMP_ARCH_PARISC64", 0},
	{"SCMP_ARCH_RISCV64", 0},
	{"SCMP_ARCH_LOONGARCH64", 0},
	{"SCMP_ARCH_M68K", 0},
	{"SCMP_ARCH_SH", 0},
	{"SCMP_ARCH_SHEB", 0},
};
const struct words seccomp_archs = {arch_words, ARRAY_LEN(arch_words), "architecture"};

static int read_errno(struct reader *r, const struct field *f, const struct json *v, const struct json_path *here,
		      void *to)
{
	const struct field bounded = {.key = f->key, .min = 0, .max = 4095};
	int64_t n = 0;
	int rc = field_i64(r, &bounded, v, here, &n);

	if (rc == 0)
		*(uint16_t *)to = (uint16_t)n;
	return rc;
}

/* ---- One entry of "syscalls" ---- */

struct group {
	const char **names;
	int action;
	uint16_t errno_ret;
	struct arg {
		int64_t index;
		uint64_t value, value_two;
		int op;
	} * args;
	size_t n_args;
};

static const struct field arg_fields[] = {
	{"index", field_i64, offsetof(struct arg, index), NULL, true, .min = 0, .max = POLICY_MAX_ARGS - 1},
	{"value", field_u64, offsetof(struct arg, value), NULL, true},
	{"valueTwo", field_u64, offsetof(struct arg, value_two)},
	{"op", field_word, offsetof(struct arg, op), &seccomp_ops, true},
};
TABLE(arg_table, arg_fields, struct arg);

static const struct field group_fields[] = {
	{"names", field_texts, offsetof(struct group, names), NULL, true},
	{"action", field_word, offsetof(struct group, action), &seccomp_actions, true},
	{"errnoRet", read_errno, offsetof(struct group, errno_ret)},
	{"args", field_objects, offsetof(struct group, args), &arg_table},
};
TABLE(group_table, group_fields, struct group);

/* "When the action doesn't support an errno, the runtime MUST print and error and fail." */
static bool takes_errno(int action)
{
	return action == POLICY_ERRNO || action == POLICY_TRACE;
}

static bool given(const struct json *object, const char *key)
{
	const struct json *v = json_member(object, key);

	return v && json_type_of(v) != JSON_NULL;
}

int seccomp_check_default(const struct reader *r, const struct json *v, const struct json_path *here, int action)
{
	const struct json_path at = {.up = here, .key = "defaultErrnoRet"};

	if (takes_errno(action) || !given(v, "defaultErrnoRet"))
		return 0;
	return json_err(r->e, r->doc, &at, "the default action has no error number");
}

static int check_group(const struct reader *r, const struct json *v, const struct json_path *here, struct group *g)
{
	const struct json_path names = {.up = here, .key = "names"}, number = {.up = here, .key = "errnoRet"};

	if (!g->names[0])
		return json_err(r->e, r->doc, &names, "at least one name is needed");
	if (!given(v, "errnoRet"))
		g->errno_ret = EPERM;
	else if (!takes_errno(g->action))
		return json_err(r->e, r->doc, &number, "the action of this entry has no error number");
	return 0;
}

static struct policy_arg as_policy(const struct arg *a)
{
	return (struct policy_arg){.index = (unsigned)a->index,
				   .op = (enum policy_op)a->op,
				   .value = a->value,
				   .value_two = a->value_two & (a->op == POLICY_MASKED_EQ ? a->value : UINT64_MAX)};
}

static bool index_twice(const struct group *g)
{
	for (size_t i = 0; i < g->n_args; i++)
		for (size_t j = 0; j < i; j++)
			if (g->args[i].index == g->args[j].index)
				return true;
	return false;
}

static void add_rules(struct policy *p, const struct group *g, const char *name, size_t group)
{
	const bool alternatives = index_twice(g);
	struct policy_rule rule = {.name = name,
				   .action = (enum policy_action)g->action,
				   .errno_ret = g->errno_ret,
				   .group = group};

	if (!alternatives) {
		for (size_t i = 0; i < g->n_args; i++)
			rule.args[rule.n_args++] = as_policy(&g->args[i]);
		p->rules[p->n_rules++] = rule;
		return;
	}
	for (size_t i = 0; i < g->n_args; i++) {
		rule.n_args = 1;
		rule.args[0] = as_policy(&g->args[i]);
		p->rules[p->n_rules++] = rule;
	}
}

static size_t count_rules(const struct group *g)
{
	size_t n = 0;

	while (g->names[n])
		n++;
	return n * (index_twice(g) ? g->n_args : 1);
}

static int read_groups(struct reader *r, const struct field *f, const struct json *v, const struct json_path *here,
		       void *to)
{
	struct policy *p = to;
	struct {
		struct group *at;
		size_t n;
	} groups = {0};
	size_t n = 0;
	int rc;

	rc = field_objects(r, f, v, here, &groups);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < groups.n; i++)
		n += count_rules(&groups.at[i]);
	if (n > (size_t)8 * POLICY_MAX_RULES)
		return json_err(r->e, r->doc, here, "%zu rules: at most %d are taken", n, 8 * POLICY_MAX_RULES);
	p->rules = reader_alloc(r, (n + 1) * sizeof *p->rules);
	if (!p->rules)
		return -ENOMEM;
	for (size_t i = 0; i < groups.n; i++) {
		const struct json_path at = {.up = here, .index = i};
		struct group *g = &groups.at[i];

		if (g->n_args > POLICY_MAX_ARGS && !index_twice(g))
			return json_err(r->e, r->doc, &at, "too many conditions");
		rc = check_group(r, json_at(v, i), &at, g);
		if (rc < 0)
			return rc;
		for (size_t j = 0; g->names[j]; j++)
			add_rules(p, g, g->names[j], i);
	}
	return 0;
}

static const struct field seccomp_fields[] = {
	{"defaultAction", field_word, AT(policy.default_action), &seccomp_actions, true},
	{"defaultErrnoRet", read_errno, AT(policy.default_errno)},
	{"architectures", field_bits, AT(policy.archs), &seccomp_archs},
	{"flags", field_bits, AT(policy.flags), &seccomp_flags},
	{"listenerPath", field_path, AT(listener_path)},
	{"listenerMetadata", field_text, AT(listener_metadata)},
	{"syscalls", read_groups, AT(policy), &group_table},
};
const struct table seccomp_table = {seccomp_fields, ARRAY_LEN(seccomp_fields), sizeof(struct ct_seccomp)};
