/* Who the container's process is, what it may do, and what it executes. Child side, inside of the new root. */
#include "cell/container_internal.h"

#include "base/fd.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static const char *env_value(const struct ct_child *ch, const char *name)
{
	const size_t len = strlen(name);
	const char *value = NULL;

	for (size_t i = 0; i < ch->n_env; i++)
		if (strncmp(ch->envp[i], name, len) == 0 && ch->envp[i][len] == '=')
			value = ch->envp[i] + len + 1; /* the last one holds */
	return value;
}

static int is_executable(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return S_ISDIR(st.st_mode) ? -EISDIR : -EACCES;
	return st.st_mode & 0111 ? 0 : -EACCES;
}

/* Engines look for these very words. */
static int not_found(const char *name, int code, struct err *e)
{
	if (strchr(name, '/'))
		return code == -ENOENT
			       ? err_set(e, ERR_NOT_FOUND, ENOENT, "exec: \"%s\": stat %s: no such file or directory",
					 name, name)
			       : err_set(e, ERR_DENIED, -code, "exec: \"%s\": %s", name,
					 code == -EISDIR ? "is a directory: permission denied" : "permission denied");
	return code == -EACCES
		       ? err_set(e, ERR_DENIED, EACCES, "exec: \"%s\": permission denied", name)
		       : err_set(e, ERR_NOT_FOUND, ENOENT, "exec: \"%s\": executable file not found in $PATH", name);
}

/* Where there is no PATH at all. */
#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static int search_path(struct ct_child *ch, const char *name, struct err *e)
{
	const char *path = env_value(ch, "PATH");
	const size_t len = strlen(name);
	int worst = -ENOENT;

	for (const char *p = path ? path : DEFAULT_PATH; *p;) {
		size_t n = strcspn(p, ":");

		if (n + len + 3 < sizeof ch->exe) {
			/* An empty part is the working directory. */
			memcpy(ch->exe, n ? p : ".", n ? n : 1);
			ch->exe[n ? n : 1] = '/';
			memcpy(ch->exe + (n ? n : 1) + 1, name, len + 1);

			int r = is_executable(ch->exe);
			if (r == 0)
				return 0;
			if (r == -EACCES)
				worst = r;
		}
		p += n + (p[n] == ':');
	}
	return not_found(name, worst, e);
}

int ct_child_lookup(struct ct_child *ch, struct err *e)
{
	const char *name = ch->argv[0];
	size_t n = strlen(name);
	int r;

	if (n == 0 || n >= sizeof ch->exe)
		return not_found(name, -ENOENT, e);
	if (!strchr(name, '/'))
		return search_path(ch, name, e);
	memcpy(ch->exe, name, n + 1);
	r = is_executable(name);
	return r < 0 ? not_found(name, r == -ENOTDIR || r == -ENOENT ? -ENOENT : r, e) : 0;
}

/* ---- HOME ---- */

/* "name:password:uid:gid:comment:home:shell" of @line, when its uid is @uid. */
static bool take_home(const char *line, size_t len, uint32_t uid, char *to, size_t size)
{
	const char *field[7] = {line};
	size_t n = 1, home;
	uint64_t id = 0;

	for (size_t i = 0; i < len && n < ARRAY_LEN(field); i++)
		if (line[i] == ':')
			field[n++] = line + i + 1;
	if (n < ARRAY_LEN(field))
		return false;
	for (const char *p = field[2]; *p != ':'; p++) {
		if (*p < '0' || *p > '9' || id > UINT32_MAX)
			return false;
		id = id * 10 + (uint64_t)(*p - '0');
	}
	home = (size_t)(field[6] - 1 - field[5]);
	if (id != uid || field[3] == field[2] + 1 || home >= size)
		return false;
	memcpy(to, field[5], home);
	to[home] = '\0';
	return true;
}

/* Whatever is there: no queue is waited at, no terminal becomes ours. */
enum { PASSWD_FLAGS = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY };

