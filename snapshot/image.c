/* The images of a dump as files: which are changed, which are removed. What stands in them is image_wire.c's business.
 *
 * Why it works: CRIU makes a namespace for a task when the number in the task's ids image is not that of the CRIU which
 * dumped (root_ids of the inventory), and takes its own when it is. With all numbers equal it restores into whatever
 * namespaces it lives in, and never opens the images that describe namespaces. */
#include "snapshot/image.h"
#include "snapshot/internal.h"

#include "sys/sys.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

enum {
	/* An inventory, ids and the like have tens of bytes; a core has registers (at most some 11 KiB of AVX-512 and AMX
	 * state) and queued signals, of which RLIMIT_SIGPENDING bounds the number; a tree has some 6 bytes for each of at
	 * most 32,768 threads; filters have at most 32 KiB a process. */
	MAX_IMAGE_BYTES = 4 << 20,
	/* Five files for each process and one for each thread, and some tens. More than a manifest would take, too. */
	MAX_IMAGES = 65536,
	NAME_SIZE = 64,
};

static const char not_criu[] = "not an image as CRIU 4.2 writes it";

/* What restore inside prepared namespaces does not look at, by the beginning of its name. */
static const char *const unneeded[] = {
	"autofs-",      "binfmt-misc", "ifaddr-", "ip6tables-", "ipcns-",  "iptables-", "mnt",
	"mountpoints-", "netdev-",     "netns-",  "nftables-",  "pidns-",  "route-",    "route6-",
	"rule-",        "stats-",      "timens-", "tmpfs-",     "userns-", "utsns-",
};

static bool ends_in(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n >= m && strcmp(s + n - m, end) == 0;
}

static bool is_unneeded(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(unneeded); i++) {
		if (str_starts(name, unneeded[i]))
			return true;
	}
	return ends_in(name, ".log") || ends_in(name, ".new");
}

/* A regular file and nothing else: only CRIU has written here, but nothing hangs on that. */
static int open_image_file(int images, const char *name, struct stat *st, struct err *e)
{
	AUTO_FD int fd = sys_openat(images, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);

	if (fd < 0)
		return err_where(e, err_sys(e, fd, "opening the image '%s'", name), "%s", name);
	if (fstat(fd, st) < 0)
		return err_sys(e, errno, "looking at the image '%s'", name);
	if (!S_ISREG(st->st_mode))
		return err_where(e, err_set(e, ERR_SYSTEM, EBADMSG, "reading '%s': not a file", name), "%s", name);
	return take_fd(&fd);
}

struct image {
	char name[NAME_SIZE];
	char *data;
	size_t len;
	mode_t mode;
};

static void image_done(struct image *im)
{
	free(im->data);
}

static int load(int images, struct image *ret, struct err *e)
{
	struct stat st;
	AUTO_FD int fd = open_image_file(images, ret->name, &st, e);
	int r;

	if (fd < 0)
		return fd;
	ret->mode = st.st_mode & 0777;
	r = fd_read_all(fd, MAX_IMAGE_BYTES, &ret->data, &ret->len);
	if (r < 0)
		return err_where(e, err_sys(e, r, "reading the image '%s'", ret->name), "%s", ret->name);
	return 0;
}

/* What a function of image_wire.c answered. */
static int told(const struct image *im, int r, struct err *e)
{
	if (r == -ENOMEM)
		return err_oom(e);
	if (r < 0)
		return err_where(e, err_set(e, ERR_SYSTEM, -r, "reading '%s': %s", im->name, not_criu), "%s", im->name);
	return r;
}

/* Written aside and renamed: a reader sees the old image or the new one. Synced by the draft's commit. */
static int replace(int images, const struct image *im, const struct buf *with, struct err *e)
{
	char aside[NAME_SIZE + 8];
	AUTO_FD int fd = FD_NONE;
	int r;

	(void)snprintf(aside, sizeof aside, "%s.new", im->name);
	fd = sys_openat(images, aside, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, im->mode);
	if (fd < 0)
		return err_sys(e, fd, "making '%s'", aside);
	r = fd_write_all(fd, with->data, with->len);
	if (r < 0)
		r = err_sys(e, r, "writing '%s'", aside);
	else if (fchmod(fd, im->mode) < 0 || renameat(images, aside, images, im->name) < 0)
		r = err_sys(e, errno, "replacing '%s'", im->name);
	if (r < 0)
		(void)unlinkat(images, aside, 0);
	return r;
}

