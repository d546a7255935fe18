/* A stream cut into messages, and whose the descriptors are. The tests with sockets also hold the kernel to what the rule
 * rests on: a read ends behind the data that descriptors came with. */
#include "tests/lib/tap.h"

#include "base/fd.h"
#include "base/mem.h"
#include "wire/message.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>

static void closing(struct wire_rx *rx)
{
	wire_rx_done(rx);
}

static void close_all(int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++)
		fd_closep(&fds[i]);
}

/* A descriptor that can be told from others: the read end of a pipe that holds one byte. */
static int marked(char mark)
{
	int fd[2];

	if (!CHECK(pipe2(fd, O_CLOEXEC) == 0))
		return -1;
	CHECK_EQ(write(fd[1], &mark, 1), 1);
	(void)close(fd[1]);
	return fd[0];
}

static char mark_of(int fd)
{
	char c = 0;

	CHECK_EQ(read(fd, &c, 1), 1);
	return c;
}

/* Sends @text (with its NULs) and descriptors with these marks. */
static void send_marked(int sock, const void *text, size_t len, const char *marks)
{
	int fds[300];
	size_t n = strlen(marks);
	char control[CMSG_SPACE(sizeof fds)];
	struct iovec iov = {.iov_base = (void *)(uintptr_t)text, .iov_len = len};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

	for (size_t i = 0; i < n; i++)
		fds[i] = marked(marks[i]);
	if (n > 0) {
		memset(control, 0, sizeof control);
		m.msg_control = control;
		m.msg_controllen = CMSG_SPACE(n * sizeof(int));
		struct cmsghdr *c = CMSG_FIRSTHDR(&m);
		*c = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
		c->cmsg_len = CMSG_LEN(n * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n * sizeof(int));
	}
	CHECK_EQ(sendmsg(sock, &m, MSG_NOSIGNAL), (ssize_t)len);
	close_all(fds, n);
}

/* The next message as "text:marks"; "" when there is none, "broken" when the stream is. */
static const char *next(struct wire_rx *rx)
{
	static char said[600];
	struct wire_message m;
	int fds[WIRE_MAX_FDS];
	size_t n = 0, at;
	int r = wire_rx_next(rx, &m, fds, &n);

	if (r < 0)
		return "broken";
	if (r == 0)
		return "";
	CHECK_EQ(strlen(m.text), m.len);
	at = (size_t)snprintf(said, 300, "%s:", m.text);
	for (size_t i = 0; i < n; i++)
		said[at++] = mark_of(fds[i]);
	said[at] = '\0';
	close_all(fds, n);
	return said;
}

#define FEED(rx, text) CHECK_EQ(wire_rx_feed(rx, text, sizeof(text) - 1, NULL, 0), 0)

/* ---- Cutting ---- */

TEST(messages_are_cut_at_nuls_however_they_come)
{
	AUTO(closing) struct wire_rx rx = {0};

	CHECK_STREQ(next(&rx), "");
	FEED(&rx, "ab");
	CHECK_STREQ(next(&rx), "");
	CHECK_EQ(wire_rx_partial(&rx), 2);
	FEED(&rx, "c\0\0d");
	CHECK_EQ(wire_rx_partial(&rx), 0);
	CHECK(wire_rx_ready(&rx));
	CHECK_STREQ(next(&rx), "abc:");
	CHECK_STREQ(next(&rx), ":");
	CHECK_STREQ(next(&rx), "");
	CHECK_EQ(wire_rx_partial(&rx), 1);
	FEED(&rx, "e\0");
	CHECK_STREQ(next(&rx), "de:");
	CHECK_EQ(wire_rx_partial(&rx), 0);
}

TEST(a_message_of_the_longest_length_is_taken_and_one_byte_more_is_not)
{
	enum { MAX = 10000 };
	static char text[MAX + 2];

	memset(text, 'x', sizeof text);
	for (size_t piece = 1; piece < 3 * MAX; piece = piece * 3 + 1)
		for (size_t extra = 0; extra < 2; extra++) {
			AUTO(closing) struct wire_rx rx = {.max_bytes = MAX};
			struct wire_message m = {0};
			size_t len = MAX + extra, n, done;
			int fds[WIRE_MAX_FDS], r = 0;

			text[len] = '\0';
			for (done = 0; done < len + 1 && r == 0; done += piece)
				r = wire_rx_feed(&rx, text + done, piece < len + 1 - done ? piece : len + 1 - done,
						 NULL, 0);
			if (r == 0)
				r = wire_rx_next(&rx, &m, fds, &n);
			CHECK_EQ(r, extra ? -EMSGSIZE : 1);
			CHECK_EQ(m.len, extra ? 0 : MAX);
			if (extra) { /* and there is no way back */
				CHECK_EQ(wire_rx_feed(&rx, "", 1, NULL, 0), -EPIPE);
				CHECK_STREQ(next(&rx), "");
			}
			text[len] = 'x';
		}
}

