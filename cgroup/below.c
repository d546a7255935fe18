/* What lies below a group that is a container's own: as deep and as wide as it liked to make it. Nothing here has a bound
 * that a hostile one could stay above, neither of depth nor of descriptors nor of stack. (cg_walk() has, for groups of
 * cells, who cannot make any.) */
#include "cgroup/internal.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define PATIENCE_NS (2 * NS_PER_S)
#define LONGEST_NS  (60 * NS_PER_S)

/* The next group below @dir from position *at on, which moves behind it; false when there is none. */
static bool next_below(int dir, off_t *at, char name[256])
{
	union {
		struct dirent64 first;
		char bytes[2048];
	} buf;
	ssize_t n;

	if (lseek(dir, *at, SEEK_SET) < 0)
		return false;
	while ((n = getdents64(dir, buf.bytes, sizeof buf)) > 0)
		for (ssize_t i = 0; i < n;) {
			const struct dirent64 *d = (const struct dirent64 *)(const void *)(buf.bytes + i);

			i += d->d_reclen;
			*at = d->d_off;
			if (d->d_type != DT_DIR || strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
				continue;
			str_copy(name, 256, d->d_name);
			return true;
		}
	return false;
}

static int move_to(int *dir, const char *name)
{
	int fd = openat(*dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	fd_closep(dir);
	*dir = fd;
	return 0;
}

/* Positions in the groups above, to go on from. */
struct above {
	off_t *at;
	size_t n, room;
};

static int push(struct above *a, off_t at)
{
	if (a->n == a->room) {
		off_t *more = reallocarray(a->at, a->room + 64, sizeof *more);

		if (!more)
			return -ENOMEM;
		a->at = more;
		a->room += 64;
	}
	a->at[a->n++] = at;
	return 0;
}

int cg_visit(int top, int (*fn)(int dir, void *arg), void *arg)
{
	AUTO_FD int dir = openat(top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* @top may be O_PATH */
	struct above above = {0};
	char name[256];
	off_t at = 0;
	int r = dir < 0 ? -errno : fn(dir, arg);

	while (r == 0) {
		if (next_below(dir, &at, name)) {
			r = push(&above, at);
			if (r == 0)
				r = move_to(&dir, name);
			if (r == -ENOENT) { /* removed meanwhile */
				above.n--;
				r = 0;
				continue;
			}
			at = 0;
			r = r == 0 ? fn(dir, arg) : r;
		} else if (above.n > 0) {
			at = above.at[--above.n];
			r = move_to(&dir, "..");
		} else {
			break;
		}
	}
	free(above.at);
	return r;
}

/* ---- Removing ---- */

/* Down to a group with none below it, which is removed, and up again. 0 when all below @top are gone; -EBUSY at one with
 * processes. *ret_any: some were removed. */
static int remove_below(int top, bool *ret_any)
{
	AUTO_FD int dir = openat(top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char name[256], ignored[256];
	size_t depth = 0;
	int r = dir < 0 ? -errno : 0;

	while (r == 0) {
		if (!next_below(dir, &(off_t){0}, name)) {
			if (depth-- == 0)
				return 0;
			r = move_to(&dir, "..");
		} else if (unlinkat(dir, name, AT_REMOVEDIR) == 0 || errno == ENOENT) {
			*ret_any = true;
		} else if (errno != EBUSY) {
			r = -errno;
		} else {
			r = move_to(&dir, name);
			depth++;
			if (r == 0 && !next_below(dir, &(off_t){0}, ignored))
				return -EBUSY;
		}
	}
	return r;
}

/* As long as it gets on, and then for the last process. */
static int remove_tree(const struct cg_group *g, const struct cg_tree *t, uint64_t start)
{
	char full[CG_FULL_PATH_MAX + 64];

	(void)snprintf(full, sizeof full, "%s%s", t->root, g->path);
	for (uint64_t pause = NS_PER_MS / 20;; pause = pause < 5 * NS_PER_MS ? pause * 2 : pause) {
		bool any = false;

		if (rmdir(full) == 0 || errno == ENOENT)
			return 0;
		if (errno != EBUSY)
			return -errno;
		if (remove_below(t->dir, &any) == 0 && (rmdir(full) == 0 || errno == ENOENT))
			return 0;
		if (clock_mono_ns() - start > (any ? LONGEST_NS : PATIENCE_NS))
			return -EBUSY;
		if (!any)
			cg_pause_until(clock_mono_ns() + pause);
	}
}

int cg_group_remove(struct cg_group *g, struct err *e)
{
	int first = 0;

	if (strcmp(g->path, "/") == 0)
		return 0;
	for (unsigned i = 0; i < g->n; i++) {
		struct cg_tree *t = &g->trees[i];
		int r = fd_valid(t->dir) ? remove_tree(g, t, clock_mono_ns()) : 0;

		if (r == 0)
			fd_closep(&t->dir);
		else if (first == 0)
			first = cg_tree_fail(g, t, "", r, "removing cgroup", e);
	}
	return first;
}
