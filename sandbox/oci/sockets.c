/* Sockets of others, to which descriptors of a container go: the terminal's, the pidfd's, the seccomp agent's. */
#include "base/fd.h"
#include "json/json.h"
#include "oci/life.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

int life_connect(const char *path, struct err *e)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	char via[64];
	AUTO_FD int dir = FD_NONE;
	AUTO_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return err_sys(e, errno, "making a socket");
	if (strlen(path) >= sizeof to.sun_path) {
		/* A longer name than an address holds: by way of a descriptor. */
		dir = open(path, O_PATH | O_CLOEXEC);
		if (dir < 0)
			return err_sys(e, errno, "opening '%s'", path);
		(void)snprintf(via, sizeof via, "/proc/self/fd/%d", dir);
		path = via;
	}
	str_copy(to.sun_path, sizeof to.sun_path, path);
	if (connect(fd, (const struct sockaddr *)&to, sizeof to) < 0)
		return err_sys(e, errno, "connecting to '%s'", path);
	return take_fd(&fd);
}

/* All of @data, and @fd beside its first byte. */
static int send_beside(int sock, const char *data, size_t len, int fd)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec iov = {.iov_len = len};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.space,
			     .msg_controllen = sizeof control.space};
	ssize_t n;

	memcpy(&iov.iov_base, &data, sizeof data); /* sendmsg(2) only reads it */
	control.align.cmsg_level = SOL_SOCKET;
	control.align.cmsg_type = SCM_RIGHTS;
	control.align.cmsg_len = CMSG_LEN(sizeof fd);
	memcpy(CMSG_DATA(&control.align), &fd, sizeof fd);
	do
		n = sendmsg(sock, &msg, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : fd_write_all(sock, data + n, len - (size_t)n);
}

int life_send_pidfd(const char *path, int pidfd, struct err *e)
{
	static const char name[] = "pidfd";
	AUTO_FD int sock = path ? life_connect(path, e) : FD_NONE;
	int r;

	if (!path)
		return 0;
	if (sock < 0)
		return sock;
	r = send_beside(sock, name, sizeof name - 1, pidfd);
	return r < 0 ? err_sys(e, r, "sending the pidfd to '%s'", path) : 0;
}

/* ---- The seccomp agent: config-linux.md, "The Container Process State" ---- */

int life_check_agent(const struct ct_spec *s, struct err *e)
{
	struct stat st;

	if (!s->seccomp.asks)
		return 0;
	if (stat(s->seccomp.listener_path, &st) < 0)
		return err_sys(e, errno, "seccomp listener '%s'", s->seccomp.listener_path);
	return S_ISSOCK(st.st_mode) ? 0 : err_sys(e, ENOTSOCK, "seccomp listener '%s'", s->seccomp.listener_path);
}

static void process_state(struct buf *b, const struct life_agent *a, pid_t pid)
{
	buf_printf(b, "{\"ociVersion\":\"%s\",\"fds\":[\"seccompFd\"],\"pid\":%d", OCI_SPEC_VERSION, pid);
	if (a->spec->seccomp.listener_metadata) {
		buf_puts(b, ",\"metadata\":");
		json_add_string(b, a->spec->seccomp.listener_metadata, strlen(a->spec->seccomp.listener_metadata));
	}
	buf_puts(b, ",\"state\":");
	state_print(b, a->state, false);
	buf_puts(b, "}");
}

static int pass(int listener, pid_t pid, void *arg, struct err *e)
{
	const struct life_agent *a = arg;
	const char *path = a->spec->seccomp.listener_path;
	AUTO(buf_done) struct buf b = {0};
	AUTO_FD int sock = life_connect(path, e);
	int r;

	if (sock < 0)
		return sock;
	process_state(&b, a, pid);
	r = b.failed ? -ENOMEM : send_beside(sock, b.data, b.len, listener);
	return r < 0 ? err_sys(e, r, "sending the seccomp listener to '%s'", path) : 0;
}

struct ct_listener life_agent(struct life_agent *to, const struct ct_spec *spec, const struct oci_state *state)
{
	*to = (struct life_agent){spec, state};
	return (struct ct_listener){pass, to};
}
