#include "cell/outcome.h"

#include "base/clock.h"

#include <signal.h>
#include <stdio.h>

enum { EXIT_FAILED = 1, EXIT_TIMEOUT = 124, EXIT_SIGNAL = 128, EXIT_OOM = 137 };

void outcome_done(struct outcome *o)
{
	buf_done(&o->message);
	buf_done(&o->document);
	*o = (struct outcome){0};
}

static void set(struct outcome *o, enum call_status status, int exit_status, const char *type)
{
	o->status = status;
	o->exit_status = exit_status;
	o->message.len = 0;
	o->document.len = 0;
	(void)snprintf(o->type, sizeof o->type, "%s", type);
}

/* As Lambda's log names them (they are Go's names). */
static const char *signal_text(int sig, char *buf, size_t size)
{
	static const struct {
		int sig;
		const char *text;
	} names[] = {
		{SIGHUP, "hangup"},
		{SIGINT, "interrupt"},
		{SIGQUIT, "quit"},
		{SIGILL, "illegal instruction"},
		{SIGTRAP, "trace/breakpoint trap"},
		{SIGABRT, "aborted"},
		{SIGBUS, "bus error"},
		{SIGFPE, "floating point exception"},
		{SIGKILL, "killed"},
		{SIGUSR1, "user defined signal 1"},
		{SIGSEGV, "segmentation fault"},
		{SIGUSR2, "user defined signal 2"},
		{SIGPIPE, "broken pipe"},
		{SIGALRM, "alarm clock"},
		{SIGTERM, "terminated"},
		{SIGXCPU, "CPU time limit exceeded"},
		{SIGXFSZ, "file size limit exceeded"},
		{SIGSYS, "bad system call"},
	};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (names[i].sig == sig)
			return names[i].text;
	(void)snprintf(buf, size, "signal %d", sig);
	return buf;
}

static void exited(struct outcome *o, int status)
{
	set(o, CALL_FAILURE, EXIT_FAILED, "Runtime.ExitError");
	if (status == 0)
		buf_puts(&o->message, "Runtime exited without providing a reason");
	else
		buf_printf(&o->message, "Runtime exited with error: exit status %d", status);
}

static void signalled(struct outcome *o, int sig, const struct session *s, const char *policy)
{
	char buf[24];

	set(o, CALL_FAILURE, EXIT_SIGNAL + sig, "Runtime.ExitError");
	buf_printf(&o->message, "Runtime exited with error: signal: %s", signal_text(sig, buf, sizeof buf));
	if (sig == SIGSYS && s->fault_seen) {
		const char *name = filter_syscall_name(s->fault.nr);

		if (name)
			buf_printf(&o->message, " (policy '%s' refused %s)", policy, name);
		else
			buf_printf(&o->message, " (policy '%s' refused system call %d)", policy, s->fault.nr);
	}
}

static bool out_of_memory(struct session *s)
{
	struct cg_usage usage;
	struct err ignored = {0};

	return s->cell->has_cg && cg_usage(&s->cell->cg, &usage, &ignored) == 0 && usage.oom_kills > 0;
}

static void no_memory(struct outcome *o, const struct session *s)
{
	set(o, CALL_FAILURE, EXIT_OOM, "Runtime.OutOfMemory");
	buf_printf(&o->message, "Runtime exited with error: signal: killed (memory limit of %llu MB reached)",
		   (unsigned long long)(s->cell->spec->memory_bytes >> 20));
}

/* PID 1 ends with the status that follows from its account. If the two differ the account is not its own: something killed
 * it, and the bytes that look like one were the function's. */
static bool account_holds(const struct chan_exit *x, const siginfo_t *pid1)
{
	if (pid1->si_code != CLD_EXITED)
		return false;
	if (x->code == CLD_EXITED)
		return pid1->si_status == (x->status & 0xff);
	if (x->code == CLD_KILLED || x->code == CLD_DUMPED)
		return pid1->si_status == EXIT_SIGNAL + x->status;
	return x->code == 0 && pid1->si_status == 127;
}

/* PID 1 is gone: by its own account of the runtime if it could give one, else by what the kernel says of PID 1. */
static void ended(struct outcome *o, struct session *s, const char *policy)
{
	const struct chan_exit *x = &s->exit;

	s->exit_seen = s->exit_seen && account_holds(x, &s->cell->exit);
	if (out_of_memory(s)) {
		no_memory(o, s);
	} else if (s->exit_seen && x->code == CLD_EXITED) {
		exited(o, x->status);
	} else if (s->exit_seen && (x->code == CLD_KILLED || x->code == CLD_DUMPED)) {
		signalled(o, x->status, s, policy);
	} else if (s->exit_seen) {
		set(o, CALL_ERROR, 126, "Runtime.InvalidEntrypoint");
		buf_printf(&o->message, "the runtime could not be executed: %s", strerrordesc_np(x->status) ?: "?");
	} else if (s->cell->exit.si_code == CLD_EXITED) {
		exited(o, s->cell->exit.si_status);
	} else {
		signalled(o, s->cell->exit.si_status, s, policy);
	}
}

