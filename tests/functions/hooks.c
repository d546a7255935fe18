/* Hooks of every kind; each says in the log that it ran. HOOK_FAILS names one that returns 7, HOOK_FORKS one whose forked
 * child returns. The answer says what comes of a registration that is too late, and of more of them than there is room. */
#include "out.h"

#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

static int many, filled;

static int ran(const char *name)
{
	const char *fails = getenv("HOOK_FAILS"), *forks = getenv("HOOK_FORKS");

	printf("%s\n", name);
	if (forks && strcmp(forks, name) == 0) {
		(void)fflush(stdout);
		if (fork() == 0)
			return 0;
		(void)wait(NULL);
	}
	return fails && strcmp(fails, name) == 0 ? 7 : 0;
}

static int before(void *arg)
{
	return ran(arg);
}

static int after(const struct fsbox_restore *restore, void *arg)
{
	return restore->size == sizeof *restore ? ran(arg) : 1;
}

static int nothing(void *arg)
{
	(void)arg;
	many++;
	return 0;
}

int fsbox_before_snapshot(void)
{
	return ran("its before");
}

int fsbox_after_restore(const struct fsbox_restore *restore)
{
	return restore->size == sizeof *restore ? ran("its after") : 1;
}

__attribute__((constructor)) static void library(void)
{
	static char b[] = "before 1", a[] = "after 1";

	if (fsbox_on_before_snapshot(before, b) != 0 || fsbox_on_after_restore(after, a) != 0)
		abort();
}

int fsbox_init(void)
{
	static char b2[] = "before 2", b3[] = "before 3", a2[] = "after 2", a3[] = "after 3";

	if (fsbox_on_before_snapshot(NULL, NULL) != -EINVAL || fsbox_on_after_restore(NULL, NULL) != -EINVAL)
		return 1;
	if (getenv("HOOK_FILL"))
		while (fsbox_on_before_snapshot(nothing, NULL) == 0)
			filled++;
	else if (fsbox_on_before_snapshot(before, b2) != 0 || fsbox_on_before_snapshot(before, b3) != 0)
		return 1;
	return fsbox_on_after_restore(after, a2) || fsbox_on_after_restore(after, a3);
}

int fsbox_handler(fsbox_call *call)
{
	struct out o = {0};
	int r;

	out_text(&o, "%d %d %d %d", fsbox_on_before_snapshot(before, NULL), fsbox_on_after_restore(after, NULL), filled,
		 many);
	r = fsbox_respond(call, o.data, o.len);
	free(o.data);
	return r;
}
