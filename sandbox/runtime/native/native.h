/* The runtime for functions that are shared objects: loads handler.so, runs <fsbox.h>'s contract, speaks the channel.
 *
 * Promises: one thread; no descriptors but 0 to 4; parked in a plain read(2) of descriptor 3 between calls, so that
 * the process can be dumped there; a call whose answer is small costs one read, one getpid and one write. Buffers are
 * static, and their pages are only touched as far as they are needed. What it never does: trust itself to be alone.
 * The function lives in the same memory and may write to or close anything; the host checks every byte that comes
 * out. */
#pragma once

#include "runtime/assist/assist.h"
#include "runtime/channel.h"
#include "runtime/fsbox.h"

#include <sys/types.h>
#include <sys/uio.h>

/* What the loaded object defines. */
struct function {
	int (*handler)(fsbox_call *);
	int (*init)(void);
	void (*shutdown)(void);
	int (*before_snapshot)(void);
	int (*after_restore)(const struct fsbox_restore *);
};

/* ---- link.c: the two pipes ---- */

/* Makes descriptors 3 and 4 close-on-exec. -errno when they are not there. */
int link_open(void);

/* Waits for the next frame and reads its head. 1; 0 at end of file between frames; -errno, -EPROTO also for an end of
 * file inside a frame. */
int link_next(struct chan_head *ret_head);

/* Makes the first @len bytes of the current body available at *ret_bytes without consuming them; they stay valid
 * until the next call of a link_ function that reads. @len is at most LINK_PEEK_MAX. 0 or -errno. */
enum { LINK_PEEK_MAX = 4096 };
int link_peek(size_t len, const uint8_t **ret_bytes);

/* Copies the next @len bytes of the body to @dst (NULL drops them; only for what link_peek() has made available). */
int link_read(void *dst, size_t len);

/* Writes all of it. 0 or -errno; the vector is used up. */
int link_write(struct iovec *iov, int n);

/* Writes one frame. */
int link_send(uint16_t type, uint64_t call, const void *body, size_t len);

/* ---- call.c: one call, and the functions that handlers use ---- */

/* Reads the configuration that the environment carries, while it is still as the host made it. */
void call_setup(void);

/* Reads the CALL whose head is @head, runs @handler and answers. -errno when the channel broke. */
int call_run(const struct chan_head *head, int (*handler)(fsbox_call *));

/* Writes INIT_ERROR with type and message. Returns 1, the runtime's exit status then. */
__attribute__((format(printf, 2, 3))) int call_init_failed(const char *type, const char *fmt, ...);

/* What fsbox_memory_mb() says from now on. */
void call_set_memory(unsigned mb);

/* Ends a child that the function forked in @function and that came back from it: it must not speak for the runtime. */
void call_end_child(const char *function);

/* ---- restore.c: hooks, and the life between READY and the first call ---- */

/* From now on no hook can be registered. */
void restore_close(void);

/* All three: 0; 1 after INIT_ERROR was sent; -errno when the channel broke. */
int restore_park(const struct function *f);
int restore_run(const struct chan_head *head, const struct function *f);
int restore_draw(void);
