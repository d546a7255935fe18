/* Events and lines of logs, kept in memory with rising cursors, so that a client that was away goes on where it was.
 *
 * A journal holds at most so many entries and bytes; the oldest go. Whose: each owner has a lane of its own, and when there
 * is no room, the lane with the most bytes gives its oldest, so that nobody who writes much drives out what others wrote.
 *
 * A cursor is never given out twice, not by the daemon after this one either: they begin at the wall clock's microseconds
 * and rise by one. (Only a clock that was put back can break that; journal_lost() tells such cursors by their lying ahead.)
 * They stay below 2^53 until the year 2255, as JSON readers want integers.
 *
 * Not for threads. Nothing here prints. */
#pragma once

#include "base/err.h"

enum {
	JOURNAL_ENTRIES = 4096,        /* what journal_init() takes for 0 */
	JOURNAL_BYTES = 1 << 20,       /* the same; all that the entries take in memory */
	JOURNAL_MIN_BYTES = 256 << 10, /* room for some of the largest entries */
	JOURNAL_MAX_TEXT = 64 << 10,   /* longer text is cut, and the entry says so */
	JOURNAL_MAX_WORD = 4096,       /* the same for each of the other strings */
	JOURNAL_LANES = 256,           /* owners beyond share the last lane */
};

struct entry {
	uint64_t cursor; /* from the journal */
	int64_t time_ms; /* wall clock */
	uint32_t owner;  /* uid */
	uint8_t kind;    /* 0 … 31, the caller's */
	/* NULL when there is none; each ends with a 0 byte. */
	const char *function, *cell, *invocation, *status, *detail;
	const char *text; /* any bytes: json_add_string() makes them UTF-8; NULL and 0 without */
	size_t len;
	int stream;       /* the caller's */
	uint32_t dropped; /* the caller's: what was left out before this one */
	bool cut;         /* text or a string was too long; set by the journal */
};

/* All that is given must match. */
struct journal_filter {
	bool one_owner;
	uint32_t owner;                           /* with one_owner: the lanes of others are not even looked at */
	uint32_t kinds;                           /* bits 1 << kind; 0: any */
	const char *function, *cell, *invocation; /* or NULL; an entry without one does not match */
};

struct lane;

struct journal {
	size_t max_entries, max_bytes;
	size_t n_entries, n_bytes;
	uint64_t start, next; /* the first cursor, and the next */
	uint64_t failed;      /* entries that memory was lacking for */
	struct lane *lanes;   /* allocated with the first entry */
	size_t n_lanes;
};

/* Allocates nothing. 0 for a limit: the default above; limits that are too small for one entry are raised. */
void journal_init(struct journal *j, size_t max_entries, size_t max_bytes);
void journal_done(struct journal *j);

/* Copies @e, whose cursor, cut are ignored. Returns the cursor; 0 when memory is out: then this one is lost, and counted.
 * Pointers from journal_next() are invalid afterwards. */
uint64_t journal_add(struct journal *j, const struct entry *e);

/* The first entry with a cursor above @after that matches @f (NULL: any), or NULL. O(log n) to the place, then what the
 * filter passes over: who gets NULL goes on from journal_last(), and so looks at no entry twice. */
const struct entry *journal_next(const struct journal *j, uint64_t after, const struct journal_filter *f);

/* The cursors of the oldest entry that is there and of the newest that ever was. Empty: first is the next to come, last the
 * one before it. Never 0. */
uint64_t journal_first(const struct journal *j);
uint64_t journal_last(const struct journal *j);

/* How many entries above @after are gone, at most; exactly, when there is one owner. With @f->one_owner, those of that
 * owner; its other members do not count. 0: none is missing. @after = 0 asks for what is there, whatever that is, and
 * misses nothing. A cursor from before the daemon's start, or ahead of journal_last(), misses at least one. Going from
 * cursor to cursor, what is missing before an entry is journal_lost(the cursor before) - journal_lost(its own): these add
 * up, and none is told of twice. */
uint64_t journal_lost(const struct journal *j, uint64_t after, const struct journal_filter *f);

/* Whether @after is a cursor that this journal can have given out, or 0. What was lost after another one nobody can
 * count. */
bool journal_knows(const struct journal *j, uint64_t after);

/* The lowest cursor that misses nothing as @after: journal_lost() is 0 there and for all up to journal_last(). With
 * @f->one_owner, of that owner's. It is what a client that has lost something goes on from; journal_first() may be lower,
 * where another owner's entries are older than those that are gone. */
uint64_t journal_since(const struct journal *j, const struct journal_filter *f);
