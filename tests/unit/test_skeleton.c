/* Skeletons in a state directory of the test's own: made once, shared, and collected when nobody uses them. */
#include "base/fd.h"
#include "rootfs/rootfs.h"
#include "tests/lib/tap.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { MANY = 60, KEPT = 33 }; /* 32 of skeleton.c, and the one being made */

static char state[64];

static void setup(void)
{
	(void)snprintf(state, sizeof state, "/tmp/fsbox-skel-XXXXXX");
	CHECK(mkdtemp(state) != NULL);
}

static void teardown(void)
{
	char command[128];
	pid_t pid;
	int status;

	(void)snprintf(command, sizeof command, "rm -rf %s", state);
	pid = fork();
	if (pid == 0) {
		(void)execl("/bin/sh", "sh", "-c", command, (char *)NULL);
		_exit(127);
	}
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

/* A plan with one file in its skeleton, named after @n. */
static struct cell_plan *plan_of(int n)
{
	struct cell_plan *p = calloc(1, sizeof *p);

	if (!p)
		abort();
	(void)snprintf(p->id, sizeof p->id, "%012x", (unsigned)n);
	p->skel[0] = (struct skel_entry){.kind = SKEL_TEXT, .path = "file", .text = "text"};
	p->n_skel = 1;
	p->skel_name = arena_printf(&p->arena, "root-%d", n);
	return p;
}

static int make(int n, int *ret_fd)
{
	AUTO(plan_freep) struct cell_plan *p = plan_of(n);
	struct err e = {0};

	return root_skeleton(state, p, ret_fd, &e);
}

static int count(const char *prefix)
{
	DIR *d = opendir(state);
	int n = 0;

	for (const struct dirent *ent; d && (ent = readdir(d));)
		n += strncmp(ent->d_name, prefix, strlen(prefix)) == 0;
	if (d)
		(void)closedir(d);
	return n;
}

TEST(a_skeleton_is_made_once_and_found_again)
{
	AUTO_FD int first = FD_NONE, second = FD_NONE;
	struct stat a, b;

	setup();
	CHECK_EQ(make(1, &first), 0);
	CHECK_EQ(make(1, &second), 0);
	CHECK(fstat(first, &a) == 0 && fstat(second, &b) == 0 && a.st_ino == b.st_ino);
	CHECK_EQ(count("root-"), 1);
	CHECK_EQ(count("making-"), 0);
	teardown();
}

TEST(skeletons_that_nobody_uses_do_not_pile_up)
{
	setup();
	for (int i = 0; i < MANY; i++) {
		AUTO_FD int fd = FD_NONE;

		CHECK_EQ(make(i, &fd), 0);
	}
	CHECK(count("root-") <= KEPT);
	CHECK_EQ(count("making-"), 0);
	teardown();
}

TEST(a_skeleton_in_use_is_not_collected)
{
	AUTO_FD int held = FD_NONE;
	char path[96];

	setup();
	CHECK_EQ(make(1000, &held), 0);
	for (int i = 0; i < MANY; i++) {
		AUTO_FD int fd = FD_NONE;

		CHECK_EQ(make(i, &fd), 0);
	}
	(void)snprintf(path, sizeof path, "%s/root-1000/file", state);
	CHECK_EQ(access(path, F_OK), 0);
	teardown();
}

/* Each sees more than are kept, and collects what the others have just begun. */
TEST(many_at_once_do_not_collect_what_another_is_making)
{
	enum { PROCESSES = 48, EACH = 40 };
	pid_t pids[PROCESSES];

	setup();
	for (int p = 0; p < PROCESSES; p++) {
		pids[p] = fork();
		if (pids[p] == 0) {
			for (int i = 0; i < EACH; i++) {
				AUTO_FD int fd = FD_NONE;

				if (make(p * EACH + i, &fd) != 0)
					_exit(1);
			}
			_exit(0);
		}
		CHECK(pids[p] > 0);
	}
	for (int p = 0; p < PROCESSES; p++) {
		int status = -1;

		CHECK(waitpid(pids[p], &status, 0) == pids[p] && status == 0);
	}
	CHECK_EQ(count("making-"), 0);
	teardown();
}

TEST(what_a_dead_owner_left_half_made_is_swept)
{
	char path[96];

	setup();
	(void)snprintf(path, sizeof path, "%s/making-00000000002a", state);
	CHECK_EQ(mkdir(path, 0755), 0);
	root_skeleton_sweep(state, "00000000002a");
	CHECK_EQ(count("making-"), 0);
	teardown();
}
