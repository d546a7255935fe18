/* Snapshots: a cell's runtime after init, dumped by CRIU, kept in a store, and restored any number of times.
 *
 * What is in an image is the runtime's process with its threads and children, and nothing else: no namespace, no mount, no
 * PID 1. A clone's namespaces, mounts, cgroup and PID 1 are made by the same stages as those of any cell, and CRIU restores
 * inside of them, without a privilege on the host (docs/decisions/013).
 *
 *   engine    which CRIU there is, and how it is executed
 *   key       what a snapshot depends on; the store finds by it
 *   store     directories, manifests, digests; written aside, synced, renamed
 *   dump      looks for what an image cannot hold, runs CRIU, makes the image free of namespaces
 *   worker    the request to a CRIU that is parked in a prepared cell, and its answers
 *   tree      the content of /tmp, as one file
 *
 * CRIU is a separate program; libcriu is not linked. The only user of libcrypto (SHA-256). Nothing here prints. */
#pragma once

#include "base/err.h"
#include "base/str.h"
#include "spec/spec.h"

#include <signal.h>
#include <sys/types.h>

/* ---- Engine ---- */

struct snap_engine {
	char dir[512]; /* bin/criu, lib/, plugins/, version; mounted read-only into cells that are to be restored */
	char loader[640];
	char version[32]; /* "4.2.1" */
};

/* Beside the runtimes (libexec/fsbox/criu) or in the build tree. ERR_UNSUPPORTED with the remedy when there is none or it
 * is older than 4.2. Executes nothing. */
NODISCARD int snap_engine_find(const char *runtime_dir, struct snap_engine *ret, struct err *e);

/* Asks it whether it works on this kernel (`criu check`): ERR_UNSUPPORTED with its words. Takes some 50 ms. */
NODISCARD int snap_engine_check(const struct snap_engine *en, struct err *e);

/* From CRIU's log the first error that is one, in its own words. Cuts @text up. */
void snap_engine_complaint(char *text, char *ret, size_t size);

/* ---- Key ---- */

enum { SNAP_ID_LEN = 64, SNAP_MAX_PARTS = 40, SNAP_MAX_FILES = 512, SNAP_MAX_PIPES = 4 };

enum snap_part_kind {
	SNAP_TEXT, /* `text` itself */
	SNAP_FILE, /* content of the file `text`, or of `fd` when there is one */
	SNAP_TREE, /* the directory `text` with everything below it: names, kinds, modes, link targets, contents */
};

struct snap_part {
	const char
		*name; /* borrowed; "code", "layer 1", "kernel": the word in `inspect` and in the reasons of a miss */
	enum snap_part_kind kind;
	const char *text; /* borrowed */
	size_t len;       /* SNAP_TEXT: bytes of text; it need not be terminated */
	int fd;           /* SNAP_FILE: read instead of the name; borrowed, its offset is not used; below 3: by name */
};

/* For keys of somebody else's files: what reading their contents may cost, and whose rights count. */
struct snap_reading {
	uint64_t bytes;   /* at most so many, of all parts together; those that are left. More: ERR_LIMIT */
	int signal_fd;    /* readable: ERR_CANCELLED. Looked at for every entry and every 256 KiB; FD_NONE: none */
	bool public_only; /* what a tree does not let others read or enter counts by its identity, unread */
};

/* Parts in a fixed order, zero-initialised to start. Filled by whoever knows the cell; see snap_key_add_host() for what
 * every key has. */
struct snap_key {
	const char *target, *function; /* borrowed: whose last snapshot explains a miss; not in the id; may be NULL */
	struct snap_reading *reading;  /* borrowed; NULL: without bounds */
	struct snap_part parts[SNAP_MAX_PARTS];
	size_t n;
	struct arena arena; /* for texts that the key makes itself */

	/* Made by snap_key_fix(). */
	char id[SNAP_ID_LEN + 1]; /* "" until then */
	bool settled;             /* no file was so new that a later change could leave its times alone */
	struct snap_fixed {
		const char *value;    /* as in the manifest */
		const char *identity; /* of file or tree when it was read; NULL for a text */
	} fixed[SNAP_MAX_PARTS];
};
NODISCARD int snap_key_add(struct snap_key *k, const struct snap_part *part, struct err *e);
/* Kernel (release and build), CPU (vendor, family, model), its feature flags, vdso (digest), CRIU's version, format of the
 * store. */
