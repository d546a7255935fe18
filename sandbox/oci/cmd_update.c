/* update: the limits of a container that runs. */
#include "base/fd.h"
#include "oci/config.h"
#include "oci/unit.h"

#include <errno.h>
#include <fcntl.h>

/* "512m": bytes with a unit of 1,024, as docker writes it; -1 is none. */
static int read_bytes(const char *name, const char *text, struct ct_number *to, struct err *e)
{
	char digits[24];
	size_t n = text ? strspn(text, "0123456789") : 0;
	uint64_t v, unit = 1;

	if (!text)
		return 0;
	to->set = true;
	to->v = -1;
	if (strcmp(text, "-1") == 0)
		return 0;
	str_copy(digits, n + 1 < sizeof digits ? n + 1 : sizeof digits, text);
	switch (text[n] | 0x20) {
	case 'k':
		unit = 1 << 10;
		break;
	case 'm':
		unit = 1 << 20;
		break;
	case 'g':
		unit = 1 << 30;
		break;
	default:
		if (text[n] && text[n] != 'b' && text[n] != 'B')
			n = 0;
	}
	if (n == 0 || !parse_u64(digits, 0, INT64_MAX / unit, &v))
		return err_set(e, ERR_SPEC, EINVAL, "--%s: expected bytes, got '%s'", name, text);
	to->v = (int64_t)(v * unit);
	return 0;
}

static int read_number(const char *name, const char *text, struct ct_number *to, struct err *e)
{
	uint64_t v;
	const bool minus = text && text[0] == '-';

	if (!text)
		return 0;
	if (!parse_u64(text + minus, 0, INT64_MAX, &v))
		return err_set(e, ERR_SPEC, EINVAL, "--%s: expected a number, got '%s'", name, text);
	*to = (struct ct_number){true, minus ? -(int64_t)v : (int64_t)v};
	return 0;
}

static int read_options(const struct oci_args *a, struct ct_resources *r, struct err *e)
{
	int rc = read_bytes("memory", a->memory, &r->memory.limit, e);

	if (rc == 0)
		rc = read_bytes("memory-reservation", a->memory_reservation, &r->memory.reservation, e);
	if (rc == 0)
		rc = read_bytes("memory-swap", a->memory_swap, &r->memory.swap, e);
	if (rc == 0)
		rc = read_bytes("kernel-memory", a->kernel_memory, &r->memory.kernel, e);
	if (rc == 0)
		rc = read_bytes("kernel-memory-tcp", a->kernel_memory_tcp, &r->memory.kernel_tcp, e);
	if (rc == 0)
		rc = read_number("cpu-period", a->cpu_period, &r->cpu.period, e);
	if (rc == 0)
		rc = read_number("cpu-quota", a->cpu_quota, &r->cpu.quota, e);
	if (rc == 0)
		rc = read_number("cpu-burst", a->cpu_burst, &r->cpu.burst, e);
	if (rc == 0)
		rc = read_number("cpu-share", a->cpu_share, &r->cpu.shares, e);
	if (rc == 0)
		rc = read_number("cpu-idle", a->cpu_idle, &r->cpu.idle, e);
	if (rc == 0)
		rc = read_number("cpu-rt-period", a->cpu_rt_period, &r->cpu.rt_period, e);
	if (rc == 0)
		rc = read_number("cpu-rt-runtime", a->cpu_rt_runtime, &r->cpu.rt_runtime, e);
	if (rc == 0)
		rc = read_number("pids-limit", a->pids_limit, &r->pids, e);
	if (rc == 0)
		rc = read_number("blkio-weight", a->blkio_weight, &r->block.weight, e);
	r->cpu.cpus = a->cpuset_cpus;
	r->cpu.mems = a->cpuset_mems;
	return rc;
}

static int read_file(const char *file, struct ct_spec *s, struct err *e)
{
	AUTO_FD int fd = strcmp(file, "-") == 0 ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)
						: open(file, O_RDONLY | O_CLOEXEC);
	AUTO_FREE char *text = NULL;
	size_t len;
	int r = fd < 0 ? -errno : fd_read_all(fd, CONFIG_MAX_BYTES, &text, &len);

	return r < 0 ? err_sys(e, r, "reading '%s'", file) : config_read_resources("resources", text, len, s, e);
}

