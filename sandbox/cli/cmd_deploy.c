/* fsbox deploy: gives fsboxd a function. Only what was said goes into the spec; the defaults are fsboxd's. Code, layers and
 * root are opened here and sent as descriptors: that they may be read is the caller's own permission. Other files are
 * named, by absolute paths, and fsboxd opens them with the caller's credentials. */
#include "cli/client.h"

#include "base/fd.h"

#include <fcntl.h>
#include <stdio.h>

enum { MAX_GIVEN = 128, MAX_TABLE = 64 };

struct given {
	const struct opt *opt; /* of spec_opts */
	const char *value;     /* NULL for flags */
};

struct deploy_args {
	struct client_args client; /* first */
	struct cell_spec spec;     /* checks the values, and collects variables */
	struct given given[MAX_GIVEN];
	size_t n_given;
	const char *spec_file;
	const char *provisioned, *reserved, *max_cells; /* numbers */
	struct snapshot_wish snapshot;
	bool replace;
	bool looking;                /* first pass: only for --spec; nothing is opened */
	struct opt table[MAX_TABLE]; /* spec_opts with note() as their function */
};

/* ---- Options ---- */

static const struct opt_table *const spec_tables[] = {&spec_opts};

/* The option's own function says whether the value will do; then it is remembered. A later one replaces an earlier one
 * where only one may be: the command line the file's. */
static int note(void *args, const struct opt *o, const char *value, struct err *e)
{
	struct deploy_args *a = args;
	const struct opt *own = opt_find(spec_tables, 1, o->name, strlen(o->name));
	int r = own->set(&a->spec, own, value, e);

	if (r < 0)
		return r;
	for (size_t i = 0; i < a->n_given; i++)
		if (a->given[i].opt == own && !(own->flags & OPT_MULTI)) {
			a->given[i].value = value;
			return 0;
		}
	if (strcmp(own->name, "env") == 0) /* from the spec: the last of one name counts */
		return 0;
	if (a->n_given == MAX_GIVEN)
		return err_set(e, ERR_SPEC, 0, "--%s: too many options", o->name);
	a->given[a->n_given++] = (struct given){own, value};
	return 0;
}

static int set_env_file(void *args, const struct opt *o, const char *value, struct err *e)
{
	struct deploy_args *a = args;
	AUTO_FD int fd = a->looking ? FD_NONE : open(value, O_RDONLY | O_CLOEXEC);
	AUTO_FREE char *text = NULL;
	size_t len;
	int r;

	if (a->looking)
		return 0; /* it may be a pipe, which can be read once */
	if (!fd_valid(fd))
		return err_sys(e, errno, "--%s '%s'", o->name, value);
	r = fd_read_all(fd, SPEC_MAX_BYTES, &text, &len);
	return r < 0 ? err_sys(e, r, "--%s '%s'", o->name, value) : spec_add_env_file(&a->spec, value, text, len, e);
}

static int set_snapshot(void *args, const struct opt *o, const char *value, struct err *e)
{
	struct deploy_args *a = args;

	if (value && strcmp(value, "unseeded") != 0)
		return err_set(e, ERR_SPEC, 0, "--%s: expected nothing or unseeded, got '%s'", o->name, value);
	return snapshot_wish_parse(&a->snapshot, o->name, value, e);
}

#define AT(field) offsetof(struct deploy_args, field)
/* clang-format off */
static const struct opt opts[] = {
	{ "provisioned", "N",    OPT_NO_SPEC,             client_set_number, AT(provisioned), "cells that are kept past init", 0 },
	{ "reserved",    "N",    OPT_NO_SPEC,             client_set_number, AT(reserved),    "cells that are this function's alone: never more of them, and always room for them", 0 },
	{ "max-cells",   "N",    OPT_NO_SPEC,             client_set_number, AT(max_cells),   "cells at once", 0 },
	{ "replace",     NULL,   OPT_NO_SPEC | OPT_FLAG,  opt_set_flag,   AT(replace),     "take the place of another function of that name", 0 },
	{ "snapshot",    "unseeded", OPT_NO_SPEC | OPT_MAYBE_VALUE, set_snapshot, 0,          "cells are clones of a snapshot, which is made in the background; see fsbox help snapshot", 0 },
	{ "env-file",    "FILE", OPT_MULTI,               set_env_file,      0,               "file with KEY=VALUE lines", 0 },
	{ "spec",        "FILE", OPT_NO_SPEC,             opt_set_text,   AT(spec_file),   "JSON object whose keys are the options' names, and 'target'", 0 },
};
/* clang-format on */
static const struct opt_table deploy_opts = {opts, ARRAY_LEN(opts)};

