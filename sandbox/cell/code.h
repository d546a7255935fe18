/* The code of a function, opened and looked at before anything is made for it. */
#pragma once

#include "package/package.h"
#include "spec/code.h"

struct cell_code {
	int fd;           /* the file or directory that was looked at; FD_NONE when closed */
	const char *path; /* where that is; not what the target names when it was unpacked. Owned by the spec */
	struct spec_code what;
	struct package packages[1 + SPEC_MAX_LAYERS]; /* in use: the target's, the layers' */
	size_t n_packages;
};

/* Opens the target and finds out who takes it; without one, what the unpacked image that --rootfs names executes. For such
 * an image spec->rootfs is its root from then on. For interpreted code, that the interpreter stands in the cell's own root.
 * A target and layers that are zip archives are unpacked, and the spec's layers name the directories from then on.
 * @runtime_dir: directory with init and the runtimes.
 *
 * ERR_NOT_FOUND: no such file, or no interpreter. ERR_SPEC with errno 0: the options do not fit the target; with another
 * one: the target is nothing that can be run. ERR_DENIED: it cannot be opened. ERR_UNSUPPORTED: this build has no such
 * runtime. */
NODISCARD int code_open(struct cell_spec *spec, const char *runtime_dir, struct cell_code *ret, struct err *e);
/* The same for a target that is opened by another name (of a descriptor, say); what the spec calls it says what it is taken
 * for, and stands in messages. */
NODISCARD int code_open_by(struct cell_spec *spec, const char *target_opened, const char *runtime_dir,
			   struct cell_code *ret, struct err *e);
void code_close(struct cell_code *c);

/* Can this host run code of a runtime? What stands for it (a path) goes to @buf. ERR_NOT_FOUND, ERR_UNSUPPORTED. */
NODISCARD int code_probe(enum spec_runtime runtime, const char *runtime_dir, char *buf, size_t size, struct err *e);
