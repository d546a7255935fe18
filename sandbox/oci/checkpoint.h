/* What checkpoint and restore share: their options, the engine, the directories, and the file with the names of
 * descriptors that other runtimes write, too. */
#pragma once

#include "cell/cell.h"
#include "oci/oci.h"

/* Value: a file with options for CRIU, which win over those of the command line. runc's name. */
#define CHECKPOINT_CONFIG_ANNOTATION "org.criu.config"

/* Beside this program or where it is installed; executes nothing. */
NODISCARD int checkpoint_engine(struct snap_engine *ret, struct err *e);
bool checkpoint_possible(void);

struct checkpoint_dirs {
	char images[4096], work[4096]; /* absolute */
	int fd;                        /* of images */
};
/* @make: images may be missing. Close ret->fd. */
NODISCARD int checkpoint_dirs_open(const struct oci_args *a, bool make, struct checkpoint_dirs *ret, struct err *e);
/* Of the options that both have; everything is borrowed from @a, @s and @d. */
NODISCARD int checkpoint_job(const struct oci_args *a, const struct ct_spec *s, const struct checkpoint_dirs *d,
			     struct criu_job *ret, struct err *e);

/* descriptors.json: a list of what 0, 1 and 2 were. */
NODISCARD int descriptors_write(int images, const char *const names[CT_STDIO], struct err *e);
/* Texts are in @a; NULL where it says nothing. No file is no error: images of who has none. */
NODISCARD int descriptors_read(int images, struct arena *a, const char *ret[CT_STDIO], struct err *e);

/* fsbox-oci-groups.json: the groups that were made below the container's own, and which of its processes were in them. Read
 * while they run: who is born until CRIU stops them is where his parent is. */
bool groups_wanted(const struct oci_args *a);
NODISCARD int groups_write(int images, const struct cg_group *g, pid_t init, struct err *e);
/* @init and the others exist and are in @g; nothing has run. No file is no error. */
NODISCARD int groups_restore(int images, const struct cg_group *g, pid_t init, struct err *e);

/* fsbox-oci.json: the sizes of all images of a checkpoint that is complete. CRIU would wait for ever for memory that is cut
 * off. Images of other runtimes have none, and are not checked. */
NODISCARD int sizes_forget(int images, struct err *e);
NODISCARD int sizes_write(int images, struct err *e);
/* ERR_SNAPSHOT_MISMATCH names the file. */
NODISCARD int sizes_check(int images, struct err *e);
