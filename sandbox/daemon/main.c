/* fsboxd: started by fsbox-spawn, with the socket to it and the one on which clients knock. */
#include "daemon/config.h"
#include "daemon/deploy.h"
#include "daemon/execs.h"
#include "daemon/frames.h"
#include "daemon/snapshots.h"
#include "daemon/streams.h"
#include "sys/sys.h"

#include "base/fd.h"
#include "base/opt.h"

#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>

enum { TURN_NS = 100000 }; /* it answers within some microseconds */
enum {
	EXIT_USAGE = 2,
	LOG_BYTES = 8 << 20,
	LOG_ENTRIES = 65536,
	ANSWERS = 16384,
	ANSWER_BYTES = 8 << 20,
	DRAIN_MS = 5000
};

static struct daemon the_daemon;
static struct watch signals;
static struct timer drain;
static int signal_fd = FD_NONE;

void daemon_complain(const struct err *e)
{
	(void)fprintf(stderr, "fsboxd: %s%s%s%s%s%s\n", e->where, e->where[0] ? ": " : "", e->msg,
		      e->hint[0] ? " (" : "", e->hint, e->hint[0] ? ")" : "");
}

void daemon_event(struct daemon *d, enum event_kind kind, const struct function *f, const struct unit *u,
		  const char *invocation, const char *status, const char *detail)
{
	const struct entry entry = {
		.time_ms = wall_ms(),
		.owner = f->owner,
		.kind = (uint8_t)kind,
		.function = f->name,
		.cell = u && u->id[0] ? u->id : NULL,
		.invocation = invocation,
		.status = status,
		.detail = detail && detail[0] ? detail : NULL,
	};

	(void)journal_add(&d->events, &entry);
	d->on_event(d);
}

/* ---- Clients ---- */

static void on_call(void *arg, struct call *c)
{
	struct daemon *d = arg;

	switch ((enum method)c->method->id) {
	case M_DESCRIBE:
		method_describe(d, c);
		break;
	case M_CAPACITY:
		method_capacity(d, c);
		break;
	case M_DEPLOY:
		method_deploy(d, c);
		break;
	case M_UNDEPLOY:
		method_undeploy(d, c);
		break;
	case M_SCALE:
		method_scale(d, c);
		break;
	case M_ACQUIRE:
		method_acquire(d, c);
		break;
	case M_RELEASE:
		method_release(d, c);
		break;
	case M_INVOKE:
		c->upgrade ? frames_begin(d, c) : method_invoke(d, c);
		break;
	case M_CANCEL:
		method_cancel(d, c);
		break;
	case M_PAUSE:
	case M_RESUME:
	case M_UPDATE:
	case M_KILL:
	case M_REMOVE:
	case M_INSPECT:
		method_about_cell(d, c);
		break;
	case M_SNAPSHOT:
		method_snapshot(d, c);
		break;
	case M_FORK:
		method_fork(d, c);
		break;
	case M_FUNCTIONS:
	case M_LIST:
	case M_STATS:
	case M_LOGS:
	case M_SUBSCRIBE:
		method_with_more(d, c);
		break;
	case M_EXEC:
		method_exec(d, c);
		break;
	}
}

static void on_client_gone(void *arg, struct call *c)
{
	struct daemon *d = arg;

	switch ((enum method)c->method->id) {
	case M_DEPLOY:
		deploy_client_gone(d, c);
		break;
	case M_INVOKE:
	case M_ACQUIRE:
		invocation_client_gone(d, c);
		break;
	case M_UPDATE:
		cell_client_gone(d, c);
		break;
	case M_SNAPSHOT:
		snapshot_client_gone(d, c);
		break;
	case M_FORK:
		fork_client_gone(d, c);
		break;
	case M_EXEC:
		exec_client_gone(d, c);
		break;
	case M_FUNCTIONS:
	case M_LIST:
	case M_STATS:
	case M_LOGS:
	case M_SUBSCRIBE:
		stream_client_gone(d, c);
		break;
	default: /* the others are answered before they return */
		break;
	}
}

