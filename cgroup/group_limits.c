/* From OCI's resources to the files of both versions. The conversions are those that runc and crun write; where they
 * differ the comment says so. */
#include "cgroup/internal.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

/* One value of one controller; what is optional may be missing. */
static int PRINTF(5, 7) put(const struct cg_writer *w, const char *controller, const char *file, bool optional,
			    const char *fmt, struct err *e, ...)
{
	char text[4096]; /* a page: more the kernel does not take */
	va_list ap;
	int r;

	va_start(ap, e);
	r = vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (r < 0 || (size_t)r >= sizeof text) /* cut off it would mean something else */
		return err_set(e, ERR_SPEC, E2BIG, "a value of %d bytes for %s", r, file);
	r = w->put(w->arg, controller, file, text, optional, e);
	return r == 1 ? 0 : r;
}

/* 1 when there is no such file. */
static int try_put(const struct cg_writer *w, const char *controller, const char *file, int64_t v, struct err *e)
{
	char text[24];

	(void)snprintf(text, sizeof text, "%" PRId64, v);
	return w->put(w->arg, controller, file, text, true, e);
}

static int version(const struct cg_writer *w, const char *controller)
{
	return w->version(w->arg, controller);
}

static int missing(const char *controller, const char *key, struct err *e)
{
	int r = err_set(e, ERR_UNSUPPORTED, EOPNOTSUPP, "this host has no cgroup controller '%s'", controller);

	return err_where(e, r, "$.linux.resources.%s", key);
}

static int v1_only(const char *key, struct err *e)
{
	int r = err_set(e, ERR_UNSUPPORTED, EOPNOTSUPP, "cgroup v2 has nothing like it");

	return err_where(e, r, "$.linux.resources.%s", key);
}

static int put_max(const struct cg_writer *w, const char *controller, const char *file, int64_t v, bool optional,
		   struct err *e)
{
	return v < 0 ? put(w, controller, file, optional, "max", e)
		     : put(w, controller, file, optional, "%" PRId64, e, v);
}

/* ---- Memory ---- */

/* v1's swap is memory and swap together. *ret_any is false when nothing is to be written. */
static int swap_v2(const struct ct_resources *r, bool *ret_any, int64_t *ret, struct err *e)
{
	const struct ct_number limit = r->memory.limit, swap = r->memory.swap;

	*ret_any = false;
	if (!swap.set || swap.v == 0) {
		*ret_any = limit.set && limit.v == -1;
		*ret = -1;
		return 0;
	}
	*ret_any = true;
	*ret = swap.v;
	if (swap.v < 0 || (limit.set && limit.v < 0))
		return 0;
	if (!limit.set || limit.v == 0)
		return err_where(e, err_set(e, ERR_SPEC, EINVAL, "a limit of memory and swap needs a limit of memory"),
				 "$.linux.resources.memory.swap");
	if (swap.v < limit.v)
		return err_where(e, err_set(e, ERR_SPEC, EINVAL, "memory and swap together are less than memory"),
				 "$.linux.resources.memory.swap");
	*ret = swap.v - limit.v;
	return 0;
}

static int memory_v2(const struct cg_writer *w, const struct ct_resources *r, struct err *e)
{
	bool any;
	int64_t swap;
	int rc = swap_v2(r, &any, &swap, e);

	if (rc == 0 && (r->memory.kernel.set || r->memory.kernel_tcp.set))
		rc = v1_only("memory.kernel", e);
	if (rc == 0 && r->memory.swappiness.set)
		rc = v1_only("memory.swappiness", e);
	if (rc == 0 && r->memory.no_oom_killer)
		rc = v1_only("memory.disableOOMKiller", e);
	/* A kernel without swap has no file, and nothing to forbid. */
	if (rc == 0 && any)
		rc = put_max(w, "memory", "memory.swap.max", swap, swap <= 0, e);
	if (rc == 0 && r->memory.limit.set && r->memory.limit.v != 0)
		rc = put_max(w, "memory", "memory.max", r->memory.limit.v, false, e);
	if (rc == 0 && r->memory.reservation.set && r->memory.reservation.v != 0)
		rc = put_max(w, "memory", "memory.low", r->memory.reservation.v, false, e);
	return rc;
}

static int put_v1(const struct cg_writer *w, const char *file, struct ct_number n, bool optional, struct err *e)
{
	return n.set && n.v != 0 ? put(w, "memory", file, optional, "%" PRId64, e, n.v) : 0;
}

