/* What is judged of a process before its dump, with texts as /proc has them. */
#include "snapshot/look.h"
#include "snapshot/snapshot.h"

#include "base/mem.h"
#include "tests/lib/tap.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static const char mounts[] = "22 1 0:20 / / ro,nosuid - tmpfs fsbox ro\n"
			     "25 22 254:0 /usr /usr ro,nosuid,nodev - ext4 /dev/vda rw\n"
			     "31 22 0:44 / /tmp rw,nosuid,nodev - tmpfs fsbox rw\n"
			     "312 22 0:45 / /tmp/x rw - tmpfs fsbox rw\n";

static const struct look_who native = {.pid = 2, .comm = "native", .fd = 7};

/* The verdict, "" for a thing that may stay. */
static const char *judge(const struct look *l, const struct look_file *f)
{
	static struct err e;
	struct look_file all = *f;
	int r;

	e = (struct err){0};
	all.fdinfo = all.fdinfo ? all.fdinfo : "pos:\t0\nflags:\t02000000\nmnt_id:\t25\nino:\t7\n";
	all.proto = all.proto ? all.proto : "";
	all.nlink = all.mode ? all.nlink : 1;
	all.mode = all.mode ? all.mode : S_IFREG | 0644;
	r = look_fd(l, &native, &all, mounts, &e);
	CHECK(r == 0 || (r == -EOPNOTSUPP && e.kind == ERR_UNSUPPORTED && e.hint[0]));
	return r == 0 ? "" : e.msg;
}

TEST(a_sentence_names_process_descriptor_and_remedy)
{
	const struct look_who odd = {.pid = 12, .comm = "ev\nil'\x1b", .fd = 3};
	struct err e = {0};

	CHECK_EQ(look_refuse(&odd, &e, "close it", "is '%s'", "/tmp/\x1b[31m"), -EOPNOTSUPP);
	CHECK_STREQ(e.msg, "process 12 (ev?il'?): descriptor 3 is '/tmp/?[31m'");
	CHECK_STREQ(e.hint, "close it");
}

TEST(kinds_of_anonymous_files)
{
	static const struct {
		const char *link, *fdinfo, *want;
	} cases[] = {
		{"anon_inode:[eventfd]", NULL, ""},
		{"anon_inode:[eventpoll]", NULL, ""},
		{"anon_inode:[signalfd]", NULL, ""},
		{"anon_inode:[timerfd]", "clockid: 1\n", ""},
		{"anon_inode:[timerfd]", "clockid: 9\n", "wakes the machine"},
		{"anon_inode:inotify", NULL, "descriptor 7 is an inotify instance, which a snapshot cannot hold"},
		{"anon_inode:[fanotify]", NULL, "a fanotify group"},
		{"anon_inode:[io_uring]", NULL, "an io_uring,"},
		{"anon_inode:[userfaultfd]", NULL, "a userfaultfd,"},
		{"anon_inode:[perf_event]", NULL, "a perf event"},
		{"anon_inode:bpf-map", NULL, "BPF map"},
		{"anon_inode:[eventfd]x", NULL, "of the kind '[eventfd]x'"},
		{"anon_inode:[landlock-ruleset]", NULL, "Landlock ruleset"},
		{"net:[4026531840]", NULL, "net:[4026531840]"},
		{"", NULL, "cannot hold"},
		{"socket:[77]", NULL, "socket (unknown)"},
		{"anon_inode:[pidfd]", "Pid:\t500\nNSpid:\t500\t3\n", ""},
		{"anon_inode:[pidfd]", "Pid:\t501\n", "pidfd of a process that will not be"},
		{"anon_inode:[pidfd]", "Pid:\t-1\n", "pidfd of a process"},
	};
	struct look l = {0};
	struct err e = {0};

	CHECK_EQ(look_add(&l, &(struct look_node){.kind = LOOK_TASK, .ino = 500}, &e), 0);
	look_sort(&l);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const char *said = judge(&l, &(struct look_file){.link = cases[i].link, .fdinfo = cases[i].fdinfo});

		if (cases[i].want[0])
			CHECK_CONTAINS(said, cases[i].want);
		else
			CHECK_STREQ(said, "");
	}
	look_done(&l);
}

