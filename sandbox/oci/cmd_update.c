/* update, events: the limits of a container that runs, and what it uses. */
#include "base/clock.h"
#include "base/fd.h"
#include "oci/config.h"
#include "oci/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>

static int open_group(const struct oci_args *a, bool lock, struct oci_state *st, int *ret_dir, struct cg_group *g,
		      struct err *e)
{
	struct oci_store store;
	int r = store_open(a, false, &store, e);

	if (r == 0)
		r = store_find(&store, a->operands[0], lock, ret_dir, e);
	fd_closep(&store.dir);
	if (r == 0)
		r = state_read(*ret_dir, a->operands[0], st, e);
	if (r == 0 && (st->status == OCI_STOPPED || st->status == OCI_CREATING))
		r = err_set(e, ERR_LOST, ESRCH, "container not running");
	if (r == 0 && !st->cgroup[0])
		r = err_set(e, ERR_UNSUPPORTED, EOPNOTSUPP, "container %s has no cgroup of its own", st->id);
	return r == 0 ? cg_group_find(st->cgroup, g, e) : r;
}

/* ---- update ---- */

/* "512m": bytes with a unit of 1,024, as docker writes it; -1 is none. */
static int read_bytes(const char *name, const char *text, struct ct_number *to, struct err *e)
{
	char digits[24];
	size_t n = text ? strspn(text, "0123456789") : 0;
	uint64_t v, unit = 1;

	if (!text)
		return 0;
	to->set = true;
	to->v = -1;
	if (strcmp(text, "-1") == 0)
		return 0;
	str_copy(digits, n + 1 < sizeof digits ? n + 1 : sizeof digits, text);
	switch (text[n] | 0x20) {
	case 'k':
		unit = 1 << 10;
		break;
	case 'm':
		unit = 1 << 20;
		break;
	case 'g':
		unit = 1 << 30;
		break;
	default:
		if (text[n] && text[n] != 'b' && text[n] != 'B')
			n = 0;
	}
	if (n == 0 || !parse_u64(digits, 0, INT64_MAX / unit, &v))
		return err_set(e, ERR_SPEC, EINVAL, "--%s: expected bytes, got '%s'", name, text);
	to->v = (int64_t)(v * unit);
	return 0;
}

static int read_number(const char *name, const char *text, struct ct_number *to, struct err *e)
{
	uint64_t v;
	const bool minus = text && text[0] == '-';

	if (!text)
		return 0;
	if (!parse_u64(text + minus, 0, INT64_MAX, &v))
		return err_set(e, ERR_SPEC, EINVAL, "--%s: expected a number, got '%s'", name, text);
	*to = (struct ct_number){true, minus ? -(int64_t)v : (int64_t)v};
	return 0;
}

static int read_options(const struct oci_args *a, struct ct_resources *r, struct err *e)
{
	int rc = read_bytes("memory", a->memory, &r->memory.limit, e);

	if (rc == 0)
		rc = read_bytes("memory-reservation", a->memory_reservation, &r->memory.reservation, e);
	if (rc == 0)
		rc = read_bytes("memory-swap", a->memory_swap, &r->memory.swap, e);
	if (rc == 0)
		rc = read_bytes("kernel-memory", a->kernel_memory, &r->memory.kernel, e);
	if (rc == 0)
		rc = read_bytes("kernel-memory-tcp", a->kernel_memory_tcp, &r->memory.kernel_tcp, e);
	if (rc == 0)
		rc = read_number("cpu-period", a->cpu_period, &r->cpu.period, e);
	if (rc == 0)
		rc = read_number("cpu-quota", a->cpu_quota, &r->cpu.quota, e);
	if (rc == 0)
		rc = read_number("cpu-burst", a->cpu_burst, &r->cpu.burst, e);
	if (rc == 0)
		rc = read_number("cpu-share", a->cpu_share, &r->cpu.shares, e);
	if (rc == 0)
		rc = read_number("cpu-idle", a->cpu_idle, &r->cpu.idle, e);
	if (rc == 0)
		rc = read_number("cpu-rt-period", a->cpu_rt_period, &r->cpu.rt_period, e);
	if (rc == 0)
		rc = read_number("cpu-rt-runtime", a->cpu_rt_runtime, &r->cpu.rt_runtime, e);
	if (rc == 0)
		rc = read_number("pids-limit", a->pids_limit, &r->pids, e);
	if (rc == 0)
		rc = read_number("blkio-weight", a->blkio_weight, &r->block.weight, e);
	r->cpu.cpus = a->cpuset_cpus;
	r->cpu.mems = a->cpuset_mems;
	if (rc == 0 && (a->l3_schema || a->mem_bw_schema))
		rc = err_set(e, ERR_UNSUPPORTED, EOPNOTSUPP, "this build has no resctrl");
	return rc;
}

