/* config.json and process.json into a checked ct_spec. Rules of runtime-spec 1.0 to 1.3; errors name the key's path. */
#pragma once

#include "json/json.h"
#include "spec/container.h"

enum { CONFIG_MAX_BYTES = 16 << 20 };

/* @bundle: absolute directory that root.path is relative to. @file names the text in errors. */
NODISCARD int config_read(const char *file, const char *text, size_t len, const char *bundle, struct ct_spec **ret,
			  struct err *e);
/* A "process" object alone, as exec --process has it, into @spec->process, which is replaced. */
NODISCARD int config_read_process(const char *file, const char *text, size_t len, struct ct_spec *spec, struct err *e);
/* A "resources" object alone, as update has it. */
NODISCARD int config_read_resources(const char *file, const char *text, size_t len, struct ct_spec *spec,
				    struct err *e);
void config_free(struct ct_spec *s);
static inline void config_freep(struct ct_spec **s)
{
	config_free(*s);
}

/* By which namespace (enum ct_ns) a sysctl, written with dots, belongs to the container alone; -1: to none. */
int config_sysctl_namespace(const char *name);

/* Words that `features` prints. */
struct words;
enum config_list {
	CONFIG_CAPABILITIES,
	CONFIG_NAMESPACES,
	CONFIG_SECCOMP_ACTIONS,
	CONFIG_SECCOMP_OPS,
	CONFIG_SECCOMP_ARCHS,
	CONFIG_SECCOMP_FLAGS,
	CONFIG_MEMORY_MODES,
	CONFIG_MEMORY_FLAGS,
	CONFIG_LISTS
};
const struct words *config_words(enum config_list which);
const char *config_hook_name(enum ct_hook_kind kind);
const char *config_annotation_name(size_t i); /* that means something here; NULL after the last */
/* "CAP_CHOWN" to its number; -1. */
int config_capability(const char *name);
const char *const *config_mount_option_names(size_t *ret_n);
