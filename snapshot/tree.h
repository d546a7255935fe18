/* Private to snapshot/: the archive of a directory.
 *
 *     "fsboxtr1"
 *     record name body        for each entry: a directory's own come after it, up to its end
 *     record                  TREE_END of the top: how many entries there were
 *
 * Record by kind:
 *   TREE_DIR    its entries follow, then a TREE_END with its attributes, which are set last: making entries changes a time,
 *               and its mode may forbid it
 *   TREE_FILE   extents, each with its bytes, at rising places that do not overlap; the last has length 0. What lies
 *               between and after them, up to `size`, is a hole
 *   TREE_LINK   `size` bytes: what it points to
 *   TREE_FIFO   nothing
 *   TREE_HARD   the same file as an entry before: `size` names, each a uint16_t and its bytes, from the top down to it
 *   TREE_END    no name
 *
 * Numbers are the machine's own: no snapshot leaves its machine. Owners are numbers inside the cell. No set-user-ID and
 * set-group-ID, no extended attributes, no sockets, no devices. An archive that was cut has no last record; that its bytes
 * are the right ones is what the manifest's digest is for. Nothing may follow the end. */
#pragma once

#include "base/err.h"

#include <assert.h>

#define TREE_MAGIC "fsboxtr1"

enum {
	TREE_LEVELS = 64,
	TREE_MAX_NAME = 255,    /* NAME_MAX of every file system that a /tmp is on */
	TREE_MAX_TARGET = 4095, /* PATH_MAX and its 0; symlink(7) */
	TREE_MAX_ID = 65535,    /* a cell has 65,536 of them */
	TREE_MODE = 01777,
};

enum tree_kind {
	TREE_DIR = 'D',
	TREE_FILE = 'F',
	TREE_LINK = 'L',
	TREE_FIFO = 'P',
	TREE_HARD = 'H',
	TREE_END = 'E',
};

struct tree_record {
	uint8_t kind, zero;
	uint16_t mode;
	uint16_t name_len, zero2;
	uint32_t uid, gid;
	uint64_t size; /* by kind; of the last record the number of entries */
	int64_t atime_s, mtime_s;
	uint32_t atime_ns, mtime_ns;
};
static_assert(sizeof(struct tree_record) == 48, "no padding: the bytes are written as they lie");

struct tree_extent {
	uint64_t at, len;
};
