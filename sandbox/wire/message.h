/* Varlink's messages: a stream of bytes cut at NULs, with the descriptors that belong to each; calls read, answers
 * written. */
#pragma once

#include "wire/varlink.h"

/* ---- Calls ---- */

enum {
	WIRE_DEFAULT_BYTES = 1 << 20,
	WIRE_LIMIT_BYTES = 16 << 20,
	/* Values in one message. A JSON tree takes up to 130 bytes for what is three in the text, and 0.1 us each to build
	 * and to free: this bounds it to 2 MB and some milliseconds. */
	WIRE_MAX_VALUES = 16384,
};

struct wire_call {
	struct json_doc *doc; /* owned */
	const char *method;   /* in doc: full name */
	size_t method_len;
	const struct json *params; /* in doc: an object, NULL when absent or null */
	bool more, oneway, upgrade;
};

/* Reads {"method", "parameters"?, "oneway"?, "more"?, "upgrade"?}; other members are refused. ERR_SPEC or ERR_LIMIT
 * (memory: ERR_SYSTEM) with where = the member, or "" when the text is no JSON object: then the connection is of no more
 * use. On failure nothing is owned, and ret->oneway still tells whether an answer is wanted. */
NODISCARD int wire_call_parse(const char *text, size_t len, struct wire_call *ret, struct err *e);
void wire_call_done(struct wire_call *c);

/* ---- Writing: JSON text appended to a buf, which is all that is allocated ---- */

struct wire_obj {
	struct buf *b;
	bool any;
};
void wire_obj_begin(struct wire_obj *o, struct buf *b);
void wire_obj_end(struct wire_obj *o);
/* The key alone: the value is to be appended to the buf next; for nested objects and arrays. Keys are plain words. */
void wire_obj_key(struct wire_obj *o, const char *key);
void wire_obj_int(struct wire_obj *o, const char *key, int64_t v); /* cut to WIRE_INT_MAX on both sides */
void wire_obj_bool(struct wire_obj *o, const char *key, bool v);
void wire_obj_string(struct wire_obj *o, const char *key, const char *s); /* NULL: the member is left out */
void wire_obj_bytes(struct wire_obj *o, const char *key, const char *s, size_t len);
void wire_obj_raw(struct wire_obj *o, const char *key, const char *json, size_t len); /* text that is JSON */
void wire_add_int(struct buf *b, int64_t v);                                          /* for elements of arrays */

/* Whole messages with their NUL. @params: the text of an object; empty: {}. */
void wire_add_call(struct buf *b, const char *method, const char *params, size_t len, bool more, bool oneway);
void wire_add_reply(struct buf *b, const char *params, size_t len, bool continues);
void wire_add_error(struct buf *b, const char *error, const char *params, size_t len);

/* ---- Reading a stream ----
 *
 * Descriptors: a read of a Unix stream ends behind the data that they came with (unix(7); tests/unit/test_wire_rx.c
 * holds the kernel to it), so the last byte read stands in the message that they were sent with, as long as a sender
 * sends them with one message only, whole or in part. */

struct wire_rx_fd {
	uint64_t at; /* stream position of the last byte of the read that brought it */
	int fd;
};

/* Zero-initialise to start, then set max_bytes. */
struct wire_rx {
	size_t max_bytes; /* of a message without its NUL; 0: WIRE_DEFAULT_BYTES */
	size_t skip_bytes; /* longer ones, up to this, are not kept but skipped to their end; less: they break the stream */
	/* private */
	size_t skipped; /* of the message that begins at from: so much of it is gone */
	char *data;
	size_t from, len, cap; /* message starts at from; what was read ends at len */
	size_t scanned;        /* no NUL between from and here */
	uint64_t base;         /* stream position of data[0] */
	struct wire_rx_fd *fds;
	size_t n_fds, fds_cap;
	bool broken;
};

struct wire_message {
	char *text; /* terminated; in the buffer until the next wire_rx_…; NULL: it was skipped, with its descriptors */
	size_t len;
};

/* One recvmsg(2) without waiting. Bytes read; 0 at the end of the stream; -EAGAIN; other errors break the stream:
 * -EMSGSIZE too long, -EMFILE too many descriptors or no room for them here (MSG_CTRUNC), -ENOMEM, the socket's.
 * Descriptors of sockets and of anonymous inodes are closed at once; FD_NONE is in their place. */
NODISCARD ssize_t wire_rx_recv(struct wire_rx *rx, int sock);
/* The same for bytes that the caller has read. The descriptors are taken over in any case. 0 or -errno as above. */
NODISCARD int wire_rx_feed(struct wire_rx *rx, const void *data, size_t len, const int *fds, size_t n_fds);

/* The next whole message. Its descriptors are put to @fds, room for WIRE_MAX_FDS, and are the caller's. 1; 0: there is none
 * yet; -EMSGSIZE, -EMFILE: the stream is broken. */
NODISCARD int wire_rx_next(struct wire_rx *rx, struct wire_message *m, int *fds, size_t *ret_n_fds);
/* Is a whole message there? Looks at each byte once. */
bool wire_rx_ready(struct wire_rx *rx);
/* Bytes of a message that is not whole. At the end of the stream: it was cut. */
size_t wire_rx_partial(struct wire_rx *rx);
/* The last read filled the buffer: the socket may hold more. */
static inline bool wire_rx_full(const struct wire_rx *rx)
{
	return rx->cap > 0 && rx->len == rx->cap;
}
/* What was read behind the last message: how many bytes, *ret where. For who ends reading messages from the stream. */
static inline size_t wire_rx_rest(const struct wire_rx *rx, const char **ret)
{
	*ret = rx->data ? rx->data + rx->from : "";
	return rx->len - rx->from;
}
/* Gives back what taken messages needed. Texts of messages are gone with it. */
void wire_rx_trim(struct wire_rx *rx);
void wire_rx_done(struct wire_rx *rx); /* closes what nobody took */
