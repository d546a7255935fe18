#include "tests/lib/snapshots.h"

#include "base/fd.h"
#include "base/mem.h"
#include "base/removal.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>

static void must(bool ok, const char *what)
{
	if (!ok) {
		perror(what);
		abort();
	}
}

const char *shots_memory(void)
{
	return access("/dev/shm", W_OK | X_OK) == 0 ? "/dev/shm" : "/tmp";
}

void shots_write(const struct shots *s, const char *name, const char *text)
{
	AUTO_FD int dir = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO_FD int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	must(fd >= 0 && fd_write_all(fd, text, strlen(text)) == 0, name);
}

void shots_setup(struct shots *s, const char *where)
{
	struct err e = {0};

	*s = (struct shots){.kernel = "6.1"};
	(void)snprintf(s->dir, sizeof s->dir, "%s/fsbox-store-XXXXXX", where);
	must(mkdtemp(s->dir) != NULL, s->dir);
	(void)snprintf(s->store, sizeof s->store, "%s/state/store", s->dir);
	(void)snprintf(s->code, sizeof s->code, "%s/handler.so", s->dir);
	(void)snprintf(s->layer, sizeof s->layer, "%s/layer", s->dir);
	(void)snprintf(s->lib, sizeof s->lib, "%s/libdep.so", s->dir);
	must(mkdir(s->layer, 0755) == 0, s->layer);
	shots_write(s, "handler.so", "code 1");
	shots_write(s, "layer/data", "data 1");
	shots_write(s, "libdep.so", "library 1");
	if (snap_store_open(s->store, true, &s->st, &e) < 0) {
		(void)fprintf(stderr, "%s\n", e.msg);
		abort();
	}
}

void shots_teardown(struct shots *s)
{
	AUTO_FD int fd = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	snap_store_close(&s->st);
	must(fd >= 0 && tree_empty(fd) == 0 && rmdir(s->dir) == 0, s->dir);
}

void shots_key(const struct shots *s, struct snap_key *ret)
{
	const struct snap_part parts[] = {
		{"code", SNAP_FILE, s->code, 0, FD_NONE},
		{"layer 1", SNAP_TREE, s->layer, 0, FD_NONE},
		{"kernel", SNAP_TEXT, s->kernel, strlen(s->kernel), FD_NONE},
	};
	struct err e = {0};

	*ret = (struct snap_key){.target = s->code, .function = "handler"};
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		must(snap_key_add(ret, &parts[i], &e) == 0, e.msg);
}

static int write_image(int dir, const char *name, const char *data, size_t len)
{
	AUTO_FD int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	return fd < 0 ? -errno : fd_write_all(fd, data, len);
}

static int fill(const struct shots *s, size_t bytes, struct snap_draft *d, struct err *e)
{
	struct snap_manifest *m = &d->m;
	AUTO_FREE char *pages = malloc(bytes + 1);

	must(pages != NULL, "malloc");
	for (size_t i = 0; i < bytes; i++)
		pages[i] = (char)(i * 31 + i / 4096);
	int r = write_image(d->images, "inventory.img", "inventory", 9);

	if (r == 0)
		r = write_image(d->images, "core-1.img", "core", 4);
	if (r == 0)
		r = write_image(d->images, "pages-1.img", pages, bytes);
	if (r < 0)
		return err_sys(e, r, "writing to '%s'", d->images_path);
	m->function = "handler";
	m->target = arena_strdup(&m->arena, s->code);
	m->engine = "criu 4.2";
	for (int i = 0; i < SNAP_MAX_PIPES; i++)
		(void)snprintf(m->pipes[i], sizeof m->pipes[i], "pipe:[%d]", 100 + i);
	m->memory_bytes = 128 << 20;
	m->page_bytes = bytes;
	m->init_ns = 300;
	m->max_pid = 3;
	m->deps = arena_alloc(&m->arena, sizeof *m->deps);
	must(m->target && m->deps, "arena");
	m->deps[0].name = arena_strdup(&m->arena, s->lib);
	m->n_deps = 1;
	return snap_clock_now(&m->taken, e);
}

int shots_draft(const struct shots *s, size_t bytes, struct snap_draft *ret, struct err *e)
{
	struct snap_draft d;
	int r = snap_draft_begin(&s->st, &d, e);

	if (r < 0)
		return r;
	r = fill(s, bytes, &d, e);
	if (r < 0)
		snap_draft_abort(&d);
	else
		*ret = d;
	return r;
}

int shots_make(const struct shots *s, char ret_id[SNAP_ID_LEN + 1], struct err *e)
{
	struct snap_draft d;
	struct snap_key k;
	struct snap made;
	int r = shots_draft(s, 10000, &d, e);

	if (r < 0)
		return r;
	shots_key(s, &k);
	r = snap_draft_commit(&d, &k, &made, e);
	if (r == 0 && ret_id)
		memcpy(ret_id, made.m.id, SNAP_ID_LEN + 1);
	if (r == 0)
		snap_close(&made);
	snap_draft_abort(&d);
	snap_key_done(&k);
	return r;
}

int shots_find(const struct shots *s, char reason[256], struct err *e)
{
	struct snap_key k;
	struct snap found;
	int r;

	shots_key(s, &k);
	r = snap_find(&s->st, &k, &found, reason, 256, e);
	if (r == 1)
		snap_close(&found);
	snap_key_done(&k);
	return r;
}

int shots_count(const struct shots *s, const char *below, const char *prefix)
{
	char path[160];
	DIR *d;
	int n = 0;

	(void)snprintf(path, sizeof path, "%s/%s", s->store, below);
	d = opendir(path);
	for (const struct dirent *ent; d && (ent = readdir(d));)
		n += str_starts(ent->d_name, prefix) && strcmp(ent->d_name, ".") != 0 && strcmp(ent->d_name, "..") != 0;
	if (d)
		(void)closedir(d);
	return n;
}

void shots_tick(void)
{
	(void)poll(NULL, 0, 20);
}

void shots_tamper(const char *path)
{
	struct stat st;
	char byte = 0;

	must(stat(path, &st) == 0 && chmod(path, 0600) == 0, path);
	AUTO_FD int fd = open(path, O_RDWR | O_CLOEXEC);
	must(pread(fd, &byte, 1, 2) == 1, path);
	byte ^= 1;
	must(pwrite(fd, &byte, 1, 2) == 1 && fchmod(fd, st.st_mode) == 0, path);
	must(futimens(fd, (struct timespec[]){st.st_atim, st.st_mtim}) == 0, path);
}
