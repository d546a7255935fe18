/* On the host, as root, over what a function left behind. Its processes are dead and the mount is held by a descriptor, so
 * nothing moves; but every name, kind and number was chosen by foreign code. */
#include "snapshot/snapshot.h"
#include "snapshot/tree.h"

#include "base/fd.h"
#include "base/mem.h"

#include <dirent.h>
#include <fcntl.h>
#include <search.h>
#include <stdio.h>
#include <sys/stat.h>

enum {
	CHUNK = 65536,
	/* A tmpfs of 10 GiB, the largest that Lambda has, holds 655,360 inodes at one for each 16 KiB. */
	MAX_ENTRIES = 1 << 20,
	/* Of paths of files with several names. A path of ours has at most 64 names of 255 bytes. */
	MAX_PATH_BYTES = 64 << 20,
};

/* A file that has more than one name: where the first was met. */
struct linked {
	ino_t ino;
	size_t n_names, path_len;
	char path[]; /* as in a TREE_HARD */
};

struct pack {
	int out;
	struct buf buf;
	dev_t dev;
	uint32_t id_base;
	uint64_t n;
	void *linked; /* tsearch(3) */
	size_t path_bytes;
	struct buf path; /* of the directory that is being read, as in a TREE_HARD */
	size_t n_names;  /* in it */
};

static int flush(struct pack *p, struct err *e)
{
	int r;

	if (p->buf.failed)
		return err_oom(e);
	r = fd_write_all(p->out, p->buf.data, p->buf.len);
	if (r < 0)
		return err_sys(e, r, "writing the archive");
	p->buf.len = 0;
	return 0;
}

static int put(struct pack *p, const void *data, size_t len, struct err *e)
{
	buf_add(&p->buf, data, len);
	return p->buf.len >= CHUNK || p->buf.failed ? flush(p, e) : 0;
}

/* A name of the tree as a message may show it. */
static void show(const char *name, char ret[64])
{
	(void)snprintf(ret, 64, "%.60s", name);
	for (char *p = ret; *p; p++) {
		if (*p <= ' ' || *p >= 127 || *p == '\'')
			*p = '?';
	}
}

/* The innermost name says enough: levels above add nothing. */
static int err_entry(struct err *e, int r, const char *name)
{
	char text[64];

	if (e->where[0])
		return r;
	show(name, text);
	return err_where(e, err_ctx(e, r, "'%s'", text), "%s", text);
}

static int put_record(struct pack *p, enum tree_kind kind, const char *name, const struct stat *st, uint64_t size,
		      struct err *e)
{
	const uint32_t uid = st->st_uid - p->id_base, gid = st->st_gid - p->id_base;
	const struct tree_record rec = {
		.kind = (uint8_t)kind,
		.mode = (uint16_t)(st->st_mode & TREE_MODE),
		.name_len = (uint16_t)strlen(name),
		.uid = uid,
		.gid = gid,
		.size = size,
		.atime_s = st->st_atim.tv_sec,
		.mtime_s = st->st_mtim.tv_sec,
		.atime_ns = (uint32_t)st->st_atim.tv_nsec,
		.mtime_ns = (uint32_t)st->st_mtim.tv_nsec,
	};
	int r;

	if (uid > TREE_MAX_ID || gid > TREE_MAX_ID)
		return err_set(e, ERR_UNSUPPORTED, EOVERFLOW, "belongs to uid %u, gid %u, which are not the cell's",
			       st->st_uid, st->st_gid);
	r = put(p, &rec, sizeof rec, e);
	return r < 0 ? r : put(p, name, rec.name_len, e);
}

/* ---- Files ---- */

static int put_extent(struct pack *p, int fd, uint64_t at, uint64_t end, struct err *e)
{
	const struct tree_extent x = {at, end - at};
	AUTO_FREE char *chunk = malloc(CHUNK);
	int r = chunk ? put(p, &x, sizeof x, e) : err_oom(e);

	while (r == 0 && at < end) {
		ssize_t n = pread(fd, chunk, end - at < CHUNK ? (size_t)(end - at) : CHUNK, (off_t)at);

		if (n <= 0)
			return n < 0 ? err_sys(e, errno, "reading")
				     : err_set(e, ERR_SYSTEM, EIO, "it became shorter while it was read");
		r = put(p, chunk, (size_t)n, e);
		at += (uint64_t)n;
	}
	return r;
}

