/* fsbox-publish: finds or makes the snapshot of one function, for fsbox-spawn, which reads no manifests. With its rights,
 * started by it for each, with one socket as descriptor 3: there come a PUBLISH and the FUNCTION, and there goes the IMAGE
 * (wire/spawn.h). It trusts them as little as fsbox-spawn does. SIGTERM and SIGINT end it in good order. */
#include "base/clock.h"
#include "base/fd.h"
#include "cell/cell.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>

enum {
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
	SOCKET = 3,
	WAIT_MS = 10000,
	/* Bounds for all users together: docs/daemon.md, "Snapshots". */
	READ_MB = 4096,   /* of a function's files */
	STORE_MB = 16384, /* that the store may keep */
	STORE_DAYS = 14,  /* since the last use; as fsbox snapshot gc */
	DAY_S = 24 * 3600,
};

struct options {
	const char *runtime, *cgroup_parent;
	uint64_t memory_bytes;
	bool no_limits;
};

struct job {
	struct options opt;
	struct cell_host host;
	struct cell_function f;
	struct filter after_init;
	struct snap_engine engine;
	struct snap_store store;
	struct snap_reading reading;
	struct snap_key key;
	struct snap snap;
	bool made;
	int signal_fd, log;
	uint64_t number;
};

/* ---- The function's output: as much as is read, the rest is lost ---- */

static void sink_put(void *arg, int stream, const char *data, size_t len)
{
	const struct job *j = arg;

	(void)stream;
	(void)!write(j->log, data, len); /* does not block */
}

/* ---- Taking the job ---- */

static int await(int signal_fd, struct err *e)
{
	struct pollfd p[] = {{.fd = SOCKET, .events = POLLIN}, {.fd = signal_fd, .events = POLLIN}};
	int n;

	do
		n = poll(p, ARRAY_LEN(p), WAIT_MS);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return err_set(e, ERR_SYSTEM, ETIMEDOUT, "fsbox-spawn says nothing");
	return p[1].revents ? err_set(e, ERR_CANCELLED, ECANCELED, "interrupted") : 0;
}

static int receive(struct job *j, struct spawn_datagram *d, enum spawn_word word, struct err *e)
{
	int r = await(j->signal_fd, e);

	if (r == 0)
		r = spawn_receive(SOCKET, d, SPAWN_TO_SPAWN, e);
	if (r < 0)
		return r;
	return r == 1 && d->head.word == (uint32_t)word
		       ? 0
		       : err_set(e, ERR_BUG, EPROTO, "fsbox-spawn says something else");
}

static int take_publish(struct job *j, struct spawn_datagram *d, struct err *e)
{
	int r = receive(j, d, SPAWN_PUBLISH, e);
	struct stat st;

	if (r < 0)
		return r;
	j->number = d->number.number;
	j->log = take_fd(&d->fds[0]);
	if (fstat(j->log, &st) < 0 || !S_ISFIFO(st.st_mode))
		return err_set(e, ERR_SPEC, EINVAL, "what came for a function's output is no pipe");
	if (fcntl(j->log, F_SETFL, O_NONBLOCK) < 0)
		return err_sys(e, errno, "the pipe for a function's output");
	return d->n_fds > 1 ? cell_filter_take(d->fds[1], &j->after_init, e) : 0;
}

static int open_host(struct job *j, struct err *e)
{
	const struct cell_spec spec = {.no_limits = j->opt.no_limits, .cgroup_parent = j->opt.cgroup_parent};

	return cell_host_open(&spec, j->opt.runtime, &j->host, e);
}

/* ---- Doing it ---- */

static int find_or_make(struct job *j, struct publisher *p, struct err *e)
{
	char reason[256] = "";
	struct err damaged = {0};
	int r = snap_find(&j->store, &j->key, &j->snap, reason, sizeof reason, &damaged);

	if (r == 1)
		return 0;
	if (r < 0 && damaged.kind != ERR_SNAPSHOT_MISMATCH) /* which is replaced */
		return err_adopt(e, &damaged);
	r = publish(p, &j->snap, e);
	j->made = r == 0;
	return r;
}

/* Nobody tidies up after users who deploy again and again. What is in use stays. */
static void bound_store(const struct job *j)
{
	struct err e = {0};

	if (j->made &&
	    snap_gc(&j->store, (uint64_t)STORE_DAYS * DAY_S * NS_PER_S, (uint64_t)STORE_MB << 20, NULL, NULL, &e) < 0)
		(void)fprintf(stderr, "fsbox-publish: removing old snapshots: %s\n", e.msg);
}

