/* The runtime for functions that are shared objects: loads handler.so, runs <fsbox.h>'s contract, speaks the channel.
 *
 * Promises: one thread; no descriptors but 0 to 4; parked in a plain read(2) of descriptor 3 between calls, so that
 * the process can be dumped there; a call whose answer is small costs one read, one getpid and one write. Buffers are
 * static, and their pages are only touched as far as they are needed. What it never does: trust itself to be alone.
 * The function lives in the same memory and may write to or close anything; the host checks every byte that comes
 * out. */
#pragma once

#include "runtime/channel.h"
#include "runtime/fsbox.h"

#include <sys/types.h>
#include <sys/uio.h>

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

/* Writes "TYPE: message" as INIT_ERROR. */
int call_init_error(const char *type, const char *message);

/* ---- fault.c: filters that come after init ---- */

/* Reads a FILTER's body and installs it in all threads; a system call that it refuses with SIGSYS is named to the host.
 * 0; -errno when the channel broke; 1 when the kernel refused the filter, with its errno in *ret_errno. */
int fault_install(const struct chan_head *head, int *ret_errno);

/* The number of the call that is running, for FAULT. */
void fault_set_call(uint64_t number);
