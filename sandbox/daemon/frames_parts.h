/* Private to the frames: frames.c reads what clients send, frames_out.c sends. */
#pragma once

#include "daemon/frames.h"

#include "wire/frame.h"

#include <sys/queue.h>

/* An event of more bytes needs more credit than it began with. */
enum { FRAMES_LARGE_EVENT = FRAME_WINDOW / 2 };

enum stream_state { COMING, RUNS, OVER }; /* the event; the call; its answer is being sent */

struct stream {
	struct call call; /* first: who has that has the stream */
	TAILQ_ENTRY(stream) link;
	struct frames *f;
	uint32_t id;
	enum stream_state state;
	bool whole;           /* nothing more of the event is to come */
	bool large;           /* among f->n_large */
	struct json_doc *doc; /* of the parameters */
	struct buf event;
	size_t granted; /* credit for the event, all told */

	uint64_t credit;   /* for the answer, that is left */
	struct buf answer; /* once the call is over; up to `sent` it is out */
	size_t sent;
	size_t total;      /* bytes that the client was sent */
	uint64_t moved_ns; /* when some of them last were; CLOCK_MONOTONIC */
	enum frame_type last_type;
	bool slow;       /* the answer cannot be held until it is sent */
	struct buf last; /* the last frame's body */
	uint32_t logs_dropped;
};
TAILQ_HEAD(streams, stream);

struct frames {
	TAILQ_ENTRY(frames) link;
	struct daemon *d;
	struct conn *conn;
	struct frame_rx rx;
	struct streams streams; /* in the order of their turns to send */
	unsigned n_streams, n_large, max_streams;
	uint32_t last_id;
	size_t held;
	uint64_t sent;    /* bytes of answers */
	struct buf event; /* of the call that begins */
	bool ended;       /* the client sends nothing more */
	bool over;        /* it is being closed: nothing counts any more */
	struct later later;
};

TAILQ_HEAD(all_frames, frames);

/* Whatever ends a stream may free it. */

extern const struct call_sink frames_sink;

/* Among those of all clients. */
void frames_list(struct frames *f);
void frames_unlist(struct frames *f);
/* One that is not asked for by a turn to send. */
void frames_send(struct frames *f, enum frame_type type, uint32_t stream, const void *body, size_t len);
/* {"error": …, "parameters": …} */
void frames_put_error(struct buf *b, const char *error, const struct buf *params);
/* One frame of each stream in turn, until the socket is full, nobody has anything to send or others have waited enough. */
void frames_pump(void *arg);
/* Counts what is held for this connection. False: more than its user may have held, in quarters of that: answers that
 * nobody reads leave room for his events, and both for messages. */
enum hold { HOLD_ANSWERS = 2, HOLD_EVENTS = 3 };
/* Before that, the answers of that user are given up that nobody has read for a while. */
bool frames_hold(struct frames *f, size_t more, enum hold of);
void frames_let_go(struct frames *f, size_t less);

/* Credit for large events: a few at a time, in the order of their calls, so that these come to their end before memory is
 * used for others. */
void stream_grant_next(struct frames *f);
/* Its event needs none any more. */
void stream_be_small(struct stream *s);
/* It may have something to send. */
void stream_flow(struct stream *s);
/* Ends it with an ERROR instead of what it was about to be answered. */
void stream_refuse(struct stream *s, const char *error, const struct buf *params);
void stream_forget_answer(struct stream *s);
void stream_free(struct stream *s);
