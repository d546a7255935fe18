/* A session: the conversation with the runtime of one cell over its channel (runtime/channel.h), with the function's
 * output beside it. Event-driven: session_wait() sleeps in poll(2) until something that the caller decides about has
 * happened or the deadline has passed. The cell is the adversary here: every byte is bounded and checked, nothing it
 * sends or withholds can block this side. */
#pragma once

#include "base/str.h"
#include "cell/build.h"
#include "runtime/channel.h"

#include <poll.h>

enum session_event {
	SESSION_DEADLINE,   /* the time given to session_wait() is over */
	SESSION_READY,      /* init is done; from now on calls may be sent */
	SESSION_INIT_ERROR, /* error_type, error_message */
	SESSION_DONE,       /* the call was answered: answer */
	SESSION_ERROR,      /* the handler reported a failure: error_type, error_message */
	SESSION_BROKEN,     /* the cell broke the channel's contract: error_message says how; kill it */
	SESSION_TOO_LARGE,  /* the answer exceeds CHAN_MAX_PAYLOAD; kill the cell */
	SESSION_OOM,        /* the memory limit was hit and the kernel killed something inside; kill it (v1 only) */
	SESSION_ENDED,      /* PID 1 is gone; how: session_exit() */
	SESSION_SIGNAL,     /* the caller's extra descriptor is readable */
	SESSION_PARKED,     /* the hooks before a snapshot have run: the runtime may be dumped */
	SESSION_RESTORED,   /* reseeded, and the hooks after a restore have run: reseed_ns, hooks_ns */
	SESSION_DRAWN,      /* drawn: struct chan_drawn, name, value, repeated; checked */
};

/* What the runtime was asked for and has not answered yet, outside of calls. */
enum session_question { SESSION_ASKED_NOTHING, SESSION_ASKED_SNAPSHOT, SESSION_ASKED_RESTORE, SESSION_ASKED_DRAW };

/* Where the function's output goes. */
struct session_sink {
	/* Room for this many bytes now; 0 stops reading from the cell, which then blocks in write. */
	size_t (*room)(void *arg);
	/* @stream 1 or 2. */
	void (*put)(void *arg, int stream, const char *data, size_t len);
	/* Descriptor to be watched for writing, FD_NONE when nothing is buffered; writable() when it is ready. */
	int (*wants)(void *arg);
	void (*writable)(void *arg);
	void *arg;
};
/* Takes everything and keeps nothing. */
extern const struct session_sink session_discard;
/* Takes everything, and bounds itself what it keeps. */
struct session_sink session_sink_to(void (*put)(void *arg, int stream, const char *data, size_t len), void *arg);

struct session {
	struct cell *cell;
	const struct session_sink *sink;
	int signal_fd; /* extra descriptor to watch, or FD_NONE; not read here */
	bool ready;
	bool has_shutdown;
	bool can_snapshot;
	bool wants_reports;
	bool not_reseeded; /* said when it parked: nobody reseeds what is in its memory */
	bool settled;      /* a call or a restore has ended: init is over for good */
	uint64_t call;     /* number of the running call, 0 between calls */
	struct buf answer; /* of the running or last call */
	char error_type[CHAN_MAX_TYPE + 1];
	struct buf error_message;
	struct buf error_document;    /* empty: to be made of the two */
	uint64_t reseed_ns, hooks_ns; /* as the runtime measured a restore: its own word */
	struct buf drawn;
	bool fault_seen; /* SIGSYS named a system call */
	struct chan_fault fault;
	bool exit_seen;
	struct chan_exit exit; /* how the runtime ended, from PID 1 */
	/* private */
	enum session_question asked;
	struct buf rx;
	bool channel_open, stdout_open, stderr_open, broken;
	bool quiet;    /* since the last step, which brought the end of a call: nothing was left to be read beside it */
	bool oom_seen; /* v1 said that the limit was hit; whether something died for it, the counter says later */
	unsigned char tail[CHAN_FAULT_BYTES + CHAN_EXIT_BYTES];
	size_t tail_len;
	struct buf tx_prefix; /* frames not yet taken by the pipe, up to the body of the last one */
	size_t tx_head;       /* where the last frame's head stands in it */
	const char *tx_body;  /* borrowed until the call ends */
	size_t tx_body_len, tx_done;
};

