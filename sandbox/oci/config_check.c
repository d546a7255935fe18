/* Rules between the fields of config.json. */
#include "netns/netns.h"
#include "oci/config_tables.h"

#include <errno.h>

#define LINUX                  \
	{                      \
		.key = "linux" \
	}

static int wrong(const struct json_doc *doc, const char *section, const char *key, struct err *e, const char *text)
{
	const struct json_path up = {.key = section}, at = {.up = section ? &up : NULL, .key = key};

	return json_err(e, doc, &at, "%s", text);
}

static bool is_new(const struct ct_spec *s, enum ct_ns ns)
{
	return s->ns[ns].wanted && !s->ns[ns].path;
}

static int check_namespaces(const struct ct_spec *s, const struct json_doc *doc, struct err *e)
{
	const bool maps = s->n_uids > 0 || s->n_gids > 0;

	if (maps && !is_new(s, CT_USER))
		return wrong(doc, "linux", "uidMappings", e, "id mappings need a new user namespace");
	if (is_new(s, CT_USER) && (s->n_uids == 0 || s->n_gids == 0))
		return wrong(doc, "linux", "namespaces", e, "a new user namespace needs uidMappings and gidMappings");
	if (s->n_time_offsets > 0 && !is_new(s, CT_TIME))
		return wrong(doc, "linux", "timeOffsets", e, "time offsets need a new time namespace");
	if (s->hostname && s->hostname[0] && !s->ns[CT_UTS].wanted)
		return wrong(doc, NULL, "hostname", e, "unable to set hostname without a private UTS namespace");
	if (s->domainname && s->domainname[0] && !s->ns[CT_UTS].wanted)
		return wrong(doc, NULL, "domainname", e, "unable to set domainname without a private UTS namespace");
	if (!s->ns[CT_MOUNT].wanted)
		return wrong(doc, "linux", "namespaces", e, "a container needs a mount namespace");
	return 0;
}

int config_sysctl_namespace(const char *name)
{
	static const char *const ipc[] = {"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem",
					  "kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced"};

	for (size_t i = 0; i < ARRAY_LEN(ipc); i++)
		if (strcmp(name, ipc[i]) == 0)
			return CT_IPC;
	if (str_starts(name, "fs.mqueue."))
		return CT_IPC;
	if (str_starts(name, "net."))
		return CT_NET;
	if (strcmp(name, "kernel.domainname") == 0)
		return CT_UTS;
	if (str_starts(name, "user."))
		return CT_USER;
	return -1;
}

/* sysctl(8): a name whose first separator is a slash has dots inside of its parts. */
static char *dotted(struct arena *a, const char *name)
{
	char *copy = arena_strdup(a, name), *first = copy ? strpbrk(copy, "./") : NULL;

	for (char *p = first && *first == '/' ? copy : NULL; p && (p = strpbrk(p, "./")); p++)
		*p = "./"[*p == '.'];
	return copy;
}

/* "net/../kernel/core_pattern" is not one of "net.": of @name, which is dotted, no part may be empty, "." or "..". */
static bool is_sysctl(const char *name)
{
	for (const char *p = name;; p++) {
		const size_t n = strcspn(p, ".");

		if (strspn(p, "/") >= n)
			return false;
		p += n;
		if (!*p)
			return true;
	}
}

static int check_sysctls(struct ct_spec *s, const struct json_doc *doc, struct err *e)
{
	for (size_t i = 0; i < s->n_sysctls; i++) {
		const struct json_path up = LINUX, sysctl = {.up = &up, .key = "sysctl"};
		const struct json_path at = {.up = &sysctl, .key = s->sysctls[i].key};
		char *name = dotted(&s->arena, s->sysctls[i].key);
		int ns;

		if (!name)
			return err_oom(e);
		if (!is_sysctl(name))
			return json_err(e, doc, &at, "'%s' is no name of a sysctl", name);
		ns = config_sysctl_namespace(name);
		if (ns < 0)
			return json_err(e, doc, &at, "sysctl '%s' is not in a separate kernel namespace", name);
		if (!s->ns[ns].wanted)
			return json_err(e, doc, &at, "sysctl '%s' is not allowed in the host's namespace", name);
		s->sysctls[i].key = name;
	}
	return 0;
}

