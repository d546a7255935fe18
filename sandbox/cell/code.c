#include "cell/code.h"

#include "base/fd.h"
#include "base/str.h"
#include "confine/confine.h"
#include "sys/sys.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

/* What has to stand in the directory of runtimes. */
static const char *const runtime_files[] = {
	[SPEC_RUNTIME_NATIVE] = "native",
	[SPEC_RUNTIME_PYTHON] = "python/main.py",
	[SPEC_RUNTIME_NODE] = "node/main.cjs",
	[SPEC_RUNTIME_CUSTOM] = "api",
};

static bool is_program_at(int dir, const char *name)
{
	struct stat st;

	/* Where a link leads only the cell knows. */
	return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       (S_ISLNK(st.st_mode) || (S_ISREG(st.st_mode) && (st.st_mode & 0111)));
}

static bool has_bootstrap(const struct cell_spec *s, int dir)
{
	if (is_program_at(dir, "bootstrap"))
		return true;
	for (size_t i = 0; i < s->n_layers; i++) {
		AUTO_FD int layer = open(s->layers[i], O_PATH | O_DIRECTORY | O_CLOEXEC);

		if (fd_valid(layer) && is_program_at(layer, "bootstrap"))
			return true;
	}
	return false;
}

/* @head has room for CODE_HEAD bytes. */
static int look_at(const struct cell_spec *s, int fd, unsigned char *head, struct code_look *look, struct err *e)
{
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st) < 0)
		return err_sys(e, errno, "'%s'", s->target);
	look->head = head;
	if (S_ISDIR(st.st_mode)) {
		look->dir = true;
		look->has_bootstrap = has_bootstrap(s, fd);
		return 0;
	}
	if (!S_ISREG(st.st_mode))
		return err_set(e, ERR_SPEC, ENOEXEC, "'%s' is neither a regular file nor a directory", s->target);
	n = pread(fd, head, CODE_HEAD, 0);
	if (n < 0)
		return err_sys(e, errno, "reading '%s'", s->target);
	look->len = (size_t)n;
	look->executable = st.st_mode & 0111;
	return 0;
}

static ssize_t path_of(int fd, char *buf, size_t size)
{
	char link[40];

	(void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	return readlink(link, buf, size);
}

/* The file itself, as a path in the root, whatever links lead there: some of the host's go through directories that no cell
 * has (/etc/alternatives). Links are followed as from within the root, and never out of it. NULL when there is none. */
static const char *find_in_root(struct cell_spec *s, int root, const char *path)
{
	AUTO_FD int fd = sys_open_in_root(root, path, O_PATH);
	char base[512], whole[1024];
	ssize_t n, base_len;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || !(st.st_mode & 0111))
		return NULL;
	base_len = path_of(root, base, sizeof base);
	n = path_of(fd, whole, sizeof whole);
	if (base_len == 1) /* "/" */
		base_len = 0;
	if (base_len < 0 || n <= base_len || (size_t)n >= sizeof whole || (size_t)base_len >= sizeof base ||
	    memcmp(base, whole, (size_t)base_len) != 0 || whole[base_len] != '/')
		return NULL;
	return arena_memdup(&s->arena, whole + base_len, (size_t)(n - base_len));
}

/* Of the host's root a cell has /usr alone. */
static bool is_visible(const struct cell_spec *s, const char *path)
{
	return s->rootfs || str_starts(path, "/usr/");
}

/* The runtime for shared objects is dynamic: without its loader the kernel would only say "no such file" of the runtime. */
static int find_loader(struct cell_spec *s, int root, struct err *e)
{
#if defined(__aarch64__)
	static const char loader[] = "/lib/ld-linux-aarch64.so.1";
#else
	static const char loader[] = "/lib64/ld-linux-x86-64.so.2";
#endif

	if (find_in_root(s, root, loader))
		return 0;
	return err_hint(
		e,
		err_set(e, ERR_NOT_FOUND, ENOENT,
			"shared objects need glibc's loader %s, which is not in the cell's root ('%s')", loader,
			s->rootfs),
		"a root with glibc, as new as that fsbox was built against; or build the code as a program of its "
		"own for the Runtime API");
}

