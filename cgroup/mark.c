/* Whose a group is, for containers that have the same path one after the other: an attribute of its directory in cgroup2
 * (on v1 only some mounts have attributes). trusted.*: who is in the container writes none (xattr(7), "Trusted extended
 * attributes"), and only root of the machine reads them; for others there is no mark, and nothing is known. */
#include "cgroup/internal.h"

#include "base/fd.h"

#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

#define NAME "trusted.fsbox-oci"

static bool path_of(const struct cg_group *g, char path[40])
{
	const int dir = cg_group_v2(g);

	(void)snprintf(path, 40, "/proc/self/fd/%d", dir); /* O_PATH, which fsetxattr(2) does not take */
	return fd_valid(dir);
}

void cg_group_mark(const struct cg_group *g, const char *owner)
{
	char path[40];

	if (path_of(g, path) && owner[0])
		(void)setxattr(path, NAME, owner, strlen(owner), 0);
	else if (path_of(g, path))
		(void)removexattr(path, NAME);
}

bool cg_group_marked(const struct cg_group *g, char owner[CG_MARK_MAX])
{
	char path[40];
	ssize_t n = path_of(g, path) ? getxattr(path, NAME, owner, CG_MARK_MAX - 1) : -1;

	owner[n > 0 ? n : 0] = '\0';
	return n > 0;
}
