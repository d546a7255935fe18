#include "tests/lib/plain_criu.h"

#include "base/clock.h"
#include "base/fd.h"
#include "sys/sys.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#include <linux/magic.h>

enum { MAX_ARGS = 32 + 4 * PLAN_MAX_MOUNTS, FIRST_PIPE = 200 };

int plain_criu_world(const char *state_dir, struct err *e)
{
	AUTO_FD int state = FD_NONE, fs = FD_NONE, run = FD_NONE;
	struct statfs st;
	int r;

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		return err_sys(e, errno, "making a mount namespace");
	if (statfs("/run", &st) < 0)
		return err_sys(e, errno, "looking at /run");
	if (mkdir(state_dir, 0700) < 0 && errno != EEXIST)
		return err_sys(e, errno, "making %s", state_dir);
	if (st.f_type == TMPFS_MAGIC)
		return 0;
	state = sys_open_tree(AT_FDCWD, state_dir, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
	fs = sys_fsopen("tmpfs");
	r = state < 0 ? state : fs < 0 ? fs : sys_fsconfig_create(fs);
	if (r == 0)
		r = run = sys_fsmount(fs, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
	if (r >= 0)
		r = sys_move_mount(run, AT_FDCWD, "/run");
	if (r >= 0 && mkdir(state_dir, 0700) < 0)
		r = -errno;
	if (r >= 0)
		r = sys_move_mount(state, AT_FDCWD, state_dir);
	return r < 0 ? err_sys(e, r, "making a tmpfs at /run") : 0;
}

/* ---- What the cell finds in place ---- */

static int bind(const char *source, const char *to, unsigned set, unsigned clear)
{
	AUTO_FD int tree = sys_open_tree(AT_FDCWD, source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
	struct stat st;
	int r;

	if (tree < 0)
		return tree;
	r = sys_mount_attr(tree, set, clear, true);
	if (r < 0 || fstat(tree, &st) < 0)
		return r < 0 ? r : -errno;
	if (S_ISDIR(st.st_mode)) {
		if (mkdir(to, 0755) < 0)
			return -errno;
	} else {
		AUTO_FD int fd = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

		if (fd < 0)
			return -errno;
	}
	return sys_move_mount(tree, AT_FDCWD, to);
}

static int place(struct plain_criu *p, const struct plan_mount *m, struct err *e)
{
	const char *to = arena_printf(&p->arena, "%s/sources/%zu", p->dir, p->n);
	int r;

	if (!to)
		return err_oom(e);
	r = bind(m->source, to, m->set, m->clear);
	if (r == -ENOENT && m->optional)
		return 0;
	if (r < 0)
		return err_sys(e, r, "binding '%s'", m->source);
	p->external[p->n] = arena_printf(&p->arena, "mnt[/%s]:m%zu", m->target, p->n);
	p->places[p->n] = arena_printf(&p->arena, "mnt[m%zu]:%s", p->n, to);
	if (!p->external[p->n] || !p->places[p->n])
		return err_oom(e);
	p->n++;
	return 0;
}

int plain_criu_init(struct plain_criu *p, const struct snap_engine *engine, const struct cell *c, const char *dir,
		    struct err *e)
{
	char path[sizeof p->dir + 16], skeleton[400];
	int r = 0;

	*p = (struct plain_criu){.engine = engine};
	(void)snprintf(p->dir, sizeof p->dir, "%s", dir);
	(void)snprintf(path, sizeof path, "%s/sources", dir);
	if (mkdir(dir, 0755) < 0 || mkdir(path, 0755) < 0)
		return err_sys(e, errno, "making '%s'", path);
	(void)snprintf(path, sizeof path, "%s/root", dir);
	(void)snprintf(skeleton, sizeof skeleton, "%s/%s", c->host->state_dir, c->plan->skel_name);
	r = bind(skeleton, path, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, 0);
	if (r < 0)
		return err_sys(e, r, "binding '%s'", skeleton);
	for (size_t i = 0; r == 0 && i < c->plan->n_mounts; i++)
		if (c->plan->mounts[i].kind == MOUNT_TREE && c->plan->mounts[i].target[0])
			r = place(p, &c->plan->mounts[i], e);
	return r;
}

void plain_criu_done(struct plain_criu *p)
{
	char path[sizeof p->dir + 32];

	(void)snprintf(path, sizeof path, "%s/root", p->dir);
	(void)umount2(path, MNT_DETACH);
	for (size_t i = 0; i < p->n; i++) {
		(void)snprintf(path, sizeof path, "%s/sources/%zu", p->dir, i);
		(void)umount2(path, MNT_DETACH);
	}
	arena_done(&p->arena);
}

/* ---- The command ---- */

struct line {
	const char *argv[MAX_ARGS];
	size_t n;
};

static void add(struct line *l, const char *word)
{
	if (l->n + 1 < MAX_ARGS)
		l->argv[l->n++] = word;
	l->argv[l->n] = NULL;
}

static void add_pair(struct line *l, const char *option, const char *value)
{
	add(l, option);
	add(l, value);
}

static void add_start(struct line *l, struct plain_criu *p, const char *command, const char *images, const char *log)
{
	add(l, p->engine->loader);
	add(l, "--inhibit-cache");
	add_pair(l, "--library-path", arena_printf(&p->arena, "%s/lib", p->engine->dir));
	add(l, arena_printf(&p->arena, "%s/bin/criu", p->engine->dir));
	add(l, "--no-default-config");
	add(l, command);
	add_pair(l, "-D", arena_printf(&p->arena, "%s/%s", p->dir, images));
	add_pair(l, "-o", arena_printf(&p->arena, "%s/%s", p->dir, log));
	add(l, "--manage-cgroups=ignore");
}

_Noreturn static void execute(const struct plain_criu *p, const struct line *l)
{
	char libs[sizeof p->engine->dir + 32], run[] = "XDG_RUNTIME_DIR=/run", home[] = "HOME=/nonexistent",
					       path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
	char *envp[] = {libs, run, home, path, NULL};
	char *const *argv;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	(void)snprintf(libs, sizeof libs, "CRIU_LIBS_DIR=%s/plugins", p->engine->dir);
	memcpy(&argv, &(const char *const *){l->argv}, sizeof argv); /* execve(2) does not write to the texts */
	for (int fd = 0; fd < 3; fd++)
		if (dup2(null, fd) < 0)
			_exit(126);
	(void)execve(argv[0], argv, envp);
	_exit(127);
}

/* The last error in the log, which CRIU overwrites each time. */
static int explain(const struct plain_criu *p, const char *log, int status, struct err *e)
{
	char path[sizeof p->dir + 32], why[200];
	AUTO_FREE char *text = NULL;
	size_t len;

	(void)snprintf(path, sizeof path, "%s/%s", p->dir, log);
	AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fd_read_all(fd, 1 << 20, &text, &len) < 0)
		return err_set(e, ERR_UNSUPPORTED, 0, "plain CRIU ended with status %d and left no log", status);
	snap_engine_complaint(text, why, sizeof why);
	return err_set(e, ERR_UNSUPPORTED, 0, "plain CRIU ended with status %d: %s", status, why);
}

static int await(pid_t pid)
{
	int status = -1;

	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* ---- Dump ---- */

/* As snapshot/dump.c: another user, with all capabilities of this one. */
static int become(uid_t owner)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];

	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0 || syscall(SYS_setresuid, owner, owner, owner) < 0 ||
	    syscall(SYS_capget, &head, data) < 0)
		return -errno;
	for (int i = 0; i < 2; i++)
		data[i].effective = data[i].inheritable = data[i].permitted;
	if (syscall(SYS_capset, &head, data) < 0)
		return -errno;
	for (unsigned cap = 0; cap < 64; cap++)
		if (data[cap / 32].permitted & (1U << (cap % 32)) &&
		    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) < 0)
			return -errno;
	return 0;
}

