#include "cli/cli.h"

#include "base/fd.h"

#include <stdio.h>

int cli_find_runtime(char *buf, size_t size, struct err *e)
{
	static const char *const places[] = {"runtime", "../libexec/fsbox"};
	char exe[400];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
	int r;

	if (n < 0)
		return err_sys(e, errno, "reading /proc/self/exe");
	exe[n] = '\0';
	*strrchr(exe, '/') = '\0';
	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		char probe[520];

		(void)snprintf(buf, size, "%s/%s", exe, places[i]);
		(void)snprintf(probe, sizeof probe, "%.500s/native", buf);
		if (access(probe, R_OK) == 0)
			return 0;
	}
	r = err_set(e, ERR_NOT_FOUND, ENOENT, "no runtime beside '%s/fsbox' nor in '%s/../libexec/fsbox'", exe, exe);
	return err_hint(e, r, "install fsbox whole (make install)");
}
