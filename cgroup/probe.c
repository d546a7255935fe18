/* What this host has: /proc/self/mountinfo and /proc/self/cgroup (proc_pid_mountinfo(5), cgroups(7)).
 * Controllers are recognised by the super-block options of the mount, never by the name of its directory: "cpu",
 * "cpu,cpuacct" and links between them are all in the field. */
#include "cgroup/internal.h"

#include "base/mem.h"
#include "base/str.h"

#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>

#define PROC_TEXT_MAX (16u << 20) /* a host with 100,000 mounts; beyond that something is wrong */

struct span {
	const char *p;
	size_t len;
};

/* Where a hierarchy was found; a better or newer mount of the same one may replace it. */
struct place {
	char mounted[256]; /* the directory of the hierarchy that the mount shows */
	int rank;          /* 0: not found */
};

struct mount_line {
	struct span mounted, point, options, type, super;
};

static const char *const h_names[CG_H_COUNT] = {"memory", "cpu", "pids", "cgroup2"};

const char *cg_h_name(unsigned h)
{
	return h_names[h];
}

const char *cg_h_root(const struct cg_host *host, unsigned h)
{
	return h == CG_H_V2 ? host->v2_root : host->v1_root[h];
}

const char *cg_h_self(const struct cg_host *host, unsigned h)
{
	return h == CG_H_V2 ? host->v2_self : host->v1_self[h];
}

bool cg_h_used(const struct cg_host *host, unsigned h)
{
	if (h == CG_H_V2)
		return host->mode != CG_NONE && host->v2_root[0] != '\0';
	return host->mode == CG_HYBRID;
}

bool cg_h_shared(const struct cg_host *host, unsigned h)
{
	for (unsigned i = 0; h < CG_H_V2 && i < h; i++)
		if (strcmp(host->v1_root[i], host->v1_root[h]) == 0)
			return true;
	return false;
}

/* Cuts what stands before @sep off *rest; false when *rest is used up. */
static bool cut(struct span *rest, char sep, struct span *ret)
{
	if (rest->len == 0)
		return false;

	const char *end = memchr(rest->p, sep, rest->len);
	size_t len = end ? (size_t)(end - rest->p) : rest->len, used = end ? len + 1 : len;

	*ret = (struct span){.p = rest->p, .len = len};
	rest->p += used;
	rest->len -= used;
	return true;
}

static bool span_is(struct span s, const char *text)
{
	return s.len == strlen(text) && memcmp(s.p, text, s.len) == 0;
}

static bool list_has(struct span list, const char *word)
{
	struct span one;

	while (cut(&list, ',', &one))
		if (span_is(one, word))
			return true;
	return false;
}

static bool span_copy(struct span s, char *ret, size_t size)
{
	if (s.len >= size)
		return false;
	memcpy(ret, s.p, s.len);
	ret[s.len] = '\0';
	return true;
}

static bool is_octal(char c)
{
	return c >= '0' && c <= '7';
}

bool cg_unescape(const char *s, size_t len, char *ret, size_t size)
{
	size_t out = 0;

	for (size_t i = 0; i < len; out++) {
		unsigned c = (unsigned char)s[i];

		if (c == '\\' && len - i >= 4 && s[i + 1] <= '3' && is_octal(s[i + 1]) && is_octal(s[i + 2]) &&
		    is_octal(s[i + 3])) {
			c = (unsigned)(s[i + 1] - '0') << 6 | (unsigned)(s[i + 2] - '0') << 3 |
			    (unsigned)(s[i + 3] - '0');
			i += 4;
		} else {
			i++;
		}
		if (c == 0 || out + 1 >= size)
			return false;
		ret[out] = (char)c;
	}
	if (out >= size)
		return false;
	ret[out] = '\0';
	return true;
}

/* "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue" */
static bool mount_line_parse(struct span line, struct mount_line *ret)
{
	struct span skip;

	for (int i = 0; i < 3; i++) /* mount id, parent id, device */
		if (!cut(&line, ' ', &skip))
			return false;
	if (!cut(&line, ' ', &ret->mounted) || !cut(&line, ' ', &ret->point) || !cut(&line, ' ', &ret->options))
		return false;
	do { /* optional fields, ended by a hyphen */
		if (!cut(&line, ' ', &skip))
			return false;
	} while (!span_is(skip, "-"));
	return cut(&line, ' ', &ret->type) && cut(&line, ' ', &skip) && cut(&line, ' ', &ret->super);
}

/* Words of the super block that name no controller. */
static bool is_controller(struct span word)
{
	return !span_is(word, "rw") && !span_is(word, "ro") && !span_is(word, "xattr") && !span_is(word, "noprefix") &&
	       !span_is(word, "clone_children") && !span_is(word, "cpuset_v2_mode") &&
	       !(word.len > 14 && memcmp(word.p, "release_agent=", 14) == 0);
}

