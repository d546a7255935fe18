/* Groups of containers: found, made, entered, ended, removed. */
#include "cgroup/internal.h"

#include "base/clock.h"
#include "sys/sys.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>

#define FREEZE_PATIENCE_NS (10 * NS_PER_S)

int cg_tree_fail(const struct cg_group *g, const struct cg_tree *t, const char *file, int code, const char *doing,
		 struct err *e)
{
	return err_sys(e, code, "%s %s%s%s%s", doing, t->root, g->path, file[0] ? "/" : "", file);
}

bool cg_word_in(const char *list, const char *word)
{
	const size_t len = strlen(word);

	for (const char *p = list; *p;) {
		size_t n = strcspn(p, ", ");

		if (n == len && memcmp(p, word, len) == 0)
			return true;
		p += n;
		p += strspn(p, ", ");
	}
	return false;
}

const struct cg_tree *cg_group_tree(const struct cg_group *g, const char *controller)
{
	const struct cg_tree *v2 = NULL;

	for (unsigned i = 0; i < g->n; i++) {
		if (g->trees[i].v2)
			v2 = &g->trees[i];
		if (controller[0] && cg_word_in(g->trees[i].controllers, controller))
			return &g->trees[i];
	}
	if (controller[0])
		return NULL;
	return v2 || g->n == 0 ? v2 : &g->trees[0];
}

static void read_controllers(struct cg_tree *t)
{
	AUTO_FD int root = cg_open_dir(t->root, "/");

	if (!fd_valid(root) || cg_read_at(root, "cgroup.controllers", t->controllers, sizeof t->controllers) < 0)
		t->controllers[0] = '\0';
}

/* Absolute, and no part of it is empty, "." or "..": "/." would be the root under a name that nobody knows. */
static bool is_plain_path(const char *path)
{
	if (strcmp(path, "/") == 0)
		return true;
	for (const char *p = path; *p;) {
		const size_t n = *p == '/' ? strcspn(p + 1, "/") : 0;

		if (strcmp(p, "/") == 0)
			break; /* at the end it is nobody's mistake */
		if (n == 0 || (n <= 2 && strspn(p + 1, ".") >= n))
			return false;
		p += 1 + n;
	}
	return path[0] == '/' && !strchr(path, '\n');
}

int cg_group_find(const char *path, struct cg_group *ret, struct err *e)
{
	AUTO_FREE char *mounts = NULL;
	int r = cg_read_proc("/proc/self/mountinfo", &mounts, e);

	*ret = (struct cg_group){0};
	if (r < 0)
		return r;
	if (!is_plain_path(path) || strlen(path) >= sizeof ret->path)
		return err_set(e, ERR_SPEC, EINVAL, "cgroup path '%.200s' is not taken", path);
	(void)cg_concat(ret->path, sizeof ret->path, &path, 1);
	cg_trees_parse(mounts, ret);
	for (unsigned i = 0; i < ret->n; i++) {
		struct cg_tree *t = &ret->trees[i];

		t->dir = cg_open_dir(t->root, path);
		if (t->v2)
			read_controllers(t);
	}
	return 0;
}

void cg_group_close(struct cg_group *g)
{
	for (unsigned i = 0; i < g->n; i++)
		fd_closep(&g->trees[i].dir);
}

/* ---- Making ---- */

/* A new group of cpuset has neither CPUs nor memory nodes, and takes nobody in: it gets its parent's. */
static void inherit(int parent, int dir, const char *file)
{
	char text[1024];

	if (cg_read_at(dir, file, text, sizeof text) > 0)
		return;
	if (cg_read_at(parent, file, text, sizeof text) > 0)
		cg_try_write_at(dir, file, text, strlen(text));
}

/* What the root offers becomes available below: as far as the kernel lets us, since a limit that is then missing is an
 * error of its own, and one that nobody wants is none. */
