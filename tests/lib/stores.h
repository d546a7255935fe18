/* A store of functions in a directory of its own, for tests. */
#pragma once

#include "daemon/store.h"

struct stores {
	struct store s;
	char dir[64], file[80];
	struct stored all[64]; /* as stores_look() found them */
	size_t n;
	char *text;
};

void stores_setup(struct stores *t); /* an empty one, open */
void stores_done(struct stores *t);
void stores_reopen(struct stores *t);

/* Keeps a function and returns its number; 0 after a failed check. */
uint32_t stores_put(struct stores *t, uid_t owner, const char *name, const char *spec);

/* Copies everything that is kept into @t->all. */
void stores_look(struct stores *t);

/* The same as lines "NUMBER: OWNER/NAME SPEC"; valid until the next call. */
const char *stores_text(struct stores *t);

/* SQL through the open store, and through a connection of its own while it is closed. */
void stores_sql(struct stores *t, const char *sql);
void stores_raw(struct stores *t, const char *sql);
