#include "daemon/snapshots.h"

#include "base/fd.h"
#include "daemon/calls.h"
#include "daemon/deploy.h"
#include "daemon/prepare.h"

#include <fcntl.h>
#include <stdio.h>

enum {
	RETRY_MS = 1000,
	WAIT_S = 60, /* of a call, for room */
	PAUSE_MIN_S = 10,
	PAUSE_MAX_S = 3600,
	LINE_MAX_BYTES = 4096,
};

/* One that waits for a snapshot. */
struct wish {
	struct wish *next;
	struct call *call;
	struct function *f;
	uint64_t until_ns;
};
static struct wish *wishes;

/* What the function prints while its snapshot is made. */
static struct {
	struct daemon *d;
	struct function *f;
	struct watch watch;
	int fd;
} output = {.fd = FD_NONE};

/* ---- Answers ---- */

static void answer_snapshot(struct call *c, const struct function *f, bool made)
{
	struct buf b = {0};
	struct wire_obj o;

	wire_obj_begin(&o, &b);
	wire_obj_string(&o, "snapshot", f->snapshot.id);
	wire_obj_int(&o, "bytes", (int64_t)f->snapshot.page_bytes);
	wire_obj_bool(&o, "created", made);
	wire_obj_end(&o);
	call_reply(c, &b, NULL, 0);
	buf_done(&b);
}

/* Those who wait for @f; @why NULL: it is ready. */
static void answer_all(const struct function *f, bool made, const struct err *why)
{
	for (struct wish **at = &wishes, *w; (w = *at);) {
		if (w->f != f) {
			at = &w->next;
			continue;
		}
		*at = w->next;
		w->call->user = NULL;
		if (why && why->kind == ERR_NOT_FOUND)
			answer_not_found(w->call, "function", f->name);
		else if (why)
			answer_err(w->call, why);
		else
			answer_snapshot(w->call, f, made);
		free(w);
	}
}

static void fail(struct function *f, const struct err *why)
{
	f->snapshot.state = SNAPSHOT_NONE;
	daemon_event(f->d, EV_SNAPSHOT, f, NULL, NULL, "error", why->msg);
	answer_all(f, false, why);
}

/* ---- The function's output ---- */

static void close_output(void)
{
	if (output.d)
		loop_remove(&output.d->loop, &output.watch);
	fd_closep(&output.fd);
	output.f = NULL;
}

/* True while there may be more. */
static bool read_output(void)
{
	char text[LINE_MAX_BYTES];
	const ssize_t n = read(output.fd, text, sizeof text);
	const struct entry entry = {
		.time_ms = wall_ms(),
		.owner = output.f->owner,
		.function = output.f->name,
		.cell = "snapshot",
		.text = text,
		.len = n > 0 ? (size_t)n : 0,
		.stream = LOG_STDERR,
	};

	if (n == 0)
		errno = 0; /* the end, whatever failed before */
	if (n <= 0)
		return n < 0 && errno == EINTR;
	(void)journal_add(&output.d->logs, &entry);
	output.d->on_log(output.d);
	return true;
}

static void output_ready(void *arg, uint32_t events)
{
	(void)arg;
	(void)events;
	if (!read_output() && errno != EAGAIN)
		loop_remove(&output.d->loop, &output.watch);
}

static int open_output(struct function *f, int *ret_theirs, struct err *e)
{
	int p[2], r;

	if (pipe2(p, O_CLOEXEC | O_NONBLOCK) < 0)
		return err_sys(e, errno, "making a pipe");
	output.d = f->d;
	output.f = f;
	output.fd = p[0];
	r = loop_add(&f->d->loop, &output.watch, output.fd, EPOLLIN, output_ready, NULL, e);
	if (r < 0) {
		(void)close(p[1]);
		close_output();
		return r;
	}
	*ret_theirs = p[1];
	return 0;
}

/* ---- Making one ---- */

/* The cell that is dumped, and after it two that are tried, have the function's limit one after the other. */
static void take_room(struct function *f, bool back)
{
	const uint64_t bytes = back ? -f->spec.memory_bytes : f->spec.memory_bytes;

	f->d->memory_bytes += bytes; /* unsigned: wraps to the right sum */
	f->account->memory_bytes += bytes;
}

