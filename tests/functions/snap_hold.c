/* Holds in init what the environment's HOLD names (several with commas), so that a snapshot of it can be tried: what the
 * look before a dump allows must be dumped and restored, the rest refused with a sentence. A call answers whether what it
 * holds still works: "ok", or what does not. The event "tick" prints that twice a second for ever instead, "hold" waits.
 *
 * With --net host, HOLD_PORT is a TCP port of loopback and HOLD_NAME an abstract unix socket, both of somebody outside. */
#include "out.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/io_uring.h>
#include <linux/netlink.h>
#include <linux/perf_event.h>
#include <linux/seccomp.h>
#include <mqueue.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/fanotify.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/shm.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif
#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447
#endif

static int a = -1, b = -1;
static char *map;
static pid_t kid;

static int fail(void)
{
	return errno ? errno : EPROTO;
}

static int need(bool ok)
{
	return ok ? 0 : fail();
}

static int pair_works(void)
{
	char c = 0;

	return need(write(a, "x", 1) == 1 && read(b, &c, 1) == 1 && c == 'x');
}

/* A child that waits for ever, unless @fn ends it. */
static int child(void (*fn)(void))
{
	kid = fork();
	if (kid == 0) {
		if (fn)
			fn();
		for (;;)
			(void)pause();
	}
	return need(kid > 0);
}

static int child_works(void)
{
	return need(kill(kid, 0) == 0 && waitpid(kid, NULL, WNOHANG) == 0);
}

static void *forever(void *arg)
{
	for (;;)
		(void)pause();
	return arg;
}

static int hold_thread(void)
{
	pthread_t t;

	return pthread_create(&t, NULL, forever, NULL);
}
static int hold_child(void)
{
	return child(NULL);
}
static void new_session(void)
{
	(void)setsid();
}
static int hold_session(void)
{
	return child(new_session);
}
static void stop(void)
{
	(void)raise(SIGSTOP);
}
static int hold_stopped(void)
{
	int status;

	return child(stop) ?: need(waitpid(kid, &status, WUNTRACED) == kid);
}
static void leave(void)
{
	_exit(0);
}
static int hold_zombie(void)
{
	siginfo_t si;

	return child(leave) ?: need(waitid(P_PID, (id_t)kid, &si, WEXITED | WNOWAIT) == 0);
}
static void fork_and_leave(void)
{
	kid = 0;
	(void)child(NULL);
	_exit(0);
}
static int hold_orphan(void)
{
	return child(fork_and_leave) ?: need(waitpid(kid, NULL, 0) == kid);
}
static void be_traced(void)
{
	(void)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}
static int hold_traced(void)
{
	int r = child(be_traced);

	(void)usleep(100000);
	return r;
}
static int hold_pipe(void)
{
	int p[2];

	if (pipe2(p, O_CLOEXEC) < 0)
		return fail();
	a = p[1];
	b = p[0];
	return 0;
}
static int hold_pipe_half(void)
{
	return hold_pipe() ?: need(close(b) == 0);
}
static int hold_pipe_full(void)
{
	return hold_pipe() ?: need(write(a, "xyz", 3) == 3);
}
static int hold_pipe_child(void)
{
	return hold_pipe() ?: hold_child() ?: need(close(b) == 0);
}
#include "snap_hold_net.h"

