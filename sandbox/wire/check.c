/* Parameters against a table. Where a value stands is a chain on the stack, rendered only when something is wrong. */
#include "wire/varlink.h"

#include <errno.h>
#include <stdio.h>

struct checker {
	size_t n_fds;
	uint64_t fds_named[(WIRE_MAX_FDS + 63) / 64];
	struct err *e;
};

struct place {
	const struct place *up;
	const char *key; /* NULL: an element */
	size_t index;
};

static void put_place(const struct place *at, char *out, size_t size)
{
	size_t n;

	if (at->up)
		put_place(at->up, out, size); /* as deep as the tables are */
	n = strlen(out);
	if (at->key)
		(void)snprintf(out + n, size - n, "%s%s", at->up ? "." : "", at->key);
	else
		(void)snprintf(out + n, size - n, "[%zu]", at->index);
}

static int wrong(const struct checker *c, const struct place *at, const char *reason)
{
	char where[sizeof c->e->where] = "";
	int r = err_set(c->e, ERR_SPEC, EINVAL, "%s", reason);

	put_place(at, where, sizeof where);
	return err_where(c->e, r, "%s", where);
}

static int wrong_type(const struct checker *c, const struct place *at, const struct json *v, const char *wanted)
{
	char reason[120];

	(void)snprintf(reason, sizeof reason, "%s is wanted, not %s", wanted, json_type_name(json_type_of(v)));
	return wrong(c, at, reason);
}

static int check_int(const struct checker *c, const struct place *at, const struct wire_field *f, const struct json *v)
{
	const bool plain = f->min == 0 && f->max == 0;
	int64_t n, max = plain ? WIRE_INT_MAX : f->max;
	char reason[120];

	if (json_type_of(v) != JSON_INTEGER)
		return wrong_type(c, at, v, "an integer");
	n = json_integer_get(v);
	if (n >= f->min && n <= max)
		return 0;
	(void)snprintf(reason, sizeof reason, "%lld is not in the range from %lld to %lld", (long long)n,
		       (long long)f->min, (long long)max);
	return wrong(c, at, reason);
}

static int check_fd(struct checker *c, const struct place *at, const struct json *v)
{
	int64_t n;

	if (json_type_of(v) != JSON_INTEGER)
		return wrong_type(c, at, v, "the index of a descriptor");
	n = json_integer_get(v);
	if (n < 0 || (uint64_t)n >= c->n_fds || n >= WIRE_MAX_FDS)
		return wrong(c, at, "the message brings no descriptor with this index");
	if (c->fds_named[n / 64] & UINT64_C(1) << n % 64)
		return wrong(c, at, "the descriptor is named twice");
	c->fds_named[n / 64] |= UINT64_C(1) << n % 64;
	return 0;
}

static int check_string(const struct checker *c, const struct place *at, const struct wire_field *f,
			const struct json *v)
{
	const char *s;
	size_t len;
	char reason[120];

	if (json_type_of(v) != JSON_STRING)
		return wrong_type(c, at, v, "a string");
	s = json_string_get(v, &len);
	if (f->max_len && len > f->max_len) {
		(void)snprintf(reason, sizeof reason, "%zu bytes: at most %zu are taken", len, f->max_len);
		return wrong(c, at, reason);
	}
	if (f->valid && !f->valid(s, len))
		return wrong(c, at, "the text is not of the form that is wanted");
	return 0;
}

static int find_value(const struct wire_enum *of, const char *s)
{
	for (int i = 0; of->values[i]; i++)
		if (strcmp(of->values[i], s) == 0)
			return i;
	return -1;
}

static int check_fields(struct checker *c, const struct place *at, const struct wire_field *fields,
			const struct json *object);

static int check_value(struct checker *c, const struct place *at, const struct wire_field *f, const struct json *v)
{
	const enum json_type t = json_type_of(v);

	switch (f->type) {
	case WIRE_BOOL:
		return t == JSON_BOOL ? 0 : wrong_type(c, at, v, "true or false");
	case WIRE_INT:
		return check_int(c, at, f, v);
	case WIRE_FLOAT:
		return t == JSON_REAL || t == JSON_INTEGER ? 0 : wrong_type(c, at, v, "a number");
	case WIRE_STRING:
		return check_string(c, at, f, v);
	case WIRE_OBJECT:
		return t == JSON_OBJECT ? 0 : wrong_type(c, at, v, "an object");
	case WIRE_FD:
		return check_fd(c, at, v);
	case WIRE_ENUM:
		if (t != JSON_STRING)
			return wrong_type(c, at, v, "a string");
		return find_value(f->of_enum, json_string_get(v, NULL)) >= 0 ? 0 : wrong(c, at, "no such value");
	case WIRE_STRUCT:
		return t == JSON_OBJECT ? check_fields(c, at, f->of_struct->fields, v)
					: wrong_type(c, at, v, "an object");
	}
	return wrong(c, at, "the table has no such type");
}

