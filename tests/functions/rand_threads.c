/* OpenSSL's generators of two threads, made in init; answers how often each was seeded since then, once it has been used:
 * public and private of the main thread, public and private of the other. */
/* libs: libcrypto */
#include "out.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pthread.h>

static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int wanted, done; /* number of rounds */
	unsigned seeded[2];
} worker = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
static unsigned first[4], now[4];

static unsigned counter(EVP_RAND_CTX *ctx)
{
	unsigned n = 0;
	OSSL_PARAM params[] = {OSSL_PARAM_construct_uint(OSSL_DRBG_PARAM_RESEED_COUNTER, &n),
			       OSSL_PARAM_construct_end()};

	return EVP_RAND_CTX_get_params(ctx, params) == 1 ? n : 0;
}

static void draw(unsigned *ret)
{
	unsigned char b[32];

	if (RAND_bytes(b, sizeof b) != 1 || RAND_priv_bytes(b, sizeof b) != 1)
		abort();
	ret[0] = counter(RAND_get0_public(NULL));
	ret[1] = counter(RAND_get0_private(NULL));
}

static void *work(void *arg)
{
	(void)pthread_mutex_lock(&worker.lock);
	for (;;) {
		while (worker.done == worker.wanted)
			(void)pthread_cond_wait(&worker.changed, &worker.lock);
		draw(worker.seeded);
		worker.done++;
		(void)pthread_cond_signal(&worker.changed);
	}
	return arg;
}

static void round_of_both(unsigned *ret)
{
	draw(ret);
	(void)pthread_mutex_lock(&worker.lock);
	worker.wanted++;
	(void)pthread_cond_signal(&worker.changed);
	while (worker.done < worker.wanted)
		(void)pthread_cond_wait(&worker.changed, &worker.lock);
	memcpy(ret + 2, worker.seeded, sizeof worker.seeded);
	(void)pthread_mutex_unlock(&worker.lock);
}

int fsbox_init(void)
{
	pthread_t t;

	if (pthread_create(&t, NULL, work, NULL) != 0)
		return 1;
	round_of_both(first);
	return 0;
}

int fsbox_handler(fsbox_call *call)
{
	struct out o = {0};
	int r;

	round_of_both(now);
	for (int i = 0; i < 4; i++)
		out_text(&o, "%d ", now[i] - first[i] > 0);
	r = fsbox_respond(call, o.data, o.len);
	free(o.data);
	return r;
}
