#include "cli/cli.h"

#include "base/fd.h"

#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>

/* In the order in which help lists them. */
const struct command *const commands[] = {
	&cmd_run,      &cmd_snapshot,  &cmd_check, &cmd_help,    &cmd_serve, &cmd_deploy, &cmd_invoke, &cmd_scale,
	&cmd_undeploy, &cmd_functions, &cmd_ps,    &cmd_inspect, &cmd_logs,  &cmd_events, &cmd_stats,  &cmd_top,
	&cmd_pause,    &cmd_resume,    &cmd_kill,  &cmd_rm,      &cmd_exec,  NULL,
};

/* Messages quote what the user gave: control bytes of it must not reach the terminal. */
static void print_clean(const char *s)
{
	for (; *s; s++)
		(void)fputc((unsigned char)*s < 0x20 || *s == 0x7f ? '?' : *s, stderr);
}

void cli_print_err(const struct err *e)
{
	(void)fputs("fsbox: ", stderr);
	if (e->where[0]) {
		print_clean(e->where);
		(void)fputs(": ", stderr);
	}
	print_clean(e->msg[0] ? e->msg : err_kind_name(e->kind));
	if (e->stage[0])
		(void)fprintf(stderr, " (stage %s)", e->stage);
	(void)fputc('\n', stderr);
	if (e->hint[0]) {
		(void)fputs("fsbox: hint: ", stderr);
		print_clean(e->hint);
		(void)fputc('\n', stderr);
	}
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; commands[i]; i++)
		if (strcmp(commands[i]->name, name) == 0)
			return commands[i];
	return NULL;
}

void cli_print_help(const struct command *cmd)
{
	(void)printf("fsbox %s %s\n%s\n", cmd->name, cmd->operands, cmd->summary);
	if (cmd->details)
		(void)printf("\n%s", cmd->details);
	for (size_t t = 0; t < cmd->n_tables; t++)
		for (size_t i = 0; i < cmd->tables[t]->n; i++) {
			const struct opt *o = &cmd->tables[t]->opts[i];
			char left[64];

			if (t == 0 && i == 0)
				(void)printf("\nOptions:\n");
			(void)snprintf(left, sizeof left, "%s%c%s--%s%s%s", o->letter ? "-" : " ",
				       o->letter ? o->letter : ' ', o->letter ? ", " : "  ", o->name, o->arg ? " " : "",
				       o->arg ? o->arg : "");
			(void)printf("  %-28s %s\n", left, o->help);
		}
}

static void print_overview(void)
{
	static const char *const headings[] = {
		[GROUP_ALONE] = "without a daemon",
		[GROUP_DAEMON] = "the daemon and its clients",
	};

	(void)printf("fsbox runs functions in cells: isolated, limited, measured.\n");
	for (size_t g = 0; g < ARRAY_LEN(headings); g++) {
		(void)printf("\n%s:\n", headings[g]);
		for (size_t i = 0; commands[i]; i++)
			if (commands[i]->group == g)
				(void)printf("  fsbox %-9s  %s\n", commands[i]->name, commands[i]->summary);
	}
	(void)printf("\n  fsbox help COMMAND    operands, options and exit statuses of one\n  fsbox --version\n\n"
		     "Example: fsbox run --mem 512 handler.so --event '{\"name\":\"ada\"}'\n");
}

static int help_main(int argc, char **argv)
{
	const struct command *cmd = argc > 1 ? find_command(argv[1]) : NULL;

	if (argc > 1 && !cmd) {
		(void)fprintf(stderr, "fsbox: no command '%s'\n", argv[1]);
		return EXIT_USAGE;
	}
	if (cmd)
		cli_print_help(cmd);
	else
		print_overview();
	return 0;
}

const struct command cmd_help = {
	.name = "help",
	.operands = "[COMMAND]",
	.summary = "what there is to know about a command",
	.main = help_main,
};

/* What a caller may have left us that would make us blind or kill us in the middle of something. */
static int prepare_process(void)
{
	enum { FILES_NEEDED = 64 }; /* a start holds about forty descriptors at once */
	struct rlimit files;

	if (fd_fill_stdio() < 0)
		return EXIT_FSBOX;
	/* Writing to a closed pipe or over a file size limit is an error value here, not a death that leaves a cell. */
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGXFSZ, SIG_IGN);
	/* Ignored, it would let children vanish unseen: wait(2), NOTES. */
	(void)signal(SIGCHLD, SIG_DFL);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < FILES_NEEDED) {
		files.rlim_cur = files.rlim_max;
		if (files.rlim_max < FILES_NEEDED || setrlimit(RLIMIT_NOFILE, &files) < 0) {
			(void)fprintf(stderr, "fsbox: at most %llu open files are allowed here, %d are needed\n",
				      (unsigned long long)files.rlim_max, FILES_NEEDED);
			(void)fprintf(stderr, "fsbox: hint: ulimit -n 1024\n");
			return EXIT_FSBOX;
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	const struct command *cmd;
	int r = prepare_process();

	if (r != 0)
		return r;
	if (argc < 2) {
		print_overview();
		return EXIT_USAGE;
	}
	if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
		(void)printf("fsbox %s\n", FSBOX_VERSION);
		return 0;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
		print_overview();
		return 0;
	}
	cmd = find_command(argv[1]);
	if (!cmd) {
		(void)fprintf(stderr, "fsbox: no command '%s'\nfsbox: hint: fsbox help lists them\n", argv[1]);
		return EXIT_USAGE;
	}
	/* As the first word only: elsewhere it may be an option's value. */
	if (argc > 2 && (strcmp(argv[2], "--help") == 0 || strcmp(argv[2], "-h") == 0)) {
		cli_print_help(cmd);
		return 0;
	}
	return cmd->main(argc - 1, argv + 1);
}