TEST(files)
{
	static const char on_tmp_rw[] = "flags:\t02000002\nmnt_id:\t31\n",
			  on_usr_rw[] = "flags:\t02000002\nmnt_id:\t25\n";
	static const char lock[] =
		"flags:\t02000002\nmnt_id:\t31\nlock:\t1: FLOCK  ADVISORY  WRITE 641 00:2c:3 0 EOF\n";
	const struct {
		struct look_file f;
		const char *want;
	} cases[] = {
		{{.link = "/usr/bin/env"}, ""},
		{{.link = "/usr/bin/env", .fdinfo = on_usr_rw}, "open for writing outside of /tmp"},
		{{.link = "/usr/bin/env", .fdinfo = "flags:\t012000002\nmnt_id:\t25\n"}, ""}, /* O_PATH */
		{{.link = "/tmp/a", .fdinfo = on_tmp_rw}, ""},
		{{.link = "/tmp/x/a", .fdinfo = "flags:\t02000001\nmnt_id:\t312\n"},
		 "open for writing outside of /tmp"},
		{{.link = "/tmp/a", .fdinfo = lock}, "on which it holds a lock or lease"},
		{{.link = "/etc/passwd", .fdinfo = "flags:\t0\nmnt_id:\t3\n"}, "outside of the cell's mounts"},
		{{.link = "/etc/passwd", .fdinfo = "flags:\t0\n"}, "outside of the cell's mounts"},
		{{.link = "/tmp/a (deleted)", .fdinfo = on_tmp_rw, .mode = S_IFREG | 0600, .nlink = 0}, ""},
		{{.link = "/tmp/a (deleted)", .fdinfo = on_tmp_rw, .mode = S_IFIFO | 0600, .nlink = 0},
		 "a file without a name"},
		{{.link = "/usr/a (deleted)", .mode = S_IFREG | 0600, .nlink = 0}, "a file without a name"},
		{{.link = "/tmp/a (deleted)", .fdinfo = on_tmp_rw, .mode = S_IFREG | 0600, .nlink = 1},
		 "whose name is gone while it has another"},
		{{.link = "/tmp/d (deleted)", .fdinfo = on_tmp_rw, .mode = S_IFDIR | 0700, .nlink = 0}, ""},
		{{.link = "/memfd:held (deleted)",
		  .fdinfo = "flags:\t02\nmnt_id:\t1\n",
		  .mode = S_IFREG | 0600,
		  .nlink = 0},
		 ""},
		{{.link = "/secretmem (deleted)", .fdinfo = "flags:\t02\nmnt_id:\t15\n"},
		 "outside of the cell's mounts"},
		{{.link = "/dev/null", .mode = S_IFCHR | 0666, .nlink = 1, .rdev = makedev(1, 3)}, ""},
		{{.link = "/dev/urandom", .mode = S_IFCHR | 0666, .nlink = 1, .rdev = makedev(1, 9)}, ""},
		{{.link = "/dev/mem", .mode = S_IFCHR | 0666, .nlink = 1, .rdev = makedev(1, 1)}, "device '/dev/mem'"},
		{{.link = "/dev/tty", .mode = S_IFCHR | 0666, .nlink = 1, .rdev = makedev(5, 0)}, "device '/dev/tty'"},
		{{.link = "/dev/pts/3", .mode = S_IFCHR | 0666, .nlink = 1, .rdev = makedev(136, 3)}, "device"},
		{{.link = "/tmp/fifo", .fdinfo = on_tmp_rw, .mode = S_IFIFO | 0600, .nlink = 1}, ""},
	};
	const struct look l = {0};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const char *said = judge(&l, &cases[i].f);

		if (cases[i].want[0])
			CHECK_CONTAINS(said, cases[i].want);
		else
			CHECK_STREQ(said, "");
	}
}

