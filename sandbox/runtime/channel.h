/* The channel: the pair of pipes between the host and a cell's runtime. docs/channel.md is its contract; both sides
 * include this file, link channel.c, and know nothing else of each other.
 *
 * In the cell: descriptor 3 is read (host to cell), 4 is written (cell to host). A frame is a 16-byte head followed by
 * `len` bytes of body; integers are little-endian; there is no padding between frames. One call at a time.
 *
 *     host                                   cell
 *                                        <-  READY | INIT_ERROR      once, after init
 *     [SNAPSHOT] ->                                                  once: get ready to be dumped
 *                                        <-  PARKED | INIT_ERROR     then it reads on, and the process is dumped
 *     [RESTORE] ->                                                   once, to each process that is made from the dump
 *                                        <-  RESTORED | INIT_ERROR
 *     [FILTER]  ->                                                   once, before the first CALL (strict policies)
 *     CALL      ->
 *                                        <-  DATA*                   parts of the answer, in order
 *                                        <-  DONE | ERROR            ends the call
 *     [REPORT]  ->                                                   after it, to a runtime that wants reports
 *     SHUTDOWN  ->                                                   the runtime ends with status 0
 *
 * EXIT is written by the cell's PID 1 (not by the runtime) as the very last bytes, when everything else in the cell is
 * gone: it says how the runtime ended, even if the runtime died in the middle of a frame. The host takes the last
 * CHAN_EXIT_BYTES before end of file for it when the magic fits; nothing else may follow. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CHAN_FD_IN = 3, CHAN_FD_OUT = 4, CHAN_VERSION = 1 };

enum chan_type {
	/* host to cell */
	CHAN_CALL = 1, /* body: struct chan_call, request id, trace id, event */
	CHAN_FILTER =
		2, /* body: struct sock_filter[]: to be installed with seccomp(2), all threads, after init; there is
			    * no answer: when it cannot be installed, INIT_ERROR follows READY and the runtime ends */
	CHAN_SHUTDOWN = 3, /* body: empty */
	CHAN_SNAPSHOT = 4, /* body: empty: run the hooks, answer PARKED, read on; before the first CALL */
	CHAN_RESTORE = 5,  /* body: struct chan_restore, environment; once, before the first CALL */
	CHAN_DRAW = 6,     /* body: empty: answer DRAWN; before the first CALL. For the test of a new snapshot only */
	CHAN_REPORT = 7,   /* body: struct chan_report: the figures of the call that has just ended; no answer */
	/* cell to host */
	CHAN_READY = 16,      /* body: struct chan_ready */
	CHAN_INIT_ERROR = 17, /* body: struct chan_error, type, message, document */
	CHAN_DATA = 18,       /* body: bytes of the answer */
	CHAN_DONE = 19,       /* body: empty: the handler returned 0 */
	CHAN_ERROR = 20,      /* body: struct chan_error, type, message, document: the handler failed */
	CHAN_FAULT = 21,    /* body: struct chan_fault: SIGSYS named a refused system call; the runtime ends after it */
	CHAN_EXIT = 22,     /* body: struct chan_exit */
	CHAN_PARKED = 23,   /* body: empty, or struct chan_parked: answers SNAPSHOT */
	CHAN_RESTORED = 24, /* body: struct chan_restored: answers RESTORE */
	CHAN_DRAWN = 25,    /* body: struct chan_drawn, name, value, repeated: answers DRAW */
};

struct chan_head {
	uint32_t len;  /* bytes of the body, at most CHAN_MAX_BODY */
	uint16_t type; /* enum chan_type */
	uint16_t zero;
	uint64_t call; /* number of the call, from 1; 0 outside calls */
};

struct chan_call {
	int64_t deadline_ms;   /* CLOCK_REALTIME, milliseconds since 1970: Lambda's deadline */
	uint64_t remaining_ns; /* the same as a duration when the host sent it: not moved by steps of the clock */
	uint16_t id_len, trace_len;
	uint32_t event_len;
};

struct chan_ready {
	uint32_t version; /* CHAN_VERSION */
	uint32_t flags;   /* enum chan_ready_flag; a host ignores those that it does not know */
};

