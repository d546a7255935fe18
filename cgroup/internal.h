/* What the files of cgroup/ share among themselves, and what their tests reach: nobody else includes this.
 *
 * A hierarchy is an index: v1's as in enum cg_v1, then cgroup2. Functions that take a descriptor return a negative errno
 * and no text; functions that take a struct err are the ones that know what the user asked for. */
#pragma once

#include "cgroup/cgroup.h"

#include "base/mem.h"

enum { CG_H_V2 = CG_V1_COUNT, CG_H_COUNT };

#define CG_CHILD_DEPTH_MAX 16   /* of groups below a cell's: deeper than any init system nests */
#define CG_CHILD_COUNT_MAX 4096 /* so that a cell with a delegated sub-tree cannot keep us busy for long */
#define CG_FULL_PATH_MAX   512  /* mount point + parent + name, each bounded by its field */

/* probe.c. cg_host_parse() is pure; cg_host_from_texts() also looks at the mount points that the texts name. */
void cg_host_parse(const char *mountinfo, const char *self_cgroup, struct cg_host *ret);
void cg_host_from_texts(const char *mountinfo, const char *self_cgroup, struct cg_host *ret);
/* Undoes mountinfo's octal escapes (\040). False when the result does not fit or would hold a 0 byte. */
bool cg_unescape(const char *s, size_t len, char *ret, size_t size);
const char *cg_h_name(unsigned h); /* "memory", "cpu", "pids", "cgroup2" */
const char *cg_h_root(const struct cg_host *host, unsigned h);
const char *cg_h_self(const struct cg_host *host, unsigned h);
/* True for the hierarchies in which a cell gets a group. */
bool cg_h_used(const struct cg_host *host, unsigned h);
/* True when an earlier index stands for the same directory (v1 controllers mounted together). */
bool cg_h_shared(const struct cg_host *host, unsigned h);

/* The hierarchies that @mountinfo shows, each once, into @g->trees. */
void cg_trees_parse(const char *mountinfo, struct cg_group *g);
NODISCARD int cg_read_proc(const char *path, char **ret, struct err *e);
enum { CG_PROCS_MAX = 16 << 20 }; /* bytes of cgroup.procs */
/* group.c: a list with commas or blanks. */
bool cg_word_in(const char *list, const char *word);
/* The directory, which is open for reading, and what is in it to be delegated; -errno. */
NODISCARD int cg_give_dir(int dir, uid_t uid);

/* group.c: "@doing ROOT/GROUP/FILE: reason" */
int cg_tree_fail(const struct cg_group *g, const struct cg_tree *t, const char *file, int code, const char *doing,
		 struct err *e);

/* group_limits.c: says through @put what to write for @r. Pure; @v2 tells for a controller whether it is one of cgroup2:
 * -1 when the host has none of it. */
struct cg_writer {
	int (*put)(void *arg, const char *controller, const char *file, const char *text, bool optional, struct err *e);
	int (*version)(void *arg, const char *controller);
	void *arg;
};
NODISCARD int cg_limits_plan(const struct cg_writer *w, const struct ct_resources *r, struct err *e);
/* group_devices.c */
NODISCARD int cg_group_devices(const struct cg_group *g, const struct ct_resources *r, struct err *e);
/* Pure: what the rules leave, a default and its exceptions; a number of -1 is any. @access: letters of "rwm". */
typedef void cg_device_fn(void *arg, char type, int64_t major, int64_t minor, const char *access);
NODISCARD int cg_devices_left(const struct ct_resources *r, bool *ret_allow, cg_device_fn *fn, void *arg,
			      struct err *e);

/* unit.c */
void cg_unit_word(struct buf *words, const char *word);
void cg_unit_property(struct buf *words, const char *name, const char *signature, const char *value);