static int ask(struct function *f, struct err *e)
{
	AUTO_FD int theirs = FD_NONE, filter = FD_NONE;
	struct spawn_number m;
	int fds[2], r;
	size_t n = 0;

	if (f->filter.len > 0) {
		r = filter = prepare_seal_filter(&f->filter, e);
		if (r < 0)
			return r;
	}
	r = open_output(f, &theirs, e);
	if (r < 0)
		return r;
	fds[n++] = theirs;
	if (fd_valid(filter))
		fds[n++] = filter;
	spawn_begin(&m, SPAWN_PUBLISH, sizeof m);
	m.number = f->number;
	if (link_send(f->d->link, &m, fds, n))
		return 0;
	close_output();
	return err_oom(e);
}

static void again(void *arg)
{
	snapshot_next(arg);
}

static void try_later(struct daemon *d)
{
	d->publish_again.due = again;
	d->publish_again.arg = d;
	(void)!loop_arm(&d->loop, &d->publish_again, clock_mono_ns() + RETRY_MS * NS_PER_MS);
}

/* Whose turn it is: the one with room, of the owner who had his turn longest ago. @ret_waits: there are some without. */
static struct function *next_wanted(const struct daemon *d, bool *ret_waits)
{
	const uint64_t now = clock_mono_ns();
	struct function *best = NULL;

	*ret_waits = false;
	for (struct function *f = d->functions; f; f = f->next) {
		if (f->snapshot.state != SNAPSHOT_WANTED || f->forgotten || !f->defined)
			continue;
		/* A bound of its own is for cells that take calls. */
		const bool has_room = function_may_take(f, 0, f->spec.memory_bytes) == SHORT_OF_NOTHING;

		if (!has_room)
			(void)schedule_evict(f); /* what makes room takes a moment to end */
		if (!has_room || now < f->snapshot.not_before_ns)
			*ret_waits = true;
		else if (!best || f->account->published_ns < best->account->published_ns)
			best = f;
	}
	return best;
}

/* Nobody waits for ever for room. */
static void refuse_late(void)
{
	const uint64_t now = clock_mono_ns();
	struct err e = {0};

	(void)err_set(&e, ERR_CAPACITY, 0, "%s", shortage_name(SHORT_OF_MEMORY));
	for (struct wish **at = &wishes, *w; (w = *at);) {
		if (w->f->snapshot.state != SNAPSHOT_WANTED || now < w->until_ns) {
			at = &w->next;
			continue;
		}
		*at = w->next;
		w->call->user = NULL;
		answer_err(w->call, &e);
		free(w);
	}
}

void snapshot_next(struct daemon *d)
{
	struct function *f;
	bool waits = false;

	while (!d->publishing && (f = next_wanted(d, &waits))) {
		struct err e = {0};

		if (ask(f, &e) < 0) {
			fail(f, &e);
			continue;
		}
		f->snapshot.state = SNAPSHOT_MAKING;
		f->account->published_ns = clock_mono_ns();
		d->publishing = f;
		take_room(f, false);
	}
	refuse_late();
	if (waits)
		try_later(d);
}

void snapshot_want(struct function *f)
{
	if (f->snapshot.state == SNAPSHOT_NONE)
		f->snapshot.state = SNAPSHOT_WANTED;
	snapshot_next(f->d);
}

/* One that is being made has its answer with it: until then the function is there. */
void snapshot_forget(struct function *f, const struct err *why)
{
	if (f->snapshot.state != SNAPSHOT_MAKING)
		answer_all(f, false, why);
}

void snapshot_give_up(struct function *f, bool hurried, const struct err *why)
{
	const uint64_t last = f->snapshot.pause_ns;
	uint64_t pause = last < PAUSE_MIN_S * NS_PER_S ? PAUSE_MIN_S * NS_PER_S : hurried ? last : last * 2;
	char said[sizeof why->msg + 64];

	if (f->snapshot.state != SNAPSHOT_READY)
		return;
	if (pause > PAUSE_MAX_S * NS_PER_S)
		pause = PAUSE_MAX_S * NS_PER_S;
	/* It may have been of the moment. The same one is found again then, if it is whole. */
	f->snapshot.state = SNAPSHOT_WANTED;
	if (!hurried)
		f->snapshot.pause_ns = pause;
	f->snapshot.not_before_ns = clock_mono_ns() + pause;
	(void)snprintf(said, sizeof said, "%s; cold starts for %llu s", why->msg,
		       (unsigned long long)(pause / NS_PER_S));
	daemon_event(f->d, EV_SNAPSHOT, f, NULL, NULL, "error", said);
	try_later(f->d);
}

void snapshot_proved(struct function *f)
{
	f->snapshot.pause_ns = 0;
}

