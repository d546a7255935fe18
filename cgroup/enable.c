/* cgroup2's cgroup.subtree_control: handing memory, cpu and pids down to cells, and stepping aside for it.
 *
 * A group other than the root hands controllers down only while it holds no process (cgroup-v2.rst, "No Internal Process
 * Constraint"). In a delegated group that holds only us, we move into a sub-group; anybody else's process stays where
 * it is, and the error says so. Nothing is disabled but, on the way back, what we enabled. */
#include "cgroup/internal.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const controllers[] = {"memory", "cpu", "pids"};

static bool has_word(const char *text, const char *word)
{
	size_t len = strlen(word);

	for (const char *p = text; *p;) {
		size_t n = strcspn(p, " \n");

		if (n == len && memcmp(p, word, n) == 0)
			return true;
		p += n + (p[n] != '\0');
	}
	return false;
}

/* "+memory +pids": those of ours that @have lacks, each after @sign. Returns the length. */
static size_t list_missing(const char *have, const char *sign, char *ret, size_t size)
{
	size_t at = 0;

	ret[0] = '\0';
	for (size_t i = 0; i < ARRAY_LEN(controllers); i++) {
		const char *const parts[] = {at > 0 ? " " : "", sign, controllers[i]};

		if (!has_word(have, controllers[i]) && cg_concat(ret + at, size - at, parts, 3))
			at += strlen(ret + at);
	}
	return at;
}

int cg_hint_v2(const struct cg_host *host, int code, const char *path, int r, struct err *e)
{
	const char *slash = strcmp(path, "/") == 0 ? "" : path;

	if (code == EROFS)
		return err_hint(e, r, "the hierarchy is mounted read-only, as in many containers: mount %s writable",
				host->v2_root);
	return err_hint(e, r,
			"run it in a group of your own: " CG_RUN_DELEGATED
			"; without systemd, as root, give a group below %s%s to user %u and put your shell into it",
			host->v2_root, slash, (unsigned)geteuid());
}

static bool only_ourselves(int dirfd)
{
	char text[64], pid[24];

	if (cg_read_at(dirfd, "cgroup.procs", text, sizeof text) < 0) /* does not fit: many */
		return false;
	(void)cg_format_u64(pid, (uint64_t)getpid());
	return strcmp(text, pid) == 0;
}

static void leave_supervisor(int group)
{
	cg_try_write_at(group, "cgroup.procs", "0", 1);
	(void)unlinkat(group, CG_SUPERVISOR, AT_REMOVEDIR);
}

/* Our own group is asked to hand controllers down while we are in it: if we are alone, we step aside. */
static int step_aside(struct cg_attempt *a, const char *at, int group, const char *enable, size_t len)
{
	char self[sizeof a->host->v2_self];
	const char *const parts[] = {at, "/" CG_SUPERVISOR};
	int r;

	if (strcmp(at, a->host->v2_self) != 0 || strcmp(at, "/") == 0 || !only_ourselves(group) ||
	    !cg_concat(self, sizeof self, parts, 2))
		return -EBUSY;
	if (mkdirat(group, CG_SUPERVISOR, 0755) < 0 && errno != EEXIST)
		return -errno;

	AUTO_FD int aside = cg_open_child(group, CG_SUPERVISOR);
	r = aside < 0 ? aside : cg_write_at(aside, "cgroup.procs", "0", 1);
	if (r == 0)
		r = cg_write_at(group, CG_CONTROL, enable, len);
	if (r < 0) {
		leave_supervisor(group);
		return r;
	}
	memcpy(a->host->v2_self, self, sizeof self);
	a->moved = true;
	return 0;
}

