/* fsboxd as a process: started without any right, and started again when it dies. */
#include "spawn/spawn.h"

#include "base/clock.h"
#include "sys/sys.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <linux/securebits.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

enum {
	SHORT_LIFE_MS = 1000, /* who dies within it is not started again at once */
	BACKOFF_MIN_MS = 100,
	BACKOFF_MAX_MS = 5000,
	STATUS_USAGE = 2, /* of fsboxd: it will not be better the next time */
	STATUS_NOT_EXECUTED = 126,
};

/* ---- The child ---- */

static _Noreturn void die(const char *what)
{
	say("starting fsboxd: %s: %s", what, strerrordesc_np(errno));
	_exit(STATUS_NOT_EXECUTED);
}

/* Another user, no group beyond its own, no capability, and no way back to any. */
static void give_up_rights(const struct spawn *s)
{
	int r;

	if (!s->host.facts.privileged && geteuid() != 0) {
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
			die("no_new_privs");
		return;
	}
	/* Capabilities stay through the change of ids, so that the bounding set can be emptied after it. */
	if (prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0) < 0)
		die("securebits");
	if (setgroups(0, NULL) < 0 || setresgid((gid_t)s->opt.gid, (gid_t)s->opt.gid, (gid_t)s->opt.gid) < 0 ||
	    setresuid((uid_t)s->opt.uid, (uid_t)s->opt.uid, (uid_t)s->opt.uid) < 0)
		die("changing ids");
	r = caps_drop_all();
	if (r < 0) {
		errno = -r;
		die("dropping capabilities");
	}
}

