#include "snapshot/image.h"

#include "base/mem.h"

#include <errno.h>

/* Which kind of image: the number after the common one. */
enum {
	MAGIC_COMMON = 0x54564319,
	MAGIC_INVENTORY = 0x58313116,
	MAGIC_PSTREE = 0x50273030,
	MAGIC_CORE = 0x55053847,
	MAGIC_IDS = 0x54432030,
	MAGIC_SECCOMP = 0x64413049,
	MAGIC_FILES = 0x56303138,
};

/* Fields of CRIU's messages, by their numbers. */
enum {
	INVENTORY_ROOT_IDS = 3,
	IDS_NS_FIRST = 5,
	IDS_NS_LAST = IDS_NS_FIRST + IMAGE_NS - 1,
	TREE_PID = 1,
	TREE_PPID = 2,
	TREE_SID = 4,
	TREE_THREADS = 5,
	CORE_TASK = 3,
	CORE_THREAD = 5,
	TASK_OLD_FILTER = 12, /* before CRIU 3.13 the filter was the process's */
	THREAD_SECCOMP_MODE = 11,
	THREAD_FILTER = 12,
	FILTERS_FILTER = 1,
	FILTER_CODE = 1,
	FILTER_PREV = 2,
	FILTER_FLAGS = 3,
	FILE_REG = 3,
	REG_MOUNT = 7,
};

enum {
	/* More than pid_max of a machine with up to 32 processors (proc(5)), and than any limit of a cell. */
	MAX_TIDS = 32768,
	/* A process has its filters once; processes are as many as tids. */
	MAX_FILTERS = MAX_TIDS,
	WIRE_VARINT = 0,
	WIRE_64 = 1,
	WIRE_BYTES = 2,
	WIRE_32 = 5,
};

struct span {
	const uint8_t *p;
	size_t n;
};

struct field {
	uint32_t number, type;
	uint64_t value;    /* WIRE_VARINT */
	struct span bytes; /* WIRE_BYTES */
	struct span whole; /* with its tag */
};

static uint32_t get_le32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static struct span take(struct span *s, size_t n)
{
	struct span r = {s->p, n};

	s->p += n;
	s->n -= n;
	return r;
}

/* protobuf.dev/programming-guides/encoding: 7 bits a byte, the lowest first; at most ten bytes for 64 bits. */
static bool take_varint(struct span *s, uint64_t *ret)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 64 && s->n; shift += 7) {
		uint8_t byte = *take(s, 1).p;

		if (shift == 63 && byte > 1)
			return false;
		v |= (uint64_t)(byte & 0x7f) << shift;
		if (byte < 0x80) {
			*ret = v;
			return true;
		}
	}
	return false;
}

/* 1: a field. 0: the end of the message. */
static int next_field(struct span *s, struct field *ret)
{
	struct field f = {.whole.p = s->p};
	uint64_t tag;
	size_t before = s->n;

	if (!s->n)
		return 0;
	if (!take_varint(s, &tag) || tag >> 3 == 0 || tag >> 32)
		return -EBADMSG;
	f.number = (uint32_t)(tag >> 3);
	f.type = tag & 7;
	switch (f.type) {
	case WIRE_VARINT:
		if (!take_varint(s, &f.value))
			return -EBADMSG;
		break;
	case WIRE_BYTES:
		if (!take_varint(s, &f.value) || f.value > s->n)
			return -EBADMSG;
		f.bytes = take(s, (size_t)f.value);
		break;
	case WIRE_64:
	case WIRE_32:
		f.bytes.n = f.type == WIRE_64 ? 8 : 4;
		if (s->n < f.bytes.n)
			return -EBADMSG;
		f.bytes = take(s, f.bytes.n);
		break;
	default: /* groups, which proto2 has and CRIU has not */
		return -EBADMSG;
	}
	f.whole.n = before - s->n;
	*ret = f;
	return 1;
}

/* A number of 32 bits, given once. */
static int once_u32(const struct field *f, bool *seen, uint32_t *ret)
{
	if (f->type != WIRE_VARINT || f->value > UINT32_MAX || *seen)
		return -EBADMSG;
	*seen = true;
	*ret = (uint32_t)f->value;
	return 0;
}

static int open_image(const void *data, size_t len, uint32_t magic, struct span *ret)
{
	struct span s = {data, len};

	if (magic != MAGIC_INVENTORY) {
		if (s.n < 4 || get_le32(take(&s, 4).p) != MAGIC_COMMON)
			return -EBADMSG;
	}
	if (s.n < 4 || get_le32(take(&s, 4).p) != magic)
		return -EBADMSG;
	*ret = s;
	return 0;
}

