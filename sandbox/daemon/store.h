/* Deployed functions, kept in an SQLite file across restarts of the daemon. The only user of SQLite.
 *
 * One daemon has the file for itself (locking_mode=EXCLUSIVE), so no other program can hold the event loop up; a
 * write-ahead log with synchronous=NORMAL: what store_put() acknowledged survives a kill -9, and a crash of the machine
 * takes at most the last changes and never the file. The file is made 0600: specs hold environment variables.
 *
 * Every failure comes back as an error in words and leaves the store usable: a change that failed has not happened.
 * Nothing here prints. SQLite's codes end here. */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <sys/types.h>

enum {
	STORE_VERSION = 2,        /* of the tables: PRAGMA user_version */
	STORE_MAX_GROUPS = 65536, /* NGROUPS_MAX */
	STORE_MAX_TEXT = 2 << 20, /* of one string: a spec has at most SPEC_MAX_BYTES */
	STORE_BUSY_MS = 1000,     /* at most this long store_open() waits for a daemon that is ending */
};

struct stored {
	uint32_t number; /* given by store_put(), from 1, never used again */
	uid_t owner;     /* with name: the key */
	gid_t gid;
	const gid_t *groups;
	size_t n_groups;
	const char *name, *digest;
	const char *spec; /* JSON text */
	const char *path; /* absolute, or "" */
	int64_t provisioned, reserved, max_cells, created_ms;
	int64_t snapshot; /* 0 to 2, the daemon's own meaning */
};

struct sqlite3;
struct sqlite3_stmt;

struct store {
	struct sqlite3 *db; /* NULL when not open: then all below fail with words */
	/* Told of each row that no fsbox can have written, when it is set: then they are no error. What of them can be
	 * read; @name may be NULL, and @owner is of use with it only. */
	void (*damaged)(void *arg, uint32_t number, uid_t owner, const char *name, const struct err *why);
	void *damaged_arg;
	struct sqlite3_stmt *put, *remove, *drop, *count, *from, *at, *find;
	dev_t device;     /* of the file */
	ino_t inode, log; /* the file's and its log's */
	char file[160];   /* for messages: the end of the name */
};

/* Makes the file when there is none (its directory must be there), brings older tables up to date in one transaction.
 * Refused: a file that is no SQLite database or is damaged (ERR_SYSTEM, EBADMSG; hint: move it away), one that another
 * program made (ERR_EXISTS), a newer fsbox's (ERR_UNSUPPORTED), one in use (ERR_BUSY), one that cannot be written
 * (ERR_DENIED). On failure @s is as after store_close(), and the daemon may go on without. */
NODISCARD int store_open(struct store *s, const char *file, struct err *e);
/* The same, without a wait for another program that uses it. */
NODISCARD int store_open_now(struct store *s, const char *file, struct err *e);
void store_close(struct store *s);

/* Its name stands for another file by now, or for none: changes are for nobody who opens that name later. */
bool store_is_moved(const struct store *s);

/* Keeps @f in the place of what has this owner and name, under a new number (@f->number is ignored). ERR_LIMIT: the disk
 * is full, or a field is too large; ERR_DENIED: the file is read-only; ERR_SYSTEM: input or output failed. */
NODISCARD int store_put(struct store *s, const struct stored *f, uint32_t *ret_number, struct err *e);
NODISCARD int store_remove(struct store *s, uid_t owner, const char *name, bool *ret_existed, struct err *e);
/* The row with this number, and no newer one of the same name. Numbers are those of one file. */
NODISCARD int store_drop(struct store *s, uint32_t number, struct err *e);

/* How many rows this owner has under other names than @but. */
NODISCARD int store_count(struct store *s, uid_t owner, const char *but, uint32_t *ret, struct err *e);

/* Calls @fn for each with a number above @after, in the order of the numbers, until one call returns non-zero: that value
 * is returned. @f and what it points to live as long as the call, which must use the store for nothing else. A row that no
 * fsbox can have written is left out, and the error at the end (EBADMSG) names the first such; the others were given all
 * the same. Any other error (a lack of memory: ENOMEM) ends it there: what was given before it counts. Who stops half-way
 * goes on from the last number at no cost for those before. */
NODISCARD int store_from(struct store *s, uint32_t after, int (*fn)(const struct stored *f, void *arg), void *arg,
			 struct err *e);

/* All of them. */
NODISCARD int store_each(struct store *s, int (*fn)(const struct stored *f, void *arg), void *arg, struct err *e);

/* The same for the one with this number, which may be gone. */
NODISCARD int store_at(struct store *s, uint32_t number, int (*fn)(const struct stored *f, void *arg), void *arg,
		       struct err *e);

/* The same for the one with this owner and name, by the index: @fn is called once, or not at all. */
NODISCARD int store_find(struct store *s, uid_t owner, const char *name, int (*fn)(const struct stored *f, void *arg),
			 void *arg, struct err *e);