/* lseek(2): SEEK_DATA finds no more data with ENXIO; a file system without holes says that all is data. */
static int put_extents(struct pack *p, int fd, off_t size, struct err *e)
{
	const struct tree_extent last = {(uint64_t)size, 0};
	off_t at = 0;

	while (at < size) {
		off_t data = lseek(fd, at, SEEK_DATA), hole;
		int r;

		if (data < 0 && errno == ENXIO)
			break;
		hole = data < 0 ? -1 : lseek(fd, data, SEEK_HOLE);
		if (hole < 0)
			return err_sys(e, errno, "looking for holes");
		if (data < at || hole <= data)
			return err_set(e, ERR_SYSTEM, EIO, "it changed while it was read");
		if (data >= size)
			break;
		at = hole < size ? hole : size;
		r = put_extent(p, fd, (uint64_t)data, (uint64_t)at, e);
		if (r < 0)
			return r;
	}
	return put(p, &last, sizeof last, e);
}

/* Opens what was looked at, and makes sure that it is that. O_NONBLOCK: were it a fifo by now, open(2) would wait. */
static int open_same(const struct pack *p, int dir, const char *name, const struct stat *st, struct err *e)
{
	const int flags = S_ISDIR(st->st_mode) ? O_DIRECTORY : 0;
	AUTO_FD int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOATIME | O_CLOEXEC | flags);
	struct stat now;

	if (fd < 0 && errno == EPERM) /* O_NOATIME is the owner's and root's */
		fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | flags);
	if (fd < 0 || fstat(fd, &now) < 0)
		return err_sys(e, errno, "opening");
	if (now.st_dev != p->dev || now.st_ino != st->st_ino || (now.st_mode & S_IFMT) != (st->st_mode & S_IFMT))
		return err_set(e, ERR_SYSTEM, EIO, "it changed while it was read");
	return take_fd(&fd);
}

static int put_file(struct pack *p, int dir, const char *name, const struct stat *st, struct err *e)
{
	AUTO_FD int fd = open_same(p, dir, name, st, e);
	int r;

	if (fd < 0)
		return fd;
	r = put_record(p, TREE_FILE, name, st, (uint64_t)st->st_size, e);
	return r < 0 ? r : put_extents(p, fd, st->st_size, e);
}

static int put_link(struct pack *p, int dir, const char *name, const struct stat *st, struct err *e)
{
	char target[TREE_MAX_TARGET + 1];
	ssize_t n = readlinkat(dir, name, target, sizeof target);
	int r;

	if (n < 0)
		return err_sys(e, errno, "reading the link");
	if (n == 0 || n > TREE_MAX_TARGET)
		return err_set(e, ERR_SYSTEM, EIO, "reading the link: %zd bytes", n);
	r = put_record(p, TREE_LINK, name, st, (uint64_t)n, e);
	return r < 0 ? r : put(p, target, (size_t)n, e);
}

/* ---- Files with several names ---- */

static int by_ino(const void *a, const void *b)
{
	const struct linked *x = a, *y = b;

	return x->ino < y->ino ? -1 : x->ino > y->ino;
}

static void add_name(struct buf *path, const char *name)
{
	const uint16_t len = (uint16_t)strlen(name);

	buf_add(path, &len, sizeof len);
	buf_add(path, name, len);
}

/* The first time: remembers it. */
static int remember(struct pack *p, ino_t ino, const char *name, struct err *e)
{
	const size_t len = p->path.len + sizeof(uint16_t) + strlen(name);
	const size_t dir_len = p->path.len;
	AUTO_FREE struct linked *l = NULL;

	p->path_bytes += sizeof *l + len;
	if (p->path_bytes > MAX_PATH_BYTES)
		return err_set(e, ERR_LIMIT, EMLINK, "too many files with several names");
	l = malloc(sizeof *l + len);
	add_name(&p->path, name);
	if (!l || p->path.failed)
		return err_oom(e);
	l->ino = ino;
	l->n_names = p->n_names + 1;
	l->path_len = len;
	memcpy(l->path, p->path.data, len);
	p->path.len = dir_len;
	if (!tsearch(l, &p->linked, by_ino))
		return err_oom(e);
	(void)take_ptr(&l);
	return 0;
}

