/* What fsboxd and fsbox-spawn say to each other, over one pair of SOCK_SEQPACKET sockets: one structure, one
 * datagram, its descriptors beside it (SCM_RIGHTS). Pure layout: host byte order, because both ends are one build
 * on one machine.
 *
 * fsboxd has no privileges and asks; fsbox-spawn has them, makes cells and keeps them when fsboxd dies. Neither
 * trusts the other's bytes: spawn_check() sees lengths, ends of texts, enums, counts and numbers of descriptors on
 * both sides. What the descriptors are, and what is allowed, fsbox-spawn looks at itself.
 *
 * Functions and cells have numbers that fsboxd chooses: each greater than all before it (HELLO says which were the
 * last).
 *
 *   FUNCTION ─► DONE       MAKE ─► MADE | FAILED       LIMITS, SETTLE ─► DONE      OPEN ─► OPENED
 *   END ─► ENDED           a cell whose PID 1 is gone: EXITED, once, after its MADE; it stays until its END
 *   PUBLISH ─► PUBLISHED   one at a time; MAKE with `restored` needs it
 *   FORGET, NOTE, FUNCTION_NOTE, KILL, READY have no answer; for a cell that is gone they do nothing, as SETTLE and
 *   LIMITS, whose DONE then has ERR_NOT_FOUND.
 *   END for a cell that is being built: FAILED (ERR_CANCELLED), then ENDED. After FAILED nothing is left of a cell and no
 *   END is needed; one that crossed it is answered all the same. Each END has exactly one ENDED.
 *
 * A new fsboxd hears first: HELLO, the FUNCTION datagrams of all functions that are known, with their present
 * notes, ADOPT for each cell, ADOPTED. It may ask from the beginning. Cells that were being built when the old one
 * died, and those whose END was under way, are not among them.
 *
 * A datagram from fsboxd that is malformed, or a number that is not new, ends that fsboxd: there is no answer to
 * it. */
#pragma once

#include "base/err.h"

#include <sys/types.h>

enum {
	SPAWN_VERSION = 2,
	SPAWN_FD_PAIR = 3,   /* of fsboxd: the socket to fsbox-spawn */
	SPAWN_FD_LISTEN = 4, /* and the one on which clients knock */
	SPAWN_MAX_BYTES =
		196608, /* of a datagram: all that a spec may hold; below a socket's usual buffer of 212,992 */
	SPAWN_MAX_FDS = 48,
	SPAWN_MAX_NOTE = 512,
	SPAWN_MAX_FUNCTION_NOTE = 4096,
	SPAWN_MAX_LAYERS = 5,
	SPAWN_MAX_SECRETS = 32,
	SPAWN_MAX_ENV = 512,
	SPAWN_MAX_ENV_BYTES = 4096, /* keys and values without the '=' */
	SPAWN_MAX_ARGS = 128,
	SPAWN_MAX_IMAGE_ENV = 256,
	SPAWN_MAX_PATH = 4096,   /* with its 0 byte */
	SPAWN_MAX_FILTER = 4096, /* instructions */
	SPAWN_MAX_FUNCTIONS = 4096,
};

