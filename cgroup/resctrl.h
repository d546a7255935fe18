/* Classes of service and monitoring groups of resctrl (the kernel's x86/resctrl documentation; runtime-spec,
 * config-linux.md, "IntelRdt"). From outside this is included by cgroup.h. @root is where resctrl is mounted. */
#pragma once

#include "base/err.h"
#include "spec/resources.h"

#include <sys/types.h>

enum { CG_RESCTRL_ROOT = 128 };

/* ERR_UNSUPPORTED where none is mounted. */
NODISCARD int cg_resctrl_find(char root[CG_RESCTRL_ROOT], struct err *e);
/* The class that @r names, or one of the container's own, @id, with what it may use, and a monitoring group @id when that
 * is wanted; @pid goes in. What was made for it is removed again on failure. */
NODISCARD int cg_resctrl_make(const char *root, const struct ct_rdt *r, const char *id, pid_t pid, struct err *e);
/* Another process of the container. */
NODISCARD int cg_resctrl_enter(const char *root, const struct ct_rdt *r, const char *id, pid_t pid, struct err *e);
/* What it may use from now on: l3, memory and schemata of @change. */
NODISCARD int cg_resctrl_update(const char *root, const struct ct_rdt *r, const char *id, const struct ct_rdt *change,
				struct err *e);
/* The class when it bears the container's name, else the monitoring group: a class that has a name is somebody else's too.
 * Idempotent. */
NODISCARD int cg_resctrl_remove(const char *root, const struct ct_rdt *r, const char *id, struct err *e);
