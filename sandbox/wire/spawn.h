/* What fsboxd and fsbox-spawn say to each other, over one pair of SOCK_SEQPACKET sockets: one structure, one
 * datagram, its descriptors beside it (SCM_RIGHTS). Pure layout: host byte order, because both ends are one build
 * on one machine.
 *
 * fsboxd has no privileges and asks; fsbox-spawn has them, makes cells and keeps them when fsboxd dies. Neither
 * trusts the other's bytes: spawn_check() sees lengths, ends of texts, enums, counts and numbers of descriptors on
 * both sides. What the descriptors are, and what is allowed, fsbox-spawn looks at itself.
 *
 * Functions and cells have numbers that fsboxd chooses: each greater than all before it (HELLO says which were the
 * last). So have commands, but for each fsboxd from 1 on: with it they end.
 *
 *   FUNCTION ─► DONE       MAKE ─► MADE | FAILED       LIMITS, SETTLE ─► DONE      OPEN ─► OPENED
 *   END ─► ENDED           a cell whose PID 1 is gone: EXITED, once, after its MADE; it stays until its END
 *   PUBLISH ─► PUBLISHED   one at a time; MAKE with `restored` needs it
 *   EXEC ─► EXEC_ENDED     once: the command is over, could not begin, or was ended by EXEC_KILL or with its cell
 *   FORGET, NOTE, FUNCTION_NOTE, KILL, EXEC_KILL, READY have no answer; for a cell that is gone they do nothing, as
 *   SETTLE and LIMITS, whose DONE then has ERR_NOT_FOUND.
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

#include "wire/spawn_words.h"

/* ---- Cells ---- */

struct spawn_make {
	struct spawn_head head;
	uint64_t cell;
	uint32_t function;
	uint32_t note_len;
	uint32_t restored; /* 1: out of the function's snapshot; FAILED with ERR_NOT_FOUND when none is PUBLISHED */
	uint32_t zero;
	/* CLOCK_MONOTONIC, of a restore: what is not restored by then is ended: FAILED, ERR_DEADLINE. 0: no such bound */
	uint64_t give_up_ns;
	char note[SPAWN_MAX_NOTE];
};

struct spawn_note {
	struct spawn_head head;
	uint64_t cell;
	uint32_t zero;
	uint32_t note_len;
	char note[SPAWN_MAX_NOTE];
};

/* The CPU share follows the memory. A limit below what is in use is refused with ERR_BUSY and changes nothing. DONE comes
 * when the kernel has reclaimed what is above a smaller one, or when that takes too long (ERR_BUSY, nothing has changed);
 * other limits for the same cell are ERR_BUSY until then. */
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

/* ---- EXEC ---- */

enum spawn_exec_flag {
	SPAWN_EXEC_STDIN = 1 << 0, /* a descriptor comes for it; without, it is the cell's /dev/null */
	SPAWN_EXEC_STDOUT = 1 << 1,
	SPAWN_EXEC_STDERR = 1 << 2,
	SPAWN_EXEC_TTY =
		1 << 3, /* the one that comes for standard input is a terminal, is all three, and controls it */
	SPAWN_EXEC_CWD = 1 << 4, /* else where the function begins */
	SPAWN_EXEC_FLAGS = (1 << 5) - 1,
};

/* A command in a cell that runs. Descriptors in the order of the flags: regular files, pipes, sockets, terminals, or
 * what /dev/null and its like are; nothing that leads anywhere else. What the command leaves running is ended with it
 * (where the host has cgroup2). */
struct spawn_exec {
	struct spawn_head head;
	uint64_t number; /* fsboxd's own, greater than all before */
	uint64_t cell;
	uint32_t flags;  /* enum spawn_exec_flag */
	uint32_t n_args; /* from 1 on; the first one is not empty */
	uint32_t n_env;  /* "KEY=VALUE", added to a small fixed environment */
	uint32_t texts_len;
	char texts[]; /* args, env, the directory when there is one (absolute): each with its 0 byte */
};
struct spawn_exec_end {
	struct spawn_head head;
	uint64_t number;
	struct spawn_status how;
	struct err err; /* ERR_NONE: it ran. ERR_NOT_FOUND, ERR_DENIED with the stage "exec": the command itself */
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
	bool lacking; /* received by fsboxd, which has no room for its descriptors: then it has none */
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
		struct spawn_exec exec;
		struct spawn_exec_end exec_end;
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
