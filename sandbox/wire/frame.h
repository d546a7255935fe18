/* Frames: what a connection carries after Invoke with "upgrade" (docs/protocol.md, Frames). Many calls at a time, bodies as
 * bytes, and credits, so that nobody sends what the other side has no room for.
 *
 * A head of FRAME_HEAD bytes, little-endian, then the body:
 *
 *     0 u32 length of the body    4 u32 stream    8 u8 type    9 u8 0    10 u16 0
 *
 * Pure functions on bytes. Whether a frame fits the state of its stream is the owner's business, for credits too. */
#pragma once

#include "base/str.h"

#include <sys/types.h>

enum {
	FRAME_HEAD = 12,
	FRAME_WINDOW = 262144, /* that each direction of a stream begins with */
	FRAME_MAX_JSON = 65536,
	FRAME_MAX_DATA = 16 << 20, /* of one frame; credits allow less */
	FRAME_LOG_HEAD = 8,        /* u32 chunks that were dropped before, u8 1 stdout 2 stderr 3 platform, 3 bytes 0 */
	FRAME_LOG_TEXT = 65536,
};

enum frame_type {
	FRAME_NONE,
	FRAME_HELLO,  /* JSON: what the daemon allows */
	FRAME_CALL,   /* JSON: Invoke's parameters; opens the stream */
	FRAME_DATA,   /* of the event or the answer; takes as much credit as it is long */
	FRAME_END,    /* of the event */
	FRAME_CREDIT, /* u32: so many bytes more */
	FRAME_RESULT, /* JSON: Invoke's answer without its body; the last one of its stream */
	FRAME_ERROR,  /* JSON: {"error", "parameters"}; the last one of its stream, of stream 0: of the connection */
	FRAME_LOG,
	FRAME_CANCEL,
	FRAME_PING, /* 8 bytes, which PONG brings back */
	FRAME_PONG,
	FRAME_TYPES,
};
const char *frame_type_name(unsigned type); /* "DATA"; "?" when there is none */

/* A whole frame, or of a DATA frame what has come of it. */
struct frame {
	enum frame_type type; /* FRAME_NONE: nothing to tell yet */
	uint32_t stream;
	const char *body; /* in what was given, or in the frame_rx until its next use */
	size_t len;
	size_t left; /* of DATA: so many bytes of the frame are still to come, and are told as DATA again */
	bool begins; /* false: it goes on */
};

/* Zero-initialise to start. */
struct frame_rx {
	bool from_daemon;  /* whose frames these are: clients send others than the daemon */
	const char *wrong; /* why it is broken: a sentence for the other side */
	/* private */
	unsigned char head[FRAME_HEAD];
	size_t head_len;
	struct frame now; /* whose body is coming */
	size_t want;
	struct buf body;
};

/* Takes bytes from the front of @data and says how many; *ret is what they were. To be called again with the rest
 * until that is empty. -EPROTO: no frame of that sender, rx->wrong says why; -ENOMEM. Both are final. */
NODISCARD ssize_t frame_take(struct frame_rx *rx, const void *data, size_t len, struct frame *ret);
/* Is it between two frames? */
bool frame_rx_idle(const struct frame_rx *rx);
void frame_rx_done(struct frame_rx *rx);

void frame_put_head(unsigned char to[static FRAME_HEAD], enum frame_type type, uint32_t stream, size_t len);
void frame_put_u32(unsigned char to[static 4], uint32_t v);
uint32_t frame_get_u32(const void *from);
