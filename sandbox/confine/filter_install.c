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

int filter_install(const struct filter *f)
{
	struct sock_fprog prog = {.len = (unsigned short)f->len, .filter = f->insns};

	if (f->len == 0)
		return 0;
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, f->flags, &prog) < 0 ? -errno : 0;
}
