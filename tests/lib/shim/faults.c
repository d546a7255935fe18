/* Preloaded into fsboxd by tests (tests/lib/daemon.sh, faults_start): by the file that FSBOX_TEST_FAULTS names, which it
 * shares with the test (class Faults of tests/lib/varlink.py), allocations are counted and made to fail, the wall
 * clock is moved, and the disk fails under the store. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define VISIBLE __attribute__((visibility("default")))

struct control {
	uint64_t count;     /* allocations so far */
	uint64_t fail_from; /* the first that fails; 0: none */
	uint64_t fail_to;   /* and the first after it that does not */
	uint64_t failed;    /* how many have */
	int64_t wall_ns;    /* added to CLOCK_REALTIME */
	uint64_t read_code; /* with it reading the store fails; 0: it does not */
	uint64_t unread;    /* how often it has */
};

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);

static struct control nothing;
static struct control *control = &nothing;

__attribute__((constructor)) static void open_control(void)
{
	const char *name = getenv("FSBOX_TEST_FAULTS");
	int fd = name ? open(name, O_RDWR | O_CLOEXEC) : -1;
	void *p = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p != MAP_FAILED)
		control = p;
	if (fd >= 0)
		(void)close(fd);
}

/* ---- Memory ---- */

static bool fails(void)
{
	const uint64_t n = __atomic_add_fetch(&control->count, 1, __ATOMIC_RELAXED);

	if (control->fail_from == 0 || n < control->fail_from || n >= control->fail_to)
		return false;
	(void)__atomic_add_fetch(&control->failed, 1, __ATOMIC_RELAXED);
	errno = ENOMEM;
	return true;
}

VISIBLE void *malloc(size_t size)
{
	return fails() ? NULL : __libc_malloc(size);
}

VISIBLE void *calloc(size_t n, size_t size)
{
	return fails() ? NULL : __libc_calloc(n, size);
}

VISIBLE void *realloc(void *p, size_t size)
{
	return fails() ? NULL : __libc_realloc(p, size);
}

/* ---- The disk ---- */

static bool is_store(int fd)
{
	static const char end[] = "/functions.db";
	char link[40], path[512];
	ssize_t n;

	(void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof path);
	return n >= (ssize_t)sizeof end && __builtin_memcmp(path + n - (sizeof end - 1), end, sizeof end - 1) == 0;
}

/* What SQLite reads by. */
VISIBLE ssize_t pread64(int fd, void *to, size_t len, off64_t at)
{
	const int code = (int)__atomic_load_n(&control->read_code, __ATOMIC_RELAXED);

	if (code == 0 || !is_store(fd))
		return syscall(SYS_pread64, fd, to, len, at);
	(void)__atomic_add_fetch(&control->unread, 1, __ATOMIC_RELAXED);
	errno = code;
	return -1;
}

/* ---- The wall clock ---- */

VISIBLE int clock_gettime(clockid_t id, struct timespec *ts)
{
	static int (*next)(clockid_t, struct timespec *);
	int r;

	if (!next) {
		void *found = dlsym(RTLD_NEXT, "clock_gettime");

		__builtin_memcpy(&next, &found, sizeof next);
	}
	r = next(id, ts);
	if (r == 0 && id == CLOCK_REALTIME && control->wall_ns != 0) {
		const int64_t ns = ts->tv_sec * 1000000000 + ts->tv_nsec + control->wall_ns;

		ts->tv_sec = ns / 1000000000;
		ts->tv_nsec = ns % 1000000000;
	}
	return r;
}