/* Without HOME the container's passwd says, else "/". */
static void set_home(struct ct_child *ch)
{
	AUTO_FD int fd = env_value(ch, "HOME") ? FD_NONE : open("/etc/passwd", PASSWD_FLAGS);
	char text[8192], *home = ch->home + 5;
	size_t len = 0;
	ssize_t n;

	if (env_value(ch, "HOME"))
		return;
	memcpy(ch->home, "HOME=/", 7);
	while (fd_valid(fd) && (n = read(fd, text + len, sizeof text - len)) > 0) {
		char *line = text, *end;
		bool found = false;

		len += (size_t)n;
		while (!found && (end = memchr(line, '\n', len - (size_t)(line - text)))) {
			found = take_home(line, (size_t)(end - line), ch->spec->process.uid, home, sizeof ch->home - 5);
			line = end + 1;
		}
		if (found)
			break;
		len -= (size_t)(line - text);
		if (len == sizeof text)
			break; /* a line of 8 KiB is none of passwd's */
		memmove(text, line, len);
	}
	if (*home == '\0')
		memcpy(home, "/", 2);
	ch->envp[ch->n_env] = ch->home;
}

/* ---- User and capabilities ---- */

static int set_groups(const struct ct_child *ch, struct err *e)
{
	const struct ct_process *p = &ch->spec->process;
	static const char file[] = "/proc/self/setgroups";
	char word[8] = "";

	if (ch->spec->keep_groups || syscall(SYS_setgroups, p->n_groups, p->groups) == 0)
		return 0;
	/* Where the kernel does not let, the caller's groups stay; that is an error only when others were asked for. */
	if (errno == EPERM && p->n_groups == 0 && fd_read_file_at(AT_FDCWD, file, word, sizeof word) > 0 &&
	    strcmp(word, "deny") == 0)
		return 0;
	return err_sys(e, EPERM, "setting supplementary groups");
}

/* What a user may be given: pipes, sockets, terminals, and files that he writes to already. Not /dev/null, which is the
 * host's and everybody's, nor another device, and no file that was opened for reading: its owner could write to it. */
