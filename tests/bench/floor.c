/* The floor of the benchmark: the system calls of a cell and nothing else. No spec, no plan, no checks, no messages, one
 * process that was told everything at compile time. What fsbox needs beyond this is the price of its work.
 *
 *     floor DIR      DIR/root is a ready skeleton, DIR/dev holds device nodes, DIR/bin/exit the program
 *
 * As a cell: own user, pid, mount, network, ipc, uts and cgroup namespaces; a group with limits on memory, CPU and pids
 * (cgroup v2, or v1 beside cgroup2); id maps of 65,536 ids; lo up; the same mounts and masks; pivot_root; own ids; no
 * capabilities; limits; a seccomp filter; exec; wait; the group removed. Any failure ends it with a message. */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/mount.h>
#include <linux/rtnetlink.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { UID = 993, RANGE_FIRST = 1000 << 16, RANGE = 65536, MEMORY_MB = 128, PIDS = 1024, MAX_MOUNTS = 32 };

#define CG      "/sys/fs/cgroup"
#define ROFLAGS (MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV)

static void must(bool ok, const char *what)
{
	if (!ok) {
		(void)dprintf(2, "floor: %s: %s\n", what, strerror(errno));
		_exit(1);
	}
}

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	must(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && close(fd) == 0, path);
}

__attribute__((format(printf, 2, 3))) static void put_at(const char *dir, const char *fmt, ...);
static void put_at(const char *dir, const char *fmt, ...)
{
	char path[256], text[64], *value;
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	value = strchr(text, '=');
	*value++ = '\0';
	(void)snprintf(path, sizeof path, "%s/%s", dir, text);
	put(path, value);
}

/* ---- The group ---- */

struct groups {
	char dir[4][128]; /* the last is cgroup2's, when there is one */
	int n;
	int tasks[3], n_tasks; /* v1: the files that the child writes itself into */
	int v2;                /* descriptor for CLONE_INTO_CGROUP, or -1 */
};

/* v1: a thread that moves itself ("0" into "tasks") does not wait for the lock that a write to cgroup.procs takes, which
 * costs an RCU grace period, some 10 ms on an idle machine (kernel/cgroup/cgroup.c, cgroup_procs_write_start). */
static void group_open(struct groups *g, const char *dir)
{
	char path[160];
	int fd;

	(void)snprintf(path, sizeof path, "%s/tasks", dir);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	must(fd >= 0, path);
	g->tasks[g->n_tasks++] = fd;
}

static void group_make(struct groups *g, const char *root)
{
	char *dir = g->dir[g->n++];

	(void)snprintf(dir, sizeof g->dir[0], "%s/fsbox-floor-%d", root, getpid());
	must(mkdir(dir, 0755) == 0, dir);
}

static void groups_make(struct groups *g)
{
	const unsigned quota = (unsigned)((uint64_t)MEMORY_MB * 100000 / 1769);

	*g = (struct groups){.v2 = -1};
	if (access(CG "/memory", F_OK) == 0) {
		group_make(g, CG "/memory");
		put_at(g->dir[0], "memory.limit_in_bytes=%d", MEMORY_MB << 20);
		group_make(g, CG "/cpu");
		put_at(g->dir[1], "cpu.shares=%d", 74);
		put_at(g->dir[1], "cpu.cfs_period_us=%d", 100000);
		put_at(g->dir[1], "cpu.cfs_quota_us=%u", quota);
		group_make(g, CG "/pids");
		put_at(g->dir[2], "pids.max=%d", PIDS);
		for (int i = 0; i < 3; i++)
			group_open(g, g->dir[i]);
		if (access(CG "/unified", F_OK) != 0)
			return;
		group_make(g, CG "/unified");
	} else {
		put(CG "/cgroup.subtree_control", "+memory +cpu +pids");
		group_make(g, CG);
		put_at(g->dir[0], "memory.max=%d", MEMORY_MB << 20);
		put_at(g->dir[0], "memory.oom.group=%d", 1);
		put_at(g->dir[0], "cpu.max=%u 100000", quota);
		put_at(g->dir[0], "pids.max=%d", PIDS);
	}
	g->v2 = open(g->dir[g->n - 1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(g->v2 >= 0, g->dir[g->n - 1]);
}

/* ---- Mounts ---- */

static int tree(const char *source, uint64_t set, uint64_t clear)
{
	const struct mount_attr attr = {.attr_set = set, .attr_clr = clear};
	int fd = (int)syscall(SYS_open_tree, AT_FDCWD, source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);

	must(fd >= 0, source);
	must(syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof attr) == 0,
	     "mount_setattr");
	return fd;
}

static int fresh(const char *type, const char *size, unsigned attr)
{
	int fs = (int)syscall(SYS_fsopen, type, FSOPEN_CLOEXEC);

	must(fs >= 0, type);
	if (size) {
		must(syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "size", size, 0) == 0, "size");
		must(syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "mode", "1777", 0) == 0, "mode");
	}
	must(syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0, type);
	int fd = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, attr);
	must(fd >= 0 && close(fs) == 0, type);
	return fd;
}