static int read_file(const char *file, struct ct_spec *s, struct err *e)
{
	AUTO_FD int fd = strcmp(file, "-") == 0 ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)
						: open(file, O_RDONLY | O_CLOEXEC);
	AUTO_FREE char *text = NULL;
	size_t len;
	int r = fd < 0 ? -errno : fd_read_all(fd, CONFIG_MAX_BYTES, &text, &len);

	return r < 0 ? err_sys(e, r, "reading '%s'", file) : config_read_resources("resources", text, len, s, e);
}

static int update_main(struct oci_args *a, struct err *e)
{
	AUTO(config_freep) struct ct_spec *s = calloc(1, sizeof *s);
	struct oci_state st = {0};
	struct cg_group g = {0};
	AUTO_FD int dir = FD_NONE;
	int r = !s ? err_oom(e) : a->resources ? read_file(a->resources, s, e) : read_options(a, &s->resources, e);

	if (r == 0)
		r = open_group(a, true, &st, &dir, &g, e);
	if (r == 0 && st.unit[0]) {
		r = cg_group_check_use(&g, &s->resources, e);
		if (r == 0)
			r = unit_update(&st, &s->resources, e);
	}
	if (r == 0)
		r = cg_group_limit(&g, &s->resources, true, e);
	cg_group_close(&g);
	state_done(&st);
	return r;
}

static const struct opt update_options[] = {
	OCI_TEXT("resources", resources, 'r', "FILE", "linux.resources as JSON; - for standard input"),
	OCI_TEXT("memory", memory, 0, "BYTES", "memory"),
	OCI_TEXT("memory-reservation", memory_reservation, 0, "BYTES", "memory that is left to it under pressure"),
	OCI_TEXT("memory-swap", memory_swap, 0, "BYTES", "memory and swap together"),
	OCI_TEXT("kernel-memory", kernel_memory, 0, "BYTES", "for old kernels"),
	OCI_TEXT("kernel-memory-tcp", kernel_memory_tcp, 0, "BYTES", "buffers of sockets, v1"),
	OCI_TEXT("cpu-period", cpu_period, 0, "US", "period of the quota"),
	OCI_TEXT("cpu-quota", cpu_quota, 0, "US", "CPU time in each period"),
	OCI_TEXT("cpu-burst", cpu_burst, 0, "US", "what may be saved up"),
	OCI_TEXT("cpu-share", cpu_share, 0, "N", "weight among others"),
	OCI_TEXT("cpu-rt-period", cpu_rt_period, 0, "US", "real time, v1"),
	OCI_TEXT("cpu-rt-runtime", cpu_rt_runtime, 0, "US", "real time, v1"),
	OCI_TEXT("cpuset-cpus", cpuset_cpus, 0, "LIST", "CPUs"),
	OCI_TEXT("cpuset-mems", cpuset_mems, 0, "LIST", "memory nodes"),
	OCI_TEXT("cpu-idle", cpu_idle, 0, "0|1", "only what others leave"),
	OCI_TEXT("pids-limit", pids_limit, 0, "N", "processes and threads"),
	OCI_TEXT("blkio-weight", blkio_weight, 0, "N", "weight of block I/O"),
	OCI_TEXT("l3-cache-schema", l3_schema, 0, "S", "refused: no resctrl"),
	OCI_TEXT("mem-bw-schema", mem_bw_schema, 0, "S", "refused: no resctrl"),
};
const struct oci_command oci_update = {
	.name = "update",
	.operands = "ID",
	.summary = "change the limits of a container",
	.options = {update_options, ARRAY_LEN(update_options)},
	.min_operands = 1,
	.max_operands = 1,
	.main = update_main,
};

