/* Works in threads: four of them count, the handler adds up. "leave": one goes on after the answer. "fault": a thread
 * that is not the main one opens a file, for strict policies. */
#include "out.h"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

enum { THREADS = 4, STEPS = 100000 };

static pthread_barrier_t all_there;

static void *count(void *arg)
{
	unsigned long *n = arg;

	(void)pthread_barrier_wait(&all_there); /* no thread ends before the last one was made */
	for (int i = 0; i < STEPS; i++)
		++*n;
	return NULL;
}

static void *linger(void *arg)
{
	for (;;)
		(void)pause();
	return arg;
}

static void *open_file(void *arg)
{
	int fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);

	if (fd >= 0)
		(void)close(fd);
	return arg;
}

int fsbox_handler(fsbox_call *call)
{
	unsigned long n[THREADS] = {0}, sum = 0;
	pthread_t thread[THREADS], other;
	struct out o = {0};

	if (event_has(call, "fault")) {
		if (pthread_create(&other, NULL, open_file, NULL) == 0)
			(void)pthread_join(other, NULL);
		return 0;
	}
	if (pthread_barrier_init(&all_there, NULL, THREADS) != 0)
		return fsbox_fail(call, "Test.NoBarrier", "pthread_barrier_init failed");
	for (int i = 0; i < THREADS; i++) {
		if (pthread_create(&thread[i], NULL, count, &n[i]) != 0)
			return fsbox_fail(call, "Test.NoThread", "pthread_create failed");
	}
	for (int i = 0; i < THREADS; i++) {
		(void)pthread_join(thread[i], NULL);
		sum += n[i];
	}
	(void)pthread_barrier_destroy(&all_there);
	if (event_has(call, "leave") && pthread_create(&other, NULL, linger, NULL) == 0)
		(void)pthread_detach(other);
	out_text(&o, "%lu", sum);
	return out_answer(call, &o);
}