static void attach(int fd, int root, const char *target)
{
	must(syscall(SYS_move_mount, fd, "", root, target, MOVE_MOUNT_F_EMPTY_PATH) == 0, target);
	must(close(fd) == 0, target);
}

static const char *const targets[] = {"usr", "dev", "var/runtime", "var/task/handler.so"};
static const char *const masks[] = {"proc/interrupts", "proc/kcore",         "proc/keys", "proc/key-users",
				    "proc/timer_list", "proc/sysrq-trigger", "proc/kmsg", "proc/acpi",
				    "proc/asound",     "proc/scsi",          "proc/fs",   "proc/bus"};

static void mounts_in_cell(int root, const int *trees, const char *empty)
{
	must(syscall(SYS_mount, NULL, "/", NULL, 0x44000, NULL) == 0, "private mounts"); /* MS_REC | MS_PRIVATE */
	int tmp = fresh("tmpfs", "512m", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
	int proc = fresh("proc", NULL, ROFLAGS | MOUNT_ATTR_NOEXEC);
	int masked[MAX_MOUNTS], n = 0;

	for (size_t i = 0; i < sizeof masks / sizeof masks[0]; i++) {
		struct stat st;
		char path[64];

		(void)snprintf(path, sizeof path, "/%s", masks[i]);
		masked[n++] = lstat(path, &st) < 0
				      ? -1
				      : tree(S_ISDIR(st.st_mode) ? empty : "/dev/null", MOUNT_ATTR_RDONLY, 0);
	}
	must(syscall(SYS_move_mount, root, "", AT_FDCWD, "/proc", MOVE_MOUNT_F_EMPTY_PATH) == 0, "root");
	for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++)
		attach(trees[i], root, targets[i]);
	attach(tmp, root, "tmp");
	attach(proc, root, "proc");
	for (int i = 0; i < n; i++)
		if (masked[i] >= 0)
			attach(masked[i], root, masks[i]);
	must(fchdir(root) == 0 && syscall(SYS_pivot_root, ".", ".") == 0, "pivot_root");
	must(syscall(SYS_umount2, ".", 2) == 0, "umount"); /* MNT_DETACH */
	must(chdir("/var/task") == 0, "/var/task");
}

/* ---- The child ---- */

