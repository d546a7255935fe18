#include "spec/policy.h"

#include "spec/policy_json.h"

#include <errno.h>

enum {
	MAX_ERRNO = 4095, /* the kernel cuts off what lies above (seccomp(2), SECCOMP_RET_ERRNO) */
	MAX_NAME = 63,
};

/* A group of the text ("syscalls" entry) before it becomes one rule for each of its names. */
struct group {
	const struct json *names;
	enum policy_action action;
	bool has_errno;
	uint16_t errno_ret;
	size_t n_args;
	struct policy_arg args[POLICY_MAX_ARGS];
};

struct top {
	bool has_errno;
};

/* ---- Actions ---- */

static int read_errno(struct reader *r, const struct json *v, const struct json_path *here, uint16_t *ret)
{
	uint64_t n;
	int rc = pol_read_number(r, v, here, MAX_ERRNO, &n);

	if (rc == 0)
		*ret = (uint16_t)n;
	return rc;
}

static const struct word actions[] = {
	{"SCMP_ACT_ALLOW", POLICY_ALLOW, NULL},
	{"SCMP_ACT_ERRNO", POLICY_ERRNO, NULL},
	{"SCMP_ACT_TRAP", POLICY_TRAP, NULL},
	{"SCMP_ACT_KILL_PROCESS", POLICY_KILL_PROCESS, NULL},
	{"SCMP_ACT_KILL_THREAD", POLICY_KILL_THREAD, NULL},
	{"SCMP_ACT_KILL", POLICY_KILL_THREAD, NULL}, /* the older name of KILL_THREAD */
	{"SCMP_ACT_LOG", POLICY_LOG, NULL},
	{"SCMP_ACT_TRACE", 0, "a cell has no tracer, so each such call would fail with ENOSYS"},
	{"SCMP_ACT_NOTIFY", 0, "nobody would listen, so each such call would wait for ever"},
};

static int read_action(struct reader *r, const struct json *v, const struct json_path *here, enum policy_action *ret)
{
	int n = 0, rc = pol_read_word(r, v, here, actions, ARRAY_LEN(actions), &n);

	if (rc == 0)
		*ret = (enum policy_action)n;
	return rc;
}

/* ---- Conditions on arguments ---- */

static const struct word ops[] = {
	{"SCMP_CMP_NE", POLICY_NE, NULL},
	{"SCMP_CMP_LT", POLICY_LT, NULL},
	{"SCMP_CMP_LE", POLICY_LE, NULL},
	{"SCMP_CMP_EQ", POLICY_EQ, NULL},
	{"SCMP_CMP_GE", POLICY_GE, NULL},
	{"SCMP_CMP_GT", POLICY_GT, NULL},
	{"SCMP_CMP_MASKED_EQ", POLICY_MASKED_EQ, NULL},
};

static int read_arg_index(struct reader *r, const struct json *v, const struct json_path *here, void *out)
{
	struct policy_arg *arg = out;
	uint64_t n;
	int rc = pol_read_number(r, v, here, POLICY_MAX_ARGS - 1, &n);

	if (rc == 0)
		arg->index = (unsigned)n;
	return rc;
}

static int read_arg_value(struct reader *r, const struct json *v, const struct json_path *here, void *out)
{
	return pol_read_number(r, v, here, INT64_MAX, &((struct policy_arg *)out)->value);
}

static int read_arg_value_two(struct reader *r, const struct json *v, const struct json_path *here, void *out)
{
	return pol_read_number(r, v, here, INT64_MAX, &((struct policy_arg *)out)->value_two);
}

static int read_arg_op(struct reader *r, const struct json *v, const struct json_path *here, void *out)
{
	int n = 0, rc = pol_read_word(r, v, here, ops, ARRAY_LEN(ops), &n);

	if (rc == 0)
		((struct policy_arg *)out)->op = (enum policy_op)n;
	return rc;
}

static const struct key arg_keys[] = {
	{"index", read_arg_index, NULL, NULL, true},
	{"value", read_arg_value, NULL, NULL, true},
	{"valueTwo", read_arg_value_two, NULL, NULL, false},
	{"op", read_arg_op, NULL, NULL, true},
};

