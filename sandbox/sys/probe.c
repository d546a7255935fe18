#include "sys/probe.h"

#include "base/fd.h"
#include "base/mem.h"
#include "sys/sys.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/quota.h>
#include <linux/seccomp.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static int result(long r)
{
	return r < 0 ? -errno : 0;
}

/* A filter that lets everything else pass may kill for a call it does not know. */
static int of_exit(const siginfo_t *si)
{
	if (si->si_code == CLD_EXITED)
		return -si->si_status;
	return si->si_status == SIGSYS ? -EPERM : -EIO;
}

/* @work runs in a child in the new namespaces @flags; its -errno (at most 133) is the child's exit status. */
static int in_child(uint64_t flags, int (*work)(void))
{
	int pidfd = FD_NONE;
	const struct clone_args args = {
		.flags = flags | CLONE_PIDFD,
		.pidfd = (uintptr_t)&pidfd,
		.exit_signal = SIGCHLD,
	};
	siginfo_t si;
	int r;
	pid_t pid = sys_clone3(&args);

	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		r = work();
		_exit(r < 0 ? -r : 0);
	}
	if (pid < 0)
		return pid;
	r = sys_wait_exit(pidfd, true, &si);
	fd_closep(&pidfd);
	return r < 0 ? r : of_exit(&si);
}

static int nothing(void)
{
	return 0;
}

int sys_probe_clone3(void)
{
	/* Size 0 is refused with EINVAL by a kernel that has the call, and nothing is made. */
	(void)!syscall(SYS_clone3, NULL, 0);
	return errno == EINVAL ? 0 : -errno;
}

int sys_probe_namespaces(uint64_t flags)
{
	return in_child(flags, nothing);
}

int sys_probe_clone_into_cgroup(void)
{
	const struct clone_args args = {.flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = INT_MAX};
	pid_t pid = sys_clone3(&args);

	if (pid == 0)
		_exit(0); /* not reached: no descriptor has that number */
	/* A kernel that knows the flag looks at the descriptor; others refuse the flag with EINVAL. */
	return pid == -EBADF ? 0 : pid == -EINVAL ? -EOPNOTSUPP : pid < 0 ? pid : -EIO;
}

int sys_probe_pidfd(void)
{
	AUTO_FD int fd = sys_pidfd_open(getpid());
	siginfo_t si;
	int r;

	if (fd < 0)
		return fd;
	r = sys_pidfd_kill(fd, 0);
	if (r < 0)
		return r;
	/* We are not our own child: a kernel that knows P_PIDFD says ECHILD. */
	r = sys_wait_exit(fd, false, &si);
	return r == -ECHILD ? 0 : r;
}

int sys_probe_openat2(void)
{
	AUTO_FD int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	AUTO_FD int beneath = FD_NONE;

	if (root < 0)
		return -errno;
	beneath = sys_open_beneath(root, "proc", O_PATH | O_DIRECTORY, 0);
	return beneath < 0 ? beneath : 0;
}

int sys_probe_close_range(void)
{
	return result(close_range(~0U, ~0U, CLOSE_RANGE_CLOEXEC));
}

static int install_filter(void)
{
	struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	const struct sock_fprog prog = {.len = 1, .filter = &allow};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	return result(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog));
}

int sys_probe_seccomp_filter(void)
{
	return in_child(0, install_filter);
}

int sys_probe_seccomp_action(uint64_t action)
{
	uint32_t a = (uint32_t)action;

	return result(syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &a));
}

/* A detached mount of a new @type; FD or -errno. */
static int make_mount(const char *type, const char *lowerdir)
{
	AUTO_FD int fs = sys_fsopen(type);
	int r = fs;

	if (r >= 0 && lowerdir)
		r = sys_fsconfig_string(fs, "lowerdir", lowerdir);
	if (r >= 0)
		r = sys_fsconfig_create(fs);
	return r < 0 ? r : sys_fsmount(fs, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
}

static int use_mount_api(void)
{
	AUTO_FD int tmpfs = FD_NONE, tree = FD_NONE;
	int r;

	/* What is attached here must not show up outside. */
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return -errno;
	tmpfs = make_mount("tmpfs", NULL);
	if (tmpfs < 0)
		return tmpfs;
	tree = sys_open_tree(AT_FDCWD, "/usr", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
	if (tree < 0)
		return tree;
	r = sys_mount_attr(tree, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID, 0, true);
	if (r == 0)
		r = sys_move_mount(tmpfs, AT_FDCWD, "/usr");
	return r;
}

int sys_probe_mount_api(uint64_t flags)
{
	return in_child(flags, use_mount_api);
}

static int mount_of(const char *type, const char *lowerdir)
{
	AUTO_FD int fd = make_mount(type, lowerdir);

	return fd < 0 ? fd : 0;
}

static int mount_proc(void)
{
	return mount_of("proc", NULL);
}

int sys_probe_mount_proc(uint64_t flags)
{
	return in_child(flags, mount_proc);
}

static int mount_overlay(void)
{
	return mount_of("overlay", "/usr:/etc");
}

int sys_probe_mount_overlay(uint64_t flags)
{
	return in_child(flags, mount_overlay);
}

int sys_probe_keyring(void)
{
	return in_child(0, sys_new_session_keyring);
}

int sys_probe_quotactl_fd(void)
{
	/* The descriptor is looked at after the call has been found. */
	(void)!syscall(SYS_quotactl_fd, -1, (unsigned)Q_SYNC << SUBCMDSHIFT, 0, NULL);
	return errno == EBADF ? 0 : -errno;
}
