/* One value from every source of randomness that this process has, for the comparison of two clones: a source that gives
 * both the same would give it to all. Nothing is linked or included for it: what the function has loaded is found by
 * name. */
#include "runtime/assist/assist.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

struct drawing {
	uint8_t *dst;
	size_t len;
	struct loaded_seen bytes, priv_bytes, arc4random, uuid, uuid_random, ssl;
};

static void add(struct drawing *d, const char *name, size_t number, const void *value, size_t len)
{
	struct chan_drawn head = {.value_len = (uint8_t)len};
	char text[CHAN_MAX_DRAWN_NAME + 1];
	int n = number > 1 ? snprintf(text, sizeof text, "%s#%zu", name, number)
			   : snprintf(text, sizeof text, "%s", name);

	head.name_len = (uint8_t)n;
	if (n <= 0 || (size_t)n >= sizeof text || len == 0 || sizeof head + (size_t)n + len > CHAN_MAX_DRAWN - d->len)
		return;
	memcpy(d->dst + d->len, &head, sizeof head);
	memcpy(d->dst + d->len + sizeof head, text, (size_t)n);
	memcpy(d->dst + d->len + sizeof head + (size_t)n, value, len);
	d->len += sizeof head + (size_t)n + len;
}

/* ---- libc ---- */

static void draw_seeded(struct drawing *d)
{
	int from_rand[8];
	long from_random[4];
	double from_drand48[4];

	for (size_t i = 0; i < 8; i++)
		from_rand[i] = rand(); /* NOLINT(cert-msc30-c,cert-msc50-cpp) */
	for (size_t i = 0; i < 4; i++)
		from_random[i] = random();
	for (size_t i = 0; i < 4; i++)
		from_drand48[i] = drand48();
	add(d, "rand", 1, from_rand, sizeof from_rand);
	add(d, "random", 1, from_random, sizeof from_random);
	add(d, "drand48", 1, from_drand48, sizeof from_drand48);
}

static void draw_names(struct drawing *d)
{
	char path[] = "/tmp/fsbox-XXXXXX", *(*make_name)(const char *, const char *), *name;
	int fd = mkostemp(path, O_CLOEXEC);
	void *p = dlsym(RTLD_DEFAULT, "tempnam"); /* by name: the linker warns of a use, and we make no file of it */

	if (fd >= 0) {
		(void)unlink(path);
		(void)close(fd);
		add(d, "mkstemp", 1, path + sizeof path - 7, 6);
	}
	if (!p)
		return;
	memcpy(&make_name, &p, sizeof make_name);
	name = make_name("/tmp", "fs");
	if (name && strlen(name) > 6)
		add(d, "tempnam", 1, name + strlen(name) - 6, 6);
	free(name);
}

/* ---- Libraries ---- */

static void draw_bytes(struct drawing *d, void *handle, const char *name, struct loaded_seen *seen)
{
	unsigned char value[32];
	int (*draw)(unsigned char *, int);
	void *p = loaded_symbol(handle, name, seen);

	if (!p)
		return;
	memcpy(&draw, &p, sizeof draw);
	if (draw(value, sizeof value) == 1)
		add(d, name, seen->n, value, sizeof value);
}

static void draw_arc4random(struct drawing *d, void *handle)
{
	unsigned char value[32];
	void (*draw)(void *, size_t);
	void *p = loaded_symbol(handle, "arc4random_buf", &d->arc4random);

	if (!p)
		return;
	memcpy(&draw, &p, sizeof draw);
	draw(value, sizeof value);
	add(d, "arc4random", d->arc4random.n, value, sizeof value);
}

static void draw_uuid(struct drawing *d, void *handle, const char *name, struct loaded_seen *seen)
{
	unsigned char value[16];
	void (*draw)(unsigned char *);
	void *p = loaded_symbol(handle, name, seen);

	if (!p)
		return;
	memcpy(&draw, &p, sizeof draw);
	draw(value);
	add(d, name, seen->n, value, sizeof value);
}

/* OpenSSL's, as far as a ClientHello needs it; no header, because the function chose the version (1.1 or later). */
struct tls {
	void *(*method)(void);
	void *(*ctx_new)(void *method);
	void (*ctx_free)(void *ctx);
	void *(*ssl_new)(void *ctx);
	void (*ssl_free)(void *ssl);
	void (*set_bio)(void *ssl, void *rbio, void *wbio);
	int (*connect)(void *ssl);
	void *(*mem)(void);
	void *(*bio_new)(void *type);
	int (*bio_read)(void *bio, void *data, int len);
};

static bool find_tls(void *handle, struct tls *t)
{
	static const char *const names[] = {"TLS_client_method", "SSL_CTX_new", "SSL_CTX_free", "SSL_new", "SSL_free",
					    "SSL_set_bio",       "SSL_connect", "BIO_s_mem",    "BIO_new", "BIO_read"};
	void *found[sizeof names / sizeof names[0]];

	_Static_assert(sizeof found == sizeof *t, "a name for each");
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		found[i] = loaded_symbol(handle, names[i], NULL);
		if (!found[i])
			return false;
	}
	memcpy(t, found, sizeof *t);
	return true;
}

/* The random field of a ClientHello, as it would go over the wire: behind the record's head, the message's head and the
 * version (RFC 8446, sections 4.1.2 and 5.1). */
static bool client_random(const struct tls *t, void *ctx, unsigned char *ret)
{
	enum { AT = 5 + 4 + 2, LEN = 32 };
	void *ssl = t->ssl_new(ctx), *in = t->bio_new(t->mem()), *out = t->bio_new(t->mem());
	unsigned char hello[AT + LEN];
	bool ok;

	if (!ssl || !in || !out)
		return false;     /* leaks a few bytes of a process that is about to be thrown away */
	t->set_bio(ssl, in, out); /* both are the connection's now */
	(void)t->connect(ssl);
	ok = t->bio_read(out, hello, sizeof hello) == sizeof hello && hello[0] == 22 && hello[5] == 1;
	if (ok)
		memcpy(ret, hello + AT, LEN);
	t->ssl_free(ssl);
	return ok;
}

static void draw_tls(struct drawing *d, void *handle)
{
	unsigned char value[32];
	struct tls t;
	void *ctx;

	if (!loaded_symbol(handle, "SSL_connect", &d->ssl) || !find_tls(handle, &t))
		return;
	ctx = t.ctx_new(t.method());
	if (!ctx)
		return;
	if (client_random(&t, ctx, value))
		add(d, "tls-client-random", d->ssl.n, value, sizeof value);
	t.ctx_free(ctx);
}

static void draw_library(void *handle, void *arg)
{
	struct drawing *d = arg;

	draw_bytes(d, handle, "RAND_bytes", &d->bytes);
	draw_bytes(d, handle, "RAND_priv_bytes", &d->priv_bytes);
	draw_arc4random(d, handle);
	draw_uuid(d, handle, "uuid_generate", &d->uuid);
	draw_uuid(d, handle, "uuid_generate_random", &d->uuid_random);
	draw_tls(d, handle);
}

size_t draw_all(uint8_t *dst, bool keep_seeds) /* NOLINT(readability-non-const-parameter) */
{
	struct drawing d = {.dst = dst};
	uint8_t value[32];

	/* As the function would: newer libcs answer from memory. */
	if (getrandom(value, sizeof value, 0) == (ssize_t)sizeof value)
		add(&d, "getrandom", 1, value, sizeof value);
	/* First of all, for libuuid seeds random() on its own account. */
	if (!keep_seeds)
		draw_seeded(&d);
	draw_names(&d);
	(void)loaded_each(draw_library, &d);
	return d.len;
}
