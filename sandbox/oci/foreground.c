#include "oci/foreground.h"

#include "base/fd.h"
#include "base/mem.h"
#include "sys/sys.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>

static struct termios saved; /* of our terminal, for the end */

int foreground_begin(struct foreground *f, bool terminal, struct err *e)
{
	sigset_t all;
	int sv[2];

	*f = (struct foreground){.ours = FD_NONE, .theirs = FD_NONE, .master = FD_NONE, .signals = FD_NONE};
	(void)sigfillset(&all);
	for (const int *s = (const int[]){SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTTIN, SIGTTOU, 0}; *s; s++)
		(void)sigdelset(&all, *s);
	if (sigprocmask(SIG_BLOCK, &all, NULL) < 0)
		return err_sys(e, errno, "blocking signals");
	f->signals = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
	if (f->signals < 0)
		return err_sys(e, errno, "making a signalfd");
	if (!terminal)
		return 0;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
		return err_sys(e, errno, "making a socket for the terminal");
	f->ours = sv[0];
	f->theirs = sv[1];
	return 0;
}

static int receive_master(struct foreground *f, struct err *e)
{
	char name[64];
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec iov = {.iov_base = name, .iov_len = sizeof name};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.space,
			     .msg_controllen = sizeof control.space};
	const struct cmsghdr *c;

	fd_closep(&f->theirs);
	if (recvmsg(f->ours, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT) < 0)
		return err_sys(e, errno, "taking the container's terminal");
	c = CMSG_FIRSTHDR(&msg);
	if (!c || c->cmsg_type != SCM_RIGHTS)
		return err_set(e, ERR_BUG, EPROTO, "the container sent no terminal");
	memcpy(&f->master, CMSG_DATA(c), sizeof f->master);
	return 0;
}

static void copy_size(const struct foreground *f)
{
	struct winsize size;

	/* A caller whose own terminal has no size has none to give: consoleSize stays. */
	if (fd_valid(f->master) && ioctl(STDIN_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0)
		(void)ioctl(f->master, TIOCSWINSZ, &size);
}

static void make_raw(struct foreground *f)
{
	struct termios raw;

	if (tcgetattr(STDIN_FILENO, &saved) < 0)
		return; /* no terminal of our own */
	raw = saved;
	cfmakeraw(&raw);
	f->raw = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
}

static void pass_signals(const struct foreground *f, int pidfd)
{
	struct signalfd_siginfo si;

	while (read(f->signals, &si, sizeof si) == (ssize_t)sizeof si) {
		if (si.ssi_signo == SIGWINCH)
			copy_size(f);
		else if (si.ssi_signo != SIGCHLD && si.ssi_signo != SIGPIPE)
			(void)!sys_pidfd_kill(pidfd, (int)si.ssi_signo);
	}
}

/* False at the end of @from. */
static bool pump(int from, int to)
{
	char buf[8192];
	ssize_t n = read(from, buf, sizeof buf);

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return true;
	return n > 0 && fd_write_all(to, buf, (size_t)n) == 0;
}

/* What was typed and the terminal has no room for yet: a container that does not read must not keep us from its signals and
 * its end, so its terminal is never waited for. */
struct typed {
	char bytes[4096];
	size_t at, len;
};

/* False when nobody will ever take it. */
static bool give(struct typed *t, int master)
{
	ssize_t n = write(master, t->bytes + t->at, t->len - t->at);

	if (n < 0)
		return errno == EINTR || errno == EAGAIN;
	t->at += (size_t)n;
	if (t->at == t->len)
		t->at = t->len = 0;
	return true;
}

/* False at the end of the input. */
static bool take(struct typed *t, int master)
{
	ssize_t n = read(STDIN_FILENO, t->bytes, sizeof t->bytes);

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return true;
	if (n <= 0)
		return false;
	t->len = (size_t)n;
	return give(t, master);
}

/* One turn of the terminal. @p: master and standard input, FD_NONE when over. */
static void turn(struct pollfd *master, struct pollfd *input, struct typed *t, bool *open)
{
	if ((master->revents & ~POLLOUT) && !pump(master->fd, STDOUT_FILENO))
		master->fd = FD_NONE;
	if (t->len > 0 && (master->revents & POLLOUT))
		*open = give(t, master->fd) && *open;
	else if (input->revents)
		*open = take(t, master->fd);
	master->events = (short)(POLLIN | (t->len > 0 ? POLLOUT : 0));
	input->fd = *open && t->len == 0 && fd_valid(master->fd) ? STDIN_FILENO : FD_NONE;
	input->revents = 0;
}

static int status_of(const siginfo_t *si)
{
	return si->si_code == CLD_EXITED ? si->si_status : 128 + si->si_status;
}

int foreground_wait(struct foreground *f, int pidfd, struct err *e)
{
	struct pollfd p[4] = {
		{.fd = f->signals, .events = POLLIN},
		{.fd = pidfd, .events = POLLIN},
		{.fd = FD_NONE, .events = POLLIN},
		{.fd = FD_NONE, .events = POLLIN},
	};
	struct typed typed = {.at = 0};
	siginfo_t end = {0};
	bool open = true;
	int r;

	if (fd_valid(f->ours)) {
		r = receive_master(f, e);
		if (r < 0)
			return r;
		make_raw(f);
		copy_size(f);
		if (fcntl(f->master, F_SETFL, O_RDWR | O_NONBLOCK) < 0)
			return err_sys(e, errno, "preparing the container's terminal");
		p[2].fd = f->master;
		p[3].fd = STDIN_FILENO;
	}
	while (!(p[1].revents & POLLIN)) {
		if (poll(p, ARRAY_LEN(p), -1) < 0 && errno != EINTR)
			return err_sys(e, errno, "waiting for the container");
		if (p[0].revents)
			pass_signals(f, pidfd);
		if (fd_valid(p[2].fd))
			turn(&p[2], &p[3], &typed, &open);
	}
	p[2].events = POLLIN;
	/* What it wrote last is still in the terminal. */
	while (fd_valid(p[2].fd) && poll(&p[2], 1, 0) == 1 && pump(f->master, STDOUT_FILENO))
		;
	r = sys_wait_exit(pidfd, true, &end);
	return r < 0 ? err_sys(e, r, "waiting for the container") : status_of(&end);
}

void foreground_end(struct foreground *f)
{
	if (f->raw)
		(void)tcsetattr(STDIN_FILENO, TCSANOW, &saved);
	f->raw = false;
	fd_closep(&f->ours);
	fd_closep(&f->theirs);
	fd_closep(&f->master);
	fd_closep(&f->signals);
}
