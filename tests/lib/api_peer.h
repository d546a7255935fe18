/* The Runtime API's server under test, with the test as its client: both in a network namespace of the test's own, where
 * 127.0.0.1:9001 is free, and with an /opt of its own for extensions. Needs root. What the server starts as its runtime is
 * mostly a program that does nothing: the requests come from here. */
#pragma once

#include "tests/lib/chan_peer.h"

#define API_NEXT "/2018-06-01/runtime/invocation/next"
#define API_ID   "11111111-2222-4333-8444-555555555555" /* that of chan_peer_call() */
#define API_CALL "/2018-06-01/runtime/invocation/" API_ID

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

/* ---- Checks: false, and the test has failed, when it is not so ---- */

/* The next frame is of this type and call. */
bool api_expect(struct chan_peer *p, unsigned type, uint64_t call, struct chan_peer_frame *ret);
/* An ERROR or INIT_ERROR with these. Message and document NULL: not looked at. */
bool api_expect_error(struct chan_peer *p, unsigned type, uint64_t call, const char *kind, const char *message,
		      const char *document);
bool api_expect_data(struct chan_peer *p, uint64_t call, const char *text);
/* Sends a call, and its event comes on @next. */
bool api_give_event(struct chan_peer *p, uint64_t number, int next, const char *event);
bool api_send_next(int fd);
/* A whole call goes through @next, which asks for the one after it. */
bool api_call_works(struct chan_peer *p, uint64_t number, int next);
/* The last frame is EXIT with these. */
bool api_ends_with(struct chan_peer *p, int code, int status);
bool api_send_frame(struct chan_peer *p, uint16_t type, uint64_t call, const void *body, size_t len);
