/* Filters that are added after init, and the message that names the system call which such a filter refused.
 *
 * SECCOMP_RET_TRAP raises SIGSYS in the thread that made the call (seccomp(2)). The handler writes one FAULT frame
 * and then lets the signal end the process, so that its status is the true one, "bad system call". It needs write(2)
 * on the channel only: whatever else a filter refuses here raises SIGSYS while it is blocked, and the kernel then
 * ends the process at once, which is what was wanted. */
#include "runtime/assist/assist.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

_Static_assert(sizeof(struct sock_filter) == 8, "as the channel counts them");

enum { RAISED_BY_SECCOMP = 1 }; /* SYS_SECCOMP of asm-generic/siginfo.h, which libc's header does not have */

static uint8_t fault_stack[16384] __attribute__((aligned(16))); /* the frame holds the vector registers: 3 to 11 KiB */
static volatile uint64_t fault_call;
static pid_t fault_pid;
static int fault_claimed;
/* Its address names the thread without a system call. Of a library that was loaded late, such a variable would be made by
 * malloc(3) at its first use, and the signal may come from within malloc(3). */
static __thread char fault_thread __attribute__((tls_model("initial-exec")));
static const char *fault_owner;

void fault_set_call(uint64_t number)
{
	fault_call = number;
}

static void end_by_sigsys(void)
{
	struct sigaction dfl = {.sa_handler = SIG_DFL};
	sigset_t set;

	(void)sigaction(SIGSYS, &dfl, NULL);
	(void)syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGSYS);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGSYS);
	(void)sigprocmask(SIG_UNBLOCK, &set, NULL); /* it is delivered here */
	_exit(128 + SIGSYS);                        /* a filter that answers errors to these calls */
}

static void on_sigsys(int sig, siginfo_t *info, void *context)
{
	struct {
		struct chan_head head;
		struct chan_fault fault;
	} frame = {
		.head = {.len = sizeof(struct chan_fault), .type = CHAN_FAULT, .call = fault_call},
		.fault = {.nr = info->si_syscall, .arch = info->si_arch},
	};

	(void)sig;
	(void)context;
	if (__atomic_exchange_n(&fault_claimed, 1, __ATOMIC_ACQ_REL)) {
		/* Another thread is reporting and ends all of us; were it this one, the way out above was refused. */
		while (__atomic_load_n(&fault_owner, __ATOMIC_ACQUIRE) != &fault_thread)
			;
		_exit(128 + SIGSYS);
	}
	__atomic_store_n(&fault_owner, &fault_thread, __ATOMIC_RELEASE);
	/* A child that the function forked ends alone, and the runtime goes on. A signal that somebody sent names no
	 * call. */
	if (getpid() == fault_pid && info->si_code == RAISED_BY_SECCOMP)
		(void)!write(CHAN_FD_OUT, &frame, sizeof frame);
	end_by_sigsys();
}

/* The signal's handler and its stack: made before the filter, which may refuse to make them. */
static int prepare_handler(void)
{
	stack_t alt = {.ss_sp = fault_stack, .ss_size = sizeof fault_stack};
	struct sigaction sa = {.sa_sigaction = on_sigsys, .sa_flags = SA_SIGINFO | SA_ONSTACK};

	fault_pid = getpid();
	(void)sigfillset(&sa.sa_mask);
	if (sigaltstack(&alt, NULL) < 0 || sigaction(SIGSYS, &sa, NULL) < 0)
		return errno;
	return 0;
}

int fault_install(struct sock_filter *insns, size_t n)
{
	struct sock_fprog prog = {.len = (uint16_t)n, .filter = insns};
	int code = prepare_handler();
	long tid;

	if (code)
		return -code;
	tzset(); /* or the first strftime() under the filter would open the zone's file */
	(void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); /* set in a cell already; otherwise the next call says EACCES */
	tid = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &prog);
	if (tid != 0)
		return tid < 0 ? -errno : -EBUSY; /* > 0: the thread that has filters of its own */
	return 0;
}
