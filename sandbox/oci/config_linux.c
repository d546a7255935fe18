/* "linux": config-linux.md, but for resources and seccomp. */
#include "oci/config_tables.h"

#include <errno.h>
#include <sys/mount.h>
#include <sys/personality.h>

#define AT(member) offsetof(struct ct_spec, member)

/* ---- Namespaces ---- */

static const struct word ns_words[] = {
	{"user", CT_USER}, {"pid", CT_PID},       {"network", CT_NET}, {"ipc", CT_IPC},
	{"uts", CT_UTS},   {"cgroup", CT_CGROUP}, {"time", CT_TIME},   {"mount", CT_MOUNT},
};
const struct words namespace_names = {ns_words, ARRAY_LEN(ns_words), "type of namespace"};

struct namespace
{
	int type;
	const char *path;
};
static const struct field ns_fields[] = {
	{"type", field_word, offsetof(struct namespace, type), &namespace_names, true},
	{"path", field_text, offsetof(struct namespace, path)},
};
TABLE(ns_table, ns_fields, struct namespace);

static int read_namespaces(struct reader *r, const struct field *f, const struct json *v, const struct json_path *here,
			   void *to)
{
	struct ct_spec *s = to;
	struct {
		struct namespace *at;
		size_t n;
	} list = {0};
	int rc = field_objects(r, f, v, here, &list);

	for (size_t i = 0; rc == 0 && i < list.n; i++) {
		const struct json_path at = {.up = here, .index = i};
		struct ct_namespace *ns = &s->ns[list.at[i].type];
		const char *path = list.at[i].path;

		if (ns->wanted)
			return json_err(r->e, r->doc, &at, "a second '%s' namespace", ns_words[list.at[i].type].name);
		if (path && path[0] != '\0' && path[0] != '/')
			return json_err(r->e, r->doc, &at, "path '%s' is not absolute", path);
		*ns = (struct ct_namespace){.wanted = true, .path = path && path[0] ? path : NULL};
	}
	return rc;
}

#define MAP(member) offsetof(struct id_map, member)
static const struct field map_fields[] = {
	{"containerID", field_u32, MAP(inside), NULL, true},
	{"hostID", field_u32, MAP(outside), NULL, true},
	{"size", field_u32, MAP(count), NULL, true},
};
TABLE(map_table, map_fields, struct id_map);

/* ---- Devices ---- */

#define DEV(member) offsetof(struct ct_device, member)
static const struct field device_fields[] = {
	{"type", field_text, DEV(type), NULL, true},
	{"path", field_path, DEV(path), NULL, true},
	{"major", field_i64, DEV(major)},
	{"minor", field_i64, DEV(minor)},
	{"fileMode", field_number, DEV(mode), .min = 0,
	 .max = 0177777}, /* Go's os.FileMode brings type bits here and there */
	{"uid", field_number, DEV(uid), .min = 0, .max = UINT32_MAX},
	{"gid", field_number, DEV(gid), .min = 0, .max = UINT32_MAX},
};
TABLE(device_table, device_fields, struct ct_device);

/* ---- Network devices ---- */

static const struct field net_device_fields[] = {
	{"name", field_text, offsetof(struct ct_net_device, inside)},
};
TABLE(net_device_table, net_device_fields, struct ct_net_device);

static int read_net_devices(struct reader *r, const struct field *f, const struct json *v, const struct json_path *here,
			    void *to)
{
	struct ct_spec *s = to;
	int rc = field_named(r, f, v, here, &s->net_devices);

	for (size_t i = 0; rc == 0 && i < s->n_net_devices; i++)
		if (!s->net_devices[i].inside || !s->net_devices[i].inside[0])
			s->net_devices[i].inside = s->net_devices[i].name;
	return rc;
}

/* ---- Memory policy: set_mempolicy(2), include/uapi/linux/mempolicy.h ---- */

enum { DEFAULT, PREFERRED, BIND, INTERLEAVE, LOCAL, PREFERRED_MANY, WEIGHTED_INTERLEAVE };
enum { NUMA_BALANCING = 1 << 13, RELATIVE_NODES = 1 << 14, STATIC_NODES = 1 << 15 };

static const struct word memory_mode_words[] = {
	{"MPOL_DEFAULT", DEFAULT},       {"MPOL_BIND", BIND},
	{"MPOL_INTERLEAVE", INTERLEAVE}, {"MPOL_WEIGHTED_INTERLEAVE", WEIGHTED_INTERLEAVE},
	{"MPOL_PREFERRED", PREFERRED},   {"MPOL_PREFERRED_MANY", PREFERRED_MANY},
	{"MPOL_LOCAL", LOCAL},
};
const struct words memory_modes = {memory_mode_words, ARRAY_LEN(memory_mode_words), "mode of a memory policy"};

