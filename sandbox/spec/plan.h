/* cell_plan: what will be done, with every path, id, mount and byte computed. Made from a cell_spec and facts about the
 * host, before anything is touched; after clone3 nobody parses or allocates, the child only walks this. Pure data. */
#pragma once

#include "spec/code.h"

#include <sys/resource.h>
#include <sys/types.h>

/* Ids inside every cell: Lambda's uid. */
enum { CELL_UID = 993, CELL_GID = 993, CELL_ID_RANGE = 65536 };

/* What exists in the root besides mounts: a small read-only tree, made once and shared by all cells that need the
 * same one. */
enum skel_kind { SKEL_DIR, SKEL_LINK, SKEL_TEXT, SKEL_COPY };
struct skel_entry {
	enum skel_kind kind;
	const char *path; /* relative, parents stand before children */
	const char *text; /* LINK: target; TEXT: content; COPY: file of the host */
};

enum mount_kind {
	MOUNT_TREE,    /* recursive bind of `source` */
	MOUNT_TMPFS,   /* `size` bytes, sticky and world-writable */
	MOUNT_PROC,    /* of the cell's own pid namespace: always made inside */
	MOUNT_OVERLAY, /* read-only, of `lower`, the first on top */
	MOUNT_OWN,     /* a small tmpfs of the cell's root with `dirs` in it, which the function cannot write */
};

struct plan_mount {
	enum mount_kind kind;
	const char *target; /* below the root, "" for the root itself; always a directory or file of ours */
	const char *source;
	const char *lower[SPEC_MAX_LAYERS]; /* NULL after the last */
	const char *dirs[4];                /* of MOUNT_OWN; NULL after the last */
	uint64_t size;
	unsigned set, clear; /* MOUNT_ATTR_… of mount_setattr(2) */
	bool optional;       /* a mask of something that this kernel may not have */
};

/* A file that the child writes below a MOUNT_OWN, by its name from the root. */
struct plan_file {
	const char *path; /* "run/secrets/token" */
	const void *data;
	size_t len;
	mode_t mode;
	bool owned; /* by the function's user; else by the cell's root */
};

/* What the cell has to do with snapshots. */
enum plan_role {
	PLAN_PLAIN,
	PLAN_PUBLISHED, /* will be dumped after init */
	PLAN_RESTORED,  /* its runtime comes out of an image */
};

struct plan_rlimit {
	int resource;
	rlim_t value; /* soft and hard; lowered to the hard limit where that is lower already */
};

/* What planning needs to know of the host. Strings are borrowed. */
struct host_facts {
	bool privileged; /* may map a range of ids and make mounts before clone3 */
	uid_t euid;
	gid_t egid;
	uint32_t range_base;       /* first outside id of this cell's range; privileged only */
	const char *state_dir;     /* where skeletons live: /run/fsbox/private or the user's own */
	const char *runtime_dir;   /* host directory with init and native */
	const char *dev_dir;       /* prepared device nodes; NULL: bind the host's one by one */
	const char *tmp_source;    /* directory with a project quota for --tmp-dir, or NULL */
	struct spec_code code;     /* what the target is */
	const char *target_path;   /* the code, as named; NULL: it is in the root */
	const char *target_source; /* where it is bound from: the same, or a name of the open file */
	struct {
		const char *name; /* "lib64" */
		const char *link; /* where it points, or NULL when it is a directory */
	} userland[8];            /* what stands in / beside /usr */
	size_t n_userland;
	enum plan_role role;
	const char *engine_dir, *images_dir; /* PLAN_RESTORED: CRIU and the images, by the host's names */
	const char *generation;              /* not PLAN_PLAIN: text of /run/fsbox/generation */
	struct {
		const char *name, *data;
		size_t len;
	} secrets[SPEC_MAX_SECRETS]; /* none in PLAN_PUBLISHED: nothing of them may come into the image */
	size_t n_secrets;
	uint64_t files_stamp; /* changes when a copied host file does; part of the skeleton's name */
};

enum {
	PLAN_MAX_FILES = SPEC_MAX_SECRETS + 1,
	PLAN_MAX_MOUNTS = 48,
	PLAN_MAX_SKEL = 96,
	PLAN_MAX_ENV = SPEC_MAX_ENV + IMAGE_MAX_ENV + 32
};

struct cell_plan {
	struct arena arena;
	char id[16];  /* 12 hex digits: names the cgroup, the host name, the cell in messages */
	int ns_flags; /* CLONE_NEW… that the child unshares first; user and pid come with clone3, cgroup later,
				* when the child stands in its group */
	uint32_t uid_outside, gid_outside, map_inside, map_count;
	bool privileged;
	bool lo_up;
	struct skel_entry skel[PLAN_MAX_SKEL];
	size_t n_skel;
	struct plan_mount mounts[PLAN_MAX_MOUNTS];
	size_t n_mounts;
	struct plan_file files[PLAN_MAX_FILES];
	size_t n_files;
	enum plan_role role;
	bool has_run; /* there is a /run of the cell's own */
	const char *cwd;
	const char *argv[IMAGE_MAX_ARGS + 4];
	const char *envp[PLAN_MAX_ENV];
	size_t n_env;
	struct plan_rlimit rlimits[8];
	size_t n_rlimits;
	const char *skel_name; /* "root-…": file name of the skeleton in the state directory, from its content */
	char function_name[SPEC_MAX_NAME + 1];
};

/* @id: 12 hex digits. On failure nothing is left. */
NODISCARD int plan_make(const struct cell_spec *spec, const struct host_facts *host, const char *id,
			struct cell_plan **ret_plan, struct err *e);
void plan_free(struct cell_plan *p);
/* The resource limits of every process of a cell; returns how many. */
size_t plan_cell_rlimits(const struct plan_rlimit **ret);
static inline void plan_freep(struct cell_plan **p)
{
	plan_free(*p);
}