/* Memory may never be above memory and swap together, so the order depends on where both stand: what fails first is
 * written again after the other. */
static int limits_v1(const struct cg_writer *w, const struct ct_resources *r, struct err *e)
{
	struct ct_number swap = r->memory.swap;
	struct err first = {0};
	int rc;

	if (r->memory.limit.set && r->memory.limit.v == -1 && !swap.set)
		swap = (struct ct_number){true, -1};
	rc = put_v1(w, "memory.limit_in_bytes", r->memory.limit, false, &first);
	if (rc == -EINVAL || rc == -EBUSY) {
		rc = put_v1(w, "memory.memsw.limit_in_bytes", swap, true, e);
		return rc < 0 ? rc : put_v1(w, "memory.limit_in_bytes", r->memory.limit, false, e);
	}
	if (rc < 0)
		return err_adopt(e, &first);
	return put_v1(w, "memory.memsw.limit_in_bytes", swap, swap.v <= 0, e);
}

static int memory_v1(const struct cg_writer *w, const struct ct_resources *r, struct err *e)
{
	int rc = limits_v1(w, r, e);

	if (rc == 0)
		rc = put_v1(w, "memory.soft_limit_in_bytes", r->memory.reservation, false, e);
	if (rc == 0)
		rc = put_v1(w, "memory.kmem.limit_in_bytes", r->memory.kernel, true, e); /* gone since Linux 5.16 */
	if (rc == 0)
		rc = put_v1(w, "memory.kmem.tcp.limit_in_bytes", r->memory.kernel_tcp, false, e);
	if (rc == 0 && r->memory.swappiness.set)
		rc = put(w, "memory", "memory.swappiness", false, "%" PRId64, e, r->memory.swappiness.v);
	if (rc == 0 && r->memory.no_oom_killer)
		rc = put(w, "memory", "memory.oom_control", false, "1", e);
	return rc;
}

static int limit_memory(const struct cg_writer *w, const struct ct_resources *r, struct err *e)
{
	const bool wanted = r->memory.limit.set || r->memory.reservation.set || r->memory.swap.set ||
			    r->memory.kernel.set || r->memory.kernel_tcp.set || r->memory.swappiness.set ||
			    r->memory.no_oom_killer;
	const int v = version(w, "memory");

	if (!wanted)
		return 0;
	return v < 0 ? missing("memory", "memory", e) : v == 2 ? memory_v2(w, r, e) : memory_v1(w, r, e);
}

/* ---- CPU ---- */

/* 2 … 262,144 to 1 … 10,000 so that both defaults meet, 1,024 and 100: the exponent is quadratic in the logarithm, as
 * runc since 1.3.2 and crun since 1.23 have it (opencontainers/cgroups, ConvertCPUSharesToCgroupV2Value). */
static uint64_t weight_of_shares(int64_t shares)
{
	double l;

	if (shares <= 2)
		return 1;
	if (shares >= 262144)
		return 10000;
	l = log2((double)shares);
	return (uint64_t)ceil(pow(10, (l * l + 125 * l) / 612.0 - 7.0 / 34.0));
}

static int cpu_v2(const struct cg_writer *w, const struct ct_resources *r, struct err *e)
{
	const struct ct_number quota = r->cpu.quota, period = r->cpu.period;
	const bool any_max = (quota.set && quota.v != 0) || (period.set && period.v != 0);
	const int64_t p = period.set && period.v ? period.v : 100000;
	int rc = 0;

	if (r->cpu.rt_runtime.set || r->cpu.rt_period.set)
		return v1_only("cpu.realtimeRuntime", e);
	if (r->cpu.idle.set)
		rc = put(w, "cpu", "cpu.idle", false, "%" PRId64, e, r->cpu.idle.v);
	if (rc == 0 && r->cpu.shares.set && r->cpu.shares.v != 0 && !(r->cpu.idle.set && r->cpu.idle.v))
		rc = put(w, "cpu", "cpu.weight", false, "%" PRIu64, e, weight_of_shares(r->cpu.shares.v));
	if (rc == 0 && any_max)
		rc = quota.set && quota.v > 0 ? put(w, "cpu", "cpu.max", false, "%" PRId64 " %" PRId64, e, quota.v, p)
					      : put(w, "cpu", "cpu.max", false, "max %" PRId64, e, p);
	if (rc == 0 && r->cpu.burst.set)
		rc = put(w, "cpu", "cpu.max.burst", false, "%" PRId64, e, r->cpu.burst.v);
	return rc;
}

