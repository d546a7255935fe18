#include "cli/exec_io.h"

#include "base/fd.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>

/* A pipe's size: F_SETPIPE_SZ of anybody, /proc/sys/fs/pipe-max-size. */
enum { CHUNK = 16384, PIPE_MAX = 1 << 20 };

/* ---- Opening ---- */

static void give(struct exec_io *io, const char *name, int fd)
{
	io->names[io->n_theirs] = name;
	io->theirs[io->n_theirs++] = fd;
}

static int make_pipe(struct exec_io *io, const char *name, bool we_read, int *ret_ours, struct err *e)
{
	int p[2];

	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(e, errno, "making a pipe");
	*ret_ours = we_read ? p[0] : p[1];
	give(io, name, we_read ? p[1] : p[0]);
	/* Ours alone: the other end is another file. */
	return fcntl(*ret_ours, F_SETFL, O_NONBLOCK) < 0 ? err_sys(e, errno, "making a pipe non-blocking") : 0;
}

static void resize(const struct exec_io *io)
{
	struct winsize size;

	if (ioctl(STDIN_FILENO, TIOCGWINSZ, &size) == 0)
		(void)ioctl(io->out, TIOCSWINSZ, &size);
}

static int watch_size(struct exec_io *io, struct err *e)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGWINCH);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return err_sys(e, errno, "blocking SIGWINCH");
	io->resized = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return io->resized < 0 ? err_sys(e, errno, "signalfd") : 0;
}

/* A terminal for the command, set as ours is; ours then passes on what is typed. */
static int open_terminal(struct exec_io *io, struct err *e)
{
	struct termios raw;
	int slave, r;

	if (tcgetattr(STDIN_FILENO, &io->before) < 0)
		return err_set(e, ERR_SPEC, errno, "--tty: standard input is no terminal");
	io->out = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	if (io->out < 0 || unlockpt(io->out) < 0)
		return err_sys(e, errno, "making a terminal");
	slave = ioctl(io->out, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0)
		return err_sys(e, errno, "opening the terminal");
	give(io, "stdinFd", slave);
	if (tcsetattr(slave, TCSANOW, &io->before) < 0)
		return err_sys(e, errno, "setting the terminal");
	r = watch_size(io, e);
	if (r < 0)
		return r;
	resize(io);
	raw = io->before;
	cfmakeraw(&raw);
	if (tcsetattr(STDIN_FILENO, TCSANOW, &raw) < 0)
		return err_sys(e, errno, "setting our own terminal");
	io->raw = true;
	return 0;
}

int exec_io_open(struct exec_io *io, bool tty, bool no_stdin, int copy_to, struct err *e)
{
	int r = 0;

	*io = (struct exec_io){
		.in = FD_NONE,
		.out = FD_NONE,
		.err = FD_NONE,
		.copy_to = copy_to,
		.tty = tty,
		.no_stdin = no_stdin,
		.resized = FD_NONE,
	};
	if (tty && no_stdin)
		return err_set(e, ERR_SPEC, 0, "--tty and --no-stdin: a terminal is read from");
	if (tty) {
		r = open_terminal(io, e);
	} else {
		if (!no_stdin)
			r = make_pipe(io, "stdinFd", false, &io->in, e);
		if (r == 0)
			r = make_pipe(io, "stdoutFd", true, &io->out, e);
		if (r == 0)
			r = make_pipe(io, "stderrFd", true, &io->err, e);
	}
	io->in_open = io->stdin_open = !no_stdin;
	return r;
}

void exec_io_restore(struct exec_io *io)
{
	if (io->raw)
		(void)tcsetattr(STDIN_FILENO, TCSADRAIN, &io->before);
	io->raw = false;
}

static void close_theirs(struct exec_io *io)
{
	while (io->n_theirs > 0)
		fd_closep(&io->theirs[--io->n_theirs]);
}

void exec_io_done(struct exec_io *io)
{
	exec_io_restore(io);
	close_theirs(io);
	fd_closep(&io->in);
	fd_closep(&io->out);
	fd_closep(&io->err);
	fd_closep(&io->resized);
}

/* ---- Copying ---- */

static int input_fd(const struct exec_io *io)
{
	return io->tty ? io->out : io->in;
}

static void close_input(struct exec_io *io)
{
	io->in_open = io->stdin_open = false;
	io->at = io->len = 0;
	fd_closep(&io->in); /* a terminal stays: it is read from, too */
}

static void read_stdin(struct exec_io *io)
{
	ssize_t n = read(STDIN_FILENO, io->pending, sizeof io->pending);

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n > 0) {
		io->at = 0;
		io->len = (size_t)n;
		return;
	}
	io->stdin_open = false;
	close_input(io);
}

