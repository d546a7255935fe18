/* Ownership vocabulary and arenas.
 *
 * A variable marked AUTO_FREE, AUTO_FD or AUTO(fn) owns what it holds until take_ptr()/take_fd() gives it away.
 * A parsed thing (spec, policy, plan) lives in one arena and is freed whole: no per-field frees. */
#pragma once

#include "base/err.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define AUTO(fn)  __attribute__((cleanup(fn)))
#define AUTO_FD   AUTO(fd_closep)
#define AUTO_FREE AUTO(freep)

/* A large buffer that a system call fills before anybody reads it. All automatic variables are zeroed otherwise
 * (-ftrivial-auto-var-init), which is dear where nothing but speed is wanted of them. */
#define UNINITIALIZED __attribute__((uninitialized))

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#define take_ptr(pp)                    \
	({                              \
		__auto_type pp_ = (pp); \
		__auto_type v_ = *pp_;  \
		*pp_ = NULL;            \
		v_;                     \
	})

static inline void freep(void *pp)
{
	void *p;

	memcpy(&p, pp, sizeof p); /* pp is a pointer to any pointer type */
	free(p);
}

/* Allocations that die together. Zero-initialise to start; everything returned is zeroed and aligned for any type. */
struct arena {
	struct arena_block *head;
};

/* NULL when memory is out. */
void *arena_alloc(struct arena *a, size_t size);
char *arena_strdup(struct arena *a, const char *s);
char *arena_memdup(struct arena *a, const void *data, size_t len); /* adds a 0 byte after the copy */
char *arena_printf(struct arena *a, const char *fmt, ...) PRINTF(2, 3);
void arena_done(struct arena *a);
