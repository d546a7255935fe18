/* cell_spec: what was asked for, checked, in bytes and nanoseconds. The command line, a JSON file and (later) OCI's
 * config.json all end here. Pure data; nothing here needs privileges.
 *
 * Strings belong to whoever gave them: argv, or the spec's own arena when they came from a file. */
#pragma once

#include "base/mem.h"
#include "base/opt.h"

/* Hard limits, with the source of each. */
enum {
	SPEC_MAX_BYTES = 1 << 20,   /* of a spec file: far above any real one, far below trouble */
	SPEC_MAX_PAYLOAD = 6291456, /* an event or an answer: Lambda's synchronous limit, 6 MiB */
	SPEC_MAX_LAYERS = 5,        /* Lambda's */
	SPEC_MAX_ENV_BYTES = 4096,  /* Lambda's: keys and values together */
	SPEC_MAX_ENV = 512,
	SPEC_MIN_MEMORY_MB = 16,
	SPEC_MAX_TIMEOUT_S = 900, /* Lambda's */
	SPEC_MAX_NAME = 64,       /* Lambda's function names: [a-zA-Z0-9-_] */
	SPEC_MIN_PIDS = 4,        /* init, runtime, and room for one helper of each */
	SPEC_MAX_PIDS = 4194304,  /* PID_MAX_LIMIT of 64-bit kernels */
	SPEC_MAX_TMP_MB = 10240,  /* Lambda's */
	SPEC_MAX_SECRETS = 32,
	SPEC_MAX_SECRET_BYTES = 65536, /* of one; kernel.org's keys and most stores have less */
};

/* A file of its own below /run/secrets, read when the cell is planned. */
struct spec_secret {
	const char *name; /* [a-zA-Z0-9_.-], no leading dot */
	const char *file;
};

/* Who takes the code in the cell. AUTO: found out from the target (spec/code.h). */
enum spec_runtime {
	SPEC_RUNTIME_AUTO,
	SPEC_RUNTIME_NATIVE, /* a shared object with fsbox.h's contract */
	SPEC_RUNTIME_PYTHON,
	SPEC_RUNTIME_NODE,
	SPEC_RUNTIME_CUSTOM, /* a program that speaks Lambda's Runtime API */
};

enum spec_net { SPEC_NET_LOOPBACK, SPEC_NET_NONE, SPEC_NET_HOST };

struct cell_spec {
	struct arena arena;
	const char *target; /* path as given; NULL when none was: an image says what is executed */
	const char *name;   /* function name; NULL: derived from target */
	enum spec_runtime runtime;
	const char *handler; /* --handler, or NULL */
	uint64_t memory_bytes;
	uint64_t timeout_ns;
	uint64_t tmp_bytes;
	const char *tmp_dir;       /* --tmp-dir, or NULL */
	const char *rootfs;        /* or NULL: the host's /usr */
	const char *policy;        /* name or file */
	const char *cgroup_parent; /* or NULL */
	const char *layers[SPEC_MAX_LAYERS];
	size_t n_layers;
	const char *env[SPEC_MAX_ENV]; /* "KEY=VALUE"; later ones win */
	size_t n_env;
	struct spec_secret secrets[SPEC_MAX_SECRETS];
	size_t n_secrets;
	uint32_t pids;
	enum spec_net net;
	bool no_limits;
	bool no_init_boost;
	bool keep_seeds; /* a restored cell's rand(3) goes on where init left it */
};

/* The defaults of `fsbox run`. */
void spec_init(struct cell_spec *s);
void spec_done(struct cell_spec *s);

/* The options that describe a cell; args is a struct cell_spec. */
extern const struct opt_table spec_opts;

/* Reads a JSON object whose keys are the options' names in @tables (all of them set on the same @args, those flagged
 * OPT_NO_SPEC refused) and "target". The command line wins because it is applied afterwards. Strings are copied to
 * @arena. ERR_SPEC with "FILE:LINE:COLUMN" or "FILE: $.path". */
NODISCARD int spec_read(const char *file, const char *text, size_t len, const struct opt_table *const *tables,
			size_t n_tables, void *args, struct arena *arena, const char **ret_target, struct err *e);

/* Rules between fields, and against the host's memory. */
NODISCARD int spec_check(const struct cell_spec *s, uint64_t host_memory_bytes, struct err *e);

/* Is the name of this "KEY=VALUE" one that the cell sets and nobody else may? */
bool spec_is_reserved(const char *pair);

/* Is it one of AWS's keys (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN), which belong in no image? */
bool spec_is_credential(const char *pair);

/* Adds the lines of an --env-file (KEY=VALUE; blank lines and # comments skipped) from its text. */
NODISCARD int spec_add_env_file(struct cell_spec *s, const char *file, const char *text, size_t len, struct err *e);

/* The function's name for this spec: --name, or the target's file name without its extension, with characters outside
 * [a-zA-Z0-9-_] replaced by '-', at most SPEC_MAX_NAME. @buf has SPEC_MAX_NAME + 1 bytes. */
const char *spec_function_name(const struct cell_spec *s, char *buf);

/* 0 when the first bytes of a file are an ELF shared object for this machine; otherwise ERR_SPEC with the errno ENOEXEC
 * says what it is instead ("empty", "a script", "an executable for AArch64", …). @head holds up to 64 bytes. */
NODISCARD int spec_check_elf(const char *file, const unsigned char *head, size_t len, struct err *e);

const char *spec_net_name(enum spec_net net);
