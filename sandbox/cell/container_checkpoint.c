/* What CRIU has to be told of a container that is to be dumped. */
#include "cell/checkpoint.h"

#include "base/fd.h"
#include "cell/container_mounts.h"
#include "sys/sys.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

enum { EXTRA_EXTERNALS = 8 };

/* ---- Mounts ---- */

/* Each instance of these shows its namespace's objects: a mount of one is made anew, whosever it was. */
static bool is_of_namespace(const char *type)
{
	static const char *const types[] = {"proc", "sysfs", "devpts", "mqueue", "binfmt_misc"};

	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		if (strcmp(type, types[i]) == 0)
			return true;
	return false;
}

static bool is_below(const char *path, const char *top)
{
	size_t n = strlen(top);

	while (n > 1 && top[n - 1] == '/')
		n--;
	return n > 1 && strncmp(path, top, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

static bool is_bind(const struct ct_spec *s, const char *point)
{
	for (size_t i = 0; i < s->n_mounts; i++)
		if (s->mounts[i].bind && !s->mounts[i].remount && is_below(point, s->mounts[i].target))
			return true;
	return false;
}

static bool is_mounted(const struct mounted_table *t, dev_t dev)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->at[i].dev == dev)
			return true;
	return false;
}

static int add_external(struct ct_checkpoint *c, const char **list, const char *text, struct err *e)
{
	if (!text || !list)
		return err_oom(e);
	list[c->job.n_externals++] = text;
	return 0;
}

/* The root is not among them: CRIU is given another one in any case. */
static int add_mounts(struct ct_checkpoint *c, const struct mounted_table *mine, const struct mounted_table *theirs,
		      const char **list, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < theirs->n; i++) {
		const struct mounted *m = &theirs->at[i];
		const bool cgroup = strcmp(m->type, "cgroup") == 0 || strcmp(m->type, "cgroup2") == 0;

		if (strcmp(m->point, "/") == 0 || is_of_namespace(m->type))
			continue;
		if (cgroup || is_bind(c->spec, m->point) || is_mounted(mine, m->dev))
			r = add_external(c, list, arena_printf(&c->arena, "mnt[%s]:%s", m->point, m->point), e);
	}
	return r;
}

/* ---- Descriptors ---- */

static bool mount_id(pid_t pid, int fd, unsigned *ret)
{
	char path[48], text[512];
	const char *line;

	(void)snprintf(path, sizeof path, "/proc/%d/fdinfo/%d", pid, fd);
	if (fd_read_file_at(AT_FDCWD, path, text, sizeof text) < 0)
		return false;
	line = strstr(text, "mnt_id:");
	return line && sscanf(line, "mnt_id: %u", ret) == 1;
}

static bool is_inside(const struct mounted_table *t, unsigned id)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->at[i].id == id)
			return true;
	return false;
}

/* Consoles, serial lines and both kinds of pseudoterminals (Documentation/admin-guide/devices.txt). */
static bool is_terminal(dev_t dev)
{
	return (major(dev) >= 136 && major(dev) <= 143) || major(dev) == 4 || major(dev) == 5;
}

/* Pipes have names that tell nothing of where they are. A file or terminal of the host's is none that the container could
 * open: CRIU leaves it out when it is told, and wants to be given one. */
static int add_stdio(struct ct_checkpoint *c, int fd, const struct mounted_table *theirs, const char **list,
		     struct err *e)
{
	char path[48], link[4096];
	const char *key = NULL;
	unsigned id = 0;
	struct stat st;
	ssize_t n;

