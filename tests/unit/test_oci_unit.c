/* Units of systemd's: names, places, properties, annotations, and the words that fsbox-scope takes. No systemd. */
#include "tests/lib/tap.h"

#include "cgroup/internal.h"
#include "oci/config.h"
#include "wire/scope.h"

#include <errno.h>

/* A word for each place; "|" between words. */
static const char *shown(struct buf *words)
{
	for (size_t i = 0; i + 1 < words->len; i++)
		if (words->data[i] == '\0')
			words->data[i] = '|';
	return words->data ? words->data : "";
}

/* What is planned is what fsbox-scope takes. */
static void check_words(const struct buf *words)
{
	const char *list[4096];
	struct scope_property p;
	size_t n = 0, took;

	for (size_t at = 0; at < words->len && n < ARRAY_LEN(list); at += strlen(words->data + at) + 1)
		list[n++] = words->data + at;
	for (size_t at = 0; at < n; at += took) {
		took = scope_property_read(list + at, n - at, &p);
		if (!CHECK(took > 0))
			return;
	}
}

/* ---- Names ---- */

static void named(const char *path, bool user, const char *name, const char *slice, const char *where)
{
	struct cg_unit u;
	struct err e = {0};
	char group[400];

	REQUIRE(cg_unit_name(path, "c1", user, &u, &e) == 0);
	CHECK_STREQ(u.name, name);
	CHECK_STREQ(u.slice, slice);
	REQUIRE(cg_unit_path(&u, group, sizeof group, &e) == 0);
	CHECK_STREQ(group, where);
}

TEST(units_are_named_by_the_path_of_the_config)
{
	named("machine.slice:libpod:abc", false, "libpod-abc.scope", "machine.slice",
	      "/machine.slice/libpod-abc.scope");
	named("a-b-c.slice:p:n", false, "p-n.scope", "a-b-c.slice", "/a.slice/a-b.slice/a-b-c.slice/p-n.scope");
	named("-:p:n", false, "p-n.scope", "-.slice", "/p-n.scope");
	named(":p:n", false, "p-n.scope", "system.slice", "/system.slice/p-n.scope");
	named(":p:n", true, "p-n.scope", "user.slice", "/user.slice/p-n.scope");
	named("", false, "fsbox-oci-c1.scope", "system.slice", "/system.slice/fsbox-oci-c1.scope");
	named(NULL, true, "fsbox-oci-c1.scope", "user.slice", "/user.slice/fsbox-oci-c1.scope");
	named("kubepods-besteffort-pod1_2.slice:cri-containerd:0f", false, "cri-containerd-0f.scope",
	      "kubepods-besteffort-pod1_2.slice",
	      "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod1_2.slice/cri-containerd-0f.scope");
}

TEST(what_is_no_unit_is_refused_with_its_place)
{
	static const char *const bad[] = {
		"/a/b",          "a:b",
		"a.slice:b:c:d", "a:p:n",
		"a/b.slice:p:n", "--.slice:p:n",
		"-a.slice:p:n",  "a--b.slice:p:n",
		"a-.slice:p:n",  ".slice:p:n",
		"a.slice:p:",    "a.slice:p:n n",
		"a.slice:p:n/x", "a.slice:p:x.slice",
	};
	char path[400];
	struct cg_unit u;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct err e = {0};

		if (!CHECK(cg_unit_name(bad[i], "c1", false, &u, &e) < 0))
			(void)printf("# %s\n", bad[i]);
		CHECK_EQ(e.kind, ERR_SPEC);
		CHECK_STREQ(e.where, "$.linux.cgroupsPath");
	}
	struct err e = {0};
	/* 255 characters and not one more */
	(void)snprintf(path, sizeof path, "a.slice:p:%0247d", 1);
	CHECK_EQ(cg_unit_name(path, "c1", false, &u, &e), 0);
	CHECK_EQ(strlen(u.name), (size_t)255);
	(void)snprintf(path, sizeof path, "a.slice:p:%0248d", 1);
	CHECK_LT(cg_unit_name(path, "c1", false, &u, &e), 0);
}

/* ---- Limits ---- */

