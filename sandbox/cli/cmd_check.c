/* fsbox check: what this host offers, from one table that both outputs are made of.
 *
 * --json prints one object; keys and their values' words are stable, more of both may come:
 *   version     string   fsbox's
 *   kernel      string   uname's release
 *   machine     string   uname's machine
 *   user        string   "root", "user", or "namespace" (uid 0 without the host's uids)
 *   run         string   "yes", "no-limits" (only with --no-limits), "no"
 *   reason      string   why run is not "yes"; absent when it is
 *   cellMs      number   time to build a cell, hear from its runtime and remove it; absent when run is "no"
 *   checks      array    of objects, in the order of the text:
 *     group     string   "namespaces", "cgroups", "kernel", "host", "snapshots"
 *     name      string   unique within its group
 *     state     string   "yes", "no", "unknown" (could not be looked at)
 *     need      string   "required", "limits" (required unless --no-limits), "optional"
 *     usedFor   string
 *     without   string   what happens instead; absent when required
 *     detail    string   what was found, or the reason; absent when there is nothing to say
 *     remedy    string   only when state is "no" and there is one
 *
 * Exit status: 0 when `fsbox run` works as it stands, 1 when not, 2 bad usage. */
#include "cli/cli.h"

#include "base/fd.h"
#include "cli/selftest.h"
#include "json/json.h"
#include "sys/probe.h"

#include <fcntl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdio.h>
#include <sys/utsname.h>

enum state { UNKNOWN, NO, YES };
enum need { REQUIRED, LIMITS, OPTIONAL };

struct finding {
	enum state state;
	char detail[520];
	char remedy[400];
};

struct check {
	const char *group, *name;
	enum need need;
	const char *used_for;
	const char *without; /* optional ones */
	const char *remedy;  /* when a look gives none */
	void (*look)(const struct check *c, const struct selftest *t, struct finding *f);
	union {
		int (*plain)(void);        /* look_plain */
		int (*with_arg)(uint64_t); /* look_with_arg */
	} probe;
	uint64_t arg;
};

/* ---- Looks ---- */

static void found(struct finding *f, bool yes)
{
	f->state = yes ? YES : NO;
}

/* ERR_NONE is a yes. */
static void from_err(struct finding *f, const struct err *e)
{
	found(f, e->kind == ERR_NONE);
	(void)snprintf(f->detail, sizeof f->detail, "%s%s%s%s", e->msg, e->stage[0] ? " (stage " : "", e->stage,
		       e->stage[0] ? ")" : "");
	(void)snprintf(f->remedy, sizeof f->remedy, "%s", e->hint);
}

static void from_result(struct finding *f, int r)
{
	const char *why = r < 0 ? strerrordesc_np(-r) : NULL;

	found(f, r >= 0);
	(void)snprintf(f->detail, sizeof f->detail, "%s", why ? why : "");
}

static void look_plain(const struct check *c, const struct selftest *t, struct finding *f)
{
	(void)t;
	from_result(f, c->probe.plain());
}

static void look_with_arg(const struct check *c, const struct selftest *t, struct finding *f)
{
	(void)t;
	from_result(f, c->probe.with_arg(c->arg));
}

/* As cells do it: in a user namespace, whoever asks. */
static void look_namespace(const struct check *c, const struct selftest *t, struct finding *f)
{
	const int r = sys_probe_namespaces(CLONE_NEWUSER | c->arg);

	(void)t;
	from_result(f, r);
	if (r == -EPERM)
		(void)snprintf(
			f->remedy, sizeof f->remedy,
			"sysctl kernel.unprivileged_userns_clone=1 or kernel.apparmor_restrict_unprivileged_userns=0, "
			"whichever there is; in a container, a seccomp profile that allows it; or run as root");
	else if (r == -ENOSPC)
		(void)snprintf(f->remedy, sizeof f->remedy, "raise sysctl user.max_%s_namespaces",
			       strcmp(c->name, "mount") == 0 ? "mnt" : c->name);
}

static void look_overlay(const struct check *c, const struct selftest *t, struct finding *f)
{
	/* With privileges it is made before the cell's user namespace exists. */
	const uint64_t user = t->has_host && t->host.facts.privileged ? 0 : CLONE_NEWUSER;

	(void)c;
	from_result(f, sys_probe_mount_overlay(user | CLONE_NEWNS));
}

