/* unpack: a zip archive, open as descriptor 3, into the directory that is open as 4. What is wrong with it is written to 5,
 * in one sentence that names the entry. Exit status: 0; 1 the archive is not to be used; 2 something else failed.
 *
 * Executed by package/, as a user without rights under a filter and limits: the parser of other people's archives is here
 * and nowhere else. What comes out of libarchive is not trusted either: every entry is made by its own name in a directory
 * that was opened component by component without following a link, so that nothing is ever made outside. */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <locale.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	ARCHIVE = 3,
	ROOT = 4,
	COMPLAINT = 5,
	MAX_UNPACKED = 262144000,
	MAX_ENTRIES = 65536,
	MAX_PATH = 1024,
	MAX_DEPTH = 64,
	SHOWN = 200, /* of a name, in a complaint */
};

static size_t n_made; /* entries, and directories that they imply */
static char *links[MAX_ENTRIES];
static size_t n_links;

static _Noreturn __attribute__((format(printf, 2, 3))) void end(int status, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vdprintf(COMPLAINT, fmt, ap);
	va_end(ap);
	_exit(status);
}

static _Noreturn void refuse(const char *entry, const char *why)
{
	end(1, "the entry '%.*s' %s", SHOWN, entry, why);
}

static _Noreturn void fail(const char *entry, const char *doing)
{
	const int code = errno;

	end(code == ENOSPC || code == EDQUOT ? 2 : 1, "the entry '%.*s': %s: %s", SHOWN, entry, doing, strerror(code));
}

static void count(void)
{
	if (++n_made > MAX_ENTRIES)
		end(1, "it has over %d entries, with the directories that they need", MAX_ENTRIES);
}

/* ---- Names ---- */

/* Checks a name and takes it apart: the parts stand in @path, which is cut up. Their number, 0 for the root itself. */
static size_t split(const char *entry, char *path, char *parts[MAX_DEPTH])
{
	size_t n = 0;

	if (strlen(entry) >= MAX_PATH)
		refuse(entry, "has a name that is too long");
	if (entry[0] == '/')
		refuse(entry, "has an absolute path");
	if (strchr(entry, '\\'))
		refuse(entry, "has a backslash in its name");
	(void)snprintf(path, MAX_PATH, "%s", entry);
	for (char *p = path, *slash; p && *p; p = slash) {
		slash = strchr(p, '/');
		if (slash)
			*slash++ = '\0';
		if (*p == '\0' || strcmp(p, ".") == 0)
			continue;
		if (strcmp(p, "..") == 0)
			refuse(entry, "leads out of the package ('..')");
		if (strlen(p) > 255)
			refuse(entry, "has a name that is too long");
		if (n < MAX_DEPTH)
			parts[n++] = p;
		else
			refuse(entry, "lies too deep");
	}
	return n;
}

/* Opens the directory in which the last part is to be made, making what is missing on the way. */
static int open_parent(const char *entry, char *const *parts, size_t n)
{
	int at = fcntl(ROOT, F_DUPFD_CLOEXEC, 10);

	for (size_t i = 0; at >= 0 && i + 1 < n; i++) {
		int next;

		if (mkdirat(at, parts[i], 0755) == 0)
			count();
		else if (errno != EEXIST)
			fail(entry, "making its directory");
		next = openat(at, parts[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (next < 0)
			refuse(entry, "lies below something that is no directory");
		(void)close(at);
		at = next;
	}
	if (at < 0)
		fail(entry, "opening its directory");
	return at;
}

/* ---- Kinds ---- */

static void make_directory(const char *entry, int parent, const char *name)
{
	struct stat st;

	if (mkdirat(parent, name, 0755) == 0)
		return;
	if (errno != EEXIST || fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		fail(entry, "making it");
	if (!S_ISDIR(st.st_mode))
		refuse(entry, "is there twice, as a directory and as something else");
}

static void copy(struct archive *a, const char *entry, int fd, int64_t *total)
{
	const void *data;
	size_t len;
	int64_t at;
	int r;

	while ((r = archive_read_data_block(a, &data, &len, &at)) == ARCHIVE_OK) {
		*total += (int64_t)len;
		if (*total > MAX_UNPACKED || at > MAX_UNPACKED)
			end(1, "unpacked it has over %d bytes (at the entry '%.*s')", MAX_UNPACKED, SHOWN, entry);
		for (size_t done = 0; done < len;) {
			ssize_t n = pwrite(fd, (const char *)data + done, len - done, at + (int64_t)done);

			if (n < 0 && errno == EINTR)
				continue;
			if (n <= 0)
				fail(entry, "writing it");
			done += (size_t)n;
		}
	}
	if (r != ARCHIVE_EOF)
		end(1, "the entry '%.*s' cannot be read: %s", SHOWN, entry, archive_error_string(a));
}

static void make_file(struct archive *a, struct archive_entry *e, const char *entry, int parent, const char *name,
		      int64_t *total)
{
	const mode_t mode = archive_entry_perm(e) & 0111 ? 0755 : 0644;
	const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT},
					  {.tv_sec = archive_entry_mtime(e), .tv_nsec = archive_entry_mtime_nsec(e)}};
	int fd = openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);

	if (fd < 0 && errno == EEXIST)
		refuse(entry, "is there twice");
	if (fd < 0)
		fail(entry, "making it");
	copy(a, entry, fd, total);
	if (fchmod(fd, mode) < 0)
		fail(entry, "setting its mode");
	if (archive_entry_mtime_is_set(e))
		(void)futimens(fd, times); /* bytecode goes by it */
	(void)close(fd);
}

