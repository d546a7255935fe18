/* Frames: the first byte says whose they are and in what pieces they come, the rest is the stream. However it is cut,
 * the same frames come of it, up to the same place; none is longer than its type may be; nothing is taken that was not
 * given. */
#include "wire/frame.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void look(const struct frame_rx *rx, const struct frame *f, struct buf *said)
{
	must(f->type < FRAME_TYPES && strcmp(frame_type_name(f->type), "?") != 0);
	must(f->type == FRAME_DATA || (f->begins && f->left == 0));
	must((f->type == FRAME_HELLO || f->type == FRAME_PING || f->type == FRAME_PONG)
		     ? f->stream == 0
		     : f->stream != 0 || f->type == FRAME_ERROR);
	must(f->len + f->left <= FRAME_MAX_DATA);
	must(f->type != FRAME_CREDIT || frame_get_u32(f->body) > 0);
	must(rx->from_daemon ? f->type != FRAME_CALL && f->type != FRAME_CANCEL : f->type != FRAME_RESULT);
	if (f->begins)
		buf_printf(said, "%u.%u.%zu:", f->type, f->stream, f->len + f->left);
	buf_add(said, f->body, f->len);
}

/* How many bytes were taken before it broke, if it did. */
static void run(const char *data, size_t size, size_t piece, bool from_daemon, struct buf *said)
{
	struct frame_rx rx = {.from_daemon = from_daemon};
	struct frame f;
	ssize_t n = 0;

	for (size_t at = 0; at < size && n >= 0;) {
		size_t len = size - at < piece ? size - at : piece;
		char *part = malloc(len); /* exactly so long */

		must(part != NULL);
		memcpy(part, data + at, len);
		at += len;
		for (size_t done = 0; done < len && n >= 0; done += (size_t)n) {
			n = frame_take(&rx, part + done, len - done, &f);
			if (n < 0)
				break;
			must(n > 0 && (size_t)n <= len - done);
			if (f.type != FRAME_NONE)
				look(&rx, &f, said);
			else
				must((size_t)n == len - done || rx.head_len == FRAME_HEAD);
		}
		free(part);
	}
	must(n >= 0 || (n == -EPROTO && rx.wrong && f.type == FRAME_NONE));
	buf_printf(said, "%s", rx.wrong ? rx.wrong : frame_rx_idle(&rx) ? "." : "...");
	frame_rx_done(&rx);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf whole = {0}, pieces = {0};
	const char *bytes = (const char *)data + 1;

	if (size < 2)
		return 0;
	run(bytes, size - 1, size - 1, data[0] & 128, &whole);
	run(bytes, size - 1, data[0] % 32 + 1U, data[0] & 128, &pieces);
	must(whole.len == pieces.len && memcmp(whole.data, pieces.data, whole.len) == 0);
	buf_done(&whole);
	buf_done(&pieces);
	return 0;
}
