/* What is known of containers between commands: a directory for each below --root.
 *
 *   state.json   written beside and renamed, so it is whole or not there
 *   config.json  the bundle's, as it was at create
 *   start.sock   while the container waits for start
 *
 * The directory itself is the lock (flock(2)) of whoever changes the container. Reading needs no lock: hooks may ask
 * for the state while create holds it. */
#pragma once

#include "cgroup/cgroup.h"
#include "oci/oci.h"
#include "spec/container.h"

enum oci_status { OCI_CREATING, OCI_CREATED, OCI_RUNNING, OCI_PAUSED, OCI_STOPPED };

struct oci_state {
	struct arena arena;
	const char *id, *version, *bundle, *rootfs, *created, *cgroup; /* cgroup: "" when it has none of its own */
	const char *unit; /* of systemd's, whose group that is; "" without one */
	bool user_unit;   /* by the user's manager */
	bool asked;       /* for it: until then a unit of that name is somebody else's */
	int64_t pid;
	int64_t owner;
	uint64_t start_ticks; /* of the process, since the boot: tells it from a later one of that number */
	const char *found; /* mount points of the hierarchies that had the group before, each with a colon behind it */
	bool creating;
	struct ct_pair *annotations;
	size_t n_annotations;
	/* computed when read */
	enum oci_status status;
};

struct oci_store {
	const struct oci_args *args; /* of the command, for what is to be told */
	int dir;
	char path[512];
};

/* Root of the machine, and not of a user namespace alone. */
bool oci_is_root(void);

/* ERR_DENIED when it belongs to neither us nor root, or everybody may write to it. */
NODISCARD int store_open(const struct oci_args *a, bool make, struct oci_store *ret, struct err *e);
NODISCARD int store_check_id(const char *id, struct err *e);
/* The directory of a new container, locked. ERR_EXISTS. */
NODISCARD int store_add(const struct oci_store *s, const char *id, int *ret_dir, struct err *e);
/* Of one that exists; @lock: waits for who else changes it. ERR_NOT_FOUND with the words that callers look for. */
NODISCARD int store_find(const struct oci_store *s, const char *id, bool lock, int *ret_dir, struct err *e);
/* Waits for who else changes the container of that directory. -ENOENT: there is none any more. */
NODISCARD int store_hold(int dir);
NODISCARD int store_remove(const struct oci_store *s, const char *id, struct err *e);
/* Calls @fn for the id of each. */
NODISCARD int store_each(const struct oci_store *s, int (*fn)(const char *id, void *arg, struct err *e), void *arg,
			 struct err *e);

/* The container that a command is about, which runs, and its group. */
NODISCARD int store_group(const struct oci_args *a, bool lock, struct oci_state *st, int *ret_dir, struct cg_group *g,
			  struct err *e);

NODISCARD int state_write(int dir, const struct oci_state *st, struct err *e);
/* With the status as it is now. @id is borrowed. A directory without a state is one being made: OCI_CREATING, pid 0. */
NODISCARD int state_read(int dir, const char *id, struct oci_state *ret, struct err *e);
void state_done(struct oci_state *st);
/* The JSON of runtime-spec's state; members beyond it, as runc prints them, with @more. */
void state_print(struct buf *b, const struct oci_state *st, bool more);
/* Somebody waits at start.sock, frozen or not. */
bool state_waits_for_start(int dir);
const char *status_name(enum oci_status s);
/* Field 22 of /proc/PID/stat; 0 when there is none, or only a zombie of it. */
uint64_t process_start(int64_t pid);

/* Signals the container's process, if it is still that; -ESRCH. */
NODISCARD int state_signal(const struct oci_state *st, int sig);
/* Kills it and waits for its end, at most @patience_ms. */
void state_end(const struct oci_state *st, int patience_ms);

/* Notes which hierarchies have the group already. */
NODISCARD int found_note(const struct cg_group *g, struct oci_state *st, struct err *e);
/* Closes @g in those, so that it is not removed there. */
void found_keep(struct cg_group *g, const struct oci_state *st);

/* The group is this container's from now on; or, with @mine false, nobody's. */
void found_mark(const struct cg_group *g, const struct oci_state *st, bool mine);
/* Has another container had the group since? Then this one is over, and has no right to it. */
bool found_lost(const struct cg_group *g, const struct oci_state *st);

/* The copy of config.json. */
NODISCARD int config_copy_write(int dir, const char *text, size_t len, struct err *e);
NODISCARD int config_copy_read(int dir, const struct oci_state *st, struct ct_spec **ret, struct err *e);
/* Replaces @name in @dir as a whole. */
NODISCARD int file_replace(int dir, const char *name, const char *text, size_t len, mode_t mode, struct err *e);
