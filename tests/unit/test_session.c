/* The host's side of the channel against a fake cell. */
#include "tests/lib/fake_cell.h"
#include "tests/lib/tap.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static void no_block(int fd)
{
	CHECK(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
}

TEST(ready_is_told_with_what_the_runtime_says_of_itself)
{
	FAKE(f);
	fake_ready(&f, CHAN_HAS_SHUTDOWN);
	CHECK_EQ(fake_wait(&f, 2000), SESSION_READY);
	CHECK(f.s.ready);
	CHECK(f.s.has_shutdown && !f.s.can_snapshot);
	CHECK_EQ(fake_wait(&f, 5), SESSION_DEADLINE);

	FAKE(g);
	fake_ready(&g, ~(uint32_t)CHAN_HAS_SHUTDOWN); /* and whatever a later runtime has to say */
	CHECK_EQ(fake_wait(&g, 2000), SESSION_READY);
	CHECK(!g.s.has_shutdown && g.s.can_snapshot);
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
		fake_tell(&f, bytes + i, 1);
		CHECK_EQ(fake_wait(&f, 1), SESSION_DEADLINE);
	}
	fake_tell(&f, bytes + sizeof bytes - 1, 1);
	CHECK_EQ(fake_wait(&f, 2000), SESSION_READY);
	CHECK(!f.s.has_shutdown);
}

TEST(a_call_goes_out_as_one_frame_with_its_ids_and_its_event)
{
	struct chan_call_view v;
	struct chan_head h;
	struct err e = {0};
	char got[512];

	FAKE(f);
	fake_ready(&f, 0);
	CHECK_EQ(fake_wait(&f, 2000), SESSION_READY);
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
	fake_call(&f, 1);
	fake_frame(&f, CHAN_DATA, 1, "ab", 2);
	fake_frame(&f, CHAN_DATA, 1, "", 0);
	fake_frame(&f, CHAN_DATA, 1, "\0c", 2);
	fake_frame(&f, CHAN_DONE, 1, NULL, 0);
	CHECK_EQ(fake_wait(&f, 2000), SESSION_DONE);
	CHECK_EQ(f.s.answer.len, 4);
	CHECK_MEMEQ(f.s.answer.data, "ab\0c", 4);
	CHECK_EQ(f.s.call, 0);
}

TEST(the_answer_of_the_call_before_is_not_in_the_next)
{
	FAKE(f);
	fake_call(&f, 1);
	fake_frame(&f, CHAN_DATA, 1, "first", 5);
	fake_frame(&f, CHAN_DONE, 1, NULL, 0);
	CHECK_EQ(fake_wait(&f, 2000), SESSION_DONE);
	fake_call(&f, 2);
	fake_frame(&f, CHAN_DONE, 2, NULL, 0);
	CHECK_EQ(fake_wait(&f, 2000), SESSION_DONE);
	CHECK_EQ(f.s.answer.len, 0);
}

TEST(an_error_report_has_the_functions_own_type_and_message)
{
	FAKE(f);
	fake_call(&f, 1);
	fake_frame(&f, CHAN_DATA, 1, "not this", 8);
	fake_error(&f, CHAN_ERROR, 1, "Own.Type", "what went wrong");
	CHECK_EQ(fake_wait(&f, 2000), SESSION_ERROR);
	CHECK_STREQ(f.s.error_type, "Own.Type");
	CHECK_STREQ(f.s.error_message.data, "what went wrong");
	fake_call(&f, 2); /* the cell goes on */
	CHECK_STREQ(f.s.error_type, "");
	fake_frame(&f, CHAN_DONE, 2, NULL, 0);
	CHECK_EQ(fake_wait(&f, 2000), SESSION_DONE);
}