static void name_controllers(struct span list, char *ret, size_t size)
{
	struct span word;
	size_t at = 0;

	while (cut(&list, ',', &word)) {
		if (!is_controller(word) || word.len + 2 > size - at)
			continue;
		if (at > 0)
			ret[at++] = ',';
		memcpy(ret + at, word.p, word.len);
		at += word.len;
	}
	ret[at] = '\0';
}

/* The first mount of each hierarchy; later ones of the same are binds of it. */
static void add_tree(const struct mount_line *m, struct cg_group *g)
{
	struct cg_tree t = {.v2 = span_is(m->type, "cgroup2"), .dir = FD_NONE};

	if (g->n == CG_MAX_TREES || !cg_unescape(m->point.p, m->point.len, t.root, sizeof t.root))
		return;
	if (!t.v2)
		name_controllers(m->super, t.controllers, sizeof t.controllers);
	for (unsigned i = 0; i < g->n; i++)
		if (g->trees[i].v2 == t.v2 && (t.v2 || strcmp(g->trees[i].controllers, t.controllers) == 0))
			return;
	g->trees[g->n++] = t;
}

void cg_trees_parse(const char *mountinfo, struct cg_group *g)
{
	struct span rest = {.p = mountinfo, .len = strlen(mountinfo)}, line;
	struct mount_line m;

	while (cut(&rest, '\n', &line))
		if (mount_line_parse(line, &m) && (span_is(m.type, "cgroup2") || span_is(m.type, "cgroup")))
			add_tree(&m, g);
}

/* A mount of the whole hierarchy is better than one of a part, a writable one better than a read-only one; of equals
 * the first wins, but a later mount on the same point covers the earlier one. */
static void consider(const struct mount_line *m, char *root, size_t size, struct place *place)
{
	char point[128] = {0}, mounted[256] = {0};

	_Static_assert(sizeof point == sizeof((struct cg_host *)0)->v2_root, "same size");
	_Static_assert(sizeof point == sizeof((struct cg_host *)0)->v1_root[0], "same size");
	if (!cg_unescape(m->point.p, m->point.len, point, sizeof point) || point[0] != '/' ||
	    !cg_unescape(m->mounted.p, m->mounted.len, mounted, sizeof mounted) || mounted[0] != '/')
		return;

	int rank = 1 + (strcmp(mounted, "/") == 0 ? 2 : 0) + (list_has(m->options, "rw") ? 1 : 0);

	if (rank <= place->rank && strcmp(point, root) != 0)
		return;
	memcpy(root, point, size);
	memcpy(place->mounted, mounted, sizeof mounted);
	place->rank = rank;
}

static void parse_mounts(const char *text, struct cg_host *ret, struct place *places)
{
	struct span rest = {.p = text, .len = strlen(text)}, line;
	struct mount_line m;

	while (cut(&rest, '\n', &line)) {
		if (!mount_line_parse(line, &m))
			continue;
		if (span_is(m.type, "cgroup2"))
			consider(&m, ret->v2_root, sizeof ret->v2_root, &places[CG_H_V2]);
		if (!span_is(m.type, "cgroup"))
			continue;
		for (unsigned h = 0; h < CG_V1_COUNT; h++)
			if (list_has(m.super, h_names[h]))
				consider(&m, ret->v1_root[h], sizeof ret->v1_root[h], &places[h]);
	}
}

/* Our group as a path below the mount. A group outside of it ("/../x", or another branch) has none. */
static void set_self(struct span path, const struct place *place, char *ret, size_t size)
{
	size_t skip = strcmp(place->mounted, "/") == 0 ? 0 : strlen(place->mounted);

	ret[0] = '\0';
	if (place->rank == 0 || path.len == 0 || path.p[0] != '/')
		return;
	if (path.len >= 3 && memcmp(path.p, "/..", 3) == 0)
		return;
	if (path.len < skip || memcmp(path.p, place->mounted, skip) != 0)
		return;
	path.p += skip;
	path.len -= skip;
	if (path.len == 0)
		path = (struct span){.p = "/", .len = 1};
	if (path.p[0] == '/')
		(void)span_copy(path, ret, size); /* too long: stays "", which only means that it is not used */
}

/* "4:memory:/a/b", and "0::/a/b" for cgroup2. A path may hold colons. */
static void parse_self(const char *text, struct cg_host *ret, const struct place *places)
{
	struct span rest = {.p = text, .len = strlen(text)}, line, id, list;

	while (cut(&rest, '\n', &line)) {
		if (!cut(&line, ':', &id) || !cut(&line, ':', &list))
			continue;
		if (span_is(id, "0") && list.len == 0)
			set_self(line, &places[CG_H_V2], ret->v2_self, sizeof ret->v2_self);
		for (unsigned h = 0; h < CG_V1_COUNT; h++)
			if (list_has(list, h_names[h]))
				set_self(line, &places[h], ret->v1_self[h], sizeof ret->v1_self[h]);
	}
}

