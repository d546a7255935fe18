#include "oci/fields.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

enum { MAX_ELEMENTS = 65536, MAX_WARNINGS = 64 };

int field_wrong_type(struct reader *r, const struct json *v, const struct json_path *here, const char *want)
{
	return json_err(r->e, r->doc, here, "expected %s, got %s", want, json_type_name(json_type_of(v)));
}

void reader_warn(struct reader *r, const struct json_path *here, const char *fmt, ...)
{
	struct ct_spec *s = r->spec;
	struct err place = {0};
	char text[200];
	size_t n = 0;
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (!s->warnings)
		s->warnings = arena_alloc(&s->arena, (MAX_WARNINGS + 1) * sizeof *s->warnings);
	while (s->warnings && s->warnings[n])
		n++;
	if (!s->warnings || n == MAX_WARNINGS)
		return;
	(void)json_err(&place, r->doc, here, "%s", text);
	s->warnings[n] = arena_printf(&s->arena, "%s: %s", place.where, place.msg);
}

void *reader_alloc(struct reader *r, size_t size)
{
	void *p = arena_alloc(&r->spec->arena, size);

	if (!p)
		(void)err_oom(r->e);
	return p;
}

const char *reader_copy(struct reader *r, const char *s)
{
	const char *p = arena_strdup(&r->spec->arena, s);

	if (!p)
		(void)err_oom(r->e);
	return p;
}

int field_bool(struct reader *r, const struct field *f, const struct json *v, const struct json_path *here, void *to)
{
	(void)f;
	if (json_type_of(v) != JSON_BOOL)
		return field_wrong_type(r, v, here, "true or false");
	*(bool *)to = json_bool_get(v);
	return 0;
}

static int take_text(struct reader *r, const struct json *v, const struct json_path *here, const char **ret)
{
	const char *s;

	if (json_type_of(v) != JSON_STRING)
		return field_wrong_type(r, v, here, "a string");
	s = reader_copy(r, json_string_get(v, NULL));
	if (!s)
		return -ENOMEM;
	*ret = s;
	return 0;
}

int field_text(struct reader *r, const struct field *f, const struct json *v, const struct json_path *here, void *to)
{
	(void)f;
	return take_text(r, v, here, to);
}

int field_path(struct reader *r, const struct field *f, const struct json *v, const struct json_path *here, void *to)
{
	const char *s = NULL;
	int rc = take_text(r, v, here, &s);

	(void)f;
	if (rc < 0)
		return rc;
	if (!s || s[0] != '/')
		return json_err(r->e, r->doc, here, "'%s' is not an absolute path", s ? s : "");
	*(const char **)to = s;
	return 0;
}

int field_texts(struct reader *r, const struct field *f, const struct json *v, const struct json_path *here, void *to)
{
	const char **list;
	size_t n;

	(void)f;
	if (json_type_of(v) != JSON_ARRAY)
		return field_wrong_type(r, v, here, "an array of strings");
	n = json_length(v);
	if (n > MAX_ELEMENTS)
		return json_err(r->e, r->doc, here, "%zu elements: at most %d are taken", n, MAX_ELEMENTS);
	list = reader_alloc(r, (n + 1) * sizeof *list);
	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		struct json_path at = {.up = here, .index = i};
		int rc = take_text(r, json_at(v, i), &at, &list[i]);

		if (rc < 0)
			return rc;
	}
	*(const char ***)to = list;
	return 0;
}

int field_paths(struct reader *r, const struct field *f, const struct json *v, const struct json_path *here, void *to)
{
	const char **list = NULL;
	int rc = field_texts(r, f, v, here, &list);

	for (size_t i = 0; rc == 0 && list && list[i]; i++) {
		struct json_path at = {.up = here, .index = i};

		if (list[i][0] != '/')
			return json_err(r->e, r->doc, &at, "'%s' is not an absolute path", list[i]);
	}
	if (rc == 0)
		*(const char ***)to = list;
	return rc;
}

static int take_number(struct reader *r, const struct field *f, const struct json *v, const struct json_path *here,
		       int64_t min, int64_t max, int64_t *ret)
{
	if (json_type_of(v) != JSON_INTEGER)
		return field_wrong_type(r, v, here, "an integer");
	*ret = json_integer_get(v);
	if (f->min != 0 || f->max != 0) {
		min = f->min;
		max = f->max;
	}
	if (*ret < min || *ret > max)
		return json_err(r->e, r->doc, here, "%lld is not between %lld and %lld", (long long)*ret,
				(long long)min, (long long)max);
	return 0;
}

