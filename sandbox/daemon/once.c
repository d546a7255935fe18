#include "daemon/once.h"

#include <assert.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>

enum {
	VERSION = 2,
	SETS = ONCE_ENTRIES / ONCE_WAYS,
	MAX_ID = 4096, /* ids are checked long before; what is longer is an error of ours */
};

/* `stamp` is the last word to be written: 0 for an empty place, else the order of beginning << 2 | state. The order comes
 * from a counter, so that a clock that jumps cannot make the newest the oldest. */
struct slot {
	uint64_t hash[2];
	uint32_t begun_s, uid;
	_Atomic uint64_t stamp;
};

#define STATE(stamp) ((unsigned)((stamp)&3))
#define ORDER(stamp) ((stamp) >> 2)

struct head {
	char magic[8];
	uint32_t version, entries, slot_bytes, ways;
	unsigned char key[16];
	unsigned char check[16]; /* of all before, under that key */
	uint64_t order;          /* the last one given out; found again from the slots when the file is opened */
};

struct once_file {
	struct head head;
	unsigned char unused[4096 - sizeof(struct head)];
	struct slot slots[SETS][ONCE_WAYS];
};
_Static_assert(offsetof(struct once_file, slots) == 4096, "sets lie on lines of the cache");
_Static_assert(sizeof(struct slot) == 32 && ATOMIC_LLONG_LOCK_FREE == 2, "a stamp is one store");

static const char magic[8] = {'f', 's', 'b', 'o', 'x', 'o', 'n', 'c'};

/* ---- The file ---- */

static void make_check(const struct head *h, unsigned char out[static 16])
{
	once_siphash(h->key, h, offsetof(struct head, check), out);
}

/* What is wrong with the slots, or NULL: each must be empty, or in the set that its hash says, with a state there is. */
static const char *look_at_slots(struct once_file *f)
{
	uint64_t order = 0;

	for (size_t set = 0; set < SETS; set++) {
		for (size_t way = 0; way < ONCE_WAYS; way++) {
			struct slot *s = &f->slots[set][way];
			uint64_t stamp = atomic_load_explicit(&s->stamp, memory_order_relaxed);

			if (stamp == 0)
				continue;
			if ((STATE(stamp) != ONCE_BEGUN && STATE(stamp) != ONCE_DONE) || s->hash[0] % SETS != set)
				return "an entry is damaged";
			if (ORDER(stamp) > order)
				order = ORDER(stamp);
		}
	}
	f->head.order = order;
	return NULL;
}

static const char *look_at(struct once_file *f)
{
	unsigned char check[16];

	if (memcmp(f->head.magic, magic, sizeof magic) != 0)
		return "it is no table of invocations";
	if (f->head.version != VERSION)
		return "it has another version";
	make_check(&f->head, check);
	if (memcmp(check, f->head.check, sizeof check) != 0 || f->head.entries != ONCE_ENTRIES ||
	    f->head.slot_bytes != sizeof(struct slot) || f->head.ways != ONCE_WAYS)
		return "its head is damaged";
	return look_at_slots(f);
}

static int map_file(struct once *o, struct err *e)
{
	/* Its pages come into being here: a full tmpfs is an error now, not a SIGBUS at some call later. */
	int r = posix_fallocate(o->fd, 0, sizeof(struct once_file));
	void *map;

	if (r != 0)
		return err_sys(e, r, "table of invocations: making room for %zu bytes", sizeof(struct once_file));
	map = mmap(NULL, sizeof(struct once_file), PROT_READ | PROT_WRITE, MAP_SHARED, o->fd, 0);
	if (map == MAP_FAILED)
		return err_sys(e, errno, "table of invocations: mapping it");
	o->map = map;
	return 0;
}

