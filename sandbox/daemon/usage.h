/* What cells use, read from the files of their groups: four system calls and more for each cell, so not more often than
 * is of use, and never many at a time, whoever asks for how much. */
#pragma once

#include "daemon/unit.h"

/* Reads it now. What is known stays when the group is gone. */
void usage_read(struct unit *u);

/* The same unless it was read in the last 100 ms. */
void usage_refresh(struct unit *u);

/* Somebody who is going to tell of cells. Zero-initialise to start; must not move while it waits. */
struct usage_wait {
	struct usage_wait *next;
	bool waits;
	bool (*wanted)(void *arg, const struct unit *u);
	void (*ready)(void *arg);
	void *arg;
	uint64_t below; /* all cells from this number up have been looked at */
};
/* Calls ready(arg) once, from the loop, when what is known of each wanted cell is no older than a second, or ten where no
 * call runs. In the order in which was asked, and one in a turn. Asked twice: once. */
void usage_await(struct daemon *d, struct usage_wait *w);
void usage_forget(struct usage_wait *w); /* idempotent */
