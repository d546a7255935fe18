/* Mounts of type cgroup: what a container sees of its groups (config-linux.md, "Control groups"; cgroup_namespaces(7)).
 * With a cgroup namespace the hierarchies are mounted, and their roots are the container's groups; without one the
 * groups are bound. On v1 it is a small tmpfs with a directory for each hierarchy. */
#include "cell/container_internal.h"

#include "base/fd.h"
#include "sys/sys.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>

const struct cg_tree *ct_cgroup_only_v2(const struct cg_group *g)
{
	const struct cg_tree *v2 = NULL;

	for (unsigned i = 0; i < g->n; i++) {
		if (!g->trees[i].v2)
			return NULL;
		v2 = &g->trees[i];
	}
	return v2;
}

static int set_controllers(int fs, const char *list)
{
	char word[64];
	int r = 0;

	for (const char *p = list; r == 0 && *p;) {
		size_t n = strcspn(p, ",");

		if (n >= sizeof word)
			return -ENAMETOOLONG;
		memcpy(word, p, n);
		word[n] = '\0';
		if (strncmp(word, "name=", 5) == 0) {
			r = sys_fsconfig_flag(fs, "none");
			if (r == 0)
				r = sys_fsconfig_string(fs, "name", word + 5);
		} else {
			r = sys_fsconfig_flag(fs, word);
		}
		p += n + (p[n] == ',');
	}
	return r;
}

static int new_tree(const struct cg_tree *t, unsigned attrs)
{
	AUTO_FD int fs = sys_fsopen(t->v2 ? "cgroup2" : "cgroup");
	int r = fs < 0 ? fs : 0;

	if (r == 0)
		r = sys_fsconfig_string(fs, "source", "cgroup");
	if (r == 0 && !t->v2)
		r = set_controllers(fs, t->controllers);
	if (r == 0)
		r = sys_fsconfig_create(fs);
	return r < 0 ? r : sys_fsmount(fs, attrs);
}

static int bind_tree(const struct cg_tree *t, const struct cg_group *g, unsigned attrs)
{
	char path[CT_PATH_ROOM];
	const struct ct_mount m = {.source = path, .bind = true, .set = attrs};

	(void)snprintf(path, sizeof path, "%s%s", t->root, g->path);
	return inside_bind(&m);
}

int ct_cgroup_tree(struct ct_child *ch, const struct cg_tree *t, unsigned attrs)
{
	const struct ct_namespace *ns = &ch->spec->ns[CT_CGROUP];

	return ns->wanted ? new_tree(t, attrs) : bind_tree(t, ch->group, attrs);
}

/* "cpu" and "cpuacct" lead to "cpu,cpuacct". */
static int link_names(int dir, const char *name)
{
	char word[64];

	for (const char *p = name; strchr(name, ',') && *p;) {
		size_t n = strcspn(p, ",");

		if (n < sizeof word) {
			memcpy(word, p, n);
			word[n] = '\0';
			if (symlinkat(name, dir, word) < 0 && errno != EEXIST)
				return -errno;
		}
		p += n + (p[n] == ',');
	}
	return 0;
}

static int add_tree(struct ct_child *ch, const struct cg_tree *t, int dir, unsigned attrs)
{
	const char *name = strrchr(t->root, '/') + 1;
	AUTO_FD int at = FD_NONE;
	AUTO_FD int fd = FD_NONE;

	if (mkdirat(dir, name, 0755) < 0)
		return -errno;
	at = openat(dir, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (at < 0)
		return -errno;
	fd = ct_cgroup_tree(ch, t, attrs);
	if (fd < 0)
		return fd;

	int r = sys_move_mount_onto(fd, at);
	return r < 0 ? r : link_names(dir, name);
}

int ct_mount_cgroups(struct ct_child *ch, const struct ct_mount *m, struct err *e)
{
	static const char *options[] = {"mode=755", NULL};
	struct ct_mount tmpfs = *m;
	const struct cg_group *g = ch->group;
	const struct cg_tree *v2 = g ? ct_cgroup_only_v2(g) : NULL;
	const unsigned attrs = (unsigned)m->set;
	const char *option;
	int r;

	if (!g)
		return 0; /* no groups, nothing to see of them */
	tmpfs.type = "tmpfs";
	tmpfs.source = "tmpfs";
	tmpfs.data = options;
	tmpfs.set &= ~(uint64_t)MOUNT_ATTR_RDONLY;

	AUTO_FD int fd = v2 ? ct_cgroup_tree(ch, v2, attrs) : inside_new(&tmpfs, &option);
	if (fd < 0)
		return err_sys(e, fd, "mounting cgroups at '%s'", m->target);
	tmpfs.propagation[0] = 0;
	r = inside_attach(ch->root, &tmpfs, fd);
	for (unsigned i = 0; r == 0 && !v2 && i < g->n; i++) {
		const struct cg_tree *t = &g->trees[i];
		AUTO_FD int dir = inside_open(ch->root, m->target);

		if (dir < 0)
			r = dir;
		else if (!t->v2 && fd_valid(t->dir))
			r = add_tree(ch, t, dir, attrs);
	}
	if (r == 0 && !v2 && (attrs & MOUNT_ATTR_RDONLY))
		r = sys_mount_setattr(fd, MOUNT_ATTR_RDONLY, 0, 0, false);
	return r < 0 ? err_sys(e, r, "mounting cgroups at '%s'", m->target) : 0;
}
