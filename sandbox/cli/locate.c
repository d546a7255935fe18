#include "cli/cli.h"

#include "base/fd.h"

#include <stdio.h>

enum { EXE_MAX = 400 };

/* The directory of this program. */
static int own_dir(char *buf, struct err *e)
{
	ssize_t n = readlink("/proc/self/exe", buf, EXE_MAX - 1);

	if (n < 0)
		return err_sys(e, errno, "reading /proc/self/exe");
	buf[n] = '\0';
	*strrchr(buf, '/') = '\0';
	return 0;
}

/* Finds the first of @places, relative to this program, with a @file in it. False when there is none. */
static bool find(const char *exe, const char *const *places, const char *file, char *buf, size_t size)
{
	for (; *places; places++) {
		char probe[640];

		(void)snprintf(buf, size, "%s/%s", exe, *places);
		(void)snprintf(probe, sizeof probe, "%.500s/%s", buf, file);
		if (access(probe, R_OK) == 0)
			return true;
	}
	return false;
}

int cli_find_runtime(char *buf, size_t size, struct err *e)
{
	static const char *const places[] = {"runtime", "../libexec/fsbox", NULL};
	char exe[EXE_MAX];
	int r = own_dir(exe, e);

	if (r < 0 || find(exe, places, "native", buf, size))
		return r;
	r = err_set(e, ERR_NOT_FOUND, ENOENT, "no runtime beside '%s/fsbox' nor in '%s/../libexec/fsbox'", exe, exe);
	return err_hint(e, r, "install fsbox whole (make install)");
}

int cli_find_programs(char *buf, size_t size, struct err *e)
{
	static const char *const places[] = {".", "../libexec/fsbox", NULL};
	char exe[EXE_MAX];
	int r = own_dir(exe, e);

	if (r < 0 || find(exe, places, "fsbox-spawn", buf, size))
		return r;
	r = err_set(e, ERR_NOT_FOUND, ENOENT, "no fsbox-spawn beside '%s/fsbox' nor in '%s/../libexec/fsbox'", exe,
		    exe);
	return err_hint(e, r, "install fsbox whole (make install)");
}
