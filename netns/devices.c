/* Moving a network device into another network namespace (runtime-spec, config-linux.md, "Network Devices"). Requests are
 * small and the kernel answers at once, so this is plain rtnetlink(7) over two sockets: one here, one there. */
#include "netns/netns.h"

#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum { REQUEST_BYTES = 1024, ANSWER_BYTES = 32 << 10 }; /* rtnetlink's messages of a dump have at most 32 KiB */

struct request {
	struct nlmsghdr head;
	union {
		struct ifinfomsg link;
		struct ifaddrmsg addr;
		unsigned char bytes[REQUEST_BYTES];
	} body;
};

struct link {
	int index;
	unsigned flags; /* IFF_… */
};

/* ---- Requests ---- */

static void begin(struct request *q, uint16_t type, uint16_t flags, size_t body)
{
	*q = (struct request){.head = {.nlmsg_len = (uint32_t)NLMSG_LENGTH(body),
				       .nlmsg_type = type,
				       .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags),
				       .nlmsg_seq = 1}};
}

/* What does not fit is a bug of the caller's: names have 16 bytes, addresses 16. */
static int add(struct request *q, uint16_t type, const void *data, size_t len)
{
	const size_t at = NLMSG_ALIGN(q->head.nlmsg_len);
	struct rtattr *a = (struct rtattr *)(void *)((char *)q + at);

	if (at + RTA_SPACE(len) > sizeof *q)
		return -EMSGSIZE;
	a->rta_type = type;
	a->rta_len = (uint16_t)RTA_LENGTH(len);
	memcpy(RTA_DATA(a), data, len);
	q->head.nlmsg_len = (uint32_t)(at + RTA_LENGTH(len));
	return 0;
}

typedef int (*answer_fn)(struct nlmsghdr *h, void *arg);

/* 1: more is to come. */
static int take_answer(char *bytes, ssize_t len, bool dump, answer_fn fn, void *arg)
{
	struct nlmsghdr *h = (struct nlmsghdr *)(void *)bytes;
	int r = 1;

	for (; r == 1 && NLMSG_OK(h, len); h = NLMSG_NEXT(h, len)) {
		if (h->nlmsg_type == NLMSG_DONE)
			return 0;
		if (h->nlmsg_type == NLMSG_ERROR)
			return h->nlmsg_len < NLMSG_LENGTH(sizeof(struct nlmsgerr))
				       ? -EPROTO
				       : ((struct nlmsgerr *)NLMSG_DATA(h))->error;
		if (h->nlmsg_flags & NLM_F_DUMP_INTR)
			return -EAGAIN;
		r = fn ? fn(h, arg) : 0;
		if (r == 0)
			r = dump;
	}
	return r;
}

