#include "oci/checkpoint.h"

#include "base/fd.h"
#include "json/json.h"
#include "oci/store.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#define GROUPS "fsbox-oci-groups.json"
/* Images are read that others may have made: as many as a host has, and not more work than they are worth. */
enum { GROUPS_MAX = 64 << 20, GROUPS_LISTED_MAX = 65536, LISTED_MAX = 1 << 17, STATUS_ROOM = 8192, GENERATIONS = 64 };

/* CRIU's modes (criu(8), --manage-cgroups): of groups that exist already "none" and "props" speak, and of no others. All of
 * ours are new, so that the rest mean the same. */
bool groups_wanted(const struct oci_args *a)
{
	static const char *const without[] = {"ignore", "none", "props"};

	for (size_t i = 0; a->cgroups_mode && i < ARRAY_LEN(without); i++)
		if (strcmp(a->cgroups_mode, without[i]) == 0)
			return false;
	return true;
}

/* ---- Numbers of processes ---- */

struct numbers {
	pid_t here, parent; /* in our PID namespace */
	pid_t inside;       /* in that of @depth, 0 when it is not in there */
};

static const char *field(const char *status, const char *name)
{
	const char *at = strstr(status, name);

	return at ? at + strlen(name) : "";
}

/* "NSpid: 4711 7 1": the number in each PID namespace, from that of /proc down (proc_pid_status(5)). */
static unsigned count_levels(pid_t pid)
{
	char path[40], text[STATUS_ROOM];
	unsigned n = 0;

	(void)snprintf(path, sizeof path, "/proc/%d/status", pid);
	if (fd_read_file_at(AT_FDCWD, path, text, sizeof text) < 0)
		return 0;
	for (const char *p = field(text, "\nNSpid:"); *p == '\t'; p += 1 + strcspn(p + 1, "\t\n"))
		n++;
	return n;
}

static struct numbers numbers_of(pid_t pid, unsigned levels)
{
	struct numbers ret = {.here = pid};
	char path[40], text[STATUS_ROOM];
	const char *p;

	(void)snprintf(path, sizeof path, "/proc/%d/status", pid);
	if (fd_read_file_at(AT_FDCWD, path, text, sizeof text) < 0)
		return ret;
	(void)!sscanf(field(text, "\nPPid:\t"), "%d", &ret.parent);
	p = field(text, "\nNSpid:");
	for (unsigned i = 1; *p == '\t' && i < levels; i++)
		p += 1 + strcspn(p + 1, "\t\n");
	if (*p == '\t')
		(void)!sscanf(p + 1, "%d", &ret.inside);
	return ret;
}

/* ---- Writing ---- */

static void add_text(struct buf *b, const char *key, const char *value)
{
	json_add_string(b, key, strlen(key));
	buf_puts(b, ":");
	json_add_string(b, value, strlen(value));
}

static void add_group(struct buf *b, const struct cg_nested *d, unsigned levels)
{
	const char *const *files = cg_nest_files();
	const char *comma = "";

	buf_puts(b, "{");
	add_text(b, "tree", d->tree);
	buf_puts(b, ",");
	add_text(b, "path", d->path);
	buf_printf(b, ",\"uid\":%" PRIu32 ",\"files\":{", d->uid);
	for (size_t i = 0; files[i]; i++) {
		if (!d->values[i])
			continue;
		buf_puts(b, comma);
		add_text(b, files[i], d->values[i]);
		comma = ",";
	}
	buf_puts(b, "},\"processes\":[");
	comma = "";
	for (size_t i = 0; i < d->n_pids; i++) {
		const struct numbers n = numbers_of(d->pids[i], levels);

		if (n.inside == 0)
			continue;
		buf_printf(b, "%s%d", comma, n.inside);
		comma = ",";
	}
	buf_puts(b, "]}");
}