/* What has no labels of its own gets the container's, as every runtime has it. */
static int label_mount(struct ct_spec *s, struct ct_mount *m)
{
	const char *label = s->mount_label, *key = s->mount_context ? s->mount_context : "context", **data;
	size_t n = 0;

	if (!label || !label[0] || !m->type || (strcmp(m->type, "tmpfs") != 0 && strcmp(m->type, "devpts") != 0))
		return 0;
	while (m->data && m->data[n])
		n++;
	data = arena_alloc(&s->arena, (n + 2) * sizeof *data);
	if (!data)
		return -ENOMEM;
	if (n > 0)
		memcpy(data, m->data, n * sizeof *data);
	data[n] = arena_printf(&s->arena, "%s=%s", key, label);
	m->data = data;
	return data[n] ? 0 : -ENOMEM;
}

static int check_mounts(struct ct_spec *s, const struct json_doc *doc, struct err *e)
{
	for (size_t i = 0; i < s->n_mounts; i++) {
		const struct json_path up = {.key = "mounts"}, at = {.up = &up, .index = i};
		struct ct_mount *m = &s->mounts[i];

		if (m->type && strcmp(m->type, "bind") == 0)
			m->bind = true;
		if (m->bind && (!m->source || !m->source[0]))
			return json_err(e, doc, &at, "a bind mount needs a source");
		if (m->bind && m->source[0] != '/')
			m->source = arena_printf(&s->arena, "%s/%s", s->bundle, m->source);
		if (!m->bind && !m->remount && (!m->type || !m->type[0]))
			return json_err(e, doc, &at, "a mount that is no bind needs a type");
		if ((m->n_uids > 0) != (m->n_gids > 0))
			return json_err(e, doc, &at, "uidMappings and gidMappings belong together");
		if (m->idmap && m->n_uids == 0 && s->n_uids == 0)
			return json_err(e, doc, &at, "idmap needs mappings, of the mount or of the container");
		if ((m->idmap || m->n_uids > 0) && !m->bind)
			return json_err(e, doc, &at, "only binds can map ids");
		if (m->bind && !m->source)
			return err_oom(e);
		if (label_mount(s, m) < 0)
			return err_oom(e);
	}
	return 0;
}

static bool has_number(const struct json *device)
{
	const struct json *major = json_member(device, "major"), *minor = json_member(device, "minor");

	return major && minor && json_type_of(major) == JSON_INTEGER && json_type_of(minor) == JSON_INTEGER;
}

static int check_devices(const struct ct_spec *s, const struct json_doc *doc, struct err *e)
{
	const struct json *section = s->n_devices > 0 ? json_member(json_doc_root(doc), "linux") : NULL;

	for (size_t i = 0; i < s->n_devices; i++) {
		const struct json_path up = LINUX, devices = {.up = &up, .key = "devices"};
		const struct json_path at = {.up = &devices, .index = i};
		const struct ct_device *d = &s->devices[i];

		if (!d->type[0] || !strchr("cubp", d->type[0]) || d->type[1])
			return json_err(e, doc, &at, "unknown type of device '%s'", d->type);
		if (d->type[0] != 'p' && !has_number(json_at(json_member(section, "devices"), i)))
			return json_err(e, doc, &at, "'major' and 'minor' are missing");
		if (d->type[0] != 'p' && (d->major < 0 || d->minor < 0 || d->major > 0xfff || d->minor > 0xfffff))
			return json_err(e, doc, &at, "device number %lld:%lld", (long long)d->major,
					(long long)d->minor);
	}
	return 0;
}