static void make_link(const char *entry, const char *target, int parent, const char *name)
{
	if (!target || !*target || target[0] == '/')
		refuse(entry, "is a link that leads out of the package");
	if (symlinkat(target, parent, name) < 0)
		fail(entry, "making it");
	links[n_links] = strdup(entry);
	if (!links[n_links++])
		end(2, "out of memory");
}

/* When everything is there: where a link leads is what the kernel says, other links on the way included, and no step of it
 * may leave the package (openat2(2)). One that leads nowhere is refused as well: something could be made there later. */
static void check_links(void)
{
	const struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};

	for (size_t i = 0; i < n_links; i++) {
		long fd = syscall(SYS_openat2, ROOT, links[i], &how, sizeof how);

		if (fd < 0 && (errno == EXDEV || errno == ELOOP))
			refuse(links[i], "is a link that leads out of the package");
		if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
			refuse(links[i], "is a link that leads nowhere");
		if (fd < 0)
			fail(links[i], "following it");
		(void)close((int)fd);
	}
}

static void make_one(struct archive *a, struct archive_entry *e, int64_t *total)
{
	const char *name = archive_entry_pathname(e), *entry = name ? name : "";
	char path[MAX_PATH], *parts[MAX_DEPTH];
	size_t n;
	int parent;

	if (!*entry)
		end(1, "an entry has no name, or one that is not UTF-8");
	n = split(entry, path, parts);
	if (archive_entry_is_encrypted(e))
		refuse(entry, "is encrypted");
	if (archive_entry_hardlink(e))
		refuse(entry, "is a hard link");
	if (n == 0) {
		if (archive_entry_filetype(e) != AE_IFDIR)
			refuse(entry, "has no name");
		return;
	}
	parent = open_parent(entry, parts, n);
	switch (archive_entry_filetype(e)) {
	case AE_IFDIR:
		make_directory(entry, parent, parts[n - 1]);
		break;
	case AE_IFREG:
		make_file(a, e, entry, parent, parts[n - 1], total);
		break;
	case AE_IFLNK:
		make_link(entry, archive_entry_symlink(e), parent, parts[n - 1]);
		break;
	default:
		refuse(entry, "is a device, a pipe or a socket");
	}
	(void)close(parent);
}

int main(void)
{
	struct archive *a = archive_read_new();
	struct archive_entry *e;
	int64_t total = 0;
	size_t n = 0;
	int r;

	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	(void)umask(022);
	(void)setlocale(LC_CTYPE, "C.UTF-8"); /* names in archives are that, or are refused */
	if (!a || archive_read_support_format_zip_seekable(a) != ARCHIVE_OK ||
	    archive_read_open_fd(a, ARCHIVE, 65536) != ARCHIVE_OK)
		end(1, "it is no zip archive: %s", a ? archive_error_string(a) : "out of memory");
	while ((r = archive_read_next_header(a, &e)) == ARCHIVE_OK || r == ARCHIVE_WARN) {
		count();
		n++;
		make_one(a, e, &total);
	}
	if (r != ARCHIVE_EOF)
		end(1, "it cannot be read: %s", archive_error_string(a));
	if (n == 0)
		end(1, "it is empty");
	check_links();
	return 0;
}
