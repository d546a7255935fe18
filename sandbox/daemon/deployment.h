/* Private to the deploy_….c: a deployment under way.
 *
 *   deploy_spec.c     what is asked for, and whether it may be
 *   deploy_files.c    files opened, and the child that looks at them
 *   deploy.c          the calls, what fsbox-spawn is told, the end of functions
 *   deploy_stored.c   functions from the time of another fsboxd
 *   deploy_broken.c   those of them that cannot be read
 *   deploy_store.c    the store's file: what is written, and what is tried again */
#pragma once

#include "daemon/deploy.h"
#include "daemon/prepare.h"

/* What fsbox-spawn keeps of a function for the next fsboxd; the rest stands in the store. */
struct deploy_note {
	uint32_t magic;
	uint32_t owner;
	char name[NAME_BYTES];
	char digest[DIGEST_BYTES];
	uint32_t kept; /* 1: it stands in the store, or did; without the store it is lost */
};
enum { DEPLOY_NOTE_MAGIC = 0x66736633 };

struct deployment {
	struct daemon *d;
	struct deployment *next;
	struct call *call; /* NULL: its client is gone, or it comes from the store */
	struct function *f;
	bool replace, reload, undeployed;
	bool again;   /* a reload that was tried before, and told of as lost */
	uint32_t row; /* of a reload: its number in the store; 0: that was another file */
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

/* ---- deploy_store.c ---- */

/* Out of it; 0, and *ret_existed is untouched, when there is no store. */
NODISCARD int deploy_remove(struct daemon *d, uid_t owner, const char *name, bool *ret_existed, struct err *e);
/* After one that failed: until it has succeeded the row does not count, as far as this daemon lives. */
void deploy_remove_later(struct daemon *d, uid_t owner, const char *name);
bool deploy_is_removed(uid_t owner, const char *name);
/* fsbox-spawn has to know that it stands there. */
void deploy_note_kept(struct function *f);
/* The event of one that is deployed, or has other numbers: whether it would survive this daemon stands there. */
void deploy_tell(const struct function *f);
/* Negative: the file cannot be opened, or not be read. */
NODISCARD int deploy_check_store(struct err *e);
/* All that waits is tried again after a pause, which grows until nothing has been left over. */
void deploy_try_later(struct daemon *d);
void deploy_reading_failed(struct daemon *d, const struct err *why);
void deploy_all_read(struct daemon *d);
/* Memory, descriptors and the like were lacking: it says nothing of the function. Not what costs much to try again, as a
 * child that took too long or filled the disk. */
bool deploy_is_passing(const struct err *why);

/* ---- deploy_stored.c ---- */

/* One from the store is through: the next ones, soon. */
void deploy_next_stored(struct daemon *d);
/* One that fsbox-spawn has into the list, as it was. NULL: with nothing in *e when there is no such one, else it cannot be
 * told. @filter is only looked at. */
struct function *deploy_take_known(struct daemon *d, const struct deploy_note *note, const struct spawn_function *m,
				   int filter, struct err *e);
/* Of a reload. */
void deploy_lost(const struct deployment *p, const struct err *why);
/* The event of a function that is not there and should be. */
void deploy_tell_lost(struct daemon *d, uid_t owner, const char *name, const struct err *why);
/* Rows that are to be read again: are there any; now; never, because the file is another one. */
bool deploy_rows_wait(void);
void deploy_read_rows_again(void);
void deploy_forget_rows(void);
/* SystemFailure with the stage "store". */
void deploy_answer_store(struct call *c, struct err *e);

/* ---- deploy_broken.c ---- */

/* What fsbox-spawn has and cannot be read now stays there. Negative: not even that could be noted. */
NODISCARD int deploy_keep_broken(struct daemon *d, const struct deploy_note *note, const struct spawn_function *m,
				 int filter, const struct err *why, struct err *e);
bool deploy_any_broken(void);
void deploy_mend_broken(struct daemon *d);
/* Negative: it is one of them. */
NODISCARD int deploy_check_broken(uid_t owner, const char *name, struct err *e);
/* It is not waited for any more. Was it? */
bool deploy_drop_broken(struct daemon *d, uid_t owner, const char *name);
