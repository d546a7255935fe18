/* fsbox invoke: one call of a function that is deployed. */
#include "cli/payload.h"

#include "base/clock.h"
#include "base/fd.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>

struct invoke_args {
	struct client_args client; /* first */
	const char *event;         /* --event's argument, NULL: {} */
	const char *invocation, *trace_id;
	const char *deadline_ms; /* number, or NULL */
	char deadline[24];
	bool logs, stream;
};

static int set_deadline(void *args, const struct opt *o, const char *value, struct err *e)
{
	struct invoke_args *a = args;
	uint64_t ns;

	if (!parse_seconds(value, &ns) || ns < NS_PER_MS || ns > 960 * NS_PER_S)
		return err_set(e, ERR_SPEC, 0, "--%s: expected seconds (0.001 to 960, decimals allowed), got '%s'",
			       o->name, value);
	(void)snprintf(a->deadline, sizeof a->deadline, "%llu", (unsigned long long)(ns / NS_PER_MS));
	a->deadline_ms = a->deadline;
	return 0;
}

#define AT(field) offsetof(struct invoke_args, field)
/* clang-format off */
static const struct opt opts[] = {
	{ "event",      "JSON|@FILE|-", 0,        opt_set_text, AT(event),      "event for the function: text, a file, or stdin (default {})", 0 },
	{ "invocation", "ID",           0,        opt_set_text, AT(invocation), "name of the call; the same one again gets the same call's result and never a second run", 0 },
	{ "deadline",   "SECONDS",      0,        set_deadline,    0,              "time for all of it, waiting included, decimals allowed (default: the function's timeout and 60)", 0 },
	{ "logs",       NULL,           OPT_FLAG, opt_set_flag, AT(logs),       "print the end of the function's output, up to 4 KiB, on stderr", 0 },
	{ "stream",     NULL,           OPT_FLAG, opt_set_flag, AT(stream),     "print the answer in parts, as it is written", 0 },
	{ "trace-id",   "ID",           0,        opt_set_text, AT(trace_id),   "trace id that the function is told", 0 },
};
/* clang-format on */
static const struct opt_table invoke_opts = {opts, ARRAY_LEN(opts)};

/* ---- Asking ---- */

