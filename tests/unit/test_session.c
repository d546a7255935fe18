/* The host's side of the channel against a fake cell: pipes, and a process that stands for PID 1. */
#include "tests/lib/tap.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "cell/session.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

struct fake {
	struct cell_host host;
	struct cell_spec spec;
	struct cell cell;
	struct session s;
	struct session_sink sink;
	struct buf log[3];
	size_t room;
	int tell;   /* the cell writes here: frames */
	int hear;   /* the cell reads here */
	int say[3]; /* the function's 1 and 2 */
	int signal_r, signal_w;
};

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

static void fake_start(struct fake *f)
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

static void fake_done(struct fake *f)
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

#define FAKE(name)                                                           \
	__attribute__((cleanup(fake_done))) struct fake name = {.tell = -1}; \
	fake_start(&name)

static void tell(struct fake *f, const void *data, size_t len)
{
	CHECK_EQ(fd_write_all(f->tell, data, len), 0);
}

static void frame(struct fake *f, uint16_t type, uint64_t call, const void *body, size_t len)
{
	const struct chan_head h = {.len = (uint32_t)len, .type = type, .call = call};

	tell(f, &h, sizeof h);
	if (len > 0)
		tell(f, body, len);
}

static void frame_ready(struct fake *f, uint32_t has_shutdown)
{
	const struct chan_ready r = {CHAN_VERSION, has_shutdown};

	frame(f, CHAN_READY, 0, &r, sizeof r);
}

static void frame_error(struct fake *f, uint16_t type, uint64_t call, const char *name, const char *message)
{
	struct chan_error h = {.type_len = (uint16_t)strlen(name), .message_len = (uint32_t)strlen(message)};
	AUTO(buf_done) struct buf b = {0};

	buf_add(&b, &h, sizeof h);
	buf_puts(&b, name);
	buf_puts(&b, message);
	frame(f, type, call, b.data, b.len);
}

static void frame_exit(struct fake *f, int32_t code, int32_t status)
{
	const struct chan_exit x = {CHAN_EXIT_MAGIC, code, status};

	frame(f, CHAN_EXIT, 0, &x, sizeof x);
}

/* The cell is gone: its descriptors and its PID 1. */
static void cell_ends(struct fake *f)
{
	fd_closep(&f->tell);
	fd_closep(&f->hear);
	fd_closep(&f->say[1]);
	fd_closep(&f->say[2]);
	(void)kill(f->cell.pid, SIGKILL);
}

static enum session_event wait_ms(struct fake *f, uint64_t ms)
{
	return session_wait(&f->s, clock_mono_ns() + ms * NS_PER_MS);
}

/* Ready, and a call under way. */
static void in_call(struct fake *f, uint64_t number)
{
	struct err e = {0};

	if (!f->s.ready) {
		frame_ready(f, 0);
		CHECK_EQ(wait_ms(f, 2000), SESSION_READY);
	}
	CHECK_OK(session_call(&f->s, number, "id", "", 0, NS_PER_S, "{}", 2, &e), &e);
}

TEST(ready_is_told_with_what_the_runtime_says_of_itself)
{
	FAKE(f);
	frame_ready(&f, 1);
	CHECK_EQ(wait_ms(&f, 2000), SESSION_READY);
	CHECK(f.s.ready);
	CHECK(f.s.has_shutdown);
	CHECK_EQ(wait_ms(&f, 5), SESSION_DEADLINE);
}

TEST(a_frame_that_comes_byte_by_byte_is_the_same_frame)
{
	const struct chan_ready r = {CHAN_VERSION, 0};
	const struct chan_head h = {.len = sizeof r, .type = CHAN_READY};
	char bytes[sizeof h + sizeof r];

	FAKE(f);
	memcpy(bytes, &h, sizeof h);
	memcpy(bytes + sizeof h, &r, sizeof r);
	for (size_t i = 0; i + 1 < sizeof bytes; i++) {
		tell(&f, bytes + i, 1);
		CHECK_EQ(wait_ms(&f, 1), SESSION_DEADLINE);
	}
	tell(&f, bytes + sizeof bytes - 1, 1);
	CHECK_EQ(wait_ms(&f, 2000), SESSION_READY);
	CHECK(!f.s.has_shutdown);
}

