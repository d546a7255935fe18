/* PID 1 of a cell: init PROGRAM [ARG...], or init --adopt PID
 *
 * Starts the runtime, or takes over one that was restored and becomes our child when CRIU, which restored it, ends.
 * Reaps what is orphaned, hands signals on, and when the runtime has ended kills the rest and writes the EXIT record
 * (runtime/channel.h) as the last bytes of the channel. So the host learns how the runtime ended even when it died in
 * the middle of a frame, and abort(), alarms, double forks and wait() behave as they do anywhere.
 *
 * The function has the same user id and must not get a hold of this process. Against it stand:
 *   - not dumpable: no ptrace(2), no /proc/1/mem, /proc/1/fd or pidfd_getfd(2) (prctl(2), PR_SET_DUMPABLE);
 *   - every signal is blocked and none has a handler: what is sent waits or is taken by sigtimedwait(2); SIGKILL and
 *     SIGSTOP from inside its own pid namespace do not reach an init (pid_namespaces(7));
 *   - descriptor 3 is closed here, when all the above is done (behind a restore it is the host's barrier: only then the
 *     runtime is let go), 4 is used once, when nothing else of the cell is left to share it.
 * What it can still do (prlimit(2), sched_setscheduler(2) on PID 1) ends in a cell without an EXIT record, which the
 * host reports as a crash: it harms the cell only.
 *
 * The parent-death signal that the host's child set before execve(2) stays: execve keeps it unless ids or capabilities
 * change (PR_SET_PDEATHSIG(2const)). */
#include "runtime/channel.h"
#include "runtime/init/nolibc.h"

#include <asm/unistd.h>
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/signal.h>
#include <linux/wait.h>

enum { STATUS_USAGE = 125, STATUS_NOT_FOUND = 127, KERNEL_SIGSET_BYTES = 8, CHILD_STACK = 1024 };

/* si_code of siginfo(3) for the EXIT record; the kernel's header needs a libc's types beside it. */
enum { EXITED = 1, KILLED = 2, DUMPED = 3 };

#define MASK(sig) (UINT64_C(1) << ((sig)-1))

/* Sent by the host or from inside: the runtime gets them as if they had been sent to it. */
#define FORWARDED \
	(MASK(SIGHUP) | MASK(SIGINT) | MASK(SIGQUIT) | MASK(SIGUSR1) | MASK(SIGUSR2) | MASK(SIGTERM) | MASK(SIGWINCH))

struct start {
	char **argv, **envp;
	volatile int error; /* written by the child, whose memory is ours until it executes */
};

struct exit_record {
	struct chan_head head;
	struct chan_exit exit;
};

static int complain(const char *text)
{
	size_t len = 0;

	while (text[len])
		len++;
	(void)SYS(__NR_write, 2, text, len);
	return STATUS_USAGE;
}

static void child(void *arg)
{
	struct start *s = arg;
	uint64_t none = 0;

	/* A session of its own: an image of the runtime must not depend on a leader that is not in it. */
	(void)SYS(__NR_setsid);
	(void)SYS(__NR_rt_sigprocmask, SIG_SETMASK, &none, NULL, KERNEL_SIGSET_BYTES);
	s->error = (int)-SYS(__NR_execve, s->argv[0], s->argv, s->envp); /* exec makes it dumpable again */
	for (;;)
		(void)SYS(__NR_exit_group, STATUS_NOT_FOUND);
}

/* Shares memory with the child until it has executed: nothing is copied, and a failed exec is simply read from @s. */
static long start_runtime(struct start *s)
{
	char stack[CHILD_STACK] __attribute__((aligned(16)));

	return sys_clone_call(CLONE_VM | CLONE_VFORK | SIGCHLD, stack + sizeof stack, child, s, __NR_clone);
}

/* 0 unless @s is a decimal number of at most nine digits. */
static long number(const char *s)
{
	long n = 0;
	int digits = 0;

	for (; digits < 10 && s[digits] >= '0' && s[digits] <= '9'; digits++)
		n = n * 10 + (s[digits] - '0');
	return digits < 10 && s[digits] == '\0' ? n : 0;
}

