/* What a hostile container runs while somebody executes a program in it: for every new process that it sees it tries to
 * reach what that process holds of the host.
 *
 *     intruder MARKER proc|ptrace    prints one line for each way that led to the file MARKER of the host
 *
 * The ways: its root directory, its working directory, every descriptor that is a directory (with as many ".." as it
 * takes), and ptrace(2). Static; made for the root of a user namespace. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *marker;
static int found[3]; /* one line for each kind of way is enough */

static void report(int kind, const char *how, const char *path)
{
	if (found[kind]++ == 0)
		printf("INTRUDED by %s: %s\n", how, path);
	fflush(stdout);
}

static void try_path(int pid, const char *what)
{
	char path[4096];

	(void)snprintf(path, sizeof path, "/proc/%d/%s/../../../../../../../..%s", pid, what, marker);
	if (access(path, F_OK) == 0)
		report(strncmp(what, "fd/", 3) == 0, what, path);
}

static void try_descriptors(int pid)
{
	char what[16];

	for (int fd = 3; fd < 24; fd++) {
		(void)snprintf(what, sizeof what, "fd/%d", fd);
		try_path(pid, what);
	}
}

static void try_ptrace(int pid)
{
	char exe[64], name[256] = "";
	int status;

	(void)snprintf(exe, sizeof exe, "/proc/%d/exe", pid);
	if (ptrace(PTRACE_ATTACH, pid, 0, 0) < 0)
		return;
	if (waitpid(pid, &status, __WALL) == pid) {
		if (readlink(exe, name, sizeof name - 1) > 0 && !strstr(name, "busybox"))
			report(2, "ptrace", name);
		(void)ptrace(PTRACE_DETACH, pid, 0, 0);
		/* It may have stopped for another signal first, and would stop for that of the attachment now, for good. */
		(void)kill(pid, SIGCONT);
	}
}

int main(int argc, char **argv)
{
	const int self = getpid();
	int last = self;

	if (argc < 3)
		return 2;
	marker = argv[1];
	(void)puts("ready");
	(void)fflush(stdout);
	/* Numbers go up by one: the next one is asked for before it is there. */
	for (;;) {
		char path[64];

		for (int pid = last + 1; pid < last + 8; pid++) {
			(void)snprintf(path, sizeof path, "/proc/%d", pid);
			if (access(path, F_OK) < 0)
				continue;
			for (int i = 0; i < 200 && access(path, F_OK) == 0; i++) {
				try_path(pid, "root");
				try_path(pid, "cwd");
				try_descriptors(pid);
			}
			if (strcmp(argv[2], "ptrace") == 0)
				try_ptrace(pid);
			last = pid;
			break;
		}
	}
}