TEST(a_call_goes_out_as_one_frame_with_its_ids_and_its_event)
{
	struct chan_call_view v;
	struct chan_head h;
	struct err e = {0};
	char got[512];

	FAKE(f);
	frame_ready(&f, 0);
	CHECK_EQ(wait_ms(&f, 2000), SESSION_READY);
	CHECK_OK(session_call(&f.s, 7, "request-id", "Root=1", 1234, 5678, "\0event", 6, &e), &e);

	ssize_t n = read(f.hear, got, sizeof got);
	CHECK_EQ(n, (ssize_t)(sizeof h + sizeof(struct chan_call) + 10 + 6 + 6));
	CHECK_EQ(chan_head_parse(got, CHAN_CELL, &h), 0);
	CHECK_EQ(h.type, CHAN_CALL);
	CHECK_EQ(h.call, 7);
	CHECK_GT(chan_call_parse(got + sizeof h, h.len, h.len, &v), 0);
	CHECK_EQ(v.fixed.deadline_ms, 1234);
	CHECK_EQ(v.fixed.remaining_ns, 5678);
	CHECK_MEMEQ(v.id, "request-id", 10);
	CHECK_MEMEQ(v.trace, "Root=1", 6);
	CHECK_MEMEQ(got + sizeof h + v.event_at, "\0event", 6);
}

TEST(parts_of_an_answer_are_joined_in_their_order)
{
	FAKE(f);
	in_call(&f, 1);
	frame(&f, CHAN_DATA, 1, "ab", 2);
	frame(&f, CHAN_DATA, 1, "", 0);
	frame(&f, CHAN_DATA, 1, "\0c", 2);
	frame(&f, CHAN_DONE, 1, NULL, 0);
	CHECK_EQ(wait_ms(&f, 2000), SESSION_DONE);
	CHECK_EQ(f.s.answer.len, 4);
	CHECK_MEMEQ(f.s.answer.data, "ab\0c", 4);
	CHECK_EQ(f.s.call, 0);
}

TEST(the_answer_of_the_call_before_is_not_in_the_next)
{
	FAKE(f);
	in_call(&f, 1);
	frame(&f, CHAN_DATA, 1, "first", 5);
	frame(&f, CHAN_DONE, 1, NULL, 0);
	CHECK_EQ(wait_ms(&f, 2000), SESSION_DONE);
	in_call(&f, 2);
	frame(&f, CHAN_DONE, 2, NULL, 0);
	CHECK_EQ(wait_ms(&f, 2000), SESSION_DONE);
	CHECK_EQ(f.s.answer.len, 0);
}

TEST(an_error_report_has_the_functions_own_type_and_message)
{
	FAKE(f);
	in_call(&f, 1);
	frame(&f, CHAN_DATA, 1, "not this", 8);
	frame_error(&f, CHAN_ERROR, 1, "Own.Type", "what went wrong");
	CHECK_EQ(wait_ms(&f, 2000), SESSION_ERROR);
	CHECK_STREQ(f.s.error_type, "Own.Type");
	CHECK_STREQ(f.s.error_message.data, "what went wrong");
	in_call(&f, 2); /* the cell goes on */
	CHECK_STREQ(f.s.error_type, "");
	frame(&f, CHAN_DONE, 2, NULL, 0);
	CHECK_EQ(wait_ms(&f, 2000), SESSION_DONE);
}

TEST(an_init_error_is_told_before_ready_and_not_after_a_call)
{
	FAKE(f);
	frame_error(&f, CHAN_INIT_ERROR, 0, "Runtime.InitError", "no");
	CHECK_EQ(wait_ms(&f, 2000), SESSION_INIT_ERROR);
	CHECK_STREQ(f.s.error_type, "Runtime.InitError");

	FAKE(g);
	in_call(&g, 1);
	frame(&g, CHAN_DONE, 1, NULL, 0);
	CHECK_EQ(wait_ms(&g, 2000), SESSION_DONE);
	frame_error(&g, CHAN_INIT_ERROR, 0, "Runtime.InitError", "no");
	CHECK_EQ(wait_ms(&g, 2000), SESSION_BROKEN);
}

