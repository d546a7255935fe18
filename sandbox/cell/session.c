#include "cell/session.h"

#include "base/clock.h"
#include "base/fd.h"

#include <stdio.h>
#include <sys/uio.h>

enum {
	READ_CHUNK = 65536,
	/* A cell that writes without pause must not keep us from the deadline: so much per stream and turn. */
	OUTPUT_PER_TURN = 262144,
	REST_MAX = 2 << 20,
};

void session_init(struct session *s, struct cell *cell, const struct session_sink *sink, int signal_fd)
{
	*s = (struct session){
		.cell = cell,
		.sink = sink,
		.signal_fd = signal_fd,
		.channel_open = true,
		.stdout_open = true,
		.stderr_open = true,
	};
}

void session_init_restored(struct session *s, struct cell *cell, const struct session_sink *sink, int signal_fd,
			   uint32_t ready_flags)
{
	session_init(s, cell, sink, signal_fd);
	s->ready = true;
	s->has_shutdown = ready_flags & CHAN_HAS_SHUTDOWN;
	s->wants_reports = ready_flags & CHAN_WANTS_REPORTS;
}

void session_done(struct session *s)
{
	buf_done(&s->drawn);
	buf_done(&s->answer);
	buf_done(&s->error_message);
	buf_done(&s->error_document);
	buf_done(&s->rx);
	buf_done(&s->tx_prefix);
}

static size_t discard_room(void *arg)
{
	(void)arg;
	return SIZE_MAX;
}

static void discard_put(void *arg, int stream, const char *data, size_t len)
{
	(void)arg;
	(void)stream;
	(void)data;
	(void)len;
}

static int discard_wants(void *arg)
{
	(void)arg;
	return FD_NONE;
}

static void discard_writable(void *arg)
{
	(void)arg;
}

const struct session_sink session_discard = {.room = discard_room,
					     .put = discard_put,
					     .wants = discard_wants,
					     .writable = discard_writable};

struct session_sink session_sink_to(void (*put)(void *arg, int stream, const char *data, size_t len), void *arg)
{
	struct session_sink sink = session_discard;

	sink.put = put;
	sink.arg = arg;
	return sink;
}

/* ---- sending ---- */

static bool tx_pending(const struct session *s)
{
	return s->tx_done < s->tx_prefix.len + s->tx_body_len;
}

/* The event is the caller's, and goes with the call: what is unsent of it must never be sent afterwards, when its memory
 * may hold another one. */
static bool event_pending(const struct session *s)
{
	return s->tx_body_len > 0 && tx_pending(s);
}

bool session_sends(const struct session *s)
{
	return tx_pending(s);
}

static void tx_flush(struct session *s)
{
	while (tx_pending(s)) {
		struct iovec iov[2];
		int n = 0;

		if (s->tx_done < s->tx_prefix.len)
			iov[n++] = (struct iovec){s->tx_prefix.data + s->tx_done, s->tx_prefix.len - s->tx_done};
		if (s->tx_body_len > 0) {
			size_t at = s->tx_done > s->tx_prefix.len ? s->tx_done - s->tx_prefix.len : 0;
			char *body;

			memcpy(&body, &s->tx_body, sizeof body); /* writev(2) only reads it */
			iov[n++] = (struct iovec){body + at, s->tx_body_len - at};
		}

		ssize_t w = writev(s->cell->in, iov, n);
		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0) {
			/* EPIPE: the runtime closed its end. The call then ends by its exit or its deadline. */
			if (errno != EAGAIN)
				s->tx_done = s->tx_prefix.len + s->tx_body_len;
			return;
		}
		s->tx_done += (size_t)w;
	}
}

/* A pipe can be as small as one page (pipe(7), pipe-user-pages-soft), so a frame may still wait when the next one begins:
 * what is left of it moves to the front of the buffer. */
static int tx_begin(struct session *s, struct err *e)
{
	const struct chan_head empty = {0};
	const size_t sent = s->tx_done < s->tx_prefix.len ? s->tx_done : s->tx_prefix.len;
	const size_t sent_body = s->tx_done - sent;

	buf_drop(&s->tx_prefix, sent);
	if (s->tx_body_len > sent_body)
		buf_add(&s->tx_prefix, s->tx_body + sent_body, s->tx_body_len - sent_body);
	s->tx_body_len = 0;
	s->tx_done = 0;
	s->tx_head = s->tx_prefix.len;
	buf_add(&s->tx_prefix, &empty, sizeof empty);
	return s->tx_prefix.failed ? err_oom(e) : 0;
}