static const char reads[] = "flags:\t0\n", writes[] = "flags:\t01\n";

TEST(pipes_need_both_ends_inside_but_the_channel)
{
	static const struct {
		const char *link, *fdinfo;
	} fds[] = {{"pipe:[10]", reads}, {"pipe:[10]", writes}, {"pipe:[11]", writes}, {"pipe:[12]", "flags:\t02\n"}};
	struct look l = {0};
	struct err e = {0};

	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		CHECK_EQ(look_add_fd(&l, &(struct look_file){.link = fds[i].link, .fdinfo = fds[i].fdinfo}, &e), 0);
	CHECK_EQ(look_add(&l, &(struct look_node){.kind = LOOK_PIPE, .ino = 13, .flags = LOOK_CHANNEL}, &e), 0);
	look_sort(&l);
	CHECK_EQ(l.n, 4);
	CHECK_STREQ(judge(&l, &(struct look_file){.link = "pipe:[10]"}), "");
	CHECK_CONTAINS(judge(&l, &(struct look_file){.link = "pipe:[11]"}), "other end is not open");
	CHECK_STREQ(judge(&l, &(struct look_file){.link = "pipe:[12]"}), "");
	CHECK_STREQ(judge(&l, &(struct look_file){.link = "pipe:[13]"}), "");
	CHECK_CONTAINS(judge(&l, &(struct look_file){.link = "pipe:[14]"}), "other end is not open");
	look_done(&l);
}

/* A message of sock_diag about one socket. */
static void add_diag(struct buf *b, uint8_t state, uint32_t ino, int64_t peer, uint32_t queue, const char *name)
{
	const uint8_t shut[4] = {ino == 29 ? 3 : 0};
	struct unix_diag_msg m = {.udiag_family = AF_UNIX, .udiag_state = state, .udiag_ino = ino};
	const size_t at = b->len;
	struct nlmsghdr h = {.nlmsg_type = SOCK_DIAG_BY_FAMILY};
	const char zero[4] = "";
	struct rtattr a;

	buf_add(b, &h, sizeof h);
	buf_add(b, &m, sizeof m);
	if (name) {
		a = (struct rtattr){.rta_len = (unsigned short)(sizeof a + 5), .rta_type = UNIX_DIAG_NAME};
		buf_add(b, &a, sizeof a);
		buf_add(b, name, 5);
		buf_add(b, zero, 3);
	}
	if (peer >= 0) {
		const uint32_t p = (uint32_t)peer;

		a = (struct rtattr){.rta_len = sizeof a + sizeof p, .rta_type = UNIX_DIAG_PEER};
		buf_add(b, &a, sizeof a);
		buf_add(b, &p, sizeof p);
	}
	const uint32_t queues[2] = {queue, 5};
	a = (struct rtattr){.rta_len = sizeof a + sizeof queues, .rta_type = UNIX_DIAG_RQLEN};
	buf_add(b, &a, sizeof a);
	buf_add(b, queues, sizeof queues);
	a = (struct rtattr){.rta_len = sizeof a + 1, .rta_type = UNIX_DIAG_SHUTDOWN};
	buf_add(b, &a, sizeof a);
	buf_add(b, shut, sizeof shut);
	h.nlmsg_len = (uint32_t)(b->len - at);
	memcpy(b->data + at, &h, sizeof h);
}

static void add_done(struct buf *b)
{
	const struct nlmsghdr h = {.nlmsg_type = NLMSG_DONE, .nlmsg_len = sizeof h};

	buf_add(b, &h, sizeof h);
}

