/* The client of fsboxd's socket where a stand-in in another process cannot be exact enough: what lies in the socket when it
 * reads, which descriptors belong to which message, and what is left open. */
#include "tests/lib/tap.h"

/* Not in the library: only the command line speaks to the daemon. */
#include "cli/client.c"
#include "cli/client_errors.c"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { LARGE = 4 << 20 };

/* A client whose other end is *ret_peer. */
static void connect_pair(struct client *c, int *ret_peer)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		abort();
	*c = (struct client){.fd = pair[0], .signal_fd = FD_NONE};
	*ret_peer = pair[1];
}

/* Sends @len bytes with @n descriptors, which are files of so many bytes as @first and up, so that each can be told. */
static void put(int peer, const char *data, size_t len, size_t n, off_t first)
{
	char room[CMSG_SPACE(sizeof(int) * 32)] = {0};
	struct iovec part = {(void *)(uintptr_t)data, len};
	struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1};
	int fds[32];

	for (size_t i = 0; i < n; i++) {
		fds[i] = memfd_create("test", MFD_CLOEXEC);
		if (ftruncate(fds[i], first + (off_t)i) < 0)
			abort();
	}
	if (n > 0) {
		m.msg_control = room;
		m.msg_controllen = CMSG_SPACE(sizeof(int) * n);
		*CMSG_FIRSTHDR(&m) = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int) * n),
						      .cmsg_level = SOL_SOCKET,
						      .cmsg_type = SCM_RIGHTS};
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&m)), fds, sizeof(int) * n);
	}
	if (sendmsg(peer, &m, 0) != (ssize_t)len)
		abort();
	for (size_t i = 0; i < n; i++)
		(void)close(fds[i]);
}

static off_t size_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) < 0 ? -1 : st.st_size;
}

/* The next message: its number, and that @n descriptors came with it, the first of which has @first bytes. */
static void expect(struct client *c, int64_t number, size_t n, off_t first)
{
	struct client_reply r;
	struct err e = {0};
	int64_t got = -1;

	REQUIRE(client_receive(c, &r, &e) == 0);
	CHECK(client_int(r.params, "n", &got));
	CHECK_EQ(got, number);
	CHECK_EQ(r.n_fds, n);
	for (size_t i = 0; i < r.n_fds; i++)
		CHECK_EQ(size_of(r.fds[i]), first + (off_t)i);
	client_reply_done(&r);
}

static int open_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

#define MESSAGE(n) "{\"parameters\":{\"n\":" #n "}}"

TEST(descriptors_belong_to_the_message_that_they_came_with)
{
	const int before = open_fds();
	struct client c;
	int peer;

	connect_pair(&c, &peer);
	put(peer, MESSAGE(1), sizeof MESSAGE(1), 0, 0);
	put(peer, MESSAGE(2), sizeof MESSAGE(2), 1, 20);
	put(peer, MESSAGE(3), sizeof MESSAGE(3), 0, 0);
	put(peer, MESSAGE(4) "\0{\"parameters\"", sizeof MESSAGE(4) + 13, 0, 0); /* and half of the fifth */
	put(peer, ":{\"n\":5}}", 10, 2, 50);
	put(peer, "{\"para", 6, 1, 60); /* with its beginning */
	put(peer, "meters\":{\"n\":6}}", 17, 0, 0);
	put(peer, MESSAGE(7), sizeof MESSAGE(7), CLIENT_MAX_FDS, 70);
	expect(&c, 1, 0, 0);
	expect(&c, 2, 1, 20);
	expect(&c, 3, 0, 0);
	expect(&c, 4, 0, 0);
	expect(&c, 5, 2, 50);
	expect(&c, 6, 1, 60);
	expect(&c, 7, CLIENT_MAX_FDS, 70);
	client_close(&c);
	(void)close(peer);
	CHECK_EQ(open_fds(), before);
}

TEST(descriptors_of_what_is_refused_or_never_read_are_closed)
{
	static const char bad[] = "{\"error\":\"org.fsbox.Sandbox.Busy\"}", worse[] = "{\"a\":1,\"a\":2}";
	const int before = open_fds();
	struct client_reply r;
	struct client c;
	int peer;

	for (int i = 0; i < 4; i++) {
		struct err e = {0};

		connect_pair(&c, &peer);
		if (i == 0)
			put(peer, bad, sizeof bad, 3, 1);
		if (i == 1)
			put(peer, worse, sizeof worse, 3, 1);
		if (i == 2)
			put(peer, MESSAGE(1), sizeof MESSAGE(1), CLIENT_MAX_FDS + 1, 1);
		if (i == 3)
			put(peer, "{", 1, 3, 1); /* and no end */
		(void)shutdown(peer, SHUT_WR);
		CHECK(client_receive(&c, &r, &e) < 0);
		CHECK_EQ(e.kind, i == 0 ? ERR_BUSY : ERR_SYSTEM);
		client_close(&c);
		(void)close(peer);
		CHECK_EQ(open_fds(), before);
	}
}

