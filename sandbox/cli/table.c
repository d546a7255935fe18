#include "cli/table.h"

#include <stdio.h>

enum { MAX_COLUMNS = 32 };

/* Takes a text in the arena, or NULL when there was no memory for it. */
static void add(struct table *t, char *text)
{
	if (t->n == t->cap) {
		size_t cap = t->cap ? t->cap * 2 : 64;
		const char **grown = realloc(t->cells, cap * sizeof *grown);

		if (!grown) {
			t->failed = true;
			return;
		}
		t->cells = grown;
		t->cap = cap;
	}
	if (!text) {
		t->failed = true;
		return;
	}
	for (char *p = text; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	t->cells[t->n++] = text;
}

void table_add(struct table *t, const char *text)
{
	add(t, arena_strdup(&t->arena, text && *text ? text : "-"));
}

void table_addf(struct table *t, const char *fmt, ...)
{
	char text[128];
	va_list ap;

	va_start(ap, fmt);
	if (vsnprintf(text, sizeof text, fmt, ap) < 0)
		text[0] = '\0';
	va_end(ap);
	table_add(t, text);
}

/* Of what a terminal shows: continuation bytes of UTF-8 take no column. */
static size_t width_of(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

static void pad(struct buf *b, size_t n)
{
	for (; n > 0; n--)
		buf_puts(b, " ");
}

void table_print(struct table *t, struct buf *b)
{
	size_t widths[MAX_COLUMNS] = {0};
	const size_t columns = t->columns < MAX_COLUMNS ? t->columns : MAX_COLUMNS;

	for (size_t i = 0; i < t->n; i++) {
		size_t w = width_of(t->cells[i]), *most = &widths[i % columns];

		*most = w > *most ? w : *most;
	}
	for (size_t i = 0; i < t->n; i++) {
		const size_t column = i % columns, left = widths[column] - width_of(t->cells[i]);
		const bool last = column + 1 == columns, right = t->right >> column & 1;

		pad(b, right ? left : 0);
		buf_puts(b, t->cells[i]);
		pad(b, right || last ? 0 : left);
		buf_puts(b, last ? "\n" : "  ");
	}
	b->failed |= t->failed;
	arena_done(&t->arena);
	free(t->cells);
	*t = (struct table){.columns = t->columns, .right = t->right};
}
