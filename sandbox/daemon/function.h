/* Functions: what was deployed, by owner and name, and what of the host's budgets it may take. */
#pragma once

#include "daemon/link.h"

enum { LATENCIES = 512, DIGEST_BYTES = 33 };

enum snapshot_wish { WISH_NO, WISH_YES, WISH_UNSEEDED }; /* kept in the store */
enum snapshot_state { SNAPSHOT_NONE, SNAPSHOT_WANTED, SNAPSHOT_MAKING, SNAPSHOT_READY };

struct function {
	struct daemon *d;
	struct function *next;
	uint32_t number; /* fsbox-spawn's name for it */
	uid_t owner;
	gid_t gid;
	gid_t *groups;
	size_t n_groups;
	struct account *account;
	char name[NAME_BYTES];
	char digest
		[DIGEST_BYTES]; /* of the spec and of what its files are: two deployments with the same one are the same */
	char *spec_text;        /* as it was deployed, for who asks */
	char *path;             /* where the code was, "" when it came as a descriptor without a name */
	struct cell_spec spec;
	enum spec_runtime runtime;
	struct filter filter; /* to be added by the runtime after init */
	struct cell_code code;
	uint32_t provisioned, reserved, max_cells; /* 0: none */
	double share;                              /* CPUs that one busy cell may use */
	int64_t created_ms;
	uint32_t bytes, n_fds; /* that fsbox-spawn keeps for it */
	bool defined;          /* fsbox-spawn knows it */
	bool unkept;           /* the store does not have it as it is, and is to have it */
	bool note_kept;        /* fsbox-spawn's note of it says that it stands in the store */
	bool forgotten;        /* undeployed or replaced: goes with its last cell */

	struct {
		enum snapshot_wish wish;
		enum snapshot_state state;
		uint32_t features; /* enum snap_feature */
		uint64_t page_bytes;
		uint64_t not_before_ns, pause_ns; /* after a restore that failed */
		char id[SNAP_ID_LEN + 1];
	} snapshot;

	uint32_t n_units, n_starting, n_idle, n_busy, n_ending;
	uint32_t n_queued;
	struct unit *free; /* idle, for anybody's call; the one used last first */
	uint32_t n_free;
	struct unit *busy, **busy_end; /* the one whose call began first at the front */
	struct invocation *queue, **queue_end;
	uint32_t init_failures; /* in a row */
	struct timer again;     /* when provisioned cells are tried again */
	uint64_t calls, failures, rejected, cold_starts;
	uint64_t service_ns; /* of a call, smoothed */
	uint64_t gap_ns;     /* from one call's coming to the next one's, smoothed; 0: not known */
	uint64_t asked_ns;   /* when the last one came */
	uint32_t latency_us[LATENCIES];
	uint32_t n_latencies;
};

struct function *function_find(struct daemon *d, uid_t owner, const char *name);
struct function *function_by_number(struct daemon *d, uint32_t number);
/* Not in the list yet; freed with function_free() as long as it is not. NULL when memory is out. */
struct function *function_new(struct daemon *d, uid_t owner, const char *name);
void function_free(struct function *f);
/* Into the list; its last cell, or its number, is needed no more when function_forget() was called. */
void function_add(struct function *f);
/* No new call finds it. Its idle cells are ended by the caller, who then calls function_release(). */
void function_forget(struct function *f);
/* Frees one that was forgotten when it has neither cells nor calls. */
void function_release(struct function *f);

/* What keeps a function from having one more cell. */
enum shortage {
	SHORT_OF_NOTHING,
	SHORT_OF_CELLS,
	SHORT_OF_MEMORY,
	SHORT_OF_OWN_CELLS,
	SHORT_OF_OWN_MEMORY,
	SHORT_OF_CPU
};
const char *shortage_name(enum shortage s); /* "cells", "memory", … as CapacityExhausted.resource */
/* By its own numbers, whatever room there is. */
bool function_is_full(const struct function *f);
/* Budgets, what others have reserved, the owner's rights: for one more cell; for so many cells and bytes more. */
enum shortage function_may_start(const struct function *f);
enum shortage function_may_take(const struct function *f, uint64_t cells, uint64_t bytes);
/* May it have so many cells that nobody else gets? No owner reserves more than what he may have, and all of them together
 * no more than three quarters of the host. @instead, which may be NULL, goes. ERR_DENIED, ERR_CAPACITY. */
NODISCARD int function_may_reserve(const struct function *f, uint32_t cells, const struct function *instead,
				   struct err *e);
/* CPUs that a busy cell of this size may use. */
double function_share(const struct daemon *d, uint64_t memory_bytes);
/* May one more of its cells be busy? */
enum shortage function_may_run(const struct function *f);
/* Would one more cell find the CPU to run? */
bool function_wants_cell(const struct function *f);
/* So many of its calls wait at most, because each waits for a cell that it has or may have. What waited for a function
 * whose place it took comes on top. */
uint32_t function_most_queued(const struct function *f);
const struct rights *function_rights(const struct function *f);

void function_latency(struct function *f, uint64_t ns);
/* A call has come, whatever becomes of it. */
void function_asked(struct function *f, uint64_t now_ns);
/* Percentile @p (0 … 1) of the last calls' durations in µs; 0 without any. */
uint32_t function_percentile(const struct function *f, double p);
