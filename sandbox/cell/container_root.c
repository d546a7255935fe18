/* The root of a container: its mounts, devices, console and masks, and the change of root. Child side. */
#include "cell/container_internal.h"

#include "base/fd.h"
#include "sys/sys.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/* "shared" for the container's root is meant for what is mounted inside of it; what the root itself stands in must not be,
 * or pivot_root(2) refuses. The mount that holds it begins at one of the directories above. */
static int separate_parent(const char *rootfs, struct err *e)
{
	char path[CT_PATH_ROOM];
	size_t n = strlen(rootfs);

	if (n >= sizeof path)
		return err_sys(e, ENAMETOOLONG, "the root '%s'", rootfs);
	memcpy(path, rootfs, n + 1);
	for (;;) {
		if (mount(NULL, path, NULL, MS_PRIVATE, NULL) == 0)
			return 0;
		if (errno != EINVAL || strcmp(path, "/") == 0)
			return err_sys(e, errno, "making the mount of '%s' private", path);
		while (n > 0 && path[n - 1] != '/')
			n--;
		while (n > 1 && path[n - 1] == '/')
			n--;
		path[n ? n : 1] = '\0';
	}
}

static int place_root(struct ct_child *ch, struct err *e)
{
	const struct ct_spec *s = ch->spec;
	const struct ct_mount self = {.source = s->rootfs, .bind = true, .recursive = true};
	AUTO_FD int at = FD_NONE;
	int r;

	/* Until the root is entered all of the host's is as the container's will be; unbindable, nothing could be bound. */
	unsigned long all = s->propagation && !(s->propagation & MS_UNBINDABLE) ? s->propagation : MS_SLAVE;

	if (mount(NULL, "/", NULL, all | MS_REC, NULL) < 0)
		return err_sys(e, errno, "propagation of the root");
	if (s->propagation & MS_SHARED) {
		r = separate_parent(s->rootfs, e);
		if (r < 0)
			return r;
	}
	if (!fd_valid(ch->root_tree))
		ch->root_tree = inside_bind(&self);
	if (ch->root_tree < 0)
		return err_sys(e, ch->root_tree, "opening rootfs '%s'", s->rootfs);
	/* The copy of a shared mount is its peer: what is mounted in the root would appear on the host. With "shared" that
	 * is wanted of what lies below, of the root itself never. */
	r = s->propagation & MS_SHARED ? sys_mount_setattr(ch->root_tree, 0, 0, MS_PRIVATE, false)
				       : sys_mount_setattr(ch->root_tree, 0, 0, MS_SLAVE, true);
	if (r < 0)
		return err_sys(e, r, "propagation of rootfs '%s'", s->rootfs);
	at = open(s->rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
	r = at < 0 ? -errno : sys_move_mount_onto(ch->root_tree, at);
	if (r < 0)
		return err_sys(e, r, "mounting rootfs '%s'", s->rootfs);
	ch->root = ch->root_tree;
	return 0;
}

static bool is_type(const struct ct_mount *m, const char *type)
{
	return m->type && !m->bind && strcmp(m->type, type) == 0;
}

static bool wants_shared(const struct ct_mount *m)
{
	for (size_t i = 0; i < ARRAY_LEN(m->propagation); i++)
		if (m->propagation[i] & MS_SHARED)
			return true;
	return false;
}

/* A bind hears of what is mounted below its source later, but for "shared" it does not tell of its own. */
static int make_bind(struct ct_child *ch, size_t i, struct err *e)
{
	const struct ct_mount *m = &ch->spec->mounts[i];
	int fd = ch->sources[i], r;

	if (!fd_valid(fd))
		fd = inside_bind(m);
	if (fd < 0)
		return err_sys(e, fd, "bind mount of '%s' at '%s'", m->source, m->target);
	ch->sources[i] = fd;
	r = wants_shared(m) ? 0 : sys_mount_setattr(fd, 0, 0, MS_SLAVE, true);
	return r < 0 ? err_sys(e, r, "propagation of '%s'", m->target) : 0;
}

static bool is_dev(const struct ct_mount *m)
{
	return strcmp(m->target, "/dev") == 0 || strcmp(m->target, "/dev/") == 0;
}

static struct ct_mount without_rdonly(const struct ct_mount *m)
{
	struct ct_mount copy = *m;

	copy.set &= ~(uint64_t)MOUNT_ATTR_RDONLY;
	return copy;
}

static int make_new(struct ct_child *ch, size_t i, struct err *e)
{
	const struct ct_mount *m = &ch->spec->mounts[i];
	const char *option;
	/* /dev gets its devices first, and is made read-only with the masks. */
	const struct ct_mount late = without_rdonly(m);
	int r, fd = inside_new(is_dev(m) ? &late : m, &option);

	if (fd < 0 && option)
		return err_sys(e, fd, "option '%s' of the %s at '%s'", option, m->type, m->target);
	if (fd < 0)
		return err_sys(e, fd, "mounting %s at '%s'", m->type, m->target);
	ch->sources[i] = fd;
	r = m->copy_up ? inside_copy_up(ch->root, m->target, fd) : 0;
	return r < 0 ? err_sys(e, r, "copying '%s' up", m->target) : 0;
}

static int do_mount(struct ct_child *ch, size_t i, struct err *e)
{
	const struct ct_mount *m = &ch->spec->mounts[i];
	int r;

	if (m->remount) {
		r = inside_remount(ch->root, m);
		return r < 0 ? err_sys(e, r, "remounting '%s'", m->target) : 0;
	}
	if (is_type(m, "cgroup") || is_type(m, "cgroup2"))
		return ct_mount_cgroups(ch, m, e);
	r = m->bind ? make_bind(ch, i, e) : make_new(ch, i, e);
	if (r < 0)
		return r;
	r = inside_attach(ch->root, m, ch->sources[i]);
	fd_closep(&ch->sources[i]);
	if (r == -EXDEV)
		return err_set(e, ERR_DENIED, EPERM, "mounting at '%s': it is inside of /proc, or /proc and no proc",
			       m->target);
	if (r == -ELOOP)
		return err_set(e, ERR_DENIED, ELOOP, "mounting at '%s': a symbolic link leads there", m->target);
	return r < 0 ? err_sys(e, r, "mounting %s at '%s'", m->bind ? m->source : m->type, m->target) : 0;
}

int ct_child_mounts(struct ct_child *ch, struct err *e)
{
	int r, cwd;

	if (fd_valid(ch->ct->join))
		return 0;
	r = place_root(ch, e);
	for (size_t i = 0; r == 0 && i < ch->spec->n_mounts; i++)
		r = do_mount(ch, i, e);
	if (r == 0)
		r = ct_sysctls_open(ch, e);
	if (r == 0)
		r = ct_sysctls_write(ch, e);
	if (r < 0)
		return r;
	cwd = inside_make(ch->root, ch->spec->process.cwd, true, 0755);
	if (cwd < 0)
		return err_sys(e, cwd, "making the working directory '%s'", ch->spec->process.cwd);
	fd_closep(&cwd);
	return 0;
}

/* ---- Devices ---- */

/* Who binds a /dev from elsewhere has filled it. */
static bool own_dev(const struct ct_spec *s)
{
	for (size_t i = 0; i < s->n_mounts; i++) {
		const char *t = s->mounts[i].target;

		if (s->mounts[i].bind && (strcmp(t, "/dev") == 0 || strcmp(t, "/dev/") == 0))
			return false;
	}
	return true;
}

#define NODE(p, a, b)                                                  \
	{                                                              \
		.path = "/dev/" p, .type = "c", .major = a, .minor = b \
	}
static const struct ct_device default_devices[] = {
	NODE("null", 1, 3),   NODE("zero", 1, 5),    NODE("full", 1, 7),
	NODE("random", 1, 8), NODE("urandom", 1, 9), NODE("tty", 5, 0),
};

static int make_device(struct ct_child *ch, const struct ct_device *d, struct err *e)
{
	const bool bind = ch->spec->ns[CT_USER].wanted || ch->ct->unprivileged;
	int r = inside_device(ch->root, d, bind);

	return r < 0 ? err_sys(e, r, "making device '%s'", d->path) : 0;
}

static bool is_listed(const struct ct_spec *s, const char *path)
{
	for (size_t i = 0; i < s->n_devices; i++)
		if (strcmp(s->devices[i].path, path) == 0)
			return true;
	return false;
}

static int make_links(struct ct_child *ch, struct err *e)
{
	static const struct {
		const char *path, *to;
	} links[] = {
		{"/dev/fd", "/proc/self/fd"},       {"/dev/stdin", "/proc/self/fd/0"},
		{"/dev/stdout", "/proc/self/fd/1"}, {"/dev/stderr", "/proc/self/fd/2"},
		{"/dev/ptmx", "pts/ptmx"},
	};

	for (size_t i = 0; i < ARRAY_LEN(links); i++) {
		int r = inside_link(ch->root, links[i].path, links[i].to);

		if (r < 0)
			return err_sys(e, r, "linking '%s'", links[i].path);
	}
	return 0;
}

int ct_child_devices(struct ct_child *ch, struct err *e)
{
	const struct ct_spec *s = ch->spec;
	const mode_t old = umask(0);
	int r = 0;

	if (!fd_valid(ch->ct->join) && own_dev(s)) {
		for (size_t i = 0; r == 0 && i < ARRAY_LEN(default_devices); i++)
			if (!is_listed(s, default_devices[i].path))
				r = make_device(ch, &default_devices[i], e);
		for (size_t i = 0; r == 0 && i < s->n_devices; i++)
			r = make_device(ch, &s->devices[i], e);
		if (r == 0)
			r = make_links(ch, e);
	}
	(void)umask(old);
	return r;
}

/* ---- Console ---- */

int ct_send_console(int sock, int master, struct err *e)
{
	static const char name[] = "/dev/ptmx";
	char text[sizeof name];
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec iov = {.iov_base = text, .iov_len = sizeof name - 1};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.space,
			     .msg_controllen = sizeof control.space};

	memcpy(text, name, sizeof text);
	control.align.cmsg_level = SOL_SOCKET;
	control.align.cmsg_type = SCM_RIGHTS;
	control.align.cmsg_len = CMSG_LEN(sizeof master);
	memcpy(CMSG_DATA(&control.align), &master, sizeof master);
	return sendmsg(sock, &msg, MSG_NOSIGNAL) < 0 ? err_sys(e, errno, "sending the console") : 0;
}

