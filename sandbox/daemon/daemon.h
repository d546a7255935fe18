/* fsboxd: cells for other programs, through a Unix socket. One thread, one loop, no privileges.
 *
 *   link.h        the conversation with fsbox-spawn, who has the privileges
 *   function.h    what is deployed, and how much of the host it may take
 *   unit.h        cells: from "make one" to "it is gone"
 *   invocation.h  calls: queued, run once, answered; schedule.c: whose turn it is
 *   answers.h     all of that as JSON
 *   execs.h       commands in cells
 *   methods.h     org.fsbox.Sandbox as a table
 *
 * Each uses only those above it in this list; what has to go the other way are the hooks in struct daemon. */
#pragma once

#include "base/clock.h"
#include "base/loop.h"
#include "cell/cell.h"
#include "daemon/journal.h"
#include "daemon/once.h"
#include "daemon/peers.h"
#include "daemon/server.h"
#include "daemon/store.h"
#include "wire/spawn.h"

enum {
	NAME_BYTES = SPEC_MAX_NAME + 1,
	INVOCATION_BYTES = 130, /* chosen by clients: 1 to 128 of [A-Za-z0-9_.:-]; and a mark */
	LEASE_BYTES = 33,
	UNIT_ID_BYTES = 16,
	RESULTS_KEPT = 1024, /* of invocations whose clients chose the id, of all users */
	RESULT_KEPT_S = 60,
	RESULT_BYTES = 256 << 20,       /* in them, of all users */
	RESULT_BYTES_OF_ONE = 64 << 20, /* of one user: ten answers of the greatest length */
	LOG_TAIL = 4096,                /* Lambda's, of an answer with logs */
};

enum event_kind {
	EV_DEPLOYED,
	EV_UNDEPLOYED,
	EV_STARTED,
	EV_READY,
	EV_ENDED,
	EV_CALLED,
	EV_PAUSED,
	EV_RESUMED,
	EV_SNAPSHOT,
	EV_EXEC
};
enum log_stream { LOG_STDOUT, LOG_STDERR, LOG_PLATFORM };

struct config {
	uint64_t keep_ns;      /* an idle cell ends after it */
	uint64_t memory_bytes; /* what the limits of all cells may add up to */
	uint32_t max_cells;
	uint32_t max_queued; /* calls that wait, all told */
	double overcommit;   /* CPU shares of the cells that are busy may add up to so many times the CPUs */
	const char *policy_file;
	const char *vendor;
	bool no_freeze;
};

struct function;
struct unit;
struct invocation;

/* What one uid has taken of the budgets. */
struct account {
	uid_t uid;
	uint32_t cells, queued, n_ending, n_kept, execs; /* execs: commands that it has asked for */
	uint32_t shrinking;                              /* Updates to less memory that it has asked for */
	uint64_t memory_bytes;
	uint64_t kept_bytes;                   /* of results, see invocation_kept.c */
	uint64_t published_ns;                 /* when it last had its turn */
	uint64_t claimed_cells, claimed_bytes; /* while what is reserved is added up */
	double busy_cpus;
	struct account *next;
};

struct daemon {
	struct loop loop;
	struct config config;
	struct server *server;
	struct link *link;
	struct peers peers;
	struct store store;
	struct once once;
	struct journal events, logs;
	struct cg_host cg; /* for reading the cells' groups */
	char boot_id[37];
	uint64_t run; /* of fsbox-spawn */
	bool privileged, limits;
	char runtime_dir[512];
	uint32_t reloaded; /* number in the store */
	bool reloading;    /* there may be more behind it */
	struct later read_on;
	uint32_t n_cpus;
	uint64_t started_ns; /* CLOCK_MONOTONIC */

	struct function *functions;
	struct unit *units;
	struct invocation *invocations; /* all that are open or kept */
	struct account *accounts;
	struct invocation **by_id; /* table of those whose clients chose the id */
	uint32_t n_kept;
	uint64_t kept_bytes, given_back_bytes; /* in kept results; in those that went since the heap was trimmed */
	struct timer trim;

	uint32_t n_units, n_queued, n_ending; /* these are among the units still, and in the sums below */
	uint64_t memory_bytes;                /* limits of the cells that are there */
	double busy_cpus;                     /* shares of those that run a call */
	uint64_t n_calls, n_rejected;

	struct function *publishing; /* whose snapshot is being made; NULL: nobody's */
	struct timer publish_again;
	bool can_snapshot;

	uint32_t last_function;
	uint64_t last_unit;
	/* By slot, the number of the unit that runs a call; in a file that outlives this process, so that the next
	 * one knows which cells are in the middle of something. */
	uint64_t *busy;
	uint64_t *calls; /* by slot, of the unit that has it: how many it has been sent; in the same file */
	struct unit *slots[CELL_MAX_SLOTS];

	/* To those who follow events and logs: something was added. */
	void (*on_event)(struct daemon *d);
	void (*on_log)(struct daemon *d);
	/* A function, a cell or room has become free: whose call is next? */
	void (*on_room)(struct daemon *d, struct function *f);
	bool stopping, failed, wrong; /* wrong: what it was told, not what happened */
};

/* Events as Subscribe tells them. @u, @v may be NULL. */
void daemon_event(struct daemon *d, enum event_kind kind, const struct function *f, const struct unit *u,
		  const char *invocation, const char *status, const char *detail);

/* A line for the operator: "fsboxd: …". */
void daemon_complain(const struct err *e);

/* Of this uid; made when it is not there, NULL when memory is out. */
struct account *account_of(struct daemon *d, uid_t uid);

static inline uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline int64_t wall_ms(void)
{
	return (int64_t)(clock_wall_ns() / NS_PER_MS);
}
