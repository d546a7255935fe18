/* Asks the kernel for one thing after the other and answers what it said: {"name":errno,…}, "killed N" for a probe
 * that a signal ended. The event names the probes (any separators); numbers are system calls with all arguments -1;
 * an empty event means every probe of the table. Each runs in a child of its own, so that one that succeeds changes
 * nothing.
 *
 * The arguments are such that a call which is let through does no harm: wrong pointers, wrong flags, or a thing that
 * only the child sees. */
#include "out.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

struct probe {
	const char *name;
	long nr;
	long a[6];
};

static char byte;
static struct iovec here = {&byte, 1}, there = {(void *)0x400000, 1}; /* the start of PID 1's program */

#define S(text) ((long)(text))
#define NOWHERE S("/nonexistent")

/* clang-format off */
static const struct probe probes[] = {
	/* mounts and roots */
	{ "mount", SYS_mount, { S("none"), S("/tmp"), S("tmpfs"), 0, 0 } },
	{ "umount2", SYS_umount2, { S("/proc"), MNT_DETACH } },
	{ "pivot_root", SYS_pivot_root, { S("/tmp"), S("/tmp") } },
	{ "chroot", SYS_chroot, { S("/tmp") } },
	{ "fsopen", SYS_fsopen, { S("tmpfs"), 0 } },
	{ "fsconfig", SYS_fsconfig, { -1, -1 } },
	{ "fsmount", SYS_fsmount, { -1, -1 } },
	{ "fspick", SYS_fspick, { AT_FDCWD, S("/tmp"), 0 } },
	{ "open_tree", SYS_open_tree, { AT_FDCWD, S("/"), 1 /* OPEN_TREE_CLONE */ } },
	{ "move_mount", SYS_move_mount, { -1, S(""), AT_FDCWD, S("/tmp"), 4 } },
	{ "mount_setattr", SYS_mount_setattr, { AT_FDCWD, S("/"), 0, -1, 0 } },
	{ "open_by_handle_at", SYS_open_by_handle_at, { AT_FDCWD, -1, 0 } },
	{ "quotactl", SYS_quotactl, { -1, 0, 0, 0 } },
	{ "swapon", SYS_swapon, { NOWHERE, 0 } },
	/* namespaces */
	{ "unshare_user", SYS_unshare, { CLONE_NEWUSER } },
	{ "unshare_mount", SYS_unshare, { CLONE_NEWNS } },
	{ "unshare_net", SYS_unshare, { CLONE_NEWNET } },
	{ "setns", SYS_setns, { -1, 0 } },
	{ "clone3", SYS_clone3, { 0, 0 } },
	{ "clone_newuser", SYS_clone, { CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0 } },
	/* the kernel */
	{ "bpf", SYS_bpf, { 0, 0, 0 } },
	{ "perf_event_open", SYS_perf_event_open, { 0, 0, -1, -1, 0 } },
	{ "userfaultfd", SYS_userfaultfd, { 0 } },
	{ "io_uring_setup", SYS_io_uring_setup, { 1, 0 } },
	{ "io_uring_enter", SYS_io_uring_enter, { -1, 0, 0, 0, 0, 0 } },
	{ "io_uring_register", SYS_io_uring_register, { -1, 0, 0, 0 } },
	{ "kexec_load", SYS_kexec_load, { 0, 0, 0, -1 } },
	{ "init_module", SYS_init_module, { 0, 0, NOWHERE } },
	{ "finit_module", SYS_finit_module, { -1, NOWHERE, 0 } },
	{ "delete_module", SYS_delete_module, { NOWHERE, O_NONBLOCK } },
	{ "reboot", SYS_reboot, { 0, 0, 0, 0 } },
	{ "syslog", SYS_syslog, { 3, -1, 0 } },
	{ "acct", SYS_acct, { NOWHERE } },
	{ "settimeofday", SYS_settimeofday, { -1, 0 } },
	{ "clock_settime", SYS_clock_settime, { CLOCK_REALTIME, 0 } },
	{ "adjtimex", SYS_adjtimex, { -1 } },
	{ "sethostname", SYS_sethostname, { S("x"), -1 } },
	{ "lookup_dcookie", SYS_lookup_dcookie, { 0, 0, 0 } },
	{ "seccomp_notify", SYS_seccomp, { 1, 8 /* NEW_LISTENER */, 0 } },
#ifdef __x86_64__
	{ "iopl", SYS_iopl, { 3 } },
	{ "ioperm", SYS_ioperm, { 0x80, 1, 1 } },
	{ "modify_ldt", SYS_modify_ldt, { 0, 0, 0 } },
	{ "mknod", SYS_mknod, { S("/tmp/.probe"), S_IFBLK | 0600, 0x0800 } },
#endif
	{ "mknodat", SYS_mknodat, { AT_FDCWD, S("/tmp/.probe"), S_IFCHR | 0600, 0x0101 } },
	{ "vhangup", SYS_vhangup, { 0 } },
	{ "personality", SYS_personality, { 0x20000 /* READ_IMPLIES_EXEC */ | 0x400000 } },
	/* other processes */
	{ "ptrace_init", SYS_ptrace, { PTRACE_SEIZE, 1, 0, 0 } },
	{ "process_vm_readv", SYS_process_vm_readv, { 1, S(&here), 1, S(&there), 1, 0 } },
	{ "process_vm_writev", SYS_process_vm_writev, { 1, S(&here), 1, S(&there), 1, 0 } },
	{ "pidfd_getfd", SYS_pidfd_getfd, { -1, 0, 0 } },
	{ "kcmp", SYS_kcmp, { 1, 1, 0, 0, 0 } },
	{ "process_madvise", SYS_process_madvise, { -1, 0, 0, 0, 0 } },
	{ "move_pages", SYS_move_pages, { 1, 0, 0, 0, 0, 0 } },
	{ "migrate_pages", SYS_migrate_pages, { 1, 0, 0, 0 } },
	{ "sched_setscheduler", SYS_sched_setscheduler, { 0, SCHED_FIFO, -1 } },
	/* keys */
	{ "add_key", SYS_add_key, { S("user"), S("probe"), S("x"), 1, -3 } },
	{ "request_key", SYS_request_key, { S("user"), S("probe"), 0, -3 } },
	{ "keyctl", SYS_keyctl, { 0, -3, 0 } },
	/* identity */
	{ "setuid0", SYS_setuid, { 0 } },
	{ "setgid0", SYS_setgid, { 0 } },
	{ "setgroups", SYS_setgroups, { 0, 0 } },
	{ "capset", SYS_capset, { -1, 0 } },
	{ "prctl_securebits", SYS_prctl, { PR_SET_SECUREBITS, 0, 0, 0, 0 } },
	{ "prctl_ambient", SYS_prctl, { PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_RAW, 0, 0 } },
	{ "prctl_unset_nnp", SYS_prctl, { PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0 } },
	{ "prctl_set_mm", SYS_prctl, { 35 /* PR_SET_MM */, 1, 0, 0, 0 } },
	{ "chown_root", SYS_fchownat, { AT_FDCWD, S("/tmp"), 0, 0, 0 } },
	/* terminals and sockets */
	{ "tiocsti", SYS_ioctl, { 0, TIOCSTI, S("x") } },
	{ "tioclinux", SYS_ioctl, { 0, TIOCLINUX, S("\2") } },
	{ "socket_unix", SYS_socket, { AF_UNIX, SOCK_STREAM, 0 } },
	{ "socket_inet", SYS_socket, { AF_INET, SOCK_STREAM, 0 } },
	{ "socket_inet6", SYS_socket, { AF_INET6, SOCK_DGRAM, 0 } },
	{ "socket_raw", SYS_socket, { AF_INET, SOCK_RAW, 255 } },
	{ "socket_packet", SYS_socket, { AF_PACKET, SOCK_RAW, 0 } },
	{ "socket_route", SYS_socket, { AF_NETLINK, SOCK_RAW, 0 } },
	{ "socket_audit", SYS_socket, { AF_NETLINK, SOCK_RAW, 9 } },
	{ "socket_netfilter", SYS_socket, { AF_NETLINK, SOCK_RAW, 12 } },
	{ "socket_xfrm", SYS_socket, { AF_NETLINK, SOCK_RAW, 6 } },
	{ "socket_alg", SYS_socket, { 38, SOCK_SEQPACKET, 0 } },
	{ "socket_vsock", SYS_socket, { 40, SOCK_STREAM, 0 } },
	{ "socket_tipc", SYS_socket, { 30, SOCK_RDM, 0 } },
	{ "socket_bluetooth", SYS_socket, { 31, SOCK_RAW, 1 } },
	{ "socket_can", SYS_socket, { 29, SOCK_RAW, 1 } },
	{ "socket_rds", SYS_socket, { 21, SOCK_SEQPACKET, 0 } },
	{ "socket_xdp", SYS_socket, { 44, SOCK_RAW, 0 } },
	/* files of the kernel; opening is all that is tried */
	{ "open_sysrq", SYS_openat, { AT_FDCWD, S("/proc/sysrq-trigger"), O_WRONLY } },
	{ "open_core_pattern", SYS_openat, { AT_FDCWD, S("/proc/sys/kernel/core_pattern"), O_WRONLY } },
	{ "open_modprobe", SYS_openat, { AT_FDCWD, S("/proc/sys/kernel/modprobe"), O_WRONLY } },
	{ "open_kcore", SYS_openat, { AT_FDCWD, S("/proc/kcore"), O_RDONLY } },
	{ "open_kmsg", SYS_openat, { AT_FDCWD, S("/dev/kmsg"), O_RDONLY } },
	{ "open_mem", SYS_openat, { AT_FDCWD, S("/dev/mem"), O_RDONLY } },
	{ "open_fuse", SYS_openat, { AT_FDCWD, S("/dev/fuse"), O_RDWR } },
	{ "open_root_file", SYS_openat, { AT_FDCWD, S("/.probe"), O_WRONLY | O_CREAT, 0600 } },
	{ "open_usr_file", SYS_openat, { AT_FDCWD, S("/usr/.probe"), O_WRONLY | O_CREAT, 0600 } },
	{ "open_task_file", SYS_openat, { AT_FDCWD, S("/var/task/.probe"), O_WRONLY | O_CREAT, 0600 } },
	{ "open_self_exe", SYS_openat, { AT_FDCWD, S("/proc/self/exe"), O_WRONLY } },
	{ "open_init_exe", SYS_openat, { AT_FDCWD, S("/proc/1/exe"), O_WRONLY } },
	{ "open_init_root", SYS_openat, { AT_FDCWD, S("/proc/1/root"), O_RDONLY | O_DIRECTORY } },
	{ "open_parent_root", SYS_openat, { AT_FDCWD, S("/proc/1/cwd/.."), O_RDONLY | O_DIRECTORY } },
	/* what must work */
	{ "getpid", SYS_getpid, { 0 } },
	{ "memfd_create", SYS_memfd_create, { S("probe"), 1 } },
	{ "getrandom", SYS_getrandom, { 0, 0, 0 } },
	{ "pidfd_open", SYS_pidfd_open, { 1, 0 } },
	{ "unknown_call", 100000, { 0 } },
};
/* clang-format on */