TEST(an_init_error_is_told_before_ready_and_not_after_a_call)
{
	FAKE(f);
	fake_error(&f, CHAN_INIT_ERROR, 0, "Runtime.InitError", "no");
	CHECK_EQ(fake_wait(&f, 2000), SESSION_INIT_ERROR);
	CHECK_STREQ(f.s.error_type, "Runtime.InitError");

	FAKE(g);
	fake_call(&g, 1);
	fake_frame(&g, CHAN_DONE, 1, NULL, 0);
	CHECK_EQ(fake_wait(&g, 2000), SESSION_DONE);
	fake_error(&g, CHAN_INIT_ERROR, 0, "Runtime.InitError", "no");
	CHECK_EQ(fake_wait(&g, 2000), SESSION_BROKEN);
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
	fake_call(&f, 1);
	pid_t pid = writer(&f, CHAN_MAX_PAYLOAD, true);
	CHECK_EQ(fake_wait(&f, 10000), SESSION_DONE);
	CHECK_EQ(f.s.answer.len, CHAN_MAX_PAYLOAD);
	(void)waitpid(pid, NULL, 0);

	FAKE(g);
	fake_call(&g, 1);
	pid = writer(&g, CHAN_MAX_PAYLOAD, false);
	CHECK_EQ(fake_wait(&g, 200), SESSION_DEADLINE);
	(void)waitpid(pid, NULL, 0);
	fake_frame(&g, CHAN_DATA, 1, "x", 1);
	CHECK_EQ(fake_wait(&g, 2000), SESSION_TOO_LARGE);
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
			fake_call(&f, 1);
		fake_tell(&f, &cases[i].head, sizeof cases[i].head);
		if (cases[i].head.len <= sizeof zeros)
			fake_tell(&f, zeros, cases[i].head.len);
		if (!CHECK_EQ(fake_wait(&f, 2000), SESSION_BROKEN))
			tap_note("case %zu", i);
		CHECK_CONTAINS(f.s.error_message.data, "contract");
		CHECK_EQ(fake_wait(&f, 5), SESSION_DEADLINE); /* nothing more is believed */
		fake_frame(&f, CHAN_DONE, 1, NULL, 0);
		CHECK_EQ(fake_wait(&f, 5), SESSION_DEADLINE);
	}
}

TEST(errors_with_lengths_that_contradict_each_other_break_the_session)
{
	static const struct {
		uint16_t type_len, zero;
		uint32_t message_len, rest;
	} cases[] = {{1, 0, 0, 0},         {0, 0, 1, 0},         {0, 1, 0, 0},
		     {257, 0, 0, 257},     {0, 0, 32769, 32769}, {0xffff, 0, 0xffffffff, 0},
		     {1, 0, 0xffffffff, 0}};
	AUTO_FREE char *body = calloc(1, 40000);

	for (size_t i = 0; body && i < ARRAY_LEN(cases); i++) {
		const struct chan_error h = {cases[i].type_len, cases[i].zero, cases[i].message_len};

		FAKE(f);
		fake_call(&f, 1);
		memcpy(body, &h, sizeof h);
		fake_frame(&f, CHAN_ERROR, 1, body, sizeof h + cases[i].rest);
		if (!CHECK_EQ(fake_wait(&f, 2000), SESSION_BROKEN))
			tap_note("case %zu", i);
	}
}

TEST(an_error_brings_its_document_for_the_caller_and_the_next_call_forgets_it)
{
	static const char body[] = "\x04\0\0\0\x02\0\0\0Typehi{\"any\":[1]}";

	FAKE(f);
	fake_call(&f, 1);
	fake_frame(&f, CHAN_ERROR, 1, body, sizeof body - 1);
	CHECK_EQ(fake_wait(&f, 2000), SESSION_ERROR);
	CHECK_STREQ(f.s.error_type, "Type");
	CHECK_EQ(f.s.error_document.len, 11);
	CHECK_MEMEQ(f.s.error_document.data, "{\"any\":[1]}", 11);
	fake_call(&f, 2);
	CHECK_EQ(f.s.error_document.len, 0);
	fake_error(&f, CHAN_ERROR, 2, "Other", "without one");
	CHECK_EQ(fake_wait(&f, 2000), SESSION_ERROR);
	CHECK_EQ(f.s.error_document.len, 0);
}

