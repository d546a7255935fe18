#include "daemon/once.h"

#include <endian.h>
#include <string.h>

struct state {
	uint64_t v[4];
};

static uint64_t rotate(uint64_t x, unsigned by)
{
	return x << by | x >> (64 - by);
}

static uint64_t word(const unsigned char *p)
{
	uint64_t w;

	memcpy(&w, p, sizeof w);
	return le64toh(w);
}

/* The paper's SipRound. */
static void rounds(struct state *s, unsigned n)
{
	uint64_t *v = s->v;

	while (n-- > 0) {
		v[0] += v[1];
		v[2] += v[3];
		v[1] = rotate(v[1], 13) ^ v[0];
		v[3] = rotate(v[3], 16) ^ v[2];
		v[0] = rotate(v[0], 32);
		v[2] += v[1];
		v[0] += v[3];
		v[1] = rotate(v[1], 17) ^ v[2];
		v[3] = rotate(v[3], 21) ^ v[0];
		v[2] = rotate(v[2], 32);
	}
}

static void take(struct state *s, uint64_t m)
{
	s->v[3] ^= m;
	rounds(s, 2);
	s->v[0] ^= m;
}

static uint64_t result(struct state *s)
{
	rounds(s, 4);
	return htole64(s->v[0] ^ s->v[1] ^ s->v[2] ^ s->v[3]);
}

void once_siphash(const unsigned char key[static 16], const void *data, size_t len, unsigned char out[static 16])
{
	const uint64_t k0 = word(key), k1 = word(key + 8);
	const unsigned char *p = data;
	unsigned char last[8] = {[7] = (unsigned char)len};
	uint64_t half;
	/* The initial constants spell "somepseudorandomlygeneratedbytes"; 0xee marks the long variant. */
	struct state s = {.v = {k0 ^ UINT64_C(0x736f6d6570736575), k1 ^ UINT64_C(0x646f72616e646f6d) ^ 0xee,
				k0 ^ UINT64_C(0x6c7967656e657261), k1 ^ UINT64_C(0x7465646279746573)}};
	size_t left = len;

	for (; left >= 8; left -= 8, p += 8)
		take(&s, word(p));
	if (left > 0)
		memcpy(last, p, left);
	take(&s, word(last));
	s.v[2] ^= 0xee;
	half = result(&s);
	memcpy(out, &half, sizeof half);
	s.v[1] ^= 0xdd;
	half = result(&s);
	memcpy(out + 8, &half, sizeof half);
}
