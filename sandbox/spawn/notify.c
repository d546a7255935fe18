/* Words to a service manager: datagrams to the socket that $NOTIFY_SOCKET names; sd_notify(3), "Notes". */
#include "spawn/spawn.h"

#include <linux/un.h>
#include <stddef.h>
#include <sys/socket.h>

/* The name is not for fsboxd, which has nothing to say there. */
void notify_open(struct spawn *s)
{
	const char *name = secure_getenv("NOTIFY_SOCKET");
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	const size_t len = name ? strlen(name) : 0;
	AUTO_FD int fd = FD_NONE;

	if ((len > 1 && len < sizeof to.sun_path) && (name[0] == '/' || name[0] == '@')) {
		memcpy(to.sun_path, name, len);
		if (name[0] == '@') /* unix(7), abstract: the name begins with a 0 byte and has no end but its length */
			to.sun_path[0] = '\0';
		fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (fd_valid(fd) && connect(fd, (const struct sockaddr *)&to,
					    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) == 0)
			s->notify = take_fd(&fd);
	}
	(void)unsetenv("NOTIFY_SOCKET");
}

static void notify(const struct spawn *s, const char *words)
{
	if (fd_valid(s->notify))
		(void)!send(s->notify, words, strlen(words), MSG_NOSIGNAL);
}

void notify_ready(struct spawn *s)
{
	if (!s->notified && !s->stopping)
		notify(s, "READY=1");
	s->notified = true;
}

void notify_stopping(struct spawn *s)
{
	notify(s, "STOPPING=1");
}
