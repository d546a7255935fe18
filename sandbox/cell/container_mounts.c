#include "cell/container_mounts.h"

#include "base/fd.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/sysmacros.h>

enum { TABLE_MAX = 64 << 20 };

/* Blank, tab, newline and backslash are "\ooo" there. */
static void unescape(char *s)
{
	char *to = s;

	for (; *s; s++) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' && s[3] >= '0' &&
		    s[3] <= '7') {
			*to++ = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
			s += 3;
		} else {
			*to++ = *s;
		}
	}
	*to = '\0';
}

/* "ID PARENT MAJOR:MINOR ROOT POINT OPTIONS FIELDS… - TYPE …" */
static bool read_line(char *line, struct mounted *ret)
{
	char *save = NULL, *word = strtok_r(line, " ", &save), *point = NULL;
	unsigned major = 0, minor = 0;

	if (!word || sscanf(word, "%u", &ret->id) != 1)
		return false;
	for (int field = 1; field < 5 && word; field++) {
		word = strtok_r(NULL, " ", &save);
		if (field == 2 && word && sscanf(word, "%u:%u", &major, &minor) != 2)
			return false;
		point = word;
	}
	while (word && strcmp(word, "-") != 0) {
		ret->peers |= strncmp(word, "master:", 7) == 0 || strncmp(word, "shared:", 7) == 0;
		word = strtok_r(NULL, " ", &save);
	}
	ret->type = word ? strtok_r(NULL, " ", &save) : NULL;
	if (!point || !ret->type)
		return false;
	unescape(point);
	ret->point = point;
	ret->dev = makedev(major, minor);
	return true;
}

int mounts_of(pid_t pid, struct arena *a, struct mounted_table *ret, struct err *e)
{
	AUTO_FREE char *data = NULL;
	AUTO_FD int fd = FD_NONE;
	char name[40], *text, *save = NULL;
	size_t len, lines = 0;
	int r;

	(void)snprintf(name, sizeof name, pid > 0 ? "/proc/%d/mountinfo" : "/proc/self/mountinfo", pid);
	fd = open(name, O_RDONLY | O_CLOEXEC);
	r = fd < 0 ? -errno : fd_read_all(fd, TABLE_MAX, &data, &len);
	if (r < 0)
		return err_sys(e, r, "reading %s", name);
	for (size_t i = 0; i < len; i++)
		lines += data[i] == '\n';
	text = arena_strdup(a, data);
	ret->n = 0;
	ret->at = arena_alloc(a, (lines + 1) * sizeof *ret->at);
	if (!text || !ret->at)
		return err_oom(e);
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (!read_line(line, &ret->at[ret->n]))
			return err_set(e, ERR_SYSTEM, EBADMSG, "%s is not as proc(5) says", name);
		ret->n++;
	}
	return 0;
}
