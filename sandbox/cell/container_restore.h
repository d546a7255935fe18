/* Private to cell/: what the two halves of a restore share. */
#pragma once

#include "cell/checkpoint.h"
#include "cell/container_internal.h"

enum {
	CRIU_SOCKET = 100, /* in CRIU's process */
	CRIU_STDIN = 101,  /* and the next two */
	CRIU_PIDNS = 104,
	CRIU_NETNS = 105,
};

/* A restore, while it lasts. */
struct restorer {
	struct ct_restore *r;
	struct ct ct; /* as ct_prepare() wants it */
	struct ct_prepared p;
	struct criu_command command;
	const char **points; /* where mounts are, one for each of the spec's; NULL: a remount */
	int cgroup_ns;       /* new, rooted in the container's groups; or FD_NONE */
	int sock, theirs;
	int work; /* directory */
	pid_t criu;
	int criu_pidfd;
	bool late; /* it was, and is not waited for any more */
};

/* container_request.c: once CRIU's process has made its mounts, tells it what to restore, and out of what. */
NODISCARD int ct_send_request(struct restorer *x, struct err *e);
