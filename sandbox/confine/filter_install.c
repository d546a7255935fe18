/* What needs no compiler of filters: a program that only installs them links nothing of libseccomp. */
#include "confine/confine.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

void filter_done(struct filter *f)
{
	if (!f->borrowed)
		free(f->insns);
	*f = (struct filter){0};
}

static int install(const struct filter *f, unsigned flags)
{
	struct sock_fprog prog = {.len = (unsigned short)f->len, .filter = f->insns};
	long r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog);

	return r < 0 ? -errno : (int)r;
}

int filter_install(const struct filter *f)
{
	int r = f->len == 0 ? 0 : install(f, f->flags);

	return r < 0 ? r : 0;
}

int filter_install_listening(const struct filter *f)
{
	return install(f, (f->flags & ~SECCOMP_FILTER_FLAG_TSYNC) | SECCOMP_FILTER_FLAG_NEW_LISTENER);
}