int groups_write(int images, const struct cg_group *g, pid_t init, struct err *e)
{
	AUTO(buf_done) struct buf b = {0};
	struct arena a = {0};
	struct cg_nest nest;
	int r = cg_nest_look(g, &a, &nest, e);

	buf_puts(&b, "{\"groups\":[");
	for (size_t i = 0; r == 0 && i < nest.n; i++) {
		buf_puts(&b, i ? ",\n" : "");
		add_group(&b, &nest.at[i], count_levels(init));
	}
	buf_puts(&b, "]}\n");
	if (r == 0 && nest.n == 0)
		r = unlinkat(images, GROUPS, 0) < 0 && errno != ENOENT ? err_sys(e, errno, "removing an old " GROUPS)
								       : 0;
	else if (r == 0)
		r = b.failed ? err_oom(e) : file_replace(images, GROUPS, b.data, b.len, 0600, e);
	arena_done(&a);
	return r;
}

/* ---- Reading ---- */

struct reading {
	struct arena arena;
	struct cg_nest nest;
	/* The container's processes, and to which of the groups that are read each belongs. */
	struct numbers *all;
	size_t n, room;
	size_t listed; /* processes, in all groups */
	unsigned levels;
	struct err *e;
};

static int not_as_written(struct err *e)
{
	return err_set(e, ERR_SPEC, EINVAL, GROUPS " is not as it was written");
}

static const char *text_of(const struct json *group, const char *key)
{
	const struct json *v = json_member(group, key);

	return v && json_type_of(v) == JSON_STRING ? json_string_get(v, NULL) : NULL;
}

/* Numbers inside of the container to begin with. */
static int read_pids(struct reading *x, struct cg_nested *d, const struct json *list)
{
	x->listed += json_length(list);
	if (x->listed > LISTED_MAX)
		return not_as_written(x->e);
	d->pids = arena_alloc(&x->arena, (json_length(list) + 1) * sizeof *d->pids);
	if (!d->pids)
		return err_oom(x->e);
	for (size_t i = 0; i < json_length(list); i++) {
		const struct json *v = json_at(list, i);

		if (json_type_of(v) != JSON_INTEGER || json_integer_get(v) < 1 || json_integer_get(v) > INT32_MAX)
			return not_as_written(x->e);
		d->pids[d->n_pids++] = (pid_t)json_integer_get(v);
	}
	return 0;
}

static int read_group(struct reading *x, const struct json *group)
{
	struct cg_nested *d = &x->nest.at[x->nest.n];
	const char *const *names = cg_nest_files();
	const struct json *files, *list, *uid;
	size_t n_files = 0;

	if (json_type_of(group) != JSON_OBJECT)
		return not_as_written(x->e);
	files = json_member(group, "files");
	list = json_member(group, "processes");
	uid = json_member(group, "uid");
	d->tree = text_of(group, "tree");
	d->path = text_of(group, "path");
	if (!d->tree || !d->path || !cg_nest_is_path(d->path) || !uid || json_type_of(uid) != JSON_INTEGER ||
	    json_integer_get(uid) < 0 || json_integer_get(uid) >= UINT32_MAX || !files ||
	    json_type_of(files) != JSON_OBJECT || !list || json_type_of(list) != JSON_ARRAY)
		return not_as_written(x->e);
	d->uid = (uid_t)json_integer_get(uid);
	while (names[n_files])
		n_files++;
	d->values = arena_alloc(&x->arena, (n_files + 1) * sizeof *d->values);
	if (!d->values)
		return err_oom(x->e);
	for (size_t i = 0; i < n_files; i++)
		d->values[i] = text_of(files, names[i]);
	x->nest.n++;
	return read_pids(x, d, list);
}

/* ---- Who belongs where ---- */

static int note_process(pid_t pid, void *arg)
{
	struct reading *x = arg;

	if (x->n == x->room)
		return 0; /* counted before, and nobody runs who could fork */
	x->all[x->n++] = numbers_of(pid, x->levels);
	return 0;
}

static int count_process(pid_t pid, void *arg)
{
	struct reading *x = arg;

	(void)pid;
	x->room++;
	return 0;
}

static int find_processes(struct reading *x, const struct cg_group *g)
{
	if (cg_group_processes(g, count_process, x) < 0)
		return err_set(x->e, ERR_SYSTEM, EIO, "looking for the container's processes");
	x->all = arena_alloc(&x->arena, (x->room + 1) * sizeof *x->all);
	if (!x->all)
		return err_oom(x->e);
	return cg_group_processes(g, note_process, x) < 0
		       ? err_set(x->e, ERR_SYSTEM, EIO, "looking for the container's processes")
		       : 0;
}

