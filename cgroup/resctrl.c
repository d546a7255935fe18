#include "cgroup/resctrl.h"

#include "base/fd.h"
#include "base/str.h"
#include "cgroup/internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

enum { SCHEMATA_BYTES = 16 << 10 };

int cg_resctrl_find(char root[CG_RESCTRL_ROOT], struct err *e)
{
	AUTO_FREE char *mounts = NULL;
	int r = cg_read_proc("/proc/self/mountinfo", &mounts, e);

	for (char *line = mounts; r == 0 && line && *line;) {
		char *end = line + strcspn(line, "\n"), *type = strstr(line, " - resctrl ");
		const char *point = line;

		for (int field = 0; field < 4 && point; field++)
			point = strchr(point + (field > 0), ' ');
		if (type && type < end && point &&
		    cg_unescape(point + 1, strcspn(point + 1, " "), root, CG_RESCTRL_ROOT))
			return 0;
		line = end + (*end == '\n');
	}
	return r < 0 ? r : err_set(e, ERR_UNSUPPORTED, EOPNOTSUPP, "intelRdt is wanted, but no resctrl is mounted");
}

/* ---- Schemata ---- */

static void add_lines(struct buf *b, const char *text, bool without_mb)
{
	for (const char *p = text; p && *p;) {
		const size_t n = strcspn(p, "\n");

		if (n > 0 && !(without_mb && strncmp(p, "MB:", 3) == 0))
			buf_printf(b, "%.*s\n", (int)n, p);
		p += n + (p[n] == '\n');
	}
}

static void schemata_of(const struct ct_rdt *r, struct buf *b)
{
	add_lines(b, r->l3, r->memory && r->memory[0]);
	add_lines(b, r->memory, false);
	for (size_t i = 0; r->schemata && r->schemata[i]; i++)
		add_lines(b, r->schemata[i], false);
}

/* The value of @id in a line such as "L3:0=00fff;1=fff", without zeros before it. */
static bool value_of(const char *line, const char *id, size_t id_len, const char **ret, size_t *ret_len)
{
	const char *p = line + strcspn(line, ":\n");

	while (*p == ':' || *p == ';') {
		const char *name = p + 1 + strspn(p + 1, " ");

		p = name + strcspn(name, ";\n");
		if (strncmp(name, id, id_len) != 0 || name[id_len] != '=')
			continue;
		*ret = name + id_len + 1;
		*ret += strspn(*ret, "0");
		*ret_len = (size_t)(p - *ret);
		return true;
	}
	return false;
}

/* Does @have, the kernel's text, say for each id of @line what @line says? */
static bool has_line(const char *have, const char *line)
{
	const size_t name = strcspn(line, ":\n") + 1;
	const char *found = NULL, *p = line + name;

	for (const char *h = have; *h && !found; h += strcspn(h, "\n"), h += *h == '\n') {
		h += strspn(h, " ");
		if (strncmp(h, line, name) == 0)
			found = h;
	}
	while (found && *p && *p != '\n') {
		const char *id = p + strspn(p, " "), *want, *is;
		const size_t id_len = strcspn(id, "=;\n");
		size_t want_len, is_len;

		if (!value_of(line, id, id_len, &want, &want_len) || !value_of(found, id, id_len, &is, &is_len) ||
		    want_len != is_len || strncasecmp(want, is, is_len) != 0)
			return false;
		p = id + strcspn(id, ";\n");
		p += *p == ';';
	}
	return found;
}

static int compare(int dir, const char *clos, const struct buf *want, struct err *e)
{
	char have[SCHEMATA_BYTES];
	ssize_t n = want->len > 0 ? fd_read_file_at(dir, "schemata", have, sizeof have) : 0;

	if (n < 0)
		return err_sys(e, (int)n, "reading the schemata of class '%s'", clos);
	for (const char *p = want->len > 0 ? want->data : NULL; p && *p; p += strcspn(p, "\n") + 1)
		if (!has_line(have, p))
			return err_set(e, ERR_EXISTS, EEXIST, "class '%s' exists and has other schemata than '%.*s'",
				       clos, (int)strcspn(p, "\n"), p);
	return 0;
}

static int write_schemata(const char *root, int dir, const char *clos, const struct buf *text, struct err *e)
{
	char path[CG_RESCTRL_ROOT + 32], why[256] = "";
	int r = text->len > 0 ? fd_write_file_at(dir, "schemata", text->data, text->len) : 0;

	if (r == 0)
		return 0;
	/* The kernel has words for what it does not like. */
	(void)snprintf(path, sizeof path, "%s/info/last_cmd_status", root);
	(void)!fd_read_file_at(AT_FDCWD, path, why, sizeof why);
	return err_sys(e, r, "writing the schemata of class '%s'%s%s", clos, why[0] ? ": " : "", why);
}

