/* A leak audit: what a test may leave behind on the machine, as sorted lines of text.
 *
 *     fd 5 socket:[…]        open descriptors of this process
 *     child 1234 name        its children, zombies among them
 *     mount 77 /path type    mounts in this mount namespace
 *     cgroup DIR             groups whose path names fsbox, in every hierarchy
 *     link eth0              network links of this network namespace
 *     ns pid:[…] name        namespaces in which some process of the machine lives
 *     state PATH             what stands in the state directories (/run/fsbox, XDG_RUNTIME_DIR/fsbox)
 *
 * world_look() takes one; world_diff() takes another, waits up to two seconds for what the kernel tears down later, and
 * gives the lines that came ("+") and went ("-"). The line that begins with a word of @ignore is left out: "ns fd". */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct world {
	char **lines; /* sorted */
	size_t n, cap;
};

/* Aborts when it cannot look: then there is no test. The caller frees it with world_done(). */
struct world world_look(void);
void world_done(struct world *w);

/* NULL when nothing changed, else the differences, to be freed. @ignore may be NULL. */
char *world_diff(const struct world *before, const char *ignore);

/* For tests: a check that says what was left. */
#define CHECK_SAME_WORLD(before)                                                             \
	({                                                                                   \
		char *world_left_ = world_diff(before, NULL);                                \
		if (world_left_)                                                             \
			tap_note("the world has changed:\n%s", world_left_);                 \
		(void)tap_check(!world_left_, __FILE__, __LINE__, "nothing is left behind"); \
		free(world_left_);                                                           \
	})
