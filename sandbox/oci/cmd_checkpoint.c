/* checkpoint: CRIU dumps a running container. */
#include "base/clock.h"
#include "base/fd.h"
#include "oci/checkpoint.h"
#include "oci/config.h"
#include "oci/life.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>

struct dump {
	struct oci_store store;
	struct oci_state st;
	int dir;
	struct ct_spec *spec;
	struct cg_group group;
	bool has_group;
	struct checkpoint_dirs dirs;
	struct ct_checkpoint look;
	struct buf kdat;
	char frozen[600], page_host[256];
};

static int read_page_server(const struct oci_args *a, struct dump *d, struct err *e)
{
	const char *colon = a->page_server ? strrchr(a->page_server, ':') : NULL;
	uint64_t port;

	if (!a->page_server || !a->page_server[0])
		return 0;
	if (!colon || (size_t)(colon - a->page_server) >= sizeof d->page_host || !parse_u64(colon + 1, 1, 65535, &port))
		return err_set(e, ERR_SPEC, EINVAL, "--page-server '%s': use ADDRESS:PORT", a->page_server);
	(void)snprintf(d->page_host, sizeof d->page_host, "%.*s", (int)(colon - a->page_server), a->page_server);
	d->look.job.page_host = d->page_host;
	d->look.job.page_port = (uint16_t)port;
	return 0;
}

enum { SERVER_PIPE = 8 * 4096 / 40 * 4096 };

/* CRIU's page server hands memory on through a pipe of SERVER_PIPE bytes (819 pages, what fits into a kernel's list of
 * eight pages). Where it may not make one it goes on, fails at the first page (4.2), and the restore with it. */
static int check_lazy(const struct oci_args *a, const struct criu_job *j, struct err *e)
{
	AUTO_FD int read_end = FD_NONE, write_end = FD_NONE;
	int ends[2];

	if (!a->lazy_pages)
		return 0;
	if (!j->page_host)
		return err_set(e, ERR_SPEC, EINVAL, "--lazy-pages takes --page-server, where the memory is served");
	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_sys(e, errno, "making a pipe");
	read_end = ends[0];
	write_end = ends[1];
	if (fcntl(write_end, F_SETPIPE_SZ, SERVER_PIPE) < 0)
		return err_set(
			e, ERR_UNSUPPORTED, EOPNOTSUPP,
			"--lazy-pages: CRIU's page server needs a pipe of 4 MiB, which takes CAP_SYS_RESOURCE or as "
			"much in /proc/sys/fs/pipe-max-size");
	return 0;
}

static int read_status_fd(const struct oci_args *a, struct criu_job *j, struct err *e)
{
	uint64_t fd;

	if (!a->status_fd || strcmp(a->status_fd, "-1") == 0)
		return 0;
	if (!parse_u64(a->status_fd, 3, INT32_MAX, &fd) || fcntl((int)fd, F_GETFD) < 0)
		return err_set(e, ERR_SPEC, EINVAL, "--status-fd '%s' is not an open descriptor", a->status_fd);
	j->status_fd = (int)fd;
	return 0;
}

static int check_parent(const struct oci_args *a, const struct dump *d, struct err *e)
{
	if (!a->parent_path || !a->parent_path[0])
		return 0;
	if (a->parent_path[0] == '/')
		return err_set(e, ERR_SPEC, EINVAL, "--parent-path has to be relative to the image directory");
	if (faccessat(d->dirs.fd, a->parent_path, F_OK, 0) < 0)
		return err_sys(e, errno, "parent directory '%s' of '%s'", a->parent_path, d->dirs.images);
	return 0;
}

static int open_container(const struct oci_args *a, struct dump *d, struct err *e)
{
	int r = store_open(a, false, &d->store, e);

	if (r == 0)
		r = store_find(&d->store, a->operands[0], true, &d->dir, e);
	if (r == 0)
		r = state_read(d->dir, a->operands[0], &d->st, e);
	if (r < 0)
		return r;
	if (d->st.status == OCI_STOPPED || d->st.status == OCI_CREATING)
		return err_set(e, ERR_LOST, ESRCH, "container not running");
	if (d->st.status == OCI_CREATED || state_waits_for_start(d->dir))
		return err_set(e, ERR_BUSY, EBUSY, "cannot checkpoint a container in the created state");
	if (life_unprivileged(a))
		return err_set(e, ERR_UNSUPPORTED, EPERM, "checkpoint takes root");
	r = config_copy_read(d->dir, &d->st, &d->spec, e);
	if (r == 0 && d->st.cgroup[0]) {
		r = cg_group_find(d->st.cgroup, &d->group, e);
		d->has_group = r == 0;
	}
	return r;
}

/* The same freezer as pause and resume have: whoever is frozen by another one cannot be stopped. */
static void find_freezer(struct dump *d)
{
	const struct cg_tree *t = d->has_group ? cg_group_tree(&d->group, "freezer") : NULL;

	if (d->has_group && !t)
		t = cg_group_tree(&d->group, "");
	if (!t || !fd_valid(t->dir))
		return;
	(void)snprintf(d->frozen, sizeof d->frozen, "%s%s", t->root, d->group.path);
	d->look.job.frozen = d->frozen;
}

