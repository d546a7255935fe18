/* What the commands that talk to fsboxd have in common before and after. */
#include "cli/client.h"

#include "base/fd.h"

#include <stdio.h>

enum { FAILED = 1 };

int client_set_number(void *args, const struct opt *o, const char *value, struct err *e)
{
	uint64_t n;

	/* JSON's numbers are whole up to there for every reader: RFC 8259, section 6. Without leading zeros it is JSON. */
	if (!parse_u64(value, 0, (UINT64_C(1) << 53) - 1, &n) || (value[0] == '0' && value[1]))
		return err_set(e, ERR_SPEC, 0, "--%s: expected a whole number, got '%s'", o->name, value);
	memcpy((char *)args + o->offset, &value, sizeof value);
	return 0;
}

/* clang-format off */
static const struct opt opts[] = {
	{ "json",   NULL,   OPT_FLAG, opt_set_flag, offsetof(struct client_args, json),   "print JSON: one document, or for streams one to a line", 0 },
	{ "socket", "FILE", 0,        opt_set_text, offsetof(struct client_args, socket), "the daemon's socket (default $FSBOX_SOCKET, /run/fsbox/fsbox.sock, or the user's own)", 0 },
};
/* clang-format on */
const struct opt_table client_opts = {opts, ARRAY_LEN(opts)};

void client_end(struct client *c, const struct err *e)
{
	int signal_fd = c->signal_fd;

	client_close(c);
	if (e->kind != ERR_NONE && !(e->kind == ERR_CANCELLED && fd_valid(signal_fd)))
		cli_print_err(e);
	if (fd_valid(signal_fd)) {
		cli_die_of_signal(signal_fd); /* returns when there was none */
		if (e->kind == ERR_CANCELLED)
			cli_print_err(e);
	}
	fd_closep(&signal_fd);
}

static int connect_and_act(struct client *c, struct client_args *a, char **operands, client_act *act, struct err *e)
{
	int r = client_open(c, a->socket, e);

	/* Only from here on: what waits for fsboxd to accept us is ended by a signal as any program is. */
	if (r == 0)
		r = c->signal_fd = cli_open_signals(e);
	return r < 0 ? r : act(c, a, operands, e);
}

int client_run(const struct command *cmd, int argc, char **argv, void *args, int min, int max, client_act *act)
{
	struct client c = {.fd = FD_NONE, .signal_fd = FD_NONE};
	struct err e = {0};
	int operands, r = opt_parse(cmd->tables, cmd->n_tables, argc, argv, args, &operands, &e);

	if (r == 0 && (operands < min || (max >= 0 && operands > max)))
		r = err_set(&e, ERR_SPEC, 0, "usage: fsbox %s %s", cmd->name, cmd->operands);
	if (r < 0) {
		cli_print_err(&e);
		return EXIT_USAGE;
	}
	argv[1 + operands] = NULL;
	r = connect_and_act(&c, args, argv + 1, act, &e);
	client_end(&c, &e);
	return r >= 0 || e.kind == ERR_NONE ? 0 : FAILED;
}

int client_print(struct client *c, struct buf *b, struct err *e)
{
	int r = b->failed ? err_oom(e) : cli_write(STDOUT_FILENO, b->data ? b->data : "", b->len, c->signal_fd);

	b->len = 0;
	if (r == -ECANCELED)
		return err_set(e, ERR_CANCELLED, ECANCELED, "interrupted");
	return r < 0 && r != -EPIPE && e->kind == ERR_NONE ? err_sys(e, r, "writing to stdout") : r;
}

void params_raw(struct buf *b, const char *key, const char *json)
{
	if (json)
		buf_printf(b, "%s\"%s\":%s", b->len == 0 ? "{" : ",", key, json);
}

void params_text(struct buf *b, const char *key, const char *text)
{
	if (!text)
		return;
	params_raw(b, key, "");
	json_add_string(b, text, strlen(text));
}

void params_end(struct buf *b)
{
	buf_puts(b, b->len == 0 ? "{}" : "}");
}