TEST(ready_twice_or_of_another_version_breaks_the_session)
{
	const struct chan_ready other = {CHAN_VERSION + 1, 0};

	FAKE(f);
	fake_frame(&f, CHAN_READY, 0, &other, sizeof other);
	CHECK_EQ(fake_wait(&f, 2000), SESSION_BROKEN);
	CHECK(!f.s.ready);

	FAKE(g);
	fake_ready(&g, 0);
	fake_ready(&g, 0);
	CHECK_EQ(fake_wait(&g, 2000), SESSION_READY);
	CHECK_EQ(fake_wait(&g, 2000), SESSION_BROKEN);
}

TEST(a_second_end_of_a_call_is_not_the_end_of_the_next)
{
	struct err e = {0};

	FAKE(f);
	fake_call(&f, 1);
	fake_frame(&f, CHAN_DONE, 1, NULL, 0);
	fake_frame(&f, CHAN_DATA, 1, "late", 4);
	fake_frame(&f, CHAN_DONE, 1, NULL, 0);
	CHECK_EQ(fake_wait(&f, 2000), SESSION_DONE);
	CHECK_OK(session_call(&f.s, 2, "id", "", 0, 0, "", 0, &e), &e);
	CHECK_EQ(fake_wait(&f, 2000), SESSION_BROKEN);
}

/* ---- how it ends ---- */

TEST(the_last_bytes_say_how_the_runtime_ended)
{
	FAKE(f);
	fake_call(&f, 1);
	fake_exit(&f, CLD_EXITED, 7);
	fake_ends(&f);
	CHECK_EQ(fake_wait(&f, 2000), SESSION_ENDED);
	CHECK(f.s.exit_seen);
	CHECK_EQ(f.s.exit.code, CLD_EXITED);
	CHECK_EQ(f.s.exit.status, 7);
	CHECK(f.cell.reaped);
}

TEST(an_exit_record_after_half_a_frame_or_garbage_is_found)
{
	static const char junk[1000] = {1, 2, 3};

	FAKE(f);
	fake_call(&f, 1);
	fake_tell(&f, &(struct chan_head){.len = 1000, .type = CHAN_DATA, .call = 1}, sizeof(struct chan_head));
	fake_tell(&f, junk, 10);
	fake_exit(&f, CLD_KILLED, SIGSEGV);
	fake_ends(&f);
	CHECK_EQ(fake_wait(&f, 2000), SESSION_ENDED);
	CHECK(f.s.exit_seen);
	CHECK_EQ(f.s.exit.status, SIGSEGV);

	FAKE(g);
	fake_call(&g, 1);
	fake_tell(&g, junk, sizeof junk);
	fake_exit(&g, CLD_EXITED, 3);
	fake_ends(&g);
	CHECK_EQ(fake_wait(&g, 2000), SESSION_BROKEN);
	CHECK_EQ(fake_wait(&g, 2000), SESSION_ENDED);
	CHECK(g.s.exit_seen);
	CHECK_EQ(g.s.exit.status, 3);
}

TEST(an_exit_record_that_comes_in_pieces_is_whole)
{
	const struct chan_head h = {.len = sizeof(struct chan_exit), .type = CHAN_EXIT};
	const struct chan_exit x = {CHAN_EXIT_MAGIC, CLD_EXITED, 9};
	char bytes[CHAN_EXIT_BYTES];

	FAKE(f);
	fake_call(&f, 1);
	memcpy(bytes, &h, sizeof h);
	memcpy(bytes + sizeof h, &x, sizeof x);
	for (size_t i = 0; i < sizeof bytes; i++) {
		fake_tell(&f, bytes + i, 1);
		CHECK_EQ(fake_wait(&f, 1), SESSION_DEADLINE);
	}
	fake_ends(&f);
	CHECK_EQ(fake_wait(&f, 2000), SESSION_ENDED);
	CHECK(f.s.exit_seen);
	CHECK_EQ(f.s.exit.status, 9);
}

