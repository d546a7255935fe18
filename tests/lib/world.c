#include "tests/lib/world.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { WAIT_MS = 2000, STEP_MS = 20 };

__attribute__((format(printf, 2, 3))) static void add(struct world *w, const char *fmt, ...)
{
	char *line = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&line, fmt, ap) < 0)
		abort();
	va_end(ap);
	if (w->n == w->cap) {
		w->cap = w->cap ? w->cap * 2 : 256;
		w->lines = reallocarray(w->lines, w->cap, sizeof *w->lines);
		if (!w->lines)
			abort();
	}
	w->lines[w->n++] = line;
}

static bool is_number(const char *s)
{
	return s[0] != '\0' && s[strspn(s, "0123456789")] == '\0';
}

/* The target of a symbolic link; false when it is gone. */
static bool link_text(const char *path, char *buf, size_t size)
{
	ssize_t n = readlink(path, buf, size - 1);

	if (n < 0)
		return false;
	buf[n] = '\0';
	return true;
}

static bool first_line(const char *path, char *buf, size_t size)
{
	FILE *f = fopen(path, "re");

	if (!f)
		return false;
	bool ok = fgets(buf, (int)size, f);
	(void)fclose(f);
	if (ok)
		buf[strcspn(buf, "\n")] = '\0';
	return ok;
}

static void look_fds(struct world *w)
{
	DIR *d = opendir("/proc/self/fd");
	struct dirent *ent;

	if (!d)
		abort();
	while ((ent = readdir(d))) {
		char path[64], target[PATH_MAX];

		if (!is_number(ent->d_name))
			continue;
		int fd = -1;
		if (sscanf(ent->d_name, "%d", &fd) != 1 || fd == dirfd(d))
			continue;
		(void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
		if (link_text(path, target, sizeof target))
			add(w, "fd %d %s", fd, target);
	}
	(void)closedir(d);
}

/* Children, and every namespace that a process of the machine lives in, from one walk through /proc. */
static void look_processes(struct world *w)
{
	static const char *const kinds[] = {"pid", "mnt", "net", "user", "ipc", "uts", "cgroup"};
	DIR *d = opendir("/proc");
	struct dirent *ent;

	if (!d)
		abort();
	while ((ent = readdir(d))) {
		char path[PATH_MAX], text[1024], target[128];
		int ppid = 0;

		if (!is_number(ent->d_name))
			continue;
		(void)snprintf(path, sizeof path, "/proc/%s/stat", ent->d_name);
		if (!first_line(path, text, sizeof text))
			continue;
		/* The name may hold blanks and brackets: proc(5) says to look for the last ')'. */
		char *name = strchr(text, '('), *rest = strrchr(text, ')');
		if (!name || !rest)
			continue;
		*rest = '\0';
		if (sscanf(rest + 1, " %*c %d", &ppid) == 1 && ppid == getpid())
			add(w, "child %s %s", ent->d_name, name + 1);
		for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
			(void)snprintf(path, sizeof path, "/proc/%s/ns/%s", ent->d_name, kinds[i]);
			if (link_text(path, target, sizeof target))
				add(w, "ns %s", target);
		}
	}
	(void)closedir(d);
}

static void look_mounts(struct world *w)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char line[4096];

	if (!f)
		abort();
	while (fgets(line, sizeof line, f)) {
		char id[32], where[2048];
		const char *type = strstr(line, " - ");

		/* proc(5): id parent major:minor root mount-point … - type source options */
		if (type && sscanf(line, "%31s %*s %*s %*s %2047s", id, where) == 2)
			add(w, "mount %s %s %.*s", id, where, (int)strcspn(type + 3, " "), type + 3);
	}
	(void)fclose(f);
}

static struct world *walking; /* nftw(3) has no argument for its callback */
static const char *walk_kind;

static int walk_groups(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	if (type != FTW_D)
		return FTW_CONTINUE;
	if (strstr(path, "fsbox"))
		add(walking, "%s %s", walk_kind, path);
	/* Ours stand near the top, or in a delegated group of systemd's, which is four below. */
	return at->level > 6 ? FTW_SKIP_SUBTREE : FTW_CONTINUE;
}

