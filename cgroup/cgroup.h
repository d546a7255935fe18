/* Budgets: memory, CPU and number of processes of a cell, on cgroup v2, and on hybrid hosts through v1's files.
 *
 * One interface, two backends, chosen by looking at the host (cg_host_probe). A limit that cannot be applied is an error
 * that names the missing controller and the remedy, never a silent skip. Groups that exist already are left as they are;
 * what this module makes it removes. Nothing here needs a parser of anybody's text but the kernel's.
 *
 * Sources: Documentation/admin-guide/cgroup-v2.rst and the cgroup-v1 folder beside it; cgroups(7). */
#pragma once

#include "base/err.h"
#include "base/fd.h"
#include "cgroup/group.h"
#include "cgroup/nest.h"
#include "cgroup/resctrl.h"
#include "cgroup/unit.h"

#include <sys/types.h>

enum cg_mode {
	CG_NONE,   /* no usable hierarchy */
	CG_V2,     /* memory, cpu and pids on cgroup2 */
	CG_HYBRID, /* controllers on v1, freeze/kill/events on a cgroup2 tree beside them when there is one */
};

/* The v1 hierarchies that hybrid mode uses, each possibly mounted at a place of its own. */
enum cg_v1 { CG_V1_MEMORY, CG_V1_CPU, CG_V1_PIDS, CG_V1_COUNT };

/* What the host has. Plain data, filled once, printed by `fsbox check`. Paths are "" where absent; a `self` is "" too
 * when our group does not lie below the mount. */
struct cg_host {
	enum cg_mode mode;
	char v2_root[128];              /* mount point of cgroup2 */
	char v2_self[256];              /* our own group below it ("/" …) from /proc/self/cgroup */
	char v1_root[CG_V1_COUNT][128]; /* mount points */
	char v1_self[CG_V1_COUNT][256];
	bool v2_memory, v2_cpu, v2_pids; /* controllers in the root's cgroup.controllers */
	bool v2_kill, v2_freeze;         /* files of cgroup v2 core */
	bool v1_memsw;
	unsigned n_cpus; /* CPUs this process may run on: the cap of any share */
};

/* Fails only when /proc cannot be read: a host without usable cgroups is mode CG_NONE, an error of cg_parent_find(). */
NODISCARD int cg_host_probe(struct cg_host *ret, struct err *e);

/* Shares: quota and period in microseconds for @memory_bytes: memory / 1,769 MiB of one CPU, at most @n_cpus.
 * Period from 10 ms up to what keeps the quota at or above the kernel's 1 ms. Weight for cpu.weight (1 … 10,000),
 * shares for v1's cpu.shares (2 … 262,144). Pure. */
struct cg_cpu {
	uint64_t quota_us, period_us;
	uint32_t weight, shares;
};
struct cg_cpu cg_cpu_of_memory(uint64_t memory_bytes, unsigned n_cpus);

struct cg_limits {
	uint64_t memory_bytes;
	uint32_t pids;
	struct cg_cpu cpu;
	bool boost; /* start with at least one whole CPU; cg_end_boost() sets the real share */
	/* Beyond the limits until cg_end_extra(): for the program that restores the cell's runtime and lives in its
	 * group. */
	uint64_t extra_memory_bytes;
	uint32_t extra_pids;
};

/* One cell's group. A zeroed struct and CGROUP_INIT both mean "no group" (mode CG_NONE): cg_close() and cg_remove() are
 * valid at any time. dirfds are O_PATH and close-on-exec; where v1 mounts controllers together they name one directory. */
struct cgroup {
	enum cg_mode mode;
	char name[80];    /* last path component, the same in every hierarchy */
	char parent[256]; /* below the hierarchy's root, e.g. "/fsbox" */
	int v2;           /* dirfd for CLONE_INTO_CGROUP, FD_NONE when there is no cgroup2 */
	int v1[CG_V1_COUNT];
	int oom_event;      /* eventfd of v1's memory.oom_control, FD_NONE on v2. Nonblocking. The kernel signals
				    * it at an OOM and also when the group is removed: oom_kills of cg_usage() decides */
	int peak;           /* the memory peak's file, kept open by cg_peak() */
	uint64_t peak_base; /* where a peak that cannot be set back stood at cg_end_extra(), else 0 */
	uint64_t peak_seen; /* the most that was seen since then */
	struct cg_limits limits;
	struct cg_host *host; /* borrowed */
};
#define CGROUP_INIT                                                                                     \
	{                                                                                               \
		.v2 = FD_NONE, .v1 = {FD_NONE, FD_NONE, FD_NONE}, .oom_event = FD_NONE, .peak = FD_NONE \
	}

