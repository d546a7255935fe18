/* Private to the deploy_….c: a deployment under way.
 *
 *   deploy_spec.c     what is asked for, and whether it may be
 *   deploy_files.c    files opened, and the child that looks at them
 *   deploy.c          the calls, what fsbox-spawn is told, the end of functions
 *   deploy_stored.c   functions from the time of another fsboxd */
#pragma once

#include "daemon/deploy.h"
#include "daemon/prepare.h"

/* What fsbox-spawn keeps of a function for the next fsboxd; the rest stands in the store. */
struct deploy_note {
	uint32_t magic;
	uint32_t owner;
	char name[NAME_BYTES];
	char digest[DIGEST_BYTES];
	uint32_t kept; /* 1: there was a store when it was deployed */
};
enum { DEPLOY_NOTE_MAGIC = 0x66736633 };

struct deployment {
	struct daemon *d;
	struct deployment *next;
	struct call *call; /* NULL: its client is gone, or it comes from the store */
	struct function *f;
	bool replace, reload, undeployed;
	uint32_t row; /* of a reload: its number in the store */
	struct prepare_job job;
	size_t n_open; /* files that are open */
	uint64_t open_number;
	int sock;
	pid_t pid;
	struct watch done;
	int pidfd;
	struct spawn_datagram *datagram; /* the FUNCTION, when the child has sent it */
	struct prepared *prepared;
};
extern struct deployment *deployments;

/* NULL when memory is out. @f belongs to it from now on, also then. */
struct deployment *deployment_new(struct daemon *d, struct function *f);
void deployment_free(struct deployment *p);
/* Answers with *e, or tells of it as an event. */
void deployment_fail(struct deployment *p, const struct err *e);
/* Opens what is to be opened, then looks at it; goes on with deployment_seen(). */
void deployment_go_on(struct deployment *p);
/* The child has ended: p->f is complete, or *e is set and @r negative. */
void deployment_seen(struct deployment *p, int r, struct err *e);

/* The spec's text into the spec. */
NODISCARD int deploy_read_spec(struct function *f, struct err *e);
NODISCARD int deploy_check_spec(const struct daemon *d, const struct function *f, const struct rights *r,
				struct err *e);
/* Files, in the order in which they are opened. @params: NULL without a call. */
NODISCARD int deploy_list_files(struct deployment *p, const struct json *params, struct err *e);
/* Into the store. */
void deploy_keep(const struct function *f);
/* What stands for this name and could not be read is not waited for any more. */
void deploy_drop_broken(struct daemon *d, uid_t owner, const char *name);
/* One from the store is through: the next ones, soon. */
void deploy_next_stored(struct daemon *d);
