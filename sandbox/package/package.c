#include "package/package.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/removal.h"
#include "base/str.h"
#include "sys/sys.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum {
	NOBODY = 65534,
	UNPACK_FD = 3, /* the archive, the directory and the complaint are 3, 4, 5 there */
	KEEP_S = 7 * 24 * 3600,
	HALF_S = 10, /* from when a directory is made until it is locked: far more than that takes */
	CPU_S = 60,
	DEADLINE_S = 120, /* by the wall, whatever it does */
	MEMORY = 512 << 20,
	COMPLAINT = 512,
	NAME = 128,
};

bool package_is_zip(const unsigned char *head, size_t len)
{
	/* A local entry, or the end of an archive without one. */
	return len >= 4 && (memcmp(head, "PK\3\4", 4) == 0 || memcmp(head, "PK\5\6", 4) == 0);
}

/* ---- The directory of packages ---- */

static int default_path(char *ret, size_t size, struct err *e)
{
	const char *state = secure_getenv("XDG_STATE_HOME"), *home = secure_getenv("HOME");
	int n;

	if (state && state[0] == '/') {
		n = snprintf(ret, size, "%s/fsbox/packages", state);
	} else if (geteuid() == 0) {
		n = snprintf(ret, size, "/var/lib/fsbox/packages");
	} else if (home && home[0] == '/') {
		n = snprintf(ret, size, "%s/.local/state/fsbox/packages", home);
	} else {
		int r = err_set(e, ERR_NOT_FOUND, ENOENT, "there is no place for unpacked packages: HOME is not set");

		return err_hint(e, r, "set XDG_STATE_HOME or HOME to an absolute path");
	}
	return n < 0 || (size_t)n >= size ? err_set(e, ERR_LIMIT, ENAMETOOLONG, "the packages' path is too long") : 0;
}

static int make_path(char *path, struct err *e)
{
	for (char *p = path + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		if (mkdir(path, geteuid() == 0 ? 0755 : 0700) < 0 && errno != EEXIST)
			return err_sys(e, errno, "making '%s'", path);
		*p = '/';
	}
	return mkdir(path, 0700) < 0 && errno != EEXIST ? err_sys(e, errno, "making '%s'", path) : 0;
}

/* Others may neither write there nor, so that what is being unpacked is out of everybody's reach, enter. */
static int open_store(char *path, size_t size, struct err *e)
{
	AUTO_FD int dir = FD_NONE;
	struct stat st;
	int r = default_path(path, size, e);

	if (r == 0)
		r = make_path(path, e);
	if (r < 0)
		return r;
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (!fd_valid(dir) || fstat(dir, &st) < 0)
		return err_sys(e, errno, "opening '%s'", path);
	if (st.st_uid != geteuid() || (st.st_mode & 077))
		return err_hint(e, err_set(e, ERR_DENIED, EACCES, "'%s' is not a directory of this user alone", path),
				"chown and chmod 700, or another XDG_STATE_HOME");
	return take_fd(&dir);
}

static void name_of(const struct stat *st, bool more, char name[NAME])
{
	(void)snprintf(name, NAME, "%llx-%llx-%llx-%llx.%lx-%llx.%lx%s", (unsigned long long)st->st_dev,
		       (unsigned long long)st->st_ino, (unsigned long long)st->st_size,
		       (unsigned long long)st->st_mtim.tv_sec, (unsigned long)st->st_mtim.tv_nsec,
		       (unsigned long long)st->st_ctim.tv_sec, (unsigned long)st->st_ctim.tv_nsec, more ? "+" : "");
}

