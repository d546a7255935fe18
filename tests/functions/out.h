/* What the test functions share: numbers out of an event, and an answer that grows. Included by functions only;
 * nothing of fsbox is linked into them. */
#pragma once

#include <fsbox.h>

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define OUT_UNUSED __attribute__((unused))

/* The first decimal number in the event ("200", {"ms":200}), or @otherwise. */
OUT_UNUSED static unsigned long event_number(const fsbox_call *call, unsigned long otherwise)
{
	const char *p = fsbox_event(call, NULL);
	unsigned long n = 0;

	p += strcspn(p, "0123456789");
	if (!*p)
		return otherwise;
	for (; *p >= '0' && *p <= '9'; p++)
		n = n * 10 + (unsigned long)(*p - '0');
	return n;
}

/* True when the event contains @word. */
OUT_UNUSED static bool event_has(const fsbox_call *call, const char *word)
{
	return strstr(fsbox_event(call, NULL), word) != NULL;
}

OUT_UNUSED static uint64_t time_ns(clockid_t id)
{
	struct timespec ts;

	(void)clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* False outside of a cell, whose PID 1 has this name. Functions that would harm a host which has no limits ask first.
 */
OUT_UNUSED static bool in_cell(void)
{
	char name[32] = "";
	FILE *f = fopen("/proc/1/comm", "re");

	if (f) {
		(void)!fgets(name, sizeof name, f);
		(void)fclose(f);
	}
	return strcmp(name, "fsbox-init\n") == 0;
}

/* Fails the call. */
OUT_UNUSED static int not_in_cell(fsbox_call *call)
{
	return fsbox_fail(call, "Test.NotInCell", "this function is for cells only: it would harm the host");
}

struct out {
	char *data;
	size_t len, cap;
};

OUT_UNUSED static void out_bytes(struct out *o, const void *data, size_t len)
{
	if (o->cap - o->len < len + 1) {
		o->cap = (o->cap + len) * 2 + 256;
		o->data = realloc(o->data, o->cap);
		if (!o->data)
			abort();
	}
	memcpy(o->data + o->len, data, len);
	o->len += len;
	o->data[o->len] = '\0';
}

__attribute__((format(printf, 2, 3))) OUT_UNUSED static void out_text(struct out *o, const char *fmt, ...)
{
	char text[8192];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (n > 0)
		out_bytes(o, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

/* A JSON string of @len bytes. */
OUT_UNUSED static void out_string(struct out *o, const char *s, size_t len)
{
	out_bytes(o, "\"", 1);
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c == '"' || c == '\\' || c < ' ' || c > '~')
			out_text(o, "\\u%04x", c);
		else
			out_bytes(o, &s[i], 1);
	}
	out_bytes(o, "\"", 1);
}

/* "key":"value" with a comma before it where one is needed. */
OUT_UNUSED static void out_key(struct out *o, const char *key)
{
	if (o->len && o->data[o->len - 1] != '{' && o->data[o->len - 1] != '[')
		out_bytes(o, ",", 1);
	if (key) {
		out_string(o, key, strlen(key));
		out_bytes(o, ":", 1);
	}
}

OUT_UNUSED static void out_pair(struct out *o, const char *key, const char *value)
{
	out_key(o, key);
	out_string(o, value, strlen(value));
}

OUT_UNUSED static void out_number(struct out *o, const char *key, long long value)
{
	out_key(o, key);
	out_text(o, "%lld", value);
}

/* Answers with what was collected and frees it. */
OUT_UNUSED static int out_answer(fsbox_call *call, struct out *o)
{
	int r = fsbox_respond(call, o->data, o->len);

	free(o->data);
	*o = (struct out){0};
	return r < 0 ? 1 : 0;
}
