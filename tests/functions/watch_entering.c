/* What a hostile function can get of a process that enters its cell (fsbox exec): for as many milliseconds as the event
 * says it tries, at every process but its own and PID 1, what would lead out. Answers {"looks":N, "exe":[…], "fd":[…],
 * "dir":[…], "words":[…], "got":N}: where the links lead that it could read, command lines, and how many descriptors
 * it could take. */
#include "out.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MAX_SEEN = 256 };

struct seen {
	char *text[MAX_SEEN];
	size_t n;
};

static void see(struct seen *s, const char *text)
{
	for (size_t i = 0; i < s->n; i++)
		if (strcmp(s->text[i], text) == 0)
			return;
	if (s->n < MAX_SEEN)
		s->text[s->n++] = strdup(text);
}

static void look(struct seen *s, const char *pid, const char *what)
{
	char path[64], link[512];
	ssize_t n;

	(void)snprintf(path, sizeof path, "/proc/%s/%s", pid, what);
	n = readlink(path, link, sizeof link - 1);
	if (n <= 0)
		return;
	link[n] = '\0';
	see(s, link);
}

/* Readable for everybody, whatever the process is. */
static void look_at_words(struct seen *s, const char *pid)
{
	char path[64], words[4096];
	ssize_t n;
	int fd;

	(void)snprintf(path, sizeof path, "/proc/%s/cmdline", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : read(fd, words, sizeof words - 1);
	if (fd >= 0)
		(void)close(fd);
	for (ssize_t i = 0; i < n; i++)
		words[i] = words[i] ? words[i] : ' ';
	if (n <= 0)
		return;
	words[n] = '\0';
	see(s, words);
}

/* As a debugger would. Where the policy refuses the calls there is less to try. */
static int take(int pid)
{
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0), n = 0;

	for (int fd = 0; pidfd >= 0 && fd < 16; fd++) {
		int got = (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);
		char path[32], link[512];
		ssize_t len;

		if (got < 0)
			continue;
		(void)snprintf(path, sizeof path, "/proc/self/fd/%d", got);
		len = readlink(path, link, sizeof link - 1);
		/* Not a device, nor what the command itself reads: directories and the groups' files would help. */
		if (len > 0 && link[0] == '/' && strncmp(link, "/dev/", 5) != 0 && strncmp(link, "/usr/", 5) != 0 &&
		    strncmp(link, "/etc/", 5) != 0)
			n++;
		(void)close(got);
	}
	if (pidfd >= 0)
		(void)close(pidfd);
	return n;
}

static void put(struct out *o, const char *key, struct seen *s)
{
	out_key(o, key);
	out_bytes(o, "[", 1);
	for (size_t i = 0; i < s->n; i++) {
		out_key(o, NULL);
		out_string(o, s->text[i], strlen(s->text[i]));
		free(s->text[i]);
	}
	out_bytes(o, "]", 1);
	s->n = 0;
}

int fsbox_handler(fsbox_call *call)
{
	const uint64_t end = time_ns(CLOCK_MONOTONIC) + (uint64_t)event_number(call, 500) * 1000000;
	static struct seen exe, fd, dir, words;
	struct out o = {0};
	long looks = 0;
	int got = 0;

	while (time_ns(CLOCK_MONOTONIC) < end) {
		DIR *proc = opendir("/proc");

		for (struct dirent *d; proc && (d = readdir(proc));) {
			char name[24];
			int pid = 0;

			for (const char *p = d->d_name; isdigit((unsigned char)*p); p++)
				pid = pid * 10 + (*p - '0');
			if (pid <= 1 || pid == getpid())
				continue;
			looks++;
			look(&exe, d->d_name, "exe");
			look_at_words(&words, d->d_name);
			look(&dir, d->d_name, "cwd");
			look(&dir, d->d_name, "root");
			for (int i = 0; i < 16; i++) {
				(void)snprintf(name, sizeof name, "fd/%d", i);
				look(&fd, d->d_name, name);
			}
			got += take(pid);
		}
		if (proc)
			(void)closedir(proc);
	}
	out_text(&o, "{");
	out_number(&o, "looks", looks);
	out_number(&o, "got", got);
	put(&o, "exe", &exe);
	put(&o, "fd", &fd);
	put(&o, "dir", &dir);
	put(&o, "words", &words);
	out_text(&o, "}");
	return out_answer(call, &o);
}