static void look_mode(const struct check *c, const struct selftest *t, struct finding *f)
{
	const struct cg_host *h = &t->cg;

	(void)c;
	if (t->cg_err.kind != ERR_NONE) {
		from_err(f, &t->cg_err);
		return;
	}
	found(f, h->mode != CG_NONE);
	if (h->mode == CG_V2)
		(void)snprintf(f->detail, sizeof f->detail, "cgroup2 at %s", h->v2_root);
	else if (h->mode == CG_HYBRID)
		(void)snprintf(f->detail, sizeof f->detail, "hybrid: controllers on v1, %s%s",
			       h->v2_root[0] ? "cgroup2 beside them at " : "no cgroup2", h->v2_root);
	else
		(void)snprintf(f->detail, sizeof f->detail, "neither cgroup2 nor v1 has memory, cpu and pids");
}

static void look_controller(const struct check *c, const struct selftest *t, struct finding *f)
{
	const struct cg_host *h = &t->cg;
	const bool on_v2[CG_V1_COUNT] = {h->v2_memory, h->v2_cpu, h->v2_pids};
	const char *at = on_v2[c->arg] ? h->v2_root : h->v1_root[c->arg];

	found(f, at[0] != '\0');
	(void)snprintf(f->detail, sizeof f->detail, "%s", at);
}

static void look_parent(const struct check *c, const struct selftest *t, struct finding *f)
{
	(void)c;
	if (t->parent[0]) {
		f->state = YES;
		(void)snprintf(f->detail, sizeof f->detail, "%s", t->parent);
	} else if (t->limits_err.kind != ERR_NONE) {
		from_err(f, &t->limits_err);
	}
}

static void look_v2(const struct check *c, const struct selftest *t, struct finding *f)
{
	const bool has[] = {t->cg.v2_root[0] != '\0', t->cg.v2_kill, t->cg.v2_freeze};

	found(f, has[c->arg]);
	if (c->arg == 0)
		(void)snprintf(f->detail, sizeof f->detail, "%s", t->cg.v2_root);
}

static void look_group(const struct check *c, const struct selftest *t, struct finding *f)
{
	const bool has[] = {t->has_peak, t->has_swap_limit};

	if (t->has_group)
		found(f, has[c->arg]);
	else
		(void)snprintf(f->detail, sizeof f->detail, "seen only in a group, and none could be made");
}

static void look_runtime(const struct check *c, const struct selftest *t, struct finding *f)
{
	(void)c;
	from_err(f, &t->runtime_err);
	if (f->state == YES)
		(void)snprintf(f->detail, sizeof f->detail, "%s", t->runtime);
}

static void look_code(const struct check *c, const struct selftest *t, struct finding *f)
{
	struct err e = {0};
	char path[sizeof f->detail];

	if (t->runtime[0] == '\0')
		return; /* not reached */
	if (code_probe((enum spec_runtime)c->arg, t->runtime, path, sizeof path, &e) == 0)
		(void)snprintf(e.msg, sizeof e.msg, "%.399s", path);
	from_err(f, &e);
}

static void look_state(const struct check *c, const struct selftest *t, struct finding *f)
{
	(void)c;
	if (t->host.state_dir[0] == '\0')
		return; /* not reached */
	from_err(f, &t->host_err);
	if (f->state == YES)
		(void)snprintf(f->detail, sizeof f->detail, "%s", t->host.state_dir);
}

static void look_ids(const struct check *c, const struct selftest *t, struct finding *f)
{
	const struct cell_host *h = &t->host;

	(void)c;
	if (h->n_ranges == 0) { /* an unusable /etc/subuid */
		if (t->host_err.kind != ERR_NONE)
			from_err(f, &t->host_err);
		return;
	}
	found(f, h->facts.privileged);
	if (h->facts.privileged)
		(void)snprintf(f->detail, sizeof f->detail, "%d ids each for %u cells, from %u", CELL_ID_RANGE,
			       h->n_ranges, h->range_first);
	else
		(void)snprintf(f->detail, sizeof f->detail, "one id: cells are uid %u outside", h->facts.euid);
}

