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

/* The rules of dev_valid_name() in the kernel; with @pattern "%d" once, for the first number that is free. */
bool net_name_is_valid(const char *name, bool pattern);
/* Moves a device of our namespace into @netns, where it is called @inside (a pattern is allowed), and up. Its permanent
 * addresses of global scope go with it. ERR_EXISTS when the name is taken there. CAP_NET_ADMIN over both. Enters @netns
 * for a moment: single-threaded callers only. */
NODISCARD int net_move_device(int netns, const char *name, const char *inside, struct err *e);
