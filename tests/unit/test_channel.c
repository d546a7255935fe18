/* The frames of the channel as bytes: sandbox/runtime/channel.c. */
#include "runtime/channel.h"
#include "tests/lib/tap.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

/* Memory whose last byte lies before a page that must not be touched: reading one byte too far is a crash. */
static uint8_t *guarded(const void *data, size_t len)
{
	static uint8_t *pages;
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	if (!pages) {
		pages = mmap(NULL, 3 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (pages == MAP_FAILED || mprotect(pages + 2 * page, page, PROT_NONE) < 0)
			abort();
	}
	if (len > 2 * page)
		abort();
	if (len)
		memcpy(pages + 2 * page - len, data, len);
	return pages + 2 * page - len;
}

static int parse_head(uint16_t type, uint32_t len, uint16_t zero, uint64_t call, enum chan_side reader)
{
	struct chan_head h = {.len = len, .type = type, .zero = zero, .call = call}, got;

	return chan_head_parse(guarded(&h, sizeof h), reader, &got);
}

static const struct {
	uint16_t type;
	enum chan_side reader;
	uint64_t call;
	uint32_t min, max;
} kinds[] = {
	{CHAN_CALL, CHAN_CELL, 1, 24, CHAN_MAX_BODY},
	{CHAN_FILTER, CHAN_CELL, 0, 8, 32768},
	{CHAN_SHUTDOWN, CHAN_CELL, 0, 0, 0},
	{CHAN_SNAPSHOT, CHAN_CELL, 0, 0, 0},
	{CHAN_RESTORE, CHAN_CELL, 0, 120, 120 + CHAN_MAX_ENV},
	{CHAN_DRAW, CHAN_CELL, 0, 0, 0},
	{CHAN_REPORT, CHAN_CELL, 1, 48, 48},
	{CHAN_READY, CHAN_HOST, 0, 8, 8},
	{CHAN_INIT_ERROR, CHAN_HOST, 0, 8, 8 + 256 + 32768 + 1048576},
	{CHAN_DATA, CHAN_HOST, 1, 0, CHAN_MAX_PAYLOAD},
	{CHAN_DONE, CHAN_HOST, 1, 0, 0},
	{CHAN_ERROR, CHAN_HOST, 1, 8, 8 + 256 + 32768 + 1048576},
	{CHAN_EXIT, CHAN_HOST, 0, 16, 16},
	{CHAN_PARKED, CHAN_HOST, 0, 0, 4},
	{CHAN_RESTORED, CHAN_HOST, 0, 16, 16},
	{CHAN_DRAWN, CHAN_HOST, 0, 0, CHAN_MAX_DRAWN},
};

TEST(a_head_is_taken_only_by_the_side_it_is_for)
{
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		enum chan_side other = kinds[i].reader == CHAN_HOST ? CHAN_CELL : CHAN_HOST;

		CHECK_EQ(parse_head(kinds[i].type, kinds[i].min, 0, kinds[i].call, kinds[i].reader), 0);
		CHECK_EQ(parse_head(kinds[i].type, kinds[i].min, 0, kinds[i].call, other), -EPROTO);
	}
}

TEST(a_head_of_a_type_that_does_not_exist_is_refused)
{
	unsigned taken[2] = {0, 0};

	for (unsigned type = 0; type <= UINT16_MAX; type++) {
		for (uint64_t call = 0; call <= 1; call++) {
			taken[0] += parse_head((uint16_t)type, 8, 0, call, CHAN_HOST) == 0;
			taken[1] += parse_head((uint16_t)type, 24, 0, call, CHAN_CELL) == 0;
		}
	}
	CHECK_EQ(taken[CHAN_HOST], 7); /* READY, INIT_ERROR, DATA, ERROR, DRAWN, and FAULT with and without a call */
	CHECK_EQ(taken[CHAN_CELL], 2); /* CALL, FILTER */
}

TEST(a_head_with_a_length_beyond_its_type_is_refused_before_anything_is_read)
{
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		CHECK_EQ(parse_head(kinds[i].type, kinds[i].max, 0, kinds[i].call, kinds[i].reader), 0);
		CHECK_EQ(parse_head(kinds[i].type, kinds[i].max + 1, 0, kinds[i].call, kinds[i].reader), -EMSGSIZE);
		CHECK_EQ(parse_head(kinds[i].type, UINT32_MAX, 0, kinds[i].call, kinds[i].reader), -EMSGSIZE);
		if (kinds[i].min)
			CHECK_EQ(parse_head(kinds[i].type, kinds[i].min - 1, 0, kinds[i].call, kinds[i].reader),
				 -EPROTO);
	}
	CHECK_EQ(parse_head(CHAN_FILTER, 12, 0, 0, CHAN_CELL), -EPROTO); /* one and a half instructions */
	for (uint32_t len = 1; len < 4; len++)
		CHECK_EQ(parse_head(CHAN_PARKED, len, 0, 0, CHAN_HOST), -EPROTO); /* a part of the flags */
}

