/* Groups below a container's own: who enters it goes there by name, or to where its first process is. */
#include "cgroup/internal.h"

#include "sys/sys.h"

#include <fcntl.h>
#include <stdio.h>

static int descend(const struct cg_group *g, struct cg_tree *t, const char *sub, struct err *e)
{
	int fd = sys_open_beneath(t->dir, sub + strspn(sub, "/"), O_PATH | O_DIRECTORY | O_CLOEXEC, 0);

	if (fd < 0)
		return err_sys(e, fd, "group '%s' below %s%s", sub, t->root, g->path);
	fd_closep(&t->dir);
	t->dir = fd;
	return 0;
}

int cg_group_descend(struct cg_group *g, const char *controllers, const char *sub, struct err *e)
{
	bool any = false;
	int r = 0;

	if (sub[strspn(sub, "/")] == '\0')
		return 0;
	for (unsigned i = 0; r == 0 && i < g->n; i++) {
		struct cg_tree *t = &g->trees[i];
		bool meant = !controllers;

		for (const char *p = controllers; p && *p && !t->v2;) {
			char word[32];
			const size_t n = strcspn(p, ",");

			(void)snprintf(word, sizeof word, "%.*s", (int)n, p);
			meant |= cg_word_in(t->controllers, word);
			p += n + (p[n] == ',');
		}
		if (!meant || !fd_valid(t->dir))
			continue;
		any = true;
		r = descend(g, t, sub, e);
	}
	return r == 0 && !any ? err_set(e, ERR_SPEC, EINVAL, "cgroup v1 has no hierarchy of '%.60s' here", controllers)
			      : r;
}

struct search {
	pid_t pid;
	int found;
};

static bool holds(int dir, pid_t pid)
{
	AUTO_FD int fd = openat(dir, "cgroup.procs", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	AUTO_FREE char *text = NULL;
	char line[16];
	size_t len;

	if (fd < 0 || fd_read_all(fd, CG_PROCS_MAX, &text, &len) < 0)
		return false;
	(void)snprintf(line, sizeof line, "%d", pid);
	len = strlen(line);
	for (const char *p = text; p && *p; p = strchr(p, '\n'), p += p != NULL)
		if (strncmp(p, line, len) == 0 && p[len] == '\n')
			return true;
	return false;
}

/* By looking, and not by the name in /proc/PID/cgroup: that begins at the root of a namespace, and need not lie below. */
static int look(int parent, const char *name, int dirfd, void *arg)
{
	struct search *s = arg;

	(void)parent;
	(void)name;
	if (!holds(dirfd, s->pid))
		return 0;
	s->found = openat(dirfd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return -ECANCELED;
}

bool cg_group_follow(struct cg_group *g, pid_t pid)
{
	struct search s = {.pid = pid, .found = FD_NONE};
	struct cg_walk w = {.visit = look, .arg = &s};

	for (unsigned i = 0; i < g->n && !fd_valid(s.found); i++) {
		struct cg_tree *t = &g->trees[i];

		if (!t->v2 || !fd_valid(t->dir))
			continue;
		(void)!cg_walk(t->dir, 0, &w);
		if (!fd_valid(s.found))
			continue;
		fd_closep(&t->dir);
		t->dir = s.found;
	}
	return fd_valid(s.found);
}
