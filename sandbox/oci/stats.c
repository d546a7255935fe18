#include "oci/stats.h"

#include "base/fd.h"
#include "json/json.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

enum { FILE_BYTES = 16 << 10 };

/* The digits at *@p, which moves behind them and the spaces before. */
static uint64_t take(const char **p)
{
	uint64_t v = 0;

	*p += strspn(*p, " ");
	for (; **p >= '0' && **p <= '9'; (*p)++)
		v = v * 10 + (uint64_t)(**p - '0');
	return v;
}

static uint64_t number(const char *p)
{
	return strncmp(p, "max", 3) == 0 ? UINT64_MAX : take(&p);
}

static const char *next_line(const char *p)
{
	p += strcspn(p, "\n");
	return p + (*p == '\n');
}

static uint64_t value_in(const char *text, const char *key)
{
	const size_t len = strlen(key);

	for (const char *p = text; *p; p = next_line(p))
		if (len == 0 || (strncmp(p, key, len) == 0 && p[len] == ' '))
			return number(p + len + (len > 0));
	return 0;
}

uint64_t stats_value(const struct cg_group *g, const char *controller, const char *v1, const char *v2, const char *key)
{
	char text[FILE_BYTES];

	if (v1 && cg_group_read(g, controller, v1, text, sizeof text) >= 0)
		return value_in(text, key);
	if (v2 && cg_group_read(g, controller, v2, text, sizeof text) >= 0)
		return value_in(text, key);
	return 0;
}

static bool is_v2(const struct cg_group *g, const char *controller)
{
	const struct cg_tree *t = cg_group_tree(g, controller);

	return t && t->v2;
}

/* ---- Pressure: cgroup2's, which hybrid hosts have as well ---- */

/* "some avg10=0.00 avg60=0.00 avg300=0.00 total=0", microseconds */
static void add_line(struct buf *b, const char *line)
{
	static const char *const names[] = {"avg10", "avg60", "avg300", "total"};
	const char *end = line + strcspn(line, "\n");

	buf_puts(b, "{");
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		const char *p = strstr(line, names[i]);
		const char *value = p && p < end && p[strlen(names[i])] == '=' ? p + strlen(names[i]) + 1 : "0";

		buf_printf(b, "%s\"%s\":%.*s", i ? "," : "", names[i], (int)strspn(value, "0123456789."), value);
	}
	buf_puts(b, "}");
}

static void add_pressure(struct buf *b, const struct cg_group *g, const char *comma, const char *file)
{
	char text[512];
	const char *full;

	if (cg_group_read(g, "", file, text, sizeof text) <= 0 || strncmp(text, "some ", 5) != 0)
		return;
	buf_printf(b, "%s\"psi\":{\"some\":", comma);
	add_line(b, text);
	full = strstr(text, "\nfull ");
	if (full) {
		buf_puts(b, ",\"full\":");
		add_line(b, full + 1);
	}
	buf_puts(b, "}");
}

/* ---- CPU ---- */

static void add_percpu(struct buf *b, const struct cg_group *g)
{
	char text[FILE_BYTES];
	size_t n = 0;

	if (cg_group_read(g, "cpuacct", "cpuacct.usage_percpu", text, sizeof text) <= 0)
		return;
	buf_puts(b, ",\"percpu\":[");
	for (const char *p = text; isdigit((unsigned char)*p); p += strspn(p, " \n"))
		buf_printf(b, "%s%" PRIu64, n++ ? "," : "", take(&p));
	buf_puts(b, "]");
}

