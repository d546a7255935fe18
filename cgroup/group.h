/* Any group by its path, in every hierarchy that the host has: what containers of fsbox-oci live in. Their place and their
 * limits are the caller's; cgroup.h has the cells' own.
 *
 * From outside this is included by cgroup.h. Rules: runtime-spec, config-linux.md, "Control groups"; the conversion to v2's
 * files is what runc and crun write. */
#pragma once

#include "base/err.h"
#include "spec/resources.h"

#include <sys/types.h>

enum { CG_MAX_TREES = 16 };

struct cg_tree {
	char root[128];       /* mount point */
	char controllers[96]; /* v1: "cpu,cpuacct" or "name=systemd"; v2: "memory pids …" of the root */
	bool v2;
	int dir; /* of the group, O_PATH; FD_NONE while there is none */
};

struct cg_group {
	char path[400]; /* from the roots, "/a/b" */
	struct cg_tree trees[CG_MAX_TREES];
	unsigned n;
};

/* Looks at the host and opens the group where it exists. @path: absolute, no part is "." or "..". After success
 * cg_group_close(). */
NODISCARD int cg_group_find(const char *path, struct cg_group *ret, struct err *e);
void cg_group_close(struct cg_group *g);
/* Makes it, with all parts of the path, in every hierarchy; with @v2_only in cgroup2's alone, which is what clone3 needs.
 * With @lenient what may not be made is left out, for callers without rights. */
NODISCARD int cg_group_make(struct cg_group *g, bool v2_only, bool lenient, struct err *e);
/* Descriptors into which a single-threaded process writes "0" to enter; returns their number. On v1 that is cheap; into
 * cgroup2 it waits for a global lock, some milliseconds, so clone3 with the descriptor of cg_group_v2() is the better way
 * (cg_open_tasks() has the whole story), and @v2_too the other one. */
NODISCARD int cg_group_entries(const struct cg_group *g, bool v2_too, int fds[CG_MAX_TREES], struct err *e);
/* Nobody is in the group, in any hierarchy, and until *ret_lock is closed nobody else gets this answer. ERR_BUSY. */
NODISCARD int cg_group_claim(const struct cg_group *g, int *ret_lock, struct err *e);
/* Notes in the group whose it is, below CG_MARK_MAX bytes; "": nobody's. Where that cannot be noted nothing happens. */
enum { CG_MARK_MAX = 400 };
void cg_group_mark(const struct cg_group *g, const char *owner);
/* What was noted last; false when there is nothing. */
bool cg_group_marked(const struct cg_group *g, char owner[CG_MARK_MAX]);
/* From now on @g's descriptors are those of its group @sub, which exists: in every hierarchy, or in those of @controllers,
 * "cpu,memory", which only v1 has. */
NODISCARD int cg_group_descend(struct cg_group *g, const char *controllers, const char *sub, struct err *e);
/* From now on @g's descriptor of v2 is that of the group below it in which the process @pid is; false, and nothing changes,
 * when that is not below. cgroup2 lets nobody into a group that hands controllers down (cgroups(7), "no internal
 * processes"). */
bool cg_group_follow(struct cg_group *g, pid_t pid);
int cg_group_v2(const struct cg_group *g); /* FD_NONE where there is none */
/* Gives the group to @uid as far as delegation goes: the directory, and the files that /sys/kernel/cgroup/delegate names
 * (cgroups(7), "Cgroups v2 delegation"; config-linux.md, "Cgroup ownership"). Nothing on hosts with v1. */
NODISCARD int cg_group_give(const struct cg_group *g, uid_t uid, struct err *e);
/* Writes what is set in @r. With @update only what changes a living group; the group's device rules stay then. */
NODISCARD int cg_group_limit(const struct cg_group *g, const struct ct_resources *r, bool update, struct err *e);
/* With memory.checkBeforeUpdate, ERR_BUSY when more is in use than the new limit: nobody is to be killed for it. The update
 * above does it as well. */
NODISCARD int cg_group_check_use(const struct cg_group *g, const struct ct_resources *r, struct err *e);
/* Every process of the group and of those below gets @sig; for SIGKILL also frozen ones, and nobody escapes by fork. */
NODISCARD int cg_group_kill(const struct cg_group *g, int sig, struct err *e);
/* Waits, at most 10 s, until it is so. */
NODISCARD int cg_group_freeze(const struct cg_group *g, bool frozen, struct err *e);
bool cg_group_is_frozen(const struct cg_group *g);
/* Calls @fn for each process. Nonzero ends and is returned. */
int cg_group_processes(const struct cg_group *g, int (*fn)(pid_t pid, void *arg), void *arg);
/* Removes it and what is below, everywhere; waits up to 2 s for the last process. Idempotent. */
NODISCARD int cg_group_remove(struct cg_group *g, struct err *e);
/* The hierarchy with @controller, or NULL. "" is v2, or where there is none any. */
const struct cg_tree *cg_group_tree(const struct cg_group *g, const char *controller);
/* Reads a file of the group; the length, or -errno; -ENOENT without the controller. */
ssize_t cg_group_read(const struct cg_group *g, const char *controller, const char *file, char *buf, size_t size);