NODISCARD int snap_key_add_host(struct snap_key *k, const struct snap_engine *en, struct err *e);
/* Reads files and trees and computes the id; no part may be added afterwards. Whoever makes a snapshot without having
 * looked for one calls it before the cell loads anything: snap_draft_commit() refuses when a file has changed since.
 * snap_find() does it on a miss. Idempotent. */
NODISCARD int snap_key_fix(struct snap_key *k, struct err *e);
void snap_key_done(struct snap_key *k);

/* ---- Store ---- */

struct snap_store {
	char path[256];
	int dir; /* descriptor */
};

/* @path NULL: /var/lib/fsbox/snapshots for root, unless XDG_STATE_HOME is set; then, and for others,
 * $XDG_STATE_HOME/fsbox/snapshots or ~/.local/state/fsbox/snapshots. Made with mode 0700 when @make, else ERR_NOT_FOUND.
 * ERR_DENIED when somebody else owns it or may write to it. */
NODISCARD int snap_store_open(const char *path, bool make, struct snap_store *ret, struct err *e);
void snap_store_close(struct snap_store *s);

/* A point in time, on this boot's clocks. */
struct snap_clock {
	char boot_id[40]; /* /proc/sys/kernel/random/boot_id */
	uint64_t monotonic_ns, boottime_ns, wall_ns;
};
NODISCARD int snap_clock_now(struct snap_clock *ret, struct err *e);

struct snap_file {
	char *name; /* "img/core-1.img", "tmp.tree": in the snapshot's directory; or path of a file on the host */
	uint64_t size;
	char sha256[SNAP_ID_LEN + 1];
};

/* What is known of one snapshot: its manifest. */
struct snap_manifest {
	struct arena arena;       /* every text in here */
	char id[SNAP_ID_LEN + 1]; /* SHA-256 over the key's names and content digests */
	const char *function;     /* name */
	const char *target;       /* path as it was given */
	const char *engine;       /* "criu 4.2.1" */
	const char *reason;       /* why it was made: "no snapshot of this function yet", "code has changed" … */
	char pipes[SNAP_MAX_PIPES][32]; /* "pipe:[123]": what descriptors 1, 2, 3, 4 were, in this order */
	struct snap_clock taken;        /* when */
	uint64_t memory_bytes;          /* --mem of the publishing cell; clones have their call's */
	uint64_t page_bytes;            /* of memory in the image */
	uint64_t init_ns;               /* how long init took */
	uint32_t max_pid;               /* largest pid or tid in the image, as seen inside */
	uint32_t features;              /* enum snap_feature */
	struct snap_value {
		const char *name, *value;
	} parts[SNAP_MAX_PARTS]; /* of the key: text itself; "sha256-file:HEX", "sha256-tree:HEX"; "sha256-text:HEX" of a
				  * text that is long, not printable, or looks like one of these */
	size_t n_parts;
	struct snap_file *files; /* of the snapshot, sorted */
	size_t n_files;
	struct snap_file *deps; /* files of the host that are mapped in the image (libraries), sorted */
	size_t n_deps;
};
enum snap_feature {
	SNAP_HAS_TMP = 1,       /* there is an archive of /tmp */
	SNAP_HAS_SHUTDOWN = 2,  /* the function has an fsbox_shutdown() */
	SNAP_NOT_RESEEDED = 4,  /* its runtime does not take part; needs --snapshot=unseeded */
	SNAP_WANTS_REPORTS = 8, /* it is told how each call ended */
};
void snap_manifest_done(struct snap_manifest *m);

/* A snapshot in use: a shared lock keeps it from being removed while this is open. */
struct snap {
	struct snap_manifest m;
	int dir;               /* of this snapshot, locked */
	int images;            /* its directory of images, for a bind mount */
	char images_path[400]; /* good until somebody replaces the snapshot; the descriptor stays good */
};
void snap_init(struct snap *s);
void snap_close(struct snap *s);

/* Finds by key. 1: *ret is open and may be used: its files are the ones that were written (identity of each since the last
 * full check of this boot; after a boot, or when an identity differs, digests), its dependencies unchanged. 0: a miss,
 * and @reason (at least 200 bytes) says why: nothing there, or what has changed. Negative: *e (ERR_SNAPSHOT_MISMATCH names
 * the damaged file; a commit of the same key replaces it). */
