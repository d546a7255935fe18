/* fsbox run: one function, one cell, its events one after the other. */
#include "cli/cli.h"

#include "base/clock.h"
#include "base/fd.h"
#include "cli/trace.h"
#include "json/json.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>

enum { MAX_EVENTS = 100000, ENV_FILE_MAX = 65536 };

struct event {
	const char *arg;  /* as given */
	const char *data; /* argv's text, or owned */
	size_t len;
	char *owned;
	bool file; /* a regular file, read when its turn comes */
};

struct run_args {
	struct cell_spec spec; /* first: spec_opts work on it */
	struct event *events;
	size_t n_events, cap_events;
	const char *spec_file;
	const char *trace;
	struct snapshot_wish snapshot;
	bool json;
	bool json_log;
	bool looking; /* first pass: only for --spec; nothing is opened */
};

static int set_event(void *args, const struct opt *o, const char *value, struct err *e)
{
	struct run_args *a = args;

	(void)o;
	if (a->n_events == MAX_EVENTS)
		return err_set(e, ERR_SPEC, 0, "--event: at most %d events", MAX_EVENTS);
	if (a->n_events == a->cap_events) {
		size_t cap = a->cap_events ? a->cap_events * 2 : 16;
		struct event *grown = realloc(a->events, cap * sizeof *grown);

		if (!grown)
			return err_oom(e);
		a->events = grown;
		a->cap_events = cap;
	}
	a->events[a->n_events++] = (struct event){.arg = value};
	return 0;
}

static int set_env_file(void *args, const struct opt *o, const char *value, struct err *e)
{
	struct run_args *a = args;
	AUTO_FD int fd = a->looking ? FD_NONE : open(value, O_RDONLY | O_CLOEXEC);
	AUTO_FREE char *text = NULL;
	size_t len;

	if (a->looking)
		return 0; /* it may be a pipe, which can be read once */
	if (fd < 0)
		return err_sys(e, errno, "--%s '%s'", o->name, value);

	int r = fd_read_all(fd, ENV_FILE_MAX, &text, &len);
	return r < 0 ? err_sys(e, r, "--%s '%s'", o->name, value) : spec_add_env_file(&a->spec, value, text, len, e);
}

static int set_json(void *args, const struct opt *o, const char *value, struct err *e)
{
	(void)o;
	(void)value;
	(void)e;
	((struct run_args *)args)->json = true;
	return 0;
}

static int set_log_format(void *args, const struct opt *o, const char *value, struct err *e)
{
	struct run_args *a = args;

	a->json_log = strcmp(value, "json") == 0;
	if (!a->json_log && strcmp(value, "text") != 0)
		return err_set(e, ERR_SPEC, 0, "--%s: expected text or json, got '%s'", o->name, value);
	return 0;
}

static int set_text(void *args, const struct opt *o, const char *value, struct err *e)
{
	if (*value == '\0')
		return err_set(e, ERR_SPEC, 0, "--%s: expected a file, got an empty text", o->name);
	memcpy((char *)args + o->offset, &value, sizeof value);
	return 0;
}

static int set_snapshot(void *args, const struct opt *o, const char *value, struct err *e)
{
	return snapshot_wish_parse(&((struct run_args *)args)->snapshot, o->name, value, e);
}

/* clang-format off */
static const struct opt opts[] = {
	{ "event",      "JSON|@FILE|-", OPT_MULTI,   set_event,      0, "event for the function: text, a file, or stdin; may be repeated (default {})", 0 },
	{ "env-file",   "FILE",         OPT_MULTI,   set_env_file,   0, "file with KEY=VALUE lines", 0 },
	{ "json",       NULL,           OPT_FLAG,    set_json,       0, "print one JSON document about all calls instead of the answers", 0 },
	{ "log-format", "text|json",    0,           set_log_format, 0, "form of the log on stderr (default text)", 0 },
	{ "snapshot",   "ID|require|unseeded", OPT_MAYBE_VALUE, set_snapshot, 0, "start from a snapshot, which is made when there is none; see fsbox help snapshot", 0 },
	{ "spec",       "FILE",         OPT_NO_SPEC, set_text,       offsetof(struct run_args, spec_file), "JSON object whose keys are these options' names, and 'target'", 0 },
	{ "trace",      "FILE",         0,           set_text,       offsetof(struct run_args, trace), "write where the time went, in Chrome's trace format", 0 },
};
/* clang-format on */
static const struct opt_table run_opts = {opts, ARRAY_LEN(opts)};

/* ---- reading what was asked for ---- */

static void drop_event(struct event *ev)
{
	free(ev->owned);
	ev->owned = NULL;
}

static void args_done(struct run_args *a)
{
	for (size_t i = 0; i < a->n_events; i++)
		drop_event(&a->events[i]);
	free(a->events);
	spec_done(&a->spec);
}

