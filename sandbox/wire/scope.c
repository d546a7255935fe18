#include "wire/scope.h"

#include "base/str.h"

#include <stdlib.h>
#include <string.h>

/* A number with a sign, within @bits; *ret is its two's complement. */
static bool read_signed(const char *word, unsigned bits, int64_t *ret)
{
	const bool minus = word[0] == '-';
	const uint64_t most = (UINT64_C(1) << (bits - 1)) - !minus;
	uint64_t v;

	if (!parse_u64(word + minus, 0, most, &v))
		return false;
	*ret = (int64_t)(minus ? 0 - v : v);
	return true;
}

static bool read_double(const char *word, double *ret)
{
	char *end;

	if (word[0] == '\0' || word[strspn(word, "0123456789+-.eE")] != '\0')
		return false;
	*ret = strtod(word, &end);
	return *end == '\0';
}

/* An object's path: parts of letters, digits and '_', each behind one '/' (D-Bus specification, "Valid Object Paths"). */
static bool is_object(const char *word)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_/";
	const size_t n = strlen(word);

	return word[0] == '/' && word[strspn(word, letters)] == '\0' && !strstr(word, "//") &&
	       (n == 1 || word[n - 1] != '/');
}

static bool read_unsigned(char type, const char *word, union scope_value *to)
{
	uint64_t v;

	switch (type) {
	case 'y':
		if (!parse_u64(word, 0, UINT8_MAX, &v))
			return false;
		to->y = (uint8_t)v;
		return true;
	case 'q':
		if (!parse_u64(word, 0, UINT16_MAX, &v))
			return false;
		to->q = (uint16_t)v;
		return true;
	case 'u':
		if (!parse_u64(word, 0, UINT32_MAX, &v))
			return false;
		to->u = (uint32_t)v;
		return true;
	default:
		return parse_u64(word, 0, UINT64_MAX, &to->t);
	}
}

bool scope_value_read(char type, const char *word, union scope_value *ret)
{
	union scope_value v = {.t = 0};
	int64_t number = 0;
	bool good = false;

	switch (type) {
	case 'b':
		v.b = strcmp(word, "true") == 0;
		good = v.b || strcmp(word, "false") == 0;
		break;
	case 'y':
	case 'q':
	case 'u':
	case 't':
		good = read_unsigned(type, word, &v);
		break;
	case 'n':
		good = read_signed(word, 16, &number);
		v.n = (int16_t)number;
		break;
	case 'i':
		good = read_signed(word, 32, &number);
		v.i = (int32_t)number;
		break;
	case 'x':
		good = read_signed(word, 64, &v.x);
		break;
	case 'd':
		good = read_double(word, &v.d);
		break;
	case 's':
	case 'o':
		v.s = word;
		good = str_is_utf8(word, strlen(word)) && (type == 's' || is_object(word));
		break;
	}
	if (good)
		*ret = v;
	return good;
}

static bool read_name(const char *word, struct scope_property *p)
{
	const size_t n = strcspn(word, "@");
	uint64_t since = 0;

	if (n == 0 || n > SCOPE_MAX_NAME ||
	    strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") != n)
		return false;
	if (word[n] && !parse_u64(word + n + 1, 1, 100000, &since))
		return false;
	str_copy(p->name, n + 1, word);
	p->since = (unsigned)since;
	return true;
}

static bool read_signature(const char *s, struct scope_property *p)
{
	static const char basic[] = "bynqiuxtdso";
	const bool array = s[0] == 'a', structure = array && s[1] == '(';
	const char *first = s + array + structure;

	p->signature = s;
	p->n_element = strspn(first, basic);
	p->element = array ? first : "";
	if (p->n_element == 0 || (!structure && p->n_element != 1))
		return false;
	return strcmp(first + p->n_element, structure ? ")" : "") == 0;
}

size_t scope_property_read(const char *const *words, size_t n, struct scope_property *ret)
{
	struct scope_property p = {.count = 1};
	const char *types;
	uint64_t count = 1;
	size_t at = 2;

	if (n < 3 || n > SCOPE_MAX_WORDS || !read_name(words[0], &p) || !read_signature(words[1], &p))
		return 0;
	types = p.element[0] ? p.element : p.signature;
	if (p.element[0] && !parse_u64(words[at++], 0, SCOPE_MAX_WORDS, &count))
		return 0;
	p.count = (size_t)count;
	p.values = words + at;
	if (p.count * p.n_element > n - at)
		return 0;
	for (size_t i = 0; i < p.count * p.n_element; i++) {
		union scope_value ignored;

		if (!scope_value_read(types[i % p.n_element], p.values[i], &ignored))
			return 0;
	}
	*ret = p;
	return at + p.count * p.n_element;
}
