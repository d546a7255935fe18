/* The Lambda Runtime API in a cell: a server on 127.0.0.1 for programs that ask for their events over HTTP, the Extensions
 * and Telemetry API beside it, and the channel to the host behind it. docs/runtimes.md says what it does; who calls what
 * when is in AWS's own pages (Runtime API 2018-06-01, Extensions API 2020-01-01, Telemetry API 2022-07-01).
 *
 *     main       set-up, the one loop (ppoll(2)), the end
 *     link       frames of the channel (docs/channel.md)
 *     http       requests and answers as bytes; pure
 *     json       a reader for the few documents that clients send; pure
 *     state      which request is allowed when; pure
 *     conn       connections: read, route, answer, wait
 *     runtime    calls: the Runtime API's requests
 *     frames     what the host has to say
 *     extension  extensions: registration, their events, the shutdown
 *     telemetry, subscribe, deliver   records, who wants them, their way there
 *     credentials   keys for programs that are not to have them in their environment
 *     logframe, logfd   messages of the log that come in frames; the pipe they come through
 *     child      the processes: bootstrap and extensions
 *
 * One thread. While nothing is to be done it is parked in ppoll without a deadline, and all that it holds can be dumped and
 * restored (docs/snapshots.md). Everybody who can connect is the function itself or its helpers: what is bounded here is
 * bounded so that a bug of theirs has an answer with a status, not to keep an enemy out. */
#pragma once

#include "runtime/api/http.h"
#include "runtime/api/logframe.h"
#include "runtime/channel.h"

#include <sys/types.h>

enum {
	API_PORT = 9001,
	MAX_CONNS = 64,
	MAX_EXTENSIONS = 10,                   /* Lambda's */
	MAX_RESPONSE = CHAN_MAX_PAYLOAD + 100, /* Lambda's, in its words; the host takes CHAN_MAX_PAYLOAD */
	MAX_DOCUMENT = CHAN_MAX_DOCUMENT,
	MAX_NAME = 255,
	UUID_LEN = 36,
	LOG_FD = 100, /* the runtime's number for it: low ones are what scripts use */
};

/* ---- state.c ---- */

enum rt_state {
	RT_STARTED,
	RT_READY,         /* it waits in `next` */
	RT_RUNNING,       /* it has the event */
	RT_ANSWERING,     /* its answer is coming in */
	RT_ANSWERED,      /* and has come */
	RT_RESTORE_READY, /* it waits in `restore/next` */
	RT_RESTORING,     /* it has been told of the restore */
	RT_FAILED,        /* it has reported a failed init or restore */
	RT_STATES
};
enum rt_event { RT_NEXT, RT_RESPONSE, RT_ERROR, RT_INIT_ERROR, RT_RESTORE_NEXT, RT_RESTORE_ERROR, RT_EVENTS };
/* The state after the request; -1 when it is not allowed now. */
int rt_after(enum rt_state state, enum rt_event event);
const char *rt_state_name(enum rt_state s);
const char *rt_event_name(enum rt_event e); /* as the errors of the API say it */

/* ---- json.c ---- */

/* A value of a document, as it stands there. */
struct json_view {
	const char *at;
	size_t len;
};
/* True when the text is one whole JSON value. */
bool json_whole(const char *text, size_t len, struct json_view *ret);
/* The member @key of an object; the element @index of an array. False when it is not there or the value is another kind. */
bool json_get(struct json_view object, const char *key, struct json_view *ret);
bool json_element(struct json_view array, size_t index, struct json_view *ret);
/* A string's text, unescaped, into @buf. False when it is none or has no room. */
bool json_text(struct json_view v, char *buf, size_t size);
bool json_integer(struct json_view v, int64_t *ret);
/* Appends @s as a JSON string; what is not UTF-8 is replaced. */
void json_quote(struct bytes *b, const char *s, size_t len);

/* ---- conn.c ---- */

struct api;
struct conn;

/* What a request asks for: conn.c has the table. */
struct route {
	const char *method, *path;                    /* '*' stands for one part of the path */
	void (*begin)(struct api *a, struct conn *c); /* before the body; may be NULL */
	void (*serve)(struct api *a, struct conn *c); /* with the whole body */
	size_t max_body;                              /* what is beyond is dropped, and c->too_large */
};

