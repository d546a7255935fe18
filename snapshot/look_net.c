#include "snapshot/look.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <stdio.h>
#include <string.h>

/* States of sockets as include/net/tcp_states.h numbers them, for all families. */
enum { ESTABLISHED = 1, CLOSE = 7, LISTEN = 10 };

/* ---- /proc/net/tcp ---- */

static int digit_of(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
				      : -1;
}

/* At most 16 digits at @p, up to something else. */
static uint64_t hex(const char *p, size_t max)
{
	uint64_t v = 0;

	for (size_t i = 0; i < max && digit_of(p[i]) >= 0; i++)
		v = v << 4 | (uint64_t)digit_of(p[i]);
	return v;
}

/* Addresses are printed as the machine's own 32-bit numbers, ports as numbers. */
void look_address(const char *text, char ret[LOOK_ADDRESS])
{
	const size_t digits = strspn(text, "0123456789ABCDEFabcdef");
	char name[INET6_ADDRSTRLEN] = "?";
	uint32_t words[4] = {0};

	(void)snprintf(ret, LOOK_ADDRESS, "?");
	if ((digits != 8 && digits != 32) || text[digits] != ':')
		return;
	for (size_t i = 0; i < digits / 8; i++)
		words[i] = (uint32_t)hex(text + 8 * i, 8);
	if (!inet_ntop(digits == 8 ? AF_INET : AF_INET6, words, name, sizeof name))
		return;
	(void)snprintf(ret, LOOK_ADDRESS, digits == 8 ? "%s:%u" : "[%s]:%u", name, (unsigned)hex(text + digits + 1, 4));
}

bool look_reaches(const char *remote, const char *local)
{
	const size_t digits = strcspn(remote, ":");

	if (strcspn(local, ":") != digits || strcmp(remote + digits, local + digits) != 0)
		return false;
	return strspn(local, "0") >= digits || strncmp(remote, local, digits) == 0;
}

/* As /proc/net/tcp6 has ::ffff:a.b.c.d: four words in the machine's byte order. */
static const char *without_mapping(const char *address)
{
	static const char mapped[] = "0000000000000000FFFF0000";

	return strncmp(address, mapped, sizeof mapped - 1) == 0 ? address + sizeof mapped - 1 : address;
}

bool look_same_address(const char *a, const char *b)
{
	return strcmp(without_mapping(a), without_mapping(b)) == 0;
}

/* Blank-separated word @index of a line, "" beyond the last. */
static const char *word(const char *line, unsigned index, size_t *ret_len)
{
	const char *p = line + strspn(line, " ");

	while (index--) {
		p += strcspn(p, " \n");
		p += strspn(p, " ");
	}
	*ret_len = strcspn(p, " \n");
	return p;
}

static void copy_word(const char *line, unsigned index, char *ret, size_t size)
{
	size_t len;
	const char *p = word(line, index, &len);

	(void)snprintf(ret, size, "%.*s", (int)(len < size ? len : size - 1), p);
}

static int add_line(struct look *l, enum look_kind kind, const char *line, struct err *e)
{
	struct look_node node = {.kind = kind};
	const char *queues, *ino;
	uint64_t state;
	size_t len;

	copy_word(line, 1, node.local, sizeof node.local);
	copy_word(line, 2, node.remote, sizeof node.remote);
	state = hex(word(line, 3, &len), 2);
	queues = word(line, 4, &len);
	if (len > 9)
		node.queue = (uint32_t)hex(queues + 9, 8); /* tx_queue:rx_queue */
	ino = word(line, 9, &len);
	for (size_t i = 0; i < len && i < 19 && ino[i] >= '0' && ino[i] <= '9'; i++)
		node.ino = node.ino * 10 + (uint64_t)(ino[i] - '0');
	if (node.ino == 0) /* TIME_WAIT and the like: nobody's */
		return 0;
	if (state == LISTEN)
		node.flags = LOOK_LISTENS;
	else if (state != CLOSE)
		node.flags = state == ESTABLISHED && kind == LOOK_TCP ? LOOK_CONNECTED | LOOK_ESTABLISHED
								      : LOOK_CONNECTED;
	return look_add(l, &node, e);
}