/* The container's own pseudoterminal: its number means something inside only. */
int ct_child_console(struct ct_child *ch, struct err *e)
{
	const struct ct_process *p = &ch->spec->process;
	const struct winsize size = {.ws_row = (unsigned short)p->console_rows.v,
				     .ws_col = (unsigned short)p->console_columns.v};
	const struct ct_mount console = {.target = "/dev/console", .bind = true};
	int unlock = 0, r;

	if (!p->terminal)
		return 0;
	if (fd_valid(ch->ct->join))
		ch->root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

	AUTO_FD int master = inside_open_for(ch->root, "/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK);
	if (master < 0)
		return err_sys(e, master, "opening '/dev/pts/ptmx' of the container");
	/* In exec it may be anything that the container has put there, also what would have us wait. */
	if (fcntl(master, F_SETFL, O_RDWR) < 0 || ioctl(master, TIOCSPTLCK, &unlock) < 0)
		return err_sys(e, errno, "unlocking the console");
	ch->tty = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (ch->tty < 0)
		return err_sys(e, errno, "opening the console");
	if ((size.ws_row || size.ws_col) && ioctl(master, TIOCSWINSZ, &size) < 0)
		return err_sys(e, errno, "setting the console's size");
	if (!fd_valid(ch->ct->join)) {
		AUTO_FD int tree = sys_open_tree(ch->tty, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);

		r = tree < 0 ? tree : inside_attach(ch->root, &console, tree);
		if (r < 0)
			return err_sys(e, r, "mounting the console");
	}
	return ct_send_console(ch->ct->console, master, e);
}

/* ---- Masks, and the change of root ---- */

static bool is_null(int fd)
{
	struct stat st;

	return fd_valid(fd) && fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3);
}

