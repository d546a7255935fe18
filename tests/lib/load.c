#include "tests/lib/load.h"

#include "base/str.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

char load_chunk[LOAD_CHUNK];

void load_die(const char *what)
{
	(void)fprintf(stderr, "bench: %s: %s\n", what, strerror(errno));
	exit(1);
}

void *load_get(size_t n)
{
	void *p = calloc(1, n);

	if (!p)
		load_die("memory");
	return p;
}

uint64_t load_number(const char *word)
{
	uint64_t n;

	if (parse_u64(word, 0, UINT64_MAX, &n))
		return n;
	errno = EINVAL;
	load_die(word);
}

uint64_t load_now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

void load_sort(double *x, size_t n)
{
	qsort(x, n, sizeof *x, by_size);
}

double load_part(const double *sorted, size_t n, double p)
{
	return n ? sorted[(size_t)((double)(n - 1) * p + 0.5)] : 0;
}

int load_knock(const char *path)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(to.sun_path, sizeof to.sun_path, "%s", path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) < 0)
		load_die(path);
	return fd;
}

char *load_message(size_t *ret_len, const char *method, const char *fmt, ...)
{
	char *params = NULL, *text = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&params, fmt, ap);
	va_end(ap);
	if (n >= 0)
		n = asprintf(&text, "{\"method\":\"org.fsbox.Sandbox.%s\",\"parameters\":{%s}}", method, params);
	if (n < 0)
		load_die("memory");
	free(params);
	*ret_len = (size_t)n + 1;
	return text;
}

void load_send(struct load_conn *to, const char *text, size_t len, int with)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec iov;
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

	if (with >= 0) {
		m.msg_control = &control;
		m.msg_controllen = sizeof control;
		*CMSG_FIRSTHDR(&m) = (struct cmsghdr){.cmsg_level = SOL_SOCKET,
						      .cmsg_type = SCM_RIGHTS,
						      .cmsg_len = CMSG_LEN(sizeof(int))};
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&m)), &with, sizeof with);
	}
	to->got = to->head_len = 0;
	to->ended = false;
	while (len > 0) {
		char *from = (char *)(uintptr_t)text; /* sendmsg(2) only reads it */
		ssize_t n;

		iov = (struct iovec){from, len};
		n = sendmsg(to->fd, &m, MSG_NOSIGNAL);
		if (n < 0)
			load_die("sending");
		text += n;
		len -= (size_t)n;
		m.msg_control = NULL;
		m.msg_controllen = 0;
	}
}

void load_take(struct load_conn *from, size_t back)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(4 * sizeof(int))];
	} control;
	struct iovec iov = {load_chunk, sizeof load_chunk};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	ssize_t n = recvmsg(from->fd, &m, MSG_CMSG_CLOEXEC);
	size_t keep;

	if (n <= 0)
		load_die("the answer did not come");
	for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h)) {
		int fd;

		memcpy(&fd, CMSG_DATA(h), sizeof fd);
		(void)close(fd);
	}
	keep = (size_t)n < LOAD_HEAD - 1 - from->head_len ? (size_t)n : LOAD_HEAD - 1 - from->head_len;
	memcpy(from->head + from->head_len, load_chunk, keep);
	from->head_len += keep;
	from->head[from->head_len] = '\0';
	from->got += (size_t)n;
	from->ended = back ? from->got >= back : load_chunk[n - 1] == '\0';
}

void load_wait(struct load_conn *from, size_t back)
{
	while (!from->ended)
		load_take(from, back);
}

bool load_is_error(const struct load_conn *from)
{
	return strncmp(from->head, "{\"error\"", 8) == 0;
}

void load_member(const struct load_conn *from, const char *key, char *ret, size_t size)
{
	const char *at = strstr(from->head, key), *end = at ? strchr(at + strlen(key), '"') : NULL;

	if (load_is_error(from) || !end) {
		(void)fprintf(stderr, "bench: %.300s\n", from->head);
		exit(1);
	}
	(void)snprintf(ret, size, "%.*s", (int)(end - at - (ssize_t)strlen(key)), at + strlen(key));
}
