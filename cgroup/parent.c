/* Where cells' groups go, and what has to be true of that place.
 *
 * On cgroup2 a group hands controllers down only while it holds no process itself, the root excepted (cgroup-v2.rst,
 * "No Internal Process Constraint"), and an ordinary user may move a process only between groups whose common ancestor
 * he may write ("Delegation Containment"). Both are found out here, with a sentence, and not by a failing clone3. */
#include "cgroup/internal.h"

#include "base/mem.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define DEFAULT_PARENT "/fsbox"

/* mkdir -p below @root: an O_PATH descriptor of the last one, or -errno. Counts what is new in *made. */
static int dir_ensure(const char *root, const char *path, unsigned *made)
{
	int found = cg_open_dir(root, path);
	char name[256];

	if (found != -ENOENT)
		return found;

	AUTO_FD int at = cg_open_dir(root, "/");
	if (!fd_valid(at))
		return at;
	for (const char *p = path; *p;) {
		size_t len = strcspn(++p, "/");
		int next;

		memcpy(name, p, len); /* a checked path: below 256 bytes in all */
		name[len] = '\0';
		p += len;
		if (mkdirat(at, name, 0755) == 0)
			(*made)++;
		else if (errno != EEXIST)
			return -errno;
		next = cg_open_child(at, name);
		if (next < 0)
			return next;
		fd_closep(&at);
		at = next;
	}
	return take_fd(&at);
}

/* Takes back what dir_ensure() made, the last first. */
static void dir_undo(const char *root, const char *path, unsigned made)
{
	char part[256];

	if (made == 0 || !cg_concat(part, sizeof part, &path, 1))
		return;
	for (; made > 0; made--) {
		char *cut = strrchr(part, '/');
		AUTO_FD int up = FD_NONE;

		if (!cut)
			return;
		*cut = '\0';
		up = cg_open_dir(root, part);
		if (up < 0 || unlinkat(up, cut + 1, AT_REMOVEDIR) < 0)
			return;
	}
}

static bool may_write(int dirfd, const char *file)
{
	return faccessat(dirfd, file, W_OK, AT_EACCESS) == 0;
}

/* The deepest group that is above both, or one of them. */
static void common_ancestor(const char *a, const char *b, char *ret)
{
	size_t n = 0, end = 0;

	for (; a[n] != '\0' && a[n] == b[n]; n++)
		if (a[n] == '/')
			end = n;
	if ((a[n] == '\0' || a[n] == '/') && (b[n] == '\0' || b[n] == '/') && n > 0)
		end = n;
	memcpy(ret, a, end);
	ret[end] = '\0';
	if (end == 0)
		memcpy(ret, "/", 2);
}

/* Whether our children may enter groups below @path of cgroup2; CLONE_INTO_CGROUP asks the same (clone(2), EACCES).
 * *ret_at is the group whose cgroup.procs decides. */
static bool may_enter(const struct cg_host *host, const char *path, char *ret_at)
{
	common_ancestor(path, host->v2_self, ret_at);
	if (geteuid() == 0)
		return true;

	AUTO_FD int fd = cg_open_dir(host->v2_root, ret_at);

	return fd_valid(fd) && may_write(fd, "cgroup.procs");
}

static int use_v2(struct cg_attempt *a, struct err *e)
{
	const struct cg_host *host = a->host;
	char at[256];
	AUTO_FD int fd = dir_ensure(host->v2_root, a->path, &a->made[CG_H_V2]);
	int code = fd < 0 ? -fd : faccessat(fd, ".", W_OK | X_OK, AT_EACCESS) < 0 ? errno : 0, r;

	if (code != 0) {
		r = err_sys(e, code, "using '%s%s' as the parent of cells' cgroups", host->v2_root, a->path);
		return cg_hint_v2(host, code, a->path, r, e);
	}
	if (!may_enter(host, a->path, at)) {
		r = err_set(
			e, ERR_DENIED, EACCES,
			"a process of cgroup '%s' may not be put below '%s': '%s/cgroup.procs' of %s is not writable",
			host->v2_self, a->path, strcmp(at, "/") == 0 ? "" : at, host->v2_root);
		return cg_hint_v2(host, EACCES, a->path, r, e);
	}
	return cg_enable_down(a, fd, e);
}

/* Text that grows until it is full; what does not fit is left out. */
static void note(char *text, size_t size, const char *const *parts, size_t n)
{
	size_t at = strlen(text);

	(void)cg_concat(text + at, size - at, parts, n);
}

