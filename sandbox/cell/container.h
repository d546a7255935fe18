/* OCI containers: from a checked ct_spec to a process that waits for the word to execute, and on.
 *
 * The stages are those of a cell where they are the same thing (namespaces, ids, mounts, pivot, session, limits, caps,
 * filter, exec); the process is PID 1 itself, and it outlives its maker. Between "created" and "start" the maker goes
 * away: what the process waits on then is a listening socket, and who connects and says so lets it execute, and is told
 * of a failure.
 *
 * Nothing here prints. Single-threaded callers only (see sys_clone3). */
#pragma once

#include "cgroup/cgroup.h"
#include "confine/confine.h"
#include "spec/container.h"

/* Text of a hook's state: what stands before and after the number of the process; and where the hook writes. */
struct ct_state_text {
	const char *head, *tail;
	const int *streams; /* two descriptors, or FD_NONE: ours; NULL: both ours */
	const int *until;   /* readable when the hook has no purpose any more; NULL: nothing is */
};

/* Where the questions of a filter with SCMP_ACT_NOTIFY go: called once, before the program is executed; the descriptor
 * stays the caller's. */
struct ct_listener {
	int (*pass)(int listener, pid_t pid, void *arg, struct err *e);
	void *arg;
};

struct ct {
	/* What is wanted. Borrowed; descriptors stay the caller's. */
	const struct ct_spec *spec;
	const struct filter *filter;  /* or NULL */
	const struct cg_group *group; /* entered; NULL: the child stays where we are */
	int console;                  /* with process.terminal: a connected socket for the pseudoterminal's master */
	int listener;                 /* where "start" connects; FD_NONE: ct_go() gives the word */
	int join;                     /* exec: pidfd of a process whose namespaces are entered; else FD_NONE */
	unsigned preserve;            /* descriptors 3 … 3 + n - 1 are the container's */
	/* A descriptor whose last close takes time, or FD_NONE: the child closes its copy first of all, and ours goes
	 * while we wait for the child. */
	int slow_close;
	bool no_pivot, no_keyring;
	bool unprivileged; /* sources of binds are opened by the child */
	bool straight;     /* no listener, and nothing to do between "created" and ct_go(): the word is given ahead */
	struct ct_state_text state, created; /* for createContainer and startContainer hooks */
	/* Instead of @group, for groups that can be had for a living process only: called when it exists. The
	 * callback moves it into its groups and sets @group, or leaves that NULL. */
	int (*place)(struct ct *c, void *arg, struct err *e);
	/* Called when the process exists, and when its root stands but is not entered; may be NULL. The first runs beside
	 * the child, which makes its namespaces: what is missing of @group, and its limits, are made there. */
	int (*born)(struct ct *c, void *arg, struct err *e);
	int (*mounted)(struct ct *c, void *arg, struct err *e);
	void *arg;
	struct ct_listener asked; /* for ct_go() */
	/* What came of it. */
	pid_t pid; /* before that: the process of @join */
	int pidfd;
	int barrier; /* private */
};

/* Up to "created": everything stands but the execution. On failure nothing of the process is left. */
NODISCARD int ct_create(struct ct *c, struct err *e);
/* With no listener: lets it execute; returns when it has, or has failed and is gone. */
NODISCARD int ct_go(struct ct *c, struct err *e);
/* With a listener, by another process: @sock is connected to it, @pid is the container's. @asked may be NULL when its
 * filter asks nobody. */
NODISCARD int ct_start(int sock, pid_t pid, const struct ct_listener *asked, struct err *e);
/* Ends and reaps the process. Idempotent. */
void ct_abandon(struct ct *c);

/* Runs one hook and waits for it, at most its timeout; @pid goes into the state's text. ERR_FUNCTION when it fails,
 * ERR_LOST when it was ended because of the state's @until. No allocation: for both sides of the clone. */
NODISCARD int ct_hook_run(const struct ct_hook *h, const struct ct_state_text *state, pid_t pid, struct err *e);

/* An armed fault of the test build at a stage of the caller's own (FSBOX_FAULT, see stages.c), else 0. */
NODISCARD int ct_fault(const char *stage, struct err *e);
/* Names of the stages of a container's child, NULL-terminated. */
const char *const *ct_stage_names(void);
