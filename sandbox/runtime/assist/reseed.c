/* What a clone shares with all others until somebody does something about it: the state of generators in memory. The
 * kernel's own is not part of an image, so whatever asks it each time (getrandom(2), arc4random() of glibc, mkstemp(3)) is
 * different from the start.
 *
 * Not to be reached from here, and so the function's: generators of its own and of its language (std::mt19937, rand_r,
 * random_r), OpenSSL library contexts other than the default one, copies of libraries whose symbols are hidden or that
 * were loaded with dlmopen(3), and child processes. */
#include "runtime/assist/assist.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool has_wiped;

int reseed_bytes(void *dst, size_t len)
{
	uint8_t *p = dst;

	while (len > 0) {
		/* Not getrandom(): newer libcs answer from memory, and its state may have come with the image. */
		long n = syscall(SYS_getrandom, p, len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

/* ---- Memory that the kernel wipes for a child ---- */

struct range {
	uintptr_t begin, end;
	bool writable;
};

static bool parse_hex(const char **s, uintptr_t *ret)
{
	const char *begin = *s;
	uintptr_t n = 0;

	for (;; (*s)++) {
		const char c = **s;

		if (c >= '0' && c <= '9')
			n = n << 4 | (uintptr_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			n = n << 4 | (uintptr_t)(c - 'a' + 10);
		else
			break;
	}
	*ret = n;
	return *s != begin;
}

/* "7f01a000-7f01b000 rw-p …" (proc_pid_smaps(5)). */
static bool parse_range(const char *line, struct range *ret)
{
	struct range r;

	if (!parse_hex(&line, &r.begin) || *line++ != '-' || !parse_hex(&line, &r.end) || *line++ != ' ')
		return false;
	r.writable = line[0] == 'r' && line[1] == 'w';
	*ret = r;
	return true;
}

static void wipe(const struct range *r)
{
	void *at;

	memcpy(&at, &r->begin, sizeof at);
	if (r->end <= r->begin || madvise(at, r->end - r->begin, MADV_DONTNEED) == 0)
		return;
	if (r->writable) /* locked memory is not given back */
		explicit_bzero(at, r->end - r->begin);
}

/* Libraries that count on MADV_WIPEONFORK (BoringSSL, AWS-LC, s2n) take zeros for "this is a child" and draw anew. */
static int wipe_all(void)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	struct range range = {0};
	char *line = NULL;
	size_t cap = 0;
	int r = 0;

	if (!f)
		return -errno;
	errno = 0;
	while (getline(&line, &cap, f) > 0) {
		if (strncmp(line, "VmFlags:", 8) != 0) {
			(void)parse_range(line, &range);
		} else if (strstr(line, " wf") || strstr(line, " dp")) {
			has_wiped = true;
			wipe(&range);
		}
	}
	if (!feof(f))
		r = errno ? -errno : -EIO;
	free(line);
	(void)fclose(f);
	return r;
}

/* ---- Libraries ---- */

struct libraries {
	struct loaded_seen poll, stir;
	const uint8_t *fresh;
	size_t len;
};

/* The threads' generators are seeded from a primary one and notice by its counter that it was seeded again: one call
 * changes what RAND_bytes() and RAND_priv_bytes() give in every thread (EVP_RAND(7); the same in 1.1.1). Only a request
 * that was under way in another thread at the dump is the same in each clone. */
static void seed_library(void *handle, void *arg)
{
	struct libraries *l = arg;
	int (*poll)(void);
	void (*seed)(const void *, int), (*stir)(void);
	void *p = loaded_symbol(handle, "RAND_poll", &l->poll);

	if (p) {
		memcpy(&poll, &p, sizeof poll);
		(void)poll(); /* from the kernel; a method without a state of its own says no */
		p = loaded_symbol(handle, "RAND_seed", NULL);
	}
	if (p && l->len) {
		memcpy(&seed, &p, sizeof seed);
		seed(l->fresh, (int)l->len);
	}
	p = l->len ? loaded_symbol(handle, "arc4random_stir", &l->stir) : NULL;
	if (p) { /* libbsd; glibc's arc4random() keeps no state */
		memcpy(&stir, &p, sizeof stir);
		stir();
	}
}

void reseed_prepare(void)
{
	struct libraries l = {0};

	/* Without a state there would be nothing to seed, but OpenSSL starts when it is asked to: it reads its
	 * configuration and makes its generators, a millisecond where seeding them takes two microseconds. */
	(void)loaded_each(seed_library, &l);
	if (wipe_all() < 0) /* then there may be some, and the clones have to manage it */
		has_wiped = true;
}

int reseed(bool keep_seeds)
{
	struct {
		unsigned seed;
		unsigned short seed48[3];
		uint8_t libraries[48];
	} fresh;
	struct libraries l = {.fresh = fresh.libraries, .len = sizeof fresh.libraries};
	int r = reseed_bytes(&fresh, sizeof fresh);

	if (r < 0)
		return r;
	/* srandom() has 32 bits for a state of 31 words. More could only be put there past the documented functions:
	 * initstate(3) would take away the buffer, and so the kind of generator, that the function has chosen. */
	if (!keep_seeds) {
		srandom(fresh.seed);
		(void)seed48(fresh.seed48);
	}
	r = loaded_each(seed_library, &l);
	if (has_wiped && r >= 0) /* and again: other threads may have drawn between then and the dump */
		r = wipe_all();
	explicit_bzero(&fresh, sizeof fresh);
	return r;
}
