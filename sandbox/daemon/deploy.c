#include "daemon/deploy.h"

#include "base/fd.h"
#include "daemon/prepare.h"
#include "sys/sys.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>

_Static_assert((int)SPEC_RUNTIME_NATIVE == SPAWN_RUNTIME_NATIVE && (int)SPEC_RUNTIME_PYTHON == SPAWN_RUNTIME_PYTHON &&
		       (int)SPEC_RUNTIME_NODE == SPAWN_RUNTIME_NODE && (int)SPEC_RUNTIME_CUSTOM == SPAWN_RUNTIME_CUSTOM,
	       "runtimes have one number each");

enum { AT_ONCE = 16, AT_ONCE_PER_UID = 4, RELOADS_AT_ONCE = 2, NOTE_MAGIC = 0x66736632 };

/* What fsbox-spawn keeps of a function for the next fsboxd; the rest stands in the store. */
struct note {
	uint32_t magic;
	uint32_t owner;
	char name[NAME_BYTES];
	char digest[DIGEST_BYTES];
};

struct deployment {
	struct daemon *d;
	struct deployment *next;
	struct call *call; /* NULL: its client is gone, or it comes from the store */
	struct function *f;
	bool replace, reload;
	struct prepare_job job;
	size_t n_open; /* files that are open */
	uint64_t open_number;
	int sock;
	pid_t pid;
	struct watch done;
	int pidfd;
	struct spawn_datagram *datagram; /* the FUNCTION, when the child has sent it */
	struct prepared *prepared;
};

static struct deployment *deployments;
static uint64_t last_open;

static void go_on(struct deployment *p);

/* ---- Its end ---- */

static void free_deployment(struct deployment *p)
{
	struct deployment **at = &deployments;

	while (*at && *at != p)
		at = &(*at)->next;
	if (*at)
		*at = p->next;
	for (size_t i = 0; i < p->job.n_files; i++)
		fd_closep(&p->job.files[i].fd);
	loop_remove(&p->d->loop, &p->done);
	fd_closep(&p->sock);
	fd_closep(&p->pidfd);
	if (p->datagram)
		spawn_drop(p->datagram);
	free(p->datagram);
	free(p->prepared);
	if (p->f)
		function_free(p->f);
	free(p);
}

static void reload_next(struct daemon *d);

static void give_up(struct deployment *p, const struct err *e)
{
	struct daemon *d = p->d;
	const bool reload = p->reload;

	if (p->call) {
		p->call->user = NULL;
		answer_err(p->call, e);
	} else {
		daemon_event(d, EV_UNDEPLOYED, p->f, NULL, NULL, err_kind_name(e->kind), e->msg);
	}
	free_deployment(p);
	if (reload)
		reload_next(d);
}

static void answer_deployed(struct call *c, const char *digest, bool created)
{
	struct buf b = {0};
	struct wire_obj o;

	wire_obj_begin(&o, &b);
	wire_obj_string(&o, "digest", digest);
	wire_obj_bool(&o, "created", created);
	wire_obj_end(&o);
	call_reply(c, &b, NULL, 0);
	buf_done(&b);
}

static void answer_exists(struct call *c, const char *name, bool same)
{
	struct buf b = {0};
	struct wire_obj o;

	wire_obj_begin(&o, &b);
	wire_obj_string(&o, "id", name);
	wire_obj_bool(&o, "sameSpec", same);
	wire_obj_end(&o);
	call_error(c, "org.fsbox.Sandbox.AlreadyExists", &b);
	buf_done(&b);
}

/* ---- Reading what is asked for ---- */

static void add_file(struct deployment *p, const char **place, const char *path, int fd, bool directory, bool file)
{
	p->job.files[p->job.n_files++] = (struct prepare_file){
		.place = place, .path = path, .fd = fd, .directory_only = directory, .file_only = file};
}

static int read_spec(struct function *f, struct err *e)
{
	static const struct opt_table *const tables[] = {&spec_opts};
	const char *target = NULL;
	struct cell_spec *s = &f->spec;
	int r = spec_read("spec", f->spec_text, strlen(f->spec_text), tables, 1, s, &s->arena, &target, e);

	if (r < 0)
		return r;
	if (target) {
		char *name = arena_strdup(&s->arena, target);

		if (!name)
			return err_oom(e);
		for (size_t n = strlen(name); n > 1 && name[n - 1] == '/'; n--)
			name[n - 1] = '\0';
		s->target = name;
	}
	if (!s->name)
		s->name = f->name;
	return 0;
}

