#include "cgroup/internal.h"

#include "sys/sys.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

enum { VALUE_ROOM = 4096 };

/* In the order in which they are written: v1's cpuset takes nobody in before it has both; a soft limit may not be above a
 * hard one, nor a quota below what its period allows. */
static const char *const files[] = {
	/* v2; controllers are handed down last */
	"cgroup.max.depth",
	"cgroup.max.descendants",
	"cpu.idle",
	"cpu.weight",
	"cpu.max",
	"cpu.max.burst",
	"io.weight",
	"io.max",
	"memory.max",
	"memory.high",
	"memory.low",
	"memory.min",
	"memory.swap.max",
	"memory.oom.group",
	"cgroup.freeze",
	/* v1 */
	"cpu.shares",
	"cpu.cfs_period_us",
	"cpu.cfs_quota_us",
	"blkio.weight",
	"memory.limit_in_bytes",
	"memory.soft_limit_in_bytes",
	/* both */
	"cpuset.cpus",
	"cpuset.mems",
	"pids.max",
	CG_CONTROL,
	NULL,
};
enum { N_FILES = ARRAY_LEN(files) - 1 };

const char *const *cg_nest_files(void)
{
	return files;
}

static int nest_fail(const struct cg_group *g, const struct cg_tree *t, const struct cg_nested *d, const char *file,
		     int code, const char *doing, struct err *e)
{
	return err_sys(e, code, "%s %s%s%s%s%s", doing, t->root, g->path, d->path, file[0] ? "/" : "", file);
}

/* ---- What is there ---- */

struct look {
	struct arena *a;
	struct cg_nest *to;
	size_t room, base; /* of @to; bytes of the container's own path */
	const char *tree;
	bool full;
};

static void take_values(struct look *l, struct cg_nested *d, int dir, bool all)
{
	UNINITIALIZED char text[VALUE_ROOM];

	for (size_t i = 0; i < N_FILES; i++) {
		ssize_t n = all || strcmp(files[i], CG_CONTROL) == 0 ? cg_read_at(dir, files[i], text, sizeof text) : 0;

		while (n > 0 && text[n - 1] == '\n')
			text[--n] = '\0';
		if (n <= 0 || (strcmp(files[i], "cpu.weight") == 0 && strcmp(text, "0") == 0)) /* it is cpu.idle's */
			continue;
		d->values[i] = arena_strdup(l->a, text);
		l->full |= !d->values[i];
	}
}

