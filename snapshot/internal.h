/* Private to snapshot/. */
#pragma once

#include "base/fd.h"
#include "base/mem.h"
#include "snapshot/snapshot.h"

/* ---- digest.c: SHA-256 ---- */

struct snap_digest; /* a running one */
NODISCARD int digest_new(struct snap_digest **ret, struct err *e);
void digest_add(struct snap_digest *d, const void *data, size_t len);
void digest_end(struct snap_digest *d, char hex[SNAP_ID_LEN + 1]); /* frees it */
/* The whole content of an open file, wherever its offset stands. */
NODISCARD int digest_fd(int fd, const char *name, char hex[SNAP_ID_LEN + 1], uint64_t *ret_size, struct err *e);
/* A directory and everything below it. */
NODISCARD int digest_tree(const char *path, char hex[SNAP_ID_LEN + 1], struct err *e);

/* ---- manifest.c: manifest.json ---- */

NODISCARD int manifest_write(const struct snap_manifest *m, struct buf *ret, struct err *e);
/* @file names it in errors. */
NODISCARD int manifest_read(const char *file, const char *text, size_t len, struct snap_manifest *ret, struct err *e);

/* ---- image.c: what is changed in CRIU's images ---- */

/* Makes the images in @images free of namespaces: each process's user, pid, mount, cgroup … namespace becomes the one that the
 * restoring CRIU lives in; removes the images of namespaces; leaves an empty seccomp.img, over which the filter of each
 * restore is mounted. Fills max_pid and page_bytes of @m. ERR_UNSUPPORTED when a process has namespaces of its own;
 * ERR_SYSTEM with the file's name when an image is not what CRIU writes. */
NODISCARD int image_detach(int images, struct snap_manifest *m, struct err *e);

/* ---- engine.c ---- */

/* The words before CRIU's own arguments. @paths, of at least twice the engine's dir, holds two of them. */
void engine_argv(const struct snap_engine *en, char *paths, size_t size, const char *argv[5]);
