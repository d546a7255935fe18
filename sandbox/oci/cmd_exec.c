/* exec: one more process in a container that runs. */
#include "base/fd.h"
#include "oci/config.h"
#include "oci/foreground.h"
#include "oci/life.h"
#include "oci/unit.h"
#include "sys/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

/* ---- The process ---- */

static int read_process(struct ct_spec *s, const char *file, struct err *e)
{
	AUTO_FD int fd = strcmp(file, "-") == 0 ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)
						: open(file, O_RDONLY | O_CLOEXEC);
	AUTO_FREE char *text = NULL;
	size_t len;
	int r = fd < 0 ? -errno : fd_read_all(fd, CONFIG_MAX_BYTES, &text, &len);

	return r < 0 ? err_sys(e, r, "reading '%s'", file) : config_read_process("process.json", text, len, s, e);
}

static int set_user(struct ct_process *p, const char *user, struct err *e)
{
	char uid[16];
	uint64_t n;
	size_t len = strcspn(user, ":");

	(void)snprintf(uid, sizeof uid, "%.*s", (int)len, user);
	if (len >= sizeof uid || !parse_u64(uid, 0, UINT32_MAX - 1, &n))
		return err_set(e, ERR_SPEC, EINVAL, "--user '%s': expected UID or UID:GID, by numbers", user);
	p->uid = (uint32_t)n;
	if (user[len] != ':')
		return 0;
	if (!parse_u64(user + len + 1, 0, UINT32_MAX - 1, &n))
		return err_set(e, ERR_SPEC, EINVAL, "--user '%s': expected UID or UID:GID, by numbers", user);
	p->gid = (uint32_t)n;
	return 0;
}

static int set_groups(struct ct_spec *s, const struct text_list *l, struct err *e)
{
	struct ct_process *p = &s->process;
	uint64_t n;

	p->groups = arena_alloc(&s->arena, (l->n + 1) * sizeof *p->groups);
	p->n_groups = 0;
	if (!p->groups)
		return err_oom(e);
	for (size_t i = 0; i < l->n; i++) {
		if (!parse_u64(l->at[i], 0, UINT32_MAX - 1, &n))
			return err_set(e, ERR_SPEC, EINVAL, "--additional-gids '%s' is no number", l->at[i]);
		p->groups[p->n_groups++] = (uint32_t)n;
	}
	return 0;
}

static int add_env(struct ct_spec *s, const struct text_list *l, struct err *e)
{
	struct ct_process *p = &s->process;
	const char **all;
	size_t n = 0;

	while (p->env && p->env[n])
		n++;
	all = arena_alloc(&s->arena, (n + l->n + 1) * sizeof *all);
	if (!all)
		return err_oom(e);
	if (n > 0)
		memcpy(all, p->env, n * sizeof *all);
	memcpy(all + n, l->at, l->n * sizeof *all);
	p->env = all;
	return 0;
}

/* As runc has it since CVE-2022-29162: not into the inheritable set, from which files would give it to other users; and
 * what is not inheritable cannot be ambient. */
static int add_caps(struct ct_process *p, const struct text_list *l, struct err *e)
{
	for (size_t i = 0; i < l->n; i++) {
		int cap = config_capability(l->at[i]);

		if (cap < 0)
			return err_set(e, ERR_SPEC, EINVAL, "--cap '%s': no such capability", l->at[i]);
		p->caps[CT_BOUNDING] |= UINT64_C(1) << cap;
		p->caps[CT_PERMITTED] |= UINT64_C(1) << cap;
		p->caps[CT_EFFECTIVE] |= UINT64_C(1) << cap;
		p->caps[CT_AMBIENT] |= UINT64_C(1) << cap & p->caps[CT_INHERITABLE];
		p->has_caps = true;
	}
	return 0;
}

/* From the container's own process and the options. */
static int adapt_process(struct ct_spec *s, const struct oci_args *a, struct err *e)
{
	struct ct_process *p = &s->process;
	int r = 0;

	if (a->n_operands < 2)
		return err_set(e, ERR_SPEC, EINVAL, "process args cannot be empty");
	p->args = arena_alloc(&s->arena, (size_t)a->n_operands * sizeof *p->args);
	if (!p->args)
		return err_oom(e);
	for (int i = 1; i < a->n_operands; i++)
		p->args[i - 1] = a->operands[i];
	p->terminal = a->tty;
	p->no_new_privs |= a->no_new_privs;
	if (a->cwd) {
		if (a->cwd[0] != '/')
			return err_set(e, ERR_SPEC, EINVAL, "--cwd '%s' is not absolute", a->cwd);
		p->cwd = a->cwd;
	}
	if (a->user)
		r = set_user(p, a->user, e);
	if (r == 0 && a->groups.n > 0)
		r = set_groups(s, &a->groups, e);
	if (r == 0 && a->env.n > 0)
		r = add_env(s, &a->env, e);
	return r == 0 ? add_caps(p, &a->caps, e) : r;
}

