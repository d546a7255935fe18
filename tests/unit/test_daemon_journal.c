/* Events and logs: cursors, what goes when there is no room, whose it is, what a client that was away is told. */
#include "base/clock.h"
#include "base/mem.h"
#include "daemon/journal.h"
#include "tests/lib/tap.h"

static uint64_t add(struct journal *j, uint32_t owner, const char *function, const char *text)
{
	const struct entry e = {
		.owner = owner,
		.kind = 1,
		.time_ms = 7,
		.function = function,
		.text = text,
		.len = text ? strlen(text) : 0,
	};

	return journal_add(j, &e);
}

/* As many as there are from @after on, in rising order. */
static size_t count(const struct journal *j, uint64_t after, const struct journal_filter *f)
{
	const struct entry *e;
	size_t n = 0;

	while ((e = journal_next(j, after, f))) {
		CHECK_GT(e->cursor, after);
		after = e->cursor;
		n++;
	}
	return n;
}

TEST(an_entry_comes_back_as_it_was_and_is_a_copy)
{
	AUTO(journal_done) struct journal j;
	char function[] = "f", cell[] = "c", invocation[] = "i", status[] = "s", detail[] = "d", text[] = "a\0\xff\nb";
	const struct entry in = {
		.time_ms = -5,
		.owner = 4294967294U,
		.kind = 31,
		.function = function,
		.cell = cell,
		.invocation = invocation,
		.status = status,
		.detail = detail,
		.text = text,
		.len = 5,
		.stream = 2,
		.dropped = 9,
		.cut = true,
	};

	journal_init(&j, 0, 0);
	uint64_t cursor = journal_add(&j, &in);
	function[0] = cell[0] = invocation[0] = status[0] = detail[0] = text[0] = 'x';

	const struct entry *out = journal_next(&j, 0, NULL);
	REQUIRE(out);
	CHECK_EQ(out->cursor, cursor);
	CHECK_EQ(out->time_ms, -5);
	CHECK_EQ(out->owner, 4294967294U);
	CHECK_EQ(out->kind, 31);
	CHECK_STREQ(out->function, "f");
	CHECK_STREQ(out->cell, "c");
	CHECK_STREQ(out->invocation, "i");
	CHECK_STREQ(out->status, "s");
	CHECK_STREQ(out->detail, "d");
	CHECK_EQ(out->len, 5);
	CHECK_MEMEQ(out->text, "a\0\xff\nb", 6); /* and a 0 byte behind it */
	CHECK_EQ(out->stream, 2);
	CHECK_EQ(out->dropped, 9);
	CHECK(!out->cut);
	CHECK(!journal_next(&j, cursor, NULL));
}

TEST(what_an_entry_does_not_have_stays_absent)
{
	AUTO(journal_done) struct journal j;
	const struct entry in = {.len = 5, .function = ""};

	journal_init(&j, 0, 0);
	CHECK(journal_add(&j, &in) != 0);

	const struct entry *out = journal_next(&j, 0, NULL);
	REQUIRE(out);
	CHECK_STREQ(out->function, "");
	CHECK(!out->cell && !out->invocation && !out->status && !out->detail && !out->text && out->len == 0);
}

TEST(cursors_begin_at_the_clock_and_rise_by_one)
{
	AUTO(journal_done) struct journal j;
	uint64_t before = clock_wall_ns() / 1000;

	journal_init(&j, 0, 0);
	uint64_t after = clock_wall_ns() / 1000;
	CHECK(journal_first(&j) >= before && journal_first(&j) <= after);
	CHECK_EQ(journal_last(&j), journal_first(&j) - 1);
	CHECK_LT(journal_last(&j), UINT64_C(1) << 53);

	uint64_t first = add(&j, 1, "f", NULL);
	CHECK_EQ(first, journal_first(&j));
	CHECK_EQ(add(&j, 2, "f", NULL), first + 1);
	CHECK_EQ(add(&j, 1, "f", NULL), first + 2);
	CHECK_EQ(journal_first(&j), first);
	CHECK_EQ(journal_last(&j), first + 2);
}

