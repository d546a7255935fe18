/* Private to the units: what unit.c (lists, counts, life), unit_talk.c (the conversation with the runtime) and unit_link.c
 * (what fsbox-spawn says) use of each other. */
#pragma once

#include "daemon/unit.h"

/* What a later fsboxd has to know of a cell; fsbox-spawn keeps it. Members are only added, behind the others: a note of a
 * version before this one is shorter, and has zeros where that says nothing. */
struct note {
	uint32_t magic;
	uint32_t slot;
	uint32_t flags;
	uint32_t execs;
	uint64_t lease_ns;
	char lease[LEASE_BYTES + 7]; /* "" without */
	struct unit_grant grant;
};
enum { NOTE_LEAST = offsetof(struct note, grant) }; /* bytes of the first version */
enum { NOTE_MAGIC = 0x66736231 };
enum note_flag { NOTE_READY = 1, NOTE_SHUTDOWN = 2, NOTE_REPORTS = 4, NOTE_PAUSED = 8, NOTE_RESTORED = 16 };

/* ---- unit.c ---- */

/* NULL: no slot or no memory is left. */
struct unit *unit_new(struct function *f, uint64_t number);
/* Nothing of the cell is left. */
void unit_free(struct unit *u);
/* The counts of its function follow. */
void unit_set_state(struct unit *u, enum unit_state state);
/* Into the list of free ones, or out of it, as its state and marks say. */
void unit_list_free(struct unit *u);
void unit_mark_busy(const struct unit *u, bool busy);
void unit_send_note(const struct unit *u);
void unit_set_frozen(struct unit *u, bool frozen);
bool unit_is_to_freeze(const struct unit *u);
/* CLOCK_MONOTONIC. */
uint64_t unit_idle_until(const struct unit *u);
/* unit_end(), after what the function printed before. */
void unit_end_with(struct unit *u, const char *why);
void unit_leave_if_unwanted(struct unit *u);

/* ---- unit_talk.c ---- */

/* Bounds of a restore, see restore_until(); and how long fsbox-spawn may take to end one that is over its own. */
enum {
	RESTORE_LEAST_MS = 1000,
	RESTORE_LEAST_MS_PER_MIB = 2,
	RESTORE_MOST_MS = 10000,
	RESTORE_MOST_MS_PER_MIB = 10,
	RESTORE_END_MS = 100
};
/* Its timer. */
void unit_on_time(void *arg);

/* @init_is_over: with @ready_flags, what its runtime said at the end of that (enum chan_ready_flag). */
NODISCARD int unit_begin_talking(struct unit *u, bool init_is_over, uint32_t ready_flags, struct err *e);
void unit_stop_talking(struct unit *u);
/* Goes on with what @p (NULL: nothing) has brought. */
void unit_step(struct unit *u, const struct pollfd *p);
/* Has the loop watch for room in the channel while there is something to send. */
void unit_watch_sending(struct unit *u);