static int put_cpu_v1(const struct cg_writer *w, const char *file, struct ct_number n, struct err *e)
{
	return n.set && n.v != 0 ? put(w, "cpu", file, false, "%" PRId64, e, n.v) : 0;
}

/* A shorter period is refused while the old quota is more than the parent's share of it: then the quota goes first. */
static int cpu_v1(const struct cg_writer *w, const struct ct_resources *r, struct err *e)
{
	struct err first = {0};
	int rc = put_cpu_v1(w, "cpu.shares", r->cpu.shares, e);

	if (rc == 0)
		rc = put_cpu_v1(w, "cpu.rt_period_us", r->cpu.rt_period, e);
	if (rc == 0)
		rc = put_cpu_v1(w, "cpu.rt_runtime_us", r->cpu.rt_runtime, e);
	if (rc < 0)
		return rc;
	rc = put_cpu_v1(w, "cpu.cfs_period_us", r->cpu.period, &first);
	if (rc == 0)
		rc = put_cpu_v1(w, "cpu.cfs_quota_us", r->cpu.quota, e);
	else if (rc == -EINVAL && r->cpu.quota.set) {
		rc = put_cpu_v1(w, "cpu.cfs_quota_us", r->cpu.quota, e);
		if (rc == 0)
			rc = put_cpu_v1(w, "cpu.cfs_period_us", r->cpu.period, e);
	} else
		rc = err_adopt(e, &first);
	if (rc == 0 && r->cpu.burst.set)
		rc = put(w, "cpu", "cpu.cfs_burst_us", false, "%" PRId64, e, r->cpu.burst.v);
	if (rc == 0 && r->cpu.idle.set)
		rc = put(w, "cpu", "cpu.idle", false, "%" PRId64, e, r->cpu.idle.v);
	return rc;
}

static int limit_cpu(const struct cg_writer *w, const struct ct_resources *r, struct err *e)
{
	const bool wanted = r->cpu.shares.set || r->cpu.quota.set || r->cpu.period.set || r->cpu.burst.set ||
			    r->cpu.idle.set || r->cpu.rt_runtime.set || r->cpu.rt_period.set;
	const bool sets = (r->cpu.cpus && r->cpu.cpus[0]) || (r->cpu.mems && r->cpu.mems[0]);
	const int v = version(w, "cpu");
	int rc = 0;

	if (wanted)
		rc = v < 0 ? missing("cpu", "cpu", e) : v == 2 ? cpu_v2(w, r, e) : cpu_v1(w, r, e);
	if (rc == 0 && sets && version(w, "cpuset") < 0)
		rc = missing("cpuset", "cpu.cpus", e);
	if (rc == 0 && r->cpu.cpus && r->cpu.cpus[0])
		rc = put(w, "cpuset", "cpuset.cpus", false, "%s", e, r->cpu.cpus);
	if (rc == 0 && r->cpu.mems && r->cpu.mems[0])
		rc = put(w, "cpuset", "cpuset.mems", false, "%s", e, r->cpu.mems);
	return rc;
}

/* ---- Processes, huge pages, network ---- */

static int limit_pids(const struct cg_writer *w, const struct ct_resources *r, struct err *e)
{
	if (!r->pids.set || (r->pids.v <= 0 && version(w, "pids") < 0))
		return 0;
	return version(w, "pids") < 0 ? missing("pids", "pids", e)
				      : put_max(w, "pids", "pids.max", r->pids.v, false, e);
}

static int limit_hugepages(const struct cg_writer *w, const struct ct_resources *r, struct err *e)
{
	const int v = version(w, "hugetlb");
	char file[64];
	int rc = 0;

	if (r->n_hugepages > 0 && v < 0)
		return missing("hugetlb", "hugepageLimits", e);
	for (size_t i = 0; rc == 0 && i < r->n_hugepages; i++) {
		const struct ct_hugepage *h = &r->hugepages[i];

		if (strchr(h->size, '/'))
			return err_set(e, ERR_SPEC, EINVAL, "'%s' is no size of a page", h->size);
		(void)snprintf(file, sizeof file, "hugetlb.%.20s.%s", h->size, v == 2 ? "max" : "limit_in_bytes");
		rc = put(w, "hugetlb", file, false, "%" PRIu64, e, h->limit);
		(void)snprintf(file, sizeof file, "hugetlb.%.20s.rsvd.%s", h->size, v == 2 ? "max" : "limit_in_bytes");
		if (rc == 0)
			rc = put(w, "hugetlb", file, true, "%" PRIu64, e, h->limit);
	}
	return rc;
}

