/* A cell for tests of the session: pipes, and a process that stands for PID 1. The test writes what the cell would. */
#pragma once

#include "cell/session.h"

struct fake {
	struct cell_host host;
	struct cell_spec spec;
	struct cell cell;
	struct session s;
	struct session_sink sink;
	struct buf log[3];
	size_t room;
	int tell;   /* the cell writes here: frames */
	int hear;   /* the cell reads here */
	int say[3]; /* the function's 1 and 2 */
	int signal_r, signal_w;
};

/* A started one, which is released at the end of its scope. */
#define FAKE(name)                                                           \
	__attribute__((cleanup(fake_done))) struct fake name = {.tell = -1}; \
	fake_start(&name)

void fake_start(struct fake *f);
void fake_done(struct fake *f);

/* Bytes, or whole frames, from the cell. */
void fake_tell(struct fake *f, const void *data, size_t len);
void fake_frame(struct fake *f, uint16_t type, uint64_t call, const void *body, size_t len);
void fake_ready(struct fake *f, uint32_t flags);
void fake_error(struct fake *f, uint16_t type, uint64_t call, const char *name, const char *message);
void fake_exit(struct fake *f, int32_t code, int32_t status);

/* The cell is gone: its descriptors and its PID 1. */
void fake_ends(struct fake *f);

/* session_wait() for at most @ms. */
enum session_event fake_wait(struct fake *f, uint64_t ms);

/* Ready, and a call under way. */
void fake_call(struct fake *f, uint64_t number);