static void look_cell(const struct check *c, const struct selftest *t, struct finding *f)
{
	(void)c;
	if (t->result != SELFTEST_NO) {
		f->state = YES;
		(void)snprintf(f->detail, sizeof f->detail, "built, answered and removed in %.1f ms%s",
			       (double)t->cell_ns / 1e6, t->result == SELFTEST_YES ? "" : ", without limits");
	} else if (t->cell_err.kind != ERR_NONE) {
		from_err(f, &t->cell_err);
	} else {
		f->state = NO;
		(void)snprintf(f->detail, sizeof f->detail, "not tried, for the reasons above");
	}
}

static void look_engine(const struct check *c, const struct selftest *t, struct finding *f)
{
	(void)c;
	if (t->result == SELFTEST_NO) {
		f->state = UNKNOWN;
		return; /* not reached */
	}
	from_err(f, &t->engine_err);
	if (f->state == YES)
		(void)snprintf(f->detail, sizeof f->detail, "CRIU %s in %.400s", t->engine.version, t->engine.dir);
}

static void look_snapshot(const struct check *c, const struct selftest *t, struct finding *f)
{
	(void)c;
	if (!t->snapshot_tried) {
		(void)snprintf(f->detail, sizeof f->detail, "not tried, for the reasons above");
		return;
	}
	from_err(f, &t->snapshot_err);
	if (f->state == YES)
		(void)snprintf(f->detail, sizeof f->detail, "dumped, and two clones restored, in %.1f ms",
			       (double)t->snapshot_ns / 1e6);
}

/* ---- The table ---- */

#define IN_USER(more) (CLONE_NEWUSER | CLONE_NEWNS | (more))
#define KERNEL        "Linux 6.1 or newer; in a container, a seccomp profile that allows the call"
#define NS_KERNEL     "a kernel built with namespaces (CONFIG_NAMESPACES, CONFIG_USER_NS)"

