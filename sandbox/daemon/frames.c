/* What clients send. */
#include "daemon/frames_parts.h"

enum { BUSY_RETRY_MS = 10 };

/* ---- Frames from the client ---- */

/* The stream may be gone when this returns, as with everything that answers. */
static void run(struct stream *s)
{
	struct frames *f = s->f;

	s->whole = true;
	s->state = RUNS;
	stream_be_small(s);
	frames_let_go(f, s->event.len); /* it is the invocation's from now on */
	f->event = s->event;
	s->event = (struct buf){0};
	s->call.body = wire_get(s->call.params, "event") ? NULL : &f->event;
	if (wire_get(s->call.params, "invocation")) /* it may run already, and have written something */
		loop_later(&f->d->loop, &f->later, frames_pump, f);
	method_invoke(f->d, &s->call);
	buf_done(&f->event);
}

static void refuse_parameter(struct stream *s, const char *parameter)
{
	struct buf b = {0};
	struct wire_obj o;

	wire_obj_begin(&o, &b);
	wire_obj_string(&o, "parameter", parameter);
	wire_obj_end(&o);
	stream_refuse(s, WIRE_INVALID_PARAMETER, &b);
	buf_done(&b);
}

/* Of the CALL's body. False: it was refused. */
static bool read_params(struct stream *s, const struct frame *m)
{
	struct call *c = &s->call;
	struct err e = {0};

	if (!rights_method(call_rights(s->f->d, c), c->method->name)) {
		stream_refuse(s, WIRE_PERMISSION_DENIED, NULL);
		return false;
	}
	if (json_parse("", m->body, m->len, FRAME_MAX_JSON, &s->doc, &e) < 0 ||
	    json_type_of(json_doc_root(s->doc)) != JSON_OBJECT) {
		refuse_parameter(s, "parameters");
		return false;
	}
	c->params = json_doc_root(s->doc);
	if (wire_check(c->method->in, c->params, 0, &e) < 0) {
		refuse_parameter(s, e.where);
		return false;
	}
	if (wire_get_bool(c->params, "answerFd")) {
		refuse_parameter(s, "answerFd");
		return false;
	}
	return true;
}

static void put_busy(struct buf *b, const struct frames *f)
{
	buf_printf(b, "{\"retryAfterMs\":%d,\"queueDepth\":%u}", BUSY_RETRY_MS, f->n_streams);
}

/* Its user has too much lying here already. */
static void refuse_for_now(struct stream *s)
{
	struct buf b = {0};

	put_busy(&b, s->f);
	stream_refuse(s, "org.fsbox.Sandbox.Busy", &b);
	buf_done(&b);
}

/* More than HELLO allows. It has no stream, so what is refused like this waits nowhere but in the queue. */
static void refuse_stream(struct frames *f, uint32_t id)
{
	struct buf params = {0}, b = {0};

	put_busy(&params, f);
	frames_put_error(&b, "org.fsbox.Sandbox.Busy", &params);
	if (b.failed)
		conn_break(f->conn);
	else
		frames_send(f, FRAME_ERROR, id, b.data, b.len);
	buf_done(&params);
	buf_done(&b);
}

static const char *on_call(struct frames *f, const struct frame *m)
{
	struct stream *s;

	if (m->stream <= f->last_id)
		return "the number of a stream is greater than those before";
	f->last_id = m->stream;
	if (f->n_streams == f->max_streams) {
		refuse_stream(f, m->stream);
		return NULL;
	}
	s = calloc(1, sizeof *s);
	if (!s)
		return "out of memory";
	*s = (struct stream){.f = f, .id = m->stream, .granted = FRAME_WINDOW, .credit = FRAME_WINDOW};
	s->call = (struct call){.conn = f->conn,
				.interface = &sandbox_interface,
				.method = wire_find_method(&sandbox_interface, "Invoke", strlen("Invoke")),
				.more = true,
				.sink = &frames_sink};
	TAILQ_INSERT_TAIL(&f->streams, s, link);
	f->n_streams++;
	if (read_params(s, m) && wire_get(s->call.params, "event"))
		run(s);
	return NULL;
}

static const char *on_data(struct frames *f, struct stream *s, const struct frame *m)
{
	if (s->whole)
		return "DATA behind the end of the event";
	if (s->state != COMING) /* it was refused meanwhile */
		return NULL;
	if (m->len + m->left > s->granted - s->event.len)
		return "more DATA than the credit allows";
	buf_add(&s->event, m->body, m->len);
	if (s->event.failed)
		return "out of memory";
	if (!frames_hold(f, m->len, HOLD_EVENTS))
		refuse_for_now(s);
	else if (s->event.len > SPEC_MAX_PAYLOAD)
		refuse_parameter(s, "event");
	else if (s->event.len > FRAMES_LARGE_EVENT && !s->large)
		stream_grant_next(f);
	return NULL;
}

static const char *on_end(struct stream *s)
{
	if (s->whole)
		return "END behind the end of the event";
	s->whole = true;
	if (s->state == COMING)
		run(s);
	return NULL;
}

