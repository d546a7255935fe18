/* A store of snapshots in a directory of the test's own, and what a snapshot is made of: code, a layer, a library. */
#pragma once

#include "snapshot/snapshot.h"

struct shots {
	char dir[64], store[96]; /* the store is below dir */
	char code[96], layer[96], lib[96];
	const char *kernel; /* a text of the key */
	struct snap_store st;
};

/* @where: "/tmp", or a file system in memory where speed matters. Aborts when it cannot. */
void shots_setup(struct shots *s, const char *where);
void shots_teardown(struct shots *s);
/* "/dev/shm" when files can be made there, else "/tmp". */
const char *shots_memory(void);

/* Writes a file of the host; NAME is a path, or one below @s->dir. */
void shots_write(const struct shots *s, const char *name, const char *text);
/* Code, layer and kernel. */
void shots_key(const struct shots *s, struct snap_key *ret);
/* A draft with three images of which one is @bytes long, and a manifest in which the rest stands. */
int shots_draft(const struct shots *s, size_t bytes, struct snap_draft *ret, struct err *e);
/* The same, committed and closed. @ret_id may be NULL. */
int shots_make(const struct shots *s, char ret_id[SNAP_ID_LEN + 1], struct err *e);
/* Looks for it, and closes it: 1, 0, negative. */
int shots_find(const struct shots *s, char reason[256], struct err *e);
/* Entries of a directory below the store ("" for itself) whose names begin so. */
int shots_count(const struct shots *s, const char *below, const char *prefix);
/* Changes a byte of a file and puts its times back as far as anybody can. */
void shots_tamper(const char *path);
/* Waits until the clock of the file system has ticked. */
void shots_tick(void);