TEST(a_head_has_a_zero_field_and_a_call_number_where_there_is_a_call)
{
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		CHECK_EQ(parse_head(kinds[i].type, kinds[i].min, 1, kinds[i].call, kinds[i].reader), -EPROTO);
		CHECK_EQ(parse_head(kinds[i].type, kinds[i].min, 0, !kinds[i].call, kinds[i].reader), -EPROTO);
	}
	CHECK_EQ(parse_head(CHAN_FAULT, 8, 0, 0, CHAN_HOST), 0);
	CHECK_EQ(parse_head(CHAN_FAULT, 8, 0, 7, CHAN_HOST), 0);
}

struct call_bytes {
	struct chan_call fixed;
	char rest[64];
};

static const struct call_bytes good_call = {
	.fixed = {.deadline_ms = 5, .remaining_ns = 6, .id_len = 4, .trace_len = 3, .event_len = 2},
	.rest = "idididEV",
};

TEST(the_front_of_a_call_is_read_from_every_prefix_without_a_byte_too_far)
{
	const size_t front = sizeof good_call.fixed + 7, whole = front + 2;

	for (size_t have = 0; have <= whole; have++) {
		struct chan_call_view v = {0};
		ptrdiff_t at = chan_call_parse(guarded(&good_call, have), have, whole, &v);

		CHECK_EQ(at, have < front ? 0 : (ptrdiff_t)front);
		if (at > 0) {
			CHECK_EQ(v.event_at, front);
			CHECK_MEMEQ(v.id, "idid", 4);
			CHECK_MEMEQ(v.trace, "idE", 3);
			CHECK_EQ(v.fixed.remaining_ns, 6);
		}
	}
}

static ptrdiff_t parse_call(struct chan_call fixed, size_t body_len)
{
	static struct {
		struct chan_call fixed;
		char ids[CHAN_MAX_ID + CHAN_MAX_TRACE];
	} body;
	struct chan_call_view v;

	memset(&body, 'x', sizeof body);
	body.fixed = fixed;
	return chan_call_parse(guarded(&body, sizeof body), sizeof body, body_len, &v);
}

TEST(a_call_whose_lengths_contradict_each_other_is_refused)
{
	struct chan_call c = {.id_len = 36, .trace_len = 10, .event_len = 100};

	CHECK_EQ(parse_call(c, 24 + 146), 24 + 46);
	CHECK_EQ(parse_call(c, 24 + 145), -EPROTO);
	CHECK_EQ(parse_call(c, 24 + 147), -EPROTO);
	CHECK_EQ(parse_call(c, 23), -EPROTO);
	CHECK_EQ(parse_call((struct chan_call){.event_len = UINT32_MAX}, 24), -EMSGSIZE);
	CHECK_EQ(parse_call((struct chan_call){.id_len = UINT16_MAX}, 24), -EMSGSIZE);
	CHECK_EQ(parse_call((struct chan_call){.trace_len = UINT16_MAX}, 24), -EMSGSIZE);
}

TEST(the_limits_of_a_call_are_reached_and_not_passed)
{
	struct chan_call c = {.id_len = CHAN_MAX_ID, .trace_len = CHAN_MAX_TRACE, .event_len = CHAN_MAX_PAYLOAD};
	size_t len = sizeof c + CHAN_MAX_ID + CHAN_MAX_TRACE + CHAN_MAX_PAYLOAD;

	CHECK_LE(len, (size_t)CHAN_MAX_BODY);
	CHECK_EQ(parse_call(c, len), (ptrdiff_t)(len - CHAN_MAX_PAYLOAD));
	c.event_len++;
	CHECK_EQ(parse_call(c, len + 1), -EMSGSIZE);
	c.event_len--;
	c.id_len++;
	CHECK_EQ(parse_call(c, len + 1), -EMSGSIZE);
}

