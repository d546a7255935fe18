/* A reader that goes over a copy of the text once. Strings stay where they are: what they mean is never longer than how
 * they are written. Children are gathered on a stack and move to their place when their container ends, so that elements
 * can be counted off. The text ends with NUL, which nothing that is read here may hold, so nothing looks for the end. */
#include "json/tree.h"

#include "json/scan.h"

#include <errno.h>
#include <math.h>

struct tree_block {
	struct tree_block *next;
	max_align_t data[];
};

enum {
	FIRST_STACK = 24,
	FEW_MEMBERS = 8, /* so many keys are compared each with each */
};

struct reader {
	struct tree *t;
	char *p;
	const char *end;
	unsigned depth;
	bool oom;
	struct json_member *stack, *grown; /* grown: on the heap, or NULL */
	size_t n, cap;
};

static bool out_of_memory(struct reader *r)
{
	r->oom = true;
	return false;
}

/* ---- Memory ---- */

static void *take_room(struct reader *r, size_t size)
{
	struct tree *t = r->t;
	void *p;

	size = (size + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);
	if (size > t->left) {
		const size_t room = size > 4096 ? size : 4096;
		struct tree_block *b = malloc(sizeof *b + room);

		if (!b)
			return NULL;
		b->next = t->blocks;
		t->blocks = b;
		t->room = (char *)b->data;
		t->left = room;
	}
	p = t->room;
	t->room += size;
	t->left -= size;
	return p;
}

static struct json_member *push(struct reader *r)
{
	if (r->n == r->cap) {
		const size_t cap = r->cap * 2;
		struct json_member *grown = reallocarray(r->grown, cap, sizeof *grown);

		if (!grown) {
			r->oom = true;
			return NULL;
		}
		if (!r->grown)
			memcpy(grown, r->stack, r->n * sizeof *grown);
		r->stack = r->grown = grown;
		r->cap = cap;
	}
	return &r->stack[r->n++];
}

void tree_done(struct tree *t)
{
	while (t->blocks) {
		struct tree_block *b = t->blocks;

		t->blocks = b->next;
		free(b);
	}
}

/* ---- Scalars ---- */

static void skip_space(struct reader *r)
{
	while (*r->p == ' ' || *r->p == '\n' || *r->p == '\t' || *r->p == '\r')
		r->p++;
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool take_hex4(struct reader *r, uint32_t *ret)
{
	*ret = 0;
	for (int i = 0; i < 4; i++, r->p++) {
		const int digit = hex(*r->p);

		if (digit < 0)
			return false;
		*ret = *ret << 4 | (uint32_t)digit;
	}
	return true;
}

static char *put_utf8(char *to, uint32_t c)
{
	if (c < 0x80) {
		*to++ = (char)c;
		return to;
	}
	if (c < 0x800) {
		*to++ = (char)(0xc0 | c >> 6);
	} else {
		if (c < 0x10000) {
			*to++ = (char)(0xe0 | c >> 12);
		} else {
			*to++ = (char)(0xf0 | c >> 18);
			*to++ = (char)(0x80 | (c >> 12 & 0x3f));
		}
		*to++ = (char)(0x80 | (c >> 6 & 0x3f));
	}
	*to++ = (char)(0x80 | (c & 0x3f));
	return to;
}

/* "u" was read. Surrogates only in pairs (RFC 8259, section 7). */
static bool take_unicode(struct reader *r, char **to)
{
	uint32_t c, low;

	if (!take_hex4(r, &c) || c == 0 || (c >= 0xdc00 && c <= 0xdfff))
		return false;
	if (c >= 0xd800 && c <= 0xdbff) {
		if (r->p[0] != '\\' || r->p[1] != 'u')
			return false;
		r->p += 2;
		if (!take_hex4(r, &low) || low < 0xdc00 || low > 0xdfff)
			return false;
		c = 0x10000 + ((c - 0xd800) << 10 | (low - 0xdc00));
	}
	*to = put_utf8(*to, c);
	return true;
}

/* The backslash was read. */
static bool take_escape(struct reader *r, char **to)
{
	static const char written[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
	const char c = *r->p;
	const char *at;

	if (c == '\0')
		return false;
	r->p++;
	if (c == 'u')
		return take_unicode(r, to);
	at = strchr(written, c);
	if (at)
		*(*to)++ = meant[at - written];
	return at != NULL;
}

static bool is_plain(char c)
{
	return (unsigned char)c >= 0x20 && c != '"' && c != '\\';
}

static bool take_string(struct reader *r, const char **ret, size_t *ret_len)
{
	char *from, *to;

	if (*r->p != '"')
		return false;
	from = ++r->p;
	r->p += json_plain_span(r->p, (size_t)(r->end - r->p), false);
	while (is_plain(*r->p))
		r->p++;
	for (to = r->p; *r->p != '"';) {
		if (is_plain(*r->p))
			*to++ = *r->p++;
		else if (*r->p++ != '\\' || !take_escape(r, &to))
			return false;
	}
	r->p++;
	*to = '\0';
	*ret = from;
	*ret_len = (size_t)(to - from);
	return str_is_utf8(from, *ret_len); /* an escape means whole characters: it completes no broken one */
}

static bool take_digits(struct reader *r)
{
	const char *from = r->p;

	while (*r->p >= '0' && *r->p <= '9')
		r->p++;
	return r->p > from;
}

static bool take_integer(const char *from, const char *end, int64_t *ret)
{
	const bool minus = *from == '-';
	int64_t v = 0;

	for (from += minus; from < end; from++) {
		const int64_t digit = *from - '0';

		if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, minus ? -digit : digit, &v))
			return false;
	}
	*ret = v;
	return true;
}

