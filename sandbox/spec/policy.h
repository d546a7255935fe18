/* A policy as data: what a cell may ask of the kernel. Read from OCI's seccomp JSON form (runtime-spec,
 * config-linux.md, "Seccomp"), compiled by confine/. Pure data, needs no privileges.
 *
 * Of all rules that match a call the strictest decides, in the order of seccomp(2): kill process, kill thread, trap, errno,
 * log, allow; of two errnos the first in the file.
 *
 * A policy lives in one arena; policy_free() frees it whole. Limits: POLICY_MAX_BYTES of text, POLICY_MAX_RULES rules. */
#pragma once

#include "base/mem.h"

enum { POLICY_MAX_BYTES = 1 << 20, POLICY_MAX_RULES = 4096, POLICY_MAX_ARGS = 6 };

enum policy_action { /* SCMP_ACT_… of the same names */
		     POLICY_ALLOW,
		     POLICY_ERRNO, /* with errno value */
		     POLICY_TRAP,  /* SIGSYS */
		     POLICY_KILL_THREAD,
		     POLICY_KILL_PROCESS,
		     POLICY_LOG,
		     POLICY_TRACE, /* fsbox-oci alone, as are the next and what stands in the masks */
		     POLICY_NOTIFY,
};

enum policy_op { POLICY_NE, POLICY_LT, POLICY_LE, POLICY_EQ, POLICY_GE, POLICY_GT, POLICY_MASKED_EQ };

/* Bits of policy.archs. */
enum {
	POLICY_ARCH_X86_64 = 1,
	POLICY_ARCH_X86 = 2,
	POLICY_ARCH_X32 = 4,
	POLICY_ARCH_AARCH64 = 8,
	POLICY_ARCH_ARM = 16,
};

struct policy_arg {
	unsigned index; /* 0 … 5 */
	enum policy_op op;
	uint64_t value;     /* the mask for MASKED_EQ */
	uint64_t value_two; /* what the masked value must equal */
};

struct policy_rule {
	const char *name; /* system call; existence for an architecture is checked when compiled */
	enum policy_action action;
	uint16_t errno_ret;
	size_t n_args;
	struct policy_arg args[POLICY_MAX_ARGS];
	size_t group; /* index of the "syscalls" entry it came from, for messages */
};

struct policy {
	struct arena arena;
	const char *file; /* for messages */
	enum policy_action default_action;
	uint16_t default_errno;
	bool skip_unknown;  /* names that no architecture has are left out, as OCI's engines expect */
	unsigned archs;     /* that may make calls beside the native one, by their own numbers */
	unsigned flags;     /* SECCOMP_FILTER_FLAG_… for the installation */
	bool none;          /* no filter at all: the built-in `none` */
	bool new_enosys;    /* "fsbox.newSyscalls": "ENOSYS": calls newer than the profile answer ENOSYS */
	bool runtime_stage; /* "fsbox.stage": "runtime": added by the runtime after init (strict), on top of `default` */
	size_t n_rules;
	struct policy_rule *rules;
};

/* ERR_SPEC with file, line, column or path; unknown keys are errors, keys of OCI that do not apply are listed in the
 * source and refused or ignored by name. Unknown system call names are found later, by filter_build(). */
NODISCARD int policy_read(const char *file, const char *text, size_t len, struct policy **ret_policy, struct err *e);
void policy_free(struct policy *p);
static inline void policy_freep(struct policy **p)
{
	policy_free(*p);
}
