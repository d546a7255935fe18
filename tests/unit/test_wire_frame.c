/* Frames from bytes: whole, cut at every place, and what is none. */
#include "tests/lib/tap.h"

#include "base/mem.h"
#include "wire/frame.h"

#include <errno.h>

static void closing(struct frame_rx *rx)
{
	frame_rx_done(rx);
}

static void put(struct buf *b, unsigned type, uint32_t stream, const void *body, size_t len)
{
	unsigned char head[FRAME_HEAD];

	frame_put_head(head, (enum frame_type)type, stream, len);
	buf_add(b, head, sizeof head);
	if (len > 0)
		buf_add(b, body, len);
}

static void put_credit(struct buf *b, uint32_t stream, uint32_t n)
{
	unsigned char body[4];

	frame_put_u32(body, n);
	put(b, FRAME_CREDIT, stream, body, sizeof body);
}

/* What @rx makes of the bytes, as text: pieces of a DATA frame that follow each other are joined. False when it breaks. */
static bool say(struct frame_rx *rx, const char *data, size_t len, struct buf *said)
{
	struct frame f;

	for (size_t at = 0; at < len;) {
		ssize_t n = frame_take(rx, data + at, len - at, &f);

		if (n < 0)
			return false;
		CHECK_LE((size_t)n, len - at);
		if (!CHECK(n > 0)) /* it always goes on */
			return false;
		at += (size_t)n;
		if (f.type == FRAME_NONE)
			continue;
		if (f.begins)
			buf_printf(said, "[%s %u ", frame_type_name(f.type), f.stream);
		if (f.type == FRAME_CREDIT)
			buf_printf(said, "%u", frame_get_u32(f.body));
		else
			buf_add(said, f.body, f.len);
		if (f.left == 0)
			buf_puts(said, "]");
	}
	return true;
}

static void put_all(struct buf *b)
{
	put(b, FRAME_CALL, 1, "{\"function\":\"f\"}", 16);
	put(b, FRAME_DATA, 1, "hello", 5);
	put(b, FRAME_DATA, 0x01020304, "", 0);
	put(b, FRAME_END, 1, NULL, 0);
	put_credit(b, 7, 0x11223344);
	put(b, FRAME_PING, 0, "12345678", 8);
	put(b, FRAME_CANCEL, UINT32_MAX, NULL, 0);
	put(b, FRAME_DATA, 1, "x", 1);
}

#define ALL                                                                                                        \
	"[CALL 1 {\"function\":\"f\"}][DATA 1 hello][DATA 16909060 ][END 1 ][CREDIT 7 287454020][PING 0 12345678]" \
	"[CANCEL 4294967295 ][DATA 1 x]"

TEST(a_head_is_twelve_bytes_little_endian)
{
	static const unsigned char wanted[] = {5, 0, 0, 0, 4, 3, 2, 1, 3, 0, 0, 0};
	unsigned char head[FRAME_HEAD];

	frame_put_head(head, FRAME_DATA, 0x01020304, 5);
	CHECK_EQ(sizeof head, sizeof wanted);
	CHECK_MEMEQ(head, wanted, sizeof wanted);
	frame_put_head(head, FRAME_RESULT, 1, 0x00a1b2c3);
	CHECK_EQ(frame_get_u32(head), 0x00a1b2c3U);
	CHECK_EQ(frame_get_u32("\xff\xff\xff\xff"), UINT32_MAX);
}

TEST(frames_are_the_same_however_they_are_cut)
{
	AUTO(buf_done) struct buf all = {0};

	put_all(&all);
	for (size_t cut = 0; cut <= all.len; cut++) {
		AUTO(closing) struct frame_rx rx = {0};
		AUTO(buf_done) struct buf said = {0};

		CHECK(say(&rx, all.data, cut, &said));
		CHECK_EQ(frame_rx_idle(&rx),
			 cut == 0 || said.len == sizeof ALL - 1 ||
				 (said.len > 0 && said.data[said.len - 1] == ']' && rx.head_len == 0));
		CHECK(say(&rx, all.data + cut, all.len - cut, &said));
		CHECK_STREQ(said.data, ALL);
		CHECK(frame_rx_idle(&rx));
	}
}

TEST(frames_are_the_same_byte_by_byte_and_in_pieces_of_any_size)
{
	AUTO(buf_done) struct buf all = {0};

	put_all(&all);
	for (size_t piece = 1; piece <= all.len; piece++) {
		AUTO(closing) struct frame_rx rx = {0};
		AUTO(buf_done) struct buf said = {0};

		for (size_t at = 0; at < all.len; at += piece) {
			/* From a block of its own, so that a sanitizer sees a look beyond it. */
			const size_t n = all.len - at < piece ? all.len - at : piece;
			AUTO_FREE char *part = malloc(n);

			memcpy(part, all.data + at, n);
			CHECK(say(&rx, part, n, &said));
		}
		CHECK_STREQ(said.data, ALL);
	}
}

