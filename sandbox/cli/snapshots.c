#include "cli/cli.h"

#include "base/fd.h"

#include <glob.h>
#include <stdio.h>
#include <sys/resource.h>

enum { FILES_NEEDED = 512, FILES_WANTED = 1024 }; /* tried: with 200 CRIU 4.2 refuses, with 80 it hangs */

int snapshot_wish_parse(struct snapshot_wish *w, const char *option, const char *value, struct err *e)
{
	*w = (struct snapshot_wish){.wanted = true};
	if (!value)
		return 0;
	if (strcmp(value, "require") == 0) {
		w->require = true;
	} else if (strcmp(value, "unseeded") == 0) {
		w->unseeded = true;
	} else if (strlen(value) >= 6 && strspn(value, "0123456789abcdef") == strlen(value)) {
		w->id = value;
		w->require = true; /* this one was asked for, and no other will do */
	} else {
		return err_set(e, ERR_SPEC, 0,
			       "--%s: expected an id (6 or more of its hex digits), require or unseeded, got '%s'",
			       option, value);
	}
	return 0;
}

void snapshot_use_init(struct snapshot_use *u)
{
	*u = (struct snapshot_use){.store = {.dir = FD_NONE}};
	snap_init(&u->snap);
}

/* ---- the key ---- */

static int add_text(struct snap_key *k, const char *name, const void *text, size_t len, struct err *e)
{
	return snap_key_add(
		k, &(struct snap_part){.name = name, .kind = SNAP_TEXT, .text = text, .len = len, .fd = FD_NONE}, e);
}

static int add_file(struct snap_key *k, const char *name, const char *path, int fd, struct err *e)
{
	return snap_key_add(k, &(struct snap_part){.name = name, .kind = SNAP_FILE, .text = path, .fd = fd}, e);
}

static int add_tree(struct snap_key *k, const char *name, const char *path, struct err *e)
{
	return snap_key_add(k, &(struct snap_part){.name = name, .kind = SNAP_TREE, .text = path, .fd = FD_NONE}, e);
}

static int add_env(struct snap_key *k, const struct cell_spec *s, struct err *e)
{
	struct buf all = {0};
	const char *text;

	for (size_t i = 0; i < s->n_env; i++)
		buf_add(&all, s->env[i], strlen(s->env[i]) + 1);
	text = all.failed ? NULL : arena_memdup(&k->arena, all.data ? all.data : "", all.len);
	const size_t len = all.len;
	buf_done(&all);
	return text ? add_text(k, "environment", text, len, e) : err_oom(e);
}

static int add_layers(struct snap_key *k, const struct cell_spec *s, struct err *e)
{
	for (size_t i = 0; i < s->n_layers; i++) {
		const char *name = arena_printf(&k->arena, "layer %zu", i + 1);
		int r = name ? add_tree(k, name, s->layers[i], e) : err_oom(e);

		if (r < 0)
			return r;
	}
	return s->rootfs ? add_tree(k, "root file system", s->rootfs, e) : 0;
}

/* Modules that no package manager of the host's knows: pip's. */
static int add_local_packages(struct snap_key *k, struct err *e)
{
	glob_t found = {0};
	int r = 0;

	if (glob("/usr/local/lib/python3*/dist-packages", GLOB_NOSORT, NULL, &found) == 0)
		for (size_t i = 0; r == 0 && i < found.gl_pathc; i++) {
			const char *name = arena_printf(&k->arena, "local modules %zu", i + 1);
			const char *path = arena_strdup(&k->arena, found.gl_pathv[i]);

			r = name && path ? add_tree(k, name, path, e) : err_oom(e);
		}
	globfree(&found);
	return r;
}

/* What an interpreter has read from the host's userland is not mapped, so nothing in the image tells of it. The package
 * manager's own record changes with every package. */
static int add_userland(struct snap_key *k, const struct spec_code *c, struct err *e)
{
	static const char status[] = "/var/lib/dpkg/status";
	int r = add_file(k, "interpreter's file", c->interpreter, FD_NONE, e);

	if (r == 0 && access(status, R_OK) == 0)
		r = add_file(k, "packages", status, FD_NONE, e);
	return r == 0 && c->runtime == SPEC_RUNTIME_PYTHON ? add_local_packages(k, e) : r;
}

/* The function's clocks go on from where they were: not so after a boot (docs/decisions/013). */
static int add_boot(struct snap_key *k, struct err *e)
{
	struct snap_clock now;
	const char *boot;
	int r = snap_clock_now(&now, e);

	if (r < 0)
		return r;
	boot = arena_strdup(&k->arena, now.boot_id);
	return boot ? add_text(k, "boot", boot, strlen(boot), e) : err_oom(e);
}

