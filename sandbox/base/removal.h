/* Removing trees that somebody else has filled.
 *
 * The tree is taken for hostile: any depth, any number of entries, names of any bytes, links to anywhere. Links are
 * never followed, mount points are refused (-EBUSY), descriptors and memory have a fixed bound, and no path is ever
 * put together, so no depth is too deep. Whoever filled the tree must be gone: against somebody who goes on writing
 * this stays safe, but it need not end. */
#pragma once

#include "base/err.h"

/* Removes everything below @dirfd, which stays. O_PATH will do. Stops with -errno at the first entry that refuses. */
NODISCARD int tree_empty(int dirfd);

/* Removes the directory @name (one component) of @dirfd with everything in it. Success when there is none; -ENOTDIR
 * when it is something else. */
NODISCARD int tree_remove(int dirfd, const char *name);