static int refuse(struct err *e, enum err_kind kind, const char *field, const char *why)
{
	int r = err_set(e, kind, 0, "%s", why);

	return err_where(e, r, "%s", field);
}

static int check_spec(const struct daemon *d, const struct function *f, const struct rights *r, struct err *e)
{
	const struct cell_spec *s = &f->spec;
	struct filter ignored;

	if (s->tmp_dir)
		return refuse(e, ERR_UNSUPPORTED, "tmp-dir", "the daemon gives cells a /tmp in memory only");
	if (s->cgroup_parent)
		return refuse(e, ERR_UNSUPPORTED, "cgroup-parent", "the daemon's cells have one parent for all");
	if (s->no_limits && !r->admin)
		return refuse(e, ERR_DENIED, "no-limits", "cells without limits are for administrators");
	if (s->memory_bytes > d->config.memory_bytes)
		return refuse(e, ERR_SPEC, "mem", "more than the daemon's whole budget");
	if (s->memory_bytes > r->memory_bytes)
		return refuse(e, ERR_DENIED, "mem", "more than the daemon's policy gives this user");
	if (!rights_net(r, s->net))
		return refuse(e, ERR_DENIED, "net", "the daemon's policy does not give this user such a network");
	if (!rights_policy(r, s->policy))
		return refuse(e, ERR_DENIED, "policy", "the daemon's policy does not let this user have it");
	if (!filter_builtin(s->policy, &ignored) && !strchr(s->policy, '/') && !str_ends(s->policy, ".json"))
		return refuse(e, ERR_SPEC, "policy", "no such policy");
	return spec_check(s, UINT64_MAX, e);
}

/* Files, in the order in which they are opened. */
static int list_files(struct deployment *p, const struct json *params, struct err *e)
{
	struct cell_spec *s = &p->f->spec;
	const struct json *layers = wire_get(params, "layerFds");
	const size_t n_layer_fds = layers ? json_length(layers) : 0;
	struct filter ignored;

	if (n_layer_fds > 0 && n_layer_fds != s->n_layers)
		return refuse(e, ERR_SPEC, "layerFds", "as many as the spec has layers, or none");
	if (s->target)
		add_file(p, &p->job.target, s->target,
			 p->call ? call_take_fd(p->call, wire_get_int(params, "codeFd", -1)) : FD_NONE, false, false);
	else if (wire_get(params, "codeFd"))
		return refuse(e, ERR_SPEC, "codeFd", "the spec has no target that it could be");
	if (s->rootfs)
		add_file(p, &s->rootfs, s->rootfs,
			 p->call ? call_take_fd(p->call, wire_get_int(params, "rootfsFd", -1)) : FD_NONE, true, false);
	for (size_t i = 0; i < s->n_layers; i++)
		add_file(p, &s->layers[i], s->layers[i],
			 i < n_layer_fds ? call_take_fd(p->call, json_integer_get(json_at(layers, i))) : FD_NONE, false,
			 false);
	for (size_t i = 0; i < s->n_secrets; i++)
		add_file(p, &s->secrets[i].file, s->secrets[i].file, FD_NONE, false, true);
	if (!filter_builtin(s->policy, &ignored))
		add_file(p, &p->job.policy, s->policy, FD_NONE, false, true);
	return 0;
}

static int copy_groups(struct function *f, const struct peer *peer, struct err *e)
{
	f->gid = peer->gid;
	if (peer->n_groups == 0)
		return 0;
	f->groups = malloc(peer->n_groups * sizeof f->groups[0]);
	if (!f->groups)
		return err_oom(e);
	memcpy(f->groups, peer->groups, peer->n_groups * sizeof f->groups[0]);
	f->n_groups = peer->n_groups;
	return 0;
}

static struct deployment *begin(struct daemon *d, struct function *f)
{
	struct deployment *p = f ? calloc(1, sizeof *p) : NULL;

	if (!p) {
		function_free(f);
		return NULL;
	}
	*p = (struct deployment){.d = d, .f = f, .sock = FD_NONE, .pidfd = FD_NONE, .next = deployments};
	p->job.spec = &f->spec;
	p->job.name = f->name;
	p->job.runtime_dir = d->runtime_dir;
	deployments = p;
	return p;
}

static bool too_many(uid_t uid)
{
	size_t all = 0, own = 0;

	for (const struct deployment *p = deployments; p; p = p->next) {
		all++;
		own += p->f && p->f->owner == uid;
	}
	return all >= AT_ONCE || own >= AT_ONCE_PER_UID;
}

