/* OCI's limits as properties of a unit: the files' values (group_limits.c), translated. So a unit and its files say the
 * same, and systemd, which writes its own again when it is reloaded, writes what stands there already. */
#include "cgroup/internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { MAX_CPUS = 8192 };

struct translation {
	const struct cg_group *host;
	struct buf *words;
	uint64_t quota, period; /* microseconds; UINT64_MAX: not given, or no limit */
	bool any_quota, any_period;
};

enum form { NUMBER, BITS, IDLE, QUOTA, PERIOD, MAX };

static const struct {
	const char *file, *property;
	enum form form;
} table[] = {
	{"memory.max", "MemoryMax", NUMBER},
	{"memory.high", "MemoryHigh", NUMBER},
	{"memory.low", "MemoryLow", NUMBER},
	{"memory.min", "MemoryMin", NUMBER},
	{"memory.swap.max", "MemorySwapMax", NUMBER},
	{"memory.limit_in_bytes", "MemoryLimit", NUMBER}, /* v1 */
	{"pids.max", "TasksMax", NUMBER},
	{"cpu.weight", "CPUWeight", NUMBER},
	{"cpu.idle", "CPUWeight@252", IDLE},
	{"cpu.shares", "CPUShares", NUMBER}, /* v1 */
	{"cpu.max", "", MAX},
	{"cpu.cfs_quota_us", "", QUOTA},   /* v1 */
	{"cpu.cfs_period_us", "", PERIOD}, /* v1 */
	{"cpuset.cpus", "AllowedCPUs@244", BITS},
	{"cpuset.mems", "AllowedMemoryNodes@244", BITS},
	{"io.weight", "IOWeight", NUMBER},
	{"blkio.weight", "BlockIOWeight", NUMBER}, /* v1 */
};

/* As the kernel reads limits (memparse): a unit of 1,024 may follow. "max" and "-1" are no limit. */
static bool read_number(const char *text, uint64_t *ret)
{
	const size_t n = strspn(text, "0123456789");
	const char *units = "KMGTPE", *unit = text[n] ? strchr(units, text[n] & ~0x20) : NULL;
	char digits[24];
	unsigned shift = unit ? 10 * (unsigned)(unit - units + 1) : 0;
	uint64_t v;

	if (strcmp(text, "max") == 0 || strcmp(text, "-1") == 0) {
		*ret = UINT64_MAX;
		return true;
	}
	if (n == 0 || n >= sizeof digits || (text[n] && (!unit || text[n + 1])))
		return false;
	str_copy(digits, n + 1, text);
	if (!parse_u64(digits, 0, UINT64_MAX >> shift, &v))
		return false;
	*ret = v << shift;
	return true;
}

static void add_number(struct buf *words, const char *property, uint64_t v)
{
	char text[24];

	(void)cg_format_u64(text, v);
	cg_unit_property(words, property, "t", text);
}

/* One end of a range, or both. */
static bool read_range(const char **p, uint64_t *ret_first, uint64_t *ret_last)
{
	uint64_t *to[] = {ret_first, ret_last};

	for (int i = 0; i < 2; i++) {
		char digits[8];
		const size_t n = strspn(*p, "0123456789");

		if (n == 0 || n >= sizeof digits)
			return false;
		str_copy(digits, n + 1, *p);
		if (!parse_u64(digits, 0, MAX_CPUS - 1, to[i]))
			return false;
		*p += n;
		if (i == 0 && **p != '-') {
			*ret_last = *ret_first;
			return true;
		}
		*p += i == 0;
	}
	return *ret_first <= *ret_last;
}

/* "0-2,7" as bytes, the lowest first, the lowest bit of each first (org.freedesktop.systemd1(5), AllowedCPUs). */
static void add_bits(struct buf *words, const char *property, const char *text)
{
	unsigned char bytes[MAX_CPUS / 8] = {0};
	size_t n = 0;

	for (const char *p = text; *p;) {
		uint64_t first, last;

		if (!read_range(&p, &first, &last) || (*p && *p != ','))
			return; /* the file's to refuse */
		for (uint64_t i = first; i <= last; i++)
			bytes[i / 8] |= (unsigned char)(1U << i % 8);
		n = last / 8 + 1 > n ? last / 8 + 1 : n;
		p += *p == ',';
	}
	cg_unit_word(words, property);
	cg_unit_word(words, "ay");
	for (size_t i = 0; i <= n; i++) {
		char number[24];

		(void)cg_format_u64(number, i == 0 ? n : bytes[i - 1]);
		cg_unit_word(words, number);
	}
}