/* Before anything else: while we wait for stdin a signal must end us as it ends any program. */
static int read_event(const char *arg, char **ret_owned, const char **ret_data, size_t *ret_len, struct err *e)
{
	AUTO_FD int fd = FD_NONE;
	int r;

	if (arg[0] != '@' && strcmp(arg, "-") != 0) {
		*ret_data = arg;
		*ret_len = strlen(arg);
		return *ret_len <= SPEC_MAX_PAYLOAD
			       ? 0
			       : err_set(e, ERR_SPEC, EFBIG, "--event: over %d bytes", SPEC_MAX_PAYLOAD);
	}
	if (arg[0] == '@') {
		fd = open(arg + 1, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return err_set(e, ERR_SPEC, errno, "--event '%s': %s", arg, strerrordesc_np(errno));
	}
	r = cli_read_event(arg[0] == '@' ? fd : STDIN_FILENO, arg, ret_owned, ret_len, e);
	*ret_data = *ret_owned;
	return r;
}

static int ask(struct client *c, const struct invoke_args *a, const char *name, const char *event, size_t len,
	       struct err *e)
{
	AUTO(buf_done) struct buf params = {0}, payload = {0};
	AUTO_FD int fd = FD_NONE;
	int r = payload_make(event, len, &payload, &fd, e);

	if (r < 0)
		return r;
	params_text(&params, "function", name);
	params_text(&params, "invocation", a->invocation);
	params_raw(&params, "event", payload.data);
	params_raw(&params, "deadlineMs", a->deadline_ms);
	params_text(&params, "traceId", a->trace_id);
	params_raw(&params, "cancelOnClose", "true"); /* whoever interrupts us wants no more of it */
	params_raw(&params, "logs", a->logs ? "true" : NULL);
	/* Byte for byte, of any size, and nothing in it that has to be JSON to us. */
	params_raw(&params, "answerFd", "true");
	params_raw(&params, "stream", a->stream ? "true" : NULL);
	params_end(&params);
	return client_send(c, "Invoke", &params, a->stream, &fd, fd_valid(fd), e);
}

/* ---- The result ---- */

/* Everything of the answer that outlives it. */
struct outcome_seen {
	struct call_result result;
	struct buf id;    /* of the invocation */
	struct buf extra; /* members for the JSON document */
	struct buf notes; /* fields for the REPORT line */
	struct buf log;
	bool streamed; /* the answer has been printed already */
	bool mid_line; /* the output so far ends within a line */
};

static void seen_done(struct outcome_seen *s)
{
	call_result_done(&s->result);
	buf_done(&s->id);
	buf_done(&s->extra);
	buf_done(&s->notes);
	buf_done(&s->log);
}

/* What Lambda's message of a process that was killed says, which are Go's names. */
static int signal_named(const char *name)
{
	static const struct {
		const char *name;
		int sig;
	} names[] = {
		{"hangup", SIGHUP},
		{"interrupt", SIGINT},
		{"quit", SIGQUIT},
		{"illegal instruction", SIGILL},
		{"trace/breakpoint trap", SIGTRAP},
		{"aborted", SIGABRT},
		{"bus error", SIGBUS},
		{"floating point exception", SIGFPE},
		{"killed", SIGKILL},
		{"user defined signal 1", SIGUSR1},
		{"segmentation fault", SIGSEGV},
		{"user defined signal 2", SIGUSR2},
		{"broken pipe", SIGPIPE},
		{"alarm clock", SIGALRM},
		{"terminated", SIGTERM},
		{"CPU time limit exceeded", SIGXCPU},
		{"file size limit exceeded", SIGXFSZ},
		{"bad system call", SIGSYS},
	};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (str_starts(name, names[i].name))
			return names[i].sig;
	return 0;
}

/* The table of `fsbox run`. */
static int exit_status_of(const struct call_result *r)
{
	static const char killed[] = "Runtime exited with error: signal: "; /* behind "RequestId: … Error: " */
	const char *message = strstr(r->error_message.data ? r->error_message.data : "", killed);

	if (r->status == CALL_SUCCESS)
		return 0;
	if (r->status == CALL_TIMEOUT)
		return 124;
	if (strcmp(r->error_type, "Runtime.InvalidEntrypoint") == 0)
		return EXIT_CANNOT_EXECUTE;
	if (r->status == CALL_ERROR)
		return EXIT_FSBOX;
	if (strcmp(r->error_type, "Runtime.OutOfMemory") == 0)
		return 137;
	if (strcmp(r->error_type, "Runtime.ExitError") == 0 && message) {
		int sig = signal_named(message + strlen(killed));

		return sig > 0 ? 128 + sig : 1;
	}
	return 1;
}

static int take_status(struct call_result *r, const struct json *p, struct err *e)
{
	static const enum call_status all[] = {CALL_SUCCESS, CALL_FAILURE, CALL_TIMEOUT, CALL_ERROR};
	const char *status = client_text(p, "status"), *text;

	for (size_t i = 0; status && i < ARRAY_LEN(all); i++)
		if (strcmp(call_status_name(all[i]), status) == 0) {
			r->status = all[i];
			text = client_text(p, "errorType");
			(void)snprintf(r->error_type, sizeof r->error_type, "%s", text ? text : "");
			text = client_text(p, "errorMessage");
			buf_puts(&r->error_message, text ? text : "");
			r->exit_status = exit_status_of(r);
			/* As far as can be seen from here: what the platform found, and not the function itself. */
			r->ended_cell = str_starts(r->error_type, "Runtime.") || str_starts(r->error_type, "Sandbox.");
			return 0;
		}
	return client_malformed(e, "it has no status");
}

static uint64_t count(const struct json *object, const char *key, bool *ret_there)
{
	int64_t v = 0;
	bool there = client_int(object, key, &v) && v >= 0;

	if (ret_there)
		*ret_there = there;
	return there ? (uint64_t)v : 0;
}

static void take_usage(struct outcome_seen *s, const struct json *p)
{
	static const struct {
		const char *key, *name;
	} phases[] = {{"queueUs", "Queue"}, {"buildUs", "Build"}, {"thawUs", "Thaw"}};
	const struct json *usage = client_object(p, "usage"), *times = client_object(p, "phases");
	const char *start = client_text(p, "startKind");
	struct call_result *r = &s->result;

	r->duration_ns = count(usage, "durationUs", NULL) * 1000;
	r->billed_ms = count(usage, "billedMs", NULL);
	r->memory_mb = count(usage, "memoryMb", NULL);
	r->max_memory_mb = count(usage, "maxMemoryMb", &r->has_memory);
	r->init_ns = count(times, "initUs", &r->has_init) * 1000;
	r->restore_ns = count(times, "restoreUs", &r->has_restore) * 1000;
	if (start)
		buf_printf(&s->notes, "Start: %s\t", start);
	for (size_t i = 0; i < ARRAY_LEN(phases); i++) {
		bool there;
		uint64_t us = count(times, phases[i].key, &there);

		if (there)
			buf_printf(&s->notes, "%s Duration: %.2f ms\t", phases[i].name, (double)us / 1e3);
	}
}

/* What the document of `fsbox run --json` does not have. */
static void take_extra(struct outcome_seen *s, const struct json *p)
{
	static const char *const texts[] = {"cell", "startKind", "log"};
	const struct json *phases = client_object(p, "phases");

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		const char *text = client_text(p, texts[i]);

		if (!text)
			continue;
		buf_printf(&s->extra, ",\"%s\":", texts[i]);
		json_add_string(&s->extra, text, strlen(text));
	}
	if (phases) {
		buf_puts(&s->extra, ",\"phases\":");
		json_dump_to(&s->extra, phases);
	}
}

