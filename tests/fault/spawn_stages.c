/* Every stage of a cell that fsbox-spawn makes fails: it is told with the stage's name, nothing is left, and
 * fsbox-spawn goes on. Built with VARIANT=fault; see sandbox/cell/stages.c. */
#include "tests/lib/spawn_peer.h"

#include "base/mem.h"
#include "cell/cell.h"
#include "tests/lib/tap.h"

#include <sys/wait.h>

/* Not for cells that are begun and not restored. */
static bool is_of_restores(const char *stage)
{
	static const char *const names[] = {"restore", "tmp", "worker", "settle", "user"};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strcmp(stage, names[i]) == 0)
			return true;
	return false;
}

static bool is_of_host(const char *stage)
{
	static const char *const names[] = {"slot",  "plan",  "cgroup", "netns",    "rootfs",
					    "pipes", "spawn", "budget", "handover", "arrival"};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strcmp(stage, names[i]) == 0)
			return true;
	return false;
}

static bool start(struct spawn_peer *p, const char *fault)
{
	(void)setenv("FSBOX_FAULT", fault, 1);
	bool ok = spawned_start(p, NULL);
	(void)unsetenv("FSBOX_FAULT");
	return ok && spawned_hello(p) && spawned_function(p, 1, "echo");
}

TEST(a_stage_that_fails_is_told_and_leaves_nothing)
{
	if (geteuid() != 0)
		SKIP("needs root");
	for (const char *const *stage = cell_stage_names(); *stage; stage++) {
		if (!is_of_restores(*stage)) {
			SPAWN_PEER(p);

			if (!start(&p, *stage))
				return;
			for (uint64_t i = 1; i <= 3; i++)
				spawned_make(&p, i, 1, "");
			for (int i = 0; i < 3 && spawned_expect(&p, SPAWN_FAILED); i++) {
				CHECK_STREQ(p.d->done.err.stage, *stage);
				CHECK(strstr(p.d->done.err.msg, "injected fault"));
			}
			spawned_number(&p, SPAWN_END, 2); /* it crossed the failure */
			if (spawned_expect(&p, SPAWN_ENDED))
				CHECK_EQ(p.d->exit.err.kind, ERR_NONE);
			CHECK_EQ(spawned_stop(&p), 0);
		}
		spawned_check_clean();
	}
}

TEST(a_child_that_dies_in_a_stage_is_told_and_leaves_nothing)
{
	if (geteuid() != 0)
		SKIP("needs root");
	for (const char *const *stage = cell_stage_names(); *stage; stage++) {
		char fault[40];

		(void)snprintf(fault, sizeof fault, "%s!", *stage);
		if (!is_of_restores(*stage) && !is_of_host(*stage)) {
			SPAWN_PEER(p);

			if (!start(&p, fault))
				return;
			spawned_make(&p, 1, 1, "");
			if (spawned_expect(&p, SPAWN_FAILED))
				CHECK_NE(p.d->done.err.kind, ERR_NONE);
			CHECK_EQ(spawned_stop(&p), 0);
		}
		spawned_check_clean();
	}
}

TEST(after_fsbox_spawn_died_in_a_stage_the_next_start_removes_the_rest)
{
	if (geteuid() != 0)
		SKIP("needs root");
	for (const char *const *stage = cell_stage_names(); *stage; stage++) {
		char fault[40];
		int status;

		(void)snprintf(fault, sizeof fault, "%s!", *stage);
		if (is_of_host(*stage)) {
			SPAWN_PEER(p);
			SPAWN_PEER(q);

			if (!start(&p, fault))
				return;
			spawned_make(&p, 1, 1, "");
			CHECK_EQ(waitpid(p.pid, &status, 0), p.pid);
			p.pid = -1;
			CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 99);
			if (!start(&q, "none"))
				return;
			spawned_check_swept();
			CHECK_EQ(spawned_stop(&q), 0);
		}
		spawned_check_clean();
	}
}
