/* The recogniser follows RFC 8259's grammar to the letter, which jansson does not: it also refuses integers beyond 64
 * bits, reals beyond a double and lone surrogate escapes, all of them JSON. An answer of a function is passed on as text,
 * so the grammar alone decides here. Containers are remembered in the bits of one word: hostile depth costs nothing. */
#include "json/scan.h"

struct scan {
	const char *p, *end;
	uint64_t objects; /* one bit for each open container: set when it is an object; the innermost is bit 0 */
	unsigned depth;
};

_Static_assert(JSON_MAX_DEPTH <= 64, "scan.objects has a bit for each level");

static bool at(const struct scan *s, char c)
{
	return s->p < s->end && *s->p == c;
}

static bool take(struct scan *s, char c)
{
	if (!at(s, c))
		return false;
	s->p++;
	return true;
}

static bool take_word(struct scan *s, const char *word)
{
	size_t n = strlen(word);

	if ((size_t)(s->end - s->p) < n || memcmp(s->p, word, n) != 0)
		return false;
	s->p += n;
	return true;
}

static void skip_space(struct scan *s)
{
	while (at(s, ' ') || at(s, '\n') || at(s, '\t') || at(s, '\r'))
		s->p++;
}

static bool take_digits(struct scan *s)
{
	const char *from = s->p;

	while (s->p < s->end && *s->p >= '0' && *s->p <= '9')
		s->p++;
	return s->p > from;
}

static bool take_number(struct scan *s)
{
	(void)take(s, '-');
	if (!take(s, '0') && !take_digits(s))
		return false;
	if (take(s, '.') && !take_digits(s))
		return false;
	if (take(s, 'e') || take(s, 'E')) {
		if (!take(s, '+'))
			(void)take(s, '-');
		return take_digits(s);
	}
	return true;
}

static bool take_hex4(struct scan *s)
{
	for (int i = 0; i < 4; i++, s->p++) {
		if (s->p == s->end)
			return false;

		char c = *s->p;
		if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')))
			return false;
	}
	return true;
}

static bool take_string(struct scan *s)
{
	if (!take(s, '"'))
		return false;
	while (s->p < s->end) {
		unsigned char c = (unsigned char)*s->p++;

		if (c == '"')
			return true;
		if (c < 0x20)
			return false;
		if (c != '\\')
			continue;
		if (take(s, 'u')) {
			if (!take_hex4(s))
				return false;
		} else if (s->p == s->end || *s->p == '\0' || !strchr("\"\\/bfnrt", *s->p++)) {
			return false;
		}
	}
	return false;
}

static bool take_key(struct scan *s)
{
	skip_space(s);
	if (!take_string(s))
		return false;
	skip_space(s);
	return take(s, ':');
}

static bool take_scalar(struct scan *s)
{
	if (at(s, '"'))
		return take_string(s);
	return take_word(s, "true") || take_word(s, "false") || take_word(s, "null") || take_number(s);
}

/* After '[' or '{' was read: true when a value is due now, false with *ret_ok when the container is empty or wrong. */
static bool open_container(struct scan *s, bool object, bool *ret_ok)
{
	*ret_ok = s->depth < JSON_MAX_DEPTH;
	if (!*ret_ok)
		return false;
	s->objects = s->objects << 1 | object;
	s->depth++;
	skip_space(s);
	if (at(s, object ? '}' : ']'))
		return false;
	if (object)
		*ret_ok = take_key(s);
	return *ret_ok;
}

/* After a value: true when another one is due, false with *ret_ok when the text has ended or is wrong. */
static bool after_value(struct scan *s, bool *ret_ok)
{
	*ret_ok = true;
	for (;;) {
		bool object = s->objects & 1;

		skip_space(s);
		if (s->depth == 0) {
			*ret_ok = s->p == s->end;
			return false;
		}
		if (take(s, ',')) {
			if (object)
				*ret_ok = take_key(s);
			return *ret_ok;
		}
		if (!take(s, object ? '}' : ']')) {
			*ret_ok = false;
			return false;
		}
		s->objects >>= 1;
		s->depth--;
	}
}

bool json_is_value(const char *text, size_t len)
{
	struct scan s = {.p = text, .end = text + len};
	bool ok = str_is_utf8(text, len), due = ok;

	while (due) {
		skip_space(&s);
		if (at(&s, '[') || at(&s, '{')) {
			due = open_container(&s, *s.p++ == '{', &ok);
			if (due || !ok)
				continue;
		} else if (!take_scalar(&s)) {
			return false;
		}
		due = after_value(&s, &ok);
	}
	return ok;
}

const char *json_scan_fault(const char *text, size_t len, struct json_place *ret_place)
{
	struct json_place here = {.line = 1};
	bool string = false, escaped = false;
	size_t depth = 0;

	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];

		here.column += (c & 0xc0) != 0x80; /* a byte that continues a character is not a column */
		*ret_place = here;
		if (c == '\0')
			return "not JSON: a NUL byte";
		if (c == '\n')
			here = (struct json_place){.line = here.line + 1};
		if (escaped) {
			escaped = false; /* what is escaped neither ends the string nor nests */
		} else if (string) {
			escaped = c == '\\';
			string = c != '"';
		} else if (c == '"') {
			string = true;
		} else if (c == '[' || c == '{') {
			if (++depth > JSON_MAX_DEPTH)
				return "nested too deeply: at most 64 levels are taken";
		} else if ((c == ']' || c == '}') && depth > 0) {
			depth--;
		}
	}
	return NULL;
}

/* Sixteen at a time: bodies are up to megabytes of mostly this. */
typedef unsigned char block __attribute__((vector_size(16)));

size_t json_plain_span(const char *s, size_t len, bool ascii)
{
	const block limit = (block){0} + (unsigned char)(ascii ? 0x7f : 0xff);
	size_t done = 0;

	for (; len - done >= sizeof(block); done += sizeof(block)) {
		uint64_t halves[2];
		block b;

		memcpy(&b, s + done, sizeof b);
		b = (block)((b < 0x20) | (b == '"') | (b == '\\') | (b > limit));
		memcpy(halves, &b, sizeof halves);
		if (halves[0] | halves[1])
			break;
	}
	return done;
}
