/* Varlink's server: connections, their calls and answers, on a listening Unix socket that the caller made.
 *
 * A call is read, checked against its method's table and told to ops->call(); it stays open until its final answer,
 * which may come from inside ops->call() or any time later. One call at a time for each connection: what a client sends
 * ahead waits, in the socket beyond one buffer, until the one before is answered and the answer is out of our hands.
 * Nothing that a client sends, leaves out or does not read blocks. org.varlink.service is answered here. */
#pragma once

#include "base/loop.h"
#include "wire/message.h"

#include <sys/types.h>

struct server;
struct conn; /* a connection */

struct peer {
	uid_t uid;
	gid_t gid;
	pid_t pid;     /* of connect(2): it may be gone and its number another's by now; see conn_pidfd() */
	gid_t *groups; /* supplementary ones */
	size_t n_groups;
};

struct call {
	struct conn *conn;
	const struct wire_interface *interface;
	const struct wire_method *method;
	const struct json *params; /* checked; an object, never NULL; gone after call_drop_params() and with the call */
	bool more;                 /* call_continue() may be used */
	bool oneway;               /* nobody hears the answer; it must be given nevertheless */
	bool gone;                 /* the client has closed: as oneway from now on */
	bool upgrade;              /* of a method with WIRE_UPGRADE: to be answered with call_upgrade() or an error */
	int *fds;                  /* by the indices of params; closed with the call unless taken */
	size_t n_fds;
	void *user; /* the handler's own, NULL at first */

	/* Of a call that did not come as a message of its own: where its answers go instead, and its event. */
	const struct call_sink *sink;
	struct buf *body;
};

/* call_reply(), call_error() and call_drop_params() end here for a call that has one. call_continue() is not for it. */
struct call_sink {
	void (*reply)(struct call *c, const struct buf *params);
	void (*error)(struct call *c, const char *error, const struct buf *params);
	void (*drop_params)(struct call *c);
	/* A part of the body. How much of it was taken: the rest is to be offered again. */
	size_t (*data)(struct call *c, const char *data, size_t len);
	/* Before reply(): the whole body, of which the first @from bytes were taken by data(). @take: it may be taken
	 * away. */
	void (*rest)(struct call *c, struct buf *body, size_t from, bool take);
	/* What the function has written; may be dropped. */
	void (*log)(struct call *c, int stream, const char *data, size_t len);
};

struct server_ops {
	/* A call to be answered, now or later, with exactly one call_reply() or call_error(). */
	void (*call)(void *arg, struct call *c);
	/* Its client has closed. The call stays open, and its answer is owed all the same. May be NULL. */
	void (*gone)(void *arg, struct call *c);
	/* May this peer call that? PermissionDenied otherwise. NULL: everybody may. */
	bool (*allowed)(void *arg, const struct peer *p, const struct wire_method *m);
	/* The connection is over, no call of it is open. For conn_set_data()'s. May be NULL. */
	void (*closed)(void *arg, struct conn *c);
	/* Room in the queue again for a call that call_continue() once refused. May be NULL. */
	void (*drained)(void *arg, struct call *c);
};

struct server_config {
	const struct server_ops *ops;
	void *arg;
	const struct wire_interface *const *interfaces; /* without org.varlink.service; ends with NULL */
	const char *vendor, *product, *version, *url;   /* GetInfo */
	/* 0: what stands behind */
	unsigned max_conns;         /* 4096, and at most 3/4 of RLIMIT_NOFILE; more wait in the listener's backlog */
	unsigned max_conns_per_uid; /* 256; more are closed at once */
	unsigned max_fds_per_uid;   /* 1024 in messages that are not served yet; who exceeds it is closed */
	size_t max_bytes_per_uid;   /* 256 MiB in buffers of messages; who exceeds it is closed */
	size_t max_message_bytes;   /* WIRE_DEFAULT_BYTES, at most WIRE_LIMIT_BYTES */
	/* Longer ones, up to WIRE_LIMIT_BYTES, are answered with this error, which has maxBytes, without being read; NULL:
	 * they end the connection. */
	const char *too_long;
	size_t max_queued_bytes; /* 1 MiB of answers for each connection until call_continue() refuses */
	size_t max_queued;       /* 1024 answers likewise */
};

