/* Of wire/spawn.h: the words and limits, what every datagram begins with, and the FUNCTION. */
#pragma once

#include "base/err.h"

#include <sys/types.h>

enum {
	SPAWN_VERSION = 3,
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
	SPAWN_MAX_FUNCTION_BYTES = 128 << 20, /* of all FUNCTION datagrams that are kept */
	SPAWN_MAX_EXECS = 256,                /* commands at one time */
	SPAWN_MAX_EXEC_ARGS = 256,
	SPAWN_MAX_EXEC_ENV = 256,
	SPAWN_MAX_EXEC_BYTES = 65536, /* of all its texts with their 0 bytes */
};

enum spawn_word {
	/* fsboxd to fsbox-spawn */
	SPAWN_FUNCTION = 1, /* spawn_function; also the other way, when fsboxd is new */
	SPAWN_FUNCTION_NOTE,
	SPAWN_FORGET,    /* spawn_number: goes when its last cell is gone; no MAKE of it any more */
	SPAWN_MAKE,      /* spawn_make */
	SPAWN_SETTLE,    /* spawn_number: init is over, the share replaces the boost */
	SPAWN_NOTE,      /* spawn_note */
	SPAWN_LIMITS,    /* spawn_limits */
	SPAWN_KILL,      /* spawn_number */
	SPAWN_END,       /* spawn_number: kill, wait, remove everything */
	SPAWN_OPEN,      /* spawn_open */
	SPAWN_READY,     /* spawn_number, 0: clients are served from now on */
	SPAWN_EXEC,      /* spawn_exec */
	SPAWN_EXEC_KILL, /* spawn_number, of the command: it and all that it has started */
	SPAWN_PUBLISH,   /* spawn_number, a function: its snapshot is found, or made */
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
	SPAWN_EXEC_ENDED, /* spawn_exec_end */
	SPAWN_PUBLISHED,  /* spawn_published */
	/* fsbox-publish to fsbox-spawn */
	SPAWN_IMAGE = 65, /* spawn_image */
};

struct spawn_head {
	uint32_t word; /* enum spawn_word */
	uint32_t size; /* of the whole datagram */
};

/* A cell, but a function in FORGET and PUBLISH, a command in EXEC_KILL, and nothing in READY and ADOPTED. */
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
	SPAWN_HAS_AFTER = 1 << 11,
	SPAWN_FUNCTION_FLAGS = (1 << 12) - 1,
};
enum spawn_net { SPAWN_NET_LOOPBACK, SPAWN_NET_NONE, SPAWN_NET_HOST, SPAWN_NET_COUNT };
enum spawn_runtime { /* found out; never "auto" */
		     SPAWN_RUNTIME_NATIVE = 1,
		     SPAWN_RUNTIME_PYTHON,
		     SPAWN_RUNTIME_NODE,
		     SPAWN_RUNTIME_CUSTOM,
};

/* Descriptors, in this order: the code, the root, the layers, the secrets, the filter, the one for after init. Code is
 * a regular file opened for reading, or a directory; root and layers are directories; directories may be O_PATH. A
 * secret is a regular file (or memfd) opened for reading, at most 65,536 bytes, read for each cell. The filter is a
 * memfd sealed against writing, shrinking and growing, with struct sock_filter from its beginning to its end. The one
 * for after init (SPAWN_HAS_AFTER: from a policy in a file) is the same and fsboxd's affair, kept for the next one
 * only. The function's user has to be able to read code, root and layers: they need the rights for others (o+r, o+rx). */
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
