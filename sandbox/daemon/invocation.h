/* Invocations: calls of functions, and requests for leases. Each waits for a cell, runs once and is answered; those whose
 * clients chose the id are kept for a while, so that the same one again attaches or gets the same answer. */
#pragma once

#include "daemon/unit.h"

enum invocation_state { INVOCATION_QUEUED, INVOCATION_RUNNING, INVOCATION_OVER };

/* One client that waits for it. */
struct waiter {
	struct waiter *next;
	struct call *call;
	bool answer_fd, logs, stream;
	size_t streamed; /* bytes of the answer that it has */
};

struct invocation {
	struct daemon *d;
	struct invocation *next, **at; /* all */
	struct invocation *same;       /* of the table by id */
	struct invocation *behind;     /* in its function's queue */
	struct function *f;            /* NULL when it is over and that is gone */
	struct unit *u;                /* where it runs; wanted: only there (leased) */
	bool wanted;
	bool lease;  /* nobody is called: a cell is asked for */
	bool chosen; /* the client chose the id */
	bool cancel_on_close, cancelled;
	uid_t owner;
	char id[INVOCATION_BYTES];
	char request_id[REQUEST_ID_LEN + 1];
	char trace_id[256];
	char function[NAME_BYTES], unit[UNIT_ID_BYTES];
	enum invocation_state state;
	struct buf event_text; /* owned, or: */
	void *event_map;
	size_t event_len;
	struct waiter *waiters;
	struct timer timer; /* its deadline while it waits; when it is forgotten afterwards */
	struct later dispatch;
	uint64_t arrived_ns, deadline_ns, begin_ns, end_ns, lease_ns;
	const char *start_kind; /* "warm", "cold", "restored" */
	uint64_t build_ns, init_ns, restore_ns, hooks_ns, thaw_ns;

	/* Its end. */
	enum call_status status;
	const char *refusal; /* the error's name without the interface, instead of a result; "" otherwise */
	struct err why;
	const char *phase; /* of DeadlineExceeded */
	char error_type[CHAN_MAX_TYPE + 1];
	struct buf error_message, error_document, answer;
	bool reported;
	uint64_t billed_ms, memory_mb;
	int64_t retry_ms, queue_depth; /* of Busy */
	bool has_memory;
	uint64_t max_memory_mb;
	char *log;      /* LOG_TAIL bytes, once there is output */
	size_t log_len; /* bytes ever put there: the last LOG_TAIL are in the ring */
	uint32_t init_tries;
	uint64_t kept_bytes; /* once it is kept: what it takes */
};

struct invocation_ops {
	/* It is over: answer those who wait, each by call_reply() or call_error(). */
	void (*over)(struct invocation *v, struct waiter *w);
	/* More of an answer, for those who have it streamed. False: the client does not keep up; it has been answered. */
	bool (*part)(struct invocation *v, struct waiter *w, const char *data, size_t len);
};
extern const struct invocation_ops *invocation_ops;
extern const struct unit_ops invocation_unit_ops; /* for unit_ops */

/* An invocation with this id of this uid that runs or is kept; NULL. */
struct invocation *invocation_find(struct daemon *d, uid_t owner, const char *id);
/* @id: NULL to draw one. NULL when memory is out. */
struct invocation *invocation_new(struct daemon *d, struct function *f, uid_t owner, const char *id);
/* Adds somebody who waits. False when memory is out. */
bool invocation_attach(struct invocation *v, struct call *c, bool answer_fd, bool logs, bool stream);
/* On an idle cell, now. It may be over, and gone, when this returns. */
void invocation_run(struct invocation *v, struct unit *u);
void invocation_leave_queue(struct invocation *v);
/* Runs it, queues it or refuses it; it may be over, and gone, when this returns. */
void invocation_submit(struct invocation *v);
/* Over with an error instead of a result. */
void invocation_refuse(struct invocation *v, const char *refusal, const struct err *why);
/* The client is gone, or asks for it. A call that runs is ended with its cell. */
void invocation_cancel(struct invocation *v);
void invocation_client_gone(struct daemon *d, struct call *c);
/* Somebody who has its answer streamed can take more of it. */
void invocation_flow(struct invocation *v);
/* What may go on in @f, and in others if room has become free. */
void invocation_dispatch(struct daemon *d, struct function *f);
/* From the queue of one function to another, which takes its place. */
void invocation_move(struct invocation *v, struct function *to);
/* Before a function goes: its queue is refused. */
void invocation_refuse_all(struct function *f, const char *refusal, const struct err *why);
/* Room for @f of its owner's own: true when some comes, because a cell of his ends. */
bool schedule_evict(const struct function *f);
/* Keeps provisioned cells at their number. */
void invocation_provision(struct function *f);