TEST(unix_sockets)
{
	AUTO(buf_done) struct buf b = {0};
	struct look l = {0};
	struct err e = {0};

	add_diag(&b, 1, 20, 21, 0, NULL); /* a pair inside */
	add_diag(&b, 1, 21, 20, 0, NULL);
	add_diag(&b, 1, 22, 99, 0, NULL);      /* to the outside */
	add_diag(&b, 7, 23, -1, 0, NULL);      /* not connected */
	add_diag(&b, 10, 24, -1, 0, "/tmp");   /* listens */
	add_diag(&b, 10, 25, -1, 2, "\0held"); /* and two wait */
	add_diag(&b, 1, 26, 0, 0, NULL);       /* waits to be accepted */
	add_diag(&b, 1, 27, -1, 0, NULL);      /* the other end is closed */
	add_diag(&b, 10, 28, -1, 0, "\0held");
	add_diag(&b, 1, 29, 0, 0, NULL); /* the same, and the kernel still has the other socket */
	CHECK_EQ(look_add_unix(&l, b.data, b.len, &e), 1);
	b.len = 0;
	add_done(&b);
	CHECK_EQ(look_add_unix(&l, b.data, b.len, &e), 0);
	for (unsigned i = 20; i <= 29; i++) {
		char link[32];

		(void)snprintf(link, sizeof link, "socket:[%u]", i);
		CHECK_EQ(look_add_fd(&l, &(struct look_file){.link = link, .fdinfo = ""}, &e), 0);
	}
	look_sort(&l);
	CHECK_STREQ(judge(&l, &(struct look_file){.link = "socket:[20]"}), "");
	CHECK_STREQ(judge(&l, &(struct look_file){.link = "socket:[21]", .fdinfo = "scm_fds: 0\n"}), "");
	CHECK_CONTAINS(judge(&l, &(struct look_file){.link = "socket:[21]", .fdinfo = "scm_fds: 1\n"}),
		       "wait to be received");
	CHECK_CONTAINS(judge(&l, &(struct look_file){.link = "socket:[22]"}), "not a process of the function");
	CHECK_STREQ(judge(&l, &(struct look_file){.link = "socket:[23]"}), "");
	CHECK_STREQ(judge(&l, &(struct look_file){.link = "socket:[24]"}), "");
	CHECK_CONTAINS(judge(&l, &(struct look_file){.link = "socket:[25]"}), "wait to be accepted");
	CHECK_CONTAINS(judge(&l, &(struct look_file){.link = "socket:[26]"}), "nobody has accepted");
	CHECK_STREQ(judge(&l, &(struct look_file){.link = "socket:[27]"}), "");
	CHECK_STREQ(judge(&l, &(struct look_file){.link = "socket:[28]"}), "");
	CHECK_STREQ(judge(&l, &(struct look_file){.link = "socket:[29]"}), "");
	l.host_net = true;
	CHECK_CONTAINS(judge(&l, &(struct look_file){.link = "socket:[28]"}), "abstract name in the host's network");
	CHECK_STREQ(judge(&l, &(struct look_file){.link = "socket:[24]"}), "");
	look_done(&l);
}

TEST(cut_answers_about_unix_sockets_are_refused_or_stop_early)
{
	AUTO(buf_done) struct buf b = {0};

	add_diag(&b, 1, 20, 21, 0, "/tmp");
	for (size_t n = 0; n < b.len; n++) {
		AUTO_FREE char *part = malloc(n ? n : 1);
		struct look l = {0};
		struct err e = {0};

		REQUIRE(part != NULL);
		memcpy(part, b.data, n);
		CHECK_EQ(look_add_unix(&l, part, n, &e), n < sizeof(struct nlmsghdr) ? 1 : -EBADMSG);
		CHECK_EQ(l.n, 0);
		look_done(&l);
	}
}

