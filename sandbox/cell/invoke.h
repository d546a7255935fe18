/* Calls with Lambda's rules, over one cell at a time:
 *
 *   - init has 10 s; if it fails or is too slow, it runs again in a new cell, under the first call's timeout
 *   - with a snapshot, a cold start is a restore of it: reseeded, its hooks run within 10 s, then called
 *   - a call that is over its timeout, or whose process ends, takes the cell with it; the next call gets a new one
 *   - what went wrong has Lambda's error type and message
 *
 * Every face that runs functions uses this; none of it prints. What happens is told to an observer in the order in which
 * Lambda's log has it. */
#pragma once

#include "cell/session.h"

enum {
	INVOKE_INIT_MS = 10000,
	INVOKE_HOOKS_MS = 10000,
	INVOKE_SHUTDOWN_MS = 500,
	/* Lambda's 2,000 for extensions, of which the Runtime API's server keeps account, and a little for itself. */
	INVOKE_SHUTDOWN_CUSTOM_MS = 2300,
	REQUEST_ID_LEN = 36
};

enum call_status {
	CALL_SUCCESS,
	CALL_FAILURE, /* the function reported an error, or its process ended */
	CALL_TIMEOUT,
	CALL_ERROR, /* fsbox or the host failed */
};
const char *call_status_name(enum call_status s);

struct call_result {
	char request_id[REQUEST_ID_LEN + 1];
	enum call_status status;
	struct buf response; /* the answer, when status is CALL_SUCCESS */
	char error_type[CHAN_MAX_TYPE + 1];
	struct buf error_message;
	struct buf error_document; /* of the function's own making, any bytes; empty: to be made of the two */
	bool reported;             /* the error is in the function's own words, not the platform's finding */
	bool ended_cell;           /* the cell could not go on after it */
	int exit_status;           /* what `fsbox run` ends with: design's table */
	uint64_t duration_ns;
	uint64_t billed_ms;
	uint64_t memory_mb;
	bool has_memory; /* false without cgroup */
	uint64_t max_memory_mb;
	bool has_init;              /* this call came after a cold start whose init went well */
	uint64_t init_ns;           /* from the runtime's exec to its "ready" */
	bool has_restore;           /* this call came after a restore that went well */
	uint64_t restore_ns;        /* from the request for a cell until its runtime's hooks have run */
	uint64_t billed_restore_ms; /* reseeding and hooks alone; billed_ms has it, too */
};
void call_result_done(struct call_result *r);

struct invoke_observer {
	void (*init_report)(void *arg, const char *phase, const char *status, const char *error_type, uint64_t ns);
	void (*restore_start)(void *arg, const char *engine);
	void (*restore_report)(void *arg, const char *status, const char *error_type, uint64_t ns);
	/* The snapshot was not used, and why: a cold start follows. */
	void (*fallback)(void *arg, const struct err *e);
	void (*start)(void *arg, const char *request_id);
	/* A line of the platform about this call, without newline: "… Task timed out after 3.00 seconds". */
	void (*message)(void *arg, const char *request_id, const char *text);
	void (*end)(void *arg, const struct call_result *r);
	void (*host_error)(void *arg, const struct err *e); /* a clean-up that failed, for instance */
	void *arg;
};

struct invoker {
	struct cell_host *host;
	const struct cell_spec *spec;
	struct filter base;      /* installed before exec */
	struct filter runtime;   /* added after init; len 0: none */
	const char *policy;      /* for messages */
	const struct snap *snap; /* borrowed; NULL: every start is a cold one */
	bool snap_required;      /* a restore that cannot be made is an error instead of a cold start */
	const struct session_sink *sink;
	const struct invoke_observer *observer;
	int signal_fd; /* readable: give up */
	struct cell cell;
	struct session session;
	bool alive;
	bool cancelled;
	uint64_t n_calls; /* in the present cell */
	uint64_t init_ns, restore_ns;
};

/* Runs one call, making a cell first if there is none. 0 when there is a result (whatever its status), negative when
 * fsbox itself failed before the call began or the call was cancelled (-ECANCELED); *e says why. @trace_id may be "". */
NODISCARD int invoke_call(struct invoker *inv, const void *event, size_t len, const char *trace_id,
			  struct call_result *ret, struct err *e);

/* Ends the cell in good order (the function's shutdown has 500 ms) and releases it. Idempotent. */
void invoke_done(struct invoker *inv);
