#include "cli/names.h"

#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"

#include <fcntl.h>

enum {
	NAMES_MAX_BYTES = 16 << 20,
	FIELDS = 4
}; /* both files have name, password and number first; the fourth is the group */

/* (uid_t)-1 means "nobody in particular" to the kernel: credentials(7), setresuid(2). */
static const uint64_t max_id = UINT32_MAX - 1;

/* The first fields of a line, each ended by a 0 byte; false when it has fewer. */
static bool split(char *line, char **fields)
{
	for (size_t i = 0; i < FIELDS; i++) {
		char *colon = strchr(line, ':');

		fields[i] = line;
		if (!colon)
			return i == FIELDS - 1; /* group(5)'s last may be empty */
		*colon = '\0';
		line = colon + 1;
	}
	return true;
}

/* Finds the line whose first field is @name, or whose third is that number. 1 when there is one. */
static int find(const char *file, const char *name, uint64_t *ret_id, uint64_t *ret_group, struct err *e)
{
	AUTO_FD int fd = open(file, O_RDONLY | O_CLOEXEC);
	AUTO_FREE char *text = NULL;
	uint64_t wanted = 0;
	const bool by_number = parse_u64(name, 0, max_id, &wanted);
	size_t len;
	int r;

	if (!fd_valid(fd))
		return err_sys(e, errno, "'%s'", file);
	r = fd_read_all(fd, NAMES_MAX_BYTES, &text, &len);
	if (r < 0)
		return err_sys(e, r, "reading '%s'", file);
	for (char *line = text, *next; line < text + len; line = next) {
		char *nl = strchr(line, '\n'), *fields[FIELDS];
		uint64_t id;

		next = nl ? nl + 1 : text + len;
		if (nl)
			*nl = '\0';
		if (!split(line, fields) || !parse_u64(fields[2], 0, max_id, &id))
			continue;
		if (by_number ? id != wanted : strcmp(fields[0], name) != 0)
			continue;
		*ret_id = id;
		return parse_u64(fields[3], 0, max_id, ret_group) ? 1 : 2;
	}
	*ret_id = wanted;
	return by_number ? 2 : 0;
}

static int no_such(const char *what, const char *file, const char *name, struct err *e)
{
	return err_set(e, ERR_NOT_FOUND, ENOENT, "there is no %s '%s' in %s", what, name, file);
}

int names_user(const char *file, const char *name, uid_t *ret_uid, gid_t *ret_gid, struct err *e)
{
	uint64_t uid = 0, gid = 0;
	int r = find(file, name, &uid, &gid, e);

	if (r <= 0)
		return r < 0 ? r : no_such("user", file, name, e);
	*ret_uid = (uid_t)uid;
	*ret_gid = r == 1 ? (gid_t)gid : (gid_t)-1;
	return 0;
}

int names_group(const char *file, const char *name, gid_t *ret_gid, struct err *e)
{
	uint64_t gid = 0, none;
	int r = find(file, name, &gid, &none, e);

	if (r <= 0)
		return r < 0 ? r : no_such("group", file, name, e);
	*ret_gid = (gid_t)gid;
	return 0;
}
