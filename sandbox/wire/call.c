/* A call's envelope. */
#include "wire/message.h"

#include <errno.h>

static int wrong(struct err *e, const char *member, const char *reason)
{
	int r = err_set(e, ERR_SPEC, EINVAL, "%s", reason);

	return err_where(e, r, "%s", member);
}

enum { BLOCK = 128 };

static unsigned char separates(char c)
{
	return (c == ',') | (c == ':') | (c == '[') | (c == '{');
}

/* Each value but the first stands behind one of these bytes. Strings hold them as well, so this is an upper bound. */
static size_t most_values(const char *text, size_t len)
{
	size_t n = 1, here;

	for (; len > 0 && n <= WIRE_MAX_VALUES; text += here, len -= here) {
		unsigned char found = 0; /* of few enough bytes, so that the compiler takes many at once */

		here = len < BLOCK ? len : BLOCK;
		if (here == BLOCK)
			for (int i = 0; i < BLOCK; i++)
				found += separates(text[i]);
		else
			for (size_t i = 0; i < here; i++)
				found += separates(text[i]);
		n += found;
	}
	return n;
}

/* The values themselves. What is wrong with the text makes no difference: up to there the parser sees the same strings. */
static size_t count_values(const char *text, size_t len)
{
	bool quoted = false;
	size_t n = 1;

	for (size_t i = 0; i < len; i++)
		if (text[i] == '"')
			quoted = !quoted;
		else if (quoted)
			i += text[i] == '\\'; /* what it escapes may be a quotation mark */
		else
			n += separates(text[i]);
	return n;
}

/* The first look is the quicker one by far; texts that are too short to hold so many need none. */
static bool has_too_many_values(const char *text, size_t len)
{
	return len / 2 >= WIRE_MAX_VALUES && most_values(text, len) > WIRE_MAX_VALUES &&
	       count_values(text, len) > WIRE_MAX_VALUES;
}

static int read_flag(const char *key, const struct json *v, bool *ret, struct err *e)
{
	if (json_type_of(v) == JSON_NULL)
		return 0;
	if (json_type_of(v) != JSON_BOOL)
		return wrong(e, key, "true or false is wanted");
	*ret = json_bool_get(v);
	return 0;
}

struct reader {
	struct wire_call *c;
	struct err *e;
};

static int read_member(const char *key, const struct json *v, void *arg)
{
	const struct reader *r = arg;
	struct wire_call *c = r->c;

	if (strcmp(key, "method") == 0) {
		if (json_type_of(v) != JSON_STRING)
			return wrong(r->e, key, "a string is wanted");
		c->method = json_string_get(v, &c->method_len);
		return 0;
	}
	if (strcmp(key, "parameters") == 0) {
		if (json_type_of(v) != JSON_OBJECT && json_type_of(v) != JSON_NULL)
			return wrong(r->e, key, "an object is wanted");
		c->params = json_type_of(v) == JSON_OBJECT ? v : NULL;
		return 0;
	}
	if (strcmp(key, "oneway") == 0)
		return read_flag(key, v, &c->oneway, r->e);
	if (strcmp(key, "more") == 0)
		return read_flag(key, v, &c->more, r->e);
	if (strcmp(key, "upgrade") == 0)
		return read_flag(key, v, &c->upgrade, r->e);
	return wrong(r->e, key, "a call has no such member");
}

static int read_call(struct wire_call *c, struct err *e)
{
	const struct json *root = json_doc_root(c->doc);
	struct reader reader = {.c = c, .e = e};
	const struct json *oneway;
	int r;

	if (json_type_of(root) != JSON_OBJECT)
		return wrong(e, "", "a call is an object");
	oneway = json_member(root, "oneway"); /* first, so that it is known whatever else is wrong */
	c->oneway = oneway && json_type_of(oneway) == JSON_BOOL && json_bool_get(oneway);
	r = json_each(root, read_member, &reader);
	if (r < 0)
		return r;
	if (!c->method)
		return wrong(e, "method", "it is missing");
	if (c->oneway && (c->more || c->upgrade))
		return wrong(e, "oneway", "a call without an answer can have neither more nor upgrade");
	return 0;
}

int wire_call_parse(const char *text, size_t len, struct wire_call *ret, struct err *e)
{
	struct wire_call c = {0};
	int r;

	*ret = c;
	if (has_too_many_values(text, len)) {
		r = err_set(e, ERR_LIMIT, E2BIG, "more than %d values in one message", WIRE_MAX_VALUES);
		return err_hint(e, r, "send the document as a text or by a descriptor");
	}
	r = json_parse("", text, len, WIRE_LIMIT_BYTES, &c.doc, e);
	if (r < 0) {
		e->where[0] = '\0'; /* line and column say little of what a program has sent */
		return r;
	}
	r = read_call(&c, e);
	if (r < 0) {
		ret->oneway = c.oneway;
		wire_call_done(&c);
		return r;
	}
	*ret = c;
	return 0;
}

void wire_call_done(struct wire_call *c)
{
	json_doc_free(c->doc);
	*c = (struct wire_call){0};
}