static const char tcp[] =
	"  sl  local_address rem_address   st tx_queue rx_queue\n"
	"   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000   993        0 40 1 x 100 0 0 10 0\n"
	"   1: 0100007F:1F91 00000000:0000 0A 00000000:00000002 00:00000000 00000000   993        0 41 1 x 100 0 0 10 0\n"
	"   2: 0100007F:A000 0100007F:1F90 01 00000000:00000000 00:00000000 00000000   993        0 42 1 x 100 0 0 10 0\n"
	"   3: 0100007F:A001 0100007F:1F90 06 00000000:00000000 00:00000000 00000000     0        0 0 1 x 100 0 0 10 0\n"
	"   4: 00000000000000000000000001000000:0016 00000000000000000000000001000000:0050 08 00000000:00000000 "
	"00:00000000 00000000   993        0 44 1 x 100 0 0 10 0\n"
	"   5: short\n";
static const char udp[] =
	"   sl  local_address rem_address   st tx_queue rx_queue\n"
	"  10: 0100007F:2000 00000000:0000 07 00000000:00000000 00:00000000 00000000   993        0 50 2 x 0\n"
	"  11: 0100007F:2001 0100007F:2000 01 00000000:00000000 00:00000000 00000000   993        0 51 2 x 0\n"
	"  12: 0100007F:2002 0100007F:3000 01 00000000:00000000 00:00000000 00000000   993        0 52 2 x 0\n"
	"  13: 00000000:2003 00000000:0000 07 00000000:00000300 00:00000000 00000000   993        0 53 2 x 0\n"
	"  14: 0100007F:2004 0100007F:2003 01 00000000:00000000 00:00000000 00000000   993        0 54 2 x 0\n";

TEST(inet_sockets)
{
	static const char *const held[] = {"socket:[40]", "socket:[50]", "socket:[51]", "socket:[53]"};
	struct look l = {0};
	struct err e = {0};

	CHECK_EQ(look_add_inet(&l, LOOK_TCP, tcp, &e), 0);
	CHECK_EQ(look_add_inet(&l, LOOK_UDP, udp, &e), 0);
	CHECK_EQ(look_add_inet(&l, LOOK_UDP, "", &e), 0);
	CHECK_EQ(l.n, 9);
	for (size_t i = 0; i < ARRAY_LEN(held); i++)
		CHECK_EQ(look_add_fd(&l, &(struct look_file){.link = held[i], .fdinfo = ""}, &e), 0);
	look_sort(&l);
	CHECK_STREQ(judge(&l, &(struct look_file){.link = "socket:[40]"}), "");
	CHECK_CONTAINS(judge(&l, &(struct look_file){.link = "socket:[41]"}), "at 127.0.0.1:8081 with connections");
	CHECK_CONTAINS(judge(&l, &(struct look_file){.link = "socket:[42]"}),
		       "TCP connection from 127.0.0.1:40960 to 127.0.0.1:8080");
	CHECK_CONTAINS(judge(&l, &(struct look_file){.link = "socket:[44]"}), "from [::1]:22 to [::1]:80");
	CHECK_STREQ(judge(&l, &(struct look_file){.link = "socket:[50]"}), "");
	CHECK_STREQ(judge(&l, &(struct look_file){.link = "socket:[51]"}), "");
	CHECK_CONTAINS(judge(&l, &(struct look_file){.link = "socket:[52]"}), "connected to 127.0.0.1:12288");
	CHECK_CONTAINS(judge(&l, &(struct look_file){.link = "socket:[53]"}), "unread datagrams");
	CHECK_STREQ(judge(&l, &(struct look_file){.link = "socket:[54]"}), ""); /* a wildcard's port */
	CHECK_STREQ(judge(&l, &(struct look_file){.link = "socket:[60]", .proto = "TCP"}), "");
	CHECK_CONTAINS(judge(&l, &(struct look_file){.link = "socket:[60]", .proto = "NETLINK"}), "socket (NETLINK)");
	CHECK_CONTAINS(judge(&l, &(struct look_file){.link = "socket:[60]", .proto = "PACKET"}), "socket (PACKET)");
	l.host_net = true;
	CHECK_CONTAINS(judge(&l, &(struct look_file){.link = "socket:[40]"}), "the host's network");
	CHECK_CONTAINS(judge(&l, &(struct look_file){.link = "socket:[60]", .proto = "UDP"}), "the host's network");
	look_done(&l);
}

