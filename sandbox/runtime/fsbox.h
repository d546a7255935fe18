/* fsbox.h: the contract between fsbox and a function written in C (or C++, or a Rust cdylib).
 *
 * A function is a shared object:
 *
 *     cc -shared -fPIC -o handler.so handler.c -I/usr/include
 *
 * It is not linked against fsbox: the runtime inside the cell offers the fsbox_… functions below when it loads the
 * object. One call at a time; the runtime calls the function on its main thread. The functions below that take a call
 * are for one thread at a time, and only until fsbox_handler() returns. Events and answers are bytes of any kind, 0
 * to FSBOX_MAX_PAYLOAD of them.
 *
 * Pointers returned here stay valid until fsbox_handler() returns, except where noted. */
#ifndef FSBOX_H
#define FSBOX_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifdef __GNUC__
#pragma GCC visibility push(default) /* found by the runtime also when the function is built with -fvisibility=hidden */
#endif

/* Largest event and largest answer, in bytes (6 MiB, as Lambda's). */
#define FSBOX_MAX_PAYLOAD 6291456

typedef struct fsbox_call fsbox_call;

/* ---- What the function defines ---- */

/* Required. Called once for each event. Returns 0 when the call was answered (an answer never given is an empty one),
 * anything else when it failed. */
int fsbox_handler(fsbox_call *call);

/* Optional. Called once, before the first event; has a whole CPU and 10 seconds. Non-zero fails the init. */
int fsbox_init(void);

/* Optional. Called once when the cell is about to end in good order; has 500 ms. */
void fsbox_shutdown(void);

/* ---- Snapshots: init once, restore many times. docs/snapshots.md tells the rest ----
 *
 * After init the cell may be dumped into an image, and every later start be a clone of it. All of these are optional; a
 * cell that is never dumped runs none of them. What is unique (ids, keys, connections, credentials) is to be made after the
 * restore or in the handler. The runtime has reseeded rand(), random(), drand48() and OpenSSL before any hook runs. */

/* Who this clone is. Valid until the hook returns. */
struct fsbox_restore {
	size_t size;          /* of this structure in the runtime: later ones may be larger */
	uint64_t generation;  /* 64 random bits, never 0: no other cell has the same; also in /run/fsbox/generation */
	const char *clone_id; /* 12 hexadecimal digits, different for every clone */
	unsigned char random[64]; /* fresh, for this clone alone */
	int64_t wall_ns;          /* CLOCK_REALTIME at the restore, nanoseconds since 1970 */
	int64_t elapsed_ns;       /* nanoseconds that the snapshot is old, by the wall; 0 or more */
};

/* Optional. Called before the snapshot, after all registered hooks. It shares 10 s with them. To be closed here: sockets
 * and whatever else leads out of the cell. Non-zero fails the snapshot with "Runtime.BeforeSnapshotError". */
int fsbox_before_snapshot(void);

/* Optional. Called in every clone before its first event, before all registered hooks. It shares 10 s with them. Non-zero
 * fails the start of this clone with "Runtime.AfterRestoreError". */
int fsbox_after_restore(const struct fsbox_restore *restore);

/* Register further hooks, for libraries: from constructors and fsbox_init() until the snapshot or the first event, by any
 * thread. Before a snapshot the one that was registered last runs first; after a restore the one that was registered first.
 * Hooks run on the main thread, and the first one that returns non-zero ends it as above. At most 256 of each kind; @fn
 * must stay loaded. 0, or a negative errno: -EINVAL when @fn is NULL, -ENOSPC, -EALREADY when the time for it is over. */
int fsbox_on_before_snapshot(int (*fn)(void *arg), void *arg);
int fsbox_on_after_restore(int (*fn)(const struct fsbox_restore *restore, void *arg), void *arg);

/* ---- What the function may call, from inside fsbox_handler() ---- */

/* The event's bytes; *len is their number (len may be NULL). Never NULL; there is a 0 byte after the last one. */
const void *fsbox_event(const fsbox_call *call, size_t *len);

/* Gives the whole answer; the bytes may be freed afterwards. Once per call, and not together with fsbox_write(). 0,
 * or a negative errno: -EMSGSIZE over FSBOX_MAX_PAYLOAD (unless another answer follows, the call then fails with
 * "Function.ResponseSizeTooLarge"), -EALREADY when the call was answered already or has failed, -EPIPE when nobody
 * listens any more. */
int fsbox_respond(fsbox_call *call, const void *data, size_t len);

/* Streams a part of the answer; parts are joined in order. The sum is at most FSBOX_MAX_PAYLOAD. Errors as
 * fsbox_respond(). */
int fsbox_write(fsbox_call *call, const void *data, size_t len);

/* Reports a failure: `return fsbox_fail(call, "Shop.NoStock", "no such item");`. Always returns non-zero. The first
 * one of a call counts, and more than any answer; a handler that just returns non-zero fails with "Function.Unknown".
 * @type and @message are UTF-8; NULL is taken as "". At most 256 and 32,768 bytes are kept. */
int fsbox_fail(fsbox_call *call, const char *type, const char *message);

/* The call's id: a UUID as text. */
const char *fsbox_request_id(const fsbox_call *call);

/* Milliseconds until the call's deadline; 0 when it has passed. */
int64_t fsbox_remaining_ms(const fsbox_call *call);

/* "Root=…;Parent=…;Sampled=…", or "" when the caller gave none. */
const char *fsbox_trace_id(const fsbox_call *call);

/* ---- What it may call at any time; valid as long as the function is loaded ---- */

const char *fsbox_function_name(void);
const char *fsbox_function_version(void);
unsigned fsbox_memory_mb(void); /* MiB; in a clone those of its own cell, from the hooks after the restore on */

#ifdef __GNUC__
#pragma GCC visibility pop
#endif

#ifdef __cplusplus
}
#endif

#endif
