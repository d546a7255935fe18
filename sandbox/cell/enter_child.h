/* Private to cell/enter*.c: both sides of a process that joins a cell. */
#pragma once

#include "cell/enter.h"
#include "runtime/enter/enter.h"

enum { ENTER_BORN = 0x6e726f62, ENTER_FAILED = 125 }; /* a word's magic; an exit status */

/* To the host: the helper's "born" with a pidfd, the process's "what comes now is not ours" (ENTER_MAGIC, code 0), both
 * as a word alone; or, whole, why it failed. */
struct enter_msg {
	struct enter_word word;
	struct err err;
};

struct enter_child {
	const struct cell *cell;
	const struct cell_enter *en;
	int word;
	int tasks[CG_V1_COUNT + 1];
	int n_tasks;
};

_Noreturn void enter_helper(struct enter_child *ch);
