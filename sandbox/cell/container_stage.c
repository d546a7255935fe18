/* Where a container is restored: a file system of CRIU's mount namespace in which everything lies ready that is mounted
 * from outside, with the flags that it shall have. CRIU binds from there. */
#include "cell/container_internal.h"

#include "base/fd.h"
#include "snapshot/snapshot.h"
#include "sys/sys.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>

enum { MAX_PARENTS = 64 };

static bool is_cgroup(const struct ct_mount *m)
{
	return !m->bind && m->type && (strcmp(m->type, "cgroup") == 0 || strcmp(m->type, "cgroup2") == 0);
}

/* Attaches a detached mount in the stage, as @name. */
static int stage_mount(int stage, const char *name, int fd)
{
	AUTO_FD int at = FD_NONE;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode) ? mkdirat(stage, name, 0700) < 0 : mknodat(stage, name, S_IFREG | 0600, 0) < 0)
		return -errno;
	at = openat(stage, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	return at < 0 ? -errno : sys_move_mount_onto(fd, at);
}

static int stage_cgroups(struct ct_child *ch, int stage, size_t i, struct err *e)
{
	const struct ct_mount *m = &ch->spec->mounts[i];
	const struct cg_group *g = ch->ct->group;
	const struct cg_tree *v2 = g ? ct_cgroup_only_v2(g) : NULL;
	char name[48];
	int r = 0;

	for (unsigned k = 0; r == 0 && g && k < g->n; k++) {
		AUTO_FD int fd = FD_NONE;

		if ((g->trees[k].v2 && !v2) || (!v2 && !fd_valid(g->trees[k].dir)))
			continue;
		fd = ct_cgroup_tree(ch, &g->trees[k], (unsigned)m->set);
		(void)snprintf(name, sizeof name, "c%zu.%u", i, k);
		r = fd < 0 ? fd : stage_mount(stage, name, fd);
	}
	return r < 0 ? err_sys(e, r, "mounting cgroups for '%s'", m->target) : 0;
}

static bool is_shared(const struct ct_mount *m)
{
	for (size_t i = 0; i < ARRAY_LEN(m->propagation); i++)
		if (m->propagation[i] & MS_SHARED)
			return true;
	return false;
}

static int stage_binds(struct ct_child *ch, int stage, struct err *e)
{
	char name[48];
	int r = 0;

	for (size_t i = 0; r == 0 && i < ch->spec->n_mounts; i++) {
		const struct ct_mount *m = &ch->spec->mounts[i];

		if (is_cgroup(m)) {
			r = stage_cgroups(ch, stage, i, e);
			continue;
		}
		if (!fd_valid(ch->sources[i]))
			continue;
		(void)snprintf(name, sizeof name, "m%zu", i);
		r = is_shared(m) ? 0 : sys_mount_setattr(ch->sources[i], 0, 0, MS_SLAVE, true);
		if (r == 0)
			r = stage_mount(stage, name, ch->sources[i]);
		if (r < 0)
			return err_sys(e, r, "bind mount of '%s' for '%s'", m->source, m->target);
	}
	return r;
}

/* In a user namespace CRIU's processes open images before they are somebody there and after it: our root without a right
 * at first, root of the namespace then. A directory of mode 0700 lets only one of the two in. So it is shown through an
 * overlay, whose directory lets everybody in who can reach it, and who reads with our rights. *ret_more: there are images
 * of an earlier dump behind these; their overlay is the next one. */
static int show_images(int stage, int images, unsigned k, bool *ret_more)
{
	char name[64], options[160];
	AUTO_FD int upper = FD_NONE;

	(void)snprintf(name, sizeof name, "up%u", k);
	if (mkdirat(stage, name, 0755) < 0)
		return -errno;
	upper = openat(stage, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	*ret_more = faccessat(images, "parent", F_OK, 0) == 0;
	(void)snprintf(name, sizeof name, "../images%u", k + 1);
	if (upper < 0 || (*ret_more && symlinkat(name, upper, "parent") < 0))
		return -errno;
	(void)snprintf(name, sizeof name, "work%u", k);
	if (mkdirat(stage, name, 0755) < 0)
		return -errno;
	(void)snprintf(name, sizeof name, "images%u", k);
	if (mkdirat(stage, name, 0755) < 0)
		return -errno;
	(void)snprintf(options, sizeof options,
		       "lowerdir=/proc/self/fd/%d,upperdir=/proc/self/fd/%d,workdir=/proc/self/fd/%d/work%u", images,
		       upper, stage, k);
	(void)snprintf(name, sizeof name, "/proc/self/fd/%d/images%u", stage, k);
	return mount("overlay", name, "overlay", MS_NOSUID | MS_NODEV | MS_NOEXEC, options) < 0 ? -errno : 0;
}

static int stage_images(int stage, int first)
{
	AUTO_FD int images = openat(first, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	bool more = true;
	int r = images < 0 ? -errno : 0;

	for (unsigned k = 0; r == 0 && more && k < MAX_PARENTS; k++) {
		int parent;

		r = show_images(stage, images, k, &more);
		if (r < 0 || !more)
			break;
		parent = openat(images, "parent", O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (parent < 0)
			return -errno;
		fd_closep(&images);
		images = parent;
	}
	return r;
}

static int stage_kdat(int stage, const struct buf *kdat)
{
	AUTO_FD int fd = FD_NONE;

	if (kdat->len == 0)
		return 0;
	fd = openat(stage, CRIU_KDAT, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	return fd < 0 ? -errno : fd_write_all(fd, kdat->data, kdat->len);
}

/* Whatever is mounted here is gone when CRIU and the container's first process are done with it. */
int ct_stage(struct ct_child *ch, const char *images, const struct buf *kdat, struct err *e)
{
	AUTO_FD int dir = FD_NONE;
	AUTO_FD int stage = FD_NONE;
	int r;

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		return err_sys(e, errno, "making a mount namespace for CRIU");
	dir = open(images, O_PATH | O_DIRECTORY | O_CLOEXEC); /* in this namespace, and before something lies over it */
	if (dir < 0)
		return err_sys(e, errno, "opening '%s'", images);
	if (mount("tmpfs", CT_STAGE, "tmpfs", MS_NOSUID | MS_NODEV, "mode=711,size=1m") < 0)
		return err_sys(e, errno, "making a place for mounts");
	stage = open(CT_STAGE, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (stage < 0)
		return err_sys(e, errno, "opening a place for mounts");
	r = stage_kdat(stage, kdat);
	if (r < 0)
		return err_sys(e, r, "writing what is known of the kernel");
	r = stage_binds(ch, stage, e);
	if (r < 0)
		return r;
	if (ch->spec->ns[CT_USER].wanted) {
		r = stage_images(stage, dir);
		if (r < 0)
			return err_sys(e, r, "showing the images to a user namespace");
	}
	r = sys_mount_setattr(ch->root_tree, ch->spec->root_readonly ? MOUNT_ATTR_RDONLY : 0, 0, 0, false);
	if (r == 0 && !(ch->spec->propagation & MS_SHARED))
		r = sys_mount_setattr(ch->root_tree, 0, 0, MS_SLAVE, true);
	if (r == 0)
		r = stage_mount(stage, "root", ch->root_tree);
	return r < 0 ? err_sys(e, r, "mounting rootfs '%s'", ch->spec->rootfs) : 0;
}