TEST(a_journal_after_this_one_goes_on_above_its_cursors)
{
	AUTO(journal_done) struct journal j, next;

	journal_init(&j, 0, 0);
	journal_init(&next, 0, 0);
	uint64_t last = add(&j, 1, "f", NULL);
	struct timespec ms = {.tv_nsec = 2000000};
	(void)nanosleep(&ms, NULL);
	journal_done(&next);
	journal_init(&next, 0, 0);
	CHECK_GT(add(&next, 1, "f", NULL), last);
}

TEST(every_place_in_it_is_found)
{
	AUTO(journal_done) struct journal j;

	journal_init(&j, 100, 0);
	for (int i = 0; i < 250; i++) /* three rounds of the ring */
		CHECK(add(&j, 1, "f", NULL) != 0);

	uint64_t first = journal_first(&j), last = journal_last(&j);
	CHECK_EQ(last - first, 99);
	for (uint64_t after = first - 60; after <= last; after++) {
		const struct entry *e = journal_next(&j, after, NULL);
		uint64_t want = after < first ? first : after + 1;

		if (after == last)
			CHECK(!e);
		else if (!CHECK(e && e->cursor == want))
			return;
	}
	CHECK(!journal_next(&j, UINT64_MAX, NULL));
}

TEST(the_oldest_go_when_there_are_too_many)
{
	AUTO(journal_done) struct journal j;

	journal_init(&j, 10, 0);
	uint64_t start = journal_first(&j);
	for (int i = 0; i < 25; i++) {
		CHECK(add(&j, 1, "f", "text") != 0);
		CHECK_EQ(count(&j, 0, NULL), i < 10 ? i + 1 : 10);
	}
	CHECK_EQ(journal_first(&j), start + 15);
	CHECK_EQ(journal_last(&j), start + 24);
}

TEST(the_oldest_go_when_they_are_too_large)
{
	AUTO(journal_done) struct journal j;
	static char text[JOURNAL_MAX_TEXT + 1];

	memset(text, 'x', JOURNAL_MAX_TEXT);
	journal_init(&j, 0, 0);
	for (int i = 0; i < 100; i++) {
		CHECK(add(&j, 1, "f", text) != 0);
		CHECK_LE(j.n_bytes, JOURNAL_BYTES);
	}
	CHECK_EQ(count(&j, 0, NULL), 15); /* of a little over 64 KiB in 1 MiB */
	CHECK_EQ(journal_last(&j) - journal_first(&j), 14);
}

TEST(long_text_and_long_words_are_cut)
{
	AUTO(journal_done) struct journal j;
	static char text[JOURNAL_MAX_TEXT + 2], word[JOURNAL_MAX_WORD + 2];
	struct entry in = {.function = "f", .text = text, .len = JOURNAL_MAX_TEXT, .detail = word};

	memset(text, 'x', JOURNAL_MAX_TEXT + 1);
	memset(word, 'y', JOURNAL_MAX_WORD);
	journal_init(&j, 0, 1); /* raised to what the largest entry needs */

	const struct entry *out = journal_next(&j, journal_add(&j, &in) - 1, NULL);
	REQUIRE(out);
	CHECK(out->len == JOURNAL_MAX_TEXT && strlen(out->detail) == JOURNAL_MAX_WORD && !out->cut);

	in.len++;
	out = journal_next(&j, journal_add(&j, &in) - 1, NULL);
	REQUIRE(out);
	CHECK(out->len == JOURNAL_MAX_TEXT && out->text[JOURNAL_MAX_TEXT] == '\0' && out->cut);

	in.len = 3;
	word[JOURNAL_MAX_WORD] = 'y';
	out = journal_next(&j, journal_add(&j, &in) - 1, NULL);
	REQUIRE(out);
	CHECK(out->len == 3 && strlen(out->detail) == JOURNAL_MAX_WORD && out->cut);
	CHECK_STREQ(out->function, "f");
}

/* ---- Owners ---- */

