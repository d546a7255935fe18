/* A function as it comes over wire/spawn.h, ready for cells to be made of it. */
#pragma once

#include "cell/build.h"
#include "wire/spawn.h"

struct cell_function {
	size_t size;                 /* of wire */
	struct spawn_function *wire; /* as it came; texts below point into it */
	int fds[SPAWN_MAX_FDS];
	size_t n_fds;
	char names[SPAWN_MAX_FDS][40]; /* "/proc/self/fd/N" */
	char *paths[SPAWN_MAX_FDS];    /* not privileged: what these are called; heap */
	struct cell_spec spec;
	struct spec_image image;
	struct cell_host host; /* a view */
	struct filter filter;  /* installed before exec */
};

/* Looks at a checked FUNCTION and at its descriptors, which it takes over; nobody is believed. @memory_bytes: the most that
 * it may have. The result is not to be moved. On failure nothing is left of it. ERR_SPEC, ERR_DENIED, ERR_UNSUPPORTED. */
NODISCARD int cell_function_take(const struct cell_host *h, uint64_t memory_bytes, struct spawn_datagram *d,
				 struct cell_function *ret, struct err *e);
/* A sealed memfd with a filter in it: a copy, for filter_done(). @fd stays the caller's. */
NODISCARD int cell_filter_take(int fd, struct filter *ret, struct err *e);
void cell_function_done(struct cell_function *f);