/* Opens what is there, locked against removal. 1; 0 when it is not there. */
static int open_entry(int store, const char *name, int *ret_lock, struct err *e)
{
	AUTO_FD int fd = openat(store, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat there, mine;

	if (!fd_valid(fd))
		return errno == ENOENT ? 0 : err_sys(e, errno, "opening the unpacked package '%s'", name);
	if (flock(fd, LOCK_SH) < 0)
		return err_sys(e, errno, "locking the unpacked package '%s'", name);
	/* It may have been removed while the lock was waited for. */
	if (fstat(fd, &mine) < 0 || fstatat(store, name, &there, AT_SYMLINK_NOFOLLOW) < 0 ||
	    mine.st_ino != there.st_ino)
		return 0;
	(void)futimens(fd, (const struct timespec[2]){{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_NOW}});
	*ret_lock = take_fd(&fd);
	return 1;
}

/* ---- Sweeping ---- */

/* What a killed start has left half made, and what nobody has used for long. Nobody waits for a lock here. */
static void sweep(int store)
{
	AUTO_FD int fd = openat(store, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd_valid(fd) ? fdopendir(fd) : NULL;
	const time_t now = (time_t)(clock_wall_ns() / NS_PER_S);
	const struct dirent *de;

	if (!d)
		return;
	(void)take_fd(&fd);
	while ((de = readdir(d))) {
		const bool half = str_starts(de->d_name, ".new-");
		AUTO_FD int entry = FD_NONE, tree = FD_NONE;
		struct stat st;

		if (!half && de->d_name[0] == '.')
			continue;
		entry = openat(store, de->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		tree = fd_valid(entry) ? openat(entry, "tree", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
				       : FD_NONE;
		if (!fd_valid(entry) || fstat(entry, &st) < 0 || now - st.st_mtim.tv_sec < (half ? HALF_S : KEEP_S) ||
		    flock(entry, LOCK_EX | LOCK_NB) < 0 || (fd_valid(tree) && flock(tree, LOCK_EX | LOCK_NB) < 0))
			continue;
		(void)!tree_remove(store, de->d_name);
	}
	(void)closedir(d);
}

/* ---- The child ---- */

struct task {
	int archive, dir, complaint;
	int program; /* open: where it lies, nobody need have access */
	const char *const *argv;
	const char *const *then;
	bool privileged;
	int (*confine)(void *arg);
	void *arg;
};

static int limit(int resource, rlim_t value)
{
	const struct rlimit l = {value, value};

	return setrlimit((__rlimit_resource_t)resource, &l) < 0 ? -errno : 0;
}

/* From here on nothing can be written, made or removed but below the directory, whatever the rights (landlock(7), Linux
 * 5.13; without it the rights of the user have to do). */
static int enclose(int dir)
{
	enum {
		WRITES = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |
			 LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR |
			 LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |
			 LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM
	};
	const struct landlock_ruleset_attr attr = {.handled_access_fs = WRITES};
	const struct landlock_path_beneath_attr below = {.allowed_access = WRITES, .parent_fd = dir};
	long rules = syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);

	if (rules < 0)
		return errno == ENOSYS || errno == EOPNOTSUPP ? 0 : -errno;
	if (syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &below, 0) < 0 ||
	    syscall(SYS_landlock_restrict_self, rules, 0) < 0)
		return -errno;
	return close((int)rules) < 0 ? -errno : 0;
}

/* From root to nobody, out of reach of what else runs as that. */
static int drop(void)
{
	if (unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) < 0)
		return -errno;
	if (syscall(SYS_setgroups, 0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
	    setresuid(NOBODY, NOBODY, NOBODY) < 0)
		return -errno;
	return 0;
}

static int place_fds(const struct task *t)
{
	const int fds[] = {t->archive, t->dir, t->complaint};

	/* First out of the way of each other. */
	for (int i = 0; i < 3; i++)
		if (dup3(fds[i], UNPACK_FD + 10 + i, O_CLOEXEC) < 0)
			return -errno;
	for (int i = 0; i < 3; i++)
		if (dup2(UNPACK_FD + 10 + i, UNPACK_FD + i) < 0)
			return -errno;
	return syscall(SYS_close_range, UNPACK_FD + 3, ~0U, 4 /* CLOSE_RANGE_CLOEXEC */) < 0 ? -errno : 0;
}

static _Noreturn void child(const struct task *t)
{
	char *empty[] = {NULL}, **argv;
	sigset_t none;
	int r = place_fds(t);

	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	if (r == 0 && t->privileged)
		r = drop();
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a change of ids would undo it */
	if (r == 0)
		r = limit(RLIMIT_AS, MEMORY) ?: limit(RLIMIT_CPU, CPU_S) ?: limit(RLIMIT_CORE, 0);
	if (r == 0)
		r = limit(RLIMIT_FSIZE, PACKAGE_MAX_UNPACKED) ?: limit(RLIMIT_NOFILE, 64);
	if (r == 0 && fchdir(UNPACK_FD + 1) < 0)
		r = -errno;
	if (r == 0 && t->privileged) /* counted for nobody on the whole host */
		r = limit(RLIMIT_NPROC, 256);
	if (r == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		r = -errno;
	if (r == 0)
		r = enclose(UNPACK_FD + 1);
	if (r == 0)
		r = t->confine(t->arg);
	if (r == 0) {
		memcpy(&argv, &t->argv, sizeof t->argv); /* execve(2) changes nothing */
		(void)syscall(SYS_execveat, t->program, "", argv, empty, AT_EMPTY_PATH);
		r = -errno;
	}
	(void)dprintf(UNPACK_FD + 2, "the unpacker cannot be started: %s", strerrordesc_np(-r));
	_exit(127);
}

/* Runs the unpacker; *complaint is what it says. Its wait status, or -errno. */
static int run(const struct task *t, int complaint_r, char complaint[COMPLAINT], struct err *e)
{
	int status;
	ssize_t n;
	size_t len = 0;
	/* Root's is PID 1 of a namespace: nothing that it starts outlives it. */
	pid_t pid = sys_clone3(&(struct clone_args){.flags = t->privileged ? CLONE_NEWPID : 0, .exit_signal = SIGCHLD});
	const uint64_t deadline = clock_mono_ns() + DEADLINE_S * NS_PER_S;
	bool late = false;

	if (pid == 0)
		child(t);
	if (pid < 0)
		return err_sys(e, pid, "starting the unpacker");
	(void)close(t->complaint);
	while (len < COMPLAINT - 1) {
		const uint64_t now = clock_mono_ns();
		struct pollfd p = {.fd = complaint_r, .events = POLLIN};

		late = now >= deadline;
		if (late || (poll(&p, 1, (int)((deadline - now) / NS_PER_MS) + 1) < 0 && errno != EINTR))
			break;
		if (!p.revents)
			continue;
		n = read(complaint_r, complaint + len, COMPLAINT - 1 - len);
		if (n == 0 || (n < 0 && errno != EINTR))
			break;
		len += n > 0 ? (size_t)n : 0;
	}
	complaint[len] = '\0';
	if (late)
		(void)kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return err_sys(e, errno, "waiting for the unpacker");
	return status;
}

/* What it said stands in messages: one line, no surprises for a terminal. */
static void tame(char *text)
{
	for (char *p = text; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
}

static int explain(const char *name, int status, char *complaint, struct err *e)
{
	tame(complaint);
	if (WIFSIGNALED(status) && (WTERMSIG(status) == SIGXCPU || WTERMSIG(status) == SIGKILL))
		return err_set(e, ERR_LIMIT, 0, "'%s': unpacking it takes more than %d s of CPU time, or %d s", name,
			       CPU_S, DEADLINE_S);
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGXFSZ)
		return err_set(e, ERR_LIMIT, EFBIG, "'%s': unpacked it has over %d bytes", name, PACKAGE_MAX_UNPACKED);
	if (WIFSIGNALED(status))
		return err_set(e, ERR_SPEC, ENOEXEC, "'%s': the unpacker was ended by signal %d", name,
			       WTERMSIG(status));
	return err_set(e, WEXITSTATUS(status) == 1 ? ERR_SPEC : ERR_SYSTEM, ENOEXEC, "'%s': %s", name,
		       complaint[0] ? complaint : "it cannot be unpacked");
}

/* ---- Making one ---- */

/* A directory of our own, locked as long as it is half made. */
static int begin(int store, char aside[NAME], int *ret_lock, struct err *e)
{
	AUTO_FD int fd = FD_NONE;

	(void)snprintf(aside, NAME, ".new-%d-%llx", getpid(), (unsigned long long)clock_mono_ns());
	if (mkdirat(store, aside, 0700) < 0)
		return err_sys(e, errno, "making a directory for the package");
	fd = openat(store, aside, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (!fd_valid(fd) || flock(fd, LOCK_EX | LOCK_NB) < 0 || fchmod(fd, 0755) < 0 || mkdirat(fd, "tree", 0755) < 0)
		return err_sys(e, errno, "making a directory for the package");
	*ret_lock = take_fd(&fd);
	return 0;
}

/* One command in the directory. Its wait status, or -errno. */
static int execute(struct task *t, const char *const *argv, char complaint[COMPLAINT], struct err *e)
{
	AUTO_FD int complaint_r = FD_NONE, program = FD_NONE, high = open(argv[0], O_RDONLY | O_CLOEXEC);
	int ends[2];

	if (!fd_valid(high))
		return err_sys(e, errno, "opening '%s'", argv[0]);
	program = t->program = fcntl(high, F_DUPFD_CLOEXEC, 4 * UNPACK_FD + 20); /* out of the way of the others */
	if (program < 0)
		return err_sys(e, errno, "opening '%s'", argv[0]);
	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_sys(e, errno, "pipe");
	complaint_r = ends[0];
	t->complaint = ends[1];
	t->argv = argv;
	return run(t, complaint_r, complaint, e);
}

static int unpack(const char *name, const char *const *argv, struct task *t, int aside, struct err *e)
{
	char complaint[COMPLAINT] = "";
	AUTO_FD int tree = openat(aside, "tree", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int status;

	if (!fd_valid(tree) || fchmod(tree, 0755) < 0)
		return err_sys(e, errno, "preparing a directory for the package");
	t->privileged = geteuid() == 0;
	if (t->privileged && fchown(tree, NOBODY, NOBODY) < 0) {
		if (errno != EINVAL) /* root's, and nothing that nobody could write to */
			return err_sys(e, errno, "giving a directory to nobody, for the package");
		t->privileged = false; /* root of a user namespace that has no such id: he has nobody else to be */
	}
	t->dir = tree;
	status = execute(t, argv, complaint, e);
	if (status < 0)
		return status;
	if (status != 0)
		return explain(name, status, complaint, e);
	if (t->then && execute(t, t->then, complaint, e) < 0)
		return -ECHILD;
	if (t->privileged && fchown(tree, 0, 0) < 0)
		return err_sys(e, errno, "taking the package over");
	return syncfs(tree) < 0 ? err_sys(e, errno, "writing the package") : 0;
}

/* 0 when it stands under its name, ours or that of somebody who was faster. */
static int make(int store, const char *name, const char *entry, const char *const *argv, struct task *t, struct err *e)
{
	char aside[NAME];
	AUTO_FD int lock = FD_NONE;
	int r = begin(store, aside, &lock, e);

	if (r == 0)
		r = unpack(name, argv, t, lock, e);
	if (r == 0 && renameat(store, aside, store, entry) < 0 && errno != EEXIST && errno != ENOTEMPTY)
		r = err_sys(e, errno, "putting the package in its place");
	if (fd_valid(lock))
		(void)!tree_remove(store, aside); /* there no more, or not to be used */
	return r;
}

static int check_archive(const char *name, int fd, struct stat *st, struct err *e)
{
	if (fstat(fd, st) < 0)
		return err_sys(e, errno, "'%s'", name);
	if (!S_ISREG(st->st_mode))
		return err_set(e, ERR_SPEC, ENOEXEC, "'%s' is not a regular file", name);
	if (st->st_size > PACKAGE_MAX_BYTES)
		return err_set(e, ERR_LIMIT, EFBIG, "'%s' has %lld bytes; a zipped package has at most %d", name,
			       (long long)st->st_size, PACKAGE_MAX_BYTES);
	return 0;
}

int package_open(const char *name, int fd, const char *unpacker, int (*confine)(void *arg), void *arg,
		 const char *const *then, struct package *ret, struct err *e)
{
	struct task t = {.archive = fd, .then = then, .confine = confine, .arg = arg};
	const char *const argv[] = {unpacker, NULL};
	AUTO_FD int store = FD_NONE;
	char path[512] = "", entry[NAME];
	struct stat st;
	int r = check_archive(name, fd, &st, e);

	*ret = (struct package){.lock = FD_NONE};
	if (r == 0)
		r = store = open_store(path, sizeof path, e);
	if (r < 0)
		return r;
	name_of(&st, then != NULL, entry);
	for (int try = 0; try < 3; try++) {
		r = open_entry(store, entry, &ret->lock, e);
		if (r < 0)
			return r;
		if (r == 1) {
			(void)snprintf(ret->path, sizeof ret->path, "%s/%s/tree", path, entry);
			return 0;
		}
		sweep(store);
		r = make(store, name, entry, argv, &t, e);
		if (r < 0)
			return r;
	}
	return err_set(e, ERR_BUSY, EBUSY, "'%s': its unpacked form is removed as fast as it is made", name);
}

void package_close(struct package *p)
{
	fd_closep(&p->lock);
}
