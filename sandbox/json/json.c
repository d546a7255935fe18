#include "json/json.h"

#include "json/scan.h"

#include <errno.h>
#include <stdio.h>

/* jansson's enumerators have the names of ours. They are renamed while its header is read, and its macros that mention
 * them (json_is_object() and the like) are not used in this file. */
#define JSON_OBJECT  JANSSON_OBJECT
#define JSON_ARRAY   JANSSON_ARRAY
#define JSON_STRING  JANSSON_STRING
#define JSON_INTEGER JANSSON_INTEGER
#define JSON_REAL    JANSSON_REAL
#define JSON_NULL    JANSSON_NULL
#include <jansson.h>
#undef JSON_OBJECT
#undef JSON_ARRAY
#undef JSON_STRING
#undef JSON_INTEGER
#undef JSON_REAL
#undef JSON_NULL

struct json_doc {
	json_t *root;
	char file[];
};

enum {
	FILE_ROOM = 72, /* of err.where: the rest is for the path or the line */
	KEY_ROOM = 48,
	TOKEN_ROOM = 40,
};

/* A struct json is jansson's value under another name; its functions want it without const, and none of those called
 * here changes it. */
static json_t *value(const struct json *v)
{
	return (json_t *)(uintptr_t)v;
}

static const struct json *opaque(const json_t *v)
{
	return (const struct json *)(const void *)v;
}

/* ---- Errors ---- */

/* Text that came from outside must not steer the terminal on which the message ends up. */
static void defuse(char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			*s = '?';
}

/* The end of a file name tells more than its beginning. */
static void short_file(char out[static FILE_ROOM], const char *file)
{
	size_t n = strlen(file);

	if (n < FILE_ROOM)
		(void)snprintf(out, FILE_ROOM, "%s", file);
	else
		(void)snprintf(out, FILE_ROOM, "...%s", file + n - (FILE_ROOM - 4));
	defuse(out);
}

/* What stands in jansson's text after " near '": the token that was read last, as the file has it. */
static const char *near_token(const char *text, char out[static TOKEN_ROOM])
{
	const char *from = strstr(text, " near '");
	size_t n;

	if (!from)
		return NULL;
	from += strlen(" near '");
	n = strlen(from);
	if (n > 0 && from[n - 1] == '\'')
		n--;
	(void)snprintf(out, TOKEN_ROOM, "%.*s", (int)(n < TOKEN_ROOM ? n : TOKEN_ROOM), from);
	defuse(out);
	return out;
}

/* jansson's message without its "near …", which is said in our own way. */
static void plain_text(char *out, size_t size, const char *text)
{
	const char *near = strstr(text, " near ");

	(void)snprintf(out, size, "%.*s", near ? (int)(near - text) : (int)strlen(text), text);
	defuse(out);
}

static int syntax_error(struct err *e, const char *file, const json_error_t *je)
{
	char name[FILE_ROOM], token[TOKEN_ROOM], text[JSON_ERROR_TEXT_LENGTH];
	const char *near = near_token(je->text, token);
	int r;

	switch (json_error_code(je)) {
	case json_error_out_of_memory:
		return err_oom(e);
	case json_error_duplicate_key:
		r = err_set(e, ERR_SPEC, EINVAL, "duplicate key %s: each may stand once in an object",
			    near ? near : "");
		break;
	case json_error_null_character:
	case json_error_null_byte_in_key:
		r = err_set(e, ERR_SPEC, EINVAL, "a string holds \\u0000, which is not taken here");
		break;
	case json_error_numeric_overflow:
		r = err_set(e, ERR_SPEC, EINVAL, "the number %s is too large", near ? near : "");
		(void)err_hint(e, r, "integers go from -9223372036854775808 to 9223372036854775807");
		break;
	case json_error_premature_end_of_input:
		plain_text(text, sizeof text, je->text);
		r = err_set(e, ERR_SPEC, EINVAL, "not JSON: the text ends too early: %s", text);
		break;
	default:
		plain_text(text, sizeof text, je->text);
		r = err_set(e, ERR_SPEC, EINVAL, "not JSON: %s%s%s", text, near ? " near " : "", near ? near : "");
		break;
	}
	short_file(name, file);
	return err_where(e, r, "%s:%d:%d", name, je->line > 0 ? je->line : 1, je->column > 0 ? je->column : 1);
}

/* ".key" for what reads as a word, ["key"] for anything else. */
static void put_key(struct buf *b, const char *key)
{
	char shown[KEY_ROOM];
	bool word = key[0] != '\0' && !(key[0] >= '0' && key[0] <= '9');

	for (const char *p = key; *p; p++)
		word = word && ((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') ||
				*p == '_' || *p == '-');
	(void)snprintf(shown, sizeof shown, "%s", key);
	defuse(shown);
	buf_printf(b, word ? ".%s" : "[\"%s\"]", shown);
}

static void put_path(struct buf *b, const struct json_path *at)
{
	if (!at) {
		buf_puts(b, "$");
		return;
	}
	put_path(b, at->up); /* as deep as the document, so at most JSON_MAX_DEPTH */
	if (at->key)
		put_key(b, at->key);
	else
		buf_printf(b, "[%zu]", at->index);
}

int json_err(struct err *e, const struct json_doc *doc, const struct json_path *at, const char *fmt, ...)
{
	AUTO(buf_done) struct buf path = {0};
	char name[FILE_ROOM], msg[sizeof e->msg];
	va_list ap;
	int r;

	va_start(ap, fmt);
	if (vsnprintf(msg, sizeof msg, fmt, ap) < 0)
		msg[0] = '\0';
	va_end(ap);
	defuse(msg);
	r = err_set(e, ERR_SPEC, EINVAL, "%s", msg);

	put_path(&path, at);
	short_file(name, doc->file);
	return err_where(e, r, "%s: %s", name, path.failed ? "$" : path.data);
}

/* ---- Documents ---- */

/* jansson's scanner leaves out the characters of a string for which it gets no memory, and says nothing: "Sandbox" becomes
 * "Sandox". So we look ourselves. */
static bool lacked;

static void *noting_malloc(size_t size)
{
	void *p = malloc(size);

	lacked = lacked || !p;
	return p;
}

static json_t *load(const char *text, size_t len, json_error_t *je)
{
	json_t *root;

	json_set_alloc_funcs(noting_malloc, free);
	lacked = false;
	root = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, je);
	if (!lacked)
		return root;
	json_decref(root);
	return NULL;
}

