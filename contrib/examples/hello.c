/* Greets: {"name":"ada"} is answered with {"message":"Hello, ada!"}.
 *
 * Without a JSON library: the name goes into the answer as it stood in the event, escapes included, so that nothing
 * has to be decoded. For more than that, see json-transform.c. */
#define _GNU_SOURCE /* asprintf */
#include <fsbox.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Skips the string that begins after the quote at @p. Its closing quote, or NULL when it has none or is not JSON. */
static const char *string_end(const char *p)
{
	for (; *p != '"'; p++) {
		if ((unsigned char)*p < ' ') /* the 0 byte after the event is one of these */
			return NULL;
		if (*p == '\\' && *++p == '\0')
			return NULL;
	}
	return p;
}

/* Finds the string value of @key in the object @json, not in what is nested in it. NULL when there is none. */
static const char *find_string(const char *json, const char *key, size_t *ret_len)
{
	bool is_value = false, wanted = false;
	int depth = 0;

	for (const char *p = json; *p; p++) {
		if (*p == '{' || *p == '[') {
			depth++;
		} else if (*p == '}' || *p == ']') {
			depth--;
		} else if (depth == 1 && (*p == ':' || *p == ',')) {
			is_value = *p == ':';
		} else if (*p == '"') {
			const char *text = p + 1;

			p = string_end(text);
			if (!p)
				return NULL;
			*ret_len = (size_t)(p - text);
			if (depth == 1 && is_value && wanted)
				return text;
			if (depth == 1 && !is_value)
				wanted = *ret_len == strlen(key) && memcmp(text, key, *ret_len) == 0;
		}
	}
	return NULL;
}

int fsbox_handler(fsbox_call *call)
{
	size_t len = 0;
	const char *name = find_string(fsbox_event(call, NULL), "name", &len);
	char *answer = NULL;
	int n, r;

	if (!name) {
		name = "world";
		len = strlen(name);
	}
	if (len > 10000)
		return fsbox_fail(call, "Hello.NameTooLong", "a name has at most 10,000 bytes");
	printf("greeting %.*s\n", (int)len, name); /* goes to the function's log */
	n = asprintf(&answer, "{\"message\":\"Hello, %.*s!\"}", (int)len, name);
	if (n < 0)
		return fsbox_fail(call, "Hello.NoMemory", "no memory for the answer");
	r = fsbox_respond(call, answer, (size_t)n);
	free(answer);
	return r;
}
