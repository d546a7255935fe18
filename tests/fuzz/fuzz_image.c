/* CRIU's images, read and rewritten. Input: an image; its magic numbers choose what happens.
 *
 * Properties: nothing is read beyond the end; an answer is success, "not an image" or no memory; what is written reads as
 * what was asked for; writing it once more changes nothing. */
#include "snapshot/image.h"

#include "base/mem.h"

#include <errno.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

static bool accepted(int r)
{
	must(r == 0 || r == -EBADMSG);
	return r == 0;
}

static void check_ids(const uint8_t *data, size_t size)
{
	AUTO(buf_done) struct buf once = {0};
	AUTO(buf_done) struct buf twice = {0};
	struct image_ns was, now;

	if (!accepted(image_read_ids(data, size, &was)))
		return;
	for (size_t i = 0; i < IMAGE_NS; i++)
		was.id[i] = was.have[i] ? was.id[i] * 2654435761U + (uint32_t)i : 0;
	must(image_write_ids(data, size, &was, &once) == 0);
	must(image_read_ids(once.data, once.len, &now) == 0);
	must(memcmp(&was, &now, sizeof now) == 0);
	must(image_write_ids(once.data, once.len, &was, &twice) == 0);
	must(once.len == twice.len && memcmp(once.data, twice.data, once.len) == 0);
}

static void check_core(const uint8_t *data, size_t size, bool leader)
{
	const struct image_filters f = {.n = 3, .tsync = true, .same = true};
	AUTO(buf_done) struct buf once = {0};
	AUTO(buf_done) struct buf twice = {0};

	if (!accepted(image_write_core(data, size, &f, leader, &once)))
		return;
	must(image_write_core(once.data, once.len, &f, leader, &twice) == 0);
	must(once.len == twice.len && memcmp(once.data, twice.data, once.len) == 0);
}

static void check_tree(const uint8_t *data, size_t size)
{
	struct image_tree t = {0};
	size_t tids = 0;

	if (!accepted(image_read_tree(data, size, &t)))
		return;
	must(t.n_tasks > 0 && t.tasks[0].ppid == 0);
	for (size_t i = 0; i < t.n_tasks; i++) {
		must(t.tasks[i].first == tids && t.tasks[i].n > 0 && t.tasks[i].pid <= t.max_pid);
		must((t.tasks[i].ppid == 0) == (i == 0));
		tids += t.tasks[i].n;
	}
	must(tids == t.n_tids);
	for (size_t i = 0; i < tids; i++)
		must(t.tids[i] > 0 && t.tids[i] <= t.max_pid);
	image_tree_done(&t);
}

static void check_files(const uint8_t *data, size_t size)
{
	AUTO(buf_done) struct buf once = {0};
	AUTO(buf_done) struct buf twice = {0};

	if (!accepted(image_write_files(data, size, &once)))
		return;
	must(once.len <= size);
	must(image_write_files(once.data, once.len, &twice) == 0);
	must(once.len == twice.len && memcmp(once.data, twice.data, once.len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct image_filters f;
	struct image_ns ns;

	(void)accepted(image_read_inventory(data, size, &ns));
	check_ids(data, size);
	check_core(data, size, true);
	check_core(data, size, false);
	check_tree(data, size);
	check_files(data, size);
	if (accepted(image_read_filters(data, size, &f)))
		must(f.n <= size);
	return 0;
}