TEST(an_exit_record_that_is_not_the_end_is_not_believed)
{
	FAKE(f);
	fake_call(&f, 1);
	fake_exit(&f, CLD_EXITED, 0);
	fake_frame(&f, CHAN_DATA, 1, "and on", 6);
	fake_ends(&f);
	CHECK_EQ(fake_wait(&f, 2000), SESSION_ENDED);
	CHECK(!f.s.exit_seen);

	FAKE(g); /* two: the last one counts */
	fake_call(&g, 1);
	fake_exit(&g, CLD_EXITED, 0);
	fake_exit(&g, CLD_EXITED, 5);
	fake_ends(&g);
	CHECK_EQ(fake_wait(&g, 2000), SESSION_ENDED);
	CHECK(g.s.exit_seen);
	CHECK_EQ(g.s.exit.status, 5);
}

TEST(an_end_without_a_record_is_an_end_without_a_record)
{
	FAKE(f);
	fake_call(&f, 1);
	fake_ends(&f);
	CHECK_EQ(fake_wait(&f, 2000), SESSION_ENDED);
	CHECK(!f.s.exit_seen);
	CHECK_EQ(f.cell.exit.si_status, SIGKILL);
}

TEST(a_fault_names_the_call_also_from_the_middle_of_a_frame)
{
	const struct chan_fault fault = {41, 0xc000003e};

	FAKE(f);
	fake_call(&f, 1);
	fake_frame(&f, CHAN_FAULT, 1, &fault, sizeof fault);
	fake_exit(&f, CLD_KILLED, SIGSYS);
	fake_ends(&f);
	CHECK_EQ(fake_wait(&f, 2000), SESSION_ENDED);
	CHECK(f.s.fault_seen && f.s.exit_seen);
	CHECK_EQ(f.s.fault.nr, 41);

	FAKE(g);
	fake_call(&g, 1);
	fake_tell(&g, &(struct chan_head){.len = 500, .type = CHAN_DATA, .call = 1}, sizeof(struct chan_head));
	fake_frame(&g, CHAN_FAULT, 1, &fault, sizeof fault);
	fake_exit(&g, CLD_KILLED, SIGSYS);
	fake_ends(&g);
	CHECK_EQ(fake_wait(&g, 2000), SESSION_ENDED);
	CHECK(g.s.fault_seen && g.s.exit_seen);
	CHECK_EQ(g.s.fault.nr, 41);
}

TEST(an_answer_that_came_before_the_end_counts)
{
	FAKE(f);
	fake_call(&f, 1);
	fake_frame(&f, CHAN_DATA, 1, "ok", 2);
	fake_frame(&f, CHAN_DONE, 1, NULL, 0);
	fake_exit(&f, CLD_EXITED, 0);
	fake_ends(&f);
	CHECK_EQ(fake_wait(&f, 2000), SESSION_DONE);
	CHECK_EQ(f.s.answer.len, 2);
	CHECK_EQ(fake_wait(&f, 2000), SESSION_ENDED);
}

/* ---- nothing it sends or withholds blocks this side ---- */

TEST(silence_ends_at_the_deadline)
{
	FAKE(f);
	uint64_t begin = clock_mono_ns();
	CHECK_EQ(fake_wait(&f, 60), SESSION_DEADLINE);
	uint64_t took = (clock_mono_ns() - begin) / NS_PER_MS;
	CHECK_GE(took, 60);
	CHECK_LT(took, 2000);
}

TEST(a_peer_that_never_reads_does_not_block_a_call_and_the_deadline_holds)
{
	AUTO_FREE char *event = calloc(1, CHAN_MAX_PAYLOAD);
	struct err e = {0};

	FAKE(f);
	fake_ready(&f, 0);
	CHECK_EQ(fake_wait(&f, 2000), SESSION_READY);
	REQUIRE(event);
	CHECK_OK(session_call(&f.s, 1, "id", "", 0, 0, event, CHAN_MAX_PAYLOAD, &e), &e);
	CHECK_EQ(fake_wait(&f, 30), SESSION_DEADLINE);
	CHECK_OK(session_shutdown(&f.s, &e), &e); /* behind what still waits */
	CHECK_EQ(fake_wait(&f, 30), SESSION_DEADLINE);
}

