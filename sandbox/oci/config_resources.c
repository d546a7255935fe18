/* "linux.resources": config-linux.md, "Control groups". Also what `update` reads. */
#include "oci/config_tables.h"

#define AT(member) offsetof(struct ct_resources, member)

enum { MAX_RULES = 1024 };

#define RULE(member) offsetof(struct ct_device_rule, member)
static const struct field rule_fields[] = {
	{"allow", field_bool, RULE(allow), NULL, true},
	{"type", field_text, RULE(type)},
	{"major", field_number, RULE(major), .min = -1, .max = UINT32_MAX},
	{"minor", field_number, RULE(minor), .min = -1, .max = UINT32_MAX},
	{"access", field_text, RULE(access)},
};
TABLE(rule_table, rule_fields, struct ct_device_rule);

static bool is_rule(const struct ct_device_rule *d)
{
	const char *type = d->type ? d->type : "", *access = d->access ? d->access : "";

	return strlen(type) <= 1 && (!type[0] || strchr("abcu", type[0])) && strspn(access, "rwm") == strlen(access) &&
	       strlen(access) <= 3;
}

static bool share_access(const struct ct_device_rule *a, const struct ct_device_rule *b)
{
	const char *all = "rwm", *one = a->access && a->access[0] ? a->access : all;

	return strpbrk(one, b->access && b->access[0] ? b->access : all);
}

/* "1:*" without "1:5": neither v1's files nor the program for v2, which plays them, can say so, and the device would stay
 * allowed. */
static bool is_hole(const struct ct_device_rule *wide, const struct ct_device_rule *d)
{
	const bool any_major = !wide->major.set || wide->major.v < 0, any_minor = !wide->minor.set || wide->minor.v < 0;
	const bool has_major = d->major.set && d->major.v >= 0, has_minor = d->minor.set && d->minor.v >= 0;

	if (!wide->allow || d->allow || !wide->type || !d->type || wide->type[0] != d->type[0] || d->type[0] == 'a' ||
	    !share_access(wide, d))
		return false;
	if (any_major)
		return (has_major || has_minor) &&
		       (any_minor || (has_minor && wide->minor.v == d->minor.v && has_major));
	return has_major && has_minor && wide->major.v == d->major.v && any_minor;
}

static int read_rules(struct reader *r, const struct field *f, const struct json *v, const struct json_path *here,
		      void *to)
{
	struct ct_resources *res = to;
	int rc = field_objects(r, f, v, here, &res->devices);
	size_t from = 0; /* rules before one for all devices have no meaning */

	if (rc == 0 && res->n_devices > MAX_RULES)
		return json_err(r->e, r->doc, here, "%zu rules: at most %d are taken", res->n_devices, MAX_RULES);
	for (size_t i = 0; rc == 0 && i < res->n_devices; i++) {
		const struct json_path at = {.up = here, .index = i};
		const struct ct_device_rule *d = &res->devices[i];

		if (!is_rule(d))
			return json_err(r->e, r->doc, &at,
					"type '%s' is none of a, b, c, u, or access '%s' not of r, w, m",
					d->type ? d->type : "", d->access ? d->access : "");
		if (!d->type || !d->type[0] || d->type[0] == 'a')
			from = i + 1;
		for (size_t j = from; j < i; j++)
			if (is_hole(&res->devices[j], d))
				return json_err(r->e, r->doc, &at,
						"a part of what rule %zu allows cannot be taken out of it again", j);
	}
	return rc;
}

static const struct field memory_fields[] = {
	{"limit", field_number, AT(memory.limit), .min = -1, .max = INT64_MAX},
	{"reservation", field_number, AT(memory.reservation), .min = -1, .max = INT64_MAX},
	{"swap", field_number, AT(memory.swap), .min = -1, .max = INT64_MAX},
	{"kernel", field_number, AT(memory.kernel), .min = -1, .max = INT64_MAX},
	{"kernelTCP", field_number, AT(memory.kernel_tcp), .min = -1, .max = INT64_MAX},
	{"swappiness", field_number, AT(memory.swappiness), .min = 0, .max = 100},
	{"disableOOMKiller", field_bool, AT(memory.no_oom_killer)},
	{"useHierarchy", field_bool, AT(memory.use_hierarchy)},
	{"checkBeforeUpdate", field_bool, AT(memory.check_first)},
};
TABLE(memory_table, memory_fields, struct ct_resources);

