/* JSON text. Properties: a refusal has a kind, a reason and a place; what is parsed is JSON by the recogniser as well;
 * what is dumped parses again and dumps the same; whatever bytes are written as a string are JSON. */
#include "json/json.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_BYTES = 1 << 16 };

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void check_refusal(const struct err *e)
{
	must(e->kind == ERR_SPEC || e->kind == ERR_LIMIT);
	must(e->msg[0] != '\0' && e->where[0] != '\0');
	for (const char *p = e->msg; *p; p++)
		must((unsigned char)*p >= 0x20);
}

static int walk(const char *key, const struct json *v, void *arg)
{
	unsigned *depth = arg;
	size_t len = 0;

	must(++*depth <= JSON_MAX_DEPTH + 1);
	must(!key || str_is_utf8(key, strlen(key)));
	must(json_type_name(json_type_of(v))[0] != '\0');
	if (json_type_of(v) == JSON_STRING)
		must(strlen(json_string_get(v, &len)) == len);
	for (size_t i = 0; json_type_of(v) == JSON_ARRAY && i < json_length(v); i++)
		(void)walk(NULL, json_at(v, i), arg);
	if (json_type_of(v) == JSON_OBJECT)
		(void)json_each(v, walk, arg);
	--*depth;
	return 0;
}

static void check_round_trip(const struct json_doc *doc)
{
	AUTO(buf_done) struct buf once = {0}, twice = {0};
	AUTO(json_doc_freep) struct json_doc *again = NULL;
	struct err e = {0};
	unsigned depth = 0;

	(void)walk(NULL, json_doc_root(doc), &depth);
	json_dump_to(&once, json_doc_root(doc));
	must(!once.failed && json_is_value(once.data, once.len));
	must(json_parse("again", once.data, once.len, SIZE_MAX, &again, &e) == 0);
	json_dump_to(&twice, json_doc_root(again));
	must(!twice.failed && once.len == twice.len && memcmp(once.data, twice.data, once.len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO(json_doc_freep) struct json_doc *doc = NULL;
	AUTO(buf_done) struct buf b = {0};
	const char *text = (const char *)data;
	struct err e = {0};
	bool value = json_is_value(text, size);

	if (json_parse("fuzz.json", text, size, MAX_BYTES, &doc, &e) < 0)
		check_refusal(&e);
	else
		must(value);
	if (doc)
		check_round_trip(doc);

	json_add_string(&b, text, size);
	must(!b.failed && json_is_value(b.data, b.len));
	return 0;
}
