/* The program is written from its end to its beginning: then every target of a jump is already there when the jump is
 * written, and "too far for eight bits" is seen at once. A label is an index counted from the end. */
#include "confine/filter_code.h"

#include "base/mem.h"

#include <errno.h>
#include <linux/seccomp.h>

enum { NEAR = 250 }; /* a conditional jump reaches 255; the rest is room for what is written between */

struct code {
	struct sock_filter *rev; /* rev[0] is the last instruction */
	size_t n, cap;
	bool failed;
	size_t recent[8]; /* labels of return instructions written lately, to be shared */
	size_t n_recent;
};

/* Numbers from @from up to the next span: the rules in turn, then the verdict. */
struct span {
	uint32_t from;
	uint32_t verdict;
	const struct filter_call *calls;
	size_t n_calls;
};

struct spans {
	struct span *at;
	size_t n;
};

uint32_t filter_verdict(enum policy_action action, uint16_t errno_ret)
{
	switch (action) {
	case POLICY_ALLOW:
		return SECCOMP_RET_ALLOW;
	case POLICY_ERRNO:
		return SECCOMP_RET_ERRNO | errno_ret;
	case POLICY_TRAP:
		return SECCOMP_RET_TRAP;
	case POLICY_KILL_THREAD:
		return SECCOMP_RET_KILL_THREAD;
	case POLICY_KILL_PROCESS:
		return SECCOMP_RET_KILL_PROCESS;
	case POLICY_LOG:
		return SECCOMP_RET_LOG;
	case POLICY_TRACE:
		return SECCOMP_RET_TRACE | errno_ret;
	case POLICY_NOTIFY:
		return SECCOMP_RET_USER_NOTIF;
	}
	abort(); /* not one of the enumerators */
}

/* ---- Instructions ---- */

static size_t emit(struct code *c, struct sock_filter insn)
{
	if (c->n == c->cap) {
		size_t cap = c->cap ? c->cap * 2 : 512;
		struct sock_filter *grown = c->failed ? NULL : realloc(c->rev, cap * sizeof *grown);

		if (!grown) {
			c->failed = true;
			c->n = 0; /* labels stay inside what there is; the result is thrown away */
			if (c->cap == 0)
				return 0;
		} else {
			c->rev = grown;
			c->cap = cap;
		}
	}
	c->rev[c->n] = insn;
	return c->n++;
}

static size_t emit_stmt(struct code *c, uint16_t op, uint32_t k)
{
	return emit(c, (struct sock_filter)BPF_STMT(op, k));
}

static size_t emit_return(struct code *c, uint32_t verdict)
{
	size_t label = emit_stmt(c, BPF_RET | BPF_K, verdict);

	c->recent[c->n_recent++ % ARRAY_LEN(c->recent)] = label;
	return label;
}

static bool is_near(const struct code *c, size_t label)
{
	return c->n - label <= NEAR;
}

/* A label that returns @verdict. */
static size_t returning(struct code *c, uint32_t verdict)
{
	for (size_t i = 0; i < ARRAY_LEN(c->recent) && i < c->n_recent; i++)
		if (c->recent[i] < c->n && is_near(c, c->recent[i]) && c->rev[c->recent[i]].k == verdict)
			return c->recent[i];
	return emit_return(c, verdict);
}

/* A label that leads to @label and can be reached by a conditional jump written next. */
static size_t near(struct code *c, size_t label)
{
	if (c->failed || is_near(c, label))
		return label;
	if (c->rev[label].code == (BPF_RET | BPF_K))
		return returning(c, c->rev[label].k);
	return emit_stmt(c, BPF_JMP | BPF_JA, (uint32_t)(c->n - label - 1));
}

static size_t emit_jump(struct code *c, uint16_t op, uint32_t k, size_t yes, size_t no)
{
	yes = near(c, yes);
	no = near(c, no); /* may write one more instruction: NEAR leaves room for it */
	return emit(c, (struct sock_filter)BPF_JUMP((uint16_t)(BPF_JMP | BPF_K | op), k, (uint8_t)(c->n - yes - 1),
						    (uint8_t)(c->n - no - 1)));
}

