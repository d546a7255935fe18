/* The built-in filters installed for real, in children: the kernel takes them and answers as the simulation did. */
#include "tests/lib/tap.h"

#include "base/mem.h"
#include "confine/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Ends the child at once, without atexit handlers and sanitizers' goodbyes. */
_Noreturn static void child_exit(int status)
{
	for (;;)
		(void)syscall(SYS_exit_group, status);
}

static int install(const char *name)
{
	struct filter f;

	if (!filter_builtin(name, &f))
		return -ENOENT;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	return filter_install(&f);
}

/* Runs @body in a child under the filters of @names (ending in NULL); it returns the exit status. The wait status. */
static int under(const char *const *names, int (*body)(void))
{
	pid_t pid = fork();
	int status = -1;

	if (pid == 0) {
		for (; *names; names++)
			if (install(*names) < 0)
				child_exit(99);
		child_exit(body());
	}
	if (CHECK(pid > 0))
		CHECK_EQ(waitpid(pid, &status, 0), pid);
	return status;
}

static const char *const only_default[] = {"default", NULL};
static const char *const both[] = {"default_runtime", "strict", NULL};

static long fails_with(long r)
{
	return r < 0 ? errno : 0;
}

/* The bit of the first answer that is not the expected one, from 1. */
static int body_default(void)
{
	struct io_uring_params params = {0};
	const long got[][2] = {
		{fails_with(syscall(SYS_read, -1, NULL, 0)), EBADF},
		{fails_with(syscall(SYS_getpid)), 0},
		{fails_with(syscall(SYS_io_uring_setup, 1, &params)), EPERM},
		{fails_with(syscall(SYS_clone3, NULL, 0)), ENOSYS},
		{fails_with(syscall(9999)), ENOSYS},
		{fails_with(syscall(SYS_unshare, CLONE_NEWUSER)), EPERM},
		{fails_with(syscall(SYS_bpf, 0, NULL, 0)), EPERM},
		{fails_with(syscall(SYS_keyctl, 0, 0, 0, 0, 0)), EPERM},
		{fails_with(syscall(SYS_socket, AF_VSOCK, SOCK_STREAM, 0)), EPERM},
		{fails_with(syscall(SYS_socket, AF_NETLINK, SOCK_RAW, 0)), EAFNOSUPPORT},
		{fails_with(syscall(SYS_seccomp, 1, 0, NULL)), EPERM}, /* SECCOMP_SET_MODE_FILTER */
		{fails_with(prctl(PR_SET_SECCOMP, 2, NULL, 0, 0)), EPERM},
		{fails_with(syscall(SYS_socket, AF_UNIX, SOCK_STREAM, 0)), 0},
		{fails_with(syscall(SYS_ioctl, 0, UINT64_C(0x100005412), "x")), EPERM},
		{fails_with(syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDONLY)), 0},
	};

	for (size_t i = 0; i < ARRAY_LEN(got); i++)
		if (got[i][0] != got[i][1])
			return (int)i + 1;
	return 0;
}

TEST(the_kernel_takes_default_and_answers_as_simulated)
{
	int status = under(only_default, body_default);

	CHECK(WIFEXITED(status));
	CHECK_EQ(WEXITSTATUS(status), 0);
}

static int body_shell(void)
{
	char *const argv[] = {(char[]){"sh"}, (char[]){"-c"}, (char[]){"[ \"$(echo 42 | cat)\" = 42 ]"}, NULL};
	char *const envp[] = {(char[]){"PATH=/usr/bin:/bin"}, NULL};

	(void)execve("/bin/sh", argv, envp);
	return 98;
}

TEST(a_shell_with_its_pipes_runs_under_default)
{
	int status = under(only_default, body_shell);

	CHECK(WIFEXITED(status));
	CHECK_EQ(WEXITSTATUS(status), 0);
}

#ifdef __x86_64__
static int body_int80(void)
{
	long r;

	/* 20 is getpid of the 32-bit ABI; 11 would be munmap here and execve there */
	__asm__ volatile("int $0x80" : "=a"(r) : "a"(20L) : "memory");
	return r > 0 ? 1 : 2;
}

TEST(a_call_of_the_32_bit_abi_ends_the_process)
{
	int status = under(only_default, body_int80);

	/* without CONFIG_IA32_EMULATION the instruction itself faults */
	CHECK(WIFSIGNALED(status));
	CHECK(WTERMSIG(status) == SIGSYS || WTERMSIG(status) == SIGSEGV);
}

static int body_x32(void)
{
	return (int)syscall(0x40000000 | SYS_getpid) > 0 ? 1 : 2;
}

TEST(a_call_of_the_x32_abi_ends_the_process)
{
	int status = under(only_default, body_x32);

	CHECK(WIFSIGNALED(status));
	CHECK_EQ(WTERMSIG(status), SIGSYS);
}
#endif

static void on_sigsys(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	child_exit(info->si_syscall == SYS_openat ? 42 : 43);
}

static int body_strict(void)
{
	struct sigaction act = {.sa_sigaction = on_sigsys, .sa_flags = SA_SIGINFO};
	void *page;

	if (syscall(SYS_getpid) <= 0 || sigaction(SIGSYS, &act, NULL) < 0)
		return 1;
	page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED || mprotect(page, 4096, PROT_READ) < 0 || munmap(page, 4096) < 0)
		return 2;
	if (fails_with(syscall(SYS_ioctl, 0, 0x5401, NULL)) != ENOTTY)
		return 3;
	(void)syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDONLY);
	return 4;
}

TEST(strict_over_default_traps_and_names_the_call)
{
	int status = under(both, body_strict);

	CHECK(WIFEXITED(status));
	CHECK_EQ(WEXITSTATUS(status), 42);
}

static int body_exec_page(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? 1 : 2;
}

TEST(without_a_handler_a_trapped_call_ends_the_process)
{
	int status = under(both, body_exec_page);

	CHECK(WIFSIGNALED(status));
	CHECK_EQ(WTERMSIG(status), SIGSYS);
}

static int body_none(void)
{
	return prctl(PR_GET_SECCOMP, 0, 0, 0, 0);
}

TEST(none_installs_nothing)
{
	static const char *const none[] = {"none", NULL};
	int inherited = prctl(PR_GET_SECCOMP, 0, 0, 0, 0), status = under(none, body_none);

	CHECK(WIFEXITED(status));
	CHECK_EQ(WEXITSTATUS(status), inherited);
}
