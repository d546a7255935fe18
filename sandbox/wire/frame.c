#include "wire/frame.h"

#include <errno.h>
#include <string.h>

enum { FROM_CLIENT = 1, FROM_DAEMON = 2, OF_STREAM = 4, OF_CONNECTION = 8 };

/* Who sends it, where, and how long its body is. */
static const struct rule {
	const char *name;
	unsigned flags;
	size_t min, max;
} rules[FRAME_TYPES] = {
	[FRAME_HELLO] = {"HELLO", FROM_DAEMON | OF_CONNECTION, 2, FRAME_MAX_JSON},
	[FRAME_CALL] = {"CALL", FROM_CLIENT | OF_STREAM, 2, FRAME_MAX_JSON},
	[FRAME_DATA] = {"DATA", FROM_CLIENT | FROM_DAEMON | OF_STREAM, 0, FRAME_MAX_DATA},
	[FRAME_END] = {"END", FROM_CLIENT | OF_STREAM, 0, 0},
	[FRAME_CREDIT] = {"CREDIT", FROM_CLIENT | FROM_DAEMON | OF_STREAM, 4, 4},
	[FRAME_RESULT] = {"RESULT", FROM_DAEMON | OF_STREAM, 2, FRAME_MAX_DATA},
	[FRAME_ERROR] = {"ERROR", FROM_DAEMON | OF_STREAM | OF_CONNECTION, 2, FRAME_MAX_DATA},
	[FRAME_LOG] = {"LOG", FROM_DAEMON | OF_STREAM, FRAME_LOG_HEAD, FRAME_LOG_HEAD + FRAME_LOG_TEXT},
	[FRAME_CANCEL] = {"CANCEL", FROM_CLIENT | OF_STREAM, 0, 0},
	[FRAME_PING] = {"PING", FROM_CLIENT | OF_CONNECTION, 8, 8},
	[FRAME_PONG] = {"PONG", FROM_DAEMON | OF_CONNECTION, 8, 8},
};

const char *frame_type_name(unsigned type)
{
	return type < FRAME_TYPES && rules[type].name ? rules[type].name : "?";
}

void frame_put_u32(unsigned char to[static 4], uint32_t v)
{
	for (int i = 0; i < 4; i++)
		to[i] = (unsigned char)(v >> 8 * i);
}

uint32_t frame_get_u32(const void *from)
{
	const unsigned char *p = from;

	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

void frame_put_head(unsigned char to[static FRAME_HEAD], enum frame_type type, uint32_t stream, size_t len)
{
	frame_put_u32(to, (uint32_t)len);
	frame_put_u32(to + 4, stream);
	to[8] = (unsigned char)type;
	to[9] = to[10] = to[11] = 0;
}

static int breaks(struct frame_rx *rx, const char *why)
{
	rx->wrong = why;
	return -EPROTO;
}

/* Everything that the head alone can say is said before there is room for the body. */
static int judge(struct frame_rx *rx)
{
	const unsigned char *h = rx->head;
	const uint32_t len = frame_get_u32(h), stream = frame_get_u32(h + 4);
	const struct rule *r = h[8] < FRAME_TYPES ? &rules[h[8]] : &rules[FRAME_NONE];

	if (!r->name || !(r->flags & (rx->from_daemon ? FROM_DAEMON : FROM_CLIENT)))
		return breaks(rx, "a type of frame that this side does not send");
	if (h[9] != 0 || h[10] != 0 || h[11] != 0)
		return breaks(rx, "the bytes 9 to 11 of a frame's head are 0");
	if (!(r->flags & (stream ? OF_STREAM : OF_CONNECTION)))
		return breaks(rx, "this type of frame and this number of a stream do not go together");
	if (len < r->min || len > r->max)
		return breaks(rx, "the body has a length that this type of frame does not have");
	rx->now = (struct frame){.type = (enum frame_type)h[8], .stream = stream, .begins = true};
	rx->want = len;
	return 0;
}

static void end_frame(struct frame_rx *rx)
{
	rx->head_len = 0;
	rx->now = (struct frame){0};
}

static size_t take_data(struct frame_rx *rx, const char *data, size_t len, struct frame *ret)
{
	const size_t n = len < rx->want ? len : rx->want;

	rx->want -= n;
	*ret = rx->now;
	ret->body = data;
	ret->len = n;
	ret->left = rx->want;
	rx->now.begins = false;
	if (rx->want == 0)
		end_frame(rx);
	return n;
}

/* Whole, from where it was read when it lies there whole. */
static ssize_t take_whole(struct frame_rx *rx, const char *data, size_t len, struct frame *ret)
{
	const size_t left = rx->want - rx->body.len, n = len < left ? len : left;

	if (n < rx->want) {
		buf_add(&rx->body, data, n);
		if (rx->body.failed) {
			rx->wrong = "out of memory";
			return -ENOMEM;
		}
	}
	if (n < left)
		return (ssize_t)n;
	*ret = rx->now;
	ret->body = n < rx->want ? rx->body.data : data;
	ret->len = rx->want;
	if (ret->type == FRAME_CREDIT && frame_get_u32(ret->body) == 0) {
		*ret = (struct frame){0};
		return breaks(rx, "CREDIT of no bytes");
	}
	end_frame(rx);
	return (ssize_t)n;
}

ssize_t frame_take(struct frame_rx *rx, const void *data, size_t len, struct frame *ret)
{
	const char *from = data;
	size_t taken = 0;
	ssize_t n;

	*ret = (struct frame){0};
	if (rx->wrong)
		return -EPROTO;
	if (rx->head_len < FRAME_HEAD) {
		taken = FRAME_HEAD - rx->head_len < len ? FRAME_HEAD - rx->head_len : len;
		memcpy(rx->head + rx->head_len, from, taken);
		rx->head_len += taken;
		if (rx->head_len < FRAME_HEAD)
			return (ssize_t)taken;
		rx->body.len = 0; /* of the frame before: its reader has had it */
		if (judge(rx) < 0)
			return -EPROTO;
	}
	if (rx->now.type == FRAME_DATA) {
		if (taken < len || rx->want == 0)
			taken += take_data(rx, from + taken, len - taken, ret);
		return (ssize_t)taken;
	}
	n = take_whole(rx, from + taken, len - taken, ret);
	return n < 0 ? n : (ssize_t)taken + n;
}

bool frame_rx_idle(const struct frame_rx *rx)
{
	return rx->head_len == 0;
}

void frame_rx_done(struct frame_rx *rx)
{
	buf_done(&rx->body);
	*rx = (struct frame_rx){.from_daemon = rx->from_daemon};
}