/* Loads a word of seccomp_data and goes on at @label. */
static size_t emit_load(struct code *c, size_t offset, size_t label)
{
	if (label + 1 != c->n) {
		if (c->failed || c->rev[label].code != (BPF_RET | BPF_K))
			(void)emit_stmt(c, BPF_JMP | BPF_JA, (uint32_t)(c->n - label - 1));
		else
			(void)emit_return(c, c->rev[label].k);
	}
	return emit_stmt(c, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset);
}

/* ---- Conditions ---- */

/* Arguments are 64 bits wide and the machine has 32; both architectures are little-endian. */
static size_t low_half(const struct policy_arg *a)
{
	return offsetof(struct seccomp_data, args) + a->index * sizeof(uint64_t);
}

static size_t high_half(const struct policy_arg *a)
{
	return low_half(a) + sizeof(uint32_t);
}

static size_t emit_half_equal(struct code *c, size_t offset, uint32_t mask, uint32_t want, size_t yes, size_t no)
{
	size_t label;

	if (mask == 0)
		return yes;
	label = emit_jump(c, BPF_JEQ, want, yes, no);
	if (mask != UINT32_MAX)
		label = emit_stmt(c, BPF_ALU | BPF_AND | BPF_K, mask);
	return emit_load(c, offset, label);
}

static size_t emit_equal(struct code *c, const struct policy_arg *a, uint64_t mask, uint64_t want, size_t yes,
			 size_t no)
{
	size_t low = emit_half_equal(c, low_half(a), (uint32_t)mask, (uint32_t)want, yes, no);

	return emit_half_equal(c, high_half(a), (uint32_t)(mask >> 32), (uint32_t)(want >> 32), low, no);
}

/* @low_op is BPF_JGT for "above", BPF_JGE for "at least". */
static size_t emit_above(struct code *c, const struct policy_arg *a, uint16_t low_op, size_t yes, size_t no)
{
	uint32_t high = (uint32_t)(a->value >> 32);
	size_t low = emit_load(c, low_half(a), emit_jump(c, low_op, (uint32_t)a->value, yes, no));
	size_t same = emit_jump(c, BPF_JEQ, high, low, no);

	return emit_load(c, high_half(a), emit_jump(c, BPF_JGT, high, yes, same));
}

static size_t emit_condition(struct code *c, const struct policy_arg *a, size_t yes, size_t no)
{
	switch (a->op) {
	case POLICY_EQ:
		return emit_equal(c, a, UINT64_MAX, a->value, yes, no);
	case POLICY_NE:
		return emit_equal(c, a, UINT64_MAX, a->value, no, yes);
	case POLICY_MASKED_EQ:
		return emit_equal(c, a, a->value, a->value_two, yes, no);
	case POLICY_GT:
		return emit_above(c, a, BPF_JGT, yes, no);
	case POLICY_GE:
		return emit_above(c, a, BPF_JGE, yes, no);
	case POLICY_LE:
		return emit_above(c, a, BPF_JGT, no, yes);
	case POLICY_LT:
		return emit_above(c, a, BPF_JGE, no, yes);
	}
	abort(); /* not one of the enumerators */
}

/* ---- Spans ---- */

/* Strictest first: the kernel's order of actions is that of the values, taken as signed. */
static int compare_calls(const void *a, const void *b)
{
	const struct filter_call *x = a, *y = b;
	int32_t x_action = (int32_t)(x->verdict & SECCOMP_RET_ACTION_FULL);
	int32_t y_action = (int32_t)(y->verdict & SECCOMP_RET_ACTION_FULL);

	if (x->nr != y->nr)
		return x->nr < y->nr ? -1 : 1;
	if (x_action != y_action)
		return x_action < y_action ? -1 : 1;
	return x->rule < y->rule ? -1 : x->rule > y->rule; /* both stand in one array, in the file's order */
}

static void add_span(struct spans *s, struct span span)
{
	struct span *last = s->n > 0 ? &s->at[s->n - 1] : NULL;

	if (last && last->n_calls == 0 && span.n_calls == 0 && last->verdict == span.verdict)
		return;
	s->at[s->n++] = span;
}

/* The rules for one number: conditions up to the first rule without any, which is then the verdict. */
static void add_call(struct spans *s, const struct filter_call *calls, size_t n, uint32_t otherwise)
{
	struct span span = {.from = calls[0].nr, .verdict = otherwise, .calls = calls};

	while (span.n_calls < n && calls[span.n_calls].rule->n_args > 0)
		span.n_calls++;
	if (span.n_calls < n)
		span.verdict = calls[span.n_calls].verdict;
	while (span.n_calls > 0 && calls[span.n_calls - 1].verdict == span.verdict)
		span.n_calls--; /* true or not, the outcome is the same */
	add_span(s, span);
}

