/* Tests as plain C programs that speak TAP (testanything.org, version 13).
 *
 *     #include "tests/lib/tap.h"
 *     TEST(spec_rejects_unknown_key_with_its_path) { CHECK(...); CHECK_EQ(a, b); CHECK_STREQ(a, "x"); }
 *
 * A TEST registers itself and main() is here: one including file per program (-DTAP_NO_MAIN for others). Tests run in the
 * order of the file, in one process; a program that dies is reported by tests/run.sh as a failure of the test that
 * was running. A CHECK that fails is printed, marks the test and goes on: it has the value false, so that
 * `if (!CHECK(p)) return;` is possible. REQUIRE returns from the (void) function, and AUTO variables are released.
 * SKIP("why") ends the test; with FSBOX_MUST_RUN=1 in the environment it is a failure. SKIP_HOST("why") is for what no
 * set-up
 * can give this machine, such as a feature that its kernel was built without: it stays a skip.
 *
 *     test_x              runs all        test_x -l    lists the names
 *     test_x PART...      runs those whose name contains one of the words */
#pragma once

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TAP_MAY_UNUSED __attribute__((unused))

struct tap_test {
	const char *name;
	void (*run)(void);
	struct tap_test *next;
};

/* The state of the program. A file compiled with TAP_NO_MAIN shares that of the file with main(). */
struct tap_state {
	struct tap_test *first, **last;
	bool failed;         /* the running test has failed */
	const char *skipped; /* the reason, when the running test has been skipped */
	bool host;           /* and it lies in the machine */
};

extern struct tap_state tap;

#ifndef TAP_NO_MAIN
struct tap_state tap;
#endif