int look_add_inet(struct look *l, enum look_kind kind, const char *text, struct err *e)
{
	const char *p = strchr(text, '\n'); /* the first line is a head */
	int r = 0;

	for (; r == 0 && p && p[1]; p = strchr(p + 1, '\n'))
		r = add_line(l, kind, p + 1, e);
	return r;
}

/* ---- sock_diag ---- */

struct reader {
	const char *p;
	size_t n;
};

static void skip(struct reader *r, size_t len)
{
	const size_t aligned = NLMSG_ALIGN(len);

	r->p += aligned < r->n ? aligned : r->n;
	r->n -= aligned < r->n ? aligned : r->n;
}

static int add_socket(struct look *l, struct reader r, struct err *e)
{
	struct look_node node = {.kind = LOOK_UNIX};
	bool nameless_peer = false;
	struct unix_diag_msg m;
	uint8_t shut = 0;
	struct rtattr a;

	if (r.n < sizeof m)
		return err_set(e, ERR_SYSTEM, EBADMSG, "reading the kernel's unix sockets: a short message");
	memcpy(&m, r.p, sizeof m);
	skip(&r, sizeof m);
	node.ino = m.udiag_ino;
	node.flags = m.udiag_state == LISTEN ? LOOK_LISTENS : m.udiag_state == ESTABLISHED ? LOOK_CONNECTED : 0;
	for (; r.n >= sizeof a; skip(&r, a.rta_len)) {
		const char *data = r.p + sizeof a;
		uint32_t number = 0;

		memcpy(&a, r.p, sizeof a);
		if (a.rta_len < sizeof a || a.rta_len > r.n)
			break;
		if (a.rta_len >= sizeof a + sizeof number)
			memcpy(&number, data, sizeof number);
		if (a.rta_type == UNIX_DIAG_PEER) {
			node.peer = number;
			nameless_peer = number == 0;
		}
		if (a.rta_type == UNIX_DIAG_SHUTDOWN && a.rta_len > sizeof a)
			shut = (uint8_t)data[0];
		if (a.rta_type == UNIX_DIAG_RQLEN) /* first of two: connections or bytes that wait */
			node.queue = number;
		if (a.rta_type == UNIX_DIAG_NAME && a.rta_len > sizeof a && data[0] == '\0')
			node.flags |= LOOK_ABSTRACT;
	}
	/* The other end is a socket without a file: not accepted yet, or closed, which shuts this one in both directions
	 * (unix_release_sock() in the kernel). */
	if (nameless_peer && shut != 3)
		node.flags |= LOOK_WAITING;
	return look_add(l, &node, e);
}

int look_add_unix(struct look *l, const void *data, size_t len, struct err *e)
{
	struct reader r = {data, len};

	while (r.n >= sizeof(struct nlmsghdr)) {
		struct nlmsghdr h;
		int32_t code = 0;
		int ok;

		memcpy(&h, r.p, sizeof h);
		if (h.nlmsg_len < sizeof h || h.nlmsg_len > r.n)
			return err_set(e, ERR_SYSTEM, EBADMSG,
				       "reading the kernel's unix sockets: a message of %u bytes", h.nlmsg_len);
		if (h.nlmsg_type == NLMSG_DONE)
			return 0;
		if (h.nlmsg_type == NLMSG_ERROR) {
			if (h.nlmsg_len >= sizeof h + sizeof code)
				memcpy(&code, r.p + sizeof h, sizeof code);
			return err_hint(e, err_sys(e, code ? code : EPROTO, "reading the kernel's unix sockets"),
					"CRIU and this look need the kernel's modules unix_diag, tcp_diag, udp_diag, "
					"netlink_diag and af_packet_diag: modprobe -a unix_diag tcp_diag …");
		}
		if (h.nlmsg_type == SOCK_DIAG_BY_FAMILY) {
			ok = add_socket(l, (struct reader){r.p + sizeof h, h.nlmsg_len - sizeof h}, e);
			if (ok < 0)
				return ok;
		}
		skip(&r, h.nlmsg_len);
	}
	return 1;
}