static void set_numbers(struct function *f, const struct json *params)
{
	f->provisioned = (uint32_t)wire_get_int(params, "provisioned", 0);
	f->reserved = (uint32_t)wire_get_int(params, "reserved", 0);
	f->max_cells = (uint32_t)wire_get_int(params, "maxCells", 0);
}

static int read_call(struct deployment *p, const struct peer *peer, struct err *e)
{
	const struct json *params = p->call->params;
	struct buf text = {0};
	int r = copy_groups(p->f, peer, e);

	json_dump_to(&text, wire_get(params, "spec"));
	if (text.failed)
		return err_oom(e);
	p->f->spec_text = text.data;
	set_numbers(p->f, params);
	p->replace = wire_get_bool(params, "replace");
	p->job.spec_text = p->f->spec_text;
	if (r == 0)
		r = read_spec(p->f, e);
	if (r == 0)
		r = check_spec(p->d, p->f, function_rights(p->f), e);
	return r == 0 ? list_files(p, params, e) : r;
}

void method_deploy(struct daemon *d, struct call *c)
{
	const struct peer *peer = call_peer(c);
	struct deployment *p;
	struct err e = {0};

	if (too_many(peer->uid)) {
		(void)err_set(&e, ERR_CAPACITY, EBUSY, "too many deployments are under way");
		answer_err(c, &e);
		return;
	}
	p = begin(d, function_new(d, peer->uid, wire_get_string(c->params, "name")));
	if (!p) {
		(void)err_oom(&e);
		answer_err(c, &e);
		return;
	}
	p->call = c;
	c->user = p;
	if (read_call(p, peer, &e) < 0) {
		give_up(p, &e);
		return;
	}
	call_drop_params(c);
	go_on(p);
}

/* ---- Opening ---- */

static bool in_roots(const struct deployment *p, int fd)
{
	char link[40], path[SPAWN_MAX_PATH];
	ssize_t n;

	(void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof path - 1);
	if (n <= 0)
		return false;
	path[n] = '\0';
	return rights_root(function_rights(p->f), path);
}

static int check_opened(const struct deployment *p, const struct prepare_file *f, struct err *e)
{
	int r;

	if (in_roots(p, f->fd))
		return 0;
	r = err_set(e, ERR_DENIED, 0, "'%s' lies in none of the directories that the daemon's policy allows", f->path);
	return r;
}

static int ask_to_open(struct deployment *p, const struct prepare_file *f, struct err *e)
{
	struct spawn_open m;
	const size_t len = strlen(f->path);
	const int fd = conn_fd(p->call->conn);

	if (f->path[0] != '/' || len >= sizeof m.path)
		return err_set(e, ERR_SPEC, 0, "'%s' is not an absolute path, and no descriptor came for it", f->path);
	spawn_begin(&m, SPAWN_OPEN, sizeof m);
	m.number = p->open_number = ++last_open;
	m.directory = f->directory_only ? 1 : f->file_only ? 0 : 2;
	m.path_len = (uint32_t)len;
	memcpy(m.path, f->path, len);
	return link_send(p->d->link, &m, &fd, 1) ? 0 : err_oom(e);
}

void deploy_opened(struct daemon *d, const struct spawn_opened *m, int *fd)
{
	struct deployment *p = deployments;
	struct prepare_file *f;
	struct err e = {0};

	(void)d;
	while (p && p->open_number != m->number)
		p = p->next;
	if (!p || p->n_open >= p->job.n_files)
		return;
	f = &p->job.files[p->n_open];
	p->open_number = 0;
	if (m->code != 0) {
		(void)err_set(&e, m->code == ENOENT || m->code == ENOTDIR ? ERR_NOT_FOUND : ERR_DENIED, m->code,
			      "'%s': %s", f->path, strerrordesc_np(m->code) ?: "?");
		give_up(p, &e);
		return;
	}
	f->fd = take_fd(fd);
	go_on(p);
}

/* ---- The child ---- */

static void child_done(void *arg, uint32_t events);

