/* The Runtime API's server under test, with the test as its client: both in a network namespace of the test's own, where
 * 127.0.0.1:9001 is free, and with an /opt of its own for extensions. Needs root. What the server starts as its runtime is
 * mostly a program that does nothing: the requests come from here. */
#pragma once

#include "tests/lib/chan_peer.h"

enum { API_PEER_WAIT_MS = CHAN_PEER_WAIT_MS };

/* Makes the namespaces, once. False when that is not possible here. */
bool api_peer_world(void);

/* Starts init, which starts the server with @program (argv, ends with NULL; NULL: one that only waits). @envp as the
 * server's environment, NULL: none. What is in /opt/extensions is started too. 0 or -errno. */
int api_peer_start(struct chan_peer *p, const char *const *program, const char *const *envp);
/* The same with a runtime that only waits, and asks for its first event on the connection *ret_next. */
bool api_peer_ready(struct chan_peer *p, int *ret_next);

/* Puts a file into /opt; `extensions/NAME`, for instance. */
bool api_peer_program(const char *name, const char *text);
void api_peer_remove_extensions(void);

/* A connection to @port of 127.0.0.1, tried until there is a listener; -1 when there is none. */
int api_peer_connect(unsigned port);
bool api_peer_put(int fd, const void *data, size_t len);
bool api_peer_puts(int fd, const char *text);

struct api_answer {
	unsigned status; /* 0: the connection ended, or nothing came in time */
	char *head;      /* terminated */
	char *body;      /* terminated */
	size_t len;      /* of the body */
};

#define API_ANSWER(name) __attribute__((cleanup(api_peer_forget))) struct api_answer name = {0}
void api_peer_forget(struct api_answer *r);
/* Reads one answer; interim ones (100) count as answers. What the last one in @r was is freed. */
bool api_peer_read(int fd, struct api_answer *r);
/* One request with a Content-Length; @fields: whole lines with CRLF. */
bool api_peer_send(int fd, const char *method, const char *path, const char *fields, const char *body);
bool api_peer_ask(int fd, const char *method, const char *path, const char *fields, const char *body,
		  struct api_answer *r);
/* The same on a connection of its own. */
bool api_peer_once(const char *method, const char *path, const char *fields, const char *body, struct api_answer *r);
/* A field's value, in a static buffer; "" when it is not there. */
const char *api_peer_field(const struct api_answer *r, const char *name);

/* Is nothing to be read there, for a moment? */
bool api_peer_silent(int fd);
/* Is it at its end, now or soon? */
bool api_peer_closed(int fd);

/* A listener on a free port of 127.0.0.1, and the next connection to it (-1 when none comes in time). */
int api_peer_listen(unsigned *port);
bool api_peer_listen_at(int fd, unsigned port);
int api_peer_accept(int fd);
