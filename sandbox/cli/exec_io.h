/* The command's standard descriptors, and copying between them and ours until the answer comes. */
#pragma once

#include "cli/client.h"

#include <termios.h>

struct exec_io {
	int theirs[3]; /* to be sent, in this order and by these names; closed by exec_io_run() */
	const char *names[3];
	size_t n_theirs;
	/* private */
	int in, out, err; /* our ends; of a terminal @in and @out are one */
	int copy_to;      /* where the command's standard output goes */
	bool tty, raw, no_stdin;
	bool in_open, stdin_open;
	struct termios before;
	int resized; /* signalfd of SIGWINCH, or FD_NONE */
	char pending[16384];
	size_t at, len; /* of pending: read from our stdin, not yet written */
};

/* With @tty, ERR_SPEC when our standard input is no terminal; it is raw from here to exec_io_restore(). */
NODISCARD int exec_io_open(struct exec_io *io, bool tty, bool no_stdin, int copy_to, struct err *e);
/* Copies until an answer has come and the command's output is read. -ECANCELED by a signal of c->signal_fd. */
NODISCARD int exec_io_run(struct exec_io *io, struct client *c, struct err *e);
/* The terminal as it was. Idempotent. */
void exec_io_restore(struct exec_io *io);
void exec_io_done(struct exec_io *io);
