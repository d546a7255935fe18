/* Control groups: what each file does to real processes. Most of it needs cgroup2 with its controllers; where those are on
 * v1 the rows of v1's substitutes say the same. The groups made here are called fsbox-test-kernel-PID. */
#include "tests/kernel/feature.h"

#include <poll.h>
#include <sys/mman.h>

#define MIB (UINT64_C(1) << 20)

static struct cg_host host;
static pid_t owner; /* of the group: children use it too */

/* The path of @file in this program's group below @root; NULL file: the group. Static buffers, used in turn. */
static const char *in_group(const char *root, const char *file)
{
	static char path[4][300];
	static unsigned turn;
	char *p = path[turn++ % ARRAY_LEN(path)];

	(void)snprintf(p, sizeof path[0], "%s/fsbox-test-kernel-%d%s%s", root, owner, file ? "/" : "",
		       file ? file : "");
	return p;
}

static const char *v2(const char *file)
{
	return in_group(host.v2_root, file);
}

static bool make_group(void)
{
	char control[200];

	(void)snprintf(control, sizeof control, "%s/cgroup.subtree_control", host.v2_root);
	if (host.mode == CG_V2 && !put_file(control, "+memory +cpu +pids"))
		return false;
	return mkdir(v2(NULL), 0755) == 0;
}

/* Removal waits for processes that are still on their way out. */
static void remove_group(const char *root)
{
	for (int i = 0; i < slow(200) && rmdir(in_group(root, NULL)) < 0 && errno == EBUSY; i++)
		nap_ms(10);
}

