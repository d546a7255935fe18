/* fsbox snapshot: the snapshots of functions. One word more says what with them. */
#include "cli/cli.h"

#include "base/clock.h"
#include "base/fd.h"
#include "json/json.h"

#include <stdio.h>
#include <sys/sysinfo.h>

enum { FAILED = 1 };

struct snapshot_args {
	struct cell_spec spec; /* first: spec_opts work on it; only for create */
	uint64_t max_age_ns, max_bytes;
	bool json;
};

static int set_json(void *args, const struct opt *o, const char *value, struct err *e)
{
	(void)o;
	(void)value;
	(void)e;
	((struct snapshot_args *)args)->json = true;
	return 0;
}

static int set_age(void *args, const struct opt *o, const char *value, struct err *e)
{
	uint64_t days;

	if (!parse_u64(value, 0, 36500, &days))
		return err_set(e, ERR_SPEC, 0, "--%s: expected days (a whole number up to 36500), got '%s'", o->name,
			       value);
	((struct snapshot_args *)args)->max_age_ns = days > 0 ? days * 86400 * NS_PER_S : 1;
	return 0;
}

static int set_size(void *args, const struct opt *o, const char *value, struct err *e)
{
	uint64_t mb;

	if (!parse_u64(value, 0, UINT64_MAX >> 20, &mb))
		return err_set(e, ERR_SPEC, 0, "--%s: expected megabytes (a whole number), got '%s'", o->name, value);
	((struct snapshot_args *)args)->max_bytes = mb << 20;
	return 0;
}

/* clang-format off */
static const struct opt opts[] = {
	{ "json",     NULL,   OPT_FLAG | OPT_NO_SPEC, set_json, 0, "ls, gc: print JSON", 0 },
	{ "max-age",  "DAYS", OPT_NO_SPEC,            set_age,  0, "gc: remove what was last used longer ago (default 14, as Lambda does)", 0 },
	{ "max-size", "MB",   OPT_NO_SPEC,            set_size, 0, "gc: then remove the least recently used beyond this total", 0 },
};
/* clang-format on */
static const struct opt_table snapshot_opts = {opts, ARRAY_LEN(opts)};

static int usage(struct err *e, const char *verb, const char *what)
{
	return err_hint(e, err_set(e, ERR_SPEC, 0, "snapshot%s%s: %s", verb[0] ? " " : "", verb, what),
			"fsbox help snapshot");
}

/* ---- create ---- */

/* It is like the beginning of a run without events; what the function prints goes where a run's log goes. */
static int create_in(struct cell_host *host, struct snapshot_args *a, int signal_fd, struct err *e)
{
	struct run_log log;
	struct invoker inv = {.host = host, .spec = &a->spec, .policy = a->spec.policy, .signal_fd = signal_fd};
	struct snapshot_use use;
	int r;

	snapshot_use_init(&use);
	log_init(&log, false);
	inv.sink = &log.sink;
	inv.observer = &log.observer;
	r = policy_load(a->spec.policy, &inv.base, &inv.runtime, e);
	if (r == 0)
		r = policy_check(a->spec.policy, &inv.runtime, host->facts.code.runtime, e);
	if (r == 0)
		r = snapshot_open(&use, &inv, e);
	if (r == 0)
		r = snapshot_publish(&use, &inv, e);
	log_finish(&log, signal_fd);
	if (r == 0)
		(void)printf("%s\n", use.snap.m.id);
	snapshot_use_done(&use, &inv);
	policy_unload(&inv.base, &inv.runtime);
	return r;
}

static int create(struct snapshot_args *a, int argc, char **argv, struct err *e)
{
	AUTO_FD int signal_fd = FD_NONE;
	AUTO(code_close) struct cell_code code = {.fd = FD_NONE};
	struct cell_host host;
	struct sysinfo si;
	char runtime[512];
	int r;

	if (argc > 2)
		return usage(e, "create", "one TARGET expected");
	a->spec.target = argv[1]; /* NULL without one: an image may say what is executed */
	(void)sysinfo(&si);
	r = spec_check(&a->spec, (uint64_t)si.totalram * si.mem_unit, e);
	if (r == 0)
		r = cli_find_runtime(runtime, sizeof runtime, e);
	if (r == 0 && cli_open_code(&a->spec, runtime, &code, e) != 0)
		r = -ENOEXEC;
	if (r == 0)
		r = signal_fd = cli_open_signals(e);
	if (r >= 0)
		r = cell_host_open(&a->spec, runtime, &host, e);
	if (r < 0)
		return r;
	cli_use_code(&host, &code);
	r = create_in(&host, a, signal_fd, e);
	cell_host_close(&host);
	if (e->kind == ERR_CANCELLED)
		cli_die_of_signal(signal_fd);
	return r;
}

/* ---- the others ---- */

static void print_time(struct buf *b, uint64_t wall_ns)
{
	const time_t t = (time_t)(wall_ns / NS_PER_S);
	struct tm tm;
	char text[32];

	(void)gmtime_r(&t, &tm);
	(void)strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
	buf_puts(b, text);
}

