/* Frames: connections that Invoke with "upgrade" has turned (wire/frame.h, docs/protocol.md). Each call on one is a
 * stream, and a struct call for everybody else: method_invoke() does not know the difference.
 *
 * What a connection holds is bounded: FRAMES_STREAMS calls at a time; of each event that is not whole yet FRAME_WINDOW
 * bytes, of FRAMES_LARGE at a time all that an event may have; of each answer what an answer may have, for as long as its
 * client gives no credit or does not read. All of it counts as its user's (server.h, max_bytes_per_uid). */
#pragma once

#include "daemon/calls.h"

enum {
	FRAMES_STREAMS = 128,
	FRAMES_LARGE = 4,
};

/* Invoke with upgrade: answers it, and the connection carries frames from then on. */
void frames_begin(struct daemon *d, struct call *c);