/* One frame with this head, and a body as long as it says: is it taken? */
static bool taken(bool from_daemon, unsigned type, uint32_t stream, size_t len)
{
	AUTO(closing) struct frame_rx rx = {.from_daemon = from_daemon};
	AUTO(buf_done) struct buf b = {0}, said = {0};
	AUTO_FREE char *body = calloc(1, len + 1);
	bool ok;

	memset(body, 'b', len);
	put(&b, type, stream, body, len);
	ok = say(&rx, b.data, b.len, &said);
	CHECK_EQ(ok, rx.wrong == NULL);
	if (!ok) {
		struct frame f;

		CHECK_EQ(frame_take(&rx, "x", 1, &f), -EPROTO); /* for good */
		CHECK_EQ(f.type, FRAME_NONE);
	}
	return ok;
}

TEST(each_side_sends_its_own_types_and_lengths)
{
	static const struct {
		unsigned type;
		bool client, daemon, zero, other; /* who sends it; with stream 0, with another one */
		size_t min, max;
	} wanted[] = {
		{FRAME_NONE, false, false, false, false, 0, 0},
		{FRAME_HELLO, false, true, true, false, 2, FRAME_MAX_JSON},
		{FRAME_CALL, true, false, false, true, 2, FRAME_MAX_JSON},
		{FRAME_DATA, true, true, false, true, 0, FRAME_MAX_DATA},
		{FRAME_END, true, false, false, true, 0, 0},
		{FRAME_CREDIT, true, true, false, true, 4, 4},
		{FRAME_RESULT, false, true, false, true, 2, FRAME_MAX_DATA},
		{FRAME_ERROR, false, true, true, true, 2, FRAME_MAX_DATA},
		{FRAME_LOG, false, true, false, true, FRAME_LOG_HEAD, FRAME_LOG_HEAD + FRAME_LOG_TEXT},
		{FRAME_CANCEL, true, false, false, true, 0, 0},
		{FRAME_PING, true, false, true, false, 8, 8},
		{FRAME_PONG, false, true, true, false, 8, 8},
		{FRAME_TYPES, false, false, false, false, 0, 0},
		{255, false, false, false, false, 0, 0},
	};

	for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
		for (int daemon = 0; daemon < 2; daemon++) {
			const bool sent = daemon ? wanted[i].daemon : wanted[i].client;
			const unsigned type = wanted[i].type;

			CHECK_EQ(taken(daemon, type, 0, wanted[i].min), sent && wanted[i].zero);
			CHECK_EQ(taken(daemon, type, 1, wanted[i].min), sent && wanted[i].other);
			CHECK_EQ(taken(daemon, type, wanted[i].other, wanted[i].max), sent);
			CHECK(!taken(daemon, type, wanted[i].other, wanted[i].max + 1));
			CHECK(wanted[i].min == 0 || !taken(daemon, type, wanted[i].other, wanted[i].min - 1));
		}
	}
}

TEST(a_length_is_refused_before_its_body_comes)
{
	AUTO(closing) struct frame_rx rx = {0};
	unsigned char head[FRAME_HEAD];
	struct frame f;

	frame_put_head(head, FRAME_CALL, 1, 0xffffffff);
	CHECK_EQ(frame_take(&rx, head, sizeof head, &f), -EPROTO);
	CHECK_EQ(rx.body.cap, 0);
	CHECK_CONTAINS(rx.wrong, "length");
}

TEST(bytes_that_are_0_must_be_0)
{
	for (int at = 9; at < FRAME_HEAD; at++) {
		AUTO(closing) struct frame_rx rx = {0};
		unsigned char head[FRAME_HEAD];
		struct frame f;

		frame_put_head(head, FRAME_END, 1, 0);
		head[at] = 1;
		CHECK_EQ(frame_take(&rx, head, sizeof head, &f), -EPROTO);
		CHECK_EQ(f.type, FRAME_NONE);
	}
}

TEST(credit_of_nothing_is_none)
{
	for (int cut = 0; cut < 2; cut++) {
		AUTO(closing) struct frame_rx rx = {0};
		AUTO(buf_done) struct buf b = {0}, said = {0};

		put_credit(&b, 1, 0);
		CHECK(!cut || say(&rx, b.data, 14, &said));
		CHECK(!say(&rx, b.data + (cut ? 14 : 0), b.len - (cut ? 14 : 0), &said));
		CHECK_CONTAINS(rx.wrong, "CREDIT");
		CHECK_EQ(said.len, 0);
	}
}

TEST(pieces_of_data_say_what_is_left)
{
	AUTO(closing) struct frame_rx rx = {0};
	AUTO(buf_done) struct buf b = {0};
	struct frame f;

	put(&b, FRAME_DATA, 3, "abcdef", 6);
	CHECK_EQ(frame_take(&rx, b.data, 12, &f), 12); /* the head alone tells nothing yet */
	CHECK_EQ(f.type, FRAME_NONE);
	CHECK_EQ(frame_take(&rx, b.data + 12, 2, &f), 2);
	CHECK(f.type == FRAME_DATA && f.begins && f.len == 2 && f.left == 4 && f.stream == 3);
	CHECK_EQ(frame_take(&rx, b.data + 14, 4, &f), 4);
	CHECK(f.type == FRAME_DATA && !f.begins && f.len == 4 && f.left == 0 && f.stream == 3);
	CHECK_MEMEQ(f.body, "cdef", 4);
	CHECK(frame_rx_idle(&rx));
	CHECK_EQ(frame_take(&rx, b.data, 0, &f), 0);
	CHECK_EQ(f.type, FRAME_NONE);
}
