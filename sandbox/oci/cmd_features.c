/* features: what this runtime knows (runtime-spec, features.md), from the same tables that read config.json. */
#include "oci/checkpoint.h"
#include "oci/config.h"
#include "oci/fields.h"
#include "oci/oci.h"
#include "oci/unit.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>
#include <unistd.h>

static void add_list(struct buf *b, const char *key, const char *const *words, size_t n)
{
	buf_printf(b, "\"%s\":[", key);
	for (size_t i = 0; i < n; i++) {
		buf_puts(b, i ? "," : "");
		json_add_string(b, words[i], strlen(words[i]));
	}
	buf_puts(b, "]");
}

static void add_words(struct buf *b, const char *key, enum config_list which)
{
	const struct words *w = config_words(which);

	buf_printf(b, "\"%s\":[", key);
	for (size_t i = 0; i < w->n; i++)
		buf_printf(b, "%s\"%s\"", i ? "," : "", w->words[i].name);
	buf_puts(b, "]");
}

/* seccomp(2): "flags" are looked at before the program is; a known one leads to EFAULT. */
static bool kernel_knows(unsigned flag)
{
	if (flag == SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV)
		flag |= SECCOMP_FILTER_FLAG_NEW_LISTENER;
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flag, NULL) < 0 && errno == EFAULT;
}

static void add_supported_flags(struct buf *b)
{
	const struct words *w = config_words(CONFIG_SECCOMP_FLAGS);
	size_t n = 0;

	buf_puts(b, "\"supportedFlags\":[");
	for (size_t i = 0; i < w->n; i++)
		if (kernel_knows((unsigned)w->words[i].value))
			buf_printf(b, "%s\"%s\"", n++ ? "," : "", w->words[i].name);
	buf_puts(b, "]");
}

static void add_seccomp(struct buf *b)
{
	buf_puts(b, "\"seccomp\":{\"enabled\":true,");
	add_words(b, "actions", CONFIG_SECCOMP_ACTIONS);
	buf_puts(b, ",");
	add_words(b, "operators", CONFIG_SECCOMP_OPS);
	buf_puts(b, ",");
	add_words(b, "archs", CONFIG_SECCOMP_ARCHS);
	buf_puts(b, ",");
	add_words(b, "knownFlags", CONFIG_SECCOMP_FLAGS);
	buf_puts(b, ",");
	add_supported_flags(b);
	buf_puts(b, "}");
}

static void add_linux(struct buf *b)
{
	const char *systemd = unit_available() ? "true" : "false";

	buf_puts(b, "\"linux\":{");
	add_words(b, "namespaces", CONFIG_NAMESPACES);
	buf_puts(b, ",");
	add_words(b, "capabilities", CONFIG_CAPABILITIES);
	buf_printf(b, ",\"cgroup\":{\"v1\":true,\"v2\":true,\"systemd\":%s,\"systemdUser\":%s,\"rdma\":true},", systemd,
		   systemd);
	add_seccomp(b);
	buf_puts(b, ",\"memoryPolicy\":{");
	add_words(b, "modes", CONFIG_MEMORY_MODES);
	buf_puts(b, ",");
	add_words(b, "flags", CONFIG_MEMORY_FLAGS);
	buf_puts(b, "},\"apparmor\":{\"enabled\":true},\"selinux\":{\"enabled\":true},");
	buf_puts(b, "\"intelRdt\":{\"enabled\":true,\"schemata\":true,\"monitoring\":true},");
	buf_puts(b, "\"mountExtensions\":{\"idmap\":{\"enabled\":true}},\"netDevices\":{\"enabled\":true}}");
}

static int features_main(struct oci_args *a, struct err *e)
{
	const char *hooks[CT_HOOK_KINDS];
	AUTO(buf_done) struct buf b = {0};
	size_t n;
	const char *const *options = config_mount_option_names(&n);

	(void)a;
	for (int i = 0; i < CT_HOOK_KINDS; i++)
		hooks[i] = config_hook_name((enum ct_hook_kind)i);
	buf_puts(&b, "{\"ociVersionMin\":\"1.0.0\",\"ociVersionMax\":\"" OCI_SPEC_VERSION "\",");
	add_list(&b, "hooks", hooks, CT_HOOK_KINDS);
	buf_puts(&b, ",");
	add_list(&b, "mountOptions", options, n);
	buf_puts(&b, ",");
	add_linux(&b);
	buf_printf(&b,
		   ",\"annotations\":{\"io.fsbox.version\":\"%s\",\"io.fsbox.checkpoint.enabled\":\"%s\"},"
		   "\"potentiallyUnsafeConfigAnnotations\":[\"org.systemd.property.\",\"" CHECKPOINT_CONFIG_ANNOTATION
		   "\"",
		   FSBOX_VERSION, checkpoint_possible() ? "true" : "false");
	for (size_t i = 0; config_annotation_name(i); i++)
		buf_printf(&b, ",\"%s\"", config_annotation_name(i));
	buf_puts(&b, "]}\n");
	return oci_print(&b, e);
}

const struct oci_command oci_features = {
	.name = "features",
	.operands = "",
	.summary = "print what this runtime knows, as JSON",
	.max_operands = 0,
	.main = features_main,
};
