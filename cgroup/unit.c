/* Names and places of scopes. */
#include "cgroup/internal.h"

#include <stdio.h>
#include <string.h>

/* systemd.unit(5), without '@', which makes templates, and '\', which escapes. */
static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-_.";

static int bad(const char *what, const char *text, struct err *e)
{
	int r = err_set(e, ERR_SPEC, EINVAL, "'%.200s' is no %s", text, what);

	return err_where(e, r, "$.linux.cgroupsPath");
}

/* "a-b.slice" is below "a.slice", so no part between dashes may be empty; the root is "-.slice" (systemd.slice(5)). */
static bool is_slice(const char *s)
{
	const size_t n = strlen(s), tail = strlen(".slice");

	if (strcmp(s, "-.slice") == 0)
		return true;
	if (n <= tail || n >= CG_UNIT_ROOM || !str_ends(s, ".slice") || strspn(s, letters) != n)
		return false;
	return s[0] != '-' && s[n - tail - 1] != '-' && !strstr(s, "--");
}

static int default_name(const char *id, bool user, struct cg_unit *ret, struct err *e)
{
	char whole[CG_UNIT_ROOM + 32];

	(void)snprintf(whole, sizeof whole, ":fsbox-oci:%.*s", CG_UNIT_ROOM - 1, id);
	return cg_unit_name(whole, id, user, ret, e);
}

int cg_unit_name(const char *path, const char *id, bool user, struct cg_unit *ret, struct err *e)
{
	struct cg_unit u = {.slice = ""};
	const char *first, *second;
	int n;

	if (!path || !path[0])
		return default_name(id, user, ret, e);
	first = strchr(path, ':');
	second = first ? strchr(first + 1, ':') : NULL;
	if (!second || strchr(second + 1, ':'))
		return err_where(e,
				 err_set(e, ERR_SPEC, EINVAL,
					 "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd "
					 "cgroups, got '%.200s' instead",
					 path),
				 "$.linux.cgroupsPath");
	if (str_ends(second + 1, ".slice"))
		return bad("name of a scope: processes do not live in slices", second + 1, e);
	n = snprintf(u.name, sizeof u.name, "%.*s-%s.scope", (int)(second - first - 1), first + 1, second + 1);
	if (n < 0 || (size_t)n >= sizeof u.name || second[1] == '\0' || strspn(u.name, letters) != (size_t)n)
		return bad("name of a unit", path, e);
	n = snprintf(u.slice, sizeof u.slice, "%.*s", (int)(first - path), path);
	if (n < 0 || (size_t)n >= sizeof u.slice)
		return bad("slice", path, e);
	if (n == 0)
		str_copy(u.slice, sizeof u.slice, user ? "user.slice" : "system.slice");
	else if (strcmp(u.slice, "-") == 0)
		str_copy(u.slice, sizeof u.slice, "-.slice");
	if (!is_slice(u.slice))
		return bad("slice", u.slice, e);
	*ret = u;
	return 0;
}

int cg_unit_path(const struct cg_unit *u, char *ret, size_t size, struct err *e)
{
	const size_t stem = strlen(u->slice) - strlen(".slice");
	AUTO(buf_done) struct buf b = {0};

	for (size_t i = 1; strcmp(u->slice, "-.slice") != 0 && i <= stem; i++)
		if (i == stem || u->slice[i] == '-')
			buf_printf(&b, "/%.*s.slice", (int)i, u->slice);
	buf_printf(&b, "/%s", u->name);
	if (b.failed)
		return err_oom(e);
	if (b.len >= size)
		return err_where(e,
				 err_set(e, ERR_LIMIT, ENAMETOOLONG, "the group of slice '%.200s' is too deep",
					 u->slice),
				 "$.linux.cgroupsPath");
	memcpy(ret, b.data, b.len + 1);
	return 0;
}

void cg_unit_word(struct buf *words, const char *word)
{
	buf_add(words, word, strlen(word) + 1);
}

void cg_unit_property(struct buf *words, const char *name, const char *signature, const char *value)
{
	cg_unit_word(words, name);
	cg_unit_word(words, signature);
	cg_unit_word(words, value);
}

void cg_unit_basics(const struct cg_unit *u, const char *description, pid_t pid, const struct cg_group *host,
		    struct buf *words)
{
	const struct cg_tree *io = cg_group_tree(host, "io");
	char number[24];

	(void)cg_format_u64(number, (uint64_t)pid);
	cg_unit_property(words, "Description", "s", description);
	cg_unit_property(words, "Slice", "s", u->slice);
	cg_unit_property(words, "PIDs", "au", "1");
	cg_unit_word(words, number);
	cg_unit_property(words, "Delegate", "b", "true"); /* what is below is the container's */
	cg_unit_property(words, "DefaultDependencies", "b", "false");
	cg_unit_property(words, "MemoryAccounting", "b", "true");
	cg_unit_property(words, "CPUAccounting", "b", "true");
	cg_unit_property(words, io && io->v2 ? "IOAccounting" : "BlockIOAccounting", "b", "true");
	cg_unit_property(words, "TasksAccounting", "b", "true");
}
