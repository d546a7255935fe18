/* The groups that somebody has made below a container's own, an init system or a container engine in it: what they are like
 * and who is in them, to be made once more elsewhere.
 *
 * From outside this is included by cgroup.h. Threads of one process in several groups ("threaded") are seen as one. */
#pragma once

#include "base/mem.h"
#include "cgroup/group.h"

struct cg_nested {
	const char *tree;    /* "" is v2's; of v1 its controllers, as cg_tree has them */
	const char *path;    /* below the container's group, "/a/b"; "" is that group */
	uid_t uid;           /* whose the directory is, and what may be written of it */
	const char **values; /* one for each of cg_nest_files(); NULL: there is none */
	pid_t *pids;         /* as /proc has them here */
	size_t n_pids;
};

struct cg_nest {
	struct cg_nested *at; /* groups stand before those that they are in */
	size_t n;
};

/* Names of the files whose values are kept, NULL-terminated. */
const char *const *cg_nest_files(void);
/* Everything in @ret is @a's. Nothing, when there are no groups below. */
NODISCARD int cg_nest_look(const struct cg_group *g, struct arena *a, struct cg_nest *ret, struct err *e);
/* "" or "/NAME" once or more, none of them "." or "..", as cg_nest_look() writes it. */
bool cg_nest_is_path(const char *path);
/* Makes the groups, moves the processes into them and then sets the values: controllers are handed down only where nobody
 * is. Hierarchies that this host does not have are left out. */
NODISCARD int cg_nest_make(const struct cg_group *g, const struct cg_nest *n, struct err *e);