/* 1: an entry. 0: the end of the image. */
static int next_entry(struct span *s, struct span *ret)
{
	size_t n;

	if (!s->n)
		return 0;
	if (s->n < 4)
		return -EBADMSG;
	n = get_le32(take(s, 4).p);
	if (n > s->n)
		return -EBADMSG;
	*ret = take(s, n);
	return 1;
}

/* The one entry of an image that has one. */
static int only_entry(const void *data, size_t len, uint32_t magic, struct span *ret)
{
	struct span s, entry;
	int r = open_image(data, len, magic, &s);

	if (r < 0)
		return r;
	if (next_entry(&s, &entry) != 1 || s.n)
		return -EBADMSG;
	*ret = entry;
	return 0;
}

/* ---- Writing ---- */

static void put_varint(struct buf *out, uint64_t v)
{
	uint8_t bytes[10];
	size_t n = 0;

	do
		bytes[n++] = (uint8_t)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
	while (v >>= 7);
	buf_add(out, bytes, n);
}

static void put_number(struct buf *out, uint32_t field, uint64_t v)
{
	put_varint(out, (uint64_t)field << 3 | WIRE_VARINT);
	put_varint(out, v);
}

static void put_le32(struct buf *out, uint32_t v)
{
	const uint8_t bytes[4] = {(uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16), (uint8_t)(v >> 24)};

	buf_add(out, bytes, sizeof bytes);
}

/* An image of one entry. */
static int put_image(struct buf *out, uint32_t magic, const struct buf *message)
{
	if (message->failed || message->len > UINT32_MAX)
		return -ENOMEM;
	put_le32(out, MAGIC_COMMON);
	put_le32(out, magic);
	put_le32(out, (uint32_t)message->len);
	buf_add(out, message->data, message->len);
	return out->failed ? -ENOMEM : 0;
}

/* ---- Namespaces ---- */

static bool is_ns(const struct field *f)
{
	return f->number >= IDS_NS_FIRST && f->number <= IDS_NS_LAST;
}

static int read_ns(struct span message, struct image_ns *ret)
{
	struct image_ns ns = {0};
	struct field f;
	int r;

	while ((r = next_field(&message, &f)) > 0) {
		size_t i = f.number - IDS_NS_FIRST;

		if (is_ns(&f) && once_u32(&f, &ns.have[i], &ns.id[i]) < 0)
			return -EBADMSG;
	}
	if (r == 0)
		*ret = ns;
	return r;
}

int image_read_inventory(const void *data, size_t len, struct image_ns *ret)
{
	struct span s, ids = {0};
	struct field f;
	int r = only_entry(data, len, MAGIC_INVENTORY, &s);

	if (r < 0)
		return r;
	while ((r = next_field(&s, &f)) > 0) {
		if (f.number != INVENTORY_ROOT_IDS)
			continue;
		if (f.type != WIRE_BYTES || ids.p)
			return -EBADMSG;
		ids = f.bytes;
	}
	if (r < 0 || !ids.p)
		return -EBADMSG;
	return read_ns(ids, ret);
}

int image_read_ids(const void *data, size_t len, struct image_ns *ret)
{
	struct span s;
	int r = only_entry(data, len, MAGIC_IDS, &s);

	return r < 0 ? r : read_ns(s, ret);
}

int image_write_ids(const void *data, size_t len, const struct image_ns *to, struct buf *out)
{
	AUTO(buf_done) struct buf message = {0};
	struct image_ns was;
	struct field f;
	struct span s;
	int r = image_read_ids(data, len, &was);

	if (r < 0)
		return r;
	if (memcmp(was.have, to->have, sizeof was.have) != 0)
		return -EBADMSG;
	r = only_entry(data, len, MAGIC_IDS, &s);
	while (r >= 0 && (r = next_field(&s, &f)) > 0) {
		if (is_ns(&f))
			put_number(&message, f.number, to->id[f.number - IDS_NS_FIRST]);
		else
			buf_add(&message, f.whole.p, f.whole.n);
	}
	return r < 0 ? r : put_image(out, MAGIC_IDS, &message);
}

/* ---- Tree ---- */

void image_tree_done(struct image_tree *t)
{
	free(t->tasks);
	free(t->tids);
	*t = (struct image_tree){0};
}

/* Room for one more in an array that doubles; at most MAX_TIDS of them. */
static int room(void **array, size_t n, size_t size)
{
	void *p;

	if (n >= MAX_TIDS)
		return -EBADMSG;
	if (n & (n - 1)) /* grows at 0, 1, 2, 4, … */
		return 0;
	p = reallocarray(*array, n ? n * 2 : 1, size);
	if (!p)
		return -ENOMEM;
	*array = p;
	return 0;
}

