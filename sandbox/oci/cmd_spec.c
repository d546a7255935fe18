/* spec: a config.json to begin with. */
#include "base/fd.h"
#include "oci/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

/* clang-format off */
static const char head[] =
"{\n"
"\t\"ociVersion\": \"1.3.0\",\n"
"\t\"process\": {\n"
"\t\t\"terminal\": true,\n"
"\t\t\"user\": {\"uid\": 0, \"gid\": 0},\n"
"\t\t\"args\": [\"sh\"],\n"
"\t\t\"env\": [\"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\", \"TERM=xterm\"],\n"
"\t\t\"cwd\": \"/\",\n"
"\t\t\"capabilities\": {\n"
"\t\t\t\"bounding\": [\"CAP_AUDIT_WRITE\", \"CAP_KILL\", \"CAP_NET_BIND_SERVICE\"],\n"
"\t\t\t\"effective\": [\"CAP_AUDIT_WRITE\", \"CAP_KILL\", \"CAP_NET_BIND_SERVICE\"],\n"
"\t\t\t\"permitted\": [\"CAP_AUDIT_WRITE\", \"CAP_KILL\", \"CAP_NET_BIND_SERVICE\"]\n"
"\t\t},\n"
"\t\t\"rlimits\": [{\"type\": \"RLIMIT_NOFILE\", \"hard\": 1024, \"soft\": 1024}],\n"
"\t\t\"noNewPrivileges\": true\n"
"\t},\n"
"\t\"root\": {\"path\": \"rootfs\", \"readonly\": true},\n"
"\t\"hostname\": \"fsbox\",\n"
"\t\"mounts\": [\n"
"\t\t{\"destination\": \"/proc\", \"type\": \"proc\", \"source\": \"proc\"},\n"
"\t\t{\"destination\": \"/dev\", \"type\": \"tmpfs\", \"source\": \"tmpfs\", \"options\": [\"nosuid\", \"strictatime\", \"mode=755\", \"size=65536k\"]},\n"
"\t\t{\"destination\": \"/dev/pts\", \"type\": \"devpts\", \"source\": \"devpts\", \"options\": [\"nosuid\", \"noexec\", \"newinstance\", \"ptmxmode=0666\", \"mode=0620\"%s]},\n"
"\t\t{\"destination\": \"/dev/shm\", \"type\": \"tmpfs\", \"source\": \"shm\", \"options\": [\"nosuid\", \"noexec\", \"nodev\", \"mode=1777\", \"size=65536k\"]},\n"
"\t\t{\"destination\": \"/dev/mqueue\", \"type\": \"mqueue\", \"source\": \"mqueue\", \"options\": [\"nosuid\", \"noexec\", \"nodev\"]},\n"
"\t\t%s%s\n"
"\t],\n"
"\t\"linux\": {\n"
"%s"
"\t\t\"namespaces\": [{\"type\": \"pid\"}, %s{\"type\": \"ipc\"}, {\"type\": \"uts\"}, {\"type\": \"mount\"}, {\"type\": \"cgroup\"}%s],\n"
"\t\t\"maskedPaths\": [\"/proc/acpi\", \"/proc/asound\", \"/proc/kcore\", \"/proc/keys\", \"/proc/latency_stats\", \"/proc/timer_list\", \"/proc/timer_stats\", \"/proc/sched_debug\", \"/sys/firmware\", \"/proc/scsi\"],\n"
"\t\t\"readonlyPaths\": [\"/proc/bus\", \"/proc/fs\", \"/proc/irq\", \"/proc/sys\", \"/proc/sysrq-trigger\"]\n"
"\t}\n"
"}\n";
static const char sysfs[] = "{\"destination\": \"/sys\", \"type\": \"sysfs\", \"source\": \"sysfs\", \"options\": [\"nosuid\", \"noexec\", \"nodev\", \"ro\"]}";
static const char bound[] = "{\"destination\": \"/sys\", \"type\": \"none\", \"source\": \"/sys\", \"options\": [\"rbind\", \"nosuid\", \"noexec\", \"nodev\", \"ro\"]}";
static const char cgroup[] = ",\n\t\t{\"destination\": \"/sys/fs/cgroup\", \"type\": \"cgroup\", \"source\": \"cgroup\", \"options\": [\"nosuid\", \"noexec\", \"nodev\", \"relatime\", \"ro\"]}";
static const char devices[] = "\t\t\"resources\": {\"devices\": [{\"allow\": false, \"access\": \"rwm\"}]},\n";
/* clang-format on */

static int spec_main(struct oci_args *a, struct err *e)
{
	const char *bundle = a->bundle ? a->bundle : ".";
	AUTO_FD int dir = open(bundle, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO(buf_done) struct buf b = {0};
	char maps[256];

	if (dir < 0)
		return err_sys(e, errno, "opening '%s'", bundle);
	if (faccessat(dir, "config.json", F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return err_set(e, ERR_EXISTS, EEXIST, "file config.json exists. Remove it first");
	(void)snprintf(maps, sizeof maps,
		       "\t\t\"uidMappings\": [{\"containerID\": 0, \"hostID\": %u, \"size\": 1}],\n"
		       "\t\t\"gidMappings\": [{\"containerID\": 0, \"hostID\": %u, \"size\": 1}],\n",
		       geteuid(), getegid());
	if (a->spec_rootless)
		buf_printf(&b, head, "", bound, "", maps, "", ", {\"type\": \"user\"}");
	else
		buf_printf(&b, head, ", \"gid=5\"", sysfs, cgroup, devices, "{\"type\": \"network\"}, ", "");
	return b.failed ? err_oom(e) : file_replace(dir, "config.json", b.data, b.len, 0666, e);
}

static const struct opt spec_options[] = {
	OCI_TEXT("bundle", bundle, 'b', "DIR", "where to write it"),
	OCI_FLAG("rootless", spec_rootless, 0, "for a container of an ordinary user"),
};
const struct oci_command oci_spec = {
	.name = "spec",
	.operands = "",
	.summary = "write a config.json to begin with",
	.options = {spec_options, ARRAY_LEN(spec_options)},
	.max_operands = 0,
	.main = spec_main,
};