static void take_processes(struct look *l, struct cg_nested *d, int dir)
{
	AUTO_FD int fd = openat(dir, "cgroup.procs", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	AUTO_FREE char *text = NULL;
	size_t len, lines = 0;

	if (fd < 0 || fd_read_all(fd, CG_PROCS_MAX, &text, &len) < 0)
		return; /* a threaded group has no such list */
	for (size_t i = 0; i < len; i++)
		lines += text[i] == '\n';
	d->pids = arena_alloc(l->a, (lines + 1) * sizeof *d->pids);
	l->full |= !d->pids;
	for (const char *p = text; d->pids && d->n_pids < lines && sscanf(p, "%d", &d->pids[d->n_pids]) == 1;
	     p += strcspn(p, "\n") + 1)
		d->n_pids++;
}

static int take(struct look *l, int dir, bool below)
{
	struct cg_nested *d = &l->to->at[l->to->n];
	char via[32], full[VALUE_ROOM];
	struct stat st;
	ssize_t n;

	if (l->to->n == l->room)
		return -E2BIG; /* more are made than removed */
	(void)snprintf(via, sizeof via, "/proc/self/fd/%d", dir);
	n = readlink(via, full, sizeof full - 1);
	if (n < (ssize_t)l->base || fstat(dir, &st) < 0)
		return n < 0 ? -errno : -ENAMETOOLONG;
	full[n] = '\0';
	if (st.st_nlink == 0) /* removed under our eyes: the name would say so */
		return 0;
	*d = (struct cg_nested){.tree = l->tree, .uid = st.st_uid};
	d->path = arena_strdup(l->a, below ? full + l->base : "");
	d->values = arena_alloc(l->a, (N_FILES + 1) * sizeof *d->values);
	if (!d->path || !d->values)
		return -ENOMEM;
	take_values(l, d, dir, below);
	if (below)
		take_processes(l, d, dir);
	l->to->n++;
	return l->full ? -ENOMEM : 0;
}

static int visit_take(int parent, const char *name, int dirfd, void *arg)
{
	int r = take(arg, dirfd, true);

	(void)parent;
	(void)name;
	return r == -ENOENT || r == -ENODEV ? 0 : r; /* removed under our eyes */
}

static int visit_count(int parent, const char *name, int dirfd, void *arg)
{
	(void)parent;
	(void)name;
	(void)dirfd;
	++*(size_t *)arg;
	return 0;
}

static int look_at_tree(struct look *l, const struct cg_tree *t)
{
	struct cg_walk w = {.visit = visit_take, .arg = l};
	const size_t before = l->to->n;
	char via[32], full[VALUE_ROOM];
	ssize_t n;
	int r;

	(void)snprintf(via, sizeof via, "/proc/self/fd/%d", t->dir);
	n = readlink(via, full, sizeof full);
	if (n < 0)
		return -errno;
	l->base = (size_t)n;
	l->tree = t->v2 ? "" : t->controllers;
	r = cg_walk(t->dir, 0, &w);
	return r == 0 && t->v2 && l->to->n > before ? take(l, t->dir, false) : r;
}

int cg_nest_look(const struct cg_group *g, struct arena *a, struct cg_nest *ret, struct err *e)
{
	struct look l = {.a = a, .to = ret};
	size_t n = 0;
	int r = 0;

	*ret = (struct cg_nest){0};
	for (unsigned i = 0; r == 0 && i < g->n; i++) {
		struct cg_walk w = {.visit = visit_count, .arg = &n};

		r = fd_valid(g->trees[i].dir) ? cg_walk(g->trees[i].dir, 0, &w) : 0;
	}
	if (r == 0 && n == 0)
		return 0;
	l.room = 2 * n + 16;
	ret->at = arena_alloc(a, l.room * sizeof *ret->at);
	if (!ret->at)
		return err_oom(e);
	for (unsigned i = 0; r == 0 && i < g->n; i++)
		r = fd_valid(g->trees[i].dir) ? look_at_tree(&l, &g->trees[i]) : 0;
	return r < 0 ? err_sys(e, r, "looking at the groups below %s", g->path) : 0;
}

/* ---- Once more ---- */

static const struct cg_tree *tree_of(const struct cg_group *g, const struct cg_nested *d)
{
	for (unsigned i = 0; i < g->n; i++) {
		const struct cg_tree *t = &g->trees[i];

		if (fd_valid(t->dir) && (d->tree[0] ? !t->v2 && strcmp(t->controllers, d->tree) == 0 : t->v2))
			return t;
	}
	return NULL;
}

static int open_below(const struct cg_tree *t, const char *path, int flags)
{
	return sys_open_beneath(t->dir, path[0] ? path + 1 : ".", flags | O_DIRECTORY | O_CLOEXEC, 0);
}

bool cg_nest_is_path(const char *path)
{
	if (path[0] == '\0')
		return true;
	if (strlen(path) >= VALUE_ROOM)
		return false;
	for (const char *p = path; *p;) {
		const size_t n = *p == '/' ? strcspn(p + 1, "/") : 0;

		if (n == 0 || n > NAME_MAX || (n == 1 && p[1] == '.') || (n == 2 && p[1] == '.' && p[2] == '.'))
			return false;
		p += 1 + n;
	}
	return true;
}

/* The descriptor of the last part. One that was removed while the list was written is not on it, though another below
 * is. */
static int make_path(const struct cg_tree *t, const char *path)
{
	int at = openat(t->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (at < 0)
		return -errno;
	for (const char *p = path; at >= 0 && *p;) {
		const size_t n = strcspn(p + 1, "/");
		char part[NAME_MAX + 1];
		int next = 0;

		(void)snprintf(part, sizeof part, "%.*s", (int)n, p + 1);
		if (mkdirat(at, part, 0755) < 0 && errno != EEXIST)
			next = -errno;
		if (next == 0)
			next = sys_openat(at, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
		(void)close(at);
		at = next;
		p += 1 + n;
	}
	return at;
}

/* v1's directories are nobody else's: who has one there has no limits (cg_group_give()). */
static int make_dir(const struct cg_group *g, const struct cg_tree *t, const struct cg_nested *d, struct err *e)
{
	AUTO_FD int dir = FD_NONE;

	if (!cg_nest_is_path(d->path))
		return nest_fail(g, t, d, "", EINVAL, "making", e);
	dir = make_path(t, d->path);
	if (dir < 0)
		return nest_fail(g, t, d, "", dir, "making", e);
	if (d->uid == 0 || !t->v2)
		return 0;
	return cg_give_dir(dir, d->uid) < 0 ? nest_fail(g, t, d, "", EPERM, "giving away", e) : 0;
}

/* "cpu pids" is what is read, "+cpu +pids" what is written. */
static int hand_down(int dir, const char *value)
{
	char word[64];
	int r = 0;

	for (const char *p = value; r == 0 && *p; p += strspn(p, " ")) {
		const size_t n = strcspn(p, " ");
		const int len = snprintf(word, sizeof word, "+%.*s", (int)n, p);

		r = len < 0 || (size_t)len >= sizeof word ? -EINVAL : cg_write_at(dir, CG_CONTROL, word, (size_t)len);
		p += n;
	}
	return r;
}

/* Of a file with a line for each device they are written one by one. */
static int write_lines(int dir, const char *file, const char *value)
{
	int r = 0;

	for (const char *p = value; r == 0 && *p; p += *p == '\n') {
		const size_t n = strcspn(p, "\n");

		r = n > 0 ? cg_write_at(dir, file, p, n) : 0;
		p += n;
	}
	return r;
}

static int set_values(const struct cg_group *g, const struct cg_tree *t, const struct cg_nested *d, struct err *e)
{
	AUTO_FD int dir = open_below(t, d->path, O_PATH);

	if (dir < 0)
		return nest_fail(g, t, d, "", dir, "opening", e);
	for (size_t i = 0; i < N_FILES; i++) {
		const bool control = strcmp(files[i], CG_CONTROL) == 0;
		int r;

		if (!d->values[i] || (d->path[0] == '\0' && !control))
			continue;
		r = control ? hand_down(dir, d->values[i]) : write_lines(dir, files[i], d->values[i]);
		if (r < 0)
			return nest_fail(g, t, d, files[i], r, "writing", e);
	}
	return 0;
}

/* Who has died meanwhile needs no group. */
static int move_in(const struct cg_group *g, const struct cg_tree *t, const struct cg_nested *d, struct err *e)
{
	AUTO_FD int dir = open_below(t, d->path, O_PATH);
	char text[16];

	if (dir < 0)
		return nest_fail(g, t, d, "", dir, "opening", e);
	for (size_t i = 0; i < d->n_pids; i++) {
		int n = snprintf(text, sizeof text, "%d", d->pids[i]);
		int r = cg_write_at(dir, "cgroup.procs", text, (size_t)n);

		if (r < 0 && r != -ESRCH)
			return nest_fail(g, t, d, "cgroup.procs", r, "moving a process into", e);
	}
	return 0;
}

/* v1's groups have values of their own from the beginning, and cpuset needs its ones. */
int cg_nest_make(const struct cg_group *g, const struct cg_nest *n, struct err *e)
{
	int r = 0;

	for (size_t i = n->n; r == 0 && i-- > 0;) {
		const struct cg_tree *t = tree_of(g, &n->at[i]);

		if (!t || n->at[i].path[0] == '\0')
			continue;
		r = make_dir(g, t, &n->at[i], e);
		if (r == 0 && !t->v2)
			r = set_values(g, t, &n->at[i], e);
	}
	for (size_t i = 0; r == 0 && i < n->n; i++) {
		const struct cg_tree *t = tree_of(g, &n->at[i]);

		r = t && n->at[i].n_pids > 0 ? move_in(g, t, &n->at[i], e) : 0;
	}
	for (size_t i = n->n; r == 0 && i-- > 0;) {
		const struct cg_tree *t = tree_of(g, &n->at[i]);

		r = t && t->v2 ? set_values(g, t, &n->at[i], e) : 0;
	}
	return r;
}
