/* One more process in a cell that runs, for whoever looks after it: in the cell's namespaces and groups, with its user, its
 * filter, its resource limits and no capability, as the cell's own processes are.
 *
 * How: a helper, a copy of this process, leaves all descriptors but the ones that are needed, joins the namespaces of
 * the cell's PID 1 and makes the process as its sister, so that it is our child; then it ends. The new process waits for
 * our word, enters the groups, becomes what the cell's processes are, and executes `enter` of the cell's runtime
 * directory, which executes the command (sandbox/runtime/enter says why).
 *
 * What the cell could reach of the helper and of the process before that: nothing. The helper is in no namespace of
 * processes but ours; the process is not dumpable, and its memory belongs to our user namespace, in which nobody in the
 * cell has a right (ptrace(2), "Ptrace access mode checking"). No name is looked up before the namespaces are joined, and
 * the directory only after ids, capabilities and descriptors have been given up.
 *
 * Nothing here waits but for a helper that has said its last word. */
#pragma once

#include "cell/build.h"

enum { ENTER_MAX_ARGS = 256, ENTER_MAX_ENV = 256 + 8 };

struct cell_enter {
	/* for cell_enter_begin(), which borrows them for as long as it runs */
	const char
		*argv[ENTER_MAX_ARGS + 2]; /* [0] is not the caller's; the command from [1] on; NULL behind the last */
	const char *envp[ENTER_MAX_ENV + 1];
	const char *cwd;
	int stdio[3]; /* FD_NONE: the cell's /dev/null */
	bool tty;     /* stdio[0] is a terminal, and becomes the one that controls the process */
	/* The words of our own command line, which /proc would show to the cell as the process's: wiped in the helper. Not
	 * what is pointed to above. NULL: none. */
	char *own_args;
	size_t own_args_len;
	/* what there is */
	int word;  /* watch it for reading until cell_enter_step() says 0 or fails */
	int pidfd; /* of the process, ours to wait for; FD_NONE until it is born */
	bool reaped;
	siginfo_t exit; /* valid when reaped */
	/* private */
	pid_t helper;
	int helper_pidfd;
	struct cg_sub sub;
	bool killed, committed;
};

/* Empties it. */
void cell_enter_init(struct cell_enter *en);
/* Starts the helper. @name: of the process's own group inside of the cell's. On failure nothing is left. ERR_NOT_FOUND
 * when the cell has ended. */
NODISCARD int cell_enter_begin(const struct cell *c, const char *name, struct cell_enter *en, struct err *e);
/* Takes one message: 1 when there may be more (en->pidfd may be there now: watch it), 0 when `enter` is being executed.
 * After a failure: when en->pidfd is there, cell_enter_kill() and wait for it. */
NODISCARD int cell_enter_step(struct cell_enter *en, struct err *e);
/* en->pidfd is readable: reaps. Then, why the command could not be executed: ERR_NOT_FOUND, ERR_DENIED, …, stage "exec"; 0
 * when it was. */
NODISCARD int cell_enter_reap(struct cell_enter *en, struct err *e);
/* Ends it and what it has started, also while the helper is at work. */
void cell_enter_kill(struct cell_enter *en);
/* For a caller who cannot watch what was begun: waits until all of it is gone, and closes everything. */
void cell_enter_abandon(struct cell_enter *en);
/* When it is reaped, or was never born: ends what it left running, removes its group, closes everything. -EAGAIN: some
 * of it is not gone yet; again in a millisecond. With @give_up it answers 0 in any case: the group goes with the cell's. */
NODISCARD int cell_enter_try_release(struct cell_enter *en, bool give_up);