/* ---- events ---- */

static uint64_t value_in(const char *text, const char *key)
{
	const size_t len = strlen(key);
	uint64_t v = 0;

	for (const char *p = text; *p; p += strcspn(p, "\n"), p += *p == '\n')
		if (len == 0 || (strncmp(p, key, len) == 0 && p[len] == ' ')) {
			for (p += len + (len > 0); *p >= '0' && *p <= '9'; p++)
				v = v * 10 + (uint64_t)(*p - '0');
			return v;
		}
	return 0;
}

/* The number behind @key, or the whole file's without; of the first of two files that is there. */
static uint64_t look(const struct cg_group *g, const char *controller, const char *v1, const char *v2, const char *key)
{
	char text[8192];

	if (v1 && cg_group_read(g, controller, v1, text, sizeof text) >= 0)
		return value_in(text, key);
	if (v2 && cg_group_read(g, controller, v2, text, sizeof text) >= 0)
		return strncmp(text, "max", 3) == 0 ? UINT64_MAX : value_in(text, key);
	return 0;
}

static void add_memory(struct buf *b, const struct cg_group *g)
{
	uint64_t usage = look(g, "memory", "memory.usage_in_bytes", "memory.current", "");
	uint64_t max = look(g, "memory", "memory.max_usage_in_bytes", "memory.peak", "");
	uint64_t limit = look(g, "memory", "memory.limit_in_bytes", "memory.max", "");
	uint64_t fails = look(g, "memory", "memory.failcnt", NULL, "");
	uint64_t cache = look(g, "memory", "memory.stat", NULL, "cache");

	if (cache == 0)
		cache = look(g, "memory", NULL, "memory.stat", "file");
	buf_printf(b,
		   "\"memory\":{\"cache\":%" PRIu64 ",\"usage\":{\"limit\":%" PRIu64 ",\"usage\":%" PRIu64
		   ",\"max\":%" PRIu64 ",\"failcnt\":%" PRIu64 "},\"swap\":{\"limit\":0,\"failcnt\":0},"
		   "\"kernel\":{\"limit\":0,\"failcnt\":0},\"kernelTCP\":{\"limit\":0,\"failcnt\":0}}",
		   cache, limit, usage, max, fails);
}

static void add_cpu(struct buf *b, const struct cg_group *g)
{
	uint64_t total = look(g, "cpuacct", "cpuacct.usage", NULL, "");
	uint64_t user = look(g, "cpuacct", "cpuacct.stat", NULL, "user") * 10000000;
	uint64_t kernel = look(g, "cpuacct", "cpuacct.stat", NULL, "system") * 10000000;

	if (!cg_group_tree(g, "cpuacct")) {
		total = look(g, "", NULL, "cpu.stat", "usage_usec") * 1000;
		user = look(g, "", NULL, "cpu.stat", "user_usec") * 1000;
		kernel = look(g, "", NULL, "cpu.stat", "system_usec") * 1000;
	}
	buf_printf(b,
		   "\"cpu\":{\"usage\":{\"total\":%" PRIu64 ",\"kernel\":%" PRIu64 ",\"user\":%" PRIu64
		   "},\"throttling\":{\"periods\":%" PRIu64 ",\"throttledPeriods\":%" PRIu64
		   ",\"throttledTime\":%" PRIu64 "}}",
		   total, kernel, user, look(g, "cpu", "cpu.stat", "cpu.stat", "nr_periods"),
		   look(g, "cpu", "cpu.stat", "cpu.stat", "nr_throttled"),
		   look(g, "cpu", "cpu.stat", NULL, "throttled_time"));
}