int json_parse(const char *file, const char *text, size_t len, size_t max_bytes, struct json_doc **ret_doc,
	       struct err *e)
{
	AUTO(json_doc_freep) struct json_doc *doc = NULL;
	struct json_place place;
	const char *fault;
	UNINITIALIZED char name[FILE_ROOM];
	UNINITIALIZED json_error_t je;

	if (len > max_bytes) {
		int r = err_set(e, ERR_LIMIT, EFBIG, "%zu bytes of JSON: at most %zu are taken", len, max_bytes);

		short_file(name, file);
		return err_where(e, r, "%s", name[0] ? name : "$");
	}
	fault = json_scan_fault(text, len, &place);
	if (fault) {
		int r = err_set(e, ERR_SPEC, EINVAL, "%s", fault);

		short_file(name, file);
		return err_where(e, r, "%s:%zu:%zu", name, place.line, place.column);
	}

	doc = calloc(1, sizeof *doc + strlen(file) + 1);
	if (!doc)
		return err_oom(e);
	memcpy(doc->file, file, strlen(file) + 1);
	doc->root = load(text, len, &je);
	if (!doc->root)
		return lacked ? err_oom(e) : syntax_error(e, file, &je);
	*ret_doc = take_ptr(&doc);
	return 0;
}

void json_doc_free(struct json_doc *doc)
{
	if (!doc)
		return;
	json_decref(doc->root);
	free(doc);
}

const struct json *json_doc_root(const struct json_doc *doc)
{
	return opaque(doc->root);
}

const char *json_doc_file(const struct json_doc *doc)
{
	return doc->file;
}

/* ---- Values ---- */

enum json_type json_type_of(const struct json *v)
{
	switch (json_typeof(value(v))) {
	case JANSSON_OBJECT:
		return JSON_OBJECT;
	case JANSSON_ARRAY:
		return JSON_ARRAY;
	case JANSSON_STRING:
		return JSON_STRING;
	case JANSSON_INTEGER:
		return JSON_INTEGER;
	case JANSSON_REAL:
		return JSON_REAL;
	case JSON_TRUE:
	case JSON_FALSE:
		return JSON_BOOL;
	case JANSSON_NULL:
		return JSON_NULL;
	}
	abort(); /* a tree holds no other type */
}

const char *json_type_name(enum json_type t)
{
	switch (t) {
	case JSON_NULL:
		return "null";
	case JSON_BOOL:
		return "true or false";
	case JSON_INTEGER:
		return "an integer";
	case JSON_REAL:
		return "a number with a fraction or exponent";
	case JSON_STRING:
		return "a string";
	case JSON_ARRAY:
		return "an array";
	case JSON_OBJECT:
		return "an object";
	}
	abort(); /* not one of the enumerators */
}

bool json_bool_get(const struct json *v)
{
	return json_typeof(value(v)) == JSON_TRUE;
}

int64_t json_integer_get(const struct json *v)
{
	return json_integer_value(value(v));
}

double json_real_get(const struct json *v)
{
	return json_number_value(value(v));
}

const char *json_string_get(const struct json *v, size_t *ret_len)
{
	const char *s = json_string_value(value(v));

	if (ret_len)
		*ret_len = json_string_length(value(v));
	return s;
}

size_t json_length(const struct json *v)
{
	return json_type_of(v) == JSON_OBJECT ? json_object_size(value(v)) : json_array_size(value(v));
}

const struct json *json_at(const struct json *array, size_t i)
{
	return opaque(json_array_get(value(array), i));
}

const struct json *json_member(const struct json *object, const char *key)
{
	return opaque(json_object_get(value(object), key));
}

int json_each(const struct json *object, int (*fn)(const char *key, const struct json *v, void *arg), void *arg)
{
	const char *key;
	json_t *v;

	json_object_foreach(value(object), key, v) /* in the order of the text, since jansson 2.8 */
	{
		int r = fn(key, opaque(v), arg);

		if (r != 0)
			return r;
	}
	return 0;
}

static int dump_part(const char *part, size_t len, void *arg)
{
	struct buf *b = arg;

	buf_add(b, part, len);
	return b->failed ? -1 : 0;
}

void json_dump_to(struct buf *b, const struct json *v)
{
	if (json_dump_callback(value(v), dump_part, b, JSON_COMPACT | JSON_ENCODE_ANY) < 0)
		b->failed = true; /* only memory can be short: the tree came from a text */
}