/* ---- The execution ---- */

static int prepare(struct life *l, struct err *e)
{
	const struct oci_args *a = l->args;
	const char *id = a->operands[0];
	int r = store_open(a, false, &l->store, e);

	if (r == 0)
		r = store_find(&l->store, id, false, &l->dir, e);
	if (r == 0)
		r = state_read(l->dir, id, &l->state, e);
	if (r < 0)
		return r;
	if (l->state.status == OCI_PAUSED && !a->ignore_paused)
		return err_set(e, ERR_BUSY, EBUSY,
			       "cannot exec in a paused container (use --ignore-paused to override): container paused");
	if (l->state.status != OCI_RUNNING && l->state.status != OCI_CREATED && l->state.status != OCI_PAUSED)
		return err_set(e, ERR_LOST, ESRCH, "cannot exec in a stopped container: container not running");
	r = config_copy_read(l->dir, &l->state, &l->spec, e);
	if (r == 0)
		l->spec->warnings = NULL; /* told at create */
	if (r == 0)
		r = a->process ? read_process(l->spec, a->process, e) : adapt_process(l->spec, a, e);
	if (r < 0)
		return r;
	if (a->apparmor)
		l->spec->process.apparmor = a->apparmor;
	if (a->process_label)
		l->spec->process.selinux = a->process_label;
	life_warn(l);
	r = life_check_labels(l->spec, e);
	l->preserve = a->preserve_fds;
	if (r == 0)
		r = life_listen_fds(l->spec, &l->preserve, e);
	return r == 0 ? life_filter(l, e) : r;
}

static int on_placed(struct ct *c, void *arg, struct err *e)
{
	const struct life *l = arg;

	return unit_attach(&l->state, c->pid, e);
}

/* "PATH", or "cpu,memory:PATH" of v1, from the container's own group. */
static int descend(struct cg_group *g, const struct text_list *l, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < l->n; i++) {
		const char *colon = strchr(l->at[i], ':');
		char controllers[128];

		if (!colon) {
			r = cg_group_descend(g, NULL, l->at[i], e);
			continue;
		}
		(void)snprintf(controllers, sizeof controllers, "%.*s", (int)(colon - l->at[i]), l->at[i]);
		r = cg_group_descend(g, controllers, colon + 1, e);
	}
	return r < 0 ? err_ctx(e, r, "--cgroup") : 0;
}

enum { MOVES = 8 };

/* A container that hands controllers down (an init system or a container engine does) has its processes in groups below
 * its own, which nobody may enter then: EBUSY. As with runc, the new one goes to where the first one is. That one may be
 * moved meanwhile. */
static int create(struct life *l, struct err *e)
{
	struct ct *c = &l->ct;
	struct err busy = {0}, ignored = {0};
	int r = ct_create(c, e);

	for (int i = 0; r == -EBUSY && c->group && l->args->cgroups.n == 0 && i < MOVES; i++) {
		busy = *e;
		cg_group_close(&l->group);
		l->has_group = cg_group_find(l->state.cgroup, &l->group, &ignored) == 0;
		if (!l->has_group || !cg_group_follow(&l->group, (pid_t)l->state.pid))
			break;
		*e = (struct err){0};
		c->pid = (pid_t)l->state.pid;
		r = ct_create(c, e);
	}
	return r < 0 && e->kind == ERR_NONE ? err_adopt(e, &busy) : r;
}

static int join(struct life *l, int pidfd, struct err *e)
{
	struct ct *c = &l->ct;
	int r = 0;

	if (unit_is_apart(&l->state)) {
		if (l->args->cgroups.n > 0)
			return err_set(e, ERR_UNSUPPORTED, EOPNOTSUPP,
				       "--cgroup: from here only systemd may move a process into the groups of "
				       "container %s",
				       l->state.id);
		c->place = on_placed;
		c->arg = l;
	} else if (l->state.cgroup[0]) {
		r = cg_group_find(l->state.cgroup, &l->group, e);
		if (r < 0)
			return r;
		l->has_group = true;
		c->group = &l->group;
		r = descend(&l->group, &l->args->cgroups, e);
		if (r < 0)
			return r;
	} else if (l->args->cgroups.n > 0) {
		return err_set(e, ERR_UNSUPPORTED, EOPNOTSUPP, "--cgroup: container %s has no cgroup of its own",
			       l->state.id);
	}
	c->spec = l->spec;
	c->filter = l->filter.len > 0 ? &l->filter : NULL;
	c->console = l->console;
	c->listener = FD_NONE;
	c->join = pidfd;
	c->pid = (pid_t)l->state.pid;
	c->preserve = (unsigned)l->preserve;
	c->unprivileged = life_unprivileged(l->args);
	c->straight = !l->args->pid_file && !l->args->pidfd_socket && !l->spec->rdt.given;
	c->asked = life_agent(&l->agent, l->spec, &l->state);
	r = create(l, e);
	if (r < 0)
		return r;
	if (l->spec->rdt.given) {
		char root[CG_RESCTRL_ROOT];

		r = cg_resctrl_find(root, e);
		if (r == 0)
			r = cg_resctrl_enter(root, &l->spec->rdt, l->state.id, c->pid, e);
	}
	if (r == 0)
		r = life_send_pidfd(l->args->pidfd_socket, c->pidfd, e);
	if (r == 0 && l->args->pid_file)
		r = life_pid_file(l->args->pid_file, c->pid, e);
	if (r < 0)
		ct_abandon(c);
	return r == 0 ? ct_go(c, e) : r;
}

