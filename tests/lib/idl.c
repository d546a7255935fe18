#include "tests/lib/idl.h"

#include <stdio.h>
#include <string.h>

enum { MAX_NAMES = 256, NAME = 64 };

struct reader {
	const char *text, *p;
	struct idl_counts *n;
	char defined[MAX_NAMES][NAME], used[MAX_NAMES][NAME];
	size_t n_defined, n_used;
};

/* Blanks, line ends and comments may stand between any two words. */
static void skip(struct reader *r)
{
	for (;;) {
		r->p += strspn(r->p, " \t\n");
		if (*r->p != '#')
			return;
		r->p += strcspn(r->p, "\n");
	}
}

static bool sign(struct reader *r, const char *s)
{
	skip(r);
	if (strncmp(r->p, s, strlen(s)) != 0)
		return false;
	r->p += strlen(s);
	return true;
}

static bool is_letter(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static bool is_word_char(char c)
{
	return is_letter(c) || (c >= '0' && c <= '9');
}

/* A word of letters, digits and, where @extra allows them, others between these. */
static bool word(struct reader *r, char *out, size_t size, const char *extra)
{
	size_t n = 0;

	skip(r);
	while (is_word_char(r->p[n]) || (n > 0 && r->p[n] && strchr(extra, r->p[n]) && r->p[n + 1]))
		n++;
	if (n == 0 || n >= size || !is_letter(r->p[0]) || !is_word_char(r->p[n - 1]))
		return false;
	memcpy(out, r->p, n);
	out[n] = '\0';
	r->p += n;
	return true;
}

static bool keyword(struct reader *r, const char *wanted)
{
	const char *before = r->p;
	char got[NAME];

	if (word(r, got, sizeof got, "") && strcmp(got, wanted) == 0)
		return true;
	r->p = before;
	return false;
}

static bool remember(char list[MAX_NAMES][NAME], size_t *n, const char *name)
{
	for (size_t i = 0; i < *n; i++)
		if (strcmp(list[i], name) == 0)
			return false;
	if (*n < MAX_NAMES)
		(void)snprintf(list[(*n)++], NAME, "%s", name);
	return true;
}

static bool read_struct(struct reader *r);

static bool read_type(struct reader *r)
{
	static const char *const plain[] = {"bool", "int", "float", "string", "object"};
	char name[NAME];

	if (sign(r, "?") && sign(r, "?"))
		return false;
	while (sign(r, "[")) {
		(void)keyword(r, "string");
		if (!sign(r, "]"))
			return false;
	}
	skip(r);
	if (*r->p == '(')
		return read_struct(r);
	if (!word(r, name, sizeof name, ""))
		return false;
	for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++)
		if (strcmp(plain[i], name) == 0)
			return true;
	(void)remember(r->used, &r->n_used, name);
	return name[0] >= 'A' && name[0] <= 'Z';
}

/* ( name: type, … ) or ( name, … ): an enum has no types, and never a mixture. */
static bool read_struct(struct reader *r)
{
	bool first = true, typed = false;
	char name[NAME];

	if (!sign(r, "("))
		return false;
	if (sign(r, ")"))
		return true;
	do {
		if (!word(r, name, sizeof name, "_"))
			return false;
		bool has = sign(r, ":");
		if (!first && has != typed)
			return false;
		typed = has;
		first = false;
		if (has && !read_type(r))
			return false;
		r->n->fields += has;
	} while (sign(r, ","));
	return sign(r, ")");
}

static bool read_member(struct reader *r)
{
	char name[NAME];
	int kind = keyword(r, "type") ? 1 : keyword(r, "method") ? 2 : keyword(r, "error") ? 3 : 0;

	if (kind == 0 || !word(r, name, sizeof name, "") || name[0] < 'A' || name[0] > 'Z')
		return false;
	if (!remember(r->defined, &r->n_defined, name))
		return false;
	r->n->types += kind == 1;
	r->n->methods += kind == 2;
	r->n->errors += kind == 3;
	return read_struct(r) && (kind != 2 || (sign(r, "->") && read_struct(r)));
}

bool idl_read(const char *text, struct idl_counts *ret, size_t *ret_at)
{
	static struct reader r;
	bool ok;

	*ret = (struct idl_counts){0};
	r = (struct reader){.text = text, .p = text, .n = ret};
	ok = keyword(&r, "interface") && word(&r, ret->name, sizeof ret->name, ".-") && strchr(ret->name, '.');
	while (ok && (skip(&r), *r.p))
		ok = read_member(&r);
	*ret_at = (size_t)(r.p - text);
	for (size_t i = 0; i < r.n_used; i++) {
		size_t k = 0;

		while (k < r.n_defined && strcmp(r.defined[k], r.used[i]) != 0)
			k++;
		ret->unknown += k == r.n_defined;
	}
	return ok;
}