/* Is it fit for the function's cells? */
static int check(const struct function *f, const struct spawn_published *m, struct err *e)
{
	if (m->err.kind != ERR_NONE) {
		(void)err_adopt(e, &m->err);
		/* A word of fsbox-publish's about the function, not about the caller's request. */
		return e->kind == ERR_FUNCTION ? err_set(e, ERR_SYSTEM, 0, "%s", m->err.msg) : -1;
	}
	if (m->page_bytes > f->spec.memory_bytes)
		return err_set(e, ERR_LIMIT, ENOMEM, "snapshot %.12s holds %llu MiB of memory, the function has %llu",
			       m->id, (unsigned long long)(m->page_bytes >> 20),
			       (unsigned long long)(f->spec.memory_bytes >> 20));
	if (m->features & SNAP_NOT_RESEEDED && f->snapshot.wish != WISH_UNSEEDED) {
		(void)err_set(e, ERR_UNSUPPORTED, 0,
			      "snapshot %.12s is not reseeded: its clones would draw the same values", m->id);
		return err_where(e, -EOPNOTSUPP, "snapshot");
	}
	return 0;
}

void snapshot_published(struct daemon *d, const struct spawn_published *m)
{
	struct function *f = function_by_number(d, (uint32_t)m->number);
	struct err e = {0};

	if (d->publishing && d->publishing == f) {
		while (fd_valid(output.fd) && read_output())
			;
		close_output();
		take_room(f, true);
		d->publishing = NULL;
		f->snapshot.state = SNAPSHOT_NONE;
	}
	if (!f) {
		snapshot_next(d);
		return;
	}
	if (m->err.kind == ERR_BUSY) { /* one from the time of another fsboxd is not ready yet */
		f->snapshot.state = SNAPSHOT_WANTED;
		try_later(d);
		return;
	}
	if (f->forgotten) {
		(void)err_set(&e, ERR_NOT_FOUND, 0, "the function was undeployed");
		fail(f, &e);
		function_release(f);
	} else if (check(f, m, &e) < 0) {
		fail(f, &e);
	} else if (f->snapshot.wish == WISH_NO) {
		f->snapshot.state = SNAPSHOT_NONE; /* it was taken back meanwhile */
	} else {
		f->snapshot.state = SNAPSHOT_READY;
		f->snapshot.features = m->features;
		f->snapshot.page_bytes = m->page_bytes;
		str_copy(f->snapshot.id, sizeof f->snapshot.id, m->id);
		daemon_event(d, EV_SNAPSHOT, f, NULL, NULL, "success", m->id);
		answer_all(f, m->init_ns > 0, NULL);
	}
	d->on_room(d, NULL);
	snapshot_next(d);
}

/* ---- Snapshot ---- */

void method_snapshot(struct daemon *d, struct call *c)
{
	const char *name = wire_get_string(c->params, "function");
	struct function *f = function_find(d, call_peer(c)->uid, name);
	enum snapshot_wish before;
	struct wish *w;
	struct err e = {0};

	if (!f) {
		deploy_answer_unknown(d, c, name);
		return;
	}
	if (!d->can_snapshot) {
		(void)err_set(&e, ERR_UNSUPPORTED, EOPNOTSUPP, "this daemon has no CRIU, or is not root's");
		(void)err_where(&e, -EOPNOTSUPP, "snapshot");
		answer_err(c, &e);
		return;
	}
	before = f->snapshot.wish;
	if (wire_get_bool(c->params, "unseeded"))
		f->snapshot.wish = WISH_UNSEEDED;
	else if (before == WISH_NO)
		f->snapshot.wish = WISH_YES;
	if (f->snapshot.wish != before) /* from now on, whichever fsboxd that is */
		deploy_keep(f);
	if (f->snapshot.state == SNAPSHOT_READY) {
		answer_snapshot(c, f, false);
		return;
	}
	w = calloc(1, sizeof *w);
	if (!w) {
		(void)err_oom(&e);
		answer_err(c, &e);
		return;
	}
	*w = (struct wish){.next = wishes, .call = c, .f = f, .until_ns = clock_mono_ns() + WAIT_S * NS_PER_S};
	f->snapshot.not_before_ns = 0; /* somebody asks for it */
	wishes = w;
	c->user = w;
	call_drop_params(c);
	snapshot_want(f);
}

void snapshot_client_gone(struct daemon *d, struct call *c)
{
	(void)d;
	for (struct wish **at = &wishes, *w; (w = *at); at = &w->next)
		if (w->call == c) {
			*at = w->next;
			free(w);
			break;
		}
	answer_done(c);
}