static struct cg_group host_with(bool v2)
{
	struct cg_group g = {.n = 1, .trees = {{.v2 = v2, .dir = -1}}};

	(void)snprintf(g.trees[0].controllers, sizeof g.trees[0].controllers, "%s",
		       v2 ? "cpuset cpu io memory hugetlb pids" : "cpuset,cpu,blkio,memory,hugetlb,pids");
	return g;
}

static void becomes(const char *resources, bool v2, const char *wanted)
{
	AUTO(config_freep) struct ct_spec *s = calloc(1, sizeof *s);
	AUTO(buf_done) struct buf words = {0};
	const struct cg_group host = host_with(v2);
	struct err e = {0};

	REQUIRE(s && config_read_resources("r", resources, strlen(resources), s, &e) == 0);
	if (!CHECK(cg_unit_limits(&host, &s->resources, true, &words, &e) == 0))
		(void)printf("# %s\n", e.msg);
	check_words(&words);
	CHECK_STREQ(shown(&words), wanted);
}

TEST(limits_become_properties)
{
	becomes("{}", true, "");
	becomes("{\"memory\":{\"limit\":100,\"swap\":150,\"reservation\":50}}", true,
		"MemorySwapMax|t|50|MemoryMax|t|100|MemoryLow|t|50");
	becomes("{\"memory\":{\"limit\":-1}}", true,
		"MemorySwapMax|t|18446744073709551615|MemoryMax|t|18446744073709551615");
	becomes("{\"pids\":{\"limit\":7}}", true, "TasksMax|t|7");
	becomes("{\"pids\":{\"limit\":-1}}", true, "TasksMax|t|18446744073709551615");
	becomes("{\"cpu\":{\"shares\":1024}}", true, "CPUWeight|t|100");
	becomes("{\"cpu\":{\"idle\":1}}", true, "CPUWeight@252|t|0");
	becomes("{\"blockIO\":{\"weight\":500}}", true, "IOWeight|t|4950");
	becomes("{\"memory\":{\"limit\":100,\"swap\":150}}", false, "MemoryLimit|t|100");
	becomes("{\"cpu\":{\"shares\":512},\"pids\":{\"limit\":9},\"blockIO\":{\"weight\":500}}", false,
		"CPUShares|t|512|TasksMax|t|9|BlockIOWeight|t|500");
}

TEST(quotas_are_of_a_second_and_rounded_up)
{
	becomes("{\"cpu\":{\"quota\":50000,\"period\":100000}}", true,
		"CPUQuotaPeriodUSec@242|t|100000|CPUQuotaPerSecUSec|t|500000");
	/* 12.3 % is none of systemd's hundredths */
	becomes("{\"cpu\":{\"quota\":12300}}", true, "CPUQuotaPeriodUSec@242|t|100000|CPUQuotaPerSecUSec|t|130000");
	becomes("{\"cpu\":{\"quota\":-1,\"period\":20000}}", true,
		"CPUQuotaPeriodUSec@242|t|20000|CPUQuotaPerSecUSec|t|18446744073709551615");
	becomes("{\"cpu\":{\"quota\":5000,\"period\":20000}}", false,
		"CPUQuotaPeriodUSec@242|t|20000|CPUQuotaPerSecUSec|t|250000");
}

TEST(sets_of_cpus_are_bits)
{
	becomes("{\"cpu\":{\"cpus\":\"0\"}}", true, "AllowedCPUs@244|ay|1|1");
	becomes("{\"cpu\":{\"cpus\":\"0-2,8,15\",\"mems\":\"1\"}}", true,
		"AllowedCPUs@244|ay|2|7|129|AllowedMemoryNodes@244|ay|1|2");
	becomes("{\"cpu\":{\"cpus\":\"7-3\"}}", true, "");
	becomes("{\"cpu\":{\"cpus\":\"99999\"}}", true, "");
}