	(void)snprintf(path, sizeof path, "/proc/%d/fd/%d", c->job.pid, fd);
	n = readlink(path, link, sizeof link - 1);
	link[n > 0 ? n : 0] = '\0';
	c->stdio[fd] = arena_strdup(&c->arena, link);
	if (!c->stdio[fd])
		return err_oom(e);
	if (n <= 0 || link[0] != '/' || stat(path, &st) < 0 || !mount_id(c->job.pid, fd, &id) || is_inside(theirs, id))
		return 0;
	if (S_ISCHR(st.st_mode) && is_terminal(st.st_rdev))
		key = arena_printf(&c->arena, "tty[%llx:%llx]", (unsigned long long)st.st_rdev,
				   (unsigned long long)st.st_dev);
	else
		key = arena_printf(&c->arena, "file[%x:%llx]", id, (unsigned long long)st.st_ino);
	c->stdio[fd] = key;
	return add_external(c, list, key, e);
}

/* ---- Namespaces ---- */

static const struct {
	enum ct_ns ns;
	const char *file;
	int type;
} given[] = {{CT_NET, "net", CLONE_NEWNET}, {CT_IPC, "ipc", CLONE_NEWIPC}, {CT_UTS, "uts", CLONE_NEWUTS}};

int ct_checkpoint_check(const struct ct_spec *s, const char *doing, struct err *e)
{
	const char *what = s->ns[CT_USER].path       ? "a user namespace that it is given"
			   : s->ns[CT_TIME].path     ? "a time namespace that it is given"
			   : s->ns[CT_MOUNT].path    ? "a mount namespace that it is given"
			   : !s->ns[CT_MOUNT].wanted ? "no mount namespace of its own"
			   : s->n_net_devices > 0    ? "network devices of the host"
			   : s->seccomp.asks         ? "a seccomp listener"
						     : NULL;

	return what ? err_set(e, ERR_UNSUPPORTED, EOPNOTSUPP, "a container with %s cannot be %s", what, doing) : 0;
}

static int add_namespaces(struct ct_checkpoint *c, const char **list, struct err *e)
{
	char path[48];
	struct stat st;

	for (size_t i = 0; i < ARRAY_LEN(given); i++) {
		int fd;

		if (!c->spec->ns[given[i].ns].path)
			continue;
		(void)snprintf(path, sizeof path, "/proc/%d/ns/%s", c->job.pid, given[i].file);
		fd = sys_openat(AT_FDCWD, path, O_RDONLY, 0);
		if (fd < 0)
			return err_sys(e, fd, "opening '%s'", path);
		c->job.ns[c->job.n_ns].fd = fd;
		c->job.ns[c->job.n_ns++].type = given[i].type;
	}
	if (!c->spec->ns[CT_PID].path)
		return 0;
	(void)snprintf(path, sizeof path, "/proc/%d/ns/pid", c->job.pid);
	if (stat(path, &st) < 0)
		return err_sys(e, errno, "looking at '%s'", path);
	return add_external(c, list,
			    arena_printf(&c->arena, "pid[%llu]:" CT_EXTERNAL_PIDNS, (unsigned long long)st.st_ino), e);
}

int ct_checkpoint_look(struct ct_checkpoint *c, struct err *e)
{
	struct mounted_table mine, theirs;
	const char **list = NULL;
	int r = ct_checkpoint_check(c->spec, "checkpointed", e);

	if (r == 0)
		r = mounts_of(0, &c->arena, &mine, e);
	if (r == 0)
		r = mounts_of(c->job.pid, &c->arena, &theirs, e);
	if (r == 0) {
		list = arena_alloc(&c->arena, (theirs.n + EXTRA_EXTERNALS) * sizeof *list);
		r = list ? 0 : err_oom(e);
	}
	c->job.externals = list;
	if (r == 0)
		r = add_mounts(c, &mine, &theirs, list, e);
	for (int fd = 0; r == 0 && fd < CT_STDIO; fd++)
		r = add_stdio(c, fd, &theirs, list, e);
	return r == 0 ? add_namespaces(c, list, e) : r;
}

void ct_checkpoint_done(struct ct_checkpoint *c)
{
	for (size_t i = 0; i < c->job.n_ns; i++)
		fd_closep(&c->job.ns[i].fd);
	arena_done(&c->arena);
}