/* 1: it was met before, and is written as another name of that. */
static int put_hard(struct pack *p, const char *name, const struct stat *st, struct err *e)
{
	const struct linked key = {.ino = st->st_ino};
	void *node;
	int r;

	if (st->st_nlink < 2)
		return 0;
	node = tfind(&key, &p->linked, by_ino);
	if (!node)
		return remember(p, st->st_ino, name, e);

	const struct linked *l = *(struct linked *const *)node;
	r = put_record(p, TREE_HARD, name, st, l->n_names, e);
	if (r == 0)
		r = put(p, l->path, l->path_len, e);
	return r < 0 ? r : 1;
}

/* ---- Directories ---- */

static int put_entries_take(struct pack *p, int fd, unsigned levels, struct err *e);

static int put_dir(struct pack *p, int dir, const char *name, const struct stat *st, unsigned levels, struct err *e)
{
	const size_t path_len = p->path.len;
	AUTO_FD int fd = FD_NONE;
	int r;

	if (levels == 0)
		return err_set(e, ERR_LIMIT, ELOOP, "more than %d levels of directories", (int)TREE_LEVELS);
	fd = open_same(p, dir, name, st, e);
	if (fd < 0)
		return fd;
	r = put_record(p, TREE_DIR, name, st, 0, e);
	if (r < 0)
		return r;
	add_name(&p->path, name);
	if (p->path.failed)
		return err_oom(e);
	p->n_names++;
	r = put_entries_take(p, take_fd(&fd), levels, e);
	p->n_names--;
	p->path.len = path_len;
	return r < 0 ? r : put_record(p, TREE_END, "", st, 0, e);
}

static int put_entry(struct pack *p, int dir, const char *name, unsigned levels, struct err *e)
{
	struct stat st;
	int r;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, errno, "looking at it");
	if (S_ISSOCK(st.st_mode) || S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode))
		return 0;
	if (st.st_dev != p->dev)
		return err_set(e, ERR_UNSUPPORTED, EXDEV, "another file system is mounted there");
	if (p->n++ >= MAX_ENTRIES)
		return err_set(e, ERR_LIMIT, EFBIG, "more than %d files", (int)MAX_ENTRIES);
	if (S_ISDIR(st.st_mode))
		return put_dir(p, dir, name, &st, levels, e);
	r = put_hard(p, name, &st, e);
	if (r != 0)
		return r < 0 ? r : 0;
	if (S_ISREG(st.st_mode))
		return put_file(p, dir, name, &st, e);
	if (S_ISLNK(st.st_mode))
		return put_link(p, dir, name, &st, e);
	return put_record(p, TREE_FIFO, name, &st, 0, e);
}

static int put_entries(struct pack *p, DIR *d, unsigned levels, struct err *e)
{
	for (;;) {
		errno = 0;

		const struct dirent *ent = readdir(d);
		if (!ent)
			return errno ? err_sys(e, errno, "reading the directory") : 0;
		if (strcmp(ent->d_name, ".") == 0 || strcmp(ent->d_name, "..") == 0)
			continue;

		int r = put_entry(p, dirfd(d), ent->d_name, levels, e);
		if (r < 0)
			return err_entry(e, r, ent->d_name);
	}
}

static int put_entries_take(struct pack *p, int fd, unsigned levels, struct err *e)
{
	AUTO_FD int own = fd;
	DIR *d = fdopendir(own);
	int r;

	if (!d)
		return err_sys(e, errno, "reading the directory");
	(void)take_fd(&own);
	r = put_entries(p, d, levels - 1, e);
	(void)closedir(d);
	return r;
}

static int put_tree(struct pack *p, int dir, struct err *e)
{
	struct stat st;
	AUTO_FD int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, errno, "opening the directory");
	p->dev = st.st_dev;
	r = put(p, TREE_MAGIC, strlen(TREE_MAGIC), e);
	if (r == 0)
		r = put_entries_take(p, take_fd(&fd), TREE_LEVELS + 1, e);
	if (r == 0)
		r = put_record(p, TREE_END, "", &st, p->n, e);
	return r == 0 ? flush(p, e) : r;
}

int snap_tree_pack(int dir, int out, uint32_t id_base, uint64_t *ret_entries, struct err *e)
{
	struct pack p = {.out = out, .id_base = id_base};
	int r = put_tree(&p, dir, e);

	tdestroy(p.linked, free);
	buf_done(&p.buf);
	buf_done(&p.path);
	if (r < 0)
		return err_ctx(e, r, "packing /tmp");
	*ret_entries = p.n;
	return 0;
}