enum spawn_word {
	/* fsboxd to fsbox-spawn */
	SPAWN_FUNCTION = 1, /* spawn_function; also the other way, when fsboxd is new */
	SPAWN_FUNCTION_NOTE,
	SPAWN_FORGET,  /* spawn_number: goes when its last cell is gone; no MAKE of it any more */
	SPAWN_MAKE,    /* spawn_make */
	SPAWN_SETTLE,  /* spawn_number: init is over, the share replaces the boost */
	SPAWN_NOTE,    /* spawn_note */
	SPAWN_LIMITS,  /* spawn_limits */
	SPAWN_KILL,    /* spawn_number */
	SPAWN_END,     /* spawn_number: kill, wait, remove everything */
	SPAWN_OPEN,    /* spawn_open */
	SPAWN_READY,   /* spawn_number, 0: clients are served from now on */
	SPAWN_PUBLISH, /* spawn_number, a function: its snapshot is found, or made */
	/* fsbox-spawn to fsboxd */
	SPAWN_HELLO = 33, /* spawn_hello */
	SPAWN_ADOPT,      /* spawn_cell: lives, or ended unheard (exited) */
	SPAWN_ADOPTED,    /* spawn_number, 0: that was all */
	SPAWN_DONE,       /* spawn_done */
	SPAWN_MADE,       /* spawn_cell: its PID 1 has been executed */
	SPAWN_FAILED,     /* spawn_done */
	SPAWN_EXITED,     /* spawn_exit */
	SPAWN_ENDED,      /* spawn_exit */
	SPAWN_OPENED,     /* spawn_opened */
	SPAWN_PUBLISHED,  /* spawn_published */
	/* fsbox-publish to fsbox-spawn */
	SPAWN_IMAGE = 65, /* spawn_image */
};

struct spawn_head {
	uint32_t word; /* enum spawn_word */
	uint32_t size; /* of the whole datagram */
};

/* A cell, but a function in FORGET and PUBLISH, and nothing in READY and ADOPTED. */
struct spawn_number {
	struct spawn_head head;
	uint64_t number;
};

/* ---- FUNCTION ---- */

/* A text in the function's texts: @len bytes and a 0 byte, none among them. */
struct spawn_text {
	uint32_t at, len;
};
/* @n texts one after the other, each with its 0 byte, @len bytes in all. */
struct spawn_list {
	uint32_t at, len, n, zero;
};

enum spawn_function_flag {
	SPAWN_HAS_CODE = 1 << 0, /* else an image says what is executed */
	SPAWN_CODE_IS_DIR = 1 << 1,
	SPAWN_HAS_ROOTFS = 1 << 2,
	SPAWN_HAS_FILTER = 1 << 3, /* without: no filter (the policy none) */
	SPAWN_HAS_HANDLER = 1 << 4,
	SPAWN_HAS_INTERPRETER = 1 << 5,
	SPAWN_HAS_IMAGE = 1 << 6, /* image_args, image_env, image_cwd; not with code */
	SPAWN_NO_LIMITS = 1 << 7,
	SPAWN_NO_INIT_BOOST = 1 << 8,
	SPAWN_FORGOTTEN = 1 << 9, /* towards fsboxd only */
	SPAWN_KEEP_SEEDS = 1 << 10,
	SPAWN_FUNCTION_FLAGS = (1 << 11) - 1,
};
enum spawn_net { SPAWN_NET_LOOPBACK, SPAWN_NET_NONE, SPAWN_NET_HOST, SPAWN_NET_COUNT };
enum spawn_runtime { /* found out; never "auto" */
		     SPAWN_RUNTIME_NATIVE = 1,
		     SPAWN_RUNTIME_PYTHON,
		     SPAWN_RUNTIME_NODE,
		     SPAWN_RUNTIME_CUSTOM,
};

/* Descriptors, in this order: the code, the root, the layers, the secrets, the filter. Code is a regular file
 * opened for reading, or a directory; root and layers are directories; directories may be O_PATH. A secret is a
 * regular file (or memfd) opened for reading, at most 65,536 bytes, read for each cell. The filter is a memfd
 * sealed against writing, shrinking and growing, with struct sock_filter from its beginning to its end. The
 * function's user has to be able to read code, root and layers: they need the rights for others (o+r, o+rx). */
