/* What every restore needs beside its snapshot: what CRIU knows of this kernel, and the first word to a clone. */
#include "base/clock.h"
#include "base/fd.h"
#include "cell/publish.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/random.h>

enum { KDAT_MAX = 4096, KDAT_FILE = 128 };

/* ---- What workers and dumps find out ---- */

/* Another boot may be another kernel, another CRIU asks other questions. */
static int kdat_name(const struct cell_host *h, const char *what, char *name, size_t size)
{
	char boot[40];

	if (fd_read_file_at(AT_FDCWD, "/proc/sys/kernel/random/boot_id", boot, sizeof boot) < 0)
		return -errno;
	(void)snprintf(name, size, "%s-%s-%s.kdat", what, h->engine->version, boot);
	return 0;
}

bool kdat_read(const struct cell_host *h, const char *what, struct buf *kdat)
{
	char name[KDAT_FILE];
	AUTO_FD int dir = open(h->state_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	AUTO_FD int fd = FD_NONE;
	char *data;
	size_t len;

	if (kdat->len > 0 || kdat_name(h, what, name, sizeof name) < 0)
		return false;
	fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (!fd_valid(fd) || fd_read_all(fd, KDAT_MAX, &data, &len) < 0)
		return false;
	buf_add(kdat, data, len);
	free(data);
	return true;
}

static void keep_kdat(const struct cell_host *h, const char *what, const struct buf *kdat, bool *kept)
{
	char name[KDAT_FILE], aside[KDAT_FILE + 12];
	AUTO_FD int dir = open(h->state_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	AUTO_FD int fd = FD_NONE;

	if (*kept || kdat->len == 0 || kdat_name(h, what, name, sizeof name) < 0)
		return;
	*kept = true;
	(void)snprintf(aside, sizeof aside, "%s.%d", name, getpid());
	fd = openat(dir, aside, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (!fd_valid(fd))
		return;
	if (fd_write_all(fd, kdat->data, kdat->len) < 0 || renameat(dir, aside, dir, name) < 0)
		(void)unlinkat(dir, aside, 0);
}

void publish_use_engine(struct cell_host *h, const struct snap_engine *en)
{
	h->engine = en;
	h->kdat_kept |= kdat_read(h, "criu", &h->kdat);
}

void publish_keep_kdat(struct cell_host *h)
{
	keep_kdat(h, "criu", &h->kdat, &h->kdat_kept);
	keep_kdat(h, "criu-dump", &h->dump_kdat, &h->dump_kdat_kept);
}

/* ---- A clone's first word ---- */

int clone_tell(struct session *s, const struct snap *snap, struct err *e)
{
	const struct cell *c = s->cell;
	/* A snapshot is of this boot, whose clock nobody sets. */
	const uint64_t now = clock_ns(CLOCK_BOOTTIME);
	struct chan_restore r = {
		.generation = c->generation,
		.wall_ns = (int64_t)clock_wall_ns(),
		.elapsed_ns = now > snap->m.taken.boottime_ns ? (int64_t)(now - snap->m.taken.boottime_ns) : 0,
		.memory_mb = (uint32_t)(c->spec->memory_bytes >> 20),
		.flags = c->spec->keep_seeds ? CHAN_KEEP_SEEDS : 0,
	};
	/* Of the environment what belongs to a cell and not to the function. */
	static const char *const keys[] = {"AWS_LAMBDA_LOG_STREAM_NAME=", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE="};
	const char *env[ARRAY_LEN(keys) + 4];
	size_t n = 0;

	if (getrandom(r.random, sizeof r.random, 0) != (ssize_t)sizeof r.random)
		return err_sys(e, errno, "drawing a clone's random bytes");
	memcpy(r.clone_id, c->id, strlen(c->id));
	for (size_t i = 0; i < c->plan->n_env && n + 1 < ARRAY_LEN(env); i++) {
		bool tell = c->host->facts.code.runtime == SPEC_RUNTIME_CUSTOM && spec_is_credential(c->plan->envp[i]);

		for (size_t k = 0; k < ARRAY_LEN(keys); k++)
			tell |= str_starts(c->plan->envp[i], keys[k]);
		if (tell)
			env[n++] = c->plan->envp[i];
	}
	env[n] = NULL;
	return session_restore(s, &r, env, e);
}

int clone_introduce(struct cell *c, const struct snap *snap, struct err *e)
{
	struct session s;
	int r;

	session_init_restored(&s, c, &session_discard, FD_NONE, 0);
	r = clone_tell(&s, snap, e);
	if (r == 0 && session_sends(&s)) /* a pipe of one page would do */
		r = err_set(e, ERR_SYSTEM, EAGAIN, "the channel of a new cell takes no word");
	session_done(&s);
	return r;
}
