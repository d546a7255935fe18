#define TAP_NO_MAIN
#include "tests/lib/fake_cell.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "tests/lib/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static size_t sink_room(void *arg)
{
	return ((struct fake *)arg)->room;
}

static void sink_put(void *arg, int stream, const char *data, size_t len)
{
	struct fake *f = arg;

	CHECK_LE(len, f->room);
	buf_add(&f->log[stream], data, len);
}

static int sink_wants(void *arg)
{
	(void)arg;
	return FD_NONE;
}

static void sink_writable(void *arg)
{
	(void)arg;
}

static void make_pipe(int *r, int *w)
{
	int p[2] = {-1, -1};

	CHECK(pipe2(p, O_CLOEXEC) == 0);
	*r = p[0];
	*w = p[1];
}

static void no_block(int fd)
{
	CHECK(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
}

void fake_start(struct fake *f)
{
	struct err e = {0};

	(void)e;
	*f = (struct fake){.room = 1 << 20};
	spec_init(&f->spec);
	cell_init(&f->cell, &f->host, &f->spec, NULL);
	make_pipe(&f->hear, &f->cell.in);
	make_pipe(&f->cell.out, &f->tell);
	make_pipe(&f->cell.std_out, &f->say[1]);
	make_pipe(&f->cell.std_err, &f->say[2]);
	make_pipe(&f->signal_r, &f->signal_w);
	no_block(f->cell.in);
	no_block(f->cell.out);
	no_block(f->cell.std_out);
	no_block(f->cell.std_err);
	f->cell.pid = fork();
	if (f->cell.pid == 0) {
		(void)close(f->tell); /* or end of file would wait for this one */
		(void)close(f->say[1]);
		(void)close(f->say[2]);
		(void)close(f->hear);
		for (;;)
			(void)pause();
	}
	f->cell.pidfd = (int)syscall(SYS_pidfd_open, f->cell.pid, 0);
	CHECK(f->cell.pidfd >= 0);
	f->sink = (struct session_sink){sink_room, sink_put, sink_wants, sink_writable, f};
	session_init(&f->s, &f->cell, &f->sink, f->signal_r);
}

void fake_done(struct fake *f)
{
	int *const fds[] = {&f->hear,    &f->tell,     &f->say[1],       &f->say[2],       &f->signal_r,  &f->signal_w,
			    &f->cell.in, &f->cell.out, &f->cell.std_out, &f->cell.std_err, &f->cell.pidfd};

	if (!f->cell.reaped) {
		(void)kill(f->cell.pid, SIGKILL);
		(void)waitpid(f->cell.pid, NULL, 0);
	}
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		fd_closep(fds[i]);
	for (size_t i = 0; i < ARRAY_LEN(f->log); i++)
		buf_done(&f->log[i]);
	session_done(&f->s);
	spec_done(&f->spec);
}

void fake_tell(struct fake *f, const void *data, size_t len)
{
	CHECK_EQ(fd_write_all(f->tell, data, len), 0);
}

void fake_frame(struct fake *f, uint16_t type, uint64_t call, const void *body, size_t len)
{
	const struct chan_head h = {.len = (uint32_t)len, .type = type, .call = call};

	fake_tell(f, &h, sizeof h);
	if (len > 0)
		fake_tell(f, body, len);
}

void fake_ready(struct fake *f, uint32_t flags)
{
	const struct chan_ready r = {CHAN_VERSION, flags};

	fake_frame(f, CHAN_READY, 0, &r, sizeof r);
}

void fake_error(struct fake *f, uint16_t type, uint64_t call, const char *name, const char *message)
{
	struct chan_error h = {.type_len = (uint16_t)strlen(name), .message_len = (uint32_t)strlen(message)};
	AUTO(buf_done) struct buf b = {0};

	buf_add(&b, &h, sizeof h);
	buf_puts(&b, name);
	buf_puts(&b, message);
	fake_frame(f, type, call, b.data, b.len);
}

void fake_exit(struct fake *f, int32_t code, int32_t status)
{
	const struct chan_exit x = {CHAN_EXIT_MAGIC, code, status};

	fake_frame(f, CHAN_EXIT, 0, &x, sizeof x);
}

void fake_ends(struct fake *f)
{
	fd_closep(&f->tell);
	fd_closep(&f->hear);
	fd_closep(&f->say[1]);
	fd_closep(&f->say[2]);
	(void)kill(f->cell.pid, SIGKILL);
}

enum session_event fake_wait(struct fake *f, uint64_t ms)
{
	return session_wait(&f->s, clock_mono_ns() + ms * NS_PER_MS);
}

void fake_call(struct fake *f, uint64_t number)
{
	struct err e = {0};

	if (!f->s.ready) {
		fake_ready(f, 0);
		CHECK_EQ(fake_wait(f, 2000), SESSION_READY);
	}
	CHECK_OK(session_call(&f->s, number, "id", "", 0, NS_PER_S, "{}", 2, &e), &e);
}
