/* In a child after clone3, as root of the cell's user namespace: system calls on fixed buffers, one name at a time, each
 * relative to a descriptor, none that follows a link. Nothing is made outside of the directory whatever the bytes say:
 * names are single components, every directory below which something is made was made here and is held open. */
#include "snapshot/snapshot.h"
#include "snapshot/tree.h"

#include "base/fd.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

enum { CHUNK = 32768 };

struct unpack {
	int in;
	int dirs[TREE_LEVELS + 1]; /* from the top, which is borrowed, to the one that is being filled */
	unsigned depth;
	uint64_t n;
	size_t at, len; /* of `bytes` */
	char name[TREE_MAX_NAME + 1];
	char bytes[CHUNK];
};

/* What shows that the archive is not one, rather than that the system failed. */
static int bad(int code)
{
	return code == EEXIST || code == ENOENT || code == ENOTDIR || code == ELOOP ? -EBADMSG : -code;
}

/* 0: nothing left. */
static ssize_t fill(struct unpack *u)
{
	if (u->at == u->len) {
		ssize_t n;

		do
			n = read(u->in, u->bytes, sizeof u->bytes);
		while (n < 0 && errno == EINTR);
		if (n < 0)
			return -errno;
		u->at = 0;
		u->len = (size_t)n;
	}
	return (ssize_t)(u->len - u->at);
}

static int get(struct unpack *u, void *ret, size_t len)
{
	char *to = ret;

	while (len) {
		ssize_t have = fill(u);
		size_t n = have > 0 && (size_t)have < len ? (size_t)have : len;

		if (have <= 0)
			return have < 0 ? (int)have : -EBADMSG;
		memcpy(to, u->bytes + u->at, n);
		u->at += n;
		to += n;
		len -= n;
	}
	return 0;
}

/* One component into @ret, terminated. */
static int get_name(struct unpack *u, size_t len, char ret[TREE_MAX_NAME + 1])
{
	int r;

	if (len == 0 || len > TREE_MAX_NAME)
		return -EBADMSG;
	r = get(u, ret, len);
	if (r < 0)
		return r;
	ret[len] = '\0';
	if (memchr(ret, '\0', len) || memchr(ret, '/', len) || strcmp(ret, ".") == 0 || strcmp(ret, "..") == 0)
		return -EBADMSG;
	return 0;
}

static bool plausible(const struct tree_record *rec)
{
	return rec->zero == 0 && rec->zero2 == 0 && (rec->mode & ~TREE_MODE) == 0 && rec->uid <= TREE_MAX_ID &&
	       rec->gid <= TREE_MAX_ID && rec->size <= INT64_MAX && rec->atime_ns < 1000000000 &&
	       rec->mtime_ns < 1000000000 && (rec->kind == TREE_END) == (rec->name_len == 0);
}

static void times_of(const struct tree_record *rec, struct timespec ret[2])
{
	ret[0] = (struct timespec){.tv_sec = rec->atime_s, .tv_nsec = rec->atime_ns};
	ret[1] = (struct timespec){.tv_sec = rec->mtime_s, .tv_nsec = rec->mtime_ns};
}

/* Owner before mode: chown(2) may clear bits of it. Times last. */
static int finish_fd(int fd, const struct tree_record *rec)
{
	struct timespec times[2];

	times_of(rec, times);
	if (fchown(fd, rec->uid, rec->gid) < 0 || fchmod(fd, rec->mode) < 0 || futimens(fd, times) < 0)
		return -errno;
	return 0;
}

