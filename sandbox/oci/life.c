#include "oci/life.h"

#include "base/fd.h"
#include "oci/config.h"
#include "oci/unit.h"

#include <fcntl.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

void life_init(struct life *l)
{
	*l = (struct life){.store.dir = FD_NONE,
			   .dir = FD_NONE,
			   .listener = FD_NONE,
			   .console = FD_NONE,
			   .claim = FD_NONE,
			   .streams = {FD_NONE, FD_NONE}};
	l->ct.pidfd = l->ct.barrier = FD_NONE;
	l->ct.slow_close = oci_take_own_mount();
}

void life_done(struct life *l)
{
	fd_closep(&l->store.dir);
	fd_closep(&l->dir);
	fd_closep(&l->listener);
	fd_closep(&l->console);
	fd_closep(&l->claim);
	fd_closep(&l->streams[0]);
	fd_closep(&l->streams[1]);
	fd_closep(&l->ct.pidfd);
	fd_closep(&l->ct.slow_close);
	fd_closep(&l->ct.barrier);
	filter_done(&l->filter);
	if (l->has_group)
		cg_group_close(&l->group);
	buf_done(&l->head);
	buf_done(&l->tail);
	buf_done(&l->created);
	config_free(l->spec);
	state_done(&l->state);
}

bool life_unprivileged(const struct oci_args *a)
{
	if (a->rootless && strcmp(a->rootless, "true") == 0)
		return true;
	return !oci_is_root();
}

/* ---- Input ---- */

static int read_config(struct life *l, struct buf *ret_text, struct err *e)
{
	const struct oci_args *a = l->args;
	char bundle[4096], path[4200];
	AUTO_FREE char *text = NULL;
	AUTO_FD int fd = FD_NONE;
	size_t len;
	int r;

	if (!realpath(a->bundle ? a->bundle : ".", bundle))
		return err_sys(e, errno, "bundle '%s'", a->bundle ? a->bundle : ".");
	(void)snprintf(path, sizeof path, "%s/config.json", bundle);
	fd = open(a->config ? a->config : path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, errno, "opening '%s'", a->config ? a->config : path);
	r = fd_read_all(fd, CONFIG_MAX_BYTES, &text, &len);
	if (r < 0)
		return err_sys(e, r, "reading '%s'", a->config ? a->config : path);
	r = config_read("config.json", text, len, bundle, &l->spec, e);
	if (r < 0)
		return r;
	if (!l->spec->process.given)
		return err_set(e, ERR_SPEC, EINVAL, "config.json: $.process: 'process' is missing");
	buf_add(ret_text, text, len);
	return ret_text->failed ? err_oom(e) : 0;
}

int life_check_labels(const struct ct_spec *s, struct err *e)
{
	const char *profile = s->process.apparmor;
	const bool selinux = (s->process.selinux && s->process.selinux[0]) || (s->mount_label && s->mount_label[0]);

	if (profile && profile[0] && strcmp(profile, "unconfined") != 0 && !label_apparmor_is_on())
		return err_set(e, ERR_UNSUPPORTED, EOPNOTSUPP,
			       "apparmor profile '%s' is wanted, but AppArmor is not enabled on this host", profile);
	if (selinux && !label_selinux_is_on())
		return err_set(e, ERR_UNSUPPORTED, EOPNOTSUPP,
			       "selinux label is specified in config, but selinux is disabled or not supported");
	return 0;
}

static int check_host(const struct life *l, struct err *e)
{
	const struct ct_spec *s = l->spec;
	struct stat st;
	int r;

	r = life_check_labels(s, e);
	if (r < 0)
		return r;
	if (s->rdt.given) {
		char root[CG_RESCTRL_ROOT];

		r = cg_resctrl_find(root, e);
		if (r < 0)
			return r;
	}
	if (s->n_net_devices > 0 && life_unprivileged(l->args))
		return err_set(e, ERR_UNSUPPORTED, EPERM, "moving network devices takes root");
	for (size_t i = 0; i < s->n_mounts; i++)
		if (life_unprivileged(l->args) && (s->mounts[i].idmap || s->mounts[i].n_uids > 0))
			return err_set(e, ERR_UNSUPPORTED, EPERM, "mapping the ids of '%s' takes root",
				       s->mounts[i].target);
	if (stat(s->rootfs, &st) < 0)
		return err_sys(e, errno, "rootfs '%s'", s->rootfs);
	if (!S_ISDIR(st.st_mode))
		return err_sys(e, ENOTDIR, "rootfs '%s'", s->rootfs);
	r = life_check_joined(s, e);
	return r < 0 ? r : life_check_agent(s, e);
}

