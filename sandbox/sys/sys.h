/* Raw kernel calls that libc has no wrapper for, or whose wrapper reports through errno where a value reads better.
 * Every function here is one system call, allocates nothing, and returns a result ≥ 0 or -errno, so the child after
 * clone3 may use all of them. */
#pragma once

#include "base/err.h"

#include <linux/sched.h> /* struct clone_args */
#include <signal.h>
#include <stdint.h>
#include <sys/types.h>

/* clone3(2). 0 in the child. Single-threaded callers only: a raw clone does not take malloc's locks, so a threaded
 * parent could leave them held in the child. */
NODISCARD pid_t sys_clone3(const struct clone_args *args);

/* pidfd_open(2), pidfd_send_signal(2). */
NODISCARD int sys_pidfd_open(pid_t pid);
NODISCARD int sys_pidfd_kill(int pidfd, int sig);

/* waitid(P_PIDFD) for a process that ended. With @block false answers -EAGAIN while it runs. */
NODISCARD int sys_wait_exit(int pidfd, bool block, siginfo_t *ret);

/* Kills and reaps all children of ours, one generation after the other when they are adopted (PR_SET_CHILD_SUBREAPER). Only
 * for processes all of whose children are to end. */
void sys_end_children(void);

/* sched_setattr(2) of the calling thread. libc has it since 2.41, and the kernel's header defines again what libc's
 * does. */
struct sys_sched {
	uint32_t size; /* private */
	uint32_t policy;
	uint64_t flags; /* SCHED_FLAG_…, include/uapi/linux/sched.h */
	int32_t nice;
	uint32_t priority;
	uint64_t runtime_ns, deadline_ns, period_ns;
};
NODISCARD int sys_sched_set(const struct sys_sched *attr);
/* For threads that wait and answer: turns of the processor of @ns (0.1 to 100 ms) instead of the kernel's 0.7 to 2.8 ms.
 * The share stays the same, but who wakes up goes before those with longer turns (Linux 6.12; kernels before that take no
 * notice). Children have the kernel's turns, and no negative nice value. Nothing where the policy is not SCHED_OTHER. */
void sys_sched_short_turns(uint64_t ns);

/* The mount calls of mount_setattr(2), fsopen, fsconfig, fsmount, open_tree, move_mount. */
NODISCARD int sys_open_tree(int dirfd, const char *path, unsigned flags);
NODISCARD int sys_move_mount(int mount_fd, int to_dirfd, const char *to_path);
/* Also makes the mount private (mount_namespaces(7)). */
NODISCARD int sys_mount_attr(int mount_fd, uint64_t set, uint64_t clear, bool recursive);
NODISCARD int sys_fsopen(const char *fs);
NODISCARD int sys_fsconfig_string(int fs_fd, const char *key, const char *value);
NODISCARD int sys_fsconfig_flag(int fs_fd, const char *key);
NODISCARD int sys_fsconfig_create(int fs_fd);
NODISCARD int sys_fsmount(int fs_fd, unsigned attrs);
/* Attaches onto what @to_fd itself is: nothing is looked up by name. */
NODISCARD int sys_move_mount_onto(int mount_fd, int to_fd);
/* mount_setattr(2) as it is, of the mount whose root @fd is. @propagation: MS_SHARED …, or 0. */
NODISCARD int sys_mount_setattr(int fd, uint64_t set, uint64_t clear, uint64_t propagation, bool recursive);
/* MOUNT_ATTR_IDMAP of the mount whose root @fd is. */
NODISCARD int sys_mount_idmap(int fd, int userns, bool recursive);
NODISCARD int sys_pivot_root(const char *new_root, const char *put_old);

/* setns(2): @nstype 0, or CLONE_NEW… that must be what @fd is; several for a pidfd. */
NODISCARD int sys_setns(int fd, int nstype);

/* keyctl(KEYCTL_JOIN_SESSION_KEYRING, NULL): a new anonymous session keyring. -ENOSYS where the kernel has no keys. */
NODISCARD int sys_new_session_keyring(void);

/* openat2(2) with RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS: never leaves @dirfd. */
NODISCARD int sys_open_beneath(int dirfd, const char *path, uint64_t flags, unsigned mode);

/* openat2(2) with RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS: @dirfd is "/", for links as well. */
NODISCARD int sys_open_in_root(int dirfd, const char *path, uint64_t flags);

/* openat2(2) with the given RESOLVE_… flags. */
NODISCARD int sys_openat2(int dirfd, const char *path, uint64_t flags, unsigned mode, uint64_t resolve);

/* As openat(2), with -errno. */
NODISCARD int sys_openat(int dirfd, const char *path, int flags, unsigned mode);
