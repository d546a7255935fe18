/* Processes: how a cell's first process is made, waited for, ended, and what it sheds. */
#include "tests/kernel/feature.h"

#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/securebits.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/socket.h>

static pid_t spawn(uint64_t flags, int *pidfd)
{
	struct clone_args args = {
		.flags = flags | CLONE_PIDFD,
		.pidfd = (uintptr_t)pidfd,
		.exit_signal = SIGCHLD,
	};

	(void)fflush(NULL);
	return sys_clone3(&args);
}

FEATURE(clone3_with_pidfd, "clone3(2), CLONE_PIDFD", "makes a cell's first process and holds on to it", NULL)
{
	AUTO_FD int pidfd = FD_NONE;
	siginfo_t si = {0};
	pid_t pid = spawn(0, &pidfd);

	if (pid == 0)
		_exit(7);
	if (pid < 0)
		return HAS_NOT;
	return sys_wait_exit(pidfd, true, &si) == 0 && si.si_pid == pid && si.si_status == 7 ? HAS : HAS_NOT;
}

FEATURE(kill_and_wait_by_pidfd, "pidfd_send_signal(2), waitid(2) with P_PIDFD", "ends and reaps the right process",
	NULL)
{
	AUTO_FD int pidfd = FD_NONE;
	siginfo_t si = {0};
	pid_t pid = spawn(0, &pidfd);

	if (pid == 0)
		for (;;)
			(void)pause();
	if (pid < 0)
		return HAS_NOT;
	if (sys_wait_exit(pidfd, false, &si) != -EAGAIN || sys_pidfd_kill(pidfd, SIGKILL) < 0)
		return HAS_NOT;
	return sys_wait_exit(pidfd, true, &si) == 0 && si.si_status == SIGKILL ? HAS : HAS_NOT;
}

static bool ends_with_its_init(void)
{
	AUTO_FD int pidfd = FD_NONE;
	siginfo_t si = {0};
	int left[2];
	char c;
	pid_t pid;

	if (pipe2(left, O_CLOEXEC) < 0)
		return false;
	pid = spawn(CLONE_NEWPID, &pidfd);
	if (pid == 0) { /* a session of its own that ignores signals, as a daemon in a cell could be */
		if (fork() == 0) {
			(void)setsid();
			(void)signal(SIGTERM, SIG_IGN);
			(void)!write(left[1], "x", 1);
			for (;;)
				(void)pause();
		}
		for (;;)
			(void)pause();
	}
	(void)close(left[1]);
	if (pid < 0 || read(left[0], &c, 1) != 1 || sys_pidfd_kill(pidfd, SIGKILL) < 0)
		return false;
	if (sys_wait_exit(pidfd, true, &si) < 0)
		return false;
	return read(left[0], &c, 1) == 0; /* the pipe's last writer is gone too */
}

FEATURE(pid_namespace_ends_with_init, "pid namespaces end with their PID 1", "nothing of a cell outlives it", NULL)
{
	return geteuid() == 0 ? in_child(ends_with_its_init) : NO_ROOT;
}

static bool keeps_capabilities_over_setresuid(void)
{
	/* Nobody was root of this user namespace, so the rule of capabilities(7), "effect of user ID changes", does not
	 * apply, and mounts can still be made after the change of ids. */
	return syscall(SYS_setresgid, 990, 990, 990) == 0 && syscall(SYS_setresuid, 993, 993, 993) == 0 &&
	       unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

FEATURE(user_namespace_maps, "user namespaces, ids mapped from outside", "ids of its own, capabilities that end there",
	NULL)
{
	return in_user_namespace(0, keeps_capabilities_over_setresuid);
}

static bool unshares_the_rest(void)
{
	return unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) == 0 &&
	       unshare(CLONE_NEWCGROUP) == 0 && sethostname("cell", 4) == 0;
}

FEATURE(other_namespaces, "unshare(2) of mnt, net, ipc, uts, cgroup in a user namespace", "the cell's own view", NULL)
{
	return in_user_namespace(CLONE_NEWPID, unshares_the_rest);
}

FEATURE(close_range_cloexec, "close_range(2), CLOSE_RANGE_CLOEXEC", "no descriptor of fsbox in a cell", NULL)
{
	AUTO_FD int fd = fcntl(0, F_DUPFD, 100);

	if (fd < 0 || close_range(100, ~0U, CLOSE_RANGE_CLOEXEC) < 0)
		return HAS_NOT;
	return fcntl(fd, F_GETFD) == FD_CLOEXEC ? HAS : HAS_NOT;
}

