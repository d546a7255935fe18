/* gencli [--check] FILE...: keeps what documents and completions say of the options equal to the options' tables.
 *
 * A file has regions between two lines, in whatever its comments look like:
 *
 *     gencli: begin KIND
 *     gencli: end
 *
 * What stands between them is written here; the rest is written by hand. With --check nothing is changed, and a file
 * that is behind makes the status 1. KIND: man-options COMMAND, spec-keys, bash, zsh. */
#include "cli/cli.h"
#include "cli/client.h"

#include "base/str.h"
#include "tools/regions.h"

#include <stdio.h>

enum { WORDS_MAX = 200, VALUE_MAX = 32, MAN_COLUMNS = 72 };

/* ---- What an option's value may be ---- */

/* Values that the tables do not name. Each is given to the option itself before it is written anywhere. */
static const struct {
	const char *name, *words;
} known_values[] = {
	{"net", "none loopback host"},
};

static bool is_lower(char c)
{
	return (c >= 'a' && c <= 'z') || c == '-';
}

/* "text|json" names the values themselves; "NAME|FILE" names their kinds. */
static bool words_of_arg(const char *arg, char *ret)
{
	size_t n = 0;

	for (; arg[n]; n++) {
		if (n + 1 >= WORDS_MAX || (!is_lower(arg[n]) && arg[n] != '|'))
			return false;
		ret[n] = arg[n];
		if (arg[n] == '|')
			ret[n] = ' ';
	}
	ret[n] = '\0';
	return n > 0;
}

static bool spec_option_takes(const struct opt *o, const char *words)
{
	struct cell_spec spec;
	char value[VALUE_MAX];
	bool ok = true;

	spec_init(&spec);
	for (const char *p = words; ok && *p; p += p[strlen(value)] ? strlen(value) + 1 : strlen(value)) {
		struct err e = {0};
		size_t n = strcspn(p, " ");

		if (n >= sizeof value)
			return false;
		memcpy(value, p, n);
		value[n] = '\0';
		ok = o->set(&spec, o, value, &e) == 0;
		if (!ok)
			(void)fprintf(stderr, "gencli: --%s does not take '%s': %s\n", o->name, value, e.msg);
	}
	spec_done(&spec);
	return ok;
}

static bool add_policies(char *ret)
{
	size_t at = 0;

	for (const char *const *p = filter_builtin_names(); *p; p++) {
		int n = snprintf(ret + at, WORDS_MAX - at, "%s%s", at > 0 ? " " : "", *p);

		if (n < 0 || (size_t)n >= WORDS_MAX - at)
			return false;
		at += (size_t)n;
	}
	return at > 0;
}

/* The words that may stand as the value of @o, one space between them; false when it takes no fixed words. */
static bool words_of(const struct opt *o, char *ret)
{
	if (!o->arg)
		return false;
	if (words_of_arg(o->arg, ret))
		return true;
	if (strcmp(o->name, "policy") == 0)
		return add_policies(ret);
	for (size_t i = 0; i < ARRAY_LEN(known_values); i++)
		if (strcmp(known_values[i].name, o->name) == 0) {
			(void)snprintf(ret, WORDS_MAX, "%s", known_values[i].words);
			return spec_option_takes(o, ret);
		}
	return false;
}

static bool takes_file(const struct opt *o)
{
	return o->arg && strstr(o->arg, "FILE");
}

static bool takes_dir(const struct opt *o)
{
	return o->arg && strcmp(o->arg, "DIR") == 0;
}

/* ---- Walking the tables ---- */

typedef void each_opt(struct buf *b, const struct command *cmd, const struct opt *o);

static void each(struct buf *b, const struct command *cmd, each_opt *f)
{
	for (size_t t = 0; t < cmd->n_tables; t++)
		for (size_t i = 0; i < cmd->tables[t]->n; i++)
			f(b, cmd, &cmd->tables[t]->opts[i]);
}

/* Without the tables that the manual has elsewhere: those of a cell under `run`, the daemon's clients' under `ps`. */
static void each_own(struct buf *b, const struct command *cmd, each_opt *f)
{
	for (size_t t = 0; t < cmd->n_tables; t++)
		for (size_t i = 0; i < cmd->tables[t]->n; i++)
			if (cmd->n_tables == 1 || cmd == &cmd_run ||
			    (cmd->tables[t] != &spec_opts && cmd->tables[t] != &client_opts))
				f(b, cmd, &cmd->tables[t]->opts[i]);
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; commands[i]; i++)
		if (strcmp(commands[i]->name, name) == 0)
			return commands[i];
	return NULL;
}

