/* What `fsbox check` finds out by doing: the host as `fsbox run` would open it, and a cell that is built, answers
 * over its channel and is removed again; where there is a CRIU, also one that is dumped and restored.
 *
 * Leaves what every start leaves (the state directory, the parent of the cells' cgroups) and nothing else. */
#pragma once

#include "cell/cell.h"

enum selftest_result {
	SELFTEST_NO,        /* no cell can be had */
	SELFTEST_NO_LIMITS, /* only with --no-limits */
	SELFTEST_YES,
};

struct selftest {
	enum selftest_result result;
	struct cg_host cg;
	struct cell_host host; /* closed; the facts are still there when has_host */
	bool has_host;
	char runtime[512];      /* "" when not found */
	char parent[256];       /* of the cells' cgroups, "" when there is none */
	struct err runtime_err; /* each ERR_NONE when all is well */
	struct err cg_err;
	struct err limits_err;     /* why cells cannot have limits here */
	struct err host_err;       /* why the host cannot be opened even without limits */
	struct err cell_err;       /* why the cell failed */
	uint64_t cell_ns;          /* building, answering, removing */
	struct snap_engine engine; /* valid when engine_err is ERR_NONE */
	struct err engine_err;     /* why there is none, or why it does not work on this kernel */
	struct err snapshot_err;   /* why dump or restore failed; ERR_NONE when both went well or were not tried */
	bool snapshot_tried;
	uint64_t snapshot_ns; /* init, dump, two restores */
	/* Of the cell's own group, when it had one. */
	bool has_group, has_peak, has_swap_limit;
};

/* Blocks signals that would end this process in between, as the cell would then have to wait for the next start. */
void selftest_run(struct selftest *t);
