/* The socket on which clients knock. It is fsboxd that listens; here it is made and kept, so that between two
 * fsboxd clients only wait. */
#include "spawn/spawn.h"

#include "base/str.h"

#include <fcntl.h>
#include <linux/un.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

enum { BACKLOG = 4096, LISTEN_FDS_START = 3 };

/* Which file is it? Who connected to us is told apart from other sockets by it (open.c). The kernel asks for
 * CAP_NET_ADMIN. */
static void note_inode(struct spawn *s)
{
	AUTO_FD int file = ioctl(s->listener, SIOCUNIXFILE);
	struct stat st;

	if (!fd_valid(file) || fstat(file, &st) < 0)
		return;
	s->has_inode = true;
	s->socket_dev = st.st_dev;
	s->socket_ino = st.st_ino;
}

/* sd_listen_fds(3): LISTEN_PID is for us, LISTEN_FDS says how many there are from 3 on. */
static bool given(void)
{
	const char *pid = secure_getenv("LISTEN_PID"), *n = secure_getenv("LISTEN_FDS");
	uint64_t value;

	return pid && n && parse_u64(pid, 1, INT32_MAX, &value) && (pid_t)value == getpid() &&
	       parse_u64(n, 1, 1, &value);
}

static int take_given(struct spawn *s, struct err *e)
{
	int listens = 0, type = 0, domain = 0, fd;
	socklen_t len = sizeof listens;

	if (getsockopt(LISTEN_FDS_START, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) < 0 ||
	    getsockopt(LISTEN_FDS_START, SOL_SOCKET, SO_TYPE, &type, &len) < 0 ||
	    getsockopt(LISTEN_FDS_START, SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0)
		return err_sys(e, errno, "LISTEN_FDS=1: descriptor 3");
	if (!listens || type != SOCK_STREAM || domain != AF_UNIX)
		return err_set(e, ERR_SPEC, EINVAL, "LISTEN_FDS=1: descriptor 3 is not a listening Unix stream socket");
	fd = fcntl(LISTEN_FDS_START, F_DUPFD_CLOEXEC, 10);
	if (fd < 0 || fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
		return err_sys(e, errno, "LISTEN_FDS=1");
	(void)close(LISTEN_FDS_START);
	s->listener = fd;
	return 0;
}

static int make_parent(const char *path, struct err *e)
{
	const char *slash = strrchr(path, '/');
	char dir[SPAWN_MAX_PATH];

	if (!slash || slash == path)
		return 0;
	(void)snprintf(dir, sizeof dir, "%.*s", (int)(slash - path), path);
	return mkdir(dir, 0755) < 0 && errno != EEXIST ? err_sys(e, errno, "making '%s'", dir) : 0;
}

/* A socket that a dead one left is in the way; one that somebody listens on is not ours to take. */
static int clear_place(const struct sockaddr_un *to, struct err *e)
{
	AUTO_FD int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct stat st;

	if (lstat(to->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : err_sys(e, errno, "'%s'", to->sun_path);
	if (!S_ISSOCK(st.st_mode))
		return err_set(e, ERR_EXISTS, EEXIST, "'%s' is there and is not a socket", to->sun_path);
	if (probe < 0)
		return err_sys(e, errno, "making a socket");
	if (connect(probe, (const struct sockaddr *)to, sizeof *to) == 0 || errno != ECONNREFUSED)
		return err_set(e, ERR_BUSY, EADDRINUSE, "somebody listens on '%s' already", to->sun_path);
	return unlink(to->sun_path) < 0 && errno != ENOENT ? err_sys(e, errno, "removing '%s'", to->sun_path) : 0;
}

static int make_socket(struct spawn *s, struct err *e)
{
	AUTO_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	mode_t old;
	int r;

	if (fd < 0)
		return err_sys(e, errno, "making a socket");
	if (strlen(s->opt.socket) >= sizeof to.sun_path)
		return err_set(e, ERR_SPEC, ENAMETOOLONG, "--socket: at most %zu bytes", sizeof to.sun_path - 1);
	(void)snprintf(to.sun_path, sizeof to.sun_path, "%s", s->opt.socket);
	r = make_parent(to.sun_path, e);
	if (r == 0)
		r = clear_place(&to, e);
	if (r < 0)
		return r;
	old = umask(0777); /* nobody comes in before group and mode are right */
	r = bind(fd, (const struct sockaddr *)&to, sizeof to);
	(void)umask(old);
	if (r < 0)
		return err_sys(e, errno, "binding '%s'", to.sun_path);
	s->made_socket = true;
	if ((s->opt.has_socket_gid && chown(to.sun_path, (uid_t)-1, (gid_t)s->opt.socket_gid) < 0) ||
	    chmod(to.sun_path, (mode_t)s->opt.mode) < 0)
		return err_sys(e, errno, "setting the rights of '%s'", to.sun_path);
	if (listen(fd, BACKLOG) < 0)
		return err_sys(e, errno, "listening on '%s'", to.sun_path);
	s->listener = take_fd(&fd);
	return 0;
}

int listen_open(struct spawn *s, struct err *e)
{
	int r = given() ? take_given(s, e) : make_socket(s, e);

	if (r == 0)
		note_inode(s);
	return r;
}

void listen_close(struct spawn *s)
{
	struct stat st;

	fd_closep(&s->listener);
	if (!s->made_socket)
		return;
	/* Not one that somebody else has put there meanwhile. */
	if (!s->has_inode ||
	    (lstat(s->opt.socket, &st) == 0 && st.st_ino == s->socket_ino && st.st_dev == s->socket_dev))
		(void)unlink(s->opt.socket);
}
