/* fsbox exec: a command in a cell. What the cell gets is never one of our own descriptors, but a pipe or a terminal made
 * for it, and this program copies. */
#include "cli/client.h"

#include "base/fd.h"
#include "cli/exec_io.h"

#include <stdio.h>

enum { MAX_ENV = 256 };

struct exec_args {
	struct client_args client; /* first */
	const char *cwd;
	bool tty, no_stdin;
	const char *env[MAX_ENV];
	size_t n_env;
};

static int set_env(void *args, const struct opt *o, const char *value, struct err *e)
{
	struct exec_args *a = args;

	if (!strchr(value, '=') || *value == '=')
		return err_set(e, ERR_SPEC, 0, "--%s: expected KEY=VALUE, got '%s'", o->name, value);
	if (a->n_env == MAX_ENV - 1) /* one is ours */
		return err_set(e, ERR_SPEC, E2BIG, "--%s: more than %d variables", o->name, MAX_ENV - 1);
	a->env[a->n_env++] = value;
	return 0;
}

static int set_cwd(void *args, const struct opt *o, const char *value, struct err *e)
{
	if (*value != '/')
		return err_set(e, ERR_SPEC, 0, "--%s: expected an absolute path in the cell, got '%s'", o->name, value);
	return opt_set_text(args, o, value, e);
}

#define AT(field) offsetof(struct exec_args, field)
/* clang-format off */
static const struct opt opts[] = {
	{ "cwd",      "DIR",       0,         set_cwd,         AT(cwd),      "directory of the cell to begin in (default: the function's)", 0 },
	{ "env",      "KEY=VALUE", OPT_MULTI, set_env,         0,            "a variable for the command; it has none of the function's", 0 },
	{ "no-stdin", NULL,        OPT_FLAG,  opt_set_flag, AT(no_stdin), "leave standard input alone; the command reads nothing", 0 },
	{ "tty",      NULL,        OPT_FLAG,  opt_set_flag, AT(tty),      "give the command a terminal (default for a shell from a terminal)", 't' },
};
/* clang-format on */
static const struct opt_table exec_opts = {opts, ARRAY_LEN(opts)};

/* ---- Asking ---- */

static void add_list(struct buf *params, const char *key, const char *const *texts, size_t n)
{
	params_raw(params, key, "[");
	for (size_t i = 0; i < n; i++) {
		buf_puts(params, i > 0 ? "," : "");
		json_add_string(params, texts[i], strlen(texts[i]));
	}
	buf_puts(params, "]");
}

static int ask(struct client *c, struct exec_args *a, const char *cell, char **argv, size_t n, struct exec_io *io,
	       struct err *e)
{
	AUTO(buf_done) struct buf params = {0};
	const char *const *words;
	size_t n_env = a->n_env;
	char term[128];

	memcpy(&words, &argv, sizeof words);
	if (a->tty && secure_getenv("TERM")) {
		(void)snprintf(term, sizeof term, "TERM=%s", secure_getenv("TERM"));
		a->env[a->n_env] = term;
		n_env++;
	}
	params_text(&params, "cell", cell);
	add_list(&params, "argv", words, n);
	if (n_env > 0)
		add_list(&params, "env", a->env, n_env);
	a->env[a->n_env] = NULL; /* it ends with this function */
	params_text(&params, "cwd", a->cwd);
	params_raw(&params, "tty", a->tty ? "true" : NULL);
	for (size_t i = 0; i < io->n_theirs; i++) {
		char index[24];

		(void)snprintf(index, sizeof index, "%zu", i);
		params_raw(&params, io->names[i], index);
	}
	params_end(&params);
	return client_send(c, "Exec", &params, false, io->theirs, io->n_theirs, e);
}

/* ---- The result ---- */

/* 0, or a failure; *ret_status is the command's, as shells tell it. */
static int take_result(struct client *c, const struct exec_args *a, int *ret_status, struct err *e)
{
	AUTO(buf_done) struct buf b = {0};
	struct client_reply reply;
	int64_t status = 0, sig = 0;
	int r = client_receive(c, &reply, e);

	if (r < 0)
		return r;
	if (reply.continues)
		r = client_malformed(e, "more answers than asked for");
	else if (client_int(reply.params, "exitStatus", &status) && status >= 0 && status <= 255)
		*ret_status = (int)status;
	else if (client_int(reply.params, "signal", &sig) && sig > 0 && sig < 128)
		*ret_status = 128 + (int)sig;
	else
		r = client_malformed(e, "it has neither status nor signal");
	if (r == 0 && a->client.json) {
		json_dump_to(&b, reply.params);
		buf_puts(&b, "\n");
		r = client_print(c, &b, e);
	}
	client_reply_done(&reply);
	return r == -EPIPE ? 0 : r;
}