static void find_spans(const struct filter_part *part, struct spans *s)
{
	const struct filter_call *calls = part->calls;
	const struct filter_defaults *defaults = &part->defaults;
	const uint32_t other_abi = part->arch->other_abi;
	const size_t n = part->n;
	uint32_t next = 0; /* the first number that no span has */

	for (size_t i = 0, group; i < n; i += group) {
		for (group = 1; i + group < n && calls[i + group].nr == calls[i].nr;)
			group++;
		if (part->both_abis && next < other_abi && calls[i].nr >= other_abi) {
			add_span(s, (struct span){.from = next, .verdict = defaults->newer});
			next = other_abi;
		}
		if (calls[i].nr > next)
			add_span(s, (struct span){.from = next, .verdict = defaults->known});
		add_call(s, calls + i, group, defaults->known);
		next = calls[i].nr + 1;
	}
	add_span(s, (struct span){.from = next, .verdict = n > 0 ? defaults->newer : defaults->known});
	if (other_abi > 0 && !part->both_abis) {
		uint32_t verdict = s->at[s->n - 1].verdict;

		add_span(s, (struct span){.from = other_abi, .verdict = SECCOMP_RET_KILL_PROCESS});
		/* -1 is nobody's number: syscall(-1), and what a tracer writes to have a call skipped. */
		add_span(s, (struct span){.from = UINT32_MAX, .verdict = verdict});
	}
}

static size_t emit_span(struct code *c, const struct span *s)
{
	size_t next = returning(c, s->verdict);

	for (size_t i = s->n_calls; i-- > 0;) {
		const struct policy_rule *rule = s->calls[i].rule;
		size_t yes = returning(c, s->calls[i].verdict);

		for (size_t j = rule->n_args; j-- > 0;)
			yes = emit_condition(c, &rule->args[j], yes, next);
		next = yes;
	}
	return next;
}

/* As deep as the logarithm of @n. */
static size_t emit_tree(struct code *c, const struct span *s, size_t n)
{
	size_t half = n / 2, right, left;

	if (n == 1)
		return emit_span(c, s);
	right = emit_tree(c, s + half, n - half);
	left = emit_tree(c, s, half);
	return emit_jump(c, BPF_JGE, s[half].from, right, left);
}

/* A label for the calls of one architecture. */
static int emit_part(struct code *c, const struct filter_part *part, size_t *ret_root)
{
	/* A gap before each number, the tail, and what lies between two ABIs. */
	AUTO_FREE struct span *room = calloc(2 * part->n + 6, sizeof *room);
	struct spans spans = {.at = room};

	if (!room)
		return -ENOMEM;
	if (part->n > 0)
		qsort(part->calls, part->n, sizeof *part->calls, compare_calls);
	find_spans(part, &spans);
	*ret_root = emit_load(c, offsetof(struct seccomp_data, nr), emit_tree(c, spans.at, spans.n));
	return 0;
}

int filter_code(const struct filter_part *parts, size_t n_parts, struct sock_filter **ret_insns, size_t *ret_len)
{
	struct code c = {0};
	size_t roots[FILTER_MAX_PARTS], next;
	int r = 0;

	for (size_t i = 0; r == 0 && i < n_parts; i++)
		r = emit_part(&c, &parts[i], &roots[i]);
	if (r == 0) {
		next = returning(&c, SECCOMP_RET_KILL_PROCESS);
		for (size_t i = n_parts; i-- > 0;)
			next = emit_jump(&c, BPF_JEQ, parts[i].arch->audit, roots[i], next);
		(void)emit_load(&c, offsetof(struct seccomp_data, arch), next);
	}

	AUTO_FREE struct sock_filter *insns = c.rev;
	if (c.failed || r < 0)
		return -ENOMEM;
	*ret_len = c.n;
	if (c.n > BPF_MAXINSNS)
		return -E2BIG;
	for (size_t i = 0; i < c.n / 2; i++) {
		struct sock_filter swap = insns[i];

		insns[i] = insns[c.n - 1 - i];
		insns[c.n - 1 - i] = swap;
	}
	*ret_insns = take_ptr(&insns);
	return 0;
}