struct tables {
	struct opt_table noted;
	const struct opt_table *all[3]; /* noted, deploy's, client's */
};

static void make_tables(struct deploy_args *a, struct tables *t)
{
	_Static_assert(MAX_TABLE >= 32, "room for the options of a cell, and for more of them");
	t->noted = (struct opt_table){a->table, spec_opts.n < MAX_TABLE ? spec_opts.n : MAX_TABLE};
	for (size_t i = 0; i < t->noted.n; i++) {
		a->table[i] = spec_opts.opts[i];
		a->table[i].set = note;
	}
	t->all[0] = &t->noted;
	t->all[1] = &deploy_opts;
	t->all[2] = &client_opts;
}

static int read_spec_file(struct deploy_args *a, const struct tables *t, const char *file, struct err *e)
{
	AUTO_FD int fd = open(file, O_RDONLY | O_CLOEXEC);
	AUTO_FREE char *text = NULL;
	size_t len;
	int r;

	if (!fd_valid(fd))
		return err_sys(e, errno, "--spec '%s'", file);
	r = fd_read_all(fd, SPEC_MAX_BYTES, &text, &len);
	if (r < 0)
		return err_sys(e, r, "--spec '%s'", file);
	return spec_read(file, text, len, t->all, 2, a, &a->spec.arena, &a->spec.target, e);
}

/* One pass to find --spec; then that file, and the command line on top of it. */
static int read_args(struct deploy_args *a, int argc, char **argv, int *ret_operands, struct err *e)
{
	AUTO_FREE char **copy = calloc((size_t)argc + 1, sizeof *copy);
	AUTO_FREE struct deploy_args *first = calloc(1, sizeof *first);
	struct tables t;
	int r;

	if (!copy || !first)
		return err_oom(e);
	memcpy(copy, argv, (size_t)argc * sizeof *copy);
	spec_init(&first->spec);
	first->looking = true;
	make_tables(first, &t);
	r = opt_parse(t.all, ARRAY_LEN(t.all), argc, copy, first, ret_operands, e);
	spec_done(&first->spec);
	make_tables(a, &t);
	if (r == 0 && first->spec_file)
		r = read_spec_file(a, &t, first->spec_file, e);
	return r < 0 ? r : opt_parse(t.all, ARRAY_LEN(t.all), argc, argv, a, ret_operands, e);
}

/* ---- The spec as JSON ---- */

/* Files that fsboxd opens by name. A policy that is no file has a name of its own (policy_load()). */
static bool names_a_path(const struct given *g)
{
	if (strcmp(g->opt->name, "policy") == 0)
		return strchr(g->value, '/') || str_ends(g->value, ".json");
	return strcmp(g->opt->name, "tmp-dir") == 0 || strcmp(g->opt->name, "secret") == 0;
}

/* The value with the path in it made absolute: all of it, or what follows "NAME=@". */
static const char *absolute(struct arena *arena, const char *value)
{
	const char *at = strstr(value, "=@"), *path = at ? at + 2 : value;
	AUTO_FREE char *here = path[0] == '/' ? NULL : getcwd(NULL, 0);

	if (path[0] == '/')
		return value;
	return here ? arena_printf(arena, "%.*s%s/%s", (int)(path - value), value, here, path) : NULL;
}

static void add_text(struct buf *b, const char *text)
{
	json_add_string(b, text, strlen(text));
}