static int limit_network(const struct cg_writer *w, const struct ct_resources *r, struct err *e)
{
	int rc = 0;

	if (r->class_id.set) {
		if (version(w, "net_cls") != 1)
			return missing("net_cls", "network.classID", e);
		rc = put(w, "net_cls", "net_cls.classid", false, "%" PRId64, e, r->class_id.v);
	}
	if (r->n_priorities > 0 && version(w, "net_prio") != 1)
		return missing("net_prio", "network.priorities", e);
	for (size_t i = 0; rc == 0 && i < r->n_priorities; i++)
		rc = put(w, "net_prio", "net_prio.ifpriomap", false, "%s %u", e, r->priorities[i].name,
			 r->priorities[i].priority);
	return rc;
}

/* Both versions have the same file. "You MUST specify at least one of the hcaHandles or hcaObjects". */
static int limit_rdma(const struct cg_writer *w, const struct ct_resources *r, struct err *e)
{
	int rc = 0;

	if (r->n_rdma > 0 && version(w, "rdma") < 0)
		return missing("rdma", "rdma", e);
	for (size_t i = 0; rc == 0 && i < r->n_rdma; i++) {
		const struct ct_rdma *d = &r->rdma[i];
		char handles[40] = "", objects[40] = "";

		if (!d->handles.set && !d->objects.set)
			return err_where(e, err_set(e, ERR_SPEC, EINVAL, "neither hcaHandles nor hcaObjects"),
					 "$.linux.resources.rdma[\"%.60s\"]", d->device);
		if (d->handles.set)
			(void)snprintf(handles, sizeof handles, " hca_handle=%" PRId64, d->handles.v);
		if (d->objects.set)
			(void)snprintf(objects, sizeof objects, " hca_object=%" PRId64, d->objects.v);
		rc = put(w, "rdma", "rdma.max", false, "%.100s%s%s", e, d->device, handles, objects);
	}
	return rc;
}

/* ---- Block devices ---- */

static int throttle(const struct cg_writer *w, const struct ct_throttle *t, size_t n, const char *v1, const char *v2,
		    struct err *e)
{
	const int v = n > 0 ? version(w, version(w, "io") == 2 ? "io" : "blkio") : 0;
	int rc = n > 0 && v < 0 ? missing("io", "blockIO", e) : 0;

	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = v == 2 ? put(w, "io", "io.max", false, "%" PRId64 ":%" PRId64 " %s=%" PRIu64, e, t[i].major,
				  t[i].minor, v2, t[i].rate)
			    : put(w, "blkio", v1, false, "%" PRId64 ":%" PRId64 " %" PRIu64, e, t[i].major, t[i].minor,
				  t[i].rate);
	return rc;
}

/* BFQ's file takes OCI's 10 … 1000 as it is; io.weight 1 … 10,000. */
static int weights(const struct cg_writer *w, const struct ct_resources *r, struct err *e)
{
	const bool v2 = version(w, "io") == 2;
	int rc = 0;

	if (r->block.leaf_weight.set && r->block.leaf_weight.v && v2)
		return v1_only("blockIO.leafWeight", e);
	if (r->block.weight.set && r->block.weight.v) {
		const int64_t x = r->block.weight.v;

		if (!v2) {
			rc = try_put(w, "blkio", "blkio.bfq.weight", x, e);
			if (rc == 1)
				rc = put(w, "blkio", "blkio.weight", false, "%" PRId64, e, x);
		} else {
			rc = try_put(w, "io", "io.bfq.weight", x, e);
			if (rc == 1)
				rc = put(w, "io", "io.weight", false, "%" PRId64, e, 1 + (x - 10) * 9999 / 990);
		}
	}
	for (size_t i = 0; rc >= 0 && i < r->block.n_weights; i++) {
		const struct ct_device_weight *d = &r->block.weights[i];

		if (d->weight.set)
			rc = put(w, v2 ? "io" : "blkio", v2 ? "io.bfq.weight" : "blkio.bfq.weight_device", false,
				 "%" PRId64 ":%" PRId64 " %" PRId64, e, d->major, d->minor, d->weight.v);
	}
	return rc < 0 ? rc : 0;
}