/* clang-format off */
static const struct check checks[] = {
	{ "namespaces", "user", REQUIRED, "ids of its own, capabilities that end there", NULL,
	  NS_KERNEL, look_namespace },
	{ "namespaces", "pid", REQUIRED, "sees and ends only its own processes", NULL,
	  NS_KERNEL, look_namespace, .arg = CLONE_NEWPID },
	{ "namespaces", "mount", REQUIRED, "a root and mounts of its own", NULL,
	  NS_KERNEL, look_namespace, .arg = CLONE_NEWNS },
	{ "namespaces", "net", REQUIRED, "loopback only", NULL,
	  NS_KERNEL, look_namespace, .arg = CLONE_NEWNET },
	{ "namespaces", "ipc", REQUIRED, "System V objects and queues of its own", NULL,
	  NS_KERNEL, look_namespace, .arg = CLONE_NEWIPC },
	{ "namespaces", "uts", REQUIRED, "a host name of its own", NULL,
	  NS_KERNEL, look_namespace, .arg = CLONE_NEWUTS },
	{ "namespaces", "cgroup", REQUIRED, "hides where its group lies", NULL,
	  NS_KERNEL, look_namespace, .arg = CLONE_NEWCGROUP },

	{ "cgroups", "hierarchy", LIMITS, "limits and measurements of cells", NULL,
	  "mount -t cgroup2 cgroup2 /sys/fs/cgroup", look_mode },
	{ "cgroups", "memory", LIMITS, "--mem, Max Memory Used", NULL,
	  "remove cgroup_disable=memory from the kernel's command line", look_controller, .arg = CG_V1_MEMORY },
	{ "cgroups", "cpu", LIMITS, "the share of CPU that follows --mem", NULL,
	  "a kernel with CONFIG_CFS_BANDWIDTH", look_controller, .arg = CG_V1_CPU },
	{ "cgroups", "pids", LIMITS, "--pids", NULL,
	  "a kernel with CONFIG_CGROUP_PIDS", look_controller, .arg = CG_V1_PIDS },
	{ "cgroups", "parent", LIMITS, "where cells' groups are made", NULL,
	  NULL, look_parent },
	{ "cgroups", "cgroup2", OPTIONAL, "a cell begins in its group; kill, freeze",
	  "enters by itself before it runs; signals",
	  "mount it, beside v1 too: mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified", look_v2 },
	{ "cgroups", "cgroup.kill", OPTIONAL, "ends all processes of a cell at once",
	  "a signal to each until none is left",
	  "Linux 5.14 or newer, cgroup2", look_v2, .arg = 1 },
	{ "cgroups", "cgroup.freeze", OPTIONAL, "pauses a cell", "no pausing",
	  "Linux 5.2 or newer, cgroup2", look_v2, .arg = 2 },
	{ "cgroups", "memory.peak", OPTIONAL, "Max Memory Used at its peak", "the usage at the end of the call",
	  "Linux 5.19 or newer", look_group },
	{ "cgroups", "swap limit", OPTIONAL, "no swap beyond --mem", "swappiness 0 on v1; no swap, no need",
	  "swapaccount=1 on the kernel's command line, if there is swap", look_group, .arg = 1 },

	{ "kernel", "clone3", REQUIRED, "starts a cell", NULL,
	  KERNEL, look_plain, { sys_probe_clone3 } },
	{ "kernel", "CLONE_INTO_CGROUP", REQUIRED, "starts a cell in its group on cgroup2", NULL,
	  KERNEL, look_plain, { sys_probe_clone_into_cgroup } },
	{ "kernel", "pidfd", REQUIRED, "ends and waits for the right process", NULL,
	  KERNEL, look_plain, { sys_probe_pidfd } },
	{ "kernel", "openat2", REQUIRED, "opens paths that cannot lead elsewhere", NULL,
	  KERNEL, look_plain, { sys_probe_openat2 } },
	{ "kernel", "close_range", REQUIRED, "no descriptor of fsbox in a cell", NULL,
	  KERNEL, look_plain, { sys_probe_close_range } },
	{ "kernel", "mount API", REQUIRED, "read-only binds, tmpfs (fsopen, move_mount)", NULL,
	  KERNEL, look_with_arg, { .with_arg = sys_probe_mount_api }, .arg = IN_USER(0) },
	{ "kernel", "proc", REQUIRED, "a /proc of the cell's processes", NULL,
	  "run outside of the container, or in one with an unmasked /proc", look_with_arg,
	  { .with_arg = sys_probe_mount_proc }, .arg = IN_USER(CLONE_NEWPID) },
	{ "kernel", "overlay", OPTIONAL, "--rootfs, several --layer", "one --layer, no --rootfs",
	  "modprobe overlay", look_overlay },
	{ "kernel", "seccomp filter", REQUIRED, "policies", NULL,
	  "a kernel with CONFIG_SECCOMP_FILTER", look_plain, { sys_probe_seccomp_filter } },
	{ "kernel", "seccomp kill", REQUIRED, "ends callers of foreign architectures", NULL,
	  KERNEL, look_with_arg, { .with_arg = sys_probe_seccomp_action }, .arg = SECCOMP_RET_KILL_PROCESS },
	{ "kernel", "seccomp errno", REQUIRED, "refuses calls (policy default)", NULL,
	  KERNEL, look_with_arg, { .with_arg = sys_probe_seccomp_action }, .arg = SECCOMP_RET_ERRNO },
	{ "kernel", "seccomp trap", OPTIONAL, "names the refused call (policy strict)", "no policy strict",
	  KERNEL, look_with_arg, { .with_arg = sys_probe_seccomp_action }, .arg = SECCOMP_RET_TRAP },
	{ "kernel", "session keyring", OPTIONAL, "keys of its own", "a kernel without keys has none to hide",
	  NULL, look_plain, { sys_probe_keyring } },
	{ "kernel", "quotactl_fd", OPTIONAL, "--tmp-dir, where the file system has quotas", "/tmp is memory only",
	  "Linux 5.14 or newer with CONFIG_QUOTACTL", look_plain, { sys_probe_quotactl_fd } },

	{ "host", "runtime", REQUIRED, "the programs inside of a cell", NULL,
	  NULL, look_runtime },
	{ "host", "state directory", REQUIRED, "prepared roots, the table of cells", NULL,
	  NULL, look_state },
	{ "host", "range of ids", OPTIONAL, "other users outside for every cell", "cells have your own uid outside",
	  "run as root", look_ids },
	{ "host", "cell", REQUIRED, "the whole of it, tried", NULL,
	  NULL, look_cell },

	{ "runtimes", "python", OPTIONAL, "app.py", "no Python functions",
	  NULL, look_code, .arg = SPEC_RUNTIME_PYTHON },
	{ "runtimes", "node", OPTIONAL, "app.mjs, app.js, app.cjs", "no Node.js functions",
	  NULL, look_code, .arg = SPEC_RUNTIME_NODE },
	{ "runtimes", "custom", OPTIONAL, "bootstrap, by the Runtime API", "no custom runtimes",
	  NULL, look_code, .arg = SPEC_RUNTIME_CUSTOM },

	{ "snapshots", "criu", OPTIONAL, "dumps functions after init, restores them", "every start is a cold one",
	  NULL, look_engine },
	{ "snapshots", "dump and restore", OPTIONAL, "the whole of it, tried", "every start is a cold one",
	  NULL, look_snapshot },
};
/* clang-format on */

