/* Uses the kernel in the handler: "open", "socket", "fork", "thread" or "print", for cells whose policy became strict
 * after init. Answers "errno N". FSBOX_TEST_STRICT=init does the opening in the init, where it is still allowed. */
#include "out.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

static void *nothing(void *arg)
{
	return arg;
}

static int attempt(fsbox_call *call)
{
	pthread_t thread;
	int fd = 0;

	if (event_has(call, "open")) {
		fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
	} else if (event_has(call, "socket")) {
		fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	} else if (event_has(call, "fork")) {
		fd = fork();
		if (fd == 0)
			_exit(0);
		fd = -(fd < 0);
	} else if (event_has(call, "thread")) {
		errno = pthread_create(&thread, NULL, nothing, NULL);
		fd = -(errno != 0);
	} else {
		void *p = malloc(1 << 22); /* what a computation needs stays allowed */

		printf("%p %s %f\n", p, fsbox_request_id(call), (double)fsbox_remaining_ms(call));
		free(p);
	}
	return fd < 0 ? errno : 0;
}

int fsbox_init(void)
{
	const char *when = secure_getenv("FSBOX_TEST_STRICT");

	if (when && strcmp(when, "init") == 0) {
		int fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);

		if (fd < 0)
			return errno;
		(void)close(fd);
	}
	return 0;
}

int fsbox_handler(fsbox_call *call)
{
	struct out o = {0};

	out_text(&o, "errno %d", attempt(call));
	return out_answer(call, &o);
}