static void enable(int dir)
{
	char have[256], word[40];

	if (cg_read_at(dir, "cgroup.controllers", have, sizeof have) <= 0)
		return;
	for (const char *p = have; *p;) {
		size_t n = strcspn(p, " ");

		if (n < sizeof word - 1) {
			(void)snprintf(word, sizeof word, "+%.*s", (int)n, p);
			cg_try_write_at(dir, CG_CONTROL, word, n + 1);
		}
		p += n;
		p += strspn(p, " ");
	}
}

static int make_below(const struct cg_tree *t, int *dir, const char *name)
{
	int fd;

	if (mkdirat(*dir, name, 0755) < 0 && errno != EEXIST)
		return -errno;
	fd = cg_open_child(*dir, name);
	if (fd < 0)
		return fd;
	if (cg_word_in(t->controllers, "cpuset") && !t->v2) {
		inherit(*dir, fd, "cpuset.cpus");
		inherit(*dir, fd, "cpuset.mems");
	}
	fd_closep(dir);
	*dir = fd;
	return 0;
}

static int make_tree(const struct cg_group *g, struct cg_tree *t)
{
	AUTO_FD int dir = cg_open_dir(t->root, "/");
	char name[256];
	int r = dir < 0 ? dir : 0;

	for (const char *p = g->path; r == 0 && *p;) {
		size_t n;

		p += strspn(p, "/");
		n = strcspn(p, "/");
		if (n == 0)
			break;
		if (n >= sizeof name)
			return -ENAMETOOLONG;
		(void)snprintf(name, sizeof name, "%.*s", (int)n, p);
		if (t->v2)
			enable(dir);
		r = make_below(t, &dir, name);
		p += n;
	}
	if (r == 0)
		t->dir = take_fd(&dir);
	return r;
}

int cg_group_make(struct cg_group *g, bool v2_only, bool lenient, struct err *e)
{
	for (unsigned i = 0; i < g->n; i++) {
		struct cg_tree *t = &g->trees[i];
		int r = fd_valid(t->dir) || (v2_only && !t->v2) ? 0 : make_tree(g, t);

		if (r < 0 && !(lenient && (r == -EACCES || r == -EPERM || r == -EROFS)))
			return cg_tree_fail(g, t, "", r, "creating cgroup", e);
	}
	return 0;
}

int cg_group_v2(const struct cg_group *g)
{
	const struct cg_tree *t = cg_group_tree(g, "");

	return t && t->v2 ? t->dir : FD_NONE;
}

