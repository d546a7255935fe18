/* From the memory dial to the files of both versions.
 *
 * A value is written once, by one write(2), through the group's descriptor; nothing is read back, because the kernel
 * refuses what it does not take. Rules: cgroup-v2.rst ("Controllers"), cgroup-v1/memory.rst, pids.rst and
 * scheduler/sched-bwc.rst. */
#include "cgroup/internal.h"

#include <string.h>

#define ONE_CPU_MIB   UINT64_C(1769)
#define ONE_CPU_BYTES (ONE_CPU_MIB << 20)

/* sched-bwc.rst: a quota has at least 1 ms, a period at most 1 s. A short period keeps the pauses of a throttled cell
 * short; below 10 ms the scheduler's own work shows. */
#define QUOTA_MIN_US  UINT64_C(1000)
#define PERIOD_MIN_US UINT64_C(10000)
#define PERIOD_MAX_US UINT64_C(1000000)

#define CPUS_MAX 65536u /* keeps the products below inside 64 bits */

static uint64_t clamp(uint64_t v, uint64_t min, uint64_t max)
{
	return v < min ? min : v > max ? max : v;
}

struct cg_cpu cg_cpu_of_memory(uint64_t memory_bytes, unsigned n_cpus)
{
	uint64_t memory = clamp(memory_bytes, 1, clamp(n_cpus, 1, CPUS_MAX) * ONE_CPU_BYTES);
	uint64_t period = clamp((QUOTA_MIN_US * ONE_CPU_BYTES + memory - 1) / memory, PERIOD_MIN_US, PERIOD_MAX_US);
	uint64_t quota = period * memory / ONE_CPU_BYTES;
	uint64_t weight = clamp(memory_bytes, 1, 100 * ONE_CPU_BYTES) * 100 / ONE_CPU_BYTES;
	uint64_t shares = clamp(memory_bytes, 1, 256 * ONE_CPU_BYTES) * 1024 / ONE_CPU_BYTES;

	return (struct cg_cpu){
		.quota_us = quota < QUOTA_MIN_US ? QUOTA_MIN_US : quota,
		.period_us = period,
		.weight = (uint32_t)clamp(weight, 1, 10000),
		.shares = (uint32_t)clamp(shares, 2, 262144),
	};
}

static int put_u64(const struct cgroup *cg, unsigned h, const char *file, uint64_t v, struct err *e)
{
	char text[24];
	size_t len = cg_format_u64(text, v);

	return cg_put(cg, h, file, text, len, e);
}

static uint64_t quota_now(const struct cgroup *cg)
{
	const struct cg_cpu *cpu = &cg->limits.cpu;

	return cg->limits.boost && cpu->quota_us < cpu->period_us ? cpu->period_us : cpu->quota_us;
}

static int put_cpu_v2(const struct cgroup *cg, struct err *e)
{
	char text[48];
	size_t len = cg_format_u64(text, quota_now(cg));

	text[len++] = ' ';
	len += cg_format_u64(text + len, cg->limits.cpu.period_us);
	return cg_put(cg, CG_H_V2, "cpu.max", text, len, e);
}

/* v1 refuses a quota above that of any group over us (sched-bwc.rst, "Hierarchical considerations"), where v2 just lets
 * the tighter one win. Cuts *quota to the tightest; what the groups above hold is read through "..". */