int life_filter(struct life *l, struct err *e)
{
	struct policy *p = &l->spec->seccomp.policy;

	if (l->spec->seccomp.program)
		return life_program(&l->spec->seccomp, &l->filter, e);
	if (!l->spec->seccomp.given)
		return 0;
	p->skip_unknown = !l->spec->seccomp.strict_names;
	/* Calls younger than the profile: who asks gets ENOSYS and does without, where EPERM would make him fail. */
	p->new_enosys = p->default_action == POLICY_ERRNO && p->n_rules > 0;
	p->none = p->default_action == POLICY_ALLOW && p->n_rules == 0;
	/* Without questions WAIT_KILLABLE_RECV has no meaning, and the kernel refuses it. */
	p->flags = l->spec->seccomp.asks ? p->flags | SECCOMP_FILTER_FLAG_NEW_LISTENER
					 : p->flags & ~SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
	return filter_build(p, &l->filter, e);
}

/* ---- Socket and files ---- */

static int bind_listener(struct life *l, struct err *e)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	mode_t old;
	int r;

	l->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (l->listener < 0)
		return err_sys(e, errno, "making the start socket");
	(void)snprintf(at.sun_path, sizeof at.sun_path, "/proc/self/fd/%d/start.sock", l->dir);
	old = umask(0177); /* whatever the caller's is: who may connect can start the container */
	r = bind(l->listener, (const struct sockaddr *)&at, sizeof at) < 0 ? -errno : 0;
	(void)umask(old);
	if (r == 0 && listen(l->listener, 8) < 0)
		r = -errno;
	return r < 0 ? err_sys(e, r, "binding the start socket") : 0;
}

int life_pid_file(const char *path, pid_t pid, struct err *e)
{
	const char *slash = strrchr(path, '/');
	AUTO_FREE char *parent = slash ? strndup(path, slash > path ? (size_t)(slash - path) : 1) : strdup(".");
	AUTO_FD int dir = parent ? open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : FD_NONE;
	char text[16];
	int n = snprintf(text, sizeof text, "%d", pid);

	if (dir < 0)
		return parent ? err_sys(e, errno, "opening '%s'", parent) : err_oom(e);
	return file_replace(dir, slash ? slash + 1 : path, text, (size_t)n, 0644, e);
}

/* ---- Building ---- */

/* The rest of the groups comes while the child makes its namespaces: on a hybrid host a dozen directories, on cgroup2 a
 * program for device rules. It enters, or goes on, when this is done. */
static int on_born(struct ct *c, void *arg, struct err *e)
{
	struct life *l = arg;
	int r;

	l->state.pid = c->pid;
	l->state.start_ticks = process_start(c->pid);
	r = state_write(l->dir, &l->state, e);
	if (r == 0 && !l->limited) /* a second child, see ct_create(), finds it done */
		r = life_group(l, true, e);
	l->limited = r == 0;
	return r == 0 ? life_class(l, c->pid, e) : r;
}

static int on_mounted(struct ct *c, void *arg, struct err *e)
{
	struct life *l = arg;
	int r = life_hooks(l->spec, CT_PRESTART, &l->state, &c->pidfd, e);

	return r == 0 ? life_hooks(l->spec, CT_CREATE_RUNTIME, &l->state, &c->pidfd, e) : r;
}

static int open_console(struct life *l, struct err *e)
{
	const bool terminal = l->spec->process.terminal;

	if (fd_valid(l->console))
		return 0; /* run's own */
	if (terminal && !l->args->console_socket)
		return err_set(e, ERR_SPEC, EINVAL,
			       "cannot allocate tty if runc will detach without setting console socket");
	if (!terminal && l->args->console_socket)
		return err_set(e, ERR_SPEC, EINVAL,
			       "cannot use console socket if runc will not detach or allocate tty");
	if (!terminal)
		return 0;
	l->console = life_connect(l->args->console_socket, e);
	return l->console < 0 ? l->console : 0;
}

static void fill_state(struct life *l, const char *id)
{
	struct oci_state *st = &l->state;
	char now[48];

	oci_time(now, sizeof now);
	st->id = id;
	st->version = l->spec->version;
	st->bundle = l->spec->bundle;
	st->rootfs = l->spec->rootfs;
	st->created = arena_strdup(&st->arena, now);
	st->owner = (int64_t)geteuid();
	st->annotations = l->spec->annotations;
	st->n_annotations = l->spec->n_annotations;
	st->creating = true;
	st->status = OCI_CREATING;
	st->cgroup = life_group_path(l);
	st->unit = "";
	st->found = "";
}

/* For the hooks that the child runs: createContainer's, and startContainer's. */
static int state_texts(struct life *l, struct err *e)
{
	AUTO(buf_done) struct buf same = {0};
	struct oci_state created = l->state;
	int r = life_state_text(&l->state, &l->head, &l->tail, e);

	created.status = OCI_CREATED;
	return r == 0 ? life_state_text(&created, &l->created, &same, e) : r;
}

