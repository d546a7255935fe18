/* What `events` prints of a group's files: both versions' forms, from directories of our own in the place of groups. */
#include "tests/lib/tap.h"

#include "base/fd.h"
#include "base/removal.h"
#include "oci/stats.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

static char path[] = "/tmp/fsbox-stats-XXXXXX";

static void put(const struct cg_group *g, const char *name, const char *text)
{
	int fd = openat(g->trees[0].dir, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	CHECK_EQ(fd_write_all(fd, text, strlen(text)), 0);
	(void)close(fd);
}

static struct cg_group group(bool v2)
{
	struct cg_group g = {.n = 1, .trees = {{.v2 = v2}}};

	CHECK(mkdtemp(path));
	g.trees[0].dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	(void)snprintf(g.trees[0].controllers, sizeof g.trees[0].controllers, "%s",
		       v2 ? "cpuset cpu io memory hugetlb pids" : "cpuset,cpu,cpuacct,blkio,memory,hugetlb,pids");
	return g;
}

static void done(struct cg_group *g)
{
	fd_closep(&g->trees[0].dir);
	CHECK_EQ(tree_remove(AT_FDCWD, path), 0);
	memcpy(path + sizeof path - 7, "XXXXXX", 6);
}

TEST(a_group_of_v2_in_the_form_of_v1)
{
	struct cg_group g = group(true);
	const struct oci_state st = {.id = "x"};
	AUTO(buf_done) struct buf b = {0};

	put(&g, "cpu.stat",
	    "usage_usec 7\nuser_usec 4\nsystem_usec 3\nnr_periods 2\nnr_throttled 1\nthrottled_usec 9\n");
	put(&g, "cpu.pressure",
	    "some avg10=0.01 avg60=1.25 avg300=0.00 total=55\nfull avg10=0.02 avg60=0.00 avg300=0.00 total=5\n");
	put(&g, "cpuset.cpus.effective", "0-2,5\n");
	put(&g, "memory.current", "100\n");
	put(&g, "memory.max", "1000\n");
	put(&g, "memory.peak", "150\n");
	put(&g, "memory.swap.current", "11\n");
	put(&g, "memory.swap.max", "2000\n");
	put(&g, "memory.stat", "anon 3\nfile 40\nkernel 20\nsock 6\n");
	put(&g, "pids.current", "2\n");
	put(&g, "pids.max", "max\n");
	put(&g, "io.stat",
	    "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n253:1 rbytes=5 wbytes=0 rios=6 wios=0\n8:16 \n");
	put(&g, "io.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=8\n");
	put(&g, "hugetlb.2MB.rsvd.current", "4194304\n");
	put(&g, "hugetlb.2MB.events", "max 3\n");
	stats_add(&b, &st, &g);
	CHECK_CONTAINS(b.data,
		       "{\"type\":\"stats\",\"id\":\"x\",\"data\":{\"cpu\":{\"usage\":{\"total\":7000,\"kernel\":3000,"
		       "\"user\":4000},\"throttling\":{\"periods\":2,\"throttledPeriods\":1,\"throttledTime\":9000},"
		       "\"psi\":{\"some\":{\"avg10\":0.01,\"avg60\":1.25,\"avg300\":0.00,\"total\":55},"
		       "\"full\":{\"avg10\":0.02,\"avg60\":0.00,\"avg300\":0.00,\"total\":5}}}");
	CHECK_CONTAINS(b.data, "\"cpuset\":{\"cpus\":[0,1,2,5],\"cpu_exclusive\":0");
	CHECK_CONTAINS(b.data,
		       "\"memory\":{\"cache\":40,\"usage\":{\"limit\":1000,\"usage\":100,\"max\":150,\"failcnt\":0},"
		       "\"swap\":{\"limit\":3000,\"usage\":111,\"max\":0,\"failcnt\":0}");
	CHECK_CONTAINS(b.data, "\"raw\":{\"anon\":3,\"file\":40,\"kernel\":20,\"sock\":6}");
	CHECK_CONTAINS(b.data, "\"pids\":{\"current\":2,\"limit\":0}");
	CHECK_CONTAINS(
		b.data,
		"\"blkio\":{\"ioServiceBytesRecursive\":[{\"major\":8,\"minor\":0,\"op\":\"Read\",\"value\":1},"
		"{\"major\":8,\"minor\":0,\"op\":\"Write\",\"value\":2},{\"major\":253,\"minor\":1,\"op\":\"Read\","
		"\"value\":5},{\"major\":253,\"minor\":1,\"op\":\"Write\",\"value\":0}],\"ioServicedRecursive\":[");
	CHECK_CONTAINS(b.data, "],\"psi\":{\"some\":{\"avg10\":0.00,\"avg60\":0.00,\"avg300\":0.00,\"total\":8}}}");
	struct stat pages;
	if (stat("/sys/kernel/mm/hugepages/hugepages-2048kB", &pages) == 0)
		CHECK_CONTAINS(b.data, "\"2MB\":{\"usage\":4194304,\"max\":0,\"failcnt\":3}");
	done(&g);
}

TEST(a_group_of_v1)
{
	struct cg_group g = group(false);
	const struct oci_state st = {.id = "x"};
	AUTO(buf_done) struct buf b = {0};

	put(&g, "cpuacct.usage", "77\n");
	put(&g, "cpuacct.usage_percpu", "70 7 \n");
	put(&g, "cpuacct.stat", "user 2\nsystem 3\n");
	put(&g, "cpu.stat", "nr_periods 0\nnr_throttled 0\nthrottled_time 12\n");
	put(&g, "cpuset.sched_relax_domain_level", "-1\n");
	put(&g, "memory.usage_in_bytes", "5\n");
	put(&g, "memory.limit_in_bytes", "9223372036854771712\n");
	put(&g, "memory.failcnt", "4\n");
	put(&g, "blkio.throttle.io_service_bytes", "8:0 Read 4096\n8:0 Write 0\n8:0 Total 4096\nTotal 4096\n");
	put(&g, "blkio.bfq.io_service_bytes_recursive", "Total 0\n");
	put(&g, "blkio.time_recursive", "8:0 33\n");
	stats_add(&b, &st, &g);
	CHECK_CONTAINS(b.data, "\"usage\":{\"total\":77,\"percpu\":[70,7],\"kernel\":30000000,\"user\":20000000}");
	CHECK_CONTAINS(b.data, "\"throttledTime\":12}");
	CHECK_CONTAINS(b.data, "\"sched_relax_domain_level\":-1}");
	CHECK_CONTAINS(b.data, "\"usage\":{\"limit\":9223372036854771712,\"usage\":5,\"max\":0,\"failcnt\":4}");
	CHECK_CONTAINS(b.data, "\"ioServiceBytesRecursive\":[{\"major\":8,\"minor\":0,\"op\":\"Read\",\"value\":4096},"
			       "{\"major\":8,\"minor\":0,\"op\":\"Write\",\"value\":0},"
			       "{\"major\":8,\"minor\":0,\"op\":\"Total\",\"value\":4096}]");
	CHECK_CONTAINS(b.data, "\"ioTimeRecursive\":[{\"major\":8,\"minor\":0,\"op\":\"\",\"value\":33}]");
	done(&g);
}
