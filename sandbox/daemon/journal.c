#include "daemon/journal.h"

#include "base/clock.h"
#include "base/mem.h"

#include <assert.h>

/* An entry and, behind it in the same allocation, what it points to. */
struct record {
	struct entry e;
	size_t bytes; /* of the allocation */
	char data[];
};

/* The entries of one owner, oldest first, in a ring of `cap` (a power of two, or 0) places. */
struct lane {
	uint32_t owner;
	struct record **ring;
	size_t cap, head, n;
	size_t bytes;
	uint64_t gone;      /* the highest cursor that is not there any more, or 0 */
	uint64_t gone_many; /* how many */
};

/* ---- Lanes ---- */

static struct record *lane_at(const struct lane *l, size_t i)
{
	return l->ring[(l->head + i) & (l->cap - 1)];
}

/* The lane that has or would have this owner's entries; NULL when it is still to be made. */
static struct lane *lane_find(const struct journal *j, uint32_t owner)
{
	for (size_t i = 0; i < j->n_lanes; i++)
		if (j->lanes[i].owner == owner)
			return &j->lanes[i];
	return j->n_lanes == JOURNAL_LANES ? &j->lanes[JOURNAL_LANES - 1] : NULL;
}

static struct lane *lane_get(struct journal *j, uint32_t owner)
{
	struct lane *l = lane_find(j, owner);

	if (l)
		return l;
	if (!j->lanes)
		j->lanes = calloc(JOURNAL_LANES, sizeof *j->lanes);
	if (!j->lanes)
		return NULL;
	l = &j->lanes[j->n_lanes++];
	l->owner = owner;
	return l;
}

/* Room for one more. */
static bool lane_grow(struct lane *l)
{
	size_t cap = l->cap ? l->cap * 2 : 16;
	struct record **ring;

	if (l->n < l->cap)
		return true;
	ring = calloc(cap, sizeof(struct record *));
	if (!ring)
		return false;
	for (size_t i = 0; i < l->n; i++)
		ring[i] = lane_at(l, i);
	free(l->ring);
	l->ring = ring;
	l->cap = cap;
	l->head = 0;
	return true;
}

static void note_gone(struct lane *l, uint64_t cursor)
{
	if (cursor > l->gone)
		l->gone = cursor;
	l->gone_many++;
}

static void drop_oldest(struct journal *j, struct lane *l)
{
	struct record *r = lane_at(l, 0);

	note_gone(l, r->e.cursor);
	l->head = (l->head + 1) & (l->cap - 1);
	l->n--;
	l->bytes -= r->bytes;
	j->n_entries--;
	j->n_bytes -= r->bytes;
	free(r);
}

/* One from the largest lane: by bytes when bytes are short, else by number. */
static void drop_one(struct journal *j, bool by_bytes)
{
	struct lane *most = NULL;

	for (size_t i = 0; i < j->n_lanes; i++) {
		struct lane *l = &j->lanes[i];

		if (l->n > 0 && (!most || (by_bytes ? l->bytes > most->bytes : l->n > most->n)))
			most = l;
	}
	assert(most);
	drop_oldest(j, most);
}

static void make_room(struct journal *j, size_t bytes)
{
	while (j->n_entries > 0 && j->n_bytes + bytes > j->max_bytes)
		drop_one(j, true);
	while (j->n_entries >= j->max_entries)
		drop_one(j, false);
}

/* ---- Adding ---- */

void journal_init(struct journal *j, size_t max_entries, size_t max_bytes)
{
	*j = (struct journal){
		.max_entries = max_entries ? max_entries : JOURNAL_ENTRIES,
		.max_bytes = max_bytes ? max_bytes : JOURNAL_BYTES,
	};
	if (j->max_bytes < JOURNAL_MIN_BYTES)
		j->max_bytes = JOURNAL_MIN_BYTES;
	j->start = clock_wall_ns() / 1000;
	if (j->start == 0) /* a machine whose clock was never set: cursors are at least 1 */
		j->start = 1;
	j->next = j->start;
}

void journal_done(struct journal *j)
{
	for (size_t i = 0; i < j->n_lanes; i++) {
		struct lane *l = &j->lanes[i];

		for (size_t k = 0; k < l->n; k++)
			free(lane_at(l, k));
		free(l->ring);
	}
	free(j->lanes);
	*j = (struct journal){0};
}

enum { WORDS = 5 };

/* The entry's strings, in one order for measuring and copying. */
static void words_of(struct entry *e, const char **words[static WORDS])
{
	words[0] = &e->function;
	words[1] = &e->cell;
	words[2] = &e->invocation;
	words[3] = &e->status;
	words[4] = &e->detail;
}

static struct record *copy(const struct entry *from)
{
	struct entry e = *from;
	const char **words[WORDS];
	size_t lens[WORDS], bytes = sizeof(struct record);
	struct record *r;
	char *at;