/* path.c */
/* The parts one after the other; false, and "", when they do not fit. */
bool cg_concat(char *ret, size_t size, const char *const *parts, size_t n);
size_t cg_format_u64(char *ret, uint64_t v); /* at most 20 digits and a 0 byte; returns the length */
NODISCARD int cg_check_name(const char *name, struct err *e);
/* A path below the hierarchies' roots from what the user wrote: absolute, no empty part, no "..". */
NODISCARD int cg_check_path(const struct cg_host *host, const char *wanted, char *ret, size_t size, struct err *e);
/* O_PATH descriptor of a directory, no symbolic link anywhere; -errno. */
NODISCARD int cg_open_dir(const char *root, const char *path);
NODISCARD int cg_open_child(int dirfd, const char *name);
/* One write(2) of the whole value; -errno. */
/* stat.c: the memory peak counts from now on. */
NODISCARD int cg_restart_peak(struct cgroup *cg, struct err *e);

NODISCARD int cg_write_at(int dirfd, const char *file, const char *text, size_t len);
/* For what helps where it works and is no failure where it does not. */
void cg_try_write_at(int dirfd, const char *file, const char *text, size_t len);
/* As fd_read_file_at(), without following a link. */
NODISCARD ssize_t cg_read_at(int dirfd, const char *file, char *buf, size_t size);
/* below.c: calls @fn for the group and for all below it, each before what is below it; a nonzero answer ends that and is
 * returned. Without the bounds of the next one. */
NODISCARD int cg_visit(int top, int (*fn)(int dir, void *arg), void *arg);
/* Visits the groups below @dirfd, the deepest first. -ELOOP and -E2BIG beyond the bounds above. */
struct cg_walk {
	int (*visit)(int parent, const char *name, int dirfd, void *arg); /* negative ends the walk */
	void *arg;
	unsigned seen;
};
NODISCARD int cg_walk(int dirfd, unsigned depth, struct cg_walk *w);

/* parent.c, enable.c: one attempt to use @path, and what it changed so far, so that a failure can take it back. */
struct cg_attempt {
	struct cg_host *host;
	const char *path;
	unsigned made[CG_H_COUNT]; /* components created, counted from the end */
	bool moved;                /* we are in the supervisor's group */
};
#define CG_SUPERVISOR    "supervisor"
#define CG_CONTROL       "cgroup.subtree_control"
#define CG_RUN_DELEGATED "systemd-run --user --scope -p Delegate=yes fsbox run ..."
/* Enables memory, cpu and pids from the root down to a->path, open at @parent; steps aside where we are in the way. */
NODISCARD int cg_enable_down(struct cg_attempt *a, int parent, struct err *e);
/* Back from the supervisor's group, where nobody else needs the controllers. */
void cg_step_back(const struct cg_host *host);
/* Cuts "/supervisor" off: the group that the supervisor's belongs to. */
void cg_without_supervisor(char *path);
int cg_hint_v2(const struct cg_host *host, int code, const char *path, int r, struct err *e);

/* tree.c */
int cg_dirfd(const struct cgroup *cg, unsigned h);
/* "doing: <path of the file>: reason", kind from @code; a missing file means a missing controller. */
int cg_fail(const struct cgroup *cg, unsigned h, const char *file, int code, const char *doing, struct err *e);
/* cg_write_at() in hierarchy @h of the group, with the error. */
NODISCARD int cg_put(const struct cgroup *cg, unsigned h, const char *file, const char *text, size_t len,
		     struct err *e);

/* limits.c */
/* The quota as limits and boost have it now. */
NODISCARD int cg_put_cpu(const struct cgroup *cg, struct err *e);
NODISCARD int cg_limits_write(const struct cgroup *cg, struct err *e);

/* stat.c: parsers of the kernel's texts. False, and *ret untouched, when the thing is not there. */
NODISCARD bool cg_parse_flat(const char *text, const char *key, uint64_t *ret); /* "key value" lines */
NODISCARD bool cg_parse_value(const char *text, uint64_t *ret);                 /* a number, or "max" as UINT64_MAX */
/* Waits until @key of cgroup.events is @want: -ETIMEDOUT when @deadline_ns (monotonic) passes first. */
int cg_wait_event(int v2, const char *key, uint64_t want, uint64_t deadline_ns);
void cg_pause_until(uint64_t ns_monotonic);

/* kill.c: SIGKILL to every process of the group and the groups below it, without cgroup.kill. -errno. */
NODISCARD int cg_kill_each(int dirfd);
/* The same for all of the cell's v1 groups: where there is no cgroup2, and for what a crash left in v1 only. */
NODISCARD int cg_kill_v1(const struct cgroup *cg, struct err *e);
