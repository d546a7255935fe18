/* Clients send three small documents. A value is checked whole before anything of it is looked at, so that the rest may
 * walk it without looking out. */
#include "runtime/api/api.h"

#include <string.h>

enum { DEPTH_MAX = 32 };

static const char *blanks(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))
		p++;
	return p;
}

static bool is_hex(const char *p)
{
	for (int i = 0; i < 4; i++)
		if (!((p[i] >= '0' && p[i] <= '9') || (p[i] >= 'a' && p[i] <= 'f') || (p[i] >= 'A' && p[i] <= 'F')))
			return false;
	return true;
}

/* What follows the string at @p; NULL when it is none. */
static const char *skip_string(const char *p, const char *end)
{
	if (p >= end || *p != '"')
		return NULL;
	for (p++; p < end && *p != '"'; p++) {
		if ((unsigned char)*p < 0x20)
			return NULL;
		if (*p != '\\')
			continue;
		p++;
		if (p < end && *p == 'u') {
			if (end - p < 5 || !is_hex(p + 1))
				return NULL;
			p += 4;
		} else if (p >= end || *p == '\0' || !strchr("\"\\/bfnrt", *p)) {
			return NULL;
		}
	}
	return p < end ? p + 1 : NULL;
}

static const char *digits(const char *p, const char *end)
{
	const char *begin = p;

	while (p < end && *p >= '0' && *p <= '9')
		p++;
	return p > begin ? p : NULL;
}

static const char *skip_number(const char *p, const char *end)
{
	const char *whole;

	if (p < end && *p == '-')
		p++;
	whole = p;
	p = digits(p, end);
	if (!p || (*whole == '0' && p > whole + 1))
		return NULL;
	if (p < end && *p == '.')
		p = digits(p + 1, end);
	if (p && p < end && (*p == 'e' || *p == 'E')) {
		p++;
		if (p < end && (*p == '+' || *p == '-'))
			p++;
		p = digits(p, end);
	}
	return p;
}

static const char *skip_value(const char *p, const char *end, int depth);

static const char *skip_container(const char *p, const char *end, int depth)
{
	const bool object = *p == '{';
	const char close = object ? '}' : ']';

	p = blanks(p + 1, end);
	if (p < end && *p == close)
		return p + 1;
	for (;;) {
		if (object) {
			p = skip_string(p, end);
			p = p ? blanks(p, end) : NULL;
			if (!p || p >= end || *p != ':')
				return NULL;
			p = blanks(p + 1, end);
		}
		p = skip_value(p, end, depth + 1);
		p = p ? blanks(p, end) : NULL;
		if (!p || p >= end || (*p != ',' && *p != close))
			return NULL;
		if (*p++ == close)
			return p;
		p = blanks(p, end);
	}
}

static const char *skip_value(const char *p, const char *end, int depth)
{
	static const char *const words[] = {"true", "false", "null"};

	if (p >= end || depth > DEPTH_MAX)
		return NULL;
	if (*p == '{' || *p == '[')
		return skip_container(p, end, depth);
	if (*p == '"')
		return skip_string(p, end);
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		const size_t n = strlen(words[i]);

		if ((size_t)(end - p) >= n && memcmp(p, words[i], n) == 0)
			return p + n;
	}
	return skip_number(p, end);
}

bool json_whole(const char *text, size_t len, struct json_view *ret)
{
	const char *end = text + len, *begin = blanks(text, end), *p;

	p = skip_value(begin, end, 0);
	if (!p || blanks(p, end) != end)
		return false;
	*ret = (struct json_view){begin, (size_t)(p - begin)};
	return true;
}

/* Steps to the next member or element of a checked container, from *p (its first byte to begin with). */
static bool step(struct json_view c, const char **p, struct json_view *key, struct json_view *value)
{
	const char *end = c.at + c.len, *q = blanks(*p + 1, end), *after;

	if (*q == '}' || *q == ']')
		return false;
	if (*c.at == '{') {
		after = skip_string(q, end);
		*key = (struct json_view){q, (size_t)(after - q)};
		q = blanks(blanks(after, end) + 1, end);
	}
	after = skip_value(q, end, 0);
	*value = (struct json_view){q, (size_t)(after - q)};
	*p = blanks(after, end); /* a comma or the end */
	return true;
}

bool json_get(struct json_view object, const char *key, struct json_view *ret)
{
	struct json_view k, v;
	char name[64];
	bool found = false;

	if (object.len == 0 || *object.at != '{')
		return false;
	for (const char *p = object.at; (p == object.at || *p == ',') && step(object, &p, &k, &v);)
		if (json_text(k, name, sizeof name) && strcmp(name, key) == 0) {
			*ret = v; /* the later of two wins */
			found = true;
		}
	return found;
}