/* ---- man-options: man(7), "Macro reference" ---- */

static void roff(struct buf *b, const char *s)
{
	for (; *s; s++) {
		if (*s == '-')
			buf_puts(b, "\\-");
		else if (*s == '\\')
			buf_puts(b, "\\e");
		else if (*s == '\'')
			buf_puts(b, "\\(aq");
		else
			buf_add(b, s, 1);
	}
}

/* A capital first, a full stop last, and lines of at most MAN_COLUMNS, which mandoc's lint asks for. A line that begins
 * with a full stop would be a request. */
static void sentence(struct buf *b, const char *help)
{
	size_t begin = b->len, column = 0;

	for (const char *p = help; *p;) {
		size_t n = strcspn(p, " ");
		char word[VALUE_MAX * 4];

		(void)snprintf(word, sizeof word, "%.*s", (int)n, p);
		if (column > 0 && column + n > MAN_COLUMNS) {
			buf_puts(b, word[0] == '.' ? "\n\\&" : "\n");
			column = 0;
		} else if (column > 0) {
			buf_puts(b, " ");
		}
		roff(b, word);
		column += n + 1;
		p += n + (p[n] == ' ');
	}
	buf_puts(b, ".\n");
	if (!b->failed && b->data[begin] >= 'a' && b->data[begin] <= 'z')
		b->data[begin] = (char)(b->data[begin] - 'a' + 'A');
}

static void man_option(struct buf *b, const struct command *cmd, const struct opt *o)
{
	(void)cmd;
	buf_puts(b, ".TP\n");
	if (o->letter)
		buf_printf(b, "\\fB\\-%c\\fR, ", o->letter);
	buf_puts(b, "\\fB\\-\\-");
	roff(b, o->name);
	buf_puts(b, "\\fR");
	if (o->arg) {
		buf_puts(b, " \\fI");
		roff(b, o->arg);
		buf_puts(b, "\\fR");
	}
	buf_puts(b, "\n");
	sentence(b, o->help);
	if (o->flags & OPT_MULTI && !strstr(o->help, "repeated"))
		buf_puts(b, "May be repeated.\n");
}

/* ---- spec-keys: the table of docs/spec.md ---- */

static void markdown(struct buf *b, const char *s)
{
	for (; *s; s++) {
		if (*s == '|' || *s == '<' || *s == '*')
			buf_puts(b, "\\");
		buf_add(b, s, 1);
	}
}

static const char *json_type(const struct opt *o)
{
	if (o->flags & OPT_FLAG)
		return "true or false";
	if (strcmp(o->name, "env") == 0)
		return "object, or array of texts";
	if (strcmp(o->name, "event") == 0)
		return "any value";
	if (o->flags & OPT_MULTI)
		return "array of texts";
	if (strcmp(o->arg, "MB") == 0 || strcmp(o->arg, "SECONDS") == 0 || strcmp(o->arg, "N") == 0)
		return "number";
	return "text";
}

static void spec_key(struct buf *b, const struct command *cmd, const struct opt *o)
{
	(void)cmd;
	if (o->flags & OPT_NO_SPEC)
		return;
	buf_printf(b, "| [`%s`](#%s) | %s | ", o->name, o->name, json_type(o));
	markdown(b, o->help);
	buf_puts(b, " |\n");
}

static void spec_keys(struct buf *b)
{
	buf_puts(b, "\n| key | JSON type | meaning |\n|---|---|---|\n"
		    "| [`target`](#target) | text | the function: TARGET of the command line |\n");
	each(b, &cmd_run, spec_key);
	buf_puts(b, "\n");
}

/* ---- bash: three functions that the hand-written part of the completion calls ---- */

static void bash_name(struct buf *b, const struct command *cmd, const struct opt *o)
{
	(void)cmd;
	buf_printf(b, " --%s", o->name);
	if (o->letter)
		buf_printf(b, " -%c", o->letter);
}

static void bash_value(struct buf *b, const struct command *cmd, const struct opt *o)
{
	char words[WORDS_MAX] = "";
	bool fixed = words_of(o, words);

	if (!o->arg)
		return;
	buf_printf(b, "\t\"%s --%s\"", cmd->name, o->name);
	if (o->letter)
		buf_printf(b, " | \"%s -%c\"", cmd->name, o->letter);
	/* KIND WORD...: what besides the words may be completed */
	buf_printf(b, ") echo %s%s%s ;;\n",
		   strchr(o->arg, '@') ? "event"
		   : takes_file(o)     ? "file"
		   : takes_dir(o)      ? "dir"
				       : "word",
		   fixed ? " " : "", words);
}