TEST(unified_values_become_properties_too)
{
	becomes("{\"unified\":{\"memory.max\":\"1G\",\"memory.high\":\"512M\",\"memory.min\":\"4096\"}}", true,
		"MemoryMax|t|1073741824|MemoryHigh|t|536870912|MemoryMin|t|4096");
	becomes("{\"unified\":{\"cpu.max\":\"max 5000\",\"pids.max\":\"max\"}}", true,
		"TasksMax|t|18446744073709551615|CPUQuotaPeriodUSec@242|t|5000|CPUQuotaPerSecUSec|t|18446744073709551615");
	/* no number: its file's to refuse */
	becomes("{\"unified\":{\"memory.max\":\"1Q\",\"memory.high\":\"x\",\"memory.oom.group\":\"1\"}}", true, "");
}

static void allows(const char *devices, const char *wanted)
{
	AUTO(config_freep) struct ct_spec *s = calloc(1, sizeof *s);
	AUTO(buf_done) struct buf words = {0};
	const struct cg_group host = host_with(true);
	struct err e = {0};

	REQUIRE(s && config_read_resources("r", devices, strlen(devices), s, &e) == 0);
	CHECK_EQ(cg_unit_limits(&host, &s->resources, false, &words, &e), 0);
	check_words(&words);
	CHECK_STREQ(shown(&words), wanted);
}

#define ALWAYS                                                                                                          \
	"char-*|m|block-*|m|/dev/char/1:3|rwm|/dev/char/1:8|rwm|/dev/char/1:7|rwm|/dev/char/5:0|rwm|/dev/char/1:5|rwm|" \
	"/dev/char/1:9|rwm|char-136|rwm|/dev/char/5:2|rwm"

TEST(devices_are_those_that_the_history_leaves)
{
	allows("{}", "DevicePolicy|s|strict|DeviceAllow|a(ss)|10|" ALWAYS);
	allows("{\"devices\":[{\"allow\":false},{\"allow\":true,\"type\":\"b\",\"major\":8,\"access\":\"r\"},"
	       "{\"allow\":true,\"type\":\"c\",\"major\":10,\"minor\":229},"
	       "{\"allow\":false,\"type\":\"c\",\"major\":10,\"minor\":229,\"access\":\"w\"}]}",
	       "DevicePolicy|s|strict|DeviceAllow|a(ss)|12|block-8|r|/dev/char/10:229|rm|" ALWAYS);
	/* everything is allowed; and what no property can say */
	allows("{\"devices\":[{\"allow\":true}]}", "");
	allows("{\"devices\":[{\"allow\":false},{\"allow\":true,\"type\":\"c\",\"minor\":3}]}", "");
}

/* ---- Annotations ---- */

static void noted(const char *name, const char *value, const char *wanted)
{
	char key[160];
	const struct ct_pair pair = {key, value};
	AUTO(buf_done) struct buf words = {0};
	struct err e = {0};
	int r;

	(void)snprintf(key, sizeof key, "org.systemd.property.%s", name);
	r = cg_unit_annotations(&pair, 1, &words, &e);
	if (!CHECK((r == 0) == (wanted != NULL)))
		(void)printf("# %s: %s\n", name, value);
	if (wanted && r == 0) {
		check_words(&words);
		CHECK_STREQ(shown(&words), wanted);
	} else if (!wanted) {
		CHECK_EQ(e.kind, ERR_SPEC);
		CHECK_CONTAINS(e.where, "$.annotations[\"org.systemd.property.");
	}
}

TEST(annotations_are_properties_in_gvariants_text)
{
	noted("TimeoutStopUSec", "uint64 123456789", "TimeoutStopUSec|t|123456789");
	noted("CollectMode", "'inactive-or-failed'", "CollectMode|s|inactive-or-failed");
	noted("CollectMode", " \"a\\\"b\\n\" ", "CollectMode|s|a\"b\n");
	noted("DefaultDependencies", "true", "DefaultDependencies|b|true");
	noted("Some", "7", "Some|i|7");
	noted("Some", "-7", "Some|i|-7");
	noted("Some", "byte 255", "Some|y|255");
	noted("Some", "1.5", "Some|d|1.5");
	noted("Before", "['a.service', 'b.service']", "Before|as|2|a.service|b.service");
	noted("Some", "[uint32 1, 2]", "Some|au|2|1|2");
	noted("Before", "@as []", "Before|as|0");
	noted("Some", "@t 5", "Some|t|5");
	noted("Some", "objectpath '/a/b'", "Some|o|/a/b");
}

