/* What a container may use, as the OCI runtime-spec says it (config-linux.md, "Control groups"). Pure data; cgroup/ knows
 * which files that is. Arrays are a pointer and its count; texts are borrowed from the arena of the spec they stand in. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A number that may be absent, which is not the same as 0. */
struct ct_number {
	bool set;
	int64_t v;
};

struct ct_device_rule {
	bool allow;
	const char *type; /* "a", "b", "c", or NULL for all */
	struct ct_number major, minor;
	const char *access; /* letters of "rwm", or NULL for all */
};

struct ct_throttle { /* bytes or operations a second */
	int64_t major, minor;
	uint64_t rate;
};

struct ct_device_weight {
	int64_t major, minor;
	struct ct_number weight, leaf;
};

struct ct_hugepage {
	const char *size; /* "2MB" */
	uint64_t limit;   /* bytes */
};

struct ct_pair {
	const char *key, *value;
};

struct ct_interface_priority {
	const char *name;
	uint32_t priority;
};

struct ct_rdma {
	const char *device;
	struct ct_number handles, objects;
};

struct ct_rdt { /* linux.intelRdt */
	bool given, monitoring;
	const char *clos;        /* a class of service; NULL or "": one of the container's own */
	const char *l3, *memory; /* lines for its schemata */
	const char **schemata;   /* more of them, NULL at its end */
};

struct ct_resources {
	struct { /* bytes; -1: without limit */
		struct ct_number limit, reservation, swap, kernel, kernel_tcp, swappiness;
		bool no_oom_killer, use_hierarchy, check_first;
	} memory;
	struct { /* microseconds */
		struct ct_number shares, quota, burst, period, rt_runtime, rt_period, idle;
		const char *cpus, *mems;
	} cpu;
	struct ct_number pids;
	struct {
		struct ct_number weight, leaf_weight;
		struct ct_device_weight *weights;
		size_t n_weights;
		struct ct_throttle *read_bps;
		size_t n_read_bps;
		struct ct_throttle *write_bps;
		size_t n_write_bps;
		struct ct_throttle *read_iops;
		size_t n_read_iops;
		struct ct_throttle *write_iops;
		size_t n_write_iops;
	} block;
	struct ct_hugepage *hugepages;
	size_t n_hugepages;
	struct ct_number class_id;
	struct ct_interface_priority *priorities;
	size_t n_priorities;
	struct ct_rdma *rdma;
	size_t n_rdma;
	struct ct_pair *unified;
	size_t n_unified;
	struct ct_device_rule *devices;
	size_t n_devices;
};
