/* A snapshot's manifest.json. Input: any bytes.
 *
 * Properties: what is accepted keeps the bounds of its struct, names files of the snapshot or absolute paths, and is
 * written to a text that is accepted as well and written to the same text again; what is refused has a message and a
 * place. */
#include "base/mem.h"
#include "snapshot/internal.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void check_files(const struct snap_file *f, size_t n, bool host)
{
	must(n <= SNAP_MAX_FILES);
	for (size_t i = 0; i < n; i++) {
		const char *name = f[i].name;

		must(strlen(f[i].sha256) == SNAP_ID_LEN && f[i].size <= INT64_MAX);
		if (host)
			must(name[0] == '/');
		else if (strcmp(name, "tmp.tree") != 0)
			must(str_starts(name, "img/") && name[4] && !strchr(name + 4, '/') &&
			     strcmp(name, "img/..") != 0);
		must(i == 0 || strcmp(f[i - 1].name, name) < 0);
	}
}

static void check(const struct snap_manifest *m)
{
	must(strlen(m->id) == SNAP_ID_LEN && strlen(m->taken.boot_id) == 36);
	must(m->function && m->target && m->engine && m->reason);
	for (int i = 0; i < SNAP_MAX_PIPES; i++)
		must(memchr(m->pipes[i], 0, sizeof m->pipes[i]) && str_starts(m->pipes[i], "pipe:["));
	must(m->n_parts <= SNAP_MAX_PARTS);
	for (size_t i = 0; i < m->n_parts; i++)
		must(m->parts[i].name && m->parts[i].value);
	must((m->features & ~7U) == 0);
	check_files(m->files, m->n_files, false);
	check_files(m->deps, m->n_deps, true);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO(buf_done) struct buf first = {0};
	AUTO(buf_done) struct buf second = {0};
	struct snap_manifest m, again;
	struct err e = {0};

	if (manifest_read("f", (const char *)data, size, &m, &e) < 0) {
		must((e.kind == ERR_SPEC || e.kind == ERR_LIMIT) && e.msg[0] && strncmp(e.where, "f", 1) == 0);
		return 0;
	}
	must(e.kind == ERR_NONE);
	check(&m);
	must(manifest_write(&m, &first, &e) == 0);
	must(manifest_read("f", first.data, first.len, &again, &e) == 0);
	must(manifest_write(&again, &second, &e) == 0);
	must(first.len == second.len && memcmp(first.data, second.data, first.len) == 0);
	snap_manifest_done(&m);
	snap_manifest_done(&again);
	return 0;
}