static void add_cpu(struct buf *b, const struct cg_group *g)
{
	const bool v2 = is_v2(g, "cpu");
	uint64_t total = stats_value(g, "cpuacct", "cpuacct.usage", NULL, "");
	uint64_t user = stats_value(g, "cpuacct", "cpuacct.stat", NULL, "user") * 10000000; /* USER_HZ is 100 */
	uint64_t kernel = stats_value(g, "cpuacct", "cpuacct.stat", NULL, "system") * 10000000;

	if (!cg_group_tree(g, "cpuacct")) {
		total = stats_value(g, "", NULL, "cpu.stat", "usage_usec") * 1000;
		user = stats_value(g, "", NULL, "cpu.stat", "user_usec") * 1000;
		kernel = stats_value(g, "", NULL, "cpu.stat", "system_usec") * 1000;
	}
	buf_printf(b, "\"cpu\":{\"usage\":{\"total\":%" PRIu64, total);
	add_percpu(b, g);
	buf_printf(b,
		   ",\"kernel\":%" PRIu64 ",\"user\":%" PRIu64 "},\"throttling\":{\"periods\":%" PRIu64
		   ",\"throttledPeriods\":%" PRIu64 ",\"throttledTime\":%" PRIu64 "}",
		   kernel, user, stats_value(g, "cpu", "cpu.stat", NULL, "nr_periods"),
		   stats_value(g, "cpu", "cpu.stat", NULL, "nr_throttled"),
		   v2 ? stats_value(g, "cpu", "cpu.stat", NULL, "throttled_usec") * 1000
		      : stats_value(g, "cpu", "cpu.stat", NULL, "throttled_time"));
	add_pressure(b, g, ",", "cpu.pressure");
	buf_puts(b, "}");
}

/* "0-3,7" as [0,1,2,3,7]; left out when it is empty. */
static void add_set(struct buf *b, const struct cg_group *g, const char *key, const char *v1, const char *v2)
{
	char text[1024];
	size_t n = 0;

	if (cg_group_read(g, "cpuset", is_v2(g, "cpuset") ? v2 : v1, text, sizeof text) <= 0)
		return;
	buf_printf(b, "\"%s\":[", key);
	for (const char *p = text; isdigit((unsigned char)*p);) {
		const uint64_t first = take(&p);
		uint64_t last = first;

		if (*p == '-') {
			p++;
			last = take(&p);
		}
		for (uint64_t i = first; i <= last && i <= UINT16_MAX; i++)
			buf_printf(b, "%s%" PRIu64, n++ ? "," : "", i);
		p += *p == ',';
	}
	buf_puts(b, "],");
}

static void add_cpuset(struct buf *b, const struct cg_group *g)
{
	static const struct {
		const char *key, *file;
	} flags[] = {
		{"cpu_exclusive", "cpuset.cpu_exclusive"},
		{"mem_hardwall", "cpuset.mem_hardwall"},
		{"mem_exclusive", "cpuset.mem_exclusive"},
		{"memory_migrate", "cpuset.memory_migrate"},
		{"memory_spread_page", "cpuset.memory_spread_page"},
		{"memory_spread_slab", "cpuset.memory_spread_slab"},
		{"memory_pressure", "cpuset.memory_pressure"},
		{"sched_load_balance", "cpuset.sched_load_balance"},
	};
	char level[16] = "0";

	buf_puts(b, ",\"cpuset\":{");
	add_set(b, g, "cpus", "cpuset.cpus", "cpuset.cpus.effective");
	add_set(b, g, "mems", "cpuset.mems", "cpuset.mems.effective");
	for (size_t i = 0; i < ARRAY_LEN(flags); i++)
		buf_printf(b, "\"%s\":%" PRIu64 ",", flags[i].key, stats_value(g, "cpuset", flags[i].file, NULL, ""));
	(void)!cg_group_read(g, "cpuset", "cpuset.sched_relax_domain_level", level, sizeof level);
	buf_printf(b, "\"sched_relax_domain_level\":%s%" PRIu64 "}", level[0] == '-' ? "-" : "",
		   number(level + (level[0] == '-')));
}

/* ---- Memory ---- */

static void add_entry(struct buf *b, const char *key, uint64_t limit, uint64_t usage, uint64_t max, uint64_t fails)
{
	buf_printf(b,
		   ",\"%s\":{\"limit\":%" PRIu64 ",\"usage\":%" PRIu64 ",\"max\":%" PRIu64 ",\"failcnt\":%" PRIu64 "}",
		   key, limit, usage, max, fails);
}