enum chan_ready_flag {
	CHAN_HAS_SHUTDOWN = 1,  /* the function defines fsbox_shutdown() */
	CHAN_CAN_SNAPSHOT = 2,  /* the runtime knows SNAPSHOT, RESTORE and DRAW */
	CHAN_WANTS_REPORTS = 4, /* a REPORT after each call */
};

struct chan_parked {
	uint32_t flags; /* enum chan_parked_flag; a host ignores those that it does not know */
};

enum chan_parked_flag {
	CHAN_NOT_RESEEDED = 1, /* nobody will reseed what is in the memory of the processes: clones may draw the same */
};

/* How a call ended, as its caller is told. */
struct chan_report {
	uint64_t duration_ns;
	uint64_t billed_ms;
	uint64_t max_memory_bytes; /* 0: not measured */
	uint64_t init_ns;          /* 0: the call did not come after a cold start */
	uint64_t restore_ns;       /* 0: the call did not come after a restore */
	uint32_t status;           /* enum chan_report_status */
	uint32_t zero;
};

enum chan_report_status { CHAN_REPORT_SUCCESS, CHAN_REPORT_FAILURE, CHAN_REPORT_TIMEOUT };

/* What a process is told that was made from a dump. The random bytes are drawn for it alone. */
struct chan_restore {
	uint8_t random[64];
	uint64_t generation; /* random, not 0: no other cell has the same */
	int64_t wall_ns;     /* CLOCK_REALTIME now, nanoseconds since 1970 */
	int64_t elapsed_ns;  /* by the wall since the snapshot, 0 or more */
	uint32_t memory_mb;  /* the limit of this cell, which the dumped one need not have had */
	uint32_t flags;      /* enum chan_restore_flag */
	uint32_t env_len;
	uint32_t zero;
	char clone_id[16]; /* CHAN_CLONE_ID_LEN hexadecimal digits (0-9, a-f), then 0 bytes */
};

enum chan_restore_flag {
	CHAN_KEEP_SEEDS = 1, /* rand(), random() and drand48() go on where they were; DRAW leaves them out */
};

struct chan_restored {
	uint64_t reseed_ns; /* environment and reseeding */
	uint64_t hooks_ns;  /* the function's hooks */
};

struct chan_drawn {
	uint8_t name_len, value_len;
};

/* What stands in the body behind type and message is the document: the JSON that the caller gets, as it is. Without one the
 * host makes it of type and message. */
struct chan_error {
	uint16_t type_len;
	uint16_t zero;
	uint32_t message_len;
};

struct chan_fault {
	int32_t nr;    /* system call number */
	uint32_t arch; /* AUDIT_ARCH_… */
};

struct chan_exit {
	uint64_t magic; /* CHAN_EXIT_MAGIC */
	int32_t code;   /* CLD_EXITED, CLD_KILLED, CLD_DUMPED; 0 when it could not be executed */
	int32_t status; /* exit status, signal, or errno of the failed execve(2) */
};

#define CHAN_EXIT_MAGIC UINT64_C(0x5449584558424f58)

enum {
	CHAN_MAX_PAYLOAD = 6291456,
	CHAN_MAX_TYPE = 256,
	CHAN_MAX_MESSAGE = 32768,
	CHAN_MAX_DOCUMENT = 1048576,
	CHAN_MAX_ID = 128,
	CHAN_MAX_TRACE = 3072,
	CHAN_MAX_INSNS = 4096, /* BPF_MAXINSNS, 8 bytes each */
	CHAN_CLONE_ID_LEN = 12,
	CHAN_MAX_ENV = 16384, /* of RESTORE */
	CHAN_MAX_DRAWN = 4096,
	CHAN_MAX_DRAWN_NAME = 32,
	CHAN_MAX_DRAWN_VALUE = 32,
	CHAN_MAX_BODY = CHAN_MAX_PAYLOAD + 4096, /* a whole event with its ids */
	CHAN_EXIT_BYTES = sizeof(struct chan_head) + sizeof(struct chan_exit),
	CHAN_FAULT_BYTES = sizeof(struct chan_head) + sizeof(struct chan_fault),
};