/* Sends and reads the whole answer; @fn, which may be NULL, sees each message that is no acknowledgement. */
static int ask(int fd, struct request *q, answer_fn fn, void *arg)
{
	AUTO_FREE char *bytes = malloc(ANSWER_BYTES);
	const bool dump = (q->head.nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
	int r = 1;

	if (!bytes)
		return -ENOMEM;
	if (send(fd, q, q->head.nlmsg_len, 0) < 0)
		return -errno;
	while (r == 1) {
		ssize_t n = recv(fd, bytes, ANSWER_BYTES, MSG_TRUNC);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		r = n > ANSWER_BYTES ? -EMSGSIZE : take_answer(bytes, n, dump, fn, arg);
	}
	return r;
}

static int open_socket(void)
{
	const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	AUTO_FD int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	if (fd < 0 || connect(fd, (const struct sockaddr *)&kernel, sizeof kernel) < 0)
		return -errno;
	return take_fd(&fd);
}

/* A socket belongs to the namespace in which it was made. */
static int open_socket_in(int netns)
{
	AUTO_FD int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	int fd;

	if (own < 0 || setns(netns, CLONE_NEWNET) < 0)
		return -errno;
	fd = open_socket();
	if (setns(own, CLONE_NEWNET) < 0)
		abort(); /* in the container's network nothing of ours may go on */
	return fd;
}

/* ---- Links ---- */

static int take_link(struct nlmsghdr *h, void *arg)
{
	struct ifinfomsg *info = NLMSG_DATA(h);

	if (h->nlmsg_type != RTM_NEWLINK || h->nlmsg_len < NLMSG_LENGTH(sizeof *info))
		return -EPROTO;
	*(struct link *)arg = (struct link){.index = info->ifi_index, .flags = info->ifi_flags};
	return 0;
}

/* -ENODEV */
static int find_link(int fd, const char *name, struct link *ret)
{
	struct request q;
	int r;

	begin(&q, RTM_GETLINK, 0, sizeof q.body.link);
	r = add(&q, IFLA_IFNAME, name, strlen(name) + 1);
	return r < 0 ? r : ask(fd, &q, take_link, ret);
}

static int raise_link(int fd, int index, bool up)
{
	struct request q;

	begin(&q, RTM_NEWLINK, NLM_F_ACK, sizeof q.body.link);
	q.body.link.ifi_index = index;
	q.body.link.ifi_flags = up ? IFF_UP : 0;
	q.body.link.ifi_change = IFF_UP;
	return ask(fd, &q, NULL, NULL);
}

static int send_link(int fd, int index, int netns, const char *name)
{
	struct request q;
	int r;

	begin(&q, RTM_NEWLINK, NLM_F_ACK, sizeof q.body.link);
	q.body.link.ifi_index = index;
	r = add(&q, IFLA_NET_NS_FD, &netns, sizeof netns);
	if (r == 0)
		r = add(&q, IFLA_IFNAME, name, strlen(name) + 1);
	return r < 0 ? r : ask(fd, &q, NULL, NULL);
}

/* ---- Addresses ---- */

struct addresses {
	int index;
	struct buf found; /* messages as the kernel wrote them, each padded */
};

static uint32_t address_flags(struct nlmsghdr *h)
{
	struct ifaddrmsg *addr = NLMSG_DATA(h);
	ssize_t len = h->nlmsg_len - (ssize_t)NLMSG_LENGTH(sizeof *addr);
	uint32_t flags = addr->ifa_flags;

	for (struct rtattr *a = IFA_RTA(addr); RTA_OK(a, len); a = RTA_NEXT(a, len))
		if (a->rta_type == IFA_FLAGS && RTA_PAYLOAD(a) >= sizeof flags)
			memcpy(&flags, RTA_DATA(a), sizeof flags);
	return flags;
}

/* "all permanent IP addresses (IFA_F_PERMANENT flag) of any family with global scope (RT_SCOPE_UNIVERSE value)" */
static int take_address(struct nlmsghdr *h, void *arg)
{
	struct addresses *to = arg;
	struct ifaddrmsg *addr = NLMSG_DATA(h);

	if (h->nlmsg_type != RTM_NEWADDR || h->nlmsg_len < NLMSG_LENGTH(sizeof *addr))
		return -EPROTO;
	if ((int)addr->ifa_index != to->index || addr->ifa_scope != RT_SCOPE_UNIVERSE ||
	    !(address_flags(h) & IFA_F_PERMANENT))
		return 0;
	buf_add(&to->found, h, h->nlmsg_len);
	buf_add(&to->found, "\0\0\0", NLMSG_ALIGN(h->nlmsg_len) - h->nlmsg_len);
	return to->found.failed ? -ENOMEM : 0;
}

static int find_addresses(int fd, struct addresses *to)
{
	struct request q;
	int r;

	do { /* somebody changed them meanwhile: once more */
		to->found.len = 0;
		begin(&q, RTM_GETADDR, NLM_F_DUMP, sizeof q.body.addr);
		q.body.addr.ifa_family = AF_UNSPEC;
		r = ask(fd, &q, take_address, to);
	} while (r == -EAGAIN);
	return r;
}

/* By convention an address's label is the device's name, with what somebody put behind a colon. */
static int add_label(struct request *q, struct rtattr *a, const char *was, const char *name)
{
	const char *label = RTA_DATA(a);
	const size_t n = strlen(was);
	char text[IFNAMSIZ];

	if (strnlen(label, RTA_PAYLOAD(a)) == RTA_PAYLOAD(a) || strncmp(label, was, n) != 0 ||
	    (label[n] != ':' && label[n] != '\0'))
		return add(q, IFA_LABEL, label, RTA_PAYLOAD(a));
	if ((size_t)snprintf(text, sizeof text, "%s%s", name, label + n) >= sizeof text)
		return 0; /* the kernel takes the name then */
	return add(q, IFA_LABEL, text, strlen(text) + 1);
}

static int give_address(int fd, struct nlmsghdr *h, int index, const char *was, const char *name)
{
	const uint32_t kept = IFA_F_NODAD | IFA_F_HOMEADDRESS | IFA_F_MANAGETEMPADDR | IFA_F_NOPREFIXROUTE;
	struct ifaddrmsg *addr = NLMSG_DATA(h);
	const uint32_t flags = address_flags(h) & kept;
	ssize_t len = h->nlmsg_len - (ssize_t)NLMSG_LENGTH(sizeof *addr);
	struct request q;
	int r;

	begin(&q, RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, sizeof q.body.addr);
	q.body.addr = *addr;
	q.body.addr.ifa_index = (uint32_t)index;
	q.body.addr.ifa_flags = (uint8_t)flags;
	r = add(&q, IFA_FLAGS, &flags, sizeof flags);
	for (struct rtattr *a = IFA_RTA(addr); r == 0 && RTA_OK(a, len); a = RTA_NEXT(a, len)) {
		if (a->rta_type == IFA_LABEL)
			r = add_label(&q, a, was, name);
		else if (a->rta_type == IFA_ADDRESS || a->rta_type == IFA_LOCAL || a->rta_type == IFA_BROADCAST ||
			 a->rta_type == IFA_RT_PRIORITY)
			r = add(&q, a->rta_type, RTA_DATA(a), RTA_PAYLOAD(a));
	}
	return r < 0 ? r : ask(fd, &q, NULL, NULL);
}

static int give_addresses(int fd, const struct addresses *from, int index, const char *was, const char *name)
{
	struct nlmsghdr *h = (struct nlmsghdr *)(void *)from->found.data;
	ssize_t len = (ssize_t)from->found.len;
	int r = 0;

	for (; r == 0 && h && NLMSG_OK(h, len); h = NLMSG_NEXT(h, len))
		r = give_address(fd, h, index, was, name);
	return r;
}

/* ---- The move ---- */

/* "eth%d" becomes the first name of that kind that is free there, as the kernel would choose. */
static int choose_name(int there, const char *wanted, char *to, struct err *e)
{
	const char *pattern = strstr(wanted, "%d");
	struct link ignored;
	int r = 0;

	str_copy(to, IFNAMSIZ, wanted);
	for (int i = 0; r == 0; i++) {
		if (pattern &&
		    snprintf(to, IFNAMSIZ, "%.*s%d%s", (int)(pattern - wanted), wanted, i, pattern + 2) >= IFNAMSIZ)
			return err_set(e, ERR_EXISTS, EEXIST, "no name '%s' is free in the container", wanted);
		r = find_link(there, to, &ignored);
		if (r == 0 && !pattern)
			return err_set(e, ERR_EXISTS, EEXIST,
				       "network device '%s': the container has one of that name already", to);
	}
	return r == -ENODEV ? 0 : err_sys(e, r, "looking for '%s' in the container", to);
}

static int move(int here, int there, int netns, const char *name, const char *inside, struct addresses *kept,
		struct err *e)
{
	char to[IFNAMSIZ];
	struct link link = {0};
	int r = find_link(here, name, &link);

	if (r < 0)
		return err_sys(e, r, "network device '%s'", name);
	r = choose_name(there, inside, to, e);
	if (r < 0)
		return r;
	kept->index = link.index;
	r = find_addresses(here, kept);
	if (r < 0)
		return err_sys(e, r, "reading the addresses of network device '%s'", name);
	r = raise_link(here, link.index, false);
	if (r == 0)
		r = send_link(here, link.index, netns, to);
	if (r < 0) {
		if (link.flags & IFF_UP)
			(void)!raise_link(here, link.index, true); /* it stays: as it was, but for IPv6 addresses */
		return err_sys(e, r, "moving network device '%s' into the container", name);
	}
	r = find_link(there, to, &link); /* its number may be another one there */
	if (r == 0)
		r = give_addresses(there, kept, link.index, name, to);
	if (r < 0)
		return err_sys(e, r, "giving network device '%s' its addresses", to);
	r = raise_link(there, link.index, true);
	return r < 0 ? err_sys(e, r, "raising network device '%s'", to) : 0;
}

int net_move_device(int netns, const char *name, const char *inside, struct err *e)
{
	AUTO_FD int here = open_socket();
	AUTO_FD int there = here < 0 ? here : open_socket_in(netns);
	struct addresses kept = {0};
	int r;

	if (there < 0)
		return err_sys(e, there, "opening rtnetlink of the container");
	r = move(here, there, netns, name, inside, &kept, e);
	buf_done(&kept.found);
	return r;
}

bool net_name_is_valid(const char *name, bool pattern)
{
	const char *percent = strchr(name, '%');

	if (name[0] == '\0' || strlen(name) >= IFNAMSIZ || strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
	    strpbrk(name, "/: \t\n\v\f\r"))
		return false;
	return !percent || (pattern && percent[1] == 'd' && !strchr(percent + 1, '%'));
}