static void add_entry_v1(struct buf *b, const struct cg_group *g, const char *key, const char *prefix)
{
	char file[4][64];
	static const char *const words[] = {"limit_in_bytes", "usage_in_bytes", "max_usage_in_bytes", "failcnt"};
	uint64_t v[4];

	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		(void)snprintf(file[i], sizeof file[i], "%s.%s", prefix, words[i]);
		v[i] = stats_value(g, "memory", file[i], NULL, "");
	}
	add_entry(b, key, v[0], v[1], v[2], v[3]);
}

/* v1 counts memory and swap together, and that is what readers expect here. */
static void add_memory_v2(struct buf *b, const struct cg_group *g)
{
	const uint64_t limit = stats_value(g, "memory", NULL, "memory.max", "");
	const uint64_t usage = stats_value(g, "memory", NULL, "memory.current", "");
	const uint64_t swap_limit = stats_value(g, "memory", NULL, "memory.swap.max", "");
	const uint64_t swap = stats_value(g, "memory", NULL, "memory.swap.current", "");
	const bool endless = limit == UINT64_MAX || swap_limit == UINT64_MAX;

	add_entry(b, "usage", limit, usage, stats_value(g, "memory", NULL, "memory.peak", ""), 0);
	add_entry(b, "swap", endless ? UINT64_MAX : limit + swap_limit, usage + swap, 0, 0);
	add_entry(b, "kernel", 0, stats_value(g, "memory", NULL, "memory.stat", "kernel"), 0, 0);
	add_entry(b, "kernelTCP", 0, stats_value(g, "memory", NULL, "memory.stat", "sock"), 0, 0);
}

static void add_raw(struct buf *b, const struct cg_group *g)
{
	char text[FILE_BYTES];
	size_t n = 0;

	if (cg_group_read(g, "memory", "memory.stat", text, sizeof text) <= 0)
		return;
	buf_puts(b, ",\"raw\":{");
	for (const char *p = text; *p; p = next_line(p)) {
		const size_t key = strcspn(p, " \n");

		if (p[key] == ' ') {
			buf_puts(b, n++ ? "," : "");
			json_add_string(b, p, key);
			buf_printf(b, ":%" PRIu64, number(p + key + 1));
		}
	}
	buf_puts(b, "}");
}

static void add_memory(struct buf *b, const struct cg_group *g)
{
	const bool v2 = is_v2(g, "memory");

	buf_printf(b, ",\"memory\":{\"cache\":%" PRIu64,
		   stats_value(g, "memory", "memory.stat", NULL, v2 ? "file" : "cache"));
	if (v2) {
		add_memory_v2(b, g);
	} else {
		add_entry_v1(b, g, "usage", "memory");
		add_entry_v1(b, g, "swap", "memory.memsw");
		add_entry_v1(b, g, "kernel", "memory.kmem");
		add_entry_v1(b, g, "kernelTCP", "memory.kmem.tcp");
	}
	add_raw(b, g);
	add_pressure(b, g, ",", "memory.pressure");
	buf_puts(b, "}");
}

/* ---- Block devices ---- */

struct device {
	uint64_t major, minor;
};

/* Of a line that begins with "8:0 "; *@p moves behind that. */
static bool take_device(const char **p, struct device *ret)
{
	if (!isdigit((unsigned char)**p))
		return false;
	ret->major = take(p);
	if (**p != ':')
		return false;
	(*p)++;
	ret->minor = take(p);
	return **p == ' ';
}

static void add_block(struct buf *b, size_t *n, struct device d, const char *op, size_t op_len, uint64_t value)
{
	buf_printf(b, "%s{\"major\":%" PRIu64 ",\"minor\":%" PRIu64 ",\"op\":\"%.*s\",\"value\":%" PRIu64 "}",
		   (*n)++ ? "," : "", d.major, d.minor, (int)op_len, op, value);
}

/* "8:0 Read 4096", and "Total 4096" at the end */
static void add_blocks_v1(struct buf *b, const char *text)
{
	size_t n = 0;

	for (const char *p = text; *p; p = next_line(p)) {
		struct device d;

		if (take_device(&p, &d)) {
			const char *op = p + 1;
			const size_t len = strcspn(op, " \n");

			if (isdigit((unsigned char)*op)) /* blkio.time and sectors: no word */
				add_block(b, &n, d, "", 0, number(op));
			else if (op[len] == ' ')
				add_block(b, &n, d, op, len, number(op + len + 1));
		}
	}
}

