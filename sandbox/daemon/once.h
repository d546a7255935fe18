/* Each invocation at most once, also across a kill -9 of the daemon: a table of those that began, in a file that outlives
 * the process (meant for tmpfs: /run/fsbox), mapped and shared with nobody.
 *
 * An invocation is kept as SipHash-2-4 with 128 bits over uid and id, under a key drawn when the file is made, so nobody
 * can choose ids that collide. ONCE_ENTRIES are kept in sets of ONCE_WAYS. Where a set is full, the oldest goes of those
 * from over an hour ago; else, of the done ones, the oldest of the uid that has most of the set; else the oldest. So the
 * guarantee lasts for roughly the last ONCE_ENTRIES invocations: with 1,000 a second, a minute.
 *
 * Each entry is complete in one store of its last word, so a kill between any two instructions leaves it there or not.
 * After a crash of the machine the table is gone with the tmpfs, as are the cells.
 *
 * Cost: no system call, one hash, one set of 512 bytes. Not for threads. Nothing here prints. */
#pragma once

#include "base/fd.h"

#include <sys/types.h>

enum {
	ONCE_ENTRIES = 65536,
	ONCE_WAYS = 16,
	ONCE_BEGUN_S = 3600, /* one that began so long ago gives way before others: no call lasts so long */
};

enum once_state {
	ONCE_NEW,   /* never seen, or long forgotten */
	ONCE_BEGUN, /* handed to a cell, end unknown: perhaps before a crash */
	ONCE_DONE,
};

struct once {
	int fd;                /* locked with flock(2) as long as it is open */
	struct once_file *map; /* NULL when not open */
	char note[192];        /* why the table was made anew, for the log, or "" */
};

/* Opens or makes the file. One that is damaged, of another version or size, not regular, or another user's is made anew,
 * and @o->note says so. ERR_BUSY when another daemon has it. On failure @o is as after once_close(). */
NODISCARD int once_open(struct once *o, const char *path, struct err *e);
void once_close(struct once *o);

/* The state of an invocation, without a change. */
enum once_state once_look(const struct once *o, uid_t uid, const char *id);

/* ONCE_NEW: it was not there, and now is as ONCE_BEGUN: go on with it, and do so only after this has returned. Otherwise
 * its state, unchanged. @now_s: seconds of CLOCK_BOOTTIME. */
enum once_state once_begin(struct once *o, uid_t uid, const char *id, uint64_t now_s);

/* Its end is known. Nothing when it is not there. */
void once_done(struct once *o, uid_t uid, const char *id);

/* It was never handed to a cell after all (refused, cancelled in the queue): the same id may be tried again. */
void once_forget(struct once *o, uid_t uid, const char *id);

/* SipHash-2-4 with 128 bits of output (Aumasson, Bernstein: SipHash: a fast short-input PRF; the authors' long variant). */
void once_siphash(const unsigned char key[static 16], const void *data, size_t len, unsigned char out[static 16]);