static bool take_number(struct reader *r, struct json *v)
{
	const char *from = r->p;
	bool real = false;

	r->p += *r->p == '-';
	if (*r->p == '0')
		r->p++;
	else if (!take_digits(r))
		return false;
	if (*r->p == '.') {
		real = true;
		r->p++;
		if (!take_digits(r))
			return false;
	}
	if (*r->p == 'e' || *r->p == 'E') {
		real = true;
		r->p++;
		r->p += *r->p == '+' || *r->p == '-';
		if (!take_digits(r))
			return false;
	}
	v->type = real ? JSON_REAL : JSON_INTEGER;
	if (!real)
		return take_integer(from, r->p, &v->integer);
	v->text = from;
	v->len = (size_t)(r->p - from);
	return !isinf(strtod(from, NULL)); /* what stands behind it cannot belong to a number */
}

static bool take_word(struct reader *r, const char *word)
{
	const size_t n = strlen(word);

	if (strncmp(r->p, word, n) != 0)
		return false;
	r->p += n;
	return true;
}

/* ---- Containers ---- */

static bool take_value(struct reader *r, struct json *v);

static int by_key(const void *a, const void *b)
{
	const struct json_member *const *x = a, *const *y = b;

	return strcmp((*x)->key, (*y)->key);
}

/* Many keys are sorted, so that a hostile object costs no more than its length. */
static bool are_different(struct reader *r, const struct json_member *m, size_t n)
{
	AUTO_FREE const struct json_member **sorted = NULL;

	for (size_t i = 1; i < n && n <= FEW_MEMBERS; i++)
		for (size_t k = 0; k < i; k++)
			if (m[i].key_len == m[k].key_len && memcmp(m[i].key, m[k].key, m[i].key_len) == 0)
				return false;
	if (n <= FEW_MEMBERS)
		return true;
	sorted = reallocarray(NULL, n, sizeof *sorted);
	if (!sorted)
		return out_of_memory(r);
	for (size_t i = 0; i < n; i++)
		sorted[i] = &m[i];
	qsort(sorted, n, sizeof *sorted, by_key);
	for (size_t i = 1; i < n; i++)
		if (strcmp(sorted[i - 1]->key, sorted[i]->key) == 0)
			return false;
	return true;
}

static bool take_member(struct reader *r, bool object)
{
	struct json_member m = {0}, *at;

	skip_space(r);
	if (object) {
		if (!take_string(r, &m.key, &m.key_len))
			return false;
		skip_space(r);
		if (*r->p++ != ':')
			return false;
	}
	if (!take_value(r, &m.value))
		return false;
	at = push(r);
	if (at)
		*at = m;
	return at != NULL;
}

/* What was gathered from @base on goes to its place. */
static bool keep(struct reader *r, size_t base, struct json *v)
{
	const struct json_member *from = r->stack + base;

	v->len = r->n - base;
	r->n = base;
	if (v->len == 0)
		return true;
	if (v->type == JSON_OBJECT) {
		struct json_member *members = take_room(r, v->len * sizeof *members);

		if (!members)
			return out_of_memory(r);
		memcpy(members, from, v->len * sizeof *members);
		v->members = members;
		return are_different(r, members, v->len);
	}

	struct json *elements = take_room(r, v->len * sizeof *elements);

	if (!elements)
		return out_of_memory(r);
	for (size_t i = 0; i < v->len; i++)
		elements[i] = from[i].value;
	v->elements = elements;
	return true;
}