static int check_net_devices(const struct ct_spec *s, const struct json_doc *doc, struct err *e)
{
	if (s->n_net_devices > 0 && !s->ns[CT_NET].wanted)
		return wrong(doc, "linux", "netDevices", e,
			     "unable to move network devices without a network namespace");
	for (size_t i = 0; i < s->n_net_devices; i++) {
		const struct ct_net_device *d = &s->net_devices[i];
		const struct json_path up = LINUX, devices = {.up = &up, .key = "netDevices"};
		const struct json_path at = {.up = &devices, .key = d->name};

		if (!net_name_is_valid(d->name, false))
			return json_err(e, doc, &at, "'%.20s' is no name of a network device", d->name);
		if (!net_name_is_valid(d->inside, true))
			return json_err(e, doc, &at, "'%.20s' is no name of a network device", d->inside);
		for (size_t j = 0; j < i; j++)
			if (strcmp(d->inside, s->net_devices[j].inside) == 0 && !strchr(d->inside, '%'))
				return json_err(e, doc, &at, "'%s' a second time in the container", d->inside);
	}
	return 0;
}

/* "You MUST specify at least one of weight or leafWeight in a given entry". */
static int check_weights(const struct ct_spec *s, const struct json_doc *doc, struct err *e)
{
	for (size_t i = 0; i < s->resources.block.n_weights; i++) {
		const struct json_path up = LINUX, resources = {.up = &up, .key = "resources"};
		const struct json_path block = {.up = &resources, .key = "blockIO"};
		const struct json_path list = {.up = &block, .key = "weightDevice"};
		const struct json_path at = {.up = &list, .index = i};

		if (!s->resources.block.weights[i].weight.set && !s->resources.block.weights[i].leaf.set)
			return json_err(e, doc, &at, "one of 'weight' and 'leafWeight' is needed");
	}
	return 0;
}

static bool asks(const struct policy *p)
{
	for (size_t i = 0; i < p->n_rules; i++)
		if (p->rules[i].action == POLICY_NOTIFY)
			return true;
	return p->default_action == POLICY_NOTIFY;
}

/* "If the SCMP_ACT_NOTIFY action is not used [listenerPath] is ignored." With it and no path nobody would ever answer. */
static int check_seccomp(struct ct_spec *s, const struct json_doc *doc, struct err *e)
{
	struct ct_seccomp *sc = &s->seccomp;
	const struct json_path up = LINUX, seccomp = {.up = &up, .key = "seccomp"};
	const struct json_path path = {.up = &seccomp, .key = "listenerPath"};
	const struct json_path metadata = {.up = &seccomp, .key = "listenerMetadata"};

	sc->asks = sc->given && asks(&sc->policy);
	if (sc->listener_metadata && sc->listener_metadata[0] && !sc->listener_path)
		return json_err(e, doc, &metadata, "must not be set without listenerPath");
	if (sc->asks && !sc->listener_path)
		return json_err(e, doc, &path, "SCMP_ACT_NOTIFY needs it: nobody would answer");
	return 0;
}

int config_check(struct ct_spec *s, const struct json_doc *doc, struct err *e)
{
	int r;

	if (!s->rootfs)
		return wrong(doc, NULL, "root", e, "'root' with its 'path' is missing");
	r = config_annotations(s, doc, e);
	if (r < 0)
		return r;
	r = s->process.given ? config_check_process(&s->process, doc, e) : 0;
	if (r == 0)
		r = check_namespaces(s, doc, e);
	if (r == 0)
		r = check_sysctls(s, doc, e);
	if (r == 0)
		r = check_mounts(s, doc, e);
	if (r == 0)
		r = check_devices(s, doc, e);
	if (r == 0)
		r = check_net_devices(s, doc, e);
	if (r == 0)
		r = check_weights(s, doc, e);
	return r == 0 ? check_seccomp(s, doc, e) : r;
}