static const struct field cpu_fields[] = {
	{"shares", field_number, AT(cpu.shares), .min = 0, .max = INT64_MAX},
	{"quota", field_number, AT(cpu.quota)},
	{"burst", field_number, AT(cpu.burst), .min = 0, .max = INT64_MAX},
	{"period", field_number, AT(cpu.period), .min = 0, .max = INT64_MAX},
	{"realtimeRuntime", field_number, AT(cpu.rt_runtime)},
	{"realtimePeriod", field_number, AT(cpu.rt_period), .min = 0, .max = INT64_MAX},
	{"cpus", field_text, AT(cpu.cpus)},
	{"mems", field_text, AT(cpu.mems)},
	{"idle", field_number, AT(cpu.idle), .min = 0, .max = 1},
};
TABLE(cpu_table, cpu_fields, struct ct_resources);

static const struct field pids_fields[] = {{"limit", field_number, AT(pids)}};
TABLE(pids_table, pids_fields, struct ct_resources);

#define THROTTLE(member) offsetof(struct ct_throttle, member)
static const struct field throttle_fields[] = {
	{"major", field_i64, THROTTLE(major), NULL, true},
	{"minor", field_i64, THROTTLE(minor), NULL, true},
	{"rate", field_i64, THROTTLE(rate), NULL, true, .min = 0, .max = INT64_MAX},
};
TABLE(throttle_table, throttle_fields, struct ct_throttle);

#define WEIGHT(member) offsetof(struct ct_device_weight, member)
static const struct field weight_fields[] = {
	{"major", field_i64, WEIGHT(major), NULL, true},
	{"minor", field_i64, WEIGHT(minor), NULL, true},
	{"weight", field_number, WEIGHT(weight), .min = 0, .max = 1000},
	{"leafWeight", field_number, WEIGHT(leaf), .min = 0, .max = 1000},
};
TABLE(weight_table, weight_fields, struct ct_device_weight);

static const struct field block_fields[] = {
	{"weight", field_number, AT(block.weight), .min = 0, .max = 1000},
	{"leafWeight", field_number, AT(block.leaf_weight), .min = 0, .max = 1000},
	{"weightDevice", field_objects, AT(block.weights), &weight_table},
	{"throttleReadBpsDevice", field_objects, AT(block.read_bps), &throttle_table},
	{"throttleWriteBpsDevice", field_objects, AT(block.write_bps), &throttle_table},
	{"throttleReadIOPSDevice", field_objects, AT(block.read_iops), &throttle_table},
	{"throttleWriteIOPSDevice", field_objects, AT(block.write_iops), &throttle_table},
};
TABLE(block_table, block_fields, struct ct_resources);

static const struct field page_fields[] = {
	{"pageSize", field_text, offsetof(struct ct_hugepage, size), NULL, true},
	{"limit", field_i64, offsetof(struct ct_hugepage, limit), NULL, true, .min = 0, .max = INT64_MAX},
};
TABLE(page_table, page_fields, struct ct_hugepage);

static const struct field priority_fields[] = {
	{"name", field_text, offsetof(struct ct_interface_priority, name), NULL, true},
	{"priority", field_u32, offsetof(struct ct_interface_priority, priority), NULL, true},
};
TABLE(priority_table, priority_fields, struct ct_interface_priority);

static const struct field network_fields[] = {
	{"classID", field_number, AT(class_id), .min = 0, .max = UINT32_MAX},
	{"priorities", field_objects, AT(priorities), &priority_table},
};
TABLE(network_table, network_fields, struct ct_resources);

#define RDMA(member) offsetof(struct ct_rdma, member)
static const struct field rdma_fields[] = {
	{"hcaHandles", field_number, RDMA(handles), .min = 0, .max = UINT32_MAX},
	{"hcaObjects", field_number, RDMA(objects), .min = 0, .max = UINT32_MAX},
};
TABLE(rdma_table, rdma_fields, struct ct_rdma);

static const struct field resource_fields[] = {
	{"devices", read_rules, 0, &rule_table},      {"memory", field_object, 0, &memory_table},
	{"cpu", field_object, 0, &cpu_table},         {"pids", field_object, 0, &pids_table},
	{"blockIO", field_object, 0, &block_table},   {"hugepageLimits", field_objects, AT(hugepages), &page_table},
	{"network", field_object, 0, &network_table}, {"unified", field_pairs, AT(unified)},
	{"rdma", field_named, AT(rdma), &rdma_table},
};
const struct table resources_table = {resource_fields, ARRAY_LEN(resource_fields), sizeof(struct ct_resources)};
