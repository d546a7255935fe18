/* The last step of `fsbox exec` into a cell: enter COMMAND [ARG...]
 *
 * A process of the host that has joined the cell executes this program first, and this one the command. So the command is
 * never executed by a process whose program is one of the host's: what names /proc/self/exe, as the command, as what a
 * link leads to, or behind "#!", gets this file, from a mount that is read-only (runc's CVE-2019-5736). Everything else,
 * ids, capabilities, filter, directory, is done by then.
 *
 * Descriptor 3 is a socket to the host. It closes when the command is executed; if that cannot be, it gets the reason
 * (struct enter_word). Whoever else in the cell gets hold of it can say no more than that. */
#include "runtime/enter/enter.h"
#include "runtime/init/nolibc.h"

#include <asm/unistd.h>
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/prctl.h>

enum { STATUS_CANNOT_EXECUTE = 126, STATUS_NOT_FOUND = 127, PATH_ROOM = 4096 };

static size_t length(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

static int has_slash(const char *s)
{
	while (*s && *s != '/')
		s++;
	return *s != '\0';
}

/* The value of PATH; the host's side always sets one. */
static const char *find_path(char **envp)
{
	static const char key[] = "PATH=";

	for (; *envp; envp++) {
		size_t i = 0;

		while (key[i] && (*envp)[i] == key[i])
			i++;
		if (!key[i])
			return *envp + i;
	}
	return "/usr/local/bin:/usr/bin:/bin";
}

/* "DIR/NAME" in @ret; 0 when it does not fit. An empty DIR is the present one. */
static int join(char *ret, const char *dir, size_t dir_len, const char *name)
{
	const size_t name_len = length(name);
	size_t at = 0;

	if (dir_len + name_len + 2 > PATH_ROOM)
		return 0;
	for (; at < dir_len; at++)
		ret[at] = dir[at];
	if (dir_len > 0)
		ret[at++] = '/';
	for (size_t i = 0; i <= name_len; i++)
		ret[at + i] = name[i];
	return 1;
}

/* As execvp(3) looks, but what is no program is not given to a shell. Comes back with the error. */
static long search(char **argv, char **envp)
{
	const char *dir = find_path(envp);
	long error = -ENOENT;
	char path[PATH_ROOM];

	for (;;) {
		size_t len = 0;
		long r = -ENAMETOOLONG;

		while (dir[len] && dir[len] != ':')
			len++;
		if (join(path, dir, len, argv[0]))
			r = SYS(__NR_execve, path, argv, envp);
		if (r == -EACCES)
			error = r; /* there may be a better one behind it */
		else if (r != -ENOENT && r != -ENOTDIR && r != -ENAMETOOLONG)
			return r;
		if (!dir[len])
			return error;
		dir += len + 1;
	}
}

int nolibc_main(uintptr_t *stack)
{
	const uintptr_t argc = stack[0];
	char **argv = (char **)(stack + 2), **envp = (char **)(stack + 1) + argc + 1;
	struct enter_word word = {.magic = ENTER_MAGIC};
	long r;

	if (argc < 2 || SYS(__NR_fcntl, ENTER_FD, F_SETFD, FD_CLOEXEC) < 0)
		return STATUS_CANNOT_EXECUTE;
	(void)SYS(__NR_prctl, PR_SET_DUMPABLE, 0); /* until the command is executed */
	r = has_slash(argv[0]) ? SYS(__NR_execve, argv[0], argv, envp) : search(argv, envp);
	word.code = (int32_t)-r;
	(void)SYS(__NR_write, ENTER_FD, &word, sizeof word);
	return r == -ENOENT ? STATUS_NOT_FOUND : STATUS_CANNOT_EXECUTE;
}

void nolibc_start(uintptr_t *stack)
{
	int status = nolibc_main(stack);

	for (;;)
		(void)SYS(__NR_exit_group, status);
}
