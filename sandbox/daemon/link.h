/* The conversation with fsbox-spawn (wire/spawn.h): what goes there waits here when the socket is full, what comes is told
 * by kind. When fsbox-spawn is gone there is nothing left to do for this process: on_gone. */
#pragma once

#include "daemon/daemon.h"

struct link;

struct link_ops {
	void (*hello)(void *arg, const struct spawn_hello *m);
	/* Known from before; its descriptors are not kept. */
	void (*function)(void *arg, const struct spawn_function *m, const int *fds, size_t n_fds);
	void (*adopt)(void *arg, const struct spawn_cell *m, int *fds, size_t n_fds); /* taken ones become FD_NONE */
	void (*adopted)(void *arg);
	void (*made)(void *arg, const struct spawn_cell *m, int *fds, size_t n_fds);
	void (*failed)(void *arg, const struct spawn_done *m);
	void (*done)(void *arg, const struct spawn_done *m);
	void (*exited)(void *arg, const struct spawn_exit *m);
	void (*ended)(void *arg, const struct spawn_exit *m);
	void (*opened)(void *arg, const struct spawn_opened *m, int *fd);
	void (*published)(void *arg, const struct spawn_published *m);
	void (*exec_ended)(void *arg, const struct spawn_exec_end *m);
	void (*gone)(void *arg, const struct err *why);
};

/* @fd: taken over. */
NODISCARD int link_open(struct link **ret, struct loop *l, int fd, const struct link_ops *ops, void *arg,
			struct err *e);
void link_close(struct link *k);

/* @msg begins with a spawn_head; both are copied, the descriptors duplicated when they have to wait. False: memory or
 * descriptors are out. */
NODISCARD bool link_send(struct link *k, const void *msg, const int *fds, size_t n_fds);
/* SETTLE, KILL, END, FORGET, EXEC_KILL. */
NODISCARD bool link_number(struct link *k, enum spawn_word word, uint64_t number);
/* @restore_ns: 0: a cold start; else a restore, to be given up at that time. */
NODISCARD bool link_make(struct link *k, uint64_t cell, uint32_t function, uint64_t restore_ns, const void *note,
			 size_t len);