static int read_spec_file(struct run_args *a, const char *file, struct err *e)
{
	AUTO_FD int fd = open(file, O_RDONLY | O_CLOEXEC);
	AUTO_FREE char *text = NULL;
	size_t len;

	if (fd < 0)
		return err_sys(e, errno, "--spec '%s'", file);

	int r = fd_read_all(fd, SPEC_MAX_BYTES, &text, &len);
	if (r < 0)
		return err_sys(e, r, "--spec '%s'", file);
	return spec_read(file, text, len, cmd_run.tables, cmd_run.n_tables, a, &a->spec.arena, &a->spec.target, e);
}

/* One pass over the command line to find --spec; then that file, and the command line on top of it, so that it wins. */
static int read_args(struct run_args *a, int argc, char **argv, struct err *e)
{
	AUTO_FREE char **copy = calloc((size_t)argc + 1, sizeof *copy);
	struct run_args first = {.looking = true};
	size_t from_file;
	int operands, r;

	if (!copy)
		return err_oom(e);
	memcpy(copy, argv, (size_t)argc * sizeof *copy); /* parsing moves operands to the front */
	spec_init(&first.spec);
	r = opt_parse(cmd_run.tables, cmd_run.n_tables, argc, copy, &first, &operands, e);
	args_done(&first);
	spec_init(&a->spec);
	if (r == 0 && first.spec_file)
		r = read_spec_file(a, first.spec_file, e);
	from_file = a->n_events;
	if (r == 0)
		r = opt_parse(cmd_run.tables, cmd_run.n_tables, argc, argv, a, &operands, e);
	if (r < 0)
		return r;
	if (a->n_events > from_file) { /* events replace events */
		memmove(a->events, a->events + from_file, (a->n_events - from_file) * sizeof *a->events);
		a->n_events -= from_file;
	}
	if (operands > 1)
		return err_set(e, ERR_SPEC, 0, "one TARGET expected, got '%s' and '%s'", argv[1], argv[2]);
	if (operands == 1)
		a->spec.target = argv[1];
	return a->n_events > 0 ? 0 : set_event(a, NULL, "{}", e);
}

static int read_event(int fd, struct event *ev, struct err *e)
{
	int r = cli_read_event(fd, ev->arg, &ev->owned, &ev->len, e);

	ev->data = r < 0 ? ev->data : ev->owned;
	return r;
}

/* A regular file is read when its turn comes; here only whether that will work. What can keep us waiting, stdin or a
 * named pipe, is read now. */
