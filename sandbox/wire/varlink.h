/* Varlink (varlink.org, "Interface Definition" and "Method Call") as data: tables that describe an interface, from which
 * its text comes and against which parameters are checked. Messages to and from bytes: wire/message.h.
 *
 * Pure functions; tables are const and live as long as the program. */
#pragma once

#include "json/json.h"

enum {
	WIRE_MAX_FDS = 253, /* per message: SCM_MAX_FD of the kernel */
};
#define WIRE_INT_MAX \
	((INT64_C(1) << 53) - 1) /* beyond it readers that keep numbers as doubles lose digits (RFC 8259, 6) */

enum wire_type {
	WIRE_BOOL,
	WIRE_INT,
	WIRE_FLOAT, /* takes integers, too */
	WIRE_STRING,
	WIRE_OBJECT, /* any JSON object */
	WIRE_FD,     /* an int on the wire: index among the message's descriptors; each may be named once */
	WIRE_ENUM,
	WIRE_STRUCT,
};

enum wire_flags {
	WIRE_OPTIONAL = 1, /* may be absent or null */
	WIRE_ARRAY = 2,    /* of the type: []int, with WIRE_OPTIONAL ?[]int */
	WIRE_MAP = 4,      /* of the type, by strings: [string]int. Not together with WIRE_ARRAY */
};

/* Without a name (NULL) it stands in the interface's text where it is used. */
struct wire_enum {
	const char *name, *doc;
	const char *const *values; /* ends with NULL */
};

struct wire_field; /* lists of them end with a field without name */
struct wire_struct {
	const char *name, *doc;
	const struct wire_field *fields;
};

struct wire_field {
	const char *name;
	enum wire_type type;
	unsigned flags;
	int64_t min, max;                         /* of an int, or of each; both 0: 0 to WIRE_INT_MAX */
	size_t max_len;                           /* of a string in bytes; 0: no bound of its own */
	size_t max_items;                         /* of an array or map; 0: no bound of its own */
	bool (*valid)(const char *s, size_t len); /* of a string; NULL: any */
	const struct wire_enum *of_enum;
	const struct wire_struct *of_struct;
	const char *doc; /* one or more lines, or NULL */
};
#define WIRE_FIELDS(...) ((const struct wire_field[]){__VA_ARGS__, {.name = NULL}}) /* for tables at file scope */

enum wire_method_flags {
	WIRE_MORE = 1,       /* may answer several times when the client says more */
	WIRE_NEEDS_MORE = 2, /* only so: ExpectedMore without it */
	WIRE_UPGRADE = 4,    /* may be called with upgrade; MethodNotImplemented otherwise */
};

struct wire_method {
	const char *name, *doc;
	const struct wire_field *in, *out; /* NULL: none */
	unsigned flags;
	unsigned max_fds; /* that a call may bring */
	int id;           /* the owner's, for a switch */
};

struct wire_error {
	const char *name, *doc;
	const struct wire_field *fields; /* NULL: none */
};

struct wire_interface {
	const char *name, *doc;
	const struct wire_struct *const *structs; /* named ones in the order of the text; ends with NULL; NULL: none */
	const struct wire_enum *const *enums;     /* likewise */
	const struct wire_method *methods;        /* ends with one without name */
	const struct wire_error *errors;          /* likewise */
};

/* org.varlink.service, and its errors by their full names. */
extern const struct wire_interface wire_service;
enum wire_service_id { WIRE_GET_INFO, WIRE_GET_INTERFACE_DESCRIPTION };
#define WIRE_INTERFACE_NOT_FOUND    "org.varlink.service.InterfaceNotFound"    /* (interface: string) */
#define WIRE_METHOD_NOT_FOUND       "org.varlink.service.MethodNotFound"       /* (method: string) */
#define WIRE_METHOD_NOT_IMPLEMENTED "org.varlink.service.MethodNotImplemented" /* (method: string) */
#define WIRE_INVALID_PARAMETER      "org.varlink.service.InvalidParameter"     /* (parameter: string) */
#define WIRE_PERMISSION_DENIED      "org.varlink.service.PermissionDenied"     /* () */
#define WIRE_EXPECTED_MORE          "org.varlink.service.ExpectedMore"         /* () */

/* NULL when the interface has none of that name (without the interface's). */
const struct wire_method *wire_find_method(const struct wire_interface *i, const char *name, size_t len);
const struct wire_error *wire_find_error(const struct wire_interface *i, const char *name, size_t len);

/* Appends the interface's text by varlink's grammar, with the docs as comments: for GetInterfaceDescription. */
void wire_describe(struct buf *b, const struct wire_interface *i);

/* What is wrong with a table, in words put to @e (ERR_BUG): names against the grammar, names twice, types that are used and
 * not listed, ranges that hold nothing. For a test of each table. */
NODISCARD int wire_verify(const struct wire_interface *i, struct err *e);

/* Checks an object against fields: unknown and missing ones, types, ranges, enumerators, descriptors. @object may be NULL:
 * no fields. @n_fds: that came with the message. ERR_SPEC with where = the field as InvalidParameter names it:
 * "event.fd", "layerFds[2]". For answers in tests as well. */
NODISCARD int wire_check(const struct wire_field *fields, const struct json *object, size_t n_fds, struct err *e);

/* Fields of a checked object; @object may be NULL. Absent and null give the default, NULL or false. */
const struct json *wire_get(const struct json *object, const char *name);
const char *wire_get_string(const struct json *object, const char *name); /* no NUL inside: the reader refuses it */
int64_t wire_get_int(const struct json *object, const char *name, int64_t otherwise);
bool wire_get_bool(const struct json *object, const char *name);
/* Position in of_enum->values, or @otherwise. */
int wire_get_enum(const struct json *object, const char *name, const struct wire_enum *of, int otherwise);