#define TEST(id)                                                         \
	static void tap_run_##id(void);                                  \
	__attribute__((constructor)) static void tap_add_##id(void)      \
	{                                                                \
		static struct tap_test self = {#id, tap_run_##id, NULL}; \
		*(tap.last ? tap.last : &tap.first) = &self;             \
		tap.last = &self.next;                                   \
	}                                                                \
	static void tap_run_##id(void)

/* Prints a line of diagnosis under the running test. */
__attribute__((format(printf, 1, 2))) TAP_MAY_UNUSED static void tap_note(const char *fmt, ...)
{
	char text[4096], *line = text, *end;
	va_list ap;

	va_start(ap, fmt);
	if (vsnprintf(text, sizeof text, fmt, ap) < 0)
		text[0] = '\0';
	va_end(ap);
	while ((end = strchr(line, '\n'))) { /* each line is a comment of its own, or TAP would misread it */
		*end = '\0';
		printf("# %s\n", line);
		line = end + 1;
	}
	printf("# %s\n", line);
}

TAP_MAY_UNUSED static bool tap_check(bool ok, const char *file, int line, const char *what)
{
	if (!ok) {
		tap.failed = true;
		tap_note("%s:%d: failed: %s", file, line, what);
	}
	return ok;
}

TAP_MAY_UNUSED static bool tap_num(bool ok, intmax_t a, intmax_t b, const char *file, int line, const char *what)
{
	if (!tap_check(ok, file, line, what))
		tap_note("  left  %" PRIdMAX " (0x%" PRIxMAX ")\n  right %" PRIdMAX " (0x%" PRIxMAX ")", a,
			 (uintmax_t)a, b, (uintmax_t)b);
	return ok;
}

TAP_MAY_UNUSED static bool tap_str(bool ok, const char *a, const char *b, const char *file, int line, const char *what)
{
	if (!tap_check(ok, file, line, what))
		tap_note("  left  '%.1500s'\n  right '%.1500s'", a ? a : "(null)", b ? b : "(null)");
	return ok;
}

TAP_MAY_UNUSED static bool tap_mem(const void *a, const void *b, size_t len, const char *file, int line,
				   const char *what)
{
	const unsigned char *x = a, *y = b;

	for (size_t i = 0; i < len; i++) {
		if (x[i] != y[i]) {
			(void)tap_check(false, file, line, what);
			tap_note("  differ at byte %zu of %zu: 0x%02x, 0x%02x", i, len, x[i], y[i]);
			return false;
		}
	}
	return true;
}

TAP_MAY_UNUSED static bool tap_same(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

TAP_MAY_UNUSED static bool tap_contains(const char *hay, const char *needle)
{
	return hay && needle && strstr(hay, needle);
}

/* How many times longer things may take here than on a machine of one's own: tests/guest sets FSBOX_SLOWER. */
TAP_MAY_UNUSED static int slow(int n)
{
	const char *text = getenv("FSBOX_SLOWER");
	int factor = 0;

	for (; text && *text >= '0' && *text <= '9' && factor < 100; text++)
		factor = factor * 10 + (*text - '0');
	return factor > 0 ? n * factor : n;
}

#define CHECK(x) tap_check(!!(x), __FILE__, __LINE__, #x)

/* Numbers of any integer type, and pointers. */
#define TAP_NUM(a, op, b)                                                                                             \
	({                                                                                                            \
		__auto_type tap_a_ = (a);                                                                             \
		__auto_type tap_b_ = (b);                                                                             \
		tap_num((intmax_t)tap_a_ op(intmax_t) tap_b_, (intmax_t)tap_a_, (intmax_t)tap_b_, __FILE__, __LINE__, \
			#a " " #op " " #b);                                                                           \
	})
#define CHECK_EQ(a, b) TAP_NUM(a, ==, b)
#define CHECK_NE(a, b) TAP_NUM(a, !=, b)
#define CHECK_LT(a, b) TAP_NUM(a, <, b)
#define CHECK_LE(a, b) TAP_NUM(a, <=, b)
#define CHECK_GT(a, b) TAP_NUM(a, >, b)
#define CHECK_GE(a, b) TAP_NUM(a, >=, b)

#define TAP_STR(test, a, b, what)                                                        \
	({                                                                               \
		const char *tap_a_ = (a), *tap_b_ = (b);                                 \
		tap_str(test(tap_a_, tap_b_), tap_a_, tap_b_, __FILE__, __LINE__, what); \
	})
#define CHECK_STREQ(a, b)           TAP_STR(tap_same, a, b, #a " is the string " #b)
#define CHECK_STRNE(a, b)           TAP_STR(!tap_same, a, b, #a " is not the string " #b)
#define CHECK_CONTAINS(hay, needle) TAP_STR(tap_contains, hay, needle, #hay " contains " #needle)
#define CHECK_LACKS(hay, needle)    TAP_STR(!tap_contains, hay, needle, #hay " does not contain " #needle)
#define CHECK_MEMEQ(a, b, len)      tap_mem(a, b, len, __FILE__, __LINE__, #a " has the bytes of " #b)

/* @r is the result of a call that reports into the struct err at @e: success, or its message is printed. */
#define CHECK_OK(r, e)                                                          \
	({                                                                      \
		bool tap_ok_ = (r) >= 0;                                        \
		if (!tap_check(tap_ok_, __FILE__, __LINE__, #r " succeeds"))    \
			tap_note("  error '%s' at '%s'", (e)->msg, (e)->where); \
		tap_ok_;                                                        \
	})

#define REQUIRE(x)              \
	do {                    \
		if (!CHECK(x))  \
			return; \
	} while (0)
#define REQUIRE_OK(r, e)             \
	do {                         \
		if (!CHECK_OK(r, e)) \
			return;      \
	} while (0)

#define FAIL(...)                                               \
	do {                                                    \
		tap.failed = true;                              \
		tap_note("%s:%d: failed:", __FILE__, __LINE__); \
		tap_note("  " __VA_ARGS__);                     \
	} while (0)
#define SKIP(why)                    \
	do {                         \
		tap.skipped = (why); \
		return;              \
	} while (0)
#define SKIP_HOST(why)           \
	do {                     \
		tap.host = true; \
		SKIP(why);       \
	} while (0)

#ifndef TAP_NO_MAIN
static bool tap_wanted(const char *name, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (strstr(name, argv[i]))
			return true;
	}
	return argc <= 1;
}

static double tap_now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

/* Runs one test; false when it failed. */
static bool tap_run_one(const struct tap_test *t, unsigned number, bool must_run)
{
	double start = tap_now_ms();

	tap.failed = false;
	tap.skipped = NULL;
	tap.host = false;
	printf("# begin %u %s\n", number, t->name); /* lets run.sh name the test in which a program died */
	t->run();
	if (tap.skipped && must_run && !tap.host)
		tap.failed = true;
	printf("%s %u - %s", tap.failed ? "not ok" : "ok", number, t->name);
	if (tap.skipped && tap.failed)
		printf(" (skipped: %s)\n", tap.skipped);
	else if (tap.skipped)
		printf(" # SKIP %s%s\n", tap.host ? "host: " : "", tap.skipped);
	else
		printf(" (%.0f ms)\n", tap_now_ms() - start);
	return !tap.failed;
}

int main(int argc, char **argv)
{
	const char *must = secure_getenv("FSBOX_MUST_RUN");
	bool must_run = must && strcmp(must, "1") == 0;
	unsigned planned = 0, number = 0, failed = 0, skipped = 0;

	(void)setvbuf(stdout, NULL, _IOLBF, 0); /* a forked child must not inherit half a line */
	if (argc == 2 && strcmp(argv[1], "-l") == 0) {
		for (const struct tap_test *t = tap.first; t; t = t->next)
			puts(t->name);
		return 0;
	}
	for (const struct tap_test *t = tap.first; t; t = t->next)
		planned += tap_wanted(t->name, argc, argv);
	printf("1..%u\n", planned);
	for (const struct tap_test *t = tap.first; t; t = t->next) {
		if (!tap_wanted(t->name, argc, argv))
			continue;
		failed += !tap_run_one(t, ++number, must_run);
		skipped += tap.skipped && !tap.failed;
	}
	if (failed)
		return 1;
	return planned && skipped == planned ? 77 : 0; /* 77: nothing but skips, as automake's harness has it */
}
#endif
