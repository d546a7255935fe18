#include "snapshot/internal.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>

/* 4.1 and older dump the vDSO's random state, and 3.17 does not start on Linux 6.13 and newer. */
enum { ENGINE_MAJOR = 4, ENGINE_MINOR = 2, CHECK_WAIT_MS = 20000 };

#ifdef __aarch64__
#define LOADER "lib/ld-linux-aarch64.so.1"
#else
#define LOADER "lib/ld-linux-x86-64.so.2"
#endif

static int look_at(const char *dir, struct snap_engine *en)
{
	char path[sizeof en->loader], here[PATH_MAX];
	int n;

	/* Cells get it by its own name: a link or ".." in the way would be resolved anew by each mount. */
	if (!realpath(dir, here) || strlen(here) >= sizeof en->dir)
		return -ENOENT;
	memcpy(en->dir, here, strlen(here) + 1);
	(void)snprintf(en->loader, sizeof en->loader, "%s/" LOADER, en->dir);
	n = snprintf(path, sizeof path, "%s/version", en->dir);
	if (n < 0 || fd_read_file_at(AT_FDCWD, path, en->version, sizeof en->version) < 0)
		return -ENOENT;
	(void)snprintf(path, sizeof path, "%s/bin/criu", en->dir);
	return access(path, X_OK) < 0 || access(en->loader, X_OK) < 0 ? -ENOENT : 0;
}

static bool is_new_enough(const char *version)
{
	unsigned major, minor;

	return sscanf(version, "%u.%u", &major, &minor) == 2 &&
	       (major > ENGINE_MAJOR || (major == ENGINE_MAJOR && minor >= ENGINE_MINOR));
}

int snap_engine_find(const char *runtime_dir, struct snap_engine *ret, struct err *e)
{
	static const char *const places[] = {"criu", "../criu",
					     "../../criu"}; /* installed; built; a variant of the build */

	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		struct snap_engine en = {0};
		char dir[PATH_MAX];

		(void)snprintf(dir, sizeof dir, "%s/%s", runtime_dir, places[i]);
		if (look_at(dir, &en) < 0)
			continue;
		if (!is_new_enough(en.version)) {
			int r = err_set(e, ERR_UNSUPPORTED, 0, "CRIU %s in '%s' is too old; snapshots need %d.%d",
					en.version, en.dir, ENGINE_MAJOR, ENGINE_MINOR);

			return err_hint(e, r, "FSBOX_CRIU_REFRESH=1 make criu");
		}
		*ret = en;
		return 0;
	}
	return err_hint(e,
			err_set(e, ERR_UNSUPPORTED, ENOENT, "there is no CRIU for snapshots beside '%s'", runtime_dir),
			"make criu (and make install again where fsbox is installed)");
}

void engine_argv(const struct snap_engine *en, char *paths, size_t size, const char *argv[ENGINE_WORDS])
{
	int n = snprintf(paths, size, "%s/lib", en->dir);
	char *criu = paths + n + 1;

	(void)snprintf(criu, size - (size_t)n - 1, "%s/bin/criu", en->dir);
	argv[0] = en->loader;
	argv[1] = "--inhibit-cache";
	argv[2] = "--library-path";
	argv[3] = paths;
	argv[4] = criu;
}

/* Reads what is said until the end or the deadline, and keeps the front of it. */
static void listen_to(int fd, char *buf, size_t size)
{
	size_t len = 0;
	ssize_t n;

	do {
		char rest[256];
		struct pollfd p = {.fd = fd, .events = POLLIN};
		const bool full = len + 1 >= size;

		if (poll(&p, 1, CHECK_WAIT_MS) <= 0)
			break;
		n = full ? read(fd, rest, sizeof rest) : read(fd, buf + len, size - 1 - len);
		if (n > 0 && !full)
			len += (size_t)n;
	} while (n > 0);
	buf[len] = '\0';
}

/* What it says and goes on: without CAP_SYS_RESOURCE, and where the host has no program for rules of networks. */
static bool is_harmless(const char *said)
{
	static const char *const words[] = {"Can't setup RLIMIT_NOFILE", "tables-save", "tables-legacy-save",
					    "tables-restore", "tables-legacy-restore"};

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (strstr(said, words[i]))
			return true;
	return false;
}

/* The first line that says what is wrong, without CRIU's time stamp and source line. */
void snap_engine_complaint(char *text, char *ret, size_t size)
{
	char *save = NULL;

	(void)snprintf(ret, size, "it gave no reason");
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *error = strstr(line, "Error (");
		char *said = error ? strstr(error, "): ") : NULL;

		if (!said || is_harmless(said))
			continue;
		(void)snprintf(ret, size, "%s", said + 3);
		return;
	}
}

/* It would leave what it finds out about the kernel, or the beginning of it, in /run. */
static int hide_run(void *arg)
{
	(void)arg;
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=64k") < 0)
		return -errno;
	return 0;
}

int snap_engine_check(const struct snap_engine *en, struct err *e)
{
	char paths[2 * sizeof en->dir], text[8192], why[200];
	const char *argv[8], *const environment[] = {"PATH=/nonexistent", NULL};
	struct keeper k = {.argv = argv, .envp = environment, .enter = hide_run};
	AUTO_FD int from = FD_NONE;
	int p[2], status, r;

	engine_argv(en, paths, sizeof paths, argv);
	argv[5] = "check";
	argv[6] = NULL;
	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(e, errno, "making a pipe");
	from = p[0];
	k.out = p[1];
	r = keeper_start(&k, e);
	fd_closep(&k.out);
	if (r < 0)
		return r;
	listen_to(from, text, sizeof text);
	r = keeper_wait(&k, CHECK_WAIT_MS, FD_NONE, &status, e);
	if (r < 0 || status == 0)
		return r;
	snap_engine_complaint(text, why, sizeof why);
	return err_set(e, ERR_UNSUPPORTED, 0, "CRIU %s does not work on this kernel: %s", en->version, why);
}