static const struct word memory_flag_words[] = {
	{"MPOL_F_NUMA_BALANCING", NUMA_BALANCING},
	{"MPOL_F_RELATIVE_NODES", RELATIVE_NODES},
	{"MPOL_F_STATIC_NODES", STATIC_NODES},
};
const struct words memory_flags = {memory_flag_words, ARRAY_LEN(memory_flag_words), "flag of a memory policy"};

#define POLICY(member) offsetof(struct ct_memory_policy, member)
static const struct field memory_policy_fields[] = {
	{"mode", field_word, POLICY(mode), &memory_modes, true},
	{"nodes", field_cpus, POLICY(nodes)},
	{"flags", field_bits, POLICY(flags), &memory_flags},
};
TABLE(memory_policy_table, memory_policy_fields, struct ct_memory_policy);

static int read_memory_policy(struct reader *r, const struct field *f, const struct json *v,
			      const struct json_path *here, void *to)
{
	struct ct_memory_policy *p = to;
	int rc = field_object(r, f, v, here, to);

	p->set = true;
	if (rc < 0)
		return rc;
	if (p->mode == DEFAULT || p->mode == LOCAL) {
		if (p->nodes.set || p->flags)
			return json_err(r->e, r->doc, here, "MPOL_DEFAULT and MPOL_LOCAL take neither nodes nor flags");
	} else if (p->mode != PREFERRED && !p->nodes.set) {
		return json_err(r->e, r->doc, here, "this mode needs at least one node");
	}
	if ((p->flags & RELATIVE_NODES) && (p->flags & STATIC_NODES))
		return json_err(r->e, r->doc, here, "nodes are relative or static, not both");
	return 0;
}

/* ---- Classes of service ---- */

#define RDT(member) offsetof(struct ct_rdt, member)
static const struct field rdt_fields[] = {
	{"closID", field_text, RDT(clos)},
	{"l3CacheSchema", field_text, RDT(l3)},
	{"memBwSchema", field_text, RDT(memory)},
	{"schemata", field_texts, RDT(schemata)},
	{"enableMonitoring", field_bool, RDT(monitoring)},
	{"enableCMT", NULL, .why = "a class of its own is monitored in any case"},
	{"enableMBM", NULL, .why = "a class of its own is monitored in any case"},
};
TABLE(rdt_table, rdt_fields, struct ct_rdt);

static int read_rdt(struct reader *r, const struct field *f, const struct json *v, const struct json_path *here,
		    void *to)
{
	struct ct_rdt *rdt = to;
	int rc = field_object(r, f, v, here, to);
	const char *clos = rdt->clos;

	rdt->given = true;
	if (rc < 0)
		return rc;
	if (clos && (strcmp(clos, ".") == 0 || strcmp(clos, "..") == 0 || (clos[0] && clos[1] && strchr(clos, '/')) ||
		     strlen(clos) > 200))
		return json_err(r->e, r->doc, here, "'%.60s' is no name of a class", clos);
	if (rdt->memory && (!str_starts(rdt->memory, "MB:") || strchr(rdt->memory, '\n')))
		return json_err(r->e, r->doc, here, "memBwSchema is one line that begins with 'MB:'");
	for (size_t i = 0; rdt->schemata && rdt->schemata[i]; i++)
		if (strchr(rdt->schemata[i], '\n'))
			return json_err(r->e, r->doc, here, "schemata[%zu] is more than one line", i);
	return 0;
}

/* ---- The rest ---- */

static const struct word propagation_words[] = {
	{"shared", MS_SHARED},         {"rshared", MS_SHARED | MS_REC},
	{"slave", MS_SLAVE},           {"rslave", MS_SLAVE | MS_REC},
	{"private", MS_PRIVATE},       {"rprivate", MS_PRIVATE | MS_REC},
	{"unbindable", MS_UNBINDABLE}, {"runbindable", MS_UNBINDABLE | MS_REC},
};
static const struct words propagations = {propagation_words, ARRAY_LEN(propagation_words), "propagation"};

