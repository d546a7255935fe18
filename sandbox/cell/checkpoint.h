/* Checkpoint and restore of OCI containers: what CRIU has to be told of a container (snapshot/criu.h), and what has to
 * stand when it restores one.
 *
 * In the images are the namespaces that the container has of its own. Not in them: namespaces it was given by path, in
 * which CRIU lives then on both occasions; mounts of the host's file systems and of cgroups, "external" to CRIU, which
 * are made anew from config.json; what descriptors 0, 1 and 2 lead to outside. Groups are the caller's, CRIU ignores
 * them.
 *
 * From outside this is included by cell.h. Nothing here prints. Single-threaded callers only. */
#pragma once

#include "cgroup/cgroup.h"
#include "snapshot/snapshot.h"
#include "spec/container.h"

enum { CT_STDIO = 3 };
/* The name of a PID namespace that the container was given; runc's, so that images go from one to the other. */
#define CT_EXTERNAL_PIDNS "extRootPidNS"
#define CT_EXTERNAL_NETNS "extRootNetNS"

/* Of a kind that CRIU can dump and restore? ERR_UNSUPPORTED: "a container with … cannot be @doing". */
NODISCARD int ct_checkpoint_check(const struct ct_spec *s, const char *doing, struct err *e);

struct ct_checkpoint {
	const struct ct_spec *spec; /* borrowed */
	struct criu_job job; /* options are the caller's; pid is his, too. Externals and namespaces are filled in */
	/* What descriptors 0, 1, 2 are: "pipe:[123]", a path; where CRIU has to be given another one at restore, the key
	 * that it wants then. In @arena. */
	const char *stdio[CT_STDIO];
	struct arena arena;
};
/* Before criu_dump(). ERR_UNSUPPORTED when the container is of a kind that CRIU cannot restore. */
NODISCARD int ct_checkpoint_look(struct ct_checkpoint *c, struct err *e);
void ct_checkpoint_done(struct ct_checkpoint *c);

struct ct_restore {
	/* What is wanted. Borrowed; descriptors stay the caller's. */
	const struct ct_spec *spec;
	const struct snap_engine *engine;
	const struct buf *kdat; /* from criu_kdat() */
	const struct cg_group
		*group;              /* entered by the container and nothing else, before it has children; NULL: none */
	struct criu_job *job;        /* the caller's options; the rest is filled in while it lasts */
	const char *stdio[CT_STDIO]; /* as ct_checkpoint's; NULL: not known. Ours 0, 1, 2 take their places */
	int console;                 /* where the master of the container's terminal goes; FD_NONE: there is none */
	/* The process and its namespaces exist; it has no children yet. */
	int (*born)(struct ct_restore *r, void *arg, struct err *e);
	/* All is restored, and nothing has run. */
	int (*ready)(struct ct_restore *r, void *arg, struct err *e);
	void *arg;
	/* What came of it. */
	pid_t pid; /* a child of ours */
	int pidfd;
};
/* On success the container runs. On failure nothing of it does; groups and files are the caller's to remove. */
NODISCARD int ct_restore(struct ct_restore *r, struct err *e);
