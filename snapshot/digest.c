/* The low-level functions are deprecated since OpenSSL 3.0, but they pull a few kilobytes into our static program, and
 * EVP_Digest() a few megabytes: providers, configuration, error strings. They choose SHA-NI themselves. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "snapshot/internal.h"

#include <openssl/sha.h>
#include <poll.h>
#include <sys/stat.h>

enum { CHUNK = 256 << 10 };

_Static_assert(sizeof(SHA256_CTX) <= sizeof(struct snap_digest), "the context has room");
_Static_assert(_Alignof(SHA256_CTX) <= _Alignof(struct snap_digest), "and is aligned");

static SHA256_CTX *context(struct snap_digest *d)
{
	return (SHA256_CTX *)(void *)d->state;
}

void digest_begin(struct snap_digest *d)
{
	*d = (struct snap_digest){{0}};
	(void)SHA256_Init(context(d)); /* this and the two below cannot fail */
}

void digest_add(struct snap_digest *d, const void *data, size_t len)
{
	(void)SHA256_Update(context(d), data, len);
}

void digest_add_text(struct snap_digest *d, const void *data, size_t len)
{
	uint8_t n[8];

	for (int i = 0; i < 8; i++)
		n[i] = (uint8_t)((uint64_t)len >> (8 * i));
	digest_add(d, n, sizeof n);
	if (len > 0)
		digest_add(d, data, len);
}

void digest_end(struct snap_digest *d, char hex[SNAP_ID_LEN + 1])
{
	static const char digits[] = "0123456789abcdef";
	uint8_t sum[SHA256_DIGEST_LENGTH];

	(void)SHA256_Final(sum, context(d));
	for (size_t i = 0; i < sizeof sum; i++) {
		hex[2 * i] = digits[sum[i] >> 4];
		hex[2 * i + 1] = digits[sum[i] & 15];
	}
	hex[SNAP_ID_LEN] = '\0';
}

int reading_goes_on(const struct snap_reading *rd, struct err *e)
{
	struct pollfd p = {.fd = rd ? rd->signal_fd : FD_NONE, .events = POLLIN};

	return fd_valid(p.fd) && poll(&p, 1, 0) > 0 ? err_set(e, ERR_CANCELLED, ECANCELED, "interrupted") : 0;
}

static int too_much(const char *name, struct err *e)
{
	int r = err_set(e, ERR_LIMIT, EFBIG, "reading '%s': the function's files have more bytes than a snapshot may",
			name);

	return err_hint(e, r, "without a snapshot, or with fewer and smaller files");
}

/* Of what was read these bytes more; a hole is read like any other. */
static int count_bytes(struct snap_reading *rd, const char *name, size_t n, struct err *e)
{
	if (!rd)
		return 0;
	if (n > rd->bytes)
		return too_much(name, e);
	rd->bytes -= n;
	return reading_goes_on(rd, e);
}

int digest_fd(int fd, const char *name, struct snap_reading *rd, char hex[SNAP_ID_LEN + 1], uint64_t *ret_size,
	      struct err *e)
{
	static uint8_t chunk[CHUNK]; /* of a process without threads; touched when needed */
	struct snap_digest d;
	uint64_t at = 0;
	struct stat st;

	if (rd && fstat(fd, &st) == 0 && st.st_size > 0 && (uint64_t)st.st_size > rd->bytes)
		return too_much(name, e);
	digest_begin(&d);
	for (;;) {
		ssize_t n = pread(fd, chunk, sizeof chunk, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, errno, "reading '%s'", name);
		if (n == 0)
			break;

		int r = count_bytes(rd, name, (size_t)n, e);
		if (r < 0)
			return r;
		digest_add(&d, chunk, (size_t)n);
		at += (uint64_t)n;
	}
	digest_end(&d, hex);
	*ret_size = at;
	return 0;
}