static int hold_eventfd(void)
{
	a = b = eventfd(3, EFD_CLOEXEC);
	return need(a >= 0);
}
static int works_eventfd(void)
{
	uint64_t n = 0;

	return need(read(a, &n, sizeof n) == sizeof n && n == 3 && write(a, &n, sizeof n) == sizeof n);
}
static int hold_timerfd(void)
{
	const struct itimerspec t = {{3600, 0}, {3600, 0}};

	a = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	return need(timerfd_settime(a, 0, &t, NULL) == 0);
}
static int works_timerfd(void)
{
	struct itimerspec t;

	return need(timerfd_gettime(a, &t) == 0 && t.it_value.tv_sec > 3000 && t.it_interval.tv_sec == 3600);
}
static int hold_epoll(void)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = 77};

	if (hold_pipe() != 0)
		return fail();
	int e = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_ctl(e, EPOLL_CTL_ADD, b, &ev) < 0 || write(a, "x", 1) != 1)
		return fail();
	b = e;
	return 0;
}
/* A descriptor that is watched but closed, while the file is still open elsewhere. */
static int hold_epoll_closed(void)
{
	int r = hold_epoll(), copy;

	if (r)
		return r;
	copy = fcntl(a, F_DUPFD_CLOEXEC, 60);
	(void)copy;
	struct epoll_event ev = {.events = EPOLLOUT};
	return need(epoll_ctl(b, EPOLL_CTL_ADD, a, &ev) == 0 && close(a) == 0);
}
static int works_epoll(void)
{
	struct epoll_event ev = {0};

	return need(epoll_wait(b, &ev, 1, 0) == 1 && ev.data.u64 == 77);
}
static int hold_signalfd(void)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGUSR1);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	a = signalfd(-1, &set, SFD_CLOEXEC);
	return need(a >= 0 && raise(SIGUSR1) == 0);
}
static int works_signalfd(void)
{
	struct signalfd_siginfo si;

	return need(read(a, &si, sizeof si) == sizeof si && si.ssi_signo == SIGUSR1 && raise(SIGUSR1) == 0);
}
static int hold_memfd(void)
{
	a = b = memfd_create("held", MFD_CLOEXEC);
	return need(write(a, "text", 4) == 4);
}
static int works_memfd(void)
{
	char text[5] = "";

	return need(pread(a, text, 4, 0) == 4 && memcmp(text, "text", 4) == 0);
}
static int hold_memfd_mapped(void)
{
	if (hold_memfd() != 0 || ftruncate(a, 4096) < 0)
		return fail();
	map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, a, 0);
	return need(map != MAP_FAILED && close(a) == 0);
}
static int works_map(void)
{
	return need(memcmp(map, "text", 4) == 0);
}
static int hold_memfd_sealed(void)
{
	a = memfd_create("held", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	return need(write(a, "text", 4) == 4 &&
		    fcntl(a, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0);
}
static int hold_memfd_noexec(void)
{
	a = memfd_create("held", MFD_CLOEXEC | MFD_NOEXEC_SEAL);
	return need(write(a, "text", 4) == 4);
}
static int hold_memfd_secret(void)
{
	a = (int)syscall(SYS_memfd_secret, 0);
	return need(a >= 0);
}
static int hold_shared(void)
{
	map = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (map == MAP_FAILED)
		return fail();
	memcpy(map, "text", 4);
	return hold_child();
}
#include "snap_hold_files.h"

static int hold_inotify(void)
{
	a = inotify_init1(IN_CLOEXEC);
	return need(inotify_add_watch(a, "/tmp", IN_CREATE) >= 0);
}
static int works_inotify(void)
{
	char event[512];

	(void)unlink("/tmp/new");
	return need(mkfifo("/tmp/new", 0600) == 0 && read(a, event, sizeof event) > 0);
}
static int hold_inotify_empty(void)
{
	a = inotify_init1(IN_CLOEXEC);
	return need(a >= 0);
}
static int hold_fanotify(void)
{
	a = fanotify_init(FAN_CLASS_NOTIF | FAN_REPORT_FID | FAN_CLOEXEC, O_RDONLY);
	return need(a >= 0);
}
static int hold_io_uring(void)
{
	struct io_uring_params p = {0};

	a = (int)syscall(SYS_io_uring_setup, 4, &p);
	return need(a >= 0);
}
static int hold_userfaultfd(void)
{
	a = (int)syscall(SYS_userfaultfd, O_CLOEXEC | 1); /* UFFD_USER_MODE_ONLY */
	return need(a >= 0);
}
static int hold_perf(void)
{
	struct perf_event_attr p = {.type = PERF_TYPE_SOFTWARE,
				    .size = sizeof p,
				    .config = PERF_COUNT_SW_TASK_CLOCK,
				    .exclude_kernel = 1,
				    .exclude_hv = 1};

	a = (int)syscall(SYS_perf_event_open, &p, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
	return need(a >= 0);
}
static int hold_bpf(void)
{
	union bpf_attr p = {.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1};

	a = (int)syscall(SYS_bpf, BPF_MAP_CREATE, &p, sizeof p);
	return need(a >= 0);
}
static int hold_pidfd_self(void)
{
	a = (int)syscall(SYS_pidfd_open, getpid(), 0);
	return need(a >= 0);
}
static int works_pidfd(void)
{
	return need(syscall(SYS_pidfd_send_signal, a, 0, NULL, 0) == 0);
}
static int hold_pidfd_child(void)
{
	if (hold_child() != 0)
		return fail();
	a = (int)syscall(SYS_pidfd_open, kid, 0);
	return need(a >= 0);
}
static int hold_pidfd_init(void)
{
	a = (int)syscall(SYS_pidfd_open, 1, 0);
	return need(a >= 0);
}
static int hold_flock(void)
{
	return hold_tmp_file() ?: need(flock(a, LOCK_EX) == 0);
}
static int lock(int cmd)
{
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};

	return hold_tmp_file() ?: need(fcntl(a, cmd, &l) == 0);
}
static int hold_posix_lock(void)
{
	return lock(F_SETLK);
}
static int hold_ofd_lock(void)
{
	return lock(F_OFD_SETLK);
}
static int hold_lease(void)
{
	return hold_tmp_file() ?: need(fcntl(a, F_SETLEASE, F_WRLCK) == 0);
}
static int hold_pty(void)
{
	return file("/dev/ptmx", O_RDWR | O_NOCTTY);
}
static int hold_itimer(void)
{
	const struct itimerval t = {{3600, 0}, {3600, 0}};

	return need(setitimer(ITIMER_REAL, &t, NULL) == 0);
}
static int works_itimer(void)
{
	struct itimerval t;

	return need(getitimer(ITIMER_REAL, &t) == 0 && t.it_value.tv_sec > 3000);
}
static timer_t timer;
static int posix_timer(clockid_t id)
{
	const struct itimerspec t = {{3600, 0}, {3600, 0}};

	return need(timer_create(id, NULL, &timer) == 0 && timer_settime(timer, 0, &t, NULL) == 0);
}
static int hold_timer(void)
{
	return posix_timer(CLOCK_MONOTONIC);
}
static int hold_timer_cpu(void)
{
	return posix_timer(CLOCK_PROCESS_CPUTIME_ID);
}
static int works_timer(void)
{
	struct itimerspec t;

	return need(timer_gettime(timer, &t) == 0 && t.it_value.tv_sec > 3000);
}
static int hold_aio(void)
{
	static aio_context_t ctx;

	return need(syscall(SYS_io_setup, 4, &ctx) == 0);
}
static int hold_shm(void)
{
	int id = shmget(IPC_PRIVATE, 4096, 0600);

	map = shmat(id, NULL, 0);
	if (id < 0 || map == MAP_FAILED)
		return fail();
	memcpy(map, "text", 4);
	return 0;
}
static int hold_shm_unattached(void)
{
	return need(shmget(77, 4096, 0600 | IPC_CREAT) >= 0);
}
static int hold_mqueue(void)
{
	a = mq_open("/held", O_RDWR | O_CREAT, 0600, NULL);
	return need(a >= 0);
}
static int hold_mlock(void)
{
	map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memcpy(map, "text", 4);
	return need(mlock(map, 4096) == 0);
}
static int hold_filter(void)
{
	struct sock_filter code[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
	struct sock_fprog prog = {1, code};

	return need(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) == 0);
}
static void unshare_user(void)
{
	(void)unshare(CLONE_NEWUSER | CLONE_NEWNET);
}
static int hold_userns(void)
{
	int r = child(unshare_user);

	(void)usleep(100000);
	return r;
}
static void exec_tmp(void)
{
	(void)execl("/tmp/prog", "prog", "1000", NULL);
}
static int hold_exec_tmp(void)
{
	char cmd[65536];
	int in = open("/usr/bin/sleep", O_RDONLY | O_CLOEXEC), r = file("/tmp/prog", O_WRONLY | O_CREAT);
	ssize_t n;

	while (r == 0 && (n = read(in, cmd, sizeof cmd)) > 0)
		r = need(write(a, cmd, (size_t)n) == n);
	(void)close(in);
	(void)fchmod(a, 0700);
	(void)close(a);
	a = -1;
	r = r ?: child(exec_tmp);
	(void)usleep(100000);
	return r;
}
static int hold_exec_deleted(void)
{
	return hold_exec_tmp() ?: need(unlink("/tmp/prog") == 0);
}
static int hold_nothing(void)
{
	return 0;
}

#define BOTH(name, works)                 \
	{                                 \
#name, hold_##name, works \
	}
static const struct {
	const char *name;
	int (*hold)(void);
	int (*works)(void);
} kinds[] = {
	BOTH(nothing, NULL),
	BOTH(thread, NULL),
	BOTH(child, child_works),
	BOTH(session, child_works),
	BOTH(stopped, child_works),
	BOTH(zombie, NULL),
	BOTH(orphan, NULL),
	BOTH(traced, NULL),
	BOTH(pipe, pair_works),
	BOTH(pipe_half, NULL),
	BOTH(pipe_full, pair_works),
	BOTH(pipe_child, child_works),
	BOTH(unix_pair, pair_works),
	BOTH(unix_dgram, pair_works),
	BOTH(unix_packet, pair_works),
	BOTH(unix_half, NULL),
	BOTH(unix_child, child_works),
	BOTH(unix_unread, works_unix_unread),
	BOTH(tcp_pending, NULL),
	BOTH(udp_unread, NULL),
	BOTH(unix_abstract, works_unix_abstract),
	BOTH(unix_path, works_unix_path),
	BOTH(unix_pending, NULL),
	BOTH(unix_unbound, NULL),
	BOTH(unix_outside, NULL),
	BOTH(scm, NULL),
	BOTH(tcp_listen, works_tcp_listen),
	BOTH(tcp_listen6, works_tcp_listen),
	BOTH(tcp_pair, pair_works),
	BOTH(tcp_unread, works_tcp_unread),
	BOTH(tcp_child, child_works),
	BOTH(tcp_mapped, pair_works),
	BOTH(tcp_half, NULL),
	BOTH(tcp_idle, NULL),
	BOTH(tcp_outside, NULL),
	BOTH(udp, NULL),
	BOTH(udp_idle, NULL),
	BOTH(udp_outside, NULL),
	BOTH(udp_pair, pair_works),
	BOTH(netlink, NULL),
	BOTH(eventfd, works_eventfd),
	BOTH(timerfd, works_timerfd),
	BOTH(epoll, works_epoll),
	BOTH(epoll_closed, NULL),
	BOTH(signalfd, works_signalfd),
	BOTH(memfd, works_memfd),
	BOTH(memfd_mapped, works_map),
	BOTH(memfd_sealed, works_memfd),
	BOTH(memfd_noexec, works_memfd),
	BOTH(memfd_secret, NULL),
	BOTH(shared, works_map),
	BOTH(file_etc, works_file),
	BOTH(file_usr, works_file),
	BOTH(dir, NULL),
	BOTH(path, NULL),
	BOTH(tmp_file, works_memfd),
	BOTH(tmp_append, NULL),
	BOTH(tmp_dir, NULL),
	BOTH(tmp_deleted, works_memfd),
	BOTH(tmp_mapped, works_map),
	BOTH(deleted_mapped, works_map),
	BOTH(tmp_private, works_map),
	BOTH(tmpfile, works_memfd),
	BOTH(fifo, pair_works),
	BOTH(null, NULL),
	BOTH(urandom, works_urandom),
	BOTH(device_mapped, works_map),
	BOTH(proc, works_file),
	BOTH(proc_root, NULL),
	BOTH(proc_meminfo, works_file),
	BOTH(ns, NULL),
	BOTH(cwd_tmp, NULL),
	BOTH(cwd_deleted, NULL),
	BOTH(inotify, works_inotify),
	BOTH(inotify_empty, NULL),
	BOTH(fanotify, NULL),
	BOTH(io_uring, NULL),
	BOTH(userfaultfd, NULL),
	BOTH(perf, NULL),
	BOTH(bpf, NULL),
	BOTH(pidfd_self, works_pidfd),
	BOTH(pidfd_child, works_pidfd),
	BOTH(pidfd_init, NULL),
	BOTH(flock, NULL),
	BOTH(posix_lock, NULL),
	BOTH(ofd_lock, NULL),
	BOTH(lease, NULL),
	BOTH(pty, NULL),
	BOTH(itimer, works_itimer),
	BOTH(timer, works_timer),
	BOTH(timer_cpu, works_timer),
	BOTH(aio, NULL),
	BOTH(shm, works_map),
	BOTH(shm_unattached, NULL),
	BOTH(mqueue, NULL),
	BOTH(mlock, works_map),
	BOTH(filter, NULL),
	BOTH(userns, child_works),
	BOTH(exec_tmp, child_works),
	BOTH(exec_deleted, child_works),
};
enum { N_KINDS = sizeof kinds / sizeof *kinds };

static bool wanted(const char *name)
{
	const char *hold = getenv("HOLD");
	size_t len = strlen(name);

	for (; hold; hold = strchr(hold, ',') ? strchr(hold, ',') + 1 : NULL) {
		if (strncmp(hold, name, len) == 0 && (hold[len] == '\0' || hold[len] == ','))
			return true;
	}
	return false;
}

int fsbox_init(void)
{
	if (!in_cell())
		return ENOTSUP;
	for (size_t i = 0; i < N_KINDS; i++) {
		if (!wanted(kinds[i].name))
			continue;
		errno = 0;

		int r = kinds[i].hold();
		if (r) {
			printf("cannot hold %s: %s\n", kinds[i].name, strerror(r));
			(void)fflush(stdout);
			return r;
		}
	}
	return 0;
}

static const char *check(char *text, size_t size)
{
	for (size_t i = 0; i < N_KINDS; i++) {
		int r = 0;

		errno = 0;
		if (wanted(kinds[i].name) && kinds[i].works)
			r = kinds[i].works();
		if (r) {
			(void)snprintf(text, size, "%s: %s", kinds[i].name, strerror(r));
			return text;
		}
	}
	return "ok";
}

int fsbox_handler(fsbox_call *call)
{
	char text[256];

	if (event_has(call, "hold")) {
		printf("holding\n");
		(void)fflush(stdout);
		(void)forever(NULL);
	}
	while (event_has(call, "tick")) {
		printf("tick %s\n", check(text, sizeof text));
		(void)fflush(stdout);
		(void)usleep(500000);
	}

	const char *said = check(text, sizeof text);
	return fsbox_respond(call, said, strlen(said)) < 0;
}
