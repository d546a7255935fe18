/* A function as it comes over wire/spawn.h: its datagram and its descriptors, looked at and made into what cells are
 * built of. */
#include "cell/function.h"

#include "base/fd.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

_Static_assert((int)SPAWN_MAX_LAYERS == (int)SPEC_MAX_LAYERS && (int)SPAWN_MAX_SECRETS == (int)SPEC_MAX_SECRETS &&
		       (int)SPAWN_MAX_ENV == (int)SPEC_MAX_ENV && (int)SPAWN_MAX_ENV_BYTES == (int)SPEC_MAX_ENV_BYTES &&
		       (int)SPAWN_MAX_ARGS == (int)IMAGE_MAX_ARGS && (int)SPAWN_MAX_IMAGE_ENV == (int)IMAGE_MAX_ENV,
	       "a function may be what a spec may be");
_Static_assert((int)SPAWN_NET_LOOPBACK == (int)SPEC_NET_LOOPBACK && (int)SPAWN_NET_NONE == (int)SPEC_NET_NONE &&
		       (int)SPAWN_NET_HOST == (int)SPEC_NET_HOST &&
		       (int)SPAWN_RUNTIME_NATIVE == (int)SPEC_RUNTIME_NATIVE &&
		       (int)SPAWN_RUNTIME_PYTHON == (int)SPEC_RUNTIME_PYTHON &&
		       (int)SPAWN_RUNTIME_NODE == (int)SPEC_RUNTIME_NODE &&
		       (int)SPAWN_RUNTIME_CUSTOM == (int)SPEC_RUNTIME_CUSTOM,
	       "the same numbers");

/* ---- Descriptors ---- */

/* Opened for reading by somebody who was allowed to: what is opened again by its name here (in /proc/self/fd) is opened
 * with our rights, so O_PATH, which needs none, is good only for what is looked at for its mode (planning.c). */
static int check_fd(int fd, bool dir, bool file, const char *what, struct err *e)
{
	struct stat st;
	const int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fstat(fd, &st) < 0)
		return err_sys(e, errno, "looking at %s", what);
	if (!(dir && S_ISDIR(st.st_mode)) && !(file && S_ISREG(st.st_mode)))
		return err_set(e, ERR_SPEC, dir ? ENOTDIR : EINVAL, "%s is not a %s", what,
			       dir ? "directory" : "regular file");
	if (S_ISREG(st.st_mode) && ((flags & O_PATH) || (flags & O_ACCMODE) == O_WRONLY))
		return err_set(e, ERR_SPEC, EBADF, "%s is not opened for reading", what);
	return 0;
}

/* What an ordinary user's cell mounts it has to find by its name: a mount of another namespace cannot be cloned. */
static int find_path(struct cell_function *f, size_t i, const char *what, struct err *e)
{
	char path[SPAWN_MAX_PATH];
	struct stat opened, named;
	ssize_t n = readlink(f->names[i], path, sizeof path - 1);

	if (n < 0)
		return err_sys(e, errno, "looking for the name of %s", what);
	path[n] = '\0';
	if (path[0] != '/' || fstat(f->fds[i], &opened) < 0 || stat(path, &named) < 0 ||
	    opened.st_dev != named.st_dev || opened.st_ino != named.st_ino)
		return err_set(e, ERR_SPEC, ENOENT, "%s has no name on this host any more", what);
	f->paths[i] = strdup(path);
	return f->paths[i] ? 0 : err_oom(e);
}

/* The descriptor at @i under the name by which a cell's stages reach it. */
static int use_fd(const struct cell_host *h, struct cell_function *f, size_t i, const char *what, const char **ret,
		  struct err *e)
{
	int r = h->facts.privileged ? 0 : find_path(f, i, what, e);

	if (r == 0)
		*ret = f->paths[i] ? f->paths[i] : f->names[i];
	return r;
}