static bool dies_with_parent(void)
{
	int pipefd[2];
	char c;

	if (pipe2(pipefd, O_CLOEXEC) < 0)
		return false;
	pid_t parent = fork();
	if (parent == 0) {
		pid_t child = fork();

		if (child == 0) {
			if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
				_exit(1);
			(void)!write(pipefd[1], "x", 1);
			for (;;)
				(void)pause();
		}
		for (;;)
			(void)pause();
	}
	(void)close(pipefd[1]);
	if (parent < 0 || read(pipefd[0], &c, 1) != 1)
		return false;
	(void)kill(parent, SIGKILL);
	(void)waitpid(parent, NULL, 0);
	return read(pipefd[0], &c, 1) == 0;
}

FEATURE(parent_death_signal, "prctl(2), PR_SET_PDEATHSIG", "a kill -9 of fsbox ends its cells", NULL)
{
	return in_child(dies_with_parent);
}

static bool drops_all_capabilities(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[2] = {{0}};

	for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			return false;
	if (syscall(SYS_capset, &head, none) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return false;
	return unshare(CLONE_NEWNS) < 0 && errno == EPERM;
}

FEATURE(capabilities_dropped, "the bounding set and no_new_privs", "no way back to any privilege", NULL)
{
	return in_user_namespace(0, drops_all_capabilities);
}

FEATURE(session_keyring, "keyctl(2), KEYCTL_JOIN_SESSION_KEYRING", "keys of its own",
	"a kernel without keys has none to hide")
{
	int r = sys_new_session_keyring();

	return r >= 0 ? HAS : HAS_NOT;
}

/* Installs a filter that gives @verdict to getppid(2). */
static bool filter_getppid(unsigned verdict)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, verdict),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog prog = {.len = ARRAY_LEN(code), .filter = code};

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) == 0;
}

static bool refuses_with_errno(void)
{
	return filter_getppid(SECCOMP_RET_ERRNO | ENOANO) && syscall(SYS_getppid) < 0 && errno == ENOANO;
}

FEATURE(seccomp_errno, "seccomp(2), SECCOMP_RET_ERRNO", "policy default refuses calls", NULL)
{
	return in_child(refuses_with_errno);
}

static volatile sig_atomic_t trapped;

static void on_trap(int sig, siginfo_t *si, void *context)
{
	(void)sig;
	(void)context;
	trapped = si->si_syscall;
}

static bool traps(void)
{
	struct sigaction act = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};

	if (sigaction(SIGSYS, &act, NULL) < 0 || !filter_getppid(SECCOMP_RET_TRAP))
		return false;
	(void)syscall(SYS_getppid);
	return trapped == SYS_getppid;
}

FEATURE(seccomp_trap, "SECCOMP_RET_TRAP with the call's number", "policy strict names the refused call",
	"no policy strict")
{
	return in_child(traps);
}

static bool kills_the_process(void)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		if (filter_getppid(SECCOMP_RET_KILL_PROCESS))
			(void)syscall(SYS_getppid);
		_exit(0);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
}

FEATURE(seccomp_kill, "SECCOMP_RET_KILL_PROCESS", "ends callers of foreign architectures", NULL)
{
	return in_child(kills_the_process);
}

static bool passes_descriptor(void)
{
	int sv[2];
	char c = 'x', room[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec iov = {.iov_base = &c, .iov_len = 1};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
		return false;

	struct cmsghdr *cm = CMSG_FIRSTHDR(&msg);
	if (!cm)
		return false;
	cm->cmsg_level = SOL_SOCKET;
	cm->cmsg_type = SCM_RIGHTS;
	cm->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cm), &sv[0], sizeof(int));
	if (sendmsg(sv[0], &msg, 0) != 1)
		return false;
	msg.msg_controllen = sizeof room;
	return recvmsg(sv[1], &msg, MSG_CMSG_CLOEXEC) == 1 && CMSG_FIRSTHDR(&msg) != NULL;
}

FEATURE(seqpacket_rights, "Unix sockets of type SOCK_SEQPACKET, SCM_RIGHTS",
	"the barrier between fsbox and the new process", NULL)
{
	return in_child(passes_descriptor);
}
