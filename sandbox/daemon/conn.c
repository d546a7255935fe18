/* A connection: reads, serves one call at a time, goes on when its answer is out. What a client sends ahead stays in the
 * socket: then the loop no longer asks for it, which costs calls of clients that wait for their answers nothing. */
#include "daemon/conn.h"

#include "base/fd.h"

#include <sys/socket.h>

enum {
	TURN_MESSAGES = 16, /* of one connection before others have their turn */
	TURN_READS = 16,
	RAW_BYTES = 131072, /* of one read of an upgraded connection; a Unix socket rarely holds more */
};

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* Linux 6.5 */
#endif

static void conn_ready(void *arg, uint32_t events);
static void conn_go(void *arg);

void conn_start(struct server *s, int fd, struct user *u, struct peer *peer)
{
	struct conn *c = calloc(1, sizeof *c);
	struct err e = {0};

	if (!c || loop_add(s->loop, &c->watch, fd, EPOLLIN, conn_ready, c, &e) < 0) {
		s->counts.refused++;
		free(c);
		free(peer->groups);
		(void)close(fd);
		return;
	}
	c->s = s;
	c->fd = fd;
	c->user = u;
	c->peer = *peer;
	c->pidfd = FD_NONE;
	c->last = &c->first;
	c->rx.max_bytes = s->config.max_message_bytes;
	c->rx.skip_bytes = s->config.too_long ? WIRE_LIMIT_BYTES : 0;
	c->next = s->conns;
	c->link = &s->conns;
	if (c->next)
		c->next->link = &c->next;
	s->conns = c;
	u->conns++;
	s->counts.conns++;
	s->counts.accepted++;
}

void conn_close(struct conn *c)
{
	struct server *s = c->s;

	if (c->open) /* only when the whole server is closed */
		conn_end_call(c);
	if (c->ops)
		c->ops->closed(c->ops_arg);
	if (s->config.ops->closed)
		s->config.ops->closed(s->config.arg, c);
	loop_remove(s->loop, &c->watch);
	loop_forget(s->loop, &c->later);
	out_drop(c);
	wire_rx_done(&c->rx);
	(void)server_count(c);
	fd_closep(&c->pidfd);
	fd_closep(&c->fd);
	free(c->peer.groups);
	server_conn_gone(s, c);
	free(c);
}

void conn_break(struct conn *c)
{
	c->closing = true;
	c->held = 0; /* given back as soon as its owner hears of it; others are not to pay for it until then */
	out_drop(c);
	(void)shutdown(c->fd, SHUT_RDWR); /* EPOLLHUP follows, at a place where nobody stands in this connection */
}

void conn_end_call(struct conn *c)
{
	close_fds(c->call.fds, c->call.n_fds);
	free(c->call.fds);
	json_doc_free(c->doc);
	c->doc = NULL;
	c->call = (struct call){0};
	c->open = false;
	c->refused = false;
	c->s->counts.open_calls--;
	(void)server_count(c); /* less than before */
	if (!c->dispatching && (c->dead || c->ops || !(c->watch.events & EPOLLIN) || wire_rx_ready(&c->rx)))
		loop_later(c->s->loop, &c->later, conn_go, c);
}

static bool may_serve(const struct conn *c)
{
	return !c->open && !c->first && !c->closing && !c->ops;
}

/* One read. False when there is nothing to be had now. ECONNRESET is how a stream ends whose client has left answers
 * unread; of the dead, who are not watched any more, nothing comes behind an empty socket. */
static bool read_some(struct conn *c)
{
	ssize_t n = wire_rx_recv(&c->rx, c->fd);

	if (n > 0 && server_count(c))
		return true;
	c->eof = n == 0 || n == -ECONNRESET || (n == -EAGAIN && c->dead);
	if (!c->eof && n != -EAGAIN) {
		c->s->counts.bad_messages++;
		conn_break(c);
	}
	return false;
}

/* Serves the message that is next in the buffer, if there is one. */
static bool serve_next(struct conn *c)
{
	UNINITIALIZED int fds[WIRE_MAX_FDS];
	struct wire_message m;
	size_t n_fds;
	int r = wire_rx_next(&c->rx, &m, fds, &n_fds);

	if (r < 0) {
		c->s->counts.bad_messages++;
		conn_break(c);
	}
	if (r <= 0)
		return false;
	dispatch(c, &m, fds, n_fds);
	wire_rx_trim(&c->rx);
	return true;
}

/* Reads and serves until a call stays open, an answer waits, there is nothing more or others have to have their turn. */
static void serve(struct conn *c)
{
	unsigned served = 0, reads = 0;
	bool more = !c->eof;

	while (may_serve(c)) {
		if (served == TURN_MESSAGES || reads == TURN_READS) {
			loop_later(c->s->loop, &c->later, conn_go, c);
			return;
		}
		if (serve_next(c)) {
			served++;
			continue;
		}
		/* After a read that left room the socket is empty; the dead are not told of, so they are read to their
		 * end. */
		if (c->closing || !more)
			return;
		reads++;
		more = read_some(c) && (c->dead || wire_rx_full(&c->rx));
	}
}

/* The end of the stream is read only when what came before is served and its answers are sent. */
static bool is_over(const struct conn *c)
{
	return !c->open && !c->later.queued && (c->closing ? !c->first : c->eof);
}

/* ---- After an upgrade ---- */

/* What came with the message of the upgrade. Its descriptors are nobody's. */
static void hand_on(struct conn *c)
{
	const char *data;
	size_t len = wire_rx_rest(&c->rx, &data);

	c->told = true;
	if (len > 0)
		c->ops->input(c->ops_arg, data, len);
	wire_rx_done(&c->rx);
	(void)server_count(c); /* less than before */
}