static int read_arg(struct reader *r, const struct json *v, const struct json_path *here, void *out)
{
	struct group *g = out;
	struct policy_arg arg = {0};
	int rc = pol_read_object(r, v, here, arg_keys, ARRAY_LEN(arg_keys), &arg);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < g->n_args; i++) {
		if (g->args[i].index != arg.index)
			continue;
		rc = json_err(r->e, r->doc, here, "a second condition on argument %u", arg.index);
		return err_hint(r->e, rc,
				"engines disagree whether both or either must hold; write two groups for 'either'");
	}
	if (arg.op != POLICY_MASKED_EQ && arg.value_two != 0)
		return json_err(r->e, r->doc, here, "'valueTwo' belongs to SCMP_CMP_MASKED_EQ only");
	if (arg.op == POLICY_MASKED_EQ && (arg.value_two & ~arg.value) != 0) {
		rc = json_err(r->e, r->doc, here, "never true: 'valueTwo' has bits that the mask 'value' lacks");
		return err_hint(r->e, rc, "'value' is the mask, 'valueTwo' what the masked argument must equal");
	}
	g->args[g->n_args++] = arg; /* at most one for each index, so at most POLICY_MAX_ARGS */
	return 0;
}

/* ---- Groups ---- */

static int read_group_names(struct reader *r, const struct json *v, const struct json_path *here, void *out)
{
	if (json_type_of(v) != JSON_ARRAY)
		return pol_wrong_type(r, v, here, "an array of names");
	if (json_length(v) == 0)
		return json_err(r->e, r->doc, here, "no system call is named");
	((struct group *)out)->names = v;
	return 0;
}

static int read_group_action(struct reader *r, const struct json *v, const struct json_path *here, void *out)
{
	return read_action(r, v, here, &((struct group *)out)->action);
}

static int read_group_errno(struct reader *r, const struct json *v, const struct json_path *here, void *out)
{
	((struct group *)out)->has_errno = true;
	return read_errno(r, v, here, &((struct group *)out)->errno_ret);
}

static int read_group_args(struct reader *r, const struct json *v, const struct json_path *here, void *out)
{
	if (json_type_of(v) == JSON_NULL) /* as Go writes an empty list */
		return 0;
	return pol_read_each(r, v, here, read_arg, out);
}

#define DOCKER_RULE "it belongs to the profile form of Docker and Podman, which depends on the container"
#define DOCKER_FIX \
	"use the profile as an engine resolved it: linux.seccomp in the config.json of a container, or drop the key"

static const struct key group_keys[] = {
	{"names", read_group_names, NULL, NULL, true},
	{"action", read_group_action, NULL, NULL, true},
	{"errnoRet", read_group_errno, NULL, NULL, false},
	{"args", read_group_args, NULL, NULL, false},
	{"comment", pol_read_comment, NULL, NULL, false},
	{"includes", NULL, DOCKER_RULE, DOCKER_FIX, false},
	{"excludes", NULL, DOCKER_RULE, DOCKER_FIX, false},
	{"name", NULL, "it is an older form", "write \"names\": [...] instead", false},
};

static bool is_call_name(const char *s)
{
	size_t n = strlen(s);

	return n > 0 && n <= MAX_NAME &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == n;
}

static int add_rule(struct reader *r, const struct json *v, const struct json_path *here, const struct group *g)
{
	const char *name = NULL;
	int rc = pol_read_text(r, v, here, &name);

	if (rc < 0)
		return rc;
	if (!is_call_name(name))
		return json_err(r->e, r->doc, here, "'%.60s' cannot be the name of a system call", name);

	struct policy_rule *rule = &r->p->rules[r->p->n_rules];
	rule->name = arena_strdup(&r->p->arena, name);
	if (!rule->name)
		return err_oom(r->e);
	rule->action = g->action;
	rule->errno_ret = g->errno_ret;
	rule->n_args = g->n_args;
	memcpy(rule->args, g->args, sizeof rule->args);
	rule->group = here->up->up->index;
	r->p->n_rules++;
	return 0;
}