static int walk_state(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	if (at->level > 0)
		add(walking, "%s %s", walk_kind, path);
	return FTW_CONTINUE;
}

static void walk(struct world *w, const char *kind, const char *root,
		 int (*visit)(const char *, const struct stat *, int, struct FTW *))
{
	walking = w;
	walk_kind = kind;
	(void)nftw(root, visit, 16, FTW_PHYS | FTW_ACTIONRETVAL | FTW_MOUNT);
}

static void look_groups(struct world *w)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char line[4096];

	if (!f)
		abort();
	while (fgets(line, sizeof line, f)) {
		char where[2048];

		if (strstr(line, " - cgroup") && sscanf(line, "%*s %*s %*s %*s %2047s", where) == 1)
			walk(w, "cgroup", where, walk_groups);
	}
	(void)fclose(f);
}

static void look_state(struct world *w)
{
	const char *mine = secure_getenv("XDG_RUNTIME_DIR");
	char path[PATH_MAX];

	walk(w, "state", "/run/fsbox", walk_state);
	if (mine) {
		(void)snprintf(path, sizeof path, "%s/fsbox", mine);
		walk(w, "state", path, walk_state);
	}
}

static void look_links(struct world *w)
{
	DIR *d = opendir("/sys/class/net");
	struct dirent *ent;

	if (!d)
		return; /* no sysfs here: nothing that a test could compare */
	while ((ent = readdir(d)))
		if (ent->d_name[0] != '.')
			add(w, "link %s", ent->d_name);
	(void)closedir(d);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

struct world world_look(void)
{
	struct world w = {0};
	size_t kept = 0;

	look_fds(&w);
	look_processes(&w);
	look_mounts(&w);
	look_groups(&w);
	look_links(&w);
	look_state(&w);
	qsort(w.lines, w.n, sizeof *w.lines, by_text);
	for (size_t i = 0; i < w.n; i++) { /* a namespace is named once for each process in it */
		if (kept && strcmp(w.lines[kept - 1], w.lines[i]) == 0)
			free(w.lines[i]);
		else
			w.lines[kept++] = w.lines[i];
	}
	w.n = kept;
	return w;
}

void world_done(struct world *w)
{
	for (size_t i = 0; i < w->n; i++)
		free(w->lines[i]);
	free(w->lines);
	*w = (struct world){0};
}

static bool is_ignored(const char *line, const char *ignore)
{
	size_t n = strcspn(line, " ");

	for (const char *at = ignore; at && *at != '\0';) {
		size_t word = strcspn(at, " ");

		if (word == n && strncmp(at, line, n) == 0)
			return true;
		at += word + strspn(at + word, " ");
	}
	return false;
}

/* Both are sorted: one walk finds what is in one only. Namespaces that went and processes of others are no leak of ours,
 * so a vanished "ns" line says nothing. */
static char *compare(const struct world *a, const struct world *b, const char *ignore)
{
	char *text = NULL;
	size_t size = 0, differences = 0;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		abort();
	for (size_t i = 0, j = 0; i < a->n || j < b->n;) {
		int order = i == a->n ? 1 : j == b->n ? -1 : strcmp(a->lines[i], b->lines[j]);
		const char *line = order <= 0 ? a->lines[i] : b->lines[j];

		i += order <= 0;
		j += order >= 0;
		if (order == 0 || is_ignored(line, ignore) || (order < 0 && strncmp(line, "ns ", 3) == 0))
			continue;
		(void)fprintf(f, "%s%c %s", differences++ ? "\n" : "", order < 0 ? '-' : '+', line);
	}
	(void)fclose(f);
	if (differences)
		return text;
	free(text);
	return NULL;
}

char *world_diff(const struct world *before, const char *ignore)
{
	for (int waited = 0;; waited += STEP_MS) {
		struct world now = world_look();
		char *diff = compare(before, &now, ignore);

		world_done(&now);
		if (!diff || waited >= WAIT_MS)
			return diff;
		free(diff);
		(void)nanosleep(&(struct timespec){.tv_nsec = STEP_MS * 1000000L}, NULL);
	}
}
