/* HTTP/1.1 as far as clients of the Runtime API speak it (RFC 9112): requests in, answers out. Pure functions on bytes:
 * nothing is read or written here, so all of it is fuzzed and tested without a socket. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Growing bytes. Zero-initialise to start. After a failed allocation `failed` is set and further calls do nothing. */
struct bytes {
	char *data;
	size_t len, cap;
	bool failed;
};
void bytes_add(struct bytes *b, const void *data, size_t len);
void bytes_puts(struct bytes *b, const char *s);
__attribute__((format(printf, 2, 3))) void bytes_printf(struct bytes *b, const char *fmt, ...);
void bytes_drop(struct bytes *b, size_t n); /* from the front */
void bytes_free(struct bytes *b);

enum {
	HTTP_MAX_HEAD = 1048576 + 65536, /* an error's X-Ray cause may have 1 MiB */
	HTTP_MAX_FIELDS = 64,
	HTTP_MAX_CHUNK_LINE = 4096, /* size and extensions of a chunk */
	HTTP_MAX_TRAILER = 2097152, /* an error document in base64 */
};

struct http_field {
	const char *name, *value; /* terminated, in the head; the value without blanks around it */
};

struct http_request {
	const char *method, *path; /* the path without what follows a '?' */
	struct http_field fields[HTTP_MAX_FIELDS];
	size_t n_fields;
	bool keep_alive, chunked, expects_continue;
	uint64_t length; /* of the body, when it is not chunked */
};

/* How long the head at the front of @data is, its empty line included; 0 when more is needed; SIZE_MAX when it is longer
 * than HTTP_MAX_HEAD. Empty lines before it count as its own (RFC 9112, 2.2). */
size_t http_head_length(const char *data, size_t len);

/* Parses a head of @len bytes in place; *ret points into it. 0, or the status with which it is to be refused. */
int http_parse_head(char *head, size_t len, struct http_request *ret);

/* Digits to a number of at most @max, in base 10 or 16. The number of digits, 0 when there are none or it is larger. */
size_t parse_digits(const char *s, unsigned base, uint64_t max, uint64_t *ret);

/* The value of a field, whatever the case of its name; NULL when it is not there. */
const char *http_field(const struct http_request *r, const char *name);

/* A body that comes in pieces. */
struct http_body {
	enum { BODY_LENGTH, BODY_SIZE, BODY_CHUNK, BODY_CHUNK_END, BODY_TRAILER, BODY_DONE } at;
	uint64_t left;     /* of the body or the chunk */
	struct bytes line; /* of a chunk's size, or the trailer so far */
	size_t seen;       /* bytes of lines that were taken */
};
void http_body_begin(struct http_body *b, const struct http_request *r);
/* Takes bytes from @data: *ret_used of them, of which the *ret_len at *ret_part are the body's. Call it until nothing is
 * used. 0; 1 when the body is complete; -EPROTO; -EMSGSIZE; -ENOMEM. */
int http_body_feed(struct http_body *b, const char *data, size_t len, size_t *ret_used, const char **ret_part,
		   size_t *ret_len);
/* Of a complete chunked body: the value of a trailer field, copied to @buf. NULL when there is none or no room. */
const char *http_trailer(const struct http_body *b, const char *name, char *buf, size_t size);
void http_body_end(struct http_body *b);

/* Appends an answer: status line, fields, and the body. @fields: whole lines with CRLF, or "". */
void http_answer(struct bytes *out, unsigned status, const char *fields, const char *content_type, const void *body,
		 size_t len, bool keep_alive);

/* Decodes base64 (RFC 4648, padded or not) to @b. False when it is none. */
bool http_base64_decode(struct bytes *b, const char *text);