static int update_class(const struct oci_args *a, int dir, const struct oci_state *st, struct err *e)
{
	const struct ct_rdt change = {.l3 = a->l3_schema, .memory = a->mem_bw_schema};
	AUTO(config_freep) struct ct_spec *s = NULL;
	char root[CG_RESCTRL_ROOT];
	int r = cg_resctrl_find(root, e);

	if (r == 0)
		r = config_copy_read(dir, st, &s, e);
	if (r == 0 && !s->rdt.given)
		return err_set(e, ERR_SPEC, EINVAL, "container %s has no intelRdt, so no class of service to change",
			       st->id);
	return r == 0 ? cg_resctrl_update(root, &s->rdt, st->id, &change, e) : r;
}

static int update_main(struct oci_args *a, struct err *e)
{
	AUTO(config_freep) struct ct_spec *s = calloc(1, sizeof *s);
	struct oci_state st = {0};
	struct cg_group g = {0};
	AUTO_FD int dir = FD_NONE;
	int r = !s ? err_oom(e) : a->resources ? read_file(a->resources, s, e) : read_options(a, &s->resources, e);

	if (r == 0)
		r = store_group(a, true, &st, &dir, &g, e);
	if (r == 0 && st.unit[0]) {
		r = cg_group_check_use(&g, &s->resources, e);
		if (r == 0)
			r = unit_update(&st, &s->resources, e);
	}
	if (r == 0)
		r = cg_group_limit(&g, &s->resources, true, e);
	if (r == 0 && (a->l3_schema || a->mem_bw_schema))
		r = update_class(a, dir, &st, e);
	cg_group_close(&g);
	state_done(&st);
	return r;
}

static const struct opt update_options[] = {
	OCI_TEXT("resources", resources, 'r', "FILE", "linux.resources as JSON; - for standard input"),
	OCI_TEXT("memory", memory, 0, "BYTES", "memory"),
	OCI_TEXT("memory-reservation", memory_reservation, 0, "BYTES", "memory that is left to it under pressure"),
	OCI_TEXT("memory-swap", memory_swap, 0, "BYTES", "memory and swap together"),
	OCI_TEXT("kernel-memory", kernel_memory, 0, "BYTES", "for old kernels"),
	OCI_TEXT("kernel-memory-tcp", kernel_memory_tcp, 0, "BYTES", "buffers of sockets, v1"),
	OCI_TEXT("cpu-period", cpu_period, 0, "US", "period of the quota"),
	OCI_TEXT("cpu-quota", cpu_quota, 0, "US", "CPU time in each period"),
	OCI_TEXT("cpu-burst", cpu_burst, 0, "US", "what may be saved up"),
	OCI_TEXT("cpu-share", cpu_share, 0, "N", "weight among others"),
	OCI_TEXT("cpu-rt-period", cpu_rt_period, 0, "US", "real time, v1"),
	OCI_TEXT("cpu-rt-runtime", cpu_rt_runtime, 0, "US", "real time, v1"),
	OCI_TEXT("cpuset-cpus", cpuset_cpus, 0, "LIST", "CPUs"),
	OCI_TEXT("cpuset-mems", cpuset_mems, 0, "LIST", "memory nodes"),
	OCI_TEXT("cpu-idle", cpu_idle, 0, "0|1", "only what others leave"),
	OCI_TEXT("pids-limit", pids_limit, 0, "N", "processes and threads"),
	OCI_TEXT("blkio-weight", blkio_weight, 0, "N", "weight of block I/O"),
	OCI_TEXT("l3-cache-schema", l3_schema, 0, "S", "a line of the class of service, L3:…"),
	OCI_TEXT("mem-bw-schema", mem_bw_schema, 0, "S", "a line of the class of service, MB:…"),
};
const struct oci_command oci_update = {
	.name = "update",
	.operands = "ID",
	.summary = "change the limits of a container",
	.options = {update_options, ARRAY_LEN(update_options)},
	.min_operands = 1,
	.max_operands = 1,
	.main = update_main,
};
