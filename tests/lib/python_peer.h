/* The runtime for Python functions as the program of a chan_peer, beside tests/lib/runtime_peer.h, whose expectations hold
 * for it as well. */
#pragma once

#include "tests/lib/runtime_peer.h"

#define PYTHON "/usr/bin/python3"

/* Leaves a test where there is no Python. */
#define NEED_PYTHON()                       \
	do {                                \
		if (access(PYTHON, X_OK))   \
			SKIP("no " PYTHON); \
	} while (0)

/* @handler: as in _HANDLER, below tests/functions-python. @extra: further variables, up to 8, ends with NULL; may be NULL.
 * 0 or -errno. */
int python_start(struct chan_peer *p, const char *handler, const char *const *extra);

/* Starts and takes READY. */
bool python_ready(struct chan_peer *p, const char *handler, const char *const *extra);

/* Takes one frame and checks that it is @frame with @type, and that its document is that of an error of this type: with all
 * of the texts, which end with NULL. */
bool python_expect_error(struct chan_peer *p, uint16_t frame, const char *type, const char *const *texts);
#define PYTHON_EXPECT_ERROR(p, frame, type, ...) \
	python_expect_error(p, frame, type, (const char *const[]){__VA_ARGS__, NULL})

/* One event to a process of its own, and what it answers. */
bool python_answers(const char *handler, const char *event, const char *answer);

/* Starts a handler that cannot be started: INIT_ERROR with this type and text, then the end with status 1. */
bool python_init_fails(const char *handler, const char *type, const char *text);

/* A frame without a body; with one. 0 or -errno. */
int python_send(struct chan_peer *p, uint16_t type);
int python_send_restore(struct chan_peer *p, uint32_t flags, const char *env, size_t env_len);
