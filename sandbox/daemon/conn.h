/* Private to the server: server.c accepts and counts, conn.c reads and goes on, dispatch.c finds methods, out.c sends. */
#pragma once

#include "daemon/server.h"

/* What one uid holds. Stays while it has a connection. */
struct user {
	struct user *next;
	uid_t uid;
	unsigned conns;
	size_t fds;   /* in messages that are not served yet */
	size_t bytes; /* of messages that are read or wait to be sent */
};

struct server {
	struct loop *loop;
	struct server_config config; /* with defaults filled in */
	struct server_counts counts;
	struct watch listener;
	struct timer retry; /* accepting again after descriptors were short */
	bool accepting;
	struct user *users;
	struct conn *conns;
	struct json_doc *empty; /* {}: parameters of a call that has none */
	struct buf scratch;     /* for answers that are made here */
};

/* One message that the socket did not take. */
struct out_item {
	struct out_item *next;
	size_t len, done;
	size_t n_fds; /* 0 once they are sent */
	int *fds;     /* behind the struct, as the text is */
	char *text;
};

struct conn {
	struct server *s;
	struct user *user;
	struct conn *next, **link; /* among the server's */
	int fd;
	struct watch watch;
	struct later later; /* goes on */
	struct peer peer;
	int pidfd;
	bool pidfd_asked;
	void *data;

	struct wire_rx rx;
	struct call call;
	struct json_doc *doc; /* of the call */
	size_t fds_counted;   /* how many of user->fds are ours */
	size_t bytes_counted; /* likewise */
	bool open;            /* a call is open */
	bool dispatching;     /* and its handler has not returned */
	bool eof;             /* the client sends nothing more */
	bool dead;            /* it does not read any more either; the watch is removed */
	bool closing;         /* no more calls: close when what is queued is sent */
	bool refused;         /* call_continue() has said no */
	bool told;            /* an upgraded one: what came before the upgrade was handed on */

	const struct conn_ops *ops; /* of an upgraded one */
	void *ops_arg;
	size_t held;

	struct out_item *first, **last;
	size_t queued, queued_bytes;
};

/* ---- server.c ---- */
void server_conn_gone(struct server *s, struct conn *c); /* unlinks and uncounts; accepts again where that was full */
/* Has the user's sums follow what the connection holds. False when that is too much for one uid. */
bool server_count(struct conn *c);

/* ---- conn.c ---- */
/* Takes over @fd in any case. */
void conn_start(struct server *s, int fd, struct user *u, struct peer *peer);
void conn_close(struct conn *c);
/* The open call is over: frees what it holds and has the connection go on. */
void conn_end_call(struct conn *c);

/* ---- dispatch.c ---- */
/* Serves one message; its descriptors are taken over. When this returns the call may be open or over. */
void dispatch(struct conn *c, const struct wire_message *m, int *fds, size_t n_fds);

/* ---- out.c ---- */
/* Sends a message, or queues what the socket does not take. @fds are taken over. */
void out_message(struct conn *c, const struct out_text parts[static OUT_TEXTS], int *fds, size_t n_fds);
void out_flush(struct conn *c);
void out_drop(struct conn *c);
void close_fds(int *fds, size_t n);
