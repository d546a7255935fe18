/* Sending: small frames at once, answers in turns, as far as credit and socket go. */
#include "daemon/frames_parts.h"

enum {
	CHUNK = 131072,       /* of an answer with one frame */
	TURN_BYTES = 1 << 20, /* of one connection's answers before others have their turn */
	QUEUE_BYTES = 65536,  /* small frames that wait for a client who does not read; with more it is closed */
	/* One byte more than an event may have: who sends it is told so, and does not wait for credit for ever. */
	MAX_GRANT = SPEC_MAX_PAYLOAD + 1,
	SLOW_NS = 1000000000, /* an answer of which nobody took anything for so long makes room for others */
};

/* ---- Sending ---- */

static struct out_text head_of(unsigned char to[static FRAME_HEAD], enum frame_type type, uint32_t stream, size_t len)
{
	frame_put_head(to, type, stream, len);
	return (struct out_text){.text = (char *)to, .len = FRAME_HEAD};
}

static void send_frame(struct frames *f, enum frame_type type, uint32_t stream, const void *body, size_t len)
{
	unsigned char head[FRAME_HEAD];
	const struct out_text parts[OUT_TEXTS] = {head_of(head, type, stream, len), {body, len}};

	conn_send(f->conn, parts);
}

void frames_send(struct frames *f, enum frame_type type, uint32_t stream, const void *body, size_t len)
{
	send_frame(f, type, stream, body, len);
	if (conn_backlog(f->conn) > CHUNK + QUEUE_BYTES)
		conn_break(f->conn);
}

void frames_put_error(struct buf *b, const char *error, const struct buf *params)
{
	const bool has = params && params->len > 0;

	buf_printf(b, "{\"error\":\"%s\",\"parameters\":", error); /* a name of a table: plain text */
	buf_add(b, has ? params->data : "{}", has ? params->len : 2);
	buf_puts(b, "}");
	b->failed = b->failed || (params && params->failed);
}

/* ---- What is held ---- */

static void put_slow(struct stream *s);

static struct all_frames all = TAILQ_HEAD_INITIALIZER(all);

void frames_list(struct frames *f)
{
	TAILQ_INSERT_TAIL(&all, f, link);
}

void frames_unlist(struct frames *f)
{
	TAILQ_REMOVE(&all, f, link);
}

/* Of this user's answers the one that has waited longest for its reader, if that is long enough. */
static struct stream *slowest(const struct frames *of)
{
	const uint64_t before = clock_mono_ns() - SLOW_NS;
	const uid_t uid = conn_peer(of->conn)->uid;
	struct stream *found = NULL;

	for (struct frames *f = TAILQ_FIRST(&all); f; f = TAILQ_NEXT(f, link)) {
		if (conn_peer(f->conn)->uid != uid)
			continue;
		for (struct stream *s = TAILQ_FIRST(&f->streams); s; s = TAILQ_NEXT(s, link))
			if (s->state == OVER && s->answer.len > 0 && s->moved_ns < (found ? found->moved_ns : before))
				found = s;
	}
	return found;
}

bool frames_hold(struct frames *f, size_t more, enum hold of)
{
	f->held += more;
	conn_hold(f->conn, f->held);
	while (!conn_fits(f->conn, of)) {
		struct stream *s = slowest(f);

		if (!s)
			return false;
		put_slow(s);
		stream_flow(s);
	}
	return true;
}

void frames_let_go(struct frames *f, size_t less)
{
	f->held -= less;
	conn_hold(f->conn, f->held);
}

static void grant(struct stream *s)
{
	unsigned char body[4];

	s->large = true;
	s->f->n_large++;
	frame_put_u32(body, (uint32_t)(MAX_GRANT - s->granted));
	s->granted = MAX_GRANT;
	frames_send(s->f, FRAME_CREDIT, s->id, body, sizeof body);
}

void stream_grant_next(struct frames *f)
{
	while (f->n_large < FRAMES_LARGE && !f->over) {
		struct stream *first = NULL, *s;

		for (s = TAILQ_FIRST(&f->streams); s; s = TAILQ_NEXT(s, link))
			if (s->state == COMING && !s->large && s->event.len > FRAMES_LARGE_EVENT &&
			    (!first || s->id < first->id))
				first = s;
		if (!first)
			return;
		grant(first);
	}
}