	e.cut = false;
	words_of(&e, words);
	for (size_t i = 0; i < WORDS; i++) {
		lens[i] = *words[i] ? strnlen(*words[i], JOURNAL_MAX_WORD + 1) : 0;
		if (lens[i] > JOURNAL_MAX_WORD) {
			lens[i] = JOURNAL_MAX_WORD;
			e.cut = true;
		}
		bytes += *words[i] ? lens[i] + 1 : 0;
	}
	if (e.len > JOURNAL_MAX_TEXT) {
		e.len = JOURNAL_MAX_TEXT;
		e.cut = true;
	}
	bytes += e.text ? e.len + 1 : 0;
	r = malloc(bytes);
	if (!r)
		return NULL;
	at = r->data;
	for (size_t i = 0; i < WORDS; i++) {
		if (!*words[i])
			continue;
		memcpy(at, *words[i], lens[i]);
		at[lens[i]] = '\0';
		*words[i] = at;
		at += lens[i] + 1;
	}
	if (e.text) {
		memcpy(at, e.text, e.len);
		at[e.len] = '\0';
		e.text = at;
	} else {
		e.len = 0;
	}
	r->e = e;
	r->bytes = bytes;
	return r;
}

uint64_t journal_add(struct journal *j, const struct entry *e)
{
	assert(e->kind < 32);

	uint64_t cursor = j->next++; /* also when it fails: then whoever comes later sees that one is missing */
	struct lane *l = lane_get(j, e->owner);
	struct record *r = l && lane_grow(l) ? copy(e) : NULL;

	if (!r) {
		j->failed++;
		if (l)
			note_gone(l, cursor);
		return 0;
	}
	make_room(j, r->bytes);
	r->e.cursor = cursor;
	l->ring[(l->head + l->n++) & (l->cap - 1)] = r;
	l->bytes += r->bytes;
	j->n_entries++;
	j->n_bytes += r->bytes;
	return cursor;
}

/* ---- Looking ---- */

static bool same(const char *want, const char *is)
{
	return !want || (is && strcmp(want, is) == 0);
}

static bool matches(const struct entry *e, const struct journal_filter *f)
{
	return !f || ((!f->one_owner || f->owner == e->owner) && (!f->kinds || (f->kinds >> e->kind & 1U)) &&
		      same(f->function, e->function) && same(f->cell, e->cell) && same(f->invocation, e->invocation));
}

/* The index of the first with a cursor above @after, or n. */
static size_t lane_seek(const struct lane *l, uint64_t after)
{
	size_t low = 0, high = l->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (lane_at(l, mid)->e.cursor > after)
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}

/* Looks no further than @below, so that lanes do not have what another one makes needless passed over again and again. */
static const struct entry *lane_next(const struct lane *l, uint64_t after, uint64_t below,
				     const struct journal_filter *f)
{
	for (size_t i = lane_seek(l, after); i < l->n; i++) {
		const struct record *r = lane_at(l, i);

		if (r->e.cursor >= below)
			break;
		if (matches(&r->e, f))
			return &r->e;
	}
	return NULL;
}

const struct entry *journal_next(const struct journal *j, uint64_t after, const struct journal_filter *f)
{
	const struct entry *first = NULL;

	if (f && f->one_owner) {
		const struct lane *l = lane_find(j, f->owner);

		return l ? lane_next(l, after, UINT64_MAX, f) : NULL;
	}
	for (size_t i = 0; i < j->n_lanes; i++) {
		const struct entry *e = lane_next(&j->lanes[i], after, first ? first->cursor : UINT64_MAX, f);

		if (e)
			first = e;
	}
	return first;
}

uint64_t journal_first(const struct journal *j)
{
	uint64_t first = j->next;

	for (size_t i = 0; i < j->n_lanes; i++)
		if (j->lanes[i].n > 0 && lane_at(&j->lanes[i], 0)->e.cursor < first)
			first = lane_at(&j->lanes[i], 0)->e.cursor;
	return first;
}

uint64_t journal_last(const struct journal *j)
{
	return j->next - 1;
}

/* Those of one lane above @after: no more than have gone, and no more than there are cursors. */
static uint64_t lane_lost(const struct lane *l, uint64_t after)
{
	if (l->gone <= after)
		return 0;
	return l->gone - after < l->gone_many ? l->gone - after : l->gone_many;
}

bool journal_knows(const struct journal *j, uint64_t after)
{
	return after == 0 || (after >= j->start - 1 && after <= journal_last(j));
}

uint64_t journal_lost(const struct journal *j, uint64_t after, const struct journal_filter *f)
{
	uint64_t lost = 0;

	if (after == 0)
		return 0;
	if (f && f->one_owner) {
		const struct lane *l = lane_find(j, f->owner);

		lost = l ? lane_lost(l, after) : 0;
	} else {
		for (size_t i = 0; i < j->n_lanes; i++)
			lost += lane_lost(&j->lanes[i], after);
	}
	/* What a daemon before this one had after that, nobody knows. */
	return lost == 0 && !journal_knows(j, after) ? 1 : lost;
}

uint64_t journal_since(const struct journal *j, const struct journal_filter *f)
{
	uint64_t since = j->start - 1;

	for (size_t i = 0; i < j->n_lanes; i++)
		if ((!f || !f->one_owner || &j->lanes[i] == lane_find(j, f->owner)) && j->lanes[i].gone > since)
			since = j->lanes[i].gone;
	return since;
}