static bool may_be_given(int fd, const struct stat *st)
{
	switch (st->st_mode & S_IFMT) {
	case S_IFIFO:
	case S_IFSOCK:
		return true;
	case S_IFCHR:
		return isatty(fd);
	case S_IFREG:
		return (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY;
	default:
		return false;
	}
}

/* Opened again by name (/dev/stdout) they have to belong to the user. */
static void give_stdio(uint32_t uid)
{
	struct stat st;

	for (int fd = 0; fd < 3; fd++)
		if (fstat(fd, &st) == 0 && st.st_uid != uid && may_be_given(fd, &st))
			(void)!fchown(fd, uid, (gid_t)-1);
}

/* "Any value which [...] cannot be granted otherwise MUST be logged as a warning" (config.md): what we do not have
 * ourselves, and ambient ones that are not inheritable, are left out. */
static void narrow(uint64_t want[CT_CAP_SETS], const struct ct_process *p, uint64_t have)
{
	memcpy(want, p->caps, sizeof p->caps);
	want[CT_PERMITTED] &= have;
	want[CT_EFFECTIVE] &= want[CT_PERMITTED];
	want[CT_INHERITABLE] &= have;
	want[CT_AMBIENT] &= want[CT_PERMITTED] & want[CT_INHERITABLE];
}

static int install_filter(const struct ct_child *ch, struct err *e)
{
	int r;

	if (!ch->ct->filter)
		return 0;
	if (ct_notifies(ch))
		return ct_notify_install(ch, e);
	r = filter_install(ch->ct->filter);
	return r < 0 ? err_sys(e, r, "installing the seccomp filter") : 0;
}

/* The filter goes in as late as may be. Without no_new_privs that takes CAP_SYS_ADMIN, so it comes before the last of the
 * capabilities goes, and must let capset(2) through, as with every other runtime. */
static int drop_and_filter(struct ct_child *ch, struct err *e)
{
	const struct ct_process *p = &ch->spec->process;
	const uint64_t now = caps_permitted();
	uint64_t want[CT_CAP_SETS];
	int r = ct_notifies(ch) ? ct_notify_begin(ch, e) : 0;

	if (r < 0)
		return r;
	narrow(want, p, now);
	r = caps_set(now, now, want[CT_INHERITABLE]);
	if (r == 0)
		r = caps_ambient(want[CT_AMBIENT]);
	if (r < 0)
		return err_sys(e, r, "setting capabilities");
	if (p->no_new_privs && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(e, errno, "setting no_new_privs");
	r = p->no_new_privs ? 0 : install_filter(ch, e);
	if (r < 0)
		return r;
	r = caps_set(want[CT_EFFECTIVE], want[CT_PERMITTED], want[CT_INHERITABLE]);
	if (r < 0)
		return err_sys(e, r, "setting capabilities");
	return p->no_new_privs ? install_filter(ch, e) : 0;
}

bool ct_child_is_late(const struct ct_rlimit *l)
{
	return l->resource == RLIMIT_NOFILE && l->value.rlim_cur < 64;
}

static int set_late_limits(const struct ct_process *p, struct err *e)
{
	for (size_t i = 0; i < p->n_rlimits; i++)
		if (ct_child_is_late(&p->rlimits[i]) && setrlimit(RLIMIT_NOFILE, &p->rlimits[i].value) < 0)
			return err_sys(e, errno, "setting the limit of descriptors");
	return 0;
}

/* "/proc/.../attr/..." are the words by which podman knows what is wrong. */
static int set_labels(const struct ct_process *p, struct err *e)
{
	int r = 0;

	if (p->apparmor && p->apparmor[0] && strcmp(p->apparmor, "unconfined") != 0)
		r = label_next_exec_apparmor(p->apparmor);
	if (r < 0)
		return err_sys(e, r, "apparmor profile '%s': writing /proc/thread-self/attr/apparmor/exec",
			       p->apparmor);
	if (p->selinux && p->selinux[0])
		r = label_next_exec_selinux(p->selinux);
	return r < 0 ? err_sys(e, r, "selinux label '%s': writing /proc/thread-self/attr/exec", p->selinux) : 0;
}

int ct_child_user(struct ct_child *ch, struct err *e)
{
	const struct ct_process *p = &ch->spec->process;
	int r;

	give_stdio(p->uid);
	set_home(ch);
	r = set_labels(p, e);
	if (r < 0)
		return r;
	r = set_late_limits(p, e);
	if (r < 0)
		return r;
	r = caps_bound(p->caps[CT_BOUNDING]);
	if (r < 0)
		return err_sys(e, r, "the bounding set of capabilities");
	r = set_groups(ch, e);
	if (r < 0)
		return r;
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		return err_sys(e, errno, "keeping capabilities");
	if (syscall(SYS_setresgid, p->gid, p->gid, p->gid) < 0)
		return err_sys(e, errno, "becoming gid %u", p->gid);
	if (syscall(SYS_setresuid, p->uid, p->uid, p->uid) < 0)
		return err_sys(e, errno, "becoming uid %u", p->uid);
	/* A change of ids makes it what fs.suid_dumpable says (proc(5)). Who is in the container has our ids and rights
	 * from here on, and the filter is not there yet. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return err_sys(e, errno, "becoming undumpable");
	return drop_and_filter(ch, e);
}

int ct_child_exec(struct ct_child *ch, struct err *e)
{
	char *const *argv, *const *envp;
	int r;

	memcpy(&argv, &ch->argv, sizeof argv);
	memcpy(&envp, &ch->envp, sizeof envp);
	(void)execve(ch->exe, argv, envp);
	r = errno == ENOEXEC  ? err_set(e, ERR_SPEC, ENOEXEC, "exec %s: exec format error", ch->exe)
	    : errno == EACCES ? err_set(e, ERR_DENIED, EACCES, "exec %s: permission denied", ch->exe)
	    : errno == ENOENT ? err_set(e, ERR_NOT_FOUND, ENOENT, "exec %s: no such file or directory", ch->exe)
			      : err_sys(e, errno, "exec %s", ch->exe);
	return r;
}
