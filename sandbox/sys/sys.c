#include "sys/sys.h"

#include "base/fd.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int ret(long r)
{
	return r < 0 ? -errno : (int)r;
}

pid_t sys_clone3(const struct clone_args *args)
{
	return ret(syscall(SYS_clone3, args, sizeof *args));
}

int sys_pidfd_open(pid_t pid)
{
	return ret(syscall(SYS_pidfd_open, pid, 0));
}

int sys_pidfd_kill(int pidfd, int sig)
{
	return ret(syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, 0));
}

int sys_wait_exit(int pidfd, bool block, siginfo_t *ret_info)
{
	for (;;) {
		siginfo_t si = {0};

		if (waitid(P_PIDFD, (id_t)pidfd, &si, WEXITED | (block ? 0 : WNOHANG)) < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (si.si_pid == 0)
			return -EAGAIN;
		*ret_info = si;
		return 0;
	}
}

int sys_sched_set(const struct sys_sched *attr)
{
	struct sys_sched a = *attr;

	a.size = sizeof a;
	return ret(syscall(SYS_sched_setattr, 0, &a, 0));
}

void sys_sched_short_turns(uint64_t ns)
{
	const struct sys_sched attr = {
		.policy = SCHED_OTHER,
		.flags = SCHED_FLAG_RESET_ON_FORK,
		.nice = getpriority(PRIO_PROCESS, 0),
		.runtime_ns = ns,
	};

	if (sched_getscheduler(0) == SCHED_OTHER)
		(void)!sys_sched_set(&attr);
}

int sys_open_tree(int dirfd, const char *path, unsigned flags)
{
	return ret(open_tree(dirfd, path, flags));
}

int sys_move_mount(int mount_fd, int to_dirfd, const char *to_path)
{
	return ret(move_mount(mount_fd, "", to_dirfd, to_path, MOVE_MOUNT_F_EMPTY_PATH));
}

int sys_mount_attr(int mount_fd, uint64_t set, uint64_t clear, bool recursive)
{
	/* A clone of a shared mount is its peer, detached or not: what is mounted below the original would appear in the
	 * cell, and pivot_root(2) refuses a shared root. */
	struct mount_attr attr = {.attr_set = set, .attr_clr = clear, .propagation = MS_PRIVATE};
	unsigned flags = AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0U);

	return ret(mount_setattr(mount_fd, "", flags, &attr, sizeof attr));
}

int sys_fsopen(const char *fs)
{
	return ret(fsopen(fs, FSOPEN_CLOEXEC));
}

int sys_fsconfig_string(int fs_fd, const char *key, const char *value)
{
	return ret(fsconfig(fs_fd, FSCONFIG_SET_STRING, key, value, 0));
}

int sys_fsconfig_flag(int fs_fd, const char *key)
{
	return ret(fsconfig(fs_fd, FSCONFIG_SET_FLAG, key, NULL, 0));
}

int sys_fsconfig_create(int fs_fd)
{
	return ret(fsconfig(fs_fd, FSCONFIG_CMD_CREATE, NULL, NULL, 0));
}

int sys_fsmount(int fs_fd, unsigned attrs)
{
	return ret(fsmount(fs_fd, FSMOUNT_CLOEXEC, attrs));
}

int sys_move_mount_onto(int mount_fd, int to_fd)
{
	return ret(move_mount(mount_fd, "", to_fd, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH));
}

int sys_mount_setattr(int fd, uint64_t set, uint64_t clear, uint64_t propagation, bool recursive)
{
	struct mount_attr attr = {.attr_set = set, .attr_clr = clear, .propagation = propagation};
	unsigned flags = AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0U);

	return ret(mount_setattr(fd, "", flags, &attr, sizeof attr));
}

int sys_mount_idmap(int fd, int userns, bool recursive)
{
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)userns};
	unsigned flags = AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0U);

	return ret(mount_setattr(fd, "", flags, &attr, sizeof attr));
}

int sys_pivot_root(const char *new_root, const char *put_old)
{
	return ret(syscall(SYS_pivot_root, new_root, put_old));
}

int sys_setns(int fd, int nstype)
{
	return ret(setns(fd, nstype));
}

int sys_new_session_keyring(void)
{
	return ret(syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL, 0, 0, 0));
}

int sys_open_beneath(int dirfd, const char *path, uint64_t flags, unsigned mode)
{
	struct open_how how = {
		.flags = flags | O_CLOEXEC,
		.mode = mode,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
	};

	return ret(syscall(SYS_openat2, dirfd, path, &how, sizeof how));
}

int sys_open_in_root(int dirfd, const char *path, uint64_t flags)
{
	struct open_how how = {.flags = flags | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};

	return ret(syscall(SYS_openat2, dirfd, path, &how, sizeof how));
}

int sys_openat2(int dirfd, const char *path, uint64_t flags, unsigned mode, uint64_t resolve)
{
	struct open_how how = {.flags = flags | O_CLOEXEC, .mode = mode, .resolve = resolve};

	return ret(syscall(SYS_openat2, dirfd, path, &how, sizeof how));
}

int sys_openat(int dirfd, const char *path, int flags, unsigned mode)
{
	return ret(openat(dirfd, path, flags | O_CLOEXEC, mode));
}

void sys_end_children(void)
{
	char path[64], list[4096], *save;

	(void)snprintf(path, sizeof path, "/proc/self/task/%d/children", getpid());
	while (fd_read_file_at(AT_FDCWD, path, list, sizeof list) > 0) {
		for (char *word = strtok_r(list, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
			uint64_t pid;

			if (parse_u64(word, 2, INT32_MAX, &pid))
				(void)kill((pid_t)pid, SIGKILL);
		}
		if (waitpid(-1, NULL, __WALL) < 0 && errno == ECHILD)
			return;
	}
}