struct map_check {
	struct checker *c;
	const struct place *at;
	const struct wire_field *f;
};

static int check_entry(const char *key, const struct json *v, void *arg)
{
	const struct map_check *m = arg;
	const struct place here = {.up = m->at, .key = key};

	return check_value(m->c, &here, m->f, v);
}

/* The value of a field with what stands around its type. */
static int check_field(struct checker *c, const struct place *at, const struct wire_field *f, const struct json *v)
{
	int r = 0;

	if (!(f->flags & (WIRE_ARRAY | WIRE_MAP)))
		return check_value(c, at, f, v);
	if (json_type_of(v) != (f->flags & WIRE_ARRAY ? JSON_ARRAY : JSON_OBJECT))
		return wrong_type(c, at, v, f->flags & WIRE_ARRAY ? "an array" : "an object");
	if (f->max_items && json_length(v) > f->max_items)
		return wrong(c, at, "it has too many elements");
	if (f->flags & WIRE_MAP) {
		struct map_check m = {.c = c, .at = at, .f = f};

		return json_each(v, check_entry, &m);
	}
	for (size_t i = 0, n = json_length(v); i < n && r == 0; i++) {
		const struct place here = {.up = at, .index = i};

		r = check_value(c, &here, f, json_at(v, i));
	}
	return r;
}

struct unknown_check {
	const struct checker *c;
	const struct place *at;
	const struct wire_field *fields;
};

static int refuse_unknown(const char *key, const struct json *v, void *arg)
{
	const struct unknown_check *u = arg;
	const struct place here = {.up = u->at, .key = key};

	(void)v;
	for (const struct wire_field *f = u->fields; f && f->name; f++)
		if (strcmp(f->name, key) == 0)
			return 0;
	return wrong(u->c, &here, "there is no such field");
}

/* Fields are looked up, so members that are known are counted; only when there are more, the one too many is looked for. */
static int check_fields(struct checker *c, const struct place *at, const struct wire_field *fields,
			const struct json *object)
{
	size_t known = 0;

	for (const struct wire_field *f = fields; f && f->name; f++) {
		const struct place here = {.up = at, .key = f->name};
		const struct json *v = object ? json_member(object, f->name) : NULL;
		int r;

		known += v != NULL;
		if (v && !(json_type_of(v) == JSON_NULL && (f->flags & WIRE_OPTIONAL)))
			r = check_field(c, &here, f, v);
		else
			r = v || (f->flags & WIRE_OPTIONAL) ? 0 : wrong(c, &here, "it is missing");
		if (r < 0)
			return r;
	}
	if (object && known < json_length(object)) {
		struct unknown_check u = {.c = c, .at = at, .fields = fields};

		return json_each(object, refuse_unknown, &u);
	}
	return 0;
}

int wire_check(const struct wire_field *fields, const struct json *object, size_t n_fds, struct err *e)
{
	struct checker c = {.n_fds = n_fds, .e = e};

	return check_fields(&c, NULL, fields, object);
}

/* ---- Fields of what was checked ---- */

const struct json *wire_get(const struct json *object, const char *name)
{
	const struct json *v = object ? json_member(object, name) : NULL;

	return v && json_type_of(v) != JSON_NULL ? v : NULL;
}

const char *wire_get_string(const struct json *object, const char *name)
{
	const struct json *v = wire_get(object, name);

	return v ? json_string_get(v, NULL) : NULL;
}

int64_t wire_get_int(const struct json *object, const char *name, int64_t otherwise)
{
	const struct json *v = wire_get(object, name);

	return v ? json_integer_get(v) : otherwise;
}

bool wire_get_bool(const struct json *object, const char *name)
{
	const struct json *v = wire_get(object, name);

	return v && json_bool_get(v);
}

int wire_get_enum(const struct json *object, const char *name, const struct wire_enum *of, int otherwise)
{
	const char *s = wire_get_string(object, name);
	int i = s ? find_value(of, s) : -1;

	return i >= 0 ? i : otherwise;
}
