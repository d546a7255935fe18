/* What CRIU is asked at a restore: which mounts in its namespace stand for which of the container's, and which descriptors
 * it was given. */
#include "cell/container_mounts.h"
#include "cell/container_restore.h"

#include <stdio.h>
#include <sys/socket.h>

enum { REQUEST_ROOM = 128 << 10 };

/* From "m3/sub" or "c2.5": where mount 3 or 2 is, what stands below, and the directory of hierarchy 5. */
static const char *point_of(const struct restorer *x, const char *staged, const char **ret_rest, const char **ret_tree)
{
	const struct cg_group *g = x->r->group;
	size_t i = 0;
	unsigned k = 0;
	int len = 0;
	const bool bind = sscanf(staged, "m%zu%n", &i, &len) == 1;

	if ((!bind && sscanf(staged, "c%zu.%u%n", &i, &k, &len) != 2) || i >= x->r->spec->n_mounts)
		return NULL;
	*ret_rest = staged + len;
	*ret_tree = "";
	if ((**ret_rest && **ret_rest != '/') || (!bind && (!g || k >= g->n)))
		return NULL;
	if (!bind && !ct_cgroup_only_v2(g))
		*ret_tree = strrchr(g->trees[k].root, '/');
	return x->points[i];
}

/* Every mount in the stage stands for what has the same place in the container. */
static int add_staged(struct restorer *x, struct arena *a, const struct mounted_table *t, const char **list, size_t *n,
		      struct err *e)
{
	const size_t len = strlen(CT_STAGE);

	for (size_t i = 0; i < t->n; i++) {
		const char *at = t->at[i].point, *rest, *tree, *point;

		if (strncmp(at, CT_STAGE, len) != 0 || at[len] != '/')
			continue;
		point = point_of(x, at + len + 1, &rest, &tree);
		if (!point)
			continue;
		x->r->job->compat_mounts |= t->at[i].peers;
		list[*n] = arena_printf(a, "mnt[%s%s%s%s]:%s", point[0] == '/' ? "" : "/",
					strcmp(point, "/") == 0 ? "" : point, tree, rest, at);
		if (!list[(*n)++])
			return err_oom(e);
	}
	return 0;
}

/* What is bound from the host's /dev: masks, and devices where nodes may not be made. */
static int add_host_devices(struct restorer *x, struct arena *a, const char **list, size_t *n, struct err *e)
{
	static const char *const devices[] = {"/dev/null", "/dev/zero",    "/dev/full",
					      "/dev/tty",  "/dev/urandom", "/dev/random"};
	const struct ct_spec *s = x->r->spec;
	bool full = false;

	for (size_t i = 0; s->masked && s->masked[i]; i++)
		full |= !(list[(*n)++] = arena_printf(a, "mnt[%s]:/dev/null", s->masked[i]));
	for (size_t i = 0; i < ARRAY_LEN(devices); i++)
		full |= !(list[(*n)++] = arena_printf(a, "mnt[%s]:%s", devices[i], devices[i]));
	for (size_t i = 0; i < s->n_devices; i++)
		full |= !(list[(*n)++] = arena_printf(a, "mnt[%s]:%s", s->devices[i].path, s->devices[i].path));
	return full ? err_oom(e) : 0;
}

static void inherit(struct criu_job *j, const char *key, int fd)
{
	for (size_t i = 0; i < j->n_inherited; i++)
		if (strcmp(j->inherited[i].key, key) == 0)
			return;
	j->inherited[j->n_inherited].key = key;
	j->inherited[j->n_inherited++].fd = fd;
}

static void add_inherited(struct restorer *x)
{
	static const char *const kinds[] = {"pipe:", "socket:", "file[", "tty["};
	struct criu_job *j = x->r->job;

	for (int i = 0; i < CT_STDIO; i++)
		for (size_t k = 0; x->r->stdio[i] && k < ARRAY_LEN(kinds); k++)
			if (str_starts(x->r->stdio[i], kinds[k]))
				inherit(j, x->r->stdio[i], CRIU_STDIN + i);
	if (fd_valid(x->p.child.ns[CT_PID]))
		inherit(j, CT_EXTERNAL_PIDNS, CRIU_PIDNS);
	if (fd_valid(x->p.child.ns[CT_NET])) /* for images of other runtimes: with ours CRIU is in it already */
		inherit(j, CT_EXTERNAL_NETNS, CRIU_NETNS);
}

int ct_send_request(struct restorer *x, struct err *e)
{
	const struct ct_spec *s = x->r->spec;
	struct criu_job *j = x->r->job;
	struct mounted_table t;
	size_t room = s->n_devices + 16, len;
	const char **list;
	AUTO_FREE void *bytes = malloc(REQUEST_ROOM);
	int r = mounts_of(x->criu, &x->p.arena, &t, e);

	if (r < 0)
		return r;
	for (size_t i = 0; s->masked && s->masked[i]; i++)
		room++;
	list = arena_alloc(&x->p.arena, (room + t.n) * sizeof *list);
	j->root = CT_STAGE "/root";
	if (s->ns[CT_USER].wanted)
		j->images_fd = FD_NONE;
	if (s->ns[CT_USER].wanted)
		j->images = CT_STAGE "/images0";
	if (!list || !bytes)
		return err_oom(e);
	j->externals = list;
	j->n_externals = 0;
	r = add_staged(x, &x->p.arena, &t, list, &j->n_externals, e);
	if (r == 0)
		r = add_host_devices(x, &x->p.arena, list, &j->n_externals, e);
	if (r < 0)
		return r;
	add_inherited(x);
	len = criu_restore_request(j, x->work, bytes, REQUEST_ROOM);
	if (len > REQUEST_ROOM)
		return err_set(e, ERR_LIMIT, E2BIG, "the container has too many mounts to restore it");
	return send(x->sock, bytes, len, MSG_NOSIGNAL) != (ssize_t)len ? err_sys(e, errno, "asking CRIU") : 0;
}