TEST(an_id_with_a_zero_byte_is_refused)
{
	struct call_bytes c = good_call;
	struct chan_call_view v;

	c.rest[5] = '\0';
	CHECK_EQ(chan_call_parse(&c, sizeof c, sizeof c.fixed + 9, &v), -EPROTO);
	c = good_call;
	c.rest[7] = '\0'; /* of the event: any byte is allowed there */
	CHECK_EQ(chan_call_parse(&c, sizeof c, sizeof c.fixed + 9, &v), (ptrdiff_t)sizeof c.fixed + 7);
}

TEST(an_error_is_read_and_its_lengths_are_checked)
{
	struct {
		struct chan_error e;
		char text[8];
	} b = {.e = {.type_len = 3, .message_len = 5}, .text = "T.Ehello"};
	struct chan_error_view v = {0};

	REQUIRE(chan_error_parse(guarded(&b, sizeof b), sizeof b, &v) == 0);
	CHECK_EQ(v.type_len, 3);
	CHECK_EQ(v.message_len, 5);
	CHECK_MEMEQ(v.type, "T.E", 3);
	CHECK_MEMEQ(v.message, "hello", 5);
	for (size_t len = 0; len < sizeof b; len++)
		CHECK_EQ(chan_error_parse(guarded(&b, len), len, &v), -EPROTO);
	b.e.zero = 1;
	CHECK_EQ(chan_error_parse(&b, sizeof b, &v), -EPROTO);
	b.e = (struct chan_error){.type_len = CHAN_MAX_TYPE + 1};
	CHECK_EQ(chan_error_parse(&b, sizeof b, &v), -EMSGSIZE);
	b.e = (struct chan_error){.message_len = UINT32_MAX};
	CHECK_EQ(chan_error_parse(&b, sizeof b, &v), -EMSGSIZE);
}

TEST(an_exit_record_is_known_by_every_one_of_its_fields)
{
	struct {
		struct chan_head h;
		struct chan_exit x;
	} good = {
		.h = {.len = sizeof(struct chan_exit), .type = CHAN_EXIT},
		.x = {.magic = CHAN_EXIT_MAGIC, .code = 2, .status = 9},
	};
	struct chan_exit x = {0};

	CHECK_EQ(sizeof good, CHAN_EXIT_BYTES);
	CHECK(chan_exit_parse(guarded(&good, sizeof good), &x));
	CHECK_EQ(x.code, 2);
	CHECK_EQ(x.status, 9);
	for (size_t i = 0; i < sizeof good - 8; i++) { /* code and status may be anything */
		uint8_t bad[sizeof good];

		memcpy(bad, &good, sizeof good);
		bad[i] ^= 0x40;
		if (!CHECK(!chan_exit_parse(guarded(bad, sizeof bad), &x)))
			tap_note("byte %zu", i);
	}
}

TEST(a_fault_is_read_from_the_bytes_before_the_exit)
{
	struct {
		struct chan_head h;
		struct chan_fault f;
	} good = {.h = {.len = sizeof(struct chan_fault), .type = CHAN_FAULT, .call = 3}, .f = {.nr = 257, .arch = 7}};
	struct chan_fault f = {0};

	CHECK_EQ(sizeof good, CHAN_FAULT_BYTES);
	CHECK(chan_fault_parse(guarded(&good, sizeof good), &f));
	CHECK_EQ(f.nr, 257);
	CHECK_EQ(f.arch, 7);
	good.h.type = CHAN_DATA;
	CHECK(!chan_fault_parse(guarded(&good, sizeof good), &f));
}

struct restore_bytes {
	struct chan_restore fixed;
	char env[64];
};

static const struct restore_bytes good_restore = {
	.fixed = {.generation = 7, .elapsed_ns = 5, .memory_mb = 512, .env_len = 12, .clone_id = "0123456789af"},
	.env = "A=b\0KEY=x=y\0",
};

static int parse_restore(const struct restore_bytes *b, size_t len, struct chan_restore_view *v)
{
	return chan_restore_parse(guarded(b, len), len, v);
}

TEST(a_restore_is_read_with_its_environment_string_by_string)
{
	const size_t whole = sizeof good_restore.fixed + 12;
	struct restore_bytes b = good_restore;
	struct chan_restore_view v = {0};
	size_t at = 0;

	REQUIRE(parse_restore(&b, whole, &v) == 0);
	CHECK_EQ(v.fixed.generation, 7);
	CHECK_STREQ(v.fixed.clone_id, "0123456789af");
	CHECK_STREQ(chan_restore_env(&v, &at), "A=b");
	CHECK_STREQ(chan_restore_env(&v, &at), "KEY=x=y");
	CHECK(!chan_restore_env(&v, &at));
	CHECK(!chan_restore_env(&v, &at));
	for (size_t len = 0; len < whole; len++)
		CHECK_EQ(parse_restore(&b, len, &v), -EPROTO);
	CHECK_EQ(parse_restore(&b, whole + 1, &v), -EPROTO);
	b.fixed.env_len = at = 0; /* none */
	REQUIRE(parse_restore(&b, sizeof b.fixed, &v) == 0);
	CHECK(!chan_restore_env(&v, &at));
}

