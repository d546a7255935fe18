/* Making a container: what create and run share. */
#pragma once

#include "cell/cell.h"
#include "oci/store.h"

/* Whom a filter with SCMP_ACT_NOTIFY asks, and about what container. */
struct life_agent {
	const struct ct_spec *spec;
	const struct oci_state *state;
};

struct life {
	const struct oci_args *args;
	struct oci_store store;
	struct ct_spec *spec;
	struct filter filter;
	struct cg_group group;
	uint64_t preserve; /* descriptors from 3 on */
	bool has_group, limited;
	struct oci_state state;
	struct buf head, tail; /* of the state's text for hooks */
	struct life_agent agent;
	struct buf created; /* its head for those that run at start */
	struct ct ct;
	int dir, listener, console;
	int claim;      /* on the group, until somebody is in it */
	int streams[2]; /* of hooks inside */
};

/* What create and restore begin with: config.json is read and checked, the id is claimed, its state is on disk. On failure
 * nothing is left but what life_done() frees. */
NODISCARD int life_claim(struct life *l, const struct oci_args *a, const char *id, struct err *e);
/* Its groups, with their limits or, for restore, without them until life_limit(). */
NODISCARD int life_group(struct life *l, bool limits, struct err *e);
NODISCARD int life_limit(struct life *l, struct err *e);
/* Everything up to "created", with its file of the pid. With @wait_here no start.sock: ct_go() starts it. On failure
 * nothing is left but what life_done() frees. */
NODISCARD int life_create(struct life *l, const struct oci_args *a, const char *id, bool wait_here, struct err *e);
void life_init(struct life *l);
void life_done(struct life *l);
/* A program that somebody has compiled already, from base64. */
NODISCARD int life_program(struct ct_seccomp *s, struct filter *ret, struct err *e);
/* Compiles l->spec's profile. */
NODISCARD int life_filter(struct life *l, struct err *e);
/* life_groups.c, in the order of life_create(). */
const char *life_group_path(struct life *l); /* of config.json's cgroupsPath, for groups of our own making */
NODISCARD int life_find_group(struct life *l, struct err *e);
NODISCARD int life_cradle(struct life *l, struct err *e); /* what the child is born into; life_group() makes the rest */
NODISCARD int life_class(const struct life *l, pid_t pid, struct err *e); /* intelRdt's, which @pid enters */
int life_on_placed(struct ct *c, void *arg,
		   struct err *e); /* with a unit: its scope and groups, for a child that waits */
/* The same without limits for restore, whose process is born in its group: a process of ours holds the unit until it is
 * released. *ret_holder is FD_NONE before, and is to be released on failure too. */
NODISCARD int life_hold_unit(struct life *l, int *ret_holder, struct err *e);
void life_release_unit(int *holder);
/* The container is no more: processes, groups, poststop hooks, its directory. Idempotent, goes on after failures. */
int life_remove(const struct oci_store *store, int dir, struct oci_state *st, const struct ct_spec *spec,
		struct err *e);
/* The same with the groups that are open already. */
int life_remove_own(struct life *l, struct err *e);
/* Hooks of the host's side. @st as the hooks shall see it. They end when @until becomes readable, a pidfd of the
 * container's process for instance: "delete --force" need not wait for one that does not end. NULL: nothing. */
NODISCARD int life_hooks(const struct ct_spec *spec, enum ct_hook_kind kind, const struct oci_state *st,
			 const int *until, struct err *e);
/* Those of poststart, which may outlast the container's process; they end with life_forget_hooks() of the container's
 * directory. */
NODISCARD int life_poststart(const struct ct_spec *spec, const struct oci_state *st, int dir, struct err *e);
void life_forget_hooks(int dir);
/* Those of poststop: "MUST log a warning, but the remaining hooks and lifecycle continue" (runtime.md, "Lifecycle"). */
void life_poststop(const struct oci_args *a, const struct ct_spec *spec, const struct oci_state *st);
/* Where hooks write, for ct_state_text. The caller closes both; FD_NONE where nothing is said. */
NODISCARD int life_hook_streams(const struct ct_spec *spec, int to[2], struct err *e);
/* The text of @st in two parts around its pid. */
NODISCARD int life_state_text(const struct oci_state *st, struct buf *head, struct buf *tail, struct err *e);
/* What of l->spec is left out. */
void life_warn(const struct life *l);
/* Labels that no security module of this host would know. */
NODISCARD int life_check_labels(const struct ct_spec *s, struct err *e);
/* Is there somebody to ask, when there will be questions? Before anything is made. */
NODISCARD int life_check_agent(const struct ct_spec *s, struct err *e);
/* Passes the descriptor of the questions to linux.seccomp.listenerPath, which is a name of our own namespaces. All is
 * borrowed until the container has executed. */
struct ct_listener life_agent(struct life_agent *to, const struct ct_spec *spec, const struct oci_state *state);
/* Connects to the socket that waits for a console, or another. Moved clear of the container's descriptors. */
NODISCARD int life_connect(const char *path, struct err *e);
/* --pidfd-socket: sends the process's pidfd there. Nothing to do without @path. */
NODISCARD int life_send_pidfd(const char *path, int pidfd, struct err *e);
/* ERR_DENIED when what @s sets in a joined namespace would be set on the host. */
NODISCARD int life_check_joined(const struct ct_spec *s, struct err *e);
/* Descriptors that systemd passes (sd_listen_fds(3)) go on to the container, and so do the variables that tell of them.
 * ERR_SPEC when one of all that are to be preserved is not the caller's. */
NODISCARD int life_listen_fds(struct ct_spec *s, uint64_t *preserve, struct err *e);
/* Has the container that waits at start.sock execute. */
NODISCARD int life_start(int dir, struct oci_state *st, const struct ct_spec *spec, struct err *e);
/* PATH for pid files, written as a whole. */
NODISCARD int life_pid_file(const char *path, pid_t pid, struct err *e);
bool life_unprivileged(const struct oci_args *a);
