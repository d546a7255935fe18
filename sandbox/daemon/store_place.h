/* Is the file at a path one that can be opened, or is somebody still putting it there?
 *
 * Whoever copies a backup into place tells nobody when he has done. Opened too early it would be a damaged file, or, as
 * long as it has no bytes, an empty one that is ours to fill. So what counts is a file that was the same when it was looked
 * at before; an empty one has to stay so for longer. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

enum { STORE_SETTLES_S = 1, STORE_STAYS_EMPTY_S = 60 };

/* Zero-initialise to start. */
struct store_place {
	bool looked, there;
	dev_t device;
	ino_t inode;
	off_t size;
	struct timespec modified, changed;
	uint64_t since_ns; /* it has been as it is */
};

/* Looks at @path. True when it was the same STORE_SETTLES_S ago (STORE_STAYS_EMPTY_S: without bytes), also when there was
 * none then as now. */
bool store_place_settled(struct store_place *p, const char *path, uint64_t now_ns);