void session_init(struct session *s, struct cell *cell, const struct session_sink *sink, int signal_fd);
/* The same for a cell that was made from a dump: its init is long over, and the flags of its "ready" (enum chan_ready_flag)
 * are remembered. The first thing to do is session_restore(). */
void session_init_restored(struct session *s, struct cell *cell, const struct session_sink *sink, int signal_fd,
			   uint32_t ready_flags);
void session_done(struct session *s);

/* Queues a call; @event stays the caller's and must live until the call ends. @remaining_ns: the call's time. */
NODISCARD int session_call(struct session *s, uint64_t number, const char *request_id, const char *trace_id,
			   int64_t deadline_ms, uint64_t remaining_ns, const void *event, size_t len, struct err *e);
/* Queues a filter to be added by the runtime (before the first call). */
NODISCARD int session_add_filter(struct session *s, const struct filter *f, struct err *e);
NODISCARD int session_shutdown(struct session *s, struct err *e);
/* Queues the figures of call @number, which has ended, for a runtime that wants them. */
NODISCARD int session_report(struct session *s, uint64_t number, const struct chan_report *report, struct err *e);

/* The following are for the time before the first call, one at a time: ERR_BUG while another is not answered. A hook that
 * fails is SESSION_INIT_ERROR with the type Runtime.BeforeSnapshotError or Runtime.AfterRestoreError. */
/* Asks the runtime to get ready to be dumped: SESSION_PARKED. ERR_UNSUPPORTED when it cannot. */
NODISCARD int session_snapshot(struct session *s, struct err *e);
/* Tells the runtime who it is now: SESSION_RESTORED. @env: "KEY=VALUE"s that take the place of those in its environment,
 * ends with NULL; NULL: none. env_len of @r is not looked at. ERR_LIMIT when they exceed CHAN_MAX_ENV. */
NODISCARD int session_restore(struct session *s, const struct chan_restore *r, const char *const *env, struct err *e);
/* It was told by somebody else: SESSION_RESTORED is to come. */
void session_expect_restored(struct session *s);
/* Has the runtime draw from every source of randomness that it knows: SESSION_DRAWN. */
NODISCARD int session_draw(struct session *s, struct err *e);

/* For callers with a loop of their own: what the session waits for, by place; a place without descriptor has fd -1. The
 * caller may leave out places that it hears of in another way. */
enum {
	SESSION_FD_CHANNEL,
	SESSION_FD_SEND,
	SESSION_FD_OUT,
	SESSION_FD_ERR,
	SESSION_FD_EXIT,
	SESSION_FD_OOM,
	SESSION_FD_SIGNAL,
	SESSION_FD_SINK,
	SESSION_FDS
};
void session_poll(const struct session *s, struct pollfd p[SESSION_FDS]);
/* Does what the revents in @p (NULL: none) allow, without waiting. SESSION_DEADLINE: nothing to tell. After any other event
 * it is to be called again without @p until it says so, for one read may have brought more than one frame. */
NODISCARD enum session_event session_step(struct session *s, const struct pollfd p[SESSION_FDS]);
/* Is there something for SESSION_FD_SEND to wait for? */
bool session_sends(const struct session *s);

/* Waits until @deadline_ns (CLOCK_MONOTONIC) for the next event. */
NODISCARD enum session_event session_wait(struct session *s, uint64_t deadline_ns);

/* Takes what the function has written so far, without waiting. */
void session_drain_output(struct session *s);

/* The cell is dead: takes all that its pipes still hold (pipe(7): at most 1 MiB each), room or not. */
void session_drain_rest(struct session *s);