static void cut_to_ancestors(int dirfd, uint64_t period, uint64_t *quota)
{
	char dir[3 * CG_CHILD_DEPTH_MAX + 32], text[32];
	size_t at = 0;

	for (unsigned depth = 0; depth < CG_CHILD_DEPTH_MAX; depth++) {
		uint64_t q, p;

		memcpy(dir + at, "../", 3);
		at += 3;
		memcpy(dir + at, "cpu.cfs_quota_us", sizeof "cpu.cfs_quota_us");
		if (cg_read_at(dirfd, dir, text, sizeof text) < 0)
			return; /* above the root of the hierarchy */
		if (!cg_parse_value(text, &q))
			continue; /* -1: without a limit */
		memcpy(dir + at, "cpu.cfs_period_us", sizeof "cpu.cfs_period_us");
		if (cg_read_at(dirfd, dir, text, sizeof text) < 0 || !cg_parse_value(text, &p) || p == 0)
			continue;
		if (q > PERIOD_MAX_US * CPUS_MAX)
			continue;

		uint64_t most = (uint64_t)((unsigned __int128)q * period / p);
		if (most < *quota)
			*quota = most < QUOTA_MIN_US ? QUOTA_MIN_US : most;
	}
}

static int put_quota_v1(const struct cgroup *cg, struct err *e)
{
	static const char file[] = "cpu.cfs_quota_us";
	uint64_t quota = quota_now(cg);
	char text[24];
	size_t len = cg_format_u64(text, quota);
	int r = cg_write_at(cg->v1[CG_V1_CPU], file, text, len);

	if (r == 0)
		return 0;
	if (r == -EINVAL) {
		cut_to_ancestors(cg->v1[CG_V1_CPU], cg->limits.cpu.period_us, &quota);
		return put_u64(cg, CG_V1_CPU, file, quota, e);
	}
	return cg_fail(cg, CG_V1_CPU, file, -r, "writing", e);
}

int cg_put_cpu(const struct cgroup *cg, struct err *e)
{
	return cg->mode == CG_V2 ? put_cpu_v2(cg, e) : put_quota_v1(cg, e);
}

static uint64_t memory_now(const struct cgroup *cg)
{
	return cg->limits.memory_bytes + cg->limits.extra_memory_bytes;
}

static uint64_t pids_now(const struct cgroup *cg)
{
	return (uint64_t)cg->limits.pids + cg->limits.extra_pids;
}

static int put_memory_v2(const struct cgroup *cg, struct err *e)
{
	int r = put_u64(cg, CG_H_V2, "memory.max", memory_now(cg), e);

	if (r < 0)
		return r;
	/* A kernel without swap has no such file, and no swap to forbid. */
	r = cg_write_at(cg->v2, "memory.swap.max", "0", 1);
	if (r < 0 && r != -ENOENT)
		return cg_fail(cg, CG_H_V2, "memory.swap.max", -r, "writing", e);
	return cg_put(cg, CG_H_V2, "memory.oom.group", "1", 1, e);
}

/* v1 counts the buffers of sockets apart, and only where a limit was written (cgroup-v1/memory.rst, 2.7.3); without it a
 * cell could take the host's tcp_mem and udp_mem. Kernels without the account have no file, and nothing to write. */
static int put_sockets_v1(const struct cgroup *cg, struct err *e)
{
	static const char file[] = "memory.kmem.tcp.limit_in_bytes";
	char text[24];
	int r = cg_write_at(cg->v1[CG_V1_MEMORY], file, text, cg_format_u64(text, cg->limits.memory_bytes));

	return r == -ENOENT || r == 0 ? 0 : cg_fail(cg, CG_V1_MEMORY, file, -r, "writing", e);
}

static int put_memory_v1(const struct cgroup *cg, struct err *e)
{
	int r = put_u64(cg, CG_V1_MEMORY, "memory.limit_in_bytes", memory_now(cg), e);

	r = r < 0 ? r : put_sockets_v1(cg, e);
	if (r < 0)
		return r;
	/* memory + swap may never be under memory, so it comes second. Without that account swappiness 0 keeps anonymous
	 * memory of the group out of swap when its own limit presses (cgroup-v1/memory.rst, 5.3). */
	if (cg->host->v1_memsw)
		return put_u64(cg, CG_V1_MEMORY, "memory.memsw.limit_in_bytes", memory_now(cg), e);
	return cg_put(cg, CG_V1_MEMORY, "memory.swappiness", "0", 1, e);
}

