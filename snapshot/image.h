/* Private to snapshot/: CRIU's images as bytes. Nothing is read beyond what is given, nothing is believed: -EBADMSG on what
 * CRIU would not write. Which files there are, and what an answer means for the user, is image_detach()'s business.
 *
 * An image is 4 bytes that say which kind it is, before them 4 common ones (not in the inventory), then entries: a length
 * of 4 bytes, little-endian as everything, and a protobuf message (criu.org/Images). Only the fields that are named below
 * are looked at; all others are copied as they stand. */
#pragma once

#include "base/str.h"

/* The eight namespaces of a task: pid, net, ipc, uts, mount, user, cgroup, time. Fields 5 to 12 of the message that is the
 * entry of ids-PID.img, and field 3 of the inventory's for the CRIU that dumped. */
enum { IMAGE_NS = 8 };
struct image_ns {
	uint32_t id[IMAGE_NS];
	bool have[IMAGE_NS]; /* a kernel without time namespaces has no such field */
};

struct image_task {
	uint32_t pid, ppid; /* ppid 0: the root of the tree */
	size_t first, n;    /* of its threads in `tids`; the leader is one of them */
};
struct image_tree {
	struct image_task *tasks;
	size_t n_tasks;
	uint32_t *tids;
	size_t n_tids;
	uint32_t max_pid; /* of all numbers: pids, tids, process groups, sessions */
};
void image_tree_done(struct image_tree *t);

/* What seccomp.img says of all filters together. */
struct image_filters {
	size_t n;   /* one for each process that has some, even when they are equal */
	bool tsync; /* of each: installed for all threads of the process at once */
	bool same;  /* all equal, and none stands upon another */
};

NODISCARD int image_read_inventory(const void *data, size_t len, struct image_ns *ret);
NODISCARD int image_read_ids(const void *data, size_t len, struct image_ns *ret);
NODISCARD int image_read_tree(const void *data, size_t len, struct image_tree *ret);
NODISCARD int image_read_filters(const void *data, size_t len, struct image_filters *ret);

/* Appends ids-PID.img with its namespaces replaced by @to, which must have the same ones. */
NODISCARD int image_write_ids(const void *data, size_t len, const struct image_ns *to, struct buf *out);

/* Appends a seccomp.img that has none. */
NODISCARD int image_write_no_filters(struct buf *out);

/* Appends core-TID.img with the number of its filter replaced by 0. @leader: the thread's number is the process's. Checks
 * that the thread will have the filter: it names one of @f, or is not the leader and all are for all threads. */
NODISCARD int image_write_core(const void *data, size_t len, const struct image_filters *f, bool leader,
			       struct buf *out);

/* Appends files.img without the numbers of mounts. They are those of the dumped cell; CRIU looks for them where it makes a
 * deleted file again, and without one it takes the root that it lives in. */
NODISCARD int image_write_files(const void *data, size_t len, struct buf *out);