TEST(who_writes_much_drives_out_only_his_own)
{
	AUTO(journal_done) struct journal j;
	const struct journal_filter quiet = {.one_owner = true, .owner = 2}, loud = {.one_owner = true, .owner = 1};
	static char text[1001];

	memset(text, 'x', 1000);
	journal_init(&j, 100, 0);
	uint64_t first = add(&j, 2, "q", "the first of all");
	for (int i = 0; i < 5000; i++)
		CHECK(add(&j, 1, "l", text) != 0);
	CHECK_EQ(count(&j, 0, &quiet), 1);
	CHECK_EQ(count(&j, 0, &loud), 99);
	CHECK_EQ(count(&j, 0, NULL), 100);
	CHECK_EQ(journal_first(&j), first);
	CHECK_EQ(journal_lost(&j, first, &quiet), 0);
	CHECK_EQ(journal_lost(&j, first, &loud), 4901);

	/* By bytes as well: many small ones do not give way to few large ones. */
	journal_done(&j);
	journal_init(&j, 4096, JOURNAL_MIN_BYTES);
	for (int i = 0; i < 100; i++)
		(void)add(&j, 2, "q", "small");
	for (int i = 0; i < 5000; i++)
		(void)add(&j, 1, "l", text);
	CHECK_EQ(count(&j, 0, &quiet), 100);
	CHECK_GT(count(&j, 0, &loud), 200);
}

TEST(entries_of_many_owners_come_in_the_order_of_their_cursors)
{
	AUTO(journal_done) struct journal j;
	const struct entry *e;
	uint64_t after = 0;
	size_t n = 0;

	journal_init(&j, 0, 0);
	for (uint32_t i = 0; i < 2000; i++)
		CHECK(add(&j, i * 7919 % 400, "f", NULL) != 0); /* more owners than lanes */
	while ((e = journal_next(&j, after, NULL))) {
		CHECK_EQ(e->owner, (e->cursor - journal_first(&j)) * 7919 % 400);
		after = e->cursor;
		n++;
	}
	CHECK_EQ(n, 2000);
	CHECK_EQ(j.n_lanes, JOURNAL_LANES);
	for (uint32_t owner = 0; owner < 400; owner++) {
		const struct journal_filter f = {.one_owner = true, .owner = owner};

		if (!CHECK_EQ(count(&j, 0, &f), 5))
			return;
	}
}

/* ---- Filters ---- */

TEST(a_filter_asks_for_all_that_it_names)
{
	AUTO(journal_done) struct journal j;
	static const char *const names[] = {"a", "b", NULL};

	journal_init(&j, 0, 0);
	for (unsigned i = 0; i < 3 * 3 * 3 * 4; i++) {
		const struct entry e = {
			.owner = i % 2,
			.kind = (uint8_t)(i % 4),
			.function = names[i % 3],
			.cell = names[i / 3 % 3],
			.invocation = names[i / 9 % 3],
		};

		CHECK(journal_add(&j, &e) != 0);
	}
	for (unsigned bits = 0; bits < 32; bits++) {
		const struct journal_filter f = {
			.one_owner = bits & 1,
			.owner = 1,
			.kinds = bits & 2 ? 1U << 1 | 1U << 2 : 0,
			.function = bits & 4 ? "a" : NULL,
			.cell = bits & 8 ? "b" : NULL,
			.invocation = bits & 16 ? "a" : NULL,
		};
		size_t want = 0;

		for (unsigned i = 0; i < 3 * 3 * 3 * 4; i++)
			want += (!(bits & 1) || i % 2 == 1) && (!(bits & 2) || i % 4 == 1 || i % 4 == 2) &&
				(!(bits & 4) || i % 3 == 0) && (!(bits & 8) || i / 3 % 3 == 1) &&
				(!(bits & 16) || i / 9 % 3 == 0);
		if (!CHECK_EQ(count(&j, 0, &f), want))
			tap_note("  filter %u", bits);
	}
}

/* ---- What is missing ---- */

TEST(who_was_away_too_long_is_told_how_many_are_missing)
{
	AUTO(journal_done) struct journal j;

	journal_init(&j, 10, 0);
	uint64_t start = journal_first(&j);
	CHECK_EQ(journal_lost(&j, start - 1, NULL), 0);
	for (int i = 0; i < 15; i++)
		(void)add(&j, 1, "f", NULL);
	/* start … start + 4 are gone. */
	CHECK_EQ(journal_lost(&j, start - 1, NULL), 5);
	CHECK_EQ(journal_lost(&j, start, NULL), 4);
	CHECK_EQ(journal_lost(&j, start + 3, NULL), 1);
	CHECK_EQ(journal_lost(&j, start + 4, NULL), 0);
	CHECK_EQ(journal_lost(&j, start + 14, NULL), 0);
	CHECK_EQ(journal_lost(&j, 0, NULL), 0);
}