static int tx_start(struct session *s, uint16_t type, uint64_t call, const void *body, size_t len, struct err *e)
{
	const struct chan_head h = {
		.len = (uint32_t)(s->tx_prefix.len - s->tx_head - sizeof h + len),
		.type = type,
		.call = call,
	};

	if (s->tx_prefix.failed)
		return err_oom(e);
	memcpy(s->tx_prefix.data + s->tx_head, &h, sizeof h);
	s->tx_body = body;
	s->tx_body_len = len;
	tx_flush(s);
	return 0;
}

int session_call(struct session *s, uint64_t number, const char *request_id, const char *trace_id, int64_t deadline_ms,
		 uint64_t remaining_ns, const void *event, size_t len, struct err *e)
{
	const struct chan_call head = {
		.deadline_ms = deadline_ms,
		.remaining_ns = remaining_ns,
		.id_len = (uint16_t)strlen(request_id),
		.trace_len = (uint16_t)strlen(trace_id),
		.event_len = (uint32_t)len,
	};
	int r = tx_begin(s, e);

	if (r < 0)
		return r;
	s->call = number;
	s->answer.len = 0;
	s->error_message.len = 0;
	s->error_document.len = 0;
	s->error_type[0] = '\0';
	s->answer.failed = s->error_message.failed = s->error_document.failed = false; /* of the call before */
	buf_add(&s->tx_prefix, &head, sizeof head);
	buf_puts(&s->tx_prefix, request_id);
	buf_puts(&s->tx_prefix, trace_id);
	return s->tx_prefix.failed ? err_oom(e) : tx_start(s, CHAN_CALL, number, event, len, e);
}

int session_add_filter(struct session *s, const struct filter *f, struct err *e)
{
	int r = tx_begin(s, e);

	s->settled = false; /* that it was refused is said as an init error, also by a cell that was restored */
	return r < 0 ? r : tx_start(s, CHAN_FILTER, 0, f->insns, f->len * sizeof *f->insns, e);
}

int session_shutdown(struct session *s, struct err *e)
{
	int r = tx_begin(s, e);

	return r < 0 ? r : tx_start(s, CHAN_SHUTDOWN, 0, NULL, 0, e);
}

int session_report(struct session *s, uint64_t number, const struct chan_report *report, struct err *e)
{
	int r = tx_begin(s, e);

	if (r < 0)
		return r;
	buf_add(&s->tx_prefix, report, sizeof *report);
	return tx_start(s, CHAN_REPORT, number, NULL, 0, e);
}

static int begin_question(struct session *s, struct err *e)
{
	if (!s->ready || s->call != 0 || s->asked != SESSION_ASKED_NOTHING)
		return err_set(e, ERR_BUG, EINVAL, "the runtime is not idle");
	return tx_begin(s, e);
}

static int ask(struct session *s, uint16_t type, enum session_question question, struct err *e)
{
	int r = tx_start(s, type, 0, NULL, 0, e);

	if (r == 0)
		s->asked = question;
	return r;
}

int session_snapshot(struct session *s, struct err *e)
{
	int r;

	if (!s->can_snapshot)
		return err_set(e, ERR_UNSUPPORTED, EOPNOTSUPP, "the runtime does not take part in snapshots");
	r = begin_question(s, e);
	return r < 0 ? r : ask(s, CHAN_SNAPSHOT, SESSION_ASKED_SNAPSHOT, e);
}