struct spawn_function {
	struct spawn_head head;
	uint32_t function; /* its number, not 0 */
	uint32_t flags;    /* enum spawn_function_flag; a text whose flag is not set has len 0 */
	uint64_t memory_bytes, tmp_bytes;
	uint32_t pids;
	uint32_t net, runtime; /* enum spawn_net, enum spawn_runtime */
	uint32_t n_layers;
	struct spawn_text name;        /* the function's, [a-zA-Z0-9-_], 1 to 64 */
	struct spawn_text policy;      /* its name, for what depends on it; 1 to 255 bytes */
	struct spawn_text code_name;   /* file name in /var/task: one component; of a directory as well */
	struct spawn_text handler;     /* value of _HANDLER; may be empty */
	struct spawn_text interpreter; /* path in the cell's root */
	struct spawn_text image_cwd;   /* absolute */
	struct spawn_list env;         /* "KEY=VALUE" */
	struct spawn_list secrets;     /* their names: [a-zA-Z0-9_.-], no leading dot */
	struct spawn_list image_args;  /* 1 to 128 */
	struct spawn_list image_env;
	uint32_t note_len;
	uint32_t texts_len; /* what follows the structure; at most SPAWN_MAX_BYTES in all */
	char note[SPAWN_MAX_FUNCTION_NOTE];
	char texts[];
};

/* FUNCTION_NOTE: spawn keeps it for a fsboxd to come. */
struct spawn_function_note {
	struct spawn_head head;
	uint32_t function;
	uint32_t note_len;
	char note[SPAWN_MAX_FUNCTION_NOTE];
};

/* ---- Cells ---- */

struct spawn_make {
	struct spawn_head head;
	uint64_t cell;
	uint32_t function;
	uint32_t note_len;
	uint32_t restored; /* 1: out of the function's snapshot; FAILED with ERR_NOT_FOUND when none is PUBLISHED */
	uint32_t zero;
	char note[SPAWN_MAX_NOTE];
};

struct spawn_note {
	struct spawn_head head;
	uint64_t cell;
	uint32_t zero;
	uint32_t note_len;
	char note[SPAWN_MAX_NOTE];
};

/* The CPU share follows the memory. A limit below what is in use is refused with ERR_BUSY and changes nothing. */
struct spawn_limits {
	struct spawn_head head;
	uint64_t cell;
	uint64_t memory_bytes; /* 0: as it is */
	uint32_t pids;         /* 0: as it is */
	uint32_t zero;
};

/* Which descriptors come with a cell, in the order of the bits. fsboxd's are duplicates: closing them ends nothing. */
enum spawn_cell_fd {
	SPAWN_FD_IN = 1 << 0,  /* the channel, written; does not block, as the next three */
	SPAWN_FD_OUT = 1 << 1, /* and read */
	SPAWN_FD_STDOUT = 1 << 2,
	SPAWN_FD_STDERR = 1 << 3,
	SPAWN_FD_PIDFD = 1 << 4,     /* readable when PID 1 is gone */
	SPAWN_FD_CGROUP = 1 << 5,    /* O_PATH directory in cgroup2: struct cgroup's v2 */
	SPAWN_FD_FREEZE = 1 << 6,    /* cgroup.freeze there, for writing */
	SPAWN_FD_V1_MEMORY = 1 << 7, /* struct cgroup's v1[], in its order; O_PATH */
	SPAWN_FD_V1_CPU = 1 << 8,
	SPAWN_FD_V1_PIDS = 1 << 9,
	SPAWN_FD_OOM =
		1
		<< 10, /* eventfd of v1's memory.oom_control: its count is shared with fsbox-spawn, who never reads it */
	SPAWN_FD_ALWAYS = (1 << 5) - 1,
	SPAWN_FD_ALL = (1 << 11) - 1,
};

/* How PID 1 ended, as waitid(2) says it. */
struct spawn_status {
	int32_t code;   /* si_code: CLD_EXITED, CLD_KILLED, CLD_DUMPED; 0: it never ran */
	int32_t status; /* si_status: exit status or signal */
};

