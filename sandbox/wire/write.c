/* JSON text and messages appended to a buf. */
#include "wire/message.h"

void wire_obj_begin(struct wire_obj *o, struct buf *b)
{
	*o = (struct wire_obj){.b = b};
	buf_add(b, "{", 1);
}

void wire_obj_end(struct wire_obj *o)
{
	buf_add(o->b, "}", 1);
}

void wire_obj_key(struct wire_obj *o, const char *key)
{
	buf_puts(o->b, o->any ? ",\"" : "\"");
	buf_puts(o->b, key);
	buf_add(o->b, "\":", 2);
	o->any = true;
}

void wire_add_int(struct buf *b, int64_t v)
{
	char digits[24], *p = digits + sizeof digits;
	uint64_t u;

	v = v > WIRE_INT_MAX ? WIRE_INT_MAX : v < -WIRE_INT_MAX ? -WIRE_INT_MAX : v;
	u = v < 0 ? -(uint64_t)v : (uint64_t)v;
	do
		*--p = (char)('0' + u % 10);
	while (u /= 10);
	if (v < 0)
		*--p = '-';
	buf_add(b, p, (size_t)(digits + sizeof digits - p));
}

void wire_obj_int(struct wire_obj *o, const char *key, int64_t v)
{
	wire_obj_key(o, key);
	wire_add_int(o->b, v);
}

void wire_obj_bool(struct wire_obj *o, const char *key, bool v)
{
	wire_obj_key(o, key);
	buf_puts(o->b, v ? "true" : "false");
}

void wire_obj_bytes(struct wire_obj *o, const char *key, const char *s, size_t len)
{
	wire_obj_key(o, key);
	json_add_string(o->b, s, len);
}

void wire_obj_string(struct wire_obj *o, const char *key, const char *s)
{
	if (s)
		wire_obj_bytes(o, key, s, strlen(s));
}

void wire_obj_raw(struct wire_obj *o, const char *key, const char *json, size_t len)
{
	wire_obj_key(o, key);
	buf_add(o->b, json, len);
}

/* ---- Messages ---- */

static void add_params(struct buf *b, const char *params, size_t len)
{
	buf_puts(b, "\"parameters\":");
	if (len > 0)
		buf_add(b, params, len);
	else
		buf_add(b, "{}", 2);
}

static void add_end(struct buf *b, const char *text)
{
	buf_add(b, text, strlen(text) + 1); /* with the NUL */
}

void wire_add_call(struct buf *b, const char *method, const char *params, size_t len, bool more, bool oneway)
{
	buf_puts(b, "{\"method\":");
	json_add_string(b, method, strlen(method));
	buf_puts(b, ",");
	add_params(b, params, len);
	buf_puts(b, more ? ",\"more\":true" : "");
	buf_puts(b, oneway ? ",\"oneway\":true" : "");
	add_end(b, "}");
}

void wire_add_reply(struct buf *b, const char *params, size_t len, bool continues)
{
	buf_puts(b, "{");
	add_params(b, params, len);
	add_end(b, continues ? ",\"continues\":true}" : "}");
}

void wire_add_error(struct buf *b, const char *error, const char *params, size_t len)
{
	buf_puts(b, "{\"error\":");
	json_add_string(b, error, strlen(error));
	buf_puts(b, ",");
	add_params(b, params, len);
	add_end(b, "}");
}