/* ---- Groups ---- */

static const char *class_of(const struct ct_rdt *r, const char *id)
{
	const char *name = r->clos && r->clos[0] ? r->clos : id;

	return strcmp(name, "/") == 0 ? "." : name;
}

static int open_class(const char *root, const char *name)
{
	AUTO_FD int top = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int fd = top < 0 ? top : openat(top, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static int enter(int dir, const char *what, const char *name, pid_t pid, struct err *e)
{
	char file[300], number[16];
	int r;

	(void)snprintf(file, sizeof file, "%s%stasks", what, what[0] ? "/" : "");
	(void)snprintf(number, sizeof number, "%d", pid);
	r = fd_write_file_at(dir, file, number, strlen(number));
	return r < 0 ? err_sys(e, r, "putting process %d into resctrl group '%s'", pid, name) : 0;
}

int cg_resctrl_enter(const char *root, const struct ct_rdt *r, const char *id, pid_t pid, struct err *e)
{
	const char *name = class_of(r, id);
	AUTO_FD int dir = open_class(root, name);
	char monitor[280];
	int rc;

	if (dir < 0)
		return err_sys(e, dir, "resctrl class '%s'", name);
	(void)snprintf(monitor, sizeof monitor, "mon_groups/%s", id);
	rc = enter(dir, "", name, pid, e);
	return rc == 0 && r->monitoring ? enter(dir, monitor, monitor, pid, e) : rc;
}

static int make_class(const char *root, const struct ct_rdt *r, const char *name, bool *made, struct err *e)
{
	AUTO_FD int top = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	AUTO_FD int dir = FD_NONE;
	AUTO(buf_done) struct buf text = {0};

	schemata_of(r, &text);
	if (text.failed)
		return err_oom(e);
	/* A class with a name and no schemata has been prepared by somebody: it has to be there. */
	if (!r->clos || !r->clos[0] || text.len > 0) {
		*made = mkdirat(top, name, 0755) == 0;
		if (!*made && errno != EEXIST)
			return err_sys(e, errno, "making resctrl class '%s'", name);
	}
	dir = open_class(root, name);
	if (dir < 0)
		return err_sys(e, dir, "resctrl class '%s'", name);
	return *made ? write_schemata(root, dir, name, &text, e) : compare(dir, name, &text, e);
}

static int make_monitor(const char *root, const char *name, const char *id, struct err *e)
{
	AUTO_FD int dir = open_class(root, name);
	char path[280];

	(void)snprintf(path, sizeof path, "mon_groups/%s", id);
	return dir < 0 || (mkdirat(dir, path, 0755) < 0 && errno != EEXIST)
		       ? err_sys(e, errno, "making monitoring group '%s' of resctrl class '%s'", id, name)
		       : 0;
}

static int remove_below(const char *root, const char *name)
{
	AUTO_FD int top = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);

	return top < 0 || (unlinkat(top, name, AT_REMOVEDIR) < 0 && errno != ENOENT) ? -errno : 0;
}

int cg_resctrl_make(const char *root, const struct ct_rdt *r, const char *id, pid_t pid, struct err *e)
{
	const char *name = class_of(r, id);
	bool made = false;
	int rc = make_class(root, r, name, &made, e);

	if (rc == 0 && r->monitoring)
		rc = make_monitor(root, name, id, e);
	if (rc == 0)
		rc = cg_resctrl_enter(root, r, id, pid, e);
	if (rc < 0 && made)
		(void)remove_below(root, name);
	else if (rc < 0 && r->monitoring)
		(void)!cg_resctrl_remove(root, r, id, &(struct err){0});
	return rc;
}

int cg_resctrl_update(const char *root, const struct ct_rdt *r, const char *id, const struct ct_rdt *change,
		      struct err *e)
{
	const char *name = class_of(r, id);
	AUTO_FD int dir = open_class(root, name);
	AUTO(buf_done) struct buf text = {0};

	schemata_of(change, &text);
	if (dir < 0)
		return err_sys(e, dir, "resctrl class '%s'", name);
	return text.failed ? err_oom(e) : write_schemata(root, dir, name, &text, e);
}

int cg_resctrl_remove(const char *root, const struct ct_rdt *r, const char *id, struct err *e)
{
	char name[600];
	int rc;

	if (!r->clos || !r->clos[0])
		(void)snprintf(name, sizeof name, "%.255s", id);
	else if (r->monitoring)
		(void)snprintf(name, sizeof name, "%.255s/mon_groups/%.255s", class_of(r, id), id);
	else
		return 0;
	rc = remove_below(root, name);
	return rc < 0 ? err_sys(e, rc, "removing resctrl group '%s'", name) : 0;
}
