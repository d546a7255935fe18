/* What an unpacked image says about how it is started: config.json beside its root, either the runtime configuration of a
 * bundle (OCI runtime-spec, config.md) or the image's own configuration (OCI image-spec, config.md). Pure. */
#pragma once

#include "spec/spec.h"

enum {
	IMAGE_MAX_ARGS = 128,
	IMAGE_MAX_ENV = 256,
	IMAGE_MAX_TEXT = 131072, /* args and env together: what the kernel takes for one string (execve(2)) */
};

/* Strings are in the arena. */
struct spec_image {
	const char *args[IMAGE_MAX_ARGS + 1]; /* ENTRYPOINT and CMD, or process.args; at least one; NULL-terminated */
	const char *env[IMAGE_MAX_ENV + 1];   /* "KEY=VALUE"; NULL-terminated */
	const char *cwd;                      /* absolute; "/" when nothing is said */
};

/* ERR_SPEC with "FILE: $.path" or "FILE:LINE:COLUMN". Members that say nothing about the start are not looked at. */
NODISCARD int image_parse(const char *file, const char *text, size_t len, struct arena *arena, struct spec_image *ret,
			  struct err *e);