/* A large frame needs a peer that takes it: a child of its own. */
static pid_t writer(struct fake *f, size_t len, bool done)
{
	pid_t pid = fork();

	if (pid == 0) {
		char *body = calloc(1, len + 1);
		const struct chan_head h = {.len = (uint32_t)len, .type = CHAN_DATA, .call = 1};
		const struct chan_head end = {.type = CHAN_DONE, .call = 1};

		(void)signal(SIGPIPE, SIG_IGN);
		if (!body || fd_write_all(f->tell, &h, sizeof h) < 0 || fd_write_all(f->tell, body, len) < 0)
			_exit(1);
		if (done && fd_write_all(f->tell, &end, sizeof end) < 0)
			_exit(1);
		_exit(0);
	}
	return pid;
}

TEST(an_answer_of_6291456_bytes_is_taken_and_one_byte_more_is_too_large)
{
	FAKE(f);
	in_call(&f, 1);
	pid_t pid = writer(&f, CHAN_MAX_PAYLOAD, true);
	CHECK_EQ(wait_ms(&f, 10000), SESSION_DONE);
	CHECK_EQ(f.s.answer.len, CHAN_MAX_PAYLOAD);
	(void)waitpid(pid, NULL, 0);

	FAKE(g);
	in_call(&g, 1);
	pid = writer(&g, CHAN_MAX_PAYLOAD, false);
	CHECK_EQ(wait_ms(&g, 200), SESSION_DEADLINE);
	(void)waitpid(pid, NULL, 0);
	frame(&g, CHAN_DATA, 1, "x", 1);
	CHECK_EQ(wait_ms(&g, 2000), SESSION_TOO_LARGE);
}

TEST(frames_that_no_cell_may_send_break_the_session_and_say_why)
{
	static const struct {
		struct chan_head head;
		bool in_call;
	} cases[] = {
		{{.len = 0xffffffff, .type = CHAN_DATA, .call = 1}, true}, /* endless */
		{{.len = CHAN_MAX_PAYLOAD + 1, .type = CHAN_DATA, .call = 1}, true},
		{{.len = 0, .type = 0, .call = 1}, true}, /* no type */
		{{.len = 0, .type = 99, .call = 0}, true},
		{{.len = 0, .type = CHAN_CALL, .call = 1}, true}, /* the host's own */
		{{.len = 0, .type = CHAN_SHUTDOWN, .call = 0}, false},
		{{.len = 0, .type = CHAN_DONE, .call = 1, .zero = 1}, true},
		{{.len = 0, .type = CHAN_DONE, .call = 2}, true}, /* another call */
		{{.len = 0, .type = CHAN_DONE, .call = 0}, true},
		{{.len = 1, .type = CHAN_DONE, .call = 1}, true},
		{{.len = 0, .type = CHAN_DONE, .call = 1}, false}, /* no call */
		{{.len = 0, .type = CHAN_DATA, .call = 1}, false},
		{{.len = 0, .type = CHAN_READY, .call = 0}, false},
		{{.len = 0, .type = CHAN_READY, .call = 1}, false},
		{{.len = 0, .type = CHAN_ERROR, .call = 1}, true}, /* no lengths in it */
		{{.len = 7, .type = CHAN_FAULT, .call = 1}, true},
		{{.len = 0, .type = CHAN_EXIT, .call = 0}, true},
	};
	static const char zeros[64];

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		FAKE(f);
		if (cases[i].in_call)
			in_call(&f, 1);
		tell(&f, &cases[i].head, sizeof cases[i].head);
		if (cases[i].head.len <= sizeof zeros)
			tell(&f, zeros, cases[i].head.len);
		if (!CHECK_EQ(wait_ms(&f, 2000), SESSION_BROKEN))
			tap_note("case %zu", i);
		CHECK_CONTAINS(f.s.error_message.data, "contract");
		CHECK_EQ(wait_ms(&f, 5), SESSION_DEADLINE); /* nothing more is believed */
		frame(&f, CHAN_DONE, 1, NULL, 0);
		CHECK_EQ(wait_ms(&f, 5), SESSION_DEADLINE);
	}
}

