/* Results that are kept for who asks again with the same id: for how long, how many, how many bytes. Whose result went is
 * told that the call has begun before (once.h), so it never runs a second time. Of leases only these answers know. */
#include "daemon/invocation_parts.h"

#include <malloc.h>

enum {
	LOOSE_BYTES = 65536,   /* of a buffer that are not worth a realloc(3) */
	TRIM_BYTES = 16 << 20, /* so much has to have gone before the heap is looked at, */
	TRIM_AFTER_S = 1       /* and not more often, because that takes milliseconds */
};

static void add_kept(const struct invocation *v, int more, uint64_t bytes)
{
	struct account *a = account_of(v->d, v->owner);

	v->d->n_kept += (uint32_t)more;
	v->d->kept_bytes += bytes; /* unsigned: less wraps to the right sum */
	if (!a)
		return;
	a->n_kept += (uint32_t)more;
	a->kept_bytes += bytes;
}

/* Buffers grow by doubling: up to half of one that is kept would be there for nothing. */
static void fit(struct buf *b)
{
	char *smaller = b->cap - b->len > LOOSE_BYTES ? realloc(b->data, b->len + 1) : NULL;

	if (!smaller)
		return;
	b->data = smaller;
	b->cap = b->len + 1;
}

/* ---- Memory goes back ---- */

/* Answers up to M_MMAP_THRESHOLD lie in the heap, and what was allocated after them, however small, holds what is below it:
 * free(3) gives back the heap's end only. */
static void trim(void *arg)
{
	struct daemon *d = arg;

	d->given_back_bytes = 0;
	(void)malloc_trim(0);
}

void invocation_unkeep(struct invocation *v)
{
	struct daemon *d = v->d;

	if (v->kept_bytes == 0)
		return;
	add_kept(v, -1, -v->kept_bytes);
	d->given_back_bytes += v->kept_bytes;
	v->kept_bytes = 0;
	if (d->given_back_bytes < TRIM_BYTES || timer_armed(&d->trim))
		return;
	d->trim.due = trim;
	d->trim.arg = d;
	(void)!loop_arm(&d->loop, &d->trim, clock_mono_ns() + TRIM_AFTER_S * NS_PER_S);
}

/* ---- Bounds ---- */

/* Of the same user. Answers about leases are small, and no table knows that they were given: they go last. */
static bool goes_before(const struct invocation *v, const struct invocation *w)
{
	return v->lease != w->lease ? !v->lease : v->end_ns < w->end_ns;
}

static void drop_oldest(struct daemon *d, uid_t owner)
{
	struct invocation *oldest = NULL;

	for (struct invocation *v = d->invocations; v; v = v->next)
		if (v->kept_bytes > 0 && v->owner == owner && (!oldest || goes_before(v, oldest)))
			oldest = v;
	if (oldest)
		invocation_free(oldest);
}

/* Nobody's results go because others make many, or large ones: the oldest goes of who has most. */
static void bound(struct daemon *d, const struct account *own)
{
	const struct account *many = own, *large = own;

	while (own->kept_bytes > RESULT_BYTES_OF_ONE)
		drop_oldest(d, own->uid);
	for (; d->n_kept > RESULTS_KEPT; many = own) {
		for (const struct account *a = d->accounts; a; a = a->next)
			many = a->n_kept > many->n_kept ? a : many;
		drop_oldest(d, many->uid);
	}
	for (; d->kept_bytes > RESULT_BYTES; large = own) {
		for (const struct account *a = d->accounts; a; a = a->next)
			large = a->kept_bytes > large->kept_bytes ? a : large;
		drop_oldest(d, large->uid);
	}
}

void invocation_keep(struct invocation *v)
{
	struct daemon *d = v->d;
	const struct account *a = account_of(d, v->owner);

	v->timer.due = invocation_free;
	v->timer.arg = v;
	if (!a || loop_arm(&d->loop, &v->timer, v->end_ns + RESULT_KEPT_S * NS_PER_S) < 0) {
		invocation_free(v);
		return;
	}
	fit(&v->answer);
	v->kept_bytes = sizeof *v + v->answer.cap + v->error_message.cap + v->error_document.cap +
			(v->log ? LOG_TAIL : 0);
	add_kept(v, 1, v->kept_bytes);
	bound(d, a);
}
