/* The runtime for shared objects as the program of a chan_peer, and what tests expect of it. Whatever does not come as
 * expected is a failed check of the running test. */
#pragma once

#include "tests/lib/chan_peer.h"

/* @function: a name in tests/functions, or a path. @flags: enum chan_peer_flags; @extra: further variables, up to 12,
 * ends with NULL. 0 or -errno. */
int runtime_start_with(struct chan_peer *p, unsigned flags, const char *function, const char *const *extra);
int runtime_start(struct chan_peer *p, const char *function);

/* Starts and takes READY. */
bool runtime_start_ready(struct chan_peer *p, const char *function);

/* Takes one frame and checks that it is DATA with @text. */
bool expect_data(struct chan_peer *p, uint64_t number, const char *text);
bool expect_done(struct chan_peer *p, uint64_t number);

/* Takes one frame and checks that it is @frame with @type, and a message that contains @message. */
bool expect_error(struct chan_peer *p, uint16_t frame, const char *type, const char *message);

/* Sends a call; with its answer, too. */
bool call_text(struct chan_peer *p, uint64_t number, const char *event);
bool call_and_expect(struct chan_peer *p, uint64_t number, const char *event, const char *answer);

/* Waits for the end with this status, after the last frame. */
void expect_exit(struct chan_peer *p, int status);

/* Sends a FILTER that answers @listed (SECCOMP_RET_…) for the system calls of the list and @other for all else. */
int runtime_send_filter(struct chan_peer *p, const int *list, size_t n, uint32_t listed, uint32_t other);

/* docs/channel.md has this list: what the runtime needs of a policy that comes after init. */
enum { RUNTIME_NEEDED = 15 };
extern const int runtime_needed[RUNTIME_NEEDED];
