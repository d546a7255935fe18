/* restore: a container from CRIU's images, in groups that are made anew. */
#include "base/fd.h"
#include "oci/checkpoint.h"
#include "oci/config.h"
#include "oci/foreground.h"
#include "oci/life.h"

#include <fcntl.h>
#include <sys/file.h>

struct restoring {
	struct life l;
	struct snap_engine engine;
	struct checkpoint_dirs dirs;
	struct criu_job job;
	struct ct_restore r;
	struct buf kdat;
};

/* The place of the container's own that is checkpointed may be taken again. */
static int remove_stopped(const struct oci_args *a, struct err *e)
{
	AUTO(config_freep) struct ct_spec *spec = NULL;
	struct oci_store store;
	struct oci_state st = {0};
	AUTO_FD int dir = FD_NONE;
	struct err ignored = {0};
	int r = store_open(a, false, &store, e);

	if (r < 0)
		return r;
	if (store_find(&store, a->operands[0], true, &dir, &ignored) == 0) {
		r = state_read(dir, a->operands[0], &st, e);
		if (r == 0 && st.status == OCI_STOPPED) {
			(void)!config_copy_read(dir, &st, &spec, &ignored);
			r = life_remove(&store, dir, &st, spec, e);
		}
	}
	state_done(&st);
	fd_closep(&store.dir);
	return r;
}

static int on_born(struct ct_restore *cr, void *arg, struct err *e)
{
	struct life *l = &((struct restoring *)arg)->l;
	int r;

	l->state.pid = cr->pid;
	l->state.start_ticks = process_start(cr->pid);
	r = state_write(l->dir, &l->state, e);
	if (r == 0)
		r = life_class(l, cr->pid, e);
	if (r == 0)
		r = life_hooks(l->spec, CT_PRESTART, &l->state, &cr->pidfd, e);
	return r == 0 ? life_hooks(l->spec, CT_CREATE_RUNTIME, &l->state, &cr->pidfd, e) : r;
}

/* Before its first instruction: limits, device rules, groups below, and a state that says "running". */
static int on_ready(struct ct_restore *cr, void *arg, struct err *e)
{
	struct restoring *x = arg;
	struct life *l = &x->l;
	int r = life_limit(l, e);

	if (r == 0 && l->has_group && groups_wanted(l->args))
		r = groups_restore(x->dirs.fd, &l->group, cr->pid, e);
	l->state.creating = false;
	if (r == 0)
		r = ct_fault("restored", e);
	return r == 0 ? state_write(l->dir, &l->state, e) : r;
}

static int build(struct restoring *x, struct err *e)
{
	AUTO(life_release_unit) int holder = FD_NONE;
	struct life *l = &x->l;
	int r = descriptors_read(x->dirs.fd, &l->state.arena, x->r.stdio, e);

	if (r == 0)
		r = ct_fault("cgroup", e);
	if (r == 0)
		r = l->state.unit[0] ? life_hold_unit(l, &holder, e) : life_group(l, false, e);
	if (r < 0)
		return r;
	x->r.spec = l->spec;
	x->r.engine = &x->engine;
	criu_kdat(&x->engine, l->store.dir, &x->kdat);
	x->r.kdat = &x->kdat;
	x->r.group = l->has_group ? &l->group : NULL;
	x->r.job = &x->job;
	x->r.console = l->console;
	x->r.born = on_born;
	x->r.ready = on_ready;
	x->r.arg = x;
	r = ct_restore(&x->r, e);
	life_release_unit(&holder);
	l->state.status = OCI_RUNNING;
	l->ct.pid = x->r.pid;
	l->ct.pidfd = x->r.pidfd;
	if (r == 0)
		r = life_send_pidfd(l->args->pidfd_socket, l->ct.pidfd, e);
	if (r == 0)
		r = life_send_pidfd(l->spec->pidfd_receiver, l->ct.pidfd, e);
	if (r == 0 && l->args->pid_file)
		r = life_pid_file(l->args->pid_file, l->ct.pid, e);
	return r == 0 ? life_poststart(l->spec, &l->state, l->dir, e) : r;
}

static int restore(struct restoring *x, const struct oci_args *a, struct err *e)
{
	struct life *l = &x->l;
	int r = life_unprivileged(a) ? err_set(e, ERR_UNSUPPORTED, EPERM, "restore takes root") : 0;

	if (r == 0)
		r = checkpoint_engine(&x->engine, e);
	if (r == 0)
		r = checkpoint_dirs_open(a, false, &x->dirs, e);
	if (r == 0)
		r = sizes_check(x->dirs.fd, e);
	if (r == 0)
		r = remove_stopped(a, e);
	if (r == 0)
		r = life_claim(l, a, a->operands[0], e);
	if (r < 0)
		return r;
	r = ct_checkpoint_check(l->spec, "restored", e);
	if (r == 0)
		r = checkpoint_job(a, l->spec, &x->dirs, &x->job, e);
	x->job.log = "restore.log";
	if (r == 0)
		r = build(x, e);
	if (r < 0) {
		ct_abandon(&l->ct);
		(void)life_remove(&l->store, l->dir, &l->state, l->spec, &(struct err){0});
	}
	return r;
}