static int limit_block(const struct cg_writer *w, const struct ct_resources *r, struct err *e)
{
	int rc = weights(w, r, e);

	if (rc == 0)
		rc = throttle(w, r->block.read_bps, r->block.n_read_bps, "blkio.throttle.read_bps_device", "rbps", e);
	if (rc == 0)
		rc = throttle(w, r->block.write_bps, r->block.n_write_bps, "blkio.throttle.write_bps_device", "wbps",
			      e);
	if (rc == 0)
		rc = throttle(w, r->block.read_iops, r->block.n_read_iops, "blkio.throttle.read_iops_device", "riops",
			      e);
	if (rc == 0)
		rc = throttle(w, r->block.write_iops, r->block.n_write_iops, "blkio.throttle.write_iops_device",
			      "wiops", e);
	return rc;
}

/* Last, so that it wins. A value of several lines is several writes. */
static int limit_unified(const struct cg_writer *w, const struct ct_resources *r, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < r->n_unified; i++) {
		const struct ct_pair *u = &r->unified[i];
		char controller[32];

		if (!u->key[0] || strchr(u->key, '/') || !strchr(u->key, '.'))
			return err_where(e, err_set(e, ERR_SPEC, EINVAL, "'%.60s' is no file of a group", u->key),
					 "$.linux.resources.unified");
		(void)snprintf(controller, sizeof controller, "%.*s", (int)strcspn(u->key, "."), u->key);
		if (strcmp(controller, "cgroup") != 0 && version(w, controller) != 2)
			return missing(controller, "unified", e);
		for (const char *p = u->value; rc == 0 && *p;) {
			size_t n = strcspn(p, "\n");

			rc = put(w, strcmp(controller, "cgroup") == 0 ? "" : controller, u->key, false, "%.*s", e,
				 (int)n, p);
			p += n + (p[n] == '\n');
		}
	}
	return rc;
}

int cg_limits_plan(const struct cg_writer *w, const struct ct_resources *r, struct err *e)
{
	int rc = limit_memory(w, r, e);

	if (rc == 0)
		rc = limit_cpu(w, r, e);
	if (rc == 0)
		rc = limit_pids(w, r, e);
	if (rc == 0)
		rc = limit_block(w, r, e);
	if (rc == 0)
		rc = limit_hugepages(w, r, e);
	if (rc == 0)
		rc = limit_network(w, r, e);
	if (rc == 0)
		rc = limit_rdma(w, r, e);
	return rc == 0 ? limit_unified(w, r, e) : rc;
}

/* ---- Written to a group ---- */

/* 1: the file is not there, and need not be. */
static int put_file(void *arg, const char *controller, const char *file, const char *text, bool optional, struct err *e)
{
	const struct cg_group *g = arg;
	const struct cg_tree *t = cg_group_tree(g, controller);
	int r = t && fd_valid(t->dir) ? cg_write_at(t->dir, file, text, strlen(text)) : -ENOENT;

	if (r == -ENOENT && optional)
		return 1;
	if (r < 0)
		return err_sys(e, r, "writing '%s' to %s%s/%s", text, t ? t->root : "", g->path, file);
	return 0;
}

static int tree_version(void *arg, const char *controller)
{
	const struct cg_tree *t = cg_group_tree(arg, controller);

	return !t ? -1 : t->v2 ? 2 : 1;
}

int cg_group_check_use(const struct cg_group *g, const struct ct_resources *r, struct err *e)
{
	char text[32];
	unsigned long long used = 0;

	if (!r->memory.check_first || !r->memory.limit.set || r->memory.limit.v <= 0)
		return 0;
	if (cg_group_read(g, "memory", "memory.current", text, sizeof text) <= 0 &&
	    cg_group_read(g, "memory", "memory.usage_in_bytes", text, sizeof text) <= 0)
		return 0;
	for (const char *p = text; *p >= '0' && *p <= '9'; p++)
		used = used * 10 + (unsigned)(*p - '0');
	return used <= (unsigned long long)r->memory.limit.v
		       ? 0
		       : err_set(e, ERR_BUSY, EBUSY, "unable to set memory limit to %lld (current usage: %llu)",
				 (long long)r->memory.limit.v, used);
}

int cg_group_limit(const struct cg_group *g, const struct ct_resources *r, bool update, struct err *e)
{
	const struct cg_writer w = {.put = put_file, .version = tree_version, .arg = (void *)(uintptr_t)g};
	int rc = update ? cg_group_check_use(g, r, e) : 0;

	if (rc == 0)
		rc = cg_limits_plan(&w, r, e);
	return rc == 0 && !update ? cg_group_devices(g, r, e) : rc;
}