struct server_counts {
	uint64_t accepted, refused, calls, bad_messages;
	unsigned conns, open_calls;
};

/* @listener is borrowed and made nonblocking. Strings and tables of @config are borrowed as well. The caller ignores
 * SIGPIPE or not: nothing here raises it. */
NODISCARD int server_open(struct server **ret, struct loop *l, int listener, const struct server_config *config,
			  struct err *e);
/* No more connections are taken; those that are there go on. */
void server_stop_accepting(struct server *s);
/* Closes everything; open calls are told as gone and are over when this returns, answered or not. */
void server_close(struct server *s);
const struct server_counts *server_counts(const struct server *s);

/* The final answer. @params: the text of an object; NULL or empty: {}. @fds: sent with it and closed; taken over in any
 * case, NULL when @n_fds is 0. @c is over when this returns, with c->params and every string of it; the next call of its
 * connection is not told before the handler returns. A @params that has failed to grow closes the connection. */
void call_reply(struct call *c, const struct buf *params, int *fds, size_t n_fds);
/* The same as one of several answers. False, and nothing is sent, when the client does not keep up (max_queued…): end
 * the call or try again when ops->drained() is told. @fds are taken over in any case. */
NODISCARD bool call_continue(struct call *c, const struct buf *params, int *fds, size_t n_fds);
/* @error: full name. @params as above. */
void call_error(struct call *c, const char *error, const struct buf *params);
/* InvalidParameter for what the table cannot say. @parameter as wire_check() has it. */
void call_invalid(struct call *c, const char *parameter);

/* The final answer to a call with `upgrade`: behind it the connection speaks what @ops make of its bytes, those that came
 * already included. It is no place for more calls. */
struct conn_ops {
	void (*input)(void *arg, const char *data, size_t len);
	void (*end)(void *arg);    /* the client sends nothing more; it may still read */
	void (*room)(void *arg);   /* all that waited is sent */
	void (*closed)(void *arg); /* the last that is told: the conn is gone when this returns */
};
void call_upgrade(struct call *c, const struct buf *params, const struct conn_ops *ops, void *arg);
/* Sends at once or queues, in order; without effect when the client is gone. */
struct out_text {
	const char *text;
	size_t len;
};
enum { OUT_TEXTS = 4 };
void conn_send(struct conn *c, const struct out_text parts[static OUT_TEXTS]);
/* Is nothing queued, so that what is sent is taken, at least its beginning? */
bool conn_is_clear(const struct conn *c);
size_t conn_backlog(const struct conn *c);
/* So many bytes are held for it; they count as its user's. Are these within so many quarters of what he may have? */
void conn_hold(struct conn *c, size_t bytes);
bool conn_fits(const struct conn *c, unsigned quarters);
/* Reads nothing more, and closes when what is queued is sent. closed() is told later. */
void conn_finish(struct conn *c);
/* Closes without that; closed() is told later. */
void conn_break(struct conn *c);

/* Gives a descriptor away: the caller's from now on. FD_NONE when it was taken before or there is none. */
int call_take_fd(struct call *c, int64_t index);
/* Frees the parameters of a call that stays open for long. c->params is NULL then. */
void call_drop_params(struct call *c);
/* Bytes of answers that the client has not taken from us yet. */
size_t call_backlog(const struct call *c);

const struct peer *call_peer(const struct call *c);
const struct peer *conn_peer(const struct conn *c);
/* SO_PEERPIDFD (Linux 6.5): opened when first asked for, kept with the connection; FD_NONE where there is none. */
int conn_pidfd(struct conn *c);
/* The connection itself, for handing on as whose it is; not to be read or written. */
int conn_fd(const struct conn *c);
void conn_set_data(struct conn *c, void *data);
void *conn_data(const struct conn *c);
