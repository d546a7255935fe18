/* Part of snap_hold.c: sockets. */
#pragma once

static int unix_pair(int type)
{
	int p[2];

	if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, p) < 0)
		return fail();
	a = p[0];
	b = p[1];
	return 0;
}
static int hold_unix_pair(void)
{
	return unix_pair(SOCK_STREAM);
}
static int hold_unix_dgram(void)
{
	return unix_pair(SOCK_DGRAM);
}
static int hold_unix_packet(void)
{
	return unix_pair(SOCK_SEQPACKET);
}
static int hold_unix_half(void)
{
	return hold_unix_pair() ?: need(close(b) == 0);
}
static int hold_unix_unread(void)
{
	return hold_unix_pair() ?: need(write(a, "xyz", 3) == 3 && close(a) == 0);
}
static int works_unix_unread(void)
{
	char text[3];

	return need(recv(b, text, 3, MSG_PEEK) == 3 && memcmp(text, "xyz", 3) == 0);
}
static int hold_unix_child(void)
{
	return hold_unix_pair() ?: hold_child() ?: need(close(b) == 0);
}
static int unix_listen(const char *name, socklen_t len)
{
	struct sockaddr_un u = {.sun_family = AF_UNIX};

	memcpy(u.sun_path, name, len);
	a = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return need(bind(a, (struct sockaddr *)&u, (socklen_t)sizeof u.sun_family + len) == 0 && listen(a, 5) == 0);
}
static int unix_connect(const char *name, socklen_t len)
{
	struct sockaddr_un u = {.sun_family = AF_UNIX};

	memcpy(u.sun_path, name, len);
	b = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return need(connect(b, (struct sockaddr *)&u, (socklen_t)sizeof u.sun_family + len) == 0);
}
static int hold_unix_abstract(void)
{
	return unix_listen("\0held", 5);
}
static int accept_one(void)
{
	int c = accept4(a, NULL, NULL, SOCK_CLOEXEC);

	return need(c >= 0 && close(c) == 0);
}
static int works_unix_abstract(void)
{
	return unix_connect("\0held", 5) ?: accept_one() ?: need(close(b) == 0);
}
static int hold_unix_path(void)
{
	return unix_listen("/tmp/held", 9);
}
static int works_unix_path(void)
{
	return unix_connect("/tmp/held", 9) ?: accept_one() ?: need(close(b) == 0);
}
static int hold_unix_pending(void)
{
	return hold_unix_abstract() ?: unix_connect("\0held", 5);
}
static int hold_unix_unbound(void)
{
	a = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return need(a >= 0);
}
/* The host's abstract names are there with --net host: HOLD_NAME is one. */
static int hold_unix_outside(void)
{
	const char *name = getenv("HOLD_NAME");
	char text[100] = "";

	(void)snprintf(text + 1, sizeof text - 1, "%s", name ? name : "");
	return unix_connect(text, (socklen_t)strlen(text + 1) + 1);
}
static int hold_scm(void)
{
	char control[CMSG_SPACE(sizeof(int))] = "", c = 'x';
	struct iovec iov = {&c, 1};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);
	int fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);

	if (hold_unix_pair() != 0)
		return fail();
	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof fd);
	memcpy(CMSG_DATA(h), &fd, sizeof fd);
	return need(sendmsg(a, &m, 0) == 1 && close(fd) == 0);
}
static uint16_t number_of(const char *s)
{
	unsigned n = 0;

	for (; s && *s >= '0' && *s <= '9'; s++)
		n = n * 10 + (unsigned)(*s - '0');
	return (uint16_t)n;
}
static int inet(int type, struct sockaddr_in *ret)
{
	const char *port = getenv("HOLD_PORT");

	*ret = (struct sockaddr_in){.sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				    .sin_port = htons(number_of(port))};
	return socket(AF_INET, type | SOCK_CLOEXEC, 0);
}
static int hold_tcp_listen(void)
{
	struct sockaddr_in in;

	a = inet(SOCK_STREAM, &in);
	return need(bind(a, (struct sockaddr *)&in, sizeof in) == 0 && listen(a, 5) == 0);
}
static int hold_tcp_listen6(void)
{
	struct sockaddr_in6 in = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};

	a = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return need(bind(a, (struct sockaddr *)&in, sizeof in) == 0 && listen(a, 5) == 0);
}
static int works_tcp_listen(void)
{
	struct sockaddr_in6 in;
	socklen_t len = sizeof in;
	int c, r;

	if (getsockname(a, (struct sockaddr *)&in, &len) < 0)
		return fail();
	c = socket(in.sin6_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	r = need(connect(c, (struct sockaddr *)&in, len) == 0) ?: accept_one();
	(void)close(c);
	return r;
}
static int hold_tcp_pair(void)
{
	struct sockaddr_in in;
	socklen_t len = sizeof in;
	int c, l;

	if (hold_tcp_listen() != 0 || getsockname(a, (struct sockaddr *)&in, &len) < 0)
		return fail();
	l = a;
	c = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(c, (struct sockaddr *)&in, len) < 0)
		return fail();
	a = accept4(l, NULL, NULL, SOCK_CLOEXEC);
	b = c;
	return need(a >= 0 && close(l) == 0);
}
static int hold_tcp_unread(void)
{
	return hold_tcp_pair() ?: need(write(a, "xyz", 3) == 3);
}
static int works_tcp_unread(void)
{
	char text[3];

	return need(recv(b, text, 3, MSG_PEEK) == 3 && memcmp(text, "xyz", 3) == 0);
}
static int hold_tcp_child(void)
{
	return hold_tcp_pair() ?: hold_child() ?: need(close(b) == 0);
}
/* As a server of IPv6 sees a client of IPv4. */
static int hold_tcp_mapped(void)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_in6 any = {.sin6_family = AF_INET6};
	socklen_t len = sizeof any;
	int l = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (bind(l, (struct sockaddr *)&any, sizeof any) < 0 || listen(l, 5) < 0 ||
	    getsockname(l, (struct sockaddr *)&any, &len) < 0)
		return fail();
	in.sin_port = any.sin6_port;
	b = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(b, (struct sockaddr *)&in, sizeof in) < 0)
		return fail();
	a = accept4(l, NULL, NULL, SOCK_CLOEXEC);
	return need(a >= 0 && close(l) == 0);
}
/* One direction is closed. */
static int hold_tcp_half(void)
{
	return hold_tcp_pair() ?: need(shutdown(a, SHUT_WR) == 0);
}
static int hold_tcp_idle(void)
{
	struct sockaddr_in in;

	a = inet(SOCK_STREAM, &in);
	return need(a >= 0);
}
static int hold_tcp_outside(void)
{
	struct sockaddr_in in;

	a = inet(SOCK_STREAM, &in);
	return need(connect(a, (struct sockaddr *)&in, sizeof in) == 0);
}
static int hold_udp(void)
{
	struct sockaddr_in in;

	a = inet(SOCK_DGRAM, &in);
	return need(bind(a, (struct sockaddr *)&in, sizeof in) == 0);
}
static int hold_udp_idle(void)
{
	struct sockaddr_in in;

	a = inet(SOCK_DGRAM, &in);
	return need(a >= 0);
}
static int hold_udp_outside(void)
{
	struct sockaddr_in in;

	a = inet(SOCK_DGRAM, &in);
	in.sin_port = htons(9);
	return need(connect(a, (struct sockaddr *)&in, sizeof in) == 0);
}
static int hold_udp_pair(void)
{
	struct sockaddr_in in, other;
	socklen_t len = sizeof in;

	if (hold_udp() != 0 || getsockname(a, (struct sockaddr *)&in, &len) < 0)
		return fail();
	b = a;
	a = inet(SOCK_DGRAM, &other);
	return need(connect(a, (struct sockaddr *)&in, len) == 0 &&
		    getsockname(a, (struct sockaddr *)&other, &len) == 0 &&
		    connect(b, (struct sockaddr *)&other, len) == 0);
}
static int hold_tcp_pending(void)
{
	struct sockaddr_in in;
	socklen_t len = sizeof in;

	if (hold_tcp_listen() != 0 || getsockname(a, (struct sockaddr *)&in, &len) < 0)
		return fail();
	b = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return need(connect(b, (struct sockaddr *)&in, len) == 0);
}
static int hold_udp_unread(void)
{
	struct sockaddr_in in;
	socklen_t len = sizeof in;

	if (hold_udp() != 0 || getsockname(a, (struct sockaddr *)&in, &len) < 0)
		return fail();
	return need(sendto(a, "x", 1, 0, (struct sockaddr *)&in, len) == 1);
}
static int hold_netlink(void)
{
	a = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	return need(a >= 0);
}
