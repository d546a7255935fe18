/* Private to spawn/: fsbox-spawn, the privileged half of the daemon.
 *
 * One process, one thread, one loop. It starts fsboxd, which has no rights, and makes, keeps and ends cells for
 * it; the protocol is wire/spawn.h. It parses nobody's text: what fsboxd sends is fixed in layout and looked at
 * again here. When fsboxd dies, the next one gets everything handed over; when this process dies, the kernel ends
 * every cell.
 *
 * Functions and cells have numbers that only grow, so a table of them is an array in the order of numbers. */
#pragma once

#include "base/loop.h"
#include "cell/cell.h"
#include "wire/spawn.h"

enum {
	END_WAIT_MS = 10000,  /* for PID 1 after it was killed, and for fsboxd after SIGTERM */
	GROUP_WAIT_MS = 2000, /* for the kernel to let a group go */
	LINGER_MS = 60000,    /* between two tries to remove what could not be removed */
	QUEUE_MAX = 64,       /* datagrams for fsboxd; beyond that it is not heard until it reads */
	OPEN_QUEUE_MAX = 256, /* OPENs that wait for one of the SPAWN_MAX_OPENS */
	FDS_OF_CELL = 14,     /* that a running cell holds */
	FDS_OF_BUILDING = 60, /* and one that is being built, detached mounts included */
	FDS_OF_EXEC = 4,      /* that a command holds */
	FDS_OF_LIMITING = 2,
	FDS_OF_OURS = 96,
	NETS_MAX = 8, /* network namespaces that are kept ready, of each kind */
	SEND_BUFFER = 1 << 20,
	PUBLISH_MS = 300000,   /* that a snapshot may take from beginning to end */
	PUBLISH_END_MS = 5000, /* for fsbox-publish after SIGTERM */
	LIMITS_MS = 10000,     /* for the kernel to reclaim what is above a cell's new limit */
	LIMITS_AT_ONCE = 16,   /* cells in which it does that; the limits of others wait for a place */
};

struct spawn_options {
	const char *socket, *runtime, *daemon, *publisher, *state, *cgroup_parent;
	uint64_t mode, socket_gid, uid, gid, max_cells;
	bool has_socket_gid, has_uid, has_gid, no_limits;
	char **daemon_args; /* behind "--" */
	int n_daemon_args;
};

/* ---- Functions ---- */

struct function {
	uint32_t number;
	bool forgotten;
	unsigned cells;           /* that need it */
	struct image *image;      /* NULL: no snapshot */
	struct cell_function def; /* wire has the present note */
};

/* ---- Cells ---- */

/* A snapshot that cells are restored from; in use as long as somebody holds it. */
struct image {
	unsigned refs;
	struct snap snap;  /* of its manifest what a restore needs */
	uint64_t identity; /* of its files when fsbox-publish had checked them */
};

enum kept_state {
	KEPT_BUILDING, /* its child has not given its word */
	KEPT_RUNNING,
	KEPT_EXITED,    /* PID 1 is gone; it waits for its END */
	KEPT_ENDING,    /* killed, and removed when it is gone */
	KEPT_LINGERING, /* answered, but something could not be removed */
};

struct kept {
	struct spawn *s;
	uint64_t number;
	struct function *f;
	struct image *image; /* it is restored from; NULL: a cold start */
	enum kept_state state;
	struct cell cell;
	struct watch waits[CELL_WAITS], exit; /* the first for its building */
	struct timer timer;                   /* what it is for follows from the state */
	struct later later;
	uint64_t begin_ns, give_up_ns, pause_ns;
	bool naps;      /* while it is built: nothing tells of what is waited for */
	bool failed;    /* FAILED is to be told when it is removed */
	bool untold;    /* no fsboxd knows of it: nothing is told */
	unsigned ends;  /* ENDs to be answered */
	struct err err; /* with failed: why; else what could not be removed */
	uint32_t note_len;
	char note[SPAWN_MAX_NOTE];
};

/* ---- OPEN ---- */

