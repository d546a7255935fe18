#include "runtime/api/logframe.h"

#include <string.h>

enum { HEAD = 16, HEAD_OLD = 8 };

static uint32_t big_endian(const unsigned char *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* How long the head is that begins with this type; 0 when it is none. */
static size_t head_length(uint32_t type)
{
	if (type == 0xa55a0001)
		return HEAD_OLD;
	type &= ~UINT32_C(0xfc); /* the level */
	return type == 0xa55a0002 || type == 0xa55a0003 ? HEAD : 0;
}

static void hand_out(struct log_frames *f, log_record_fn *record, void *arg)
{
	size_t len = f->message.len;

	if (len > 0 && f->message.data[len - 1] == '\n' && f->left == 0)
		len--;
	if (len > 0 || !f->cut) /* a record is not empty because the one before it was full */
		record(arg, f->message.data ? f->message.data : "", len, false);
	bytes_free(&f->message); /* after a failed allocation, too, it starts anew */
}

/* Takes bytes of a head; their number. */
static size_t take_head(struct log_frames *f, const char *data, size_t len)
{
	const size_t whole = f->have < 4 ? 4 : head_length(big_endian(f->head));
	const size_t n = len < whole - f->have ? len : whole - f->have;

	memcpy(f->head + f->have, data, n);
	f->have += n;
	if (f->have >= 4 && head_length(big_endian(f->head)) == 0)
		f->raw = true;
	return n;
}

static bool has_head(const struct log_frames *f)
{
	return f->have >= HEAD_OLD && f->have == head_length(big_endian(f->head));
}

static size_t take_message(struct log_frames *f, const char *data, size_t len, log_record_fn *record, void *arg)
{
	size_t n = len < f->left ? len : f->left;

	if (n > LOG_RECORD_MAX - f->message.len)
		n = LOG_RECORD_MAX - f->message.len;
	bytes_add(&f->message, data, n);
	f->left -= (uint32_t)n;
	if (f->left == 0) {
		hand_out(f, record, arg);
		f->have = 0;
		f->cut = false;
	} else if (f->message.len == LOG_RECORD_MAX || f->message.failed) {
		hand_out(f, record, arg);
		f->cut = true;
	}
	return n;
}

void log_frames_feed(struct log_frames *f, const char *data, size_t len, log_record_fn *record, void *arg)
{
	while (!f->raw && (len > 0 || (has_head(f) && f->left == 0 && f->have > 0))) {
		size_t n;

		if (!has_head(f)) {
			n = take_head(f, data, len);
			if (has_head(f))
				f->left = big_endian(f->head + 4);
		} else {
			n = take_message(f, data, len, record, arg);
		}
		data += n;
		len -= n;
	}
	if (f->raw && f->have > 0) {
		record(arg, (const char *)f->head, f->have, true);
		f->have = 0;
	}
	if (f->raw && len > 0)
		record(arg, data, len, true);
}

void log_frames_end(struct log_frames *f, log_record_fn *record, void *arg)
{
	if (has_head(f) && f->message.len > 0)
		hand_out(f, record, arg);
	else if (f->have > 0 && !has_head(f))
		record(arg, (const char *)f->head, f->have, true);
	bytes_free(&f->message);
	*f = (struct log_frames){.raw = f->raw};
}