/* A child born in the group that runs @fn. */
static pid_t born_in_group(void (*fn)(void))
{
	AUTO_FD int dir = open(v2(NULL), O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct clone_args args = {.flags = CLONE_INTO_CGROUP, .cgroup = (uint64_t)dir, .exit_signal = SIGCHLD};

	(void)fflush(NULL);
	pid_t pid = sys_clone3(&args);
	if (pid == 0) {
		(void)alarm(30);
		fn();
		_exit(0);
	}
	return pid;
}

static void wait_for_ever(void)
{
	for (;;)
		(void)pause();
}

static bool ended_by(pid_t pid, int sig)
{
	int status = 0;

	return pid > 0 && waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == sig;
}

/* The number after @key in a flat keyed file, or of the whole file; UINT64_MAX when there is none. */
static uint64_t number(const char *file, const char *key)
{
	const char *at = get_file(v2(file));
	uint64_t n = 0;

	if (key) {
		at = strstr(at, key);
		if (!at)
			return UINT64_MAX;
		at += strlen(key);
	}
	if (*at < '0' || *at > '9')
		return UINT64_MAX;
	for (; *at >= '0' && *at <= '9'; at++)
		n = n * 10 + (uint64_t)(*at - '0');
	return n;
}

/* @body runs with a fresh group of cgroup2, which a hybrid host has too, but without controllers. */
static enum has with_core(bool (*body)(void))
{
	struct err e = {0};

	if (geteuid() != 0)
		return NO_ROOT;
	owner = getpid();
	if (cg_host_probe(&host, &e) < 0 || host.v2_root[0] == '\0')
		return ELSEWHERE;

	bool ok = make_group() && body();
	remove_group(host.v2_root);
	return ok ? HAS : HAS_NOT;
}

/* The same where cgroup2 has the controllers. */
static enum has with_group(bool (*body)(void))
{
	struct err e = {0};

	if (geteuid() == 0 && (cg_host_probe(&host, &e) < 0 || host.mode != CG_V2))
		return ELSEWHERE;
	return with_core(body);
}

/* ---- Core ---- */

static bool is_born_inside(void)
{
	pid_t pid = born_in_group(wait_for_ever);
	bool inside = pid > 0 && number("cgroup.procs", NULL) == (uint64_t)pid;

	if (pid > 0)
		(void)kill(pid, SIGKILL);
	return ended_by(pid, SIGKILL) && inside;
}

FEATURE(clone_into_cgroup, "CLONE_INTO_CGROUP", "a cell begins in its group", NULL)
{
	return with_core(is_born_inside);
}

static bool kills_all(void)
{
	pid_t a = born_in_group(wait_for_ever), b = born_in_group(wait_for_ever);

	return a > 0 && b > 0 && put_file(v2("cgroup.kill"), "1") && ended_by(a, SIGKILL) && ended_by(b, SIGKILL);
}

FEATURE(cgroup_kill, "cgroup.kill", "ends all processes of a cell at once", "a signal to each until none is left")
{
	return with_core(kills_all);
}

static bool holds_and_kills_frozen(void)
{
	pid_t pid = born_in_group(wait_for_ever);
	bool frozen = false;

	if (pid < 0 || !put_file(v2("cgroup.freeze"), "1"))
		return false;
	for (int i = 0; i < slow(500) && !frozen; i++) {
		frozen = number("cgroup.events", "frozen ") == 1;
		nap_ms(2);
	}
	(void)kill(pid, SIGKILL);
	return ended_by(pid, SIGKILL) && frozen; /* unlike v1's freezer it does not keep SIGKILL waiting */
}

FEATURE(cgroup_freeze, "cgroup.freeze", "pauses a cell; a paused one can still be killed", "no pausing")
{
	return with_core(holds_and_kills_frozen);
}

static bool tells_when_empty(void)
{
	AUTO_FD int fd = open(v2("cgroup.events"), O_RDONLY | O_CLOEXEC);
	struct pollfd p = {.fd = fd, .events = POLLPRI};
	char text[64];
	pid_t pid = born_in_group(wait_for_ever);
	bool populated = number("cgroup.events", "populated ") == 1;

	if (pid < 0 || fd < 0 || read(fd, text, sizeof text) <= 0)
		return false;
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
	return populated && poll(&p, 1, 5000) == 1 && number("cgroup.events", "populated ") == 0;
}

FEATURE(populated_event, "cgroup.events wakes poll(2)", "knows when the last process has gone", NULL)
{
	return with_core(tells_when_empty);
}

static bool is_hidden_by_namespace(void)
{
	AUTO_FREE char *before = strdup(get_file("/proc/self/cgroup"));

	return before && strstr(before, "fsbox-test-kernel-") && unshare(CLONE_NEWCGROUP) == 0 &&
	       !strstr(get_file("/proc/self/cgroup"), "fsbox-test-kernel-");
}

static void look_hidden(void)
{
	_exit(is_hidden_by_namespace() ? 0 : 1);
}

static bool hides_path(void)
{
	int status = 1;
	pid_t pid = born_in_group(look_hidden);

	return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

FEATURE(cgroup_namespace, "cgroup namespaces", "a cell's group looks like the root", NULL)
{
	return with_core(hides_path);
}

/* ---- Memory ---- */

static void touch(uint64_t bytes)
{
	char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p != MAP_FAILED)
		for (uint64_t i = 0; i < bytes; i += 4096)
			p[i] = 1;
}

static void touch_8(void)
{
	touch(8 * MIB);
}

static void touch_64(void)
{
	touch(64 * MIB);
}

static bool limit_memory(void)
{
	return put_file(v2("memory.max"), "33554432") && put_file(v2("memory.oom.group"), "1") &&
	       (put_file(v2("memory.swap.max"), "0") || errno == ENOENT);
}

static bool kills_group_at_limit(void)
{
	pid_t idle, big;

	if (!limit_memory())
		return false;
	idle = born_in_group(wait_for_ever);
	big = born_in_group(touch_64);
	return ended_by(big, SIGKILL) && ended_by(idle, SIGKILL) && number("memory.events", "oom_kill ") >= 1;
}

FEATURE(memory_limit, "memory.max, memory.oom.group, memory.events oom_kill",
	"--mem; running out ends all of the cell and is told", NULL)
{
	return with_group(kills_group_at_limit);
}

static bool remembers_peak(void)
{
	pid_t pid = born_in_group(touch_8);
	uint64_t peak;

	(void)waitpid(pid, NULL, 0);
	peak = number("memory.peak", NULL);
	return peak != UINT64_MAX && peak >= 8 * MIB && peak < 32 * MIB;
}

FEATURE(memory_peak, "memory.peak", "Max Memory Used at its peak", "the usage at the end of the call")
{
	return with_group(remembers_peak);
}

static bool has_swap_limit(void)
{
	return put_file(v2("memory.swap.max"), "0") && number("memory.swap.max", NULL) == 0;
}

FEATURE(swap_limit, "memory.swap.max", "no swap beyond --mem", "none is needed where there is no swap")
{
	return with_group(has_swap_limit);
}

static void fill_tmpfs(void)
{
	static char block[65536];

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", "/tmp", "tmpfs", 0, "size=128m") < 0)
		_exit(1);
	int fd = open("/tmp/fill", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	for (int i = 0; fd >= 0 && i < 1024; i++)
		(void)!write(fd, block, sizeof block);
	_exit(0);
}

static bool counts_tmpfs(void)
{
	if (!limit_memory())
		return false;
	return ended_by(born_in_group(fill_tmpfs), SIGKILL) && number("memory.events", "oom_kill ") >= 1;
}

FEATURE(tmpfs_counts_as_memory, "pages of a tmpfs count for the group that wrote them", "/tmp lies within --mem", NULL)
{
	return with_group(counts_tmpfs);
}

/* ---- CPU and processes ---- */

static void burn(void)
{
	uint64_t end = clock_mono_ns() + 1200 * NS_PER_MS;

	while (clock_mono_ns() < end)
		;
}

static bool limits_cpu(void)
{
	uint64_t used_ns;

	if (!put_file(v2("cpu.max"), "2000 10000"))
		return false;
	pid_t pid = born_in_group(burn);
	(void)waitpid(pid, NULL, 0);
	used_ns = number("cpu.stat", "usage_usec ") * 1000;
	tap_note("used %" PRIu64 " ms in 1200 ms at a fifth of a CPU", used_ns / NS_PER_MS);
	return pid > 0 && used_ns > 100 * NS_PER_MS && used_ns < 360 * NS_PER_MS;
}

FEATURE(cpu_limit, "cpu.max, cpu.stat", "the share of CPU that follows --mem", NULL)
{
	return with_group(limits_cpu);
}

static bool takes_weight(void)
{
	return put_file(v2("cpu.weight"), "29") && number("cpu.weight", NULL) == 29;
}

FEATURE(cpu_weight, "cpu.weight", "shares of a busy host", NULL)
{
	return with_group(takes_weight);
}

static void fork_too_many(void)
{
	for (int i = 0; i < 8; i++)
		if (fork() == 0)
			wait_for_ever();
	wait_for_ever();
}

static bool limits_processes(void)
{
	pid_t pid;
	bool denied = false;

	if (!put_file(v2("pids.max"), "4"))
		return false;
	pid = born_in_group(fork_too_many);
	for (int i = 0; i < slow(500) && !denied; i++) {
		uint64_t n = number("pids.events", "max ");

		denied = n != UINT64_MAX && n >= 5 && number("pids.current", NULL) == 4;
		nap_ms(2);
	}
	(void)put_file(v2("cgroup.kill"), "1");
	return ended_by(pid, SIGKILL) && denied;
}

FEATURE(pids_limit, "pids.max, pids.events", "--pids", NULL)
{
	return with_group(limits_processes);
}

/* ---- Delegation ---- */

#define USER 65534

static void use_as_user(void)
{
	char inner[400], elsewhere[400];

	(void)snprintf(inner, sizeof inner, "%s/inner", v2(NULL));
	(void)snprintf(elsewhere, sizeof elsewhere, "%s/cgroup.procs", host.v2_root);
	if (syscall(SYS_setresgid, USER, USER, USER) < 0 || syscall(SYS_setresuid, USER, USER, USER) < 0)
		_exit(1);
	/* Groups and their controllers are his; the limits of his own group and the way out of it are not. */
	bool ok = mkdir(inner, 0755) == 0 && !put_file(v2("memory.max"), "max") && !put_file(elsewhere, "0");
	(void)rmdir(inner);
	_exit(ok ? 0 : 1);
}

static bool can_be_delegated(void)
{
	static const char *const files[] = {NULL, "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"};
	int status = 1;

	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		if (chown(v2(files[i]), USER, USER) < 0)
			return false;
	pid_t pid = born_in_group(use_as_user);
	return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

FEATURE(delegation, "delegation by ownership (cgroups(7))", "limits for ordinary users", "--no-limits")
{
	return with_group(can_be_delegated);
}

static bool refuses_internal_processes(void)
{
	char control[300];
	pid_t pid = born_in_group(wait_for_ever);
	bool busy;

	(void)snprintf(control, sizeof control, "%s", v2("cgroup.subtree_control"));
	busy = !put_file(control, "+memory") && errno == EBUSY;
	(void)kill(pid, SIGKILL);
	return ended_by(pid, SIGKILL) && busy;
}

FEATURE(no_internal_processes, "groups with processes hand no controllers down (EBUSY)",
	"fsbox moves itself aside in a delegated group", "nothing has to be moved")
{
	return with_group(refuses_internal_processes);
}

/* ---- v1's substitutes ---- */

/* As with_group(), in the v1 hierarchy @h. */
static enum has with_v1(enum cg_v1 h, bool (*body)(const char *root))
{
	struct err e = {0};

	if (geteuid() != 0)
		return NO_ROOT;
	owner = getpid();
	if (cg_host_probe(&host, &e) < 0 || host.mode != CG_HYBRID)
		return ELSEWHERE;

	const char *root = host.v1_root[h];
	bool ok = mkdir(in_group(root, NULL), 0755) == 0 && body(root);
	remove_group(root);
	return ok ? HAS : HAS_NOT;
}

/* A child that enters the group by itself, as a cell's first process does, and runs @fn. */
static pid_t enters_group(const char *root, void (*fn)(void))
{
	(void)fflush(NULL);
	pid_t pid = fork();

	if (pid == 0) {
		(void)alarm(30);
		if (!put_file(in_group(root, "cgroup.procs"), "0"))
			_exit(1);
		fn();
		_exit(0);
	}
	return pid;
}

static bool v1_kills_at_limit(const char *root)
{
	if (!put_file(in_group(root, "memory.limit_in_bytes"), "33554432") ||
	    !put_file(in_group(root, "memory.swappiness"), "0"))
		return false;
	return ended_by(enters_group(root, touch_64), SIGKILL) &&
	       strstr(get_file(in_group(root, "memory.oom_control")), "oom_kill 1");
}

FEATURE(v1_memory, "v1: memory.limit_in_bytes, oom_control's oom_kill", "--mem on hybrid hosts", NULL)
{
	return with_v1(CG_V1_MEMORY, v1_kills_at_limit);
}

static bool v1_limits_cpu(const char *root)
{
	if (!put_file(in_group(root, "cpu.cfs_period_us"), "10000") ||
	    !put_file(in_group(root, "cpu.cfs_quota_us"), "2000"))
		return false;
	pid_t pid = enters_group(root, burn);
	(void)waitpid(pid, NULL, 0);
	return pid > 0 && !strstr(get_file(in_group(root, "cpu.stat")), "nr_throttled 0");
}

FEATURE(v1_cpu, "v1: cpu.cfs_quota_us", "the share of CPU on hybrid hosts", NULL)
{
	return with_v1(CG_V1_CPU, v1_limits_cpu);
}

static void fork_once(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	_exit(pid < 0 && errno == EAGAIN ? 0 : 1);
}

static bool v1_limits_processes(const char *root)
{
	int status = 1;

	if (!put_file(in_group(root, "pids.max"), "1"))
		return false;
	pid_t pid = enters_group(root, fork_once);
	return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

FEATURE(v1_pids, "v1: pids.max", "--pids on hybrid hosts", NULL)
{
	return with_v1(CG_V1_PIDS, v1_limits_processes);
}