static bool on_allowed(void *arg, const struct peer *p, const struct wire_method *m)
{
	const struct daemon *d = arg;

	return rights_method(peers_find(&d->peers, p->uid, p->gid, p->groups, p->n_groups), m->name);
}

static void on_drained(void *arg, struct call *c)
{
	if (c->method->id == M_LOGS || c->method->id == M_SUBSCRIBE)
		stream_drained(arg, c);
}

static int open_server(struct daemon *d, struct err *e)
{
	static const struct server_ops ops = {.call = on_call,
					      .gone = on_client_gone,
					      .allowed = on_allowed,
					      .drained = on_drained};
	static const struct wire_interface *const interfaces[] = {&sandbox_interface, NULL};
	const struct server_config config = {
		.ops = &ops,
		.arg = d,
		.interfaces = interfaces,
		.vendor = "fsbox",
		.product = "fsboxd",
		.version = FSBOX_VERSION,
		.url = "https://github.com/fsbox/fsbox",
		.max_message_bytes = MESSAGE_BYTES,
		.too_long = "org.fsbox.Sandbox.TooLarge",
		.max_queued = ANSWERS,
		.max_queued_bytes = ANSWER_BYTES,
	};

	return server_open(&d->server, &d->loop, SPAWN_FD_LISTEN, &config, e);
}

/* ---- fsbox-spawn ---- */

static void fail(struct daemon *d, const struct err *e)
{
	daemon_complain(e);
	d->failed = true;
	d->wrong = e->kind == ERR_SPEC;
	loop_stop(&d->loop);
}

/* Tried again, what is no directory of ours does not become one. A full disk may get room. */
static bool is_wrong_place(const struct err *e)
{
	return e->code == EACCES || e->code == EPERM || e->code == EROFS || e->code == ENOENT || e->code == ENOTDIR ||
	       e->code == EISDIR || e->code == ELOOP;
}

static int open_state(struct daemon *d, const char *dir, struct err *e)
{
	char path[560];
	int r;

	(void)snprintf(path, sizeof path, "%s/once", dir);
	r = once_open(&d->once, path, e);
	if (r == 0 && d->once.note[0])
		(void)fprintf(stderr, "fsboxd: %s\n", d->once.note);
	(void)snprintf(path, sizeof path, "%s/busy", dir);
	if (r == 0)
		r = config_open_busy(d, path, e);
	if (r < 0 && is_wrong_place(e)) {
		e->kind = ERR_SPEC;
		return err_hint(e, r, "--state: a directory that belongs to --user, or that does not exist yet");
	}
	(void)snprintf(path, sizeof path, "%s/functions.db", dir);
	return r == 0 ? deploy_open_store(d, path, e) : r;
}

static int begin_work(struct daemon *d, const struct spawn_hello *m, struct err *e)
{
	int r;

	if (d->config.memory_bytes == 0)
		d->config.memory_bytes = m->memory_bytes / 5 * 4;
	if (d->config.max_cells == 0 || d->config.max_cells > m->max_cells)
		d->config.max_cells = m->max_cells;
	if (d->config.max_cells > CELL_MAX_SLOTS)
		d->config.max_cells = CELL_MAX_SLOTS;
	r = config_load_policy(d, e);
	if (r < 0)
		return r;
	/* Where the look at a function's files unpacks archives; the environment is of whoever started fsbox-spawn. */
	if (setenv("XDG_STATE_HOME", m->state_dir, 1) < 0)
		return err_oom(e);
	return open_state(d, m->state_dir, e);
}