/* The runtime has all four pipes; PID 1 has closed what it does not need. */
static int note_pipes(struct plain_images *images, const struct cell *c, struct err *e)
{
	char path[300], list[256];

	(void)snprintf(path, sizeof path, "/proc/%d/task/%d/children", c->pid, c->pid);
	if (fd_read_file_at(AT_FDCWD, path, list, sizeof list) < 0)
		return err_sys(e, errno, "reading %s", path);
	list[strcspn(list, " ")] = '\0';
	for (int i = 0; i < SNAP_MAX_PIPES; i++) {
		(void)snprintf(path, sizeof path, "/proc/%s/fd/%d", list, i + 1);
		ssize_t n = readlink(path, images->pipes[i], sizeof images->pipes[i] - 1);

		if (n < 0)
			return err_sys(e, errno, "reading %s", path);
		images->pipes[i][n] = '\0';
	}
	return 0;
}

int plain_criu_dump(struct plain_criu *p, const struct cell *c, struct plain_images *images, uint64_t *ret_ns,
		    struct err *e)
{
	const uid_t owner = c->plan->uid_outside + CELL_UID + 1; /* of the user namespace: docs/decisions/011 */
	char path[sizeof p->dir + 64], log[sizeof p->dir + 64];
	struct line l = {.n = 0};
	uint64_t begin;
	pid_t pid;
	int r = note_pipes(images, c, e), status;