_Static_assert(sizeof(struct chan_head) == 16, "the head is 16 bytes");
_Static_assert(sizeof(struct chan_call) == 24, "no padding on the wire");
_Static_assert(sizeof(struct chan_ready) == 8, "no padding on the wire");
_Static_assert(sizeof(struct chan_error) == 8, "no padding on the wire");
_Static_assert(sizeof(struct chan_fault) == 8, "no padding on the wire");
_Static_assert(sizeof(struct chan_exit) == 16, "no padding on the wire");
_Static_assert(sizeof(struct chan_restore) == 120, "no padding on the wire");
_Static_assert(sizeof(struct chan_restored) == 16, "no padding on the wire");
_Static_assert(sizeof(struct chan_drawn) == 2, "no padding on the wire");
_Static_assert(sizeof(struct chan_parked) == 4, "no padding on the wire");
_Static_assert(sizeof(struct chan_report) == 48, "no padding on the wire");
_Static_assert(sizeof(struct chan_call) + CHAN_MAX_ID + CHAN_MAX_TRACE <= 4096, "ids fit beside the largest event");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "integers go as they lie in memory");

/* ---- Reading frames: pure functions on bytes, no state, nothing allocated, nothing read beyond what was given ---- */

enum chan_side { CHAN_HOST, CHAN_CELL };

/* Checks the sizeof(struct chan_head) bytes at @bytes as a head that @reader may receive: type, length for the type,
 * zero field, call number where there must (not) be one. 0; -EPROTO; -EMSGSIZE when the body is longer than the type
 * may be. A reader needs no memory before this has said yes. */
int chan_head_parse(const void *bytes, enum chan_side reader, struct chan_head *ret_head);

/* What stands before the event in a CALL. Not terminated: pointers into the body. */
struct chan_call_view {
	struct chan_call fixed;
	const char *id, *trace;
	size_t event_at; /* offset of the event in the body */
};

/* Reads the front of a CALL's body of @body_len bytes of which the first @have are at @body. Returns the offset of
 * the event, 0 when more of the body is needed, -EPROTO when the lengths contradict each other or a string contains a
 * 0 byte, -EMSGSIZE when one is over its limit. Bytes beyond the event's offset are not looked at. */
ptrdiff_t chan_call_parse(const void *body, size_t have, size_t body_len, struct chan_call_view *ret_view);

/* The body of INIT_ERROR or ERROR. Not terminated, any bytes: pointers into the body. */
struct chan_error_view {
	const char *type, *message, *document;
	size_t type_len, message_len, document_len;
};

/* 0, -EPROTO or -EMSGSIZE. */
int chan_error_parse(const void *body, size_t body_len, struct chan_error_view *ret_view);

/* True when the CHAN_EXIT_BYTES at @tail are an EXIT frame. Only meaningful for the last bytes that ever came. */
bool chan_exit_parse(const void *tail, struct chan_exit *ret_exit);

/* True when the CHAN_FAULT_BYTES at @tail (those before the EXIT) are a FAULT frame. */
bool chan_fault_parse(const void *tail, struct chan_fault *ret_fault);

/* The body of a RESTORE. Pointers into the body. */
struct chan_restore_view {
	struct chan_restore fixed; /* clone_id is terminated */
	const char *env;           /* fixed.env_len bytes of "KEY=VALUE", each terminated, each with a key */
};

/* 0; -EPROTO; -EMSGSIZE when the environment is over its limit. */
int chan_restore_parse(const void *body, size_t body_len, struct chan_restore_view *ret_view);

/* The next string of an environment that chan_restore_parse() has accepted, from *at (0 to begin) on; NULL at its end. */
const char *chan_restore_env(const struct chan_restore_view *v, size_t *at);

/* One value of a DRAWN. Not terminated: pointers into the body. The name is printable ASCII without blanks. */
struct chan_drawn_view {
	const char *name;
	const uint8_t *value;
	size_t name_len, value_len;
};

/* Reads the entry at *at (0 to begin) of the body and moves *at behind it. 1; 0 at the end of the body; -EPROTO;
 * -EMSGSIZE. */
int chan_drawn_next(const void *body, size_t body_len, size_t *at, struct chan_drawn_view *ret_view);