int session_restore(struct session *s, const struct chan_restore *fixed, const char *const *env, struct err *e)
{
	struct chan_restore head = *fixed;
	size_t len = 0;
	int r;

	for (size_t i = 0; env && env[i]; i++) {
		len += strlen(env[i]) + 1;
		if (len > CHAN_MAX_ENV)
			return err_set(e, ERR_LIMIT, E2BIG, "the environment of a restore exceeds %d bytes",
				       CHAN_MAX_ENV);
	}
	r = begin_question(s, e);
	if (r < 0)
		return r;
	head.env_len = (uint32_t)len;
	buf_add(&s->tx_prefix, &head, sizeof head);
	for (size_t i = 0; env && env[i]; i++)
		buf_add(&s->tx_prefix, env[i], strlen(env[i]) + 1);
	return ask(s, CHAN_RESTORE, SESSION_ASKED_RESTORE, e);
}

void session_expect_restored(struct session *s)
{
	s->asked = SESSION_ASKED_RESTORE;
}

int session_draw(struct session *s, struct err *e)
{
	int r = begin_question(s, e);

	return r < 0 ? r : ask(s, CHAN_DRAW, SESSION_ASKED_DRAW, e);
}

/* ---- receiving ---- */

static enum session_event broken(struct session *s, const char *why)
{
	s->broken = true;
	s->error_message.len = 0;
	s->error_document.len = 0;
	buf_printf(&s->error_message, "the cell broke the channel's contract: %s", why);
	return SESSION_BROKEN;
}

/* False when the lengths do not fit. */
static bool take_error(struct session *s, const char *body, size_t len)
{
	struct chan_error_view v;

	if (chan_error_parse(body, len, &v) < 0)
		return false;
	memcpy(s->error_type, v.type, v.type_len);
	s->error_type[v.type_len] = '\0';
	for (char *p = s->error_type; *p; p++) /* it stands in lines of the log */
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	s->error_message.len = 0;
	buf_add(&s->error_message, v.message, v.message_len);
	s->error_document.len = 0;
	buf_add(&s->error_document, v.document, v.document_len);
	return !s->error_message.failed && !s->error_document.failed;
}

static enum session_event take_ready(struct session *s, const char *body)
{
	struct chan_ready ready;

	memcpy(&ready, body, sizeof ready);
	if (s->ready || ready.version != CHAN_VERSION)
		return broken(s, s->ready ? "a second 'ready'" : "another version");
	s->ready = true;
	s->has_shutdown = ready.flags & CHAN_HAS_SHUTDOWN;
	s->can_snapshot = ready.flags & CHAN_CAN_SNAPSHOT;
	s->wants_reports = ready.flags & CHAN_WANTS_REPORTS;
	return SESSION_READY;
}

static enum session_event end_call(struct session *s, enum session_event ev)
{
	s->call = 0;
	s->settled = true;
	return ev;
}

/* False when it was not asked, or for something else. */
static bool take_reply(struct session *s, enum session_question question)
{
	if (s->asked != question)
		return false;
	s->asked = SESSION_ASKED_NOTHING;
	return true;
}

static enum session_event take_parked(struct session *s, const char *body, size_t len)
{
	struct chan_parked parked = {0};

	if (!take_reply(s, SESSION_ASKED_SNAPSHOT))
		return broken(s, "a 'parked' that was not asked for");
	memcpy(&parked, body, len); /* 0 or all of it */
	s->not_reseeded = parked.flags & CHAN_NOT_RESEEDED;
	return SESSION_PARKED;
}

static enum session_event take_restored(struct session *s, const char *body)
{
	struct chan_restored restored;

	if (!take_reply(s, SESSION_ASKED_RESTORE))
		return broken(s, "a 'restored' that was not asked for");
	memcpy(&restored, body, sizeof restored);
	s->reseed_ns = restored.reseed_ns;
	s->hooks_ns = restored.hooks_ns;
	s->settled = true;
	return SESSION_RESTORED;
}

static enum session_event take_drawn(struct session *s, const char *body, size_t len)
{
	struct chan_drawn_view v;
	size_t at = 0;
	int r;

	if (!take_reply(s, SESSION_ASKED_DRAW))
		return broken(s, "a 'drawn' that was not asked for");
	do
		r = chan_drawn_next(body, len, &at, &v);
	while (r > 0);
	if (r < 0)
		return broken(s, "a malformed 'drawn'");
	s->drawn.len = 0;
	buf_add(&s->drawn, body, len);
	return s->drawn.failed ? broken(s, "a frame larger than memory") : SESSION_DRAWN;
}