/* What stands for "nothing" has to be just that, whoever could write to a /dev: the container's, else the host's, whose
 * root is still there. */
static int open_null(const struct ct_child *ch, struct err *e)
{
	AUTO_FD int fd = inside_open(ch->root, "/dev/null");

	if (is_null(fd))
		return take_fd(&fd);
	fd_closep(&fd);
	fd = open("/dev/null", O_PATH | O_NOFOLLOW | O_CLOEXEC);
	return is_null(fd) ? take_fd(&fd)
			   : err_set(e, ERR_DENIED, EPERM, "/dev/null of the host is not the null device");
}

/* What is masked is passed over where it is not found. With the directory that proc was mounted at moved to another name,
 * by somebody who shares the root, all of it would be. */
static bool hides_proc(const struct ct_spec *s)
{
	for (size_t i = 0; s->masked && s->masked[0] && i < s->n_mounts; i++)
		if (is_type(&s->mounts[i], "proc") && strcmp(s->mounts[i].target, "/proc") == 0)
			return true;
	return false;
}

int ct_child_masks(struct ct_child *ch, struct err *e)
{
	const struct ct_spec *s = ch->spec;
	AUTO_FD int null = !fd_valid(ch->ct->join) && s->masked && s->masked[0] ? open_null(ch, e) : FD_NONE;
	int r = 0;

	if (null < 0 && null != FD_NONE)
		return null;

	if (fd_valid(ch->ct->join))
		return 0;
	for (size_t i = 0; s->readonly && s->readonly[i]; i++) {
		r = inside_readonly(ch->root, s->readonly[i]);
		if (r < 0)
			return err_sys(e, r, "making '%s' read-only", s->readonly[i]);
	}
	for (size_t i = 0; s->masked && s->masked[i]; i++) {
		r = inside_mask(ch->root, s->masked[i], null);
		if (r < 0)
			return err_sys(e, r, "masking '%s'", s->masked[i]);
	}
	if (hides_proc(s)) {
		r = inside_check_proc(ch->root);
		if (r < 0)
			return err_sys(e, r, "masking parts of /proc, which was moved away");
	}
	for (size_t i = 0; i < s->n_mounts; i++) {
		const struct ct_mount *m = &s->mounts[i];

		r = !m->bind && !m->remount && is_dev(m) && (m->set & MOUNT_ATTR_RDONLY) ? inside_remount(ch->root, m)
											 : 0;
		if (r < 0)
			return err_sys(e, r, "making '%s' read-only", m->target);
	}
	r = s->root_readonly ? sys_mount_setattr(ch->root, MOUNT_ATTR_RDONLY, 0, 0, false) : 0;
	return r < 0 ? err_sys(e, r, "making the root read-only") : 0;
}