/* The parent under which cells' groups are made, in this order: @wanted (--cgroup-parent; a path below the root of the
 * hierarchies, or an absolute path under one of their mounts), our own delegated group, "/fsbox" where we may create it.
 * Creates it if needed and enables controllers in it (v2: cgroup.subtree_control from the root of what we may write down
 * to the parent). Under v2's no-internal-process rule, when the delegated group holds only ourselves, moves this process
 * into a sub-group "supervisor" of it (and notes that in @host); cg_parent_leave() undoes that.
 * A group counts as delegated when we may write it; for root, who may write everything, when systemd marked it so
 * (xattr user.delegate or trusted.delegate, CGROUP_DELEGATION.md).
 * ERR_DENIED / ERR_UNSUPPORTED / ERR_BUSY (processes in the way) say which controller or which delegation is missing,
 * with the command that grants it; ERR_SPEC when @wanted is not a path we take. What was created is removed again then. */
struct cg_parent {
	char path[256]; /* below the hierarchies' roots */
	bool moved_self;
};
NODISCARD int cg_parent_find(struct cg_host *host, const char *wanted, struct cg_parent *ret, struct err *e);
void cg_parent_leave(const struct cg_host *host, const struct cg_parent *parent);

/* Makes the group @name in every hierarchy and writes the limits. On failure nothing is left. ERR_EXISTS when there is
 * one already, which stays as it is. On v1 a share above the quota of a group over us is cut to that quota, which is
 * what v2 does by itself (v1 would refuse the write). */
NODISCARD int cg_create(struct cg_host *host, const struct cg_parent *parent, const char *name,
			const struct cg_limits *limits, struct cgroup *cg, struct err *e);

/* The same in two steps, so that the second can go on while the cell's first process makes its namespaces:
 * cg_begin() makes the group in cgroup2, if the host has one (for CLONE_INTO_CGROUP); cg_finish() makes the v1 groups and
 * writes all limits. After a failed cg_finish() the group stays for cg_remove(). */
NODISCARD int cg_begin(struct cg_host *host, const struct cg_parent *parent, const char *name,
		       const struct cg_limits *limits, struct cgroup *cg, struct err *e);
NODISCARD int cg_finish(struct cgroup *cg, struct err *e);

/* Descriptors of the v1 groups' `tasks` files, and with @v2_too of cgroup2's `cgroup.procs`; returns their number, 0 on
 * pure v2 without @v2_too. The caller closes them.
 * A single-threaded process that writes "0" to each enters them without the global lock that every write of another's
 * pid takes (kernel/cgroup/cgroup.c, cgroup_procs_write_start()), which costs an RCU grace period: up to 15 ms. */
NODISCARD int cg_open_tasks(const struct cgroup *cg, int fds[CG_V1_COUNT + 1], bool v2_too, struct err *e);

/* Puts @pid into the v1 groups (v2 is entered by CLONE_INTO_CGROUP; without cgroup2 nothing is left to do).
 * No-op on pure v2. */
NODISCARD int cg_attach_v1(const struct cgroup *cg, pid_t pid, struct err *e);

/* Puts @pid into the v2 group too, for kernels or callers without CLONE_INTO_CGROUP. Also the way out where a child of
 * clone3 dies of SIGKILL at birth: kernels that count kills (seen on 6.18) compare the target's count with that of the
 * group that the *caller* lives in, so nobody can be born into a group that was killed once, nor anywhere by a caller
 * whose own group was. Being moved is not affected. */
NODISCARD int cg_attach_v2(const struct cgroup *cg, pid_t pid, struct err *e);

/* The share replaces the boost. One write. */
NODISCARD int cg_end_boost(struct cgroup *cg, struct err *e);
/* And back, for an init that runs again. */
NODISCARD int cg_begin_boost(struct cgroup *cg, struct err *e);

/* The limits without extra, and a memory peak that counts from now on. v2 before Linux 6.12 cannot set its peak back:
 * there cg_peak() answers with what is in use, sampled when asked, until that peak is passed. ERR_OUT_OF_MEMORY (v1)
 * when more is in use, ERR_LIMIT when there are more processes and threads: the caller ends the cell. */
NODISCARD int cg_end_extra(struct cgroup *cg, struct err *e);