TEST(a_restore_that_says_what_cannot_be_is_refused)
{
	static const struct {
		size_t offset;
		uint8_t byte;
		int want;
	} cases[] = {
		{offsetof(struct chan_restore, elapsed_ns) + 7, 0x80, -EPROTO},
		{offsetof(struct chan_restore, flags), 2, -EPROTO},
		{offsetof(struct chan_restore, flags), CHAN_KEEP_SEEDS, 0},
		{offsetof(struct chan_restore, zero), 1, -EPROTO},
		{offsetof(struct chan_restore, env_len) + 3, 1, -EMSGSIZE},
		{offsetof(struct chan_restore, env_len), 11, -EPROTO},
		{offsetof(struct chan_restore, clone_id), 'A', -EPROTO},
		{offsetof(struct chan_restore, clone_id) + 11, 'g', -EPROTO},
		{offsetof(struct chan_restore, clone_id) + 11, '\0', -EPROTO},
		{offsetof(struct chan_restore, clone_id) + 12, '0', -EPROTO},
		{offsetof(struct chan_restore, clone_id) + 15, '0', -EPROTO},
		{offsetof(struct restore_bytes, env), '=', -EPROTO},      /* "==b" */
		{offsetof(struct restore_bytes, env) + 1, '_', -EPROTO},  /* "A_b" */
		{offsetof(struct restore_bytes, env) + 11, '_', -EPROTO}, /* not terminated */
		{offsetof(struct restore_bytes, env) + 3, '_', 0},        /* "A=b_KEY=x=y" */
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct restore_bytes b = good_restore;
		struct chan_restore_view v;

		((uint8_t *)&b)[cases[i].offset] = cases[i].byte;
		if (!CHECK_EQ(parse_restore(&b, sizeof b.fixed + 12, &v), cases[i].want))
			tap_note("case %zu", i);
	}
}

TEST(drawn_values_are_read_one_after_the_other)
{
	static const char bytes[] = "\4\2rand\0\1\1\3xabc";
	const size_t whole = sizeof bytes - 1;
	struct chan_drawn_view v = {0};
	size_t at = 0;

	REQUIRE(chan_drawn_next(guarded(bytes, whole), whole, &at, &v) == 1);
	CHECK_EQ(v.name_len, 4);
	CHECK_EQ(v.value_len, 2);
	CHECK_MEMEQ(v.name, "rand", 4);
	CHECK_MEMEQ(v.value, "\0\1", 2);
	REQUIRE(chan_drawn_next(guarded(bytes, whole), whole, &at, &v) == 1);
	CHECK_MEMEQ(v.name, "x", 1);
	CHECK_MEMEQ(v.value, "abc", 3);
	CHECK_EQ(chan_drawn_next(guarded(bytes, whole), whole, &at, &v), 0);
	for (size_t len = 1; len < whole; len++) { /* cut short, but for the end of the first */
		int r = 1;

		for (at = 0; r > 0;)
			r = chan_drawn_next(guarded(bytes, len), len, &at, &v);
		CHECK_EQ(r, len == 8 ? 0 : -EPROTO);
	}
}

TEST(drawn_values_have_a_name_that_can_be_printed_and_are_bounded)
{
	static const struct {
		const char *bytes;
		int want;
	} cases[] = {
		{"\0\1x", -EPROTO},     {"\1\0x", -EPROTO},     {"\1\1 x", -EPROTO},   {"\1\1\nx", -EPROTO},
		{"\1\1\177x", -EPROTO}, {"\1\1\303x", -EPROTO}, {"\41\1x", -EMSGSIZE}, {"\1\41x", -EMSGSIZE},
		{"\1\2ax", -EPROTO},    {"\1\1~x", 1},
	};
	struct chan_drawn_view v;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		size_t len = 2 + strlen(cases[i].bytes + 2), at = 0;

		if (!CHECK_EQ(chan_drawn_next(guarded(cases[i].bytes, len), len, &at, &v), cases[i].want))
			tap_note("case %zu", i);
	}
}