static int wait_for(struct life *l, struct foreground *f, struct err *e)
{
	struct err second = {0};
	int status;

	(void)flock(l->dir, LOCK_UN); /* as run does */
	status = foreground_wait(f, l->ct.pidfd, e);
	foreground_end(f);
	if (!l->args->keep && store_hold(l->dir) == 0)
		(void)life_remove(&l->store, l->dir, &l->state, l->spec, &second);
	return status >= 0 && second.kind != ERR_NONE ? err_adopt(e, &second) : status;
}

static int restore_main(struct oci_args *a, struct err *e)
{
	struct foreground f = {.ours = FD_NONE, .theirs = FD_NONE, .master = FD_NONE, .signals = FD_NONE};
	struct restoring x = {.dirs.fd = FD_NONE, .r.pidfd = FD_NONE};
	int r = 0;

	life_init(&x.l);
	if (!a->detach && a->console_socket)
		return err_set(e, ERR_SPEC, EINVAL,
			       "cannot use console socket if runc will not detach or allocate tty");
	if (!a->detach) {
		r = foreground_begin(&f, true, e);
		x.l.console = take_fd(&f.theirs);
	}
	if (r == 0)
		r = restore(&x, a, e);
	if (r == 0 && !x.l.spec->process.terminal)
		fd_closep(&f.ours);
	fd_closep(&x.l.console);
	if (r == 0 && !a->detach)
		r = wait_for(&x.l, &f, e);
	foreground_end(&f);
	fd_closep(&x.dirs.fd);
	buf_done(&x.kdat);
	life_done(&x.l);
	return r;
}

static const struct opt restore_options[] = {
	OCI_TEXT("bundle", bundle, 'b', "DIR", "where config.json and the root lie"),
	OCI_TEXT("config", config, 'f', "FILE", "another config.json"),
	OCI_TEXT("image-path", image_path, 0, "DIR", "where the images are (./checkpoint)"),
	OCI_TEXT("work-path", work_path, 0, "DIR", "where the log and statistics go (that of the images)"),
	OCI_FLAG("detach", detach, 'd', "do not wait for its end"),
	OCI_FLAG("keep", keep, 0, "do not delete the container at its end"),
	OCI_TEXT("pid-file", pid_file, 0, "FILE", "gets the number of the process"),
	OCI_TEXT("pidfd-socket", pidfd_socket, 0, "PATH", "where the process's pidfd is sent"),
	OCI_TEXT("console-socket", console_socket, 0, "PATH", "where the terminal's master is sent"),
	OCI_FLAG("tcp-established", tcp_established, 0, "allow established TCP connections"),
	OCI_FLAG("tcp-close", tcp_close, 0, "established TCP connections are closed"),
	OCI_FLAG("ext-unix-sk", ext_unix, 0, "allow Unix sockets with an end outside"),
	OCI_FLAG("shell-job", shell_job, 0, "allow a session and a terminal from outside"),
	OCI_FLAG("file-locks", file_locks, 0, "allow file locks"),
	OCI_FLAG("link-remap", link_remap, 0, "accepted as by checkpoint"),
	OCI_FLAG("lazy-pages", lazy_pages, 0, "take the memory from `criu lazy-pages` as it is used"),
	OCI_FLAG("auto-dedup", auto_dedup, 0, "free the images' pages as they are restored"),
	OCI_TEXT("manage-cgroups-mode", cgroups_mode, 0, "MODE",
		 "soft, full, strict: with groups below the container's; ignore: without"),
	OCI_LIST("empty-ns", empty_ns, 0, "network", "as at checkpoint"),
	OCI_TEXT("lsm-profile", lsm_profile, 0, "TYPE:NAME", "another AppArmor or SELinux profile than in the images"),
	OCI_TEXT("lsm-mount-context", lsm_context, 0, "CONTEXT", "another SELinux context of mounts"),
	OCI_FLAG("no-subreaper", no_subreaper, 0, "accepted; fsbox-oci is one only while CRIU works"),
	OCI_FLAG("no-pivot", no_pivot, 0, "accepted; CRIU changes the root"),
	OCI_NUMBER("preserve-fds", preserve_fds, 0, "N", "accepted; descriptors are in the images"),
	OCI_TEXT("parent-path", parent_path, 0, "DIR", "accepted; the images know it"),
	OCI_TEXT("page-server", page_server, 0, "ADDRESS:PORT", "accepted; `criu lazy-pages` has it"),
	OCI_TEXT("status-fd", status_fd, 0, "N", "accepted"),
	OCI_FLAG("leave-running", leave_running, 0, "accepted"),
};
const struct oci_command oci_restore = {
	.name = "restore",
	.operands = "ID",
	.summary = "make a container from images of a checkpoint",
	.options = {restore_options, ARRAY_LEN(restore_options)},
	.min_operands = 1,
	.max_operands = 1,
	.main = restore_main,
};
