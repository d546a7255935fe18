/* A cell: one execution environment, from plan to release.
 *
 *   cell_host   what this process knows of the host, opened once: state directory, cgroup parent, uid ranges
 *   cell        one process tree in its namespaces and cgroup; built by stages, released by their undo
 *
 * A cell is released in one call from any state, also a half-built one, and nothing of it stays: processes, cgroups,
 * mounts, namespaces, descriptors. If the owner is killed, the kernel ends the cell (prctl(2), PR_SET_PDEATHSIG on its
 * PID 1), and the next cell_host_open() removes the groups it left.
 *
 * Nothing here prints. Single-threaded callers only (see sys_clone3). */
#pragma once

#include "cgroup/cgroup.h"
#include "confine/confine.h"
#include "netns/netns.h"
#include "rootfs/rootfs.h"
#include "snapshot/snapshot.h"
#include "spec/plan.h"

#include <signal.h>

enum {
	CELL_MAX_SLOTS = 4096,
	CELL_TRACE_MARKS = 256,
	/* A child that has not executed by then hangs in the kernel (a dead network file system under a bind, say). */
	CELL_ARRIVAL_MS = 10000,
	CELL_WAITS = 2,
};

/* When each stage began and ended, written by both sides of the clone into one shared page. */
struct cell_trace {
	struct cell_mark {
		const char *stage;         /* static text, the same address on both sides of clone3 */
		uint64_t begin_ns, end_ns; /* CLOCK_MONOTONIC */
		bool inside;
	} marks[CELL_TRACE_MARKS];
	uint32_t n;
};

struct cell_host {
	struct cg_host cg;
	struct cg_parent cg_parent;
	bool limits; /* false: --no-limits */
	struct host_facts facts;
	char state_dir[128];
	char runtime_dir[512];
	char dev_dir[160];
	char links[8][64];              /* texts behind facts.userland */
	int slots;                      /* descriptor of the table of cells, see slots.c */
	uint32_t range_first, n_ranges; /* span of outside ids, privileged only */
	int target_fd; /* the code, opened and checked by the face (facts.code); FD_NONE: by its name. Not closed here */
	bool clone_beside;   /* CLONE_INTO_CGROUP does not work from here: the child enters by itself */
	int self;            /* pidfd of this process, by which a child sees that we have died */
	unsigned char *held; /* which slots are our cells', one byte each */
	unsigned char *born; /* shared with children, one byte a slot: set by the first instruction of a cell's child */
	const char
		*target_path; /* where the code is, when that is not what the spec's target names; or NULL. Borrowed */
	/* A network namespace that nobody was in yet, with lo as is said; it is the caller's then. FD_NONE: there is none
	 * now; NULL: there never is. own_net: the one that this process is in. For privileged hosts only. */
	int (*take_net)(void *arg, bool lo_up);
	void *take_net_arg;
	int own_net;
	struct cell_trace *trace;         /* NULL unless wanted */
	const struct snap_engine *engine; /* borrowed; NULL: no snapshots */
	/* What CRIU knows of this kernel, from an earlier worker or dump of this boot; empty: it has to look. */
	struct buf kdat, dump_kdat;
	bool kdat_kept, dump_kdat_kept; /* in the state directory */
};

/* Looks at the host, finds the cgroup parent (unless @spec says no limits), sweeps what dead owners left.
 * @runtime_dir: directory with init and native. */
NODISCARD int cell_host_open(const struct cell_spec *spec, const char *runtime_dir, struct cell_host *ret,
			     struct err *e);
void cell_host_close(struct cell_host *h);
/* Sweeps once more, for a process that lives long: at its start the children of a dead one may have lived on for a
 * moment. May wait 2 s for each cell whose processes hang, but not again within a minute. */
int cell_host_sweep(struct cell_host *h, struct err *e);
/* The same host for the cells of another function: @ret borrows everything of @h and is not closed. What is the
 * function's (limits, target_fd, target_path, facts.code) is for the caller to set. */
void cell_host_view(const struct cell_host *h, struct cell_host *ret);

/* How far a restore is. */
enum cell_restore { RESTORE_ASK, RESTORE_TALK, RESTORE_EXEC, RESTORE_END, RESTORE_REAP, RESTORE_OVER };