void outcome_timed_out(struct outcome *o, const struct cell_spec *spec)
{
	set(o, CALL_TIMEOUT, EXIT_TIMEOUT, "Sandbox.Timedout");
	buf_printf(&o->message, "Task timed out after %.2f seconds", (double)spec->timeout_ns / 1e9);
	o->fatal = true;
	o->log = true;
}

/* The ends that init and calls have in common. False when @ev is none of them. */
static bool common_end(struct outcome *o, enum session_event ev, struct session *s, const char *policy)
{
	o->fatal = true;
	o->log = true;
	switch (ev) {
	case SESSION_ENDED:
		ended(o, s, policy);
		return true;
	case SESSION_OOM:
		no_memory(o, s);
		return true;
	case SESSION_BROKEN:
		set(o, CALL_FAILURE, EXIT_FAILED, "Runtime.ProtocolError");
		buf_add(&o->message, s->error_message.data, s->error_message.len);
		return true;
	case SESSION_TOO_LARGE:
		set(o, CALL_FAILURE, EXIT_FAILED, "Function.ResponseSizeTooLarge");
		buf_printf(&o->message, "Response payload size exceeded maximum allowed payload size (%d bytes).",
			   CHAN_MAX_PAYLOAD);
		return true;
	case SESSION_DEADLINE:
	case SESSION_READY:
	case SESSION_INIT_ERROR:
	case SESSION_DONE:
	case SESSION_ERROR:
	case SESSION_SIGNAL:
	case SESSION_PARKED:
	case SESSION_RESTORED:
	case SESSION_DRAWN:
		break;
	}
	return false;
}

/* A report of the function in its own words. */
static void reported(struct outcome *o, const struct session *s, bool fatal)
{
	/* What the Runtime API's server could not start is what could not be executed. */
	set(o, CALL_FAILURE, strcmp(s->error_type, "Runtime.InvalidEntrypoint") == 0 ? 126 : EXIT_FAILED,
	    s->error_type[0] ? s->error_type : "Function.Unknown");
	buf_add(&o->message, s->error_message.data ? s->error_message.data : "", s->error_message.len);
	buf_add(&o->document, s->error_document.data ? s->error_document.data : "", s->error_document.len);
	o->plain = true;
	o->fatal = fatal;
	o->log = false;
}

void outcome_of_init(struct outcome *o, enum session_event ev, struct session *s, const char *policy)
{
	if (common_end(o, ev, s, policy))
		return;
	switch (ev) {
	case SESSION_READY:
	case SESSION_PARKED:
	case SESSION_RESTORED:
	case SESSION_DRAWN:
		set(o, CALL_SUCCESS, 0, "");
		o->fatal = o->log = false;
		break;
	case SESSION_INIT_ERROR:
		reported(o, s, true);
		break;
	default: /* the deadline; a call's end before there was a call is caught by the session */
		set(o, CALL_TIMEOUT, EXIT_TIMEOUT, "Sandbox.Timedout");
		buf_printf(&o->message, "init took longer than its %d seconds", INVOKE_INIT_MS / 1000);
		break;
	}
}

void outcome_of_restore(struct outcome *o, enum session_event ev, struct session *s, const char *policy)
{
	if (common_end(o, ev, s, policy))
		return;
	switch (ev) {
	case SESSION_RESTORED:
		set(o, CALL_SUCCESS, 0, "");
		o->fatal = o->log = false;
		break;
	case SESSION_INIT_ERROR:
		reported(o, s, true);
		break;
	default: /* the deadline */
		set(o, CALL_TIMEOUT, EXIT_TIMEOUT, "Runtime.RestoreHookUserTimeout");
		buf_printf(&o->message, "the hooks after the restore took longer than their %d seconds",
			   INVOKE_HOOKS_MS / 1000);
		break;
	}
}

void outcome_of_call(struct outcome *o, enum session_event ev, struct session *s, const struct cell_spec *spec,
		     uint64_t deadline_ns, const char *policy)
{
	if (common_end(o, ev, s, policy))
		return;
	if (clock_mono_ns() > deadline_ns && (ev == SESSION_DONE || ev == SESSION_ERROR))
		ev = SESSION_DEADLINE; /* an answer that came too late is none, whoever was late */
	switch (ev) {
	case SESSION_DONE:
		set(o, CALL_SUCCESS, 0, "");
		o->fatal = o->log = false;
		break;
	case SESSION_ERROR:
		reported(o, s, false);
		break;
	case SESSION_INIT_ERROR: /* the filter that starts after init was refused */
		reported(o, s, true);
		break;
	default: /* the deadline */
		outcome_timed_out(o, spec);
		break;
	}
}