/* MADE and ADOPT. */
struct spawn_cell {
	struct spawn_head head;
	uint64_t cell;
	uint32_t function;
	uint32_t fds;          /* enum spawn_cell_fd: these come with it */
	uint64_t begin_ns;     /* when its building began, CLOCK_MONOTONIC */
	uint64_t exec_ns;      /* when its PID 1 was executed */
	uint64_t memory_bytes; /* limits as they are now */
	uint32_t pids;
	int32_t pid;      /* on the host */
	uint8_t boosted;  /* SETTLE has not come */
	uint8_t exited;   /* ADOPT only: how, see below; no EXITED follows */
	uint8_t restored; /* MADE only: its runtime was told who it is, and answers RESTORED when its hooks have run */
	uint8_t zero;
	uint32_t note_len;
	struct spawn_status how;
	char id[16];             /* 12 hex digits and a 0 byte */
	char cgroup_parent[256]; /* "/fsbox"; "" without limits */
	char cgroup_name[80];    /* "cell-…" */
	char note[SPAWN_MAX_NOTE];
};

/* ---- Snapshots ---- */

/* PUBLISH has descriptors: the writing end of a pipe for what the function prints meanwhile, and, when there is one, the
 * filter that its runtime adds after init, as FUNCTION has its own. Only fsbox-publish, a program of its own, reads
 * manifests; fsbox-spawn starts it. The snapshot stays in use until the function is forgotten or it is published again. */
struct spawn_published {
	struct spawn_head head;
	uint64_t number;     /* of the function */
	uint64_t init_ns;    /* 0: found, not made now */
	uint64_t page_bytes; /* of memory in the image */
	uint32_t features;   /* enum snap_feature */
	uint32_t zero;
	char id[72];          /* 64 hex digits; "" with err */
	char error_type[264]; /* of the function, when that is why it failed; else "" */
	struct err err;
};

/* With the snapshot's directory and that of its images, both locked against removal; without with an err. */
struct spawn_image {
	struct spawn_head head;
	uint32_t max_pid;
	uint32_t zero;
	uint64_t boottime_ns; /* when it was taken */
	char pipes[4][32];
	struct spawn_published told;
};

/* DONE (of FUNCTION, SETTLE, LIMITS) and FAILED (of MAKE). */
struct spawn_done {
	struct spawn_head head;
	uint64_t number;
	uint32_t of; /* enum spawn_word that is answered */
	uint32_t zero;
	struct err err; /* err_adopt() it; ERR_NONE: it is done. FAILED always has one, with the stage */
};

/* EXITED and ENDED. */
struct spawn_exit {
	struct spawn_head head;
	uint64_t cell;
	struct spawn_status how;
	struct err err; /* ENDED: what could not be removed; the next start tries again. Else ERR_NONE */
};

/* ---- OPEN ---- */

/* Opens a path as the client that asks: by a child that becomes who connected. fsbox-spawn takes the ids from the
 * client's connection, which comes as the one descriptor and has to have been accepted from our own listening
 * socket: a fsboxd that was taken over can read only what somebody who talks to it may read. An ordinary user's
 * fsbox-spawn opens for its own uid alone. Files and directories are opened for reading; no magic links
 * (openat2(2), RESOLVE_NO_MAGICLINKS), nothing of /proc. At most SPAWN_MAX_OPENS at once, others wait; 5 s each. */
enum { SPAWN_MAX_OPENS = 16, SPAWN_OPEN_MS = 5000 };
struct spawn_open {
	struct spawn_head head;
	uint64_t number;    /* fsboxd's own, not 0; comes back */
	uint32_t directory; /* 0: a regular file; 1: a directory; 2: either */
	uint32_t path_len;
	char path[SPAWN_MAX_PATH]; /* absolute */
};
struct spawn_opened {
	struct spawn_head head;
	uint64_t number;
	int32_t code;       /* 0: a descriptor comes with it; else an errno (ETIMEDOUT, EPERM, ENOENT, …) */
	uint32_t directory; /* it is one */
};

/* ---- HELLO ---- */

