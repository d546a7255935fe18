/* The spec file: a JSON object whose keys are the options' names. A number, text or flag is handed to the option's own
 * set function as text, so a value means the same wherever it stands. */
#include "json/json.h"
#include "spec/spec.h"

#include <errno.h>

struct reading {
	const struct json_doc *doc;
	const struct opt_table *const *tables;
	size_t n_tables;
	void *args;
	struct arena *arena;
	const char **ret_target;
	struct err *e;
};

/* As somebody would have typed it: 512.0 is "512", 2.5 is "2.5"; nine decimals are a nanosecond. */
static const char *text_of_real(struct arena *a, double v)
{
	char *s = arena_printf(a, "%.9f", v);
	size_t len = s ? strlen(s) : 0;

	while (len > 0 && s[len - 1] == '0')
		s[--len] = '\0';
	if (len > 0 && s[len - 1] == '.')
		s[--len] = '\0';
	return s;
}

/* The value as the option's text, in the arena; NULL with *e set when its type does not fit. */
static const char *text_of(struct reading *rd, const struct json *v, const struct json_path *at)
{
	const char *s = NULL;
	size_t len;

	switch (json_type_of(v)) {
	case JSON_STRING:
		s = json_string_get(v, &len);
		s = arena_memdup(rd->arena, s, len);
		break;
	case JSON_INTEGER:
		s = arena_printf(rd->arena, "%lld", (long long)json_integer_get(v));
		break;
	case JSON_REAL:
		s = text_of_real(rd->arena, json_real_get(v));
		break;
	case JSON_NULL:
	case JSON_BOOL:
	case JSON_ARRAY:
	case JSON_OBJECT:
		(void)json_err(rd->e, rd->doc, at, "expected a text or a number, got %s",
			       json_type_name(json_type_of(v)));
		return NULL;
	}
	if (!s)
		(void)err_oom(rd->e);
	return s;
}

/* The option's own message, with the place in the file instead of the command line. */
static int apply(struct reading *rd, const struct opt *o, const char *value, const struct json_path *at)
{
	struct err inner = {0};
	int r = o->set(rd->args, o, value, &inner);

	if (r < 0)
		return inner.kind == ERR_SPEC ? json_err(rd->e, rd->doc, at, "%s", inner.msg)
					      : err_adopt(rd->e, &inner);
	return 0;
}

struct members {
	struct reading *rd;
	const struct opt *o;
	const struct json_path *at;
};

static int pair_member(const char *key, const struct json *v, void *arg)
{
	struct members *m = arg;
	struct json_path here = {.up = m->at, .key = key};
	const char *value = text_of(m->rd, v, &here);
	const char *pair = value ? arena_printf(m->rd->arena, "%s=%s", key, value) : NULL;

	if (!value)
		return -EINVAL;
	return pair ? apply(m->rd, m->o, pair, &here) : err_oom(m->rd->e);
}

static int read_many(struct reading *rd, const struct opt *o, const struct json *v, const struct json_path *at)
{
	const bool pairs = o->arg && strchr(o->arg, '='); /* KEY=VALUE, NAME=@FILE */

	if (json_type_of(v) == JSON_OBJECT && pairs)
		return json_each(v, pair_member, &(struct members){rd, o, at});
	if (json_type_of(v) != JSON_ARRAY)
		return json_err(rd->e, rd->doc, at, "expected an %sarray, got %s", pairs ? "object or an " : "",
				json_type_name(json_type_of(v)));
	for (size_t i = 0; i < json_length(v); i++) {
		struct json_path here = {.up = at, .index = i};
		const char *text = text_of(rd, json_at(v, i), &here);

		if (!text)
			return -EINVAL;

		int r = apply(rd, o, text, &here);
		if (r < 0)
			return r;
	}
	return 0;
}

/* An event may be any JSON value: what is not a text is passed on as compact JSON. An array is one event. */
static int read_events(struct reading *rd, const struct opt *o, const struct json *v, const struct json_path *at)
{
	struct buf b = {0};

	if (json_type_of(v) == JSON_STRING)
		return apply(rd, o, text_of(rd, v, at), at);
	json_dump_to(&b, v);

	char *text = b.failed ? NULL : arena_memdup(rd->arena, b.data, b.len);
	buf_done(&b);
	return text ? apply(rd, o, text, at) : err_oom(rd->e);
}

static int member(const char *key, const struct json *v, void *arg)
{
	struct reading *rd = arg;
	struct json_path at = {.key = key};
	const struct opt *o = opt_find(rd->tables, rd->n_tables, key, strlen(key));

	if (strcmp(key, "target") == 0) {
		const char *target = text_of(rd, v, &at);

		if (!target)
			return -EINVAL;
		*rd->ret_target = target;
		return 0;
	}
	if (!o || (o->flags & OPT_NO_SPEC))
		return json_err(rd->e, rd->doc, &at,
				"unknown key; the keys are 'target' and the options' names (fsbox help run)");
	if (o->flags & OPT_MAYBE_VALUE && json_type_of(v) == JSON_BOOL)
		return json_bool_get(v) ? apply(rd, o, NULL, &at) : 0;
	if (o->flags & OPT_FLAG) {
		if (json_type_of(v) != JSON_BOOL)
			return json_err(rd->e, rd->doc, &at, "expected true or false, got %s",
					json_type_name(json_type_of(v)));
		return json_bool_get(v) ? apply(rd, o, NULL, &at) : 0;
	}
	if (strcmp(key, "event") == 0)
		return read_events(rd, o, v, &at);
	if (o->flags & OPT_MULTI)
		return read_many(rd, o, v, &at);

	const char *text = text_of(rd, v, &at);
	return text ? apply(rd, o, text, &at) : -EINVAL;
}

int spec_read(const char *file, const char *text, size_t len, const struct opt_table *const *tables, size_t n_tables,
	      void *args, struct arena *arena, const char **ret_target, struct err *e)
{
	AUTO(json_doc_freep) struct json_doc *doc = NULL;
	int r = json_parse(file, text, len, SPEC_MAX_BYTES, &doc, e);

	if (r < 0)
		return r;

	struct reading rd = {
		.doc = doc,
		.tables = tables,
		.n_tables = n_tables,
		.args = args,
		.arena = arena,
		.ret_target = ret_target,
		.e = e,
	};
	const struct json *root = json_doc_root(doc);

	if (json_type_of(root) != JSON_OBJECT)
		return json_err(e, doc, NULL, "expected an object, got %s", json_type_name(json_type_of(root)));
	return json_each(root, member, &rd);
}