TEST(errors_with_lengths_that_contradict_each_other_break_the_session)
{
	static const struct {
		uint16_t type_len, zero;
		uint32_t message_len, rest;
	} cases[] = {{1, 0, 0, 0},         {0, 0, 1, 0},         {0, 0, 0, 1},
		     {257, 0, 0, 257},     {0, 0, 32769, 32769}, {0xffff, 0, 0xffffffff, 0},
		     {1, 0, 0xffffffff, 0}};
	AUTO_FREE char *body = calloc(1, 40000);

	for (size_t i = 0; body && i < ARRAY_LEN(cases); i++) {
		const struct chan_error h = {cases[i].type_len, cases[i].zero, cases[i].message_len};

		FAKE(f);
		in_call(&f, 1);
		memcpy(body, &h, sizeof h);
		frame(&f, CHAN_ERROR, 1, body, sizeof h + cases[i].rest);
		if (!CHECK_EQ(wait_ms(&f, 2000), SESSION_BROKEN))
			tap_note("case %zu", i);
	}
}

TEST(ready_twice_or_of_another_version_breaks_the_session)
{
	const struct chan_ready other = {CHAN_VERSION + 1, 0};

	FAKE(f);
	frame(&f, CHAN_READY, 0, &other, sizeof other);
	CHECK_EQ(wait_ms(&f, 2000), SESSION_BROKEN);
	CHECK(!f.s.ready);

	FAKE(g);
	frame_ready(&g, 0);
	frame_ready(&g, 0);
	CHECK_EQ(wait_ms(&g, 2000), SESSION_READY);
	CHECK_EQ(wait_ms(&g, 2000), SESSION_BROKEN);
}

TEST(a_second_end_of_a_call_is_not_the_end_of_the_next)
{
	struct err e = {0};

	FAKE(f);
	in_call(&f, 1);
	frame(&f, CHAN_DONE, 1, NULL, 0);
	frame(&f, CHAN_DATA, 1, "late", 4);
	frame(&f, CHAN_DONE, 1, NULL, 0);
	CHECK_EQ(wait_ms(&f, 2000), SESSION_DONE);
	CHECK_OK(session_call(&f.s, 2, "id", "", 0, 0, "", 0, &e), &e);
	CHECK_EQ(wait_ms(&f, 2000), SESSION_BROKEN);
}

/* ---- how it ends ---- */

TEST(the_last_bytes_say_how_the_runtime_ended)
{
	FAKE(f);
	in_call(&f, 1);
	frame_exit(&f, CLD_EXITED, 7);
	cell_ends(&f);
	CHECK_EQ(wait_ms(&f, 2000), SESSION_ENDED);
	CHECK(f.s.exit_seen);
	CHECK_EQ(f.s.exit.code, CLD_EXITED);
	CHECK_EQ(f.s.exit.status, 7);
	CHECK(f.cell.reaped);
}

TEST(an_exit_record_after_half_a_frame_or_garbage_is_found)
{
	static const char junk[1000] = {1, 2, 3};

	FAKE(f);
	in_call(&f, 1);
	tell(&f, &(struct chan_head){.len = 1000, .type = CHAN_DATA, .call = 1}, sizeof(struct chan_head));
	tell(&f, junk, 10);
	frame_exit(&f, CLD_KILLED, SIGSEGV);
	cell_ends(&f);
	CHECK_EQ(wait_ms(&f, 2000), SESSION_ENDED);
	CHECK(f.s.exit_seen);
	CHECK_EQ(f.s.exit.status, SIGSEGV);

	FAKE(g);
	in_call(&g, 1);
	tell(&g, junk, sizeof junk);
	frame_exit(&g, CLD_EXITED, 3);
	cell_ends(&g);
	CHECK_EQ(wait_ms(&g, 2000), SESSION_BROKEN);
	CHECK_EQ(wait_ms(&g, 2000), SESSION_ENDED);
	CHECK(g.s.exit_seen);
	CHECK_EQ(g.s.exit.status, 3);
}

TEST(an_exit_record_that_comes_in_pieces_is_whole)
{
	const struct chan_head h = {.len = sizeof(struct chan_exit), .type = CHAN_EXIT};
	const struct chan_exit x = {CHAN_EXIT_MAGIC, CLD_EXITED, 9};
	char bytes[CHAN_EXIT_BYTES];

	FAKE(f);
	in_call(&f, 1);
	memcpy(bytes, &h, sizeof h);
	memcpy(bytes + sizeof h, &x, sizeof x);
	for (size_t i = 0; i < sizeof bytes; i++) {
		tell(&f, bytes + i, 1);
		CHECK_EQ(wait_ms(&f, 1), SESSION_DEADLINE);
	}
	cell_ends(&f);
	CHECK_EQ(wait_ms(&f, 2000), SESSION_ENDED);
	CHECK(f.s.exit_seen);
	CHECK_EQ(f.s.exit.status, 9);
}

