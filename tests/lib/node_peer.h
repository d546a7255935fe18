/* The runtime for Node.js functions as the program of a chan_peer, beside tests/lib/runtime_peer.h, whose expectations
 * hold for it as well. */
#pragma once

#include "tests/lib/runtime_peer.h"

#define NODE "/usr/bin/node"

/* Leaves a test where there is no Node.js. */
#define NEED_NODE()                       \
	do {                              \
		if (access(NODE, X_OK))   \
			SKIP("no " NODE); \
	} while (0)

/* @handler: as in _HANDLER, below tests/functions-node. @extra: further variables, up to 8, ends with NULL; may be NULL.
 * 0 or -errno. */
int node_start(struct chan_peer *p, const char *handler, const char *const *extra);

/* Starts and takes READY. */
bool node_ready(struct chan_peer *p, const char *handler, const char *const *extra);

/* Takes one frame and checks that it is @frame with @type, and that its document is that of an error of this type: with all
 * of the texts, which end with NULL, and with a trace. */
bool node_expect_error(struct chan_peer *p, uint16_t frame, const char *type, const char *const *texts);
#define NODE_EXPECT_ERROR(p, frame, type, ...) \
	node_expect_error(p, frame, type, (const char *const[]){__VA_ARGS__, NULL})

/* One event to a process of its own, and what it answers. */
bool node_answers(const char *handler, const char *event, const char *answer);

/* A frame without a body; with one. 0 or -errno. */
int node_send(struct chan_peer *p, uint16_t type);
int node_send_restore(struct chan_peer *p, uint32_t flags, uint32_t memory_mb, const char *env, size_t env_len);