/* Who takes the code, and what that is made of besides the libraries that it maps. */
static int add_runtime(struct snap_key *k, const struct host_facts *h, bool host_userland, struct err *e)
{
	static const char *const files[] = {
		[SPEC_RUNTIME_NATIVE] = "native",
		[SPEC_RUNTIME_PYTHON] = "python",
		[SPEC_RUNTIME_NODE] = "node",
		[SPEC_RUNTIME_CUSTOM] = "api",
	};
	const struct spec_code *c = &h->code;
	const char *name = spec_runtime_name(c->runtime);
	const char *path = arena_printf(&k->arena, "%s/%s", h->runtime_dir, files[c->runtime]);
	const char *assist = arena_printf(&k->arena, "%s/assist.so", h->runtime_dir);
	int r = path && assist ? 0 : err_oom(e);

	if (r == 0)
		r = c->interpreter ? add_tree(k, "runtime", path, e) : add_file(k, "runtime", path, FD_NONE, e);
	/* Before there were others, and it was not said: those snapshots keep their ids. */
	if (r == 0 && c->runtime != SPEC_RUNTIME_NATIVE)
		r = add_text(k, "kind of runtime", name, strlen(name), e);
	if (r == 0 && c->handler && c->runtime != SPEC_RUNTIME_NATIVE)
		r = add_text(k, "handler", c->handler, strlen(c->handler), e);
	if (r < 0 || !c->interpreter)
		return r;
	r = add_file(k, "assist", assist, FD_NONE, e);
	if (r == 0)
		r = add_text(k, "interpreter", c->interpreter, strlen(c->interpreter), e);
	return r == 0 && host_userland ? add_userland(k, c, e) : r;
}

/* What an image executes is part of its root, which is in the key as a whole; here are the words. */
static int add_start(struct snap_key *k, const struct spec_image *image, struct err *e)
{
	const char *const *const lists[] = {image->args, image->env};
	struct buf all = {0};
	const char *text;

	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		for (const char *const *s = lists[i]; *s; s++)
			buf_add(&all, *s, strlen(*s) + 1);
		buf_add(&all, "", 1);
	}
	buf_puts(&all, image->cwd);
	text = all.failed ? NULL : arena_memdup(&k->arena, all.data, all.len);
	const size_t len = all.len;
	buf_done(&all);
	return text ? add_text(k, "command of the image", text, len, e) : err_oom(e);
}

static int add_code(struct snap_key *k, const struct invoker *inv, struct err *e)
{
	const struct cell_spec *s = inv->spec;
	const struct spec_code *c = &inv->host->facts.code;
	const char *slash = s->target ? strrchr(s->target, '/') : NULL, *file = slash ? slash + 1 : s->target;
	int r;

	if (c->image)
		return add_start(k, c->image, e);
	if (c->dir)
		return add_tree(k, "code", inv->host->target_path ? inv->host->target_path : s->target, e);
	r = add_file(k, "code", s->target, inv->host->target_fd, e);
	return r == 0 ? add_text(k, "file name", file, strlen(file), e) : r;
}

static int fill_key(struct snap_key *k, const struct snap_engine *en, const struct invoker *inv, struct err *e)
{
	const struct cell_spec *s = inv->spec;
	const struct host_facts *h = &inv->host->facts;
	char name[SPEC_MAX_NAME + 1];
	const char *function = arena_strdup(&k->arena, spec_function_name(s, name));
	int r = function ? 0 : err_oom(e);

	k->target = s->target ? s->target : s->rootfs;
	k->function = function;
	if (r == 0)
		r = add_code(k, inv, e);
	if (r == 0)
		r = add_text(k, "function name", function, strlen(function), e);
	if (r == 0)
		r = add_layers(k, s, e);
	if (r == 0)
		r = add_env(k, s, e);
	if (r == 0)
		r = add_runtime(k, h, !s->rootfs, e);
	if (r == 0)
		r = add_text(k, "policy", inv->base.insns, inv->base.len * sizeof *inv->base.insns, e);
	if (r == 0)
		r = add_text(k, "policy after init", inv->runtime.insns, inv->runtime.len * sizeof *inv->runtime.insns,
			     e);
	if (r == 0)
		r = add_text(k, "network", spec_net_name(s->net), strlen(spec_net_name(s->net)), e);
	if (r == 0)
		r = add_boot(k, e);
	return r == 0 ? snap_key_add_host(k, en, e) : r;
}

/* CRIU keeps its own descriptors above the function's, and says nothing helpful where there is no room for them. */
static int raise_files(struct err *e)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		return err_sys(e, errno, "getrlimit");
	if (files.rlim_cur >= FILES_WANTED)
		return 0;
	files.rlim_cur = files.rlim_max < FILES_WANTED ? files.rlim_max : FILES_WANTED;
	if (files.rlim_max < FILES_NEEDED || setrlimit(RLIMIT_NOFILE, &files) < 0)
		return err_hint(e,
				err_set(e, ERR_UNSUPPORTED, EMFILE,
					"at most %llu open files are allowed here, snapshots need %d",
					(unsigned long long)files.rlim_max, FILES_NEEDED),
				"ulimit -n 1024");
	return 0;
}

