/* Private to cell/: what the host's stages do. Each has one sentence in stages.c. */
#pragma once

#include "cell/build.h"

int enter_slot(struct cell *c, struct err *e);
int undo_slot(struct cell *c, struct err *e);
int enter_plan(struct cell *c, struct err *e);
int undo_plan(struct cell *c, struct err *e);
int enter_cgroup(struct cell *c, struct err *e);
int undo_cgroup(struct cell *c, struct err *e);
int enter_netns(struct cell *c, struct err *e);
int enter_rootfs(struct cell *c, struct err *e);
int undo_rootfs(struct cell *c, struct err *e);
int enter_pipes(struct cell *c, struct err *e);
int undo_pipes(struct cell *c, struct err *e);
int enter_spawn(struct cell *c, struct err *e);
int undo_spawn(struct cell *c, struct err *e);
int enter_budget(struct cell *c, struct err *e);
int enter_handover(struct cell *c, struct err *e);
int undo_handover(struct cell *c, struct err *e);
