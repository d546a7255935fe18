/* Frames of _LAMBDA_TELEMETRY_LOG_FD: the descriptor on which runtime clients hand over their log, so that a message of
 * many lines stays one record. A frame is big-endian: u32 type, u32 length, u64 microseconds since 1970, the message. The
 * type is 0xa55a0003 (text) or 0xa55a0002 (JSON) with a level in bits 2 to 7, or the older 0xa55a0001, which has no
 * time. */
#pragma once

#include "runtime/api/http.h"

enum {
	LOG_RECORD_MAX = 262144, /* a longer message becomes several records */
};

/* A reader for bytes that come in pieces of any size. Zero-initialise to start. */
struct log_frames {
	unsigned char head[16];
	size_t have;          /* of the head */
	uint32_t left;        /* of the message */
	bool raw;             /* something else than frames has come: what follows is text */
	bool cut;             /* the message has begun in an earlier record */
	struct bytes message; /* so far */
};

/* A whole message, without the line feed at its end; or, with @raw, bytes that belong to no frame, as they came. */
typedef void log_record_fn(void *arg, const char *text, size_t len, bool raw);

/* Takes all of @data. Memory that cannot be had costs the record and nothing else. */
void log_frames_feed(struct log_frames *f, const char *data, size_t len, log_record_fn *record, void *arg);
/* Nothing more will come: hands out what is there of a message that was not finished. */
void log_frames_end(struct log_frames *f, log_record_fn *record, void *arg);