/* "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0" */
static void add_blocks_v2(struct buf *b, const char *text, const char *reads, const char *writes)
{
	const char *const words[] = {reads, writes}, *const ops[] = {"Read", "Write"};
	size_t n = 0;

	for (const char *p = text; *p; p = next_line(p)) {
		const char *end = p + strcspn(p, "\n");
		struct device d;

		for (size_t i = take_device(&p, &d) ? 0 : ARRAY_LEN(words); i < ARRAY_LEN(words); i++) {
			const char *at = strstr(p, words[i]);

			if (at && at < end)
				add_block(b, &n, d, ops[i], strlen(ops[i]), number(at + strlen(words[i])));
		}
	}
}

/* BFQ counts what it schedules itself; the throttle's counters see everything, so they are second best only for who reads
 * them as runc prints them. */
static bool read_blkio(const struct cg_group *g, const char *what, char *text, size_t size)
{
	static const char *const forms[] = {"blkio.bfq.%s_recursive", "blkio.%s_recursive",
					    "blkio.throttle.%s_recursive", "blkio.throttle.%s"};
	char file[80];

	for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
		const char *mark = strstr(forms[i], "%s");

		(void)snprintf(file, sizeof file, "%.*s%s%s", (int)(mark - forms[i]), forms[i], what, mark + 2);
		if (cg_group_read(g, "blkio", file, text, size) > 0 && strchr(text, ':'))
			return true;
	}
	return false;
}

static void add_blkio(struct buf *b, const struct cg_group *g)
{
	static const struct {
		const char *key, *v1, *reads, *writes;
	} lists[] = {
		{"ioServiceBytesRecursive", "io_service_bytes", " rbytes=", " wbytes="},
		{"ioServicedRecursive", "io_serviced", " rios=", " wios="},
		{"ioQueueRecursive", "io_queued", NULL, NULL},
		{"ioServiceTimeRecursive", "io_service_time", NULL, NULL},
		{"ioWaitTimeRecursive", "io_wait_time", NULL, NULL},
		{"ioMergedRecursive", "io_merged", NULL, NULL},
		{"ioTimeRecursive", "time", NULL, NULL},
		{"sectorsRecursive", "sectors", NULL, NULL},
	};
	const bool v2 = is_v2(g, "io");
	char text[FILE_BYTES];
	const char *comma = "";

	buf_puts(b, ",\"blkio\":{");
	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		if (v2 ? !lists[i].reads || cg_group_read(g, "io", "io.stat", text, sizeof text) <= 0
		       : !read_blkio(g, lists[i].v1, text, sizeof text))
			continue;
		buf_printf(b, "%s\"%s\":[", comma, lists[i].key);
		comma = ",";
		if (v2)
			add_blocks_v2(b, text, lists[i].reads, lists[i].writes);
		else
			add_blocks_v1(b, text);
		buf_puts(b, "]");
	}
	add_pressure(b, g, comma, "io.pressure");
	buf_puts(b, "}");
}

/* ---- Huge pages ---- */

/* "hugepages-2048kB" is "2MB" in the names of files (mm/hugetlb_cgroup.c, mem_fmt()). */
static void page_size(char *to, size_t size, const char *name)
{
	const uint64_t kb = number(name + strlen("hugepages-"));

	if (kb >= 1 << 20)
		(void)snprintf(to, size, "%" PRIu64 "GB", kb >> 20);
	else if (kb >= 1 << 10)
		(void)snprintf(to, size, "%" PRIu64 "MB", kb >> 10);
	else
		(void)snprintf(to, size, "%" PRIu64 "KB", kb);
}