/* Numbers as numbers, where JSON would write them so. */
static void add_value(struct buf *b, const struct given *g, const char *value)
{
	const char *arg = g->opt->arg;
	const bool number = arg && (strcmp(arg, "MB") == 0 || strcmp(arg, "SECONDS") == 0 || strcmp(arg, "N") == 0);

	if (!arg)
		buf_puts(b, "true");
	else if (number && json_is_value(value, strlen(value)))
		buf_puts(b, value);
	else
		add_text(b, value);
}

static void add_env(struct buf *b, const struct cell_spec *s)
{
	buf_puts(b, s->n_env > 0 ? ",\"env\":{" : "");
	for (size_t i = 0; i < s->n_env; i++) {
		const char *eq = strchr(s->env[i], '=');

		buf_puts(b, i > 0 ? "," : "");
		json_add_string(b, s->env[i], (size_t)(eq - s->env[i]));
		buf_puts(b, ":");
		add_text(b, eq + 1);
	}
	buf_puts(b, s->n_env > 0 ? "}" : "");
}

/* The values of one option that may be repeated, as an array at its first. */
static int add_many(struct buf *b, struct deploy_args *a, size_t first, struct err *e)
{
	const struct opt *o = a->given[first].opt;

	for (size_t i = 0; i < first; i++)
		if (a->given[i].opt == o)
			return 0;
	buf_printf(b, ",\"%s\":[", o->name);
	for (size_t i = first; i < a->n_given; i++) {
		const char *value = a->given[i].value;

		if (a->given[i].opt != o)
			continue;
		if (names_a_path(&a->given[i]))
			value = absolute(&a->spec.arena, value);
		if (!value)
			return err_oom(e);
		buf_puts(b, i > first ? "," : "");
		add_text(b, value);
	}
	buf_puts(b, "]");
	return 0;
}

static int add_spec(struct buf *b, struct deploy_args *a, struct err *e)
{
	AUTO(buf_done) struct buf s = {0};
	int r = 0;

	for (size_t i = 0; i < a->n_given && r == 0; i++) {
		const struct given *g = &a->given[i];
		const char *value = g->value && names_a_path(g) ? absolute(&a->spec.arena, g->value) : g->value;

		if (g->opt->flags & OPT_MULTI) {
			r = add_many(&s, a, i, e);
			continue;
		}
		if (g->value && !value)
			return err_oom(e);
		buf_printf(&s, ",\"%s\":", g->opt->name);
		add_value(&s, g, value);
	}
	if (a->spec.target) {
		buf_puts(&s, ",\"target\":");
		add_text(&s, a->spec.target);
	}
	add_env(&s, &a->spec);
	if (s.failed)
		return err_oom(e);
	buf_puts(b, ",\"spec\":{");
	buf_puts(b, s.len > 0 ? s.data + 1 : ""); /* without its first comma */
	buf_puts(b, "}");
	return r;
}

/* ---- Files ---- */

struct files {
	int fds[2 + SPEC_MAX_LAYERS];
	size_t n;
};

static void files_close(struct files *f)
{
	while (f->n > 0)
		fd_closep(&f->fds[--f->n]);
}

/* Opens one and gives its index in the message. */
static int open_file(struct files *f, const char *what, const char *path, int flags, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | flags);

	if (fd < 0)
		return err_sys(e, errno, "%s '%s'", what, path);
	f->fds[f->n] = fd;
	return (int)f->n++;
}

/* The members that name descriptors. */
static int add_files(struct buf *b, struct files *f, const struct cell_spec *s, struct err *e)
{
	int r;

	if (s->target) {
		r = open_file(f, "TARGET", s->target, 0, e);
		if (r < 0)
			return r;
		buf_printf(b, ",\"codeFd\":%d", r);
	}
	for (size_t i = 0; i < s->n_layers; i++) {
		r = open_file(f, "--layer", s->layers[i], 0, e);
		if (r < 0)
			return r;
		buf_printf(b, "%s%d", i > 0 ? "," : ",\"layerFds\":[", r);
	}
	buf_puts(b, s->n_layers > 0 ? "]" : "");
	if (s->rootfs) {
		r = open_file(f, "--rootfs", s->rootfs, O_DIRECTORY, e);
		if (r < 0)
			return r;
		buf_printf(b, ",\"rootfsFd\":%d", r);
	}
	return 0;
}

