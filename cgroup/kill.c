/* Ending and freezing a whole group. */
#include "cgroup/internal.h"

#include "base/clock.h"
#include "base/mem.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>

#define BATCH  64
#define ROUNDS 32 /* one millisecond apart; with pids.max at 0 two are enough */

/* Processes of cgroup.procs that are about to get the signal. */
struct batch {
	pid_t pid[BATCH];
	int pidfd[BATCH];
	bool listed[BATCH]; /* still in the group after the pidfd was there */
	size_t n;
};

/* Reading cgroup.procs number by number: the list of a group without pids limit has no bound. */
struct procs {
	int fd;
	char buf[1024];
	size_t at, len;
};

/* 1 and a pid, 0 at the end, or -errno. */
static int procs_next(struct procs *p, uint64_t *ret)
{
	uint64_t v = 0;
	bool any = false;

	for (;;) {
		if (p->at == p->len) {
			ssize_t n = read(p->fd, p->buf, sizeof p->buf);

			if (n < 0 && errno == EINTR)
				continue;
			if (n < 0)
				return errno == ENODEV ? 0 : -errno;
			p->at = 0;
			p->len = (size_t)n;
			if (n == 0) {
				*ret = v;
				return any ? 1 : 0;
			}
		}

		char c = p->buf[p->at++];
		if (c >= '0' && c <= '9') {
			v = v * 10 + (uint64_t)(c - '0');
			any = true;
		} else if (any) {
			*ret = v;
			return 1;
		}
	}
}