/* Reservations, where the kernel counts them, as runc prefers them. */
static bool add_pages(struct buf *b, const struct cg_group *g, const char *size, bool first)
{
	static const char *const parts[] = {".rsvd", ""};
	const bool v2 = is_v2(g, "hugetlb");
	char used[64], peak[64], fails[64], text[256];

	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		(void)snprintf(used, sizeof used, "hugetlb.%s%s.%s", size, parts[i], v2 ? "current" : "usage_in_bytes");
		(void)snprintf(peak, sizeof peak, "hugetlb.%s%s.max_usage_in_bytes", size, parts[i]);
		(void)snprintf(fails, sizeof fails, "hugetlb.%s%s.%s", size, v2 ? "" : parts[i],
			       v2 ? "events" : "failcnt");
		if (cg_group_read(g, "hugetlb", used, text, sizeof text) <= 0)
			continue;
		buf_printf(b, "%s\"%s\":{\"usage\":%" PRIu64 ",\"max\":%" PRIu64 ",\"failcnt\":%" PRIu64 "}",
			   first ? "" : ",", size, number(text), v2 ? 0 : stats_value(g, "hugetlb", peak, NULL, ""),
			   stats_value(g, "hugetlb", fails, NULL, v2 ? "max" : ""));
		return true;
	}
	return false;
}

static void add_hugetlb(struct buf *b, const struct cg_group *g)
{
	DIR *d = cg_group_tree(g, "hugetlb") ? opendir("/sys/kernel/mm/hugepages") : NULL;
	const struct dirent *entry;
	bool first = true;

	buf_puts(b, ",\"hugetlb\":{");
	while (d && (entry = readdir(d))) {
		char size[24];

		if (strncmp(entry->d_name, "hugepages-", 10) != 0)
			continue;
		page_size(size, sizeof size, entry->d_name);
		first &= !add_pages(b, g, size, first);
	}
	if (d)
		(void)closedir(d);
	buf_puts(b, "}");
}

/* ---- Network: what the container sees of its devices (proc_pid_net(5)) ---- */

static void add_interface(struct buf *b, size_t *n, const char *line)
{
	const char *name = line + strspn(line, " "), *colon = strchr(name, ':');
	const char *p = colon ? colon + 1 : NULL;
	uint64_t v[16] = {0};

	for (size_t i = 0; p && i < ARRAY_LEN(v); i++)
		v[i] = take(&p);
	if (!p)
		return;
	buf_printf(b, "%s{\"Name\":", (*n)++ ? "," : "");
	json_add_string(b, name, (size_t)(colon - name));
	buf_printf(b,
		   ",\"RxBytes\":%" PRIu64 ",\"RxPackets\":%" PRIu64 ",\"RxErrors\":%" PRIu64 ",\"RxDropped\":%" PRIu64
		   ",\"TxBytes\":%" PRIu64 ",\"TxPackets\":%" PRIu64 ",\"TxErrors\":%" PRIu64 ",\"TxDropped\":%" PRIu64
		   "}",
		   v[0], v[1], v[2], v[3], v[8], v[9], v[10], v[11]);
}

static void add_network(struct buf *b, const struct oci_state *st)
{
	char path[48];
	AUTO_FREE char *text = NULL;
	AUTO_FD int fd = FD_NONE;
	size_t len, n = 0, line = 0;

	(void)snprintf(path, sizeof path, "/proc/%" PRId64 "/net/dev", st->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	buf_puts(b, ",\"network_interfaces\":[");
	if (fd_valid(fd) && fd_read_all(fd, 1 << 20, &text, &len) == 0)
		for (const char *p = text; *p; p = next_line(p))
			if (line++ >= 2) /* of heading */
				add_interface(b, &n, p);
	buf_puts(b, "]");
}

void stats_add(struct buf *b, const struct oci_state *st, const struct cg_group *g)
{
	const uint64_t limit = stats_value(g, "pids", "pids.max", NULL, "");

	buf_printf(b, "{\"type\":\"stats\",\"id\":\"%s\",\"data\":{", st->id);
	add_cpu(b, g);
	add_cpuset(b, g);
	add_memory(b, g);
	buf_printf(b, ",\"pids\":{\"current\":%" PRIu64 ",\"limit\":%" PRIu64 "}",
		   stats_value(g, "pids", "pids.current", NULL, ""), limit == UINT64_MAX ? 0 : limit);
	add_blkio(b, g);
	add_hugetlb(b, g);
	buf_puts(b, ",\"intel_rdt\":{}");
	add_network(b, st);
	buf_puts(b, "}}\n");
}
