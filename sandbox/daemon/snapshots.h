/* Snapshots of functions: one is made at a time, by fsbox-spawn; from then on the function's cells are restored from it.
 * When one cannot be made, or not be restored, cells are started cold. */
#pragma once

#include "daemon/answers.h"

/* Snapshot(function). */
void method_snapshot(struct daemon *d, struct call *c);
void snapshot_client_gone(struct daemon *d, struct call *c);
/* Fork(function, cells). */
void method_fork(struct daemon *d, struct call *c);
void fork_client_gone(struct daemon *d, struct call *c);

/* A function whose deployment wants one is there: it is made in the background. */
void snapshot_want(struct function *f);
/* It is being forgotten: who waits for its snapshot is told @why. */
void snapshot_forget(struct function *f, const struct err *why);
/* Room has become free, or a snapshot is ready: the next one. */
void snapshot_next(struct daemon *d);
/* A restore failed, or hangs, for a reason that is not the function's: cold starts from now on, and a new try after ten
 * seconds, twenty, …, an hour. @hurried: it had less time than others, which says little of the next one, so that the pause
 * does not grow. */
void snapshot_give_up(struct function *f, bool hurried, const struct err *why);
/* One has gone well. */
void snapshot_proved(struct function *f);
/* From the link. */
void snapshot_published(struct daemon *d, const struct spawn_published *m);

/* From the units: a clone for a Fork is ready, or will not be. */
void fork_ready(struct unit *u);
/* Before a function goes: who waits for clones of it is told that it is not there. */
void fork_refuse_all(struct function *f, const struct err *why);
void fork_failed(struct unit *u, const struct err *why);
