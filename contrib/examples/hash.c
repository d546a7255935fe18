/* Writes the event to /tmp, reads it back in pieces and answers its SHA-256 (FIPS 180-4): work with files, without a
 * library. */
#include <fsbox.h>

#include <stdio.h>
#include <string.h>

static const uint32_t K[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotate(uint32_t x, int n)
{
	return x >> n | x << (32 - n);
}

static void block(uint32_t h[8], const uint8_t p[64])
{
	uint32_t w[64], s[8];

	for (int i = 0; i < 16; i++)
		w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 | (uint32_t)p[4 * i + 2] << 8 |
		       p[4 * i + 3];
	for (int i = 16; i < 64; i++)
		w[i] = w[i - 16] + w[i - 7] + (rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3) +
		       (rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10);
	memcpy(s, h, sizeof s);
	for (int i = 0; i < 64; i++) {
		uint32_t t = s[7] + (rotate(s[4], 6) ^ rotate(s[4], 11) ^ rotate(s[4], 25)) +
			     ((s[4] & s[5]) ^ (~s[4] & s[6])) + K[i] + w[i];
		uint32_t u = (rotate(s[0], 2) ^ rotate(s[0], 13) ^ rotate(s[0], 22)) +
			     ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));

		memmove(s + 1, s, 7 * sizeof *s);
		s[4] += t;
		s[0] = t + u;
	}
	for (int i = 0; i < 8; i++)
		h[i] += s[i];
}

/* Hashes what can be read from @f, in blocks of 64 bytes; the last ones carry a 1 bit, zeros and the length in bits. */
static uint64_t hash_file(FILE *f, uint32_t h[8])
{
	uint8_t p[128] = {0};
	uint64_t total = 0;
	size_t n, tail;

	for (; (n = fread(p, 1, 64, f)) == 64; total += n)
		block(h, p);
	total += n;
	memset(p + n, 0, sizeof p - n);
	p[n] = 0x80;
	tail = n < 56 ? 64 : 128;
	for (int i = 0; i < 8; i++)
		p[tail - 1 - (size_t)i] = (uint8_t)(total * 8 >> 8 * i);
	block(h, p);
	if (tail == 128)
		block(h, p + 64);
	return total;
}

/* 0, or -1 when the file cannot be made or has no room: /tmp has a size. */
static int store_and_hash(const void *data, size_t len, uint32_t h[8])
{
	FILE *f = fopen("/tmp/event", "w+e");
	int r = -1;

	if (!f)
		return -1;
	if (fwrite(data, 1, len, f) == len && fseek(f, 0, SEEK_SET) == 0)
		r = hash_file(f, h) == len ? 0 : -1;
	(void)fclose(f);
	(void)remove("/tmp/event"); /* it would stay for the cell's next call, and it counts as memory */
	return r;
}

int fsbox_handler(fsbox_call *call)
{
	uint32_t h[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
			 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
	const void *event;
	char text[128];
	size_t len;
	int n;

	event = fsbox_event(call, &len);
	if (store_and_hash(event, len, h) < 0)
		return fsbox_fail(call, "Hash.NoSpace", "/tmp/event cannot be written");
	n = snprintf(text, sizeof text, "{\"bytes\":%zu,\"sha256\":\"", len);
	for (int i = 0; i < 8; i++)
		n += snprintf(text + n, sizeof text - (size_t)n, "%08x", h[i]);
	n += snprintf(text + n, sizeof text - (size_t)n, "\"}");
	return fsbox_respond(call, text, (size_t)n);
}