/* When the mounts of the old root are still peers of the host's, what is unmounted here would be unmounted there. They
 * become its slaves first, which is possible when the container's root has left them. */
static int pivot_from_shared(int root)
{
	AUTO_FD int old = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (old < 0 || fchdir(root) < 0)
		return -errno;
	r = sys_pivot_root(".", ".");
	if (r < 0)
		return r;
	if (fchdir(old) < 0 || mount(NULL, ".", NULL, MS_SLAVE | MS_REC, NULL) < 0 || umount2(".", MNT_DETACH) < 0)
		return -errno;
	return chdir("/") < 0 ? -errno : 0;
}

int ct_child_pivot(struct ct_child *ch, struct err *e)
{
	const struct ct_spec *s = ch->spec;
	int r;

	if (fd_valid(ch->ct->join))
		return 0;
	/* --no-pivot is for where it fails. Where it does not, nothing is safer. */
	r = s->propagation & MS_SHARED ? pivot_from_shared(ch->root) : root_pivot(ch->root);
	if (r < 0 && ch->ct->no_pivot)
		r = ct_move_root(ch, e);
	if (r < 0)
		return err_sys(e, r, "pivot_root into '%s'", s->rootfs);
	if (s->propagation && mount(NULL, "/", NULL, s->propagation, NULL) < 0)
		return err_sys(e, errno, "propagation of the container's root");
	return 0;
}