static int start_child(struct deployment *p, struct err *e)
{
	AUTO_FD int theirs = FD_NONE;
	int sv[2], r;

	p->datagram = calloc(1, sizeof *p->datagram);
	p->prepared = calloc(1, sizeof *p->prepared);
	if (!p->datagram || !p->prepared)
		return err_oom(e);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
		return err_sys(e, errno, "a socket pair");
	p->sock = sv[0];
	theirs = sv[1];
	r = p->pid = sys_clone3(
		&(struct clone_args){.flags = CLONE_PIDFD, .pidfd = (uintptr_t)&p->pidfd, .exit_signal = SIGCHLD});
	if (r == 0)
		prepare_main(&p->job, theirs);
	if (r < 0)
		return err_sys(e, r, "starting the look at the files");
	return loop_add(&p->d->loop, &p->done, p->pidfd, EPOLLIN, child_done, p, e);
}

static void go_on(struct deployment *p)
{
	struct err e = {0};
	int r = 0;

	for (; r == 0 && p->n_open < p->job.n_files; p->n_open++) {
		struct prepare_file *f = &p->job.files[p->n_open];

		if (!fd_valid(f->fd) && p->reload)
			continue; /* by the child, with what everybody may */
		if (!fd_valid(f->fd) && !p->call)
			r = err_set(&e, ERR_CANCELLED, ECANCELED, "its client is gone");
		else if (!fd_valid(f->fd)) {
			r = ask_to_open(p, f, &e);
			if (r == 0)
				return; /* deploy_opened() */
		} else {
			r = check_opened(p, f, &e);
		}
	}
	if (r == 0)
		r = start_child(p, &e);
	if (r < 0)
		give_up(p, &e);
}

/* One datagram with its locks. */
static int receive_prepared(struct deployment *p, struct err *e)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE((1 + SPEC_MAX_LAYERS) * sizeof(int))];
	} control;
	struct iovec iov = {p->prepared, sizeof *p->prepared};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.space,
			     .msg_controllen = sizeof control.space};
	ssize_t n = recvmsg(p->sock, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	const struct cmsghdr *cmsg = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;
	struct cell_code *code = &p->f->code;
	const struct prepared *got = p->prepared;

	if (cmsg && cmsg->cmsg_level == SOL_SOCKET && cmsg->cmsg_type == SCM_RIGHTS) {
		const size_t fds = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		for (size_t i = 0; i < fds && code->n_packages < ARRAY_LEN(code->packages); i++)
			memcpy(&code->packages[code->n_packages++].lock, CMSG_DATA(cmsg) + i * sizeof(int),
			       sizeof(int));
	}
	if (n < (ssize_t)offsetof(struct prepared, filter))
		return err_set(e, ERR_SYSTEM, ETIMEDOUT,
			       "the look at the function's files ended early, or took over %d s", PREPARE_SECONDS);
	if (got->err.kind != ERR_NONE)
		return err_adopt(e, &got->err);
	if (got->n_filter > ARRAY_LEN(got->filter) ||
	    (size_t)n < offsetof(struct prepared, filter) + got->n_filter * sizeof got->filter[0] ||
	    !memchr(got->digest, '\0', sizeof got->digest) || got->runtime < SPAWN_RUNTIME_NATIVE ||
	    got->runtime > SPAWN_RUNTIME_CUSTOM)
		return err_set(e, ERR_BUG, EPROTO, "the look at the files gave nonsense");
	return 0;
}

static int take_prepared(struct deployment *p, struct err *e)
{
	struct function *f = p->f;
	const struct prepared *got = p->prepared;
	int r = receive_prepared(p, e);

	if (r == 0)
		r = spawn_receive(p->sock, p->datagram, SPAWN_TO_SPAWN, e);
	if (r == 0 || r == -EAGAIN)
		r = err_set(e, ERR_SYSTEM, EPIPE, "the look at the function's files ended early");
	if (r < 0)
		return r;
	if (p->datagram->head.word != SPAWN_FUNCTION)
		return err_set(e, ERR_BUG, EPROTO, "the look at the files gave nonsense");
	(void)snprintf(f->digest, sizeof f->digest, "%s", got->digest);
	f->runtime = (enum spec_runtime)got->runtime;
	if (got->n_filter > 0) {
		f->filter.insns = malloc(got->n_filter * sizeof got->filter[0]);
		if (!f->filter.insns)
			return err_oom(e);
		memcpy(f->filter.insns, got->filter, got->n_filter * sizeof got->filter[0]);
		f->filter.len = got->n_filter;
	}
	return 0;
}

static double share_of(const struct daemon *d, uint64_t memory_bytes)
{
	const struct cg_cpu cpu = cg_cpu_of_memory(memory_bytes, d->n_cpus);

	return (double)cpu.quota_us / (double)cpu.period_us;
}