/* Among the groups of one hierarchy: that which has the process, or NULL. */
static size_t group_of(const struct cg_nest *was, const char *tree, pid_t inside)
{
	for (size_t i = 0; i < was->n; i++)
		for (size_t k = 0; strcmp(was->at[i].tree, tree) == 0 && k < was->at[i].n_pids; k++)
			if (was->at[i].pids[k] == inside)
				return i;
	return SIZE_MAX;
}

static const struct numbers *process(const struct reading *x, pid_t here)
{
	for (size_t i = 0; i < x->n; i++)
		if (x->all[i].here == here)
			return &x->all[i];
	return NULL;
}

static size_t place_of(const struct reading *x, const struct cg_nest *was, const char *tree, const struct numbers *p)
{
	size_t at = SIZE_MAX;

	for (int i = 0; p && at == SIZE_MAX && i < GENERATIONS; i++) {
		at = group_of(was, tree, p->inside);
		p = process(x, p->parent);
	}
	return at;
}

/* From numbers inside, of those who were there, to numbers here, of those who are. */
static int translate(struct reading *x)
{
	const struct cg_nest was = x->nest;
	struct cg_nested *now = arena_alloc(&x->arena, (was.n + 1) * sizeof *now);

	if (!now)
		return err_oom(x->e);
	for (size_t i = 0; i < was.n; i++) {
		now[i] = was.at[i];
		now[i].n_pids = 0;
		now[i].pids = arena_alloc(&x->arena, (x->n + 1) * sizeof *now[i].pids);
		if (!now[i].pids)
			return err_oom(x->e);
	}
	for (size_t i = 0; i < was.n; i++) {
		bool first = true; /* group of its hierarchy */

		for (size_t k = 0; k < i; k++)
			first &= strcmp(was.at[k].tree, was.at[i].tree) != 0;
		for (size_t k = 0; first && k < x->n; k++) {
			const size_t at = place_of(x, &was, was.at[i].tree, &x->all[k]);

			if (at != SIZE_MAX)
				now[at].pids[now[at].n_pids++] = x->all[k].here;
		}
	}
	x->nest.at = now;
	return 0;
}

static int restore(struct reading *x, const struct json *list, const struct cg_group *g)
{
	int r = 0;

	if (json_length(list) > GROUPS_LISTED_MAX)
		return not_as_written(x->e);
	x->nest.at = arena_alloc(&x->arena, (json_length(list) + 1) * sizeof *x->nest.at);
	if (!x->nest.at)
		return err_oom(x->e);
	for (size_t i = 0; r == 0 && i < json_length(list); i++)
		r = read_group(x, json_at(list, i));
	if (r == 0)
		r = find_processes(x, g);
	if (r == 0)
		r = translate(x);
	return r == 0 ? cg_nest_make(g, &x->nest, x->e) : r;
}

int groups_restore(int images, const struct cg_group *g, pid_t init, struct err *e)
{
	AUTO_FD int fd = openat(images, GROUPS, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	AUTO(json_doc_freep) struct json_doc *doc = NULL;
	AUTO_FREE char *text = NULL;
	struct reading x = {.levels = count_levels(init), .e = e};
	const struct json *list;
	size_t len;
	int r;

	if (fd < 0 && errno == ENOENT)
		return 0;
	r = fd < 0 ? -errno : fd_read_all(fd, GROUPS_MAX, &text, &len);
	if (r < 0)
		return err_sys(e, r, "reading " GROUPS);
	r = json_parse(GROUPS, text, len, GROUPS_MAX, &doc, e);
	if (r < 0)
		return r;
	list = json_type_of(json_doc_root(doc)) == JSON_OBJECT ? json_member(json_doc_root(doc), "groups") : NULL;
	if (!list || json_type_of(list) != JSON_ARRAY)
		return not_as_written(e);
	r = restore(&x, list, g);
	arena_done(&x.arena);
	return r;
}
