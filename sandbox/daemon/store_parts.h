/* Private to the store…c: store.c opens and changes, store_read.c reads. */
#pragma once

#include "daemon/store.h"

/* In words what SQLite's @code means while @doing. */
int store_fail(const struct store *s, int code, struct err *e, const char *doing);
int store_damaged(const struct store *s, struct err *e, const char *doing, const char *how);
int store_not_open(struct err *e);

/* Owner and name as a statement's first two values. A code of SQLite's. */
int store_bind_key(struct sqlite3_stmt *st, uid_t owner, const char *name);
