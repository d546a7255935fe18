/* Private to the config_*.c files: the tables that config.c puts together. */
#pragma once

#include "oci/config.h"
#include "oci/fields.h"

extern const struct table process_table;   /* of struct ct_process */
extern const struct table mount_table;     /* of struct ct_mount */
extern const struct table resources_table; /* of struct ct_resources */
extern const struct table seccomp_table;   /* of struct ct_seccomp */
extern const struct table linux_table;     /* of struct ct_spec */

extern const struct words capability_names, namespace_names, seccomp_actions, seccomp_ops, seccomp_archs, seccomp_flags,
	memory_modes, memory_flags;

/* Of the object @v that "seccomp" is: an error number for a default action that has none is an error. */
NODISCARD int seccomp_check_default(const struct reader *r, const struct json *v, const struct json_path *here,
				    int action);
/* What annotations say, before the rules between fields are checked. */
NODISCARD int config_annotations(struct ct_spec *s, const struct json_doc *doc, struct err *e);
/* What one field cannot see. ERR_SPEC. */
NODISCARD int config_check(struct ct_spec *s, const struct json_doc *doc, struct err *e);
NODISCARD int config_check_process(const struct ct_process *p, const struct json_doc *doc, struct err *e);
