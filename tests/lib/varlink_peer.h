/* A Varlink server in this process with an interface for tests, and clients of it: raw sockets, so that bytes can be
 * sent as no library would. Nothing runs but in peer_pump(): tests are as deterministic as one thread is. */
#pragma once

#include "base/loop.h"
#include "daemon/server.h"

enum { PEER_MAX_OPEN = 64 };

struct peer_server {
	struct loop loop;
	int listener;
	struct server *server;
	struct server_config config;
	/* what handlers have seen and do */
	struct call *open[PEER_MAX_OPEN]; /* calls of Wait that are not answered yet, in their order */
	size_t n_open;
	unsigned called, gone, closed, drained;
	bool deny; /* every call */
	bool answer_when_gone;
	unsigned stream;     /* answers of Stream before the last */
	size_t stream_bytes; /* of each */
	unsigned stream_fds; /* each so manieth brings a descriptor, from which its number can be read; 0: none */
	unsigned streamed;   /* that were taken */
	int taken;           /* by Take, FD_NONE at first */
	uid_t last_uid;
	const struct conn_ops *conn_ops; /* what Upgrade gives the connection; their argument is this struct */
	struct conn *upgraded;           /* the last one */
};

extern const struct wire_interface peer_interface; /* org.example.peer */
extern const struct server_ops peer_ops;

/* Limits in @s->config may be set before; the rest is filled in. */
void peer_start(struct peer_server *s);
void peer_stop(struct peer_server *s);
/* Turns the loop until nothing happens any more. */
void peer_pump(struct peer_server *s);
/* A connected client, without waiting for the server to accept it. */
int peer_connect(const struct peer_server *s);

/* Sends all of it, with the NULs that it has, turning the loop while the socket is full. */
void peer_send(struct peer_server *s, int fd, const void *data, size_t len);
/* A text and its NUL. */
void peer_say(struct peer_server *s, int fd, const char *text);
/* With descriptors, in one sendmsg(2). */
void peer_say_fds(int fd, const char *text, const int *fds, size_t n);
/* The next answer: "" when there is none, "closed", "reset". Static memory. *ret_fd: the descriptor that came, FD_NONE. */
const char *peer_hear(struct peer_server *s, int fd);
const char *peer_hear_fd(struct peer_server *s, int fd, int *ret_fd);
const char *peer_ask(struct peer_server *s, int fd, const char *text); /* say, hear */

/* Answers the oldest open Wait with {"n":@n}. */
void peer_answer(struct peer_server *s, int n);

/* ---- Messages ---- */

#define CALL(name, params)  "{\"method\":\"org.example.peer." name "\",\"parameters\":" params "}"
#define MORE(name)          "{\"method\":\"org.example.peer." name "\",\"more\":true}"
#define ECHO(text)          CALL("Echo", "{\"text\":\"" text "\"}")
#define WAIT(n)             CALL("Wait", "{\"n\":" #n "}")
#define ECHOED(text)        "{\"parameters\":{\"text\":\"" text "\"}}"
#define NUMBER(n)           "{\"parameters\":{\"n\":" #n "}}"
#define ERROR(name, params) "{\"error\":\"org.varlink.service." name "\",\"parameters\":" params "}"
#define INVALID(what)       ERROR("InvalidParameter", "{\"parameter\":\"" what "\"}")

#define SERVER(s, ...)                                                    \
	AUTO(peer_stop) struct peer_server s = {.config = {__VA_ARGS__}}; \
	peer_start(&s)
#define CLIENT(s, fd) AUTO_FD int fd = peer_connect(&s)
