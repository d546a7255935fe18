/* Private to snapshot/: how the store's files are laid out, and the steps that several of its parts share.
 *
 *     STORE/ID/manifest.json     what is known of it; never changed
 *              manifest.sha256   its digest, as sha256sum(1) writes it
 *              stamp             identity of each file when its digest was last found right, and the boot in which;
 *                                its mtime is the time of the last use
 *              img/              CRIU's images: 0444 in a 0755 directory, for cells see it; ID/ itself is 0700
 *              tmp.tree          content of /tmp, if there was any
 *     STORE/index/HEX            link to an id: HEX is a key with identities in place of contents
 *     STORE/last/HEX             link to the id that was made last for a function
 *     STORE/.new-… .old-… .gone-…   drafts, replaced and removed ones: rubbish once nobody holds their lock
 *
 * Who uses a snapshot or makes a draft holds a shared flock(2) on its directory; who removes one, an exclusive one. Between
 * the look at that lock and the rename nobody may put another snapshot under the name: so who gives or takes names has the
 * lock of STORE itself for these few calls. What is published is never changed, but for the stamp. */
#pragma once

#include "snapshot/internal.h"

#include <sys/stat.h>

enum {
	IDENTITY_SIZE = 128,
	REASON_SIZE = 256,
	STORE_RACY_S = 2, /* a file as new as this may change again within the same tick of the file system's clock */
};

/* ---- check.c: is it what was written? ---- */

/* Device, inode, size, times of modification and change, as a word. */
void identity_put(const struct stat *st, char out[static IDENTITY_SIZE]);
uint64_t identity_changed_ns(const struct stat *st);
/* Was the last change so long before @now_ns that the next one will show in the times? */
bool identity_settled(uint64_t changed_ns, uint64_t now_ns);

struct measured {
	uint64_t size;
	char sha256[SNAP_ID_LEN + 1], identity[IDENTITY_SIZE]; /* identity from before the content was read */
	bool settled;
};
/* Reads a whole file; its last component may be no link. Refuses what is_plain_file() does. */
NODISCARD int check_measure(int dir, const char *name, struct measured *ret, struct err *e);
/* What a file of an image must not be ("not a regular file", …), or NULL. */
const char *check_kind(const struct stat *st);

/* Reads manifest.json of the snapshot @id in @dir and compares it with its digest. ERR_SNAPSHOT_MISMATCH. */
NODISCARD int check_manifest(int dir, const char *id, struct snap_manifest *ret, struct err *e);
/* Looks at dependencies and files; with @full the stamp doesn't count. 1: all are what they were. 0: a dependency is not,
 * and @reason says which. Negative: *e. Renews the stamp where it can. */
NODISCARD int check_files(const struct snap *s, bool full, char *reason, size_t reason_size, struct err *e);

/* A stamp's text: the head, then a line for each dependency and for each file, in the manifest's order. */
NODISCARD int stamp_begin(struct buf *b, struct err *e);
void stamp_add(struct buf *b, const struct measured *m);

/* ---- key.c ---- */

/* A digest of the key with identities in place of contents. */
NODISCARD int key_index(const struct snap_key *k, char hex[static SNAP_ID_LEN + 1], struct err *e);
/* ERR_BUSY, naming the part, when a file or tree is not the one that was read. */
NODISCARD int key_unchanged(const struct snap_key *k, struct err *e);
/* The id that a manifest's parts make. */
void key_id_of(const struct snap_manifest *m, char hex[static SNAP_ID_LEN + 1]);
/* "code and kernel have changed", or "" when no part of the fixed @k differs from the manifest's. */
void key_differences(const struct snap_key *k, const struct snap_manifest *m, char *reason, size_t size);

/* ---- store.c ---- */

/* Where the store of @uid is when nobody says. */
NODISCARD int store_default_path(uid_t uid, char *ret, size_t size, struct err *e);
bool store_is_id(const char *name);
/* A fresh name "PREFIX-PID-RANDOM". */
void store_fresh_name(const char *prefix, char ret[static 64]);
/* Opens and locks the directory that is called @name when the lock is ours. -ENOENT when there is none, also when it went
 * away meanwhile; -EWOULDBLOCK. */
NODISCARD int store_lock(int store, const char *name, int how);
/* The turn to give snapshots their names or take them away, until the descriptor is closed. */
NODISCARD int store_turn(const struct snap_store *st, struct err *e);
/* The whole id for a beginning of one. ERR_SPEC, ERR_NOT_FOUND. */
NODISCARD int store_resolve(const struct snap_store *st, const char *text, char ret[static SNAP_ID_LEN + 1],
			    struct err *e);
/* Links from names to ids in one of the folders "index" and "last". Putting one is a favour to later calls: it may fail. */
bool store_link_get(int store, const char *folder, const char *name, char ret_id[static SNAP_ID_LEN + 1]);
void store_link_put(int store, const char *folder, const char *name, const char *id);
/* The name in "last" of a key's function. */
void store_last_name(const struct snap_key *k, char hex[static SNAP_ID_LEN + 1]);
/* Why there is none for the fixed key @k, or why another one is made: @m, which may be NULL, is the new one. */
void store_explain(const struct snap_store *st, const struct snap_key *k, const struct snap_manifest *m, char *reason,
		   size_t size);
/* Calls @fn with each name in a directory until one returns non-zero; returns that. -errno. */
NODISCARD int store_names(int dir, int (*fn)(const char *name, void *arg), void *arg);

/* ---- gc.c ---- */

/* Removes what dead processes left. Best effort. */
void gc_sweep(const struct snap_store *st);