TEST(an_exit_record_that_is_not_the_end_is_not_believed)
{
	FAKE(f);
	in_call(&f, 1);
	frame_exit(&f, CLD_EXITED, 0);
	frame(&f, CHAN_DATA, 1, "and on", 6);
	cell_ends(&f);
	CHECK_EQ(wait_ms(&f, 2000), SESSION_ENDED);
	CHECK(!f.s.exit_seen);

	FAKE(g); /* two: the last one counts */
	in_call(&g, 1);
	frame_exit(&g, CLD_EXITED, 0);
	frame_exit(&g, CLD_EXITED, 5);
	cell_ends(&g);
	CHECK_EQ(wait_ms(&g, 2000), SESSION_ENDED);
	CHECK(g.s.exit_seen);
	CHECK_EQ(g.s.exit.status, 5);
}

TEST(an_end_without_a_record_is_an_end_without_a_record)
{
	FAKE(f);
	in_call(&f, 1);
	cell_ends(&f);
	CHECK_EQ(wait_ms(&f, 2000), SESSION_ENDED);
	CHECK(!f.s.exit_seen);
	CHECK_EQ(f.cell.exit.si_status, SIGKILL);
}

TEST(a_fault_names_the_call_also_from_the_middle_of_a_frame)
{
	const struct chan_fault fault = {41, 0xc000003e};

	FAKE(f);
	in_call(&f, 1);
	frame(&f, CHAN_FAULT, 1, &fault, sizeof fault);
	frame_exit(&f, CLD_KILLED, SIGSYS);
	cell_ends(&f);
	CHECK_EQ(wait_ms(&f, 2000), SESSION_ENDED);
	CHECK(f.s.fault_seen && f.s.exit_seen);
	CHECK_EQ(f.s.fault.nr, 41);

	FAKE(g);
	in_call(&g, 1);
	tell(&g, &(struct chan_head){.len = 500, .type = CHAN_DATA, .call = 1}, sizeof(struct chan_head));
	frame(&g, CHAN_FAULT, 1, &fault, sizeof fault);
	frame_exit(&g, CLD_KILLED, SIGSYS);
	cell_ends(&g);
	CHECK_EQ(wait_ms(&g, 2000), SESSION_ENDED);
	CHECK(g.s.fault_seen && g.s.exit_seen);
	CHECK_EQ(g.s.fault.nr, 41);
}

TEST(an_answer_that_came_before_the_end_counts)
{
	FAKE(f);
	in_call(&f, 1);
	frame(&f, CHAN_DATA, 1, "ok", 2);
	frame(&f, CHAN_DONE, 1, NULL, 0);
	frame_exit(&f, CLD_EXITED, 0);
	cell_ends(&f);
	CHECK_EQ(wait_ms(&f, 2000), SESSION_DONE);
	CHECK_EQ(f.s.answer.len, 2);
	CHECK_EQ(wait_ms(&f, 2000), SESSION_ENDED);
}

/* ---- nothing it sends or withholds blocks this side ---- */

TEST(silence_ends_at_the_deadline)
{
	FAKE(f);
	uint64_t begin = clock_mono_ns();
	CHECK_EQ(wait_ms(&f, 60), SESSION_DEADLINE);
	uint64_t took = (clock_mono_ns() - begin) / NS_PER_MS;
	CHECK_GE(took, 60);
	CHECK_LT(took, 2000);
}

TEST(a_peer_that_never_reads_does_not_block_a_call_and_the_deadline_holds)
{
	AUTO_FREE char *event = calloc(1, CHAN_MAX_PAYLOAD);
	struct err e = {0};

	FAKE(f);
	frame_ready(&f, 0);
	CHECK_EQ(wait_ms(&f, 2000), SESSION_READY);
	REQUIRE(event);
	CHECK_OK(session_call(&f.s, 1, "id", "", 0, 0, event, CHAN_MAX_PAYLOAD, &e), &e);
	CHECK_EQ(wait_ms(&f, 30), SESSION_DEADLINE);
	CHECK_OK(session_shutdown(&f.s, &e), &e); /* behind what still waits */
	CHECK_EQ(wait_ms(&f, 30), SESSION_DEADLINE);
}

