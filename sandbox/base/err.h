/* Errors as values: made where the fact is known, printed once, at the edge.
 *
 * A struct err is owned by the caller, has a fixed size and never touches the heap, so it works in a child after
 * clone3, when memory is out, and as the body of a datagram. Functions return 0 or more on success and a negative
 * errno on failure; on failure *e says what happened. The first failure wins: later calls to err_set() on the same
 * value change nothing, so a clean-up that must report passes a second struct err.
 *
 * Message form: "what we were doing: object: reason", lower case, no full stop, values in single quotes. A remedy
 * that the user can act on goes into the hint. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Stable: the names of err_kind_name() stand in JSON, on the wire and in the documents. */
enum err_kind {
	ERR_NONE,
	ERR_SPEC,              /* InvalidSpec: the request is wrong, `where` says where */
	ERR_DENIED,            /* Denied: the host refuses (EPERM, EACCES) */
	ERR_UNSUPPORTED,       /* Unsupported: this kernel, host or build lacks it */
	ERR_LIMIT,             /* LimitReached: a limit of ours or the kernel's */
	ERR_NOT_FOUND,         /* NotFound */
	ERR_EXISTS,            /* AlreadyExists */
	ERR_BUSY,              /* Busy */
	ERR_CAPACITY,          /* CapacityExhausted */
	ERR_DEADLINE,          /* DeadlineExceeded */
	ERR_OUT_OF_MEMORY,     /* OutOfMemory: the cell's memory limit, not ours */
	ERR_FUNCTION,          /* FunctionError */
	ERR_CRASHED,           /* Crashed */
	ERR_SNAPSHOT_MISMATCH, /* SnapshotMismatch */
	ERR_CANCELLED,         /* Cancelled */
	ERR_LOST,              /* Lost */
	ERR_SLOW_CONSUMER,     /* SlowConsumer */
	ERR_SYSTEM,            /* SystemFailure: the kernel failed in a way we did not expect */
	ERR_BUG,               /* InternalError: our own invariant broke */
	ERR_KIND_COUNT
};

struct err {
	enum err_kind kind; /* ERR_NONE until something failed */
	int code;           /* errno at the origin, 0 when the kernel was not involved */
	char stage[24];     /* stage of the cell's life, or "" */
	char where[160];    /* "$.limits.memory", "policy.json:3:7", a path, or "" */
	char msg[400];      /* always terminated */
	char hint[320];     /* remedy, or "" */
};

#define NODISCARD    __attribute__((warn_unused_result))
#define PRINTF(f, a) __attribute__((format(printf, f, a)))

/* Sets @e unless it is already set. Returns -@code, or -EINVAL when @code is 0. */
int err_set(struct err *e, enum err_kind kind, int code, const char *fmt, ...) PRINTF(4, 5);

/* As err_set(), with the kind derived from @code and ": strerror" appended. @code may be given as errno or -errno. */
int err_sys(struct err *e, int code, const char *fmt, ...) PRINTF(3, 4);

/* Out of memory in our own process. Returns -ENOMEM. */
int err_oom(struct err *e);

/* Puts "text: " before the message. Returns @r, so that it can be the return statement. */
int err_ctx(struct err *e, int r, const char *fmt, ...) PRINTF(3, 4);

/* Sets the place or the remedy if there is none yet. Return @r. */
int err_where(struct err *e, int r, const char *fmt, ...) PRINTF(3, 4);
int err_hint(struct err *e, int r, const char *fmt, ...) PRINTF(3, 4);

/* Takes over an error that came from another process: terminates its strings and checks its kind first.
 * Returns the negative errno that it carries. */
int err_adopt(struct err *e, const struct err *foreign);

/* "InvalidSpec", "Denied", …; ERR_NONE gives "". */
const char *err_kind_name(enum err_kind kind);