static int read_propagation(struct reader *r, const struct field *f, const struct json *v, const struct json_path *here,
			    void *to)
{
	const struct words *known = f->arg;
	const struct word *w;

	if (json_type_of(v) != JSON_STRING)
		return field_wrong_type(r, v, here, "a string");
	if (json_string_get(v, NULL)[0] == '\0')
		return 0;
	w = word_find(known, json_string_get(v, NULL));
	if (!w)
		return json_err(r->e, r->doc, here, "unknown propagation '%.60s'", json_string_get(v, NULL));
	*(unsigned long *)to = (unsigned long)w->value;
	return 0;
}

static const struct word domain_words[] = {{"LINUX", PER_LINUX}, {"LINUX32", PER_LINUX32}};
static const struct words domains = {domain_words, ARRAY_LEN(domain_words), "execution domain"};

struct personality {
	int domain;
	const char **flags;
};
static const struct field personality_fields[] = {
	{"domain", field_word, offsetof(struct personality, domain), &domains, true},
	{"flags", field_texts, offsetof(struct personality, flags)},
};
TABLE(personality_table, personality_fields, struct personality);

static int read_personality(struct reader *r, const struct field *f, const struct json *v, const struct json_path *here,
			    void *to)
{
	struct personality p = {0};
	int rc = field_object(r, f, v, here, &p);

	if (rc == 0 && p.flags && p.flags[0]) /* "the flags are currently not defined" */
		return json_err(r->e, r->doc, here, "no flag of a personality is defined, got '%s'", p.flags[0]);
	if (rc == 0)
		*(struct ct_number *)to = (struct ct_number){.set = true, .v = p.domain};
	return rc;
}

struct offsets {
	int64_t secs;
	uint32_t nanosecs;
};
static const struct field offset_fields[] = {
	{"secs", field_i64, offsetof(struct offsets, secs)},
	{"nanosecs", field_u32, offsetof(struct offsets, nanosecs), .min = 0, .max = 999999999},
};
TABLE(offset_table, offset_fields, struct offsets);

static int read_time_offset(struct reader *r, const struct field *f, const struct json *v, const struct json_path *here,
			    void *to)
{
	struct ct_spec *s = to;
	struct offsets o = {0};
	int rc = field_object(r, f, v, here, &o);

	if (rc < 0)
		return rc;
	if (!s->time_offsets)
		s->time_offsets = reader_alloc(r, 2 * sizeof *s->time_offsets);
	if (!s->time_offsets)
		return -ENOMEM;
	s->time_offsets[s->n_time_offsets].key = f->key;
	s->time_offsets[s->n_time_offsets].value = arena_printf(&s->arena, "%lld %u", (long long)o.secs,
								(unsigned)o.nanosecs);
	return s->time_offsets[s->n_time_offsets++].value ? 0 : err_oom(r->e);
}

static const struct field time_fields[] = {
	{"monotonic", read_time_offset, 0, &offset_table},
	{"boottime", read_time_offset, 0, &offset_table},
};
TABLE(time_table, time_fields, struct ct_spec);

static int read_seccomp(struct reader *r, const struct field *f, const struct json *v, const struct json_path *here,
			void *to)
{
	struct ct_seccomp *s = to;
	int rc;

	s->given = true;
	s->policy.default_errno = EPERM;
	s->policy.file = json_doc_file(r->doc);
	rc = field_object(r, f, v, here, to);
	return rc == 0 ? seccomp_check_default(r, v, here, (int)s->policy.default_action) : rc;
}

static const struct field linux_fields[] = {
	{"namespaces", read_namespaces, 0, &ns_table},
	{"uidMappings", field_objects, AT(uids), &map_table},
	{"gidMappings", field_objects, AT(gids), &map_table},
	{"timeOffsets", field_object, 0, &time_table},
	{"devices", field_objects, AT(devices), &device_table},
	{"cgroupsPath", field_text, AT(cgroups_path)},
	{"resources", field_object, AT(resources), &resources_table},
	{"rootfsPropagation", read_propagation, AT(propagation), &propagations},
	{"maskedPaths", field_paths, AT(masked)},
	{"readonlyPaths", field_paths, AT(readonly)},
	{"mountLabel", field_text, AT(mount_label)},
	{"sysctl", field_pairs, AT(sysctls)},
	{"seccomp", read_seccomp, AT(seccomp), &seccomp_table},
	{"personality", read_personality, AT(personality), &personality_table},
	{"netDevices", read_net_devices, 0, &net_device_table},
	{"memoryPolicy", read_memory_policy, AT(memory_policy), &memory_policy_table},
	{"intelRdt", read_rdt, AT(rdt), &rdt_table},
};
const struct table linux_table = {linux_fields, ARRAY_LEN(linux_fields), sizeof(struct ct_spec)};