/* One complete frame whose head chan_head_parse() accepted. SESSION_DEADLINE stands for "nothing to tell". */
static enum session_event take_frame(struct session *s, const struct chan_head *h, const char *body)
{
	if (h->call != 0 && h->call != s->call && h->type != CHAN_FAULT)
		return broken(s, "a frame of a call that is not running");
	switch (h->type) {
	case CHAN_READY:
		return take_ready(s, body);
	case CHAN_INIT_ERROR: /* after "ready", too: a filter could not be added, a hook failed */
		if (s->settled || !take_error(s, body, h->len))
			return broken(s, "an unexpected init error");
		s->asked = SESSION_ASKED_NOTHING;
		return SESSION_INIT_ERROR;
	case CHAN_PARKED:
		return take_parked(s, body, h->len);
	case CHAN_RESTORED:
		return take_restored(s, body);
	case CHAN_DRAWN:
		return take_drawn(s, body, h->len);
	case CHAN_DATA:
		if (s->answer.len + h->len > CHAN_MAX_PAYLOAD)
			return SESSION_TOO_LARGE;
		buf_add(&s->answer, body, h->len);
		return s->answer.failed ? SESSION_TOO_LARGE : SESSION_DEADLINE;
	case CHAN_DONE:
		if (event_pending(s))
			return broken(s, "an answer to a call that it has not read");
		return end_call(s, SESSION_DONE);
	case CHAN_ERROR:
		if (event_pending(s))
			return broken(s, "an error of a call that it has not read");
		if (!take_error(s, body, h->len))
			return broken(s, "a malformed error report");
		return end_call(s, SESSION_ERROR);
	case CHAN_FAULT:
		memcpy(&s->fault, body, sizeof s->fault);
		s->fault_seen = true;
		return SESSION_DEADLINE;
	default: /* EXIT counts only as the last bytes before the end: see take_exit() */
		return SESSION_DEADLINE;
	}
}

/* Parses what has arrived, up to the first frame that the caller must hear of. */
static enum session_event take_frames(struct session *s)
{
	size_t at = 0;
	enum session_event ev = SESSION_DEADLINE;

	while (ev == SESSION_DEADLINE && !s->broken && s->rx.len - at >= sizeof(struct chan_head)) {
		struct chan_head h;

		if (chan_head_parse(s->rx.data + at, CHAN_HOST, &h) < 0) {
			ev = broken(s, "a malformed frame");
			break;
		}
		if (s->rx.len - at - sizeof h < h.len)
			break;
		ev = take_frame(s, &h, s->rx.data + at + sizeof h);
		at += sizeof h + h.len;
	}
	buf_drop(&s->rx, s->broken ? s->rx.len : at);
	return ev;
}

static void keep_tail(struct session *s, const char *data, size_t len)
{
	if (len >= sizeof s->tail) {
		memcpy(s->tail, data + len - sizeof s->tail, sizeof s->tail);
		s->tail_len = sizeof s->tail;
		return;
	}

	size_t keep = sizeof s->tail - len < s->tail_len ? sizeof s->tail - len : s->tail_len;

	memmove(s->tail, s->tail + s->tail_len - keep, keep);
	memcpy(s->tail + keep, data, len);
	s->tail_len = keep + len;
}

/* When PID 1 wrote its last bytes every other process of the cell was gone, so at the end they are its own. A runtime
 * that died in the middle of a frame may have left its account of a refused system call right before them. */
static void take_exit(struct session *s)
{
	s->channel_open = false;
	if (s->tail_len < CHAN_EXIT_BYTES)
		return;

	const unsigned char *exit_at = s->tail + s->tail_len - CHAN_EXIT_BYTES;

	s->exit_seen = chan_exit_parse(exit_at, &s->exit);
	if (s->exit_seen && !s->fault_seen && s->tail_len >= CHAN_EXIT_BYTES + CHAN_FAULT_BYTES)
		s->fault_seen = chan_fault_parse(exit_at - CHAN_FAULT_BYTES, &s->fault);
}

static enum session_event read_channel(struct session *s)
{
	UNINITIALIZED char chunk[READ_CHUNK];
	ssize_t n = read(s->cell->out, chunk, sizeof chunk);