/* Descriptors are not asked for: the kernel drops them. Of the dead everything is read that they have sent. */
static void read_raw(struct conn *c)
{
	static char bytes[RAW_BYTES];

	for (unsigned reads = 0; !c->closing && !c->eof && (c->dead || reads < TURN_READS); reads++) {
		ssize_t n = recv(c->fd, bytes, sizeof bytes, MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN && !c->dead)
			return;
		if (n <= 0) {
			c->eof = true;
			(void)loop_set(c->s->loop, &c->watch, c->watch.events & ~(uint32_t)EPOLLIN);
			c->ops->end(c->ops_arg);
			return;
		}
		c->ops->input(c->ops_arg, bytes, (size_t)n);
		if ((size_t)n < sizeof bytes && !c->dead)
			return;
	}
}

static void go_raw(struct conn *c)
{
	if (!c->told)
		hand_on(c);
	if (c->dead)
		read_raw(c);
	if (c->dead || (c->closing && !c->first))
		conn_close(c);
	else if (c->closing || c->eof)
		(void)loop_set(c->s->loop, &c->watch, c->watch.events & ~(uint32_t)EPOLLIN);
	else
		(void)loop_set(c->s->loop, &c->watch, c->watch.events | EPOLLIN);
}

static void raw_ready(struct conn *c, uint32_t events)
{
	if (events & (EPOLLHUP | EPOLLERR)) {
		c->dead = true;
		loop_remove(c->s->loop, &c->watch); /* EPOLLHUP would be told without end */
		out_drop(c);
	} else if (events & EPOLLOUT) {
		out_flush(c);
		if (!c->first && !c->closing)
			c->ops->room(c->ops_arg);
	}
	if ((events & EPOLLIN) && !c->dead)
		read_raw(c);
	go_raw(c);
}

void call_upgrade(struct call *c, const struct buf *params, const struct conn_ops *ops, void *arg)
{
	c->conn->ops = ops;
	c->conn->ops_arg = arg;
	call_reply(c, params, NULL, 0);
}

void conn_send(struct conn *c, const struct out_text parts[static OUT_TEXTS])
{
	out_message(c, parts, NULL, 0);
}

bool conn_is_clear(const struct conn *c)
{
	return !c->first && !c->dead && !c->closing;
}

size_t conn_backlog(const struct conn *c)
{
	return c->queued_bytes;
}

void conn_hold(struct conn *c, size_t bytes)
{
	if (c->closing) /* it will be given back */
		return;
	c->held = bytes;
	(void)server_count(c);
}

bool conn_fits(const struct conn *c, unsigned quarters)
{
	return c->user->bytes <= c->s->config.max_bytes_per_uid / 4 * quarters;
}

void conn_finish(struct conn *c)
{
	c->closing = true;
	(void)shutdown(c->fd, SHUT_RD); /* who only writes would wait for us for ever: EPIPE */
	loop_later(c->s->loop, &c->later, conn_go, c);
}

/* ---- Both ---- */

static void conn_go(void *arg)
{
	struct conn *c = arg;

	if (!c->ops)
		serve(c);
	if (c->ops) {
		go_raw(c);
		return;
	}
	if (is_over(c))
		conn_close(c);
	else if (c->closing)
		(void)loop_set(c->s->loop, &c->watch, c->watch.events & ~(uint32_t)EPOLLIN);
	else if (may_serve(c) && !c->later.queued)
		(void)loop_set(c->s->loop, &c->watch, c->watch.events | EPOLLIN);
}

static void conn_died(struct conn *c)
{
	const struct server_config *config = &c->s->config;

	c->dead = true;
	loop_remove(c->s->loop, &c->watch); /* EPOLLHUP would be told without end */
	out_drop(c);
	if (!c->open || c->call.gone)
		return;
	c->call.gone = true;
	if (config->ops->gone)
		config->ops->gone(config->arg, &c->call);
}

static void send_more(struct conn *c)
{
	const struct server_config *config = &c->s->config;

	out_flush(c);
	if (!c->open || c->closing || !c->refused || c->queued > config->max_queued / 2 ||
	    c->queued_bytes > config->max_queued_bytes / 2)
		return;
	c->refused = false;
	if (config->ops->drained)
		config->ops->drained(config->arg, &c->call);
}

static void conn_ready(void *arg, uint32_t events)
{
	struct conn *c = arg;

	if (c->ops) {
		raw_ready(c, events);
		return;
	}
	if (events & (EPOLLHUP | EPOLLERR))
		conn_died(c);
	else if (events & EPOLLOUT)
		send_more(c);
	if ((events & EPOLLIN) && !may_serve(c))
		(void)loop_set(c->s->loop, &c->watch, c->watch.events & ~(uint32_t)EPOLLIN);
	conn_go(c);
}

/* ---- For handlers ---- */

const struct peer *conn_peer(const struct conn *c)
{
	return &c->peer;
}

int conn_pidfd(struct conn *c)
{
	int fd;
	socklen_t len = sizeof fd;

	if (!c->pidfd_asked && getsockopt(c->fd, SOL_SOCKET, SO_PEERPIDFD, &fd, &len) == 0)
		c->pidfd = fd; /* close-on-exec by itself, as every pidfd */
	c->pidfd_asked = true;
	return c->pidfd;
}

int conn_fd(const struct conn *c)
{
	return c->fd;
}

void conn_set_data(struct conn *c, void *data)
{
	c->data = data;
}

void *conn_data(const struct conn *c)
{
	return c->data;
}
