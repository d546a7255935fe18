/* CRIU as a person would use it: a whole cell, PID 1 with all namespaces, dumped and restored by the command line, with the
 * log level that CRIU has by itself. What fsbox's snapshots are compared with; fsbox itself does nothing of this.
 *
 * What differs from `criu dump -t PID -D DIR` and `criu restore -d -D DIR`, because it would not work otherwise:
 *
 *   mounts       binds are external; /tmp and /run, tmpfs both, are in the image, as archives made by tar
 *   sources      of the binds lie where the restored root can reach them: the state directory is root's alone
 *   owner        without CAP_SYS_RESOURCE only the owner of the user namespace may ask for limits: he dumps, with root's
 *                capabilities, and says --unprivileged, since he is not uid 0
 *   groups       --manage-cgroups=ignore: the cell's are gone by then, and not every host's can be restored
 *   network      --network-lock skip: there is nobody to be kept out, and nothing to lock with on a small host
 *   sibling      -S: the cell asks to be killed with its parent, which would be CRIU itself, that ends
 *   pipes        --inherit-fd
 *
 * Nothing here prints. */
#pragma once

#include "cell/build.h"

struct plain_criu {
	const struct snap_engine *engine; /* borrowed */
	char dir[256];                    /* sources/, root/, images…; the caller removes it */
	struct arena arena;
	const char *external[2 * PLAN_MAX_MOUNTS], *places[2 * PLAN_MAX_MOUNTS]; /* options for dump and restore */
	size_t n;
};

/* What one dump made. */
struct plain_images {
	const char *name;               /* directory below the own one */
	char pipes[SNAP_MAX_PIPES][48]; /* what was 1, 2, 3 and 4 */
};

/* Gives this process a mount namespace of its own with a tmpfs at /run, where CRIU keeps what it knows of the kernel, as
 * on a host of the usual kind. @state_dir, below /run, stays what it is. Once, before anything else is opened. */
NODISCARD int plain_criu_world(const char *state_dir, struct err *e);

/* Binds what a cell like @c finds in place. @dir: an absolute name. */
NODISCARD int plain_criu_init(struct plain_criu *p, const struct snap_engine *engine, const struct cell *c,
			      const char *dir, struct err *e);
void plain_criu_done(struct plain_criu *p);

/* Dumps @c, which is dead then, into @images, whose directory is made. *ret_ns: from fork to CRIU's end. */
NODISCARD int plain_criu_dump(struct plain_criu *p, const struct cell *c, struct plain_images *images, uint64_t *ret_ns,
			      struct err *e);

/* What a restore brought: the caller reads the answer to @call, ends it, and waits. */
struct plain_cell {
	int in, out, std_out; /* our ends; std_out has 1 and 2 */
	pid_t criu, pid;      /* pid: known after plain_criu_wait() */
	uint64_t begin_ns;    /* before fork */
};
#define PLAIN_CELL_NONE ((struct plain_cell){.in = FD_NONE, .out = FD_NONE, .std_out = FD_NONE})
/* Starts CRIU; the first bytes for descriptor 3 lie ready. Then, after the answer, wait and end, in any case. */
NODISCARD int plain_criu_restore(struct plain_criu *p, const struct plain_images *images, const void *call, size_t len,
				 struct plain_cell *ret, struct err *e);
NODISCARD int plain_criu_wait(struct plain_criu *p, struct plain_cell *c, struct err *e);
void plain_criu_end(struct plain_cell *c);
