#include "tools/regions.h"

#include "base/fd.h"
#include "base/mem.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

enum { FILE_MAX = 4 << 20 };

static const char *program;

/* What follows "PROGRAM: @what " in the line, without what closes the comment; NULL when the line has no such mark. */
static char *mark(char *line, const char *what)
{
	const size_t name = strlen(program), n = strlen(what);
	char *p = strstr(line, program), *end;

	if (!p || strncmp(p + name, ": ", 2) != 0 || strncmp(p + name + 2, what, n) != 0)
		return NULL;
	p += name + 2 + n;
	p += *p == ' ';
	end = strstr(p, " -->");
	if (end)
		*end = '\0';
	return p;
}

/* The file with fresh regions. False, with a message, when its marks are wrong. */
static bool rewrite(const char *file, const char *text, regions_generate *generate, struct buf *to)
{
	bool inside = false, any = false;

	for (const char *line = text, *next; *line; line = next) {
		const char *nl = strchr(line, '\n');
		char copy[256];
		char *kind;

		next = nl ? nl + 1 : line + strlen(line);
		(void)snprintf(copy, sizeof copy, "%.*s", (int)(nl ? nl - line : next - line), line);
		if (inside && mark(copy, "end"))
			inside = false;
		if (inside)
			continue;
		buf_add(to, line, (size_t)(next - line));
		kind = mark(copy, "begin");
		if (kind && !generate(to, kind)) {
			(void)fprintf(stderr, "%s: %s: there is no '%s'\n", program, file, kind);
			return false;
		}
		inside = kind != NULL;
		any |= inside;
	}
	if (inside || !any)
		(void)fprintf(stderr, "%s: %s: %s\n", program, file, any ? "a region has no end" : "no region");
	return any && !inside && !to->failed;
}

/* 0 when it is as it should be now, 1 when it was behind (@check) or something failed. */
static int update(const char *file, bool check, regions_generate *generate)
{
	AUTO_FD int fd = open(file, O_RDONLY | O_CLOEXEC);
	AUTO_FREE char *text = NULL;
	AUTO(buf_done) struct buf b = {0};
	size_t len = 0;

	if (fd < 0 || fd_read_all(fd, FILE_MAX, &text, &len) < 0) {
		perror(file);
		return 1;
	}
	if (!rewrite(file, text, generate, &b))
		return 1;
	if (b.len == len && memcmp(b.data, text, len) == 0)
		return 0;
	if (check) {
		(void)fprintf(stderr, "%s: behind the tables in the sources; run: make docs\n", file);
		return 1;
	}
	fd_closep(&fd);
	fd = open(file, O_WRONLY | O_TRUNC | O_CLOEXEC);
	if (fd < 0 || fd_write_all(fd, b.data, b.len) < 0) {
		perror(file);
		return 1;
	}
	(void)printf("%s: wrote %s\n", program, file);
	return 0;
}

int regions_main(const char *name, int argc, char **argv, regions_generate *generate)
{
	const bool check = argc > 1 && strcmp(argv[1], "--check") == 0;
	int status = 0;

	program = name;
	if (argc <= 1 + check) {
		(void)fprintf(stderr, "usage: %s [--check] FILE...\n", program);
		return 2;
	}
	for (int i = 1 + check; i < argc; i++)
		status |= update(argv[i], check, generate);
	return status;
}
