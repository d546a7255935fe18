/* Frames of log messages: the same records come out whatever the pieces are, and not a byte more than went in. */
#include "runtime/api/logframe.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void must(bool ok)
{
	if (!ok)
		abort();
}

struct seen {
	struct bytes framed; /* each record with its length */
	struct bytes raw;    /* joined: where it is cut depends on the pieces */
	size_t total;
};

static void note(void *arg, const char *text, size_t len, bool raw)
{
	struct seen *s = arg;
	const uint32_t n = (uint32_t)len;

	must(len <= LOG_RECORD_MAX || raw);
	must(raw || s->raw.len == 0); /* nothing is taken for a frame after what was none */
	if (!raw)
		bytes_add(&s->framed, &n, sizeof n);
	bytes_add(raw ? &s->raw : &s->framed, text, len);
	s->total += len;
}

static void read_all(const uint8_t *data, size_t size, size_t piece, struct seen *s)
{
	struct log_frames f = {0};

	for (size_t at = 0; at < size; at += piece) {
		const size_t n = size - at < piece ? size - at : piece;
		char *exact = malloc(n);

		must(exact != NULL);
		memcpy(exact, data + at, n);
		log_frames_feed(&f, exact, n, note, s);
		free(exact);
	}
	log_frames_end(&f, note, s);
	must(s->total <= size);
}

static bool same(const struct bytes *a, const struct bytes *b)
{
	return a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct seen whole = {0}, pieces = {0};

	if (size == 0)
		return 0;
	read_all(data + 1, size - 1, size, &whole);
	read_all(data + 1, size - 1, data[0] % 64 + 1U, &pieces);
	must(same(&whole.framed, &pieces.framed) && same(&whole.raw, &pieces.raw));
	bytes_free(&whole.framed);
	bytes_free(&whole.raw);
	bytes_free(&pieces.framed);
	bytes_free(&pieces.raw);
	return 0;
}