/* Reads in small pieces, and ends with 0 when it was one message of that length with one descriptor. */
static void read_slowly(int fd)
{
	size_t len = 0, n_fds = 0;
	char last = 'x';

	for (;;) {
		char part[5000], room[CMSG_SPACE(sizeof(int) * 8)];
		struct iovec v = {part, sizeof part};
		struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
		ssize_t n = recvmsg(fd, &m, 0);

		if (n <= 0)
			break;
		for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h))
			n_fds += (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		len += (size_t)n;
		last = part[n - 1];
	}
	_exit(len > LARGE && last == '\0' && n_fds == 1 ? 0 : 1);
}

TEST(a_message_larger_than_the_socket_goes_out_with_its_descriptor_once)
{
	AUTO(buf_done) struct buf params = {0};
	AUTO_FD int file = memfd_create("test", MFD_CLOEXEC);
	struct err e = {0};
	struct client c;
	int peer, status = -1;
	pid_t reader;

	buf_puts(&params, "{\"x\":\"");
	for (size_t i = 0; i < LARGE / 64; i++)
		buf_puts(&params, "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
	buf_puts(&params, "\"}");
	connect_pair(&c, &peer);
	reader = fork();
	if (reader == 0) {
		(void)close(c.fd);
		read_slowly(peer);
	}
	(void)close(peer);
	CHECK_EQ(client_send(&c, "Deploy", &params, false, &file, 1, &e), 0);
	client_close(&c);
	CHECK_EQ(waitpid(reader, &status, 0), reader);
	CHECK_EQ(status, 0);
}

TEST(a_signal_ends_the_wait_whatever_the_daemon_does)
{
	struct client_reply r;
	struct err e = {0};
	struct client c;
	int peer, signal[2];

	connect_pair(&c, &peer);
	REQUIRE(pipe(signal) == 0);
	c.signal_fd = signal[0];
	CHECK_EQ(write(signal[1], "x", 1), 1);
	put(peer, "{", 1, 0, 0);
	CHECK_EQ(client_receive(&c, &r, &e), -ECANCELED);
	CHECK_EQ(e.kind, ERR_CANCELLED);
	client_close(&c);
	(void)close(peer);
	(void)close(signal[0]);
	(void)close(signal[1]);
}

TEST(zero_bytes_become_what_stands_for_no_character)
{
	static const char text[] =
		"{\"parameters\":{\"n\":\"a\\u0000b\\\\u0000c\\\\\\u0000\\\"\\u00001\",\"u0000\":\"\\u00e4\"}}";
	struct client_reply r;
	struct err e = {0};
	struct client c;
	int peer;

	connect_pair(&c, &peer);
	put(peer, text, sizeof text, 0, 0);
	REQUIRE(client_receive(&c, &r, &e) == 0);
	CHECK_STREQ(client_text(r.params, "n"), "a\xef\xbf\xbd"
						"b\\u0000c\\\xef\xbf\xbd\"\xef\xbf\xbd"
						"1");
	CHECK_STREQ(client_text(r.params, "u0000"), "\xc3\xa4");
	client_reply_done(&r);
	client_close(&c);
	(void)close(peer);
}

TEST(members_of_another_type_count_as_absent)
{
	AUTO(json_doc_freep) struct json_doc *doc = NULL;
	static const char text[] = "{\"a\":1,\"b\":\"x\",\"c\":null,\"d\":true,\"e\":1.5}";
	const struct json *v;
	struct err e = {0};
	int64_t n = 7;

	REQUIRE(json_parse("test", text, strlen(text), sizeof text, &doc, &e) == 0);
	v = json_doc_root(doc);
	CHECK(client_text(v, "a") == NULL);
	CHECK_STREQ(client_text(v, "b"), "x");
	CHECK(!client_int(v, "b", &n) && !client_int(v, "c", &n) && !client_int(v, "e", &n) &&
	      !client_int(NULL, "a", &n));
	CHECK_EQ(n, 7);
	CHECK(client_int(v, "a", &n) && n == 1);
	CHECK(client_bool(v, "d") && !client_bool(v, "a") && !client_bool(v, "z"));
	CHECK(client_object(v, "a") == NULL);
	CHECK(client_text(json_member(v, "a"), "b") == NULL);
}