int field_number(struct reader *r, const struct field *f, const struct json *v, const struct json_path *here, void *to)
{
	struct ct_number *n = to;
	int rc = take_number(r, f, v, here, INT64_MIN, INT64_MAX, &n->v);

	n->set = rc == 0;
	return rc;
}

int field_u32(struct reader *r, const struct field *f, const struct json *v, const struct json_path *here, void *to)
{
	int64_t n = 0;
	int rc = take_number(r, f, v, here, 0, UINT32_MAX, &n);

	if (rc == 0)
		*(uint32_t *)to = (uint32_t)n;
	return rc;
}

int field_i64(struct reader *r, const struct field *f, const struct json *v, const struct json_path *here, void *to)
{
	return take_number(r, f, v, here, INT64_MIN, INT64_MAX, to);
}

const struct word *word_find(const struct words *w, const char *name)
{
	for (size_t i = 0; i < w->n; i++)
		if (strcmp(w->words[i].name, name) == 0)
			return &w->words[i];
	return NULL;
}

int field_word(struct reader *r, const struct field *f, const struct json *v, const struct json_path *here, void *to)
{
	const struct words *known = f->arg;
	const struct word *w;

	if (json_type_of(v) != JSON_STRING)
		return field_wrong_type(r, v, here, "a string");
	w = word_find(known, json_string_get(v, NULL));
	if (!w)
		return json_err(r->e, r->doc, here, "unknown %s '%.60s'", known->what, json_string_get(v, NULL));
	*(int *)to = (int)w->value;
	return 0;
}

/* Go writes 64 bits without sign, which may be more than json/ takes for an integer: config.c has made 2^64-1, all bits
 * or no limit, a real number. Some write -1 for it, which comes to the same. */
int field_u64(struct reader *r, const struct field *f, const struct json *v, const struct json_path *here, void *to)
{
	int64_t n = 0;
	int rc;

	if (json_type_of(v) == JSON_REAL && json_real_get(v) > 9.2e18) {
		*(uint64_t *)to = UINT64_MAX;
		return 0;
	}
	rc = field_i64(r, f, v, here, &n);
	if (rc == 0 && n < -1)
		return json_err(r->e, r->doc, here, "%lld is not between 0 and 2^64-1", (long long)n);
	if (rc == 0)
		*(uint64_t *)to = (uint64_t)n;
	return rc;
}

int field_bits(struct reader *r, const struct field *f, const struct json *v, const struct json_path *here, void *to)
{
	if (json_type_of(v) != JSON_ARRAY)
		return field_wrong_type(r, v, here, "an array of strings");
	for (size_t i = 0; i < json_length(v); i++) {
		struct json_path at = {.up = here, .index = i};
		int bit = 0, rc = field_word(r, f, json_at(v, i), &at, &bit);

		if (rc < 0)
			return rc;
		*(unsigned *)to |= (unsigned)bit;
	}
	return 0;
}

/* A number of at most four digits at *@p, which moves on; -1 when there is none. */
static int take_cpu(const char **p)
{
	const char *first = *p;
	int n = 0;

	for (; **p >= '0' && **p <= '9' && *p - first < 4; (*p)++)
		n = n * 10 + (**p - '0');
	return *p == first || n >= CT_MAX_CPUS ? -1 : n;
}

int field_cpus(struct reader *r, const struct field *f, const struct json *v, const struct json_path *here, void *to)
{
	struct ct_cpus *cpus = to;
	const char *text = NULL;
	int rc = field_text(r, f, v, here, &text);

	for (const char *p = rc == 0 && text ? text : ""; *p;) {
		const int first = take_cpu(&p);
		int last = first;

		if (first >= 0 && *p == '-') {
			p++;
			last = take_cpu(&p);
		}
		if (first < 0 || last < first || (*p != ',' && *p != '\0'))
			return json_err(r->e, r->doc, here, "'%s' is no list such as 0-3,7", text);
		for (int cpu = first; cpu <= last; cpu++)
			cpus->bits[cpu / 64] |= UINT64_C(1) << cpu % 64;
		cpus->set = true;
		p += *p == ',';
	}
	return rc;
}

int field_object(struct reader *r, const struct field *f, const struct json *v, const struct json_path *here, void *to)
{
	return table_read(r, f->arg, v, here, to);
}