static int add_tid(struct image_tree *t, uint64_t tid)
{
	void *tids = t->tids;
	int r;

	if (tid == 0 || tid > INT32_MAX)
		return -EBADMSG;
	r = room(&tids, t->n_tids, sizeof *t->tids);
	t->tids = tids;
	if (r < 0)
		return r;
	t->tids[t->n_tids++] = (uint32_t)tid;
	return 0;
}

/* Repeated numbers come one a field, or packed as bytes (proto2 may write either, readers take both). */
static int add_threads(struct image_tree *t, const struct field *f)
{
	struct span s = f->bytes;
	uint64_t tid;
	int r = 0;

	if (f->type == WIRE_VARINT)
		return add_tid(t, f->value);
	if (f->type != WIRE_BYTES)
		return -EBADMSG;
	while (r == 0 && s.n)
		r = take_varint(&s, &tid) ? add_tid(t, tid) : -EBADMSG;
	return r;
}

static void see(struct image_tree *t, uint32_t pid)
{
	if (pid > t->max_pid)
		t->max_pid = pid;
}

static int read_task(struct image_tree *t, struct span message, struct image_task *task)
{
	uint32_t numbers[TREE_SID + 1] = {0};
	bool seen[TREE_SID + 1] = {0}, leader = false;
	struct field f;
	int r;

	task->first = t->n_tids;
	while ((r = next_field(&message, &f)) > 0) {
		if (f.number == TREE_THREADS)
			r = add_threads(t, &f);
		else if (f.number >= TREE_PID && f.number <= TREE_SID)
			r = once_u32(&f, &seen[f.number], &numbers[f.number]);
		if (r < 0)
			return r;
	}
	if (r < 0)
		return r;
	task->n = t->n_tids - task->first;
	task->pid = numbers[TREE_PID];
	task->ppid = numbers[TREE_PPID];
	for (size_t i = TREE_PID; i <= TREE_SID; i++) {
		if (!seen[i] || numbers[i] > INT32_MAX)
			return -EBADMSG;
		see(t, numbers[i]);
	}
	for (size_t i = task->first; i < t->n_tids; i++) {
		see(t, t->tids[i]);
		leader = leader || t->tids[i] == task->pid;
	}
	return task->pid && leader ? 0 : -EBADMSG;
}

static int read_tasks(struct span s, struct image_tree *t)
{
	struct span entry;
	size_t roots = 0;
	int r;

	while ((r = next_entry(&s, &entry)) > 0) {
		void *tasks = t->tasks;

		r = room(&tasks, t->n_tasks, sizeof *t->tasks);
		t->tasks = tasks;
		if (r < 0)
			return r;
		t->tasks[t->n_tasks] = (struct image_task){0};
		r = read_task(t, entry, &t->tasks[t->n_tasks]);
		if (r < 0)
			return r;
		roots += t->tasks[t->n_tasks++].ppid == 0;
	}
	/* CRIU writes the root first, as it reads the tree in this order. */
	return r == 0 && roots == 1 && t->tasks[0].ppid == 0 ? 0 : -EBADMSG;
}

int image_read_tree(const void *data, size_t len, struct image_tree *ret)
{
	struct image_tree t = {0};
	struct span s;
	int r = open_image(data, len, MAGIC_PSTREE, &s);

	if (r == 0)
		r = read_tasks(s, &t);
	if (r < 0)
		image_tree_done(&t);
	else
		*ret = t;
	return r;
}

/* ---- Filters ---- */

struct filter {
	struct span code;
	uint32_t prev, flags;
	bool has_prev, has_flags;
};

static int read_filter(struct span message, struct filter *ret)
{
	struct filter x = {0};
	struct field f;
	int r;

	while ((r = next_field(&message, &f)) > 0) {
		if (f.number == FILTER_CODE) {
			if (f.type != WIRE_BYTES || x.code.p)
				return -EBADMSG;
			x.code = f.bytes;
		} else if (f.number == FILTER_PREV) {
			r = once_u32(&f, &x.has_prev, &x.prev);
		} else if (f.number == FILTER_FLAGS) {
			r = once_u32(&f, &x.has_flags, &x.flags);
		}
		if (r < 0)
			return r;
	}
	if (r < 0 || !x.code.p)
		return -EBADMSG;
	*ret = x;
	return 0;
}

int image_read_filters(const void *data, size_t len, struct image_filters *ret)
{
	struct image_filters all = {.tsync = true, .same = true};
	struct filter first = {0}, x;
	struct field f;
	struct span s;
	int r = only_entry(data, len, MAGIC_SECCOMP, &s);

	while (r >= 0 && (r = next_field(&s, &f)) > 0) {
		if (f.number != FILTERS_FILTER)
			continue;
		if (f.type != WIRE_BYTES || all.n >= MAX_FILTERS || read_filter(f.bytes, &x) < 0)
			return -EBADMSG;
		if (all.n++ == 0)
			first = x;
		all.same = all.same && !x.has_prev && x.code.n == first.code.n &&
			   memcmp(x.code.p, first.code.p, x.code.n) == 0;
		all.tsync = all.tsync && (x.flags & 1); /* SECCOMP_FILTER_FLAG_TSYNC */
	}
	if (r < 0)
		return r;
	*ret = all;
	return 0;
}