/* A parent for this user alone: the default one is everybody's. */
static void own_parent_name(const char *path, char *ret, size_t size)
{
	char uid[24];
	const char *const parts[] = {path, "-", uid};
	bool is_default = strcmp(path, DEFAULT_PARENT) == 0;

	(void)cg_format_u64(uid, geteuid());
	(void)cg_concat(ret, size, parts, is_default ? 3 : 1);
}

/* "/sys/fs/cgroup", with its length, when all the hierarchies are mounted right below it: then the hint stays short. */
static size_t common_dir(const struct cg_host *host)
{
	const char *first = cg_h_root(host, 0), *slash = strrchr(first, '/');
	size_t len = slash ? (size_t)(slash - first) : 0;

	for (unsigned h = 0; h < CG_H_COUNT; h++) {
		const char *root = cg_h_root(host, h);

		if (cg_h_used(host, h) &&
		    (strncmp(root, first, len) != 0 || root[len] != '/' || strchr(root + len + 1, '/')))
			return 0;
	}
	return len;
}

static int hint_hybrid(const struct cg_host *host, const char *path, int code, int r, struct err *e)
{
	char dirs[200] = "", name[256];
	size_t dir = common_dir(host);

	own_parent_name(path, name, sizeof name);
	if (code == EROFS)
		return err_hint(e, r,
				"the hierarchies are mounted read-only, as in many containers: mount them writable");
	if (code == EXDEV)
		return err_hint(
			e, r,
			"as root, put your shell into a group below it: d=%s%s; mkdir $d/shell; chown -R %u $d; "
			"echo PID >$d/shell/cgroup.procs",
			host->v2_root, name, (unsigned)geteuid());
	for (unsigned h = 0; h < CG_H_COUNT; h++) {
		const char *const parts[] = {" ", cg_h_root(host, h) + (dir > 0 ? dir + 1 : 0)};

		if (cg_h_used(host, h) && !cg_h_shared(host, h))
			note(dirs, sizeof dirs, parts, 2);
	}
	return err_hint(
		e, r,
		"as root: cd %.*s/; for d in%s; do mkdir -p $d%s; chown -R %u $d%s; done; then --cgroup-parent %s",
		(int)dir, cg_h_root(host, 0), dirs, name, (unsigned)geteuid(), name, name);
}

/* 0, or the errno with which hierarchy @h refuses. */
static int try_hierarchy(struct cg_attempt *a, unsigned h)
{
	AUTO_FD int fd = dir_ensure(cg_h_root(a->host, h), a->path, &a->made[h]);
	char at[256];

	if (fd < 0)
		return -fd;
	if (faccessat(fd, ".", W_OK | X_OK, AT_EACCESS) < 0)
		return errno;
	return h == CG_H_V2 && !may_enter(a->host, a->path, at) ? EXDEV : 0;
}

static const char *refusal(int code)
{
	const char *why = strerrordesc_np(code);

	if (code == EXDEV)
		return "this process is outside, and its group there is not writable";
	return why ? why : "refused";
}

static int use_hybrid(struct cg_attempt *a, struct err *e)
{
	char list[300] = "";
	int first = 0, r;

	for (unsigned h = 0; h < CG_H_COUNT; h++) {
		int code = cg_h_used(a->host, h) && !cg_h_shared(a->host, h) ? try_hierarchy(a, h) : 0;
		const char *const parts[] = {first ? ", " : "", cg_h_name(h), " (", refusal(code), ")"};

		if (code == 0)
			continue;
		note(list, sizeof list, parts, 5);
		first = first ? first : code;
	}
	if (first == 0)
		return 0;
	if (first == EACCES || first == EPERM || first == EROFS || first == EXDEV)
		r = err_set(e, ERR_DENIED, first == EXDEV ? EACCES : first, "cgroup parent '%s' refused in: %s",
			    a->path, list);
	else
		r = err_set(e, ERR_SYSTEM, first, "cgroup parent '%s' refused in: %s", a->path, list);
	return hint_hybrid(a->host, a->path, first, r, e);
}

static int use_parent(struct cg_host *host, const char *path, struct cg_parent *ret, struct err *e)
{
	struct cg_attempt a = {.host = host, .path = path};
	int r = host->mode == CG_V2 ? use_v2(&a, e) : use_hybrid(&a, e);

	if (r < 0) {
		if (a.moved)
			cg_step_back(host);
		for (unsigned h = 0; h < CG_H_COUNT; h++)
			dir_undo(cg_h_root(host, h), path, a.made[h]);
		return r;
	}
	*ret = (struct cg_parent){.moved_self = a.moved};
	memcpy(ret->path, path, strlen(path) + 1);
	return 0;
}

