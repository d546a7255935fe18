/* Answers a JSON document of everything that a process can see of its cell: identity, capabilities, descriptors,
 * environment, signals, mounts, namespaces, network, limits, keyring, files. The system tests read it. */
#include "out.h"

#include <stdio.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/ioctl.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

extern char **environ;

static size_t slurp(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	ssize_t n = 0;

	while (fd >= 0 && len + 1 < size && (n = read(fd, text + len, size - 1 - len)) > 0)
		len += (size_t)n;
	if (fd >= 0)
		(void)close(fd);
	text[len] = '\0';
	return len;
}

/* An array of the file's lines. */
static void lines(struct out *o, const char *key, const char *path)
{
	static char text[262144];
	char *save = NULL, *line;

	(void)slurp(path, text, sizeof text);
	out_key(o, key);
	out_bytes(o, "[", 1);
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		out_key(o, NULL);
		out_string(o, line, strlen(line));
	}
	out_bytes(o, "]", 1);
}

static void whole(struct out *o, const char *key, const char *path)
{
	char text[4096];
	size_t len = slurp(path, text, sizeof text);

	while (len && (text[len - 1] == '\n' || text[len - 1] == '\0'))
		len--;
	out_key(o, key);
	out_string(o, text, len);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static void listing(struct out *o, const char *key, const char *path)
{
	struct dirent **names = NULL;
	int n = scandir(path, &names, NULL, by_name);

	out_key(o, key);
	out_bytes(o, "[", 1);
	for (int i = 0; i < n; i++) {
		const char *name = names[i]->d_name;

		if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0) {
			out_key(o, NULL);
			out_string(o, name, strlen(name));
		}
		free(names[i]);
	}
	free(names);
	out_bytes(o, "]", 1);
}

static void identity(struct out *o)
{
	gid_t groups[256];
	int n = getgroups(256, groups);
	uid_t ruid, euid, suid;
	gid_t rgid, egid, sgid;

	(void)getresuid(&ruid, &euid, &suid);
	(void)getresgid(&rgid, &egid, &sgid);
	out_number(o, "uid", ruid);
	out_number(o, "euid", euid);
	out_number(o, "suid", suid);
	out_number(o, "gid", rgid);
	out_number(o, "egid", egid);
	out_number(o, "sgid", sgid);
	out_key(o, "groups");
	out_bytes(o, "[", 1);
	for (int i = 0; i < n; i++)
		out_number(o, NULL, groups[i]);
	out_bytes(o, "]", 1);
	out_number(o, "pid", getpid());
	out_number(o, "ppid", getppid());
	out_number(o, "sid", getsid(0));
	out_number(o, "pgid", getpgrp());
}

/* Every line of /proc/self/status: CapEff, NoNewPrivs, Seccomp, SigBlk, SigIgn, SigCgt and the rest. */
static void status(struct out *o)
{
	char text[8192], *save = NULL, *line;

	(void)slurp("/proc/self/status", text, sizeof text);
	out_key(o, "status");
	out_bytes(o, "{", 1);
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *value = strchr(line, ':');

		if (!value)
			continue;
		*value++ = '\0';
		out_pair(o, line, value + strspn(value, " \t"));
	}
	out_bytes(o, "}", 1);
}

static void links(struct out *o, const char *key, const char *dir, bool only_numbers)
{
	struct dirent **names = NULL;
	int n = scandir(dir, &names, NULL, by_name);

	out_key(o, key);
	out_bytes(o, "{", 1);
	for (int i = 0; i < n; i++) {
		char path[512], target[4096];
		ssize_t len;

		(void)snprintf(path, sizeof path, "%s/%s", dir, names[i]->d_name);
		len = readlink(path, target, sizeof target - 1);
		/* scandir's own descriptor is closed by now, and its name leads nowhere */
		if (len > 0 && (!only_numbers || names[i]->d_name[0] != '.')) {
			target[len] = '\0';
			out_pair(o, names[i]->d_name, target);
		}
		free(names[i]);
	}
	free(names);
	out_bytes(o, "}", 1);
}

static void descriptor_flags(struct out *o)
{
	out_key(o, "fdFlags");
	out_bytes(o, "{", 1);
	for (int fd = 0; fd < 64; fd++) {
		char name[16];

		if (fcntl(fd, F_GETFL) < 0)
			continue;
		(void)snprintf(name, sizeof name, "%d", fd);
		out_key(o, name);
		out_text(o, "{\"fd\":%d,\"fl\":%d}", fcntl(fd, F_GETFD), fcntl(fd, F_GETFL));
	}
	out_bytes(o, "}", 1);
}

static void environment(struct out *o)
{
	out_key(o, "env");
	out_bytes(o, "[", 1);
	for (char **p = environ; *p; p++) {
		out_key(o, NULL);
		out_string(o, *p, strlen(*p));
	}
	out_bytes(o, "]", 1);
}