bool json_element(struct json_view array, size_t index, struct json_view *ret)
{
	struct json_view k;

	if (array.len == 0 || *array.at != '[')
		return false;
	for (const char *p = array.at; (p == array.at || *p == ',') && step(array, &p, &k, ret);)
		if (index-- == 0)
			return true;
	return false;
}

static char *put_utf8(char *q, uint32_t c)
{
	if (c < 0x80) {
		*q++ = (char)c;
	} else if (c < 0x800) {
		*q++ = (char)(0xc0 | c >> 6);
		*q++ = (char)(0x80 | (c & 0x3f));
	} else if (c < 0x10000) {
		*q++ = (char)(0xe0 | c >> 12);
		*q++ = (char)(0x80 | (c >> 6 & 0x3f));
		*q++ = (char)(0x80 | (c & 0x3f));
	} else {
		*q++ = (char)(0xf0 | c >> 18);
		*q++ = (char)(0x80 | (c >> 12 & 0x3f));
		*q++ = (char)(0x80 | (c >> 6 & 0x3f));
		*q++ = (char)(0x80 | (c & 0x3f));
	}
	return q;
}

static uint32_t hex4(const char *p)
{
	char text[5] = {p[0], p[1], p[2], p[3], '\0'};
	uint64_t n = 0;

	(void)parse_digits(text, 16, 0xffff, &n);
	return (uint32_t)n;
}

bool json_text(struct json_view v, char *buf, size_t size)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *p = v.at + 1, *end = v.at + v.len - 1;
	char *q = buf;

	if (v.len < 2 || *v.at != '"')
		return false;
	while (p < end) {
		if (size - (size_t)(q - buf) <= 4)
			return false;
		if (*p != '\\') {
			*q++ = *p++;
			continue;
		}
		p++;
		if (*p == 'u') {
			uint32_t c = hex4(p + 1);

			p += 5;
			if (c >= 0xd800 && c < 0xdc00 && end - p >= 6 && p[0] == '\\' && p[1] == 'u' &&
			    hex4(p + 2) >= 0xdc00 && hex4(p + 2) < 0xe000) {
				c = 0x10000 + ((c - 0xd800) << 10) + (hex4(p + 2) - 0xdc00);
				p += 6;
			}
			if (c == 0 || (c >= 0xd800 && c < 0xe000))
				return false;
			q = put_utf8(q, c);
		} else {
			*q++ = to[strchr(from, *p) - from];
			p++;
		}
	}
	*q = '\0';
	return true;
}

bool json_integer(struct json_view v, int64_t *ret)
{
	const bool negative = v.len > 0 && *v.at == '-';
	uint64_t n;

	/* What follows a number in a document is no digit. */
	if (parse_digits(v.at + negative, 10, INT64_MAX, &n) != v.len - negative || v.len == (size_t)negative)
		return false;
	*ret = negative ? -(int64_t)n : (int64_t)n;
	return true;
}

/* Length of the UTF-8 sequence at @p, 0 when it is none (RFC 3629). */
static size_t utf8_length(const unsigned char *p, size_t left)
{
	const unsigned char c = p[0];
	const size_t n = c < 0x80                 ? 1
			 : c >= 0xc2 && c <= 0xdf ? 2
			 : c >= 0xe0 && c <= 0xef ? 3
			 : c >= 0xf0 && c <= 0xf4 ? 4
						  : 0;

	if (n == 0 || n > left)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((c == 0xe0 && p[1] < 0xa0) || (c == 0xed && p[1] > 0x9f) || (c == 0xf0 && p[1] < 0x90) ||
	    (c == 0xf4 && p[1] > 0x8f))
		return 0;
	return n;
}

void json_quote(struct bytes *b, const char *s, size_t len)
{
	bytes_puts(b, "\"");
	while (len > 0) {
		const unsigned char c = (unsigned char)*s;
		const size_t n = utf8_length((const unsigned char *)s, len);

		if (n == 0)
			bytes_puts(b, "\\ufffd");
		else if (c == '"' || c == '\\')
			bytes_printf(b, "\\%c", c);
		else if (c == '\n')
			bytes_puts(b, "\\n");
		else if (c < 0x20 || c == 0x7f)
			bytes_printf(b, "\\u%04x", c);
		else
			bytes_add(b, s, n);
		s += n ? n : 1;
		len -= n ? n : 1;
	}
	bytes_puts(b, "\"");
}