static void add_member(struct buf *b, const char *key, const char *text)
{
	buf_printf(b, ",\"%s\":", key);
	json_add_string(b, text ? text : "", text ? strlen(text) : 0);
}

static void document(struct buf *b, const struct snap_info *i)
{
	buf_printf(b, "{\"id\":\"%s\",\"bytes\":%llu,\"inUse\":%s", i->id, (unsigned long long)i->bytes,
		   i->in_use ? "true" : "false");
	if (i->damaged) {
		buf_puts(b, ",\"damaged\":true}");
		return;
	}
	add_member(b, "function", i->m.function);
	add_member(b, "target", i->m.target);
	add_member(b, "engine", i->m.engine);
	add_member(b, "reason", i->m.reason);
	buf_puts(b, ",\"created\":\"");
	print_time(b, i->created_wall_ns);
	buf_puts(b, "\",\"used\":\"");
	print_time(b, i->used_wall_ns);
	buf_printf(b, "\",\"memoryMB\":%llu,\"imageMemoryBytes\":%llu,\"initDurationMs\":%.3f,\"reseeded\":%s",
		   (unsigned long long)(i->m.memory_bytes >> 20), (unsigned long long)i->m.page_bytes,
		   (double)i->m.init_ns / 1e6, i->m.features & SNAP_NOT_RESEEDED ? "false" : "true");
	buf_puts(b, ",\"dependsOn\":{");
	for (size_t k = 0; k < i->m.n_parts; k++) {
		buf_puts(b, k > 0 ? "," : "");
		json_add_string(b, i->m.parts[k].name, strlen(i->m.parts[k].name));
		buf_puts(b, ":");
		json_add_string(b, i->m.parts[k].value, strlen(i->m.parts[k].value));
	}
	buf_puts(b, "},\"libraries\":[");
	for (size_t k = 0; k < i->m.n_deps; k++) {
		buf_puts(b, k > 0 ? "," : "");
		json_add_string(b, i->m.deps[k].name, strlen(i->m.deps[k].name));
	}
	buf_puts(b, "]}");
}

static void line(struct buf *b, const struct snap_info *i)
{
	buf_printf(b, "%.12s  %-24.24s  %7.1f  ", i->id, i->damaged ? "(damaged)" : i->m.function,
		   (double)i->bytes / 1048576);
	if (i->damaged) {
		buf_puts(b, "\n");
		return;
	}
	print_time(b, i->created_wall_ns);
	buf_puts(b, "  ");
	print_time(b, i->used_wall_ns);
	buf_puts(b, i->in_use ? "  in use\n" : "\n");
}

struct listing {
	struct buf out;
	bool json;
	size_t n;
};

static int list_one(const struct snap_info *i, void *arg, struct err *e)
{
	struct listing *l = arg;

	(void)e;
	if (l->json) {
		buf_puts(&l->out, l->n > 0 ? "," : "");
		document(&l->out, i);
	} else {
		line(&l->out, i);
	}
	l->n++;
	return 0;
}

static int list(const struct snap_store *st, const struct snapshot_args *a, struct err *e)
{
	struct listing l = {.json = a->json};
	int r;

	if (a->json)
		buf_puts(&l.out, "{\"snapshots\":[");
	else
		buf_printf(&l.out, "%-12s  %-24s  %7s  %-20s  %s\n", "ID", "FUNCTION", "MIB", "CREATED", "LAST USED");
	r = fd_valid(st->dir) ? snap_each(st, list_one, &l, e) : 0;
	if (a->json)
		buf_puts(&l.out, "]}\n");
	if (r == 0)
		r = l.out.failed ? err_oom(e) : fd_write_all(STDOUT_FILENO, l.out.data, l.out.len);
	buf_done(&l.out);
	return r;
}

struct wanted {
	const char *id;
	struct buf out;
	size_t n;
};

static int inspect_one(const struct snap_info *i, void *arg, struct err *e)
{
	struct wanted *w = arg;

	(void)e;
	if (str_starts(i->id, w->id)) {
		w->out.len = 0;
		document(&w->out, i);
		buf_puts(&w->out, "\n");
		w->n++;
	}
	return 0;
}

static int inspect(const struct snap_store *st, const char *id, struct err *e)
{
	struct wanted w = {.id = id};
	int r = snap_each(st, inspect_one, &w, e);

	if (r == 0 && w.n != 1)
		r = w.n == 0 ? err_set(e, ERR_NOT_FOUND, ENOENT, "there is no snapshot '%s'", id)
			     : err_set(e, ERR_SPEC, 0, "'%s' is the beginning of %zu snapshots", id, w.n);
	if (r == 0)
		r = w.out.failed ? err_oom(e) : fd_write_all(STDOUT_FILENO, w.out.data, w.out.len);
	buf_done(&w.out);
	return r;
}

struct removed {
	struct buf out;
	bool json;
	uint64_t bytes;
	size_t n;
};

static void note_removed(const char *id, uint64_t bytes, void *arg)
{
	struct removed *g = arg;

	if (g->json)
		buf_printf(&g->out, "%s\"%s\"", g->n > 0 ? "," : "", id);
	else
		buf_printf(&g->out, "%s\n", id);
	g->bytes += bytes;
	g->n++;
}

