/* What a snapshot of a function depends on, and what this process needs to make one. */
#include "base/fd.h"
#include "cell/publish.h"

#include <glob.h>
#include <stdio.h>
#include <sys/resource.h>

enum { FILES_NEEDED = 512, FILES_WANTED = 1024 }; /* tried: with 200 CRIU 4.2 refuses, with 80 it hangs */

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

static int add_code(struct snap_key *k, const struct cell_host *h, const struct cell_spec *s, struct err *e)
{
	const struct spec_code *c = &h->facts.code;
	const char *slash = s->target ? strrchr(s->target, '/') : NULL, *file = slash ? slash + 1 : s->target;
	const char *opened = arena_printf(&k->arena, "/proc/self/fd/%d", h->target_fd);
	int r;

	if (!opened)
		return err_oom(e);
	if (c->image)
		return add_start(k, c->image, e);
	if (c->dir)
		return add_tree(k, "code",
				h->target_path           ? h->target_path
				: fd_valid(h->target_fd) ? opened
							 : s->target,
				e);
	r = add_file(k, "code", s->target, h->target_fd, e);
	return r == 0 ? add_text(k, "file name", file, strlen(file), e) : r;
}

static int add_filter(struct snap_key *k, const char *name, const struct filter *f, struct err *e)
{
	return add_text(k, name, f->insns, f->len * sizeof *f->insns, e);
}

int publish_key(struct snap_key *k, const struct snap_engine *en, const struct cell_host *host,
		const struct cell_spec *s, const struct filter *base, const struct filter *after_init, struct err *e)
{
	char name[SPEC_MAX_NAME + 1];
	const char *function = arena_strdup(&k->arena, spec_function_name(s, name));
	int r = function ? 0 : err_oom(e);

	k->target = s->target ? s->target : s->rootfs;
	k->function = function;
	if (r == 0)
		r = add_code(k, host, s, e);
	if (r == 0)
		r = add_text(k, "function name", function, strlen(function), e);
	if (r == 0)
		r = add_layers(k, s, e);
	if (r == 0)
		r = add_env(k, s, e);
	if (r == 0)
		r = add_runtime(k, &host->facts, !s->rootfs, e);
	if (r == 0)
		r = add_filter(k, "policy", base, e);
	if (r == 0)
		r = add_filter(k, "policy after init", after_init, e);
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

int publish_check(const struct cell_host *h, const struct cell_spec *s, struct err *e)
{
	if (!h->facts.privileged)
		return err_hint(e, err_set(e, ERR_UNSUPPORTED, EPERM, "snapshots need root"),
				"run it as root, or without --snapshot");
	if (h->facts.code.runtime == SPEC_RUNTIME_CUSTOM && s->net == SPEC_NET_HOST)
		return err_hint(
			e,
			err_set(e, ERR_UNSUPPORTED, EOPNOTSUPP,
				"the Runtime API of a custom runtime would listen in the host's network, in every "
				"clone at the same port"),
			"--net loopback, or without --snapshot");
	return raise_files(e);
}
