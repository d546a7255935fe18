/* Private to cell/: what the files of containers share. */
#pragma once

#include "cell/container.h"
#include "base/str.h"
#include "cell/internal.h"
#include "netns/netns.h"
#include "rootfs/rootfs.h"
#include "snapshot/snapshot.h"

enum { CT_PATH_ROOM = 4096 };

/* Memory that the host and the child share. */
struct ct_shared {
	unsigned char born;    /* the child's first instruction was executed */
	bool placed;           /* there is a group */
	struct cg_group group; /* as the host has made it, with the host's descriptors */
};

/* What the child works on: prepared before clone3. */
struct ct_child {
	const struct ct *ct;
	const struct ct_spec *spec;
	int barrier, listener;
	int streams[2];               /* of hooks; FD_NONE: ours */
	struct ct_shared *shared;     /* with the host */
	const struct cg_group *group; /* that we are in, or NULL */
	int ns[CT_NS_COUNT];          /* to be joined */
	int entries[CG_MAX_TREES];    /* of the groups, for restore; else they come by the barrier */
	int n_entries;
	int *sources;  /* detached binds, one a mount; FD_NONE: the child's to make */
	int root_tree; /* detached bind of the rootfs, or FD_NONE */
	int unshare_flags;
	struct net_request lo;     /* brings it up in a new network namespace; empty: there is none */
	bool in_user;              /* another user namespace than ours */
	int setns_flags;           /* for ct->join */
	const char **argv, **envp; /* with room for HOME */
	size_t n_env;
	int root;    /* of the container, until pivot */
	int sysctls; /* a /proc/sys of our own, or FD_NONE */
	int tty;
	char exe[CT_PATH_ROOM];
	char home[CT_PATH_ROOM];
	const char **host_mounts; /* for --no-pivot: where the host has mounts, from its root */
	size_t n_host_mounts;
};

/* Everything that the child inherits, and that is the host's to close again. */
struct ct_prepared {
	struct ct_child child;
	struct arena arena;
	int own_pid, own_time; /* our own namespaces for children, to come back to; FD_NONE to begin with */
	bool enters;           /* the child enters cgroup2 by itself */
};
/* container_prepare.c */
NODISCARD int ct_prepare(struct ct *c, struct ct_prepared *p, struct err *e);
void ct_prepared_done(struct ct_prepared *p);

_Noreturn void ct_child_main(struct ct_child *ch);

/* container_child.c: for a restore too, whose processes have them from CRIU's. */
NODISCARD int ct_set_io_priority(const struct ct_process *p, struct err *e);
NODISCARD int ct_set_memory_policy(const struct ct_memory_policy *m, struct err *e);

/* container_sysctl.c. Open first, where a proc may be made; then write, in the namespaces that they are for. */
NODISCARD int ct_sysctls_open(struct ct_child *ch, struct err *e);
NODISCARD int ct_sysctls_write(const struct ct_child *ch, struct err *e);
/* Host side: for a restored process, by its pidfd. Of some of them CRIU has what they were at the checkpoint, and writes
 * that later; the others no image has. */
NODISCARD int ct_sysctls_restore(struct ct_child *ch, int pidfd, struct err *e);

/* container_guard.c: host side, before the clone. */
int ct_become_undumpable(const struct ct *c, struct err *e);

/* container_rlimits.c: host side, before the child is in another user namespace for good. */
NODISCARD int ct_raise_limits(const struct ct *c, struct err *e);

/* container_move.c: the root without pivot_root. Host side, before the clone; then the child, in place of it. */
NODISCARD int ct_move_prepare(struct ct_prepared *p, struct err *e);
NODISCARD int ct_move_root(const struct ct_child *ch, struct err *e);

/* container_root.c */
int ct_child_mounts(struct ct_child *ch, struct err *e);
int ct_child_devices(struct ct_child *ch, struct err *e);
int ct_child_console(struct ct_child *ch, struct err *e);
int ct_send_console(int sock, int master, struct err *e);
int ct_child_masks(struct ct_child *ch, struct err *e);
int ct_child_pivot(struct ct_child *ch, struct err *e);

/* container_user.c */
/* Fewer descriptors than we need ourselves: the stage "user" sets that limit. */
bool ct_child_is_late(const struct ct_rlimit *l);
int ct_child_lookup(struct ct_child *ch, struct err *e);
int ct_child_user(struct ct_child *ch, struct err *e);
int ct_child_exec(struct ct_child *ch, struct err *e);

/* container_notify.c: filters that ask a listener. ct_notify_begin() while the rights are still there; then the filter is
 * installed, and the host has passed the descriptor on. */
bool ct_notifies(const struct ct_child *ch);
NODISCARD int ct_notify_begin(const struct ct_child *ch, struct err *e);
NODISCARD int ct_notify_install(const struct ct_child *ch, struct err *e);

/* container_cgroup.c: mounts of type cgroup. */
int ct_mount_cgroups(struct ct_child *ch, const struct ct_mount *m, struct err *e);
/* One hierarchy of them, detached. */
int ct_cgroup_tree(struct ct_child *ch, const struct cg_tree *t, unsigned attrs);
/* v2, where nothing else is; or NULL. */
const struct cg_tree *ct_cgroup_only_v2(const struct cg_group *g);

/* container_stage.c: the mounts of a restore, by the process that becomes CRIU, in a mount namespace that this makes. They
 * lie over a place that every user namespace reaches and that nothing is needed of: root; mN of the spec's mount N, a bind;
 * cN.K of its mount N, of type cgroup, hierarchy K of the group; what CRIU knows of the kernel; imagesK when a user
 * namespace is wanted, K = 0 for those at @images, and on for those that they are based on. */
#define CT_STAGE CRIU_KDAT_DIR
int ct_stage(struct ct_child *ch, const char *images, const struct buf *kdat, struct err *e);
