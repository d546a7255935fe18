/* fsbox-oci: what its commands share. The process is one command; everything is freed by its end at the latest. */
#pragma once

#include "base/mem.h"
#include "base/opt.h"
#include "base/str.h"

#define OCI_SPEC_VERSION "1.3.0" /* the newest that is known */

enum { OCI_MAX_LIST = 256 };

struct text_list {
	const char *at[OCI_MAX_LIST];
	size_t n;
};

/* Every option of every command, and the global ones. Texts are borrowed from argv. */
struct oci_args {
	/* global */
	const char *root, *log, *log_format, *log_level, *cgroup_manager, *rootless, *criu;
	bool debug, systemd_cgroup;
	/* create, run, exec, restore */
	const char *bundle, *config, *console_socket, *pidfd_socket, *pid_file;
	bool detach, keep, no_subreaper, no_pivot, no_new_keyring;
	uint64_t preserve_fds;
	/* exec */
	const char *cwd, *user, *process, *process_label, *apparmor;
	struct text_list env, groups, caps, cgroups;
	bool tty, no_new_privs, ignore_paused;
	/* delete, kill, list, ps, state, events, spec */
	bool force, all, quiet, stats, regex, spec_rootless;
	const char *format, *interval;
	/* update */
	const char *resources, *memory, *memory_reservation, *memory_swap, *cpu_period, *cpu_quota, *cpu_burst,
		*cpu_share, *cpuset_cpus, *cpuset_mems, *cpu_idle, *pids_limit, *blkio_weight, *kernel_memory,
		*kernel_memory_tcp, *cpu_rt_period, *cpu_rt_runtime, *l3_schema, *mem_bw_schema;
	/* checkpoint, restore */
	const char *image_path, *work_path, *parent_path, *page_server, *cgroups_mode, *lsm_profile, *lsm_context;
	const char *status_fd;
	struct text_list empty_ns;
	bool leave_running, pre_dump, tcp_established, tcp_close, skip_in_flight, ext_unix, shell_job, file_locks,
		link_remap, auto_dedup, lazy_pages;
	struct buf *warnings; /* lines, for oci_warn() */
	/* operands: argv[1] … */
	int n_operands;
	char **operands;
};

struct oci_command {
	const char *name, *operands, *summary;
	struct opt_table options;
	int min_operands, max_operands;                 /* max -1: any */
	int failure;                                    /* exit status of failures, when not 1 */
	int raw_from;                                   /* from this operand on nothing is an option; 0: never */
	int (*main)(struct oci_args *a, struct err *e); /* exit status, or negative with *e set */
};

extern const struct oci_command *const oci_commands[];
extern const struct oci_command oci_create, oci_start, oci_state, oci_kill, oci_delete, oci_run, oci_exec, oci_ps,
	oci_list, oci_pause, oci_resume, oci_update, oci_events, oci_checkpoint, oci_restore, oci_features, oci_spec;
extern const struct opt_table oci_global_options;

/* args.c: argv of one command, argv[0] is its name. */
NODISCARD int oci_parse(const struct oci_command *c, int argc, char **argv, struct oci_args *a, struct err *e);
/* How many words of argv[1 …] are global options and their values. */
NODISCARD int oci_parse_global(int argc, char **argv, struct oci_args *a, int *ret_used, struct err *e);

/* For option tables: one line each. */
#define OCI_TEXT(name, member, letter, arg, help)                                                   \
	{                                                                                           \
		name, arg, OPT_MULTI, oci_set_text, offsetof(struct oci_args, member), help, letter \
	}
#define OCI_FLAG(name, member, letter, help)                                                                           \
	{                                                                                                              \
		name, NULL, OPT_MAYBE_VALUE | OPT_MULTI, oci_set_flag, offsetof(struct oci_args, member), help, letter \
	}
#define OCI_LIST(name, member, letter, arg, help)                                                   \
	{                                                                                           \
		name, arg, OPT_MULTI, oci_set_list, offsetof(struct oci_args, member), help, letter \
	}
#define OCI_NUMBER(name, member, letter, arg, help)                                                   \
	{                                                                                             \
		name, arg, OPT_MULTI, oci_set_number, offsetof(struct oci_args, member), help, letter \
	}
int oci_set_text(void *args, const struct opt *o, const char *value, struct err *e);
int oci_set_flag(void *args, const struct opt *o, const char *value, struct err *e);
int oci_set_list(void *args, const struct opt *o, const char *value, struct err *e);
int oci_set_number(void *args, const struct opt *o, const char *value, struct err *e);

/* report.c: the one line about a failure, where --log and --log-format say. */
void oci_report(const struct oci_args *a, const struct err *e);
/* What goes on all the same, but not as it was asked for. It is told at the command's end, or by oci_flush_warnings(), and
 * not at all when the command fails: callers take what a failing one has logged for its one error. */
void oci_warn(const struct oci_args *a, const char *fmt, ...) PRINTF(2, 3);
void oci_flush_warnings(const struct oci_args *a);
/* RFC 3339 with nanoseconds, of now. */
void oci_time(char *to, size_t size);

/* protect.c: this process goes on as one whose program nobody in a container can write to. Returns when it is that. */
NODISCARD int oci_protect(char **argv, struct err *e);
/* The caller's now: a descriptor that is slow to close, or FD_NONE. */
int oci_take_own_mount(void);
/* Closes what early.c has left open for a command that it took for another: an id may be called "run". */
void oci_forget_own_mount(void);
/* Where our program lies, protected or not. */
NODISCARD int oci_own_dir(char *buf, size_t size, struct err *e);

/* signals.c: number or name, with or without SIG; -EINVAL. */
int oci_signal(const char *text);

/* print.c */
int oci_print(const struct buf *b, struct err *e); /* to standard output */
