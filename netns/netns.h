/* Network namespaces: what a cell sees of the network. The only user of libnl.
 *
 * The namespace itself is born with the cell (CLONE_NEWNET). Bringing its loopback up takes one netlink request, which is
 * built here before clone3, so that the child sends prepared bytes and reads a fixed-size answer: no allocation. */
#pragma once

#include "base/err.h"

enum { NET_REQUEST_MAX = 64 };

/* A ready RTM_NEWLINK request (rtnetlink(7)). */
struct net_request {
	size_t len;
	unsigned char bytes[NET_REQUEST_MAX];
};

/* Parent: "set lo up" (or down), built by libnl. */
NODISCARD int net_plan_loopback(bool up, struct net_request *ret, struct err *e);

/* Child, inside the new namespace, with CAP_NET_ADMIN over it: sends the request and waits for the kernel's
 * acknowledgement. -errno. */
NODISCARD int net_send(const struct net_request *req);