struct opening {
	struct spawn *s;
	uint64_t number; /* 0: nobody waits for the answer any more */
	int socket;      /* from the child */
	int pidfd;
	struct watch answer, exit;
	struct timer timer;
	struct later later;
};
struct open_wish {
	struct open_wish *next;
	uint64_t number;
	uint32_t directory;
	uid_t uid;
	gid_t gid, *groups; /* heap */
	size_t n_groups;
	char path[SPAWN_MAX_PATH];
};

/* ---- PUBLISH ---- */

struct publishing {
	struct spawn *s;
	uint64_t number; /* 0: none is under way */
	int socket, pidfd;
	struct watch answer, exit;
	struct timer timer;
	bool answered, late, told_to_end;
};

/* ---- EXEC ---- */

struct running { /* a command */
	struct spawn *s;
	struct running *next, **at;
	uint64_t number;
	struct cell_enter en;
	struct watch word, exit;
	struct timer timer; /* until it executes; then, between two looks at whether all of it is gone */
	struct later later;
	uint64_t give_up_ns;
	bool untold;    /* no fsboxd knows of it */
	struct err err; /* why it did not run */
};

/* ---- Network namespaces made ahead ---- */

struct nets {
	struct spawn *s;
	int socket, pidfd; /* of the process that makes them; FD_NONE: it does not run */
	struct watch answer, exit;
	struct timer idle;
	int ready[2][NETS_MAX]; /* with lo down, with lo up */
	size_t n_ready[2], asked[2];
	bool off;
};

/* ---- The whole ---- */

/* A datagram that fsboxd has not read yet, with duplicates of its descriptors. */
struct queued {
	struct queued *next;
	int fds[SPAWN_MAX_FDS];
	size_t n_fds;
	char bytes[];
};

struct spawn {
	struct spawn_options opt;
	struct loop loop;
	struct cell_host host;
	bool limits, has_engine;
	unsigned max_cells;
	size_t fd_limit;
	uint64_t memory_bytes, run, started_ns;
	/* the socket for clients */
	int listener;
	bool made_socket, has_inode;
	dev_t socket_dev;
	ino_t socket_ino;
	int notify; /* socket to the service manager, or FD_NONE */
	bool notified;
	/* signals, the end */
	char *args; /* the command line's words, as the kernel laid them out */
	size_t args_len;
	int signal_fd;
	struct watch signals;
	bool stopping;
	int status; /* of the process */
	struct timer end_timer;
	struct timer sweep;
	size_t sweeps;
	/* fsboxd */
	pid_t pid;
	int pidfd, pair;
	struct watch daemon_exit, talk;
	struct timer restart, resend;
	bool paused; /* its datagrams wait until it reads ours */
	uint64_t daemon_started_ns, backoff_ms;
	uint32_t restarts;
	struct spawn_datagram *in;
	struct queued *first, **last;
	size_t n_queued;
	bool adopting; /* the functions and cells from these numbers up to those are still to be told */
	uint64_t adopt_function, adopt_cell, adopt_last_function, adopt_last_cell;
	/* what there is */
	struct function **functions;
	struct kept **cells;
	size_t n_functions, n_cells, functions_cap, cells_cap, n_building, texts, function_fds;
	uint32_t last_function;
	uint64_t last_cell;
	struct opening opens[SPAWN_MAX_OPENS];
	struct open_wish *wish, **wish_last;
	size_t n_wishes;
	struct publishing publishing;
	struct snap_engine engine;
	struct nets nets;
	struct running *execs;
	size_t n_execs;
	uint64_t last_exec; /* of the present fsboxd */
	struct limiting *limiting;
	size_t n_limiting;
};

/* main.c: one line on stderr. */
void say(const char *fmt, ...) PRINTF(1, 2);
void say_err(const char *doing, const struct err *e);
/* main.c: ends everything in good order; when that is under way, sees whether it is done. */
void spawn_stop(struct spawn *s);
void spawn_check_stopped(struct spawn *s);
/* main.c: soon, and a few times more: somebody was killed who has left something. */
void spawn_sweep(struct spawn *s);

/* listen.c */
NODISCARD int listen_open(struct spawn *s, struct err *e);
void listen_close(struct spawn *s);

