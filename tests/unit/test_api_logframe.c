/* The Runtime API's server: frames of log messages, however they are cut. */
#include "tests/lib/tap.h"

#include "base/mem.h"
#include "runtime/api/logframe.h"

#include <stdlib.h>

/* What was handed out: "[message]" or "<raw>", where bytes that are not ASCII, and 0, stand as \\hex. */
static void note(void *arg, const char *text, size_t len, bool raw)
{
	struct bytes *b = arg;

	bytes_puts(b, raw ? "<" : "[");
	for (size_t i = 0; i < len; i++) {
		const unsigned char c = (unsigned char)text[i];

		if (c == 0 || c >= 0x80)
			bytes_printf(b, "\\%02x", c);
		else
			bytes_add(b, text + i, 1);
	}
	bytes_puts(b, raw ? ">" : "]");
}

static void put_u32(struct bytes *b, uint32_t n)
{
	const char p[4] = {(char)(n >> 24), (char)(n >> 16), (char)(n >> 8), (char)n};

	bytes_add(b, p, 4);
}

static void put_frame(struct bytes *b, uint32_t type, const char *text, size_t len)
{
	put_u32(b, type);
	put_u32(b, (uint32_t)len);
	if (type != 0xa55a0001)
		bytes_add(b, "\0\1\2\3\4\5\6\7", 8);
	bytes_add(b, text, len);
}

/* All of @in in pieces; the caller frees. */
static char *read_all(const struct bytes *in, size_t piece)
{
	struct log_frames f = {0};
	struct bytes out = {0};

	bytes_puts(&out, "");
	for (size_t at = 0; at < in->len; at += piece) {
		const size_t n = in->len - at < piece ? in->len - at : piece;
		char *exact = malloc(n);

		if (!exact)
			abort();
		memcpy(exact, in->data + at, n);
		log_frames_feed(&f, exact, n, note, &out);
		free(exact);
	}
	log_frames_end(&f, note, &out);
	CHECK(!out.failed);
	return out.data;
}

TEST(messages_come_out_whole_whatever_the_pieces_are)
{
	struct bytes in = {0};

	put_frame(&in, 0xa55a0003, "plain", 5);
	put_frame(&in, 0xa55a0003 | 0x0c, "two\nlines\n", 10); /* INFO; the last line feed is the record's end */
	put_frame(&in, 0xa55a0002 | 0x18, "{\"a\":1}", 7);
	put_frame(&in, 0xa55a0001, "old", 3);
	put_frame(&in, 0xa55a0003, "", 0);
	put_frame(&in, 0xa55a0003, "\n", 1);
	put_frame(&in, 0xa55a0003 | 0x14, "end", 3);
	for (size_t piece = 1; piece <= in.len; piece++) {
		char *out = read_all(&in, piece);

		CHECK_STREQ(out, "[plain][two\nlines][{\"a\":1}][old][][][end]");
		free(out);
	}
	bytes_free(&in);
}

TEST(what_is_no_frame_goes_through_as_it_is_and_so_does_all_behind_it)
{
	static const struct {
		const char *bytes;
		size_t len;
		const char *want; /* when it comes at once */
	} cases[] = {
		{"hello, this is text", 19, "<hell><o, this is text>"},
		{"\xa5\x5a\x00\x04"
		 "more",
		 8, "<\\a5Z\\00\x04><more>"}, /* no such type */
		{"\xa5\x5a\x01\x03"
		 "more",
		 8, "<\\a5Z\x01\x03><more>"}, /* bits that are no level's */
		{"\xa5\x5a\x00\x05"
		 "more",
		 8, "<\\a5Z\\00\x05><more>"}, /* the old type has no level */
		{"hi", 2, "<hi>"},            /* less than a type, and then the end */
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct bytes in = {0}, both = {0};
		char *out;

		bytes_add(&in, cases[i].bytes, cases[i].len);
		out = read_all(&in, in.len);
		CHECK_STREQ(out, cases[i].want);
		free(out);
		bytes_free(&in);
		put_frame(&both, 0xa55a0003, "good", 4);
		bytes_add(&both, cases[i].bytes, cases[i].len);
		if (cases[i].len >= 4)
			put_frame(&both, 0xa55a0003, "not looked for any more", 23);
		out = read_all(&both, both.len);
		CHECK_EQ(strncmp(out, "[good]<", 7), 0);
		CHECK_LACKS(out + 1, "[");
		free(out);
		bytes_free(&both);
	}
}

/* The lengths of the records of one message of @len bytes whose last is a line feed. */
static void check_long(size_t len, size_t records, size_t total)
{
	struct bytes in = {0};
	char *text = malloc(len), *out;
	size_t n = 0;

	if (!text)
		abort();
	memset(text, 'x', len);
	text[len - 1] = '\n';
	put_frame(&in, 0xa55a0003, text, len);
	put_frame(&in, 0xa55a0003, "next", 4);
	out = read_all(&in, 50000);
	for (const char *p = out; *p; p++)
		n += *p == '[';
	CHECK_EQ(n, records + 1);
	CHECK_EQ(strlen(out), total + 2 * records + strlen("[next]"));
	CHECK_STREQ(out + strlen(out) - 6, "[next]");
	free(out);
	free(text);
	bytes_free(&in);
}

TEST(a_message_longer_than_a_record_becomes_several_and_none_is_empty)
{
	check_long(LOG_RECORD_MAX, 1, LOG_RECORD_MAX - 1);
	check_long(LOG_RECORD_MAX + 1, 1, LOG_RECORD_MAX);
	check_long(LOG_RECORD_MAX + 2, 2, LOG_RECORD_MAX + 1);
	check_long(3 * LOG_RECORD_MAX, 3, 3 * LOG_RECORD_MAX - 1);
}

TEST(what_is_there_of_a_message_that_was_not_finished_is_handed_out)
{
	struct bytes in = {0};
	char *out;

	put_frame(&in, 0xa55a0003, "its program has ended", 21);
	for (size_t cut = 0; cut <= 17; cut++) {
		struct bytes part = {.data = in.data, .len = 20 + cut};

		out = read_all(&part, 7);
		CHECK_EQ(strlen(out), 2 + 4 + cut); /* 16 bytes were the head */
		CHECK_EQ(strncmp(out, "[its program has ended", 1 + 4 + cut), 0);
		free(out);
	}
	in.len = 16; /* a head and nothing of what it promises */
	out = read_all(&in, 16);
	CHECK_STREQ(out, "");
	free(out);
	bytes_free(&in);
}
