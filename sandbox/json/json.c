#include "json/json.h"

#include "json/scan.h"
#include "json/tree.h"

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
	struct tree tree;
	char *text;  /* that the tree was read from */
	char file[]; /* and behind its NUL the text */
};

enum {
	FILE_ROOM = 72, /* of err.where: the rest is for the path or the line */
	KEY_ROOM = 48,
	TOKEN_ROOM = 40,
};

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

/* Our reader has refused the text, and jansson says why: it is slower, and finds the words and the place. */
static int explain(const char *file, const char *text, size_t len, struct err *e)
{
	UNINITIALIZED char name[FILE_ROOM];
	UNINITIALIZED json_error_t je;
	struct json_place place;
	const char *fault = json_scan_fault(text, len, &place);
	json_t *root = fault ? NULL : json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &je);
	int r;

	if (!fault && !root)
		return syntax_error(e, file, &je);
	json_decref(root);
	r = fault ? err_set(e, ERR_SPEC, EINVAL, "%s", fault)
		  : err_set(e, ERR_SPEC, EINVAL, "not JSON that is taken here");
	short_file(name, file);
	return fault ? err_where(e, r, "%s:%zu:%zu", name, place.line, place.column) : err_where(e, r, "%s:1:1", name);
}

int json_parse(const char *file, const char *text, size_t len, size_t max_bytes, struct json_doc **ret_doc,
	       struct err *e)
{
	AUTO(json_doc_freep) struct json_doc *doc = NULL;
	const size_t file_bytes = strlen(file) + 1;
	bool oom;

	if (len > max_bytes) {
		char name[FILE_ROOM];
		int r = err_set(e, ERR_LIMIT, EFBIG, "%zu bytes of JSON: at most %zu are taken", len, max_bytes);

		short_file(name, file);
		return err_where(e, r, "%s", name[0] ? name : "$");
	}
	doc = malloc(sizeof *doc + file_bytes + len + 1);
	if (!doc)
		return err_oom(e);
	memcpy(doc->file, file, file_bytes);
	doc->text = doc->file + file_bytes;
	memcpy(doc->text, text, len);
	doc->text[len] = '\0';
	if (!tree_read(&doc->tree, doc->text, len, &oom))
		return oom ? err_oom(e) : explain(file, text, len, e);
	*ret_doc = take_ptr(&doc);
	return 0;
}

void json_doc_free(struct json_doc *doc)
{
	if (!doc)
		return;
	tree_done(&doc->tree);
	free(doc);
}

const struct json *json_doc_root(const struct json_doc *doc)
{
	return &doc->tree.root;
}

const char *json_doc_file(const struct json_doc *doc)
{
	return doc->file;
}

/* ---- Values ---- */

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
