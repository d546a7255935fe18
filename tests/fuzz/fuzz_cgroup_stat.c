/* The kernel's texts that cgroup/ reads. The first byte chooses the parser; the rest is its text (two texts, for the host,
 * are parted by a 0 byte). Properties: outputs are terminated, paths are absolute, numbers that are accepted read the same
 * when written again, an escaped text comes back, and what is refused stays untouched. */
#include "cgroup/internal.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void check_path(const char *path, size_t size)
{
	must(memchr(path, '\0', size) != NULL);
	must(path[0] == '\0' || path[0] == '/');
}

static void fuzz_host(const char *text, size_t len)
{
	const char *self = text + strlen(text);
	struct cg_host a, b;

	if (self < text + len)
		self++; /* the second text; terminated by the caller */
	cg_host_parse(text, self, &a);
	cg_host_parse(text, self, &b);
	check_path(a.v2_root, sizeof a.v2_root);
	check_path(a.v2_self, sizeof a.v2_self);
	must(strcmp(a.v2_root, b.v2_root) == 0 && strcmp(a.v2_self, b.v2_self) == 0);
	must(a.v2_root[0] != '\0' || a.v2_self[0] == '\0');
	for (unsigned h = 0; h < CG_V1_COUNT; h++) {
		check_path(a.v1_root[h], sizeof a.v1_root[h]);
		check_path(a.v1_self[h], sizeof a.v1_self[h]);
		must(a.v1_root[h][0] != '\0' || a.v1_self[h][0] == '\0');
	}
	must(a.mode == CG_NONE); /* parsing alone decides nothing */
}

/* As the kernel's mangle(): blank, tab, line feed, backslash and '#' in octal. */
static void fuzz_escape(const char *text, size_t len)
{
	char coded[4 * 64 + 1], back[65], raw[64];
	size_t n = 0;

	(void)cg_unescape(text, len, raw, sizeof raw);
	if (len > 64 || memchr(text, '\0', len))
		return;
	for (size_t i = 0; i < len; i++) {
		unsigned c = (unsigned char)text[i];

		if (!strchr(" \t\n\\#", text[i])) {
			coded[n++] = text[i];
			continue;
		}
		coded[n++] = '\\';
		coded[n++] = (char)('0' + (c >> 6));
		coded[n++] = (char)('0' + (c >> 3 & 7));
		coded[n++] = (char)('0' + (c & 7));
	}
	must(cg_unescape(coded, n, back, sizeof back));
	must(strlen(back) == len && memcmp(back, text, len) == 0);
}

static void fuzz_number(const char *text, const char *key)
{
	const uint64_t before = 0x5a5a5a5a5a5a5a5a;
	uint64_t v = before;
	char again[24], line[64];
	bool ok = key ? cg_parse_flat(text, key, &v) : cg_parse_value(text, &v);

	must(ok || v == before);
	if (!ok || (!key && strncmp(text, "max", 3) == 0))
		return;
	(void)cg_format_u64(again, v);
	const char *const parts[] = {key ? key : "", key ? " " : "", again};
	must(cg_concat(line, sizeof line, parts, 3));
	v = before;
	must(key ? cg_parse_flat(line, key, &v) : cg_parse_value(line, &v));
	must(v != before || strcmp(again, "6510615555426900570") == 0);
}

static void fuzz_wanted(const char *text)
{
	struct cg_host host = {.v2_root = "/sys/fs/cgroup/unified", .v1_root = {"/sys/fs/cgroup/memory", "/c", "/p"}};
	struct err e = {0};
	char path[256];

	if (cg_check_path(&host, text, path, sizeof path, &e) < 0) {
		must(e.kind == ERR_SPEC && e.msg[0] != '\0' && e.hint[0] != '\0');
	} else {
		check_path(path, sizeof path);
		must(path[0] == '/' && !strstr(path, "/../") && !strstr(path, "//") && !strchr(path, '\n'));
	}
	e = (struct err){0};
	if (cg_check_name(text, &e) == 0)
		must(!strchr(text, '/') && strcmp(text, "..") != 0 && strcmp(text, ".") != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0 || size > 65536)
		return 0;

	char *text = malloc(size + 1); /* two 0 bytes end it: one is the first byte's place */
	if (!text)
		abort();
	memcpy(text, data + 1, size - 1);
	text[size - 1] = text[size] = '\0';
	switch (data[0] % 6) {
	case 0:
		fuzz_host(text, size - 1);
		break;
	case 1:
		fuzz_escape(text, size - 1);
		break;
	case 2:
		fuzz_number(text, "oom_kill");
		break;
	case 3:
		fuzz_number(text, NULL);
		break;
	case 4:
		fuzz_wanted(text);
		break;
	case 5:
		fuzz_number(text, "usage_usec");
		break;
	}
	free(text);
	return 0;
}
