/* Descriptors: one owner each, close-on-exec at birth, never below 3.
 *
 * "No descriptor" is FD_NONE; the only test is fd_valid(). close(2) is never retried, because Linux frees the number
 * even when it answers EINTR (close(2), NOTES). */
#pragma once

#include "base/err.h"

#include <errno.h>
#include <sys/types.h>
#include <unistd.h>

#define FD_NONE (-EBADF)

static inline bool fd_valid(int fd)
{
	return fd >= 0;
}

/* Closes *fd if it is one, and makes it FD_NONE. errno is kept. */
static inline void fd_closep(int *fd)
{
	if (*fd >= 0) {
		int saved = errno;

		(void)close(*fd);
		*fd = FD_NONE;
		errno = saved;
	}
}

/* Gives the descriptor away: the variable no longer owns it. */
static inline int take_fd(int *fd)
{
	int v = *fd;

	*fd = FD_NONE;
	return v;
}

/* Makes sure that 0, 1 and 2 are open, so that no later descriptor lands there. -errno on failure. */
NODISCARD int fd_fill_stdio(void);

/* Moves *fd to a number of at least @min, close-on-exec; the old number is closed. -errno on failure. */
NODISCARD int fd_move_above(int *fd, int min);

/* Reads at most @max bytes until end of file into a fresh buffer, with a 0 byte after them.
 * The caller frees *ret_data. -EFBIG when there is more. */
NODISCARD int fd_read_all(int fd, size_t max, char **ret_data, size_t *ret_len);

/* Writes all of it, waiting where needed. -errno on failure. */
NODISCARD int fd_write_all(int fd, const void *data, size_t len);

/* Reads a small file relative to @dirfd (AT_FDCWD allowed) into @buf, terminated, trailing newline removed.
 * Returns the length or -errno; -EFBIG when it does not fit. */
NODISCARD ssize_t fd_read_file_at(int dirfd, const char *path, char *buf, size_t size);

/* Writes @text with one write(2), as control files of the kernel want it. -errno on failure. */
NODISCARD int fd_write_file_at(int dirfd, const char *path, const char *text, size_t len);

/* ---- Descriptors beside a message: fd_pass.c ----
 *
 * Nothing is allocated: for both sides of a clone. */

enum { FD_PASS_MAX = 128 };

/* One sendmsg(2) with @n descriptors, which stay the caller's, without SIGPIPE. Bytes sent, or -errno. */
NODISCARD ssize_t fd_send(int sock, const void *data, size_t len, const int *fds, size_t n, int flags);

struct fd_passed {
	size_t n;      /* descriptors that came; the caller's, close-on-exec */
	bool too_many; /* and more than @max: those are closed */
	bool lost;     /* the kernel left some out: this process has no number for them, or @max is 0 */
	bool cut;      /* the message is longer than @len */
};
/* One recvmsg(2). Bytes received, 0 at the end of file, or -errno. With @max 0 no descriptor comes in at all. */
NODISCARD ssize_t fd_receive(int sock, void *data, size_t len, int *fds, size_t max, int flags, struct fd_passed *ret);