static void take_quota(struct translation *t, const char *text)
{
	t->any_quota = read_number(text, &t->quota);
}

static void take_period(struct translation *t, const char *text)
{
	t->any_period = read_number(text, &t->period) && t->period > 0 && t->period < UINT64_MAX;
}

static void take_max(struct translation *t, const char *text)
{
	char quota[32];
	const size_t n = strcspn(text, " ");

	if (n >= sizeof quota)
		return;
	str_copy(quota, n + 1, text);
	take_quota(t, quota);
	if (text[n])
		take_period(t, text + n + 1);
}

/* 1: no such file, and another is tried. */
static int translate(void *arg, const char *controller, const char *file, const char *text, bool optional,
		     struct err *e)
{
	struct translation *t = arg;
	uint64_t v;

	(void)controller;
	(void)e;
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		if (strcmp(table[i].file, file) != 0)
			continue;
		switch (table[i].form) {
		case NUMBER:
			if (read_number(text, &v))
				add_number(t->words, table[i].property, v);
			break;
		case BITS:
			add_bits(t->words, table[i].property, text);
			break;
		case IDLE: /* weight 0 is "idle" */
			if (strcmp(text, "1") == 0)
				add_number(t->words, table[i].property, 0);
			break;
		case QUOTA:
			take_quota(t, text);
			break;
		case PERIOD:
			take_period(t, text);
			break;
		case MAX:
			take_max(t, text);
			break;
		}
		return 0;
	}
	return optional ? 1 : 0; /* systemd has nothing like it: the file has */
}

static int version(void *arg, const char *controller)
{
	const struct translation *t = arg;
	const struct cg_tree *tree = cg_group_tree(t->host, controller);

	return !tree ? -1 : tree->v2 ? 2 : 1;
}

/* Microseconds of CPU time in a second. systemd counts in hundredths of a CPU; what lies between is rounded up, so that the
 * quota in the group's own file, which is exact, is never above the unit's. */
static void add_quota(struct translation *t)
{
	uint64_t per_s = UINT64_MAX, period = t->any_period ? t->period : 100000;

	if (t->any_period)
		add_number(t->words, "CPUQuotaPeriodUSec@242", period);
	if (t->any_quota && t->quota < UINT64_MAX / 1000000) {
		per_s = t->quota * 1000000 / period;
		per_s = (per_s + 9999) / 10000 * 10000;
	}
	if (t->any_quota || t->any_period)
		add_number(t->words, "CPUQuotaPerSecUSec", per_s);
}

/* ---- Devices ---- */

struct device_list {
	struct buf words;
	size_t n;
	bool unknown; /* one that no property can name */
};

static void add_device(void *arg, char type, int64_t major, int64_t minor, const char *access)
{
	struct device_list *l = arg;
	const char *kind = type == 'b' ? "block" : "char";
	char text[64];

	if (major < 0 && minor >= 0)
		l->unknown = true;
	else if (major < 0)
		(void)snprintf(text, sizeof text, "%s-*", kind);
	else if (minor < 0)
		(void)snprintf(text, sizeof text, "%s-%" PRId64, kind, major);
	else
		(void)snprintf(text, sizeof text, "/dev/%s/%" PRId64 ":%" PRId64, kind, major, minor);
	if (l->unknown)
		return;
	cg_unit_word(&l->words, text);
	cg_unit_word(&l->words, access);
	l->n++;
}

/* A unit allows devices one by one and refuses the rest. What cannot be said so is left to the group's own rules, and the
 * unit allows everything. */
static int add_devices(const struct ct_resources *r, struct buf *words, struct err *e)
{
	struct device_list l = {.n = 0};
	char number[24];
	bool allow;
	int rc = cg_devices_left(r, &allow, add_device, &l, e);

	if (rc == 0 && !allow && !l.unknown) {
		(void)cg_format_u64(number, l.n);
		cg_unit_property(words, "DevicePolicy", "s", "strict");
		cg_unit_property(words, "DeviceAllow", "a(ss)", number);
		buf_add(words, l.words.data, l.words.len);
		words->failed |= l.words.failed;
	}
	buf_done(&l.words);
	return rc;
}

int cg_unit_limits(const struct cg_group *host, const struct ct_resources *r, bool update, struct buf *words,
		   struct err *e)
{
	struct translation t = {.host = host, .words = words};
	const struct cg_writer w = {.put = translate, .version = version, .arg = &t};
	int rc = cg_limits_plan(&w, r, e);

	if (rc < 0)
		return rc;
	add_quota(&t);
	rc = update ? 0 : add_devices(r, words, e);
	return rc == 0 && words->failed ? err_oom(e) : rc;
}
