/* fsbox-spawn with the running test in fsboxd's place.
 *
 * What fsbox-spawn starts as fsboxd is this same program, which then only sends its descriptors 3 and 4 to the test and
 * stays until it is killed. The test speaks on that descriptor: everything is checked as a fsboxd would
 * (wire/spawn.h). Whatever does not come as expected within PEER_WAIT_MS is a failed check of the running test. */
#pragma once

#include "tests/lib/chan_peer.h"
#include "wire/spawn.h"

enum { PEER_WAIT_MS = 20000, PEER_UID = 64321, PEER_GID = 64322 };

struct spawn_peer {
	pid_t pid;    /* fsbox-spawn */
	pid_t daemon; /* what it takes for fsboxd */
	int control;  /* where that one knocks */
	int link;     /* to it */
	int pair;     /* its descriptor 3, ours as well */
	int listener; /* and 4 */
	char dir[64]; /* holds control, socket, state */
	char socket[96];
	char status[8192];        /* of the player, as /proc has it, then its descriptors and RLIMIT_NOFILE */
	struct spawn_datagram *d; /* the last that came */
};
#define SPAWN_PEER(name)                                                  \
	__attribute__((cleanup(spawned_done))) struct spawn_peer name = { \
		.pid = -1, .daemon = -1, .control = -1, .link = -1, .pair = -1, .listener = -1}

struct spawned_options {
	uid_t uid;                /* fsbox-spawn itself; 0: root */
	uint64_t files;           /* its RLIMIT_NOFILE; 0: as it is */
	const char *const *extra; /* options of it; ends with NULL; may be NULL */
};

/* A program with this peer runs, as root, in a pid and a mount namespace of its own, with a state directory and a
 * parent of its cgroups of its own: what there is it has made, whoever else uses fsbox on the machine. */

/* Waits up to three seconds until no process is there but the test, no cgroup, nothing in the state directory but what
 * stays on purpose, and as many descriptors as at the start. */
void spawned_check_clean(void);
/* The same for what a fsbox-spawn that runs has to remove: cgroups and records of cells. */
void spawned_check_swept(void);

/* Starts fsbox-spawn and takes its first player; no datagram has been read. */
bool spawned_start(struct spawn_peer *p, const struct spawned_options *o);
/* Takes the next player: after the last one died. */
bool spawned_accept(struct spawn_peer *p);
/* Kills the player, and closes what we have of it. */
void spawned_kill_daemon(struct spawn_peer *p);
/* SIGTERM to fsbox-spawn; its wait status. */
int spawned_stop(struct spawn_peer *p);
/* Kills what is left and removes the directory. Idempotent. */
void spawned_done(struct spawn_peer *p);

/* The next datagram is p->d: its word; 0 at the end, -1 when none comes. */
int spawned_next(struct spawn_peer *p);
bool spawned_expect(struct spawn_peer *p, enum spawn_word word);
/* Reads until one comes with this word; @number 0 is any. */
bool spawned_await(struct spawn_peer *p, enum spawn_word word, uint64_t number);
/* HELLO and all that follows up to ADOPTED, which have to be nothing. */
bool spawned_hello(struct spawn_peer *p);

void spawned_send(struct spawn_peer *p, const void *msg);
void spawned_number(struct spawn_peer *p, enum spawn_word word, uint64_t number);
void spawned_make(struct spawn_peer *p, uint64_t cell, uint32_t function, const char *note);

/* A FUNCTION for a native object in tests/functions, 128 MB, policy default, in p->d, not sent. */
void spawned_describe(struct spawn_peer *p, uint32_t number, const char *name);
/* Sends p->d with its descriptors and drops them. */
void spawned_define(struct spawn_peer *p);
/* The whole with its DONE. */
bool spawned_function(struct spawn_peer *p, uint32_t number, const char *name);
/* A memfd with these bytes, sealed. */
int spawned_memfd(const void *data, size_t len);

/* The channel of the cell in p->d (MADE, ADOPT), whose descriptors are taken or closed. *ret_pidfd may be NULL. */
void spawned_talk(struct spawn_peer *p, struct chan_peer *ret, int *ret_pidfd);
/* READY, a call, its answer. */
bool spawned_call(struct chan_peer *c, uint64_t number, const char *event, const char *answer);
bool spawned_ready(struct chan_peer *c);