NODISCARD int snap_find(const struct snap_store *st, struct snap_key *k, struct snap *ret, char *reason,
			size_t reason_size, struct err *e);
/* Opens by id or by a unique beginning of one of at least 6 digits, checked in the same way; a changed dependency is
 * ERR_SNAPSHOT_MISMATCH here. ERR_NOT_FOUND; ERR_SPEC when it is ambiguous. Below, @id may be such a beginning, too. */
NODISCARD int snap_open(const struct snap_store *st, const char *id, struct snap *ret, struct err *e);
/* Does @s belong to this key? False: @reason names the first part that differs. */
NODISCARD int snap_matches(const struct snap *s, struct snap_key *k, bool *ret_same, char *reason, size_t reason_size,
			   struct err *e);

/* A snapshot in the making, in a directory of its own that nobody finds. Its lock says that this process lives. */
struct snap_draft {
	const struct snap_store *store; /* borrowed */
	char name[64];
	int dir, images; /* files of the image go into the latter, tmp.tree into the former */
	char images_path[400];
	struct snap_manifest m; /* to be filled in */
};
/* Also removes what dead processes have left. */
NODISCARD int snap_draft_begin(const struct snap_store *st, struct snap_draft *ret, struct err *e);
/* Digests every file of the image and each dependency (of which only the names are given), computes the id from @k, writes
 * the manifest, syncs, renames. `files`, `parts`, `id` and SNAP_HAS_TMP are filled in; so is `reason` when it is NULL. An
 * older snapshot of the same id is replaced; who uses it goes on. On success *ret is open, as from snap_find().
 * ERR_BUSY when a part of the key has changed since it was fixed. */
NODISCARD int snap_draft_commit(struct snap_draft *d, struct snap_key *k, struct snap *ret, struct err *e);
/* As far as possible before the commit: makes *ret usable for a trial restore, without digests. Its texts are the draft's.
 * Close with snap_close() before the draft. */
NODISCARD int snap_draft_peek(struct snap_draft *d, struct snap *ret, struct err *e);
void snap_draft_abort(struct snap_draft *d); /* idempotent; also after a commit */

struct snap_info {
	char id[SNAP_ID_LEN + 1];
	uint64_t bytes; /* on disk */
	uint64_t created_wall_ns, used_wall_ns;
	bool in_use;
	bool damaged; /* its manifest cannot be read: @m is empty */
	struct snap_manifest m;
};
/* What is known of one, without a look at its images. Free it with snap_manifest_done(&ret->m). */
NODISCARD int snap_info_get(const struct snap_store *st, const char *id, struct snap_info *ret, struct err *e);
/* One after the other, oldest use first; stops at the first non-zero result of @fn and returns it. */
NODISCARD int snap_each(const struct snap_store *st, int (*fn)(const struct snap_info *info, void *arg, struct err *e),
			void *arg, struct err *e);
/* Digests of everything, whatever their identities say: ERR_SNAPSHOT_MISMATCH names the first file that differs. */
NODISCARD int snap_verify(const struct snap_store *st, const char *id, struct err *e);
/* ERR_BUSY while it is in use. */
NODISCARD int snap_remove(const struct snap_store *st, const char *id, struct err *e);
/* Removes what was last used more than @max_age_ns ago (0: no limit), then the least recently used until at most @max_bytes
 * (UINT64_MAX: no limit) are left; drafts of dead processes always; nothing that is in use. @fn, which may be NULL, is told
 * of each snapshot. */
NODISCARD int snap_gc(const struct snap_store *st, uint64_t max_age_ns, uint64_t max_bytes,
		      void (*fn)(const char *id, uint64_t bytes, void *arg), void *arg, struct err *e);

/* ---- Dump ---- */

/* The process to be dumped, seen from the host, parked in its read of the channel. */
struct snap_victim {
	char group[512];       /* directory of its cgroup2 group, frozen by the caller */
	int signal_fd;         /* readable: give up; FD_NONE: none */
	pid_t pid;             /* of the runtime */
	pid_t init_pid;        /* of the cell's PID 1 */
	uid_t owner;           /* uid that owns the cell's user namespace */
	uint64_t memory_bytes; /* the cell's limit; clones have no more for what is in the image */
	bool host_net;         /* --net host */
	bool host_userland;    /* no --rootfs: what it maps below /usr is the host's */
};

