/* Filters that ask somebody (seccomp_unotify(2)): how the descriptor of the questions gets from the child to the host.
 *
 * Who has installed the filter may not be able to send it: sendmsg(2) may be the very call that is asked about, and
 * nobody answers before somebody has the descriptor. So a second thread, started before and not under the filter, sends
 * it over the barrier and waits for the host's word. The first one makes no system call meanwhile, it only looks at
 * memory. A thread, and not a process: PID 1 would be left with a zombie. TSYNC, which would put the filter on it as
 * well, is left out: when the thread is gone there is nobody else to put it on. */
#include "cell/container_internal.h"

#include "base/fd.h"

#include <linux/seccomp.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/syscall.h>

enum { STACK_BYTES = 64 << 10, FD_PENDING = -1, FD_FAILED = -2 };

/* One child, one filter. */
static struct {
	_Atomic int listener; /* by the first thread: the descriptor, or what became of it */
	_Atomic int answer;   /* by the second: 0 not yet, 1 the listener has it, or a negative errno */
	int barrier;
} talk;
static _Alignas(64) unsigned char stack[STACK_BYTES];

bool ct_notifies(const struct ct_child *ch)
{
	return ch->ct->filter && (ch->ct->filter->flags & SECCOMP_FILTER_FLAG_NEW_LISTENER);
}

/* errno is shared with the first thread, which does not look at it while this one talks. */
static int send_listener(void *arg)
{
	uint32_t go;
	int fd, r;

	(void)arg;
	while ((fd = atomic_load(&talk.listener)) == FD_PENDING)
		(void)sched_yield();
	if (fd < 0)
		return 0;
	r = barrier_announce_listener(talk.barrier, fd);
	(void)close(fd); /* descriptors are shared: the container's program must not find it */
	if (r == 0)
		r = barrier_hear(talk.barrier, &go);
	atomic_store(&talk.answer, r == 0 ? 1 : r);
	return 0;
}

int ct_notify_begin(const struct ct_child *ch, struct err *e)
{
	const int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;

	atomic_store(&talk.listener, FD_PENDING);
	atomic_store(&talk.answer, 0);
	talk.barrier = ch->barrier;
	if (clone(send_listener, stack + sizeof stack, flags, NULL) < 0)
		return err_sys(e, errno, "starting the thread that passes the seccomp listener on");
	return 0;
}

static void pause_a_moment(void)
{
#if defined __x86_64__ || defined __i386__
	__builtin_ia32_pause();
#else
	__asm__ volatile("" ::: "memory");
#endif
}

int ct_notify_install(const struct ct_child *ch, struct err *e)
{
	int fd = filter_install_listening(ch->ct->filter), answer;

	atomic_store(&talk.listener, fd < 0 ? FD_FAILED : fd);
	if (fd < 0)
		return err_sys(e, fd, "installing the seccomp filter with a listener");
	while ((answer = atomic_load(&talk.answer)) == 0)
		pause_a_moment();
	return answer < 0 ? err_set(e, ERR_SYSTEM, -answer, "the host did not pass the seccomp listener on") : 0;
}