/* Without netlink, which the default policy refuses: /proc/net/dev has the names, an ioctl the flags. */
static void network(struct out *o)
{
	FILE *f = fopen("/proc/net/dev", "re");
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char names[16][IFNAMSIZ], line[512];
	size_t n = 0;

	while (f && n < 16 && fgets(line, sizeof line, f))
		n += strchr(line, ':') && sscanf(line, " %15[^: ]", names[n]) == 1;
	if (f)
		(void)fclose(f);
	out_key(o, "interfaces");
	out_bytes(o, "[", 1);
	for (size_t i = 0; i < n; i++) {
		out_key(o, NULL);
		out_string(o, names[i], strlen(names[i]));
	}
	out_bytes(o, "]", 1);
	out_key(o, "addresses");
	out_bytes(o, "[", 1);
	for (size_t i = 0; i < n; i++) {
		struct ifreq r = {0};

		memcpy(r.ifr_name, names[i], sizeof r.ifr_name);
		if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &r) < 0)
			continue;
		const bool up = r.ifr_flags & IFF_UP, running = r.ifr_flags & IFF_RUNNING;
		const bool addressed = ioctl(fd, SIOCGIFADDR, &r) == 0;

		out_key(o, NULL);
		out_text(o, "{\"name\":\"%s\",\"family\":%d,\"up\":%s,\"running\":%s}", names[i],
			 addressed ? r.ifr_addr.sa_family : -1, up ? "true" : "false", running ? "true" : "false");
	}
	out_bytes(o, "]", 1);
	if (fd >= 0)
		(void)close(fd);
}

static void limits(struct out *o)
{
	/* clang-format off */
	static const struct { const char *name; int which; } all[] = {
		{ "as", RLIMIT_AS }, { "core", RLIMIT_CORE }, { "cpu", RLIMIT_CPU }, { "data", RLIMIT_DATA },
		{ "fsize", RLIMIT_FSIZE }, { "locks", RLIMIT_LOCKS }, { "memlock", RLIMIT_MEMLOCK },
		{ "msgqueue", RLIMIT_MSGQUEUE }, { "nice", RLIMIT_NICE }, { "nofile", RLIMIT_NOFILE },
		{ "nproc", RLIMIT_NPROC }, { "rss", RLIMIT_RSS }, { "rtprio", RLIMIT_RTPRIO },
		{ "rttime", RLIMIT_RTTIME }, { "sigpending", RLIMIT_SIGPENDING }, { "stack", RLIMIT_STACK },
	};
	/* clang-format on */

	out_key(o, "rlimits");
	out_bytes(o, "{", 1);
	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
		struct rlimit r = {0};

		(void)getrlimit((__rlimit_resource_t)all[i].which, &r);
		out_key(o, all[i].name);
		out_text(o, "[%lld,%lld]", r.rlim_cur == RLIM_INFINITY ? -1LL : (long long)r.rlim_cur,
			 r.rlim_max == RLIM_INFINITY ? -1LL : (long long)r.rlim_max);
	}
	out_bytes(o, "}", 1);
}

/* A number of 0 or more, or the negative errno: what the kernel says of this process. */
static long long said(long r)
{
	return r < 0 ? -errno : r;
}

static void process(struct out *o)
{
	cpu_set_t cpus;
	mode_t mask = umask(0);

	(void)umask(mask);
	out_number(o, "umask", mask);
	out_number(o, "nice", getpriority(PRIO_PROCESS, 0));
	out_number(o, "cpus", sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? CPU_COUNT(&cpus) : -1);
	out_number(o, "cpusOnline", sysconf(_SC_NPROCESSORS_ONLN));
	out_number(o, "dumpable", said(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0)));
	out_number(o, "securebits", said(prctl(PR_GET_SECUREBITS, 0, 0, 0, 0)));
	out_number(o, "keyringSession", said(syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0)));
	out_number(o, "keyringUser", said(syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_USER_KEYRING, 0)));
	whole(o, "oomScoreAdj", "/proc/self/oom_score_adj");
	whole(o, "coredumpFilter", "/proc/self/coredump_filter");
	whole(o, "corePattern", "/proc/sys/kernel/core_pattern");
	whole(o, "initCmdline", "/proc/1/cmdline");
	whole(o, "initComm", "/proc/1/comm");
	whole(o, "bootId", "/proc/sys/kernel/random/boot_id");
}

static void host(struct out *o)
{
	struct utsname u;
	char cwd[4096];

	if (uname(&u) == 0) {
		out_pair(o, "hostname", u.nodename);
		out_pair(o, "domainname", u.domainname);
		out_pair(o, "machine", u.machine);
	}
	out_pair(o, "cwd", getcwd(cwd, sizeof cwd) ? cwd : "");
	lines(o, "cgroup", "/proc/self/cgroup");
	lines(o, "mounts", "/proc/self/mountinfo");
	lines(o, "uidMap", "/proc/self/uid_map");
	lines(o, "gidMap", "/proc/self/gid_map");
	lines(o, "passwd", "/etc/passwd");
	lines(o, "hosts", "/etc/hosts");
	listing(o, "root", "/");
	listing(o, "etc", "/etc");
	listing(o, "dev", "/dev");
	listing(o, "proc", "/proc");
	listing(o, "sys", "/sys");
	listing(o, "tmp", "/tmp");
	listing(o, "task", "/var/task");
}

int fsbox_handler(fsbox_call *call)
{
	struct out o = {0};

	out_bytes(&o, "{", 1);
	identity(&o);
	status(&o);
	links(&o, "fds", "/proc/self/fd", true);
	descriptor_flags(&o);
	environment(&o);
	links(&o, "namespaces", "/proc/self/ns", false);
	network(&o);
	limits(&o);
	process(&o);
	host(&o);
	out_bytes(&o, "}", 1);
	return out_answer(call, &o);
}