/* ---- The command ---- */

static int print_reply(struct client *c, const struct deploy_args *a, const char *name, struct err *e)
{
	AUTO(buf_done) struct buf out = {0};
	struct client_reply reply;
	const char *digest;
	int r = client_receive(c, &reply, e);

	if (r < 0)
		return r;
	digest = client_text(reply.params, "digest");
	if (!digest || reply.continues)
		r = client_malformed(e, digest ? "more answers than asked for" : "it has no digest");
	else if (a->client.json)
		json_dump_to(&out, reply.params);
	else
		buf_printf(&out, "%s %s%s", name, digest,
			   client_bool(reply.params, "created") ? "" : " (was there already)");
	buf_puts(&out, "\n");
	client_reply_done(&reply);
	return r < 0 ? r : client_print(c, &out, e);
}

static int deploy(struct client *c, struct deploy_args *a, const char *name, struct err *e)
{
	AUTO(buf_done) struct buf params = {0};
	AUTO(files_close) struct files files = {.n = 0};
	int r;

	params_text(&params, "name", name);
	r = add_spec(&params, a, e);
	if (r == 0)
		r = add_files(&params, &files, &a->spec, e);
	params_raw(&params, "provisioned", a->provisioned);
	params_raw(&params, "reserved", a->reserved);
	params_raw(&params, "maxCells", a->max_cells);
	if (a->snapshot.wanted)
		params_text(&params, "snapshot", a->snapshot.unseeded ? "unseeded" : "yes");
	params_raw(&params, "replace", a->replace ? "true" : NULL);
	params_end(&params);
	if (r == 0)
		r = client_open(c, a->client.socket, e);
	if (r == 0)
		r = c->signal_fd = cli_open_signals(e);
	if (r >= 0)
		r = client_send(c, "Deploy", &params, false, files.fds, files.n, e);
	return r < 0 ? r : print_reply(c, a, name, e);
}

static int check_operands(struct deploy_args *a, int operands, char **argv, struct err *e)
{
	if (operands < 1 || operands > 2)
		return err_set(e, ERR_SPEC, 0, "usage: fsbox %s %s", cmd_deploy.name, cmd_deploy.operands);
	if (operands == 2)
		a->spec.target = argv[2];
	if (!a->spec.target && !a->spec.rootfs)
		return err_set(e, ERR_SPEC, 0, "no TARGET given, nor an image (--rootfs) that says what is executed");
	if (a->spec.name && strcmp(a->spec.name, argv[1]) != 0)
		return err_set(e, ERR_SPEC, 0, "--name '%s': the function is '%s'", a->spec.name, argv[1]);
	return 0;
}

static int deploy_main(int argc, char **argv)
{
	AUTO_FREE struct deploy_args *a = calloc(1, sizeof *a);
	struct client c = {.fd = FD_NONE, .signal_fd = FD_NONE};
	struct err e = {0};
	int operands, r, status = EXIT_USAGE;

	if (!a)
		return 1;
	spec_init(&a->spec);
	r = read_args(a, argc, argv, &operands, &e);
	if (r == 0)
		r = check_operands(a, operands, argv, &e);
	if (r == 0) {
		status = 1;
		r = deploy(&c, a, argv[1], &e);
	}
	client_end(&c, &e);
	spec_done(&a->spec);
	return r >= 0 || e.kind == ERR_NONE ? 0 : status;
}

const struct command cmd_deploy = {
	.name = "deploy",
	.operands = "[options] NAME [TARGET]",
	.summary = "give the daemon a function",
	.details =
		"TARGET is what `fsbox run` takes; without one --rootfs is an unpacked image, or --spec names it. Files\n"
		"are opened here, so nobody else needs to be able to reach them, but they have to be readable for others\n"
		"(mode o+r), because cells run as other users. What is not said is fsboxd's default.\n"
		"The same function again under the same name changes nothing; another one needs --replace.\n\n"
		"Exit status: 0 success; 1 failed; 2 bad usage.\n",
	.tables = {&client_opts, &deploy_opts, &spec_opts},
	.n_tables = 3,
	.group = GROUP_DAEMON,
	.main = deploy_main,
};
