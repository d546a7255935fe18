/* A container or process that the command waits for: its terminal, its signals, its exit status. */
#pragma once

#include "base/err.h"

#include <sys/types.h>

struct foreground {
	int ours, theirs; /* a pair of sockets: the terminal's master comes through it */
	int master, signals;
	bool raw;
};

/* Before the process is made: blocks the signals that will be passed on; with @terminal makes a socket for its master. */
NODISCARD int foreground_begin(struct foreground *f, bool terminal, struct err *e);
/* Waits for @pidfd, passing signals and, with a terminal, bytes. The exit status as a shell has it: 128 + n for a
 * signal. */
NODISCARD int foreground_wait(struct foreground *f, int pidfd, struct err *e);
void foreground_end(struct foreground *f);