int field_objects(struct reader *r, const struct field *f, const struct json *v, const struct json_path *here, void *to)
{
	const struct table *t = f->arg;
	size_t n;
	char *at;

	if (json_type_of(v) != JSON_ARRAY)
		return field_wrong_type(r, v, here, "an array of objects");
	n = json_length(v);
	if (n > MAX_ELEMENTS)
		return json_err(r->e, r->doc, here, "%zu elements: at most %d are taken", n, MAX_ELEMENTS);
	at = reader_alloc(r, (n + 1) * t->size);
	if (!at)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		struct json_path place = {.up = here, .index = i};
		int rc = table_read(r, t, json_at(v, i), &place, at + i * t->size);

		if (rc < 0)
			return rc;
	}
	memcpy(to, &at, sizeof at);
	memcpy((char *)to + sizeof at, &n, sizeof n);
	return 0;
}

struct named {
	struct reader *r;
	const struct table *table;
	const struct json_path *here;
	char *at;
	size_t n;
};

static int add_named(const char *key, const struct json *v, void *arg)
{
	struct named *all = arg;
	char *to = all->at + all->n++ * all->table->size;
	const struct json_path here = {.up = all->here, .key = key};
	const char *name = reader_copy(all->r, key);

	if (!name)
		return -ENOMEM;
	memcpy(to, &name, sizeof name);
	return table_read(all->r, all->table, v, &here, to);
}

int field_named(struct reader *r, const struct field *f, const struct json *v, const struct json_path *here, void *to)
{
	struct named all = {.r = r, .table = f->arg, .here = here};
	int rc;

	if (json_type_of(v) != JSON_OBJECT)
		return field_wrong_type(r, v, here, "an object");
	all.at = reader_alloc(r, (json_length(v) + 1) * all.table->size);
	if (!all.at)
		return -ENOMEM;
	rc = json_each(v, add_named, &all);
	if (rc == 0) {
		memcpy(to, &all.at, sizeof all.at);
		memcpy((char *)to + sizeof all.at, &all.n, sizeof all.n);
	}
	return rc;
}

struct pairs {
	struct reader *r;
	const struct json_path *here;
	struct ct_pair *at;
	size_t n;
};

static int add_pair(const char *key, const struct json *v, void *arg)
{
	struct pairs *p = arg;
	struct json_path here = {.up = p->here, .key = key};
	struct ct_pair *pair = &p->at[p->n++];

	pair->key = reader_copy(p->r, key);
	return pair->key ? take_text(p->r, v, &here, &pair->value) : -ENOMEM;
}

int field_pairs(struct reader *r, const struct field *f, const struct json *v, const struct json_path *here, void *to)
{
	struct pairs p = {.r = r, .here = here};
	int rc;

	(void)f;
	if (json_type_of(v) != JSON_OBJECT)
		return field_wrong_type(r, v, here, "an object of strings");
	p.at = reader_alloc(r, (json_length(v) + 1) * sizeof *p.at);
	if (!p.at)
		return -ENOMEM;
	rc = json_each(v, add_pair, &p);
	if (rc == 0) {
		memcpy(to, &p.at, sizeof(void *));
		memcpy((char *)to + sizeof(void *), &p.n, sizeof p.n);
	}
	return rc;
}

static bool is_absent(const struct json *v)
{
	return !v || json_type_of(v) == JSON_NULL;
}

struct members {
	struct reader *r;
	const struct table *table;
	const struct json_path *at;
	char *to;
};

static int read_member(const char *key, const struct json *v, void *arg)
{
	const struct members *m = arg;
	struct json_path here = {.up = m->at, .key = key};

	for (size_t i = 0; i < m->table->n; i++) {
		const struct field *f = &m->table->fields[i];

		if (strcmp(f->key, key) != 0)
			continue;
		return f->read && !is_absent(v) ? f->read(m->r, f, v, &here, m->to + f->offset) : 0;
	}
	return 0;
}

int table_read(struct reader *r, const struct table *t, const struct json *v, const struct json_path *at, void *to)
{
	struct members m = {.r = r, .table = t, .at = at, .to = to};
	int rc;

	if (json_type_of(v) != JSON_OBJECT)
		return field_wrong_type(r, v, at, "an object");
	rc = json_each(v, read_member, &m);
	for (size_t i = 0; rc == 0 && i < t->n; i++)
		if (t->fields[i].required && is_absent(json_member(v, t->fields[i].key)))
			rc = json_err(r->e, r->doc, at, "'%s' is missing", t->fields[i].key);
	return rc;
}