static void bash(struct buf *b)
{
	buf_puts(b, "_fsbox_commands='");
	for (size_t i = 0; commands[i]; i++)
		buf_printf(b, "%s%s", i > 0 ? " " : "", commands[i]->name);
	buf_puts(b, "'\n\n_fsbox_options() { # COMMAND\n\tcase $1 in\n");
	for (size_t i = 0; commands[i]; i++) {
		buf_printf(b, "\t%s) echo --help", commands[i]->name);
		each(b, commands[i], bash_name);
		buf_puts(b, " ;;\n");
	}
	buf_puts(b, "\tesac\n}\n\n_fsbox_value() { # COMMAND OPTION: the kind of its value, then fixed words\n");
	buf_puts(b, "\tcase \"$1 $2\" in\n");
	for (size_t i = 0; commands[i]; i++)
		each(b, commands[i], bash_value);
	buf_puts(b, "\tesac\n}\n");
}

/* ---- zsh: a function for each command; zshcompsys(1), "_arguments" ---- */

/* Inside single quotes and inside an _arguments description. */
static void zsh_text(struct buf *b, const char *s)
{
	for (; *s; s++) {
		if (*s == '\'')
			buf_puts(b, "'\\''");
		else if (*s == ':' || *s == '[' || *s == ']' || *s == '\\')
			buf_printf(b, "\\%c", *s);
		else
			buf_add(b, s, 1);
	}
}

static void zsh_option(struct buf *b, const struct command *cmd, const struct opt *o)
{
	char words[WORDS_MAX] = "";
	bool fixed = words_of(o, words);

	(void)cmd;
	buf_puts(b, " \\\n\t\t");
	if (o->letter && o->flags & OPT_MULTI)
		buf_printf(b, "\\*{-%c,--%s%s}", o->letter, o->name, o->arg ? "=" : "");
	else if (o->letter)
		buf_printf(b, "'(-%c --%s)'{-%c,--%s%s}", o->letter, o->name, o->letter, o->name, o->arg ? "=" : "");
	else
		buf_printf(b, "%s--%s%s", o->flags & OPT_MULTI ? "\\*" : "", o->name, o->arg ? "=" : "");
	buf_puts(b, "'[");
	zsh_text(b, o->help);
	buf_puts(b, "]");
	if (o->arg) {
		buf_puts(b, ":");
		zsh_text(b, o->arg);
		buf_puts(b, ":");
		if (strchr(o->arg, '@'))
			buf_puts(b, "_fsbox_event");
		else if (fixed && takes_file(o))
			buf_printf(b, "{ compadd -- %s; _files }", words);
		else if (fixed)
			buf_printf(b, "(%s)", words);
		else if (takes_file(o))
			buf_puts(b, "_files");
		else if (takes_dir(o))
			buf_puts(b, "_files -/");
	}
	buf_puts(b, "'");
}

static void zsh(struct buf *b)
{
	buf_puts(b, "_fsbox_commands() {\n\tlocal -a commands=(");
	for (size_t i = 0; commands[i]; i++) {
		buf_printf(b, "\n\t\t'%s:", commands[i]->name);
		zsh_text(b, commands[i]->summary);
		buf_puts(b, "'");
	}
	buf_puts(b, "\n\t)\n\t_describe command commands\n}\n");
	for (size_t i = 0; commands[i]; i++) {
		buf_printf(b, "\n_fsbox_%s() {\n\t_arguments -S : '(- :)--help[show the help of this command]'",
			   commands[i]->name);
		each(b, commands[i], zsh_option);
		if (commands[i] == &cmd_run)
			buf_puts(b, " \\\n\t\t'1:function:_files -g \"*.so(-.)\"'");
		if (commands[i] == &cmd_help)
			buf_puts(b, " \\\n\t\t'1:command:_fsbox_commands'");
		buf_puts(b, "\n}\n");
	}
}

/* ---- Files ---- */

static bool generate(struct buf *b, const char *kind)
{
	const struct command *cmd;

	if (strcmp(kind, "spec-keys") == 0) {
		spec_keys(b);
		return true;
	}
	if (strcmp(kind, "bash") == 0) {
		bash(b);
		return true;
	}
	if (strcmp(kind, "zsh") == 0) {
		zsh(b);
		return true;
	}
	cmd = str_starts(kind, "man-options ") ? find_command(kind + strlen("man-options ")) : NULL;
	if (cmd)
		each_own(b, cmd, man_option);
	return cmd != NULL;
}

int main(int argc, char **argv)
{
	return regions_main("gencli", argc, argv, generate);
}
