/* Reaches for processes outside. The event holds their pids as the host knows them. Answers {"kill":[errno,…],
 * "ptrace":[errno,…],"pidfd":[errno,…],"all":errno of kill(-1, 0),"init":…,"oom":…,"nice":…,"rlimit":…}. */
#include "out.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), code;

	if (fd < 0)
		return errno;
	code = write(fd, text, strlen(text)) < 0 ? errno : 0;
	(void)close(fd);
	return code;
}

int fsbox_handler(fsbox_call *call)
{
	const char *p = fsbox_event(call, NULL);
	struct rlimit more = {1 << 20, 1 << 20};
	struct out o = {0}, k = {0}, t = {0}, f = {0};

	out_bytes(&k, "[", 1);
	out_bytes(&t, "[", 1);
	out_bytes(&f, "[", 1);
	while (*(p += strcspn(p, "0123456789"))) {
		pid_t pid = 0;
		int fd;

		for (const char *digit = p; *digit >= '0' && *digit <= '9'; digit++)
			pid = pid * 10 + (*digit - '0');
		out_number(&k, NULL, kill(pid, SIGTERM) < 0 ? errno : 0);
		out_number(&t, NULL, ptrace(PTRACE_SEIZE, pid, NULL, NULL) < 0 ? errno : 0);
		fd = (int)syscall(SYS_pidfd_open, pid, 0);
		out_number(&f, NULL, fd < 0 ? errno : 0);
		if (fd >= 0)
			(void)close(fd);
		p += strspn(p, "0123456789");
	}
	out_text(&o, "{\"kill\":%s],\"ptrace\":%s],\"pidfd\":%s]", k.data, t.data, f.data);
	/* a harmless signal to everybody we may signal: our own cell, nobody else */
	out_number(&o, "all", kill(-1, SIGCONT) < 0 ? errno : 0);
	(void)kill(1, SIGKILL);
	(void)kill(1, SIGSTOP);
	(void)kill(1, SIGSEGV);
	out_number(&o, "init", kill(1, 0) < 0 ? errno : 0);
	out_number(&o, "oomLower", write_text("/proc/self/oom_score_adj", "-1000"));
	out_number(&o, "oomOfInit", write_text("/proc/1/oom_score_adj", "-1000"));
	out_number(&o, "nice", setpriority(PRIO_PROCESS, 0, -5) < 0 ? errno : 0);
	out_number(&o, "realtime",
		   sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){.sched_priority = 1}) < 0 ? errno : 0);
	out_number(&o, "rlimit", setrlimit(RLIMIT_NOFILE, &more) < 0 ? errno : 0);
	out_number(&o, "core", setrlimit(RLIMIT_CORE, &more) < 0 ? errno : 0);
	out_number(&o, "corePattern", write_text("/proc/sys/kernel/core_pattern", "|/tmp/x"));
	out_number(&o, "sysrq", write_text("/proc/sysrq-trigger", "h"));
	out_number(&o, "uidMap", write_text("/proc/self/uid_map", "0 0 1"));
	out_number(&o, "setgroups", write_text("/proc/self/setgroups", "allow"));
	out_bytes(&o, "}", 1);
	free(k.data);
	free(t.data);
	free(f.data);
	return out_answer(call, &o);
}