void stream_be_small(struct stream *s)
{
	if (!s->large)
		return;
	s->large = false;
	s->f->n_large--;
	stream_grant_next(s->f);
}

void stream_free(struct stream *s)
{
	struct frames *f = s->f;

	TAILQ_REMOVE(&f->streams, s, link);
	f->n_streams--;
	stream_be_small(s);
	frames_let_go(f, s->event.len + s->answer.len + s->last.len);
	json_doc_free(s->doc);
	buf_done(&s->event);
	buf_done(&s->answer);
	buf_done(&s->last);
	free(s);
	if (f->ended && f->n_streams == 0 && !f->over)
		conn_finish(f->conn);
}

/* ---- Answers ---- */

static void count_sent(struct stream *s, size_t n)
{
	s->credit -= n;
	s->total += n;
	s->f->sent += n + FRAME_HEAD;
}

/* The rest of the answer and the last frame with one system call, when the credit is enough for it. */
static bool send_all(struct stream *s, const void *last, size_t len)
{
	const size_t left = s->answer.len - s->sent;
	unsigned char heads[2][FRAME_HEAD];
	const struct out_text parts[OUT_TEXTS] = {
		head_of(heads[0], FRAME_DATA, s->id, left),
		{left > 0 ? s->answer.data + s->sent : "", left},
		head_of(heads[1], s->last_type, s->id, len),
		{last, len},
	};

	if (left > CHUNK || left > s->credit || !conn_is_clear(s->f->conn))
		return false;
	count_sent(s, left);
	if (left > 0)
		conn_send(s->f->conn, parts);
	else
		send_frame(s->f, s->last_type, s->id, last, len);
	stream_free(s);
	return true;
}

/* As much as credit and the socket take, at most one frame of it. */
static void send_some(struct stream *s)
{
	const size_t n = least(least(s->answer.len - s->sent, s->credit), CHUNK);

	if (!conn_is_clear(s->f->conn) || send_all(s, s->last.data, s->last.len) || n == 0)
		return;
	send_frame(s->f, FRAME_DATA, s->id, s->answer.data + s->sent, n);
	s->sent += n;
	s->moved_ns = clock_mono_ns();
	count_sent(s, n);
}

void stream_forget_answer(struct stream *s)
{
	frames_let_go(s->f, s->answer.len + s->last.len);
	buf_done(&s->answer);
	buf_done(&s->last);
	s->sent = 0;
}

/* Instead of what cannot be kept for its client; who has chosen an id can ask for it again. */
static void put_slow(struct stream *s)
{
	struct buf params = {0};

	buf_printf(&params, "{\"cursor\":%zu}", s->total);
	stream_forget_answer(s);
	s->last_type = FRAME_ERROR;
	frames_put_error(&s->last, "org.fsbox.Sandbox.SlowConsumer", &params);
	s->f->held += s->last.len; /* whether that is much or not: it is less than before */
	conn_hold(s->f->conn, s->f->held);
	buf_done(&params);
	if (s->last.failed)
		conn_break(s->f->conn);
}

static void be_over(struct stream *s, enum frame_type type, const void *last, size_t len)
{
	struct frames *f = s->f;

	s->state = OVER;
	s->last_type = type;
	stream_be_small(s);
	if (s->call.gone || f->over) {
		stream_free(s);
		return;
	}
	if (send_all(s, last, len))
		return;
	frames_let_go(f, s->event.len);
	buf_done(&s->event);
	if (!s->slow)
		buf_add(&s->last, last, len);
	if (s->slow || !frames_hold(f, s->last.len, HOLD_ANSWERS))
		put_slow(s);
	if (s->last.failed)
		conn_break(f->conn);
	else
		stream_flow(s);
}

void stream_refuse(struct stream *s, const char *error, const struct buf *params)
{
	struct buf b = {0};

	frames_put_error(&b, error, params);
	if (b.failed) {
		s->call.gone = true;
		conn_break(s->f->conn);
	}
	be_over(s, FRAME_ERROR, b.data, b.len);
	buf_done(&b);
}

