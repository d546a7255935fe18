/* The frames of the channel, read by both sides from a peer that is not trusted. Input: any bytes, taken as a stream.
 *
 * Properties: nothing is read beyond what was given (the copies have their exact size, so the sanitizer sees it);
 * what is accepted keeps its promises; a CALL that is read from a prefix is the same CALL as from the whole. */
#include "runtime/channel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

static uint8_t *exact_copy(const uint8_t *data, size_t len)
{
	uint8_t *p = malloc(len ? len : 1);

	must(p != NULL);
	if (len)
		memcpy(p, data, len);
	return p;
}

static void check_call(const uint8_t *body, size_t have, size_t body_len)
{
	struct chan_call_view v, w;
	uint8_t *whole = exact_copy(body, have);
	ptrdiff_t at = chan_call_parse(whole, have, body_len, &v);

	must(at >= 0 || at == -EPROTO || at == -EMSGSIZE);
	if (at > 0) {
		must((size_t)at == v.event_at && v.event_at + v.fixed.event_len == body_len && v.event_at <= have);
		must(v.fixed.id_len <= CHAN_MAX_ID && v.fixed.trace_len <= CHAN_MAX_TRACE);
		must(v.fixed.event_len <= CHAN_MAX_PAYLOAD &&
		     !memchr(v.id, 0, (size_t)v.fixed.id_len + v.fixed.trace_len));
		must(v.trace == v.id + v.fixed.id_len);
	}
	/* A prefix answers "more" or the same; it may see an error only where the whole has one. */
	for (size_t n = 0; n < have; n = n < 32 ? n + 1 : n * 2) {
		uint8_t *part = exact_copy(body, n);
		ptrdiff_t r = chan_call_parse(part, n, body_len, &w);

		must(r == 0 || r == at);
		free(part);
	}
	free(whole);
}

static void check_error(const uint8_t *body, size_t len)
{
	struct chan_error_view v;
	uint8_t *copy = exact_copy(body, len);
	int r = chan_error_parse(copy, len, &v);

	must(r == 0 || r == -EPROTO || r == -EMSGSIZE);
	if (r == 0) {
		must(v.type == (char *)copy + sizeof(struct chan_error) && v.message == v.type + v.type_len);
		must(v.document == v.message + v.message_len && v.document + v.document_len == (char *)copy + len);
		must(v.type_len <= CHAN_MAX_TYPE && v.message_len <= CHAN_MAX_MESSAGE);
		must(v.document_len <= CHAN_MAX_DOCUMENT);
	}
	free(copy);
}

static void check_restore(const uint8_t *body, size_t len)
{
	struct chan_restore_view v;
	uint8_t *copy = exact_copy(body, len);
	int r = chan_restore_parse(copy, len, &v);
	size_t at = 0, sum = 0;
	const char *s;

	must(r == 0 || r == -EPROTO || r == -EMSGSIZE);
	if (r == 0) {
		must(v.fixed.env_len <= CHAN_MAX_ENV && v.env + v.fixed.env_len == (char *)copy + len);
		must(v.fixed.elapsed_ns >= 0 && strlen(v.fixed.clone_id) == CHAN_CLONE_ID_LEN);
		while ((s = chan_restore_env(&v, &at))) {
			must(s == v.env + sum && strchr(s, '=') > s);
			sum += strlen(s) + 1;
			must(at == sum && sum <= v.fixed.env_len);
		}
		must(sum == v.fixed.env_len);
	}
	free(copy);
}

static void check_drawn(const uint8_t *body, size_t len)
{
	struct chan_drawn_view v;
	uint8_t *copy = exact_copy(body, len);
	size_t at = 0, before = 0;
	int r;

	while ((r = chan_drawn_next(copy, len, &at, &v)) > 0) {
		must(v.name_len > 0 && v.name_len <= CHAN_MAX_DRAWN_NAME);
		must(v.value_len > 0 && v.value_len <= CHAN_MAX_DRAWN_VALUE);
		must(at == before + 2 + v.name_len + v.value_len && at <= len);
		for (size_t i = 0; i < v.name_len; i++)
			must(v.name[i] > ' ' && v.name[i] <= '~');
		before = at;
	}
	must(r == 0 || r == -EPROTO || r == -EMSGSIZE);
	must(at == before && (r != 0 || at == len));
	free(copy);
}

/* Reads frames as @reader would; stops at the first that it must refuse. */
static void read_stream(const uint8_t *data, size_t size, enum chan_side reader)
{
	while (size >= sizeof(struct chan_head)) {
		struct chan_head h;
		uint8_t *copy = exact_copy(data, sizeof h);
		int r = chan_head_parse(copy, reader, &h);
		size_t have;

		free(copy);
		must(r == 0 || r == -EPROTO || r == -EMSGSIZE);
		if (r < 0)
			return;
		must(h.len <= CHAN_MAX_BODY && h.zero == 0);
		must((reader == CHAN_CELL) == (h.type < CHAN_READY));
		data += sizeof h;
		size -= sizeof h;
		have = h.len < size ? h.len : size;
		if (h.type == CHAN_CALL)
			check_call(data, have, h.len);
		if ((h.type == CHAN_ERROR || h.type == CHAN_INIT_ERROR) && have == h.len)
			check_error(data, have);
		if (h.type == CHAN_RESTORE && have == h.len)
			check_restore(data, have);
		if (h.type == CHAN_DRAWN && have == h.len)
			check_drawn(data, have);
		data += have;
		size -= have;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct chan_exit x;
	struct chan_fault f;

	read_stream(data, size, CHAN_HOST);
	read_stream(data, size, CHAN_CELL);
	check_call(data, size, size);
	check_error(data, size);
	check_restore(data, size);
	check_drawn(data, size);
	if (size >= CHAN_EXIT_BYTES) {
		uint8_t *tail = exact_copy(data + size - CHAN_EXIT_BYTES, CHAN_EXIT_BYTES);

		if (chan_exit_parse(tail, &x))
			must(x.magic == CHAN_EXIT_MAGIC);
		(void)chan_fault_parse(tail, &f);
		free(tail);
	}
	return 0;
}
