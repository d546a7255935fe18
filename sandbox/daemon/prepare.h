/* What the child of a deployment does: looks at the code and puts together the FUNCTION datagram. */
#pragma once

#include "daemon/daemon.h"

enum {
	PREPARE_MAX_FILES = 3 + SPEC_MAX_LAYERS + SPEC_MAX_SECRETS, /* target, root, policy, layers, secrets */
	PREPARE_SECONDS = 150,                                      /* more than unpacking may take */
};

/* A file that the spec names. */
struct prepare_file {
	const char **place; /* in the job or its spec: becomes the open file's name */
	const char *path;
	int fd; /* FD_NONE: the child opens the path itself */
	bool directory_only, file_only;
	bool sent; /* the client's own descriptor */
};

struct prepare_job {
	struct cell_spec *spec;
	const char *name;
	const char *runtime_dir;
	const char *target, *policy; /* as opened, see prepare_file.place; policy: NULL for a built-in one */
	struct prepare_file files[PREPARE_MAX_FILES];
	size_t n_files;
	const char *expected_digest; /* another one is an error; NULL: any */
	const char *spec_text;
	bool no_limits; /* the daemon has none, whatever the spec says */
};

/* The first of two datagrams; the second is a FUNCTION whose number is 1 and whose note is empty. */
struct prepared {
	struct err err; /* ERR_NONE, or all there is */
	char digest[33];
	uint32_t runtime;
	uint32_t n_locks;  /* descriptors beside it: packages in use */
	uint32_t n_filter; /* instructions of the filter that comes after init; 0: none */
	struct sock_filter filter[4096];
};

/* A descriptor of a sealed copy. */
NODISCARD int prepare_seal_filter(const struct filter *filter, struct err *e);

/* Was it opened on a mount of this process's namespace? Elsewhere its name says nothing of where it lies here. 1, 0,
 * -errno. */
NODISCARD int prepare_is_mounted_here(int fd);

/* Never returns. @to: SEQPACKET. Closes every descriptor that it does not need first. */
_Noreturn void prepare_main(struct prepare_job *job, int to);
