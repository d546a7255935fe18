/* Private to cell/: what the host's stages do. Each has one sentence in stages.c. */
#pragma once

#include "cell/build.h"

/* Descriptors of a cell stay clear of 0 … 4, which the child fills. */
enum { FD_FLOOR = 10 };

int enter_slot(struct cell *c, struct err *e);
int undo_slot(struct cell *c, struct err *e);
int enter_plan(struct cell *c, struct err *e);
int undo_plan(struct cell *c, struct err *e);
int enter_cgroup(struct cell *c, struct err *e);
int undo_cgroup(struct cell *c, struct err *e);
int enter_netns(struct cell *c, struct err *e);
int undo_netns(struct cell *c, struct err *e);
int enter_rootfs(struct cell *c, struct err *e);
int undo_rootfs(struct cell *c, struct err *e);
int enter_pipes(struct cell *c, struct err *e);
int undo_pipes(struct cell *c, struct err *e);
int enter_spawn(struct cell *c, struct err *e);
int undo_spawn(struct cell *c, struct err *e);
int enter_budget(struct cell *c, struct err *e);
int enter_handover(struct cell *c, struct err *e);
int undo_handover(struct cell *c, struct err *e);
int enter_arrival(struct cell *c, struct err *e);

/* What the child said of itself, with the hints that need words; *e is replaced when it explains more. Returns @r or its
 * code. */
int explain_child(struct cell *c, int r, struct err *e);

/* restore.c: the other side of a cell whose runtime comes out of an image. */
int restore_inputs(struct cell *c, struct err *e); /* the archive of /tmp, the filter as CRIU takes it */
int enter_restore(struct cell *c, struct err *e);
int undo_restore(struct cell *c, struct err *e);
/* As cell_waits_for() and cell_late(). */
size_t restore_waits_for(const struct cell *c, int fds[CELL_WAITS]);
int restore_late(const struct cell *c, struct err *e);
