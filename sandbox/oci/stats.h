/* What a container uses, as JSON in the form that runc's `events` has (its types/events.go), which containerd reads. */
#pragma once

#include "oci/store.h"

/* One line: {"type":"stats","id":…,"data":{…}}. What the host does not count is left out, or 0 where the form has no way
 * to leave it out. Times in nanoseconds, sizes in bytes. */
void stats_add(struct buf *b, const struct oci_state *st, const struct cg_group *g);

/* The number behind @key in a file of the group, or the whole file's with "": of @v1 or @v2, whichever there is; NULL:
 * none in that version. UINT64_MAX for "max", 0 when there is none. */
uint64_t stats_value(const struct cg_group *g, const char *controller, const char *v1, const char *v2, const char *key);