static void progress(struct stream *s)
{
	if (s->state == RUNS && s->credit > 0)
		invocation_flow(s->call.user);
	if (s->state != OVER)
		return;
	if (s->f->ended && s->credit == 0 && s->sent < s->answer.len)
		put_slow(s); /* its client gives no more credit, so that is all that it gets */
	send_some(s);
}

void frames_pump(void *arg)
{
	struct frames *f = arg;
	const uint64_t begin = f->sent;

	for (unsigned idle = 0; idle < f->n_streams && conn_is_clear(f->conn);) {
		struct stream *s = TAILQ_FIRST(&f->streams);
		const uint64_t before = f->sent;

		if (before - begin > TURN_BYTES) {
			loop_later(&f->d->loop, &f->later, frames_pump, f);
			return;
		}
		TAILQ_REMOVE(&f->streams, s, link);
		TAILQ_INSERT_TAIL(&f->streams, s, link);
		progress(s);
		idle = f->sent == before ? idle + 1 : 0;
	}
}

void stream_flow(struct stream *s)
{
	struct frames *f = s->f;

	progress(s);
	loop_later(&f->d->loop, &f->later, frames_pump, f);
}

/* ---- As the calls' sink ---- */

static struct stream *stream_of(struct call *c)
{
	return (struct stream *)c;
}

static void sink_reply(struct call *c, const struct buf *params)
{
	const bool has = params && params->len > 0;

	if (params && params->failed) {
		c->gone = true;
		conn_break(c->conn);
	}
	be_over(stream_of(c), FRAME_RESULT, has ? params->data : "{}", has ? params->len : 2);
}

static void sink_error(struct call *c, const char *error, const struct buf *params)
{
	stream_refuse(stream_of(c), error, params);
}

static void sink_drop_params(struct call *c)
{
	struct stream *s = stream_of(c);

	json_doc_free(s->doc);
	s->doc = NULL;
	c->params = NULL;
}

static size_t sink_data(struct call *c, const char *data, size_t len)
{
	struct stream *s = stream_of(c);
	size_t taken = 0;

	while (taken < len && s->credit > 0 && conn_is_clear(s->f->conn)) {
		const size_t n = least(least(len - taken, s->credit), CHUNK);

		send_frame(s->f, FRAME_DATA, s->id, data + taken, n);
		count_sent(s, n);
		taken += n;
	}
	return taken;
}

static void sink_rest(struct call *c, struct buf *body, size_t from, bool take)
{
	struct stream *s = stream_of(c);

	s->moved_ns = clock_mono_ns();
	if (take) {
		s->answer = *body;
		*body = (struct buf){0};
		s->sent = from;
	} else if (body->len > from) {
		buf_add(&s->answer, body->data + from, body->len - from);
	}
	s->slow = !frames_hold(s->f, s->answer.len, HOLD_ANSWERS) || s->answer.failed;
}

static void sink_log(struct call *c, int stream, const char *data, size_t len)
{
	struct stream *s = stream_of(c);

	while (len > 0) {
		const size_t n = least(len, FRAME_LOG_TEXT);
		unsigned char heads[FRAME_HEAD + FRAME_LOG_HEAD] = {0};
		const struct out_text parts[OUT_TEXTS] = {{(char *)heads, sizeof heads}, {data, n}};

		data += n;
		len -= n;
		if (!conn_is_clear(c->conn)) {
			s->logs_dropped++;
			continue;
		}
		frame_put_head(heads, FRAME_LOG, s->id, FRAME_LOG_HEAD + n);
		frame_put_u32(heads + FRAME_HEAD, s->logs_dropped);
		heads[FRAME_HEAD + 4] = (unsigned char)(stream + 1);
		s->logs_dropped = 0;
		conn_send(c->conn, parts);
	}
}

const struct call_sink frames_sink = {
	.reply = sink_reply,
	.error = sink_error,
	.drop_params = sink_drop_params,
	.data = sink_data,
	.rest = sink_rest,
	.log = sink_log,
};