static bool take_container(struct reader *r, struct json *v)
{
	const bool object = *r->p++ == '{';
	const char end = object ? '}' : ']';
	const size_t base = r->n;

	v->type = object ? JSON_OBJECT : JSON_ARRAY;
	if (++r->depth > JSON_MAX_DEPTH)
		return false;
	skip_space(r);
	if (*r->p != end) {
		for (;;) {
			if (!take_member(r, object))
				return false;
			skip_space(r);
			if (*r->p != ',')
				break;
			r->p++;
		}
	}
	if (*r->p != end)
		return false;
	r->p++;
	r->depth--;
	return keep(r, base, v);
}

static bool take_value(struct reader *r, struct json *v)
{
	*v = (struct json){0};
	skip_space(r);
	switch (*r->p) {
	case '{':
	case '[':
		return take_container(r, v); /* as deep as JSON_MAX_DEPTH */
	case '"':
		v->type = JSON_STRING;
		return take_string(r, &v->text, &v->len);
	case 't':
	case 'f':
		v->type = JSON_BOOL;
		v->truth = *r->p == 't';
		return take_word(r, v->truth ? "true" : "false");
	case 'n':
		v->type = JSON_NULL;
		return take_word(r, "null");
	default:
		return take_number(r, v);
	}
}

bool tree_read(struct tree *t, char *text, size_t len, bool *ret_oom)
{
	UNINITIALIZED struct json_member first[FIRST_STACK];
	struct reader r = {.t = t, .p = text, .end = text + len, .stack = first, .cap = FIRST_STACK};
	bool ok;

	t->blocks = NULL;
	t->room = t->first;
	t->left = sizeof t->first;
	ok = take_value(&r, &t->root);
	if (ok)
		skip_space(&r);
	free(r.grown);
	*ret_oom = r.oom;
	return ok && r.p == text + len;
}

/* ---- Values ---- */

enum json_type json_type_of(const struct json *v)
{
	return v->type;
}

bool json_bool_get(const struct json *v)
{
	return v->truth;
}

int64_t json_integer_get(const struct json *v)
{
	return v->type == JSON_INTEGER ? v->integer : 0;
}

double json_real_get(const struct json *v)
{
	if (v->type == JSON_INTEGER)
		return (double)v->integer;
	return v->type == JSON_REAL ? strtod(v->text, NULL) : 0;
}

const char *json_string_get(const struct json *v, size_t *ret_len)
{
	const bool is_string = v->type == JSON_STRING;

	if (ret_len)
		*ret_len = is_string ? v->len : 0;
	return is_string ? v->text : NULL;
}

size_t json_length(const struct json *v)
{
	return v->type == JSON_OBJECT || v->type == JSON_ARRAY ? v->len : 0;
}

const struct json *json_at(const struct json *array, size_t i)
{
	return array->type == JSON_ARRAY && i < array->len ? &array->elements[i] : NULL;
}

const struct json *json_member(const struct json *object, const char *key)
{
	const size_t n = object->type == JSON_OBJECT ? object->len : 0, len = strlen(key);

	for (size_t i = 0; i < n; i++)
		if (object->members[i].key_len == len && memcmp(object->members[i].key, key, len) == 0)
			return &object->members[i].value;
	return NULL;
}

int json_each(const struct json *object, int (*fn)(const char *key, const struct json *v, void *arg), void *arg)
{
	const size_t n = object->type == JSON_OBJECT ? object->len : 0;

	for (size_t i = 0; i < n; i++) {
		int r = fn(object->members[i].key, &object->members[i].value, arg);

		if (r != 0)
			return r;
	}
	return 0;
}

/* ---- As text again ---- */

static void dump_container(struct buf *b, const struct json *v)
{
	const bool object = v->type == JSON_OBJECT;

	buf_add(b, object ? "{" : "[", 1);
	for (size_t i = 0; i < v->len; i++) {
		if (i > 0)
			buf_add(b, ",", 1);
		if (object) {
			json_add_string(b, v->members[i].key, v->members[i].key_len);
			buf_add(b, ":", 1);
		}
		json_dump_to(b, object ? &v->members[i].value : &v->elements[i]);
	}
	buf_add(b, object ? "}" : "]", 1);
}

void json_dump_to(struct buf *b, const struct json *v)
{
	switch (v->type) {
	case JSON_NULL:
		buf_puts(b, "null");
		break;
	case JSON_BOOL:
		buf_puts(b, v->truth ? "true" : "false");
		break;
	case JSON_INTEGER:
		buf_printf(b, "%lld", (long long)v->integer);
		break;
	case JSON_REAL: /* as it was written: no digit is lost */
		buf_add(b, v->text, v->len);
		break;
	case JSON_STRING:
		json_add_string(b, v->text, v->len);
		break;
	case JSON_ARRAY:
	case JSON_OBJECT:
		dump_container(b, v);
		break;
	}
}