/* Looks at every process of the cell for what an image cannot hold, or must not for uniqueness. ERR_UNSUPPORTED with a
 * sentence that names process, descriptor and remedy. */
NODISCARD int snap_look(const struct snap_victim *v, struct err *e);

/* Dumps into the draft's images and makes them free of namespaces; the runtime is dead then. Fills the manifest's pipes,
 * max_pid, page_bytes, taken, deps. @kdat: what CRIU knows of this kernel from an earlier dump of this boot; empty: it
 * looks, which takes some 10 ms, and @kdat is filled. Not what a worker knows: that one has other rights. */
NODISCARD int snap_dump(const struct snap_engine *en, const struct snap_victim *v, struct buf *kdat,
			struct snap_draft *d, struct err *e);

/* ---- Worker: a CRIU that waits for its request inside a prepared cell ---- */

enum {
	SNAP_WORKER_SOCKET = 100, /* descriptor of its end of a SEQPACKET socketpair */
	SNAP_WORKER_ARGS = 9,
	SNAP_WORKER_ENV = 5,
	SNAP_WORKER_PIPES = 101, /* and the next three: what becomes 1, 2, 3 and 4 */
};
/* Where its things lie inside the cell: mounts that are detached before the runtime runs. */
#define SNAP_DIR        "/run/criu"
#define SNAP_DIR_ENGINE SNAP_DIR "/engine"
#define SNAP_DIR_IMAGES SNAP_DIR "/images"
#define SNAP_DIR_WORK   SNAP_DIR "/work"

/* argv and environment of the worker, inside the cell; static texts. */
void snap_worker_command(const char *argv[SNAP_WORKER_ARGS], const char *envp[SNAP_WORKER_ENV]);

/* Encodes the request: restore from SNAP_DIR_IMAGES. Returns its length, at most @size. @m: the pipes. */
size_t snap_worker_request(const struct snap_manifest *m, void *buf, size_t size);

enum snap_word {
	SNAP_WORD_NONE,     /* not yet */
	SNAP_WORD_NOTIFY,   /* a notification; `script` names it; answer it with snap_worker_go_on() */
	SNAP_WORD_RESTORED, /* the end: `pid` inside the cell */
	SNAP_WORD_FAILED,   /* the end: `cr_errno`, `text` */
	SNAP_WORD_NONSENSE, /* not an answer */
};
struct snap_answer {
	enum snap_word word;
	char script[32];
	char text[200];
	int cr_errno;
	pid_t pid; /* also of the notifications that have one */
};
void snap_worker_parse(const void *bytes, size_t len, struct snap_answer *ret);
size_t snap_worker_go_on(void *buf, size_t size);

/* Writes a fresh seccomp.img of one filter (@insns: struct sock_filter[]; @len: their number). */
size_t snap_seccomp_image(const void *insns, size_t len, void *buf, size_t size);

/* ---- Tree: the content of a directory as one file ---- */

/* Everything below @dir into @out: files, directories, links, fifos, hard links, owners, modes, times; of @dir itself its
 * mode and times. Holes stay holes. Sockets, devices, extended attributes, set-user-ID and set-group-ID are left out.
 * @id_base: outside number of the cell's uid and gid 0, which is subtracted from every owner. ERR_LIMIT beyond 64 levels or
 * 1,048,576 entries; ERR_UNSUPPORTED for a mount or an owner that is not the cell's. The tree must not change meanwhile;
 * names are opened without following links, and nothing in it can make this wait. */
NODISCARD int snap_tree_pack(int dir, int out, uint32_t id_base, uint64_t *ret_entries, struct err *e);
/* Makes it all below @dir, which is empty, as uid 0 of the cell's user namespace. System calls on fixed buffers, some 40
 * KiB of stack: for a child after clone3. -errno; -EBADMSG on bytes that are no archive, or one that was cut. On failure
 * a part of the tree is there, all of it below @dir. */
NODISCARD int snap_tree_unpack(int in, int dir);

#include "snapshot/criu.h"