TEST(a_large_event_arrives_whole_through_a_small_pipe_with_the_frame_after_it)
{
	enum { LEN = 300000 };
	AUTO_FREE char *event = malloc(LEN);
	AUTO_FREE char *got = malloc(LEN + 4096);
	struct chan_head h;
	struct err e = {0};
	size_t have = 0;

	FAKE(f);
	REQUIRE(event && got);
	for (size_t i = 0; i < LEN; i++)
		event[i] = (char)(i % 251);
	(void)fcntl(f.hear, F_SETPIPE_SZ, 4096);
	frame_ready(&f, 0);
	CHECK_EQ(wait_ms(&f, 2000), SESSION_READY);
	CHECK_OK(session_call(&f.s, 1, "id", "t", 0, 0, event, LEN, &e), &e);
	CHECK_OK(session_shutdown(&f.s, &e), &e);
	no_block(f.hear);
	for (int i = 0; i < 10000 && have < LEN + 2 * sizeof h + sizeof(struct chan_call) + 3; i++) {
		ssize_t n = read(f.hear, got + have, LEN + 4096 - have);

		have += n > 0 ? (size_t)n : 0;
		CHECK_EQ(wait_ms(&f, 0), SESSION_DEADLINE);
	}
	CHECK_EQ(have, LEN + 2 * sizeof h + sizeof(struct chan_call) + 3);
	CHECK_MEMEQ(got + sizeof h + sizeof(struct chan_call) + 3, event, LEN);
	CHECK_EQ(chan_head_parse(got + have - sizeof h, CHAN_CELL, &h), 0);
	CHECK_EQ(h.type, CHAN_SHUTDOWN);
}

TEST(a_peer_that_closed_its_end_does_not_end_us)
{
	struct err e = {0};

	(void)signal(SIGPIPE, SIG_IGN);
	FAKE(f);
	frame_ready(&f, 0);
	CHECK_EQ(wait_ms(&f, 2000), SESSION_READY);
	fd_closep(&f.hear);
	CHECK_OK(session_call(&f.s, 1, "id", "", 0, 0, "{}", 2, &e), &e);
	CHECK_EQ(wait_ms(&f, 20), SESSION_DEADLINE);
	fd_closep(&f.tell); /* and the other: only the end of the process ends the call */
	CHECK_EQ(wait_ms(&f, 20), SESSION_DEADLINE);
	cell_ends(&f);
	CHECK_EQ(wait_ms(&f, 2000), SESSION_ENDED);
}

TEST(a_flood_of_frames_that_say_nothing_ends_at_the_deadline)
{
	FAKE(f);
	in_call(&f, 1);
	pid_t pid = fork();
	if (pid == 0) {
		const struct chan_head h = {.len = 0, .type = CHAN_DATA, .call = 1};

		for (;;)
			if (write(f.tell, &h, sizeof h) < 0)
				_exit(0);
	}
	uint64_t begin = clock_mono_ns();
	CHECK_EQ(wait_ms(&f, 100), SESSION_DEADLINE);
	CHECK_LT((clock_mono_ns() - begin) / NS_PER_MS, 2000);
	CHECK_LT(f.s.rx.cap, 1 << 20);
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
}

TEST(output_goes_to_its_stream_and_waits_while_there_is_no_room)
{
	FAKE(f);
	f.room = 0;
	CHECK_EQ(write(f.say[1], "to stdout", 9), 9);
	CHECK_EQ(write(f.say[2], "to stderr", 9), 9);
	CHECK_EQ(wait_ms(&f, 20), SESSION_DEADLINE);
	CHECK_EQ(f.log[1].len, 0);
	f.room = 4;
	session_drain_output(&f.s);
	CHECK_EQ(wait_ms(&f, 20), SESSION_DEADLINE);
	CHECK_STREQ(f.log[1].data, "to stdout");
	CHECK_STREQ(f.log[2].data, "to stderr");
}

TEST(the_callers_descriptor_ends_the_wait)
{
	FAKE(f);
	in_call(&f, 1);
	CHECK_EQ(write(f.signal_w, "x", 1), 1);
	CHECK_EQ(wait_ms(&f, 2000), SESSION_SIGNAL);
	CHECK_EQ(wait_ms(&f, 2000), SESSION_SIGNAL); /* not read here */
}
