#include "json/json.h"

#include "json/scan.h"

#include <stdio.h>

/* Bytes of a UTF-8 sequence by its first byte; 0 when no sequence starts so. */
static size_t sequence_len(unsigned char c)
{
	return c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
}

/* The two-character escape of RFC 8259, section 7, or NULL. */
static const char *short_escape(unsigned char c)
{
	switch (c) {
	case '"':
		return "\\\"";
	case '\\':
		return "\\\\";
	case '\b':
		return "\\b";
	case '\f':
		return "\\f";
	case '\n':
		return "\\n";
	case '\r':
		return "\\r";
	case '\t':
		return "\\t";
	default:
		return NULL;
	}
}

/* What stands in a string as it is, whatever is around it. */
static bool is_plain(char c)
{
	return (unsigned char)c >= 0x20 && (unsigned char)c < 0x80 && c != '"' && c != '\\';
}

void json_add_string(struct buf *b, const char *s, size_t len)
{
	size_t done = 0, i = 0; /* what lies between is copied in one piece */

	buf_add(b, "\"", 1);
	while (i < len) {
		i += json_plain_span(s + i, len - i, true);
		while (i < len && is_plain(s[i]))
			i++;
		if (i == len)
			break;

		unsigned char c = (unsigned char)s[i];
		size_t n = sequence_len(c);
		const char *escape = short_escape(c);
		char hex[8];

		if (n > 0 && n <= len - i && (n == 1 || str_is_utf8(s + i, n)) && c >= 0x20 && !escape) {
			i += n;
			continue;
		}
		if (!escape && c < 0x20) {
			(void)snprintf(hex, sizeof hex, "\\u%04x", (unsigned)c);
			escape = hex;
		}
		buf_add(b, s + done, i - done);
		buf_puts(b, escape ? escape : "\xef\xbf\xbd"); /* U+FFFD, one for each byte that fits nowhere */
		done = ++i;
	}
	buf_add(b, s + done, len - done);
	buf_add(b, "\"", 1);
}
