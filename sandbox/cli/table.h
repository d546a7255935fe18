/* Tables for people: columns as wide as their widest cell, two blanks between them. Bytes that would steer a terminal
 * become question marks. */
#pragma once

#include "base/mem.h"
#include "base/str.h"

struct table {
	size_t columns;
	uint32_t right; /* bit i: column i is aligned to the right */
	struct arena arena;
	const char **cells;
	size_t n, cap;
	bool failed; /* memory was short */
};

/* Adds the next cell, row by row; NULL is shown as "-". */
void table_add(struct table *t, const char *text);
void table_addf(struct table *t, const char *fmt, ...) PRINTF(2, 3);
/* All rows, appended to @b; what is in the table is freed. */
void table_print(struct table *t, struct buf *b);
