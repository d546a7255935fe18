#include "base/fd.h"

#include "base/mem.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

int fd_fill_stdio(void)
{
	for (int fd = 0; fd < 3; fd++) {
		if (fcntl(fd, F_GETFD) >= 0)
			continue;
		int got = open("/dev/null", fd == 0 ? O_RDONLY : O_WRONLY); /* inherited on purpose */
		if (got < 0)
			return -errno;
		if (got != fd) { /* lower numbers are open by now, so this cannot be */
			(void)close(got);
			return -EBADF;
		}
	}
	return 0;
}

int fd_move_above(int *fd, int min)
{
	if (*fd >= min)
		return 0;

	int up = fcntl(*fd, F_DUPFD_CLOEXEC, min);

	if (up < 0)
		return -errno;
	(void)close(*fd);
	*fd = up;
	return 0;
}

int fd_read_all(int fd, size_t max, char **ret_data, size_t *ret_len)
{
	size_t cap = 4096 < max ? 4096 : max, len = 0;
	AUTO_FREE char *buf = malloc(cap + 1);

	if (!buf)
		return -ENOMEM;
	for (;;) {
		char extra;
		bool full = len == cap;

		if (full && cap < max) {
			size_t more = cap * 2 < max ? cap * 2 : max;
			char *grown = realloc(buf, more + 1);

			if (!grown)
				return -ENOMEM;
			buf = grown;
			cap = more;
			full = false;
		}

		ssize_t n = full ? read(fd, &extra, 1) : read(fd, buf + len, cap - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		if (full)
			return -EFBIG;
		len += (size_t)n;
	}
	buf[len] = '\0';
	*ret_data = take_ptr(&buf);
	*ret_len = len;
	return 0;
}

int fd_write_all(int fd, const void *data, size_t len)
{
	const char *p = data;

	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			struct pollfd pfd = {.fd = fd, .events = POLLOUT};

			(void)poll(&pfd, 1, -1);
			continue;
		}
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

ssize_t fd_read_file_at(int dirfd, const char *path, char *buf, size_t size)
{
	AUTO_FD int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
	size_t len = 0;

	if (fd < 0)
		return -errno;
	for (;;) {
		ssize_t n = read(fd, buf + len, size - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
		if (len == size)
			return -EFBIG;
	}
	while (len > 0 && buf[len - 1] == '\n')
		len--;
	buf[len] = '\0';
	return (ssize_t)len;
}

int fd_write_file_at(int dirfd, const char *path, const char *text, size_t len)
{
	AUTO_FD int fd = openat(dirfd, path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;

	ssize_t n = write(fd, text, len);
	if (n < 0)
		return -errno;
	return (size_t)n == len ? 0 : -EIO;
}
