/* create, start, run. */
#include "base/fd.h"
#include "oci/config.h"
#include "oci/foreground.h"
#include "oci/life.h"

#include <errno.h>
#include <sys/file.h>

static const struct opt create_options[] = {
	OCI_TEXT("bundle", bundle, 'b', "DIR", "where config.json and the root lie"),
	OCI_TEXT("config", config, 'f', "FILE", "another config.json"),
	OCI_TEXT("console-socket", console_socket, 0, "PATH", "where the terminal's master is sent"),
	OCI_TEXT("pidfd-socket", pidfd_socket, 0, "PATH", "where the process's pidfd is sent"),
	OCI_TEXT("pid-file", pid_file, 0, "FILE", "gets the number of the process"),
	OCI_FLAG("no-pivot", no_pivot, 0, "move the root instead of pivot_root, for a ramfs"),
	OCI_FLAG("no-new-keyring", no_new_keyring, 0, "keep the caller's session keyring"),
	OCI_FLAG("no-subreaper", no_subreaper, 0, "accepted; fsbox-oci is never one"),
	OCI_NUMBER("preserve-fds", preserve_fds, 0, "N", "give 3 … 3+N-1 to the container"),
};

static const struct opt run_options[] = {
	OCI_TEXT("bundle", bundle, 'b', "DIR", "where config.json and the root lie"),
	OCI_TEXT("config", config, 'f', "FILE", "another config.json"),
	OCI_TEXT("console-socket", console_socket, 0, "PATH", "where the terminal's master is sent"),
	OCI_TEXT("pidfd-socket", pidfd_socket, 0, "PATH", "where the process's pidfd is sent"),
	OCI_TEXT("pid-file", pid_file, 0, "FILE", "gets the number of the process"),
	OCI_FLAG("detach", detach, 'd', "do not wait for its end"),
	OCI_FLAG("keep", keep, 0, "do not delete the container at its end"),
	OCI_FLAG("no-pivot", no_pivot, 0, "move the root instead of pivot_root, for a ramfs"),
	OCI_FLAG("no-new-keyring", no_new_keyring, 0, "keep the caller's session keyring"),
	OCI_FLAG("no-subreaper", no_subreaper, 0, "accepted; fsbox-oci is never one"),
	OCI_NUMBER("preserve-fds", preserve_fds, 0, "N", "give 3 … 3+N-1 to the container"),
};

static int create_main(struct oci_args *a, struct err *e)
{
	struct life l;
	int r;

	life_init(&l);
	r = life_create(&l, a, a->operands[0], false, e);
	life_done(&l);
	return r;
}

const struct oci_command oci_create = {
	.name = "create",
	.operands = "ID",
	.summary = "make a container that waits for start",
	.options = {create_options, ARRAY_LEN(create_options)},
	.min_operands = 1,
	.max_operands = 1,
	.main = create_main,
};

/* ---- start ---- */

static int start_locked(struct oci_store *store, int dir, struct oci_state *st, struct err *e)
{
	AUTO(config_freep) struct ct_spec *spec = NULL;
	int r;

	if (st->status == OCI_STOPPED)
		return err_set(e, ERR_LOST, ESRCH, "cannot start a container that has stopped");
	if (st->status != OCI_CREATED)
		return err_set(e, ERR_BUSY, EBUSY, "cannot start a container in the %s state", status_name(st->status));
	r = config_copy_read(dir, st, &spec, e);
	if (r == 0)
		r = life_start(dir, st, spec, e);
	/* "If any startContainer hook fails, the runtime MUST generate an error, stop the container, and continue the
	 * lifecycle at step 12", which destroys it; of poststart hooks runtime-spec 1.3 says the same. */
	if (r < 0 && (st->status == OCI_RUNNING || strcmp(e->stage, "startHooks") == 0)) {
		struct err second = {0};

		(void)life_remove(store, dir, st, spec, &second);
	}
	return r;
}

static int start_main(struct oci_args *a, struct err *e)
{
	struct oci_store store;
	struct oci_state st = {0};
	AUTO_FD int dir = FD_NONE;
	int r = store_open(a, false, &store, e);

	if (r == 0)
		r = store_find(&store, a->operands[0], true, &dir, e);
	if (r == 0)
		r = state_read(dir, a->operands[0], &st, e);
	if (r == 0)
		r = start_locked(&store, dir, &st, e);
	state_done(&st);
	fd_closep(&store.dir);
	return r;
}

const struct oci_command oci_start = {
	.name = "start",
	.operands = "ID",
	.summary = "have a created container execute its program",
	.min_operands = 1,
	.max_operands = 1,
	.main = start_main,
};

/* ---- run ---- */

static int run_wait(struct life *l, struct foreground *f, struct err *e)
{
	int status = foreground_wait(f, l->ct.pidfd, e);
	struct err second = {0};

	foreground_end(f);
	/* Who deleted it meanwhile has done all this. */
	if (!l->args->keep && store_hold(l->dir) == 0)
		(void)life_remove_own(l, &second);
	if (status >= 0 && second.kind != ERR_NONE)
		return err_adopt(e, &second);
	return status;
}

static int run_created(struct life *l, struct foreground *f, struct err *e)
{
	int r = ct_go(&l->ct, e);

	l->state.status = OCI_RUNNING;
	if (r == 0)
		r = life_poststart(l->spec, &l->state, l->dir, e);
	if (r < 0) {
		struct err second = {0};

		(void)life_remove(&l->store, l->dir, &l->state, l->spec, &second);
		return r;
	}
	(void)flock(l->dir, LOCK_UN); /* while it runs others may pause, change and delete it */
	return l->args->detach ? 0 : run_wait(l, f, e);
}

static int run_main(struct oci_args *a, struct err *e)
{
	struct foreground f = {.ours = FD_NONE, .theirs = FD_NONE, .master = FD_NONE, .signals = FD_NONE};
	struct life l;
	int r = 0;

	life_init(&l);
	if (!a->detach) {
		if (a->console_socket)
			r = err_set(e, ERR_SPEC, EINVAL,
				    "cannot use console socket if runc will not detach or allocate tty");
		/* Whether there is a terminal stands in config.json, which is read later: the socket costs little. */
		if (r == 0)
			r = foreground_begin(&f, true, e);
		l.console = take_fd(&f.theirs);
	}
	if (r == 0)
		r = life_create(&l, a, a->operands[0], true, e);
	if (r == 0 && !a->detach && !l.spec->process.terminal)
		fd_closep(&f.ours);
	fd_closep(&l.console);
	if (r == 0) {
		oci_flush_warnings(a);
		r = run_created(&l, &f, e);
	}
	foreground_end(&f);
	life_done(&l);
	return r;
}

const struct oci_command oci_run = {
	.name = "run",
	.operands = "ID",
	.summary = "create, start, wait for the end, delete",
	.options = {run_options, ARRAY_LEN(run_options)},
	.min_operands = 1,
	.max_operands = 1,
	.main = run_main,
};
