#include "oci/config_tables.h"

#include "base/fd.h"

#define AT(member)   offsetof(struct ct_spec, member)
#define HOOK(member) offsetof(struct ct_hook, member)

/* A number without leading zeros at *@p, which moves on. */
static bool take_release(const char **p)
{
	const char *first = *p;

	while (**p >= '0' && **p <= '9')
		(*p)++;
	return *p > first && (first[0] != '0' || *p == first + 1);
}

/* Parts of letters, digits and dashes between dots. */
static bool take_parts(const char **p)
{
	static const char letters[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-";

	for (;; (*p)++) {
		size_t n = strspn(*p, letters);

		*p += n;
		if (n == 0 || **p != '.')
			return n > 0;
	}
}

/* SemVer 2.0.0, "Backus-Naur Form Grammar", without its rule about zeros in a pre-release. */
static bool is_version(const char *p)
{
	for (int i = 0; i < 3; i++) {
		if ((i > 0 && *p++ != '.') || !take_release(&p))
			return false;
	}
	if (*p == '-' && (p++, !take_parts(&p)))
		return false;
	if (*p == '+' && (p++, !take_parts(&p)))
		return false;
	return *p == '\0';
}

static int read_version(struct reader *r, const struct field *f, const struct json *v, const struct json_path *here,
			void *to)
{
	int rc = field_text(r, f, v, here, to);
	const char *s = *(const char **)to;

	if (rc < 0)
		return rc;
	if (!is_version(s))
		return json_err(r->e, r->doc, here, "'%.40s' is no version in SemVer's form", s);
	if (!str_starts(s, "1."))
		return json_err(r->e, r->doc, here, "unsupported version '%s': 1.0.0 to 1.3.0 are known", s);
	return 0;
}

static const struct field root_fields[] = {
	{"path", field_text, AT(rootfs), NULL, true},
	{"readonly", field_bool, AT(root_readonly)},
};
TABLE(root_table, root_fields, struct ct_spec);

static const struct field hook_fields[] = {
	{"path", field_path, HOOK(path), NULL, true},
	{"args", field_texts, HOOK(args)},
	{"env", field_texts, HOOK(env)},
	{"timeout", field_number, HOOK(timeout_s), .min = 1, .max = INT32_MAX},
};
TABLE(hook_table, hook_fields, struct ct_hook);

static const struct field hooks_fields[] = {
	{"prestart", field_objects, AT(hooks[CT_PRESTART]), &hook_table},
	{"createRuntime", field_objects, AT(hooks[CT_CREATE_RUNTIME]), &hook_table},
	{"createContainer", field_objects, AT(hooks[CT_CREATE_CONTAINER]), &hook_table},
	{"startContainer", field_objects, AT(hooks[CT_START_CONTAINER]), &hook_table},
	{"poststart", field_objects, AT(hooks[CT_POSTSTART]), &hook_table},
	{"poststop", field_objects, AT(hooks[CT_POSTSTOP]), &hook_table},
};
TABLE(hooks_table, hooks_fields, struct ct_spec);

static const struct field config_fields[] = {
	{"ociVersion", read_version, AT(version), NULL, true},
	{"root", field_object, 0, &root_table},
	{"process", field_object, AT(process), &process_table},
	{"hostname", field_text, AT(hostname)},
	{"domainname", field_text, AT(domainname)},
	{"mounts", field_objects, AT(mounts), &mount_table},
	{"hooks", field_object, 0, &hooks_table},
	{"annotations", field_pairs, AT(annotations)},
	{"linux", field_object, 0, &linux_table},
	/* Of other platforms: "runtimes MAY ignore" them. */
	{"solaris", NULL, .why = "another platform"},
	{"windows", NULL, .why = "another platform"},
	{"vm", NULL, .why = "another platform"},
	{"zos", NULL, .why = "another platform"},
	{"freebsd", NULL, .why = "another platform"},
};
TABLE(config_table, config_fields, struct ct_spec);

/* Go writes what is unlimited, and all bits of an argument, as 2^64-1, which is no integer to json/. It becomes a real
 * number of the same length, which the readers of such fields know. */
static void mark_unlimited(char *text, size_t len)
{
	static const char max[] = "18446744073709551615", mark[] = "1.844674407370955e19";
	const size_t n = sizeof max - 1;
	bool inside = false; /* of a string */

	if (!memmem(text, len, max, n))
		return;
	for (size_t i = 0; i < len; i++) {
		if (inside && text[i] == '\\')
			i++;
		else if (text[i] == '"')
			inside = !inside;
		else if (!inside && len - i >= n && memcmp(text + i, max, n) == 0 &&
			 (i + n == len || text[i + n] < '0' || text[i + n] > '9') && (i == 0 || text[i - 1] != '-'))
			memcpy(text + i, mark, n);
	}
}
_Static_assert(sizeof "18446744073709551615" == sizeof "1.844674407370955e19", "same length");

static struct ct_spec *new_spec(void)
{
	return calloc(1, sizeof(struct ct_spec));
}

void config_free(struct ct_spec *s)
{
	if (!s)
		return;
	arena_done(&s->arena);
	free(s);
}

static int settle(struct ct_spec *s, const char *bundle, struct err *e)
{
	const bool had_root = s->rootfs;

	s->bundle = arena_strdup(&s->arena, bundle);
	if (s->rootfs && s->rootfs[0] != '/')
		s->rootfs = arena_printf(&s->arena, "%s/%s", bundle, s->rootfs);
	if (!s->bundle || (had_root && !s->rootfs))
		return err_oom(e);
	return 0;
}

static int parse(const char *file, const char *text, size_t len, struct json_doc **ret_doc, struct err *e)
{
	AUTO_FREE char *copy = len <= CONFIG_MAX_BYTES ? malloc(len + 1) : NULL;

	if (!copy && len <= CONFIG_MAX_BYTES)
		return err_oom(e);
	if (copy) {
		memcpy(copy, text, len);
		mark_unlimited(copy, len);
	}
	return json_parse(file, copy ? copy : text, len, CONFIG_MAX_BYTES, ret_doc, e);
}

int config_read(const char *file, const char *text, size_t len, const char *bundle, struct ct_spec **ret, struct err *e)
{
	AUTO(json_doc_freep) struct json_doc *doc = NULL;
	AUTO(config_freep) struct ct_spec *s = NULL;
	int r = parse(file, text, len, &doc, e);

	if (r < 0)
		return r;
	s = new_spec();
	if (!s)
		return err_oom(e);

	struct reader reader = {.spec = s, .doc = doc, .e = e};
	const struct json *root = json_doc_root(doc);

	s->process.given = json_type_of(root) == JSON_OBJECT && json_member(root, "process");
	r = table_read(&reader, &config_table, root, NULL, s);
	if (r == 0)
		r = settle(s, bundle, e);
	if (r == 0)
		r = config_check(s, doc, e);
	if (r == 0)
		*ret = take_ptr(&s);
	return r;
}

/* One object alone: a document whose root is what a member of config.json is. */
static int read_part(const char *file, const char *text, size_t len, struct ct_spec *spec, const struct table *t,
		     void *to, struct json_doc **ret_doc, struct err *e)
{
	int r = parse(file, text, len, ret_doc, e);
	struct reader reader = {.spec = spec, .doc = *ret_doc, .e = e};

	return r < 0 ? r : table_read(&reader, t, json_doc_root(*ret_doc), NULL, to);
}

int config_read_process(const char *file, const char *text, size_t len, struct ct_spec *spec, struct err *e)
{
	AUTO(json_doc_freep) struct json_doc *doc = NULL;
	struct ct_process p = {.given = true};
	int r = read_part(file, text, len, spec, &process_table, &p, &doc, e);

	if (r == 0)
		r = config_check_process(&p, doc, e);
	if (r == 0)
		spec->process = p;
	return r;
}

int config_read_resources(const char *file, const char *text, size_t len, struct ct_spec *spec, struct err *e)
{
	AUTO(json_doc_freep) struct json_doc *doc = NULL;

	return read_part(file, text, len, spec, &resources_table, &spec->resources, &doc, e);
}

const struct words *config_words(enum config_list which)
{
	static const struct words *const lists[CONFIG_LISTS] = {
		[CONFIG_CAPABILITIES] = &capability_names,   [CONFIG_NAMESPACES] = &namespace_names,
		[CONFIG_SECCOMP_ACTIONS] = &seccomp_actions, [CONFIG_SECCOMP_OPS] = &seccomp_ops,
		[CONFIG_SECCOMP_ARCHS] = &seccomp_archs,     [CONFIG_SECCOMP_FLAGS] = &seccomp_flags,
		[CONFIG_MEMORY_MODES] = &memory_modes,       [CONFIG_MEMORY_FLAGS] = &memory_flags,
	};

	return lists[which];
}

const char *config_hook_name(enum ct_hook_kind kind)
{
	return hooks_fields[kind].key; /* in the order of the kinds */
}