struct conn {
	int fd; /* -1: free */
	enum { CONN_HEAD, CONN_BODY, CONN_WAITING, CONN_WRITING, CONN_DRAINING } at;
	struct bytes in, out;
	size_t out_at;    /* bytes of `out` that are sent */
	bool dead;        /* to be closed by conn_settle() */
	uint64_t served;  /* when its last request was over, counted in requests; 0: none was */
	uint64_t drained; /* bytes that came after the last answer */
	char *head;       /* the request's, in which `request` points */
	struct http_request request;
	struct http_body decoder;
	struct bytes body;
	bool too_large;
	uint64_t body_seen;
	const struct route *route;
	char part[2][MAX_NAME + 1]; /* what the '*' of the path stood for */
	bool streams;               /* its parts go to the host as they come */
	bool refused;               /* the answer stands already; the body is dropped */
};

bool conn_has_room(struct api *a);
bool conn_accept(struct api *a); /* false when there was none, or no place for it */
void conn_readable(struct api *a, struct conn *c);
void conn_writable(struct conn *c);
void conn_close(struct api *a, struct conn *c);
/* Ends the requests that are answered, and takes those behind them. */
void conn_settle(struct api *a);
void conn_close_drained(struct api *a);
/* Answers the request, now or for one that waited. It stays valid until conn_settle(). */
void conn_answer(struct api *a, struct conn *c, unsigned status, const char *fields, const char *type, const void *body,
		 size_t len);
void conn_json(struct api *a, struct conn *c, unsigned status, const char *text);
/* {"errorMessage","errorType"} */
__attribute__((format(printf, 5, 6))) void conn_error(struct api *a, struct conn *c, unsigned status, const char *type,
						      const char *fmt, ...);
/* The request waits for an event that is not there yet. */
void conn_wait(struct conn *c);

/* ---- The whole ---- */

struct extension {
	char name[MAX_NAME + 1];
	char id[UUID_LEN + 1];
	pid_t pid; /* 0: internal, or ended */
	bool external, registered, wants_invoke, wants_shutdown;
	bool failed;         /* it has said so */
	bool idle;           /* it waits in event/next, or has for the first time */
	struct conn *waiter; /* or NULL */
	enum { EXT_NOTHING, EXT_INVOKE, EXT_SHUTDOWN } pending;
};

struct call {
	uint64_t number; /* 0: none runs */
	char id[CHAN_MAX_ID + 1], trace[CHAN_MAX_TRACE + 1];
	int64_t deadline_ms;
	uint64_t begin_ns;
	struct bytes event;
	enum {
		OUTCOME_NONE,
		OUTCOME_DONE,
		OUTCOME_ERROR
	} outcome; /* told to the host when all have asked for the next */
	char type[CHAN_MAX_TYPE + 1];
	struct bytes message, document;
	uint64_t produced;
	bool truncated; /* parts of an answer went to the host, and no more will come */
};

struct telemetry;

struct api {
	int listener;
	unsigned port;
	char arn[512];
	bool snap_start;
	bool host_net; /* others can connect as well, and are turned away */
	bool ready, parked, ending;
	bool used_restore; /* the runtime asked for its restore: it reseeds itself */
	enum rt_state state;
	struct call call;
	struct conn *next, *restore; /* the runtime's requests that wait */
	uint64_t served;             /* requests */
	bool accept_failed;          /* for want of descriptors or memory: again in a while */
	bool snapshotted;            /* SNAPSHOT has come: there is only one */
	uint64_t init_begin_ns;
	uint64_t reported; /* number of the last call that was over */
	const char *shutdown_reason;
	int64_t shutdown_deadline_ms;
	uint64_t restore_begin_ns;
	bool restoring;
	pid_t runtime;
	struct extension extensions[MAX_EXTENSIONS];
	size_t n_extensions;
	struct conn conns[MAX_CONNS];
	struct bytes rx;          /* of the channel */
	char token[UUID_LEN + 1]; /* of the credentials endpoint */
	struct telemetry *telemetry;
	int log_fd; /* our end; -1: none */
	struct log_frames log;
};

uint64_t now_ns(void); /* CLOCK_MONOTONIC */
void make_uuid(char ret[UUID_LEN + 1]);

/* ---- link.c ---- */

int link_setup(void); /* 0 or -errno */
/* Takes what lies in the channel. 1; 0 at its end; -errno. */
int link_read(struct api *a);
/* The next whole frame: 1; 0 when there is none yet; -EPROTO. Its body stays valid until link_drop(). */
int link_next(struct api *a, struct chan_head *ret_head, const char **ret_body);
void link_drop(struct api *a, const struct chan_head *head);
void link_send(uint16_t type, uint64_t call, const void *body, size_t len);
void link_error(uint16_t type, uint64_t call, const char *kind, const char *message, const void *document, size_t len);

/* ---- frames.c ---- */