	/* Once PID 1 is gone an empty pipe is the end as well: a copy of the descriptor that was in flight in a socket of
	 * the cell may keep end of file away for a while. */
	if (n == 0 || (n < 0 && errno == EAGAIN && s->cell->reaped))
		take_exit(s);
	if (n <= 0)
		return SESSION_DEADLINE; /* EAGAIN, EINTR: poll again */
	keep_tail(s, chunk, (size_t)n);
	if (s->broken)
		return SESSION_DEADLINE;
	buf_add(&s->rx, chunk, (size_t)n);
	return s->rx.failed ? broken(s, "a frame larger than memory") : take_frames(s);
}

/* True when end of file was met. */
static bool read_output(struct session *s, int fd, int stream)
{
	UNINITIALIZED char chunk[READ_CHUNK];
	size_t total = 0;

	while (total < OUTPUT_PER_TURN) {
		size_t room = s->sink->room(s->sink->arg);
		size_t want = room < sizeof chunk ? room : sizeof chunk;

		if (want == 0)
			return false;

		ssize_t n = read(fd, chunk, want);
		if (n < 0)
			return false;
		if (n == 0)
			return true;
		s->sink->put(s->sink->arg, stream, chunk, (size_t)n);
		total += (size_t)n;
		if ((size_t)n < want)
			return false; /* the pipe is empty: spare the call that would say so */
	}
	return false;
}

/* One look at all that a call's end has to be preceded by, for most calls leave nothing there. */
static bool is_quiet(const struct session *s)
{
	const bool oom = s->cell->has_cg && fd_valid(s->cell->cg.oom_event);
	struct pollfd p[] = {
		{.fd = s->stdout_open ? s->cell->std_out : -1, .events = POLLIN},
		{.fd = s->stderr_open ? s->cell->std_err : -1, .events = POLLIN},
		{.fd = oom ? s->cell->cg.oom_event : -1, .events = POLLIN},
	};

	return !s->oom_seen && poll(p, ARRAY_LEN(p), 0) == 0;
}

void session_drain_output(struct session *s)
{
	if (s->quiet) { /* looked at when the call ended */
		s->quiet = false;
		return;
	}
	if (s->stdout_open && read_output(s, s->cell->std_out, 1))
		s->stdout_open = false;
	if (s->stderr_open && read_output(s, s->cell->std_err, 2))
		s->stderr_open = false;
}

void session_drain_rest(struct session *s)
{
	const int fds[] = {s->cell->std_out, s->cell->std_err};
	const bool open[] = {s->stdout_open, s->stderr_open};

	for (int i = 0; i < 2; i++) {
		UNINITIALIZED char chunk[4096];
		ssize_t n;

		/* Bounded although nobody should write any more: a process that hangs in the kernel might. */
		for (size_t total = 0; open[i] && total < REST_MAX && (n = read(fds[i], chunk, sizeof chunk)) > 0;
		     total += (size_t)n)
			s->sink->put(s->sink->arg, i + 1, chunk, (size_t)n);
	}
	s->stdout_open = s->stderr_open = false;
}

/* ---- waiting ---- */

void session_poll(const struct session *s, struct pollfd p[SESSION_FDS])
{
	const bool room = s->sink->room(s->sink->arg) > 0;
	const bool oom = s->cell->has_cg && fd_valid(s->cell->cg.oom_event);

	for (int i = 0; i < SESSION_FDS; i++)
		p[i] = (struct pollfd){.fd = -1};
	if (s->channel_open)
		p[SESSION_FD_CHANNEL] = (struct pollfd){.fd = s->cell->out, .events = POLLIN};
	if (tx_pending(s))
		p[SESSION_FD_SEND] = (struct pollfd){.fd = s->cell->in, .events = POLLOUT};
	if (s->stdout_open && room)
		p[SESSION_FD_OUT] = (struct pollfd){.fd = s->cell->std_out, .events = POLLIN};
	if (s->stderr_open && room)
		p[SESSION_FD_ERR] = (struct pollfd){.fd = s->cell->std_err, .events = POLLIN};
	if (!s->cell->reaped)
		p[SESSION_FD_EXIT] = (struct pollfd){.fd = s->cell->pidfd, .events = POLLIN};
	if (oom)
		p[SESSION_FD_OOM] = (struct pollfd){.fd = s->cell->cg.oom_event, .events = POLLIN};
	p[SESSION_FD_SIGNAL] = (struct pollfd){.fd = s->signal_fd, .events = POLLIN};
	p[SESSION_FD_SINK] = (struct pollfd){.fd = s->sink->wants(s->sink->arg), .events = POLLOUT};
}

