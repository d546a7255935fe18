/* What this kernel lets this process do, found by doing it. Every probe answers 0 for yes, or -errno for why not, and
 * leaves nothing behind: what would make namespaces or mounts, or change the process, is done by a child that ends
 * before the probe returns. (The kernel may load a module, overlay say, as it would for the real thing.)
 *
 * No versions are compared: a container, a seccomp filter or a sysctl takes away what the version promises.
 * Single-threaded callers only, as for sys_clone3(). */
#pragma once

#include "base/err.h"

/* clone3(2) itself, by its answer to no arguments. */
NODISCARD int sys_probe_clone3(void);

/* A child in the new namespaces @flags (CLONE_NEW…) runs and ends. 0: just a child. */
NODISCARD int sys_probe_namespaces(uint64_t flags);

/* clone3's CLONE_INTO_CGROUP, without a cgroup. */
NODISCARD int sys_probe_clone_into_cgroup(void);

/* pidfd_open, pidfd_send_signal, waitid(P_PIDFD). */
NODISCARD int sys_probe_pidfd(void);

/* openat2(2) with RESOLVE_BENEATH. */
NODISCARD int sys_probe_openat2(void);

/* close_range(2) with CLOSE_RANGE_CLOEXEC. */
NODISCARD int sys_probe_close_range(void);

/* A seccomp filter can be installed after no_new_privs (seccomp(2)). */
NODISCARD int sys_probe_seccomp_filter(void);

/* SECCOMP_GET_ACTION_AVAIL for SECCOMP_RET_… */
NODISCARD int sys_probe_seccomp_action(uint64_t action);

/* In new namespaces @flags, CLONE_NEWNS among them: fsopen, fsconfig, fsmount, open_tree, mount_setattr, move_mount. */
NODISCARD int sys_probe_mount_api(uint64_t flags);

/* In new namespaces @flags: a new proc, which a container that hides parts of /proc forbids (-EPERM). */
NODISCARD int sys_probe_mount_proc(uint64_t flags);

/* In new namespaces @flags: a read-only overlay of two directories. */
NODISCARD int sys_probe_mount_overlay(uint64_t flags);

/* keyctl(2): a new session keyring. */
NODISCARD int sys_probe_keyring(void);

/* quotactl_fd(2), whatever the file systems have. */
NODISCARD int sys_probe_quotactl_fd(void);
