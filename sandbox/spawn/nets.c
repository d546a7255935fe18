/* Network namespaces made ahead: a cell waits longer for its own than for anything else that the kernel does for it, and
 * all are born alike. A process beside us makes them and sends them over, so that nothing here waits; it is started by the
 * first cell that could have used one, and ends when none was wanted for a while.
 *
 * Nobody has been in one of them before its cell. They belong to the host's user namespace and not to the cell's, over
 * which nothing in a cell has rights after its building: it has no fewer than without. */
#include "spawn/spawn.h"

#include "base/clock.h"
#include "base/fd.h"
#include "sys/sys.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>

enum { MAKER_FD = 3, KEEP_MS = 10000 };

/* To the maker; as many answers come, each with a descriptor. */
struct wish {
	unsigned char lo_up, n;
};

/* ---- The maker ---- */

static bool send_net(unsigned char lo_up, int net)
{
	return fd_send(MAKER_FD, &lo_up, 1, &net, 1, 0) == 1;
}

/* It goes home after each, so that a namespace is its cell's alone and goes with it. */
static bool make_one(unsigned char lo_up, const struct net_request *lo, int home)
{
	AUTO_FD int net = FD_NONE;

	if (unshare(CLONE_NEWNET) < 0 || (lo_up && net_send(lo) < 0))
		return false;
	net = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	return fd_valid(net) && send_net(lo_up, net) && setns(home, CLONE_NEWNET) == 0;
}

static _Noreturn void be_maker(int socket, int home, const struct net_request *lo, pid_t parent)
{
	struct wish w;

	/* Both above all others first, then nothing else is left open. */
	socket = fcntl(socket, F_DUPFD_CLOEXEC, 10);
	home = fcntl(home, F_DUPFD_CLOEXEC, 10);
	if (dup2(socket, MAKER_FD) < 0 || dup2(home, MAKER_FD + 1) < 0 || close_range(MAKER_FD + 2, ~0U, 0) < 0 ||
	    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		_exit(1);
	home = MAKER_FD + 1;
	spawn_default_signals();
	/* What ends us comes to everybody in our group or unit; the maker ends by the end of its socket. */
	(void)signal(SIGTERM, SIG_IGN);
	(void)signal(SIGINT, SIG_IGN);
	(void)signal(SIGHUP, SIG_IGN);
	if (getppid() != parent)
		_exit(0);
	while (recv(MAKER_FD, &w, sizeof w, 0) == (ssize_t)sizeof w)
		for (; w.n > 0; w.n--)
			if (!make_one(w.lo_up, lo, home))
				_exit(1);
	_exit(0);
}

/* ---- Ours ---- */

static void drop(struct nets *n)
{
	struct spawn *s = n->s;

	for (size_t kind = 0; kind < ARRAY_LEN(n->ready); kind++) {
		while (n->n_ready[kind] > 0)
			fd_closep(&n->ready[kind][--n->n_ready[kind]]);
		n->asked[kind] = 0;
	}
	loop_remove(&s->loop, &n->answer);
	fd_closep(&n->socket); /* then the maker ends */
}

static void maker_ended(void *arg, uint32_t events)
{
	struct nets *n = arg;
	siginfo_t how;

	(void)events;
	if (sys_wait_exit(n->pidfd, false, &how) < 0)
		return;
	loop_remove(&n->s->loop, &n->exit);
	fd_closep(&n->pidfd);
	if (how.si_code != CLD_EXITED || how.si_status != 0) {
		say("network namespaces are not made ahead any more");
		n->off = true;
	}
	drop(n);
}

static void take_answer(void *arg, uint32_t events)
{
	struct nets *n = arg;
	unsigned char kind = 0;
	AUTO_FD int fd = FD_NONE;
	struct fd_passed passed;
	const ssize_t got = fd_receive(n->socket, &kind, 1, &fd, 1, MSG_DONTWAIT, &passed);

	(void)events;
	if (got == -EAGAIN)
		return;
	if (got != 1 || passed.n != 1) {
		loop_remove(&n->s->loop, &n->answer); /* it is ending */
		return;
	}
	kind = kind != 0;
	if (n->asked[kind] > 0)
		n->asked[kind]--;
	if (n->n_ready[kind] < NETS_MAX)
		n->ready[kind][n->n_ready[kind]++] = take_fd(&fd);
}

static int start_maker(struct nets *n, struct err *e)
{
	AUTO_FD int theirs = FD_NONE;
	const pid_t self = getpid();
	struct net_request lo;
	int sv[2], r = net_plan_loopback(true, &lo, e);
	pid_t pid;

	if (r < 0)
		return r;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
		return err_sys(e, errno, "socketpair");
	n->socket = sv[0];
	theirs = sv[1];
	pid = fork();
	if (pid == 0)
		be_maker(theirs, n->s->host.own_net, &lo, self);
	if (pid < 0)
		return err_sys(e, errno, "fork");
	n->pidfd = sys_pidfd_open(pid);
	if (n->pidfd < 0)
		return err_sys(e, n->pidfd, "opening a pidfd");
	r = loop_add(&n->s->loop, &n->exit, n->pidfd, EPOLLIN, maker_ended, n, e);
	return r < 0 ? r : loop_add(&n->s->loop, &n->answer, n->socket, EPOLLIN, take_answer, n, e);
}

static void ask(struct nets *n, bool lo_up)
{
	const size_t there = n->n_ready[lo_up] + n->asked[lo_up];
	const struct wish w = {.lo_up = lo_up, .n = (unsigned char)(NETS_MAX - there)};

	if (there < NETS_MAX && send(n->socket, &w, sizeof w, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)sizeof w)
		n->asked[lo_up] += w.n;
}

static void not_wanted(void *arg)
{
	drop(arg);
}

int nets_take(void *arg, bool lo_up)
{
	struct nets *n = arg;
	struct err e = {0};

	if (n->off || n->s->stopping)
		return FD_NONE;
	if (!fd_valid(n->pidfd) && start_maker(n, &e) < 0) {
		say_err("making network namespaces ahead", &e);
		n->off = true;
		drop(n);
		return FD_NONE;
	}
	/* One that is ending has no socket any more; the next is started when it is gone. */
	if (fd_valid(n->socket))
		ask(n, lo_up);
	n->idle.due = not_wanted;
	n->idle.arg = n;
	if (loop_arm(&n->s->loop, &n->idle, clock_mono_ns() + KEEP_MS * NS_PER_MS) < 0)
		drop(n);
	return n->n_ready[lo_up] > 0 ? n->ready[lo_up][--n->n_ready[lo_up]] : FD_NONE;
}

void nets_open(struct spawn *s)
{
	s->nets = (struct nets){.s = s, .socket = FD_NONE, .pidfd = FD_NONE};
	if (!s->host.facts.privileged)
		return;
	s->host.own_net = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (!fd_valid(s->host.own_net))
		return;
	s->host.take_net = nets_take;
	s->host.take_net_arg = &s->nets;
}

void nets_stop(struct spawn *s)
{
	loop_disarm(&s->loop, &s->nets.idle);
	if (fd_valid(s->nets.socket))
		drop(&s->nets);
}