static int collect(const struct snap_store *st, const struct snapshot_args *a, struct err *e)
{
	struct removed g = {.json = a->json};
	int r;

	if (a->json)
		buf_puts(&g.out, "{\"removed\":[");
	r = fd_valid(st->dir) ? snap_gc(st, a->max_age_ns, a->max_bytes, note_removed, &g, e) : 0;
	if (a->json)
		buf_printf(&g.out, "],\"bytes\":%llu}\n", (unsigned long long)g.bytes);
	else
		buf_printf(&g.out, "%zu removed, %.1f MiB\n", g.n, (double)g.bytes / 1048576);
	if (r == 0)
		r = g.out.failed ? err_oom(e) : fd_write_all(STDOUT_FILENO, g.out.data, g.out.len);
	buf_done(&g.out);
	return r;
}

static int verify(const struct snap_store *st, const char *id, struct err *e)
{
	int r = snap_verify(st, id, e);

	if (r == 0)
		(void)printf("%s: every file is as it was written\n", id);
	return r;
}

/* ---- the command ---- */

static const struct verb {
	const char *name;
	const char *operand; /* NULL: none */
} verbs[] = {
	{"create", "TARGET"}, {"ls", NULL}, {"inspect", "ID"}, {"verify", "ID"}, {"rm", "ID"}, {"gc", NULL},
};

static int act(const char *verb, struct snapshot_args *a, int argc, char **argv, struct err *e)
{
	struct snap_store st = {.dir = FD_NONE};
	struct err opening = {0};
	const bool one = strcmp(verb, "ls") != 0 && strcmp(verb, "gc") != 0;
	int r = 0;

	if (strcmp(verb, "create") == 0)
		return create(a, argc, argv, e);
	if (one ? argc < 2 : argc > 1)
		return usage(e, verb, one ? "an ID is expected" : "takes no operand");
	r = snap_store_open(NULL, false, &st, &opening);
	if (r < 0 && (opening.kind != ERR_NOT_FOUND || one)) {
		*e = opening;
		return r;
	}
	r = 0;
	if (strcmp(verb, "ls") == 0)
		r = list(&st, a, e);
	else if (strcmp(verb, "gc") == 0)
		r = collect(&st, a, e);
	for (int i = 1; one && r == 0 && i < argc; i++)
		r = strcmp(verb, "inspect") == 0  ? inspect(&st, argv[i], e)
		    : strcmp(verb, "verify") == 0 ? verify(&st, argv[i], e)
						  : snap_remove(&st, argv[i], e);
	snap_store_close(&st);
	return r;
}

static int parse_and_act(int argc, char **argv, struct snapshot_args *a, struct err *e)
{
	const char *verb = argc > 1 ? argv[1] : "";
	bool known = false;
	int operands, r;

	for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
		known |= strcmp(verbs[i].name, verb) == 0;
	if (!known)
		return usage(e, verb, "expected one of create, ls, inspect, verify, rm, gc");
	const bool creates = strcmp(verb, "create") == 0;
	const struct opt_table *const tables[] = {creates ? &spec_opts : &snapshot_opts};
	r = opt_parse(tables, ARRAY_LEN(tables), argc - 1, argv + 1, a, &operands, e);
	return r < 0 ? r : act(verb, a, operands + 1, argv + 1, e);
}

static int snapshot_main(int argc, char **argv)
{
	struct snapshot_args a = {.max_age_ns = UINT64_C(14) * 86400 * NS_PER_S, .max_bytes = UINT64_MAX};
	struct err e = {0};
	int r;

	spec_init(&a.spec);
	r = parse_and_act(argc, argv, &a, &e);
	spec_done(&a.spec);
	if (e.kind != ERR_NONE)
		cli_print_err(&e);
	return r >= 0 ? 0 : e.kind == ERR_SPEC ? EXIT_USAGE : FAILED;
}

const struct command cmd_snapshot = {
	.name = "snapshot",
	.operands = "create|ls|inspect|verify|rm|gc [options] [TARGET|ID]",
	.summary = "make, look at and remove snapshots of functions",
	.details =
		"A snapshot is a function after its init. `create` takes the options of `fsbox run` that describe a cell,\n"
		"runs the function's init and its hooks, dumps it with CRIU, tries two clones and prints the id.\n"
		"`fsbox run --snapshot` does the same when there is none yet, and restores from then on. A snapshot is\n"
		"for one code, environment, policy, kernel, processor …: `inspect` shows all of it, and why it is.\n\n"
		"  create TARGET    make one; prints its id\n"
		"  ls               a line each: id, function, size, when made and last used\n"
		"  inspect ID...    all that is known, as JSON\n"
		"  verify ID...     compare every file with its digest\n"
		"  rm ID...         remove; not while it is in use\n"
		"  gc               remove old ones; never one in use\n\n"
		"ID is the whole id or at least its first 6 digits. Needs root.\n\n"
		"Exit status: 0 success; 1 failed; 2 bad usage.\n",
	.tables = {&snapshot_opts, &spec_opts},
	.n_tables = 2,
	.main = snapshot_main,
};