static void on_cancel(struct stream *s)
{
	if (s->state == RUNS) {
		invocation_cancel(s->call.user);
		return;
	}
	if (s->state == OVER && s->last_type == FRAME_ERROR)
		return;
	stream_forget_answer(s);
	stream_refuse(s, "org.fsbox.Sandbox.Cancelled", NULL);
}

/* NULL, or what the client has done wrong. */
static const char *on_frame(struct frames *f, const struct frame *m)
{
	struct stream *s;

	if (m->type == FRAME_PING) {
		frames_send(f, FRAME_PONG, 0, m->body, m->len);
		return NULL;
	}
	if (m->type == FRAME_CALL)
		return on_call(f, m);
	if (m->stream > f->last_id)
		return "a frame of a stream that was not opened";
	for (s = TAILQ_FIRST(&f->streams); s && s->id != m->stream;)
		s = TAILQ_NEXT(s, link);
	if (!s) /* it ended while this was on its way */
		return NULL;
	if (m->type == FRAME_DATA)
		return on_data(f, s, m);
	if (m->type == FRAME_END)
		return on_end(s);
	if (m->type == FRAME_CANCEL) {
		on_cancel(s);
		return NULL;
	}
	s->credit += frame_get_u32(m->body); /* CREDIT: 2^32 times before it overflows */
	stream_flow(s);
	return NULL;
}

/* ---- The connection ---- */

/* Its calls go on without it, unless they asked otherwise. */
static void drop_streams(struct frames *f)
{
	f->over = true;
	while (!TAILQ_EMPTY(&f->streams)) {
		struct stream *s = TAILQ_FIRST(&f->streams);

		s->call.gone = true;
		if (s->state == RUNS && s->call.user)
			invocation_client_gone(f->d, &s->call);
		else
			stream_free(s);
	}
}

static void break_off(struct frames *f, const char *why)
{
	struct buf params = {0}, b = {0};

	buf_printf(&params, "{\"reason\":\"%s\"}", why); /* plain text */
	frames_put_error(&b, "org.fsbox.Sandbox.InvalidFrame", &params);
	if (!b.failed)
		frames_send(f, FRAME_ERROR, 0, b.data, b.len);
	buf_done(&params);
	buf_done(&b);
	drop_streams(f);
	conn_finish(f->conn);
}

static void frames_input(void *arg, const char *data, size_t len)
{
	struct frames *f = arg;

	while (len > 0 && !f->over) {
		struct frame m;
		ssize_t n = frame_take(&f->rx, data, len, &m);
		const char *wrong = n < 0 ? f->rx.wrong : m.type != FRAME_NONE ? on_frame(f, &m) : NULL;

		if (wrong) {
			break_off(f, wrong);
			return;
		}
		data += n;
		len -= (size_t)n;
	}
}

/* What is not whole will not become so. */
static void frames_end(void *arg)
{
	struct frames *f = arg;
	struct stream *s, *next;

	f->ended = true;
	for (s = TAILQ_FIRST(&f->streams); s && !f->over; s = next) {
		next = TAILQ_NEXT(s, link);
		if (s->state == COMING)
			stream_refuse(s, "org.fsbox.Sandbox.Cancelled", NULL);
	}
	frames_pump(f);
	if (f->n_streams == 0)
		conn_finish(f->conn);
}

static void frames_room(void *arg)
{
	frames_pump(arg);
}

static void frames_closed(void *arg)
{
	struct frames *f = arg;

	drop_streams(f);
	frames_unlist(f);
	loop_forget(&f->d->loop, &f->later);
	frame_rx_done(&f->rx);
	free(f);
}

static unsigned streams_of(const struct rights *r)
{
	const uint64_t most = (uint64_t)r->max_cells + r->max_queued;

	return most < 1 ? 1 : most < FRAMES_STREAMS ? (unsigned)most : FRAMES_STREAMS;
}

void frames_begin(struct daemon *d, struct call *c)
{
	static const struct conn_ops ops = {
		.input = frames_input,
		.end = frames_end,
		.room = frames_room,
		.closed = frames_closed,
	};
	struct frames *f;
	struct buf b = {0};
	struct err e = {0};

	if (json_length(c->params) > 0) {
		call_invalid(c, "parameters");
		return;
	}
	f = calloc(1, sizeof *f);
	if (!f) {
		(void)err_oom(&e);
		answer_err(c, &e);
		return;
	}
	*f = (struct frames){.d = d, .conn = c->conn, .max_streams = streams_of(call_rights(d, c))};
	TAILQ_INIT(&f->streams);
	frames_list(f);
	buf_puts(&b, "{\"kind\":\"frames\",\"invocation\":\"\"}");
	call_upgrade(c, &b, &ops, f);
	b.len = 0;
	buf_printf(&b, "{\"version\":1,\"streams\":%u,\"credit\":%d,\"callBytes\":%d,\"eventBytes\":%d}",
		   f->max_streams, FRAME_WINDOW, FRAME_MAX_JSON, SPEC_MAX_PAYLOAD);
	if (b.failed)
		conn_break(f->conn);
	else
		frames_send(f, FRAME_HELLO, 0, b.data, b.len);
	buf_done(&b);
}