/* ---- Output ---- */

static const char *const state_names[] = {"unknown", "no", "yes"};
static const char *const need_names[] = {"required", "limits", "optional"};
static const char *const result_names[] = {"no", "no-limits", "yes"};

/* The initial user namespace maps every id to itself (user_namespaces(7)). */
static const char *user_name(void)
{
	char map[256];

	if (geteuid() != 0)
		return "user";
	return fd_read_file_at(AT_FDCWD, "/proc/self/uid_map", map, sizeof map) > 0 && !strstr(map, "4294967295")
		       ? "namespace"
		       : "root";
}

/* Why run is not "yes": the first thing that went wrong. */
static const char *reason(const struct selftest *t)
{
	const struct err *const all[] = {&t->runtime_err, &t->cg_err, &t->host_err, &t->limits_err, &t->cell_err};

	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		if (all[i]->kind != ERR_NONE)
			return all[i]->msg;
	return "";
}

static void add_member(struct buf *b, const char *key, const char *value)
{
	buf_printf(b, "\"%s\":", key);
	json_add_string(b, value, strlen(value));
}

static void add_optional(struct buf *b, const char *key, const char *value)
{
	if (!value || value[0] == '\0')
		return;
	buf_puts(b, ",");
	add_member(b, key, value);
}

static void write_json(struct buf *b, const struct selftest *t, const struct utsname *un,
		       const struct finding *found_all)
{
	buf_puts(b, "{");
	add_member(b, "version", FSBOX_VERSION);
	add_optional(b, "kernel", un->release);
	add_optional(b, "machine", un->machine);
	add_optional(b, "user", user_name());
	add_optional(b, "run", result_names[t->result]);
	if (t->result != SELFTEST_YES)
		add_optional(b, "reason", reason(t));
	if (t->result != SELFTEST_NO)
		buf_printf(b, ",\"cellMs\":%.3f", (double)t->cell_ns / 1e6);
	buf_puts(b, ",\"checks\":[");
	for (size_t i = 0; i < ARRAY_LEN(checks); i++) {
		const struct check *c = &checks[i];
		const struct finding *f = &found_all[i];

		buf_puts(b, i > 0 ? ",{" : "{");
		add_member(b, "group", c->group);
		add_optional(b, "name", c->name);
		add_optional(b, "state", state_names[f->state]);
		add_optional(b, "need", need_names[c->need]);
		add_optional(b, "usedFor", c->used_for);
		add_optional(b, "without", c->without);
		add_optional(b, "detail", f->detail);
		add_optional(b, "remedy", f->state == NO ? f->remedy : NULL);
		buf_puts(b, "}");
	}
	buf_puts(b, "]}\n");
}