TEST(a_short_limit_counts_behind_a_message_that_was_taken_too)
{
	AUTO(closing) struct wire_rx rx = {.max_bytes = 4};

	FEED(&rx, "abcd\0abcde\0x");
	CHECK_STREQ(next(&rx), "abcd:");
	CHECK_STREQ(next(&rx), "broken");
	CHECK_STREQ(next(&rx), "");
}

TEST(what_is_too_long_may_be_skipped)
{
	static const char stream[] = "ab\0"
				     "0123456789abcdef\0"
				     "cd\0"
				     "0123456789abcdefg\0";

	for (size_t piece = 1; piece <= sizeof stream; piece++) {
		AUTO(closing) struct wire_rx rx = {.max_bytes = 4, .skip_bytes = 16};
		struct wire_message m = {0};
		int fds[WIRE_MAX_FDS], r = 0;
		char seen[64] = "";
		size_t n;

		for (size_t done = 0; done < sizeof stream - 1 && r >= 0; done += piece) {
			const size_t left = sizeof stream - 1 - done, len = piece < left ? piece : left;
			const int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

			r = wire_rx_feed(&rx, stream + done, len, &fd, 1);
			while (r >= 0 && (r = wire_rx_next(&rx, &m, fds, &n)) == 1) {
				const size_t at = strlen(seen);

				CHECK(m.text || n == 0);
				(void)snprintf(seen + at, sizeof seen - at, "%s/%zu ", m.text ? m.text : "-", m.len);
				while (n > 0)
					(void)close(fds[--n]);
			}
			CHECK_LE(rx.cap, 4096);
		}
		CHECK_EQ(r, -EMSGSIZE);
		CHECK_STREQ(seen, "ab/2 -/16 cd/2 ");
	}
}

TEST(a_long_message_is_looked_at_once_and_moved_seldom)
{
	AUTO(closing) struct wire_rx rx = {.max_bytes = WIRE_LIMIT_BYTES};
	static char piece[1024];
	size_t moves = 0, cap = 0, total = 8 << 20;

	memset(piece, 'x', sizeof piece);
	for (size_t done = 0; done < total; done += sizeof piece) {
		if (!CHECK_EQ(wire_rx_feed(&rx, piece, sizeof piece, NULL, 0), 0) || !CHECK_EQ(rx.scanned, rx.len))
			return; /* the next look for the NUL begins where this one ended */
		moves += rx.cap != cap;
		cap = rx.cap;
	}
	CHECK_LE(moves, 14);
	CHECK_LE(rx.cap, 2 * total);
}

TEST(what_is_taken_makes_room_and_what_was_large_is_given_back)
{
	AUTO(closing) struct wire_rx rx = {0};
	static char large[300000];

	for (int i = 0; i < 10000; i++) {
		FEED(&rx, "0123456789\0");
		CHECK_STREQ(next(&rx), "0123456789:");
	}
	CHECK_LE(rx.cap, 4096);
	memset(large, 'x', sizeof large - 1);
	CHECK_EQ(wire_rx_feed(&rx, large, sizeof large, NULL, 0), 0);
	CHECK_GE(rx.cap, sizeof large);
	struct wire_message m;
	int fds[WIRE_MAX_FDS];
	size_t n;
	CHECK_EQ(wire_rx_next(&rx, &m, fds, &n), 1);
	CHECK_EQ(m.len, sizeof large - 1);
	wire_rx_trim(&rx);
	CHECK_EQ(rx.cap, 0);
	FEED(&rx, "small\0"); /* and it goes on */
	CHECK_STREQ(next(&rx), "small:");
}

/* ---- Descriptors ---- */

struct stream {
	int fd[2];
	struct wire_rx rx;
};

static void stream_close(struct stream *s)
{
	fd_closep(&s->fd[0]);
	fd_closep(&s->fd[1]);
	wire_rx_done(&s->rx);
}

#define STREAM(s)                                                        \
	AUTO(stream_close) struct stream s = {.fd = {FD_NONE, FD_NONE}}; \
	REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s.fd) == 0)

#define SEND(s, text, marks) send_marked((s)->fd[1], text, sizeof(text) - 1, marks)

/* Reads as a server does, until a message is there or the socket is empty. */
static const char *receive(struct stream *s)
{
	while (!wire_rx_ready(&s->rx)) {
		ssize_t n = wire_rx_recv(&s->rx, s->fd[0]);

		if (n == -EAGAIN)
			return "";
		if (n == 0)
			return "end";
		if (n < 0)
			return "broken";
	}
	return next(&s->rx);
}

