/* Values of namespaces: config.json's "sysctl", for a child that is in them, and for what CRIU restores. */
#include "cell/container_internal.h"

#include "base/fd.h"
#include "sys/sys.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

/* A proc of our own for writing sysctls: no mount over parts of the container's can lead it elsewhere. */
int ct_sysctls_open(struct ct_child *ch, struct err *e)
{
	AUTO_FD int fs = FD_NONE;
	AUTO_FD int proc = FD_NONE;
	int r;

	if (ch->spec->n_sysctls == 0)
		return 0;
	fs = sys_fsopen("proc");
	r = fs < 0 ? fs : sys_fsconfig_create(fs);
	proc = r < 0 ? r : sys_fsmount(fs, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	if (proc < 0)
		return err_sys(e, proc, "making a proc for sysctls");
	ch->sysctls = openat(proc, "sys", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return ch->sysctls < 0 ? err_sys(e, errno, "opening sys of proc") : 0;
}

int ct_sysctls_write(const struct ct_child *ch, struct err *e)
{
	char path[256];

	for (size_t i = 0; i < ch->spec->n_sysctls; i++) {
		const struct ct_pair *p = &ch->spec->sysctls[i];
		size_t n = strlen(p->key), len = strlen(p->value);
		int r = 0;

		if (n >= sizeof path)
			return err_sys(e, ENAMETOOLONG, "sysctl '%s'", p->key);
		memcpy(path, p->key, n + 1);
		for (char *c = path; (c = strpbrk(c, "./")); c++)
			*c = "./"[*c == '.'];

		AUTO_FD int fd = sys_open_beneath(ch->sysctls, path, O_WRONLY, 0);
		if (fd < 0)
			r = fd;
		else if (write(fd, p->value, len) != (ssize_t)len)
			r = -errno;
		if (r < 0)
			return err_sys(e, r, "writing '%s' to sysctl '%s'", p->value, p->key);
	}
	return 0;
}

/* What is not the container's own stays ours, and has no value to be written (life_check_joined(), config_check.c). */
static int enter(const struct ct_spec *s, int pidfd, struct err *e)
{
	const int flags = (s->ns[CT_USER].wanted ? CLONE_NEWUSER : 0) | (s->ns[CT_NET].wanted ? CLONE_NEWNET : 0) |
			  (s->ns[CT_IPC].wanted ? CLONE_NEWIPC : 0) | (s->ns[CT_UTS].wanted ? CLONE_NEWUTS : 0);
	int r = flags ? sys_setns(pidfd, flags) : 0;

	if (r < 0)
		return err_sys(e, r, "entering the restored namespaces");
	if (!s->ns[CT_USER].wanted)
		return 0;
	/* Some are its root's to write, whatever capabilities another one has. */
	if (syscall(SYS_setresgid, 0, 0, 0) < 0 || syscall(SYS_setresuid, 0, 0, 0) < 0)
		return err_sys(e, errno, "becoming root of the user namespace");
	return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ? err_sys(e, errno, "becoming undumpable") : 0;
}

static _Noreturn void write_inside(struct ct_child *ch, int pidfd, int to)
{
	struct err e = {0};
	int r = ct_sysctls_open(ch, &e); /* while we have the right to make a proc */

	if (r == 0)
		r = enter(ch->spec, pidfd, &e);
	if (r == 0)
		r = ct_sysctls_write(ch, &e);
	_exit(write(to, &e, sizeof e) == (ssize_t)sizeof e && r == 0 ? 0 : 1);
}

int ct_sysctls_restore(struct ct_child *ch, int pidfd, struct err *e)
{
	AUTO_FD int child = FD_NONE, from = FD_NONE;
	struct err said = {0};
	siginfo_t ignored;
	int ends[2], fd = FD_NONE;
	ssize_t n;
	pid_t pid;

	if (ch->spec->n_sysctls == 0)
		return 0;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_sys(e, errno, "making a pipe");
	pid = sys_clone3(&(struct clone_args){.flags = CLONE_PIDFD, .pidfd = (uintptr_t)&fd, .exit_signal = SIGCHLD});
	if (pid == 0)
		write_inside(ch, pidfd, ends[1]);
	from = ends[0];
	fd_closep(&ends[1]);
	if (pid < 0)
		return err_sys(e, (int)pid, "making a process");
	child = fd;
	n = read(from, &said, sizeof said);
	(void)!sys_wait_exit(child, true, &ignored);
	if (n != (ssize_t)sizeof said)
		return err_set(e, ERR_SYSTEM, EIO, "writing sysctls: the process for it has died");
	return said.kind == ERR_NONE ? 0 : err_adopt(e, &said);
}