/* Lines of both tables, IPv4 and IPv6, as the kernel has them for connections within one network. */
static const char connections[] =
	"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
	"   0: 0100007F:1F90 0100007F:A000 01 00000000:00000003 00:00000000 00000000   993        0 70 1 x\n"
	"   1: 0100007F:A000 0100007F:1F90 01 00000000:00000000 00:00000000 00000000   993        0 71 1 x\n"
	"   2: 0000000000000000FFFF00000100007F:1F91 0000000000000000FFFF00000100007F:A001 01 "
	"00000000:00000000 00:00000000 00000000   993        0 72 1 x\n"
	"   3: 0100007F:A001 0100007F:1F91 01 00000000:00000000 00:00000000 00000000   993        0 73 1 x\n"
	"   4: 0100007F:1F92 0100007F:A002 01 00000000:00000000 00:00000000 00000000   993        0 74 1 x\n"
	"   5: 0100007F:A002 0100007F:1F92 01 00000000:00000000 00:00000000 00000000     0        0 75 1 x\n"
	"   6: 0100007F:1F93 0100007F:A003 04 00000000:00000000 00:00000000 00000000   993        0 76 1 x\n"
	"   7: 0100007F:A003 0100007F:1F93 08 00000000:00000000 00:00000000 00000000   993        0 77 1 x\n"
	"   8: 0100007F:1F94 0100007F:A005 01 00000000:00000000 00:00000000 00000000   993        0 78 1 x\n"
	"   9: 0100007F:A004 0100007F:1F94 01 00000000:00000000 00:00000000 00000000   993        0 79 1 x\n";

TEST(a_connection_is_held_when_both_its_ends_are)
{
	static const struct {
		const char *link, *want;
	} cases[] = {
		{"socket:[70]", ""}, /* unread bytes go with it */
		{"socket:[71]", ""},
		{"socket:[72]", ""}, /* mapped: the same address in another table */
		{"socket:[73]", ""},
		{"socket:[74]", "its other end is"}, /* the other one is nobody's here */
		{"socket:[76]", "its other end is"}, /* half closed */
		{"socket:[77]", "its other end is"},
		{"socket:[78]", "its other end is"}, /* of another port */
		{"socket:[79]", "its other end is"},
	};
	struct look l = {0};
	struct err e = {0};

	CHECK_EQ(look_add_inet(&l, LOOK_TCP, connections, &e), 0);
	CHECK_EQ(l.n, 10);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		CHECK_EQ(look_add_fd(&l, &(struct look_file){.link = cases[i].link, .fdinfo = ""}, &e), 0);
	look_sort(&l);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const char *said = judge(&l, &(struct look_file){.link = cases[i].link});

		if (cases[i].want[0])
			CHECK_CONTAINS(said, cases[i].want);
		else
			CHECK_STREQ(said, "");
	}
	look_done(&l);
}

