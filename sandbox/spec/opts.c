/* The options that describe a cell, once: command line, spec file, help, man page and completions read this table. */
#include "spec/spec.h"

#include "base/str.h"

#include <stdio.h>

#define MIB (UINT64_C(1) << 20)

void spec_init(struct cell_spec *s)
{
	*s = (struct cell_spec){
		.memory_bytes = 128 * MIB,
		.timeout_ns = UINT64_C(3000000000),
		.tmp_bytes = 512 * MIB,
		.policy = "default",
		.pids = 1024,
		.net = SPEC_NET_LOOPBACK,
	};
}

void spec_done(struct cell_spec *s)
{
	arena_done(&s->arena);
}

const char *spec_net_name(enum spec_net net)
{
	switch (net) {
	case SPEC_NET_LOOPBACK:
		return "loopback";
	case SPEC_NET_NONE:
		return "none";
	case SPEC_NET_HOST:
		return "host";
	}
	abort(); /* every value is above */
}

static int set_mem(void *args, const struct opt *o, const char *value, struct err *e)
{
	struct cell_spec *s = args;
	uint64_t mb;

	if (!parse_u64(value, SPEC_MIN_MEMORY_MB, UINT64_MAX / MIB, &mb))
		return err_set(e, ERR_SPEC, 0,
			       "--%s: expected megabytes (a whole number from %d up to the host's memory), got '%s'",
			       o->name, SPEC_MIN_MEMORY_MB, value);
	s->memory_bytes = mb * MIB;
	return 0;
}

static int set_tmp(void *args, const struct opt *o, const char *value, struct err *e)
{
	struct cell_spec *s = args;
	uint64_t mb;

	if (!parse_u64(value, 1, SPEC_MAX_TMP_MB, &mb))
		return err_set(e, ERR_SPEC, 0, "--%s: expected megabytes (a whole number from 1 to %d), got '%s'",
			       o->name, SPEC_MAX_TMP_MB, value);
	s->tmp_bytes = mb * MIB;
	return 0;
}

static int set_timeout(void *args, const struct opt *o, const char *value, struct err *e)
{
	struct cell_spec *s = args;
	uint64_t ns;

	if (!parse_seconds(value, &ns) || ns < 1000000 || ns > SPEC_MAX_TIMEOUT_S * UINT64_C(1000000000))
		return err_set(e, ERR_SPEC, 0, "--%s: expected seconds (0.001 to %d, decimals allowed), got '%s'",
			       o->name, SPEC_MAX_TIMEOUT_S, value);
	s->timeout_ns = ns;
	return 0;
}

static int set_pids(void *args, const struct opt *o, const char *value, struct err *e)
{
	struct cell_spec *s = args;
	uint64_t n;

	if (!parse_u64(value, SPEC_MIN_PIDS, SPEC_MAX_PIDS, &n))
		return err_set(e, ERR_SPEC, 0, "--%s: expected a number of processes from %d to %d, got '%s'", o->name,
			       SPEC_MIN_PIDS, SPEC_MAX_PIDS, value);
	s->pids = (uint32_t)n;
	return 0;
}

static int set_string(void *args, const struct opt *o, const char *value, struct err *e)
{
	if (*value == '\0')
		return err_set(e, ERR_SPEC, 0, "--%s: expected %s, got an empty text", o->name, o->arg);
	memcpy((char *)args + o->offset, &value, sizeof value);
	return 0;
}

static int set_flag(void *args, const struct opt *o, const char *value, struct err *e)
{
	(void)value;
	(void)e;
	*((bool *)((char *)args + o->offset)) = true;
	return 0;
}

static int set_name(void *args, const struct opt *o, const char *value, struct err *e)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
	size_t len = strlen(value);

	if (len == 0 || len > SPEC_MAX_NAME || strspn(value, allowed) != len)
		return err_set(e, ERR_SPEC, 0, "--%s: expected 1 to %d of the characters a-z A-Z 0-9 - _, got '%s'",
			       o->name, SPEC_MAX_NAME, value);
	return set_string(args, o, value, e);
}

static int set_runtime(void *args, const struct opt *o, const char *value, struct err *e)
{
	static const struct {
		const char *name;
		enum spec_runtime runtime;
	} names[] = {
		{"native", SPEC_RUNTIME_NATIVE},
		{"python", SPEC_RUNTIME_PYTHON},
		{"node", SPEC_RUNTIME_NODE},
		{"custom", SPEC_RUNTIME_CUSTOM},
	};
	struct cell_spec *s = args;

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strcmp(value, names[i].name) == 0) {
			s->runtime = names[i].runtime;
			return 0;
		}
	return err_set(e, ERR_SPEC, 0, "--%s: expected native, python, node or custom, got '%s'", o->name, value);
}