static int read_inventory(int images, struct image_ns *ret, struct err *e)
{
	AUTO(image_done) struct image im = {.name = "inventory.img"};
	int r = load(images, &im, e);

	return r < 0 ? r : told(&im, image_read_inventory(im.data, im.len, ret), e);
}

static int read_tree(int images, struct image_tree *ret, struct err *e)
{
	AUTO(image_done) struct image im = {.name = "pstree.img"};
	int r = load(images, &im, e);

	return r < 0 ? r : told(&im, image_read_tree(im.data, im.len, ret), e);
}

/* CRIU writes no such file when nothing has a filter. */
static int read_filters(int images, struct image_filters *ret, struct err *e)
{
	AUTO(image_done) struct image im = {.name = "seccomp.img"};
	int r;

	*ret = (struct image_filters){.same = true};
	if (faccessat(images, im.name, F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
		return 0;
	r = load(images, &im, e);
	if (r == 0)
		r = told(&im, image_read_filters(im.data, im.len, ret), e);
	if (r == 0 && !ret->same)
		r = err_hint(
			e,
			err_set(e, ERR_UNSUPPORTED, EOPNOTSUPP,
				"the function has installed a seccomp filter of its own, which a restore would lose"),
			"install it after the restore, in fsbox_after_restore()");
	return r;
}

/* ---- Tasks ---- */

struct detach {
	int images;
	struct image_ns host; /* of the CRIU that dumped; the one that restores is at home there */
	struct image_ns root; /* of the root task */
	struct image_tree tree;
	struct image_filters filters;
};

static int differ(const struct detach *d, const struct image_task *task, const struct image_ns *ns, struct err *e)
{
	static const char *const names[IMAGE_NS] = {"pid", "network", "ipc", "uts", "mount", "user", "cgroup", "time"};

	for (size_t i = 0; i < IMAGE_NS; i++) {
		if (ns->have[i] == d->root.have[i] && ns->id[i] == d->root.id[i])
			continue;
		return err_hint(e,
				err_set(e, ERR_UNSUPPORTED, EOPNOTSUPP,
					"process %u has a %s namespace of its own, which an image cannot hold",
					task->pid, names[i]),
				"end it in fsbox_before_snapshot()");
	}
	return 0;
}

/* @rewrite false: looks only, so that nothing is changed when something is refused. */
static int do_ids(struct detach *d, const struct image_task *task, bool rewrite, struct err *e)
{
	AUTO(image_done) struct image im = {.data = NULL};
	AUTO(buf_done) struct buf out = {0};
	struct image_ns ns;
	int r;

	(void)snprintf(im.name, sizeof im.name, "ids-%u.img", task->pid);
	r = load(d->images, &im, e);
	if (r < 0)
		return r;
	if (rewrite) {
		r = told(&im, image_write_ids(im.data, im.len, &d->host, &out), e);
		return r < 0 ? r : replace(d->images, &im, &out, e);
	}
	r = told(&im, image_read_ids(im.data, im.len, &ns), e);
	if (r < 0)
		return r;
	if (task->ppid == 0)
		d->root = ns;
	return differ(d, task, &ns, e);
}

static int do_core(struct detach *d, uint32_t tid, bool leader, bool rewrite, struct err *e)
{
	AUTO(image_done) struct image im = {.data = NULL};
	AUTO(buf_done) struct buf out = {0};
	int r;

	(void)snprintf(im.name, sizeof im.name, "core-%u.img", tid);
	r = load(d->images, &im, e);
	if (r < 0)
		return r;
	r = told(&im, image_write_core(im.data, im.len, &d->filters, leader, &out), e);
	if (r < 0 || !rewrite || (out.len == im.len && memcmp(out.data, im.data, im.len) == 0))
		return r;
	return replace(d->images, &im, &out, e);
}

static int do_tasks(struct detach *d, bool rewrite, struct err *e)
{
	const struct image_tree *t = &d->tree;

	for (size_t i = 0; i < t->n_tasks; i++) {
		const struct image_task *task = &t->tasks[i];
		int r = do_ids(d, task, rewrite, e);

		for (size_t k = 0; r >= 0 && k < task->n; k++) {
			uint32_t tid = t->tids[task->first + k];

			r = do_core(d, tid, tid == task->pid, rewrite, e);
		}
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- Files ---- */

/* One entry of the directory. Adds to *ret_pages what it holds of memory. */
static int do_file(int images, const char *name, uint64_t *ret_pages, struct err *e)
{
	struct stat st;

	if (fstatat(images, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, errno, "looking at the image '%s'", name);
	if (!S_ISREG(st.st_mode))
		return err_where(e, err_set(e, ERR_SYSTEM, EBADMSG, "the image '%s' is not a file", name), "%s", name);
	if (is_unneeded(name)) {
		if (unlinkat(images, name, 0) < 0)
			return err_sys(e, errno, "removing the image '%s'", name);
	} else if (str_starts(name, "pages-") && ends_in(name, ".img")) {
		*ret_pages += (uint64_t)st.st_size;
	}
	return 0;
}

static int do_files(DIR *dir, uint64_t *ret_pages, struct err *e)
{
	size_t n = 0;

	for (;;) {
		errno = 0;

		const struct dirent *ent = readdir(dir);
		if (!ent)
			return errno ? err_sys(e, errno, "reading the directory of images") : 0;
		if (strcmp(ent->d_name, ".") == 0 || strcmp(ent->d_name, "..") == 0)
			continue;
		if (++n > MAX_IMAGES)
			return err_set(e, ERR_LIMIT, EFBIG, "the dump has more than %d images", (int)MAX_IMAGES);

		int r = do_file(dirfd(dir), ent->d_name, ret_pages, e);
		if (r < 0)
			return r;
	}
}

static int clean(int images, uint64_t *ret_pages, struct err *e)
{
	AUTO_FD int fd = sys_openat(images, ".", O_RDONLY | O_DIRECTORY, 0); /* an offset of its own */
	DIR *dir;
	int r;

	if (fd < 0)
		return err_sys(e, fd, "opening the directory of images");
	dir = fdopendir(fd);
	if (!dir)
		return err_sys(e, errno, "reading the directory of images");
	(void)take_fd(&fd);
	r = do_files(dir, ret_pages, e);
	(void)closedir(dir);
	return r;
}

static int forget_mounts(const struct detach *d, struct err *e)
{
	AUTO(image_done) struct image im = {.name = "files.img"};
	AUTO(buf_done) struct buf out = {0};
	int r = load(d->images, &im, e);

	if (r == 0)
		r = told(&im, image_write_files(im.data, im.len, &out), e);
	return r < 0 ? r : replace(d->images, &im, &out, e);
}

/* Filters are made afresh by each restore: an empty file to mount that one over. Were the mount forgotten, CRIU would
 * refuse the empty file ("Unexpected EOF") instead of restoring an old filter. Where no process has a filter, none would
 * be installed whatever the file says, so it may be read: an image of no filters.
 *
 * The fresh one must be for all threads at once (flags 1, SECCOMP_FILTER_FLAG_TSYNC), as CRIU's own is: the cores of other
 * threads than the leader name no filter, and with flags 0 they come back without one. */
static int empty_filters(const struct detach *d, struct err *e)
{
	const struct image im = {.name = "seccomp.img", .mode = 0644};
	AUTO(buf_done) struct buf out = {0};

	if (d->filters.n == 0 && image_write_no_filters(&out) < 0)
		return err_oom(e);
	return replace(d->images, &im, &out, e);
}

static int detach(struct detach *d, uint64_t *ret_pages, struct err *e)
{
	int r = read_inventory(d->images, &d->host, e);

	if (r == 0)
		r = read_tree(d->images, &d->tree, e);
	if (r == 0)
		r = read_filters(d->images, &d->filters, e);
	if (r == 0)
		r = do_tasks(d, false, e);
	if (r == 0)
		r = clean(d->images, ret_pages, e);
	if (r == 0)
		r = do_tasks(d, true, e);
	if (r == 0)
		r = forget_mounts(d, e);
	if (r == 0)
		r = empty_filters(d, e);
	return r;
}

int image_detach(int images, struct snap_manifest *m, struct err *e)
{
	struct detach d = {.images = images};
	uint64_t pages = 0;
	int r = detach(&d, &pages, e);

	if (r == 0) {
		m->max_pid = d.tree.max_pid;
		m->page_bytes = pages;
	}
	image_tree_done(&d.tree);
	return r < 0 ? err_ctx(e, r, "making the images free of namespaces") : 0;
}