int cell_filter_take(int fd, struct filter *ret, struct err *e)
{
	const int seals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW;
	const int has = fcntl(fd, F_GET_SEALS);
	struct stat st;

	if (has < 0 || (has & seals) != seals || fstat(fd, &st) < 0)
		return err_set(e, ERR_SPEC, EINVAL, "the filter is not a memfd that is sealed");
	if (st.st_size <= 0 || st.st_size > (off_t)(SPAWN_MAX_FILTER * sizeof(struct sock_filter)) ||
	    st.st_size % (off_t)sizeof(struct sock_filter) != 0)
		return err_set(e, ERR_SPEC, E2BIG, "a filter of %lld bytes", (long long)st.st_size);
	ret->insns = malloc((size_t)st.st_size);
	if (!ret->insns)
		return err_oom(e);
	if (pread(fd, ret->insns, (size_t)st.st_size, 0) != st.st_size)
		return err_sys(e, EIO, "reading the filter");
	ret->len = (size_t)st.st_size / sizeof(struct sock_filter);
	return 0;
}

static int use_code(const struct cell_host *h, struct cell_function *f, size_t *at, struct err *e)
{
	const bool dir = f->wire->flags & SPAWN_CODE_IS_DIR;
	const char *path = NULL;
	int r;

	if (!(f->wire->flags & SPAWN_HAS_CODE))
		return 0;
	r = check_fd(f->fds[*at], dir, !dir, "the code", e);
	if (r == 0)
		r = use_fd(h, f, *at, "the code", &path, e);
	if (r < 0)
		return r;
	f->spec.target = spawn_text_of(f->wire, &f->wire->code_name);
	f->host.target_fd = f->fds[(*at)++];
	if (!h->facts.privileged)
		f->host.target_path = path;
	return 0;
}

static int use_fds(const struct cell_host *h, struct cell_function *f, struct err *e)
{
	size_t at = 0, name_at = 0;
	int r = use_code(h, f, &at, e);

	if (r == 0 && (f->wire->flags & SPAWN_HAS_ROOTFS)) {
		r = check_fd(f->fds[at], true, false, "the root", e);
		if (r == 0)
			r = use_fd(h, f, at++, "the root", &f->spec.rootfs, e);
	}
	for (; r == 0 && f->spec.n_layers < f->wire->n_layers; f->spec.n_layers++) {
		r = check_fd(f->fds[at], true, false, "a layer", e);
		if (r == 0)
			r = use_fd(h, f, at++, "a layer", &f->spec.layers[f->spec.n_layers], e);
	}
	for (; r == 0 && f->spec.n_secrets < f->wire->secrets.n; f->spec.n_secrets++) {
		struct spec_secret *secret = &f->spec.secrets[f->spec.n_secrets];

		secret->name = spawn_list_next(f->wire, &f->wire->secrets, &name_at);
		r = check_fd(f->fds[at], false, true, "a secret", e);
		secret->file = f->names[at++];
	}
	return r == 0 && (f->wire->flags & SPAWN_HAS_FILTER) ? cell_filter_take(f->fds[at], &f->filter, e) : r;
}

/* ---- Words and numbers ---- */

static int check_numbers(const struct cell_host *h, const struct spawn_function *w, uint64_t memory_bytes,
			 struct err *e)
{
	if (w->memory_bytes < (uint64_t)SPEC_MIN_MEMORY_MB << 20 || w->memory_bytes > memory_bytes)
		return err_set(e, ERR_SPEC, ERANGE, "a function of %llu MB, where %d to %llu are possible",
			       (unsigned long long)(w->memory_bytes >> 20), SPEC_MIN_MEMORY_MB,
			       (unsigned long long)(memory_bytes >> 20));
	if (w->pids < SPEC_MIN_PIDS || w->pids > SPEC_MAX_PIDS)
		return err_set(e, ERR_SPEC, ERANGE, "a function of %u processes, where %d to %d are possible", w->pids,
			       SPEC_MIN_PIDS, SPEC_MAX_PIDS);
	if (w->tmp_bytes == 0 || w->tmp_bytes > (uint64_t)SPEC_MAX_TMP_MB << 20)
		return err_set(e, ERR_SPEC, ERANGE, "a /tmp of %llu MB", (unsigned long long)(w->tmp_bytes >> 20));
	if (w->flags & SPAWN_NO_LIMITS && h->limits)
		return err_set(e, ERR_DENIED, EPERM, "a function without limits, which is not made here");
	if (!(w->flags & SPAWN_NO_LIMITS) && !h->limits)
		return err_set(e, ERR_UNSUPPORTED, EOPNOTSUPP, "there are no limits here");
	return 0;
}