	if (r < 0)
		return r;
	(void)snprintf(path, sizeof path, "%s/%s", p->dir, images->name);
	(void)snprintf(log, sizeof log, "%s/dump.log", p->dir);
	(void)unlink(log);
	if (mkdir(path, 0755) < 0 || chown(path, owner, (gid_t)-1) < 0)
		return err_sys(e, errno, "making '%s'", path);
	add_start(&l, p, "dump", images->name, "dump.log");
	add_pair(&l, "-t", arena_printf(&p->arena, "%d", c->pid));
	add(&l, "--unprivileged");
	add_pair(&l, "--network-lock", "skip");
	for (size_t i = 0; i < p->n; i++)
		add_pair(&l, "--external", p->external[i]);
	begin = clock_mono_ns();
	pid = fork();
	if (pid == 0) {
		if (become(owner) < 0)
			_exit(125);
		execute(p, &l);
	}
	if (pid < 0)
		return err_sys(e, errno, "fork");
	status = await(pid);
	*ret_ns = clock_mono_ns() - begin;
	return status == 0 ? 0 : explain(p, "dump.log", status, e);
}

/* ---- Restore ---- */

static int make_pipes(int theirs[SNAP_MAX_PIPES], struct plain_cell *ret, struct err *e)
{
	int p[3][2];

	for (int i = 0; i < 3; i++)
		if (pipe2(p[i], O_CLOEXEC) < 0)
			return err_sys(e, errno, "making a pipe");
	ret->std_out = p[0][0];
	theirs[0] = p[0][1];
	theirs[1] = fcntl(p[0][1], F_DUPFD_CLOEXEC, 0);
	ret->in = p[1][1];
	theirs[2] = p[1][0];
	ret->out = p[2][0];
	theirs[3] = p[2][1];
	return theirs[1] < 0 ? err_sys(e, errno, "dup") : 0;
}

int plain_criu_restore(struct plain_criu *p, const struct plain_images *images, const void *call, size_t len,
		       struct plain_cell *ret, struct err *e)
{
	char path[sizeof p->dir + 16];
	struct line l = {.n = 0};
	int theirs[SNAP_MAX_PIPES], r;

	*ret = PLAIN_CELL_NONE;
	r = make_pipes(theirs, ret, e);
	if (r < 0)
		return r;
	if (write(ret->in, call, len) != (ssize_t)len)
		return err_sys(e, EIO, "writing the call");
	(void)snprintf(path, sizeof path, "%s/pid", p->dir);
	(void)unlink(path);
	add_start(&l, p, "restore", images->name, "restore.log");
	add(&l, "-d");
	add(&l, "-S");
	add_pair(&l, "--pidfile", arena_printf(&p->arena, "%s/pid", p->dir));
	add_pair(&l, "--root", arena_printf(&p->arena, "%s/root", p->dir));
	for (size_t i = 0; i < p->n; i++)
		add_pair(&l, "--external", p->places[i]);
	for (int i = 0; i < SNAP_MAX_PIPES; i++)
		add_pair(&l, "--inherit-fd", arena_printf(&p->arena, "fd[%d]:%s", FIRST_PIPE + i, images->pipes[i]));
	ret->begin_ns = clock_mono_ns();
	ret->criu = fork();
	if (ret->criu == 0) {
		for (int i = 0; i < SNAP_MAX_PIPES; i++)
			if (dup2(theirs[i], FIRST_PIPE + i) < 0)
				_exit(125);
		execute(p, &l);
	}
	for (int i = 0; i < SNAP_MAX_PIPES; i++)
		fd_closep(&theirs[i]);
	return ret->criu < 0 ? err_sys(e, errno, "fork") : 0;
}

int plain_criu_wait(struct plain_criu *p, struct plain_cell *c, struct err *e)
{
	char path[sizeof p->dir + 16], text[32];
	const int status = await(c->criu);
	uint64_t pid;

	c->criu = 0;
	if (status != 0)
		return explain(p, "restore.log", status, e);
	(void)snprintf(path, sizeof path, "%s/pid", p->dir);
	if (fd_read_file_at(AT_FDCWD, path, text, sizeof text) < 0 || !parse_u64(text, 2, INT32_MAX, &pid))
		return err_set(e, ERR_SYSTEM, 0, "plain CRIU left no pid");
	c->pid = (pid_t)pid;
	return 0;
}

void plain_criu_end(struct plain_cell *c)
{
	fd_closep(&c->in);
	fd_closep(&c->out);
	fd_closep(&c->std_out);
	if (c->pid > 1) {
		(void)kill(c->pid, SIGKILL);
		(void)await(c->pid);
	}
	c->pid = 0;
}
