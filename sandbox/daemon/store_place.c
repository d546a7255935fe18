#include "daemon/store_place.h"

#include "base/clock.h"

#include <sys/stat.h>

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool same(const struct store_place *a, const struct store_place *b)
{
	return a->looked && a->there == b->there && a->device == b->device && a->inode == b->inode &&
	       a->size == b->size && same_time(&a->modified, &b->modified) && same_time(&a->changed, &b->changed);
}

bool store_place_settled(struct store_place *p, const char *path, uint64_t now_ns)
{
	struct store_place now = {.looked = true, .since_ns = now_ns};
	uint64_t wanted_s = STORE_SETTLES_S;
	struct stat st;

	if (stat(path, &st) == 0) {
		now.there = true;
		now.device = st.st_dev;
		now.inode = st.st_ino;
		now.size = st.st_size;
		now.modified = st.st_mtim;
		now.changed = st.st_ctim;
		wanted_s = st.st_size > 0 ? STORE_SETTLES_S : STORE_STAYS_EMPTY_S;
	}
	if (!same(p, &now))
		*p = now;
	return now_ns - p->since_ns >= wanted_s * NS_PER_S;
}