static int define(struct deployment *p, struct err *e)
{
	struct function *f = p->f;
	struct spawn_function *m = &p->datagram->function;
	struct note note = {.magic = NOTE_MAGIC, .owner = f->owner};

	(void)snprintf(note.name, sizeof note.name, "%s", f->name);
	(void)snprintf(note.digest, sizeof note.digest, "%s", f->digest);
	f->number = m->function = ++p->d->last_function;
	f->share = share_of(p->d, f->spec.memory_bytes);
	m->note_len = sizeof note;
	memcpy(m->note, &note, sizeof note);
	if (!link_send(p->d->link, m, p->datagram->fds, p->datagram->n_fds))
		return err_oom(e);
	return 0; /* deploy_done() */
}

static bool same(const struct function *a, const struct function *b)
{
	return strcmp(a->digest, b->digest) == 0 && a->provisioned == b->provisioned && a->reserved == b->reserved &&
	       a->max_cells == b->max_cells;
}

static void child_done(void *arg, uint32_t events)
{
	struct deployment *p = arg;
	const struct function *there;
	struct err e = {0};
	int r;

	(void)events;
	loop_remove(&p->d->loop, &p->done);
	(void)waitpid(p->pid, NULL, 0); /* the pidfd says that it has ended */
	r = take_prepared(p, &e);
	there = function_find(p->d, p->f->owner, p->f->name);
	if (r == 0 && there && (same(there, p->f) || !p->replace)) {
		if (p->call) {
			p->call->user = NULL;
			if (same(there, p->f))
				answer_deployed(p->call, there->digest, false);
			else
				answer_exists(p->call, there->name, strcmp(there->digest, p->f->digest) == 0);
		}
		free_deployment(p);
		return;
	}
	if (r == 0)
		r = define(p, &e);
	if (r < 0)
		give_up(p, &e);
}

/* ---- Known to fsbox-spawn ---- */

/* What waited for the old one is for the new one. */
static void replace_old(struct function *old, struct function *f)
{
	while (old->queue) {
		struct invocation *v = old->queue;

		invocation_move(v, f);
	}
	deploy_forget(old, "replaced");
}

static void keep(const struct function *f)
{
	const struct stored row = {
		.owner = f->owner,
		.gid = f->gid,
		.groups = f->groups,
		.n_groups = f->n_groups,
		.name = f->name,
		.digest = f->digest,
		.spec = f->spec_text,
		.path = f->spec.target && f->spec.target[0] == '/' ? f->spec.target : "",
		.provisioned = f->provisioned,
		.reserved = f->reserved,
		.max_cells = f->max_cells,
		.created_ms = f->created_ms,
	};
	struct err e = {0};
	uint32_t number;

	/* A store that fails costs the function's life beyond this daemon's, not the function. */
	if (store_put(&f->d->store, &row, &number, &e) < 0)
		daemon_complain(&e);
}

void deploy_done(struct daemon *d, const struct spawn_done *m)
{
	struct deployment *p = deployments;
	struct function *old, *f;
	struct err e = {0};
	bool reload;

	while (p && (!p->f || p->f->number != m->number))
		p = p->next;
	if (!p)
		return;
	if (m->err.kind != ERR_NONE) {
		(void)err_adopt(&e, &m->err);
		give_up(p, &e);
		return;
	}
	f = p->f;
	p->f = NULL;
	reload = p->reload;
	old = function_find(d, f->owner, f->name);
	f->defined = true;
	function_add(f);
	if (old)
		replace_old(old, f);
	daemon_event(d, EV_DEPLOYED, f, NULL, NULL, NULL, f->digest);
	if (!reload)
		keep(f);
	if (p->call) {
		p->call->user = NULL;
		answer_deployed(p->call, f->digest, true);
	}
	free_deployment(p);
	invocation_provision(f);
	if (reload)
		reload_next(d);
}

void deploy_client_gone(struct daemon *d, struct call *c)
{
	struct deployment *p = c->user;

	(void)d;
	if (p)
		p->call = NULL;
	c->user = NULL;
	answer_done(c);
}

void deploy_forget(struct function *f, const char *why)
{
	struct daemon *d = f->d;
	struct err e = {0};

	(void)err_set(&e, ERR_NOT_FOUND, 0, "the function was %s", why);
	daemon_event(d, EV_UNDEPLOYED, f, NULL, NULL, NULL, why);
	function_forget(f);
	invocation_refuse_all(f, "NotFound", &e);
	for (struct unit *u = d->units, *next; u; u = next) {
		next = u->next;
		if (u->f == f && u->state != UNIT_BUSY && !u->leased)
			unit_leave(u, why);
	}
	function_release(f);
}

