/* Text: numbers from text with ranges, and a growing buffer. */
#pragma once

#include "base/err.h"

/* Decimal digits only, no sign, no blanks. False, and *ret untouched, when @s is anything else or lies outside
 * [min, max]. */
NODISCARD bool parse_u64(const char *s, uint64_t min, uint64_t max, uint64_t *ret);

/* Seconds with up to nine decimals ("3", "0.25", "900.0") to nanoseconds. False on anything else. */
NODISCARD bool parse_seconds(const char *s, uint64_t *ret_ns);

bool str_starts(const char *s, const char *prefix);
bool str_ends(const char *s, const char *suffix);

/* As much of @s as fits into @size bytes with its 0 byte: snprintf's "%s" at a tenth of the price. */
void str_copy(char *to, size_t size, const char *s);

/* True for bytes that form valid UTF-8 (RFC 3629: no surrogates, no overlong forms, at most U+10FFFF). */
bool str_is_utf8(const char *s, size_t len);

/* Growing bytes. Zero-initialise to start. After a failed allocation `failed` is set and further calls do nothing,
 * so a writer checks once at the end. data is always terminated once something was added. */
struct buf {
	char *data;
	size_t len, cap;
	bool failed;
};

void buf_add(struct buf *b, const void *data, size_t len);
void buf_puts(struct buf *b, const char *s);
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF(2, 3);
/* Removes the first @len bytes. */
void buf_drop(struct buf *b, size_t len);
void buf_done(struct buf *b);
