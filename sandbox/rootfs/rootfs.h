/* The file system of a cell: the skeleton that all cells share, the mounts of one cell, the change of root.
 *
 * Two halves. Before clone3: making the skeleton and device directories, and, with privileges, detached mounts that
 * are visible to nobody. After clone3, in the child: root_mount_make() for what is left, attaching, and pivot_root,
 * all on prepared data. Mounts made here never appear in the host's mount namespace. */
#pragma once

#include "rootfs/inside.h"
#include "spec/plan.h"

/* Parent: makes @plan's skeleton in the state directory unless it is there, complete (it appears by one rename).
 * *ret_fd keeps it from being removed as unused: close it when the cell is gone. */
NODISCARD int root_skeleton(const char *state_dir, const struct cell_plan *plan, int *ret_fd, struct err *e);

/* Removes what a dead owner, the cell @id, left half made. */
void root_skeleton_sweep(const char *state_dir, const char *id);

/* Parent, privileged: a directory "dev" in the state directory with null, zero, full, random, urandom, tty and the
 * usual links. -EPERM where device nodes cannot be made (in a user namespace): then bind the host's. */
NODISCARD int root_dev_dir(const char *state_dir);

/* Either side: the mount as a detached descriptor. Optional ones whose source is absent answer -ENOENT. */
NODISCARD int root_mount_make(const struct plan_mount *m, int *ret_fd);

/* Child: attaches a root mount somewhere in its own namespace so that others can be attached below it. */
NODISCARD int root_attach_root(int root_fd);

/* Child: attaches at @target below @root_fd. */
NODISCARD int root_attach(int root_fd, int mount_fd, const char *target);

/* Child: makes @root_fd the root and detaches everything else. */
NODISCARD int root_pivot(int root_fd);

/* Disk space with an upper bound, for --tmp-dir: a directory below @dir with a project quota of its own
 * (quotactl(2), ioctl_xfs_fsgetxattr(2)), mode 01700, belonging to @uid and @gid. The inode limit is in proportion,
 * as for a tmpfs. @uid is the first project tried: cells that live at the same time have to have different ones.
 * @id: hex digits. ERR_UNSUPPORTED when @dir's file system has no project quotas in force; ERR_SPEC when @dir is not
 * absolute or over ROOT_QUOTA_DIR_MAX bytes; ERR_DENIED when others than root may rename what is in it. */
enum { ROOT_QUOTA_DIR_MAX = 160 };
struct root_quota {
	char path[256];   /* the directory made, "" when none */
	char parent[224]; /* @dir */
	uint32_t project;
};
NODISCARD int root_quota_make(const char *dir, const char *id, uint64_t bytes, uint32_t uid, uint32_t gid,
			      struct root_quota *ret, struct err *e);
/* Removes the directory with everything in it and the quota. Idempotent. The cell's processes must be gone. */
NODISCARD int root_quota_remove(struct root_quota *q, struct err *e);

/* Removes what a dead owner left at @path, made by root_quota_make(), whole or half. Success when absent. */
NODISCARD int root_quota_sweep(const char *path, struct err *e);
