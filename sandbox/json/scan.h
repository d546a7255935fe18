/* Private to json/: a look at JSON text before, or instead of, building a tree of it. No allocation, no recursion. */
#pragma once

#include "json/json.h"

/* A place in a text as editors count it: from 1, columns in characters. */
struct json_place {
	size_t line, column;
};

/* Finds what jansson must not see: nesting deeper than JSON_MAX_DEPTH, and NUL bytes, which its reader loses behind a
 * number. The fault in words and its place, or NULL. Says nothing else about the text: what is no JSON at all may pass. */
const char *json_scan_fault(const char *text, size_t len, struct json_place *ret_place);

/* How many bytes at the start of @s stand in a JSON string as they are: no control characters, quotes and backslashes, and
 * with @ascii nothing above 127. May stop earlier, then by less than 16. */
size_t json_plain_span(const char *s, size_t len, bool ascii);
