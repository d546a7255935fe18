/* What fsboxd is told when it starts, and the files that it is told to use. */
#include "daemon/config.h"

#include "base/fd.h"
#include "daemon/calls.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* ---- Options ---- */

static int set_keep(void *args, const struct opt *o, const char *value, struct err *e)
{
	struct config *c = args;

	return parse_seconds(value, &c->keep_ns)
		       ? 0
		       : err_set(e, ERR_SPEC, 0, "--%s: expected seconds, got '%s'", o->name, value);
}

static int set_count(void *args, const struct opt *o, const char *value, struct err *e)
{
	uint64_t n;
	uint32_t small;

	if (!parse_u64(value, 1, UINT32_MAX, &n))
		return err_set(e, ERR_SPEC, 0, "--%s: expected a number from 1 up, got '%s'", o->name, value);
	small = (uint32_t)n;
	memcpy((char *)args + o->offset, &small, sizeof small);
	return 0;
}

static int set_memory(void *args, const struct opt *o, const char *value, struct err *e)
{
	struct config *c = args;
	uint64_t mb;

	if (!parse_u64(value, SPEC_MIN_MEMORY_MB, UINT64_MAX >> 20, &mb))
		return err_set(e, ERR_SPEC, 0, "--%s: expected MB, got '%s'", o->name, value);
	c->memory_bytes = mb << 20;
	return 0;
}

static int set_overcommit(void *args, const struct opt *o, const char *value, struct err *e)
{
	struct config *c = args;
	uint64_t thousandths;

	/* Decimals as seconds have them: 1.5 is 1,500,000,000. */
	if (!parse_seconds(value, &thousandths) || thousandths < NS_PER_S / 10 || thousandths > 1000 * NS_PER_S)
		return err_set(e, ERR_SPEC, 0, "--%s: expected a factor from 0.1 to 1000, got '%s'", o->name, value);
	c->overcommit = (double)thousandths / 1e9;
	return 0;
}

#define AT(m) offsetof(struct config, m)
/* clang-format off */
static const struct opt opts[] = {
	{ "keep",           "SECONDS", 0, set_keep,       0,                "how long an idle cell is kept (600)", 0 },
	{ "memory",         "MB",      0, set_memory,     0,                "what the limits of all cells may add up to (80 % of the host's)", 0 },
	{ "max-cells",      "N",       0, set_count,      AT(max_cells),    "cells at one time", 0 },
	{ "max-queued",     "N",       0, set_count,      AT(max_queued),   "calls that wait, all told (4096)", 0 },
	{ "cpu-overcommit", "FACTOR",  0, set_overcommit, 0,                "CPU shares of busy cells may add up to so many times the CPUs (1)", 0 },
	{ "policy-file",    "FILE",    0, opt_set_text,   AT(policy_file),  "who may do what; read again at SIGHUP", 0 },
	{ "no-freeze",      NULL, OPT_FLAG, opt_set_flag, AT(no_freeze), "cells go on running between calls", 0 },
};
/* clang-format on */
const struct opt_table config_options = {opts, ARRAY_LEN(opts)};

/* ---- Files ---- */

/* Which cells run a call, and how many they have been sent, for the fsboxd after this one. */
struct busy_file {
	uint64_t magic, run;
	uint64_t busy[CELL_MAX_SLOTS];
	uint64_t calls[CELL_MAX_SLOTS]; /* 0 in the file of an fsboxd that did not count them */
};
enum { BUSY_MAGIC = 0x66736233 };

int config_open_busy(struct daemon *d, const char *path, struct err *e)
{
	AUTO_FD int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	struct busy_file *f;
	int r;

	if (fd < 0)
		return err_sys(e, errno, "'%s'", path);
	/* With a hole in it a full disk would be a SIGBUS, at some later call. */
	r = posix_fallocate(fd, 0, sizeof *f);
	if (r == 0 && ftruncate(fd, sizeof *f) < 0)
		r = errno;
	if (r != 0)
		return err_sys(e, r, "'%s'", path);
	f = mmap(NULL, sizeof *f, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (f == MAP_FAILED)
		return err_sys(e, errno, "mapping '%s'", path);
	if (f->magic != BUSY_MAGIC || f->run != d->run)
		memset(f, 0, sizeof *f); /* of cells that are gone with their fsbox-spawn */
	f->magic = BUSY_MAGIC;
	f->run = d->run;
	d->busy = f->busy;
	d->calls = f->calls;
	return 0;
}

static bool is_method(const char *name)
{
	return methods_has(name);
}

int config_load_policy(struct daemon *d, struct err *e)
{
	const struct peers_budget budget = {
		.memory_bytes = d->config.memory_bytes,
		.max_cells = d->config.max_cells,
		.max_queued = d->config.max_queued,
		.max_functions = SPAWN_MAX_FUNCTIONS,
		.max_execs = SPAWN_MAX_EXECS,
		.own_uid = geteuid(),
		.is_method = is_method,
	};

	return peers_load(&d->peers, d->config.policy_file, &budget, e);
}
