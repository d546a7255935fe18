#include "netns/netns.h"

#include "base/fd.h"
#include "base/mem.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/errno.h>
#include <netlink/msg.h>
#include <string.h>
#include <sys/socket.h>

/* A namespace's first device is lo and has this index: net/core/dev.c reserves it (LOOPBACK_IFINDEX). */
enum { LOOPBACK_INDEX = 1 };

static void msg_freep(struct nl_msg **m)
{
	if (*m)
		nlmsg_free(*m);
}

int net_plan_loopback(bool up, struct net_request *ret, struct err *e)
{
	struct ifinfomsg link = {
		.ifi_family = AF_UNSPEC,
		.ifi_index = LOOPBACK_INDEX,
		.ifi_flags = up ? IFF_UP : 0,
		.ifi_change = IFF_UP,
	};
	AUTO(msg_freep) struct nl_msg *m = nlmsg_alloc_simple(RTM_NEWLINK, NLM_F_REQUEST | NLM_F_ACK);

	if (!m)
		return err_oom(e);

	int r = nlmsg_append(m, &link, sizeof link, NLMSG_ALIGNTO);
	if (r < 0)
		return err_set(e, ERR_SYSTEM, ENOMEM, "netlink request for loopback: %s", nl_geterror(r));

	const struct nlmsghdr *h = nlmsg_hdr(m);
	if (h->nlmsg_len > sizeof ret->bytes)
		return err_set(e, ERR_BUG, EMSGSIZE, "netlink request for loopback: %u bytes", h->nlmsg_len);
	memcpy(ret->bytes, h, h->nlmsg_len);
	ret->len = h->nlmsg_len;
	return 0;
}

int net_send(const struct net_request *req)
{
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	struct {
		struct nlmsghdr head;
		struct nlmsgerr err;
		char rest[256]; /* extended acknowledgements are not asked for, but need not be an error */
	} answer;
	AUTO_FD int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	if (fd < 0)
		return -errno;
	if (sendto(fd, req->bytes, req->len, 0, (const struct sockaddr *)&kernel, sizeof kernel) < 0)
		return -errno;

	ssize_t n = recv(fd, &answer, sizeof answer, 0);
	if (n < 0)
		return -errno;
	if ((size_t)n < sizeof answer.head + sizeof answer.err || answer.head.nlmsg_type != NLMSG_ERROR)
		return -EPROTO;
	return answer.err.error;
}
