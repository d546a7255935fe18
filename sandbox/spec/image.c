#include "spec/image.h"

#include "json/json.h"

#include <errno.h>
#include <stdio.h>

struct reading {
	const struct json_doc *doc;
	struct arena *arena;
	size_t left; /* of IMAGE_MAX_TEXT */
	struct err *e;
};

static const char *take_text(struct reading *rd, const struct json *v, const struct json_path *at)
{
	const char *s;
	size_t len;

	if (json_type_of(v) != JSON_STRING) {
		(void)json_err(rd->e, rd->doc, at, "expected a text, got %s", json_type_name(json_type_of(v)));
		return NULL;
	}
	s = json_string_get(v, &len);
	if (len >= rd->left) {
		(void)json_err(rd->e, rd->doc, at, "arguments and environment are together over %d bytes",
			       IMAGE_MAX_TEXT);
		return NULL;
	}
	rd->left -= len + 1;
	s = arena_strdup(rd->arena, s);
	if (!s)
		(void)err_oom(rd->e);
	return s;
}

/* Adds the texts of the array @key of @object, if there is one, behind the *n that stand in @list. */
static int take_list(struct reading *rd, const struct json *object, const struct json_path *up, const char *key,
		     const char **list, size_t max, size_t *n)
{
	const struct json_path here = {.up = up, .key = key};
	const struct json *v = json_member(object, key);

	if (!v || json_type_of(v) == JSON_NULL)
		return 0;
	if (json_type_of(v) != JSON_ARRAY)
		return json_err(rd->e, rd->doc, &here, "expected an array, got %s", json_type_name(json_type_of(v)));
	for (size_t i = 0; i < json_length(v); i++) {
		const struct json_path at = {.up = &here, .index = i};
		const char *s;

		if (*n == max)
			return json_err(rd->e, rd->doc, &at, "at most %zu are taken", max);
		s = take_text(rd, json_at(v, i), &at);
		if (!s)
			return -EINVAL;
		list[(*n)++] = s;
	}
	return 0;
}

static int check_env(struct reading *rd, const struct json_path *up, const char *key, const char *const *env, size_t n)
{
	const struct json_path list = {.up = up, .key = key};

	for (size_t i = 0; i < n; i++) {
		const struct json_path at = {.up = &list, .index = i};
		const char *equals = strchr(env[i], '=');

		if (!equals || equals == env[i])
			return json_err(rd->e, rd->doc, &at, "expected KEY=VALUE");
	}
	return 0;
}

static int take_cwd(struct reading *rd, const struct json *object, const struct json_path *up, const char *key,
		    const char **ret)
{
	const struct json_path here = {.up = up, .key = key};
	const struct json *v = json_member(object, key);

	*ret = "/";
	if (!v || json_type_of(v) == JSON_NULL)
		return 0;
	*ret = take_text(rd, v, &here);
	if (!*ret)
		return -EINVAL;
	if ((*ret)[0] == '\0') /* image-spec: as if it were absent */
		*ret = "/";
	return (*ret)[0] == '/' ? 0 : json_err(rd->e, rd->doc, &here, "expected an absolute path");
}

/* The two forms differ in their names only. */
static const struct form {
	const char *object, *args[2], *env, *cwd;
} forms[] = {
	{"process", {"args", NULL}, "env", "cwd"},
	{"config", {"Entrypoint", "Cmd"}, "Env", "WorkingDir"},
};

static int take_form(struct reading *rd, const struct form *f, const struct json *object, struct spec_image *ret)
{
	const struct json_path at = {.key = f->object};
	size_t n_args = 0, n_env = 0;
	int r = 0;

	if (json_type_of(object) != JSON_OBJECT)
		return json_err(rd->e, rd->doc, &at, "expected an object, got %s",
				json_type_name(json_type_of(object)));
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(f->args) && f->args[i]; i++)
		r = take_list(rd, object, &at, f->args[i], ret->args, IMAGE_MAX_ARGS, &n_args);
	if (r == 0 && n_args == 0)
		r = json_err(rd->e, rd->doc, &at, "it does not say what is to be executed (%s%s%s)", f->args[0],
			     f->args[1] ? ", " : "", f->args[1] ? f->args[1] : "");
	if (r == 0)
		r = take_list(rd, object, &at, f->env, ret->env, IMAGE_MAX_ENV, &n_env);
	if (r == 0)
		r = check_env(rd, &at, f->env, ret->env, n_env);
	return r == 0 ? take_cwd(rd, object, &at, f->cwd, &ret->cwd) : r;
}

int image_parse(const char *file, const char *text, size_t len, struct arena *arena, struct spec_image *ret,
		struct err *e)
{
	AUTO(json_doc_freep) struct json_doc *doc = NULL;
	struct reading rd = {.arena = arena, .left = IMAGE_MAX_TEXT, .e = e};
	int r = json_parse(file, text, len, SPEC_MAX_BYTES, &doc, e);

	if (r < 0)
		return r;
	rd.doc = doc;
	*ret = (struct spec_image){0};
	if (json_type_of(json_doc_root(doc)) != JSON_OBJECT)
		return json_err(e, doc, NULL, "expected an object");
	for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
		const struct json *object = json_member(json_doc_root(doc), forms[i].object);

		if (object)
			return take_form(&rd, &forms[i], object, ret);
	}
	return json_err(e, doc, NULL, "neither 'process' (of a bundle) nor 'config' (of an image)");
}