/* What has no descriptor: it was made a moment ago in a directory that nobody else can reach. */
static int finish_name(const struct unpack *u, const struct tree_record *rec)
{
	const int dir = u->dirs[u->depth];
	struct timespec times[2];

	times_of(rec, times);
	if (fchownat(dir, u->name, rec->uid, rec->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (rec->kind == TREE_FIFO && fchmodat(dir, u->name, rec->mode, 0) < 0) /* links have no mode; symlink(7) */
		return -errno;
	return utimensat(dir, u->name, times, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

/* ---- Files ---- */

static int write_at(int fd, const char *data, size_t len, uint64_t at)
{
	while (len) {
		ssize_t n = pwrite(fd, data, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		data += n;
		len -= (size_t)n;
		at += (uint64_t)n;
	}
	return 0;
}

static int write_extent(struct unpack *u, int fd, struct tree_extent x)
{
	while (x.len) {
		ssize_t have = fill(u);
		size_t n = have > 0 && (uint64_t)have < x.len ? (size_t)have : (size_t)x.len;
		int r;

		if (have <= 0)
			return have < 0 ? (int)have : -EBADMSG;
		r = write_at(fd, u->bytes + u->at, n, x.at);
		if (r < 0)
			return r;
		u->at += n;
		x.at += n;
		x.len -= n;
	}
	return 0;
}

static int write_extents(struct unpack *u, int fd, uint64_t size)
{
	uint64_t end = 0;

	for (;;) {
		struct tree_extent x;
		int r = get(u, &x, sizeof x);

		if (r < 0)
			return r;
		if (x.at < end || x.at > size || x.len > size - x.at)
			return -EBADMSG;
		if (x.len == 0)
			return x.at == size ? 0 : -EBADMSG;
		r = write_extent(u, fd, x);
		if (r < 0)
			return r;
		end = x.at + x.len;
	}
}

static int make_file(struct unpack *u, const struct tree_record *rec)
{
	AUTO_FD int fd = openat(u->dirs[u->depth], u->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	int r;

	if (fd < 0)
		return bad(errno);
	if (rec->size && ftruncate(fd, (off_t)rec->size) < 0)
		return -errno;
	r = write_extents(u, fd, rec->size);
	return r < 0 ? r : finish_fd(fd, rec);
}

/* ---- The rest ---- */

static int make_link(struct unpack *u, const struct tree_record *rec)
{
	char target[TREE_MAX_TARGET + 1];
	int r;

	if (rec->size == 0 || rec->size > TREE_MAX_TARGET)
		return -EBADMSG;
	r = get(u, target, (size_t)rec->size);
	if (r < 0)
		return r;
	target[rec->size] = '\0';
	if (strlen(target) != rec->size)
		return -EBADMSG;
	if (symlinkat(target, u->dirs[u->depth], u->name) < 0)
		return bad(errno);
	return finish_name(u, rec);
}

static int make_fifo(struct unpack *u, const struct tree_record *rec)
{
	if (mkfifoat(u->dirs[u->depth], u->name, 0600) < 0)
		return bad(errno);
	return finish_name(u, rec);
}

/* The names lead down from the top; only the last may be no directory. A link on the way is refused. */
static int make_hard(struct unpack *u, const struct tree_record *rec)
{
	AUTO_FD int at = FD_NONE;
	char name[TREE_MAX_NAME + 1];

	if (rec->size == 0 || rec->size > TREE_LEVELS + 1)
		return -EBADMSG;
	for (uint64_t left = rec->size; left; left--) {
		const int from = fd_valid(at) ? at : u->dirs[0];
		uint16_t len;
		int r = get(u, &len, sizeof len);
		int next;

		if (r == 0)
			r = get_name(u, len, name);
		if (r < 0)
			return r;
		if (left == 1)
			return linkat(from, name, u->dirs[u->depth], u->name, 0) < 0 ? bad(errno) : 0;
		next = openat(from, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (next < 0)
			return bad(errno);
		fd_closep(&at);
		at = next;
	}
	return -EBADMSG;
}

static int enter_dir(struct unpack *u, const struct tree_record *rec)
{
	int fd;

	if (rec->size != 0 || u->depth == TREE_LEVELS)
		return -EBADMSG;
	if (mkdirat(u->dirs[u->depth], u->name, 0700) < 0)
		return bad(errno);
	fd = openat(u->dirs[u->depth], u->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return bad(errno);
	u->dirs[++u->depth] = fd;
	return 0;
}

static int leave_dir(struct unpack *u, const struct tree_record *rec)
{
	int r = rec->size == 0 ? finish_fd(u->dirs[u->depth], rec) : -EBADMSG;

	fd_closep(&u->dirs[u->depth--]);
	return r;
}

/* The top was made by whoever mounted it: it keeps its owner. */
static int end_tree(struct unpack *u, const struct tree_record *rec)
{
	struct timespec times[2];
	ssize_t more = fill(u);

	if (more != 0)
		return more < 0 ? (int)more : -EBADMSG;
	if (rec->size != u->n)
		return -EBADMSG;
	times_of(rec, times);
	if (fchmod(u->dirs[0], rec->mode) < 0 || futimens(u->dirs[0], times) < 0)
		return -errno;
	return 0;
}

static int make_entry(struct unpack *u, const struct tree_record *rec)
{
	u->n++;
	switch (rec->kind) {
	case TREE_DIR:
		return enter_dir(u, rec);
	case TREE_FILE:
		return make_file(u, rec);
	case TREE_LINK:
		return make_link(u, rec);
	case TREE_FIFO:
		return rec->size ? -EBADMSG : make_fifo(u, rec);
	case TREE_HARD:
		return make_hard(u, rec);
	default: /* a byte of the archive */
		return -EBADMSG;
	}
}

static int unpack(struct unpack *u)
{
	char magic[sizeof TREE_MAGIC - 1];
	struct tree_record rec;
	int r = get(u, magic, sizeof magic);

	if (r == 0 && memcmp(magic, TREE_MAGIC, sizeof magic) != 0)
		r = -EBADMSG;
	while (r == 0) {
		r = get(u, &rec, sizeof rec);
		if (r == 0 && !plausible(&rec))
			r = -EBADMSG;
		if (r < 0)
			break;
		if (rec.kind == TREE_END) {
			if (u->depth == 0)
				return end_tree(u, &rec);
			r = leave_dir(u, &rec);
			continue;
		}
		r = get_name(u, rec.name_len, u->name);
		if (r == 0)
			r = make_entry(u, &rec);
	}
	return r;
}

int snap_tree_unpack(int in, int dir)
{
	struct unpack u = {.in = in, .dirs = {dir}};
	int r = unpack(&u);

	while (u.depth)
		fd_closep(&u.dirs[u.depth--]);
	return r;
}