/* Other limits for a group that is in use; a boost or extra that it has stays. The share is for the caller to compute.
 * ERR_BUSY, and nothing has changed, when more is in use than @memory_bytes: nobody is killed for a limit that comes
 * later. 0 keeps a value. Fewer @pids than there are only refuse new ones. */
NODISCARD int cg_update(struct cgroup *cg, uint64_t memory_bytes, uint32_t pids, struct err *e);
/* It may take long when memory is to be less: the kernel reclaims within the call, until the caller is killed. Another
 * process can do it on a copy of @cg: these take over what that one has left in its copy, or set back, without waiting,
 * what it may have changed before it was ended. */
NODISCARD int cg_update_take(struct cgroup *cg, const struct cg_limits *now, struct err *e);
NODISCARD int cg_update_undo(const struct cgroup *cg, struct err *e);

struct cg_usage {
	uint64_t memory_peak_bytes; /* before Linux 5.19 v2 does not count it: then the present usage */
	uint64_t memory_bytes;
	uint64_t cpu_us;    /* user + system; 0 where the host cannot tell (v1 with cpuacct elsewhere and no cgroup2) */
	uint64_t oom_kills; /* processes of the group that an OOM killer ended: for its limit, or for the host's need */
	uint64_t pids_denied; /* forks refused by the pids limit */
	uint32_t pids;
};
NODISCARD int cg_usage(const struct cgroup *cg, struct cg_usage *ret, struct err *e);

/* Only the most memory the group ever used, by one read(2) from the second time on: every call's report wants it. */
NODISCARD int cg_peak(struct cgroup *cg, uint64_t *ret_bytes, struct err *e);

/* Ends every process in the group: cgroup.kill, or SIGKILL to each where the host has no cgroup.kill, then thaws (SIGKILL
 * ends a frozen process where it stands; thawing first would let it run on for a moment).
 * Returns when the signals are sent, not when the processes are gone. The group is for removal then, see
 * cg_attach_v2(). */
NODISCARD int cg_kill(const struct cgroup *cg, struct err *e);

/* cgroup.freeze; waits until cgroup.events says so, at most @timeout_ms. ERR_UNSUPPORTED without cgroup2;
 * ERR_DEADLINE when it took longer: a group that did not freeze is running again then. */
NODISCARD int cg_freeze(const struct cgroup *cg, bool frozen, int timeout_ms, struct err *e);

/* Removes the group in every hierarchy, children first (a cell may have been given a delegated sub-tree); waits up to
 * 2 s for the last exiting process. Idempotent: afterwards @cg is no group. On ERR_BUSY it still is, for a second try. */
NODISCARD int cg_remove(struct cgroup *cg, struct err *e);
/* The same without waiting: -EAGAIN, with *e untouched, while somebody is still in it. After waitid(2) for the last process
 * that lasts an instant, which nothing announces on v1. */
NODISCARD int cg_try_remove(struct cgroup *cg, struct err *e);

/* A group inside of a cell's, for some of its processes: it has no limits of its own, and they are counted for the cell,
 * but it can be ended by itself. In cgroup2 alone; cg_remove() of the cell takes it along. */
struct cg_sub {
	int dir; /* FD_NONE: none, because the host has no cgroup2 or the cell no group */
	char name[24];
};
#define CG_SUB_INIT            \
	{                      \
		.dir = FD_NONE \
	}
NODISCARD int cg_sub_make(const struct cgroup *cg, const char *name, struct cg_sub *ret, struct err *e);
/* Descriptors to which a process writes "0" to enter this group and the cell's v1 groups: as cg_open_tasks(). */
NODISCARD int cg_sub_open_tasks(const struct cgroup *cg, const struct cg_sub *sub, int fds[CG_V1_COUNT + 1],
				struct err *e);
/* Sends SIGKILL to all in it; 0 also when it is gone. -errno. */
NODISCARD int cg_sub_kill(const struct cg_sub *sub);
/* Without waiting: -EAGAIN while somebody is in it. Then @sub is none. */
NODISCARD int cg_sub_try_remove(struct cg_sub *sub);
void cg_sub_close(struct cg_sub *sub);

/* Closes descriptors; leaves the group in place. */
void cg_close(struct cgroup *cg);

/* What a dead fsbox left: kills and removes the group @name under @parent in every hierarchy. Success when absent. */
NODISCARD int cg_sweep(struct cg_host *host, const char *parent, const char *name, struct err *e);