static int set_net(void *args, const struct opt *o, const char *value, struct err *e)
{
	static const enum spec_net nets[] = {SPEC_NET_NONE, SPEC_NET_LOOPBACK, SPEC_NET_HOST};
	struct cell_spec *s = args;

	for (size_t i = 0; i < ARRAY_LEN(nets); i++)
		if (strcmp(value, spec_net_name(nets[i])) == 0) {
			s->net = nets[i];
			return 0;
		}
	return err_set(e, ERR_SPEC, 0, "--%s: expected none, loopback or host, got '%s'", o->name, value);
}

static int set_layer(void *args, const struct opt *o, const char *value, struct err *e)
{
	struct cell_spec *s = args;

	if (s->n_layers == SPEC_MAX_LAYERS)
		return err_set(e, ERR_SPEC, 0, "--%s '%s': a cell takes at most %d layers", o->name, value,
			       SPEC_MAX_LAYERS);
	if (*value == '\0')
		return err_set(e, ERR_SPEC, 0, "--%s: expected a directory, got an empty text", o->name);
	s->layers[s->n_layers++] = value;
	return 0;
}

static int set_secret(void *args, const struct opt *o, const char *value, struct err *e)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
	struct cell_spec *s = args;
	const char *eq = strchr(value, '=');
	const size_t len = eq ? (size_t)(eq - value) : 0;
	char *name;

	if (len == 0 || len > SPEC_MAX_NAME || value[0] == '.' || strspn(value, allowed) != len || eq[1] != '@' ||
	    !eq[2])
		return err_set(
			e, ERR_SPEC, 0,
			"--%s: expected NAME=@FILE with a name of 1 to %d of the characters a-z A-Z 0-9 . _ -, got '%s'",
			o->name, SPEC_MAX_NAME, value);
	if (s->n_secrets == SPEC_MAX_SECRETS)
		return err_set(e, ERR_SPEC, 0, "--%s '%s': a cell takes at most %d secrets", o->name, value,
			       SPEC_MAX_SECRETS);
	for (size_t i = 0; i < s->n_secrets; i++)
		if (strlen(s->secrets[i].name) == len && memcmp(s->secrets[i].name, value, len) == 0)
			return err_set(e, ERR_SPEC, 0, "--%s: secret '%s' is given twice", o->name, s->secrets[i].name);
	name = arena_memdup(&s->arena, value, len);
	if (!name)
		return err_oom(e);
	s->secrets[s->n_secrets++] = (struct spec_secret){.name = name, .file = eq + 2};
	return 0;
}

/* Variables that the cell sets and a function's configuration may not: Lambda's reserved names, but for the region's and
 * the credentials', which here come from the user. */
static const char *const reserved[] = {
	"_HANDLER",
	"_X_AMZN_TRACE_ID",
	"AWS_EXECUTION_ENV",
	"AWS_LAMBDA_FUNCTION_NAME",
	"AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
	"AWS_LAMBDA_FUNCTION_VERSION",
	"AWS_LAMBDA_INITIALIZATION_TYPE",
	"AWS_LAMBDA_LOG_GROUP_NAME",
	"AWS_LAMBDA_LOG_STREAM_NAME",
	"AWS_LAMBDA_RUNTIME_API",
	"LAMBDA_TASK_ROOT",
	"LAMBDA_RUNTIME_DIR",
};

bool spec_is_credential(const char *pair)
{
	return str_starts(pair, "AWS_ACCESS_KEY_ID=") || str_starts(pair, "AWS_SECRET_ACCESS_KEY=") ||
	       str_starts(pair, "AWS_SESSION_TOKEN=");
}

bool spec_is_reserved(const char *pair)
{
	const size_t key = strcspn(pair, "=");

	for (size_t i = 0; i < ARRAY_LEN(reserved); i++)
		if (strlen(reserved[i]) == key && memcmp(reserved[i], pair, key) == 0)
			return true;
	return false;
}

static int add_env(struct cell_spec *s, const char *what, const char *pair, struct err *e)
{
	const char *eq = strchr(pair, '=');
	size_t key = eq ? (size_t)(eq - pair) : 0, total = strlen(pair), at = s->n_env;

	if (!eq || key == 0)
		return err_set(e, ERR_SPEC, 0, "%s: expected KEY=VALUE, got '%s'", what, pair);
	for (size_t i = 0; i < key; i++) {
		char c = pair[i];
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';

		if (!letter && !(i > 0 && c >= '0' && c <= '9'))
			return err_set(e, ERR_SPEC, 0, "%s: '%.*s' is not a variable's name (letters, digits and _)",
				       what, (int)key, pair);
	}
	if (spec_is_reserved(pair))
		return err_set(e, ERR_SPEC, 0, "%s: '%.*s' is set by the cell itself and cannot be changed", what,
			       (int)key, pair);
	/* Keys and values count, the '=' between them does not. The later of two wins, and only it counts. */
	total--;
	for (size_t i = 0; i < s->n_env; i++) {
		if (strncmp(s->env[i], pair, key + 1) == 0)
			at = i;
		else
			total += strlen(s->env[i]) - 1;
	}
	if (at == SPEC_MAX_ENV || total > SPEC_MAX_ENV_BYTES)
		return err_set(e, ERR_SPEC, 0, "%s: the variables are together over %d bytes", what,
			       SPEC_MAX_ENV_BYTES);
	s->env[at] = pair;
	s->n_env += at == s->n_env;
	return 0;
}

