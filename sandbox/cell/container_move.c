/* --no-pivot: the change of root where pivot_root(2) cannot be done, because the root that we stand in is a ramfs, which
 * nothing is below of, or because somebody does not let.
 *
 * The container's root goes on top of the host's, and we into it. The host's mounts stay below in the same mount
 * namespace then: whoever gets beneath, by unmounting or by entering the namespace anew (setns(2)), would find them, and
 * the host's whole /proc and /sys would be an example by which the kernel lets everybody mount his own without the masks
 * (mount_namespaces(7): "may be mounted only if […] already fully visible"). So all of them are unmounted. In a user
 * namespace the copies are locked to each other and none can be (same page, "Restrictions on mount namespaces"): there
 * every proc and sysfs gets an empty directory on top, which user namespaces made later cannot take off. Only the host's
 * root itself stays where it is. */
#include "cell/container_internal.h"

#include "base/fd.h"
#include "cell/container_mounts.h"
#include "sys/sys.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>

/* The child is to find them by name, and does not read tables. What it makes itself lies in its root. */
int ct_move_prepare(struct ct_prepared *p, struct err *e)
{
	struct mounted_table t;
	const char **at;
	int r;

	if (!p->child.ct->no_pivot || fd_valid(p->child.ct->join))
		return 0;
	r = mounts_of(0, &p->arena, &t, e);
	if (r < 0)
		return r;
	at = arena_alloc(&p->arena, (t.n + 1) * sizeof *at);
	if (!at)
		return err_oom(e);
	p->child.host_mounts = at;
	for (size_t i = 0; i < t.n; i++)
		if (strcmp(t.at[i].point, "/") != 0)
			at[p->child.n_host_mounts++] = t.at[i].point + 1; /* from the host's root */
	return 0;
}

static bool is_mount(const char *point)
{
	struct statx st;

	return statx(AT_FDCWD, point, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, 0, &st) == 0 &&
	       (st.stx_attributes & STATX_ATTR_MOUNT_ROOT);
}

/* What is unmounted is unmounted everywhere that hears of the mount which it stands on. */
static bool make_deaf(const char *point)
{
	return mount(NULL, point, NULL, MS_SLAVE | MS_REC, NULL) == 0;
}

/* All that is there one over the other. Returns how many went. */
static int drop(const char *point)
{
	int n = 0;

	while (is_mount(point) && make_deaf(point) && umount2(point, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
		n++;
	return n;
}

static bool is_kernels_view(const char *point)
{
	struct statfs fs;

	return statfs(point, &fs) == 0 && (fs.f_type == PROC_SUPER_MAGIC || fs.f_type == SYSFS_MAGIC);
}

/* From below up, and again: what lay under another mount has its name only when that one is gone. The working directory is
 * the host's root. */
static int clear_host(const struct ct_child *ch, int old, struct err *e)
{
	int n;

	do {
		n = 0;
		for (size_t i = 0; i < ch->n_host_mounts; i++) /* all of them before the first goes */
			(void)make_deaf(ch->host_mounts[i]);
		for (size_t i = ch->n_host_mounts; i-- > 0;)
			n += drop(ch->host_mounts[i]);
	} while (n > 0);
	for (size_t i = ch->n_host_mounts; i-- > 0;) {
		const char *point = ch->host_mounts[i];
		int r = is_mount(point) && is_kernels_view(point) ? inside_mask(old, point, FD_NONE) : 0;

		if (r < 0)
			return err_sys(e, r, "covering '/%s' of the host", point);
	}
	return 0;
}

int ct_move_root(const struct ct_child *ch, struct err *e)
{
	AUTO_FD int old = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (old < 0 || fchdir(ch->root) < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || fchdir(old) < 0)
		return err_sys(e, errno, "moving '%s' to the root", ch->spec->rootfs);
	/* What is unmounted goes by the propagation of what it is mounted on. A root that is none of a mount has none. */
	if (mount(NULL, ".", NULL, MS_SLAVE, NULL) < 0 && errno != EINVAL)
		return err_sys(e, errno, "propagation of the host's root");
	r = clear_host(ch, old, e);
	if (r < 0)
		return r;
	if (fchdir(ch->root) < 0 || chroot(".") < 0 || chdir("/") < 0)
		return err_sys(e, errno, "entering '%s'", ch->spec->rootfs);
	return 0;
}
