/* A small host side of the channel for tests: starts a program with the channel on descriptors 3 and 4, and talks to
 * it.
 *
 * Nothing here waits longer than CHAN_PEER_WAIT_MS: a program that hangs is a failed test, and chan_peer_done() kills
 * it. It is strict where a host is: a frame that a host must refuse is an error of chan_peer_next(). */
#pragma once

#include "runtime/channel.h"

#include <sys/types.h>

enum { CHAN_PEER_WAIT_MS = 10000 };

enum chan_peer_flags {
	CHAN_PEER_PID_NS =
		1, /* the program is PID 1 of a new pid namespace (needs root, or a user namespace, which is made) */
	CHAN_PEER_PROC = 2, /* with a /proc of its own, as uid and gid 65534; needs root */
};

struct chan_peer {
	pid_t pid;
	int in, out, log; /* our ends: of descriptor 3, of 4, of 1 and 2 together */
	uint8_t *buf;     /* frames that were read */
	size_t at, len, cap;
	size_t last_read; /* bytes that the last read(2) brought */
	char *text;       /* the log so far, terminated */
	size_t text_len;
};

/* A variable that is released at the end of its scope, started or not. */
#define CHAN_PEER(name) \
	__attribute__((cleanup(chan_peer_done))) struct chan_peer name = {.pid = -1, .in = -1, .out = -1, .log = -1}

struct chan_peer_frame {
	struct chan_head head;
	const uint8_t *body; /* valid until the next call of chan_peer_next() */
};

/* The path of a built file ("runtime/native", "tests/functions/echo.so") of the same build as the running test, which
 * lies in <build>/tests/<suite>/. Valid until called four times more. */
const char *chan_peer_built(const char *name);

/* @argv ends with NULL; argv[0] is the program's path. The environment is @envp (NULL: empty). 0 or -errno. */
int chan_peer_start(struct chan_peer *p, unsigned flags, const char *const *argv, const char *const *envp);

/* Writes bytes to descriptor 3 of the program. */
int chan_peer_send(struct chan_peer *p, const void *data, size_t len);

/* Makes a CALL frame in fresh memory, which the caller frees. */
uint8_t *chan_peer_make_call(uint64_t number, const char *id, const char *trace, int64_t remaining_ms,
			     const void *event, size_t len, size_t *ret_len);

/* Sends a CALL without a trace id and with 3 seconds to go. */
int chan_peer_call(struct chan_peer *p, uint64_t number, const void *event, size_t len);

/* Closes our end of descriptor 3. */
void chan_peer_hang_up(struct chan_peer *p);

/* The next frame: 1; 0 at end of file; -errno: -ETIMEDOUT, -EPROTO or -EMSGSIZE for what no host would take. */
int chan_peer_next(struct chan_peer *p, struct chan_peer_frame *ret_frame);

/* Reads to the end of file and looks for the EXIT record in the last bytes. False when there is none. *ret_rest: how
 * many bytes came before it. */
bool chan_peer_exit(struct chan_peer *p, struct chan_exit *ret_exit, size_t *ret_rest);

/* What the program has printed up to now. With @until: waits until that is part of it. */
const char *chan_peer_log(struct chan_peer *p, const char *until);

/* Waits for the program's end; its wait status, or -1 when it had to be killed. */
int chan_peer_wait(struct chan_peer *p);

/* Kills the program if it is still there, closes and frees everything. */
void chan_peer_done(struct chan_peer *p);