static int enable_failed(const struct cg_attempt *a, const char *at, int r, struct err *e)
{
	const char *root = a->host->v2_root, *sub = strcmp(at, "/") == 0 ? "" : at;
	AUTO_FD int wanted = cg_open_dir(root, a->path);
	char have[512], lacks[64];

	/* -ENOENT: it does not have them itself; -EACCES: it keeps them, and is not ours to change */
	if ((r == -ENOENT || r == -EACCES) && fd_valid(wanted) &&
	    cg_read_at(wanted, "cgroup.controllers", have, sizeof have) >= 0 &&
	    list_missing(have, "", lacks, sizeof lacks) > 0) {
		(void)err_set(e, ERR_DENIED, -r, "cgroup '%s%s' was not given the controllers: %s", root, a->path,
			      lacks);
		return err_hint(e, r,
				"as root: put 'Delegate=cpu memory pids' under [Service] in /etc/systemd/system/"
				"user@.service.d/delegate.conf, run systemctl daemon-reload, log in again");
	}
	if (r == -EBUSY || r == -EOPNOTSUPP) {
		(void)err_set(e, ERR_BUSY, -r,
			      "cgroup '%s%s' cannot hand down memory, cpu and pids: processes live in it", root, sub);
		return err_hint(e, r,
				"start fsbox as the only process of a delegated group: " CG_RUN_DELEGATED
				" (as root without --user), or name an empty one with --cgroup-parent");
	}
	(void)err_sys(e, r, "enabling memory, cpu and pids in '%s%s/" CG_CONTROL "'", root, sub);
	return cg_hint_v2(a->host, -r, at, r, e);
}

static int enable_at(struct cg_attempt *a, const char *at, struct err *e)
{
	AUTO_FD int group = cg_open_dir(a->host->v2_root, at);
	char have[512], want[64];
	ssize_t n = group < 0 ? group : cg_read_at(group, CG_CONTROL, have, sizeof have);
	size_t len;
	int r;

	if (n < 0) {
		r = err_sys(e, (int)n, "reading '%s%s/" CG_CONTROL "'", a->host->v2_root,
			    strcmp(at, "/") == 0 ? "" : at);
		return cg_hint_v2(a->host, (int)-n, at, r, e);
	}
	len = list_missing(have, "+", want, sizeof want);
	if (len == 0)
		return 0;
	r = cg_write_at(group, CG_CONTROL, want, len);
	if (r == -EBUSY || r == -EOPNOTSUPP)
		r = step_aside(a, at, group, want, len);
	return r < 0 ? enable_failed(a, at, r, e) : 0;
}

/* A group can enable only what the one above handed to it, so from the root down; mostly the last one has all, which
 * proves it of those above. */
int cg_enable_down(struct cg_attempt *a, int parent, struct err *e)
{
	char have[512], part[256];

	if (cg_read_at(parent, CG_CONTROL, have, sizeof have) >= 0 && list_missing(have, "+", part, sizeof part) == 0)
		return 0;
	for (const char *end = a->path; end; end = strchr(end + 1, '/')) {
		size_t len = (size_t)(end - a->path);

		memcpy(part, a->path, len);
		part[len] = '\0';

		int r = enable_at(a, len == 0 ? "/" : part, e);
		if (r < 0)
			return r;
	}
	return strcmp(a->path, "/") == 0 ? 0 : enable_at(a, a->path, e);
}

/* The group that the supervisor's group belongs to; @path itself when we did not step aside. */
void cg_without_supervisor(char *path)
{
	size_t len = strlen(path), tail = strlen("/" CG_SUPERVISOR);

	if (len >= tail && strcmp(path + len - tail, "/" CG_SUPERVISOR) == 0)
		path[len - tail] = '\0';
}

static int count_others(int parent, const char *name, int dirfd, void *arg)
{
	bool *others = arg;

	(void)parent;
	(void)dirfd;
	*others |= strcmp(name, CG_SUPERVISOR) != 0;
	return 0;
}

/* Back from the supervisor's group. A group that hands down controllers takes no process, so they go first; where other
 * groups still live below (a second fsbox's), that would take their limits, and we stay. */
void cg_step_back(const struct cg_host *host)
{
	char path[sizeof host->v2_self], list[64];
	const char *self = host->v2_self;
	bool others = false;
	struct cg_walk w = {.visit = count_others, .arg = &others};

	if (!cg_concat(path, sizeof path, &self, 1))
		return;
	cg_without_supervisor(path);

	AUTO_FD int group = cg_open_dir(host->v2_root, path);

	if (!fd_valid(group) || strcmp(path, self) == 0 || cg_walk(group, 0, &w) < 0 || others)
		return;
	if (cg_write_at(group, CG_CONTROL, list, list_missing("", "-", list, sizeof list)) == 0)
		leave_supervisor(group);
}
