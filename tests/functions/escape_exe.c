/* The bug class of CVE-2019-5736: writing to the program that started us through /proc/PID/exe, by every way in, also
 * while a fresh process of the same program starts. Answers {"way":errno,…}; 0 would be a writable descriptor. */
#include "out.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int try_write(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC);

	if (fd < 0)
		return errno;
	(void)close(fd);
	return 0;
}

/* By way of an O_PATH descriptor, which names the file without opening it. */
static int try_reopen(const char *path)
{
	char link[64];
	int fd = open(path, O_PATH | O_CLOEXEC), code;

	if (fd < 0)
		return errno;
	(void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	code = try_write(link, O_WRONLY);
	(void)close(fd);
	return code;
}

static int try_map(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), code = 0;
	void *p = fd < 0 ? MAP_FAILED : mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		code = errno;
	if (fd >= 0)
		(void)close(fd);
	return code;
}

/* A link of "#!/proc/self/exe" kind: a program that is executed while we wait for its text to be free. */
static int try_busy(void)
{
	pid_t pid = fork();
	int code = 0;
	char exe[64];

	if (pid == 0) {
		(void)pause();
		_exit(0);
	}
	(void)snprintf(exe, sizeof exe, "/proc/%d/exe", pid);
	code = try_write(exe, O_WRONLY);
	if (code != 0)
		code = try_write(exe, O_RDWR);
	(void)kill(pid, 9);
	(void)waitpid(pid, NULL, 0);
	return code;
}

int fsbox_handler(fsbox_call *call)
{
	static const char *const files[] = {"/proc/self/exe", "/proc/1/exe", "/var/runtime/native", "/var/runtime/init",
					    "/proc/self/map_files"};
	struct out o = {0};

	out_bytes(&o, "{", 1);
	for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
		char name[128];

		(void)snprintf(name, sizeof name, "write %s", files[i]);
		out_number(&o, name, try_write(files[i], O_WRONLY));
		(void)snprintf(name, sizeof name, "truncate %s", files[i]);
		out_number(&o, name, truncate(files[i], 0) < 0 ? errno : 0);
		(void)snprintf(name, sizeof name, "reopen %s", files[i]);
		out_number(&o, name, try_reopen(files[i]));
		(void)snprintf(name, sizeof name, "map %s", files[i]);
		out_number(&o, name, try_map(files[i]));
		(void)snprintf(name, sizeof name, "chmod %s", files[i]);
		out_number(&o, name, chmod(files[i], 0777) < 0 ? errno : 0);
		(void)snprintf(name, sizeof name, "unlink %s", files[i]);
		out_number(&o, name, unlink(files[i]) < 0 ? errno : 0);
	}
	out_number(&o, "busy", try_busy());
	out_bytes(&o, "}", 1);
	return out_answer(call, &o);
}