static int work(struct job *j, struct publisher *p, struct err *e)
{
	const struct session_sink sink = session_sink_to(sink_put, j);
	struct cell_function *f = &j->f;
	int r = publish_check(&f->host, &f->spec, e);

	if (r == 0)
		r = snap_engine_find(j->opt.runtime, &j->engine, e);
	if (r == 0)
		r = snap_store_open(NULL, true, &j->store, e);
	if (r < 0)
		return r;
	publish_use_engine(&f->host, &j->engine);
	j->reading =
		(struct snap_reading){.bytes = (uint64_t)READ_MB << 20, .signal_fd = j->signal_fd, .public_only = true};
	j->key.reading = &j->reading;
	r = publish_key(&j->key, &j->engine, &f->host, &f->spec, &f->filter, &j->after_init, e);
	if (r < 0)
		return r;
	*p = (struct publisher){
		.host = &f->host,
		.spec = &f->spec,
		.base = &f->filter,
		.policy = f->spec.policy,
		.sink = &sink,
		.store = &j->store,
		.key = &j->key,
		.signal_fd = j->signal_fd,
	};
	r = find_or_make(j, p, e);
	publish_keep_kdat(&f->host);
	return r;
}

/* ---- The answer ---- */

static int answer(const struct job *j, const struct publisher *p, const struct err *why)
{
	const struct snap_manifest *from = &j->snap.m;
	const int fds[] = {j->snap.dir, j->snap.images};
	struct spawn_image m;

	spawn_begin(&m, SPAWN_IMAGE, sizeof m);
	spawn_begin(&m.told, SPAWN_PUBLISHED, sizeof m.told);
	m.told.number = j->number ? j->number : 1;
	m.told.err = *why;
	m.told.init_ns = p->init_ns;
	(void)snprintf(m.told.error_type, sizeof m.told.error_type, "%s", p->error_type);
	if (why->kind != ERR_NONE)
		return spawn_send(SOCKET, &m, NULL, 0);
	m.max_pid = from->max_pid;
	m.boottime_ns = from->taken.boottime_ns;
	m.told.page_bytes = from->page_bytes;
	m.told.features = from->features;
	(void)snprintf(m.told.id, sizeof m.told.id, "%s", from->id);
	memcpy(m.pipes, from->pipes, sizeof m.pipes);
	return spawn_send(SOCKET, &m, fds, ARRAY_LEN(fds));
}

/* ---- Options ---- */

static int set_bytes(void *args, const struct opt *o, const char *value, struct err *e)
{
	return parse_u64(value, 1, UINT64_MAX, &((struct options *)args)->memory_bytes)
		       ? 0
		       : err_set(e, ERR_SPEC, 0, "--%s: expected a number of bytes, got '%s'", o->name, value);
}

#define AT(field) offsetof(struct options, field)
/* clang-format off */
static const struct opt opts[] = {
	{ "cgroup-parent", "PATH",  0,        opt_set_text,  AT(cgroup_parent), "cgroup below which cells are made", 0 },
	{ "memory",        "BYTES", 0,        set_bytes,     0,                 "the most that a function may have", 0 },
	{ "no-limits",     NULL,    OPT_FLAG, opt_set_flag, AT(no_limits), "cells without cgroups", 0 },
	{ "runtime",       "DIR",   0,        opt_set_text,  AT(runtime),       "directory with init and the runtimes", 0 },
};
/* clang-format on */
static const struct opt_table table = {opts, ARRAY_LEN(opts)};

static int open_signals(struct err *e)
{
	sigset_t set;
	int fd;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return err_sys(e, errno, "blocking signals");
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? err_sys(e, errno, "signalfd") : fd;
}

static int run(struct job *j, struct spawn_datagram *d, struct publisher *p, struct err *e)
{
	int r = j->signal_fd = open_signals(e);

	if (r >= 0)
		r = take_publish(j, d, e);
	if (r >= 0)
		r = receive(j, d, SPAWN_FUNCTION, e);
	if (r >= 0)
		r = open_host(j, e);
	if (r < 0)
		return r;
	r = cell_function_take(&j->host, j->opt.memory_bytes, d, &j->f, e);
	return r == 0 ? work(j, p, e) : r;
}

int main(int argc, char **argv)
{
	static struct spawn_datagram d;
	static struct job j = {.signal_fd = FD_NONE, .log = FD_NONE, .store = {.dir = FD_NONE}};
	const struct opt_table *const tables[] = {&table};
	struct publisher p = {0};
	struct err e = {0};
	int operands, r = opt_parse(tables, 1, argc, argv, &j.opt, &operands, &e);

	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGXFSZ, SIG_IGN);
	if (r == 0 && (operands > 0 || !j.opt.runtime || j.opt.memory_bytes == 0))
		r = err_set(&e, ERR_SPEC, 0, "--runtime and --memory are needed; fsbox-spawn starts this program");
	if (r < 0) {
		(void)fprintf(stderr, "fsbox-publish: %s\n", e.msg);
		return EXIT_USAGE;
	}
	snap_init(&j.snap);
	(void)!run(&j, &d, &p, &e);
	bound_store(&j);
	r = answer(&j, &p, &e);
	snap_close(&j.snap);
	snap_key_done(&j.key);
	snap_store_close(&j.store);
	return r < 0 ? EXIT_FAILED : 0;
}