/* notify.c: what a service manager wants to know, sd_notify(3); nothing where there is none. */
void notify_open(struct spawn *s);
void notify_ready(struct spawn *s); /* told once */
void notify_stopping(struct spawn *s);

/* daemon.c: fsboxd as a process. */
void daemon_start(struct spawn *s);
void daemon_kill(struct spawn *s, int sig);
void spawn_default_signals(void); /* in a child that executes something else */
void daemon_done(struct spawn *s);
/* talk.c: fsboxd as somebody to talk to. What is told while there is none is dropped: the next one hears of
 * everything. */
NODISCARD int talk_open(struct spawn *s, int pair, struct err *e);
void talk_close(struct spawn *s);
/* @msg begins with a spawn_head. The descriptors stay the caller's. */
void tell(struct spawn *s, const void *msg, const int *fds, size_t n_fds);
void tell_done(struct spawn *s, enum spawn_word word, enum spawn_word of, uint64_t number, const struct err *e);
/* Has the present fsboxd heard of this cell, or is it too early? */
bool talk_knows(const struct spawn *s, uint64_t cell);

/* functions.c. A negative answer of the next ones is a breach of the protocol. */
NODISCARD int function_define(struct spawn *s, struct spawn_datagram *d, struct err *e);
NODISCARD int function_note(struct spawn *s, const struct spawn_function_note *m, struct err *e);
NODISCARD int function_forget(struct spawn *s, uint64_t number, struct err *e);
/* The first whose number is not below @number; NULL when there is none. */
struct function *function_from(const struct spawn *s, uint64_t number);
struct function *function_find(const struct spawn *s, uint64_t number);
void function_put(struct spawn *s, struct function *f); /* a cell less */
/* One cell was killed at birth: so would be those of every function. */
void functions_clone_beside(struct spawn *s);
void functions_done(struct spawn *s);

/* cells.c */
NODISCARD int cells_make(struct spawn *s, const struct spawn_make *m, struct err *e);
NODISCARD int cells_end(struct spawn *s, uint64_t number, struct err *e);
void cells_kill(struct spawn *s, uint64_t number);
void cells_note(struct spawn *s, const struct spawn_note *m);
void cells_settle(struct spawn *s, uint64_t number);
/* Nobody has heard of some and nobody will ask for others. */
void cells_lose_daemon(struct spawn *s);
void cells_end_all(struct spawn *s);
struct kept *cells_find(const struct spawn *s, uint64_t number);
/* One that runs; NULL with ERR_NOT_FOUND. */
struct kept *cells_running(const struct spawn *s, uint64_t number, struct err *e);
/* cells_tell.c: MADE or ADOPT, by what there is. */
void cells_tell(struct spawn *s, const struct kept *k, enum spawn_word word);
/* The place of the first number that is not below @number. */
size_t cells_place(const struct spawn *s, uint64_t number);
/* Is there room for this many descriptors more? */
bool fds_left(const struct spawn *s, size_t more);

/* nets.c */
void nets_open(struct spawn *s); /* s->host is open, and no function is known yet */
void nets_stop(struct spawn *s);
/* struct cell_host's take_net. @arg: struct nets. */
int nets_take(void *arg, bool lo_up);

/* publishing.c */
void publish_ask(struct spawn *s, const struct spawn_datagram *d);
void publish_stop(struct spawn *s);
struct image *image_get(struct image *i);
void image_put(struct image *i); /* NULL is fine */
/* Are its files the ones that were checked? ERR_SNAPSHOT_MISMATCH. Some ten stat(2). */
NODISCARD int image_check(const struct image *i, struct err *e);

/* open.c */
NODISCARD int open_ask(struct spawn *s, struct spawn_datagram *d, struct err *e);
void open_lose_daemon(struct spawn *s);

/* limits.c */
void limits_change(struct spawn *s, const struct spawn_limits *m);
void limits_stop(struct spawn *s, uint64_t cell); /* it ends */
void limits_lose_daemon(struct spawn *s);

/* exec.c */
NODISCARD int exec_start(struct spawn *s, struct spawn_datagram *d, struct err *e);
NODISCARD int exec_kill(struct spawn *s, uint64_t number, struct err *e);
void exec_lose_daemon(struct spawn *s);