/* v1 has no memory.oom.group: its event says that the limit was hit, and comes before the kernel chooses, kills and counts.
 * So the event is remembered, and the counter asked again whenever the answer matters. */
static bool oom_killed(struct session *s)
{
	struct cg_usage usage;
	struct err ignored = {0};
	uint64_t count;

	if (!s->cell->has_cg || !fd_valid(s->cell->cg.oom_event))
		return false;
	if (read(s->cell->cg.oom_event, &count, sizeof count) == (ssize_t)sizeof count)
		s->oom_seen = true;
	return s->oom_seen && cg_usage(&s->cell->cg, &usage, &ignored) == 0 && usage.oom_kills > 0;
}

static int timeout_ms(uint64_t deadline_ns)
{
	uint64_t now = clock_mono_ns();

	if (now >= deadline_ns)
		return 0;

	uint64_t ms = (deadline_ns - now + NS_PER_MS - 1) / NS_PER_MS; /* never early */
	return ms > 3600000 ? 3600000 : (int)ms;
}

static enum session_event dispatch(struct session *s, const struct pollfd *p)
{
	enum session_event ev = SESSION_DEADLINE;

	if (p[SESSION_FD_SINK].revents)
		s->sink->writable(s->sink->arg);
	if (p[SESSION_FD_SEND].revents)
		tx_flush(s);
	if (p[SESSION_FD_OUT].revents && read_output(s, s->cell->std_out, 1))
		s->stdout_open = false;
	if (p[SESSION_FD_ERR].revents && read_output(s, s->cell->std_err, 2))
		s->stderr_open = false;
	if (p[SESSION_FD_OOM].revents && oom_killed(s))
		return SESSION_OOM;
	if (p[SESSION_FD_CHANNEL].revents)
		ev = read_channel(s);
	if (ev == SESSION_DEADLINE && p[SESSION_FD_SIGNAL].revents)
		ev = SESSION_SIGNAL;
	if (p[SESSION_FD_EXIT].revents)
		(void)cell_has_exited(s->cell, false);
	return ev;
}

/* PID 1 is gone: what it still said, then that. */
static enum session_event after_end(struct session *s)
{
	enum session_event ev = SESSION_DEADLINE;

	while (ev == SESSION_DEADLINE && s->channel_open)
		ev = read_channel(s);
	return ev == SESSION_DEADLINE ? SESSION_ENDED : ev;
}

enum session_event session_step(struct session *s, const struct pollfd p[SESSION_FDS])
{
	/* A read may have brought more than one frame. */
	enum session_event ev = s->broken ? SESSION_DEADLINE : take_frames(s);

	s->quiet = false;
	if (ev == SESSION_DEADLINE && p && !s->cell->reaped)
		ev = dispatch(s, p);
	if (ev == SESSION_DEADLINE && s->cell->reaped)
		ev = after_end(s);
	/* A runtime that outlived what the kernel killed for the limit may have answered; on v2, where the whole group
	 * dies at once, it could not have. */
	if (ev != SESSION_DONE && ev != SESSION_ERROR)
		return ev;
	s->quiet = is_quiet(s);
	return !s->quiet && oom_killed(s) ? SESSION_OOM : ev;
}

enum session_event session_wait(struct session *s, uint64_t deadline_ns)
{
	enum session_event ev = session_step(s, NULL);

	while (ev == SESSION_DEADLINE) {
		struct pollfd p[SESSION_FDS];

		session_poll(s, p);

		int n = poll(p, SESSION_FDS, timeout_ms(deadline_ns));
		ev = session_step(s, n > 0 ? p : NULL);
		if (ev == SESSION_DEADLINE && clock_mono_ns() >= deadline_ns)
			return SESSION_DEADLINE;
	}
	return ev;
}