static void write_input(struct exec_io *io)
{
	ssize_t n = write(input_fd(io), io->pending + io->at, io->len - io->at);

	if (n < 0 && errno != EAGAIN && errno != EINTR) /* it reads no more, which is its own business */
		close_input(io);
	else if (n > 0)
		io->at += (size_t)n;
}

/* 1: there may be more; 0: nothing at the moment, or for good, and *fd is closed then. */
static int copy_output(struct client *c, int *fd, int to, struct err *e)
{
	char chunk[CHUNK];
	ssize_t n = read(*fd, chunk, sizeof chunk);
	int r;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0) { /* EIO: of a terminal whose other side is closed */
		fd_closep(fd);
		return 0;
	}
	r = cli_write(to, chunk, (size_t)n, c->signal_fd);
	if (r == -EPIPE)
		fd_closep(fd); /* and so the command gets to know */
	else if (r < 0)
		return r == -ECANCELED ? err_set(e, ERR_CANCELLED, ECANCELED, "interrupted")
				       : err_sys(e, r, "writing the command's output");
	return 1;
}

static int copy_all(struct exec_io *io, struct client *c, struct err *e)
{
	int *const fds[] = {&io->out, &io->err};
	const int to[] = {io->copy_to, STDERR_FILENO};
	int r = 0;

	/* Bounded by what a pipe may hold: somebody else in the cell may have taken hold of its other end. */
	for (size_t i = 0; r >= 0 && i < ARRAY_LEN(fds); i++)
		for (int left = PIPE_MAX / CHUNK; left > 0 && fd_valid(*fds[i]); left--) {
			r = copy_output(c, fds[i], to[i], e);
			if (r != 1)
				break;
		}
	return r < 0 ? r : 0;
}

enum { P_ANSWER, P_SIGNAL, P_SIZE, P_STDIN, P_IN, P_OUT, P_ERR, P_COUNT };

static void prepare(const struct exec_io *io, const struct client *c, struct pollfd p[P_COUNT])
{
	const bool waiting = io->at < io->len;

	for (int i = 0; i < P_COUNT; i++)
		p[i] = (struct pollfd){.fd = -1, .events = POLLIN};
	p[P_ANSWER].fd = c->fd;
	p[P_SIGNAL].fd = c->signal_fd;
	p[P_SIZE].fd = io->resized;
	if (io->stdin_open && !waiting)
		p[P_STDIN].fd = STDIN_FILENO;
	if (io->in_open) {
		/* Without anything to write, only for the news that nobody reads. */
		p[P_IN].fd = input_fd(io);
		p[P_IN].events = waiting ? POLLOUT : 0;
		if (io->tty && !waiting)
			p[P_IN].fd = -1;
	}
	p[P_OUT].fd = io->out;
	p[P_ERR].fd = io->err;
}

/* One round. 1: the answer is there. */
static int step(struct exec_io *io, struct client *c, const struct pollfd p[P_COUNT], struct err *e)
{
	struct signalfd_siginfo si;
	int r = 0;

	if (p[P_SIGNAL].revents)
		return err_set(e, ERR_CANCELLED, ECANCELED, "interrupted");
	if (p[P_SIZE].revents && read(io->resized, &si, sizeof si) == (ssize_t)sizeof si)
		resize(io);
	if (p[P_STDIN].revents)
		read_stdin(io);
	if (p[P_IN].revents & POLLOUT)
		write_input(io);
	else if (p[P_IN].revents & (POLLERR | POLLHUP) && !io->tty)
		close_input(io);
	if (p[P_OUT].revents)
		r = copy_output(c, &io->out, io->copy_to, e);
	if (r >= 0 && p[P_ERR].revents)
		r = copy_output(c, &io->err, STDERR_FILENO, e);
	if (r < 0)
		return r;
	return p[P_ANSWER].revents ? 1 : 0;
}

int exec_io_run(struct exec_io *io, struct client *c, struct err *e)
{
	int r = client_has_answer(c);

	close_theirs(io); /* they have been sent: the ends that are left are the command's alone */
	while (r == 0) {
		struct pollfd p[P_COUNT];

		prepare(io, c, p);
		if (poll(p, P_COUNT, -1) < 0) {
			if (errno == EINTR)
				continue;
			return err_sys(e, errno, "waiting for the command");
		}
		r = step(io, c, p, e);
	}
	/* All that it wrote is in the pipes by now. */
	return r < 0 ? r : copy_all(io, c, e);
}