static int fill(const struct oci_args *a, struct dump *d, struct err *e)
{
	struct criu_job *j = &d->look.job;
	int r = checkpoint_dirs_open(a, true, &d->dirs, e);

	if (r == 0)
		r = checkpoint_job(a, d->spec, &d->dirs, j, e);
	if (r < 0)
		return r;
	j->log = a->pre_dump ? "pre-dump.log" : "dump.log";
	j->pid = (pid_t)d->st.pid;
	j->pre_dump = a->pre_dump;
	j->leave_running = a->leave_running;
	j->skip_in_flight = a->skip_in_flight;
	j->parent = a->parent_path && a->parent_path[0] ? a->parent_path : NULL;
	j->track_memory = j->parent != NULL;
	find_freezer(d);
	r = read_page_server(a, d, e);
	if (r == 0)
		r = check_lazy(a, j, e);
	if (r == 0)
		r = read_status_fd(a, j, e);
	return r == 0 ? check_parent(a, d, e) : r;
}

/* CRIU has killed them; who was frozen dies when he is thawed, and whoever entered the container dies now. */
static int finish(struct dump *d, struct err *e)
{
	const uint64_t end = clock_mono_ns() + 10 * NS_PER_S;
	int r = d->has_group ? cg_group_kill(&d->group, SIGKILL, e) : 0;

	while (process_start(d->st.pid) == d->st.start_ticks && clock_mono_ns() < end)
		(void)poll(NULL, 0, 1);
	return r;
}

static int write_groups(const struct oci_args *a, const struct dump *d, struct err *e)
{
	const struct cg_group none = {0};

	return groups_write(d->dirs.fd, d->has_group && groups_wanted(a) ? &d->group : &none, (pid_t)d->st.pid, e);
}

static int dump(const struct oci_args *a, struct dump *d, struct err *e)
{
	struct snap_engine en;
	int r = open_container(a, d, e);

	if (r == 0)
		r = checkpoint_engine(&en, e);
	if (r == 0)
		r = fill(a, d, e);
	d->look.spec = d->spec;
	if (r == 0)
		r = ct_checkpoint_look(&d->look, e);
	if (r == 0)
		r = sizes_forget(d->dirs.fd, e);
	if (r == 0 && !a->pre_dump)
		r = descriptors_write(d->dirs.fd, d->look.stdio, e);
	if (r == 0 && !a->pre_dump)
		r = write_groups(a, d, e);
	if (r == 0) {
		criu_kdat(&en, d->store.dir, &d->kdat);
		r = criu_dump(&en, &d->kdat, &d->look.job, e);
	}
	if (r == 0 && !a->pre_dump && !a->lazy_pages && !d->look.job.page_host)
		r = sizes_write(d->dirs.fd, e);
	return r == 0 && !a->pre_dump && !a->leave_running ? finish(d, e) : r;
}

static int checkpoint_main(struct oci_args *a, struct err *e)
{
	struct dump d = {.store.dir = FD_NONE, .dir = FD_NONE, .dirs.fd = FD_NONE};
	int r = dump(a, &d, e);

	ct_checkpoint_done(&d.look);
	buf_done(&d.kdat);
	if (d.has_group)
		cg_group_close(&d.group);
	config_free(d.spec);
	state_done(&d.st);
	fd_closep(&d.dirs.fd);
	fd_closep(&d.dir);
	fd_closep(&d.store.dir);
	return r;
}

static const struct opt checkpoint_options[] = {
	OCI_TEXT("image-path", image_path, 0, "DIR", "where images go; made when missing (./checkpoint)"),
	OCI_TEXT("work-path", work_path, 0, "DIR", "where the log and statistics go (that of the images)"),
	OCI_TEXT("parent-path", parent_path, 0, "DIR", "images of an earlier pre-dump, relative to --image-path"),
	OCI_FLAG("leave-running", leave_running, 0, "do not stop the container"),
	OCI_FLAG("pre-dump", pre_dump, 0, "dump its memory only; it goes on, and what changes is noted"),
	OCI_FLAG("tcp-established", tcp_established, 0, "allow established TCP connections"),
	OCI_FLAG("tcp-close", tcp_close, 0, "leave their state out: they are closed after a restore"),
	OCI_FLAG("tcp-skip-in-flight", skip_in_flight, 0, "leave out connections that are being made"),
	OCI_FLAG("ext-unix-sk", ext_unix, 0, "allow Unix sockets with an end outside"),
	OCI_FLAG("shell-job", shell_job, 0, "allow a session and a terminal from outside"),
	OCI_FLAG("file-locks", file_locks, 0, "allow file locks"),
	OCI_FLAG("link-remap", link_remap, 0, "allow files that are deleted but linked elsewhere"),
	OCI_FLAG("lazy-pages", lazy_pages, 0, "keep the memory back and serve it to a restore over the network"),
	OCI_TEXT("status-fd", status_fd, 0, "N", "descriptor that is written to when that is ready"),
	OCI_TEXT("page-server", page_server, 0, "ADDRESS:PORT", "where memory goes instead, or is served"),
	OCI_TEXT("manage-cgroups-mode", cgroups_mode, 0, "MODE",
		 "soft, full, strict: with groups below the container's; ignore: without"),
	OCI_LIST("empty-ns", empty_ns, 0, "network", "leave interfaces, addresses and rules out"),
	OCI_FLAG("auto-dedup", auto_dedup, 0, "free pages of the parent that are in these images again"),
};
const struct oci_command oci_checkpoint = {
	.name = "checkpoint",
	.operands = "ID",
	.summary = "write a running container to images, and stop it",
	.options = {checkpoint_options, ARRAY_LEN(checkpoint_options)},
	.min_operands = 1,
	.max_operands = 1,
	.main = checkpoint_main,
};
