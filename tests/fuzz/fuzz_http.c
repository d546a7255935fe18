/* Requests to the Runtime API's server: the first byte chooses how the rest is taken and cut into pieces. */
#include "runtime/api/api.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void fuzz_head(const char *data, size_t len)
{
	const size_t n = http_head_length(data, len);
	struct http_request r;
	char *exact;
	int status;

	if (n == 0 || n == SIZE_MAX)
		return;
	must(n <= len && data[n - 1] == '\n');
	exact = malloc(n);
	must(exact != NULL);
	memcpy(exact, data, n);
	status = http_parse_head(exact, n, &r);
	must(status == 0 || (status >= 400 && status < 600));
	if (status == 0) {
		must(r.path[0] == '/' && r.n_fields <= HTTP_MAX_FIELDS && !(r.chunked && r.length));
		for (size_t i = 0; i < r.n_fields; i++)
			must(http_field(&r, r.fields[i].name) != NULL && !strpbrk(r.fields[i].value, "\n"));
	}
	free(exact);
}

/* Whatever the pieces are, the body is the same. */
static int take(const char *data, size_t len, size_t piece, bool chunked, struct bytes *b, size_t *ret_used)
{
	const struct http_request r = {.chunked = chunked, .length = chunked ? 0 : 7};
	struct http_body body;
	size_t at = 0, used = 1, n;
	char value[64];
	const char *part;
	int result = 0;

	http_body_begin(&body, &r);
	while (result == 0 && at < len) {
		const size_t have = len - at < piece ? len - at : piece;
		char *exact = malloc(have);

		must(exact != NULL);
		memcpy(exact, data + at, have);
		result = http_body_feed(&body, exact, have, &used, &part, &n);
		must(used <= have && n <= used && (result != 0 || used > 0));
		bytes_add(b, part, n);
		at += used;
		free(exact);
	}
	if (result == 1)
		(void)http_trailer(&body, "A", value, sizeof value);
	http_body_end(&body);
	*ret_used = at;
	return result;
}

static void fuzz_body(const char *data, size_t len, size_t piece, bool chunked)
{
	struct bytes a = {0}, b = {0};
	size_t used_a, used_b;
	const int x = take(data, len, len ? len : 1, chunked, &a, &used_a),
		  y = take(data, len, piece, chunked, &b, &used_b);

	must(x == y &&
	     (x < 0 || (used_a == used_b && a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0))));
	bytes_free(&a);
	bytes_free(&b);
}

static void fuzz_json(const char *data, size_t len)
{
	struct json_view v, w;
	struct bytes b = {0};
	char text[64];
	int64_t n;

	json_quote(&b, data, len);
	must(!b.failed && json_whole(b.data, b.len, &v) && v.len == b.len); /* what we write we can read */
	bytes_free(&b);
	if (!json_whole(data, len, &v))
		return;
	must(v.at >= data && v.at + v.len <= data + len);
	(void)json_text(v, text, sizeof text);
	(void)json_integer(v, &n);
	if (json_get(v, "a", &w) || json_element(v, 1, &w)) {
		must(w.at > v.at && w.at + w.len < v.at + v.len);
		(void)json_text(w, text, sizeof text);
		(void)json_integer(w, &n);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *exact;

	if (size == 0)
		return 0;
	exact = malloc(size); /* a 0 behind it, as in the server's buffers */
	must(exact != NULL);
	memcpy(exact, data + 1, size - 1);
	exact[size - 1] = '\0';
	switch (data[0] & 3) {
	case 0:
		fuzz_head(exact, size - 1);
		break;
	case 1:
		fuzz_body(exact, size - 1, (data[0] >> 3) + 1U, true);
		break;
	case 2:
		fuzz_body(exact, size - 1, (data[0] >> 3) + 1U, false);
		break;
	default:
		fuzz_json(exact, size - 1);
	}
	free(exact);
	return 0;
}
