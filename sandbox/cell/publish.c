#include "cell/publish.h"

#include "base/clock.h"
#include "base/fd.h"
#include "cell/outcome.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>

enum { FREEZE_MS = 10000 };

/* ---- Publishing ---- */

static int failed(struct publisher *p, const struct outcome *o, const char *doing, struct err *e)
{
	(void)snprintf(p->error_type, sizeof p->error_type, "%s", o->type);
	return err_set(e, ERR_FUNCTION, 0, "%s: %s: %.*s", doing, o->type,
		       (int)(o->message.len < 250 ? o->message.len : 250), o->message.data ? o->message.data : "");
}

static int cancelled(struct err *e)
{
	return err_set(e, ERR_CANCELLED, ECANCELED, "interrupted while a snapshot was made");
}

static int wait_parked(struct publisher *p, struct session *s, struct err *e)
{
	AUTO(outcome_done) struct outcome o = {0};
	const uint64_t init_ms = p->spec->timeout_ns / NS_PER_MS > PUBLISH_INIT_MS ? p->spec->timeout_ns / NS_PER_MS
										   : PUBLISH_INIT_MS;
	const uint64_t begin = s->cell->exec_ns;
	enum session_event ev = session_wait(s, begin + init_ms * NS_PER_MS);
	int r;

	p->init_ns = clock_mono_ns() - begin;
	if (ev == SESSION_SIGNAL)
		return cancelled(e);
	outcome_of_init(&o, ev, s, p->policy);
	if (o.status != CALL_SUCCESS)
		return failed(p, &o, "init", e);
	r = session_snapshot(s, e);
	if (r < 0)
		return r;
	ev = session_wait(s, clock_mono_ns() + PUBLISH_HOOKS_MS * NS_PER_MS);
	if (ev == SESSION_PARKED)
		return 0;
	if (ev == SESSION_SIGNAL)
		return cancelled(e);
	outcome_done(&o);
	outcome_of_init(&o, ev, s, p->policy);
	if (ev == SESSION_DEADLINE) {
		(void)snprintf(o.type, sizeof o.type, "Runtime.BeforeSnapshotError");
		o.message.len = 0;
		buf_printf(&o.message, "the hooks took longer than their %d seconds", PUBLISH_HOOKS_MS / 1000);
	}
	return failed(p, &o, "before the snapshot", e);
}

