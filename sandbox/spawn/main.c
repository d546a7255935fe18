/* fsbox-spawn: starts fsboxd and does for it what needs rights. See spawn.h. */
#include "spawn/spawn.h"

#include "base/clock.h"
#include "base/str.h"

#include <signal.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/sysinfo.h>

enum { EXIT_FAILED = 1, EXIT_USAGE = 2 };

void say(const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	(void)fprintf(stderr, "fsbox-spawn: %s\n", text);
}

void say_err(const char *doing, const struct err *e)
{
	say("%s: %s%s%s%s%s%s%s", doing, e->msg, e->stage[0] ? " (stage " : "", e->stage, e->stage[0] ? ")" : "",
	    e->hint[0] ? " (" : "", e->hint, e->hint[0] ? ")" : "");
}

/* ---- Options: numbers and paths, because whoever starts us has resolved the names ---- */

static int set_number(void *args, const struct opt *o, const char *value, struct err *e)
{
	uint64_t v;

	if (!parse_u64(value, 0, UINT32_MAX - 1, &v))
		return err_set(e, ERR_SPEC, 0, "--%s: expected a number, got '%s'", o->name, value);
	memcpy((char *)args + o->offset, &v, sizeof v);
	return 0;
}

static int set_uid(void *args, const struct opt *o, const char *value, struct err *e)
{
	((struct spawn_options *)args)->has_uid = true;
	return set_number(args, o, value, e);
}

static int set_gid(void *args, const struct opt *o, const char *value, struct err *e)
{
	((struct spawn_options *)args)->has_gid = true;
	return set_number(args, o, value, e);
}

static int set_socket_gid(void *args, const struct opt *o, const char *value, struct err *e)
{
	((struct spawn_options *)args)->has_socket_gid = true;
	return set_number(args, o, value, e);
}

static int set_mode(void *args, const struct opt *o, const char *value, struct err *e)
{
	uint64_t mode = 0;

	for (const char *p = value; *p; p++) {
		if (*p < '0' || *p > '7' || mode > 077)
			return err_set(e, ERR_SPEC, 0, "--%s: expected a mode such as 0660, got '%s'", o->name, value);
		mode = mode * 8 + (uint64_t)(*p - '0');
	}
	((struct spawn_options *)args)->mode = mode;
	return 0;
}

#define AT(field) offsetof(struct spawn_options, field)
/* clang-format off */
static const struct opt opts[] = {
	{ "cgroup-parent", "PATH", 0,        opt_set_text,   AT(cgroup_parent), "cgroup below which cells are made", 0 },
	{ "daemon",        "FILE", 0,        opt_set_text,   AT(daemon),        "fsboxd", 0 },
	{ "gid",           "N",    0,        set_gid,        AT(gid),           "its group", 0 },
	{ "max-cells",     "N",    0,        set_number,     AT(max_cells),     "cells at a time", 0 },
	{ "no-limits",     NULL,   OPT_FLAG, opt_set_flag, AT(no_limits), "cells without cgroups", 0 },
	{ "publisher",     "FILE", 0,        opt_set_text,   AT(publisher),     "fsbox-publish; without there are no snapshots", 0 },
	{ "runtime",       "DIR",  0,        opt_set_text,   AT(runtime),       "directory with init and the runtimes", 0 },
	{ "socket",        "PATH", 0,        opt_set_text,   AT(socket),        "where clients knock", 0 },
	{ "socket-gid",    "N",    0,        set_socket_gid, AT(socket_gid),    "group of the socket", 0 },
	{ "socket-mode",   "MODE", 0,        set_mode,       AT(mode),          "its mode (0660)", 0 },
	{ "state",         "DIR",  0,        opt_set_text,   AT(state),         "directory of fsboxd's own", 0 },
	{ "uid",           "N",    0,        set_uid,        AT(uid),           "the user fsboxd runs as", 0 },
};
/* clang-format on */
static const struct opt_table table = {opts, ARRAY_LEN(opts)};