void runtime_frame(struct api *a, const struct chan_head *head, const char *body);

/* ---- runtime.c ---- */

/* Gives the event of the running call to the request that waits for it, if there are both. */
void runtime_give_event(struct api *a);
/* Tells the host how the call ended. False when none runs, or it has not ended. */
bool runtime_tell_outcome(struct api *a);
/* Somebody has asked for the next: is init or the call over with that? */
void runtime_check(struct api *a);
void runtime_ended(struct api *a, int wait_status);
void runtime_init_failed(struct api *a, const char *type, const char *message);
void route_next(struct api *a, struct conn *c);
void route_response_begin(struct api *a, struct conn *c);
void route_response(struct api *a, struct conn *c);
void route_error(struct api *a, struct conn *c);
void route_init_error(struct api *a, struct conn *c);
void route_restore_next(struct api *a, struct conn *c);
void route_restore_error(struct api *a, struct conn *c);
void route_ping(struct api *a, struct conn *c);
/* A part of an answer that streams. */
void runtime_part(struct api *a, struct conn *c, const char *data, size_t len);
/* The connection of a request is gone. */
void runtime_lost(struct api *a, struct conn *c);

/* ---- extension.c ---- */

void extension_start_all(struct api *a);
void extension_tell_states(struct api *a);
bool extension_all_registered(const struct api *a);
bool extension_all_idle(const struct api *a); /* those that are asked about calls, too */
void extension_invoke(struct api *a);
bool extension_ended(struct api *a, pid_t pid, int wait_status);
void extension_lost(struct api *a, struct conn *c);
struct extension *extension_of(struct api *a, struct conn *c); /* by its header; NULL when it was refused */
void route_register(struct api *a, struct conn *c);
void route_event_next(struct api *a, struct conn *c);
void route_extension_error(struct api *a, struct conn *c);
/* Ends all: the runtime by SIGTERM, then the extensions by their event. Returns when they are gone or the time is over. */
void extension_shutdown(struct api *a, const char *reason);

/* ---- child.c ---- */

/* Starts a program; 0 or -errno. @for_extension: without the variables that those do not get. */
int child_start(struct api *a, const char *const *argv, bool for_extension, const char *name, pid_t *ret);
/* The program of the runtime: the arguments of ours, or the bootstrap that is found. argv ends with NULL. */
int child_find_runtime(char **args, const char **argv, size_t max, char *buf, size_t size);
void child_reap(struct api *a);
void child_set_environment(const char *pair);

/* ---- telemetry.c ---- */

enum telemetry_type { TELEMETRY_PLATFORM = 1, TELEMETRY_FUNCTION = 2, TELEMETRY_EXTENSION = 4 };
void route_telemetry(struct api *a, struct conn *c);
void telemetry_record(struct api *a, enum telemetry_type type, const char *kind, const char *record);
__attribute__((format(printf, 3, 4))) void telemetry_platform(struct api *a, const char *kind, const char *fmt, ...);
bool telemetry_wanted(const struct api *a);
/* For the loop: descriptors to watch, and what to do. */
struct pollfd;
size_t telemetry_poll(struct api *a, struct pollfd *fds, size_t max, int *timeout_ms);
void telemetry_events(struct api *a, const struct pollfd *fds, size_t n);
/* Children's output runs through us when there are extensions, which may want to have it. The ends for a child. */
bool telemetry_pipes(struct api *a, const char *extension, int ret[2]);
void telemetry_flush(struct api *a);
/* What the programs have printed up to now goes to the host: before the frame that it belongs before. */
void telemetry_drain(struct api *a);

/* A line or message that a program has written, as a record. */
void telemetry_line(struct api *a, enum telemetry_type type, const char *line, size_t len);
void telemetry_write_through(int fd, const char *data, size_t len); /* waits for the host */

/* ---- logfd.c ---- */

int logfd_open(struct api *a); /* the end for the runtime, to be closed here when it has it; -1 */
void logfd_readable(struct api *a);
void logfd_drain(struct api *a); /* takes what lies there, without waiting */

/* ---- credentials.c ---- */

void credentials_offer(struct api *a); /* sets the variables by which programs find the endpoint, where it is of use */
void route_credentials(struct api *a, struct conn *c);

/* ---- main.c ---- */

/* One round of the loop; @timeout_ms -1: as long as it takes. */
void api_turn(struct api *a, int timeout_ms);
/* Serves what clients have sent already, without waiting: for when one of them has ended. */
void api_take_rest(struct api *a);
_Noreturn void api_exit(struct api *a, int status);