static void on_hello(void *arg, const struct spawn_hello *m)
{
	struct daemon *d = arg;
	struct err e = {0};

	d->run = m->run;
	d->privileged = m->flags & SPAWN_PRIVILEGED;
	d->limits = m->flags & SPAWN_LIMITS_WORK;
	d->can_snapshot = m->flags & SPAWN_ENGINE;
	if (!(m->flags & SPAWN_FREEZE_WORKS))
		d->config.no_freeze = true;
	d->n_cpus = m->n_cpus;
	d->last_unit = m->last_cell;
	d->last_function = m->last_function;
	(void)snprintf(d->runtime_dir, sizeof d->runtime_dir, "%s", m->runtime_dir);
	/* One for each life of fsbox-spawn: cells and leases last as long. */
	(void)snprintf(d->boot_id, sizeof d->boot_id, "%016llx", (unsigned long long)m->run);
	if (begin_work(d, m, &e) < 0)
		fail(d, &e);
}

/* Who has failed to start, for its policy or its disk, ends at the end of this turn: what fsbox-spawn has to hand over is
 * for the next one. */
static void on_function(void *arg, const struct spawn_function *m, const int *fds, size_t n_fds)
{
	struct daemon *d = arg;
	struct err e = {0};

	if (!d->failed && deploy_known(d, m, fds, n_fds, &e) < 0)
		fail(d, &e);
}

static void on_adopt(void *arg, const struct spawn_cell *m, int *fds, size_t n_fds)
{
	struct daemon *d = arg;

	if (!d->failed)
		unit_adopt(d, m, fds, n_fds);
}

static void on_adopted(void *arg)
{
	struct daemon *d = arg;
	struct err e = {0};

	if (d->failed)
		return;
	deploy_stored(d);
	if (open_server(d, &e) < 0)
		fail(d, &e);
	else
		(void)!link_number(d->link, SPAWN_READY, 0);
}

static void on_made(void *arg, const struct spawn_cell *m, int *fds, size_t n_fds)
{
	unit_made(arg, m, fds, n_fds);
}

static void on_failed(void *arg, const struct spawn_done *m)
{
	unit_failed(arg, m);
}

static void on_done(void *arg, const struct spawn_done *m)
{
	if (m->of == SPAWN_FUNCTION)
		deploy_done(arg, m);
	else if (m->of == SPAWN_LIMITS)
		cell_done(arg, m);
}

static void on_exited(void *arg, const struct spawn_exit *m)
{
	unit_exited(arg, m);
}

static void on_ended(void *arg, const struct spawn_exit *m)
{
	struct err e = {0};

	if (m->err.kind != ERR_NONE && err_adopt(&e, &m->err) < 0)
		daemon_complain(&e);
	unit_ended(arg, m);
}

static void on_opened(void *arg, const struct spawn_opened *m, int *fd)
{
	deploy_opened(arg, m, fd);
}

static void on_published(void *arg, const struct spawn_published *m)
{
	snapshot_published(arg, m);
}

static void on_exec_ended(void *arg, const struct spawn_exec_end *m)
{
	exec_ended(arg, m);
}

static void on_spawn_gone(void *arg, const struct err *why)
{
	struct daemon *d = arg;

	if (!d->stopping) {
		(void)fprintf(stderr, "fsboxd: fsbox-spawn is gone%s%s\n", why->msg[0] ? ": " : "", why->msg);
		d->failed = true;
	}
	loop_stop(&d->loop);
}

static int open_spawn(struct daemon *d, struct err *e)
{
	static const struct link_ops ops = {
		.hello = on_hello,
		.function = on_function,
		.adopt = on_adopt,
		.adopted = on_adopted,
		.made = on_made,
		.failed = on_failed,
		.done = on_done,
		.exited = on_exited,
		.ended = on_ended,
		.opened = on_opened,
		.published = on_published,
		.exec_ended = on_exec_ended,
		.gone = on_spawn_gone,
	};

	return link_open(&d->link, &d->loop, SPAWN_FD_PAIR, &ops, d, e);
}

/* ---- Signals ---- */

static void drained(void *arg)
{
	struct daemon *d = arg;

	loop_stop(&d->loop);
}