/* The rest of the event would be sent with the next call, from memory that may hold somebody else's by then. */
TEST(an_end_of_a_call_whose_event_was_not_read_breaks_the_session)
{
	static const enum chan_type ends[] = {CHAN_DONE, CHAN_ERROR};

	for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
		AUTO_FREE char *event = calloc(1, CHAN_MAX_PAYLOAD);
		const struct chan_error none = {0};
		struct err e = {0};

		FAKE(f);
		fake_ready(&f, 0);
		CHECK_EQ(fake_wait(&f, 2000), SESSION_READY);
		REQUIRE(event);
		CHECK_OK(session_call(&f.s, 1, "id", "", 0, 0, event, CHAN_MAX_PAYLOAD, &e), &e);
		fake_frame(&f, ends[i], 1, &none, ends[i] == CHAN_ERROR ? sizeof none : 0);
		CHECK_EQ(fake_wait(&f, 2000), SESSION_BROKEN);
	}
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
	fake_ready(&f, 0);
	CHECK_EQ(fake_wait(&f, 2000), SESSION_READY);
	CHECK_OK(session_call(&f.s, 1, "id", "t", 0, 0, event, LEN, &e), &e);
	CHECK_OK(session_shutdown(&f.s, &e), &e);
	no_block(f.hear);
	for (int i = 0; i < 10000 && have < LEN + 2 * sizeof h + sizeof(struct chan_call) + 3; i++) {
		ssize_t n = read(f.hear, got + have, LEN + 4096 - have);

		have += n > 0 ? (size_t)n : 0;
		CHECK_EQ(fake_wait(&f, 0), SESSION_DEADLINE);
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
	fake_ready(&f, 0);
	CHECK_EQ(fake_wait(&f, 2000), SESSION_READY);
	fd_closep(&f.hear);
	CHECK_OK(session_call(&f.s, 1, "id", "", 0, 0, "{}", 2, &e), &e);
	CHECK_EQ(fake_wait(&f, 20), SESSION_DEADLINE);
	fd_closep(&f.tell); /* and the other: only the end of the process ends the call */
	CHECK_EQ(fake_wait(&f, 20), SESSION_DEADLINE);
	fake_ends(&f);
	CHECK_EQ(fake_wait(&f, 2000), SESSION_ENDED);
}

TEST(a_flood_of_frames_that_say_nothing_ends_at_the_deadline)
{
	FAKE(f);
	fake_call(&f, 1);
	pid_t pid = fork();
	if (pid == 0) {
		const struct chan_head h = {.len = 0, .type = CHAN_DATA, .call = 1};

		for (;;)
			if (write(f.tell, &h, sizeof h) < 0)
				_exit(0);
	}
	uint64_t begin = clock_mono_ns();
	CHECK_EQ(fake_wait(&f, 100), SESSION_DEADLINE);
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
	CHECK_EQ(fake_wait(&f, 20), SESSION_DEADLINE);
	CHECK_EQ(f.log[1].len, 0);
	f.room = 4;
	session_drain_output(&f.s);
	CHECK_EQ(fake_wait(&f, 20), SESSION_DEADLINE);
	CHECK_STREQ(f.log[1].data, "to stdout");
	CHECK_STREQ(f.log[2].data, "to stderr");
}

TEST(the_callers_descriptor_ends_the_wait)
{
	FAKE(f);
	fake_call(&f, 1);
	CHECK_EQ(write(f.signal_w, "x", 1), 1);
	CHECK_EQ(fake_wait(&f, 2000), SESSION_SIGNAL);
	CHECK_EQ(fake_wait(&f, 2000), SESSION_SIGNAL); /* not read here */
}
