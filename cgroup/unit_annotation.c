/* Annotations "org.systemd.property.NAME": properties of the container's unit that the caller asks for, their values in
 * GVariant's text format, of which is read what units have: booleans, numbers, texts, and arrays of one of these. */
#include "cgroup/internal.h"

#include "wire/scope.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define PREFIX "org.systemd.property."

struct gtext {
	const char *p;
	char type;        /* of the last value: a D-Bus signature of one letter */
	struct buf value; /* as busctl(1) takes it */
};

static const struct {
	const char *word;
	char type;
} types[] = {
	{"boolean", 'b'}, {"byte", 'y'},   {"int16", 'n'},  {"uint16", 'q'}, {"int32", 'i'},      {"uint32", 'u'},
	{"int64", 'x'},   {"uint64", 't'}, {"double", 'd'}, {"string", 's'}, {"objectpath", 'o'},
};

static bool fits(const struct gtext *g)
{
	union scope_value ignored;

	return !g->value.failed && scope_value_read(g->type, g->value.data, &ignored);
}

static void skip(struct gtext *g)
{
	g->p += strspn(g->p, " \t\n");
}

/* "uint64 " before a number, 0 without. */
static char take_type(struct gtext *g)
{
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		const size_t n = strlen(types[i].word);

		if (strncmp(g->p, types[i].word, n) == 0 && (g->p[n] == ' ' || g->p[n] == '\t')) {
			g->p += n;
			skip(g);
			return types[i].type;
		}
	}
	return 0;
}

static bool take_text(struct gtext *g)
{
	static const char from[] = "abfnrtv", to[] = "\a\b\f\n\r\t\v";
	const char quote = *g->p++;

	for (; *g->p && *g->p != quote; g->p++) {
		const char *escape;
		char c = *g->p;

		if (c == '\\') {
			c = *++g->p;
			escape = c ? strchr(from, c) : NULL;
			if (!c || c == 'u' || c == 'U')
				return false;
			c = (char)(escape ? to[escape - from] : c);
		}
		buf_add(&g->value, &c, 1);
	}
	buf_add(&g->value, "", 1);
	if (*g->p != quote)
		return false;
	g->p++;
	return true;
}

static bool take_word(struct gtext *g, char type)
{
	const size_t n = strspn(g->p, "abcdefghijklmnopqrstuvwxyz0123456789+-.");
	const bool word = n > 0 && strchr("tf", g->p[0]) && type != 'd';
	const bool broken = memchr(g->p, '.', n) || (memchr(g->p, 'e', n) && strncmp(g->p, "0x", 2) != 0);

	buf_add(&g->value, g->p, n);
	buf_add(&g->value, "", 1);
	if (word) {
		g->type = 'b';
		if (strncmp(g->p, "true", n) != 0 && strncmp(g->p, "false", n) != 0)
			return false;
	} else {
		g->type = (char)(type ? type : broken ? 'd' : 'i');
	}
	g->p += n;
	return n > 0 && fits(g);
}

/* One value that is no array, of @type when that is not 0. */
static bool take_scalar(struct gtext *g, char type)
{
	const char said = take_type(g);

	buf_drop(&g->value, g->value.len);
	type = (char)(said ? said : type);
	if (*g->p == '\'' || *g->p == '"') {
		g->type = type == 'o' ? 'o' : 's';
		return take_text(g) && (!type || type == g->type) && fits(g);
	}
	return type != 's' && type != 'o' && take_word(g, type) && (!type || type == g->type);
}

/* "[a, b]", or with its type "@as []": signature, number, values. */
static bool take_array(struct gtext *g, char type, struct buf *words)
{
	AUTO(buf_done) struct buf values = {0};
	char signature[3] = {'a'}, number[24];
	uint64_t n = 0;

	g->p++;
	for (skip(g); *g->p && *g->p != ']'; n++) {
		if (n > 0 && *g->p++ != ',')
			return false;
		skip(g);
		if (!take_scalar(g, type))
			return false;
		type = g->type;
		buf_add(&values, g->value.data, g->value.len);
		skip(g);
	}
	if (*g->p++ != ']' || !type)
		return false;
	signature[1] = type;
	(void)cg_format_u64(number, n);
	cg_unit_word(words, signature);
	cg_unit_word(words, number);
	buf_add(words, values.data, values.len);
	return !values.failed;
}

static bool take_value(struct gtext *g, struct buf *words)
{
	char signature[2] = {0}, type = 0;
	bool array = false;

	skip(g);
	if (*g->p == '@') {
		array = g->p[1] == 'a';
		type = g->p[1 + array];
		if (!type || !strchr("bynqiuxtdso", type) || g->p[2 + array] != ' ')
			return false;
		g->p += 2 + array;
		skip(g);
	}
	if (*g->p == '[')
		return (array || !type) && take_array(g, type, words);
	if (array || !take_scalar(g, type))
		return false;
	signature[0] = g->type;
	cg_unit_word(words, signature);
	buf_add(words, g->value.data, g->value.len);
	return true;
}

/* Times are documented in seconds and set in microseconds. */
static bool take_seconds(struct gtext *g, struct buf *words)
{
	uint64_t ns;

	skip(g);
	if (!take_scalar(g, 0) || !strchr("nqiuxtdy", g->type) || !parse_seconds(g->value.data, &ns))
		return false;
	cg_unit_word(words, "t");
	buf_printf(words, "%" PRIu64, ns / 1000);
	buf_add(words, "", 1);
	return true;
}

/* "TimeoutStopSec", but not "xUSec". */
static bool is_seconds(const char *name)
{
	const size_t n = strlen(name);

	return n > 3 && strcmp(name + n - 3, "Sec") == 0 && name[n - 4] >= 'a' && name[n - 4] <= 'z';
}

static int add(const char *name, const char *text, struct buf *words, struct err *e)
{
	AUTO(buf_done) struct buf value = {0};
	struct gtext g = {.p = text};
	const bool seconds = is_seconds(name);
	const size_t n = strlen(name);
	bool good = n >= 3 && n < 100 && strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") == n;

	good = good && (seconds ? take_seconds(&g, &value) : take_value(&g, &value));
	if (good) {
		skip(&g);
		good = *g.p == '\0' && !g.value.failed;
	}
	buf_done(&g.value);
	if (!good)
		return err_where(e,
				 err_set(e, ERR_SPEC, EINVAL, "'%.200s' is no value that is known here, or no name",
					 text),
				 "$.annotations[\"" PREFIX "%.60s\"]", name);
	buf_printf(words, "%.*s%s", (int)(seconds ? n - 3 : n), name, seconds ? "USec" : "");
	buf_add(words, "", 1);
	buf_add(words, value.data, value.len);
	return 0;
}

int cg_unit_annotations(const struct ct_pair *list, size_t n, struct buf *words, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++)
		if (str_starts(list[i].key, PREFIX))
			r = add(list[i].key + strlen(PREFIX), list[i].value, words, e);
	return r == 0 && words->failed ? err_oom(e) : r;
}