int snapshot_open(struct snapshot_use *u, const struct invoker *inv, struct err *e)
{
	int r;

	if (!inv->host->facts.privileged)
		return err_hint(e, err_set(e, ERR_UNSUPPORTED, EPERM, "snapshots need root"),
				"run it as root, or without --snapshot");
	if (inv->host->facts.code.runtime == SPEC_RUNTIME_CUSTOM && inv->spec->net == SPEC_NET_HOST)
		return err_hint(
			e,
			err_set(e, ERR_UNSUPPORTED, EOPNOTSUPP,
				"the Runtime API of a custom runtime would listen in the host's network, in every "
				"clone at the same port"),
			"--net loopback, or without --snapshot");
	r = raise_files(e);
	if (r == 0)
		r = snap_engine_find(inv->host->facts.runtime_dir, &u->engine, e);
	if (r == 0)
		r = snap_store_open(NULL, true, &u->store, e);
	if (r < 0)
		return r;
	publish_use_engine(inv->host, &u->engine);
	return fill_key(&u->key, &u->engine, inv, e);
}

int snapshot_publish(struct snapshot_use *u, const struct invoker *inv, struct err *e)
{
	struct publisher p = {
		.host = inv->host,
		.spec = inv->spec,
		.base = &inv->base,
		.policy = inv->policy,
		.sink = inv->sink,
		.store = &u->store,
		.key = &u->key,
		.signal_fd = inv->signal_fd,
	};
	const struct invoke_observer *o = inv->observer;
	int r = publish(&p, &u->snap, e);

	/* Always printed when a snapshot is made, as Lambda does. */
	if (p.init_ns > 0)
		o->init_report(o->arg, "snapshot", p.error_type[0] ? "error" : "success", p.error_type, p.init_ns);
	u->open = r == 0;
	return r;
}

/* ---- for a run ---- */

static int find_wanted(struct snapshot_use *u, const struct snapshot_wish *w, const struct invoker *inv, struct err *e)
{
	char reason[256] = "";
	bool same = false;
	int r;

	if (w->id) {
		r = snap_open(&u->store, w->id, &u->snap, e);
		u->open = r == 0;
		if (r == 0)
			r = snap_matches(&u->snap, &u->key, &same, reason, sizeof reason, e);
		return r < 0 || same
			       ? r
			       : err_set(e, ERR_SNAPSHOT_MISMATCH, 0,
					 "snapshot %.12s does not belong to this function: %s", u->snap.m.id, reason);
	}
	r = snap_find(&u->store, &u->key, &u->snap, reason, sizeof reason, e);
	u->open = r == 1;
	return r == 0 ? snapshot_publish(u, inv, e) : r;
}

/* What the image needs beside CRIU must fit into the call's memory. */
static int check_fit(const struct snap *s, const struct cell_spec *spec, const struct snapshot_wish *w, struct err *e)
{
	if (s->m.page_bytes > spec->memory_bytes)
		return err_set(e, ERR_LIMIT, ENOMEM, "snapshot %.12s holds %llu MiB of memory, --mem is %llu", s->m.id,
			       (unsigned long long)(s->m.page_bytes >> 20),
			       (unsigned long long)(spec->memory_bytes >> 20));
	if (s->m.features & SNAP_NOT_RESEEDED && !w->unseeded)
		return err_hint(e,
				err_set(e, ERR_UNSUPPORTED, 0,
					"snapshot %.12s is not reseeded: its clones would draw the same values",
					s->m.id),
				"--snapshot=unseeded, when that does no harm");
	return 0;
}

int snapshot_use(struct snapshot_use *u, const struct snapshot_wish *w, struct invoker *inv, struct err *e)
{
	struct err why = {0};
	int r;

	if (!w->wanted)
		return 0;
	r = snapshot_open(u, inv, &why);
	if (r == 0)
		r = find_wanted(u, w, inv, &why);
	if (r >= 0)
		r = check_fit(&u->snap, inv->spec, w, &why);
	if (r == 0) {
		inv->snap = &u->snap;
		inv->snap_required = w->require;
		return 0;
	}
	if (why.kind == ERR_CANCELLED || w->require) {
		*e = why; /* with its place and remedy */
		return r;
	}
	inv->observer->fallback(inv->observer->arg, &why);
	return 0;
}

void snapshot_use_done(struct snapshot_use *u, struct invoker *inv)
{
	if (inv->host->engine)
		publish_keep_kdat(inv->host);
	inv->host->engine = NULL;
	if (u->open)
		snap_close(&u->snap);
	snap_key_done(&u->key);
	snap_store_close(&u->store);
}
