/* Working inside of a root that somebody else has filled: containers of fsbox-oci. Every path is looked up with that
 * root as "/", for links as well (openat2(2), RESOLVE_IN_ROOT), and what is then mounted goes onto the descriptor that
 * came of it, so no later change of the tree leads elsewhere.
 *
 * Child side: prepared data, no allocation, -errno. @root is the descriptor of the container's root mount. From outside
 * this is included by rootfs.h. */
#pragma once

#include "base/err.h"
#include "spec/container.h"

/* An O_PATH descriptor of what @path is inside. */
NODISCARD int inside_open(int root, const char *path);
/* With flags of open(2). */
NODISCARD int inside_open_for(int root, const char *path, int flags);
/* The same, and what is missing is made: directories 0755, and at the end a directory or an empty file. */
NODISCARD int inside_make(int root, const char *path, bool directory, mode_t mode);

/* Host or child: a detached bind of @m->source with its attributes. */
NODISCARD int inside_bind(const struct ct_mount *m);
/* A new file system of @m->type with its options, detached. *ret_option is the option that was refused, or NULL. */
NODISCARD int inside_new(const struct ct_mount *m, const char **ret_option);
/* Attaches @mount_fd where @m says, with its propagation. -EXDEV: inside of /proc, or no proc at /proc; -ELOOP: a link
 * leads to where proc or sysfs are to be. */
NODISCARD int inside_attach(int root, const struct ct_mount *m, int mount_fd);
/* -EXDEV when /proc is not the root of a proc any more: its directory was moved away. */
NODISCARD int inside_check_proc(int root);
/* For the option "remount": new attributes of the mount that is there. */
NODISCARD int inside_remount(int root, const struct ct_mount *m);
/* For tmpcopyup: what lies at the target goes into the new file system @mount_fd. */
NODISCARD int inside_copy_up(int root, const char *target, int mount_fd);

/* A device node, or a bind of the host's where nodes may not be made. @mode without the type. */
NODISCARD int inside_device(int root, const struct ct_device *d, bool bind);
NODISCARD int inside_link(int root, const char *path, const char *to);
/* Nobody sees what is at @path; nothing to do where nothing is. @null: an O_PATH descriptor of the host's /dev/null, looked
 * at. */
NODISCARD int inside_mask(int root, const char *path, int null);
NODISCARD int inside_readonly(int root, const char *path);
