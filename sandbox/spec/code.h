/* What a target is: which runtime takes it, and what stands where in the cell. Found out from its name, its first bytes
 * and the options; no system call is made here. */
#pragma once

#include "spec/image.h"

/* What somebody who may open files has seen of the target. */
struct code_look {
	bool dir;
	bool executable;           /* a regular file with an x bit */
	const unsigned char *head; /* its first bytes, up to CODE_HEAD of them */
	size_t len;
	bool has_bootstrap; /* an executable file of that name in the directory, or in one of the layers */
};
enum { CODE_HEAD = 4096 };

struct spec_code {
	enum spec_runtime runtime;
	bool dir;            /* all of it stands at /var/task; else the file at /var/task/NAME */
	const char *handler; /* value of _HANDLER; owned by the spec */
	/* For runtimes that are interpreted: found in the cell's own root, as a path inside. NULL otherwise. */
	const char *interpreter;
	/* The start that an image asks for, when there is no target: the program stands in the root. NULL otherwise. */
	const struct spec_image *image;
};

/* Names of runtimes, as --runtime takes them. */
const char *spec_runtime_name(enum spec_runtime r);

/* The code of an image without a target: it runs as a custom runtime. */
NODISCARD int code_of_image(const struct cell_spec *s, const struct spec_image *image, struct spec_code *ret,
			    struct err *e);

/* Fills *ret but for the interpreter. ERR_SPEC: with the errno ENOEXEC when the file is at fault, with 0 when the options
 * are. */
NODISCARD int code_of(struct cell_spec *s, const struct code_look *look, struct spec_code *ret, struct err *e);

/* Where an interpreter may be, in the order in which it is looked for, NULL-terminated; NULL for other runtimes. */
const char *const *code_interpreters(enum spec_runtime r);
/* The Debian package that has it. */
const char *code_interpreter_package(enum spec_runtime r);
