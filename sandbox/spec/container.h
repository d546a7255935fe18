/* ct_spec: an OCI container, parsed and checked: what fsbox-oci's tables read from config.json, and what the container's
 * stages in cell/ walk. Pure data in one arena. Arrays are a pointer and its count; lists of texts end with NULL.
 *
 * Source of the rules: runtime-spec, config.md and config-linux.md. */
#pragma once

#include "base/mem.h"
#include "spec/ids.h"
#include "spec/policy.h"
#include "spec/resources.h"

#include <sys/resource.h>
#include <sys/types.h>

/* In the order in which they are joined: the user namespace gives the right to the others. */
enum ct_ns { CT_USER, CT_PID, CT_NET, CT_IPC, CT_UTS, CT_CGROUP, CT_TIME, CT_MOUNT, CT_NS_COUNT };

struct ct_namespace {
	bool wanted;
	const char *path; /* to be joined; NULL: a new one */
};

struct ct_mount {
	const char *target; /* in the container; may be relative, which is from its root */
	const char *source; /* bind: absolute; else what the file system takes, or NULL */
	const char *type;   /* NULL for binds */
	const char **data;  /* options of the file system, "key" or "key=value" */
	bool bind, recursive, remount, copy_up, copy_symlink, source_nofollow, target_nofollow;
	bool idmap, idmap_recursive;
	uint64_t set, clear;                     /* MOUNT_ATTR_… */
	uint64_t set_recursive, clear_recursive; /* the same, of everything below as well */
	unsigned long propagation[4];            /* MS_SHARED …, with MS_REC, in turn; 0 after the last */
	struct id_map *uids;
	size_t n_uids;
	struct id_map *gids;
	size_t n_gids;
};

enum { CT_MAX_CPUS = 1024 };
struct ct_cpus { /* a set of CPUs, or of memory nodes */
	bool set;
	uint64_t bits[CT_MAX_CPUS / 64];
};

struct ct_device {
	const char *path;
	const char *type; /* "c", "u", "b", "p" */
	int64_t major, minor;
	struct ct_number mode, uid, gid;
};

struct ct_net_device {
	const char *name, *inside; /* on the host and in the container */
};

/* set_mempolicy(2) */
struct ct_memory_policy {
	bool set;
	int mode;       /* MPOL_… */
	unsigned flags; /* MPOL_F_… */
	struct ct_cpus nodes;
};

struct ct_rlimit {
	int resource;
	struct rlimit value;
};

struct ct_hook {
	const char *path;
	const char **args, **env;
	struct ct_number timeout_s;
};

enum ct_hook_kind {
	CT_PRESTART,
	CT_CREATE_RUNTIME,
	CT_CREATE_CONTAINER,
	CT_START_CONTAINER,
	CT_POSTSTART,
	CT_POSTSTOP,
	CT_HOOK_KINDS
};

enum ct_cap_set { CT_BOUNDING, CT_EFFECTIVE, CT_INHERITABLE, CT_PERMITTED, CT_AMBIENT, CT_CAP_SETS };

struct ct_scheduler {
	bool set;
	int policy; /* SCHED_… */
	int64_t nice, priority;
	unsigned flags; /* SCHED_FLAG_… */
	uint64_t runtime_ns, deadline_ns, period_ns;
};

struct ct_process {
	bool given;
	bool terminal, no_new_privs;
	struct ct_number console_rows, console_columns;
	uint32_t uid, gid;
	uint32_t *groups;
	size_t n_groups;
	struct ct_number umask;
	const char **args, **env;
	const char *cwd;
	bool has_caps;
	uint64_t caps[CT_CAP_SETS];
	struct ct_rlimit *rlimits;
	size_t n_rlimits;
	struct ct_number oom_score_adj;
	struct ct_scheduler scheduler;
	struct ct_number io_priority;                    /* as ioprio_set(2) takes it */
	struct ct_cpus affinity_initial, affinity_final; /* of exec: before and after it enters the groups */
	const char *apparmor, *selinux;
};

struct ct_seccomp {
	bool given;
	struct policy policy;
	bool asks; /* something in it is SCMP_ACT_NOTIFY; then there is a listener_path */
	const char *listener_path, *listener_metadata;
	bool strict_names;   /* unknown system calls are an error */
	const char *program; /* instructions of BPF in base64, in the place of the policy; or NULL */
};

struct ct_spec {
	struct arena arena;
	const char **warnings; /* about what was left out, NULL at its end; NULL: none */
	const char *version;   /* ociVersion */
	const char *bundle;    /* absolute, without links */
	const char *rootfs;    /* absolute */
	bool root_readonly;
	const char *hostname, *domainname;
	struct ct_process process;
	struct ct_mount *mounts;
	size_t n_mounts;
	struct {
		struct ct_hook *at;
		size_t n;
	} hooks[CT_HOOK_KINDS];
	struct ct_pair *annotations;
	size_t n_annotations;
	/* What annotations of crun ask for; paths of the host. */
	const char *hooks_out, *hooks_err, *pidfd_receiver;
	const char *mount_context; /* option of mounts that takes mount_label; NULL: context */
	bool keep_groups;
	struct ct_namespace ns[CT_NS_COUNT];
	struct id_map *uids;
	size_t n_uids;
	struct id_map *gids;
	size_t n_gids;
	struct ct_pair *time_offsets; /* "monotonic": "SECONDS NANOSECONDS" */
	size_t n_time_offsets;
	struct ct_device *devices;
	size_t n_devices;
	struct ct_net_device *net_devices;
	size_t n_net_devices;
	struct ct_memory_policy memory_policy;
	struct ct_rdt rdt;
	const char **masked, **readonly;
	unsigned long propagation; /* of the root, MS_…; 0: not given */
	const char *cgroups_path;
	struct ct_resources resources;
	struct ct_pair *sysctls;
	size_t n_sysctls;
	struct ct_number personality;
	struct ct_seccomp seccomp;
	const char *mount_label;
};