/* Behind "--" stand fsboxd's own arguments. */
static int read_options(struct spawn_options *o, int argc, char **argv, struct err *e)
{
	const struct opt_table *const tables[] = {&table};
	int own = 1, operands, r;

	*o = (struct spawn_options){.mode = 0660};
	while (own < argc && strcmp(argv[own], "--") != 0)
		own++;
	if (own < argc) {
		o->daemon_args = argv + own + 1;
		o->n_daemon_args = argc - own - 1;
	}
	r = opt_parse(tables, 1, own, argv, o, &operands, e);
	if (r < 0)
		return r;
	if (operands > 0)
		return err_set(e, ERR_SPEC, 0, "no operand expected, got '%s'", argv[1]);
	if (!o->socket || !o->runtime || !o->daemon || !o->state || !o->has_uid || !o->has_gid)
		return err_set(e, ERR_SPEC, 0, "--socket, --runtime, --daemon, --state, --uid and --gid are needed");
	if (geteuid() == 0 && (o->uid == 0 || o->gid == 0))
		return err_set(e, ERR_SPEC, 0, "--uid and --gid: fsboxd does not run as root");
	if (geteuid() != 0 && (o->uid != geteuid() || o->gid != getegid()))
		return err_set(e, ERR_SPEC, 0, "--uid and --gid: only root can start fsboxd as another user");
	return 0;
}

/* ---- The end ---- */

static void stop_now(void *arg)
{
	struct spawn *s = arg;

	if (fd_valid(s->pidfd)) {
		say("fsboxd (pid %d) does not end; it is killed", s->pid);
		daemon_kill(s, SIGKILL);
	} else { /* the cells do not go away: those that are left stand in the table for the next start */
		loop_stop(&s->loop);
	}
}

void spawn_check_stopped(struct spawn *s)
{
	if (!s->stopping || fd_valid(s->pidfd))
		return;
	for (size_t i = 0; i < s->n_cells; i++)
		if (s->cells[i]->state != KEPT_LINGERING)
			return;
	if (s->publishing.number)
		return;
	loop_stop(&s->loop);
}

static void arm_end(struct spawn *s)
{
	s->end_timer = (struct timer){.due = stop_now, .arg = s, .place = s->end_timer.place};
	if (loop_arm(&s->loop, &s->end_timer, clock_mono_ns() + END_WAIT_MS * NS_PER_MS) < 0)
		stop_now(s);
}

void spawn_stop(struct spawn *s)
{
	if (s->stopping) { /* asked twice: not in good order, but now */
		daemon_kill(s, SIGKILL);
		return;
	}
	s->stopping = true;
	notify_stopping(s);
	loop_disarm(&s->loop, &s->restart);
	arm_end(s);
	publish_stop(s);
	if (fd_valid(s->pidfd)) {
		daemon_kill(s, SIGTERM);
	} else {
		cells_end_all(s);
		spawn_check_stopped(s);
	}
}

static void signal_ready(void *arg, uint32_t events)
{
	struct spawn *s = arg;
	struct signalfd_siginfo si;

	(void)events;
	while (read(s->signal_fd, &si, sizeof si) == (ssize_t)sizeof si) {
		if (si.ssi_signo == SIGHUP)
			daemon_kill(s, SIGHUP);
		else
			spawn_stop(s);
	}
}

/* ---- What the dead left ---- */

/* Children of a fsbox-spawn that was killed hold its place in the table of cells until they are gone, which may be
 * after our start; a `fsbox run` may be killed at any time. */
static void sweep_due(void *arg)
{
	static const uint64_t pauses_ms[] = {250, 1000, 5000, 60000};
	struct spawn *s = arg;
	struct err e = {0};

	if (s->sweeps > 0)
		(void)cell_host_sweep(&s->host, &e); /* what it cannot remove stays for the next one */
	s->sweep = (struct timer){.due = sweep_due, .arg = s, .place = s->sweep.place};
	if (loop_arm(&s->loop, &s->sweep, clock_mono_ns() + pauses_ms[s->sweeps] * NS_PER_MS) < 0)
		say("out of memory: the dead are not cleaned up after");
	if (s->sweeps < ARRAY_LEN(pauses_ms) - 1)
		s->sweeps++;
}

