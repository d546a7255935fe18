/* The life of a cell's group: make, enter, remove, sweep.
 *
 * This is on the path of every cold start: one openat2 per parent, then mkdirat and openat by descriptor; no allocation,
 * no formatted output, nothing read back. */
#include "cgroup/internal.h"

#include "base/clock.h"

#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

#define REMOVE_PATIENCE_NS (2 * NS_PER_S)
#define PAUSE_MIN_NS       (NS_PER_MS / 20)
#define PAUSE_MAX_NS       (5 * NS_PER_MS)

int cg_dirfd(const struct cgroup *cg, unsigned h)
{
	return h == CG_H_V2 ? cg->v2 : cg->v1[h];
}

static int *dirfd_slot(struct cgroup *cg, unsigned h)
{
	return h == CG_H_V2 ? &cg->v2 : &cg->v1[h];
}

int cg_fail(const struct cgroup *cg, unsigned h, const char *file, int code, const char *doing, struct err *e)
{
	const char *parent = strcmp(cg->parent, "/") == 0 ? "" : cg->parent;
	const char *root = cg->host ? cg_h_root(cg->host, h) : cg_h_name(h);
	int r;

	if (code == ENOENT && file[0] != '\0') {
		r = err_set(e, ERR_UNSUPPORTED, code, "%s %s%s/%s/%s: the kernel or the group above does not offer it",
			    doing, root, parent, cg->name, file);
		r = err_hint(e, r,
			     "see `fsbox check`; on cgroup2 the controller has to stand in cgroup.subtree_control "
			     "of %s%s",
			     root, parent);
	} else {
		r = err_sys(e, code, "%s %s%s/%s%s%s", doing, root, parent, cg->name, file[0] ? "/" : "", file);
	}
	return err_where(e, r, "%s%s/%s%s%s", root, parent, cg->name, file[0] ? "/" : "", file);
}

int cg_put(const struct cgroup *cg, unsigned h, const char *file, const char *text, size_t len, struct err *e)
{
	int r = cg_write_at(cg_dirfd(cg, h), file, text, len);
	char doing[64];
	const char *const parts[] = {"writing '", text, "' to"};

	if (r == 0)
		return 0;
	return cg_fail(cg, h, file, -r, cg_concat(doing, sizeof doing, parts, 3) ? doing : "writing", e);
}

static void cg_reset(struct cgroup *cg)
{
	cg->mode = CG_NONE;
	cg->v2 = cg->oom_event = cg->peak = FD_NONE;
	for (unsigned h = 0; h < CG_V1_COUNT; h++)
		cg->v1[h] = FD_NONE;
}

void cg_close(struct cgroup *cg)
{
	if (cg->mode == CG_NONE) { /* a zeroed struct: its descriptors are not ours */
		cg_reset(cg);
		return;
	}
	for (unsigned h = 0; h < CG_H_COUNT; h++)
		fd_closep(dirfd_slot(cg, h));
	fd_closep(&cg->oom_event);
	fd_closep(&cg->peak);
	cg_reset(cg);
}

static int cg_start(struct cg_host *host, const char *parent, const char *name, struct cgroup *ret, struct err *e)
{
	int r = cg_check_name(name, e);

	if (r < 0)
		return r;
	*ret = (struct cgroup){.host = host};
	cg_reset(ret);
	if (!cg_concat(ret->name, sizeof ret->name, &name, 1) ||
	    !cg_concat(ret->parent, sizeof ret->parent, &parent, 1))
		return err_set(e, ERR_SPEC, ENAMETOOLONG, "cgroup '%.100s' below '%.200s': name too long", name,
			       parent);
	if (host->mode == CG_NONE)
		return err_set(e, ERR_UNSUPPORTED, EOPNOTSUPP, "this host has no usable cgroup hierarchy");
	ret->mode = host->mode;
	return 0;
}