/* Its runtime is the child of PID 1 that PID 1 made first. */
static int find_runtime(pid_t init, pid_t *ret, struct err *e)
{
	char path[64], list[4096], *save = NULL;

	(void)snprintf(path, sizeof path, "/proc/%d/task/%d/children", init, init);
	if (fd_read_file_at(AT_FDCWD, path, list, sizeof list) < 0)
		return err_sys(e, errno, "reading %s", path);
	for (char *word = strtok_r(list, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		char status[4096];
		const char *ns;
		uint64_t pid;

		(void)snprintf(path, sizeof path, "/proc/%s/status", word);
		if (fd_read_file_at(AT_FDCWD, path, status, sizeof status) < 0)
			continue;
		ns = strstr(status, "\nNSpid:");
		if (ns && strncmp(ns + strcspn(ns + 1, "\n") - 1, "\t2", 2) == 0 &&
		    parse_u64(word, 1, INT32_MAX, &pid)) {
			*ret = (pid_t)pid;
			return 0;
		}
	}
	return err_set(e, ERR_SYSTEM, ESRCH, "the cell's runtime is gone");
}

/* Held from before the dump, which ends the processes and with them the mounts. */
static int hold_tmp(const struct cell *c, struct err *e)
{
	char path[40];
	int fd;

	(void)snprintf(path, sizeof path, "/proc/%d/root/tmp", c->pid);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? err_sys(e, errno, "opening the cell's /tmp") : fd;
}

static int is_empty(int dir, bool *ret, struct err *e)
{
	AUTO_FD int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd_valid(fd) ? fdopendir(fd) : NULL;
	const struct dirent *de;

	if (!d)
		return err_sys(e, errno, "reading the cell's /tmp");
	(void)take_fd(&fd);
	*ret = true;
	while ((de = readdir(d)))
		*ret &= strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0;
	(void)closedir(d);
	return 0;
}

static int keep_tmp(const struct cell *c, int tmp, struct snap_draft *d, struct err *e)
{
	AUTO_FD int out = FD_NONE;
	uint64_t entries;
	bool empty;
	int r = is_empty(tmp, &empty, e);

	if (r < 0 || empty)
		return r;
	out = openat(d->dir, "tmp.tree", O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (!fd_valid(out))
		return err_sys(e, errno, "making the archive of /tmp");
	r = snap_tree_pack(tmp, out, c->plan->uid_outside, &entries, e);
	if (r == 0)
		d->m.features |= SNAP_HAS_TMP;
	return r;
}

static int describe(const struct publisher *p, const struct cell *c, const struct session *s, struct snap_draft *d,
		    struct err *e)
{
	struct snap_manifest *m = &d->m;

	m->function = arena_strdup(&m->arena, c->plan->function_name);
	m->target = arena_strdup(&m->arena, p->spec->target ? p->spec->target : p->spec->rootfs);
	m->engine = arena_printf(&m->arena, "criu %s", p->host->engine->version);
	m->memory_bytes = p->spec->memory_bytes;
	m->init_ns = p->init_ns;
	m->features |= s->has_shutdown ? SNAP_HAS_SHUTDOWN : 0;
	m->features |= s->not_reseeded ? SNAP_NOT_RESEEDED : 0;
	m->features |= s->wants_reports ? SNAP_WANTS_REPORTS : 0;
	return m->function && m->target && m->engine ? 0 : err_oom(e);
}

/* From here on nothing in the cell runs, so what the look finds is what CRIU will find; CRIU holds every task before it
 * thaws the group. A process that ran on could stay out of the image, take a hold of what CRIU injects into the others,
 * and forge what is read from there. */
static int stand_still(struct cell *c, char *group, size_t size, struct err *e)
{
	int r;

	if (!c->has_cg || !fd_valid(c->cg.v2) || !c->host->cg.v2_freeze)
		return err_hint(e,
				err_set(e, ERR_UNSUPPORTED, 0,
					"a snapshot needs the cell to be frozen, and it has no group on cgroup2"),
				"mount cgroup2 (fsbox check), and leave out --no-limits");
	r = cg_freeze(&c->cg, true, FREEZE_MS, e);
	(void)snprintf(group, size, "%s%s/%s", c->host->cg.v2_root, c->cg.parent, c->cg.name);
	return r < 0 ? err_ctx(e, r, "stopping the cell for its snapshot") : 0;
}

/* From a parked cell to a draft with its images. The cell's runtime is dead then. */
static int dump(struct publisher *p, struct cell *c, struct session *s, struct snap_draft *d, struct err *e)
{
	struct snap_victim v = {
		.init_pid = c->pid,
		.owner = c->plan->uid_outside + CELL_UID + 1,
		.memory_bytes = p->spec->memory_bytes,
		.host_net = p->spec->net == SPEC_NET_HOST,
		.host_userland = !p->spec->rootfs,
		.signal_fd = p->signal_fd,
	};
	AUTO_FD int tmp = FD_NONE;
	int r = stand_still(c, v.group, sizeof v.group, e);

	if (r == 0)
		r = find_runtime(c->pid, &v.pid, e);
	if (r == 0)
		r = tmp = hold_tmp(c, e);
	if (r >= 0)
		r = describe(p, c, s, d, e);
	if (r == 0)
		r = snap_look(&v, e);
	if (r < 0)
		return r;

	int mark = trace_begin(p->host->trace, "dump", false);
	p->host->dump_kdat_kept |= kdat_read(p->host, "criu-dump", &p->host->dump_kdat);
	r = snap_dump(p->host->engine, &v, &p->host->dump_kdat, d, e);
	trace_end(p->host->trace, mark);
	return r == 0 ? keep_tmp(c, tmp, d, e) : r;
}

/* Ends the cell, whatever state it is in; a failure to remove something counts only when nothing else failed. */
static int end_cell(struct cell *c, struct session *s, int r, struct err *e)
{
	struct err cleanup = {0};
	int released;

	cell_kill(c);
	(void)cell_has_exited(c, true);
	session_drain_rest(s);
	session_done(s);
	released = cell_release(c, &cleanup);
	return r < 0 ? r : released < 0 ? err_adopt(e, &cleanup) : r;
}

static int make_draft(struct publisher *p, struct snap_draft *d, struct err *e)
{
	struct cell c;
	struct session s;
	int r;

	cell_init(&c, p->host, p->spec, p->base);
	cell_publish(&c);
	r = cell_build(&c, e);
	if (r < 0)
		return r;
	session_init(&s, &c, p->sink, p->signal_fd);
	r = wait_parked(p, &s, e);
	session_drain_output(&s);
	if (r == 0)
		r = dump(p, &c, &s, d, e);
	return end_cell(&c, &s, r, e);
}

/* ---- The test that clones differ ---- */

static int draw_from_clone(struct publisher *p, const struct snap *snap, struct buf *ret, struct err *e)
{
	AUTO(outcome_done) struct outcome o = {0};
	struct cell c;
	struct session s;
	enum session_event ev;
	int r;

	cell_init(&c, p->host, p->spec, p->base);
	cell_restore_from(&c, snap, p->signal_fd);
	r = cell_build(&c, e);
	if (r < 0)
		return r;
	session_init_restored(&s, &c, p->sink, p->signal_fd, 0);
	r = clone_tell(&s, snap, e);
	if (r == 0) {
		ev = session_wait(&s, clock_mono_ns() + INVOKE_HOOKS_MS * NS_PER_MS);
		outcome_of_restore(&o, ev, &s, p->policy);
		r = ev == SESSION_SIGNAL       ? cancelled(e)
		    : o.status != CALL_SUCCESS ? failed(p, &o, "trial restore", e)
					       : session_draw(&s, e);
	}
	if (r == 0) {
		ev = session_wait(&s, clock_mono_ns() + INVOKE_HOOKS_MS * NS_PER_MS);
		if (ev == SESSION_SIGNAL)
			r = cancelled(e);
		else if (ev != SESSION_DRAWN)
			r = err_set(e, ERR_FUNCTION, 0, "trial restore: the clone did not draw its random values");
		else
			buf_add(ret, s.drawn.data, s.drawn.len);
	}
	session_drain_output(&s);
	return end_cell(&c, &s, r, e);
}

static int compare(const struct buf *a, const struct buf *b, struct err *e)
{
	struct chan_drawn_view x, y;

	for (size_t i = 0; chan_drawn_next(a->data, a->len, &i, &x) == 1;)
		for (size_t k = 0; chan_drawn_next(b->data, b->len, &k, &y) == 1;)
			if (x.name_len == y.name_len && memcmp(x.name, y.name, x.name_len) == 0 &&
			    x.value_len == y.value_len && memcmp(x.value, y.value, x.value_len) == 0)
				return err_hint(e,
						err_set(e, ERR_UNSUPPORTED, 0,
							"two clones of the snapshot drew the same value from '%.*s'",
							(int)x.name_len, x.name),
						"reseed it in fsbox_after_restore(), or run without --snapshot");
	return 0;
}

static int try_clones(struct publisher *p, struct snap_draft *d, struct err *e)
{
	struct buf drawn[2] = {0};
	struct snap trial;
	int r;

	snap_init(&trial);
	r = snap_draft_peek(d, &trial, e);
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(drawn); i++) {
		int mark = trace_begin(p->host->trace, "trial", false);

		r = draw_from_clone(p, &trial, &drawn[i], e);
		trace_end(p->host->trace, mark);
		if (r == 0 && drawn[i].failed)
			r = err_oom(e);
	}
	if (r == 0)
		r = compare(&drawn[0], &drawn[1], e);
	snap_close(&trial);
	buf_done(&drawn[0]);
	buf_done(&drawn[1]);
	return r;
}

static int draft(struct publisher *p, struct snap_draft *d, struct err *e)
{
	int r = make_draft(p, d, e);

	if (r == 0)
		r = try_clones(p, d, e);
	publish_keep_kdat(p->host);
	return r;
}

int publish_try(struct publisher *p, struct err *e)
{
	struct snap_draft d;
	int r = snap_draft_begin(p->store, &d, e);

	if (r < 0)
		return r;
	r = draft(p, &d, e);
	snap_draft_abort(&d);
	return r;
}

int publish(struct publisher *p, struct snap *ret, struct err *e)
{
	struct snap_draft d;
	int r = snap_draft_begin(p->store, &d, e);

	if (r < 0)
		return r;
	r = draft(p, &d, e);
	if (r == 0)
		r = snap_draft_commit(&d, p->key, ret, e);
	snap_draft_abort(&d);
	return r;
}