static int take_result(struct outcome_seen *s, const struct client_reply *reply, struct err *e)
{
	const struct json *p = reply->params, *payload = client_object(p, "payload");
	const char *id = client_text(p, "invocation"), *log = client_text(p, "log");
	struct call_result *r = &s->result;
	int status = take_status(r, p, e);

	if (status < 0)
		return status;
	if (!id)
		return client_malformed(e, "it has no invocation");
	buf_puts(&s->id, id);
	buf_puts(&s->log, log ? log : "");
	take_usage(s, p);
	take_extra(s, p);
	if (r->status == CALL_SUCCESS && s->streamed)
		return 0; /* its parts have come */
	if (payload)
		status = payload_read(payload, reply, r->status == CALL_SUCCESS ? &r->response : &r->error_document, e);
	else if (r->status == CALL_SUCCESS)
		return client_malformed(e, "it has no payload");
	return status;
}

/* ---- Output ---- */

static int print_log(struct client *c, struct outcome_seen *s, const char *text, size_t len)
{
	if (len > 0)
		s->mid_line = text[len - 1] != '\n';
	return cli_write(STDERR_FILENO, text, len, c->signal_fd);
}

/* A part of a streamed call. With --json they are collected for the document. */
static int take_part(struct client *c, const struct invoke_args *a, struct outcome_seen *s,
		     const struct client_reply *reply, const char *kind, struct err *e)
{
	const char *log = client_text(reply->params, "log");
	const struct json *payload = client_object(reply->params, "payload");
	struct buf *response = &s->result.response;
	int r = 0;

	if (strcmp(kind, "log") == 0 && log)
		(void)!print_log(c, s, log, strlen(log)); /* nobody reads stderr: the call goes on */
	if (strcmp(kind, "data") != 0 || !payload)
		return 0;
	s->streamed = true;
	r = payload_read(payload, reply, response, e);
	return r < 0 || a->client.json ? r : client_print(c, response, e);
}

static int wait_result(struct client *c, const struct invoke_args *a, struct outcome_seen *s, struct err *e)
{
	for (;;) {
		struct client_reply reply;
		int r = client_receive(c, &reply, e);
		const char *kind = r == 0 ? client_text(reply.params, "kind") : NULL;
		bool more = r == 0 && reply.continues;

		if (r == 0 && !kind)
			r = client_malformed(e, "it has no kind");
		if (r == 0 && strcmp(kind, "result") == 0)
			r = more ? client_malformed(e, "more follows the result") : take_result(s, &reply, e);
		else if (r == 0)
			r = more ? take_part(c, a, s, &reply, kind, e)
				 : client_malformed(e, "it ends without a result");
		client_reply_done(&reply);
		if (r < 0 || !more)
			return r;
	}
}