static int make_in(struct cgroup *cg, unsigned h, struct err *e)
{
	AUTO_FD int parent = cg_open_dir(cg_h_root(cg->host, h), cg->parent);
	int fd;

	if (parent < 0)
		return cg_fail(cg, h, "", -parent, "opening the parent of", e);
	if (!cg_h_shared(cg->host, h) && mkdirat(parent, cg->name, 0755) < 0)
		return cg_fail(cg, h, "", errno, "creating", e);
	fd = cg_open_child(parent, cg->name);
	if (fd < 0) {
		(void)unlinkat(parent, cg->name, AT_REMOVEDIR);
		return cg_fail(cg, h, "", -fd, "opening", e);
	}
	*dirfd_slot(cg, h) = fd;
	return 0;
}

/* cgroup-v1/memory.rst, "OOM Control": "<eventfd> <descriptor of memory.oom_control>". The registration lives as long as
 * the eventfd; the other descriptor is only looked at. */
static int register_oom(struct cgroup *cg, struct err *e)
{
	AUTO_FD int control = openat(cg->v1[CG_V1_MEMORY], "memory.oom_control", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	AUTO_FD int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	char text[48];
	size_t len;

	if (control < 0)
		return cg_fail(cg, CG_V1_MEMORY, "memory.oom_control", errno, "opening", e);
	if (event < 0)
		return err_sys(e, errno, "making an eventfd for out-of-memory events");
	len = cg_format_u64(text, (uint64_t)event);
	text[len++] = ' ';
	len += cg_format_u64(text + len, (uint64_t)control);

	int r = cg_put(cg, CG_V1_MEMORY, "cgroup.event_control", text, len, e);

	if (r == 0)
		cg->oom_event = take_fd(&event);
	return r;
}

/* "fd/.." is the parent even after the directory was removed, so no path is walked again. */
static int rmdir_in(const struct cgroup *cg, unsigned h)
{
	char up[3 + sizeof cg->name];
	const char *const parts[] = {"../", cg->name};

	if (!cg_concat(up, sizeof up, parts, 2))
		return -ENAMETOOLONG;
	return unlinkat(cg_dirfd(cg, h), up, AT_REMOVEDIR) < 0 && errno != ENOENT ? -errno : 0;
}

static void unmake(struct cgroup *cg)
{
	fd_closep(&cg->oom_event);
	for (unsigned h = CG_H_COUNT; h-- > 0;)
		if (fd_valid(cg_dirfd(cg, h)))
			(void)rmdir_in(cg, h); /* nobody ever entered it */
	cg_close(cg);
}

int cg_begin(struct cg_host *host, const struct cg_parent *parent, const char *name, const struct cg_limits *limits,
	     struct cgroup *cg, struct err *e)
{
	struct cgroup made;
	int r = cg_start(host, parent->path, name, &made, e);

	if (r < 0)
		return r;
	if (limits->memory_bytes == 0 || limits->pids == 0)
		return err_set(e, ERR_SPEC, EINVAL, "cgroup '%s': limits of memory and processes must be above 0",
			       name);
	made.limits = *limits;
	if (cg_h_used(host, CG_H_V2))
		r = make_in(&made, CG_H_V2, e);
	if (r < 0) {
		unmake(&made);
		return r;
	}
	*cg = made;
	return 0;
}

int cg_finish(struct cgroup *cg, struct err *e)
{
	int r = 0;

	for (unsigned h = 0; r == 0 && h < CG_H_COUNT; h++)
		if (h != CG_H_V2 && cg_h_used(cg->host, h))
			r = make_in(cg, h, e);
	if (r == 0)
		r = cg_limits_write(cg, e);
	if (r == 0 && cg->mode == CG_HYBRID)
		r = register_oom(cg, e);
	return r;
}

int cg_create(struct cg_host *host, const struct cg_parent *parent, const char *name, const struct cg_limits *limits,
	      struct cgroup *cg, struct err *e)
{
	struct cgroup made;
	int r = cg_begin(host, parent, name, limits, &made, e);

	if (r < 0)
		return r;
	r = cg_finish(&made, e);
	if (r < 0) {
		unmake(&made);
		return r;
	}
	*cg = made;
	return 0;
}

int cg_open_tasks(const struct cgroup *cg, int fds[CG_V1_COUNT + 1], bool v2_too, struct err *e)
{
	int n = 0;

	for (unsigned h = 0; h < CG_H_COUNT; h++) {
		const char *file = h == CG_H_V2 ? "cgroup.procs" : "tasks";

		if (!fd_valid(cg_dirfd(cg, h)) || (h == CG_H_V2 && !v2_too))
			continue;
		fds[n] = openat(cg_dirfd(cg, h), file, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
		if (fds[n] < 0) {
			int r = cg_fail(cg, h, file, errno, "opening", e);

			while (n > 0)
				fd_closep(&fds[--n]);
			return r;
		}
		n++;
	}
	return n;
}

static int attach(const struct cgroup *cg, unsigned h, pid_t pid, struct err *e)
{
	char text[24];
	int r = cg_write_at(cg_dirfd(cg, h), "cgroup.procs", text, cg_format_u64(text, (uint64_t)pid));

	if (r == -ESRCH)
		return err_set(e, ERR_LOST, ESRCH, "putting process %d into cgroup '%s': it is gone", pid, cg->name);
	return r < 0 ? cg_fail(cg, h, "cgroup.procs", -r, "entering", e) : 0;
}

int cg_attach_v1(const struct cgroup *cg, pid_t pid, struct err *e)
{
	int r = 0;

	if (pid <= 0) /* 0 would be ourselves */
		return err_set(e, ERR_BUG, EINVAL, "putting process %d into a cgroup", pid);
	for (unsigned h = 0; r == 0 && cg->mode == CG_HYBRID && h < CG_V1_COUNT; h++)
		if (!cg_h_shared(cg->host, h))
			r = attach(cg, h, pid, e);
	return r;
}

int cg_attach_v2(const struct cgroup *cg, pid_t pid, struct err *e)
{
	if (pid <= 0)
		return err_set(e, ERR_BUG, EINVAL, "putting process %d into a cgroup", pid);
	if (cg->mode == CG_NONE || !fd_valid(cg->v2))
		return err_set(e, ERR_UNSUPPORTED, EOPNOTSUPP, "entering cgroup2: this host has none");
	return attach(cg, CG_H_V2, pid, e);
}

static int remove_child(int parent, const char *name, int dirfd, void *arg)
{
	(void)dirfd;
	(void)arg;
	/* EBUSY: an exiting process; the caller tries again */
	return unlinkat(parent, name, AT_REMOVEDIR) < 0 && errno != ENOENT && errno != EBUSY ? -errno : 0;
}

/* rmdir answers EBUSY while a process is in the group, an exiting one included, or a group below it exists. */
static int remove_in(struct cgroup *cg, unsigned h, uint64_t deadline)
{
	uint64_t pause = PAUSE_MIN_NS, now;
	int r;

	while ((r = rmdir_in(cg, h)) == -EBUSY) {
		struct cg_walk w = {.visit = remove_child};

		r = cg_walk(cg_dirfd(cg, h), 0, &w);
		if (r < 0)
			return r;
		if (w.seen > 0 && rmdir_in(cg, h) == 0)
			return 0;
		now = clock_mono_ns();
		if (now >= deadline)
			return -EBUSY;
		/* cgroup2 tells when the last one is gone. "populated 0" and still EBUSY happens for an instant, so a
		 * pause follows in any case where the wait returned at once. */
		if (h == CG_H_V2)
			(void)cg_wait_event(cg->v2, "populated", 0, deadline);
		if (h != CG_H_V2 || clock_mono_ns() - now < PAUSE_MIN_NS) {
			cg_pause_until(now + pause < deadline ? now + pause : deadline);
			pause = pause * 2 < PAUSE_MAX_NS ? pause * 2 : PAUSE_MAX_NS;
		}
	}
	return r;
}

static int remove_failed(const struct cgroup *cg, unsigned h, int r, struct err *e)
{
	char first[24] = "";
	ssize_t n = r == -EBUSY ? cg_read_at(cg_dirfd(cg, h), "cgroup.procs", first, sizeof first) : 0;

	if (r != -EBUSY)
		return cg_fail(cg, h, "", -r, "removing", e);
	first[strcspn(first, "\n")] = '\0';
	(void)cg_fail(cg, h, "", EBUSY, "removing", e);
	if (n == 0 || first[0] == '\0')
		return err_hint(e, r, "no process is listed in it; look for groups or threads below it");
	return err_hint(e, r, "process %s is still in it", first);
}

/* With the groups below it, but without waiting. */
static int remove_now(struct cgroup *cg, unsigned h)
{
	struct cg_walk w = {.visit = remove_child};
	int r = rmdir_in(cg, h);

	if (r != -EBUSY)
		return r;
	r = cg_walk(cg_dirfd(cg, h), 0, &w);
	if (r == 0)
		r = w.seen > 0 ? rmdir_in(cg, h) : -EBUSY;
	return r == -EBUSY ? -EAGAIN : r;
}

static int remove_all(struct cgroup *cg, bool wait, struct err *e)
{
	uint64_t deadline = 0; /* asked for only when somebody is still in there */
	int first = 0;

	if (cg->mode == CG_NONE) {
		cg_reset(cg);
		return 0;
	}
	/* cgroup2 first: it can tell when the processes are gone, and then the v1 groups are free as well. One that fails
	 * does not keep the others. */
	for (unsigned i = 0; i < CG_H_COUNT; i++) {
		unsigned h = i == 0 ? CG_H_V2 : i - 1;
		int *slot = dirfd_slot(cg, h), r;

		if (!fd_valid(*slot))
			continue;
		r = wait ? rmdir_in(cg, h) : remove_now(cg, h);
		if (r == -EBUSY) {
			deadline = deadline ? deadline : clock_mono_ns() + REMOVE_PATIENCE_NS;
			r = remove_in(cg, h, deadline);
		}
		if (r == 0)
			fd_closep(slot);
		else if (r == -EAGAIN && !wait)
			first = first < 0 ? first : r;
		else if (first == 0 || first == -EAGAIN)
			first = remove_failed(cg, h, r, e);
	}
	if (first == 0)
		cg_close(cg);
	return first;
}

int cg_remove(struct cgroup *cg, struct err *e)
{
	return remove_all(cg, true, e);
}

int cg_try_remove(struct cgroup *cg, struct err *e)
{
	return remove_all(cg, false, e);
}

int cg_sweep(struct cg_host *host, const char *parent, const char *name, struct err *e)
{
	struct cgroup cg;
	char path[sizeof cg.parent];
	int r = cg_check_path(host, parent, path, sizeof path, e);

	if (r == 0)
		r = cg_start(host, path, name, &cg, e);
	if (r < 0)
		return r;
	for (unsigned h = 0; r == 0 && h < CG_H_COUNT; h++) {
		AUTO_FD int up = cg_h_used(host, h) ? cg_open_dir(cg_h_root(host, h), path) : FD_NONE;
		int fd = fd_valid(up) ? cg_open_child(up, name) : up;

		if (fd_valid(fd))
			*dirfd_slot(&cg, h) = fd;
		else if (fd != -ENOENT && fd != FD_NONE)
			r = cg_fail(&cg, h, "", -fd, "opening", e);
	}
	if (r == 0)
		r = cg_kill(&cg, e);
	if (r == 0 && fd_valid(cg.v2)) /* a crash between two steps may have left somebody in v1 only */
		r = cg_kill_v1(&cg, e);
	if (r == 0)
		r = cg_remove(&cg, e);
	cg_close(&cg);
	return r;
}
