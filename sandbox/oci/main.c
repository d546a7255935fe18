/* fsbox-oci: an OCI runtime. This file knows the commands; each has a file of its own. */
#include "oci/checkpoint.h"
#include "oci/oci.h"
#include "oci/unit.h"

#include "base/fd.h"

#include <signal.h>
#include <stdio.h>

const struct oci_command *const oci_commands[] = {
	&oci_create, &oci_start,      &oci_state,   &oci_kill,     &oci_delete, &oci_run,
	&oci_exec,   &oci_ps,         &oci_list,    &oci_pause,    &oci_resume, &oci_update,
	&oci_events, &oci_checkpoint, &oci_restore, &oci_features, &oci_spec,   NULL,
};

static const struct oci_command *find_command(const char *name)
{
	for (size_t i = 0; oci_commands[i]; i++)
		if (strcmp(oci_commands[i]->name, name) == 0)
			return oci_commands[i];
	return NULL;
}

/* crun's test suite looks at the line of features. */
static int print_version(void)
{
	(void)printf("fsbox-oci version %s\ncommit: %s\nspec: %s\n+CAP +SECCOMP +EBPF%s%s\n", FSBOX_VERSION,
		     FSBOX_VERSION, OCI_SPEC_VERSION, unit_available() ? " +SYSTEMD" : "",
		     checkpoint_possible() ? " +CRIU" : "");
	return 0;
}

static void print_options(const struct opt_table *t)
{
	for (size_t i = 0; i < t->n; i++) {
		char left[64];

		(void)snprintf(left, sizeof left, "--%s%s%s%s%c", t->opts[i].name, t->opts[i].arg ? " " : "",
			       t->opts[i].arg ? t->opts[i].arg : "", t->opts[i].letter ? ", -" : "",
			       t->opts[i].letter ? t->opts[i].letter : ' ');
		(void)printf("  %-34s %s\n", left, t->opts[i].help);
	}
}

static int print_help(const struct oci_command *c)
{
	if (c) {
		(void)printf("fsbox-oci %s [options] %s\n%s\n\n", c->name, c->operands, c->summary);
		print_options(&c->options);
		return 0;
	}
	(void)printf("fsbox-oci runs OCI containers.\n\nfsbox-oci [options] COMMAND [options] ...\n\n");
	for (size_t i = 0; oci_commands[i]; i++)
		(void)printf("  %-10s %s\n", oci_commands[i]->name, oci_commands[i]->summary);
	(void)printf("\nOptions before the command:\n");
	print_options(&oci_global_options);
	return 0;
}

static bool is_word(const char *arg, const char *name)
{
	return strcmp(arg + strspn(arg, "-"), name) == 0 && arg[0] == '-';
}

static bool needs_protection(const struct oci_command *c)
{
	return c == &oci_create || c == &oci_run || c == &oci_exec;
}

static int run(int argc, char **argv, struct oci_args *a, int *ret_failure, struct err *e)
{
	const struct oci_command *c;
	int used = 0, r;

	if (argc < 2 || is_word(argv[1], "help") || is_word(argv[1], "h"))
		return print_help(NULL);
	for (int i = 1; i < argc && argv[i][0] == '-'; i++)
		if (is_word(argv[i], "version") || is_word(argv[i], "v"))
			return print_version();
	r = oci_parse_global(argc, argv, a, &used, e);
	if (r < 0)
		return r;
	if (used + 1 >= argc)
		return err_set(e, ERR_SPEC, EINVAL, "no command given");
	c = find_command(argv[used + 1]);
	if (!c && strcmp(argv[used + 1], "help") == 0)
		return print_help(used + 2 < argc ? find_command(argv[used + 2]) : NULL);
	if (!c)
		return err_set(e, ERR_SPEC, EINVAL, "no command '%s'", argv[used + 1]);
	if (argc > used + 2 && (is_word(argv[used + 2], "help") || is_word(argv[used + 2], "h")))
		return print_help(c);
	if (needs_protection(c)) {
		r = oci_protect(argv, e);
		if (r < 0)
			return r;
	} else {
		oci_forget_own_mount();
	}
	*ret_failure = c->failure ? c->failure : 1;
	r = oci_parse(c, argc - used - 1, argv + used + 1, a, e);
	return r < 0 ? r : c->main(a, e);
}

int main(int argc, char **argv)
{
	AUTO(buf_done) struct buf warnings = {0};
	struct oci_args args = {.warnings = &warnings};
	struct err e = {0};
	int r, failure = 1;

	if (fd_fill_stdio() < 0)
		return 1;
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGXFSZ, SIG_IGN);
	(void)signal(SIGCHLD, SIG_DFL); /* ignored, children would vanish unseen */
	r = run(argc, argv, &args, &failure, &e);
	if (r < 0) {
		oci_report(&args, &e);
		return failure;
	}
	oci_flush_warnings(&args);
	return r;
}