/* Two columns of text wide enough for the table above; under a line what was found, and what to do. */
static void write_line(struct buf *b, const struct check *c, const struct finding *f)
{
	static const char *const marks[] = {"?", "NO", "yes"};
	static const char *const needs[] = {"required", "required, or --no-limits"};

	buf_printf(b, "  %-4s %-18s %-44s %s\n", marks[f->state], c->name, c->used_for,
		   c->need == OPTIONAL ? c->without : needs[c->need]);
	if (f->detail[0])
		buf_printf(b, "       %-18s %s %s\n", "", f->state == YES ? "=" : "because:", f->detail);
	if (f->state == NO && f->remedy[0])
		buf_printf(b, "       %-18s remedy: %s\n", "", f->remedy);
}

static void write_text(struct buf *b, const struct selftest *t, const struct utsname *un,
		       const struct finding *found_all)
{
	const char *group = "";

	buf_printf(b, "fsbox %s on Linux %s, %s, %u CPU%s, as %s\n", FSBOX_VERSION, un->release, un->machine,
		   t->cg.n_cpus, t->cg.n_cpus == 1 ? "" : "s",
		   strcmp(user_name(), "namespace") == 0 ? "root of a user namespace" : user_name());
	for (size_t i = 0; i < ARRAY_LEN(checks); i++) {
		if (strcmp(group, checks[i].group) != 0) {
			group = checks[i].group;
			buf_printf(b, "\n%-25s %-44s %s\n", group, "used for", "without it");
		}
		write_line(b, &checks[i], &found_all[i]);
	}
	switch (t->result) {
	case SELFTEST_YES:
		buf_puts(b, "\nfsbox run works here.\n");
		return;
	case SELFTEST_NO_LIMITS:
		buf_printf(b, "\nfsbox run works here only with --no-limits: %s\n", reason(t));
		return;
	case SELFTEST_NO:
		buf_printf(b, "\nfsbox run does not work here: %s\n", reason(t));
		return;
	}
}

/* ---- The command ---- */

struct check_args {
	bool json;
};

static int set_json(void *args, const struct opt *o, const char *value, struct err *e)
{
	(void)o;
	(void)value;
	(void)e;
	((struct check_args *)args)->json = true;
	return 0;
}

static const struct opt opts[] = {
	{"json", NULL, OPT_FLAG | OPT_NO_SPEC, set_json, 0, "print one JSON object", 0},
};
static const struct opt_table check_opts = {opts, ARRAY_LEN(opts)};

static int check_host(bool json, struct err *e)
{
	static struct finding findings[ARRAY_LEN(checks)];
	struct selftest t;
	struct utsname un;
	struct buf b = {0};
	int r;

	if (uname(&un) < 0)
		return err_sys(e, errno, "uname");
	selftest_run(&t);
	for (size_t i = 0; i < ARRAY_LEN(checks); i++) {
		struct finding *f = &findings[i];

		checks[i].look(&checks[i], &t, f);
		if (f->remedy[0] == '\0' && checks[i].remedy)
			(void)snprintf(f->remedy, sizeof f->remedy, "%s", checks[i].remedy);
	}
	if (json)
		write_json(&b, &t, &un, findings);
	else
		write_text(&b, &t, &un, findings);
	r = b.failed ? err_oom(e) : fd_write_all(STDOUT_FILENO, b.data, b.len);
	if (r < 0)
		r = err_sys(e, r, "writing to standard output");
	buf_done(&b);
	return r < 0 ? r : t.result == SELFTEST_YES ? 0 : 1;
}

static int check_main(int argc, char **argv)
{
	struct check_args a = {0};
	struct err e = {0};
	int operands, r = opt_parse(cmd_check.tables, cmd_check.n_tables, argc, argv, &a, &operands, &e);

	if (r == 0 && operands > 0)
		r = err_set(&e, ERR_SPEC, 0, "check takes no operand, got '%s'", argv[1]);
	if (r < 0) {
		cli_print_err(&e);
		return EXIT_USAGE;
	}
	r = check_host(a.json, &e);
	if (r < 0)
		cli_print_err(&e);
	return r < 0 ? EXIT_FSBOX : r;
}

const struct command cmd_check = {
	.name = "check",
	.operands = "[--json]",
	.summary = "what this host offers, and what is missing",
	.details = "Tries everything that cells need, and a cell itself. Exit status: 0 when fsbox run\n"
		   "works, 1 when it does not; 2 bad usage.\n",
	.tables = {&check_opts},
	.n_tables = 1,
	.main = check_main,
};
