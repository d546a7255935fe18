#include "daemon/deployment.h"

#include "base/fd.h"

static void add_file(struct deployment *p, const char **place, const char *path, int fd, bool directory, bool file)
{
	p->job.files[p->job.n_files++] = (struct prepare_file){.place = place,
							       .path = path,
							       .fd = fd,
							       .directory_only = directory,
							       .file_only = file,
							       .sent = fd_valid(fd)};
}

int deploy_read_spec(struct function *f, struct err *e)
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

int deploy_check_spec(const struct daemon *d, const struct function *f, const struct rights *r, struct err *e)
{
	const struct cell_spec *s = &f->spec;
	struct filter ignored;

	if (f->snapshot.wish != WISH_NO && !d->can_snapshot)
		return refuse(e, ERR_UNSUPPORTED, "snapshot", "this daemon has no CRIU, or is not root's");
	if (s->tmp_dir)
		return refuse(e, ERR_UNSUPPORTED, "tmp-dir", "the daemon gives cells a /tmp in memory only");
	if (s->cgroup_parent)
		return refuse(e, ERR_UNSUPPORTED, "cgroup-parent", "the daemon's cells have one parent for all");
	if (s->no_limits && d->limits)
		return refuse(e, ERR_DENIED, "no-limits", "every cell of this daemon has limits");
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
int deploy_list_files(struct deployment *p, const struct json *params, struct err *e)
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