/* The same with reads of one byte, by a receiver of its own: wire_rx_feed() takes what it says. */
static const char *receive_bytes(struct stream *s)
{
	while (!wire_rx_ready(&s->rx)) {
		char byte, control[CMSG_SPACE(253 * sizeof(int))];
		struct iovec iov = {&byte, 1};
		struct msghdr m = {.msg_iov = &iov,
				   .msg_iovlen = 1,
				   .msg_control = control,
				   .msg_controllen = sizeof control};
		int fds[253];
		size_t n_fds = 0;
		ssize_t n = recvmsg(s->fd[0], &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

		if (n <= 0)
			return n == 0 ? "end" : "";
		struct cmsghdr *c = CMSG_FIRSTHDR(&m);
		if (c) {
			n_fds = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
			memcpy(fds, CMSG_DATA(c), n_fds * sizeof(int));
		}
		if (wire_rx_feed(&s->rx, &byte, 1, fds, n_fds) < 0)
			return "broken";
	}
	return next(&s->rx);
}

typedef const char *receiver(struct stream *s);
static receiver *const receivers[] = {receive, receive_bytes};

TEST(descriptors_belong_to_the_message_that_they_were_sent_with)
{
	for (size_t i = 0; i < ARRAY_LEN(receivers); i++) {
		STREAM(s);
		SEND(&s, "one\0", "");
		SEND(&s, "two\0", "a");
		SEND(&s, "three\0", "bc");
		SEND(&s, "four\0five\0", "");
		SEND(&s, "six\0", "d");
		SEND(&s, "seven\0", "");
		CHECK_STREQ(receivers[i](&s), "one:");
		CHECK_STREQ(receivers[i](&s), "two:a");
		CHECK_STREQ(receivers[i](&s), "three:bc");
		CHECK_STREQ(receivers[i](&s), "four:");
		CHECK_STREQ(receivers[i](&s), "five:");
		CHECK_STREQ(receivers[i](&s), "six:d");
		CHECK_STREQ(receivers[i](&s), "seven:");
		CHECK_STREQ(receivers[i](&s), "");
	}
}

TEST(descriptors_that_come_with_parts_of_a_message_are_joined)
{
	for (size_t i = 0; i < ARRAY_LEN(receivers); i++) {
		STREAM(s);
		SEND(&s, "x\0be", "");
		SEND(&s, "gin", "a");
		SEND(&s, "-mid", "b");
		SEND(&s, "-end\0", "");
		SEND(&s, "y\0", "c");
		CHECK_STREQ(receivers[i](&s), "x:");
		CHECK_STREQ(receivers[i](&s), "begin-mid-end:ab");
		CHECK_STREQ(receivers[i](&s), "y:c");
		SEND(&s, "longer than what comes behind\0", ""); /* so that the rest is moved with its descriptor */
		SEND(&s, "be", "d");
		if (i == 0)
			CHECK_EQ(wire_rx_recv(&s.rx, s.fd[0]), 32);
		SEND(&s, "gin\0", "");
		CHECK_STREQ(receivers[i](&s), "longer than what comes behind:");
		CHECK_STREQ(receivers[i](&s), "begin:d");
	}
}

TEST(a_read_ends_behind_the_data_that_descriptors_came_with)
{
	char byte[64], control[CMSG_SPACE(8 * sizeof(int))];
	struct iovec iov = {byte, sizeof byte};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	int fds[2];

	STREAM(s);
	SEND(&s, "plain", "");
	SEND(&s, "with", "a");
	SEND(&s, "behind", "");
	m.msg_control = control;
	m.msg_controllen = sizeof control;
	CHECK_EQ(recvmsg(s.fd[0], &m, MSG_CMSG_CLOEXEC), 9); /* what stands before may be glued, what follows may not */
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	REQUIRE(c && c->cmsg_type == SCM_RIGHTS);
	memcpy(fds, CMSG_DATA(c), sizeof(int));
	CHECK_EQ(mark_of(fds[0]), 'a');
	(void)close(fds[0]);

	SEND(&s, "12345", "b"); /* a short read brings them with its first byte */
	iov.iov_len = 1;
	for (int i = 0; i < 6; i++) /* "behind" */
		CHECK_EQ(read(s.fd[0], byte, 1), 1);
	m.msg_controllen = sizeof control;
	CHECK_EQ(recvmsg(s.fd[0], &m, MSG_CMSG_CLOEXEC), 1);
	c = CMSG_FIRSTHDR(&m);
	REQUIRE(c && c->cmsg_type == SCM_RIGHTS);
	memcpy(fds, CMSG_DATA(c), sizeof(int));
	CHECK_EQ(mark_of(fds[0]), 'b');
	(void)close(fds[0]);
	m.msg_controllen = sizeof control;
	CHECK_EQ(recvmsg(s.fd[0], &m, MSG_CMSG_CLOEXEC), 1);
	CHECK(!CMSG_FIRSTHDR(&m));
}

TEST(a_long_message_keeps_its_descriptors_and_takes_none_of_its_neighbours)
{
	static char text[150000];

	STREAM(s);
	memset(text, 'x', sizeof text - 1);
	SEND(&s, "before\0", "a");
	send_marked(s.fd[1], text, sizeof text, "b");
	SEND(&s, "behind\0", "c");
	CHECK_STREQ(receive(&s), "before:a");
	while (!wire_rx_ready(&s.rx))
		REQUIRE(wire_rx_recv(&s.rx, s.fd[0]) > 0);
	struct wire_message m;
	int fds[WIRE_MAX_FDS];
	size_t n;
	REQUIRE(wire_rx_next(&s.rx, &m, fds, &n) == 1);
	CHECK_EQ(m.len, sizeof text - 1);
	CHECK_EQ(n, 1);
	CHECK_EQ(mark_of(fds[0]), 'b');
	close_all(fds, n);
	CHECK_STREQ(receive(&s), "behind:c");
}

static size_t open_fds(void)
{
	size_t n = 0;

	for (int fd = 3; fd < 2048; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

TEST(received_descriptors_are_close_on_exec_and_what_nobody_takes_is_closed)
{
	size_t before = open_fds();

	for (int taken = 0; taken < 2; taken++) {
		STREAM(s);
		SEND(&s, "a\0b", "xy");
		CHECK_GT(wire_rx_recv(&s.rx, s.fd[0]), 0);
		CHECK_EQ(open_fds(), before + 4);
		if (taken) {
			struct wire_message m;
			int fds[WIRE_MAX_FDS];
			size_t n;

			CHECK_EQ(wire_rx_next(&s.rx, &m, fds, &n), 1);
			CHECK_EQ(n, 0); /* the last byte read was b's */
			CHECK(fcntl(s.rx.fds[0].fd, F_GETFD) & FD_CLOEXEC);
		}
	}
	CHECK_EQ(open_fds(), before);
}

TEST(more_descriptors_than_a_message_may_have_break_the_stream)
{
	char marks[254] = "";
	size_t before = open_fds();

	memset(marks, 'm', 253);
	{
		STREAM(s);
		SEND(&s, "be", marks);
		SEND(&s, "gin\0", "");
		CHECK_EQ(strlen(receive(&s)), strlen("begin:") + 253);
		SEND(&s, "be", marks);
		SEND(&s, "gin\0", "x");
		CHECK_STREQ(receive(&s), "broken");
		CHECK_EQ(wire_rx_recv(&s.rx, s.fd[0]), -EPIPE);
	}
	{
		STREAM(s);
		for (int i = 0; i < 3; i++) /* a message without end does not collect them for ever */
			SEND(&s, "x", marks);
		CHECK_STREQ(receive(&s), "broken");
	}
	CHECK_EQ(open_fds(), before);
}

TEST(descriptors_for_which_there_is_no_room_break_the_stream)
{
	struct rlimit old, low;
	size_t before = open_fds();
	int lowest;

	REQUIRE(getrlimit(RLIMIT_NOFILE, &old) == 0);
	{
		STREAM(s);
		SEND(&s, "x\0", "abc");
		lowest = fcntl(s.fd[0], F_DUPFD_CLOEXEC, 3);
		(void)close(lowest);
		low = old;
		low.rlim_cur = (rlim_t)lowest + 1; /* one of the three fits */
		REQUIRE(setrlimit(RLIMIT_NOFILE, &low) == 0);
		const char *said = receive(&s);
		REQUIRE(setrlimit(RLIMIT_NOFILE, &old) == 0);
		CHECK_STREQ(said, "broken");
	}
	CHECK_EQ(open_fds(), before);
}

TEST(the_end_of_the_stream_and_an_empty_socket_are_told_apart)
{
	STREAM(s);
	CHECK_EQ(wire_rx_recv(&s.rx, s.fd[0]), -EAGAIN);
	SEND(&s, "part", "");
	CHECK_EQ(wire_rx_recv(&s.rx, s.fd[0]), 4);
	CHECK(!wire_rx_full(&s.rx));
	fd_closep(&s.fd[1]);
	CHECK_EQ(wire_rx_recv(&s.rx, s.fd[0]), 0);
	CHECK_EQ(wire_rx_partial(&s.rx), 4);
}