/* No new clients; what runs may end, for a while. fsbox-spawn ends the cells after us. */
static void stop(struct daemon *d)
{
	if (d->stopping) {
		loop_stop(&d->loop);
		return;
	}
	d->stopping = true;
	if (d->server)
		server_stop_accepting(d->server);
	drain.due = drained;
	drain.arg = d;
	if ((d->busy_cpus <= 0 && d->n_queued == 0) ||
	    loop_arm(&d->loop, &drain, clock_mono_ns() + DRAIN_MS * NS_PER_MS) < 0)
		loop_stop(&d->loop);
}

static void on_signal(void *arg, uint32_t events)
{
	struct daemon *d = arg;
	struct signalfd_siginfo si;
	struct err e = {0};

	(void)events;
	if (read(signal_fd, &si, sizeof si) != (ssize_t)sizeof si)
		return;
	if (si.ssi_signo != SIGHUP) {
		stop(d);
		return;
	}
	if (config_load_policy(d, &e) < 0)
		daemon_complain(&e);
}

static int open_signals(struct daemon *d, struct err *e)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR)
		return err_sys(e, errno, "signals");
	signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signal_fd < 0)
		return err_sys(e, errno, "signalfd");
	return loop_add(&d->loop, &signals, signal_fd, EPOLLIN, on_signal, d, e);
}

/* ---- The whole ---- */

/* A function, a cell or room has become free; while it stops, what waits may still run. */
static void on_room(struct daemon *d, struct function *f)
{
	invocation_dispatch(d, f);
	if (d->stopping && d->busy_cpus <= 0 && d->n_queued == 0)
		loop_stop(&d->loop);
}

static int run(struct daemon *d, struct err *e)
{
	struct stat pair, listener;
	int r;

	if (fstat(SPAWN_FD_PAIR, &pair) < 0 || fstat(SPAWN_FD_LISTEN, &listener) < 0 || !S_ISSOCK(pair.st_mode) ||
	    !S_ISSOCK(listener.st_mode))
		return err_hint(e, err_set(e, ERR_SPEC, 0, "fsboxd is started by fsbox-spawn"), "fsbox serve");
	r = loop_open(&d->loop, e);
	if (r == 0)
		r = cg_host_probe(&d->cg, e);
	if (r == 0)
		r = open_signals(d, e);
	if (r == 0)
		r = open_spawn(d, e);
	return r == 0 ? loop_run(&d->loop, e) : r;
}

int main(int argc, char **argv)
{
	static const struct opt_table *const tables[] = {&config_options};
	struct daemon *d = &the_daemon;
	struct err e = {0};
	int operands, r;

	/* Events and answers of megabytes go back to the kernel when they are freed. Left to itself malloc(3) learns from
	 * them to keep such in its heap, where one that lives holds what is below it. */
	(void)mallopt(M_MMAP_THRESHOLD, 4 << 20);
	(void)mallopt(M_TRIM_THRESHOLD, 32 << 20);
	sys_sched_short_turns(TURN_NS);
	d->config = (struct config){.keep_ns = 600 * NS_PER_S, .max_queued = 4096, .overcommit = 1};
	d->started_ns = clock_mono_ns();
	d->on_event = d->on_log = streams_wake;
	d->on_room = on_room;
	unit_ops = &invocation_unit_ops;
	invocation_ops = &answers_invocation_ops;
	journal_init(&d->events, 0, 0);
	journal_init(&d->logs, LOG_ENTRIES, LOG_BYTES);
	r = opt_parse(tables, 1, argc, argv, &d->config, &operands, &e);
	if (r == 0 && operands > 0)
		r = err_set(&e, ERR_SPEC, 0, "unexpected '%s'", argv[1]);
	if (r == 0)
		r = run(d, &e);
	if (r < 0) {
		daemon_complain(&e);
		return e.kind == ERR_SPEC ? EXIT_USAGE : EXIT_FAILURE;
	}
	store_close(&d->store);
	once_close(&d->once);
	/* With EXIT_USAGE at the first start fsbox-spawn does not try again. */
	return !d->failed ? EXIT_SUCCESS : d->wrong ? EXIT_USAGE : EXIT_FAILURE;
}
