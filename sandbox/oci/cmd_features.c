/* features: what this runtime knows (runtime-spec, features.md), from the same tables that read config.json. */
#include "oci/config.h"
#include "oci/fields.h"
#include "oci/oci.h"
#include "oci/unit.h"

static void add_list(struct buf *b, const char *key, const char *const *words, size_t n)
{
	buf_printf(b, "\"%s\":[", key);
	for (size_t i = 0; i < n; i++) {
		buf_puts(b, i ? "," : "");
		json_add_string(b, words[i], strlen(words[i]));
	}
	buf_puts(b, "]");
}
#define ADD_LIST(b, key, words) add_list(b, key, words, ARRAY_LEN(words))

static void add_capabilities(struct buf *b)
{
	const struct words *w = config_capabilities();

	buf_puts(b, "\"capabilities\":[");
	for (size_t i = 0; i < w->n; i++)
		buf_printf(b, "%s\"%s\"", i ? "," : "", w->words[i].name);
	buf_puts(b, "]");
}

static void add_seccomp(struct buf *b)
{
	static const char *const actions[] = {
		"SCMP_ACT_ALLOW",       "SCMP_ACT_ERRNO", "SCMP_ACT_KILL",  "SCMP_ACT_KILL_PROCESS",
		"SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG",   "SCMP_ACT_TRACE", "SCMP_ACT_TRAP",
	};
	static const char *const ops[] = {
		"SCMP_CMP_EQ", "SCMP_CMP_GE",        "SCMP_CMP_GT", "SCMP_CMP_LE",
		"SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE",
	};
	static const char *const archs[] = {"SCMP_ARCH_X86", "SCMP_ARCH_X86_64", "SCMP_ARCH_X32", "SCMP_ARCH_ARM",
					    "SCMP_ARCH_AARCH64"};
	static const char *const flags[] = {"SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG",
					    "SECCOMP_FILTER_FLAG_SPEC_ALLOW"};

	buf_puts(b, "\"seccomp\":{\"enabled\":true,");
	ADD_LIST(b, "actions", actions);
	buf_puts(b, ",");
	ADD_LIST(b, "operators", ops);
	buf_puts(b, ",");
	ADD_LIST(b, "archs", archs);
	buf_puts(b, ",");
	ADD_LIST(b, "knownFlags", flags);
	buf_puts(b, ",");
	ADD_LIST(b, "supportedFlags", flags);
	buf_puts(b, "}");
}

static void add_linux(struct buf *b)
{
	static const char *const namespaces[] = {"cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"};

	const char *systemd = unit_available() ? "true" : "false";

	buf_puts(b, "\"linux\":{");
	ADD_LIST(b, "namespaces", namespaces);
	buf_puts(b, ",");
	add_capabilities(b);
	buf_printf(b, ",\"cgroup\":{\"v1\":true,\"v2\":true,\"systemd\":%s,\"systemdUser\":%s,\"rdma\":false},",
		   systemd, systemd);
	add_seccomp(b);
	buf_puts(b,
		 ",\"apparmor\":{\"enabled\":false},\"selinux\":{\"enabled\":false},\"intelRdt\":{\"enabled\":false},"
		 "\"mountExtensions\":{\"idmap\":{\"enabled\":true}},\"netDevices\":{\"enabled\":false}}");
}

static int features_main(struct oci_args *a, struct err *e)
{
	static const char *const hooks[] = {"prestart",       "createRuntime", "createContainer",
					    "startContainer", "poststart",     "poststop"};
	AUTO(buf_done) struct buf b = {0};
	size_t n;
	const char *const *options = config_mount_option_names(&n);

	(void)a;
	buf_puts(&b, "{\"ociVersionMin\":\"1.0.0\",\"ociVersionMax\":\"1.3.0\",");
	ADD_LIST(&b, "hooks", hooks);
	buf_puts(&b, ",");
	add_list(&b, "mountOptions", options, n);
	buf_puts(&b, ",");
	add_linux(&b);
	buf_printf(&b, ",\"annotations\":{\"io.fsbox.version\":\"%s\"}", FSBOX_VERSION);
	buf_puts(&b, ",\"potentiallyUnsafeConfigAnnotations\":[\"org.systemd.property.\"]}\n");
	return oci_print(&b, e);
}

const struct oci_command oci_features = {
	.name = "features",
	.operands = "",
	.summary = "print what this runtime knows, as JSON",
	.max_operands = 0,
	.main = features_main,
};