void method_undeploy(struct daemon *d, struct call *c)
{
	const uid_t owner = call_peer(c)->uid;
	const char *name = wire_get_string(c->params, "name");
	struct function *f = function_find(d, owner, name);
	struct err e = {0};
	bool existed = false;

	if (store_remove(&d->store, owner, name, &existed, &e) < 0)
		daemon_complain(&e);
	if (f)
		deploy_forget(f, "undeployed");
	answer_existed(c, f || existed);
}

/* ---- From before ---- */

/* While the store is being read nothing else may be done with it: what is found is gone on with afterwards. */
struct search {
	struct daemon *d;
	const char *digest; /* that of the note, or NULL */
	struct function *found;
};

static struct function *from_row(struct daemon *d, const struct stored *row)
{
	struct function *f = function_new(d, row->owner, row->name);
	struct err e = {0};

	if (!f)
		return NULL;
	f->gid = row->gid;
	f->n_groups = row->n_groups;
	f->groups = row->n_groups > 0 ? malloc(row->n_groups * sizeof f->groups[0]) : NULL;
	if (f->groups)
		memcpy(f->groups, row->groups, row->n_groups * sizeof f->groups[0]);
	f->spec_text = strdup(row->spec);
	(void)snprintf(f->digest, sizeof f->digest, "%s", row->digest);
	f->provisioned = (uint32_t)row->provisioned;
	f->reserved = (uint32_t)row->reserved;
	f->max_cells = (uint32_t)row->max_cells;
	f->created_ms = row->created_ms;
	if ((row->n_groups > 0 && !f->groups) || !f->spec_text || read_spec(f, &e) < 0) {
		function_free(f);
		return NULL;
	}
	f->share = share_of(d, f->spec.memory_bytes);
	return f;
}

static int match(const struct stored *row, void *arg)
{
	struct search *s = arg;

	if (strcmp(row->digest, s->digest) == 0)
		s->found = from_row(s->d, row);
	return 1;
}

void deploy_known(struct daemon *d, const struct spawn_function *m)
{
	struct note note = {0};
	struct search s = {.d = d, .digest = note.digest};
	struct filter base = {0};
	struct err e = {0};

	if (m->note_len == sizeof note)
		memcpy(&note, m->note, sizeof note);
	note.name[sizeof note.name - 1] = note.digest[sizeof note.digest - 1] = '\0';
	if (m->function > d->last_function)
		d->last_function = m->function;
	if (!(m->flags & SPAWN_FORGOTTEN) && note.magic == NOTE_MAGIC)
		(void)!store_find(&d->store, note.owner, note.name, match, &s, &e);
	/* A policy from a file cannot be opened again by us. */
	if (s.found && policy_load(s.found->spec.policy, &base, &s.found->filter, &e) < 0) {
		function_free(s.found);
		s.found = NULL;
	}
	policy_unload(&base, &(struct filter){0});
	if (!s.found) {
		(void)!link_number(d->link, SPAWN_FORGET, m->function);
		return;
	}
	s.found->number = m->function;
	s.found->runtime = (enum spec_runtime)m->runtime;
	s.found->defined = true;
	function_add(s.found);
}

static int next_stored(const struct stored *row, void *arg)
{
	struct search *s = arg;

	s->d->reloaded = row->number;
	if (!function_find(s->d, row->owner, row->name))
		s->found = from_row(s->d, row);
	return s->found != NULL;
}

static void reload(struct daemon *d, struct function *f)
{
	struct deployment *p = begin(d, f);
	struct err e = {0};

	if (!p)
		return;
	p->reload = true;
	p->job.spec_text = f->spec_text;
	p->job.expected_digest = f->digest;
	if (check_spec(d, f, function_rights(f), &e) < 0 || list_files(p, NULL, &e) < 0)
		give_up(p, &e);
	else
		go_on(p);
}

/* Some at a time: there may be hundreds. */
static void reload_next(struct daemon *d)
{
	struct search s = {.d = d};
	struct err e = {0};

	if (store_from(&d->store, d->reloaded, next_stored, &s, &e) < 0)
		daemon_complain(&e);
	if (s.found)
		reload(d, s.found);
}

void deploy_stored(struct daemon *d)
{
	for (int i = 0; i < RELOADS_AT_ONCE; i++)
		reload_next(d);
	for (struct function *f = d->functions; f; f = f->next)
		invocation_provision(f);
}
