/* tree_remove() on trees that were made to resist: depth, names, links, no permission to read, few descriptors. */
#include "base/removal.h"

#include "base/fd.h"
#include "base/mem.h"
#include "tests/lib/tap.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* A directory of this test's own, with "tree" in it for the victim. */
static int base = FD_NONE;
static char base_path[64];

static bool begin(void)
{
	(void)snprintf(base_path, sizeof base_path, "/tmp/fsbox-test-tree.XXXXXX");
	if (!CHECK(mkdtemp(base_path)))
		return false;
	base = open(base_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return CHECK(base >= 0) && CHECK_EQ(mkdirat(base, "tree", 0700), 0);
}

static void end(void)
{
	CHECK_EQ(faccessat(base, "tree", F_OK, AT_SYMLINK_NOFOLLOW), -1);
	(void)!tree_remove(base, "tree");
	fd_closep(&base);
	CHECK_EQ(rmdir(base_path), 0);
}

static int make_file(int dir, const char *name)
{
	AUTO_FD int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	return fd < 0 ? -1 : 0;
}

static int make_dir(int dir, const char *name)
{
	return mkdirat(dir, name, 0700) < 0 ? -1 : openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* A chain of @depth directories below @dir, with a file beside each, without ever naming a path. */
static bool make_chain(int dir, unsigned depth, const char *name)
{
	AUTO_FD int at = fcntl(dir, F_DUPFD_CLOEXEC, 3);

	for (unsigned i = 0; i < depth && at >= 0; i++) {
		int next = make_dir(at, name);

		if (make_file(at, "file") < 0 && errno != EEXIST)
			fd_closep(&next);
		fd_closep(&at);
		at = next;
	}
	return at >= 0;
}

static unsigned count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	while (d && readdir(d))
		n++;
	(void)closedir(d);
	return n;
}

TEST(absent_is_success_and_a_file_or_a_link_is_refused)
{
	REQUIRE(begin());
	CHECK_EQ(tree_remove(base, "nothing"), 0);
	CHECK_EQ(make_file(base, "file"), 0);
	CHECK_EQ(tree_remove(base, "file"), -ENOTDIR);
	CHECK_EQ(symlinkat("tree", base, "link"), 0);
	CHECK_EQ(tree_remove(base, "link"), -ENOTDIR);
	CHECK_EQ(unlinkat(base, "file", 0), 0);
	CHECK_EQ(unlinkat(base, "link", 0), 0);
	CHECK_EQ(tree_remove(base, "tree"), 0);
	end();
}

TEST(links_are_removed_and_what_they_point_to_stays)
{
	REQUIRE(begin());

	AUTO_FD int tree = openat(base, "tree", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO_FD int victim = make_dir(base, "victim");

	CHECK(tree >= 0 && victim >= 0);
	CHECK_EQ(make_file(victim, "precious"), 0);
	CHECK_EQ(symlinkat("../victim", tree, "relative"), 0);
	CHECK_EQ(symlinkat(base_path, tree, "absolute"), 0);
	CHECK_EQ(symlinkat(".", tree, "self"), 0);
	CHECK_EQ(symlinkat("..", tree, "up"), 0);
	CHECK_EQ(symlinkat("nowhere", tree, "dangling"), 0);
	CHECK_EQ(linkat(victim, "precious", tree, "hard", 0), 0);
	CHECK_EQ(tree_remove(base, "tree"), 0);
	CHECK_EQ(unlinkat(victim, "precious", 0), 0); /* still there */
	CHECK_EQ(unlinkat(base, "victim", AT_REMOVEDIR), 0);
	end();
}

TEST(names_of_any_bytes_and_files_of_any_kind)
{
	REQUIRE(begin());

	AUTO_FD int tree = openat(base, "tree", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char name[256];

	CHECK(tree >= 0);
	for (int c = 1; c < 256; c++) {
		if (c == '/')
			continue;
		(void)snprintf(name, sizeof name, "%cx", c);
		CHECK_EQ(make_file(tree, name), 0);
		(void)snprintf(name, sizeof name, "...%c", c);

		AUTO_FD int sub = make_dir(tree, name);
		CHECK_EQ(make_file(sub, "..."), 0);
	}
	memset(name, 0xff, 255);
	name[255] = '\0';
	CHECK_EQ(make_file(tree, name), 0);
	CHECK_EQ(mkfifoat(tree, "fifo", 0600), 0);
	CHECK_EQ(mknodat(tree, "socket", S_IFSOCK | 0600, 0), 0);
	CHECK_EQ(tree_remove(base, "tree"), 0);
	end();
}

TEST(depth_beyond_any_path_with_few_descriptors)
{
	struct rlimit old, few;

	REQUIRE(begin());

	AUTO_FD int tree = openat(base, "tree", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK(tree >= 0 && make_chain(tree, 3000, "a") && make_chain(tree, 70, "b"));
	CHECK_EQ(getrlimit(RLIMIT_NOFILE, &old), 0);

	unsigned before = count_fds();
	few = (struct rlimit){.rlim_cur = before + 40, .rlim_max = old.rlim_max};
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
	CHECK_EQ(tree_remove(base, "tree"), 0);
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &old), 0);
	CHECK_EQ(count_fds(), before);
	end();
}

/* The names to which deep directories are moved are taken, by a file, an empty directory and a full one. */
TEST(somebody_who_knows_our_names_gains_nothing)
{
	REQUIRE(begin());

	AUTO_FD int tree = openat(base, "tree", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK(tree >= 0);
	/* Directories are read in an order of their own: so that some deep ones come before these, many of both. */
	for (unsigned i = 0; i < 12; i++) {
		char name[32];

		(void)snprintf(name, sizeof name, "fsbox-%x", i);
		if (i % 3 == 0) {
			CHECK_EQ(make_file(tree, name), 0);
		} else {
			AUTO_FD int sub = make_dir(tree, name);
			CHECK(sub >= 0 && (i % 3 == 1 || make_chain(sub, 40, "fsbox-0")));
		}
		(void)snprintf(name, sizeof name, "deep-%u", i);
		CHECK(make_chain(tree, 80, name));
	}
	CHECK_EQ(tree_remove(base, "tree"), 0);
	end();
}

TEST(many_entries_in_one_directory)
{
	REQUIRE(begin());

	AUTO_FD int tree = openat(base, "tree", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (unsigned i = 0; i < 4000; i++) {
		char name[32];

		(void)snprintf(name, sizeof name, "%u", i);
		CHECK(i % 4 ? make_file(tree, name) == 0 : mkdirat(tree, name, 0) == 0);
	}
	CHECK_EQ(tree_remove(base, "tree"), 0);
	end();
}

TEST(emptying_keeps_the_directory_and_takes_a_path_descriptor)
{
	REQUIRE(begin());

	AUTO_FD int tree = openat(base, "tree", O_PATH | O_DIRECTORY | O_CLOEXEC);
	AUTO_FD int sub = make_dir(tree, "sub");

	CHECK(tree >= 0 && sub >= 0);
	CHECK_EQ(make_file(sub, "file"), 0);
	CHECK_EQ(tree_empty(tree), 0);
	CHECK_EQ(unlinkat(base, "tree", AT_REMOVEDIR), 0); /* empty, and there */
	end();
}