/* systemd marks what it delegates; CGROUP_DELEGATION.md. Root may write every group, so only the mark tells. */
static bool is_marked(const char *root, const char *path)
{
	char full[CG_FULL_PATH_MAX], mark[4];
	const char *const parts[] = {root, path};

	if (!cg_concat(full, sizeof full, parts, 2))
		return false;
	for (size_t i = 0; i < 2; i++) {
		ssize_t n = lgetxattr(full, i == 0 ? "trusted.delegate" : "user.delegate", mark, sizeof mark);

		if (n > 0)
			return n == 1 && mark[0] == '1';
	}
	return false;
}

static bool own_v2(const struct cg_host *host, char *ret, size_t size)
{
	const char *self = host->v2_self;

	if (!cg_concat(ret, size, &self, 1))
		return false;
	cg_without_supervisor(ret);
	if (ret[0] == '\0' || strcmp(ret, "/") == 0)
		return false;

	AUTO_FD int fd = cg_open_dir(host->v2_root, ret);

	if (!fd_valid(fd) || !may_write(fd, ".") || !may_write(fd, "cgroup.procs") || !may_write(fd, CG_CONTROL))
		return false;
	return geteuid() != 0 || is_marked(host->v2_root, ret);
}

/* On hybrid hosts nobody marks v1 groups, so root gets "/fsbox"; a user's own group counts when it is the same one in
 * every hierarchy and he may write it. */
static bool own_hybrid(const struct cg_host *host, char *ret, size_t size)
{
	const char *self = cg_h_self(host, CG_V1_MEMORY);

	if (geteuid() == 0 || self[0] == '\0' || strcmp(self, "/") == 0 || !cg_concat(ret, size, &self, 1))
		return false;
	for (unsigned h = 0; h < CG_H_COUNT; h++) {
		if (!cg_h_used(host, h))
			continue;

		AUTO_FD int fd = cg_open_dir(cg_h_root(host, h), self);

		if (strcmp(cg_h_self(host, h), self) != 0 || !fd_valid(fd) || !may_write(fd, ".") ||
		    !may_write(fd, "cgroup.procs"))
			return false;
	}
	return true;
}

static int no_hierarchy(const struct cg_host *host, struct err *e)
{
	char v1[64] = "";
	int r;

	if (host->v2_root[0] != '\0' && !host->v1_root[CG_V1_MEMORY][0] && !host->v1_root[CG_V1_CPU][0]) {
		r = err_set(e, ERR_UNSUPPORTED, EOPNOTSUPP, "cgroup2 at '%s' offers no controller%s%s%s", host->v2_root,
			    host->v2_memory ? "" : " memory", host->v2_cpu ? "" : " cpu", host->v2_pids ? "" : " pids");
		return err_hint(e, r,
				"see cgroup_disable= and cgroup_enable= on the kernel's command line; in a container, "
				"its manager has to delegate them");
	}
	for (unsigned h = 0; h < CG_V1_COUNT; h++) {
		const char *const parts[] = {" ", cg_h_name(h)};

		if (host->v1_root[h][0] == '\0')
			note(v1, sizeof v1, parts, 2);
	}
	r = err_set(
		e, ERR_UNSUPPORTED, EOPNOTSUPP,
		"this host mounts neither cgroup2 with memory, cpu and pids nor all of them on v1 (missing on v1:%s)",
		v1);
	return err_hint(e, r, "mount it as root: mount -t cgroup2 cgroup2 /sys/fs/cgroup");
}

/* Our own group, then the default; the error is the own group's where there was one, as it is nearer to the user. */
static int find_default(struct cg_host *host, struct cg_parent *ret, struct err *e)
{
	struct err own = {0}, other = {0};
	char path[256];
	bool have = host->mode == CG_V2 ? own_v2(host, path, sizeof path) : own_hybrid(host, path, sizeof path);

	if (have && use_parent(host, path, ret, &own) == 0)
		return 0;
	if (use_parent(host, DEFAULT_PARENT, ret, &other) == 0)
		return 0;
	return err_adopt(e, have ? &own : &other);
}

int cg_parent_find(struct cg_host *host, const char *wanted, struct cg_parent *ret, struct err *e)
{
	char path[sizeof ret->path];
	int r;

	if (host->mode == CG_NONE)
		return no_hierarchy(host, e);
	if (!wanted)
		return find_default(host, ret, e);
	r = cg_check_path(host, wanted, path, sizeof path, e);
	return r < 0 ? r : use_parent(host, path, ret, e);
}

void cg_parent_leave(const struct cg_host *host, const struct cg_parent *parent)
{
	if (parent->moved_self)
		cg_step_back(host);
}
