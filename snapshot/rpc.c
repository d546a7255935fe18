#include "snapshot/rpc.h"

#include <string.h>

/* ---- writing ---- */

void rpc_put(struct rpc_out *o, const void *data, size_t len)
{
	if (o->len + len <= o->size && len > 0)
		memcpy(o->at + o->len, data, len);
	o->len += len;
}

void rpc_put_varint(struct rpc_out *o, uint64_t v)
{
	unsigned char bytes[10];
	size_t n = 0;

	do {
		bytes[n] = (unsigned char)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
		v >>= 7;
		n++;
	} while (v > 0);
	rpc_put(o, bytes, n);
}

void rpc_put_number(struct rpc_out *o, unsigned field, uint64_t v)
{
	rpc_put_varint(o, (uint64_t)field << 3 | WIRE_VARINT);
	rpc_put_varint(o, v);
}

void rpc_put_bytes(struct rpc_out *o, unsigned field, const void *data, size_t len)
{
	rpc_put_varint(o, (uint64_t)field << 3 | WIRE_BYTES);
	rpc_put_varint(o, len);
	rpc_put(o, data, len);
}

void rpc_put_text(struct rpc_out *o, unsigned field, const char *text)
{
	if (text)
		rpc_put_bytes(o, field, text, strlen(text));
}

void rpc_put_inherited(struct rpc_out *o, const char *key, int fd)
{
	unsigned char message[512];
	struct rpc_out m = {.at = message, .size = sizeof message};

	rpc_put_text(&m, FD_KEY, key);
	rpc_put_number(&m, FD_NUMBER, (uint64_t)fd);
	rpc_put_bytes(o, OPT_INHERIT_FD, message, rpc_length(&m));
}

size_t rpc_length(const struct rpc_out *o)
{
	return o->len <= o->size ? o->len : 0;
}

/* ---- reading ---- */

static bool take_varint(struct rpc_in *in, uint64_t *ret)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 64 && in->len > 0; shift += 7) {
		const unsigned char b = *in->at++;

		in->len--;
		v |= (uint64_t)(b & 0x7f) << shift;
		if (b < 0x80) {
			*ret = v;
			return true;
		}
	}
	return false;
}

static bool skip(struct rpc_in *in, size_t n)
{
	if (in->len < n)
		return false;
	in->at += n;
	in->len -= n;
	return true;
}

bool rpc_take_field(struct rpc_in *in, struct rpc_field *f, bool *ret_bad)
{
	uint64_t key, n;

	*f = (struct rpc_field){0};
	if (in->len == 0)
		return false;
	*ret_bad = true;
	if (!take_varint(in, &key) || key >> 3 > 0x1fffffff)
		return false;
	f->number = (unsigned)(key >> 3);
	switch (key & 7) {
	case WIRE_VARINT:
		if (!take_varint(in, &f->value))
			return false;
		break;
	case WIRE_BYTES:
		if (!take_varint(in, &n) || n > in->len)
			return false;
		f->content = (struct rpc_in){in->at, (size_t)n};
		(void)skip(in, (size_t)n);
		break;
	case WIRE_64:
		if (!skip(in, 8))
			return false;
		break;
	case WIRE_32:
		if (!skip(in, 4))
			return false;
		break;
	default:
		return false;
	}
	*ret_bad = false;
	return true;
}

void rpc_take_text(struct rpc_in in, char *to, size_t size)
{
	size_t n = in.len < size ? in.len : size - 1;

	if (n > 0)
		memcpy(to, in.at, n);
	to[n] = '\0';
	for (size_t i = 0; i < n; i++) /* it will stand in a message */
		if ((unsigned char)to[i] < 0x20 || to[i] == 0x7f)
			to[i] = ' ';
}