static int find_interpreter(struct cell_spec *s, struct spec_code *what, struct err *e)
{
	const char *const *places = code_interpreters(what->runtime);
	const char *root_name = s->rootfs ? s->rootfs : "/";
	AUTO_FD int root = FD_NONE;
	int r;

	if (!places && (what->runtime != SPEC_RUNTIME_NATIVE || !s->rootfs))
		return 0;
	root = open(root_name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (!fd_valid(root))
		return errno == ENOTDIR ? err_set(e, ERR_SPEC, 0, "'%s' is not a directory", root_name)
					: err_set(e, ERR_SPEC, 0, "'%s': %s", root_name, strerrordesc_np(errno));
	if (!places)
		return find_loader(s, root, e);
	for (; *places; places++) {
		const char *path = find_in_root(s, root, *places);

		if (path && is_visible(s, path)) {
			what->interpreter = path;
			return 0;
		}
	}
	r = err_set(e, ERR_NOT_FOUND, ENOENT, "the runtime '%s' needs %s, which is not in the cell's root%s%s%s",
		    spec_runtime_name(what->runtime), code_interpreters(what->runtime)[0], s->rootfs ? " ('" : "",
		    s->rootfs ? s->rootfs : "", s->rootfs ? "')" : "");
	return err_hint(e, r, "install the Debian package %s%s", code_interpreter_package(what->runtime),
			s->rootfs ? " into it" : "");
}

static int check_runtime(const char *runtime_dir, enum spec_runtime runtime, struct err *e)
{
	char path[600];
	int r;

	(void)snprintf(path, sizeof path, "%s/%s", runtime_dir, runtime_files[runtime]);
	if (access(path, R_OK) == 0)
		return 0;
	r = err_set(e, ERR_UNSUPPORTED, errno, "the runtime '%s' is not installed: no '%s'", spec_runtime_name(runtime),
		    path);
	return err_hint(e, r, "install fsbox whole (make install)");
}

/* --rootfs may name an unpacked image: a directory with config.json and, beside it, the root. 1 when it is one; then the
 * root is in its place, and *ret_text is the configuration, for the arena to keep. */
static int find_image(struct cell_spec *spec, const char **ret_file, char **ret_text, size_t *ret_len, struct err *e)
{
	const char *file = arena_printf(&spec->arena, "%s/config.json", spec->rootfs);
	const char *root = arena_printf(&spec->arena, "%s/rootfs", spec->rootfs);
	char derived[SPEC_MAX_NAME + 1];
	AUTO_FD int fd = FD_NONE;
	struct stat st;
	int r;

	if (!file || !root)
		return err_oom(e);
	/* Neither is followed when it is a link: it would lead to something of the host's. */
	if (lstat(root, &st) < 0 || !S_ISDIR(st.st_mode))
		return 0;
	fd = open(file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (!fd_valid(fd))
		return errno == ENOENT ? 0 : err_sys(e, errno, "'%s'", file);
	r = fd_read_all(fd, SPEC_MAX_BYTES, ret_text, ret_len);
	if (r < 0)
		return err_sys(e, r, "reading '%s'", file);
	/* Its name is that of the image, and not "rootfs". */
	spec->name = arena_strdup(&spec->arena, spec_function_name(spec, derived));
	if (!spec->name)
		return err_oom(e);
	spec->rootfs = root;
	*ret_file = file;
	return 1;
}

/* Finds the root, and without a target what is executed in it. 1 when *ret is complete. */
static int open_image(struct cell_spec *spec, struct cell_code *ret, struct err *e)
{
	AUTO_FREE char *text = NULL;
	struct spec_image *image;
	const char *file;
	size_t len;
	int r = spec->rootfs ? find_image(spec, &file, &text, &len, e) : 0;

	if (r < 0 || spec->target)
		return r < 0 ? r : 0;
	if (r == 0)
		return err_hint(e,
				err_set(e, ERR_SPEC, 0,
					"no TARGET given, and '%s' is no unpacked image (config.json and rootfs/)",
					spec->rootfs),
				"fsbox run [options] TARGET");
	image = arena_alloc(&spec->arena, sizeof *image);
	if (!image)
		return err_oom(e);
	r = image_parse(file, text, len, &spec->arena, image, e);
	if (r == 0)
		r = code_of_image(spec, image, &ret->what, e);
	return r < 0 ? r : 1;
}

/* ---- Packages ---- */

/* The unpacker is confined as functions are. */
static int confine(void *arg)
{
	return filter_install(arg);
}

/* Links are left alone: each would be compiled once more, and one may stand where the bytecode goes. What is written is
 * bounded by what an archive may hold. */
static const char compiler[] =
	"import os, py_compile\n"
	"left = 262144000\n"
	"for top, dirs, files in os.walk('.'):\n"
	"    dirs[:] = [d for d in dirs if not os.path.islink(os.path.join(top, d))]\n"
	"    cache = os.path.join(top, '__pycache__')\n"
	"    if os.path.lexists(cache) and (os.path.islink(cache) or not os.path.isdir(cache)):\n"
	"        continue\n"
	"    for name in files:\n"
	"        path = os.path.join(top, name)\n"
	"        if not name.endswith('.py') or os.path.islink(path) or left <= 0:\n"
	"            continue\n"
	"        try:\n"
	"            made = py_compile.compile(path, quiet=2,\n"
	"                invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)\n"
	"            left -= os.path.getsize(made) if made else 0\n"
	"        except (OSError, ValueError, RecursionError, MemoryError):\n"
	"            pass\n";

/* Unpacks a zip archive. 1 with its directory open in *fd and its path in *path; 0 when it is none. */
static int open_package(struct cell_spec *spec, const char *runtime_dir, int *fd, const char **path,
			struct cell_code *code, struct err *e)
{
	/* So that no cold start has to compile what it imports: nothing can be written where it stands. By the host's
	 * interpreter, which is the cell's; what it cannot compile fails where it is imported. */
	static const char *const compile[] = {"/usr/bin/python3", "-I", "-S", "-c", compiler, NULL};
	const bool python = spec->runtime == SPEC_RUNTIME_PYTHON && !spec->rootfs && access(compile[0], X_OK) == 0;
	struct package *p = &code->packages[code->n_packages];
	unsigned char head[4];
	struct filter filter;
	char unpacker[600];
	int r;

	if (pread(*fd, head, sizeof head, 0) != (ssize_t)sizeof head || !package_is_zip(head, sizeof head))
		return 0;
	if (!filter_builtin("default", &filter))
		return err_set(e, ERR_BUG, ENOENT, "no built-in policy 'default'");
	(void)snprintf(unpacker, sizeof unpacker, "%s/unpack", runtime_dir);
	r = package_open(*path, *fd, unpacker, confine, &filter, python ? compile : NULL, p, e);
	if (r < 0)
		return r;
	code->n_packages++;
	*path = arena_strdup(&spec->arena, p->path);
	if (!*path)
		return err_oom(e);
	fd_closep(fd);
	*fd = open(*path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *fd < 0 ? err_sys(e, errno, "opening '%s'", *path) : 1;
}

static int open_layers(struct cell_spec *spec, const char *runtime_dir, struct cell_code *code, struct err *e)
{
	for (size_t i = 0; i < spec->n_layers; i++) {
		AUTO_FD int fd = open(spec->layers[i], O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
		int r;

		if (!fd_valid(fd))
			continue; /* said by name where layers are looked at */
		r = open_package(spec, runtime_dir, &fd, &spec->layers[i], code, e);
		if (r < 0)
			return err_ctx(e, r, "--layer");
	}
	return 0;
}

/* ---- The whole ---- */

static int open_target(struct cell_spec *spec, const char *opened, const char *runtime_dir, struct cell_code *code,
		       struct err *e)
{
	AUTO_FD int fd = open(opened, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	unsigned char head[CODE_HEAD];
	struct code_look look = {0};
	int r;

	if (!fd_valid(fd))
		return errno == ENOENT || errno == ENOTDIR
			       ? err_set(e, ERR_NOT_FOUND, errno, "'%s': %s", spec->target, strerrordesc_np(errno))
			       : err_sys(e, errno, "'%s'", spec->target);
	code->path = opened;
	r = open_package(spec, runtime_dir, &fd, &code->path, code, e);
	if (r >= 0)
		r = look_at(spec, fd, head, &look, e);
	if (r == 0)
		r = code_of(spec, &look, &code->what, e);
	if (r == 0)
		r = check_runtime(runtime_dir, code->what.runtime, e);
	if (r == 0)
		r = find_interpreter(spec, &code->what, e);
	if (r == 0)
		code->fd = take_fd(&fd);
	return r;
}

int code_open(struct cell_spec *spec, const char *runtime_dir, struct cell_code *ret, struct err *e)
{
	return code_open_by(spec, spec->target, runtime_dir, ret, e);
}

int code_open_by(struct cell_spec *spec, const char *target_opened, const char *runtime_dir, struct cell_code *ret,
		 struct err *e)
{
	int r;

	*ret = (struct cell_code){.fd = FD_NONE};
	r = open_layers(spec, runtime_dir, ret, e);
	if (r == 0)
		r = open_image(spec, ret, e);
	if (r == 1)
		r = check_runtime(runtime_dir, ret->what.runtime, e);
	else if (r == 0)
		r = open_target(spec, target_opened, runtime_dir, ret, e);
	if (r < 0)
		code_close(ret);
	return r;
}

void code_close(struct cell_code *c)
{
	fd_closep(&c->fd);
	while (c->n_packages > 0)
		package_close(&c->packages[--c->n_packages]);
}

int code_probe(enum spec_runtime runtime, const char *runtime_dir, char *buf, size_t size, struct err *e)
{
	struct spec_code what = {.runtime = runtime};
	struct cell_spec spec;
	int r = check_runtime(runtime_dir, runtime, e);

	spec_init(&spec);
	if (r == 0)
		r = find_interpreter(&spec, &what, e);
	if (r == 0 && what.interpreter)
		(void)snprintf(buf, size, "%s", what.interpreter);
	else if (r == 0)
		(void)snprintf(buf, size, "%s/%s", runtime_dir, runtime_files[runtime]);
	spec_done(&spec);
	return r;
}