/* In place, so that the lock holds. The magic is written last: a kill before that leaves a file that is made anew. */
static int make_anew(struct once *o, struct err *e)
{
	struct head head = {
		.version = VERSION,
		.entries = ONCE_ENTRIES,
		.slot_bytes = sizeof(struct slot),
		.ways = ONCE_WAYS,
	};
	int r;

	if (o->map)
		(void)munmap(o->map, sizeof *o->map);
	o->map = NULL;
	if (ftruncate(o->fd, 0) < 0)
		return err_sys(e, errno, "table of invocations: emptying it");
	r = map_file(o, e);
	if (r < 0)
		return r;
	if (getrandom(head.key, sizeof head.key, 0) != sizeof head.key)
		return err_sys(e, errno, "table of invocations: drawing its key");
	memcpy(head.magic, magic, sizeof magic);
	make_check(&head, head.check);
	memcpy(&o->map->head.version, &head.version, sizeof head - sizeof head.magic);
	atomic_signal_fence(memory_order_seq_cst);
	memcpy(o->map->head.magic, magic, sizeof magic);
	return 0;
}

/* Locked, and still the file of this name: whoever makes one anew may have put another in its place. */
static int open_locked(struct once *o, const char *path, int flags, struct stat *ret_st, struct err *e)
{
	struct stat named;

	o->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | flags, 0600);
	if (!fd_valid(o->fd))
		return err_sys(e, errno, "table of invocations: opening it");
	if (flock(o->fd, LOCK_EX | LOCK_NB) < 0)
		return err_set(e, errno == EWOULDBLOCK ? ERR_BUSY : ERR_SYSTEM, EBUSY,
			       "table of invocations: another daemon uses it");
	if (fstat(o->fd, ret_st) < 0)
		return err_sys(e, errno, "table of invocations: looking at it");
	if (fstatat(AT_FDCWD, path, &named, AT_SYMLINK_NOFOLLOW) < 0 || named.st_ino != ret_st->st_ino ||
	    named.st_dev != ret_st->st_dev)
		return err_set(e, ERR_BUSY, EBUSY, "table of invocations: another daemon has just replaced it");
	return 0;
}

/* Why the name's file cannot be ours, in words, or NULL. */
static const char *stranger(const struct stat *st)
{
	if (!S_ISREG(st->st_mode))
		return "it is no regular file";
	return st->st_uid == geteuid() ? NULL : "it belongs to another user";
}