TEST(mappings)
{
	static const struct {
		const char *line, *want;
	} cases[] = {
		{"7f0000000000-7f0000001000 r-xp 00000000 fe:00 77                 /usr/lib/libc.so.6\n", ""},
		{"7f0000000000-7f0000001000 rw-p 00000000 00:00 0 \n", ""},
		{"7f0000000000-7f0000001000 rw-p 00000000 00:00 0                  [heap]\n", ""},
		{"7f0000000000-7f0000001000 rw-p 00000000 00:00 0                  [anon: a name]\n", ""},
		{"7f0000000000-7f0000001000 rw-s 00000000 00:01 5                  /dev/zero (deleted)\n", ""},
		{"7f0000000000-7f0000001000 rw-s 00000000 00:01 5                  /memfd:x (deleted)\n", ""},
		{"7f0000000000-7f0000001000 rw-s 00000000 00:12 5                  /[aio] (deleted)\n", ""},
		{"7f0000000000-7f0000001000 rw-s 00000000 00:01 5                  /SYSV00000000 (deleted)\n",
		 "System V"},
		{"7f0000000000-7f0000001000 rw-s 00000000 00:2c 5                  /usr/a b (deleted)\n",
		 "has mapped '/usr/a b (deleted)', a file without a name"},
		{"7f0000000000-7f0000001000 rw-s 00000000 00:2c 5                  /tmp/a b (deleted)\n", ""},
		{"7f0000000000-7f0000001000 rw-s 00000000 00:05 5                  /dev/mem\n", "a device"},
		{"7f0000000000-7f0000001000 rw-s 00000000 00:0f 5                  anon_inode:[io_uring]\n",
		 "cannot hold"},
		{"7f0000000000-7f0000001000 rw-s 00000000 00:0f 5                  /usr/x (deleted)", "without a name"},
		{"garbage", ""},
		{"\n\n\n", ""},
		{"", ""},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err e = {0};
		int r = look_maps(&native, cases[i].line, &e);

		CHECK_EQ(r, cases[i].want[0] ? -EOPNOTSUPP : 0);
		CHECK_CONTAINS(e.msg, cases[i].want);
	}
}

TEST(states_of_a_process)
{
	static const struct {
		const char *status, *want;
		int filters;
	} cases[] = {
		{"Name:\tx\nState:\tS (sleeping)\nTracerPid:\t0\nSeccomp_filters:\t1\n", "", 1},
		{"Name:\tx\nState:\tR (running)\nTracerPid:\t0\n", "", 1},
		{"Name:\tx\nState:\tZ (zombie)\n", "nobody has waited", 1},
		{"Name:\tx\nState:\tT (stopped)\n", "is stopped", 1},
		{"Name:\tx\nState:\tt (tracing stop)\n", "is stopped", 1},
		{"Name:\tx\nState:\tD (disk sleep)\n", "cannot be interrupted", 1},
		{"Name:\tx\nState:\tS (sleeping)\nTracerPid:\t9\n", "is traced", 1},
		{"Name:\tx\nState:\tS (sleeping)\nSeccomp_filters:\t2\n", "filter of its own", 1},
		{"Name:\tx\nState:\tS (sleeping)\nSeccomp_filters:\t2\n", "", -1},
		{"", "ended while", 1},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err e = {0};
		int r = look_status(&native, cases[i].status, cases[i].filters, &e);

		CHECK_EQ(r, cases[i].want[0] ? -EOPNOTSUPP : 0);
		CHECK_CONTAINS(e.msg, cases[i].want);
	}
}

TEST(system_v_objects)
{
	struct err e = {0};

	CHECK_EQ(look_sysvipc("semaphores", "       key      semid perms\n", &e), 0);
	CHECK_EQ(look_sysvipc("semaphores", "", &e), 0);
	CHECK_EQ(look_sysvipc("semaphores", "       key      semid perms\n         0          1   600\n", &e),
		 -EOPNOTSUPP);
	CHECK_CONTAINS(e.msg, "(semaphores)");
}

TEST(numbers_of_a_text)
{
	static const char text[] = "Pid:\t12\nNSpid:\t12\t3\t-1\nPidx:\t9\nbig:\t99999999999999999999999\n";
	int64_t v = 0;

	CHECK(look_number(text, "Pid", 0, &v) && v == 12);
	CHECK(look_number(text, "NSpid", 1, &v) && v == 3);
	CHECK(look_number(text, "NSpid", 2, &v) && v == -1);
	CHECK(!look_number(text, "NSpid", 3, &v));
	CHECK(!look_number(text, "big", 0, &v));
	CHECK(!look_number(text, "none", 0, &v));
}