static int prepare_file(struct event *ev, struct err *e)
{
	AUTO_FD int fd = open(ev->arg + 1, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_set(e, ERR_SPEC, errno, "--event '%s': %s", ev->arg, strerrordesc_np(errno));
	if (!S_ISREG(st.st_mode))
		return read_event(fd, ev, e);
	if (st.st_size > SPEC_MAX_PAYLOAD)
		return err_set(e, ERR_SPEC, EFBIG, "--event '%s': over %d bytes, the most that a call takes", ev->arg,
			       SPEC_MAX_PAYLOAD);
	ev->file = true;
	return 0;
}

/* Before anything starts: an event that cannot be read must not be found out after the first call, and while we wait for
 * stdin a signal must end us as it ends any program. */
static int prepare_events(struct run_args *a, struct err *e)
{
	bool stdin_read = false;

	for (size_t i = 0; i < a->n_events; i++) {
		struct event *ev = &a->events[i];
		int r = 0;

		if (ev->arg[0] == '@') {
			r = prepare_file(ev, e);
		} else if (strcmp(ev->arg, "-") == 0) {
			if (stdin_read)
				return err_set(e, ERR_SPEC, 0, "--event -: stdin can be read once");
			stdin_read = true;
			r = read_event(STDIN_FILENO, ev, e);
		} else {
			ev->data = ev->arg;
			ev->len = strlen(ev->arg);
			if (ev->len > SPEC_MAX_PAYLOAD)
				r = err_set(e, ERR_SPEC, EFBIG, "--event: over %d bytes", SPEC_MAX_PAYLOAD);
		}
		if (r < 0)
			return r;
	}
	return 0;
}

static int load_event(struct event *ev, struct err *e)
{
	AUTO_FD int fd = FD_NONE;

	if (!ev->file)
		return 0;
	fd = open(ev->arg + 1, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? err_set(e, ERR_SPEC, errno, "--event '%s': %s", ev->arg, strerrordesc_np(errno))
		      : read_event(fd, ev, e);
}

/* ---- running ---- */

static int run_event(struct invoker *inv, struct run_args *a, size_t i, struct buf *document, int *status,
		     struct err *e)
{
	const bool newline = a->n_events > 1 || isatty(STDOUT_FILENO);
	struct call_result result = {0};
	struct event *event = &a->events[i];
	int r = load_event(event, e);

	if (r == 0)
		r = invoke_call(inv, event->data, event->len, "", &result, e);
	if (r == 0) {
		if (*status == 0)
			*status = result.exit_status;
		if (a->json) {
			buf_puts(document, i > 0 ? "," : "");
			cli_document_call(document, result.request_id, &result, NULL);
		} else {
			r = cli_explain_write(cli_print_answer(&result, newline, inv->signal_fd), e);
		}
	}
	call_result_done(&result);
	drop_event(event);
	return r;
}

static int run_events(struct invoker *inv, struct run_args *a, int *status, struct err *e)
{
	struct buf document = {0};
	int r = 0;

	buf_puts(&document, "{\"calls\":[");
	for (size_t i = 0; i < a->n_events && r == 0; i++)
		r = run_event(inv, a, i, &document, status, e);
	buf_puts(&document, "]}\n");
	if (a->json && !document.failed && r != -ECANCELED) {
		int w = cli_explain_write(cli_write(STDOUT_FILENO, document.data, document.len, inv->signal_fd), e);

		r = r < 0 ? r : w;
	}
	if (document.failed && r == 0)
		r = err_oom(e);
	buf_done(&document);
	return r;
}

static int run_cells(struct run_args *a, struct cell_host *host, int signal_fd, struct err *e)
{
	struct run_log log;
	struct invoker inv = {.host = host, .spec = &a->spec, .policy = a->spec.policy, .signal_fd = signal_fd};
	struct snapshot_use use;
	int status = 0, r;

	snapshot_use_init(&use);
	log_init(&log, a->json_log);
	inv.sink = &log.sink;
	inv.observer = &log.observer;
	r = policy_load(a->spec.policy, &inv.base, &inv.runtime, e);
	if (r == 0)
		r = policy_check(a->spec.policy, &inv.runtime, host->facts.code.runtime, e);
	if (r == 0)
		r = snapshot_use(&use, &a->snapshot, &inv, e);
	if (r == 0)
		r = run_events(&inv, a, &status, e);
	invoke_done(&inv);
	snapshot_use_done(&use, &inv);
	if (r == 0 && inv.cancelled)
		r = err_set(e, ERR_CANCELLED, ECANCELED, "interrupted during shutdown");
	policy_unload(&inv.base, &inv.runtime);
	log_finish(&log, signal_fd);
	return r < 0 ? r : status;
}

static int run_with(struct run_args *a, struct err *e)
{
	AUTO_FD int signal_fd = FD_NONE;
	AUTO(code_close) struct cell_code code = {.fd = FD_NONE};
	struct cell_host host;
	struct sysinfo si;
	char runtime[512];
	int r;

	(void)sysinfo(&si);
	r = spec_check(&a->spec, (uint64_t)si.totalram * si.mem_unit, e);
	if (r < 0)
		return EXIT_USAGE;
	if (cli_find_runtime(runtime, sizeof runtime, e) < 0)
		return cli_exit_of(e);
	r = cli_open_code(&a->spec, runtime, &code, e);
	if (r != 0)
		return r;
	if (prepare_events(a, e) < 0)
		return EXIT_USAGE;
	r = signal_fd = cli_open_signals(e);
	if (r >= 0)
		r = cell_host_open(&a->spec, runtime, &host, e);
	if (r < 0)
		return cli_exit_of(e);
	cli_use_code(&host, &code);
	if (a->trace)
		host.trace = trace_make();
	r = run_cells(a, &host, signal_fd, e);
	if (a->trace && trace_write(host.trace, a->trace, e) < 0 && r == 0)
		r = -EIO;
	trace_free(host.trace);
	cell_host_close(&host);
	if (e->kind == ERR_CANCELLED)
		cli_die_of_signal(signal_fd);
	return r < 0 ? cli_exit_of(e) : r;
}

static int run_main(int argc, char **argv)
{
	struct run_args a = {0};
	struct err e = {0};
	int status = read_args(&a, argc, argv, &e) < 0 ? EXIT_USAGE : run_with(&a, &e);

	if (e.kind != ERR_NONE)
		cli_print_err(&e);
	if (status == EXIT_USAGE && argc == 1)
		(void)fprintf(stderr, "fsbox: hint: fsbox help run\n");
	args_done(&a);
	return status;
}

const struct command cmd_run = {
	.name = "run",
	.operands = "[options] TARGET [options]",
	.summary = "run a function in a cell of its own",
	.details =
		"TARGET is a shared object that defines fsbox_handler() (fsbox.h(3)). The answer goes to stdout; the\n"
		"function's output and the START, END and REPORT lines go to stderr.\n\n"
		"Exit status: 0 success; 1 the function failed; 124 timed out; 125 fsbox failed; 126 cannot execute;\n"
		"127 not found; 137 out of memory; 128+n ended by signal n; 2 bad usage.\n",
	.tables = {&spec_opts, &run_opts},
	.n_tables = 2,
	.main = run_main,
};