struct cell {
	struct cell_host *host;
	const struct cell_spec *spec;
	const struct filter *filter; /* installed before exec; borrowed */
	enum plan_role role;
	const struct snap *from; /* PLAN_RESTORED: borrowed */
	uint64_t generation;     /* not PLAN_PLAIN: never the same twice */
	int signal_fd;           /* readable: give up a restore; FD_NONE: none. Borrowed, not read here */
	struct cell_plan *plan;
	char id[16];
	int slot; /* -1: none */
	struct cgroup cg;
	bool has_cg;
	struct net_request lo, lo_down;
	int net; /* a namespace that is ready; FD_NONE: the child makes its own */
	struct root_quota quota;
	int skeleton;                /* holds the skeleton in place */
	int mounts[PLAN_MAX_MOUNTS]; /* made before clone3, in the plan's order; FD_NONE: made by the child */
	int barrier, barrier_child;
	int in, out;          /* our ends of the channel: written, read; non-blocking */
	int std_out, std_err; /* our ends of the function's output; non-blocking */
	int child_in, child_out, child_std_out, child_std_err;
	int worker, worker_child; /* PLAN_RESTORED: the socket to CRIU */
	int worker_pidfd;
	int worker_log, worker_log_child; /* and what it says on stderr; neither end blocks */
	int tmp_tree;                     /* the archive of /tmp, or FD_NONE */
	struct buf filter_image;          /* the filter as CRIU takes it; empty without one */
	enum cell_restore restore;
	unsigned restore_words;
	uint64_t restore_until_ns;
	uint64_t give_up_ns; /* CLOCK_MONOTONIC: a restore that is not done by then has failed; 0: none. The caller's */
	pid_t pid;
	int pidfd;
	uint64_t exec_ns; /* CLOCK_MONOTONIC when the cell's PID 1 was executed */
	bool reaped;
	siginfo_t exit; /* valid when reaped */
	/* private */
	size_t at;    /* index of the stage to be entered next */
	bool entered; /* it has been, and is not done */
	int mark;     /* in the trace */
	bool died_at_birth;
	bool no_wait;         /* undo answers -EAGAIN instead of waiting */
	uint64_t deadline_ns; /* CLOCK_MONOTONIC: what is waited for has to come by then */
};

/* Initialises without touching the host. @spec, @host and @filter must outlive the cell. */
void cell_init(struct cell *c, struct cell_host *host, const struct cell_spec *spec, const struct filter *filter);

/* To be dumped after init, or restored from @from, which must outlive the cell. Between cell_init() and
 * cell_build(). */
void cell_publish(struct cell *c);
void cell_restore_from(struct cell *c, const struct snap *from, int signal_fd);

/* Runs the host's stages; on success the runtime inside has been executed. On failure everything is undone and *e names
 * the stage. */
NODISCARD int cell_build(struct cell *c, struct err *e);

/* In two steps for a cell that is restored: after the first it is complete but for its runtime, with a worker that
 * waits; the second restores. */
NODISCARD int cell_prepare(struct cell *c, struct err *e);
NODISCARD int cell_resume(struct cell *c, struct err *e);

/* The same for a process that has other things to do: nothing here waits.
 *
 * cell_begin() goes as far as letting the child run. cell_finish() takes its word, and restores: 0 when all is done, 1
 * when that has to wait: watch the descriptors of cell_waits_for() for reading and ask again. cell_deadline(), which
 * changes from call to call, is the caller's to watch: cell_late() is the error then. After a failure of any of the
 * three nothing is undone yet: cell_kill(), and when c->pidfd, if there is one, is readable, cell_try_release(). Then
 * cell_retry() says whether to begin again. */
NODISCARD int cell_begin(struct cell *c, struct err *e);
NODISCARD int cell_finish(struct cell *c, struct err *e);
/* How many there are; 0: nothing tells of it, ask again in a fraction of a millisecond. */
size_t cell_waits_for(const struct cell *c, int fds[CELL_WAITS]);
uint64_t cell_deadline(const struct cell *c); /* CLOCK_MONOTONIC */
int cell_late(struct cell *c, struct err *e);
/* The cell has failed and is released. True when its child died before its first instruction, which some kernels
 * do to everybody that clone3 puts into a group (see stages.c): the host's cells enter by themselves from now on,
 * and this one is initialised anew, for one more cell_begin(). */
NODISCARD bool cell_retry(struct cell *c);

/* Ends every process of the cell now. Idempotent. */
void cell_kill(struct cell *c);

/* Has PID 1 ended? With @block waits for it, at most 10 s. Fills c->exit. */
bool cell_has_exited(struct cell *c, bool block);

/* Ends and removes everything. Idempotent. A failure to remove something is reported, the rest is removed still. */
int cell_release(struct cell *c, struct err *e);
/* The same without waiting: -EAGAIN, with *e untouched, while PID 1 is not gone (watch c->pidfd), or while the
 * kernel has not taken the last process out of the group, which takes an instant more (ask again in a millisecond;
 * cell_release() gives it two seconds). Then call it again. */
NODISCARD int cell_try_release(struct cell *c, struct err *e);

/* Opens a mark; -1, which trace_end() ignores, without trace or room. @t may be NULL. */
int trace_begin(struct cell_trace *t, const char *stage, bool inside);
void trace_end(struct cell_trace *t, int mark);

/* Names of all stages, host's first, NULL-terminated: for fault tests and documents. */
const char *const *cell_stage_names(void);
