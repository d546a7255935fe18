/* Private to cell/: the stage tables, the barrier, the table of cells. */
#pragma once

#include "cell/build.h"

struct host_stage {
	const char *name;                            /* the same word in errors, traces, fault tests and documents */
	int (*enter)(struct cell *c, struct err *e); /* 1: not yet, to be entered again; the last two alone */
	/* Idempotent; also correct after half an enter; may be NULL. -EAGAIN: not yet, when the cell is not to wait. */
	int (*undo)(struct cell *c, struct err *e);
};

/* What the child works on: prepared before clone3, on the parent's stack, copied with its memory. */
struct child {
	const struct cell *cell;
	const struct cell_plan *plan;
	int barrier;
	int mounts[PLAN_MAX_MOUNTS];
	bool lo_raised; /* for CRIU only */
	pid_t worker;   /* CRIU, as seen inside */
};

enum child_when { CHILD_ALWAYS, CHILD_RESTORED };
struct child_stage {
	enum child_when when;
	const char *name;
	int (*enter)(struct child *ch, struct err *e); /* system calls on prepared data; err_set() and err_sys() only */
};

extern const struct host_stage host_stages[];
extern const size_t n_host_stages;
extern const struct child_stage child_stages[];
extern const size_t n_child_stages;

/* stages.c: an armed fault of the test build, else 0. */
int stage_fault(const char *stage, struct err *e);

/* What of the child's stages is for cells whose runtime is restored: child_restore.c. */
int child_tmp(struct child *ch, struct err *e);
int child_worker(struct child *ch, struct err *e);
int child_settle(struct child *ch, struct err *e);
int child_user(struct child *ch, struct err *e);

/* child.c: asks for SIGKILL when the host dies, and sees that it has not died yet. */
int child_follow_host(const struct child *ch, struct err *e);
/* child.c: every signal as it is by default, none blocked. */
int child_reset_signals(struct err *e);
int child_rlimits(const struct plan_rlimit *limits, size_t n, struct err *e);
/* child.c: the mount at @path becomes read-only. */
int child_seal(const char *path, struct err *e);

/* child.c: never returns. */
_Noreturn void child_main(const struct cell *c);

/* barrier.c: fixed-size SEQPACKET datagrams. The child's end closes on exec: end of file after its announcement is the
 * proof that exec succeeded. */
enum { BARRIER_MAX_FDS = CG_MAX_TREES, BARRIER_BYTES = 4096 };
enum barrier_word {
	BARRIER_FAILED,          /* err */
	BARRIER_PARKED,          /* restored cells: everything is prepared, the worker waits for its request */
	BARRIER_BYTES_OF_WORKER, /* bytes: what it found out about this kernel, for the next one */
	BARRIER_EXEC,            /* exec is next */
	BARRIER_APART,           /* containers: in their namespaces, before anything is set up */
	BARRIER_MOUNTED,         /* containers: the root is there, not yet entered */
	BARRIER_CREATED,         /* containers: waits for the word to execute */
	BARRIER_LISTENER,        /* containers: their filter asks, here is where; waits for the word to go on */
};
struct barrier_msg { /* child to host */
	enum barrier_word word;
	uint32_t len;     /* of bytes */
	uint64_t exec_ns; /* CLOCK_MONOTONIC when exec was announced */
	struct err err;
	unsigned char bytes[BARRIER_BYTES];
};
/* What a datagram holds of it when there are @len bytes. */
#define BARRIER_MSG_SIZE(len) (offsetof(struct barrier_msg, bytes) + (len))
NODISCARD int barrier_make(int *ret_host, int *ret_child, struct err *e);
/* Host: go on, with @n descriptors (at most BARRIER_MAX_FDS) for the child, which stay ours here. */
NODISCARD int barrier_release(int fd, const int *fds, int n, struct err *e);
/* Child: number of descriptors that came, -errno, -EPIPE when the host is gone. */
NODISCARD int barrier_wait(int fd, int *fds);
void barrier_fail(int fd, const struct err *e);                 /* child */
NODISCARD int barrier_announce_exec(int fd);                    /* child: exec is next */
NODISCARD int barrier_announce(int fd, enum barrier_word word); /* child */
/* Host, waiting without limit: the child's next word, which is @want or a failure. */
NODISCARD int barrier_expect(int fd, enum barrier_word want, struct err *e);
/* Host to child, a number other than 0; -EPIPE when the host is gone. */
NODISCARD int barrier_tell(int fd, uint32_t value, struct err *e);
NODISCARD int barrier_hear(int fd, uint32_t *ret_value);
/* The same with descriptors, as barrier_release() and barrier_wait(). */
NODISCARD int barrier_tell_with(int fd, uint32_t value, const int *fds, int n, struct err *e);
NODISCARD int barrier_hear_with(int fd, uint32_t *ret_value, int *fds);
NODISCARD int barrier_announce_parked(int fd, int worker);     /* child; @worker: a pidfd, which stays ours */
NODISCARD int barrier_announce_listener(int fd, int listener); /* child; @listener stays ours */
/* Child, with @m as the place to make the message in: *m's bytes and len are set. */
NODISCARD int barrier_send_bytes(int fd, struct barrier_msg *m);
/* Host, without waiting: 0 when the child has executed, with *ret_exec_ns, which begins at 0, as it was announced; 1 not
 * yet. Bytes that come before are added to @ret_bytes, which may be NULL. */
NODISCARD int barrier_take_exec(int fd, uint64_t *ret_exec_ns, struct buf *ret_bytes, struct err *e);
/* The same for containers; 2: *ret_listener, which was FD_NONE, has come, and the child waits for barrier_tell(). */
NODISCARD int barrier_take_start(int fd, uint64_t *ret_exec_ns, int *ret_listener, struct err *e);
NODISCARD int barrier_take_parked(int fd, int *ret_worker, struct err *e);
int barrier_late(struct err *e);

/* slots.c: the table of cells in the state directory. */
NODISCARD int slots_open(const char *state_dir, struct err *e);
struct slot_record {
	char cgroup_parent[256]; /* "" with --no-limits */
	char cgroup_name[64];    /* "" when free */
	char quota_path[184];
	uint64_t retry_ns; /* CLOCK_MONOTONIC before which no sweep tries it again: its last one failed */
};
/* Takes a free slot below @max, writes nothing yet; -EUSERS when all are taken. @held: which of them this process has, one
 * byte each, is brought up to date; who releases one clears its byte. */
NODISCARD int slot_take(int slots, unsigned max, unsigned char *held, struct err *e);
NODISCARD int slot_write(int slots, int slot, const struct slot_record *rec, struct err *e);
void slot_release(int slots, int slot);
/* For every record whose owner is dead: @sweep, then the record is cleared. */
NODISCARD int slots_sweep(int slots, int (*sweep)(const struct slot_record *rec, void *arg, struct err *e), void *arg,
			  struct err *e);