static int open_file(struct once *o, const char *path, struct stat *ret_st, struct err *e)
{
	struct stat st;
	const char *why;
	int r;

	if (fstatat(AT_FDCWD, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return open_locked(o, path, 0, ret_st, e);
	why = stranger(&st);
	if (!why) {
		r = open_locked(o, path, 0, ret_st, e);
		if (r < 0)
			return r;
		why = stranger(ret_st); /* what was looked at before may have been replaced since */
		if (!why)
			return 0;
		fd_closep(&o->fd);
	}
	(void)snprintf(o->note, sizeof o->note, "made anew: %s", why);
	if (unlinkat(AT_FDCWD, path, 0) < 0)
		return err_sys(e, errno, "table of invocations: %s, and removing it", why);
	return open_locked(o, path, O_EXCL, ret_st, e);
}

static int open_table(struct once *o, const char *path, struct err *e)
{
	const char *why = NULL;
	struct stat st = {0};
	int r = open_file(o, path, &st, e);

	if (r < 0)
		return r;
	if (st.st_size == 0)
		return make_anew(o, e);
	if (st.st_size != sizeof(struct once_file)) {
		why = "it has another size";
	} else {
		r = map_file(o, e);
		if (r < 0)
			return r;
		why = look_at(o->map);
	}
	if (!why)
		return 0;
	(void)snprintf(o->note, sizeof o->note, "made anew: %s", why);
	return make_anew(o, e);
}

int once_open(struct once *o, const char *path, struct err *e)
{
	int r;

	*o = (struct once){.fd = FD_NONE};
	r = open_table(o, path, e);
	if (r < 0) {
		(void)err_where(e, r, "%s", path);
		once_close(o);
	}
	return r;
}

void once_close(struct once *o)
{
	if (o->map)
		(void)munmap(o->map, sizeof *o->map);
	o->map = NULL;
	fd_closep(&o->fd);
}

/* ---- Entries ---- */

/* The set of an invocation; @hash is its name there. */
static struct slot *set_of(const struct once *o, uid_t uid, const char *id, uint64_t hash[static 2])
{
	unsigned char text[16 + MAX_ID], out[16];
	size_t n = strnlen(id, MAX_ID);
	int head = snprintf((char *)text, 16, "%u", (unsigned)uid);

	assert(id[n] == '\0' && head > 0 && head < 16);
	memcpy(text + head + 1, id, n); /* behind the number's 0 byte */
	once_siphash(o->map->head.key, text, (size_t)head + 1 + n, out);
	memcpy(hash, out, sizeof out);
	return o->map->slots[hash[0] % SETS];
}

static uint64_t stamp_of(const struct slot *s)
{
	return atomic_load_explicit(&s->stamp, memory_order_relaxed);
}

static struct slot *find(const struct once *o, uid_t uid, const char *id)
{
	uint64_t hash[2];
	struct slot *set = set_of(o, uid, id, hash);

	for (size_t i = 0; i < ONCE_WAYS; i++)
		if (stamp_of(&set[i]) != 0 && set[i].hash[0] == hash[0] && set[i].hash[1] == hash[1])
			return &set[i];
	return NULL;
}

static unsigned places_of(const struct slot *set, uint32_t uid)
{
	unsigned n = 0;

	for (size_t i = 0; i < ONCE_WAYS; i++)
		n += set[i].uid == uid;
	return n;
}

enum rank { LONG_AGO, ENDED, RUNS };

static enum rank rank_of(const struct slot *s, uint64_t now_s)
{
	if (now_s >= (uint64_t)s->begun_s + ONCE_BEGUN_S)
		return LONG_AGO;
	return STATE(stamp_of(s)) == ONCE_DONE ? ENDED : RUNS;
}

/* Does @a give way before @b? Of those that ended one does whose user has most of the set, so that nobody's go because
 * others make many; else the oldest. */
static bool goes_before(const struct slot *set, const struct slot *a, const struct slot *b, uint64_t now_s)
{
	const enum rank rank = rank_of(a, now_s), other = rank_of(b, now_s);

	if (rank != other)
		return rank < other;
	if (rank == ENDED) {
		const unsigned n = places_of(set, a->uid), m = places_of(set, b->uid);

		if (n != m)
			return n > m;
	}
	return ORDER(stamp_of(a)) < ORDER(stamp_of(b));
}

/* An empty place, else the first to give way. */
static struct slot *victim(struct slot *set, uint64_t now_s)
{
	struct slot *best = &set[0];

	for (size_t i = 0; i < ONCE_WAYS; i++) {
		if (stamp_of(&set[i]) == 0)
			return &set[i];
		if (goes_before(set, &set[i], best, now_s))
			best = &set[i];
	}
	return best;
}

enum once_state once_look(const struct once *o, uid_t uid, const char *id)
{
	const struct slot *s = find(o, uid, id);

	return s ? (enum once_state)STATE(stamp_of(s)) : ONCE_NEW;
}

enum once_state once_begin(struct once *o, uid_t uid, const char *id, uint64_t now_s)
{
	enum once_state known = once_look(o, uid, id);
	uint64_t hash[2];
	struct slot *s;

	if (known != ONCE_NEW)
		return known;
	s = victim(set_of(o, uid, id, hash), now_s);
	/* Empty while it changes, so that a kill in the middle leaves no mixture of two. What a killed process has stored
	 * is in the file's pages; only the compiler's order counts. */
	atomic_store_explicit(&s->stamp, 0, memory_order_relaxed);
	atomic_signal_fence(memory_order_seq_cst);
	memcpy(s->hash, hash, sizeof hash);
	s->begun_s = (uint32_t)now_s;
	s->uid = uid;
	atomic_signal_fence(memory_order_seq_cst);
	atomic_store_explicit(&s->stamp, ++o->map->head.order << 2 | ONCE_BEGUN, memory_order_relaxed);
	atomic_signal_fence(memory_order_seq_cst); /* and before anything that the caller does next */
	return ONCE_NEW;
}

void once_done(struct once *o, uid_t uid, const char *id)
{
	struct slot *s = find(o, uid, id);

	if (s)
		atomic_store_explicit(&s->stamp, ORDER(stamp_of(s)) << 2 | ONCE_DONE, memory_order_relaxed);
}

void once_forget(struct once *o, uid_t uid, const char *id)
{
	struct slot *s = find(o, uid, id);

	if (s)
		atomic_store_explicit(&s->stamp, 0, memory_order_relaxed);
}
