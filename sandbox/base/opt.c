#include "base/opt.h"

#include "base/mem.h"

enum { OPT_MAX_TOTAL = 64 };

int opt_set_text(void *args, const struct opt *opt, const char *value, struct err *e)
{
	if (*value == '\0')
		return err_set(e, ERR_SPEC, 0, "--%s: expected %s, got an empty text", opt->name, opt->arg);
	memcpy((char *)args + opt->offset, &value, sizeof value);
	return 0;
}

int opt_set_flag(void *args, const struct opt *opt, const char *value, struct err *e)
{
	(void)value;
	(void)e;
	*((bool *)((char *)args + opt->offset)) = true;
	return 0;
}

const struct opt *opt_find(const struct opt_table *const *tables, size_t n_tables, const char *name, size_t len)
{
	for (size_t t = 0; t < n_tables; t++)
		for (size_t i = 0; i < tables[t]->n; i++) {
			const struct opt *o = &tables[t]->opts[i];

			if (strlen(o->name) == len && memcmp(o->name, name, len) == 0)
				return o;
		}
	return NULL;
}

static const struct opt *find_letter(const struct opt_table *const *tables, size_t n_tables, char letter)
{
	for (size_t t = 0; t < n_tables; t++)
		for (size_t i = 0; i < tables[t]->n; i++)
			if (tables[t]->opts[i].letter == letter)
				return &tables[t]->opts[i];
	return NULL;
}

/* Edit distance, bounded: only to find the option that was probably meant. */
static unsigned distance(const char *a, size_t na, const char *b)
{
	unsigned row[32];
	size_t nb = strlen(b);

	if (na > 30 || nb > 30)
		return 99;
	for (unsigned j = 0; j <= nb; j++)
		row[j] = j;
	for (size_t i = 1; i <= na; i++) {
		unsigned diagonal = row[0];

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= nb; j++) {
			unsigned change = diagonal + (a[i - 1] != b[j - 1]);
			unsigned insert = row[j - 1] + 1, drop = row[j] + 1;

			diagonal = row[j];
			row[j] = change < insert ? change : insert;
			if (drop < row[j])
				row[j] = drop;
		}
	}
	return row[nb];
}

static int unknown(const struct opt_table *const *tables, size_t n_tables, const char *arg, size_t len, struct err *e)
{
	const struct opt *best = NULL;
	unsigned best_distance = 3;

	for (size_t t = 0; t < n_tables; t++)
		for (size_t i = 0; i < tables[t]->n; i++) {
			unsigned d = distance(arg, len, tables[t]->opts[i].name);

			if (d < best_distance) {
				best_distance = d;
				best = &tables[t]->opts[i];
			}
		}

	int r = err_set(e, ERR_SPEC, 0, "unknown option '--%.*s'", (int)len, arg);
	return best ? err_hint(e, r, "did you mean --%s?", best->name) : r;
}

struct parse {
	const struct opt_table *const *tables;
	size_t n_tables;
	int argc;
	char **argv;
	int at; /* next argument */
	void *args;
	const struct opt *seen[OPT_MAX_TOTAL];
	size_t n_seen;
};

static int apply(struct parse *p, const struct opt *o, const char *value, struct err *e)
{
	if (!(o->flags & OPT_MULTI)) {
		for (size_t i = 0; i < p->n_seen; i++)
			if (p->seen[i] == o)
				return err_set(e, ERR_SPEC, 0, "option '--%s' given twice", o->name);
		if (p->n_seen < OPT_MAX_TOTAL)
			p->seen[p->n_seen++] = o;
	}
	return o->set(p->args, o, value, e);
}

static int parse_option(struct parse *p, const struct opt *o, const char *inline_value, struct err *e)
{
	if (o->flags & OPT_FLAG) {
		if (inline_value)
			return err_set(e, ERR_SPEC, 0, "option '--%s' takes no value", o->name);
		return apply(p, o, NULL, e);
	}
	if (inline_value || (o->flags & OPT_MAYBE_VALUE))
		return apply(p, o, inline_value, e);
	if (p->at >= p->argc)
		return err_set(e, ERR_SPEC, 0, "option '--%s' needs a value: --%s %s", o->name, o->name, o->arg);
	return apply(p, o, p->argv[p->at++], e);
}

/* One option, whose first word has been taken. */
static int parse_word(struct parse *p, const char *arg, struct err *e)
{
	const struct opt *o;
	const char *value = NULL;

	if (arg[1] == '-') {
		const char *eq = strchr(arg, '=');
		size_t len = eq ? (size_t)(eq - arg) - 2 : strlen(arg) - 2;

		o = opt_find(p->tables, p->n_tables, arg + 2, len);
		if (!o)
			return unknown(p->tables, p->n_tables, arg + 2, len, e);
		value = eq ? eq + 1 : NULL;
	} else {
		o = arg[2] == '\0' ? find_letter(p->tables, p->n_tables, arg[1]) : NULL;
		if (!o)
			return err_set(e, ERR_SPEC, 0, "unknown option '%s'", arg);
	}
	return parse_option(p, o, value, e);
}

static bool is_operand(const char *arg)
{
	return arg[0] != '-' || arg[1] == '\0';
}

int opt_parse(const struct opt_table *const *tables, size_t n_tables, int argc, char **argv, void *args,
	      int *ret_operands, struct err *e)
{
	struct parse p = {.tables = tables, .n_tables = n_tables, .argc = argc, .argv = argv, .at = 1, .args = args};
	int operands = 0;
	bool options = true;

	while (p.at < argc) {
		char *arg = argv[p.at++];
		int r;

		if (!options || is_operand(arg)) {
			argv[1 + operands++] = arg;
			continue;
		}
		if (strcmp(arg, "--") == 0) {
			options = false;
			continue;
		}
		r = parse_word(&p, arg, e);
		if (r < 0)
			return r;
	}
	*ret_operands = operands;
	return 0;
}

int opt_parse_leading(const struct opt_table *const *tables, size_t n_tables, int argc, char **argv, void *args,
		      int *ret_next, struct err *e)
{
	struct parse p = {.tables = tables, .n_tables = n_tables, .argc = argc, .argv = argv, .at = 1, .args = args};

	while (p.at < argc && !is_operand(argv[p.at])) {
		const char *arg = argv[p.at++];
		int r;

		if (strcmp(arg, "--") == 0)
			break;
		r = parse_word(&p, arg, e);
		if (r < 0)
			return r;
	}
	*ret_next = p.at;
	return 0;
}