static int open_console(struct life *l, struct foreground *f, struct err *e)
{
	const bool terminal = l->spec->process.terminal;
	int r = 0;

	if (!l->args->detach && !l->args->console_socket) {
		r = foreground_begin(f, terminal, e);
		l->console = take_fd(&f->theirs);
	} else if (terminal) {
		if (!l->args->console_socket)
			return err_set(e, ERR_SPEC, EINVAL,
				       "cannot allocate tty if runc will detach without setting console socket");
		l->console = life_connect(l->args->console_socket, e);
		r = l->console < 0 ? l->console : 0;
	}
	return r;
}

static int exec_main(struct oci_args *a, struct err *e)
{
	struct foreground f = {.ours = FD_NONE, .theirs = FD_NONE, .master = FD_NONE, .signals = FD_NONE};
	struct life l;
	AUTO_FD int pidfd = FD_NONE;
	int r;

	life_init(&l);
	l.args = a;
	r = prepare(&l, e);
	if (r == 0) {
		pidfd = sys_pidfd_open((pid_t)l.state.pid);
		if (pidfd < 0 || process_start(l.state.pid) != l.state.start_ticks)
			r = err_set(e, ERR_LOST, ESRCH, "container not running");
	}
	if (r == 0)
		r = open_console(&l, &f, e);
	if (r == 0)
		r = join(&l, pidfd, e);
	fd_closep(&l.console);
	if (r == 0 && !a->detach) {
		if (!fd_valid(f.signals))
			r = foreground_begin(&f, false, e);
		if (r == 0)
			r = foreground_wait(&f, l.ct.pidfd, e);
	}
	foreground_end(&f);
	life_done(&l);
	return r < 0 ? err_ctx(e, r, "exec failed") : r;
}

static const struct opt exec_options[] = {
	OCI_TEXT("cwd", cwd, 0, "DIR", "working directory"),
	OCI_LIST("env", env, 'e', "NAME=VALUE", "a variable more"),
	OCI_FLAG("tty", tty, 't', "give it a terminal"),
	OCI_TEXT("user", user, 'u', "UID[:GID]", "who it is"),
	OCI_LIST("additional-gids", groups, 'g', "GID", "a group more"),
	OCI_TEXT("process", process, 'p', "FILE", "the process as config.json has it"),
	OCI_FLAG("detach", detach, 'd', "do not wait for its end"),
	OCI_TEXT("pid-file", pid_file, 0, "FILE", "gets the number of the process"),
	OCI_TEXT("process-label", process_label, 0, "LABEL", "its label, where there is SELinux"),
	OCI_TEXT("apparmor", apparmor, 0, "PROFILE", "its profile, where there is AppArmor"),
	OCI_FLAG("no-new-privs", no_new_privs, 0, "nothing that it executes gains rights"),
	OCI_LIST("cap", caps, 'c', "CAPABILITY", "a capability more"),
	OCI_NUMBER("preserve-fds", preserve_fds, 0, "N", "give 3 … 3+N-1 to the process"),
	OCI_FLAG("ignore-paused", ignore_paused, 0, "also when the container is frozen"),
	OCI_LIST("cgroup", cgroups, 0, "[CONTROLLERS:]PATH", "a group below the container's, which exists"),
	OCI_TEXT("console-socket", console_socket, 0, "PATH", "where the terminal's master is sent"),
	OCI_TEXT("pidfd-socket", pidfd_socket, 0, "PATH", "where the process's pidfd is sent"),
};

const struct oci_command oci_exec = {
	.name = "exec",
	.operands = "ID [PROGRAM [ARG...]]",
	.summary = "run one more process in a container",
	.options = {exec_options, ARRAY_LEN(exec_options)},
	.min_operands = 1,
	.max_operands = -1,
	.raw_from = 2,
	.failure = 255,
	.main = exec_main,
};