static int set_env(void *args, const struct opt *o, const char *value, struct err *e)
{
	char what[16] = "--";

	memcpy(what + 2, o->name, strlen(o->name) + 1);
	return add_env(args, what, value, e);
}

int spec_add_env_file(struct cell_spec *s, const char *file, const char *text, size_t len, struct err *e)
{
	const char *end = text + len;
	unsigned line = 0;

	while (text < end) {
		const char *nl = memchr(text, '\n', (size_t)(end - text));
		size_t n = (size_t)((nl ? nl : end) - text);
		char what[200];

		line++;
		if (n > 0 && text[n - 1] == '\r')
			n--;
		if (n > 0 && text[0] != '#') {
			char *pair = arena_memdup(&s->arena, text, n);

			if (!pair)
				return err_oom(e);
			(void)snprintf(what, sizeof what, "%s:%u", file, line);
			if (strlen(pair) != n)
				return err_set(e, ERR_SPEC, 0, "%s: a 0 byte in a variable", what);

			int r = add_env(s, what, pair, e);
			if (r < 0)
				return r;
		}
		text = nl ? nl + 1 : end;
	}
	return 0;
}

#define AT(field) offsetof(struct cell_spec, field)

/* clang-format off */
static const struct opt opts[] = {
	{ "mem",           "MB",          0,         set_mem,     0,                   "memory limit in MiB, which also sets the CPU share: memory / 1,769 of a CPU (default 128)", 'm' },
	{ "timeout",       "SECONDS",     0,         set_timeout, 0,                   "time for one call, decimals allowed (default 3, at most 900)", 't' },
	{ "env",           "KEY=VALUE",   OPT_MULTI, set_env,     0,                   "environment variable of the function", 'e' },
	{ "layer",         "DIR|ZIP",     OPT_MULTI, set_layer,   0,                   "directory or zip archive to merge at /opt, later ones win (at most 5)", 0 },
	{ "tmp",           "MB",          0,         set_tmp,     0,                   "size of /tmp in MiB; its pages count against --mem (default 512)", 0 },
	{ "tmp-dir",       "DIR",         0,         set_string,  AT(tmp_dir),         "disk space for /tmp on a file system with project quotas, instead of memory", 0 },
	{ "rootfs",        "DIR",         0,         set_string,  AT(rootfs),          "directory to use as the cell's root instead of the host's /usr", 0 },
	{ "runtime",       "NAME",        0,         set_runtime, 0,                   "who takes the code: native, python, node or custom (default: from TARGET)", 0 },
	{ "handler",       "NAME",        0,         set_string,  AT(handler),         "what is called, FILE.FUNCTION for Python and Node (default: 'handler' of a single file)", 0 },
	{ "name",          "NAME",        0,         set_name,    AT(name),            "function name (default: from TARGET)", 0 },
	{ "net",           "MODE",        0,         set_net,     0,                   "network: none, loopback or host (default loopback)", 0 },
	{ "policy",        "NAME|FILE",   0,         set_string,  AT(policy),          "seccomp policy: default, strict, python, node, custom, none, or a JSON file in OCI's form", 0 },
	{ "pids",          "N",           0,         set_pids,    0,                   "processes and threads at once (default 1024)", 0 },
	{ "cgroup-parent", "PATH",        0,         set_string,  AT(cgroup_parent),   "cgroup under which the cell's group is made", 0 },
	{ "no-init-boost", NULL,          OPT_FLAG,  set_flag,    AT(no_init_boost),   "no whole CPU during init, only the share", 0 },
	{ "secret",        "NAME=@FILE",  OPT_MULTI, set_secret,  0,                   "file to appear as /run/secrets/NAME; never part of a snapshot (at most 32 of 64 KiB)", 0 },
	{ "keep-seeds",    NULL,          OPT_FLAG,  set_flag,    AT(keep_seeds),      "rand(3) of a restored function goes on where init left it", 0 },
	{ "no-limits",     NULL,          OPT_FLAG,  set_flag,    AT(no_limits),       "run without cgroup: no memory, CPU and process limits", 0 },
};
/* clang-format on */

const struct opt_table spec_opts = {opts, ARRAY_LEN(opts)};