static void lo_up(void)
{
	struct {
		struct nlmsghdr head;
		struct ifinfomsg link;
	} req = {
		.head = {.nlmsg_len = sizeof req, .nlmsg_type = RTM_NEWLINK, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
		.link = {.ifi_index = 1, .ifi_flags = 1, .ifi_change = 1}, /* IFF_UP */
	};
	char answer[1024];
	int s = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	must(s >= 0 && send(s, &req, sizeof req, 0) == (ssize_t)sizeof req, "lo");
	must(recv(s, answer, sizeof answer, 0) > 0 && close(s) == 0, "lo");
}

static void give_up_rights(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[2] = {0};
	struct sock_filter insns[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {.len = sizeof insns / sizeof insns[0], .filter = insns};

	for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		must(prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == 0, "bounding set");
	must(prctl(PR_SET_SECUREBITS, 0x2f, 0, 0, 0) == 0, "securebits");
	must(syscall(SYS_capset, &head, none) == 0, "capset");
	must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no_new_privs");
	must(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) == 0, "seccomp");
}

static void clean_process(void)
{
	const struct rlimit core = {0, 0}, files = {1024, 1024};
	const struct sigaction dfl = {.sa_handler = SIG_DFL};
	sigset_t none;

	must(setsid() > 0, "setsid");
	for (int sig = 1; sig < 32; sig++)
		(void)sigaction(sig, &dfl, NULL);
	(void)sigemptyset(&none);
	must(sigprocmask(SIG_SETMASK, &none, NULL) == 0, "signals");
	must(setrlimit(RLIMIT_CORE, &core) == 0 && setrlimit(RLIMIT_NOFILE, &files) == 0, "limits");
	must(close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) == 0, "close_range");
}

static _Noreturn void child(const struct groups *g, int sock, int root, const int *trees, const char *empty)
{
	char *argv[] = {NULL, NULL}, *envp[] = {NULL}, go;
	char program[] = "/var/runtime/exit";

	argv[0] = program;
	for (int i = 0; i < g->n_tasks; i++)
		must(write(g->tasks[i], "0", 1) == 1, "tasks");
	lo_up();
	must(sethostname("floor", 5) == 0, "host name");
	must(read(sock, &go, 1) == 1, "maps");
	must(unshare(CLONE_NEWCGROUP) == 0, "cgroup namespace");
	must(syscall(SYS_setgroups, 0, NULL) == 0 && syscall(SYS_setresgid, UID, UID, UID) == 0, "gid");
	must(syscall(SYS_setresuid, UID, UID, UID) == 0, "uid");
	must(prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0, "death signal");
	mounts_in_cell(root, trees, empty);
	clean_process();
	give_up_rights();
	(void)execve(program, argv, envp);
	must(false, "exec");
	_exit(1);
}

static void write_maps(pid_t pid)
{
	static const char *const files[] = {"gid_map", "uid_map"};

	for (int i = 0; i < 2; i++) {
		char path[64], map[64];

		(void)snprintf(path, sizeof path, "/proc/%d/%s", pid, files[i]);
		(void)snprintf(map, sizeof map, "0 %d %d", RANGE_FIRST, RANGE);
		put(path, map);
	}
}

int main(int argc, char **argv)
{
	struct groups g;
	char path[512];
	int sock[2], pidfd = -1, trees[4];
	siginfo_t info;

	must(argc == 2 && chdir(argv[1]) == 0, "usage: floor DIR");
	groups_make(&g);
	(void)snprintf(path, sizeof path, "%s/root/sys", argv[1]);
	int root = tree("root", ROFLAGS, 0);
	trees[0] = tree("/usr", ROFLAGS, 0);
	trees[1] = tree("dev", MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV);
	trees[2] = tree("bin", ROFLAGS, 0);
	trees[3] = tree("handler.so", ROFLAGS, 0);
	must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sock) == 0, "socketpair");

	const struct clone_args args = {
		.flags = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS |
			 CLONE_PIDFD | (g.v2 >= 0 ? CLONE_INTO_CGROUP : 0),
		.pidfd = (uintptr_t)&pidfd,
		.exit_signal = SIGCHLD,
		.cgroup = g.v2 >= 0 ? (uint64_t)g.v2 : 0,
	};
	pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
	must(pid >= 0, "clone3");
	if (pid == 0)
		child(&g, sock[1], root, trees, path);
	must(close(sock[1]) == 0, "barrier");
	write_maps(pid);
	must(write(sock[0], "", 1) == 1, "barrier");
	must(waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED) == 0, "waitid");
	for (int i = 0; i < g.n; i++)
		must(rmdir(g.dir[i]) == 0, g.dir[i]);
	return info.si_code == CLD_EXITED ? info.si_status : 1;
}
