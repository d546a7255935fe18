/* What a process in a cell may do: seccomp filters, capabilities, user and group ids, resource limits.
 *
 * Two halves. The first half runs before clone3, may allocate and fail in words: compiling policies, computing maps.
 * The second half runs in the child on prepared data only. Needs no privileges for filters; maps need what
 * user_namespaces(7) says. */
#pragma once

#include "base/err.h"
#include "spec/ids.h"
#include "spec/policy.h"

#include <linux/filter.h>
#include <sys/types.h>

/* A compiled filter: classic BPF for seccomp(2). len 0 means "no filter". */
struct filter {
	size_t len;                /* instructions, at most BPF_MAXINSNS (4096) */
	struct sock_filter *insns; /* heap, owned, unless borrowed */
	unsigned flags;            /* of seccomp(2), for filter_install() */
	bool borrowed;             /* the instructions are static: filter_done() leaves them alone */
	bool runtime_stage;        /* to be added by the runtime after init, on top of `default` */
};

/* Compiles for the architecture this program was built for; every foreign one is answered by killing the process.
 * ERR_SPEC names the rule whose system call does not exist on any architecture; one that only this architecture lacks is
 * skipped, as OCI's rules say. */
NODISCARD int filter_build(const struct policy *p, struct filter *ret_filter, struct err *e);
void filter_done(struct filter *f);

/* The policies that were compiled when fsbox was built: "default", "strict", "none". The filter is borrowed (static).
 * False when there is none of that name. */
bool filter_builtin(const char *name, struct filter *ret_filter);

/* Names of the built-in policies, NULL-terminated. */
const char *const *filter_builtin_names(void);

/* The name of a system call of this architecture ("openat"), or NULL. For messages about SIGSYS. It stands in a static
 * buffer until the next call. */
const char *filter_syscall_name(int nr);

/* Child: installs. -errno. @f->len 0 does nothing. */
NODISCARD int filter_install(const struct filter *f);
/* Child: the same for a filter with SECCOMP_FILTER_FLAG_NEW_LISTENER; the descriptor of its questions, close-on-exec. The
 * calling thread alone is put under it. */
NODISCARD int filter_install_listening(const struct filter *f);

/* Child: empties the bounding, ambient, inheritable, permitted and effective sets, locks securebits so that uid 0 means
 * nothing, sets no_new_privs (capabilities(7)). -errno. */
NODISCARD int caps_drop_all(void);

/* Child: the pieces of "these capabilities and no others", for containers. A set is a mask of 1 << CAP_…. -errno.
 * caps_bound() drops all but @keep from the bounding set; caps_ambient() needs them permitted and inheritable. */
NODISCARD int caps_bound(uint64_t keep);
NODISCARD int caps_set(uint64_t effective, uint64_t permitted, uint64_t inheritable);
NODISCARD int caps_ambient(uint64_t wanted);
uint64_t caps_permitted(void);

/* Parent: as ids_write(), for maps of several lines. */
NODISCARD int ids_write_maps(pid_t pid, const struct id_map *uids, size_t n_uids, const struct id_map *gids,
			     size_t n_gids, bool deny_setgroups, struct err *e);

/* The same without privileges, by newuidmap(1) and newgidmap(1), which look into /etc/subuid and /etc/subgid. One line
 * of one id goes without them. */
NODISCARD int ids_write_helped(pid_t pid, const struct id_map *uids, size_t n_uids, const struct id_map *gids,
			       size_t n_gids, struct err *e);

/* Parent: a new user namespace with these maps that no process is in, as a descriptor: for mounts that map ids. */
NODISCARD int ids_namespace(const struct id_map *uids, size_t n_uids, const struct id_map *gids, size_t n_gids,
			    struct err *e);

/* Parent: writes setgroups (deny, when @deny_setgroups), gid_map and uid_map of @pid through /proc. */
NODISCARD int ids_write(pid_t pid, const struct id_map *uid, const struct id_map *gid, bool deny_setgroups,
			struct err *e);

/* Is this kernel's security module there, and in use? */
bool label_apparmor_is_on(void);
bool label_selinux_is_on(void);
/* Child: what the next execve(2) becomes, by way of /proc. -errno; -EXDEV when /proc is no proc. */
enum { LABEL_MAX = 1024 };
NODISCARD int label_next_exec_apparmor(const char *profile);
NODISCARD int label_next_exec_selinux(const char *label);
