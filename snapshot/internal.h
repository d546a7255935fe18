/* Private to snapshot/. */
#pragma once

#include "base/fd.h"
#include "base/mem.h"
#include "snapshot/snapshot.h"

/* ---- digest.c: SHA-256 ---- */

struct snap_digest {
	uint64_t state[14]; /* libcrypto's context */
};
void digest_begin(struct snap_digest *d);
void digest_add(struct snap_digest *d, const void *data, size_t len);
/* The length first, so that what is added next cannot be taken for a part of it. */
void digest_add_text(struct snap_digest *d, const void *data, size_t len);
void digest_end(struct snap_digest *d, char hex[SNAP_ID_LEN + 1]);
/* The whole content of an open file, wherever its offset stands. @rd: its bounds; NULL: none. */
NODISCARD int digest_fd(int fd, const char *name, struct snap_reading *rd, char hex[SNAP_ID_LEN + 1],
			uint64_t *ret_size, struct err *e);
/* ERR_CANCELLED when who reads is to give up. */
NODISCARD int reading_goes_on(const struct snap_reading *rd, struct err *e);

/* ---- walk.c: a directory and everything below it ---- */

enum walk_what {
	WALK_CONTENTS,   /* names, kinds, modes, link targets, contents */
	WALK_IDENTITIES, /* the same, but of each entry its identity instead of the content: no file is opened */
};
/* Links are not followed, but @path itself may be one. @ret_newest_ns: the latest change of any entry, by the wall
 * clock. @rd may be NULL. */
NODISCARD int walk_tree(const char *path, enum walk_what what, struct snap_reading *rd, char hex[SNAP_ID_LEN + 1],
			uint64_t *ret_newest_ns, struct err *e);

/* ---- manifest.c: manifest.json ---- */

NODISCARD int manifest_write(const struct snap_manifest *m, struct buf *ret, struct err *e);
/* @file names it in errors. */
NODISCARD int manifest_read(const char *file, const char *text, size_t len, struct snap_manifest *ret, struct err *e);

/* ---- image.c: what is changed in CRIU's images ---- */

/* Makes the images in @images free of namespaces: each process's user, pid, mount, cgroup … namespace becomes the one
 * that the restoring CRIU lives in; removes the images of namespaces, and what open files say of mounts; leaves an empty
 * seccomp.img, over which the filter of each restore is mounted. Fills max_pid and page_bytes of @m. ERR_UNSUPPORTED when
 * a process has namespaces of its own; ERR_SYSTEM with the file's name when an image is not what CRIU writes. */
NODISCARD int image_detach(int images, struct snap_manifest *m, struct err *e);

/* ---- keeper.c: a CRIU on the host, of which nothing is left when it is over ---- */

struct keeper {
	const char *const *argv, *const *envp;
	int (*enter)(void *arg); /* before exec, in CRIU's process: system calls only; -errno. May be NULL */
	void *arg;
	int out;     /* becomes its stdout and stderr; FD_NONE: ours */
	bool finish; /* our death does not end it: it finishes its work */
	/* With @finish, when we are dead and CRIU may wait for ever: called with @arg every now and then until it ends. Or
	 * NULL. */
	void (*give_up)(void *arg);
	pid_t pid;
	int pidfd;
};
NODISCARD int keeper_start(struct keeper *k, struct err *e);
/* After a start: waits, at most so long or until @signal_fd (FD_NONE: none) is readable, and ends whatever is left.
 * *ret_status: exit status, or 128 + signal. */
NODISCARD int keeper_wait(struct keeper *k, int timeout_ms, int signal_fd, int *ret_status, struct err *e);

/* ---- engine.c ---- */

enum { ENGINE_WORDS = 5 };
/* The words before CRIU's own arguments. @paths, of at least twice the engine's dir, holds two of them. */
void engine_argv(const struct snap_engine *en, char *paths, size_t size, const char *argv[ENGINE_WORDS]);

/* ---- dump.c ---- */

/* Where CRIU finds and leaves what it knows of this kernel (XDG_RUNTIME_DIR): a tmpfs, as it keeps that nowhere else, in a
 * mount that is nowhere: it goes with its last descriptor, which this returns. @kdat: what is known; may be empty. */
NODISCARD int kdat_dir_open(const struct buf *kdat, struct err *e);