TEST(cursors_of_another_time_miss_something)
{
	AUTO(journal_done) struct journal j;

	journal_init(&j, 10, 0);
	uint64_t start = journal_first(&j);
	CHECK_EQ(journal_lost(&j, start - 1000, NULL), 1); /* of the daemon before: nobody knows what came after it */
	CHECK_EQ(journal_lost(&j, start + 1000, NULL), 1); /* the clock was put back */
	(void)add(&j, 1, "f", NULL);
	CHECK_EQ(journal_lost(&j, start - 1000, NULL), 1);
	CHECK_EQ(journal_lost(&j, start, NULL), 0);
	CHECK_EQ(journal_lost(&j, start + 1, NULL), 1);
}

TEST(another_owners_losses_are_not_mine)
{
	AUTO(journal_done) struct journal j;
	const struct journal_filter mine = {.one_owner = true, .owner = 2}, nobody = {.one_owner = true, .owner = 3};

	journal_init(&j, 10, 0);
	uint64_t start = journal_first(&j);
	(void)add(&j, 2, "f", NULL);
	for (int i = 0; i < 100; i++)
		(void)add(&j, 1, "f", NULL);
	CHECK_EQ(journal_lost(&j, start, &mine), 0);
	CHECK_EQ(journal_lost(&j, start, &nobody), 0);
	CHECK_GT(journal_lost(&j, start, NULL), 0);

	/* Cursors of others in between are not counted as mine. */
	journal_done(&j);
	journal_init(&j, 10, 0);
	start = journal_first(&j);
	for (int i = 0; i < 30; i++) {
		(void)add(&j, 1, "f", NULL);
		(void)add(&j, 2, "f", NULL);
	}
	CHECK_EQ(journal_lost(&j, start - 1, &mine), 24); /* 6 are there */
	CHECK_EQ(journal_lost(&j, start - 1, NULL), 50);
	CHECK(!journal_next(&j, 0, &nobody));
}

TEST(who_has_lost_something_is_told_where_to_go_on)
{
	AUTO(journal_done) struct journal j;
	const struct journal_filter quiet = {.one_owner = true, .owner = 2}, loud = {.one_owner = true, .owner = 1};

	journal_init(&j, 10, 0);
	uint64_t start = journal_first(&j);
	CHECK_EQ(journal_since(&j, NULL), start - 1);
	(void)add(&j, 2, "f", NULL);
	for (int i = 0; i < 100; i++)
		(void)add(&j, 1, "f", NULL);
	/* Of `loud` 9 are there, the first of which is start + 92. */
	CHECK_EQ(journal_since(&j, &quiet), start - 1);
	CHECK_EQ(journal_since(&j, &loud), start + 91);
	CHECK_EQ(journal_since(&j, NULL), start + 91);
	CHECK_EQ(journal_first(&j), start);
	CHECK_EQ(journal_lost(&j, start + 91, &loud), 0);
	CHECK_EQ(journal_lost(&j, start + 90, &loud), 1);
	CHECK_EQ(count(&j, start + 91, &loud), 9);
}

TEST(what_is_missing_adds_up_from_entry_to_entry)
{
	AUTO(journal_done) struct journal j;
	const struct entry *e;
	uint64_t after, told = 0;

	journal_init(&j, 50, 0);
	after = journal_last(&j);
	for (int i = 0; i < 20; i++) {
		(void)add(&j, 2, "f", NULL);
		for (int k = 0; k < 10; k++)
			(void)add(&j, 1, "f", NULL);
	}
	while ((e = journal_next(&j, after, NULL))) {
		uint64_t before = journal_lost(&j, after, NULL), at = journal_lost(&j, e->cursor, NULL);

		CHECK_GE(before, at);
		told += before - at;
		after = e->cursor;
	}
	CHECK_EQ(told, 20 * 11 - 50);
}