TEST(times_in_seconds_become_microseconds)
{
	noted("TimeoutStopSec", "3", "TimeoutStopUSec|t|3000000");
	noted("TimeoutStopSec", "uint64 3", "TimeoutStopUSec|t|3000000");
	noted("TimeoutStopSec", "0.25", "TimeoutStopUSec|t|250000");
	noted("TimeoutStopSec", "-1", NULL);
	noted("TimeoutStopSec", "'3'", NULL);
}

TEST(annotations_that_say_nothing_are_refused)
{
	static const char *const bad[] = {
		"",   "x",        "uint64", "uint64 -1", "uint64 'a'", "byte 256", "'a",   "[1, 'a']",       "[]",
		"[1", "1 2",      "tru",    "(1, 2)",    "{}",         "@as 'a'",  "@s [", "objectpath 'a'", "string a",
		"1e", "'\\u0041'"};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		noted("Some", bad[i], NULL);
	noted("ab", "1", NULL);
	noted("a b", "1", NULL);
	noted("A@3", "1", NULL);
}

TEST(other_annotations_are_passed_over)
{
	const struct ct_pair other = {"org.example", "x"};
	AUTO(buf_done) struct buf words = {0};
	struct err e = {0};

	CHECK_EQ(cg_unit_annotations(&other, 1, &words, &e), 0);
	CHECK_EQ(words.len, (size_t)0);
}

/* ---- Words ---- */

static size_t taken(const char *const *words)
{
	struct scope_property p;
	size_t n = 0;

	while (words[n])
		n++;
	return scope_property_read(words, n, &p);
}
#define TAKEN(...) taken((const char *const[]){__VA_ARGS__, NULL})

TEST(a_property_takes_its_words_and_no_others)
{
	CHECK_EQ(TAKEN("A", "t", "1", "B", "t", "2"), (size_t)3);
	CHECK_EQ(TAKEN("A", "as", "2", "x", "y", "B"), (size_t)5);
	CHECK_EQ(TAKEN("A", "a(ss)", "1", "x", "y", "B"), (size_t)5);
	CHECK_EQ(TAKEN("A", "ay", "0"), (size_t)3);
	CHECK_EQ(TAKEN("A@244", "b", "true"), (size_t)3);
}

TEST(words_that_are_no_property_are_refused)
{
	CHECK_EQ(TAKEN("A", "t"), (size_t)0);
	CHECK_EQ(TAKEN("A", "t", "-1"), (size_t)0);
	CHECK_EQ(TAKEN("A", "t", "18446744073709551616"), (size_t)0);
	CHECK_EQ(TAKEN("A", "as", "2", "x"), (size_t)0);
	CHECK_EQ(TAKEN("A", "as", "99999999999", "x"), (size_t)0);
	CHECK_EQ(TAKEN("A", "a(ss)", "1", "x"), (size_t)0);
	CHECK_EQ(TAKEN("A", "a(ss", "1", "x", "y"), (size_t)0);
	CHECK_EQ(TAKEN("A", "aas", "0"), (size_t)0);
	CHECK_EQ(TAKEN("A", "a{sv}", "0"), (size_t)0);
	CHECK_EQ(TAKEN("A", "v", "1"), (size_t)0);
	CHECK_EQ(TAKEN("A", "", "1"), (size_t)0);
	CHECK_EQ(TAKEN("", "t", "1"), (size_t)0);
	CHECK_EQ(TAKEN("A B", "t", "1"), (size_t)0);
	CHECK_EQ(TAKEN("A@", "t", "1"), (size_t)0);
	CHECK_EQ(TAKEN("A", "s", "\xff"), (size_t)0);
	CHECK_EQ(TAKEN("A", "n", "32768"), (size_t)0);
	CHECK_EQ(TAKEN("A", "n", "-32768"), (size_t)3);
	CHECK_EQ(TAKEN("A", "x", "-9223372036854775808"), (size_t)3);
}