enum spawn_hello_flag {
	SPAWN_PRIVILEGED = 1 << 0,  /* cells get ranges of ids; --tmp-dir and snapshots need it */
	SPAWN_LIMITS_WORK = 1 << 1, /* a cgroup parent was found */
	SPAWN_FREEZE_WORKS = 1 << 2,
	SPAWN_ENGINE = 1 << 3, /* CRIU was found */
	SPAWN_HELLO_FLAGS = (1 << 4) - 1,
};
struct spawn_hello {
	struct spawn_head head;
	uint32_t version;
	uint32_t flags;
	uint64_t run; /* drawn at fsbox-spawn's start: another one is another fsbox-spawn, and no cell is older */
	uint64_t started_ns;   /* CLOCK_MONOTONIC */
	uint64_t memory_bytes; /* of the host */
	uint64_t last_cell;    /* numbers have to be greater */
	uint32_t last_function;
	uint32_t n_cpus, max_cells;
	uint32_t cgroup_mode;      /* enum cg_mode */
	uint32_t uid, gid;         /* of cells' outside, when not privileged */
	uint32_t restarts;         /* of fsboxd so far */
	uint32_t functions, cells; /* that follow */
	uint32_t zero;
	char runtime_dir[512]; /* for code_open() */
	char state_dir[512];   /* fsboxd's own directory */
};

/* ---- Sending, receiving ---- */

enum spawn_side { SPAWN_TO_SPAWN, SPAWN_TO_DAEMON, SPAWN_FROM_PUBLISHER };

/* One datagram with what came beside it. Large: allocate it once. */
struct spawn_datagram {
	int fds[SPAWN_MAX_FDS]; /* owned: what is taken is made FD_NONE, the rest is closed by spawn_drop() */
	size_t n_fds;
	union {
		struct spawn_head head;
		struct spawn_number number;
		struct spawn_function function;
		struct spawn_function_note function_note;
		struct spawn_make make;
		struct spawn_note note;
		struct spawn_limits limits;
		struct spawn_open open;
		struct spawn_hello hello;
		struct spawn_cell cell;
		struct spawn_done done;
		struct spawn_exit exit;
		struct spawn_opened opened;
		struct spawn_published published;
		struct spawn_image image;
		char bytes[SPAWN_MAX_BYTES + 8];
	};
};

/* Is this a datagram for @side, whole and well-formed, with the right number of descriptors? ERR_BUG with EPROTO.
 * Pure. */
NODISCARD int spawn_check(const struct spawn_datagram *d, size_t len, enum spawn_side side, struct err *e);

/* Receives one without waiting, checked. 1; 0 at end of file; -EAGAIN (*e untouched); -EPROTO and other errors. The
 * descriptors of the last one are closed first. */
NODISCARD int spawn_receive(int fd, struct spawn_datagram *d, enum spawn_side side, struct err *e);
void spawn_drop(struct spawn_datagram *d);

/* Sends without waiting; @msg begins with a spawn_head, whose size says how much it is. The descriptors stay the
 * caller's. -EAGAIN: the other side reads too slowly; -EPIPE, -ECONNRESET: it is gone. */
NODISCARD int spawn_send(int fd, const void *msg, const int *fds, size_t n_fds);

/* ---- Building and reading a FUNCTION ---- */

/* Empties @d and sets word and size. The others are filled by hand; texts come through these two, which return
 * false when there is no room (SPAWN_MAX_BYTES). A list is put together by adding all of its texts one after the
 * other. */
void spawn_function_begin(struct spawn_datagram *d, uint32_t number);
NODISCARD bool spawn_put_text(struct spawn_datagram *d, struct spawn_text *to, const char *text);
NODISCARD bool spawn_put_list(struct spawn_datagram *d, struct spawn_list *to, const char *text);

/* For the fixed ones: zeroes @size bytes of @msg and sets the head. */
void spawn_begin(void *msg, enum spawn_word word, size_t size);

/* Of a checked FUNCTION. */
const char *spawn_text_of(const struct spawn_function *f, const struct spawn_text *t);
/* The next of a list, NULL after the last; *at begins at 0. */
const char *spawn_list_next(const struct spawn_function *f, const struct spawn_list *l, size_t *at);
/* How many descriptors a FUNCTION comes with. */
size_t spawn_function_fds(const struct spawn_function *f);
