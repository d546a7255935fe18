/* Touches files where a cell must not let it. The event says what:
 *   write         creates a file in many places             {"write":{"/usr/probe":30,…}}: errno
 *   masks         reads what tells of the machine           {"masks":{"/proc/kcore":n,…},"sysctl":[errno,…]}: bytes or
 *                 entries, negative errno, null where there is no such file
 *   read FILE…    the content                               {"read":{"FILE":"content"|-errno,…}}
 *   climb         every descriptor as a way out             {"climb":{"3/../../etc/shadow":errno,…}}: 0 when one opens */
#include "out.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static void do_write(struct out *o)
{
	static const char *const places[] = {
		"/probe",
		"/usr/probe",
		"/usr/lib/probe",
		"/etc/probe",
		"/var/probe",
		"/var/task/probe",
		"/var/runtime/probe",
		"/opt/probe",
		"/run/probe",
		"/dev/probe",
		"/dev/shm/probe",
		"/sys/probe",
		"/proc/probe",
		"/etc/passwd",
		"/etc/ld.so.cache",
		"/var/runtime/native",
		"/var/runtime/init",
		"/usr/bin/env",
		"/tmp/probe",
	};

	out_key(o, "write");
	out_bytes(o, "{", 1);
	for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
		int fd = open(places[i], O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

		out_number(o, places[i], fd < 0 ? errno : 0);
		if (fd >= 0)
			(void)close(fd);
	}
	out_bytes(o, "}", 1);
}

/* Bytes of a file or entries of a directory; -errno. */
static long amount(const char *path)
{
	char block[4096];
	DIR *d = opendir(path);
	long n = -2; /* . and .. */
	int fd;

	if (d) {
		while (readdir(d))
			n++;
		(void)closedir(d);
		return n;
	}
	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, block, sizeof block);
	n = n < 0 ? -errno : n;
	(void)close(fd);
	return n;
}

static void do_masks(struct out *o)
{
	static const char *const masked[] = {
		"/proc/acpi",          "/proc/asound",        "/proc/bus",         "/proc/fs",
		"/proc/interrupts",    "/proc/kcore",         "/proc/key-users",   "/proc/keys",
		"/proc/kmsg",          "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi",
		"/proc/sysrq-trigger", "/proc/timer_list",    "/proc/timer_stats",
	};
	static const char *const sysctls[] = {
		"/proc/sys/kernel/core_pattern",
		"/proc/sys/kernel/hostname",
		"/proc/sys/kernel/domainname",
		"/proc/sys/kernel/shmmax",
		"/proc/sys/vm/drop_caches",
		"/proc/sys/net/ipv4/ip_forward",
		"/proc/sys/net/ipv4/ping_group_range",
		"/proc/sys/kernel/ns_last_pid",
	};

	out_key(o, "masks");
	out_bytes(o, "{", 1);
	for (size_t i = 0; i < sizeof masked / sizeof masked[0]; i++) {
		long n = amount(masked[i]);

		out_key(o, masked[i]);
		if (n == -ENOENT)
			out_text(o, "null");
		else
			out_text(o, "%ld", n);
	}
	out_bytes(o, "}", 1);
	out_key(o, "sysctl");
	out_bytes(o, "[", 1);
	for (size_t i = 0; i < sizeof sysctls / sizeof sysctls[0]; i++) {
		int fd = open(sysctls[i], O_WRONLY | O_CLOEXEC);

		if (fd >= 0 || errno != ENOENT)
			out_number(o, NULL, fd < 0 ? errno : 0);
		if (fd >= 0)
			(void)close(fd);
	}
	out_bytes(o, "]", 1);
}

static void do_read(struct out *o, char *names)
{
	char *save = NULL, *name;

	out_key(o, "read");
	out_bytes(o, "{", 1);
	for (name = strtok_r(names, " \"", &save); name; name = strtok_r(NULL, " \"", &save)) {
		char text[4096];
		int fd = open(name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
		ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text);

		out_key(o, name);
		if (n < 0) {
			out_text(o, "%d", -errno);
		} else {
			while (n > 0 && text[n - 1] == '\n')
				n--;
			out_string(o, text, (size_t)n);
		}
		if (fd >= 0)
			(void)close(fd);
	}
	out_bytes(o, "}", 1);
}

static void do_climb(struct out *o)
{
	static const char *const ups[] = {"etc/shadow",          "../etc/shadow",          "../../etc/shadow",
					  "../../../etc/shadow", "../../../../etc/shadow", "../../../../../etc/shadow"};

	out_key(o, "climb");
	out_bytes(o, "{", 1);
	for (int fd = 0; fd < 1024; fd++) {
		char link[64];

		if (fcntl(fd, F_GETFD) < 0)
			continue;
		for (size_t i = 0; i < sizeof ups / sizeof ups[0]; i++) {
			int got;

			(void)snprintf(link, sizeof link, "/proc/self/fd/%d/%s", fd, ups[i]);
			got = openat(fd, ups[i], O_RDONLY | O_CLOEXEC);
			if (got < 0)
				got = open(link, O_RDONLY | O_CLOEXEC);
			out_number(o, link, got < 0 ? errno : 0);
			if (got >= 0)
				(void)close(got);
		}
	}
	out_bytes(o, "}", 1);
}

int fsbox_handler(fsbox_call *call)
{
	struct out o = {0};
	char *event = strdup(fsbox_event(call, NULL));

	if (!event)
		return 1;
	out_bytes(&o, "{", 1);
	if (strstr(event, "write"))
		do_write(&o);
	if (strstr(event, "masks"))
		do_masks(&o);
	if (strstr(event, "climb"))
		do_climb(&o);
	if (strstr(event, "read "))
		do_read(&o, strstr(event, "read ") + 5);
	out_bytes(&o, "}", 1);
	free(event);
	return out_answer(call, &o);
}
