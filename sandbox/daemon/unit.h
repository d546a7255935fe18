/* Units: the cells that this daemon holds, from "make one" to "it is gone". Those above are told by struct unit_ops what
 * has become of it; they decide what it is used for. */
#pragma once

#include "daemon/function.h"

enum unit_state {
	UNIT_MAKING, /* asked for */
	UNIT_INIT,
	UNIT_IDLE,
	UNIT_BUSY,
	UNIT_LEAVING, /* may run its shutdown hook */
	UNIT_ENDING,
};
const char *unit_state_name(const struct unit *u); /* of the interface's enum */

/* What a unit's watches hand to its callback. */
struct unit_watch {
	struct watch watch;
	struct unit *u;
};

/* How its lease was answered, for Acquire with the same token again, also by another fsboxd. CLOCK_MONOTONIC. */
struct unit_grant {
	char token[INVOCATION_BYTES + 6]; /* id of the invocation that asked for it; "" when that had no token */
	uint64_t arrived_ns, granted_ns;
	uint64_t build_ns, init_ns, restore_ns;
	uint64_t start_kind; /* enum grant_start */
};
enum grant_start { GRANT_WARM, GRANT_COLD, GRANT_RESTORED };

struct unit {
	struct daemon *d;
	struct unit *next, **at;           /* all units */
	struct unit *free_next, **free_at; /* its function's free ones; NULL when it is none */
	struct unit *busy_next, **busy_at; /* its function's busy ones */
	struct function *f;
	uint64_t number;
	int slot;               /* in daemon.busy */
	char id[UNIT_ID_BYTES]; /* 12 hex digits; "" until it is made */
	enum unit_state state;
	struct cell cell; /* holds its descriptors and group; we are not its parent */
	struct session session;
	struct session_sink sink;
	bool talking; /* session and watches are there */
	struct unit_watch watches[SESSION_FDS];
	struct timer timer; /* init, call or idleness */
	struct later settle;
	int freeze;
	bool frozen, paused, leased, adopted, used;
	bool last;                             /* the call that runs is its last one */
	uint64_t patience_ns, frozen_since_ns; /* so long it is idle before it is frozen */
	bool restored;                         /* out of its function's snapshot */
	bool hurried;                          /* which has less time than it may take, for its call's sake */
	struct fork *fork;                     /* that it is for, until it is ready */
	uint32_t n_execs, execs;               /* commands that run in it; that were ever begun */
	char lease[LEASE_BYTES];
	struct unit_grant grant; /* of the lease, if it was asked for with a token */
	uint64_t lease_ns, lease_until_ns;
	uint64_t asked_ns, made_ns, ready_ns, idle_ns,
		thaw_ns; /* CLOCK_MONOTONIC; thaw_ns: how long the last one took */
	uint64_t call_begin_ns, call_deadline_ns;
	int64_t created_ms;
	uint64_t memory_bytes;
	double share; /* of CPUs, what its memory buys */
	uint64_t calls;
	struct cg_usage usage; /* as it was read at usage_ns; usage.h */
	uint64_t usage_ns;
	bool has_usage;
	struct invocation *invocation; /* that runs here */
};

struct unit_ops {
	void (*ready)(struct unit *u);                            /* idle for the first time */
	void (*adopted)(struct unit *u);                          /* idle, from the time of another fsboxd */
	void (*failed)(struct unit *u, const struct err *why);    /* could not be built; it is gone afterwards */
	void (*init_failed)(struct unit *u, struct outcome *out); /* or hooks of a restore; it is being ended */
	void (*answered)(struct unit *u, struct outcome *out);    /* the call is over; the unit may be ended already */
	void (*output)(struct unit *u, int stream, const char *data, size_t len);
	void (*wrote)(struct unit *u);   /* session.answer has grown in a call that goes on */
	void (*dropped)(struct unit *u); /* its call will have no outcome */
	void (*ended)(struct unit *u);   /* nothing of it is left; it is freed afterwards */
};
extern const struct unit_ops *unit_ops;

/* Asks for a cell of @f. ERR_CAPACITY, memory. Budgets are the caller's business. @deadline_ns: of the call that is to have
 * it, CLOCK_MONOTONIC; 0: of none. It bounds a restore, so that there is time left for a cold start. */
NODISCARD int unit_start(struct function *f, uint64_t deadline_ns, struct unit **ret, struct err *e);
struct unit *unit_find(struct daemon *d, const char *id);
struct unit *unit_by_number(struct daemon *d, uint64_t number);

/* An idle one: sends the call. */
NODISCARD int unit_call(struct unit *u, struct invocation *v, const char *request_id, const char *trace_id,
			uint64_t deadline_ns, const void *event, size_t len, struct err *e);
/* After answered(): the figures for a runtime that wants them. */
void unit_report(struct unit *u, const struct chan_report *report);
/* Ends it, whatever it does; a call that runs is over without outcome. Idempotent. */
void unit_end(struct unit *u, const char *why);
/* The same in good order for one that is idle: its shutdown hook may run. */
void unit_leave(struct unit *u, const char *why);
/* Not leased any more, and in good order at its end, once the call that runs, if one does, is over. */
void unit_retire(struct unit *u, const char *why);
/* Leased by @token until it was not used for @ns; NULL: free again. u->grant is set before, and gone when it is free. */
void unit_lease(struct unit *u, const char *token, uint64_t ns);
/* cgroup.freeze by hand: an idle unit takes no call until it is resumed. ERR_UNSUPPORTED, ERR_BUSY. */
NODISCARD int unit_pause(struct unit *u, bool paused, struct err *e);
/* Its limit is another one now, in the budgets. */
void unit_resize(struct unit *u, uint64_t memory_bytes);
/* A command begins in it: it is thawed, takes no calls, does not end for being idle. ERR_BUSY, ERR_NOT_FOUND. */
NODISCARD int unit_begin_exec(struct unit *u, struct err *e);
/* And is over. */
void unit_end_exec(struct unit *u);
/* Is it free for a call of anybody? */
bool unit_is_free(const struct unit *u);
/* Lets its time as an idle one begin again. */
void unit_rest(struct unit *u);

/* From the link. */
void unit_made(struct daemon *d, const struct spawn_cell *m, int *fds, size_t n_fds);
void unit_failed(struct daemon *d, const struct spawn_done *m);
void unit_exited(struct daemon *d, const struct spawn_exit *m);
void unit_ended(struct daemon *d, const struct spawn_exit *m);
/* A cell from the time of another fsboxd: idle ones are taken over, the rest is ended. */
void unit_adopt(struct daemon *d, const struct spawn_cell *m, int *fds, size_t n_fds);