/* 127 when there is no such command, said so that it helps; else negative. */
static int explain(const char *command, bool chosen, struct err *e)
{
	if (e->kind != ERR_NOT_FOUND || !str_starts(e->msg, "there is no command"))
		return -1;
	*e = (struct err){0};
	if (!chosen)
		(void)err_hint(e, err_set(e, ERR_NOT_FOUND, ENOENT, "the cell has no %s", command),
			       "give the command's path inside the cell: fsbox exec CELL -- /path/in/the/cell");
	else
		(void)err_hint(
			e, err_set(e, ERR_NOT_FOUND, ENOENT, "the cell has no command '%s'", command),
			"give its path inside the cell; what runs it (a loader, behind #!) has to be there as well");
	return EXIT_NOT_FOUND;
}

static int exit_of(const struct err *e)
{
	if (e->kind == ERR_SPEC)
		return EXIT_USAGE;
	return e->kind == ERR_DENIED && str_starts(e->msg, "executing the command") ? EXIT_CANNOT_EXECUTE : EXIT_FSBOX;
}

/* ---- The command ---- */

static int run(struct client *c, struct exec_args *a, const char *cell, char **argv, size_t n, struct err *e)
{
	AUTO(exec_io_done) struct exec_io io;
	int status = 0;
	int r = exec_io_open(&io, a->tty, a->no_stdin, a->client.json ? STDERR_FILENO : STDOUT_FILENO, e);

	if (r == 0)
		r = client_open(c, a->client.socket, e);
	if (r == 0)
		r = c->signal_fd = cli_open_signals(e);
	if (r >= 0)
		r = ask(c, a, cell, argv, n, &io, e);
	if (r == 0)
		r = exec_io_run(&io, c, e);
	exec_io_restore(&io);
	if (r == 0)
		r = take_result(c, a, &status, e);
	return r < 0 ? r : status;
}

/* The cell and the words behind it. */
static int read_words(int argc, char **argv, struct exec_args *a, const char **ret_cell, char ***ret_words,
		      size_t *ret_n, struct err *e)
{
	int at = 0, r = opt_parse_leading(cmd_exec.tables, cmd_exec.n_tables, argc, argv, a, &at, e);

	if (r == 0 && at >= argc)
		r = err_set(e, ERR_SPEC, 0, "usage: fsbox %s %s", cmd_exec.name, cmd_exec.operands);
	if (r < 0)
		return r;
	*ret_cell = argv[at++];
	if (at < argc && strcmp(argv[at], "--") == 0)
		at++;
	*ret_words = argv + at;
	*ret_n = (size_t)(argc - at);
	return 0;
}

static int exec_main(int argc, char **argv)
{
	static char shell_path[] = "/bin/sh";
	static char *shell[] = {shell_path, NULL};
	struct exec_args a = {0};
	struct client c = {.fd = FD_NONE, .signal_fd = FD_NONE};
	struct err e = {0};
	const char *cell = NULL;
	char **words = shell;
	size_t n = 0;
	int r = read_words(argc, argv, &a, &cell, &words, &n, &e);
	const bool chosen = n > 0;

	if (r == 0 && !chosen) {
		words = shell;
		n = 1;
		a.tty = a.tty || (!a.no_stdin && !a.client.json && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO));
	}
	if (r == 0)
		r = run(&c, &a, cell, words, n, &e);
	if (r < 0) {
		r = explain(words[0], chosen, &e);
		r = r >= 0 ? r : exit_of(&e);
	}
	client_end(&c, &e);
	return r;
}

const struct command cmd_exec = {
	.name = "exec",
	.operands = "[options] CELL [--] [COMMAND [ARG...]]",
	.summary = "run a command in a cell that is there",
	.details =
		"For looking at what goes on in a cell: the command has its files, user, filter and limits, and none\n"
		"of the function's variables. The default command is /bin/sh; a cell may have none, nor any other\n"
		"program. While it runs the cell takes no new call. What the command leaves running is ended with it,\n"
		"as all of it is by an interrupt. With --json its output goes to stderr and the outcome to stdout.\n\n"
		"Exit status: the command's; 128+n ended by signal n; 125 fsbox or fsboxd failed; 126 cannot execute;\n"
		"127 the cell has no such command; 2 bad usage.\n",
	.tables = {&client_opts, &exec_opts},
	.n_tables = 2,
	.group = GROUP_DAEMON,
	.main = exec_main,
};