static void run_probe(struct out *o, const struct probe *p)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		long r = syscall(p->nr, p->a[0], p->a[1], p->a[2], p->a[3], p->a[4], p->a[5]);

		_exit(r < 0 ? errno : 0); /* every errno is below 134 */
	}
	out_key(o, p->name);
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		out_text(o, "\"no child: %d\"", errno);
	else if (WIFSIGNALED(status))
		out_text(o, "\"killed %d\"", WTERMSIG(status));
	else
		out_text(o, "%d", WEXITSTATUS(status));
}

static void run_number(struct out *o, const char *word)
{
	struct probe p = {.name = word, .a = {-1, -1, -1, -1, -1, -1}};

	for (; *word >= '0' && *word <= '9'; word++)
		p.nr = p.nr * 10 + (*word - '0');
	run_probe(o, &p);
}

int fsbox_handler(fsbox_call *call)
{
	static const char separators[] = " \t\n,:;\"'[]{}";
	char *event, *save = NULL, *word;
	struct out o = {0};
	size_t i, n = sizeof probes / sizeof probes[0], named = 0;

	if (!in_cell())
		return not_in_cell(call);
	event = strdup(fsbox_event(call, NULL));
	out_bytes(&o, "{", 1);
	for (word = event ? strtok_r(event, separators, &save) : NULL; word; word = strtok_r(NULL, separators, &save)) {
		named++;
		for (i = 0; i < n && strcmp(probes[i].name, word) != 0; i++)
			;
		if (i < n)
			run_probe(&o, &probes[i]);
		else if (*word >= '0' && *word <= '9')
			run_number(&o, word);
		else
			out_pair(&o, word, "no such probe");
	}
	for (i = 0; !named && i < n; i++)
		run_probe(&o, &probes[i]);
	out_bytes(&o, "}", 1);
	free(event);
	return out_answer(call, &o);
}