static int equal(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

/* Reaps what has ended; true when the runtime was among them. @how: WNOHANG, or 0 to wait for the next. */
static int reap(long runtime, int how, int *ret_status)
{
	int status = 0, found = 0;
	long pid;

	while (!found && (pid = SYS(__NR_wait4, -1L, &status, how | __WALL, NULL)) > 0) {
		if (pid == runtime) {
			*ret_status = status;
			found = 1;
		}
	}
	return found;
}

static int wait_for_runtime(long runtime)
{
	uint64_t wanted = FORWARDED | MASK(SIGCHLD);
	int status = 0;

	/* SIGCHLD is blocked, so one that came before the first wait is pending and not lost: but for one that came before
	 * this program ran, from a runtime that was there already. */
	if (reap(runtime, WNOHANG, &status))
		return status;
	for (;;) {
		long sig = SYS(__NR_rt_sigtimedwait, &wanted, NULL, NULL, KERNEL_SIGSET_BYTES);

		if (sig > 0 && sig != SIGCHLD) {
			/* Only we reap it, so the number is still its own. */
			(void)SYS(__NR_kill, runtime, sig);
			continue;
		}
		/* A filter that refuses the wait for signals costs the forwarding and must not make us spin. */
		if (sig != -EINTR && reap(runtime, sig == SIGCHLD ? WNOHANG : 0, &status))
			return status;
	}
}

/* One kill(2) is enough: a fork that is under way when the signal is queued fails (the kernel ends a pid namespace the
 * same way). -1 leaves out the caller. */
static void end_the_rest(void)
{
	long r;

	(void)SYS(__NR_kill, -1L, SIGKILL);
	do
		r = SYS(__NR_wait4, -1L, NULL, __WALL, NULL);
	while (r > 0 || r == -EINTR);
}

static void report(int32_t code, int32_t status)
{
	struct exit_record rec = {
		.head = {.len = sizeof(struct chan_exit), .type = CHAN_EXIT},
		.exit = {.magic = CHAN_EXIT_MAGIC, .code = code, .status = status},
	};

	/* The function shared this open file description and may have left it non-blocking: clear all flags. */
	(void)SYS(__NR_fcntl, CHAN_FD_OUT, F_SETFL, 0);
	(void)SYS(__NR_write, CHAN_FD_OUT, &rec, sizeof rec); /* less than PIPE_BUF: whole or not at all (pipe(7)) */
}

int nolibc_main(uintptr_t *stack)
{
	uintptr_t argc = stack[0];
	char **argv = (char **)(stack + 1);
	struct start s = {.argv = argv + 1, .envp = argv + argc + 1};
	uint64_t all = ~UINT64_C(0);
	int status, sig;
	long runtime, adopted = 0;

	if (SYS(__NR_getpid) != 1) /* elsewhere, the kill(-1) below would end every process of the user */
		return complain("init: this program is PID 1 of a cell; fsbox starts it\n");
	if (argc == 3 && equal(argv[1], "--adopt"))
		adopted = number(argv[2]);
	if (argc < 2 || (argv[1][0] == '-' && adopted < 2))
		return complain("usage: init PROGRAM [ARG...] | --adopt PID\n");
	(void)SYS(__NR_prctl, PR_SET_DUMPABLE, 0);
	(void)SYS(__NR_prctl, PR_SET_NAME, "fsbox-init");
	(void)SYS(__NR_rt_sigprocmask, SIG_SETMASK, &all, NULL, KERNEL_SIGSET_BYTES);

	runtime = adopted ? adopted : start_runtime(&s);
	(void)SYS(__NR_close, CHAN_FD_IN);
	if (runtime < 0 || s.error) {
		end_the_rest();
		report(0, runtime < 0 ? (int32_t)-runtime : s.error);
		return STATUS_NOT_FOUND;
	}

	status = wait_for_runtime(runtime);
	end_the_rest();
	sig = status &
	      0x7f; /* wait(2)'s status word: low seven bits the signal, 0x80 a core dump, then the exit status */
	if (sig == 0) {
		status = (status >> 8) & 0xff;
		report(EXITED, status);
		return status;
	}
	report(status & 0x80 ? DUMPED : KILLED, sig);
	return 128 + sig;
}

void nolibc_start(uintptr_t *stack)
{
	int status = nolibc_main(stack);

	for (;;)
		(void)SYS(__NR_exit_group, status);
}