static void add_stats(struct buf *b, const struct oci_state *st, const struct cg_group *g)
{
	const uint64_t limit = look(g, "pids", "pids.max", "pids.max", "");

	buf_printf(b, "{\"type\":\"stats\",\"id\":\"%s\",\"data\":{", st->id);
	add_cpu(b, g);
	buf_puts(b, ",\"cpuset\":{},");
	add_memory(b, g);
	buf_printf(b, ",\"pids\":{\"current\":%" PRIu64 ",\"limit\":%" PRIu64 "}",
		   look(g, "pids", "pids.current", "pids.current", ""), limit == UINT64_MAX ? 0 : limit);
	buf_puts(b, ",\"blkio\":{},\"hugetlb\":{},\"intel_rdt\":{},\"network_interfaces\":null}}\n");
}

static uint64_t oom_count(const struct cg_group *g)
{
	uint64_t n = look(g, "memory", "memory.oom_control", NULL, "oom_kill");

	return n ? n : look(g, "memory", NULL, "memory.events", "oom_kill");
}

/* "5s", "1m", "300ms", plain seconds. */
static bool read_interval(const char *text, uint64_t *ret_ms)
{
	char digits[16];
	const size_t n = strspn(text, "0123456789");
	uint64_t v, unit = 1000;

	str_copy(digits, n + 1 < sizeof digits ? n + 1 : sizeof digits, text);
	if (strcmp(text + n, "ms") == 0)
		unit = 1;
	else if (strcmp(text + n, "m") == 0)
		unit = 60000;
	else if (text[n] && strcmp(text + n, "s") != 0)
		return false;
	if (!parse_u64(digits, 1, 1000000, &v))
		return false;
	*ret_ms = v * unit;
	return true;
}

static int watch(const struct oci_state *st, const struct cg_group *g, uint64_t interval_ms, struct err *e)
{
	uint64_t ooms = oom_count(g), next = clock_mono_ns();

	while (process_start(st->pid) == st->start_ticks) {
		AUTO(buf_done) struct buf b = {0};
		uint64_t now = clock_mono_ns(), seen = oom_count(g);
		int r = 0;

		if (seen > ooms)
			buf_printf(&b, "{\"type\":\"oom\",\"id\":\"%s\"}\n", st->id);
		ooms = seen;
		if (now >= next) {
			add_stats(&b, st, g);
			next = now + interval_ms * NS_PER_MS;
		}
		if (b.len > 0)
			r = oci_print(&b, e);
		if (r < 0)
			return r;
		(void)poll(NULL, 0, 100);
	}
	return 0;
}

static int events_main(struct oci_args *a, struct err *e)
{
	AUTO(buf_done) struct buf b = {0};
	struct oci_state st = {0};
	struct cg_group g = {0};
	AUTO_FD int dir = FD_NONE;
	uint64_t interval_ms = 5000;
	int r;

	if (a->interval && !read_interval(a->interval, &interval_ms))
		return err_set(e, ERR_SPEC, EINVAL, "--interval '%s': expected a duration such as 5s", a->interval);
	r = open_group(a, false, &st, &dir, &g, e);
	if (r == 0 && a->stats) {
		add_stats(&b, &st, &g);
		r = oci_print(&b, e);
	} else if (r == 0) {
		r = watch(&st, &g, interval_ms, e);
	}
	cg_group_close(&g);
	state_done(&st);
	return r;
}

static const struct opt events_options[] = {
	OCI_FLAG("stats", stats, 0, "one line of what it uses, and end"),
	OCI_TEXT("interval", interval, 0, "DURATION", "how often (5s)"),
};
const struct oci_command oci_events = {
	.name = "events",
	.operands = "ID",
	.summary = "print what a container uses, and when memory ran out",
	.options = {events_options, ARRAY_LEN(events_options)},
	.min_operands = 1,
	.max_operands = 1,
	.main = events_main,
};
