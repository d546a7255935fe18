/* The client's side of fsboxd's socket: Varlink, one JSON object and a 0 byte for each message, one call at a time.
 *
 * What comes from the socket is checked here: size, JSON, shape, descriptors. Members that are not known are left alone,
 * because a newer fsboxd may have more of them. Errors of the interface become struct err with the kinds' own names.
 * Nothing here prints; descriptors that come with an answer belong to it until they are taken. */
#pragma once

#include "cli/cli.h"
#include "json/json.h"

enum {
	CLIENT_MAX_MESSAGE = 16 << 20, /* of an answer */
	CLIENT_MAX_FDS = 16,           /* with a message, either way; fsboxd sends one at most */
	CLIENT_MAX_PATH = 107,         /* of the socket: unix(7), "Address format" */
};

struct client {
	int fd;
	int signal_fd; /* readable: every wait ends with -ECANCELED. Not ours to close; FD_NONE: none */
	char path[CLIENT_MAX_PATH + 1];
	struct buf in; /* received, not yet given out */
	size_t seen;   /* that much of it has no 0 byte */
	struct {
		int fd;
		size_t at;         /* offset in @in of the byte that it belongs to */
	} got[2 * CLIENT_MAX_FDS]; /* of the message that is awaited, and of the one read with its end */
	size_t n_got;
};

struct client_reply {
	struct json_doc *doc;
	const struct json *params; /* an object, or NULL when there is none; lives in doc */
	bool continues;            /* more answers to this call follow */
	int fds[CLIENT_MAX_FDS];
	size_t n_fds;
};

/* Connects to @path. NULL: to $FSBOX_SOCKET, else to /run/fsbox/fsbox.sock where that may be used, else to the user's own
 * $XDG_RUNTIME_DIR/fsbox/fsbox.sock. ERR_NOT_FOUND when nobody listens, ERR_DENIED. */
NODISCARD int client_open(struct client *c, const char *path, struct err *e);
void client_close(struct client *c);

/* Where the daemon of this user listens unless told otherwise. ERR_SPEC when there is no such place, or it is too long. */
NODISCARD int client_default_path(char *buf, size_t size, struct err *e);

/* Sends a call of "org.fsbox.Sandbox.METHOD". @params is a JSON object's text or NULL. @fds stay the caller's. */
NODISCARD int client_send(struct client *c, const char *method, const struct buf *params, bool more, const int *fds,
			  size_t n_fds, struct err *e);
/* Waits for the next answer. An error that fsboxd answers with is *e; so is a connection that ends before an answer. */
NODISCARD int client_receive(struct client *c, struct client_reply *ret, struct err *e);
/* True when client_receive() would not have to wait, although the descriptor may say nothing of it. */
bool client_has_answer(struct client *c);
/* Both, for calls with one answer. */
NODISCARD int client_call(struct client *c, const char *method, const struct buf *params, struct client_reply *ret,
			  struct err *e);
void client_reply_done(struct client_reply *r);

/* Says of an answer that it is not what the interface promises. */
int client_malformed(struct err *e, const char *what);

/* Members of an answer. Null and another type count as absent; so does everything when @object is NULL. */
const char *client_text(const struct json *object, const char *key); /* NULL when absent or no text */
bool client_int(const struct json *object, const char *key, int64_t *ret);
bool client_bool(const struct json *object, const char *key); /* false when absent */
const struct json *client_object(const struct json *object, const char *key);

/* ---- client_errors.c ---- */

/* From an error's full name and its parameters (NULL: none) to *e; returns a negative errno. */
int client_error(const char *name, const struct json *params, struct err *e);

/* ---- client_run.c: what the client's commands have in common ---- */

/* The options of client_opts; the first member of the arguments of each such command. */
struct client_args {
	const char *socket;
	bool json;
};
extern const struct opt_table client_opts;

/* A whole number below 2^53, kept as the text that it is. */
int client_set_number(void *args, const struct opt *o, const char *value, struct err *e);

typedef int client_act(struct client *c, void *args, char **operands, struct err *e);

/* Parses the options, connects, acts, says what went wrong and gives the exit status: 0, 1 failed, 2 bad usage. @min to
 * @max operands (max -1: any number); @operands ends with NULL. A signal closes the connection and ends us. */
int client_run(const struct command *cmd, int argc, char **argv, void *args, int min, int max, client_act *act);
/* The last part of it, for commands with exit statuses of their own: prints *e, ends by a signal if there was one. */
void client_end(struct client *c, const struct err *e);

/* Writes to stdout and empties @b. -EPIPE, with nothing in *e, when nobody reads any more: the command is done then. */
NODISCARD int client_print(struct client *c, struct buf *b, struct err *e);

/* The parameters of a call, put together member by member. */
void params_text(struct buf *b, const char *key, const char *text); /* nothing when @text is NULL */
void params_raw(struct buf *b, const char *key, const char *json);  /* nothing when @json is NULL */
void params_end(struct buf *b);                                     /* also without any member */
