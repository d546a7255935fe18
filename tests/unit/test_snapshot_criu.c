/* Requests to CRIU for whole containers. */
#include "snapshot/snapshot.h"
#include "tests/lib/tap.h"

#include <stdlib.h>
#include <string.h>

/* A field of the message at [*at, end): its number, and its value or its bytes. False at the end. */
struct field {
	unsigned number;
	uint64_t value;
	const unsigned char *bytes;
	size_t len;
};

static uint64_t varint(const unsigned char **at)
{
	uint64_t v = 0;

	for (unsigned shift = 0;; shift += 7) {
		v |= (uint64_t)(**at & 0x7f) << shift;
		if (*(*at)++ < 0x80)
			return v;
	}
}

static bool next(const unsigned char **at, const unsigned char *end, struct field *f)
{
	uint64_t key;

	if (*at >= end)
		return false;
	key = varint(at);
	*f = (struct field){.number = (unsigned)(key >> 3)};
	f->value = varint(at);
	if ((key & 7) == 2) {
		f->bytes = *at;
		f->len = (size_t)f->value;
		*at += f->len;
	}
	return true;
}

/* The n-th field of that number in the options of a request. */
static bool option(const unsigned char *req, size_t len, unsigned number, unsigned n, struct field *ret)
{
	const unsigned char *at = req, *end = req + len, *in;
	struct field opts = {0};

	while (next(&at, end, &opts) && opts.number != 2)
		;
	in = opts.bytes;
	while (in && next(&in, opts.bytes + opts.len, ret))
		if (ret->number == number && n-- == 0)
			return true;
	return false;
}

static bool text_is(const struct field *f, const char *text)
{
	return f->bytes && f->len == strlen(text) && memcmp(f->bytes, text, f->len) == 0;
}

static const char *const externals[] = {"mnt[/etc/hosts]:/run/m3", "mnt[/proc/kcore]:/dev/null"};

static struct criu_job job(void)
{
	return (struct criu_job){
		.images = "/images",
		.images_fd = 7,
		.work = "/work",
		.log = "restore.log",
		.root = "/run/root",
		.tcp_established = true,
		.externals = externals,
		.n_externals = 2,
		.inherited = {{"pipe:[123]", 101}, {"file[1b:abc]", 102}},
		.n_inherited = 2,
		.status_fd = -1,
	};
}

TEST(a_request_to_restore_says_what_is_wanted)
{
	struct criu_job j = job();
	unsigned char buf[4096];
	size_t len = criu_restore_request(&j, 9, buf, sizeof buf);
	struct field f;

	REQUIRE(len > 0 && len < sizeof buf);
	CHECK_EQ(memcmp(buf, "\x08\x02", 2), 0); /* restore */
	REQUIRE(option(buf, len, 1, 0, &f));
	CHECK_EQ(f.value, 7);
	CHECK(!option(buf, len, 68, 0, &f)); /* not by name as well */
	REQUIRE(option(buf, len, 17, 0, &f));
	CHECK_EQ(f.value, 9);
	REQUIRE(option(buf, len, 13, 0, &f));
	CHECK(text_is(&f, "/run/root"));
	REQUIRE(option(buf, len, 5, 0, &f)); /* tcp_established */
	CHECK_EQ(f.value, 1);
	CHECK(!option(buf, len, 7, 0, &f));   /* shell_job */
	REQUIRE(option(buf, len, 26, 0, &f)); /* rst_sibling */
	REQUIRE(option(buf, len, 34, 0, &f)); /* cgroups: ignored */
	CHECK_EQ(f.value, 0);
	REQUIRE(option(buf, len, 37, 1, &f));
	CHECK(text_is(&f, externals[1]));
	CHECK(!option(buf, len, 37, 2, &f));
	REQUIRE(option(buf, len, 27, 1, &f));
	CHECK(text_is(&f, "\x0a\x0c"
			  "file[1b:abc]\x10\x66"));
	CHECK(!option(buf, len, 65, 0, &f));
	j.compat_mounts = true;
	len = criu_restore_request(&j, 9, buf, sizeof buf);
	CHECK(option(buf, len, 65, 0, &f));
}

TEST(a_request_that_does_not_fit_is_not_written_beyond_its_place)
{
	const struct criu_job j = job();
	size_t len = criu_restore_request(&j, 9, NULL, 0);

	for (size_t size = 0; size <= len; size += 7) {
		unsigned char *exact = malloc(size ? size : 1);

		CHECK_EQ(criu_restore_request(&j, 9, exact, size), len);
		free(exact);
	}
}

TEST(without_a_descriptor_images_are_named)
{
	struct criu_job j = job();
	unsigned char buf[4096];
	struct field f;
	size_t len;

	j.images_fd = -1;
	len = criu_restore_request(&j, 9, buf, sizeof buf);
	REQUIRE(option(buf, len, 68, 0, &f));
	CHECK(text_is(&f, "/images"));
	REQUIRE(option(buf, len, 1, 0, &f));
	CHECK_EQ(f.value, UINT64_MAX); /* -1 */
}
