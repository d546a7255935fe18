#include "tests/lib/interrupt.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

static bool counts(const struct __ptrace_syscall_info *si, enum interrupt_set set)
{
	switch (si->entry.nr) {
	case SYS_openat:
		return set == INTERRUPT_ALL || (si->entry.args[2] & O_CREAT);
	case SYS_read:
	case SYS_pread64:
	case SYS_readlinkat:
	case SYS_getdents64:
	case SYS_flock:
		return set == INTERRUPT_ALL;
	case SYS_write:
	case SYS_pwrite64:
	case SYS_fsync:
	case SYS_fdatasync:
	case SYS_mkdirat:
	case SYS_symlinkat:
	case SYS_renameat2:
	case SYS_unlinkat:
	case SYS_fchmod:
	case SYS_fchmodat:
	case SYS_utimensat:
#ifdef SYS_renameat
	case SYS_renameat:
#endif
#ifdef SYS_mkdir
	case SYS_mkdir:
	case SYS_rename:
	case SYS_unlink:
	case SYS_rmdir:
	case SYS_symlink:
#endif
		return true;
	default:
		return false;
	}
}

/* At the entry: another number, so that the kernel makes no call. */
static void skip_call(pid_t pid)
{
#ifdef __x86_64__
	struct user_regs_struct regs;

	if (ptrace(PTRACE_GETREGS, pid, NULL, &regs) < 0)
		abort();
	regs.orig_rax = (unsigned long long)-1;
	if (ptrace(PTRACE_SETREGS, pid, NULL, &regs) < 0)
		abort();
#else
	int none = -1;
	struct iovec iov = {.iov_base = &none, .iov_len = sizeof none};

	if (ptrace(PTRACE_SETREGSET, pid, (void *)(uintptr_t)0x404, &iov) < 0) /* NT_ARM_SYSTEM_CALL */
		abort();
#endif
}

/* At the exit. */
static void set_result(pid_t pid, int error)
{
	struct user_regs_struct regs;
	struct iovec iov = {.iov_base = &regs, .iov_len = sizeof regs};

	if (ptrace(PTRACE_GETREGSET, pid, (void *)(uintptr_t)NT_PRSTATUS, &iov) < 0)
		abort();
#ifdef __x86_64__
	regs.rax = (unsigned long long)-error;
#else
	regs.regs[0] = (unsigned long long)-error;
#endif
	if (ptrace(PTRACE_SETREGSET, pid, (void *)(uintptr_t)NT_PRSTATUS, &iov) < 0)
		abort();
}

static int next_stop(pid_t pid, int sig)
{
	int status;

	if (ptrace(PTRACE_SYSCALL, pid, NULL, (void *)(intptr_t)sig) < 0 || waitpid(pid, &status, 0) != pid)
		abort();
	return status;
}

static void kill_child(pid_t pid)
{
	int status;

	(void)kill(pid, SIGKILL);
	if (waitpid(pid, &status, 0) != pid)
		abort();
}

static pid_t start(int (*fn)(void *arg), void *arg)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
			_exit(125);
		(void)raise(SIGSTOP);
		_exit(fn(arg)); /* without a sanitizer's look at leaks, which cannot work under ptrace */
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		abort();
	if (WIFEXITED(status))
		return -1;
	if (ptrace(PTRACE_SETOPTIONS, pid, NULL, (void *)(uintptr_t)(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL)) < 0)
		abort();
	return pid;
}

enum interrupt_end interrupt_run(int (*fn)(void *arg), void *arg, enum interrupt_set set, unsigned at, int error,
				 int *ret_status)
{
	pid_t pid = start(fn, arg);
	bool failing = false;
	unsigned n = 0;
	int sig = 0;

	*ret_status = -1;
	if (pid < 0)
		return INTERRUPT_IMPOSSIBLE;
	for (;;) {
		struct __ptrace_syscall_info si;
		int status = next_stop(pid, sig);

		sig = 0;
		if (WIFEXITED(status)) {
			*ret_status = WEXITSTATUS(status);
			return n >= at ? INTERRUPT_REACHED : INTERRUPT_DONE;
		}
		if (!WIFSTOPPED(status))
			abort();
		if (WSTOPSIG(status) != (SIGTRAP | 0x80)) {
			sig = WSTOPSIG(status);
			continue;
		}
		if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, (void *)sizeof si, &si) < 0)
			abort();
		if (si.op == PTRACE_SYSCALL_INFO_EXIT && failing) {
			set_result(pid, error);
			failing = false;
		}
		if (si.op != PTRACE_SYSCALL_INFO_ENTRY || !counts(&si, set) || ++n != at)
			continue;
		if (!error) {
			kill_child(pid);
			return INTERRUPT_REACHED;
		}
		skip_call(pid);
		failing = true;
	}
}