void spawn_default_signals(void)
{
	sigset_t none;

	for (int sig = 1; sig < NSIG; sig++)
		(void)signal(sig, SIG_DFL); /* fails for those that cannot be changed, which is right */
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* A socket beside 0, 1, 2: at its place and nothing else open. */
static void place_fds(int pair, int listener)
{
	int high_pair = fcntl(pair, F_DUPFD_CLOEXEC, 10), high_listener = fcntl(listener, F_DUPFD_CLOEXEC, 10);

	if (high_pair < 0 || high_listener < 0 || dup2(high_pair, SPAWN_FD_PAIR) < 0 ||
	    dup2(high_listener, SPAWN_FD_LISTEN) < 0 || close_range(SPAWN_FD_LISTEN + 1, ~0U, 0) < 0)
		die("placing descriptors");
}

static char **make_argv(const struct spawn_options *o)
{
	char **argv = calloc((size_t)o->n_daemon_args + 2, sizeof *argv);

	if (argv) {
		memcpy(&argv[0], &o->daemon, sizeof argv[0]);
		for (int i = 0; i < o->n_daemon_args; i++)
			argv[i + 1] = o->daemon_args[i];
	}
	return argv;
}

static _Noreturn void become_daemon(const struct spawn *s, int pair, pid_t parent)
{
	struct rlimit files;
	char **argv = make_argv(&s->opt);

	if (!argv)
		die("memory");
	/* What a terminal sends to its foreground is ours to hand on. */
	(void)setpgid(0, 0);
	spawn_default_signals();
	place_fds(pair, s->listener);
	(void)unsetenv("LISTEN_FDS");
	(void)unsetenv("LISTEN_PID");
	(void)unsetenv("LISTEN_FDNAMES");
	give_up_rights(s);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		die("the death signal");
	if (getppid() != parent)
		_exit(0);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	(void)execv(s->opt.daemon, argv);
	die(s->opt.daemon);
}

/* ---- The parent ---- */

static void restart_due(void *arg)
{
	daemon_start(arg);
}

static void start_again(struct spawn *s)
{
	const uint64_t now = clock_mono_ns();
	const bool short_life = now - s->daemon_started_ns < SHORT_LIFE_MS * NS_PER_MS;

	if (!short_life)
		s->backoff_ms = 0;
	s->restarts++;
	s->restart = (struct timer){.due = restart_due, .arg = s, .place = s->restart.place};
	if (loop_arm(&s->loop, &s->restart, now + s->backoff_ms * NS_PER_MS) < 0) {
		say("out of memory");
		spawn_stop(s);
	}
	if (short_life) /* the first time at once all the same */
		s->backoff_ms = s->backoff_ms == 0                   ? BACKOFF_MIN_MS
				: s->backoff_ms * 2 < BACKOFF_MAX_MS ? s->backoff_ms * 2
								     : BACKOFF_MAX_MS;
}

static void say_how(const struct spawn *s, const siginfo_t *how)
{
	if (how->si_code == CLD_EXITED)
		say("fsboxd (pid %d) ended with status %d", s->pid, how->si_status);
	else
		say("fsboxd (pid %d) was ended by signal %d (%s)", s->pid, how->si_status,
		    sigabbrev_np(how->si_status) ? sigabbrev_np(how->si_status) : "?");
}

static void daemon_ended(void *arg, uint32_t events)
{
	struct spawn *s = arg;
	siginfo_t how;
	const bool first = s->restarts == 0;

	(void)events;
	if (sys_wait_exit(s->pidfd, false, &how) < 0)
		return;
	loop_remove(&s->loop, &s->daemon_exit);
	fd_closep(&s->pidfd);
	if (!s->stopping)
		say_how(s, &how);
	s->pid = 0;
	talk_close(s);
	if (s->stopping) {
		cells_end_all(s);
		spawn_check_stopped(s);
	} else if (first && how.si_code == CLD_EXITED &&
		   (how.si_status == STATUS_USAGE || how.si_status == STATUS_NOT_EXECUTED)) {
		s->status = 1;
		spawn_stop(s);
	} else {
		start_again(s);
	}
}

static int make_pair(int *ours, int *theirs, struct err *e)
{
	const int size = SEND_BUFFER;
	int sv[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv) < 0)
		return err_sys(e, errno, "making the socket to fsboxd");
	for (int i = 0; i < 2; i++)
		if (setsockopt(sv[i], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) < 0)
			(void)setsockopt(sv[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
	*ours = sv[0];
	*theirs = sv[1];
	return 0;
}

static int start(struct spawn *s, struct err *e)
{
	AUTO_FD int ours = FD_NONE, theirs = FD_NONE;
	const pid_t self = getpid();
	int r = make_pair(&ours, &theirs, e);

	if (r < 0)
		return r;
	s->daemon_started_ns = clock_mono_ns();
	s->pid = fork();
	if (s->pid == 0)
		become_daemon(s, theirs, self);
	if (s->pid < 0)
		return err_sys(e, errno, "starting fsboxd");
	s->pidfd = sys_pidfd_open(s->pid);
	r = s->pidfd < 0 ? err_sys(e, s->pidfd, "opening a pidfd of fsboxd")
			 : loop_add(&s->loop, &s->daemon_exit, s->pidfd, EPOLLIN, daemon_ended, s, e);
	if (r == 0)
		r = talk_open(s, ours, e);
	if (r == 0)
		(void)take_fd(&ours);
	return r;
}

void daemon_start(struct spawn *s)
{
	struct err e = {0};

	if (s->stopping || start(s, &e) == 0)
		return;
	say_err("starting fsboxd", &e);
	if (s->daemon_exit.added) { /* it runs, but not with us: daemon_ended() tries again */
		daemon_kill(s, SIGKILL);
		return;
	}
	if (s->pid > 0)
		(void)kill(s->pid, SIGKILL);
	s->pid = 0;
	fd_closep(&s->pidfd);
	start_again(s);
}

void daemon_kill(struct spawn *s, int sig)
{
	if (fd_valid(s->pidfd))
		(void)!sys_pidfd_kill(s->pidfd, sig);
}

void daemon_done(struct spawn *s)
{
	loop_disarm(&s->loop, &s->restart);
	talk_close(s);
}
