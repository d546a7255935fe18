/* Options as callers write them, who speak to programs in Go: "-name", "--name", "--name=value", booleans with or without
 * "=true", a second time is allowed and the last one holds. */
#include "oci/oci.h"

#include <errno.h>

int oci_set_text(void *args, const struct opt *o, const char *value, struct err *e)
{
	(void)e;
	*(const char **)(void *)((char *)args + o->offset) = value;
	return 0;
}

int oci_set_flag(void *args, const struct opt *o, const char *value, struct err *e)
{
	bool *to = (bool *)(void *)((char *)args + o->offset);

	if (value && strcmp(value, "true") != 0 && strcmp(value, "false") != 0 && strcmp(value, "1") != 0 &&
	    strcmp(value, "0") != 0)
		return err_set(e, ERR_SPEC, EINVAL, "option '--%s' is true or false, not '%s'", o->name, value);
	*to = !value || value[0] == 't' || value[0] == '1';
	return 0;
}

int oci_set_list(void *args, const struct opt *o, const char *value, struct err *e)
{
	struct text_list *l = (struct text_list *)(void *)((char *)args + o->offset);

	if (l->n == OCI_MAX_LIST)
		return err_set(e, ERR_LIMIT, E2BIG, "option '--%s' more than %d times", o->name, OCI_MAX_LIST);
	l->at[l->n++] = value;
	return 0;
}

int oci_set_number(void *args, const struct opt *o, const char *value, struct err *e)
{
	if (!parse_u64(value, 0, INT32_MAX, (uint64_t *)(void *)((char *)args + o->offset)))
		return err_set(e, ERR_SPEC, EINVAL, "option '--%s': expected a number, got '%s'", o->name, value);
	return 0;
}

static const struct opt global_options[] = {
	OCI_TEXT("root", root, 0, "DIR", "where the state of containers lies"),
	OCI_TEXT("log", log, 0, "FILE", "where errors go beside standard error"),
	OCI_TEXT("log-format", log_format, 0, "text|json", "how"),
	OCI_TEXT("log-level", log_level, 0, "LEVEL", "accepted; only errors are written"),
	OCI_FLAG("debug", debug, 0, "accepted; only errors are written"),
	OCI_FLAG("systemd-cgroup", systemd_cgroup, 0, "have systemd make the cgroups"),
	OCI_TEXT("cgroup-manager", cgroup_manager, 0, "NAME", "cgroupfs, systemd or disabled"),
	OCI_TEXT("rootless", rootless, 0, "true|false|auto", "leave out what takes root; auto: when we are not root"),
	OCI_TEXT("criu", criu, 0, "PATH", "accepted and ignored"),
};
const struct opt_table oci_global_options = {global_options, ARRAY_LEN(global_options)};

static const struct opt *find(const struct opt_table *t, const char *word, size_t len)
{
	const struct opt *o = opt_find(&t, 1, word, len);

	for (size_t i = 0; !o && len == 1 && i < t->n; i++)
		if (t->opts[i].letter == word[0])
			o = &t->opts[i];
	return o;
}

/* The option that @word is, by any number of dashes, or NULL. *ret_value: what stands behind "=", or NULL. */
static const struct opt *option_of(const struct opt_table *t, const char *word, const char **ret_value)
{
	const char *name = word + strspn(word, "-"), *eq = strchr(name, '=');

	*ret_value = eq ? eq + 1 : NULL;
	if (word[0] != '-' || name - word > 2)
		return NULL;
	return find(t, name, eq ? (size_t)(eq - name) : strlen(name));
}

static bool takes_next(const struct opt *o, const char *value)
{
	return !value && !(o->flags & (OPT_FLAG | OPT_MAYBE_VALUE));
}

static int unknown(const char *word, struct err *e)
{
	return err_set(e, ERR_SPEC, EINVAL, "flag provided but not defined: %s", word);
}

int oci_parse_global(int argc, char **argv, struct oci_args *a, int *ret_used, struct err *e)
{
	int at = 1;

	while (at < argc && argv[at][0] == '-') {
		const char *value;
		const struct opt *o = option_of(&oci_global_options, argv[at], &value);
		int r;

		if (!o)
			return unknown(argv[at], e);
		if (takes_next(o, value)) {
			if (++at >= argc)
				return err_set(e, ERR_SPEC, EINVAL, "flag needs an argument: --%s", o->name);
			value = argv[at];
		}
		at++;
		r = o->set(a, o, value, e);
		if (r < 0)
			return r;
	}
	*ret_used = at - 1;
	return 0;
}

int oci_parse(const struct oci_command *c, int argc, char **argv, struct oci_args *a, struct err *e)
{
	bool options = true;

	a->operands = argv + 1;
	for (int at = 1; at < argc; at++) {
		char *word = argv[at];
		const char *value;
		const struct opt *o;
		int r;

		if (!options || word[0] != '-' || word[1] == '\0') {
			a->operands[a->n_operands++] = word;
			/* What belongs to the container's program is not ours to read. */
			if (c->raw_from && a->n_operands >= c->raw_from)
				options = false;
			continue;
		}
		if (strcmp(word, "--") == 0) {
			options = false;
			continue;
		}
		o = option_of(&c->options, word, &value);
		if (!o)
			return unknown(word, e);
		if (takes_next(o, value)) {
			if (++at >= argc)
				return err_set(e, ERR_SPEC, EINVAL, "flag needs an argument: --%s", o->name);
			value = argv[at];
		}
		r = o->set(a, o, value, e);
		if (r < 0)
			return r;
	}
	if (a->n_operands < c->min_operands || (c->max_operands >= 0 && a->n_operands > c->max_operands))
		return err_set(e, ERR_SPEC, EINVAL, "usage: fsbox-oci %s [options] %s", c->name, c->operands);
	return 0;
}