void cg_host_parse(const char *mountinfo, const char *self_cgroup, struct cg_host *ret)
{
	struct place places[CG_H_COUNT] = {0};

	*ret = (struct cg_host){0};
	parse_mounts(mountinfo, ret, places);
	parse_self(self_cgroup, ret, places);
}

/* At least Linux @major.@minor, by uname(2)'s "6.1.0-18-amd64". */
static bool kernel_is(unsigned major, unsigned minor)
{
	struct utsname un;
	unsigned have[2] = {0};

	if (uname(&un) < 0)
		return false;

	const char *p = un.release;
	for (size_t i = 0; i < 2; i++) {
		for (; *p >= '0' && *p <= '9'; p++)
			have[i] = have[i] * 10 + (unsigned)(*p - '0');
		if (*p == '.')
			p++;
	}
	return have[0] > major || (have[0] == major && have[1] >= minor);
}

/* The root group has neither file; there the kernel's version decides. */
static void look_core(struct cg_host *host)
{
	AUTO_FD int self = FD_NONE;

	if (host->v2_self[0] == '/' && host->v2_self[1] != '\0')
		self = cg_open_dir(host->v2_root, host->v2_self);
	if (fd_valid(self) && faccessat(self, "cgroup.events", F_OK, 0) == 0) {
		host->v2_kill = faccessat(self, "cgroup.kill", F_OK, 0) == 0;
		host->v2_freeze = faccessat(self, "cgroup.freeze", F_OK, 0) == 0;
		return;
	}
	host->v2_kill = kernel_is(5, 14);
	host->v2_freeze = kernel_is(5, 2);
}

static void look_v2(struct cg_host *host)
{
	AUTO_FD int root = cg_open_dir(host->v2_root, "/");
	char text[512];

	if (!fd_valid(root) || cg_read_at(root, "cgroup.controllers", text, sizeof text) < 0)
		return;
	for (struct span rest = {.p = text, .len = strlen(text)}, word; cut(&rest, ' ', &word);) {
		host->v2_memory |= span_is(word, "memory");
		host->v2_cpu |= span_is(word, "cpu");
		host->v2_pids |= span_is(word, "pids");
	}
	look_core(host);
}

static unsigned count_cpus(void)
{
	unsigned long mask[1024 / sizeof(unsigned long)] = {0}; /* 8,192 CPUs: the most that Linux knows on x86-64 */
	long n = syscall(SYS_sched_getaffinity, 0, sizeof mask, mask);
	unsigned cpus = 0;

	for (size_t i = 0; n > 0 && i < (size_t)n / sizeof mask[0]; i++)
		cpus += (unsigned)__builtin_popcountl(mask[i]);
	return cpus > 0 ? cpus : 1;
}

void cg_host_from_texts(const char *mountinfo, const char *self_cgroup, struct cg_host *ret)
{
	bool v1 = true;

	cg_host_parse(mountinfo, self_cgroup, ret);
	ret->n_cpus = count_cpus();
	if (ret->v2_root[0] != '\0')
		look_v2(ret);
	for (unsigned h = 0; h < CG_V1_COUNT; h++)
		v1 = v1 && ret->v1_root[h][0] != '\0';
	if (ret->v2_memory && ret->v2_cpu && ret->v2_pids)
		ret->mode = CG_V2;
	else if (v1)
		ret->mode = CG_HYBRID;
	if (ret->mode == CG_HYBRID) {
		AUTO_FD int memory = cg_open_dir(ret->v1_root[CG_V1_MEMORY], "/");

		ret->v1_memsw = fd_valid(memory) && faccessat(memory, "memory.memsw.limit_in_bytes", F_OK, 0) == 0;
	}
}

int cg_read_proc(const char *path, char **ret, struct err *e)
{
	AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t len;

	if (fd < 0)
		return err_sys(e, errno, "looking for cgroups: %s", path);

	int r = fd_read_all(fd, PROC_TEXT_MAX, ret, &len);

	return r < 0 ? err_sys(e, r, "looking for cgroups: %s", path) : 0;
}

int cg_host_probe(struct cg_host *ret, struct err *e)
{
	AUTO_FREE char *mounts = NULL;
	AUTO_FREE char *self = NULL;
	int r = cg_read_proc("/proc/self/mountinfo", &mounts, e);

	if (r == 0)
		r = cg_read_proc("/proc/self/cgroup", &self, e);
	if (r == 0)
		cg_host_from_texts(mounts, self, ret);
	return r;
}