static int report(struct client *c, struct outcome_seen *s)
{
	AUTO(buf_done) struct buf b = {0};

	if (s->log.len > 0)
		(void)!print_log(c, s, s->log.data, s->log.len);
	if (s->mid_line)
		buf_puts(&b, "\n");
	log_report_fields(&b, s->id.data, &s->result);
	buf_printf(&b, "%s\n", s->notes.data ? s->notes.data : "");
	return b.failed ? -ENOMEM : cli_write(STDERR_FILENO, b.data, b.len, c->signal_fd);
}

static int print_result(struct client *c, const struct invoke_args *a, struct outcome_seen *s, struct err *e)
{
	AUTO(buf_done) struct buf b = {0};
	const bool newline = isatty(STDOUT_FILENO);

	if (s->id.failed || s->log.failed || s->notes.failed || s->extra.failed || s->result.error_message.failed)
		return err_oom(e);
	(void)!report(c, s);
	if (a->client.json) {
		cli_document_call(&b, s->id.data, &s->result, s->extra.data);
		buf_puts(&b, "\n");
		return client_print(c, &b, e);
	}
	/* A document of what went wrong begins on a line of its own. */
	if (s->streamed && (newline || s->result.status != CALL_SUCCESS))
		buf_puts(&b, "\n");
	if (s->streamed) {
		int r = client_print(c, &b, e);

		if (r < 0 || s->result.status == CALL_SUCCESS)
			return r;
	}
	return cli_explain_write(cli_print_answer(&s->result, newline, c->signal_fd), e);
}

/* ---- The command ---- */

static int call(struct client *c, const struct invoke_args *a, const char *name, const char *event, size_t len,
		struct err *e)
{
	AUTO(seen_done) struct outcome_seen s = {0};
	int r = client_open(c, a->client.socket, e);

	if (r == 0)
		r = c->signal_fd = cli_open_signals(e);
	if (r >= 0)
		r = ask(c, a, name, event, len, e);
	if (r == 0)
		r = wait_result(c, a, &s, e);
	if (r == 0)
		r = print_result(c, a, &s, e);
	return r < 0 && r != -EPIPE ? r : s.result.exit_status;
}

/* Where an error stands in the table of exit statuses. */
static int exit_of(const struct err *e)
{
	switch (e->kind) {
	case ERR_NOT_FOUND:
		return str_starts(e->msg, "there is no function") ? EXIT_NOT_FOUND : EXIT_FSBOX;
	case ERR_DEADLINE:
		return 124;
	case ERR_SPEC:
		return EXIT_USAGE;
	default:
		return EXIT_FSBOX;
	}
}

static int invoke_main(int argc, char **argv)
{
	struct invoke_args a = {0};
	struct client c = {.fd = FD_NONE, .signal_fd = FD_NONE};
	struct err e = {0};
	AUTO_FREE char *owned = NULL;
	const char *event = NULL;
	size_t len = 0;
	int operands, r = opt_parse(cmd_invoke.tables, cmd_invoke.n_tables, argc, argv, &a, &operands, &e);

	if (r == 0 && operands != 1)
		r = err_set(&e, ERR_SPEC, 0, "usage: fsbox %s %s", cmd_invoke.name, cmd_invoke.operands);
	if (r == 0)
		r = read_event(a.event ? a.event : "{}", &owned, &event, &len, &e);
	if (r == 0)
		r = call(&c, &a, argv[1], event, len, &e);
	client_end(&c, &e);
	return r < 0 ? exit_of(&e) : r;
}

const struct command cmd_invoke = {
	.name = "invoke",
	.operands = "[options] NAME",
	.summary = "call a function that is deployed",
	.details =
		"The answer goes to stdout; the REPORT line, and with --logs the end of the function's output, to\n"
		"stderr. An interrupt cancels the call.\n\n"
		"Exit status: as of `fsbox run`: 0 success; 1 the function failed; 124 timed out, or the deadline passed;\n"
		"125 fsbox or fsboxd failed; 126 cannot execute; 127 no such function; 137 out of memory; 128+n ended by\n"
		"signal n; 2 bad usage.\n",
	.tables = {&client_opts, &invoke_opts},
	.n_tables = 2,
	.group = GROUP_DAEMON,
	.main = invoke_main,
};