int image_write_no_filters(struct buf *out)
{
	const struct buf none = {.data = NULL};

	return put_image(out, MAGIC_SECCOMP, &none);
}

/* The part of a core that is the thread's own; its filter becomes number 0. */
static int write_thread(struct span message, const struct image_filters *known, bool leader, struct buf *out)
{
	bool has_mode = false, has_filter = false;
	uint32_t mode = 0, filter = 0;
	struct field f;
	int r;

	while ((r = next_field(&message, &f)) > 0) {
		if (f.number == THREAD_SECCOMP_MODE)
			r = once_u32(&f, &has_mode, &mode);
		if (f.number == THREAD_FILTER) {
			r = once_u32(&f, &has_filter, &filter);
			put_number(out, THREAD_FILTER, 0);
		} else {
			buf_add(out, f.whole.p, f.whole.n);
		}
		if (r < 0)
			return r;
	}
	if (r < 0)
		return r;
	if (has_filter)
		return mode == 2 && filter < known->n ? 0 : -EBADMSG; /* SECCOMP_MODE_FILTER */
	if (mode != 0)
		return -EBADMSG;
	return known->n == 0 || (!leader && known->tsync) ? 0 : -EBADMSG;
}

static int check_task(struct span message)
{
	struct field f;
	int r;

	while ((r = next_field(&message, &f)) > 0) {
		if (f.number == TASK_OLD_FILTER)
			return -EBADMSG;
	}
	return r;
}

int image_write_core(const void *data, size_t len, const struct image_filters *known, bool leader, struct buf *out)
{
	AUTO(buf_done) struct buf message = {0};
	AUTO(buf_done) struct buf thread = {0};
	bool seen = false;
	struct field f;
	struct span s;
	int r = only_entry(data, len, MAGIC_CORE, &s);

	while (r >= 0 && (r = next_field(&s, &f)) > 0) {
		if (f.number == CORE_TASK && (f.type != WIRE_BYTES || check_task(f.bytes) < 0))
			return -EBADMSG;
		if (f.number != CORE_THREAD) {
			buf_add(&message, f.whole.p, f.whole.n);
			continue;
		}
		if (f.type != WIRE_BYTES || seen)
			return -EBADMSG;
		seen = true;
		r = write_thread(f.bytes, known, leader, &thread);
		if (thread.failed)
			r = -ENOMEM;
		put_varint(&message, CORE_THREAD << 3 | WIRE_BYTES);
		put_varint(&message, thread.len);
		buf_add(&message, thread.data, thread.len);
	}
	if (r < 0)
		return r;
	return seen ? put_image(out, MAGIC_CORE, &message) : -EBADMSG;
}

/* ---- Open files ---- */

static int write_reg(struct span message, struct buf *out)
{
	struct field f;
	int r;

	while ((r = next_field(&message, &f)) > 0) {
		if (f.number != REG_MOUNT)
			buf_add(out, f.whole.p, f.whole.n);
	}
	return r;
}

static int write_file(struct span message, struct buf *out)
{
	struct field f;
	int r;

	while ((r = next_field(&message, &f)) > 0) {
		AUTO(buf_done) struct buf reg = {0};

		if (f.number != FILE_REG) {
			buf_add(out, f.whole.p, f.whole.n);
			continue;
		}
		if (f.type != WIRE_BYTES)
			return -EBADMSG;
		r = write_reg(f.bytes, &reg);
		if (r < 0)
			return r;
		if (reg.failed)
			return -ENOMEM;
		put_varint(out, FILE_REG << 3 | WIRE_BYTES);
		put_varint(out, reg.len);
		buf_add(out, reg.data, reg.len);
	}
	return r;
}

int image_write_files(const void *data, size_t len, struct buf *out)
{
	struct span s, entry;
	int r = open_image(data, len, MAGIC_FILES, &s);

	if (r < 0)
		return r;
	put_le32(out, MAGIC_COMMON);
	put_le32(out, MAGIC_FILES);
	while ((r = next_entry(&s, &entry)) > 0) {
		AUTO(buf_done) struct buf message = {0};

		r = write_file(entry, &message);
		if (r < 0)
			return r;
		if (message.failed)
			return -ENOMEM;
		put_le32(out, (uint32_t)message.len);
		buf_add(out, message.data, message.len);
	}
	return r < 0 ? r : out->failed ? -ENOMEM : 0;
}