static int use_env(struct cell_function *f, struct err *e)
{
	size_t at = 0;

	for (const char *pair; (pair = spawn_list_next(f->wire, &f->wire->env, &at));) {
		if (spec_is_reserved(pair))
			return err_set(e, ERR_SPEC, EINVAL, "the variable '%.*s' is not for functions to set",
				       (int)(strcspn(pair, "=") & 0xff), pair);
		f->spec.env[f->spec.n_env++] = pair;
	}
	return 0;
}

static void use_image(struct cell_function *f)
{
	size_t at = 0, n = 0;
	const char *text;

	if (!(f->wire->flags & SPAWN_HAS_IMAGE))
		return;
	while ((text = spawn_list_next(f->wire, &f->wire->image_args, &at)))
		f->image.args[n++] = text;
	at = n = 0;
	while ((text = spawn_list_next(f->wire, &f->wire->image_env, &at)))
		f->image.env[n++] = text;
	f->image.cwd = spawn_text_of(f->wire, &f->wire->image_cwd);
	f->host.facts.code.image = &f->image;
}

static void use_texts(const struct cell_host *h, struct cell_function *f)
{
	const struct spawn_function *w = f->wire;

	f->spec = (struct cell_spec){
		.name = spawn_text_of(w, &w->name),
		.policy = spawn_text_of(w, &w->policy),
		.runtime = (enum spec_runtime)w->runtime,
		.memory_bytes = w->memory_bytes,
		.tmp_bytes = w->tmp_bytes,
		.pids = w->pids,
		.net = (enum spec_net)w->net,
		.no_limits = w->flags & SPAWN_NO_LIMITS,
		.no_init_boost = w->flags & SPAWN_NO_INIT_BOOST,
		.keep_seeds = w->flags & SPAWN_KEEP_SEEDS,
	};
	cell_host_view(h, &f->host);
	f->host.limits = !f->spec.no_limits;
	f->host.facts.code = (struct spec_code){
		.runtime = f->spec.runtime,
		.dir = w->flags & SPAWN_CODE_IS_DIR,
		.handler = w->flags & SPAWN_HAS_HANDLER ? spawn_text_of(w, &w->handler) : NULL,
		.interpreter = w->flags & SPAWN_HAS_INTERPRETER ? spawn_text_of(w, &w->interpreter) : NULL,
	};
}

void cell_function_done(struct cell_function *f)
{
	for (size_t i = 0; i < f->n_fds; i++) {
		fd_closep(&f->fds[i]);
		free(f->paths[i]);
	}
	f->n_fds = 0;
	filter_done(&f->filter);
	buf_done(&f->host.kdat);
	free(f->wire);
	f->wire = NULL;
}

static int build(const struct cell_host *h, uint64_t memory_bytes, struct cell_function *f, struct err *e)
{
	int r = check_numbers(h, f->wire, memory_bytes, e);

	if (r < 0)
		return r;
	use_texts(h, f);
	use_image(f);
	r = use_env(f, e);
	return r == 0 ? use_fds(h, f, e) : r;
}

int cell_function_take(const struct cell_host *h, uint64_t memory_bytes, struct spawn_datagram *d,
		       struct cell_function *f, struct err *e)
{
	int r;

	*f = (struct cell_function){.size = d->head.size};
	f->wire = malloc(f->size);
	for (size_t i = 0; i < d->n_fds; i++) {
		f->fds[f->n_fds++] = take_fd(&d->fds[i]);
		(void)snprintf(f->names[i], sizeof f->names[i], "/proc/self/fd/%d", f->fds[i]);
	}
	if (!f->wire) {
		r = err_oom(e);
	} else {
		memcpy(f->wire, d->bytes, f->size);
		r = build(h, memory_bytes, f, e);
	}
	if (r < 0)
		cell_function_done(f);
	return r;
}
