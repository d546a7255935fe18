#include "spec/code.h"

#include "base/str.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>

static const char *const names[] = {
	[SPEC_RUNTIME_AUTO] = "auto", [SPEC_RUNTIME_NATIVE] = "native", [SPEC_RUNTIME_PYTHON] = "python",
	[SPEC_RUNTIME_NODE] = "node", [SPEC_RUNTIME_CUSTOM] = "custom",
};

const char *spec_runtime_name(enum spec_runtime r)
{
	return names[r];
}

const char *const *code_interpreters(enum spec_runtime r)
{
	static const char *const python[] = {"/usr/bin/python3", "/usr/local/bin/python3", "/bin/python3", NULL};
	static const char *const node[] = {"/usr/bin/node", "/usr/local/bin/node", "/bin/node", NULL};

	return r == SPEC_RUNTIME_PYTHON ? python : r == SPEC_RUNTIME_NODE ? node : NULL;
}

const char *code_interpreter_package(enum spec_runtime r)
{
	return r == SPEC_RUNTIME_NODE ? "nodejs" : "python3";
}

/* ---- What a file is ---- */

static const struct {
	const char *extension;
	enum spec_runtime runtime;
} extensions[] = {
	{".so", SPEC_RUNTIME_NATIVE}, {".py", SPEC_RUNTIME_PYTHON}, {".mjs", SPEC_RUNTIME_NODE},
	{".js", SPEC_RUNTIME_NODE},   {".cjs", SPEC_RUNTIME_NODE},
};

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* A dynamic executable names its loader; a shared object does not. What lies past the first bytes is taken for absent. */
static bool has_interpreter(const struct code_look *look)
{
	Elf64_Ehdr h;
	Elf64_Phdr ph;

	if (look->len < sizeof h)
		return false;
	memcpy(&h, look->head, sizeof h);
	for (size_t i = 0; i < h.e_phnum && h.e_phoff <= look->len; i++) {
		if (look->len - h.e_phoff < (i + 1) * sizeof ph)
			return false;
		memcpy(&ph, look->head + h.e_phoff + i * sizeof ph, sizeof ph);
		if (ph.p_type == PT_INTERP)
			return true;
	}
	return false;
}

static bool is_program(const struct code_look *look)
{
	Elf64_Ehdr h;

	if (!look->executable)
		return false;
	if (look->len >= 2 && look->head[0] == '#' && look->head[1] == '!')
		return true;
	if (look->len < sizeof h || memcmp(look->head, ELFMAG, SELFMAG) != 0)
		return false;
	memcpy(&h, look->head, sizeof h);
	return h.e_type == ET_EXEC || (h.e_type == ET_DYN && has_interpreter(look));
}

static enum spec_runtime runtime_of_file(const struct cell_spec *s, const struct code_look *look)
{
	const char *file = base_name(s->target);

	for (size_t i = 0; i < ARRAY_LEN(extensions); i++)
		if (str_ends(file, extensions[i].extension))
			return extensions[i].runtime;
	if (strcmp(file, "bootstrap") == 0 || is_program(look))
		return SPEC_RUNTIME_CUSTOM;
	return SPEC_RUNTIME_NATIVE; /* whose check says what the file is instead */
}

static int check_program(const struct cell_spec *s, const struct code_look *look, struct err *e)
{
	int r;

	if (look->len == 0)
		return err_set(e, ERR_SPEC, ENOEXEC, "'%s' is empty", s->target);
	if (look->executable)
		return 0;
	r = err_set(e, ERR_SPEC, ENOEXEC, "'%s' is not executable", s->target);
	return err_hint(e, r, "chmod +x %s", s->target);
}

/* ---- Handlers: "file.function" ---- */

static int bad_handler(const struct cell_spec *s, struct err *e)
{
	return err_set(e, ERR_SPEC, 0, "--handler: expected FILE.FUNCTION for the runtime '%s', got '%s'",
		       names[s->runtime], s->handler);
}

