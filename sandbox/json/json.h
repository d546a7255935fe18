/* The only user of jansson. Text comes in with a size cap, a depth cap and duplicate keys refused; errors carry a place:
 * "FILE:LINE:COLUMN" for syntax, "FILE: $.path.to[3].key" for meaning.
 *
 * Nothing here prints. A document is freed by its owner with json_doc_free(); values borrowed from it die with it. */
#pragma once

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

enum { JSON_MAX_DEPTH = 64 };

struct json_doc;
struct json; /* a value inside a document; opaque, never freed by itself */

/* Where a value stands, linked through the caller's stack and rendered only when something fails. */
struct json_path {
	const struct json_path *up; /* NULL at the root */
	const char *key;            /* member name, or NULL when an element */
	size_t index;
};

enum json_type { JSON_NULL, JSON_BOOL, JSON_INTEGER, JSON_REAL, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

/* Parses the whole text, whose root may be of any type. @file names it in errors. ERR_SPEC with where =
 * "FILE:LINE:COLUMN"; also for integers beyond 64 bits and for NUL, raw or escaped. @max_bytes: ERR_LIMIT. */
NODISCARD int json_parse(const char *file, const char *text, size_t len, size_t max_bytes, struct json_doc **ret_doc,
			 struct err *e);
void json_doc_free(struct json_doc *doc);
static inline void json_doc_freep(struct json_doc **doc)
{
	json_doc_free(*doc);
}
const struct json *json_doc_root(const struct json_doc *doc);
const char *json_doc_file(const struct json_doc *doc);

enum json_type json_type_of(const struct json *v);
const char *json_type_name(enum json_type t); /* "an object", "a string", … as errors say it */
bool json_bool_get(const struct json *v);
int64_t json_integer_get(const struct json *v);
double json_real_get(const struct json *v);
const char *json_string_get(const struct json *v, size_t *ret_len); /* UTF-8; may hold no NUL */
size_t json_length(const struct json *v);                           /* elements or members */
const struct json *json_at(const struct json *array, size_t i);
const struct json *json_member(const struct json *object, const char *key); /* NULL when absent */
/* Calls @fn for each member in the document's order until one returns non-zero; returns that value. */
int json_each(const struct json *object, int (*fn)(const char *key, const struct json *v, void *arg), void *arg);

/* ERR_SPEC with where = "FILE: $.path". Returns -EINVAL. */
int json_err(struct err *e, const struct json_doc *doc, const struct json_path *at, const char *fmt, ...) PRINTF(4, 5);

/* True when @text is exactly one JSON value (any type, RFC 8259 to the letter) within JSON_MAX_DEPTH. No allocation. Takes
 * what json_parse() refuses: duplicate keys, numbers of any size, \u0000, lone surrogate escapes. */
bool json_is_value(const char *text, size_t len);

/* The value as compact JSON text appended to @b. */
void json_dump_to(struct buf *b, const struct json *v);

/* Appends @s as a JSON string with its quotes; bytes that are not UTF-8 become U+FFFD. */
void json_add_string(struct buf *b, const char *s, size_t len);
