/* Annotations that change how a container is made: those of crun, "run.oci.", as far as they make sense here. Others are
 * carried along and mean nothing (config.md, "Annotations"). Who may write them may name files of the host: `features`
 * lists them as unsafe. */
#include "oci/config_tables.h"

struct annotation {
	const char *key;
	/* @to: @offset bytes into the spec. */
	int (*apply)(struct ct_spec *s, const struct json_path *at, const char *value, void *to,
		     const struct json_doc *doc, struct err *e);
	size_t offset;
};

static int take_path(struct ct_spec *s, const struct json_path *at, const char *value, void *to,
		     const struct json_doc *doc, struct err *e)
{
	(void)s;
	if (value[0] != '/')
		return json_err(e, doc, at, "'%.100s' is not an absolute path", value);
	*(const char **)to = value;
	return 0;
}

/* config.json's own key wins. */
static int take_receiver(struct ct_spec *s, const struct json_path *at, const char *value, void *to,
			 const struct json_doc *doc, struct err *e)
{
	return s->seccomp.listener_path ? 0 : take_path(s, at, value, to, doc, e);
}

static int take_text(struct ct_spec *s, const struct json_path *at, const char *value, void *to,
		     const struct json_doc *doc, struct err *e)
{
	(void)s;
	(void)at;
	(void)doc;
	(void)e;
	*(const char **)to = value;
	return 0;
}

static int take_flag(struct ct_spec *s, const struct json_path *at, const char *value, void *to,
		     const struct json_doc *doc, struct err *e)
{
	(void)s;
	if (strcmp(value, "0") != 0 && strcmp(value, "1") != 0 && strcmp(value, "true") != 0 &&
	    strcmp(value, "false") != 0)
		return json_err(e, doc, at, "expected 0 or 1, got '%.60s'", value);
	*(bool *)to = value[0] == '1' || value[0] == 't';
	return 0;
}

static int take_context(struct ct_spec *s, const struct json_path *at, const char *value, void *to,
			const struct json_doc *doc, struct err *e)
{
	static const char *const known[] = {"context", "fscontext", "defcontext", "rootcontext"};

	(void)s;
	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (strcmp(value, known[i]) == 0) {
			*(const char **)to = known[i];
			return 0;
		}
	return json_err(e, doc, at, "'%.60s' is no SELinux option of a mount", value);
}

/* A container that was to run in a virtual machine, or as WebAssembly, must not run without. */
static int refuse(struct ct_spec *s, const struct json_path *at, const char *value, void *to,
		  const struct json_doc *doc, struct err *e)
{
	(void)s;
	(void)to;
	return json_err(e, doc, at, "there is no handler '%.60s'", value);
}

#define AT(member) offsetof(struct ct_spec, member)
static const struct annotation known[] = {
	{"run.oci.handler", refuse, 0},
	{"run.oci.hooks.stderr", take_path, AT(hooks_err)},
	{"run.oci.hooks.stdout", take_path, AT(hooks_out)},
	{"run.oci.keep_original_groups", take_flag, AT(keep_groups)},
	{"run.oci.mount_context_type", take_context, AT(mount_context)},
	{"run.oci.pidfd_receiver", take_path, AT(pidfd_receiver)},
	{"run.oci.seccomp.receiver", take_receiver, AT(seccomp.listener_path)},
	{"run.oci.seccomp_bpf_data", take_text, AT(seccomp.program)},
	{"run.oci.seccomp_fail_unknown_syscall", take_flag, AT(seccomp.strict_names)},
};

const char *config_annotation_name(size_t i)
{
	return i < ARRAY_LEN(known) ? known[i].key : NULL;
}

int config_annotations(struct ct_spec *s, const struct json_doc *doc, struct err *e)
{
	for (size_t i = 0; i < s->n_annotations; i++) {
		const struct ct_pair *p = &s->annotations[i];
		const struct json_path up = {.key = "annotations"}, at = {.up = &up, .key = p->key};

		if (!p->key[0])
			return json_err(e, doc, &up, "an annotation's key must not be empty");
		for (size_t j = 0; p->key[0] == 'r' && j < ARRAY_LEN(known); j++) {
			const struct annotation *a = &known[j];
			int r = strcmp(a->key, p->key) == 0 ? a->apply(s, &at, p->value, (char *)s + a->offset, doc, e)
							    : 0;

			if (r < 0)
				return r;
		}
	}
	return 0;
}