/* Of a single file: its own name, and 'handler' when nothing else is said. */
static int handler_of_file(struct cell_spec *s, struct spec_code *c, struct err *e)
{
	const char *file = base_name(s->target), *dot = strrchr(file, '.');
	const size_t stem = dot && dot != file ? (size_t)(dot - file) : strlen(file);

	if (c->runtime == SPEC_RUNTIME_PYTHON && memchr(file, '.', stem))
		return err_hint(e,
				err_set(e, ERR_SPEC, ENOEXEC,
					"'%s': a Python module's name has no dot, nothing could import it", file),
				"rename it");
	if (s->handler) {
		c->handler = s->handler;
		if (strlen(s->handler) > stem + 1 && memcmp(s->handler, file, stem) == 0 && s->handler[stem] == '.')
			return 0;
		return err_set(e, ERR_SPEC, 0, "--handler '%s': the target's only module is '%.*s'", s->handler,
			       (int)stem, file);
	}
	c->handler = arena_printf(&s->arena, "%.*s.handler", (int)stem, file);
	return c->handler ? 0 : err_oom(e);
}

static int handler_of_package(const struct cell_spec *s, struct spec_code *c, struct err *e)
{
	const char *dot = s->handler ? strrchr(s->handler, '.') : NULL;

	if (!s->handler)
		return err_hint(e,
				err_set(e, ERR_SPEC, 0, "'%s': a package for the runtime '%s' needs a handler",
					s->target, names[c->runtime]),
				"--handler FILE.FUNCTION");
	if (!dot || dot == s->handler || !dot[1])
		return bad_handler(s, e);
	c->handler = s->handler;
	return 0;
}

/* ---- The whole ---- */

static int code_of_directory(struct cell_spec *s, const struct code_look *look, struct spec_code *c, struct err *e)
{
	c->dir = true;
	c->runtime = s->runtime == SPEC_RUNTIME_AUTO ? SPEC_RUNTIME_CUSTOM : s->runtime;
	if (c->runtime == SPEC_RUNTIME_NATIVE)
		return err_hint(e, err_set(e, ERR_SPEC, 0, "'%s' is a directory, not a shared object", s->target),
				"name the .so in it");
	if (c->runtime != SPEC_RUNTIME_CUSTOM)
		return handler_of_package(s, c, e);
	c->handler = s->handler ? s->handler : "";
	if (look->has_bootstrap)
		return 0;
	return err_hint(e,
			err_set(e, ERR_SPEC, ENOEXEC, "'%s' has no executable 'bootstrap', nor has a layer", s->target),
			"for a package of Python or Node: --runtime python|node --handler FILE.FUNCTION");
}

static int check_net(const struct cell_spec *s, struct err *e)
{
	if (s->net != SPEC_NET_NONE)
		return 0;
	return err_hint(e,
			err_set(e, ERR_SPEC, 0,
				"--net none: a custom runtime asks for its events over loopback (Runtime API)"),
			"--net loopback, which reaches nothing outside either");
}

int code_of_image(const struct cell_spec *s, const struct spec_image *image, struct spec_code *ret, struct err *e)
{
	size_t n = 0;

	if (s->runtime != SPEC_RUNTIME_AUTO && s->runtime != SPEC_RUNTIME_CUSTOM)
		return err_hint(e,
				err_set(e, ERR_SPEC, 0, "--runtime %s: what an image executes is a custom runtime",
					names[s->runtime]),
				"name a TARGET, and the image is only its root");
	while (image->args[n])
		n++;
	/* As Lambda has it: the last of several words names the handler. */
	*ret = (struct spec_code){
		.runtime = SPEC_RUNTIME_CUSTOM,
		.handler = s->handler ? s->handler
			   : n > 1    ? image->args[n - 1]
				      : "",
		.image = image,
	};
	return check_net(s, e);
}

int code_of(struct cell_spec *s, const struct code_look *look, struct spec_code *ret, struct err *e)
{
	struct spec_code c = {0};
	int r;

	if (look->dir) {
		r = code_of_directory(s, look, &c, e);
	} else {
		c.runtime = s->runtime == SPEC_RUNTIME_AUTO ? runtime_of_file(s, look) : s->runtime;
		switch (c.runtime) {
		case SPEC_RUNTIME_PYTHON:
		case SPEC_RUNTIME_NODE:
			r = handler_of_file(s, &c, e);
			break;
		case SPEC_RUNTIME_CUSTOM:
			c.handler = s->handler ? s->handler : "";
			r = check_program(s, look, e);
			break;
		default:
			c.handler = s->handler ? s->handler : base_name(s->target);
			r = spec_check_elf(s->target, look->head, look->len, e);
		}
	}
	if (r < 0)
		return r;
	*ret = c;
	return c.runtime == SPEC_RUNTIME_CUSTOM ? check_net(s, e) : 0;
}