static int procs_open(int dirfd, struct procs *ret)
{
	ret->fd = openat(dirfd, "cgroup.procs", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ret->at = ret->len = 0;
	return ret->fd < 0 ? -errno : 0;
}

/* A number of the first list may have been given to a stranger before its pidfd was made. A second list, read
 * afterwards, tells: what it names is the process of the pidfd, or a newer one in the group, and then the pidfd's own is
 * dead and the signal goes nowhere. */
static int mark_listed(int dirfd, struct batch *b)
{
	struct procs p;
	uint64_t pid;
	int r = procs_open(dirfd, &p);

	if (r < 0)
		return r;
	while ((r = procs_next(&p, &pid)) > 0)
		for (size_t i = 0; i < b->n; i++)
			b->listed[i] |= (uint64_t)b->pid[i] == pid;
	fd_closep(&p.fd);
	return r;
}

static int batch_signal(int dirfd, struct batch *b)
{
	int r = b->n > 0 ? mark_listed(dirfd, b) : 0;

	for (size_t i = 0; i < b->n; i++) {
		if (r == 0 && b->listed[i] && pidfd_send_signal(b->pidfd[i], SIGKILL, NULL, 0) < 0 && errno != ESRCH)
			r = -errno;
		fd_closep(&b->pidfd[i]);
	}
	b->n = 0;
	return r;
}

/* One pass over the list; *ret_any when there was anybody. */
static int kill_pass(int dirfd, bool *ret_any)
{
	struct batch b = {.n = 0};
	struct procs p;
	uint64_t pid;
	int r = procs_open(dirfd, &p);

	if (r < 0)
		return r;
	while ((r = procs_next(&p, &pid)) > 0) {
		*ret_any = true;
		if (pid == 0 || pid > INT32_MAX) { /* 0: lives outside of our pid namespace */
			r = -EPERM;
			break;
		}

		int fd = pidfd_open((pid_t)pid, 0);
		if (fd < 0 && errno == ESRCH)
			continue;
		if (fd < 0) {
			r = -errno;
			break;
		}
		b.pid[b.n] = (pid_t)pid;
		b.listed[b.n] = false;
		b.pidfd[b.n++] = fd;
		if (b.n == BATCH && (r = batch_signal(dirfd, &b)) < 0)
			break;
	}
	fd_closep(&p.fd);

	int last = batch_signal(dirfd, &b); /* closes in any case */
	return r < 0 ? r : last;
}

static int kill_rounds(int dirfd)
{
	for (int i = 0; i < ROUNDS; i++) {
		bool any = false;
		int r = kill_pass(dirfd, &any);

		if (r < 0 || !any)
			return r;
		cg_pause_until(clock_mono_ns() + NS_PER_MS);
	}
	return 0; /* all have their signal; who is still listed is on its way out */
}

static int kill_group(int dir, void *arg)
{
	int r = kill_rounds(dir);

	(void)arg;
	return r == -ENOENT || r == -ENODEV ? 0 : r; /* removed under our eyes, and the others are still to come */
}

int cg_kill_each(int dirfd)
{
	return cg_visit(dirfd, kill_group, NULL);
}

/* Without cgroup.kill a fork bomb can outrun the list: no forks any more, then SIGKILL to each, then the limit again,
 * for a caller that goes on with the group. */
static int kill_listed(const struct cgroup *cg, unsigned h, struct err *e)
{
	unsigned pids = cg->mode == CG_V2 ? CG_H_V2 : CG_V1_PIDS;
	char text[24];
	int dirfd = cg_dirfd(cg, pids), r;

	if (fd_valid(dirfd))
		cg_try_write_at(dirfd, "pids.max", "0", 1); /* only helps; the rounds below decide */
	r = cg_kill_each(cg_dirfd(cg, h));
	if (fd_valid(dirfd) && cg->limits.pids > 0)
		cg_try_write_at(dirfd, "pids.max", text, cg_format_u64(text, cg->limits.pids));
	return r < 0 && r != -ENOENT && r != -ENODEV ? cg_fail(cg, h, "cgroup.procs", -r, "killing", e) : 0;
}

static int kill_v2(const struct cgroup *cg, struct err *e)
{
	int r = cg_write_at(cg->v2, "cgroup.kill", "1", 1);

	if (r == -ENOENT || r == -EOPNOTSUPP) /* before 5.14; or a threaded group */
		r = kill_listed(cg, CG_H_V2, e);
	else if (r < 0 && r != -ENODEV)
		return cg_fail(cg, CG_H_V2, "cgroup.kill", -r, "killing", e);

	cg_try_write_at(cg->v2, "cgroup.freeze", "0", 1); /* nothing to thaw before 5.2 */
	return r == -ENODEV ? 0 : r;
}

int cg_kill_v1(const struct cgroup *cg, struct err *e)
{
	int r = 0;

	for (unsigned h = 0; r == 0 && h < CG_V1_COUNT; h++)
		if (fd_valid(cg->v1[h]) && !cg_h_shared(cg->host, h))
			r = kill_listed(cg, h, e);
	return r;
}

int cg_kill(const struct cgroup *cg, struct err *e)
{
	if (cg->mode == CG_NONE)
		return 0;
	/* A cell's processes are in the cgroup2 group from birth or first of all, so it holds everybody. */
	return fd_valid(cg->v2) ? kill_v2(cg, e) : cg_kill_v1(cg, e);
}

int cg_freeze(const struct cgroup *cg, bool frozen, int timeout_ms, struct err *e)
{
	uint64_t deadline = clock_mono_ns() + (uint64_t)(timeout_ms > 0 ? timeout_ms : 0) * NS_PER_MS;
	int r;

	if (!fd_valid(cg->v2))
		return err_set(e, ERR_UNSUPPORTED, EOPNOTSUPP,
			       "freezing a cell: this host has no cgroup2 hierarchy, and v1's freezer is not used");
	r = cg_write_at(cg->v2, "cgroup.freeze", frozen ? "1" : "0", 1);
	if (r < 0)
		return cg_fail(cg, CG_H_V2, "cgroup.freeze", -r, "writing", e);
	r = cg_wait_event(cg->v2, "frozen", frozen ? 1 : 0, deadline);
	if (r == -ETIMEDOUT) {
		if (frozen) /* half frozen is a state that nobody asked for */
			cg_try_write_at(cg->v2, "cgroup.freeze", "0", 1);
		return err_set(e, ERR_DEADLINE, ETIMEDOUT, "%s cgroup '%s': not done after %d ms",
			       frozen ? "freezing" : "thawing", cg->name, timeout_ms);
	}
	return r < 0 ? cg_fail(cg, CG_H_V2, "cgroup.events", -r, "waiting for", e) : 0;
}
