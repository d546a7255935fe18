/* Names, paths and the four system calls on control files. */
#include "cgroup/internal.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>

#define DIR_FLAGS (O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)

bool cg_concat(char *ret, size_t size, const char *const *parts, size_t n)
{
	size_t at = 0;

	for (size_t i = 0; i < n; i++) {
		size_t len = strlen(parts[i]);

		if (len >= size - at) {
			ret[0] = '\0';
			return false;
		}
		memcpy(ret + at, parts[i], len);
		at += len;
	}
	ret[at] = '\0';
	return true;
}

size_t cg_format_u64(char *ret, uint64_t v)
{
	char rev[20];
	size_t n = 0;

	do {
		rev[n++] = (char)('0' + v % 10);
		v /= 10;
	} while (v > 0);
	for (size_t i = 0; i < n; i++)
		ret[i] = rev[n - 1 - i];
	ret[n] = '\0';
	return n;
}

/* The kernel refuses only '/' and line feeds; control bytes would make our own messages unreadable. */
static bool is_plain(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f || s[i] == '/')
			return false;
	return true;
}

static bool is_dots(const char *s, size_t len)
{
	return (len == 1 && s[0] == '.') || (len == 2 && s[0] == '.' && s[1] == '.');
}

int cg_check_name(const char *name, struct err *e)
{
	size_t len = strlen(name);

	if (len == 0 || len >= sizeof((struct cgroup *)0)->name || is_dots(name, len) || !is_plain(name, len))
		return err_set(e, ERR_SPEC, EINVAL,
			       "cgroup name '%.80s': expected 1 to 79 printable characters without '/'", name);
	return 0;
}

static int bad_path(const char *wanted, const char *why, struct err *e)
{
	int r = err_set(e, ERR_SPEC, EINVAL, "cgroup parent '%.200s': %s", wanted, why);

	return err_hint(e, r,
			"give a path below the root of the hierarchies, such as /fsbox or "
			"/user.slice/user-1000.slice/cells");
}

/* What follows the mount point of a hierarchy, or NULL. */
static const char *below_mount(const struct cg_host *host, const char *path)
{
	for (unsigned h = 0; h < CG_H_COUNT; h++) {
		const char *root = cg_h_root(host, h);
		size_t len = strlen(root);

		if (len > 1 && strncmp(path, root, len) == 0 && (path[len] == '/' || path[len] == '\0'))
			return path[len] == '\0' ? "/" : path + len;
	}
	return NULL;
}

static const char *why_bad(const char *path)
{
	if (path[0] != '/')
		return "not absolute";
	if (path[1] == '\0') /* the root itself */
		return NULL;
	for (const char *p = path; *p;) {
		size_t len = strcspn(++p, "/");

		if (len == 0)
			return "empty component";
		if (is_dots(p, len))
			return "'.' and '..' are not taken";
		if (!is_plain(p, len))
			return "control character";
		p += len;
	}
	return NULL;
}

int cg_check_path(const struct cg_host *host, const char *wanted, char *ret, size_t size, struct err *e)
{
	const char *below = below_mount(host, wanted);
	const char *path = below ? below : wanted, *why = why_bad(path);

	if (why)
		return bad_path(wanted, why, e);
	/* "/sys/fs/cgroup/x" on a host that has no hierarchy right there is a slip, not the wish for
	 * "/sys/fs/cgroup/memory/sys/fs/cgroup/x". */
	if (!below && (strncmp(path, "/sys/fs/cgroup/", 15) == 0 || strcmp(path, "/sys/fs/cgroup") == 0))
		return bad_path(wanted, "no cgroup hierarchy is mounted there", e);
	if (!cg_concat(ret, size, &path, 1))
		return bad_path(wanted, "longer than 255 bytes", e);
	return 0;
}

/* The mount point comes from mountinfo, which shows it without links, so one rule fits the whole path: openat2(2),
 * RESOLVE_NO_SYMLINKS. libc has no wrapper before 2.42. */
int cg_open_dir(const char *root, const char *path)
{
	char full[CG_FULL_PATH_MAX];
	const char *const parts[] = {root, strcmp(path, "/") == 0 ? "" : path};
	struct open_how how = {.flags = O_PATH | DIR_FLAGS, .resolve = RESOLVE_NO_SYMLINKS};

	if (!cg_concat(full, sizeof full, parts, 2))
		return -ENAMETOOLONG;

	long fd = syscall(SYS_openat2, AT_FDCWD, full, &how, sizeof how);

	return fd < 0 ? -errno : (int)fd;
}

int cg_open_child(int dirfd, const char *name)
{
	int fd = openat(dirfd, name, O_PATH | DIR_FLAGS);

	return fd < 0 ? -errno : fd;
}

int cg_write_at(int dirfd, const char *file, const char *text, size_t len)
{
	AUTO_FD int fd = openat(dirfd, file, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t n;

	if (fd < 0)
		return -errno;
	/* v1's memory limits answer EINTR when a signal waits; every value here may be written twice. */
	do {
		n = write(fd, text, len);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return (size_t)n == len ? 0 : -EIO;
}

void cg_try_write_at(int dirfd, const char *file, const char *text, size_t len)
{
	int r = cg_write_at(dirfd, file, text, len);

	(void)r;
}

ssize_t cg_read_at(int dirfd, const char *file, char *buf, size_t size)
{
	AUTO_FD int fd = openat(dirfd, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	size_t len = 0;
	ssize_t n;

	if (fd < 0)
		return -errno;
	for (;;) {
		n = read(fd, buf + len, size - 1 - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		len += (size_t)n;
		if (len == size - 1)
			return -EFBIG;
	}
	if (n < 0)
		return -errno;
	while (len > 0 && buf[len - 1] == '\n')
		len--;
	buf[len] = '\0';
	return (ssize_t)len;
}

static int walk_into(int dirfd, const char *name, unsigned depth, struct cg_walk *w)
{
	AUTO_FD int fd = openat(dirfd, name, O_RDONLY | DIR_FLAGS);

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (++w->seen > CG_CHILD_COUNT_MAX)
		return -E2BIG;

	int r = cg_walk(fd, depth + 1, w);

	return r < 0 ? r : w->visit(dirfd, name, fd, w->arg);
}

int cg_walk(int dirfd, unsigned depth, struct cg_walk *w)
{
	AUTO_FD int fd = openat(dirfd, ".", O_RDONLY | DIR_FLAGS); /* @dirfd may be O_PATH */
	union {
		struct dirent64 first;
		char bytes[2048];
	} buf;

	if (fd < 0)
		return -errno;
	for (;;) {
		ssize_t n = getdents64(fd, buf.bytes, sizeof buf);

		if (n == 0 || (n < 0 && errno == ENOENT)) /* ENOENT: the group was removed meanwhile */
			return 0;
		if (n < 0)
			return -errno;
		for (ssize_t at = 0; at < n;) {
			const struct dirent64 *d = (const struct dirent64 *)(const void *)(buf.bytes + at);

			at += d->d_reclen;
			if (d->d_type != DT_DIR || is_dots(d->d_name, strlen(d->d_name)))
				continue;
			if (depth >= CG_CHILD_DEPTH_MAX)
				return -ELOOP;

			int r = walk_into(fd, d->d_name, depth, w);
			if (r < 0)
				return r;
		}
	}
}