void spawn_sweep(struct spawn *s)
{
	s->sweeps = 0;
	sweep_due(s);
}

/* ---- The beginning ---- */

static int open_signals(struct spawn *s, struct err *e)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return err_sys(e, errno, "blocking signals");
	s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (s->signal_fd < 0)
		return err_sys(e, errno, "signalfd");
	return loop_add(&s->loop, &s->signals, s->signal_fd, EPOLLIN, signal_ready, s, e);
}

static void raise_files(struct spawn *s)
{
	struct rlimit files = {.rlim_cur = 256};

	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
		files.rlim_cur = files.rlim_max;
		if (setrlimit(RLIMIT_NOFILE, &files) < 0)
			(void)getrlimit(RLIMIT_NOFILE, &files);
	}
	s->fd_limit = files.rlim_cur;
}

static int open_host(struct spawn *s, struct err *e)
{
	const struct cell_spec spec = {.no_limits = s->opt.no_limits, .cgroup_parent = s->opt.cgroup_parent};
	struct err none = {0};
	struct sysinfo si;
	int r = cell_host_open(&spec, s->opt.runtime, &s->host, e);

	if (r < 0)
		return r;
	(void)sysinfo(&si);
	s->memory_bytes = (uint64_t)si.totalram * si.mem_unit;
	s->limits = s->host.limits;
	s->has_engine = s->host.facts.privileged && snap_engine_find(s->opt.runtime, &s->engine, &none) == 0;
	s->max_cells = s->host.n_ranges;
	if (s->opt.max_cells > 0 && s->opt.max_cells < s->max_cells)
		s->max_cells = (unsigned)s->opt.max_cells;
	s->started_ns = clock_mono_ns();
	nets_open(s);
	return getrandom(&s->run, sizeof s->run, 0) == (ssize_t)sizeof s->run ? 0 : err_sys(e, errno, "getrandom");
}

static int run(struct spawn *s, struct err *e)
{
	struct err none = {0};
	int r;

	raise_files(s);
	notify_open(s);
	s->in = calloc(1, sizeof *s->in);
	r = s->in ? loop_open(&s->loop, e) : err_oom(e);
	if (r == 0)
		r = open_signals(s, e);
	if (r == 0)
		r = open_host(s, e);
	if (r < 0)
		return r;
	r = listen_open(s, e);
	if (r == 0) {
		spawn_sweep(s);
		daemon_start(s);
		r = loop_run(&s->loop, e);
	}
	nets_stop(s);
	daemon_done(s);
	functions_done(s);
	(void)cell_host_sweep(&s->host, &none); /* of a fsbox-publish that was killed */
	listen_close(s);
	cell_host_close(&s->host);
	return r;
}

int main(int argc, char **argv)
{
	static struct spawn s = {
		.listener = FD_NONE, .notify = FD_NONE, .signal_fd = FD_NONE, .pidfd = FD_NONE, .pair = FD_NONE};
	struct err e = {0};
	int r;

	if (fd_fill_stdio() < 0)
		return EXIT_FAILED;
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGXFSZ, SIG_IGN);
	/* Ignored, it would let children vanish unseen: wait(2), NOTES. */
	(void)signal(SIGCHLD, SIG_DFL);
	s.last = &s.first;
	s.args = argv[0];
	s.args_len = (size_t)(argv[argc - 1] - argv[0]) + strlen(argv[argc - 1]) + 1;
	r = read_options(&s.opt, argc, argv, &e);
	if (r < 0) {
		say_err("usage", &e);
		return EXIT_USAGE;
	}
	r = run(&s, &e);
	if (r < 0)
		say_err("ending", &e);
	return r < 0 ? EXIT_FAILED : s.status;
}