int cg_group_entries(const struct cg_group *g, bool v2_too, int fds[CG_MAX_TREES], struct err *e)
{
	int n = 0;

	for (unsigned i = 0; i < g->n; i++) {
		const struct cg_tree *t = &g->trees[i];
		const char *file = t->v2 ? "cgroup.procs" : "tasks";

		if (!fd_valid(t->dir) || (t->v2 && !v2_too))
			continue;
		fds[n] = openat(t->dir, file, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
		if (fds[n] < 0) {
			int r = cg_tree_fail(g, t, file, errno, "opening", e);

			while (n > 0)
				fd_closep(&fds[--n]);
			return r;
		}
		n++;
	}
	return n;
}

/* ---- Ownership ---- */

static int give_file(int dir, const char *file, uid_t uid)
{
	return fchownat(dir, file, uid, (gid_t)-1, AT_SYMLINK_NOFOLLOW) < 0 && errno != ENOENT ? -errno : 0;
}

int cg_give_dir(int dir, uid_t uid)
{
	char files[1024] = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads"; /* of kernels that do not say */
	int r = fchown(dir, uid, (gid_t)-1) < 0 ? -errno : 0;

	(void)!fd_read_file_at(AT_FDCWD, "/sys/kernel/cgroup/delegate", files, sizeof files);
	for (char *p = files, *end; r == 0 && *p; p = end) {
		end = p + strcspn(p, "\n");
		if (*end)
			*end++ = '\0';
		if (*p && !strchr(p, '/'))
			r = give_file(dir, p, uid);
	}
	return r;
}

int cg_group_give(const struct cg_group *g, uid_t uid, struct err *e)
{
	AUTO_FD int dir = FD_NONE;
	int r;

	for (unsigned i = 0; i < g->n; i++)
		if (!g->trees[i].v2)
			return 0;
	if (!fd_valid(cg_group_v2(g)))
		return 0;
	dir = openat(cg_group_v2(g), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* O_PATH has no fchown(2) */
	r = dir < 0 ? -errno : cg_give_dir(dir, uid);
	return r < 0 ? err_sys(e, r, "giving cgroup %s to user %u", g->path, uid) : 0;
}

ssize_t cg_group_read(const struct cg_group *g, const char *controller, const char *file, char *buf, size_t size)
{
	const struct cg_tree *t = cg_group_tree(g, controller);

	return t && fd_valid(t->dir) ? cg_read_at(t->dir, file, buf, size) : -ENOENT;
}

/* ---- Processes ---- */

/* The tree in which a process of the group is found: v2, where there is one. */
static int home(const struct cg_group *g)
{
	const struct cg_tree *t = cg_group_tree(g, "");

	if (t && fd_valid(t->dir))
		return t->dir;
	for (unsigned i = 0; i < g->n; i++)
		if (fd_valid(g->trees[i].dir))
			return g->trees[i].dir;
	return FD_NONE;
}

struct visit {
	int (*fn)(pid_t pid, void *arg);
	void *arg;
	int result;
};

static int visit_group(int dir, void *arg)
{
	struct visit *v = arg;
	AUTO_FD int fd = openat(dir, "cgroup.procs", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	AUTO_FREE char *text = NULL;
	size_t len;
	int r = fd < 0 ? -errno : fd_read_all(fd, CG_PROCS_MAX, &text, &len);

	if (r < 0)
		return r == -ENOENT || r == -ENODEV || r == -EOPNOTSUPP ? 0 : r;
	for (const char *p = text; p && *p && v->result == 0;) {
		pid_t pid = 0;

		for (; *p >= '0' && *p <= '9'; p++)
			pid = pid * 10 + (*p - '0');
		p += *p == '\n';
		if (pid > 0)
			v->result = v->fn(pid, v->arg);
	}
	return v->result ? -ECANCELED : 0;
}

int cg_group_processes(const struct cg_group *g, int (*fn)(pid_t pid, void *arg), void *arg)
{
	const int dir = home(g);
	struct visit v = {.fn = fn, .arg = arg};
	int r;

	if (!fd_valid(dir))
		return 0;
	r = cg_visit(dir, visit_group, &v);
	return v.result ? v.result : r;
}

static int seen(pid_t pid, void *arg)
{
	(void)pid;
	(void)arg;
	return 1;
}

int cg_group_claim(const struct cg_group *g, int *ret_lock, struct err *e)
{
	int r = strcmp(g->path, "/") == 0;

	*ret_lock = fd_valid(home(g)) ? openat(home(g), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : FD_NONE;
	if (fd_valid(*ret_lock) && flock(*ret_lock, LOCK_EX | LOCK_NB) < 0)
		r = 1;
	for (unsigned i = 0; r == 0 && i < g->n; i++) {
		struct visit v = {.fn = seen};

		if (!fd_valid(g->trees[i].dir))
			continue;
		r = cg_visit(g->trees[i].dir, visit_group, &v);
		r = v.result ? 1 : r;
	}
	if (r != 0)
		fd_closep(ret_lock);
	if (r > 0)
		return err_set(e, ERR_BUSY, EBUSY, "container's cgroup %s is not empty", g->path);
	return r < 0 ? err_sys(e, r, "looking into cgroup %s", g->path) : 0;
}

static int signal_one(pid_t pid, void *arg)
{
	(void)kill(pid, *(int *)arg); /* gone already, or about to be */
	return 0;
}

static int thaw_one(int dir, void *arg)
{
	(void)arg;
	cg_try_write_at(dir, "freezer.state", "THAWED", 6);
	return 0;
}

/* A container whose groups are its own may have frozen some below. v2's freezer lets SIGKILL through, v1's does not. */
static int thaw_below(const struct cg_group *g, struct err *e)
{
	const struct cg_tree *t = cg_group_tree(g, "freezer");
	struct stat st;
	int r = 0;

	/* A directory is named twice, and once by each directory in it. */
	if (t && !t->v2 && fd_valid(t->dir) && fstat(t->dir, &st) == 0 && st.st_nlink > 2)
		r = cg_visit(t->dir, thaw_one, NULL);
	return r < 0 ? err_sys(e, r, "thawing what is below cgroup %s", g->path) : 0;
}

int cg_group_kill(const struct cg_group *g, int sig, struct err *e)
{
	const struct cg_tree *v2 = cg_group_tree(g, "");
	int dir = home(g), r;

	if (!fd_valid(dir))
		return 0;
	if (sig != SIGKILL) {
		r = cg_group_processes(g, signal_one, &sig);
		return r < 0 ? err_sys(e, r, "signalling cgroup %s", g->path) : 0;
	}
	r = v2 && v2->v2 && fd_valid(v2->dir) ? cg_write_at(v2->dir, "cgroup.kill", "1", 1) : -ENOENT;
	if (r == -ENOENT || r == -EOPNOTSUPP)
		r = cg_kill_each(dir);
	if (r < 0 && r != -ENODEV && r != -ENOENT)
		return err_sys(e, r, "killing cgroup %s", g->path);
	/* The frozen die only when they are thawed. */
	if (cg_group_is_frozen(g))
		r = cg_group_freeze(g, false, e);
	else
		r = 0;
	return r == 0 ? thaw_below(g, e) : r;
}

/* ---- Freezing ---- */

static int freeze_v1(const struct cg_tree *t, bool frozen)
{
	const uint64_t deadline = clock_mono_ns() + FREEZE_PATIENCE_NS;
	char state[24];

	for (;;) {
		/* FREEZING may stay for ever when a process forks meanwhile: written again it goes on. */
		int r = frozen ? cg_write_at(t->dir, "freezer.state", "FROZEN", 6)
			       : cg_write_at(t->dir, "freezer.state", "THAWED", 6);

		if (r < 0)
			return r;
		if (cg_read_at(t->dir, "freezer.state", state, sizeof state) < 0)
			return -EIO;
		if (strcmp(state, frozen ? "FROZEN" : "THAWED") == 0)
			return 0;
		if (clock_mono_ns() > deadline)
			return -ETIMEDOUT;
		cg_pause_until(clock_mono_ns() + NS_PER_MS);
	}
}

/* v1's freezer where that is the controller, as runc does and others who look expect; else v2's. */
int cg_group_freeze(const struct cg_group *g, bool frozen, struct err *e)
{
	const struct cg_tree *t = cg_group_tree(g, "freezer");
	int r;

	if (t && fd_valid(t->dir)) {
		r = freeze_v1(t, frozen);
	} else {
		t = cg_group_tree(g, "");
		if (!t || !t->v2 || !fd_valid(t->dir))
			return err_set(e, ERR_UNSUPPORTED, EOPNOTSUPP, "this host has no freezer for cgroup %s",
				       g->path);
		r = cg_write_at(t->dir, "cgroup.freeze", frozen ? "1" : "0", 1);
		if (r == 0)
			r = cg_wait_event(t->dir, "frozen", frozen ? 1 : 0, clock_mono_ns() + FREEZE_PATIENCE_NS);
	}
	if (r == -ETIMEDOUT && frozen) {
		struct err second = {0};

		(void)err_sys(e, r, "freezing cgroup %s", g->path);
		(void)!cg_group_freeze(g, false, &second); /* half frozen is a state that nobody asked for */
		return r;
	}
	return r < 0 ? err_sys(e, r, "%s cgroup %s", frozen ? "freezing" : "thawing", g->path) : 0;
}

bool cg_group_is_frozen(const struct cg_group *g)
{
	char text[256];

	if (cg_group_read(g, "freezer", "freezer.state", text, sizeof text) > 0)
		return strcmp(text, "THAWED") != 0;
	return cg_group_read(g, "", "cgroup.freeze", text, sizeof text) > 0 && text[0] == '1';
}
