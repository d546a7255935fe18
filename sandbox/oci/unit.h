/* The container's unit of systemd's, with --systemd-cgroup: a scope that fsbox-scope, a program of its own beside this one,
 * has systemd make, change and stop (decision 021, wire/scope.h). Its group is a group like another then: kill, pause, exec
 * and the rest find it by the state's path. */
#pragma once

#include "oci/store.h"

bool unit_wanted(const struct oci_args *a);
/* Is fsbox-scope there? Without libsystemd it is not built. */
bool unit_available(void);

/* Names the unit in @st, and the group that it will have, which for a user's manager is not known before: "". Refuses on
 * hosts without systemd. Nothing is made. */
NODISCARD int unit_plan(const struct ct_spec *spec, struct oci_state *st, struct err *e);
/* Has the scope made, with @pid in it and the limits as properties; st->cgroup is its group. Before it st->asked is to be
 * on disk. When systemd refuses, there is none, and st->unit is "". */
NODISCARD int unit_start(struct oci_state *st, const struct ct_spec *spec, pid_t pid, struct err *e);
NODISCARD int unit_update(const struct oci_state *st, const struct ct_resources *r, struct err *e);
/* May a process of ours not simply be born in the group? Only a user's is away from where a user may write. */
bool unit_is_apart(const struct oci_state *st);
NODISCARD int unit_attach(const struct oci_state *st, pid_t pid, struct err *e);
/* Idempotent; nothing, when it was never asked for. */
NODISCARD int unit_stop(const struct oci_state *st, struct err *e);