static int build(struct life *l, bool wait_here, struct err *e)
{
	const struct ct_spec *s = l->spec;
	struct ct *c = &l->ct;
	int r = ct_fault("cgroup", e);

	if (r == 0 && !l->state.unit[0])
		r = life_cradle(l, e);
	if (r == 0)
		r = ct_fault("listener", e);
	if (r == 0)
		r = state_texts(l, e);
	if (r == 0)
		r = life_hook_streams(s, l->streams, e);
	if (r == 0 && !wait_here)
		r = bind_listener(l, e);
	if (r < 0)
		return r;
	c->spec = s;
	c->filter = l->filter.len > 0 ? &l->filter : NULL;
	c->console = l->console;
	c->listener = l->listener;
	c->join = FD_NONE;
	c->preserve = (unsigned)l->preserve;
	c->no_pivot = l->args->no_pivot;
	c->no_keyring = l->args->no_new_keyring;
	c->unprivileged = life_unprivileged(l->args);
	c->state = (struct ct_state_text){l->head.data, l->tail.data, l->streams, NULL};
	c->created = (struct ct_state_text){l->created.data, l->tail.data, l->streams, NULL};
	c->place = l->state.unit[0] ? life_on_placed : NULL;
	c->born = on_born;
	c->mounted = s->hooks[CT_PRESTART].n + s->hooks[CT_CREATE_RUNTIME].n > 0 ? on_mounted : NULL;
	c->arg = l;
	c->straight = wait_here && !l->args->pid_file && !l->args->pidfd_socket && !s->pidfd_receiver;
	c->asked = life_agent(&l->agent, s, &l->state);
	r = ct_create(c, e);
	fd_closep(&l->listener); /* the child's now */
	fd_closep(&l->claim);
	if (r < 0)
		return r;
	l->state.creating = false;
	l->state.status = OCI_CREATED;
	r = state_write(l->dir, &l->state, e);
	if (r == 0)
		r = ct_fault("state", e);
	if (r == 0)
		r = life_send_pidfd(l->args->pidfd_socket, c->pidfd, e);
	if (r == 0)
		r = life_send_pidfd(s->pidfd_receiver, c->pidfd, e);
	return r == 0 && l->args->pid_file ? life_pid_file(l->args->pid_file, c->pid, e) : r;
}

int life_claim(struct life *l, const struct oci_args *a, const char *id, struct err *e)
{
	AUTO(buf_done) struct buf config = {0};
	int r = store_check_id(id, e);

	l->args = a;
	if (r == 0)
		r = read_config(l, &config, e);
	l->preserve = a->preserve_fds;
	if (r == 0)
		r = life_listen_fds(l->spec, &l->preserve, e);
	if (r == 0)
		r = check_host(l, e);
	if (r == 0)
		life_warn(l);
	if (r == 0)
		r = life_filter(l, e);
	if (r == 0)
		r = open_console(l, e);
	if (r == 0)
		r = store_open(a, true, &l->store, e);
	if (r < 0)
		return r;
	fill_state(l, id);
	if (!l->state.created || !l->state.cgroup)
		return err_oom(e);
	r = unit_wanted(a) ? unit_plan(l->spec, &l->state, e) : 0;
	if (r < 0)
		return r;
	r = store_add(&l->store, id, &l->dir, e);
	if (r < 0)
		return r;
	r = life_find_group(l, e);
	if (r < 0)
		l->state.cgroup = l->state.unit = ""; /* somebody else's */
	if (r == 0)
		r = config_copy_write(l->dir, config.data, config.len, e);
	if (r == 0)
		r = state_write(l->dir, &l->state, e);
	if (r < 0)
		(void)life_remove(&l->store, l->dir, &l->state, l->spec, &(struct err){0});
	return r;
}

int life_create(struct life *l, const struct oci_args *a, const char *id, bool wait_here, struct err *e)
{
	int r = life_claim(l, a, id, e);

	if (r < 0)
		return r;
	r = build(l, wait_here, e);
	if (r < 0) {
		ct_abandon(&l->ct);
		(void)life_remove(&l->store, l->dir, &l->state, l->spec, &(struct err){0});
	}
	return r;
}

/* ---- Start and end ---- */

int life_start(int dir, struct oci_state *st, const struct ct_spec *spec, struct err *e)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	AUTO_FD int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct life_agent agent;
	struct ct_listener asked;
	int r;

	if (sock < 0)
		return err_sys(e, errno, "making a socket");
	(void)snprintf(to.sun_path, sizeof to.sun_path, "/proc/self/fd/%d/start.sock", dir);
	if (connect(sock, (const struct sockaddr *)&to, sizeof to) < 0)
		return err_sys(e, errno, "connecting to the container's start socket");
	asked = life_agent(&agent, spec, st);
	r = ct_start(sock, (pid_t)st->pid, &asked, e);
	if (r < 0)
		return r;
	(void)unlinkat(dir, "start.sock", 0);
	st->status = OCI_RUNNING;
	return life_poststart(spec, st, dir, e);
}