static int read_group(struct reader *r, const struct json *v, const struct json_path *here, void *out)
{
	struct group g = {.errno_ret = EPERM}; /* OCI: "the default value is EPERM" */
	struct json_path names = {.up = here, .key = "names"};
	int rc = pol_read_object(r, v, here, group_keys, ARRAY_LEN(group_keys), &g);

	(void)out;
	if (rc < 0)
		return rc;
	if (g.has_errno && g.action != POLICY_ERRNO)
		return json_err(r->e, r->doc, here, "'errnoRet' belongs to SCMP_ACT_ERRNO only");
	for (size_t i = 0; i < json_length(g.names); i++) {
		struct json_path at = {.up = &names, .index = i};

		rc = add_rule(r, json_at(g.names, i), &at, &g);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* Room for the rules of all groups, counted before any is read. */
static int make_room(struct reader *r, const struct json *groups, const struct json_path *here)
{
	size_t n = 0;

	for (size_t i = 0; i < json_length(groups); i++) {
		const struct json *g = json_at(groups, i);
		const struct json *names = json_type_of(g) == JSON_OBJECT ? json_member(g, "names") : NULL;

		n += names && json_type_of(names) == JSON_ARRAY ? json_length(names) : 0;
	}
	if (n > POLICY_MAX_RULES) {
		int rc = err_set(r->e, ERR_LIMIT, E2BIG, "%zu names in all groups: at most %d are taken", n,
				 POLICY_MAX_RULES);
		struct err place = {0};

		(void)json_err(&place, r->doc, here, "%s", "");
		return err_where(r->e, rc, "%s", place.where);
	}
	r->p->rules = arena_alloc(&r->p->arena, (n + 1) * sizeof *r->p->rules);
	return r->p->rules ? 0 : err_oom(r->e);
}

/* ---- Top level ---- */

static int read_default_action(struct reader *r, const struct json *v, const struct json_path *here, void *out)
{
	(void)out;
	return read_action(r, v, here, &r->p->default_action);
}

static int read_default_errno(struct reader *r, const struct json *v, const struct json_path *here, void *out)
{
	((struct top *)out)->has_errno = true;
	return read_errno(r, v, here, &r->p->default_errno);
}

static int read_arch(struct reader *r, const struct json *v, const struct json_path *here, void *out)
{
	static const char *const known[] = {
		"X86",    "X86_64",   "X32",         "ARM",         "AARCH64", "MIPS",    "MIPS64", "MIPS64N32",
		"MIPSEL", "MIPSEL64", "MIPSEL64N32", "PPC",         "PPC64",   "PPC64LE", "S390",   "S390X",
		"PARISC", "PARISC64", "RISCV64",     "LOONGARCH64", "M68K",    "SH",      "SHEB",
	};
	const char *s = NULL;
	int rc = pol_read_text(r, v, here, &s);

	(void)out;
	if (rc < 0)
		return rc;
	for (size_t i = 0; str_starts(s, "SCMP_ARCH_") && i < ARRAY_LEN(known); i++)
		if (strcmp(s + strlen("SCMP_ARCH_"), known[i]) == 0)
			return 0;
	return json_err(r->e, r->doc, here, "unknown architecture '%.60s'", s);
}

static int read_architectures(struct reader *r, const struct json *v, const struct json_path *here, void *out)
{
	return pol_read_each(r, v, here, read_arch, out);
}

static int read_flag(struct reader *r, const struct json *v, const struct json_path *here, void *out)
{
	static const struct word flags[] = {
		{"SECCOMP_FILTER_FLAG_TSYNC", 0, NULL}, /* always so: a cell's filter is there before its threads */
		{"SECCOMP_FILTER_FLAG_LOG", 0, "fsbox does not log refused calls; use SCMP_ACT_LOG for single ones"},
		{"SECCOMP_FILTER_FLAG_SPEC_ALLOW", 0, "a cell keeps the processor's speculation mitigations"},
		{"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", 0, "it belongs to notifications, which nobody would answer"},
	};
	int ignored;

	(void)out;
	return pol_read_word(r, v, here, flags, ARRAY_LEN(flags), &ignored);
}

static int read_flags(struct reader *r, const struct json *v, const struct json_path *here, void *out)
{
	return pol_read_each(r, v, here, read_flag, out);
}

static int read_syscalls(struct reader *r, const struct json *v, const struct json_path *here, void *out)
{
	int rc;

	if (json_type_of(v) == JSON_NULL)
		return 0;
	if (json_type_of(v) != JSON_ARRAY)
		return pol_wrong_type(r, v, here, "an array of groups");
	rc = make_room(r, v, here);
	return rc < 0 ? rc : pol_read_each(r, v, here, read_group, out);
}

static int read_new_calls(struct reader *r, const struct json *v, const struct json_path *here, void *out)
{
	static const struct word words[] = {{"ENOSYS", 1, NULL}, {"default", 0, NULL}};
	int n = 0, rc = pol_read_word(r, v, here, words, ARRAY_LEN(words), &n);

	(void)out;
	if (rc == 0)
		r->p->new_enosys = n;
	return rc;
}

static int read_stage(struct reader *r, const struct json *v, const struct json_path *here, void *out)
{
	static const struct word words[] = {{"spawn", 0, NULL}, {"runtime", 1, NULL}};
	int n = 0, rc = pol_read_word(r, v, here, words, ARRAY_LEN(words), &n);

	(void)out;
	if (rc == 0)
		r->p->runtime_stage = n;
	return rc;
}

static int read_fsbox(struct reader *r, const struct json *v, const struct json_path *here, void *out)
{
	static const struct key keys[] = {
		{"newSyscalls", read_new_calls, NULL, NULL, false},
		{"stage", read_stage, NULL, NULL, false},
		{"comment", pol_read_comment, NULL, NULL, false},
	};

	return pol_read_object(r, v, here, keys, ARRAY_LEN(keys), out);
}

#define NO_LISTENER     "fsbox passes no system call to another process"
#define NO_LISTENER_FIX "allow the call, or let it fail with SCMP_ACT_ERRNO"

static const struct key top_keys[] = {
	{"defaultAction", read_default_action, NULL, NULL, true},
	{"defaultErrnoRet", read_default_errno, NULL, NULL, false},
	{"architectures", read_architectures, NULL, NULL, false},
	{"flags", read_flags, NULL, NULL, false},
	{"syscalls", read_syscalls, NULL, NULL, false},
	{"fsbox", read_fsbox, NULL, NULL, false},
	{"comment", pol_read_comment, NULL, NULL, false},
	{"archMap", NULL, DOCKER_RULE, "drop the key: a filter is always made for the host's own architecture", false},
	{"listenerPath", NULL, NO_LISTENER, NO_LISTENER_FIX, false},
	{"listenerMetadata", NULL, NO_LISTENER, NO_LISTENER_FIX, false},
};

int policy_read(const char *file, const char *text, size_t len, struct policy **ret_policy, struct err *e)
{
	AUTO(json_doc_freep) struct json_doc *doc = NULL;
	AUTO(policy_freep) struct policy *p = NULL;
	struct top top = {0};
	int rc = json_parse(file, text, len, POLICY_MAX_BYTES, &doc, e);

	if (rc < 0)
		return rc;
	p = calloc(1, sizeof *p);
	if (!p)
		return err_oom(e);
	p->default_errno = EPERM;
	p->file = arena_strdup(&p->arena, file);
	if (!p->file)
		return err_oom(e);

	struct reader r = {.p = p, .doc = doc, .e = e};
	rc = pol_read_object(&r, json_doc_root(doc), NULL, top_keys, ARRAY_LEN(top_keys), &top);
	if (rc < 0)
		return rc;
	if (top.has_errno && p->default_action != POLICY_ERRNO)
		return json_err(e, doc, NULL, "'defaultErrnoRet' belongs to SCMP_ACT_ERRNO only");
	p->none = p->default_action == POLICY_ALLOW && p->n_rules == 0 && !p->new_enosys;
	*ret_policy = take_ptr(&p);
	return 0;
}

void policy_free(struct policy *p)
{
	if (!p)
		return;

	struct arena arena = p->arena;

	arena_done(&arena);
	free(p);
}