static int write_v2(const struct cgroup *cg, struct err *e)
{
	int r = put_memory_v2(cg, e);

	r = r < 0 ? r : put_cpu_v2(cg, e);
	r = r < 0 ? r : put_u64(cg, CG_H_V2, "cpu.weight", cg->limits.cpu.weight, e);
	return r < 0 ? r : put_u64(cg, CG_H_V2, "pids.max", pids_now(cg), e);
}

/* A fresh group has no quota, so any period is legal; after that only the quota ever changes. */
static int write_v1(const struct cgroup *cg, struct err *e)
{
	int r = put_memory_v1(cg, e);

	r = r < 0 ? r : put_u64(cg, CG_V1_CPU, "cpu.cfs_period_us", cg->limits.cpu.period_us, e);
	r = r < 0 ? r : put_quota_v1(cg, e);
	r = r < 0 ? r : put_u64(cg, CG_V1_CPU, "cpu.shares", cg->limits.cpu.shares, e);
	return r < 0 ? r : put_u64(cg, CG_V1_PIDS, "pids.max", pids_now(cg), e);
}

int cg_limits_write(const struct cgroup *cg, struct err *e)
{
	return cg->mode == CG_V2 ? write_v2(cg, e) : write_v1(cg, e);
}

/* Lowering the limit ends nobody (cgroup-v1/pids.rst): who was quick could keep more. */
static int check_pids(const struct cgroup *cg, struct err *e)
{
	const unsigned h = cg->mode == CG_V2 ? CG_H_V2 : (unsigned)CG_V1_PIDS;
	char text[24];
	uint64_t n;

	if (cg_read_at(cg_dirfd(cg, h), "pids.current", text, sizeof text) < 0 || !cg_parse_value(text, &n))
		return cg_fail(cg, h, "pids.current", EBADMSG, "reading", e);
	return n <= pids_now(cg) ? 0
				 : err_set(e, ERR_LIMIT, EAGAIN, "%llu processes and threads where %llu are allowed",
					   (unsigned long long)n, (unsigned long long)pids_now(cg));
}

int cg_end_extra(struct cgroup *cg, struct err *e)
{
	struct err mine = {0};
	int r;

	if (cg->mode == CG_NONE)
		return err_set(e, ERR_BUG, EBADF, "changing the limits of a cell without a cgroup");
	cg->limits.extra_memory_bytes = 0;
	cg->limits.extra_pids = 0;
	r = cg->mode == CG_V2 ? put_u64(cg, CG_H_V2, "memory.max", memory_now(cg), &mine) : put_memory_v1(cg, &mine);
	if (r == -EBUSY) /* v1; v2 ends them (cgroup-v2.rst, memory.max) */
		return err_set(e, ERR_OUT_OF_MEMORY, EBUSY, "more than the memory limit is in use");
	if (r < 0)
		return err_adopt(e, &mine);
	r = put_u64(cg, cg->mode == CG_V2 ? CG_H_V2 : (unsigned)CG_V1_PIDS, "pids.max", pids_now(cg), e);
	if (r == 0)
		r = check_pids(cg, e);
	return r == 0 ? cg_restart_peak(cg, e) : r;
}

static int set_boost(struct cgroup *cg, bool boost, struct err *e)
{
	bool was = cg->limits.boost;

	if (cg->mode == CG_NONE)
		return err_set(e, ERR_BUG, EBADF, "changing the CPU share of a cell without a cgroup");
	if (was == boost)
		return 0;
	cg->limits.boost = boost;
	/* From one CPU on the share is the boost: nothing to write. */
	int r = cg->limits.cpu.quota_us < cg->limits.cpu.period_us ? cg_put_cpu(cg, e) : 0;

	if (r < 0)
		cg->limits.boost = was;
	return r;
}

int cg_end_boost(struct cgroup *cg, struct err *e)
{
	return set_boost(cg, false, e);
}

int cg_begin_boost(struct cgroup *cg, struct err *e)
{
	return set_boost(cg, true, e);
}
