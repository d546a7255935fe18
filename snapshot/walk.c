#include "snapshot/store.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>

enum { LEVELS = 64, ENTRIES_MAX = 1 << 20 };

struct walk {
	enum walk_what what;
	struct snap_reading *rd;
	struct snap_digest d;
	uint64_t newest_ns, n;
	struct err *e;
	char path[PATH_MAX]; /* where it is, for messages alone: cut when it is too long */
};

static int walk_dir(struct walk *w, int dir, unsigned levels);

/* Makes @name the path's last component. Returns the length that leaves it again. */
static size_t go_down(struct walk *w, const char *name)
{
	size_t len = strlen(w->path);

	(void)snprintf(w->path + len, sizeof w->path - len, "/%s", name);
	return len;
}

/* We may read everything, and who asks for the snapshot perhaps not; a cell's user can't read it either. */
static bool is_private(const struct walk *w, const struct stat *st)
{
	return w->rd && w->rd->public_only && !(st->st_mode & (S_ISDIR(st->st_mode) ? S_IXOTH : S_IROTH));
}

static void add_identity(struct walk *w, const struct stat *st)
{
	char identity[IDENTITY_SIZE];

	identity_put(st, identity);
	digest_add_text(&w->d, identity, strlen(identity));
}

static int add_file(struct walk *w, int dir, const char *name, const struct stat *seen)
{
	/* What became a fifo meanwhile must not hold us; open(2), O_NONBLOCK. */
	AUTO_FD int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	char hex[SNAP_ID_LEN + 1];
	struct stat st;
	uint64_t size;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(w->e, errno, "reading '%s'", w->path);
	if (!S_ISREG(st.st_mode) || st.st_ino != seen->st_ino || st.st_dev != seen->st_dev)
		return err_set(w->e, ERR_BUSY, EBUSY, "reading '%s': it was replaced meanwhile", w->path);
	if (is_private(w, &st)) {
		add_identity(w, &st);
		return 0;
	}
	r = digest_fd(fd, w->path, w->rd, hex, &size, w->e);
	if (r == 0)
		digest_add_text(&w->d, hex, SNAP_ID_LEN);
	return r;
}

static int add_link(struct walk *w, int dir, const char *name)
{
	char to[PATH_MAX];
	ssize_t n = readlinkat(dir, name, to, sizeof to);

	if (n < 0)
		return err_sys(w->e, errno, "reading the link '%s'", w->path);
	digest_add_text(&w->d, to, (size_t)n);
	return 0;
}

static int add_dir(struct walk *w, int dir, const char *name, unsigned levels)
{
	AUTO_FD int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return err_sys(w->e, errno, "reading '%s'", w->path);
	if (levels == 0)
		return err_set(w->e, ERR_LIMIT, ELOOP, "reading '%s': more than %d levels of directories", w->path,
			       LEVELS);
	return walk_dir(w, fd, levels - 1);
}

static void add_head(struct walk *w, const struct stat *st)
{
	char text[IDENTITY_SIZE + 32], identity[IDENTITY_SIZE] = "";

	if (w->what == WALK_IDENTITIES)
		identity_put(st, identity);
	(void)snprintf(text, sizeof text, "%o %s", st->st_mode, identity); /* kind and mode: the kernel's numbers */
	digest_add_text(&w->d, text, strlen(text));
	if (identity_changed_ns(st) > w->newest_ns)
		w->newest_ns = identity_changed_ns(st);
}

static int add_entry(struct walk *w, int dir, const char *name, unsigned levels)
{
	struct stat st;
	int r = reading_goes_on(w->rd, w->e);

	if (r < 0)
		return r;
	if (++w->n > ENTRIES_MAX)
		return err_set(w->e, ERR_LIMIT, E2BIG, "reading '%s': more than %d entries", w->path, ENTRIES_MAX);
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(w->e, errno, "reading '%s'", w->path);
	digest_add_text(&w->d, name, strlen(name));
	add_head(w, &st);
	if (S_ISDIR(st.st_mode) && is_private(w, &st)) {
		add_identity(w, &st);
		return 0;
	}
	if (S_ISDIR(st.st_mode))
		return add_dir(w, dir, name, levels);
	if (w->what == WALK_IDENTITIES)
		return 0;
	if (S_ISLNK(st.st_mode))
		return add_link(w, dir, name);
	return S_ISREG(st.st_mode) ? add_file(w, dir, name, &st) : 0; /* sockets, fifos, devices: no content */
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name); /* alphasort() follows the locale */
}

static int no_dots(const struct dirent *ent)
{
	return strcmp(ent->d_name, ".") != 0 && strcmp(ent->d_name, "..") != 0;
}

static int walk_dir(struct walk *w, int dir, unsigned levels)
{
	struct dirent **names = NULL;
	int n = scandirat(dir, ".", &names, no_dots, by_bytes), r = 0;

	if (n < 0)
		return err_sys(w->e, errno, "reading '%s'", w->path);
	for (int i = 0; i < n; i++) {
		if (r == 0) {
			size_t len = go_down(w, names[i]->d_name);

			r = add_entry(w, dir, names[i]->d_name, levels);
			w->path[len] = '\0';
		}
		free(names[i]);
	}
	free(names);
	digest_add_text(&w->d, NULL, 0); /* the end: no name is empty */
	return r;
}

int walk_tree(const char *path, enum walk_what what, struct snap_reading *rd, char hex[SNAP_ID_LEN + 1],
	      uint64_t *ret_newest_ns, struct err *e)
{
	AUTO_FD int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct walk w = {.what = what, .rd = rd, .e = e};
	struct stat st;
	int r;

	if (dir < 0 || fstat(dir, &st) < 0)
		return err_sys(e, errno, "reading '%s'", path);
	(void)snprintf(w.path, sizeof w.path, "%s", path);
	digest_begin(&w.d);
	digest_add_text(&w.d, "tree 1", 6);
	add_head(&w, &st);
	r = walk_dir(&w, dir, LEVELS);
	if (r < 0)
		return r;
	digest_end(&w.d, hex);
	*ret_newest_ns = w.newest_ns;
	return 0;
}
