/* Other limits for a group that is in use. */
#include "cgroup/internal.h"

#include <string.h>

static int put_u64(const struct cgroup *cg, unsigned h, const char *file, uint64_t v, struct err *e)
{
	char text[24];
	size_t len = cg_format_u64(text, v);

	return cg_put(cg, h, file, text, len, e);
}

static int in_use(const struct cgroup *cg, uint64_t bytes, struct err *e)
{
	return err_set(e, ERR_BUSY, EBUSY, "cgroup '%s' holds more than the %llu MB that it should be limited to",
		       cg->name, (unsigned long long)(bytes >> 20));
}

/* A memory.max below what is in use ends processes (cgroup-v2.rst, memory.max), memory.high only reclaims. While it stands
 * nothing grows much beyond it, so memory.max follows before it goes. */
static int shrink_v2(const struct cgroup *cg, uint64_t bytes, struct err *e)
{
	char text[24];
	uint64_t now = 0;
	int r = put_u64(cg, CG_H_V2, "memory.high", bytes, e);

	if (r < 0)
		return r;
	if (cg_read_at(cg->v2, "memory.current", text, sizeof text) < 0 || !cg_parse_value(text, &now))
		r = cg_fail(cg, CG_H_V2, "memory.current", EBADMSG, "reading", e);
	else if (now > bytes)
		r = in_use(cg, bytes, e);
	else
		r = put_u64(cg, CG_H_V2, "memory.max", bytes, e);
	cg_try_write_at(cg->v2, "memory.high", "max", 3);
	return r;
}

/* v1 refuses by itself (cgroup-v1/memory.rst, 3). Memory plus swap may never be under memory. */
static int resize_v1(const struct cgroup *cg, uint64_t was, uint64_t bytes, struct err *e)
{
	static const char *const files[] = {"memory.limit_in_bytes", "memory.memsw.limit_in_bytes"};
	const size_t n = cg->host->v1_memsw ? 2 : 1;
	char text[24];

	for (size_t i = 0; i < n; i++) {
		const char *file = files[bytes > was ? n - 1 - i : i];
		int r = cg_write_at(cg->v1[CG_V1_MEMORY], file, text, cg_format_u64(text, bytes));

		if (r == -EBUSY && i == 0)
			return in_use(cg, bytes, e);
		if (r < 0)
			return cg_fail(cg, CG_V1_MEMORY, file, -r, "writing", e);
	}
	return 0;
}

/* Between two pairs of quota and period v1 takes neither half alone (sched-bwc.rst): for an instant there is no quota. */
static int reshare(const struct cgroup *cg, struct err *e)
{
	int r = 0;

	if (cg->mode == CG_HYBRID) {
		r = cg_put(cg, CG_V1_CPU, "cpu.cfs_quota_us", "-1", 2, e);
		r = r < 0 ? r : put_u64(cg, CG_V1_CPU, "cpu.cfs_period_us", cg->limits.cpu.period_us, e);
		r = r < 0 ? r : put_u64(cg, CG_V1_CPU, "cpu.shares", cg->limits.cpu.shares, e);
	} else {
		r = put_u64(cg, CG_H_V2, "cpu.weight", cg->limits.cpu.weight, e);
	}
	return r < 0 ? r : cg_put_cpu(cg, e);
}

static int resize(struct cgroup *cg, uint64_t bytes, struct err *e)
{
	const uint64_t extra = cg->limits.extra_memory_bytes, was = cg->limits.memory_bytes;
	int r;

	if (cg->mode == CG_HYBRID)
		r = resize_v1(cg, was + extra, bytes + extra, e);
	else
		r = bytes < was ? shrink_v2(cg, bytes + extra, e)
				: put_u64(cg, CG_H_V2, "memory.max", bytes + extra, e);
	if (r < 0)
		return r;
	cg->limits.memory_bytes = bytes;
	cg->limits.cpu = cg_cpu_of_memory(bytes, cg->host->n_cpus);
	return reshare(cg, e);
}

int cg_update(struct cgroup *cg, uint64_t memory_bytes, uint32_t pids, struct err *e)
{
	int r = 0;

	if (cg->mode == CG_NONE)
		return err_set(e, ERR_BUG, EBADF, "changing the limits of a cell without a cgroup");
	if (memory_bytes != 0 && memory_bytes != cg->limits.memory_bytes)
		r = resize(cg, memory_bytes, e);
	if (r < 0 || pids == 0 || pids == cg->limits.pids)
		return r;
	r = put_u64(cg, cg->mode == CG_V2 ? CG_H_V2 : (unsigned)CG_V1_PIDS, "pids.max",
		    (uint64_t)pids + cg->limits.extra_pids, e);
	if (r == 0)
		cg->limits.pids = pids;
	return r;
}

int cg_update_take(struct cgroup *cg, const struct cg_limits *now, struct err *e)
{
	const bool boost = cg->limits.boost;

	cg->limits.memory_bytes = now->memory_bytes;
	cg->limits.cpu = now->cpu;
	cg->limits.pids = now->pids;
	return boost == now->boost ? 0 : reshare(cg, e); /* which ended meanwhile */
}

/* More memory than there is now needs no reclaim; pids.max is written last of all. */
int cg_update_undo(const struct cgroup *cg, struct err *e)
{
	const uint64_t bytes = cg->limits.memory_bytes + cg->limits.extra_memory_bytes;
	int r;

	if (cg->mode == CG_HYBRID) {
		r = resize_v1(cg, 0, bytes, e);
	} else {
		r = put_u64(cg, CG_H_V2, "memory.max", bytes, e);
		cg_try_write_at(cg->v2, "memory.high", "max", 3);
	}
	r = r < 0 ? r : reshare(cg, e);
	return r < 0 ? r
		     : put_u64(cg, cg->mode == CG_V2 ? CG_H_V2 : (unsigned)CG_V1_PIDS, "pids.max",
			       (uint64_t)cg->limits.pids + cg->limits.extra_pids, e);
}
